/* SPDX-License-Identifier: MIT
 * uv/test_uv_memory.c: a loop allocates nothing for writes, watched events and reads once the first of them have passed. malloc and its kin
 * are counted here; what other threads allocate (who commits, the pool) is told and not judged. */
#include <stddef.h>

#include <roost/uv.h>

#include "mp/mp.h"

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define COUNTED
#endif
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#undef COUNTED
#endif
#endif

#ifdef COUNTED

static uint64_t loop_count, others_count;
static size_t last_size;
static uint32_t counting;
static _Thread_local uint32_t on_loop;

static void note(size_t size)
{
    if (!__atomic_load_n(&counting, __ATOMIC_ACQUIRE)) return;
    if (!on_loop) {
        __atomic_add_fetch(&others_count, 1, __ATOMIC_RELAXED);
        return;
    }
    loop_count++;
    last_size = size;
}

/* The libraries find them too. */
#pragma GCC visibility push(default)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    note(size);
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    note(count * size);
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size)
{
    note(size);
    return __libc_realloc(old, size);
}
void *memalign(size_t alignment, size_t size)
{
    note(size);
    return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    note(size);
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    note(size);
    *ret_memory = __libc_memalign(alignment, size);
    return *ret_memory ? 0 : ENOMEM;
}
#pragma GCC visibility pop

enum { IN_FLIGHT = 1000, WARM_UP = 3000, WRITES = 10000, READS = 1000, EVENTS = 1000 };

static struct mp_pipe ready, go;
static uv_loop_t loop;
static roost_uv bridge;
static roost_uv_req requests[IN_FLIGHT];
static roost_uv_watch watch;
static uint64_t wanted, begun, ended;

static void count_begin(void)
{
    on_loop = 1;
    loop_count = others_count = 0;
    __atomic_store_n(&counting, 1, __ATOMIC_RELEASE);
}

static void count_end(const char *what, uint64_t done)
{
    __atomic_store_n(&counting, 0, __ATOMIC_RELEASE);
    printf("%s (%s): %llu: %llu allocations of the loop's thread, %llu of others\n", mp_test, what, (unsigned long long)done,
           (unsigned long long)loop_count, (unsigned long long)__atomic_load_n(&others_count, __ATOMIC_RELAXED));
    if (loop_count) fprintf(stderr, "the last one of the loop's: %zu bytes\n", last_size);
    CHECK(loop_count == 0);
}

/* What the libraries allocate is seen, or this test would see nothing at all. */
static void the_counting_counts(void)
{
    roost_batch *batch;
    count_begin();
    GIVES(0, roost_batch_open(&batch));
    CHECK(loop_count > 0);
    roost_batch_free(batch);
}

static roost_root *begin(void)
{
    roost_root *root = mp_open();
    CHECK(uv_loop_init(&loop) == 0);
    GIVES(0, roost_uv_init(&loop, &bridge, root));
    return root;
}

static void end(roost_root *root)
{
    roost_uv_close(&bridge, NULL);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&loop) == 0);
    mp_close(root);
}

/* ---- writes and reads ---- */

static void start(roost_uv_req *req);

static void on_end(roost_uv_req *req, int status)
{
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0);
    ended++;
    if (begun < wanted) start(req);
}
static void on_memory(roost_uv_req *req, int status, const struct roost_memory *memory)
{
    CHECK(status == 0 && memory->text.size);
    on_end(req, status);
}
static void on_item(roost_uv_req *req, int status, const struct roost_item *item)
{
    CHECK(status == 0 && item->value.size);
    on_end(req, status);
}

static void start_write(roost_uv_req *req)
{
    static const struct roost_bytes tags[] = {{"tag", 3}};
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    uint64_t number = begun++;
    write.level = ROOST_PROCESS;
    switch (number % 4) {
    case 0:
        GIVES(0, roost_uv_kv_set(&bridge, req, roost_text("key"), roost_text("a value"), &write, on_end));
        return;
    case 1:
        GIVES(0, roost_uv_stream_append(&bridge, req, roost_text("stream"), roost_text("an entry"), &write, on_end));
        return;
    default:
        memory.text = roost_text("the note of a loop with a number of words");
        memory.tags = tags;
        memory.tag_count = 1;
        GIVES(0, roost_uv_append(&bridge, req, &memory, &write, on_end));
        return;
    }
}

