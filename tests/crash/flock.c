/* SPDX-License-Identifier: MIT
 * crash/flock.c: the calls, each told to the oracle before and after. */
#include "flock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/os.h"

static roost_root *begin(struct flock *flock, int member)
{
    if (flock->ended) return NULL;
    RST_CHECK(sim_current() == flock->sim);
    sim_process_use(flock->sim, flock->members[member].process);
    flock->steps_before = flock->oracle->step_count;
    roost_root *root = flock->members[member].root;
    if (root) flock->members[member].sequence = root->engine->lane.sequence;
    return root;
}

void flock_complain(struct flock *flock)
{
    if (flock->ended) return;
    flock->ended = true;
    flock->violated(flock);
}

/* A call failed: did what it was to do happen? */
static void let_fail(struct flock *flock, int err)
{
    struct oracle *oracle = flock->oracle;
    if (oracle->step_count == flock->steps_before) return;
    struct step *step = &oracle->steps[flock->steps_before];
    if (err != ROOST_EUNKNOWN && err != ROOST_ETIMEDOUT) oracle_withdraw(step); /* promised: it did not */
}

/* Was the result what it had to be? */
static bool right(struct flock *flock, const char *call, int err, int want)
{
    if (err == want) return true;
    if (flock->tolerant) {
        let_fail(flock, err);
        return false;
    }
    oracle_complain("%s: %s (%s), expected %s", call, roost_error_name(err), roost_error_detail(), roost_error_name(want));
    flock_complain(flock);
    return false;
}

static void acknowledge(struct flock *flock, uint32_t step, uint64_t lsn, const uint64_t *numbers)
{
    if (!oracle_acknowledge(flock->oracle, step, lsn, numbers)) flock_complain(flock);
}

void flock_open(struct flock *flock, int member)
{
    if (flock->ended) return;
    flock->steps_before = flock->oracle->step_count;
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root = calloc(1, sizeof *root);
    RST_CHECK(root);
    flock->members[member].process = sim_process_create(flock->sim);
    sim_process_use(flock->sim, flock->members[member].process);
    int err = rst_engine_open(FLOCK_PATH, &options, true, &root->engine);
    flock->members[member].root = err ? NULL : root;
    if (err) free(root);
    right(flock, "opening", err, 0);
}

void flock_close(struct flock *flock, int member)
{
    roost_root *root = flock->members[member].root;
    if (!root) return;
    flock->members[member].root = NULL;
    flock->steps_before = flock->oracle->step_count;
    sim_process_use(flock->sim, flock->members[member].process);
    /* Where writing stopped, a state that could not be stored goes with the region. */
    if (rst_engine_region(root->engine)->header->broken) flock->oracle->states_lost = true;
    right(flock, "closing", rst_engine_close(root->engine), 0);
    free(root);
}

/* The handle's memory stays lost, as a dead process's would. What it had submitted may be committed later, or never. */
void flock_kill(struct flock *flock, int member)
{
    struct rst_engine *engine = flock->members[member].root ? flock->members[member].root->engine : NULL;
    for (uint32_t i = 0; i < flock->oracle->step_count; i++) {
        struct step *step = &flock->oracle->steps[i];
        if (step->status != STEP_INTENDED || step->floats) continue;
        step->floats = true;
        flock->orphan_change = step->change_first;
        if (engine && engine->lane.sequence > flock->members[member].sequence)
            flock->orphan = (struct roost_receipt){engine->client, engine->lane.sequence, 0, 0};
    }
    sim_process_kill(flock->sim, flock->members[member].process);
    flock->members[member].root = NULL;
}

void flock_serve(struct flock *flock, int member)
{
    roost_root *root = flock->members[member].root;
    if (!root || !root->engine->role_held || pthread_mutex_trylock(&root->engine->commit_lock) != 0) return;
    sim_process_use(flock->sim, flock->members[member].process);
    if (rst_lanes_waiting(rst_engine_region(root->engine))) rst_commit_waiting(root->engine);
    if (rst_engine_region(root->engine)->header->wanted) rst_role_rest(root->engine);
    pthread_mutex_unlock(&root->engine->commit_lock);
}

