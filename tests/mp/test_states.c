/* SPDX-License-Identifier: MIT
 * mp/test_states.c: agents' states and watches across processes. */
#include "mp/mp.h"

static struct mp_pipe ready, go;

static void publish(roost_root *root, const char *name, const char *status, uint64_t count)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(name);
    state.status = roost_text(status);
    state.active_memory_count = count;
    GIVES(0, roost_state_publish(root, &state, NULL));
}

static struct roost_state get(roost_root *root, const char *name)
{
    struct roost_state state = ROOST_STATE_INIT;
    GIVES(0, roost_state_get(root, roost_text(name), &state));
    return state;
}

static bool is(struct roost_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && !memcmp(bytes.data, text, bytes.size);
}

enum { LAST = 400 };

/* Sees the current value first, then later ones, the last for sure, then the owner's death. */
static int watch_agent(void *argument)
{
    roost_root *root = mp_open_with((uint32_t)(uintptr_t)argument, 20000, 0);
    const struct roost_topic topic = {ROOST_TOPIC_STATE, 0, ROOST_TEXT("worker")};
    roost_watch *watch;
    struct roost_event event = ROOST_EVENT_INIT;
    GIVES(0, roost_watch_open(root, &topic, 1, &watch));
    CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1);
    CHECK(event.kind == ROOST_CHANGE_STATE && is(event.name, "worker"));
    mp_tell(ready, 'w');
    uint64_t version = event.id, count = 0;
    while (count < LAST) {
        CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1);
        CHECK(event.id > version);
        version = event.id;
        struct roost_state state = get(root, "worker");
        CHECK(state.version >= version && state.active_memory_count >= count);
        CHECK(state.alive == ROOST_ALIVE_YES && state.owner_pid);
        count = state.active_memory_count;
        roost_unpin(root, &state.pin);
    }
    mp_tell(ready, 'l');
    /* It may still have a later event than the value that was read; then the death. */
    for (;;) {
        CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1);
        struct roost_state state = get(root, "worker");
        uint32_t alive = state.alive;
        CHECK(state.active_memory_count == LAST);
        roost_unpin(root, &state.pin);
        if (alive == ROOST_ALIVE_NO) break;
    }
    mp_tell(ready, 'd');
    roost_watch_close(watch);
    mp_close(root);
    return 0;
}

static int be_worker(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    publish(root, "worker", "new", 0);
    mp_tell(ready, 'p');
    mp_await(go, 'g');
    for (uint64_t i = 1; i <= LAST; i++) publish(root, "worker", "busy", i);
    mp_await(go, 'x');
    return 1;
}

static void watchers_see_the_last_value_and_the_owners_death(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t worker = mp_start(be_worker, NULL);
    mp_await(ready, 'p');
    pid_t writer = mp_start(watch_agent, (void *)(uintptr_t)0),
          observer = mp_start(watch_agent, (void *)(uintptr_t)ROOST_OPEN_OBSERVE);
    mp_await(ready, 'w');
    mp_await(ready, 'w');
    mp_tell(go, 'g');
    mp_await(ready, 'l');
    mp_await(ready, 'l');
    mp_kill(worker);
    mp_await(ready, 'd');
    mp_await(ready, 'd');
    mp_finish(writer);
    mp_finish(observer);
    roost_root *root = mp_open();
    struct roost_state state = get(root, "worker");
    CHECK(state.alive == ROOST_ALIVE_NO && state.active_memory_count == LAST && is(state.status, "busy"));
    uint64_t version = state.version;
    roost_unpin(root, &state.pin);
    /* Another one takes the name up and goes on above it. */
    publish(root, "worker", "heir", LAST + 1);
    state = get(root, "worker");
    CHECK(state.version > version && state.alive == ROOST_ALIVE_YES && is(state.status, "heir"));
    roost_unpin(root, &state.pin);
    mp_close(root);
    root = mp_open();
    state = get(root, "worker");
    CHECK(state.version > version && state.alive == ROOST_ALIVE_NO && is(state.status, "heir"));
    roost_unpin(root, &state.pin);
    mp_close(root);
    mp_check_root();
}

