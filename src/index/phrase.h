/* SPDX-License-Identifier: MIT
 * index/phrase.h: does a text hold a phrase (layer 5).
 * The index keeps no positions: a memory that holds all words of a phrase is read again, and its text decides. Stop words
 * inside a phrase must be there like all others. */
#ifndef RST_INDEX_PHRASE_H
#define RST_INDEX_PHRASE_H

#include "index/query.h"

/* 1, 0 or ROOST_ENOMEM. Only what is indexed of a text is looked at. */
int rst_phrase_in_text(struct rst_analyzer *analyzer, const struct rst_query *query, const struct rst_query_clause *clause,
                       struct roost_bytes text);

#endif
