/* SPDX-License-Identifier: MIT
 * engine/commit.c: the writer's side of a write (layer 7).
 *
 * One group commit: gather what waits in the lanes, decide it, secure all space, write the records into the blocks (page
 * cache) and one frame into the log, sync, apply to the live segment, show, answer. Before the frame is written a failure
 * is the submissions' own and nothing has happened; after it only the disk may fail (R6). The records go to the blocks before the
 * frame, not after it: a process's own limits (RLIMIT_FSIZE, quota) then show while nothing was promised yet. Bytes there that no
 * frame vouches for are overwritten or passed over.
 *
 * crash: 1 records in the blocks, no frame: nobody vouches for them; their epoch is never used again, so a rebuild tells them apart
 *        2 frame written, not synced: the heir (same boot) finds it, rewrites and syncs it; after a loss of power it is there whole or not.
 *          Heads of large payloads not written yet: whoever recovers writes them from the frame
 *        3 synced, not applied: the heir applies it
 *        4 applied, not shown: the heir applies again (idempotent) and shows it
 *        5 shown, not answered: the heir answers from the frame's consumed list (completed_position says from where) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/group.h"
#include "os/os.h"

enum {
    ARENA_SLACK = 4 * RST_LIVE_LEAK_MAX, /* what appliers that were killed may have leaked since the arena was new, and more */
    LOG_RESERVE_MAX = 64 << 10,          /* of the ring, for frames that free space: EPOCH, CLOSED, states */
};

/* ---- health ---- */

int rst_refused(const struct rst_engine *engine, const struct rst_region *region)
{
    int err = rst_region_broken(region);
    if (!err) return 0;
    if (err == ROOST_EDAMAGED)
        return rst_fail(ROOST_EDAMAGED,
                        "%s: state.wal is damaged at offset %llu, within acknowledged data; reading goes on, writing is refused; "
                        "`roost check` lists what is hurt",
                        engine->path,
                        (unsigned long long)(RST_LOG_RING_OFFSET + region->header->broken_position % engine->log.size));
    return rst_fail(ROOST_EROFS, "%s: writing stopped after the disk failed (%s); close all handles and look at the disk",
                    engine->path, strerror(-err));
}

int rst_broken(const struct rst_engine *engine) { return rst_refused(engine, rst_commit_region(engine)); }

void rst_break(struct rst_engine *engine, int err, uint64_t position)
{
    rst_commit_region(engine)->header->broken_position = position;
    rst_region_set_broken(rst_commit_region(engine), err);
    rst_engine_log(engine, ROOST_LOG_ERROR, "writing stopped: %s", rst_fail_detail());
}

/* ---- securing space (R6) ---- */

/* The extent of a large payload must still be the void that was granted to this client (R5). */
static int check_extents(struct rst_engine *engine, const struct rst_decide_mark *mark, uint64_t client)
{
    for (size_t i = mark->drafts / sizeof(struct rst_change_draft); i < rst_decide_count(&engine->decide); i++) {
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        if (!rst_draft_external(engine, draft)) continue;
        int err;
        struct rst_record_view granted, record;
        const uint8_t *bytes =
            rst_blocks_bytes(&engine->blocks, draft->place.chunk, draft->place.offset, sizeof(struct rst_record), &err);
        if (!err) err = rst_record_decode(bytes, sizeof(struct rst_record), draft->place.chunk, draft->place.offset, &granted);
        if (!err && (granted.header.kind != RST_RECORD_VOID || granted.header.number != draft->place.size ||
                     granted.header.extra != client))
            err = ROOST_ECORRUPT;
        if (!err) err = rst_draft_view(engine, draft, &record);
        if (err && err != ROOST_ECORRUPT) return err; /* this process's, or the disk's: says nothing of the payload */
        if (err) return rst_fail(ROOST_EINVAL, "a large payload does not lie in an extent that was granted for it");
    }
    return 0;
}

static void free_prepared(struct rst_prepared *prepared)
{
    for (size_t i = 0; prepared->terms && i < prepared->count; i++) rst_terms_free(&prepared->terms[i]);
    free(prepared->terms);
    memset(prepared, 0, sizeof *prepared);
}

