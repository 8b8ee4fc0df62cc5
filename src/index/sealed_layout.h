/* SPDX-License-Identifier: MIT
 * index/sealed_layout.h: the structs of a sealed segment's file (layer 5).
 * protocol/segment.layout.json lists the same fields and is checked against this header; protocol/segment.md tells what they
 * mean. Little-endian, every struct and section 8-aligned, offsets from the beginning of the file. */
#ifndef RST_INDEX_SEALED_LAYOUT_H
#define RST_INDEX_SEALED_LAYOUT_H

#include <stdint.h>

/* The file's first eight bytes are "ROOSTSEG". */
#define RST_SEALED_MAGIC UINT64_C(0x47455354534f4f52)

enum rst_sealed_section_index {
    RST_SEALED_MEMORIES = 0,
    RST_SEALED_TOMBSTONES = 1,
    RST_SEALED_TERMS = 2,
    RST_SEALED_TERM_BYTES = 3,
    RST_SEALED_POSTINGS = 4,
    RST_SEALED_MAP = 5,
    RST_SEALED_MAP_KEYS = 6,
    RST_SEALED_SECTION_COUNT = 7
};

struct rst_sealed_section {
    uint64_t offset, size;
    uint64_t hash; /* XXH3-64 of the section's bytes, seeded with its index + 1 */
};

struct rst_sealed_header {
    uint64_t magic;
    uint32_t version;
    uint32_t analysis_version;
    uint8_t language[16];
    uint64_t lsn_first, lsn_last;
    uint64_t file_size;
    uint64_t memory_count;
    uint64_t tombstone_count;
    uint64_t term_count;
    uint64_t posting_count;
    uint64_t map_count;
    uint64_t id_first, id_last;
    uint64_t token_count;
    uint64_t reserved;
    struct rst_sealed_section sections[7];
    uint8_t reserved_end[16];
    uint64_t hash; /* XXH3-64 of the 312 bytes before it, seed 0 */
};

struct rst_sealed_memory {
    uint64_t id, lsn;
    uint64_t offset;
    uint32_t size;
    uint32_t chunk;
    int64_t time_ns;
    uint32_t token_count;
    uint32_t reserved;
};

struct rst_sealed_tombstone {
    uint64_t id, lsn;
};

struct rst_sealed_term {
    uint64_t postings_offset; /* in the section of postings */
    uint32_t postings_size;
    uint32_t posting_count;
    uint32_t bytes_offset; /* in the section of term bytes */
    uint32_t bytes_size;
};

struct rst_sealed_map {
    uint64_t key_offset; /* in the section of map keys */
    uint32_t key_size;
    uint32_t kind;
    uint64_t lsn;
    uint64_t offset;
    uint32_t size;
    uint32_t chunk;
    uint64_t number;
    uint64_t bytes;
    int64_t time_ns;
    int64_t expires_ns;
};

#endif
