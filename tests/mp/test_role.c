/* SPDX-License-Identifier: MIT
 * mp/test_role.c: the writer's role between processes: it rests, follows the work, is inherited, and never stolen from the living. */
#include "mp/mp.h"

static struct mp_pipe ready, go, numbers;

/* ---- an agent that was stopped ---- */

static int sit_idle(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    mp_append(root, "written before it became idle");
    /* The role rests by itself: seen from the figures alone. */
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).writer_pid && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(!mp_stats(root).writer_pid);
    mp_tell(ready, 'i');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void a_stopped_idle_agent_holds_nobody_up(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t idle = mp_start(sit_idle, NULL);
    mp_await(ready, 'i');
    mp_stop(idle);
    int64_t began = mp_now_ns();
    roost_root *root = mp_open();
    mp_append(root, "durable, while the other is stopped");
    CHECK(mp_now_ns() - began < 500 * INT64_C(1000000)); /* the bound that the README promises */
    kill(idle, SIGCONT);
    mp_tell(go, 'e');
    mp_finish(idle);
    CHECK(mp_stats(root).memory_count == 2);
    mp_close(root);
}

static int hold(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "the holder's own");
    mp_tell(ready, 'h');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void a_stopped_holder_leaves_receipts_that_settle_once(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t holder = mp_start(hold, NULL);
    mp_await(ready, 'h');
    mp_stop(holder);
    roost_root *root = mp_open();
    /* Reads go on. */
    CHECK(mp_find(root, "holder", NULL) == 1);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_receipt receipts[200];
    char holder_name[32];
    snprintf(holder_name, sizeof holder_name, "process %d", (int)holder);
    memory.text = roost_text("written while the holder was stopped");
    write.wait_ms = 1;
    /* More than a lane has entries: those beyond are refused, not lost. */
    int timed_out = 0, refused = 0;
    for (int i = 0; i < 200; i++) {
        int err = roost_append(root, &memory, &write, NULL, &receipts[timed_out]);
        CHECK(err == ROOST_ETIMEDOUT || err == ROOST_EAGAIN);
        CHECK(err == ROOST_EAGAIN || strstr(roost_error_detail(), holder_name));
        if (err == ROOST_ETIMEDOUT)
            timed_out++;
        else
            refused++;
    }
    CHECK(timed_out == 128 && refused == 200 - timed_out);
    CHECK(mp_find(root, "stopped", NULL) == 0);
    kill(holder, SIGCONT);
    uint64_t last = 0;
    for (int i = 0; i < timed_out; i++) {
        GIVES(0, roost_settle(root, &receipts[i], MP_PATIENCE_MS));
        CHECK(receipts[i].id > last);
        last = receipts[i].id;
    }
    CHECK(mp_stats(root).memory_count == (uint64_t)timed_out + 1);
    /* Writes that nobody asks about make room for others in the end. */
    mp_stop(holder);
    for (int i = 0; i < 100; i++) GIVES(ROOST_ETIMEDOUT, roost_append(root, &memory, &write, NULL, NULL));
    kill(holder, SIGCONT);
    for (int i = 0; i < 300; i++) mp_append(root, "room again");
    CHECK(mp_stats(root).memory_count == (uint64_t)timed_out + 401);
    mp_tell(go, 'e');
    mp_finish(holder);
    mp_close(root);
    mp_check_root();
}

/* Care that the holder does not take up in time is taken back: nothing of it happens later. */
static void care_does_not_wait_for_a_stopped_holder(void)
{
    static int (*const cares[])(roost_root *) = {roost_checkpoint, roost_rebuild, roost_sync, roost_rest};
    ready = mp_pipe();
    go = mp_pipe();
    pid_t holder = mp_start(hold, NULL);
    mp_await(ready, 'h');
    mp_stop(holder);
    roost_root *root = mp_open_with(0, 100, 0);
    uint64_t generation = mp_stats(root).generation;
    int64_t began = mp_now_ns();
    for (size_t i = 0; i < sizeof cares / sizeof cares[0]; i++) GIVES(ROOST_ETIMEDOUT, cares[i](root));
    CHECK(strstr(roost_error_detail(), "nothing was done"));
    CHECK(mp_now_ns() - began < 5 * INT64_C(1000000000));
    kill(holder, SIGCONT);
    roost_root *patient = mp_open();
    mp_append(patient, "answered, so what came before it was looked at");
    CHECK(mp_stats(root).generation == generation);
    GIVES(0, roost_checkpoint(patient));
    CHECK(mp_stats(root).generation > generation);
    mp_close(patient);
    mp_tell(go, 'e');
    mp_finish(holder);
    mp_close(root);
}

/* ---- handover ---- */

static int write_and_rest(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    for (int i = 0; i < 50; i++) {
        mp_await(go, 'w');
        mp_append(root, "in turn");
        mp_tell(ready, 'w');
    }
    mp_close(root);
    return 0;
}

