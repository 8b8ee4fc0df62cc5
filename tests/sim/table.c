/* SPDX-License-Identifier: MIT
 * sim/table.c: the operations of os.h on a simulated machine. Each begins by letting the test interfere (enter), and looks
 * things up only then, as a hook may have run other processes meanwhile. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "sim/internal.h"

static struct sim *current;

void sim_use(struct sim *sim)
{
    current = sim;
    rst_os = sim ? &rst_os_sim : &rst_os_linux;
}

struct sim *sim_current(void) { return current; }

/* ---- the door of every operation ---- */
static void call_hook(struct sim *sim, uint64_t number, const char *name)
{
    if (!sim->hook || sim->in_hook) return;
    int process = sim->process;
    sim->in_hook = true;
    sim->hook(sim->hook_user, number, name);
    sim->in_hook = false;
    sim->process = process;
    RST_CHECK(current == sim); /* a hook puts back the machine it found */
}

static bool fault_fires(struct sim *sim, const char *name)
{
    if (sim->fail_number) return sim->fail_persistent ? sim->operation >= sim->fail_number : sim->operation == sim->fail_number;
    if (!sim->fail_nth || strcmp(name, sim->fail_name) != 0) return false;
    if (sim->fail_nth > 1) {
        sim->fail_nth--;
        return false;
    }
    if (!sim->fail_persistent) sim->fail_nth = 0;
    return true;
}

/* 0, or the negative errno that the test wants here. What hooks do is neither counted nor failed. */
static int enter_quietly(struct sim *sim, const char *name)
{
    RST_CHECK(sim);
    sim->now += 1000; /* nothing is free, and loops with a deadline end */
    if (sim->in_hook) return 0;
    sim->operation++;
    if (!fault_fires(sim, name)) return 0;
    sim->failure_count++;
    return -sim->fail_error;
}

static int enter(struct sim *sim, const char *name)
{
    RST_CHECK(sim);
    call_hook(sim, sim->in_hook ? 0 : sim->operation + 1, name);
    return enter_quietly(sim, name);
}

/* Operations that cannot fail are seen by the hook, and not counted. */
static void enter_sure(struct sim *sim, const char *name) { call_hook(sim, sim->operation, name); }

/* ---- descriptors ---- */
enum { DESCRIPTION_MAX = 65536 };

static struct description *describe(const struct sim *sim, int file)
{
    if (file < 0) return NULL;
    size_t index = (size_t)file % DESCRIPTION_MAX;
    if (file < DESCRIPTION_MAX || (unsigned)file / DESCRIPTION_MAX != sim->serial) {
        fprintf(stderr, "sim: descriptor %d is not of the machine in use\n", file);
        abort();
    }
    return index < sim->description_room ? sim->descriptions[index] : NULL;
}

static int add_description(struct sim *sim, struct inode *inode, unsigned flags)
{
    /* Numbers go round before they come again, so that a use after close is noticed. */
    size_t index = sim->next_description;
    for (size_t tried = 0;; tried++, index = (index + 1) % DESCRIPTION_MAX) {
        if (tried == DESCRIPTION_MAX) return -EMFILE;
        if (index >= sim->description_room || !sim->descriptions[index]) break;
    }
    size_t old_room = sim->description_room;
    sim->descriptions = grow(sim->descriptions, &sim->description_room, index, sizeof(struct description *));
    for (size_t i = old_room; i < sim->description_room; i++) sim->descriptions[i] = NULL;
    struct description *description = calloc(1, sizeof *description);
    RST_CHECK(description);
    inode_get(inode);
    *description = (struct description){inode, sim->process, flags};
    sim->descriptions[index] = description;
    sim->next_description = (index + 1) % DESCRIPTION_MAX;
    return (int)(sim->serial * DESCRIPTION_MAX + index);
}

