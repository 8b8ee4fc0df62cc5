/* SPDX-License-Identifier: MIT
 * tests/unit/test_log.c: state.wal as a file: which of its two headers counts, which are refused, what a file that was cut short or
 * cannot be read gives. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "os/os.h"
#include "store/log.h"

enum { LOG_SIZE = 16 * RST_LOG_HEADER_SIZE };

static char folder[64];
static int directory;
static struct rst_os table;
static struct rst_log one;

static struct rst_log_header settings(void)
{
    return (struct rst_log_header){.log_size = LOG_SIZE, .chunk_size = 1 << 20, .arena_size = 1 << 20, .language = "english"};
}

static void setup(void)
{
    struct rst_log_header header = settings();
    snprintf(folder, sizeof folder, "/tmp/roost-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    table = rst_os_linux;
    rst_os = &table;
    directory = rst_os->open(-1, folder, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_log_create(directory, &header), 0);
    memset(&one, 0, sizeof one);
    one.file = rst_os->open(directory, "state.wal", RST_OPEN_WRITE, 0);
    ck_assert_int_ge(one.file, 0);
    ck_assert_int_eq(rst_log_read_header(&one), 0);
}

static void teardown(void)
{
    table = rst_os_linux;
    rst_os->close(one.file);
    ck_assert_int_eq(rst_os->unlink(directory, "state.wal"), 0);
    rst_os->close(directory);
    ck_assert_int_eq(rmdir(folder), 0);
}

/* Writes a header as the slot's whole content, sealed unless it is to be damaged. */
static void put(int slot, struct rst_log_header header, bool whole)
{
    rst_log_header_seal(&header);
    if (!whole) header.checksum ^= 1;
    ck_assert_int_eq(rst_write_all(one.file, &header, sizeof header, (uint64_t)slot * RST_LOG_HEADER_SIZE), 0);
}

static int read_anew(struct rst_log *ret_log)
{
    memset(ret_log, 0, sizeof *ret_log);
    ret_log->file = one.file;
    return rst_log_read_header(ret_log);
}

START_TEST(a_root_is_made_once)
{
    struct rst_log_header header = settings();
    ck_assert_int_eq(rst_log_create(directory, &header), -EEXIST);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "a root already"));
}
END_TEST

static int refuse_open(int at, const char *name, unsigned flags, uint32_t mode)
{
    (void)at, (void)name, (void)flags, (void)mode;
    return -EMFILE;
}

static int refuse_stat(int file, struct rst_stat *ret_stat)
{
    (void)file, (void)ret_stat;
    return -EIO;
}

static int refuse_allocate(int file, uint64_t offset, uint64_t size)
{
    (void)file, (void)offset, (void)size;
    return -ENOSPC;
}

static int64_t refuse_write(int file, const void *from, size_t size, uint64_t offset)
{
    (void)file, (void)from, (void)size, (void)offset;
    return -EFBIG;
}

static int refuse_sync(int file)
{
    (void)file;
    return -EIO;
}

static int refuse_link(int file, int at, const char *name)
{
    (void)file, (void)at, (void)name;
    return -EPERM;
}

/* Whichever step fails, there is no state.wal afterwards and no file open; the next attempt makes it. */
START_TEST(a_log_that_cannot_be_made_is_not_there)
{
    const struct {
        struct rst_os table;
        int told;
    } cases[] = {
        {{.open = refuse_open}, -EMFILE},   {{.stat = refuse_stat}, -EIO},  {{.allocate = refuse_allocate}, -ENOSPC},
        {{.pwrite = refuse_write}, -EFBIG}, {{.fsync = refuse_sync}, -EIO}, {{.link = refuse_link}, -EPERM},
    };
    ck_assert_int_eq(rst_os->unlink(directory, "state.wal"), 0);
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        struct rst_log_header header = settings();
        int next = dup(directory), after;
        close(next);
        if (cases[i].table.open) table.open = cases[i].table.open;
        if (cases[i].table.stat) table.stat = cases[i].table.stat;
        if (cases[i].table.allocate) table.allocate = cases[i].table.allocate;
        if (cases[i].table.pwrite) table.pwrite = cases[i].table.pwrite;
        if (cases[i].table.fsync) table.fsync = cases[i].table.fsync;
        if (cases[i].table.link) table.link = cases[i].table.link;
        ck_assert_msg(rst_log_create(directory, &header) == cases[i].told, "step %zu: %s", i, rst_fail_detail());
        table = rst_os_linux;
        ck_assert_int_eq(rst_os->open(directory, "state.wal", RST_OPEN_READ, 0), -ENOENT);
        after = dup(directory);
        close(after);
        ck_assert_int_eq(after, next);
    }
    struct rst_log_header header = settings();
    ck_assert_int_eq(rst_log_create(directory, &header), 0);
}
END_TEST