static struct roost_write at_level(uint32_t level)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = level;
    return write;
}

static struct roost_bytes bytes_of(const struct change *change)
{
    return (struct roost_bytes){content_of(change->serial, change->size, NULL), change->size};
}

uint64_t flock_append(struct flock *flock, int member, const char *key, uint32_t size, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return 0;
    struct oracle *oracle = flock->oracle;
    uint32_t step = oracle->step_count;
    oracle_intend(oracle, level);
    struct change *change = oracle_change(oracle, CHANGE_MEMORY, key, size);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = bytes_of(change);
    memory.key = roost_text(change->name);
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    roost_id id;
    int err = roost_append(root, &memory, &write, &id, &receipt);
    if (!right(flock, "roost_append", err, 0)) return 0;
    acknowledge(flock, step, receipt.lsn, &id);
    return id;
}

void flock_append_many(struct flock *flock, int member, uint32_t count, uint32_t size, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    struct oracle *oracle = flock->oracle;
    struct roost_memory memories[64];
    roost_id ids[64];
    RST_CHECK(count <= 64);
    uint32_t step = oracle->step_count;
    oracle_intend(oracle, level);
    for (uint32_t i = 0; i < count; i++) {
        memories[i] = (struct roost_memory)ROOST_MEMORY_INIT;
        memories[i].text = bytes_of(oracle_change(oracle, CHANGE_MEMORY, "", size));
    }
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    int err = roost_append_many(root, memories, count, &write, ids, &receipt);
    if (right(flock, "roost_append_many", err, 0)) acknowledge(flock, step, receipt.lsn, ids);
}

void flock_forget(struct flock *flock, int member, uint64_t id, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    uint32_t step = flock->oracle->step_count;
    oracle_intend(flock->oracle, level);
    oracle_change(flock->oracle, CHANGE_FORGET, "", 0)->number = id;
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    int err = roost_forget(root, id, &write, &receipt);
    if (right(flock, "roost_forget", err, 0)) acknowledge(flock, step, receipt.lsn, NULL);
}

uint64_t flock_set(struct flock *flock, int member, const char *key, uint32_t size, uint64_t expected, int64_t expires_ns,
                   uint32_t level, int want)
{
    roost_root *root = begin(flock, member);
    if (!root) return 0;
    struct oracle *oracle = flock->oracle;
    uint32_t step = oracle->step_count, serial = 0;
    if (!want) {
        oracle_intend(oracle, level);
        struct change *change = oracle_change(oracle, CHANGE_SET, key, size);
        change->expires_ns = expires_ns;
        serial = change->serial;
    }
    struct roost_write write = at_level(level);
    write.expires_ns = expires_ns;
    if (expected != UINT64_MAX) {
        write.flags = ROOST_WRITE_IF_VERSION;
        write.expected = expected;
    }
    struct roost_receipt receipt;
    int err = roost_kv_set(root, roost_text(key), (struct roost_bytes){content_of(serial, size, NULL), size}, &write, &receipt);
    if (!right(flock, "roost_kv_set", err, want) || want) return 0;
    acknowledge(flock, step, receipt.lsn, NULL);
    return receipt.lsn;
}

void flock_delete(struct flock *flock, int member, const char *key, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    uint32_t step = flock->oracle->step_count;
    oracle_intend(flock->oracle, level);
    oracle_change(flock->oracle, CHANGE_DELETE, key, 0);
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    int err = roost_kv_delete(root, roost_text(key), &write, &receipt);
    if (right(flock, "roost_kv_delete", err, 0)) acknowledge(flock, step, receipt.lsn, NULL);
}

