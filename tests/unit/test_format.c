/* SPDX-License-Identifier: MIT
 * tests/unit/test_format.c: the decoders, fact by fact: what was encoded right is accepted, and with one fact wrong, and the checksum
 * right again, it is refused. */
#include <check.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "format/log.h"
#include "format/manifest.h"
#include "format/record.h"
#include "format/state.h"
#include "format/submission.h"

/* ---- frames ---- */

enum { POSITION = 4096 };

/* A frame of one entry; ret_frame: as it is on the disk. */
static void make_frame(struct rst_frame_header *header, size_t body_size, bool compressible, struct rst_buffer *ret_bytes)
{
    struct rst_buffer body = {0};
    uint64_t noise = 1;
    for (size_t i = 0; i < body_size; i++)
        rst_buffer_add_u8(&body, compressible ? 7 : (uint8_t)((noise = noise * UINT64_C(6364136223846793005) + 1) >> 56));
    *header = (struct rst_frame_header){.position = POSITION, .epoch = 3, .lsn_first = 5, .lsn_last = 6};
    ck_assert_int_eq(rst_frame_encode(header, &body, ret_bytes), 0);
    rst_buffer_free(&body);
}

static void seal_frame(uint8_t *bytes)
{
    struct rst_frame_header header;
    memcpy(&header, bytes, sizeof header);
    uint64_t stored = header.size - sizeof header, seed = rst_hash_seed(header.epoch, header.position);
    header.checksum = 0;
    header.checksum = rst_hash(bytes + sizeof header, (size_t)stored, rst_hash(&header, sizeof header, seed));
    memcpy(bytes, &header, sizeof header);
}

