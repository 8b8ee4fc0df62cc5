/* SPDX-License-Identifier: MIT
 * uv/bridge.c: a bridge's life, and the completions of its writes (layer 9). */
#include <stdlib.h>

#include "uv/internal.h"

/* All bridges of the process: a root's completions come to one. */
static uv_once_t bridges_once = UV_ONCE_INIT;
static uv_mutex_t bridges_lock;
static struct bridge *bridges;
static uint64_t serial;

static void make_lock(void)
{
    if (uv_mutex_init(&bridges_lock)) abort();
}

static int enter(struct bridge *bridge)
{
    uv_once(&bridges_once, make_lock);
    uv_mutex_lock(&bridges_lock);
    bool taken = false;
    for (const struct bridge *other = bridges; other; other = other->next) taken |= other->uv->root == bridge->uv->root;
    if (!taken) {
        bridge->serial = ++serial;
        bridge->next = bridges;
        bridges = bridge;
    }
    uv_mutex_unlock(&bridges_lock);
    return taken ? ROOST_EBUSY : 0;
}

static void leave(struct bridge *bridge)
{
    uv_mutex_lock(&bridges_lock);
    for (struct bridge **at = &bridges; *at; at = &(*at)->next) {
        if (*at != bridge) continue;
        *at = bridge->next;
        break;
    }
    uv_mutex_unlock(&bridges_lock);
}

/* ---- the loop's turns ---- */

static void on_timer(uv_timer_t *timer);

/* When the timer is needed next. */
static void plan(struct bridge *bridge)
{
    if (bridge->shut) return;
    bridge->timer_ns = bridge->write_count ? bridge->next_deadline_ns : UINT64_MAX;
    if (bridge->timer_ns == UINT64_MAX) {
        uv_timer_stop(&bridge->timer);
        return;
    }
    uint64_t now = uv_hrtime(), rest = bridge->timer_ns > now ? bridge->timer_ns - now : 0;
    uv_timer_start(&bridge->timer, on_timer, rest / 1000000 + 1, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct bridge *bridge = timer->data;
    request_expire(bridge, uv_hrtime());
    plan(bridge);
}

/* Not a timer of 0 ms: one that its own callback starts again may come again before the loop has looked at anything else. */
static void on_soon(uv_idle_t *soon)
{
    struct bridge *bridge = soon->data;
    request_deliver(bridge);
    if (!bridge->finished.first) uv_idle_stop(soon);
    bridge_next_step(bridge);
}

void bridge_soon(struct bridge *bridge) { uv_idle_start(&bridge->soon, on_soon); }

void bridge_count(struct bridge *bridge, int change)
{
    bridge->write_count += (uint64_t)(int64_t)change;
    if (bridge->write_count == 1 && change > 0) uv_ref((uv_handle_t *)&bridge->poll);
    if (change > 0 && bridge->next_deadline_ns < bridge->timer_ns) plan(bridge);
    if (!bridge->write_count) {
        uv_unref((uv_handle_t *)&bridge->poll);
        bridge->next_deadline_ns = UINT64_MAX;
    }
}

/* roost_poll does not work any more (a fork's child): nothing that is under way will be answered. */
static void fail_all(struct bridge *bridge, int err)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct request *request = bridge->slots[slot];
        bridge->slots[slot] = NULL;
        bridge->busy[slot] = false;
        if (request) request_finish(bridge, request, err);
    }
    bridge->busy_count = 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    enum { AT_ONCE = 16 };
    struct bridge *bridge = poll->data;
    struct roost_completion landed[AT_ONCE];
    uint64_t began = uv_hrtime();
    int got;
    (void)status;
    (void)events;
    do { /* not to the end, if that takes long: the descriptor stays readable */
        for (int i = 0; i < AT_ONCE; i++) landed[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
        got = roost_poll(bridge->uv->root, landed, AT_ONCE, 0);
        for (int i = 0; i < got; i++) request_landed(bridge, &landed[i]);
        request_pump(bridge);
    } while (got > 0 && uv_hrtime() - began < TURN_NS);
    if (got < 0) fail_all(bridge, got);
    if (bridge->closing) bridge_next_step(bridge);
}

