/* SPDX-License-Identifier: MIT
 * fuzz/mcp.c: messages to the MCP server (src/mcp), on a simulated machine. Some are the input's own bytes, most are right but for values
 * that the input chooses. The server's process, its loop and its stdin and stdout are stood in for below, so that everything happens at
 * once and in order: each message is answered, and each answer is checked, before the next one comes. */
#include <stdio.h>

#include "machine.h"
#include "mcp/mcp.h"

static struct machine machine;
static roost_root *root;
static struct mcp server;
static size_t sent_count;

/* ---- in the place of server.c and stdio.c ---- */

static void finish(struct mcp_call *call)
{
    call->root = NULL;
    mcp_finish(call);
}

void mcp_start_work(struct mcp_call *call)
{
    call->root = root;
    snprintf(call->client, sizeof call->client, "%s", server.client);
    snprintf(call->state_name, sizeof call->state_name, "fuzz");
    call->method->work(call);
    finish(call);
}

void mcp_when_open(struct mcp_call *call, void (*then)(struct mcp_call *call)) { then(call); }
void mcp_work_done(struct mcp *mcp, const struct mcp_call *call)
{
    (void)mcp;
    (void)call;
}
bool mcp_progress(struct mcp_call *call, uint64_t done) { return !call->cancelled && done < 100; }
void mcp_origin(const struct mcp_call *call, struct mcp_origin *ret_origin)
{
    if (!ret_origin->agent.size) ret_origin->agent = roost_text("fuzz");
    ret_origin->process = roost_text("fuzz");
    ret_origin->tool = roost_text(call->tool->name);
}
void mcp_end(struct mcp *mcp, int exit_code)
{
    (void)mcp;
    (void)exit_code;
}
void mcp_end_if_done(struct mcp *mcp) { (void)mcp; }
bool mcp_stdio_full(const struct mcp *mcp) { return sent_count > 10000 && mcp->cli; }
bool mcp_stdio_drained(const struct mcp *mcp) { return mcp != NULL; }
void mcp_stdio_resume(struct mcp *mcp) { (void)mcp; }
void mcp_stdio_stop_reading(struct mcp *mcp) { (void)mcp; }
void mcp_stdio_close(struct mcp *mcp) { (void)mcp; }
void mcp_stdio_free(struct mcp *mcp) { (void)mcp; }
int mcp_stdio_start(struct mcp *mcp) { return mcp ? 0 : -1; }

/* Whatever came in, what goes out is JSON-RPC on one line. */
void mcp_send(struct mcp *mcp, char *text, size_t size)
{
    struct rst_json_document document;
    (void)mcp;
    RST_CHECK(!memchr(text, '\n', size) && !memchr(text, '\r', size));
    RST_CHECK(rst_json_parse(text, size, &document) && document.root->kind == RST_JSON_OBJECT);
    RST_CHECK(rst_json_member(document.root, "jsonrpc"));
    bool result = rst_json_member(document.root, "result"), error = rst_json_member(document.root, "error");
    RST_CHECK(result + error + (rst_json_member(document.root, "method") != NULL) == 1);
    RST_CHECK(!result || rst_json_member(document.root, "id"));
    rst_json_free(&document);
    free(text);
    sent_count++;
}

/* ---- in the place of the bridge ---- */

int roost_uv_work(roost_uv *bridge, roost_uv_req *req, roost_uv_work_fn work, roost_uv_cb cb)
{
    (void)bridge;
    cb(req, work(root, req));
    return 0;
}
int roost_uv_cancel(roost_uv_req *req) { return req ? ROOST_EBUSY : 0; }

static struct {
    roost_uv_watch *handle;
    roost_uv_event_cb event;
    roost_watch *watch;
} watching;

int roost_uv_watch_start(roost_uv *bridge, roost_uv_watch *watch, const struct roost_topic *topics, size_t count,
                         roost_uv_event_cb cb)
{
    (void)bridge;
    watching.handle = watch;
    watching.event = cb;
    return roost_watch_open(root, topics, count, &watching.watch);
}
void roost_uv_watch_unref(roost_uv_watch *watch) { (void)watch; }
void roost_uv_watch_close(roost_uv_watch *watch, roost_uv_watch_close_cb cb)
{
    (void)watch;
    (void)cb;
    roost_watch_close(watching.watch);
    watching.watch = NULL;
}

static void tell_changes(void)
{
    struct roost_event event = ROOST_EVENT_INIT;
    while (watching.watch && roost_watch_wait(watching.watch, 0, &event) == 1) watching.event(watching.handle, 0, &event);
}

/* ---- messages ---- */

#define META \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}}"
#define CALL(tool, arguments) \
    "{\"jsonrpc\":\"2.0\",\"id\":#,\"method\":\"tools/call\",\"params\":{" META ",\"name\":\"" tool \
    "\",\"arguments\":{" arguments "}}}"
#define ASK(method, params) "{\"jsonrpc\":\"2.0\",\"id\":#,\"method\":\"" method "\",\"params\":{" META params "}}"
#define OLD(method, params) "{\"jsonrpc\":\"2.0\",\"id\":#,\"method\":\"" method "\",\"params\":{" params "}}"

