/* SPDX-License-Identifier: MIT
 * cmd_search.c: roost search. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_LIMIT = 1, OPTION_AGENT, OPTION_SESSION };
static const struct cli_option options[] = {
    {OPTION_LIMIT, 'n', "limit", "N", "at most N hits (default 20)"},
    {OPTION_AGENT, 'a', "agent", "NAME", "only what this agent remembered"},
    {OPTION_SESSION, 0, "session", "NAME", "only what was remembered in this session"},
    CLI_OPTION_END,
};

static void json_hit(struct json_writer *writer, const struct roost_hit *hit)
{
    struct roost_memory memory = cli_hit_memory(hit);
    json_open(writer, NULL, '{');
    json_id(writer, "id", hit->id);
    json_bytes(writer, "key", hit->key);
    json_double(writer, "score", hit->score);
    json_bytes(writer, "text", hit->text);
    json_bytes_list(writer, "tags", hit->tags, hit->tag_count);
    json_signed(writer, "time_ns", hit->time_ns);
    json_origin_fields(writer, &memory);
    json_close(writer, '}');
}

static void put_hit(const struct roost_hit *hit)
{
    printf("%s%" PRIu64 "%s\t%s%.3f%s\t", cli_bold(), hit->id, cli_plain(), cli_dim(), hit->score, cli_plain());
    cli_put_line_text(hit->text, cli_text_columns(18));
    putchar('\n');
}

static int search(struct cli *cli, const struct roost_query *query)
{
    roost_hits *hits = NULL;
    struct roost_hit hit = ROOST_HIT_INIT;
    struct json_writer writer = json_writer(stdout);
    int got = roost_search(cli->root, query, &hits);
    if (got < 0) return cli_fail(got, "search");
    if (cli->json) {
        json_open(&writer, NULL, '{');
        json_open(&writer, "hits", '[');
    }
    size_t count = 0;
    struct cli_pass pass = {"search", 0};
    while ((got = cli_pass_hit(&pass, hits, &hit)) > 0) {
        if (cli->json)
            json_hit(&writer, &hit);
        else
            put_hit(&hit);
        count++;
    }
    if (cli->json) {
        json_close(&writer, ']');
        json_close(&writer, '}');
        json_line_end(&writer);
    } else if (!count && got == 0 && cli_output_terminal()) {
        cli_say("no memory matches");
    }
    int code = cli_pass_end(&pass, got);
    roost_hits_close(hits);
    return code;
}

/* ---- Is there anything to look for? The library passes over what has no meaning, and finds nothing then. ---------- */

/* The character at text: its bytes, and the code point. */
static size_t take_character(const unsigned char *text, uint32_t *ret_point)
{
    size_t size = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    *ret_point = size == 1 ? text[0] : text[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) *ret_point = *ret_point << 6 | (text[i] & 0x3f);
    return size;
}

/* Signs, pictures and blanks beyond ASCII. It need not name all: a query of others finds nothing, and that is no failure. */
static bool is_sign(uint32_t point)
{
    static const struct {
        uint32_t first, last;
    } signs[] = {{0x80, 0xa9},     {0xab, 0xb1},     {0xb4, 0xb4},     {0xb6, 0xb8},     {0xbb, 0xbb},      {0xbf, 0xbf},
                 {0xd7, 0xd7},     {0xf7, 0xf7},     {0x2000, 0x206f}, {0x20a0, 0x20cf}, {0x2190, 0x245f},  {0x2500, 0x2775},
                 {0x2794, 0x2bff}, {0x2e00, 0x2e2e}, {0x2e30, 0x2e7f}, {0x3000, 0x3004}, {0x3008, 0x3020},  {0xfe00, 0xfe6f},
                 {0xff01, 0xff0f}, {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0x1f200, 0x1faff}};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (point >= signs[i].first && point <= signs[i].last) return true;
    return false;
}

