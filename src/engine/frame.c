/* SPDX-License-Identifier: MIT
 * engine/frame.c: records into the blocks, one frame into the log, both onto the disk (layer 7). The crash steps are in commit.c. */
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/group.h"
#include "os/os.h"

uint64_t rst_frame_log_room(const struct rst_engine *engine)
{
    uint64_t used = engine->writer.written_position - engine->writer.replay_position;
    return used < engine->log.size ? engine->log.size - used : 0;
}

int rst_draft_view(struct rst_engine *engine, const struct rst_change_draft *draft, struct rst_record_view *ret_record)
{
    int err = rst_record_decode(rst_decide_bytes(&engine->decide, draft), draft->inline_size, draft->place.chunk,
                                draft->place.offset, ret_record);
    if (err || ret_record->payload.data) return err;
    /* Large: its client has written the payload into the extent that it was granted. */
    uint64_t begin = draft->place.offset + sizeof(struct rst_record) + ret_record->header.fields_size;
    ret_record->payload.data = rst_blocks_bytes(&engine->blocks, draft->place.chunk, begin, ret_record->payload.size, &err);
    if (!err && !rst_record_payload_right(ret_record))
        err = rst_fail(ROOST_ECORRUPT, "a large payload differs from its checksum");
    return err;
}

bool rst_draft_external(const struct rst_engine *engine, const struct rst_change_draft *draft)
{
    struct rst_frame_entry entry;
    memcpy(&entry, engine->decide.entries.data + draft->offset, sizeof entry);
    return entry.flags & RST_ENTRY_EXTERNAL;
}

int rst_frame_write_records(struct rst_engine *engine)
{
    /* Records that follow each other in a chunk go out in one write. */
    rst_buffer_clear(&engine->scratch);
    struct rst_place run = {0, 0, 0};
    for (size_t i = 0; i < rst_decide_count(&engine->decide); i++) {
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        if (rst_draft_external(engine, draft)) {
            rst_buffer_add_u32(&engine->external_chunks, draft->place.chunk);
            if (engine->external_chunks.failed) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
            continue;
        }
        bool follows =
            engine->scratch.size && run.chunk == draft->place.chunk && run.offset + engine->scratch.size == draft->place.offset;
        if (!follows) {
            int err = engine->scratch.size
                          ? rst_blocks_write(&engine->blocks, run.chunk, run.offset, engine->scratch.data, engine->scratch.size)
                          : 0;
            if (err) return err;
            rst_buffer_clear(&engine->scratch);
            run = draft->place;
        }
        rst_buffer_add(&engine->scratch, rst_decide_bytes(&engine->decide, draft), draft->inline_size);
        rst_buffer_add_zeros(&engine->scratch, draft->place.size - draft->inline_size);
        if (engine->scratch.failed) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
    }
    return engine->scratch.size
               ? rst_blocks_write(&engine->blocks, run.chunk, run.offset, engine->scratch.data, engine->scratch.size)
               : 0;
}

/* Voids become records: after the frame, since until then the submission may have to be decided again, and finds its extent by the void.
 * crash: the heir, or replay, writes them from the frame */
int rst_frame_write_heads(struct rst_engine *engine)
{
    int err = 0;
    for (size_t i = 0; !err && i < rst_decide_count(&engine->decide); i++) {
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        if (rst_draft_external(engine, draft))
            err = rst_blocks_write(&engine->blocks, draft->place.chunk, draft->place.offset,
                                   rst_decide_bytes(&engine->decide, draft), draft->inline_size);
    }
    return err;
}

static void add_consumed(struct rst_engine *engine, struct rst_buffer *items, uint32_t *ret_count)
{
    for (size_t i = 0; i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (item->request) continue;
        struct rst_frame_consumed consumed = {
            .client = item->lane.client,
            .sequence = item->lane.sequence,
            .lsn = item->answer.lsn,
            .id = item->answer.id,
            .result = item->answer.result,
            .change_count = item->answer.result ? 0 : item->change_count,
            .failed_index = item->answer.failed_index,
            .actual = item->answer.actual,
        };
        rst_buffer_add(&engine->frame_body, &consumed, sizeof consumed);
        item->logged = true;
        ++*ret_count;
    }
}

