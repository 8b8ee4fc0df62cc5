/* SPDX-License-Identifier: MIT
 * engine/role.c: taking the writer's role, serving, letting it rest (layer 7). Model: models/role.pml.
 * The role is one word in the region beside the flock on state.wal (R16). It follows the work: taken in O(1) when it
 * rests, inherited when its holder died, never stolen from a living process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

bool rst_role_available(const struct rst_engine *engine)
{
    uint64_t word = rst_load_seq_u64(&rst_engine_region(engine)->header->role);
    if (!rst_role_held(word)) return true;
    uint32_t slot = rst_role_slot(word);
    if (slot == RST_ROLE_NOBODY) return true;
    /* One's own lock looks free to oneself (R17); a word that names one's own slot means that this handle holds it. */
    if ((int)slot == rst_engine_slot(engine)) return true;
    return !rst_participant_alive(engine->log.file, slot);
}

void rst_role_holder_name(const struct rst_engine *engine, char *ret_name, size_t name_size)
{
    const struct rst_region *region = rst_engine_region(engine);
    uint64_t word = rst_load_seq_u64(&region->header->role);
    if (rst_role_held(word))
        rst_participant_name(region, rst_role_slot(word), ret_name, name_size);
    else
        snprintf(ret_name, name_size, "nobody");
}

/* Holding the flock: is this still the root, and the region the one that the log names (R11)? */
static int still_right(struct rst_engine *engine)
{
    int err = rst_engine_still_there(engine);
    if (err) return err;
    err = rst_log_read_header(&engine->log);
    if (err) return err;
    const struct rst_region *region = rst_commit_region(engine);
    if (engine->log.header.region_nonce != region->header->nonce || !rst_region_named(region)) return ROOST_EAGAIN;
    /* A closer marks and unlinks under the flock: a mark that is found under it is a dead one's (R11). */
    if (rst_load_seq_u32(&region->header->moved.word)) rst_store_seq_u32(&region->header->moved.word, 0);
    return 0;
}

static uint64_t own_word(const struct rst_engine *engine)
{
    /* Whoever closes has left his slot already: nobody's, so that his death is seen at once. */
    return rst_role_word(engine->slot < 0 ? (uint32_t)RST_ROLE_NOBODY : (uint32_t)engine->slot, 0);
}

/* A process that met a limit of its own (R9) lets go though there is work, and lets others take the role first. */
static bool limited(const struct rst_engine *engine)
{
    return engine->own_limit_ns && rst_os->monotonic_time() - engine->own_limit_ns < INT64_C(5000000) * RST_WAIT_SLICE_MS;
}

/* Who was asked for the role and let go of it does not take it again before whoever asked had a chance. Not while closing. */
static bool yields(const struct rst_engine *engine)
{
    enum { YIELD_MS = 4 };
    return engine->yielded_ns && rst_os->monotonic_time() - engine->yielded_ns < YIELD_MS * INT64_C(1000000) &&
           !rst_load_u32(&engine->service_stop);
}

/* Writing stopped for something that may have passed: the holder does what an heir would (R9, R20). 1, or an error. */
static int try_again(struct rst_engine *engine)
{
    int broken = rst_region_broken(rst_commit_region(engine));
    int err = broken && broken != ROOST_EDAMAGED ? rst_recover_heir(engine) : 0;
    return err ? err : 1;
}

