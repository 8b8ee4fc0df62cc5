/* SPDX-License-Identifier: MIT
 * uv/test_uv_crash.c: processes that work through the libuv bridge alone, killed before and after every operation of the system.
 *
 * A child puts a table of its own in the place of the system's: it counts, and at the Nth operation, by whichever thread, kills its
 * process. What it asks for and what its callbacks are told goes over a pipe at once. N grows until a child ends unharmed. After a kill
 * a survivor opens the root, writes, and looks: what was acknowledged is there once, with its bytes, id and LSN; what was not is there
 * once or not at all, and stays so; nothing else is there; a batch is whole or absent; the writes of one client are there in the order
 * of its calls, without a hole; the root passes its check. Who is killed: who writes for itself; the same, and then who recovers after
 * it; a client whose writer lives on undisturbed; a writer under a client, whose requests must all succeed.
 *
 * test_uv_crash [--rounds N] [--step N] [--folder DIR] [CASE...]: each sweep N times over; at every so-manieth operation only; with the
 * roots in a folder of that disk. */
#include <roost/uv.h>

#include "base/atomic.h"
#include "mp/mp.h"
#include "os/os.h"

enum { FILE_STEP = 3, KILLS_A_ROOT = 24, ROUND_COUNT = KILLS_A_ROOT + 2, TEXT_MAX = 300, LARGE = 70000, WAIT_MS = 25000 };

static uint32_t sweep_count = 1, sweep_step;
static const char *folder, *given_folder; /* of the roots */

/* Who is killed, who lives on (or NULL), and after how many kills somebody looks. */
struct scene {
    int (*victim)(void *argument), (*companion)(void *argument);
    uint32_t look_every;
};
static const struct scene *scene;

/* ---- what is written, and what is known of it ---- */

enum who { CLIENT, WRITER, HOLDER, LOOKER, WHO_COUNT };
enum item {
    /* A client's, through its lane, in this order; the parts of the batch are one request. */
    DURABLE,
    QUICK,
    KEYED,
    BATCH_FIRST,
    BATCH_SECOND,
    BATCH_KEY,
    BATCH_ENTRY,
    SET,
    ENTRY,
    /* When those have landed: of SET's key, QUICK, KEYED's key. */
    SWAP,
    FORGET,
    REPLACE,
    ENTRY_AGAIN,
    ORDERED_COUNT,
    /* In no order with others. */
    WITHDRAWN = ORDERED_COUNT,
    LARGE_SET,
    ITEM_COUNT, /* below here: no thing of its own to be found */
    COUNTER = ITEM_COUNT,
    STATE,
    STATE_AGAIN,
    WRONG_SWAP,
    REQUEST_COUNT,
};
enum note_kind { ASKED, ACKNOWLEDGED, REFUSED, READY, DONE, KILLED };
struct note {
    uint32_t kind, who, round, item;
    uint64_t id, lsn;
};

/* Texts tell what they are, so that whatever is found can be compared with what it should be. */
static void text_of(char text[TEXT_MAX], uint32_t who, uint32_t round, uint32_t item)
{
    int size = snprintf(text, TEXT_MAX, "%u %u %u u%ux%ux%u ", who, round, item, who, round, item);
    int end = size + (int)((round * 37 + item * 59) % 200);
    for (; size < end; size++) text[size] = "agents remember "[(round + (uint32_t)size) % 16];
    snprintf(text + end, 2, ".");
}

static uint8_t *large_of(uint32_t round)
{
    static uint8_t bytes[LARGE];
    for (uint32_t i = 0; i < LARGE; i++) bytes[i] = (uint8_t)(i * 31 + (i >> 8) + round);
    return bytes;
}

static uint64_t number_in(struct roost_bytes digits)
{
    char text[32] = "";
    CHECK(digits.size < sizeof text);
    memcpy(text, digits.data, digits.size);
    return strtoull(text, NULL, 10);
}

static struct mp_pipe notes; /* of a child */
static bool parent = true;
static void learn(const struct note *note);

static void tell(enum note_kind kind, uint32_t who, uint32_t round, uint32_t item, uint64_t id, uint64_t lsn)
{
    struct note note = {kind, who, round, item, id, lsn};
    if (parent)
        learn(&note);
    else
        mp_give(notes, &note, sizeof note);
}

/* ---- death at the Nth operation ---- */

static struct rst_os table;
static uint32_t operation_count, death_at, dying;
static bool death_after;