START_TEST(a_frame_with_one_fact_wrong_is_none)
{
    static const struct {
        size_t offset;
        uint64_t value; /* of 4 or 8 bytes */
        bool wide;
    } wrong[] = {
        {offsetof(struct rst_frame_header, magic), 1, false},
        {offsetof(struct rst_frame_header, position), POSITION + 512, true},
        {offsetof(struct rst_frame_header, size), sizeof(struct rst_frame_header) - 1, false},
        {offsetof(struct rst_frame_header, size), 1 << 20, false},
        {offsetof(struct rst_frame_header, size), sizeof(struct rst_frame_header) + 8, false},
        {offsetof(struct rst_frame_header, lsn_first), 7, true},
        {offsetof(struct rst_frame_header, lsn_first), 0, true},
    };
    struct rst_frame_header header;
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    make_frame(&header, 100, false, &bytes);
    ck_assert_int_eq(rst_frame_decode(bytes.data, header.size, POSITION, &scratch, &frame), 0);
    ck_assert_int_eq(rst_frame_decode(bytes.data, sizeof header - 1, POSITION, &scratch, &frame), ROOST_ECORRUPT);
    for (size_t i = 0; i < RST_COUNT_OF(wrong); i++) {
        make_frame(&header, 100, false, &bytes);
        if (wrong[i].wide)
            rst_put_u64(bytes.data + wrong[i].offset, wrong[i].value);
        else
            rst_put_u32(bytes.data + wrong[i].offset, (uint32_t)wrong[i].value);
        ck_assert_msg(rst_frame_decode(bytes.data, header.size, POSITION, &scratch, &frame) == ROOST_ECORRUPT, "fact %zu", i);
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}
END_TEST

START_TEST(a_body_of_another_size_than_it_says_is_refused)
{
    struct rst_frame_header header;
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    for (int compressed = 0; compressed < 2; compressed++) {
        make_frame(&header, 5000, compressed, &bytes);
        ck_assert_uint_eq(header.flags & RST_FRAME_LZ4, compressed ? RST_FRAME_LZ4 : 0);
        ck_assert_int_eq(rst_frame_decode(bytes.data, header.size, POSITION, &scratch, &frame), 0);
        ck_assert_uint_eq(frame.header.raw_size, 5000);
        const uint32_t sizes[] = {0, 4999, 5001, LZ4_MAX_INPUT_SIZE + 1, 255 * 8192, UINT32_MAX};
        for (size_t i = 0; i < RST_COUNT_OF(sizes); i++) {
            rst_put_u32(bytes.data + offsetof(struct rst_frame_header, raw_size), sizes[i]);
            seal_frame(bytes.data);
            ck_assert_int_eq(rst_frame_decode(bytes.data, header.size, POSITION, &scratch, &frame), ROOST_ECORRUPT);
        }
    }
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}
END_TEST

/* ---- submissions ---- */

static void make_submission(struct rst_buffer *submission, unsigned op_count, uint16_t kind)
{
    struct rst_buffer fields = {0};
    rst_fields_add(&fields, RST_FIELD_NAME, roost_text("name"));
    rst_fields_end(&fields);
    rst_submission_begin(submission);
    for (unsigned i = 0; i < op_count; i++) {
        struct rst_op op = {.kind = kind, .payload_hash = rst_hash("payload!", 8, 0)};
        rst_submission_add(submission, &op, rst_bytes(fields.data, fields.size), roost_text("payload!"));
    }
    ck_assert_int_eq(rst_submission_end(submission, ROOST_DURABLE), 0);
    rst_buffer_free(&fields);
}

static void seal_submission(struct rst_buffer *submission)
{
    struct rst_submission_header header;
    memcpy(&header, submission->data, sizeof header);
    header.checksum = rst_hash(submission->data + sizeof header, submission->size - sizeof header, header.level);
    memcpy(submission->data, &header, sizeof header);
}

#define HEAD(member) offsetof(struct rst_submission_header, member)
#define OP(member) (sizeof(struct rst_submission_header) + offsetof(struct rst_op, member))

START_TEST(a_submission_with_one_fact_wrong_is_refused)
{
    static const struct {
        size_t offset, size;
        uint64_t value;
    } wrong[] = {
        {HEAD(magic), 4, 1},
        {HEAD(size), 4, 8},
        {HEAD(level), 4, ROOST_DURABLE - 1},
        {HEAD(level), 4, ROOST_PROCESS + 1},
        {HEAD(op_count), 4, 0},
        {HEAD(op_count), 4, 1}, /* bytes behind the last operation */
        {HEAD(op_count), 4, 3}, /* no room for one more */
        {HEAD(op_count), 4, ROOST_BATCH_COUNT_MAX + 1},
        {OP(size), 4, 1 << 20},
        {OP(size), 4, 8},
        {OP(fields_size), 4, 4},
        {OP(fields_size), 4, 1 << 20},
        {OP(payload_size), 4, (uint64_t)ROOST_RECORD_SIZE_MAX + 1},
        {OP(payload_hash), 8, 1},
        {OP(kind), 2, 0},
        {OP(kind), 2, RST_OP_STREAM + 1},
        {OP(kind), 2, RST_OP_REST + 1},
        {OP(kind), 2, RST_OP_SYNC}, /* a request, and not alone */
    };
    struct rst_buffer submission = {0};
    make_submission(&submission, 2, RST_OP_KEY_SET);
    ck_assert_int_eq(rst_submission_check(submission.data, submission.size), 0);
    ck_assert_int_eq(rst_submission_check(submission.data, sizeof(struct rst_submission_header) - 1), ROOST_ECORRUPT);
    for (size_t i = 0; i < RST_COUNT_OF(wrong); i++) {
        make_submission(&submission, 2, RST_OP_KEY_SET);
        memcpy(submission.data + wrong[i].offset, &wrong[i].value, wrong[i].size);
        seal_submission(&submission);
        ck_assert_msg(rst_submission_check(submission.data, submission.size) == ROOST_ECORRUPT, "fact %zu", i);
    }
    make_submission(&submission, 2, RST_OP_KEY_SET); /* a field that runs over the end */
    submission.data[sizeof(struct rst_submission_header) + sizeof(struct rst_op) + 1] = 100;
    seal_submission(&submission);
    ck_assert_int_eq(rst_submission_check(submission.data, submission.size), ROOST_ECORRUPT);
    make_submission(&submission, 1, RST_OP_SYNC);
    ck_assert_int_eq(rst_submission_check(submission.data, submission.size), 0);
    rst_buffer_free(&submission);
}
END_TEST

/* An external payload lies elsewhere: its size takes no room here, but has the same limit. */
START_TEST(an_external_payload_has_a_limit_too)
{
    static const uint32_t sizes[] = {1 << 20, ROOST_RECORD_SIZE_MAX, ROOST_RECORD_SIZE_MAX + 1u, UINT32_MAX};
    struct rst_buffer submission = {0};
    for (size_t i = 0; i < RST_COUNT_OF(sizes); i++) {
        struct rst_op op = {.kind = RST_OP_KEY_SET, .flags = RST_OP_EXTERNAL};
        rst_submission_begin(&submission);
        rst_submission_add(&submission, &op, rst_bytes(NULL, 0), rst_bytes(NULL, sizes[i]));
        ck_assert_int_eq(rst_submission_end(&submission, ROOST_PROCESS), 0);
        ck_assert_int_eq(rst_submission_check(submission.data, submission.size), i < 2 ? 0 : ROOST_ECORRUPT);
    }
    rst_buffer_free(&submission);
}
END_TEST

/* ---- MANIFEST, records, states, numbers ---- */

START_TEST(segments_beyond_what_a_manifest_covers)
{
    struct rst_manifest_segment segments[] = {{1, 1, 4, 100}, {2, 5, 9, 100}};
    struct rst_manifest manifest = {.header = {.covered_lsn = 9, .segment_count = 2}, .segments = segments}, read;
    struct rst_buffer bytes = {0};
    ck_assert_int_eq(rst_manifest_encode(&manifest, &bytes), 0);
    ck_assert_int_eq(rst_manifest_decode(bytes.data, bytes.size, &read), 0);
    ck_assert_mem_eq(read.segments, segments, sizeof segments);
    rst_manifest_free(&read);
    manifest.header.covered_lsn = 8;
    ck_assert_int_eq(rst_manifest_encode(&manifest, &bytes), 0);
    ck_assert_int_eq(rst_manifest_decode(bytes.data, bytes.size, &read), ROOST_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "beyond what it covers"));
    rst_buffer_free(&bytes);
}
END_TEST

