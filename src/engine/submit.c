/* SPDX-License-Identifier: MIT
 * engine/submit.c: a client's side of a write (layer 7).
 * Every write goes through the handle's lane, also when this process holds the role: one way, and exactly once whoever dies.
 * The caller that finds the role free (or its holder dead) takes it and commits itself, with whatever else waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/notify.h"
#include "os/os.h"

static int64_t slice_end(int64_t deadline)
{
    int64_t end = rst_os->monotonic_time() + RST_WAIT_SLICE_MS * INT64_C(1000000);
    return end < deadline ? end : deadline;
}

/* The commit lock, but not for longer than a slice: its holder may be in a checkpoint. */
static bool lock_commit(struct rst_engine *engine)
{
    if (pthread_mutex_trylock(&engine->commit_lock) == 0) return true;
    int64_t until_ns = rst_os->real_time() + RST_WAIT_SLICE_MS * INT64_C(1000000);
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    return pthread_mutex_timedlock(&engine->commit_lock, &until) == 0;
}

/* The word that changes when something in the handle's lane was answered, and its value now. Under lane_lock. */
static struct rst_futex_wait completions(const struct rst_engine *engine)
{
    const uint32_t *word = &engine->lane.lane->completed.word;
    return (struct rst_futex_wait){word, rst_load_u32(word)};
}

/* One step towards an answer: commit oneself if the role can be had, else wake its holder and sleep a slice. */
static int help_or_wait(struct rst_engine *engine, struct rst_futex_wait completed, int64_t deadline)
{
    if (rst_role_available(engine)) {
        if (!lock_commit(engine)) return 0;
        int taken = rst_role_take(engine);
        int err = taken == 1 ? rst_commit_waiting(engine) : taken < 0 ? taken : 0;
        pthread_mutex_unlock(&engine->commit_lock);
        if (err == ROOST_EAGAIN) return rst_engine_look_around(engine);
        if (err) return err;
        /* An answer may not have come all the same: this process met a limit of its own, or garbage lies in the lane. */
        if (taken == 1 && rst_load_u32(completed.word) != completed.expected) return 0;
    }
    const struct rst_region *region = rst_engine_region(engine);
    if (rst_load_u32(completed.word) == completed.expected) {
        rst_region_ring(&region->header->doorbell.word);
        int64_t timeout = slice_end(deadline) - rst_os->monotonic_time();
        if (timeout > 0) rst_os->futex_wait(completed.word, completed.expected, timeout);
    }
    return rst_region_current(region) && rst_engine_named(engine) ? 0 : rst_engine_look_around(engine);
}

/* Takes a flight's answer out of the lane, if it is there, and keeps it until roost_poll asks. Under lane_lock. */
static bool land(struct rst_engine *engine, struct rst_flight *flight)
{
    struct rst_lane_answer answer;
    if (!flight->used || flight->settled || flight->receipt.client != engine->client) return false;
    int found = rst_lane_answered(&engine->lane, flight->receipt.sequence, &answer);
    if (!found) return false;
    if (found < 0) answer = (struct rst_lane_answer){.result = ROOST_EUNKNOWN};
    flight->result = answer.result;
    flight->failed_index = answer.failed_index;
    flight->actual = answer.actual;
    flight->receipt.lsn = answer.lsn;
    flight->receipt.id = answer.id;
    flight->settled = true;
    if (found == 1) rst_lane_release(&engine->lane, flight->receipt.sequence);
    return true;
}

/* Makes room in the lane: what nobody wants to hear any more, and what nobody has polled yet. Under lane_lock. */
static bool make_room(struct rst_engine *engine)
{
    bool any = rst_lane_reap(&engine->lane);
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) any |= land(engine, &engine->flights[i]);
    return any;
}

