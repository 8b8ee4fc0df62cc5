/* SPDX-License-Identifier: MIT
 * api/read.c: get, locate, search, keys, streams (layer 8). A read looks things up in a view and reads the record from the
 * blocks; when an arena was recycled underneath it looks again. */
#include <stdio.h>
#include <stdlib.h>

#include "api/internal.h"
#include "index/search.h"
#include "model/names.h"
#include "os/os.h"

int rst_load_record(struct rst_engine *engine, const struct rst_place *place, struct rst_record_view *ret_record)
{
    int err = rst_blocks_read(&engine->blocks, place, ret_record);
    if (!err && !rst_record_payload_right(ret_record))
        err = rst_fail(ROOST_ECORRUPT, "blocks/chunk_%04u.bin, offset %llu: the payload fails its checksum", place->chunk,
                       (unsigned long long)place->offset);
    return err ? rst_fail_context(err, "%s", engine->path) : 0;
}

/* ---- memories ---- */

static int find_memory(struct rst_engine *engine, roost_id id, struct rst_memory_entry *ret_entry)
{
    struct rst_reader reader;
    int found, again;
    do {
        int err = rst_reader_begin(engine, &reader);
        if (err) return err;
        found = rst_view_memory(&reader.view, id, ret_entry);
        again = rst_reader_end(&reader);
    } while (again == ROOST_EAGAIN);
    if (found < 0) return rst_fail_context(found, "%s", engine->path);
    return found ? 0 : rst_fail(ROOST_ENOENT, "there is no memory %llu", (unsigned long long)id);
}

int rst_fill_memory(struct rst_engine *engine, const struct rst_memory_entry *entry, struct roost_memory *ret_memory,
                    struct roost_bytes **ret_tags)
{
    struct rst_record_view record;
    int err = rst_load_record(engine, &entry->place, &record);
    if (err) return err;
    if (record.header.kind != RST_RECORD_MEMORY || record.header.number != entry->id)
        return rst_fail(ROOST_ECORRUPT, "%s: blocks/chunk_%04u.bin, offset %llu: not the memory %llu", engine->path,
                        entry->place.chunk, (unsigned long long)entry->place.offset, (unsigned long long)entry->id);
    size_t tag_count;
    err = rst_fields_tags(record.fields, ret_tags, &tag_count);
    if (err) return err;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = record.payload;
    rst_fields_find(record.fields, RST_FIELD_KEY, &memory.key);
    rst_fields_find(record.fields, RST_FIELD_AGENT, &memory.agent);
    rst_fields_find(record.fields, RST_FIELD_SESSION, &memory.session);
    rst_fields_find(record.fields, RST_FIELD_PROCESS, &memory.process);
    rst_fields_find(record.fields, RST_FIELD_TOOL, &memory.tool);
    rst_fields_find(record.fields, RST_FIELD_METADATA, &memory.metadata);
    memory.tags = *ret_tags;
    memory.tag_count = tag_count;
    memory.time_ns = record.header.time_ns;
    memory.id = record.header.number;
    memory.lsn = record.header.lsn;
    RST_API_GIVE(ret_memory, memory);
    return 0;
}

int roost_get(roost_root *root, roost_id id, struct roost_memory *ret_memory)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!ret_memory || !id) return rst_fail(ROOST_EINVAL, "%s", id ? "no place for the memory was given" : "ids begin at 1");
    err = RST_API_SIZED(roost_memory, ret_memory);
    if (err) return err;
    struct rst_memory_entry entry;
    struct roost_bytes *tags = NULL;
    err = find_memory(root->engine, id, &entry);
    if (!err) err = rst_fill_memory(root->engine, &entry, ret_memory, &tags);
    if (err == ROOST_ECORRUPT) {
        /* Forgotten meanwhile is not damage (R24). */
        struct rst_memory_entry again;
        char detail[512];
        snprintf(detail, sizeof detail, "%s", rst_fail_detail());
        if (find_memory(root->engine, id, &again) == ROOST_ENOENT) return ROOST_ENOENT;
        rst_fail_set_detail(detail);
    }
    if (!err) ret_memory->pin.word[0] = tags;
    return err;
}

void roost_unpin(roost_root *root, struct roost_pin *pin)
{
    (void)root; /* mappings stay until close: only what was gathered for the caller goes */
    if (!pin) return;
    free(pin->word[0]);
    free(pin->word[1]);
    pin->word[0] = pin->word[1] = NULL;
}

