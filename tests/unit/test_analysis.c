/* SPDX-License-Identifier: MIT
 * tests/unit/test_analysis.c: folding, word boundaries, stems, terms, and the strict check of UTF-8. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "corpus.h"
#include "index/analysis.h"

static struct roost_bytes text_of(const char *string) { return rst_bytes(string, strlen(string)); }

static struct rst_analyzer *make(const char *language)
{
    struct rst_analyzer *analyzer;
    ck_assert_int_eq(rst_analyzer_create(language, &analyzer), 0);
    return analyzer;
}

static int add_stem(void *user, const struct rst_analyzed_word *word)
{
    struct rst_buffer *stems = user;
    if (stems->size) rst_buffer_add_u8(stems, ' ');
    rst_buffer_add(stems, word->stem.data, word->stem.size);
    return 0;
}

START_TEST(words_are_folded_split_and_stemmed)
{
    static const struct {
        const char *language, *text, *stems;
    } cases[] = {
        {"none", "Hello, World_2 x-1!", "hello world 2 x 1"},
        {"none", "", ""},
        {"none", " ... \xe2\x80\x94 ", ""},
        {"none", "Caf\xc3\xa9 cafe\xcc\x81 CAFE", "cafe cafe cafe"}, /* composed, decomposed, plain */
        {"none",
         "Stra\xc3\x9f"
         "e STRASSE \xe1\xba\x9e",
         "strasse strasse ss"},                      /* sharp s, also the capital one */
        {"none", "\xc4\xb0stanbul I", "istanbul i"}, /* dotted capital I */
        {"none", "\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xce\xbf\xce\xb4\xcf\x8c\xcf\x82",
         "\xce\xbf\xce\xb4\xce\xbf\xcf\x83 \xce\xbf\xce\xb4\xce\xbf\xcf\x83"},
        {"none",
         "\xe6\x9d\xb1\xe4\xba\xac"
         "abc\xe3\x81\x8c",
         "\xe6\x9d\xb1 \xe4\xba\xac abc \xe3\x81\x8c"},       /* Han, Latin, kana */
        {"none", "\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c"}, /* ka and a voicing mark are ga */
        {"none", "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab",
         "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xed\x95\x9c"},
        {"none", "\xd0\x99\xd0\xbe\xd0\xb4 \xd1\x91\xd0\xbb", "\xd0\xb9\xd0\xbe\xd0\xb4 \xd0\xb5\xd0\xbb"}, /* й stays, ё is е */
        {"none", "\xef\xbd\x92\xef\xbd\x8f\xef\xbd\x8f\xef\xbd\x93\xef\xbd\x94 \xef\xac\x81n",
         "roost fin"}, /* full width, ligature */
        {"none",
         "co\xc2\xadop a\xe2\x80\x8b"
         "b",
         "coop a b"}, /* soft hyphen; zero-width space */
        {"none", "it\xe2\x80\x99s \xe2\x80\x9cso\xe2\x80\x9d\xe2\x80\x94yes\xe2\x80\xa6", "it s so yes"},
        {"none",
         "\xcc\x81 \xcc\x81"
         "a",
         "a"}, /* marks alone are no words */
        {"none", "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8\xe0\xa5\x8d\xe0\xa4\xa6\xe0\xa5\x80",
         "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8\xe0\xa5\x8d\xe0\xa4\xa6\xe0\xa5\x80"},
        {"none",
         "a\xff"
         "b \xc3",
         "a b"}, /* garbage separates */
        {"english", "Running happily, the skies", "run happili the sky"},
        {"german", "H\xc3\xa4user Haus", "haus haus"},
        {"turkish", "I \xc4\xb0", "\xc4\xb1 i"},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        struct rst_analyzer *analyzer = make(cases[i].language);
        struct rst_buffer stems = {0};
        ck_assert_int_eq(rst_analyze_words(analyzer, text_of(cases[i].text), add_stem, &stems), 0);
        rst_buffer_add_u8(&stems, 0);
        ck_assert_msg(strcmp((char *)stems.data, cases[i].stems) == 0, "case %zu: \"%s\" gives \"%s\", expected \"%s\"", i,
                      cases[i].text, (char *)stems.data, cases[i].stems);
        rst_buffer_free(&stems);
        rst_analyzer_free(analyzer);
    }
}
END_TEST

