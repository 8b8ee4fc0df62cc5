/* SPDX-License-Identifier: MIT
 * tests/corpus.c: random changes from a seed. Few words, so that queries meet; among them words that differ from their stems in
 * every way that prefix clauses must tell apart. */
#include "corpus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"

const char *const corpus_words[] = {
    "run",  "running",  "runs",       "runner",  "rune",       "happy", "happily", "happiness", "happi", "die",    "dying",
    "dies", "skies",    "sky",        "the",     "of",         "a",     "to",      "early",     "earl",  "gentle", "gently",
    "wing", "wings",    "flow",       "flowing", "Café",       "cafe",  "straße",  "STRASSE",   "東京",  "x1",     "x12",
    "x",    "generate", "generation", "general", "generously", "news",  "e-mail",  NULL,
};
const char *const corpus_tags[] = {"red", "Red wine", "blue", "running", "a:b", NULL};

/* Two that differ in case only, one with a blank, two that are too long for a term and differ at their ends. */
const char *const corpus_names[] = {"alice",
                                    "Alice",
                                    "bob the builder",
                                    "ein-sehr-langer-name-der-nicht-mehr-in-einen-begriff-passt-weil-er-länger-ist-1",
                                    "ein-sehr-langer-name-der-nicht-mehr-in-einen-begriff-passt-weil-er-länger-ist-2",
                                    NULL};

static uint64_t state;

uint64_t corpus_random(void) /* splitmix64, https://prng.di.unimi.it/splitmix64.c */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t corpus_below(uint32_t limit) { return (uint32_t)(corpus_random() % limit); }

uint64_t corpus_seed(const char *what)
{
    const char *given = getenv("ROOST_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    state = given ? (uint64_t)strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20 ^ (uint64_t)getpid();
    printf("%s: ROOST_TEST_SEED=%" PRIu64 "\n", what, state);
    fflush(stdout);
    return state;
}

static uint32_t length_of(const char *const *list)
{
    uint32_t count = 0;
    while (list[count]) count++;
    return count;
}

static void make_memory(struct corpus_change *change)
{
    uint32_t word_count = corpus_below(4) ? 1 + corpus_below(8) : 1 + corpus_below(35);
    size_t used = 0;
    for (uint32_t i = 0; i < word_count; i++) {
        const char *word = corpus_words[corpus_below(length_of(corpus_words))];
        used += (size_t)snprintf(change->text + used, sizeof change->text - used, "%s%s", i ? " " : "", word);
        RST_CHECK(used < sizeof change->text);
    }
    change->tag_count = corpus_below(3) ? 0 : corpus_below(CORPUS_TAG_COUNT_MAX + 1);
    for (size_t i = 0; i < change->tag_count; i++) change->tags[i] = corpus_tags[corpus_below(length_of(corpus_tags))];
    if (corpus_below(3)) change->agent = corpus_names[corpus_below(length_of(corpus_names))];
    if (corpus_below(2)) change->session = corpus_names[corpus_below(length_of(corpus_names))];
}

/* Forgets one of the memories so far, or does nothing. */
static bool make_forget(struct corpus *corpus, size_t at)
{
    size_t victim = corpus_below((uint32_t)at);
    if (corpus->changes[victim].kind != CORPUS_MEMORY || corpus->changes[victim].forgotten_lsn) return false;
    corpus->changes[at].kind = CORPUS_FORGET;
    corpus->changes[at].id = corpus->changes[victim].id;
    corpus->changes[victim].forgotten_lsn = corpus->changes[at].lsn;
    return true;
}

void corpus_make(struct corpus *corpus, size_t count)
{
    corpus->changes = calloc(count ? count : 1, sizeof *corpus->changes);
    RST_CHECK(corpus->changes);
    corpus->count = count;
    uint64_t next_id = 1 + corpus_below(3) * corpus_below(100000);
    for (size_t i = 0; i < count; i++) {
        struct corpus_change *change = &corpus->changes[i];
        change->lsn = i + 1;
        uint32_t dice = corpus_below(10);
        if (dice == 0) {
            change->kind = CORPUS_KEY;
            snprintf(change->key, sizeof change->key, "%c%u", corpus_below(2) ? 'k' : 's', (unsigned)corpus_below(30));
            change->deleted = corpus_below(3) == 0;
        } else if (dice > 2 || !i || !make_forget(corpus, i)) {
            change->kind = CORPUS_MEMORY;
            change->id = next_id;
            next_id += corpus_below(8) ? 1 : 1 + corpus_below(5000);
            make_memory(change);
        }
    }
}

void corpus_free(struct corpus *corpus) { free(corpus->changes); }

static struct roost_bytes bytes_of(const char *string) { return string ? rst_bytes(string, strlen(string)) : rst_bytes(NULL, 0); }

struct rst_searchable corpus_searchable(const struct corpus_change *change, struct roost_bytes *ret_tags)
{
    for (size_t i = 0; i < change->tag_count; i++) ret_tags[i] = bytes_of(change->tags[i]);
    return (struct rst_searchable){.text = bytes_of(change->text),
                                   .tags = ret_tags,
                                   .tag_count = change->tag_count,
                                   .agent = bytes_of(change->agent),
                                   .session = bytes_of(change->session)};
}

struct rst_memory_entry corpus_entry(const struct corpus_change *change, const struct rst_terms *terms)
{
    struct rst_place place = {change->lsn * 8, (uint32_t)strlen(change->text), (uint32_t)(change->lsn % 3)};
    struct rst_memory_entry entry = {change->id, change->lsn, place, (int64_t)change->lsn * 1000, terms->token_count, 0};
    return entry;
}

struct rst_map_entry corpus_map_entry(const struct corpus_change *change)
{
    struct rst_map_entry entry = {change->lsn,
                                  {change->lsn * 8, 40, 1},
                                  change->lsn * 3,
                                  change->lsn * 5,
                                  (int64_t)change->lsn,
                                  0,
                                  change->deleted ? RST_MAP_DELETED : RST_MAP_SET,
                                  0};
    return entry;
}

void corpus_segment(const struct corpus *corpus, struct rst_analyzer *analyzer, size_t first, size_t end,
                    struct array_segment *ret_segment)
{
    struct rst_terms terms = {0};
    array_segment_init(ret_segment, "array segment", first + 1, end);
    for (size_t i = first; i < end; i++) {
        const struct corpus_change *change = &corpus->changes[i];
        if (change->kind == CORPUS_KEY) {
            struct rst_map_entry entry = corpus_map_entry(change);
            array_segment_set_map(ret_segment, rst_bytes(change->key, strlen(change->key)), &entry);
        } else if (change->kind == CORPUS_FORGET) {
            array_segment_add_tombstone(ret_segment, change->id, change->lsn);
        } else {
            struct roost_bytes tags[CORPUS_TAG_COUNT_MAX];
            struct rst_searchable memory = corpus_searchable(change, tags);
            RST_CHECK(rst_analyze_memory(analyzer, &memory, &terms) == 0);
            struct rst_memory_entry entry = corpus_entry(change, &terms);
            array_segment_add_memory(ret_segment, &entry, &terms);
        }
    }
    rst_terms_free(&terms);
}
