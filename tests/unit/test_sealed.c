/* SPDX-License-Identifier: MIT
 * tests/unit/test_sealed.c: a sealed segment answers as its source does, merging in any grouping gives the same bytes, and damaged
 * files end in ROOST_ECORRUPT or in right answers, never in a crash. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "corpus.h"
#include "index/sealed.h"
#include "index/sealed_layout.h"

enum { PART_COUNT_MAX = 8 };

static struct rst_analyzer *analyzer;

static struct roost_bytes text_of(const char *string) { return rst_bytes(string, strlen(string)); }

static void seal(const struct rst_segment *const *segments, size_t count, uint64_t lsn_first, uint64_t lsn_last, bool oldest,
                 struct rst_buffer *ret_file)
{
    struct rst_seal order = {segments, count, lsn_first, lsn_last, oldest, "english"};
    ck_assert_msg(rst_seal_build(&order, ret_file) == 0, "%s", rst_fail_detail());
}

static void open_file(struct rst_sealed *sealed, const struct rst_buffer *file)
{
    ck_assert_msg(rst_sealed_open(sealed, "index/seg-1.idx", file->data, file->size, "english") == 0, "%s", rst_fail_detail());
}

static void print_fault(void *user, uint64_t offset, const char *what)
{
    (void)user;
    printf("fault at %" PRIu64 ": %s\n", offset, what);
}

/* ---- A transcript of all answers --------------------------------------------------------------------------------- */

/* Writes down what a segment says to every question, up to `visible`. Stops at the first error and returns it. */
static int ask_memories(const struct rst_segment *segment, uint64_t visible, struct rst_buffer *answers)
{
    struct rst_memory_entry entry;
    uint64_t id = 0, lsn, found;
    int result;
    while ((result = segment->ops->memory_near(segment, id, true, visible, &entry)) > 0) {
        rst_buffer_add(answers, &entry, sizeof entry);
        if (entry.id < id) return ROOST_ECORRUPT;
        id = entry.id + 1;
        if ((result = segment->ops->memory(segment, entry.id, visible, &entry)) <= 0) return result < 0 ? result : ROOST_ECORRUPT;
        if ((result = segment->ops->memory_near(segment, entry.id - 1, false, visible, &entry)) < 0) return result;
        rst_buffer_add_u64(answers, result ? entry.id : 0);
    }
    if (result < 0) return result;
    for (id = 0; (result = segment->ops->tombstone_near(segment, id, visible, &found, &lsn)) > 0; id = found + 1) {
        if (found < id) return ROOST_ECORRUPT;
        rst_buffer_add_u64(answers, found);
        if ((result = segment->ops->tombstone(segment, found, visible, &lsn)) < 0) return result;
        rst_buffer_add_u64(answers, lsn);
    }
    return result;
}

static int compare_terms(const void *a, const void *b)
{
    const struct roost_bytes *x = a, *y = b;
    return rst_bytes_compare(*x, *y);
}

static int ask_terms(const struct rst_segment *segment, uint64_t visible, struct roost_bytes prefix, struct rst_buffer *answers)
{
    struct rst_terms_cursor cursor;
    struct rst_buffer found = {0};
    struct roost_bytes term;
    int result = segment->ops->terms(segment, prefix, &cursor);
    while (result > 0 && (result = segment->ops->terms_next(&cursor, &term)) > 0) rst_buffer_add(&found, &term, sizeof term);
    size_t count = found.size / sizeof term;
    struct roost_bytes *all = (struct roost_bytes *)(void *)found.data;
    if (count) qsort(all, count, sizeof *all, compare_terms);
    for (size_t i = 0; !result && i < count; i++) {
        struct rst_postings_cursor postings;
        struct rst_posting posting;
        bool any = false;
        result = segment->ops->postings(segment, all[i], &postings);
        while (result > 0 && (result = segment->ops->postings_next(&postings, visible, &posting)) > 0) {
            if (!any) rst_buffer_add(answers, all[i].data, all[i].size); /* a term all of whose memories are newer is none */
            any = true;
            rst_buffer_add_u64(answers, posting.id);
            rst_buffer_add_u32(answers, posting.frequency);
        }
    }
    rst_buffer_free(&found);
    return result;
}

