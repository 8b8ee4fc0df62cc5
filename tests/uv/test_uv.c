/* SPDX-License-Identifier: MIT
 * uv/test_uv.c: the libuv bridge: every request, order, cancelling, closing at bad moments, and nothing left over. */
#include <roost/uv.h>

#include "mp/mp.h"

static struct mp_pipe ready, go;
static uv_loop_t loop;
static roost_uv bridge;
static int bridges_closed;

static void on_bridge_closed(roost_uv *closed)
{
    (void)closed;
    bridges_closed++;
}

/* A loop with a bridge to a handle of its own. */
static roost_root *begin_with(uint32_t flags)
{
    roost_root *root = mp_open_with(flags, 20000, 0);
    CHECK(uv_loop_init(&loop) == 0);
    GIVES(0, roost_uv_init(&loop, &bridge, root));
    bridges_closed = 0;
    return root;
}
static roost_root *begin(void) { return begin_with(0); }

static void end(roost_root *root)
{
    roost_uv_close(&bridge, on_bridge_closed);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(bridges_closed == 1);
    CHECK(uv_loop_close(&loop) == 0);
    mp_close(root);
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

/* ---- every request ---- */

static int answers;
static uint64_t answer_id;

static void expect_good(roost_uv_req *req, int status)
{
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0 && !req->detail[0]);
    answer_id = req->receipt.id;
    answers++;
}
static void expect_mismatch(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_EMISMATCH && strstr(req->detail, "the key \"k\" has version"));
    answers++;
}
static void expect_nothing(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ENOENT && strstr(req->detail, "there is no memory 4711"));
    answers++;
}
static void expect_memory(roost_uv_req *req, int status, const struct roost_memory *memory)
{
    CHECK(status == 0 && memory->text.size == strlen("a text to find") && !memcmp(memory->text.data, "a text to find", 14));
    CHECK(req->data == &answers);
    answers++;
}
static void expect_no_memory(roost_uv_req *req, int status, const struct roost_memory *memory)
{
    CHECK(status == ROOST_ENOENT && !memory && req->detail[0]);
    answers++;
}
static void expect_hit(roost_uv_req *req, int status, roost_hits *hits)
{
    struct roost_hit hit = ROOST_HIT_INIT;
    (void)req;
    CHECK(status == 0 && roost_hits_count(hits) == 1 && roost_hits_next(hits, &hit) == 1 && hit.id == 1);
    roost_hits_close(hits);
    answers++;
}
static void expect_value(roost_uv_req *req, int status, const struct roost_item *item)
{
    (void)req;
    CHECK(status == 0 && item->value.size == 5 && !memcmp(item->value.data, "value", 5));
    answers++;
}
static void expect_state(roost_uv_req *req, int status, const struct roost_state *state)
{
    (void)req;
    CHECK(status == 0 && state->active_memory_count == 42 && state->alive == ROOST_ALIVE_YES);
    answers++;
}
static int checkpoint(roost_root *root, roost_uv_req *req)
{
    (void)req;
    return roost_checkpoint(root);
}
static int fails(roost_root *root, roost_uv_req *req)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    (void)req;
    return roost_get(root, 123456, &memory);
}
static void expect_failure(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ENOENT && strstr(req->detail, "123456"));
    answers++;
}

static void run_all(int expected)
{
    CHECK(answers == 0); /* never from inside the call */
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(answers == expected);
    answers = 0;
}

