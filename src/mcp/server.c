/* SPDX-License-Identifier: MIT
 * mcp/server.c: roost mcp: the process, its root, and its end. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "mcp/mcp.h"

/* ---- the root: opened on the pool, so that a busy one delays no answer that does not need it ---- */

static void on_bridge_closed(roost_uv *bridge);

static void open_root(uv_work_t *work)
{
    struct mcp *mcp = work->data;
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.wait_ms = mcp->cli->wait_ms;
    options.level = mcp->cli->level;
    options.flags = mcp->read_only ? ROOST_OPEN_OBSERVE : ROOST_OPEN_CREATE;
    mcp->open_error = roost_open(mcp->cli->root_path, &options, &mcp->root);
    if (mcp->open_error == ROOST_EACCES && !mcp->read_only) { /* who may only read reads */
        options.flags = ROOST_OPEN_OBSERVE;
        mcp->open_error = roost_open(mcp->cli->root_path, &options, &mcp->root);
    }
    if (mcp->open_error < 0) snprintf(mcp->open_detail, sizeof mcp->open_detail, "%s", roost_error_detail());
}

static void pump(struct mcp *mcp);

static void after_open(uv_work_t *work, int status)
{
    struct mcp *mcp = work->data;
    if (status < 0) mcp->open_error = status;
    if (mcp->open_error >= 0) {
        mcp->open_error = roost_uv_init(&mcp->loop, &mcp->bridge, mcp->root);
        if (mcp->open_error < 0) snprintf(mcp->open_detail, sizeof mcp->open_detail, "%s", roost_error_detail());
        roost_close(mcp->root); /* the bridge owns it, or nobody */
    }
    mcp->root_state = mcp->open_error < 0 ? MCP_ROOT_CLOSED : MCP_ROOT_OPEN;
    /* Once in the log: a client shows that it is connected, whatever becomes of the root. */
    if (mcp->open_error < 0 && !mcp->complained) cli_say("mcp: the shared memory cannot be used: %s", mcp->open_detail);
    mcp->complained = mcp->open_error < 0;
    mcp->bridge.data = mcp;
    pump(mcp);
    mcp_end_if_done(mcp);
}

static void begin_open(struct mcp *mcp)
{
    mcp->root_state = MCP_ROOT_OPENING;
    mcp->open_work.data = mcp;
    if (uv_queue_work(&mcp->loop, &mcp->open_work, open_root, after_open) == 0) return;
    mcp->root_state = MCP_ROOT_CLOSED;
}

static int work(roost_root *root, roost_uv_req *req)
{
    struct mcp_call *call = req->data;
    (void)root;
    call->method->work(call);
    return 0;
}

static void after_work(roost_uv_req *req, int status)
{
    struct mcp_call *call = req->data;
    call->root = NULL;
    call->mcp->running_count--;
    if (call->remembered_id) {
        call->mcp->remembered_count++;
        if (call->remembered_id > call->mcp->remembered_last) call->mcp->remembered_last = call->remembered_id;
    }
    if (status < 0 && !call->cancelled)
        mcp_fail(call, MCP_INTERNAL_ERROR, "%s", req->detail[0] ? req->detail : roost_error_text(status));
    mcp_finish(call);
}

