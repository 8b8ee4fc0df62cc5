/* SPDX-License-Identifier: MIT
 * engine/recover.c: making the region true again (layer 7). All of it under the flock.
 *
 * Cold: the region is new (first opener, reboot, region lost). The log is replayed from where MANIFEST says, up to the first
 * bad frame; what a later frame proves to have been acknowledged is missed and reported (R3).
 * Heir: the region is intact, its writer died. Frames beyond the durable LSN are written and synced again (its fdatasync may have
 * failed, and ours would say OK: R20), what was not applied or answered is (R21), and the epoch grows. */
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

/* An observer repairs nothing. */
static int needs_writer(const struct rst_engine *engine, const char *what)
{
    return rst_fail(
        ROOST_EROFS,
        "%s is not open in any process, and %s: an observer cannot mend that; open it once in a process that may write",
        engine->path, what);
}

/* The record of a frame entry as it must stand in its chunk; writes it there unless it does already. 1: it is right; 0: a large payload
 * is missing or damaged, so its frame is bad; negative: error. */
static int restore_record(struct rst_engine *engine, const struct rst_frame_entry *entry, const uint8_t *inlined, bool force)
{
    struct rst_record_view record;
    if (rst_record_decode(inlined, entry->inline_size, entry->chunk, entry->offset, &record) < 0) return 0;
    if (rst_record_size(record.header.fields_size, record.header.payload_size) != entry->record_size) return 0;
    bool fresh;
    int err =
        engine->observer ? 0 : rst_blocks_allocate(&engine->blocks, entry->chunk, entry->offset + entry->record_size, &fresh);
    if (err) return err;
    const uint8_t *there = rst_blocks_bytes(&engine->blocks, entry->chunk, entry->offset, entry->record_size, &err);
    if (engine->observer && (!there || memcmp(there, inlined, entry->inline_size) != 0))
        return needs_writer(engine, "was left by a crash before all of it had reached blocks/");
    if (!there) return err;
    if (entry->flags & RST_ENTRY_EXTERNAL) {
        uint64_t head_size = sizeof record.header + record.header.fields_size;
        record.payload.data = there + head_size;
        if (!rst_record_payload_right(&record)) return 0;
        rst_buffer_add_u32(&engine->external_chunks, entry->chunk);
        if (force) {
            /* From the page cache, checked, and dirty again. */
            rst_buffer_clear(&engine->scratch);
            rst_buffer_add(&engine->scratch, there + head_size, record.payload.size);
            if (engine->scratch.failed) return rst_fail(ROOST_ENOMEM, "no memory to write a large payload again");
            err = rst_blocks_write(&engine->blocks, entry->chunk, entry->offset + head_size, engine->scratch.data,
                                   engine->scratch.size);
            if (err) return err;
        }
    }
    if (force || memcmp(there, inlined, entry->inline_size) != 0)
        err = rst_blocks_write(&engine->blocks, entry->chunk, entry->offset, inlined, entry->inline_size);
    return err ? err : 1;
}

/* All records of a frame. 1, 0 (the frame is bad), negative error. */
static int restore_frame(struct rst_engine *engine, const struct rst_frame *frame, bool force)
{
    struct rst_frame_walk walk;
    struct rst_frame_entry entry;
    const uint8_t *bytes;
    int more;
    rst_frame_walk_begin(&walk, frame);
    while ((more = rst_frame_walk_entry(&walk, &entry, &bytes)) == 1) {
        int right = restore_record(engine, &entry, bytes, force);
        if (right != 1) return right;
    }
    return more == 0;
}

/* Does this frame continue what was read so far (R2)? */
static bool frame_follows(const struct rst_writer_state *writer, const struct rst_frame_header *header)
{
    return header->epoch >= writer->epoch && header->lsn_first > writer->written_lsn && header->id_next >= writer->id_next;
}