static void every_request(void)
{
    roost_root *root = begin();
    roost_uv_req req, second;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    memory.text = roost_text("a text to find");
    GIVES(0, roost_uv_append(&bridge, &req, &memory, NULL, expect_good));
    run_all(1);
    CHECK(answer_id == 1);
    req.data = &answers;
    GIVES(0, roost_uv_get(&bridge, &req, 1, expect_memory));
    GIVES(0, roost_uv_get(&bridge, &second, 99, expect_no_memory));
    run_all(2);
    struct roost_query query = ROOST_QUERY_INIT;
    query.text = roost_text("find");
    GIVES(0, roost_uv_search(&bridge, &req, &query, expect_hit));
    run_all(1);
    GIVES(0, roost_uv_kv_set(&bridge, &req, roost_text("k"), roost_text("value"), NULL, expect_good));
    GIVES(0, roost_uv_stream_append(&bridge, &second, roost_text("s"), roost_text("value"), NULL, expect_good));
    run_all(2);
    GIVES(0, roost_uv_kv_get(&bridge, &req, roost_text("k"), expect_value));
    GIVES(0, roost_uv_stream_get(&bridge, &second, roost_text("s"), 0, expect_value));
    run_all(2);
    write.flags = ROOST_WRITE_IF_VERSION;
    write.expected = 1000;
    GIVES(0, roost_uv_kv_set(&bridge, &req, roost_text("k"), roost_text("other"), &write, expect_mismatch));
    GIVES(0, roost_uv_forget(&bridge, &second, 4711, NULL, expect_nothing));
    run_all(2);
    GIVES(0, roost_uv_kv_delete(&bridge, &req, roost_text("k"), NULL, expect_good));
    GIVES(0, roost_uv_forget(&bridge, &second, 1, NULL, expect_good));
    run_all(2);
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text("agent");
    state.active_memory_count = 42;
    GIVES(0, roost_uv_state_publish(&bridge, &req, &state, NULL, expect_good));
    run_all(1);
    GIVES(0, roost_uv_state_get(&bridge, &req, roost_text("agent"), expect_state));
    run_all(1);
    roost_batch *batch;
    GIVES(0, roost_batch_open(&batch));
    GIVES(ROOST_EINVAL, roost_uv_commit(&bridge, &req, batch, NULL, expect_good));
    for (int i = 0; i < 3; i++) GIVES(0, roost_batch_append(batch, &memory));
    GIVES(0, roost_uv_commit(&bridge, &req, batch, NULL, expect_good));
    run_all(1);
    CHECK(mp_stats(root).memory_count == 3);
    struct roost_receipt receipt = req.receipt;
    GIVES(0, roost_uv_settle(&bridge, &req, &receipt, 1000, expect_good));
    GIVES(0, roost_uv_work(&bridge, &second, checkpoint, expect_good));
    run_all(2);
    CHECK(receipt.lsn == req.receipt.lsn);
    GIVES(0, roost_uv_work(&bridge, &second, fails, expect_failure));
    run_all(1);
    /* What is wrong is said at once, and no callback comes. */
    memory.text = roost_text("\xff not UTF-8");
    GIVES(ROOST_EILSEQ, roost_uv_append(&bridge, &req, &memory, NULL, expect_good));
    GIVES(ROOST_EINVAL, roost_uv_kv_set(&bridge, &req, roost_text(""), roost_text("v"), NULL, expect_good));
    run_all(0);
    /* Too large for the lane: by the pool. */
    char *large = malloc(300001);
    memset(large, 'l', 300000);
    large[300000] = '\0';
    memory.text = roost_text(large);
    GIVES(0, roost_uv_append(&bridge, &req, &memory, NULL, expect_good));
    run_all(1);
    free(large);
    CHECK(mp_stats(root).memory_count == 4);
    roost_batch_free(batch);
    roost_uv other;
    GIVES(ROOST_EBUSY, roost_uv_init(&loop, &other, root));
    end(root);
    mp_check_root();
}

static void an_observer_reads_and_watches(void)
{
    roost_root *root = mp_open();
    mp_append(root, "a text to find");
    roost_root *observer = begin_with(ROOST_OPEN_OBSERVE);
    roost_uv_req req, second;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("x");
    req.data = &answers;
    GIVES(0, roost_uv_get(&bridge, &req, 1, expect_memory));
    GIVES(ROOST_EROFS, roost_uv_append(&bridge, &second, &memory, NULL, expect_good));
    run_all(1);
    end(observer);
    mp_close(root);
}

/* ---- many at once ---- */

enum { MANY = 10000 };
static roost_uv_req many[MANY];
static char texts[MANY][24];
static int landed;

static void on_landed(roost_uv_req *req, int status)
{
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0);
    CHECK(req == &many[landed]); /* in order */
    landed++;
}

