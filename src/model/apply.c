/* SPDX-License-Identifier: MIT
 * model/apply.c: records become index entries (layer 6). */
#include "model/apply.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "model/names.h"

int rst_apply_prepare(struct rst_analyzer *analyzer, const struct rst_record_view *record, struct rst_terms *terms,
                      uint64_t *ret_need)
{
    /* Names are bounded, so one bound for all map changes of a record is good enough (a stream's entry makes two). */
    *ret_need = 2 * rst_live_need_map(RST_MAP_KEY_SIZE_MAX) + rst_live_need_tombstone();
    if (record->header.kind != RST_RECORD_MEMORY) return 0;
    struct rst_searchable memory = {.text = record->payload};
    struct roost_bytes *tags = NULL;
    int err = rst_fields_tags(record->fields, &tags, &memory.tag_count);
    memory.tags = tags;
    rst_fields_find(record->fields, RST_FIELD_AGENT, &memory.agent);
    rst_fields_find(record->fields, RST_FIELD_SESSION, &memory.session);
    if (!err) err = rst_analyze_memory(analyzer, &memory, terms);
    free(tags);
    if (!err) *ret_need += rst_live_need_memory(terms);
    return err;
}

/* Takes a memory out of the totals; how long it is the index says, forgotten or not: an heir that applies again must find the same
 * number. One that the index never had (a rebuild could not read it) was not counted either. */
static int gone(const struct rst_segment *const *segments, size_t segment_count, uint64_t id, struct rst_delta *delta)
{
    struct rst_memory_entry entry;
    for (size_t i = segment_count; i-- > 0;) {
        int found = segments[i]->ops->memory(segments[i], id, UINT64_MAX, &entry);
        if (found < 0) return found;
        if (!found) continue;
        delta->memory_count--;
        delta->token_count -= entry.token_count;
        return 0;
    }
    return 0;
}

static int apply_memory(struct rst_live *live, const struct rst_record_view *record, const struct rst_place *place,
                        const struct rst_terms *terms, struct rst_delta *delta)
{
    const struct rst_record *header = &record->header;
    struct rst_memory_entry entry = {
        .id = header->number, .lsn = header->lsn, .place = *place, .time_ns = header->time_ns, .token_count = terms->token_count};
    int err = rst_live_add_memory(live, &entry, terms);
    struct roost_bytes key;
    if (!err && rst_fields_find(record->fields, RST_FIELD_KEY, &key) == 1 && key.size <= ROOST_KEY_SIZE_MAX) {
        struct rst_map_name name;
        struct rst_map_entry mapped = {
            .lsn = header->lsn, .place = *place, .number = header->number, .time_ns = header->time_ns, .kind = RST_MAP_SET};
        rst_name_set(&name, RST_MAP_MEMORY, key);
        err = rst_live_set_map(live, rst_name_bytes(&name), &mapped);
    }
    if (!err && header->extra) err = rst_live_add_tombstone(live, header->extra, header->lsn);
    delta->memory_count++;
    delta->token_count += terms->token_count;
    if (header->number > delta->id_max) delta->id_max = header->number;
    return err;
}

static int apply_forget(struct rst_live *live, const struct rst_record_view *record)
{
    const struct rst_record *header = &record->header;
    int err = rst_live_add_tombstone(live, header->number, header->lsn);
    struct roost_bytes key;
    if (err || rst_fields_find(record->fields, RST_FIELD_KEY, &key) != 1 || key.size > ROOST_KEY_SIZE_MAX) return err;
    struct rst_map_name name;
    struct rst_map_entry mapped = {.lsn = header->lsn, .time_ns = header->time_ns, .kind = RST_MAP_DELETED};
    rst_name_set(&name, RST_MAP_MEMORY, key);
    return rst_live_set_map(live, rst_name_bytes(&name), &mapped);
}

static int apply_named(struct rst_live *live, const struct rst_record_view *record, const struct rst_place *place)
{
    const struct rst_record *header = &record->header;
    bool stream = header->kind == RST_RECORD_STREAM, state = header->kind == RST_RECORD_STATE;
    struct roost_bytes text;
    if (rst_fields_find(record->fields, stream || state ? RST_FIELD_NAME : RST_FIELD_KEY, &text) != 1 ||
        text.size > ROOST_KEY_SIZE_MAX)
        return rst_fail(ROOST_ECORRUPT, "a record without its name");
    struct rst_map_name name;
    struct rst_map_entry mapped = {
        .lsn = header->lsn, .place = *place, .number = header->number, .time_ns = header->time_ns, .kind = RST_MAP_SET};
    if (header->kind == RST_RECORD_KEY_SET) mapped.expires_ns = (int64_t)header->extra;
    if (header->kind == RST_RECORD_KEY_DELETE) mapped.kind = RST_MAP_DELETED;
    if (!stream) {
        rst_name_set(&name, state ? RST_MAP_AGENT : RST_MAP_KEY, text);
        return rst_live_set_map(live, rst_name_bytes(&name), &mapped);
    }
    mapped.bytes = header->extra;
    rst_name_set_stream(&name, text, header->number);
    int err = rst_live_set_map(live, rst_name_bytes(&name), &mapped);
    if (err) return err;
    mapped.number = header->number + 1;
    mapped.bytes = header->extra + header->payload_size;
    rst_name_set(&name, RST_MAP_HEAD, text);
    return rst_live_set_map(live, rst_name_bytes(&name), &mapped);
}

int rst_apply_record(struct rst_live *live, const struct rst_segment *const *segments, size_t segment_count,
                     const struct rst_record_view *record, const struct rst_place *place, const struct rst_terms *terms,
                     struct rst_delta *delta)
{
    switch (record->header.kind) {
    case RST_RECORD_MEMORY: {
        int err = record->header.extra ? gone(segments, segment_count, record->header.extra, delta) : 0;
        return err ? err : apply_memory(live, record, place, terms, delta);
    }
    case RST_RECORD_FORGET: {
        int err = gone(segments, segment_count, record->header.number, delta);
        return err ? err : apply_forget(live, record);
    }
    case RST_RECORD_KEY_SET:
    case RST_RECORD_KEY_DELETE:
    case RST_RECORD_STREAM:
    case RST_RECORD_STATE:
        return apply_named(live, record, place);
    default:
        return 0; /* EPOCH, VOID: nothing to find */
    }
}
