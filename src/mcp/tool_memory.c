/* SPDX-License-Identifier: MIT
 * mcp/tool_memory.c: the tools recall, remember, supersede, get, recent, forget. */
#include <string.h>

#include "mcp/mcp.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 200 };

/* ---- reading ---- */

struct reading {
    struct mcp_budget budget;
    uint64_t limit;
    struct roost_bytes agent, session;
};

static bool read_common(struct mcp_call *call, struct reading *reading)
{
    uint64_t size = MCP_TEXT_SIZE;
    reading->limit = LIMIT_DEFAULT;
    bool good = mcp_argument_number(call, "limit", LIMIT_MAX, &reading->limit) &&
                mcp_argument_number(call, "max_bytes", MCP_TEXT_SIZE_MAX, &size) &&
                mcp_argument_text(call, "agent", false, &reading->agent) &&
                mcp_argument_text(call, "session", false, &reading->session);
    reading->budget = (struct mcp_budget){(size_t)size, false};
    if (good && !reading->limit) mcp_tool_fail(call, "\"limit\" is at least 1");
    return !call->tool_failed;
}

/* Hits until there are no more or the budget is used up. */
static void put_hits(struct mcp_call *call, const char *name, const struct roost_query *query, struct reading *reading)
{
    roost_hits *hits = NULL;
    struct roost_hit hit = ROOST_HIT_INIT;
    int got = roost_search(call->root, query, &hits);
    if (got < 0) {
        mcp_tool_fail_error(call, got, "the search failed");
        return;
    }
    bool none = roost_hits_count(hits) == 0;
    json_open(&call->writer, name, '[');
    while (!reading->budget.cut && ((got = roost_hits_next(hits, &hit)) > 0 || got == ROOST_ECORRUPT)) {
        if (got == ROOST_ECORRUPT) continue; /* one damaged memory does not spoil the rest; `roost check` names it */
        json_open(&call->writer, NULL, '{');
        mcp_put_hit(&call->writer, &hit, &reading->budget);
        json_close(&call->writer, '}');
    }
    json_close(&call->writer, ']');
    if (none && query->text.size) json_text(&call->writer, "hint", "no memory has these words: try others, or the tool recent");
    roost_hits_close(hits);
    if (got < 0 && got != ROOST_ECORRUPT) mcp_tool_fail_error(call, got, "reading the hits failed");
}

void mcp_tool_recall(struct mcp_call *call)
{
    struct reading reading = {.limit = 0};
    struct roost_query query = ROOST_QUERY_INIT;
    if (!read_common(call, &reading) || !mcp_argument_text(call, "query", false, &query.text)) return;
    if (!query.text.size && !reading.agent.size && !reading.session.size) {
        mcp_tool_fail(call, "recall needs a \"query\", or an \"agent\" or a \"session\" whose memories it shall list");
        return;
    }
    query.limit = (uint32_t)reading.limit;
    query.agent = reading.agent;
    query.session = reading.session;
    put_hits(call, "hits", &query, &reading);
}

static void put_newest(struct mcp_call *call, roost_id before, struct reading *reading)
{
    roost_iter *iter = NULL;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    json_open(&call->writer, "memories", '[');
    int got = before == 1 ? 0 : roost_scan(call->root, before ? before - 1 : 0, ROOST_SCAN_REVERSE, &iter);
    for (uint64_t left = reading->limit; iter && left && !reading->budget.cut;) {
        got = roost_iter_memory(iter, &memory);
        if (got == ROOST_ECORRUPT && memory.id) continue;
        if (got <= 0) break;
        json_open(&call->writer, NULL, '{');
        mcp_put_memory(&call->writer, &memory, &reading->budget);
        json_close(&call->writer, '}');
        left--;
    }
    json_close(&call->writer, ']');
    roost_iter_close(iter);
    if (got < 0) mcp_tool_fail_error(call, got, "reading the memories failed");
}

