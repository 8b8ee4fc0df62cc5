/* SPDX-License-Identifier: MIT
 * index/live_terms.c: the live segment's terms and their postings (layer 5).
 *
 * A table of buckets, each a chain of terms, newest first: a new term goes before the others, so that links point to smaller
 * offsets only and every chain ends. A term's postings lie in blocks, at places that follow from their index: the number of
 * postings is the one word that says which exist. A posting names its memory by position, so ids may jump as they like. */
#include "index/live_parts.h"

#include "base/check.h"
#include "base/hash.h"
#include "index/analysis.h"

enum { CURSOR_COUNT, CURSOR_INDEX, CURSOR_BLOCK, CURSOR_FIRST, CURSOR_VISIBLE, CURSOR_LIMIT }; /* words of a postings cursor */
enum { TERMS_PREFIX, TERMS_PREFIX_SIZE, TERMS_BUCKET, TERMS_LINK, TERMS_STEPS };               /* words of a terms cursor */

static const uint32_t term_block_units = offsetof(struct rst_live_term, block) / RST_LIVE_LINK_UNIT;
_Static_assert(offsetof(struct rst_live_term, block) % RST_LIVE_LINK_UNIT == 0, "a term's own block can be linked");

uint64_t rst_live_term_hash(struct roost_bytes term) { return rst_hash(term.data, term.size, 0); }

static uint64_t term_size(size_t bytes_size)
{
    return rst_align_up(sizeof(struct rst_live_term) + bytes_size, RST_LIVE_LINK_UNIT);
}

uint64_t rst_live_need_memory(const struct rst_terms *terms)
{
    const struct rst_term *term = (const struct rst_term *)(const void *)terms->terms.data;
    /* A block of memories is accounted for entry by entry (rst_live_used). */
    uint64_t need = sizeof(struct rst_memory_entry), block = rst_live_block_size(4); /* the greatest block */
    for (uint32_t i = 0; i < terms->term_count; i++) {
        uint64_t fresh = term_size(term[i].size);
        need += fresh > block ? fresh : block;
    }
    return need;
}

int rst_live_term_at(const struct rst_live *live, uint32_t link, uint32_t behind, struct rst_live_term **ret_term,
                     struct roost_bytes *ret_bytes)
{
    struct rst_live_term *term = behind && link >= behind ? NULL : rst_live_at(live, link, sizeof *term);
    uint32_t size = term ? rst_load_relaxed_u32(&term->shape) & 0xffff : 0;
    if (!size || size > RST_TERM_SIZE_MAX || !rst_live_at(live, link, sizeof *term + size))
        return rst_live_corrupt(live, (uint64_t)link * RST_LIVE_LINK_UNIT, "bad term");
    *ret_term = term;
    *ret_bytes = rst_bytes(term + 1, size);
    return 0;
}

/* 1 found, 0 not there. */
static int find(const struct rst_live *live, struct roost_bytes term, uint64_t hash, uint32_t *ret_link,
                struct rst_live_term **ret_term)
{
    /* Pairs with the release in make: a term that is reached is complete. */
    uint32_t link = rst_load_u32(rst_live_buckets(live) + (hash & (live->bucket_count - 1))), behind = 0;
    uint32_t shape = rst_live_term_shape(hash, term.size);
    while (link) {
        struct roost_bytes bytes;
        int err = rst_live_term_at(live, link, behind, ret_term, &bytes);
        if (err) return err;
        if (rst_load_relaxed_u32(&(*ret_term)->shape) == shape && rst_bytes_equal(bytes, term)) {
            *ret_link = link;
            return 1;
        }
        behind = link;
        link = rst_load_relaxed_u32(&(*ret_term)->next);
    }
    return 0;
}

int rst_live_block_at(const struct rst_live *live, uint32_t link, uint32_t first, struct rst_live_postings **ret_block)
{
    struct rst_live_postings *block = rst_live_at(live, link, rst_live_block_size(first));
    if (!block || rst_load_relaxed_u32(&block->first) != first)
        return rst_live_corrupt(live, (uint64_t)link * RST_LIVE_LINK_UNIT, "bad block of postings");
    *ret_block = block;
    return 0;
}

/* Where the index-th posting lies: its block, found from a block at or before it. */
struct spot {
    struct rst_live_postings *block;
    uint32_t link, first;
};

static int spot_at(const struct rst_live *live, uint32_t link, struct spot *ret_spot)
{
    const struct rst_live_postings *head = rst_live_at(live, link, sizeof *head);
    if (!head) return rst_live_corrupt(live, (uint64_t)link * RST_LIVE_LINK_UNIT, "block of postings out of bounds");
    ret_spot->link = link;
    ret_spot->first = rst_load_relaxed_u32(&head->first);
    return rst_live_block_at(live, link, ret_spot->first, &ret_spot->block);
}

