/* SPDX-License-Identifier: MIT
 * index/live_verify.c: reads the whole live segment and checks every link, order, bound and count (layer 5).
 *
 * It accepts what a writer killed in mid-change leaves (postings of a memory that is not published, an upper level that is
 * not linked, a statistic one behind) and nothing else. Every byte may belong to one thing only: the sizes of all that is found must
 * fit in what is used, which also ends the walk through any garbage. The arena must not change meanwhile. */
#include "index/live_parts.h"

struct tally {
    const struct rst_live *live;
    uint64_t room; /* bytes used that nothing found so far accounts for */
};

static int account(struct tally *tally, const void *place, uint64_t size)
{
    size = rst_align_up(size, RST_LIVE_LINK_UNIT);
    if (size > tally->room)
        return rst_live_corrupt(tally->live, rst_live_offset_of(tally->live, place), "more is linked than was taken");
    tally->room -= size;
    return 0;
}

static int bad(const struct tally *tally, const void *place, const char *what)
{
    return rst_live_corrupt(tally->live, rst_live_offset_of(tally->live, place), what);
}

static int verify_space(struct tally *tally)
{
    const struct rst_live *live = tally->live;
    const struct rst_live_header *header = rst_live_header_of(live);
    uint64_t used = rst_load_u64(&header->used), limit = rst_load_u64(&header->limit);
    if (limit > live->size || limit < live->data_offset) return bad(tally, &header->limit, "limit out of bounds");
    if (used > limit || used < live->data_offset || used % RST_LIVE_LINK_UNIT)
        return bad(tally, &header->used, "bytes used out of bounds");
    tally->room = used - live->data_offset;
    return 0;
}

static int verify_memories(struct tally *tally, uint32_t *ret_count)
{
    const struct rst_live *live = tally->live;
    const struct rst_memory_entry *entry;
    uint64_t id = 0, lsn = rst_load_relaxed_u64(&rst_live_header_of(live)->lsn_first);
    int err = rst_live_memory_count(live, ret_count);
    for (uint32_t position = 0; !err && position < *ret_count; position++) {
        if ((err = rst_live_memory_at(live, position, &entry))) break;
        if (position && entry->id <= id) return bad(tally, entry, "ids of memories do not ascend");
        if (entry->lsn < lsn) return bad(tally, entry, "LSNs of memories do not ascend");
        id = entry->id;
        lsn = entry->lsn;
        if (position % RST_LIVE_BLOCK_MEMORY_COUNT == 0) err = account(tally, entry, sizeof(struct rst_live_memory_block));
    }
    return err;
}

static int verify_postings(struct tally *tally, const struct rst_live_term *term, uint32_t link, uint32_t memory_count)
{
    const struct rst_live *live = tally->live;
    struct rst_live_postings *block;
    uint32_t count = rst_load_u32(&term->count), tail = rst_load_u32(&term->tail); /* pairs with append */
    uint64_t past = 0;                                                             /* the last position + 1 */
    bool tail_seen = false;                                                        /* in the last block or the one before */
    if (!count) return bad(tally, term, "term without postings");
    for (uint32_t first = 0;;) {
        int err = rst_live_block_at(live, link, first, &block);
        if (err || (err = first ? account(tally, block, rst_live_block_size(first)) : 0)) return err;
        uint32_t capacity = rst_live_block_capacity(first), here = count - first < capacity ? count - first : capacity;
        for (uint32_t i = 0; i < here; i++) {
            uint32_t position = rst_live_block_postings(block)[i].position;
            if (position < past || position > memory_count) return bad(tally, block, "postings out of order");
            past = (uint64_t)position + 1;
        }
        bool last = count - first <= capacity;
        tail_seen = tail == link || (tail_seen && last);
        if (last) break;
        first += capacity;
        link = rst_load_u32(&block->next); /* pairs with next_block */
    }
    return tail_seen ? 0 : bad(tally, &term->tail, "last block of postings out of step");
}

static int verify_terms(struct tally *tally, uint32_t memory_count)
{
    const struct rst_live *live = tally->live;
    for (uint32_t bucket = 0; bucket < live->bucket_count; bucket++) {
        uint32_t link = rst_load_u32(rst_live_buckets(live) + bucket), behind = 0; /* pairs with make */
        while (link) {
            struct rst_live_term *term;
            struct roost_bytes bytes;
            int err = rst_live_term_at(live, link, behind, &term, &bytes);
            if (err || (err = account(tally, term, sizeof *term + bytes.size))) return err;
            uint64_t hash = rst_live_term_hash(bytes);
            if ((hash & (live->bucket_count - 1)) != bucket || rst_live_term_shape(hash, bytes.size) != term->shape)
                return bad(tally, term, "term in the wrong bucket");
            uint32_t block = link + (uint32_t)(offsetof(struct rst_live_term, block) / RST_LIVE_LINK_UNIT);
            if ((err = verify_postings(tally, term, block, memory_count))) return err;
            behind = link;
            link = rst_load_u32(&term->next);
        }
    }
    return 0;
}

