/* SPDX-License-Identifier: MIT
 * engine/rebuild.c: the whole index anew from the blocks (layer 7, R1).
 *
 * Every record that is found by looking at every chunk and that MANIFEST or an epoch's end vouches for is applied in the order of the LSNs.
 * The log's frames after the visible LSN come by the ordinary way.
 *
 * Nothing that was acknowledged is left out silently. A record whose payload is damaged keeps its entry (id, key, place): reading it
 * says ROOST_ECORRUPT, and check goes on naming it. Of records whose header is damaged the old index is asked, as far as it can be
 * read; what nobody knows any more shows in the totals, which the old MANIFEST has.
 *
 * crash: as a checkpoint's steps 3 to 6 (checkpoint.c): until MANIFEST is renamed the old index stands, whatever it is worth. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/past.h"
#include "os/os.h"
#include "store/scan.h"

enum { FACTS_ROOM = 64 << 10 }; /* of an arena, for what the old index says of one LSN */

struct found_record {
    uint64_t lsn, epoch;
    struct rst_place place;
    uint32_t readable; /* bytes of it that the chunk has */
    uint32_t fact;     /* 0: a record; else a fact of the old index, its number from 1 on */
    bool payload_right;
};
struct known_fact {
    struct rst_fact fact;
    size_t name_offset; /* its name, in names */
};
struct rebuild {
    struct rst_engine *engine;
    struct rst_buffer records; /* struct found_record */
    struct rst_buffer facts;   /* struct known_fact */
    struct rst_buffer names;
    struct rst_epochs epochs;
    struct rst_past past;
    uint64_t covered_lsn, covered_epoch;
    size_t record_count; /* of the records that are sorted: facts come behind */
    bool damaged;        /* something in the blocks cannot be read */
    struct rst_manifest manifest;
    struct rst_delta delta;
    /* the segments written so far: a later record may retire a memory in them */
    struct rst_sealed *sealed;
    size_t sealed_count;
};

static int no_memory(void) { return rst_fail(ROOST_ENOMEM, "no memory to rebuild the index"); }

static struct found_record *record_at(const struct rebuild *rebuild, size_t index)
{
    return (struct found_record *)(void *)rebuild->records.data + index;
}
static size_t found_count(const struct rebuild *rebuild) { return rebuild->records.size / sizeof(struct found_record); }

/* ---- gathering ---- */

static void take_item(struct rebuild *rebuild, uint32_t chunk, uint64_t end, const struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    if (item->kind == RST_SCAN_GAP && (item->guess || item->offset + item->size < end)) rebuild->damaged = true;
    if (item->kind != RST_SCAN_RECORD) return;
    uint64_t size = rst_record_size(header->fields_size, header->payload_size);
    struct found_record found = {.lsn = header->lsn,
                                 .epoch = header->epoch,
                                 .place = {item->offset, (uint32_t)size, chunk},
                                 .readable = (uint32_t)item->size,
                                 .payload_right = item->payload_right};
    if (!item->payload_right) rebuild->damaged = true;
    rst_buffer_add(&rebuild->records, &found, sizeof found);
    rst_epochs_add(&rebuild->epochs, header);
}

static int scan_chunk(struct rebuild *rebuild, uint32_t chunk)
{
    struct rst_engine *engine = rebuild->engine;
    int64_t size = rst_blocks_size(&engine->blocks, chunk); /* 0: there is none */
    if (size <= 0) return (int)size;
    int err;
    const uint8_t *bytes = rst_blocks_bytes(&engine->blocks, chunk, 0, (uint64_t)size, &err);
    if (!bytes) return err;
    struct rst_scan scan;
    struct rst_scan_item item;
    rst_scan_begin(&scan, bytes, (uint64_t)size, chunk);
    while (rst_scan_next(&scan, &item)) take_item(rebuild, chunk, (uint64_t)size, &item);
    return rebuild->records.failed || rebuild->epochs.ends.failed ? no_memory() : 0;
}

/* By LSN; of several with one LSN the greatest epoch first; facts in the order in which they were told. */
static int by_lsn(const void *a, const void *b)
{
    const struct found_record *x = a, *y = b;
    if (x->lsn != y->lsn) return x->lsn < y->lsn ? -1 : 1;
    if (x->epoch != y->epoch) return x->epoch > y->epoch ? -1 : 1;
    return (x->fact > y->fact) - (x->fact < y->fact);
}

