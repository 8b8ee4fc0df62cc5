/* SPDX-License-Identifier: MIT
 * crash/workloads.c: the runs. Member 0 is the first opener, and so the writer until it rests or dies. */
#include "workloads.h"

#include "base/check.h"
#include "os/os.h"

enum { D = ROOST_DURABLE, P = ROOST_PROCESS };
#define ANY UINT64_MAX

uint32_t workload_region_kind;
uint64_t workload_seed = 1;

int make_root(uint32_t region_kind, uint64_t arena_size)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    settings.log_size = 64 << 10;
    settings.chunk_size = 64 << 10;
    settings.arena_size = arena_size ? arena_size : 256 << 10;
    settings.region = region_kind;
    return rst_root_create(FLOCK_PATH, &settings);
}

static void open_one(struct flock *f) { flock_open(f, 0); }

static void open_two(struct flock *f)
{
    flock_open(f, 0);
    flock_open(f, 1);
}

static void open_with_some(struct flock *f)
{
    flock_open(f, 0);
    for (int i = 0; i < 3; i++) flock_append(f, 0, i == 1 ? "named" : "", 200, D);
    flock_set(f, 0, "old", 30, ANY, 0, D, 0);
}

static void run_append(struct flock *f)
{
    for (int i = 0; i < 3; i++) flock_append(f, 0, "", 120, D);
}

static void run_append_process(struct flock *f)
{
    for (int i = 0; i < 3; i++) flock_append(f, 0, "", 120, P);
    flock_append(f, 0, "", 120, D);
    flock_append(f, 0, "", 120, P);
    flock_request(f, 0, roost_sync, "roost_sync");
    flock_append(f, 0, "", 120, P);
}

static void run_append_large(struct flock *f)
{
    flock_append(f, 0, "", 70000, D);
    flock_append(f, 0, "", 100, P);
    flock_append(f, 0, "big", 20000, P);
    flock_append(f, 0, "big", 70000, P);
    flock_append(f, 0, "", 100, D);
    flock_set(f, 0, "wide", 70000, ANY, 0, D, 0);
}

static void run_batch(struct flock *f)
{
    uint64_t id = flock_append(f, 0, "", 100, D);
    flock_batch(f, 0, id, D);
    flock_batch(f, 0, 0, P);
    flock_batch(f, 0, 0, D);
}

static void run_batch_large(struct flock *f)
{
    flock_append_many(f, 0, 20, 1500, D);
    flock_append_many(f, 0, 40, 900, P);
    flock_append_many(f, 0, 30, 150, D);
}

static void run_keys(struct flock *f)
{
    uint64_t version = flock_set(f, 0, "a", 50, 0, 0, D, 0);
    version = flock_set(f, 0, "a", 60, version, 0, D, 0);
    flock_set(f, 0, "a", 70, version + 100, 0, D, ROOST_EMISMATCH);
    flock_set(f, 0, "b", 50, 0, rst_os->real_time() + INT64_C(3600000000000), P, 0);
    flock_set(f, 0, "a", 70, 0, 0, D, ROOST_EMISMATCH);
    flock_delete(f, 0, "a", D);
    flock_set(f, 0, "a", 20, 0, 0, P, 0);
    sim_advance(f->sim, INT64_C(7200000000000));
    flock_set(f, 0, "b", 30, 0, 0, D, 0); /* the first has expired */
    flock_delete(f, 0, "b", P);
}

static void run_streams(struct flock *f)
{
    flock_stream(f, 0, "s", 100, D);
    flock_stream(f, 0, "s", 200, P);
    flock_stream(f, 0, "t", 50, P);
    flock_stream(f, 0, "s", 300, D);
    flock_stream(f, 0, "s", 9000, D);
}

