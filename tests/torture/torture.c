/* SPDX-License-Identifier: MIT
 * torture/torture.c: kills processes at random and checks every promise.
 *
 *     torture SECONDS [--kills N] [--seed S] [--region shm|file] [--writers 4] [--readers 2] [--loop N] [--stop] [--only-stop] [--fork]
 *             [--large] [--every MS] [--keep] [--root FOLDER]
 *
 * The parent is the oracle and never opens the root. Each child has a pipe to it: a writer says what it is about to do (intent) and
 * what came of it (ack) in records that arrive even when it is killed. Every operation has a tag, and every text, value and entry is
 * made from its tag alone, so what is found later is either right to the byte or wrong. At the end a fresh process reads everything
 * and compares; the counters are printed as it goes. --loop: the first N writers work through libuv alone (loop.c). --large: texts
 * above 64 KiB too. --every: kills come every tenth of it to all of it, in ms; default 50. --stop: the role's holder is also stopped
 * for a while. --fork: writers make children that outlive them. One
 * seed, one plan of operations; when each process runs is the kernel's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture/torture.h"

enum {
    IN_FLIGHT_MAX = 6,
    HANG_SECONDS = 20, /* nobody acknowledged anything for so long although nobody was stopped: a hang */
};
enum op_status { ST_NONE, ST_INTENDED, ST_ACKED, ST_REFUSED, ST_CANCELED };
struct op {
    uint8_t kind, status;
    uint8_t seen_memory, seen_stream;
    uint64_t id, target;
    int64_t intent_ns;
};
/* One life of one writer. */
struct life {
    struct op *ops;
    uint32_t count, room;
    uint32_t writer;
    uint64_t last_id, last_lsn;
};
struct child {
    pid_t pid;
    bool writer, killed, stopped, gone;
    uint32_t index; /* of its kind */
    uint32_t life;
    int from, to; /* its notes; our probes */
    uint8_t buffer[1 << 16];
    size_t buffered;
    bool probing;
};
struct options opt = {.seconds = 20, .writers = 4, .readers = 2, .every = 50, .region = ROOST_REGION_SHM};
struct shared *shared;
static struct child children[CHILD_MAX];
static size_t child_count;
static struct life *lives;
static uint32_t life_count, life_room;
static uint64_t counter_acked, counter_intended;
static uint64_t state_acked[CHILD_MAX];
static uint64_t count_kills, count_stops, count_acks, count_lost, count_doubled, count_phantoms, count_wrong, count_probes,
    count_looks, count_settled, count_canceled, count_unknown;
static int64_t *takeovers;
static size_t takeover_count, takeover_room;
static char region_name[64];
static int64_t kill_ns, last_ack_ns;
static pid_t killed_pid;

int64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
uint64_t below(uint64_t *state, uint64_t n) { return mix(state) % n; }

/* ---- what an operation writes, from its tag alone ---- */

size_t text_of(uint32_t tag, char *text)
{
    static const char *words[] = {"nest", "egg",   "wing", "flock", "branch",    "feather",
                                  "worm", "storm", "song", "dawn",  "migration", "shelter"};
    uint64_t state = tag * UINT64_C(0x2545f4914f6cdd1d) + opt.seed;
    uint64_t size = 40 + below(&state, 260);
    if (below(&state, 50) == 0) size = 5000;
    if (below(&state, 400) == 0) size = 40000;
    if (opt.large && below(&state, 100) == 0) size = 66000 + below(&state, 100000);
    size_t at = (size_t)sprintf(text, "m%08x u%08xq", tag, tag);
    while (at < size)
        at += (size_t)sprintf(text + at, " %s%llu", words[below(&state, 12)], (unsigned long long)below(&state, 500));
    return at;
}

size_t entry_of(uint32_t tag, char *text)
{
    uint64_t state = tag * UINT64_C(0x9e3779b97f4a7c15) + opt.seed;
    size_t at = (size_t)sprintf(text, "e%08x ", tag), size = at + below(&state, 200);
    while (at < size) text[at++] = (char)('a' + below(&state, 26));
    return at;
}

static bool tag_in(const void *data, size_t size, char letter, uint32_t *ret_tag)
{
    char head[10] = "";
    if (size < 9 || *(const char *)data != letter) return false;
    memcpy(head, (const char *)data + 1, 8);
    char *end;
    *ret_tag = (uint32_t)strtoul(head, &end, 16);
    return end == head + 8;
}

void key_name(uint32_t life, uint32_t slot, char *name) { sprintf(name, "k/%06u/%02u", life, slot); }
uint32_t key_slot(uint32_t tag) { return tag % KEY_COUNT; }

/* ---- children: saying what happens ---- */

static int pipe_out = -1;
static uint32_t self;

void say(struct note note, const char *text)
{
    uint8_t bytes[1024];
    note.child = self;
    note.time_ns = now_ns();
    note.size = text ? (uint32_t)strlen(text) + 1 : 0;
    if (note.size > sizeof bytes - sizeof note) note.size = sizeof bytes - sizeof note;
    memcpy(bytes, &note, sizeof note);
    if (note.size) {
        memcpy(bytes + sizeof note, text, note.size);
        bytes[sizeof note + note.size - 1] = '\0';
    }
    /* Below PIPE_BUF: whole or not at all. */
    while (write(pipe_out, bytes, sizeof note + note.size) < 0 && errno == EINTR) continue;
}

void wrong(const char *format, ...)
{
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say((struct note){.kind = NOTE_WRONG}, text);
}

roost_root *open_root(uint32_t flags)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    roost_root *root = NULL;
    options.flags = flags;
    options.wait_ms = 15000;
    int err = roost_open(opt.root, &options, &root);
    if (err) {
        wrong("open: %s: %s", roost_error_name(err), roost_error_detail());
        _exit(3);
    }
    return root;
}

/* The shared memory's name, as the kernel shows it: the parent looks whether it is gone at the end. */
static void tell_region(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        char *at = strstr(line, "/dev/shm/roost-");
        if (!at) continue;
        at[strcspn(at, " \n")] = '\0';
        say((struct note){.kind = NOTE_MAPPED}, at);
        break;
    }
    if (maps) fclose(maps);
}

/* ---- a writer ---- */

uint32_t begin(struct writer *w, uint32_t kind, uint64_t target)
{
    uint32_t tag = w->life << TAG_BITS | w->next++;
    say((struct note){.kind = NOTE_INTENT, .tag = tag, .op = kind, .target = target}, NULL);
    return tag;
}

