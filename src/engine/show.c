/* SPDX-License-Identifier: MIT
 * engine/show.c: a frame that met its level is applied to the live segment, shown to readers and watchers, and answered (layer 7). */
#include <string.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/error.h"
#include "engine/group.h"

static void note_change(struct rst_engine *engine, uint64_t lsn, const struct rst_record_view *record,
                        const struct rst_place *place)
{
    struct rst_change *change = &rst_commit_region(engine)->changes[lsn % RST_CHANGE_COUNT];
    /* A watcher reads lsn, the rest, and lsn again: 0 in between says that it changes. */
    rst_store_u64(&change->lsn, 0);
    rst_fence_release();
    rst_store_relaxed_u64(&change->offset, place ? place->offset : 0);
    rst_store_relaxed_u64(&change->number, record ? record->header.number : 0);
    rst_store_relaxed_u32(&change->chunk, place ? place->chunk : 0);
    rst_store_relaxed_u32(&change->kind, record ? record->header.kind : 0);
    rst_store_u64(&change->lsn, lsn);
}

void rst_commit_publish(struct rst_engine *engine)
{
    engine->snapshot.durable_lsn = engine->writer.durable_lsn;
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    rst_region_ring(&rst_commit_region(engine)->header->commit.word);
}

static void count_delta(struct rst_snapshot *snapshot, const struct rst_delta *delta)
{
    snapshot->memory_count += (uint64_t)delta->memory_count;
    snapshot->token_count += (uint64_t)delta->token_count;
    if (delta->id_max > snapshot->last_id) snapshot->last_id = delta->id_max;
}

/* All segments oldest first. A view leaves the arena out while nothing in it is visible; applying needs it all the same. */
struct segment_list {
    const struct rst_segment *list[RST_SEGMENT_COUNT_MAX + 1];
    size_t count;
};
static void list_all(struct rst_engine *engine, const struct rst_reader *reader, struct segment_list *ret_list)
{
    RST_CHECK(reader->set->count <= RST_SEGMENT_COUNT_MAX);
    for (ret_list->count = 0; ret_list->count < reader->set->count; ret_list->count++)
        ret_list->list[ret_list->count] = &reader->set->sealed[ret_list->count].segment;
    ret_list->list[ret_list->count++] = &rst_arena_active(engine)->segment;
}

int rst_show_drafts(struct rst_engine *engine, const struct rst_reader *reader, struct rst_prepared *prepared)
{
    struct segment_list all;
    list_all(engine, reader, &all);
    struct rst_live *live = rst_arena_active(engine);
    struct rst_delta delta = {0, 0, 0};
    uint64_t lsn = engine->writer.written_lsn + 1 - (prepared->count ? prepared->count : 1);
    for (size_t i = 0; i < prepared->count; i++, lsn++) {
        const struct rst_change_draft *draft = rst_decide_draft(&engine->decide, i);
        struct rst_record_view record;
        int err = rst_draft_view(engine, draft, &record);
        if (!err) err = rst_apply_record(live, all.list, all.count, &record, &draft->place, &prepared->terms[i], &delta);
        if (err) return err;
        note_change(engine, lsn, &record, &draft->place);
    }
    if (!prepared->count) note_change(engine, lsn, NULL, NULL);
    count_delta(&engine->snapshot, &delta);
    engine->snapshot.visible_lsn = engine->writer.written_lsn;
    return 0;
}

/* A commit secures its room; in a replay the caller makes some and tries again. */
static int too_large(const struct rst_engine *engine, uint64_t lsn, uint64_t need)
{
    return rst_fail(ROOST_E2BIG,
                    "%s: the change with LSN %llu takes %llu bytes of a live segment, which has %llu here: it was written where "
                    "/dev/shm is larger, and must be opened there",
                    engine->path, (unsigned long long)lsn, (unsigned long long)need,
                    (unsigned long long)rst_commit_region(engine)->places.arena_size);
}

