/* SPDX-License-Identifier: MIT
 * index/seal.c: several segments become one file (layer 5).
 *
 * The sources are asked through struct rst_segment_ops alone, so that live and sealed ones mix freely. What is in them may
 * come in any order (a live segment's terms do) or twice; it is collected and sorted, so that equal contents make equal bytes.
 * protocol/segment.md describes them.
 *
 * Left out: writing the file, syncing it and naming it in MANIFEST (the engine). The whole file is built in memory. */
#include "index/sealed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "index/analysis.h"
#include "index/sealed_layout.h"

struct forgotten {
    uint64_t id, lsn;
    bool here; /* its memory is in the merged range: both vanish */
};

struct source_term {
    struct roost_bytes bytes; /* in the source, which stays */
    size_t source;
};

struct builder {
    const struct rst_seal *seal;
    struct rst_buffer file;
    struct rst_buffer memories;   /* struct rst_memory_entry, those kept */
    struct rst_buffer tombstones; /* struct forgotten, by id */
    struct rst_sealed_header header;
};

static int no_memory(void) { return rst_fail(ROOST_ENOMEM, "out of memory for building a segment"); }

/* A source that answers on the wrong side would keep a pass going for ever. */
static int out_of_order(const struct rst_segment *source, uint64_t id)
{
    return rst_fail(ROOST_ECORRUPT, "%s: id %" PRIu64 " is out of order", source->name, id);
}

/* ---- Tombstones and memories ------------------------------------------------------------------------------------- */

