/* SPDX-License-Identifier: MIT
 * index/live_map.c: the live segment's ordered map and its tombstones (layer 5).
 *
 * Both are skip lists. A map node leads to its versions, newest first; a reader takes the first that it may see. A tombstone's
 * key is the id, big-endian, so that bytes sort as numbers do; its value is the LSN itself. */
#include "index/live_parts.h"

#include "base/check.h"

enum { CURSOR_LINK, CURSOR_PENDING, CURSOR_BACKWARD }; /* words of a map cursor; pending: the node has not been given yet */

uint64_t rst_live_need_map(size_t key_size)
{
    return sizeof(struct rst_live_version) + rst_live_node_size(RST_LIVE_LEVEL_COUNT, key_size);
}
uint64_t rst_live_need_tombstone(void) { return rst_live_node_size(RST_LIVE_LEVEL_COUNT, sizeof(uint64_t)); }

int rst_live_version_at(const struct rst_live *live, uint64_t link, uint64_t behind, struct rst_live_version **ret_version)
{
    struct rst_live_version *version = NULL;
    /* Older versions were taken earlier, so links only fall: every chain ends. */
    if (link <= UINT32_MAX && link < behind) version = rst_live_at(live, (uint32_t)link, sizeof *version);
    if (!version) return rst_live_corrupt(live, link * RST_LIVE_LINK_UNIT, "bad version of a map entry");
    *ret_version = version;
    return 0;
}

/* The newest version that visible sees: 1, or 0 if there is none. */
static int newest(const struct rst_live *live, const struct rst_live_node *node, uint64_t visible,
                  struct rst_map_entry *ret_entry)
{
    uint64_t link = rst_load_u64(&node->value), behind = UINT64_MAX; /* pairs with add_version */
    while (link) {
        struct rst_live_version *version;
        int err = rst_live_version_at(live, link, behind, &version);
        if (err) return err;
        if (rst_load_relaxed_u64(&version->entry.lsn) <= visible) {
            *ret_entry = version->entry;
            return 1;
        }
        behind = link;
        link = rst_load_relaxed_u32(&version->older);
    }
    return 0;
}

static int make_version(struct rst_live *live, uint32_t older, uint32_t ordinal, const struct rst_map_entry *entry,
                        uint32_t *ret_link)
{
    void *place;
    int err = rst_live_take(live, sizeof(struct rst_live_version), ret_link, &place);
    if (!err) *(struct rst_live_version *)place = (struct rst_live_version){older, ordinal, *entry};
    return err;
}

/* crash: on a new key
 * 1. take and fill version and node   leaks both
 * 2. link level 0                     commits key and version
 * 3. link the upper levels            missing ones cost time only; the heir links them
 * 4. store the two counts             the heir stores them from the ordinals in node and version */
static int add_key(struct rst_live *live, const struct rst_live_path *path, struct roost_bytes key,
                   const struct rst_map_entry *entry)
{
    struct rst_live_header *header = rst_live_header_of(live);
    uint32_t version_ordinal = rst_load_relaxed_u32(&header->map_version_count) + 1, link;
    uint32_t key_ordinal = rst_load_relaxed_u32(&header->map_key_count) + 1;
    struct rst_live_node_view view;
    int err = make_version(live, 0, version_ordinal, entry, &link);
    if (err || (err = rst_live_list_make(live, key, link, key_ordinal, &view))) return err;
    rst_live_list_link(path, &view);
    rst_live_count_to(&header->map_key_count, key_ordinal);
    rst_live_count_to(&header->map_version_count, version_ordinal);
    return 0;
}

/* crash: on a key that is there
 * 1. link the levels that a killed writer left, and its key count   repairs; the heir does the same again
 * 2. take and fill the version                                      leaks it
 * 3. store its link in the node                                     commits; the heir finds its LSN and goes to 4
 * 4. store the count                                                the heir stores it from the ordinal in the version */
