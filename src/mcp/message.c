/* SPDX-License-Identifier: MIT
 * mcp/message.c: one line from the client to a call that was checked, and the reply back to a line.
 *
 * Ids are echoed as they were written: a number may be greater than a double can hold. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "mcp/mcp.h"

#define META_VERSION "io.modelcontextprotocol/protocolVersion"
#define META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"
#define META_CLIENT "io.modelcontextprotocol/clientInfo"
#define META_SERVER "io.modelcontextprotocol/serverInfo"

static bool same(struct roost_bytes bytes, const char *text) { return bytes_equal(bytes, roost_text(text)); }

/* ---- replies ---- */

static bool begin_reply(struct mcp_call *call)
{
    FILE *file = open_memstream(&call->text, &call->text_size);
    call->writer = json_writer(file);
    return file != NULL;
}

static void end_reply(struct mcp *mcp, struct json_writer *writer, char **text, const size_t *size)
{
    bool failed = ferror(writer->file) != 0;
    failed |= fclose(writer->file) != 0;
    writer->file = NULL;
    if (!failed && *text)
        mcp_send(mcp, *text, *size);
    else
        free(*text);
    *text = NULL;
}

static void put_error(struct json_writer *writer, struct roost_bytes id, int code, const char *text, const char *data)
{
    json_open(writer, NULL, '{');
    json_text(writer, "jsonrpc", "2.0");
    if (id.size) json_raw(writer, "id", id);
    json_open(writer, "error", '{');
    json_signed(writer, "code", code);
    json_text(writer, "message", text);
    if (data) json_raw(writer, "data", roost_text(data));
    json_close(writer, '}');
    json_close(writer, '}');
}

static void reply_error(struct mcp *mcp, struct roost_bytes id, enum mcp_error code, const char *text)
{
    char *line = NULL;
    size_t size = 0;
    struct json_writer writer = json_writer(open_memstream(&line, &size));
    if (!writer.file) return;
    /* JSON-RPC says null, MCP's schemas have no null: they leave it out, which older ones allow too. */
    put_error(&writer, id, code, text, NULL);
    end_reply(mcp, &writer, &line, &size);
}

void mcp_reply_error(struct mcp *mcp, enum mcp_error code, const char *text)
{
    reply_error(mcp, (struct roost_bytes){NULL, 0}, code, text);
}

static void put_result_end(struct mcp_call *call)
{
    struct json_writer *writer = &call->writer;
    if (call->modern) {
        json_text(writer, "resultType", "complete");
        if (call->method->cacheable) {
            json_unsigned(writer, "ttlMs", 0);
            json_text(writer, "cacheScope", "private");
        }
        json_open(writer, "_meta", '{');
        if (call->method->stays) json_raw(writer, "io.modelcontextprotocol/subscriptionId", call->id);
        json_open(writer, META_SERVER, '{');
        json_text(writer, "name", "roost");
        json_text(writer, "version", roost_version());
        json_close(writer, '}');
        json_close(writer, '}');
    }
    json_close(writer, '}');
    json_close(writer, '}');
}

void mcp_free_call(struct mcp_call *call)
{
    if (call->writer.file) fclose(call->writer.file);
    free(call->text);
    free(call->error_data);
    rst_json_free(&call->document);
    free(call->line);
    free(call);
}

void mcp_finish(struct mcp_call *call)
{
    struct mcp *mcp = call->mcp;
    for (struct mcp_call **at = &mcp->calls; *at; at = &(*at)->next) {
        if (*at != call) continue;
        *at = call->next;
        mcp->call_count--;
        break;
    }
    if (!call->cancelled && !call->error && call->writer.file) {
        put_result_end(call);
        end_reply(mcp, &call->writer, &call->text, &call->text_size);
    } else if (!call->cancelled) {
        if (call->writer.file) fclose(call->writer.file);
        free(call->text);
        call->text = NULL;
        if (!call->error) mcp_fail(call, MCP_INTERNAL_ERROR, "out of memory");
        if (begin_reply(call)) {
            put_error(&call->writer, call->id, call->error, call->error_text, call->error_data);
            end_reply(mcp, &call->writer, &call->text, &call->text_size);
        }
    }
    mcp_work_done(mcp, call);
    mcp_free_call(call);
    mcp_stdio_resume(mcp);
    mcp_end_if_done(mcp);
}

