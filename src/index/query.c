/* SPDX-License-Identifier: MIT
 * index/query.c: what somebody typed, to clauses (layer 5).
 *
 * Nothing is a syntax error: what has no meaning (a lone sign, an empty pair of quotes) is passed over. One piece of input may
 * be several words ("e-mail", or Han characters). Without a sign they are so many words, any of which may match; after + or
 * - they belong together and become a phrase ("+e-mail" asks for "e mail", not for a memory with an "e" somewhere).
 *
 * Stop words are dropped where they stand alone without a sign, if another clause that can match remains. In a phrase they
 * stay and must be there, but only the other words are scored. */
#include "index/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

struct parser {
    struct rst_analyzer *analyzer;
    struct rst_query *query;
    const char *at, *end;
};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* ---- Items and clauses ------------------------------------------------------------------------------------------- */

static void add_item(struct rst_query *query, uint8_t kind, struct roost_bytes bytes, bool stop, bool prefix)
{
    struct rst_query_item item = {(uint32_t)query->bytes.size, (uint32_t)bytes.size + 1, stop, prefix};
    rst_buffer_add_u8(&query->bytes, kind);
    rst_buffer_add(&query->bytes, bytes.data, bytes.size);
    rst_buffer_add(&query->items, &item, sizeof item);
    query->item_count++;
}

static void add_clause(struct rst_query *query, enum rst_clause_kind kind, enum rst_clause_need need, uint32_t item_first,
                       uint32_t item_count)
{
    struct rst_query_clause clause = {kind, need, item_first, item_count, 1};
    rst_buffer_add(&query->clauses, &clause, sizeof clause);
    query->clause_count++;
}

static int add_word_item(void *user, const struct rst_analyzed_word *word)
{
    add_item(user, RST_TERM_WORD, word->stem, word->stop, false);
    return 0;
}

/* The last word without its stem: what a prefix is made of. */
struct last_word {
    uint32_t size;
    uint8_t bytes[RST_TERM_SIZE_MAX];
};
static int keep_last_word(void *user, const struct rst_analyzed_word *word)
{
    struct last_word *last = user;
    last->size = (uint32_t)word->word.size;
    memcpy(last->bytes, word->word.data, word->word.size);
    return 0;
}

/* Words that belong together: a phrase, or a clause of one word. */
static void add_together(struct parser *parser, enum rst_clause_need need, uint32_t item_first)
{
    struct rst_query *query = parser->query;
    uint32_t count = query->item_count - item_first;
    if (!count || query->items.failed) return;
    struct rst_query_item *items = rst_query_items(query) + item_first;
    bool all_stop = true;
    for (uint32_t i = 0; i < count; i++) all_stop = all_stop && items[i].stop;
    if (all_stop) /* nothing else to score or to look up by */
        for (uint32_t i = 0; i < count; i++) items[i].stop = count == 1 && need == RST_NEED_ANY;
    enum rst_clause_kind kind = count > 1 ? RST_CLAUSE_PHRASE : items[0].prefix ? RST_CLAUSE_PREFIX : RST_CLAUSE_WORD;
    add_clause(query, kind, need, item_first, count);
}

/* ---- Parsing ----------------------------------------------------------------------------------------------------- */

/* The text up to the closing quote; unbalanced: up to the end. */
static struct roost_bytes take_quoted(struct parser *parser)
{
    const char *begin = ++parser->at;
    while (parser->at < parser->end && *parser->at != '"') parser->at++;
    struct roost_bytes text = rst_bytes(begin, (size_t)(parser->at - begin));
    if (parser->at < parser->end) parser->at++;
    return text;
}

static struct roost_bytes take_plain(struct parser *parser)
{
    const char *begin = parser->at;
    while (parser->at < parser->end && !is_space(*parser->at) && *parser->at != '"') parser->at++;
    return rst_bytes(begin, (size_t)(parser->at - begin));
}

static void add_filter(struct rst_query *query, enum rst_term_kind kind, enum rst_clause_need need, struct roost_bytes name)
{
    uint8_t term[RST_TERM_SIZE_MAX];
    size_t size = rst_name_term(kind, name, term);
    if (!size) return;
    add_item(query, term[0], rst_bytes(term + 1, size - 1), true, false);
    add_clause(query, RST_CLAUSE_FILTER, need == RST_NEED_NOT ? need : RST_NEED_MUST, query->item_count - 1, 1);
}

