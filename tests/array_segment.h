/* SPDX-License-Identifier: MIT
 * tests/array_segment.h: the simplest segment there can be, for tests: plain arrays behind struct rst_segment_ops.
 * It is what the live and the sealed segment are compared with, and it lets a test decide the order in which terms come. */
#ifndef RST_TESTS_ARRAY_SEGMENT_H
#define RST_TESTS_ARRAY_SEGMENT_H

#include "index/analysis.h"
#include "index/segment.h"

struct array_posting {
    uint64_t id, lsn;
    uint32_t frequency;
};
struct array_term {
    uint8_t bytes[RST_TERM_SIZE_MAX];
    uint32_t size;
    struct array_posting *postings;
    size_t count, capacity;
};
struct array_key {
    uint8_t *bytes;
    size_t size;
    struct rst_map_entry entry;
};
struct array_tombstone {
    uint64_t id, lsn;
};
struct array_segment {
    struct rst_segment segment; /* first */
    struct rst_memory_entry *memories;
    size_t memory_count;
    struct array_tombstone *tombstones; /* by id */
    size_t tombstone_count;
    struct array_term *terms; /* as they came; reversed by array_segment_reverse_terms */
    size_t term_count;
    struct array_key *keys; /* by key, then by LSN */
    size_t key_count;
};

void array_segment_init(struct array_segment *segment, const char *name, uint64_t lsn_first, uint64_t lsn_last);
void array_segment_free(struct array_segment *segment);
void array_segment_add_memory(struct array_segment *segment, const struct rst_memory_entry *entry, const struct rst_terms *terms);
void array_segment_add_tombstone(struct array_segment *segment, uint64_t id, uint64_t lsn);
void array_segment_set_map(struct array_segment *segment, struct roost_bytes key, const struct rst_map_entry *entry);
void array_segment_reverse_terms(struct array_segment *segment);

#endif
