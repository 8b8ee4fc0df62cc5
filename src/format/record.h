/* SPDX-License-Identifier: MIT
 * format/record.h: a record in the blocks (layer 2). Prose: protocol/blocks.md. Layout: protocol/blocks.layout.json.
 * A record is a fixed header, tagged optional fields and a payload. Later fields get new tags: who does not know a tag
 * passes over it. The header's checksum covers header and fields and is bound to epoch and place; the payload has its own. */
#ifndef RST_FORMAT_RECORD_H
#define RST_FORMAT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include <roost/roost.h>

#define RST_RECORD_MAGIC UINT32_C(0x44524352) /* "RCRD" */
enum { RST_RECORD_ALIGNMENT = 8 };

enum rst_record_kind {
    RST_RECORD_MEMORY = 1, /* number: its id; extra: the id it replaces, or 0; payload: the text */
    RST_RECORD_FORGET,     /* number: the id forgotten; field KEY when that key ends with it */
    RST_RECORD_KEY_SET,    /* field KEY; extra: expires_ns; payload: the value */
    RST_RECORD_KEY_DELETE, /* field KEY */
    RST_RECORD_STREAM,     /* field NAME; number: the entry's index; extra: bytes of entries before it; payload: the entry */
    RST_RECORD_STATE,      /* field NAME; number: version; payload: the state (format/state.h) */
    RST_RECORD_EPOCH,      /* number: the epoch that ended; extra: the last LSN kept of it (R1) */
    RST_RECORD_VOID,       /* number: size in bytes of an extent that was granted and not committed (R5) */
    RST_RECORD_KIND_COUNT
};
enum rst_field_tag {
    RST_FIELD_END = 0,
    RST_FIELD_KEY,
    RST_FIELD_NAME,
    RST_FIELD_TAG,
    /* Of memories, each once at most: */
    RST_FIELD_AGENT,
    RST_FIELD_SESSION,
    RST_FIELD_PROCESS,
    RST_FIELD_TOOL,
    RST_FIELD_METADATA,
};

struct rst_record {
    uint32_t magic;
    uint16_t kind, flags;
    uint64_t lsn, epoch;
    uint64_t number, extra;
    int64_t time_ns;
    uint32_t fields_size;  /* bytes, a multiple of 8 (padded with END tags) */
    uint32_t payload_size; /* bytes */
    uint64_t payload_hash; /* xxh3 of the payload */
    uint64_t checksum;     /* xxh3 of this header (this word 0) and the fields, seeded with epoch, chunk and offset */
};

/* Where a record lies in the blocks. */
struct rst_place {
    uint64_t offset; /* bytes, in the chunk file; 8-aligned */
    uint32_t size;   /* bytes of the whole record: header, fields, payload */
    uint32_t chunk;
};

/* Bytes that a record takes in the blocks. */
uint64_t rst_record_size(uint32_t fields_size, uint32_t payload_size);
/* Adds a field: tag, size (varint), bytes. rst_fields_end pads. */
void rst_fields_add(struct rst_buffer *fields, enum rst_field_tag tag, struct roost_bytes value);
void rst_fields_end(struct rst_buffer *fields);
/* The next field: 1 and it, 0 at the end, ROOST_ECORRUPT. *offset starts at 0. */
int rst_fields_next(struct roost_bytes fields, size_t *offset, uint32_t *ret_tag, struct roost_bytes *ret_value);
/* The first field with this tag: 1 or 0 (garbage counts as none: fields are under a checksum). */
int rst_fields_find(struct roost_bytes fields, enum rst_field_tag tag, struct roost_bytes *ret_value);
/* All TAG fields, as an array that the caller frees; NULL with count 0 when there are none. ROOST_ENOMEM. */
int rst_fields_tags(struct roost_bytes fields, struct roost_bytes **ret_tags, size_t *ret_count);

/* Sets magic and checksum. fields: the fields_size bytes. */
void rst_record_seal(struct rst_record *record, const uint8_t *fields, uint32_t chunk, uint64_t offset);

/* A record that was read: pieces of the caller's bytes. */
struct rst_record_view {
    struct rst_record header;
    struct roost_bytes fields, payload; /* payload.data is NULL where it was not given */
};
/* Checks header, fields and (where `size` reaches to it) nothing of the payload's bytes. bytes: what lies at (chunk, offset),
 * at least header and fields. 0 or ROOST_ECORRUPT (the detail says what, not where). */
int rst_record_decode(const uint8_t *bytes, uint64_t size, uint32_t chunk, uint64_t offset, struct rst_record_view *ret_record);
bool rst_record_payload_right(const struct rst_record_view *record);

#endif
