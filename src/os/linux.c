/* SPDX-License-Identifier: MIT
 * os/linux.c: the Linux bodies of the operations in os.h: files, mappings, locks, shared memory (layer 1).
 *
 * Thin on purpose: one system call each, plus what keeps the host process alive and its children clean. No retries and
 * no policy; these are in helpers.c and above. Naming file systems is in linux_fs.c, futexes and clocks in linux_futex.c.
 * SIGPIPE cannot arise: Roost writes to regular files only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "os/linux.h"

static int result_of(int result) { return result < 0 ? -errno : result; }
static int at(int directory) { return directory < 0 ? AT_FDCWD : directory; }

/* ---- SIGXFSZ: a write past RLIMIT_FSIZE must be an error, not the death of the host (reliability.md 2.3) ---- */
struct guard {
    sigset_t old_mask;
    bool was_pending; /* the host's own, not ours to consume */
};

static void size_signal(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGXFSZ);
}

static void guard_enter(struct guard *guard)
{
    sigset_t set, pending;
    size_signal(&set);
    guard->was_pending = false;
    pthread_sigmask(SIG_BLOCK, &set, &guard->old_mask);
    /* Only a host that blocks the signal itself can have one waiting. */
    if (sigismember(&guard->old_mask, SIGXFSZ) && sigpending(&pending) == 0) guard->was_pending = sigismember(&pending, SIGXFSZ);
}

/* The kernel sends the signal to the thread that wrote, so it waits here and nowhere else. Keeps errno. */
static void guard_leave(const struct guard *guard, bool failed)
{
    int saved = errno;
    if (failed && saved == EFBIG && !guard->was_pending) {
        sigset_t set;
        size_signal(&set);
        struct timespec now = {0, 0};
        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &guard->old_mask, NULL);
    errno = saved;
}

/* ---- files ---- */
static int open_flags(unsigned flags)
{
    /* O_NONBLOCK: a FIFO planted under our name must not hang the open; regular files do not care. */
    int result = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    result |= flags & RST_OPEN_WRITE ? O_RDWR : O_RDONLY;
    if (flags & RST_OPEN_CREATE) result |= O_CREAT;
    if (flags & RST_OPEN_EXCLUSIVE) result |= O_EXCL;
    if (flags & RST_OPEN_DIRECTORY) result |= O_DIRECTORY;
    if (flags & RST_OPEN_TEMPORARY) result = (result & ~O_ACCMODE) | O_TMPFILE | O_RDWR;
    return result;
}

