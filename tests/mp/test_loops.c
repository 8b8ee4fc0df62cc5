/* SPDX-License-Identifier: MIT
 * mp/test_loops.c: watches and submissions on a loop of the caller's own (poll(2) here), by their descriptors. */
#include "mp/mp.h"

static struct mp_pipe go, ready;

static bool readable(int file, int wait_ms)
{
    struct pollfd wait = {file, POLLIN, 0};
    return poll(&wait, 1, wait_ms) == 1;
}

static uint32_t count_of(const char *folder)
{
    uint32_t count = 0;
    DIR *directory = opendir(folder);
    CHECK(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

/* ---- watching ---- */

enum { ENTRIES = 400 };

static int feed(void *argument)
{
    (void)argument;
    mp_await(go, 'f');
    roost_root *root = mp_open();
    char text[32];
    struct roost_write quick = ROOST_WRITE_INIT;
    quick.level = ROOST_PROCESS;
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(text, sizeof text, "entry %d", i);
        GIVES(0, roost_stream_append(root, roost_text("log"), roost_text(text), i % 7 ? &quick : NULL, NULL, NULL));
        struct roost_state state = ROOST_STATE_INIT;
        state.name = roost_text("feeder");
        state.active_memory_count = (uint64_t)i + 1;
        GIVES(0, roost_state_publish(root, &state, NULL));
        if (i == ENTRIES / 2) {
            mp_tell(ready, 'h'); /* half */
            mp_await(go, 'f');
        }
    }
    mp_tell(ready, 'e');
    mp_await(go, 'd');
    return 0; /* without a word: its state has no owner any more */
}

struct seen {
    uint64_t entries, state;
    bool skipped;
};

/* One turn of a loop: everything there is. */
static void drain(roost_root *root, roost_watch *watch, struct seen *seen)
{
    struct roost_event event = ROOST_EVENT_INIT;
    int found;
    while ((found = roost_watch_wait(watch, 0, &event)) == 1) {
        if (event.kind == ROOST_CHANGE_STREAM) {
            CHECK(event.id == seen->entries || seen->skipped);
            if (event.id >= seen->entries) seen->entries = event.id + 1;
        } else if (event.kind == ROOST_CHANGE_SKIPPED) { /* a new region does not know what changed in the old one */
            struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
            GIVES(0, roost_stream_info(root, roost_text("log"), &info));
            seen->entries = info.entry_count;
            seen->skipped = true;
        } else {
            CHECK(event.kind == ROOST_CHANGE_STATE && event.id >= seen->state);
            seen->state = event.id;
        }
    }
    GIVES(0, found);
}

static void watch_on(uint32_t flags, bool replaced)
{
    const struct roost_topic topics[2] = {{ROOST_TOPIC_STREAM, 0, ROOST_TEXT("log")}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    ready = mp_pipe();
    go = mp_pipe();
    pid_t feeder = mp_start(feed, NULL);
    roost_root *root = mp_open_with(flags, 20000, 0);
    roost_watch *watch;
    int file, again;
    struct seen seen = {0, 0, false};
    GIVES(0, roost_watch_open(root, topics, 2, &watch));
    GIVES(0, roost_watch_fd(watch, &file));
    GIVES(0, roost_watch_fd(watch, &again));
    CHECK(file == again);
    CHECK(readable(file, MP_PATIENCE_MS)); /* to begin with: look */
    drain(root, watch, &seen);
    mp_tell(go, 'f');
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (seen.entries <= ENTRIES / 2 && mp_now_ns() < deadline) {
        CHECK(readable(file, MP_PATIENCE_MS));
        drain(root, watch, &seen);
    }
    mp_await(ready, 'h');
    if (replaced) {
        char region[256];
        CHECK(mp_region_path(region, sizeof region));
        CHECK(unlink(region) == 0);
    }
    mp_tell(go, 'f');
    while (seen.entries < ENTRIES && mp_now_ns() < deadline) {
        CHECK(readable(file, MP_PATIENCE_MS));
        drain(root, watch, &seen);
    }
    CHECK(seen.entries == ENTRIES && seen.skipped == replaced);
    mp_await(ready, 'e');
    while (seen.state < ENTRIES && mp_now_ns() < deadline) {
        CHECK(readable(file, MP_PATIENCE_MS));
        drain(root, watch, &seen);
    }
    CHECK(seen.state == ENTRIES);
    /* Its death is told, too. */
    mp_tell(go, 'd');
    mp_finish(feeder);
    struct roost_event event = ROOST_EVENT_INIT;
    int found = 0;
    while (found == 0 && mp_now_ns() < deadline) {
        CHECK(readable(file, MP_PATIENCE_MS));
        found = roost_watch_wait(watch, 0, &event);
    }
    CHECK(found == 1 && event.kind == ROOST_CHANGE_STATE && event.id == ENTRIES);
    roost_watch_close(watch);
    mp_close(root);
}

static void a_watch_on_a_loop_misses_nothing(void) { watch_on(0, false); }
static void an_observer_on_a_loop_misses_nothing(void) { watch_on(ROOST_OPEN_OBSERVE, false); }
static void a_watch_on_a_loop_survives_a_lost_region(void) { watch_on(0, true); }

/* ---- submitting ---- */

static int kill_holders(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "the holder's own");
    mp_tell(ready, 'h');
    mp_await(go, 'x');
    return 1;
}

static void submit_all(bool other_holds)
{
    enum { MANY = 3000 };
    ready = mp_pipe();
    go = mp_pipe();
    pid_t holder = other_holds ? mp_start(kill_holders, NULL) : 0;
    if (holder) mp_await(ready, 'h');
    roost_root *root = mp_open();
    roost_batch *batch;
    int file, sent = 0, landed = 0;
    GIVES(0, roost_batch_open(&batch));
    GIVES(0, roost_poll_fd(root, &file));
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (landed < MANY && mp_now_ns() < deadline) {
        while (sent < MANY) {
            char text[32];
            struct roost_memory memory = ROOST_MEMORY_INIT;
            snprintf(text, sizeof text, "number%d", sent);
            memory.text = roost_text(text);
            roost_batch_clear(batch);
            GIVES(0, roost_batch_append(batch, &memory));
            int err = roost_submit(root, batch, NULL, (void *)(intptr_t)sent, NULL);
            if (err == ROOST_EAGAIN) break;
            GIVES(0, err);
            sent++;
        }
        if (holder && landed > MANY / 2) {
            mp_kill(holder); /* whoever has the lane goes on by himself */
            holder = 0;
        }
        CHECK(readable(file, MP_PATIENCE_MS));
        struct roost_completion completions[32];
        int got;
        do {
            for (int i = 0; i < 32; i++) completions[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
            got = roost_poll(root, completions, 32, 0);
            CHECK(got >= 0);
            for (int i = 0; i < got; i++) {
                GIVES(0, completions[i].result);
                CHECK((intptr_t)completions[i].user == landed);
                landed++;
            }
        } while (got);
    }
    CHECK(landed == MANY);
    CHECK(mp_stats(root).memory_count == MANY + (other_holds ? 1 : 0));
    roost_batch_free(batch);
    mp_close(root);
    mp_check_root();
}

static void submissions_land_on_a_loop(void) { submit_all(false); }
static void submissions_land_though_the_writer_dies(void) { submit_all(true); }

/* ---- many, and none left over ---- */

static void descriptors_come_and_go(void)
{
    enum { WATCHES = 60 };
    const struct roost_topic topics[6] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}},     {ROOST_TOPIC_STATES, 0, {NULL, 0}},
                                          {ROOST_TOPIC_GENERATION, 0, {NULL, 0}},  {ROOST_TOPIC_KEYS, 0, {NULL, 0}},
                                          {ROOST_TOPIC_STATE, 0, ROOST_TEXT("a")}, {ROOST_TOPIC_STREAM, 0, ROOST_TEXT("s")}};
    roost_root *root = mp_open();
    mp_append(root, "first");
    GIVES(0, roost_rest(root));
    uint32_t files = count_of("/proc/self/fd"), threads = count_of("/proc/self/task");
    for (int round = 0; round < 20; round++) {
        roost_root *roots[WATCHES];
        roost_watch *watches[WATCHES];
        int fds[WATCHES];
        for (int i = 0; i < WATCHES; i++) {
            roots[i] = i % 5 ? root : mp_open_with(i % 2 ? 0 : ROOST_OPEN_OBSERVE, 0, 0);
            GIVES(0, roost_watch_open(roots[i], &topics[i % 6], 1, &watches[i]));
            GIVES(0, roost_watch_fd(watches[i], &fds[i]));
        }
        for (int i = 0; i < WATCHES; i++) { /* nothing yet, and armed */
            struct roost_event event = ROOST_EVENT_INIT;
            while (roost_watch_wait(watches[i], 0, &event) == 1) {}
        }
        mp_append(root, "again");
        for (int i = 0; i < WATCHES; i += 6) {
            struct roost_event event = ROOST_EVENT_INIT;
            CHECK(readable(fds[i], MP_PATIENCE_MS));
            int found;
            while ((found = roost_watch_wait(watches[i], 0, &event)) == 0) CHECK(readable(fds[i], MP_PATIENCE_MS));
            CHECK(found == 1 && event.kind == ROOST_CHANGE_MEMORY);
        }
        for (int i = round % 2 ? 0 : WATCHES - 1; i >= 0 && i < WATCHES; i += round % 2 ? 1 : -1) {
            roost_watch_close(watches[i]);
            if (roots[i] != root) mp_close(roots[i]);
        }
    }
    CHECK(count_of("/proc/self/fd") == files);
    /* The thread's entry may outlive it for a moment. */
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (count_of("/proc/self/task") > threads && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(count_of("/proc/self/task") <= threads);
    mp_close(root);
}