static void close_description(struct sim *sim, size_t index)
{
    struct description *description = sim->descriptions[index];
    struct inode *inode = description->inode;
    if (inode->flock_owner == description) inode->flock_owner = NULL;
    for (size_t i = 0; i < inode->byte_lock_count;)
        if (inode->byte_locks[i].owner == description)
            inode->byte_locks[i] = inode->byte_locks[--inode->byte_lock_count];
        else
            i++;
    sim->descriptions[index] = NULL;
    free(description);
    inode_put(sim, inode);
}

void sim_process_kill(struct sim *sim, int process)
{
    for (size_t i = 0; i < sim->description_room; i++)
        if (sim->descriptions[i] && sim->descriptions[i]->process == process) close_description(sim, i);
    for (size_t i = 0; i < sim->mapping_count; i++)
        if (sim->mappings[i].process == process) sim->mappings[i].dead = true;
}

static int regular(const struct sim *sim, int file, bool write, struct inode **ret_inode)
{
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    if (description->inode->kind != RST_FILE_REGULAR) return write ? -EBADF : -EISDIR;
    if (write && !(description->flags & (RST_OPEN_WRITE | RST_OPEN_TEMPORARY))) return -EBADF;
    *ret_inode = description->inode;
    return 0;
}

static int start_of(const struct sim *sim, int directory, struct inode **ret_start)
{
    *ret_start = sim->root;
    if (directory < 0) return 0;
    struct description *description = describe(sim, directory);
    if (!description) return -EBADF;
    *ret_start = description->inode;
    return 0;
}

static int parent_of(const struct sim *sim, int directory, const char *path, struct inode **ret_parent, char ret_name[NAME_SIZE])
{
    struct inode *start;
    int result = start_of(sim, directory, &start);
    return result < 0 ? result : path_parent(sim, start, path, ret_parent, ret_name);
}

static bool may(const struct sim *sim, const struct inode *inode, bool write)
{
    uint32_t bits = inode->attributes.mode;
    if (sim->uid == 0) return true;
    if (sim->uid == inode->attributes.uid) bits >>= 6;
    return (bits & 4) && (!write || (bits & 2));
}

static bool is_plain_name(const char *name) { return strcmp(name, ".") != 0 && strcmp(name, "..") != 0; }

/* ---- files ---- */
static int open_existing(struct sim *sim, struct inode *inode, unsigned flags)
{
    bool write = flags & RST_OPEN_WRITE;
    if (inode->kind == RST_FILE_OTHER) return -ELOOP;
    if ((flags & RST_OPEN_DIRECTORY) && inode->kind != RST_FILE_DIRECTORY) return -ENOTDIR;
    if (inode->kind == RST_FILE_DIRECTORY && (flags & (RST_OPEN_WRITE | RST_OPEN_CREATE))) return -EISDIR;
    if (!may(sim, inode, write)) return -EACCES;
    return add_description(sim, inode, flags);
}

static int open_new(struct sim *sim, struct inode *directory, const char *name, unsigned flags, uint32_t mode)
{
    if (!may(sim, directory, true)) return -EACCES;
    struct inode *inode = inode_create(sim, RST_FILE_REGULAR, mode & ~sim->umask & 07777, directory->is_volatile);
    if (name)
        directory_set(sim, directory, name, inode);
    else
        inode->nameless = true;
    int file = add_description(sim, inode, flags);
    inode_put(sim, inode);
    return file;
}

static int open_in(struct sim *sim, struct inode *start, const char *path, unsigned flags, uint32_t mode)
{
    struct inode *directory, *inode;
    char name[NAME_SIZE];
    int result = path_find(sim, start, path, &inode);
    if (flags & RST_OPEN_TEMPORARY) {
        if (result < 0) return result;
        if (inode->kind == RST_FILE_OTHER) return -ELOOP;
        return inode->kind == RST_FILE_DIRECTORY ? open_new(sim, inode, NULL, flags, mode) : -ENOTDIR;
    }
    if (result == 0) {
        if ((flags & RST_OPEN_CREATE) && (flags & RST_OPEN_EXCLUSIVE)) return -EEXIST;
        return open_existing(sim, inode, flags);
    }
    if (result != -ENOENT || !(flags & RST_OPEN_CREATE)) return result;
    result = path_parent(sim, start, path, &directory, name);
    return result < 0 ? result : open_new(sim, directory, name, flags, mode);
}

