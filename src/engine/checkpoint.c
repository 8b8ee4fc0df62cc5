/* SPDX-License-Identifier: MIT
 * engine/checkpoint.c: the live segment becomes a file and the log behind it is free (layer 7, R7).
 *
 * crash: 1 log synced: everything applied is durable
 *        2 chunks synced (`syncing_chunk` set meanwhile: an heir writes their bytes again from the log, R20)
 *        3 seg-N.idx written and synced, index/ synced: MANIFEST does not know it; swept by the next one
 *        4 MANIFEST renamed and index/ synced: covers everything visible, so readers leave the arena out
 *        5 region says so (writer state, then the other arena made empty and published): an heir finishes it after 4
 *        6 files that were merged away are unlinked: swept by the next one
 * The log behind replay_position is written again only after 5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

enum {
    TINY_SEGMENT_SIZE = 4 << 20, /* segments up to this size are merged with their newer neighbour at checkpoint */
};

int rst_checkpoint_sync_chunks(struct rst_engine *engine)
{
    struct rst_writer_state *writer = &engine->writer;
    writer->syncing_chunk = 1;
    rst_region_write_writer(rst_commit_region(engine), writer);
    int err = 0;
    for (uint64_t chunk = writer->chunk_synced; !err && chunk <= writer->chunk; chunk++)
        if ((err = rst_blocks_sync(&engine->blocks, (uint32_t)chunk)) == ROOST_ENOENT)
            err = 0; /* begun, and nothing written yet */
    if (!err) err = rst_blocks_sync_directory(&engine->blocks);
    if (err) {
        /* What the failed sync may have dropped is written again now, for readers, and all of it is synced by the next try. */
        if (rst_recover_chunks(engine) < 0) rst_break(engine, err, writer->durable_position);
        return err;
    }
    writer->syncing_chunk = 0;
    writer->chunk_synced = writer->chunk;
    rst_region_write_writer(rst_commit_region(engine), writer);
    return 0;
}

/* The oldest of the segments that are merged into the new one: the tail of the list while it is tiny, and each no larger than
 * twice what was gathered so far, so that each byte is written a logarithmic number of times. */
static uint32_t merge_from(const struct rst_manifest *manifest, uint64_t live_size)
{
    uint32_t first = manifest->header.segment_count;
    uint64_t gathered = live_size;
    while (first > 0) {
        uint64_t size = manifest->segments[first - 1].size;
        if (size > TINY_SEGMENT_SIZE || size > 2 * gathered) break;
        gathered += size;
        first--;
    }
    return first;
}

static void fill_header(const struct rst_engine *engine, struct rst_manifest_header *header, uint64_t generation)
{
    const struct rst_writer_state *writer = &engine->writer;
    header->generation = generation;
    header->covered_lsn = engine->snapshot.visible_lsn;
    header->replay_position = writer->written_position;
    header->epoch = writer->epoch;
    header->id_next = writer->id_next;
    header->id_ceiling = writer->id_ceiling > writer->id_next ? writer->id_ceiling : writer->id_next;
    header->lsn_ceiling = writer->lsn_ceiling > writer->lsn_next ? writer->lsn_ceiling : writer->lsn_next;
    header->memory_count = engine->snapshot.memory_count;
    header->token_count = engine->snapshot.token_count;
    header->chunk = (uint32_t)writer->chunk;
    header->chunk_tail = writer->chunk_tail;
}

/* Seals sources[first..] of the reader's list into a new segment file and lists it. Nothing to seal: the list stays. */
static int seal(struct rst_engine *engine, const struct rst_reader *reader, const struct rst_manifest *old, bool merge,
                struct rst_manifest *manifest)
{
    uint64_t live_used = rst_live_used(rst_arena_active(engine));
    bool live = reader->view.segment_count > reader->set->count;
    uint32_t first = live && merge ? merge_from(old, live_used) : old->header.segment_count;
    if (first) memcpy(manifest->segments, old->segments, first * sizeof *old->segments);
    manifest->header.segment_count = first;
    if (!live) return 0;
    struct rst_seal plan = {
        .segments = reader->view.segments + first,
        .count = reader->view.segment_count - first,
        .lsn_last = engine->snapshot.visible_lsn,
        .lsn_first = first < old->header.segment_count ? old->segments[first].lsn_first : old->header.covered_lsn + 1,
        .oldest = first == 0,
        .language = engine->log.language,
    };
    struct rst_buffer bytes = {0};
    uint64_t number = manifest->header.segment_next;
    int err = rst_seal_build(&plan, &bytes);
    if (!err) err = rst_segment_write(engine->index_directory, number, &bytes);
    if (!err) {
        manifest->segments[first] = (struct rst_manifest_segment){number, plan.lsn_first, plan.lsn_last, bytes.size};
        manifest->header.segment_count = first + 1;
        manifest->header.segment_next = number + 1;
    }
    rst_buffer_free(&bytes);
    return err;
}

