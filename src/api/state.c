/* SPDX-License-Identifier: MIT
 * api/state.c: agents' states and watches (layer 8). */
#include <stdlib.h>

#include "api/internal.h"
#include "engine/watch.h"
#include "format/state.h"

static int check_state(const struct roost_state *state)
{
    if (!state->name.size)
        return rst_fail(ROOST_EINVAL, "the state's name is empty (the root's own state is kept by the writer)");
    int err = rst_check_name(state->name, "the agent's name");
    if (!err && state->status.size) err = rst_check_name(state->status, "the status");
    for (size_t i = 0; !err && i < state->extra_count; i++) {
        err = rst_check_name(state->extra[i].name, "the name of an extra value");
        if (!err) err = rst_check_utf8(state->extra[i].value, "an extra value");
    }
    return err;
}

int roost_state_publish(roost_root *root, const struct roost_state *given, const struct roost_write *given_write)
{
    int err = rst_api_enter(root);
    if (err) return err;
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    if (!given) return rst_fail(ROOST_EINVAL, "no state was given");
    err = RST_API_COPY(roost_state, &state, given);
    if (!err) err = RST_API_COPY(roost_write, &write, given_write);
    if (!err) err = check_state(&state);
    return err ? err
               : rst_state_publish(root->engine, &state, write.level ? write.level : (uint32_t)ROOST_PROCESS, write.wait_ms);
}

int roost_state_release(roost_root *root, struct roost_bytes name)
{
    int err = rst_api_enter(root);
    return err ? err : rst_state_release(root->engine, name);
}

/* The root's own: from the snapshot, so that it is always true. */
static int root_state(struct rst_engine *engine, struct roost_state *ret_state)
{
    const struct rst_region *region = rst_engine_region(engine);
    struct rst_snapshot snapshot;
    if (!rst_region_read_snapshot(region, &snapshot)) return rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
    struct roost_state state = ROOST_STATE_INIT;
    state.status = roost_text(rst_region_broken(region) ? "read-only" : "ready");
    state.alive = ROOST_ALIVE_YES;
    state.active_memory_count = snapshot.memory_count;
    state.last_updated_id = snapshot.last_id;
    state.version = snapshot.visible_lsn;
    RST_API_GIVE(ret_state, state);
    return 0;
}

int rst_fill_state(struct rst_engine *engine, struct roost_bytes name, struct roost_state *ret_state, void **ret_memory)
{
    uint8_t *bytes = malloc(ROOST_STATE_SIZE_MAX + name.size + 1);
    if (!bytes) return rst_fail(ROOST_ENOMEM, "no memory for a state");
    size_t size;
    uint32_t alive;
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_extra *extra = NULL;
    int err = rst_state_read(engine, name, bytes, &size, &alive);
    if (!err) err = rst_state_decode(rst_bytes(bytes, size), &state, &extra);
    if (err) {
        free(bytes);
        return err;
    }
    if (state.alive != ROOST_ALIVE_NONE) state.alive = alive;
    memcpy(bytes + ROOST_STATE_SIZE_MAX, name.data, name.size);
    state.name = rst_bytes(bytes + ROOST_STATE_SIZE_MAX, name.size);
    ret_memory[0] = bytes;
    ret_memory[1] = extra;
    RST_API_GIVE(ret_state, state);
    return 0;
}

int roost_state_get(roost_root *root, struct roost_bytes name, struct roost_state *ret_state)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!ret_state) return rst_fail(ROOST_EINVAL, "no place for the state was given");
    err = RST_API_SIZED(roost_state, ret_state);
    if (err) return err;
    if (!name.size) return root_state(root->engine, ret_state);
    err = rst_check_name(name, "the agent's name");
    void *memory[2];
    if (!err) err = rst_fill_state(root->engine, name, ret_state, memory);
    if (err) return err;
    ret_state->pin.word[0] = memory[0];
    ret_state->pin.word[1] = memory[1];
    return 0;
}

/* ---- watches ---- */

struct roost_watch {
    struct rst_engine *engine;
    struct rst_watch *watch;
};

int roost_watch_open(roost_root *root, const struct roost_topic *topics, size_t count, roost_watch **ret_watch)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!topics || !ret_watch) return rst_fail(ROOST_EINVAL, "no topics, or no place for the watch, were given");
    roost_watch *watch = calloc(1, sizeof *watch);
    if (!watch) return rst_fail(ROOST_ENOMEM, "no memory for a watch");
    watch->engine = root->engine;
    err = rst_watch_open(root->engine, topics, count, &watch->watch);
    if (err)
        free(watch);
    else
        *ret_watch = watch;
    return err;
}

int roost_watch_wait(roost_watch *watch, uint32_t wait_ms, struct roost_event *ret_event)
{
    rst_fail_clear();
    int err = rst_engine_check(watch->engine);
    if (!err && !ret_event) err = rst_fail(ROOST_EINVAL, "no place for the event was given");
    if (!err) err = RST_API_SIZED(roost_event, ret_event);
    return err ? err : rst_watch_wait(watch->watch, wait_ms, ret_event);
}

int roost_watch_fd(roost_watch *watch, int *ret_fd)
{
    rst_fail_clear();
    int err = rst_engine_check(watch->engine);
    if (!err && !ret_fd) err = rst_fail(ROOST_EINVAL, "no place for the descriptor was given");
    return err ? err : rst_watch_file(watch->watch, ret_fd);
}

void roost_watch_close(roost_watch *watch)
{
    if (!watch) return;
    rst_watch_close(watch->watch);
    free(watch);
}
