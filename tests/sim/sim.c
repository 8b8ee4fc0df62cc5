/* SPDX-License-Identifier: MIT
 * sim/sim.c: a machine's life, its faults and the test's ways of looking into it. The operations are in table.c. */
#include "sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/internal.h"

/* splitmix64, https://prng.di.unimi.it/splitmix64.c (public domain) */
uint64_t sim_random_u64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_random_below(uint64_t *state, uint64_t limit) { return limit ? sim_random_u64(state) % limit : 0; }
bool sim_chance(uint64_t *state, unsigned per_mille) { return per_mille && sim_random_below(state, 1000) < per_mille; }

struct sim *sim_blank(uint64_t seed, size_t reserve)
{
    static unsigned next_serial = 1;
    struct sim *sim = calloc(1, sizeof *sim);
    RST_CHECK(sim);
    sim->serial = next_serial++ % 16383 + 1;
    sim->random_state = seed;
    sim->reserve = reserve;
    for (size_t i = 0; i < sizeof sim->boot_id; i++) sim->boot_id[i] = (uint8_t)sim_random_u64(&sim->random_state);
    sim->next_inode_number = 2;
    sim->process_count = 1;
    sim->uid = 1000;
    sim->umask = 022;
    sim->now = 1000000000;
    sim->real_offset = 1800000000ll * 1000000000; /* a day in 2027 */
    sim->sync_failure = SIM_SYNC_EXT4;
    sim->strategy = "";
    return sim;
}