static int sim_open(int directory, const char *path, unsigned flags, uint32_t mode)
{
    struct sim *sim = current;
    struct inode *start;
    bool changes = flags & (RST_OPEN_CREATE | RST_OPEN_TEMPORARY);
    int result = changes ? enter(sim, "open-create") : enter_quietly(sim, "open");
    if (result == 0) result = start_of(sim, directory, &start);
    return result < 0 ? result : open_in(sim, start, path, flags, mode);
}

static int sim_close(int file)
{
    struct sim *sim = current;
    enter_sure(sim, "close"); /* frees locks */
    if (!describe(sim, file)) return -EBADF;
    close_description(sim, (size_t)file % DESCRIPTION_MAX);
    return 0;
}

/* What noise leaves of a transfer; 0: interrupted. */
static size_t noisy(struct sim *sim, size_t size)
{
    if (sim_chance(&sim->random_state, sim->interrupt_per_mille)) return 0;
    if (size > 1 && sim_chance(&sim->random_state, sim->short_per_mille))
        return 1 + (size_t)sim_random_below(&sim->random_state, size - 1);
    return size;
}

static int64_t sim_pread(int file, void *to, size_t size, uint64_t offset)
{
    struct sim *sim = current;
    struct inode *inode;
    int result = enter_quietly(sim, "pread");
    if (result == 0) result = regular(sim, file, false, &inode);
    if (result < 0) return result;
    if (offset >= inode->size || !size) return 0;
    if (size > inode->size - offset) size = inode->size - offset;
    size = noisy(sim, size);
    if (!size) return -EINTR;
    memcpy(to, inode->cache->base + offset, size);
    return (int64_t)size;
}

static int64_t sim_pwrite(int file, const void *from, size_t size, uint64_t offset)
{
    struct sim *sim = current;
    struct inode *inode;
    int result = enter(sim, "pwrite");
    if (result == 0) result = regular(sim, file, true, &inode);
    if (result < 0) return result;
    if (!size) return 0;
    size = noisy(sim, size);
    return size ? inode_write(sim, inode, from, size, offset) : -EINTR;
}

static int sync_file(const char *name, const char *done_name, int file, bool attributes_too)
{
    struct sim *sim = current;
    int result = enter(sim, name);
    uint64_t number = sim->operation;
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    struct inode *inode = description->inode;
    if (result < 0) {
        inode_fail_sync(sim, inode);
    } else if (inode->late_error) {
        result = -inode->late_error;
        inode->late_error = 0;
    } else if (inode->kind == RST_FILE_DIRECTORY) {
        directory_sync(sim, inode);
        inode->durable_attributes = inode->attributes;
    } else {
        inode_sync(inode, attributes_too);
    }
    call_hook(sim, number, done_name);
    return result;
}

static int sim_fdatasync(int file) { return sync_file("fdatasync", "fdatasync done", file, false); }
static int sim_fsync(int file) { return sync_file("fsync", "fsync done", file, true); }

static int sim_allocate(int file, uint64_t offset, uint64_t size)
{
    struct sim *sim = current;
    struct inode *inode;
    int result = enter(sim, "allocate");
    if (result == 0 && !size) result = -EINVAL;
    if (result == 0) result = regular(sim, file, true, &inode);
    return result < 0 ? result : inode_allocate(sim, inode, offset, size);
}

/* The simulated kernel cannot: whoever copies reads and writes. */
static int64_t sim_copy(int from, int to, size_t size, uint64_t offset)
{
    (void)from;
    (void)to;
    (void)size;
    (void)offset;
    return -EOPNOTSUPP;
}