static void sort_records(struct rebuild *rebuild)
{
    if (rebuild->records.size) qsort(rebuild->records.data, found_count(rebuild), sizeof(struct found_record), by_lsn);
}

/* Keeps what counts (R1), one record for each LSN. */
static void keep_vouched(struct rebuild *rebuild)
{
    size_t count = 0;
    rst_epochs_sort(&rebuild->epochs);
    for (size_t i = 0; i < found_count(rebuild); i++) {
        const struct found_record *found = record_at(rebuild, i);
        bool counts = found->lsn <= rebuild->covered_lsn && found->epoch <= rebuild->covered_epoch &&
                      rst_epochs_kept(&rebuild->epochs, found->epoch, found->lsn);
        if (counts) *record_at(rebuild, count++) = *found;
    }
    rebuild->records.size = count * sizeof(struct found_record);
    sort_records(rebuild);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!kept || record_at(rebuild, i)->lsn != record_at(rebuild, kept - 1)->lsn)
            *record_at(rebuild, kept++) = *record_at(rebuild, i);
    rebuild->records.size = kept * sizeof(struct found_record);
    rebuild->record_count = kept;
}

static bool have_lsn(const struct rebuild *rebuild, uint64_t lsn)
{
    size_t low = 0, high = rebuild->record_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record_at(rebuild, middle)->lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rebuild->record_count && record_at(rebuild, low)->lsn == lsn;
}

/* A fact whose record is nowhere to be found. */
static int keep_fact(void *user, const struct rst_fact *fact)
{
    struct rebuild *rebuild = user;
    if (!fact->lsn || fact->lsn > rebuild->covered_lsn || have_lsn(rebuild, fact->lsn)) return 0;
    struct known_fact known = {*fact, rebuild->names.size};
    rst_buffer_add(&rebuild->names, fact->name.data, fact->name.size);
    rst_buffer_add(&rebuild->facts, &known, sizeof known);
    struct found_record found = {.lsn = fact->lsn, .fact = (uint32_t)(rebuild->facts.size / sizeof known)};
    rst_buffer_add(&rebuild->records, &found, sizeof found);
    return rebuild->names.failed || rebuild->facts.failed || rebuild->records.failed ? no_memory() : 0;
}

static int gather(struct rebuild *rebuild)
{
    struct rst_engine *engine = rebuild->engine;
    struct rst_buffer numbers = {0};
    int err = rst_chunks_list(engine->blocks.directory, &numbers);
    for (size_t at = 0; !err && at < numbers.size; at += 4) err = scan_chunk(rebuild, rst_get_u32(numbers.data + at));
    rst_buffer_free(&numbers);
    if (err) return err;
    keep_vouched(rebuild);
    struct rst_manifest old;
    memset(&old, 0, sizeof old);
    int there = rst_manifest_read(engine->index_directory, &old);
    err = rst_past_open(engine->index_directory, there ? NULL : &old, NULL, false, &rebuild->past);
    rst_manifest_free(&old);
    if (!err) err = rst_past_tell(&rebuild->past, keep_fact, rebuild);
    if (rebuild->facts.size) rebuild->damaged = true;
    sort_records(rebuild);
    return err;
}

/* ---- applying ---- */

static int apply_view(struct rebuild *rebuild, const struct rst_record_view *record, const struct rst_place *place,
                      struct roost_bytes text)
{
    struct rst_engine *engine = rebuild->engine;
    const struct rst_segment *list[RST_SEGMENT_COUNT_MAX + 1];
    size_t count = 0;
    for (; count < rebuild->sealed_count && count < RST_SEGMENT_COUNT_MAX; count++) list[count] = &rebuild->sealed[count].segment;
    struct rst_live *live = rst_arena_active(engine);
    list[count++] = &live->segment;
    struct rst_record_view analysed = *record;
    struct rst_terms terms;
    uint64_t need = 0;
    memset(&terms, 0, sizeof terms);
    analysed.payload = text;
    int err = rst_apply_prepare(engine->analyzer, &analysed, &terms, &need);
    if (!err && need > rst_arena_room(engine)) err = ROOST_EAGAIN;
    if (!err) err = rst_arena_secure(engine, need);
    if (!err) err = rst_apply_record(live, list, count, record, place, &terms, &rebuild->delta);
    rst_terms_free(&terms);
    return err;
}

