/* SPDX-License-Identifier: MIT
 * uv.c: what the libuv bridge costs: a loop with 10,000 appends under way, and how late a watched event comes to a loop.
 *
 *     uv WORK_DIR [APPENDS [EVENTS]]     APPENDS: a trial's; EVENTS: each way's
 *
 * Appends: each completion starts the next one, so that 10,000 are under way in the bridge all the time; beside it the core's
 * roost_submit and roost_poll with as many as a lane takes. The trials of the two alternate and the first of a pair alternates too;
 * the median of the pairs' ratios counts. Once with the role in this process, once with it in another one.
 * Turns: of the same trials, what one turn of the loop takes, from one uv_prepare to the next. The thread's CPU time tells what the bridge
 * does; the wall time (without the sleep in epoll_wait) tells how long others on the loop wait on this machine.
 * Events: one process publishes a state every 2 to 3 ms, another one watches it in blocks that alternate: asleep in roost_watch_wait,
 * on a loop. Each has a CPU of its own. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <roost/uv.h>

#include "bench.h"

enum {
    IN_FLIGHT = 10000,
    APPENDS = 30000,
    TRIALS = 15, /* of each way */
    WARM_UP = 3000,
    TEXTS = 1024,
    TEXT_SIZE = 120,
    TURNS_MAX = 4 * 1024 * 1024,
    EVENTS = 4000,
    BLOCK = 500,        /* events of one way, then of the other */
    BLOCK_WARM_UP = 10, /* of these are not counted */
    VERSIONS_MAX = 1 << 20,
};
#define AGENT "publisher"
#define CHECK(call) check((call), #call, __LINE__)

static int check(int result, const char *call, int line)
{
    if (result < 0) bench_die("line %d: %s: %s: %s", line, call, roost_error_name(result), roost_error_detail());
    return result;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double median(double *list, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j && list[j - 1] > list[j]; j--) {
            double other = list[j];
            list[j] = list[j - 1];
            list[j - 1] = other;
        }
    return count % 2 ? list[count / 2] : (list[count / 2 - 1] + list[count / 2]) / 2;
}

/* ---- between the processes ---- */

struct shared {
    uint32_t ready, stop;
    uint64_t published_ns[VERSIONS_MAX]; /* by the state's version */
};
static struct shared *shared;
static char folder[4096];

static void raise_flag(uint32_t *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELEASE); }
static bool raised(const uint32_t *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }

static void await_ready(void)
{
    while (!raised(&shared->ready)) bench_sleep_us(200);
}

static roost_root *open_root(uint32_t flags)
{
    roost_root *root;
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = flags;
    CHECK(roost_open(folder, &options, &root));
    return root;
}

/* ---- what is appended ---- */

static char texts[TEXTS][TEXT_SIZE];

static void make_texts(void)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < TEXTS; i++) {
        size_t size = 0;
        while (size + 12 < TEXT_SIZE) {
            uint64_t word = bench_random_below(&seed, 20000);
            size += (size_t)snprintf(texts[i] + size, TEXT_SIZE - size, "%sw%llu", size ? " " : "", (unsigned long long)word);
        }
    }
}

static struct roost_memory memory_of(uint64_t number)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text(texts[number % TEXTS]);
    return memory;
}

static struct roost_write at_process(void)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = ROOST_PROCESS;
    write.wait_ms = 60000;
    return write;
}

struct trial {
    uint64_t wall_ns, cpu_ns, thread_cpu_ns;
};

static struct trial now_of_trial(void)
{
    return (struct trial){bench_now_ns(), clock_ns(CLOCK_PROCESS_CPUTIME_ID), clock_ns(CLOCK_THREAD_CPUTIME_ID)};
}

static struct trial since(struct trial before)
{
    struct trial now = now_of_trial();
    return (struct trial){now.wall_ns - before.wall_ns, now.cpu_ns - before.cpu_ns, now.thread_cpu_ns - before.thread_cpu_ns};
}

/* ---- the core's way ---- */

