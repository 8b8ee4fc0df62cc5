/* SPDX-License-Identifier: MIT
 * index/gather.c: reading postings for a search (layer 5).
 *
 * The words that begin with P are counted exactly from four kinds of terms (analysis.c): for each memory
 *     stems that begin with P                              their words begin with P too, but for the altered ones:
 *   - altered words' stems that begin with P
 *   + altered words that begin with P
 *   + full forms that begin with P of stems shorter than P  (with longer stems they are counted above)
 * So no text is read again, and a stem like "happi" does not answer for "happy".
 *
 * Left out: skipping. Reading a posting takes a few nanoseconds; a million of them is a few milliseconds. */
#include "index/gather.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

static int no_memory(void) { return rst_fail(ROOST_ENOMEM, "out of memory for the postings of a search"); }

static int compare_ids(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

int rst_gather_forgotten(const struct rst_view *view, struct rst_buffer *ret_ids)
{
    bool ordered = true;
    uint64_t last = 0;
    for (size_t i = 0; i < view->segment_count; i++) {
        const struct rst_segment *segment = view->segments[i];
        uint64_t id, lsn, from = 0;
        int result;
        while ((result = segment->ops->tombstone_near(segment, from, view->visible, &id, &lsn)) > 0) {
            if (id < from) return rst_fail(ROOST_ECORRUPT, "%s: tombstone %" PRIu64 " is out of order", segment->name, id);
            ordered = ordered && id >= last;
            last = id;
            rst_buffer_add_u64(ret_ids, id);
            if (id == UINT64_MAX) break;
            from = id + 1;
        }
        if (result < 0) return result;
    }
    if (ret_ids->failed) return no_memory();
    if (!ordered) qsort(ret_ids->data, ret_ids->size / sizeof(uint64_t), sizeof(uint64_t), compare_ids);
    return 0;
}

/* A walk through the forgotten ids beside an ascending walk through postings. */
struct forgotten_walk {
    const uint64_t *ids;
    size_t count, at;
};

static bool walk_to(struct forgotten_walk *walk, uint64_t id)
{
    if (walk->at && walk->ids[walk->at - 1] >= id) walk->at = 0; /* ids fell: another segment began */
    while (walk->at < walk->count && walk->ids[walk->at] < id) walk->at++;
    return walk->at < walk->count && walk->ids[walk->at] == id;
}

/* ---- One term ---------------------------------------------------------------------------------------------------- */

static bool push(struct rst_buffer *postings, const struct rst_posting *posting)
{
    if (postings->capacity - postings->size < sizeof *posting && !rst_buffer_reserve(postings, sizeof *posting)) return false;
    memcpy(postings->data + postings->size, posting, sizeof *posting);
    postings->size += sizeof *posting;
    return true;
}

static int gather_term(const struct rst_view *view, struct forgotten_walk *forgotten, struct rst_atom *atom, bool *ordered)
{
    uint64_t last = 0;
    for (size_t i = 0; i < view->segment_count; i++) {
        const struct rst_segment *segment = view->segments[i];
        struct rst_postings_cursor cursor;
        struct rst_posting posting = {0, 0};
        int result = segment->ops->postings(segment, atom->term, &cursor);
        while (result > 0 && (result = segment->ops->postings_next(&cursor, view->visible, &posting)) > 0) {
            if (forgotten->count && walk_to(forgotten, posting.id)) continue;
            *ordered = *ordered && posting.id > last;
            last = posting.id;
            if (!push(&atom->postings, &posting)) return no_memory();
        }
        if (result < 0) return result;
    }
    return 0;
}

/* ---- Prefixes ---------------------------------------------------------------------------------------------------- */

struct change {
    uint64_t id;
    int64_t count;
};

static int compare_changes(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int add_changes(const struct rst_view *view, const struct rst_segment *segment, struct roost_bytes term, int64_t sign,
                       struct rst_buffer *changes)
{
    struct rst_postings_cursor cursor;
    struct rst_posting posting = {0, 0};
    int result = segment->ops->postings(segment, term, &cursor);
    while (result > 0 && (result = segment->ops->postings_next(&cursor, view->visible, &posting)) > 0) {
        struct change change = {posting.id, sign * (int64_t)posting.frequency};
        rst_buffer_add(changes, &change, sizeof change);
    }
    return result;
}

/* All terms of one kind that begin with the prefix. */
static int add_kind(const struct rst_view *view, struct rst_analyzer *analyzer, const struct rst_segment *segment, uint8_t kind,
                    struct roost_bytes prefix, struct rst_buffer *changes)
{
    uint8_t spelled[RST_TERM_SIZE_MAX];
    if (prefix.size > sizeof spelled) return 0;
    memcpy(spelled, prefix.data, prefix.size);
    spelled[0] = kind;
    struct rst_terms_cursor cursor;
    struct roost_bytes term;
    int result = segment->ops->terms(segment, rst_bytes(spelled, prefix.size), &cursor);
    while (result > 0 && (result = segment->ops->terms_next(&cursor, &term)) > 0) {
        if (!rst_bytes_has_prefix(term, rst_bytes(spelled, prefix.size))) continue;
        if (kind == RST_TERM_FORM) {
            struct roost_bytes word = rst_bytes((const uint8_t *)term.data + 1, term.size - 1);
            if (rst_analyzer_stem(analyzer, word).size >= prefix.size - 1) continue;
        }
        int err = add_changes(view, segment, term, kind == RST_TERM_ALTERED_STEM ? -1 : 1, changes);
        if (err < 0) return err;
    }
    return result;
}

static bool keep_change(struct rst_atom *atom, struct forgotten_walk *forgotten, uint64_t id, int64_t count)
{
    if (count <= 0 || (forgotten->count && walk_to(forgotten, id))) return true;
    struct rst_posting posting = {id, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX};
    return push(&atom->postings, &posting);
}

/* Sums the changes by id: in an array over the ids where they lie close together, else by sorting. */
static int sum_changes(struct rst_atom *atom, struct forgotten_walk *forgotten, struct rst_buffer *changes)
{
    struct change *all = (struct change *)(void *)changes->data;
    size_t count = changes->size / sizeof *all;
    if (!count) return 0;
    uint64_t low = all[0].id, high = all[0].id;
    for (size_t i = 1; i < count; i++) {
        if (all[i].id < low) low = all[i].id;
        if (all[i].id > high) high = all[i].id;
    }
    bool kept = true;
    if (high - low < 8 * (uint64_t)count + 1024) {
        int64_t *sums = calloc((size_t)(high - low) + 1, sizeof *sums);
        if (!sums) return no_memory();
        for (size_t i = 0; i < count; i++) sums[all[i].id - low] += all[i].count;
        for (uint64_t i = 0; kept && i <= high - low; i++) kept = keep_change(atom, forgotten, low + i, sums[i]);
        free(sums);
    } else {
        qsort(all, count, sizeof *all, compare_changes);
        for (size_t i = 0, next; kept && i < count; i = next) {
            int64_t sum = 0;
            for (next = i; next < count && all[next].id == all[i].id; next++) sum += all[next].count;
            kept = keep_change(atom, forgotten, all[i].id, sum);
        }
    }
    return kept ? 0 : no_memory();
}

static int gather_prefix(const struct rst_view *view, struct rst_analyzer *analyzer, struct forgotten_walk *forgotten,
                         struct rst_atom *atom, bool *ordered)
{
    static const uint8_t kinds[] = {RST_TERM_WORD, RST_TERM_FORM, RST_TERM_ALTERED, RST_TERM_ALTERED_STEM};
    struct rst_buffer changes = {0};
    int err = 0;
    for (size_t i = 0; !err && i < view->segment_count; i++) {
        rst_buffer_clear(&changes);
        for (size_t k = 0; !err && k < sizeof kinds; k++)
            err = add_kind(view, analyzer, view->segments[i], kinds[k], atom->term, &changes);
        if (!err && changes.failed) err = no_memory();
        size_t before = atom->postings.size / sizeof(struct rst_posting);
        if (!err) err = sum_changes(atom, forgotten, &changes);
        size_t after = atom->postings.size / sizeof(struct rst_posting);
        if (before && after > before && rst_atom_postings(atom)[before].id <= rst_atom_postings(atom)[before - 1].id)
            *ordered = false;
    }
    rst_buffer_free(&changes);
    return err;
}

/* ---- Atoms ------------------------------------------------------------------------------------------------------- */

static int compare_postings(const void *a, const void *b)
{
    const struct rst_posting *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

int rst_gather_atom(const struct rst_view *view, struct rst_analyzer *analyzer, const struct rst_buffer *forgotten,
                    struct rst_atom *atom)
{
    struct forgotten_walk walk = {(const uint64_t *)(const void *)forgotten->data, forgotten->size / sizeof(uint64_t), 0};
    bool ordered = true;
    int err = atom->prefix ? gather_prefix(view, analyzer, &walk, atom, &ordered) : gather_term(view, &walk, atom, &ordered);
    if (err < 0) return err;
    struct rst_posting *all = (struct rst_posting *)(void *)atom->postings.data;
    size_t count = atom->postings.size / sizeof *all, kept = count;
    if (!ordered) { /* segments that overlap: an id counts once */
        qsort(all, count, sizeof *all, compare_postings);
        kept = 0;
        for (size_t i = 0; i < count; i++)
            if (!kept || all[kept - 1].id != all[i].id) all[kept++] = all[i];
    }
    atom->count = kept;
    double n = (double)kept;
    atom->idf = log(1 + ((double)view->memory_count - n + 0.5) / (n + 0.5));
    return 0;
}

uint32_t rst_atom_frequency(struct rst_atom *atom, uint64_t id)
{
    const struct rst_posting *all = rst_atom_postings(atom);
    size_t low = atom->at, high = atom->count, jump = 1;
    if (low == high) return 0;
    while (low + jump < high && all[low + jump].id < id) jump *= 2; /* usually it is near */
    if (low + jump < high) high = low + jump + 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    atom->at = low;
    return low < atom->count && all[low].id == id ? all[low].frequency : 0;
}
