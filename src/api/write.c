/* SPDX-License-Identifier: MIT
 * api/write.c: every write is a batch, also a single one (layer 8): checked, encoded, its large payloads put into extents
 * that the writer grants (R4), submitted. */
#include <stdio.h>
#include <stdlib.h>

#include "api/internal.h"
#include "base/hash.h"
#include "base/json.h"
#include "os/os.h"

struct batch_op {
    struct rst_op op;
    size_t fields_offset, fields_size;
    size_t payload_offset; /* in `payloads`, unless borrowed */
    const void *borrowed;
    size_t payload_size;
};
struct roost_batch {
    struct rst_buffer ops, fields, payloads;
    bool borrow; /* payloads are the caller's until the call returns */
};

/* ---- argument checks ---- */

int rst_check_key(struct roost_bytes key, const char *what)
{
    if (!key.size) return rst_fail(ROOST_EINVAL, "%s is empty", what);
    if (key.size > ROOST_KEY_SIZE_MAX)
        return rst_fail(ROOST_E2BIG, "%s has %zu bytes; at most %u are possible", what, key.size, ROOST_KEY_SIZE_MAX);
    const uint8_t *zero = memchr(key.data, 0, key.size);
    if (zero) return rst_fail(ROOST_EINVAL, "%s has a NUL at byte %zu", what, (size_t)(zero - (const uint8_t *)key.data));
    return 0;
}

int rst_check_name(struct roost_bytes name, const char *what)
{
    if (name.size > ROOST_NAME_SIZE_MAX)
        return rst_fail(ROOST_E2BIG, "%s has %zu bytes; at most %u are possible", what, name.size, ROOST_NAME_SIZE_MAX);
    int err = rst_check_key(name, what);
    return err ? err : rst_check_utf8(name, what);
}

static int check_size(struct roost_bytes bytes, const char *what)
{
    if (bytes.size && !bytes.data) return rst_fail(ROOST_EINVAL, "%s has a size but no bytes", what);
    if (bytes.size <= ROOST_RECORD_SIZE_MAX) return 0;
    return rst_fail(ROOST_E2BIG, "%s has %zu bytes; at most %u are possible", what, bytes.size, ROOST_RECORD_SIZE_MAX);
}

static int check_metadata(struct roost_bytes metadata)
{
    if (metadata.size > ROOST_METADATA_SIZE_MAX)
        return rst_fail(ROOST_E2BIG, "the metadata has %zu bytes; at most %u are possible", metadata.size,
                        ROOST_METADATA_SIZE_MAX);
    struct rst_json_document document;
    int err = 0;
    if (!rst_json_parse(metadata.data, metadata.size, &document))
        err = rst_fail(ROOST_EINVAL, "the metadata: %s", document.error);
    else if (document.root->kind != RST_JSON_OBJECT)
        err = rst_fail(ROOST_EINVAL, "the metadata is JSON, but no object");
    rst_json_free(&document);
    return err;
}

static int check_memory(const struct roost_memory *memory)
{
    if (!memory) return rst_fail(ROOST_EINVAL, "no memory was given");
    if (!memory->text.size) return rst_fail(ROOST_EINVAL, "the memory's text is empty");
    int err = check_size(memory->text, "the memory's text");
    if (!err) err = rst_check_utf8(memory->text, "the memory's text");
    if (!err && memory->key.size) err = rst_check_key(memory->key, "the memory's key");
    if (!err && memory->tag_count > ROOST_TAG_COUNT_MAX)
        err = rst_fail(ROOST_E2BIG, "a memory with %zu tags; at most %u are possible", memory->tag_count, ROOST_TAG_COUNT_MAX);
    for (size_t i = 0; !err && i < memory->tag_count; i++) err = rst_check_name(memory->tags[i], "a tag");
    if (!err && memory->agent.size) err = rst_check_name(memory->agent, "the agent's name");
    if (!err && memory->session.size) err = rst_check_name(memory->session, "the session's name");
    if (!err && memory->process.size) err = rst_check_name(memory->process, "the process's name");
    if (!err && memory->tool.size) err = rst_check_name(memory->tool, "the tool's name");
    if (!err && memory->metadata.size) err = check_metadata(memory->metadata);
    return err;
}