static void ten_thousand_at_once(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    landed = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "w%dx", i);
        memory.text = roost_text(texts[i]);
        GIVES(0, roost_uv_append(&bridge, &many[i], &memory, NULL, on_landed));
    }
    CHECK(landed == 0);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(landed == MANY && mp_stats(root).memory_count == MANY);
    for (int i = 0; i < MANY; i += 997) CHECK(many[i].receipt.id == many[0].receipt.id + (uint64_t)i);
    end(root);
    mp_check_root();
}

/* ---- cancelling and closing ---- */

static int hold(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 0, 0);
    mp_append(root, "the holder's own");
    mp_tell(ready, 'h');
    pause();
    return 1;
}

static pid_t holder;
static void start_holder(void)
{
    ready = mp_pipe();
    holder = mp_start(hold, NULL);
    mp_await(ready, 'h');
}

static int stopped, done;
static void count_end(roost_uv_req *req, int status)
{
    CHECK(status == 0 || status == ROOST_ECANCELED);
    CHECK(status == 0 || strstr(req->detail, ": not "));
    CHECK(!bridges_closed); /* callbacks of requests come before the bridge's */
    if (status)
        stopped++;
    else
        done++;
}

static void cancelled_is_not_done(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    stopped = done = 0;
    int asked = 0;
    for (int i = 0; i < 2000; i++) {
        snprintf(texts[i], sizeof texts[i], "w%dx", i);
        memory.text = roost_text(texts[i]);
        GIVES(0, roost_uv_append(&bridge, &many[i], &memory, NULL, count_end));
    }
    for (int i = 0; i < 2000; i += 3) {
        int err = roost_uv_cancel(&many[i]);
        CHECK(err == 0 || err == ROOST_EBUSY);
        asked += !err;
    }
    CHECK(stopped == 0 && done == 0);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(stopped == asked && done == 2000 - asked && asked > 500);
    CHECK(mp_stats(root).memory_count == (uint64_t)done);
    end(root);
    mp_check_root();
}

static void expect_cancelled(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ECANCELED && !strcmp(req->detail, "cancelled by roost_uv_cancel: not applied"));
    stopped++;
}
static void expect_not_begun(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ECANCELED && !strcmp(req->detail, "cancelled by roost_uv_cancel: not begun"));
    stopped++;
}
static int wait_for_byte(roost_root *root, roost_uv_req *req)
{
    (void)root, (void)req;
    mp_await(go, 'w');
    return 0;
}

/* In the lane, waiting for it, and on the pool: what was cancelled stays so, also when somebody cancels it again. */
static void cancelled_again_is_still_not_done(void)
{
    enum { SENT = 300, BLOCKED = 128 };
    start_holder();
    mp_stop(holder);
    go = mp_pipe();
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write patient = ROOST_WRITE_INIT;
    roost_uv_req *work = &many[SENT];
    patient.wait_ms = 20000;
    stopped = done = 0;
    memory.text = roost_text("asked twice");
    for (int i = 0; i < SENT; i++)
        GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &patient, i % 3 ? count_end : expect_cancelled));
    /* More than libuv's pool has threads: the last one has not begun. */
    for (int i = 0; i < BLOCKED; i++) GIVES(0, roost_uv_work(&bridge, &work[i], wait_for_byte, count_end));
    GIVES(0, roost_uv_work(&bridge, &work[BLOCKED], wait_for_byte, expect_not_begun));
    for (int times = 0; times < 3; times++) {
        for (int i = 0; i < SENT; i += 3) GIVES(0, roost_uv_cancel(&many[i]));
        GIVES(0, roost_uv_cancel(&work[BLOCKED]));
    }
    CHECK(kill(holder, SIGCONT) == 0);
    for (int i = 0; i < BLOCKED; i++) mp_tell(go, 'w');
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(stopped == SENT / 3 + 1 && done == SENT - SENT / 3 + BLOCKED);
    CHECK(mp_stats(root).memory_count == 1 + SENT - SENT / 3);
    mp_kill(holder);
    end(root);
    mp_check_root();
}

