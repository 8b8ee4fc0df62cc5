/* SPDX-License-Identifier: MIT
 * sim/sim.h: a machine in memory that keeps os.h's contract and nothing more (tests only, never in the library).
 *
 * One struct sim is a machine: a disk with a page cache, shared memory, locks, a clock, simulated processes. Everything is
 * single-threaded and follows from seeds. A test runs the real code on it, and at any hook makes *another* machine: the
 * one that a power cut or the death of all processes would leave at this instant, on which it runs recovery. Machines nest:
 * within a hook of machine A, sim_use(B), run, sim_use(A).
 *
 * Left out: threads and fork; symbolic links within paths, renames across directories; the reuse of inode numbers; SIGBUS
 * (a store beyond a file's end aborts at the next sync, unmap or crash image, a read there sees zeroes) and the write
 * protection of read-only mappings; the space of an unlinked file that a killed process had mapped stays in use. */
#ifndef RST_TESTS_SIM_H
#define RST_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/os.h"

struct sim;

/* ---- machines ---- */
/* Every file gets a range of `reserve` bytes of address space, its largest size (-EFBIG beyond). 0: 128 MiB. */
struct sim *sim_create(uint64_t seed);
struct sim *sim_create_sized(uint64_t seed, size_t reserve);
void sim_destroy(struct sim *sim); /* NULL is fine; mappings into it dangle from here on */
/* Puts the machine behind rst_os; NULL restores Linux. */
void sim_use(struct sim *sim);
struct sim *sim_current(void);
/* The table itself, for tests that wrap it. */
extern const struct rst_os rst_os_sim;

/* ---- what a disaster leaves: always a new machine, the old one is not changed; the same seed gives the same image ---- */
struct sim *sim_power_loss(const struct sim *sim, uint64_t seed);
/* Every process dies; same boot: page cache and shared memory stay, locks and descriptors do not. */
struct sim *sim_process_loss(const struct sim *sim);
/* How the last power loss chose ("all old", "one hole", ...), for a failing test's message. */
const char *sim_strategy(const struct sim *sim);

/* ---- processes: 0 exists from the start ---- */
int sim_process_create(struct sim *sim);
int sim_process_use(struct sim *sim, int process); /* what is opened or locked from here on is its; returns the one before */
int sim_process_current(const struct sim *sim);
/* Closes its descriptors and frees their locks. What it stored stays; its mappings stay readable until sim_destroy. */
void sim_process_kill(struct sim *sim, int process);

/* ---- hooks ----
 * Called before every operation that changes or orders something (close, funlock, unlock_byte and futex_wake too, with
 * the number of the operation before them, as they cannot fail), and after fdatasync and fsync (`name` then ends in
 * " done", the number is the same). Not called for operations that a hook itself makes. A hook may longjmp away: nothing
 * of its operation has happened then; call sim_set_hook again before going on with that machine. */
typedef void (*sim_hook_fn)(void *user, uint64_t operation, const char *name);
void sim_set_hook(struct sim *sim, sim_hook_fn hook, void *user);
/* Called when the running code waits on a futex or sleeps: the moment for other processes of the machine to run. */
typedef void (*sim_idle_fn)(void *user);
void sim_set_idle(struct sim *sim, sim_idle_fn idle, void *user);
/* Operations that may fail are numbered from 1, reads too (they have no hook). */
uint64_t sim_operation_count(const struct sim *sim);
void sim_reset_operation_count(struct sim *sim);

/* ---- faults ---- */
/* Operation `number` (as counted above) answers -error and does nothing; persistent: all later ones too. 0: no more. */
void sim_fail_at(struct sim *sim, uint64_t number, int error, bool persistent);
/* Only operations of that name ("pwrite", "fdatasync", ...): the nth of them from now (1: the next). */
void sim_fail_named(struct sim *sim, const char *name, uint64_t nth, int error, bool persistent);
uint64_t sim_failure_count(const struct sim *sim); /* faults that fired */
/* What a failed fdatasync/fsync does to the pages that were to be written (reliability.md 2.5). Some of them reach the
 * disk, some do not, and: */
enum sim_sync_failure {
    SIM_SYNC_KEEPS_DIRTY, /* kind: nothing happens, the next sync tries again */
    SIM_SYNC_EXT4,        /* marked clean, cache keeps the new bytes; the next sync of that file says -EIO, then OK */
    SIM_SYNC_XFS,         /* the same, but the next sync says OK at once */
    SIM_SYNC_BTRFS,       /* the cache goes back to the old bytes; the next sync says OK */
};
void sim_set_sync_failure(struct sim *sim, enum sim_sync_failure flavour);
/* In so many of 1000 calls: pread/pwrite cut short; pread/pwrite/futex waits answer -EINTR. */
void sim_set_noise(struct sim *sim, unsigned short_per_mille, unsigned interrupt_per_mille);
/* Bytes that all files (that /dev/shm) may hold, in 4 KiB pages; -ENOSPC beyond. 0: no limit. */
void sim_set_capacity(struct sim *sim, uint64_t capacity);
void sim_set_shm_capacity(struct sim *sim, uint64_t capacity);
uint64_t sim_used(const struct sim *sim); /* bytes of disk in use */

/* ---- surroundings ---- */
void sim_set_user(struct sim *sim, uint32_t uid);
void sim_set_umask(struct sim *sim, uint32_t mask);
void sim_set_file_system(struct sim *sim, const char *refused_name); /* "" again: fine */
void sim_set_real_time(struct sim *sim, int64_t ns);
void sim_advance(struct sim *sim, int64_t ns);

/* ---- looking and meddling; paths from "/" ; 0, a count or a negative errno ---- */
int64_t sim_file_size(const struct sim *sim, const char *path);
int64_t sim_read_file(const struct sim *sim, const char *path, void *to, size_t size, uint64_t offset);
/* Puts bytes under everybody's feet: in cache and on disk. */
int sim_corrupt(struct sim *sim, const char *path, uint64_t offset, const void *bytes, size_t size);
/* Cuts or extends a file, durably (a foreign program's doing). */
int sim_truncate(struct sim *sim, const char *path, uint64_t size);
/* cp -r: new inodes, durable at once. */
int sim_copy_tree(struct sim *sim, const char *from, const char *to);
int sim_symlink(struct sim *sim, const char *path);
/* Everything written so far is durable (sync(1)). */
void sim_sync_all(struct sim *sim);

#endif
