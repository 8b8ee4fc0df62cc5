/* SPDX-License-Identifier: MIT
 * index/live.h: the live segment, the index of what is not in a sealed one yet (layer 5).
 *
 * It lives in an *arena*, a range of shared memory: append-only, addressed by offsets from the arena's start, changed by one
 * writer at a time and read by any process without locks. The writer may be killed between any two stores; the next
 * writer then applies the same changes again, and the outcome is the same as if nothing had happened (R21): apply is
 * idempotent by (id or key, LSN), looks before it links, and completes what is half linked.
 *
 * Changes come in ascending LSN order. Readers see what is at or below their `visible`, which the engine moves only after
 * a change was applied whole.
 *
 * Space: the engine makes room before a change is logged (R6): rst_live_need_... are upper bounds; the arena's
 * allocated part grows in steps (the engine allocates and then raises `limit`); no apply function allocates. */
#ifndef RST_INDEX_LIVE_H
#define RST_INDEX_LIVE_H

#include "index/segment.h"

struct rst_terms; /* analysis.h */

/* One process's view of one arena. `size` is the mapped size (a power of two is not needed). For questions use &live->segment. */
struct rst_live {
    struct rst_segment segment; /* first: a struct rst_segment * is a struct rst_live * */
    uint8_t *base;
    uint64_t size;
    /* Private; they follow from size, so that no word of the arena has to be believed. */
    uint64_t data_offset;
    uint32_t bucket_count, directory_count;
};

/* After a kill the bytes that the interrupted change had taken but not linked are lost: at most so many. */
enum { RST_LIVE_LEAK_MAX = 4096 };

/* The least arena that works at all, bytes. */
uint64_t rst_live_size_min(void);
/* How many bytes must be allocated before an arena of this size is formatted: its tables (1.2 % of it) and a first block. */
uint64_t rst_live_limit_min(uint64_t size);
/* base: 8-aligned; size: a multiple of 8, at least rst_live_size_min. Touches no more than the header's lsn_first; what the
 * arena holds is looked at by each question. */
void rst_live_attach(struct rst_live *ret_live, void *base, uint64_t size);
/* Writer: makes an empty live segment of LSNs from lsn_first on in [base, base+size), of which `limit` bytes are allocated. Only the
 * words that need it are written (a recycled arena is not wiped whole). Nobody reads the arena meanwhile (its epoch was raised
 * before). ROOST_EINVAL: limit is not within
 * rst_live_limit_min(size)..size. A kill in the midst leaves an arena without magic: every question about it is ROOST_ECORRUPT until
 * it is formatted again. */
int rst_live_format(struct rst_live *live, uint64_t limit, uint64_t lsn_first);

/* Bytes taken so far; the block for the next memories, taken every 64th time, counts in shares with each of them. */
uint64_t rst_live_used(const struct rst_live *live);
uint64_t rst_live_limit(const struct rst_live *live); /* bytes allocated */
void rst_live_raise_limit(struct rst_live *live, uint64_t limit);
/* The first LSN it covers, and how many memories, tombstones and map versions it holds. 0 for an arena that holds garbage. */
uint64_t rst_live_lsn_first(const struct rst_live *live);
uint64_t rst_live_change_count(const struct rst_live *live);

/* Upper bounds of what the apply functions below take, whatever the arena holds already, bytes. They add up over a batch. */
uint64_t rst_live_need_memory(const struct rst_terms *terms);
uint64_t rst_live_need_tombstone(void);
uint64_t rst_live_need_map(size_t key_size);

/* Writer: apply. Secured by the caller: used + need <= limit. Changes come in ascending order of LSN, memories in ascending order
 * of ids too. After a writer's death the change in flight is applied again before any other; repeating it and any number of
 * changes before it, in their order, is harmless and completes it. Of two map changes with one key and one LSN the first counts,
 * and an id stays forgotten at its first LSN. Errors: ROOST_ECORRUPT only (the arena holds garbage, or room was not secured). */
int rst_live_add_memory(struct rst_live *live, const struct rst_memory_entry *entry, const struct rst_terms *terms);
int rst_live_add_tombstone(struct rst_live *live, uint64_t id, uint64_t lsn);
int rst_live_set_map(struct rst_live *live, struct roost_bytes key, const struct rst_map_entry *entry);

/* Reads everything and checks every link, order and bound: for `roost check` and the tests. */
int rst_live_verify(const struct rst_live *live);

#endif
