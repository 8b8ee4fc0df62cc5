/* SPDX-License-Identifier: MIT
 * index/analysis.c: text to terms (layer 5).
 *
 * Words come from words.c. A direct-mapped cache remembers the stem of recent words, and, while one memory is analysed, which
 * terms a word stands for: a repeated word then costs one look-up and no hashing of terms. Distinct terms are found through a
 * hash table whose slots carry the number of the memory they belong to, so that it is never wiped.
 *
 * Prefix clauses ask for words that begin with some letters, and the index holds stems. So a word that differs from its stem
 * adds its full form as a second term (RST_TERM_FORM); the few that do not even begin with their stem (happy, happi) are kept
 * apart (RST_TERM_ALTERED, RST_TERM_ALTERED_STEM), so that search.c can count exactly without reading texts again.
 *
 * Left out: word positions (phrases are verified in the text), stop words in memories (only queries drop them). */
#include "index/analysis.h"

#include <libstemmer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "index/words.h"

enum {
    CACHE_COUNT = 4096,   /* times 64 bytes: fits in a core's second-level cache; 95 % of English words hit */
    CACHED_SIZE_MAX = 22, /* longer words are rare and stemmed each time */
    SLOT_COUNT_MIN = 1024,
    LONG_NAME_PART = 46, /* a tag too long for a term: so much of it, '#', and 16 digits of its hash */
    TERM_NONE = UINT32_MAX
};

struct cached {
    uint32_t memory;   /* the number of the memory that `term` belongs to */
    uint32_t term[3];  /* TERM_NONE: this word has no such term */
    uint8_t word_size; /* 0: empty entry */
    uint8_t stem_size;
    uint8_t word[CACHED_SIZE_MAX], stem[CACHED_SIZE_MAX];
};

struct slot {
    uint32_t memory, hash, index;
};

struct rst_analyzer {
    struct sb_stemmer *stemmer; /* NULL: language "none" */
    bool english, turkic;
    uint32_t memory; /* number of the memory under analysis; 0 is never one */
    struct slot *slots;
    uint32_t slot_count; /* a power of two */
    struct rst_buffer sort;
    struct cached cache[CACHE_COUNT];
};

/* ---- Stop words -------------------------------------------------------------------------------------------------- */

/* Sorted. Function words, and what is left of "don't", "we'll", "it's" when the apostrophe separates. */
static const char *const english_stop_words[] = {
    "a",        "about",      "above", "after",   "again",     "against", "all",    "am",    "an",      "and",     "any",
    "are",      "as",         "at",    "be",      "because",   "been",    "before", "being", "below",   "between", "both",
    "but",      "by",         "can",   "could",   "d",         "did",     "do",     "does",  "doing",   "don",     "down",
    "during",   "each",       "few",   "for",     "from",      "further", "had",    "has",   "have",    "having",  "he",
    "her",      "here",       "hers",  "herself", "him",       "himself", "his",    "how",   "i",       "if",      "in",
    "into",     "is",         "it",    "its",     "itself",    "just",    "ll",     "m",     "me",      "more",    "most",
    "my",       "myself",     "no",    "nor",     "not",       "now",     "of",     "off",   "on",      "once",    "only",
    "or",       "other",      "our",   "ours",    "ourselves", "out",     "over",   "own",   "re",      "s",       "same",
    "she",      "should",     "so",    "some",    "such",      "t",       "than",   "that",  "the",     "their",   "theirs",
    "them",     "themselves", "then",  "there",   "these",     "they",    "this",   "those", "through", "to",      "too",
    "under",    "until",      "up",    "ve",      "very",      "was",     "we",     "were",  "what",    "when",    "where",
    "which",    "while",      "who",   "whom",    "why",       "will",    "with",   "would", "you",     "your",    "yours",
    "yourself", "yourselves",
};