static void core_appends(roost_root *root, uint64_t count)
{
    static struct roost_completion landed[ROOST_SUBMIT_COUNT_MAX];
    struct roost_write write = at_process();
    struct roost_receipt receipt;
    roost_batch *batch;
    CHECK(roost_batch_open(&batch));
    for (uint64_t started = 0, done = 0; done < count;) {
        while (started < count && started - done < ROOST_SUBMIT_COUNT_MAX) {
            struct roost_memory memory = memory_of(started);
            roost_batch_clear(batch);
            CHECK(roost_batch_append(batch, &memory));
            int err = roost_submit(root, batch, &write, NULL, &receipt);
            if (err == ROOST_EAGAIN && started > done) break;
            CHECK(err);
            started++;
        }
        for (size_t i = 0; i < ROOST_SUBMIT_COUNT_MAX; i++) landed[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
        int got = CHECK(roost_poll(root, landed, ROOST_SUBMIT_COUNT_MAX, 60000));
        if (!got) bench_die("no completion came");
        for (int i = 0; i < got; i++) CHECK(landed[i].result);
        done += (uint64_t)got;
    }
    roost_batch_free(batch);
}

static struct trial core_trial(uint64_t count)
{
    roost_root *root = open_root(0);
    core_appends(root, WARM_UP);
    struct trial before = now_of_trial();
    core_appends(root, count);
    struct trial trial = since(before);
    CHECK(roost_close(root));
    return trial;
}

/* ---- the bridge's way ---- */

static uv_loop_t loop;
static roost_uv bridge;
static roost_uv_req *requests; /* IN_FLIGHT */
static uint64_t append_count, append_started, append_landed;

static void on_landed(roost_uv_req *req, int status);

static void start_append(roost_uv_req *req)
{
    struct roost_memory memory = memory_of(append_started++);
    struct roost_write write = at_process();
    CHECK(roost_uv_append(&bridge, req, &memory, &write, on_landed));
}

static void on_landed(roost_uv_req *req, int status)
{
    if (status) bench_die("an append failed: %s", req->detail);
    append_landed++;
    if (append_started < append_count) start_append(req);
}

/* Of a turn: the whole of it, and the part after the loop's uv_check (its timers, closing callbacks). uv_poll's callbacks come before. */
static struct turns {
    uint64_t *cpu, *late_cpu, *wall;
    size_t count;
    bool counting, begun;
    uint64_t cpu_at, late_cpu_at, wall_at, idle_at;
} turns;
static uv_prepare_t prepare;
static uv_check_t after_poll;

static void on_prepare(uv_prepare_t *handle)
{
    uint64_t wall = bench_now_ns(), idle = uv_metrics_idle_time(handle->loop), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (turns.counting && turns.begun && turns.count < TURNS_MAX) {
        turns.cpu[turns.count] = cpu - turns.cpu_at;
        turns.late_cpu[turns.count] = cpu - turns.late_cpu_at;
        turns.wall[turns.count++] = wall - turns.wall_at - (idle - turns.idle_at);
    }
    turns.begun = true;
    turns.idle_at = idle;
    turns.wall_at = bench_now_ns();
    turns.cpu_at = clock_ns(CLOCK_THREAD_CPUTIME_ID); /* last: what was measured with is nobody's */
}

static void on_check(uv_check_t *handle)
{
    (void)handle;
    turns.late_cpu_at = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void loop_begin(void)
{
    if (uv_loop_init(&loop) || uv_loop_configure(&loop, UV_METRICS_IDLE_TIME)) bench_die("no loop");
    uv_prepare_init(&loop, &prepare);
    uv_check_init(&loop, &after_poll);
    uv_prepare_start(&prepare, on_prepare);
    uv_check_start(&after_poll, on_check);
    uv_unref((uv_handle_t *)&prepare);
    uv_unref((uv_handle_t *)&after_poll);
}

static void loop_end(void)
{
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_close((uv_handle_t *)&after_poll, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop)) bench_die("something is left on the loop");
}

static void uv_appends(uint64_t count)
{
    append_count = count;
    append_started = append_landed = 0;
    turns.begun = false;
    for (size_t i = 0; i < IN_FLIGHT && append_started < count; i++) start_append(&requests[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (append_landed != count) bench_die("appends were lost");
}

static struct trial uv_trial(uint64_t count)
{
    roost_root *root = open_root(0);
    loop_begin();
    CHECK(roost_uv_init(&loop, &bridge, root));
    turns.counting = false;
    uv_appends(WARM_UP);
    turns.counting = true;
    struct trial before = now_of_trial();
    uv_appends(count);
    struct trial trial = since(before);
    turns.counting = false;
    roost_uv_close(&bridge, NULL);
    loop_end();
    CHECK(roost_close(root));
    return trial;
}

/* ---- appends, one way beside the other ---- */

/* Keeps the root open, so that a trial's open and close make and remove nothing; with the role if `holds`. */
static pid_t start_keeper(bool holds)
{
    shared->ready = shared->stop = 0;
    pid_t keeper = bench_fork();
    if (keeper) {
        await_ready();
        return keeper;
    }
    roost_root *root = open_root(holds ? ROOST_OPEN_HOLD : 0);
    if (holds) {
        struct roost_memory memory = memory_of(0);
        CHECK(roost_append(root, &memory, NULL, NULL, NULL));
    }
    raise_flag(&shared->ready);
    while (!raised(&shared->stop)) bench_sleep_us(2000);
    CHECK(roost_close(root));
    _exit(0);
}

static void stop_keeper(pid_t keeper)
{
    raise_flag(&shared->stop);
    bench_join(keeper, "who keeps the root open");
}

static struct roost_stats stats_now(void)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    roost_root *root = open_root(0);
    CHECK(roost_stats(root, &stats));
    CHECK(roost_close(root));
    return stats;
}

static void print_appends(const char *suffix, uint64_t count, const struct trial *uv, const struct trial *core)
{
    static const char *const names[] = {"uv_append", "core_append"};
    const struct trial *lists[] = {uv, core};
    double ratios[TRIALS], cpu_ratios[TRIALS], rates[TRIALS], cpus[TRIALS], thread_cpus[TRIALS];
    char name[64];
    for (size_t way = 0; way < 2; way++) {
        for (size_t i = 0; i < TRIALS; i++) {
            rates[i] = (double)count * 1e9 / (double)lists[way][i].wall_ns;
            cpus[i] = (double)lists[way][i].cpu_ns / (double)count / 1e3;
            thread_cpus[i] = (double)lists[way][i].thread_cpu_ns / (double)count / 1e3;
        }
        snprintf(name, sizeof name, "%s%s", names[way], suffix);
        bench_line(name, count, median(rates, TRIALS), "ops/s", NULL, 0,
                   "median of %d trials; CPU us an append: %.2f of the calling thread, %.2f of the process", TRIALS,
                   median(thread_cpus, TRIALS), median(cpus, TRIALS));
    }
    for (size_t i = 0; i < TRIALS; i++) {
        ratios[i] = (double)core[i].wall_ns / (double)uv[i].wall_ns;
        cpu_ratios[i] = (double)core[i].cpu_ns / (double)uv[i].cpu_ns;
    }
    double middle = median(ratios, TRIALS); /* sorts */
    snprintf(name, sizeof name, "uv_over_core%s", suffix);
    bench_line(name, TRIALS, middle, "x", NULL, 0,
               "appends a second, pair by pair; from %.3f to %.3f; a CPU second's appends: %.3f x", ratios[0], ratios[TRIALS - 1],
               median(cpu_ratios, TRIALS));
}

static void print_turns(const char *name, uint64_t *list, const char *suffix, const char *note)
{
    char full[64];
    if (!turns.count) bench_die("no turns");
    bench_sort(list, turns.count);
    snprintf(full, sizeof full, "%s%s", name, suffix);
    bench_line(full, turns.count, (double)list[turns.count - 1] / 1e3, "us", list, turns.count,
               "the longest turn; p99.9 %.1f us; %s", (double)bench_percentile(list, turns.count, 0.999) / 1e3, note);
}

static void measure_appends(const char *suffix, uint64_t count, bool elsewhere)
{
    struct trial uv[TRIALS], core[TRIALS];
    pid_t keeper = start_keeper(elsewhere);
    uint64_t before = stats_now().memory_count;
    turns.count = 0;
    bench_stall_begin();
    for (size_t i = 0; i < TRIALS; i++) {
        if (i % 2) core[i] = core_trial(count);
        uv[i] = uv_trial(count);
        if (i % 2 == 0) core[i] = core_trial(count);
    }
    bench_stall_end();
    struct roost_stats stats = stats_now();
    if (stats.memory_count - before != 2 * TRIALS * (count + WARM_UP)) bench_die("appends are missing");
    if (elsewhere && stats.writer_pid != (int32_t)keeper) bench_die("the role moved");
    stop_keeper(keeper);
    print_appends(suffix, count, uv, core);
    print_turns("uv_turn_cpu", turns.cpu, suffix, "CPU time of the loop's thread from one uv_prepare to the next");
    print_turns("uv_turn_late_cpu", turns.late_cpu, suffix, "of that the part from uv_check on");
    print_turns("uv_turn_wall", turns.wall, suffix, "the same in wall time, without the sleep");
}

/* ---- events ---- */

static cpu_set_t all_cpus;

/* On the `which`-th CPU of those that this process may use, with all the threads that it starts from now on. */
static void run_on(int which)
{
    cpu_set_t chosen = all_cpus;
    int seen = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all_cpus) && seen++ != which) CPU_CLR(cpu, &chosen);
    if (sched_setaffinity(0, sizeof chosen, &chosen)) bench_die("sched_setaffinity: %s", strerror(errno));
}

