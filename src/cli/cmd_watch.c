/* SPDX-License-Identifier: MIT
 * cmd_watch.c: roost watch, and the loop that `state watch` shares with it. */
#include "watching.h"

#include <inttypes.h>
#include <stdlib.h>

void put_state(const struct cli *cli, const struct roost_state *state)
{
    static const char *const alive[] = {"gone", "alive", "unowned"};
    if (cli->json) {
        struct json_writer writer = json_writer(stdout);
        json_open(&writer, NULL, '{');
        json_state_fields(&writer, state);
        json_close(&writer, '}');
        json_line_end(&writer);
        return;
    }
    fputs(cli_bold(), stdout);
    if (state->name.size)
        cli_put_line_text(state->name, 0);
    else
        fputs("(root)", stdout);
    printf("%s\t%s\t", cli_plain(), alive[state->alive <= ROOST_ALIVE_NONE ? state->alive : ROOST_ALIVE_NONE]);
    cli_put_line_text(state->status, 0);
    printf("\tactive=%" PRIu64 "\tlast_id=%" PRIu64, state->active_memory_count, state->last_updated_id);
    for (size_t i = 0; i < state->extra_count; i++) {
        putchar('\t');
        cli_put_line_text(state->extra[i].name, 0);
        putchar('=');
        cli_put_line_text(state->extra[i].value, 0);
    }
    putchar('\n');
}

static const char *const change_names[] = {"unknown",       "memory", "forget",     "key_set", "key_delete",
                                           "stream_append", "state",  "generation", "skipped"};

static const char *change_name(uint32_t kind)
{
    return kind < sizeof change_names / sizeof change_names[0] ? change_names[kind] : change_names[0];
}

/* The state's value goes with its event. It may be a newer one than the event's: then the event for that one says
 * nothing new. */
static bool fetch_state(struct cli *cli, const struct roost_event *event, struct roost_state *state)
{
    return event->kind == ROOST_CHANGE_STATE && roost_state_get(cli->root, event->name, state) >= 0;
}

static void put_event_json(struct cli *cli, const struct roost_event *event)
{
    struct json_writer writer = json_writer(stdout);
    struct roost_state state = ROOST_STATE_INIT;
    json_open(&writer, NULL, '{');
    json_text(&writer, "event", change_name(event->kind));
    if (event->lsn) json_id(&writer, "lsn", event->lsn);
    if (event->kind == ROOST_CHANGE_MEMORY || event->kind == ROOST_CHANGE_FORGET) {
        json_id(&writer, "id", event->id);
        json_bytes(&writer, "key", event->name);
    } else if (event->kind == ROOST_CHANGE_KEY_SET || event->kind == ROOST_CHANGE_KEY_DELETE) {
        json_bytes(&writer, "key", event->name);
    } else if (event->kind == ROOST_CHANGE_STREAM) {
        json_bytes(&writer, "name", event->name);
        json_unsigned(&writer, "index", event->id);
    } else if (event->kind == ROOST_CHANGE_GENERATION) {
        json_unsigned(&writer, "generation", event->id);
    } else if (event->kind == ROOST_CHANGE_STATE) {
        json_bytes(&writer, "name", event->name);
        json_id(&writer, "version", event->id);
    }
    if (event->skipped_count || event->kind == ROOST_CHANGE_SKIPPED)
        json_unsigned(&writer, "skipped_count", event->skipped_count);
    if (fetch_state(cli, event, &state)) {
        json_open(&writer, "state", '{');
        json_state_fields(&writer, &state);
        json_close(&writer, '}');
        roost_unpin(cli->root, &state.pin);
    }
    json_close(&writer, '}');
    json_line_end(&writer);
}

static void put_event_text(struct cli *cli, const struct roost_event *event)
{
    struct roost_state state = ROOST_STATE_INIT;
    if (fetch_state(cli, event, &state)) {
        fputs("state\t", stdout);
        put_state(cli, &state);
        roost_unpin(cli->root, &state.pin);
        return;
    }
    fputs(change_name(event->kind), stdout);
    if (event->kind == ROOST_CHANGE_SKIPPED)
        printf("\t%" PRIu64 " change%s not kept: look at everything", event->skipped_count,
               event->skipped_count == 1 ? " was" : "s were");
    else if (event->kind != ROOST_CHANGE_KEY_SET && event->kind != ROOST_CHANGE_KEY_DELETE)
        printf("\t%" PRIu64, event->id);
    if (event->name.size) {
        putchar('\t');
        cli_put_line_text(event->name, 0);
    }
    putchar('\n');
}

static void put_event(struct cli *cli, const struct watching *watching, const struct roost_event *event)
{
    struct roost_state state = ROOST_STATE_INIT;
    if (!watching->states_only) {
        if (cli->json)
            put_event_json(cli, event);
        else
            put_event_text(cli, event);
    } else if (fetch_state(cli, event, &state)) {
        put_state(cli, &state);
        roost_unpin(cli->root, &state.pin);
    }
}

