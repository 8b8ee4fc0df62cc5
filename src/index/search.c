/* SPDX-License-Identifier: MIT
 * index/search.c: ranked answers (layer 5).
 *
 * First each atom's postings are gathered over the whole view (gather.c): now n is known. Then memories are visited by
 * ascending id. With a +clause, or with nothing but filters, the rarest required atom leads, a filter's among them. Otherwise
 * windows of WINDOW_SIZE ids go over all atoms that may match, and add up what each could give at most (as if the memory were of
 * length 0); only a memory whose bound reaches the worst of the hits so far is scored exactly. Texts are read last, for phrases, and
 * only of memories that would be hits.
 *
 * A score is always summed in the order of the clauses, so that it comes out the same to the last bit however the memories are
 * spread over segments. Left out: scoring positions or fields; skipping whole runs of postings (block maxima). */
#include "index/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "index/gather.h"
#include "index/phrase.h"
#include "index/query.h"

/* BM25; see search.h. */
static const double k1 = 1.2, b = 0.75;

enum {
    WINDOW_SIZE = 2048, /* ids; its bounds are 16 KiB, half of a first-level cache */
    BOUND_COUNT = 16    /* frequencies with a bound of their own; greater ones share the limit */
};

/* A clause and what is known about it for the memory at hand. */
struct clause_state {
    bool matched, pending; /* pending: a phrase whose words are all there, not yet verified */
    double score;
};

/* Part of the bound: an atom that may bring a memory in. */
struct lead {
    struct rst_atom *atom;
    double bounds[BOUND_COUNT + 1];
};

struct ranked {
    double score;
    uint64_t id;
};

struct search {
    const struct rst_view *view;
    struct rst_analyzer *analyzer;
    const struct rst_query *query;
    size_t limit;
    rst_read_memory_fn read;
    void *user;
    double average;    /* tokens of a memory */
    bool any_must;     /* one that scores; or filters are all there is */
    bool only_filters; /* nothing but filters could bring a memory in */
    struct rst_atom *atoms;
    uint32_t atom_count;
    uint32_t *item_atoms; /* the atom of each of the query's items */
    struct clause_state *states;
    struct lead *leads;
    size_t lead_count;
    struct rst_buffer forgotten;
    struct rst_buffer heap; /* struct ranked; the worst on top */
    size_t heap_count;
    size_t segment; /* where the last memory was found */
};

static int no_memory(void) { return rst_fail(ROOST_ENOMEM, "out of memory for a search"); }

/* ---- The best so far --------------------------------------------------------------------------------------------- */

static struct ranked *heap_of(const struct search *search) { return (struct ranked *)(void *)search->heap.data; }

/* Equal scores: the greater id is better. */
static bool is_worse(struct ranked x, struct ranked y) { return x.score != y.score ? x.score < y.score : x.id < y.id; }

static void sift_down(struct ranked *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_worse(heap[child + 1], heap[child])) child++;
        if (!is_worse(heap[child], heap[at])) return;
        struct ranked swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static bool would_enter(const struct search *search, double score, uint64_t id)
{
    struct ranked candidate = {score, id};
    return search->heap_count < search->limit || is_worse(heap_of(search)[0], candidate);
}

