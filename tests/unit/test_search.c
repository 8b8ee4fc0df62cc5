/* SPDX-License-Identifier: MIT
 * tests/unit/test_search.c: views and ranked answers against a brute-force reference that knows nothing of segments: BM25 computed
 * from the words of every memory. Random corpora are split at random, into array, live and sealed segments; the scores must be the
 * same to 1e-9 whatever the split, and to the last bit between splits. */
#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "corpus.h"
#include "index/live.h"
#include "index/sealed.h"
#include "index/search.h"

enum { SEGMENT_COUNT_MAX = 8, WORD_COUNT_MAX = 256, CLAUSE_COUNT_MAX = 5, ARENA_SIZE = 1 << 20 };

static struct rst_analyzer *analyzer;

static struct roost_bytes text_of(const char *string) { return rst_bytes(string, strlen(string)); }

/* ---- The reference ----------------------------------------------------------------------------------------------- */

struct doc_word {
    char word[64], stem[64];
};
struct doc {
    const struct corpus_change *change;
    struct doc_word words[WORD_COUNT_MAX]; /* text first, then tags */
    size_t text_count, count;
};
struct reference {
    struct doc *docs;
    size_t count;
    double average;
};

struct word_list {
    struct doc_word *words;
    size_t count;
};
static int keep_word(void *user, const struct rst_analyzed_word *word)
{
    struct word_list *list = user;
    ck_assert_uint_lt(list->count, WORD_COUNT_MAX);
    struct doc_word *to = &list->words[list->count++];
    snprintf(to->word, sizeof to->word, "%.*s", (int)word->word.size, (const char *)word->word.data);
    snprintf(to->stem, sizeof to->stem, "%.*s", (int)word->stem.size, (const char *)word->stem.data);
    return 0;
}

static void reference_make(struct reference *reference, const struct corpus *corpus, uint64_t visible)
{
    reference->docs = calloc(corpus->count + 1, sizeof *reference->docs);
    reference->count = 0;
    size_t tokens = 0;
    for (size_t i = 0; i < corpus->count; i++) {
        const struct corpus_change *change = &corpus->changes[i];
        if (change->kind != CORPUS_MEMORY || change->lsn > visible) continue;
        if (change->forgotten_lsn && change->forgotten_lsn <= visible) continue;
        struct doc *doc = &reference->docs[reference->count++];
        struct word_list list = {doc->words, 0};
        doc->change = change;
        rst_analyze_words(analyzer, text_of(change->text), keep_word, &list);
        doc->text_count = list.count;
        for (size_t t = 0; t < change->tag_count; t++) rst_analyze_words(analyzer, text_of(change->tags[t]), keep_word, &list);
        doc->count = list.count;
        tokens += list.count;
    }
    reference->average = reference->count ? (double)tokens / (double)reference->count : 1;
}

/* One clause as the test wrote it. A phrase has several words; only the last may be a prefix. */
struct spec {
    enum rst_clause_need need;
    bool tag, phrase, prefix;
    const char *field, *name; /* a filter: "agent" or "session" */
    struct doc_word words[4];
    bool stops[4];
    size_t count;
    char tag_name[32];
};

static int occurrences(const struct doc *doc, const struct spec *spec, size_t item)
{
    int found = 0;
    if (spec->tag) {
        for (size_t t = 0; t < doc->change->tag_count; t++) found += strcasecmp(doc->change->tags[t], spec->tag_name) == 0;
        return found;
    }
    bool prefix = spec->prefix && item + 1 == spec->count;
    for (size_t i = 0; i < doc->count; i++) {
        const struct doc_word *word = &doc->words[i];
        if (prefix)
            found += strncmp(word->word, spec->words[item].word, strlen(spec->words[item].word)) == 0;
        else
            found += strcmp(word->stem, spec->words[item].stem) == 0;
    }
    return found;
}

static bool holds_phrase(const struct doc *doc, const struct spec *spec)
{
    for (size_t start = 0; start + spec->count <= doc->text_count; start++) {
        size_t i = 0;
        for (; i < spec->count; i++) {
            const struct doc_word *word = &doc->words[start + i];
            bool prefix = spec->prefix && i + 1 == spec->count;
            if (prefix ? strncmp(word->word, spec->words[i].word, strlen(spec->words[i].word)) != 0
                       : strcmp(word->stem, spec->words[i].stem) != 0)
                break;
        }
        if (i == spec->count) return true;
    }
    return false;
}