static void the_role_goes_back_and_forth_without_a_takeover(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t other = mp_start(write_and_rest, NULL);
    roost_root *root = mp_open();
    uint64_t takeovers = mp_stats(root).takeover_count, epoch = mp_stats(root).epoch;
    for (int i = 0; i < 50; i++) {
        mp_append(root, "in turn");
        if (i % 2) GIVES(0, roost_rest(root));
        mp_tell(go, 'w');
        mp_await(ready, 'w');
    }
    struct roost_stats stats = mp_stats(root);
    CHECK(stats.takeover_count == takeovers && stats.epoch == epoch && stats.memory_count == 100);
    mp_finish(other);
    mp_close(root);
}

static void rest_asks_a_holder_to_let_go(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t holder = mp_start(hold, NULL);
    mp_await(ready, 'h');
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    CHECK(mp_stats(root).writer_pid == (int32_t)holder);
    GIVES(0, roost_rest(root));
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).writer_pid == (int32_t)holder && mp_now_ns() < deadline) poll(NULL, 0, 1);
    mp_append(root, "mine now");
    CHECK(mp_stats(root).own_role);
    mp_tell(go, 'e');
    mp_finish(holder);
    mp_close(root);
}

/* Whoever serves another's writes and has none of its own lets that one have the role, however busy it is kept. */
static void serving_others_does_not_keep_the_role(void)
{
    enum { IDLE_MS = 200 };
    roost_root *idle = mp_open_with(0, 20000, IDLE_MS), *busy = mp_open();
    mp_append(idle, "its last work");
    int64_t began = mp_now_ns(), deadline = began + 20 * IDLE_MS * INT64_C(1000000);
    while (!mp_stats(busy).own_role && mp_now_ns() < deadline) mp_append(busy, "served by the other");
    CHECK(mp_stats(busy).own_role);
    mp_close(idle);
    mp_close(busy);
}

/* ---- fork ---- */

static int live_on(void *argument)
{
    roost_root *inherited = argument;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_stats stats = ROOST_STATS_INIT;
    roost_iter *iter;
    memory.text = roost_text("from the child");
    GIVES(ROOST_EFORK, roost_append(inherited, &memory, NULL, NULL, NULL));
    GIVES(ROOST_EFORK, roost_stats(inherited, &stats));
    GIVES(ROOST_EFORK, roost_get(inherited, 1, &memory));
    GIVES(ROOST_EFORK, roost_scan(inherited, 0, 0, &iter));
    GIVES(ROOST_EFORK, roost_state_release(inherited, roost_text("x")));
    CHECK(strstr(roost_error_detail(), "fork"));
    GIVES(0, roost_close(inherited));
    roost_root *own = mp_open();
    mp_append(own, "from the child's own handle");
    mp_tell(ready, 'c');
    mp_await(go, 'e');
    mp_close(own);
    return 0;
}

static void a_fork_leaves_the_parent_alone(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "before the fork");
    pid_t child = mp_start(live_on, root);
    mp_await(ready, 'c');
    mp_append(root, "after the fork");
    CHECK(mp_stats(root).own_role && mp_stats(root).memory_count == 3);
    mp_tell(go, 'e');
    mp_finish(child);
    mp_close(root);
}

static int outlive(void *argument)
{
    (void)argument;
    mp_tell(ready, 'c');
    mp_await(go, 'e');
    return 0;
}

static int fork_and_hold(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "the parent's");
    pid_t child = mp_start(outlive, NULL);
    mp_give(numbers, &child, sizeof child);
    mp_append(root, "the parent's, after the fork");
    mp_tell(ready, 'p');
    mp_await(go, 'x');
    return 1;
}

static void a_killed_parent_frees_the_role_though_its_child_lives(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    numbers = mp_pipe();
    pid_t parent = mp_start(fork_and_hold, NULL), child;
    mp_take(numbers, &child, sizeof child);
    char got[2];
    mp_take(ready, got, 2);
    mp_kill(parent);
    CHECK(kill(child, 0) == 0);
    roost_root *root = mp_open_with(0, 2000, 0);
    mp_append(root, "the role was free");
    CHECK(mp_stats(root).memory_count == 3 && mp_stats(root).takeover_count == 1);
    mp_tell(go, 'e');
    mp_close(root);
}

/* ---- two handles in one process ---- */

static void the_same_root_twice_in_one_process(void)
{
    roost_root *a = mp_open(), *b = mp_open();
    CHECK(mp_stats(a).participant_count == 2);
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof text, "t%dt", i);
        roost_id id = mp_append(i % 2 ? a : b, text), found = 0;
        CHECK(mp_find(i % 2 ? b : a, text, &found) == 1 && found == id);
    }
    roost_root *holder = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    uint64_t more = 0;
    /* The others may still serve it at first: they keep the role for a moment. */
    for (; !mp_stats(holder).own_role; more++) mp_append(holder, "a third one that keeps the role");
    CHECK(mp_stats(holder).own_role && !mp_stats(a).own_role);
    mp_append(a, "served by the third");
    mp_close(a);
    mp_append(b, "served by the third");
    mp_close(holder);
    mp_append(b, "alone");
    CHECK(mp_stats(b).memory_count == 203 + more);
    mp_close(b);
    mp_check_root();
}