static _Noreturn void die(uint32_t n, const char *name)
{
    struct note note = {KILLED, 0, n, 0, 0, 0};
    rst_store_seq_u32(&dying, 1); /* no other thread begins an operation any more */
    snprintf((char *)&note.id, sizeof note.id + sizeof note.lsn, "%s", name);
    mp_give(notes, &note, sizeof note);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What changes nothing for anybody: killed after it is the same as killed before it. */
static bool only_looks(const char *name)
{
    static const char *const names[] = {"pread",  "list",       "stat",      "stat_at",   "file_system",
                                        "advise", "probe_byte", "shm_space", "real_time", "monotonic_time",
                                        "random", "boot_id",    "user_id",   "process_id"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static uint32_t enter(const char *name)
{
    while (rst_load_seq_u32(&dying)) pause();
    if (death_after && only_looks(name)) return 0;
    uint32_t n = rst_add_u32(&operation_count, 1);
    if (n == death_at && !death_after) die(n, name);
    return n;
}
static void leave(uint32_t n, const char *name)
{
    if (n == death_at && death_after) die(n, name);
}

#define COUNTED(type, name, parameters, arguments) \
    static type counted_##name parameters \
    { \
        uint32_t n = enter(#name); \
        type result = rst_os_linux.name arguments; \
        leave(n, #name); \
        return result; \
    }
COUNTED(int, open, (int directory, const char *name, unsigned flags, uint32_t mode), (directory, name, flags, mode))
COUNTED(int, close, (int file), (file))
COUNTED(int64_t, pread, (int file, void *to, size_t size, uint64_t offset), (file, to, size, offset))
COUNTED(int64_t, pwrite, (int file, const void *from, size_t size, uint64_t offset), (file, from, size, offset))
COUNTED(int64_t, copy, (int from, int to, size_t size, uint64_t offset), (from, to, size, offset))
COUNTED(int, fdatasync, (int file), (file))
COUNTED(int, fsync, (int file), (file))
COUNTED(int, allocate, (int file, uint64_t offset, uint64_t size), (file, offset, size))
COUNTED(int, punch, (int file, uint64_t offset, uint64_t size), (file, offset, size))
COUNTED(int, link, (int file, int directory, const char *name), (file, directory, name))
COUNTED(int, rename, (int directory, const char *from, const char *to), (directory, from, to))
COUNTED(int, unlink, (int directory, const char *name), (directory, name))
COUNTED(int, mkdir, (int directory, const char *name, uint32_t mode), (directory, name, mode))
COUNTED(int, list, (int directory, rst_list_fn found, void *user), (directory, found, user))
COUNTED(int, stat, (int file, struct rst_stat *ret_stat), (file, ret_stat))
COUNTED(int, stat_at, (int directory, const char *name, struct rst_stat *ret_stat), (directory, name, ret_stat))
COUNTED(int, chown, (int file, uint32_t uid, uint32_t gid), (file, uid, gid))
COUNTED(int, chmod, (int file, uint32_t mode), (file, mode))
COUNTED(int, file_system, (int file, char *ret_name, size_t name_size), (file, ret_name, name_size))
COUNTED(int, map, (int file, uint64_t offset, size_t size, unsigned flags, void **ret_address),
        (file, offset, size, flags, ret_address))
COUNTED(int, unmap, (void *address, size_t size), (address, size))
COUNTED(int, advise, (void *address, size_t size, enum rst_map_advice advice), (address, size, advice))
COUNTED(int, flock, (int file), (file))
COUNTED(int, funlock, (int file), (file))
COUNTED(int, lock_byte, (int file, uint64_t offset), (file, offset))
COUNTED(int, unlock_byte, (int file, uint64_t offset), (file, offset))
COUNTED(int, probe_byte, (int file, uint64_t offset), (file, offset))
COUNTED(int, shm_open, (const char *name, unsigned flags, uint32_t mode), (name, flags, mode))
COUNTED(int, shm_unlink, (const char *name), (name))
COUNTED(int64_t, shm_space, (void), ())
COUNTED(int, futex_wait, (const uint32_t *word, uint32_t expected, int64_t timeout_ns), (word, expected, timeout_ns))
COUNTED(int, futex_wait_any, (const struct rst_futex_wait *words, size_t count, int64_t timeout_ns), (words, count, timeout_ns))
COUNTED(int, futex_wake, (const uint32_t *word, uint32_t count), (word, count))
COUNTED(int, event_open, (void), ())
COUNTED(int, event_signal, (int file), (file))
COUNTED(int, event_clear, (int file), (file))
COUNTED(int64_t, real_time, (void), ())
COUNTED(int64_t, monotonic_time, (void), ())
COUNTED(int, random, (void *to, size_t size), (to, size))
COUNTED(int, boot_id, (uint8_t ret_id[16]), (ret_id))
COUNTED(uint32_t, user_id, (void), ())
COUNTED(int32_t, process_id, (void), ())

static void counted_sleep(int64_t ns)
{
    uint32_t n = enter("sleep");
    (&rst_os_linux)->sleep(ns);
    leave(n, "sleep");
}

#define PUT(name) .name = counted_##name
static void die_at(uint32_t at, bool after)
{
    table = (struct rst_os){PUT(open),        PUT(close),          PUT(pread),          PUT(pwrite),      PUT(copy),
                            PUT(fdatasync),   PUT(fsync),          PUT(allocate),       PUT(punch),       PUT(link),
                            PUT(rename),      PUT(unlink),         PUT(mkdir),          PUT(list),        PUT(stat),
                            PUT(stat_at),     PUT(chown),          PUT(chmod),          PUT(file_system), PUT(map),
                            PUT(unmap),       PUT(advise),         PUT(flock),          PUT(funlock),     PUT(lock_byte),
                            PUT(unlock_byte), PUT(probe_byte),     PUT(shm_open),       PUT(shm_unlink),  PUT(shm_space),
                            PUT(futex_wait),  PUT(futex_wait_any), PUT(futex_wake),     PUT(event_open),  PUT(event_signal),
                            PUT(event_clear), PUT(real_time),      PUT(monotonic_time), PUT(sleep),       PUT(random),
                            PUT(boot_id),     PUT(user_id),        PUT(process_id)};
    death_at = at;
    death_after = after;
    rst_os = &table;
}

/* Ends a child that nobody killed. */
static int unharmed(void)
{
    mp_check_leaks();
    tell(DONE, 0, 0, 0, rst_load_seq_u32(&operation_count), 0);
    return 0;
}

/* ---- the client: everything through the bridge ---- */

enum { LSN_MAX = 32, SEEN_MAX = 256 };
static struct {
    roost_root *root;
    uv_loop_t loop;
    roost_uv bridge;
    roost_uv_watch watch;
    roost_uv_req reqs[REQUEST_COUNT], get, get_state;
    roost_batch *batch;
    char texts[REQUEST_COUNT][TEXT_MAX], name[32];
    uint32_t round, stage, pending;
    bool withdrawn;                            /* the bridge said so */
    uint64_t awaited[LSN_MAX], seen[SEEN_MAX]; /* LSNs: acknowledged, and not yet told by the watch; told in this round */
    uint32_t awaited_count, seen_count;
    uint64_t seen_lsn, seen_number; /* the watch's last change; the last state read */
    uint64_t swap_version, quick_id, number;
    bool getting, get_again, closed, heir /* nobody has looked after a process that was killed */;
} client;

static struct roost_bytes named(const char *kind)
{
    static char names[8][32]; /* each kind's lives until its next round */
    static const char *const kinds[8] = {"key", "doc", "batch", "large"};
    int i = 0;
    while (kinds[i] && strcmp(kinds[i], kind) != 0) i++;
    snprintf(names[i], sizeof names[i], "%s/%u", kind, client.round);
    return roost_text(names[i]);
}

static void go_on(void);
static void on_counter(roost_uv_req *req, int status, const struct roost_item *item);
static void on_written(roost_uv_req *req, int status);

/* The watch tells of it, before or after this. */
static void expect_lsn(uint64_t lsn)
{
    for (uint32_t i = 0; i < client.seen_count; i++)
        if (client.seen[i] == lsn) return;
    CHECK(lsn > client.seen_lsn && client.awaited_count < LSN_MAX);
    client.awaited[client.awaited_count++] = lsn;
}

static void put_batch(void)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_batch_clear(client.batch);
    for (uint32_t item = BATCH_FIRST; item <= BATCH_ENTRY; item++) {
        text_of(client.texts[item], CLIENT, client.round, item);
        tell(ASKED, CLIENT, client.round, item, 0, 0);
    }
    memory.text = roost_text(client.texts[BATCH_FIRST]);
    GIVES(0, roost_batch_append(client.batch, &memory));
    memory.text = roost_text(client.texts[BATCH_SECOND]);
    GIVES(0, roost_batch_append(client.batch, &memory));
    GIVES(0, roost_batch_kv_set(client.batch, named("batch"), roost_text(client.texts[BATCH_KEY]), NULL));
    GIVES(0, roost_batch_stream_append(client.batch, roost_text("log"), roost_text(client.texts[BATCH_ENTRY])));
}

/* One request. Its bytes lie in `client` until its callback. */
static void ask(enum item item, uint64_t expected)
{
    roost_uv *bridge = &client.bridge;
    roost_uv_req *req = &client.reqs[item];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    struct roost_bytes text = {client.texts[item], 0};
    text_of(client.texts[item], CLIENT, client.round, item);
    text.size = strlen(client.texts[item]);
    memory.text = text;
    write.wait_ms = WAIT_MS;
    write.level = item == QUICK || item == ENTRY || item == REPLACE ? ROOST_PROCESS : ROOST_DURABLE;
    write.expected = expected;
    if (item == SWAP || item == WRONG_SWAP || item == COUNTER) write.flags = ROOST_WRITE_IF_VERSION;
    uint64_t number = item == COUNTER ? client.number + 1 : client.round * 2 + (item == STATE_AGAIN);
    if (item == BATCH_FIRST)
        put_batch();
    else if (item != WRONG_SWAP) /* which must not be done in any case */
        tell(ASKED, CLIENT, client.round, item, number, 0);
    client.pending++;
    switch ((uint32_t)item) {
    case KEYED:
    case REPLACE:
        memory.key = named("doc"); /* fall through */
    case DURABLE:
    case QUICK:
    case WITHDRAWN:
        GIVES(0, roost_uv_append(bridge, req, &memory, &write, on_written));
        break;
    case BATCH_FIRST:
        GIVES(0, roost_uv_commit(bridge, req, client.batch, &write, on_written));
        break;
    case SET:
    case SWAP:
    case WRONG_SWAP:
        GIVES(0, roost_uv_kv_set(bridge, req, named("key"), text, &write, on_written));
        break;
    case LARGE_SET:
        text = (struct roost_bytes){large_of(client.round), LARGE};
        GIVES(0, roost_uv_kv_set(bridge, req, named("large"), text, &write, on_written));
        break;
    case COUNTER:
        snprintf(client.texts[item], TEXT_MAX, "%llu", (unsigned long long)number);
        GIVES(0, roost_uv_kv_set(bridge, req, roost_text("counter"), roost_text(client.texts[item]), &write, on_written));
        break;
    case ENTRY:
    case ENTRY_AGAIN:
        GIVES(0, roost_uv_stream_append(bridge, req, roost_text("log"), text, &write, on_written));
        break;
    case FORGET:
        GIVES(0, roost_uv_forget(bridge, req, client.quick_id, &write, on_written));
        break;
    default:
        state.name = roost_text("agent");
        snprintf(client.texts[item], TEXT_MAX, "number %llu", (unsigned long long)number);
        state.status = roost_text(client.texts[item]);
        state.active_memory_count = number;
        write.level = item == STATE ? ROOST_DEFAULT : ROOST_DURABLE;
        GIVES(0, roost_uv_state_publish(bridge, req, &state, &write, on_written));
    }
}

static void on_memory(roost_uv_req *req, int status, const struct roost_memory *memory)
{
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0 && memory->text.size == strlen(client.texts[DURABLE]));
    CHECK(memcmp(memory->text.data, client.texts[DURABLE], memory->text.size) == 0);
    go_on();
}

static void on_counter(roost_uv_req *req, int status, const struct roost_item *item)
{
    if (status && status != ROOST_ENOENT) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0 || status == ROOST_ENOENT);
    client.number = status ? 0 : number_in(item->value);
    ask(COUNTER, status ? 0 : item->version);
    go_on();
}

static void on_written(roost_uv_req *req, int status)
{
    uint32_t item = (uint32_t)(req - client.reqs);
    int expected = item == WRONG_SWAP ? ROOST_EMISMATCH : item == WITHDRAWN && client.withdrawn ? ROOST_ECANCELED : 0;
    /* What a dead process had asked for last may be done at any time, until somebody's next commit has taken it up. */
    if (item == COUNTER && status == ROOST_EMISMATCH && client.heir) {
        client.heir = false;
        GIVES(0, roost_uv_kv_get(&client.bridge, req, roost_text("counter"), on_counter));
        return;
    }
    if (status != expected) fprintf(stderr, "request %u of round %u: %s\n", item, client.round, req->detail);
    CHECK(status == expected);
    for (uint32_t part = item; item < COUNTER && part <= (item == BATCH_FIRST ? BATCH_ENTRY : item); part++)
        tell(status ? REFUSED : ACKNOWLEDGED, CLIENT, client.round, part, part == item ? req->receipt.id : 0,
             item == BATCH_FIRST && part != BATCH_ENTRY ? 0 : req->receipt.lsn);
    if (item == COUNTER || item == STATE || item == STATE_AGAIN)
        tell(ACKNOWLEDGED, CLIENT, client.round, item,
             item == COUNTER ? client.number + 1 : client.round * 2 + (item == STATE_AGAIN), req->receipt.lsn);
    if (!status && item <= COUNTER) expect_lsn(req->receipt.lsn);
    if (item == SET) client.swap_version = req->receipt.lsn;
    if (item == QUICK) client.quick_id = req->receipt.id;
    if (item == DURABLE) {
        client.pending++;
        GIVES(0, roost_uv_get(&client.bridge, &client.get, req->receipt.id, on_memory));
    }
    go_on();
}

/* The request that just ended was perhaps the last of its stage. */
static void go_on(void)
{
    if (--client.pending) return;
    if (client.stage++ == 0) {
        ask(SWAP, client.swap_version);
        ask(FORGET, 0);
        ask(REPLACE, 0);
        ask(WRONG_SWAP, client.swap_version);
        ask(ENTRY_AGAIN, 0);
        ask(STATE_AGAIN, 0);
        ask(WITHDRAWN, 0);
        client.withdrawn = roost_uv_cancel(&client.reqs[WITHDRAWN]) == 0;
    }
}

static void on_state(roost_uv_req *req, int status, const struct roost_state *state)
{
    char words[40];
    if (status) fprintf(stderr, "%s\n", req->detail);
    CHECK(status == 0 && state->active_memory_count >= client.seen_number);
    client.seen_number = state->active_memory_count;
    snprintf(words, sizeof words, "number %llu", (unsigned long long)client.seen_number);
    CHECK(state->status.size == strlen(words) && memcmp(state->status.data, words, strlen(words)) == 0);
    client.getting = false;
    if (!client.get_again) return;
    client.get_again = false;
    client.getting = true;
    GIVES(0, roost_uv_state_get(&client.bridge, &client.get_state, roost_text("agent"), on_state));
}

static void on_event(roost_uv_watch *watch, int status, const struct roost_event *event)
{
    (void)watch;
    CHECK(status == 0 && event->kind != ROOST_CHANGE_SKIPPED);
    if (event->kind == ROOST_CHANGE_STATE) {
        client.get_again = client.getting;
        if (!client.getting) GIVES(0, roost_uv_state_get(&client.bridge, &client.get_state, roost_text("agent"), on_state));
        client.getting = true;
        return;
    }
    CHECK(event->lsn > client.seen_lsn);
    for (uint32_t i = 0; i < client.awaited_count;) {
        CHECK(client.awaited[i] >= event->lsn); /* nothing is passed over */
        if (client.awaited[i] == event->lsn)
            client.awaited[i] = client.awaited[--client.awaited_count];
        else
            i++;
    }
    CHECK(client.seen_count < SEEN_MAX);
    client.seen[client.seen_count++] = event->lsn;
    client.seen_lsn = event->lsn;
}

static void client_open(void)
{
    const struct roost_topic topics[2] = {{ROOST_TOPIC_COMMITS, 0, {NULL, 0}}, {ROOST_TOPIC_STATE, 0, ROOST_TEXT("agent")}};
    memset(&client, 0, sizeof client);
    client.heir = scene->look_every > 1;
    client.root = mp_open_with(0, WAIT_MS, 0);
    CHECK(uv_loop_init(&client.loop) == 0);
    GIVES(0, roost_uv_init(&client.loop, &client.bridge, client.root));
    GIVES(0, roost_uv_watch_start(&client.bridge, &client.watch, topics, 2, on_event));
    GIVES(0, roost_batch_open(&client.batch));
}

/* Until all has landed and the watch has told of it. */
static void client_round(uint32_t round)
{
    client.round = round;
    client.stage = client.seen_count = 0;
    client.pending = 1;
    ask(DURABLE, 0);
    ask(QUICK, 0);
    ask(KEYED, 0);
    ask(BATCH_FIRST, 0);
    ask(SET, 0);
    ask(ENTRY, 0);
    ask(STATE, 0);
    ask(LARGE_SET, 0);
    GIVES(0, roost_uv_kv_get(&client.bridge, &client.reqs[COUNTER], roost_text("counter"), on_counter));
    while (client.stage < 2 || client.getting || client.awaited_count || client.seen_number != round * 2 + 1)
        CHECK(uv_run(&client.loop, UV_RUN_ONCE) != 0);
}

static void on_closed(roost_uv *bridge)
{
    (void)bridge;
    client.closed = true;
}

static void client_close(void)
{
    roost_batch_free(client.batch);
    roost_uv_close(&client.bridge, on_closed);
    CHECK(uv_run(&client.loop, UV_RUN_DEFAULT) == 0 && client.closed);
    CHECK(uv_loop_close(&client.loop) == 0);
    mp_close(client.root);
}

/* ---- the other processes ---- */

struct place { /* where a child is to die, and in which round */
    uint32_t round, at;
    bool after;
};
static struct mp_pipe orders, served; /* to a process that lives on; to the writer: the client's round is done */

static int be_client(void *argument)
{
    const struct place *place = argument;
    die_at(place->at, place->after);
    client_open();
    client_round(place->round);
    client_close();
    return unharmed();
}

/* The next round that is ordered, each once; 0: the end, also when nobody is left to order anything. */
static uint32_t next_order(uint32_t done)
{
    uint32_t round = 0;
    do {
        alarm(120);
        if (read(orders.ends[0], &round, sizeof round) != sizeof round) return 0;
    } while (round && round <= done);
    return round;
}

static void wait_for_rest(roost_root *root)
{
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(root).writer_pid) CHECK(poll(NULL, 0, 1) == 0 && mp_now_ns() < deadline);
}

/* A client that lives on while its writers die. */
static int be_loop(void *argument)
{
    (void)argument;
    close(orders.ends[1]); /* its end is the parent's */
    client_open();
    wait_for_rest(client.root); /* who opened first has the role for a moment */
    tell(READY, CLIENT, 0, 0, 0, 0);
    for (uint32_t round = 0; (round = next_order(round)) != 0;) {
        client_round(round);
        mp_give(served, &round, sizeof round);
        tell(DONE, CLIENT, round, 0, 0, 0);
    }
    client_close();
    mp_check_leaks();
    return 0;
}

static void append(roost_root *root, uint32_t who, uint32_t round, uint32_t item)
{
    char text[TEXT_MAX];
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_receipt receipt;
    text_of(text, who, round, item);
    memory.text = roost_text(text);
    tell(ASKED, who, round, item, 0, 0);
    GIVES(0, roost_append(root, &memory, NULL, NULL, &receipt));
    tell(ACKNOWLEDGED, who, round, item, receipt.id, receipt.lsn);
}

/* Who holds the role is not disturbed by what happens to its clients. */
static int be_holder(void *argument)
{
    (void)argument;
    close(orders.ends[1]);
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, WAIT_MS, 0);
    append(root, HOLDER, 0, DURABLE);
    uint64_t epoch = mp_stats(root).epoch, takeovers = mp_stats(root).takeover_count;
    tell(READY, HOLDER, 0, 0, 0, 0);
    for (uint32_t round = 0; (round = next_order(round)) != 0;) {
        append(root, HOLDER, round, DURABLE);
        struct roost_stats stats = mp_stats(root);
        CHECK(stats.own_role && stats.epoch == epoch && stats.takeover_count == takeovers);
        tell(DONE, HOLDER, round, 0, 0, 0);
    }
    mp_close(root);
    mp_check_leaks();
    return 0;
}

