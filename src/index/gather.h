/* SPDX-License-Identifier: MIT
 * index/gather.h: the postings that a search works on, over all segments (layer 5).
 * An *atom* is what a query asks of the index: one term, or all words that begin with some letters. Its postings are read once,
 * those of forgotten memories are left out, and what remains is counted: that is the exact n of BM25. */
#ifndef RST_INDEX_GATHER_H
#define RST_INDEX_GATHER_H

#include "index/analysis.h"
#include "index/view.h"

struct rst_atom {
    struct roost_bytes term; /* kind byte first; a prefix: RST_TERM_WORD and its letters */
    bool prefix;
    struct rst_buffer postings; /* struct rst_posting, ascending by id */
    size_t count;
    size_t at;     /* for rst_atom_frequency */
    size_t window; /* for search.c */
    double idf;
};
static inline const struct rst_posting *rst_atom_postings(const struct rst_atom *atom)
{
    return (const struct rst_posting *)(const void *)atom->postings.data;
}

/* The ids of all forgotten memories that the view knows of, ascending, into `ret_ids` (uint64_t). */
int rst_gather_forgotten(const struct rst_view *view, struct rst_buffer *ret_ids);
/* Fills the atom's postings and count. */
int rst_gather_atom(const struct rst_view *view, struct rst_analyzer *analyzer, const struct rst_buffer *forgotten,
                    struct rst_atom *atom);
/* How often the atom stands in memory `id`; 0: not at all. Ids must not fall from call to call. */
uint32_t rst_atom_frequency(struct rst_atom *atom, uint64_t id);

#endif
