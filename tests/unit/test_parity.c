/* SPDX-License-Identifier: MIT
 * tests/unit/test_parity.c: what users of memmap_fs had and expect, through the public API: append and query, several memories,
 * state, recovery, keys, streams, keyed search, and all the small print about them. Other processes are this program again,
 * started anew (fork and exec), so that nothing is shared but the root. Only the bytes of the log are looked at from inside. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <roost/roost.h>

#include "format/log.h"

#define ok(call) ok_at((call), #call, __LINE__)
static void ok_at(int result, const char *call, int line)
{
    ck_assert_msg(result >= 0, "line %d: %s: %s: %s", line, call, roost_error_name(result), roost_error_detail());
}
#define fails(call, error) fails_at((call), (error), #call, __LINE__)
static void fails_at(int result, int error, const char *call, int line)
{
    ck_assert_msg(result == error, "line %d: %s: %s, expected %s (%s)", line, call, roost_error_name(result),
                  roost_error_name(error), roost_error_detail());
    ck_assert_msg(roost_error_detail()[0], "line %d: %s says nothing", line, call);
}

#define says(words) ck_assert_msg(strstr(roost_error_detail(), (words)), "line %d: %s", __LINE__, roost_error_detail())

static int64_t now_ns(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- a folder for each test ---- */

static char folder[64], path[96];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/roost-parity-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/root", folder);
}

static void shell(const char *format, const char *a, const char *b)
{
    char command[512];
    snprintf(command, sizeof command, format, a, b);
    ck_assert_int_eq(system(command), 0);
}

static void teardown(void) { shell("rm -rf %s", folder, ""); }

static roost_root *open_as(const char *where, uint32_t flags)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root;
    options.flags = flags;
    ok(roost_open(where, &options, &root));
    return root;
}

static roost_root *open_root(void) { return open_as(path, ROOST_OPEN_CREATE); }

static void make_file_root(void)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    settings.region = ROOST_REGION_FILE;
    settings.log_size = 1 << 20;
    settings.arena_size = 4 << 20;
    ok(roost_create(path, &settings));
}

/* ---- short forms ---- */

static struct roost_memory memory_of(const char *text, const struct roost_bytes *tags, size_t tag_count)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text(text);
    memory.tags = tags;
    memory.tag_count = tag_count;
    return memory;
}

static roost_id append(roost_root *root, const char *text)
{
    struct roost_memory memory = memory_of(text, NULL, 0);
    roost_id id = 0;
    ok(roost_append(root, &memory, NULL, &id, NULL));
    return id;
}

static roost_id append_keyed(roost_root *root, const char *key, const char *text)
{
    struct roost_memory memory = memory_of(text, NULL, 0);
    roost_id id = 0;
    memory.key = roost_text(key);
    ok(roost_append(root, &memory, NULL, &id, NULL));
    return id;
}

static bool same(struct roost_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static void expect_memory(roost_root *root, roost_id id, const char *text)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    ok(roost_get(root, id, &memory));
    ck_assert_uint_eq(memory.id, id);
    ck_assert_msg(same(memory.text, text), "memory %" PRIu64 " is \"%.*s\"", id, (int)memory.text.size,
                  (const char *)memory.text.data);
    roost_unpin(root, &memory.pin);
}

static void expect_value(roost_root *root, const char *key, const char *value)
{
    struct roost_item item = ROOST_ITEM_INIT;
    ok(roost_kv_get(root, roost_text(key), &item));
    ck_assert(same(item.value, value));
    ck_assert(same(item.key, key));
    roost_unpin(root, &item.pin);
}

/* "3 1 2 ": ids of the hits, the best first. */
static const char *search_limit(roost_root *root, const char *text, uint32_t limit)
{
    static char out[1024];
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits;
    size_t used = 0;
    int more;
    double before = 1e9;
    query.text = roost_text(text);
    query.limit = limit;
    ok(roost_search(root, &query, &hits));
    out[0] = '\0';
    while ((more = roost_hits_next(hits, &hit)) == 1) {
        ck_assert(hit.score > 0 && hit.score <= before);
        before = hit.score;
        used += (size_t)snprintf(out + used, sizeof out - used, "%" PRIu64 " ", hit.id);
    }
    ok(more);
    roost_hits_close(hits);
    return out;
}

static const char *search(roost_root *root, const char *text) { return search_limit(root, text, 0); }

static size_t count_hits(roost_root *root, const char *text, uint32_t limit)
{
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    query.text = roost_text(text);
    query.limit = limit;
    ok(roost_search(root, &query, &hits));
    size_t count = roost_hits_count(hits);
    roost_hits_close(hits);
    return count;
}

static const char *all_ids(roost_root *root, uint32_t flags)
{
    static char out[1024];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter;
    size_t used = 0;
    int more;
    ok(roost_scan(root, 0, flags, &iter));
    out[0] = '\0';
    while ((more = roost_iter_memory(iter, &memory)) == 1)
        used += (size_t)snprintf(out + used, sizeof out - used, "%" PRIu64 " ", memory.id);
    ok(more);
    roost_iter_close(iter);
    return out;
}

static uint64_t memory_count(roost_root *root)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    ok(roost_stats(root, &stats));
    return stats.memory_count;
}

static struct roost_state state_of(const char *name, const char *status)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(name);
    state.status = roost_text(status);
    return state;
}

/* ---- other processes ---- */

struct other {
    pid_t pid;
    int to, from;
};

/* This program again: child MODE ROOT ARGUMENT, with a pipe to its stdin and one from its stdout. */
static struct other start(const char *mode, const char *argument)
{
    struct other other;
    int to[2], from[2];
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    other.pid = fork();
    ck_assert_int_ge(other.pid, 0);
    if (other.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execl("/proc/self/exe", "test_parity", "child", mode, path, argument, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    other.to = to[1];
    other.from = from[0];
    return other;
}

/* The other's next line, without its end; fails after ten seconds. */
static const char *hear(const struct other *other)
{
    static char line[256];
    size_t used = 0;
    while (used + 1 < sizeof line) {
        struct pollfd wait = {other->from, POLLIN, 0};
        ck_assert_msg(poll(&wait, 1, 10000) == 1, "the other process says nothing");
        if (read(other->from, line + used, 1) != 1 || line[used] == '\n') break;
        used++;
    }
    line[used] = '\0';
    return line;
}

/* Waits for its end; its exit status, or minus the signal that ended it. */
static int end(const struct other *other)
{
    int status;
    close(other->to);
    ck_assert_int_eq(waitpid(other->pid, &status, 0), other->pid);
    close(other->from);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void kill_other(const struct other *other)
{
    kill(other->pid, SIGKILL);
    ck_assert_int_eq(end(other), -SIGKILL);
}

/* Texts over 1 KiB: one that LZ4 shortens, one that it cannot. */
static void fill_text(char *text, size_t size, unsigned number, bool compressible)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
    uint64_t random = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i + 1 < size; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17; /* xorshift64, Marsaglia 2003 */
        text[i] = compressible ? "all the same words, again and "[i % 30] : letters[random >> 58];
    }
    int used = snprintf(text, size, "%u ", number);
    text[used] = '=';
    text[size - 1] = '\0';
}

enum { LONG_TEXT = 3000 };

static void child_append(roost_root *root, unsigned count)
{
    char text[LONG_TEXT];
    for (unsigned i = 0; i < count; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        roost_id id = 0;
        fill_text(text, sizeof text, i, i % 2 == 0);
        memory.text = roost_text(text);
        if (roost_append(root, &memory, NULL, &id, NULL) < 0) exit(3);
        printf("%" PRIu64 "\n", id);
    }
}

/* What another process does: prints lines, then waits until its stdin ends (or it is killed). */
static int child(const char *mode, const char *argument)
{
    roost_root *root = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int err = roost_open(path, NULL, &root);
    if (err < 0) return printf("%s %s\n", roost_error_name(err), roost_error_detail()), 2;
    if (strcmp(mode, "publish") == 0) {
        struct roost_state state = state_of(argument, "elsewhere");
        err = roost_state_publish(root, &state, NULL);
        printf("%s\n", err < 0 ? roost_error_name(err) : "published");
    } else if (strcmp(mode, "append") == 0) {
        child_append(root, (unsigned)atoi(argument));
        struct roost_state state = state_of("child", "appended");
        struct roost_write write = ROOST_WRITE_INIT;
        write.level = ROOST_DURABLE;
        if (roost_state_publish(root, &state, &write) < 0) return 3;
        printf("done\n");
    } else if (strcmp(mode, "find") == 0) {
        struct roost_query query = ROOST_QUERY_INIT;
        roost_hits *hits;
        query.text = roost_text(argument);
        if (roost_search(root, &query, &hits) < 0) return 3;
        printf("%zu\n", roost_hits_count(hits));
        roost_hits_close(hits);
    } else if (strcmp(mode, "stream") == 0) {
        if (roost_stream_append(root, roost_text("talk"), roost_text(argument), NULL, NULL, NULL) < 0) return 3;
        printf("said\n");
    }
    char byte;
    while (read(0, &byte, 1) > 0) continue;
    return roost_close(root) < 0 ? 4 : 0;
}

/* ---- the seven that memmap_fs is tested with ---- */

START_TEST(append_and_query)
{
    roost_root *root = open_root();
    ck_assert_uint_eq(append(root, "hello agents of the world"), 1);
    ck_assert_str_eq(search(root, "hello"), "1 ");
    ck_assert_str_eq(search(root, "goodbye"), "");
    expect_memory(root, 1, "hello agents of the world");
    ok(roost_close(root));
}
END_TEST

START_TEST(several_memories)
{
    roost_root *root = open_root();
    ck_assert_uint_eq(append(root, "the cat sat on the mat"), 1);
    ck_assert_uint_eq(append(root, "the dog chased the cat, and the cat ran"), 2);
    ck_assert_uint_eq(append(root, "nothing to see"), 3);
    ck_assert_str_eq(search(root, "dog"), "2 ");
    ck_assert_uint_eq(count_hits(root, "cat", 0), 2);
    ck_assert_str_eq(search(root, "see cat dog chased"), "2 3 1 ");
    ck_assert_uint_eq(memory_count(root), 3);
    ok(roost_close(root));
}
END_TEST

START_TEST(state_is_published_and_read)
{
    roost_root *root = open_root(), *reader = open_root();
    struct roost_extra extra[] = {{ROOST_TEXT("model"), ROOST_TEXT("m1")},
                                  {ROOST_TEXT("task"), ROOST_TEXT("read \xc3\xa9verything")}};
    struct roost_state state = state_of("agent-1", "thinking"), got = ROOST_STATE_INIT;
    state.active_memory_count = 42;
    state.last_updated_id = 7;
    state.extra = extra;
    state.extra_count = 2;
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_state_get(reader, roost_text("agent-1"), &got));
    ck_assert(same(got.name, "agent-1") && same(got.status, "thinking"));
    ck_assert_uint_eq(got.active_memory_count, 42);
    ck_assert_uint_eq(got.last_updated_id, 7);
    ck_assert_uint_eq(got.extra_count, 2);
    ck_assert(same(got.extra[0].name, "model") && same(got.extra[0].value, "m1"));
    ck_assert(same(got.extra[1].name, "task") && same(got.extra[1].value, "read \xc3\xa9verything"));
    ck_assert_int_eq(got.alive, ROOST_ALIVE_YES);
    ck_assert_int_eq(got.owner_pid, getpid());
    uint64_t version = got.version;
    roost_unpin(reader, &got.pin);
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_state_get(reader, roost_text("agent-1"), &got));
    ck_assert_uint_gt(got.version, version);
    roost_unpin(reader, &got.pin);
    fails(roost_state_get(reader, roost_text("nobody"), &got), ROOST_ENOENT);
    /* The root's own: what there is. */
    append(root, "one");
    ok(roost_state_get(reader, roost_text(""), &got));
    ck_assert_uint_eq(got.active_memory_count, 1);
    ck_assert_uint_eq(got.last_updated_id, 1);
    roost_unpin(reader, &got.pin);
    ok(roost_close(reader));
    ok(roost_close(root));
}
END_TEST