/* The outcome of one operation; one that timed out is asked about until it is known. */
static void done(struct writer *w, uint32_t tag, uint32_t kind, int err, struct roost_receipt *receipt, uint64_t id,
                 bool may_refuse)
{
    if (err == ROOST_ETIMEDOUT && receipt && receipt->client) {
        for (int tries = 0; tries < 20 && err == ROOST_ETIMEDOUT; tries++) err = roost_settle(w->root, receipt, 2000);
        if (!err) id = receipt->id;
        say((struct note){.kind = NOTE_SETTLED, .tag = tag, .result = err}, NULL);
        if (err == ROOST_ECANCELED) {
            say((struct note){.kind = NOTE_CANCELED, .tag = tag, .op = kind, .result = err}, NULL);
            return;
        }
    }
    if (!err) {
        say((struct note){.kind = NOTE_ACK, .tag = tag, .op = kind, .id = id, .lsn = receipt ? receipt->lsn : 0}, NULL);
    } else if (may_refuse && (err == ROOST_ENOENT || err == ROOST_EMISMATCH)) {
        say((struct note){.kind = NOTE_REFUSED, .tag = tag, .op = kind, .result = err}, NULL);
    } else {
        wrong("operation %u (tag %08x): %s: %s", kind, tag, roost_error_name(err), roost_error_detail());
    }
}

void remember(struct writer *w, uint64_t id)
{
    if (w->own_count < 64)
        w->own_ids[w->own_count++] = id;
    else
        w->own_ids[below(&w->random, 64)] = id;
}

struct roost_write choose_level(struct writer *w)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = below(&w->random, 3) ? ROOST_PROCESS : ROOST_DURABLE;
    return write;
}

static void do_append(struct writer *w)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint64_t id = 0;
    uint32_t tag = begin(w, OP_APPEND, 0);
    memory.text = (struct roost_bytes){w->text, text_of(tag, w->text)};
    int err = roost_append(w->root, &memory, &write, &id, &receipt);
    if (!err && receipt.id != id)
        wrong("append %08x: the receipt says id %llu, the call %llu", tag, (unsigned long long)receipt.id,
              (unsigned long long)id);
    done(w, tag, OP_APPEND, err, &receipt, id, false);
}

static void do_key(struct writer *w, bool set)
{
    char name[32], value[512];
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint32_t tag = begin(w, set ? OP_SET : OP_DELETE, 0);
    key_name(w->life, key_slot(tag), name);
    int err = set ? roost_kv_set(w->root, roost_text(name), (struct roost_bytes){value, entry_of(tag, value)}, &write, &receipt)
                  : roost_kv_delete(w->root, roost_text(name), &write, &receipt);
    done(w, tag, set ? OP_SET : OP_DELETE, err, &receipt, 0, !set);
}

static void do_stream(struct writer *w)
{
    char entry[512];
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint64_t index = 0;
    uint32_t tag = begin(w, OP_STREAM, 0);
    int err = roost_stream_append(w->root, roost_text("all"), (struct roost_bytes){entry, entry_of(tag, entry)}, &write, &index,
                                  &receipt);
    done(w, tag, OP_STREAM, err, &receipt, index, false);
}

void fill_batch(struct writer *w, uint32_t tag, roost_batch *batch)
{
    char entry[512], name[32];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = (struct roost_bytes){w->text, text_of(tag, w->text)};
    struct roost_bytes bytes = {entry, entry_of(tag, entry)};
    key_name(w->life, key_slot(tag), name);
    int err = roost_batch_append(batch, &memory);
    if (!err) err = roost_batch_kv_set(batch, roost_text(name), bytes, NULL);
    if (!err) err = roost_batch_stream_append(batch, roost_text("all"), bytes);
    if (err) wrong("filling a batch: %s", roost_error_detail());
}

static void do_batch(struct writer *w)
{
    roost_batch *batch;
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint64_t ids[3] = {0, 0, 0};
    if (roost_batch_open(&batch)) return;
    uint32_t tag = begin(w, OP_BATCH, 0);
    fill_batch(w, tag, batch);
    int err = roost_batch_commit(w->root, batch, &write, ids, &receipt);
    done(w, tag, OP_BATCH, err, &receipt, ids[0], false);
    if (!err) remember(w, ids[0]); /* appended ones are never forgotten: readers are asked for them */
    roost_batch_free(batch);
}

static void do_async(struct writer *w)
{
    roost_batch *batch;
    uint32_t tags[IN_FLIGHT_MAX], count = 2 + (uint32_t)below(&w->random, IN_FLIGHT_MAX - 1);
    struct roost_write write = choose_level(w);
    if (roost_batch_open(&batch)) return;
    for (uint32_t i = 0; i < count; i++) {
        tags[i] = begin(w, OP_BATCH, 0);
        roost_batch_clear(batch);
        fill_batch(w, tags[i], batch);
        int err;
        while ((err = roost_submit(w->root, batch, &write, (void *)(uintptr_t)tags[i], NULL)) == ROOST_EAGAIN && i) {
            struct roost_completion none = ROOST_COMPLETION_INIT;
            (void)!roost_poll(w->root, &none, 0, 0); /* room comes with the answers below */
            break;
        }
        if (err == ROOST_EAGAIN || err == ROOST_E2BIG) {
            say((struct note){.kind = NOTE_CANCELED, .tag = tags[i], .op = OP_BATCH, .result = err}, NULL);
            count = i;
            break;
        }
        if (err) wrong("submit: %s: %s", roost_error_name(err), roost_error_detail());
    }
    roost_batch_free(batch);
    int64_t deadline = now_ns() + INT64_C(30000000000);
    for (uint32_t got = 0; got < count;) {
        struct roost_completion landed[IN_FLIGHT_MAX];
        for (size_t i = 0; i < IN_FLIGHT_MAX; i++) landed[i] = (struct roost_completion)ROOST_COMPLETION_INIT;
        int n = roost_poll(w->root, landed, IN_FLIGHT_MAX, 5000);
        if (n < 0) {
            wrong("poll: %s: %s", roost_error_name(n), roost_error_detail());
            return;
        }
        for (int i = 0; i < n; i++, got++) {
            if (got >= count || (uint32_t)(uintptr_t)landed[i].user != tags[got])
                wrong("completion %u out of order", got);
            else
                done(w, tags[got], OP_BATCH, landed[i].result, &landed[i].receipt, landed[i].receipt.id, false);
        }
        if (n == 0 && now_ns() > deadline) {
            wrong("%u of %u submissions were never completed", count - got, count);
            return;
        }
    }
}

static void do_forget(struct writer *w)
{
    if (!w->own_count) return;
    uint32_t at = (uint32_t)below(&w->random, w->own_count);
    uint64_t id = w->own_ids[at];
    w->own_ids[at] = w->own_ids[--w->own_count];
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint32_t tag = begin(w, OP_FORGET, id);
    int err = roost_forget(w->root, id, &write, &receipt);
    done(w, tag, OP_FORGET, err, &receipt, id, false);
}

