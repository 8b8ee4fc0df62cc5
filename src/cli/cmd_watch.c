/* SPDX-License-Identifier: MIT
 * cmd_watch.c: roost watch, and the loop that `state watch` shares with it. */
#include "watching.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include <roost/uv.h>

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

/* ---- the loop ---- */

struct show {
    struct cli *cli;
    const struct watching *watching;
    uint64_t shown;
    int code;
    bool over;
    uv_loop_t loop;
    roost_uv bridge;
    roost_uv_watch watch;
    uv_signal_t signals[3];
    uv_timer_t timer, reader_timer;
};

static void on_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void on_bridge_closed(roost_uv *bridge) { uv_walk(bridge->loop, on_handle, NULL); }

static void end(struct show *show, int code)
{
    if (show->over) return;
    show->over = true;
    show->code = code;
    roost_uv_close(&show->bridge, on_bridge_closed);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    end(handle->data, CLI_OK);
}

static void on_time(uv_timer_t *timer)
{
    struct show *show = timer->data;
    end(show, show->watching->count != UINT64_MAX || !show->shown ? CLI_TIMED_OUT : CLI_OK);
}

/* Not by uv_poll, which would make a stdout that others share non-blocking. */
static void on_reader_timer(uv_timer_t *timer)
{
    if (cli_output_reader_gone()) end(timer->data, CLI_OK);
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    struct show *show = watch->data;
    if (show->over) return;
    if (status < 0) {
        end(show, cli_fail(status, "watch"));
        return;
    }
    put_event(show->cli, show->watching, event);
    /* A watcher's reader acts on each line, so each goes out at once. */
    if (!cli_output_flush() || ++show->shown >= show->watching->count) end(show, CLI_OK);
}

static void watch_for_ends(struct show *show)
{
    enum { READER_MS = 200 };
    static const int numbers[3] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&show->loop, &show->signals[i]);
        show->signals[i].data = show;
        uv_signal_start_oneshot(&show->signals[i], on_signal, numbers[i]); /* a second one ends the program the hard way */
    }
    uv_timer_init(&show->loop, &show->timer);
    uv_timer_init(&show->loop, &show->reader_timer);
    show->timer.data = show->reader_timer.data = show;
    if (show->watching->timeout_ms != UINT64_MAX) uv_timer_start(&show->timer, on_time, show->watching->timeout_ms, 0);
    uv_timer_start(&show->reader_timer, on_reader_timer, READER_MS, READER_MS);
}

static int run_loop(struct show *show)
{
    struct cli *cli = show->cli;
    const struct watching *watching = show->watching;
    int error = roost_uv_init(&show->loop, &show->bridge, cli->root);
    if (error < 0) return cli_fail(error, "watch");
    show->watch.data = show;
    watch_for_ends(show);
    error = roost_uv_watch_start(&show->bridge, &show->watch, watching->topics, watching->topic_count, on_event);
    if (error < 0)
        end(show, cli_fail(error, "watch"));
    else if (!watching->count)
        end(show, CLI_OK);
    uv_run(&show->loop, UV_RUN_DEFAULT);
    return show->code;
}

int watch_topics(struct cli *cli, const struct watching *watching)
{
    struct show show = {.cli = cli, .watching = watching};
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    int error = uv_loop_init(&show.loop);
    if (error) return cli_fail(error, "watch");
    code = run_loop(&show);
    uv_loop_close(&show.loop);
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