/* Takes the role, lets the client ask, writes something itself, and serves until the client has all. */
static int be_writer(void *argument)
{
    enum { OWN_COUNT = 4 };
    const struct place *place = argument;
    uint32_t done = 0;
    die_at(place->at, place->after);
    roost_root *root = mp_open_with(ROOST_OPEN_HOLD, WAIT_MS, 0);
    append(root, WRITER, place->round, 0);
    CHECK(mp_stats(root).own_role);
    mp_give(orders, &place->round, sizeof place->round);
    for (uint32_t item = 1; item < OWN_COUNT; item++) append(root, WRITER, place->round, item);
    while (done != place->round) mp_take(served, &done, sizeof done);
    mp_close(root);
    return unharmed();
}

/* ---- what is known ---- */

enum fate { NOTHING, WANTED, KEPT, DENIED };       /* what its process was told */
enum sight { NOT_LOOKED, IS_THERE, IS_NOT_THERE }; /* what an earlier look showed: for good */
struct thing {
    uint8_t fate, sight;
    uint32_t found;
    uint64_t id, lsn, found_id, found_lsn;
};
static struct thing things[WHO_COUNT][ROUND_COUNT][ITEM_COUNT];
struct number { /* grows by one write after the other */
    uint64_t kept, asked, lsn;
};
static struct number counter, agent;