/* From the tail to the block of the index-th posting: 0 or 1 steps, since the tail is at most one block behind. */
static int spot_of(const struct rst_live *live, const struct rst_live_term *term, uint32_t index, struct spot *ret_spot)
{
    int err = spot_at(live, rst_load_relaxed_u32(&term->tail), ret_spot);
    if (err) return err;
    if (index - ret_spot->first >= rst_live_block_capacity(ret_spot->first)) {
        if ((err = spot_at(live, rst_load_relaxed_u32(&ret_spot->block->next), ret_spot))) return err;
        if (index - ret_spot->first >= rst_live_block_capacity(ret_spot->first))
            return rst_live_corrupt(live, rst_live_offset_of(live, &term->tail), "last block of postings out of step");
    }
    return 0;
}

/* crash:
 * 1. take a block          leaks it
 * 2. fill its head         likewise
 * 3. store the link to it  linked but empty: readers stop at the count before it; the heir finds and uses it */
static int next_block(const struct rst_live *live, struct spot *spot)
{
    uint32_t link = rst_load_relaxed_u32(&spot->block->next), first = spot->first + rst_live_block_capacity(spot->first);
    if (!link) {
        void *place;
        int err = rst_live_take(live, rst_live_block_size(first), &link, &place);
        if (err) return err;
        struct rst_live_postings *block = place;
        block->next = 0;
        block->first = first;
        rst_store_u32(&spot->block->next, link); /* pairs with the load in postings_next */
    }
    spot->link = link;
    spot->first = first;
    return rst_live_block_at(live, link, first, &spot->block);
}

/* crash:
 * 1. (when the last block is full) next_block
 * 2. fill the posting    beyond the count, so nobody looks; overwritten
 * 3. store the count     commits: the heir sees this memory's position in the last posting and appends nothing
 * 4. store the tail      (new block) a hint one block behind; the heir, or the next append, moves it on */
static int append(const struct rst_live *live, struct rst_live_term *term, uint32_t position, uint32_t frequency)
{
    struct spot spot;
    uint32_t count = rst_load_relaxed_u32(&term->count), last = 0; /* only the writer changes it */
    if (!count) return rst_live_corrupt(live, rst_live_offset_of(live, term), "term without postings");
    int err = spot_of(live, term, count - 1, &spot);
    if (err) return err;
    last = rst_live_block_postings(spot.block)[count - 1 - spot.first].position;
    if (last > position) return rst_live_corrupt(live, rst_live_offset_of(live, term), "postings ahead of the memories");
    if (last < position) {
        if (count - spot.first == rst_live_block_capacity(spot.first) && (err = next_block(live, &spot))) return err;
        struct rst_live_posting *posting = rst_live_block_postings(spot.block) + (count - spot.first);
        posting->position = position;
        posting->frequency = frequency;
        rst_store_u32(&term->count, count + 1); /* pairs with rst_live_postings */
    }
    if (rst_load_relaxed_u32(&term->tail) != spot.link) rst_store_u32(&term->tail, spot.link); /* the writer's own hint */
    return 0;
}

/* crash:
 * 1. take the term's bytes   leaks them
 * 2. fill it, posting and all likewise
 * 3. store the bucket        commits term and posting; the heir finds both */
static int make(const struct rst_live *live, struct roost_bytes bytes, uint64_t hash, uint32_t position, uint32_t frequency)
{
    uint32_t *bucket = rst_live_buckets(live) + (hash & (live->bucket_count - 1)), link;
    void *place;
    int err = rst_live_take(live, term_size(bytes.size), &link, &place);
    if (err) return err;
    struct rst_live_term *term = place;
    *term = (struct rst_live_term){
        .next = rst_load_relaxed_u32(bucket),
        .count = 1,
        .tail = link + term_block_units,
        .shape = rst_live_term_shape(hash, bytes.size),
        .posting = {position, frequency},
    };
    memcpy(term + 1, bytes.data, bytes.size);
    rst_store_u32(bucket, link); /* pairs with find and terms_next */
    return 0;
}

int rst_live_terms_add(struct rst_live *live, struct roost_bytes bytes, uint32_t position, uint32_t frequency)
{
    RST_CHECK(bytes.size > 0 && bytes.size <= RST_TERM_SIZE_MAX);
    struct rst_live_term *term;
    uint32_t link;
    uint64_t hash = rst_live_term_hash(bytes);
    int found = find(live, bytes, hash, &link, &term);
    if (found < 0) return found;
    return found ? append(live, term, position, frequency) : make(live, bytes, hash, position, frequency);
}