static bool clause_matches(const struct doc *doc, const struct spec *spec)
{
    if (spec->tag || spec->count == 1) return occurrences(doc, spec, 0) > 0;
    return holds_phrase(doc, spec);
}

static double clause_score(const struct reference *reference, const struct doc *doc, const struct spec *spec)
{
    double score = 0;
    size_t count = spec->tag ? 1 : spec->count;
    bool all_stop = true;
    for (size_t i = 0; i < count; i++) all_stop = all_stop && spec->stops[i];
    for (size_t i = 0; i < count; i++) {
        if (spec->stops[i] && !all_stop) continue;
        size_t n = 0;
        for (size_t d = 0; d < reference->count; d++) n += occurrences(&reference->docs[d], spec, i) > 0;
        double f = occurrences(doc, spec, i);
        double idf = log(1 + ((double)reference->count - (double)n + 0.5) / ((double)n + 0.5));
        score += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * (double)doc->count / reference->average));
    }
    return score;
}

static bool filter_matches(const struct doc *doc, const struct spec *spec)
{
    const char *own = strcmp(spec->field, "agent") == 0 ? doc->change->agent : doc->change->session;
    return own && strcmp(own, spec->name) == 0;
}

/* The score of a memory; negative: it is no answer. */
static double reference_score(const struct reference *reference, const struct doc *doc, const struct spec *specs, size_t count)
{
    bool droppable = false, any = false; /* is there a clause beside unsigned stop words? */
    bool only_filters = false, scoring = false;
    double score = 0;
    for (size_t i = 0; i < count; i++) {
        if (specs[i].field && filter_matches(doc, &specs[i]) == (specs[i].need == RST_NEED_NOT)) return -1;
        only_filters = only_filters || (specs[i].field && specs[i].need != RST_NEED_NOT);
        scoring = scoring || (!specs[i].field && specs[i].need != RST_NEED_NOT);
        if (specs[i].field) continue;
        bool plain_stop =
            !specs[i].tag && specs[i].count == 1 && specs[i].stops[0] && specs[i].need == RST_NEED_ANY && !specs[i].prefix;
        droppable = droppable || (!plain_stop && specs[i].need != RST_NEED_NOT);
    }
    for (size_t i = 0; i < count; i++) {
        if (specs[i].field) continue;
        bool plain_stop =
            !specs[i].tag && specs[i].count == 1 && specs[i].stops[0] && specs[i].need == RST_NEED_ANY && !specs[i].prefix;
        if (plain_stop && droppable) continue;
        bool matches = clause_matches(doc, &specs[i]);
        if (specs[i].need == RST_NEED_NOT && matches) return -1;
        if (specs[i].need == RST_NEED_MUST && !matches) return -1;
        if (specs[i].need == RST_NEED_NOT || !matches) continue;
        any = true;
        score += clause_score(reference, doc, &specs[i]);
    }
    return any || (only_filters && !scoring) ? score : -1;
}

/* ---- Random queries ---------------------------------------------------------------------------------------------- */

static int note_stop(void *user, const struct rst_analyzed_word *word)
{
    *(bool *)user = word->stop;
    return 0;
}

static const char *plain_word(void) /* one that is one word */
{
    for (;;) {
        uint32_t count = 0;
        while (corpus_words[count]) count++;
        const char *word = corpus_words[corpus_below(count)];
        struct doc_word found[WORD_COUNT_MAX];
        struct word_list list = {found, 0};
        rst_analyze_words(analyzer, text_of(word), keep_word, &list);
        if (list.count == 1) return word;
    }
}

