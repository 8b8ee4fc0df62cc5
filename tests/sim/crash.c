/* SPDX-License-Identifier: MIT
 * sim/crash.c: the machine that is found after a disaster.
 *
 * Power loss: what is durable, plus whatever the disk happened to have written of the rest. A few shapes of loss find most
 * bugs, so the seed picks among shapes as well as among sectors. Death of all processes: what is cached, and shared memory. */
#include <stdlib.h>
#include <string.h>

#include "sim/internal.h"

enum strategy { ALL_OLD, ALL_NEW, RANDOM, LAST_LOST, ONE_HOLE, FILE_BY_FILE, STRATEGY_COUNT };
static const char *const strategy_names[] = {"all old", "all new", "random sectors", "last lost", "one hole", "file by file"};

struct image {
    const struct sim *from;
    struct sim *to;
    struct inode **copies; /* by the old slot */
    size_t *first_dirty;   /* by the old slot: the number of its first dirty sector among all */
    uint64_t random;
    enum strategy strategy;
    unsigned new_per_mille; /* RANDOM */
    size_t hole_start, hole_end;
    bool powered; /* processes died, the machine runs on */
};

static size_t count_dirty(struct inode *inode)
{
    if (inode->kind != RST_FILE_REGULAR || inode->is_volatile) return 0;
    inode_find_dirty(inode);
    size_t count = 0;
    for (size_t i = 0; i < inode->dirty.word_count; i++) count += (size_t)__builtin_popcountll(inode->dirty.words[i]);
    return count;
}

static void choose_strategy(struct image *image)
{
    size_t total = 0;
    for (size_t i = 0; i < image->from->inode_count; i++) {
        image->first_dirty[i] = total;
        total += count_dirty(image->from->inodes[i]);
    }
    /* The two plain ones take a tenth each, random sectors of all densities the most. */
    static const unsigned char shares[] = {ALL_OLD, ALL_NEW,   RANDOM,   RANDOM,   RANDOM,
                                           RANDOM,  LAST_LOST, ONE_HOLE, ONE_HOLE, FILE_BY_FILE};
    image->strategy = shares[sim_random_below(&image->random, sizeof shares)];
    static const unsigned densities[] = {20, 200, 500, 800, 980};
    image->new_per_mille = densities[sim_random_below(&image->random, RST_COUNT_OF(densities))];
    image->hole_start = sim_random_below(&image->random, total ? total : 1);
    uint64_t longest = sim_chance(&image->random, 800) ? 8 : total + 1;
    image->hole_end = image->hole_start + 1 + sim_random_below(&image->random, longest);
    image->to->strategy = strategy_names[image->strategy];
}

/* Would this sector's new content be there? `file_is_new` is the coin of FILE_BY_FILE. */
static bool sector_is_new(struct image *image, const struct inode *old, size_t sector, size_t number, bool file_is_new)
{
    switch (image->strategy) {
    case ALL_OLD:
        return false;
    case ALL_NEW:
        return true;
    case LAST_LOST:
        return !(image->from->has_last && image->from->last_slot == old->slot && image->from->last_sector == sector);
    case ONE_HOLE:
        return number < image->hole_start || number >= image->hole_end;
    case FILE_BY_FILE:
        return file_is_new;
    case RANDOM:
    case STRATEGY_COUNT:
        break;
    }
    return sim_chance(&image->random, image->new_per_mille);
}

static uint64_t choose_size(struct image *image, const struct inode *old, bool file_is_new)
{
    if (old->size == old->durable_size || image->strategy == ALL_OLD) return old->durable_size;
    if (image->strategy == FILE_BY_FILE) return file_is_new ? old->size : old->durable_size;
    if (image->strategy != RANDOM) return old->size;
    if (sim_chance(&image->random, 500)) return old->size;
    if (old->size < old->durable_size || sim_chance(&image->random, 500)) return old->durable_size;
    return old->durable_size + sim_random_below(&image->random, old->size - old->durable_size); /* between two writes */
}

