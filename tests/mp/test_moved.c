/* SPDX-License-Identifier: MIT
 * mp/test_moved.c: the ground moves: the root or its shared memory is taken away under processes that have it open. */
#include "mp/mp.h"

static struct mp_pipe ready, go, numbers;

/* ---- the root ---- */

static void expect_moved(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("nowhere to go");
    int64_t began = mp_now_ns();
    GIVES(ROOST_EMOVED, roost_append(root, &memory, NULL, NULL, NULL));
    CHECK(mp_now_ns() - began < 5 * INT64_C(1000000000));
    CHECK(strstr(roost_error_detail(), mp_root));
    roost_close(root);
}

static void a_moved_root_says_so(void)
{
    char there[200];
    snprintf(there, sizeof there, "%s/elsewhere", mp_folder);
    roost_root *root = mp_open();
    mp_append(root, "before the move");
    GIVES(0, roost_rest(root));
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).writer_pid && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(rename(mp_root, there) == 0);
    /* The folder is the same, only its name is new: whoever has it open works on, and who opens it there joins. */
    mp_append(root, "after the move");
    strcpy(mp_root, there);
    roost_root *second = mp_open();
    CHECK(mp_stats(second).memory_count == 2);
    mp_append(second, "by the new name");
    CHECK(mp_stats(root).memory_count == 3);
    mp_close(second);
    mp_close(root);
    mp_check_root();
}

static void a_removed_root_says_so(void)
{
    char command[300];
    roost_root *root = mp_open(), *holder = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "before the end");
    while (!mp_stats(holder).own_role) mp_append(holder, "held");
    snprintf(command, sizeof command, "rm -rf '%s'", mp_root);
    CHECK(system(command) == 0);
    /* The holder may not have noticed; it lets go when it looks. */
    expect_moved(holder);
    expect_moved(root);
    CHECK(access(mp_root, F_OK) != 0);
}

static void another_root_in_its_place_is_not_written(void)
{
    char command[300];
    roost_root *root = mp_open();
    mp_append(root, "the first root's");
    GIVES(0, roost_rest(root));
    snprintf(command, sizeof command, "rm -rf '%s'", mp_root);
    CHECK(system(command) == 0);
    GIVES(0, roost_create(mp_root, NULL));
    roost_root *second = mp_open();
    mp_append(second, "the second root's");
    expect_moved(root);
    CHECK(mp_stats(second).memory_count == 1);
    mp_close(second);
    mp_check_root();
}

/* ---- the region ---- */

enum { WRITERS = 4 };

/* Some completions; tells of those that were not applied. */
static int take_completions(roost_root *root, uint32_t wait_ms)
{
    struct roost_completion landed[20];
    for (int i = 0; i < 20; i++) landed[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
    int count = roost_poll(root, landed, 20, wait_ms);
    CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        if (landed[i].result == ROOST_ECANCELED) {
            /* Said not to be applied: the count in the end tells whether that was true. */
            uint32_t lost = UINT32_MAX;
            mp_give(numbers, &lost, sizeof lost);
            continue;
        }
        GIVES(0, landed[i].result);
    }
    return count;
}

static int write_on(void *argument)
{
    int own = (int)(intptr_t)argument;
    roost_root *root = mp_open_with(own == 0 ? ROOST_OPEN_HOLD : 0, 20000, 0);
    char text[64];
    uint32_t count = 0;
    mp_tell(ready, 'r');
    roost_batch *batch;
    GIVES(0, roost_batch_open(&batch));
    while (!mp_ready(go, 0)) {
        uint64_t ids[2], index;
        struct roost_memory memory = ROOST_MEMORY_INIT, got = ROOST_MEMORY_INIT;
        struct roost_write write = ROOST_WRITE_INIT;
        snprintf(text, sizeof text, "r%dx%uq", own, count);
        memory.text = roost_text(text);
        write.level = count % 2 ? ROOST_PROCESS : ROOST_DURABLE;
        roost_batch_clear(batch);
        GIVES(0, roost_batch_append(batch, &memory));
        GIVES(0, roost_batch_stream_append(batch, roost_text("all"), roost_text(text)));
        GIVES(0, roost_batch_commit(root, batch, &write, ids, NULL));
        GIVES(0, roost_get(root, ids[0], &got));
        CHECK(got.text.size == strlen(text) && !memcmp(got.text.data, text, got.text.size));
        roost_unpin(root, &got.pin);
        index = ids[1];
        struct roost_item item = ROOST_ITEM_INIT;
        GIVES(0, roost_stream_get(root, roost_text("all"), index, &item));
        CHECK(item.value.size == strlen(text) && !memcmp(item.value.data, text, item.value.size));
        roost_unpin(root, &item.pin);
        struct roost_state state = ROOST_STATE_INIT;
        snprintf(text, sizeof text, "agent%d", own);
        state.name = roost_text(text);
        state.active_memory_count = ++count;
        GIVES(0, roost_state_publish(root, &state, NULL));
        if (count % 97 == 0) {
            char *large = malloc(90001);
            memset(large, 'l', 90000);
            large[90000] = '\0';
            GIVES(0, roost_kv_set(root, roost_text("large"), roost_text(large), NULL, NULL));
            free(large);
        }
        if (count % 50 == 0) {
            /* Without waiting, too: each is completed once. */
            int landed = 0;
            for (int i = 0; i < 20; i++) {
                snprintf(text, sizeof text, "r%dx%uq", own, count++);
                memory.text = roost_text(text);
                roost_batch_clear(batch);
                GIVES(0, roost_batch_append(batch, &memory));
                GIVES(0, roost_batch_stream_append(batch, roost_text("all"), roost_text(text)));
                int err;
                while ((err = roost_submit(root, batch, &write, NULL, NULL)) == ROOST_EAGAIN) landed += take_completions(root, 1);
                GIVES(0, err);
            }
            while (landed < 20) {
                int more = take_completions(root, MP_PATIENCE_MS);
                CHECK(more > 0);
                landed += more;
            }
        }
    }
    roost_batch_free(batch);
    mp_close(root);
    mp_give(numbers, &count, sizeof count);
    return 0;
}

