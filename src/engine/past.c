/* SPDX-License-Identifier: MIT
 * engine/past.c: what an index that is about to be replaced, or that lies in a damaged root, still knows (layer 7). */
#include "engine/past.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "model/names.h"
#include "os/os.h"
#include "store/manifest.h"
#include "store/ring.h"

/* ---- opening ---- */

static int add_number(void *user, const char *name)
{
    struct rst_buffer *numbers = user;
    uint64_t number;
    if (rst_segment_number(name, &number)) rst_buffer_add_u64(numbers, number);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = rst_get_u64(a), y = rst_get_u64(b);
    return (x > y) - (x < y);
}

/* The segments' bytes: mapped, or read as far as the disk gives them. NULL: there is nothing to look at. */
static void *bytes_of(int file, uint64_t size, bool copied)
{
    void *data = NULL;
    if (!copied) return size && rst_os->map(file, 0, (size_t)size, RST_MAP_READ, &data) == 0 ? data : NULL;
    data = size ? malloc((size_t)size) : NULL;
    if (data) rst_read_what_can_be(file, data, size, 0);
    return data;
}

static void free_bytes(const struct rst_past *past, void *data, uint64_t size)
{
    if (!past->copied)
        rst_os->unmap(data, (size_t)size);
    else
        free(data);
}

/* False: this one cannot be asked. */
static bool open_one(int directory, uint64_t number, uint64_t size_wanted, const char *language, struct rst_past *past)
{
    char name[32], shown[48];
    rst_segment_name(number, name);
    snprintf(shown, sizeof shown, "index/%s", name);
    int file = rst_os->open(directory, name, RST_OPEN_READ, 0);
    if (file < 0) return false;
    struct rst_stat stat;
    bool right = rst_os->stat(file, &stat) == 0 && (!size_wanted || stat.size >= size_wanted);
    uint64_t size = !right ? 0 : size_wanted ? size_wanted : stat.size;
    void *data = bytes_of(file, size, past->copied);
    rst_os->close(file);
    if (!data) return false;
    struct rst_sealed *sealed = &past->sealed[past->count];
    if (rst_sealed_open(sealed, shown, data, size, language) < 0) {
        free_bytes(past, data, size);
        return false;
    }
    past->list[past->count] = &sealed->segment;
    past->data[past->count] = data;
    past->size[past->count++] = size;
    return true;
}

int rst_past_open(int index_directory, const struct rst_manifest *manifest, const char *language, bool copied,
                  struct rst_past *ret_past)
{
    struct rst_past past = {.copied = copied, .whole = manifest != NULL};
    struct rst_buffer numbers = {0};
    uint32_t listed = manifest ? manifest->header.segment_count : 0;
    for (uint32_t i = 0; i < listed; i++) rst_buffer_add_u64(&numbers, manifest->segments[i].number);
    if (!manifest && index_directory >= 0) rst_os->list(index_directory, add_number, &numbers);
    size_t count = numbers.size / 8;
    if (!manifest && count) qsort(numbers.data, count, 8, by_number);
    past.sealed = calloc(count + 1, sizeof *past.sealed);
    past.list = calloc(count + 1, sizeof *past.list);
    past.data = calloc(count + 1, sizeof *past.data);
    past.size = calloc(count + 1, sizeof *past.size);
    bool room = past.sealed && past.list && past.data && past.size && !numbers.failed;
    for (size_t i = 0; room && i < count; i++)
        if (!open_one(index_directory, rst_get_u64(numbers.data + i * 8), listed ? manifest->segments[i].size : 0, language,
                      &past))
            past.whole = false;
    for (size_t i = 0; room && past.whole && i < past.count; i++)
        past.whole = rst_sealed_verify(&past.sealed[i], NULL, NULL) == 0;
    past.covered_lsn = manifest ? manifest->header.covered_lsn : 0;
    rst_buffer_free(&numbers);
    rst_fail_clear();
    *ret_past = past;
    if (room) return 0;
    rst_past_close(ret_past);
    return rst_fail(ROOST_ENOMEM, "no memory to read the old index");
}