START_TEST(recovery_after_a_killed_process)
{
    ok(roost_create(path, NULL));
    struct other other = start("append", "7");
    for (unsigned i = 1; i <= 7; i++) ck_assert_uint_eq(strtoull(hear(&other), NULL, 10), i);
    ck_assert_str_eq(hear(&other), "done");
    kill_other(&other);
    roost_root *root = open_root();
    char text[LONG_TEXT];
    for (unsigned i = 0; i < 7; i++) {
        fill_text(text, sizeof text, i, i % 2 == 0);
        expect_memory(root, i + 1, text);
    }
    ck_assert_uint_eq(memory_count(root), 7);
    ck_assert_uint_eq(count_hits(root, "again", 0), 4);
    ck_assert_uint_eq(append(root, "and on it goes"), 8);
    ok(roost_close(root));
}
END_TEST

START_TEST(keys_over_restarts)
{
    roost_root *root = open_root();
    struct roost_item item = ROOST_ITEM_INIT;
    ok(roost_kv_set(root, roost_text("color"), roost_text("green"), NULL, NULL));
    ok(roost_kv_set(root, roost_text("color"), roost_text("blue"), NULL, NULL));
    ok(roost_kv_set(root, roost_text("gone"), roost_text("soon"), NULL, NULL));
    ok(roost_kv_set(root, roost_text("empty"), roost_text(""), NULL, NULL));
    ok(roost_kv_delete(root, roost_text("gone"), NULL, NULL));
    for (int i = 0; i < 3; i++) {
        expect_value(root, "color", "blue");
        expect_value(root, "empty", "");
        fails(roost_kv_get(root, roost_text("gone"), &item), ROOST_ENOENT);
        if (i == 1) ok(roost_checkpoint(root));
        ok(roost_close(root));
        root = open_root();
    }
    fails(roost_kv_delete(root, roost_text("gone"), NULL, NULL), ROOST_ENOENT);
    ok(roost_close(root));
}
END_TEST

static void expect_entry(roost_root *root, uint64_t index, uint64_t byte_offset, const char *text)
{
    struct roost_item item = ROOST_ITEM_INIT;
    ok(roost_stream_get(root, roost_text("talk"), index, &item));
    ck_assert(same(item.value, text) && same(item.key, "talk"));
    ck_assert_uint_eq(item.index, index);
    ck_assert_uint_eq(item.byte_offset, byte_offset);
    roost_unpin(root, &item.pin);
    for (uint64_t i = 0; i < strlen(text); i++) {
        ok(roost_stream_at(root, roost_text("talk"), byte_offset + i, &item));
        ck_assert_uint_eq(item.index, index);
        roost_unpin(root, &item.pin);
    }
}

START_TEST(streams_append_and_read)
{
    roost_root *root = open_root();
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    struct roost_bytes binary = {"\0\xff\n", 3};
    uint64_t index = 9;
    fails(roost_stream_info(root, roost_text("talk"), &info), ROOST_ENOENT);
    ok(roost_stream_append(root, roost_text("talk"), roost_text("first"), NULL, &index, NULL));
    ck_assert_uint_eq(index, 0);
    ok(roost_stream_append(root, roost_text("talk"), roost_text("2nd"), NULL, &index, NULL));
    ck_assert_uint_eq(index, 1);
    ok(roost_stream_append(root, roost_text("other"), binary, NULL, &index, NULL));
    ck_assert_uint_eq(index, 0);
    ok(roost_stream_append(root, roost_text("talk"), roost_text("the third"), NULL, &index, NULL));
    ck_assert_uint_eq(index, 2);
    fails(roost_stream_append(root, roost_text("talk"), roost_text(""), NULL, NULL, NULL), ROOST_EINVAL);
    for (int i = 0; i < 2; i++) {
        expect_entry(root, 0, 0, "first");
        expect_entry(root, 1, 5, "2nd");
        expect_entry(root, 2, 8, "the third");
        fails(roost_stream_get(root, roost_text("talk"), 3, &item), ROOST_ENOENT);
        fails(roost_stream_at(root, roost_text("talk"), 17, &item), ROOST_ENOENT);
        ok(roost_stream_info(root, roost_text("talk"), &info));
        ck_assert_uint_eq(info.entry_count, 3);
        ck_assert_uint_eq(info.byte_count, 17);
        ok(roost_stream_get(root, roost_text("other"), 0, &item));
        ck_assert(item.value.size == 3 && memcmp(item.value.data, binary.data, 3) == 0);
        roost_unpin(root, &item.pin);
        ok(roost_close(root));
        root = open_root();
    }
    roost_iter *names;
    ok(roost_streams(root, &names));
    ck_assert_int_eq(roost_iter_item(names, &item), 1);
    ck_assert(same(item.key, "other") && item.index == 1 && item.byte_offset == 3);
    ck_assert_int_eq(roost_iter_item(names, &item), 1);
    ck_assert(same(item.key, "talk") && item.index == 3 && item.byte_offset == 17);
    ck_assert_int_eq(roost_iter_item(names, &item), 0);
    roost_iter_close(names);
    ok(roost_close(root));
}
END_TEST

START_TEST(keyed_search)
{
    roost_root *root = open_root();
    append_keyed(root, "doc/a", "alpha beta");
    append_keyed(root, "doc/b", "beta gamma gamma");
    append_keyed(root, "doc/a", "delta");
    struct roost_query query = ROOST_QUERY_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    roost_hits *hits;
    query.text = roost_text("gamma delta");
    query.limit = 5;
    ok(roost_search(root, &query, &hits));
    ck_assert_uint_eq(roost_hits_count(hits), 2);
    bool seen[2] = {false, false};
    while (roost_hits_next(hits, &hit) == 1) {
        ck_assert(hit.score > 0);
        if (same(hit.key, "doc/a")) seen[0] = same(hit.text, "delta");
        if (same(hit.key, "doc/b")) seen[1] = same(hit.text, "beta gamma gamma");
    }
    ck_assert(seen[0] && seen[1]);
    roost_hits_close(hits);
    /* The same key replaces: what it said before is found no more. */
    ck_assert_str_eq(search(root, "alpha"), "");
    ck_assert_str_eq(search(root, "beta"), "2 ");
    ck_assert_uint_eq(memory_count(root), 2);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    fails(roost_get(root, 1, &memory), ROOST_ENOENT);
    ok(roost_close(root));
    root = open_root();
    ck_assert_str_eq(search(root, "alpha"), "");
    ck_assert_str_eq(search(root, "delta"), "3 ");
    ok(roost_close(root));
}
END_TEST

