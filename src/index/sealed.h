/* SPDX-License-Identifier: MIT
 * index/sealed.h: a sealed segment, an immutable file (layer 5). protocol/segment.md describes the bytes. */
#ifndef RST_INDEX_SEALED_H
#define RST_INDEX_SEALED_H

#include "base/buffer.h"
#include "index/segment.h"

enum { RST_SEGMENT_VERSION = 1 };

/* Merges `count` segments, oldest first (live or sealed, adjacent, or one), into the bytes of one new segment file covering
 * lsn_first..lsn_last. Nothing newer than lsn_last is taken. A memory forgotten within the merged range disappears with its
 * postings and its tombstone; tombstones of older memories stay unless `oldest` (then there is nothing older), and so do deleted
 * map entries (expired ones always stay); of several versions of a key the newest stays. language and RST_ANALYSIS_VERSION are
 * stored. The same contents give the same bytes. *ret_file is replaced. */
struct rst_seal {
    const struct rst_segment *const *segments;
    size_t count;
    uint64_t lsn_first, lsn_last;
    bool oldest;
    const char *language;
};
int rst_seal_build(const struct rst_seal *seal, struct rst_buffer *ret_file);

struct rst_sealed {
    struct rst_segment segment; /* first */
    const uint8_t *data;
    uint64_t size;
    uint64_t memory_count;      /* memories in it */
    uint64_t id_first, id_last; /* 0, 0 when it has none */
    char name[48];
    uint64_t word[16]; /* private: which sections were verified, where they lie, their sizes */
};
/* data: the mapped file, 8-aligned, which must stay mapped and unchanged; *ret_sealed must not be moved (the segment's name lies
 * in it). Checks the header and the table of sections now, each section's checksum when it is first used by this process.
 * ROOST_ECORRUPT names file and offset; ROOST_EVERSION: built by another version or for another language (the caller rebuilds
 * it; language NULL accepts any). Safe for many threads at once. */
int rst_sealed_open(struct rst_sealed *ret_sealed, const char *name, const void *data, uint64_t size, const char *language);
/* Every checksum, order and bound. found is called for each fault (may be NULL); returns how many, or a negative error. */
int rst_sealed_verify(const struct rst_sealed *sealed, void (*found)(void *user, uint64_t offset, const char *what), void *user);

#endif