static int prepare(struct rst_engine *engine, struct rst_prepared *ret_prepared)
{
    size_t count = rst_decide_count(&engine->decide);
    *ret_prepared = (struct rst_prepared){calloc(count + 1, sizeof(struct rst_terms)), count, 0};
    if (!ret_prepared->terms) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
    for (size_t i = 0; i < count; i++) {
        struct rst_record_view record;
        uint64_t need = 0;
        int err = rst_draft_view(engine, rst_decide_draft(&engine->decide, i), &record);
        if (!err) err = rst_apply_prepare(engine->analyzer, &record, &ret_prepared->terms[i], &need);
        if (err) return err;
        ret_prepared->need += need;
    }
    return 0;
}

static int secure_chunks(struct rst_engine *engine)
{
    for (size_t i = 0; i < rst_decide_count(&engine->decide); i++) {
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        bool fresh;
        int err = rst_blocks_allocate(&engine->blocks, draft->place.chunk, draft->place.offset + draft->place.size, &fresh);
        if (err) return err;
    }
    return 0;
}

/* ---- the reserve (R9) ---- */

int rst_reserve_keep(struct rst_engine *engine)
{
    enum { BESIDE_THE_LOG = 128 << 10 }; /* a step of a chunk, MANIFEST */
    if (engine->reserve_kept) return 0;
    /* A segment of what the log holds when a checkpoint is due takes about as much. */
    int err = rst_reserve_take(engine->root_directory, engine->log.size / 2 + BESIDE_THE_LOG);
    if (err == ROOST_EFBIG) err = 0; /* says nothing of the disk */
    engine->reserve_kept = !err;
    return err;
}

void rst_reserve_give_up(struct rst_engine *engine)
{
    rst_reserve_give(engine->root_directory);
    engine->reserve_kept = false;
}

/* Does it only forget and delete? */
static bool item_frees(const struct rst_engine *engine, const struct rst_item *item)
{
    struct rst_op_view op;
    size_t offset = sizeof(struct rst_submission_header);
    if (item->request) return true;
    while (rst_submission_next(engine->taken.data + item->offset, &offset, &op) == 1)
        if (op.op.kind != RST_OP_FORGET && op.op.kind != RST_OP_KEY_DELETE) return false;
    return true;
}

static bool group_grows(const struct rst_engine *engine, struct rst_buffer *items)
{
    for (size_t i = 0; i < rst_item_count(items); i++)
        if (!rst_item_at(items, i)->answer.result && !item_frees(engine, rst_item_at(items, i))) return true;
    return false;
}

/* ---- the group ---- */

static int add_states(struct rst_engine *engine, bool all, uint64_t only)
{
    uint8_t bytes[ROOST_STATE_SIZE_MAX], name[ROOST_NAME_SIZE_MAX + 1];
    for (uint32_t index = 0; index < RST_STATE_SLOT_COUNT; index++) {
        if (!all && index != only) continue;
        size_t size, name_size;
        uint64_t version, incarnation;
        if (!rst_state_slot_name(rst_commit_region(engine), index, name, &name_size, &incarnation)) continue;
        if (!rst_state_slot_read(rst_commit_region(engine), index, bytes, &size, &version)) continue;
        struct rst_record record = {.kind = RST_RECORD_STATE,
                                    .number = version,
                                    .time_ns = engine->decide.now_ns,
                                    .payload_hash = rst_hash(bytes, size, 0)};
        struct rst_buffer fields = {0};
        rst_fields_add(&fields, RST_FIELD_NAME, rst_bytes(name, name_size));
        rst_fields_end(&fields);
        int err = fields.failed
                      ? rst_fail(ROOST_ENOMEM, "no memory for a state")
                      : rst_decide_record(&engine->decide, &record, rst_bytes(fields.data, fields.size), rst_bytes(bytes, size));
        rst_buffer_free(&fields);
        if (err) return err;
    }
    return 0;
}