#ifndef MP_NO_THREADS_AFTER_FORK
/* A fork's child has neither the thread nor the handles; it opens its own. */
static void a_fork_on_a_loop(void)
{
    const struct roost_topic topic = {ROOST_TOPIC_COMMITS, 0, {NULL, 0}};
    struct roost_event event = ROOST_EVENT_INIT;
    roost_root *root = mp_open();
    roost_watch *watch, *own_watch;
    int file, own_file;
    mp_append(root, "first");
    GIVES(0, roost_rest(root));
    GIVES(0, roost_watch_open(root, &topic, 1, &watch));
    GIVES(0, roost_watch_fd(watch, &file));
    GIVES(0, roost_watch_wait(watch, 0, &event));
    fflush(NULL);
    mp_quiet();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        GIVES(ROOST_EFORK, roost_watch_wait(watch, 0, &event));
        GIVES(ROOST_EFORK, roost_watch_fd(watch, &own_file));
        roost_root *own = mp_open();
        GIVES(0, roost_watch_open(own, &topic, 1, &own_watch));
        GIVES(0, roost_watch_fd(own_watch, &own_file));
        GIVES(0, roost_watch_wait(own_watch, 0, &event));
        mp_append(own, "second");
        CHECK(readable(own_file, MP_PATIENCE_MS) && roost_watch_wait(own_watch, 0, &event) == 1);
        roost_watch_close(own_watch);
        mp_close(own);
        roost_watch_close(watch);
        CHECK(roost_close(root) == 0);
        _exit(0);
    }
    mp_finish(child);
    int found = 0;
    while (!found) {
        CHECK(readable(file, MP_PATIENCE_MS));
        found = roost_watch_wait(watch, 0, &event);
    }
    CHECK(found == 1 && event.kind == ROOST_CHANGE_MEMORY);
    roost_watch_close(watch);
    mp_close(root);
}
#endif

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"a_watch_on_a_loop_misses_nothing", a_watch_on_a_loop_misses_nothing},
        {"an_observer_on_a_loop_misses_nothing", an_observer_on_a_loop_misses_nothing},
        {"a_watch_on_a_loop_survives_a_lost_region", a_watch_on_a_loop_survives_a_lost_region},
        {"submissions_land_on_a_loop", submissions_land_on_a_loop},
        {"submissions_land_though_the_writer_dies", submissions_land_though_the_writer_dies},
        {"descriptors_come_and_go", descriptors_come_and_go},
#ifndef MP_NO_THREADS_AFTER_FORK
        {"a_fork_on_a_loop", a_fork_on_a_loop},
#endif
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
