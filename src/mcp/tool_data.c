/* SPDX-License-Identifier: MIT
 * mcp/tool_data.c: the tools for keys and streams, and import. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mcp/mcp.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 1000 };

/* ---- keys ---- */

static bool read_version(struct mcp_call *call, struct roost_write *write)
{
    uint64_t version = 0;
    const struct rst_json_value *given = rst_json_member(call->arguments.object, "if_version");
    if (!mcp_argument_number(call, "if_version", UINT64_MAX, &version)) return false;
    if (given && given->kind != RST_JSON_NULL) write->flags |= ROOST_WRITE_IF_VERSION;
    write->expected = version;
    return true;
}

void mcp_tool_key_get(struct mcp_call *call)
{
    struct roost_bytes key = {NULL, 0};
    struct roost_item item = ROOST_ITEM_INIT;
    if (!mcp_argument_text(call, "key", true, &key)) return;
    int error = roost_kv_get(call->root, key, &item);
    if (error < 0 && error != ROOST_ENOENT) mcp_tool_fail_error(call, error, "reading the key failed");
    json_bool(&call->writer, "found", !error);
    if (error) return;
    if (item.value.size > MCP_TEXT_SIZE_MAX)
        mcp_tool_fail(call, "the value has %zu bytes; at most %d can be shown here", item.value.size, (int)MCP_TEXT_SIZE_MAX);
    else
        json_bytes(&call->writer, "value", item.value);
    json_id(&call->writer, "version", item.version);
    roost_unpin(call->root, &item.pin);
}

void mcp_tool_key_set(struct mcp_call *call)
{
    struct roost_bytes key = {NULL, 0}, value = {NULL, 0};
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint64_t seconds = 0;
    if (!mcp_argument_text(call, "key", true, &key) || !mcp_argument_text(call, "value", false, &value) ||
        !read_version(call, &write) || !mcp_argument_number(call, "expires_in", UINT32_MAX, &seconds))
        return;
    if (!rst_json_member(call->arguments.object, "value")) {
        mcp_tool_fail(call, "the argument \"value\" is missing");
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) write.expires_ns = ((int64_t)now.tv_sec + (int64_t)seconds) * 1000000000 + now.tv_nsec;
    int error = roost_kv_set(call->root, key, value, &write, &receipt);
    if (error < 0)
        mcp_tool_fail_error(call, error, "the key was not set");
    else
        json_id(&call->writer, "version", receipt.lsn);
}

void mcp_tool_key_delete(struct mcp_call *call)
{
    struct roost_bytes key = {NULL, 0};
    struct roost_write write = ROOST_WRITE_INIT;
    if (!mcp_argument_text(call, "key", true, &key) || !read_version(call, &write)) return;
    int error = roost_kv_delete(call->root, key, &write, NULL);
    if (error < 0 && error != ROOST_ENOENT)
        mcp_tool_fail_error(call, error, "the key was not deleted");
    else
        json_bool(&call->writer, "deleted", !error);
}

static bool after(struct roost_bytes key, struct roost_bytes last)
{
    size_t size = key.size < last.size ? key.size : last.size;
    int order = size ? memcmp(key.data, last.data, size) : 0;
    return order ? order > 0 : key.size > last.size;
}

/* As `text`, for values of any bytes; false when the budget is used up. */
static bool put_value(struct mcp_call *call, const char *name, struct roost_bytes value, struct mcp_budget *budget)
{
    budget->cut = value.size > budget->left;
    if (!budget->cut) {
        budget->left -= value.size;
        json_bytes(&call->writer, name, value);
    }
    return !budget->cut;
}

static bool read_budget(struct mcp_call *call, uint64_t *ret_limit, struct mcp_budget *ret_budget)
{
    uint64_t size = MCP_TEXT_SIZE;
    *ret_limit = LIMIT_DEFAULT;
    if (!mcp_argument_number(call, "limit", LIMIT_MAX, ret_limit) ||
        !mcp_argument_number(call, "max_bytes", MCP_TEXT_SIZE_MAX, &size))
        return false;
    *ret_budget = (struct mcp_budget){(size_t)size, false};
    return true;
}

void mcp_tool_key_list(struct mcp_call *call)
{
    struct roost_bytes prefix = {NULL, 0}, last = {NULL, 0};
    struct mcp_budget budget;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    uint64_t limit, count = 0;
    bool more = false;
    if (!mcp_argument_text(call, "prefix", false, &prefix) || !mcp_argument_text(call, "after", false, &last) ||
        !read_budget(call, &limit, &budget))
        return;
    int got = roost_kv_scan(call->root, prefix, &iter);
    json_open(&call->writer, "keys", '[');
    while (got >= 0 && !more && ((got = roost_iter_item(iter, &item)) > 0 || (got == ROOST_ECORRUPT && item.key.size))) {
        if (got < 0 || (last.size && !after(item.key, last))) continue;
        more = count == limit || (count && item.value.size > budget.left);
        if (more) break;
        json_open(&call->writer, NULL, '{');
        json_bytes(&call->writer, "key", item.key);
        if (!put_value(call, "value", item.value, &budget)) json_unsigned(&call->writer, "value_size", item.value.size);
        json_id(&call->writer, "version", item.version);
        json_close(&call->writer, '}');
        count++;
    }
    json_close(&call->writer, ']');
    json_bool(&call->writer, "more", more);
    roost_iter_close(iter);
    if (got < 0) mcp_tool_fail_error(call, got, "reading the keys failed");
}

