/* SPDX-License-Identifier: MIT
 * region/region.c: create, find, map and check the region (layer 3). */
#include "region/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "os/os.h"
#include "region/latch.h"

enum {
    PAGE = 4096,
    CACHE_LINE = 64,
    SMALL_SHM_SIZE = 64 << 20, /* /dev/shm up to this size: keep the region small (design: under 28 MiB) */
    SMALL_ARENA_SIZE = 8 << 20,
    SMALL_POOL_STEP_COUNT = 32,
    ARENA_FIRST_SIZE = 1 << 20, /* of each arena, real from the beginning: engine/arena.c's first step */
};

void rst_region_name(const struct rst_region_identity *identity, char ret_name[RST_REGION_NAME_SIZE])
{
    if (identity->kind == ROOST_REGION_FILE) {
        snprintf(ret_name, RST_REGION_NAME_SIZE, "region");
        return;
    }
    struct {
        uint8_t uuid[16];
        uint64_t device, inode, uid;
    } key;
    memset(&key, 0, sizeof key);
    memcpy(key.uuid, identity->root_uuid, sizeof key.uuid);
    key.device = identity->device;
    key.inode = identity->inode;
    key.uid = identity->uid;
    uint64_t words[2];
    rst_hash128(&key, sizeof key, words);
    snprintf(ret_name, RST_REGION_NAME_SIZE, "/roost-%016llx%016llx", (unsigned long long)words[0], (unsigned long long)words[1]);
}

static void lay_out(struct rst_region_header *header, const struct rst_region_identity *identity)
{
    bool small = false;
    if (identity->kind == ROOST_REGION_SHM) {
        int64_t space = rst_os->shm_space();
        small = space >= 0 && space <= SMALL_SHM_SIZE;
    }
    header->arena_size = small && identity->arena_size > SMALL_ARENA_SIZE ? SMALL_ARENA_SIZE : identity->arena_size;
    header->pool_step_count = small ? SMALL_POOL_STEP_COUNT : RST_POOL_STEP_COUNT_MAX;
    uint64_t offset = rst_align_up(sizeof *header, PAGE);
    header->participants_offset = offset;
    offset += rst_align_up(RST_SLOT_COUNT * sizeof(struct rst_participant), PAGE);
    header->clients_offset = offset;
    offset += rst_align_up((RST_LIVING_LINE_COUNT + RST_DEAD_LINE_COUNT) * sizeof(struct rst_client_line), PAGE);
    header->changes_offset = offset;
    offset += rst_align_up(RST_CHANGE_COUNT * sizeof(struct rst_change), PAGE);
    header->states_offset = offset; /* from here on: made real when taken */
    offset += rst_align_up(RST_STATE_SLOT_COUNT * sizeof(struct rst_state_slot), PAGE);
    header->lanes_offset = offset;
    offset += (uint64_t)RST_SLOT_COUNT * RST_LANE_SIZE;
    header->pool_offset = offset;
    offset += header->pool_step_count * RST_POOL_STEP_SIZE;
    for (int i = 0; i < 2; i++) {
        header->arena_offset[i] = offset;
        offset += rst_align_up(header->arena_size, PAGE);
    }
    header->total_size = offset;
}

/* header: a private copy, checked. */
static void set_places(struct rst_region *region, const struct rst_region_header *header)
{
    region->places = (struct rst_region_places){
        .states = header->states_offset,
        .lanes = header->lanes_offset,
        .pool = header->pool_offset,
        .arenas = {header->arena_offset[0], header->arena_offset[1]},
        .pool_step_count = header->pool_step_count,
        .arena_size = header->arena_size,
        .log_size = header->log_size,
        .kind = header->region_kind,
    };
    region->header = (struct rst_region_header *)(void *)region->base;
    region->participants = (struct rst_participant *)(void *)(region->base + header->participants_offset);
    region->clients = (struct rst_client_line *)(void *)(region->base + header->clients_offset);
    region->changes = (struct rst_change *)(void *)(region->base + header->changes_offset);
}

/* ---- mapping ---- */

#ifdef RST_TSAN
/* ThreadSanitizer sees addresses, not pages: a race between two mappings of one file goes unnoticed. In its build all handles of
 * a process share one mapping of a region, so that participants can be threads. */
#include <pthread.h> /* tidy-allow: only in ThreadSanitizer's build */

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER; /* tidy-allow: only in ThreadSanitizer's build */
static struct shared_map {
    uint64_t device, inode, size;
    void *base;
    unsigned count;
    bool read_only; /* an observer was first, and its descriptor gives no more */
} shared_maps[64];
static int32_t shared_process; /* a fork's child has the table, but not the mappings */

