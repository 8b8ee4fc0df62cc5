/* SPDX-License-Identifier: MIT
 * os/os.h: every operation of the system that Roost uses, in one contract (layer 1).
 *
 * All of them go through the table `rst_os`, so that a test can count them, fail them, or crash the machine between any
 * two of them. Two bodies exist: Linux (linux.c) and the simulated disk (tests/sim/, never linked into the library).
 * Results: 0 or a count; negative errno on failure. The raw operations may be cut short or answer -EINTR, as the
 * kernel's do; the helpers at the end (rst_read_all, ...) are what other layers call.
 *
 * What survives (the contract that the simulated disk makes cruel use of):
 *   death of a process   everything written by pwrite or stored through a shared mapping; locks of its descriptors are freed
 *   power loss           bytes covered by a returned fdatasync/fsync of that file; of later bytes any subset of 512-byte
 *                        sectors, old, new or torn; a file's size likewise; directory entries only after fsync of the
 *                        directory (before: any subset); shared memory and locks: nothing */
#ifndef RST_OS_OS_H
#define RST_OS_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rst_open_flags {
    RST_OPEN_READ = 0,
    RST_OPEN_WRITE = 1 << 0,     /* read and write */
    RST_OPEN_CREATE = 1 << 1,    /* create if absent */
    RST_OPEN_EXCLUSIVE = 1 << 2, /* with CREATE: -EEXIST if present */
    RST_OPEN_DIRECTORY = 1 << 3, /* -ENOTDIR unless a directory */
    RST_OPEN_TEMPORARY = 1 << 4, /* `name` is a directory; a nameless file in it (O_TMPFILE) */
};
enum rst_file_kind { RST_FILE_REGULAR = 1, RST_FILE_DIRECTORY, RST_FILE_OTHER };
enum rst_map_flags { RST_MAP_READ = 0, RST_MAP_WRITE = 1 };
enum rst_map_advice { RST_ADVISE_SEQUENTIAL = 1, RST_ADVISE_RANDOM };

struct rst_stat {
    uint64_t device, inode, size;
    uint32_t link_count, uid, gid, mode; /* mode: permission bits only */
    enum rst_file_kind kind;
};
struct rst_futex_wait {
    const uint32_t *word; /* in a shared mapping, readable is enough */
    uint32_t expected;
};
/* Called for each entry but "." and ".."; a non-zero result ends the listing and is returned. */
typedef int (*rst_list_fn)(void *user, const char *name);

struct rst_os {
    /* Files. Descriptors are close-on-exec; a symbolic link as last component is refused (-ELOOP). directory: a
     * descriptor, or -1 for the working directory / absolute paths. */
    int (*open)(int directory, const char *name, unsigned flags, uint32_t mode);
    int (*close)(int file);
    int64_t (*pread)(int file, void *to, size_t size, uint64_t offset);
    int64_t (*pwrite)(int file, const void *from, size_t size, uint64_t offset);
    /* Bytes from one file to the same place in another inside the kernel, sharing them on the disk where that is possible. May copy fewer;
     * 0 at the end of `from`. -EOPNOTSUPP: not between these two (rst_copy_all then reads and writes). */
    int64_t (*copy)(int from, int to, size_t size, uint64_t offset);
    int (*fdatasync)(int file);
    int (*fsync)(int file);                                         /* files and directories */
    int (*allocate)(int file, uint64_t offset, uint64_t size);      /* real space, zeroes; grows (posix_fallocate) */
    int (*punch)(int file, uint64_t offset, uint64_t size);         /* gives space back; reads as zeroes; size kept */
    int (*link)(int file, int directory, const char *name);         /* names an RST_OPEN_TEMPORARY file; -EEXIST */
    int (*rename)(int directory, const char *from, const char *to); /* atomic replacement */
    int (*unlink)(int directory, const char *name);
    int (*mkdir)(int directory, const char *name, uint32_t mode);
    int (*list)(int directory, rst_list_fn found, void *user);
    int (*stat)(int file, struct rst_stat *ret_stat);
    int (*stat_at)(int directory, const char *name, struct rst_stat *ret_stat); /* follows no link */
    int (*chown)(int file, uint32_t uid, uint32_t gid);
    int (*chmod)(int file, uint32_t mode);
    /* "" when the file system keeps Roost's promises; else the name of the refused kind ("nfs", "fuse.sshfs", "9p").
     * name_size includes the NUL. */
    int (*file_system)(int file, char *ret_name, size_t name_size);