int rst_role_take(struct rst_engine *engine)
{
    if (engine->role_held) return rst_engine_named(engine) ? try_again(engine) : still_right(engine);
    if (limited(engine) || yields(engine)) return 0;
    int err = rst_os->flock(engine->log.file);
    if (err == -EWOULDBLOCK) return 0;
    if (err) return rst_fail(err, "locking %s/state.wal: %s", engine->path, strerror(-err));
    err = still_right(engine);
    if (err) {
        rst_os->funlock(engine->log.file);
        return err;
    }
    struct rst_region_header *header = rst_commit_region(engine)->header;
    uint64_t word = rst_load_seq_u64(&header->role);
    /* crash: 1 flock held, word names a dead process: the next one inherits
     *        2 word names this process: the same, once it is dead */
    rst_store_seq_u64(&header->role, own_word(engine));
    rst_store_seq_u32(&header->wanted, 0);
    if (rst_role_held(word) || rst_region_broken(rst_commit_region(engine))) {
        err = rst_recover_heir(engine);
    } else if (!rst_region_read_writer(rst_commit_region(engine), &engine->writer) ||
               !rst_region_read_snapshot(rst_commit_region(engine), &engine->snapshot)) {
        err = rst_fail(ROOST_ECORRUPT, "the region's latches cannot be read");
    }
    if (err) {
        /* Held by nobody who lives: whoever tries next inherits; this process lives and would be waited for. */
        rst_store_seq_u64(&header->role, rst_role_word(RST_ROLE_NOBODY, 0));
        rst_os->funlock(engine->log.file);
        return err;
    }
    engine->role_held = true;
    engine->reserve_kept = false; /* another one may have given it up */
    engine->last_work_ns = rst_os->monotonic_time();
    engine->unsynced_since_ns = engine->writer.durable_position < engine->writer.written_position ? engine->last_work_ns : 0;
    rst_region_ring(&header->role_changed.word);
    if (!engine->threadless) {
        rst_service_start(engine);
        rst_add_u32(&engine->service_word, 1);
        rst_wake_all(&engine->service_word);
    }
    return 1;
}

int rst_role_rest(struct rst_engine *engine)
{
    if (!engine->role_held) return 1;
    struct rst_region_header *header = rst_commit_region(engine)->header;
    /* States that cannot be stored now (a full disk) stay in their slots; that is no reason to keep the role (R18). */
    int err = 0;
    if (!rst_broken(engine) && rst_commit_states(engine, true) < 0)
        rst_engine_log(engine, ROOST_LOG_WARNING, "agents' states could not be stored: %s", rst_fail_detail());
    if (!rst_broken(engine)) err = rst_commit_sync(engine);
    if (engine->abandon) {
        rst_role_abandon(engine);
        return 1;
    }
    if (err && !rst_broken(engine)) return err;
    rst_region_write_writer(rst_commit_region(engine), &engine->writer);
    /* crash: 1 word FREE, flock held: freed by the kernel; the next one finds a resting role
     * A client stores its entry and then loads the word; this stores the word and then looks at the lanes (seq_cst both): one of the
     * two sees the other (models/role.pml: without the second look a slice is lost). */
    rst_store_seq_u64(&header->role, 0);
    if (!rst_broken(engine) && !limited(engine) && rst_lanes_waiting(rst_commit_region(engine))) {
        rst_store_seq_u64(&header->role, own_word(engine));
        return 0;
    }
    engine->role_held = false;
    rst_os->funlock(engine->log.file);
    rst_region_ring(&header->role_changed.word);
    return 1;
}

void rst_role_abandon(struct rst_engine *engine)
{
    engine->abandon = false;
    rst_store_seq_u64(&rst_commit_region(engine)->header->role, rst_role_word(RST_ROLE_NOBODY, 0));
    engine->role_held = false;
    rst_os->funlock(engine->log.file);
    rst_region_ring(&rst_commit_region(engine)->header->role_changed.word);
}

int rst_role_drop(struct rst_engine *engine)
{
    int err = 0;
    for (int tries = 0; !err && engine->role_held && tries < 1000; tries++) {
        err = rst_role_rest(engine);
        if (err == 0) err = rst_commit_waiting(engine);
        if (err > 0) err = 0;
    }
    if (!engine->role_held) return 0;
    rst_role_abandon(engine); /* it cannot be left in good order */
    return err;
}

void rst_role_rename(struct rst_engine *engine)
{
    if (engine->role_held) rst_store_seq_u64(&rst_commit_region(engine)->header->role, own_word(engine));
}

/* ---- the service thread ---- */

static bool lane_waiting(struct rst_engine *engine)
{
    return engine->slot >= 0 && rst_lane_waiting(rst_commit_region(engine), (uint32_t)engine->slot);
}