/* ---- memories ---- */

START_TEST(twenty_hits_by_default)
{
    roost_root *root = open_root();
    for (int i = 0; i < 45; i++) append(root, "one and the same");
    ck_assert_uint_eq(count_hits(root, "same", 0), 20);
    ck_assert_uint_eq(count_hits(root, "same", 3), 3);
    ck_assert_uint_eq(count_hits(root, "same", 1000), 45);
    ck_assert_str_eq(search_limit(root, "same", 3), "45 44 43 "); /* equal scores: the newest first */
    ok(roost_close(root));
}
END_TEST

START_TEST(tags_are_searchable)
{
    roost_root *root = open_root();
    struct roost_bytes tags[] = {ROOST_TEXT("fruit"), ROOST_TEXT("to do")};
    struct roost_memory memory = memory_of("apples and pears", tags, 2), got = ROOST_MEMORY_INIT;
    ok(roost_append(root, &memory, NULL, NULL, NULL));
    append(root, "no fruit here, only a stone");
    ck_assert_str_eq(search(root, "tag:fruit"), "1 ");
    ck_assert_uint_eq(count_hits(root, "fruit", 0), 2); /* tags count as words */
    ck_assert_str_eq(search(root, "+tag:fruit stone"), "1 ");
    ck_assert_str_eq(search(root, "fruit -tag:fruit"), "2 ");
    ok(roost_get(root, 1, &got));
    ck_assert_uint_eq(got.tag_count, 2);
    ck_assert(same(got.tags[0], "fruit") && same(got.tags[1], "to do"));
    roost_unpin(root, &got.pin);
    ok(roost_close(root));
}
END_TEST

START_TEST(query_language)
{
    roost_root *root = open_root();
    append(root, "red apple pie");      /* 1 */
    append(root, "green apple");        /* 2 */
    append(root, "pie with red plums"); /* 3 */
    append(root, "applause");           /* 4 */
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(count_hits(root, "apple pie", 0), 3);
        ck_assert_uint_eq(count_hits(root, "+apple pie", 0), 2);
        ck_assert_str_eq(search(root, "+apple +pie"), "1 ");
        ck_assert_str_eq(search(root, "apple -red"), "2 ");
        ck_assert_str_eq(search(root, "\"red apple\""), "1 ");
        ck_assert_str_eq(search(root, "\"apple red\""), "");
        ck_assert_uint_eq(count_hits(root, "appl*", 0), 3);
        ck_assert_str_eq(search(root, "plum"), "3 "); /* stems */
        ok(roost_checkpoint(root));                   /* the same answers from a file */
    }
    ok(roost_close(root));
}
END_TEST

START_TEST(visible_everywhere_at_return)
{
    roost_root *root = open_root(), *second = open_root();
    for (unsigned i = 1; i <= 50; i++) {
        char text[32];
        snprintf(text, sizeof text, "note number%u", i);
        roost_id id = append(i % 2 ? root : second, text);
        expect_memory(i % 2 ? second : root, id, text);
        ck_assert_uint_eq(count_hits(i % 2 ? second : root, text + 5, 0), 1);
    }
    struct other other = start("find", "number50");
    ck_assert_str_eq(hear(&other), "1");
    ck_assert_int_eq(end(&other), 0);
    ok(roost_close(second));
    ok(roost_close(root));
}
END_TEST

START_TEST(where_a_memory_lies)
{
    roost_root *root = open_root();
    struct roost_bytes tag = ROOST_TEXT("t");
    struct roost_memory memory = memory_of("find me on the disk", &tag, 1), got = ROOST_MEMORY_INIT;
    struct roost_location location = ROOST_LOCATION_INIT;
    int64_t before = now_ns(CLOCK_REALTIME);
    append(root, "something before");
    ok(roost_append(root, &memory, NULL, NULL, NULL));
    memory.time_ns = 12345;
    ok(roost_append(root, &memory, NULL, NULL, NULL));
    ok(roost_locate(root, 2, &location));
    ck_assert_uint_eq(location.id, 2);
    ck_assert_uint_eq(location.text_size, memory.text.size);
    ck_assert_uint_gt(location.text_offset, location.offset);
    ck_assert_uint_le(location.text_offset + location.text_size, location.offset + location.record_size);
    ck_assert_int_ge(location.time_ns, before);
    ck_assert_int_le(location.time_ns, now_ns(CLOCK_REALTIME));
    char name[160], bytes[64];
    snprintf(name, sizeof name, "%s/blocks/chunk_%04u.bin", path, location.chunk);
    int file = open(name, O_RDONLY);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pread(file, bytes, location.text_size, (off_t)location.text_offset), (int)location.text_size);
    ck_assert_mem_eq(bytes, memory.text.data, memory.text.size);
    close(file);
    ok(roost_get(root, 2, &got));
    ck_assert_uint_eq(got.lsn, location.lsn);
    ck_assert_int_eq(got.time_ns, location.time_ns);
    ck_assert(got.tag_count == 1 && same(got.tags[0], "t"));
    roost_unpin(root, &got.pin);
    ok(roost_locate(root, 3, &location));
    ck_assert_int_eq(location.time_ns, 12345);
    fails(roost_locate(root, 4, &location), ROOST_ENOENT);
    ok(roost_close(root));
}
END_TEST

START_TEST(all_ids_in_order)
{
    roost_root *root = open_root();
    ck_assert_str_eq(all_ids(root, 0), "");
    for (int i = 0; i < 12; i++) append(root, "x");
    ok(roost_forget(root, 5, NULL, NULL));
    ok(roost_checkpoint(root));
    append(root, "y");
    ok(roost_forget(root, 12, NULL, NULL));
    ck_assert_str_eq(all_ids(root, 0), "1 2 3 4 6 7 8 9 10 11 13 ");
    ck_assert_str_eq(all_ids(root, ROOST_SCAN_REVERSE), "13 11 10 9 8 7 6 4 3 2 1 ");
    ok(roost_close(root));
}
END_TEST

static void expect_forgotten(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_location location = ROOST_LOCATION_INIT;
    fails(roost_get(root, 1, &memory), ROOST_ENOENT);
    fails(roost_locate(root, 1, &location), ROOST_ENOENT);
    ck_assert_str_eq(search(root, "secret"), "");
    ck_assert_str_eq(search(root, "tag:private"), "");
    ck_assert_str_eq(search(root, "harmless"), "2 ");
    ck_assert_str_eq(all_ids(root, 0), "2 ");
    ck_assert_uint_eq(memory_count(root), 1);
    fails(roost_forget(root, 1, NULL, NULL), ROOST_ENOENT);
}

START_TEST(forget_takes_effect_at_commit)
{
    roost_root *root = open_root(), *second = open_root();
    struct roost_bytes tag = ROOST_TEXT("private");
    struct roost_memory memory = memory_of("the secret word", &tag, 1);
    ok(roost_append(root, &memory, NULL, NULL, NULL));
    append(root, "a harmless word");
    if (_i) ok(roost_checkpoint(root)); /* from the live segment, and from a sealed one */
    ok(roost_forget(root, 1, NULL, NULL));
    expect_forgotten(root);
    expect_forgotten(second);
    ok(roost_close(second));
    ok(roost_close(root));
    root = open_root();
    expect_forgotten(root);
    ok(roost_checkpoint(root));
    expect_forgotten(root);
    ok(roost_rebuild(root));
    expect_forgotten(root);
    ck_assert_uint_eq(append(root, "ids are not given twice"), 3);
    ok(roost_close(root));
}
END_TEST

/* ---- keys ---- */

START_TEST(keys_by_version)
{
    roost_root *root = open_root();
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_receipt first, second;
    struct roost_item item = ROOST_ITEM_INIT;
    write.flags = ROOST_WRITE_IF_VERSION;
    ok(roost_kv_set(root, roost_text("k"), roost_text("1"), &write, &first)); /* expected 0: there is none */
    fails(roost_kv_set(root, roost_text("k"), roost_text("x"), &write, NULL), ROOST_EMISMATCH);
    write.expected = first.lsn;
    ok(roost_kv_set(root, roost_text("k"), roost_text("2"), &write, &second));
    ck_assert_uint_gt(second.lsn, first.lsn);
    fails(roost_kv_set(root, roost_text("k"), roost_text("x"), &write, NULL), ROOST_EMISMATCH);
    fails(roost_kv_delete(root, roost_text("k"), &write, NULL), ROOST_EMISMATCH);
    ok(roost_kv_get(root, roost_text("k"), &item));
    ck_assert(same(item.value, "2"));
    ck_assert_uint_eq(item.version, second.lsn);
    roost_unpin(root, &item.pin);
    ok(roost_close(root));
    root = open_root();
    write.expected = second.lsn; /* versions stay over restarts */
    ok(roost_kv_delete(root, roost_text("k"), &write, NULL));
    fails(roost_kv_get(root, roost_text("k"), &item), ROOST_ENOENT);
    write.expected = 0;
    ok(roost_kv_set(root, roost_text("k"), roost_text("3"), &write, NULL));
    ok(roost_close(root));
}
END_TEST

