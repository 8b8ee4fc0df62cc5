/* SPDX-License-Identifier: MIT
 * tests/unit/test_query.c: what people type, and the clauses that it means. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "corpus.h"
#include "index/query.h"

static struct rst_analyzer *analyzer;

/* Clauses as text: sign, kind in capitals, items in brackets; a stop word has !, a prefix *; x3 is a count. */
static void describe(const struct rst_query *query, char *to, size_t room)
{
    static const char *const kinds[] = {"?", "word", "prefix", "phrase", "tag"};
    size_t used = 0;
    to[0] = '\0';
    for (uint32_t c = 0; c < query->clause_count; c++) {
        const struct rst_query_clause *clause = &rst_query_clauses(query)[c];
        const char *sign = clause->need == RST_NEED_MUST ? "+" : clause->need == RST_NEED_NOT ? "-" : "";
        used += (size_t)snprintf(to + used, room - used, "%s%s%s[", c ? " " : "", sign, kinds[clause->kind]);
        for (uint32_t i = 0; i < clause->item_count; i++) {
            const struct rst_query_item *item = &rst_query_items(query)[clause->item_first + i];
            used += (size_t)snprintf(to + used, room - used, "%s%.*s%s%s", i ? " " : "", (int)item->term_size - 1,
                                     (const char *)query->bytes.data + item->term_offset + 1, item->prefix ? "*" : "",
                                     item->stop ? "!" : "");
        }
        used += (size_t)snprintf(to + used, room - used, "]");
        if (clause->repeat_count > 1) used += (size_t)snprintf(to + used, room - used, "x%u", (unsigned)clause->repeat_count);
        ck_assert_uint_lt(used, room);
    }
}

START_TEST(each_input_means_its_clauses)
{
    static const struct {
        const char *query, *clauses;
    } cases[] = {
        {"", ""},
        {"  \t\n ", ""},
        {"Running dogs", "word[run] word[dog]"},
        {"+running -dogs", "+word[run] -word[dog]"},
        {"run* run", "prefix[run*] word[run]"},
        {"happy* running*", "prefix[happy*] prefix[running*]"},
        {"\"the quick Dogs\"", "phrase[the! quick dog]"},
        {"+\"the dogs\" -\"a b\"", "+phrase[the! dog] -phrase[a! b]"},
        {"\"one\"", "word[one]"},
        {"\"unbalanced dogs", "phrase[unbalanc dog]"},
        {"\"\" + - * \"!\" ... tag: tag:\"\"", ""},
        {"tag:Red +tag:\"Two Words\" -tag:a:b", "tag[red] +tag[two words] -tag[a:b]"},
        {"tagged", "word[tag]"},
        {"Tag:x", "word[tag] word[x]"},
        {"the dogs of war", "word[dog] word[war]"},
        {"to be or not to be", "word[to]x2 word[be]x2 word[or] word[not]"},
        {"the -dogs", "word[the] -word[dog]"},
        {"+the dogs", "+word[the] word[dog]"},
        {"\"to be\"", "phrase[to be]"},
        {"\"the\" dogs", "word[dog]"},
        {"e-mail", "word[e] word[mail]"},
        {"+e-mail -x_y", "+phrase[e mail] -phrase[x y]"},
        {"e-ma* +e-ma*", "word[e] prefix[ma*] +phrase[e ma*]"},
        {"--dogs +-dogs", "-word[dog] +word[dog]"},
        {"dogs dog dogs", "word[dog]x3"},
        {"dog*** ca*g", "prefix[dog*] word[ca] word[g]"},
        {"foo\"bar baz\"qux", "word[foo] phrase[bar baz] word[qux]"},
        {"東京 +東京", "word[東] word[京] +phrase[東 京]"},
        {"\"dogs\"*", "word[dog]"},
        {"don't", "word[don] word[t]"},
        {"STRA\xc3\x9f* \xc3\x89t\xc3\xa9", "prefix[strass*] word[ete]"},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        struct rst_query *query;
        char text[400];
        ck_assert_int_eq(rst_query_parse(analyzer, rst_bytes(cases[i].query, strlen(cases[i].query)), &query), 0);
        describe(query, text, sizeof text);
        ck_assert_msg(strcmp(text, cases[i].clauses) == 0, "%s means %s, expected %s", cases[i].query, text, cases[i].clauses);
        rst_query_free(query);
    }
}
END_TEST

START_TEST(a_query_that_is_no_utf8_is_refused)
{
    struct rst_query *query = NULL;
    ck_assert_int_eq(rst_query_parse(analyzer, rst_bytes("dogs \xff", 6), &query), ROOST_EILSEQ);
    ck_assert_ptr_null(query);
    rst_query_free(NULL);
}
END_TEST

START_TEST(any_bytes_are_parsed_or_refused)
{
    static const char letters[] = "ab \"+-*:tag.\xc3\xa9\xe6\x9d\xb1\n";
    corpus_seed("any_bytes_are_parsed_or_refused");
    for (int round = 0; round < 20000; round++) {
        size_t size = corpus_below(40);
        char *bytes = malloc(size ? size : 1);
        for (size_t i = 0; i < size; i++) bytes[i] = letters[corpus_below(sizeof letters - 1)];
        struct rst_query *query;
        int err = rst_query_parse(analyzer, rst_bytes(bytes, size), &query);
        ck_assert(err == 0 || err == ROOST_EILSEQ);
        if (!err) rst_query_free(query);
        free(bytes);
    }
}
END_TEST

START_TEST(a_whole_document_may_be_a_query)
{
    struct rst_buffer text = {0};
    for (unsigned i = 0; i < 50000; i++) {
        char word[16];
        rst_buffer_add(&text, word, (size_t)snprintf(word, sizeof word, "w%u ", i));
    }
    struct rst_query *query;
    ck_assert_int_eq(rst_query_parse(analyzer, rst_bytes(text.data, text.size), &query), 0);
    ck_assert_uint_eq(query->clause_count, 50000);
    rst_query_free(query);
    rst_buffer_free(&text);
}
END_TEST

static void make_analyzer(void) { ck_assert_int_eq(rst_analyzer_create("english", &analyzer), 0); }
static void free_analyzer(void) { rst_analyzer_free(analyzer); }

int main(void)
{
    Suite *suite = suite_create("query");
    TCase *tests = tcase_create("query");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_analyzer, free_analyzer);
    tcase_add_test(tests, each_input_means_its_clauses);
    tcase_add_test(tests, a_query_that_is_no_utf8_is_refused);
    tcase_add_test(tests, any_bytes_are_parsed_or_refused);
    tcase_add_test(tests, a_whole_document_may_be_a_query);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