void mcp_put_words(char *ret_words, size_t size, const char *format, va_list arguments)
{
    vsnprintf(ret_words, size, format, arguments);
    size_t good = strlen(ret_words);
    if (!rst_utf8_valid(ret_words, good, &good)) ret_words[good] = '\0';
}

void mcp_fail(struct mcp_call *call, enum mcp_error code, const char *format, ...)
{
    va_list arguments;
    if (call->error) return;
    call->error = code;
    va_start(arguments, format);
    mcp_put_words(call->error_text, sizeof call->error_text, format, arguments);
    va_end(arguments);
}

static void set_data(struct mcp_call *call, void (*put)(struct json_writer *, void *), void *argument)
{
    size_t size;
    struct json_writer writer = json_writer(open_memstream(&call->error_data, &size));
    if (!writer.file) return;
    put(&writer, argument);
    if (fclose(writer.file) == 0) return;
    free(call->error_data);
    call->error_data = NULL;
}

static void put_uri(struct json_writer *writer, void *argument)
{
    json_open(writer, NULL, '{');
    json_bytes(writer, "uri", *(struct roost_bytes *)argument);
    json_close(writer, '}');
}

void mcp_fail_uri(struct mcp_call *call, enum mcp_error code, struct roost_bytes uri, const char *what)
{
    if (call->error) return;
    mcp_fail(call, code, "%s", what);
    set_data(call, put_uri, &uri);
}

/* ---- notifications ---- */

bool mcp_note_begin(struct mcp_note *note, const char *method)
{
    note->text = NULL;
    note->writer = json_writer(open_memstream(&note->text, &note->size));
    if (!note->writer.file) return false;
    json_open(&note->writer, NULL, '{');
    json_text(&note->writer, "jsonrpc", "2.0");
    json_text(&note->writer, "method", method);
    json_open(&note->writer, "params", '{');
    return true;
}

void mcp_note_end(struct mcp *mcp, struct mcp_note *note)
{
    json_close(&note->writer, '}');
    json_close(&note->writer, '}');
    end_reply(mcp, &note->writer, &note->text, &note->size);
}

/* ---- parameters ---- */

const struct rst_json_value *mcp_param_text(struct mcp_call *call, const char *name, bool required)
{
    const struct rst_json_value *value = rst_json_member(call->params, name);
    if (!value && !required) return NULL;
    if (value && value->kind == RST_JSON_STRING) return value;
    mcp_fail(call, MCP_INVALID_PARAMS, value ? "params.%s must be a string" : "params.%s is missing", name);
    return NULL;
}

bool mcp_no_cursor(struct mcp_call *call)
{
    if (!rst_json_member(call->params, "cursor")) return true;
    mcp_fail(call, MCP_INVALID_PARAMS, "this list has one page: there is no such cursor");
    return false;
}

/* ---- requests ---- */

static bool id_right(const struct rst_json_value *id)
{
    if (id->kind == RST_JSON_STRING) return true;
    if (id->kind != RST_JSON_NUMBER) return false;
    for (size_t i = 0; i < id->text.size; i++)
        if (strchr(".eE", ((const char *)id->text.data)[i])) return false;
    return true;
}

static void put_versions(struct json_writer *writer, void *requested)
{
    json_open(writer, NULL, '{');
    json_open(writer, "supported", '[');
    json_text(writer, NULL, MCP_MODERN);
    json_close(writer, ']');
    json_bytes(writer, "requested", *(struct roost_bytes *)requested);
    json_close(writer, '}');
}

/* "claude-code 1.2", for whoever looks at a memory later. */
static void note_client(struct mcp *mcp, const struct rst_json_value *info)
{
    const struct rst_json_value *name = rst_json_member(info, "name");
    if (!name || name->kind != RST_JSON_STRING || !name->text.size) return;
    size_t size = rst_utf8_cut(name->text.data, name->text.size, sizeof mcp->client - 1);
    if (memchr(name->text.data, 0, size)) return;
    memcpy(mcp->client, name->text.data, size);
    mcp->client[size] = '\0';
}