static int apply_record(struct rebuild *rebuild, const struct found_record *found)
{
    int err;
    struct rst_record_view record;
    const uint8_t *bytes =
        rst_blocks_bytes(&rebuild->engine->blocks, found->place.chunk, found->place.offset, found->readable, &err);
    if (!bytes) return err;
    err = rst_record_decode(bytes, found->readable, found->place.chunk, found->place.offset, &record);
    if (err) return err;
    /* A complete index knows best what was forgotten, where the record of that may be among those that cannot be read. */
    int dead = rebuild->damaged ? rst_past_dead(&rebuild->past, &record) : 0;
    if (dead) return dead < 0 ? dead : 0;
    return apply_view(rebuild, &record, &found->place, found->payload_right ? record.payload : rst_bytes(NULL, 0));
}

static int apply_fact(struct rebuild *rebuild, const struct known_fact *known)
{
    const struct rst_fact *fact = &known->fact;
    struct rst_engine *engine = rebuild->engine;
    struct rst_record_view record;
    memset(&record, 0, sizeof record);
    record.header.lsn = fact->lsn;
    record.header.number = fact->memory.id;
    record.header.time_ns = fact->memory.time_ns;
    record.header.kind = fact->kind == RST_FACT_MEMORY ? RST_RECORD_MEMORY : RST_RECORD_FORGET;
    if (fact->kind != RST_FACT_NAME) return apply_view(rebuild, &record, &fact->memory.place, rst_bytes(NULL, 0));
    uint64_t need = rst_live_need_map(RST_MAP_KEY_SIZE_MAX);
    if (need > rst_arena_room(engine)) return ROOST_EAGAIN;
    int err = rst_arena_secure(engine, need);
    struct roost_bytes name = rst_bytes(rebuild->names.data + known->name_offset, fact->name.size);
    return err ? err : rst_live_set_map(rst_arena_active(engine), name, &fact->entry);
}