    /* Mappings are shared; never inherited by fork, never in a core dump. The range may lie beyond the file's end. */
    int (*map)(int file, uint64_t offset, size_t size, unsigned flags, void **ret_address);
    int (*unmap)(void *address, size_t size);
    int (*advise)(void *address, size_t size, enum rst_map_advice advice);

    /* Locks. flock belongs to the open description; a byte lock (OFD) too. Neither waits: -EWOULDBLOCK. */
    int (*flock)(int file);
    int (*funlock)(int file);
    int (*lock_byte)(int file, uint64_t offset);
    int (*unlock_byte)(int file, uint64_t offset);
    int (*probe_byte)(int file, uint64_t offset); /* 1: held by another description, 0: not held */

    /* Shared memory objects: names as for shm_open; flags CREATE|EXCLUSIVE and WRITE. */
    int (*shm_open)(const char *name, unsigned flags, uint32_t mode);
    int (*shm_unlink)(const char *name);
    int64_t (*shm_space)(void); /* bytes that all of /dev/shm may hold; negative: unknown;
                                * INT64_MAX: no limit */

    /* Futexes, never private. wait: 0 woken or the word differs already, -ETIMEDOUT, -EINTR. timeout_ns < 0: for ever.
     * wait_any: at most 128 words, the same results; falls back to polling where the kernel lacks futex_waitv. */
    int (*futex_wait)(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
    int (*futex_wait_any)(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns);
    int (*futex_wake)(const uint32_t *word, uint32_t count);
    /* A descriptor that is readable from a signal until it is cleared (eventfd). Neither waits. */
    int (*event_open)(void);
    int (*event_signal)(int file);
    int (*event_clear)(int file);

    /* The moment. real_time: ns since 1970, data only; monotonic: ns, for time-outs inside one process only. */
    int64_t (*real_time)(void);
    int64_t (*monotonic_time)(void);
    void (*sleep)(int64_t ns);
    int (*random)(void *to, size_t size);
    int (*boot_id)(uint8_t ret_id[16]); /* changes at every boot of the machine */
    uint32_t (*user_id)(void);          /* effective */
    int32_t (*process_id)(void);        /* for display only (R12) */
};

/* The table in force. Linux unless a test put another in its place before the first open. */
extern const struct rst_os *rst_os;
extern const struct rst_os rst_os_linux;

/* ---- helpers over the table: whole transfers, -EINTR retried, files by name ---- */
/* Reads size bytes; returns the count read, short only at the end of the file; negative errno. */
int64_t rst_read_all(int file, void *to, size_t size, uint64_t offset);
/* Writes all or returns a negative errno (-ENOSPC, -EIO, -EFBIG, -EDQUOT ...); a partial write may have happened. */
int rst_write_all(int file, const void *from, size_t size, uint64_t offset);
/* Copies [offset, offset + size) of a file to the same place in another; short at the end of `from`. Returns the bytes copied. */
int64_t rst_copy_all(int from, int to, uint64_t size, uint64_t offset);
/* Writes `name`.tmp, syncs it, renames it over `name`, syncs the directory: after 0 the new content is durable; after an
 * error or a crash either the old or the new content is there, whole. `name` is one component (-EINVAL with a '/'); mode
 * is exact, past the umask. *ret_renamed (may be NULL): after an error: the new content may be there. */
int rst_replace_file(int directory, const char *name, const void *data, size_t size, uint32_t mode, bool *ret_renamed);
/* Gives a new file its directory's owner (the superuser's files in somebody's root belong to that somebody) and, where the directory is
 * open to others, its permissions. */
int rst_own_like(int file, int directory);
/* Waits at most timeout_ns (< 0: for ever) for *word to differ from expected; -EINTR is not an error here. 0 or
 * -ETIMEDOUT; -EFAULT when the word's page is gone (the file was cut short by somebody). */
int rst_wait_word(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
void rst_wake_all(const uint32_t *word);
/* Starts a thread that blocks all signals: those of the process are its caller's business. */
int rst_thread_start(pthread_t *ret_thread, void *(*run)(void *argument), void *argument);

#endif