static int map_region(int file, uint64_t size, bool writable, void **ret_base)
{
    struct rst_stat stat;
    int err = rst_os->stat(file, &stat);
    if (err) return err;
    struct shared_map *free_map = NULL;
    bool found = false;
    err = -ENOMEM;
    pthread_mutex_lock(&shared_lock); /* tidy-allow: as above */
    if (shared_process != rst_os->process_id()) memset(shared_maps, 0, sizeof shared_maps);
    shared_process = rst_os->process_id();
    for (size_t i = 0; i < sizeof shared_maps / sizeof shared_maps[0] && err; i++) {
        struct shared_map *map = &shared_maps[i];
        if (!map->count && !free_map) free_map = map;
        if (!map->count || map->device != stat.device || map->inode != stat.inode || map->size != size) continue;
        if (map->read_only && writable) continue;
        map->count++;
        *ret_base = map->base;
        found = true;
        err = 0;
    }
    bool read_only = false;
    if (err && free_map) err = rst_os->map(file, 0, size, RST_MAP_WRITE, ret_base);
    if (err == -EACCES && !writable) {
        read_only = true;
        err = rst_os->map(file, 0, size, RST_MAP_READ, ret_base);
    }
    if (!err && free_map && !found) *free_map = (struct shared_map){stat.device, stat.inode, size, *ret_base, 1, read_only};
    pthread_mutex_unlock(&shared_lock); /* tidy-allow: as above */
    return err;
}

static void unmap_region(void *base, uint64_t size)
{
    pthread_mutex_lock(&shared_lock); /* tidy-allow: as above */
    for (size_t i = 0; i < sizeof shared_maps / sizeof shared_maps[0]; i++)
        if (shared_maps[i].count && shared_maps[i].base == base && !--shared_maps[i].count) rst_os->unmap(base, size);
    pthread_mutex_unlock(&shared_lock); /* tidy-allow: as above */
}
#else
static int map_region(int file, uint64_t size, bool writable, void **ret_base)
{
    return rst_os->map(file, 0, size, writable ? RST_MAP_WRITE : RST_MAP_READ, ret_base);
}

static void unmap_region(void *base, uint64_t size) { rst_os->unmap(base, size); }
#endif

static int open_object(int root_directory, const struct rst_region_identity *identity, unsigned flags)
{
    char name[RST_REGION_NAME_SIZE];
    rst_region_name(identity, name);
    return identity->kind == ROOST_REGION_FILE ? rst_os->open(root_directory, name, flags, 0600)
                                               : rst_os->shm_open(name, flags, 0600);
}

/* Another user must not be able to plant one; a link to it elsewhere is none of ours. */
static bool object_ours(const struct rst_stat *stat, const struct rst_region_identity *identity)
{
    return stat->kind == RST_FILE_REGULAR && stat->uid == identity->uid && stat->link_count == 1;
}

/* For messages: the name under which it is, or would be. */
static void object_path(const struct rst_region_identity *identity, char ret_path[RST_REGION_NAME_SIZE + 16])
{
    char name[RST_REGION_NAME_SIZE];
    rst_region_name(identity, name);
    snprintf(ret_path, RST_REGION_NAME_SIZE + 16, "%s%s", identity->kind == ROOST_REGION_FILE ? "the root's file " : "/dev/shm",
             name);
}

/* Whoever still has it mapped must learn that it is not the one any more, before its name goes. What is not ours is not written to. */
static void mark_moved(int root_directory, const struct rst_region_identity *identity)
{
    int file = open_object(root_directory, identity, RST_OPEN_WRITE);
    if (file < 0) return;
    struct rst_stat stat;
    void *base = NULL;
    uint64_t magic = 0, size = rst_align_up(sizeof(struct rst_region_header), PAGE);
    if (rst_os->stat(file, &stat) == 0 && object_ours(&stat, identity) && stat.size >= size &&
        rst_read_all(file, &magic, sizeof magic, 0) == (int64_t)sizeof magic && magic == RST_REGION_MAGIC &&
        rst_os->map(file, 0, size, RST_MAP_WRITE, &base) == 0) {
        struct rst_region_header *header = base;
        rst_store_seq_u32(&header->moved.word, 1);
        rst_region_ring(&header->commit.word);
        rst_region_ring(&header->generation.word);
        rst_region_ring(&header->state.word);
        rst_region_ring(&header->doorbell.word);
        rst_region_ring(&header->role_changed.word);
        rst_os->unmap(base, size);
    }
    rst_os->close(file);
}