/* After their frame: the versions in it are stored. */
static void mark_states(struct rst_engine *engine)
{
    for (size_t i = 0; i < rst_decide_count(&engine->decide); i++) {
        struct rst_record_view record;
        struct roost_bytes name;
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        if (draft->kind != RST_RECORD_STATE || rst_draft_view(engine, draft, &record) < 0 ||
            rst_fields_find(record.fields, RST_FIELD_NAME, &name) != 1)
            continue;
        for (uint32_t index = 0; index < RST_STATE_SLOT_COUNT; index++) {
            uint8_t slot_name[ROOST_NAME_SIZE_MAX + 1];
            size_t size;
            uint64_t incarnation;
            if (!rst_state_slot_name(rst_commit_region(engine), index, slot_name, &size, &incarnation)) continue;
            if (!rst_bytes_equal(name, rst_bytes(slot_name, size))) continue;
            struct rst_state_slot *slot =
                (struct rst_state_slot *)(void *)(rst_commit_region(engine)->base + rst_commit_region(engine)->places.states) +
                index;
            if (rst_load_u64(&slot->persisted_version) < record.header.number)
                rst_store_u64(&slot->persisted_version, record.header.number);
        }
    }
}

static void begin_decide(struct rst_engine *engine, const struct rst_view *view)
{
    struct rst_decide *decide = &engine->decide;
    rst_decide_begin(decide);
    decide->view = view;
    decide->blocks = &engine->blocks;
    decide->now_ns = rst_os->real_time();
    decide->epoch = engine->writer.epoch;
    decide->lsn_next = engine->writer.lsn_next;
    decide->id_next = engine->writer.id_next;
    decide->chunk = (uint32_t)engine->writer.chunk;
    decide->chunk_tail = engine->writer.chunk_tail;
}

/* The first record of every epoch but the first says which LSN is the last one kept of all epochs before it (R1). */
static int begin_epoch(struct rst_engine *engine)
{
    if (!engine->writer.epoch_fresh || engine->writer.epoch <= 1) return 0;
    struct rst_record record = {.kind = RST_RECORD_EPOCH,
                                .number = engine->writer.epoch_ended,
                                .extra = engine->writer.written_lsn,
                                .time_ns = engine->decide.now_ns};
    return rst_decide_record(&engine->decide, &record, rst_bytes(NULL, 0), rst_bytes(NULL, 0));
}

/* Decides each submission of the group; answers hold the outcome. */
static int decide_items(struct rst_engine *engine, struct rst_buffer *items, bool *ret_durable)
{
    int err = begin_epoch(engine);
    for (size_t i = 0; !err && i < rst_item_count(items); i++)
        if (rst_item_at(items, i)->request == RST_OP_STATE_STORE && !rst_item_at(items, i)->answer.result) {
            struct rst_op op;
            memcpy(&op, engine->taken.data + rst_item_at(items, i)->offset + sizeof(struct rst_submission_header), sizeof op);
            err = add_states(engine, false, op.number);
            *ret_durable |= rst_item_at(items, i)->level == ROOST_DURABLE;
        }
    for (size_t i = 0; !err && i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (item->request || item->answer.result) continue;
        struct rst_decide_mark mark;
        rst_decide_mark(&engine->decide, &mark);
        item->first_result = engine->decide.results.size / 8;
        int result = rst_decide_submission(&engine->decide, engine->taken.data + item->offset);
        if (!result && (result = check_extents(engine, &mark, item->lane.client)) < 0) rst_decide_undo(&engine->decide, &mark);
        if (result < 0 && rst_own_limit(result)) return result;
        item->answer.result = result;
        if (result) {
            item->answer.failed_index = engine->decide.failed_index;
            item->answer.actual = engine->decide.actual;
            continue;
        }
        item->answer.lsn = engine->decide.lsn_next - 1;
        for (uint32_t change = 0; change < item->change_count && !item->answer.id; change++)
            item->answer.id = rst_get_u64(engine->decide.results.data + (item->first_result + change) * 8);
        *ret_durable |= item->level == ROOST_DURABLE;
    }
    return err;
}