static bool is_stop_word(const struct rst_analyzer *analyzer, struct roost_bytes word)
{
    if (!analyzer->english) return false;
    size_t low = 0, high = RST_COUNT_OF(english_stop_words);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *stop = english_stop_words[middle];
        int order = rst_bytes_compare(word, rst_bytes(stop, strlen(stop)));
        if (!order) return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

bool rst_language_known(const char *language)
{
    if (strcmp(language, "none") == 0) return true;
    for (const char **name = sb_stemmer_list(); *name; name++)
        if (strcmp(*name, language) == 0) return true;
    return false;
}

static int refuse_language(const char *language)
{
    char names[600] = "none";
    size_t used = strlen(names);
    for (const char **name = sb_stemmer_list(); *name; name++) {
        size_t size = strlen(*name);
        if (used + size + 3 > sizeof names) break;
        snprintf(names + used, sizeof names - used, ", %s", *name);
        used += size + 2;
    }
    return rst_fail(ROOST_EINVAL, "language \"%.40s\" is not known; there are %s", language, names);
}

int rst_analyzer_create(const char *language, struct rst_analyzer **ret_analyzer)
{
    if (!language || !rst_language_known(language)) return refuse_language(language ? language : "");
    struct rst_analyzer *analyzer = calloc(1, sizeof *analyzer);
    if (!analyzer) goto no_memory;
    analyzer->slot_count = SLOT_COUNT_MIN;
    analyzer->slots = calloc(analyzer->slot_count, sizeof *analyzer->slots);
    if (!analyzer->slots) goto no_memory;
    if (strcmp(language, "none") != 0) {
        analyzer->stemmer = sb_stemmer_new(language, "UTF_8");
        if (!analyzer->stemmer) goto no_memory;
    }
    analyzer->english = strcmp(language, "english") == 0 || strcmp(language, "porter") == 0;
    analyzer->turkic = strcmp(language, "turkish") == 0;
    *ret_analyzer = analyzer;
    return 0;
no_memory:
    rst_analyzer_free(analyzer);
    return rst_fail(ROOST_ENOMEM, "out of memory for the text analysis (language %s)", language);
}

void rst_analyzer_free(struct rst_analyzer *analyzer)
{
    if (!analyzer) return;
    if (analyzer->stemmer) sb_stemmer_delete(analyzer->stemmer);
    rst_buffer_free(&analyzer->sort);
    free(analyzer->slots);
    free(analyzer);
}

void rst_terms_free(struct rst_terms *terms)
{
    rst_buffer_free(&terms->bytes);
    rst_buffer_free(&terms->terms);
    terms->term_count = terms->token_count = 0;
}

/* ---- Stems ------------------------------------------------------------------------------------------------------- */

/* Past the cache. A stem is never empty and never longer than a word may be. */
static struct roost_bytes stem_now(struct rst_analyzer *analyzer, struct roost_bytes word)
{
    if (!analyzer->stemmer) return word;
    const sb_symbol *stem = sb_stemmer_stem(analyzer->stemmer, word.data, (int)word.size);
    if (!stem) return word;
    int size = sb_stemmer_length(analyzer->stemmer);
    if (size <= 0) return word;
    if (size > RST_WORD_SIZE_MAX) {
        size = RST_WORD_SIZE_MAX;
        while (size > 1 && (stem[size] & 0xc0) == 0x80) size--;
    }
    return rst_bytes(stem, (size_t)size);
}

/* The cache entry of a word, filled; NULL: the word or its stem is too long for one. */
static struct cached *cached_word(struct rst_analyzer *analyzer, const struct rst_word *word)
{
    if (word->size > CACHED_SIZE_MAX) return NULL;
    struct cached *entry = &analyzer->cache[(word->hash ^ word->hash >> 15) & (CACHE_COUNT - 1)];
    if (entry->word_size == word->size && memcmp(entry->word, word->bytes, word->size) == 0) return entry;
    struct roost_bytes stem = stem_now(analyzer, rst_bytes(word->bytes, word->size));
    if (stem.size > CACHED_SIZE_MAX) return NULL;
    entry->memory = 0;
    entry->word_size = (uint8_t)word->size;
    entry->stem_size = (uint8_t)stem.size;
    memcpy(entry->word, word->bytes, word->size);
    memcpy(entry->stem, stem.data, stem.size);
    return entry;
}

struct roost_bytes rst_analyzer_stem(struct rst_analyzer *analyzer, struct roost_bytes word) { return stem_now(analyzer, word); }

int rst_analyze_words(struct rst_analyzer *analyzer, struct roost_bytes text, rst_word_fn found, void *user)
{
    struct rst_words words;
    struct rst_word word;
    rst_words_begin(&words, text, analyzer->turkic);
    while (rst_words_next(&words, &word)) {
        struct rst_analyzed_word analyzed;
        analyzed.word = rst_bytes(word.bytes, word.size);
        const struct cached *entry = cached_word(analyzer, &word);
        analyzed.stem = entry ? rst_bytes(entry->stem, entry->stem_size) : stem_now(analyzer, analyzed.word);
        analyzed.stop = is_stop_word(analyzer, analyzed.word);
        int result = found(user, &analyzed);
        if (result) return result;
    }
    return 0;
}

/* ---- Terms ------------------------------------------------------------------------------------------------------- */

static bool grow_slots(struct rst_analyzer *analyzer)
{
    uint32_t count = analyzer->slot_count * 2;
    struct slot *slots = calloc(count, sizeof *slots);
    if (!slots) return false;
    for (uint32_t i = 0; i < analyzer->slot_count; i++) {
        const struct slot *old = &analyzer->slots[i];
        if (old->memory != analyzer->memory) continue;
        uint32_t at = old->hash & (count - 1);
        while (slots[at].memory) at = (at + 1) & (count - 1);
        slots[at] = *old;
    }
    free(analyzer->slots);
    analyzer->slots = slots;
    analyzer->slot_count = count;
    return true;
}

/* The index of a term of this memory, made with frequency 0 if it is new. Out of memory: sticks in terms->terms.failed. */
static uint32_t term_index(struct rst_analyzer *analyzer, struct rst_terms *terms, uint8_t kind, struct roost_bytes bytes)
{
    uint8_t spelled[RST_TERM_SIZE_MAX];
    RST_CHECK(bytes.size < sizeof spelled);
    spelled[0] = kind;
    memcpy(spelled + 1, bytes.data, bytes.size);
    struct roost_bytes term = rst_bytes(spelled, bytes.size + 1);
    uint32_t hash = (uint32_t)rst_hash(term.data, term.size, 0);
    uint32_t at = hash & (analyzer->slot_count - 1);
    for (; analyzer->slots[at].memory == analyzer->memory; at = (at + 1) & (analyzer->slot_count - 1)) {
        if (analyzer->slots[at].hash != hash) continue;
        const struct rst_term *known = (const struct rst_term *)(void *)terms->terms.data + analyzer->slots[at].index;
        if (rst_bytes_equal(term, rst_bytes(terms->bytes.data + known->offset, known->size))) return analyzer->slots[at].index;
    }
    struct rst_term made = {(uint32_t)terms->bytes.size, (uint32_t)term.size, 0};
    rst_buffer_add(&terms->bytes, term.data, term.size);
    rst_buffer_add(&terms->terms, &made, sizeof made);
    if (terms->bytes.failed || terms->terms.failed) return TERM_NONE;
    struct slot slot = {analyzer->memory, hash, terms->term_count};
    analyzer->slots[at] = slot;
    uint32_t index = terms->term_count++;
    if (terms->term_count > analyzer->slot_count / 2 && !grow_slots(analyzer)) terms->terms.failed = true;
    return index;
}

static void count_term(struct rst_terms *terms, uint32_t index)
{
    if (index != TERM_NONE) ((struct rst_term *)(void *)terms->terms.data)[index].frequency++;
}

/* The terms that a word stands for: always its stem, the others only if it differs from it. */
static void find_terms(struct rst_analyzer *analyzer, struct rst_terms *terms, struct roost_bytes word, struct roost_bytes stem,
                       uint32_t ret_indexes[3])
{
    ret_indexes[0] = term_index(analyzer, terms, RST_TERM_WORD, stem);
    ret_indexes[1] = ret_indexes[2] = TERM_NONE;
    if (rst_bytes_equal(word, stem)) return;
    bool altered = !rst_bytes_has_prefix(word, stem);
    ret_indexes[1] = term_index(analyzer, terms, altered ? RST_TERM_ALTERED : RST_TERM_FORM, word);
    if (altered) ret_indexes[2] = term_index(analyzer, terms, RST_TERM_ALTERED_STEM, stem);
}

static void add_words(struct rst_analyzer *analyzer, struct rst_terms *terms, struct roost_bytes text)
{
    struct rst_words words;
    struct rst_word word;
    rst_words_begin(&words, text, analyzer->turkic);
    while (rst_words_next(&words, &word) && !terms->terms.failed && !terms->bytes.failed) {
        terms->token_count++;
        uint32_t indexes[3];
        const uint32_t *found = indexes;
        struct cached *entry = cached_word(analyzer, &word);
        struct roost_bytes bytes = rst_bytes(word.bytes, word.size);
        if (!entry) {
            uint8_t stem[RST_TERM_SIZE_MAX]; /* term_index calls nothing that stems, but the bytes are the stemmer's */
            struct roost_bytes stemmed = stem_now(analyzer, bytes);
            memcpy(stem, stemmed.data, stemmed.size);
            find_terms(analyzer, terms, bytes, rst_bytes(stem, stemmed.size), indexes);
        } else {
            if (entry->memory != analyzer->memory) {
                find_terms(analyzer, terms, bytes, rst_bytes(entry->stem, entry->stem_size), entry->term);
                entry->memory = analyzer->memory;
            }
            found = entry->term;
        }
        count_term(terms, found[0]);
        count_term(terms, found[1]);
        count_term(terms, found[2]);
    }
}

/* A name that is longer than a term may be: its beginning, and a hash of all of it. */
size_t rst_name_term(enum rst_term_kind kind, struct roost_bytes name, uint8_t *ret_term)
{
    size_t size = name.size;
    ret_term[0] = (uint8_t)kind;
    if (size <= RST_WORD_SIZE_MAX) {
        if (size) memcpy(ret_term + 1, name.data, size);
        return size ? size + 1 : 0;
    }
    static const char digits[] = "0123456789abcdef";
    uint64_t hash = rst_hash(name.data, name.size, 0);
    size = rst_utf8_cut(name.data, name.size, LONG_NAME_PART);
    memcpy(ret_term + 1, name.data, size);
    ret_term[++size] = '#';
    for (int shift = 60; shift >= 0; shift -= 4) ret_term[++size] = (uint8_t)digits[hash >> shift & 15];
    return size + 1;
}

int rst_analyzer_tag_term(struct rst_analyzer *analyzer, struct roost_bytes tag, uint8_t *ret_term, size_t *ret_size)
{
    struct rst_buffer folded = {0};
    rst_fold(tag, analyzer->turkic, &folded);
    if (folded.failed) return rst_fail(ROOST_ENOMEM, "out of memory for a tag of %zu bytes", tag.size);
    *ret_size = rst_name_term(RST_TERM_TAG, rst_bytes(folded.data, folded.size), ret_term);
    rst_buffer_free(&folded);
    return 0;
}

/* ---- Order ------------------------------------------------------------------------------------------------------- */

struct sort_key {
    uint64_t head; /* the term's first 8 bytes as a number */
    uint32_t index, size;
};

static bool key_before(const struct rst_terms *terms, const struct sort_key *a, const struct sort_key *b)
{
    if (a->head != b->head) return a->head < b->head;
    const struct rst_term *all = (const struct rst_term *)(void *)terms->terms.data;
    return rst_bytes_compare(rst_bytes(terms->bytes.data + all[a->index].offset, a->size),
                             rst_bytes(terms->bytes.data + all[b->index].offset, b->size)) < 0;
}

/* Merge sort, runs of 8 by insertion. `keys` and `other` have room for count; returns the one that holds the result. */
static struct sort_key *sort_keys(const struct rst_terms *terms, struct sort_key *keys, struct sort_key *other, size_t count)
{
    for (size_t start = 0; start < count; start += 8) {
        size_t end = start + 8 < count ? start + 8 : count;
        for (size_t i = start + 1; i < end; i++) {
            struct sort_key moved = keys[i];
            size_t to = i;
            for (; to > start && key_before(terms, &moved, &keys[to - 1]); to--) keys[to] = keys[to - 1];
            keys[to] = moved;
        }
    }
    for (size_t run = 8; run < count; run *= 2) {
        for (size_t start = 0; start < count; start += 2 * run) {
            size_t a = start, a_end = start + run < count ? start + run : count;
            size_t b = a_end, b_end = b + run < count ? b + run : count;
            for (size_t to = start; to < b_end; to++) {
                bool take_b = a == a_end || (b < b_end && key_before(terms, &keys[b], &keys[a]));
                other[to] = take_b ? keys[b++] : keys[a++];
            }
        }
        struct sort_key *swap = keys;
        keys = other;
        other = swap;
    }
    return keys;
}

static bool sort_terms(struct rst_analyzer *analyzer, struct rst_terms *terms)
{
    size_t count = terms->term_count;
    if (!count) return true;
    struct rst_term *all = (struct rst_term *)(void *)terms->terms.data;
    rst_buffer_clear(&analyzer->sort);
    struct sort_key *keys = rst_buffer_extend(&analyzer->sort, 2 * count * sizeof *keys + count * sizeof *all);
    if (!keys) return false;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t head[8] = {0};
        memcpy(head, terms->bytes.data + all[i].offset, all[i].size < 8 ? all[i].size : 8);
        struct sort_key key = {rst_get_be64(head), i, all[i].size};
        keys[i] = key;
    }
    struct rst_term *before = (struct rst_term *)(void *)(keys + 2 * count);
    memcpy(before, all, count * sizeof *all);
    const struct sort_key *sorted = sort_keys(terms, keys, keys + count, count);
    for (size_t i = 0; i < count; i++) all[i] = before[sorted[i].index];
    return true;
}