static void run_publisher(void)
{
    uint64_t seed = 7;
    run_on(0);
    roost_root *root = open_root(0);
    for (uint64_t version = 1; !raised(&shared->stop) && version < VERSIONS_MAX; version++) {
        struct roost_state state = ROOST_STATE_INIT;
        state.name = (struct roost_bytes)ROOST_TEXT(AGENT);
        state.status = (struct roost_bytes)ROOST_TEXT("thinking");
        __atomic_store_n(&shared->published_ns[version], bench_now_ns(), __ATOMIC_RELEASE);
        CHECK(roost_state_publish(root, &state, NULL));
        raise_flag(&shared->ready);
        bench_sleep_us(2000 + (unsigned)bench_random_below(&seed, 1000));
    }
    CHECK(roost_close(root));
}

static struct latencies {
    uint64_t *list;
    size_t count;
    uint64_t passed_over;
} * current;
static uint64_t block_seen;
static roost_uv_watch watch_on_loop;

static void note_event(const struct roost_event *event)
{
    uint64_t now = bench_now_ns();
    if (event->id >= VERSIONS_MAX) bench_die("too many states");
    current->passed_over += event->skipped_count;
    if (++block_seen > BLOCK_WARM_UP)
        current->list[current->count++] = now - __atomic_load_n(&shared->published_ns[event->id], __ATOMIC_ACQUIRE);
}

