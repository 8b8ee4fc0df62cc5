/* SPDX-License-Identifier: MIT
 * engine/scrub.c: check's look at every byte of blocks and log (layer 7).
 *
 * Each record that counts must be found by the index, at its place, unless a later one says that nothing is left of it. Those later
 * ones (forgets, replacements, deletions) are gathered first, as hashes, in a table of bounded size: when there are more, in several
 * rounds. May run while others write: what was committed after the first look is left out, and what seems wrong is looked at
 * again with what came meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/verify.h"
#include "model/names.h"
#include "os/os.h"
#include "store/scan.h"

enum {
    ENDS_MAX = 1 << 20,    /* of the table: 16 MiB */
    SUSPECTS_MAX = 1 << 16 /* looked at again; more than that are reported as they are */
};

/* Something that makes an earlier record of the same identity count no more. */
struct end {
    uint64_t identity, lsn;
};
struct suspect {
    struct rst_place place;
    bool payload_right;
};
struct scrub {
    struct rst_engine *engine;
    struct rst_findings *findings;
    struct rst_writer_state writer; /* as the first look found it */
    struct rst_snapshot snapshot;
    struct rst_epochs epochs;
    uint64_t end_count, rounds, round;
    struct rst_buffer ends;     /* struct end, by identity and LSN */
    struct rst_buffer suspects; /* struct suspect */
    bool again;                 /* suspects are looked at for the last time */
};

/* ---- the log ---- */