static void close_with_requests_in_flight(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    stopped = done = 0;
    roost_uv_req work[8];
    for (int i = 0; i < 1000; i++) {
        snprintf(texts[i], sizeof texts[i], "w%dx", i);
        memory.text = roost_text(texts[i]);
        GIVES(0, roost_uv_append(&bridge, &many[i], &memory, NULL, count_end));
    }
    for (int i = 0; i < 8; i++) GIVES(0, roost_uv_work(&bridge, &work[i], checkpoint, count_end));
    roost_uv_close(&bridge, on_bridge_closed);
    GIVES(ROOST_ECANCELED, roost_uv_append(&bridge, &many[1000], &memory, NULL, count_end));
    CHECK(stopped == 0 && done == 0 && roost_uv_is_closing(&bridge));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(bridges_closed == 1 && stopped + done == 1008 && stopped >= 800);
    CHECK(uv_loop_close(&loop) == 0);
    uint64_t count = mp_stats(root).memory_count;
    CHECK(count <= (uint64_t)done && count + 8 >= (uint64_t)done);
    mp_close(root);
    mp_check_root();
}

static void the_root_closed_first(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    stopped = done = 0;
    memory.text = roost_text("kept by the bridge");
    for (int i = 0; i < 300; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, NULL, count_end));
    mp_close(root); /* the bridge is an owner, too */
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(done == 300);
    GIVES(0, roost_uv_append(&bridge, &many[0], &memory, NULL, count_end));
    roost_uv_close(&bridge, on_bridge_closed);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && bridges_closed == 1);
    CHECK(uv_loop_close(&loop) == 0);
    mp_check_root();
}

static void on_stop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
    uv_close((uv_handle_t *)timer, NULL);
}

static void a_loop_that_stops_and_goes_on(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    stopped = done = 0;
    memory.text = roost_text("on and off");
    for (int i = 0; i < 5000; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, NULL, count_end));
    for (int turn = 0; turn < 20 && done < 5000; turn++) {
        uv_timer_t timer;
        CHECK(uv_timer_init(&loop, &timer) == 0 && uv_timer_start(&timer, on_stop, 1, 0) == 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_run(&loop, UV_RUN_NOWAIT); /* the timer's end */
        mp_append(root, "between");
    }
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(done == 5000 && stopped == 0);
    end(root);
}

static int closed_watches;
static void on_watch_closed(roost_uv_watch *watch)
{
    (void)watch;
    closed_watches++;
}
static void no_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    (void)watch;
    CHECK(status == 0 && event);
}

static void a_thousand_bridges(void)
{
    const struct roost_topic topics[2] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_root *root = mp_open();
    CHECK(uv_loop_init(&loop) == 0);
    mp_append(root, "opens the files that stay open");
    memory.text = roost_text("one of many");
    uint32_t files = 0, threads = 0;
    for (int i = 0; i < 1000; i++) {
        roost_uv_watch watch;
        bridges_closed = closed_watches = stopped = done = 0;
        GIVES(0, roost_uv_init(&loop, &bridge, root));
        GIVES(0, roost_uv_watch_start(&bridge, &watch, topics, 2, no_event));
        if (i % 3) GIVES(0, roost_uv_append(&bridge, &many[0], &memory, NULL, count_end));
        if (i % 3 == 2) uv_run(&loop, UV_RUN_NOWAIT);
        if (i % 2) roost_uv_watch_close(&watch, on_watch_closed);
        roost_uv_close(&bridge, on_bridge_closed);
        CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
        CHECK(bridges_closed == 1 && closed_watches == i % 2 && stopped + done == (i % 3 != 0));
        if (i == 10) files = count_of("/proc/self/fd"), threads = count_of("/proc/self/task");
    }
    /* The service thread may have a file open for a moment. */
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (count_of("/proc/self/fd") > files && mp_now_ns() < deadline) poll(NULL, 0, 1);
    CHECK(count_of("/proc/self/fd") <= files);
    CHECK(count_of("/proc/self/task") <= threads);
    CHECK(uv_loop_close(&loop) == 0);
    mp_close(root);
    mp_check_root();
}

/* ---- watching ---- */

static uint64_t entries, version;
static bool gone;