static int compare_forgotten(const void *a, const void *b)
{
    const struct forgotten *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

/* All tombstones of the sources by id; of several for one id the earliest, which is the one that counted. */
static int collect_tombstones(struct builder *builder)
{
    for (size_t i = 0; i < builder->seal->count; i++) {
        const struct rst_segment *source = builder->seal->segments[i];
        struct forgotten found = {0, 0, false};
        int result;
        uint64_t from = 0;
        while ((result = source->ops->tombstone_near(source, from, builder->seal->lsn_last, &found.id, &found.lsn)) > 0) {
            if (found.id < from) return out_of_order(source, found.id);
            rst_buffer_add(&builder->tombstones, &found, sizeof found);
            if (found.id == UINT64_MAX) break;
            from = found.id + 1;
        }
        if (result < 0) return result;
    }
    if (builder->tombstones.failed) return no_memory();
    size_t count = builder->tombstones.size / sizeof(struct forgotten), kept = 0;
    if (!count) return 0;
    struct forgotten *all = (struct forgotten *)(void *)builder->tombstones.data;
    qsort(all, count, sizeof *all, compare_forgotten);
    for (size_t i = 0; i < count; i++)
        if (!kept || all[kept - 1].id != all[i].id) all[kept++] = all[i];
    builder->tombstones.size = kept * sizeof *all;
    return 0;
}

static struct forgotten *find_forgotten(const struct builder *builder, uint64_t id)
{
    struct forgotten *all = (struct forgotten *)(void *)builder->tombstones.data;
    size_t low = 0, high = builder->tombstones.size / sizeof *all;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (all[middle].id == id) return &all[middle];
        if (all[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int compare_entries(const void *a, const void *b)
{
    const struct rst_memory_entry *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->lsn < y->lsn) - (x->lsn > y->lsn); /* of two with one id the newest comes first */
}

static int collect_memories(struct builder *builder)
{
    bool ordered = true;
    uint64_t last = 0;
    for (size_t i = 0; i < builder->seal->count; i++) {
        const struct rst_segment *source = builder->seal->segments[i];
        struct rst_memory_entry entry;
        uint64_t from = 0;
        int result;
        while ((result = source->ops->memory_near(source, from, true, builder->seal->lsn_last, &entry)) > 0) {
            if (entry.id < from) return out_of_order(source, entry.id);
            from = entry.id + 1;
            struct forgotten *forgotten = find_forgotten(builder, entry.id);
            if (forgotten) {
                forgotten->here = true;
            } else {
                ordered = ordered && entry.id > last;
                last = entry.id;
                rst_buffer_add(&builder->memories, &entry, sizeof entry);
            }
            if (!from) break;
        }
        if (result < 0) return result;
    }
    if (builder->memories.failed) return no_memory();
    if (ordered) return 0;
    struct rst_memory_entry *all = (struct rst_memory_entry *)(void *)builder->memories.data;
    size_t count = builder->memories.size / sizeof *all, kept = 0;
    qsort(all, count, sizeof *all, compare_entries);
    for (size_t i = 0; i < count; i++)
        if (!kept || all[kept - 1].id != all[i].id) all[kept++] = all[i];
    builder->memories.size = kept * sizeof *all;
    return 0;
}

/* ---- Sections ---------------------------------------------------------------------------------------------------- */

static void begin_section(struct builder *builder, uint32_t index)
{
    rst_buffer_add_zeros(&builder->file, rst_align_up(builder->file.size, 8) - builder->file.size);
    builder->header.sections[index].offset = builder->file.size;
}

static void end_section(struct builder *builder, uint32_t index)
{
    struct rst_sealed_section *section = &builder->header.sections[index];
    if (builder->file.failed) return;
    section->size = builder->file.size - section->offset;
    section->hash = rst_hash(builder->file.data + section->offset, section->size, index + 1);
}

static void add_section(struct builder *builder, uint32_t index, const struct rst_buffer *bytes)
{
    begin_section(builder, index);
    rst_buffer_add(&builder->file, bytes->data, bytes->size);
    end_section(builder, index);
}

static void write_memories(struct builder *builder)
{
    const struct rst_memory_entry *all = (const struct rst_memory_entry *)(const void *)builder->memories.data;
    size_t count = builder->memories.size / sizeof *all;
    begin_section(builder, RST_SEALED_MEMORIES);
    for (size_t i = 0; i < count; i++) {
        struct rst_sealed_memory memory = {all[i].id,          all[i].lsn,     all[i].place.offset, all[i].place.size,
                                           all[i].place.chunk, all[i].time_ns, all[i].token_count,  0};
        rst_buffer_add(&builder->file, &memory, sizeof memory);
        builder->header.token_count += memory.token_count;
    }
    end_section(builder, RST_SEALED_MEMORIES);
    builder->header.memory_count = count;
    if (!count) return;
    builder->header.id_first = all[0].id;
    builder->header.id_last = all[count - 1].id;
}

/* A tombstone stays while an older segment may still hold its memory. */
static void write_tombstones(struct builder *builder)
{
    const struct forgotten *all = (const struct forgotten *)(const void *)builder->tombstones.data;
    size_t count = builder->tombstones.size / sizeof *all;
    begin_section(builder, RST_SEALED_TOMBSTONES);
    for (size_t i = 0; i < count && !builder->seal->oldest; i++) {
        if (all[i].here) continue;
        struct rst_sealed_tombstone tombstone = {all[i].id, all[i].lsn};
        rst_buffer_add(&builder->file, &tombstone, sizeof tombstone);
        builder->header.tombstone_count++;
    }
    end_section(builder, RST_SEALED_TOMBSTONES);
}

/* ---- Terms and postings ------------------------------------------------------------------------------------------ */

static int compare_terms(const void *a, const void *b)
{
    const struct source_term *x = a, *y = b;
    int order = rst_bytes_compare(x->bytes, y->bytes);
    return order ? order : (x->source > y->source) - (x->source < y->source);
}

static int collect_terms(const struct builder *builder, struct rst_buffer *terms)
{
    for (size_t i = 0; i < builder->seal->count; i++) {
        const struct rst_segment *source = builder->seal->segments[i];
        struct rst_terms_cursor cursor;
        struct source_term term = {{NULL, 0}, i};
        int result = source->ops->terms(source, rst_bytes(NULL, 0), &cursor);
        while (result > 0 && (result = source->ops->terms_next(&cursor, &term.bytes)) > 0)
            rst_buffer_add(terms, &term, sizeof term);
        if (result < 0) return result;
    }
    if (terms->failed) return no_memory();
    if (terms->size) qsort(terms->data, terms->size / sizeof(struct source_term), sizeof(struct source_term), compare_terms);
    return 0;
}

static int compare_postings(const void *a, const void *b)
{
    const struct rst_posting *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Adds one source's postings of a term, without those of forgotten memories. */
static int collect_postings(const struct builder *builder, const struct source_term *term, struct rst_buffer *postings,
                            bool *ordered)
{
    const struct rst_segment *source = builder->seal->segments[term->source];
    const struct forgotten *forgotten = (const struct forgotten *)(const void *)builder->tombstones.data;
    bool any_forgotten = builder->tombstones.size > 0 && forgotten;
    struct rst_postings_cursor cursor;
    struct rst_posting posting = {0, 0};
    uint64_t last = postings->size ? ((const struct rst_posting *)(void *)(postings->data + postings->size))[-1].id : 0;
    int result = source->ops->postings(source, term->bytes, &cursor);
    while (result > 0 && (result = source->ops->postings_next(&cursor, builder->seal->lsn_last, &posting)) > 0) {
        if (posting.id < builder->header.id_first || posting.id > builder->header.id_last) continue; /* forgotten, at an end */
        if (any_forgotten && find_forgotten(builder, posting.id)) continue;
        *ordered = *ordered && posting.id > last;
        last = posting.id;
        rst_buffer_add(postings, &posting, sizeof posting);
    }
    return result;
}

static void sort_postings(struct rst_buffer *postings)
{
    struct rst_posting *all = (struct rst_posting *)(void *)postings->data;
    size_t count = postings->size / sizeof *all, kept = 0;
    qsort(all, count, sizeof *all, compare_postings);
    for (size_t i = 0; i < count; i++)
        if (!kept || all[kept - 1].id != all[i].id) all[kept++] = all[i];
    postings->size = kept * sizeof *all;
}

static void encode_postings(const struct builder *builder, const struct rst_buffer *postings, struct rst_buffer *to)
{
    const struct rst_posting *all = (const struct rst_posting *)(const void *)postings->data;
    uint64_t id = builder->header.id_first - 1;
    for (size_t i = 0; i < postings->size / sizeof *all; i++) {
        rst_buffer_add_varint(to, (all[i].id - id) << 1 | (all[i].frequency == 1));
        if (all[i].frequency != 1) rst_buffer_add_varint(to, all[i].frequency);
        id = all[i].id;
    }
}

/* The three sections of the text index while they grow. */
struct text_index {
    struct rst_buffer terms, bytes, postings, scratch;
};

/* One term: `count` entries of `sources` name the segments that have it. */
static int add_term(struct builder *builder, const struct source_term *sources, size_t count, struct text_index *index)
{
    bool ordered = true;
    rst_buffer_clear(&index->scratch);
    for (size_t i = 0; i < count; i++) {
        int err = collect_postings(builder, &sources[i], &index->scratch, &ordered);
        if (err < 0) return err;
    }
    if (index->scratch.failed) return no_memory();
    if (!index->scratch.size) return 0; /* all forgotten */
    if (!ordered) sort_postings(&index->scratch);
    struct rst_sealed_term term = {index->postings.size, 0, (uint32_t)(index->scratch.size / sizeof(struct rst_posting)),
                                   (uint32_t)index->bytes.size, (uint32_t)sources->bytes.size};
    encode_postings(builder, &index->scratch, &index->postings);
    rst_buffer_add(&index->bytes, sources->bytes.data, sources->bytes.size);
    uint64_t size = index->postings.size - term.postings_offset;
    if (size > UINT32_MAX || index->bytes.size > UINT32_MAX || index->scratch.size / sizeof(struct rst_posting) > UINT32_MAX)
        return rst_fail(ROOST_E2BIG,
                        "a segment needs %" PRIu64 " bytes of postings for a term, %zu bytes of terms; 4 GiB is the most", size,
                        index->bytes.size);
    term.postings_size = (uint32_t)size;
    rst_buffer_add(&index->terms, &term, sizeof term);
    builder->header.term_count++;
    builder->header.posting_count += term.posting_count;
    return 0;
}

static int write_text(struct builder *builder)
{
    struct text_index index;
    struct rst_buffer sources = {0};
    memset(&index, 0, sizeof index);
    int err = collect_terms(builder, &sources);
    const struct source_term *all = (const struct source_term *)(const void *)sources.data;
    size_t count = sources.size / sizeof *all;
    for (size_t i = 0, next; !err && i < count; i = next) {
        for (next = i + 1; next < count && rst_bytes_equal(all[i].bytes, all[next].bytes);) next++;
        err = add_term(builder, &all[i], next - i, &index);
    }
    if (!err && (index.terms.failed || index.bytes.failed || index.postings.failed)) err = no_memory();
    if (!err) {
        add_section(builder, RST_SEALED_TERMS, &index.terms);
        add_section(builder, RST_SEALED_TERM_BYTES, &index.bytes);
        add_section(builder, RST_SEALED_POSTINGS, &index.postings);
    }
    rst_buffer_free(&index.terms);
    rst_buffer_free(&index.bytes);
    rst_buffer_free(&index.postings);
    rst_buffer_free(&index.scratch);
    rst_buffer_free(&sources);
    return err;
}

/* ---- The map ----------------------------------------------------------------------------------------------------- */

struct map_source {
    struct rst_map_cursor cursor;
    struct roost_bytes key;
    struct rst_map_entry entry;
    bool open;
};

static int advance(const struct builder *builder, struct map_source *source)
{
    int result = source->cursor.segment->ops->map_next(&source->cursor, builder->seal->lsn_last, &source->key, &source->entry);
    source->open = result > 0;
    return result < 0 ? result : 0;
}

static void add_map_entry(struct builder *builder, const struct map_source *source, struct rst_buffer *keys)
{
    const struct rst_map_entry *entry = &source->entry;
    struct rst_sealed_map stored = {
        keys->size,        (uint32_t)source->key.size, entry->kind,   entry->lsn,   entry->place.offset,
        entry->place.size, entry->place.chunk,         entry->number, entry->bytes, entry->time_ns,
        entry->expires_ns};
    rst_buffer_add(&builder->file, &stored, sizeof stored);
    rst_buffer_add(keys, source->key.data, source->key.size);
    builder->header.map_count++;
}

/* The smallest key that is left, in its newest version; NULL: none. */
static const struct map_source *newest_of_smallest(const struct map_source *sources, size_t count)
{
    const struct map_source *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!sources[i].open) continue;
        int order = best ? rst_bytes_compare(sources[i].key, best->key) : -1;
        if (order < 0 || (!order && sources[i].entry.lsn > best->entry.lsn)) best = &sources[i];
    }
    return best;
}

static int merge_map(struct builder *builder, struct map_source *sources, struct rst_buffer *keys)
{
    size_t count = builder->seal->count;
    for (size_t i = 0; i < count; i++) {
        const struct rst_segment *segment = builder->seal->segments[i];
        int result = segment->ops->map_seek(segment, rst_bytes(NULL, 0), false, &sources[i].cursor);
        if (result > 0) result = advance(builder, &sources[i]);
        if (result < 0) return result;
    }
    const struct map_source *best;
    while ((best = newest_of_smallest(sources, count)) != NULL) {
        struct roost_bytes key = best->key;
        if (best->entry.kind != RST_MAP_DELETED || !builder->seal->oldest) add_map_entry(builder, best, keys);
        for (size_t i = 0; i < count; i++) {
            if (!sources[i].open || !rst_bytes_equal(sources[i].key, key)) continue;
            int err = advance(builder, &sources[i]);
            if (err < 0) return err;
        }
    }
    return 0;
}

static int write_map(struct builder *builder)
{
    struct rst_buffer keys = {0};
    struct map_source *sources = calloc(builder->seal->count ? builder->seal->count : 1, sizeof *sources);
    if (!sources) return no_memory();
    begin_section(builder, RST_SEALED_MAP);
    int err = merge_map(builder, sources, &keys);
    end_section(builder, RST_SEALED_MAP);
    if (!err && keys.failed) err = no_memory();
    if (!err) add_section(builder, RST_SEALED_MAP_KEYS, &keys);
    rst_buffer_free(&keys);
    free(sources);
    return err;
}

/* ---- The file ---------------------------------------------------------------------------------------------------- */

static int build(struct builder *builder)
{
    struct rst_sealed_header *header = &builder->header;
    header->magic = RST_SEALED_MAGIC;
    header->version = RST_SEGMENT_VERSION;
    header->analysis_version = RST_ANALYSIS_VERSION;
    memcpy(header->language, builder->seal->language, strlen(builder->seal->language));
    header->lsn_first = builder->seal->lsn_first;
    header->lsn_last = builder->seal->lsn_last;
    rst_buffer_add_zeros(&builder->file, sizeof *header);
    int err = collect_tombstones(builder);
    if (!err) err = collect_memories(builder);
    if (err < 0) return err;
    write_memories(builder);
    write_tombstones(builder);
    err = write_text(builder);
    if (!err) err = write_map(builder);
    rst_buffer_add_zeros(&builder->file, rst_align_up(builder->file.size, 8) - builder->file.size);
    if (!err && builder->file.failed) err = no_memory();
    if (err < 0) return err;
    header->file_size = builder->file.size;
    header->hash = rst_hash(header, offsetof(struct rst_sealed_header, hash), 0);
    memcpy(builder->file.data, header, sizeof *header);
    return 0;
}

int rst_seal_build(const struct rst_seal *seal, struct rst_buffer *ret_file)
{
    struct builder builder;
    memset(&builder, 0, sizeof builder);
    builder.seal = seal;
    if (!seal->language || strlen(seal->language) >= sizeof builder.header.language)
        return rst_fail(ROOST_EINVAL, "a segment needs a language of at most %zu letters", sizeof builder.header.language - 1);
    int err = build(&builder);
    rst_buffer_free(&builder.memories);
    rst_buffer_free(&builder.tombstones);
    if (err < 0) {
        rst_buffer_free(&builder.file);
        return err;
    }
    rst_buffer_free(ret_file);
    *ret_file = builder.file;
    return 0;
}