static void random_clause(struct spec *spec, char *query, size_t room)
{
    memset(spec, 0, sizeof *spec);
    uint32_t need = corpus_below(6);
    spec->need = need == 0 ? RST_NEED_MUST : need == 1 ? RST_NEED_NOT : RST_NEED_ANY;
    const char *sign = spec->need == RST_NEED_MUST ? "+" : spec->need == RST_NEED_NOT ? "-" : "";
    uint32_t kind = corpus_below(8);
    size_t used = strlen(query);
    if (kind > 5) {
        uint32_t count = 0;
        while (corpus_names[count]) count++;
        spec->field = kind == 6 ? "agent" : "session";
        spec->name = corpus_names[corpus_below(count)];
        snprintf(query + used, room - used, " %s%s:\"%s\"", sign, spec->field, spec->name);
        return;
    }
    if (kind == 0) {
        uint32_t count = 0;
        while (corpus_tags[count]) count++;
        spec->tag = true;
        snprintf(spec->tag_name, sizeof spec->tag_name, "%s", corpus_tags[corpus_below(count)]);
        snprintf(query + used, room - used, " %stag:\"%s\"", sign, spec->tag_name);
        return;
    }
    spec->phrase = kind == 1;
    spec->prefix = kind == 2;
    size_t count = spec->phrase ? 2 + corpus_below(2) : 1;
    used += (size_t)snprintf(query + used, room - used, " %s%s", sign, spec->phrase ? "\"" : "");
    for (size_t i = 0; i < count; i++) {
        const char *word = plain_word();
        char cut[64];
        snprintf(cut, sizeof cut, "%s", word);
        if (spec->prefix && (uint8_t)cut[0] < 0x80 && strlen(cut) > 1 && strcmp(cut, "Café") != 0 && strcmp(cut, "straße") != 0)
            cut[1 + corpus_below((uint32_t)strlen(cut))] = '\0';
        used += (size_t)snprintf(query + used, room - used, "%s%s", i ? " " : "", cut);
        struct word_list list = {spec->words, i};
        rst_analyze_words(analyzer, text_of(cut), keep_word, &list);
        rst_analyze_words(analyzer, text_of(cut), note_stop, &spec->stops[i]);
        if (spec->prefix) spec->stops[i] = false;
    }
    spec->count = count;
    snprintf(query + used, room - used, "%s", spec->phrase ? "\"" : spec->prefix ? "*" : "");
}

/* ---- Views of random splits -------------------------------------------------------------------------------------- */

struct split {
    struct array_segment arrays[SEGMENT_COUNT_MAX];
    struct rst_live lives[SEGMENT_COUNT_MAX];
    struct rst_sealed sealed[SEGMENT_COUNT_MAX];
    struct rst_buffer files[SEGMENT_COUNT_MAX];
    const struct rst_segment *segments[SEGMENT_COUNT_MAX];
    struct rst_view view;
};

/* The same changes in a live segment. */
static void make_live(struct rst_live *live, const struct corpus *corpus, size_t first, size_t end)
{
    struct rst_terms terms = {0};
    rst_live_attach(live, aligned_alloc(64, ARENA_SIZE), ARENA_SIZE);
    ck_assert_ptr_nonnull(live->base);
    ck_assert_int_eq(rst_live_format(live, ARENA_SIZE, first + 1), 0);
    for (size_t i = first; i < end; i++) {
        const struct corpus_change *change = &corpus->changes[i];
        if (change->kind == CORPUS_FORGET) {
            ck_assert_int_eq(rst_live_add_tombstone(live, change->id, change->lsn), 0);
        } else if (change->kind == CORPUS_KEY) {
            struct rst_map_entry entry = corpus_map_entry(change);
            ck_assert_int_eq(rst_live_set_map(live, text_of(change->key), &entry), 0);
        } else {
            struct roost_bytes tags[CORPUS_TAG_COUNT_MAX];
            struct rst_searchable memory = corpus_searchable(change, tags);
            ck_assert_int_eq(rst_analyze_memory(analyzer, &memory, &terms), 0);
            struct rst_memory_entry entry = corpus_entry(change, &terms);
            ck_assert_uint_le(rst_live_used(live) + rst_live_need_memory(&terms), ARENA_SIZE);
            ck_assert_int_eq(rst_live_add_memory(live, &entry, &terms), 0);
        }
    }
    rst_terms_free(&terms);
}