static int add_version(struct rst_live *live, const struct rst_live_path *path, const struct rst_map_entry *entry)
{
    struct rst_live_header *header = rst_live_header_of(live);
    struct rst_live_node *node = path->next.node;
    struct rst_live_version *newest_version;
    uint64_t value = rst_load_relaxed_u64(&node->value); /* only the writer changes it */
    uint32_t ordinal = rst_load_relaxed_u32(&header->map_version_count) + 1, link;
    int err = rst_live_version_at(live, value, UINT64_MAX, &newest_version);
    if (err) return err;
    rst_live_list_link(path, &path->next);
    rst_live_count_to(&header->map_key_count, node->ordinal);
    if (newest_version->entry.lsn < entry->lsn) {
        if ((err = make_version(live, (uint32_t)value, ordinal, entry, &link))) return err;
        rst_store_u64(&node->value, link); /* pairs with newest */
    } else {
        ordinal = newest_version->ordinal;
    }
    rst_live_count_to(&header->map_version_count, ordinal);
    return 0;
}

int rst_live_set_map(struct rst_live *live, struct roost_bytes key, const struct rst_map_entry *entry)
{
    struct rst_live_path path;
    RST_CHECK(key.size <= RST_MAP_KEY_SIZE_MAX);
    int err = rst_live_ready(live);
    if (err || (err = rst_live_list_search(live, rst_live_header_of(live)->map_head, key, false, &path))) return err;
    return rst_live_path_found(&path, key) ? add_version(live, &path, entry) : add_key(live, &path, key, entry);
}

/* crash:
 * 1. take and fill the node   leaks it
 * 2. link level 0             commits
 * 3. link the upper levels    missing ones cost time only; the heir links them
 * 4. store the count          the heir stores it from the ordinal in the node */
int rst_live_add_tombstone(struct rst_live *live, uint64_t id, uint64_t lsn)
{
    struct rst_live_header *header = rst_live_header_of(live);
    struct rst_live_path path;
    struct rst_live_node_view view;
    uint8_t bytes[sizeof id];
    rst_put_be64(bytes, id);
    struct roost_bytes key = rst_bytes(bytes, sizeof bytes);
    int err = rst_live_ready(live);
    if (err || (err = rst_live_list_search(live, header->tombstone_head, key, false, &path))) return err;
    uint32_t ordinal = rst_load_relaxed_u32(&header->tombstone_count) + 1;
    if (rst_live_path_found(&path, key)) {
        view = path.next;
        ordinal = view.node->ordinal;
    } else if ((err = rst_live_list_make(live, key, lsn, ordinal, &view))) {
        return err;
    }
    rst_live_list_link(&path, &view);
    rst_live_count_to(&header->tombstone_count, ordinal);
    return 0;
}

int rst_live_map(const struct rst_segment *segment, struct roost_bytes key, uint64_t visible, struct rst_map_entry *ret_entry)
{
    const struct rst_live *live = rst_live_of(segment);
    struct rst_live_path path;
    int err = rst_live_ready(live);
    if (err || (err = rst_live_list_search(live, rst_live_header_of(live)->map_head, key, false, &path))) return err;
    return rst_live_path_found(&path, key) ? newest(live, path.next.node, visible, ret_entry) : 0;
}

static int place_cursor(const struct rst_segment *segment, struct roost_bytes key, bool inclusive, bool backward,
                        struct rst_map_cursor *ret_cursor)
{
    const struct rst_live *live = rst_live_of(segment);
    struct rst_live_path path;
    *ret_cursor = (struct rst_map_cursor){.segment = segment};
    int err = rst_live_ready(live);
    if (err || (err = rst_live_list_search(live, rst_live_header_of(live)->map_head, key, inclusive, &path))) return err;
    ret_cursor->word[CURSOR_LINK] = backward ? path.before.link : path.next.link;
    ret_cursor->word[CURSOR_PENDING] = 1;
    ret_cursor->word[CURSOR_BACKWARD] = backward;
    return 1;
}

int rst_live_map_seek(const struct rst_segment *segment, struct roost_bytes key, bool after, struct rst_map_cursor *ret_cursor)
{
    return place_cursor(segment, key, after, false, ret_cursor);
}

