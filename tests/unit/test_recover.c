/* SPDX-License-Identifier: MIT
 * tests/unit/test_recover.c: recovery from logs, regions and MANIFESTs that no run leaves by itself, made by hand on the simulated
 * machine: a log that holds more than an arena, frames that do not continue what was read, a log that was cut, a checkpoint half known to
 * the region. What runs leave is crash/explore.c's and crash/recover_nth.c's. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "base/bytes.h"
#include "base/check.h"
#include "format/log.h"
#include "region/latch.h"
#include "region/layout.h"
#include "sim/sim.h"

enum {
    RESERVE = 64 << 20,
    LOG_SIZE = 1 << 20,
    SMALL_LOG = 64 << 10,
    ARENA_SIZE = 4 << 20,
    CHUNK_SIZE = 4 << 20,
    TEXT_SIZE = 200
};
#define ROOT "/root"

static struct sim *sim;
static uint32_t open_flags;       /* of open_root */
static uint64_t ids[1024], count; /* of the memories that were acknowledged */

static void use(struct sim *next)
{
    sim_destroy(sim);
    sim = next;
    sim_use(sim);
}

static void begin(uint64_t log_size)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    settings.log_size = log_size;
    settings.chunk_size = CHUNK_SIZE;
    settings.arena_size = ARENA_SIZE;
    settings.region = ROOST_REGION_FILE;
    sim = NULL;
    count = open_flags = 0;
    use(sim_create_sized(1, RESERVE));
    ck_assert_int_eq(rst_root_create(ROOT, &settings), 0);
}

static void end(void)
{
    sim_destroy(sim);
    sim_use(NULL);
}

static int open_as(uint32_t flags, roost_root *ret_root)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = flags;
    sim_process_use(sim, sim_process_create(sim));
    return rst_engine_open(ROOT, &options, true, &ret_root->engine);
}

static roost_root open_root(void)
{
    roost_root root;
    int err = open_as(open_flags, &root);
    ck_assert_msg(err == 0, "%s: %s", roost_error_name(err), roost_error_detail());
    return root;
}

static void close_root(roost_root *root) { ck_assert_int_eq(rst_engine_close(root->engine), 0); }

/* Texts of which no two have a word in common, so that they fill an arena sooner than a log. */
static struct roost_bytes text_of(uint64_t serial)
{
    static char text[TEXT_SIZE + 1];
    size_t used = 0;
    for (unsigned i = 0; used < TEXT_SIZE; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "w%llux%u ", (unsigned long long)serial, i);
    return rst_bytes(text, TEXT_SIZE);
}

static void append(roost_root *root, uint32_t level)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = level;
    memory.text = text_of(count);
    int err = roost_append(root, &memory, &write, &ids[count], NULL);
    ck_assert_msg(err == 0, "%s: %s", roost_error_name(err), roost_error_detail());
    ck_assert(count == 0 || ids[count] > ids[count - 1]);
    count++;
}

static void append_some(unsigned how_many)
{
    roost_root root = open_root();
    for (unsigned i = 0; i < how_many; i++) append(&root, i + 1 < how_many ? ROOST_PROCESS : ROOST_DURABLE);
    /* Not closed: its process dies with whatever the test does next. */
}

/* All of it is there, once, and whole. */
static void expect_all(roost_root *root)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    for (uint64_t i = 0; i < count; i++) {
        struct roost_memory memory = ROOST_MEMORY_INIT;
        int err = roost_get(root, ids[i], &memory);
        ck_assert_msg(err == 0, "%d of %d: %s", (int)i, (int)count, roost_error_detail());
        ck_assert(rst_bytes_equal(memory.text, text_of(i)));
        roost_unpin(root, &memory.pin);
    }
    ck_assert_int_eq(roost_stats(root, &stats), 0);
    ck_assert_uint_eq(stats.memory_count, count);
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    char word[32];
    snprintf(word, sizeof word, "w%llux3", (unsigned long long)count - 1);
    query.text = roost_text(word);
    ck_assert_int_eq(roost_search(root, &query, &hits), 0);
    ck_assert_uint_eq(roost_hits_count(hits), count ? 1 : 0);
    roost_hits_close(hits);
}

