/* SPDX-License-Identifier: MIT
 * cmd_kv.c: roost kv set, get, delete, list, cas. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPTION_FILE = 1, OPTION_IF_VERSION, OPTION_EXPIRES, OPTION_VERSION, OPTION_LIMIT };
#define IF_VERSION(help) \
    { \
        OPTION_IF_VERSION, 0, "if-version", "N", help \
    }
#define IF_VERSION_HELP "only if the key has this version (`kv get --version`); 0: only if there is no such key"
static const struct cli_option set_options[] = {
    {OPTION_FILE, 'f', "file", "FILE", "the value is what is in FILE (- for stdin)"},
    IF_VERSION(IF_VERSION_HELP),
    {OPTION_EXPIRES, 0, "expires", "SECONDS", "the key is gone after this time"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};
static const struct cli_option delete_options[] = {IF_VERSION("only if the key has this version"), CLI_OPTION_LEVEL,
                                                   CLI_OPTION_END};
static const struct cli_option get_options[] = {
    {OPTION_VERSION, 0, "version", NULL, "show the key's version instead of its value"},
    CLI_OPTION_END,
};
static const struct cli_option list_options[] = {
    {OPTION_LIMIT, 'n', "limit", "N", "at most N (default: all)"},
    CLI_OPTION_END,
};

static int64_t expiry(struct cli *cli)
{
    struct timespec now;
    uint64_t ms = cli_milliseconds(cli, "--expires", cli->value);
    if (ms == 0) cli_usage(cli, "--expires is more than 0 seconds; to remove a key use `roost kv delete`");
    clock_gettime(CLOCK_REALTIME, &now);
    return ((int64_t)now.tv_sec + (int64_t)(ms / 1000)) * 1000000000 + now.tv_nsec + (int64_t)(ms % 1000) * 1000000;
}

static bool read_options(struct cli *cli, struct roost_write *write, const char **ret_file)
{
    int option;
    uint64_t expected = 0;
    int64_t expires_ns = 0;
    bool if_version = false;
    while ((option = cli_next(cli)) != 0) {
        if (option == OPTION_FILE)
            *ret_file = cli->value;
        else if (option == OPTION_EXPIRES)
            expires_ns = expiry(cli);
        else {
            expected = cli_number(cli, "--if-version", cli->value);
            if_version = true;
        }
    }
    *write = cli_write_options(cli);
    write->expected = expected;
    write->expires_ns = expires_ns;
    if (if_version) write->flags |= ROOST_WRITE_IF_VERSION;
    return if_version;
}

/* Version 0 is how the library says that there is no such key. */
static int fail(int error, const struct roost_receipt *receipt, const char *command, const char *key,
                const struct roost_write *write)
{
    if (error != ROOST_EMISMATCH || !strstr(cli_detail(error), "\" has version 0, expected was "))
        return cli_fail_write(error, receipt, "%s", command);
    cli_say("%s: nothing was changed: the key \"%s\" should have version %" PRIu64
            ", but there is no such key (any more): it was never "
            "set, or was deleted, or has expired",
            command, key, write->expected);
    return cli_exit_code(error);
}

static int set(struct cli *cli, bool need_version)
{
    struct roost_write write;
    struct roost_receipt receipt = {0, 0, 0, 0};
    struct roost_bytes value = {NULL, 0};
    const char *file = NULL;
    bool if_version = read_options(cli, &write, &file);
    if (need_version && !if_version)
        cli_usage(cli, "--if-version is missing: the version that the key must have (`roost kv get KEY --version`), "
                       "or 0 for none");
    cli_operand_count(cli, 1, 2);
    int code = cli_read_content(cli, 1, file, "the value", &value);
    if (!code) code = cli_open(cli, CLI_WRITING);
    if (!code) {
        int error = roost_kv_set(cli->root, roost_text(cli->operands[0]), value, &write, &receipt);
        code = error < 0 ? fail(error, &receipt, cli->command->name, cli->operands[0], &write) : CLI_OK;
    }
    free((void *)(uintptr_t)value.data);
    /* Who compares needs the version for the next time: to renew a lock, to release it. */
    if (!code && !cli->json && need_version) printf("%" PRIu64 "\n", receipt.lsn);
    if (code || !cli->json) return code;
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "key", cli->operands[0]);
    json_id(&writer, "version", receipt.lsn);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}

