/* SPDX-License-Identifier: MIT
 * api/iterate.c: ordered passes (layer 8). A pass is no snapshot: it remembers where it is and seeks past it each time (R23). */
#include <stdlib.h>

#include "api/internal.h"
#include "model/names.h"
#include "os/os.h"

enum pass { PASS_MEMORIES, PASS_KEYS, PASS_STREAM, PASS_STREAMS, PASS_STATES };

struct roost_iter {
    struct rst_engine *engine;
    enum pass pass;
    bool reverse, ended, begun;
    uint64_t next;              /* memory or stream entry */
    struct rst_map_name prefix; /* of names in the map; streams: the stream's own name without family */
    uint8_t at[RST_MAP_KEY_SIZE_MAX];
    size_t at_size;
    void *memory[2]; /* what was given last; freed with the next */
};

static int begin(roost_root *root, enum pass pass, roost_iter **ret_iter)
{
    if (!ret_iter) return rst_fail(ROOST_EINVAL, "no place for the iterator was given");
    roost_iter *iter = calloc(1, sizeof *iter);
    if (!iter) return rst_fail(ROOST_ENOMEM, "no memory for an iterator");
    iter->engine = root->engine;
    iter->pass = pass;
    *ret_iter = iter;
    return 0;
}

int roost_scan(roost_root *root, roost_id first, uint32_t flags, roost_iter **ret_iter)
{
    int err = rst_api_enter(root);
    if (!err) err = begin(root, PASS_MEMORIES, ret_iter);
    if (err) return err;
    (*ret_iter)->reverse = flags & ROOST_SCAN_REVERSE;
    (*ret_iter)->next = first ? first : (*ret_iter)->reverse ? UINT64_MAX : 1;
    return 0;
}

int roost_kv_scan(roost_root *root, struct roost_bytes prefix, roost_iter **ret_iter)
{
    int err = rst_api_enter(root);
    if (!err && prefix.size) err = rst_check_key(prefix, "the prefix");
    if (!err) err = begin(root, PASS_KEYS, ret_iter);
    if (!err) rst_name_set(&(*ret_iter)->prefix, RST_MAP_KEY, prefix);
    return err;
}

int roost_stream_scan(roost_root *root, struct roost_bytes name, uint64_t first, roost_iter **ret_iter)
{
    int err = rst_api_enter(root);
    if (!err) err = rst_check_key(name, "the stream's name");
    if (!err) err = begin(root, PASS_STREAM, ret_iter);
    if (err) return err;
    rst_name_set(&(*ret_iter)->prefix, RST_MAP_STREAM, name);
    (*ret_iter)->next = first;
    return 0;
}

int roost_streams(roost_root *root, roost_iter **ret_iter)
{
    int err = rst_api_enter(root);
    if (!err) err = begin(root, PASS_STREAMS, ret_iter);
    if (!err) rst_name_set(&(*ret_iter)->prefix, RST_MAP_HEAD, rst_bytes(NULL, 0));
    return err;
}

int roost_state_scan(roost_root *root, roost_iter **ret_iter)
{
    int err = rst_api_enter(root);
    return err ? err : begin(root, PASS_STATES, ret_iter);
}

static void drop(roost_iter *iter)
{
    free(iter->memory[0]);
    free(iter->memory[1]);
    iter->memory[0] = iter->memory[1] = NULL;
}

static int enter(roost_iter *iter)
{
    rst_fail_clear();
    drop(iter);
    return rst_engine_check(iter->engine);
}

/* One look into a view; what it returned is good only when no arena was recycled meanwhile. */
#define LOOK(iter, found, question) \
    do { \
        struct rst_reader reader; \
        int looked = rst_reader_begin((iter)->engine, &reader); \
        if (looked == ROOST_ECORRUPT) (iter)->ended = true; /* nobody knows what comes next */ \
        if (looked) return looked; \
        const struct rst_view *view = &reader.view; \
        (found) = (question); \
        if (rst_reader_end(&reader) != ROOST_EAGAIN) break; \
    } while (1)

int roost_iter_memory(roost_iter *iter, struct roost_memory *ret_memory)
{
    int err = enter(iter), found;
    if (!err && (iter->pass != PASS_MEMORIES || !ret_memory)) err = rst_fail(ROOST_EINVAL, "this pass does not give memories");
    if (!err) err = RST_API_SIZED(roost_memory, ret_memory);
    if (err) return err;
    if (iter->ended) return 0;
    struct rst_memory_entry entry;
    LOOK(iter, found, rst_view_memory_near(view, iter->next, !iter->reverse, &entry));
    if (found < 0) iter->ended = true;
    if (found != 1) return found;
    if (iter->reverse && entry.id <= 1) iter->ended = true;
    iter->next = iter->reverse ? entry.id - 1 : entry.id + 1;
    struct roost_bytes *tags = NULL;
    err = rst_fill_memory(iter->engine, &entry, ret_memory, &tags);
    iter->memory[0] = tags;
    if (err == ROOST_ECORRUPT) {
        struct roost_memory named = ROOST_MEMORY_INIT;
        named.id = entry.id;
        named.lsn = entry.lsn;
        named.time_ns = entry.time_ns;
        RST_API_GIVE(ret_memory, named);
    }
    return err ? err : 1;
}