/* The number alone is wrong: no other version wrote that, as all else fits with ours. */
START_TEST(a_damaged_version_is_no_other_version)
{
    struct rst_manifest manifest, decoded;
    struct rst_buffer bytes = {0};
    memset(&manifest, 0, sizeof manifest);
    ck_assert_int_eq(rst_manifest_encode(&manifest, &bytes), 0);
    uint8_t *version = bytes.data + offsetof(struct rst_manifest_header, format_version);
    rst_put_u32(version, RST_FORMAT_VERSION + 4);
    ck_assert_int_eq(rst_manifest_decode(bytes.data, bytes.size, &decoded), ROOST_ECORRUPT);
    bytes.data[offsetof(struct rst_manifest_header, checksum)] ^= 1;
    ck_assert_int_eq(rst_manifest_decode(bytes.data, bytes.size, &decoded), ROOST_EVERSION);
    rst_buffer_free(&bytes);
}
END_TEST

START_TEST(a_payload_that_was_not_read_is_not_right)
{
    struct rst_record record = {.kind = RST_RECORD_MEMORY, .payload_size = 8, .payload_hash = rst_hash("payload!", 8, 0)};
    uint8_t bytes[sizeof record + 8];
    struct rst_record_view view;
    rst_record_seal(&record, NULL, 0, 0);
    memcpy(bytes, &record, sizeof record);
    memcpy(bytes + sizeof record, "payload!", 8);
    ck_assert_int_eq(rst_record_decode(bytes, sizeof bytes, 0, 0, &view), 0);
    ck_assert(rst_record_payload_right(&view));
    bytes[sizeof record] ^= 1;
    ck_assert(!rst_record_payload_right(&view));
    ck_assert_int_eq(rst_record_decode(bytes, sizeof bytes - 1, 0, 0, &view), 0);
    ck_assert_ptr_null(view.payload.data);
    ck_assert(!rst_record_payload_right(&view));
}
END_TEST

