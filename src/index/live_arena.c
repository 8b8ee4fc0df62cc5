/* SPDX-License-Identifier: MIT
 * index/live_arena.c: taking bytes of the arena, and complaining about it (layer 5). */
#include "index/live_parts.h"

void rst_live_complain(const struct rst_live *live, uint64_t offset, const char *what)
{
    (void)rst_fail(ROOST_ECORRUPT, "%s: %s at arena offset %llu", live->segment.name, what, (unsigned long long)offset);
}

int rst_live_ready(const struct rst_live *live)
{
    const struct rst_live_header *header = rst_live_header_of(live);
    /* Pairs with the last store of rst_live_format. */
    if (rst_load_u64(&header->magic) != RST_LIVE_MAGIC) return rst_live_corrupt(live, 0, "no live segment");
    if (rst_load_relaxed_u32(&header->version) != RST_LIVE_VERSION)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, version), "another layout version");
    if (rst_load_relaxed_u64(&header->size) != live->size)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, size), "another arena size than the mapped one");
    return 0;
}

int rst_live_take(const struct rst_live *live, uint64_t size, uint32_t *ret_link, void **ret_place)
{
    struct rst_live_header *header = rst_live_header_of(live);
    uint64_t used = rst_load_relaxed_u64(&header->used), bound = rst_live_bound(live); /* used: only the writer changes it */
    size = rst_align_up(size, RST_LIVE_LINK_UNIT);
    if (used % RST_LIVE_LINK_UNIT || used < live->data_offset || used > bound)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, used), "bytes used out of bounds");
    /* The caller has secured the room (R6), so its lack means that the words it was computed from are wrong. */
    if (bound - used < size) return rst_live_corrupt(live, used, "arena full where room was secured");
    rst_store_u64(&header->used, used + size); /* pairs with rst_live_used in other processes; no data hangs on it */
    *ret_link = (uint32_t)(used / RST_LIVE_LINK_UNIT);
    *ret_place = live->base + used;
    return 0;
}
