/* SPDX-License-Identifier: MIT
 * os/linux_futex.c: waiting for words in shared memory, eventfds, and the clocks (layer 1).
 *
 * Never FUTEX_PRIVATE: the words lie in mappings that other processes share, and a private wake does not reach them.
 * There is no lock here and nothing of glibc's pthread objects, whose futexes are private. */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "os/linux.h"

enum {
    WAIT_ANY_MAX = 128,          /* FUTEX_WAITV_MAX */
    SLICE_NS = 10 * 1000 * 1000, /* without futex_waitv: how long a change of any word but the first may go unseen */
    SYSCALL_FUTEX_WAITV = 449,   /* the same on all architectures but alpha */
    SIZE_32 = 2,                 /* FUTEX_32, a shared 32-bit word */
};
/* struct futex_waitv of <linux/futex.h>, which older headers lack */
struct kernel_wait {
    uint64_t expected, address;
    uint32_t flags, reserved;
};
enum waitv_state { WAITV_UNDECIDED, WAITV_WORKS, WAITV_MISSING };
static uint32_t waitv_state; /* decided by the first call; a race decides the same twice */

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int64_t rst_linux_monotonic_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Saturates: a time-out of centuries is for ever in practice, and must not wrap into the past. */
static int64_t deadline_after(int64_t timeout_ns)
{
    int64_t now = rst_linux_monotonic_time();
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

void rst_linux_sleep(int64_t ns)
{
    if (ns <= 0) return;
    struct timespec until = to_timespec(deadline_after(ns));
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

int rst_linux_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec timeout = to_timespec(timeout_ns);
    long result = syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
    if (result == 0 || errno == EAGAIN) return 0; /* EAGAIN: the word differed before we slept */
    return -errno;
}

int rst_linux_futex_wake(const uint32_t *word, uint32_t count)
{
    int most = count > INT32_MAX ? INT32_MAX : (int)count;
    long result = syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0);
    return result < 0 ? -errno : (int)result;
}

static int wait_any_by_slices(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns)
{
    int64_t deadline = timeout_ns < 0 ? INT64_MAX : deadline_after(timeout_ns);
    for (;;) {
        /* acquire, pairs with the release of whoever changed the word and wakes after */
        for (size_t i = 0; i < count; i++)
            if (rst_load_u32(words[i].word) != words[i].expected) return 0;
        int64_t left = deadline - rst_linux_monotonic_time();
        if (left <= 0) return -ETIMEDOUT;
        int result = rst_linux_futex_wait(words[0].word, words[0].expected, left < SLICE_NS ? left : SLICE_NS);
        if (result != -ETIMEDOUT) return result;
    }
}

static int wait_any_by_kernel(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns)
{
    struct kernel_wait waits[WAIT_ANY_MAX];
    for (size_t i = 0; i < count; i++)
        waits[i] = (struct kernel_wait){words[i].expected, (uint64_t)(uintptr_t)words[i].word, SIZE_32, 0};
    /* Unlike FUTEX_WAIT this takes a moment, not a duration. */
    struct timespec until = to_timespec(timeout_ns < 0 ? 0 : deadline_after(timeout_ns));
    long result = syscall(SYSCALL_FUTEX_WAITV, waits, (unsigned)count, 0u, timeout_ns < 0 ? NULL : &until, CLOCK_MONOTONIC);
    if (result >= 0 || errno == EAGAIN) return 0;
    return -errno;
}

int rst_linux_futex_wait_any(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns)
{
    if (count == 0 || count > WAIT_ANY_MAX) return -EINVAL;
    if (count == 1) return rst_linux_futex_wait(words[0].word, words[0].expected, timeout_ns);
    uint32_t state = rst_load_relaxed_u32(&waitv_state);
    if (state == WAITV_UNDECIDED) {
        const char *forced = secure_getenv("ROOST_NO_FUTEX_WAITV"); /* for tests of the other way */
        if (forced && forced[0] == '1') {
            state = WAITV_MISSING;
            rst_store_relaxed_u32(&waitv_state, state);
        }
    }
    if (state != WAITV_MISSING) {
        int result = wait_any_by_kernel(words, count, timeout_ns);
        /* ENOSYS: older than 5.16. EPERM: a seccomp profile that does not know the call. */
        bool missing = result == -ENOSYS || result == -EPERM;
        if (state == WAITV_UNDECIDED) rst_store_relaxed_u32(&waitv_state, missing ? WAITV_MISSING : WAITV_WORKS);
        if (!missing) return result;
    }
    return wait_any_by_slices(words, count, timeout_ns);
}

int rst_linux_event_open(void)
{
    int file = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return file < 0 ? -errno : file;
}

int rst_linux_event_signal(int file) { return eventfd_write(file, 1) < 0 && errno != EAGAIN ? -errno : 0; }

int rst_linux_event_clear(int file)
{
    eventfd_t count;
    return eventfd_read(file, &count) < 0 && errno != EAGAIN ? -errno : 0;
}
