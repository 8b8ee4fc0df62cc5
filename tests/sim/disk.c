/* SPDX-License-Identifier: MIT
 * sim/disk.c: inodes and directories, each in two halves: what reads see, and what survives a power cut. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/internal.h"

struct inode *inode_create(struct sim *sim, enum rst_file_kind kind, uint32_t mode, bool is_volatile)
{
    struct inode *inode = calloc(1, sizeof *inode);
    RST_CHECK(inode);
    sim->inodes = grow(sim->inodes, &sim->inode_room, sim->inode_count, sizeof *sim->inodes);
    inode->slot = sim->inode_count++;
    sim->inodes[inode->slot] = inode;
    inode->number = sim->next_inode_number++;
    inode->kind = kind;
    inode->references = 1;
    inode->is_volatile = is_volatile;
    inode->attributes = (struct attributes){mode, sim->uid, sim->uid};
    inode->durable_attributes = inode->attributes;
    if (kind == RST_FILE_REGULAR) {
        inode->cache = range_take(sim->reserve);
        if (!is_volatile) inode->durable = range_take(sim->reserve);
    }
    return inode;
}

void inode_get(struct inode *inode) { inode->references++; }

static uint64_t *used_of(struct sim *sim, const struct inode *inode) { return inode->is_volatile ? &sim->shm_used : &sim->used; }

static void drop_all_entries(struct sim *sim, struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) inode_put(sim, entries->items[i].inode);
    free(entries->items);
}

void inode_put(struct sim *sim, struct inode *inode)
{
    if (!inode || --inode->references) return;
    if (inode->cache && inode->cache->stored_end) inode_check_bounds(inode);
    for (size_t page = bits_next(&inode->allocated, 0); page != SIZE_MAX; page = bits_next(&inode->allocated, page + 1))
        *used_of(sim, inode) -= PAGE_SIZE;
    range_put(inode->cache);
    range_put(inode->durable);
    bits_free(&inode->dirty);
    bits_free(&inode->allocated);
    drop_all_entries(sim, &inode->entries);
    drop_all_entries(sim, &inode->durable_entries);
    for (size_t i = 0; i < inode->change_count; i++) inode_put(sim, inode->changes[i].inode);
    free(inode->changes);
    free(inode->byte_locks);
    /* The last slot moves into the gap, so that a long run's machine stays small. */
    struct inode *last = sim->inodes[--sim->inode_count];
    if (sim->has_last && sim->last_slot == inode->slot) sim->has_last = false;
    if (sim->has_last && sim->last_slot == last->slot) sim->last_slot = inode->slot;
    last->slot = inode->slot;
    sim->inodes[inode->slot] = last;
    free(inode);
}

/* Takes the pages of [offset, offset + size) that take no space yet; returns the size up to which there was room. */
static uint64_t take_space(struct sim *sim, struct inode *inode, uint64_t offset, uint64_t size)
{
    uint64_t capacity = inode->is_volatile ? sim->shm_capacity : sim->capacity;
    uint64_t *used = used_of(sim, inode);
    for (uint64_t page = offset / PAGE_SIZE; page * PAGE_SIZE < offset + size; page++) {
        if (bits_get(&inode->allocated, page)) continue;
        if (capacity && *used + PAGE_SIZE > capacity) return page * PAGE_SIZE <= offset ? 0 : page * PAGE_SIZE - offset;
        *used += PAGE_SIZE;
        bits_set(&inode->allocated, page);
    }
    return size;
}