/* ---- building ---- */

/* The fields of the change that is being added lie at the end of batch->fields, from fields_offset on. */
static int add_op(roost_batch *batch, struct rst_op op, size_t fields_offset, struct roost_bytes payload)
{
    struct rst_buffer *fields = &batch->fields;
    bool full = batch->ops.size / sizeof(struct batch_op) >= ROOST_BATCH_COUNT_MAX;
    rst_fields_end(fields);
    op.payload_hash = rst_hash(payload.data, payload.size, 0);
    struct batch_op added = {
        op, fields_offset, fields->size - fields_offset, batch->payloads.size, batch->borrow ? payload.data : NULL, payload.size};
    if (!full && !batch->borrow) rst_buffer_add(&batch->payloads, payload.data, payload.size);
    if (!full) rst_buffer_add(&batch->ops, &added, sizeof added);
    bool failed = fields->failed || batch->payloads.failed || batch->ops.failed;
    if (!full && !failed) return 0;
    fields->size = fields_offset;
    batch->payloads.size = added.payload_offset;
    fields->failed = batch->payloads.failed = batch->ops.failed = false;
    return full ? rst_fail(ROOST_E2BIG, "a batch of more than %u changes", ROOST_BATCH_COUNT_MAX)
                : rst_fail(ROOST_ENOMEM, "no memory for a batch");
}

static int add_memory(roost_batch *batch, const struct roost_memory *given)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    int err = RST_API_COPY(roost_memory, &memory, given);
    if (!err) err = check_memory(given ? &memory : NULL);
    if (err) return err;
    size_t fields_offset = batch->fields.size;
    if (memory.key.size) rst_fields_add(&batch->fields, RST_FIELD_KEY, memory.key);
    for (size_t i = 0; i < memory.tag_count; i++) rst_fields_add(&batch->fields, RST_FIELD_TAG, memory.tags[i]);
    if (memory.agent.size) rst_fields_add(&batch->fields, RST_FIELD_AGENT, memory.agent);
    if (memory.session.size) rst_fields_add(&batch->fields, RST_FIELD_SESSION, memory.session);
    if (memory.process.size) rst_fields_add(&batch->fields, RST_FIELD_PROCESS, memory.process);
    if (memory.tool.size) rst_fields_add(&batch->fields, RST_FIELD_TOOL, memory.tool);
    if (memory.metadata.size) rst_fields_add(&batch->fields, RST_FIELD_METADATA, memory.metadata);
    return add_op(batch, (struct rst_op){.kind = RST_OP_MEMORY, .time_ns = memory.time_ns}, fields_offset, memory.text);
}

static int add_forget(roost_batch *batch, roost_id id)
{
    if (!id) return rst_fail(ROOST_EINVAL, "ids begin at 1");
    return add_op(batch, (struct rst_op){.kind = RST_OP_FORGET, .number = id}, batch->fields.size, rst_bytes(NULL, 0));
}

static int add_named(roost_batch *batch, uint16_t kind, struct roost_bytes name, struct roost_bytes payload,
                     const struct roost_write *given)
{
    struct roost_write write = ROOST_WRITE_INIT;
    int err = RST_API_COPY(roost_write, &write, given);
    bool stream = kind == RST_OP_STREAM;
    if (!err) err = rst_check_key(name, stream ? "the stream's name" : "the key");
    if (!err) err = check_size(payload, stream ? "the stream's entry" : "the value");
    if (!err && stream && !payload.size) err = rst_fail(ROOST_EINVAL, "the stream's entry is empty");
    if (!err && write.expires_ns < 0) err = rst_fail(ROOST_EINVAL, "the time of expiry is before 1970");
    if (err) return err;
    struct rst_op op = {.kind = kind, .argument = kind == RST_OP_KEY_SET ? (uint64_t)write.expires_ns : 0};
    if (!stream && (write.flags & ROOST_WRITE_IF_VERSION)) {
        op.flags = RST_OP_IF_VERSION;
        op.number = write.expected;
    }
    size_t fields_offset = batch->fields.size;
    rst_fields_add(&batch->fields, stream ? RST_FIELD_NAME : RST_FIELD_KEY, name);
    return add_op(batch, op, fields_offset, payload);
}