void flock_stream(struct flock *flock, int member, const char *name, uint32_t size, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    uint32_t step = flock->oracle->step_count;
    oracle_intend(flock->oracle, level);
    struct change *change = oracle_change(flock->oracle, CHANGE_STREAM, name, size);
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    uint64_t index;
    int err = roost_stream_append(root, roost_text(name), bytes_of(change), &write, &index, &receipt);
    if (right(flock, "roost_stream_append", err, 0)) acknowledge(flock, step, receipt.lsn, NULL);
}

void flock_publish(struct flock *flock, int member, const char *name, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    struct publish *publish = oracle_publish(flock->oracle, name, false);
    struct roost_extra extra = {ROOST_TEXT("text"),
                                {content_of(publish->serial, 100 + publish->serial * 7, NULL), 100 + publish->serial * 7}};
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(name);
    state.status = roost_text("working");
    state.last_updated_id = publish->serial;
    state.extra = &extra;
    state.extra_count = 1;
    struct roost_write write = at_level(level);
    if (!right(flock, "roost_state_publish", roost_state_publish(root, &state, &write), 0)) return;
    publish->done = true;
    publish->durable = level == ROOST_DURABLE;
}

/* Two memories, a key, a stream's entry and, unless 0, a forget: one commit. */
static int make_batch(struct flock *flock, uint64_t forget, roost_batch **ret_batch)
{
    struct oracle *oracle = flock->oracle;
    int err = roost_batch_open(ret_batch);
    if (err) return err;
    roost_batch *batch = *ret_batch;
    for (int i = 0; i < 2; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        memory.text = bytes_of(oracle_change(oracle, CHANGE_MEMORY, "", 150));
        if (!err) err = roost_batch_append(batch, &memory);
        if (i) break;
        struct roost_bytes value = bytes_of(oracle_change(oracle, CHANGE_SET, "batched", 40));
        if (!err) err = roost_batch_kv_set(batch, roost_text("batched"), value, NULL);
        struct roost_bytes entry = bytes_of(oracle_change(oracle, CHANGE_STREAM, "stream", 60));
        if (!err) err = roost_batch_stream_append(batch, roost_text("stream"), entry);
        if (!forget) continue;
        oracle_change(oracle, CHANGE_FORGET, "", 0)->number = forget;
        if (!err) err = roost_batch_forget(batch, forget);
    }
    if (err) roost_batch_free(batch);
    return err;
}

void flock_batch(struct flock *flock, int member, uint64_t forget, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    uint32_t step = flock->oracle->step_count;
    oracle_intend(flock->oracle, level);
    roost_batch *batch;
    int err = make_batch(flock, forget, &batch);
    if (!right(flock, "making a batch", err, 0)) return;
    struct roost_write write = at_level(level);
    struct roost_receipt receipt;
    uint64_t numbers[8];
    err = roost_batch_commit(root, batch, &write, numbers, &receipt);
    roost_batch_free(batch);
    if (right(flock, "roost_batch_commit", err, 0)) acknowledge(flock, step, receipt.lsn, numbers);
}

void flock_submit(struct flock *flock, int member, uint32_t level)
{
    roost_root *root = begin(flock, member);
    if (!root) return;
    uint32_t step = flock->oracle->step_count;
    oracle_intend(flock->oracle, level)->floats = true;
    roost_batch *batch;
    int err = make_batch(flock, 0, &batch);
    if (!right(flock, "making a batch", err, 0)) return;
    struct roost_write write = at_level(level);
    err = roost_submit(root, batch, &write, (void *)(uintptr_t)step, NULL);
    roost_batch_free(batch);
    if (err && flock->tolerant) oracle_withdraw(&flock->oracle->steps[step]);
    right(flock, "roost_submit", err, 0);
}

