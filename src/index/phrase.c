/* SPDX-License-Identifier: MIT
 * index/phrase.c: does a text hold a phrase (layer 5).
 * reached[i] says that the word just read ends a match of the phrase's first i + 1 words; each word of the text moves all
 * such matches on by one. */
#include "index/phrase.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"

struct match {
    const struct rst_query *query;
    const struct rst_query_item *items;
    uint32_t count;
    bool *reached;
};

static bool item_fits(const struct match *match, const struct rst_query_item *item, const struct rst_analyzed_word *word)
{
    struct roost_bytes wanted = rst_bytes(match->query->bytes.data + item->term_offset + 1, item->term_size - 1);
    return item->prefix ? rst_bytes_has_prefix(word->word, wanted) : rst_bytes_equal(word->stem, wanted);
}

static int read_word(void *user, const struct rst_analyzed_word *word)
{
    const struct match *match = user;
    for (uint32_t i = match->count; i-- > 0;)
        match->reached[i] = (i == 0 || match->reached[i - 1]) && item_fits(match, &match->items[i], word);
    return match->reached[match->count - 1];
}

int rst_phrase_in_text(struct rst_analyzer *analyzer, const struct rst_query *query, const struct rst_query_clause *clause,
                       struct roost_bytes text)
{
    struct match match = {query, rst_query_items(query) + clause->item_first, clause->item_count, NULL};
    match.reached = calloc(match.count, sizeof *match.reached);
    if (!match.reached) return rst_fail(ROOST_ENOMEM, "out of memory for a phrase of %u words", (unsigned)match.count);
    if (text.size > ROOST_INDEXED_SIZE_MAX) text.size = ROOST_INDEXED_SIZE_MAX;
    int result = rst_analyze_words(analyzer, text, read_word, &match);
    free(match.reached);
    return result;
}