static void print_finding(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    printf("%s %s %llu: %s\n", roost_error_name(error), file, (unsigned long long)offset, detail);
}

static void expect_whole_root(void)
{
    roost_root root = open_root();
    int err = roost_sync(&root); /* takes the role, and so inherits it */
    ck_assert_msg(err == 0, "%s: %s", roost_error_name(err), roost_error_detail());
    expect_all(&root);
    ck_assert_int_eq(roost_check(&root, print_finding, NULL), 0);
    append(&root, ROOST_DURABLE);
    expect_all(&root);
    close_root(&root);
}

/* ---- looking at the log and changing it under everybody's feet ---- */

static void read_log(uint64_t offset, void *to, size_t size)
{
    ck_assert_int_eq(sim_read_file(sim, ROOT "/state.wal", to, size, offset), (int64_t)size);
}

static void change_log(uint64_t offset, const void *from, size_t size)
{
    ck_assert_int_eq(sim_corrupt(sim, ROOT "/state.wal", offset, from, size), 0);
}

/* The newest frame, and where the next one would begin. Of a log that has not gone round. */
static uint64_t last_frame(uint64_t log_size, struct rst_frame_header *ret_header)
{
    struct rst_frame_header header;
    uint64_t position = 0;
    memset(ret_header, 0, sizeof *ret_header);
    for (;;) {
        read_log(RST_LOG_RING_OFFSET + position, &header, sizeof header);
        if (!rst_frame_plausible(&header, position, log_size)) return position;
        *ret_header = header;
        position += rst_align_up(header.size, RST_FRAME_ALIGNMENT);
    }
}

/* A frame without changes that continues the log, as a writer would have written it. */
static struct rst_frame_header next_frame(uint64_t log_size)
{
    struct rst_frame_header last;
    uint64_t position = last_frame(log_size, &last);
    last.position = position;
    last.lsn_first = last.lsn_last = last.lsn_last + 1;
    last.durable_lsn = 0;
    last.flags = last.entry_count = last.consumed_count = 0;
    return last;
}

static void put_frame(struct rst_frame_header header, const struct rst_buffer *body)
{
    struct rst_buffer bytes = {0};
    ck_assert_int_eq(rst_frame_encode(&header, body, &bytes), 0);
    change_log(RST_LOG_RING_OFFSET + header.position, bytes.data, bytes.size);
    rst_buffer_free(&bytes);
}

static uint64_t ended_epoch(void)
{
    struct rst_log_header slots[2];
    read_log(0, slots, sizeof slots);
    bool second = rst_log_header_check(&slots[1]) == 0 && slots[1].sequence > slots[0].sequence;
    return slots[second].epoch;
}

static void lose_the_region(void)
{
    use(sim_process_loss(sim));
    int directory = rst_os->open(-1, ROOT, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_os->unlink(directory, "region"), 0);
    rst_os->close(directory);
}

/* ---- a log that holds more than an arena ---- */

enum { SMALL_ARENA = 256 << 10 };

/* As when a root is opened where /dev/shm is smaller than where it was written. */
static void shrink_the_arena(void)
{
    struct rst_log_header slots[2];
    read_log(0, slots, sizeof slots);
    for (int i = 0; i < 2; i++) {
        slots[i].arena_size = SMALL_ARENA;
        rst_log_header_seal(&slots[i]);
    }
    change_log(0, slots, sizeof slots);
}

static void more_than_an_arena(void)
{
    begin(LOG_SIZE);
    append_some(500);
    sim_sync_all(sim);
    use(sim_power_loss(sim, 1));
    shrink_the_arena();
}

START_TEST(a_log_that_holds_more_than_an_arena)
{
    roost_root observer;
    more_than_an_arena();
    ck_assert_int_eq(open_as(ROOST_OPEN_OBSERVE, &observer), ROOST_EROFS);
    ck_assert_ptr_nonnull(strstr(roost_error_detail(), "its log holds more than fits a view"));
    roost_root root = open_root();
    struct roost_stats stats = ROOST_STATS_INIT;
    ck_assert_int_eq(roost_stats(&root, &stats), 0);
    ck_assert_uint_ge(stats.segment_count, 1); /* a part became a file on the way */
    expect_all(&root);
    close_root(&root);
    expect_whole_root();
    end();
}
END_TEST