void flock_poll(struct flock *flock, int member, uint32_t count)
{
    roost_root *root = begin(flock, member);
    for (uint32_t i = 0; root && !flock->ended && i < count; i++) {
        struct roost_completion completion = ROOST_COMPLETION_INIT;
        int got = roost_poll(root, &completion, 1, 5000);
        if (flock->tolerant && (got != 1 || completion.result)) {
            if (got == 1 && completion.result != ROOST_EUNKNOWN)
                oracle_withdraw(&flock->oracle->steps[(uintptr_t)completion.user]);
            return;
        }
        if (!right(flock, "roost_poll", got, 1) || !right(flock, "a completion", completion.result, 0)) return;
        acknowledge(flock, (uint32_t)(uintptr_t)completion.user, completion.receipt.lsn, NULL);
    }
}

void flock_request(struct flock *flock, int member, flock_request_fn request, const char *name)
{
    roost_root *root = begin(flock, member);
    if (root) right(flock, name, request(root), 0);
}

void flock_compare(struct flock *flock, int member, enum disaster disaster, bool search)
{
    roost_root *root = begin(flock, member);
    if (!root || flock->tolerant) return;
    sim_set_hook(flock->sim, NULL, NULL);
    int err = oracle_compare(flock->oracle, root, disaster, search);
    sim_set_hook(flock->sim, flock->hook, flock->hook_user);
    if (err < 0) flock_complain(flock);
}

static void note_finding(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    oracle_complain("roost_check: %s %s at %llu: %s", roost_error_name(error), file, (unsigned long long)offset, detail);
}

static void watch_a_little(struct flock *flock, roost_root *root)
{
    static const struct roost_topic topics[] = {
        {ROOST_TOPIC_STATES, 0, {NULL, 0}}, {ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_GENERATION, 0, {NULL, 0}}};
    roost_watch *watch;
    int err = roost_watch_open(root, topics, RST_COUNT_OF(topics), &watch);
    if (!right(flock, "roost_watch_open", err, 0)) return;
    int found = 1;
    for (int i = 0; i < 4 && found == 1; i++) {
        struct roost_event event = ROOST_EVENT_INIT;
        found = roost_watch_wait(watch, 0, &event);
    }
    if (found < 0) right(flock, "roost_watch_wait", found, 0);
    roost_watch_close(watch);
}

void flock_read(struct flock *flock, int member)
{
    static struct oracle oracle;
    roost_root *root = begin(flock, member);
    if (!root) return;
    oracle = *flock->oracle;
    sim_set_hook(flock->sim, NULL, NULL);
    if (oracle_compare(&oracle, root, DISASTER_NONE, true) < 0 && !(flock->tolerant && oracle_call_failed()))
        flock_complain(flock);
    sim_set_hook(flock->sim, flock->hook, flock->hook_user);
    struct roost_stats stats = ROOST_STATS_INIT;
    right(flock, "roost_stats", roost_stats(root, &stats), 0);
    watch_a_little(flock, root);
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    query.text = roost_text("uniq* \"of words\" -nothing");
    if (right(flock, "roost_search", roost_search(root, &query, &hits), 0)) roost_hits_close(hits);
    struct roost_location location = ROOST_LOCATION_INIT;
    right(flock, "roost_locate", roost_locate(root, 1, &location), 0);
    int found = roost_check(root, note_finding, NULL);
    if (found < 0) right(flock, "roost_check", found, 0);
}

void flock_observe(struct flock *flock, enum disaster disaster)
{
    static struct oracle oracle; /* what it learns by looking is not for those who come after */
    if (flock->ended || flock->tolerant) return;
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = ROOST_OPEN_OBSERVE;
    roost_root root = {.engine = NULL};
    sim_process_use(flock->sim, sim_process_create(flock->sim));
    int err = rst_engine_open(FLOCK_PATH, &options, true, &root.engine);
    if (err == ROOST_EROFS && disaster == DISASTER_POWER) return;
    if (!right(flock, "observing", err, 0)) return;
    sim_set_hook(flock->sim, NULL, NULL);
    oracle = *flock->oracle;
    if (oracle_compare(&oracle, &root, disaster, true) < 0) flock_complain(flock);
    rst_engine_close(root.engine);
    sim_set_hook(flock->sim, flock->hook, flock->hook_user);
}

