/* SPDX-License-Identifier: MIT
 * index/live.c: the live segment as a whole: attach, format, space, applying a memory, the table of questions (layer 5).
 * live_parts.h lists its parts, protocol/live-segment.md describes the arena. */
#include "index/live_parts.h"

#include "base/check.h"
#include "index/analysis.h"

/* Header, tables, a block of memories and a little more. */
enum { SIZE_MIN = 16384 };

static const struct rst_segment_ops live_ops = {
    .memory = rst_live_memory,
    .memory_near = rst_live_memory_near,
    .tombstone = rst_live_tombstone,
    .tombstone_near = rst_live_tombstone_near,
    .postings = rst_live_postings,
    .postings_next = rst_live_postings_next,
    .terms = rst_live_terms,
    .terms_next = rst_live_terms_next,
    .map = rst_live_map,
    .map_seek = rst_live_map_seek,
    .map_before = rst_live_map_before,
    .map_next = rst_live_map_next,
};

/* Sizes of the tables, from the arena's size alone. */
static void lay_out(struct rst_live *live, uint64_t size)
{
    uint32_t buckets = 16;
    while ((uint64_t)buckets * RST_LIVE_BUCKET_SPAN < size) buckets *= 2;
    live->size = size;
    live->bucket_count = buckets;
    live->directory_count = (uint32_t)(size / sizeof(struct rst_live_memory_block)) + 1;
    live->data_offset = rst_align_up(
        sizeof(struct rst_live_header) + ((uint64_t)buckets + live->directory_count) * sizeof(uint32_t), RST_LIVE_LINK_UNIT);
}

uint64_t rst_live_size_min(void) { return SIZE_MIN; }

uint64_t rst_live_limit_min(uint64_t size)
{
    struct rst_live live;
    lay_out(&live, size);
    return live.data_offset + sizeof(struct rst_live_memory_block);
}

void rst_live_attach(struct rst_live *ret_live, void *base, uint64_t size)
{
    RST_CHECK(size >= SIZE_MIN && size % RST_LIVE_LINK_UNIT == 0 && (uintptr_t)base % RST_LIVE_LINK_UNIT == 0);
    RST_CHECK(size / RST_LIVE_LINK_UNIT <= UINT32_MAX);
    *ret_live = (struct rst_live){.segment = {.ops = &live_ops, .name = "live segment", .lsn_last = UINT64_MAX}, .base = base};
    lay_out(ret_live, size);
}

/* crash:
 * 1. clear the magic            nobody reads an arena without it; the heir formats again
 * 2. fill header and buckets    likewise
 * 3. store the magic            the arena is an empty live segment */
int rst_live_format(struct rst_live *live, uint64_t limit, uint64_t lsn_first)
{
    struct rst_live_header *header = rst_live_header_of(live);
    if (limit < rst_live_limit_min(live->size) || limit > live->size)
        return rst_fail(ROOST_EINVAL, "live segment: %llu bytes allocated, needs %llu to %llu", (unsigned long long)limit,
                        (unsigned long long)rst_live_limit_min(live->size), (unsigned long long)live->size);
    rst_store_seq_u64(&header->magic, 0); /* before what follows, also to a reader that comes too late */
    header->reserved0 = 0;
    memset(header->reserved1, 0, sizeof header->reserved1);
    memset(header->reserved2, 0, sizeof header->reserved2);
    memset(header->reserved3, 0, sizeof header->reserved3);
    rst_store_u32(&header->version, RST_LIVE_VERSION);
    rst_store_u64(&header->size, live->size);
    rst_store_u64(&header->lsn_first, lsn_first);
    rst_store_u64(&header->limit, limit);
    rst_store_u64(&header->used, live->data_offset);
    rst_store_u64(&header->memory_count, 0);
    rst_store_u32(&header->tombstone_count, 0);
    rst_store_u32(&header->map_key_count, 0);
    rst_store_u32(&header->map_version_count, 0);
    memset(header->map_head, 0, sizeof header->map_head);
    memset(header->tombstone_head, 0, sizeof header->tombstone_head);
    memset(rst_live_buckets(live), 0, live->bucket_count * sizeof(uint32_t));
    rst_store_u64(&header->magic, RST_LIVE_MAGIC); /* pairs with rst_live_ready */
    return 0;
}

