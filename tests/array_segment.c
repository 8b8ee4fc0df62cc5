/* SPDX-License-Identifier: MIT
 * tests/array_segment.c: the test double of a segment: arrays, linear searches, nothing clever. */
#include "array_segment.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

static const struct array_segment *of(const struct rst_segment *segment)
{
    return (const struct array_segment *)(const void *)segment;
}

/* Room for one more: doubles at powers of two. */
static void *grow(void *array, size_t count, size_t size)
{
    if (count & (count - 1)) return array;
    array = realloc(array, (count ? 2 * count : 1) * size);
    RST_CHECK(array);
    return array;
}

static int memory_near(const struct rst_segment *segment, uint64_t id, bool forward, uint64_t visible,
                       struct rst_memory_entry *ret_entry)
{
    const struct array_segment *array = of(segment);
    const struct rst_memory_entry *best = NULL;
    size_t low = 0, high = array->memory_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (array->memories[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < array->memory_count && array->memories[low].id == id && array->memories[low].lsn <= visible) {
        best = &array->memories[low];
    } else if (forward) {
        if (low < array->memory_count && array->memories[low].lsn <= visible) best = &array->memories[low];
    } else {
        while (low > 0 && array->memories[low - 1].lsn > visible) low--;
        if (low > 0) best = &array->memories[low - 1];
    }
    if (!best) return 0;
    *ret_entry = *best;
    return 1;
}

static int memory(const struct rst_segment *segment, uint64_t id, uint64_t visible, struct rst_memory_entry *ret_entry)
{
    struct rst_memory_entry entry;
    if (memory_near(segment, id, true, visible, &entry) <= 0 || entry.id != id) return 0;
    *ret_entry = entry;
    return 1;
}

static int tombstone_near(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_id, uint64_t *ret_lsn)
{
    const struct array_segment *array = of(segment);
    for (size_t i = 0; i < array->tombstone_count; i++) {
        if (array->tombstones[i].id < id || array->tombstones[i].lsn > visible) continue;
        *ret_id = array->tombstones[i].id;
        *ret_lsn = array->tombstones[i].lsn;
        return 1;
    }
    return 0;
}

static int tombstone(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_lsn)
{
    uint64_t found, lsn;
    if (tombstone_near(segment, id, visible, &found, &lsn) <= 0 || found != id) return 0;
    *ret_lsn = lsn;
    return 1;
}

static struct roost_bytes bytes_of(const struct array_term *term) { return rst_bytes(term->bytes, term->size); }

static int postings(const struct rst_segment *segment, struct roost_bytes wanted, struct rst_postings_cursor *ret_cursor)
{
    const struct array_segment *array = of(segment);
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    for (size_t i = 0; i < array->term_count; i++) {
        if (!rst_bytes_equal(bytes_of(&array->terms[i]), wanted)) continue;
        ret_cursor->word[0] = i;
        ret_cursor->word[1] = 0;
        return 1;
    }
    return 0;
}

static int postings_next(struct rst_postings_cursor *cursor, uint64_t visible, struct rst_posting *ret_posting)
{
    const struct array_term *term = &of(cursor->segment)->terms[cursor->word[0]];
    while (cursor->word[1] < term->count) {
        const struct array_posting *posting = &term->postings[cursor->word[1]++];
        if (posting->lsn > visible) continue;
        ret_posting->id = posting->id;
        ret_posting->frequency = posting->frequency;
        return 1;
    }
    return 0;
}

static int terms(const struct rst_segment *segment, struct roost_bytes prefix, struct rst_terms_cursor *ret_cursor)
{
    RST_CHECK(prefix.size < 5 * sizeof(uint64_t));
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    uint8_t *kept = (uint8_t *)&ret_cursor->word[1]; /* the prefix: its size and its bytes */
    kept[0] = (uint8_t)prefix.size;
    if (prefix.size) memcpy(kept + 1, prefix.data, prefix.size);
    return of(segment)->term_count > 0;
}

static int terms_next(struct rst_terms_cursor *cursor, struct roost_bytes *ret_term)
{
    const struct array_segment *array = of(cursor->segment);
    const uint8_t *kept = (const uint8_t *)&cursor->word[1];
    while (cursor->word[0] < array->term_count) {
        struct roost_bytes term = bytes_of(&array->terms[cursor->word[0]++]);
        if (!rst_bytes_has_prefix(term, rst_bytes(kept + 1, kept[0]))) continue;
        *ret_term = term;
        return 1;
    }
    return 0;
}

static struct roost_bytes key_of(const struct array_key *key) { return rst_bytes(key->bytes, key->size); }

static int map(const struct rst_segment *segment, struct roost_bytes key, uint64_t visible, struct rst_map_entry *ret_entry)
{
    const struct array_segment *array = of(segment);
    for (size_t i = array->key_count; i-- > 0;) {
        if (!rst_bytes_equal(key_of(&array->keys[i]), key) || array->keys[i].entry.lsn > visible) continue;
        *ret_entry = array->keys[i].entry;
        return 1;
    }
    return 0;
}

/* word[0]: forward, the index of the next entry; backward, one more than it. */
static int map_seek(const struct rst_segment *segment, struct roost_bytes key, bool after, struct rst_map_cursor *ret_cursor)
{
    const struct array_segment *array = of(segment);
    size_t at = 0;
    while (at < array->key_count && rst_bytes_compare(key_of(&array->keys[at]), key) < (after ? 1 : 0)) at++;
    memset(ret_cursor, 0, sizeof *ret_cursor);
    ret_cursor->segment = segment;
    ret_cursor->word[0] = at;
    return at < array->key_count;
}

static int map_before(const struct rst_segment *segment, struct roost_bytes key, bool inclusive,
                      struct rst_map_cursor *ret_cursor)
{
    map_seek(segment, key, inclusive, ret_cursor);
    ret_cursor->word[1] = 1;
    return ret_cursor->word[0] > 0;
}

static int map_next(struct rst_map_cursor *cursor, uint64_t visible, struct roost_bytes *ret_key, struct rst_map_entry *ret_entry)
{
    const struct array_segment *array = of(cursor->segment);
    bool backward = cursor->word[1] != 0;
    while (backward ? cursor->word[0] > 0 : cursor->word[0] < array->key_count) {
        size_t first = backward ? cursor->word[0] - 1 : cursor->word[0], last = first;
        struct roost_bytes key = key_of(&array->keys[first]);
        while (first > 0 && rst_bytes_equal(key_of(&array->keys[first - 1]), key)) first--;
        while (last + 1 < array->key_count && rst_bytes_equal(key_of(&array->keys[last + 1]), key)) last++;
        cursor->word[0] = backward ? first : last + 1;
        if (map(cursor->segment, key, visible, ret_entry) <= 0) continue;
        *ret_key = key;
        return 1;
    }
    return 0;
}

static const struct rst_segment_ops array_ops = {
    memory, memory_near, tombstone, tombstone_near, postings,   postings_next,
    terms,  terms_next,  map,       map_seek,       map_before, map_next,
};

void array_segment_init(struct array_segment *segment, const char *name, uint64_t lsn_first, uint64_t lsn_last)
{
    memset(segment, 0, sizeof *segment);
    segment->segment.ops = &array_ops;
    segment->segment.name = name;
    segment->segment.lsn_first = lsn_first;
    segment->segment.lsn_last = lsn_last;
}

void array_segment_free(struct array_segment *segment)
{
    for (size_t i = 0; i < segment->term_count; i++) free(segment->terms[i].postings);
    for (size_t i = 0; i < segment->key_count; i++) free(segment->keys[i].bytes);
    free(segment->memories);
    free(segment->tombstones);
    free(segment->terms);
    free(segment->keys);
}

static struct array_term *term_of(struct array_segment *segment, struct roost_bytes bytes)
{
    for (size_t i = 0; i < segment->term_count; i++)
        if (rst_bytes_equal(bytes_of(&segment->terms[i]), bytes)) return &segment->terms[i];
    segment->terms = grow(segment->terms, segment->term_count, sizeof *segment->terms);
    struct array_term *term = &segment->terms[segment->term_count++];
    memset(term, 0, sizeof *term);
    memcpy(term->bytes, bytes.data, bytes.size);
    term->size = (uint32_t)bytes.size;
    return term;
}

void array_segment_add_memory(struct array_segment *segment, const struct rst_memory_entry *entry, const struct rst_terms *found)
{
    segment->memories = grow(segment->memories, segment->memory_count, sizeof *segment->memories);
    segment->memories[segment->memory_count++] = *entry;
    const struct rst_term *all = (const struct rst_term *)(const void *)found->terms.data;
    for (uint32_t i = 0; i < found->term_count; i++) {
        struct array_term *term = term_of(segment, rst_bytes(found->bytes.data + all[i].offset, all[i].size));
        term->postings = grow(term->postings, term->count, sizeof *term->postings);
        struct array_posting posting = {entry->id, entry->lsn, all[i].frequency};
        term->postings[term->count++] = posting;
    }
}

void array_segment_add_tombstone(struct array_segment *segment, uint64_t id, uint64_t lsn)
{
    segment->tombstones = grow(segment->tombstones, segment->tombstone_count, sizeof *segment->tombstones);
    size_t at = segment->tombstone_count++;
    for (; at > 0 && segment->tombstones[at - 1].id > id; at--) segment->tombstones[at] = segment->tombstones[at - 1];
    segment->tombstones[at].id = id;
    segment->tombstones[at].lsn = lsn;
}

void array_segment_set_map(struct array_segment *segment, struct roost_bytes key, const struct rst_map_entry *entry)
{
    segment->keys = grow(segment->keys, segment->key_count, sizeof *segment->keys);
    size_t at = segment->key_count++;
    for (; at > 0 && rst_bytes_compare(key_of(&segment->keys[at - 1]), key) > 0; at--) segment->keys[at] = segment->keys[at - 1];
    segment->keys[at].bytes = malloc(key.size ? key.size : 1);
    RST_CHECK(segment->keys[at].bytes);
    if (key.size) memcpy(segment->keys[at].bytes, key.data, key.size);
    segment->keys[at].size = key.size;
    segment->keys[at].entry = *entry;
}

void array_segment_reverse_terms(struct array_segment *segment)
{
    for (size_t i = 0; i < segment->term_count / 2; i++) {
        struct array_term swap = segment->terms[i];
        segment->terms[i] = segment->terms[segment->term_count - 1 - i];
        segment->terms[segment->term_count - 1 - i] = swap;
    }
}