static void mark_dirty(struct inode *inode, uint64_t offset, uint64_t size)
{
    if (inode->is_volatile || !size) return;
    if (inode->lost) { /* the kernel writes whole pages, and with them what an earlier sync had lost */
        size += offset % PAGE_SIZE;
        offset -= offset % PAGE_SIZE;
        size = (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    }
    for (uint64_t sector = offset / SECTOR_SIZE; sector * SECTOR_SIZE < offset + size; sector++) bits_set(&inode->dirty, sector);
}

int64_t inode_write(struct sim *sim, struct inode *inode, const void *from, size_t size, uint64_t offset)
{
    if (offset >= inode->cache->reserve) return -EFBIG;
    if (size > inode->cache->reserve - offset) size = inode->cache->reserve - offset;
    size = take_space(sim, inode, offset, size);
    if (!size) return -ENOSPC;
    range_write(inode->cache, offset, from, size);
    mark_dirty(inode, offset, size);
    if (offset + size > inode->size) inode->size = offset + size;
    sim->last_slot = inode->slot;
    sim->last_sector = (offset + size - 1) / SECTOR_SIZE;
    sim->has_last = true;
    return (int64_t)size;
}

int inode_allocate(struct sim *sim, struct inode *inode, uint64_t offset, uint64_t size)
{
    if (offset > inode->cache->reserve || size > inode->cache->reserve - offset) return -EFBIG;
    if (inode->is_volatile && sim->shm_capacity) { /* tmpfs takes all or nothing; a disk may keep what it got */
        uint64_t missing = 0;
        for (uint64_t page = offset / PAGE_SIZE; page * PAGE_SIZE < offset + size; page++)
            if (!bits_get(&inode->allocated, page)) missing += PAGE_SIZE;
        if (sim->shm_used + missing > sim->shm_capacity) return -ENOSPC;
    }
    if (take_space(sim, inode, offset, size) < size) return -ENOSPC;
    if (offset + size > inode->size) inode->size = offset + size;
    return 0;
}

void inode_punch(struct sim *sim, struct inode *inode, uint64_t offset, uint64_t size)
{
    if (offset >= inode->size) return;
    if (size > inode->size - offset) size = inode->size - offset;
    range_zero(inode->cache, offset, size);
    mark_dirty(inode, offset, size);
    uint64_t first = (offset + PAGE_SIZE - 1) / PAGE_SIZE, end = (offset + size) / PAGE_SIZE;
    for (uint64_t page = first; page < end; page++)
        if (bits_get(&inode->allocated, page)) {
            bits_unset(&inode->allocated, page);
            *used_of(sim, inode) -= PAGE_SIZE;
        }
}

/* On a real machine the store itself would have been SIGBUS. */
void inode_check_bounds(struct inode *inode)
{
    struct range *range = inode->cache;
    size_t first = (inode->size + PAGE_SIZE - 1) / PAGE_SIZE;
    range_refresh(range, first);
    for (size_t page = bits_next(&range->touched, first); page != SIZE_MAX; page = bits_next(&range->touched, page + 1)) {
        const uint8_t *data = range->base + page * PAGE_SIZE;
        if (data[0] == 0 && memcmp(data, data + 1, PAGE_SIZE - 1) == 0) continue;
        fprintf(stderr, "sim: inode %llu: page %zu was stored to, but the file has %llu bytes (SIGBUS)\n",
                (unsigned long long)inode->number, page, (unsigned long long)inode->size);
        abort();
    }
}

void inode_find_dirty(struct inode *inode)
{
    if (!inode->stored || inode->is_volatile) return;
    range_refresh(inode->cache, 0);
    inode_check_bounds(inode);
    struct bits *touched = &inode->cache->touched;
    for (size_t page = bits_next(touched, 0); page != SIZE_MAX; page = bits_next(touched, page + 1)) {
        const uint8_t *now = inode->cache->base + page * PAGE_SIZE, *old = inode->durable->base + page * PAGE_SIZE;
        if (memcmp(now, old, PAGE_SIZE) == 0) continue;
        for (size_t i = 0; i < SECTORS_PER_PAGE; i++)
            if (memcmp(now + i * SECTOR_SIZE, old + i * SECTOR_SIZE, SECTOR_SIZE) != 0)
                bits_set(&inode->dirty, page * SECTORS_PER_PAGE + i);
    }
}

void inode_unshare_durable(struct inode *inode)
{
    if (inode->durable->references == 1) return;
    struct range *own = range_copy(inode->durable, inode->durable->reserve);
    range_put(inode->durable);
    inode->durable = own;
}

void inode_durable_write(struct inode *inode, uint64_t offset, const void *from, size_t size)
{
    inode_unshare_durable(inode);
    range_write(inode->durable, offset, from, size);
}

void inode_sync(struct inode *inode, bool attributes_too)
{
    if (inode->is_volatile || inode->kind != RST_FILE_REGULAR) return;
    inode_find_dirty(inode);
    for (size_t sector = bits_next(&inode->dirty, 0); sector != SIZE_MAX;) {
        size_t end = sector + 1;
        while (bits_get(&inode->dirty, end)) end++;
        uint64_t offset = (uint64_t)sector * SECTOR_SIZE, stop = (uint64_t)end * SECTOR_SIZE;
        if (stop > inode->cache->reserve) stop = inode->cache->reserve;
        inode_durable_write(inode, offset, inode->cache->base + offset, stop - offset);
        sector = bits_next(&inode->dirty, end);
    }
    bits_clear(&inode->dirty);
    inode->durable_size = inode->size;
    if (attributes_too) inode->durable_attributes = inode->attributes;
}

/* Half of the sectors reach the disk. The others are clean in the cache's eyes, and lost. */
void inode_fail_sync(struct sim *sim, struct inode *inode)
{
    if (sim->sync_failure == SIM_SYNC_KEEPS_DIRTY || inode->is_volatile || inode->kind != RST_FILE_REGULAR) return;
    inode_find_dirty(inode);
    if (sim_chance(&sim->random_state, 500)) inode->durable_size = inode->size;
    for (size_t sector = bits_next(&inode->dirty, 0); sector != SIZE_MAX; sector = bits_next(&inode->dirty, sector + 1)) {
        size_t offset = sector * SECTOR_SIZE;
        bool reaches = offset + SECTOR_SIZE <= inode->durable_size && sim_chance(&sim->random_state, 500);
        if (reaches)
            inode_durable_write(inode, offset, inode->cache->base + offset, SECTOR_SIZE);
        else if (sim->sync_failure == SIM_SYNC_BTRFS)
            range_write(inode->cache, offset, inode->durable->base + offset, SECTOR_SIZE);
    }
    bits_clear(&inode->dirty);
    inode->lost = sim->sync_failure != SIM_SYNC_BTRFS;
    if (sim->sync_failure == SIM_SYNC_EXT4) inode->late_error = EIO;
}

/* ---- directories ---- */
struct entry *entries_find(const struct entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->items[i].name, name) == 0) return &entries->items[i];
    return NULL;
}

