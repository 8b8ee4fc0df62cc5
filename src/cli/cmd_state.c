/* SPDX-License-Identifier: MIT
 * cmd_state.c: roost state set, get, list, watch. */
#include "watching.h"

#include <inttypes.h>
#include <string.h>

enum { OPTION_STATUS = 1, OPTION_ACTIVE, OPTION_LAST_ID, OPTION_EXTRA, OPTION_COUNT, OPTION_TIMEOUT };
static const struct cli_option set_options[] = {
    {OPTION_STATUS, 's', "status", "TEXT", "a word or two: idle, thinking"},
    {OPTION_ACTIVE, 0, "active", "N", "how many memories the agent works with (default 0)"},
    {OPTION_LAST_ID, 0, "last-id", "ID", "the id of the memory that it updated last (default 0: none)"},
    {OPTION_EXTRA, 'e', "extra", "NAME=VALUE", "any further name and value; may be given several times"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};

/* More do not fit into ROOST_STATE_SIZE_MAX anyway. */
enum { EXTRA_COUNT_MAX = 512 };

static void read_extra(struct cli *cli, struct roost_state *state, struct roost_extra *extra)
{
    const char *equals = strchr(cli->value, '=');
    if (!equals || equals == cli->value) cli_usage(cli, "--extra takes NAME=VALUE, not \"%s\"", cli->value);
    if (state->extra_count == EXTRA_COUNT_MAX) cli_usage(cli, "at most %d --extra", EXTRA_COUNT_MAX);
    extra[state->extra_count].name = (struct roost_bytes){cli->value, (size_t)(equals - cli->value)};
    extra[state->extra_count++].value = roost_text(equals + 1);
}

static int run_set(struct cli *cli)
{
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_extra extra[EXTRA_COUNT_MAX];
    int option;
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_STATUS:
            state.status = roost_text(cli->value);
            break;
        case OPTION_ACTIVE:
            state.active_memory_count = cli_number(cli, "--active", cli->value);
            break;
        case OPTION_LAST_ID:
            state.last_updated_id = cli_number(cli, "--last-id", cli->value);
            break;
        default:
            read_extra(cli, &state, extra);
            break;
        }
    }
    cli_operand_count(cli, 1, 1);
    state.name = roost_text(cli->operands[0]);
    state.extra = extra;
    state.flags = ROOST_STATE_UNOWNED; /* this process ends at once; nobody should wait for it */
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    struct roost_write write = cli_write_options(cli);
    /* The next thing this process does is to end: what it said must not hang on a write that it would make later. */
    if (!write.level) write.level = ROOST_DURABLE;
    int error = roost_state_publish(cli->root, &state, &write);
    if (error == ROOST_ETIMEDOUT || error == ROOST_EUNKNOWN) {
        /* Publishing has no receipt: the state itself shows what became of it. */
        cli_say("state set: not confirmed: %s; `roost state get %s` shows whether it was published", cli_detail(error),
                cli->operands[0]);
        return cli_exit_code(error);
    }
    if (error < 0) return cli_fail(error, "state set");
    if (cli->json) {
        struct json_writer writer = json_writer(stdout);
        json_open(&writer, NULL, '{');
        json_text(&writer, "name", cli->operands[0]);
        json_bool(&writer, "set", true);
        json_close(&writer, '}');
        json_line_end(&writer);
    }
    return CLI_OK;
}
const struct cli_command command_state_set = {
    "state set",
    "NAME",
    "Publish an agent's state",
    "Replaces the whole state; what is not given becomes empty or 0. Nobody owns a state that is set so, and a state "
    "whose owner\n"
    "lives cannot be set from outside (exit code 4).",
    set_options,
    run_set};

static int run_get(struct cli *cli)
{
    struct roost_state state = ROOST_STATE_INIT;
    cli_no_options(cli, 0, 1);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = roost_state_get(cli->root, roost_text(cli->operand_count ? cli->operands[0] : ""), &state);
    if (error < 0) return cli_fail(error, "state get");
    put_state(cli, &state);
    roost_unpin(cli->root, &state.pin);
    return CLI_OK;
}
const struct cli_command command_state_get = {
    "state get",
    "[NAME]",
    "Show an agent's state; without NAME the root's own",
    "With --json: {\"name\",\"status\",\"active_memory_count\",\"last_updated_id\",\"extra\":[{\"name\",\"value\"}],"
    "\"alive\":\"yes\"|\"no\"|\"unowned\",\n"
    "\"version\",\"time_ns\",\"owner_pid\"}.",
    NULL,
    run_get};

static int run_list(struct cli *cli)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    struct cli_pass pass = {"state list", 0};
    cli_no_options(cli, 0, 0);
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int got = roost_state_scan(cli->root, &iter);
    while (got >= 0 && (got = cli_pass_state(&pass, iter, &state)) > 0) put_state(cli, &state);
    code = cli_pass_end(&pass, got);
    roost_iter_close(iter);
    return code;
}
const struct cli_command command_state_list = {"state list", "", "Show the states of all agents", NULL, NULL, run_list};

static const struct cli_option watch_options[] = {
    {OPTION_COUNT, 'n', "count", "N", "end after N values"},
    {OPTION_TIMEOUT, 0, "timeout", "SECONDS", "end after this time; exit code 6 if fewer than --count (or none) came"},
    CLI_OPTION_END,
};

static int run_watch(struct cli *cli)
{
    struct watching watching = {.count = UINT64_MAX, .timeout_ms = UINT64_MAX, .states_only = true};
    int option;
    while ((option = cli_next(cli)) != 0) {
        if (option == OPTION_COUNT)
            watching.count = cli_number(cli, "--count", cli->value);
        else
            watching.timeout_ms = cli_milliseconds(cli, "--timeout", cli->value);
    }
    for (int i = 0; i < cli->operand_count; i++) watch_topic(cli, &watching, ROOST_TOPIC_STATE, cli->operands[i]);
    if (!watching.topic_count) watch_topic(cli, &watching, ROOST_TOPIC_STATES, NULL);
    return watch_topics(cli, &watching);
}
const struct cli_command command_state_watch = {"state watch",
                                                "[NAME...]",
                                                "Show states, the current values first, then every change, until Ctrl-C",
                                                "Without NAME all agents' states. That an owner's process ended is a change too.",
                                                watch_options,
                                                run_watch};
