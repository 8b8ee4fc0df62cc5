/* SPDX-License-Identifier: MIT
 * engine/rescue.c: what is left of a damaged root, into a new one (layer 7).
 *
 * What counts of what could be read (salvage.h) is written in the order of the LSNs into new blocks, and the index is built from
 * these. A record that is known but cannot be read must not bring back what it had replaced: in its place stands the end of that.
 *
 * crash: see offline.c: until the end there is no root in the folder */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/offline.h"
#include "engine/salvage.h"
#include "model/names.h"

/* What an identity (memory, key) was changed by, to see whether something is left of what was lost. */
struct change {
    uint64_t identity, lsn;
};
struct rescue {
    struct rst_salvage salvage;
    struct rst_buffer changes; /* struct change, by identity and LSN */
    uint64_t lsn_max, id_max, unsure_count;
    /* the new root */
    struct rst_offline offline;
    struct rst_engine *engine;
    struct rst_place tail;
};

/* ---- is anything left of what was lost? ---- */

static uint64_t identity_of_id(uint64_t id) { return rst_hash(&id, sizeof id, RST_MAP_MEMORY); }
static uint64_t identity_of_key(struct roost_bytes key, enum rst_map_family family)
{
    return rst_hash(key.data, key.size, family);
}

static void add_change(struct rescue *rescue, uint64_t identity, uint64_t lsn)
{
    struct change change = {identity, lsn};
    rst_buffer_add(&rescue->changes, &change, sizeof change);
}

static void note_change(struct rescue *rescue, const struct rst_record_view *record)
{
    const struct rst_record *header = &record->header;
    struct roost_bytes name;
    if (header->kind == RST_RECORD_FORGET) add_change(rescue, identity_of_id(header->number), header->lsn);
    if (header->kind == RST_RECORD_MEMORY && header->extra) add_change(rescue, identity_of_id(header->extra), header->lsn);
    bool key = header->kind == RST_RECORD_KEY_SET || header->kind == RST_RECORD_KEY_DELETE;
    if (key && rst_fields_find(record->fields, RST_FIELD_KEY, &name) == 1)
        add_change(rescue, identity_of_key(name, RST_MAP_KEY), header->lsn);
    if (header->kind == RST_RECORD_STATE && rst_fields_find(record->fields, RST_FIELD_NAME, &name) == 1)
        add_change(rescue, identity_of_key(name, RST_MAP_AGENT), header->lsn);
    if (header->kind == RST_RECORD_MEMORY && header->number > rescue->id_max) rescue->id_max = header->number;
}

static int by_identity(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->identity != y->identity) return x->identity < y->identity ? -1 : 1;
    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