void rst_region_unlink(int root_directory, const struct rst_region_identity *identity)
{
    char name[RST_REGION_NAME_SIZE];
    rst_region_name(identity, name);
    mark_moved(root_directory, identity);
    if (identity->kind == ROOST_REGION_FILE)
        rst_os->unlink(root_directory, name);
    else
        rst_os->shm_unlink(name);
}

static void fill_header(struct rst_region_header *header, const struct rst_region_identity *identity)
{
    header->magic = RST_REGION_MAGIC;
    header->layout_version = RST_REGION_VERSION;
    header->header_size = sizeof *header;
    memcpy(header->boot_id, identity->boot_id, 16);
    memcpy(header->root_uuid, identity->root_uuid, 16);
    header->device = identity->device;
    header->inode = identity->inode;
    header->nonce = identity->nonce;
    header->uid = identity->uid;
    header->region_kind = identity->kind;
    header->log_size = identity->log_size;
    header->chunk_size = identity->chunk_size;
}

static int create_failed(struct rst_region *region, const struct rst_region_identity *identity, int err, uint64_t size)
{
    if (region->file >= 0) rst_os->close(region->file);
    return rst_fail(err, "the region of %llu bytes cannot be made in %s: %s; %s", (unsigned long long)size,
                    identity->kind == ROOST_REGION_FILE ? "the root" : "/dev/shm", strerror(-err),
                    identity->kind == ROOST_REGION_FILE ? "free some space"
                                                        : "free some space there, or make the root with --region file");
}

int rst_region_create(int root_directory, const struct rst_region_identity *identity, struct rst_region *ret_region)
{
    /* crash: 1 the old one is marked and unlinked: attachers find none and wait for the flock
     *        2 the new one exists, not ready: attachers treat it as absent; the next holder of the flock comes back to 1
     *        3 published by the caller (ready = nonce): whole. Its nonce must also be in the log header to count. */
    rst_region_unlink(root_directory, identity);
    struct rst_region region = {.file = -1, .writable = true};
    struct rst_region_header header;
    memset(&header, 0, sizeof header);
    lay_out(&header, identity);
    region.file = open_object(root_directory, identity, RST_OPEN_WRITE | RST_OPEN_CREATE | RST_OPEN_EXCLUSIVE);
    if (region.file == -EEXIST) {
        char path[RST_REGION_NAME_SIZE + 16];
        object_path(identity, path);
        return rst_fail(ROOST_EACCES, "%s is in the way of this root's region and cannot be removed by this user; remove it%s",
                        path, identity->kind == ROOST_REGION_FILE ? "" : ", or make the root with --region file");
    }
    if (region.file < 0) return create_failed(&region, identity, region.file, header.total_size);
    if (rst_os->user_id() != identity->uid && rst_os->chown(region.file, identity->uid, identity->gid) < 0)
        return create_failed(&region, identity, ROOST_EACCES, header.total_size);
    int err = rst_os->chmod(region.file, identity->mode & 0666);
    if (!err) err = rst_os->allocate(region.file, 0, header.states_offset);
    /* Both arenas: a checkpoint begins the other one after it has renamed MANIFEST, and then nothing may be short any more (R6). */
    uint64_t first = header.arena_size < ARENA_FIRST_SIZE ? rst_align_up(header.arena_size, PAGE) : ARENA_FIRST_SIZE;
    for (int i = 0; !err && i < 2; i++) err = rst_os->allocate(region.file, header.arena_offset[i], first);
    region.size = header.total_size;
    void *base = NULL;
    if (!err) err = map_region(region.file, region.size, true, &base);
    if (err) return create_failed(&region, identity, err, header.total_size);
    region.base = base;
    fill_header(&header, identity);
    memcpy(region.base, &header, sizeof header);
    set_places(&region, &header);
    *ret_region = region;
    return 0;
}

