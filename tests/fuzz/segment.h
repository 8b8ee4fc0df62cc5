/* SPDX-License-Identifier: MIT
 * fuzz/segment.h: a small live segment to damage, and every question that a segment answers, in any order (index/segment.h). */
#ifndef RST_TESTS_FUZZ_SEGMENT_H
#define RST_TESTS_FUZZ_SEGMENT_H

#include "fuzz.h"
#include "index/live.h"
#include "index/search.h"
#include "live_script.h"

/* Some memories, forgets and keys, more than one version of some. base: `size` bytes, 8-aligned. */
static inline void segment_fill(struct rst_live *live, void *base, size_t size)
{
    static const char *const texts[] = {"fi flat gappi tred wapple wpear", "tblue wapple wbanana wcherry wpear", "wdate wpear",
                                        "frunning grun irun tred wapple wrun"};
    static const char *const keys[] = {"ka", "kab", "kabc", "kb", "kcc", "sone", "stwo", "mname"};
    struct rst_terms terms = {0};
    uint64_t id = 0;
    rst_live_attach(live, base, size);
    RST_CHECK(rst_live_format(live, size, 1) == 0);
    for (uint64_t lsn = 1; lsn <= 150; lsn++) {
        struct script_change change = {SCRIPT_MEMORY, 0, lsn, texts[lsn % RST_COUNT_OF(texts)]};
        if (lsn % 3 == 0)
            change = (struct script_change){lsn % 2 ? SCRIPT_SET : SCRIPT_DELETE, 0, lsn, keys[lsn / 3 % RST_COUNT_OF(keys)]};
        else if (lsn % 20 == 1)
            change = (struct script_change){SCRIPT_TOMBSTONE, id, lsn, ""};
        else
            change.id = ++id;
        if (change.kind == SCRIPT_MEMORY) script_terms(&terms, change.text, 1 + (uint32_t)lsn % 3);
        RST_CHECK(script_apply(live, &change, &terms) == 0);
    }
    script_terms_free(&terms);
}

/* Cursors that stay open from one question to the next. */
struct segment_asker {
    const struct rst_segment *segment;
    struct rst_analyzer *analyzer;
    struct rst_postings_cursor postings;
    struct rst_terms_cursor terms;
    struct rst_map_cursor map;
    bool has_postings, has_terms, has_map;
};

static inline int segment_no_text(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                                  const struct roost_bytes **ret_tags, size_t *ret_tag_count)
{
    (void)user, (void)entry;
    *ret_text = rst_bytes("apple pear", 10);
    *ret_tags = NULL;
    *ret_tag_count = 0;
    return 1;
}

static inline void segment_search(struct segment_asker *asker, struct roost_bytes text, uint64_t visible)
{
    struct rst_view view = {&asker->segment, 1, visible, 100, 80, 400};
    struct rst_query *query;
    struct rst_scored hits[5];
    if (rst_query_parse(asker->analyzer, text, &query) < 0) return;
    RST_CHECK(rst_search(&view, asker->analyzer, query, RST_COUNT_OF(hits), segment_no_text, NULL, hits) <=
              (int)RST_COUNT_OF(hits));
    rst_query_free(query);
}

/* One question, chosen by the input. What comes back is read to its last byte. */
static inline void segment_ask(struct segment_asker *asker, struct fuzz *fuzz)
{
    static const char *const terms[] = {"wapple", "wpear", "tred", "w", "wnone", "f", ""};
    static const char *const queries[] = {"apple pear", "+apple -banana", "ap*", "\"apple pear\"", "tag:red r*"};
    const struct rst_segment *segment = asker->segment;
    const struct rst_segment_ops *ops = segment->ops;
    struct rst_memory_entry memory;
    struct rst_map_entry mapped;
    struct rst_posting posting;
    struct roost_bytes found;
    uint64_t visible = fuzz_one_in(fuzz, 2) ? fuzz_number(fuzz) : UINT64_MAX, id, lsn;
    const char *term = terms[fuzz_u8(fuzz) % RST_COUNT_OF(terms)];
    struct roost_bytes bytes = rst_bytes(term, strlen(term));
    if (fuzz_one_in(fuzz, 4)) bytes = fuzz_take(fuzz, fuzz_u8(fuzz) % 70);
    switch (fuzz_u8(fuzz) % 14) {
    case 0:
        (void)ops->memory(segment, fuzz_number(fuzz), visible, &memory);
        break;
    case 1:
        (void)ops->memory_near(segment, fuzz_number(fuzz), fuzz_u8(fuzz) % 2, visible, &memory);
        break;
    case 2:
        (void)ops->tombstone(segment, fuzz_number(fuzz), visible, &lsn);
        break;
    case 3:
        (void)ops->tombstone_near(segment, fuzz_number(fuzz), visible, &id, &lsn);
        break;
    case 4:
        asker->has_postings = ops->postings(segment, bytes, &asker->postings) > 0;
        break;
    case 5:
        for (unsigned i = fuzz_u8(fuzz); asker->has_postings && i > 0; i--)
            asker->has_postings = ops->postings_next(&asker->postings, visible, &posting) > 0;
        break;
    case 6: /* the prefix must stay valid */
        asker->has_terms = ops->terms(segment, rst_bytes(term, strlen(term)), &asker->terms) > 0;
        break;
    case 7:
        for (unsigned i = fuzz_u8(fuzz); asker->has_terms && i > 0; i--) {
            asker->has_terms = ops->terms_next(&asker->terms, &found) > 0;
            if (asker->has_terms) fuzz_touch(found);
        }
        break;
    case 8:
        (void)ops->map(segment, bytes, visible, &mapped);
        break;
    case 9:
        asker->has_map = ops->map_seek(segment, bytes, fuzz_u8(fuzz) % 2, &asker->map) > 0;
        break;
    case 10:
        asker->has_map = ops->map_before(segment, bytes, fuzz_u8(fuzz) % 2, &asker->map) > 0;
        break;
    case 11:
        for (unsigned i = fuzz_u8(fuzz); asker->has_map && i > 0; i--) {
            asker->has_map = ops->map_next(&asker->map, visible, &found, &mapped) > 0;
            if (asker->has_map) fuzz_touch(found);
        }
        break;
    default:
        term = queries[fuzz_u8(fuzz) % RST_COUNT_OF(queries)];
        segment_search(asker, rst_bytes(term, strlen(term)), visible);
    }
}

/* All there is, forward and backward. */
static inline void segment_ask_all(struct segment_asker *asker, uint64_t visible)
{
    const struct rst_segment *segment = asker->segment;
    struct rst_buffer answers = {0};
    (void)script_ask_memories(segment, true, visible, &answers);
    (void)script_ask_memories(segment, false, visible, &answers);
    (void)script_ask_tombstones(segment, visible, &answers);
    (void)script_ask_terms(segment, rst_bytes("", 0), visible, &answers);
    (void)script_ask_map(segment, true, visible, &answers);
    (void)script_ask_map(segment, false, visible, &answers);
    rst_buffer_free(&answers);
}

#endif