static bool changed_later(const struct rescue *rescue, uint64_t identity, uint64_t lsn)
{
    const struct change *changes = (const struct change *)(const void *)rescue->changes.data, wanted = {identity, lsn + 1};
    size_t low = 0, high = rescue->changes.size / sizeof *changes, count = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_identity(&changes[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && changes[low].identity == identity;
}

/* Reads all once: what later changes say of earlier things, and which pieces are really whole. */
static int note_changes(struct rescue *rescue)
{
    struct rst_buffer bytes = {0};
    int err = 0;
    for (size_t i = 0; !err && i < rst_piece_count(&rescue->salvage); i++) {
        struct rst_piece *piece = rst_piece_at(&rescue->salvage, i);
        struct rst_record_view record;
        bool whole = false;
        if (piece->origin == RST_FROM_NOTHING) {
            const struct rst_piece_fact *known =
                (const struct rst_piece_fact *)(const void *)rescue->salvage.facts.data + piece->fact - 1;
            if (known->fact.kind == RST_FACT_FORGOTTEN)
                add_change(rescue, identity_of_id(known->fact.memory.id), known->fact.lsn);
            if (known->fact.memory.id > rescue->id_max) rescue->id_max = known->fact.memory.id;
        } else if ((err = rst_salvage_read(&rescue->salvage, piece, &bytes, &record, &whole)) == 0) {
            piece->whole = whole;
            note_change(rescue, &record);
        } else if (err == ROOST_ECORRUPT) {
            err = 0; /* the disk gives other bytes than a moment ago */
            piece->whole = 0;
        }
        if (piece->lsn > rescue->lsn_max) rescue->lsn_max = piece->lsn;
    }
    rst_buffer_free(&bytes);
    if (!err && rescue->changes.failed) err = rst_salvage_no_memory();
    if (!err && rescue->changes.size)
        qsort(rescue->changes.data, rescue->changes.size / sizeof(struct change), sizeof(struct change), by_identity);
    return err;
}

/* ---- writing ---- */

static int put(struct rescue *rescue, struct rst_record *record, struct roost_bytes fields, struct roost_bytes payload)
{
    struct rst_buffer bytes = {0};
    uint64_t size = rst_record_size((uint32_t)fields.size, (uint32_t)payload.size);
    struct rst_place place =
        rst_blocks_next(rescue->engine->log.chunk_size, rescue->tail.chunk, rescue->tail.offset, (uint32_t)size);
    bool fresh;
    record->epoch = 1;
    record->fields_size = (uint32_t)fields.size;
    record->payload_size = (uint32_t)payload.size;
    rst_record_seal(record, fields.data, place.chunk, place.offset);
    rst_buffer_add(&bytes, record, sizeof *record);
    rst_buffer_add(&bytes, fields.data, fields.size);
    rst_buffer_add(&bytes, payload.data, payload.size);
    rst_buffer_add_zeros(&bytes, (size_t)size - bytes.size);
    int err = bytes.failed ? rst_salvage_no_memory()
                           : rst_blocks_allocate(&rescue->engine->blocks, place.chunk, place.offset + size, &fresh);
    if (!err) err = rst_blocks_write(&rescue->engine->blocks, place.chunk, place.offset, bytes.data, bytes.size);
    rst_buffer_free(&bytes);
    rescue->tail = (struct rst_place){place.offset + size, 0, place.chunk};
    return err;
}

/* In the place of a change that cannot be read: what it had replaced is over all the same. */
static int put_end(struct rescue *rescue, uint16_t kind, uint64_t lsn, uint64_t id, int64_t time_ns, struct roost_bytes key)
{
    struct rst_buffer fields = {0};
    struct rst_record record = {.kind = kind, .lsn = lsn, .number = id, .time_ns = time_ns, .payload_hash = rst_hash("", 0, 0)};
    if (key.size) rst_fields_add(&fields, RST_FIELD_KEY, key);
    rst_fields_end(&fields);
    int err =
        fields.failed ? rst_salvage_no_memory() : put(rescue, &record, rst_bytes(fields.data, fields.size), rst_bytes(NULL, 0));
    rst_buffer_free(&fields);
    return err;
}

/* Header and fields are right, the payload is not. */
static int put_unreadable(struct rescue *rescue, const struct rst_piece *piece, const struct rst_record_view *record)
{
    const struct rst_record *header = &record->header;
    struct roost_bytes name = rst_bytes(NULL, 0);
    char file[48];
    rst_salvage_file(piece->chunk, file);
    bool named = header->kind == RST_RECORD_STREAM || header->kind == RST_RECORD_STATE;
    rst_fields_find(record->fields, named ? RST_FIELD_NAME : RST_FIELD_KEY, &name);
    const char *text = name.size ? (const char *)name.data : "";
    int size = (int)name.size;
    int dead = rst_past_dead(&rescue->salvage.past, record) == 1;
    switch (header->kind) {
    case RST_RECORD_MEMORY:
        if (!dead && !changed_later(rescue, identity_of_id(header->number), header->lsn))
            rst_salvage_lost(&rescue->salvage, file, piece->offset, "memory %llu: its %u bytes of text fail their checksum%s%.*s",
                             (unsigned long long)header->number, header->payload_size, size ? "; key " : "", size, text);
        return header->extra ? put_end(rescue, RST_RECORD_FORGET, header->lsn, header->extra, header->time_ns, name) : 0;
    case RST_RECORD_KEY_SET:
        if (!dead && !changed_later(rescue, identity_of_key(name, RST_MAP_KEY), header->lsn))
            rst_salvage_lost(&rescue->salvage, file, piece->offset, "key \"%.*s\": the %u bytes of its value fail their checksum",
                             size, text, header->payload_size);
        return put_end(rescue, RST_RECORD_KEY_DELETE, header->lsn, 0, header->time_ns, name);
    case RST_RECORD_STATE:
        if (!dead && !changed_later(rescue, identity_of_key(name, RST_MAP_AGENT), header->lsn))
            rst_salvage_lost(&rescue->salvage, file, piece->offset,
                             "state of \"%.*s\": it fails its checksum; an older one, if there is any, stands instead", size,
                             text);
        return 0;
    default:
        rst_salvage_lost(&rescue->salvage, file, piece->offset, "entry %llu of stream \"%.*s\": its %u bytes fail their checksum",
                         (unsigned long long)header->number, size, text, header->payload_size);
        return 0;
    }
}

static int put_piece(struct rescue *rescue, const struct rst_piece *piece, struct rst_buffer *bytes)
{
    struct rst_record_view record;
    bool whole;
    int err = rst_salvage_read(&rescue->salvage, piece, bytes, &record, &whole);
    if (err) return err == ROOST_ECORRUPT ? 0 : err;
    if (record.header.kind == RST_RECORD_EPOCH || record.header.kind == RST_RECORD_VOID) return 0; /* of the old log's lives */
    if (!whole) return put_unreadable(rescue, piece, &record);
    int dead = rst_past_dead(&rescue->salvage.past, &record);
    if (dead) return dead < 0 && dead != ROOST_ECORRUPT ? dead : 0;
    rescue->unsure_count += piece->unsure;
    return put(rescue, &record.header, record.fields, record.payload);
}

/* Known from the old index alone. */
static int put_fact(struct rescue *rescue, const struct rst_piece_fact *known)
{
    const struct rst_fact *fact = &known->fact;
    struct roost_bytes name = rst_bytes(rescue->salvage.names.data + known->name_offset, fact->name.size);
    struct roost_bytes key = name.size ? rst_bytes(rescue->salvage.names.data + known->name_offset + 1, name.size - 1) : name;
    char what[ROOST_KEY_SIZE_MAX + 64], file[48];
    if (fact->kind == RST_FACT_FORGOTTEN)
        return put_end(rescue, RST_RECORD_FORGET, fact->lsn, fact->memory.id, 0, rst_bytes(NULL, 0));
    if (fact->kind == RST_FACT_MEMORY) {
        rst_salvage_file(fact->memory.place.chunk, file);
        if (!changed_later(rescue, identity_of_id(fact->memory.id), fact->lsn))
            rst_salvage_lost(&rescue->salvage, file, fact->memory.place.offset, "memory %llu: its record cannot be read",
                             (unsigned long long)fact->memory.id);
        return 0;
    }
    uint8_t family = name.size ? *(const uint8_t *)name.data : 0;
    bool shown = family == RST_MAP_KEY || family == RST_MAP_STREAM || family == RST_MAP_AGENT;
    bool over =
        family == RST_MAP_STREAM ? false : changed_later(rescue, identity_of_key(key, (enum rst_map_family)family), fact->lsn);
    if (shown && fact->entry.kind == RST_MAP_SET && !over) {
        rst_salvage_file(fact->entry.place.chunk, file);
        rst_describe_name(name, what, sizeof what);
        rst_salvage_lost(&rescue->salvage, file, fact->entry.place.offset, "%s: its record cannot be read", what);
    }
    if (family != RST_MAP_KEY) return 0;
    return put_end(rescue, RST_RECORD_KEY_DELETE, fact->lsn, 0, fact->entry.time_ns, key);
}

/* Two segments may tell the same: one that a merge made, and one that it was made of. */
static bool told_before(const struct rescue *rescue, size_t index)
{
    const struct rst_piece_fact *facts = (const struct rst_piece_fact *)(const void *)rescue->salvage.facts.data;
    const struct rst_piece *piece = rst_piece_at(&rescue->salvage, index);
    const struct rst_piece_fact *known = &facts[piece->fact - 1];
    for (size_t i = index;
         i-- > 0 && rst_piece_at(&rescue->salvage, i)->lsn == piece->lsn && rst_piece_at(&rescue->salvage, i)->fact;) {
        const struct rst_piece_fact *before = &facts[rst_piece_at(&rescue->salvage, i)->fact - 1];
        if (before->fact.kind == known->fact.kind && before->fact.memory.id == known->fact.memory.id &&
            rst_bytes_equal(rst_bytes(rescue->salvage.names.data + before->name_offset, before->fact.name.size),
                            rst_bytes(rescue->salvage.names.data + known->name_offset, known->fact.name.size)))
            return true;
    }
    return false;
}

static int put_all(struct rescue *rescue)
{
    struct rst_buffer bytes = {0};
    int err = 0;
    for (size_t i = 0; !err && i < rst_piece_count(&rescue->salvage); i++) {
        const struct rst_piece *piece = rst_piece_at(&rescue->salvage, i);
        const struct rst_piece_fact *facts = (const struct rst_piece_fact *)(const void *)rescue->salvage.facts.data;
        /* Of several facts with one LSN (an entry and its stream's head, a memory and its key) each is looked at. */
        if (piece->fact && told_before(rescue, i)) continue;
        err = piece->fact ? put_fact(rescue, &facts[piece->fact - 1]) : put_piece(rescue, piece, &bytes);
    }
    rst_buffer_free(&bytes);
    return err;
}

/* Bytes in which no record begins, and of which nothing else told. */
static void tell_gaps(struct rescue *rescue)
{
    const struct rst_piece_gap *gaps = (const struct rst_piece_gap *)(const void *)rescue->salvage.gaps.data;
    for (size_t i = 0; i < rescue->salvage.gaps.size / sizeof *gaps; i++) {
        const struct rst_piece_gap *gap = &gaps[i];
        struct rst_piece piece = {.lsn = gap->header.lsn, .epoch = gap->header.epoch, .origin = RST_FROM_CHUNK};
        char file[48];
        rst_salvage_file(gap->chunk, file);
        bool guess = gap->guess && gap->header.kind != RST_RECORD_VOID && rst_salvage_counts(&rescue->salvage, &piece);
        if (guess && rst_salvage_have(&rescue->salvage, rst_piece_count(&rescue->salvage), piece.lsn))
            continue; /* the log had it, or it was told by name */
        bool dead = guess && gap->header.kind == RST_RECORD_MEMORY &&
                    changed_later(rescue, identity_of_id(gap->header.number), gap->header.lsn);
        if ((!guess && !gap->inside) || dead) continue;
        /* A complete index that misses nothing there says that nothing that counts was there. */
        if (rescue->salvage.past.whole && (!guess || piece.lsn <= rescue->salvage.past.covered_lsn))
            rst_finding_place(&rescue->salvage.findings, 0, gap->chunk, gap->offset,
                              "note: %llu bytes in which no record can be read; the index names none there",
                              (unsigned long long)gap->size);
        else
            rst_salvage_lost(&rescue->salvage, file, gap->offset, "%llu bytes in which no record can be read%s",
                             (unsigned long long)gap->size,
                             guess ? "; the remains look like one that counted" : "; what they held is not known");
    }
}

/* ---- the new root ---- */

static void remember(struct rescue *rescue)
{
    struct rst_buffer scratch = {0};
    if (!rescue->salvage.has_manifest || rescue->salvage.log_hurt) rst_mend_clients(rescue->engine);
    for (uint32_t i = 0; i < rescue->salvage.manifest.header.client_count; i++)
        rst_client_remember(rescue->engine, -1, &rescue->salvage.manifest.clients[i]);
    for (size_t i = 0; rescue->salvage.has_ring && i < rst_ring_count(&rescue->salvage.ring); i++) {
        struct rst_frame frame;
        struct rst_frame_walk walk;
        struct rst_frame_consumed consumed;
        if (!rst_salvage_frame_kept(&rescue->salvage, rst_ring_at(&rescue->salvage.ring, i)) ||
            rst_ring_frame(&rescue->salvage.ring, i, &scratch, &frame) < 0)
            continue;
        rst_frame_walk_begin(&walk, &frame);
        while (rst_frame_walk_consumed(&walk, &consumed) == 1) {
            struct rst_client_record record = {consumed.client, consumed.sequence, consumed.lsn, consumed.id, consumed.result, 0};
            rst_client_remember(rescue->engine, -1, &record);
        }
    }
    rst_buffer_free(&scratch);
}

/* Numbers go on where the old root's would have. */
static void set_numbers(struct rescue *rescue)
{
    struct rst_engine *engine = rescue->engine;
    struct rst_writer_state *writer = &engine->writer;
    uint64_t id_next = rescue->id_max + 1, lsn_next = rescue->lsn_max + 1;
    const struct rst_manifest_header *manifest = &rescue->salvage.manifest.header;
    if (manifest->id_ceiling > id_next) id_next = manifest->id_ceiling;
    if (manifest->lsn_ceiling > lsn_next) lsn_next = manifest->lsn_ceiling;
    for (size_t i = 0; rescue->salvage.has_ring && i < rst_ring_count(&rescue->salvage.ring); i++) {
        const struct rst_frame_header *frame = rst_ring_at(&rescue->salvage.ring, i);
        if (frame->id_ceiling > id_next) id_next = frame->id_ceiling;
        if (frame->lsn_ceiling > lsn_next) lsn_next = frame->lsn_ceiling;
    }
    memset(writer, 0, sizeof *writer);
    writer->epoch = 1;
    writer->id_next = writer->id_ceiling = writer->id_ceiling_written = id_next;
    writer->lsn_next = writer->lsn_ceiling = writer->lsn_ceiling_written = lsn_next;
    writer->written_lsn = writer->covered_lsn = writer->durable_lsn = rescue->lsn_max;
    writer->chunk = rescue->tail.chunk;
    writer->chunk_tail = rescue->tail.offset;
    writer->segment_next = 1;
    engine->snapshot.visible_lsn = engine->snapshot.covered_lsn = engine->snapshot.durable_lsn = rescue->lsn_max;
    engine->snapshot.last_id = id_next - 1;
}

static int build_index(struct rescue *rescue)
{
    struct rst_engine *engine = rescue->engine;
    uint64_t missing = 0;
    set_numbers(rescue);
    engine->snapshot.arena_epoch[0]++;
    rst_region_write_writer(rst_commit_region(engine), &engine->writer);
    rst_region_write_snapshot(rst_commit_region(engine), &engine->snapshot);
    int err = rst_arena_format(engine, 0, 1);
    if (!err) remember(rescue);
    return err ? err : rst_rebuild(engine, &missing);
}

static int make_root(struct rescue *rescue, const char *path, struct roost_copy *copy)
{
    int odd_count = 0;
    struct rst_log_header header = rescue->salvage.header;
    header.epoch = 1;
    int err = rst_offline_begin(path, &rescue->offline);
    if (err) return err;
    err = rst_offline_log(&rescue->offline, &header, -1);
    if (!err) err = rst_offline_engine(&rescue->offline, false, &rescue->engine);
    if (!err) err = put_all(rescue);
    if (!err) tell_gaps(rescue);
    if (!err) err = build_index(rescue);
    rst_offline_release(rescue->engine);
    if (!err)
        err = rst_offline_verify(&rescue->offline, rescue->salvage.findings.found, rescue->salvage.findings.user,
                                 &copy->memory_count, &odd_count);
    /* What is left of a root may contradict itself: that is told, and counted, and no reason to save nothing. */
    rescue->salvage.findings.count += odd_count;
    if (!err) err = rst_offline_finish(&rescue->offline);
    rst_offline_end(&rescue->offline, !err);
    return err;
}

int rst_rescue(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    struct rescue rescue;
    memset(&rescue, 0, sizeof rescue);
    int err = rst_salvage_open(source, found, user, &rescue.salvage);
    if (!err) err = note_changes(&rescue);
    if (!err) err = make_root(&rescue, path, ret_copy);
    ret_copy->lsn = rescue.lsn_max;
    ret_copy->lost_count = (uint64_t)rescue.salvage.findings.count;
    ret_copy->unsure_count = rescue.unsure_count;
    int count = rescue.salvage.findings.count;
    rst_salvage_close(&rescue.salvage);
    rst_buffer_free(&rescue.changes);
    return err ? rst_fail_context(err, "rescue of %s", source) : count;
}