static int run_set(struct cli *cli) { return set(cli, false); }
const struct cli_command command_kv_set = {
    "kv set",
    "KEY [VALUE]",
    "Set a key",
    "The value is VALUE, or what --file names, or stdin: any bytes, also none. With --json it answers the key's new "
    "version.",
    set_options,
    run_set};

static int run_cas(struct cli *cli) { return set(cli, true); }
const struct cli_command command_kv_cas = {
    "kv cas",
    "KEY --if-version N [VALUE]",
    "Set a key only if nobody changed it (compare and set)",
    "Reads like `kv set`, and prints the key's new version. Exit code 4 when the key has another version than N (0: when there "
    "is "
    "such a key): then nothing was changed.\n\n"
    "A lock that vanishes by itself: take it with --if-version 0 --expires 60, renew it with --if-version and the version that "
    "was "
    "printed, release it with `kv delete` and that version. That a key expired wakes no watcher: who waits for one tries again.",
    set_options,
    run_cas};

static int run_delete(struct cli *cli)
{
    struct roost_write write;
    struct roost_receipt receipt = {0, 0, 0, 0};
    const char *file = NULL;
    read_options(cli, &write, &file);
    cli_operand_count(cli, 1, 1);
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    int error = roost_kv_delete(cli->root, roost_text(cli->operands[0]), &write, &receipt);
    if (error < 0) return fail(error, &receipt, "kv delete", cli->operands[0], &write);
    if (cli->json) {
        struct json_writer writer = json_writer(stdout);
        json_open(&writer, NULL, '{');
        json_text(&writer, "key", cli->operands[0]);
        json_bool(&writer, "deleted", true);
        json_close(&writer, '}');
        json_line_end(&writer);
    }
    return CLI_OK;
}
const struct cli_command command_kv_delete = {"kv delete", "KEY", "Delete a key", NULL, delete_options, run_delete};

static void json_item(const struct roost_item *item)
{
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_bytes(&writer, "key", item->key);
    json_item_fields(&writer, item, "value");
    json_close(&writer, '}');
    json_line_end(&writer);
}

static int run_get(struct cli *cli)
{
    struct roost_item item = ROOST_ITEM_INIT;
    bool version = false;
    while (cli_next(cli)) version = true;
    cli_operand_count(cli, 1, 1);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = roost_kv_get(cli->root, roost_text(cli->operands[0]), &item);
    if (error < 0) return cli_fail(error, "kv get");
    if (!item.key.size) item.key = roost_text(cli->operands[0]);
    if (cli->json)
        json_item(&item);
    else if (version)
        printf("%" PRIu64 "\n", item.version);
    else if (cli_output_terminal())
        cli_put_block(item.value);
    else
        cli_put_text(item.value); /* byte for byte, no line end added */
    roost_unpin(cli->root, &item.pin);
    return CLI_OK;
}
const struct cli_command command_kv_get = {
    "kv get",
    "KEY",
    "Show a key's value",
    "In a pipe or file the value comes byte for byte; on a terminal a line end is added. With --json also its version "
    "and times;\n"
    "a value that is not UTF-8 comes as \"value_base64\".",
    get_options,
    run_get};

static int run_list(struct cli *cli)
{
    uint64_t limit = UINT64_MAX;
    roost_iter *iter = NULL;
    struct roost_item item = ROOST_ITEM_INIT;
    struct cli_pass pass = {"kv list", 0};
    while (cli_next(cli)) limit = cli_number(cli, "--limit", cli->value);
    cli_operand_count(cli, 0, 1);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int got = roost_kv_scan(cli->root, roost_text(cli->operand_count ? cli->operands[0] : ""), &iter);
    for (; got >= 0 && limit && (got = cli_pass_item(&pass, iter, false, &item)) > 0; limit--) {
        if (cli->json) {
            json_item(&item);
            continue;
        }
        cli_put_line_text(item.key, 0);
        putchar('\t');
        cli_put_line_text(item.value, cli_text_columns(32));
        putchar('\n');
        if (ferror(stdout) && !cli_output_flush()) break;
    }
    code = cli_pass_end(&pass, got);
    roost_iter_close(iter);
    return code;
}
const struct cli_command command_kv_list = {
    "kv list",
    "[PREFIX]",
    "List keys in byte order, with their values",
    "A line each: key, a tab, value; line ends and control characters are escaped. With --json an object a line, "
    "lossless. A damaged key is left out and named on stderr; the exit code is then 5.",
    list_options,
    run_list};
