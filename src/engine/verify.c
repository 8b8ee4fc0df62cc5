/* SPDX-License-Identifier: MIT
 * engine/verify.c: looking at everything, changing nothing (layer 7): the index, and what it leads to. scrub.c looks at the bytes
 * of blocks and log. */
#include "engine/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "model/names.h"

/* ---- findings ---- */

void rst_finding(struct rst_findings *findings, int err, const char *file, uint64_t offset)
{
    if (err) findings->count++;
    if (findings->found) findings->found(findings->user, err, file, offset, rst_fail_detail());
}

void rst_finding_place(struct rst_findings *findings, int err, uint32_t chunk, uint64_t offset, const char *format, ...)
{
    char file[48], name[32], text[480];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rst_chunk_name(chunk, name);
    snprintf(file, sizeof file, "blocks/%s", name);
    rst_fail(err, "%s", text);
    if (err) rst_buffer_add_u64(&findings->places, (uint64_t)chunk << 32 | (offset & UINT32_MAX));
    rst_finding(findings, err, file, offset);
}

bool rst_findings_have(const struct rst_findings *findings, uint32_t chunk, uint64_t from, uint64_t end)
{
    for (size_t i = 0; i < findings->places.size; i += 8) {
        uint64_t place = rst_get_u64(findings->places.data + i);
        if (place >> 32 == chunk && (place & UINT32_MAX) >= from && (place & UINT32_MAX) < end) return true;
    }
    return false;
}

void rst_describe_name(struct roost_bytes key, char *ret_text, size_t size)
{
    const char *bytes = (const char *)key.data + 1;
    size_t name_size = key.size ? key.size - 1 : 0;
    switch (key.size ? *((const char *)key.data) : 0) {
    case RST_MAP_KEY:
        snprintf(ret_text, size, "key \"%.*s\"", (int)name_size, bytes);
        break;
    case RST_MAP_AGENT:
        snprintf(ret_text, size, "state of \"%.*s\"", (int)name_size, bytes);
        break;
    case RST_MAP_STREAM:
        if (name_size < 9) break;
        snprintf(ret_text, size, "entry %llu of stream \"%.*s\"", (unsigned long long)rst_get_be64(bytes + name_size - 8),
                 (int)(name_size - 9), bytes);
        break;
    default:
        snprintf(ret_text, size, "an entry of the index");
    }
}

/* ---- from the index to the blocks ---- */

/* A record that the index names: there, and what it is said to be. Its payload is scrub's. */
static int check_record(struct rst_engine *engine, const struct rst_place *place, uint64_t lsn, uint64_t id, const char *what,
                        struct rst_findings *findings)
{
    struct rst_record_view record;
    char detail[256];
    int err = rst_blocks_read(&engine->blocks, place, &record);
    if (err && err != ROOST_ECORRUPT) return err;
    snprintf(detail, sizeof detail, "%s", rst_fail_detail());
    if (err)
        rst_finding_place(findings, err, place->chunk, place->offset, "%s: %s", what, detail);
    else if (record.header.lsn != lsn || (id && record.header.number != id))
        rst_finding_place(findings, ROOST_ECORRUPT, place->chunk, place->offset,
                          "%s: the index leads to another record (LSN %llu, found %llu)", what, (unsigned long long)lsn,
                          (unsigned long long)record.header.lsn);
    return 0;
}

/* One look: an error of the index itself is a finding, and ends the pass. */
static int index_failed(struct rst_findings *findings, int err)
{
    if (err != ROOST_ECORRUPT && err != ROOST_EVERSION) return err;
    findings->index_unusable = true;
    rst_finding(findings, err, "index", 0);
    return 0;
}

static int check_totals(struct rst_engine *engine, const struct rst_reader *reader, uint64_t seen, struct rst_findings *findings)
{
    struct rst_snapshot now;
    /* The count is compared only if nothing was written meanwhile. */
    if (!rst_region_read_snapshot(rst_engine_region(engine), &now) || now.visible_lsn != reader->snapshot.visible_lsn ||
        now.memory_count != reader->view.memory_count || seen == reader->view.memory_count)
        return 0;
    rst_fail(ROOST_ECORRUPT, "the index lists %llu memories, its totals say %llu", (unsigned long long)seen,
             (unsigned long long)now.memory_count);
    rst_finding(findings, ROOST_ECORRUPT, "index", 0);
    return 0;
}