void flock_settle_orphan(struct flock *flock, int member)
{
    roost_root *root = begin(flock, member);
    if (!root || !flock->orphan.sequence || flock->tolerant) return;
    const struct oracle *oracle = flock->oracle;
    struct roost_receipt receipt = flock->orphan;
    flock->orphan.sequence = 0;
    const struct change *change = &oracle->changes[flock->orphan_change];
    int err = roost_settle(root, &receipt, 1000);
    bool there = false;
    for (uint32_t i = 0; i < oracle->step_count; i++) there = there || oracle->steps[i].change_first == flock->orphan_change;
    /* A large payload's extent is asked for by a request of its own, of which nothing is remembered. */
    if ((err == 0 && there) || (err == ROOST_ECANCELED && !there) || (err == ROOST_EUNKNOWN && change->size > 8000)) return;
    oracle_complain("a dead process's write is %s, and roost_settle says %s (%s)", there ? "there" : "not there",
                    roost_error_name(err), roost_error_detail());
    flock_complain(flock);
}

void flock_check(struct flock *flock, int member)
{
    roost_root *root = begin(flock, member);
    if (!root || flock->tolerant) return;
    int found = roost_check(root, note_finding, NULL);
    if (found < 0) right(flock, "roost_check", found, 0);
    if (found > 0) flock_complain(flock);
}

/* What the root held when its copy was begun; of the run that goes on. */
static struct oracle copied;
static bool copy_begun;

void flock_copy(struct flock *flock, int member, flock_copy_fn for_closed)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    roost_root *root = member < 0 ? NULL : begin(flock, member);
    if (flock->ended || (member >= 0 && !root)) return;
    if (member < 0) sim_process_use(flock->sim, sim_process_create(flock->sim));
    flock->steps_before = flock->oracle->step_count;
    copied = *flock->oracle;
    copy_begun = true;
    /* What the last to close could not store is in the region alone, which a rescue does not read. */
    if (flock->tolerant && for_closed == rst_rescue) copied.states_lost = true;
    int err = root ? rst_backup(root->engine, FLOCK_COPY_PATH, note_finding, NULL, &copy)
                   : for_closed(FLOCK_PATH, FLOCK_COPY_PATH, note_finding, NULL, &copy);
    /* What the disk would not give a rescue is missing in the copy, and it said so. */
    if (flock->tolerant && for_closed == rst_rescue && err > 0) copy_begun = false;
    flock->oracle->copied = right(flock, "copying", err, 0);
}

void flock_compare_copy(struct flock *flock)
{
    static struct oracle oracle;
    struct rst_stat stat;
    if (!copy_begun || flock->ended || flock->tolerant) return;
    int process = sim_process_use(flock->sim, sim_process_create(flock->sim));
    sim_set_hook(flock->sim, NULL, NULL);
    int directory = rst_os->open(-1, FLOCK_COPY_PATH, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    bool there = directory >= 0 && rst_os->stat_at(directory, "state.wal", &stat) == 0;
    if (directory >= 0) rst_os->close(directory);
    if (!there && flock->oracle->copied) {
        oracle_complain("the copy that was finished is not there");
        flock_complain(flock);
    }
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root root = {.engine = NULL};
    if (there && right(flock, "opening the copy", rst_engine_open(FLOCK_COPY_PATH, &options, true, &root.engine), 0)) {
        oracle = copied;
        oracle_complain("?");
        bool good = oracle_compare(&oracle, &root, DISASTER_NONE, true) == 0 && roost_check(&root, note_finding, NULL) == 0;
        if (!good) flock_complain(flock);
        right(flock, "closing the copy", rst_engine_close(root.engine), 0);
    }
    sim_set_hook(flock->sim, flock->hook, flock->hook_user);
    sim_process_use(flock->sim, process);
}

void flock_forget_copy(void) { copy_begun = false; }