/* One look at everything there is to do, under commit_lock. Returns how long to sleep after it, ns. */
static int64_t serve(struct rst_engine *engine)
{
    int64_t now = rst_os->monotonic_time(), idle = (int64_t)engine->options.idle_ms * 1000000;
    if (!engine->role_held && engine->slot < 0) return -1; /* between the calls of a handle that borrows its slot */
    if (!engine->role_held && lane_waiting(engine) && rst_role_available(engine) && rst_role_take(engine) < 0)
        return RST_WAIT_SLICE_MS * INT64_C(1000000);
    if (!engine->role_held && rst_states_unstored(rst_commit_region(engine)) && rst_role_available(engine)) rst_role_take(engine);
    if (!engine->role_held)
        return rst_states_unstored(rst_commit_region(engine)) || lane_waiting(engine) ? RST_WAIT_SLICE_MS * INT64_C(1000000) : -1;
    if (rst_lanes_waiting(rst_commit_region(engine)) && rst_commit_waiting(engine) < 0)
        return RST_WAIT_SLICE_MS * INT64_C(1000000);
    if (!engine->role_held) return RST_WAIT_SLICE_MS * INT64_C(1000000);
    now = rst_os->monotonic_time();
    if (engine->unsynced_since_ns && now - engine->unsynced_since_ns >= RST_SYNC_DELAY_MS * INT64_C(1000000) &&
        !rst_broken(engine)) {
        int err = rst_commit_sync(engine);
        if (err && !engine->last_error) engine->last_error = err;
    }
    bool hold = engine->options.flags & ROOST_OPEN_HOLD, wanted = rst_load_seq_u32(&rst_commit_region(engine)->header->wanted);
    if (wanted || (!hold && now - engine->last_work_ns >= idle)) {
        int rested = rst_role_rest(engine);
        if (rested < 0 && !engine->last_error) engine->last_error = rested;
        if (rested == 1 && wanted) engine->yielded_ns = rst_os->monotonic_time();
        if (rested == 1) return -1;
    }
    if (hold) idle = RST_SYNC_DELAY_MS * INT64_C(1000000);
    int64_t rest = idle - (now - engine->last_work_ns);
    return rest > 1000000 ? rest : 1000000;
}

static void *service_main(void *argument)
{
    struct rst_engine *engine = argument;
    while (!rst_load_u32(&engine->service_stop)) {
        const struct rst_region *region = rst_engine_region(engine);
        const uint32_t *doorbell = &region->header->doorbell.word;
        uint32_t word = rst_load_u32(&engine->service_word), bell = rst_load_seq_u32(doorbell);
        pthread_mutex_lock(&engine->commit_lock);
        bool named = rst_region_named(rst_commit_region(engine));
        int64_t sleep_ns = named && rst_engine_named(engine) ? serve(engine) : RST_WAIT_SLICE_MS * INT64_C(1000000);
        bool held = engine->role_held;
        bool replaced = region != rst_commit_region(engine);
        pthread_mutex_unlock(&engine->commit_lock);
        if (rst_load_u32(&engine->service_stop)) break;
        if (replaced) continue;
        /* A writer whose region lost its name makes the new one: nobody else can while it has the flock. Who owns states brings
         * them along (R11). */
        if (!named && rst_engine_attach_anew(engine) == ROOST_EAGAIN) continue;
        struct rst_futex_wait waits[2] = {{&engine->service_word, word}, {doorbell, bell}};
        /* Without the role nobody rings for this process but itself. Agents' states are stored within a second. */
        if (sleep_ns < 0) sleep_ns = RST_SYNC_DELAY_MS * INT64_C(1000000);
        rst_os->futex_wait_any(waits, held ? 2 : 1, sleep_ns);
    }
    return NULL;
}

int rst_service_start(struct rst_engine *engine)
{
    if (engine->threadless) return 0;
    int err = 0;
    pthread_mutex_lock(&engine->view_lock);
    /* Not while closing: taking the role for the last time must not bring back the thread that was just ended. */
    if (!engine->service_running && !rst_load_u32(&engine->service_stop)) {
        err = rst_thread_start(&engine->service, service_main, engine);
        engine->service_running = !err;
    }
    pthread_mutex_unlock(&engine->view_lock);
    return err ? rst_fail(err, "a thread cannot be started: %s", strerror(-err)) : 0;
}

void rst_service_stop(struct rst_engine *engine)
{
    rst_store_u32(&engine->service_stop, 1);
    if (!engine->service_running) return;
    rst_add_u32(&engine->service_word, 1);
    rst_wake_all(&engine->service_word);
    pthread_join(engine->service, NULL);
    engine->service_running = false;
}
