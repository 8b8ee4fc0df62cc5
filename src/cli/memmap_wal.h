/* SPDX-License-Identifier: MIT
 * memmap_wal.h: the state.wal of memmap_fs, a Rust program.
 *
 * It is frames one behind the other: a length (64 bits, little-endian) and so many bytes, which are one command in bincode 1.3: fixed
 * little-endian numbers, a variant in 32 bits, texts and lists with a length in 64 bits before them. There are no checksums and no marks.
 * After a crash half a frame may be left; memmap_fs itself then goes on behind it and cannot read its log any more. */
#ifndef ROOST_CLI_MEMMAP_WAL_H
#define ROOST_CLI_MEMMAP_WAL_H

#include <roost/roost.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memmap_kind { MEMMAP_MEMORY, MEMMAP_SET, MEMMAP_DELETE, MEMMAP_STREAM };
/* Texts point into the payload. */
struct memmap_command {
    enum memmap_kind kind;
    struct roost_bytes key, value; /* of keys; key: the stream's name too */
    uint64_t id;                   /* of a memory */
    struct roost_bytes tags;       /* as they are encoded: for memmap_next_tag */
    uint32_t chunk;                /* memories and streams: where the bytes are */
    uint64_t offset, length;
};
/* Exactly one command, and texts in UTF-8; false: it is none. */
bool memmap_decode(struct roost_bytes payload, struct memmap_command *ret_command);
bool memmap_next_tag(struct roost_bytes *tags, struct roost_bytes *ret_tag);

struct memmap_piece {
    uint64_t offset, size;
};
/* What a log holds: the payloads of its commands, and the bytes between that are none. */
struct memmap_wal {
    struct memmap_piece *frames, *gaps;
    size_t frame_count, frame_capacity, gap_count, gap_capacity;
};
/* False: out of memory. memmap_wal_free in any case. */
bool memmap_wal_read(struct roost_bytes log, struct memmap_wal *ret_wal);
void memmap_wal_free(struct memmap_wal *wal);

#endif