int rst_live_map_before(const struct rst_segment *segment, struct roost_bytes key, bool inclusive,
                        struct rst_map_cursor *ret_cursor)
{
    return place_cursor(segment, key, inclusive, true, ret_cursor);
}

/* The node after view in the cursor's direction, link 0 at the end. Keys must rise (fall) strictly, so that it does end. */
static int step(const struct rst_live *live, bool backward, struct rst_live_node_view *view)
{
    if (backward) { /* no links lead back: search from the top */
        struct rst_live_path path;
        int err = rst_live_list_search(live, rst_live_header_of(live)->map_head, view->key, false, &path);
        if (!err) *view = path.before;
        return err;
    }
    struct rst_live_node_view next = {.link = rst_load_u32(&view->next[0])}; /* pairs with rst_live_list_link */
    if (next.link) {
        int err = rst_live_node_at(live, next.link, &next);
        if (err) return err;
        if (rst_bytes_compare(view->key, next.key) >= 0)
            return rst_live_corrupt(live, (uint64_t)next.link * RST_LIVE_LINK_UNIT, "keys out of order");
    }
    *view = next;
    return 0;
}

int rst_live_map_next(struct rst_map_cursor *cursor, uint64_t visible, struct roost_bytes *ret_key,
                      struct rst_map_entry *ret_entry)
{
    const struct rst_live *live = rst_live_of(cursor->segment);
    uint64_t steps = live->size / sizeof(struct rst_live_node); /* a bound even while somebody formats the arena under us */
    struct rst_live_node_view view;
    while (cursor->word[CURSOR_LINK]) {
        int err = rst_live_node_at(live, (uint32_t)cursor->word[CURSOR_LINK], &view);
        if (err) return err;
        if (!cursor->word[CURSOR_PENDING]) {
            if ((err = step(live, cursor->word[CURSOR_BACKWARD] != 0, &view))) return err;
            cursor->word[CURSOR_LINK] = view.link;
            if (!view.link) return 0;
        }
        cursor->word[CURSOR_PENDING] = 0;
        int found = newest(live, view.node, visible, ret_entry);
        if (found) {
            if (found > 0) *ret_key = view.key;
            return found;
        }
        if (steps-- == 0) return rst_live_corrupt(live, rst_live_offset_of(live, view.node), "more keys than there is room for");
    }
    return 0;
}

static int tombstone_search(const struct rst_segment *segment, uint64_t id, uint8_t ret_key[8], struct rst_live_path *ret_path)
{
    const struct rst_live *live = rst_live_of(segment);
    rst_put_be64(ret_key, id);
    int err = rst_live_ready(live);
    return err ? err
               : rst_live_list_search(live, rst_live_header_of(live)->tombstone_head, rst_bytes(ret_key, 8), false, ret_path);
}

int rst_live_tombstone(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_lsn)
{
    struct rst_live_path path;
    uint8_t key[8];
    int err = tombstone_search(segment, id, key, &path);
    if (err) return err;
    if (!rst_live_path_found(&path, rst_bytes(key, sizeof key))) return 0;
    uint64_t lsn = rst_load_relaxed_u64(&path.next.node->value);
    if (lsn > visible) return 0;
    *ret_lsn = lsn;
    return 1;
}

int rst_live_tombstone_near(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_id, uint64_t *ret_lsn)
{
    const struct rst_live *live = rst_live_of(segment);
    struct rst_live_path path;
    uint8_t key[8];
    int err = tombstone_search(segment, id, key, &path);
    if (err) return err;
    struct rst_live_node_view view = path.next;
    while (view.link) {
        if (view.key.size != sizeof key)
            return rst_live_corrupt(live, rst_live_offset_of(live, view.node), "tombstone without an id");
        uint64_t lsn = rst_load_relaxed_u64(&view.node->value);
        if (lsn <= visible) {
            *ret_id = rst_get_be64(view.key.data);
            *ret_lsn = lsn;
            return 1;
        }
        if ((err = step(live, false, &view))) return err;
    }
    return 0;
}