static int sim_punch(int file, uint64_t offset, uint64_t size)
{
    struct sim *sim = current;
    struct inode *inode;
    int result = enter(sim, "punch");
    if (result == 0 && !size) result = -EINVAL;
    if (result == 0) result = regular(sim, file, true, &inode);
    if (result < 0) return result;
    inode_punch(sim, inode, offset, size);
    return 0;
}

static int sim_link(int file, int directory, const char *path)
{
    struct sim *sim = current;
    struct inode *inode, *parent;
    char name[NAME_SIZE];
    int result = enter(sim, "link");
    if (result == 0) result = regular(sim, file, false, &inode);
    if (result == 0) result = parent_of(sim, directory, path, &parent, name);
    if (result < 0) return result;
    if (entries_find(&parent->entries, name)) return -EEXIST;
    if (!inode->link_count && !inode->nameless) return -ENOENT;
    if (!may(sim, parent, true)) return -EACCES;
    directory_set(sim, parent, name, inode);
    inode->nameless = false;
    return 0;
}

static int sim_rename(int directory, const char *from, const char *to)
{
    struct sim *sim = current;
    struct inode *parent, *other;
    char from_name[NAME_SIZE], to_name[NAME_SIZE];
    int result = enter(sim, "rename");
    if (result == 0) result = parent_of(sim, directory, from, &parent, from_name);
    if (result == 0) result = parent_of(sim, directory, to, &other, to_name);
    if (result < 0) return result;
    RST_CHECK(parent == other); /* nobody here renames across directories */
    struct entry *source = entries_find(&parent->entries, from_name), *target = entries_find(&parent->entries, to_name);
    if (!source) return -ENOENT;
    if (!may(sim, parent, true)) return -EACCES;
    if (target && target->inode == source->inode) return 0;
    if (target && target->inode->kind == RST_FILE_DIRECTORY) return -EISDIR;
    directory_rename(sim, parent, from_name, to_name);
    return 0;
}

static int sim_unlink(int directory, const char *path)
{
    struct sim *sim = current;
    struct inode *parent;
    char name[NAME_SIZE];
    int result = enter(sim, "unlink");
    if (result == 0) result = parent_of(sim, directory, path, &parent, name);
    if (result < 0) return result;
    struct entry *entry = entries_find(&parent->entries, name);
    if (!entry) return -ENOENT;
    if (entry->inode->kind == RST_FILE_DIRECTORY) return -EISDIR;
    if (!may(sim, parent, true)) return -EACCES;
    directory_set(sim, parent, name, NULL);
    return 0;
}

static int sim_mkdir(int directory, const char *path, uint32_t mode)
{
    struct sim *sim = current;
    struct inode *parent;
    char name[NAME_SIZE];
    int result = enter(sim, "mkdir");
    if (result == 0) result = parent_of(sim, directory, path, &parent, name);
    if (result < 0) return result;
    if (!is_plain_name(name) || entries_find(&parent->entries, name)) return -EEXIST;
    if (!may(sim, parent, true)) return -EACCES;
    struct inode *inode = inode_create(sim, RST_FILE_DIRECTORY, mode & ~sim->umask & 07777, parent->is_volatile);
    directory_set(sim, parent, name, inode);
    inode_put(sim, inode);
    return 0;
}

static int sim_list(int directory, rst_list_fn found, void *user)
{
    struct sim *sim = current;
    int result = enter_quietly(sim, "list");
    if (result < 0) return result;
    struct description *description = describe(sim, directory);
    if (!description) return -EBADF;
    struct inode *inode = description->inode;
    if (inode->kind != RST_FILE_DIRECTORY) return -ENOTDIR;
    /* Names are copied first: `found` may unlink what it is shown. */
    size_t count = inode->entries.count;
    char(*names)[NAME_SIZE] = calloc(count + 1, NAME_SIZE);
    RST_CHECK(names);
    for (size_t i = 0; i < count; i++) memcpy(names[i], inode->entries.items[i].name, NAME_SIZE);
    for (size_t i = 0; i < count && result == 0; i++) result = found(user, names[i]);
    free(names);
    return result;
}