int rst_region_create_private(const struct rst_region_identity *identity, struct rst_region *ret_region)
{
    struct rst_region_identity file = *identity;
    file.kind = ROOST_REGION_FILE; /* of full size, whatever room /dev/shm has */
    struct rst_region region = {.file = -1, .writable = true};
    struct rst_region_header header;
    memset(&header, 0, sizeof header);
    lay_out(&header, &file);
    fill_header(&header, identity);
    region.size = header.total_size;
    region.memory = calloc(1, header.total_size + CACHE_LINE); /* pages that are never touched cost nothing */
    if (!region.memory)
        return rst_fail(ROOST_ENOMEM, "no memory for a view of %llu bytes", (unsigned long long)header.total_size);
    region.base = (uint8_t *)region.memory + (CACHE_LINE - (uintptr_t)region.memory % CACHE_LINE);
    memcpy(region.base, &header, sizeof header);
    set_places(&region, &header);
    *ret_region = region;
    return 0;
}

void rst_region_publish(struct rst_region *region)
{
    rst_store_u64(&region->header->ready, region->header->nonce); /* pairs with the load in check_header */
}

/* Is every offset where a region of this size must have it? */
static bool offsets_right(const struct rst_region_header *header)
{
    struct rst_region_header expected;
    memset(&expected, 0, sizeof expected);
    if (header->pool_step_count > RST_POOL_STEP_COUNT_MAX || header->arena_size > UINT64_C(1) << 31 ||
        header->arena_size < 64 << 10 || header->arena_size % PAGE)
        return false;
    struct rst_region_identity identity = {.kind = ROOST_REGION_FILE, .arena_size = header->arena_size};
    lay_out(&expected, &identity);
    uint64_t less = (RST_POOL_STEP_COUNT_MAX - header->pool_step_count) * RST_POOL_STEP_SIZE;
    return header->participants_offset == expected.participants_offset && header->clients_offset == expected.clients_offset &&
           header->changes_offset == expected.changes_offset && header->states_offset == expected.states_offset &&
           header->lanes_offset == expected.lanes_offset && header->pool_offset == expected.pool_offset &&
           header->arena_offset[0] == expected.arena_offset[0] - less &&
           header->arena_offset[1] == expected.arena_offset[1] - less && header->total_size == expected.total_size - less;
}

static int check_header(const struct rst_region_header *header, const struct rst_region_identity *identity)
{
    if (rst_load_u64(&header->ready) != identity->nonce || !identity->nonce)
        return ROOST_ENOENT; /* pairs with rst_region_publish */
    if (header->magic != RST_REGION_MAGIC) return ROOST_ENOENT;
    if (header->layout_version != RST_REGION_VERSION || header->header_size != sizeof *header)
        return rst_fail(
            ROOST_EVERSION,
            "processes that use region version %u have the root open, this library has version %u; use one version of Roost",
            header->layout_version, (unsigned)RST_REGION_VERSION);
    bool same = header->nonce == identity->nonce && header->device == identity->device && header->inode == identity->inode &&
                memcmp(header->root_uuid, identity->root_uuid, 16) == 0 && memcmp(header->boot_id, identity->boot_id, 16) == 0 &&
                header->uid == identity->uid && header->region_kind == identity->kind;
    return same && offsets_right(header) ? 0 : ROOST_ENOENT;
}

void rst_region_unmark(int root_directory, const struct rst_region_identity *identity)
{
    struct rst_region_header header;
    int file = open_object(root_directory, identity, RST_OPEN_WRITE);
    if (file < 0) return;
    bool marked = rst_read_all(file, &header, sizeof header, 0) == (int64_t)sizeof header && header.moved.word;
    void *base = NULL;
    uint64_t size = rst_align_up(sizeof header, PAGE);
    if (marked && check_header(&header, identity) == 0 && rst_os->map(file, 0, size, RST_MAP_WRITE, &base) == 0) {
        rst_store_seq_u32(&((struct rst_region_header *)base)->moved.word, 0);
        rst_os->unmap(base, size);
    }
    rst_os->close(file);
}

