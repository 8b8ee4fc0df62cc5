/* SPDX-License-Identifier: MIT
 * api/internal.h: what the files of the public API share (layer 8): argument checks, then one call down. */
#ifndef RST_API_INTERNAL_H
#define RST_API_INTERNAL_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"

struct roost_root {
    struct rst_engine *engine;
    uint32_t other_owner_count; /* roost_ref; the last one to close detaches */
};

/* Every call begins so: clears the detail, refuses NULL and forked handles. */
int rst_api_enter(const roost_root *root);
/* The same for what never waits: it does not look whether the region was replaced either. */
int rst_api_enter_loop(const roost_root *root);
/* Structs that begin with `size`. One that was not begun with its INIT macro would pass for one of an older version that has no fields:
 * what it asks for would be left out without a word, a compare-and-set for one. So each is looked at before anything is done: 0, also
 * for NULL, or ROOST_EINVAL. */
int rst_check_sized(const void *sized, const char *type);
#define RST_API_SIZED(type, sized) rst_check_sized((const struct type *){sized}, #type)
/* The same, and copies what the caller's options struct has over the defaults in `to`. */
int rst_copy_sized(void *to, size_t to_size, const void *from, const char *type);
#define RST_API_COPY(type, to, from) rst_copy_sized((struct type *){to}, sizeof(struct type), (const struct type *){from}, #type)
/* Copies a result out: no more than the caller's struct has room for; its size stays. */
#define RST_API_GIVE(to, from) \
    do { \
        size_t rst_size = (to)->size < sizeof(from) ? (to)->size : sizeof(from); \
        (from).size = (to)->size; \
        memcpy((to), &(from), rst_size); \
    } while (0)

int rst_check_key(struct roost_bytes key, const char *what);
int rst_check_name(struct roost_bytes name, const char *what);

/* A record as an item or a memory; *ret_tags is an array to free. Both check the payload. */
int rst_load_record(struct rst_engine *engine, const struct rst_place *place, struct rst_record_view *ret_record);
int rst_fill_memory(struct rst_engine *engine, const struct rst_memory_entry *entry, struct roost_memory *ret_memory,
                    struct roost_bytes **ret_tags);
int rst_fill_item(struct rst_engine *engine, const struct rst_map_entry *entry, struct roost_item *ret_item);
int rst_fill_state(struct rst_engine *engine, struct roost_bytes name, struct roost_state *ret_state, void **ret_memory);

#endif