/* Step 5: the region learns what MANIFEST says. */
static int publish(struct rst_engine *engine, const struct rst_manifest_header *header)
{
    struct rst_snapshot *snapshot = &engine->snapshot;
    unsigned other = 1 - (snapshot->arena_active & 1);
    engine->writer.replay_position = header->replay_position;
    engine->writer.completed_position =
        engine->writer.completed_position < header->replay_position ? header->replay_position : engine->writer.completed_position;
    engine->writer.covered_lsn = header->covered_lsn;
    engine->writer.segment_next = header->segment_next;
    rst_region_write_writer(rst_commit_region(engine), &engine->writer);
    snapshot->arena_epoch[other]++;
    rst_region_write_snapshot(rst_commit_region(engine), snapshot);
    int err = rst_arena_format_prepared(engine, other, header->covered_lsn + 1);
    if (err) return err;
    snapshot->arena_active = other;
    snapshot->generation = header->generation;
    snapshot->covered_lsn = header->covered_lsn;
    rst_region_write_snapshot(rst_commit_region(engine), snapshot);
    rst_region_ring(&rst_commit_region(engine)->header->generation.word);
    return 0;
}

/* Steps 3 to 6 with a manifest whose segments stand. */
int rst_checkpoint_install(struct rst_engine *engine, struct rst_manifest *manifest)
{
    int err = rst_client_collect(engine, manifest);
    if (err) return err;
    fill_header(engine, &manifest->header, engine->snapshot.generation + 1);
    /* The other arena is made real before: once MANIFEST stands, only the disk may fail (R6). */
    err = rst_arena_prepare(engine, 1 - (engine->snapshot.arena_active & 1));
    if (!err) err = rst_manifest_sync(engine->index_directory);
    if (err) return err;
    bool renamed;
    err = rst_manifest_write(engine->index_directory, manifest, &renamed);
    if (err && !renamed) return err;
    if (!err) err = publish(engine, &manifest->header);
    if (err)
        rst_break(engine, err, engine->writer.written_position); /* MANIFEST may or may not stand: nobody may go on from here */
    if (!err) rst_segments_sweep(engine->index_directory, manifest);
    return err;
}

static int checkpoint(struct rst_engine *engine, bool merge)
{
    int err = rst_broken(engine);
    if (err) return err;
    if (engine->writer.replay_position == engine->writer.written_position) return 0; /* nothing since the last one */
    err = rst_commit_sync(engine);
    if (!err) err = rst_checkpoint_sync_chunks(engine);
    struct rst_reader reader;
    if (!err) err = rst_reader_begin_commit(engine, &reader);
    if (err) return err;
    const struct rst_manifest *old = &reader.set->manifest;
    struct rst_manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    manifest.header.segment_next = engine->writer.segment_next;
    manifest.segments = calloc(old->header.segment_count + 1u, sizeof *manifest.segments);
    err = manifest.segments ? 0 : rst_fail(ROOST_ENOMEM, "no memory for MANIFEST");
    if (!err) err = seal(engine, &reader, old, merge, &manifest);
    if (!err) err = rst_checkpoint_install(engine, &manifest);
    if (err && !rst_broken(engine))
        rst_segments_sweep(engine->index_directory, old); /* what was written takes space for nothing */
    rst_reader_end(&reader);
    rst_manifest_free(&manifest);
    return err;
}

int rst_checkpoint(struct rst_engine *engine)
{
    int err = checkpoint(engine, true);
    if (err != ROOST_ENOSPC) return err;
    /* Merging can wait; the reserve is for this (R9). */
    rst_reserve_give_up(engine);
    err = checkpoint(engine, false);
    rst_reserve_keep(engine);
    return err;
}
