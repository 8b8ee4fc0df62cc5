/* SPDX-License-Identifier: MIT
 * index/live_parts.h: what the files of the live segment share (layer 5, private to live_*.c).
 *
 *   live.c          attach, format, space, the table of questions
 *   live_arena.c    taking bytes, complaining
 *   live_memory.c   the directory of memories
 *   live_terms.c    terms and postings
 *   live_list.c     the skip list under the map and the tombstones
 *   live_map.c      ordered map, tombstones
 *   live_verify.c   reads and checks everything
 *
 * Every link is turned into a pointer by rst_live_at, which checks it against the mapped size and the allocated part; every
 * loop has a bound that holds whatever bytes the arena contains. */
#ifndef RST_INDEX_LIVE_PARTS_H
#define RST_INDEX_LIVE_PARTS_H

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "index/live.h"
#include "index/live_layout.h"

static inline struct rst_live *rst_live_of(const struct rst_segment *segment)
{
    return (struct rst_live *)(uintptr_t)segment; /* segment is the first member */
}
static inline struct rst_live_header *rst_live_header_of(const struct rst_live *live)
{
    return (struct rst_live_header *)(void *)live->base;
}
static inline uint32_t *rst_live_buckets(const struct rst_live *live)
{
    return (uint32_t *)(void *)(live->base + sizeof(struct rst_live_header));
}
static inline uint32_t *rst_live_directory(const struct rst_live *live) { return rst_live_buckets(live) + live->bucket_count; }

/* The bytes that may be touched: allocated and mapped. `limit` only grows while the arena stands (pairs with raise_limit). */
static inline uint64_t rst_live_bound(const struct rst_live *live)
{
    uint64_t limit = rst_load_u64(&rst_live_header_of(live)->limit);
    return limit < live->size ? limit : live->size;
}

/* The `size` bytes that a link names, or NULL if they are not all inside the data. */
static inline void *rst_live_at(const struct rst_live *live, uint32_t link, uint64_t size)
{
    uint64_t offset = (uint64_t)link * RST_LIVE_LINK_UNIT, bound = rst_live_bound(live);
    if (offset < live->data_offset || offset > bound || bound - offset < size) return NULL;
    return live->base + offset;
}
static inline uint64_t rst_live_offset_of(const struct rst_live *live, const void *place)
{
    return (uint64_t)((const uint8_t *)place - live->base);
}

/* live_arena.c */

/* Sets the detail "live segment: what at arena offset N". */
void rst_live_complain(const struct rst_live *live, uint64_t offset, const char *what);
/* The same and the error; inline, so that the compiler sees that it is never 0. */
static inline int rst_live_corrupt(const struct rst_live *live, uint64_t offset, const char *what)
{
    rst_live_complain(live, offset, what);
    return ROOST_ECORRUPT;
}
/* 0 if the arena is formatted, by this version and with this size. */
int rst_live_ready(const struct rst_live *live);
/* Writer: the next `size` bytes (rounded up to 8), uninitialised. A writer killed after it leaks them. */
int rst_live_take(const struct rst_live *live, uint64_t size, uint32_t *ret_link, void **ret_place);

/* live_memory.c */

/* How many memories are published; ROOST_ECORRUPT if there cannot be as many. */
int rst_live_memory_count(const struct rst_live *live, uint32_t *ret_count);
/* How many of them have an LSN <= visible. */
int rst_live_memory_count_within(const struct rst_live *live, uint64_t visible, uint32_t *ret_count);
/* The entry at a position below the count. */
int rst_live_memory_at(const struct rst_live *live, uint32_t position, const struct rst_memory_entry **ret_entry);
/* Writer: stores entry at position == count and publishes it. */
int rst_live_memory_append(struct rst_live *live, uint32_t position, const struct rst_memory_entry *entry);
int rst_live_memory(const struct rst_segment *, uint64_t id, uint64_t visible, struct rst_memory_entry *);
int rst_live_memory_near(const struct rst_segment *, uint64_t id, bool forward, uint64_t visible, struct rst_memory_entry *);

/* live_terms.c */

/* Postings in the block that begins with the first-th one: 1 in the term, then 3, then always 7 (64 bytes). Small blocks keep
 * the bound on what one posting may take (rst_live_need_memory) small too. */