/* ---- the second look (R16): who lets go looks at the lanes once more ---- */

static int append_many(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(0, 20000, 1);
    mp_await(go, 'g');
    int64_t worst = 0, slow = 0;
    for (int i = 0; i < 3000; i++) {
        int64_t began = mp_now_ns();
        struct roost_memory memory = ROOST_MEMORY_INIT;
        struct roost_write write = ROOST_WRITE_INIT;
        memory.text = roost_text("quick");
        write.level = ROOST_PROCESS;
        GIVES(0, roost_append(root, &memory, &write, NULL, NULL));
        int64_t took = mp_now_ns() - began;
        if (took > worst) worst = took;
        slow += took > 9000000;
        /* Let go as often as possible: the other one submits while the word is being stored. */
        if (i % 3 == 0) GIVES(0, roost_rest(root));
    }
    int64_t both[2] = {worst, slow};
    mp_give(numbers, both, sizeof both);
    mp_close(root);
    return 0;
}

static void nobody_waits_a_slice_for_a_role_that_was_let_go(void)
{
    go = mp_pipe();
    numbers = mp_pipe();
    pid_t pids[2];
    for (int i = 0; i < 2; i++) pids[i] = mp_start(append_many, NULL);
    for (int i = 0; i < 2; i++) mp_tell(go, 'g');
    for (int i = 0; i < 2; i++) {
        int64_t both[2];
        mp_take(numbers, both, sizeof both);
        printf("     6,000 writes and 2,000 rests: worst %.1f ms, %lld above 9 ms\n", (double)both[0] / 1e6, (long long)both[1]);
    }
    for (int i = 0; i < 2; i++) mp_finish(pids[i]);
    mp_check_root();
}

/* ---- a kill at each of the moments of closing ---- */

static int open_write_close(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < UINT32_MAX; i++) { /* until it is killed */
        roost_root *root = mp_open();
        mp_append(root, "again");
        mp_give(numbers, &i, sizeof i);
        mp_close(root);
    }
    return 1;
}

static void killed_while_closing_leaves_a_good_root(void)
{
    uint64_t acknowledged = 0;
    signal(SIGPIPE, SIG_IGN);
    for (int round = 0; round < 60; round++) {
        numbers = mp_pipe();
        pid_t pids[3];
        for (int i = 0; i < 3; i++) pids[i] = mp_start(open_write_close, NULL);
        uint32_t number;
        for (int i = 0; i < 3 + round % 7; i++) {
            mp_take(numbers, &number, sizeof number);
            acknowledged++;
        }
        for (int i = 0; i < 3; i++) kill(pids[i], SIGKILL);
        for (int i = 0; i < 3; i++) waitpid(pids[i], NULL, 0);
        while (mp_ready(numbers, 0)) {
            mp_take(numbers, &number, sizeof number);
            acknowledged++;
        }
        close(numbers.ends[0]);
        close(numbers.ends[1]);
    }
    roost_root *root = mp_open();
    uint64_t count = mp_stats(root).memory_count;
    CHECK(count >= acknowledged && count <= acknowledged + 180);
    char region[256];
    CHECK(mp_region_path(region, sizeof region));
    mp_close(root);
    CHECK(access(region, F_OK) != 0);
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"a_stopped_idle_agent_holds_nobody_up", a_stopped_idle_agent_holds_nobody_up},
        {"a_stopped_holder_leaves_receipts_that_settle_once", a_stopped_holder_leaves_receipts_that_settle_once},
        {"care_does_not_wait_for_a_stopped_holder", care_does_not_wait_for_a_stopped_holder},
        {"the_role_goes_back_and_forth_without_a_takeover", the_role_goes_back_and_forth_without_a_takeover},
        {"serving_others_does_not_keep_the_role", serving_others_does_not_keep_the_role},
        {"rest_asks_a_holder_to_let_go", rest_asks_a_holder_to_let_go},
        {"a_fork_leaves_the_parent_alone", a_fork_leaves_the_parent_alone},
        {"a_killed_parent_frees_the_role_though_its_child_lives", a_killed_parent_frees_the_role_though_its_child_lives},
        {"the_same_root_twice_in_one_process", the_same_root_twice_in_one_process},
        {"nobody_waits_a_slice_for_a_role_that_was_let_go", nobody_waits_a_slice_for_a_role_that_was_let_go},
        {"killed_while_closing_leaves_a_good_root", killed_while_closing_leaves_a_good_root},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
