/* SPDX-License-Identifier: MIT
 * index/analysis.h: text to terms (layer 5).
 * Unicode word boundaries and case folding by utf8proc (with an ASCII fast path), stems by Snowball with a cache. The same analysis
 * serves memories and queries, so RST_ANALYSIS_VERSION and the root's language fix what a segment's terms mean. */
#ifndef RST_INDEX_ANALYSIS_H
#define RST_INDEX_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "index/segment.h"
#include <roost/roost.h>

enum { RST_ANALYSIS_VERSION = 1 };

struct rst_analyzer; /* one thread at a time; keeps a stem cache */

/* language: a Snowball name or "none". ROOST_EINVAL names the languages there are. */
int rst_analyzer_create(const char *language, struct rst_analyzer **ret_analyzer);
void rst_analyzer_free(struct rst_analyzer *analyzer);
bool rst_language_known(const char *language);

struct rst_term {
    uint32_t offset, size; /* in `bytes`; the first byte is the kind */
    uint32_t frequency;
};
/* The distinct terms of one memory, in byte order. */
struct rst_terms {
    struct rst_buffer bytes;
    struct rst_buffer terms; /* array of struct rst_term */
    uint32_t term_count;
    uint32_t token_count; /* words counted with repetition: the memory's length */
};
void rst_terms_free(struct rst_terms *terms);

/* What of a memory can be searched. */
struct rst_searchable {
    struct roost_bytes text;
    const struct roost_bytes *tags;
    size_t tag_count;
    struct roost_bytes agent, session; /* size 0: none */
};
/* Analyses the first ROOST_INDEXED_SIZE_MAX bytes of text, and the tags (each as a whole and as words). Besides the stems that are
 * searched and the whole tags it makes the full forms that prefix clauses need (enum rst_term_kind). `terms` must have been zeroed
 * once; its memory is used again. */
int rst_analyze_memory(struct rst_analyzer *analyzer, const struct rst_searchable *memory, struct rst_terms *terms);

/* One word as it stands in the text: folded, its stem, and whether a query may leave it out. */
struct rst_analyzed_word {
    struct roost_bytes word, stem;
    bool stop;
};
/* Calls `found` for each word of the text in order, until it returns something else than 0 (which is then the result). The bytes
 * are valid during the call. The text is not cut at ROOST_INDEXED_SIZE_MAX. */
typedef int (*rst_word_fn)(void *user, const struct rst_analyzed_word *word);
int rst_analyze_words(struct rst_analyzer *analyzer, struct roost_bytes text, rst_word_fn found, void *user);
/* The stem of a folded word, valid until the analyzer's next call. */
struct roost_bytes rst_analyzer_stem(struct rst_analyzer *analyzer, struct roost_bytes word);
/* The term (RST_TERM_TAG) of a whole tag, into ret_term, room for RST_TERM_SIZE_MAX; ret_size 0: nothing of it is left after folding. */
int rst_analyzer_tag_term(struct rst_analyzer *analyzer, struct roost_bytes tag, uint8_t *ret_term, size_t *ret_size);
/* The term of an agent or a session (RST_TERM_AGENT, RST_TERM_SESSION), into ret_term, room for RST_TERM_SIZE_MAX. Returns its size. */
size_t rst_name_term(enum rst_term_kind kind, struct roost_bytes name, uint8_t *ret_term);

/* 0, or ROOST_EILSEQ with the offset of the first byte that is not UTF-8 in the detail (`what` names the text there). */
int rst_check_utf8(struct roost_bytes text, const char *what);

#endif