int roost_locate(roost_root *root, roost_id id, struct roost_location *ret_location)
{
    int err = rst_api_enter(root);
    if (err) return err;
    if (!ret_location || !id) return rst_fail(ROOST_EINVAL, "%s", id ? "no place for the location was given" : "ids begin at 1");
    err = RST_API_SIZED(roost_location, ret_location);
    if (err) return err;
    struct rst_memory_entry entry;
    struct rst_record_view record;
    err = find_memory(root->engine, id, &entry);
    if (!err) err = rst_load_record(root->engine, &entry.place, &record);
    if (err) return err;
    struct roost_location location = {
        .id = id,
        .lsn = entry.lsn,
        .chunk = entry.place.chunk,
        .offset = entry.place.offset,
        .record_size = entry.place.size,
        .text_offset = entry.place.offset + sizeof record.header + record.fields.size,
        .text_size = record.payload.size,
        .time_ns = record.header.time_ns,
    };
    RST_API_GIVE(ret_location, location);
    return 0;
}

/* ---- search ---- */

struct roost_hits {
    struct rst_engine *engine;
    struct rst_scored *scored;
    struct rst_memory_entry *entries;
    size_t count, next;
    struct roost_bytes *tags; /* of the hit given last */
};

struct text_reader {
    struct rst_engine *engine;
    struct roost_bytes *tags;
};

static int read_text(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                     const struct roost_bytes **ret_tags, size_t *ret_tag_count)
{
    struct text_reader *text = user;
    struct rst_record_view record;
    free(text->tags);
    text->tags = NULL;
    int err = rst_load_record(text->engine, &entry->place, &record);
    if (err == ROOST_ECORRUPT) return 0; /* one damaged memory does not spoil a search; reading it says what is wrong */
    if (!err) err = rst_fields_tags(record.fields, &text->tags, ret_tag_count);
    if (err) return err;
    *ret_text = record.payload;
    *ret_tags = text->tags;
    return 1;
}

/* One try: the hits and where they lie, as of one snapshot. */
static int search_once(struct rst_engine *engine, struct rst_analyzer *analyzer, const struct rst_query *query, size_t limit,
                       struct roost_hits *hits)
{
    struct rst_reader reader;
    int err = rst_reader_begin(engine, &reader);
    if (err) return err;
    struct text_reader text = {engine, NULL};
    int count = rst_search(&reader.view, analyzer, query, limit, read_text, &text, hits->scored);
    free(text.tags);
    hits->count = 0;
    for (int i = 0; i < count; i++) {
        int found = rst_view_memory(&reader.view, hits->scored[i].id, &hits->entries[hits->count]);
        if (found < 0) count = found;
        if (found == 1) hits->scored[hits->count++] = hits->scored[i];
    }
    int again = rst_reader_end(&reader);
    return again == ROOST_EAGAIN ? again : count < 0 ? rst_fail_context(count, "%s", engine->path) : 0;
}

int roost_search(roost_root *root, const struct roost_query *given, roost_hits **ret_hits)
{
    enum { LIMIT_DEFAULT = 20, LIMIT_MAX = 100000 };
    int err = rst_api_enter(root);
    if (err) return err;
    struct roost_query query = ROOST_QUERY_INIT;
    if (!given || !ret_hits) return rst_fail(ROOST_EINVAL, "no query, or no place for the hits, was given");
    err = RST_API_COPY(roost_query, &query, given);
    if (!err) err = rst_check_utf8(query.text, "the query");
    if (err) return err;
    size_t limit = query.limit ? query.limit : LIMIT_DEFAULT;
    if (limit > LIMIT_MAX) limit = LIMIT_MAX;
    struct rst_analyzer *analyzer = NULL;
    struct rst_query *parsed = NULL;
    struct roost_hits *hits = calloc(1, sizeof *hits);
    if (hits) {
        hits->engine = root->engine;
        hits->scored = calloc(limit, sizeof *hits->scored);
        hits->entries = calloc(limit, sizeof *hits->entries);
    }
    if (!hits || !hits->scored || !hits->entries) err = rst_fail(ROOST_ENOMEM, "no memory for %zu hits", limit);
    if (!err) err = rst_analyzer_borrow(root->engine, &analyzer);
    if (!err) err = rst_query_parse(analyzer, query.text, &parsed);
    if (!err && query.agent.size) err = rst_query_limit(parsed, RST_TERM_AGENT, query.agent);
    if (!err && query.session.size) err = rst_query_limit(parsed, RST_TERM_SESSION, query.session);
    while (!err && (err = search_once(root->engine, analyzer, parsed, limit, hits)) == ROOST_EAGAIN) err = 0;
    rst_query_free(parsed);
    if (analyzer) rst_analyzer_return(root->engine, analyzer);
    if (err)
        roost_hits_close(hits);
    else
        *ret_hits = hits;
    return err;
}

