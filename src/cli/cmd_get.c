/* SPDX-License-Identifier: MIT
 * cmd_get.c: roost get, list, recent. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

enum { OPTION_WHERE = 1 };
static const struct cli_option get_options[] = {
    {OPTION_WHERE, 'w', "where", NULL, "show in which file and at which byte the memory lies"},
    CLI_OPTION_END,
};

static void put_where(const struct roost_location *location)
{
    printf("%" PRIu64 ": blocks/chunk_%04" PRIu32 ".bin, record at byte %" PRIu64 " (%" PRIu64 " bytes), "
           "text at byte %" PRIu64 " (%" PRIu64 " bytes), lsn %" PRIu64 "\n",
           location->id, location->chunk, location->offset, location->record_size, location->text_offset, location->text_size,
           location->lsn);
}

static void json_where(struct json_writer *writer, const struct roost_location *location)
{
    char file[40];
    snprintf(file, sizeof file, "blocks/chunk_%04" PRIu32 ".bin", location->chunk);
    json_open(writer, "where", '{');
    json_text(writer, "file", file);
    json_unsigned(writer, "offset", location->offset);
    json_unsigned(writer, "record_size", location->record_size);
    json_unsigned(writer, "text_offset", location->text_offset);
    json_unsigned(writer, "text_size", location->text_size);
    json_close(writer, '}');
}

static void put_memory(const struct cli *cli, const struct roost_memory *memory, const struct roost_location *location)
{
    if (cli->json) {
        struct json_writer writer = json_writer(stdout);
        json_open(&writer, NULL, '{');
        json_memory_fields(&writer, memory);
        if (location) json_where(&writer, location);
        json_close(&writer, '}');
        json_line_end(&writer);
    } else if (location) {
        put_where(location);
    } else if (cli->operand_count == 1) {
        cli_put_block(memory->text); /* the text alone, for scripts */
    } else {
        printf("%s== %" PRIu64 "  ", cli_dim(), memory->id);
        cli_put_time(memory->time_ns);
        printf("%s\n", cli_plain());
        cli_put_block(memory->text);
    }
}

static int get_one(struct cli *cli, roost_id id, bool where)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_location location = ROOST_LOCATION_INIT;
    int error = where ? roost_locate(cli->root, id, &location) : 0;
    if (error >= 0) error = roost_get(cli->root, id, &memory);
    if (error < 0) return cli_fail(error, "get %" PRIu64, id);
    put_memory(cli, &memory, where ? &location : NULL);
    roost_unpin(cli->root, &memory.pin);
    return CLI_OK;
}

static int run_get(struct cli *cli)
{
    bool where = false;
    while (cli_next(cli)) where = true;
    cli_operand_count(cli, 1, -1);
    for (int i = 0; i < cli->operand_count; i++) (void)cli_memory_id(cli, cli->operands[i]);
    int code = cli_open(cli, CLI_READING), first_code = CLI_OK;
    for (int i = 0; i < cli->operand_count && cli->root; i++) {
        code = get_one(cli, cli_memory_id(cli, cli->operands[i]), where);
        if (!first_code) first_code = code;
    }
    return first_code ? first_code : code;
}
const struct cli_command command_get = {
    "get",
    "ID...",
    "Show memories",
    "One ID: its text alone. Several: each after a line with its id and time. Missing ones are said on stderr (exit "
    "code 3), the\n"
    "others shown.",
    get_options,
    run_get};

/* ---- list, recent ------------------------------------------------------------------------------------------------ */

static int list(struct cli *cli, roost_id first, uint32_t flags, uint64_t limit)
{
    roost_iter *iter = NULL;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct cli_pass pass = {cli->command->name, 0};
    struct json_writer writer = json_writer(stdout);
    int got = roost_scan(cli->root, first, flags, &iter);
    for (; got >= 0 && limit && !cli_output_closed() && (got = cli_pass_memory(&pass, iter, &memory)) > 0; limit--) {
        if (cli->json) {
            json_open(&writer, NULL, '{');
            json_memory_fields(&writer, &memory);
            json_close(&writer, '}');
            json_line_end(&writer);
        } else {
            cli_put_memory_line(&memory);
        }
        if (ferror(stdout) && !cli_output_flush()) break;
    }
    int code = cli_pass_end(&pass, got);
    roost_iter_close(iter);
    return code;
}

enum { OPTION_LIMIT = 1, OPTION_FROM, OPTION_REVERSE };
static const struct cli_option list_options[] = {
    {OPTION_LIMIT, 'n', "limit", "N", "at most N (default: all)"},
    {OPTION_FROM, 0, "from", "ID", "begin with this id, or the next that there is"},
    {OPTION_REVERSE, 'r', "reverse", NULL, "the newest first"},
    CLI_OPTION_END,
};

static int run_list(struct cli *cli)
{
    uint64_t limit = UINT64_MAX;
    roost_id first = 0;
    uint32_t flags = 0;
    int option;
    while ((option = cli_next(cli)) != 0) {
        if (option == OPTION_LIMIT)
            limit = cli_number(cli, "--limit", cli->value);
        else if (option == OPTION_FROM)
            first = cli_number(cli, "--from", cli->value); /* 0: from the beginning, or with --reverse from the end */
        else
            flags |= ROOST_SCAN_REVERSE;
    }
    cli_operand_count(cli, 0, 0);
    int code = cli_open(cli, CLI_READING);
    return code ? code : list(cli, first, flags, limit);
}
const struct cli_command command_list = {
    "list",
    "",
    "List memories by id",
    "A line each: id, time, text, key and tags, separated by tabs; line ends in a text are shown as \\n. With --json "
    "an object a line. A damaged memory is left out and named on stderr; the exit code is then 5.",
    list_options,
    run_list};

static int run_recent(struct cli *cli)
{
    cli_no_options(cli, 0, 1);
    uint64_t limit = cli->operand_count ? cli_number(cli, "N", cli->operands[0]) : 10;
    int code = cli_open(cli, CLI_READING);
    return code ? code : list(cli, 0, ROOST_SCAN_REVERSE, limit);
}
const struct cli_command command_recent = {"recent", "[N]", "List the newest N memories (default 10), the newest first",
                                           NULL,     NULL,  run_recent};