int roost_batch_open(roost_batch **ret_batch)
{
    rst_fail_clear();
    roost_batch *batch = calloc(1, sizeof *batch);
    if (!batch) return rst_fail(ROOST_ENOMEM, "no memory for a batch");
    *ret_batch = batch;
    return 0;
}

static void empty(roost_batch *batch)
{
    rst_buffer_free(&batch->ops);
    rst_buffer_free(&batch->fields);
    rst_buffer_free(&batch->payloads);
}

void roost_batch_free(roost_batch *batch)
{
    if (!batch) return;
    empty(batch);
    free(batch);
}

void roost_batch_clear(roost_batch *batch)
{
    rst_buffer_clear(&batch->ops);
    rst_buffer_clear(&batch->fields);
    rst_buffer_clear(&batch->payloads);
}

size_t roost_batch_count(const roost_batch *batch) { return batch->ops.size / sizeof(struct batch_op); }

int roost_batch_append(roost_batch *batch, const struct roost_memory *memory)
{
    rst_fail_clear();
    return add_memory(batch, memory);
}

int roost_batch_forget(roost_batch *batch, roost_id id)
{
    rst_fail_clear();
    return add_forget(batch, id);
}

int roost_batch_kv_set(roost_batch *batch, struct roost_bytes key, struct roost_bytes value, const struct roost_write *write)
{
    rst_fail_clear();
    return add_named(batch, RST_OP_KEY_SET, key, value, write);
}

int roost_batch_kv_delete(roost_batch *batch, struct roost_bytes key, const struct roost_write *write)
{
    rst_fail_clear();
    return add_named(batch, RST_OP_KEY_DELETE, key, rst_bytes(NULL, 0), write);
}

int roost_batch_stream_append(roost_batch *batch, struct roost_bytes name, struct roost_bytes entry)
{
    rst_fail_clear();
    return add_named(batch, RST_OP_STREAM, name, entry, NULL);
}

/* ---- submitting ---- */

static struct batch_op *op_at(const roost_batch *batch, size_t index)
{
    return (struct batch_op *)(void *)batch->ops.data + index;
}

/* A forget has none, and a batch of forgets no buffer for them. */
static struct roost_bytes fields_of(const roost_batch *batch, const struct batch_op *op)
{
    return rst_bytes(op->fields_size ? batch->fields.data + op->fields_offset : NULL, op->fields_size);
}

static const void *payload_of(const roost_batch *batch, const struct batch_op *op)
{
    return op->borrowed ? op->borrowed : batch->payloads.data + op->payload_offset;
}

/* Asks for an extent and writes the payload behind the room for header and fields. */
static int put_into_extent(struct rst_engine *engine, const roost_batch *batch, const struct batch_op *batch_op, uint32_t wait_ms,
                           struct rst_op *op)
{
    struct rst_outcome outcome;
    uint64_t size = rst_record_size((uint32_t)batch_op->fields_size, (uint32_t)batch_op->payload_size);
    int err = rst_request(engine, RST_OP_GRANT, size, 0, rst_bytes(NULL, 0), ROOST_PROCESS, wait_ms, &outcome);
    if (err) return err;
    op->flags |= RST_OP_EXTERNAL;
    op->chunk = (uint32_t)(outcome.id >> 32);
    op->offset = (uint32_t)outcome.id;
    return rst_blocks_write(&engine->blocks, op->chunk, op->offset + sizeof(struct rst_record) + batch_op->fields_size,
                            payload_of(batch, batch_op), batch_op->payload_size);
}

