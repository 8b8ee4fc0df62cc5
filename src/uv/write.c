/* SPDX-License-Identifier: MIT
 * uv/write.c: writing requests (layer 9). What can go without waiting is checked and encoded by the loop, the rest runs on the pool. */
#include "uv/internal.h"

enum { WAIT_MS = 5000 }; /* as uv.h says */

static int begin(roost_uv *uv, roost_uv_req *req, enum request_kind kind, const struct roost_write *given, roost_uv_cb cb,
                 struct request **ret_request)
{
    struct request *request;
    int err = request_begin(uv, req, kind, cb, &request);
    if (err) return err;
    request->cb.plain = cb;
    request->write = (struct roost_write)ROOST_WRITE_INIT;
    if (given) err = COPY_SIZED(roost_write, &request->write, given);
    if (err) return err;
    if (!request->write.wait_ms) request->write.wait_ms = WAIT_MS;
    *ret_request = request;
    return 0;
}

int write_encode(struct bridge *bridge, const struct request *request, const roost_batch **ret_batch)
{
    *ret_batch = bridge->batch;
    roost_batch_clear(bridge->batch);
    switch (request->kind) {
    case REQUEST_APPEND:
        return roost_batch_append(bridge->batch, &request->as.memory);
    case REQUEST_FORGET:
        return roost_batch_forget(bridge->batch, request->number);
    case REQUEST_KV_SET:
        return roost_batch_kv_set(bridge->batch, request->name, request->value, &request->write);
    case REQUEST_KV_DELETE:
        return roost_batch_kv_delete(bridge->batch, request->name, &request->write);
    case REQUEST_STREAM_APPEND:
        return roost_batch_stream_append(bridge->batch, request->name, request->value);
    default:
        *ret_batch = request->what.batch;
        return 0;
    }
}

int write_run(roost_root *root, struct request *request)
{
    struct roost_receipt *receipt = &request->req->receipt;
    const struct roost_write *write = &request->write;
    switch (request->kind) {
    case REQUEST_APPEND:
        return roost_append(root, &request->as.memory, write, NULL, receipt);
    case REQUEST_FORGET:
        return roost_forget(root, request->number, write, receipt);
    case REQUEST_COMMIT:
        return roost_batch_commit(root, request->what.batch, write, NULL, receipt);
    case REQUEST_KV_SET:
        return roost_kv_set(root, request->name, request->value, write, receipt);
    case REQUEST_KV_DELETE:
        return roost_kv_delete(root, request->name, write, receipt);
    case REQUEST_STREAM_APPEND:
        return roost_stream_append(root, request->name, request->value, write, NULL, receipt);
    case REQUEST_STATE_PUBLISH:
        return roost_state_publish(root, &request->as.state, write);
    default:
        return roost_settle(root, receipt, request->wait_ms);
    }
}

/* What is wrong with it is said at once, as in roost.h. */
static int submit_checked(struct bridge *bridge, struct request *request)
{
    const roost_batch *batch;
    int err = write_encode(bridge, request, &batch);
    if (!err && bridge->observes) err = roost_submit(bridge->uv->root, batch, NULL, NULL, NULL);
    if (!err) request_submit(bridge, request);
    return err;
}

int roost_uv_append(roost_uv *uv, roost_uv_req *req, const struct roost_memory *memory, const struct roost_write *write,
                    roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_APPEND, write, cb, &request);
    if (err) return err;
    request->as.memory = (struct roost_memory)ROOST_MEMORY_INIT;
    err = COPY_SIZED(roost_memory, &request->as.memory, memory);
    return err ? err : submit_checked(bridge_of(uv), request);
}

int roost_uv_forget(roost_uv *uv, roost_uv_req *req, roost_id id, const struct roost_write *write, roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_FORGET, write, cb, &request);
    if (err) return err;
    request->number = id;
    return submit_checked(bridge_of(uv), request);
}

int roost_uv_commit(roost_uv *uv, roost_uv_req *req, const roost_batch *batch, const struct roost_write *write, roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_COMMIT, write, cb, &request);
    if (err) return err;
    if (!batch || !roost_batch_count(batch)) return roost_error_set(ROOST_EINVAL, "the batch is empty");
    request->what.batch = batch;
    return submit_checked(bridge_of(uv), request);
}

static int submit_named(roost_uv *uv, roost_uv_req *req, enum request_kind kind, struct roost_bytes name,
                        struct roost_bytes value, const struct roost_write *write, roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, kind, write, cb, &request);
    if (err) return err;
    request->name = name;
    request->value = value;
    return submit_checked(bridge_of(uv), request);
}

int roost_uv_kv_set(roost_uv *uv, roost_uv_req *req, struct roost_bytes key, struct roost_bytes value,
                    const struct roost_write *write, roost_uv_cb cb)
{
    return submit_named(uv, req, REQUEST_KV_SET, key, value, write, cb);
}

int roost_uv_kv_delete(roost_uv *uv, roost_uv_req *req, struct roost_bytes key, const struct roost_write *write, roost_uv_cb cb)
{
    return submit_named(uv, req, REQUEST_KV_DELETE, key, (struct roost_bytes){NULL, 0}, write, cb);
}

int roost_uv_stream_append(roost_uv *uv, roost_uv_req *req, struct roost_bytes name, struct roost_bytes entry,
                           const struct roost_write *write, roost_uv_cb cb)
{
    return submit_named(uv, req, REQUEST_STREAM_APPEND, name, entry, write, cb);
}

int roost_uv_state_publish(roost_uv *uv, roost_uv_req *req, const struct roost_state *state, const struct roost_write *write,
                           roost_uv_cb cb)
{
    struct request *request;
    int err = begin(uv, req, REQUEST_STATE_PUBLISH, write, cb, &request);
    if (err) return err;
    request->as.state = (struct roost_state)ROOST_STATE_INIT;
    err = COPY_SIZED(roost_state, &request->as.state, state);
    return err ? err : request_queue_work(bridge_of(uv), request);
}

int roost_uv_settle(roost_uv *uv, roost_uv_req *req, const struct roost_receipt *receipt, uint32_t wait_ms, roost_uv_cb cb)
{
    struct request *request;
    struct roost_receipt asked = *receipt; /* may be this request's own */
    int err = begin(uv, req, REQUEST_SETTLE, NULL, cb, &request);
    if (err) return err;
    request->wait_ms = wait_ms;
    req->receipt = asked;
    return request_queue_work(bridge_of(uv), request);
}
