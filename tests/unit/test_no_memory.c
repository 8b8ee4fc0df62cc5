/* SPDX-License-Identifier: MIT
 * tests/unit/test_no_memory.c: the decoders, the log and the lanes when memory runs out. Each allocation of each of them fails once: it
 * says so, keeps nothing, and works as soon as there is memory again. (crash/fail_nth.c does the same to whole roots, and gets to a
 * slice of these places.) */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "crash/faults.h"
#include "format/log.h"
#include "format/manifest.h"
#include "format/record.h"
#include "format/state.h"
#include "format/submission.h"
#include "os/os.h"
#include "region/lanes.h"
#include "store/log.h"

enum { LOG_SIZE = 16 * RST_LOG_HEADER_SIZE, SMALL = 100, LARGE = 5000, CALLS_MAX = 20 };

static struct rst_buffer body, noise, frame_bytes, manifest_bytes, state_bytes, fields;
static char folder[64];
static int directory;
static struct rst_log state_wal;
static struct rst_region region;

static int encode(const struct rst_buffer *from, struct rst_buffer *ret_bytes)
{
    struct rst_frame_header header = {.position = 0, .epoch = 1, .lsn_first = 1, .lsn_last = 1, .durable_lsn = 1};
    return rst_frame_encode(&header, from, ret_bytes);
}

static struct roost_state a_state(void)
{
    struct roost_state state = ROOST_STATE_INIT;
    static const struct roost_extra extra[] = {{ROOST_TEXT("name"), ROOST_TEXT("value")}};
    state.name = roost_text("ada");
    state.status = roost_text("working");
    state.extra = extra;
    state.extra_count = 1;
    return state;
}

