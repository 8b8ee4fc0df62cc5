/* SPDX-License-Identifier: MIT
 * notify.c: how long a published state takes to wake who waits for it.
 *
 *     notify WORK_DIR [ROUNDS [free|same_core|two_cores]]
 *
 * Two processes. The publisher reads the clock and publishes; the watcher, asleep in roost_watch_wait, wakes and reads the clock;
 * the difference is the one-way wake. It then answers through a bare futex, so that the next round begins when it is about to sleep
 * again. Beside it, in the same run and in blocks of rounds that alternate with it, the same two processes do the same with a bare futex
 * word instead of publish and watch: what the kernel alone takes. Then once more while an observer watches the same state through
 * its read-only mapping. The two processes wake each other and do not spin.
 *
 * What the kernel takes depends most of all on where the two run: on one core, or on two, of which the second must be woken from
 * idleness (on a virtual machine twenty times as long). The third argument fixes that; `free` leaves it to the scheduler. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <roost/roost.h>

#include "bench.h"

enum { ROUNDS = 20000, BLOCK = 500, WAIT_MS = 60000 };
#define CHECK(call) check((call), #call, __LINE__)
#define AGENT "publisher"

/* Between the processes; each word that is waited on has a cache line of its own. */
struct shared {
    _Alignas(64) uint32_t ping;
    _Alignas(64) uint32_t pong;
    _Alignas(64) uint32_t ready, observing, stop;
    _Alignas(64) uint64_t published_ns, woken_ns;
    _Alignas(64) uint64_t observed_count;
};
static struct shared *shared;
static uint64_t rounds;
static const char *placement = "free";

static int check(int result, const char *call, int line)
{
    if (result < 0) bench_die("line %d: %s: %s: %s", line, call, roost_error_name(result), roost_error_detail());
    return result;
}

static void futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

/* Returns when the word is `value` (words only count up). */
static void futex_await(uint32_t *word, uint32_t value)
{
    uint32_t now;
    while ((now = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != value) syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void futex_send(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    futex_wake(word);
}

static roost_root *open_root(const char *folder, uint32_t flags)
{
    roost_root *root;
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = flags;
    CHECK(roost_open(folder, &options, &root));
    return root;
}

static roost_watch *open_watch(roost_root *root)
{
    roost_watch *watch;
    struct roost_topic topic = {ROOST_TOPIC_STATE, 0, ROOST_TEXT(AGENT)};
    CHECK(roost_watch_open(root, &topic, 1, &watch));
    return watch;
}

/* Versions count from 1. Returns the version seen, at least `version`; 0: nothing came in time. */
static uint64_t await_version(roost_watch *watch, uint64_t version, uint32_t wait_ms)
{
    struct roost_event event = ROOST_EVENT_INIT;
    do {
        if (!CHECK(roost_watch_wait(watch, wait_ms, &event))) return 0;
    } while (event.id < version);
    return event.id;
}

/* A round's number says what it is: within a pass blocks of the two ways alternate. */
static bool by_futex(uint64_t round) { return round / BLOCK % 2; }
static uint64_t pass_rounds(void) { return 2 * rounds; }

/* ---- who runs where ---- */

static cpu_set_t all_cpus;

/* On the `which`-th CPU of those that this process may use; -1: on any of them. False when there are not so many. */
static bool run_on(int which)
{
    cpu_set_t chosen = all_cpus;
    int seen = 0;
    for (size_t cpu = 0; which >= 0 && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all_cpus) && seen++ != which) CPU_CLR(cpu, &chosen);
    return CPU_COUNT(&chosen) && sched_setaffinity(0, sizeof chosen, &chosen) == 0;
}

/* The publisher is 0, the watcher 1. */
static bool place(int who)
{
    if (!strcmp(placement, "free")) return true;
    return run_on(strcmp(placement, "two_cores") ? 0 : who);
}

static const char *place_suffix(void)
{
    return !strcmp(placement, "free") ? "" : !strcmp(placement, "same_core") ? "_same_core" : "_two_cores";
}

/* ---- the watcher ---- */

static void watch_pass(roost_watch *watch, uint64_t *version, uint32_t *turn)
{
    for (uint64_t round = 0; round < pass_rounds(); round++) {
        ++*turn;
        if (by_futex(round))
            futex_await(&shared->ping, *turn);
        else if (!await_version(watch, ++*version, WAIT_MS))
            bench_die("the published state did not arrive");
        shared->woken_ns = bench_now_ns();
        futex_send(&shared->pong, *turn);
    }
}

static void run_watcher(const char *folder, unsigned passes)
{
    uint32_t turn = 0;
    uint64_t version = 1;
    roost_root *root = open_root(folder, 0);
    roost_watch *watch = open_watch(root);
    if (!await_version(watch, 1, WAIT_MS)) bench_die("no first state");
    futex_send(&shared->ready, 1);
    for (unsigned pass = 0; pass < passes; pass++) watch_pass(watch, &version, &turn);
    roost_watch_close(watch);
    CHECK(roost_close(root));
}

/* ---- the observer: wakes with every publish too, and notes when ---- */

static void run_observer(const char *folder, uint64_t *latencies_ns)
{
    roost_root *root = open_root(folder, ROOST_OPEN_OBSERVE);
    roost_watch *watch = open_watch(root);
    uint64_t seen = await_version(watch, 1, WAIT_MS), count = 0;
    futex_send(&shared->observing, 1);
    while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
        uint64_t version = await_version(watch, seen + 1, 100);
        uint64_t now = bench_now_ns(), published = __atomic_load_n(&shared->published_ns, __ATOMIC_ACQUIRE);
        if (!version) continue;
        /* One that it slept through has no time of its own: published_ns is of the newest. */
        if (version == seen + 1 && now > published && count < rounds) latencies_ns[count++] = now - published;
        seen = version;
    }
    shared->observed_count = count;
    roost_watch_close(watch);
    CHECK(roost_close(root));
}

