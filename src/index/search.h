/* SPDX-License-Identifier: MIT
 * index/search.h: the query language and its ranked answers (layer 5).
 * BM25 with k1 1.2, b 0.75 and idf = ln(1 + (N - n + 0.5) / (n + 0.5)) (Robertson and Zaragoza, "The Probabilistic Relevance Framework",
 * 2009), over the whole view: N, n and the average length count exactly the memories that the view can see and that are not
 * forgotten, so a score does not depend on how the memories are spread over segments. Equal scores: the greater id first. */
#ifndef RST_INDEX_SEARCH_H
#define RST_INDEX_SEARCH_H

#include "index/analysis.h"
#include "index/view.h"

enum rst_clause_kind { RST_CLAUSE_WORD = 1, RST_CLAUSE_PREFIX, RST_CLAUSE_PHRASE, RST_CLAUSE_TAG, RST_CLAUSE_FILTER };
enum rst_clause_need { RST_NEED_ANY = 0, RST_NEED_MUST, RST_NEED_NOT };

/* A parsed query. Grammar (documented to users in the header and the man page):
 *   query  = clause*            clause = ["+" | "-"] ( word | word "*" | '"' text '"' | field ( name | '"' name '"' ) )
 *   field  = "tag:" | "agent:" | "session:"
 * Anything else is words: no input is a syntax error; unbalanced quotes close at the end. Stop words of the root's language
 * are dropped when other words remain, unless they have a sign or stand in a phrase, where they must be there. What is one piece of
 * input but several words ("e-mail", Han characters) becomes several words, after + or - a phrase. word* matches a memory if one of
 * its folded words, unstemmed, begins with it, and scores like one term that stands as often as such words do. A phrase must
 * stand in the text (not in the tags), by stems, and scores as its words do, stop words left out. agent: and session: are filters, with a +
 * or without: they take memories out (after a -: those that have it) and add no score; if nothing else could bring a memory in, all that
 * they let through match. A query of only -clauses matches nothing. */
struct rst_query;
int rst_query_parse(struct rst_analyzer *analyzer, struct roost_bytes text, struct rst_query **ret_query);
void rst_query_free(struct rst_query *query);
/* One more filter: only memories of this agent or session (RST_TERM_AGENT, RST_TERM_SESSION). */
int rst_query_limit(struct rst_query *query, enum rst_term_kind kind, struct roost_bytes name);

struct rst_scored {
    uint64_t id;
    double score;
};
/* How search reads a memory's text again (for phrases; NULL where the query has none): fills ret_text and ret_tags, valid until
 * the next call. 1 found, 0 gone, negative error. */
typedef int (*rst_read_memory_fn)(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                                  const struct roost_bytes **ret_tags, size_t *ret_tag_count);
/* The best `limit` memories, best first, into ret_hits (room for limit). Returns how many or a negative error. */
int rst_search(const struct rst_view *view, struct rst_analyzer *analyzer, const struct rst_query *query, size_t limit,
               rst_read_memory_fn read, void *user, struct rst_scored *ret_hits);

#endif
