/* SPDX-License-Identifier: MIT
 * model/overlay.c: a hash of pending map entries with undo (layer 6). */
#include "model/overlay.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

struct overlay_item {
    uint64_t hash;
    size_t name_offset, name_size;
    uint32_t next; /* the head before it */
    struct rst_map_entry entry;
};

static struct overlay_item *item_at(const struct rst_overlay *overlay, size_t index)
{
    return (struct overlay_item *)(void *)(overlay->items.data + index * sizeof(struct overlay_item));
}

static size_t item_count(const struct rst_overlay *overlay) { return overlay->items.size / sizeof(struct overlay_item); }

void rst_overlay_free(struct rst_overlay *overlay)
{
    rst_buffer_free(&overlay->names);
    rst_buffer_free(&overlay->items);
    free(overlay->heads);
    memset(overlay, 0, sizeof *overlay);
}

void rst_overlay_clear(struct rst_overlay *overlay)
{
    rst_buffer_clear(&overlay->names);
    rst_buffer_clear(&overlay->items);
    if (overlay->heads) memset(overlay->heads, 0, overlay->head_count * sizeof *overlay->heads);
}

static bool grow(struct rst_overlay *overlay)
{
    uint32_t head_count = overlay->head_count ? overlay->head_count * 4 : 64;
    uint32_t *heads = calloc(head_count, sizeof *heads);
    if (!heads) return false;
    free(overlay->heads);
    overlay->heads = heads;
    overlay->head_count = head_count;
    for (size_t i = 0; i < item_count(overlay); i++) {
        struct overlay_item *item = item_at(overlay, i);
        uint32_t *head = &heads[item->hash & (head_count - 1)];
        item->next = *head;
        *head = (uint32_t)i + 1;
    }
    return true;
}

bool rst_overlay_set(struct rst_overlay *overlay, struct roost_bytes name, const struct rst_map_entry *entry)
{
    if (item_count(overlay) >= overlay->head_count && !grow(overlay)) return false;
    uint64_t hash = rst_hash(name.data, name.size, 0);
    uint32_t *head = &overlay->heads[hash & (overlay->head_count - 1)];
    struct overlay_item item = {hash, overlay->names.size, name.size, *head, *entry};
    rst_buffer_add(&overlay->names, name.data, name.size);
    rst_buffer_add(&overlay->items, &item, sizeof item);
    if (overlay->names.failed || overlay->items.failed) return false;
    *head = (uint32_t)item_count(overlay);
    return true;
}

bool rst_overlay_get(const struct rst_overlay *overlay, struct roost_bytes name, struct rst_map_entry *ret_entry)
{
    if (!overlay->head_count) return false;
    uint64_t hash = rst_hash(name.data, name.size, 0);
    for (uint32_t at = overlay->heads[hash & (overlay->head_count - 1)]; at;) {
        const struct overlay_item *item = item_at(overlay, at - 1);
        if (item->hash == hash && rst_bytes_equal(rst_bytes(overlay->names.data + item->name_offset, item->name_size), name)) {
            *ret_entry = item->entry;
            return true;
        }
        at = item->next;
    }
    return false;
}

size_t rst_overlay_mark(const struct rst_overlay *overlay) { return item_count(overlay); }

void rst_overlay_undo(struct rst_overlay *overlay, size_t mark)
{
    while (item_count(overlay) > mark) {
        const struct overlay_item *item = item_at(overlay, item_count(overlay) - 1);
        overlay->heads[item->hash & (overlay->head_count - 1)] = item->next;
        overlay->names.size = item->name_offset;
        overlay->items.size -= sizeof *item;
    }
}