/* ---- A memory ---------------------------------------------------------------------------------------------------- */

/* A new number for the table and the cache; when the numbers are used up both are wiped once. */
static void begin_memory(struct rst_analyzer *analyzer)
{
    if (++analyzer->memory) return;
    memset(analyzer->slots, 0, analyzer->slot_count * sizeof *analyzer->slots);
    for (size_t i = 0; i < CACHE_COUNT; i++) analyzer->cache[i].memory = 0;
    analyzer->memory = 1;
}

static void add_name(struct rst_analyzer *analyzer, struct rst_terms *terms, enum rst_term_kind kind, struct roost_bytes name)
{
    uint8_t term[RST_TERM_SIZE_MAX];
    size_t size = rst_name_term(kind, name, term);
    if (size) count_term(terms, term_index(analyzer, terms, term[0], rst_bytes(term + 1, size - 1)));
}

int rst_analyze_memory(struct rst_analyzer *analyzer, const struct rst_searchable *memory, struct rst_terms *terms)
{
    struct roost_bytes text = memory->text;
    begin_memory(analyzer);
    rst_buffer_clear(&terms->bytes);
    rst_buffer_clear(&terms->terms);
    terms->term_count = terms->token_count = 0;
    if (text.size > ROOST_INDEXED_SIZE_MAX) text.size = ROOST_INDEXED_SIZE_MAX;
    add_words(analyzer, terms, text);
    for (size_t i = 0; i < memory->tag_count; i++) {
        add_words(analyzer, terms, memory->tags[i]);
        uint8_t term[RST_TERM_SIZE_MAX];
        size_t size;
        int err = rst_analyzer_tag_term(analyzer, memory->tags[i], term, &size);
        if (err < 0) return err;
        if (size) count_term(terms, term_index(analyzer, terms, term[0], rst_bytes(term + 1, size - 1)));
    }
    add_name(analyzer, terms, RST_TERM_AGENT, memory->agent);
    add_name(analyzer, terms, RST_TERM_SESSION, memory->session);
    if (terms->bytes.failed || terms->terms.failed || !sort_terms(analyzer, terms))
        return rst_fail(ROOST_ENOMEM, "out of memory for the terms of a memory of %zu bytes", text.size);
    return 0;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

int rst_check_utf8(struct roost_bytes text, const char *what)
{
    size_t at;
    if (rst_utf8_valid(text.data, text.size, &at)) return 0;
    return rst_fail(ROOST_EILSEQ, "%s is not UTF-8: the byte 0x%02x at offset %zu of %zu begins no character", what,
                    ((const uint8_t *)text.data)[at], at, text.size);
}