/* One sector into the image: new, or with bad luck torn, garbage, or never written zeroes. */
static void put_sector(struct image *image, const struct inode *old, struct inode *copy, size_t sector, bool is_new)
{
    uint8_t bytes[SECTOR_SIZE];
    uint64_t offset = (uint64_t)sector * SECTOR_SIZE;
    if (offset >= copy->size) return;
    const uint8_t *now = old->cache->base + offset, *before = old->durable->base + offset;
    memcpy(bytes, is_new ? now : before, SECTOR_SIZE);
    if (image->strategy != ALL_OLD && image->strategy != ALL_NEW && image->strategy != FILE_BY_FILE) {
        bool fresh = offset >= old->durable_size;
        unsigned luck = (unsigned)sim_random_below(&image->random, 1000);
        if (luck < 100) { /* torn: the head of one, the tail of the other */
            size_t cut = sim_random_below(&image->random, SECTOR_SIZE + 1);
            memcpy(bytes + cut, (is_new ? before : now) + cut, SECTOR_SIZE - cut);
        } else if (fresh && luck < 150) {
            memset(bytes, 0, SECTOR_SIZE);
        } else if (fresh && luck < 160) {
            for (size_t i = 0; i < SECTOR_SIZE; i++) bytes[i] = (uint8_t)sim_random_u64(&image->random);
        }
    }
    size_t size = copy->size - offset < SECTOR_SIZE ? copy->size - offset : SECTOR_SIZE;
    inode_durable_write(copy, offset, bytes, size);
}

/* A fresh inode in the image with the old one's identity; ranges are the caller's to fill. */
static struct inode *copy_shell(struct image *image, const struct inode *old)
{
    struct inode *copy = calloc(1, sizeof *copy);
    struct sim *to = image->to;
    RST_CHECK(copy);
    to->inodes = grow(to->inodes, &to->inode_room, to->inode_count, sizeof *to->inodes);
    copy->slot = to->inode_count++;
    to->inodes[copy->slot] = copy;
    copy->number = old->number;
    copy->kind = old->kind;
    copy->is_volatile = old->is_volatile;
    copy->attributes = image->powered || sim_chance(&image->random, 500) ? old->attributes : old->durable_attributes;
    copy->durable_attributes = image->powered ? old->durable_attributes : copy->attributes;
    bits_copy(&copy->allocated, &old->allocated);
    uint64_t *used = copy->is_volatile ? &to->shm_used : &to->used;
    for (size_t i = 0; i < copy->allocated.word_count; i++)
        *used += PAGE_SIZE * (uint64_t)__builtin_popcountll(copy->allocated.words[i]);
    image->copies[old->slot] = copy;
    return copy;
}

static void copy_file_after_power_loss(struct image *image, const struct inode *old, struct inode *copy)
{
    bool file_is_new = sim_chance(&image->random, 500);
    copy->size = copy->durable_size = choose_size(image, old, file_is_new);
    copy->durable = old->durable;
    copy->durable->references++; /* until the first difference */
    size_t number = image->first_dirty[old->slot];
    for (size_t sector = bits_next(&old->dirty, 0); sector != SIZE_MAX; sector = bits_next(&old->dirty, sector + 1))
        put_sector(image, old, copy, sector, sector_is_new(image, old, sector, number++, file_is_new));
    copy->cache = range_copy(copy->durable, copy->size);
}

static void copy_file_after_process_loss(const struct inode *old, struct inode *copy)
{
    copy->size = old->size;
    copy->cache = range_copy(old->cache, old->size);
    copy->stored = old->stored;
    copy->lost = old->lost;
    if (old->is_volatile) return;
    copy->durable_size = old->durable_size;
    copy->durable = old->durable;
    copy->durable->references++;
    bits_copy(&copy->dirty, &old->dirty);
}

/* Durable names, and of the pending changes a subset in their order: none, all, the first few, any. */
static void choose_entries(struct image *image, const struct inode *old, struct entries *ret_entries)
{
    for (size_t i = 0; i < old->durable_entries.count; i++)
        entries_set(NULL, ret_entries, old->durable_entries.items[i].name, old->durable_entries.items[i].inode);
    if (!old->change_count) return;
    size_t upto = old->change_count;
    bool any = false;
    if (image->strategy == ALL_OLD)
        upto = 0;
    else if (image->strategy != ALL_NEW) {
        uint64_t kind = sim_random_below(&image->random, 4);
        if (kind == 0) upto = 0;
        if (kind == 1) upto = sim_random_below(&image->random, old->change_count + 1);
        any = kind == 2;
    }
    for (size_t i = 0; i < upto; i++)
        if (!any || sim_chance(&image->random, 500)) directory_apply(ret_entries, &old->changes[i]);
}

