/* SPDX-License-Identifier: MIT
 * engine/salvage.h: what can be read of a damaged root (layer 7), for rescue.
 *
 * Nothing of the source has to be whole. Records are taken from the blocks and from all frames that are left in the log's ring (older
 * ones than the last checkpoint too: what rotted in the blocks may still stand there); each proves itself by its checksum, which is bound
 * to its place. What counts is decided as everywhere (R1): by EPOCH records, by what MANIFEST covers, by frames, and, where the log is
 * damaged, by the greatest durable LSN that any frame names. */
#ifndef RST_ENGINE_SALVAGE_H
#define RST_ENGINE_SALVAGE_H

#include "engine/past.h"
#include "engine/verify.h"
#include "store/ring.h"
#include "store/scan.h"

enum rst_origin {
    RST_FROM_FRAME,   /* its bytes are in `frames` */
    RST_FROM_CHUNK,   /* its bytes are in a chunk */
    RST_FROM_NOTHING, /* it is known, and cannot be read */
};
struct rst_piece {
    uint64_t lsn, epoch;
    uint64_t frame_offset; /* in `frames`: the record's head, with its payload if that is inline */
    uint64_t offset;       /* in its chunk */
    uint32_t chunk, size;
    uint32_t head_size; /* FROM_FRAME: bytes there */
    uint32_t fact;      /* FROM_NOTHING: what the old index says, from 1 on; 0: the head in the chunk is right */
    uint8_t origin, whole, unsure;
};
/* Bytes of a chunk in which no record begins. */
struct rst_piece_gap {
    uint64_t offset, size;
    struct rst_record header; /* with guess */
    uint32_t chunk;
    bool guess, inside; /* inside: not up to the chunk's end */
};
/* Of the old index. */
struct rst_piece_fact {
    struct rst_fact fact;
    size_t name_offset;
};
struct rst_salvage {
    const char *source;
    struct rst_findings findings;
    int directory, blocks_directory, index_directory, log_file;
    int chunk_file; /* the chunk that was read from last, number chunk_open; -1: none */
    uint32_t chunk_open;
    struct rst_log_header header; /* of the source, or what stands in for it */
    bool has_header, has_manifest, has_ring, log_hurt;
    struct rst_manifest manifest;
    struct rst_ring ring;
    struct rst_past past;
    struct rst_epochs epochs;
    struct rst_buffer pieces; /* struct rst_piece, by LSN: the best of each, then what only the old index knows */
    struct rst_buffer frames, names;
    struct rst_buffer facts; /* struct rst_piece_fact */
    struct rst_buffer gaps;  /* struct rst_piece_gap */
    uint64_t durable_lsn;    /* what any frame, or MANIFEST, proves to have been acknowledged */
};
/* Opens the source, which nobody may have open, and reads all of it. Close it also after an error. */
int rst_salvage_open(const char *source, roost_found_fn found, void *user, struct rst_salvage *ret_salvage);
void rst_salvage_close(struct rst_salvage *salvage);

size_t rst_piece_count(const struct rst_salvage *salvage);
struct rst_piece *rst_piece_at(const struct rst_salvage *salvage, size_t index);
/* The record's bytes, head and payload, into `bytes`. A payload that is not right is left out: *ret_whole. 0: the head is right. */
int rst_salvage_read(struct rst_salvage *salvage, const struct rst_piece *piece, struct rst_buffer *bytes,
                     struct rst_record_view *ret_record, bool *ret_whole);
/* Does it count? piece->unsure: nothing proves it, and nothing speaks against it. */
bool rst_salvage_counts(const struct rst_salvage *salvage, struct rst_piece *piece);
/* Is a piece with this LSN among the first `count`, which are sorted? */
bool rst_salvage_have(const struct rst_salvage *salvage, size_t count, uint64_t lsn);
bool rst_salvage_frame_kept(const struct rst_salvage *salvage, const struct rst_frame_header *frame);
/* Tells that something is lost. */
void rst_salvage_lost(struct rst_salvage *salvage, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void rst_salvage_file(uint32_t chunk, char ret_text[48]);
int rst_salvage_no_memory(void);

#endif