void mcp_tool_recent(struct mcp_call *call)
{
    struct reading reading = {.limit = 0};
    struct roost_bytes before = {NULL, 0};
    roost_id first = 0;
    if (!read_common(call, &reading) || !mcp_argument_text(call, "before", false, &before)) return;
    if (before.size && !mcp_argument_id(call, before, &first)) return;
    if (!reading.agent.size && !reading.session.size) {
        put_newest(call, first, &reading);
        return;
    }
    if (first) {
        mcp_tool_fail(call, "\"before\" goes without \"agent\" and \"session\"; ask for a greater \"limit\" instead");
        return;
    }
    struct roost_query query = ROOST_QUERY_INIT;
    query.limit = (uint32_t)reading.limit;
    query.agent = reading.agent;
    query.session = reading.session;
    put_hits(call, "memories", &query, &reading);
}

static void put_missing(struct mcp_call *call, const roost_id *missing, size_t count)
{
    json_open(&call->writer, "missing", '[');
    for (size_t i = 0; i < count; i++) json_id(&call->writer, NULL, missing[i]);
    json_close(&call->writer, ']');
}

/* The ids of the argument, each checked. */
static bool read_ids(struct mcp_call *call, roost_id ids[LIMIT_MAX], size_t *ret_count)
{
    struct roost_bytes *list = NULL;
    size_t count = 0;
    if (!mcp_argument_list(call, "ids", &list, &count)) return false;
    if (!count) mcp_tool_fail(call, "\"ids\" names no memory");
    if (count > LIMIT_MAX) mcp_tool_fail(call, "at most %d ids at a time", (int)LIMIT_MAX);
    for (size_t i = 0; i < count && !call->tool_failed; i++) (void)mcp_argument_id(call, list[i], &ids[i]);
    *ret_count = count;
    return !call->tool_failed;
}

void mcp_tool_get(struct mcp_call *call)
{
    roost_id ids[LIMIT_MAX], missing[LIMIT_MAX];
    size_t count, missing_count = 0;
    uint64_t offset = 0, size = MCP_TEXT_SIZE;
    if (!read_ids(call, ids, &count) || !mcp_argument_number(call, "offset", ROOST_RECORD_SIZE_MAX, &offset) ||
        !mcp_argument_number(call, "max_bytes", MCP_TEXT_SIZE_MAX, &size))
        return;
    if (offset && count > 1) {
        mcp_tool_fail(call, "\"offset\" goes with one id");
        return;
    }
    struct mcp_budget budget = {(size_t)size, false};
    json_open(&call->writer, "memories", '[');
    for (size_t i = 0; i < count && !call->tool_failed; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        int error = roost_get(call->root, ids[i], &memory);
        if (error == ROOST_ENOENT) missing[missing_count++] = ids[i];
        if (error < 0 && error != ROOST_ENOENT) mcp_tool_fail_error(call, error, "reading failed");
        if (error < 0) continue;
        size_t skipped =
            rst_utf8_cut(memory.text.data, memory.text.size, offset < memory.text.size ? (size_t)offset : memory.text.size);
        memory.text = (struct roost_bytes){(const char *)memory.text.data + skipped, memory.text.size - skipped};
        json_open(&call->writer, NULL, '{');
        mcp_put_memory(&call->writer, &memory, &budget);
        json_close(&call->writer, '}');
        roost_unpin(call->root, &memory.pin);
    }
    json_close(&call->writer, ']');
    put_missing(call, missing, missing_count);
}

/* ---- writing ---- */

/* A failed write that may still happen must not be repeated blindly. */
static void write_failed(struct mcp_call *call, int error, const struct roost_receipt *receipt, const char *what)
{
    if (cli_unsure(error, receipt))
        mcp_tool_fail(call, "%s: not confirmed in time, and it may still happen: recall it before you try again", what);
    else
        mcp_tool_fail_error(call, error, what);
}

