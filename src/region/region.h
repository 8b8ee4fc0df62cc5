/* SPDX-License-Identifier: MIT
 * region/region.h: create, find, map and check the region (layer 3).
 * A region is created, replaced or unlinked only by whoever holds the flock on state.wal (R11). Whoever attaches compares
 * its identity: owner, root uuid, device and inode of state.wal, boot and nonce (R10). */
#ifndef RST_REGION_REGION_H
#define RST_REGION_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "region/layout.h"

/* Where everything lies, taken from the header when it was attached or made: one that somebody damages later leads nobody astray (R15). */
struct rst_region_places {
    uint64_t states, lanes, pool, arenas[2]; /* offsets */
    uint64_t pool_step_count, arena_size, log_size;
    uint32_t kind; /* enum roost_region_kind */
};

struct rst_region {
    int file; /* -1: not attached */
    uint8_t *base;
    uint64_t size; /* mapped */
    void *memory;  /* of a private region: what base lies in */
    bool writable;
    struct rst_region_places places;
    struct rst_region_header *header;
    struct rst_participant *participants;
    struct rst_client_line *clients; /* RST_LIVING_LINE_COUNT, then RST_DEAD_LINE_COUNT */
    struct rst_change *changes;
};

/* Who a region belongs to; the same facts stand in the log header. */
struct rst_region_identity {
    uint8_t root_uuid[16], boot_id[16];
    uint64_t device, inode, nonce;
    uint32_t uid, gid, mode; /* of state.wal */
    uint32_t kind;           /* enum roost_region_kind */
    uint64_t log_size, chunk_size, arena_size;
};

enum { RST_REGION_NAME_SIZE = 64 };
/* "/roost-<32 hex>" for shm, "region" for a file in the root. */
void rst_region_name(const struct rst_region_identity *identity, char ret_name[RST_REGION_NAME_SIZE]);

/* Under the flock: marks what lies under the name as moved, unlinks it, makes a new one, maps it. Not ready yet: the caller fills in
 * and then calls rst_region_publish. ROOST_ENOSPC names the place and the size that was asked for. */
int rst_region_create(int root_directory, const struct rst_region_identity *identity, struct rst_region *ret_region);
void rst_region_publish(struct rst_region *region);
/* A region that nobody else sees, in this process's own memory: an observer's view of a root that nobody has open. */
int rst_region_create_private(const struct rst_region_identity *identity, struct rst_region *ret_region);
/* 0: attached, identity equal, ready, not moved. ROOST_ENOENT: none there, or another nonce, boot or identity, or not ready, or moved (if
 * not writable: moved is right, as all that is in it counts until its name is gone);
 * ROOST_EVERSION: another layout (the detail names both). */
int rst_region_open(int root_directory, const struct rst_region_identity *identity, bool writable, struct rst_region *ret_region);
/* Under the flock: a closer died between marking the region as moved and unlinking it. What is in it is nowhere else (states that were
 * published, submissions), so the mark is taken back. Nothing happens unless it is the region of this identity. */
void rst_region_unmark(int root_directory, const struct rst_region_identity *identity);
void rst_region_close(struct rst_region *region);
void rst_region_unlink(int root_directory, const struct rst_region_identity *identity);
/* Is the mapped region still the one under the name? false: unlinked, marked moved, or private. */
bool rst_region_current(const struct rst_region *region);
/* Has it still a name? A mark alone says little to whoever holds a slot: the closer that marked it sees his lock and takes the
 * mark back, or died, and then the next holder of the flock does (models/region.pml). */
bool rst_region_named(const struct rst_region *region);

/* Makes [offset, offset+size) of the region real memory. ROOST_ENOSPC. */
int rst_region_allocate(const struct rst_region *region, uint64_t offset, uint64_t size);

void rst_region_write_writer(const struct rst_region *region, const struct rst_writer_state *state);
bool rst_region_read_writer(const struct rst_region *region, struct rst_writer_state *ret_state);
void rst_region_write_snapshot(const struct rst_region *region, const struct rst_snapshot *snapshot);
bool rst_region_read_snapshot(const struct rst_region *region, struct rst_snapshot *ret_snapshot);
void rst_region_repair_latches(const struct rst_region *region);

uint8_t *rst_region_arena(const struct rst_region *region, unsigned index);

/* The error that stopped all writing, or 0 (R3, R9). */
int rst_region_broken(const struct rst_region *region);
void rst_region_set_broken(const struct rst_region *region, int err);

/* Bumps a counter and wakes all who sleep on it. Unconditional: no waiter counts, no lost wake-ups. */
void rst_region_ring(uint32_t *word);

/* The role word (R16). */
#define RST_ROLE_HELD (UINT64_C(1) << 63)
static inline uint64_t rst_role_word(uint32_t slot, uint64_t epoch)
{
    return RST_ROLE_HELD | (uint64_t)slot << 48 | (epoch & ((UINT64_C(1) << 48) - 1));
}
static inline bool rst_role_held(uint64_t word) { return word & RST_ROLE_HELD; }
enum { RST_ROLE_NOBODY = 0x7fff }; /* a slot that nobody has: the role is held by nobody who lives, so whoever comes inherits */
static inline uint32_t rst_role_slot(uint64_t word) { return (uint32_t)(word >> 48) & 0x7fff; }

#endif
