/* SPDX-License-Identifier: MIT
 * cmd_stream.c: roost stream append, read, follow, info, list. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>

enum { OPTION_FILE = 1, OPTION_FROM, OPTION_AT, OPTION_LIMIT, OPTION_RAW, OPTION_TIMEOUT };
#define FROM_OPTION(help) \
    { \
        OPTION_FROM, 0, "from", "N", help \
    }
#define RAW_OPTION \
    { \
        OPTION_RAW, 0, "raw", NULL, "nothing between the entries, byte for byte; else a line end where one lacks it" \
    }
static const struct cli_option append_options[] = {
    {OPTION_FILE, 'f', "file", "FILE", "the entry is what is in FILE (- for stdin)"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};
static const struct cli_option read_options_table[] = {
    FROM_OPTION("begin with entry N, counted from 0"),
    {OPTION_AT, 0, "at", "BYTE", "begin with the entry that holds this byte of the stream, counted from 0"},
    {OPTION_LIMIT, 'n', "limit", "N", "at most N entries (default: all)"},
    RAW_OPTION,
    CLI_OPTION_END,
};
static const struct cli_option follow_options[] = {
    FROM_OPTION("begin with entry N; default: with the next that is appended"),
    {OPTION_LIMIT, 'n', "count", "N", "end after N entries"},
    {OPTION_TIMEOUT, 0, "timeout", "SECONDS", "end after this time; exit code 6 if fewer than --count (or none) came"},
    RAW_OPTION,
    CLI_OPTION_END,
};

struct reading {
    struct roost_bytes name;
    uint64_t from, at, limit, timeout_ms;
    bool from_given, at_given, raw;
};

static void read_options(struct cli *cli, struct reading *reading)
{
    int option;
    *reading = (struct reading){.limit = UINT64_MAX, .timeout_ms = UINT64_MAX};
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_FROM:
            reading->from = cli_number(cli, "--from", cli->value);
            reading->from_given = true;
            break;
        case OPTION_AT:
            reading->at = cli_number(cli, "--at", cli->value);
            reading->at_given = true;
            break;
        case OPTION_LIMIT:
            reading->limit = cli_number(cli, "the number of entries", cli->value);
            break;
        case OPTION_TIMEOUT:
            reading->timeout_ms = cli_milliseconds(cli, "--timeout", cli->value);
            break;
        default:
            reading->raw = true;
            break;
        }
    }
    if (reading->from_given && reading->at_given) cli_usage(cli, "give either --from or --at");
    cli_operand_count(cli, 1, 1);
    reading->name = roost_text(cli->operands[0]);
}

static int run_append(struct cli *cli)
{
    struct roost_receipt receipt = {0, 0, 0, 0};
    struct roost_bytes entry = {NULL, 0};
    const char *file = NULL;
    uint64_t index = 0;
    while (cli_next(cli)) file = cli->value;
    cli_operand_count(cli, 1, -1);
    int code = cli_read_content(cli, 1, file, "the entry", &entry);
    if (!code && !entry.size) cli_usage(cli, "the entry is empty; a stream's entries have at least one byte");
    if (!code) code = cli_open(cli, CLI_WRITING);
    if (!code) {
        struct roost_write write = cli_write_options(cli);
        int error = roost_stream_append(cli->root, roost_text(cli->operands[0]), entry, &write, &index, &receipt);
        code = error < 0 ? cli_fail_write(error, &receipt, "stream append") : CLI_OK;
    }
    free((void *)(uintptr_t)entry.data);
    if (code) return code;
    if (!cli->json) {
        printf("%" PRIu64 "\n", index);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "name", cli->operands[0]);
    json_unsigned(&writer, "index", index);
    json_id(&writer, "lsn", receipt.lsn);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}
const struct cli_command command_stream_append = {
    "stream append",
    "NAME [ENTRY...]",
    "Append an entry to a stream and show its place",
    "The entry is ENTRY (several words are joined by blanks), or what --file names, or stdin: any bytes, at least "
    "one. A stream\n"
    "begins to exist with its first entry. Places are counted from 0.",
    append_options,
    run_append};

static void put_entry(const struct cli *cli, const struct reading *reading, const struct roost_item *item)
{
    if (!cli->json) {
        if (reading->raw)
            cli_put_text(item->value);
        else
            cli_put_block(item->value);
        return;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_bytes(&writer, "name", reading->name);
    json_unsigned(&writer, "index", item->index);
    json_unsigned(&writer, "byte_offset", item->byte_offset);
    json_item_fields(&writer, item, "entry");
    json_close(&writer, '}');
    json_line_end(&writer);
}

/* Shows what is there now, at most `left`. The number of entries, or an error. */
static int64_t put_entries(const struct cli *cli, const struct reading *reading, struct cli_pass *pass, roost_iter *iter,
                           uint64_t left)
{
    struct roost_item item = ROOST_ITEM_INIT;
    int64_t count = 0;
    int got = 0;
    while ((uint64_t)count < left && !cli_output_closed() && !cli_interrupted() &&
           (got = cli_pass_item(pass, iter, true, &item)) > 0) {
        put_entry(cli, reading, &item);
        count++;
        if (ferror(stdout) && !cli_output_flush()) break;
    }
    return got < 0 ? got : count;
}

