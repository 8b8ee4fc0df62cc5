/* SPDX-License-Identifier: MIT
 * mp/test_rules.c: rules, one by one, that nothing else here tries for sure. Some protect a moment too short to be hit by chance: the
 * moment is made, by an operation of the test's own in the table of the system's, which there and only there does what another process
 * might do just then. Others hold against what only a process can do that does not go by the library: garbage in its lane, places in the
 * blocks that it was never given. */
#include <pthread.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "api/internal.h"
#include "base/check.h"
#include "base/hash.h"
#include "mp/mp.h"
#include "os/os.h"
#include "region/latch.h"

enum { LARGE = 100000, RECORD_TEXT = 4000 };

static struct rst_os table;
static uint32_t armed;
static void (*moment)(void);
static roost_root *one, *other;
static char text[RECORD_TEXT + 1];
static roost_id victim;
static struct mp_pipe told;

static void arm(void (*what)(void))
{
    moment = what;
    rst_store_seq_u32(&armed, 1);
}

/* The first operation that is the one waited for, and no other. */
static void reach(void)
{
    if (rst_cas_u32(&armed, 1, 0)) moment();
}

static int64_t write_large(int file, const void *from, size_t size, uint64_t offset)
{
    if (size == LARGE) reach();
    return rst_os_linux.pwrite(file, from, size, offset);
}

static int open_chunk(int directory, const char *name, unsigned flags, uint32_t mode)
{
    if (strncmp(name, "chunk_", 6) == 0) reach();
    return rst_os_linux.open(directory, name, flags, mode);
}

static int open_segment(int directory, const char *name, unsigned flags, uint32_t mode)
{
    if (strncmp(name, "seg-", 4) == 0) reach();
    return rst_os_linux.open(directory, name, flags, mode);
}

static int lock_byte(int file, uint64_t offset)
{
    reach();
    return rst_os_linux.lock_byte(file, offset);
}

static void begin(void)
{
    table = rst_os_linux;
    rst_os = &table;
    memset(text, 't', RECORD_TEXT);
}

static void keeps_victim(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    GIVES(0, roost_get(root, victim, &memory));
    CHECK(memory.text.size == RECORD_TEXT && memcmp(memory.text.data, text, RECORD_TEXT) == 0);
    roost_unpin(root, &memory.pin);
}

/* ---- R5: extents ---- */

static void lose_the_region(void)
{
    char path[256];
    CHECK(mp_region_path(path, sizeof path) && unlink(path) == 0);
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (!rst_region_named(rst_engine_region(other->engine)) && mp_now_ns() < deadline) poll(NULL, 0, 1);
    victim = mp_append(other, text);
}

/* A client that was given an extent writes into it when the region has been replaced: what was acknowledged since lies elsewhere. */
static void a_slow_client_of_a_lost_region_overwrites_nothing(void)
{
    begin();
    table.pwrite = write_large;
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    mp_append(other, "first");
    one = mp_open();
    char *large = malloc(LARGE);
    CHECK(large);
    memset(large, 'l', LARGE);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = (struct roost_bytes){(const uint8_t *)large, LARGE};
    roost_id id = 0;
    arm(lose_the_region);
    GIVES(0, roost_append(one, &memory, NULL, &id, NULL));
    CHECK(victim && id > victim);
    keeps_victim(one);
    keeps_victim(other);
    struct roost_memory got = ROOST_MEMORY_INIT;
    GIVES(0, roost_get(other, id, &got));
    CHECK(got.text.size == LARGE && memcmp(got.text.data, large, LARGE) == 0);
    roost_unpin(other, &got.pin);
    free(large);
    mp_close(one);
    mp_close(other);
    mp_check_root();
}

static int64_t write_something_else(int file, const void *from, size_t size, uint64_t offset)
{
    static char wrong[LARGE];
    if (size == LARGE) memset(wrong, 'w', sizeof wrong);
    return rst_os_linux.pwrite(file, size == LARGE ? wrong : from, size, offset);
}

