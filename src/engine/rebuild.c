/* SPDX-License-Identifier: MIT
 * engine/rebuild.c: the whole index anew from the blocks (layer 7, R1).
 * Every record that passes its checks is found by looking at every chunk; those that MANIFEST or an epoch's end vouch for are
 * applied in the order of their LSNs. The log's frames after the visible LSN come by the ordinary way. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

struct found_record {
    uint64_t lsn;
    struct rst_place place;
};
struct epoch_end {
    uint64_t epoch, lsn;
}; /* of all epochs before `epoch` only LSNs up to `lsn` were kept */

static int by_lsn(const void *a, const void *b)
{
    const struct found_record *x = a, *y = b;
    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

/* Every record that passes its checks, in every chunk; 8 bytes on where none begins. */
static int scan_chunk(struct rst_engine *engine, uint32_t chunk, struct rst_buffer *records, struct rst_buffer *epochs)
{
    int64_t found_size = rst_blocks_size(&engine->blocks, chunk); /* 0: there is none */
    if (found_size < 0) return (int)found_size;
    uint64_t size = (uint64_t)found_size;
    for (uint64_t offset = 0; offset + sizeof(struct rst_record) <= size;) {
        int err;
        struct rst_record_view view;
        const uint8_t *bytes = rst_blocks_bytes(&engine->blocks, chunk, offset, size - offset, &err);
        if (!bytes) return err;
        if (rst_get_u32(bytes) != RST_RECORD_MAGIC || rst_record_decode(bytes, size - offset, chunk, offset, &view) < 0) {
            offset += RST_RECORD_ALIGNMENT;
            continue;
        }
        if (view.header.kind == RST_RECORD_VOID) {
            /* What lies in a void is nobody's; but its length is only believed when it stays inside the chunk. */
            offset += view.header.number >= sizeof(struct rst_record) && view.header.number <= size - offset
                          ? view.header.number
                          : RST_RECORD_ALIGNMENT;
            continue;
        }
        uint64_t record_size = rst_record_size(view.header.fields_size, view.header.payload_size);
        struct found_record found = {view.header.lsn, {offset, (uint32_t)record_size, chunk}};
        struct epoch_end end = {view.header.epoch, view.header.extra};
        bool whole = record_size <= size - offset && (!view.payload.size || rst_record_payload_right(&view));
        if (whole) rst_buffer_add(records, &found, sizeof found);
        if (whole && view.header.kind == RST_RECORD_EPOCH) rst_buffer_add(epochs, &end, sizeof end);
        if (records->failed || epochs->failed) return rst_fail(ROOST_ENOMEM, "no memory to rebuild the index");
        offset += whole ? record_size : RST_RECORD_ALIGNMENT;
    }
    return 0;
}

static int by_epoch(const void *a, const void *b)
{
    const struct epoch_end *x = a, *y = b;
    return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

/* Sorted by epoch, each with the least LSN that it or a later one kept. */
static void sort_ends(struct rst_buffer *epochs)
{
    struct epoch_end *ends = (struct epoch_end *)(void *)epochs->data;
    size_t count = epochs->size / sizeof *ends;
    if (count) qsort(ends, count, sizeof *ends, by_epoch);
    for (size_t i = count; i-- > 1;)
        if (ends[i].lsn < ends[i - 1].lsn) ends[i - 1].lsn = ends[i].lsn;
}

/* Was it kept by every recovery after its epoch (R1)? */
static bool vouched(const struct rst_buffer *epochs, const struct rst_record *record, uint64_t covered_lsn,
                    uint64_t covered_epoch)
{
    if (record->lsn > covered_lsn || record->epoch > covered_epoch) return false; /* the log brings those */
    const struct epoch_end *ends = (const struct epoch_end *)(const void *)epochs->data;
    size_t low = 0, high = epochs->size / sizeof *ends, count = high;
    while (low < high) { /* the first later epoch */
        size_t middle = low + (high - low) / 2;
        if (ends[middle].epoch <= record->epoch)
            low = middle + 1;
        else
            high = middle;
    }
    return low == count || record->lsn <= ends[low].lsn;
}

static int apply_found(struct rst_engine *engine, const struct found_record *found, const struct rst_segment *const *segments,
                       size_t segment_count, struct rst_delta *delta)
{
    struct rst_record_view record;
    struct rst_terms terms;
    uint64_t need = 0;
    memset(&terms, 0, sizeof terms);
    struct rst_live *live = rst_arena_active(engine);
    int err = rst_blocks_read(&engine->blocks, &found->place, &record);
    if (!err) err = rst_apply_prepare(engine->analyzer, &record, &terms, &need);
    if (!err && need > rst_arena_room(engine)) err = ROOST_EAGAIN;
    if (!err) err = rst_arena_secure(engine, need);
    if (!err) err = rst_apply_record(live, segments, segment_count, &record, &found->place, &terms, delta);
    rst_terms_free(&terms);
    return err;
}

/* Closes the arena into a segment of the new list and makes it empty again. Readers meanwhile see a moving picture: rebuild is a repair. */
static int seal_rebuilt(struct rst_engine *engine, struct rst_manifest *manifest, uint64_t lsn_last)
{
    struct rst_live *live = rst_arena_active(engine);
    const struct rst_segment *one = &live->segment;
    uint32_t count = manifest->header.segment_count;
    struct rst_seal plan = {.segments = &one,
                            .count = 1,
                            .lsn_last = lsn_last,
                            .oldest = count == 0,
                            .language = engine->log.language,
                            .lsn_first = count ? manifest->segments[count - 1].lsn_last + 1 : 1};
    struct rst_manifest_segment *segments = realloc(manifest->segments, (count + 1u) * sizeof *segments);
    if (!segments) return rst_fail(ROOST_ENOMEM, "no memory to rebuild the index");
    manifest->segments = segments;
    struct rst_buffer bytes = {0};
    int err = rst_seal_build(&plan, &bytes);
    if (!err) err = rst_segment_write(engine->index_directory, manifest->header.segment_next, &bytes);
    if (!err) {
        segments[count] = (struct rst_manifest_segment){manifest->header.segment_next++, plan.lsn_first, lsn_last, bytes.size};
        manifest->header.segment_count++;
        err = rst_arena_format(engine, engine->snapshot.arena_active & 1, lsn_last + 1);
    }
    rst_buffer_free(&bytes);
    return err;
}

struct rebuilt {
    struct rst_sealed *sealed;
    size_t count;
};

/* The segments written so far, opened: a later record may retire a memory in them. */
static int open_rebuilt(struct rst_engine *engine, const struct rst_manifest *manifest, struct rebuilt *ret_rebuilt)
{
    uint32_t count = manifest->header.segment_count;
    struct rst_sealed *sealed = realloc(ret_rebuilt->sealed, (count + 1u) * sizeof *sealed);
    if (!sealed) return rst_fail(ROOST_ENOMEM, "no memory to rebuild the index");
    ret_rebuilt->sealed = sealed;
    for (; ret_rebuilt->count < count; ret_rebuilt->count++) {
        char name[32];
        rst_segment_name(manifest->segments[ret_rebuilt->count].number, name);
        int file = rst_os->open(engine->index_directory, name, RST_OPEN_READ, 0);
        void *data = NULL;
        size_t size = (size_t)manifest->segments[ret_rebuilt->count].size;
        int err = file < 0 ? file : rst_os->map(file, 0, size, RST_MAP_READ, &data);
        if (file >= 0) rst_os->close(file);
        if (!err) err = rst_sealed_open(&sealed[ret_rebuilt->count], name, data, size, engine->log.language);
        if (err) {
            if (data) rst_os->unmap(data, size);
            return err;
        }
    }
    return 0;
}

static void close_rebuilt(struct rebuilt *rebuilt)
{
    for (size_t i = 0; i < rebuilt->count; i++)
        rst_os->unmap((void *)(uintptr_t)rebuilt->sealed[i].data, (size_t)rebuilt->sealed[i].size);
    free(rebuilt->sealed);
}

static int apply_all(struct rst_engine *engine, const struct found_record *records, size_t count, struct rst_manifest *manifest,
                     struct rst_delta *delta)
{
    struct rebuilt rebuilt = {NULL, 0};
    uint64_t last = 0;
    int err = 0;
    for (size_t i = 0; !err && i < count; i++) {
        if (records[i].lsn == last) continue; /* the same record twice (an extent copied by a repair) */
        const struct rst_segment *list[RST_SEGMENT_COUNT_MAX + 1];
        size_t list_count = 0;
        for (; list_count < rebuilt.count && list_count < RST_SEGMENT_COUNT_MAX; list_count++)
            list[list_count] = &rebuilt.sealed[list_count].segment;
        list[list_count++] = &rst_arena_active(engine)->segment;
        err = apply_found(engine, &records[i], list, list_count, delta);
        if (err == ROOST_EAGAIN && last) {
            err = seal_rebuilt(engine, manifest, last);
            if (!err) err = open_rebuilt(engine, manifest, &rebuilt);
            i--;
            continue;
        }
        last = records[i].lsn;
    }
    if (!err && last && rst_live_change_count(rst_arena_active(engine))) err = seal_rebuilt(engine, manifest, last);
    close_rebuilt(&rebuilt);
    return err;
}

int rst_rebuild(struct rst_engine *engine)
{
    int err = rst_broken(engine);
    if (!err) err = rst_commit_sync(engine);
    if (!err) err = rst_checkpoint_sync_chunks(engine);
    if (err) return err;
    struct rst_buffer records = {0}, epochs = {0};
    uint32_t chunk_count;
    uint64_t chunk_bytes;
    err = rst_blocks_count(&engine->blocks, &chunk_count, &chunk_bytes);
    for (uint32_t chunk = 0; !err && chunk < chunk_count; chunk++) err = scan_chunk(engine, chunk, &records, &epochs);
    sort_ends(&epochs);
    struct rst_manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    struct found_record *list = (struct found_record *)(void *)records.data;
    size_t count = 0;
    for (size_t i = 0; !err && i < records.size / sizeof *list; i++) {
        struct rst_record_view view;
        int damaged = rst_blocks_read(&engine->blocks, &list[i].place, &view);
        if (damaged && damaged != ROOST_ECORRUPT) err = damaged;
        if (!damaged && vouched(&epochs, &view.header, engine->snapshot.visible_lsn, engine->writer.epoch))
            list[count++] = list[i];
    }
    if (!err && count) qsort(list, count, sizeof *list, by_lsn);
    struct rst_delta delta = {0, 0, 0};
    unsigned other = 1 - (engine->snapshot.arena_active & 1), active = engine->snapshot.arena_active & 1;
    /* The new index grows in the other arena; readers stay with the old one until MANIFEST is replaced. */
    if (!err) {
        manifest.header.segment_next = engine->writer.segment_next;
        engine->snapshot.arena_epoch[other]++;
        rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
        err = rst_arena_format(engine, other, 1);
        engine->snapshot.arena_active = other;
        if (!err) err = apply_all(engine, list, count, &manifest, &delta);
        engine->snapshot.arena_active = active;
    }
    if (!err) {
        engine->snapshot.memory_count = (uint64_t)delta.memory_count;
        engine->snapshot.token_count = (uint64_t)delta.token_count;
        err = rst_checkpoint_install(engine, &manifest);
    }
    rst_manifest_free(&manifest);
    rst_buffer_free(&records);
    rst_buffer_free(&epochs);
    return err;
}