/* The root is open, or could not be opened. */
static void run_call(struct mcp_call *call)
{
    struct mcp *mcp = call->mcp;
    call->waiting = false;
    int error = mcp->open_error;
    if (call->cancelled) {
        (void)mcp_listen_end(call);
        mcp_finish(call);
        return;
    }
    if (mcp->ending && call->then && mcp_listen_end(call)) {
        mcp_finish(call);
        return;
    }
    if (error >= 0 && call->then) {
        call->then(call);
        return;
    }
    const char *detail = mcp->open_detail;
    if (error >= 0) {
        const char *client = call->client;
        if (mcp->agent)
            snprintf(call->state_name, sizeof call->state_name, "%.*s", (int)rst_utf8_cut(mcp->agent, strlen(mcp->agent), 159),
                     mcp->agent);
        else
            snprintf(call->state_name, sizeof call->state_name, "%s-%ld", client[0] ? client : "mcp", (long)getpid());
        call->remembered_count = mcp->remembered_count;
        call->remembered_last = mcp->remembered_last;
        call->root = mcp->bridge.root;
        call->req.data = call;
        error = roost_uv_work(&mcp->bridge, &call->req, work, after_work);
        if (error >= 0) {
            mcp->running_count++;
            return;
        }
        call->root = NULL;
        detail = roost_error_detail();
    }
    char text[2100];
    snprintf(text, sizeof text, "the shared memory cannot be used: %s", *detail ? detail : roost_error_text(error));
    if (call->method->work == mcp_tools_call)
        mcp_put_tool_error(call, text);
    else
        mcp_fail(call, MCP_INTERNAL_ERROR, "%s", text);
    (void)mcp_listen_end(call);
    mcp_finish(call);
}

/* A client that does not read what it asked for must not make us keep it all. */
static bool may_run(const struct mcp *mcp)
{
    if (mcp->writing || mcp->root_state == MCP_ROOT_OPENING) return false;
    return mcp->signalled || (mcp->running_count < MCP_RUNNING_COUNT_MAX && !mcp_stdio_full(mcp));
}

/* Whoever is next, and may. If the root could not be opened they all fail, and the next one tries again. */
static void pump(struct mcp *mcp)
{
    if (mcp->pumping) return; /* a call that ends at once: the loop below goes on */
    mcp->pumping = true;
    while (mcp->queue && may_run(mcp)) {
        struct mcp_call *call = mcp->queue;
        mcp->queue = call->behind;
        if (!mcp->queue) mcp->queue_last = NULL;
        call->writing = call->tool && call->tool->writes && !call->tool->long_work && !call->cancelled && mcp->open_error >= 0;
        mcp->writing = call->writing;
        run_call(call);
    }
    mcp->pumping = false;
}

void mcp_work_done(struct mcp *mcp, const struct mcp_call *call)
{
    if (call->writing) mcp->writing = false;
    pump(mcp);
}

void mcp_run_on(struct mcp *mcp) { pump(mcp); }

void mcp_when_open(struct mcp_call *call, void (*then)(struct mcp_call *call))
{
    call->then = then;
    mcp_start_work(call);
}

void mcp_start_work(struct mcp_call *call)
{
    struct mcp *mcp = call->mcp;
    call->waiting = true;
    if (mcp->queue_last)
        mcp->queue_last->behind = call;
    else
        mcp->queue = call;
    mcp->queue_last = call;
    if (mcp->root_state == MCP_ROOT_CLOSED) begin_open(mcp);
    pump(mcp);
}

/* ---- progress ---- */

bool mcp_progress(struct mcp_call *call, uint64_t done)
{
    rst_store_u64(&call->progress_done, done);
    if (call->progress_token) uv_async_send(&call->mcp->progress);
    return !rst_load_u32(&call->cancelled);
}

static void on_progress(uv_async_t *async)
{
    enum { QUIET_MS = 100 };
    struct mcp *mcp = async->data;
    for (struct mcp_call *call = mcp->calls; call; call = call->next) {
        uint64_t done = rst_load_u64(&call->progress_done);
        struct mcp_note note;
        if (!call->progress_token || done <= call->progress_told || call->cancelled || mcp_stdio_full(mcp)) continue;
        if (call->progress_told && uv_now(&mcp->loop) - call->progress_ms < QUIET_MS) continue;
        if (!mcp_note_begin(&note, "notifications/progress")) return;
        json_raw(&note.writer, "progressToken", call->progress_token->raw);
        json_unsigned(&note.writer, "progress", done);
        mcp_note_end(mcp, &note);
        call->progress_told = done;
        call->progress_ms = uv_now(&mcp->loop);
    }
}

/* ---- who remembers ---- */