int rst_live_postings(const struct rst_segment *segment, struct roost_bytes bytes, struct rst_postings_cursor *ret_cursor)
{
    const struct rst_live *live = rst_live_of(segment);
    struct rst_live_term *term = NULL;
    uint32_t link = 0;
    int found = rst_live_ready(live);
    *ret_cursor = (struct rst_postings_cursor){.segment = segment};
    if (found < 0 || (found = find(live, bytes, rst_live_term_hash(bytes), &link, &term)) <= 0) return found;
    ret_cursor->word[CURSOR_COUNT] = rst_load_u32(&term->count); /* pairs with append: postings below it are complete */
    ret_cursor->word[CURSOR_BLOCK] = link + term_block_units;
    return 1;
}

/* The first position that `visible` does not see, kept in the cursor while visible stays the same. */
static int position_limit(struct rst_postings_cursor *cursor, uint64_t visible, uint64_t *ret_limit)
{
    uint32_t count;
    if (!cursor->word[CURSOR_LIMIT] || cursor->word[CURSOR_VISIBLE] != visible) {
        int err = rst_live_memory_count_within(rst_live_of(cursor->segment), visible, &count);
        if (err) return err;
        cursor->word[CURSOR_VISIBLE] = visible;
        cursor->word[CURSOR_LIMIT] = (uint64_t)count + 1; /* 0 means not known */
    }
    *ret_limit = cursor->word[CURSOR_LIMIT] - 1;
    return 0;
}

int rst_live_postings_next(struct rst_postings_cursor *cursor, uint64_t visible, struct rst_posting *ret_posting)
{
    const struct rst_live *live = rst_live_of(cursor->segment);
    uint32_t index = (uint32_t)cursor->word[CURSOR_INDEX], first = (uint32_t)cursor->word[CURSOR_FIRST];
    struct rst_live_postings *block;
    const struct rst_memory_entry *entry;
    uint64_t limit;
    if (index >= cursor->word[CURSOR_COUNT]) return 0;
    int err = position_limit(cursor, visible, &limit);
    if (err || (err = rst_live_block_at(live, (uint32_t)cursor->word[CURSOR_BLOCK], first, &block))) return err;
    if (index - first == rst_live_block_capacity(first)) {
        uint32_t link = rst_load_u32(&block->next); /* pairs with next_block */
        if ((err = rst_live_block_at(live, link, index, &block))) return err;
        cursor->word[CURSOR_BLOCK] = link;
        cursor->word[CURSOR_FIRST] = first = index;
    }
    const struct rst_live_posting *posting = rst_live_block_postings(block) + (index - first);
    uint32_t position = rst_load_relaxed_u32(&posting->position);
    if (position >= limit) return 0; /* positions ascend: the rest is newer still */
    if ((err = rst_live_memory_at(live, position, &entry))) return err;
    ret_posting->id = rst_load_relaxed_u64(&entry->id);
    ret_posting->frequency = rst_load_relaxed_u32(&posting->frequency);
    cursor->word[CURSOR_INDEX] = index + 1;
    return 1;
}

int rst_live_terms(const struct rst_segment *segment, struct roost_bytes prefix, struct rst_terms_cursor *ret_cursor)
{
    *ret_cursor = (struct rst_terms_cursor){.segment = segment};
    int err = rst_live_ready(rst_live_of(segment));
    if (err) return err;
    ret_cursor->word[TERMS_PREFIX] = (uintptr_t)prefix.data;
    ret_cursor->word[TERMS_PREFIX_SIZE] = prefix.size;
    return 1;
}

int rst_live_terms_next(struct rst_terms_cursor *cursor, struct roost_bytes *ret_term)
{
    const struct rst_live *live = rst_live_of(cursor->segment);
    struct roost_bytes prefix = {(const void *)(uintptr_t)cursor->word[TERMS_PREFIX], (size_t)cursor->word[TERMS_PREFIX_SIZE]};
    uint64_t *bucket = &cursor->word[TERMS_BUCKET], *link = &cursor->word[TERMS_LINK];
    uint32_t behind = (uint32_t)*link;
    if (behind) {
        /* The term that was given last; it is checked again because the arena may have been recycled since. */
        struct rst_live_term *term;
        struct roost_bytes bytes;
        int err = rst_live_term_at(live, behind, 0, &term, &bytes);
        if (err) return err;
        *link = rst_load_relaxed_u32(&term->next);
    }
    for (;;) {
        while (!*link) {
            if (*bucket >= live->bucket_count) return 0;
            *link = rst_load_u32(rst_live_buckets(live) + (*bucket)++); /* pairs with make */
            behind = 0;
        }
        struct rst_live_term *term;
        int err = rst_live_term_at(live, (uint32_t)*link, behind, &term, ret_term);
        if (err) return err;
        /* In garbage buckets may share a chain: no more terms than fit. */
        if (++cursor->word[TERMS_STEPS] > live->size / sizeof *term)
            return rst_live_corrupt(live, sizeof(struct rst_live_header), "more terms than there is room for");
        if (rst_bytes_has_prefix(*ret_term, prefix)) return 1;
        behind = (uint32_t)*link;
        *link = rst_load_relaxed_u32(&term->next);
    }
}