START_TEST(a_header_that_cannot_be_written_is_an_error)
{
    table.pwrite = refuse_write;
    ck_assert_int_eq(rst_log_write_header(&one), -EFBIG);
    ck_assert_int_eq(rst_log_write(&one, 0, "x", 1), -EFBIG);
    table = rst_os_linux;
    table.fdatasync = refuse_sync;
    ck_assert_int_eq(rst_log_write_header(&one), -EIO);
    ck_assert_int_eq(rst_log_sync(&one), -EIO);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "syncing state.wal"));
}
END_TEST

START_TEST(the_greater_whole_header_counts)
{
    struct rst_log_header older = one.header, newer = one.header;
    struct rst_log log;
    older.epoch = 1;
    newer.epoch = 2;
    newer.sequence = older.sequence + 1;
    for (int slot = 0; slot < 2; slot++) {
        put(slot, newer, true);
        put(1 - slot, older, true);
        ck_assert_int_eq(read_anew(&log), 0);
        ck_assert_uint_eq(log.header.epoch, 2);
        put(slot, newer, false); /* torn while it was written: the one before it */
        ck_assert_int_eq(read_anew(&log), 0);
        ck_assert_uint_eq(log.header.epoch, 1);
    }
}
END_TEST

START_TEST(without_a_whole_header_it_is_said_what_is_there)
{
    enum { WHOLE, DAMAGED, FOREIGN, LATER };
    static const struct {
        int first, second, told;
    } cases[] = {
        {FOREIGN, FOREIGN, ROOST_EFOREIGN}, {FOREIGN, DAMAGED, ROOST_ECORRUPT}, {DAMAGED, FOREIGN, ROOST_ECORRUPT},
        {DAMAGED, DAMAGED, ROOST_ECORRUPT}, {LATER, DAMAGED, ROOST_EVERSION},   {DAMAGED, LATER, ROOST_EVERSION},
        {FOREIGN, LATER, ROOST_EVERSION},   {LATER, LATER, ROOST_EVERSION},     {FOREIGN, WHOLE, 0},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        struct rst_log log;
        for (int slot = 0; slot < 2; slot++) {
            int kind = slot ? cases[i].second : cases[i].first;
            struct rst_log_header header = one.header;
            if (kind == FOREIGN) header.magic = 1;
            if (kind == LATER) header.format_version++;
            put(slot, header, kind != DAMAGED);
        }
        ck_assert_msg(read_anew(&log) == cases[i].told, "case %zu", i);
    }
}
END_TEST

START_TEST(sizes_that_make_no_sense)
{
    static const uint64_t logs[] = {0, LOG_SIZE - RST_LOG_HEADER_SIZE, LOG_SIZE + 1, (UINT64_C(1) << 31) + RST_LOG_HEADER_SIZE},
                          chunks[] = {0, LOG_SIZE - 1, (UINT64_C(1) << 31) + 1};
    struct rst_log log;
    for (size_t i = 0; i < RST_COUNT_OF(logs) + RST_COUNT_OF(chunks); i++) {
        struct rst_log_header header = one.header;
        if (i < RST_COUNT_OF(logs))
            header.log_size = logs[i];
        else
            header.chunk_size = chunks[i - RST_COUNT_OF(logs)];
        header.sequence += i + 1;
        put(0, header, true);
        ck_assert_msg(read_anew(&log) == ROOST_ECORRUPT, "case %zu", i);
        ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "make no sense"));
    }
}
END_TEST

