/* SPDX-License-Identifier: MIT
 * engine/requests.c: what clients ask of whoever holds the role, beside changes (layer 7). Answered, never logged: asking again is safe. */

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/group.h"
#include "os/os.h"

static int grant(struct rst_engine *engine, struct rst_item *item, const struct rst_op *op)
{
    /* crash: 1 the tail moved in the region only: after a restart the space is free again, nobody knows of it
     *        2 the void header is written: rebuild passes over the extent by its length
     *        3 answered: the client writes; its death leaves a void (R5) */
    struct rst_writer_state *writer = &engine->writer;
    uint64_t size = rst_align_up(op->number, RST_RECORD_ALIGNMENT);
    if (size < sizeof(struct rst_record) || size > UINT64_C(2) * ROOST_RECORD_SIZE_MAX)
        return rst_fail(ROOST_EINVAL, "an extent of %llu bytes", (unsigned long long)size);
    struct rst_place place =
        rst_blocks_next(engine->blocks.chunk_size, (uint32_t)writer->chunk, writer->chunk_tail, (uint32_t)size);
    bool fresh;
    int err = rst_reserve_keep(engine);
    if (!err) err = rst_blocks_allocate(&engine->blocks, place.chunk, place.offset + size, &fresh);
    if (err) return err;
    writer->chunk = place.chunk;
    writer->chunk_tail = place.offset + size;
    rst_region_write_writer(rst_commit_region(engine), writer);
    struct rst_record record = {.kind = RST_RECORD_VOID,
                                .epoch = writer->epoch,
                                .number = size,
                                .extra = item->lane.client,
                                .time_ns = rst_os->real_time()};
    rst_record_seal(&record, NULL, place.chunk, place.offset);
    err = rst_blocks_write(&engine->blocks, place.chunk, place.offset, &record, sizeof record);
    item->answer.id = (uint64_t)place.chunk << 32 | place.offset;
    return err;
}

/* What can be answered without a frame; true: *ret_sync is raised when the answer must wait for a sync. */
void rst_request_serve(struct rst_engine *engine, struct rst_item *item, bool *ret_sync)
{
    struct rst_op_view op;
    size_t offset = sizeof(struct rst_submission_header);
    rst_submission_next(engine->taken.data + item->offset, &offset, &op);
    struct roost_bytes name = rst_bytes(NULL, 0);
    rst_fields_find(op.fields, RST_FIELD_NAME, &name);
    switch (item->request) {
    case RST_OP_STATE_CLAIM:
        item->answer.result = rst_state_claim(engine, name, item->lane.client, item->lane.slot, &item->answer.id);
        break;
    case RST_OP_GRANT:
        item->answer.result = grant(engine, item, &op.op);
        break;
    case RST_OP_SETTLE:
        item->answer.result = rst_client_outcome(engine, op.op.number, op.op.argument, &item->answer.lsn, &item->answer.id);
        break;
    case RST_OP_SYNC:
        *ret_sync = true;
        break;
    case RST_OP_CHECKPOINT:
        item->answer.result = rst_checkpoint(engine);
        break;
    case RST_OP_REBUILD:
        item->answer.result = rst_rebuild(engine, &item->answer.id);
        break;
    case RST_OP_REST:
        rst_store_seq_u32(&rst_commit_region(engine)->header->wanted, 1);
        break;
    default:
        break; /* STATE_STORE is served with the frame */
    }
}
