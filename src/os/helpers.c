/* SPDX-License-Identifier: MIT
 * os/helpers.c: what other layers call instead of the raw operations (layer 1): whole transfers, files replaced by name,
 * waits that survive signals. Everything goes through the table, so the simulated disk sees each step. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "os/os.h"

const struct rst_os *rst_os = &rst_os_linux;

int64_t rst_read_all(int file, void *to, size_t size, uint64_t offset)
{
    size_t have = 0;
    while (have < size) {
        int64_t count = rst_os->pread(file, (char *)to + have, size - have, offset + have);
        if (count == -EINTR) continue;
        if (count < 0) return count;
        if (count == 0) break; /* the end of the file */
        have += (size_t)count;
    }
    return (int64_t)have;
}

int rst_write_all(int file, const void *from, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        int64_t count = rst_os->pwrite(file, (const char *)from + done, size - done, offset + done);
        if (count == -EINTR) continue;
        if (count < 0) return (int)count;
        if (count == 0) return -EIO; /* not an answer that POSIX allows; never spin on it */
        done += (size_t)count;
    }
    return 0;
}

int64_t rst_copy_all(int from, int to, uint64_t size, uint64_t offset)
{
    enum { STEP = 1 << 20 };
    static const size_t kernel_step = (size_t)256 << 20;
    uint64_t done = 0;
    int64_t count = 1;
    while (done < size && count > 0) {
        uint64_t rest = size - done;
        count = rst_os->copy(from, to, rest < kernel_step ? (size_t)rest : kernel_step, offset + done);
        if (count > 0) done += (uint64_t)count;
        if (count == -EINTR) count = 1;
    }
    if (count != -EOPNOTSUPP) return count < 0 ? count : (int64_t)done;
    char *bytes = malloc(STEP);
    if (!bytes) return -ENOMEM;
    for (count = STEP; done < size && count > 0;) {
        count = rst_read_all(from, bytes, size - done < STEP ? (size_t)(size - done) : STEP, offset + done);
        int err = count > 0 ? rst_write_all(to, bytes, (size_t)count, offset + done) : 0;
        if (err) count = err;
        if (count > 0) done += (uint64_t)count;
    }
    free(bytes);
    return count < 0 ? count : (int64_t)done;
}

int rst_own_like(int file, int directory)
{
    struct rst_stat stat;
    int err = rst_os->stat(directory, &stat);
    if (!err && rst_os->user_id() == 0 && stat.uid != 0) err = rst_os->chown(file, stat.uid, stat.gid);
    /* Files are born private; a folder that others may read was opened to them on purpose. */
    return err || !(stat.mode & 0066) ? err : rst_os->chmod(file, stat.mode & 0666);
}

/* The new content under its temporary name, synced. The temporary file is left behind on failure. */
static int write_temporary(int directory, const char *name, const void *data, size_t size, uint32_t mode)
{
    int result = rst_os->unlink(directory, name); /* what a crash left */
    if (result < 0 && result != -ENOENT) return result;
    int file = rst_os->open(directory, name, RST_OPEN_WRITE | RST_OPEN_CREATE | RST_OPEN_EXCLUSIVE, mode);
    if (file < 0) return file;
    result = rst_os->chmod(file, mode); /* past the umask */
    if (result == 0) result = rst_write_all(file, data, size, 0);
    if (result == 0) result = rst_os->fsync(file);
    int closed = rst_os->close(file);
    return result == 0 && closed != -EINTR ? closed : result;
}

static int sync_directory(int directory)
{
    if (directory >= 0) return rst_os->fsync(directory);
    int here = rst_os->open(-1, ".", RST_OPEN_DIRECTORY, 0);
    if (here < 0) return here;
    int result = rst_os->fsync(here);
    rst_os->close(here);
    return result;
}

/* crash: 1. before the rename: the old file, perhaps name.tmp of any content: the next call removes it.
 *        2. after the rename, before the directory's sync: old or new, each whole, as the new one was synced first.
 *        3. after: the new one. */
int rst_replace_file(int directory, const char *name, const void *data, size_t size, uint32_t mode, bool *ret_renamed)
{
    if (ret_renamed) *ret_renamed = false;
    char temporary[NAME_MAX + 1];
    if (strchr(name, '/')) return -EINVAL; /* the directory to sync would be another one */
    int length = snprintf(temporary, sizeof temporary, "%s.tmp", name);
    if (length < 0 || (size_t)length >= sizeof temporary) return -ENAMETOOLONG;
    int result = write_temporary(directory, temporary, data, size, mode);
    if (result == 0) result = rst_os->rename(directory, temporary, name);
    if (result < 0) {
        rst_os->unlink(directory, temporary); /* best effort: the first error is the one to tell */
        return result;
    }
    if (ret_renamed) *ret_renamed = true;
    return sync_directory(directory);
}

int rst_wait_word(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    int64_t start = rst_os->monotonic_time();
    int64_t left = timeout_ns;
    /* acquire, pairs with the store of whoever changed the word and then wakes */
    while (rst_load_u32(word) == expected) {
        int result = rst_os->futex_wait(word, expected, left);
        if (result == -ETIMEDOUT) return rst_load_u32(word) == expected ? -ETIMEDOUT : 0;
        if (result < 0 && result != -EINTR) return result;
        if (timeout_ns < 0) continue;
        left = timeout_ns - (rst_os->monotonic_time() - start);
        if (left < 0) left = 0;
    }
    return 0;
}

/* A failed wake means that nobody can be waiting there (the page is gone), which is no error of the caller's. */
void rst_wake_all(const uint32_t *word) { rst_os->futex_wake(word, INT32_MAX); }

int rst_thread_start(pthread_t *ret_thread, void *(*run)(void *argument), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(ret_thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}
