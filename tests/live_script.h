/* SPDX-License-Identifier: MIT
 * tests/live_script.h: changes to a live segment, made by hand, and all the answers of one as bytes to compare.
 * Shared by unit/test_live.c and crash/live_step.c. */
#ifndef TESTS_LIVE_SCRIPT_H
#define TESTS_LIVE_SCRIPT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "index/analysis.h"
#include "index/live.h"

enum script_kind { SCRIPT_MEMORY, SCRIPT_TOMBSTONE, SCRIPT_SET, SCRIPT_DELETE };

/* A change. text: a memory's terms, separated by blanks and sorted ("tx wapple wpear"), or a map key. */
struct script_change {
    enum script_kind kind;
    uint64_t id, lsn;
    const char *text;
};

static inline void script_term(struct rst_terms *terms, struct roost_bytes bytes, uint32_t frequency)
{
    struct rst_term term = {(uint32_t)terms->bytes.size, (uint32_t)bytes.size, frequency};
    rst_buffer_add(&terms->bytes, bytes.data, bytes.size);
    rst_buffer_add(&terms->terms, &term, sizeof term);
    terms->term_count++;
    terms->token_count += frequency;
}

static inline void script_terms(struct rst_terms *terms, const char *text, uint32_t frequency)
{
    rst_buffer_clear(&terms->bytes);
    rst_buffer_clear(&terms->terms);
    terms->term_count = terms->token_count = 0;
    while (*text) {
        size_t size = strcspn(text, " ");
        script_term(terms, rst_bytes(text, size), frequency++);
        text += size;
        text += strspn(text, " ");
    }
}

static inline void script_terms_free(struct rst_terms *terms)
{
    rst_buffer_free(&terms->bytes);
    rst_buffer_free(&terms->terms);
}

static inline struct rst_memory_entry script_memory(uint64_t id, uint64_t lsn, uint32_t token_count)
{
    return (struct rst_memory_entry){id,          lsn, {id * 64, (uint32_t)lsn, (uint32_t)(id % 7)}, (int64_t)(id * 1000 + lsn),
                                     token_count, 0};
}

static inline struct rst_map_entry script_entry(uint64_t lsn, bool deleted)
{
    return (struct rst_map_entry){
        lsn, {lsn * 8, 16, 1}, lsn ^ 5, lsn * 3, (int64_t)lsn * 10, 0, deleted ? RST_MAP_DELETED : RST_MAP_SET, 0};
}

/* terms: prepared by script_terms for a memory. */
static inline int script_apply(struct rst_live *live, const struct script_change *change, const struct rst_terms *terms)
{
    if (change->kind == SCRIPT_MEMORY) {
        struct rst_memory_entry entry = script_memory(change->id, change->lsn, terms->token_count);
        return rst_live_add_memory(live, &entry, terms);
    }
    if (change->kind == SCRIPT_TOMBSTONE) return rst_live_add_tombstone(live, change->id, change->lsn);
    struct rst_map_entry entry = script_entry(change->lsn, change->kind == SCRIPT_DELETE);
    return rst_live_set_map(live, rst_bytes(change->text, strlen(change->text)), &entry);
}

static inline uint64_t script_need(const struct script_change *change, const struct rst_terms *terms)
{
    if (change->kind == SCRIPT_MEMORY) return rst_live_need_memory(terms);
    return change->kind == SCRIPT_TOMBSTONE ? rst_live_need_tombstone() : rst_live_need_map(strlen(change->text));
}

/* ---- All answers ------------------------------------------------------------------------------------------------- */

static inline int script_ask_memories(const struct rst_segment *segment, bool forward, uint64_t visible, struct rst_buffer *out)
{
    struct rst_memory_entry entry, same;
    uint64_t id = forward ? 0 : UINT64_MAX;
    int found;
    while ((found = segment->ops->memory_near(segment, id, forward, visible, &entry)) > 0) {
        rst_buffer_add(out, &entry, sizeof entry);
        found = segment->ops->memory(segment, entry.id, visible, &same);
        if (found < 0) return found;
        rst_buffer_add(out, found ? &same : &entry, sizeof same);
        rst_buffer_add_u8(out, (uint8_t)found);
        if (forward ? entry.id < id || entry.id == UINT64_MAX : entry.id > id || entry.id == 0)
            break; /* garbage, or the end of numbers */
        id = forward ? entry.id + 1 : entry.id - 1;
        if (out->size > (64u << 20)) break; /* garbage */
    }
    return found < 0 ? found : 0;
}