static void run_states(struct flock *f)
{
    flock_publish(f, 0, "ada", P);
    flock_publish(f, 0, "ada", D);
    flock_publish(f, 0, "bob", P);
    flock_append(f, 0, "", 100, D);
    flock_publish(f, 0, "ada", P);
    flock_publish(f, 0, "bob", D);
    flock_publish(f, 0, "bob", P);
    flock_request(f, 0, roost_rest, "roost_rest");
    flock_serve(f, 0);
    flock_publish(f, 0, "ada", D);
}

static void run_states_reopened(struct flock *f)
{
    flock_publish(f, 0, "ada", P);
    flock_close(f, 0);
    flock_open(f, 0);
    flock_publish(f, 0, "ada", P);
    flock_publish(f, 0, "ada", D);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_close(f, 0);
    flock_open(f, 0);
    flock_publish(f, 0, "ada", D);
}

static void run_forget(struct flock *f)
{
    uint64_t first = flock_append(f, 0, "", 100, D), second = flock_append(f, 0, "called", 100, P);
    flock_forget(f, 0, first, D);
    flock_forget(f, 0, second, P);
    uint64_t third = flock_append(f, 0, "called", 100, D);
    flock_forget(f, 0, third, D);
    flock_forget(f, 0, 1, D); /* made by the preparation */
}

static void run_replace(struct flock *f)
{
    for (int i = 0; i < 3; i++) flock_append(f, 0, "named", 120, i == 1 ? P : D);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "named", 130, D);
    flock_append(f, 0, "named", 130, P);
}

static void run_checkpoint(struct flock *f)
{
    flock_append(f, 0, "", 100, P);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "named", 100, D);
    flock_forget(f, 0, 1, P);
    flock_set(f, 0, "old", 40, ANY, 0, P, 0);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_delete(f, 0, "old", P);
    flock_append(f, 0, "", 70000, P);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "", 100, D);
}

static void run_roll(struct flock *f)
{
    for (int i = 0; i < 14; i++) flock_append(f, 0, "", 7000, i % 4 ? P : D);
}

static void run_wrap(struct flock *f)
{
    for (int i = 0; i < 150; i++) flock_append(f, 0, i % 3 ? "" : "turning", 300, i % 16 ? P : D);
}

static void run_close(struct flock *f)
{
    flock_append(f, 0, "", 100, D);
    flock_append(f, 0, "", 100, P);
    flock_close(f, 0);
    flock_open(f, 0);
    flock_append(f, 0, "", 100, P);
    flock_close(f, 0);
    flock_open(f, 0);
    flock_close(f, 0);
    flock_open(f, 0);
    flock_append(f, 0, "", 100, D);
}

/* Words enough that the live segment is sealed at close. */
static void prepare_seal(struct flock *f)
{
    flock_open(f, 0);
    for (int i = 0; i < 500; i++) flock_append(f, 0, "", 200, P);
    flock_request(f, 0, roost_sync, "roost_sync");
}

static void run_seal(struct flock *f)
{
    flock_append(f, 0, "", 100, D);
    flock_close(f, 0);
    flock_open(f, 0);
    flock_append(f, 0, "", 100, D);
}

static void run_handover(struct flock *f)
{
    flock_append(f, 0, "", 100, D);
    flock_append(f, 0, "", 100, P);
    flock_append(f, 1, "", 100, P); /* served by 0 */
    flock_request(f, 0, roost_rest, "roost_rest");
    flock_serve(f, 0);
    flock_append(f, 1, "", 100, P);
    flock_request(f, 1, roost_rest, "roost_rest");
    flock_serve(f, 1);
    flock_append(f, 0, "", 100, D);
    flock_close(f, 0);
    flock_append(f, 1, "", 100, P);
    flock_close(f, 1);
}

static void run_submit(struct flock *f)
{
    flock_submit(f, 1, D);
    flock_append(f, 0, "", 100, P);
    flock_poll(f, 1, 1);
    flock_append(f, 0, "", 100, D);
}