int roost_hits_next(roost_hits *hits, struct roost_hit *ret_hit)
{
    rst_fail_clear();
    int err = rst_engine_check(hits->engine);
    if (!err && !ret_hit) err = rst_fail(ROOST_EINVAL, "no place for the hit was given");
    if (!err) err = RST_API_SIZED(roost_hit, ret_hit);
    if (err) return err;
    if (hits->next == hits->count) return 0;
    free(hits->tags);
    hits->tags = NULL;
    const struct rst_memory_entry *entry = &hits->entries[hits->next];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    double score = hits->scored[hits->next++].score;
    err = rst_fill_memory(hits->engine, entry, &memory, &hits->tags);
    if (err == ROOST_ECORRUPT) {
        struct roost_hit named = ROOST_HIT_INIT;
        named.id = entry->id;
        named.score = score;
        RST_API_GIVE(ret_hit, named);
    }
    if (err) return err;
    struct roost_hit hit = {.id = memory.id,
                            .score = score,
                            .key = memory.key,
                            .text = memory.text,
                            .tags = memory.tags,
                            .tag_count = memory.tag_count,
                            .time_ns = memory.time_ns,
                            .agent = memory.agent,
                            .session = memory.session,
                            .process = memory.process,
                            .tool = memory.tool,
                            .metadata = memory.metadata};
    RST_API_GIVE(ret_hit, hit);
    return 1;
}

size_t roost_hits_count(const roost_hits *hits) { return hits->count; }

void roost_hits_close(roost_hits *hits)
{
    if (!hits) return;
    free(hits->scored);
    free(hits->entries);
    free(hits->tags);
    free(hits);
}

/* ---- keys and streams ---- */

/* The newest entry under a name that is there. */
static int find_entry(struct rst_engine *engine, const struct rst_map_name *name, struct rst_map_entry *ret_entry)
{
    struct rst_reader reader;
    int found, again;
    do {
        int err = rst_reader_begin(engine, &reader);
        if (err) return err;
        found = rst_view_map(&reader.view, rst_name_bytes(name), ret_entry);
        again = rst_reader_end(&reader);
    } while (again == ROOST_EAGAIN);
    if (found < 0) return rst_fail_context(found, "%s", engine->path);
    return found && ret_entry->kind == RST_MAP_SET ? 0 : ROOST_ENOENT;
}

int rst_fill_item(struct rst_engine *engine, const struct rst_map_entry *entry, struct roost_item *ret_item)
{
    struct rst_record_view record;
    int err = rst_load_record(engine, &entry->place, &record);
    if (err) return err;
    struct roost_item item = ROOST_ITEM_INIT;
    bool stream = record.header.kind == RST_RECORD_STREAM;
    rst_fields_find(record.fields, stream ? RST_FIELD_NAME : RST_FIELD_KEY, &item.key);
    item.value = record.payload;
    item.version = record.header.lsn;
    item.time_ns = record.header.time_ns;
    item.expires_ns = stream ? 0 : entry->expires_ns;
    item.index = stream ? record.header.number : 0;
    item.byte_offset = stream ? record.header.extra : 0;
    RST_API_GIVE(ret_item, item);
    return 0;
}

static int check_item(const struct roost_item *ret_item)
{
    return ret_item ? RST_API_SIZED(roost_item, ret_item) : rst_fail(ROOST_EINVAL, "no place for the item was given");
}

