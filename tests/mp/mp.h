/* SPDX-License-Identifier: MIT
 * mp/mp.h: what the tests with many processes share. Children are forked before their parent opens anything, tell each other what
 * happened by bytes in pipes, and every wait has a deadline. A failed check prints where and ends the process with 1. */
#ifndef ROOST_TESTS_MP_H
#define ROOST_TESTS_MP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <roost/roost.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: (%s) %s; roost says: %s\n", __FILE__, __LINE__, mp_test, #what, roost_error_detail()); \
            fflush(stderr); \
            _exit(1); \
        } \
    } while (0)
/* A call that must give exactly this. */
#define GIVES(expected, call) \
    do { \
        int mp_got = (call); \
        if (mp_got != (expected)) { \
            fprintf(stderr, "%s:%d: (%s) %s gave %s (%d): %s\n", __FILE__, __LINE__, mp_test, #call, roost_error_name(mp_got), \
                    mp_got, roost_error_detail()); \
            fflush(stderr); \
            _exit(1); \
        } \
    } while (0)

/* Children leave by _exit, as most of what their parent prepared is none of theirs; but it is exit that writes down which branches were
 * taken, where they are counted (tests/meson.build). */
#ifdef MP_COUNTED
#define MP_LEAVE exit
#else
#define MP_LEAVE _exit
#endif

/* ThreadSanitizer does not let the child of a process with threads start any. */
#ifdef __SANITIZE_THREAD__
#define MP_NO_THREADS_AFTER_FORK
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP_NO_THREADS_AFTER_FORK
#endif
#endif

static const char *mp_test = "";
static char mp_folder[64], mp_root[128];
static uint32_t mp_kind = ROOST_REGION_SHM;

enum { MP_PATIENCE_MS = 30000 };

static inline int64_t mp_now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

struct mp_pipe {
    int ends[2];
};

static inline struct mp_pipe mp_pipe(void)
{
    struct mp_pipe pipe;
    CHECK(pipe2(pipe.ends, O_CLOEXEC) == 0);
    return pipe;
}
static inline void mp_tell(struct mp_pipe pipe, char what) { CHECK(write(pipe.ends[1], &what, 1) == 1); }
static inline void mp_give(struct mp_pipe pipe, const void *data, size_t size)
{
    CHECK(write(pipe.ends[1], data, size) == (ssize_t)size);
}
static inline bool mp_ready(struct mp_pipe pipe, int wait_ms)
{
    struct pollfd wait = {pipe.ends[0], POLLIN, 0};
    return poll(&wait, 1, wait_ms) == 1 && (wait.revents & POLLIN);
}
static inline void mp_take(struct mp_pipe pipe, void *ret_data, size_t size)
{
    for (size_t at = 0; at < size;) {
        CHECK(mp_ready(pipe, MP_PATIENCE_MS));
        ssize_t got = read(pipe.ends[0], (char *)ret_data + at, size - at);
        CHECK(got > 0);
        at += (size_t)got;
    }
}
static inline void mp_await(struct mp_pipe pipe, char what)
{
    char got;
    mp_take(pipe, &got, 1);
    CHECK(got == what);
}

/* For tests that are about forks: returns when all other threads of this process sleep, so that none of them allocates (see mp_start). */
static inline void mp_quiet(void)
{
    for (int asleep = 0; asleep < 3; poll(NULL, 0, 1)) {
        DIR *tasks = opendir("/proc/self/task");
        bool busy = false;
        CHECK(tasks);
        for (struct dirent *task; (task = readdir(tasks));) {
            char path[300], line[256] = "";
            snprintf(path, sizeof path, "/proc/self/task/%s/stat", task->d_name);
            FILE *file = task->d_name[0] == '.' || atoi(task->d_name) == getpid() ? NULL : fopen(path, "r");
            if (file && fgets(line, sizeof line, file)) busy |= !strstr(line, ") S ");
            if (file) fclose(file);
        }
        closedir(tasks);
        asleep = busy ? 0 : asleep + 1;
    }
}

/* Runs role in a child; its result is the exit status. Before anything is opened: a thread that allocates while this forks may leave
 * the child a locked allocator (AddressSanitizer's of gcc 12 is not made for that). */
static inline pid_t mp_start(int (*role)(void *argument), void *argument)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid) return pid;
    alarm(120);
    MP_LEAVE(role(argument));
}
/* It must end by itself and well. */
static inline void mp_finish(pid_t pid)
{
    int status;
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000) * 2;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && mp_now_ns() < deadline) poll(NULL, 0, 1);
    if (got == 0) {
        fprintf(stderr, "(%s) process %d hangs\n", mp_test, (int)pid);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        _exit(1);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "(%s) process %d ended with status %x\n", mp_test, (int)pid, (unsigned)status);
        _exit(1);
    }
}
static inline void mp_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
/* Stopped for sure, not only asked to. */
static inline void mp_stop(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
}