static struct inode *copy_inode(struct image *image, const struct inode *old);

static void copy_entries(struct image *image, struct inode *parent, const struct entries *from, struct entries *to)
{
    for (size_t i = 0; i < from->count; i++) {
        struct inode *copy = copy_inode(image, from->items[i].inode);
        if (parent) {
            copy->parent = parent;
            copy->link_count++;
        }
        entries_set(image->to, to, from->items[i].name, copy);
    }
}

static void copy_directory_after_power_loss(struct image *image, const struct inode *old, struct inode *copy)
{
    struct entries chosen = {0};
    choose_entries(image, old, &chosen);
    copy_entries(image, copy, &chosen, &copy->entries);
    copy_entries(image, NULL, &chosen, &copy->durable_entries);
    free(chosen.items);
}

static void copy_directory_after_process_loss(struct image *image, const struct inode *old, struct inode *copy)
{
    copy_entries(image, copy, &old->entries, &copy->entries);
    copy_entries(image, NULL, &old->durable_entries, &copy->durable_entries);
    for (size_t i = 0; i < old->change_count; i++) {
        copy->changes = grow(copy->changes, &copy->change_room, i, sizeof *copy->changes);
        copy->changes[i] = old->changes[i];
        if (!old->changes[i].inode) continue;
        copy->changes[i].inode = copy_inode(image, old->changes[i].inode);
        inode_get(copy->changes[i].inode);
    }
    copy->change_count = old->change_count;
}

static struct inode *copy_inode(struct image *image, const struct inode *old)
{
    if (image->copies[old->slot]) return image->copies[old->slot];
    struct inode *copy = copy_shell(image, old);
    if (old->kind == RST_FILE_REGULAR) {
        if (image->powered)
            copy_file_after_process_loss(old, copy);
        else
            copy_file_after_power_loss(image, old, copy);
    } else if (old->kind == RST_FILE_DIRECTORY) {
        if (image->powered)
            copy_directory_after_process_loss(image, old, copy);
        else if (!old->is_volatile)
            copy_directory_after_power_loss(image, old, copy);
    }
    return copy;
}

static struct sim *make_image(const struct sim *sim, uint64_t seed, bool powered)
{
    struct image image = {.from = sim, .powered = powered, .random = seed};
    image.copies = calloc(sim->inode_count + 1, sizeof *image.copies);
    image.first_dirty = calloc(sim->inode_count + 1, sizeof *image.first_dirty);
    RST_CHECK(image.copies && image.first_dirty);
    struct sim *to = image.to = sim_blank(sim_random_u64(&image.random), sim->reserve);
    if (!powered) choose_strategy(&image);
    to->next_inode_number = sim->next_inode_number;
    to->uid = sim->uid;
    to->umask = sim->umask;
    to->capacity = sim->capacity;
    to->shm_capacity = sim->shm_capacity;
    memcpy(to->file_system, sim->file_system, sizeof to->file_system);
    to->root = copy_inode(&image, sim->root);
    inode_get(to->root);
    to->shm = copy_inode(&image, sim->shm);
    if (powered) {
        memcpy(to->boot_id, sim->boot_id, sizeof to->boot_id);
        to->now = sim->now;
        to->real_offset = sim->real_offset;
    } else {
        to->real_offset = sim->now + sim->real_offset; /* the boot took no time, but the clock did not go back */
    }
    free(image.copies);
    free(image.first_dirty);
    return to;
}

struct sim *sim_power_loss(const struct sim *sim, uint64_t seed) { return make_image(sim, seed, false); }
struct sim *sim_process_loss(const struct sim *sim)
{
    uint64_t seed = sim->random_state; /* not advanced: looking does not change the run */
    return make_image(sim, seed, true);
}
const char *sim_strategy(const struct sim *sim) { return sim->strategy; }