static void wait_block(roost_root *root)
{
    struct roost_topic topic = {ROOST_TOPIC_STATE, 0, ROOST_TEXT(AGENT)};
    roost_watch *watch;
    CHECK(roost_watch_open(root, &topic, 1, &watch));
    for (block_seen = 0; block_seen < BLOCK + BLOCK_WARM_UP;) {
        struct roost_event event = ROOST_EVENT_INIT;
        if (!CHECK(roost_watch_wait(watch, 60000, &event))) bench_die("no event came");
        note_event(&event);
    }
    roost_watch_close(watch);
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    CHECK(status);
    note_event(event);
    if (block_seen == BLOCK + BLOCK_WARM_UP) roost_uv_watch_close(watch, NULL);
}

static void uv_block(roost_root *root)
{
    struct roost_topic topic = {ROOST_TOPIC_STATE, 0, ROOST_TEXT(AGENT)};
    if (uv_loop_init(&loop)) bench_die("no loop");
    CHECK(roost_uv_init(&loop, &bridge, root));
    block_seen = 0;
    CHECK(roost_uv_watch_start(&bridge, &watch_on_loop, &topic, 1, on_event));
    uv_run(&loop, UV_RUN_DEFAULT);
    roost_uv_close(&bridge, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop)) bench_die("something is left on the loop");
}

