/* SPDX-License-Identifier: MIT
 * format/log.h: the bytes of state.wal (layer 2). Prose: protocol/log.md. Layout: protocol/log.layout.json.
 * Pure functions: they look at bytes and report; reading and writing files is store/'s. */
#ifndef RST_FORMAT_LOG_H
#define RST_FORMAT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define RST_LOG_MAGIC UINT64_C(0x474f4c54534f4f52) /* "ROOSTLOG" */
#define RST_FRAME_MAGIC UINT32_C(0x4d415246)       /* "FRAM" */
enum {
    RST_FORMAT_VERSION = 1,     /* of everything durable in a root but segments, which carry their own and are rebuilt */
    RST_LOG_HEADER_SIZE = 4096, /* one header slot; two of them lie before the ring */
    RST_LOG_RING_OFFSET = 2 * RST_LOG_HEADER_SIZE,
    RST_FRAME_ALIGNMENT = 512,     /* frames begin on sector boundaries */
    RST_FRAME_COMPRESS_MIN = 1024, /* bodies up to this size are not worth compressing */
};

/* One header slot. The valid slot with the greater sequence counts. */
struct rst_log_header {
    uint64_t magic;
    uint32_t format_version, header_size;
    uint64_t sequence;
    uint8_t root_uuid[16];
    uint64_t device, inode; /* of state.wal itself: another pair means that this root is a copy (R10) */
    uint8_t boot_id[16];    /* of the boot in which region_nonce was made */
    uint64_t region_nonce;  /* 0: no region */
    uint32_t region_kind, reserved;
    uint64_t log_size, chunk_size, arena_size; /* bytes */
    char language[16];
    uint32_t analysis_version, reserved_2;
    int64_t created_ns;
    uint64_t epoch; /* the greatest that anybody may have used: durable before the first record of it is written (R2) */
    uint8_t zero[RST_LOG_HEADER_SIZE - 152 - 8];
    uint64_t checksum; /* xxh3 of all bytes before it */
};

enum rst_frame_flag {
    RST_FRAME_LZ4 = 1 << 0,    /* the body is one LZ4 block of raw_size bytes */
    RST_FRAME_CLOSED = 1 << 1, /* an empty frame at an orderly end: all before it was synced, nothing beyond was handed out */
};

struct rst_frame_header {
    uint32_t magic, flags;
    uint32_t size;     /* bytes of header and stored body; the next frame begins at the next 512-byte boundary */
    uint32_t raw_size; /* bytes of the body, uncompressed */
    uint64_t
        position; /* where it begins in the log: bytes since the root was made; its place in the ring is position % log_size */
    uint64_t epoch;
    uint64_t lsn_first, lsn_last;              /* every frame has at least one LSN, also one without changes */
    uint64_t durable_lsn;                      /* lsn_last of the last frame known durable when this one was written */
    int64_t time_ns;                           /* of the commit: what decisions about expiry were made by */
    uint64_t id_next, id_ceiling, lsn_ceiling; /* after this frame; ceilings: R8 */
    uint64_t chunk_tail;                       /* after this frame: the tail's offset in chunk `chunk` */
    uint32_t chunk, consumed_count;
    uint32_t entry_count, reserved;
    uint64_t checksum; /* xxh3 of the header (this word 0) and the stored body, seeded with epoch and position */
};

/* One submission that a frame answers; its changes are the next change_count entries. */
struct rst_frame_consumed {
    uint64_t client, sequence;
    uint64_t lsn, id; /* of its last change; of its first memory or stream entry */
    int32_t result;   /* 0 or the error it was answered with */
    uint32_t change_count;
    uint32_t failed_index, reserved; /* result != 0: which change failed */
    uint64_t actual;                 /* ROOST_EMISMATCH: the key's version */
};

enum rst_entry_flag { RST_ENTRY_EXTERNAL = 1 << 0 }; /* the payload is in the blocks only */
/* One change: the record (header, fields and, unless external, payload) follows, padded to 8 bytes. */
struct rst_frame_entry {
    uint64_t offset; /* where the record lies in its chunk */
    uint32_t chunk, record_size;
    uint32_t inline_size, flags;
};

/* Fills in the checksum. */
void rst_log_header_seal(struct rst_log_header *header);
/* 0; ROOST_ENOENT: not a header at all (magic); ROOST_EVERSION: another format (detail names both); ROOST_ECORRUPT. */
int rst_log_header_check(const struct rst_log_header *header);

/* A frame under construction, or one that was read. */
struct rst_frame {
    struct rst_frame_header header;
    const uint8_t *body; /* raw */
};
/* Encodes header and body into ret_bytes, compressing where it pays; pads with zeroes to the alignment. header's magic, size, raw_size,
 * LZ4 flag and checksum are set here. ROOST_ENOMEM. */
int rst_frame_encode(struct rst_frame_header *header, const struct rst_buffer *body, struct rst_buffer *ret_bytes);
/* The header alone: could a frame begin here? Cheap; the checksum is not looked at. size_max: the ring's size. */
bool rst_frame_plausible(const struct rst_frame_header *header, uint64_t position, uint64_t size_max);
/* bytes: header.size bytes as stored. Checks all and decodes the body into `scratch`. 0, ROOST_ECORRUPT (not a valid frame) or
 * ROOST_ENOMEM. ret_frame->body points into bytes or scratch. */
int rst_frame_decode(const uint8_t *bytes, size_t size, uint64_t position, struct rst_buffer *scratch,
                     struct rst_frame *ret_frame);

/* Walking a decoded frame. Each returns 1, 0 at the end, ROOST_ECORRUPT. */
struct rst_frame_walk {
    const struct rst_frame *frame;
    uint32_t consumed_index, entry_index;
    size_t offset;
};
void rst_frame_walk_begin(struct rst_frame_walk *walk, const struct rst_frame *frame);
int rst_frame_walk_consumed(struct rst_frame_walk *walk, struct rst_frame_consumed *ret_consumed);
/* After the last consumed one. *ret_record: inline_size bytes. */
int rst_frame_walk_entry(struct rst_frame_walk *walk, struct rst_frame_entry *ret_entry, const uint8_t **ret_record);

#endif
