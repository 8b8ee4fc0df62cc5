/* SPDX-License-Identifier: MIT
 * index/query.h: the parsed form of a query, between query.c and search.c (layer 5). Users see search.h. */
#ifndef RST_INDEX_QUERY_H
#define RST_INDEX_QUERY_H

#include "index/search.h"

/* One word of a clause, or its tag. */
struct rst_query_item {
    uint32_t term_offset, term_size; /* in `bytes`: the term; of a prefix: RST_TERM_WORD and the folded letters, not stemmed */
    bool stop; /* it must be there, but adds no score: a stop word that stands beside others in a phrase, a filter */
    bool prefix;
};
struct rst_query_clause {
    enum rst_clause_kind kind;
    enum rst_clause_need need;
    uint32_t item_first, item_count; /* more than one: RST_CLAUSE_PHRASE; only its last item may be a prefix */
    uint32_t repeat_count;           /* a word that stands twice in the query counts twice */
};
struct rst_query {
    struct rst_buffer bytes, items, clauses;
    uint32_t item_count, clause_count;
};

static inline struct rst_query_item *rst_query_items(const struct rst_query *query)
{
    return (struct rst_query_item *)(void *)query->items.data;
}
static inline struct rst_query_clause *rst_query_clauses(const struct rst_query *query)
{
    return (struct rst_query_clause *)(void *)query->clauses.data;
}

#endif