/* The flight that landed and was not polled yet. Under lane_lock. */
static const struct rst_flight *landed_flight(const struct rst_engine *engine, const struct roost_receipt *receipt)
{
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) {
        const struct rst_flight *flight = &engine->flights[i];
        if (flight->used && flight->settled && flight->receipt.client == receipt->client &&
            flight->receipt.sequence == receipt->sequence)
            return flight;
    }
    return NULL;
}

static bool in_flight(const struct rst_engine *engine, const struct roost_receipt *receipt)
{
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++)
        if (engine->flights[i].used && engine->flights[i].receipt.client == receipt->client &&
            engine->flights[i].receipt.sequence == receipt->sequence)
            return true;
    return false;
}

/* An answer as it lies in a lane, and the numbers that it brings. */
static void copy_answer(const struct rst_lane_answer *answer, uint64_t *results, uint32_t result_count,
                        struct rst_outcome *ret_outcome)
{
    *ret_outcome = (struct rst_outcome){answer->result, answer->failed_index, answer->lsn, answer->id, answer->actual};
    for (uint32_t i = 0; results && i < result_count && i < answer->result_count; i++) results[i] = answer->results[i];
}

/* 1, 0: not yet; ROOST_ENOENT: nothing of that in the handle's lane. */
static int take_answer(struct rst_engine *engine, const struct roost_receipt *receipt, uint64_t *results, uint32_t result_count,
                       struct rst_outcome *ret_outcome)
{
    struct rst_lane_answer answer;
    pthread_mutex_lock(&engine->lane_lock);
    const struct rst_flight *flight = landed_flight(engine, receipt);
    if (flight) {
        *ret_outcome =
            (struct rst_outcome){flight->result, flight->failed_index, flight->receipt.lsn, flight->receipt.id, flight->actual};
        pthread_mutex_unlock(&engine->lane_lock);
        return 1;
    }
    int found = receipt->client == engine->client ? rst_lane_answered(&engine->lane, receipt->sequence, &answer) : ROOST_ENOENT;
    if (found == 1) {
        copy_answer(&answer, results, result_count, ret_outcome);
        if (!in_flight(engine, receipt)) rst_lane_release(&engine->lane, receipt->sequence); /* else roost_poll does */
    }
    pthread_mutex_unlock(&engine->lane_lock);
    return found;
}

static int timed_out(struct rst_engine *engine)
{
    char name[96];
    rst_role_holder_name(engine, name, sizeof name);
    return rst_fail(ROOST_ETIMEDOUT,
                    "%s: the write was handed over but not answered in time; %s holds the writer's role (stopped or busy); the "
                    "receipt tells later what became of it",
                    engine->path, name);
}

/* Its answer stays in the lane for roost_settle, until the lane needs the room. */
static int give_up(struct rst_engine *engine, const struct roost_receipt *receipt)
{
    pthread_mutex_lock(&engine->lane_lock);
    if (receipt->client == engine->client) rst_lane_abandon(&engine->lane, receipt->sequence);
    pthread_mutex_unlock(&engine->lane_lock);
    return timed_out(engine);
}

/* The call fails for a reason of its own (a disk error, no descriptors) while its submission lies in the lane: taken back it never
 * happens; else whoever took it up may still do it. */
static int take_back(struct rst_engine *engine, const struct roost_receipt *receipt, int err)
{
    pthread_mutex_lock(&engine->lane_lock);
    bool own = receipt->client == engine->client, back = own && rst_lane_cancel(&engine->lane, receipt->sequence) == 0;
    if (back)
        rst_lane_release(&engine->lane, receipt->sequence);
    else if (own)
        rst_lane_abandon(&engine->lane, receipt->sequence);
    pthread_mutex_unlock(&engine->lane_lock);
    return back ? err : rst_fail_context(ROOST_EUNKNOWN, "the write was handed over and may still be done, its receipt tells");
}