/* Keeps a copy of what no sync has covered yet: a failed one may take it out of the page cache. Without memory there is none. */
static void keep_unsynced(struct rst_engine *engine, uint64_t position)
{
    struct rst_buffer *kept = &engine->unsynced;
    if (position == engine->writer.durable_position) {
        rst_buffer_clear(kept);
        engine->unsynced_position = position;
    }
    if (engine->unsynced_position + kept->size != position) return;
    rst_buffer_add(kept, engine->frame_bytes.data, engine->frame_bytes.size);
    if (kept->failed) rst_buffer_clear(kept);
}

int rst_frame_write(struct rst_engine *engine, struct rst_buffer *items, uint32_t flags)
{
    struct rst_writer_state *writer = &engine->writer;
    struct rst_decide *decide = &engine->decide;
    uint32_t consumed_count = 0;
    rst_buffer_clear(&engine->frame_body);
    if (items) add_consumed(engine, items, &consumed_count);
    rst_buffer_add(&engine->frame_body, decide->entries.data, decide->entries.size);
    if (engine->frame_body.failed) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
    uint64_t lsn_end = decide->lsn_next > writer->lsn_next ? decide->lsn_next : writer->lsn_next + 1; /* at least one */
    struct rst_frame_header header = {
        .flags = flags,
        .position = writer->written_position,
        .epoch = writer->epoch,
        .lsn_first = writer->lsn_next,
        .lsn_last = lsn_end - 1,
        .durable_lsn = writer->durable_lsn,
        .time_ns = decide->now_ns,
        .id_next = decide->id_next,
        .id_ceiling = writer->id_ceiling,
        .lsn_ceiling = writer->lsn_ceiling,
        .chunk_tail = decide->chunk_tail,
        .chunk = decide->chunk,
        .consumed_count = consumed_count,
        .entry_count = (uint32_t)rst_decide_count(decide),
    };
    if (flags & RST_FRAME_CLOSED) {
        header.id_ceiling = header.id_next;
        header.lsn_ceiling = lsn_end;
    } else {
        if (header.id_ceiling < header.id_next + RST_LEASE_COUNT / 2) header.id_ceiling = header.id_next + RST_LEASE_COUNT;
        if (header.lsn_ceiling < lsn_end + RST_LEASE_COUNT / 2) header.lsn_ceiling = lsn_end + RST_LEASE_COUNT;
    }
    int err = rst_frame_encode(&header, &engine->frame_body, &engine->frame_bytes);
    if (!err && engine->frame_bytes.size > rst_frame_log_room(engine)) err = rst_fail(ROOST_ENOSPC, "the log is full");
    if (!err) err = rst_log_write(&engine->log, header.position, engine->frame_bytes.data, engine->frame_bytes.size);
    if (err) return err;
    keep_unsynced(engine, header.position);
    writer->epoch_fresh = 0;
    writer->written_position = rst_frame_end(&header);
    writer->written_lsn = header.lsn_last;
    writer->lsn_next = lsn_end;
    writer->id_next = decide->id_next;
    writer->chunk = decide->chunk;
    writer->chunk_tail = decide->chunk_tail;
    writer->lsn_ceiling_written = header.lsn_ceiling;
    writer->id_ceiling_written = header.id_ceiling;
    writer->closed = flags & RST_FRAME_CLOSED ? 1 : 0;
    if (!engine->unsynced_since_ns) engine->unsynced_since_ns = rst_os->monotonic_time();
    rst_region_write_writer(rst_commit_region(engine), writer);
    return 0;
}