/* A counter that everybody raises by compare-and-set: never lost, never twice. */
static void do_count(struct writer *w)
{
    struct roost_item item = ROOST_ITEM_INIT;
    struct roost_write write = choose_level(w);
    struct roost_receipt receipt = {0, 0, 0, 0};
    uint64_t value = 0;
    write.flags = ROOST_WRITE_IF_VERSION;
    int err = roost_kv_get(w->root, roost_text("counter"), &item);
    if (err && err != ROOST_ENOENT) {
        wrong("get counter: %s: %s", roost_error_name(err), roost_error_detail());
        return;
    }
    if (!err) {
        if (item.value.size != sizeof value)
            wrong("the counter has %zu bytes", item.value.size);
        else
            memcpy(&value, item.value.data, sizeof value);
        write.expected = item.version;
        roost_unpin(w->root, &item.pin);
    }
    value++;
    uint32_t tag = begin(w, OP_COUNT, 0);
    err = roost_kv_set(w->root, roost_text("counter"), (struct roost_bytes){&value, sizeof value}, &write, &receipt);
    done(w, tag, OP_COUNT, err, &receipt, 0, true);
}

/* 64 words that must agree: each is made from the number. */
size_t state_words(uint64_t number, char *text)
{
    size_t at = 0;
    for (uint64_t i = 0; i < 64; i++) at += (size_t)sprintf(text + at, "%016llx", (unsigned long long)(number * (i * 2 + 1)));
    return at;
}

static void do_state(struct writer *w)
{
    char name[32], words[STATE_WORDS_MAX];
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    uint64_t number = (uint64_t)w->life << 32 | ++w->state_number;
    size_t size = state_words(number, words);
    struct roost_extra extra = {ROOST_TEXT("words"), {words, size}};
    sprintf(name, "agent%u", w->index);
    state.name = roost_text(name);
    state.status = roost_text("working");
    state.active_memory_count = number;
    state.extra = &extra;
    state.extra_count = 1;
    write.level = below(&w->random, 20) ? ROOST_PROCESS : ROOST_DURABLE;
    uint32_t tag = begin(w, OP_STATE, number);
    int err = roost_state_publish(w->root, &state, &write);
    if (!err)
        say((struct note){.kind = NOTE_ACK, .tag = tag, .op = OP_STATE, .target = number}, NULL);
    else
        wrong("publish %s: %s: %s", name, roost_error_name(err), roost_error_detail());
}

/* A child that outlives whoever made it: it can do nothing with the handle, and keeps no lock from the next writer. */
void fork_away(struct writer *w)
{
    if (fork() != 0) return;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("by a child that inherited the handle");
    int err = roost_append(w->root, &memory, NULL, NULL, NULL);
    if (err != ROOST_EFORK) wrong("a fork's child appended: %s: %s", roost_error_name(err), roost_error_detail());
    close(pipe_out);
    poll(NULL, 0, (int)below(&w->random, 200));
    _exit(0);
}

bool time_to_stop(const struct writer *w) { return __atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE) || w->next >= OP_MAX; }

static void run_and_wait(struct writer *w)
{
    while (!time_to_stop(w)) {
        if (opt.fork && below(&w->random, 100) == 0) fork_away(w);
        uint64_t dice = below(&w->random, 100);
        if (dice < 35)
            do_append(w);
        else if (dice < 50)
            do_key(w, below(&w->random, 4) != 0);
        else if (dice < 60)
            do_stream(w);
        else if (dice < 70)
            do_batch(w);
        else if (dice < 75)
            do_async(w);
        else if (dice < 80)
            do_forget(w);
        else if (dice < 88)
            do_count(w);
        else
            do_state(w);
    }
}

static int run_writer(uint32_t index, uint32_t life)
{
    struct writer w = {.life = life, .index = index, .random = opt.seed ^ (uint64_t)life * UINT64_C(0xd1342543de82ef95)};
    w.text = malloc(TEXT_MAX);
    if (index >= (uint32_t)opt.loops && index < (uint32_t)(opt.loops + opt.servers)) return run_as_mcp(&w);
    w.root = open_root(0);
    say((struct note){.kind = NOTE_OPEN}, NULL);
    tell_region();
    if (opt.fork) signal(SIGCHLD, SIG_IGN);
    if (index < (uint32_t)opt.loops)
        run_on_a_loop(&w);
    else
        run_and_wait(&w);
    int err = roost_close(w.root);
    if (err) wrong("close: %s: %s", roost_error_name(err), roost_error_detail());
    free(w.text);
    return 0;
}

/* ---- a reader ---- */

struct reader {
    roost_root *root;
    uint64_t random, seen[CHILD_MAX], visible, watch_lsn;
    roost_watch *watch;
    char *text;
};

static void check_states(struct reader *r)
{
    for (uint32_t i = 0; i < (uint32_t)opt.writers; i++) {
        char name[32], words[STATE_WORDS_MAX];
        struct roost_state state = ROOST_STATE_INIT;
        sprintf(name, "agent%u", i);
        int err = roost_state_get(r->root, roost_text(name), &state);
        if (err == ROOST_ENOENT && !r->seen[i]) continue;
        if (err) {
            wrong("state %s: %s: %s", name, roost_error_name(err), roost_error_detail());
            continue;
        }
        size_t size = state_words(state.active_memory_count, words);
        if (state.extra_count != 1 || state.extra[0].value.size != size || memcmp(state.extra[0].value.data, words, size) != 0)
            wrong("state %s is torn: number %llx", name, (unsigned long long)state.active_memory_count);
        if (state.active_memory_count < r->seen[i])
            wrong("state %s went back from %llx to %llx", name, (unsigned long long)r->seen[i],
                  (unsigned long long)state.active_memory_count);
        r->seen[i] = state.active_memory_count;
        roost_unpin(r->root, &state.pin);
    }
}

static void check_memory(struct reader *r, const struct roost_memory *memory)
{
    uint32_t tag;
    if (!tag_in(memory->text.data, memory->text.size, 'm', &tag)) {
        wrong("memory %llu has a text that nobody wrote", (unsigned long long)memory->id);
        return;
    }
    size_t size = text_of(tag, r->text);
    if (size != memory->text.size || memcmp(r->text, memory->text.data, size) != 0)
        wrong("memory %llu (tag %08x) has other bytes", (unsigned long long)memory->id, tag);
}