int rst_region_open(int root_directory, const struct rst_region_identity *identity, bool writable, struct rst_region *ret_region)
{
    struct rst_region region = {.file = open_object(root_directory, identity, writable ? RST_OPEN_WRITE : RST_OPEN_READ),
                                .writable = writable};
    if (region.file < 0) {
        if (region.file == -EACCES || region.file == -EPERM) {
            char path[RST_REGION_NAME_SIZE + 16];
            object_path(identity, path);
            return rst_fail(ROOST_EACCES, "the region, %s, may not be %s by this user", path, writable ? "written" : "read");
        }
        return region.file == -EMFILE || region.file == -ENFILE ? rst_fail(ROOST_EMFILE, "too many open files") : ROOST_ENOENT;
    }
    struct rst_stat stat;
    struct rst_region_header header;
    int err = rst_os->stat(region.file, &stat);
    if (!err && (!object_ours(&stat, identity) || (stat.mode & ~identity->mode & 0777))) err = ROOST_ENOENT;
    if (!err && rst_read_all(region.file, &header, sizeof header, 0) != (int64_t)sizeof header) err = ROOST_ENOENT;
    if (!err) err = check_header(&header, identity);
    if (!err && writable && header.moved.word) err = ROOST_ENOENT;
    if (!err && stat.size < header.states_offset) err = ROOST_ENOENT;
    void *base = NULL;
    int map_err = err ? 0 : map_region(region.file, header.total_size, writable, &base);
    if (err || map_err) rst_os->close(region.file);
    if (map_err) {
        char path[RST_REGION_NAME_SIZE + 16];
        object_path(identity, path);
        return rst_fail(map_err, "mapping the region, %s, %llu bytes: %s", path, (unsigned long long)header.total_size,
                        strerror(-map_err));
    }
    if (err) return err;
    region.base = base;
    region.size = header.total_size;
    set_places(&region, &header);
    *ret_region = region;
    return 0;
}

void rst_region_close(struct rst_region *region)
{
    if (region->memory)
        free(region->memory);
    else if (region->base)
        unmap_region(region->base, region->size);
    if (region->file >= 0) rst_os->close(region->file);
    memset(region, 0, sizeof *region);
    region->file = -1;
}

bool rst_region_named(const struct rst_region *region)
{
    struct rst_stat stat;
    return !region->memory && rst_os->stat(region->file, &stat) == 0 && stat.link_count != 0;
}

bool rst_region_current(const struct rst_region *region)
{
    return !rst_load_seq_u32(&region->header->moved.word) && rst_region_named(region);
}

int rst_region_allocate(const struct rst_region *region, uint64_t offset, uint64_t size)
{
    int err = region->memory ? 0 : rst_os->allocate(region->file, offset, size);
    if (!err) return 0;
    bool in_file = region->places.kind == ROOST_REGION_FILE;
    return rst_fail(err, "the region cannot get %llu more bytes in %s: %s; %s", (unsigned long long)size,
                    in_file ? "the root" : "/dev/shm", strerror(-err),
                    in_file ? "free some space" : "free some space there, or make the root with --region file");
}

static struct rst_latch writer_latch(const struct rst_region *region)
{
    struct rst_latch_words_writer *words = &region->header->writer;
    return (struct rst_latch){&words->sequence, words->copies[0], RST_WRITER_WORD_COUNT};
}

static struct rst_latch snapshot_latch(const struct rst_region *region)
{
    struct rst_latch_words_snapshot *words = &region->header->snapshot;
    return (struct rst_latch){&words->sequence, words->copies[0], RST_SNAPSHOT_WORD_COUNT};
}

void rst_region_write_writer(const struct rst_region *region, const struct rst_writer_state *state)
{
    rst_latch_write(writer_latch(region), state, RST_WRITER_WORD_COUNT);
}

bool rst_region_read_writer(const struct rst_region *region, struct rst_writer_state *ret_state)
{
    return rst_latch_read(writer_latch(region), ret_state, RST_WRITER_WORD_COUNT);
}

void rst_region_write_snapshot(const struct rst_region *region, const struct rst_snapshot *snapshot)
{
    rst_latch_write(snapshot_latch(region), snapshot, RST_SNAPSHOT_WORD_COUNT);
}

bool rst_region_read_snapshot(const struct rst_region *region, struct rst_snapshot *ret_snapshot)
{
    return rst_latch_read(snapshot_latch(region), ret_snapshot, RST_SNAPSHOT_WORD_COUNT);
}

void rst_region_repair_latches(const struct rst_region *region)
{
    rst_latch_repair(writer_latch(region));
    rst_latch_repair(snapshot_latch(region));
}

uint8_t *rst_region_arena(const struct rst_region *region, unsigned index)
{
    return region->base + region->places.arenas[index & 1];
}

void rst_region_ring(uint32_t *word)
{
    rst_add_u32(word, 1);
    rst_wake_all(word);
}

int rst_region_broken(const struct rst_region *region)
{
    return (int)rst_load_u32((const uint32_t *)(const void *)&region->header->broken);
}

void rst_region_set_broken(const struct rst_region *region, int err)
{
    rst_store_u32((uint32_t *)(void *)&region->header->broken, (uint32_t)err);
}