/* ---- streams ---- */

void mcp_tool_stream_append(struct mcp_call *call)
{
    struct roost_bytes name = {NULL, 0}, entry = {NULL, 0};
    uint64_t index = 0;
    if (!mcp_argument_text(call, "stream", true, &name) || !mcp_argument_text(call, "entry", true, &entry)) return;
    int error = roost_stream_append(call->root, name, entry, NULL, &index, NULL);
    if (error < 0)
        mcp_tool_fail_error(call, error, "the entry was not added");
    else
        json_unsigned(&call->writer, "index", index);
}

/* "from": an index, or how many before the end. */
static bool read_from(struct mcp_call *call, uint64_t count, uint64_t *ret_from)
{
    const struct rst_json_value *given = rst_json_member(call->arguments.object, "from");
    struct roost_bytes text = given ? given->text : (struct roost_bytes){NULL, 0};
    bool negative = given && text.size > 1 && *(const char *)text.data == '-';
    *ret_from = 0;
    if (!negative) return mcp_argument_number(call, "from", UINT64_MAX, ret_from);
    uint64_t back;
    if (!rst_parse_number((const char *)text.data + 1, text.size - 1, &back)) {
        mcp_tool_fail(call, "\"from\" must be a whole number");
        return false;
    }
    *ret_from = back < count ? count - back : 0;
    return true;
}

void mcp_tool_stream_read(struct mcp_call *call)
{
    struct roost_bytes name = {NULL, 0};
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    struct mcp_budget budget;
    roost_iter *iter = NULL;
    uint64_t limit, from = 0;
    if (!mcp_argument_text(call, "stream", true, &name) || !read_budget(call, &limit, &budget)) return;
    int got = roost_stream_info(call->root, name, &info);
    if (got == ROOST_ENOENT) got = 0; /* one that nobody wrote to is empty */
    if (got >= 0 && !read_from(call, info.entry_count, &from)) return;
    if (got >= 0 && info.entry_count) got = roost_stream_scan(call->root, name, from, &iter);
    json_open(&call->writer, "entries", '[');
    for (uint64_t count = 0; iter && count < limit; count++) {
        got = roost_iter_item(iter, &item);
        if (got <= 0 || (count && item.value.size > budget.left)) break;
        json_open(&call->writer, NULL, '{');
        json_unsigned(&call->writer, "index", item.index);
        if (!put_value(call, "entry", item.value, &budget)) json_unsigned(&call->writer, "entry_size", item.value.size);
        mcp_put_time(&call->writer, "time", item.time_ns);
        json_close(&call->writer, '}');
        from = item.index + 1;
    }
    json_close(&call->writer, ']');
    json_unsigned(&call->writer, "next", from);
    json_unsigned(&call->writer, "count", info.entry_count);
    roost_iter_close(iter);
    if (got < 0) mcp_tool_fail_error(call, got, "reading the stream failed");
}

/* ---- import ---- */

static bool go_on(void *user, uint64_t line_count) { return mcp_progress(user, line_count); }

void mcp_tool_import(struct mcp_call *call)
{
    struct roost_bytes path = {NULL, 0};
    struct feed_options options = {.kind = FEED_IMPORT, .continue_on_error = true, .go_on = go_on, .user = call};
    struct feed_result result;
    struct cli cli = {.root = call->root};
    char name[4096];
    if (!mcp_argument_text(call, "file", true, &path)) return;
    if (path.size >= sizeof name || *(const char *)path.data != '/') {
        mcp_tool_fail(call, "\"file\" must be an absolute path");
        return;
    }
    memcpy(name, path.data, path.size);
    name[path.size] = '\0';
    int file = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        mcp_tool_fail(call, "%s could not be opened: %s", name, strerror(errno));
        return;
    }
    int code = feed_lines(&cli, file, &options, &result);
    close(file);
    if (code && !result.refused_count)
        mcp_tool_fail(call, "the import stopped at line %llu: %s", (unsigned long long)result.stopped_at_line,
                      roost_error_detail());
    json_unsigned(&call->writer, "lines", result.line_count);
    json_unsigned(&call->writer, "memories", result.memory_count);
    json_unsigned(&call->writer, "refused", result.refused_count);
}
