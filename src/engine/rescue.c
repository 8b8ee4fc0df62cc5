/* SPDX-License-Identifier: MIT
 * engine/rescue.c: what is left of a damaged root, into a new one (layer 7).
 *
 * Nothing of the source has to be whole. Records are taken from the blocks and from all frames that are left in the log's ring (older
 * ones than the last checkpoint too: what rotted in the blocks may still stand there); each proves itself by its checksum, which is bound
 * to its place. What counts is decided as everywhere (R1): by EPOCH records, by what MANIFEST covers, by frames, and, where the log is
 * damaged, by the greatest durable LSN that any frame names. They are written in the order of their LSNs into new blocks, and the
 * index is built from these. A record that is known but cannot be read must not bring back what it had replaced: in its place stands
 * the end of that.
 *
 * crash: see offline.c: until the end there is no root in the folder */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/offline.h"
#include "engine/past.h"
#include "engine/verify.h"
#include "model/names.h"
#include "os/os.h"
#include "store/ring.h"
#include "store/scan.h"

enum { CHUNK_SIZE_GUESS = 64 << 20, ARENA_SIZE_GUESS = 24 << 20 };

enum origin {
    FROM_FRAME,   /* its bytes are in `frames` */
    FROM_CHUNK,   /* its bytes are in a chunk */
    FROM_NOTHING, /* it is known, and cannot be read */
};
struct piece {
    uint64_t lsn, epoch;
    uint64_t frame_offset; /* in `frames`: the record's head, with its payload if that is inline */
    uint64_t offset;       /* in its chunk */
    uint32_t chunk, size;
    uint32_t head_size; /* FROM_FRAME: bytes there */
    uint32_t fact;      /* FROM_NOTHING: what the old index says, from 1 on; 0: the head in the chunk is right */
    uint8_t origin, whole, unsure;
};
/* What an identity (memory, key) was changed by, to see whether something is left of what was lost. */
struct change {
    uint64_t identity, lsn;
};
struct known {
    struct rst_fact fact;
    size_t name_offset;
};
struct rescue {
    const char *source;
    struct rst_findings findings;
    int directory, blocks_directory, index_directory, log_file;
    int chunk_file; /* the chunk that was read from last, number chunk_open; -1: none */
    uint32_t chunk_open;
    struct rst_log_header header; /* of the source, or what stands in for it */
    bool has_header, has_manifest, has_ring, log_hurt;
    struct rst_manifest manifest;
    struct rst_ring ring;
    struct rst_past past;
    struct rst_epochs epochs;
    struct rst_buffer pieces, frames, names, facts, changes, chunks;
    uint64_t durable_lsn; /* what any frame, or MANIFEST, proves to have been acknowledged */
    uint64_t lsn_max, id_max, unsure_count;
    /* the new root */
    struct rst_offline offline;
    struct rst_engine *engine;
    struct rst_place tail;
};

static int no_memory(void) { return rst_fail(ROOST_ENOMEM, "no memory to rescue so much"); }
static struct piece *piece_at(const struct rescue *rescue, size_t index)
{
    return (struct piece *)(void *)rescue->pieces.data + index;
}
static size_t piece_count(const struct rescue *rescue) { return rescue->pieces.size / sizeof(struct piece); }