int roost_kv_get(roost_root *root, struct roost_bytes key, struct roost_item *ret_item)
{
    int err = rst_api_enter(root);
    if (!err) err = rst_check_key(key, "the key");
    if (!err) err = check_item(ret_item);
    if (err) return err;
    struct rst_map_name name;
    struct rst_map_entry entry;
    rst_name_set(&name, RST_MAP_KEY, key);
    err = find_entry(root->engine, &name, &entry);
    if (!err && entry.expires_ns && entry.expires_ns <= rst_os->real_time()) err = ROOST_ENOENT;
    if (err == ROOST_ENOENT) return rst_fail(err, "there is no key \"%.*s\"", (int)key.size, (const char *)key.data);
    return err ? err : rst_fill_item(root->engine, &entry, ret_item);
}

static int stream_head(roost_root *root, struct roost_bytes name, struct rst_map_entry *ret_head)
{
    int err = rst_api_enter(root);
    if (!err) err = rst_check_key(name, "the stream's name");
    if (err) return err;
    struct rst_map_name map_name;
    rst_name_set(&map_name, RST_MAP_HEAD, name);
    err = find_entry(root->engine, &map_name, ret_head);
    return err == ROOST_ENOENT ? rst_fail(err, "there is no stream \"%.*s\"", (int)name.size, (const char *)name.data) : err;
}

int roost_stream_info(roost_root *root, struct roost_bytes name, struct roost_stream_info *ret_info)
{
    struct rst_map_entry head;
    int err = stream_head(root, name, &head);
    if (err) return err;
    if (!ret_info) return rst_fail(ROOST_EINVAL, "no place for the figures was given");
    err = RST_API_SIZED(roost_stream_info, ret_info);
    if (err) return err;
    struct roost_stream_info info = {.entry_count = head.number, .byte_count = head.bytes, .lsn = head.lsn};
    RST_API_GIVE(ret_info, info);
    return 0;
}

static int stream_entry(roost_root *root, struct roost_bytes name, uint64_t index, struct rst_map_entry *ret_entry)
{
    struct rst_map_name map_name;
    rst_name_set_stream(&map_name, name, index);
    return find_entry(root->engine, &map_name, ret_entry);
}

int roost_stream_get(roost_root *root, struct roost_bytes name, uint64_t index, struct roost_item *ret_item)
{
    struct rst_map_entry head, entry;
    int err = stream_head(root, name, &head);
    if (!err && (err = check_item(ret_item))) return err;
    if (!err && index < head.number)
        err = stream_entry(root, name, index, &entry);
    else if (!err)
        err = ROOST_ENOENT;
    if (err == ROOST_ENOENT && !rst_fail_detail()[0])
        return rst_fail(err, "the stream \"%.*s\" has %llu entries, there is none with index %llu", (int)name.size,
                        (const char *)name.data, (unsigned long long)head.number, (unsigned long long)index);
    return err ? err : rst_fill_item(root->engine, &entry, ret_item);
}

int roost_stream_at(roost_root *root, struct roost_bytes name, uint64_t byte_offset, struct roost_item *ret_item)
{
    struct rst_map_entry head, entry;
    int err = stream_head(root, name, &head);
    if (!err) err = check_item(ret_item);
    if (err) return err;
    if (byte_offset >= head.bytes)
        return rst_fail(ROOST_ENOENT, "the stream \"%.*s\" has %llu bytes, there is none at offset %llu", (int)name.size,
                        (const char *)name.data, (unsigned long long)head.bytes, (unsigned long long)byte_offset);
    /* Each entry knows how many bytes come before it: the last one that begins at or before the offset. */
    uint64_t low = 0, high = head.number - 1;
    while (!err && low < high) {
        uint64_t middle = low + (high - low + 1) / 2, at = middle;
        while ((err = stream_entry(root, name, at, &entry)) == ROOST_ENOENT && at < high) at++; /* a hole that a rescue left */
        if (!err && entry.bytes <= byte_offset)
            low = at;
        else
            high = middle - 1;
        if (err == ROOST_ENOENT) err = 0;
    }
    struct roost_item item = ROOST_ITEM_INIT;
    if (!err) err = stream_entry(root, name, low, &entry);
    if (!err) err = rst_fill_item(root->engine, &entry, &item);
    if (err == ROOST_ENOENT || (!err && byte_offset - item.byte_offset >= item.value.size))
        return rst_fail(ROOST_ENOENT, "the entry of the stream \"%.*s\" that held byte %llu is lost", (int)name.size,
                        (const char *)name.data, (unsigned long long)byte_offset);
    if (!err) RST_API_GIVE(ret_item, item);
    return err;
}