/* The greatest payload that travels in the submission: 64 KiB, less when the whole batch would be too much for one frame (R4). */
static size_t inline_limit(struct rst_engine *engine, const roost_batch *batch)
{
    uint64_t limit = RST_INLINE_PAYLOAD_MAX, room = rst_lane_submission_max(rst_engine_region(engine)) / 2;
    for (; limit > 256; limit /= 2) {
        uint64_t total = batch->fields.size;
        for (size_t i = 0; i < roost_batch_count(batch); i++) {
            size_t payload = op_at(batch, i)->payload_size;
            total += 2 * sizeof(struct rst_op) + (payload <= limit ? payload : 0);
        }
        if (total <= room) break;
    }
    return (size_t)limit;
}

static int encode(struct rst_engine *engine, const roost_batch *batch, const struct roost_write *write,
                  struct rst_buffer *ret_submission)
{
    size_t limit = inline_limit(engine, batch);
    rst_submission_begin(ret_submission);
    for (size_t i = 0; i < roost_batch_count(batch); i++) {
        const struct batch_op *batch_op = op_at(batch, i);
        struct rst_op op = batch_op->op;
        bool large = batch_op->payload_size > limit;
        int err = large ? put_into_extent(engine, batch, batch_op, write->wait_ms, &op) : 0;
        if (err) return err;
        rst_submission_add(
            ret_submission, &op, fields_of(batch, batch_op),
            rst_bytes(large || !batch_op->payload_size ? NULL : payload_of(batch, batch_op), batch_op->payload_size));
    }
    return rst_submission_end(ret_submission, write->level);
}

static int complete_write(struct rst_engine *engine, const struct roost_write *given, struct roost_write *ret_write)
{
    struct roost_write write = ROOST_WRITE_INIT;
    int err = RST_API_COPY(roost_write, &write, given);
    if (err) return err;
    if (!write.level) write.level = engine->options.level;
    if (write.level > ROOST_PROCESS) return rst_fail(ROOST_EINVAL, "there is no level %u", write.level);
    if (!write.wait_ms) write.wait_ms = engine->options.wait_ms;
    *ret_write = write;
    return 0;
}

/* Errors that the writer found come without words: they are said here, where the caller's values are at hand. */
static int explain(const roost_batch *batch, int err, const struct rst_outcome *outcome)
{
    size_t index = outcome->failed_index;
    if (index >= roost_batch_count(batch)) return err;
    const struct batch_op *op = op_at(batch, index);
    struct roost_bytes name = rst_bytes(NULL, 0);
    struct roost_bytes fields = fields_of(batch, op);
    if (rst_fields_find(fields, RST_FIELD_KEY, &name) != 1) rst_fields_find(fields, RST_FIELD_NAME, &name);
    char where[48] = "";
    if (roost_batch_count(batch) > 1) snprintf(where, sizeof where, " (change %zu of the batch; nothing was applied)", index);
    if (err == ROOST_EMISMATCH)
        return rst_fail(err, "the key \"%.*s\" has version %llu, expected was %llu%s", (int)name.size, (const char *)name.data,
                        (unsigned long long)outcome->actual, (unsigned long long)op->op.number, where);
    if (err == ROOST_ENOENT && op->op.kind == RST_OP_FORGET)
        return rst_fail(err, "there is no memory %llu%s", (unsigned long long)op->op.number, where);
    if (err == ROOST_ENOENT) return rst_fail(err, "there is no key \"%.*s\"%s", (int)name.size, (const char *)name.data, where);
    return err;
}

static int explain_general(struct rst_engine *engine, int err)
{
    int broken = rst_refused(engine, rst_engine_region(engine));
    /* What was under way when the disk failed may be kept or not: no other error may promise that it is not. */
    if (broken && err == ROOST_EUNKNOWN) return rst_fail_context(err, "whether the write is kept is not known");
    if (broken) return broken;
    if (rst_fail_detail()[0]) return err;
    return rst_fail(err, "%s: the writer answered: %s", engine->path, roost_error_text(err));
}