static bool zeros(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

/* The slot whose header does not count though it should: its index; -1: none. */
static int bad_header(const struct rst_log_header slots[2])
{
    int bad[2] = {rst_log_header_check(&slots[0]) != 0, rst_log_header_check(&slots[1]) != 0};
    if (!bad[0] && !bad[1]) return -1;
    int slot = bad[0] ? 0 : 1;
    bool first = !bad[1 - slot] && slots[1 - slot].sequence == 1; /* the second one was never written */
    return first && zeros((const uint8_t *)&slots[slot], sizeof slots[slot]) ? -1 : slot;
}

static int scrub_headers(struct rst_engine *engine, struct rst_findings *findings)
{
    enum { TRIES = 5 }; /* somebody may be writing one at this moment */
    struct rst_log_header slots[2];
    int bad = -1;
    for (int tries = 0; tries < TRIES; tries++) {
        memset(slots, 0, sizeof slots);
        int64_t got = rst_read_all(engine->log.file, slots, sizeof slots, 0);
        if (got < 0) return rst_fail((int)got, "reading state.wal: %s", strerror((int)-got));
        bad = bad_header(slots);
        if (bad < 0) return 0;
        rst_os->sleep(1000000);
    }
    rst_fail(ROOST_ECORRUPT, "one of the two headers fails its checksum; the other one is used");
    rst_finding(findings, ROOST_ECORRUPT, "state.wal", (uint64_t)bad * RST_LOG_HEADER_SIZE);
    return 0;
}

static int scrub_frames(struct rst_engine *engine, struct rst_findings *findings)
{
    const struct rst_region *region = rst_engine_region(engine);
    struct rst_writer_state writer, now;
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    int err = 0;
    if (!rst_region_read_writer(region, &writer)) return rst_fail(ROOST_ECORRUPT, "the region's latches cannot be read");
    for (uint64_t position = writer.replay_position; !err && position < writer.written_position;) {
        int found = rst_log_read_frame(&engine->log, position, &bytes, &scratch, &frame);
        if (found == 1) {
            position = rst_frame_end(&frame.header);
            continue;
        }
        if (found < 0) err = found;
        if (err || !rst_region_read_writer(region, &now)) break;
        if (now.replay_position > position) { /* a checkpoint made its space free meanwhile */
            position = now.replay_position;
            continue;
        }
        rst_fail(ROOST_ECORRUPT, "a frame that is needed fails its checksum");
        rst_finding(findings, ROOST_ECORRUPT, "state.wal", RST_LOG_RING_OFFSET + position % engine->log.size);
        break;
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
    return err;
}

int rst_scrub_log(struct rst_engine *engine, struct rst_findings *findings)
{
    int err = scrub_headers(engine, findings);
    return err ? err : scrub_frames(engine, findings);
}

/* ---- what ends what ---- */

static uint64_t identity_of_id(uint64_t id) { return rst_hash(&id, sizeof id, RST_MAP_MEMORY); }

static uint64_t identity_of(const struct rst_record_view *record)
{
    struct roost_bytes key;
    switch (record->header.kind) {
    case RST_RECORD_MEMORY:
    case RST_RECORD_FORGET:
        return identity_of_id(record->header.number);
    case RST_RECORD_KEY_SET:
    case RST_RECORD_KEY_DELETE:
        return rst_fields_find(record->fields, RST_FIELD_KEY, &key) == 1 ? rst_hash(key.data, key.size, RST_MAP_KEY) : 0;
    default:
        return 0;
    }
}

static bool counts(const struct scrub *scrub, uint64_t epoch, uint64_t lsn)
{
    return lsn && lsn <= scrub->snapshot.visible_lsn && epoch <= scrub->writer.epoch &&
           rst_epochs_kept(&scrub->epochs, epoch, lsn);
}

static void add_end(struct scrub *scrub, uint64_t identity, uint64_t lsn)
{
    scrub->end_count++;
    if (identity % scrub->rounds != scrub->round || scrub->ends.size >= ENDS_MAX * sizeof(struct end)) return;
    struct end end = {identity, lsn};
    rst_buffer_add(&scrub->ends, &end, sizeof end);
}

static void take_end(struct scrub *scrub, const struct rst_record_view *record)
{
    rst_epochs_add(&scrub->epochs, &record->header);
    if (record->header.kind == RST_RECORD_FORGET || record->header.kind == RST_RECORD_KEY_DELETE)
        add_end(scrub, identity_of(record), record->header.lsn);
    if (record->header.kind == RST_RECORD_MEMORY && record->header.extra)
        add_end(scrub, identity_of_id(record->header.extra), record->header.lsn);
}

static int by_identity(const void *a, const void *b)
{
    const struct end *x = a, *y = b;
    if (x->identity != y->identity) return x->identity < y->identity ? -1 : 1;
    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

/* Is there something later that ends it? */
static bool ended(const struct scrub *scrub, uint64_t identity, uint64_t lsn)
{
    const struct end *ends = (const struct end *)(const void *)scrub->ends.data, wanted = {identity, lsn + 1};
    size_t low = 0, high = scrub->ends.size / sizeof *ends, count = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_identity(&ends[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ends[low].identity == identity;
}

typedef int (*visit_fn)(struct scrub *scrub, uint32_t chunk, uint64_t size, const struct rst_scan_item *item);

static int scan_one(struct scrub *scrub, uint32_t chunk, bool heads, visit_fn visit)
{
    struct rst_blocks *blocks = &scrub->engine->blocks;
    struct rst_scan scan;
    struct rst_scan_item item;
    int err;
    int64_t size = rst_blocks_size(blocks, chunk);
    if (size <= 0) return (int)size;
    const uint8_t *data = rst_blocks_bytes(blocks, chunk, 0, (uint64_t)size, &err);
    if (!data) return err;
    rst_scan_begin(&scan, data, (uint64_t)size, chunk);
    scan.heads = heads;
    while (!err && rst_scan_next(&scan, &item)) err = visit(scrub, chunk, (uint64_t)size, &item);
    return err;
}

static int scan_chunks(struct scrub *scrub, bool heads, visit_fn visit)
{
    struct rst_buffer numbers = {0};
    int err = rst_chunks_list(scrub->engine->blocks.directory, &numbers);
    for (size_t at = 0; !err && at < numbers.size; at += 4) err = scan_one(scrub, rst_get_u32(numbers.data + at), heads, visit);
    rst_buffer_free(&numbers);
    return err;
}

static int visit_end(struct scrub *scrub, uint32_t chunk, uint64_t size, const struct rst_scan_item *item)
{
    (void)chunk;
    (void)size;
    if (item->kind == RST_SCAN_RECORD) take_end(scrub, &item->record);
    return 0;
}

static int gather_ends(struct scrub *scrub)
{
    scrub->end_count = 0;
    rst_buffer_clear(&scrub->ends);
    rst_buffer_clear(&scrub->epochs.ends);
    int err = scan_chunks(scrub, true, visit_end);
    if (!err && (scrub->ends.failed || scrub->epochs.ends.failed)) err = rst_fail(ROOST_ENOMEM, "no memory to check the blocks");
    if (err) return err;
    rst_epochs_sort(&scrub->epochs);
    if (scrub->ends.size) qsort(scrub->ends.data, scrub->ends.size / sizeof(struct end), sizeof(struct end), by_identity);
    return 0;
}

/* ---- from the blocks to the index ---- */

enum judgement { LIVE = 1, DEAD, ODD };

static bool same_place(const struct rst_place *a, const struct rst_place *b)
{
    return a->chunk == b->chunk && a->offset == b->offset && a->size == b->size;
}

static int judge_memory(const struct scrub *scrub, const struct rst_view *view, const struct rst_record_view *record,
                        const struct rst_place *place)
{
    struct rst_memory_entry entry;
    struct rst_map_entry mapped;
    struct roost_bytes key;
    int found = rst_view_memory(view, record->header.number, &entry);
    if (found < 0) return found;
    if (!found) return ended(scrub, identity_of(record), record->header.lsn) ? DEAD : ODD;
    if (entry.lsn != record->header.lsn || !same_place(&entry.place, place)) return ODD;
    if (rst_fields_find(record->fields, RST_FIELD_KEY, &key) != 1 || key.size > ROOST_KEY_SIZE_MAX) return LIVE;
    struct rst_map_name name;
    rst_name_set(&name, RST_MAP_MEMORY, key);
    found = rst_view_map(view, rst_name_bytes(&name), &mapped);
    if (found < 0) return found;
    return found && mapped.kind == RST_MAP_SET && mapped.number == record->header.number ? LIVE : ODD;
}

static int judge_named(const struct scrub *scrub, const struct rst_view *view, const struct rst_record_view *record,
                       const struct rst_place *place)
{
    bool stream = record->header.kind == RST_RECORD_STREAM, state = record->header.kind == RST_RECORD_STATE;
    struct rst_map_name name;
    struct rst_map_entry entry;
    struct roost_bytes text;
    if (rst_fields_find(record->fields, stream || state ? RST_FIELD_NAME : RST_FIELD_KEY, &text) != 1 ||
        text.size > ROOST_KEY_SIZE_MAX)
        return ODD;
    if (stream)
        rst_name_set_stream(&name, text, record->header.number);
    else
        rst_name_set(&name, state ? RST_MAP_AGENT : RST_MAP_KEY, text);
    int found = rst_view_map(view, rst_name_bytes(&name), &entry);
    if (found < 0) return found;
    bool there = found && entry.kind == RST_MAP_SET;
    if (record->header.kind == RST_RECORD_KEY_DELETE) return there && entry.lsn < record->header.lsn ? ODD : DEAD;
    if (!found) return ended(scrub, identity_of(record), record->header.lsn) ? DEAD : ODD;
    if (entry.lsn > record->header.lsn) return DEAD;
    return there && entry.lsn == record->header.lsn && same_place(&entry.place, place) ? LIVE : ODD;
}

static int judge_in(const struct scrub *scrub, const struct rst_view *view, const struct rst_record_view *record,
                    const struct rst_place *place)
{
    struct rst_memory_entry entry;
    int found;
    switch (record->header.kind) {
    case RST_RECORD_MEMORY:
        return judge_memory(scrub, view, record, place);
    case RST_RECORD_FORGET:
        found = rst_view_memory(view, record->header.number, &entry);
        return found < 0 ? found : found ? ODD : DEAD;
    case RST_RECORD_EPOCH:
        return LIVE;
    default:
        return judge_named(scrub, view, record, place);
    }
}

static int judge(const struct scrub *scrub, const struct rst_record_view *record, const struct rst_place *place)
{
    if (scrub->findings->index_unusable) return LIVE;
    for (;;) {
        struct rst_reader reader;
        int err = rst_reader_begin(scrub->engine, &reader);
        int judged = err ? err : judge_in(scrub, &reader.view, record, place);
        if (!err && rst_reader_end(&reader) == ROOST_EAGAIN) continue;
        return judged;
    }
}

static void describe(const struct rst_record *header, struct roost_bytes fields, char *ret_text, size_t size)
{
    static const char *const kinds[RST_RECORD_KIND_COUNT] = {"?",
                                                             "memory",
                                                             "forget of memory",
                                                             "key",
                                                             "deletion of key",
                                                             "entry of stream",
                                                             "state of",
                                                             "beginning of an epoch after",
                                                             "void"};
    struct roost_bytes name = rst_bytes(NULL, 0);
    const char *kind = header->kind < RST_RECORD_KIND_COUNT ? kinds[header->kind] : kinds[0];
    bool stream = header->kind == RST_RECORD_STREAM, named = stream || header->kind == RST_RECORD_STATE;
    rst_fields_find(fields, named ? RST_FIELD_NAME : RST_FIELD_KEY, &name);
    if (named || header->kind == RST_RECORD_KEY_SET || header->kind == RST_RECORD_KEY_DELETE)
        snprintf(ret_text, size, "%s \"%.*s\"%s%.0llu", kind, (int)name.size, name.size ? (const char *)name.data : "",
                 stream ? ", index " : "", stream ? (unsigned long long)header->number : 0);
    else
        snprintf(ret_text, size, "%s %llu", kind, (unsigned long long)header->number);
}

/* ---- telling ---- */

static void tell(struct scrub *scrub, const struct rst_record_view *record, const struct rst_place *place, bool payload_right,
                 int judged)
{
    char what[ROOST_KEY_SIZE_MAX + 96];
    describe(&record->header, record->fields, what, sizeof what);
    if (judged == ODD) {
        rst_fail(ROOST_ECORRUPT, "%s (LSN %llu) stands in blocks/chunk_%04u.bin at offset %llu, and the index does not say so",
                 what, (unsigned long long)record->header.lsn, place->chunk, (unsigned long long)place->offset);
        rst_finding(scrub->findings, ROOST_ECORRUPT, "index", 0);
    }
    if (payload_right || rst_findings_have(scrub->findings, place->chunk, place->offset, place->offset + 1)) return;
    if (judged == DEAD)
        rst_finding_place(scrub->findings, 0, place->chunk, place->offset,
                          "note: %s fails its checksum; it was forgotten or replaced, nothing is lost", what);
    else
        rst_finding_place(scrub->findings, ROOST_ECORRUPT, place->chunk, place->offset,
                          "%s: its %u bytes of content fail their checksum", what, record->header.payload_size);
}

static int look_at_record(struct scrub *scrub, uint32_t chunk, const struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    struct rst_place place = {item->offset, (uint32_t)rst_record_size(header->fields_size, header->payload_size), chunk};
    if (!counts(scrub, header->epoch, header->lsn)) return 0;
    if (scrub->rounds > 1 && identity_of(&item->record) % scrub->rounds != scrub->round) return 0;
    int judged = judge(scrub, &item->record, &place);
    if (judged < 0 && judged != ROOST_ECORRUPT && judged != ROOST_EVERSION) return judged;
    if (judged < 0) judged = LIVE; /* reported already, as damage of the index */
    struct suspect suspect = {place, item->payload_right};
    if (judged == ODD && !scrub->again && scrub->suspects.size < SUSPECTS_MAX * sizeof suspect) {
        rst_buffer_add(&scrub->suspects, &suspect, sizeof suspect);
        return scrub->suspects.failed ? rst_fail(ROOST_ENOMEM, "no memory to check the blocks") : 0;
    }
    tell(scrub, &item->record, &place, item->payload_right, judged);
    return 0;
}

/* Bytes in which no record begins. What an extent leaves that was granted and lost, or a commit that a crash cut short, looks the same as a
 * record that was wiped out: only what still resembles a record that counts is damage for sure. */
static void look_at_gap(struct scrub *scrub, uint32_t chunk, uint64_t size, const struct rst_scan_item *item)
{
    const struct rst_record *header = &item->record.header;
    bool inside = item->offset + item->size < size;
    if (scrub->round || (item->zero && !inside)) return;
    if (rst_findings_have(scrub->findings, chunk, item->offset, item->offset + item->size)) return;
    char what[128];
    describe(header, rst_bytes(NULL, 0), what, sizeof what);
    bool certain = item->guess && header->kind != RST_RECORD_VOID && counts(scrub, header->epoch, header->lsn);
    bool dead = certain && header->kind == RST_RECORD_MEMORY && ended(scrub, identity_of_id(header->number), header->lsn);
    if (certain && !dead)
        rst_finding_place(scrub->findings, ROOST_ECORRUPT, chunk, item->offset,
                          "%llu bytes: the header of a record fails its checksum; it looks like %s",
                          (unsigned long long)item->size, what);
    else if (inside && !item->guess)
        rst_finding_place(scrub->findings, 0, chunk, item->offset,
                          "note: %llu bytes in which no record can be read; the index names none there",
                          (unsigned long long)item->size);
}

static int look_at_item(struct scrub *scrub, uint32_t chunk, uint64_t size, const struct rst_scan_item *item)
{
    bool newer = chunk > scrub->writer.chunk || (chunk == scrub->writer.chunk && item->offset >= scrub->writer.chunk_tail);
    if (newer) return 0;
    if (item->kind == RST_SCAN_RECORD) return look_at_record(scrub, chunk, item);
    if (item->kind == RST_SCAN_GAP) look_at_gap(scrub, chunk, size, item);
    return 0;
}

/* What seemed odd may have been changed while it was looked at: now with all that was written meanwhile. */
static int look_again(struct scrub *scrub)
{
    size_t count = scrub->suspects.size / sizeof(struct suspect);
    if (!count) return 0;
    scrub->again = true;
    int err = gather_ends(scrub);
    for (size_t i = 0; !err && i < count; i++) {
        const struct suspect *suspect = (const struct suspect *)(const void *)scrub->suspects.data + i;
        struct rst_scan_item item = {.kind = RST_SCAN_RECORD, .offset = suspect->place.offset};
        item.payload_right = suspect->payload_right;
        const uint8_t *data =
            rst_blocks_bytes(&scrub->engine->blocks, suspect->place.chunk, item.offset, sizeof(struct rst_record), &err);
        if (!data) break;
        uint64_t head = sizeof(struct rst_record) + ((const struct rst_record *)(const void *)data)->fields_size;
        data = rst_blocks_bytes(&scrub->engine->blocks, suspect->place.chunk, item.offset, head, &err);
        if (!data) break;
        if (rst_record_decode(data, head, suspect->place.chunk, item.offset, &item.record) == 0)
            err = look_at_record(scrub, suspect->place.chunk, &item);
    }
    rst_buffer_clear(&scrub->suspects);
    scrub->again = false;
    return err;
}

int rst_scrub_blocks(struct rst_engine *engine, struct rst_findings *findings)
{
    const struct rst_region *region = rst_engine_region(engine);
    struct scrub scrub = {.engine = engine, .findings = findings, .rounds = 1};
    if (!rst_region_read_writer(region, &scrub.writer) || !rst_region_read_snapshot(region, &scrub.snapshot))
        return rst_fail(ROOST_ECORRUPT, "the region's latches cannot be read");
    int err = gather_ends(&scrub);
    if (!err && scrub.end_count > ENDS_MAX) scrub.rounds = scrub.end_count / (ENDS_MAX / 2) + 1;
    for (; !err && scrub.round < scrub.rounds; scrub.round++) {
        if (scrub.rounds > 1) err = gather_ends(&scrub);
        if (!err) err = scan_chunks(&scrub, false, look_at_item);
        if (!err) err = look_again(&scrub);
    }
    rst_epochs_free(&scrub.epochs);
    rst_buffer_free(&scrub.ends);
    rst_buffer_free(&scrub.suspects);
    return err;
}