/* Checks one level's order; level 0 calls found for each node. Returns how many nodes, or an error. */
static int64_t walk_level(struct tally *tally, const uint32_t *head, uint32_t level,
                          int (*found)(struct tally *, const struct rst_live_node_view *, uint64_t *), uint64_t *value)
{
    struct rst_live_node_view view, before = {.link = 0};
    int64_t count = 0;
    for (uint32_t link = rst_load_u32(head + level); link; link = rst_load_u32(&view.next[level])) { /* pairs with list_link */
        int err = rst_live_node_at(tally->live, link, &view);
        if (err) return err;
        if (view.height <= level || view.height != rst_live_node_height(view.key))
            return bad(tally, view.node, "node of a wrong height");
        if (before.link && rst_bytes_compare(before.key, view.key) >= 0) return bad(tally, view.node, "keys out of order");
        if (level == 0) {
            if ((err = account(tally, view.node, rst_live_node_size(view.height, view.key.size)))) return err;
            if ((err = found(tally, &view, value))) return err;
        }
        before = view;
        count++;
    }
    return count;
}

/* How many nodes of level 0 are high enough for a level. */
static int64_t expected(const struct tally *tally, const uint32_t *head, uint32_t level)
{
    struct rst_live_node_view view;
    int64_t count = 0;
    for (uint32_t link = rst_load_u32(head); link; link = rst_load_u32(&view.next[0])) {
        if (rst_live_node_at(tally->live, link, &view)) break; /* cannot be: level 0 was walked */
        count += view.height > level;
    }
    return count;
}

static int verify_list(struct tally *tally, const uint32_t *head, const uint32_t *count,
                       int (*found)(struct tally *, const struct rst_live_node_view *, uint64_t *), uint64_t *value)
{
    int64_t nodes = walk_level(tally, head, 0, found, value);
    if (nodes < 0) return (int)nodes;
    uint32_t stored = rst_load_u32(count);
    if (nodes != stored && nodes != (int64_t)stored + 1) return bad(tally, count, "wrong number of keys");
    for (uint32_t level = 1; level < RST_LIVE_LEVEL_COUNT; level++) {
        int64_t here = walk_level(tally, head, level, NULL, NULL);
        if (here < 0) return (int)here;
        int64_t lacks = expected(tally, head, level) - here;
        if (lacks < 0 || lacks > 1)
            return bad(tally, head + level, "upper level out of step"); /* 1: a node that was being linked */
    }
    return 0;
}

static int found_tombstone(struct tally *tally, const struct rst_live_node_view *view, uint64_t *unused)
{
    (void)unused;
    if (view->key.size != sizeof(uint64_t)) return bad(tally, view->node, "tombstone without an id");
    if (view->node->value < rst_live_header_of(tally->live)->lsn_first)
        return bad(tally, view->node, "tombstone older than the segment");
    return 0;
}

static int found_key(struct tally *tally, const struct rst_live_node_view *view, uint64_t *versions)
{
    uint64_t link = rst_load_u64(&view->node->value), behind = UINT64_MAX, lsn = UINT64_MAX; /* pairs with add_version */
    if (!link) return bad(tally, view->node, "key without versions");
    while (link) {
        struct rst_live_version *version;
        int err = rst_live_version_at(tally->live, link, behind, &version);
        if (err || (err = account(tally, version, sizeof *version))) return err;
        if (version->entry.lsn >= lsn || version->entry.lsn < rst_live_header_of(tally->live)->lsn_first)
            return bad(tally, version, "versions out of order");
        if (version->entry.kind != RST_MAP_SET && version->entry.kind != RST_MAP_DELETED)
            return bad(tally, version, "version of no known kind");
        lsn = version->entry.lsn;
        behind = link;
        link = version->older;
        ++*versions;
    }
    return 0;
}

int rst_live_verify(const struct rst_live *live)
{
    struct tally tally = {.live = live};
    const struct rst_live_header *header = rst_live_header_of(live);
    uint32_t memory_count;
    uint64_t versions = 0;
    int err = rst_live_ready(live);
    if (err || (err = verify_space(&tally)) || (err = verify_memories(&tally, &memory_count))) return err;
    if ((err = verify_terms(&tally, memory_count))) return err;
    if ((err = verify_list(&tally, header->tombstone_head, &header->tombstone_count, found_tombstone, NULL))) return err;
    if ((err = verify_list(&tally, header->map_head, &header->map_key_count, found_key, &versions))) return err;
    uint32_t stored = rst_load_u32(&header->map_version_count);
    return versions == stored || versions == (uint64_t)stored + 1
               ? 0
               : bad(&tally, &header->map_version_count, "wrong number of versions");
}