/* Cuts the corpus into up to SEGMENT_COUNT_MAX segments; some become live, some files. */
static void split_make(struct split *split, const struct corpus *corpus, size_t segment_count, uint64_t visible,
                       const struct reference *reference)
{
    memset(split, 0, sizeof *split);
    size_t first = 0;
    for (size_t i = 0; i < segment_count; i++) {
        size_t end = i + 1 == segment_count ? corpus->count : first + corpus_below((uint32_t)(corpus->count - first) + 1);
        corpus_segment(corpus, analyzer, first, end, &split->arrays[i]);
        if (corpus_below(2)) array_segment_reverse_terms(&split->arrays[i]);
        split->segments[i] = &split->arrays[i].segment;
        if (corpus_below(2)) {
            make_live(&split->lives[i], corpus, first, end);
            split->segments[i] = &split->lives[i].segment;
        }
        if (end > first && corpus_below(2)) {
            struct rst_seal seal = {&split->segments[i], 1, first + 1, end, i == 0, "english"};
            ck_assert_int_eq(rst_seal_build(&seal, &split->files[i]), 0);
            ck_assert_int_eq(rst_sealed_open(&split->sealed[i], "seg", split->files[i].data, split->files[i].size, "english"), 0);
            /* A file forgets what was forgotten in its range: an older view needs the array. */
            if (visible >= end) split->segments[i] = &split->sealed[i].segment;
        }
        first = end;
    }
    split->view.segments = split->segments;
    split->view.segment_count = segment_count;
    split->view.visible = visible;
    split->view.memory_count = reference->count;
    for (size_t i = 0; i < reference->count; i++) {
        split->view.token_count += reference->docs[i].count;
        split->view.last_id = reference->docs[i].change->id;
    }
}

static void split_free(struct split *split)
{
    for (size_t i = 0; i < split->view.segment_count; i++) {
        array_segment_free(&split->arrays[i]);
        free(split->lives[i].base);
        rst_buffer_free(&split->files[i]);
    }
}

static int read_memory(void *user, const struct rst_memory_entry *entry, struct roost_bytes *ret_text,
                       const struct roost_bytes **ret_tags, size_t *ret_tag_count)
{
    static struct roost_bytes tags[CORPUS_TAG_COUNT_MAX];
    const struct corpus *corpus = user;
    const struct corpus_change *change = &corpus->changes[entry->lsn - 1];
    ck_assert_uint_eq(change->id, entry->id);
    *ret_text = corpus_searchable(change, tags).text;
    *ret_tags = tags;
    *ret_tag_count = change->tag_count;
    return 1;
}

static size_t search(const struct split *split, struct corpus *corpus, const char *text, size_t limit, struct rst_scored *hits)
{
    struct rst_query *query;
    ck_assert_int_eq(rst_query_parse(analyzer, text_of(text), &query), 0);
    int count = rst_search(&split->view, analyzer, query, limit, read_memory, corpus, hits);
    ck_assert_msg(count >= 0, "%s: %s", text, rst_fail_detail());
    rst_query_free(query);
    return (size_t)count;
}

static int compare_scored(const void *x, const void *y)
{
    const struct rst_scored *a = x, *b = y;
    if (fabs(a->score - b->score) > 1e-12) return a->score < b->score ? 1 : -1;
    return (a->id < b->id) - (a->id > b->id);
}

static void check_hits(const struct reference *reference, const struct spec *specs, size_t spec_count, const char *text,
                       const struct rst_scored *hits, size_t count, size_t limit)
{
    struct rst_scored *expected = calloc(reference->count + 1, sizeof *expected);
    size_t expected_count = 0;
    for (size_t d = 0; d < reference->count; d++) {
        double score = reference_score(reference, &reference->docs[d], specs, spec_count);
        if (score < 0) continue;
        expected[expected_count].id = reference->docs[d].change->id;
        expected[expected_count++].score = score;
    }
    qsort(expected, expected_count, sizeof *expected, compare_scored);
    ck_assert_msg(count == (expected_count < limit ? expected_count : limit), "%s: %zu hits, expected %zu", text, count,
                  expected_count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(fabs(hits[i].score - expected[i].score) < 1e-9, "%s: hit %zu scores %.12f, expected %.12f", text, i,
                      hits[i].score, expected[i].score);
        if (i) ck_assert_msg(hits[i - 1].score > hits[i].score || hits[i - 1].id > hits[i].id, "%s: hits out of order", text);
        size_t at = 0;
        while (at < expected_count && expected[at].id != hits[i].id) at++;
        ck_assert_msg(at < expected_count && fabs(expected[at].score - hits[i].score) < 1e-9, "%s: hit %zu is memory %" PRIu64,
                      text, i, hits[i].id);
    }
    free(expected);
}