/* Space for all of it, or an error. ROOST_EAGAIN: after a checkpoint there would be room. */
static int secure(struct rst_engine *engine, struct rst_prepared *prepared, struct rst_buffer *items)
{
    size_t consumed_count = rst_item_count(items);
    uint64_t need = prepared->need + ARENA_SLACK;
    uint64_t frame =
        engine->decide.entries.size + consumed_count * sizeof(struct rst_frame_consumed) + UINT64_C(2) * RST_FRAME_ALIGNMENT;
    uint64_t reserve = engine->log.size / 8 < LOG_RESERVE_MAX ? engine->log.size / 8 : LOG_RESERVE_MAX;
    if (need > rst_arena_room(engine) || frame + reserve > rst_frame_log_room(engine)) return ROOST_EAGAIN;
    int err = rst_arena_secure(engine, need);
    if (err == ROOST_ENOSPC) return ROOST_EAGAIN; /* design: an arena step that cannot be had means checkpoint now */
    if (!err && group_grows(engine, items)) err = rst_reserve_keep(engine);
    return err ? err : secure_chunks(engine);
}

bool rst_own_limit(int err)
{
    return err == ROOST_EFBIG || err == ROOST_EDQUOT || err == ROOST_ENOMEM || err == -EPERM || err == ROOST_EMFILE;
}

static void fail_items(struct rst_buffer *items, int err)
{
    for (size_t i = 0; i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (item->answer.result || (item->request && item->request != RST_OP_STATE_STORE)) continue;
        item->answer = (struct rst_lane_answer){.result = err};
    }
}

/* A failure before the frame: others must not suffer for this process's own limits (R9). */
static void fail_before_frame(struct rst_engine *engine, struct rst_buffer *items, int err)
{
    if (rst_own_limit(err)) {
        engine->own_limit_ns = rst_os->monotonic_time();
        for (size_t i = 0; i < rst_item_count(items); i++) {
            struct rst_item *item = rst_item_at(items, i);
            if ((int)item->lane.slot == engine->slot) continue;
            /* Put back whole lanes, requests too (they may be served twice): answers go out in order. */
            rst_lane_put_back(&item->lane);
            memmove(item, item + 1, (rst_item_count(items) - i - 1) * sizeof *item);
            items->size -= sizeof *item;
            i--;
        }
        rst_store_seq_u32(&rst_commit_region(engine)->header->wanted, 1);
    }
    fail_items(items, err);
}

int rst_commit_new_epoch(struct rst_engine *engine)
{
    /* crash: the header says a higher epoch than was used: one is passed over */
    struct rst_writer_state *writer = &engine->writer;
    uint64_t epoch = (writer->epoch > engine->log.header.epoch ? writer->epoch : engine->log.header.epoch) + 1;
    engine->log.header.epoch = epoch;
    int err = rst_log_write_header(&engine->log);
    if (err) return err;
    writer->epoch_ended = writer->epoch;
    writer->epoch = epoch;
    writer->epoch_fresh = 1;
    rst_region_write_writer(rst_commit_region(engine), writer);
    return 0;
}

/* Nothing was promised, but records lie in the blocks whose numbers and places will be given again: a higher epoch tells them apart. */
static int drop_attempt(struct rst_engine *engine, int err)
{
    int failed = rst_commit_new_epoch(engine);
    if (failed && rst_own_limit(failed))
        engine->abandon = true; /* whoever inherits takes the higher epoch (R9) */
    else if (failed)
        rst_break(engine, failed, engine->writer.written_position);
    return err;
}

/* Writes, syncs, applies and shows what was decided. */
static int carry_out(struct rst_engine *engine, struct rst_reader *reader, struct rst_buffer *items,
                     struct rst_prepared *prepared, bool durable, uint32_t flags)
{
    struct rst_writer_state *writer = &engine->writer;
    bool fresh = writer->epoch_fresh;
    writer->completed_position = writer->written_position; /* all before this frame was answered */
    int err = rst_frame_write_records(engine);
    if (!err) err = rst_frame_write(engine, items, flags);
    if (err) return drop_attempt(engine, err);
    err = rst_frame_write_heads(engine);
    if (err) rst_break(engine, err, writer->written_position);
    /* Numbers beyond the durable ceilings, and the first frame of an epoch, are shown only after a sync (R2, R8). */
    bool ahead = writer->id_next > writer->id_ceiling || writer->lsn_next > writer->lsn_ceiling;
    if (!err && (durable || fresh || ahead)) err = rst_commit_sync(engine);
    if (err) {
        if (items) fail_items(items, ROOST_EUNKNOWN);
        return 0; /* the frame is written: what became of it is unknown, and the root is read-only now */
    }
    err = rst_show_drafts(engine, reader, prepared);
    if (err) {
        /* The arena is damaged: acknowledged data is safe in the log; whoever recovers makes a new arena. */
        rst_break(engine, err, writer->written_position);
        if (items) fail_items(items, ROOST_EUNKNOWN);
        return 0;
    }
    rst_add_u64(&rst_commit_region(engine)->header->commit_count, 1);
    mark_states(engine);
    rst_commit_publish(engine);
    return 0;
}