static void run_rebuild(struct flock *f)
{
    flock_append(f, 0, "named", 100, P);
    flock_forget(f, 0, 1, D);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_stream(f, 0, "s", 100, P);
    flock_append(f, 0, "", 70000, D);
    flock_request(f, 0, roost_rebuild, "roost_rebuild");
    flock_append(f, 0, "", 100, D);
    flock_request(f, 0, roost_rebuild, "roost_rebuild");
    flock_set(f, 0, "old", 30, ANY, 0, D, 0);
}

static void run_mixed(struct flock *f)
{
    flock_append(f, 0, "", 100, P);
    flock_stream(f, 0, "s", 100, P);
    flock_set(f, 0, "k", 100, ANY, 0, D, 0);
    flock_publish(f, 0, "ada", P);
    flock_batch(f, 0, 2, P);
    flock_append(f, 0, "", 20000, P);
    flock_request(f, 0, roost_sync, "roost_sync");
    flock_append(f, 0, "named", 100, P);
    flock_publish(f, 0, "ada", D);
}

static void run_reading(struct flock *f)
{
    flock_append(f, 0, "", 100, D);
    flock_stream(f, 0, "s", 100, P);
    flock_publish(f, 0, "ada", P);
    flock_read(f, 0);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "named", 300, P);
    flock_read(f, 0);
}

/* Large payloads, a segment and something in the log. */
static void change_this_and_that(struct flock *f)
{
    flock_forget(f, 0, 1, P);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "", 70000, P);
    flock_stream(f, 0, "s", 100, P);
    flock_publish(f, 0, "ada", P);
    flock_append(f, 0, "named", 300, P);
}

static void run_backup(struct flock *f)
{
    change_this_and_that(f);
    flock_copy(f, 0, NULL);
    flock_compare_copy(f);
    flock_append(f, 0, "", 100, D);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
}

static void run_restore(struct flock *f)
{
    change_this_and_that(f);
    flock_close(f, 0);
    flock_copy(f, -1, rst_restore);
    flock_compare_copy(f);
}

static void run_rescue(struct flock *f)
{
    change_this_and_that(f);
    flock_close(f, 0);
    flock_copy(f, -1, rst_rescue);
    flock_compare_copy(f);
}

static void run_create(struct flock *f)
{
    int err = make_root(workload_region_kind, 0);
    if (err && f->tolerant) return;
    if (err) {
        oracle_complain("roost_create: %s (%s)", roost_error_name(err), roost_error_detail());
        flock_complain(f);
        return;
    }
    flock_open(f, 0);
    flock_append(f, 0, "", 100, D);
    flock_close(f, 0);
}

/* ---- the writer is killed, another member goes on ---- */

static void run_takeover(struct flock *f)
{
    flock_submit(f, 1, D);
    flock_append(f, 0, "named", 100, D);
    flock_publish(f, 0, "ada", P);
    flock_append(f, 0, "", 100, P);
    flock_publish(f, 0, "ada", D);
    flock_forget(f, 0, 1, P);
    flock_request(f, 0, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 0, "", 70000, D);
}

static void run_takeover_closing(struct flock *f)
{
    flock_submit(f, 1, P);
    flock_append(f, 0, "named", 100, P);
    flock_request(f, 0, roost_rebuild, "roost_rebuild");
    flock_append(f, 0, "", 100, P);
    flock_request(f, 0, roost_rest, "roost_rest");
    flock_serve(f, 0);
    flock_append(f, 0, "", 100, P);
    flock_close(f, 0);
}

static void prepare_takeover(struct flock *f)
{
    open_with_some(f);
    flock_open(f, 1);
}

static void finish_takeover(struct flock *f)
{
    flock_append(f, 1, "", 100, P);
    flock_poll(f, 1, 1);
    flock_compare(f, 1, DISASTER_NONE, true);
    flock_settle_orphan(f, 1);
    flock_publish(f, 1, "bob", D);
    flock_append(f, 1, "named", 100, D);
    flock_request(f, 1, roost_checkpoint, "roost_checkpoint");
    flock_append(f, 1, "", 100, P);
    flock_compare(f, 1, DISASTER_NONE, true);
    flock_check(f, 1);
    flock_close(f, 1);
}