/* What a request of 2026-07-28 says about itself. False: it failed. */
static bool check_meta(struct mcp_call *call, const struct rst_json_value *meta)
{
    const struct rst_json_value *version = rst_json_member(meta, META_VERSION);
    if (version->kind != RST_JSON_STRING) {
        mcp_fail(call, MCP_INVALID_PARAMS, "params._meta[\"" META_VERSION "\"] must be a string");
    } else if (!same(version->text, MCP_MODERN)) {
        struct roost_bytes requested = version->text;
        mcp_fail(call, MCP_UNSUPPORTED_VERSION, "unsupported protocol version");
        set_data(call, put_versions, &requested);
    } else {
        const struct rst_json_value *capabilities = rst_json_member(meta, META_CAPABILITIES);
        if (!capabilities || capabilities->kind != RST_JSON_OBJECT)
            mcp_fail(call, MCP_INVALID_PARAMS, "params._meta[\"" META_CAPABILITIES "\"] must be there and be an object");
        note_client(call->mcp, rst_json_member(meta, META_CLIENT));
    }
    return !call->error;
}

/* Which era does it speak, and does that have the method? */
static bool check_era(struct mcp_call *call, struct roost_bytes name)
{
    const struct rst_json_value *meta = rst_json_member(call->params, "_meta");
    struct mcp *mcp = call->mcp;
    if (meta && meta->kind != RST_JSON_OBJECT) {
        mcp_fail(call, MCP_INVALID_PARAMS, "params._meta must be an object");
        return false;
    }
    call->progress_token = rst_json_member(meta, "progressToken");
    if (call->progress_token && !id_right(call->progress_token)) {
        mcp_fail(call, MCP_INVALID_PARAMS, "params._meta.progressToken is a string or a whole number");
        return false;
    }
    call->modern = rst_json_member(meta, META_VERSION) != NULL;
    if (call->modern && !check_meta(call, meta)) return false;
    const struct mcp_method *method = mcp_method_named(name);
    if (!method || (call->modern ? !method->modern : mcp->initialized && !method->legacy)) {
        mcp_fail(call, MCP_METHOD_NOT_FOUND, "there is no method \"%.*s\"", (int)(name.size < 100 ? name.size : 100),
                 (const char *)name.data);
        return false;
    }
    call->method = method;
    if (call->modern || mcp->initialized || same(name, "initialize") || same(name, "ping")) return true;
    mcp_fail(call, MCP_INVALID_PARAMS,
             "params._meta[\"" META_VERSION "\"] is missing (protocol " MCP_MODERN
             "), and no `initialize` came before (older protocols)");
    return false;
}

static void start(struct mcp_call *call)
{
    struct mcp *mcp = call->mcp;
    call->next = mcp->calls;
    mcp->calls = call;
    mcp->call_count++;
    memcpy(call->client, mcp->client, sizeof call->client);
    if (!begin_reply(call)) mcp_fail(call, MCP_INTERNAL_ERROR, "out of memory");
    if (!call->error) {
        json_open(&call->writer, NULL, '{');
        json_text(&call->writer, "jsonrpc", "2.0");
        json_raw(&call->writer, "id", call->id);
        json_open(&call->writer, "result", '{');
    }
    if (!call->error && call->method->work == mcp_tools_call) mcp_tools_find(call);
    if (!call->error && call->method->work) {
        mcp_start_work(call);
        return;
    }
    bool stays = !call->error && call->method->stays;
    if (!call->error) call->method->now(call);
    if (!stays) mcp_finish(call);
}

/* ---- notifications from the client ---- */

static void cancel(struct mcp *mcp, const struct rst_json_value *params)
{
    const struct rst_json_value *id = rst_json_member(params, "requestId");
    if (!id) return;
    for (struct mcp_call *call = mcp->calls; call; call = call->next) {
        if (!bytes_equal(call->id, id->raw)) continue;
        rst_store_u32(&call->cancelled, 1); /* no reply comes any more, whatever becomes of it */
        if (call->waiting) return;
        if (mcp_listen_end(call)) {
            mcp_finish(call);
            return;
        }
        int late = call->root ? roost_uv_cancel(&call->req) : 0;
        (void)late; /* too late to stop it: then it ends by itself */
        return;
    }
}

static void take_notification(struct mcp *mcp, struct roost_bytes method, const struct rst_json_value *params)
{
    if (same(method, "notifications/cancelled")) cancel(mcp, params);
    /* initialized, progress, roots/list_changed and whatever comes later: nothing to do */
}

/* ---- lines ---- */

