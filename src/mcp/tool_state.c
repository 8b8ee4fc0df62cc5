/* SPDX-License-Identifier: MIT
 * mcp/tool_state.c: the tools set_state and list_states. */
#include <string.h>
#include <time.h>

#include "mcp/mcp.h"

enum { EXTRA_COUNT_MAX = 64 };

static size_t read_extra(struct mcp_call *call, struct roost_extra *ret_extra)
{
    const struct rst_json_value *value = rst_json_member(call->arguments.object, "extra");
    size_t count = 0;
    if (!value || value->kind == RST_JSON_NULL) return 0;
    if (value->kind != RST_JSON_OBJECT) mcp_tool_fail(call, "\"extra\" must be an object of strings");
    for (const struct rst_json_value *item = value->first; item && !call->tool_failed; item = item->next) {
        if (count == EXTRA_COUNT_MAX)
            mcp_tool_fail(call, "at most %d entries in \"extra\"", (int)EXTRA_COUNT_MAX);
        else if (item->kind == RST_JSON_STRING)
            ret_extra[count++] = (struct roost_extra){item->name, item->text};
        else /* a number, true or whatever: as it is written */
            ret_extra[count++] = (struct roost_extra){item->name, item->raw};
    }
    return count;
}

void mcp_tool_set_state(struct mcp_call *call)
{
    struct roost_state state = ROOST_STATE_INIT, now = ROOST_STATE_INIT;
    struct roost_extra extra[EXTRA_COUNT_MAX];
    state.name = roost_text(call->state_name);
    if (!mcp_argument_text(call, "status", true, &state.status) || !mcp_argument_text(call, "name", false, &state.name)) return;
    state.extra_count = read_extra(call, extra);
    state.extra = extra;
    state.active_memory_count = call->remembered_count;
    state.last_updated_id = call->remembered_last;
    if (call->tool_failed) return;
    int error = roost_state_publish(call->root, &state, NULL);
    if (!error) error = roost_state_get(call->root, state.name, &now);
    if (error < 0) {
        mcp_tool_fail_error(call, error,
                            error == ROOST_EBUSY ? "this name is another agent's; give a \"name\" of your own"
                                                 : "the state was not set");
        return;
    }
    json_bytes(&call->writer, "name", state.name);
    json_id(&call->writer, "version", now.version);
    roost_unpin(call->root, &now.pin);
}

static int put_one(struct mcp_call *call, struct roost_bytes name)
{
    struct roost_state state = ROOST_STATE_INIT;
    int error = roost_state_get(call->root, name, &state);
    if (error < 0) return error == ROOST_ENOENT ? 0 : error;
    json_open(&call->writer, NULL, '{');
    mcp_put_state(&call->writer, &state);
    json_close(&call->writer, '}');
    roost_unpin(call->root, &state.pin);
    return 0;
}

/* Each session leaves a state when it ends: what was long ago nobody wants to read each time. */
static bool is_old(const struct roost_state *state)
{
    enum { HOUR = 3600 };
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return state->alive == ROOST_ALIVE_NO && state->time_ns / 1000000000 < (int64_t)now.tv_sec - HOUR;
}

static int put_all(struct mcp_call *call, bool old_too)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    int got = roost_state_scan(call->root, &iter);
    while (got >= 0 && ((got = roost_iter_state(iter, &state)) > 0 || (got == ROOST_ECORRUPT && state.name.size))) {
        if (got < 0 || !state.name.size) continue; /* without a name: the root's own */
        if (!old_too && is_old(&state)) continue;
        json_open(&call->writer, NULL, '{');
        mcp_put_state(&call->writer, &state);
        json_close(&call->writer, '}');
    }
    roost_iter_close(iter);
    return got;
}

void mcp_tool_list_states(struct mcp_call *call)
{
    struct roost_bytes name = {NULL, 0};
    const struct rst_json_value *all = rst_json_member(call->arguments.object, "all");
    if (!mcp_argument_text(call, "name", false, &name)) return;
    json_open(&call->writer, "states", '[');
    int error = name.size ? put_one(call, name) : put_all(call, all && all->kind == RST_JSON_TRUE);
    json_close(&call->writer, ']');
    if (error < 0) mcp_tool_fail_error(call, error, "reading the states failed");
}