/* "kind:bytes=frequency" for each term. */
static void describe(const struct rst_terms *terms, char *to, size_t room)
{
    const struct rst_term *all = (const struct rst_term *)(const void *)terms->terms.data;
    size_t used = 0;
    to[0] = '\0';
    for (uint32_t i = 0; i < terms->term_count; i++) {
        const char *bytes = (const char *)terms->bytes.data + all[i].offset;
        used += (size_t)snprintf(to + used, room - used, "%s%c:%.*s=%u", i ? " " : "", bytes[0], (int)all[i].size - 1, bytes + 1,
                                 (unsigned)all[i].frequency);
        ck_assert_uint_lt(used, room);
    }
}

START_TEST(a_memory_becomes_its_terms)
{
    struct rst_analyzer *analyzer = make("english");
    struct rst_terms terms = {0};
    char text[500];
    struct roost_bytes tags[] = {ROOST_TEXT("Happy Days"), ROOST_TEXT(" x "), ROOST_TEXT(" x ")};
    for (int again = 0; again < 2; again++) { /* the same from a warm cache */
        ck_assert_int_eq(
            rst_analyze_memory(
                analyzer,
                &(struct rst_searchable){.text = text_of("running, happy runs; run the run"), .tags = tags, .tag_count = 3},
                &terms),
            0);
        describe(&terms, text, sizeof text);
        ck_assert_str_eq(text, "f:days=1 f:running=1 f:runs=1 g:happy=2 i:happi=2 t: x =2 "
                               "t:happy days=1 w:day=1 w:happi=2 w:run=4 w:the=1 w:x=2");
        ck_assert_uint_eq(terms.token_count, 10);
    }
    ck_assert_int_eq(rst_analyze_memory(analyzer, &(struct rst_searchable){.text = rst_bytes(NULL, 0)}, &terms), 0);
    ck_assert_uint_eq(terms.term_count, 0);
    ck_assert_uint_eq(terms.token_count, 0);
    rst_terms_free(&terms);
    rst_analyzer_free(analyzer);
}
END_TEST

START_TEST(long_words_and_tags_are_cut_between_characters)
{
    struct rst_analyzer *analyzer = make("none");
    struct rst_terms terms = {0};
    char word[301];
    memset(word, 'a', 300);
    word[300] = '\0';
    for (size_t i = 61; i + 1 < 300; i += 2) memcpy(word + i, "\xd0\xb6", 2); /* a character that would straddle byte 63 */
    struct roost_bytes tags[2] = {rst_bytes(word, 250), rst_bytes(word, 248)};
    ck_assert_int_eq(
        rst_analyze_memory(analyzer, &(struct rst_searchable){.text = text_of(word), .tags = tags, .tag_count = 2}, &terms), 0);
    const struct rst_term *all = (const struct rst_term *)(const void *)terms.terms.data;
    ck_assert_uint_eq(terms.term_count, 3); /* two tags that differ late are two; the cut words are one */
    for (uint32_t i = 0; i < terms.term_count; i++) {
        ck_assert_uint_le(all[i].size, RST_TERM_SIZE_MAX);
        ck_assert_int_eq(rst_check_utf8(rst_bytes(terms.bytes.data + all[i].offset, all[i].size), "term"), 0);
    }
    rst_terms_free(&terms);
    rst_analyzer_free(analyzer);
}
END_TEST