/* Opens a copy of the machine with each of its operations failing, and then without. */
static void fail_everywhere(uint64_t stride)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM};
    struct sim *machine = sim;
    uint64_t operations = 1, acknowledged = count;
    for (uint64_t at = 0; at <= operations; at += at ? stride : 1) {
        roost_root root;
        sim = NULL;
        use(sim_process_loss(machine));
        count = acknowledged;
        sim_reset_operation_count(sim);
        if (at) sim_fail_at(sim, at, errors[at % RST_COUNT_OF(errors)], at / 4 % 2);
        int err = open_as(open_flags, &root);
        if (!err) err = roost_sync(&root);
        ck_assert(at || !err);
        if (!at) operations = sim_operation_count(sim);
        sim_fail_at(sim, 0, 0, false);
        use(sim_process_loss(sim));
        expect_whole_root();
        sim_destroy(sim);
    }
    sim = machine;
    sim_use(sim);
    count = acknowledged;
}

START_TEST(each_step_of_that_may_fail)
{
    more_than_an_arena();
    fail_everywhere(7);
    end();
}
END_TEST

/* ---- frames that do not continue what was read ---- */

START_TEST(a_frame_that_does_not_continue_the_log_is_dropped)
{
    enum { RIGHT, LOWER_EPOCH, LSN_AGAIN, IDS_AGAIN, CASE_COUNT };
    for (int region = 0; region < 2; region++)
        for (int i = 0; i < CASE_COUNT; i++) {
            struct rst_buffer nothing = {0};
            begin(SMALL_LOG);
            append_some(3);
            use(sim_process_loss(sim));
            append_some(3);
            if (region)
                use(sim_process_loss(sim));
            else
                lose_the_region();
            struct rst_frame_header header = next_frame(SMALL_LOG);
            ck_assert_uint_gt(header.epoch, 1);
            uint64_t lsn = header.lsn_last, epoch = header.epoch, position = header.position;
            if (i == LOWER_EPOCH) header.epoch--;
            if (i == LSN_AGAIN) header.lsn_first--;
            if (i == IDS_AGAIN && !region) header.id_next--;
            if (i == IDS_AGAIN && region) header.lsn_first++, header.lsn_last++; /* an heir: exactly the next one */
            put_frame(header, &nothing);
            roost_root root = open_root();
            append(&root, ROOST_DURABLE);
            struct rst_frame_header found;
            read_log(RST_LOG_RING_OFFSET + position, &found, sizeof found);
            /* What was taken stays; what was not is written over. */
            ck_assert_msg((found.lsn_first == lsn && found.epoch == epoch && found.entry_count == 0) == (i == RIGHT),
                          "case %d, region %d", i, region);
            expect_all(&root);
            close_root(&root);
            ck_assert_uint_gt(ended_epoch(), epoch);
            expect_whole_root();
            end();
        }
}
END_TEST

/* A frame that would run into the one where replay began: its last sector is that one, as it stands there. */
START_TEST(a_frame_longer_than_a_lap_is_none)
{
    for (int region = 0; region < 2; region++) {
        begin(SMALL_LOG);
        append_some(1);
        if (region)
            use(sim_process_loss(sim));
        else
            lose_the_region();
        uint8_t first[RST_FRAME_ALIGNMENT];
        struct rst_buffer body = {0}, bytes = {0};
        struct rst_frame_header header = next_frame(SMALL_LOG);
        uint64_t size = SMALL_LOG - header.position + RST_FRAME_ALIGNMENT, noise = 1;
        while (body.size < size - sizeof header - sizeof first)
            rst_buffer_add_u8(&body, (uint8_t)((noise = noise * UINT64_C(6364136223846793005) + 1) >> 56));
        read_log(RST_LOG_RING_OFFSET, first, sizeof first);
        rst_buffer_add(&body, first, sizeof first);
        ck_assert_int_eq(rst_frame_encode(&header, &body, &bytes), 0);
        ck_assert_uint_eq(bytes.size, size);
        change_log(RST_LOG_RING_OFFSET + header.position, bytes.data, SMALL_LOG - header.position);
        rst_buffer_free(&body);
        rst_buffer_free(&bytes);
        expect_whole_root();
        struct rst_frame_header found; /* what came next was written in its place */
        read_log(RST_LOG_RING_OFFSET + header.position, &found, sizeof found);
        ck_assert_uint_eq(found.position, header.position);
        ck_assert_uint_ne(found.checksum, header.checksum);
        end();
    }
}
END_TEST