static int ask_map(const struct rst_segment *segment, uint64_t visible, struct rst_buffer *answers)
{
    static const char *const keys[] = {"", "k", "k1", "k10", "k2", "kz", "s", "s29", "z"};
    for (size_t i = 0; i < RST_COUNT_OF(keys); i++) {
        for (int way = 0; way < 4; way++) {
            struct rst_map_cursor cursor;
            struct roost_bytes key;
            struct rst_map_entry entry;
            int result = way < 2 ? segment->ops->map_seek(segment, text_of(keys[i]), way == 1, &cursor)
                                 : segment->ops->map_before(segment, text_of(keys[i]), way == 3, &cursor);
            while (result > 0 && (result = segment->ops->map_next(&cursor, visible, &key, &entry)) > 0) {
                rst_buffer_add(answers, key.data, key.size);
                rst_buffer_add(answers, &entry, sizeof entry);
            }
            if (result < 0) return result;
        }
        struct rst_map_entry entry;
        int result = segment->ops->map(segment, text_of(keys[i]), visible, &entry);
        if (result < 0) return result;
        if (result) rst_buffer_add(answers, &entry, sizeof entry);
    }
    return 0;
}

static int ask_all(const struct rst_segment *segment, uint64_t visible, struct rst_buffer *answers)
{
    int err = ask_memories(segment, visible, answers);
    if (!err) err = ask_terms(segment, visible, rst_bytes(NULL, 0), answers);
    if (!err) err = ask_terms(segment, visible, text_of("wr"), answers);
    if (!err) err = ask_terms(segment, visible, text_of("zz"), answers);
    if (!err) err = ask_map(segment, visible, answers);
    return err;
}