START_TEST(only_the_indexed_part_of_a_text_counts)
{
    struct rst_analyzer *analyzer = make("english");
    struct rst_terms terms = {0};
    size_t size = ROOST_INDEXED_SIZE_MAX + 100;
    char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text + ROOST_INDEXED_SIZE_MAX - 4, "in beyond", 9);
    ck_assert_int_eq(rst_analyze_memory(analyzer, &(struct rst_searchable){.text = rst_bytes(text, size)}, &terms), 0);
    ck_assert_uint_eq(terms.token_count, 2); /* "in" and the "b" before the limit */
    free(text);
    rst_terms_free(&terms);
    rst_analyzer_free(analyzer);
}
END_TEST

START_TEST(caches_change_nothing)
{
    corpus_seed("caches_change_nothing");
    struct rst_analyzer *old = make("english");
    struct rst_terms a = {0}, b = {0};
    for (int round = 0; round < 300; round++) {
        char text[4000];
        size_t used = 0;
        for (uint32_t i = corpus_below(200); i > 0; i--)
            used += (size_t)snprintf(text + used, sizeof text - used, "%c%u%s ", (int)('a' + corpus_below(26)),
                                     (unsigned)corpus_below(3000), corpus_below(2) ? "ing" : "");
        struct rst_analyzer *new = make("english");
        ck_assert_int_eq(rst_analyze_memory(old, &(struct rst_searchable){.text = rst_bytes(text, used)}, &a), 0);
        ck_assert_int_eq(rst_analyze_memory(new, &(struct rst_searchable){.text = rst_bytes(text, used)}, &b), 0);
        ck_assert_uint_eq(a.term_count, b.term_count);
        ck_assert_uint_eq(a.bytes.size, b.bytes.size);
        uint64_t counted = 0;
        const struct rst_term *x = (const struct rst_term *)(const void *)a.terms.data;
        const struct rst_term *y = (const struct rst_term *)(const void *)b.terms.data;
        for (uint32_t i = 0; i < a.term_count; i++) {
            struct roost_bytes term = rst_bytes(a.bytes.data + x[i].offset, x[i].size);
            ck_assert(rst_bytes_equal(term, rst_bytes(b.bytes.data + y[i].offset, y[i].size)));
            ck_assert_uint_eq(x[i].frequency, y[i].frequency);
            if (i) ck_assert_int_lt(rst_bytes_compare(rst_bytes(a.bytes.data + x[i - 1].offset, x[i - 1].size), term), 0);
            if (*(const char *)term.data == RST_TERM_WORD) counted += x[i].frequency;
        }
        ck_assert_uint_eq(counted, a.token_count);
        rst_analyzer_free(new);
    }
    rst_terms_free(&a);
    rst_terms_free(&b);
    rst_analyzer_free(old);
}
END_TEST

START_TEST(languages_are_known_or_named)
{
    struct rst_analyzer *analyzer = NULL;
    ck_assert(rst_language_known("english"));
    ck_assert(rst_language_known("none"));
    ck_assert(!rst_language_known("klingon"));
    ck_assert_int_eq(rst_analyzer_create("klingon", &analyzer), ROOST_EINVAL);
    ck_assert_ptr_null(analyzer);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "german"));
    ck_assert_int_eq(rst_analyzer_create(NULL, &analyzer), ROOST_EINVAL);
    rst_analyzer_free(NULL);
}
END_TEST