START_TEST(keys_expire)
{
    roost_root *root = open_root();
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter;
    int64_t expires = now_ns(CLOCK_REALTIME) + 200000000;
    write.expires_ns = now_ns(CLOCK_REALTIME) + INT64_C(3600000000000);
    ok(roost_kv_set(root, roost_text("k/later"), roost_text("v"), &write, NULL));
    write.expires_ns = expires;
    ok(roost_kv_set(root, roost_text("k/soon"), roost_text("v"), &write, NULL));
    int err;
    while ((err = roost_kv_get(root, roost_text("k/soon"), &item)) == 0) {
        ck_assert_int_eq(item.expires_ns, expires);
        roost_unpin(root, &item.pin);
        ck_assert_int_lt(now_ns(CLOCK_REALTIME), expires + INT64_C(5000000000));
    }
    fails(err, ROOST_ENOENT);
    ck_assert_int_ge(now_ns(CLOCK_REALTIME), expires);
    ok(roost_kv_scan(root, roost_text("k/"), &iter));
    ck_assert_int_eq(roost_iter_item(iter, &item), 1);
    ck_assert(same(item.key, "k/later"));
    ck_assert_int_eq(roost_iter_item(iter, &item), 0);
    roost_iter_close(iter);
    write.flags = ROOST_WRITE_IF_VERSION; /* expired: as if there were none */
    write.expires_ns = 0;
    ok(roost_kv_set(root, roost_text("k/soon"), roost_text("again"), &write, NULL));
    expect_value(root, "k/soon", "again");
    ok(roost_close(root));
}
END_TEST

START_TEST(keys_by_prefix)
{
    roost_root *root = open_root();
    static const char *const keys[] = {"b", "a/2", "a", "a/10", "a/1", "ab", "a/\xff", "a0"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        ok(roost_kv_set(root, roost_text(keys[i]), roost_text(keys[i]), NULL, NULL));
    for (int round = 0; round < 2; round++) {
        static const char *const wanted[] = {"a/1", "a/10", "a/2", "a/\xff"}; /* byte order */
        struct roost_item item = ROOST_ITEM_INIT;
        roost_iter *iter;
        ok(roost_kv_scan(root, roost_text("a/"), &iter));
        for (size_t i = 0; i < 4; i++) {
            ck_assert_int_eq(roost_iter_item(iter, &item), 1);
            ck_assert(same(item.key, wanted[i]) && same(item.value, wanted[i]));
        }
        ck_assert_int_eq(roost_iter_item(iter, &item), 0);
        roost_iter_close(iter);
        int count = 0;
        ok(roost_kv_scan(root, roost_text(""), &iter));
        while (roost_iter_item(iter, &item) == 1) count++;
        roost_iter_close(iter);
        ck_assert_int_eq(count, 8);
        ok(roost_checkpoint(root));
    }
    ok(roost_close(root));
}
END_TEST

START_TEST(large_values)
{
    static const size_t sizes[] = {1, 4096, 65536, 65537, 1 << 20, (8 << 20) + 3, 64 << 20};
    size_t size_max = 64 << 20;
    uint8_t *value = malloc(size_max);
    ck_assert_ptr_nonnull(value);
    for (size_t i = 0; i < size_max; i++) value[i] = (uint8_t)(i * 31 + (i >> 12));
    roost_root *root = open_root();
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char key[32];
            snprintf(key, sizeof key, "size/%zu", sizes[i]);
            if (!round) ok(roost_kv_set(root, roost_text(key), (struct roost_bytes){value, sizes[i]}, NULL, NULL));
            struct roost_item item = ROOST_ITEM_INIT;
            ok(roost_kv_get(root, roost_text(key), &item));
            ck_assert_uint_eq(item.value.size, sizes[i]);
            ck_assert(memcmp(item.value.data, value, sizes[i]) == 0);
            roost_unpin(root, &item.pin);
        }
        ok(roost_close(root));
        root = open_root();
    }
    fails(roost_kv_set(root, roost_text("k"), (struct roost_bytes){value, (size_t)ROOST_RECORD_SIZE_MAX + 1}, NULL, NULL),
          ROOST_E2BIG);
    ok(roost_close(root));
    free(value);
}
END_TEST

/* ---- streams ---- */

START_TEST(streams_are_followed)
{
    roost_root *root = open_root();
    struct roost_topic topic = {ROOST_TOPIC_STREAM, 0, ROOST_TEXT("talk")};
    struct roost_event event = ROOST_EVENT_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_watch *watch;
    roost_iter *iter;
    ok(roost_stream_append(root, roost_text("talk"), roost_text("before"), NULL, NULL, NULL));
    ok(roost_watch_open(root, &topic, 1, &watch));
    ok(roost_stream_scan(root, roost_text("talk"), 0, &iter));
    ck_assert_int_eq(roost_iter_item(iter, &item), 1);
    ck_assert_int_eq(roost_iter_item(iter, &item), 0);
    ck_assert_int_eq(roost_watch_wait(watch, 0, &event), 0);
    append(root, "what has nothing to do with it wakes nobody");
    ck_assert_int_eq(roost_watch_wait(watch, 0, &event), 0);
    for (unsigned i = 1; i <= 3; i++) {
        char said[16];
        snprintf(said, sizeof said, "word %u", i);
        struct other other = start("stream", said);
        ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
        ck_assert_int_eq(event.kind, ROOST_CHANGE_STREAM);
        ck_assert_uint_eq(event.id, i);
        ck_assert(same(event.name, "talk"));
        ck_assert_int_eq(roost_iter_item(iter, &item), 1); /* a pass that ended goes on */
        ck_assert_uint_eq(item.index, i);
        ck_assert(same(item.value, said));
        ck_assert_int_eq(roost_iter_item(iter, &item), 0);
        ck_assert_int_eq(end(&other), 0);
    }
    roost_iter_close(iter);
    roost_watch_close(watch);
    ok(roost_close(root));
}
END_TEST

/* ---- states ---- */

START_TEST(states_over_restarts)
{
    roost_root *root = open_root();
    struct roost_extra extra = {ROOST_TEXT("k"), ROOST_TEXT("v")};
    struct roost_state state = state_of("kept", "busy"), got = ROOST_STATE_INIT;
    state.active_memory_count = 3;
    state.last_updated_id = 2;
    state.extra = &extra;
    state.extra_count = 1;
    ok(roost_state_publish(root, &state, NULL));
    uint64_t version = 0;
    for (int i = 0; i < 3; i++) {
        ok(roost_close(root));
        root = open_root();
        ok(roost_state_get(root, roost_text("kept"), &got));
        ck_assert(same(got.status, "busy") && got.active_memory_count == 3 && got.last_updated_id == 2);
        ck_assert(got.extra_count == 1 && same(got.extra[0].value, "v"));
        ck_assert_int_eq(got.alive, ROOST_ALIVE_NO);
        ck_assert_uint_ge(got.version, version);
        version = got.version;
        roost_unpin(root, &got.pin);
    }
    ok(roost_state_publish(root, &state, NULL)); /* the name can be had again, and its version goes on */
    ok(roost_state_get(root, roost_text("kept"), &got));
    ck_assert_uint_gt(got.version, version);
    ck_assert_int_eq(got.alive, ROOST_ALIVE_YES);
    roost_unpin(root, &got.pin);
    ok(roost_close(root));
}
END_TEST

START_TEST(a_state_has_one_owner)
{
    roost_root *root = open_root();
    struct roost_state state = state_of("mine", "here"), got = ROOST_STATE_INIT;
    ok(roost_state_publish(root, &state, NULL));
    struct other other = start("publish", "mine");
    ck_assert_str_eq(hear(&other), "ROOST_EBUSY");
    ck_assert_int_eq(end(&other), 0);
    /* The other way round: until that process ends, by whatever means. */
    other = start("publish", "theirs");
    ck_assert_str_eq(hear(&other), "published");
    state = state_of("theirs", "here");
    fails(roost_state_publish(root, &state, NULL), ROOST_EBUSY);
    char pid[24];
    snprintf(pid, sizeof pid, "%d", (int)other.pid);
    ck_assert_msg(strstr(roost_error_detail(), pid), "the owner %s is not named: %s", pid, roost_error_detail());
    ok(roost_state_get(root, roost_text("theirs"), &got));
    ck_assert_int_eq(got.alive, ROOST_ALIVE_YES);
    ck_assert_int_eq(got.owner_pid, other.pid);
    roost_unpin(root, &got.pin);
    kill_other(&other);
    ok(roost_state_get(root, roost_text("theirs"), &got));
    ck_assert(got.alive == ROOST_ALIVE_NO && same(got.status, "elsewhere"));
    roost_unpin(root, &got.pin);
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_state_release(root, roost_text("mine")));
    other = start("publish", "mine");
    ck_assert_str_eq(hear(&other), "published");
    ck_assert_int_eq(end(&other), 0);
    ok(roost_close(root));
}
END_TEST