static void fill_stat(const struct inode *inode, struct rst_stat *stat)
{
    *stat = (struct rst_stat){.device = inode->is_volatile ? 2 : 1,
                              .inode = inode->number,
                              .size = inode->size,
                              .link_count = inode->link_count,
                              .uid = inode->attributes.uid,
                              .gid = inode->attributes.gid,
                              .mode = inode->attributes.mode,
                              .kind = inode->kind};
}

static int sim_stat(int file, struct rst_stat *ret_stat)
{
    struct sim *sim = current;
    int result = enter_quietly(sim, "stat");
    if (result < 0) return result;
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    fill_stat(description->inode, ret_stat);
    return 0;
}

static int sim_stat_at(int directory, const char *path, struct rst_stat *ret_stat)
{
    struct sim *sim = current;
    struct inode *start, *inode;
    int result = enter_quietly(sim, "stat_at");
    if (result == 0) result = start_of(sim, directory, &start);
    if (result == 0) result = path_find(sim, start, path, &inode);
    if (result == 0) fill_stat(inode, ret_stat);
    return result;
}

static int own_inode(const char *name, int file, struct inode **ret_inode)
{
    struct sim *sim = current;
    int result = enter(sim, name);
    if (result < 0) return result;
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    *ret_inode = description->inode;
    return sim->uid == 0 || sim->uid == (*ret_inode)->attributes.uid ? 0 : -EPERM;
}

static int sim_chown(int file, uint32_t uid, uint32_t gid)
{
    struct inode *inode;
    int result = own_inode("chown", file, &inode);
    if (result < 0) return result;
    if (current->uid != 0 && uid != UINT32_MAX && uid != inode->attributes.uid) return -EPERM;
    if (uid != UINT32_MAX) inode->attributes.uid = uid; /* -1: leave it, as chown(2) */
    if (gid != UINT32_MAX) inode->attributes.gid = gid;
    return 0;
}

static int sim_chmod(int file, uint32_t mode)
{
    struct inode *inode;
    int result = own_inode("chmod", file, &inode);
    if (result == 0) inode->attributes.mode = mode & 07777;
    return result;
}

static int sim_file_system(int file, char *ret_name, size_t name_size)
{
    if (!describe(current, file)) return -EBADF;
    snprintf(ret_name, name_size, "%s", current->file_system);
    return 0;
}