static void check_pass(struct reader *r)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    roost_iter *iter;
    int err = roost_stats(r->root, &stats);
    if (err) {
        wrong("stats: %s: %s", roost_error_name(err), roost_error_detail());
        return;
    }
    if (stats.visible_lsn < r->visible)
        wrong("visible went back from %llu to %llu", (unsigned long long)r->visible, (unsigned long long)stats.visible_lsn);
    r->visible = stats.visible_lsn;
    if (!stats.last_id) return;
    uint64_t last = 0;
    err = roost_scan(r->root, 1 + below(&r->random, stats.last_id), 0, &iter);
    if (err) {
        wrong("scan: %s: %s", roost_error_name(err), roost_error_detail());
        return;
    }
    int more = 0;
    for (int i = 0; i < 50; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        more = roost_iter_memory(iter, &memory);
        if (more != 1) break;
        if (memory.id <= last) wrong("a scan went from %llu to %llu", (unsigned long long)last, (unsigned long long)memory.id);
        last = memory.id;
        check_memory(r, &memory);
    }
    if (more < 0) wrong("scan: %s: %s", roost_error_name(more), roost_error_detail());
    roost_iter_close(iter);
}

static void check_watch(struct reader *r)
{
    for (int i = 0; i < 200; i++) {
        struct roost_event event = ROOST_EVENT_INIT;
        int got = roost_watch_wait(r->watch, 0, &event);
        if (got < 0) wrong("watch: %s: %s", roost_error_name(got), roost_error_detail());
        if (got != 1) return;
        if (event.kind == ROOST_CHANGE_STATE) continue;
        if (event.lsn <= r->watch_lsn)
            wrong("a watch went from LSN %llu to %llu", (unsigned long long)r->watch_lsn, (unsigned long long)event.lsn);
        r->watch_lsn = event.lsn;
    }
}

/* The parent has seen this write acknowledged: it must be found now. */
static void answer_probe(struct reader *r, const struct note *probe)
{
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    char word[32];
    sprintf(word, "u%08xq", probe->tag);
    query.text = roost_text(word);
    int err = roost_search(r->root, &query, &hits);
    if (err) {
        wrong("search: %s: %s", roost_error_name(err), roost_error_detail());
    } else {
        struct roost_hit hit = ROOST_HIT_INIT;
        size_t count = roost_hits_count(hits);
        int more = count ? roost_hits_next(hits, &hit) : 0;
        if (count != 1 || more != 1 || hit.id != probe->id)
            wrong("tag %08x was acknowledged as %llu, but a search found %zu (the first: %llu)", probe->tag,
                  (unsigned long long)probe->id, count, (unsigned long long)(more == 1 ? hit.id : 0));
        roost_hits_close(hits);
    }
    struct roost_memory memory = ROOST_MEMORY_INIT;
    err = roost_get(r->root, probe->id, &memory);
    if (err)
        wrong("tag %08x was acknowledged as %llu, get says %s: %s", probe->tag, (unsigned long long)probe->id,
              roost_error_name(err), roost_error_detail());
    else
        check_memory(r, &memory);
    if (!err) roost_unpin(r->root, &memory.pin);
    say((struct note){.kind = NOTE_PROBED}, NULL);
}

static int run_reader(uint32_t index, int probes)
{
    struct reader r = {.random = opt.seed + index};
    r.text = malloc(TEXT_MAX);
    /* Every second one only observes. The first looks all the time who holds the role. */
    r.root = open_root(index % 2 ? ROOST_OPEN_OBSERVE : 0);
    const struct roost_topic topics[2] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    int err = roost_watch_open(r.root, topics, 2, &r.watch);
    if (err) wrong("watch: %s: %s", roost_error_name(err), roost_error_detail());
    say((struct note){.kind = NOTE_OPEN}, NULL);
    for (uint64_t turn = 0; !__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE); turn++) {
        struct pollfd wait = {probes, POLLIN, 0};
        if (poll(&wait, 1, index == 0 ? 1 : 5) == 1) {
            struct note probe;
            if (read(probes, &probe, sizeof probe) == (ssize_t)sizeof probe) answer_probe(&r, &probe);
        }
        if (index == 0) {
            struct roost_stats stats = ROOST_STATS_INIT;
            if (roost_stats(r.root, &stats) == 0) __atomic_store_n(&shared->holder, stats.writer_pid, __ATOMIC_RELEASE);
        }
        if (turn % 4 == 0) check_states(&r);
        if (turn % 8 == 0 && !err) check_watch(&r);
        if (turn % 16 == 0) check_pass(&r);
        if (turn % 16 == 0) say((struct note){.kind = NOTE_LOOKED}, NULL);
    }
    roost_watch_close(r.watch);
    err = roost_close(r.root);
    if (err) wrong("close: %s: %s", roost_error_name(err), roost_error_detail());
    free(r.text);
    return 0;
}

/* ---- the parent ---- */