/* The next map entry with the pass's prefix; expired keys are passed over. */
static int next_named(roost_iter *iter, struct rst_map_entry *ret_entry)
{
    uint8_t key[RST_MAP_KEY_SIZE_MAX];
    size_t key_size = 0;
    int found;
    for (;;) {
        struct roost_bytes at = iter->begun ? rst_bytes(iter->at, iter->at_size) : rst_name_bytes(&iter->prefix);
        LOOK(iter, found, rst_view_map_next(view, rst_name_bytes(&iter->prefix), at, iter->begun, key, &key_size, ret_entry));
        if (found != 1) return found;
        memcpy(iter->at, key, key_size);
        iter->at_size = key_size;
        iter->begun = true;
        if (!ret_entry->expires_ns || ret_entry->expires_ns > rst_os->real_time()) return 1;
    }
}

/* Usually the one that follows is there. Where some are missing (what a rescue could not read), the next that there is. */
static int next_stream_entry(roost_iter *iter, struct rst_map_entry *ret_entry)
{
    struct rst_map_name name;
    struct roost_bytes stream = rst_bytes(iter->prefix.data + 1, iter->prefix.size - 1);
    int found;
    rst_name_set_stream(&name, stream, iter->next);
    LOOK(iter, found, rst_view_map(view, rst_name_bytes(&name), ret_entry));
    if (!found) {
        uint8_t key[RST_MAP_KEY_SIZE_MAX];
        size_t size = 0;
        struct roost_bytes prefix = rst_bytes(name.data, name.size - 8);
        LOOK(iter, found, rst_view_map_next(view, prefix, rst_name_bytes(&name), false, key, &size, ret_entry));
        if (found == 1) iter->next = rst_get_be64(key + size - 8);
    }
    if (found == 1) iter->next++;
    return found;
}

/* Which one it is, where that is all that can be said of it. */
static void name_item(const roost_iter *iter, const struct rst_map_entry *entry, struct roost_item *ret_item)
{
    struct roost_item item = ROOST_ITEM_INIT;
    bool stream = iter->pass == PASS_STREAM;
    item.key = stream ? rst_bytes(iter->prefix.data + 1, iter->prefix.size - 1) : rst_bytes(iter->at + 1, iter->at_size - 1);
    item.version = entry->lsn;
    item.time_ns = entry->time_ns;
    item.index = stream ? entry->number : 0;
    RST_API_GIVE(ret_item, item);
}

int roost_iter_item(roost_iter *iter, struct roost_item *ret_item)
{
    int err = enter(iter);
    bool fits = iter->pass == PASS_KEYS || iter->pass == PASS_STREAM || iter->pass == PASS_STREAMS;
    if (!err && (!fits || !ret_item)) err = rst_fail(ROOST_EINVAL, "this pass does not give items");
    if (!err) err = RST_API_SIZED(roost_item, ret_item);
    if (err) return err;
    if (iter->ended) return 0;
    struct rst_map_entry entry;
    int found = iter->pass == PASS_STREAM ? next_stream_entry(iter, &entry) : next_named(iter, &entry);
    if (found < 0) iter->ended = true;
    if (found != 1) return found;
    if (iter->pass == PASS_STREAMS) {
        struct roost_item item = ROOST_ITEM_INIT;
        item.key = rst_bytes(iter->at + 1, iter->at_size - 1);
        item.version = entry.lsn;
        item.time_ns = entry.time_ns;
        item.index = entry.number;
        item.byte_offset = entry.bytes;
        RST_API_GIVE(ret_item, item);
        return 1;
    }
    err = rst_fill_item(iter->engine, &entry, ret_item);
    if (err == ROOST_ECORRUPT) name_item(iter, &entry, ret_item);
    return err ? err : 1;
}

int roost_iter_state(roost_iter *iter, struct roost_state *ret_state)
{
    int err = enter(iter);
    if (!err && (iter->pass != PASS_STATES || !ret_state)) err = rst_fail(ROOST_EINVAL, "this pass does not give states");
    if (!err) err = RST_API_SIZED(roost_state, ret_state);
    if (err) return err;
    uint8_t name[ROOST_NAME_SIZE_MAX + 1];
    size_t size;
    for (;;) {
        if (iter->ended) return 0;
        int found = rst_state_next(iter->engine, rst_bytes(iter->at, iter->at_size), name, &size);
        if (found < 0) iter->ended = true;
        if (found != 1) return found;
        memcpy(iter->at, name, size);
        iter->at_size = size;
        err = rst_fill_state(iter->engine, rst_bytes(iter->at, size), ret_state, iter->memory);
        if (err == ROOST_ECORRUPT) {
            struct roost_state named = ROOST_STATE_INIT;
            named.name = rst_bytes(iter->at, size);
            RST_API_GIVE(ret_state, named);
        }
        if (err != ROOST_ENOENT) return err ? err : 1;
    }
}

void roost_iter_close(roost_iter *iter)
{
    if (!iter) return;
    drop(iter);
    free(iter);
}
