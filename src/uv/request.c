/* SPDX-License-Identifier: MIT
 * uv/request.c: one request's way (layer 9): queue, lane or pool, callback. */
#include <stddef.h>
#include <stdio.h>

#include "uv/internal.h"

/* Thousands that wait have left the caches by the time of their turn: the next one comes back while its predecessor is served. */
static void fetch_ahead(const struct request *request)
{
    enum { LINE = 64 };
    const char *bytes = (const char *)request;
    for (size_t at = 0; request && at < offsetof(struct request, pool); at += LINE) __builtin_prefetch(bytes + at, 1);
}

static void list_add(struct request_list *list, struct request *request)
{
    request->next = NULL;
    request->previous = list->last;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

/* Before those of later calls. Near the front, as those that come back to the queue are older than what waits there. */
static void list_add_back(struct request_list *list, struct request *request)
{
    struct request *next = list->first;
    while (next && next->order < request->order) next = next->next;
    if (!next) {
        list_add(list, request);
        return;
    }
    request->next = next;
    request->previous = next->previous;
    if (next->previous)
        next->previous->next = request;
    else
        list->first = request;
    next->previous = request;
}

static void list_remove(struct request_list *list, struct request *request)
{
    if (request->previous)
        request->previous->next = request->next;
    else
        list->first = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        list->last = request->previous;
}

int request_begin(roost_uv *uv, roost_uv_req *req, enum request_kind kind, bool has_callback, struct request **ret_request)
{
    struct request *request = request_of(req);
    if (bridge_of(uv)->closing) return roost_error_set(ROOST_ECANCELED, "the bridge is closing");
    if (!has_callback) return roost_error_set(ROOST_EINVAL, "no callback was given");
    req->bridge = uv;
    req->receipt = (struct roost_receipt){0, 0, 0, 0};
    req->detail[0] = '\0';
    memset(request, 0, offsetof(struct request, pool)); /* that is libuv's to fill in */
    request->req = req;
    request->kind = (uint16_t)kind;
    *ret_request = request;
    return 0;
}

/* As the library does it, but at the call, not only when it comes to the library on the pool. */
int request_copy(void *to, size_t to_size, const void *from, const char *type)
{
    enum { SIZE_MIN = sizeof(size_t) + 4, SIZE_MAX_EVER = 4096 };
    char detail[96];
    size_t size = from ? *(const size_t *)from : 0;
    if (size >= SIZE_MIN && size <= SIZE_MAX_EVER) {
        memcpy(to, from, size < to_size ? size : to_size);
        memcpy(to, &to_size, sizeof to_size);
        return 0;
    }
    if (from)
        snprintf(detail, sizeof detail, "struct %s has size %zu: begin it with its INIT macro", type, size);
    else
        snprintf(detail, sizeof detail, "no struct %s was given", type);
    return roost_error_set(ROOST_EINVAL, detail);
}

/* ---- the end ---- */

static void say(struct request *request, const char *text)
{
    snprintf(request->req->detail, sizeof request->req->detail, "%s", text);
}

/* What was stopped has done nothing; but what a question was about may have been done. */
static void say_stopped(struct request *request)
{
    bool write = request->kind <= REQUEST_STATE_PUBLISH, settle = request->kind == REQUEST_SETTLE;
    const char *who = request->stopped ? "cancelled by roost_uv_cancel"
                      : write          ? "the bridge was closed before the writer took it up"
                                       : "the bridge was closed before its turn came";
    const char *what = write ? "not applied" : settle ? "not asked; the write itself may have been applied" : "not begun";
    snprintf(request->req->detail, sizeof request->req->detail, "%s: %s", who, what);
}

/* What the writer answers comes without words. */
static void explain(struct request *request, const struct roost_completion *completion)
{
    char *detail = request->req->detail;
    const size_t size = sizeof request->req->detail;
    struct roost_bytes key = request->name;
    bool named = request->kind == REQUEST_KV_SET || request->kind == REQUEST_KV_DELETE;
    if (completion->result == ROOST_EMISMATCH && named)
        snprintf(detail, size, "the key \"%.*s\" has version %llu, expected was %llu", (int)key.size, (const char *)key.data,
                 (unsigned long long)completion->version, (unsigned long long)request->write.expected);
    else if (completion->result == ROOST_ENOENT && named)
        snprintf(detail, size, "there is no key \"%.*s\"", (int)key.size, (const char *)key.data);
    else if (completion->result == ROOST_ENOENT && request->kind == REQUEST_FORGET)
        snprintf(detail, size, "there is no memory %llu", (unsigned long long)request->number);
    else if (request->kind == REQUEST_COMMIT && (completion->result == ROOST_EMISMATCH || completion->result == ROOST_ENOENT))
        snprintf(detail, size, "change %u of the batch: %s; nothing was applied", completion->failed_index,
                 roost_error_text(completion->result));
    else
        say(request, roost_error_text(completion->result));
}

static void give(struct bridge *bridge, struct request *request)
{
    roost_uv_req *req = request->req;
    if (request->status < 0 && !req->detail[0]) say(request, roost_error_text(request->status));
    if (request->kind >= REQUEST_GET && request->kind <= REQUEST_STATE_GET)
        read_give(bridge, request);
    else
        request->cb.plain(req, request->status);
}

void request_finish(struct bridge *bridge, struct request *request, int status)
{
    request->place = PLACE_NOWHERE;
    request->status = status;
    bridge_count(bridge, -1);
    give(bridge, request);
}

/* Its callback has to come from the loop. */
static void finish_soon(struct bridge *bridge, struct request *request, int status)
{
    request->place = PLACE_FINISHED;
    request->status = status;
    list_add(&bridge->finished, request);
    bridge_soon(bridge);
}

void request_deliver(struct bridge *bridge)
{
    uint64_t began = uv_hrtime();
    const struct request *last = bridge->finished.last; /* what callbacks add waits for the next turn */
    while (bridge->finished.first) {
        struct request *request = bridge->finished.first;
        bool done = request == last;
        list_remove(&bridge->finished, request);
        fetch_ahead(bridge->finished.first);
        request_finish(bridge, request, request->status);
        if (done || uv_hrtime() - began >= TURN_NS) return;
    }
}

/* ---- the pool ---- */

static void on_pool(uv_work_t *work)
{
    struct request *request = work->data;
    roost_root *root = request->req->bridge->root;
    request->status = request->kind < REQUEST_GET ? write_run(root, request) : read_run(root, request);
    if (request->status < 0) say(request, roost_error_detail());
}

static void after_pool(uv_work_t *work, int status)
{
    struct request *request = work->data;
    struct bridge *bridge = bridge_of(request->req->bridge);
    list_remove(&bridge->pool, request);
    request->place = PLACE_NOWHERE;
    if (status == UV_ECANCELED) {
        request->status = ROOST_ECANCELED;
        say_stopped(request);
    }
    /* Without time for more than one try the blocking way gives the lane's own error: never handed over, in uv.h's words. */
    if (request->status == ROOST_EAGAIN && request->kind < REQUEST_GET) request->status = ROOST_ETIMEDOUT;
    if (request->alone) {
        bridge->alone = false;
        request_pump(bridge);
    }
    give(bridge, request);
    if (bridge->closing) bridge_next_step(bridge);
}

int request_queue_work(struct bridge *bridge, struct request *request)
{
    request->pool.data = request;
    int err = uv_queue_work(bridge->uv->loop, &request->pool, on_pool, after_pool);
    if (err) return roost_error_set(err, uv_strerror(err));
    request->place = PLACE_POOL;
    list_add(&bridge->pool, request);
    return 0;
}

/* A write that cannot go without waiting. */
static void move_to_pool(struct bridge *bridge, struct request *request)
{
    bridge_count(bridge, -1);
    int err = request_queue_work(bridge, request);
    if (!err) return;
    if (request->alone) request->alone = bridge->alone = false;
    bridge_count(bridge, 1);
    finish_soon(bridge, request, err);
}

/* ---- the lane ---- */

static void *user_of(const struct bridge *bridge, uint32_t slot)
{
    return (void *)(uintptr_t)(bridge->serial * SLOT_COUNT + slot);
}

/* For one that is in no list. ROOST_EAGAIN: the lane has no room, and it still is in none. */
static int hand_over(struct bridge *bridge, struct request *request, const roost_batch *batch)
{
    uint32_t slot = 0;
    while (slot < SLOT_COUNT && bridge->busy[slot]) slot++;
    if (slot == SLOT_COUNT || bridge->alone) return ROOST_EAGAIN;
    int err = roost_submit(bridge->uv->root, batch, &request->write, user_of(bridge, slot), &request->req->receipt);
    if (err == ROOST_EAGAIN && bridge->busy_count) return err;
    if (!err) {
        bridge->slots[slot] = request;
        bridge->busy[slot] = true;
        bridge->busy_count++;
        request->slot = slot;
        request->place = PLACE_LANE;
    } else if (err == ROOST_E2BIG || err == ROOST_EAGAIN) {
        /* Too large; or no lane, or one full of what a bridge before this one left: the blocking way finds room, in order. */
        request->alone = bridge->alone = err == ROOST_EAGAIN;
        move_to_pool(bridge, request);
    } else {
        say(request, roost_error_detail());
        finish_soon(bridge, request, err);
    }
    return 0;
}

void request_submit(struct bridge *bridge, struct request *request)
{
    request->deadline_ns = uv_hrtime() + (uint64_t)request->write.wait_ms * 1000000;
    request->order = ++bridge->order;
    if (bridge->next_deadline_ns > request->deadline_ns) bridge->next_deadline_ns = request->deadline_ns;
    bridge_count(bridge, 1);
    const roost_batch *batch = request->kind == REQUEST_COMMIT ? request->what.batch : bridge->batch;
    if (!bridge->queued.first && hand_over(bridge, request, batch) == 0) return;
    request->place = PLACE_QUEUED;
    list_add(&bridge->queued, request);
}

void request_pump(struct bridge *bridge)
{
    while (bridge->queued.first && bridge->busy_count < SLOT_COUNT) {
        struct request *request = bridge->queued.first;
        const roost_batch *batch;
        fetch_ahead(request->next);
        int err = write_encode(bridge, request, &batch);
        list_remove(&bridge->queued, request);
        if (err) {
            say(request, roost_error_detail());
            finish_soon(bridge, request, err);
        } else if (hand_over(bridge, request, batch)) {
            request->place = PLACE_QUEUED;
            list_add_back(&bridge->queued, request);
            return;
        }
    }
}

void request_landed(struct bridge *bridge, const struct roost_completion *completion)
{
    uint64_t user = (uint64_t)(uintptr_t)completion->user;
    if (user / SLOT_COUNT != bridge->serial) return; /* of a bridge that was there before */
    uint32_t slot = (uint32_t)(user % SLOT_COUNT);
    struct request *request = bridge->slots[slot];
    bridge->slots[slot] = NULL;
    bridge->busy[slot] = false;
    bridge->busy_count--;
    if (!request) return; /* it timed out; its receipt has told */
    if (completion->result == ROOST_ECANCELED && !request->stopped && !bridge->closing) {
        /* The shared memory was replaced before it was taken up: it was not applied and never will be. */
        request->place = PLACE_QUEUED;
        request->req->receipt = (struct roost_receipt){0, 0, 0, 0};
        list_add_back(&bridge->queued, request);
        return;
    }
    request->req->receipt = completion->receipt;
    if (completion->result == ROOST_ECANCELED)
        say_stopped(request);
    else if (completion->result < 0)
        explain(request, completion);
    request_finish(bridge, request, completion->result);
}

/* ---- stopping ---- */

static void stop_queued(struct bridge *bridge, struct request *request, int status)
{
    if (status == ROOST_ECANCELED) say_stopped(request);
    list_remove(&bridge->queued, request);
    finish_soon(bridge, request, status);
}

void request_expire(struct bridge *bridge, uint64_t now_ns)
{
    if (now_ns < bridge->next_deadline_ns) return;
    uint64_t next_ns = UINT64_MAX;
    for (struct request *request = bridge->queued.first, *next; request; request = next) {
        next = request->next;
        if (request->deadline_ns > now_ns) {
            if (request->deadline_ns < next_ns) next_ns = request->deadline_ns;
            continue;
        }
        say(request, "the write could not be handed over in time: too many others are under way; nothing was done");
        stop_queued(bridge, request, ROOST_ETIMEDOUT);
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct request *request = bridge->slots[slot];
        if (!request) continue;
        if (request->deadline_ns > now_ns) {
            if (request->deadline_ns < next_ns) next_ns = request->deadline_ns;
            continue;
        }
        bridge->slots[slot] = NULL;
        if (request->stopped) { /* as promised, though the lane has not said so yet */
            say_stopped(request);
            finish_soon(bridge, request, ROOST_ECANCELED);
            continue;
        }
        say(request, "the write was handed over but not answered in time: the process that holds the writer's role is stopped or "
                     "busy; the receipt tells later what became of it");
        finish_soon(bridge, request, ROOST_ETIMEDOUT);
    }
    bridge->next_deadline_ns = next_ns;
}

/* What was stopped stays so: asked again, it is stopped already. */
int roost_uv_cancel(roost_uv_req *req)
{
    struct request *request = request_of(req);
    struct bridge *bridge = bridge_of(req->bridge);
    int err = ROOST_EBUSY;
    if (request->stopped) return 0;
    if (request->place == PLACE_LANE) {
        err = roost_cancel(bridge->uv->root, &req->receipt);
        request->stopped = !err;
        return err;
    }
    if (request->place == PLACE_POOL) err = uv_cancel((uv_req_t *)&request->pool);
    if (request->place == PLACE_QUEUED || !err) {
        request->stopped = true;
        if (request->place == PLACE_QUEUED) stop_queued(bridge, request, ROOST_ECANCELED);
        return 0;
    }
    return roost_error_set(err, "the request is under way, or over, and ends by itself");
}

void request_stop_all(struct bridge *bridge)
{
    while (bridge->queued.first) stop_queued(bridge, bridge->queued.first, ROOST_ECANCELED);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct request *request = bridge->slots[slot];
        if (!request) continue;
        int err = roost_cancel(bridge->uv->root, &request->req->receipt);
        if (err != ROOST_EFORK) continue; /* its answer comes */
        bridge->slots[slot] = NULL;
        say(request, roost_error_detail()); /* what became of it the parent is told */
        finish_soon(bridge, request, err);
    }
    for (struct request *request = bridge->pool.first; request; request = request->next)
        (void)uv_cancel((uv_req_t *)&request->pool);
}