static void setup(void)
{
    struct rst_manifest_segment segment = {1, 1, 5, 100};
    struct rst_client_record client = {.client = 7};
    struct rst_manifest manifest = {{.segment_count = 1, .client_count = 1, .covered_lsn = 5}, &segment, &client};
    struct roost_state state = a_state();
    struct rst_log_header header = {.log_size = LOG_SIZE, .chunk_size = 1 << 20, .arena_size = 1 << 20, .language = "english"};
    snprintf(folder, sizeof folder, "/tmp/roost-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    uint64_t random = 1;
    for (int i = 0; i < LARGE; i++)
        rst_buffer_add_u8(&noise, (uint8_t)((random = random * UINT64_C(6364136223846793005) + 1) >> 56));
    rst_buffer_add(&body, noise.data, LARGE / 5); /* compressible, and longer than a sector even so */
    rst_buffer_add_zeros(&body, LARGE - LARGE / 5);
    ck_assert_int_eq(encode(&body, &frame_bytes), 0);
    ck_assert_uint_gt(frame_bytes.size, RST_FRAME_ALIGNMENT);
    ck_assert_uint_lt(frame_bytes.size, LARGE);
    ck_assert_int_eq(rst_manifest_encode(&manifest, &manifest_bytes), 0);
    ck_assert_int_eq(rst_state_encode(&state, &state_bytes), 0);
    rst_fields_add(&fields, RST_FIELD_TAG, roost_text("tag"));
    rst_fields_end(&fields);
    directory = rst_os->open(-1, folder, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_log_create(directory, &header), 0);
    state_wal.file = rst_os->open(directory, "state.wal", RST_OPEN_WRITE, 0);
    ck_assert_int_eq(rst_log_read_header(&state_wal), 0);
    ck_assert_int_eq(rst_log_write(&state_wal, 0, frame_bytes.data, frame_bytes.size), 0);
    struct rst_region_identity identity = {.nonce = 1, .log_size = LOG_SIZE, .arena_size = 1 << 20};
    ck_assert_int_eq(rst_region_create_private(&identity, &region), 0);
}

static void teardown(void)
{
    rst_region_close(&region);
    rst_os->close(state_wal.file);
    rst_os->unlink(directory, "state.wal");
    rst_os->close(directory);
    rmdir(folder);
}

/* ---- what is tried: each begins with nothing and leaves nothing ---- */

static int encode_frame(const struct rst_buffer *from)
{
    struct rst_buffer bytes = {0};
    int err = encode(from, &bytes);
    rst_buffer_free(&bytes);
    return err;
}

static int encode_compressed(void) { return encode_frame(&body); }
static int encode_plain(void) { return encode_frame(&noise); }

static int encode_small(void)
{
    struct rst_buffer small = {body.data, SMALL, SMALL, false};
    return encode_frame(&small);
}

static int decode_frame(void)
{
    struct rst_buffer scratch = {0};
    struct rst_frame frame;
    struct rst_frame_header header;
    memcpy(&header, frame_bytes.data, sizeof header);
    int err = rst_frame_decode(frame_bytes.data, header.size, 0, &scratch, &frame);
    rst_buffer_free(&scratch);
    return err;
}

static int encode_manifest(void)
{
    struct rst_manifest manifest;
    struct rst_buffer bytes = {0};
    memset(&manifest, 0, sizeof manifest);
    int err = rst_manifest_encode(&manifest, &bytes);
    rst_buffer_free(&bytes);
    return err;
}

static int decode_manifest(void)
{
    struct rst_manifest manifest;
    int err = rst_manifest_decode(manifest_bytes.data, manifest_bytes.size, &manifest);
    if (!err) rst_manifest_free(&manifest);
    return err;
}

static int encode_state(void)
{
    struct roost_state state = a_state();
    struct rst_buffer bytes = {0};
    int err = rst_state_encode(&state, &bytes);
    rst_buffer_free(&bytes);
    return err;
}

static int decode_state(void)
{
    struct roost_state state;
    struct roost_extra *extra = NULL;
    int err = rst_state_decode(rst_bytes(state_bytes.data, state_bytes.size), &state, &extra);
    if (!err) rst_buffer_free(&(struct rst_buffer){.data = (uint8_t *)extra}); /* by the library that it comes from */
    return err;
}

static int list_tags(void)
{
    struct roost_bytes *tags = NULL;
    size_t count;
    int err = rst_fields_tags(rst_bytes(fields.data, fields.size), &tags, &count);
    if (!err) rst_buffer_free(&(struct rst_buffer){.data = (uint8_t *)tags});
    return err;
}

static int make_submission(void)
{
    struct rst_buffer submission = {0};
    struct rst_op op = {.kind = RST_OP_MEMORY, .payload_hash = rst_hash(noise.data, LARGE, 0)};
    rst_submission_begin(&submission);
    rst_submission_add(&submission, &op, rst_bytes(fields.data, fields.size), rst_bytes(noise.data, LARGE));
    int err = rst_submission_end(&submission, ROOST_DURABLE);
    rst_buffer_free(&submission);
    return err;
}

static int make_log(void)
{
    struct rst_log_header header = {.log_size = LOG_SIZE, .chunk_size = 1 << 20, .arena_size = 1 << 20};
    int file, err = rst_log_draft(directory, &header, -1, &file);
    if (!err) rst_os->close(file);
    return err;
}

static int read_frame(void)
{
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    int found = rst_log_read_frame(&state_wal, 0, &bytes, &scratch, &frame);
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
    return found == 1 ? 0 : found;
}

static int look_ahead(void)
{
    uint64_t durable_lsn, epoch, found;
    int err = rst_log_look_ahead(&state_wal, 0, &durable_lsn, &epoch, &found);
    if (!err) ck_assert_uint_eq(durable_lsn, 1);
    return err;
}

static int take_submission(void)
{
    struct rst_lane *lane = rst_lane_of(&region, 0);
    struct rst_buffer bytes = {0};
    struct rst_lane_item item;
    size_t size;
    lane->entries[1] = (struct rst_lane_entry){
        .word = 1 << 3 | RST_LANE_SUBMITTED,
        .offset = (uint64_t)((uint8_t *)lane - region.base) + offsetof(struct rst_lane, data),
        .size = SMALL,
    };
    int found = rst_lane_take(&region, 0, 0, &bytes, &item, &size);
    rst_buffer_free(&bytes);
    return found == 1 ? 0 : found;
}

static int make_view(void)
{
    struct rst_region_identity identity = {.nonce = 1, .log_size = LOG_SIZE, .arena_size = 1 << 20};
    struct rst_region view;
    int err = rst_region_create_private(&identity, &view);
    if (!err) rst_region_close(&view);
    return err;
}

/* Every allocation of it fails, one at a time and then from there on. Returns how many there are. */
static uint64_t starve(int (*attempt)(void))
{
    uint64_t count, outstanding = faults_outstanding();
    faults_begin(NULL, 0, 0, false);
    ck_assert_int_eq(attempt(), 0);
    count = faults_count(NULL);
    faults_end(NULL);
    ck_assert_uint_lt(count, CALLS_MAX);
    for (uint64_t at = 1; at <= count; at++)
        for (int persistent = 0; persistent < 2; persistent++) {
            faults_begin(NULL, at, 0, persistent);
            int err = attempt();
            faults_end(NULL);
            ck_assert_msg(err == ROOST_ENOMEM, "allocation %d of %d: %s", (int)at, (int)count, roost_error_name(err));
            ck_assert_uint_eq(faults_outstanding(), outstanding);
        }
    ck_assert_int_eq(attempt(), 0);
    ck_assert_uint_eq(faults_outstanding(), outstanding);
    return count;
}

START_TEST(every_allocation_may_fail)
{
    static const struct {
        int (*attempt)(void);
        uint64_t allocations_min;
    } attempts[] = {
        {encode_compressed, 2}, {encode_plain, 2}, {encode_small, 1}, {decode_frame, 1},    {encode_manifest, 1},
        {decode_manifest, 2},   {encode_state, 1}, {decode_state, 1}, {list_tags, 1},       {make_submission, 2},
        {make_log, 1},          {read_frame, 3},   {look_ahead, 3},   {take_submission, 1}, {make_view, 1},
    };
    for (size_t i = 0; i < RST_COUNT_OF(attempts); i++)
        ck_assert_uint_ge(starve(attempts[i].attempt), attempts[i].allocations_min);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("no_memory");
    TCase *tests = tcase_create("no_memory");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, every_allocation_may_fail);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