/* ---- mappings ---- */
static int sim_map(int file, uint64_t offset, size_t size, unsigned flags, void **ret_address)
{
    struct sim *sim = current;
    bool write = flags & RST_MAP_WRITE;
    struct inode *inode;
    int result = enter(sim, "map");
    if (result == 0) result = regular(sim, file, write, &inode);
    if (result == -EBADF && describe(sim, file)) result = -EACCES;
    if (result < 0) return result;
    if (!size || offset % PAGE_SIZE) return -EINVAL;
    size_t rounded = (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    struct range *range = inode->cache;
    if (offset > range->reserve || rounded > range->reserve - offset) return -ENOMEM;
    if (write) {
        inode->stored = true;
        if (range->stored_end < offset + rounded) range->stored_end = offset + rounded;
    }
    sim->mappings = grow(sim->mappings, &sim->mapping_room, sim->mapping_count, sizeof *sim->mappings);
    sim->mappings[sim->mapping_count++] = (struct mapping){inode, offset, size, sim->process, false};
    inode_get(inode);
    *ret_address = range->base + offset;
    return 0;
}

static struct mapping *find_mapping(struct sim *sim, const void *address, size_t size)
{
    struct mapping *found = NULL;
    for (size_t i = 0; i < sim->mapping_count; i++) {
        struct mapping *mapping = &sim->mappings[i];
        if (mapping->inode->cache->base + mapping->offset != address || mapping->size != size) continue;
        if (!found || (!mapping->dead && mapping->process == sim->process)) found = mapping;
    }
    return found;
}

static int sim_unmap(void *address, size_t size)
{
    struct sim *sim = current;
    struct mapping *mapping = find_mapping(sim, address, size);
    if (!mapping) return -EINVAL; /* parts of mappings are not given back by anybody here */
    if (mapping->dead) return 0;  /* a dead process's handle is being freed by the test */
    struct inode *inode = mapping->inode;
    *mapping = sim->mappings[--sim->mapping_count];
    if (inode->cache->stored_end) inode_check_bounds(inode);
    inode_put(sim, inode);
    return 0;
}

static int sim_advise(void *address, size_t size, enum rst_map_advice advice)
{
    (void)address, (void)size, (void)advice;
    return 0;
}

/* ---- locks: of the open description ---- */
static int sim_flock(int file)
{
    struct sim *sim = current;
    int result = enter(sim, "flock");
    if (result < 0) return result;
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    struct description **owner = &description->inode->flock_owner;
    if (*owner && *owner != description) return -EWOULDBLOCK;
    *owner = description;
    return 0;
}

static int sim_funlock(int file)
{
    struct sim *sim = current;
    enter_sure(sim, "funlock");
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    if (description->inode->flock_owner == description) description->inode->flock_owner = NULL;
    return 0;
}

static struct byte_lock *find_byte_lock(struct inode *inode, uint64_t offset)
{
    for (size_t i = 0; i < inode->byte_lock_count; i++)
        if (inode->byte_locks[i].offset == offset) return &inode->byte_locks[i];
    return NULL;
}

static int sim_lock_byte(int file, uint64_t offset)
{
    struct sim *sim = current;
    int result = enter(sim, "lock_byte");
    if (result < 0) return result;
    struct description *description = describe(sim, file);
    if (!description || !(description->flags & (RST_OPEN_WRITE | RST_OPEN_TEMPORARY))) return -EBADF;
    struct inode *inode = description->inode;
    struct byte_lock *lock = find_byte_lock(inode, offset);
    if (lock) return lock->owner == description ? 0 : -EWOULDBLOCK;
    inode->byte_locks = grow(inode->byte_locks, &inode->byte_lock_room, inode->byte_lock_count, sizeof *inode->byte_locks);
    inode->byte_locks[inode->byte_lock_count++] = (struct byte_lock){offset, description};
    return 0;
}

static int sim_unlock_byte(int file, uint64_t offset)
{
    struct sim *sim = current;
    enter_sure(sim, "unlock_byte");
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    struct inode *inode = description->inode;
    struct byte_lock *lock = find_byte_lock(inode, offset);
    if (lock && lock->owner == description) *lock = inode->byte_locks[--inode->byte_lock_count];
    return 0;
}

static int sim_probe_byte(int file, uint64_t offset)
{
    struct sim *sim = current;
    sim->now += 500;
    struct description *description = describe(sim, file);
    if (!description) return -EBADF;
    struct byte_lock *lock = find_byte_lock(description->inode, offset);
    return lock && lock->owner != description;
}

/* ---- shared memory: names in /dev/shm ---- */
static const char *shm_name(const char *name) { return name + strspn(name, "/"); }

static int sim_shm_open(const char *name, unsigned flags, uint32_t mode)
{
    struct sim *sim = current;
    int result = flags & RST_OPEN_CREATE ? enter(sim, "shm_open") : enter_quietly(sim, "shm_open");
    if (result < 0) return result;
    if (!*shm_name(name) || strchr(shm_name(name), '/')) return -EINVAL;
    return open_in(sim, sim->shm, shm_name(name), flags & ~(unsigned)(RST_OPEN_DIRECTORY | RST_OPEN_TEMPORARY), mode);
}

static int sim_shm_unlink(const char *name)
{
    struct sim *sim = current;
    int result = enter(sim, "shm_unlink");
    if (result < 0) return result;
    struct entry *entry = entries_find(&sim->shm->entries, shm_name(name));
    if (!entry) return -ENOENT;
    if (sim->uid != 0 && sim->uid != entry->inode->attributes.uid) return -EACCES; /* the sticky bit */
    directory_set(sim, sim->shm, shm_name(name), NULL);
    return 0;
}

static int64_t sim_shm_space(void) { return current->shm_capacity ? (int64_t)current->shm_capacity : (int64_t)1 << 30; }

/* ---- waiting: nobody else runs, unless the test's idle function runs them ---- */
static void let_others_run(struct sim *sim)
{
    if (!sim->idle || sim->in_idle) return;
    int process = sim->process;
    sim->in_idle = true;
    sim->idle(sim->idle_user);
    sim->in_idle = false;
    sim->process = process;
    RST_CHECK(current == sim);
}

static bool any_differs(const struct rst_futex_wait *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rst_load_u32(words[i].word) != words[i].expected) return true; /* one thread: pairs with nothing */
    return false;
}