struct sim *sim_create_sized(uint64_t seed, size_t reserve)
{
    if (!reserve) reserve = (size_t)128 << 20;
    struct sim *sim = sim_blank(seed, (reserve + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE);
    sim->root = inode_create(sim, RST_FILE_DIRECTORY, 0777, false);
    sim->root->link_count = 1;
    struct inode *dev = inode_create(sim, RST_FILE_DIRECTORY, 0755, false);
    directory_set(sim, sim->root, "dev", dev);
    sim->shm = inode_create(sim, RST_FILE_DIRECTORY, 0777, true);
    directory_set(sim, dev, "shm", sim->shm);
    directory_sync(sim, sim->root);
    directory_sync(sim, dev);
    inode_put(sim, dev);
    inode_put(sim, sim->shm); /* the names keep them */
    return sim;
}

struct sim *sim_create(uint64_t seed) { return sim_create_sized(seed, 0); }

void sim_destroy(struct sim *sim)
{
    if (!sim) return;
    if (sim_current() == sim) sim_use(NULL);
    for (size_t i = 0; i < sim->description_room; i++)
        if (sim->descriptions[i]) {
            inode_put(sim, sim->descriptions[i]->inode);
            free(sim->descriptions[i]);
        }
    for (size_t i = 0; i < sim->mapping_count; i++) inode_put(sim, sim->mappings[i].inode);
    inode_put(sim, sim->root);
    RST_CHECK(sim->inode_count == 0); /* else a reference was lost in the simulator */
    free(sim->descriptions);
    free(sim->mappings);
    free(sim->inodes);
    free(sim);
}

/* ---- processes ---- */
int sim_process_create(struct sim *sim) { return sim->process_count++; }

int sim_process_use(struct sim *sim, int process)
{
    RST_CHECK(process >= 0 && process < sim->process_count);
    int before = sim->process;
    sim->process = process;
    return before;
}

int sim_process_current(const struct sim *sim) { return sim->process; }

/* ---- hooks and faults ---- */
void sim_set_hook(struct sim *sim, sim_hook_fn hook, void *user)
{
    sim->hook = hook;
    sim->hook_user = user;
    sim->in_hook = false; /* a hook that jumped away never came back to say so */
    sim->in_idle = false;
}

void sim_set_idle(struct sim *sim, sim_idle_fn idle, void *user)
{
    sim->idle = idle;
    sim->idle_user = user;
    sim->in_idle = false;
}

uint64_t sim_operation_count(const struct sim *sim) { return sim->operation; }
void sim_reset_operation_count(struct sim *sim) { sim->operation = 0; }

void sim_fail_at(struct sim *sim, uint64_t number, int error, bool persistent)
{
    sim->fail_number = number;
    sim->fail_nth = 0;
    sim->fail_error = error;
    sim->fail_persistent = persistent;
}

void sim_fail_named(struct sim *sim, const char *name, uint64_t nth, int error, bool persistent)
{
    sim_fail_at(sim, 0, error, persistent);
    snprintf(sim->fail_name, sizeof sim->fail_name, "%s", name);
    sim->fail_nth = nth;
}

uint64_t sim_failure_count(const struct sim *sim) { return sim->failure_count; }
void sim_set_sync_failure(struct sim *sim, enum sim_sync_failure flavour) { sim->sync_failure = flavour; }

void sim_set_noise(struct sim *sim, unsigned short_per_mille, unsigned interrupt_per_mille)
{
    sim->short_per_mille = short_per_mille;
    sim->interrupt_per_mille = interrupt_per_mille;
}

void sim_set_capacity(struct sim *sim, uint64_t capacity) { sim->capacity = capacity; }
void sim_set_shm_capacity(struct sim *sim, uint64_t capacity) { sim->shm_capacity = capacity; }
uint64_t sim_used(const struct sim *sim) { return sim->used; }

/* ---- surroundings ---- */
void sim_set_user(struct sim *sim, uint32_t uid) { sim->uid = uid; }
void sim_set_umask(struct sim *sim, uint32_t mask) { sim->umask = mask; }
void sim_set_real_time(struct sim *sim, int64_t ns) { sim->real_offset = ns - sim->now; }
void sim_advance(struct sim *sim, int64_t ns) { sim->now += ns; }

void sim_set_file_system(struct sim *sim, const char *refused_name)
{
    snprintf(sim->file_system, sizeof sim->file_system, "%s", refused_name);
}

/* ---- looking and meddling ---- */
static int find_file(const struct sim *sim, const char *path, struct inode **ret_inode)
{
    int result = path_find(sim, NULL, path, ret_inode);
    if (result < 0) return result;
    return (*ret_inode)->kind == RST_FILE_REGULAR ? 0 : -EISDIR;
}

int64_t sim_file_size(const struct sim *sim, const char *path)
{
    struct inode *inode;
    int result = find_file(sim, path, &inode);
    return result < 0 ? result : (int64_t)inode->size;
}

int64_t sim_read_file(const struct sim *sim, const char *path, void *to, size_t size, uint64_t offset)
{
    struct inode *inode;
    int result = find_file(sim, path, &inode);
    if (result < 0) return result;
    if (offset >= inode->size) return 0;
    if (size > inode->size - offset) size = inode->size - offset;
    memcpy(to, inode->cache->base + offset, size);
    return (int64_t)size;
}

int sim_corrupt(struct sim *sim, const char *path, uint64_t offset, const void *bytes, size_t size)
{
    struct inode *inode;
    int result = find_file(sim, path, &inode);
    if (result < 0) return result;
    if (offset > inode->size || size > inode->size - offset) return -EINVAL;
    range_write(inode->cache, offset, bytes, size);
    if (inode->durable && offset + size <= inode->durable_size) inode_durable_write(inode, offset, bytes, size);
    return 0;
}

int sim_truncate(struct sim *sim, const char *path, uint64_t size)
{
    struct inode *inode;
    int result = find_file(sim, path, &inode);
    if (result < 0) return result;
    if (size > sim->reserve) return -EFBIG;
    inode_sync(inode, true);
    if (size < inode->size) {
        inode_punch(sim, inode, size, inode->size - size);
        inode_sync(inode, true);
    }
    inode->size = size;
    if (!inode->is_volatile) inode->durable_size = size;
    return 0;
}

static struct inode *copy_tree(struct sim *sim, struct inode *from)
{
    struct inode *to = inode_create(sim, from->kind, from->attributes.mode, false);
    to->attributes = from->attributes;
    if (from->kind == RST_FILE_REGULAR && from->size) {
        /* Space first, so that holes become real; then bytes. */
        RST_CHECK(inode_allocate(sim, to, 0, from->size) == 0);
        RST_CHECK(inode_write(sim, to, from->cache->base, from->size, 0) == (int64_t)from->size);
    }
    for (size_t i = 0; i < from->entries.count; i++) {
        struct inode *child = copy_tree(sim, from->entries.items[i].inode);
        directory_set(sim, to, from->entries.items[i].name, child);
        inode_put(sim, child);
    }
    if (from->kind == RST_FILE_DIRECTORY) directory_sync(sim, to);
    inode_sync(to, true);
    to->durable_attributes = to->attributes;
    return to;
}

int sim_copy_tree(struct sim *sim, const char *from, const char *to)
{
    struct inode *source, *directory;
    char name[NAME_SIZE];
    int result = path_find(sim, NULL, from, &source);
    if (result < 0) return result;
    result = path_parent(sim, NULL, to, &directory, name);
    if (result < 0) return result;
    if (entries_find(&directory->entries, name)) return -EEXIST;
    struct inode *copy = copy_tree(sim, source);
    directory_set(sim, directory, name, copy);
    inode_put(sim, copy);
    directory_sync(sim, directory);
    return 0;
}

int sim_symlink(struct sim *sim, const char *path)
{
    struct inode *directory;
    char name[NAME_SIZE];
    int result = path_parent(sim, NULL, path, &directory, name);
    if (result < 0) return result;
    if (entries_find(&directory->entries, name)) return -EEXIST;
    struct inode *link = inode_create(sim, RST_FILE_OTHER, 0777, directory->is_volatile);
    directory_set(sim, directory, name, link);
    inode_put(sim, link);
    directory_sync(sim, directory);
    return 0;
}

void sim_sync_all(struct sim *sim)
{
    for (size_t i = 0; i < sim->inode_count; i++) inode_sync(sim->inodes[i], true);
    /* Syncing a directory may drop the last reference to an inode, which moves the slots: go on until nothing is pending. */
    for (size_t i = 0; i < sim->inode_count;) {
        struct inode *inode = sim->inodes[i];
        bool pending = inode->kind == RST_FILE_DIRECTORY && inode->change_count;
        if (pending) directory_sync(sim, inode);
        i = pending ? 0 : i + 1;
    }
}