/* What was answered in a lane whose region was replaced since. */
static bool old_answer(struct rst_engine *engine, const struct roost_receipt *receipt, uint64_t *results, uint32_t result_count,
                       struct rst_outcome *ret_outcome)
{
    bool found = false;
    pthread_mutex_lock(&engine->lane_lock);
    for (const struct rst_old_lane *old = engine->old_lanes; old && !found; old = old->next) {
        struct rst_lane_answer answer;
        if (old->client != receipt->client || rst_lane_answered(&old->lane, receipt->sequence, &answer) != 1) continue;
        copy_answer(&answer, results, result_count, ret_outcome);
        found = true;
    }
    pthread_mutex_unlock(&engine->lane_lock);
    return found;
}

static bool has_large_payloads(const struct rst_buffer *submission)
{
    struct rst_op_view op;
    size_t offset = sizeof(struct rst_submission_header);
    while (rst_submission_next(submission->data, &offset, &op) == 1)
        if (op.op.flags & RST_OP_EXTERNAL) return true;
    return false;
}

static bool is_request(const struct rst_buffer *submission)
{
    struct rst_op op;
    memcpy(&op, submission->data + sizeof(struct rst_submission_header), sizeof op);
    return op.kind >= RST_OP_STATE_CLAIM;
}

/* What the changes up to lsn were given as numbers, from the ring of recent changes. */
static bool numbers_again(const struct rst_region *region, uint64_t lsn, uint64_t *results, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t each = lsn + 1 - count + i;
        const struct rst_change *change = &region->changes[each % RST_CHANGE_COUNT];
        if (rst_load_u64(&change->lsn) != each) return false; /* pairs with the last store in note_change (commit.c) */
        uint32_t kind = rst_load_relaxed_u32(&change->kind);
        results[i] = kind == RST_RECORD_MEMORY || kind == RST_RECORD_STREAM ? rst_load_relaxed_u64(&change->number) : 0;
        rst_fence_acquire();
        if (rst_load_relaxed_u64(&change->lsn) != each) return false;
    }
    return true;
}

/* The region was replaced while this submission was in a lane of the old one: the log knows whether it was applied. ROOST_EAGAIN: it
 * was not
 * and never will be: submit it again. ROOST_ECANCELED: the same, but its large payloads lie in extents of the old region. */
static int settle_replaced(struct rst_engine *engine, const struct rst_buffer *submission, int64_t deadline, uint64_t *results,
                           uint32_t result_count, struct rst_outcome *ret_outcome, const struct roost_receipt *receipt)
{
    if (old_answer(engine, receipt, results, result_count, ret_outcome)) return 0;
    if (is_request(submission)) return ROOST_EAGAIN; /* asking twice does no harm */
    struct roost_receipt asked = *receipt;
    int64_t rest = deadline - rst_os->monotonic_time();
    int err = rst_settle(engine, &asked, rest > 1000000 ? (uint32_t)(rest / 1000000) : 1);
    if (err == ROOST_ECANCELED) return has_large_payloads(submission) ? ROOST_ECANCELED : ROOST_EAGAIN;
    if (err == ROOST_EUNKNOWN || err == ROOST_ETIMEDOUT) return err;
    if (!err && result_count && !numbers_again(rst_engine_region(engine), asked.lsn, results, result_count))
        return rst_fail(
            ROOST_EUNKNOWN,
            "the region was replaced while a write was under way; it was applied, but its numbers are not known any more");
    *ret_outcome = (struct rst_outcome){.result = err, .lsn = asked.lsn, .id = asked.id};
    return 0;
}