static int enter(struct search *search, double score, uint64_t id)
{
    struct ranked candidate = {score, id};
    if (search->heap_count == search->limit) {
        heap_of(search)[0] = candidate;
        sift_down(heap_of(search), search->heap_count, 0);
        return 0;
    }
    rst_buffer_add(&search->heap, &candidate, sizeof candidate);
    if (search->heap.failed) return no_memory();
    struct ranked *heap = heap_of(search);
    size_t at = search->heap_count++;
    while (at && is_worse(heap[at], heap[(at - 1) / 2])) {
        struct ranked swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
    return 0;
}

static int compare_ranked(const void *x, const void *y)
{
    const struct ranked *left = x, *right = y;
    return is_worse(*left, *right) - is_worse(*right, *left);
}

/* ---- One memory -------------------------------------------------------------------------------------------------- */

/* The entry of a memory that has a posting: it must be there. */
static int find_entry(struct search *search, uint64_t id, struct rst_memory_entry *ret_entry)
{
    const struct rst_view *view = search->view;
    for (size_t i = 0; i < view->segment_count; i++) { /* the segment of the memory before comes first */
        size_t at = (search->segment + i) % view->segment_count;
        int result = view->segments[at]->ops->memory(view->segments[at], id, view->visible, ret_entry);
        if (result < 0) return result;
        if (!result) continue;
        search->segment = at;
        return 0;
    }
    return rst_fail(ROOST_ECORRUPT,
                    "the index has postings of memory %" PRIu64 ", but not the memory; `roost rebuild` makes it anew", id);
}

static double weigh(const struct rst_atom *atom, uint32_t frequency, double norm)
{
    double f = (double)frequency;
    return atom->idf * f * (k1 + 1) / (f + norm);
}

/* Looks one clause up. A phrase matches so far if all its words are there. */
static void look_up(struct search *search, const struct rst_query_clause *clause, struct clause_state *state, uint64_t id,
                    double norm)
{
    const struct rst_query_item *items = rst_query_items(search->query) + clause->item_first;
    state->matched = true;
    state->score = 0;
    for (uint32_t i = 0; i < clause->item_count; i++) {
        struct rst_atom *atom = &search->atoms[search->item_atoms[clause->item_first + i]];
        uint32_t frequency = rst_atom_frequency(atom, id);
        if (!frequency)
            state->matched = false;
        else if (!items[i].stop)
            state->score += weigh(atom, frequency, norm);
    }
    state->score *= clause->repeat_count;
    state->pending = state->matched && clause->kind == RST_CLAUSE_PHRASE;
}

/* Adds up in clause order. False: the memory is out. A -phrase that still waits for its text lets it in for now. */
static bool sum_up(const struct search *search, double *ret_score)
{
    const struct rst_query_clause *clauses = rst_query_clauses(search->query);
    bool any = search->only_filters;
    *ret_score = 0;
    for (uint32_t i = 0; i < search->query->clause_count; i++) {
        const struct clause_state *state = &search->states[i];
        if (clauses[i].need == RST_NEED_NOT) {
            if (state->matched && !state->pending) return false;
            continue;
        }
        if (!state->matched) {
            if (clauses[i].need == RST_NEED_MUST) return false;
            continue;
        }
        any = any || clauses[i].kind != RST_CLAUSE_FILTER;
        *ret_score += state->score;
    }
    return any;
}

/* Reads the text and decides the phrases that wait for it. 0: the memory is gone. */
static int decide_phrases(struct search *search, const struct rst_memory_entry *entry)
{
    const struct rst_query_clause *clauses = rst_query_clauses(search->query);
    struct roost_bytes text = {NULL, 0};
    bool read = false;
    for (uint32_t i = 0; i < search->query->clause_count; i++) {
        struct clause_state *state = &search->states[i];
        if (!state->pending) continue;
        if (!read) {
            const struct roost_bytes *tags;
            size_t tag_count;
            int result = search->read(search->user, entry, &text, &tags, &tag_count);
            if (result <= 0) return result;
            read = true;
        }
        int result = rst_phrase_in_text(search->analyzer, search->query, &clauses[i], text);
        if (result < 0) return result;
        state->matched = result > 0;
        state->pending = false;
    }
    return 1;
}

static bool any_pending(const struct search *search)
{
    for (uint32_t i = 0; i < search->query->clause_count; i++)
        if (search->states[i].pending) return true;
    return false;
}

/* Scores one memory exactly and keeps it if it is among the best. */
static int visit(struct search *search, uint64_t id)
{
    struct rst_memory_entry entry;
    int err = find_entry(search, id, &entry);
    if (err < 0) return err;
    double norm = k1 * (1 - b + b * (double)entry.token_count / search->average), score;
    const struct rst_query_clause *clauses = rst_query_clauses(search->query);
    for (uint32_t i = 0; i < search->query->clause_count; i++) look_up(search, &clauses[i], &search->states[i], id, norm);
    if (!sum_up(search, &score) || !would_enter(search, score, id)) return 0;
    if (any_pending(search)) {
        int result = decide_phrases(search, &entry);
        if (result <= 0) return result;
        if (!sum_up(search, &score) || !would_enter(search, score, id)) return 0;
    }
    return enter(search, score, id);
}

/* ---- Which memories ---------------------------------------------------------------------------------------------- */

/* The rarest atom that every answer must hold. */
static int visit_required(struct search *search)
{
    const struct rst_query_clause *clauses = rst_query_clauses(search->query);
    const struct rst_atom *leader = NULL;
    for (uint32_t i = 0; i < search->query->clause_count; i++) {
        if (clauses[i].need != RST_NEED_MUST) continue;
        for (uint32_t k = 0; k < clauses[i].item_count; k++) {
            const struct rst_atom *atom = &search->atoms[search->item_atoms[clauses[i].item_first + k]];
            if (!leader || atom->count < leader->count) leader = atom;
        }
    }
    for (size_t i = 0; leader && i < leader->count; i++) {
        int err = visit(search, rst_atom_postings(leader)[i].id);
        if (err < 0) return err;
    }
    return 0;
}

/* The bounds of all atoms that can bring a memory in, for each frequency. An atom of several clauses counts for each. */
static void set_bounds(struct search *search)
{
    const struct rst_query_clause *clauses = rst_query_clauses(search->query);
    for (uint32_t a = 0; a < search->atom_count; a++) search->leads[a].atom = NULL;
    for (uint32_t i = 0; i < search->query->clause_count; i++) {
        if (clauses[i].need == RST_NEED_NOT) continue;
        for (uint32_t k = 0; k < clauses[i].item_count; k++) {
            if (rst_query_items(search->query)[clauses[i].item_first + k].stop) continue;
            uint32_t index = search->item_atoms[clauses[i].item_first + k];
            struct lead *lead = &search->leads[index];
            if (!lead->atom) memset(lead->bounds, 0, sizeof lead->bounds);
            lead->atom = &search->atoms[index];
            for (uint32_t f = 1; f <= BOUND_COUNT; f++) {
                double most = f < BOUND_COUNT ? weigh(lead->atom, f, k1 * (1 - b)) : lead->atom->idf * (k1 + 1);
                lead->bounds[f] += most * clauses[i].repeat_count;
            }
        }
    }
    for (uint32_t a = 0; a < search->atom_count; a++)
        if (search->leads[a].atom) search->leads[search->lead_count++] = search->leads[a];
}

/* Adds the postings of [first, first + WINDOW_SIZE) to the bounds. */
static void fill_window(struct search *search, uint64_t first, double *bounds, uint64_t *present)
{
    for (size_t i = 0; i < search->lead_count; i++) {
        const struct lead *lead = &search->leads[i];
        struct rst_atom *atom = lead->atom;
        const struct rst_posting *all = rst_atom_postings(atom);
        size_t at = atom->window;
        for (; at < atom->count && all[at].id - first < WINDOW_SIZE; at++) {
            uint64_t slot = all[at].id - first;
            uint32_t frequency = all[at].frequency;
            bounds[slot] += lead->bounds[frequency < BOUND_COUNT ? frequency : BOUND_COUNT];
            present[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
        atom->window = at;
    }
}

static int visit_window(struct search *search, uint64_t first, double *bounds, uint64_t *present)
{
    for (size_t word = 0; word < WINDOW_SIZE / 64; word++) {
        for (; present[word]; present[word] &= present[word] - 1) {
            uint64_t slot = word * 64 + (uint64_t)__builtin_ctzll(present[word]);
            /* Sums in another order may differ in their last bits. */
            double bound = bounds[slot] * (1 + 1e-9);
            bounds[slot] = 0;
            if (search->heap_count == search->limit && bound < heap_of(search)[0].score) continue;
            int err = visit(search, first + slot);
            if (err < 0) return err;
        }
    }
    return 0;
}

static int visit_any(struct search *search)
{
    double bounds[WINDOW_SIZE] = {0};
    uint64_t present[WINDOW_SIZE / 64] = {0};
    set_bounds(search);
    for (;;) {
        uint64_t first = UINT64_MAX;
        bool any = false;
        for (size_t i = 0; i < search->lead_count; i++) {
            const struct rst_atom *atom = search->leads[i].atom;
            if (atom->window == atom->count) continue;
            uint64_t id = rst_atom_postings(atom)[atom->window].id;
            any = true;
            if (id < first) first = id;
        }
        if (!any) return 0;
        fill_window(search, first, bounds, present);
        int err = visit_window(search, first, bounds, present);
        if (err < 0) return err;
    }
}

/* ---- A search ---------------------------------------------------------------------------------------------------- */

/* Gives each item of the query its atom; equal items share one. */
static int make_atoms(struct search *search)
{
    const struct rst_query *query = search->query;
    size_t slot_count = 16;
    while (slot_count < 2 * (size_t)query->item_count) slot_count *= 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots) return no_memory();
    const struct rst_query_clause *clauses = rst_query_clauses(query);
    for (uint32_t c = 0; c < query->clause_count; c++) {
        for (uint32_t i = clauses[c].item_first; i < clauses[c].item_first + clauses[c].item_count; i++) {
            const struct rst_query_item *item = &rst_query_items(query)[i];
            struct roost_bytes term = rst_bytes(query->bytes.data + item->term_offset, item->term_size);
            size_t at = rst_hash(term.data, term.size, item->prefix) & (slot_count - 1);
            for (; slots[at]; at = (at + 1) & (slot_count - 1)) {
                const struct rst_atom *known = &search->atoms[slots[at] - 1];
                if (known->prefix == item->prefix && rst_bytes_equal(known->term, term)) break;
            }
            if (!slots[at]) {
                search->atoms[search->atom_count].term = term;
                search->atoms[search->atom_count].prefix = item->prefix;
                slots[at] = ++search->atom_count;
            }
            search->item_atoms[i] = slots[at] - 1;
        }
        if (clauses[c].need == RST_NEED_NOT || clauses[c].kind == RST_CLAUSE_FILTER) continue;
        search->only_filters = false;
        search->any_must = search->any_must || clauses[c].need == RST_NEED_MUST;
    }
    search->any_must = search->any_must || search->only_filters;
    free(slots);
    return 0;
}

static bool has_phrase(const struct rst_query *query)
{
    for (uint32_t i = 0; i < query->clause_count; i++)
        if (rst_query_clauses(query)[i].kind == RST_CLAUSE_PHRASE) return true;
    return false;
}

static bool can_match(const struct rst_query *query)
{
    for (uint32_t i = 0; i < query->clause_count; i++)
        if (rst_query_clauses(query)[i].need != RST_NEED_NOT) return true;
    return false;
}

static int run(struct search *search)
{
    size_t item_count = search->query->item_count, clause_count = search->query->clause_count;
    search->atoms = calloc(item_count, sizeof *search->atoms);
    search->leads = calloc(item_count, sizeof *search->leads);
    search->item_atoms = calloc(item_count, sizeof *search->item_atoms);
    search->states = calloc(clause_count, sizeof *search->states);
    if (!search->atoms || !search->leads || !search->item_atoms || !search->states) return no_memory();
    int err = make_atoms(search);
    if (!err) err = rst_gather_forgotten(search->view, &search->forgotten);
    for (uint32_t i = 0; !err && i < search->atom_count; i++)
        err = rst_gather_atom(search->view, search->analyzer, &search->forgotten, &search->atoms[i]);
    if (err < 0) return err;
    return search->any_must ? visit_required(search) : visit_any(search);
}

static void clean_up(struct search *search)
{
    for (uint32_t i = 0; i < search->atom_count; i++) rst_buffer_free(&search->atoms[i].postings);
    free(search->atoms);
    free(search->leads);
    free(search->item_atoms);
    free(search->states);
    rst_buffer_free(&search->forgotten);
    rst_buffer_free(&search->heap);
}

int rst_search(const struct rst_view *view, struct rst_analyzer *analyzer, const struct rst_query *query, size_t limit,
               rst_read_memory_fn read, void *user, struct rst_scored *ret_hits)
{
    if (!limit || !view->segment_count || !can_match(query)) return 0;
    if (has_phrase(query) && !read) return rst_fail(ROOST_EINVAL, "a query with a phrase needs a way to read memories");
    struct search search;
    memset(&search, 0, sizeof search);
    search.view = view;
    search.analyzer = analyzer;
    search.query = query;
    search.limit = limit < INT32_MAX ? limit : INT32_MAX;
    search.read = read;
    search.user = user;
    search.only_filters = true;
    search.average = view->memory_count && view->token_count ? (double)view->token_count / (double)view->memory_count : 1;
    int result = run(&search);
    if (!result) {
        struct ranked *heap = heap_of(&search);
        if (heap) qsort(heap, search.heap_count, sizeof *heap, compare_ranked);
        for (size_t i = 0; i < search.heap_count; i++) {
            ret_hits[i].id = heap[i].id;
            ret_hits[i].score = heap[i].score;
        }
        result = (int)search.heap_count;
    }
    clean_up(&search);
    return result;
}
