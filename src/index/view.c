/* SPDX-License-Identifier: MIT
 * index/view.c: all segments together, as of one LSN (layer 5).
 * The newest segment that knows something decides. Left out: ranking (search.c); who builds a view and how long it holds
 * (the engine). */
#include "index/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

/* A memory is forgotten if the segment that holds it, or a newer one, has its tombstone. `holder`: that segment's index. */
static int is_forgotten(const struct rst_view *view, uint64_t id, size_t holder)
{
    for (size_t i = view->segment_count; i-- > holder;) {
        const struct rst_segment *segment = view->segments[i];
        uint64_t lsn;
        int result = segment->ops->tombstone(segment, id, view->visible, &lsn);
        if (result) return result;
    }
    return 0;
}

int rst_view_memory(const struct rst_view *view, uint64_t id, struct rst_memory_entry *ret_entry)
{
    for (size_t i = view->segment_count; i-- > 0;) {
        const struct rst_segment *segment = view->segments[i];
        struct rst_memory_entry entry;
        int result = segment->ops->memory(segment, id, view->visible, &entry);
        if (result < 0) return result;
        if (!result) continue;
        result = is_forgotten(view, id, i);
        if (result) return result < 0 ? result : 0;
        *ret_entry = entry;
        return 1;
    }
    return 0;
}

/* The nearest memory of all segments, forgotten or not; of two with one id the newer. */
static int nearest(const struct rst_view *view, uint64_t id, bool forward, struct rst_memory_entry *ret_entry, size_t *ret_holder)
{
    bool any = false;
    for (size_t i = view->segment_count; i-- > 0;) {
        const struct rst_segment *segment = view->segments[i];
        struct rst_memory_entry entry;
        int result = segment->ops->memory_near(segment, id, forward, view->visible, &entry);
        if (result < 0) return result;
        if (!result || (any && (forward ? entry.id >= ret_entry->id : entry.id <= ret_entry->id))) continue;
        any = true;
        *ret_entry = entry;
        *ret_holder = i;
    }
    return any;
}

int rst_view_memory_near(const struct rst_view *view, uint64_t id, bool forward, struct rst_memory_entry *ret_entry)
{
    for (;;) {
        struct rst_memory_entry entry;
        size_t holder = 0;
        int result = nearest(view, id, forward, &entry, &holder);
        if (result <= 0) return result;
        /* A segment that answers on the wrong side would keep this loop going for ever. */
        if (forward ? entry.id < id : entry.id > id)
            return rst_fail(ROOST_ECORRUPT, "%s: the memory nearest to id %llu is %llu", view->segments[holder]->name,
                            (unsigned long long)id, (unsigned long long)entry.id);
        result = is_forgotten(view, entry.id, holder);
        if (result < 0) return result;
        if (!result) {
            *ret_entry = entry;
            return 1;
        }
        if (entry.id == (forward ? UINT64_MAX : 0)) return 0;
        id = forward ? entry.id + 1 : entry.id - 1;
    }
}

int rst_view_map(const struct rst_view *view, struct roost_bytes key, struct rst_map_entry *ret_entry)
{
    for (size_t i = view->segment_count; i-- > 0;) {
        const struct rst_segment *segment = view->segments[i];
        int result = segment->ops->map(segment, key, view->visible, ret_entry);
        if (result) return result;
    }
    return 0;
}

/* One segment's place in an ordered pass. */
struct place {
    struct rst_map_cursor cursor;
    struct roost_bytes key;
    struct rst_map_entry entry;
    bool open;
};

static int step(const struct rst_view *view, struct place *place)
{
    int result = place->cursor.segment->ops->map_next(&place->cursor, view->visible, &place->key, &place->entry);
    place->open = result > 0;
    return result < 0 ? result : 0;
}

/* places[] stand at the first keys; finds the smallest that is not deleted and begins with prefix. */
static int first_alive(const struct rst_view *view, struct roost_bytes prefix, struct place *places, struct roost_bytes *ret_key,
                       struct rst_map_entry *ret_entry)
{
    for (;;) {
        const struct place *best = NULL;
        for (size_t i = view->segment_count; i-- > 0;)
            if (places[i].open && (!best || rst_bytes_compare(places[i].key, best->key) < 0)) best = &places[i];
        if (!best || !rst_bytes_has_prefix(best->key, prefix)) return 0;
        if (best->entry.kind != RST_MAP_DELETED) {
            *ret_key = best->key;
            *ret_entry = best->entry;
            return 1;
        }
        struct roost_bytes deleted = best->key;
        for (size_t i = 0; i < view->segment_count; i++) {
            if (!places[i].open || !rst_bytes_equal(places[i].key, deleted)) continue;
            int err = step(view, &places[i]);
            if (err < 0) return err;
        }
    }
}

static int seek_all(const struct rst_view *view, struct roost_bytes key, bool after, struct place *places)
{
    for (size_t i = 0; i < view->segment_count; i++) {
        const struct rst_segment *segment = view->segments[i];
        places[i].open = false;
        int result = segment->ops->map_seek(segment, key, after, &places[i].cursor);
        if (result > 0) result = step(view, &places[i]);
        if (result < 0) return result;
    }
    return 0;
}

int rst_view_map_next(const struct rst_view *view, struct roost_bytes prefix, struct roost_bytes key, bool after,
                      uint8_t *ret_key, size_t *ret_key_size, struct rst_map_entry *ret_entry)
{
    struct place few[16], *places = few; /* a root has about a dozen segments */
    if (view->segment_count > sizeof few / sizeof *few) {
        places = calloc(view->segment_count, sizeof *places);
        if (!places) return rst_fail(ROOST_ENOMEM, "out of memory for a pass over %zu segments", view->segment_count);
    }
    if (rst_bytes_compare(key, prefix) < 0) {
        key = prefix;
        after = false;
    }
    struct roost_bytes found = {NULL, 0};
    struct rst_map_entry entry;
    int result = seek_all(view, key, after, places);
    if (!result) result = first_alive(view, prefix, places, &found, &entry);
    if (result > 0 && found.size > RST_MAP_KEY_SIZE_MAX)
        result = rst_fail(ROOST_ECORRUPT, "a segment holds a key of %zu bytes, %d is the most", found.size, RST_MAP_KEY_SIZE_MAX);
    if (result > 0) {
        if (found.size) memcpy(ret_key, found.data, found.size);
        *ret_key_size = found.size;
        *ret_entry = entry;
    }
    if (places != few) free(places);
    return result;
}
