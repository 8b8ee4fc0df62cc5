/* SPDX-License-Identifier: MIT
 * index/segment.h: what a segment is, live or sealed, to those who ask it questions (layer 5).
 *
 * The index finds things in the blocks; it is derived from them and can always be made anew. It is a list of *segments*,
 * oldest first, each covering one contiguous range of LSNs: sealed ones (immutable files, sealed.h) and at the end one or
 * two live ones (shared memory, append-only, one writer, lock-free readers, live.h). A change in a newer segment hides an
 * older one: a tombstone hides a memory, a map entry hides an earlier entry with the same key.
 *
 * A segment holds
 *   memories    id -> place in the blocks, LSN, time, number of tokens; ids ascend with LSNs
 *   tombstones  ids of forgotten memories (of this segment or of older ones), each with its LSN
 *   postings    term -> (id, frequency) ascending by id. A term is one kind byte and then its bytes (enum rst_term_kind)
 *   map         ordered: key -> struct rst_map_entry. All that is not a memory lives here, under a first byte that says what
 *               it is (the model chooses it); deletions are entries too
 *
 * Every question names the LSN up to which it sees (`visible`): what is newer does not exist for it. */
#ifndef RST_INDEX_SEGMENT_H
#define RST_INDEX_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/record.h"
#include <roost/roost.h>

struct rst_memory_entry {
    uint64_t id, lsn;
    struct rst_place place;
    int64_t time_ns;
    uint32_t token_count; /* for BM25's length norm */
    uint32_t reserved;
};

enum rst_map_kind { RST_MAP_SET = 1, RST_MAP_DELETED = 2 };

struct rst_map_entry {
    uint64_t lsn;
    struct rst_place place; /* the record that made it; size 0: none */
    uint64_t number;        /* by kind of key: a memory's id, a stream's entry count, a state's version */
    uint64_t bytes;         /* streams: bytes before this entry / bytes in all */
    int64_t time_ns;
    int64_t expires_ns; /* 0: never */
    uint32_t kind;      /* enum rst_map_kind */
    uint32_t reserved;
};

enum rst_term_kind {
    RST_TERM_WORD = 'w', /* a folded, stemmed word */
    RST_TERM_TAG = 't',  /* a whole folded tag (a long one: its beginning and a hash) */
    /* Whose it is, byte for byte (a long one as a long tag). Not counted in a memory's length. */
    RST_TERM_AGENT = 'a',
    RST_TERM_SESSION = 's',
    /* For prefix clauses, which are about words and not about stems. Only words that differ from their stem have them. */
    RST_TERM_FORM = 'f',         /* a folded word that begins with its stem: "running" of "run" */
    RST_TERM_ALTERED = 'g',      /* a folded word that does not: "happy" of "happi" */
    RST_TERM_ALTERED_STEM = 'i', /* the stem of such words; the frequency counts them */
};
/* The longest term, kind byte included; longer words are cut. */
enum { RST_TERM_SIZE_MAX = 64, RST_MAP_KEY_SIZE_MAX = 1200 };

struct rst_posting {
    uint64_t id;
    uint32_t frequency;
};

struct rst_segment; /* live or sealed */

/* A cursor is a few words on the caller's stack; it holds no lock and no memory. Stores in it are private to the segment. */
struct rst_postings_cursor {
    const struct rst_segment *segment;
    uint64_t word[6];
};
struct rst_terms_cursor {
    const struct rst_segment *segment;
    uint64_t word[6];
};
struct rst_map_cursor {
    const struct rst_segment *segment;
    uint64_t word[6];
};

/* The questions. Results: 1 found / filled, 0 not there / no more, negative error (ROOST_ECORRUPT with file and offset, or,
 * for a live segment, "live segment" and the offset in the arena). All bounds are checked at each use: whatever bytes a
 * segment holds, a question ends, stays inside the segment, and never crashes. */
struct rst_segment_ops {
    int (*memory)(const struct rst_segment *segment, uint64_t id, uint64_t visible, struct rst_memory_entry *ret_entry);
    /* The nearest memory with an id >= id (forward) or <= id (backward), forgotten or not. */
    int (*memory_near)(const struct rst_segment *segment, uint64_t id, bool forward, uint64_t visible,
                       struct rst_memory_entry *ret_entry);
    /* The LSN at which id was forgotten, if this segment knows so. */
    int (*tombstone)(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_lsn);
    /* The nearest tombstone with an id >= id. */
    int (*tombstone_near)(const struct rst_segment *segment, uint64_t id, uint64_t visible, uint64_t *ret_id, uint64_t *ret_lsn);
    int (*postings)(const struct rst_segment *segment, struct roost_bytes term, struct rst_postings_cursor *ret_cursor);
    /* Postings of memories newer than `visible` are left out; those of forgotten memories are not. */
    int (*postings_next)(struct rst_postings_cursor *cursor, uint64_t visible, struct rst_posting *ret_posting);
    /* Terms that begin with prefix. Sealed: in byte order; live: in any order. prefix must stay valid while the cursor
     * is used. term: valid while the segment is. */
    int (*terms)(const struct rst_segment *segment, struct roost_bytes prefix, struct rst_terms_cursor *ret_cursor);
    int (*terms_next)(struct rst_terms_cursor *cursor, struct roost_bytes *ret_term);
    int (*map)(const struct rst_segment *segment, struct roost_bytes key, uint64_t visible, struct rst_map_entry *ret_entry);
    /* Places the cursor before the first key >= key (> key when `after`); going backward (map_before) at the last key < key
     * (<= key when inclusive) and then on towards smaller ones with map_next. The entry is the newest one within
     * `visible`; keys with none are passed over. ret_key: valid while the segment is. */
    int (*map_seek)(const struct rst_segment *segment, struct roost_bytes key, bool after, struct rst_map_cursor *ret_cursor);
    int (*map_before)(const struct rst_segment *segment, struct roost_bytes key, bool inclusive,
                      struct rst_map_cursor *ret_cursor);
    int (*map_next)(struct rst_map_cursor *cursor, uint64_t visible, struct roost_bytes *ret_key,
                    struct rst_map_entry *ret_entry);
};

/* The common head of both kinds. */
struct rst_segment {
    const struct rst_segment_ops *ops;
    const char *name;             /* for messages: "index/seg-3.idx", "live segment" */
    uint64_t lsn_first, lsn_last; /* the range covered; live: 0 and UINT64_MAX (its arena says more) */
};

#endif