/* ---- a log that somebody cut short ---- */

enum beyond { A_VOID = 1, OF_AN_OLD_LSN = 2, OF_AN_OLD_EPOCH = 4, OF_A_LATER_COMMIT = 8, TO_THE_END = 16 };

/* Records behind the tail of the blocks, as the frames that are missing would have left them. */
static void put_records(const struct rst_frame_header *last, unsigned kinds)
{
    uint64_t offset = last->chunk_tail, size = (uint64_t)sim_file_size(sim, ROOT "/blocks/chunk_0000.bin");
    for (unsigned kind = 1; kind <= TO_THE_END; kind *= 2) {
        struct rst_record record = {.kind = RST_RECORD_MEMORY, .lsn = last->lsn_last + 1, .epoch = last->epoch, .number = 9};
        if (!(kinds & kind)) continue;
        if (kind == OF_AN_OLD_LSN) record.lsn = last->lsn_last;
        if (kind == OF_AN_OLD_EPOCH) record.epoch--;
        if (kind == A_VOID || kind == TO_THE_END) {
            record.kind = RST_RECORD_VOID;
            record.number = kind == TO_THE_END ? size - offset : 800;
        }
        rst_record_seal(&record, NULL, 0, offset);
        ck_assert_int_eq(sim_corrupt(sim, ROOT "/blocks/chunk_0000.bin", offset, &record, sizeof record), 0);
        offset += record.kind == RST_RECORD_VOID ? record.number : rst_record_size(0, 0);
    }
}

static uint64_t a_log_of_two_epochs(struct rst_frame_header *ret_last)
{
    begin(SMALL_LOG);
    append_some(3);
    use(sim_process_loss(sim));
    append_some(3);
    sim_sync_all(sim);
    use(sim_power_loss(sim, 1));
    return last_frame(SMALL_LOG, ret_last);
}

static void expect_damage(bool damaged)
{
    roost_root root;
    if (!damaged) {
        expect_whole_root();
        ck_assert_int_eq(sim_file_size(sim, ROOT "/state.wal"), RST_LOG_RING_OFFSET + SMALL_LOG);
        return;
    }
    root = open_root();
    expect_all(&root); /* what can be read stays readable */
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_id id;
    memory.text = roost_text("more");
    ck_assert_int_eq(roost_append(&root, &memory, NULL, &id, NULL), ROOST_EDAMAGED);
    rst_engine_close(root.engine);
}

START_TEST(a_cut_log_is_damaged_if_the_blocks_know_of_more)
{
    static const struct {
        unsigned kinds;
        bool damaged;
    } cases[] = {
        {0, false},
        {A_VOID, false},
        {OF_AN_OLD_LSN | OF_AN_OLD_EPOCH, false},
        {A_VOID | OF_AN_OLD_EPOCH | TO_THE_END, false},
        {OF_A_LATER_COMMIT, true},
        {A_VOID | OF_AN_OLD_LSN | OF_AN_OLD_EPOCH | OF_A_LATER_COMMIT, true},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        struct rst_frame_header last;
        uint64_t end_position = a_log_of_two_epochs(&last);
        put_records(&last, cases[i].kinds);
        ck_assert_int_eq(sim_truncate(sim, ROOT "/state.wal", RST_LOG_RING_OFFSET + end_position), 0);
        expect_damage(cases[i].damaged);
        end();
    }
}
END_TEST