static inline int script_ask_tombstones(const struct rst_segment *segment, uint64_t visible, struct rst_buffer *out)
{
    uint64_t id = 0, lsn, same;
    int found;
    while ((found = segment->ops->tombstone_near(segment, id, visible, &id, &lsn)) > 0) {
        rst_buffer_add_u64(out, id);
        rst_buffer_add_u64(out, lsn);
        found = segment->ops->tombstone(segment, id, visible, &same);
        if (found < 0) return found;
        rst_buffer_add_u8(out, found && same == lsn);
        if (id++ == UINT64_MAX || out->size > (64u << 20)) break; /* the end of numbers, or garbage */
    }
    return found < 0 ? found : 0;
}

/* The order of terms is free, so their answers are hashed and summed. Terms without a visible posting do not count. */
static inline int script_ask_terms(const struct rst_segment *segment, struct roost_bytes prefix, uint64_t visible,
                                   struct rst_buffer *out)
{
    struct rst_terms_cursor cursor;
    struct rst_postings_cursor postings;
    struct rst_posting posting;
    struct roost_bytes term;
    uint64_t sum = 0, steps = 0;
    int found = segment->ops->terms(segment, prefix, &cursor);
    while (found > 0 && (found = segment->ops->terms_next(&cursor, &term)) > 0) {
        uint64_t hash = rst_hash(term.data, term.size, 1), start = hash;
        int more = segment->ops->postings(segment, term, &postings);
        while (more > 0 && (more = segment->ops->postings_next(&postings, visible, &posting)) > 0) {
            hash = rst_hash_seed(hash, rst_hash_seed(posting.id, posting.frequency));
            if (++steps > 1u << 20) return 0; /* garbage */
        }
        if (more < 0) return more;
        if (hash != start) sum += hash;
    }
    rst_buffer_add_u64(out, sum);
    return found;
}

static inline int script_ask_map(const struct rst_segment *segment, bool forward, uint64_t visible, struct rst_buffer *out)
{
    struct rst_map_cursor cursor;
    struct rst_map_entry entry, same;
    struct roost_bytes key = rst_bytes("", 0);
    static const uint8_t top[RST_MAP_KEY_SIZE_MAX] = {0xff};
    int found = forward ? segment->ops->map_seek(segment, key, false, &cursor)
                        : segment->ops->map_before(segment, rst_bytes(top, sizeof top), true, &cursor);
    while (found > 0 && (found = segment->ops->map_next(&cursor, visible, &key, &entry)) > 0) {
        rst_buffer_add(out, key.data, key.size);
        rst_buffer_add(out, &entry, sizeof entry);
        int again = segment->ops->map(segment, key, visible, &same);
        if (again < 0) return again;
        rst_buffer_add_u8(out, again && same.lsn == entry.lsn);
    }
    return found;
}

/* Every answer, as of `visible`. */
static inline int script_ask(const struct rst_live *live, uint64_t visible, struct rst_buffer *out)
{
    const struct rst_segment *segment = &live->segment;
    int err;
    if ((err = script_ask_memories(segment, true, visible, out)) < 0 ||
        (err = script_ask_memories(segment, false, visible, out)) < 0)
        return err;
    if ((err = script_ask_tombstones(segment, visible, out)) < 0) return err;
    if ((err = script_ask_terms(segment, rst_bytes("", 0), visible, out)) < 0) return err;
    if ((err = script_ask_terms(segment, rst_bytes("w", 1), visible, out)) < 0) return err;
    if ((err = script_ask_map(segment, true, visible, out)) < 0) return err;
    return script_ask_map(segment, false, visible, out);
}

/* Every answer as of every LSN in first..last, and the counts. */
static inline int script_ask_all(const struct rst_live *live, uint64_t first, uint64_t last, struct rst_buffer *out)
{
    rst_buffer_clear(out);
    for (uint64_t visible = first; visible <= last; visible++) {
        int err = script_ask(live, visible, out);
        if (err < 0) return err;
    }
    rst_buffer_add_u64(out, rst_live_change_count(live));
    rst_buffer_add_u64(out, rst_live_lsn_first(live));
    return 0;
}

#endif