static int feed(void *argument)
{
    (void)argument;
    mp_await(go, 'f');
    static roost_root *root; /* never closed, but not lost to a leak checker */
    root = mp_open();
    struct roost_write quick = ROOST_WRITE_INIT;
    quick.level = ROOST_PROCESS;
    for (uint64_t i = 0; i < 2000; i++) {
        struct roost_state state = ROOST_STATE_INIT;
        state.name = roost_text("feeder");
        state.active_memory_count = i + 1;
        GIVES(0, roost_stream_append(root, roost_text("log"), roost_text("entry"), &quick, NULL, NULL));
        GIVES(0, roost_state_publish(root, &state, NULL));
    }
    mp_await(go, 'd');
    return 0; /* without a word */
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    CHECK(status == 0 && watch->data == &entries);
    if (event->kind == ROOST_CHANGE_STREAM) {
        CHECK(event->id == entries);
        entries++;
    } else if (event->kind == ROOST_CHANGE_STATE) {
        struct roost_state state = ROOST_STATE_INIT;
        CHECK(event->id >= version);
        version = event->id;
        GIVES(0, roost_state_get(watch->bridge->root, roost_text("feeder"), &state));
        gone = state.alive == ROOST_ALIVE_NO;
        roost_unpin(watch->bridge->root, &state.pin);
        if (version == 2000 && !gone && entries == 2000) mp_tell(go, 'd');
        if (gone) roost_uv_watch_close(watch, on_watch_closed);
    }
    if (entries == 2000 && version == 2000 && event->kind == ROOST_CHANGE_STREAM) mp_tell(go, 'd');
}

static void watch_a_feeder(uint32_t flags)
{
    const struct roost_topic topics[2] = {{ROOST_TOPIC_STREAM, 0, ROOST_TEXT("log")}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    go = mp_pipe();
    pid_t feeder = mp_start(feed, NULL);
    roost_root *root = begin_with(flags);
    roost_uv_watch watch;
    watch.data = &entries;
    GIVES(0, roost_uv_watch_start(&bridge, &watch, topics, 2, on_event));
    CHECK(uv_run(&loop, UV_RUN_NOWAIT) != 0); /* a watch keeps the loop alive */
    roost_uv_watch_unref(&watch);
    CHECK(uv_run(&loop, UV_RUN_NOWAIT) == 0);
    roost_uv_watch_ref(&watch);
    mp_tell(go, 'f');
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(entries == 2000 && version == 2000 && gone && closed_watches == 1);
    mp_finish(feeder);
    end(root);
}
static void a_watch_tells_everything(void) { watch_a_feeder(0); }
static void an_observers_watch_tells_everything(void) { watch_a_feeder(ROOST_OPEN_OBSERVE); }

/* ---- what is wrong is said in words ---- */

/* A failing call's number and words; no callback comes. */
#define SAYS(expected, words, call) \
    do { \
        roost_error_set(0, ""); \
        GIVES(expected, call); \
        CHECK(strstr(roost_error_detail(), words)); \
    } while (0)

static int never_begins(roost_root *root, roost_uv_req *req)
{
    (void)root, (void)req;
    return 0;
}

static void each_failing_call_says_why(void)
{
    const struct roost_topic topic = {ROOST_TOPIC_COMMITS, 0, {NULL, 0}};
    roost_root *root = begin();
    static roost_uv_watch watch;
    static roost_uv other;
    roost_uv_req req, second;
    struct roost_bytes k = roost_text("k");
    roost_batch *batch;
    SAYS(ROOST_EBUSY, "has a bridge already", roost_uv_init(&loop, &other, root));
    SAYS(ROOST_EINVAL, "no root", roost_uv_init(&loop, &other, NULL));
    GIVES(0, roost_batch_open(&batch));
    SAYS(ROOST_EINVAL, "the batch is empty", roost_uv_commit(&bridge, &req, batch, NULL, expect_good));
    roost_batch_free(batch);
    SAYS(ROOST_EINVAL, "no struct roost_memory", roost_uv_append(&bridge, &req, NULL, NULL, expect_good));
    /* Begun without their macros: an IF_VERSION that nobody looks at would be a write without its compare. */
    struct roost_write blank = {.flags = ROOST_WRITE_IF_VERSION, .expected = 12345};
    struct roost_memory no_memory = {.text = k};
    struct roost_query no_query = {.text = k};
    struct roost_state no_state = {.name = k};
    SAYS(ROOST_EINVAL, "struct roost_write has size 0", roost_uv_kv_set(&bridge, &req, k, k, &blank, expect_good));
    SAYS(ROOST_EINVAL, "struct roost_write has size 0", roost_uv_forget(&bridge, &req, 1, &blank, expect_good));
    SAYS(ROOST_EINVAL, "struct roost_memory has size 0", roost_uv_append(&bridge, &req, &no_memory, NULL, expect_good));
    SAYS(ROOST_EINVAL, "struct roost_query has size 0", roost_uv_search(&bridge, &req, &no_query, expect_hit));
    SAYS(ROOST_EINVAL, "struct roost_state has size 0", roost_uv_state_publish(&bridge, &req, &no_state, NULL, expect_good));
    /* Without callbacks. */
    SAYS(ROOST_EINVAL, "no callback", roost_uv_kv_set(&bridge, &req, k, k, NULL, NULL));
    SAYS(ROOST_EINVAL, "no callback", roost_uv_kv_get(&bridge, &req, k, NULL));
    SAYS(ROOST_EINVAL, "no callback", roost_uv_work(&bridge, &req, never_begins, NULL));
    SAYS(ROOST_EINVAL, "no work", roost_uv_work(&bridge, &req, NULL, expect_good));
    SAYS(ROOST_EINVAL, "no callback", roost_uv_watch_start(&bridge, &watch, &topic, 1, NULL));
    SAYS(ROOST_EINVAL, "without topics", roost_uv_watch_start(&bridge, &watch, &topic, 0, no_event));
    GIVES(0, roost_uv_watch_start(&bridge, &watch, &topic, 1, no_event));
    SAYS(ROOST_EINVAL, "has been started", roost_uv_watch_start(&bridge, &watch, &topic, 1, no_event));
    roost_uv_watch_close(&watch, on_watch_closed);
    SAYS(ROOST_EINVAL, "has been started", roost_uv_watch_start(&bridge, &watch, &topic, 1, no_event));
    run_all(0);
    GIVES(0, roost_uv_kv_set(&bridge, &req, k, k, NULL, expect_good));
    run_all(1);
    SAYS(ROOST_EBUSY, "under way, or over", roost_uv_cancel(&req));
    GIVES(0, roost_uv_watch_start(&bridge, &watch, &topic, 1, no_event)); /* it is the caller's again */
    roost_uv_close(&bridge, on_bridge_closed);
    SAYS(ROOST_ECANCELED, "the bridge is closing", roost_uv_kv_get(&bridge, &second, k, expect_value));
    SAYS(ROOST_ECANCELED, "the bridge is closing", roost_uv_watch_start(&bridge, &watch, &topic, 1, no_event));
    end(root);
}

static void expect_not_asked(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ECANCELED && strstr(req->detail, "not asked; the write itself may have been applied"));
    stopped++;
}
static void expect_never_applied(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ECANCELED && strstr(req->detail, "that write was never applied"));
    stopped++;
}

