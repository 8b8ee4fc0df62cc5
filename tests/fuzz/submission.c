/* SPDX-License-Identifier: MIT
 * fuzz/submission.c: what a client puts into its lane (format/submission.h). */
#include "format/submission.h"
#include "base/hash.h"
#include "fuzz.h"

/* What passed the check is walked as the writer does, without looking again. */
static void check(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = fuzz_copy(bytes, size);
    if (rst_submission_check(copy, size) == 0) {
        struct rst_op_view op;
        size_t offset = sizeof(struct rst_submission_header);
        uint32_t count = 0;
        while (rst_submission_next(copy, &offset, &op) == 1) {
            RST_CHECK(offset <= size);
            uint32_t tag;
            struct roost_bytes value;
            int more;
            for (size_t at = 0; (more = rst_fields_next(op.fields, &at, &tag, &value)) == 1;) fuzz_touch(value);
            RST_CHECK(more == 0);
            if (op.payload.data) fuzz_touch(op.payload);
            count++;
        }
        RST_CHECK(offset == size && count >= 1 && count <= ROOST_BATCH_COUNT_MAX);
    }
    free(copy);
}

/* Operations from the input, with right sizes and checksums unless it says otherwise. */
static void check_made(struct fuzz *fuzz)
{
    struct rst_buffer submission = {0}, fields = {0};
    rst_submission_begin(&submission);
    for (unsigned count = fuzz_u8(fuzz) % 5; count > 0; count--) {
        struct rst_op op = {.kind = fuzz_u8(fuzz) % 48, .flags = fuzz_u8(fuzz) % 4, .number = fuzz_number(fuzz)};
        rst_buffer_clear(&fields);
        for (unsigned i = fuzz_u8(fuzz) % 4; i > 0; i--) rst_fields_add(&fields, i, fuzz_take(fuzz, fuzz_u8(fuzz)));
        rst_fields_end(&fields);
        struct roost_bytes payload = fuzz_take(fuzz, fuzz_u8(fuzz));
        op.payload_hash = rst_hash(payload.data, payload.size, 0);
        if (op.flags & RST_OP_EXTERNAL) payload.data = NULL;
        rst_submission_add(&submission, &op, rst_bytes(fields.data, fields.size), payload);
    }
    RST_CHECK(rst_submission_end(&submission, fuzz_u8(fuzz) % 4) == 0);
    struct rst_submission_header header;
    fuzz_damage(fuzz, submission.data + sizeof header, submission.size - sizeof header, fuzz_u8(fuzz) % 4);
    memcpy(&header, submission.data, sizeof header);
    header.checksum = rst_hash(submission.data + sizeof header, submission.size - sizeof header, header.level);
    memcpy(submission.data, &header, sizeof header);
    check(submission.data, submission.size);
    rst_buffer_free(&submission);
    rst_buffer_free(&fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    if (fuzz_one_in(&fuzz, 4))
        check(fuzz.at, fuzz.left);
    else
        check_made(&fuzz);
    return 0;
}