static int own_name(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    publish(root, "named", "mine", 1);
    mp_tell(ready, 'p');
    mp_await(go, 'e');
    GIVES(0, roost_state_release(root, roost_text("named")));
    mp_tell(ready, 'r');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void a_second_owner_is_refused_by_name(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t owner = mp_start(own_name, NULL);
    mp_await(ready, 'p');
    roost_root *root = mp_open(), *second = mp_open();
    struct roost_state state = ROOST_STATE_INIT;
    char name[32];
    state.name = roost_text("named");
    snprintf(name, sizeof name, "process %d", (int)owner);
    GIVES(ROOST_EBUSY, roost_state_publish(root, &state, NULL));
    CHECK(strstr(roost_error_detail(), name));
    mp_tell(go, 'e');
    mp_await(ready, 'r');
    publish(root, "named", "other", 2);
    /* Two handles of one process are two owners. */
    GIVES(ROOST_EBUSY, roost_state_publish(second, &state, NULL));
    mp_close(root);
    publish(second, "named", "third", 3);
    struct roost_state now = get(second, "named");
    CHECK(now.active_memory_count == 3 && now.version == 3);
    roost_unpin(second, &now.pin);
    mp_tell(go, 'e');
    mp_finish(owner);
    mp_close(second);
}

/* ---- a name that goes from a dead owner to the next ---- */

static int own_when_asked(void *argument)
{
    (void)argument;
    mp_await(go, 'n');
    static roost_root *root; /* never closed, but not lost to a leak checker */
    root = mp_open();
    publish(root, "agent", "mine", 0);
    pid_t pid = getpid();
    mp_give(ready, &pid, sizeof pid);
    pause();
    return 1;
}

/* Version, owner and alive belong together: a dead one's value is never shown alive because somebody has its name by now, nor is a living
 * one's shown dead. */
static bool look_for_successor(roost_root *root, pid_t dead, uint64_t version)
{
    struct roost_state state = ROOST_STATE_INIT;
    int err = roost_state_get(root, roost_text("agent"), &state);
    if (err == ROOST_ENOENT && !dead) return false;
    GIVES(0, err);
    bool new = state.owner_pid != dead;
    CHECK(state.alive == (new ? ROOST_ALIVE_YES : ROOST_ALIVE_NO));
    CHECK(state.version == version + new);
    roost_unpin(root, &state.pin);
    return new;
}

static void a_value_lives_as_long_as_who_published_it(void)
{
    enum { OWNERS = 100 };
    ready = mp_pipe();
    go = mp_pipe();
    for (int i = 0; i < OWNERS; i++) mp_start(own_when_asked, NULL);
    roost_root *root = mp_open(), *observer = mp_open_with(ROOST_OPEN_OBSERVE, 0, 0);
    pid_t dead = 0, owner;
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    for (uint64_t version = 0; version < OWNERS; version++) {
        bool seen = false, observed = false;
        mp_tell(go, 'n');
        while ((!seen || !observed) && mp_now_ns() < deadline) {
            seen = look_for_successor(root, dead, version);
            observed = look_for_successor(observer, dead, version);
        }
        CHECK(seen && observed);
        mp_take(ready, &owner, sizeof owner);
        mp_kill(owner);
        dead = owner;
    }
    mp_close(observer);
    mp_close(root);
}

/* Who has a name and has said nothing under it yet does not make his predecessor's value live. */
static void an_owner_without_a_value(void)
{
    char text[ROOST_STATE_SIZE_MAX];
    struct roost_extra extra = {ROOST_TEXT("x"), {text, sizeof text}};
    struct roost_state state = ROOST_STATE_INIT, large = ROOST_STATE_INIT;
    roost_root *root = mp_open(), *former = mp_open();
    publish(former, "agent", "former", 1);
    mp_close(former);
    memset(text, 'x', sizeof text);
    large.name = roost_text("agent");
    large.extra = &extra;
    large.extra_count = 1;
    GIVES(ROOST_E2BIG, roost_state_publish(root, &large, NULL)); /* the name is its own by now */
    state = get(root, "agent");
    CHECK(state.alive == ROOST_ALIVE_NO && state.version == 1 && is(state.status, "former"));
    roost_unpin(root, &state.pin);
    publish(root, "agent", "new", 2);
    state = get(root, "agent");
    CHECK(state.alive == ROOST_ALIVE_YES && state.version == 2 && is(state.status, "new"));
    roost_unpin(root, &state.pin);
    /* The same after a release. */
    GIVES(0, roost_state_release(root, roost_text("agent")));
    state = get(root, "agent");
    CHECK(state.alive == ROOST_ALIVE_NO && state.version == 2);
    roost_unpin(root, &state.pin);
    mp_close(root);
}

/* Takeovers, handovers and restarts of others are nobody's news. */
static int write_and_die(void *argument)
{
    (void)argument;
    mp_await(go, 'w');
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "and dies with the role");
    CHECK(mp_stats(root).own_role);
    pid_t pid = getpid();
    mp_give(ready, &pid, sizeof pid);
    pause();
    return 1;
}

static void takeovers_wake_no_watcher(void)
{
    enum { WRITERS = 5 };
    ready = mp_pipe();
    go = mp_pipe();
    for (int i = 0; i < WRITERS; i++) mp_start(write_and_die, NULL);
    roost_root *root = mp_open();
    publish(root, "watched", "calm", 1);
    const struct roost_topic topics[3] = {{ROOST_TOPIC_STATE, 0, ROOST_TEXT("watched")},
                                          {ROOST_TOPIC_STREAM, 0, ROOST_TEXT("s")},
                                          {ROOST_TOPIC_COMMITS, 0, {NULL, 0}}};
    roost_watch *watch;
    struct roost_event event = ROOST_EVENT_INIT;
    GIVES(0, roost_watch_open(root, topics, 3, &watch));
    CHECK(roost_watch_wait(watch, 1000, &event) == 1 && event.kind == ROOST_CHANGE_STATE);
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).writer_pid && mp_now_ns() < deadline) poll(NULL, 0, 1);
    for (int i = 0; i < WRITERS; i++) {
        pid_t writer;
        mp_tell(go, 'w');
        mp_take(ready, &writer, sizeof writer);
        CHECK(roost_watch_wait(watch, 1000, &event) == 1 && event.kind == ROOST_CHANGE_MEMORY);
        mp_kill(writer);
        GIVES(0, roost_sync(root)); /* inherits */
        GIVES(0, roost_rest(root));
        GIVES(0, roost_watch_wait(watch, 100, &event));
        CHECK(!mp_stats(root).writer_pid);
    }
    CHECK(mp_stats(root).takeover_count == WRITERS);
    roost_watch_close(watch);
    mp_close(root);
}