static int commit_once(roost_root *root, const roost_batch *batch, const struct roost_write *given, uint64_t *ret_ids,
                       struct roost_receipt *ret_receipt)
{
    struct rst_engine *engine = root->engine;
    struct roost_write write;
    struct rst_buffer submission = {0};
    struct rst_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    int err = complete_write(engine, given, &write);
    if (!err && engine->observer) err = rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot write", engine->path);
    /* The same slot for the extents of large payloads and for what names them. */
    if (!err) err = rst_slot_use(engine, rst_os->monotonic_time() + (int64_t)write.wait_ms * 1000000);
    if (err) return err;
    uint64_t client = rst_engine_client(engine);
    err = encode(engine, batch, &write, &submission);
    if (!err) {
        rst_fail_clear();
        err = rst_submit_wait(engine, &submission, write.wait_ms, ret_ids, ret_ids ? (uint32_t)roost_batch_count(batch) : 0,
                              &outcome, ret_receipt);
        if (err && err == outcome.result) {
            if (err == ROOST_EMISMATCH || err == ROOST_ENOENT)
                err = explain(batch, err, &outcome);
            else
                err = explain_general(engine, err);
        }
    }
    /* Refused because the region was replaced between the grant and the submission: not the caller's fault. */
    if (err == ROOST_EINVAL && err == outcome.result && client != rst_engine_client(engine)) err = ROOST_ECANCELED;
    rst_slot_unuse(engine);
    rst_buffer_free(&submission);
    return err;
}

static int commit(roost_root *root, const roost_batch *batch, const struct roost_write *given, uint64_t *ret_ids,
                  struct roost_receipt *ret_receipt)
{
    /* The region was replaced before this was applied, and extents of the old one are no good in the new one: all of it once more. */
    int err = ROOST_ECANCELED;
    for (int tries = 0; err == ROOST_ECANCELED && tries < 3; tries++) err = commit_once(root, batch, given, ret_ids, ret_receipt);
    return err;
}

int roost_batch_commit(roost_root *root, const roost_batch *batch, const struct roost_write *write, uint64_t *ret_ids,
                       struct roost_receipt *ret_receipt)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!batch || !roost_batch_count(batch)) return rst_fail(ROOST_EINVAL, "the batch is empty");
    return commit(root, batch, write, ret_ids, ret_receipt);
}

int roost_append_many(roost_root *root, const struct roost_memory *memories, size_t count, const struct roost_write *write,
                      roost_id *ret_ids, struct roost_receipt *ret_receipt)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!memories || !count) return rst_fail(ROOST_EINVAL, "no memories were given");
    roost_batch batch = {.borrow = true};
    const uint8_t *at = (const uint8_t *)memories;
    for (size_t i = 0; !err && i < count; i++, at += memories->size)
        err = add_memory(&batch, (const struct roost_memory *)(const void *)at);
    if (!err) err = commit(root, &batch, write, ret_ids, ret_receipt);
    empty(&batch);
    return err;
}

int roost_append(roost_root *root, const struct roost_memory *memory, const struct roost_write *write, roost_id *ret_id,
                 struct roost_receipt *ret_receipt)
{
    return roost_append_many(root, memory, 1, write, ret_id, ret_receipt);
}

int roost_forget(roost_root *root, roost_id id, const struct roost_write *write, struct roost_receipt *ret_receipt)
{
    int err = rst_api_enter(root);
    roost_batch batch = {.borrow = true};
    if (!err) err = add_forget(&batch, id);
    if (!err) err = commit(root, &batch, write, NULL, ret_receipt);
    empty(&batch);
    return err;
}