static int submit_and_wait(struct rst_engine *engine, const struct rst_buffer *submission, int64_t deadline, uint64_t *results,
                           uint32_t result_count, struct rst_outcome *ret_outcome, struct roost_receipt *receipt)
{
    uint64_t sequence = 0;
    for (;;) {
        pthread_mutex_lock(&engine->lane_lock);
        struct rst_futex_wait completed = completions(engine);
        int err = sequence ? 0 : rst_lane_submit(&engine->lane, submission, result_count, &sequence);
        if (err == ROOST_EAGAIN && make_room(engine)) err = rst_lane_submit(&engine->lane, submission, result_count, &sequence);
        if (!err && !receipt->sequence) *receipt = (struct roost_receipt){engine->client, sequence, 0, 0};
        bool replaced = !err && receipt->client != engine->client;
        pthread_mutex_unlock(&engine->lane_lock);
        if (err && err != ROOST_EAGAIN) return err;
        if (replaced) {
            err = settle_replaced(engine, submission, deadline, results, result_count, ret_outcome, receipt);
            if (err != ROOST_EAGAIN) return err;
            memset(receipt, 0, sizeof *receipt);
            sequence = 0;
            continue;
        }
        if (!err && take_answer(engine, receipt, results, result_count, ret_outcome) == 1) return 0;
        if (rst_os->monotonic_time() >= deadline)
            return sequence ? give_up(engine, receipt)
                            : rst_fail(ROOST_EAGAIN, "too many writes of this process are under way (at most %u); none was added",
                                       (unsigned)RST_LANE_ENTRY_COUNT);
        err = help_or_wait(engine, completed, deadline);
        if (err && err != ROOST_EAGAIN) return sequence ? take_back(engine, receipt, err) : err;
    }
}

int rst_submit_wait(struct rst_engine *engine, const struct rst_buffer *submission, uint32_t wait_ms, uint64_t *results,
                    uint32_t result_count, struct rst_outcome *ret_outcome, struct roost_receipt *receipt)
{
    int64_t deadline = rst_os->monotonic_time() + (int64_t)(wait_ms ? wait_ms : engine->options.wait_ms) * 1000000;
    struct roost_receipt local;
    if (!receipt) receipt = &local;
    memset(receipt, 0, sizeof *receipt);
    memset(ret_outcome, 0, sizeof *ret_outcome);
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot write", engine->path);
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* R17 */
    int err = rst_slot_use(engine, deadline);
    if (!err) {
        err = submit_and_wait(engine, submission, deadline, results, result_count, ret_outcome, receipt);
        rst_slot_unuse(engine);
    }
    pthread_setcancelstate(cancel_state, NULL);
    if (err) return err;
    receipt->lsn = ret_outcome->lsn;
    receipt->id = ret_outcome->id;
    return ret_outcome->result;
}

static int ask(struct rst_engine *engine, uint16_t kind, uint64_t number, uint64_t argument, struct roost_bytes name,
               uint32_t level, uint32_t wait_ms, struct rst_outcome *ret_outcome, struct roost_receipt *ret_receipt)
{
    struct rst_buffer submission = {0}, fields = {0};
    struct rst_op op = {.kind = kind, .number = number, .argument = argument};
    if (name.size) {
        rst_fields_add(&fields, RST_FIELD_NAME, name);
        rst_fields_end(&fields);
    }
    rst_submission_begin(&submission);
    rst_submission_add(&submission, &op, (struct roost_bytes){fields.data, fields.size}, (struct roost_bytes){NULL, 0});
    int err = fields.failed ? rst_fail(ROOST_ENOMEM, "no memory for a request") : rst_submission_end(&submission, level);
    if (!err) err = rst_submit_wait(engine, &submission, wait_ms, NULL, 0, ret_outcome, ret_receipt);
    rst_buffer_free(&submission);
    rst_buffer_free(&fields);
    return err;
}

int rst_request(struct rst_engine *engine, uint16_t kind, uint64_t number, uint64_t argument, struct roost_bytes name,
                uint32_t level, uint32_t wait_ms, struct rst_outcome *ret_outcome)
{
    return ask(engine, kind, number, argument, name, level, wait_ms, ret_outcome, NULL);
}

