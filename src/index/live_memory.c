/* SPDX-License-Identifier: MIT
 * index/live_memory.c: the live segment's directory of memories (layer 5).
 *
 * An array in blocks of 64 entries, in the order of ids and so of LSNs; `memory_count` publishes. Ids are mostly dense, so
 * counting back from the last one (or on from the first) usually hits at once; what jumps leave is a binary search. */
#include "index/live_parts.h"

int rst_live_memory_count(const struct rst_live *live, uint32_t *ret_count)
{
    /* Pairs with the release in rst_live_memory_append: entries below the count are complete. */
    uint64_t count = rst_load_u64(&rst_live_header_of(live)->memory_count);
    if (count > (uint64_t)live->directory_count * RST_LIVE_BLOCK_MEMORY_COUNT)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, memory_count), "more memories than there is room for");
    *ret_count = (uint32_t)count;
    return 0;
}

int rst_live_memory_at(const struct rst_live *live, uint32_t position, const struct rst_memory_entry **ret_entry)
{
    uint32_t *slot = rst_live_directory(live) + position / RST_LIVE_BLOCK_MEMORY_COUNT;
    /* Ordered by memory_count, which the caller loaded; atomic because a recycled arena changes under a reader. */
    struct rst_live_memory_block *block = rst_live_at(live, rst_load_u32(slot), sizeof *block);
    if (!block) return rst_live_corrupt(live, rst_live_offset_of(live, slot), "memory block out of bounds");
    *ret_entry = &block->entry[position % RST_LIVE_BLOCK_MEMORY_COUNT];
    return 0;
}

static int id_at(const struct rst_live *live, uint32_t position, uint64_t *ret_id)
{
    const struct rst_memory_entry *entry;
    int err = rst_live_memory_at(live, position, &entry);
    if (!err) *ret_id = rst_load_relaxed_u64(&entry->id);
    return err;
}

/* The position of the first of `count` entries with an id >= id; count if there is none. */
static int position_of(const struct rst_live *live, uint32_t count, uint64_t id, uint32_t *ret_position)
{
    uint64_t first = 0, last = 0, found;
    int err = 0;
    *ret_position = 0;
    if (count == 0 || (err = id_at(live, 0, &first)) || id <= first) return err;
    *ret_position = count;
    if ((err = id_at(live, count - 1, &last)) || id > last) return err;
    /* Ids ascend strictly, so the answer lies at most id - first places after the first entry and at most last - id before
     * the last. [low, high]: where it can be; high always satisfies "id there >= id". */
    uint32_t low = last - id < count - 1 ? count - 1 - (uint32_t)(last - id) : 0;
    uint32_t high = id - first < count - 1 ? (uint32_t)(id - first) : count - 1;
    if (low > high)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, memory_count), "ids of memories do not ascend");
    if ((err = id_at(live, low, &found))) return err;
    if (found >= id) high = low;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((err = id_at(live, middle, &found))) return err;
        if (found >= id)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_position = low;
    return 0;
}

int rst_live_memory_count_within(const struct rst_live *live, uint64_t visible, uint32_t *ret_count)
{
    const struct rst_memory_entry *entry;
    uint32_t low = 0, high = 0;
    int err = rst_live_memory_count(live, &high);
    if (err) return err;
    bool newest = true; /* nearly always all are visible: look at the last one first */
    while (low < high) {
        uint32_t middle = newest ? high - 1 : low + (high - low) / 2;
        newest = false;
        if ((err = rst_live_memory_at(live, middle, &entry))) return err;
        if (rst_load_relaxed_u64(&entry->lsn) <= visible)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_count = low;
    return 0;
}

int rst_live_memory(const struct rst_segment *segment, uint64_t id, uint64_t visible, struct rst_memory_entry *ret_entry)
{
    const struct rst_live *live = rst_live_of(segment);
    const struct rst_memory_entry *entry;
    uint32_t count = 0, position = 0;
    int err = rst_live_ready(live);
    if (err || (err = rst_live_memory_count(live, &count)) || (err = position_of(live, count, id, &position))) return err;
    if (position == count) return 0;
    if ((err = rst_live_memory_at(live, position, &entry))) return err;
    struct rst_memory_entry found = *entry;
    if (found.id != id || found.lsn > visible) return 0;
    *ret_entry = found;
    return 1;
}

int rst_live_memory_near(const struct rst_segment *segment, uint64_t id, bool forward, uint64_t visible,
                         struct rst_memory_entry *ret_entry)
{
    const struct rst_live *live = rst_live_of(segment);
    const struct rst_memory_entry *entry;
    uint32_t count = 0, position = 0;
    uint64_t found = 0;
    int err = rst_live_ready(live);
    /* LSNs ascend with ids, so what is visible is a prefix of the directory. */
    if (err || (err = rst_live_memory_count_within(live, visible, &count)) || (err = position_of(live, count, id, &position)))
        return err;
    if (!forward) {
        if (position < count && (err = id_at(live, position, &found))) return err;
        if (position == count || found > id) {
            if (position == 0) return 0;
            position--;
        }
    }
    if (position == count) return 0;
    if ((err = rst_live_memory_at(live, position, &entry))) return err;
    *ret_entry = *entry;
    return 1;
}

/* crash:
 * 1. (every 64th) take a block            leaks it; the heir takes another
 * 2. store its link in the directory      beyond the count, so nobody looks; overwritten
 * 3. fill the entry                       likewise
 * 4. store memory_count                   commits: the memory and its postings exist */
int rst_live_memory_append(struct rst_live *live, uint32_t position, const struct rst_memory_entry *entry)
{
    uint32_t block_index = position / RST_LIVE_BLOCK_MEMORY_COUNT;
    const struct rst_memory_entry *slot;
    int err;
    if (block_index >= live->directory_count)
        return rst_live_corrupt(live, offsetof(struct rst_live_header, memory_count), "the directory of memories is full");
    if (position % RST_LIVE_BLOCK_MEMORY_COUNT == 0) {
        uint32_t link;
        void *place;
        if ((err = rst_live_take(live, sizeof(struct rst_live_memory_block), &link, &place))) return err;
        rst_store_u32(rst_live_directory(live) + block_index, link); /* ordered by memory_count below */
    }
    if ((err = rst_live_memory_at(live, position, &slot))) return err;
    *(struct rst_memory_entry *)(uintptr_t)slot = *entry;
    /* Pairs with rst_live_memory_count: publishes entry, block link and every posting of this memory. */
    rst_store_u64(&rst_live_header_of(live)->memory_count, (uint64_t)position + 1);
    return 0;
}
