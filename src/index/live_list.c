/* SPDX-License-Identifier: MIT
 * index/live_list.c: the skip list under the live segment's map and tombstones (layer 5).
 *
 * Nodes in key order (memcmp, the shorter first on a tie), one writer, readers without locks. Level 0 is the truth; upper
 * levels only shorten the way, so one that a killed writer did not link costs time and no answer. A node's height follows from
 * its key alone: applying the same changes again makes the same list. William Pugh, "Skip Lists", CACM 33(6), 1990. */
#include "index/live_parts.h"

#include "base/check.h"
#include "base/hash.h"

uint32_t rst_live_node_height(struct roost_bytes key)
{
    uint64_t bits = rst_hash(key.data, key.size, RST_LIVE_MAGIC); /* a seed that no other use of the key's hash has */
    uint32_t height = 1;
    while (height < RST_LIVE_LEVEL_COUNT && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

int rst_live_node_at(const struct rst_live *live, uint32_t link, struct rst_live_node_view *ret_view)
{
    struct rst_live_node *node = rst_live_at(live, link, sizeof *node);
    uint32_t shape = node ? rst_load_relaxed_u32(&node->shape) : 0, height = shape >> 16, key_size = shape & 0xffff;
    if (height < 1 || height > RST_LIVE_LEVEL_COUNT || key_size > RST_MAP_KEY_SIZE_MAX ||
        !rst_live_at(live, link, rst_live_node_size(height, key_size)))
        return rst_live_corrupt(live, (uint64_t)link * RST_LIVE_LINK_UNIT, "bad node");
    *ret_view = (struct rst_live_node_view){.node = node, .next = (uint32_t *)(void *)(node + 1), .link = link, .height = height};
    ret_view->key = rst_bytes(ret_view->next + height, key_size);
    return 0;
}

int rst_live_list_search(const struct rst_live *live, uint32_t *head, struct roost_bytes key, bool inclusive,
                         struct rst_live_path *ret_path)
{
    uint32_t *row = head, stop = 0;                             /* stop: a node known not to lie before the key */
    uint64_t steps = live->size / sizeof(struct rst_live_node); /* in garbage a list may be a ring */
    ret_path->before.link = ret_path->next.link = 0;
    for (uint32_t level = RST_LIVE_LEVEL_COUNT; level-- > 0;) {
        for (;;) {
            uint32_t link = rst_load_u32(&row[level]); /* pairs with rst_live_list_link: a node that is reached is complete */
            ret_path->slot[level] = &row[level];
            if (link == stop) break;
            if (link == 0) { /* the list ends before a node that the level above has: garbage */
                ret_path->next.link = stop = 0;
                break;
            }
            struct rst_live_node_view view;
            int err = rst_live_node_at(live, link, &view);
            if (err) return err;
            if (view.height <= level || steps-- == 0)
                return rst_live_corrupt(live, (uint64_t)link * RST_LIVE_LINK_UNIT,
                                        "node on a level it does not have, or a ring of nodes");
            int order = rst_bytes_compare(view.key, key);
            if (order > 0 || (order == 0 && !inclusive)) {
                ret_path->next = view;
                stop = link;
                break;
            }
            ret_path->before = view;
            row = view.next;
        }
    }
    return 0;
}

int rst_live_list_make(struct rst_live *live, struct roost_bytes key, uint64_t value, uint32_t ordinal,
                       struct rst_live_node_view *ret_view)
{
    RST_CHECK(key.size <= RST_MAP_KEY_SIZE_MAX);
    uint32_t height = rst_live_node_height(key), link;
    void *place;
    int err = rst_live_take(live, rst_live_node_size(height, key.size), &link, &place);
    if (err) return err;
    struct rst_live_node *node = place;
    *node = (struct rst_live_node){.value = value, .ordinal = ordinal, .shape = height << 16 | (uint32_t)key.size};
    memset(node + 1, 0, height * sizeof(uint32_t));
    if (key.size) memcpy((uint32_t *)(void *)(node + 1) + height, key.data, key.size);
    return rst_live_node_at(live, link, ret_view);
}

/* crash: for each level from 0 up
 * 1. store the node's own link  nobody reads it before 2
 * 2. store the link to it       level 0 commits the node; an upper level that is missing is linked by the heir, which runs this
 *                               again with a path that it has searched anew */
void rst_live_list_link(const struct rst_live_path *path, const struct rst_live_node_view *view)
{
    for (uint32_t level = 0; level < view->height; level++) {
        uint32_t after = rst_load_relaxed_u32(path->slot[level]);
        if (after == view->link) continue;
        rst_store_u32(&view->next[level], after);
        rst_store_u32(path->slot[level], view->link); /* pairs with rst_live_list_search */
    }
}

void rst_live_count_to(uint32_t *count, uint32_t value)
{
    if (rst_load_relaxed_u32(count) < value) rst_store_u32(count, value); /* a statistic: no data hangs on it */
}