void entries_set(struct sim *sim, struct entries *entries, const char *name, struct inode *inode)
{
    struct entry *entry = entries_find(entries, name);
    struct inode *old = entry ? entry->inode : NULL;
    if (inode) {
        if (sim) inode_get(inode);
        if (!entry) {
            entries->items = grow(entries->items, &entries->room, entries->count, sizeof *entries->items);
            entry = &entries->items[entries->count++];
            snprintf(entry->name, sizeof entry->name, "%s", name);
        }
        entry->inode = inode;
    } else if (entry) {
        *entry = entries->items[--entries->count];
    }
    if (sim) inode_put(sim, old);
}

static struct change *add_change(struct inode *directory)
{
    directory->changes = grow(directory->changes, &directory->change_room, directory->change_count, sizeof *directory->changes);
    struct change *change = &directory->changes[directory->change_count++];
    memset(change, 0, sizeof *change);
    return change;
}

static void cached_set(struct sim *sim, struct inode *directory, const char *name, struct inode *inode)
{
    struct entry *old = entries_find(&directory->entries, name);
    if (old) old->inode->link_count--;
    if (inode) {
        inode->link_count++;
        inode->parent = directory;
    }
    entries_set(sim, &directory->entries, name, inode);
}

void directory_set(struct sim *sim, struct inode *directory, const char *name, struct inode *inode)
{
    if (!directory->is_volatile) {
        struct change *change = add_change(directory);
        snprintf(change->name, sizeof change->name, "%s", name);
        change->inode = inode;
        if (inode) inode_get(inode);
    }
    cached_set(sim, directory, name, inode);
}

void directory_rename(struct sim *sim, struct inode *directory, const char *from, const char *to)
{
    struct inode *inode = entries_find(&directory->entries, from)->inode;
    if (!directory->is_volatile) {
        struct change *change = add_change(directory);
        snprintf(change->name, sizeof change->name, "%s", to);
        snprintf(change->other_name, sizeof change->other_name, "%s", from);
        change->inode = inode;
        inode_get(inode);
    }
    cached_set(sim, directory, to, inode);
    cached_set(sim, directory, from, NULL);
}

void directory_apply(struct entries *entries, const struct change *change)
{
    entries_set(NULL, entries, change->name, change->inode);
    /* A rename whose file got its old name by a change that was lost takes away nothing else's name. */
    struct entry *other = change->other_name[0] ? entries_find(entries, change->other_name) : NULL;
    if (other && other->inode == change->inode) entries_set(NULL, entries, change->other_name, NULL);
}

void directory_sync(struct sim *sim, struct inode *directory)
{
    if (directory->is_volatile || directory->change_count == 0) return;
    struct entries old = directory->durable_entries;
    directory->durable_entries = (struct entries){0};
    for (size_t i = 0; i < directory->entries.count; i++)
        entries_set(sim, &directory->durable_entries, directory->entries.items[i].name, directory->entries.items[i].inode);
    size_t count = directory->change_count;
    directory->change_count = 0;
    for (size_t i = 0; i < count; i++) inode_put(sim, directory->changes[i].inode);
    drop_all_entries(sim, &old);
}

/* ---- paths ---- */
static struct inode *step(struct inode *directory, const char *name)
{
    if (strcmp(name, ".") == 0) return directory;
    if (strcmp(name, "..") == 0) return directory->parent ? directory->parent : directory;
    struct entry *entry = entries_find(&directory->entries, name);
    return entry ? entry->inode : NULL;
}

int path_parent(const struct sim *sim, struct inode *start, const char *path, struct inode **ret_directory,
                char ret_name[NAME_SIZE])
{
    struct inode *at = path[0] == '/' || !start ? sim->root : start;
    if (!path[0]) return -ENOENT;
    strcpy(ret_name, ".");
    for (;;) {
        path += strspn(path, "/");
        size_t size = strcspn(path, "/");
        if (!size) break;
        if (size >= NAME_SIZE) return -ENAMETOOLONG;
        struct inode *next = step(at, ret_name); /* what was the last component is none: another follows */
        if (!next) return -ENOENT;
        if (next->kind != RST_FILE_DIRECTORY) return -ENOTDIR;
        at = next;
        memcpy(ret_name, path, size);
        ret_name[size] = '\0';
        path += size;
    }
    if (at->kind != RST_FILE_DIRECTORY) return -ENOTDIR;
    *ret_directory = at;
    return 0;
}

int path_find(const struct sim *sim, struct inode *start, const char *path, struct inode **ret_inode)
{
    char name[NAME_SIZE];
    struct inode *directory;
    int result = path_parent(sim, start, path, &directory, name);
    if (result < 0) return result;
    *ret_inode = step(directory, name);
    return *ret_inode ? 0 : -ENOENT;
}