/* The member that is killed is a client; the writer lives on and must not be disturbed, nor lose what was submitted. */
static void run_client_death(struct flock *f)
{
    flock_append(f, 1, "named", 100, D);
    flock_publish(f, 1, "ada", P);
    flock_append(f, 1, "", 70000, P);
    flock_batch(f, 1, 0, D);
    flock_close(f, 1);
}

static void finish_client_death(struct flock *f)
{
    flock_append(f, 0, "", 100, P);
    flock_open(f, 2); /* the dead one's slot */
    flock_append(f, 2, "named", 100, D);
    flock_compare(f, 2, DISASTER_NONE, true);
    flock_settle_orphan(f, 2);
    flock_publish(f, 2, "ada", D);
    flock_check(f, 0);
    flock_close(f, 2);
    flock_close(f, 0);
}

/* ---- made up from a seed ---- */

enum { MADE_UP_STEPS = 14, MADE_UP_IDS = 16 };
struct made_up {
    struct flock *flock;
    uint64_t random;
    uint64_t ids[MADE_UP_IDS], versions[3];
    uint32_t id_count;
};

static uint32_t draw(struct made_up *m, uint32_t below)
{
    m->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = m->random;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((x ^ x >> 31) % below);
}

static uint64_t an_id(struct made_up *m)
{
    if (!m->id_count) return 0;
    uint32_t at = draw(m, m->id_count);
    uint64_t id = m->ids[at];
    m->ids[at] = m->ids[--m->id_count];
    return id;
}

static void append_something(struct made_up *m, int member, uint32_t level)
{
    static const uint32_t sizes[] = {60, 60, 60, 300, 300, 5000, 9000, 70000};
    uint32_t size = sizes[draw(m, RST_COUNT_OF(sizes))];
    if (draw(m, 4) == 0) {
        flock_append(m->flock, member, "named", size, level);
        return;
    }
    uint64_t id = flock_append(m->flock, member, "", size, level);
    if (id && m->id_count < MADE_UP_IDS) m->ids[m->id_count++] = id;
}

static void change_a_key(struct made_up *m, int member, uint32_t level)
{
    static const char *const names[] = {"a", "b", "c"};
    uint32_t at = draw(m, RST_COUNT_OF(names)), how = draw(m, 4);
    if (how == 0 && m->versions[at]) {
        flock_delete(m->flock, member, names[at], level);
        m->versions[at] = 0;
    } else if (how == 1) {
        flock_set(m->flock, member, names[at], 40, m->versions[at] + 1000, 0, level, ROOST_EMISMATCH);
    } else {
        m->versions[at] =
            flock_set(m->flock, member, names[at], 20 + draw(m, 2000), how == 2 ? m->versions[at] : ANY, 0, level, 0);
    }
}

static void care_somehow(struct made_up *m, int member)
{
    static const struct {
        flock_request_fn request;
        const char *name;
    } cares[] = {{roost_checkpoint, "roost_checkpoint"},
                 {roost_checkpoint, "roost_checkpoint"},
                 {roost_rebuild, "roost_rebuild"},
                 {roost_sync, "roost_sync"},
                 {roost_rest, "roost_rest"},
                 {roost_rest, "roost_rest"}};
    uint32_t which = draw(m, RST_COUNT_OF(cares));
    flock_request(m->flock, member, cares[which].request, cares[which].name);
    for (int i = 0; i < MEMBER_MAX; i++) flock_serve(m->flock, i);
}