static void adopt_frame(struct rst_writer_state *writer, const struct rst_frame_header *header)
{
    writer->epoch = header->epoch;
    writer->written_position = rst_frame_end(header);
    writer->written_lsn = header->lsn_last;
    writer->lsn_next = header->lsn_last + 1;
    writer->id_next = header->id_next;
    writer->chunk = header->chunk;
    writer->chunk_tail = header->chunk_tail;
    writer->lsn_ceiling_written = header->lsn_ceiling;
    writer->id_ceiling_written = header->id_ceiling;
    writer->closed = header->flags & RST_FRAME_CLOSED ? 1 : 0;
}

static void begin_from_manifest(struct rst_engine *engine, const struct rst_manifest_header *manifest)
{
    struct rst_writer_state *writer = &engine->writer;
    struct rst_snapshot *snapshot = &engine->snapshot;
    memset(writer, 0, sizeof *writer);
    memset(snapshot, 0, sizeof *snapshot);
    writer->epoch = manifest->epoch;
    writer->lsn_next = manifest->covered_lsn + 1;
    writer->id_next = manifest->id_next ? manifest->id_next : 1;
    writer->lsn_ceiling = writer->lsn_ceiling_written = manifest->lsn_ceiling;
    writer->id_ceiling = writer->id_ceiling_written = manifest->id_ceiling;
    writer->written_position = writer->replay_position = manifest->replay_position;
    writer->written_lsn = writer->covered_lsn = manifest->covered_lsn;
    writer->chunk = writer->chunk_synced = manifest->chunk;
    writer->chunk_tail = manifest->chunk_tail;
    writer->segment_next = manifest->segment_next ? manifest->segment_next : 1;
    snapshot->visible_lsn = snapshot->covered_lsn = manifest->covered_lsn;
    snapshot->generation = manifest->generation;
    snapshot->last_id = writer->id_next - 1;
    snapshot->memory_count = manifest->memory_count;
    snapshot->token_count = manifest->token_count;
}

/* Makes the arena `index` an empty live segment. Its epoch grows first, so that nobody trusts what he still reads there. */
static int empty_arena(struct rst_engine *engine, unsigned index)
{
    engine->snapshot.arena_epoch[index]++;
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    return rst_arena_format(engine, index, engine->writer.written_lsn + 1);
}

static void remember_consumed(struct rst_engine *engine, const struct rst_frame *frame)
{
    struct rst_frame_walk walk;
    struct rst_frame_consumed consumed;
    rst_frame_walk_begin(&walk, frame);
    while (rst_frame_walk_consumed(&walk, &consumed) == 1) {
        struct rst_client_record record = {consumed.client, consumed.sequence, consumed.lsn, consumed.id, consumed.result, 0};
        rst_client_remember(engine, -1, &record);
    }
}

/* Everything read so far becomes durable and a segment, when the arena cannot hold more of the replay. */
static int checkpoint_midway(struct rst_engine *engine)
{
    if (engine->observer) return needs_writer(engine, "its log holds more than fits a view");
    int err = rst_log_sync(&engine->log);
    engine->writer.durable_position = engine->writer.written_position;
    engine->writer.durable_lsn = engine->writer.written_lsn;
    return err ? err : rst_checkpoint(engine);
}

static int replay_frame(struct rst_engine *engine, const struct rst_frame *frame)
{
    int err = rst_commit_apply_frame(engine, frame, true);
    if (err == ROOST_E2BIG || err == ROOST_ENOSPC) {
        err = checkpoint_midway(engine);
        if (!err) err = rst_commit_apply_frame(engine, frame, true);
    }
    if (err) return err;
    adopt_frame(&engine->writer, &frame->header);
    engine->snapshot.visible_lsn = frame->header.lsn_last;
    remember_consumed(engine, frame);
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    return 0;
}

/* Replays from the writer's written_position on, up to the first bad frame. force: records are written again even where they are right,
 * as a sync of them may have failed in this boot. */
static int replay(struct rst_engine *engine, bool force)
{
    struct rst_buffer bytes = {0}, raw = {0};
    struct rst_frame frame;
    int found, err = 0;
    while (!err && (found = rst_log_read_frame(&engine->log, engine->writer.written_position, &bytes, &raw, &frame)) != 0) {
        if (found < 0) err = found;
        if (err || !frame_follows(&engine->writer, &frame.header)) break;
        /* The ring holds one lap: a frame behind the beginning of the replay is none. */
        if (rst_frame_end(&frame.header) - engine->writer.replay_position > engine->log.size) break;
        int right = restore_frame(engine, &frame, force);
        if (right == 0) break;
        err = right < 0 ? right : replay_frame(engine, &frame);
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&raw);
    return err;
}