struct child {
    pid_t pid;
    struct mp_pipe notes;
};

static void learn(const struct note *note)
{
    CHECK(note->who < WHO_COUNT && note->round < ROUND_COUNT);
    if (note->item >= ITEM_COUNT) {
        struct number *number = note->item == COUNTER ? &counter : &agent;
        CHECK(note->item < WRONG_SWAP);
        if (note->kind == ASKED)
            number->asked = note->id;
        else
            *number = (struct number){note->id, number->asked, note->item == COUNTER ? note->lsn : 0};
        return;
    }
    struct thing *thing = &things[note->who][note->round][note->item];
    CHECK(thing->fate == (note->kind == ASKED ? NOTHING : WANTED));
    thing->fate = (uint8_t)(note->kind == ASKED ? WANTED : note->kind == ACKNOWLEDGED ? KEPT : DENIED);
    thing->id = note->id;
    thing->lsn = note->lsn;
}

struct role {
    int (*run)(void *argument);
    void *argument;
};
static int play(void *argument)
{
    const struct role *role = argument;
    parent = false;
    return role->run(role->argument);
}

static struct child start(int (*run)(void *argument), void *argument)
{
    struct role role = {run, argument};
    struct child child = {.notes = mp_pipe()};
    notes = child.notes;
    child.pid = mp_start(play, &role);
    close(child.notes.ends[1]);
    return child;
}