static int loop(struct cli *cli, const struct watching *watching, roost_watch *watch)
{
    struct cli_deadline deadline = cli_deadline(watching->timeout_ms);
    struct roost_event event = ROOST_EVENT_INIT;
    uint64_t shown = 0;
    for (;;) {
        uint32_t slice = cli_slice_ms(&deadline);
        if (shown >= watching->count || cli_interrupted() || cli_output_reader_gone()) return CLI_OK;
        int got = roost_watch_wait(watch, slice, &event);
        if (got < 0) return cli_interrupted() ? CLI_OK : cli_fail(got, "watch");
        if (got > 0) {
            put_event(cli, watching, &event);
            shown++;
            /* A watcher's reader acts on each line, so each goes out at once. */
            if (!cli_output_flush()) return CLI_OK;
        } else if (!slice) {
            return watching->count != UINT64_MAX || !shown ? CLI_TIMED_OUT : CLI_OK;
        }
    }
}

int watch_topics(struct cli *cli, const struct watching *watching)
{
    roost_watch *watch = NULL;
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    cli_catch_interrupts();
    int error = roost_watch_open(cli->root, watching->topics, watching->topic_count, &watch);
    if (error < 0) return cli_fail(error, "watch");
    code = loop(cli, watching, watch);
    roost_watch_close(watch);
    return code;
}

void watch_topic(struct cli *cli, struct watching *watching, uint32_t kind, const char *name)
{
    if (watching->topic_count == WATCHING_TOPIC_COUNT_MAX)
        cli_usage(cli, "at most %d things can be watched at once", WATCHING_TOPIC_COUNT_MAX);
    watching->topics[watching->topic_count++] = (struct roost_topic){kind, 0, roost_text(name)};
}

enum {
    OPTION_COMMITS = 1,
    OPTION_STATE,
    OPTION_STATES,
    OPTION_STREAM,
    OPTION_KEYS,
    OPTION_GENERATION,
    OPTION_COUNT,
    OPTION_TIMEOUT
};
static const struct cli_option options[] = {
    {OPTION_COMMITS, 0, "commits", NULL, "every change of memories, keys and streams (the default)"},
    {OPTION_STATE, 0, "state", "NAME", "the state of this agent, its current value first"},
    {OPTION_STATES, 0, "states", NULL, "the states of all agents, their current values first"},
    {OPTION_STREAM, 0, "stream", "NAME", "new entries of this stream"},
    {OPTION_KEYS, 0, "keys", "PREFIX", "keys that begin with PREFIX (\"\": all)"},
    {OPTION_GENERATION, 0, "generation", NULL, "the set of index files changed"},
    {OPTION_COUNT, 'n', "count", "N", "end after N events"},
    {OPTION_TIMEOUT, 0, "timeout", "SECONDS", "end after this time; exit code 6 if fewer than --count (or none) came"},
    CLI_OPTION_END,
};

static int run(struct cli *cli)
{
    struct watching watching = {.count = UINT64_MAX, .timeout_ms = UINT64_MAX};
    int option;
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_COMMITS:
            watch_topic(cli, &watching, ROOST_TOPIC_COMMITS, NULL);
            break;
        case OPTION_STATE:
            watch_topic(cli, &watching, ROOST_TOPIC_STATE, cli->value);
            break;
        case OPTION_STATES:
            watch_topic(cli, &watching, ROOST_TOPIC_STATES, NULL);
            break;
        case OPTION_STREAM:
            watch_topic(cli, &watching, ROOST_TOPIC_STREAM, cli->value);
            break;
        case OPTION_KEYS:
            watch_topic(cli, &watching, ROOST_TOPIC_KEYS, cli->value);
            break;
        case OPTION_GENERATION:
            watch_topic(cli, &watching, ROOST_TOPIC_GENERATION, NULL);
            break;
        case OPTION_COUNT:
            watching.count = cli_number(cli, "--count", cli->value);
            break;
        default:
            watching.timeout_ms = cli_milliseconds(cli, "--timeout", cli->value);
            break;
        }
    }
    cli_operand_count(cli, 0, 0);
    if (!watching.topic_count) watch_topic(cli, &watching, ROOST_TOPIC_COMMITS, NULL);
    return watch_topics(cli, &watching);
}
const struct cli_command command_watch = {
    "watch",
    "",
    "Show changes as they happen, until Ctrl-C",
    "A line an event, written out at once. Several options watch several things. With --json an object a line:\n"
    "{\"event\":\"memory\"|\"forget\"|\"key_set\"|\"key_delete\"|\"stream_append\"|"
    "\"state\"|\"generation\"|\"skipped\",\"lsn\",...}.\n"
    "\"skipped\" means that more happened than could be kept for a slow watcher: look at everything again.\n\n"
    "A memory that replaces another of the same key is one event: the new memory with its key; that the older id is gone is not "
    "said "
    "apart. A key that expires is no change and wakes nobody.",
    options,
    run};