START_TEST(random_searches_equal_brute_force_whatever_the_split)
{
    corpus_seed("random_searches_equal_brute_force_whatever_the_split");
    for (int round = 0; round < 40; round++) {
        struct corpus corpus;
        corpus_make(&corpus, 1 + corpus_below(round % 4 ? 120 : 500));
        uint64_t visible = corpus_below(3) ? corpus.count : 1 + corpus_below((uint32_t)corpus.count);
        struct reference reference;
        struct split one, many;
        reference_make(&reference, &corpus, visible);
        split_make(&one, &corpus, 1, visible, &reference);
        split_make(&many, &corpus, 1 + corpus_below(SEGMENT_COUNT_MAX), visible, &reference);
        for (int q = 0; q < 25; q++) {
            struct spec specs[CLAUSE_COUNT_MAX];
            char text[1024] = "";
            size_t spec_count = 1 + corpus_below(CLAUSE_COUNT_MAX), limit = corpus_below(2) ? 5 : 600;
            for (size_t i = 0; i < spec_count; i++) random_clause(&specs[i], text, sizeof text);
            struct rst_scored hits[600], again[600];
            size_t count = search(&one, &corpus, text, limit, hits);
            check_hits(&reference, specs, spec_count, text, hits, count, limit);
            ck_assert_uint_eq(search(&many, &corpus, text, limit, again), count);
            for (size_t i = 0; i < count; i++) {
                ck_assert_uint_eq(again[i].id, hits[i].id);
                ck_assert_double_eq(again[i].score, hits[i].score); /* to the last bit */
            }
        }
        split_free(&one);
        split_free(&many);
        free(reference.docs);
        corpus_free(&corpus);
    }
}
END_TEST

START_TEST(views_equal_a_plain_model)
{
    corpus_seed("views_equal_a_plain_model");
    for (int round = 0; round < 40; round++) {
        struct corpus corpus;
        corpus_make(&corpus, 1 + corpus_below(150));
        uint64_t visible = corpus_below(3) ? corpus.count : 1 + corpus_below((uint32_t)corpus.count);
        struct reference reference;
        struct split split;
        reference_make(&reference, &corpus, visible);
        split_make(&split, &corpus, 1 + corpus_below(SEGMENT_COUNT_MAX), visible, &reference);
        struct rst_memory_entry entry;
        uint64_t from = 0;
        for (size_t i = 0; i < reference.count; i++) { /* forward through all */
            ck_assert_int_eq(rst_view_memory_near(&split.view, from, true, &entry), 1);
            ck_assert_uint_eq(entry.id, reference.docs[i].change->id);
            ck_assert_uint_eq(entry.token_count, reference.docs[i].count);
            from = entry.id + 1;
        }
        ck_assert_int_eq(rst_view_memory_near(&split.view, from, true, &entry), 0);
        from = UINT64_MAX;
        for (size_t i = reference.count; i-- > 0;) { /* and backward */
            ck_assert_int_eq(rst_view_memory_near(&split.view, from, false, &entry), 1);
            ck_assert_uint_eq(entry.id, reference.docs[i].change->id);
            from = entry.id - 1;
        }
        ck_assert_int_eq(rst_view_memory_near(&split.view, from, false, &entry), 0);
        for (size_t i = 0; i < corpus.count; i++) {
            const struct corpus_change *change = &corpus.changes[i];
            if (change->kind != CORPUS_MEMORY) continue;
            bool there = change->lsn <= visible && (!change->forgotten_lsn || change->forgotten_lsn > visible);
            ck_assert_int_eq(rst_view_memory(&split.view, change->id, &entry), there);
            if (there) ck_assert_uint_eq(entry.lsn, change->lsn);
        }
        split_free(&split);
        free(reference.docs);
        corpus_free(&corpus);
    }
}
END_TEST

/* The newest change of a key, NULL: none. */
static const struct corpus_change *newest(const struct corpus *corpus, const char *key, uint64_t visible)
{
    for (size_t i = visible < corpus->count ? (size_t)visible : corpus->count; i-- > 0;)
        if (corpus->changes[i].kind == CORPUS_KEY && strcmp(corpus->changes[i].key, key) == 0) return &corpus->changes[i];
    return NULL;
}

static int compare_strings(const void *a, const void *b) { return strcmp(a, b); }