static int watch_on(void *argument)
{
    roost_root *root = mp_open_with((uint32_t)(uintptr_t)argument, 20000, 0);
    const struct roost_topic topics[2] = {{ROOST_TOPIC_STREAM, 0, ROOST_TEXT("all")}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    roost_watch *watch;
    uint64_t next = 0, states[WRITERS] = {0};
    GIVES(0, roost_watch_open(root, topics, 2, &watch));
    mp_tell(ready, 'r');
    while (!mp_ready(go, 0)) {
        struct roost_event event = ROOST_EVENT_INIT;
        int got = roost_watch_wait(watch, 100, &event);
        CHECK(got >= 0);
        if (got && event.kind == ROOST_CHANGE_STREAM) {
            CHECK(event.id >= next);
            next = event.id + 1;
        }
        for (int i = 0; i < WRITERS; i++) {
            char name[16];
            struct roost_state state = ROOST_STATE_INIT;
            snprintf(name, sizeof name, "agent%d", i);
            int err = roost_state_get(root, roost_text(name), &state);
            if (err == ROOST_ENOENT) continue;
            GIVES(0, err);
            if (state.active_memory_count > states[i]) states[i] = state.active_memory_count;
            roost_unpin(root, &state.pin);
        }
    }
    roost_watch_close(watch);
    mp_close(root);
    return 0;
}

static void an_unlinked_region_loses_nothing(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    numbers = mp_pipe();
    pid_t pids[WRITERS + 2];
    for (int i = 0; i < WRITERS; i++) pids[i] = mp_start(write_on, (void *)(intptr_t)i);
    pids[WRITERS] = mp_start(watch_on, (void *)(uintptr_t)0);
    pids[WRITERS + 1] = mp_start(watch_on, (void *)(uintptr_t)ROOST_OPEN_OBSERVE);
    for (int i = 0; i < WRITERS + 2; i++) mp_await(ready, 'r');
    roost_root *root = mp_open();
    for (int round = 0; round < 8; round++) {
        char region[256];
        /* Some work in each region before it goes. */
        uint64_t count = mp_stats(root).memory_count;
        int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
        while (mp_stats(root).memory_count < count + 300 && mp_now_ns() < deadline) mp_append(root, "between");
        CHECK(mp_stats(root).memory_count >= count + 300);
        CHECK(mp_region_path(region, sizeof region));
        CHECK(unlink(region) == 0);
        while (!mp_region_path(region, sizeof region) || access(region, F_OK) != 0) mp_append(root, "after it went");
    }
    for (int i = 0; i < WRITERS + 2; i++) mp_tell(go, 'e');
    for (int i = 0; i < WRITERS + 2; i++) mp_finish(pids[i]);
    uint64_t total = 0;
    for (int i = 0; i < WRITERS;) {
        uint32_t count;
        mp_take(numbers, &count, sizeof count);
        if (count == UINT32_MAX) {
            total--;
            continue;
        }
        total += count;
        i++;
    }
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    GIVES(0, roost_stream_info(root, roost_text("all"), &info));
    if (info.entry_count != total)
        fprintf(stderr, "%llu entries, %llu were acknowledged\n", (unsigned long long)info.entry_count,
                (unsigned long long)total);
    CHECK(info.entry_count == total);
    mp_close(root);
    mp_check_root();
}

/* An idle owner's state follows into the new region, at its version. */
static int own_and_idle(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text("idle");
    for (uint64_t i = 1; i <= 5; i++) {
        state.active_memory_count = i;
        GIVES(0, roost_state_publish(root, &state, NULL));
    }
    mp_tell(ready, 'p');
    mp_await(go, 'e');
    state.active_memory_count = 6;
    GIVES(0, roost_state_publish(root, &state, NULL));
    mp_tell(ready, 'p');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void an_idle_owners_state_survives_an_unlinked_region(void)
{
    char region[256];
    ready = mp_pipe();
    go = mp_pipe();
    pid_t owner = mp_start(own_and_idle, NULL);
    mp_await(ready, 'p');
    roost_root *root = mp_open();
    struct roost_state state = ROOST_STATE_INIT;
    CHECK(mp_region_path(region, sizeof region));
    CHECK(unlink(region) == 0);
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    uint32_t alive = ROOST_ALIVE_NO;
    do {
        mp_append(root, "look");
        int err = roost_state_get(root, roost_text("idle"), &state);
        CHECK(!err || err == ROOST_ENOENT);
        if (err) continue;
        alive = state.alive;
        CHECK(state.active_memory_count == 5 && state.version == 5);
        roost_unpin(root, &state.pin);
    } while (alive != ROOST_ALIVE_YES && mp_now_ns() < deadline);
    CHECK(alive == ROOST_ALIVE_YES);
    state = (struct roost_state)ROOST_STATE_INIT;
    state.name = roost_text("idle");
    GIVES(ROOST_EBUSY, roost_state_publish(root, &state, NULL));
    mp_tell(go, 'e');
    mp_await(ready, 'p');
    GIVES(0, roost_state_get(root, roost_text("idle"), &state));
    CHECK(state.active_memory_count == 6 && state.version == 6);
    roost_unpin(root, &state.pin);
    mp_tell(go, 'e');
    mp_finish(owner);
    mp_close(root);
    mp_check_root();
}

/* Whoever could not attach anew, because nobody was there to make a new region, has lost his slot: he has one again when he writes. */
static int hold_on(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "held");
    mp_tell(ready, 'h');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void a_late_region_costs_no_slot(void)
{
    char region[256];
    ready = mp_pipe();
    go = mp_pipe();
    pid_t holder = mp_start(hold_on, NULL);
    mp_await(ready, 'h');
    roost_root *root = mp_open();
    CHECK(mp_region_path(region, sizeof region));
    mp_stop(holder);
    CHECK(unlink(region) == 0);
    /* Reads look for another region, find none, and go on in this one. */
    int64_t until = mp_now_ns() + 300 * INT64_C(1000000);
    while (mp_now_ns() < until) CHECK(mp_find(root, "held", NULL) >= 1);
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_batch *batch;
    state.name = roost_text("late");
    memory.text = roost_text("without waiting");
    GIVES(0, roost_batch_open(&batch));
    GIVES(0, roost_batch_append(batch, &memory));
    CHECK(kill(holder, SIGCONT) == 0);
    int err = ROOST_EAGAIN;
    for (int64_t end = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000); err == ROOST_EAGAIN && mp_now_ns() < end;) {
        err = roost_submit(root, batch, NULL, NULL, NULL);
        poll(NULL, 0, 1);
    }
    GIVES(0, err);
    GIVES(0, roost_state_publish(root, &state, NULL));
    struct roost_completion landed = ROOST_COMPLETION_INIT;
    CHECK(roost_poll(root, &landed, 1, MP_PATIENCE_MS) == 1);
    if (landed.result == ROOST_ECANCELED) { /* it went into the region that was lost */
        while ((err = roost_submit(root, batch, NULL, NULL, NULL)) == ROOST_EAGAIN) poll(NULL, 0, 1);
        GIVES(0, err);
        CHECK(roost_poll(root, &landed, 1, MP_PATIENCE_MS) == 1);
    }
    GIVES(0, landed.result);
    CHECK(mp_find(root, "waiting", NULL) == 1);
    roost_batch_free(batch);
    mp_tell(go, 'e');
    mp_finish(holder);
    mp_close(root);
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"a_moved_root_says_so", a_moved_root_says_so},
        {"a_removed_root_says_so", a_removed_root_says_so},
        {"another_root_in_its_place_is_not_written", another_root_in_its_place_is_not_written},
        {"an_unlinked_region_loses_nothing", an_unlinked_region_loses_nothing},
        {"an_idle_owners_state_survives_an_unlinked_region", an_idle_owners_state_survives_an_unlinked_region},
        {"a_late_region_costs_no_slot", a_late_region_costs_no_slot},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