static int sim_futex_wait_any(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns)
{
    struct sim *sim = current;
    if (count == 0 || count > 128) return -EINVAL;
    sim->now += 1000;
    if (any_differs(words, count)) return 0;
    if (sim_chance(&sim->random_state, sim->interrupt_per_mille)) return -EINTR;
    if (timeout_ns != 0) let_others_run(sim);
    if (any_differs(words, count)) return 0;
    if (timeout_ns < 0) {
        fprintf(stderr, "sim: a wait without end, and nobody to end it\n");
        abort();
    }
    sim->now = timeout_ns > INT64_MAX / 2 ? INT64_MAX / 2 : sim->now + timeout_ns;
    return -ETIMEDOUT;
}

static int sim_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    struct rst_futex_wait wait = {word, expected};
    return sim_futex_wait_any(&wait, 1, timeout_ns);
}

static int sim_futex_wake(const uint32_t *word, uint32_t count)
{
    (void)word, (void)count;
    enter_sure(current, "futex_wake");
    return 0;
}

static int64_t sim_monotonic_time(void) { return current->now += 100; }
static int64_t sim_real_time(void) { return current->now + current->real_offset; }

static void sim_sleep(int64_t ns)
{
    struct sim *sim = current;
    let_others_run(sim);
    if (ns > 0) sim->now += ns;
}

static int sim_random(void *to, size_t size)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)sim_random_u64(&current->random_state);
    return 0;
}

static int sim_boot_id(uint8_t ret_id[16])
{
    memcpy(ret_id, current->boot_id, 16);
    return 0;
}

static uint32_t sim_user_id(void) { return current->uid; }
static int32_t sim_process_id(void) { return 1000 + current->process; }

/* Simulated processes have no threads that could wait beside them. */
static int sim_event_open(void) { return -ENOSYS; }
static int sim_event_use(int file)
{
    (void)file;
    return -ENOSYS;
}

const struct rst_os rst_os_sim = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .fdatasync = sim_fdatasync,
    .copy = sim_copy,
    .fsync = sim_fsync,
    .allocate = sim_allocate,
    .punch = sim_punch,
    .link = sim_link,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .list = sim_list,
    .stat = sim_stat,
    .stat_at = sim_stat_at,
    .chown = sim_chown,
    .chmod = sim_chmod,
    .file_system = sim_file_system,
    .map = sim_map,
    .unmap = sim_unmap,
    .advise = sim_advise,
    .flock = sim_flock,
    .funlock = sim_funlock,
    .lock_byte = sim_lock_byte,
    .unlock_byte = sim_unlock_byte,
    .probe_byte = sim_probe_byte,
    .shm_open = sim_shm_open,
    .shm_unlink = sim_shm_unlink,
    .shm_space = sim_shm_space,
    .futex_wait = sim_futex_wait,
    .futex_wait_any = sim_futex_wait_any,
    .futex_wake = sim_futex_wake,
    .event_open = sim_event_open,
    .event_signal = sim_event_use,
    .event_clear = sim_event_use,
    .real_time = sim_real_time,
    .monotonic_time = sim_monotonic_time,
    .sleep = sim_sleep,
    .random = sim_random,
    .boot_id = sim_boot_id,
    .user_id = sim_user_id,
    .process_id = sim_process_id,
};