/* Of a frame that was cut in its middle the records may be there: it was never acknowledged, if it is the next one. */
START_TEST(a_frame_that_was_cut_in_its_middle_is_a_torn_tail)
{
    enum { RIGHT, NO_MAGIC, ELSEWHERE, LSN_AGAIN, LSN_BACKWARDS, CASE_COUNT };
    for (int i = 0; i < CASE_COUNT; i++) {
        struct rst_frame_header last, torn;
        struct rst_buffer body = {0}, bytes = {0};
        uint64_t position = a_log_of_two_epochs(&last), noise = 1;
        put_records(&last, OF_A_LATER_COMMIT);
        torn = next_frame(SMALL_LOG);
        while (body.size < 1000) rst_buffer_add_u8(&body, (uint8_t)((noise = noise * UINT64_C(6364136223846793005) + 1) >> 56));
        ck_assert_int_eq(rst_frame_encode(&torn, &body, &bytes), 0);
        if (i == NO_MAGIC) torn.magic++;
        if (i == ELSEWHERE) torn.position += SMALL_LOG;
        if (i == LSN_AGAIN) torn.lsn_first--;
        if (i == LSN_BACKWARDS) torn.lsn_first++;
        memcpy(bytes.data, &torn, sizeof torn);
        change_log(RST_LOG_RING_OFFSET + position, bytes.data, bytes.size);
        ck_assert_int_eq(sim_truncate(sim, ROOT "/state.wal", RST_LOG_RING_OFFSET + position + RST_FRAME_ALIGNMENT), 0);
        expect_damage(i != RIGHT);
        rst_buffer_free(&body);
        rst_buffer_free(&bytes);
        end();
    }
}
END_TEST

/* ---- an heir ---- */

static uint8_t *region_bytes;
static size_t region_size;

static struct rst_region_header *read_region(void)
{
    region_size = (size_t)sim_file_size(sim, ROOT "/region");
    region_bytes = malloc(region_size);
    ck_assert_ptr_nonnull(region_bytes);
    ck_assert_int_eq(sim_read_file(sim, ROOT "/region", region_bytes, region_size, 0), (int64_t)region_size);
    return (struct rst_region_header *)(void *)region_bytes;
}

static void put_region(void)
{
    ck_assert_int_eq(sim_corrupt(sim, ROOT "/region", 0, region_bytes, region_size), 0);
    free(region_bytes);
}

/* As if what was done from there on had not been said yet. */
static void set_completed(struct rst_region_header *header, uint64_t position)
{
    for (int i = 0; i < 2; i++) {
        struct rst_writer_state *state = (struct rst_writer_state *)(void *)header->writer.copies[i];
        state->completed_position = position;
    }
}

/* The writer died when MANIFEST stood and the region did not say so yet; nor, of its last commits, that they were answered. */
static void die_within_a_checkpoint(void)
{
    begin(SMALL_LOG);
    roost_root root = open_root();
    for (int i = 0; i < 6; i++) append(&root, ROOST_DURABLE);
    struct rst_region_header *header = read_region();
    uint64_t written = ((struct rst_writer_state *)(void *)header->writer.copies[0])->written_position;
    ck_assert_int_eq(roost_checkpoint(&root), 0);
    use(sim_process_loss(sim));
    set_completed(header, RST_FRAME_ALIGNMENT);
    put_region();
    /* What MANIFEST covers is free: the next lap may have come by. */
    uint8_t garbage[RST_FRAME_ALIGNMENT];
    memset(garbage, 0xff, sizeof garbage);
    for (uint64_t position = 0; position < written; position += sizeof garbage)
        change_log(RST_LOG_RING_OFFSET + position, garbage, sizeof garbage);
}

START_TEST(an_heir_finishes_a_checkpoint)
{
    die_within_a_checkpoint();
    expect_whole_root();
    end();
    die_within_a_checkpoint();
    fail_everywhere(1);
    end();
}
END_TEST

/* The live segment is damaged where the dead writer's last commits are to be applied again: it is made anew, from MANIFEST and the log. */
static void die_with_a_damaged_arena(bool checkpoint)
{
    begin(SMALL_LOG);
    roost_root root = open_root();
    for (int i = 0; i < 6; i++) append(&root, ROOST_DURABLE);
    if (checkpoint) ck_assert_int_eq(roost_checkpoint(&root), 0);
    struct rst_frame_header last;
    uint64_t position = last_frame(SMALL_LOG, &last);
    for (int i = 0; i < 3; i++) append(&root, ROOST_DURABLE);
    use(sim_process_loss(sim));
    struct rst_region_header *header = read_region();
    set_completed(header, position);
    for (int i = 0; i < 2; i++) memset(region_bytes + header->arena_offset[i], 0x5a, 256);
    put_region();
}

