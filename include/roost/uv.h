/* SPDX-License-Identifier: MIT
 * roost/uv.h: Roost on a libuv loop. Link with -lroost-uv -lroost -luv, or pkg-config --cflags --libs roost-uv.
 *
 * A bridge joins a root to a loop. Requests (writes, reads, anything else) and watches go through it; none of them ever blocks the loop.
 * Every callback comes from uv_run of that loop, never from inside the call that asked for it. The rules are libuv's own:
 *
 *   - Threads: only the loop's thread may call these functions, and nothing checks it. Others use roost.h on the same root, which any
 *     thread may, or uv_async_send.
 *   - Structs are the caller's: a request until its callback begins, a bridge or watch until its close callback. They need no
 *     initialisation but `data`, which is the caller's and never touched. One that is under way must not be given to another call.
 *   - Bytes that a request points to, the memory struct and its tags included, must stay until its callback; so must a batch. A write often
 *     copies at once, so breaking this works in a small test and stores wrong text under load: one buffer for many requests is the usual
 *     mistake. The structs that begin with `size` (write, memory, state, query) and the receipt are copied, not what they point to.
 *   - A call that returns an error (negative; roost_error_detail() says why) has done nothing, and no callback comes. After 0 exactly one
 *     callback comes, with 0 or a negative error as status: one of roost.h's, of which those that POSIX has are libuv's too (UV_ECANCELED
 *     is ROOST_ECANCELED). The request's `detail` says it in words.
 *   - Requests and watches keep the loop alive.
 *
 *     static roost_uv bridge;
 *     static roost_uv_watch watch;
 *     static roost_uv_req req;
 *
 *     static void changed(roost_uv_watch *watch, int status, const struct roost_event *event)
 *     {
 *         if (status == 0) printf("memory %llu\n", (unsigned long long)event->id);
 *     }
 *     static void landed(roost_uv_req *req, int status)
 *     {
 *         if (status < 0) fprintf(stderr, "%s\n", req->detail);
 *         else printf("stored as %llu\n", (unsigned long long)req->receipt.id);
 *         roost_uv_close(req->bridge, NULL); // and its watches: uv_run returns
 *     }
 *     int main(void)
 *     {
 *         struct roost_options options = ROOST_OPTIONS_INIT;
 *         struct roost_memory memory = ROOST_MEMORY_INIT;
 *         const struct roost_topic topic = {.kind = ROOST_TOPIC_COMMITS};
 *         roost_root *root;
 *         options.flags = ROOST_OPEN_CREATE;
 *         memory.text = roost_text("Kept until its callback, as a literal is.");
 *         int err = roost_open("memories", &options, &root);
 *         if (err < 0) return fprintf(stderr, "%s\n", roost_error_detail()), 1;
 *         err = roost_uv_init(uv_default_loop(), &bridge, root);
 *         roost_close(root); // the bridge has it open
 *         if (!err) err = roost_uv_watch_start(&bridge, &watch, &topic, 1, changed);
 *         if (!err) err = roost_uv_append(&bridge, &req, &memory, NULL, landed);
 *         if (err) return fprintf(stderr, "%s\n", roost_error_detail()), 1;
 *         return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *     }
 *
 * How it works: writes go straight into the handle's lane and are answered by whoever holds the writer's role; a descriptor of the core
 * (roost_poll_fd) tells the loop. As many as you like may be under way: those for which the lane has no room wait in the bridge,
 * in order. What reads, and what may take long, runs on libuv's thread pool: four threads for the whole process, unless UV_THREADPOOL_SIZE
 * in the environment says otherwise. Takeovers and handovers of the role go on underneath.
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
 * close callback yet). The bridge is one more owner of the root (roost_ref): you may roost_close(root) right after, and need not close
 * the bridge's watches before; the root stays open until the bridge is closed. ROOST_EINVAL, ROOST_EFORK, ROOST_ENOMEM, ROOST_EMFILE. */
ROOST_API ROOST_MUST int roost_uv_init(uv_loop_t *loop, roost_uv *bridge, roost_root *root);
/* Ends it: closes its watches; requests that can still be stopped get ROOST_ECANCELED, what is under way its result, all from the loop;
 * then cb (may be NULL) as the last, when nothing of the bridge is used any more. What was cancelled has done nothing.
 * It does not flush: a write that no writer has taken up is cancelled. To keep everything, close from the last write's callback.
 * Watch structs are the caller's again at cb; they get no callback of their own unless roost_uv_watch_close had been called. Until cb ran
 * uv_loop_close answers UV_EBUSY. The bridge has handles of its own in the loop, which uv_walk shows: never uv_close them.
 * May be called from any callback; closing again while it closes does nothing. The root is closed on libuv's pool if this was its last
 * owner, and what roost_close answers is told to nobody (writes at ROOST_PROCESS that could not be synced): who has to know calls
 * roost_sync through roost_uv_work first, or closes the last owner himself. */
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
/* Stops a request: 0 (also when asked again), and its callback comes with ROOST_ECANCELED: it has done nothing. That is possible for a
 * write that no writer has taken up, and for what waits for a thread of the pool. ROOST_EBUSY: it is under way, and will end by itself.
 * Only between the call that began the request and its callback, never after: the struct may be another request's by then. */
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
/* What became of a write: as roost_settle. *receipt is read now; the outcome is in req->receipt. ROOST_ECANCELED is the write's, as there;
 * but after roost_uv_cancel of this request, or from a bridge that is closing, it may mean that nobody was asked: req->detail says "not
 * asked", and the write may have been applied. */
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
/* Watches topics (copied) as roost_watch_open does: changes from now on, and the states that there are. Works on observers too. The
 * bridge's own writes are reported as well, and their event may come before the write's callback. ROOST_EINVAL: no callback, or the
 * struct is in use (until its close callback). */
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