/* ROOST_ECANCELED of a question: the write was cancelled, or the asking. */
static void settling_tells_which_was_cancelled(void)
{
    enum { BLOCKED = 128 };
    const struct roost_receipt nobodys = {.client = 4711, .sequence = 1};
    go = mp_pipe();
    roost_root *root = begin();
    stopped = done = 0;
    GIVES(0, roost_uv_settle(&bridge, &many[0], &nobodys, 20000, expect_never_applied));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && stopped == 1);
    for (int i = 1; i <= BLOCKED; i++) GIVES(0, roost_uv_work(&bridge, &many[i], wait_for_byte, count_end));
    GIVES(0, roost_uv_settle(&bridge, &many[0], &nobodys, 20000, expect_not_asked));
    roost_uv_close(&bridge, on_bridge_closed);
    CHECK(uv_run(&loop, UV_RUN_NOWAIT) != 0);
    for (int i = 0; i < BLOCKED; i++) mp_tell(go, 'w');
    end(root);
    CHECK(done + stopped == BLOCKED + 2);
}

/* ---- others die ---- */

static void kill_in_the_middle(roost_uv_req *req, int status)
{
    if (++landed == MANY / 2) mp_kill(holder);
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0);
}

static void the_writer_dies_while_requests_fly(void)
{
    start_holder();
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write quick = ROOST_WRITE_INIT;
    quick.level = ROOST_PROCESS;
    quick.wait_ms = 30000;
    landed = 0;
    memory.text = roost_text("through a takeover");
    for (int i = 0; i < MANY; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &quick, kill_in_the_middle));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(landed == MANY && mp_stats(root).memory_count == MANY + 1);
    end(root);
    mp_check_root();
}