/* A client promised other bytes than it put into its extent: that is its own loss, and nobody else's. */
static void a_payload_that_was_not_promised_is_refused(void)
{
    begin();
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    victim = mp_append(other, text);
    one = mp_open();
    table.pwrite = write_something_else;
    char *large = malloc(LARGE);
    CHECK(large);
    memset(large, 'l', LARGE);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = (struct roost_bytes){(const uint8_t *)large, LARGE};
    roost_id id = 0;
    GIVES(ROOST_EINVAL, roost_append(one, &memory, NULL, &id, NULL));
    table.pwrite = rst_os_linux.pwrite;
    GIVES(0, roost_append(one, &memory, NULL, &id, NULL));
    keeps_victim(one);
    CHECK(mp_stats(other).memory_count == 2);
    free(large);
    mp_close(one);
    mp_close(other);
    mp_check_root();
}

/* Submits a memory whose payload is said to lie at a place of the blocks already. */
static int submit_place(roost_root *root, uint32_t chunk, uint64_t offset, struct roost_bytes payload)
{
    struct rst_buffer submission = {0};
    struct rst_outcome outcome;
    struct rst_op op = {.kind = RST_OP_MEMORY, .flags = RST_OP_EXTERNAL, .chunk = chunk, .offset = offset};
    op.payload_hash = rst_hash(payload.data, payload.size, 0);
    rst_submission_begin(&submission);
    rst_submission_add(&submission, &op, rst_bytes(NULL, 0), rst_bytes(NULL, payload.size));
    GIVES(0, rst_submission_end(&submission, ROOST_DURABLE));
    int err = rst_submit_wait(root->engine, &submission, MP_PATIENCE_MS, NULL, 0, &outcome, NULL);
    rst_buffer_free(&submission);
    return err;
}

static void only_ones_own_extent_can_be_committed(void)
{
    begin();
    one = mp_open();
    other = mp_open();
    victim = mp_append(one, text);
    struct roost_location place = ROOST_LOCATION_INIT;
    GIVES(0, roost_locate(one, victim, &place));
    CHECK(place.text_offset == place.offset + sizeof(struct rst_record));
    struct roost_bytes payload = roost_text(text);
    GIVES(ROOST_EINVAL, submit_place(other, place.chunk, place.offset, payload)); /* a memory's */
    keeps_victim(one);
    /* One's own, and with the same bytes in it another's. */
    roost_root *roots[2] = {other, one};
    for (int i = 0; i < 2; i++) {
        struct rst_outcome outcome;
        uint64_t size = rst_record_size(0, RECORD_TEXT);
        GIVES(0, rst_request(other->engine, RST_OP_GRANT, size, 0, rst_bytes(NULL, 0), ROOST_PROCESS, MP_PATIENCE_MS, &outcome));
        uint32_t chunk = (uint32_t)(outcome.id >> 32), offset = (uint32_t)outcome.id;
        GIVES(0, rst_blocks_write(&other->engine->blocks, chunk, offset + sizeof(struct rst_record), text, RECORD_TEXT));
        GIVES(i ? ROOST_EINVAL : 0, submit_place(roots[i], chunk, offset, payload));
        GIVES(ROOST_EINVAL, submit_place(other, chunk, i ? offset + 8 : offset, payload)); /* not there, or used already */
    }
    keeps_victim(other);
    mp_close(one);
    mp_close(other);
    mp_check_root();
}