static int run_read(struct cli *cli)
{
    struct reading reading;
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    struct cli_pass pass = {"stream read", 0};
    roost_iter *iter = NULL;
    read_options(cli, &reading);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = roost_stream_info(cli->root, reading.name, &info); /* a stream that is not there is no empty stream */
    if (error >= 0 && reading.at_given) {
        error = roost_stream_at(cli->root, reading.name, reading.at, &item);
        reading.from = item.index;
        roost_unpin(cli->root, &item.pin);
    }
    if (error >= 0) error = roost_stream_scan(cli->root, reading.name, reading.from, &iter);
    if (error >= 0) {
        int64_t count = put_entries(cli, &reading, &pass, iter, reading.limit);
        error = count < 0 ? (int)count : 0;
    }
    code = cli_pass_end(&pass, error);
    roost_iter_close(iter);
    return code;
}
const struct cli_command command_stream_read = {
    "stream read",
    "NAME",
    "Show the entries of a stream",
    "With --json an object a line: {\"name\",\"index\",\"byte_offset\",\"entry\",\"version\",\"time_ns\"}; an entry "
    "that is not UTF-8 comes as\n"
    "\"entry_base64\".",
    read_options_table,
    run_read};

/* ---- follow ------------------------------------------------------------------------------------------------------ */

static int follow(struct cli *cli, const struct reading *reading, struct cli_pass *pass, roost_watch *watch, roost_iter *iter)
{
    struct cli_deadline deadline = cli_deadline(reading->timeout_ms);
    struct roost_event event = ROOST_EVENT_INIT;
    uint64_t shown = 0;
    for (;;) {
        int64_t count = put_entries(cli, reading, pass, iter, reading->limit - shown);
        if (count < 0) return cli_fail((int)count, "stream follow");
        shown += (uint64_t)count;
        if (count && !cli_output_flush()) return CLI_OK; /* main says it if it was not just a reader that left */
        uint32_t slice = cli_slice_ms(&deadline);
        if (shown >= reading->limit || cli_interrupted() || cli_output_reader_gone()) return CLI_OK;
        if (!slice) return reading->limit != UINT64_MAX || !shown ? CLI_TIMED_OUT : CLI_OK;
        int got = roost_watch_wait(watch, slice, &event);
        if (got < 0 && !cli_interrupted()) return cli_fail(got, "stream follow");
    }
}

static int run_follow(struct cli *cli)
{
    struct reading reading;
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct cli_pass pass = {"stream follow", 0};
    roost_watch *watch = NULL;
    roost_iter *iter = NULL;
    read_options(cli, &reading);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    cli_catch_interrupts();
    struct roost_topic topic = {ROOST_TOPIC_STREAM, 0, reading.name};
    /* The watch first, then the place to begin: nothing falls between the two. */
    int error = roost_watch_open(cli->root, &topic, 1, &watch);
    if (error >= 0 && !reading.from_given) {
        error = roost_stream_info(cli->root, reading.name, &info);
        if (error >= 0)
            reading.from = info.entry_count;
        else if (error == ROOST_ENOENT)
            error = 0; /* it may begin while we wait */
    }
    if (error >= 0) error = roost_stream_scan(cli->root, reading.name, reading.from, &iter);
    code = error < 0 ? cli_fail(error, "stream follow") : follow(cli, &reading, &pass, watch, iter);
    if (!code) code = cli_pass_end(&pass, 0);
    roost_iter_close(iter);
    roost_watch_close(watch);
    return code;
}
const struct cli_command command_stream_follow = {"stream follow",
                                                  "NAME",
                                                  "Show entries as they are appended, until Ctrl-C",
                                                  "Works before the stream exists. Output like `stream read`.",
                                                  follow_options,
                                                  run_follow};

/* ---- info, list -------------------------------------------------------------------------------------------------- */

static void put_counts(uint64_t entries, const char *between, uint64_t bytes)
{
    printf("%" PRIu64 " entr%s%s%" PRIu64 " byte%s", entries, entries == 1 ? "y" : "ies", between, bytes, bytes == 1 ? "" : "s");
}

static int run_info(struct cli *cli)
{
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    cli_no_options(cli, 1, 1);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = roost_stream_info(cli->root, roost_text(cli->operands[0]), &info);
    if (error < 0) return cli_fail(error, "stream info");
    if (!cli->json) {
        put_counts(info.entry_count, ", ", info.byte_count);
        printf(", last lsn %" PRIu64 "\n", info.lsn);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "name", cli->operands[0]);
    json_unsigned(&writer, "entry_count", info.entry_count);
    json_unsigned(&writer, "byte_count", info.byte_count);
    json_id(&writer, "lsn", info.lsn);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}
const struct cli_command command_stream_info = {"stream info", "NAME", "Show how long a stream is", NULL, NULL, run_info};

static int run_list(struct cli *cli)
{
    struct roost_item item = ROOST_ITEM_INIT;
    struct cli_pass pass = {"stream list", 0};
    roost_iter *iter = NULL;
    cli_no_options(cli, 0, 0);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int got = roost_streams(cli->root, &iter);
    while (got >= 0 && (got = cli_pass_item(&pass, iter, false, &item)) > 0) {
        if (cli->json) {
            struct json_writer writer = json_writer(stdout);
            json_open(&writer, NULL, '{');
            json_bytes(&writer, "name", item.key);
            json_unsigned(&writer, "entry_count", item.index);
            json_unsigned(&writer, "byte_count", item.byte_offset);
            json_close(&writer, '}');
            json_line_end(&writer);
        } else {
            cli_put_line_text(item.key, 0);
            putchar('\t');
            put_counts(item.index, "\t", item.byte_offset);
            putchar('\n');
        }
    }
    code = cli_pass_end(&pass, got);
    roost_iter_close(iter);
    return code;
}
const struct cli_command command_stream_list = {"stream list", "", "List the streams", NULL, NULL, run_list};
