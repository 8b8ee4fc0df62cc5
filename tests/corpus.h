/* SPDX-License-Identifier: MIT
 * tests/corpus.h: random changes (memories, forgets, keys) from a seed, and segments made of any part of them.
 * A test that uses it prints its seed; ROOST_TEST_SEED=n replays it. */
#ifndef RST_TESTS_CORPUS_H
#define RST_TESTS_CORPUS_H

#include "array_segment.h"
#include "index/analysis.h"

enum { CORPUS_TAG_COUNT_MAX = 3 };
enum corpus_kind { CORPUS_MEMORY, CORPUS_FORGET, CORPUS_KEY };

struct corpus_change {
    enum corpus_kind kind;
    uint64_t lsn, id; /* id: the memory that is made or forgotten */
    char text[400];
    const char *tags[CORPUS_TAG_COUNT_MAX];
    size_t tag_count;
    const char *agent, *session; /* NULL: none */
    char key[24];
    bool deleted;           /* CORPUS_KEY */
    uint64_t forgotten_lsn; /* CORPUS_MEMORY: 0: never */
};
struct corpus {
    struct corpus_change *changes; /* change i has LSN i + 1 */
    size_t count;
};

uint64_t corpus_seed(const char *what); /* ROOST_TEST_SEED or a new one; prints it and starts the numbers below with it */
uint64_t corpus_random(void);
uint32_t corpus_below(uint32_t limit);

void corpus_make(struct corpus *corpus, size_t count);
void corpus_free(struct corpus *corpus);
/* The words texts are made of, tags, and the names of agents and sessions; NULL after the last. */
extern const char *const corpus_words[];
extern const char *const corpus_tags[];
extern const char *const corpus_names[];

/* What the analysis gets; ret_tags: room for CORPUS_TAG_COUNT_MAX. */
struct rst_searchable corpus_searchable(const struct corpus_change *change, struct roost_bytes *ret_tags);
/* The entry that a change makes. */
struct rst_memory_entry corpus_entry(const struct corpus_change *change, const struct rst_terms *terms);
struct rst_map_entry corpus_map_entry(const struct corpus_change *change);
/* An array segment of changes [first, end). */
void corpus_segment(const struct corpus *corpus, struct rst_analyzer *analyzer, size_t first, size_t end,
                    struct array_segment *ret_segment);

#endif