__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...)
{
    va_list arguments;
    count_wrong++;
    if (count_wrong > 40) return;
    fputs("VIOLATION: ", stdout);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static uint32_t new_life(uint32_t writer)
{
    if (life_count == life_room) {
        life_room = life_room ? life_room * 2 : 64;
        lives = realloc(lives, life_room * sizeof *lives);
    }
    lives[life_count] = (struct life){.writer = writer};
    return life_count++;
}

static struct op *op_of(uint32_t tag, bool make)
{
    uint32_t number = tag & ((1u << TAG_BITS) - 1), life = tag >> TAG_BITS;
    if (life >= life_count) return NULL;
    struct life *l = &lives[life];
    if (number >= l->count && !make) return NULL;
    if (number >= l->room) {
        uint32_t room = l->room ? l->room : 256;
        while (number >= room) room *= 2;
        l->ops = realloc(l->ops, room * sizeof *l->ops);
        memset(l->ops + l->room, 0, (room - l->room) * sizeof *l->ops);
        l->room = room;
    }
    if (number >= l->count) l->count = number + 1;
    return &l->ops[number];
}

static void start(struct child *child, bool writer, uint32_t index)
{
    int notes[2], probes[2];
    if (pipe2(notes, O_CLOEXEC) || pipe2(probes, O_CLOEXEC)) exit(2);
    memset(child, 0, sizeof *child);
    child->writer = writer;
    child->index = index;
    child->life = writer ? new_life(index) : 0;
    fflush(stdout);
    child->pid = fork();
    if (child->pid == 0) {
        for (size_t i = 0; i < child_count; i++) {
            if (&children[i] == child || children[i].gone) continue;
            close(children[i].from);
            close(children[i].to);
        }
        close(notes[0]);
        close(probes[1]);
        pipe_out = notes[1];
        self = (uint32_t)(child - children);
        _exit(writer ? run_writer(index, child->life) : run_reader(index, probes[0]));
    }
    if (child->pid < 0) exit(2);
    close(notes[1]);
    close(probes[0]);
    child->from = notes[0];
    child->to = probes[1];
}

static void probe(uint32_t tag, uint64_t id)
{
    for (size_t i = 0; i < child_count; i++) {
        struct child *child = &children[i];
        if (child->writer || child->probing || child->gone) continue;
        struct note note = {.kind = NOTE_PROBED, .tag = tag, .id = id};
        if (write(child->to, &note, sizeof note) == (ssize_t)sizeof note) child->probing = true;
    }
}

static void take_ack(struct child *child, const struct note *note, struct op *op)
{
    struct life *life = &lives[child->life];
    count_acks++;
    last_ack_ns = note->time_ns > last_ack_ns ? note->time_ns : last_ack_ns;
    op->status = ST_ACKED;
    op->id = note->id;
    if (kill_ns && op->intent_ns > kill_ns && child->pid != killed_pid) {
        if (takeover_count == takeover_room)
            takeovers = realloc(takeovers, (takeover_room = takeover_room ? takeover_room * 2 : 256) * sizeof *takeovers);
        takeovers[takeover_count++] = note->time_ns - kill_ns;
        kill_ns = 0;
    }
    if (op->kind == OP_COUNT) counter_acked++;
    if (op->kind == OP_STATE) state_acked[child->index] = note->target;
    if (op->kind == OP_APPEND) probe(note->tag, note->id);
    if (note->late) return;
    if (op->kind == OP_APPEND || op->kind == OP_BATCH) {
        if (note->id <= life->last_id)
            violation("writer %u: id %llu after %llu", child->index, (unsigned long long)note->id,
                      (unsigned long long)life->last_id);
        life->last_id = note->id;
    }
    if (note->lsn) {
        if (note->lsn <= life->last_lsn)
            violation("writer %u: LSN %llu after %llu", child->index, (unsigned long long)note->lsn,
                      (unsigned long long)life->last_lsn);
        life->last_lsn = note->lsn;
    }
}

static void take_note(struct child *child, const struct note *note, const char *text)
{
    struct op *op;
    switch (note->kind) {
    case NOTE_INTENT:
        op = op_of(note->tag, true);
        *op = (struct op){.kind = (uint8_t)note->op, .status = ST_INTENDED, .target = note->target, .intent_ns = note->time_ns};
        if (note->op == OP_COUNT) counter_intended++;
        break;
    case NOTE_ACK:
        op = op_of(note->tag, false);
        if (op) take_ack(child, note, op);
        break;
    case NOTE_REFUSED:
    case NOTE_CANCELED:
        op = op_of(note->tag, false);
        if (op) op->status = note->kind == NOTE_REFUSED ? ST_REFUSED : ST_CANCELED;
        count_canceled += note->kind == NOTE_CANCELED;
        if (op && op->kind == OP_COUNT) counter_intended--;
        last_ack_ns = note->time_ns > last_ack_ns ? note->time_ns : last_ack_ns;
        break;
    case NOTE_WRONG:
        violation("%s %u (process %d): %s", child->writer ? "writer" : "reader", child->index, (int)child->pid, text);
        break;
    case NOTE_PROBED:
        child->probing = false;
        count_probes++;
        break;
    case NOTE_LOOKED:
        count_looks++;
        break;
    case NOTE_SETTLED:
        count_settled++;
        break;
    case NOTE_UNKNOWN:
        count_unknown++;
        break;
    case NOTE_MAPPED:
        snprintf(region_name, sizeof region_name, "%s", text);
        break;
    default:
        break;
    }
}

/* All that has arrived from a child. false: its end of the pipe is closed. */
static bool drain(struct child *child)
{
    ssize_t got = read(child->from, child->buffer + child->buffered, sizeof child->buffer - child->buffered);
    if (got < 0) return errno == EINTR || errno == EAGAIN;
    if (got == 0) return false;
    child->buffered += (size_t)got;
    size_t at = 0;
    struct note note;
    while (child->buffered - at >= sizeof note) {
        memcpy(&note, child->buffer + at, sizeof note);
        if (child->buffered - at < sizeof note + note.size) break;
        take_note(child, &note, (const char *)child->buffer + at + sizeof note);
        at += sizeof note + note.size;
    }
    memmove(child->buffer, child->buffer + at, child->buffered - at);
    child->buffered -= at;
    return true;
}

static void listen_until(int64_t until)
{
    do {
        struct pollfd waits[CHILD_MAX];
        size_t indexes[CHILD_MAX], count = 0;
        for (size_t i = 0; i < child_count; i++) {
            if (children[i].gone) continue;
            waits[count] = (struct pollfd){children[i].from, POLLIN, 0};
            indexes[count++] = i;
        }
        int64_t rest = until - now_ns();
        if (!count) return;
        int ready = poll(waits, count, rest <= 0 ? 0 : (int)((rest + 999999) / 1000000));
        if (ready <= 0) continue;
        for (size_t i = 0; i < count; i++) {
            struct child *child = &children[indexes[i]];
            if (!(waits[i].revents & (POLLIN | POLLHUP)) || drain(child)) continue;
            int status = 0;
            waitpid(child->pid, &status, 0);
            close(child->from);
            close(child->to);
            child->gone = true;
            if (!child->killed && (!WIFEXITED(status) || WEXITSTATUS(status)))
                violation("%s %u (process %d) %s %d although nobody killed it", child->writer ? "writer" : "reader", child->index,
                          (int)child->pid, WIFSIGNALED(status) ? "died of signal" : "exited with",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            else if (child->writer && !shared->stop && life_count < LIFE_MAX) /* it has used up its numbers */
                start(child, true, child->index);
        }
    } while (now_ns() < until);
}

static struct child *victim(uint64_t *random)
{
    int32_t holder = __atomic_load_n(&shared->holder, __ATOMIC_ACQUIRE);
    if (below(random, 5))
        for (size_t i = 0; i < child_count; i++)
            if (children[i].pid == holder && children[i].writer && !children[i].gone) return &children[i];
    struct child *child = &children[below(random, (uint64_t)opt.writers)];
    return child->gone ? NULL : child;
}

static void kill_one(uint64_t *random)
{
    struct child *child = victim(random);
    if (!child) return;
    child->killed = true;
    killed_pid = child->pid;
    int64_t at = now_ns();
    kill(child->pid, SIGKILL);
    kill_ns = at;
    count_kills++;
    while (drain(child)) continue;
    waitpid(child->pid, NULL, 0);
    close(child->from);
    close(child->to);
    child->gone = true;
    start(child, true, child->index);
}

static void stop_one(uint64_t *random)
{
    struct child *child = victim(random);
    if (!child) return;
    kill_ns = 0; /* not a takeover */
    kill(child->pid, SIGSTOP);
    count_stops++;
    listen_until(now_ns() + (int64_t)(20 + below(random, 180)) * 1000000);
    if (!child->gone) kill(child->pid, SIGCONT);
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double part)
{
    if (!takeover_count) return 0;
    size_t at = (size_t)(part * (double)(takeover_count - 1));
    return (double)takeovers[at] / 1e6;
}

static void print_progress(int64_t began)
{
    printf("torture: %5.1f s, %llu kills, %llu stops, %llu acknowledged, %llu probes, %llu looks, %llu settled (%llu unknown), "
           "%llu canceled, %llu wrong\n",
           (double)(now_ns() - began) / 1e9, (unsigned long long)count_kills, (unsigned long long)count_stops,
           (unsigned long long)count_acks, (unsigned long long)count_probes, (unsigned long long)count_looks,
           (unsigned long long)count_settled, (unsigned long long)count_unknown, (unsigned long long)count_canceled,
           (unsigned long long)count_wrong);
    fflush(stdout);
}

static void check_nothing_left(void)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/region", opt.root);
    if (opt.region == ROOST_REGION_FILE ? stat(path, &st) == 0 : region_name[0] && stat(region_name, &st) == 0)
        violation("%s is left after the last orderly exit", opt.region == ROOST_REGION_FILE ? path : region_name);
    snprintf(path, sizeof path, "%s", opt.root);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "state.wal") && strcmp(entry->d_name, "blocks") &&
            strcmp(entry->d_name, "index") && strcmp(entry->d_name, "reserve"))
            violation("%s is left in the root", entry->d_name);
    if (folder) closedir(folder);
}

