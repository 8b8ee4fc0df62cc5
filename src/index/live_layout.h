/* SPDX-License-Identifier: MIT
 * index/live_layout.h: the bytes of the live segment's arena (layer 5, private to live_*.c).
 * protocol/live-segment.md says in prose what stands here, protocol/live.layout.json field by field.
 *
 * An arena is: header | term buckets | memory directory | data, taken piece by piece from `used` on and never given back.
 * The sizes of the first three follow from the arena's size alone, so that no process has to believe a word in the arena
 * to know where they are.
 *
 * A *link* is an offset from the arena's start divided by 8: it fits 32 bits for arenas up to 32 GiB and cannot be
 * misaligned. 0 is no link. A *position* is a memory's place in the directory, 0-based. */
#ifndef RST_INDEX_LIVE_LAYOUT_H
#define RST_INDEX_LIVE_LAYOUT_H

#include "index/segment.h"

#define RST_LIVE_MAGIC 0x314556494c545352u /* "RSTLIVE1" */

enum {
    RST_LIVE_VERSION = 1,
    RST_LIVE_LINK_UNIT = 8,
    /* One node in four is in the next level, so 12 levels serve 4^12 = 16 million keys. */
    RST_LIVE_LEVEL_COUNT = 12,
    /* Memories in a directory block: 3 KiB a block keeps the directory at 0.13 % of the arena. */
    RST_LIVE_BLOCK_MEMORY_COUNT = 64,
    /* Arena bytes for each term bucket: a 24 MiB arena has 65,536 buckets (256 KiB, zeroed by format), two or three terms a bucket
     * when it is full of prose. */
    RST_LIVE_BUCKET_SPAN = 512,
};

struct rst_live_header {
    uint64_t magic; /* RST_LIVE_MAGIC; stored last by format */
    uint32_t version;
    uint32_t reserved0;
    uint64_t size;      /* of the arena, bytes */
    uint64_t lsn_first; /* the first LSN it covers */
    uint64_t limit;     /* bytes allocated; grows */
    uint8_t reserved1[24];
    /* The second cache line changes with every apply. */
    uint64_t used;              /* bytes taken; a multiple of 8 */
    uint64_t memory_count;      /* publishes memories */
    uint32_t tombstone_count;   /* statistic; the lists are the truth */
    uint32_t map_key_count;     /* statistic */
    uint32_t map_version_count; /* statistic */
    uint8_t reserved2[36];
    uint32_t map_head[RST_LIVE_LEVEL_COUNT]; /* links: first node of each level */
    uint32_t tombstone_head[RST_LIVE_LEVEL_COUNT];
    uint8_t reserved3[32];
};

struct rst_live_memory_block {
    struct rst_memory_entry entry[RST_LIVE_BLOCK_MEMORY_COUNT];
};

struct rst_live_posting {
    uint32_t position; /* of the memory, in the directory */
    uint32_t frequency;
};

/* Head of a block of postings; its postings follow. How many: rst_live_block_capacity(first). */
struct rst_live_postings {
    uint32_t next;  /* link of the following block */
    uint32_t first; /* index of its first posting in the term's postings */
};

/* A term; its bytes follow. Most terms occur once, so the first posting lies in the term itself, as a block of one. */
struct rst_live_term {
    uint32_t next;  /* link of the next term in the bucket: an older one, so always smaller */
    uint32_t count; /* of postings: commits an append */
    uint32_t tail;  /* link of the last block, or of the one before it after a kill: a hint, never ahead of count */
    uint32_t shape; /* low 16 bits: size of the term in bytes; high 16: the top bits of its hash, to pass over others quickly */
    struct rst_live_postings block;
    struct rst_live_posting posting;
};

/* A node of a skip list; u32 next[height] and the key follow. */
struct rst_live_node {
    uint64_t value;   /* map: link of the newest version. tombstones: the LSN */
    uint32_t ordinal; /* 1 for the first node that was made, 2 for the second, ... */
    uint32_t shape;   /* low 16 bits: size of the key in bytes; high 16: height, 1..RST_LIVE_LEVEL_COUNT, from the key's hash */
};

/* One version of a map entry. */
struct rst_live_version {
    uint32_t older;   /* link of the version before: always smaller */
    uint32_t ordinal; /* counts versions of all keys as they are made, from 1 */
    struct rst_map_entry entry;
};

_Static_assert(sizeof(struct rst_live_header) == 256, "the layout is a protocol");
_Static_assert(sizeof(struct rst_memory_entry) == 48, "the layout is a protocol");
_Static_assert(sizeof(struct rst_map_entry) == 64, "the layout is a protocol");
_Static_assert(sizeof(struct rst_live_term) == 32, "the layout is a protocol");
_Static_assert(sizeof(struct rst_live_node) == 16, "the layout is a protocol");
_Static_assert(sizeof(struct rst_live_version) == 72, "the layout is a protocol");

#endif