static bool has_word(const char *text, size_t size)
{
    uint32_t point;
    for (size_t i = 0; i < size; i += take_character((const unsigned char *)text + i, &point)) {
        (void)take_character((const unsigned char *)text + i, &point);
        if (point < 0x80 ? (point >= '0' && point <= '9') || ((point | 32) >= 'a' && (point | 32) <= 'z') : !is_sign(point))
            return true;
    }
    return false;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* One piece of the query from `at` on: up to the closing quote, or to the next blank or quote. Returns where it ends. */
static size_t take_piece(const char *text, size_t size, size_t at, bool *ret_word)
{
    static const char *const fields[] = {"tag:", "agent:", "session:"};
    bool tag = false;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && !tag; i++) {
        size_t length = strlen(fields[i]);
        tag = size - at >= length && memcmp(text + at, fields[i], length) == 0;
        if (tag) at += length;
    }
    bool quoted = at < size && text[at] == '"';
    size_t first = at += quoted;
    while (at < size && text[at] != '"' && (quoted || !is_space(text[at]))) at++;
    *ret_word = tag ? at > first : has_word(text + first, at - first);
    return at + (quoted && at < size);
}

static void check_query(const struct cli *cli, struct roost_bytes query)
{
    const char *text = query.data;
    bool excluded = false;
    if (query.size && !rst_utf8_valid(text, query.size, NULL)) return; /* the library says where */
    for (size_t at = 0; at < query.size;) {
        bool word = false, not = text[at] == '-';
        if (is_space(text[at])) {
            at++;
            continue;
        }
        if (not || text[at] == '+') at++;
        if (at < query.size && !is_space(text[at])) at = take_piece(text, query.size, at, &word);
        if (word && !not ) return;
        excluded = excluded || word;
    }
    if (excluded) cli_usage(cli, "the query says only what must not match; give at least one word that may");
    cli_usage(cli, "the query has no word to look for; give a word, \"a phrase\", prefix* or tag:NAME");
}

static void read_options(struct cli *cli, struct roost_query *query)
{
    int option;
    while ((option = cli_next(cli)) != 0) {
        if (option == OPTION_AGENT) {
            query->agent = roost_text(cli->value);
        } else if (option == OPTION_SESSION) {
            query->session = roost_text(cli->value);
        } else {
            uint64_t limit = cli_number_max(cli, "--limit", cli->value, UINT32_MAX);
            if (limit == 0) cli_usage(cli, "--limit is at least 1");
            query->limit = (uint32_t)limit;
        }
    }
    bool limited = query->agent.size || query->session.size;
    cli_operand_count(cli, limited ? 0 : 1, -1);
}

static int run(struct cli *cli)
{
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_bytes text = {NULL, 0};
    read_options(cli, &query);
    int code = cli->operand_count ? cli_read_content(cli, 0, NULL, "the query", &text) : CLI_OK;
    if (code) return code;
    query.text = text;
    if (cli->operand_count) check_query(cli, text);
    code = cli_open(cli, CLI_READING);
    if (!code) code = search(cli, &query);
    free((void *)(uintptr_t)text.data);
    return code;
}
const struct cli_command command_search = {
    "search",
    "QUERY...",
    "Find memories by words, the best first",
    "QUERY: words, any of which may match; +word must match; -word must not; \"a phrase\"; prefix*; tag:name; agent:name\n"
    "and session:name leave out what others remembered; - alone: what stdin says. Put -- before a query that begins with a\n"
    "dash. At least one word, phrase, prefix, tag or name must be able to match; with --agent or --session there need be no\n"
    "query: that shows all they remembered, the newest first. A line each: id, score (BM25), text. With --json: {\"hits\":[{\n"
    "\"id\",\"key\",\"score\",\"text\",\"tags\",\"time_ns\", and where they are known "
    "\"agent\",\"session\",\"process\",\"tool\",\n"
    "\"metadata\"}]}. No hit is no failure.",
    options,
    run};