/* Listens to a child until it says something of itself; false: it is gone. */
static bool hear(const struct child *child, struct note *ret_note)
{
    for (;;) {
        struct pollfd wait = {child->notes.ends[0], POLLIN, 0};
        if (poll(&wait, 1, MP_PATIENCE_MS * 2) != 1) {
            fprintf(stderr, "(%s) process %d hangs\n", mp_test, (int)child->pid);
            kill(child->pid, SIGABRT);
            _exit(1);
        }
        ssize_t got = read(child->notes.ends[0], ret_note, sizeof *ret_note);
        if (got == 0) return false;
        CHECK(got == sizeof *ret_note);
        if (ret_note->kind >= READY) return true;
        learn(ret_note);
    }
}

/* ---- looking ---- */

/* What a text found somewhere is; NULL: not what anybody wrote. */
static struct thing *thing_of(struct roost_bytes bytes)
{
    char text[TEXT_MAX + 1] = "", expected[TEXT_MAX];
    uint32_t who, round, item;
    memcpy(text, bytes.data, bytes.size < TEXT_MAX ? bytes.size : TEXT_MAX);
    if (sscanf(text, "%u %u %u ", &who, &round, &item) != 3) return NULL;
    if (who >= WHO_COUNT || round >= ROUND_COUNT || item >= ITEM_COUNT) return NULL;
    text_of(expected, who, round, item);
    bool same = bytes.size == strlen(expected) && memcmp(bytes.data, expected, bytes.size) == 0;
    return same ? &things[who][round][item] : NULL;
}