static inline uint32_t rst_live_block_capacity(uint32_t first) { return first == 0 ? 1 : first == 1 ? 3 : 7; }
static inline uint64_t rst_live_block_size(uint32_t first)
{
    return sizeof(struct rst_live_postings) + rst_live_block_capacity(first) * sizeof(struct rst_live_posting);
}
uint64_t rst_live_term_hash(struct roost_bytes term);
static inline uint32_t rst_live_term_shape(uint64_t hash, size_t size) { return (uint32_t)(hash >> 48) << 16 | (uint32_t)size; }
/* A link into a bucket: `behind` is the link it was found in (0: the bucket's head), which must be greater. */
int rst_live_term_at(const struct rst_live *live, uint32_t link, uint32_t behind, struct rst_live_term **ret_term,
                     struct roost_bytes *ret_bytes);
/* The block at link, which must begin with the first-th posting. */
int rst_live_block_at(const struct rst_live *live, uint32_t link, uint32_t first, struct rst_live_postings **ret_block);
static inline struct rst_live_posting *rst_live_block_postings(struct rst_live_postings *block)
{
    return (struct rst_live_posting *)(void *)(block + 1);
}
int rst_live_terms_add(struct rst_live *live, struct roost_bytes term, uint32_t position, uint32_t frequency);
int rst_live_postings(const struct rst_segment *, struct roost_bytes term, struct rst_postings_cursor *);
int rst_live_postings_next(struct rst_postings_cursor *, uint64_t visible, struct rst_posting *);
int rst_live_terms(const struct rst_segment *, struct roost_bytes prefix, struct rst_terms_cursor *);
int rst_live_terms_next(struct rst_terms_cursor *, struct roost_bytes *ret_term);

/* live_list.c */

/* A node whose bounds were checked, its fields read once. link 0: none. */
struct rst_live_node_view {
    struct rst_live_node *node;
    uint32_t *next; /* [height] */
    struct roost_bytes key;
    uint32_t link, height;
};
/* Where a key is, or belongs: on each level the word that leads past the last node before it. */
struct rst_live_path {
    uint32_t *slot[RST_LIVE_LEVEL_COUNT];
    struct rst_live_node_view before, next;
};
uint32_t rst_live_node_height(struct roost_bytes key);
static inline uint64_t rst_live_node_size(uint32_t height, size_t key_size)
{
    return rst_align_up(sizeof(struct rst_live_node) + height * sizeof(uint32_t) + key_size, RST_LIVE_LINK_UNIT);
}
int rst_live_node_at(const struct rst_live *live, uint32_t link, struct rst_live_node_view *ret_view);
/* before: the last node < key (inclusive: <= key); next: the one after it. */
int rst_live_list_search(const struct rst_live *live, uint32_t *head, struct roost_bytes key, bool inclusive,
                         struct rst_live_path *ret_path);
static inline bool rst_live_path_found(const struct rst_live_path *path, struct roost_bytes key)
{
    return path->next.link && rst_bytes_equal(path->next.key, key);
}
/* Writer: takes and fills a node that no list knows yet. */
int rst_live_list_make(struct rst_live *live, struct roost_bytes key, uint64_t value, uint32_t ordinal,
                       struct rst_live_node_view *ret_view);
/* Writer: links it on every level of the path where it is not linked yet. */
void rst_live_list_link(const struct rst_live_path *path, const struct rst_live_node_view *view);
/* Writer: raises a statistic to at least value. */
void rst_live_count_to(uint32_t *count, uint32_t value);

/* live_map.c */

int rst_live_version_at(const struct rst_live *live, uint64_t link, uint64_t behind, struct rst_live_version **ret_version);
int rst_live_map(const struct rst_segment *, struct roost_bytes key, uint64_t visible, struct rst_map_entry *);
int rst_live_map_seek(const struct rst_segment *, struct roost_bytes key, bool after, struct rst_map_cursor *);
int rst_live_map_before(const struct rst_segment *, struct roost_bytes key, bool inclusive, struct rst_map_cursor *);
int rst_live_map_next(struct rst_map_cursor *, uint64_t visible, struct roost_bytes *ret_key, struct rst_map_entry *);
int rst_live_tombstone(const struct rst_segment *, uint64_t id, uint64_t visible, uint64_t *ret_lsn);
int rst_live_tombstone_near(const struct rst_segment *, uint64_t id, uint64_t visible, uint64_t *ret_id, uint64_t *ret_lsn);

#endif
