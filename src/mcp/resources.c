/* SPDX-License-Identifier: MIT
 * mcp/resources.c: what there is to read by URI. */
#include <stdlib.h>
#include <string.h>

#include "mcp/mcp.h"

enum { PAGE_COUNT = 50, RECENT_COUNT = 20, NAME_SIZE = 80 };

/* ---- URIs ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_name(const char *text, size_t size, struct mcp_uri *uri)
{
    uri->name_size = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            int high = size - i > 2 ? hex_digit(text[i + 1]) : -1, low = size - i > 2 ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (!c || uri->name_size == ROOST_NAME_SIZE_MAX) return false;
        uri->name[uri->name_size++] = c;
    }
    uri->name[uri->name_size] = '\0';
    return uri->name_size && rst_utf8_valid(uri->name, uri->name_size, NULL);
}

enum mcp_uri_kind mcp_uri_parse(struct roost_bytes text, struct mcp_uri *ret_uri)
{
    static const struct {
        const char *begin;
        enum mcp_uri_kind kind;
    } kinds[] = {{"roost://memory/", MCP_URI_MEMORY},
                 {"roost://state/", MCP_URI_STATE},
                 {"roost://memories", MCP_URI_MEMORIES},
                 {"roost://states", MCP_URI_STATES}};
    memset(ret_uri, 0, sizeof *ret_uri);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t size = strlen(kinds[i].begin);
        if (text.size < size || memcmp(text.data, kinds[i].begin, size) != 0) continue;
        const char *rest = (const char *)text.data + size;
        size_t rest_size = text.size - size;
        bool right = kinds[i].kind == MCP_URI_MEMORY  ? rst_parse_number(rest, rest_size, &ret_uri->id) && ret_uri->id
                     : kinds[i].kind == MCP_URI_STATE ? decode_name(rest, rest_size, ret_uri)
                                                      : rest_size == 0;
        if (right) ret_uri->kind = kinds[i].kind;
        return ret_uri->kind;
    }
    return MCP_URI_NONE;
}

void mcp_uri_state(struct roost_bytes name, char *ret_text)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t used = (size_t)snprintf(ret_text, MCP_URI_SIZE_MAX, "roost://state/");
    for (size_t i = 0; i < name.size && used + 4 < MCP_URI_SIZE_MAX; i++) {
        unsigned char c = ((const unsigned char *)name.data)[i];
        if (c && strchr(plain, c)) {
            ret_text[used++] = (char)c;
            continue;
        }
        ret_text[used++] = '%';
        ret_text[used++] = digits[c >> 4];
        ret_text[used++] = digits[c & 15];
    }
    ret_text[used] = '\0';
}

/* ---- list ---- */

static void put_entry(struct json_writer *writer, const char *uri, const char *name, const char *about, const char *type)
{
    json_open(writer, NULL, '{');
    json_text(writer, "uri", uri);
    json_text(writer, "name", name);
    if (about) json_text(writer, "description", about);
    json_text(writer, "mimeType", type);
    json_close(writer, '}');
}

static int list_states(struct mcp_call *call)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    int got = roost_state_scan(call->root, &iter);
    while (got >= 0 && ((got = roost_iter_state(iter, &state)) > 0 || (got == ROOST_ECORRUPT && state.name.size))) {
        char uri[MCP_URI_SIZE_MAX], name[ROOST_NAME_SIZE_MAX + 16];
        if (got < 0 || !state.name.size) continue;
        mcp_uri_state(state.name, uri);
        snprintf(name, sizeof name, "state of %.*s", (int)state.name.size, (const char *)state.name.data);
        put_entry(&call->writer, uri, name, NULL, "application/json");
    }
    roost_iter_close(iter);
    return got;
}

/* The text's first line, or its beginning. */
static void name_memory(const struct roost_memory *memory, char ret_name[NAME_SIZE + 8])
{
    const char *text = memory->text.data;
    size_t size = rst_utf8_cut(text, memory->text.size, NAME_SIZE);
    const char *line = memchr(text, '\n', size);
    bool cut = line || size < memory->text.size;
    if (line) size = (size_t)(line - text);
    if (memchr(text, 0, size)) size = strlen(text);
    snprintf(ret_name, NAME_SIZE + 8, "%.*s%s", (int)size, text, cut ? "..." : "");
}

/* A page of memories, the newest first. *ret_next: where the next page begins; 0: there is none. */
static int list_memories(struct mcp_call *call, roost_id first, roost_id *ret_next)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter = NULL;
    size_t count = 0;
    *ret_next = 0;
    int got = roost_scan(call->root, first, ROOST_SCAN_REVERSE, &iter);
    while (got >= 0 && ((got = roost_iter_memory(iter, &memory)) > 0 || (got == ROOST_ECORRUPT && memory.id))) {
        char uri[64], name[NAME_SIZE + 8];
        if (got < 0) {
            got = 0;
            continue;
        }
        if (count++ == PAGE_COUNT) {
            *ret_next = memory.id;
            break;
        }
        snprintf(uri, sizeof uri, "roost://memory/%llu", (unsigned long long)memory.id);
        name_memory(&memory, name);
        put_entry(&call->writer, uri, name, NULL, "text/plain");
    }
    roost_iter_close(iter);
    return got;
}

static void fail_reading(struct mcp_call *call)
{
    mcp_fail(call, MCP_INTERNAL_ERROR, "reading the shared memory failed: %s", roost_error_detail());
}