/* Is there a record of a later LSN behind the tail? Records are written just before their frame, one commit after the other. */
static bool records_beyond(struct rst_engine *engine, uint64_t lsn)
{
    uint32_t chunk = (uint32_t)engine->writer.chunk;
    uint64_t offset = engine->writer.chunk_tail;
    for (int64_t size; (size = rst_blocks_size(&engine->blocks, chunk)) > 0; chunk++, offset = 0) {
        while (offset + sizeof(struct rst_record) <= (uint64_t)size) {
            int err;
            struct rst_record_view record;
            const uint8_t *bytes = rst_blocks_bytes(&engine->blocks, chunk, offset, (uint64_t)size - offset, &err);
            if (!bytes || rst_record_decode(bytes, (uint64_t)size - offset, chunk, offset, &record) < 0) break;
            const struct rst_record *header = &record.header;
            bool extent = header->kind == RST_RECORD_VOID;
            if (!extent && header->lsn > lsn && header->epoch >= engine->writer.epoch) return true;
            offset += extent ? header->number : rst_record_size(header->fields_size, header->payload_size);
        }
    }
    return false;
}

/* A log never shrinks by itself. Somebody cut it off: half a frame at its end may be a torn tail, more than that was acknowledged. */
static int cut_within_acknowledged(struct rst_engine *engine, bool *ret_cut)
{
    struct rst_stat stat;
    struct rst_frame_header torn;
    const struct rst_writer_state *writer = &engine->writer;
    *ret_cut = false;
    int err = rst_os->stat(engine->log.file, &stat);
    if (err) return rst_fail(err, "looking at %s/state.wal: %s", engine->path, strerror(-err));
    if (stat.size >= RST_LOG_RING_OFFSET + engine->log.size) return 0;
    err = rst_log_read(&engine->log, writer->written_position, &torn, sizeof torn);
    if (err) return err;
    bool seen = torn.magic == RST_FRAME_MAGIC && torn.position == writer->written_position &&
                torn.lsn_first > writer->written_lsn && torn.lsn_last >= torn.lsn_first;
    *ret_cut = records_beyond(engine, seen ? torn.lsn_last : writer->written_lsn);
    return 0;
}

/* Beyond the last good frame: a torn tail, or damage within what was acknowledged (R3)? */
static int judge_tail(struct rst_engine *engine, bool same_boot)
{
    struct rst_writer_state *writer = &engine->writer;
    uint64_t durable_lsn, epoch, found_position;
    int err = rst_log_look_ahead(&engine->log, writer->written_position, &durable_lsn, &epoch, &found_position);
    if (err) return err;
    bool cut;
    err = cut_within_acknowledged(engine, &cut);
    if (err) return err;
    uint64_t ended = writer->epoch;
    bool dropped = epoch > 0;
    if (durable_lsn > writer->written_lsn) {
        rst_fail(ROOST_EDAMAGED,
                 "%s/state.wal: a frame at position %llu proves that changes up to %llu were acknowledged, but only those up to "
                 "%llu can be read",
                 engine->path, (unsigned long long)found_position, (unsigned long long)durable_lsn,
                 (unsigned long long)writer->written_lsn);
        rst_break(engine, ROOST_EDAMAGED, writer->written_position);
    } else if (cut) {
        rst_fail(ROOST_EDAMAGED, "%s/state.wal was cut short; changes up to %llu can be read", engine->path,
                 (unsigned long long)writer->written_lsn);
        rst_break(engine, ROOST_EDAMAGED, writer->written_position);
    }
    /* Numbers (R8). Unless the log was closed in good order, those under the ceilings may have been shown by frames that a power cut
     * took: also in the same boot, as the first process after the cut may have died before it wrote a frame. */
    if (!writer->closed) {
        if (writer->lsn_ceiling_written > writer->lsn_next) writer->lsn_next = writer->lsn_ceiling_written;
        if (writer->id_ceiling_written > writer->id_next) writer->id_next = writer->id_ceiling_written;
    }
    writer->lsn_ceiling = writer->lsn_ceiling_written;
    writer->id_ceiling = writer->id_ceiling_written;
    /* A slow client of a lost region, or a dropped frame, may still own bytes of the tail chunk (R5). */
    if (dropped || (same_boot && !writer->closed && writer->written_lsn)) {
        writer->chunk++;
        writer->chunk_tail = 0;
    }
    writer->epoch_ended = ended;
    if (epoch < ended) epoch = ended;
    if (epoch < engine->log.header.epoch) epoch = engine->log.header.epoch; /* of which no frame is left */
    writer->epoch = epoch + 1;
    writer->epoch_fresh = 1;
    engine->log.header.epoch = writer->epoch; /* written before anybody can commit: root.c */
    return 0;
}