static void expect_late(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ETIMEDOUT && req->receipt.sequence && req->detail[0]);
    stopped++;
}
static void expect_late_or_unsent(roost_uv_req *req, int status)
{
    CHECK(status == ROOST_ETIMEDOUT && req->detail[0]);
    stopped++;
}

/* A stopped holder: requests time out with their receipts, which tell later what became of them. */
static void a_stopped_writer_means_time_outs(void)
{
    start_holder();
    mp_stop(holder);
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write quick = ROOST_WRITE_INIT;
    quick.wait_ms = 60;
    stopped = 0;
    memory.text = roost_text("late");
    GIVES(0, roost_uv_append(&bridge, &many[0], &memory, &quick, expect_late));
    for (int i = 1; i < 500; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &quick, expect_late_or_unsent));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(stopped == 500);
    uint64_t sent = 0;
    roost_uv_req *last = &many[0];
    for (int i = 0; i < 500; i++) {
        sent += many[i].receipt.sequence != 0;
        if (many[i].receipt.sequence > last->receipt.sequence) last = &many[i];
    }
    CHECK(sent >= 100 && sent <= ROOST_SUBMIT_COUNT_MAX);
    CHECK(kill(holder, SIGCONT) == 0);
    answers = 0;
    GIVES(0, roost_uv_settle(&bridge, &many[499], &last->receipt, 20000, expect_good));
    run_all(1);
    GIVES(0, roost_sync(root));
    CHECK(mp_stats(root).memory_count == 1 + sent);
    mp_kill(holder);
    end(root);
    mp_check_root();
}

static int64_t began_ns;
static void expect_late_soon(roost_uv_req *req, int status)
{
    (void)req;
    CHECK(status == ROOST_ETIMEDOUT && mp_now_ns() - began_ns < INT64_C(4000000000));
    uv_stop(&loop);
    answers++;
}

static void each_times_out_in_its_own_time(void)
{
    start_holder();
    mp_stop(holder);
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write patient = ROOST_WRITE_INIT, quick = ROOST_WRITE_INIT;
    patient.wait_ms = 20000;
    quick.wait_ms = 100;
    stopped = done = answers = 0;
    memory.text = roost_text("late or not");
    for (int i = 0; i < 200; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &patient, count_end));
    began_ns = mp_now_ns();
    GIVES(0, roost_uv_append(&bridge, &many[200], &memory, &quick, expect_late_soon));
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(answers == 1 && done == 0 && stopped == 0);
    CHECK(kill(holder, SIGCONT) == 0);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(done == 200);
    mp_kill(holder);
    end(root);
}

static bool enough;
static void again(roost_uv_req *req, int status)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    CHECK(status == ROOST_ECANCELED);
    answers++;
    if (enough) return;
    memory.text = roost_text("never written");
    GIVES(0, roost_uv_append(&bridge, req, &memory, NULL, again));
    GIVES(0, roost_uv_cancel(req));
}
static void on_enough(uv_timer_t *timer)
{
    enough = true;
    uv_close((uv_handle_t *)timer, NULL);
}

/* A callback whose next request ends at once too: the rest of the loop has its turn all the same. */
static void what_ends_at_once_starves_nobody(void)
{
    start_holder();
    mp_stop(holder);
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write patient = ROOST_WRITE_INIT;
    uv_timer_t timer;
    patient.wait_ms = 20000;
    stopped = done = answers = 0;
    enough = false;
    memory.text = roost_text("fills the lane");
    for (int i = 0; i < 200; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &patient, count_end));
    CHECK(uv_timer_init(&loop, &timer) == 0 && uv_timer_start(&timer, on_enough, 20, 0) == 0);
    GIVES(0, roost_uv_append(&bridge, &many[200], &memory, NULL, again));
    GIVES(0, roost_uv_cancel(&many[200]));
    while (!enough) uv_run(&loop, UV_RUN_ONCE);
    CHECK(answers > 1);
    CHECK(kill(holder, SIGCONT) == 0);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(done == 200 && stopped == 0);
    mp_kill(holder);
    end(root);
}