void mcp_origin(const struct mcp_call *call, struct mcp_origin *ret_origin)
{
    const struct mcp *mcp = call->mcp;
    const char *client = call->client[0] ? call->client : "mcp";
    if (!ret_origin->agent.size) ret_origin->agent = roost_text(mcp->agent ? mcp->agent : client);
    if (!ret_origin->session.size) ret_origin->session = roost_text(mcp->session ? mcp->session : mcp->own_session);
    snprintf(ret_origin->process_text, sizeof ret_origin->process_text, "%s via roost-mcp[%ld]", client, (long)getpid());
    ret_origin->process = roost_text(ret_origin->process_text);
    ret_origin->tool = roost_text(call->tool ? call->tool->name : call->method->name);
}

/* ---- the end ---- */

static void on_grace_over(uv_timer_t *timer)
{
    struct mcp *mcp = timer->data;
    mcp->grace_over = true;
    mcp_end_if_done(mcp);
}

static void on_signal(uv_signal_t *handle, int number)
{
    enum { GRACE_MS = 500 };
    struct mcp *mcp = handle->data;
    (void)number;
    /* Soon: not when a long import is done, nor when a client that does not read has read everything. */
    if (!mcp->signalled) uv_timer_start(&mcp->grace, on_grace_over, GRACE_MS, 0);
    mcp->signalled = true;
    for (struct mcp_call *call = mcp->calls; call; call = call->next)
        if (call->tool && (call->tool->long_work || (call->waiting && mcp_stdio_full(mcp)))) rst_store_u32(&call->cancelled, 1);
    mcp_end(mcp, CLI_OK);
    pump(mcp);
}

static void close_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void close_rest(struct mcp *mcp)
{
    mcp->root_state = MCP_ROOT_ENDING;
    mcp_stdio_close(mcp);
    uv_walk(&mcp->loop, close_handle, NULL);
}

static void on_bridge_closed(roost_uv *bridge) { close_rest(bridge->data); }

void mcp_end_if_done(struct mcp *mcp)
{
    if (!mcp->ending || mcp->calls || mcp->root_state == MCP_ROOT_OPENING || mcp->root_state == MCP_ROOT_ENDING) return;
    if (!mcp->grace_over && !mcp_stdio_drained(mcp)) return;
    enum mcp_root_state state = mcp->root_state;
    mcp->root_state = MCP_ROOT_ENDING;
    mcp_subscriptions_close(mcp);
    if (state == MCP_ROOT_OPEN)
        roost_uv_close(&mcp->bridge, on_bridge_closed);
    else
        close_rest(mcp);
}

void mcp_end(struct mcp *mcp, int exit_code)
{
    if (mcp->ending) return;
    mcp->ending = true;
    mcp->exit_code = exit_code;
    mcp_stdio_stop_reading(mcp);
    mcp_listen_end_all(mcp);
    mcp_end_if_done(mcp);
}

/* ---- the command ---- */

