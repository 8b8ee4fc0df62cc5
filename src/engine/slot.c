/* SPDX-License-Identifier: MIT
 * engine/slot.c: a participant's slot and lane (layer 7). For as long as the handle is open, or, when more than RST_SLOT_STAY_COUNT
 * handles have the root open, borrowed for the length of a write (R12). */
#include "base/atomic.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

void rst_slot_unlock(struct rst_engine *engine, int slot)
{
    if (slot >= 0) rst_os->unlock_byte(engine->log.file, RST_LOCK_SLOT_OFFSET + (uint32_t)slot);
}

/* A dead client's submissions are committed before its lane is reused (R19): by this handle, which may keep the role then, or by
 * whoever has it. */
static int drain_predecessor(struct rst_engine *engine, int64_t deadline)
{
    while (rst_lane_waiting(rst_commit_region(engine), (uint32_t)engine->slot)) {
        int taken = rst_role_available(engine) ? rst_role_take(engine) : 0;
        if (taken == ROOST_EAGAIN) return ROOST_ENOENT; /* another region */
        int err = taken == 1 ? rst_commit_waiting(engine) : taken;
        if (err < 0) return err;
        if (rst_os->monotonic_time() >= deadline)
            return rst_fail(ROOST_ETIMEDOUT, "%s: a dead process's last writes could not be finished in time", engine->path);
        if (taken == 1) continue;
        rst_region_ring(&rst_commit_region(engine)->header->doorbell.word);
        rst_os->sleep(1000000);
    }
    return 0;
}

int rst_slot_enter(struct rst_engine *engine, bool borrowed, int64_t deadline)
{
    int slot;
    bool dirty = false;
    for (;;) {
        uint64_t word = rst_load_seq_u64(&rst_commit_region(engine)->header->role);
        slot = rst_participant_take(rst_commit_region(engine), engine->log.file, borrowed,
                                    rst_role_held(word) ? (int)rst_role_slot(word) : -1, &dirty);
        if (slot != ROOST_EAGAIN) break;
        if (!borrowed || rst_os->monotonic_time() >= deadline) return slot;
        rst_os->sleep(1000000);
    }
    if (slot < 0) return slot;
    rst_engine_set_slot(engine, slot);
    rst_role_rename(engine);
    uint64_t client = 0, incarnation;
    int err = dirty ? drain_predecessor(engine, deadline) : 0;
    while (!err && !client) err = rst_os->random(&client, sizeof client);
    if (!err) err = rst_participant_register(rst_commit_region(engine), (uint32_t)slot, client, &incarnation);
    if (err) {
        rst_role_drop(engine);
        rst_engine_set_slot(engine, -1);
        rst_slot_unlock(engine, slot);
        return err;
    }
    rst_store_u64(&engine->client, client);
    engine->slot_borrowed = borrowed;
    rst_lane_client_begin(&engine->lane, rst_commit_region(engine), (uint32_t)slot, incarnation);
    return 0;
}

void rst_slot_leave(struct rst_engine *engine)
{
    int slot = engine->slot;
    if (slot < 0) return;
    rst_engine_set_slot(engine, -1);
    rst_role_rename(engine);
    if (rst_lane_waiting(rst_commit_region(engine), (uint32_t)slot))
        rst_slot_unlock(engine, slot);
    else
        rst_participant_leave(rst_commit_region(engine), engine->log.file, (uint32_t)slot);
}

/* The slot that stays, or a negative number. Not while another thread attaches anew. */
static int own_slot(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->slot_lock);
    int slot = engine->slot_borrowed ? -1 : engine->slot;
    pthread_mutex_unlock(&engine->slot_lock);
    return slot;
}

int rst_slot_own(struct rst_engine *engine, const char *what)
{
    if (own_slot(engine) >= 0) return 0;
    /* A try to attach anew that failed (there was no time, no memory) has cost the handle its slot. */
    int err = rst_region_named(rst_engine_region(engine)) ? 0 : rst_engine_look_around(engine);
    if (err && err != ROOST_EAGAIN) return err;
    return own_slot(engine) >= 0
               ? 0
               : rst_fail(ROOST_EAGAIN, "more than %d handles have this root open; %s needs a slot of one's own",
                          RST_SLOT_STAY_COUNT, what);
}

int rst_slot_use(struct rst_engine *engine, int64_t deadline)
{
    int err = 0;
    pthread_mutex_lock(&engine->slot_lock);
    if (engine->slot < 0) {
        pthread_mutex_lock(&engine->commit_lock);
        err = rst_slot_enter(engine, true, deadline);
        pthread_mutex_unlock(&engine->commit_lock);
        if (err == ROOST_EAGAIN)
            err = rst_fail(ROOST_ETIMEDOUT,
                           "%s is open in more than %d handles, and all %d places for the writes of the others are taken",
                           engine->path, RST_SLOT_STAY_COUNT, RST_SLOT_COUNT - RST_SLOT_STAY_COUNT);
    }
    if (!err) engine->slot_users++;
    pthread_mutex_unlock(&engine->slot_lock);
    return err;
}

void rst_slot_unuse(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->slot_lock);
    if (--engine->slot_users == 0 && engine->slot_borrowed) {
        pthread_mutex_lock(&engine->commit_lock);
        rst_role_drop(engine);
        rst_slot_leave(engine);
        engine->slot_borrowed = false;
        pthread_mutex_unlock(&engine->commit_lock);
    }
    pthread_mutex_unlock(&engine->slot_lock);
}