START_TEST(an_heir_makes_a_damaged_arena_anew)
{
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        die_with_a_damaged_arena(checkpoint);
        expect_whole_root();
        end();
        die_with_a_damaged_arena(checkpoint);
        fail_everywhere(1);
        end();
    }
}
END_TEST

/* ---- an index that is lost ---- */

/* The log alone says where it ended; or the log has gone round, and the blocks know the rest. */
static void lose_the_manifest(unsigned memories)
{
    begin(SMALL_LOG);
    append_some(memories);
    lose_the_region();
    int directory = rst_os->open(-1, ROOT "/index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_os->unlink(directory, "MANIFEST"), memories > 100 ? 0 : -ENOENT);
    rst_os->close(directory);
    open_flags = ROOST_OPEN_REBUILD;
}

START_TEST(a_lost_manifest_is_made_anew_whatever_fails_on_the_way)
{
    static const unsigned memories[] = {5, 200};
    for (size_t i = 0; i < RST_COUNT_OF(memories); i++) {
        lose_the_manifest(memories[i]);
        fail_everywhere(i ? 5 : 1);
        expect_whole_root();
        end();
    }
}
END_TEST

/* ---- writing that stopped ---- */

static int try_to_append(roost_root *root)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_id id;
    memory.text = roost_text("may come to light or not");
    return roost_append(root, &memory, NULL, &id, NULL);
}

/* Writing stopped for a sync that failed; the same handle then has no memory for what an heir must do, and tries once more. What the sync
 * had covered is written again all the same, or it would be missing before what is acknowledged next. */
START_TEST(who_stopped_writing_goes_on_only_as_an_heir)
{
    static const char *const operations[] = {"pwrite", "pread"};
    for (size_t i = 0; i < RST_COUNT_OF(operations); i++)
        for (uint64_t nth = 1; nth < 4; nth++) {
            begin(SMALL_LOG);
            roost_root root = open_root();
            for (int j = 0; j < 2; j++) append(&root, ROOST_DURABLE);
            sim_set_sync_failure(sim, SIM_SYNC_XFS); /* says OK at the next try, and has dropped what it was to write */
            sim_fail_named(sim, "fdatasync", 1, EIO, true);
            ck_assert_int_lt(try_to_append(&root), 0);
            sim_fail_named(sim, operations[i], nth, ENOMEM, false);
            (void)try_to_append(&root);
            sim_fail_at(sim, 0, 0, false);
            append(&root, ROOST_DURABLE);
            struct roost_stats before = ROOST_STATS_INIT, after = ROOST_STATS_INIT;
            ck_assert_int_eq(roost_stats(&root, &before), 0);
            ck_assert_uint_ge(before.memory_count, count);
            ck_assert_int_eq(roost_check(&root, print_finding, NULL), 0);
            use(sim_power_loss(sim, nth));
            roost_root again = open_root();
            struct roost_memory memory = ROOST_MEMORY_INIT;
            for (uint64_t j = 0; j < count; j++) ck_assert_int_eq(roost_get(&again, ids[j], &memory), 0);
            ck_assert_int_eq(roost_stats(&again, &after), 0);
            ck_assert_uint_eq(after.memory_count, before.memory_count);
            close_root(&again);
            end();
        }
}
END_TEST

/* A process that is killed leaves its heap as it is, and it is only simulated: to AddressSanitizer that looks like a leak. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

int main(void)
{
    Suite *suite = suite_create("recover");
    TCase *tests = tcase_create("recover");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_log_that_holds_more_than_an_arena);
    tcase_add_test(tests, each_step_of_that_may_fail);
    tcase_add_test(tests, a_frame_that_does_not_continue_the_log_is_dropped);
    tcase_add_test(tests, a_frame_longer_than_a_lap_is_none);
    tcase_add_test(tests, a_cut_log_is_damaged_if_the_blocks_know_of_more);
    tcase_add_test(tests, a_frame_that_was_cut_in_its_middle_is_a_torn_tail);
    tcase_add_test(tests, an_heir_finishes_a_checkpoint);
    tcase_add_test(tests, an_heir_makes_a_damaged_arena_anew);
    tcase_add_test(tests, who_stopped_writing_goes_on_only_as_an_heir);
    tcase_add_test(tests, a_lost_manifest_is_made_anew_whatever_fails_on_the_way);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
