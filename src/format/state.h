/* SPDX-License-Identifier: MIT
 * format/state.h: an agent's state as bytes, the same in its slot and in the blocks (layer 2). Prose: protocol/region.md. */
#ifndef RST_FORMAT_STATE_H
#define RST_FORMAT_STATE_H

#include <stdint.h>

#include "base/buffer.h"
#include <roost/roost.h>

struct rst_state_header {
    uint64_t version; /* grows by 1 at each publish */
    int64_t time_ns;
    uint64_t active_memory_count, last_updated_id;
    int32_t owner_pid; /* for display */
    uint32_t owned;    /* 1: has (or had) an owner; 0: set without one */
    uint32_t status_size, extra_count;
    uint32_t size, reserved; /* of all: header, status, then for each extra {u32 name_size, u32 value_size, name, value} */
};

/* 0, ROOST_ENOMEM, or ROOST_E2BIG when it takes more than ROOST_STATE_SIZE_MAX. Reads status, counts, extra, version, time_ns,
 * owner_pid and alive (ROOST_ALIVE_NONE: unowned) of `state`. */
int rst_state_encode(const struct roost_state *state, struct rst_buffer *ret_bytes);
/* Fills in what encode read; the texts point into bytes; *ret_extra is an array that the caller frees. 0, ROOST_ECORRUPT, ROOST_ENOMEM. */
int rst_state_decode(struct roost_bytes bytes, struct roost_state *ret_state, struct roost_extra **ret_extra);

#endif
