/* SPDX-License-Identifier: MIT
 * region/participants.h: who takes part, and who of them lives (layer 3).
 * Slot n lives while the kernel holds a byte lock (OFD) on state.wal for it: right across PID namespaces and freed at death
 * (R12). Never judged by pid or clock. The lock belongs to an open description: a handle has its own. */
#ifndef RST_REGION_PARTICIPANTS_H
#define RST_REGION_PARTICIPANTS_H

#include "region/region.h"

/* Byte offsets of the locks: far behind anything that is ever stored in the file. */
#define RST_LOCK_SLOT_OFFSET (UINT64_C(1) << 62)
#define RST_LOCK_STATE_OFFSET (RST_LOCK_SLOT_OFFSET + 0x10000)

/* Takes a byte lock on a free slot: first one left clean by its predecessor, last one whose lane still holds a dead client's
 * submissions (*ret_dirty: have the lane drained before rst_participant_register). `busy`: a slot that the role word names; it is taken
 * only by a holder of the flock (R16). borrowed: one of the 16. Returns the slot; ROOST_EAGAIN: all are taken. */
int rst_participant_take(const struct rst_region *region, int log_file, bool borrowed, int busy, bool *ret_dirty);
/* Makes the slot's lane real and enters the client. 0 or ROOST_ENOSPC. */
int rst_participant_register(const struct rst_region *region, uint32_t slot, uint64_t client, uint64_t *ret_incarnation);
/* Orderly end: the lane is drained. Frees pool steps, clears the entry, unlocks the byte. */
void rst_participant_leave(const struct rst_region *region, int log_file, uint32_t slot);
/* Frees the pool steps of earlier incarnations of a slot whose byte lock the caller holds and whose lane is drained. */
void rst_participant_free_pool(const struct rst_region *region, uint32_t slot);
/* 1: another open description holds the slot's lock; 0: not. Never ask for one's own slot: one's own lock looks free (R17). */
int rst_participant_alive(int log_file, uint32_t slot);
/* Is any other slot than `own` (-1: none) alive and not leaving? */
bool rst_participants_any_other(const struct rst_region *region, int log_file, int own);
/* "pid 123 (name)" for messages. */
void rst_participant_name(const struct rst_region *region, uint32_t slot, char *ret_name, size_t name_size);

#endif