static void start_read(roost_uv_req *req)
{
    uint64_t number = begun++;
    switch (number % 3) {
    case 0:
        GIVES(0, roost_uv_kv_get(&bridge, req, roost_text("key"), on_item));
        return;
    case 1:
        GIVES(0, roost_uv_stream_get(&bridge, req, roost_text("stream"), number % 100 + 1, on_item));
        return;
    default:
        GIVES(0, roost_uv_get(&bridge, req, number % 100 + 1, on_memory));
        return;
    }
}

static bool reading;
static void start(roost_uv_req *req)
{
    if (reading)
        start_read(req);
    else
        start_write(req);
}

static void run(uint64_t count, bool reads)
{
    reading = reads;
    wanted = count;
    begun = ended = 0;
    for (int i = 0; i < IN_FLIGHT && begun < wanted; i++) start(&requests[i]);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(ended == count);
}

static void writes_and_reads(void)
{
    run(WARM_UP, false);
    count_begin();
    run(WRITES, false);
    count_end("writes", WRITES);
    run(READS, true);
    count_begin();
    run(READS, true);
    count_end("reads", READS);
}

static void with_the_role(void)
{
    roost_root *root = begin();
    writes_and_reads();
    end(root);
}

static int holder(void *argument)
{
    (void)argument;
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    mp_append(root, "takes the role");
    mp_tell(ready, 'r');
    mp_await(go, 'e');
    mp_close(root);
    return 0;
}

static void with_the_role_elsewhere(void)
{
    ready = mp_pipe();
    go = mp_pipe();
    pid_t pid = mp_start(holder, NULL);
    mp_await(ready, 'r');
    roost_root *root = begin();
    writes_and_reads();
    CHECK(mp_stats(root).writer_pid == (int32_t)pid);
    end(root);
    mp_tell(go, 'e');
    mp_finish(pid);
}

/* ---- events ---- */

static int feeder(void *argument)
{
    (void)argument;
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = ROOST_PROCESS;
    mp_await(go, 'b');
    roost_root *root = mp_open();
    for (uint64_t i = 1; !mp_ready(go, 0); i++) {
        struct roost_state state = ROOST_STATE_INIT;
        state.name = roost_text("feeder");
        state.active_memory_count = i;
        GIVES(0, roost_state_publish(root, &state, &write));
        GIVES(0, roost_stream_append(root, roost_text("log"), roost_text("an entry"), &write, NULL, NULL));
        GIVES(0, roost_kv_set(root, roost_text("key"), roost_text("a value"), &write, NULL));
        poll(NULL, 0, 1);
    }
    mp_close(root);
    return 0;
}

static uint64_t states, changes;

static void on_event(roost_uv_watch *watched, int status, const struct roost_event *event)
{
    CHECK(status == 0 && event->name.size);
    states += event->kind == ROOST_CHANGE_STATE;
    changes += event->kind == ROOST_CHANGE_STREAM || event->kind == ROOST_CHANGE_KEY_SET;
    ended++;
    if (ended == EVENTS / 10) count_begin(); /* these were to warm up */
    if (ended < EVENTS / 10 + EVENTS) return;
    if (__atomic_load_n(&counting, __ATOMIC_RELAXED)) count_end("events", EVENTS);
    roost_uv_watch_close(watched, NULL);
}

static void events(void)
{
    const struct roost_topic topics[2] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    go = mp_pipe();
    pid_t pid = mp_start(feeder, NULL);
    roost_root *root = begin();
    ended = states = changes = 0;
    GIVES(0, roost_uv_watch_start(&bridge, &watch, topics, 2, on_event));
    mp_tell(go, 'b');
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(states > EVENTS / 20 && changes > EVENTS / 20);
    mp_tell(go, 'e');
    mp_finish(pid);
    end(root);
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"the_counting_counts", the_counting_counts},
        {"with_the_role", with_the_role},
        {"with_the_role_elsewhere", with_the_role_elsewhere},
        {"events", events},
    };
    return mp_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}

#else
int main(void)
{
    puts("allocations can be counted with glibc, without sanitizers");
    return 77;
}
#endif
