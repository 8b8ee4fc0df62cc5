/* SPDX-License-Identifier: MIT
 * engine/verify.c: looking at everything, changing nothing (layer 7). */
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "model/names.h"

struct findings {
    roost_found_fn found;
    void *user;
    int count;
    const char *file;
};

static void report(struct findings *findings, int err, const char *file, uint64_t offset)
{
    findings->count++;
    if (findings->found) findings->found(findings->user, err, file, offset, rst_fail_detail());
}

static void report_section(void *user, uint64_t offset, const char *what)
{
    struct findings *findings = user;
    rst_fail(ROOST_ECORRUPT, "%s: %s", findings->file, what);
    report(findings, ROOST_ECORRUPT, findings->file, offset);
}

static void report_place(struct findings *findings, int err, const struct rst_place *place)
{
    char file[48], name[32];
    rst_chunk_name(place->chunk, name);
    snprintf(file, sizeof file, "blocks/%s", name);
    report(findings, err, file, place->offset);
}

/* A record that the index names: there, whole, and what it is said to be. */
static int check_record(struct rst_engine *engine, const struct rst_place *place, uint64_t lsn, uint64_t id,
                        struct findings *findings)
{
    struct rst_record_view record;
    int err = rst_blocks_read(&engine->blocks, place, &record);
    if (!err && !rst_record_payload_right(&record)) err = rst_fail(ROOST_ECORRUPT, "the payload fails its checksum");
    if (!err && (record.header.lsn != lsn || (id && record.header.number != id)))
        err = rst_fail(ROOST_ECORRUPT, "the index names another record here (LSN %llu, found %llu)", (unsigned long long)lsn,
                       (unsigned long long)record.header.lsn);
    if (err && err != ROOST_ECORRUPT) return err;
    if (err) report_place(findings, err, place);
    return 0;
}

static int check_memories(struct rst_engine *engine, struct findings *findings)
{
    uint64_t id = 1, seen = 0;
    for (;;) {
        struct rst_reader reader;
        struct rst_memory_entry entry;
        int err = rst_reader_begin(engine, &reader);
        if (err) return err;
        int found = rst_view_memory_near(&reader.view, id, true, &entry);
        uint64_t expected = reader.view.memory_count;
        if (rst_reader_end(&reader) == ROOST_EAGAIN) continue;
        if (found < 0) {
            report(findings, found, "index", 0);
            return 0;
        }
        if (!found) {
            struct rst_snapshot now;
            /* The count is compared only if nothing was written meanwhile. */
            if (rst_region_read_snapshot(rst_engine_region(engine), &now) && now.memory_count == expected &&
                now.visible_lsn == reader.snapshot.visible_lsn && id > 1 && seen != expected) {
                rst_fail(ROOST_ECORRUPT, "the index lists %llu memories, its totals say %llu", (unsigned long long)seen,
                         (unsigned long long)expected);
                report(findings, ROOST_ECORRUPT, "index", 0);
            }
            return 0;
        }
        seen++;
        err = check_record(engine, &entry.place, entry.lsn, entry.id, findings);
        if (err) return err;
        id = entry.id + 1;
    }
}

static int check_names(struct rst_engine *engine, uint8_t family, struct findings *findings)
{
    uint8_t key[RST_MAP_KEY_SIZE_MAX];
    size_t size = 1;
    bool after = false;
    for (key[0] = family;;) {
        uint8_t next[RST_MAP_KEY_SIZE_MAX];
        size_t next_size = 0;
        struct rst_reader reader;
        struct rst_map_entry entry;
        int err = rst_reader_begin(engine, &reader);
        if (err) return err;
        int found = rst_view_map_next(&reader.view, rst_bytes(&family, 1), rst_bytes(key, size), after, next, &next_size, &entry);
        if (rst_reader_end(&reader) == ROOST_EAGAIN) continue;
        if (found < 0) report(findings, found, "index", 0);
        if (found != 1) return 0;
        if (entry.place.size && (err = check_record(engine, &entry.place, entry.lsn, 0, findings)) < 0) return err;
        memcpy(key, next, next_size);
        size = next_size;
        after = true;
    }
}