/* A client writes into its extent what looks like a record there, and never commits it: a rebuild must not take it for one. */
static void what_lies_in_a_void_is_no_record(void)
{
    begin();
    one = mp_open();
    mp_append(one, "first");
    mp_close(one); /* its closing frame has an LSN of its own, and no record */
    one = mp_open();
    victim = mp_append(one, text);
    struct rst_writer_state writer;
    struct rst_outcome outcome;
    CHECK(rst_region_read_writer(rst_engine_region(one->engine), &writer));
    GIVES(0, rst_request(one->engine, RST_OP_GRANT, LARGE, 0, rst_bytes(NULL, 0), ROOST_PROCESS, MP_PATIENCE_MS, &outcome));
    uint32_t chunk = (uint32_t)(outcome.id >> 32), offset = (uint32_t)outcome.id + sizeof(struct rst_record);
    struct {
        struct rst_record record;
        char payload[8];
    } forged = {{.kind = RST_RECORD_MEMORY, .number = 1000000, .lsn = 2, .epoch = writer.epoch, .payload_size = 6}, "forged"};
    forged.record.payload_hash = rst_hash(forged.payload, 6, 0);
    rst_record_seal(&forged.record, NULL, chunk, offset);
    GIVES(0, rst_blocks_write(&one->engine->blocks, chunk, offset, &forged, sizeof forged));
    mp_append(one, "last");
    GIVES(0, roost_rebuild(one));
    CHECK(mp_stats(one).memory_count == 3 && mp_find(one, "forged", NULL) == 0);
    keeps_victim(one);
    mp_close(one);
    mp_check_root();
}

/* ---- R6: space ---- */

static int no_new_segment(int directory, const char *name, unsigned flags, uint32_t mode)
{
    if (strncmp(name, "seg-", 4) == 0 && (flags & RST_OPEN_CREATE)) return -ENOSPC;
    return rst_os_linux.open(directory, name, flags, mode);
}

/* Nobody has the region mapped: its path is seen by another's eyes. */
static void lose_the_region_of_the_dead(void)
{
    roost_root *observer = mp_open_with(ROOST_OPEN_OBSERVE, 20000, 0);
    char path[256];
    CHECK(mp_region_path(path, sizeof path));
    mp_close(observer);
    CHECK(unlink(path) == 0);
}