/* What a root keeps for life: whoever has it open does not follow a header that says otherwise. */
START_TEST(what_stays_for_life_may_not_change)
{
    for (int i = 0; i < 4; i++) {
        struct rst_log_header header = one.header;
        header.sequence++;
        if (i == 1) header.log_size *= 2;
        if (i == 2) header.chunk_size *= 2;
        if (i == 3) memcpy(header.language, "german", 7);
        put(1, header, true);
        ck_assert_msg(rst_log_read_header(&one) == (i ? ROOST_ECORRUPT : 0), "case %d", i);
        if (i == 0) one.header.sequence--;
    }
}
END_TEST

static int64_t failing_read(int file, void *to, size_t size, uint64_t offset)
{
    /* The ring's second block on, as a disk with one bad place does. */
    return offset < RST_LOG_RING_OFFSET + RST_FRAME_ALIGNMENT && size <= RST_FRAME_ALIGNMENT
               ? rst_os_linux.pread(file, to, size, offset)
               : -EIO;
}

/* ---- a log in two steps, with the ring of another one ---- */

static int calls_left; /* until the one that fails */

static bool this_one_fails(void) { return calls_left-- == 0; }

static int nth_stat(int file, struct rst_stat *ret_stat) { return this_one_fails() ? -EIO : rst_os_linux.stat(file, ret_stat); }

static int nth_allocate(int file, uint64_t offset, uint64_t size)
{
    return this_one_fails() ? -ENOSPC : rst_os_linux.allocate(file, offset, size);
}

static int64_t nth_write(int file, const void *from, size_t size, uint64_t offset)
{
    return this_one_fails() ? -EFBIG : rst_os_linux.pwrite(file, from, size, offset);
}

static int64_t nth_read(int file, void *to, size_t size, uint64_t offset)
{
    return this_one_fails() ? -EIO : rst_os_linux.pread(file, to, size, offset);
}

static int64_t nth_copy(int from, int to, size_t size, uint64_t offset)
{
    return this_one_fails() ? -EIO : rst_os_linux.copy(from, to, size, offset);
}

static int next_descriptor(void)
{
    int next = dup(directory);
    close(next);
    return next;
}

static void write_frame(uint64_t position);

/* Drafts a log with each step failing in turn, and then whole. Returns it. */
static int draft_with_every_step_failing(int ring_from)
{
    const struct {
        struct rst_os table;
        int call, told;
        bool empty_only;
    } steps[] = {
        {{.open = refuse_open}, 0, -EMFILE, false},
        {{.stat = nth_stat}, 0, -EIO, false}, /* the folder's */
        {{.allocate = nth_allocate}, 0, -ENOSPC, false},
        {{.pwrite = nth_write}, 0, -EFBIG, false},
        {{.pwrite = nth_write}, 1, -EFBIG, true}, /* zeros, then the header */
        {{.stat = nth_stat}, 1, -EIO, false},
        /* the file's own */ {{.fsync = refuse_sync}, 0, -EIO, false},
        {{.copy = nth_copy}, 0, -EIO, false},
    };
    int file = -1, next = next_descriptor();
    for (size_t i = 0; i < RST_COUNT_OF(steps); i++) {
        struct rst_log_header header = settings();
        if (ring_from >= 0 ? steps[i].empty_only : steps[i].table.copy != NULL) continue;
        calls_left = steps[i].call;
        if (steps[i].table.open) table.open = steps[i].table.open;
        if (steps[i].table.stat) table.stat = steps[i].table.stat;
        if (steps[i].table.allocate) table.allocate = steps[i].table.allocate;
        if (steps[i].table.pwrite) table.pwrite = steps[i].table.pwrite;
        if (steps[i].table.fsync) table.fsync = steps[i].table.fsync;
        if (steps[i].table.copy) table.copy = steps[i].table.copy;
        ck_assert_msg(rst_log_draft(directory, &header, ring_from, &file) == steps[i].told, "step %zu: %s", i, rst_fail_detail());
        table = rst_os_linux;
        ck_assert_int_eq(file, -1);
        ck_assert_int_eq(next_descriptor(), next);
    }
    struct rst_log_header header = settings();
    ck_assert_int_eq(rst_log_draft(directory, &header, ring_from, &file), 0);
    return file;
}