static inline roost_root *mp_open_with(uint32_t flags, uint32_t wait_ms, uint32_t idle_ms)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root = NULL;
    options.flags = flags;
    options.wait_ms = wait_ms;
    options.idle_ms = idle_ms;
    GIVES(0, roost_open(mp_root, &options, &root));
    return root;
}
static inline roost_root *mp_open(void) { return mp_open_with(0, 20000, 0); }
static inline void mp_close(roost_root *root) { GIVES(0, roost_close(root)); }

static inline roost_id mp_append(roost_root *root, const char *text)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_id id = 0;
    memory.text = roost_text(text);
    GIVES(0, roost_append(root, &memory, NULL, &id, NULL));
    return id;
}
static inline size_t mp_find(roost_root *root, const char *word, roost_id *ret_first)
{
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits;
    query.text = roost_text(word);
    GIVES(0, roost_search(root, &query, &hits));
    size_t count = roost_hits_count(hits);
    if (count && ret_first) {
        CHECK(roost_hits_next(hits, &hit) == 1);
        *ret_first = hit.id;
    }
    roost_hits_close(hits);
    return count;
}
static inline struct roost_stats mp_stats(roost_root *root)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    GIVES(0, roost_stats(root, &stats));
    return stats;
}
static inline void mp_found(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    fprintf(stderr, "(%s) check: %s at %llu: %s: %s\n", mp_test, file, (unsigned long long)offset, roost_error_name(error),
            detail);
}
static inline void mp_check_root(void)
{
    roost_root *root = mp_open();
    GIVES(0, roost_check(root, mp_found, NULL));
    mp_close(root);
}

/* The object in shared memory, as the kernel shows it to a process that has it mapped. */
static inline bool mp_region_path(char *ret_path, size_t size)
{
    if (mp_kind == ROOST_REGION_FILE) {
        snprintf(ret_path, size, "%s/region", mp_root);
        return true;
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (maps && fgets(line, sizeof line, maps)) {
        char *at = strstr(line, "/dev/shm/roost-");
        if (!at || strstr(at, "(deleted)")) continue;
        at[strcspn(at, " \n")] = '\0';
        snprintf(ret_path, size, "%s", at);
        found = true;
    }
    if (maps) fclose(maps);
    return found;
}

/* Under AddressSanitizer: what was allocated and is reachable no more. Cases end by _exit, which would not look. */
#ifdef __SANITIZE_ADDRESS__
int __lsan_do_recoverable_leak_check(void);
static inline void mp_check_leaks(void) { CHECK(__lsan_do_recoverable_leak_check() == 0); }
#else
static inline void mp_check_leaks(void) {}
#endif

struct mp_case {
    const char *name;
    void (*run)(void);
};

/* Each case in a process of its own with a fresh root, on both kinds of region. Arguments: names of cases. */
static inline int mp_main(int argc, char **argv, const struct mp_case *cases, size_t count)
{
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], cases[i].name) == 0;
        for (mp_kind = ROOST_REGION_SHM; wanted && mp_kind <= ROOST_REGION_FILE; mp_kind++) {
            int64_t began = mp_now_ns();
            fflush(NULL);
            pid_t pid = fork();
            if (pid == 0) {
                mp_test = cases[i].name;
                strcpy(mp_folder, "/tmp/roost-mp-XXXXXX");
                CHECK(mkdtemp(mp_folder));
                snprintf(mp_root, sizeof mp_root, "%s/root", mp_folder);
                struct roost_settings settings = ROOST_SETTINGS_INIT;
                settings.region = mp_kind;
                settings.log_size = 4 << 20;
                settings.chunk_size = 8 << 20;
                settings.arena_size = 8 << 20;
                GIVES(0, roost_create(mp_root, &settings));
                cases[i].run();
                mp_check_leaks();
                char command[128];
                snprintf(command, sizeof command, "rm -rf '%s'", mp_folder);
                MP_LEAVE(system(command) != 0);
            }
            int status;
            waitpid(pid, &status, 0);
            bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            failed += !good;
            printf("%s %s (%s, %.1f s)\n", good ? "ok  " : "FAIL", cases[i].name, mp_kind == ROOST_REGION_FILE ? "file" : "shm",
                   (double)(mp_now_ns() - began) / 1e9);
        }
    }
    return failed != 0;
}

#endif