static void remember_manifest_clients(struct rst_engine *engine, const struct rst_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->header.client_count; i++) rst_client_remember(engine, -1, &manifest->clients[i]);
}

int rst_recover_cold(struct rst_engine *engine, bool same_boot)
{
    struct rst_manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    int err = rst_manifest_read(engine->index_directory, &manifest);
    /* Whoever came to mend: 1, and a header from what the log says. */
    bool lost = engine->mending && (err == ROOST_ECORRUPT || err == ROOST_ENOENT);
    if (lost) err = rst_mend_manifest(engine, err, &manifest.header);
    lost = lost && err == 1;
    if (lost) err = 0;
    if (err == ROOST_ENOENT) err = rst_manifest_never_was(engine);
    if (err) return err;
    begin_from_manifest(engine, &manifest.header);
    engine->writer.durable_position = engine->writer.completed_position = engine->writer.replay_position;
    engine->writer.durable_lsn = engine->writer.covered_lsn;
    /* It may have been renamed by a process that died before it could sync the folder: what the one before it needs goes only
     * after that. */
    err = engine->observer ? 0 : rst_manifest_sync(engine->index_directory);
    if (!err && !engine->observer && !engine->mending) rst_segments_sweep(engine->index_directory, &manifest);
    remember_manifest_clients(engine, &manifest);
    if (lost) rst_mend_clients(engine);
    rst_manifest_free(&manifest);
    if (!err) err = empty_arena(engine, 0);
    if (!err) {
        /* Segments that another version built, or that are damaged, are derived: made anew from the blocks. */
        struct rst_reader reader;
        err = lost || engine->index_damaged ? ROOST_ECORRUPT : rst_reader_begin_commit(engine, &reader);
        if (!err) rst_reader_end(&reader);
        if (err == ROOST_EVERSION || (err == ROOST_ECORRUPT && engine->mending)) {
            engine->rebuilt = true;
            err = engine->observer ? needs_writer(engine, "another version built its index")
                                   : rst_rebuild(engine, &engine->rebuild_missing);
        }
    }
    if (!err) err = replay(engine, same_boot);
    if (err == ROOST_ECORRUPT && engine->mending && !engine->rebuilt) {
        /* What the log forgets and replaces is looked up in segments that opened well and are damaged inside: made anew first. */
        engine->index_damaged = true;
        return rst_recover_cold(engine, same_boot);
    }
    if (!err) err = judge_tail(engine, same_boot);
    if (err) return err;
    /* What was there before a reboot is on the disk. In the same boot it may be in the page cache alone, and a sync of it may have
     * failed: written again and synced, it counts (R20). */
    if (engine->writer.written_position != engine->writer.durable_position && same_boot) {
        err = rst_commit_rewrite(engine);
        if (!err) err = rst_commit_sync(engine);
    } else {
        engine->writer.durable_position = engine->writer.written_position;
        engine->writer.durable_lsn = engine->writer.written_lsn;
    }
    engine->writer.completed_position = engine->writer.written_position;
    engine->snapshot.durable_lsn = engine->writer.durable_lsn;
    rst_region_write_writer(rst_commit_region(engine), &engine->writer);
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    return err;
}