static int check_segments(struct rst_engine *engine, struct findings *findings)
{
    struct rst_reader reader;
    int err = rst_reader_begin(engine, &reader);
    if (err == ROOST_ECORRUPT || err == ROOST_EVERSION) {
        report(findings, err, "index/MANIFEST", 0);
        return 0;
    }
    if (err) return err;
    for (uint32_t i = 0; i < reader.set->count; i++) {
        findings->file = reader.set->sealed[i].name;
        rst_sealed_verify(&reader.set->sealed[i], report_section, findings);
    }
    rst_reader_end(&reader);
    return 0;
}

int rst_verify(struct rst_engine *engine, roost_found_fn found, void *user)
{
    struct findings findings = {found, user, 0, NULL};
    const struct rst_region *region = rst_engine_region(engine);
    int broken = rst_region_broken(region);
    if (broken) {
        rst_refused(engine, region);
        report(&findings, broken, "state.wal", RST_LOG_RING_OFFSET + region->header->broken_position % engine->log.size);
    }
    int err = check_segments(engine, &findings);
    if (!err) err = check_memories(engine, &findings);
    static const uint8_t families[] = {RST_MAP_KEY, RST_MAP_STREAM, RST_MAP_AGENT};
    for (size_t i = 0; !err && i < sizeof families; i++) err = check_names(engine, families[i], &findings);
    return err ? err : findings.count;
}

int rst_stats(struct rst_engine *engine, struct roost_stats *ret_stats)
{
    struct rst_snapshot snapshot;
    struct rst_writer_state writer;
    struct rst_reader reader;
    const struct rst_mapping *mapping = rst_engine_shown(engine);
    const struct rst_region *region = &mapping->region;
    const struct rst_region_header *header = region->header;
    if (!rst_region_read_snapshot(region, &snapshot) || !rst_region_read_writer(region, &writer))
        return rst_fail(ROOST_ECORRUPT, "the region's latches cannot be read");
    struct roost_stats stats = {
        .memory_count = snapshot.memory_count,
        .token_count = snapshot.token_count,
        .last_id = snapshot.last_id,
        .visible_lsn = snapshot.visible_lsn,
        .durable_lsn = writer.durable_lsn,
        .epoch = writer.epoch,
        .generation = snapshot.generation,
        .log_size = engine->log.size,
        .log_used = writer.written_position - writer.replay_position,
        .arena_size = region->places.arena_size,
        .region_bytes = region->size,
        .commit_count = rst_load_u64(&header->commit_count),
        .sync_count = rst_load_u64(&header->sync_count),
        .takeover_count = rst_load_u64(&header->takeover_count),
        .region_kind = region->places.kind,
        .format_version = RST_FORMAT_VERSION,
        .chunk_size = engine->log.chunk_size,
    };
    memcpy(stats.root_uuid, header->root_uuid, 16);
    memcpy(stats.language, engine->log.language, 16);
    stats.arena_used = rst_live_used(&mapping->live[snapshot.arena_active & 1]);
    uint64_t role = rst_load_seq_u64(&header->role);
    if (rst_role_held(role) && rst_role_slot(role) < RST_SLOT_COUNT) {
        stats.writer_pid = region->participants[rst_role_slot(role)].pid;
        stats.own_role = (int)rst_role_slot(role) == rst_engine_slot(engine);
    }
    for (uint32_t slot = 0; slot < RST_SLOT_COUNT && slot < rst_load_u32(&header->participant_high); slot++)
        stats.participant_count += (int)slot == rst_engine_slot(engine) || rst_participant_alive(engine->log.file, slot);
    uint32_t chunk_count;
    int err = rst_blocks_count(&engine->blocks, &chunk_count, &stats.chunk_bytes);
    stats.chunk_count = chunk_count;
    if (!err) err = rst_reader_begin(engine, &reader);
    if (err) return err;
    stats.segment_count = reader.set->count;
    for (uint32_t i = 0; i < reader.set->count; i++) stats.segment_bytes += reader.set->mapped[i];
    rst_reader_end(&reader);
    *ret_stats = stats;
    return 0;
}