START_TEST(states_without_owner)
{
    roost_root *root = open_root(), *second = open_root();
    struct roost_state state = state_of("free", "1"), got = ROOST_STATE_INIT;
    state.flags = ROOST_STATE_UNOWNED;
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_state_get(second, roost_text("free"), &got));
    ck_assert_int_eq(got.alive, ROOST_ALIVE_NONE);
    roost_unpin(second, &got.pin);
    state.status = roost_text("2");
    ok(roost_state_publish(second, &state, NULL));
    ok(roost_state_get(root, roost_text("free"), &got));
    ck_assert(same(got.status, "2") && got.alive == ROOST_ALIVE_NONE);
    roost_unpin(root, &got.pin);
    ok(roost_close(second));
    ok(roost_close(root));
}
END_TEST

START_TEST(states_have_a_limit)
{
    roost_root *root = open_root();
    char value[ROOST_STATE_SIZE_MAX + 1];
    memset(value, 'v', sizeof value);
    struct roost_extra extra = {ROOST_TEXT("big"), {value, ROOST_STATE_SIZE_MAX - 64 - 3 - 4 * 3}};
    struct roost_state state = state_of("large", ""), got = ROOST_STATE_INIT;
    state.extra = &extra;
    state.extra_count = 1;
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_state_get(root, roost_text("large"), &got));
    ck_assert_uint_eq(got.extra[0].value.size, extra.value.size);
    roost_unpin(root, &got.pin);
    extra.value.size = ROOST_STATE_SIZE_MAX;
    fails(roost_state_publish(root, &state, NULL), ROOST_E2BIG);
    ok(roost_state_get(root, roost_text("large"), &got)); /* what was there stays */
    ck_assert_uint_lt(got.extra[0].value.size, ROOST_STATE_SIZE_MAX);
    roost_unpin(root, &got.pin);
    ok(roost_close(root));
}
END_TEST

START_TEST(a_new_watcher_gets_the_current_value_first)
{
    roost_root *root = open_root(), *second = open_root();
    struct roost_state state = state_of("watched", "now");
    struct roost_topic topics[] = {{ROOST_TOPIC_STATE, 0, ROOST_TEXT("watched")}, {ROOST_TOPIC_COMMITS, 0, {NULL, 0}}};
    struct roost_event event = ROOST_EVENT_INIT;
    roost_watch *watch;
    append(root, "before");
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_watch_open(second, topics, 2, &watch));
    ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
    ck_assert_int_eq(event.kind, ROOST_CHANGE_STATE);
    ck_assert_uint_eq(event.topic, 0);
    ck_assert(same(event.name, "watched"));
    uint64_t version = event.id;
    ck_assert_int_eq(roost_watch_wait(watch, 0, &event), 0); /* once; and commits from before are none of its business */
    ok(roost_state_publish(root, &state, NULL));
    ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
    ck_assert_uint_eq(event.id, version + 1);
    append(root, "after");
    ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
    ck_assert(event.kind == ROOST_CHANGE_MEMORY && event.id == 2 && event.topic == 1);
    roost_watch_close(watch);
    ok(roost_close(second));
    ok(roost_close(root));
}
END_TEST

START_TEST(replay_wakes_nobody)
{
    ok(roost_create(path, NULL));
    struct other other = start("append", "4");
    while (strcmp(hear(&other), "done") != 0) continue;
    kill_other(&other);
    /* Nobody is left: who opens it now repairs it. */
    roost_root *root = open_root();
    struct roost_topic topics[] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    struct roost_event event = ROOST_EVENT_INIT;
    roost_watch *watch;
    ok(roost_watch_open(root, topics, 2, &watch));
    ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
    ck_assert(event.kind == ROOST_CHANGE_STATE && same(event.name, "child"));
    ck_assert_int_eq(roost_watch_wait(watch, 0, &event), 0);
    /* A watcher that was there all the time, and a takeover: each memory once. */
    other = start("append", "4");
    for (roost_id id = 5; id <= 8;) {
        ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
        if (event.kind == ROOST_CHANGE_STATE) continue;
        ck_assert_int_eq(event.kind, ROOST_CHANGE_MEMORY);
        ck_assert_uint_eq(event.id, id++);
    }
    while (strcmp(hear(&other), "done") != 0) continue;
    kill_other(&other);
    ck_assert_uint_eq(append(root, "the ninth"), 9);
    int memories = 0;
    while (memories < 1) {
        ck_assert_int_eq(roost_watch_wait(watch, 10000, &event), 1);
        if (event.kind == ROOST_CHANGE_STATE) continue;
        ck_assert(event.kind == ROOST_CHANGE_MEMORY && event.id == 9);
        memories++;
    }
    while (roost_watch_wait(watch, 0, &event) == 1) ck_assert_int_eq(event.kind, ROOST_CHANGE_STATE);
    roost_watch_close(watch);
    ok(roost_close(root));
}
END_TEST

/* ---- the log, by hand ---- */

static int open_log(int flags)
{
    char name[128];
    snprintf(name, sizeof name, "%s/state.wal", path);
    int file = open(name, flags | O_CLOEXEC);
    ck_assert_int_ge(file, 0);
    return file;
}

/* The frames that are in the ring, the last one at the end. */
static int find_frames(struct rst_frame_header *ret_last, int *ret_plain_count, int *ret_lz4_count)
{
    int file = open_log(O_RDONLY), count = 0;
    struct stat stat;
    ck_assert_int_eq(fstat(file, &stat), 0);
    uint64_t log_size = (uint64_t)stat.st_size - RST_LOG_RING_OFFSET;
    memset(ret_last, 0, sizeof *ret_last);
    *ret_plain_count = *ret_lz4_count = 0;
    for (uint64_t offset = 0; offset < log_size; offset += RST_FRAME_ALIGNMENT) {
        struct rst_frame_header header;
        if (pread(file, &header, sizeof header, (off_t)(RST_LOG_RING_OFFSET + offset)) != (ssize_t)sizeof header) break;
        if (header.magic != RST_FRAME_MAGIC || header.position % log_size != offset) continue;
        if (!count++ || header.position > ret_last->position) *ret_last = header;
        *ret_lz4_count += header.entry_count && header.flags & RST_FRAME_LZ4;
        *ret_plain_count += header.entry_count && !(header.flags & RST_FRAME_LZ4);
    }
    close(file);
    return count;
}

/* As after a loss of power: no region, and the headers name an earlier boot. */
static void pretend_reboot(void)
{
    shell("rm -f %s/region%s", path, "");
    int file = open_log(O_RDWR);
    for (int i = 0; i < 2; i++) {
        struct rst_log_header header;
        ck_assert_int_eq(pread(file, &header, sizeof header, i * RST_LOG_HEADER_SIZE), (int)sizeof header);
        if (rst_log_header_check(&header) < 0) continue;
        header.boot_id[0] ^= 0xff;
        rst_log_header_seal(&header);
        ck_assert_int_eq(pwrite(file, &header, sizeof header, i * RST_LOG_HEADER_SIZE), (int)sizeof header);
    }
    close(file);
}

enum damage { OVERWRITTEN, CUT_SHORT };

static void damage_last_frame(enum damage damage)
{
    struct rst_frame_header last;
    int plain, lz4;
    ck_assert_int_gt(find_frames(&last, &plain, &lz4), 0);
    struct stat stat;
    int file = open_log(O_RDWR);
    ck_assert_int_eq(fstat(file, &stat), 0);
    off_t offset = RST_LOG_RING_OFFSET + (off_t)(last.position % ((uint64_t)stat.st_size - RST_LOG_RING_OFFSET));
    if (damage == CUT_SHORT)
        ck_assert_int_eq(ftruncate(file, offset + last.size / 2), 0);
    else
        ck_assert_int_eq(pwrite(file, "\xde\xad\xbe\xef", 4, offset + last.size / 2), 4);
    close(file);
}

/* A process dies, the power goes, and the last frame is half there; then life goes on. Several times. */
static void torn_tails(enum damage damage)
{
    make_file_root();
    char text[LONG_TEXT];
    roost_id kept[64], expected = 1;
    unsigned kept_count = 0;
    for (int round = 0; round < 4; round++) {
        struct other other = start("append", "3");
        roost_id ids[3];
        for (int i = 0; i < 3; i++) {
            ids[i] = strtoull(hear(&other), NULL, 10);
            ck_assert_uint_ge(ids[i], expected);
            expected = ids[i] + 1;
        }
        /* It is killed while its state is on the way to the disk, or after: the last frame is a memory's or the state's. */
        kill_other(&other);
        pretend_reboot();
        damage_last_frame(damage);
        roost_root *root = open_as(path, 0);
        for (unsigned i = 0; i < kept_count; i++) expect_memory(root, kept[i], "between");
        for (unsigned i = 0; i < 2; i++) {
            fill_text(text, sizeof text, i, i % 2 == 0);
            expect_memory(root, ids[i], text);
        }
        kept[kept_count] = append(root, "between");
        ck_assert_uint_ge(kept[kept_count], expected); /* ids are not given twice, not even after this */
        expected = kept[kept_count++] + 1;
        ok(roost_close(root));
        root = open_as(path, 0);
        ck_assert_int_eq(roost_check(root, NULL, NULL), 0);
        for (unsigned i = 0; i < kept_count; i++) expect_memory(root, kept[i], "between");
        ok(roost_close(root));
    }
}