START_TEST(a_state_that_is_too_short_or_too_long)
{
    static uint8_t bytes[ROOST_STATE_SIZE_MAX + 1];
    struct rst_state_header header = {.size = sizeof header};
    struct roost_state state = ROOST_STATE_INIT;
    struct roost_extra *extra = NULL;
    memcpy(bytes, &header, sizeof header);
    ck_assert_int_eq(rst_state_decode(rst_bytes(bytes, sizeof header), &state, &extra), 0);
    free(extra);
    ck_assert_int_eq(rst_state_decode(rst_bytes(bytes, sizeof header - 1), &state, &extra), ROOST_ECORRUPT);
    header.size = sizeof bytes;
    memcpy(bytes, &header, sizeof header);
    ck_assert_int_eq(rst_state_decode(rst_bytes(bytes, sizeof bytes), &state, &extra), ROOST_ECORRUPT);
}
END_TEST

START_TEST(numbers_that_do_not_fit_64_bits)
{
    uint8_t bytes[11];
    uint64_t value = 0;
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_uint_eq(rst_varint_decode(bytes, sizeof bytes, &value), 0); /* never ends */
    bytes[9] = 1;
    ck_assert_uint_eq(rst_varint_decode(bytes, sizeof bytes, &value), 10);
    ck_assert_uint_eq(value, UINT64_MAX);
    bytes[9] = 0x81; /* goes on where it must end */
    ck_assert_uint_eq(rst_varint_decode(bytes, sizeof bytes, &value), 0);
    bytes[9] = 2;
    ck_assert_uint_eq(rst_varint_decode(bytes, sizeof bytes, &value), 0);
    bytes[9] = 1;
    ck_assert_uint_eq(rst_varint_decode(bytes, 9, &value), 0); /* cut short */
}
END_TEST

START_TEST(errors_nobody_knows_have_words_too)
{
    char text[2000];
    ck_assert_str_ne(roost_error_text(-123456), "");
    ck_assert_str_ne(roost_error_name(-123456), "");
    rst_fail_clear();
    ck_assert_int_eq(rst_fail_context(ROOST_EINVAL, "here"), ROOST_EINVAL);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), roost_error_text(ROOST_EINVAL)));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(rst_fail_context(ROOST_EINVAL, "%s", text), ROOST_EINVAL); /* cut, not run over */
    ck_assert_uint_eq(strspn(rst_fail_detail(), "x"), strlen(rst_fail_detail()));
    ck_assert_uint_lt(strlen(rst_fail_detail()), sizeof text - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("format");
    TCase *tests = tcase_create("format");
    tcase_add_test(tests, a_frame_with_one_fact_wrong_is_none);
    tcase_add_test(tests, a_body_of_another_size_than_it_says_is_refused);
    tcase_add_test(tests, a_submission_with_one_fact_wrong_is_refused);
    tcase_add_test(tests, an_external_payload_has_a_limit_too);
    tcase_add_test(tests, segments_beyond_what_a_manifest_covers);
    tcase_add_test(tests, a_damaged_version_is_no_other_version);
    tcase_add_test(tests, a_payload_that_was_not_read_is_not_right);
    tcase_add_test(tests, a_state_that_is_too_short_or_too_long);
    tcase_add_test(tests, numbers_that_do_not_fit_64_bits);
    tcase_add_test(tests, errors_nobody_knows_have_words_too);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
