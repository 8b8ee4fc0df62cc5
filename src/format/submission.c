/* SPDX-License-Identifier: MIT
 * format/submission.c: encode, decode and check submissions (layer 2). */
#include "format/submission.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

void rst_submission_begin(struct rst_buffer *submission)
{
    rst_buffer_clear(submission);
    rst_buffer_add_zeros(submission, sizeof(struct rst_submission_header));
}

void rst_submission_add(struct rst_buffer *submission, struct rst_op *op, struct roost_bytes fields, struct roost_bytes payload)
{
    size_t inline_size = payload.data ? payload.size : 0;
    uint64_t size = rst_align_up(sizeof *op + fields.size + inline_size, 8);
    op->size = (uint32_t)size;
    op->fields_size = (uint32_t)fields.size;
    op->payload_size = (uint32_t)payload.size;
    size_t begin = submission->size;
    rst_buffer_add(submission, op, sizeof *op);
    rst_buffer_add(submission, fields.data, fields.size);
    rst_buffer_add(submission, payload.data, inline_size);
    rst_buffer_add_zeros(submission, begin + size - submission->size);
    if (submission->failed) return;
    struct rst_submission_header header;
    memcpy(&header, submission->data, sizeof header);
    header.op_count++;
    memcpy(submission->data, &header, sizeof header);
}

int rst_submission_end(struct rst_buffer *submission, uint32_t level)
{
    if (submission->failed) return rst_fail(ROOST_ENOMEM, "no memory for a submission");
    if (submission->size > UINT32_MAX)
        return rst_fail(ROOST_E2BIG, "a submission of %zu bytes; at most %u", submission->size, UINT32_MAX);
    struct rst_submission_header header;
    memcpy(&header, submission->data, sizeof header);
    header.magic = RST_SUBMISSION_MAGIC;
    header.size = (uint32_t)submission->size;
    header.level = level;
    header.checksum = rst_hash(submission->data + sizeof header, submission->size - sizeof header, level);
    memcpy(submission->data, &header, sizeof header);
    return 0;
}

static int check_op(const uint8_t *bytes, size_t room)
{
    struct rst_op op;
    if (room < sizeof op) return ROOST_ECORRUPT;
    memcpy(&op, bytes, sizeof op);
    uint64_t inline_size = op.flags & RST_OP_EXTERNAL ? 0 : op.payload_size;
    if (op.size > room || op.size != rst_align_up(sizeof op + op.fields_size + inline_size, 8)) return ROOST_ECORRUPT;
    if (op.fields_size % 8 || op.payload_size > ROOST_RECORD_SIZE_MAX) return ROOST_ECORRUPT;
    if (!op.kind || (op.kind > RST_OP_STREAM && op.kind < RST_OP_STATE_CLAIM) || op.kind > RST_OP_REST) return ROOST_ECORRUPT;
    struct roost_bytes fields = rst_bytes(bytes + sizeof op, op.fields_size), value;
    uint32_t tag;
    int more;
    for (size_t offset = 0; (more = rst_fields_next(fields, &offset, &tag, &value)) == 1;) {}
    if (more < 0) return more;
    if (!(op.flags & RST_OP_EXTERNAL) && op.payload_size &&
        rst_hash(bytes + sizeof op + op.fields_size, op.payload_size, 0) != op.payload_hash)
        return ROOST_ECORRUPT;
    return 0;
}

int rst_submission_check(const uint8_t *bytes, size_t size)
{
    struct rst_submission_header header;
    if (size < sizeof header) return rst_fail(ROOST_ECORRUPT, "a submission of %zu bytes", size);
    memcpy(&header, bytes, sizeof header);
    if (header.magic != RST_SUBMISSION_MAGIC || header.size != size || header.level < ROOST_DURABLE ||
        header.level > ROOST_PROCESS || !header.op_count || header.op_count > ROOST_BATCH_COUNT_MAX)
        return rst_fail(ROOST_ECORRUPT, "a submission's header is damaged");
    if (header.checksum != rst_hash(bytes + sizeof header, size - sizeof header, header.level))
        return rst_fail(ROOST_ECORRUPT, "a submission fails its checksum");
    size_t offset = sizeof header;
    for (uint32_t i = 0; i < header.op_count; i++) {
        if (check_op(bytes + offset, size - offset) < 0)
            return rst_fail(ROOST_ECORRUPT, "operation %u of a submission is damaged", i);
        struct rst_op op;
        memcpy(&op, bytes + offset, sizeof op);
        if (op.kind >= RST_OP_STATE_CLAIM && header.op_count != 1)
            return rst_fail(ROOST_ECORRUPT, "a request stands beside other operations");
        offset += op.size;
    }
    return offset == size ? 0 : rst_fail(ROOST_ECORRUPT, "a submission has bytes behind its last operation");
}

int rst_submission_next(const uint8_t *bytes, size_t *offset, struct rst_op_view *ret_op)
{
    struct rst_submission_header header;
    memcpy(&header, bytes, sizeof header);
    if (*offset >= header.size) return 0;
    memcpy(&ret_op->op, bytes + *offset, sizeof ret_op->op);
    const uint8_t *fields = bytes + *offset + sizeof ret_op->op;
    ret_op->fields = rst_bytes(fields, ret_op->op.fields_size);
    ret_op->payload =
        rst_bytes(ret_op->op.flags & RST_OP_EXTERNAL ? NULL : fields + ret_op->op.fields_size, ret_op->op.payload_size);
    *offset += ret_op->op.size;
    return 1;
}