/* Chunks that hold large payloads of frames that are about to become durable, and the folder if one of them is new. */
static int sync_externals(struct rst_engine *engine)
{
    uint32_t last = UINT32_MAX;
    for (size_t offset = 0; offset < engine->external_chunks.size; offset += 4) {
        uint32_t chunk = rst_get_u32(engine->external_chunks.data + offset);
        if (chunk == last) continue;
        int err = rst_blocks_sync(&engine->blocks, chunk);
        if (err) return err;
        last = chunk;
    }
    int err = engine->external_chunks.size ? rst_blocks_sync_directory(&engine->blocks) : 0;
    if (!err) rst_buffer_clear(&engine->external_chunks);
    return err;
}

/* Are these bytes still the frames that were written at `position`? A file system may answer a failed sync by bringing back what
 * was there before (btrfs), and then the frames are gone. */
static int check_frames(struct rst_engine *engine, const uint8_t *bytes, uint64_t position)
{
    struct rst_buffer raw = {0};
    struct rst_frame frame;
    int err = 0;
    for (uint64_t at = position; !err && at < engine->writer.written_position; at = rst_frame_end(&frame.header)) {
        struct rst_frame_header header;
        memcpy(&header, bytes + (at - position), sizeof header);
        bool fits = rst_frame_plausible(&header, at, engine->writer.written_position - at);
        if (!fits || rst_frame_decode(bytes + (at - position), header.size, at, &raw, &frame) < 0)
            err = rst_fail(ROOST_EIO, "the frame at position %llu was lost by a failed sync", (unsigned long long)at);
    }
    rst_buffer_free(&raw);
    return err;
}

int rst_commit_rewrite(struct rst_engine *engine)
{
    struct rst_writer_state *writer = &engine->writer;
    struct rst_buffer bytes = {0};
    uint64_t position = writer->durable_position, size = writer->written_position - position;
    if (engine->unsynced_position == position && engine->unsynced.size == size)
        return rst_log_write(&engine->log, position, engine->unsynced.data, (size_t)size);
    /* Of a process that died: what the page cache has, if it is whole. */
    uint8_t *room = rst_buffer_extend(&bytes, (size_t)size + 1);
    int err =
        room ? rst_log_read(&engine->log, position, room, (size_t)size) : rst_fail(ROOST_ENOMEM, "no memory to rewrite the log");
    if (!err) err = check_frames(engine, room, position);
    if (!err) err = rst_log_write(&engine->log, position, room, (size_t)size);
    rst_buffer_free(&bytes);
    return err;
}

static int sync_once(struct rst_engine *engine)
{
    int err = sync_externals(engine);
    return err ? err : rst_log_sync(&engine->log);
}

int rst_commit_sync(struct rst_engine *engine)
{
    enum { REWRITE_COUNT_MAX = 2 }; /* ext4 may tell of one failure twice */
    struct rst_writer_state *writer = &engine->writer;
    if (writer->durable_position == writer->written_position && !engine->external_chunks.size) return 0;
    int err = sync_once(engine);
    for (int tries = 0; err && tries < REWRITE_COUNT_MAX; tries++) {
        rst_engine_log(engine, ROOST_LOG_ERROR, "a sync failed, writing again what it covered: %s", rst_fail_detail());
        err = rst_recover_unsynced(engine);
        if (!err) err = sync_once(engine);
    }
    if (err) {
        rst_break(engine, err, writer->durable_position);
        return err;
    }
    rst_buffer_clear(&engine->unsynced);
    rst_add_u64(&rst_commit_region(engine)->header->sync_count, 1);
    writer->durable_position = writer->written_position;
    writer->durable_lsn = writer->written_lsn;
    writer->lsn_ceiling = writer->lsn_ceiling_written;
    writer->id_ceiling = writer->id_ceiling_written;
    engine->unsynced_since_ns = 0;
    rst_region_write_writer(rst_commit_region(engine), writer);
    return 0;
}