START_TEST(a_torn_tail_overwritten) { torn_tails(OVERWRITTEN); }
END_TEST
START_TEST(a_torn_tail_cut_short) { torn_tails(CUT_SHORT); }
END_TEST

/* Nobody had it open, and the frame that says so is damaged: nothing is missing. */
START_TEST(the_closing_frame_damaged)
{
    make_file_root();
    for (unsigned round = 1; round <= 5; round++) {
        roost_root *root = open_as(path, 0);
        ck_assert_uint_eq(memory_count(root), round - 1);
        append(root, "round and round");
        ok(roost_close(root));
        damage_last_frame(OVERWRITTEN);
    }
    roost_root *root = open_as(path, 0);
    ck_assert_uint_eq(count_hits(root, "round", 0), 5);
    ok(roost_close(root));
}
END_TEST

/* Names nearly like ours: copies that somebody left, numbers that fit nowhere. Nobody counts them, sweeps them or trips over them. */
START_TEST(files_of_somebody_else_beside_ours)
{
    static const char *const others[] = {
        "blocks/chunk_7.bin", "blocks/chunk_4294967297.bin",        "blocks/chunk_0000.bin.old", "blocks/chunk_.bin",
        "index/seg-0001.idx", "index/seg-18446744073709551617.idx", "index/seg-9.idx.copy"};
    struct roost_stats before = ROOST_STATS_INIT, after = ROOST_STATS_INIT;
    char name[192];
    make_file_root();
    roost_root *root = open_as(path, 0);
    append(root, "our own");
    ok(roost_stats(root, &before));
    ok(roost_close(root));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(name, sizeof name, "%s/%s", path, others[i]);
        shell("echo theirs >%s%s", name, "");
    }
    root = open_as(path, 0);
    append(root, "our own too");
    ok(roost_stats(root, &after));
    ck_assert_uint_eq(after.chunk_bytes, before.chunk_bytes);
    ok(roost_rebuild(root));
    ck_assert_uint_eq(count_hits(root, "own", 0), 2);
    ok(roost_close(root));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(name, sizeof name, "%s/%s", path, others[i]);
        ck_assert_msg(access(name, F_OK) == 0, "%s was taken away", others[i]);
    }
}
END_TEST

static void note_damage(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)detail;
    if (error == ROOST_EDAMAGED && strcmp(file, "state.wal") == 0) *(uint64_t *)user = offset;
}

/* Later frames prove that the damaged one was acknowledged: that is no torn tail (R3). */
START_TEST(damage_within_the_log_is_reported)
{
    enum { SECOND_FRAME = 2 * 4096 + 512 }; /* two headers, then frames of one sector each */
    make_file_root();
    roost_root *root = open_as(path, 0);
    for (unsigned i = 0; i < 4; i++) append(root, "acknowledged");
    ok(roost_close(root));
    shell("printf X | dd of=%s/state.wal bs=1 seek=8904 conv=notrunc status=none%s", path, "");
    root = open_as(path, 0);
    expect_memory(root, 1, "acknowledged");
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("refused");
    ck_assert_int_eq(roost_append(root, &memory, NULL, NULL, NULL), ROOST_EDAMAGED);
    ck_assert_ptr_nonnull(strstr(roost_error_detail(), "damaged at offset 8704"));
    uint64_t offset = 0;
    ck_assert_int_ge(roost_check(root, note_damage, &offset), 1);
    ck_assert_uint_eq(offset, SECOND_FRAME);
    ok(roost_close(root));
}
END_TEST

START_TEST(compressed_and_plain_frames_are_recovered)
{
    make_file_root();
    struct other other = start("append", "6");
    while (strcmp(hear(&other), "done") != 0) continue;
    kill_other(&other);
    struct rst_frame_header last;
    int plain, lz4;
    find_frames(&last, &plain, &lz4);
    ck_assert_int_ge(plain, 3);
    ck_assert_int_eq(lz4, 3);
    if (_i) { /* only the log is left */
        pretend_reboot();
        shell("f=%s/blocks/chunk_0000.bin; size=$(stat -c %%s $f); : > $f; truncate -s $size $f%s", path, "");
    }
    roost_root *root = open_as(path, 0);
    char text[LONG_TEXT];
    for (unsigned i = 0; i < 6; i++) {
        fill_text(text, sizeof text, i, i % 2 == 0);
        expect_memory(root, i + 1, text);
    }
    ck_assert_int_eq(roost_check(root, NULL, NULL), 0);
    ok(roost_close(root));
}
END_TEST

/* ---- what is no root, or another's ---- */

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

