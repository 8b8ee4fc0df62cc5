/* SPDX-License-Identifier: MIT
 * uv/internal.h: what the files of the libuv bridge share (layer 9): what lies in the `reserved` of the public structs.
 *
 * bridge.c    a bridge's life; completions      request.c   one request's way: queue, lane, pool, callback
 * write.c     writing requests                  read.c      reading requests
 * watch.c     watches
 *
 * A write is QUEUED until the handle's lane has room, then in the LANE until it is answered; or on the POOL, as reads are. FINISHED: only
 * its callback is missing, which has to come from the loop. All of it belongs to the loop's thread, but what runs on the pool. */
#ifndef ROOST_UV_INTERNAL_H
#define ROOST_UV_INTERNAL_H

#include <roost/uv.h>
#include <stdbool.h>
#include <string.h>

enum { SLOT_COUNT = ROOST_SUBMIT_COUNT_MAX };
/* How long one callback of the loop goes on with completions or events before it lets others have their turn. */
#define TURN_NS UINT64_C(500000)

enum request_kind {
    REQUEST_APPEND = 1,
    REQUEST_FORGET,
    REQUEST_COMMIT,
    REQUEST_KV_SET,
    REQUEST_KV_DELETE,
    REQUEST_STREAM_APPEND,
    REQUEST_STATE_PUBLISH,
    REQUEST_SETTLE,
    REQUEST_GET,
    REQUEST_SEARCH,
    REQUEST_KV_GET,
    REQUEST_STREAM_GET,
    REQUEST_STATE_GET,
    REQUEST_WORK,
};
enum request_place { PLACE_NOWHERE, PLACE_QUEUED, PLACE_LANE, PLACE_POOL, PLACE_FINISHED };
struct request {
    roost_uv_req *req;
    struct request *next, *previous; /* in the list of its place; not in the lane */
    uint16_t kind, place;
    bool stopped; /* by roost_uv_cancel */
    bool alone;   /* on the pool for want of a lane: the others wait behind it */
    int status;
    uint64_t deadline_ns; /* uv_hrtime */
    uint64_t order;       /* of the calls */
    uint32_t slot;        /* in the lane */
    uint32_t wait_ms;     /* SETTLE */
    struct roost_write write;
    union {
        roost_uv_cb plain;
        roost_uv_memory_cb memory;
        roost_uv_hits_cb hits;
        roost_uv_item_cb item;
        roost_uv_state_cb state;
    } cb;
    struct roost_bytes name, value;
    uint64_t number; /* an id, a stream entry's index */
    union {
        const roost_batch *batch;
        roost_uv_work_fn work;
    } what;
    union {
        struct roost_memory memory; /* APPEND: given; GET: read */
        struct roost_item item;
        struct roost_state state; /* STATE_PUBLISH: given; STATE_GET: read */
        struct roost_query query;
        roost_hits *hits;
    } as;
    uv_work_t pool;
};
struct request_list {
    struct request *first, *last;
};

struct bridge {
    roost_uv *uv;
    struct bridge *next; /* all bridges of the process */
    uint64_t serial;     /* in what roost_submit is given, so that a completion meant for a bridge that is gone is nobody's */
    uv_poll_t poll;      /* completions; keeps the loop alive while writes are under way */
    uv_timer_t timer;    /* time-outs; does not keep it alive */
    uv_idle_t soon;      /* FINISHED requests, closing: a part at each turn of the loop; keeps it alive while closing */
    roost_batch *batch;  /* to encode one write after the other */
    struct request_list queued, pool, finished;
    struct request *slots[SLOT_COUNT]; /* in the lane; NULL and busy: timed out, and not answered yet */
    bool busy[SLOT_COUNT];
    uint32_t busy_count;
    uint64_t write_count;      /* QUEUED, LANE, FINISHED */
    uint64_t order;            /* of the last write */
    uint64_t next_deadline_ns; /* none of the writes times out earlier */
    uint64_t timer_ns;         /* when the timer comes; UINT64_MAX: it is not running */
    struct watch *watches;
    uint32_t handle_count; /* of libuv's, still open */
    bool observes, closing, draining, shut;
    bool alone; /* a request of which that is true is on the pool */
    roost_uv_close_cb close_cb;
    uv_work_t detach;
};

struct watch {
    roost_uv_watch *uv;
    struct watch *next;
    uv_poll_t poll;
    roost_watch *watch;
    roost_uv_event_cb cb;
    roost_uv_watch_close_cb close_cb;
    bool closing;
};

_Static_assert(sizeof(struct request) <= sizeof(((roost_uv_req *)0)->reserved), "uv.h has room for it");
_Static_assert(sizeof(struct bridge) <= sizeof(((roost_uv *)0)->reserved), "uv.h has room for it");
_Static_assert(sizeof(struct watch) <= sizeof(((roost_uv_watch *)0)->reserved), "uv.h has room for it");

static inline struct bridge *bridge_of(const roost_uv *uv) { return (struct bridge *)(void *)(uintptr_t)uv->reserved; }
static inline struct request *request_of(const roost_uv_req *req) { return (struct request *)(void *)(uintptr_t)req->reserved; }
static inline struct watch *watch_of(const roost_uv_watch *uv) { return (struct watch *)(void *)(uintptr_t)uv->reserved; }

/* ---- bridge.c ---- */
/* From the loop's next turn on: something is FINISHED, or closing begins. */
void bridge_soon(struct bridge *bridge);
/* A write more, or less, is under way. */
void bridge_count(struct bridge *bridge, int change);
/* Goes on with closing, if that is what waits. */
void bridge_next_step(struct bridge *bridge);

/* ---- request.c ---- */
/* A fresh request of this kind; 0, ROOST_ECANCELED: the bridge is closing, or ROOST_EINVAL: it has no callback. */
int request_begin(roost_uv *uv, roost_uv_req *req, enum request_kind kind, bool has_callback, struct request **ret_request);
/* The caller's struct, which may be an older, smaller one, over the defaults in `to`. ROOST_EINVAL: its INIT macro did not begin it. */
int request_copy(void *to, size_t to_size, const void *from, const char *type);
#define COPY_SIZED(type, to, from) request_copy((struct type *){to}, sizeof(struct type), (const struct type *){from}, #type)
/* For a write that was checked: into the lane, or behind the others. */
void request_submit(struct bridge *bridge, struct request *request);
/* Onto libuv's pool. 0, or libuv's error. */
int request_queue_work(struct bridge *bridge, struct request *request);
/* Hands over what the lane has room for. */
void request_pump(struct bridge *bridge);
/* The lane has answered. */
void request_landed(struct bridge *bridge, const struct roost_completion *completion);
/* Its callback is called, from the loop. It is in no list any more. */
void request_finish(struct bridge *bridge, struct request *request, int status);
/* Those that are past their time, and those that are FINISHED. */
void request_expire(struct bridge *bridge, uint64_t now_ns);
void request_deliver(struct bridge *bridge);
/* Everything that can be stopped is. */
void request_stop_all(struct bridge *bridge);

/* ---- write.c, read.c ---- */
/* The write as a batch: the caller's own, or the bridge's one with it. */
int write_encode(struct bridge *bridge, const struct request *request, const roost_batch **ret_batch);
/* On the pool. */
int write_run(roost_root *root, struct request *request);
int read_run(roost_root *root, struct request *request);
/* On the loop: the callback with what was read. */
void read_give(struct bridge *bridge, struct request *request);

#endif