/* ---- heir ---- */

/* Frames that the dead writer completed in the log without having said so in the region. */
static int find_unsaid(struct rst_engine *engine)
{
    struct rst_buffer bytes = {0}, raw = {0};
    struct rst_frame frame;
    int found;
    while ((found = rst_log_read_frame(&engine->log, engine->writer.written_position, &bytes, &raw, &frame)) == 1) {
        if (frame.header.epoch != engine->writer.epoch || frame.header.lsn_first != engine->writer.lsn_next) break;
        if (rst_frame_end(&frame.header) - engine->writer.replay_position > engine->log.size) break;
        adopt_frame(&engine->writer, &frame.header);
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&raw);
    return found < 0 ? found : 0;
}

/* Walks the frames of [from, written): what is done with each is `visit`'s. */
typedef int (*visit_fn)(struct rst_engine *engine, const struct rst_frame *frame);
static int walk_frames(struct rst_engine *engine, uint64_t from, visit_fn visit)
{
    struct rst_buffer bytes = {0}, raw = {0};
    struct rst_frame frame;
    int err = 0;
    for (uint64_t position = from; !err && position < engine->writer.written_position; position = rst_frame_end(&frame.header)) {
        int found = rst_log_read_frame(&engine->log, position, &bytes, &raw, &frame);
        if (found == 0)
            err = rst_fail(ROOST_EDAMAGED,
                           "%s/state.wal: the frame at position %llu, written in this boot, cannot be read any more",
                           engine->path, (unsigned long long)position);
        if (found < 0) err = found;
        if (!err) err = visit(engine, &frame);
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&raw);
    return err;
}

static int rewrite_records(struct rst_engine *engine, const struct rst_frame *frame)
{
    int right = restore_frame(engine, frame, true);
    return right < 0 ? right : right ? 0 : rst_fail(ROOST_EDAMAGED, "%s: a large payload is damaged", engine->path);
}

int rst_recover_chunks(struct rst_engine *engine)
{
    int err = walk_frames(engine, engine->writer.replay_position, rewrite_records);
    if (err) return err;
    engine->writer.chunk_synced = 0;
    engine->writer.syncing_chunk = 0;
    return 0;
}

int rst_recover_unsynced(struct rst_engine *engine)
{
    int err = rst_commit_rewrite(engine);
    return err ? err : walk_frames(engine, engine->writer.durable_position, rewrite_records);
}

static int apply_again(struct rst_engine *engine, const struct rst_frame *frame)
{
    bool count = frame->header.lsn_last > engine->snapshot.visible_lsn;
    return rst_commit_apply_frame(engine, frame, count);
}

/* The arena is damaged, or a dead writer leaked too much of it: a new one from the log. */
static int replace_arena(struct rst_engine *engine)
{
    /* crash: the snapshot that readers see changes only after the whole replay (by the caller): an heir that dies in here leaves the
     * next one the same damaged arena and the same work. */
    unsigned other = 1 - (engine->snapshot.arena_active & 1);
    engine->snapshot.arena_epoch[other]++;
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    uint64_t epoch[2] = {engine->snapshot.arena_epoch[0], engine->snapshot.arena_epoch[1]};
    struct rst_writer_state writer = engine->writer;
    struct rst_manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    int err = rst_manifest_read(engine->index_directory, &manifest);
    if (err && err != ROOST_ENOENT) return err;
    begin_from_manifest(engine, &manifest.header);
    rst_manifest_free(&manifest);
    memcpy(engine->snapshot.arena_epoch, epoch, sizeof epoch);
    engine->snapshot.arena_active = other;
    engine->snapshot.arena_epoch[1 - other]++; /* who still reads the old one begins again */
    err = rst_arena_format(engine, other, engine->writer.written_lsn + 1);
    uint64_t end = writer.written_position;
    engine->writer = writer;
    if (!err) err = walk_frames(engine, writer.replay_position, apply_again);
    engine->writer.written_position = end;
    return err;
}