START_TEST(a_root_of_memmap_fs_is_left_alone)
{
    /* Its state.wal: u64 little-endian length and so many bytes, again and again. */
    static const uint8_t frames[] = {5, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', 2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    char name[160];
    roost_root *root;
    struct roost_options create = ROOST_OPTIONS_INIT;
    create.flags = ROOST_OPEN_CREATE;
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(name, sizeof name, "%s/state.wal", path);
    write_file(name, frames, sizeof frames);
    shell("cp -a %s %s.before", path, path);
    fails(roost_open(path, NULL, &root), ROOST_EFOREIGN);
    ck_assert_ptr_nonnull(strstr(roost_error_detail(), "memmap_fs"));
    fails(roost_open(path, &create, &root), ROOST_EFOREIGN);
    fails(roost_create(path, NULL), ROOST_EFOREIGN);
    create.flags = ROOST_OPEN_OBSERVE;
    fails(roost_open(path, &create, &root), ROOST_EFOREIGN);
    shell("diff -r %s %s.before", path, path);
}
END_TEST

START_TEST(what_is_no_root)
{
    roost_root *root;
    struct roost_options create = ROOST_OPTIONS_INIT;
    create.flags = ROOST_OPEN_CREATE;
    fails(roost_open(path, NULL, &root), ROOST_ENOROOT);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    fails(roost_open(path, NULL, &root), ROOST_ENOROOT);
    ok(roost_create(path, NULL));
    fails(roost_create(path, NULL), ROOST_EEXIST);
    char file[160];
    snprintf(file, sizeof file, "%s/file", folder);
    write_file(file, "x", 1);
    fails(roost_open(file, NULL, &root), ROOST_ENOTDIR);
    fails(roost_open(file, &create, &root), ROOST_ENOTDIR);
    fails(roost_create(file, NULL), ROOST_ENOTDIR);
    snprintf(file, sizeof file, "%s/a/b", folder);
    fails(roost_create(file, NULL), ROOST_ENOENT);
    says("the folder that it would be in does not exist");
    fails(roost_open(file, &create, &root), ROOST_ENOENT);
    says("the folder that it would be in does not exist");
}
END_TEST

/* A root is no link, as whoever may change a link could lead processes apart; above the root links are as good as folders. */
START_TEST(symbolic_links)
{
    roost_root *root;
    struct roost_options create = ROOST_OPTIONS_INIT;
    create.flags = ROOST_OPEN_CREATE;
    char link[160], file[200];
    ok(roost_create(path, NULL));
    snprintf(link, sizeof link, "%s/link", folder);
    ck_assert_int_eq(symlink(path, link), 0);
    fails(roost_open(link, NULL, &root), ROOST_ENOTDIR);
    says("is a symbolic link: give the folder that it leads to");
    fails(roost_open(link, &create, &root), ROOST_ENOTDIR);
    says("is a symbolic link: give the folder that it leads to");
    fails(roost_create(link, NULL), ROOST_ENOTDIR);
    fails(roost_restore(path, link, NULL, NULL, NULL), ROOST_ENOTDIR);
    snprintf(file, sizeof file, "%s/none", folder);
    fails(roost_restore(link, file, NULL, NULL, NULL), ROOST_ENOTDIR);
    fails(roost_rescue(link, file, NULL, NULL, NULL), ROOST_ENOTDIR);
    snprintf(file, sizeof file, "%s/circle", folder);
    ck_assert_int_eq(symlink("circle", file), 0);
    fails(roost_create(file, NULL), ROOST_ENOTDIR);
    snprintf(file, sizeof file, "%s/circle/root", folder);
    fails(roost_create(file, NULL), ROOST_ENOTDIR);
    says("circle");
    fails(roost_open(file, NULL, &root), ROOST_ENOTDIR);
    /* Above it. */
    snprintf(link, sizeof link, "%s/above", folder);
    ck_assert_int_eq(symlink(folder, link), 0);
    snprintf(file, sizeof file, "%s/made", link);
    ok(roost_create(file, NULL));
    ok(roost_open(file, NULL, &root));
    append(root, "through a link");
    ok(roost_close(root));
    snprintf(file, sizeof file, "%s/opened", link);
    ok(roost_open(file, &create, &root));
    append(root, "through a link");
    snprintf(file, sizeof file, "%s/copied", link);
    ok(roost_backup(root, file, NULL, NULL, NULL));
    ok(roost_close(root));
    /* Inside it. */
    static const char *const parts[] = {"state.wal", "index", "blocks"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", path, parts[i]);
        snprintf(link, sizeof link, "%s/elsewhere", folder);
        ck_assert_int_eq(rename(file, link), 0);
        ck_assert_int_eq(symlink(link, file), 0);
        int err = roost_open(path, NULL, &root);
        ck_assert_msg(err < 0 && roost_error_name(err)[7] != '?' && strcmp(roost_error_text(err), "unknown error") != 0, "%s: %d",
                      parts[i], err);
        ck_assert_ptr_nonnull(strstr(roost_error_detail(), parts[i]));
        ck_assert_int_eq(unlink(file), 0);
        ck_assert_int_eq(rename(link, file), 0);
    }
    ok(roost_open(path, NULL, &root));
    ok(roost_close(root));
}
END_TEST

START_TEST(no_permission)
{
    ok(roost_create(path, NULL));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    else
        ck_assert_int_eq(chmod(path, 0), 0);
    roost_root *root;
    struct roost_options options = ROOST_OPTIONS_INIT;
    fails(roost_open(path, NULL, &root), ROOST_EACCES);
    options.flags = ROOST_OPEN_OBSERVE;
    fails(roost_open(path, &options, &root), ROOST_EACCES);
    options.flags = ROOST_OPEN_CREATE;
    fails(roost_open(path, &options, &root), ROOST_EACCES);
    if (geteuid() != getuid())
        ck_assert_int_eq(seteuid(getuid()), 0);
    else
        ck_assert_int_eq(chmod(path, 0700), 0);
    root = open_root();
    ck_assert_uint_eq(append(root, "all is well"), 1);
    ok(roost_close(root));
    struct stat stat_of;
    ck_assert_int_eq(stat(path, &stat_of), 0);
    ck_assert_int_eq(stat_of.st_mode & 0777, 0700);
    char name[160];
    snprintf(name, sizeof name, "%s/state.wal", path);
    ck_assert_int_eq(stat(name, &stat_of), 0);
    ck_assert_int_eq(stat_of.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_copy_is_a_root_of_its_own)
{
    char copy[160];
    snprintf(copy, sizeof copy, "%s/copy", folder);
    roost_root *root = open_root();
    append(root, "in both");
    ok(roost_kv_set(root, roost_text("k"), roost_text("both"), NULL, NULL));
    ok(roost_close(root));
    shell("cp -a %s %s", path, copy);
    root = open_root();
    roost_root *other = open_as(copy, 0);
    struct roost_stats stats = ROOST_STATS_INIT, other_stats = ROOST_STATS_INIT;
    ok(roost_stats(root, &stats));
    ok(roost_stats(other, &other_stats));
    ck_assert_mem_ne(stats.root_uuid, other_stats.root_uuid, 16);
    ck_assert_uint_eq(append(root, "original only"), 2);
    ck_assert_uint_eq(append(other, "copy only"), 2);
    ok(roost_kv_set(other, roost_text("k"), roost_text("copy"), NULL, NULL));
    expect_value(root, "k", "both");
    ok(roost_close(other));
    ok(roost_close(root));
    root = open_root();
    other = open_as(copy, 0);
    expect_memory(root, 2, "original only");
    expect_memory(other, 2, "copy only");
    ck_assert_str_eq(search(other, "original"), "");
    expect_value(other, "k", "copy");
    struct roost_stats again = ROOST_STATS_INIT;
    ok(roost_stats(other, &again));
    ck_assert_mem_eq(again.root_uuid, other_stats.root_uuid, 16); /* a new identity once, not at every open */
    ok(roost_close(other));
    ok(roost_close(root));
}
END_TEST

START_TEST(another_format_version)
{
    static const uint32_t versions[] = {RST_FORMAT_VERSION + 1, RST_FORMAT_VERSION - 1};
    roost_root *root = open_root();
    append(root, "of another time");
    ok(roost_close(root));
    int file = open_log(O_RDWR);
    struct rst_log_header headers[2], others[2];
    ck_assert_int_eq(pread(file, headers, sizeof headers, 0), (int)sizeof headers);
    memcpy(others, headers, sizeof others);
    for (int i = 0; i < 2; i++) {
        if (headers[i].magic != RST_LOG_MAGIC) continue;
        others[i].format_version = versions[_i];
        rst_log_header_seal(&others[i]);
    }
    ck_assert_int_eq(pwrite(file, others, sizeof others, 0), (int)sizeof others);
    shell("cp -a %s %s.before", path, path);
    struct roost_options create = ROOST_OPTIONS_INIT;
    create.flags = ROOST_OPEN_CREATE;
    fails(roost_open(path, NULL, &root), ROOST_EVERSION);
    char ours[32], theirs[32];
    snprintf(ours, sizeof ours, "version %u", (unsigned)RST_FORMAT_VERSION);
    snprintf(theirs, sizeof theirs, "version %u", versions[_i]);
    ck_assert_msg(strstr(roost_error_detail(), ours) && strstr(roost_error_detail(), theirs), "%s", roost_error_detail());
    fails(roost_open(path, &create, &root), ROOST_EVERSION);
    shell("diff -r %s %s.before", path, path);
    ck_assert_int_eq(pwrite(file, headers, sizeof headers, 0), (int)sizeof headers);
    close(file);
    root = open_root();
    expect_memory(root, 1, "of another time");
    ok(roost_close(root));
}
END_TEST

/* ---- bad input ---- */

START_TEST(bad_memories)
{
    roost_root *root = open_root();
    char long_key[ROOST_KEY_SIZE_MAX + 1];
    memset(long_key, 'k', sizeof long_key);
    struct roost_memory memory = memory_of("", NULL, 0), got = ROOST_MEMORY_INIT;
    roost_id id = 77;
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EINVAL);
    memory.text = roost_text("good \xc3\x28 bad");
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EILSEQ);
    ck_assert_ptr_nonnull(strstr(roost_error_detail(), "5")); /* where */
    memory.text = roost_text("\xed\xa0\x80");                 /* a surrogate */
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EILSEQ);
    memory.text = roost_text("fine");
    memory.key = (struct roost_bytes){"a\0b", 3};
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EINVAL);
    memory.key = (struct roost_bytes){long_key, sizeof long_key};
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_E2BIG);
    memory.key.size = 0;
    struct roost_bytes tag = {"t\0", 2};
    memory.tags = &tag;
    memory.tag_count = 1;
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EINVAL);
    tag = roost_text("");
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_EINVAL);
    tag = (struct roost_bytes){long_key, ROOST_NAME_SIZE_MAX + 1};
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_E2BIG);
    memory.tag_count = ROOST_TAG_COUNT_MAX + 1;
    fails(roost_append(root, &memory, NULL, &id, NULL), ROOST_E2BIG);
    ck_assert_uint_eq(id, 77); /* untouched on failure */
    fails(roost_get(root, 1, &got), ROOST_ENOENT);
    fails(roost_get(root, UINT64_MAX, &got), ROOST_ENOENT);
    ck_assert_int_lt(roost_get(root, 0, &got), 0);
    fails(roost_forget(root, 12345, NULL, NULL), ROOST_ENOENT);
    ck_assert_int_lt(roost_forget(root, 0, NULL, NULL), 0);
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    query.text = roost_text("\xff");
    fails(roost_search(root, &query, &hits), ROOST_EILSEQ);
    ck_assert_uint_eq(memory_count(root), 0);
    ck_assert_uint_eq(append(root, "and it still works"), 1);
    ok(roost_close(root));
}
END_TEST

START_TEST(bad_keys_and_names)
{
    roost_root *root = open_root();
    char long_key[ROOST_KEY_SIZE_MAX + 1];
    memset(long_key, 'k', sizeof long_key);
    struct roost_bytes bad[] = {{"", 0}, {"a\0b", 3}, {long_key, sizeof long_key}};
    int errors[] = {ROOST_EINVAL, ROOST_EINVAL, ROOST_E2BIG};
    struct roost_item item = ROOST_ITEM_INIT;
    for (int i = 0; i < 3; i++) {
        fails(roost_kv_set(root, bad[i], roost_text("v"), NULL, NULL), errors[i]);
        fails(roost_kv_delete(root, bad[i], NULL, NULL), errors[i]);
        fails(roost_kv_get(root, bad[i], &item), errors[i]);
        fails(roost_stream_append(root, bad[i], roost_text("e"), NULL, NULL, NULL), errors[i]);
        fails(roost_stream_get(root, bad[i], 0, &item), errors[i]);
        struct roost_state state = ROOST_STATE_INIT;
        state.name = bad[i];
        fails(roost_state_publish(root, &state, NULL), errors[i]);
    }
    ok(roost_kv_set(root, (struct roost_bytes){long_key, ROOST_KEY_SIZE_MAX}, roost_text("longest"), NULL, NULL));
    ok(roost_kv_get(root, (struct roost_bytes){long_key, ROOST_KEY_SIZE_MAX}, &item));
    ck_assert(same(item.value, "longest"));
    roost_unpin(root, &item.pin);
    ok(roost_kv_set(root, roost_text("\xff\xfe"), roost_text("keys are bytes"), NULL, NULL));
    expect_value(root, "\xff\xfe", "keys are bytes");
    ok(roost_close(root));
}
END_TEST