START_TEST(a_draft_is_whole_and_has_no_name_until_it_is_published)
{
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    write_frame(0);
    for (int with_ring = 0; with_ring < 2; with_ring++) {
        struct rst_log log;
        int file = draft_with_every_step_failing(with_ring ? one.file : -1);
        memset(&log, 0, sizeof log);
        log.file = file;
        ck_assert_int_eq(rst_log_read_header(&log), 0);
        ck_assert_uint_eq(log.size, LOG_SIZE);
        ck_assert_int_eq(rst_log_read_frame(&log, 0, &bytes, &scratch, &frame), with_ring);
        ck_assert_int_eq(rst_log_publish(file, directory), -EEXIST);
        ck_assert_int_eq(rst_os->unlink(directory, "state.wal"), 0);
        table.fsync = refuse_sync;
        ck_assert_int_eq(rst_log_publish(file, directory), -EIO); /* there, but a power cut may take the name */
        table = rst_os_linux;
        ck_assert_int_eq(rst_os->unlink(directory, "state.wal"), 0);
        struct rst_log_header header = settings();
        int again;
        rst_os->close(file);
        ck_assert_int_eq(rst_log_draft(directory, &header, with_ring ? one.file : -1, &again), 0);
        ck_assert_int_eq(rst_log_publish(again, directory), 0);
        rst_os->close(again);
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}
END_TEST

static void write_frame(uint64_t position)
{
    struct rst_frame_header header = {.position = position, .epoch = 3, .lsn_first = 5, .lsn_last = 6, .durable_lsn = 4};
    struct rst_buffer body = {0}, bytes = {0};
    rst_buffer_add_zeros(&body, 1000);
    ck_assert_int_eq(rst_frame_encode(&header, &body, &bytes), 0);
    ck_assert_int_eq(rst_log_write(&one, position, bytes.data, bytes.size), 0);
    rst_buffer_free(&body);
    rst_buffer_free(&bytes);
}

START_TEST(a_log_that_cannot_be_read_is_no_empty_one)
{
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    struct rst_log log;
    uint64_t durable_lsn, epoch, found;
    write_frame(0);
    ck_assert_int_eq(rst_log_read_frame(&one, 0, &bytes, &scratch, &frame), 1);
    ck_assert_uint_eq(frame.header.lsn_last, 6);
    ck_assert_int_eq(rst_log_look_ahead(&one, 0, &durable_lsn, &epoch, &found), 0);
    ck_assert_uint_eq(durable_lsn, 4);
    ck_assert_uint_eq(epoch, 3);
    table.pread = nth_read;
    calls_left = 1; /* the whole ring could be read, the frame in it not once more */
    ck_assert_int_eq(rst_log_look_ahead(&one, 0, &durable_lsn, &epoch, &found), -EIO);
    table.pread = failing_read;
    ck_assert_int_eq(rst_log_read_frame(&one, RST_FRAME_ALIGNMENT, &bytes, &scratch, &frame), -EIO);
    ck_assert_int_eq(rst_log_read_frame(&one, 0, &bytes, &scratch, &frame), -EIO);
    ck_assert_int_eq(rst_log_look_ahead(&one, 0, &durable_lsn, &epoch, &found), -EIO);
    ck_assert_int_eq(read_anew(&log), -EIO);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "reading state.wal"));
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}
END_TEST

/* Cut short by somebody: what is missing is read as zeros, in which no frame begins. */
START_TEST(a_log_that_was_cut_short_has_no_frame_there)
{
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    write_frame(0);
    ck_assert_int_eq(ftruncate(one.file, RST_LOG_RING_OFFSET + 100), 0);
    ck_assert_int_eq(rst_log_read_frame(&one, 0, &bytes, &scratch, &frame), 0);
    ck_assert_int_eq(rst_log_read_frame(&one, RST_FRAME_ALIGNMENT, &bytes, &scratch, &frame), 0);
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_root_is_made_once);
    tcase_add_test(tests, a_log_that_cannot_be_made_is_not_there);
    tcase_add_test(tests, a_draft_is_whole_and_has_no_name_until_it_is_published);
    tcase_add_test(tests, a_header_that_cannot_be_written_is_an_error);
    tcase_add_test(tests, the_greater_whole_header_counts);
    tcase_add_test(tests, without_a_whole_header_it_is_said_what_is_there);
    tcase_add_test(tests, sizes_that_make_no_sense);
    tcase_add_test(tests, what_stays_for_life_may_not_change);
    tcase_add_test(tests, a_log_that_cannot_be_read_is_no_empty_one);
    tcase_add_test(tests, a_log_that_was_cut_short_has_no_frame_there);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