static void a_lost_region_loses_no_request(void)
{
    char region[256];
    roost_root *root = begin(), *other = mp_open();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write patient = ROOST_WRITE_INIT;
    patient.wait_ms = 30000;
    stopped = done = 0;
    memory.text = roost_text("in which region");
    for (int i = 0; i < 3000; i++) GIVES(0, roost_uv_append(&bridge, &many[i], &memory, &patient, count_end));
    for (int i = 0; i < 5; i++) {
        while (done < 500 * (i + 1)) CHECK(uv_run(&loop, UV_RUN_ONCE) != 0);
        CHECK(mp_region_path(region, sizeof region));
        CHECK(unlink(region) == 0);
        while (!mp_region_path(region, sizeof region) || access(region, F_OK) != 0) mp_append(other, "after it went");
    }
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(done == 3000 && stopped == 0);
    for (int i = 1; i < 3000; i++) CHECK(many[i].receipt.id > many[i - 1].receipt.id); /* in the order of the calls */
    CHECK(mp_find(root, "region", NULL) > 0);
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    query.text = roost_text("+which");
    query.limit = 10000;
    GIVES(0, roost_search(root, &query, &hits));
    CHECK(roost_hits_count(hits) == 3000);
    roost_hits_close(hits);
    mp_close(other);
    end(root);
    mp_check_root();
}

#ifndef MP_NO_THREADS_AFTER_FORK
static void after_fork_request(roost_uv_req *req, int status)
{
    (void)req;
    CHECK(status == ROOST_EFORK || status == ROOST_ECANCELED);
    stopped++;
}

static void a_fork_after_open(void)
{
    roost_root *root = begin();
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("before the fork");
    stopped = done = 0;
    GIVES(0, roost_uv_append(&bridge, &many[0], &memory, NULL, count_end));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && done == 1);
    fflush(NULL);
    mp_quiet();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        CHECK(uv_loop_fork(&loop) == 0);
        GIVES(0, roost_uv_append(&bridge, &many[1], &memory, NULL, after_fork_request));
        roost_uv_close(&bridge, on_bridge_closed);
        CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && bridges_closed == 1 && stopped == 1);
        CHECK(uv_loop_close(&loop) == 0);
        CHECK(roost_close(root) == 0);
        _exit(0);
    }
    mp_finish(child);
    GIVES(0, roost_uv_append(&bridge, &many[0], &memory, NULL, count_end));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && done == 2);
    end(root);
    mp_check_root();
}
#endif

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"every_request", every_request},
        {"an_observer_reads_and_watches", an_observer_reads_and_watches},
        {"ten_thousand_at_once", ten_thousand_at_once},
        {"cancelled_is_not_done", cancelled_is_not_done},
        {"cancelled_again_is_still_not_done", cancelled_again_is_still_not_done},
        {"close_with_requests_in_flight", close_with_requests_in_flight},
        {"the_root_closed_first", the_root_closed_first},
        {"a_loop_that_stops_and_goes_on", a_loop_that_stops_and_goes_on},
        {"a_thousand_bridges", a_thousand_bridges},
        {"a_watch_tells_everything", a_watch_tells_everything},
        {"an_observers_watch_tells_everything", an_observers_watch_tells_everything},
        {"each_failing_call_says_why", each_failing_call_says_why},
        {"settling_tells_which_was_cancelled", settling_tells_which_was_cancelled},
        {"the_writer_dies_while_requests_fly", the_writer_dies_while_requests_fly},
        {"a_stopped_writer_means_time_outs", a_stopped_writer_means_time_outs},
        {"each_times_out_in_its_own_time", each_times_out_in_its_own_time},
        {"what_ends_at_once_starves_nobody", what_ends_at_once_starves_nobody},
        {"a_lost_region_loses_no_request", a_lost_region_loses_no_request},
#ifndef MP_NO_THREADS_AFTER_FORK
        {"a_fork_after_open", a_fork_after_open},
#endif
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
