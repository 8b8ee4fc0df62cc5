/* SPDX-License-Identifier: MIT
 * roost/uv.h: Roost on a libuv loop. Link with -lroost-uv (pkg-config roost-uv).
 *
 * A bridge joins a root to a loop. Requests (writes, reads, anything else) and watches go through it; none of them ever blocks the loop.
 * Everything here is called by the loop's thread, and every callback comes from uv_run of that loop, never from inside the call that asked
 * for it. The rules are libuv's own:
 *
 *   - Structs are the caller's: a request until its callback begins, a bridge or watch until its close callback. They need no
 *     initialisation but `data`, which is the caller's and never touched. Bytes, structs and batches that a request points to stay
 *     as they are until its callback.
 *   - A call that returns an error (negative; roost_error_detail() says why, where it is not this header's own: ROOST_ECANCELED, the bridge
 *     is closing, ROOST_EBUSY, an empty batch) has done nothing, and no callback comes. After 0 exactly one
 *     callback comes, with 0 or a negative error as status: one of roost.h's, of which those that POSIX has are libuv's too (UV_ECANCELED
 *     is ROOST_ECANCELED). The request's `detail` says it in words.
 *   - Requests and watches keep the loop alive.
 *
 *     static void landed(roost_uv_req *req, int status)
 *     {
 *         if (status < 0) fprintf(stderr, "%s\n", req->detail);
 *         else printf("memory %llu\n", (unsigned long long)req->receipt.id);
 *     }
 *     ...
 *     roost_uv bridge;
 *     roost_uv_req req;
 *     if (roost_uv_init(uv_default_loop(), &bridge, root) < 0) ...
 *     if (roost_uv_append(&bridge, &req, &memory, NULL, landed) < 0) ...
 *
 * How it works: writes go straight into the handle's lane and are answered by whoever holds the writer's role; a descriptor of the core
 * (roost_poll_fd) tells the loop. As many as you like may be under way: those for which the lane has no room wait in the bridge,
 * in order. What reads, and what may take long, runs on libuv's thread pool. Takeovers and handovers of the role go on underneath.
 * Nothing is allocated for a write, a watched event or a read's request once the first few have passed; values that are read are mapped. */
#ifndef ROOST_UV_H
#define ROOST_UV_H

#include <roost/roost.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct roost_uv roost_uv;
typedef struct roost_uv_watch roost_uv_watch;
typedef struct roost_uv_req roost_uv_req;

/* ---- The bridge -------------------------------------------------------------------------------------------------- */

typedef void (*roost_uv_close_cb)(roost_uv *bridge);
struct roost_uv {
    void *data;       /* yours */
    uv_loop_t *loop;  /* read only */
    roost_root *root; /* read only */
    uint64_t reserved[320];
};
/* Joins root and loop, one bridge a handle: for another one open the root once more (ROOST_EBUSY: there is one, or it has not called its
 * close callback yet). The bridge is one more owner of the root (roost_ref): if yours is closed first, the root stays open until
 * the bridge is. ROOST_EFORK, ROOST_ENOMEM, ROOST_EMFILE. */
ROOST_API ROOST_MUST int roost_uv_init(uv_loop_t *loop, roost_uv *bridge, roost_root *root);
/* Ends it: closes its watches; requests that can still be stopped get ROOST_ECANCELED, what is under way its result, all from the loop;
 * then cb (may be NULL) as the last, when nothing of the bridge is used any more. What was cancelled has done nothing. The root
 * is closed on libuv's pool if this was its last owner. May be called from any callback, once. */
ROOST_API void roost_uv_close(roost_uv *bridge, roost_uv_close_cb cb);
/* As uv_is_closing. */
ROOST_API int roost_uv_is_closing(const roost_uv *bridge);

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