/* Behind the field's name and colon. */
static int parse_field(struct parser *parser, enum rst_term_kind kind, enum rst_clause_need need)
{
    bool quoted = parser->at < parser->end && *parser->at == '"';
    struct roost_bytes name = quoted ? take_quoted(parser) : take_plain(parser);
    uint8_t term[RST_TERM_SIZE_MAX];
    size_t size;
    if (kind != RST_TERM_TAG) {
        add_filter(parser->query, kind, need, name);
        return 0;
    }
    int err = rst_analyzer_tag_term(parser->analyzer, name, term, &size);
    if (err < 0 || !size) return err;
    add_item(parser->query, term[0], rst_bytes(term + 1, size - 1), false, false);
    add_clause(parser->query, RST_CLAUSE_TAG, need, parser->query->item_count - 1, 1);
    return 0;
}

static void parse_words(struct parser *parser, enum rst_clause_need need)
{
    struct rst_query *query = parser->query;
    struct roost_bytes text = take_plain(parser);
    const char *bytes = text.data;
    bool prefix = false;
    while (text.size && bytes[text.size - 1] == '*') {
        text.size--;
        prefix = true;
    }
    uint32_t item_first = query->item_count;
    (void)rst_analyze_words(parser->analyzer, text, add_word_item, query); /* add_word_item never stops it */
    if (query->item_count == item_first || query->items.failed) return;
    if (prefix) {
        struct last_word last = {0};
        (void)rst_analyze_words(parser->analyzer, text, keep_last_word, &last);
        query->item_count--;
        query->items.size -= sizeof(struct rst_query_item);
        add_item(query, RST_TERM_WORD, rst_bytes(last.bytes, last.size), false, true);
    }
    if (need != RST_NEED_ANY) {
        add_together(parser, need, item_first);
        return;
    }
    for (uint32_t i = item_first; i < query->item_count; i++) {
        bool is_prefix = prefix && i + 1 == query->item_count;
        add_clause(query, is_prefix ? RST_CLAUSE_PREFIX : RST_CLAUSE_WORD, need, i, 1);
    }
}

static int parse_clause(struct parser *parser)
{
    enum rst_clause_need need = RST_NEED_ANY;
    if (*parser->at == '+' || *parser->at == '-') {
        need = *parser->at == '+' ? RST_NEED_MUST : RST_NEED_NOT;
        parser->at++;
        if (parser->at == parser->end || is_space(*parser->at)) return 0;
    }
    if (*parser->at == '"') {
        uint32_t item_first = parser->query->item_count;
        struct roost_bytes text = take_quoted(parser);
        (void)rst_analyze_words(parser->analyzer, text, add_word_item, parser->query);
        add_together(parser, need, item_first);
        return 0;
    }
    static const struct {
        const char *name;
        enum rst_term_kind kind;
    } fields[] = {{"tag:", RST_TERM_TAG}, {"agent:", RST_TERM_AGENT}, {"session:", RST_TERM_SESSION}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        size_t size = strlen(fields[i].name);
        if ((size_t)(parser->end - parser->at) < size || memcmp(parser->at, fields[i].name, size) != 0) continue;
        parser->at += size;
        return parse_field(parser, fields[i].kind, need);
    }
    parse_words(parser, need);
    return 0;
}

/* ---- Afterwards -------------------------------------------------------------------------------------------------- */

static bool is_droppable(const struct rst_query *query, const struct rst_query_clause *clause)
{
    return clause->kind == RST_CLAUSE_WORD && clause->need == RST_NEED_ANY && rst_query_items(query)[clause->item_first].stop;
}

static bool same_clause(const struct rst_query *query, const struct rst_query_clause *a, const struct rst_query_clause *b)
{
    if (a->kind != b->kind || a->need != b->need || a->item_count != b->item_count) return false;
    for (uint32_t i = 0; i < a->item_count; i++) {
        const struct rst_query_item *x = rst_query_items(query) + a->item_first + i,
                                    *y = rst_query_items(query) + b->item_first + i;
        if (x->prefix != y->prefix || !rst_bytes_equal(rst_bytes(query->bytes.data + x->term_offset, x->term_size),
                                                       rst_bytes(query->bytes.data + y->term_offset, y->term_size)))
            return false;
    }
    return true;
}