uint64_t rst_live_used(const struct rst_live *live)
{
    const struct rst_live_header *header = rst_live_header_of(live);
    uint64_t place = rst_load_u64(&header->memory_count) % RST_LIVE_BLOCK_MEMORY_COUNT;
    uint64_t open = place ? RST_LIVE_BLOCK_MEMORY_COUNT - place : 0; /* entries of the last block that are still free */
    return rst_load_u64(&header->used) + sizeof(struct rst_live_memory_block) - open * sizeof(struct rst_memory_entry);
}

uint64_t rst_live_limit(const struct rst_live *live) { return rst_live_bound(live); }

void rst_live_raise_limit(struct rst_live *live, uint64_t limit)
{
    RST_CHECK(limit <= live->size);
    struct rst_live_header *header = rst_live_header_of(live);
    if (rst_load_relaxed_u64(&header->limit) < limit) rst_store_u64(&header->limit, limit); /* pairs with rst_live_bound */
}

uint64_t rst_live_lsn_first(const struct rst_live *live)
{
    const struct rst_live_header *header = rst_live_header_of(live);
    return rst_load_u64(&header->magic) == RST_LIVE_MAGIC ? rst_load_relaxed_u64(&header->lsn_first)
                                                          : 0; /* magic: pairs with format */
}

uint64_t rst_live_change_count(const struct rst_live *live)
{
    const struct rst_live_header *header = rst_live_header_of(live);
    if (rst_load_u64(&header->magic) != RST_LIVE_MAGIC) return 0; /* pairs with format */
    return rst_load_u64(&header->memory_count) + rst_load_u32(&header->tombstone_count) +
           rst_load_u32(&header->map_version_count);
}

/* Applied already (1), to be applied at *ret_position (0), or not possible. */
static int memory_state(const struct rst_live *live, const struct rst_memory_entry *entry, uint32_t *ret_position)
{
    const struct rst_memory_entry *last;
    struct rst_memory_entry same;
    int err = rst_live_memory_count(live, ret_position);
    if (err || *ret_position == 0) return err;
    if ((err = rst_live_memory_at(live, *ret_position - 1, &last))) return err;
    if (entry->id > last->id) return 0;
    int found = rst_live_memory(&live->segment, entry->id, UINT64_MAX, &same);
    if (found < 0) return found;
    if (found && same.lsn == entry->lsn) return 1;
    return rst_live_corrupt(live, rst_live_offset_of(live, last), "a memory with a greater id");
}

/* crash:
 * 1. for each term: its posting, at the position that the memory will have   readers do not look beyond memory_count; the heir
 *                                                                            finds this position as the last posting and goes on
 * 2. the entry, and memory_count                                             commits; the heir finds the id and does nothing */
int rst_live_add_memory(struct rst_live *live, const struct rst_memory_entry *entry, const struct rst_terms *terms)
{
    const struct rst_term *term = (const struct rst_term *)(const void *)terms->terms.data;
    uint32_t position = 0;
    int state = rst_live_ready(live);
    if (state < 0 || (state = memory_state(live, entry, &position))) return state < 0 ? state : 0;
    RST_CHECK((uint64_t)terms->term_count * sizeof *term <= terms->terms.size);
    for (uint32_t i = 0; i < terms->term_count; i++) {
        RST_CHECK((uint64_t)term[i].offset + term[i].size <= terms->bytes.size);
        int err =
            rst_live_terms_add(live, rst_bytes(terms->bytes.data + term[i].offset, term[i].size), position, term[i].frequency);
        if (err) return err;
    }
    return rst_live_memory_append(live, position, entry);
}