static void found(struct thing *thing, uint64_t id, uint64_t lsn)
{
    CHECK(thing);
    thing->found++;
    thing->found_id = id;
    thing->found_lsn = lsn;
}

/* What is shown now is what later looks start from: what was asked for and is not shown must not come any more. */
static void find_number(struct number *known, uint64_t shown, uint64_t lsn)
{
    CHECK(shown >= known->kept && shown <= known->asked);
    CHECK(!known->lsn || shown != known->kept || lsn == known->lsn);
    *known = (struct number){shown, shown, lsn};
}

static void find_key(const struct roost_item *item)
{
    char key[64] = "", kind[64];
    uint32_t round;
    CHECK(item->key.size < sizeof key);
    memcpy(key, item->key.data, item->key.size);
    CHECK(sscanf(key, "%63[a-z]/%u", kind, &round) == 2 && round < ROUND_COUNT);
    struct thing *own = things[CLIENT][round], *thing = own + LARGE_SET;
    if (strcmp(kind, "large") == 0) {
        CHECK(item->value.size == LARGE && memcmp(item->value.data, large_of(round), LARGE) == 0);
    } else {
        thing = thing_of(item->value);
        CHECK(strcmp(kind, "key") == 0 ? thing == own + SET || thing == own + SWAP : thing == own + BATCH_KEY);
    }
    found(thing, 0, item->version);
}

static void find_keys(roost_root *root)
{
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter;
    uint64_t count = 0, version = 0;
    int got;
    GIVES(0, roost_kv_scan(root, (struct roost_bytes){NULL, 0}, &iter));
    while ((got = roost_iter_item(iter, &item)) == 1) {
        if (item.key.size == strlen("counter") && memcmp(item.key.data, "counter", item.key.size) == 0) {
            count = number_in(item.value);
            version = item.version;
        } else {
            find_key(&item);
        }
    }
    GIVES(0, got);
    roost_iter_close(iter);
    find_number(&counter, count, version);
}

static void find_state(roost_root *root, uint32_t alive)
{
    struct roost_state state = ROOST_STATE_INIT;
    char words[40];
    int err = roost_state_get(root, roost_text("agent"), &state);
    CHECK(err == 0 || err == ROOST_ENOENT);
    find_number(&agent, err ? 0 : state.active_memory_count, 0);
    if (err) return;
    snprintf(words, sizeof words, "number %llu", (unsigned long long)state.active_memory_count);
    CHECK(state.status.size == strlen(words) && memcmp(state.status.data, words, strlen(words)) == 0);
    CHECK(state.alive == alive);
    roost_unpin(root, &state.pin);
}