/* ---- the publisher ---- */

static void publish(roost_root *root, uint64_t number)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = (struct roost_bytes)ROOST_TEXT(AGENT);
    state.status = (struct roost_bytes)ROOST_TEXT("thinking");
    state.last_updated_id = number;
    CHECK(roost_state_publish(root, &state, NULL));
}

static void publish_pass(roost_root *root, uint32_t *turn, uint64_t *roost_ns, uint64_t *futex_ns, uint64_t *call_ns)
{
    size_t roost_count = 0, futex_count = 0;
    for (uint64_t round = 0; round < pass_rounds(); round++) {
        ++*turn;
        uint64_t before = bench_now_ns(), called;
        __atomic_store_n(&shared->published_ns, before, __ATOMIC_RELEASE);
        if (by_futex(round)) {
            futex_send(&shared->ping, *turn);
            futex_await(&shared->pong, *turn);
            futex_ns[futex_count++] = shared->woken_ns - before;
            continue;
        }
        publish(root, round);
        called = bench_now_ns();
        futex_await(&shared->pong, *turn);
        call_ns[roost_count] = called - before;
        roost_ns[roost_count++] = shared->woken_ns - before;
    }
    if (roost_count != rounds || futex_count != rounds) bench_die("rounds were lost");
}

static void print_pass(const char *suffix, uint64_t *roost_ns, uint64_t *futex_ns, uint64_t *call_ns)
{
    char name[64];
    uint64_t *lists[] = {roost_ns, futex_ns, call_ns};
    const char *names[] = {"wake_roost", "wake_futex", "publish_call"};
    const char *notes[] = {"publish to return of roost_watch_wait, one way",
                           "the same with a bare futex, blocks of rounds alternating", "roost_state_publish from call to return"};
    for (size_t i = 0; i < 3; i++) {
        bench_sort(lists[i], rounds);
        snprintf(name, sizeof name, "%s%s%s", names[i], suffix, place_suffix());
        bench_line(name, rounds, (double)bench_percentile(lists[i], rounds, 0.5) / 1e3, "us", lists[i], rounds, "%s%s", notes[i],
                   *suffix ? "; an observer watches too" : "");
    }
}

int main(int argument_count, char **arguments)
{
    char folder[4096];
    bench_peer = "roost";
    if (argument_count < 2 || argument_count > 4) {
        fprintf(stderr, "usage: %s WORK_DIR [ROUNDS [free|same_core|two_cores]]\n", arguments[0]);
        return 2;
    }
    if (argument_count == 4) placement = arguments[3];
    if (strcmp(placement, "free") && strcmp(placement, "same_core") && strcmp(placement, "two_cores"))
        bench_die("no such place: %s", placement);
    if (sched_getaffinity(0, sizeof all_cpus, &all_cpus)) bench_die("sched_getaffinity: %s", strerror(errno));
    if (!strcmp(placement, "two_cores") && CPU_COUNT(&all_cpus) < 2)
        return bench_unsupported("wake_roost_two_cores", "one CPU only");
    rounds = argument_count >= 3 ? strtoull(arguments[2], NULL, 10) : ROUNDS;
    rounds = (rounds + BLOCK - 1) / BLOCK * BLOCK;
    if (!rounds) rounds = BLOCK;
    snprintf(folder, sizeof folder, "%s/roost-notify", arguments[1]);
    bench_remove_tree(folder);
    bench_make_folder(folder);
    CHECK(roost_create(folder, NULL));
    shared = bench_shared(sizeof *shared);
    size_t bytes = rounds * sizeof(uint64_t);
    uint64_t *roost_ns = bench_shared(bytes), *futex_ns = bench_shared(bytes), *call_ns = bench_shared(bytes);
    uint64_t *observed_ns = bench_shared(bytes);

    pid_t watcher = bench_fork();
    if (!watcher) {
        if (!place(1)) bench_die("the watcher could not be placed");
        run_watcher(folder, 2);
        _exit(0);
    }
    if (!place(0)) bench_die("the publisher could not be placed");
    roost_root *root = open_root(folder, 0);
    uint32_t turn = 0;
    publish(root, 0);
    futex_await(&shared->ready, 1);
    bench_stall_begin();
    publish_pass(root, &turn, roost_ns, futex_ns, call_ns);
    bench_stall_end();
    print_pass("", roost_ns, futex_ns, call_ns);

    pid_t observer = bench_fork();
    if (!observer) {
        if (!run_on(-1)) bench_die("the observer could not be placed");
        run_observer(folder, observed_ns);
        _exit(0);
    }
    futex_await(&shared->observing, 1);
    bench_stall_begin();
    publish_pass(root, &turn, roost_ns, futex_ns, call_ns);
    bench_stall_end();
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
    bench_join(observer, "the observer");
    print_pass("_observed", roost_ns, futex_ns, call_ns);
    if (shared->observed_count) {
        bench_sort(observed_ns, shared->observed_count);
        double median_us = (double)bench_percentile(observed_ns, shared->observed_count, 0.5) / 1e3;
        char name[64];
        snprintf(name, sizeof name, "wake_observer%s", place_suffix());
        bench_line(name, shared->observed_count, median_us, "us", observed_ns, shared->observed_count,
                   "publish to the observer's return, one way; %llu of %llu publishes seen one by one",
                   (unsigned long long)shared->observed_count, (unsigned long long)rounds);
    }
    bench_join(watcher, "the watcher");
    CHECK(roost_close(root));
    bench_remove_tree(folder);
    return 0;
}