static int ask_for_care(struct rst_engine *engine, uint16_t kind, uint64_t *ret_number)
{
    enum { CARE_WAIT_MS = 600 * 1000 };
    struct rst_outcome outcome;
    struct roost_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    int err = ask(engine, kind, 0, 0, (struct roost_bytes){NULL, 0}, ROOST_PROCESS, 0, &outcome, &receipt);
    if (!err) *ret_number = outcome.id;
    if (err != ROOST_ETIMEDOUT || outcome.result || !receipt.sequence) return err;
    if (rst_submit_cancel(engine, &receipt) == 0) {
        char name[96];
        rst_role_holder_name(engine, name, sizeof name);
        return rst_fail(
            ROOST_ETIMEDOUT,
            "%s: %s holds the writer's role (stopped or busy) and did not take the request up in time; nothing was done",
            engine->path, name);
    }
    err = rst_settle(engine, &receipt, CARE_WAIT_MS);
    if (!err) *ret_number = receipt.id;
    return err;
}

int rst_request_care(struct rst_engine *engine, uint16_t kind, uint64_t *ret_number)
{
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot ask the writer", engine->path);
    int err = rst_slot_use(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
    if (err) return err;
    uint64_t number = 0;
    err = ask_for_care(engine, kind, &number); /* its lane is the handle's until it is answered or taken back */
    rst_slot_unuse(engine);
    if (!err && ret_number) *ret_number = number;
    return err;
}

/* ---- without waiting ---- */

/* Lets the service thread look: it commits what waits when the role is free, and attaches anew. */
static void rouse_service(struct rst_engine *engine)
{
    if (engine->threadless) return;
    rst_service_start(engine);
    rst_add_u32(&engine->service_word, 1);
    rst_wake_all(&engine->service_word);
}

static int no_lane(struct rst_engine *engine)
{
    if (rst_region_named(rst_engine_region(engine))) return rst_slot_none();
    rouse_service(engine);
    return rst_fail(ROOST_EAGAIN, "the root's shared memory was lost and is being replaced; try again");
}

struct rst_buffer rst_submission_borrow(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->lane_lock);
    struct rst_buffer submission = engine->spare_submission;
    engine->spare_submission = (struct rst_buffer){0};
    pthread_mutex_unlock(&engine->lane_lock);
    return submission;
}

void rst_submission_return(struct rst_engine *engine, struct rst_buffer *submission)
{
    pthread_mutex_lock(&engine->lane_lock);
    struct rst_buffer other = engine->spare_submission;
    engine->spare_submission = *submission;
    pthread_mutex_unlock(&engine->lane_lock);
    rst_buffer_free(&other);
}

int rst_submit_start(struct rst_engine *engine, const struct rst_buffer *submission, void *user,
                     struct roost_receipt *ret_receipt)
{
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot write", engine->path);
    if (!rst_slot_stays(engine)) return no_lane(engine);
    pthread_mutex_lock(&engine->lane_lock);
    struct rst_flight *flight = NULL;
    bool stranded = false; /* in the lane of a region that is gone: until the caller knows, nothing may overtake it */
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) {
        if (engine->flights[i].used)
            stranded |= engine->flights[i].receipt.client != engine->client;
        else if (!flight)
            flight = &engine->flights[i];
    }
    uint64_t sequence = 0;
    int err = flight && !stranded ? rst_lane_submit(&engine->lane, submission, 0, &sequence) : ROOST_EAGAIN;
    if (err == ROOST_EAGAIN && flight && !stranded && make_room(engine))
        err = rst_lane_submit(&engine->lane, submission, 0, &sequence);
    *ret_receipt = (struct roost_receipt){engine->client, sequence, 0, 0};
    if (!err) *flight = (struct rst_flight){.receipt = *ret_receipt, .order = ++engine->flight_order, .user = user, .used = true};
    pthread_mutex_unlock(&engine->lane_lock);
    if (stranded) return rst_fail(err, "the root's shared memory was lost while submissions were in flight; poll them first");
    if (err)
        return err == ROOST_EAGAIN ? rst_fail(err, "%u submissions are in flight; poll some first", ROOST_SUBMIT_COUNT_MAX) : err;
    rst_region_ring(&rst_engine_region(engine)->header->doorbell.word);
    if (rst_role_available(engine)) rouse_service(engine);
    return 0;
}