/* #: a number. $: a string of the input, in quotes. @: any bytes of the input. */
static const char *const messages[] = {
    CALL("remember", "\"text\":$,\"tags\":[$,$],\"key\":$"),
    CALL("remember", "\"text\":$,\"agent\":$,\"session\":$"),
    CALL("recall", "\"query\":$,\"limit\":#,\"max_bytes\":#"),
    CALL("recall", "\"agent\":$,\"session\":$"),
    CALL("supersede", "\"id\":\"#\",\"text\":$"),
    CALL("get", "\"ids\":[\"#\",\"#\"]"),
    CALL("get", "\"ids\":\"#\",\"offset\":#,\"max_bytes\":#"),
    CALL("recent", "\"limit\":#,\"before\":\"#\""),
    CALL("forget", "\"ids\":[\"#\"]"),
    CALL("set_state", "\"status\":$,\"name\":$,\"extra\":{$:$,\"n\":#}"),
    CALL("list_states", "\"name\":$"),
    CALL("list_states", ""),
    CALL("key_set", "\"key\":$,\"value\":$,\"if_version\":\"#\",\"expires_in\":#"),
    CALL("key_get", "\"key\":$"),
    CALL("key_delete", "\"key\":$"),
    CALL("key_list", "\"prefix\":$,\"after\":$,\"limit\":#,\"max_bytes\":#"),
    CALL("stream_append", "\"stream\":$,\"entry\":$"),
    CALL("stream_read", "\"stream\":$,\"from\":-#,\"limit\":#"),
    CALL("import", "\"file\":$"),
    CALL("remember", "@"),
    ASK("resources/list", ",\"cursor\":$"),
    ASK("resources/list", ""),
    ASK("resources/read", ",\"uri\":\"roost://memory/#\""),
    ASK("resources/read", ",\"uri\":$"),
    ASK("resources/templates/list", ""),
    ASK("prompts/list", ""),
    ASK("prompts/get", ",\"name\":\"recall\",\"arguments\":{\"topic\":$}"),
    ASK("prompts/get", ",\"name\":\"handover\",\"arguments\":{\"session\":$}"),
    ASK("completion/complete",
        ",\"ref\":{\"type\":\"ref/prompt\",\"name\":\"recall\"},\"argument\":{\"name\":\"topic\",\"value\":$}"),
    ASK("completion/complete",
        ",\"ref\":{\"type\":\"ref/resource\",\"uri\":\"roost://state/{name}\"},\"argument\":{\"name\":$,\"value\":$}"),
    ASK("subscriptions/listen",
        ",\"notifications\":{\"resourcesListChanged\":true,\"resourceSubscriptions\":[$,\"roost://states\"]}"),
    ASK("server/discover", ",@"),
    OLD("initialize", "\"protocolVersion\":$,\"capabilities\":{},\"clientInfo\":{\"name\":$}"),
    OLD("resources/subscribe", "\"uri\":\"roost://memories\""),
    OLD("resources/subscribe", "\"uri\":$"),
    OLD("resources/unsubscribe", "\"uri\":\"roost://memories\""),
    OLD("tools/list", ""),
    OLD("ping", "@"),
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":#}}",
    "{\"jsonrpc\":\"2.0\",\"id\":@,\"method\":\"tools/list\"}",
    "@",
};

static void put_string(struct fuzz *fuzz, struct rst_buffer *line)
{
    static const char *const known[] = {"a",  "roost://state/a", "roost://memories", "text", "+a -b", "agent:a", "\\u0000",
                                        "m5", "%41%zz"};
    uint8_t choice = fuzz_u8(fuzz);
    rst_buffer_add_u8(line, '"');
    if (choice < 128) {
        const char *text = known[choice % RST_COUNT_OF(known)];
        rst_buffer_add(line, text, strlen(text));
    } else {
        struct roost_bytes bytes = fuzz_take(fuzz, choice % 32);
        rst_buffer_add(line, bytes.data, bytes.size);
    }
    rst_buffer_add_u8(line, '"');
}

static void put_message(struct fuzz *fuzz, struct rst_buffer *line)
{
    char number[32];
    struct roost_bytes bytes;
    for (const char *at = messages[fuzz_u8(fuzz) % RST_COUNT_OF(messages)]; *at; at++) {
        switch (*at) {
        case '#':
            snprintf(number, sizeof number, "%llu", (unsigned long long)fuzz_number(fuzz));
            rst_buffer_add(line, number, strlen(number));
            break;
        case '$':
            put_string(fuzz, line);
            break;
        case '@':
            bytes = fuzz_take(fuzz, fuzz_u8(fuzz));
            rst_buffer_add(line, bytes.data, bytes.size);
            break;
        default:
            rst_buffer_add_u8(line, (uint8_t)*at);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    uint8_t shape = fuzz_u8(&fuzz);
    machine_start(&machine, MACHINE_EMPTY);
    RST_CHECK(machine_open(&machine, 0) == 0);
    root = machine_use(&machine, 0);
    memset(&server, 0, sizeof server);
    RST_CHECK(uv_loop_init(&server.loop) == 0 && mcp_subscriptions_start(&server) == 0);
    server.all_tools = !(shape & 1);
    server.read_only = (shape & 6) == 6;
    for (unsigned count = 0; fuzz.left && count < 40; count++) {
        struct rst_buffer line = {0};
        put_message(&fuzz, &line);
        char *text = malloc(line.size + 1);
        RST_CHECK(text);
        if (line.size) memcpy(text, line.data, line.size);
        mcp_take_line(&server, text, line.size);
        tell_changes();
        rst_buffer_free(&line);
    }
    mcp_listen_end_all(&server);
    RST_CHECK(!server.calls);
    mcp_subscriptions_close(&server);
    uv_walk(&server.loop, (uv_walk_cb)(void (*)(void))uv_close, NULL);
    uv_run(&server.loop, UV_RUN_DEFAULT);
    mcp_subscriptions_free(&server);
    RST_CHECK(uv_loop_close(&server.loop) == 0);
    RST_CHECK(roost_check(root, NULL, NULL) == 0);
    machine_end(&machine);
    return 0;
}