enum { OPTION_TOOLS = 1, OPTION_READ_ONLY, OPTION_AGENT, OPTION_SESSION };
static const struct cli_option options[] = {
    {OPTION_TOOLS, 0, "tools", "SET", "basic (the default): memories and states; all: keys, streams and import too"},
    {OPTION_READ_ONLY, 0, "read-only", NULL, "only tools that change nothing"},
    {OPTION_AGENT, 'a', "agent", "NAME", "who remembers (default $ROOST_AGENT, else what the client calls itself)"},
    {OPTION_SESSION, 0, "session", "NAME", "in which session (default $ROOST_SESSION, else a new one for each process)"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};

static const char *named(const struct cli *cli, const char *given, const char *variable)
{
    const char *name = given ? given : getenv(variable);
    if (!name || !*name) return NULL;
    size_t size = strlen(name);
    if (size > ROOST_NAME_SIZE_MAX || !rst_utf8_valid(name, size, NULL))
        cli_usage(cli, "%s must be UTF-8 of at most %u bytes", given ? "a name" : variable, ROOST_NAME_SIZE_MAX);
    return name;
}

static void read_options(struct cli *cli, struct mcp *mcp)
{
    const char *agent = NULL, *session = NULL;
    for (int option; (option = cli_next(cli)) != 0;) {
        if (option == OPTION_TOOLS) {
            mcp->all_tools = strcmp(cli->value, "all") == 0;
            if (!mcp->all_tools && strcmp(cli->value, "basic") != 0)
                cli_usage(cli, "--tools is basic or all, not \"%s\"", cli->value);
        } else if (option == OPTION_READ_ONLY) {
            mcp->read_only = true;
        } else if (option == OPTION_AGENT) {
            agent = cli->value;
        } else {
            session = cli->value;
        }
    }
    cli_operand_count(cli, 0, 0);
    mcp->read_only = mcp->read_only || cli->observe;
    mcp->agent = named(cli, agent, "ROOST_AGENT");
    mcp->session = named(cli, session, "ROOST_SESSION");
}

/* One session a process: when it began, and its number, which tells two of one second apart. */
static void name_session(struct mcp *mcp)
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    size_t used = strftime(mcp->own_session, sizeof mcp->own_session, "%Y-%m-%dT%H:%M:%SZ", &parts);
    snprintf(mcp->own_session + used, sizeof mcp->own_session - used, "-%ld", (long)getpid());
}

/* A closed one would be given to the next file that is opened. */
static void fill_descriptors(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
}

static int start(struct mcp *mcp)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    mallopt(M_ARENA_MAX, 1); /* one process a client is the normal case: the pool's threads share one heap */
    int error = uv_loop_init(&mcp->loop);
    if (error) return error;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uv_signal_init(&mcp->loop, &mcp->signals[i]);
        mcp->signals[i].data = mcp;
        uv_signal_start(&mcp->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&mcp->signals[i]);
    }
    uv_timer_init(&mcp->loop, &mcp->grace);
    mcp->grace.data = mcp;
    uv_async_init(&mcp->loop, &mcp->progress, on_progress);
    mcp->progress.data = mcp;
    uv_unref((uv_handle_t *)&mcp->progress);
    error = mcp_stdio_start(mcp);
    if (!error) error = mcp_subscriptions_start(mcp);
    if (!error) begin_open(mcp);
    return error;
}

static int run(struct cli *cli)
{
    static struct mcp mcp;
    fill_descriptors();
    mcp.cli = cli;
    read_options(cli, &mcp);
    name_session(&mcp);
    int code = cli_find_or_default_root(cli);
    if (code) return code;
    cli_say("mcp: the shared memory is %s (%s)", cli->root_path, cli->root_found_by);
    int error = start(&mcp);
    if (error) {
        cli_say("mcp: stdin and stdout must be pipes, sockets, terminals or files: %s", uv_strerror(error));
        mcp.exit_code = CLI_FAILED;
        mcp.ending = true;
        close_rest(&mcp);
    }
    uv_run(&mcp.loop, UV_RUN_DEFAULT);
    while (mcp.calls) {
        struct mcp_call *call = mcp.calls;
        mcp.calls = call->next;
        mcp_free_call(call);
    }
    mcp_subscriptions_free(&mcp);
    mcp_stdio_free(&mcp);
    uv_loop_close(&mcp.loop);
    return mcp.exit_code;
}
const struct cli_command command_mcp = {
    "mcp",
    "",
    "Serve the shared memory to an AI client (Model Context Protocol)",
    "Started by the client, not by you: it reads requests from stdin and answers on stdout, one JSON object a line, and ends "
    "when\n"
    "stdin does. Any number of such processes share one root, live: each finds what the others remember, the moment they do.\n\n"
    "The root is, as for every command, -C DIR, $ROOST_ROOT, or the nearest .roost upwards; without any of them\n"
    "$XDG_DATA_HOME/roost (~/.local/share/roost). It is made if it is not there. stderr says which one it is.\n\n"
    "Both eras of the protocol: 2026-07-28 and, with `initialize`, 2025-11-25 and older.",
    options,
    run};