START_TEST(keys_come_in_order_and_deleted_ones_do_not)
{
    corpus_seed("keys_come_in_order_and_deleted_ones_do_not");
    for (int round = 0; round < 60; round++) {
        struct corpus corpus;
        corpus_make(&corpus, 1 + corpus_below(400));
        uint64_t visible = corpus_below(3) ? corpus.count : 1 + corpus_below((uint32_t)corpus.count);
        struct reference reference;
        struct split split;
        reference_make(&reference, &corpus, visible);
        split_make(&split, &corpus, 1 + corpus_below(SEGMENT_COUNT_MAX), visible, &reference);
        char names[60][24];
        for (unsigned i = 0; i < 60; i++) snprintf(names[i], sizeof names[i], "%c%u", i < 30 ? 'k' : 's', i % 30);
        qsort(names, 60, sizeof names[0], compare_strings);
        const char *prefix = round % 3 == 0 ? "" : round % 3 == 1 ? "k" : "s1";
        uint8_t key[RST_MAP_KEY_SIZE_MAX];
        size_t key_size = 0;
        bool after = false;
        struct rst_map_entry entry;
        for (size_t i = 0; i < 60; i++) {
            const struct corpus_change *change = newest(&corpus, names[i], visible);
            int found = rst_view_map(&split.view, text_of(names[i]), &entry);
            if (found) {
                ck_assert_ptr_nonnull(change);
                ck_assert_uint_eq(entry.lsn, change->lsn);
                ck_assert_int_eq(entry.kind == RST_MAP_DELETED, change->deleted);
            } else {
                ck_assert(!change || change->deleted); /* a deleted one may have gone with the oldest segment */
            }
            if (!change || change->deleted || strncmp(names[i], prefix, strlen(prefix)) != 0) continue;
            struct roost_bytes from = rst_bytes(key, key_size);
            ck_assert_int_eq(rst_view_map_next(&split.view, text_of(prefix), from, after, key, &key_size, &entry), 1);
            ck_assert_uint_eq(key_size, strlen(names[i]));
            ck_assert_mem_eq(key, names[i], key_size);
            ck_assert_uint_eq(entry.number, change->lsn * 3);
            after = true;
        }
        struct roost_bytes from = rst_bytes(key, key_size);
        ck_assert_int_eq(rst_view_map_next(&split.view, text_of(prefix), from, after, key, &key_size, &entry), 0);
        split_free(&split);
        free(reference.docs);
        corpus_free(&corpus);
    }
}
END_TEST

/* ---- Hand-made cases --------------------------------------------------------------------------------------------- */

static const char *const texts[] = {
    /* 1 */ "The state of the art in happy machines",
    /* 2 */ "Art of the state: dying happiness",
    /* 3 */ "A résumé for Straße 東京",
    /* 4 */ "resume strasse 京東",
    /* 5 */ "happi is no word; e-mail me",
    /* 6 */ "email and mail",
    /* 7 */ "running runner ran",
};

/* The ids that a query finds, ascending, as text. */
static const char *found_by(const char *query_text)
{
    static char answer[200];
    struct corpus corpus = {calloc(RST_COUNT_OF(texts), sizeof *corpus.changes), RST_COUNT_OF(texts)};
    for (size_t i = 0; i < RST_COUNT_OF(texts); i++) {
        corpus.changes[i].kind = CORPUS_MEMORY;
        corpus.changes[i].id = corpus.changes[i].lsn = i + 1;
        snprintf(corpus.changes[i].text, sizeof corpus.changes[i].text, "%s", texts[i]);
        if (i == 6) corpus.changes[i].tags[corpus.changes[i].tag_count++] = "Two Words";
    }
    struct reference reference;
    struct split split;
    reference_make(&reference, &corpus, UINT64_MAX);
    split_make(&split, &corpus, 2, corpus.count, &reference);
    struct rst_scored hits[20];
    size_t count = search(&split, &corpus, query_text, 20, hits), used = 0;
    answer[0] = '\0';
    for (uint64_t id = 1; id <= RST_COUNT_OF(texts); id++)
        for (size_t i = 0; i < count; i++)
            if (hits[i].id == id)
                used += (size_t)snprintf(answer + used, sizeof answer - used, "%s%" PRIu64, used ? " " : "", id);
    split_free(&split);
    free(reference.docs);
    corpus_free(&corpus);
    return answer;
}

