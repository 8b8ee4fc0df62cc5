/* SPDX-License-Identifier: MIT
 * uv/read.c: reading requests (layer 9), on libuv's pool. */
#include "uv/internal.h"

int read_run(roost_root *root, struct request *request)
{
    roost_hits *hits = NULL;
    int err;
    switch (request->kind) {
    case REQUEST_GET:
        request->as.memory = (struct roost_memory)ROOST_MEMORY_INIT;
        return roost_get(root, request->number, &request->as.memory);
    case REQUEST_SEARCH:
        err = roost_search(root, &request->as.query, &hits);
        request->as.hits = hits;
        return err;
    case REQUEST_KV_GET:
        request->as.item = (struct roost_item)ROOST_ITEM_INIT;
        return roost_kv_get(root, request->name, &request->as.item);
    case REQUEST_STREAM_GET:
        request->as.item = (struct roost_item)ROOST_ITEM_INIT;
        return roost_stream_get(root, request->name, request->number, &request->as.item);
    case REQUEST_STATE_GET:
        request->as.state = (struct roost_state)ROOST_STATE_INIT;
        return roost_state_get(root, request->name, &request->as.state);
    default:
        return request->what.work(root, request->req);
    }
}

void read_give(struct bridge *bridge, struct request *request)
{
    roost_uv_req *req = request->req;
    int status = request->status;
    struct request read = *request; /* the callback may use the request again */
    switch (read.kind) {
    case REQUEST_GET:
        read.cb.memory(req, status, status < 0 ? NULL : &read.as.memory);
        if (status >= 0) roost_unpin(bridge->uv->root, &read.as.memory.pin);
        break;
    case REQUEST_SEARCH:
        read.cb.hits(req, status, status < 0 ? NULL : read.as.hits);
        break;
    case REQUEST_STATE_GET:
        read.cb.state(req, status, status < 0 ? NULL : &read.as.state);
        if (status >= 0) roost_unpin(bridge->uv->root, &read.as.state.pin);
        break;
    default:
        read.cb.item(req, status, status < 0 ? NULL : &read.as.item);
        if (status >= 0) roost_unpin(bridge->uv->root, &read.as.item.pin);
    }
}

/* ---- asking ---- */

static int begin(roost_uv *uv, roost_uv_req *req, enum request_kind kind, struct roost_bytes name, uint64_t number,
                 bool has_callback, struct request **ret_request)
{
    int err = request_begin(uv, req, kind, has_callback, ret_request);
    if (err) return err;
    (*ret_request)->name = name;
    (*ret_request)->number = number;
    return 0;
}

int roost_uv_get(roost_uv *uv, roost_uv_req *req, roost_id id, roost_uv_memory_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_GET, (struct roost_bytes){NULL, 0}, id, cb, &request);
    if (err) return err;
    request->cb.memory = cb;
    return request_queue_work(bridge_of(uv), request);
}

int roost_uv_search(roost_uv *uv, roost_uv_req *req, const struct roost_query *query, roost_uv_hits_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_SEARCH, (struct roost_bytes){NULL, 0}, 0, cb, &request);
    if (err) return err;
    request->cb.hits = cb;
    request->as.query = (struct roost_query)ROOST_QUERY_INIT;
    err = COPY_SIZED(roost_query, &request->as.query, query);
    return err ? err : request_queue_work(bridge_of(uv), request);
}

int roost_uv_kv_get(roost_uv *uv, roost_uv_req *req, struct roost_bytes key, roost_uv_item_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_KV_GET, key, 0, cb, &request);
    if (err) return err;
    request->cb.item = cb;
    return request_queue_work(bridge_of(uv), request);
}

int roost_uv_stream_get(roost_uv *uv, roost_uv_req *req, struct roost_bytes name, uint64_t index, roost_uv_item_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_STREAM_GET, name, index, cb, &request);
    if (err) return err;
    request->cb.item = cb;
    return request_queue_work(bridge_of(uv), request);
}

int roost_uv_state_get(roost_uv *uv, roost_uv_req *req, struct roost_bytes name, roost_uv_state_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_STATE_GET, name, 0, cb, &request);
    if (err) return err;
    request->cb.state = cb;
    return request_queue_work(bridge_of(uv), request);
}

int roost_uv_work(roost_uv *uv, roost_uv_req *req, roost_uv_work_fn work, roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_WORK, (struct roost_bytes){NULL, 0}, 0, cb, &request);
    if (err) return err;
    if (!work) return roost_error_set(ROOST_EINVAL, "no work was given");
    request->cb.plain = cb;
    request->what.work = work;
    return request_queue_work(bridge_of(uv), request);
}
