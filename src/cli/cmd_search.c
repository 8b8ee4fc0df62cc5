/* SPDX-License-Identifier: MIT
 * cmd_search.c: roost search. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>

enum { OPTION_LIMIT = 1 };
static const struct cli_option options[] = {
    {OPTION_LIMIT, 'n', "limit", "N", "at most N hits (default 20)"},
    CLI_OPTION_END,
};

static void json_hit(struct json_writer *writer, const struct roost_hit *hit)
{
    json_open(writer, NULL, '{');
    json_id(writer, "id", hit->id);
    json_bytes(writer, "key", hit->key);
    json_double(writer, "score", hit->score);
    json_bytes(writer, "text", hit->text);
    json_bytes_list(writer, "tags", hit->tags, hit->tag_count);
    json_signed(writer, "time_ns", hit->time_ns);
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
    for (; (got = roost_hits_next(hits, &hit)) > 0; count++) {
        if (cli->json)
            json_hit(&writer, &hit);
        else
            put_hit(&hit);
    }
    if (cli->json) {
        json_close(&writer, ']');
        json_close(&writer, '}');
        json_line_end(&writer);
    } else if (!count && got == 0 && cli_output_terminal()) {
        cli_say("no memory matches");
    }
    int code = got < 0 ? cli_fail(got, "search") : CLI_OK;
    roost_hits_close(hits);
    return code;
}

static int run(struct cli *cli)
{
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_bytes text = {NULL, 0};
    while (cli_next(cli)) {
        uint64_t limit = cli_number(cli, "--limit", cli->value);
        if (limit == 0 || limit > UINT32_MAX) cli_usage(cli, "--limit is from 1 to %" PRIu32, UINT32_MAX);
        query.limit = (uint32_t)limit;
    }
    int code = cli_read_content(cli, 0, NULL, "the query", &text);
    if (code) return code;
    query.text = text;
    code = cli_open(cli, CLI_READING);
    if (!code) code = search(cli, &query);
    free((void *)(uintptr_t)text.data);
    return code;
}
const struct cli_command command_search = {
    "search",
    "QUERY...",
    "Find memories by words, the best first",
    "QUERY: words, any of which may match; +word must match; -word must not; \"a phrase\"; prefix*; tag:name. Put -- "
    "before a query\n"
    "that begins with a dash. A line each: id, score (BM25), text. With --json: "
    "{\"hits\":[{\"id\",\"key\",\"score\",\"text\",\"tags\",\n"
    "\"time_ns\"}]}. No hit is no failure.",
    options,
    run};