/* No root comes to be in `copy`. */
static void refuse_for_roots(roost_root *root, const char *copy, size_t size)
{
    struct roost_options options = {.size = size, .flags = ROOST_OPEN_CREATE}, create = ROOST_OPTIONS_INIT;
    struct roost_settings settings = {.size = size};
    struct roost_copy copied = {.size = size};
    roost_root *none;
    create.flags = ROOST_OPEN_CREATE;
    create.settings = &settings;
    fails(roost_open(copy, &options, &none), ROOST_EINVAL);
    fails(roost_open(copy, &create, &none), ROOST_EINVAL);
    fails(roost_create(copy, &settings), ROOST_EINVAL);
    fails(roost_backup(root, copy, NULL, NULL, &copied), ROOST_EINVAL);
    fails(roost_restore(path, copy, NULL, NULL, &copied), ROOST_EINVAL);
    fails(roost_rescue(path, copy, NULL, NULL, &copied), ROOST_EINVAL);
}

/* A struct that its macro did not begin has size 0, or anything: nothing is done with it, in particular no write without its compare. */
START_TEST(structs_without_their_macros)
{
    static const size_t sizes[] = {0, sizeof(size_t), sizeof(size_t) + 3, 5000, SIZE_MAX};
    const struct roost_bytes k = roost_text("k"), v = roost_text("v");
    const struct roost_topic topic = {ROOST_TOPIC_KEYS, 0, {NULL, 0}};
    roost_root *root = open_root();
    roost_iter *memories, *keys, *states;
    roost_hits *hits;
    roost_watch *watch;
    roost_batch *batch;
    char copy[160];
    snprintf(copy, sizeof copy, "%s-copy", path);
    append(root, "there is one of each");
    ok(roost_kv_set(root, k, v, NULL, NULL));
    ok(roost_stream_append(root, k, v, NULL, NULL, NULL));
    ok(roost_batch_open(&batch));
    struct roost_state state = ROOST_STATE_INIT;
    state.name = k;
    ok(roost_state_publish(root, &state, NULL));
    ok(roost_scan(root, 0, 0, &memories));
    ok(roost_kv_scan(root, roost_text(""), &keys));
    ok(roost_state_scan(root, &states));
    struct roost_query query = ROOST_QUERY_INIT;
    query.text = roost_text("one");
    ok(roost_search(root, &query, &hits));
    ok(roost_watch_open(root, &topic, 1, &watch));
    ok(roost_kv_set(root, roost_text("seen"), v, NULL, NULL));
    uint64_t count = memory_count(root);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        struct roost_write write = {.size = size, .flags = ROOST_WRITE_IF_VERSION, .expected = 12345};
        struct roost_memory memory = {.size = size, .text = v};
        struct roost_location location = {.size = size};
        struct roost_query asked = {.size = size, .text = v};
        struct roost_hit hit = {.size = size};
        struct roost_item item = {.size = size};
        struct roost_stream_info info = {.size = size};
        struct roost_state published = {.size = size, .name = k};
        struct roost_event event = {.size = size};
        struct roost_stats stats = {.size = size};
        struct roost_completion completions[2] = {ROOST_COMPLETION_INIT, {.size = size}};
        roost_hits *no_hits;
        refuse_for_roots(root, copy, size);
        fails(roost_kv_set(root, k, roost_text("w"), &write, NULL), ROOST_EINVAL);
        if (!size) ck_assert_str_eq(roost_error_detail(), "struct roost_write has size 0: begin it with ROOST_WRITE_INIT");
        fails(roost_kv_delete(root, k, &write, NULL), ROOST_EINVAL);
        fails(roost_batch_kv_set(batch, k, v, &write), ROOST_EINVAL);
        fails(roost_forget(root, 1, &write, NULL), ROOST_EINVAL);
        fails(roost_stream_append(root, k, v, &write, NULL, NULL), ROOST_EINVAL);
        fails(roost_append(root, &memory, NULL, NULL, NULL), ROOST_EINVAL);
        fails(roost_batch_append(batch, &memory), ROOST_EINVAL);
        fails(roost_get(root, 1, &memory), ROOST_EINVAL);
        fails(roost_iter_memory(memories, &memory), ROOST_EINVAL);
        fails(roost_locate(root, 1, &location), ROOST_EINVAL);
        fails(roost_search(root, &asked, &no_hits), ROOST_EINVAL);
        fails(roost_hits_next(hits, &hit), ROOST_EINVAL);
        fails(roost_kv_get(root, k, &item), ROOST_EINVAL);
        fails(roost_stream_get(root, k, 0, &item), ROOST_EINVAL);
        fails(roost_stream_at(root, k, 0, &item), ROOST_EINVAL);
        fails(roost_iter_item(keys, &item), ROOST_EINVAL);
        fails(roost_stream_info(root, k, &info), ROOST_EINVAL);
        fails(roost_state_publish(root, &published, NULL), ROOST_EINVAL);
        fails(roost_state_publish(root, &state, &write), ROOST_EINVAL);
        fails(roost_state_get(root, k, &published), ROOST_EINVAL);
        fails(roost_state_get(root, roost_text(""), &published), ROOST_EINVAL);
        fails(roost_iter_state(states, &published), ROOST_EINVAL);
        fails(roost_watch_wait(watch, 0, &event), ROOST_EINVAL);
        fails(roost_stats(root, &stats), ROOST_EINVAL);
        fails(roost_poll(root, completions, 2, 0), ROOST_EINVAL);
    }
    /* Nothing was done, and nothing that was asked for is lost. */
    ck_assert_int_ne(access(copy, F_OK), 0);
    ck_assert_uint_eq(roost_batch_count(batch), 0);
    ck_assert_uint_eq(memory_count(root), count);
    expect_value(root, "k", "v");
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    struct roost_hit hit = ROOST_HIT_INIT;
    struct roost_event event = ROOST_EVENT_INIT;
    ck_assert_int_eq(roost_iter_memory(memories, &memory), 1);
    ck_assert_int_eq(roost_iter_item(keys, &item), 1);
    ck_assert_int_eq(roost_iter_state(states, &state), 1);
    ck_assert_uint_eq(state.version, 1);
    ck_assert_int_eq(roost_hits_next(hits, &hit), 1);
    ck_assert_int_eq(roost_watch_wait(watch, 0, &event), 1);
    ck_assert(same(event.name, "seen"));
    roost_watch_close(watch);
    roost_hits_close(hits);
    roost_iter_close(memories);
    roost_iter_close(keys);
    roost_iter_close(states);
    roost_batch_free(batch);
    ok(roost_close(root));
}
END_TEST

static Suite *parity_suite(void)
{
    Suite *suite = suite_create("parity");
    TCase *tests = tcase_create("parity");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, append_and_query);
    tcase_add_test(tests, several_memories);
    tcase_add_test(tests, state_is_published_and_read);
    tcase_add_test(tests, recovery_after_a_killed_process);
    tcase_add_test(tests, keys_over_restarts);
    tcase_add_test(tests, streams_append_and_read);
    tcase_add_test(tests, keyed_search);
    tcase_add_test(tests, twenty_hits_by_default);
    tcase_add_test(tests, tags_are_searchable);
    tcase_add_test(tests, query_language);
    tcase_add_test(tests, visible_everywhere_at_return);
    tcase_add_test(tests, where_a_memory_lies);
    tcase_add_test(tests, all_ids_in_order);
    tcase_add_loop_test(tests, forget_takes_effect_at_commit, 0, 2);
    tcase_add_test(tests, keys_by_version);
    tcase_add_test(tests, keys_expire);
    tcase_add_test(tests, keys_by_prefix);
    tcase_add_test(tests, large_values);
    tcase_add_test(tests, streams_are_followed);
    tcase_add_test(tests, states_over_restarts);
    tcase_add_test(tests, a_state_has_one_owner);
    tcase_add_test(tests, states_without_owner);
    tcase_add_test(tests, states_have_a_limit);
    tcase_add_test(tests, a_new_watcher_gets_the_current_value_first);
    tcase_add_test(tests, replay_wakes_nobody);
    tcase_add_test(tests, a_torn_tail_overwritten);
    tcase_add_test(tests, a_torn_tail_cut_short);
    tcase_add_test(tests, the_closing_frame_damaged);
    tcase_add_test(tests, damage_within_the_log_is_reported);
    tcase_add_loop_test(tests, compressed_and_plain_frames_are_recovered, 0, 2);
    tcase_add_test(tests, a_root_of_memmap_fs_is_left_alone);
    tcase_add_test(tests, what_is_no_root);
    tcase_add_test(tests, symbolic_links);
    tcase_add_test(tests, no_permission);
    tcase_add_test(tests, files_of_somebody_else_beside_ours);
    tcase_add_test(tests, a_copy_is_a_root_of_its_own);
    tcase_add_loop_test(tests, another_format_version, 0, 2);
    tcase_add_test(tests, bad_memories);
    tcase_add_test(tests, bad_keys_and_names);
    tcase_add_test(tests, structs_without_their_macros);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "child") == 0) {
        snprintf(path, sizeof path, "%s", argv[3]);
        return child(argv[2], argv[4]);
    }
    SRunner *runner = srunner_create(parity_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