static void assert_same_answers(const struct rst_segment *a, const struct rst_segment *b, uint64_t visible)
{
    struct rst_buffer x = {0}, y = {0};
    ck_assert_int_eq(ask_all(a, visible, &x), 0);
    ck_assert_int_eq(ask_all(b, visible, &y), 0);
    ck_assert_uint_eq(x.size, y.size);
    if (x.size) ck_assert_mem_eq(x.data, y.data, x.size);
    rst_buffer_free(&x);
    rst_buffer_free(&y);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

/* A corpus in which nothing is forgotten or set twice within the segment, so that source and file hold the same. */
START_TEST(a_sealed_segment_answers_as_its_source)
{
    corpus_seed("a_sealed_segment_answers_as_its_source");
    for (int round = 0; round < 30; round++) {
        struct corpus corpus;
        struct array_segment array;
        struct rst_sealed sealed;
        struct rst_buffer file = {0};
        corpus_make(&corpus, corpus_below(150));
        for (size_t i = 0; i < corpus.count; i++) {
            if (corpus.changes[i].kind == CORPUS_FORGET) corpus.changes[i].id += 100000000; /* of an older segment */
            if (corpus.changes[i].kind == CORPUS_KEY) snprintf(corpus.changes[i].key, sizeof corpus.changes[i].key, "k%zu", i);
        }
        corpus_segment(&corpus, analyzer, 0, corpus.count, &array);
        const struct rst_segment *segment = &array.segment;
        seal(&segment, 1, 1, corpus.count ? corpus.count : 1, false, &file);
        open_file(&sealed, &file);
        ck_assert_int_eq(rst_sealed_verify(&sealed, print_fault, NULL), 0);
        assert_same_answers(segment, &sealed.segment, UINT64_MAX);
        assert_same_answers(segment, &sealed.segment, corpus.count / 2);
        rst_buffer_free(&file);
        array_segment_free(&array);
        corpus_free(&corpus);
    }
}
END_TEST

/* Merges parts[0..count) pairwise in random order until one is left. */
static void merge_at_random(struct rst_buffer *files, uint64_t *ends, size_t count)
{
    while (count > 1) {
        size_t at = corpus_below((uint32_t)count - 1), width = 2 + corpus_below((uint32_t)(count - at) - 1);
        struct rst_sealed sealed[PART_COUNT_MAX];
        const struct rst_segment *segments[PART_COUNT_MAX];
        for (size_t i = 0; i < width; i++) {
            open_file(&sealed[i], &files[at + i]);
            segments[i] = &sealed[i].segment;
        }
        struct rst_buffer merged = {0};
        seal(segments, width, at ? ends[at - 1] + 1 : 1, ends[at + width - 1], at == 0, &merged);
        for (size_t i = 0; i < width; i++) rst_buffer_free(&files[at + i]);
        files[at] = merged;
        ends[at] = ends[at + width - 1];
        for (size_t i = at + width; i < count; i++) {
            files[i - width + 1] = files[i];
            ends[i - width + 1] = ends[i];
        }
        count -= width - 1;
    }
}

START_TEST(merges_in_any_grouping_and_order_of_terms_give_the_same_bytes)
{
    corpus_seed("merges_in_any_grouping_and_order_of_terms_give_the_same_bytes");
    for (int round = 0; round < 40; round++) {
        struct corpus corpus;
        corpus_make(&corpus, 10 + corpus_below(200));
        size_t count = 1 + corpus_below(PART_COUNT_MAX);
        struct rst_buffer files[PART_COUNT_MAX] = {{0}}, whole = {0};
        uint64_t ends[PART_COUNT_MAX];
        struct array_segment array;
        const struct rst_segment *segment = &array.segment;
        for (size_t i = 0; i < count; i++) {
            size_t first = i * corpus.count / count, end = (i + 1) * corpus.count / count;
            corpus_segment(&corpus, analyzer, first, end, &array);
            if (corpus_below(2)) array_segment_reverse_terms(&array);
            seal(&segment, 1, first + 1, end, i == 0, &files[i]);
            ends[i] = end;
            array_segment_free(&array);
        }
        corpus_segment(&corpus, analyzer, 0, corpus.count, &array);
        seal(&segment, 1, 1, corpus.count, true, &whole);
        merge_at_random(files, ends, count);
        ck_assert_uint_eq(files[0].size, whole.size);
        ck_assert_mem_eq(files[0].data, whole.data, whole.size);
        struct rst_sealed sealed;
        open_file(&sealed, &whole);
        ck_assert_int_eq(rst_sealed_verify(&sealed, print_fault, NULL), 0);
        uint64_t id, lsn;
        ck_assert_int_eq(sealed.segment.ops->tombstone_near(&sealed.segment, 0, UINT64_MAX, &id, &lsn), 0);
        for (size_t i = 0; i < corpus.count; i++) { /* what was forgotten is gone, with its words */
            struct rst_memory_entry entry;
            if (corpus.changes[i].kind != CORPUS_MEMORY) continue;
            ck_assert_int_eq(sealed.segment.ops->memory(&sealed.segment, corpus.changes[i].id, UINT64_MAX, &entry),
                             !corpus.changes[i].forgotten_lsn);
        }
        rst_buffer_free(&files[0]);
        rst_buffer_free(&whole);
        array_segment_free(&array);
        corpus_free(&corpus);
    }
}
END_TEST

START_TEST(nothing_newer_than_the_range_is_taken)
{
    corpus_seed("nothing_newer_than_the_range_is_taken");
    struct corpus corpus;
    corpus_make(&corpus, 200);
    struct array_segment all, half;
    struct rst_buffer from_all = {0}, from_half = {0};
    corpus_segment(&corpus, analyzer, 0, 200, &all);
    corpus_segment(&corpus, analyzer, 0, 100, &half);
    const struct rst_segment *segment = &all.segment;
    seal(&segment, 1, 1, 100, true, &from_all);
    segment = &half.segment;
    seal(&segment, 1, 1, 100, true, &from_half);
    ck_assert_uint_eq(from_all.size, from_half.size);
    ck_assert_mem_eq(from_all.data, from_half.data, from_all.size);
    rst_buffer_free(&from_all);
    rst_buffer_free(&from_half);
    array_segment_free(&all);
    array_segment_free(&half);
    corpus_free(&corpus);
}
END_TEST

/* A good file and the transcript of its answers. */
static void sample(struct rst_buffer *file, struct rst_buffer *answers)
{
    struct corpus corpus;
    struct array_segment array;
    struct rst_sealed sealed;
    corpus_make(&corpus, 60);
    corpus.changes[59].kind = CORPUS_FORGET; /* one tombstone at least */
    corpus.changes[59].id = 999999999;
    corpus_segment(&corpus, analyzer, 0, corpus.count, &array);
    const struct rst_segment *segment = &array.segment;
    seal(&segment, 1, 1, corpus.count, false, file);
    open_file(&sealed, file);
    ck_assert_int_eq(ask_all(&sealed.segment, UINT64_MAX, answers), 0);
    array_segment_free(&array);
    corpus_free(&corpus);
}

/* A copy of exactly its size, so that ASan sees a step beyond it. */
static uint8_t *copy_of(const struct rst_buffer *file, size_t size)
{
    uint8_t *copy = aligned_alloc(8, rst_align_up(size ? size : 1, 8));
    ck_assert_ptr_nonnull(copy);
    if (size) memcpy(copy, file->data, size);
    return copy;
}

START_TEST(damage_is_reported_or_harmless)
{
    corpus_seed("damage_is_reported_or_harmless");
    struct rst_buffer file = {0}, answers = {0};
    sample(&file, &answers);
    for (size_t round = 0; round < 4000; round++) {
        uint8_t *bytes = copy_of(&file, file.size);
        size_t at = round < sizeof(struct rst_sealed_header) ? round : corpus_below((uint32_t)file.size);
        bytes[at] ^= (uint8_t)(1 + corpus_below(255));
        struct rst_sealed sealed;
        int err = rst_sealed_open(&sealed, "seg", bytes, file.size, "english");
        if (!err) {
            struct rst_buffer again = {0};
            err = ask_all(&sealed.segment, UINT64_MAX, &again);
            if (!err) {
                ck_assert_uint_eq(again.size, answers.size);
                ck_assert_mem_eq(again.data, answers.data, again.size);
            }
            ck_assert_int_ge(rst_sealed_verify(&sealed, NULL, NULL), 1); /* a flipped byte between sections too */
            rst_buffer_free(&again);
        }
        ck_assert_msg(!err || err == ROOST_ECORRUPT, "byte %zu: error %d", at, err);
        free(bytes);
    }
    for (size_t size = 0; size < file.size; size += 1 + size / 40) {
        uint8_t *bytes = copy_of(&file, size);
        struct rst_sealed sealed;
        ck_assert_int_eq(rst_sealed_open(&sealed, "seg", bytes, size, "english"), ROOST_ECORRUPT);
        free(bytes);
    }
    rst_buffer_free(&file);
    rst_buffer_free(&answers);
}
END_TEST

/* Damage under fitting checksums: somebody means harm. Anything may be answered, but nothing may crash or hang. */
START_TEST(made_up_files_never_crash)
{
    corpus_seed("made_up_files_never_crash");
    struct rst_buffer file = {0}, answers = {0};
    sample(&file, &answers);
    for (size_t round = 0; round < 4000; round++) {
        uint8_t *bytes = copy_of(&file, file.size);
        for (uint32_t flips = 1 + corpus_below(4); flips > 0; flips--) {
            size_t at = corpus_below(3) ? corpus_below((uint32_t)file.size) : 40 + corpus_below(256);
            bytes[at] = (uint8_t)(corpus_below(4) ? corpus_random() : 0xff);
        }
        struct rst_sealed_header header;
        memcpy(&header, bytes, sizeof header);
        for (uint32_t i = 0; i < RST_SEALED_SECTION_COUNT; i++) {
            struct rst_sealed_section *section = &header.sections[i];
            if (section->offset > file.size || section->size > file.size - section->offset) continue;
            section->hash = rst_hash(bytes + section->offset, section->size, i + 1);
        }
        header.hash = rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0);
        memcpy(bytes, &header, sizeof header);
        struct rst_sealed sealed;
        if (rst_sealed_open(&sealed, "seg", bytes, file.size, "english") == 0) {
            struct rst_buffer again = {0}, merged = {0};
            (void)ask_all(&sealed.segment, corpus_below(2) ? UINT64_MAX : corpus_below(60), &again);
            (void)rst_sealed_verify(&sealed, NULL, NULL);
            const struct rst_segment *segment = &sealed.segment;
            struct rst_seal order = {&segment, 1, 1, 60, corpus_below(2) == 0, "english"};
            (void)rst_seal_build(&order, &merged);
            rst_buffer_free(&again);
            rst_buffer_free(&merged);
        }
        free(bytes);
    }
    rst_buffer_free(&file);
    rst_buffer_free(&answers);
}
END_TEST

