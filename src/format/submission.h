/* SPDX-License-Identifier: MIT
 * format/submission.h: what a client puts into its lane (layer 2). Prose: protocol/region.md.
 * A submission is a header and operations, one after the other, 8-aligned. An operation carries its record's fields as they
 * will stand in the blocks, and its payload, or where the client has already written the payload (an extent). */
#ifndef RST_FORMAT_SUBMISSION_H
#define RST_FORMAT_SUBMISSION_H

#include <stdint.h>

#include "base/buffer.h"
#include "format/record.h"
#include <roost/roost.h>

#define RST_SUBMISSION_MAGIC UINT32_C(0x4d425553) /* "SUBM" */

enum rst_op_kind {
    /* changes: the record kinds (format/record.h) that clients may ask for */
    RST_OP_MEMORY = 1,
    RST_OP_FORGET = 2,
    RST_OP_KEY_SET = 3,
    RST_OP_KEY_DELETE = 4,
    RST_OP_STREAM = 5,
    /* requests to whoever holds the role: answered, never logged; each stands alone in its submission */
    RST_OP_STATE_CLAIM = 32, /* field NAME: give me a state slot -> number of the slot */
    RST_OP_STATE_STORE,      /* number: a slot; store its state at the submission's level */
    RST_OP_GRANT,            /* number: bytes; reserve an extent -> chunk << 32 | offset */
    RST_OP_SETTLE,           /* number: client, argument: sequence -> that submission's outcome */
    RST_OP_SYNC,
    RST_OP_CHECKPOINT,
    RST_OP_REBUILD,
    RST_OP_REST,
};
enum rst_op_flag {
    RST_OP_IF_VERSION = 1 << 0, /* keys: number is the version expected */
    RST_OP_EXTERNAL = 1 << 1,   /* the payload lies in the extent (chunk, offset) already */
};

struct rst_submission_header {
    uint32_t magic;
    uint32_t size; /* of the whole submission */
    uint32_t op_count;
    uint32_t level;    /* enum roost_level */
    uint64_t checksum; /* xxh3 of the operations: an entry torn by its author's death is told from a whole one */
};

struct rst_op {
    uint16_t kind, flags;
    uint32_t size;             /* header, fields and inline payload, padded to 8 */
    uint64_t number, argument; /* argument: keys: expires_ns */
    int64_t time_ns;           /* memories: 0: the commit's */
    uint32_t fields_size, payload_size;
    uint64_t payload_hash;
    uint64_t offset; /* with EXTERNAL: of the record in the chunk */
    uint32_t chunk, reserved;
};

/* Appends an operation. fields: as rst_fields_... made them. payload.data NULL: external or none. */
void rst_submission_begin(struct rst_buffer *submission);
void rst_submission_add(struct rst_buffer *submission, struct rst_op *op, struct roost_bytes fields, struct roost_bytes payload);
/* Sets size, count and checksum. 0, ROOST_ENOMEM or ROOST_E2BIG. */
int rst_submission_end(struct rst_buffer *submission, uint32_t level);

/* Checks everything: sizes, kinds, limits, checksum. bytes: a private copy (never shared memory: it could change underfoot).
 * 0 or ROOST_ECORRUPT. */
int rst_submission_check(const uint8_t *bytes, size_t size);
/* The op at *offset (begin: sizeof(struct rst_submission_header)); advances it. Only after rst_submission_check. */
struct rst_op_view {
    struct rst_op op;
    struct roost_bytes fields, payload; /* payload.data NULL: external */
};
int rst_submission_next(const uint8_t *bytes, size_t *offset, struct rst_op_view *ret_op);

#endif
