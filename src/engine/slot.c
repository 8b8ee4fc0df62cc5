/* SPDX-License-Identifier: MIT
 * engine/slot.c: a participant's slot and lane (layer 7). For as long as the handle is open, or, when more than RST_SLOT_STAY_COUNT
 * handles have the root open, borrowed for the length of a write (R12). */
#include <stdlib.h>

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

/* From now on submissions go into this slot's lane. The answers in a lane whose region was left can still be read. */
static int change_lane(struct rst_engine *engine, uint32_t slot, uint64_t client, uint64_t incarnation)
{
    const struct rst_region *region = rst_commit_region(engine);
    bool keep = engine->client && engine->lane.region != region;
    struct rst_old_lane *old_lane = keep ? calloc(1, sizeof *old_lane) : NULL;
    if (keep && !old_lane) return rst_fail(ROOST_ENOMEM, "no memory to attach to another region");
    pthread_mutex_lock(&engine->lane_lock);
    if (keep) {
        *old_lane = (struct rst_old_lane){engine->old_lanes, engine->client, engine->lane};
        engine->old_lanes = old_lane;
    }
    rst_store_u64(&engine->client, client);
    rst_lane_client_begin(&engine->lane, region, slot, incarnation);
    pthread_mutex_unlock(&engine->lane_lock);
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
    if (!err) err = change_lane(engine, (uint32_t)slot, client, incarnation);
    if (err) {
        rst_role_drop(engine);
        rst_engine_set_slot(engine, -1);
        rst_slot_unlock(engine, slot);
        return err;
    }
    engine->slot_borrowed = borrowed;
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

bool rst_slot_stays(const struct rst_engine *engine)
{
    int slot = rst_engine_slot(engine);
    return slot >= 0 && slot < RST_SLOT_STAY_COUNT; /* those above are borrowed */
}

/* The same, but not while another thread attaches anew. */
static bool stays_settled(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->slot_lock);
    bool stays = rst_slot_stays(engine);
    pthread_mutex_unlock(&engine->slot_lock);
    return stays;
}

int rst_slot_none(void)
{
    return rst_fail(
        ROOST_EAGAIN,
        "more than %d handles have this root open; owning a state, and submitting without waiting, need one of their slots",
        RST_SLOT_STAY_COUNT);
}

int rst_slot_own(struct rst_engine *engine)
{
    if (stays_settled(engine)) return 0;
    /* A try to attach anew that failed (there was no time, no memory) has cost the handle its slot. */
    int err = rst_region_named(rst_engine_region(engine)) ? 0 : rst_engine_look_around(engine);
    if (err && err != ROOST_EAGAIN) return err;
    return stays_settled(engine) ? 0 : rst_slot_none();
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