/* Everything decided in one go, or ROOST_EAGAIN when a checkpoint must come first. */
static int try_group(struct rst_engine *engine, struct rst_buffer *items, bool *ret_written)
{
    struct rst_reader reader;
    struct rst_prepared prepared = {NULL, 0, 0};
    bool durable = false;
    *ret_written = false;
    int err = rst_reader_begin_commit(engine, &reader);
    if (err) return err;
    begin_decide(engine, &reader.view);
    err = decide_items(engine, items, &durable);
    if (!err && rst_decide_count(&engine->decide)) {
        err = prepare(engine, &prepared);
        if (!err) err = secure(engine, &prepared, items);
        if (!err) err = carry_out(engine, &reader, items, &prepared, durable, 0);
        *ret_written = !err;
    }
    free_prepared(&prepared);
    rst_reader_end(&reader);
    return err;
}

static void forget_outcomes(struct rst_buffer *items)
{
    for (size_t i = 0; i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (item->request && item->request != RST_OP_STATE_STORE) continue;
        if (item->answer.result != ROOST_ECORRUPT) memset(&item->answer, 0, sizeof item->answer);
    }
}

/* One group, or one by one what is too much together. */
static int commit_items(struct rst_engine *engine, struct rst_buffer *items)
{
    bool written = false;
    int err = try_group(engine, items, &written);
    if (err == ROOST_EAGAIN) {
        forget_outcomes(items);
        err = rst_checkpoint(engine);
        if (!err) err = try_group(engine, items, &written);
    }
    if (err == ROOST_EAGAIN && rst_item_count(items) > 1) {
        /* Together they are more than an empty arena or log holds: one at a time. */
        rst_group_put_back(items, 1);
        forget_outcomes(items);
        err = try_group(engine, items, &written);
    }
    if (err == ROOST_EAGAIN)
        err = rst_fail(ROOST_E2BIG,
                       "a batch needs more than the root can take in one commit (arena %llu bytes, log %llu bytes); split "
                       "it, or make the root with greater ones",
                       (unsigned long long)rst_commit_region(engine)->places.arena_size, (unsigned long long)engine->log.size);
    return err;
}

/* The disk is full: what adds to it is refused, what frees is done with the reserve's help (R9). */
static int commit_what_frees(struct rst_engine *engine, struct rst_buffer *items)
{
    bool any = false;
    forget_outcomes(items);
    for (size_t i = 0; i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (!item_frees(engine, item)) item->answer = (struct rst_lane_answer){.result = ROOST_ENOSPC};
        any |= !item->answer.result && (!item->request || item->request == RST_OP_STATE_STORE);
    }
    if (!any) return 0;
    rst_reserve_give_up(engine);
    return commit_items(engine, items);
}