static uint32_t faults;

static void count_fault(void *user, uint64_t offset, const char *what)
{
    (void)offset;
    faults += strstr(what, user) != NULL;
}

static void seal_header(struct rst_buffer *file, struct rst_sealed_header header)
{
    header.hash = rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0);
    memcpy(file->data, &header, sizeof header);
}

/* A whole file whose header says what its sections do not bear out. */
START_TEST(what_a_header_claims_is_held_against_the_sections)
{
    corpus_seed("what_a_header_claims_is_held_against_the_sections");
    struct rst_buffer file = {0}, answers = {0};
    struct rst_sealed sealed;
    struct rst_sealed_header header, claim;
    sample(&file, &answers);
    memcpy(&header, file.data, sizeof header);
    for (int above = 0; above < 2; above++) {
        claim = header;
        claim.lsn_first = claim.lsn_last = above ? 1 : header.lsn_last + 1;
        seal_header(&file, claim);
        open_file(&sealed, &file);
        faults = 0;
        ck_assert_int_gt(rst_sealed_verify(&sealed, count_fault, "outside the segment's range"), 0);
        ck_assert_uint_ge(faults, header.memory_count + header.tombstone_count + header.map_count - 1);
    }
    claim = header;
    claim.posting_count++;
    seal_header(&file, claim);
    open_file(&sealed, &file);
    ck_assert_int_eq(rst_sealed_verify(&sealed, print_fault, NULL), 1);
    claim = header;
    claim.id_first = 0;
    seal_header(&file, claim);
    ck_assert_int_eq(rst_sealed_open(&sealed, "seg", file.data, file.size, "english"), ROOST_ECORRUPT);
    claim = header;
    claim.id_last = claim.id_first;
    seal_header(&file, claim);
    ck_assert_int_eq(rst_sealed_open(&sealed, "seg", file.data, file.size, "english"), ROOST_ECORRUPT);
    seal_header(&file, header);
    open_file(&sealed, &file);
    file.data[offsetof(struct rst_sealed_header, token_count)] ^= 1; /* after it was opened */
    ck_assert_int_eq(rst_sealed_verify(&sealed, NULL, NULL), 1);
    rst_buffer_free(&file);
    rst_buffer_free(&answers);
}
END_TEST