/* ---- an observer outlives everybody ---- */

static int visit(void *argument)
{
    roost_root *root = mp_open();
    mp_append(root, argument);
    mp_close(root);
    return 0;
}

static int observe_for_long(void *argument)
{
    (void)argument;
    mp_await(go, 'b');
    roost_root *root = mp_open_with(ROOST_OPEN_OBSERVE, 300, 0);
    const struct roost_topic topic = {ROOST_TOPIC_COMMITS, 0, {NULL, 0}};
    struct roost_event event = ROOST_EVENT_INIT;
    roost_watch *watch;
    GIVES(0, roost_watch_open(root, &topic, 1, &watch));
    mp_tell(ready, 'o');
    mp_await(go, 'l'); /* everybody has left */
    GIVES(0, roost_watch_wait(watch, 1500, &event));
    CHECK(mp_find(root, "first", NULL) == 1); /* what it has mapped can still be read */
    mp_tell(ready, 'q');
    CHECK(roost_watch_wait(watch, MP_PATIENCE_MS, &event) == 1 &&
          (event.kind == ROOST_CHANGE_MEMORY || event.kind == ROOST_CHANGE_SKIPPED));
    CHECK(mp_find(root, "second", NULL) == 1);
    mp_tell(ready, 's');
    /* And by reads alone. */
    mp_await(go, 'r');
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_find(root, "third", NULL) == 0 && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(mp_find(root, "third", NULL) == 1);
    roost_watch_close(watch);
    mp_close(root);
    return 0;
}

static void an_observer_waits_for_the_next_agent(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t observer = mp_start(observe_for_long, NULL);
    roost_root *root = mp_open();
    mp_append(root, "first");
    mp_tell(go, 'b');
    mp_await(ready, 'o');
    mp_close(root);
    mp_tell(go, 'l');
    mp_await(ready, 'q');
    root = mp_open();
    mp_append(root, "second");
    mp_await(ready, 's');
    mp_close(root);
    root = mp_open();
    mp_append(root, "third");
    mp_tell(go, 'r');
    mp_finish(observer);
    mp_close(root);
    mp_finish(mp_start(visit, "fourth"));
}

/* ---- many names, stored in time ---- */

static int publish_and_die(void *argument)
{
    (void)argument;
    roost_root *root = mp_open();
    char name[32];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "agent/%d", i);
        publish(root, name, "short life", (uint64_t)i);
    }
    mp_tell(ready, 'p');
    mp_await(go, 'x');
    return 1;
}

static void states_of_the_dead_are_kept(void)
{
    for (int round = 0; round < 2; round++) {
        ready = mp_pipe();
        go = mp_pipe();
        pid_t pid = mp_start(publish_and_die, NULL);
        mp_await(ready, 'p');
        mp_kill(pid);
        roost_root *root = mp_open();
        char name[32];
        /* 200 dead ones' slots, 100 more names: slots are given to others, the values stay. */
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof name, "later/%d", i);
            publish(root, name, "x", (uint64_t)i);
        }
        for (int i = 0; i < 200; i++) {
            snprintf(name, sizeof name, "agent/%d", i);
            struct roost_state state = get(root, name);
            CHECK(state.active_memory_count == (uint64_t)i && state.alive == ROOST_ALIVE_NO &&
                  state.version == (uint64_t)round + 1);
            roost_unpin(root, &state.pin);
        }
        roost_iter *iter;
        struct roost_state each = ROOST_STATE_INIT;
        int count = 0;
        GIVES(0, roost_state_scan(root, &iter));
        while (roost_iter_state(iter, &each) == 1) count++;
        CHECK(count == 300);
        roost_iter_close(iter);
        mp_close(root);
    }
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"watchers_see_the_last_value_and_the_owners_death", watchers_see_the_last_value_and_the_owners_death},
        {"a_second_owner_is_refused_by_name", a_second_owner_is_refused_by_name},
        {"a_value_lives_as_long_as_who_published_it", a_value_lives_as_long_as_who_published_it},
        {"an_owner_without_a_value", an_owner_without_a_value},
        {"takeovers_wake_no_watcher", takeovers_wake_no_watcher},
        {"an_observer_waits_for_the_next_agent", an_observer_waits_for_the_next_agent},
        {"states_of_the_dead_are_kept", states_of_the_dead_are_kept},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