static void lost(struct rescue *rescue, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void lost(struct rescue *rescue, const char *file, uint64_t offset, const char *format, ...)
{
    char text[1500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rst_fail(ROOST_ECORRUPT, "%s", text);
    rst_finding(&rescue->findings, ROOST_ECORRUPT, file, offset);
}

/* ---- opening ---- */

static int in_use(const struct rescue *rescue)
{
    return rst_fail(ROOST_EBUSY, "%s is open in another process; close it there first", rescue->source);
}

/* Nobody may have it open: its log is held while it is read. A source without one has nobody either. */
static int lock_source(struct rescue *rescue)
{
    int err = rst_os->flock(rescue->log_file);
    if (err == -EWOULDBLOCK) return in_use(rescue);
    for (uint32_t slot = 0; !err && slot < RST_SLOT_COUNT; slot++)
        if (rst_participant_alive(rescue->log_file, slot)) return in_use(rescue);
    return 0;
}

static int open_source(struct rescue *rescue)
{
    rescue->directory = rst_os->open(-1, rescue->source, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (rescue->directory == -ENOENT) return rst_fail(ROOST_ENOROOT, "there is no folder %s", rescue->source);
    if (rescue->directory < 0) return rst_fail(rescue->directory, "opening %s: %s", rescue->source, strerror(-rescue->directory));
    int err = rst_root_refuse(rescue->directory, rescue->source);
    if (err) return err;
    rescue->log_file = rst_os->open(rescue->directory, "state.wal", RST_OPEN_READ, 0);
    rescue->blocks_directory = rst_os->open(rescue->directory, "blocks", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    rescue->index_directory = rst_os->open(rescue->directory, "index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (rescue->log_file < 0 && rescue->blocks_directory < 0)
        return rst_fail(ROOST_ENOROOT, "%s has neither state.wal nor blocks/: it is no root, nor was it one", rescue->source);
    return rescue->log_file < 0 ? 0 : lock_source(rescue);
}

/* ---- the log ---- */

static void guess_header(struct rescue *rescue)
{
    struct rst_stat stat;
    memset(&rescue->header, 0, sizeof rescue->header);
    uint64_t size = rescue->log_file >= 0 && rst_os->stat(rescue->log_file, &stat) == 0 ? stat.size : 0;
    bool fits = size > RST_LOG_RING_OFFSET + (64 << 10) && size <= UINT64_C(1) << 31 && size % RST_LOG_HEADER_SIZE == 0;
    rescue->header.log_size = fits ? size - RST_LOG_RING_OFFSET : 16 << 20;
    rescue->header.chunk_size = CHUNK_SIZE_GUESS;
    rescue->header.arena_size = ARENA_SIZE_GUESS;
    rescue->header.region_kind = ROOST_REGION_SHM;
    rescue->header.analysis_version = RST_ANALYSIS_VERSION;
    rescue->header.created_ns = rst_os->real_time();
    snprintf(rescue->header.language, sizeof rescue->header.language, "english");
}

static int read_header(struct rescue *rescue)
{
    struct rst_log log = {.file = rescue->log_file};
    int err = rescue->log_file < 0 ? ROOST_ENOENT : rst_log_read_header(&log);
    if (err == ROOST_EVERSION) return err;
    rescue->has_header = !err;
    if (!err) {
        rescue->header = log.header;
        return 0;
    }
    guess_header(rescue);
    rescue->log_hurt = true;
    lost(rescue, "state.wal", 0, "%s; the new root gets default settings (language english)",
         rescue->log_file < 0 ? "it is missing or cannot be opened" : "both headers are damaged");
    return 0;
}

static bool frame_kept(const struct rescue *rescue, const struct rst_frame_header *frame)
{
    return rst_epochs_kept(&rescue->epochs, frame->epoch, frame->lsn_first);
}

/* What a frame's entry holds; large payloads are in the chunk, and looked at there. */
static void take_entry(struct rescue *rescue, const struct rst_frame_header *frame, const struct rst_frame_entry *entry,
                       const uint8_t *bytes)
{
    struct rst_record_view record;
    if (rst_record_decode(bytes, entry->inline_size, entry->chunk, entry->offset, &record) < 0) return;
    struct piece piece = {.lsn = record.header.lsn,
                          .epoch = frame->epoch,
                          .frame_offset = rescue->frames.size,
                          .offset = entry->offset,
                          .chunk = entry->chunk,
                          .size = entry->record_size,
                          .head_size = entry->inline_size,
                          .origin = FROM_FRAME};
    bool external = entry->flags & RST_ENTRY_EXTERNAL;
    piece.whole = !external && (!record.header.payload_size || rst_record_payload_right(&record));
    rst_buffer_add(&rescue->frames, bytes, entry->inline_size);
    rst_buffer_add(&rescue->pieces, &piece, sizeof piece);
    rst_epochs_add(&rescue->epochs, &record.header);
}

static int take_frame(struct rescue *rescue, size_t index, struct rst_buffer *scratch)
{
    struct rst_frame frame;
    struct rst_frame_walk walk;
    struct rst_frame_entry entry;
    const uint8_t *bytes;
    int err = rst_ring_frame(&rescue->ring, index, scratch, &frame);
    if (err) return err == ROOST_ENOMEM ? err : 0;
    rst_frame_walk_begin(&walk, &frame);
    while (rst_frame_walk_entry(&walk, &entry, &bytes) == 1) take_entry(rescue, &frame.header, &entry, bytes);
    return rescue->pieces.failed || rescue->frames.failed ? no_memory() : 0;
}

static int read_log(struct rescue *rescue)
{
    if (rescue->log_file < 0) return 0;
    struct rst_buffer scratch = {0};
    int err = rst_ring_read(rescue->log_file, rescue->header.log_size, &rescue->ring);
    rescue->has_ring = !err;
    for (size_t i = 0; !err && i < rst_ring_count(&rescue->ring); i++) err = take_frame(rescue, i, &scratch);
    rst_buffer_free(&scratch);
    return err;
}

/* Is there all in the log that MANIFEST does not cover? And what is proved to have been acknowledged? */
static void judge_log(struct rescue *rescue)
{
    size_t first = 0, count = rescue->has_ring ? rst_ring_count(&rescue->ring) : 0;
    uint64_t replay = rescue->manifest.header.replay_position;
    bool hole = false, any = rescue->has_ring && rst_ring_chain(&rescue->ring, &first, &hole);
    rescue->durable_lsn = rescue->manifest.header.covered_lsn;
    for (size_t i = 0; i < count; i++) {
        const struct rst_frame_header *frame = rst_ring_at(&rescue->ring, i);
        if (frame_kept(rescue, frame) && frame->durable_lsn > rescue->durable_lsn) rescue->durable_lsn = frame->durable_lsn;
    }
    const struct rst_frame_header *oldest = any ? rst_ring_at(&rescue->ring, first) : NULL;
    const struct rst_frame_header *newest = any ? rst_ring_at(&rescue->ring, count - 1) : NULL;
    struct rst_stat stat;
    bool cut = rescue->has_ring && rst_os->stat(rescue->log_file, &stat) == 0 &&
               stat.size < RST_LOG_RING_OFFSET + rescue->header.log_size;
    if (cut || (rescue->has_ring && rescue->ring.unreadable)) rescue->log_hurt = true;
    if (rescue->has_manifest && any && rst_frame_end(newest) > replay && oldest->position > replay) rescue->log_hurt = true;
    if (!rescue->has_manifest && (!any || hole)) rescue->log_hurt = true;
    if (!rescue->log_hurt || !rescue->has_header) return;
    uint64_t position = any ? oldest->position : replay;
    rst_fail(0, "note: the log is damaged before position %llu; what stood there is taken from the blocks",
             (unsigned long long)position);
    rst_finding(&rescue->findings, 0, "state.wal", RST_LOG_RING_OFFSET + position % rescue->header.log_size);
}

/* ---- the blocks ---- */

static void chunk_file(uint32_t chunk, char ret_text[48])
{
    char name[32];
    rst_chunk_name(chunk, name);
    snprintf(ret_text, 48, "blocks/%s", name);
}

/* The chunk's bytes; what the disk refuses is zeros. */
static int read_chunk(struct rescue *rescue, uint32_t chunk, struct rst_buffer *bytes)
{
    char name[32], shown[48];
    struct rst_stat stat;
    rst_chunk_name(chunk, name);
    chunk_file(chunk, shown);
    rst_buffer_clear(bytes);
    int file = rst_os->open(rescue->blocks_directory, name, RST_OPEN_READ, 0);
    int err = file < 0 ? file : rst_os->stat(file, &stat);
    if (err) {
        lost(rescue, shown, 0, "it cannot be opened: %s", strerror(-err));
        if (file >= 0) rst_os->close(file);
        return 0;
    }
    uint8_t *room = rst_buffer_extend(bytes, (size_t)stat.size + 1);
    uint64_t refused = room ? rst_read_what_can_be(file, room, stat.size, 0) : 0;
    rst_os->close(file);
    if (!room) return no_memory();
    bytes->size = (size_t)stat.size;
    if (refused) lost(rescue, shown, 0, "%llu bytes of it cannot be read from the disk", (unsigned long long)refused);
    return 0;
}

struct gap {
    uint64_t offset, size;
    struct rst_record header;
    uint32_t chunk;
    bool guess, inside;
};

static void take_item(struct rescue *rescue, uint32_t chunk, uint64_t end, const struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    if (item->kind == RST_SCAN_GAP) {
        struct gap gap = {item->offset, item->size, *header, chunk, item->guess, item->offset + item->size < end};
        if (gap.guess || (gap.inside && item->size) || !item->zero) rst_buffer_add(&rescue->chunks, &gap, sizeof gap);
    }
    if (item->kind != RST_SCAN_RECORD) return;
    struct piece piece = {.lsn = header->lsn,
                          .epoch = header->epoch,
                          .offset = item->offset,
                          .chunk = chunk,
                          .size = (uint32_t)rst_record_size(header->fields_size, header->payload_size),
                          .head_size = (uint32_t)sizeof *header + header->fields_size,
                          .origin = FROM_CHUNK,
                          .whole = item->payload_right};
    rst_buffer_add(&rescue->pieces, &piece, sizeof piece);
    rst_epochs_add(&rescue->epochs, header);
}

static int add_chunk(void *user, const char *name)
{
    struct rst_buffer *numbers = user;
    uint32_t chunk;
    if (rst_chunk_number(name, &chunk)) rst_buffer_add_u32(numbers, chunk);
    return 0;
}

static int by_chunk(const void *a, const void *b)
{
    uint32_t x = rst_get_u32(a), y = rst_get_u32(b);
    return (x > y) - (x < y);
}

static int read_blocks(struct rescue *rescue)
{
    struct rst_buffer numbers = {0}, bytes = {0};
    if (rescue->blocks_directory < 0) {
        lost(rescue, "blocks", 0, "the folder is missing or cannot be opened");
        return 0;
    }
    int err = rst_os->list(rescue->blocks_directory, add_chunk, &numbers);
    if (numbers.size) qsort(numbers.data, numbers.size / 4, 4, by_chunk);
    for (size_t i = 0; !err && i < numbers.size; i += 4) {
        struct rst_scan scan;
        struct rst_scan_item item;
        uint32_t chunk = rst_get_u32(numbers.data + i);
        err = read_chunk(rescue, chunk, &bytes);
        if (err) break;
        rst_scan_begin(&scan, bytes.data, bytes.size, chunk);
        while (rst_scan_next(&scan, &item)) take_item(rescue, chunk, bytes.size, &item);
        if (rescue->pieces.failed || rescue->chunks.failed) err = no_memory();
    }
    rst_buffer_free(&numbers);
    rst_buffer_free(&bytes);
    return err;
}

/* ---- the index ---- */

static int read_index(struct rescue *rescue)
{
    if (rescue->index_directory < 0) return 0;
    int err = rst_manifest_read(rescue->index_directory, &rescue->manifest);
    rescue->has_manifest = !err;
    return rst_past_open(rescue->index_directory, err ? NULL : &rescue->manifest, NULL, true, &rescue->past);
}

/* ---- choosing ---- */

static int by_lsn(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->lsn != y->lsn) return x->lsn < y->lsn ? -1 : 1;
    if (x->epoch != y->epoch) return x->epoch > y->epoch ? -1 : 1;
    if (x->whole != y->whole) return x->whole ? -1 : 1;
    if (x->origin != y->origin) return x->origin < y->origin ? -1 : 1;
    return (x->fact > y->fact) - (x->fact < y->fact);
}

static void sort_pieces(struct rescue *rescue)
{
    if (rescue->pieces.size) qsort(rescue->pieces.data, piece_count(rescue), sizeof(struct piece), by_lsn);
}

/* Does it count? piece->unsure: nothing proves it, and nothing speaks against it. */
static bool counts(const struct rescue *rescue, struct piece *piece)
{
    if (!piece->lsn || !rst_epochs_kept(&rescue->epochs, piece->epoch, piece->lsn)) return false;
    if (rescue->has_manifest && piece->lsn <= rescue->manifest.header.covered_lsn)
        return piece->epoch <= rescue->manifest.header.epoch;
    if (piece->lsn <= rescue->durable_lsn) return true;
    if (piece->origin == FROM_CHUNK && !rescue->log_hurt) return false; /* of a commit that never came to its frame */
    piece->unsure = rescue->log_hurt;
    return true;
}

/* Keeps one piece for each LSN: the best that there is. */
static void choose(struct rescue *rescue)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < piece_count(rescue); i++)
        if (counts(rescue, piece_at(rescue, i))) *piece_at(rescue, count++) = *piece_at(rescue, i);
    rescue->pieces.size = count * sizeof(struct piece);
    sort_pieces(rescue);
    for (size_t i = 0; i < count; i++)
        if (!kept || piece_at(rescue, i)->lsn != piece_at(rescue, kept - 1)->lsn)
            *piece_at(rescue, kept++) = *piece_at(rescue, i);
    rescue->pieces.size = kept * sizeof(struct piece);
}

static bool have_lsn(const struct rescue *rescue, size_t count, uint64_t lsn)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (piece_at(rescue, middle)->lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && piece_at(rescue, low)->lsn == lsn;
}

struct telling {
    struct rescue *rescue;
    size_t count; /* of pieces that are sorted */
};

/* What the old index knows and no record says. */
static int keep_fact(void *user, const struct rst_fact *fact)
{
    struct telling *telling = user;
    struct rescue *rescue = telling->rescue;
    if (!fact->lsn || have_lsn(rescue, telling->count, fact->lsn)) return 0;
    struct known known = {*fact, rescue->names.size};
    rst_buffer_add(&rescue->names, fact->name.data, fact->name.size);
    rst_buffer_add(&rescue->facts, &known, sizeof known);
    struct piece piece = {.lsn = fact->lsn, .origin = FROM_NOTHING, .fact = (uint32_t)(rescue->facts.size / sizeof known)};
    rst_buffer_add(&rescue->pieces, &piece, sizeof piece);
    return rescue->names.failed || rescue->facts.failed || rescue->pieces.failed ? no_memory() : 0;
}

static int gather(struct rescue *rescue)
{
    int err = open_source(rescue);
    if (!err) err = read_header(rescue);
    if (!err) err = read_index(rescue);
    if (!err) err = read_log(rescue);
    if (!err) err = read_blocks(rescue);
    if (err) return err;
    rst_epochs_sort(&rescue->epochs);
    judge_log(rescue);
    choose(rescue);
    struct telling telling = {rescue, piece_count(rescue)};
    err = rst_past_tell(&rescue->past, keep_fact, &telling);
    sort_pieces(rescue);
    return err;
}

/* ---- reading a piece ---- */

/* The record's bytes, head and payload, into `bytes`. A payload that is not right is left out: *ret_whole. 0: the head is right. */
static int read_piece(struct rescue *rescue, const struct piece *piece, struct rst_buffer *bytes,
                      struct rst_record_view *ret_record, bool *ret_whole)
{
    rst_buffer_clear(bytes);
    uint8_t *room = rst_buffer_extend(bytes, (size_t)piece->size + 8);
    if (!room) return no_memory();
    memset(room, 0, (size_t)piece->size + 8);
    char name[32];
    rst_chunk_name(piece->chunk, name);
    bool inlined = piece->origin == FROM_FRAME && piece->whole;
    if (!inlined && rescue->blocks_directory >= 0 && (rescue->chunk_file < 0 || rescue->chunk_open != piece->chunk)) {
        if (rescue->chunk_file >= 0) rst_os->close(rescue->chunk_file);
        rescue->chunk_file = rst_os->open(rescue->blocks_directory, name, RST_OPEN_READ, 0);
        rescue->chunk_open = piece->chunk;
    }
    if (!inlined && rescue->chunk_file >= 0) rst_read_what_can_be(rescue->chunk_file, room, piece->size, piece->offset);
    if (piece->origin == FROM_FRAME) memcpy(room, rescue->frames.data + piece->frame_offset, piece->head_size);
    int err = rst_record_decode(room, piece->size, piece->chunk, piece->offset, ret_record);
    if (err) return err;
    *ret_whole = !ret_record->header.payload_size || rst_record_payload_right(ret_record);
    return 0;
}

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
    for (size_t i = 0; !err && i < piece_count(rescue); i++) {
        struct piece *piece = piece_at(rescue, i);
        struct rst_record_view record;
        bool whole = false;
        if (piece->origin == FROM_NOTHING) {
            const struct known *known = (const struct known *)(const void *)rescue->facts.data + piece->fact - 1;
            if (known->fact.kind == RST_FACT_FORGOTTEN)
                add_change(rescue, identity_of_id(known->fact.memory.id), known->fact.lsn);
            if (known->fact.memory.id > rescue->id_max) rescue->id_max = known->fact.memory.id;
        } else if ((err = read_piece(rescue, piece, &bytes, &record, &whole)) == 0) {
            piece->whole = whole;
            note_change(rescue, &record);
        } else if (err == ROOST_ECORRUPT) {
            err = 0; /* the disk gives other bytes than a moment ago */
            piece->whole = 0;
        }
        if (piece->lsn > rescue->lsn_max) rescue->lsn_max = piece->lsn;
    }
    rst_buffer_free(&bytes);
    if (!err && rescue->changes.failed) err = no_memory();
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
    int err = bytes.failed ? no_memory() : rst_blocks_allocate(&rescue->engine->blocks, place.chunk, place.offset + size, &fresh);
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
    int err = fields.failed ? no_memory() : put(rescue, &record, rst_bytes(fields.data, fields.size), rst_bytes(NULL, 0));
    rst_buffer_free(&fields);
    return err;
}

/* Header and fields are right, the payload is not. */
static int put_unreadable(struct rescue *rescue, const struct piece *piece, const struct rst_record_view *record)
{
    const struct rst_record *header = &record->header;
    struct roost_bytes name = rst_bytes(NULL, 0);
    char file[48];
    chunk_file(piece->chunk, file);
    bool named = header->kind == RST_RECORD_STREAM || header->kind == RST_RECORD_STATE;
    rst_fields_find(record->fields, named ? RST_FIELD_NAME : RST_FIELD_KEY, &name);
    const char *text = name.size ? (const char *)name.data : "";
    int size = (int)name.size;
    int dead = rst_past_dead(&rescue->past, record) == 1;
    switch (header->kind) {
    case RST_RECORD_MEMORY:
        if (!dead && !changed_later(rescue, identity_of_id(header->number), header->lsn))
            lost(rescue, file, piece->offset, "memory %llu: its %u bytes of text fail their checksum%s%.*s",
                 (unsigned long long)header->number, header->payload_size, size ? "; key " : "", size, text);
        return header->extra ? put_end(rescue, RST_RECORD_FORGET, header->lsn, header->extra, header->time_ns, name) : 0;
    case RST_RECORD_KEY_SET:
        if (!dead && !changed_later(rescue, identity_of_key(name, RST_MAP_KEY), header->lsn))
            lost(rescue, file, piece->offset, "key \"%.*s\": the %u bytes of its value fail their checksum", size, text,
                 header->payload_size);
        return put_end(rescue, RST_RECORD_KEY_DELETE, header->lsn, 0, header->time_ns, name);
    case RST_RECORD_STATE:
        if (!dead && !changed_later(rescue, identity_of_key(name, RST_MAP_AGENT), header->lsn))
            lost(rescue, file, piece->offset,
                 "state of \"%.*s\": it fails its checksum; an older one, if there is any, stands instead", size, text);
        return 0;
    default:
        lost(rescue, file, piece->offset, "entry %llu of stream \"%.*s\": its %u bytes fail their checksum",
             (unsigned long long)header->number, size, text, header->payload_size);
        return 0;
    }
}

static int put_piece(struct rescue *rescue, const struct piece *piece, struct rst_buffer *bytes)
{
    struct rst_record_view record;
    bool whole;
    int err = read_piece(rescue, piece, bytes, &record, &whole);
    if (err) return err == ROOST_ECORRUPT ? 0 : err;
    if (record.header.kind == RST_RECORD_EPOCH || record.header.kind == RST_RECORD_VOID) return 0; /* of the old log's lives */
    if (!whole) return put_unreadable(rescue, piece, &record);
    int dead = rst_past_dead(&rescue->past, &record);
    if (dead) return dead < 0 && dead != ROOST_ECORRUPT ? dead : 0;
    rescue->unsure_count += piece->unsure;
    return put(rescue, &record.header, record.fields, record.payload);
}

/* Known from the old index alone. */
static int put_fact(struct rescue *rescue, const struct known *known)
{
    const struct rst_fact *fact = &known->fact;
    struct roost_bytes name = rst_bytes(rescue->names.data + known->name_offset, fact->name.size);
    struct roost_bytes key = name.size ? rst_bytes(rescue->names.data + known->name_offset + 1, name.size - 1) : name;
    char what[ROOST_KEY_SIZE_MAX + 64], file[48];
    if (fact->kind == RST_FACT_FORGOTTEN)
        return put_end(rescue, RST_RECORD_FORGET, fact->lsn, fact->memory.id, 0, rst_bytes(NULL, 0));
    if (fact->kind == RST_FACT_MEMORY) {
        chunk_file(fact->memory.place.chunk, file);
        if (!changed_later(rescue, identity_of_id(fact->memory.id), fact->lsn))
            lost(rescue, file, fact->memory.place.offset, "memory %llu: its record cannot be read",
                 (unsigned long long)fact->memory.id);
        return 0;
    }
    uint8_t family = name.size ? *(const uint8_t *)name.data : 0;
    bool shown = family == RST_MAP_KEY || family == RST_MAP_STREAM || family == RST_MAP_AGENT;
    bool over =
        family == RST_MAP_STREAM ? false : changed_later(rescue, identity_of_key(key, (enum rst_map_family)family), fact->lsn);
    if (shown && fact->entry.kind == RST_MAP_SET && !over) {
        chunk_file(fact->entry.place.chunk, file);
        rst_describe_name(name, what, sizeof what);
        lost(rescue, file, fact->entry.place.offset, "%s: its record cannot be read", what);
    }
    if (family != RST_MAP_KEY) return 0;
    return put_end(rescue, RST_RECORD_KEY_DELETE, fact->lsn, 0, fact->entry.time_ns, key);
}

/* Two segments may tell the same: one that a merge made, and one that it was made of. */
static bool told_before(const struct rescue *rescue, size_t index)
{
    const struct known *facts = (const struct known *)(const void *)rescue->facts.data;
    const struct piece *piece = piece_at(rescue, index);
    const struct known *known = &facts[piece->fact - 1];
    for (size_t i = index; i-- > 0 && piece_at(rescue, i)->lsn == piece->lsn && piece_at(rescue, i)->fact;) {
        const struct known *before = &facts[piece_at(rescue, i)->fact - 1];
        if (before->fact.kind == known->fact.kind && before->fact.memory.id == known->fact.memory.id &&
            rst_bytes_equal(rst_bytes(rescue->names.data + before->name_offset, before->fact.name.size),
                            rst_bytes(rescue->names.data + known->name_offset, known->fact.name.size)))
            return true;
    }
    return false;
}

static int put_all(struct rescue *rescue)
{
    struct rst_buffer bytes = {0};
    int err = 0;
    for (size_t i = 0; !err && i < piece_count(rescue); i++) {
        const struct piece *piece = piece_at(rescue, i);
        const struct known *facts = (const struct known *)(const void *)rescue->facts.data;
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
    const struct gap *gaps = (const struct gap *)(const void *)rescue->chunks.data;
    for (size_t i = 0; i < rescue->chunks.size / sizeof *gaps; i++) {
        const struct gap *gap = &gaps[i];
        struct piece piece = {.lsn = gap->header.lsn, .epoch = gap->header.epoch, .origin = FROM_CHUNK};
        char file[48];
        chunk_file(gap->chunk, file);
        bool guess = gap->guess && gap->header.kind != RST_RECORD_VOID && counts(rescue, &piece);
        if (guess && have_lsn(rescue, piece_count(rescue), piece.lsn)) continue; /* the log had it, or it was told by name */
        bool dead = guess && gap->header.kind == RST_RECORD_MEMORY &&
                    changed_later(rescue, identity_of_id(gap->header.number), gap->header.lsn);
        if ((!guess && !gap->inside) || dead) continue;
        /* A complete index that misses nothing there says that nothing that counts was there. */
        if (rescue->past.whole && (!guess || piece.lsn <= rescue->past.covered_lsn))
            rst_finding_place(&rescue->findings, 0, gap->chunk, gap->offset,
                              "note: %llu bytes in which no record can be read; the index names none there",
                              (unsigned long long)gap->size);
        else
            lost(rescue, file, gap->offset, "%llu bytes in which no record can be read%s", (unsigned long long)gap->size,
                 guess ? "; the remains look like one that counted" : "; what they held is not known");
    }
}

/* ---- the new root ---- */

static void remember(struct rescue *rescue)
{
    struct rst_buffer scratch = {0};
    if (!rescue->has_manifest || rescue->log_hurt) rst_mend_clients(rescue->engine);
    for (uint32_t i = 0; i < rescue->manifest.header.client_count; i++)
        rst_client_remember(rescue->engine, -1, &rescue->manifest.clients[i]);
    for (size_t i = 0; rescue->has_ring && i < rst_ring_count(&rescue->ring); i++) {
        struct rst_frame frame;
        struct rst_frame_walk walk;
        struct rst_frame_consumed consumed;
        if (!frame_kept(rescue, rst_ring_at(&rescue->ring, i)) || rst_ring_frame(&rescue->ring, i, &scratch, &frame) < 0)
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
    const struct rst_manifest_header *manifest = &rescue->manifest.header;
    if (manifest->id_ceiling > id_next) id_next = manifest->id_ceiling;
    if (manifest->lsn_ceiling > lsn_next) lsn_next = manifest->lsn_ceiling;
    for (size_t i = 0; rescue->has_ring && i < rst_ring_count(&rescue->ring); i++) {
        const struct rst_frame_header *frame = rst_ring_at(&rescue->ring, i);
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
    struct rst_log_header header = rescue->header;
    header.epoch = 1;
    int err = rst_offline_begin(path, &rescue->offline);
    if (err) return err;
    err = rst_offline_log(&rescue->offline, &header, -1);
    if (!err) err = rst_offline_engine(&rescue->offline, false, &rescue->engine);
    if (!err) err = put_all(rescue);
    if (!err) tell_gaps(rescue);
    if (!err) err = build_index(rescue);
    rst_offline_release(rescue->engine);
    if (!err) err = rst_offline_verify(&rescue->offline, rescue->findings.found, rescue->findings.user, &copy->memory_count);
    if (!err) err = rst_offline_finish(&rescue->offline);
    rst_offline_end(&rescue->offline, !err);
    return err;
}

static void close_source(struct rescue *rescue)
{
    if (rescue->log_file >= 0) rst_os->close(rescue->log_file); /* the flock goes with it */
    if (rescue->chunk_file >= 0) rst_os->close(rescue->chunk_file);
    if (rescue->blocks_directory >= 0) rst_os->close(rescue->blocks_directory);
    if (rescue->index_directory >= 0) rst_os->close(rescue->index_directory);
    if (rescue->directory >= 0) rst_os->close(rescue->directory);
    if (rescue->has_ring) rst_ring_free(&rescue->ring);
    rst_past_close(&rescue->past);
    rst_manifest_free(&rescue->manifest);
    rst_epochs_free(&rescue->epochs);
    rst_buffer_free(&rescue->pieces);
    rst_buffer_free(&rescue->frames);
    rst_buffer_free(&rescue->names);
    rst_buffer_free(&rescue->facts);
    rst_buffer_free(&rescue->changes);
    rst_buffer_free(&rescue->chunks);
    rst_buffer_free(&rescue->findings.places);
}

int rst_rescue(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    struct rescue rescue;
    memset(&rescue, 0, sizeof rescue);
    rescue.source = source;
    rescue.findings = (struct rst_findings){.found = found, .user = user};
    rescue.directory = rescue.blocks_directory = rescue.index_directory = rescue.log_file = rescue.chunk_file = -1;
    int err = gather(&rescue);
    if (!err) err = note_changes(&rescue);
    if (!err) err = make_root(&rescue, path, ret_copy);
    ret_copy->lsn = rescue.lsn_max;
    ret_copy->lost_count = (uint64_t)rescue.findings.count;
    ret_copy->unsure_count = rescue.unsure_count;
    int count = rescue.findings.count;
    close_source(&rescue);
    return err ? rst_fail_context(err, "rescue of %s", source) : count;
}