/* ---- the final look, in a process of its own; it has the oracle's tables from the fork ---- */

static bool meant_memory(const struct op *op) { return op->kind == OP_APPEND || op->kind == OP_BATCH; }
static bool meant_stream(const struct op *op) { return op->kind == OP_STREAM || op->kind == OP_BATCH; }

static bool same_bytes(struct roost_bytes bytes, const char *text, size_t size)
{
    return bytes.size == size && memcmp(bytes.data, text, size) == 0;
}

static void verify_memories(roost_root *root, char *text)
{
    uint32_t *order = calloc(life_count, sizeof *order);
    roost_iter *iter;
    int err = roost_scan(root, 0, 0, &iter), more = 0;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    uint64_t last = 0;
    while (!err && (more = roost_iter_memory(iter, &memory)) == 1) {
        uint32_t tag;
        struct op *op = tag_in(memory.text.data, memory.text.size, 'm', &tag) ? op_of(tag, false) : NULL;
        if (memory.id <= last) violation("scan: id %llu after %llu", (unsigned long long)memory.id, (unsigned long long)last);
        last = memory.id;
        if (!op || op->status == ST_NONE || op->status >= ST_REFUSED || !meant_memory(op)) {
            count_phantoms++;
            violation("memory %llu is a phantom", (unsigned long long)memory.id);
            continue;
        }
        if (++op->seen_memory > 1) {
            count_doubled++;
            violation("tag %08x is there twice, the second time as memory %llu", tag, (unsigned long long)memory.id);
        }
        if (op->status == ST_ACKED && op->id != memory.id)
            violation("tag %08x was acknowledged as %llu and is %llu", tag, (unsigned long long)op->id,
                      (unsigned long long)memory.id);
        if (!same_bytes(memory.text, text, text_of(tag, text)))
            violation("memory %llu (tag %08x) has other bytes", (unsigned long long)memory.id, tag);
        uint32_t number = (tag & ((1u << TAG_BITS) - 1)) + 1;
        if (number <= order[tag >> TAG_BITS])
            violation("life %u: operation %u comes after %u", tag >> TAG_BITS, number, order[tag >> TAG_BITS]);
        order[tag >> TAG_BITS] = number;
    }
    if (err || more < 0) violation("the final scan: %s", roost_error_detail());
    if (!err) roost_iter_close(iter);
    free(order);
}

static void verify_forgets(void)
{
    /* id -> forget's status, by the ids that were acknowledged. */
    for (uint32_t l = 0; l < life_count; l++) {
        struct life *life = &lives[l];
        for (uint32_t f = 0; f < life->count; f++) {
            struct op *forget = &life->ops[f];
            if (forget->kind != OP_FORGET || forget->status >= ST_REFUSED) continue;
            for (uint32_t i = 0; i < f; i++) { /* writers forget their own alone */
                struct op *op = &life->ops[i];
                if (!meant_memory(op) || op->status != ST_ACKED || op->id != forget->target) continue;
                if (forget->status == ST_ACKED && op->seen_memory)
                    violation("memory %llu was forgotten and is there", (unsigned long long)op->id);
                op->seen_memory = 1; /* either is right now */
            }
        }
    }
}

static void verify_stream(roost_root *root, char *text)
{
    uint32_t *order = calloc(life_count, sizeof *order);
    roost_iter *iter;
    struct roost_item item = ROOST_ITEM_INIT;
    uint64_t index = 0;
    int err = roost_stream_scan(root, roost_text("all"), 0, &iter), more = 0;
    while (!err && (more = roost_iter_item(iter, &item)) == 1) {
        uint32_t tag;
        struct op *op = tag_in(item.value.data, item.value.size, 'e', &tag) ? op_of(tag, false) : NULL;
        if (item.index != index++)
            violation("stream: index %llu where %llu was due", (unsigned long long)item.index, (unsigned long long)index - 1);
        if (!op || op->status == ST_NONE || op->status >= ST_REFUSED || !meant_stream(op)) {
            count_phantoms++;
            violation("stream entry %llu is a phantom", (unsigned long long)item.index);
            continue;
        }
        if (++op->seen_stream > 1) {
            count_doubled++;
            violation("tag %08x is in the stream twice", tag);
        }
        if (op->kind == OP_STREAM && op->status == ST_ACKED && op->id != item.index)
            violation("stream entry %08x was acknowledged as %llu and is %llu", tag, (unsigned long long)op->id,
                      (unsigned long long)item.index);
        if (!same_bytes(item.value, text, entry_of(tag, text)))
            violation("stream entry %llu has other bytes", (unsigned long long)item.index);
        uint32_t number = (tag & ((1u << TAG_BITS) - 1)) + 1;
        if (number <= order[tag >> TAG_BITS])
            violation("stream: life %u: operation %u comes after %u", tag >> TAG_BITS, number, order[tag >> TAG_BITS]);
        order[tag >> TAG_BITS] = number;
    }
    if (err == ROOST_ENOENT) err = 0;
    if (err || more < 0) violation("the final stream scan: %s", roost_error_detail());
    if (!err) roost_iter_close(iter);
    free(order);
}