static int commit_named(roost_root *root, uint16_t kind, struct roost_bytes name, struct roost_bytes payload,
                        const struct roost_write *write, uint64_t *ret_index, struct roost_receipt *ret_receipt)
{
    int err = rst_api_enter(root);
    roost_batch batch = {.borrow = true};
    if (!err) err = add_named(&batch, kind, name, payload, write);
    if (!err) err = commit(root, &batch, write, ret_index, ret_receipt);
    empty(&batch);
    return err;
}

int roost_kv_set(roost_root *root, struct roost_bytes key, struct roost_bytes value, const struct roost_write *write,
                 struct roost_receipt *ret_receipt)
{
    return commit_named(root, RST_OP_KEY_SET, key, value, write, NULL, ret_receipt);
}

int roost_kv_delete(roost_root *root, struct roost_bytes key, const struct roost_write *write, struct roost_receipt *ret_receipt)
{
    return commit_named(root, RST_OP_KEY_DELETE, key, rst_bytes(NULL, 0), write, NULL, ret_receipt);
}

int roost_stream_append(roost_root *root, struct roost_bytes name, struct roost_bytes entry, const struct roost_write *write,
                        uint64_t *ret_index, struct roost_receipt *ret_receipt)
{
    return commit_named(root, RST_OP_STREAM, name, entry, write, ret_index, ret_receipt);
}

/* ---- without waiting ---- */

int roost_submit(roost_root *root, const roost_batch *batch, const struct roost_write *given, void *user,
                 struct roost_receipt *ret_receipt)
{
    int err = rst_api_enter_loop(root);
    struct roost_write write;
    struct roost_receipt receipt;
    if (err) return err;
    if (!batch || !roost_batch_count(batch)) return rst_fail(ROOST_EINVAL, "the batch is empty");
    struct rst_engine *engine = root->engine;
    err = complete_write(engine, given, &write);
    for (size_t i = 0; !err && i < roost_batch_count(batch); i++)
        if (op_at(batch, i)->payload_size > inline_limit(engine, batch))
            err = rst_fail(ROOST_E2BIG, "a payload of %zu bytes cannot be submitted without waiting; use roost_batch_commit",
                           op_at(batch, i)->payload_size);
    if (err) return err;
    struct rst_buffer submission = rst_submission_borrow(engine);
    err = encode(engine, batch, &write, &submission);
    if (!err) err = rst_submit_start(engine, &submission, user, &receipt);
    if (!err && ret_receipt) *ret_receipt = receipt;
    rst_submission_return(engine, &submission);
    return err;
}

int roost_poll(roost_root *root, struct roost_completion *ret_completions, size_t count, uint32_t wait_ms)
{
    int err = rst_api_enter_loop(root);
    if (err) return err;
    if (!ret_completions || !count) return rst_fail(ROOST_EINVAL, "no room for completions was given");
    /* Each of them: what lands in one that has no room is lost. The caller's struct may be an older, smaller one. */
    const uint8_t *each = (const uint8_t *)ret_completions;
    for (size_t i = 0; !err && i < count; i++, each += ret_completions->size)
        err = RST_API_SIZED(roost_completion, (const void *)each);
    return err ? err : rst_submit_poll(root->engine, ret_completions, count, wait_ms);
}

int roost_poll_fd(roost_root *root, int *ret_fd)
{
    int err = rst_api_enter(root);
    if (!err && !ret_fd) err = rst_fail(ROOST_EINVAL, "no place for the descriptor was given");
    return err ? err : rst_submit_file(root->engine, ret_fd);
}

int roost_cancel(roost_root *root, const struct roost_receipt *receipt)
{
    int err = rst_api_enter_loop(root);
    if (err) return err;
    return receipt ? rst_submit_cancel(root->engine, receipt) : rst_fail(ROOST_EINVAL, "no receipt was given");
}

int roost_settle(roost_root *root, struct roost_receipt *receipt, uint32_t wait_ms)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!receipt || !receipt->client || !receipt->sequence) return rst_fail(ROOST_EINVAL, "the receipt is empty");
    return rst_settle(root->engine, receipt, wait_ms ? wait_ms : 1);
}