void mcp_resources_list(struct mcp_call *call)
{
    const struct rst_json_value *cursor = mcp_param_text(call, "cursor", false);
    roost_id first = 0, next = 0;
    char text[32];
    if (call->error) return;
    if (cursor && !(cursor->text.size > 1 && *(const char *)cursor->text.data == 'm' &&
                    rst_parse_number((const char *)cursor->text.data + 1, cursor->text.size - 1, &first) && first)) {
        mcp_fail(call, MCP_INVALID_PARAMS, "there is no such cursor");
        return;
    }
    json_open(&call->writer, "resources", '[');
    int error = 0;
    if (!cursor) {
        put_entry(&call->writer, "roost://states", "states", "What every agent is doing now. Subscribe to hear of each change.",
                  "application/json");
        put_entry(&call->writer, "roost://memories", "memories", "The newest memories. Subscribe to hear of each new one.",
                  "application/json");
        error = list_states(call);
    }
    if (error >= 0) error = list_memories(call, first, &next);
    json_close(&call->writer, ']');
    snprintf(text, sizeof text, "m%llu", (unsigned long long)next);
    if (next) json_text(&call->writer, "nextCursor", text);
    if (error < 0) fail_reading(call);
}

static void put_template(struct json_writer *writer, const char *uri, const char *name, const char *about, const char *type)
{
    json_open(writer, NULL, '{');
    json_text(writer, "uriTemplate", uri);
    json_text(writer, "name", name);
    json_text(writer, "description", about);
    json_text(writer, "mimeType", type);
    json_close(writer, '}');
}

void mcp_resources_templates(struct mcp_call *call)
{
    if (!mcp_no_cursor(call)) return;
    json_open(&call->writer, "resourceTemplates", '[');
    put_template(&call->writer, "roost://memory/{id}", "memory", "One memory's text, by its id", "text/plain");
    put_template(&call->writer, "roost://state/{name}", "state", "What one agent is doing, and whether it is still there",
                 "application/json");
    json_close(&call->writer, ']');
}

/* ---- read ---- */

static int read_memory(struct mcp_call *call, roost_id id, FILE *file)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    int error = roost_get(call->root, id, &memory);
    if (error < 0) return error;
    size_t size = rst_utf8_cut(memory.text.data, memory.text.size, MCP_TEXT_SIZE_MAX);
    fwrite(memory.text.data, 1, size, file);
    if (size < memory.text.size)
        fprintf(file, "\n[cut here: %zu bytes in all; the tool get reads on with \"offset\"]", memory.text.size);
    roost_unpin(call->root, &memory.pin);
    return 0;
}

/* What a tool says, as the resource's text. */
static int read_by_tool(struct mcp_call *call, void (*run)(struct mcp_call *call), FILE *file)
{
    struct json_writer result = call->writer;
    call->writer = json_writer(file);
    json_open(&call->writer, NULL, '{');
    run(call);
    json_close(&call->writer, '}');
    call->writer = result;
    return call->tool_failed ? ROOST_EIO : 0;
}

static int read_state(struct mcp_call *call, const struct mcp_uri *uri, FILE *file)
{
    struct roost_state state = ROOST_STATE_INIT;
    struct json_writer writer = json_writer(file);
    int error = roost_state_get(call->root, (struct roost_bytes){uri->name, uri->name_size}, &state);
    if (error < 0) return error;
    json_open(&writer, NULL, '{');
    mcp_put_state(&writer, &state);
    json_close(&writer, '}');
    roost_unpin(call->root, &state.pin);
    return 0;
}

static int read_one(struct mcp_call *call, const struct mcp_uri *uri, FILE *file)
{
    switch (uri->kind) {
    case MCP_URI_MEMORY:
        return read_memory(call, uri->id, file);
    case MCP_URI_STATE:
        return read_state(call, uri, file);
    case MCP_URI_MEMORIES:
        return read_by_tool(call, mcp_tool_recent, file);
    case MCP_URI_STATES:
        return read_by_tool(call, mcp_tool_list_states, file);
    case MCP_URI_NONE:
        break;
    }
    return ROOST_ENOENT;
}

void mcp_resources_read(struct mcp_call *call)
{
    const struct rst_json_value *given = mcp_param_text(call, "uri", true);
    struct mcp_uri uri;
    char *text = NULL;
    size_t size = 0;
    if (!given) return;
    mcp_uri_parse(given->text, &uri);
    FILE *file = open_memstream(&text, &size);
    if (!file) {
        mcp_fail(call, MCP_INTERNAL_ERROR, "out of memory");
        return;
    }
    int error = read_one(call, &uri, file);
    if (fclose(file) != 0 && !error) error = ROOST_ENOMEM;
    if (error == ROOST_ENOENT)
        mcp_fail_uri(call, call->modern ? MCP_INVALID_PARAMS : MCP_NO_SUCH_RESOURCE, given->text, "there is no such resource");
    else if (error < 0)
        fail_reading(call);
    if (!error) {
        json_open(&call->writer, "contents", '[');
        json_open(&call->writer, NULL, '{');
        json_bytes(&call->writer, "uri", given->text);
        json_text(&call->writer, "mimeType", uri.kind == MCP_URI_MEMORY ? "text/plain" : "application/json");
        json_bytes(&call->writer, "text", (struct roost_bytes){text, size});
        json_close(&call->writer, '}');
        json_close(&call->writer, ']');
    }
    free(text);
}