static bool read_memory(struct mcp_call *call, struct roost_memory *memory, struct mcp_origin *origin)
{
    struct roost_bytes *tags = NULL;
    if (!mcp_argument_text(call, "text", true, &memory->text) || !mcp_argument_list(call, "tags", &tags, &memory->tag_count) ||
        !mcp_argument_text(call, "agent", false, &origin->agent) || !mcp_argument_text(call, "session", false, &origin->session))
        return false;
    memory->tags = tags;
    memory->tag_count = cli_drop_repeated(tags, memory->tag_count);
    mcp_origin(call, origin);
    memory->agent = origin->agent;
    memory->session = origin->session;
    memory->process = origin->process;
    memory->tool = origin->tool;
    return true;
}

void mcp_tool_remember(struct mcp_call *call)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct mcp_origin origin = {.agent = {NULL, 0}};
    struct roost_receipt receipt = {0, 0, 0, 0};
    roost_id id = 0;
    if (!read_memory(call, &memory, &origin) || !mcp_argument_text(call, "key", false, &memory.key)) return;
    int error = roost_append(call->root, &memory, NULL, &id, &receipt);
    if (error < 0) {
        write_failed(call, error, &receipt, "nothing was remembered");
        return;
    }
    call->remembered_id = id;
    json_id(&call->writer, "id", id);
}

/* In one commit: the old one goes and the new one comes. What it does not name it inherits. */
static int replace(struct mcp_call *call, roost_id id, struct roost_memory *memory, uint64_t *ret_id,
                   struct roost_receipt *receipt)
{
    struct roost_memory old = ROOST_MEMORY_INIT;
    roost_batch *batch = NULL;
    uint64_t ids[2] = {0, 0};
    int error = roost_get(call->root, id, &old);
    if (error < 0) return error;
    if (!rst_json_member(call->arguments.object, "tags")) {
        memory->tags = old.tags;
        memory->tag_count = old.tag_count;
    }
    memory->key = old.key;
    error = roost_batch_open(&batch);
    /* The old one first: it is the one that has the key. */
    if (!error) error = roost_batch_forget(batch, id);
    if (!error) error = roost_batch_append(batch, memory);
    if (!error) error = roost_batch_commit(call->root, batch, NULL, ids, receipt);
    roost_batch_free(batch);
    roost_unpin(call->root, &old.pin);
    *ret_id = ids[1];
    return error;
}

void mcp_tool_supersede(struct mcp_call *call)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct mcp_origin origin = {.agent = {NULL, 0}};
    struct roost_receipt receipt = {0, 0, 0, 0};
    struct roost_bytes text = {NULL, 0};
    roost_id old = 0;
    uint64_t id = 0;
    if (!mcp_argument_text(call, "id", true, &text) || !mcp_argument_id(call, text, &old) || !read_memory(call, &memory, &origin))
        return;
    int error = replace(call, old, &memory, &id, &receipt);
    if (error == ROOST_ENOENT)
        mcp_tool_fail(call, "there is no memory %llu (any more): nothing was stored. Recall what took its place",
                      (unsigned long long)old);
    else if (error < 0)
        write_failed(call, error, &receipt, "nothing was changed");
    if (error < 0) return;
    call->remembered_id = id;
    json_id(&call->writer, "id", id);
    json_id(&call->writer, "superseded", old);
}

void mcp_tool_forget(struct mcp_call *call)
{
    roost_id ids[LIMIT_MAX], missing[LIMIT_MAX];
    size_t count, missing_count = 0;
    if (!read_ids(call, ids, &count)) return;
    json_open(&call->writer, "forgotten", '[');
    for (size_t i = 0; i < count && !call->tool_failed; i++) {
        struct roost_receipt receipt = {0, 0, 0, 0};
        int error = roost_forget(call->root, ids[i], NULL, &receipt);
        if (error == ROOST_ENOENT)
            missing[missing_count++] = ids[i];
        else if (error < 0)
            write_failed(call, error, &receipt, "forgetting failed");
        else
            json_id(&call->writer, NULL, ids[i]);
    }
    json_close(&call->writer, ']');
    put_missing(call, missing, missing_count);
}