/* Closes the arena into a segment of the new list and makes it empty again. Readers meanwhile see a moving picture: rebuild is a repair. */
static int seal_rebuilt(struct rebuild *rebuild, uint64_t lsn_last)
{
    struct rst_engine *engine = rebuild->engine;
    struct rst_manifest *manifest = &rebuild->manifest;
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
    if (!segments) return no_memory();
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

static int open_rebuilt(struct rebuild *rebuild)
{
    const struct rst_engine *engine = rebuild->engine;
    const struct rst_manifest *manifest = &rebuild->manifest;
    uint32_t count = manifest->header.segment_count;
    struct rst_sealed *sealed = calloc(count + 1u, sizeof *sealed); /* they must not be moved once they are open */
    if (!sealed) return no_memory();
    for (size_t i = 0; i < rebuild->sealed_count; i++) {
        sealed[i] = rebuild->sealed[i];
        sealed[i].segment.name = sealed[i].name;
    }
    free(rebuild->sealed);
    rebuild->sealed = sealed;
    for (; rebuild->sealed_count < count; rebuild->sealed_count++) {
        char name[32];
        rst_segment_name(manifest->segments[rebuild->sealed_count].number, name);
        int file = rst_os->open(engine->index_directory, name, RST_OPEN_READ, 0);
        void *data = NULL;
        size_t size = (size_t)manifest->segments[rebuild->sealed_count].size;
        int err = file < 0 ? file : rst_os->map(file, 0, size, RST_MAP_READ, &data);
        if (file >= 0) rst_os->close(file);
        if (!err) err = rst_sealed_open(&sealed[rebuild->sealed_count], name, data, size, engine->log.language);
        if (err) {
            if (data) rst_os->unmap(data, size);
            return err;
        }
    }
    return 0;
}

/* What one LSN needs does not fit an empty arena: it was written where /dev/shm, and so the arena, was larger. */
static int too_large(const struct rebuild *rebuild, const struct found_record *found)
{
    struct rst_engine *engine = rebuild->engine;
    return rst_fail(
        ROOST_E2BIG,
        "%s: the change with LSN %llu (blocks/chunk_%04u.bin, offset %llu) does not fit a live segment of %llu bytes; "
        "it was written where /dev/shm is larger, and the index can be rebuilt there. Nothing was changed",
        engine->path, (unsigned long long)found->lsn, found->place.chunk, (unsigned long long)found->place.offset,
        (unsigned long long)rst_commit_region(engine)->places.arena_size);
}

static int apply_found(struct rebuild *rebuild, const struct found_record *found, bool begins)
{
    const struct known_fact *facts = (const struct known_fact *)(const void *)rebuild->facts.data;
    if (!found->fact) return apply_record(rebuild, found);
    /* A new segment begins between two LSNs, so there is room for all facts of one. */
    if (begins && rst_arena_room(rebuild->engine) < FACTS_ROOM) return ROOST_EAGAIN;
    return apply_fact(rebuild, &facts[found->fact - 1]);
}

static int apply_all(struct rebuild *rebuild)
{
    uint64_t last = 0;
    int err = 0;
    for (size_t i = 0; !err && i < found_count(rebuild); i++) {
        const struct found_record *found = record_at(rebuild, i);
        bool filled = last && found->lsn != last && rst_live_change_count(rst_arena_active(rebuild->engine));
        err = apply_found(rebuild, found, filled);
        if (err == ROOST_EAGAIN && filled) {
            err = seal_rebuilt(rebuild, last);
            if (!err) err = open_rebuilt(rebuild);
            if (!err) err = apply_found(rebuild, found, false);
        }
        if (err == ROOST_EAGAIN) return too_large(rebuild, found);
        last = found->lsn;
    }
    if (!err && last && rst_live_change_count(rst_arena_active(rebuild->engine))) err = seal_rebuilt(rebuild, last);
    return err;
}

static void free_rebuild(struct rebuild *rebuild)
{
    for (size_t i = 0; i < rebuild->sealed_count; i++)
        rst_os->unmap((void *)(uintptr_t)rebuild->sealed[i].data, (size_t)rebuild->sealed[i].size);
    free(rebuild->sealed);
    rst_past_close(&rebuild->past);
    rst_manifest_free(&rebuild->manifest);
    rst_epochs_free(&rebuild->epochs);
    rst_buffer_free(&rebuild->records);
    rst_buffer_free(&rebuild->facts);
    rst_buffer_free(&rebuild->names);
}

/* The new index grows in the other arena; readers stay with the old one until MANIFEST is replaced. */
static int build(struct rebuild *rebuild)
{
    struct rst_engine *engine = rebuild->engine;
    unsigned active = engine->snapshot.arena_active & 1, other = 1 - active;
    rebuild->manifest.header.segment_next = engine->writer.segment_next;
    engine->snapshot.arena_epoch[other]++;
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    int err = rst_arena_format(engine, other, 1);
    engine->snapshot.arena_active = other;
    if (!err) err = apply_all(rebuild);
    engine->snapshot.arena_active = active;
    return err;
}

int rst_rebuild(struct rst_engine *engine, uint64_t *ret_missing)
{
    int err = rst_broken(engine);
    if (!err) err = rst_commit_sync(engine);
    /* The log behind is free afterwards: what a chunk has lost of it is written there again first. */
    if (!err && engine->writer.replay_position != engine->writer.written_position) err = rst_recover_chunks(engine);
    if (!err) err = rst_checkpoint_sync_chunks(engine);
    if (err) return err;
    struct rebuild rebuild;
    memset(&rebuild, 0, sizeof rebuild);
    rebuild.engine = engine;
    rebuild.covered_lsn = engine->snapshot.visible_lsn;
    rebuild.covered_epoch = engine->writer.epoch;
    err = gather(&rebuild);
    if (!err) err = build(&rebuild);
    uint64_t before = engine->snapshot.memory_count, now = (uint64_t)rebuild.delta.memory_count;
    if (!err) {
        engine->snapshot.memory_count = now;
        engine->snapshot.token_count = (uint64_t)rebuild.delta.token_count;
        err = rst_checkpoint_install(engine, &rebuild.manifest);
    }
    if (!err) *ret_missing = before > now ? before - now : 0;
    free_rebuild(&rebuild);
    return err;
}
