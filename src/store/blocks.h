/* SPDX-License-Identifier: MIT
 * store/blocks.h: the chunk files, where payload lives (layer 4). Prose: protocol/blocks.md.
 * Written by pwrite (errors are return codes), read through mappings that stay until close, so bytes handed out stay valid. */
#ifndef RST_STORE_BLOCKS_H
#define RST_STORE_BLOCKS_H

#include <pthread.h>
#include <stdbool.h>

#include "format/record.h"

enum { RST_CHUNK_PAGE_COUNT = 4096, RST_CHUNK_PAGE_SIZE = 1024 }; /* a two-level table of mapped chunks: 4 Mi chunks */

struct rst_chunk {
    uint8_t *base;
    uint64_t mapped, size; /* bytes mapped; of the file when last looked at */
    int file;              /* for writing; -1: not open */
};
struct rst_blocks {
    int directory;
    uint64_t chunk_size;
    uint32_t mode;
    pthread_mutex_t lock; /* of the table and the chunks in it */
    struct rst_chunk *pages[RST_CHUNK_PAGE_COUNT];
};

int rst_blocks_open(struct rst_blocks *blocks, int root_directory, uint64_t chunk_size);
void rst_blocks_close(struct rst_blocks *blocks);
/* In a fork's child: the descriptors only. */
void rst_blocks_close_files(struct rst_blocks *blocks);

/* Reads: the record at a place, header and fields checked, payload mapped but not checked (rst_record_payload_right does).
 * ROOST_ECORRUPT with "blocks/chunk_0001.bin, offset ...". Any thread. */
int rst_blocks_read(struct rst_blocks *blocks, const struct rst_place *place, struct rst_record_view *ret_record);
/* The mapped bytes of a place, unchecked; NULL when the chunk has none such. */
const uint8_t *rst_blocks_bytes(struct rst_blocks *blocks, uint32_t chunk, uint64_t offset, uint64_t size, int *ret_err);
void rst_chunk_name(uint32_t chunk, char ret_name[32]); /* "chunk_0001.bin" */
/* The number in such a name; false: a name that we do not give ("chunk_7.bin" is somebody's copy). */
bool rst_chunk_number(const char *name, uint32_t *ret_chunk);

/* Writer (or the client that was granted the extent): */
/* Makes sure that [0, end) of the chunk is real space; *ret_new: the file did not exist. */
int rst_blocks_allocate(struct rst_blocks *blocks, uint32_t chunk, uint64_t end, bool *ret_new);
int rst_blocks_write(struct rst_blocks *blocks, uint32_t chunk, uint64_t offset, const void *bytes, size_t size);
int rst_blocks_sync(struct rst_blocks *blocks, uint32_t chunk);
int rst_blocks_sync_directory(struct rst_blocks *blocks);
/* Bytes of the chunk's file; 0: there is none; negative: error. */
int64_t rst_blocks_size(struct rst_blocks *blocks, uint32_t chunk);
/* The numbers of the chunks that there are in the folder, ascending, as u32; there may be gaps of any size. */
int rst_chunks_list(int directory, struct rst_buffer *ret_numbers);
/* The greatest chunk number there is a file for, plus 1; and the bytes of all. */
int rst_blocks_count(struct rst_blocks *blocks, uint32_t *ret_count, uint64_t *ret_bytes);

/* Where a record of this size goes after (chunk, tail): in the same chunk if it fits, else at the beginning of the next; one larger
 * than a chunk has a chunk of its own. Pure. */
struct rst_place rst_blocks_next(uint64_t chunk_size, uint32_t chunk, uint64_t tail, uint32_t size);

#endif