/* The dead writer had renamed MANIFEST but not said so in the region. */
static int finish_checkpoint(struct rst_engine *engine)
{
    struct rst_manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    int err = rst_manifest_read(engine->index_directory, &manifest);
    if (err == ROOST_ENOENT) return 0;
    if (err) return err;
    if (manifest.header.generation > engine->snapshot.generation) {
        unsigned other = 1 - (engine->snapshot.arena_active & 1);
        engine->writer.replay_position = manifest.header.replay_position;
        engine->writer.covered_lsn = manifest.header.covered_lsn;
        engine->writer.segment_next = manifest.header.segment_next;
        if (engine->writer.completed_position < engine->writer.replay_position)
            engine->writer.completed_position = engine->writer.replay_position;
        /* The rename may be in the page cache alone: nothing that the old MANIFEST needs may go before it is on the disk (R7). */
        err = rst_manifest_sync(engine->index_directory);
        /* crash: 1 as the dead writer left it, and the next heir does this again
         *        2 the snapshot is written last: a generation that is the same says that all of this was done */
        if (!err) rst_region_write_writer(rst_commit_region(engine), &engine->writer);
        if (!err) err = empty_arena(engine, other);
        engine->snapshot.arena_active = other;
        engine->snapshot.generation = manifest.header.generation;
        engine->snapshot.covered_lsn = manifest.header.covered_lsn;
        engine->snapshot.memory_count = manifest.header.memory_count; /* a rebuild may have counted anew */
        engine->snapshot.token_count = manifest.header.token_count;
        if (!err) rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
        if (!err) rst_segments_sweep(engine->index_directory, &manifest);
    }
    rst_manifest_free(&manifest);
    return err;
}

static int inherit(struct rst_engine *engine)
{
    /* crash: every step repeats what may have been done already; an heir that dies leaves the next one the same work. */
    struct rst_writer_state *writer = &engine->writer;
    rst_buffer_clear(&engine->external_chunks);
    int err = find_unsaid(engine);
    if (!err) err = finish_checkpoint(engine);
    if (!err && writer->syncing_chunk) err = rst_recover_chunks(engine);
    uint64_t unsynced = writer->written_position - writer->durable_position;
    if (!err && unsynced) {
        err = rst_recover_unsynced(engine);
        if (!err) err = rst_commit_sync(engine);
    }
    if (err && !rst_own_limit(err)) {
        rst_break(engine, err, writer->durable_position);
        return 0;
    }
    if (err) return err;
    /* What the dead one may have left half done in the tail chunk is passed over. */
    err = rst_commit_new_epoch(engine);
    if (err) return err;
    if (walk_frames(engine, writer->completed_position, apply_again) < 0) {
        err = replace_arena(engine);
        if (err) {
            rst_break(engine, err, writer->completed_position);
            return 0;
        }
    }
    engine->snapshot.visible_lsn = writer->written_lsn;
    engine->snapshot.durable_lsn = writer->durable_lsn;
    uint64_t completed = writer->completed_position;
    rst_region_write_writer(rst_commit_region(engine), writer);
    rst_commit_publish(engine);
    /* What could not be answered is the next heir's to answer: passed over, it would be committed once more (R19). */
    err = walk_frames(engine, completed, rst_commit_answer_frame);
    if (err) return err;
    writer->completed_position = writer->written_position;
    rst_region_write_writer(rst_commit_region(engine), writer);
    return 0;
}

int rst_recover_heir(struct rst_engine *engine)
{
    const struct rst_region *region = rst_commit_region(engine);
    rst_region_repair_latches(region);
    if (!rst_region_read_writer(region, &engine->writer) || !rst_region_read_snapshot(region, &engine->snapshot))
        return rst_fail(ROOST_ECORRUPT, "the region's latches cannot be read");
    rst_add_u64(&region->header->takeover_count, 1);
    /* A disk that failed may work again, and all that a failed sync may have dropped is written again. Damage stays. */
    int broken = rst_region_broken(region);
    if (broken == ROOST_EDAMAGED) return 0;
    if (broken) rst_region_set_broken(region, 0);
    int err = inherit(engine);
    /* Whoever holds the role already tries again as an heir, and does not go on as if all were well (R9). */
    if (err && broken) rst_region_set_broken(region, broken);
    return err;
}