static int fills_the_log(void *argument)
{
    (void)argument;
    begin();
    one = mp_open();
    uint64_t count = 0;
    char *words = malloc(LARGE / 2 + 1);
    CHECK(words);
    for (uint32_t i = 0, random = 1; i < LARGE / 2; i++) { /* one word, which no compression makes shorter */
        random = random * 1664525 + 1013904223;
        words[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789xy"[random >> 26];
    }
    words[LARGE / 2] = '\0';
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text(words);
    table.open = no_new_segment;
    int err;
    while ((err = roost_append(one, &memory, NULL, NULL, NULL)) == 0 && count < 1000) count++;
    CHECK(err == ROOST_ENOSPC && count > 10);
    GIVES(ROOST_ENOSPC, roost_append(one, &memory, NULL, NULL, NULL));
    if (rst_load_seq_u32(&armed)) { /* the folder is writable again: at once all goes on */
        table.open = rst_os_linux.open;
        GIVES(0, roost_append(one, &memory, NULL, NULL, NULL));
        count++;
    }
    mp_give(told, &count, sizeof count);
    raise(SIGKILL);
    return 1;
}

/* As long as no checkpoint can be made the ring is not written over: what was acknowledged is there after every crash. */
static void a_log_that_cannot_be_freed_is_not_written_over(void)
{
    for (uint32_t goes_on = 0; goes_on < 2; goes_on++) {
        static uint64_t before;
        uint64_t count;
        told = mp_pipe();
        rst_store_seq_u32(&armed, goes_on);
        pid_t pid = mp_start(fills_the_log, NULL);
        mp_take(told, &count, sizeof count);
        mp_kill(pid);
        lose_the_region_of_the_dead();
        one = mp_open();
        CHECK(mp_stats(one).memory_count == before + count);
        before += count;
        GIVES(0, roost_checkpoint(one));
        mp_close(one);
        mp_check_root();
    }
}

enum { WORDS = 5000 }; /* in a memory, all different; they take far more of the live segment than of the log */

static void append_words(roost_root *root, uint32_t number)
{
    static char words[WORDS * 10 + 1];
    for (uint32_t i = 0; i < WORDS; i++) snprintf(words + i * 10, 11, "w%08u ", number * WORDS + i);
    mp_append(root, words);
}

/* The live segment is full long before the log is half full: then a checkpoint comes first. */
static void an_arena_that_fills_up_makes_room_first(void)
{
    enum { MEMORIES = 40 };
    begin();
    one = mp_open();
    for (uint32_t i = 0; i < MEMORIES; i++) append_words(one, i);
    CHECK(mp_stats(one).memory_count == MEMORIES);
    CHECK(mp_find(one, "w00000000", NULL) == 1 && mp_find(one, "w00199999", NULL) == 1);
    mp_close(one);
    mp_check_root();
}

/* ---- R11: attaching ---- */

static void close_other(void) { mp_close(other); }

/* The last one leaves between an attacher's look at the region and its byte lock. */
static void a_region_that_goes_while_attaching_is_noticed(void)
{
    begin();
    table.lock_byte = lock_byte;
    other = mp_open();
    roost_id id = mp_append(other, "first");
    arm(close_other);
    one = mp_open();
    CHECK(!armed && rst_region_current(rst_engine_region(one->engine)));
    struct roost_memory memory = ROOST_MEMORY_INIT;
    GIVES(0, roost_get(one, id, &memory));
    roost_unpin(one, &memory.pin);
    mp_append(one, "second");
    mp_close(one);
    mp_check_root();
}

/* ---- R13: lanes ---- */

static int die_before_the_bell(const uint32_t *word, uint32_t count)
{
    reach();
    return rst_os_linux.futex_wake(word, count);
}

static void die(void) { raise(SIGKILL); }

static int dies_with_a_submission(void *argument)
{
    (void)argument;
    begin();
    one = mp_open();
    mp_append(one, "first");
    GIVES(0, roost_rest(one));
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (mp_stats(one).writer_pid && mp_now_ns() < deadline) poll(NULL, 0, 1);
    uint64_t client = rst_engine_client(one->engine), sequence = one->engine->lane.sequence + 1;
    struct roost_receipt receipt = {client, sequence, 0, 0};
    mp_give(told, &receipt, sizeof receipt);
    roost_batch *batch;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("handed over");
    GIVES(0, roost_batch_open(&batch));
    GIVES(0, roost_batch_append(batch, &memory));
    table.futex_wake = die_before_the_bell;
    arm(die);
    GIVES(0, roost_submit(one, batch, NULL, NULL, NULL));
    return 1;
}

/* It lies in the lane, and nobody was told of it: whoever gets the lane, as the last one that is left, does it first. */
static void a_lane_is_drained_before_it_is_used_again(void)
{
    static roost_root *roots[RST_SLOT_STAY_COUNT];
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    if (files.rlim_max < 8 * RST_SLOT_STAY_COUNT) {
        printf("     too few descriptors are allowed here\n");
        return;
    }
    files.rlim_cur = files.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    told = mp_pipe();
    pid_t pid = mp_start(dies_with_a_submission, NULL);
    struct roost_receipt receipt;
    mp_take(told, &receipt, sizeof receipt);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    for (size_t i = 0; i < RST_COUNT_OF(roots); i++) {
        CHECK(!i || mp_stats(roots[0]).memory_count == 1);
        roots[i] = mp_open();
    }
    CHECK(mp_find(roots[0], "handed", NULL) == 1);
    GIVES(0, roost_settle(roots[0], &receipt, MP_PATIENCE_MS));
    for (size_t i = 0; i < RST_COUNT_OF(roots); i++) mp_close(roots[i]);
    mp_check_root();
}

/* ---- R14: the latch ---- */

enum { LATCH_WORDS = 512, LATCH_CHANGES = 2000 };
static uint64_t latch_sequence, latch_copies[2 * LATCH_WORDS], changes;

static void change_value(int number)
{
    (void)number;
    uint64_t value[LATCH_WORDS];
    for (int again = 0; again < 3; again++) {
        rst_store_u64(&changes, rst_load_u64(&changes) + 1);
        for (size_t i = 0; i < LATCH_WORDS; i++) value[i] = rst_load_u64(&changes);
        rst_latch_write((struct rst_latch){&latch_sequence, latch_copies, LATCH_WORDS}, value, LATCH_WORDS);
    }
}

/* A signal comes while the value is read, as a writer on another core would: both copies are written anew. */
static void a_value_that_changes_while_it_is_read_is_not_torn(void)
{
    struct sigaction action = {.sa_handler = change_value};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    uint64_t value[LATCH_WORDS];
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (uint64_t last = 0; last < LATCH_CHANGES && mp_now_ns() < deadline; last = value[0]) {
        CHECK(rst_latch_read((struct rst_latch){&latch_sequence, latch_copies, LATCH_WORDS}, value, LATCH_WORDS));
        CHECK(value[0] >= last);
        for (size_t i = 1; i < LATCH_WORDS; i++) CHECK(value[i] == value[0]);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0 && rst_load_u64(&changes) >= LATCH_CHANGES);
}

/* ---- R15: garbage ---- */

static void garbage_in_a_lane_hurts_nobody(void)
{
    begin();
    one = mp_open();
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    victim = mp_append(one, text);
    mp_append(other, "second");
    const struct rst_region *region = rst_engine_region(one->engine);
    struct rst_lane *lane = one->engine->lane.lane;
    uint64_t begins = (uint64_t)((uint8_t *)lane - region->base), total = region->header->total_size;
    struct {
        uint64_t offset;
        uint32_t size, result_count;
    } garbage[] = {
        {UINT64_C(1) << 40, 100, 1},
        {UINT64_MAX - 7, 100, 1},
        {total, 4096, 1},
        {total - 8, 4096, 1},
        {begins + offsetof(struct rst_lane, data) + 4, 100, 1},
        {begins + offsetof(struct rst_lane, data), UINT32_MAX, 1},
        {begins + offsetof(struct rst_lane, data), 100, UINT32_MAX},
        {region->header->pool_offset, 100, UINT32_MAX},
        {region->header->pool_offset - 8, 100, 1},
        {0, UINT32_MAX, UINT32_MAX},
    };
    for (size_t i = 0; i < RST_COUNT_OF(garbage); i++) {
        uint64_t sequence = lane->submitted + 1;
        struct rst_lane_entry *entry = &lane->entries[sequence % RST_LANE_ENTRY_COUNT];
        entry->offset = garbage[i].offset;
        entry->size = garbage[i].size;
        entry->result_count = garbage[i].result_count;
        entry->result = 0;
        rst_store_u64(&entry->word, sequence << 3 | RST_LANE_SUBMITTED);
        rst_store_seq_u64(&lane->submitted, sequence);
        mp_append(other, "beside it");
        CHECK(rst_load_u64(&entry->word) == (sequence << 3 | RST_LANE_DONE) && entry->result == ROOST_ECORRUPT);
    }
    keeps_victim(other);
    mp_close(one);
    mp_close(other);
    mp_check_root();
}

/* What stands in the header's first part is asked for once, by whoever attaches. */
static void a_damaged_header_leads_nobody_astray(void)
{
    begin();
    one = mp_open();
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    victim = mp_append(one, text);
    uint8_t *header = (uint8_t *)rst_engine_region(one->engine)->header;
    size_t begins = offsetof(struct rst_region_header, uid), size = offsetof(struct rst_region_header, ready) - begins;
    uint8_t before[sizeof(struct rst_region_header)];
    memcpy(before, header + begins, size);
    char *large = calloc(1, 200001);
    memset(large, 'l', 200000);
    for (int garbage = 0; garbage < 4; garbage++) {
        memset(header + begins, (int[]){0xff, 0, 0x7f, 8}[garbage], size);
        mp_append(one, "beside it");
        mp_append(other, large);
        GIVES(0, roost_kv_set(one, roost_text("large"), roost_text(large), NULL, NULL));
        struct roost_state state = ROOST_STATE_INIT;
        state.name = roost_text((const char *[]){"ada", "bob", "eve", "zoe"}[garbage]);
        GIVES(0, roost_state_publish(one, &state, NULL));
        keeps_victim(other);
        CHECK(mp_stats(one).arena_size == mp_stats(other).arena_size && mp_stats(one).arena_size > 1 << 16);
        GIVES(0, roost_checkpoint(other));
    }
    memcpy(header + begins, before, size);
    free(large);
    mp_close(one);
    mp_close(other);
    mp_check_root();
}

/* ---- R22: decided once ---- */

enum { EXPIRES_MS = 2000 };
static roost_batch *refused, *accepted;
static struct roost_receipt receipts[2];

static int sync_file(int file)
{
    bool last = rst_load_seq_u32(&armed) && moment == die;
    int err = rst_os_linux.fdatasync(file);
    if (last && !err) mp_give(told, receipts, sizeof receipts);
    reach();
    return err;
}

/* While the holder is in a commit of its own: the two are one group then. */
static void submit_both(void)
{
    GIVES(0, roost_submit(one, refused, NULL, NULL, &receipts[0]));
    GIVES(0, roost_submit(one, accepted, NULL, NULL, &receipts[1]));
    arm(die);
}

static int dies_with_a_decision(void *argument)
{
    (void)argument;
    begin();
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    one = mp_open();
    mp_append(other, "first");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct roost_write write = ROOST_WRITE_INIT, fresh = ROOST_WRITE_INIT;
    write.expires_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec + EXPIRES_MS * INT64_C(1000000);
    GIVES(0, roost_kv_set(other, roost_text("key"), roost_text("there"), &write, NULL));
    fresh.flags = ROOST_WRITE_IF_VERSION; /* 0: only if there is none */
    struct roost_memory memory = ROOST_MEMORY_INIT;
    memory.text = roost_text("accepted");
    GIVES(0, roost_batch_open(&refused));
    GIVES(0, roost_batch_open(&accepted));
    GIVES(0, roost_batch_kv_set(refused, roost_text("key"), roost_text("late"), &fresh));
    GIVES(0, roost_batch_append(accepted, &memory));
    table.fdatasync = sync_file;
    arm(submit_both);
    mp_append(other, "second");
    poll(NULL, 0, MP_PATIENCE_MS);
    return 1;
}

/* The writer dies between the sync of a frame and its answers. What was refused stays refused, though by now it would be accepted. */
static void an_heir_decides_nothing_again(bool cold)
{
    told = mp_pipe();
    pid_t pid = mp_start(dies_with_a_decision, NULL);
    mp_take(told, receipts, sizeof receipts);
    mp_kill(pid);
    poll(NULL, 0, EXPIRES_MS + 100);
    if (cold) lose_the_region_of_the_dead();
    one = mp_open();
    GIVES(ROOST_EMISMATCH, roost_settle(one, &receipts[0], MP_PATIENCE_MS));
    GIVES(0, roost_settle(one, &receipts[1], MP_PATIENCE_MS));
    CHECK(mp_find(one, "accepted", NULL) == 1);
    struct roost_item item = ROOST_ITEM_INIT;
    GIVES(ROOST_ENOENT, roost_kv_get(one, roost_text("key"), &item));
    mp_close(one);
    mp_check_root();
}

static void an_heir_does_not_decide_again(void) { an_heir_decides_nothing_again(false); }
static void a_replay_does_not_decide_again(void) { an_heir_decides_nothing_again(true); }

/* ---- R19: an heir answers all, not only what is in the frame ---- */

static struct mp_pipe asked;

/* In a commit of its own: what others ask meanwhile is the next group. */
static void let_others_ask(void)
{
    mp_tell(told, 'c');
    mp_await(asked, 'a');
    arm(die);
}

static int dies_with_a_group(void *argument)
{
    (void)argument;
    begin();
    other = mp_open_with(ROOST_OPEN_HOLD, 20000, 0);
    mp_append(other, "first");
    table.fdatasync = sync_file;
    arm(let_others_ask);
    mp_append(other, "second");
    poll(NULL, 0, MP_PATIENCE_MS);
    return 1;
}

static void *ask_for_a_sync(void *argument)
{
    GIVES(0, roost_sync(one));
    rst_store_u32(argument, 1);
    return NULL;
}

/* A request and then a write, in one lane and one group; the writer dies when the frame, which holds the write alone, is synced. */
static void a_request_before_a_write_is_answered_by_the_heir(void)
{
    told = mp_pipe();
    asked = mp_pipe();
    pid_t pid = mp_start(dies_with_a_group, NULL);
    mp_await(told, 'c');
    one = mp_open();
    pthread_t thread;
    uint32_t answered = 0;
    CHECK(pthread_create(&thread, NULL, ask_for_a_sync, &answered) == 0);
    int64_t deadline = mp_now_ns() + MP_PATIENCE_MS * INT64_C(1000000);
    while (!rst_load_u64(&one->engine->lane.lane->submitted) && mp_now_ns() < deadline) poll(NULL, 0, 1);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_completion landed = ROOST_COMPLETION_INIT;
    memory.text = roost_text("behind the request");
    GIVES(0, roost_batch_open(&accepted));
    GIVES(0, roost_batch_append(accepted, &memory));
    GIVES(0, roost_submit(one, accepted, NULL, NULL, NULL));
    mp_tell(asked, 'a');
    mp_take(told, receipts, sizeof receipts);
    mp_kill(pid);
    GIVES(1, roost_poll(one, &landed, 1, MP_PATIENCE_MS));
    CHECK(landed.result == 0);
    while (!rst_load_u32(&answered)) CHECK(poll(NULL, 0, 1) == 0 && mp_now_ns() < deadline);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(mp_find(one, "behind", NULL) == 1);
    roost_batch_free(accepted);
    mp_close(one);
    mp_check_root();
}

/* ---- R23: snapshots ---- */

static void recycle_the_arena(void)
{
    GIVES(0, roost_checkpoint(other));
    mp_append(other, "a heron of another arena");
    GIVES(0, roost_checkpoint(other));
    for (int i = 0; i < 50; i++) mp_append(other, "nothing of the kind, in the arena that the reader reads");
}

/* A search reads texts while it works, for phrases: there both arenas are used anew. */
static void a_reader_notices_that_its_arena_was_recycled(void)
{
    begin();
    other = mp_open();
    victim = mp_append(other, text);
    for (int i = 0; i < 10; i++) mp_append(other, "the grey heron sleeps standing");
    one = mp_open();
    table.open = open_chunk;
    arm(recycle_the_arena);
    CHECK(mp_find(one, "\"heron sleeps\"", NULL) == 10);
    CHECK(!armed);
    CHECK(mp_find(one, "heron", NULL) == 11);
    mp_close(one);
    mp_close(other);
}

static void merge_the_segments(void)
{
    mp_append(other, "the second heron");
    GIVES(0, roost_checkpoint(other));
}

/* Between a reader's look at MANIFEST and at a segment in it that segment is merged into another. */
static void a_segment_that_was_merged_away_is_no_damage(void)
{
    begin();
    other = mp_open();
    mp_append(other, "the first heron");
    GIVES(0, roost_checkpoint(other));
    one = mp_open();
    table.open = open_segment;
    arm(merge_the_segments);
    size_t found = mp_find(one, "heron", NULL);
    CHECK(!armed && found >= 1);
    CHECK(mp_find(one, "heron", NULL) == 2);
    mp_close(one);
    mp_close(other);
}

/* ---- R24: tombstones ---- */

static void expect_deleted(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_item item = ROOST_ITEM_INIT;
    GIVES(ROOST_ENOENT, roost_get(root, victim, &memory));
    GIVES(ROOST_ENOENT, roost_kv_get(root, roost_text("key"), &item));
    CHECK(mp_find(root, text, NULL) == 0);
}

/* A large segment is not merged with the small ones after it: what they say was deleted in it must stay said. */
static void a_small_segment_keeps_the_tombstones_of_a_large_one(void)
{
    begin();
    strcpy(text, "heron");
    one = mp_open();
    victim = mp_append(one, text);
    GIVES(0, roost_kv_set(one, roost_text("key"), roost_text("value"), NULL, NULL));
    for (uint32_t i = 0; i < 8; i++) append_words(one, i);
    GIVES(0, roost_checkpoint(one));
    GIVES(0, roost_forget(one, victim, NULL, NULL));
    GIVES(0, roost_kv_delete(one, roost_text("key"), NULL, NULL));
    for (int i = 0; i < 2; i++) {
        GIVES(0, roost_checkpoint(one));
        CHECK(mp_stats(one).segment_count == 2);
        expect_deleted(one);
        mp_append(one, "to be merged with the small one");
    }
    mp_close(one);
    one = mp_open();
    expect_deleted(one);
    mp_close(one);
    mp_check_root();
}

/* ---- R24: forgotten is no damage ---- */

static void forget_and_wipe(void)
{
    struct roost_location place = ROOST_LOCATION_INIT;
    GIVES(0, roost_locate(other, victim, &place));
    GIVES(0, roost_forget(other, victim, NULL, NULL));
    char path[256], zeros[sizeof(struct rst_record)] = {0};
    snprintf(path, sizeof path, "%s/blocks/chunk_%04u.bin", mp_root, place.chunk);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && pwrite(file, zeros, sizeof zeros, (off_t)place.offset) == (ssize_t)sizeof zeros && close(file) == 0);
}