START_TEST(utf8_is_checked_strictly_and_the_offset_is_named)
{
    static const struct {
        const char *text;
        int offset; /* -1: valid */
    } cases[] = {
        {"", -1},
        {"plain text of some length", -1},
        {"\xc3\xa9", -1},
        {"\xf4\x8f\xbf\xbf", -1},
        {"\xef\xbf\xbf", -1},
        {"\xed\x9f\xbf", -1},
        {"\x80", 0},
        {"abc\xff", 3},
        {"eight by\xc3", 8},
        {"\xc0\xaf", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x80\xaf", 0},
        {"\xed\xa0\x80", 0},
        {"\xf0\x80\x80\xaf", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf8\x88\x80\x80\x80", 0},
        {"ab\xe2\x82", 2},
        {"\xe2\x82"
         "a",
         0},
        {"a\xc3(", 1},
        {"0123456789abcdef0123\xe2\x28\xa1", 20},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        int err = rst_check_utf8(text_of(cases[i].text), "sample");
        ck_assert_msg(err == (cases[i].offset < 0 ? 0 : ROOST_EILSEQ), "case %zu: %d", i, err);
        if (!err) continue;
        char place[32];
        snprintf(place, sizeof place, "offset %d ", cases[i].offset);
        ck_assert_msg(strstr(rst_fail_detail(), place) != NULL, "case %zu: %s", i, rst_fail_detail());
    }
    ck_assert_int_eq(rst_check_utf8(rst_bytes("a\0b", 3), "sample"), 0);
}
END_TEST

START_TEST(utf8_check_agrees_with_utf8proc)
{
    corpus_seed("utf8_check_agrees_with_utf8proc");
    static const uint8_t likely[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                     0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5};
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        size_t size = corpus_below(sizeof bytes);
        for (size_t i = 0; i < size; i++) bytes[i] = corpus_below(3) ? likely[corpus_below(sizeof likely)] : 'a';
        bool valid = true;
        for (size_t at = 0; valid && at < size;) {
            utf8proc_int32_t point;
            utf8proc_ssize_t step = utf8proc_iterate(bytes + at, (utf8proc_ssize_t)(size - at), &point);
            valid = step > 0;
            at += valid ? (size_t)step : 0;
        }
        ck_assert_int_eq(rst_check_utf8(rst_bytes(bytes, size), "sample") == 0, valid);
    }
}
END_TEST

/* Any bytes at all: no crash, and terms that are UTF-8 and not too long. */
START_TEST(any_bytes_can_be_analysed)
{
    corpus_seed("any_bytes_can_be_analysed");
    struct rst_analyzer *analyzer = make("turkish");
    struct rst_terms terms = {0};
    for (int round = 0; round < 3000; round++) {
        size_t size = corpus_below(200);
        uint8_t *bytes = malloc(size ? size : 1);
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(corpus_below(3) ? 0x80 + corpus_below(0x78) : corpus_random());
        for (size_t i = 0; i + 4 < size && corpus_below(2); i += 4) { /* and many real characters */
            utf8proc_encode_char((utf8proc_int32_t)(0x80 + corpus_below(0x30000)), bytes + i);
        }
        struct roost_bytes tag = rst_bytes(bytes, size < 255 ? size : 255);
        ck_assert_int_eq(
            rst_analyze_memory(analyzer, &(struct rst_searchable){.text = rst_bytes(bytes, size), .tags = &tag, .tag_count = 1},
                               &terms),
            0);
        const struct rst_term *all = (const struct rst_term *)(const void *)terms.terms.data;
        for (uint32_t i = 0; i < terms.term_count; i++) {
            ck_assert_uint_ge(all[i].size, 2);
            ck_assert_uint_le(all[i].size, RST_TERM_SIZE_MAX);
            ck_assert_int_eq(rst_check_utf8(rst_bytes(terms.bytes.data + all[i].offset, all[i].size), "term"), 0);
        }
        free(bytes);
    }
    rst_terms_free(&terms);
    rst_analyzer_free(analyzer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("analysis");
    TCase *tests = tcase_create("analysis");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, words_are_folded_split_and_stemmed);
    tcase_add_test(tests, a_memory_becomes_its_terms);
    tcase_add_test(tests, long_words_and_tags_are_cut_between_characters);
    tcase_add_test(tests, only_the_indexed_part_of_a_text_counts);
    tcase_add_test(tests, caches_change_nothing);
    tcase_add_test(tests, languages_are_known_or_named);
    tcase_add_test(tests, utf8_is_checked_strictly_and_the_offset_is_named);
    tcase_add_test(tests, utf8_check_agrees_with_utf8proc);
    tcase_add_test(tests, any_bytes_can_be_analysed);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
