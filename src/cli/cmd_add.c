/* SPDX-License-Identifier: MIT
 * cmd_add.c: roost add, roost forget. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_TAG = 1, OPTION_KEY, OPTION_FILE, OPTION_TIME, OPTION_AGENT, OPTION_SESSION, OPTION_METADATA, OPTION_ON_ERROR };
static const struct cli_option options[] = {
    {OPTION_TAG, 't', "tag", "NAME", "a tag; may be given several times"},
    {OPTION_KEY, 'k', "key", "KEY", "names the memory: a later one with the same key replaces it, and the older id is gone"},
    {OPTION_FILE, 'f', "file", "FILE", "the text is what is in FILE (- for stdin)"},
    {OPTION_TIME, 0, "time-ns", "NUMBER", "when it happened: nanoseconds since 1970, negative before (default now)"},
    {OPTION_AGENT, 'a', "agent", "NAME", "who remembers it: searches can ask for agent:NAME (default $ROOST_AGENT)"},
    {OPTION_SESSION, 0, "session", "NAME", "in which of its sessions: session:NAME (default $ROOST_SESSION)"},
    {OPTION_METADATA, 0, "metadata", "JSON", "what else belongs to it: a JSON object, kept as it is written"},
    {OPTION_ON_ERROR, 0, "on-error", "ACTION", "with --json: stop at a bad line (the default), or continue with the next"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};

struct add {
    struct roost_memory memory;
    struct roost_bytes tags[ROOST_TAG_COUNT_MAX];
    const char *file;
    struct feed_options feed;
    bool fields, on_error;
};

static void read_options(struct cli *cli, struct add *add)
{
    int option;
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_TAG:
            if (add->memory.tag_count == ROOST_TAG_COUNT_MAX) cli_usage(cli, "a memory has at most %u tags", ROOST_TAG_COUNT_MAX);
            add->tags[add->memory.tag_count++] = roost_text(cli->value);
            break;
        case OPTION_KEY:
            add->memory.key = roost_text(cli->value);
            break;
        case OPTION_FILE:
            add->file = cli->value;
            break;
        case OPTION_AGENT:
            add->memory.agent = roost_text(cli->value);
            break;
        case OPTION_SESSION:
            add->memory.session = roost_text(cli->value);
            break;
        case OPTION_METADATA:
            add->memory.metadata = roost_text(cli->value);
            break;
        case OPTION_TIME:
            add->memory.time_ns = cli_signed(cli, "--time-ns", cli->value);
            break;
        default:
            if (strcmp(cli->value, "stop") != 0 && strcmp(cli->value, "continue") != 0)
                cli_usage(cli, "--on-error is stop or continue, not \"%s\"", cli->value);
            add->feed.continue_on_error = strcmp(cli->value, "continue") == 0;
            add->on_error = true;
            break;
        }
        add->fields = add->fields || option != OPTION_ON_ERROR;
    }
    add->memory.tags = add->tags;
    add->memory.tag_count = cli_drop_repeated(add->tags, add->memory.tag_count);
}

static int add_lines(struct cli *cli, const struct add *add)
{
    struct feed_result result;
    if (add->fields) cli_usage(cli, "with --json each line on stdin has its own text, key, tags and time_ns; give them there");
    if (isatty(STDIN_FILENO))
        cli_say("add --json reads lines like {\"text\":\"...\",\"tags\":[\"...\"]} from here; end with Ctrl-D");
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    /* After Ctrl-C what was read is still committed and acknowledged. */
    cli_catch_interrupts();
    return feed_lines(cli, STDIN_FILENO, &add->feed, &result);
}

static int add_one(struct cli *cli, const struct add *add)
{
    struct roost_write write = cli_write_options(cli);
    struct roost_receipt receipt = {0, 0, 0, 0};
    roost_id id = 0;
    int error = roost_append(cli->root, &add->memory, &write, &id, &receipt);
    if (error < 0) return cli_fail_write(error, &receipt, cli_unsure(error, &receipt) ? "add" : "nothing was added");
    if (!cli->json) {
        printf("%" PRIu64 "\n", id);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_id(&writer, "id", id);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}

static int run(struct cli *cli)
{
    struct add add = {.memory = ROOST_MEMORY_INIT, .feed = {.kind = FEED_ADD}};
    struct roost_bytes text = {NULL, 0};
    read_options(cli, &add);
    if (!add.memory.agent.data) add.memory.agent = roost_text(getenv("ROOST_AGENT"));
    if (!add.memory.session.data) add.memory.session = roost_text(getenv("ROOST_SESSION"));
    if (cli->json && !cli->operand_count && !add.file) return add_lines(cli, &add);
    if (add.on_error) cli_usage(cli, "--on-error goes with --json and lines on stdin");
    int code = cli_read_content(cli, 0, add.file, "the text", &text);
    if (code) return code;
    if (!text.size) {
        free((void *)(uintptr_t)text.data);
        cli_usage(cli, "the text is empty; a memory needs some");
    }
    add.memory.text = text;
    code = cli_open(cli, CLI_WRITING);
    if (!code) code = add_one(cli, &add);
    free((void *)(uintptr_t)text.data);
    return code;
}
const struct cli_command command_add = {
    "add",
    "[TEXT...]",
    "Store a memory and show its id",
    "The text is TEXT (several words are joined by blanks), or what --file names, or stdin, byte for byte. It must be "
    "UTF-8. When\n"
    "the command returns, every process finds it.\n\n"
    "With --json and no TEXT it reads one memory a line from stdin: "
    "{\"text\":\"...\",\"key\":\"...\",\"tags\":[\"...\"],\"time_ns\":N,\n"
    "\"agent\":\"...\",\"session\":\"...\",\"metadata\":{...}}, all but text optional, and prints {\"id\":\"N\"} for each when "
    "it is committed. It commits every line as soon as "
    "it is read,\n"
    "and many at once when many wait. A bad line ends it, after all before it were committed.",
    options,
    run};

/* ---- forget ------------------------------------------------------------------------------------------------------ */

static const struct cli_option forget_options[] = {CLI_OPTION_LEVEL, CLI_OPTION_END};

static int forget_one(struct cli *cli, roost_id id)
{
    struct roost_write write = cli_write_options(cli);
    struct roost_receipt receipt = {0, 0, 0, 0};
    int error = roost_forget(cli->root, id, &write, &receipt);
    if (error < 0) return cli_fail_write(error, &receipt, "forget %" PRIu64, id);
    if (!cli->json) {
        printf("forgot %" PRIu64 "\n", id);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_id(&writer, "id", id);
    json_bool(&writer, "forgotten", true);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}

static int run_forget(struct cli *cli)
{
    cli_no_options(cli, 1, -1);
    for (int i = 0; i < cli->operand_count; i++)
        (void)cli_memory_id(cli, cli->operands[i]); /* all are looked at before the first is forgotten */
    int code = cli_open(cli, CLI_WRITING), first_code = CLI_OK;
    for (int i = 0; i < cli->operand_count && (code == CLI_OK || code == CLI_NOT_FOUND); i++) {
        code = forget_one(cli, cli_memory_id(cli, cli->operands[i]));
        if (!first_code) first_code = code;
    }
    return first_code ? first_code : code;
}
const struct cli_command command_forget = {"forget", "ID...",        "Remove memories from reading, search and counts",
                                           NULL,     forget_options, run_forget};