static void find_all(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter;
    uint64_t index = 0;
    roost_id last = 0;
    int got;
    GIVES(0, roost_scan(root, 0, 0, &iter));
    for (; (got = roost_iter_memory(iter, &memory)) == 1; last = memory.id) {
        CHECK(memory.id > last);
        found(thing_of(memory.text), memory.id, memory.lsn);
    }
    GIVES(0, got);
    roost_iter_close(iter);
    GIVES(0, roost_stream_scan(root, roost_text("log"), 0, &iter));
    for (; (got = roost_iter_item(iter, &item)) == 1; index++) {
        CHECK(item.index == index);
        found(thing_of(item.value), index, item.version);
    }
    GIVES(0, got);
    roost_iter_close(iter);
    find_keys(root);
}

/* What was put in the place of something proves that this had been there. */
static void restore_replaced(struct thing *own)
{
    if (own[FORGET].fate != NOTHING && !own[QUICK].found) {
        found(&own[QUICK], own[QUICK].id, own[QUICK].lsn);
        found(&own[FORGET], own[FORGET].id, own[FORGET].lsn);
    }
    if (own[SWAP].found) found(&own[SET], own[SET].id, own[SET].lsn);
    if (own[REPLACE].found) found(&own[KEYED], own[KEYED].id, own[KEYED].lsn);
}

static void judge(uint32_t who, uint32_t round, uint32_t item)
{
    struct thing *thing = &things[who][round][item];
    const char *what = NULL;
    if (thing->found > 1)
        what = "was done more than once";
    else if (thing->found && thing->fate == NOTHING)
        what = "was never asked for, and is there";
    else if (thing->found && thing->fate == DENIED)
        what = "was withdrawn, and done";
    else if (!thing->found && thing->fate == KEPT)
        what = "was acknowledged, and is lost";
    else if (thing->fate == KEPT &&
             ((thing->id && thing->id != thing->found_id) || (thing->lsn && thing->lsn != thing->found_lsn)))
        what = "has another id or LSN than was acknowledged";
    else if (thing->sight != NOT_LOOKED && (thing->sight == IS_THERE) != (thing->found == 1))
        what = "came or went after somebody had looked";
    if (what) {
        fprintf(stderr, "(%s) item %u of %u's round %u %s: found %u times, id %llu, LSN %llu; acknowledged: id %llu, LSN %llu\n",
                mp_test, item, who, round, what, thing->found, (unsigned long long)thing->found_id,
                (unsigned long long)thing->found_lsn, (unsigned long long)thing->id, (unsigned long long)thing->lsn);
        _exit(1);
    }
    if (thing->fate != NOTHING) thing->sight = thing->found ? IS_THERE : IS_NOT_THERE;
}

static void judge_order(const struct thing *own)
{
    bool hole = false;
    uint64_t lsn = 0;
    for (uint32_t item = BATCH_FIRST; item < BATCH_ENTRY; item++) CHECK(own[item].found == own[BATCH_ENTRY].found);
    for (uint32_t item = 0; item < ORDERED_COUNT; item++) {
        CHECK(!hole || !own[item].found);
        hole = !own[item].found;
        if (!own[item].found || !own[item].found_lsn) continue;
        CHECK(own[item].found_lsn > lsn);
        lsn = own[item].found_lsn;
    }
}

/* Void extents that their clients did not live to fill are noted, and no damage. */
static void on_damage(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    if (error) mp_found(user, error, file, offset, detail);
}

static void look(uint32_t round, uint32_t alive, bool until_rest)
{
    char word[32];
    struct thing *all = &things[0][0][0];
    roost_root *root = mp_open_with(0, WAIT_MS, 0);
    append(root, LOOKER, round, 0);
    for (uint32_t i = 0; i < WHO_COUNT * ROUND_COUNT * ITEM_COUNT; i++) all[i].found = 0;
    find_all(root);
    find_state(root, alive);
    for (uint32_t r = 0; r < ROUND_COUNT; r++) restore_replaced(things[CLIENT][r]);
    for (uint32_t i = 0; i < WHO_COUNT * ROUND_COUNT * ITEM_COUNT; i++)
        judge(i / ITEM_COUNT / ROUND_COUNT, i / ITEM_COUNT % ROUND_COUNT, i % ITEM_COUNT);
    for (uint32_t r = 0; r < ROUND_COUNT; r++) judge_order(things[CLIENT][r]);
    snprintf(word, sizeof word, "+u%ux%ux%u", CLIENT, round, DURABLE);
    CHECK(mp_find(root, word, NULL) == things[CLIENT][round][DURABLE].found);
    GIVES(0, roost_check(root, on_damage, NULL));
    if (until_rest) wait_for_rest(root);
    mp_close(root);
}

/* ---- one root's life ---- */

static struct child companion;
static uint32_t root_count, round_now;
static uint32_t kill_count, kind_count;
static char kinds[64][24]; /* of operations at which somebody was killed */
static char described[160];