/* Between a reader's look at the index and at the record the memory is forgotten, and its bytes wiped out as compaction will do. */
static void a_memory_that_was_forgotten_is_no_damage(void)
{
    begin();
    other = mp_open();
    victim = mp_append(other, text);
    one = mp_open();
    table.open = open_chunk;
    arm(forget_and_wipe);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    GIVES(ROOST_ENOENT, roost_get(one, victim, &memory));
    CHECK(!armed);
    mp_close(one);
    mp_close(other);
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {
        {"a_slow_client_of_a_lost_region_overwrites_nothing", a_slow_client_of_a_lost_region_overwrites_nothing},
        {"a_payload_that_was_not_promised_is_refused", a_payload_that_was_not_promised_is_refused},
        {"only_ones_own_extent_can_be_committed", only_ones_own_extent_can_be_committed},
        {"what_lies_in_a_void_is_no_record", what_lies_in_a_void_is_no_record},
        {"a_log_that_cannot_be_freed_is_not_written_over", a_log_that_cannot_be_freed_is_not_written_over},
        {"an_arena_that_fills_up_makes_room_first", an_arena_that_fills_up_makes_room_first},
        {"a_region_that_goes_while_attaching_is_noticed", a_region_that_goes_while_attaching_is_noticed},
        {"a_lane_is_drained_before_it_is_used_again", a_lane_is_drained_before_it_is_used_again},
        {"a_value_that_changes_while_it_is_read_is_not_torn", a_value_that_changes_while_it_is_read_is_not_torn},
        {"garbage_in_a_lane_hurts_nobody", garbage_in_a_lane_hurts_nobody},
        {"a_damaged_header_leads_nobody_astray", a_damaged_header_leads_nobody_astray},
        {"an_heir_does_not_decide_again", an_heir_does_not_decide_again},
        {"a_replay_does_not_decide_again", a_replay_does_not_decide_again},
        {"a_request_before_a_write_is_answered_by_the_heir", a_request_before_a_write_is_answered_by_the_heir},
        {"a_reader_notices_that_its_arena_was_recycled", a_reader_notices_that_its_arena_was_recycled},
        {"a_segment_that_was_merged_away_is_no_damage", a_segment_that_was_merged_away_is_no_damage},
        {"a_small_segment_keeps_the_tombstones_of_a_large_one", a_small_segment_keeps_the_tombstones_of_a_large_one},
        {"a_memory_that_was_forgotten_is_no_damage", a_memory_that_was_forgotten_is_no_damage},
    };
    return mp_main(argc, argv, cases, RST_COUNT_OF(cases));
}