void rst_past_close(struct rst_past *past)
{
    for (size_t i = 0; i < past->count; i++) free_bytes(past, past->data[i], past->size[i]);
    free(past->sealed);
    free(past->list);
    free(past->data);
    free(past->size);
    memset(past, 0, sizeof *past);
}

/* ---- asking ---- */

static int name_says(const struct rst_view *view, const struct rst_record_view *record, enum rst_map_family family,
                     enum rst_field_tag tag)
{
    struct rst_map_name name;
    struct rst_map_entry entry;
    struct roost_bytes text;
    if (rst_fields_find(record->fields, tag, &text) != 1 || text.size > ROOST_KEY_SIZE_MAX) return 1;
    if (family == RST_MAP_STREAM)
        rst_name_set_stream(&name, text, record->header.number);
    else
        rst_name_set(&name, family, text);
    int found = rst_view_map(view, rst_name_bytes(&name), &entry);
    return found < 0 ? found : !found || entry.kind != RST_MAP_SET || entry.lsn != record->header.lsn;
}

int rst_past_dead(const struct rst_past *past, const struct rst_record_view *record)
{
    if (!past->whole || record->header.lsn > past->covered_lsn) return 0;
    struct rst_view view = {past->list, past->count, past->covered_lsn, UINT64_MAX, 0, 0};
    struct rst_memory_entry entry;
    int found;
    switch (record->header.kind) {
    case RST_RECORD_MEMORY:
        found = rst_view_memory(&view, record->header.number, &entry);
        return found < 0 ? found : !found || entry.lsn != record->header.lsn;
    case RST_RECORD_KEY_SET:
        return name_says(&view, record, RST_MAP_KEY, RST_FIELD_KEY);
    case RST_RECORD_STREAM:
        return name_says(&view, record, RST_MAP_STREAM, RST_FIELD_NAME);
    case RST_RECORD_STATE:
        return name_says(&view, record, RST_MAP_AGENT, RST_FIELD_NAME);
    default:
        return 0;
    }
}

/* ---- telling ---- */

static int tell_memories(const struct rst_segment *segment, int (*told)(void *user, const struct rst_fact *fact), void *user)
{
    struct rst_fact fact = {.kind = RST_FACT_MEMORY};
    int err = 0;
    for (uint64_t id = 1; !err && id && segment->ops->memory_near(segment, id, true, UINT64_MAX, &fact.memory) == 1;) {
        if (fact.memory.id < id) return 0;
        fact.lsn = fact.memory.lsn;
        err = told(user, &fact);
        id = fact.memory.id + 1;
    }
    memset(&fact, 0, sizeof fact);
    fact.kind = RST_FACT_FORGOTTEN;
    for (uint64_t id = 1; !err && id && segment->ops->tombstone_near(segment, id, UINT64_MAX, &fact.memory.id, &fact.lsn) == 1;) {
        if (fact.memory.id < id) return 0;
        err = told(user, &fact);
        id = fact.memory.id + 1;
    }
    return err;
}

static int tell_names(const struct rst_segment *segment, int (*told)(void *user, const struct rst_fact *fact), void *user)
{
    struct rst_fact fact = {.kind = RST_FACT_NAME};
    struct rst_map_cursor cursor;
    int err = 0;
    if (segment->ops->map_seek(segment, rst_bytes("", 0), false, &cursor) < 0) return 0;
    while (!err && segment->ops->map_next(&cursor, UINT64_MAX, &fact.name, &fact.entry) == 1) {
        if (!fact.name.size || fact.name.size > RST_MAP_KEY_SIZE_MAX) continue;
        fact.lsn = fact.entry.lsn;
        err = told(user, &fact);
    }
    return err;
}

int rst_past_tell(const struct rst_past *past, int (*told)(void *user, const struct rst_fact *fact), void *user)
{
    int err = 0;
    for (size_t i = 0; !err && i < past->count; i++) {
        err = tell_memories(past->list[i], told, user);
        if (!err) err = tell_names(past->list[i], told, user);
    }
    rst_fail_clear();
    return err;
}
