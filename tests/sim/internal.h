/* SPDX-License-Identifier: MIT
 * sim/internal.h: the parts of a simulated machine, shared by the files beside it only.
 * range.c: memory that files live in; disk.c: inodes, directories, syncs; crash.c: the images; sim.c: machine and table. */
#ifndef RST_TESTS_SIM_INTERNAL_H
#define RST_TESTS_SIM_INTERNAL_H

#include "base/check.h"
#include "sim/sim.h"

enum { SECTOR_SIZE = 512, PAGE_SIZE = 4096, SECTORS_PER_PAGE = PAGE_SIZE / SECTOR_SIZE, NAME_SIZE = 256 };

/* ---- bits that grow ---- */
struct bits {
    uint64_t *words;
    size_t word_count, room; /* bits beyond word_count are 0 */
};
void bits_free(struct bits *bits);
void bits_clear(struct bits *bits); /* keeps the room */
void bits_set(struct bits *bits, size_t bit);
void bits_unset(struct bits *bits, size_t bit);
bool bits_get(const struct bits *bits, size_t bit);
void bits_copy(struct bits *to, const struct bits *from);
/* The first set bit at or after `bit`; SIZE_MAX: none. */
size_t bits_next(const struct bits *bits, size_t bit);

/* ---- ranges: address space that never moves, from a pool; all zero when taken ---- */
struct range {
    uint8_t *base;
    size_t reserve;
    uint32_t references;
    struct bits touched; /* 4 KiB pages that may hold something else than zeroes */
    size_t stored_end;   /* stores through mappings, which nobody counts, may have happened below */
    struct range *next;
};
struct range *range_take(size_t reserve);
void range_put(struct range *range); /* one reference less; the last one zeroes it back into the pool */
void range_write(struct range *range, size_t offset, const void *from, size_t size);
void range_zero(struct range *range, size_t offset, size_t size);
/* Finds the pages from `first_page` on that mappings touched, by asking the kernel which are resident. */
void range_refresh(struct range *range, size_t first_page);
struct range *range_copy(struct range *from, size_t size);

/* ---- the disk ---- */
struct attributes {
    uint32_t mode, uid, gid;
};
struct entry {
    char name[NAME_SIZE];
    struct inode *inode;
};
struct entries {
    struct entry *items;
    size_t count, room;
};
/* A change of a directory that no fsync has made durable. A rename is one change of two names. */
struct change {
    char name[NAME_SIZE];
    struct inode *inode;        /* NULL: the name goes away */
    char other_name[NAME_SIZE]; /* of a rename: the name that goes away at the same time; else "" */
};
struct byte_lock {
    uint64_t offset;
    struct description *owner;
};
struct inode {
    size_t slot; /* in sim->inodes */
    uint64_t number;
    enum rst_file_kind kind;
    uint32_t references, link_count;
    bool nameless;    /* made without a name, and never had one: may be linked */
    bool is_volatile; /* in /dev/shm: no durable half */
    struct attributes attributes, durable_attributes;
    /* regular */
    struct range *cache, *durable;
    uint64_t size, durable_size;
    struct bits dirty;     /* sectors */
    struct bits allocated; /* pages that take space */
    bool stored;           /* was mapped for writing: dirty is found by comparing */
    bool lost;             /* a failed sync left clean pages that are not on the disk */
    int late_error;        /* what the next sync answers */
    /* directory */
    struct inode *parent; /* not counted */
    struct entries entries, durable_entries;
    struct change *changes;
    size_t change_count, change_room;
    /* locks */
    struct description *flock_owner;
    struct byte_lock *byte_locks;
    size_t byte_lock_count, byte_lock_room;
};
struct description {
    struct inode *inode;
    int process;
    unsigned flags;
};
struct mapping {
    struct inode *inode;
    uint64_t offset, size;
    int process;
    bool dead;
};
struct sim {
    unsigned serial; /* part of every descriptor, so that one of another machine is noticed */
    uint64_t random_state;
    size_t reserve;
    uint8_t boot_id[16];
    struct inode **inodes; /* NULL: free slot */
    size_t inode_count, inode_room;
    uint64_t next_inode_number;
    struct inode *root, *shm;
    struct description **descriptions;
    size_t description_room, next_description;
    struct mapping *mappings;
    size_t mapping_count, mapping_room;
    int process, process_count;
    sim_hook_fn hook;
    void *hook_user;
    bool in_hook;
    sim_idle_fn idle;
    void *idle_user;
    bool in_idle;
    uint64_t operation, failure_count;
    uint64_t fail_number, fail_nth;
    char fail_name[32];
    int fail_error;
    bool fail_persistent;
    enum sim_sync_failure sync_failure;
    unsigned short_per_mille, interrupt_per_mille;
    uint64_t capacity, used, shm_capacity, shm_used;
    uint32_t uid, umask;
    char file_system[64];
    int64_t now, real_offset;
    const char *strategy;
    /* the sector that pwrite touched last: where a cut most likely tears */
    size_t last_slot, last_sector;
    bool has_last;
};

uint64_t sim_random_u64(uint64_t *state);
uint64_t sim_random_below(uint64_t *state, uint64_t limit);
bool sim_chance(uint64_t *state, unsigned per_mille);
/* A machine without any file; the caller gives it a root. */
struct sim *sim_blank(uint64_t seed, size_t reserve);

struct inode *inode_create(struct sim *sim, enum rst_file_kind kind, uint32_t mode, bool is_volatile);
void inode_get(struct inode *inode);
void inode_put(struct sim *sim, struct inode *inode);
int64_t inode_write(struct sim *sim, struct inode *inode, const void *from, size_t size, uint64_t offset);
int inode_allocate(struct sim *sim, struct inode *inode, uint64_t offset, uint64_t size);
void inode_punch(struct sim *sim, struct inode *inode, uint64_t offset, uint64_t size);
/* Marks what was stored through mappings and differs from the disk. */
void inode_find_dirty(struct inode *inode);
void inode_check_bounds(struct inode *inode);
void inode_sync(struct inode *inode, bool attributes_too);
void inode_fail_sync(struct sim *sim, struct inode *inode);
void inode_unshare_durable(struct inode *inode);
void inode_durable_write(struct inode *inode, uint64_t offset, const void *from, size_t size);

struct entry *entries_find(const struct entries *entries, const char *name);
/* inode NULL: remove. sim NULL: a list that counts no references. */
void entries_set(struct sim *sim, struct entries *entries, const char *name, struct inode *inode);
void directory_set(struct sim *sim, struct inode *directory, const char *name, struct inode *inode);
void directory_rename(struct sim *sim, struct inode *directory, const char *from, const char *to);
void directory_apply(struct entries *entries, const struct change *change); /* counts no references */
void directory_sync(struct sim *sim, struct inode *directory);
/* Walks to the last component: its directory and its name. */
int path_parent(const struct sim *sim, struct inode *start, const char *path, struct inode **ret_directory,
                char ret_name[NAME_SIZE]);
int path_find(const struct sim *sim, struct inode *start, const char *path, struct inode **ret_inode);

void *grow(void *items, size_t *room, size_t count, size_t item_size);

#endif
