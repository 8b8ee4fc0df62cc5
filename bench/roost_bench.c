/* SPDX-License-Identifier: MIT
 * roost_bench.c: Roost on the workload of cases.c, through its public API alone.
 *
 * A root has the default settings; STEM=0 makes roots whose words are not stemmed. Durable appends are ROOST_DURABLE, one by one;
 * bulk loading commits blocks at ROOST_PROCESS and ends with roost_sync. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <roost/roost.h>

#include "cases.h"

enum { BULK_BLOCK = 1000, WAIT_MS = 60000 };
#define CHECK(call) check((call), #call, __LINE__)

static roost_root *root;
static struct roost_write block_write = ROOST_WRITE_INIT;
static struct roost_pin last_pin;

static int check(int result, const char *call, int line)
{
    if (result < 0) bench_die("line %d: %s: %s: %s", line, call, roost_error_name(result), roost_error_detail());
    return result;
}

static roost_root *open_root(const char *folder, uint32_t flags)
{
    roost_root *opened;
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    struct roost_options options = ROOST_OPTIONS_INIT;
    const char *stem = getenv("STEM");
    if (stem && !strcmp(stem, "0")) settings.language = "none";
    options.flags = flags;
    options.settings = &settings;
    options.wait_ms = WAIT_MS;
    CHECK(roost_open(folder, &options, &opened));
    return opened;
}

static void open_store(const char *folder, enum bench_mode mode)
{
    root = open_root(folder, mode == BENCH_READER ? 0 : ROOST_OPEN_CREATE);
    block_write.level = mode == BENCH_BULK ? ROOST_PROCESS : ROOST_DURABLE;
}

static void close_store(void)
{
    roost_unpin(root, &last_pin);
    CHECK(roost_close(root));
    root = NULL;
}

static uint64_t append(uint64_t id, struct bench_text text)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    (void)id; /* Roost gives the ids */
    memory.text = (struct roost_bytes){text.data, text.size};
    CHECK(roost_append(root, &memory, NULL, &id, NULL));
    return id;
}

static void append_block(uint64_t first, const struct bench_text *texts, size_t count)
{
    static const struct roost_memory empty = ROOST_MEMORY_INIT;
    static struct roost_memory memories[BULK_BLOCK];
    static roost_id ids[BULK_BLOCK];
    for (size_t i = 0; i < count; i++) {
        memories[i] = empty;
        memories[i].text = (struct roost_bytes){texts[i].data, texts[i].size};
    }
    CHECK(roost_append_many(root, memories, count, &block_write, ids, NULL));
    for (size_t i = 0; i < count; i++)
        if (ids[i] != first + i) bench_die("row %" PRIu64 " got the id %" PRIu64, first + i, ids[i]);
}

static void finish(void) { CHECK(roost_sync(root)); }

static struct bench_text get(uint64_t id)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_unpin(root, &last_pin);
    int result = roost_get(root, id, &memory);
    if (result == ROOST_ENOENT) return (struct bench_text){NULL, 0};
    CHECK(result);
    last_pin = memory.pin;
    return (struct bench_text){memory.text.data, memory.text.size};
}

static unsigned search(enum bench_search kind, char *const *words, unsigned count, uint64_t ret_ids[BENCH_HITS])
{
    char text[512];
    int size = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, "%s%s%s", i ? " " : "", kind == BENCH_AND ? "+" : "", words[i]);
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits;
    query.limit = BENCH_HITS;
    query.text = (struct roost_bytes){text, (size_t)size};
    CHECK(roost_search(root, &query, &hits));
    while (CHECK(roost_hits_next(hits, &hit)) && found < BENCH_HITS) ret_ids[found++] = hit.id;
    roost_hits_close(hits);
    return found;
}

/* ---- two agents that wake each other by publishing their states ---- */

static void publish(roost_root *own, const char *name, uint64_t number)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(name);
    state.status = (struct roost_bytes)ROOST_TEXT("busy");
    state.last_updated_id = number;
    CHECK(roost_state_publish(own, &state, NULL));
}

static roost_watch *watch_state(roost_root *own, const char *name)
{
    roost_watch *watch;
    struct roost_topic topic = {ROOST_TOPIC_STATE, 0, roost_text(name)};
    CHECK(roost_watch_open(own, &topic, 1, &watch));
    return watch;
}

static void await_version(roost_watch *watch, uint64_t version)
{
    struct roost_event event = ROOST_EVENT_INIT;
    do {
        if (!CHECK(roost_watch_wait(watch, WAIT_MS, &event))) bench_die("no change of a state came");
    } while (event.id < version);
}

static void notify(const char *folder, uint64_t *ret_latencies_ns, size_t rounds)
{
    CHECK(roost_create(folder, NULL));
    uint32_t *ready = bench_shared(sizeof *ready);
    pid_t child = bench_fork();
    roost_root *own = open_root(folder, 0);
    publish(own, child ? "ping" : "pong", 0); /* version 1: from now on both are owners */
    __atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(ready, __ATOMIC_ACQUIRE) < 2) bench_sleep_us(100);
    roost_watch *watch = watch_state(own, child ? "pong" : "ping");
    for (size_t round = 0; round < rounds; round++) {
        uint64_t start = bench_now_ns();
        if (child) publish(own, "ping", round + 1);
        await_version(watch, round + 2);
        if (!child) publish(own, "pong", round + 1);
        if (child) ret_latencies_ns[round] = (bench_now_ns() - start) / 2;
    }
    roost_watch_close(watch);
    CHECK(roost_close(own));
    if (!child) _exit(0);
    bench_join(child, "the other agent");
}

int main(int argument_count, char **arguments)
{
    const char *stem = getenv("STEM");
    struct bench_store store = {
        .name = "roost",
        .append_note = "on the disk, readable by id and searchable on return",
        .stems = !stem || strcmp(stem, "0") != 0,
        .bulk_block = BULK_BLOCK,
        .open = open_store,
        .close = close_store,
        .append = append,
        .append_block = append_block,
        .finish = finish,
        .get = get,
        .search = search,
        .notify = notify,
        .shares_memory = true,
    };
    return bench_run(store, argument_count, arguments);
}