START_TEST(the_query_language_finds_what_it_says)
{
    static const struct {
        const char *query, *found;
    } cases[] = {
        {"", ""},
        {"-art", ""},
        {"nothing", ""},
        {"art", "1 2"},
        {"art -machines", "2"},
        {"+art happy", "1 2"},
        {"+happi", "1 2 5"},
        {"\"state of the art\"", "1"},
        {"\"art of the state\"", "2"},
        {"\"state art\"", ""},
        {"art -\"of the state\"", "1"},
        {"happi*", "2 5"},
        {"happy*", "1"},
        {"hap*", "1 2 5"},
        {"dyin*", "2"},
        {"die*", ""},
        {"die", "2"},
        {"runn*", "7"},
        {"ran*", "7"},
        {"resume", "3 4"},
        {"RÉSUMÉ", "3 4"},
        {"straße", "3 4"},
        {"stras*", "3 4"},
        {"\"東京\"", "3"},
        {"東京", "3 4"},
        {"+東京", "3"},
        {"+e-mail", "5"},
        {"e-mail", "5 6"},
        {"mail -e-mail", "6"},
        {"tag:\"two words\"", "7"},
        {"tag:two", ""},
        {"two", "7"},
        {"the", "1 2"},
        {"the machines", "1"},
        {"+the machines", "1 2"},
        {"\"two words\"", ""},
        {"art -tag:\"two words\"", "1 2"},
        {"ran -tag:\"TWO WORDS\"", ""},
        {"\"art", "1 2"},
        {"+", ""},
        {"- art", "1 2"},
        {"*", ""},
        {"\"\"", ""},
        {"tag:", ""},
        {"+\"happy machin\" +state", "1"},
        {"\"state of the\" resume", "1 3 4"},
    };
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        const char *found = found_by(cases[i].query);
        ck_assert_msg(strcmp(found, cases[i].found) == 0, "%s found \"%s\", expected \"%s\"", cases[i].query, found,
                      cases[i].found);
    }
}
END_TEST

START_TEST(equal_scores_come_with_the_greater_id_first_and_a_memory_that_is_gone_is_passed_over)
{
    struct corpus corpus = {calloc(50, sizeof *corpus.changes), 50};
    for (size_t i = 0; i < corpus.count; i++) {
        corpus.changes[i].id = corpus.changes[i].lsn = i + 1;
        snprintf(corpus.changes[i].text, sizeof corpus.changes[i].text, "same words");
    }
    struct reference reference;
    struct split split;
    reference_make(&reference, &corpus, UINT64_MAX);
    split_make(&split, &corpus, 3, corpus.count, &reference);
    struct rst_scored hits[10];
    ck_assert_uint_eq(search(&split, &corpus, "same", 10, hits), 10);
    for (uint64_t i = 0; i < 10; i++) ck_assert_uint_eq(hits[i].id, 50 - i);
    struct rst_query *query;
    ck_assert_int_eq(rst_query_parse(analyzer, text_of("\"same words\""), &query), 0);
    ck_assert_int_eq(rst_search(&split.view, analyzer, query, 10, NULL, NULL, hits), ROOST_EINVAL);
    ck_assert_int_eq(rst_search(&split.view, analyzer, query, 0, NULL, NULL, hits), 0);
    rst_query_free(query);
    split_free(&split);
    free(reference.docs);
    corpus_free(&corpus);
}
END_TEST

static void make_analyzer(void) { ck_assert_int_eq(rst_analyzer_create("english", &analyzer), 0); }
static void free_analyzer(void) { rst_analyzer_free(analyzer); }

int main(void)
{
    Suite *suite = suite_create("search");
    TCase *tests = tcase_create("search");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, make_analyzer, free_analyzer);
    tcase_add_test(tests, the_query_language_finds_what_it_says);
    tcase_add_test(tests, equal_scores_come_with_the_greater_id_first_and_a_memory_that_is_gone_is_passed_over);
    tcase_add_test(tests, random_searches_equal_brute_force_whatever_the_split);
    tcase_add_test(tests, views_equal_a_plain_model);
    tcase_add_test(tests, keys_come_in_order_and_deleted_ones_do_not);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
