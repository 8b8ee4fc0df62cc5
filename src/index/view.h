/* SPDX-License-Identifier: MIT
 * index/view.h: all segments together, as of one LSN (layer 5).
 * A view is built by the engine from its snapshot: the segments oldest first and the root's totals at that LSN. Everything
 * a reader asks goes through it. It owns nothing. */
#ifndef RST_INDEX_VIEW_H
#define RST_INDEX_VIEW_H

#include "index/segment.h"

struct rst_view {
    const struct rst_segment *const *segments; /* oldest first */
    size_t segment_count;
    uint64_t visible;      /* LSN */
    uint64_t last_id;      /* greatest id given at that LSN */
    uint64_t memory_count; /* not forgotten */
    uint64_t token_count;  /* in those */
};

/* Results as in segment.h: 1, 0 or a negative error. */
/* A memory that is there: found and not forgotten. */
int rst_view_memory(const struct rst_view *view, uint64_t id, struct rst_memory_entry *ret_entry);
int rst_view_memory_near(const struct rst_view *view, uint64_t id, bool forward, struct rst_memory_entry *ret_entry);
/* The newest entry of a key; deleted ones are found too (ret_entry->kind). */
int rst_view_map(const struct rst_view *view, struct roost_bytes key, struct rst_map_entry *ret_entry);
/* The next key after `key` (or at it when !after) that begins with prefix and is not deleted; copies it to ret_key, whose
 * room is RST_MAP_KEY_SIZE_MAX. */
int rst_view_map_next(const struct rst_view *view, struct roost_bytes prefix, struct roost_bytes key, bool after,
                      uint8_t *ret_key, size_t *ret_key_size, struct rst_map_entry *ret_entry);

#endif
