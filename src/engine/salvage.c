/* SPDX-License-Identifier: MIT
 * engine/salvage.c: what can be read of a damaged root (layer 7). */
#include "engine/salvage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "os/os.h"

enum { CHUNK_SIZE_GUESS = 64 << 20, ARENA_SIZE_GUESS = 24 << 20 };

int rst_salvage_no_memory(void) { return rst_fail(ROOST_ENOMEM, "no memory to rescue so much"); }

struct rst_piece *rst_piece_at(const struct rst_salvage *salvage, size_t index)
{
    return (struct rst_piece *)(void *)salvage->pieces.data + index;
}

size_t rst_piece_count(const struct rst_salvage *salvage) { return salvage->pieces.size / sizeof(struct rst_piece); }

void rst_salvage_lost(struct rst_salvage *salvage, const char *file, uint64_t offset, const char *format, ...)
{
    char text[1500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rst_fail(ROOST_ECORRUPT, "%s", text);
    rst_finding(&salvage->findings, ROOST_ECORRUPT, file, offset);
}

/* ---- opening ---- */

static int in_use(const struct rst_salvage *salvage)
{
    return rst_fail(ROOST_EBUSY, "%s is open in another process; close it there first", salvage->source);
}

/* Nobody may have it open: its log is held while it is read. A source without one has nobody either. */
static int lock_source(struct rst_salvage *salvage)
{
    int err = rst_os->flock(salvage->log_file);
    if (err == -EWOULDBLOCK) return in_use(salvage);
    for (uint32_t slot = 0; !err && slot < RST_SLOT_COUNT; slot++)
        if (rst_participant_alive(salvage->log_file, slot)) return in_use(salvage);
    return 0;
}

static int open_source(struct rst_salvage *salvage)
{
    salvage->directory = rst_os->open(-1, salvage->source, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (salvage->directory == -ENOENT) return rst_fail(ROOST_ENOROOT, "there is no folder %s", salvage->source);
    if (salvage->directory < 0) return rst_root_unopened(salvage->source, salvage->directory);
    int err = rst_root_refuse(salvage->directory, salvage->source);
    if (err) return err;
    salvage->log_file = rst_os->open(salvage->directory, "state.wal", RST_OPEN_READ, 0);
    salvage->blocks_directory = rst_os->open(salvage->directory, "blocks", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    salvage->index_directory = rst_os->open(salvage->directory, "index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (salvage->log_file < 0 && salvage->blocks_directory < 0)
        return rst_fail(ROOST_ENOROOT, "%s has neither state.wal nor blocks/: it is no root, nor was it one", salvage->source);
    return salvage->log_file < 0 ? 0 : lock_source(salvage);
}

/* ---- the log ---- */

static void guess_header(struct rst_salvage *salvage)
{
    struct rst_stat stat;
    memset(&salvage->header, 0, sizeof salvage->header);
    uint64_t size = salvage->log_file >= 0 && rst_os->stat(salvage->log_file, &stat) == 0 ? stat.size : 0;
    bool fits = size > RST_LOG_RING_OFFSET + (64 << 10) && size <= UINT64_C(1) << 31 && size % RST_LOG_HEADER_SIZE == 0;
    salvage->header.log_size = fits ? size - RST_LOG_RING_OFFSET : 16 << 20;
    salvage->header.chunk_size = CHUNK_SIZE_GUESS;
    salvage->header.arena_size = ARENA_SIZE_GUESS;
    salvage->header.region_kind = ROOST_REGION_SHM;
    salvage->header.analysis_version = RST_ANALYSIS_VERSION;
    salvage->header.created_ns = rst_os->real_time();
    snprintf(salvage->header.language, sizeof salvage->header.language, "english");
}

static int read_header(struct rst_salvage *salvage)
{
    struct rst_log log = {.file = salvage->log_file};
    int err = salvage->log_file < 0 ? ROOST_ENOENT : rst_log_read_header(&log);
    if (err == ROOST_EVERSION) return err;
    salvage->has_header = !err;
    if (!err) {
        salvage->header = log.header;
        return 0;
    }
    guess_header(salvage);
    salvage->log_hurt = true;
    rst_salvage_lost(salvage, "state.wal", 0, "%s; the new root gets default settings (language english)",
                     salvage->log_file < 0 ? "it is missing or cannot be opened" : "both headers are damaged");
    return 0;
}

bool rst_salvage_frame_kept(const struct rst_salvage *salvage, const struct rst_frame_header *frame)
{
    return rst_epochs_kept(&salvage->epochs, frame->epoch, frame->lsn_first);
}

/* What a frame's entry holds; large payloads are in the chunk, and looked at there. */
static void take_entry(struct rst_salvage *salvage, const struct rst_frame_header *frame, const struct rst_frame_entry *entry,
                       const uint8_t *bytes)
{
    struct rst_record_view record;
    if (rst_record_decode(bytes, entry->inline_size, entry->chunk, entry->offset, &record) < 0) return;
    struct rst_piece piece = {.lsn = record.header.lsn,
                              .epoch = frame->epoch,
                              .frame_offset = salvage->frames.size,
                              .offset = entry->offset,
                              .chunk = entry->chunk,
                              .size = entry->record_size,
                              .head_size = entry->inline_size,
                              .origin = RST_FROM_FRAME};
    bool external = entry->flags & RST_ENTRY_EXTERNAL;
    piece.whole = !external && (!record.header.payload_size || rst_record_payload_right(&record));
    rst_buffer_add(&salvage->frames, bytes, entry->inline_size);
    rst_buffer_add(&salvage->pieces, &piece, sizeof piece);
    rst_epochs_add(&salvage->epochs, &record.header);
}

static int take_frame(struct rst_salvage *salvage, size_t index, struct rst_buffer *scratch)
{
    struct rst_frame frame;
    struct rst_frame_walk walk;
    struct rst_frame_entry entry;
    const uint8_t *bytes;
    int err = rst_ring_frame(&salvage->ring, index, scratch, &frame);
    if (err) return err == ROOST_ENOMEM ? err : 0;
    rst_frame_walk_begin(&walk, &frame);
    while (rst_frame_walk_entry(&walk, &entry, &bytes) == 1) take_entry(salvage, &frame.header, &entry, bytes);
    return salvage->pieces.failed || salvage->frames.failed ? rst_salvage_no_memory() : 0;
}

static int read_log(struct rst_salvage *salvage)
{
    if (salvage->log_file < 0) return 0;
    struct rst_buffer scratch = {0};
    int err = rst_ring_read(salvage->log_file, salvage->header.log_size, &salvage->ring);
    salvage->has_ring = !err;
    for (size_t i = 0; !err && i < rst_ring_count(&salvage->ring); i++) err = take_frame(salvage, i, &scratch);
    rst_buffer_free(&scratch);
    return err;
}

/* Is there all in the log that MANIFEST does not cover? And what is proved to have been acknowledged? */
static void judge_log(struct rst_salvage *salvage)
{
    size_t first = 0, count = salvage->has_ring ? rst_ring_count(&salvage->ring) : 0;
    uint64_t replay = salvage->manifest.header.replay_position;
    bool hole = false, any = salvage->has_ring && rst_ring_chain(&salvage->ring, &first, &hole);
    salvage->durable_lsn = salvage->manifest.header.covered_lsn;
    for (size_t i = 0; i < count; i++) {
        const struct rst_frame_header *frame = rst_ring_at(&salvage->ring, i);
        if (rst_salvage_frame_kept(salvage, frame) && frame->durable_lsn > salvage->durable_lsn)
            salvage->durable_lsn = frame->durable_lsn;
    }
    const struct rst_frame_header *oldest = any ? rst_ring_at(&salvage->ring, first) : NULL;
    const struct rst_frame_header *newest = any ? rst_ring_at(&salvage->ring, count - 1) : NULL;
    struct rst_stat stat;
    bool cut = salvage->has_ring && rst_os->stat(salvage->log_file, &stat) == 0 &&
               stat.size < RST_LOG_RING_OFFSET + salvage->header.log_size;
    if (cut || (salvage->has_ring && salvage->ring.unreadable)) salvage->log_hurt = true;
    if (salvage->has_manifest && any && rst_frame_end(newest) > replay && oldest->position > replay) salvage->log_hurt = true;
    if (!salvage->has_manifest && (!any || hole)) salvage->log_hurt = true;
    if (!salvage->log_hurt || !salvage->has_header) return;
    uint64_t position = any ? oldest->position : replay;
    rst_fail(0, "note: the log is damaged before position %llu; what stood there is taken from the blocks",
             (unsigned long long)position);
    rst_finding(&salvage->findings, 0, "state.wal", RST_LOG_RING_OFFSET + position % salvage->header.log_size);
}

/* ---- the blocks ---- */

void rst_salvage_file(uint32_t chunk, char ret_text[48])
{
    char name[32];
    rst_chunk_name(chunk, name);
    snprintf(ret_text, 48, "blocks/%s", name);
}

/* The chunk's bytes; what the disk refuses is zeros. */
static int read_chunk(struct rst_salvage *salvage, uint32_t chunk, struct rst_buffer *bytes)
{
    char name[32], shown[48];
    struct rst_stat stat;
    rst_chunk_name(chunk, name);
    rst_salvage_file(chunk, shown);
    rst_buffer_clear(bytes);
    int file = rst_os->open(salvage->blocks_directory, name, RST_OPEN_READ, 0);
    int err = file < 0 ? file : rst_os->stat(file, &stat);
    if (err) {
        rst_salvage_lost(salvage, shown, 0, "it cannot be opened: %s", strerror(-err));
        if (file >= 0) rst_os->close(file);
        return 0;
    }
    uint8_t *room = rst_buffer_extend(bytes, (size_t)stat.size + 1);
    uint64_t refused = room ? rst_read_what_can_be(file, room, stat.size, 0) : 0;
    rst_os->close(file);
    if (!room) return rst_salvage_no_memory();
    bytes->size = (size_t)stat.size;
    if (refused)
        rst_salvage_lost(salvage, shown, 0, "%llu bytes of it cannot be read from the disk", (unsigned long long)refused);
    return 0;
}

static void take_item(struct rst_salvage *salvage, uint32_t chunk, uint64_t end, const struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    if (item->kind == RST_SCAN_GAP) {
        struct rst_piece_gap gap = {item->offset, item->size, *header, chunk, item->guess, item->offset + item->size < end};
        if (gap.guess || (gap.inside && item->size) || !item->zero) rst_buffer_add(&salvage->gaps, &gap, sizeof gap);
    }
    if (item->kind != RST_SCAN_RECORD) return;
    struct rst_piece piece = {.lsn = header->lsn,
                              .epoch = header->epoch,
                              .offset = item->offset,
                              .chunk = chunk,
                              .size = (uint32_t)rst_record_size(header->fields_size, header->payload_size),
                              .head_size = (uint32_t)sizeof *header + header->fields_size,
                              .origin = RST_FROM_CHUNK,
                              .whole = item->payload_right};
    rst_buffer_add(&salvage->pieces, &piece, sizeof piece);
    rst_epochs_add(&salvage->epochs, header);
}

static int read_blocks(struct rst_salvage *salvage)
{
    struct rst_buffer numbers = {0}, bytes = {0};
    if (salvage->blocks_directory < 0) {
        rst_salvage_lost(salvage, "blocks", 0, "the folder is missing or cannot be opened");
        return 0;
    }
    int err = rst_chunks_list(salvage->blocks_directory, &numbers);
    for (size_t i = 0; !err && i < numbers.size; i += 4) {
        struct rst_scan scan;
        struct rst_scan_item item;
        uint32_t chunk = rst_get_u32(numbers.data + i);
        err = read_chunk(salvage, chunk, &bytes);
        if (err) break;
        rst_scan_begin(&scan, bytes.data, bytes.size, chunk);
        while (rst_scan_next(&scan, &item)) take_item(salvage, chunk, bytes.size, &item);
        if (salvage->pieces.failed || salvage->gaps.failed) err = rst_salvage_no_memory();
    }
    rst_buffer_free(&numbers);
    rst_buffer_free(&bytes);
    return err;
}

/* ---- the index ---- */

static int read_index(struct rst_salvage *salvage)
{
    if (salvage->index_directory < 0) return 0;
    int err = rst_manifest_read(salvage->index_directory, &salvage->manifest);
    salvage->has_manifest = !err;
    return rst_past_open(salvage->index_directory, err ? NULL : &salvage->manifest, NULL, true, &salvage->past);
}

/* ---- choosing ---- */

static int by_lsn(const void *a, const void *b)
{
    const struct rst_piece *x = a, *y = b;
    if (x->lsn != y->lsn) return x->lsn < y->lsn ? -1 : 1;
    if (x->epoch != y->epoch) return x->epoch > y->epoch ? -1 : 1;
    if (x->whole != y->whole) return x->whole ? -1 : 1;
    if (x->origin != y->origin) return x->origin < y->origin ? -1 : 1;
    return (x->fact > y->fact) - (x->fact < y->fact);
}

static void sort_pieces(struct rst_salvage *salvage)
{
    if (salvage->pieces.size) qsort(salvage->pieces.data, rst_piece_count(salvage), sizeof(struct rst_piece), by_lsn);
}

bool rst_salvage_counts(const struct rst_salvage *salvage, struct rst_piece *piece)
{
    if (!piece->lsn || !rst_epochs_kept(&salvage->epochs, piece->epoch, piece->lsn)) return false;
    if (salvage->has_manifest && piece->lsn <= salvage->manifest.header.covered_lsn)
        return piece->epoch <= salvage->manifest.header.epoch;
    if (piece->lsn <= salvage->durable_lsn) return true;
    if (piece->origin == RST_FROM_CHUNK && !salvage->log_hurt) return false; /* of a commit that never came to its frame */
    piece->unsure = salvage->log_hurt;
    return true;
}

/* Keeps one piece for each LSN: the best that there is. */
static void choose(struct rst_salvage *salvage)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < rst_piece_count(salvage); i++)
        if (rst_salvage_counts(salvage, rst_piece_at(salvage, i))) *rst_piece_at(salvage, count++) = *rst_piece_at(salvage, i);
    salvage->pieces.size = count * sizeof(struct rst_piece);
    sort_pieces(salvage);
    for (size_t i = 0; i < count; i++)
        if (!kept || rst_piece_at(salvage, i)->lsn != rst_piece_at(salvage, kept - 1)->lsn)
            *rst_piece_at(salvage, kept++) = *rst_piece_at(salvage, i);
    salvage->pieces.size = kept * sizeof(struct rst_piece);
}

bool rst_salvage_have(const struct rst_salvage *salvage, size_t count, uint64_t lsn)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rst_piece_at(salvage, middle)->lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && rst_piece_at(salvage, low)->lsn == lsn;
}

struct telling {
    struct rst_salvage *salvage;
    size_t count; /* of pieces that are sorted */
};

/* What the old index knows and no record says. */
static int keep_fact(void *user, const struct rst_fact *fact)
{
    struct telling *telling = user;
    struct rst_salvage *salvage = telling->salvage;
    if (!fact->lsn || rst_salvage_have(salvage, telling->count, fact->lsn)) return 0;
    struct rst_piece_fact known = {*fact, salvage->names.size};
    rst_buffer_add(&salvage->names, fact->name.data, fact->name.size);
    rst_buffer_add(&salvage->facts, &known, sizeof known);
    struct rst_piece piece = {
        .lsn = fact->lsn, .origin = RST_FROM_NOTHING, .fact = (uint32_t)(salvage->facts.size / sizeof known)};
    rst_buffer_add(&salvage->pieces, &piece, sizeof piece);
    return salvage->names.failed || salvage->facts.failed || salvage->pieces.failed ? rst_salvage_no_memory() : 0;
}

static int gather(struct rst_salvage *salvage)
{
    int err = open_source(salvage);
    if (!err) err = read_header(salvage);
    if (!err) err = read_index(salvage);
    if (!err) err = read_log(salvage);
    if (!err) err = read_blocks(salvage);
    if (err) return err;
    rst_epochs_sort(&salvage->epochs);
    judge_log(salvage);
    choose(salvage);
    struct telling telling = {salvage, rst_piece_count(salvage)};
    err = rst_past_tell(&salvage->past, keep_fact, &telling);
    sort_pieces(salvage);
    return err;
}

/* ---- reading a piece ---- */

int rst_salvage_read(struct rst_salvage *salvage, const struct rst_piece *piece, struct rst_buffer *bytes,
                     struct rst_record_view *ret_record, bool *ret_whole)
{
    rst_buffer_clear(bytes);
    uint8_t *room = rst_buffer_extend(bytes, (size_t)piece->size + 8);
    if (!room) return rst_salvage_no_memory();
    memset(room, 0, (size_t)piece->size + 8);
    char name[32];
    rst_chunk_name(piece->chunk, name);
    bool inlined = piece->origin == RST_FROM_FRAME && piece->whole;
    if (!inlined && salvage->blocks_directory >= 0 && (salvage->chunk_file < 0 || salvage->chunk_open != piece->chunk)) {
        if (salvage->chunk_file >= 0) rst_os->close(salvage->chunk_file);
        salvage->chunk_file = rst_os->open(salvage->blocks_directory, name, RST_OPEN_READ, 0);
        salvage->chunk_open = piece->chunk;
    }
    if (!inlined && salvage->chunk_file >= 0) rst_read_what_can_be(salvage->chunk_file, room, piece->size, piece->offset);
    if (piece->origin == RST_FROM_FRAME) memcpy(room, salvage->frames.data + piece->frame_offset, piece->head_size);
    int err = rst_record_decode(room, piece->size, piece->chunk, piece->offset, ret_record);
    if (err) return err;
    *ret_whole = !ret_record->header.payload_size || rst_record_payload_right(ret_record);
    return 0;
}

/* ---- all of it ---- */

int rst_salvage_open(const char *source, roost_found_fn found, void *user, struct rst_salvage *ret_salvage)
{
    struct rst_salvage *salvage = ret_salvage;
    memset(salvage, 0, sizeof *salvage);
    salvage->source = source;
    salvage->findings = (struct rst_findings){.found = found, .user = user};
    salvage->directory = salvage->blocks_directory = salvage->index_directory = salvage->log_file = salvage->chunk_file = -1;
    return gather(salvage);
}

void rst_salvage_close(struct rst_salvage *salvage)
{
    if (salvage->log_file >= 0) rst_os->close(salvage->log_file); /* the flock goes with it */
    if (salvage->chunk_file >= 0) rst_os->close(salvage->chunk_file);
    if (salvage->blocks_directory >= 0) rst_os->close(salvage->blocks_directory);
    if (salvage->index_directory >= 0) rst_os->close(salvage->index_directory);
    if (salvage->directory >= 0) rst_os->close(salvage->directory);
    if (salvage->has_ring) rst_ring_free(&salvage->ring);
    rst_past_close(&salvage->past);
    rst_manifest_free(&salvage->manifest);
    rst_epochs_free(&salvage->epochs);
    rst_buffer_free(&salvage->pieces);
    rst_buffer_free(&salvage->frames);
    rst_buffer_free(&salvage->names);
    rst_buffer_free(&salvage->facts);
    rst_buffer_free(&salvage->gaps);
    rst_buffer_free(&salvage->findings.places);
}
