/* SPDX-License-Identifier: MIT
 * model/overlay.h: map entries that a commit under decision has made, not yet visible (layer 6).
 * Later changes of the same commit see them; a submission that fails takes its own back (mark, undo). */
#ifndef RST_MODEL_OVERLAY_H
#define RST_MODEL_OVERLAY_H

#include <stdbool.h>

#include "base/buffer.h"
#include "index/segment.h"

struct rst_overlay {
    struct rst_buffer names, items; /* items: struct overlay_item */
    uint32_t *heads;                /* by hash; index of the newest item + 1 */
    uint32_t head_count;            /* a power of two */
};
void rst_overlay_free(struct rst_overlay *overlay);
void rst_overlay_clear(struct rst_overlay *overlay);
bool rst_overlay_set(struct rst_overlay *overlay, struct roost_bytes name,
                     const struct rst_map_entry *entry); /* false: no memory */
bool rst_overlay_get(const struct rst_overlay *overlay, struct roost_bytes name, struct rst_map_entry *ret_entry);
size_t rst_overlay_mark(const struct rst_overlay *overlay);
void rst_overlay_undo(struct rst_overlay *overlay, size_t mark);

#endif