static void verify_ops(void)
{
    for (uint32_t l = 0; l < life_count; l++) {
        for (uint32_t i = 0; i < lives[l].count; i++) {
            struct op *op = &lives[l].ops[i];
            uint32_t tag = l << TAG_BITS | i;
            if (op->kind == OP_BATCH && op->status == ST_INTENDED && !op->seen_memory != !op->seen_stream)
                violation("batch %08x is there in part: memory %u, stream %u", tag, op->seen_memory, op->seen_stream);
            if (op->status != ST_ACKED) continue;
            if (meant_memory(op) && !op->seen_memory) {
                count_lost++;
                violation("memory %llu (tag %08x) was acknowledged and is lost", (unsigned long long)op->id, tag);
            }
            if (meant_stream(op) && !op->seen_stream) {
                count_lost++;
                violation("stream entry %08x was acknowledged and is lost", tag);
            }
        }
    }
}

/* The key must be what the last acknowledged change left, or what a later one meant that nobody acknowledged. */
static void verify_keys(roost_root *root, char *text)
{
    for (uint32_t l = 0; l < life_count; l++) {
        for (uint32_t slot = 0; slot < KEY_COUNT; slot++) {
            char name[32];
            struct roost_item item = ROOST_ITEM_INIT;
            key_name(l, slot, name);
            int err = roost_kv_get(root, roost_text(name), &item);
            if (err && err != ROOST_ENOENT) {
                violation("key %s: %s", name, roost_error_detail());
                continue;
            }
            bool right = false, settled = false;
            for (uint32_t i = lives[l].count; i-- > 0 && !settled && !right;) {
                struct op *op = &lives[l].ops[i];
                uint32_t tag = l << TAG_BITS | i;
                if ((op->kind != OP_SET && op->kind != OP_DELETE && op->kind != OP_BATCH) || key_slot(tag) != slot || !op->status)
                    continue;
                if (op->status == ST_CANCELED || (op->status == ST_REFUSED && op->kind != OP_DELETE)) continue;
                right = op->kind == OP_DELETE ? err == ROOST_ENOENT : !err && same_bytes(item.value, text, entry_of(tag, text));
                settled = op->status == ST_ACKED || op->status == ST_REFUSED; /* a refused delete: there was none */
            }
            if (!right && !settled) right = err == ROOST_ENOENT;
            if (!right) {
                count_lost++;
                violation("key %s is not what was acknowledged last", name);
            }
            if (!err) roost_unpin(root, &item.pin);
        }
    }
}

static void verify_rest(roost_root *root)
{
    struct roost_item item = ROOST_ITEM_INIT;
    uint64_t value = 0;
    int err = roost_kv_get(root, roost_text("counter"), &item);
    if (!err) memcpy(&value, item.value.data, item.value.size < sizeof value ? item.value.size : sizeof value);
    if (!err) roost_unpin(root, &item.pin);
    if (value < counter_acked || value > counter_intended)
        violation("the counter is %llu: %llu raises were acknowledged, %llu intended", (unsigned long long)value,
                  (unsigned long long)counter_acked, (unsigned long long)counter_intended);
    for (uint32_t i = 0; i < (uint32_t)opt.writers; i++) {
        char name[32], words[STATE_WORDS_MAX];
        struct roost_state state = ROOST_STATE_INIT;
        sprintf(name, "agent%u", i);
        err = roost_state_get(root, roost_text(name), &state);
        if (err) {
            if (state_acked[i]) violation("state %s: %s", name, roost_error_detail());
            continue;
        }
        size_t size = state_words(state.active_memory_count, words);
        if (state.active_memory_count < state_acked[i])
            violation("state %s is %llx, acknowledged was %llx", name, (unsigned long long)state.active_memory_count,
                      (unsigned long long)state_acked[i]);
        if (state.extra_count != 1 || !same_bytes(state.extra[0].value, words, size)) violation("state %s is torn", name);
        if (state.alive != ROOST_ALIVE_NO) violation("state %s is said to be alive", name);
        roost_unpin(root, &state.pin);
    }
}

static void found(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    violation("check: %s at %llu: %s: %s", file, (unsigned long long)offset, roost_error_name(error), detail);
}

static int verify(void)
{
    char *text = malloc(TEXT_MAX);
    roost_root *root;
    int err = roost_open(opt.root, NULL, &root);
    if (err) {
        violation("the final open: %s: %s", roost_error_name(err), roost_error_detail());
        return 1;
    }
    verify_memories(root, text);
    verify_forgets();
    verify_stream(root, text);
    verify_ops();
    verify_keys(root, text);
    verify_rest(root);
    int findings = roost_check(root, found, NULL);
    if (findings) violation("check: %d findings", findings);
    struct roost_stats stats = ROOST_STATS_INIT;
    if (roost_stats(root, &stats) == 0)
        printf("torture: %llu memories, %llu segments, epoch %llu, last id %llu\n", (unsigned long long)stats.memory_count,
               (unsigned long long)stats.segment_count, (unsigned long long)stats.epoch, (unsigned long long)stats.last_id);
    err = roost_close(root);
    if (err) violation("the final close: %s", roost_error_detail());
    free(text);
    return 0;
}

static void verify_apart(void)
{
    /* The counters come back through shared memory. */
    uint64_t *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        count_wrong = 0;
        int result = verify();
        counts[0] = count_wrong;
        counts[1] = count_lost;
        counts[2] = count_doubled;
        counts[3] = count_phantoms;
        fflush(stdout);
        _exit(result);
    }
    int status;
    waitpid(pid, &status, 0);
    count_wrong += counts[0];
    count_lost += counts[1];
    count_doubled += counts[2];
    count_phantoms += counts[3];
    if (!WIFEXITED(status) || WEXITSTATUS(status)) violation("the final look ended with status %x", status);
    munmap(counts, 4096);
}

/* ---- life ---- */

static void usage(FILE *to)
{
    fputs("usage: torture SECONDS [--kills N] [--seed S] [--region shm|file] [--writers N] [--readers N] [--loop N]\n"
          "               [--mcp N] [--command ROOST] [--stop] [--only-stop] [--fork] [--large] [--every MS] [--keep] [--root FOLDER]\n\n"
          "  --kills N     end after so many\n"
          "  --loop N      the first N writers work through libuv alone (roost/uv.h)\n"
          "  --mcp N       the next N writers are clients of `roost mcp`\n"
          "  --command F   the `roost` command for them; default: beside this program's folder\n"
          "  --stop        stop the role's holder for a while, too\n"
          "  --only-stop   and kill nobody\n"
          "  --fork        writers make children that outlive them\n"
          "  --large       texts above 64 KiB, too\n"
          "  --every MS    time between kills: a tenth of it to all of it; default 50\n"
          "  --keep        leave the root where it is; wait where something hangs\n",
          to);
    exit(to == stderr ? 2 : 0);
}