/* ---- life ---- */

int roost_uv_init(uv_loop_t *loop, roost_uv *uv, roost_root *root)
{
    struct bridge *bridge = bridge_of(uv);
    int file = -1;
    uv->loop = loop;
    uv->root = root;
    memset(bridge, 0, sizeof *bridge);
    bridge->uv = uv;
    bridge->next_deadline_ns = bridge->timer_ns = UINT64_MAX;
    int err = enter(bridge);
    if (err)
        return roost_error_set(err, "this root handle has a bridge already, or one that is closing: open the root once more");
    err = roost_poll_fd(root, &file);
    bridge->observes = err == ROOST_EROFS; /* nothing will ever be submitted */
    if (bridge->observes) err = 0;
    if (!err) err = roost_batch_open(&bridge->batch);
    if (!err && !bridge->observes) {
        err = uv_poll_init(loop, &bridge->poll, file);
        if (err) roost_error_set(err, uv_strerror(err));
    }
    if (err) {
        roost_batch_free(bridge->batch);
        leave(bridge);
        return err;
    }
    uv_timer_init(loop, &bridge->timer);
    uv_unref((uv_handle_t *)&bridge->timer);
    uv_idle_init(loop, &bridge->soon);
    uv_unref((uv_handle_t *)&bridge->soon); /* writes that are FINISHED keep the loop alive by themselves */
    bridge->timer.data = bridge->soon.data = bridge->poll.data = bridge;
    bridge->handle_count = bridge->observes ? 2 : 3;
    if (!bridge->observes) {
        uv_poll_start(&bridge->poll, UV_READABLE, on_readable);
        uv_unref((uv_handle_t *)&bridge->poll);
    }
    roost_ref(root);
    return 0;
}

static void detach(uv_work_t *work)
{
    struct bridge *bridge = work->data;
    (void)!roost_close(bridge->uv->root);
}

static void after_detach(uv_work_t *work, int status)
{
    struct bridge *bridge = work->data;
    (void)status;
    if (bridge->close_cb) bridge->close_cb(bridge->uv);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct bridge *bridge = handle->data;
    if (--bridge->handle_count) return;
    roost_batch_free(bridge->batch);
    leave(bridge);
    bridge->detach.data = bridge;
    if (uv_queue_work(bridge->uv->loop, &bridge->detach, detach, after_detach) == 0) return;
    detach(&bridge->detach);
    after_detach(&bridge->detach, 0);
}

void bridge_next_step(struct bridge *bridge)
{
    if (!bridge->closing || bridge->shut) return;
    if (!bridge->draining) {
        bridge->draining = true;
        request_stop_all(bridge);
    }
    if (bridge->write_count || bridge->pool.first || bridge->watches) return;
    bridge->shut = true;
    uv_close((uv_handle_t *)&bridge->timer, on_handle_closed);
    uv_close((uv_handle_t *)&bridge->soon, on_handle_closed);
    if (!bridge->observes) uv_close((uv_handle_t *)&bridge->poll, on_handle_closed);
}

void roost_uv_close(roost_uv *uv, roost_uv_close_cb cb)
{
    struct bridge *bridge = bridge_of(uv);
    if (bridge->closing) return;
    bridge->closing = true;
    bridge->close_cb = cb;
    for (struct watch *watch = bridge->watches; watch; watch = watch->next)
        if (!watch->closing) roost_uv_watch_close(watch->uv, NULL);
    uv_ref((uv_handle_t *)&bridge->soon); /* the loop lives until this is done */
    bridge_soon(bridge);
}

int roost_uv_is_closing(const roost_uv *uv) { return bridge_of(uv)->closing; }