static int linux_open(int directory, const char *name, unsigned flags, uint32_t mode)
{
    int how = open_flags(flags);
    int file = openat(at(directory), name, how, (mode_t)mode);
    /* Somebody holds a lease (a Samba server): without O_NONBLOCK the kernel waits until it is broken. */
    if (file < 0 && errno == EWOULDBLOCK) file = openat(at(directory), name, how & ~O_NONBLOCK, (mode_t)mode);
    if (file >= 0) return file;
    int err = errno;
    /* With O_DIRECTORY the kernel calls a link "not a directory"; the contract says -ELOOP for every link. */
    struct stat status;
    if (err == ENOTDIR && fstatat(at(directory), name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) err = ELOOP;
    return -err;
}

/* Linux frees the descriptor whatever close says, so -EINTR is not to be retried. */
static int linux_close(int file) { return result_of(close(file)); }

static int64_t linux_pread(int file, void *to, size_t size, uint64_t offset)
{
    if (offset > INT64_MAX) return -EINVAL;
    ssize_t count = pread(file, to, size, (off_t)offset);
    return count < 0 ? -errno : count;
}

static int64_t linux_pwrite(int file, const void *from, size_t size, uint64_t offset)
{
    if (offset > INT64_MAX) return -EFBIG;
    struct guard guard;
    guard_enter(&guard);
    ssize_t count = pwrite(file, from, size, (off_t)offset);
    guard_leave(&guard, count < 0);
    return count < 0 ? -errno : count;
}

static int64_t linux_copy(int from, int to, size_t size, uint64_t offset)
{
    if (offset > INT64_MAX) return -EFBIG;
    off_t from_offset = (off_t)offset, to_offset = (off_t)offset;
    struct guard guard;
    guard_enter(&guard);
    ssize_t count = copy_file_range(from, &from_offset, to, &to_offset, size, 0);
    int err = count < 0 ? errno : 0;
    guard_leave(&guard, count < 0);
    bool unable = err == EXDEV || err == ENOSYS || err == EINVAL || err == EPERM || err == EBADF || err == EOPNOTSUPP;
    return unable ? -EOPNOTSUPP : err ? -err : count;
}

static int linux_fdatasync(int file) { return result_of(fdatasync(file)); }
static int linux_fsync(int file) { return result_of(fsync(file)); }

static int write_zeros(int file, off_t offset, off_t end)
{
    static const char zeros[64 * 1024];
    while (offset < end) {
        size_t size = end - offset < (off_t)sizeof zeros ? (size_t)(end - offset) : sizeof zeros;
        int64_t count = linux_pwrite(file, zeros, size, (uint64_t)offset);
        if (count < 0 && count != -EINTR) return (int)count;
        if (count > 0) offset += count;
    }
    return 0;
}

/* For file systems without fallocate: zeroes into holes and beyond the end. Bytes that are there stay as they are. */
static int allocate_by_writing(int file, off_t offset, off_t end)
{
    struct stat status;
    if (fstat(file, &status) != 0) return -errno;
    while (offset < end && offset < status.st_size) {
        off_t hole = lseek(file, offset, SEEK_HOLE);
        if (hole < 0 || hole >= status.st_size) hole = status.st_size;
        if (hole >= end) return 0;
        off_t data = hole < status.st_size ? lseek(file, hole, SEEK_DATA) : -1;
        if (data < 0) data = end > status.st_size ? end : status.st_size; /* nothing but hole up to the end */
        if (hole > offset) offset = hole;
        off_t stop = data < end ? data : end;
        int result = write_zeros(file, offset, stop);
        if (result < 0) return result;
        offset = stop;
    }
    return write_zeros(file, offset, end);
}

static int linux_allocate(int file, uint64_t offset, uint64_t size)
{
    if (size == 0) return -EINVAL;
    if (offset > INT64_MAX || size > INT64_MAX - offset) return -EFBIG;
    struct guard guard;
    int result;
    do { /* tmpfs gives up at any signal, and nothing was done then */
        guard_enter(&guard);
        result = result_of(fallocate(file, 0, (off_t)offset, (off_t)size));
        guard_leave(&guard, result < 0);
    } while (result == -EINTR);
    if (result != -EOPNOTSUPP) return result;
    return allocate_by_writing(file, (off_t)offset, (off_t)(offset + size));
}

static int linux_punch(int file, uint64_t offset, uint64_t size)
{
    if (offset > INT64_MAX || size > INT64_MAX - offset) return -EFBIG;
    return result_of(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size));
}

static int linux_link(int file, int directory, const char *name)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int result = result_of(linkat(AT_FDCWD, path, at(directory), name, AT_SYMLINK_FOLLOW));
    /* No /proc here: the direct way needs CAP_DAC_READ_SEARCH before Linux 6.10, so it comes second. */
    if (result == -ENOENT && result_of(linkat(file, "", at(directory), name, AT_EMPTY_PATH)) == 0) result = 0;
    return result;
}

static int linux_rename(int directory, const char *from, const char *to)
{
    return result_of(renameat(at(directory), from, at(directory), to));
}

static int linux_unlink(int directory, const char *name) { return result_of(unlinkat(at(directory), name, 0)); }

static int linux_mkdir(int directory, const char *name, uint32_t mode)
{
    return result_of(mkdirat(at(directory), name, (mode_t)mode));
}