static void print_events(struct latencies *blocking, struct latencies *on_loop)
{
    static const char *const names[] = {"watch_wait", "watch_uv"};
    struct latencies *lists[] = {blocking, on_loop};
    double at[2][2];
    for (size_t i = 0; i < 2; i++) {
        bench_sort(lists[i]->list, lists[i]->count);
        at[i][0] = (double)bench_percentile(lists[i]->list, lists[i]->count, 0.5) / 1e3;
        at[i][1] = (double)bench_percentile(lists[i]->list, lists[i]->count, 0.99) / 1e3;
        bench_line(names[i], lists[i]->count, at[i][0], "us", lists[i]->list, lists[i]->count,
                   "publish on one CPU to %s on another, one way; %llu states passed over",
                   i ? "the callback of a loop" : "the return of roost_watch_wait", (unsigned long long)lists[i]->passed_over);
    }
    bench_line("watch_uv_over_wait_p50", blocking->count, at[1][0] / at[0][0], "x", NULL, 0, "of the medians; less is better");
    bench_line("watch_uv_over_wait_p99", blocking->count, at[1][1] / at[0][1], "x", NULL, 0,
               "of the 99th percentiles; less is better");
}

static void measure_events(uint64_t count)
{
    struct latencies blocking = {0}, on_loop = {0};
    uint64_t blocks = (count + BLOCK - 1) / BLOCK;
    if (CPU_COUNT(&all_cpus) < 2) {
        bench_unsupported("watch_uv", "one CPU only");
        return;
    }
    blocking.list = bench_shared(blocks * BLOCK * sizeof(uint64_t));
    on_loop.list = bench_shared(blocks * BLOCK * sizeof(uint64_t));
    shared->ready = shared->stop = 0;
    pid_t publisher = bench_fork();
    if (!publisher) {
        run_publisher();
        _exit(0);
    }
    await_ready();
    run_on(1);
    roost_root *root = open_root(0);
    bench_stall_begin();
    for (uint64_t block = 0; block < blocks; block++) {
        current = &blocking;
        wait_block(root);
        current = &on_loop;
        uv_block(root);
    }
    bench_stall_end();
    CHECK(roost_close(root));
    raise_flag(&shared->stop);
    bench_join(publisher, "the publisher");
    print_events(&blocking, &on_loop);
}

int main(int argument_count, char **arguments)
{
    bench_peer = "roost";
    if (argument_count < 2 || argument_count > 4) {
        fprintf(stderr, "usage: %s WORK_DIR [APPENDS [EVENTS]]\n", arguments[0]);
        return 2;
    }
    uint64_t appends = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : APPENDS;
    uint64_t events = argument_count > 3 ? strtoull(arguments[3], NULL, 10) : EVENTS;
    if (sched_getaffinity(0, sizeof all_cpus, &all_cpus)) bench_die("sched_getaffinity: %s", strerror(errno));
    make_texts();
    shared = bench_shared(sizeof *shared);
    requests = calloc(IN_FLIGHT, sizeof *requests);
    if (!requests) bench_die("no memory for requests");
    turns.cpu = bench_shared(TURNS_MAX * sizeof(uint64_t));
    turns.late_cpu = bench_shared(TURNS_MAX * sizeof(uint64_t));
    turns.wall = bench_shared(TURNS_MAX * sizeof(uint64_t));
    snprintf(folder, sizeof folder, "%s/roost-uv", arguments[1]);
    bench_remove_tree(folder);
    bench_make_folder(folder);
    CHECK(roost_create(folder, NULL));
    if (appends) measure_appends("", appends, false);
    if (appends) measure_appends("_other", appends, true);
    if (events) measure_events(events);
    bench_remove_tree(folder);
    return 0;
}
