/* SPDX-License-Identifier: MIT
 * format/manifest.h: the bytes of index/MANIFEST (layer 2). Prose: protocol/manifest.md. Layout: protocol/manifest.layout.json.
 * The only authority for which segments there are, what they cover and where in the log replay begins. Replaced whole. */
#ifndef RST_FORMAT_MANIFEST_H
#define RST_FORMAT_MANIFEST_H

#include <stdint.h>

#include "base/buffer.h"

#define RST_MANIFEST_MAGIC UINT64_C(0x464e414d54534f52) /* "ROSTMANF" */
enum { RST_SEGMENT_COUNT_MAX = 4096, RST_MANIFEST_CLIENT_COUNT_MAX = 8192 };

struct rst_manifest_header {
    uint64_t magic;
    uint32_t format_version, size; /* size: of the whole file */
    uint64_t generation;
    uint64_t covered_lsn;     /* everything up to it is in segments */
    uint64_t replay_position; /* of the log: the first frame to replay */
    uint64_t epoch;           /* the greatest used so far */
    uint64_t id_next, id_ceiling, lsn_ceiling;
    uint64_t memory_count, token_count; /* at covered_lsn */
    uint64_t chunk_tail;
    uint32_t chunk, segment_count;
    uint32_t client_count, reserved;
    uint64_t segment_next; /* number of the next segment file */
    uint64_t checksum;     /* xxh3 of the whole file (this word 0) */
};
struct rst_manifest_segment {
    uint64_t number; /* index/seg-NUMBER.idx */
    uint64_t lsn_first, lsn_last;
    uint64_t size; /* bytes of the file */
};

/* What is kept of a client for exactly-once (R19): its last submission and that one's outcome. */
struct rst_client_record {
    uint64_t client;
    uint64_t sequence; /* the last one consumed */
    uint64_t lsn, id;  /* that one's outcome */
    int32_t result;
    uint32_t reserved;
};

struct rst_manifest {
    struct rst_manifest_header header;
    struct rst_manifest_segment *segments; /* oldest first */
    struct rst_client_record *clients;
};

/* 0 or ROOST_ENOMEM. Counts are taken from the header; size and checksum are set. */
int rst_manifest_encode(const struct rst_manifest *manifest, struct rst_buffer *ret_bytes);
/* 0, ROOST_ECORRUPT, ROOST_EVERSION or ROOST_ENOMEM. */
int rst_manifest_decode(const uint8_t *bytes, size_t size, struct rst_manifest *ret_manifest);
void rst_manifest_free(struct rst_manifest *manifest);

#endif
