/* SPDX-License-Identifier: MIT
 * uv/watch.c: watches on a loop (layer 9). */
#include "uv/internal.h"

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    uint64_t began = uv_hrtime();
    struct roost_event event = ROOST_EVENT_INIT;
    int found;
    (void)status;
    (void)events;
    do { /* not to the end, if that takes long: the descriptor stays readable */
        found = roost_watch_wait(watch->watch, 0, &event);
        if (found < 0) uv_poll_stop(poll);
        if (found) watch->cb(watch->uv, found < 0 ? found : 0, found < 0 ? NULL : &event);
    } while (found > 0 && !watch->closing && uv_hrtime() - began < TURN_NS);
}

int roost_uv_watch_start(roost_uv *uv, roost_uv_watch *uv_watch, const struct roost_topic *topics, size_t count,
                         roost_uv_event_cb cb)
{
    struct bridge *bridge = bridge_of(uv);
    struct watch *watch = watch_of(uv_watch);
    int file;
    if (bridge->closing) return roost_error_set(ROOST_ECANCELED, "the bridge is closing");
    if (!cb) return roost_error_set(ROOST_EINVAL, "no callback was given");
    for (const struct watch *other = bridge->watches; other; other = other->next)
        if (other == watch) return roost_error_set(ROOST_EINVAL, "this watch has been started, and its struct is not yours yet");
    memset(watch, 0, sizeof *watch);
    watch->uv = uv_watch;
    watch->cb = cb;
    uv_watch->bridge = uv;
    int err = roost_watch_open(uv->root, topics, count, &watch->watch);
    if (err) return err;
    err = roost_watch_fd(watch->watch, &file);
    if (!err) {
        err = uv_poll_init(uv->loop, &watch->poll, file);
        if (err) roost_error_set(err, uv_strerror(err));
    }
    if (err) {
        roost_watch_close(watch->watch);
        return err;
    }
    watch->poll.data = watch;
    uv_poll_start(&watch->poll, UV_READABLE, on_readable);
    watch->next = bridge->watches;
    bridge->watches = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    struct bridge *bridge = bridge_of(watch->uv->bridge);
    for (struct watch **at = &bridge->watches; *at; at = &(*at)->next) {
        if (*at != watch) continue;
        *at = watch->next;
        break;
    }
    roost_watch_close(watch->watch);
    if (watch->close_cb) watch->close_cb(watch->uv);
    bridge_next_step(bridge);
}

void roost_uv_watch_close(roost_uv_watch *uv_watch, roost_uv_watch_close_cb cb)
{
    struct watch *watch = watch_of(uv_watch);
    if (cb) watch->close_cb = cb; /* also of one that its bridge is closing */
    if (watch->closing) return;
    watch->closing = true;
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}

void roost_uv_watch_ref(roost_uv_watch *watch) { uv_ref((uv_handle_t *)&watch_of(watch)->poll); }
void roost_uv_watch_unref(roost_uv_watch *watch) { uv_unref((uv_handle_t *)&watch_of(watch)->poll); }