static uint64_t hash_clause(const struct rst_query *query, const struct rst_query_clause *clause)
{
    const struct rst_query_item *items = rst_query_items(query) + clause->item_first;
    uint64_t hash = (uint64_t)clause->kind << 8 | (uint64_t)clause->need;
    for (uint32_t i = 0; i < clause->item_count; i++)
        hash = rst_hash(query->bytes.data + items[i].term_offset, items[i].term_size, hash);
    return hash;
}

/* Keeps the first of equal clauses and counts the others there. A whole document may be given as a query, hence the table. */
static int join_clauses(struct rst_query *query)
{
    struct rst_query_clause *clauses = rst_query_clauses(query);
    size_t slot_count = 16;
    while (slot_count < 2 * (size_t)query->clause_count) slot_count *= 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots); /* index + 1; 0: empty */
    if (!slots) return rst_fail(ROOST_ENOMEM, "out of memory for a query of %u clauses", (unsigned)query->clause_count);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->clause_count; i++) {
        size_t at = hash_clause(query, &clauses[i]) & (slot_count - 1);
        while (slots[at] && !same_clause(query, &clauses[slots[at] - 1], &clauses[i])) at = (at + 1) & (slot_count - 1);
        if (slots[at]) {
            clauses[slots[at] - 1].repeat_count++;
            continue;
        }
        clauses[kept] = clauses[i];
        slots[at] = ++kept;
    }
    free(slots);
    query->clause_count = kept;
    return 0;
}

/* Drops stop words if something else can match; if they are all there is, they are searched like other words. */
static void drop_stop_words(struct rst_query *query)
{
    struct rst_query_clause *clauses = rst_query_clauses(query);
    bool drop = false;
    for (uint32_t i = 0; i < query->clause_count; i++)
        drop = drop ||
               (clauses[i].need != RST_NEED_NOT && clauses[i].kind != RST_CLAUSE_FILTER && !is_droppable(query, &clauses[i]));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->clause_count; i++) {
        if (is_droppable(query, &clauses[i])) {
            if (drop) continue;
            rst_query_items(query)[clauses[i].item_first].stop = false;
        }
        clauses[kept++] = clauses[i];
    }
    query->clause_count = kept;
}

int rst_query_parse(struct rst_analyzer *analyzer, struct roost_bytes text, struct rst_query **ret_query)
{
    int err = rst_check_utf8(text, "the query");
    if (err < 0) return err;
    struct rst_query *query = calloc(1, sizeof *query);
    if (!query) return rst_fail(ROOST_ENOMEM, "out of memory for a query of %zu bytes", text.size);
    struct parser parser = {analyzer, query, text.data, NULL};
    parser.end = text.size ? parser.at + text.size : parser.at;
    while (!err) {
        while (parser.at < parser.end && is_space(*parser.at)) parser.at++;
        if (parser.at == parser.end) break;
        err = parse_clause(&parser);
    }
    if (!err && (query->bytes.failed || query->items.failed || query->clauses.failed))
        err = rst_fail(ROOST_ENOMEM, "out of memory for a query of %zu bytes", text.size);
    if (!err) {
        drop_stop_words(query);
        err = join_clauses(query);
    }
    if (err < 0) {
        rst_query_free(query);
        return err;
    }
    *ret_query = query;
    return 0;
}

int rst_query_limit(struct rst_query *query, enum rst_term_kind kind, struct roost_bytes name)
{
    add_filter(query, kind, RST_NEED_MUST, name);
    bool failed = query->bytes.failed || query->items.failed || query->clauses.failed;
    return failed ? rst_fail(ROOST_ENOMEM, "out of memory for a query") : 0;
}

void rst_query_free(struct rst_query *query)
{
    if (!query) return;
    rst_buffer_free(&query->bytes);
    rst_buffer_free(&query->items);
    rst_buffer_free(&query->clauses);
    free(query);
}