/* A message that is no request: answered where it can be, and done. False: it is a request. */
static bool take_other(struct mcp_call *call, const struct rst_json_value *message)
{
    struct mcp *mcp = call->mcp;
    if (message->kind != RST_JSON_OBJECT) {
        mcp_reply_error(mcp, MCP_INVALID_REQUEST,
                        message->kind == RST_JSON_ARRAY ? "batches are not part of this protocol" : "a message is an object");
        return true;
    }
    const struct rst_json_value *id = rst_json_member(message, "id"), *method = rst_json_member(message, "method");
    const struct rst_json_value *jsonrpc = rst_json_member(message, "jsonrpc"), *params = rst_json_member(message, "params");
    /* We asked nothing. An error without an id is the answer to one of ours: two that answer each other would never end. */
    if (!method && (rst_json_member(message, "result") || rst_json_member(message, "error"))) return true;
    if (id && !id_right(id)) {
        mcp_reply_error(mcp, MCP_INVALID_REQUEST, "an id is a string or a whole number");
        return true;
    }
    const char *wrong = NULL;
    if (!jsonrpc || jsonrpc->kind != RST_JSON_STRING || !same(jsonrpc->text, "2.0"))
        wrong = "\"jsonrpc\" must be \"2.0\"";
    else if (!method || method->kind != RST_JSON_STRING)
        wrong = "\"method\" must be a string";
    if (wrong && !id) {
        mcp_reply_error(mcp, MCP_INVALID_REQUEST, wrong);
        return true;
    }
    if (!id) {
        take_notification(mcp, method->text, params);
        return true;
    }
    call->id = id->raw;
    if (wrong) mcp_fail(call, MCP_INVALID_REQUEST, "%s", wrong);
    if (!wrong && params && params->kind != RST_JSON_OBJECT) mcp_fail(call, MCP_INVALID_PARAMS, "\"params\" must be an object");
    for (const struct mcp_call *other = mcp->calls; other; other = other->next)
        if (bytes_equal(other->id, call->id)) mcp_fail(call, MCP_INVALID_REQUEST, "a request with this id is under way");
    call->params = params;
    return false;
}

/* The id as it is written, if it comes before everything that may be long; else nothing. */
static struct roost_bytes id_in(const char *line, size_t size)
{
    static const char name[] = "\"id\":";
    struct roost_bytes none = {NULL, 0};
    const char *end = line + (size < 1024 ? size : 1024), *params = memmem(line, (size_t)(end - line), "\"params\"", 8);
    if (params) end = params;
    const char *at = memmem(line, (size_t)(end - line), name, sizeof name - 1);
    if (!at) return none;
    for (at += sizeof name - 1; at < end && *at == ' ';) at++;
    const char *last = at;
    if (at < end && *at == '"')
        for (last++; last < end && *last != '"';) last += *last == '\\' ? 2 : 1;
    else
        while (last < end && strchr("-0123456789", *last)) last++;
    if (at < end && *at == '"') last++;
    struct rst_json_document document;
    struct roost_bytes id = {at, last > end ? 0 : (size_t)(last - at)};
    bool right = id.size && rst_json_parse(at, id.size, &document) && id_right(document.root);
    if (id.size) rst_json_free(&document);
    return right ? id : none;
}

void mcp_refuse_line(struct mcp *mcp, const char *begin, size_t size)
{
    reply_error(mcp, id_in(begin, size), MCP_INVALID_REQUEST,
                "a message of more than 16 MiB is refused; store a summary, and where the rest is");
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r", line[i]) || !line[i]) return false;
    return true;
}

void mcp_take_line(struct mcp *mcp, char *line, size_t size)
{
    struct mcp_call *call = is_blank(line, size) ? NULL : calloc(1, sizeof *call);
    if (!call) {
        free(line);
        return;
    }
    call->mcp = mcp;
    call->line = line;
    if (!rst_json_parse(line, size, &call->document)) {
        mcp_reply_error(mcp, MCP_PARSE_ERROR, call->document.error);
        mcp_free_call(call);
        return;
    }
    if (take_other(call, call->document.root)) {
        mcp_free_call(call);
        return;
    }
    if (!call->error) (void)check_era(call, rst_json_member(call->document.root, "method")->text);
    if (!call->error && mcp->ending) mcp_fail(call, MCP_INTERNAL_ERROR, "the server is ending");
    if (!call->error && same(rst_json_member(call->document.root, "method")->text, "initialize"))
        note_client(mcp, rst_json_member(call->params, "clientInfo"));
    start(call);
}