/* The oldest flight if it is answered. Under lane_lock. 1, 0 (not ready), ROOST_ENOENT (none in flight). */
static int next_landed(struct rst_engine *engine, struct roost_completion *ret_completion)
{
    struct rst_flight *oldest = NULL;
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++)
        if (engine->flights[i].used && (!oldest || engine->flights[i].order < oldest->order)) oldest = &engine->flights[i];
    if (!oldest) return ROOST_ENOENT;
    land(engine, oldest);
    if (!oldest->settled) return 0; /* or its lane is gone: rst_submissions_carry is about to settle it */
    struct roost_completion landed = {.result = oldest->result,
                                      .failed_index = oldest->failed_index,
                                      .user = oldest->user,
                                      .receipt = oldest->receipt,
                                      .version = oldest->actual};
    landed.size = ret_completion->size < sizeof landed ? ret_completion->size : sizeof landed;
    memcpy(ret_completion, &landed, landed.size);
    oldest->used = false;
    return 1;
}

/* How many completions there are, of `count`; ROOST_ENOENT: nothing is in flight. */
static int take_landed(struct rst_engine *engine, struct roost_completion *ret_completions, size_t count,
                       struct rst_futex_wait *ret_completed)
{
    size_t got = 0, stride = ret_completions->size; /* the caller's struct may be an older, smaller one */
    uint8_t *next = (uint8_t *)ret_completions;
    int found = 0;
    pthread_mutex_lock(&engine->lane_lock);
    if (engine->lane.lane) *ret_completed = completions(engine);
    for (; got < count && (found = next_landed(engine, (struct roost_completion *)(void *)next)) == 1; got++) next += stride;
    pthread_mutex_unlock(&engine->lane_lock);
    return got ? (int)got : found;
}

static int poll_only(struct rst_engine *engine, struct roost_completion *ret_completions, size_t count)
{
    struct rst_futex_wait completed;
    int got = take_landed(engine, ret_completions, count, &completed);
    struct rst_notify *notify = rst_load_pointer(&engine->completions_notify);
    if (got > 0 || !notify) return got > 0 ? got : 0;
    rst_notify_arm(notify);
    got = take_landed(engine, ret_completions, count, &completed);
    if (got > 0) rst_notify_signal(notify);
    return got > 0 ? got : 0;
}

int rst_submit_poll(struct rst_engine *engine, struct roost_completion *ret_completions, size_t count, uint32_t wait_ms)
{
    if (!wait_ms) return poll_only(engine, ret_completions, count);
    int64_t deadline = rst_os->monotonic_time() + (int64_t)wait_ms * 1000000;
    for (;;) {
        struct rst_futex_wait completed;
        int got = take_landed(engine, ret_completions, count, &completed);
        if (got == ROOST_ENOENT) return 0;
        if (got || rst_os->monotonic_time() >= deadline) return got;
        int err = help_or_wait(engine, completed, deadline);
        if (err && err != ROOST_EAGAIN) return err;
    }
}

int rst_submit_file(struct rst_engine *engine, int *ret_file)
{
    struct rst_notify *notify = rst_load_pointer(&engine->completions_notify);
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot write", engine->path);
    int err = notify ? 0 : rst_notify_open(engine, RST_NOTIFY_COMPLETIONS, &notify);
    if (err) return err;
    rst_store_pointer(&engine->completions_notify, notify);
    *ret_file = rst_notify_file(notify);
    return 0;
}

/* The oldest flight whose lane is gone with its region. */
static bool stranded(struct rst_engine *engine, struct rst_flight *ret_flight)
{
    bool found = false;
    pthread_mutex_lock(&engine->lane_lock);
    for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) {
        const struct rst_flight *flight = &engine->flights[i];
        if (!flight->used || flight->settled || flight->receipt.client == engine->client) continue;
        if (!found || flight->order < ret_flight->order) *ret_flight = *flight;
        found = true;
    }
    pthread_mutex_unlock(&engine->lane_lock);
    return found;
}