/* One step of member 0 or, with two actors, of member 1. */
static void do_something(struct made_up *m, uint32_t actors)
{
    struct flock *f = m->flock;
    int member = (int)draw(m, actors);
    uint32_t level = draw(m, 2) ? D : P;
    switch (draw(m, 12)) {
    case 0:
        flock_append_many(f, member, 1 + draw(m, 6), 100, level);
        break;
    case 1: {
        uint64_t id = an_id(m);
        if (id) flock_forget(f, member, id, level);
        break;
    }
    case 2:
    case 3:
        change_a_key(m, member, level);
        break;
    case 4:
        flock_stream(f, member, draw(m, 2) ? "s" : "t", 40 + draw(m, 400), level);
        break;
    case 5:
        flock_publish(f, member, member ? "bob" : "ada", level);
        break;
    case 6:
        flock_batch(f, member, an_id(m), level);
        break;
    case 7:
    case 8:
        care_somehow(m, member);
        break;
    case 9:
        flock_close(f, member);
        flock_open(f, member);
        break;
    default:
        append_something(m, member, level);
    }
}

static void run_made_up(struct flock *f)
{
    struct made_up m = {.flock = f, .random = workload_seed};
    for (int i = 0; i < MADE_UP_STEPS && !f->ended; i++) do_something(&m, 2);
}

/* Only the member that is to be killed acts; the other one waits for an answer meanwhile. */
static void run_made_up_takeover(struct flock *f)
{
    struct made_up m = {.flock = f, .random = workload_seed + 1};
    flock_submit(f, 1, draw(&m, 2) ? D : P);
    for (int i = 0; i < MADE_UP_STEPS && !f->ended; i++) do_something(&m, 1);
}

const struct workload workloads[] = {
    {"append", open_one, run_append, 16, 0, false, -1, NULL},
    {"append-process", open_one, run_append_process, 16, 0, false, -1, NULL},
    {"append-large", open_one, run_append_large, 8, 0, false, -1, NULL},
    {"batch", open_one, run_batch, 16, 0, false, -1, NULL},
    {"batch-large", open_one, run_batch_large, 6, 0, false, -1, NULL},
    {"keys", open_one, run_keys, 16, 0, false, -1, NULL},
    {"streams", open_one, run_streams, 16, 0, false, -1, NULL},
    {"states", open_one, run_states, 16, 0, false, -1, NULL},
    {"states-reopened", open_one, run_states_reopened, 16, 0, false, -1, NULL},
    {"forget", open_with_some, run_forget, 16, 0, false, -1, NULL},
    {"replace", open_with_some, run_replace, 16, 0, false, -1, NULL},
    {"checkpoint", open_with_some, run_checkpoint, 16, 0, false, -1, NULL},
    {"chunk-roll", open_one, run_roll, 10, 0, false, -1, NULL},
    {"log-wrap", open_one, run_wrap, 4, 0, false, -1, NULL},
    {"close", open_with_some, run_close, 16, 0, false, -1, NULL},
    {"seal", prepare_seal, run_seal, 1, 1 << 20, false, -1, NULL},
    {"handover", open_two, run_handover, 16, 0, false, -1, NULL},
    {"submit", open_two, run_submit, 16, 0, false, -1, NULL},
    {"rebuild", open_with_some, run_rebuild, 12, 0, false, -1, NULL},
    {"mixed", open_with_some, run_mixed, 16, 0, false, -1, NULL},
    {"reading", open_with_some, run_reading, 4, 0, false, -1, NULL},
    {"backup", open_with_some, run_backup, 6, 0, false, -1, NULL},
    {"restore", open_with_some, run_restore, 3, 0, false, -1, NULL},
    {"rescue", open_with_some, run_rescue, 3, 0, false, -1, NULL},
    {"create", NULL, run_create, 8, 0, true, -1, NULL},
    {"takeover", prepare_takeover, run_takeover, 16, 0, false, 0, finish_takeover},
    {"takeover-closing", prepare_takeover, run_takeover_closing, 16, 0, false, 0, finish_takeover},
    {"made-up", prepare_takeover, run_made_up, 16, 0, false, -1, NULL},
    {"made-up-takeover", prepare_takeover, run_made_up_takeover, 16, 0, false, 0, finish_takeover},
    {"client-death", prepare_takeover, run_client_death, 16, 0, false, 1, finish_client_death},
};
const unsigned workload_count = RST_COUNT_OF(workloads);