#define ROOST_UV_DETAIL_SIZE 384
struct roost_uv_req {
    void *data;                        /* yours */
    roost_uv *bridge;                  /* read only */
    struct roost_receipt receipt;      /* of a write, from its callback on: lsn, id (or a stream entry's index) as roost.h says */
    char detail[ROOST_UV_DETAIL_SIZE]; /* what went wrong, in words; "" if nothing did */
    uint64_t reserved[64];
};
typedef void (*roost_uv_cb)(roost_uv_req *req, int status);
/* Stops a request: 0, and its callback comes with ROOST_ECANCELED; ROOST_EBUSY: it is under way and will end by itself. */
ROOST_API ROOST_MUST int roost_uv_cancel(roost_uv_req *req);

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* Each is what its namesake in roost.h is; write may be NULL. Writes of one bridge that do not wait are committed in the order of the
 * calls. ROOST_ETIMEDOUT after write->wait_ms (0: 5000): the receipt tells later what became of it (roost_uv_settle: ask soon, only a
 * client's last few are remembered); a receipt with sequence 0: it was never handed over. More than 64 KiB in one text, value or entry is
 * written by the thread pool, in no order with others. */
ROOST_API ROOST_MUST int roost_uv_append(roost_uv *bridge, roost_uv_req *req, const struct roost_memory *memory,
                                         const struct roost_write *write, roost_uv_cb cb);
ROOST_API ROOST_MUST int roost_uv_forget(roost_uv *bridge, roost_uv_req *req, roost_id id, const struct roost_write *write,
                                         roost_uv_cb cb);
/* The batch must not be changed before the callback. */
ROOST_API ROOST_MUST int roost_uv_commit(roost_uv *bridge, roost_uv_req *req, const roost_batch *batch,
                                         const struct roost_write *write, roost_uv_cb cb);
ROOST_API ROOST_MUST int roost_uv_kv_set(roost_uv *bridge, roost_uv_req *req, struct roost_bytes key, struct roost_bytes value,
                                         const struct roost_write *write, roost_uv_cb cb);
ROOST_API ROOST_MUST int roost_uv_kv_delete(roost_uv *bridge, roost_uv_req *req, struct roost_bytes key,
                                            const struct roost_write *write, roost_uv_cb cb);
ROOST_API ROOST_MUST int roost_uv_stream_append(roost_uv *bridge, roost_uv_req *req, struct roost_bytes name,
                                                struct roost_bytes entry, const struct roost_write *write, roost_uv_cb cb);
/* On the thread pool: the first publish of a name asks the writer for it. Publish a name's next state after the callback of the one
 * before. */
ROOST_API ROOST_MUST int roost_uv_state_publish(roost_uv *bridge, roost_uv_req *req, const struct roost_state *state,
                                                const struct roost_write *write, roost_uv_cb cb);
/* What became of a write: as roost_settle. *receipt is read now; the outcome is in req->receipt. */
ROOST_API ROOST_MUST int roost_uv_settle(roost_uv *bridge, roost_uv_req *req, const struct roost_receipt *receipt,
                                         uint32_t wait_ms, roost_uv_cb cb);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* On the thread pool, as a page of a file may have to be read and a search may take milliseconds. With status 0 the last argument is valid
 * until the callback returns (copy what you keep); else it is NULL. */
typedef void (*roost_uv_memory_cb)(roost_uv_req *req, int status, const struct roost_memory *memory);
ROOST_API ROOST_MUST int roost_uv_get(roost_uv *bridge, roost_uv_req *req, roost_id id, roost_uv_memory_cb cb);
/* The hits are the callback's to close with roost_hits_close, then or later. */
typedef void (*roost_uv_hits_cb)(roost_uv_req *req, int status, roost_hits *hits);
ROOST_API ROOST_MUST int roost_uv_search(roost_uv *bridge, roost_uv_req *req, const struct roost_query *query,
                                         roost_uv_hits_cb cb);
typedef void (*roost_uv_item_cb)(roost_uv_req *req, int status, const struct roost_item *item);
ROOST_API ROOST_MUST int roost_uv_kv_get(roost_uv *bridge, roost_uv_req *req, struct roost_bytes key, roost_uv_item_cb cb);
ROOST_API ROOST_MUST int roost_uv_stream_get(roost_uv *bridge, roost_uv_req *req, struct roost_bytes name, uint64_t index,
                                             roost_uv_item_cb cb);
typedef void (*roost_uv_state_cb)(roost_uv_req *req, int status, const struct roost_state *state);
ROOST_API ROOST_MUST int roost_uv_state_get(roost_uv *bridge, roost_uv_req *req, struct roost_bytes name, roost_uv_state_cb cb);
/* Anything else that roost.h offers: work runs on the thread pool, may block and may call all of roost.h; its result is the status, and if
 * that is negative its thread's roost_error_detail() becomes req->detail. */
typedef int (*roost_uv_work_fn)(roost_root *root, roost_uv_req *req);
ROOST_API ROOST_MUST int roost_uv_work(roost_uv *bridge, roost_uv_req *req, roost_uv_work_fn work, roost_uv_cb cb);

/* ---- Watching ---------------------------------------------------------------------------------------------------- */

typedef void (*roost_uv_watch_close_cb)(roost_uv_watch *watch);
/* One event, as roost_watch_wait gives it: valid until the callback returns. status < 0: the watch cannot go on (roost_error_detail() says
 * why) and event is NULL; it is closed by its owner all the same. */
typedef void (*roost_uv_event_cb)(roost_uv_watch *watch, int status, const struct roost_event *event);
struct roost_uv_watch {
    void *data;       /* yours */
    roost_uv *bridge; /* read only */
    uint64_t reserved[64];
};
/* Watches topics (copied) as roost_watch_open does: changes from now on, and the states that there are. Works on observers too. */
ROOST_API ROOST_MUST int roost_uv_watch_start(roost_uv *bridge, roost_uv_watch *watch, const struct roost_topic *topics,
                                              size_t count, roost_uv_event_cb cb);
/* No further event; cb (may be NULL) when the struct is the caller's again. */
ROOST_API void roost_uv_watch_close(roost_uv_watch *watch, roost_uv_watch_close_cb cb);
/* The watch does (by default) or does not keep the loop alive, as uv_ref and uv_unref. */
ROOST_API void roost_uv_watch_ref(roost_uv_watch *watch);
ROOST_API void roost_uv_watch_unref(roost_uv_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