static int linux_list(int directory, rst_list_fn found, void *user)
{
    /* An own description: readdir moves the position, and the caller's may be shared. */
    int own = openat(at(directory), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0) return -errno;
    DIR *stream = fdopendir(own);
    if (!stream) {
        int err = errno;
        close(own);
        return -err;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) result = found(user, entry->d_name);
    }
    closedir(stream);
    return result;
}

static void convert_stat(const struct stat *from, struct rst_stat *to)
{
    to->device = from->st_dev;
    to->inode = from->st_ino;
    to->size = (uint64_t)from->st_size;
    to->link_count = (uint32_t)from->st_nlink;
    to->uid = from->st_uid;
    to->gid = from->st_gid;
    to->mode = from->st_mode & 07777;
    to->kind = S_ISREG(from->st_mode) ? RST_FILE_REGULAR : S_ISDIR(from->st_mode) ? RST_FILE_DIRECTORY : RST_FILE_OTHER;
}

static int linux_stat(int file, struct rst_stat *ret_stat)
{
    struct stat status;
    if (fstat(file, &status) != 0) return -errno;
    convert_stat(&status, ret_stat);
    return 0;
}

static int linux_stat_at(int directory, const char *name, struct rst_stat *ret_stat)
{
    struct stat status;
    if (fstatat(at(directory), name, &status, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    convert_stat(&status, ret_stat);
    return 0;
}

static int linux_chown(int file, uint32_t uid, uint32_t gid) { return result_of(fchown(file, uid, gid)); }
static int linux_chmod(int file, uint32_t mode) { return result_of(fchmod(file, (mode_t)mode)); }

/* ---- mappings ---- */
static int linux_map(int file, uint64_t offset, size_t size, unsigned flags, void **ret_address)
{
    if (offset > INT64_MAX) return -EINVAL;
    int protection = flags & RST_MAP_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    void *address = mmap(NULL, size, protection, MAP_SHARED, file, (off_t)offset);
    if (address == MAP_FAILED) return -errno;
    /* A child that kept the mapping would go on publishing under its parent's locks. */
    if (madvise(address, size, MADV_DONTFORK) != 0) {
        int err = errno;
        munmap(address, size);
        return -err;
    }
    madvise(address, size, MADV_DONTDUMP); /* a courtesy: memories do not belong in core files */
    *ret_address = address;
    return 0;
}

static int linux_unmap(void *address, size_t size) { return result_of(munmap(address, size)); }

static int linux_advise(void *address, size_t size, enum rst_map_advice advice)
{
    return result_of(madvise(address, size, advice == RST_ADVISE_RANDOM ? MADV_RANDOM : MADV_SEQUENTIAL));
}

/* ---- locks ---- */
static int linux_flock(int file) { return result_of(flock(file, LOCK_EX | LOCK_NB)); }
static int linux_funlock(int file) { return result_of(flock(file, LOCK_UN)); }

static int byte_lock(int file, uint64_t offset, int command, struct flock *lock)
{
    if (offset > INT64_MAX) return -EINVAL;
    lock->l_whence = SEEK_SET;
    lock->l_start = (off_t)offset;
    lock->l_len = 1;
    lock->l_pid = 0; /* anything else is EINVAL for these locks */
    int result = result_of(fcntl(file, command, lock));
    return result == -EACCES ? -EWOULDBLOCK : result;
}

static int linux_lock_byte(int file, uint64_t offset)
{
    struct flock lock = {.l_type = F_WRLCK};
    return byte_lock(file, offset, F_OFD_SETLK, &lock);
}

static int linux_unlock_byte(int file, uint64_t offset)
{
    struct flock lock = {.l_type = F_UNLCK};
    return byte_lock(file, offset, F_OFD_SETLK, &lock);
}

static int linux_probe_byte(int file, uint64_t offset)
{
    struct flock lock = {.l_type = F_WRLCK};
    int result = byte_lock(file, offset, F_OFD_GETLK, &lock);
    return result < 0 ? result : lock.l_type != F_UNLCK;
}

/* ---- shared memory ---- */
static int linux_shm_open(const char *name, unsigned flags, uint32_t mode)
{
    int how = (flags & RST_OPEN_WRITE ? O_RDWR : O_RDONLY) | O_NONBLOCK; /* a planted FIFO must not hang us */
    if (flags & RST_OPEN_CREATE) how |= O_CREAT;
    if (flags & RST_OPEN_EXCLUSIVE) how |= O_EXCL;
    return result_of(shm_open(name, how, (mode_t)mode)); /* the C library adds O_CLOEXEC | O_NOFOLLOW */
}

static int linux_shm_unlink(const char *name) { return result_of(shm_unlink(name)); }

static int64_t linux_shm_space(void)
{
    struct statvfs status;
    if (statvfs("/dev/shm", &status) != 0) return -errno;
    uint64_t blocks = status.f_blocks, block_size = status.f_frsize;
    if (blocks == 0 || blocks > INT64_MAX / (block_size ? block_size : 1)) return INT64_MAX; /* tmpfs with size=0: no limit */
    return (int64_t)(blocks * block_size);
}

/* ---- the moment ---- */
static int64_t linux_real_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int linux_random(void *to, size_t size)
{
    for (size_t have = 0; have < size;) {
        ssize_t count = getrandom((char *)to + have, size - have, 0);
        if (count < 0 && errno != EINTR) return -errno;
        if (count > 0) have += (size_t)count;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static int linux_boot_id(uint8_t ret_id[16])
{
    char text[64];
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t size = read(file, text, sizeof text);
    int err = errno;
    close(file);
    if (size < 0) return -err;
    uint8_t id[16];
    unsigned digits = 0;
    for (ssize_t i = 0; i < size && digits < 32; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0) continue; /* the dashes */
        id[digits / 2] = (uint8_t)(digits % 2 ? id[digits / 2] << 4 | digit : digit);
        digits++;
    }
    if (digits != 32) return -EIO;
    memcpy(ret_id, id, sizeof id);
    return 0;
}

static uint32_t linux_user_id(void) { return geteuid(); }
static int32_t linux_process_id(void) { return getpid(); }

const struct rst_os rst_os_linux = {
    .open = linux_open,
    .close = linux_close,
    .pread = linux_pread,
    .pwrite = linux_pwrite,
    .copy = linux_copy,
    .fdatasync = linux_fdatasync,
    .fsync = linux_fsync,
    .allocate = linux_allocate,
    .punch = linux_punch,
    .link = linux_link,
    .rename = linux_rename,
    .unlink = linux_unlink,
    .mkdir = linux_mkdir,
    .list = linux_list,
    .stat = linux_stat,
    .stat_at = linux_stat_at,
    .chown = linux_chown,
    .chmod = linux_chmod,
    .file_system = rst_linux_file_system,
    .map = linux_map,
    .unmap = linux_unmap,
    .advise = linux_advise,
    .flock = linux_flock,
    .funlock = linux_funlock,
    .lock_byte = linux_lock_byte,
    .unlock_byte = linux_unlock_byte,
    .probe_byte = linux_probe_byte,
    .shm_open = linux_shm_open,
    .shm_unlink = linux_shm_unlink,
    .shm_space = linux_shm_space,
    .futex_wait = rst_linux_futex_wait,
    .futex_wait_any = rst_linux_futex_wait_any,
    .futex_wake = rst_linux_futex_wake,
    .event_open = rst_linux_event_open,
    .event_signal = rst_linux_event_signal,
    .event_clear = rst_linux_event_clear,
    .real_time = linux_real_time,
    .monotonic_time = rst_linux_monotonic_time,
    .sleep = rst_linux_sleep,
    .random = linux_random,
    .boot_id = linux_boot_id,
    .user_id = linux_user_id,
    .process_id = linux_process_id,
};