static int check_memories(struct rst_engine *engine, struct rst_findings *findings)
{
    uint64_t begun_lsn = 0, seen = 0;
    for (uint64_t id = 1;;) {
        struct rst_reader reader;
        struct rst_memory_entry entry;
        char what[64];
        int err = rst_reader_begin(engine, &reader);
        if (err) return index_failed(findings, err);
        int found = rst_view_memory_near(&reader.view, id, true, &entry);
        if (rst_reader_end(&reader) == ROOST_EAGAIN) continue;
        if (found < 0) return index_failed(findings, found);
        if (id == 1) begun_lsn = reader.snapshot.visible_lsn;
        if (!found) return begun_lsn == reader.snapshot.visible_lsn ? check_totals(engine, &reader, seen, findings) : 0;
        seen++;
        snprintf(what, sizeof what, "memory %llu", (unsigned long long)entry.id);
        err = check_record(engine, &entry.place, entry.lsn, entry.id, what, findings);
        if (err) return err;
        id = entry.id + 1;
    }
}

static int check_names(struct rst_engine *engine, uint8_t family, struct rst_findings *findings)
{
    uint8_t key[RST_MAP_KEY_SIZE_MAX];
    size_t size = 1;
    bool after = false;
    for (key[0] = family;;) {
        uint8_t next[RST_MAP_KEY_SIZE_MAX];
        size_t next_size = 0;
        struct rst_reader reader;
        struct rst_map_entry entry;
        char what[RST_MAP_KEY_SIZE_MAX + 64];
        int err = rst_reader_begin(engine, &reader);
        if (err) return index_failed(findings, err);
        int found = rst_view_map_next(&reader.view, rst_bytes(&family, 1), rst_bytes(key, size), after, next, &next_size, &entry);
        if (rst_reader_end(&reader) == ROOST_EAGAIN) continue;
        if (found < 0) return index_failed(findings, found);
        if (found != 1) return 0;
        rst_describe_name(rst_bytes(next, next_size), what, sizeof what);
        if (entry.place.size && (err = check_record(engine, &entry.place, entry.lsn, 0, what, findings)) < 0) return err;
        memcpy(key, next, next_size);
        size = next_size;
        after = true;
    }
}

static void report_section(void *user, uint64_t offset, const char *what)
{
    struct rst_findings *findings = user;
    rst_fail(ROOST_ECORRUPT, "%s", what);
    rst_finding(findings, ROOST_ECORRUPT, findings->file, offset);
}

static int check_segments(struct rst_engine *engine, struct rst_findings *findings)
{
    struct rst_manifest manifest;
    struct rst_reader reader;
    memset(&manifest, 0, sizeof manifest);
    /* What lies on the disk, whatever this process has open already. */
    int err = rst_manifest_read(engine->index_directory, &manifest);
    rst_manifest_free(&manifest);
    if (err == ROOST_ECORRUPT || err == ROOST_EVERSION) rst_finding(findings, err, "index/MANIFEST", 0);
    err = rst_reader_begin(engine, &reader);
    if (err) return findings->count ? (findings->index_unusable = true, 0) : index_failed(findings, err);
    int before = findings->count;
    for (uint32_t i = 0; i < reader.set->count; i++) {
        findings->file = reader.set->sealed[i].name;
        rst_sealed_verify(&reader.set->sealed[i], report_section, findings);
    }
    /* Where a section is damaged an entry that cannot be found says nothing about its record. */
    if (findings->count != before) findings->index_unusable = true;
    rst_reader_end(&reader);
    return 0;
}

int rst_verify(struct rst_engine *engine, roost_found_fn found, void *user)
{
    struct rst_findings findings = {.found = found, .user = user};
    const struct rst_region *region = rst_engine_region(engine);
    int broken = rst_region_broken(region);
    if (broken) {
        rst_refused(engine, region);
        rst_finding(&findings, broken, "state.wal", RST_LOG_RING_OFFSET + region->header->broken_position % engine->log.size);
    }
    int err = check_segments(engine, &findings);
    bool readable = !findings.index_unusable;
    if (!err) err = check_memories(engine, &findings);
    static const uint8_t families[] = {RST_MAP_KEY, RST_MAP_STREAM, RST_MAP_AGENT};
    for (size_t i = 0; !err && readable && i < sizeof families; i++) err = check_names(engine, families[i], &findings);
    if (!err) err = rst_scrub_log(engine, &findings);
    if (!err) err = rst_scrub_blocks(engine, &findings);
    rst_buffer_free(&findings.places);
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