void rst_submissions_carry(struct rst_engine *engine)
{
    struct rst_flight lost;
    while (stranded(engine, &lost)) {
        /* The log tells what became of it; one whose outcome cannot be had in time is unknown, not kept for ever. */
        int result = rst_settle(engine, &lost.receipt, engine->options.wait_ms);
        pthread_mutex_lock(&engine->lane_lock);
        for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) {
            struct rst_flight *flight = &engine->flights[i];
            if (!flight->used || flight->order != lost.order) continue;
            flight->receipt = lost.receipt;
            flight->result = result == ROOST_ETIMEDOUT ? ROOST_EUNKNOWN : result;
            flight->settled = true;
        }
        pthread_mutex_unlock(&engine->lane_lock);
    }
    struct rst_notify *notify = rst_load_pointer(&engine->completions_notify);
    if (notify) rst_notify_signal(notify);
}

int rst_submit_cancel(struct rst_engine *engine, const struct roost_receipt *receipt)
{
    pthread_mutex_lock(&engine->lane_lock);
    bool own = receipt->client == engine->client && rst_engine_slot(engine) >= 0;
    bool lost = !own && in_flight(engine, receipt);
    int err = own ? rst_lane_cancel(&engine->lane, receipt->sequence) : 0;
    pthread_mutex_unlock(&engine->lane_lock);
    struct rst_notify *notify = rst_load_pointer(&engine->completions_notify);
    if (own && !err && notify) rst_notify_signal(notify);
    if (lost) return rst_fail(ROOST_EBUSY, "the shared memory that the submission was in was lost; its completion tells");
    if (!own) return rst_fail(ROOST_EINVAL, "the receipt is not of this handle");
    return err ? rst_fail(err, "the writer has taken the submission up") : 0;
}

static int settle(struct rst_engine *engine, struct roost_receipt *receipt, uint32_t wait_ms, int64_t deadline)
{
    for (;;) {
        struct rst_outcome outcome;
        pthread_mutex_lock(&engine->lane_lock);
        struct rst_futex_wait completed = completions(engine);
        pthread_mutex_unlock(&engine->lane_lock);
        if (old_answer(engine, receipt, NULL, 0, &outcome)) {
            receipt->lsn = outcome.lsn;
            receipt->id = outcome.id;
            return outcome.result;
        }
        int found = take_answer(engine, receipt, NULL, 0, &outcome), err = 0;
        if (found < 0) {
            err = rst_request(engine, RST_OP_SETTLE, receipt->client, receipt->sequence, (struct roost_bytes){NULL, 0},
                              ROOST_PROCESS, wait_ms, &outcome);
            if (err == ROOST_ETIMEDOUT && outcome.result != ROOST_ETIMEDOUT) return err;
        } else if (found == 1) {
            err = outcome.result;
        }
        if (found != 0 && err != ROOST_ETIMEDOUT) {
            if (err == ROOST_EUNKNOWN) return rst_fail(err, "what became of that write is no longer known");
            if (err == ROOST_ECANCELED) return rst_fail(err, "that write was never applied and never will be");
            if (!err) {
                receipt->lsn = outcome.lsn;
                receipt->id = outcome.id;
            }
            return err;
        }
        if (rst_os->monotonic_time() >= deadline) return timed_out(engine);
        err = help_or_wait(engine, completed, deadline);
        if (err < 0 && err != ROOST_EAGAIN && err != ROOST_ETIMEDOUT) return err;
    }
}

int rst_settle(struct rst_engine *engine, struct roost_receipt *receipt, uint32_t wait_ms)
{
    int64_t deadline = rst_os->monotonic_time() + (int64_t)wait_ms * 1000000;
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot ask the writer", engine->path);
    int err = rst_slot_use(engine, deadline);
    if (err) return err;
    err = settle(engine, receipt, wait_ms, deadline);
    rst_slot_unuse(engine);
    return err;
}