START_TEST(other_versions_and_languages_are_named)
{
    struct rst_buffer file = {0};
    seal(NULL, 0, 5, 9, false, &file); /* nothing at all is a segment too */
    struct rst_sealed sealed;
    open_file(&sealed, &file);
    ck_assert_uint_eq(sealed.segment.lsn_first, 5);
    ck_assert_uint_eq(sealed.segment.lsn_last, 9);
    ck_assert_uint_eq(sealed.memory_count, 0);
    ck_assert_int_eq(rst_sealed_verify(&sealed, print_fault, NULL), 0);
    ck_assert_int_eq(rst_sealed_open(&sealed, "seg", file.data, file.size, "german"), ROOST_EVERSION);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "german"));
    ck_assert_int_eq(rst_sealed_open(&sealed, "seg", file.data, file.size, NULL), 0);
    struct rst_sealed_header header;
    memcpy(&header, file.data, sizeof header);
    header.version++;
    header.hash = rst_hash(&header, offsetof(struct rst_sealed_header, hash), 0);
    memcpy(file.data, &header, sizeof header);
    ck_assert_int_eq(rst_sealed_open(&sealed, "seg", file.data, file.size, "english"), ROOST_EVERSION);
    rst_buffer_free(&file);
}
END_TEST

static void make_analyzer(void) { ck_assert_int_eq(rst_analyzer_create("english", &analyzer), 0); }
static void free_analyzer(void) { rst_analyzer_free(analyzer); }

int main(void)
{
    Suite *suite = suite_create("sealed");
    TCase *tests = tcase_create("sealed");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, make_analyzer, free_analyzer);
    tcase_add_test(tests, a_sealed_segment_answers_as_its_source);
    tcase_add_test(tests, merges_in_any_grouping_and_order_of_terms_give_the_same_bytes);
    tcase_add_test(tests, nothing_newer_than_the_range_is_taken);
    tcase_add_test(tests, damage_is_reported_or_harmless);
    tcase_add_test(tests, made_up_files_never_crash);
    tcase_add_test(tests, what_a_header_claims_is_held_against_the_sections);
    tcase_add_test(tests, other_versions_and_languages_are_named);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
