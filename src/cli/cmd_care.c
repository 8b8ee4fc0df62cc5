/* SPDX-License-Identifier: MIT
 * cmd_care.c: roost stat, settle. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

static void uuid_text(const uint8_t uuid[16], char ret_text[37])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
        *out++ = digits[uuid[i] >> 4];
        *out++ = digits[uuid[i] & 15];
    }
    *out = '\0';
}

/* One table for both faces of `stat`. */
struct row {
    const char *name;
    size_t offset;
    const char *label;
};
#define ROW(name, field, label) \
    { \
        name, offsetof(struct roost_stats, field), label \
    }
static const struct row rows[] = {
    ROW("memories", memory_count, "memories"),
    ROW("tokens", token_count, "indexed words"),
    ROW("epoch", epoch, "epoch"),
    ROW("generation", generation, "generation"),
    ROW("segments", segment_count, "segments"),
    ROW("segment_bytes", segment_bytes, "segment bytes"),
    ROW("chunks", chunk_count, "chunks"),
    ROW("chunk_bytes", chunk_bytes, "chunk bytes"),
    ROW("chunk_size", chunk_size, "chunk size"),
    ROW("log_size", log_size, "log size"),
    ROW("log_used", log_used, "log used"),
    ROW("arena_size", arena_size, "arena size"),
    ROW("arena_used", arena_used, "arena used"),
    ROW("region_bytes", region_bytes, "region bytes"),
    ROW("participants", participant_count, "participants"),
    ROW("commits", commit_count, "commits"),
    ROW("syncs", sync_count, "syncs"),
    ROW("takeovers", takeover_count, "takeovers"),
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static uint64_t row_value(const struct roost_stats *stats, const struct row *row)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + row->offset, sizeof value);
    return value;
}

static const char *region_name(uint32_t kind) { return kind == ROOST_REGION_FILE ? "file" : "shm"; }

static void put_stats_json(const struct cli *cli, const struct roost_stats *stats, const char *uuid)
{
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "root", cli->root_path);
    json_text(&writer, "uuid", uuid);
    for (size_t i = 0; i < ROW_COUNT; i++) json_unsigned(&writer, rows[i].name, row_value(stats, &rows[i]));
    json_id(&writer, "last_id", stats->last_id);
    json_id(&writer, "visible_lsn", stats->visible_lsn);
    json_id(&writer, "durable_lsn", stats->durable_lsn);
    json_text(&writer, "region_kind", region_name(stats->region_kind));
    json_text(&writer, "language", stats->language);
    json_unsigned(&writer, "format_version", stats->format_version);
    if (stats->writer_pid && !stats->own_role) json_signed(&writer, "writer_pid", stats->writer_pid);
    json_close(&writer, '}');
    json_line_end(&writer);
}

static void put_stats(const struct cli *cli, const struct roost_stats *stats, const char *uuid)
{
    printf("%-16s", "root");
    cli_put_line_text(roost_text(cli->root_path), 0);
    printf("\n%-16s%s\n", "uuid", uuid);
    for (size_t i = 0; i < ROW_COUNT; i++) printf("%-16s%" PRIu64 "\n", rows[i].label, row_value(stats, &rows[i]));
    printf("%-16s%" PRIu64 "\n%-16s%" PRIu64 "\n%-16s%" PRIu64 "\n", "last id", stats->last_id, "visible lsn", stats->visible_lsn,
           "durable lsn", stats->durable_lsn);
    printf("%-16s%s\n%-16s%s\n%-16s%" PRIu32 "\n", "region", region_name(stats->region_kind), "language", stats->language,
           "format", stats->format_version);
    if (stats->writer_pid && !stats->own_role)
        printf("%-16s%" PRId32 "\n", "writer pid", stats->writer_pid);
    else
        printf("%-16s%s\n", "writer", "resting");
}

static int run_stat(struct cli *cli)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    char uuid[37];
    cli_no_options(cli, 0, 0);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = roost_stats(cli->root, &stats);
    if (error < 0) return cli_fail(error, "stat");
    stats.language[sizeof stats.language - 1] = '\0';
    uuid_text(stats.root_uuid, uuid);
    if (cli->json)
        put_stats_json(cli, &stats, uuid);
    else
        put_stats(cli, &stats, uuid);
    return CLI_OK;
}
const struct cli_command command_stat = {
    "stat",
    "",
    "Show numbers about the root",
    "Participants are attached handles, this command's own included. With --json `writer_pid` is there only while "
    "somebody writes.",
    NULL,
    run_stat};

/* ---- settle ------------------------------------------------------------------------------------------------------ */

static int run_settle(struct cli *cli)
{
    struct roost_receipt receipt = {0, 0, 0, 0};
    cli_no_options(cli, 1, 1);
    const char *text = cli->operands[0], *colon = strchr(text, ':');
    if (!colon || !rst_parse_number(text, (size_t)(colon - text), &receipt.client) ||
        !rst_parse_number(colon + 1, strlen(colon + 1), &receipt.sequence))
        cli_usage(cli, "a receipt looks like 1234567890:12, not \"%s\"", text);
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    int error = roost_settle(cli->root, &receipt, cli->wait_ms ? cli->wait_ms : 5000);
    if (error < 0) return cli_fail(error, error == ROOST_ETIMEDOUT ? "settle: still under way, ask again" : "settle");
    if (!cli->json) {
        printf("done: lsn %" PRIu64 ", id %" PRIu64 "\n", receipt.lsn, receipt.id);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_bool(&writer, "applied", true);
    json_id(&writer, "lsn", receipt.lsn);
    json_id(&writer, "id", receipt.id);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}
const struct cli_command command_settle = {
    "settle",
    "CLIENT:SEQUENCE",
    "Ask what became of a write that timed out",
    "The message of a write that timed out (exit code 6) has the receipt to ask with. The exit code is the outcome:\n\n"
    "0: it was applied.\n\n10: it was never applied and never will be; it is safe to do it again.\n\n"
    "6: it is still under way (ask again), or too long ago to say (look for what it wrote).\n\n"
    "Another: the write's own failure; nothing was applied.",
    NULL,
    run_settle};