int rst_commit_apply_frame(struct rst_engine *engine, const struct rst_frame *frame, bool count)
{
    struct rst_reader reader;
    int err = rst_reader_begin_commit(engine, &reader);
    if (err) return err;
    struct segment_list all;
    list_all(engine, &reader, &all);
    struct rst_delta delta = {0, 0, 0};
    struct rst_frame_walk walk;
    struct rst_frame_entry entry;
    const uint8_t *bytes;
    uint64_t lsn = frame->header.lsn_first;
    int more = 0;
    for (rst_frame_walk_begin(&walk, frame); !err && (more = rst_frame_walk_entry(&walk, &entry, &bytes)) == 1; lsn++) {
        struct rst_place place = {entry.offset, entry.record_size, entry.chunk};
        struct rst_record_view record;
        struct rst_terms terms;
        uint64_t need = 0;
        memset(&terms, 0, sizeof terms);
        err = rst_blocks_read(&engine->blocks, &place, &record);
        if (!err) err = rst_apply_prepare(engine->analyzer, &record, &terms, &need);
        if (!err && need > rst_arena_room(engine)) err = too_large(engine, lsn, need);
        if (!err) err = rst_arena_secure(engine, need);
        if (!err) err = rst_apply_record(rst_arena_active(engine), all.list, all.count, &record, &place, &terms, &delta);
        if (!err) note_change(engine, lsn, &record, &place);
        rst_terms_free(&terms);
    }
    rst_reader_end(&reader);
    if (!err && more < 0) err = more;
    if (err) return err;
    if (!frame->header.entry_count) note_change(engine, lsn, NULL, NULL);
    if (count) {
        count_delta(&engine->snapshot, &delta);
        engine->snapshot.visible_lsn = frame->header.lsn_last;
        if (frame->header.id_next > engine->snapshot.last_id + 1 && delta.id_max) engine->snapshot.last_id = delta.id_max;
    }
    return 0;
}

/* The numbers that a submission's changes were given, read back from the frame. */
static int results_of(struct rst_frame_walk *entries, uint32_t change_count, struct rst_buffer *results)
{
    rst_buffer_clear(results);
    for (uint32_t i = 0; i < change_count; i++) {
        struct rst_frame_entry entry;
        const uint8_t *bytes;
        struct rst_record record;
        if (rst_frame_walk_entry(entries, &entry, &bytes) != 1 || entry.inline_size < sizeof record) return ROOST_ECORRUPT;
        memcpy(&record, bytes, sizeof record);
        rst_buffer_add_u64(results, record.kind == RST_RECORD_MEMORY || record.kind == RST_RECORD_STREAM ? record.number : 0);
    }
    return results->failed ? ROOST_ENOMEM : 0;
}

int rst_commit_answer_frame(struct rst_engine *engine, const struct rst_frame *frame)
{
    struct rst_frame_walk walk, entries;
    struct rst_frame_consumed consumed;
    struct rst_buffer results = {0};
    rst_frame_walk_begin(&walk, frame);
    rst_frame_walk_begin(&entries, frame);
    /* Records that nobody submitted (an epoch's end, states) stand before those of the submissions. */
    uint32_t submitted = 0;
    while (rst_frame_walk_consumed(&walk, &consumed) == 1) submitted += consumed.change_count;
    for (uint32_t i = submitted; i < frame->header.entry_count; i++) {
        struct rst_frame_entry entry;
        const uint8_t *bytes;
        if (rst_frame_walk_entry(&entries, &entry, &bytes) != 1) break;
    }
    rst_frame_walk_begin(&walk, frame);
    int err = 0;
    uint32_t high = rst_load_seq_u32(&rst_commit_region(engine)->header->participant_high);
    while (rst_frame_walk_consumed(&walk, &consumed) == 1) {
        int slot = -1;
        for (uint32_t i = 0; i < high && i < RST_SLOT_COUNT && slot < 0; i++)
            if (rst_load_u64(&rst_commit_region(engine)->participants[i].client) == consumed.client) slot = (int)i;
        struct rst_client_record record = {consumed.client, consumed.sequence, consumed.lsn, consumed.id, consumed.result, 0};
        rst_client_remember(engine, slot, &record);
        err = results_of(&entries, consumed.change_count, &results);
        /* What is not answered is committed once more: without its numbers rather than not at all. */
        if (err == ROOST_ENOMEM) break;
        if (slot < 0) continue;
        struct rst_lane_item item = {(uint32_t)slot, consumed.client, consumed.sequence, NULL};
        struct rst_lane_answer answer = {consumed.result,
                                         consumed.failed_index,
                                         err ? 0 : consumed.change_count,
                                         consumed.lsn,
                                         consumed.id,
                                         consumed.actual,
                                         (const uint64_t *)(const void *)results.data};
        rst_lane_answer(rst_commit_region(engine), &item, &answer);
        rst_lane_wake(rst_commit_region(engine), (uint32_t)slot);
    }
    rst_buffer_free(&results);
    return err == ROOST_ENOMEM ? rst_fail(err, "no memory to answer a dead writer's clients") : 0;
}