static void begin_root(void)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    struct note note;
    settings.region = mp_kind;
    settings.log_size = 512 << 10; /* small: checkpoints and new chunks are part of it */
    settings.chunk_size = 1 << 20;
    settings.arena_size = 1 << 20;
    snprintf(mp_root, sizeof mp_root, "%s/root-%u", folder, ++root_count);
    GIVES(0, roost_create(mp_root, &settings));
    memset(things, 0, sizeof things);
    counter = agent = (struct number){0, 0, 0};
    round_now = 0;
    if (!scene->companion) return;
    orders = mp_pipe();
    served = mp_pipe();
    companion = start(scene->companion, NULL);
    CHECK(hear(&companion, &note) && note.kind == READY);
}

static void close_pipe(struct mp_pipe pipe)
{
    close(pipe.ends[0]);
    close(pipe.ends[1]);
}

static void end_root(void)
{
    char command[200];
    struct note note;
    uint32_t none = 0;
    if (!round_now) return;
    if (scene->companion) {
        mp_give(orders, &none, sizeof none);
        CHECK(!hear(&companion, &note));
        mp_finish(companion.pid);
        close(companion.notes.ends[0]);
        close_pipe(orders);
        close_pipe(served);
    }
    look(round_now + 1, ROOST_ALIVE_NO, false);
    snprintf(command, sizeof command, "rm -rf '%s'", mp_root);
    CHECK(system(command) == 0);
    round_now = 0;
}

static void count_kill(const char *name)
{
    uint32_t kind = 0;
    kill_count++;
    while (kind < kind_count && strcmp(kinds[kind], name) != 0) kind++;
    if (kind == kind_count) snprintf(kinds[kind_count++], sizeof kinds[0], "%s", name);
}

/* Kills one. False: it ended before its Nth operation. */
static bool one_kill(uint32_t at, bool after)
{
    struct place place = {.at = at, .after = after};
    struct note note;
    char killed[20] = "";
    uint64_t operation_total = 0;
    int status;
    if (round_now == KILLS_A_ROOT) end_root();
    if (!round_now) begin_root();
    place.round = ++round_now;
    snprintf(described, sizeof described, "round %u, to be killed %s operation %u", place.round, after ? "after" : "before", at);
    struct child victim = start(scene->victim, &place);
    while (hear(&victim, &note)) {
        if (note.kind == KILLED) snprintf(killed, sizeof killed, "%.16s", (const char *)&note.id);
        if (note.kind == DONE) operation_total = note.id;
    }
    CHECK(waitpid(victim.pid, &status, 0) == victim.pid);
    close(victim.notes.ends[0]);
    if (killed[0]) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        snprintf(described, sizeof described, "round %u, killed %s operation %u, %s", place.round, after ? "after" : "before", at,
                 killed);
        count_kill(killed);
    } else {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && operation_total);
    }
    if (scene->companion) {
        mp_give(orders, &place.round, sizeof place.round);
        CHECK(hear(&companion, &note) && note.kind == DONE && note.round == place.round);
    }
    bool loop = scene->companion == be_loop;
    if (place.round % scene->look_every == 0) look(place.round, loop ? ROOST_ALIVE_YES : ROOST_ALIVE_NO, loop);
    return killed[0] || operation_total >= at; /* else it was inside that operation until the end */
}

static void sweep(const struct scene *which)
{
    uint32_t step = sweep_step ? sweep_step : mp_kind == ROOST_REGION_FILE ? FILE_STEP : 1;
    const char *name = mp_test;
    /* A process's death leaves the page cache as it is, whatever is below: where syncing takes no time there are more kills a second. */
    char fast[] = "/dev/shm/uv-crash-XXXXXX";
    folder = given_folder ? given_folder : mkdtemp(fast) ? fast : mp_folder;
    scene = which;
    mp_test = described;
    for (uint32_t i = 0; i < sweep_count; i++) {
        for (int after = 0; after < 2; after++)
            for (uint32_t at = 1 + i % step; one_kill(at, after); at += step) {}
    }
    end_root();
    if (folder == fast) CHECK(rmdir(fast) == 0);
    printf("     %s: %u kills at %u kinds of operations, 0 violations\n", name, kill_count, kind_count);
}

static void who_writes_alone(void) { sweep(&(struct scene){be_client, NULL, 1}); }
static void who_recovers(void) { sweep(&(struct scene){be_client, NULL, 4}); }
static void a_client_of_a_living_writer(void) { sweep(&(struct scene){be_client, be_holder, 1}); }
static void the_writer_under_a_client(void) { sweep(&(struct scene){be_writer, be_loop, 1}); }

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"who_writes_alone", who_writes_alone},
        {"who_recovers", who_recovers},
        {"a_client_of_a_living_writer", a_client_of_a_living_writer},
        {"the_writer_under_a_client", the_writer_under_a_client},
    };
    int left = 1;
    for (int i = 1; i < argc; i++) {
        bool rounds = strcmp(argv[i], "--rounds") == 0, step = strcmp(argv[i], "--step") == 0,
             place = strcmp(argv[i], "--folder") == 0;
        const char *value = (rounds || step || place) && i + 1 < argc ? argv[i + 1] : NULL;
        if (rounds && value) sweep_count = (uint32_t)atoi(value);
        if (step && value) sweep_step = (uint32_t)atoi(value);
        if (place) given_folder = value;
        if (argv[i][0] != '-') {
            argv[left++] = argv[i];
        } else if (!value || !sweep_count) {
            fprintf(stderr, "usage: %s [--rounds N] [--step N] [--folder DIR] [CASE...]\n", argv[0]);
            return 2;
        } else {
            i++;
        }
    }
    return mp_main(left, argv, cases, sizeof cases / sizeof cases[0]);
}
