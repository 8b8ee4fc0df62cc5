/* SPDX-License-Identifier: MIT
 * region/lanes.h: one client's submissions and their answers (layer 3). Model: models/dedup.pml.
 *
 * Each participant has a lane of its own, so a client that dies while submitting hurts nobody (R13). An entry goes
 * EMPTY -> SUBMITTED (client) -> TAKEN (writer) -> DONE (writer) -> EMPTY (client, once read); or SUBMITTED -> CANCELLED
 * (client). Sequences of one client are answered in order, and each exactly once, across any number of writers. */
#ifndef RST_REGION_LANES_H
#define RST_REGION_LANES_H

#include "base/buffer.h"
#include "region/region.h"

/* The client's private side; the caller serialises its threads. */
struct rst_lane_client {
    const struct rst_region *region;
    struct rst_lane *lane;
    uint32_t slot;
    uint64_t incarnation;
    uint64_t sequence;             /* the last one given */
    uint64_t data_head, data_tail; /* bytes ever taken and freed of lane->data; a ring */
    uint32_t in_flight;
    struct rst_lane_space { /* by sequence % RST_LANE_ENTRY_COUNT */
        uint64_t data_end;  /* data_head after it was taken; 0: it lies in the pool */
        uint32_t step, step_count;
        bool used, freed, abandoned;
    } spaces[RST_LANE_ENTRY_COUNT];
};

struct rst_lane *rst_lane_of(const struct rst_region *region, uint32_t slot);
void rst_lane_client_begin(struct rst_lane_client *client, const struct rst_region *region, uint32_t slot, uint64_t incarnation);
/* The greatest submission that a lane or the pool can take, bytes. */
uint64_t rst_lane_submission_max(const struct rst_region *region);
/* Stores a submission and rings the doorbell. *ret_sequence names it. result_count: numbers that the answer may bring.
 * ROOST_EAGAIN: no room at the moment (the lane's or the pool's); ROOST_E2BIG: never; ROOST_ENOSPC: the pool cannot grow. */
int rst_lane_submit(struct rst_lane_client *client, const struct rst_buffer *submission, uint32_t result_count,
                    uint64_t *ret_sequence);
struct rst_lane_answer {
    int32_t result;
    uint32_t failed_index, result_count;
    uint64_t lsn, id, actual;
    const uint64_t *results; /* in the lane: copy before rst_lane_release */
};
/* 1: answered (or cancelled: result ROOST_ECANCELED); 0: not yet; ROOST_ENOENT: no such submission here. */
int rst_lane_answered(const struct rst_lane_client *client, uint64_t sequence, struct rst_lane_answer *ret_answer);
/* After the answer was read: makes the entry and its space free. */
void rst_lane_release(struct rst_lane_client *client, uint64_t sequence);
/* Nobody waits for its answer any more: it may go when the room is needed. */
void rst_lane_abandon(struct rst_lane_client *client, uint64_t sequence);
/* Releases what was abandoned and is answered by now. true: there was any. */
bool rst_lane_reap(struct rst_lane_client *client);
/* 0, also when it was cancelled before, or ROOST_EBUSY: a writer has taken it up. */
int rst_lane_cancel(struct rst_lane_client *client, uint64_t sequence);

/* The writer's side. */
struct rst_lane_item {
    uint32_t slot;
    uint64_t client, sequence;
    struct rst_lane_entry *entry;
};
/* The next submission of a lane after `after` (a sequence >= lane->consumed): marks it TAKEN and copies it to ret_bytes (appended).
 * 1: taken; 0: nothing there. A damaged one comes with *ret_size 0 (answer it ROOST_ECORRUPT). Cancelled ones are passed over. */
int rst_lane_take(const struct rst_region *region, uint32_t slot, uint64_t after, struct rst_buffer *ret_bytes,
                  struct rst_lane_item *ret_item, size_t *ret_size);
/* Puts a taken one back (the role is handed over before it was logged). */
void rst_lane_put_back(const struct rst_lane_item *item);
/* Answers it; results may be NULL. Does not wake. */
void rst_lane_answer(const struct rst_region *region, const struct rst_lane_item *item, const struct rst_lane_answer *answer);
void rst_lane_wake(const struct rst_region *region, uint32_t slot);
/* Has the lane anything that was not answered? */
bool rst_lane_waiting(const struct rst_region *region, uint32_t slot);
bool rst_lanes_waiting(const struct rst_region *region);

#endif
