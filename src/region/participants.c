/* SPDX-License-Identifier: MIT
 * region/participants.c: who takes part, and who of them lives (layer 3). */
#include "region/participants.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "os/os.h"
#include "region/lanes.h"

static int try_slot(const struct rst_region *region, int log_file, uint32_t slot)
{
    int err = rst_os->lock_byte(log_file, RST_LOCK_SLOT_OFFSET + slot);
    if (err == -EWOULDBLOCK) return 0;
    if (err) return rst_fail(err, "locking a participant's byte of state.wal: %s", strerror(-err));
    /* Before the caller looks at the region's `moved` mark: a last closer marks first and looks at this after (R11). */
    rst_store_seq_u64(&region->participants[slot].leaving, 0);
    uint64_t role = rst_load_seq_u64(&region->header->role);
    if (rst_role_held(role) && rst_role_slot(role) == slot) {
        /* Its holder died this moment. Whoever held this byte now would pass for the living holder (R16). */
        rst_os->unlock_byte(log_file, RST_LOCK_SLOT_OFFSET + slot);
        return 0;
    }
    uint32_t high = rst_load_seq_u32(&region->header->participant_high);
    while (high <= slot) {
        if (rst_cas_u32(&region->header->participant_high, high, slot + 1)) break;
        high = rst_load_seq_u32(&region->header->participant_high);
    }
    return 1;
}

/* The order in which slots are tried: low numbers again and again, so that whoever serves has few lanes to look at and the lanes take
 * little memory; a dead client's before a new one; one with unfinished submissions, which cost a commit, last. */
enum slot_kind { LEFT_CLEAN, DEAD_OR_LIVE, NEVER_USED, UNFINISHED };

static int kind_of(const struct rst_region *region, uint32_t slot)
{
    /* Not by participant_high: the first one that borrows puts it above all slots that stay. */
    if (!rst_load_u32(&region->participants[slot].lane_allocated)) return NEVER_USED;
    if (!rst_load_u64(&region->participants[slot].client)) return LEFT_CLEAN;
    return rst_lane_waiting(region, slot) ? UNFINISHED : DEAD_OR_LIVE;
}

int rst_participant_take(const struct rst_region *region, int log_file, bool borrowed, int busy, bool *ret_dirty)
{
    uint32_t first = borrowed ? RST_SLOT_STAY_COUNT : 0, end = borrowed ? RST_SLOT_COUNT : RST_SLOT_STAY_COUNT;
    for (int kind = LEFT_CLEAN; kind <= UNFINISHED; kind++) {
        for (uint32_t slot = first; slot < end; slot++) {
            if ((int)slot == busy || kind_of(region, slot) != kind) continue;
            int taken = try_slot(region, log_file, slot);
            if (taken < 0) return taken;
            if (!taken) continue;
            *ret_dirty = rst_load_u64(&region->participants[slot].client) != 0;
            return (int)slot;
        }
    }
    return ROOST_EAGAIN;
}

int rst_participant_register(const struct rst_region *region, uint32_t slot, uint64_t client, uint64_t *ret_incarnation)
{
    struct rst_participant *participant = &region->participants[slot];
    uint64_t incarnation = rst_load_u64(&participant->incarnation);
    rst_participant_free_pool(region, slot);
    if (!rst_load_u32(&participant->lane_allocated)) {
        int err = rst_region_allocate(region, region->places.lanes + (uint64_t)slot * RST_LANE_SIZE, RST_LANE_SIZE);
        if (err) return err;
    }
    /* crash: 1 lane reset or not, client 0: the slot is clean, nobody drains it
     *        2 client stored: registered. The byte lock says whether it lives. */
    struct rst_lane *lane = rst_lane_of(region, slot);
    rst_store_u64(&lane->submitted, 0);
    rst_store_u64(&lane->consumed, 0);
    for (uint32_t i = 0; i < RST_LANE_ENTRY_COUNT; i++) rst_store_u64(&lane->entries[i].word, 0);
    participant->pid = rst_os->process_id();
    participant->attached_ns = rst_os->real_time();
    memset(participant->command, 0, sizeof participant->command);
    snprintf(participant->command, sizeof participant->command, "%s", program_invocation_short_name);
    rst_store_u64(&participant->incarnation, incarnation + 1);
    rst_store_u32(&participant->lane_allocated, 1);
    rst_store_seq_u64(&participant->client, client);
    *ret_incarnation = incarnation + 1;
    return 0;
}

void rst_participant_free_pool(const struct rst_region *region, uint32_t slot)
{
    for (uint64_t step = 0; step < region->places.pool_step_count; step++) {
        uint64_t owner = rst_load_u64(&region->header->pool_owner[step]);
        if (owner >> 48 == slot + 1) rst_store_u64(&region->header->pool_owner[step], 0);
    }
}

void rst_participant_leave(const struct rst_region *region, int log_file, uint32_t slot)
{
    rst_participant_free_pool(region, slot);
    rst_store_seq_u64(&region->participants[slot].client, 0);
    rst_os->unlock_byte(log_file, RST_LOCK_SLOT_OFFSET + slot);
}

int rst_participant_alive(int log_file, uint32_t slot) { return rst_os->probe_byte(log_file, RST_LOCK_SLOT_OFFSET + slot) != 0; }

bool rst_participants_any_other(const struct rst_region *region, int log_file, int own)
{
    /* An attacher may hold its byte before it has written anything into the region, so all bytes are asked. */
    for (uint32_t slot = 0; slot < RST_SLOT_COUNT; slot++)
        if ((int)slot != own && !rst_load_seq_u64(&region->participants[slot].leaving) && rst_participant_alive(log_file, slot))
            return true;
    return false;
}

void rst_participant_name(const struct rst_region *region, uint32_t slot, char *ret_name, size_t name_size)
{
    const struct rst_participant *participant = &region->participants[slot % RST_SLOT_COUNT];
    char command[sizeof participant->command];
    memcpy(command, participant->command, sizeof command);
    command[sizeof command - 1] = '\0';
    snprintf(ret_name, name_size, "process %d (%s)", participant->pid, command[0] ? command : "?");
}