/* build/tests/torture -> build/roost */
static const char *beside(const char *program)
{
    static char path[4096];
    const char *slash = strrchr(program, '/');
    snprintf(path, sizeof path, "%.*s/../roost", slash ? (int)(slash - program) : 1, slash ? program : ".");
    return path;
}

static void read_options(int argc, char **argv)
{
    opt.seed = (uint64_t)now_ns() ^ (uint64_t)getpid() << 40;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-')
            opt.seconds = atoi(argv[i]);
        else if (!strcmp(argv[i], "--help"))
            usage(stdout);
        else if (!strcmp(argv[i], "--stop"))
            opt.stop = true;
        else if (!strcmp(argv[i], "--only-stop"))
            opt.stop = opt.only_stop = true;
        else if (!strcmp(argv[i], "--fork"))
            opt.fork = true;
        else if (!strcmp(argv[i], "--large"))
            opt.large = true;
        else if (!strcmp(argv[i], "--keep"))
            opt.keep = true;
        else if (!value)
            usage(stderr);
        else if (!strcmp(argv[i], "--kills"))
            opt.kills = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed"))
            opt.seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--every"))
            opt.every = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--writers"))
            opt.writers = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--readers"))
            opt.readers = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--loop"))
            opt.loops = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--mcp"))
            opt.servers = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--command"))
            opt.command = argv[++i];
        else if (!strcmp(argv[i], "--region"))
            opt.region = strcmp(argv[++i], "file") ? ROOST_REGION_SHM : ROOST_REGION_FILE;
        else if (!strcmp(argv[i], "--root"))
            snprintf(opt.root, sizeof opt.root, "%s", argv[++i]);
        else
            usage(stderr);
    }
    if (opt.servers && !opt.command) opt.command = beside(argv[0]);
    if (opt.seconds < 1 || opt.every < 1 || opt.writers < 2 || opt.readers < 0 || opt.writers + opt.readers > CHILD_MAX)
        usage(stderr);
}

static void finish(int64_t began)
{
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
    int64_t deadline = now_ns() + INT64_C(60000000000);
    for (bool any = true; any && now_ns() < deadline;) {
        any = false;
        listen_until(now_ns() + 10000000);
        for (size_t i = 0; i < child_count; i++) any |= !children[i].gone;
    }
    for (size_t i = 0; i < child_count; i++) {
        if (children[i].gone) continue;
        violation("%s %u (process %d) hangs at its end", children[i].writer ? "writer" : "reader", children[i].index,
                  (int)children[i].pid);
        if (opt.keep) continue;
        kill(children[i].pid, SIGKILL);
        waitpid(children[i].pid, NULL, 0);
    }
    print_progress(began);
    check_nothing_left();
    verify_apart();
    check_nothing_left();
}

static void run(int64_t began)
{
    uint64_t random = opt.seed;
    int64_t end = began + (int64_t)opt.seconds * 1000000000, shown = began;
    last_ack_ns = began;
    while (now_ns() < end && (!opt.kills || count_kills < (uint64_t)opt.kills) && life_count < LIFE_MAX) {
        listen_until(now_ns() + (int64_t)((uint64_t)opt.every * 100 + below(&random, (uint64_t)opt.every * 900)) * 1000);
        if (now_ns() - last_ack_ns > HANG_SECONDS * INT64_C(1000000000)) {
            violation("nothing was acknowledged for %d seconds: a hang (holder %d)", HANG_SECONDS, shared->holder);
            if (opt.keep) pause();
            return;
        }
        if (opt.only_stop || (opt.stop && below(&random, 10) == 0))
            stop_one(&random);
        else
            kill_one(&random);
        if (now_ns() - shown > INT64_C(5000000000)) {
            print_progress(began);
            shown = now_ns();
        }
        if (count_wrong > 20) return;
    }
    listen_until(now_ns() + 200000000); /* the last takeover */
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* of children that were just killed */
    read_options(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool own_folder = !opt.root[0];
    char folder[] = "/tmp/roost-torture-XXXXXX";
    if (own_folder) {
        if (!mkdtemp(folder)) return 2;
        snprintf(opt.root, sizeof opt.root, "%s/root", folder);
    }
    printf("torture: seed %llu, root %s, region %s, %d writers (%d on loops, %d MCP servers), %d readers\n",
           (unsigned long long)opt.seed, opt.root, opt.region == ROOST_REGION_FILE ? "file" : "shm", opt.writers, opt.loops,
           opt.servers, opt.readers);
    /* Small, so that checkpoints, full arenas and new chunks happen all the time. */
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    settings.region = opt.region;
    settings.log_size = 2 << 20;
    settings.chunk_size = 4 << 20;
    settings.arena_size = 4 << 20;
    int err = roost_create(opt.root, &settings);
    if (err) {
        fprintf(stderr, "torture: %s\n", roost_error_detail());
        return 2;
    }
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t began = now_ns();
    for (int i = 0; i < opt.writers; i++, child_count++) start(&children[child_count], true, (uint32_t)i);
    /* Observers that find nobody see for a tenth of a second what was there before. */
    do listen_until(now_ns() + 100000000);
    while (!count_acks && now_ns() - began < 30 * INT64_C(1000000000));
    for (int i = 0; i < opt.readers; i++, child_count++) start(&children[child_count], false, (uint32_t)i);
    run(began);
    finish(began);
    qsort(takeovers, takeover_count, sizeof *takeovers, compare_ns);
    bool failed = count_wrong || count_lost || count_doubled || count_phantoms;
    printf("torture: %s: %llu kills, %llu stops, %llu acknowledged, %llu lost, %llu doubled, %llu phantoms, %llu wrong; takeover "
           "p50 %.1f ms, p99 %.1f ms, max %.1f ms; seed %llu\n",
           failed ? "FAILED" : "passed", (unsigned long long)count_kills, (unsigned long long)count_stops,
           (unsigned long long)count_acks, (unsigned long long)count_lost, (unsigned long long)count_doubled,
           (unsigned long long)count_phantoms, (unsigned long long)count_wrong, percentile(0.5), percentile(0.99), percentile(1),
           (unsigned long long)opt.seed);
    if (own_folder && !failed && !opt.keep) {
        char command[300];
        snprintf(command, sizeof command, "rm -rf '%s'", folder);
        if (system(command)) return 2;
    }
    return failed;
}
