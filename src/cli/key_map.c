/* SPDX-License-Identifier: MIT
 * key_map.c: a hash map from bytes to numbers, for imports and exports. */
#include "foreign.h"

#include <stdlib.h>
#include <string.h>

struct key_slot {
    uint64_t hash, number;
    size_t offset, size; /* of the key in `bytes` */
    bool taken;
};

enum { SLOT_COUNT_MIN = 64 };

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash_of(struct roost_bytes key)
{
    const unsigned char *byte = key.data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < key.size; i++) hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static struct key_slot *slot_of(const struct key_map *map, struct roost_bytes key, uint64_t hash)
{
    for (size_t at = hash & (map->slot_count - 1);; at = (at + 1) & (map->slot_count - 1)) {
        struct key_slot *slot = &map->slots[at];
        if (!slot->taken) return slot;
        if (slot->hash == hash && slot->size == key.size &&
            (!key.size || memcmp(map->bytes + slot->offset, key.data, key.size) == 0))
            return slot;
    }
}

uint64_t *key_map_find(const struct key_map *map, struct roost_bytes key)
{
    if (!map->slot_count) return NULL;
    struct key_slot *slot = slot_of(map, key, hash_of(key));
    return slot->taken ? &slot->number : NULL;
}

static bool grow_slots(struct key_map *map)
{
    size_t count = map->slot_count ? map->slot_count * 2 : SLOT_COUNT_MIN;
    struct key_slot *slots = calloc(count, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < map->slot_count; i++) {
        if (!map->slots[i].taken) continue;
        size_t at = map->slots[i].hash & (count - 1);
        while (slots[at].taken) at = (at + 1) & (count - 1);
        slots[at] = map->slots[i];
    }
    free(map->slots);
    map->slots = slots;
    map->slot_count = count;
    return true;
}

uint64_t *key_map_add(struct key_map *map, struct roost_bytes key)
{
    uint64_t hash = hash_of(key);
    if (map->used >= map->slot_count / 2 && !grow_slots(map)) return NULL;
    struct key_slot *slot = slot_of(map, key, hash);
    if (slot->taken) return &slot->number;
    while (map->bytes_capacity - map->bytes_size < key.size) {
        size_t capacity = map->bytes_capacity ? map->bytes_capacity * 2 : 4096;
        char *bytes = realloc(map->bytes, capacity);
        if (!bytes) return NULL;
        map->bytes = bytes;
        map->bytes_capacity = capacity;
    }
    if (key.size) memcpy(map->bytes + map->bytes_size, key.data, key.size);
    *slot = (struct key_slot){hash, 0, map->bytes_size, key.size, true};
    map->bytes_size += key.size;
    map->used++;
    return &slot->number;
}

void key_map_free(struct key_map *map)
{
    free(map->slots);
    free(map->bytes);
    *map = (struct key_map){0};
}

/* FNV-1a in its 128 bits. Whoever makes two names collide on purpose only hurts his own file. */
void key_hash(const void *data, size_t size, char ret_digits[33])
{
    __extension__ typedef unsigned __int128 word;
    const word prime = (word)1 << 88 | 0x13b;
    word hash = (word)UINT64_C(0x6c62272e07bb0142) << 64 | UINT64_C(0x62b821756295c58d);
    const unsigned char *byte = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ byte[i]) * prime;
    snprintf(ret_digits, 33, "%016llx%016llx", (unsigned long long)(hash >> 64), (unsigned long long)hash);
}