static int commit_group(struct rst_engine *engine, struct rst_buffer *items)
{
    bool sync = false;
    int err = rst_broken(engine);
    if (err) fail_items(items, err);
    for (size_t i = 0; i < rst_item_count(items); i++)
        if (rst_item_at(items, i)->request && !rst_item_at(items, i)->answer.result)
            rst_request_serve(engine, rst_item_at(items, i), &sync);
    /* A checkpoint among the requests may have stopped all writing: then no frame may follow it. */
    if (!err && (err = rst_broken(engine)) != 0) fail_items(items, err);
    if (!err) {
        err = commit_items(engine, items);
        if (err == ROOST_ENOSPC) err = commit_what_frees(engine, items);
        if (err) fail_before_frame(engine, items, err);
    }
    if (sync) {
        int failed = rst_broken(engine);
        if (!failed) failed = rst_commit_sync(engine);
        for (size_t i = 0; i < rst_item_count(items); i++)
            if (rst_item_at(items, i)->request == RST_OP_SYNC) rst_item_at(items, i)->answer.result = failed;
    }
    rst_group_answer(engine, items);
    /* A frame whose sync failed was not applied: whoever gets the root going again does that, from this position on. */
    if (!rst_broken(engine)) engine->writer.completed_position = engine->writer.written_position;
    return 0;
}

int rst_commit_waiting(struct rst_engine *engine)
{
    RST_CHECK(engine->role_held);
    struct rst_buffer items = {0};
    int err = rst_group_gather(engine, &items);
    if (!err && rst_item_count(&items)) {
        /* Serving others is no reason to keep the role: it follows the work (R18), to a process that would pay no hop. */
        bool own = false;
        for (size_t i = 0; i < rst_item_count(&items); i++) own |= (int)rst_item_at(&items, i)->lane.slot == engine->slot;
        err = commit_group(engine, &items);
        if (own) engine->last_work_ns = rst_os->monotonic_time();
    } else if (err) {
        rst_group_put_back(&items, 0);
    }
    rst_buffer_free(&items);
    if (engine->abandon) rst_role_abandon(engine);
    if (!engine->role_held) return err;
    /* Half a ring used: free it before it is needed. */
    if (!err && !rst_broken(engine) && engine->writer.written_position - engine->writer.replay_position > engine->log.size / 2) {
        int failed = rst_checkpoint(engine);
        if (failed) rst_engine_log(engine, ROOST_LOG_WARNING, "a checkpoint failed: %s", rst_fail_detail());
    }
    return err;
}

/* A frame that nobody submitted. */
static int commit_own(struct rst_engine *engine, bool states, bool durable, uint32_t flags)
{
    struct rst_reader reader;
    struct rst_prepared prepared = {NULL, 0, 0};
    int err = rst_reader_begin_commit(engine, &reader);
    if (err) return err;
    begin_decide(engine, &reader.view);
    err = begin_epoch(engine);
    if (!err && states) err = add_states(engine, true, 0);
    if (!err) err = prepare(engine, &prepared);
    uint64_t need = prepared.need + ARENA_SLACK;
    if (!err && (need > rst_arena_room(engine) ||
                 engine->decide.entries.size + UINT64_C(2) * RST_FRAME_ALIGNMENT > rst_frame_log_room(engine)))
        err = ROOST_EAGAIN;
    if (!err) err = rst_arena_secure(engine, need);
    if (!err && (err = secure_chunks(engine)) == ROOST_ENOSPC) {
        rst_reserve_give_up(engine);
        err = secure_chunks(engine);
    }
    if (!err) err = carry_out(engine, &reader, NULL, &prepared, durable, flags);
    if (!err) engine->writer.completed_position = engine->writer.written_position;
    free_prepared(&prepared);
    rst_reader_end(&reader);
    return err ? err : rst_broken(engine);
}

int rst_commit_states(struct rst_engine *engine, bool durable)
{
    if (!rst_states_unstored(rst_commit_region(engine))) return 0;
    int err = commit_own(engine, true, durable, 0);
    if (err != ROOST_EAGAIN) return err;
    err = rst_checkpoint(engine);
    return err ? err : commit_own(engine, true, durable, 0);
}

int rst_commit_close(struct rst_engine *engine)
{
    struct rst_writer_state *writer = &engine->writer;
    if (writer->closed) return 0;
    if (writer->epoch_fresh && writer->durable_position == writer->written_position)
        return 0; /* nothing was written in this epoch */
    int err = rst_commit_sync(engine);
    /* crash: 1 no CLOSED frame: the log ends with the last commit, numbers go on at the ceiling
     *        2 CLOSED written, not synced: there or not, both are right */
    if (!err) err = commit_own(engine, false, true, RST_FRAME_CLOSED);
    return err;
}
