/* SPDX-License-Identifier: MIT
 * tests/unit/test_live.c: the live segment's answers (segment.h) against hand-made cases and a plain model, its bounds on space,
 * its calm before garbage, and its readers beside a writer. ROOST_TEST_SEED=n replays a random test. */
#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "index/live_parts.h"
#include "live_script.h"

enum { SMALL = 65536, LARGE = 4 << 20 };

static uint64_t random_state;

static uint64_t next_random(void) /* splitmix64, https://prng.di.unimi.it/splitmix64.c */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static uint32_t below(uint32_t limit) { return (uint32_t)(next_random() % limit); }

static void seed_random(const char *what)
{
    const char *given = getenv("ROOST_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    random_state =
        given ? (uint64_t)strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20 ^ (uint64_t)getpid();
    printf("%s: ROOST_TEST_SEED=%" PRIu64 "\n", what, random_state);
    fflush(stdout);
}

/* An arena of its own allocation, so that ASan sees a step beyond it; filled with what a recycled one may hold. */
static void setup(struct rst_live *live, uint64_t size, uint64_t lsn_first)
{
    void *base = aligned_alloc(64, size);
    ck_assert_ptr_nonnull(base);
    memset(base, 0xa5, size);
    rst_live_attach(live, base, size);
    ck_assert_int_eq(rst_live_format(live, size, lsn_first), 0);
}
static void teardown(struct rst_live *live) { free(live->base); }

static void apply(struct rst_live *live, enum script_kind kind, uint64_t id, uint64_t lsn, const char *text)
{
    struct script_change change = {kind, id, lsn, text};
    struct rst_terms terms = {0};
    if (kind == SCRIPT_MEMORY) script_terms(&terms, text, 1);
    uint64_t before = rst_live_used(live), need = script_need(&change, &terms);
    ck_assert_int_eq(script_apply(live, &change, &terms), 0);
    ck_assert_uint_le(rst_live_used(live) - before, need);
    script_terms_free(&terms);
}

static struct roost_bytes text(const char *string) { return rst_bytes(string, strlen(string)); }

#define ask(live, question, ...) ((live)->segment.ops->question(&(live)->segment, __VA_ARGS__))

/* "1*2 7*1": the postings of a term as of visible, id*frequency. */
static const char *postings_text(const struct rst_live *live, const char *term, uint64_t visible)
{
    static char out[512];
    struct rst_postings_cursor cursor;
    struct rst_posting posting;
    size_t used = 0;
    out[0] = 0;
    int found = ask(live, postings, text(term), &cursor);
    if (!found) return "none";
    while ((found = live->segment.ops->postings_next(&cursor, visible, &posting)) > 0)
        used +=
            (size_t)snprintf(out + used, sizeof out - used, "%s%" PRIu64 "*%u", used ? " " : "", posting.id, posting.frequency);
    ck_assert_int_eq(found, 0);
    return out;
}

static const char *keys_text(const struct rst_live *live, const char *key, bool flag, bool backward, uint64_t visible)
{
    static char out[512];
    struct rst_map_cursor cursor;
    struct rst_map_entry entry;
    struct roost_bytes found_key;
    size_t used = 0;
    out[0] = 0;
    int found = backward ? ask(live, map_before, text(key), flag, &cursor) : ask(live, map_seek, text(key), flag, &cursor);
    while (found > 0 && (found = live->segment.ops->map_next(&cursor, visible, &found_key, &entry)) > 0)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s@%" PRIu64, used ? " " : "", (int)found_key.size,
                                 (const char *)found_key.data, entry.lsn);
    ck_assert_int_eq(found, 0);
    return out;
}

START_TEST(empty_segment_answers_nothing)
{
    struct rst_live live;
    struct rst_memory_entry memory;
    struct rst_map_entry entry;
    uint64_t id, lsn;
    setup(&live, rst_live_size_min(), 7);
    ck_assert_int_eq(ask(&live, memory, 1, UINT64_MAX, &memory), 0);
    ck_assert_int_eq(ask(&live, memory_near, 0, true, UINT64_MAX, &memory), 0);
    ck_assert_int_eq(ask(&live, memory_near, UINT64_MAX, false, UINT64_MAX, &memory), 0);
    ck_assert_int_eq(ask(&live, tombstone, 1, UINT64_MAX, &lsn), 0);
    ck_assert_int_eq(ask(&live, tombstone_near, 0, UINT64_MAX, &id, &lsn), 0);
    ck_assert_int_eq(ask(&live, map, text("k"), UINT64_MAX, &entry), 0);
    ck_assert_str_eq(postings_text(&live, "wa", UINT64_MAX), "none");
    ck_assert_str_eq(keys_text(&live, "", false, false, UINT64_MAX), "");
    ck_assert_str_eq(keys_text(&live, "z", true, true, UINT64_MAX), "");
    ck_assert_uint_eq(rst_live_change_count(&live), 0);
    ck_assert_uint_eq(rst_live_lsn_first(&live), 7);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

START_TEST(memories_are_found_by_id_and_from_both_sides)
{
    static const uint64_t ids[] = {1, 2, 3, 4096, 4097, 1u << 30, (1ull << 40) + 5, UINT64_MAX - 1};
    struct rst_live live;
    struct rst_memory_entry entry;
    setup(&live, SMALL, 10);
    for (size_t i = 0; i < RST_COUNT_OF(ids); i++) apply(&live, SCRIPT_MEMORY, ids[i], 10 + i, "wa");
    for (size_t i = 0; i < RST_COUNT_OF(ids); i++) {
        struct rst_memory_entry expected = script_memory(ids[i], 10 + i, 1);
        ck_assert_int_eq(ask(&live, memory, ids[i], 10 + i, &entry), 1);
        ck_assert_mem_eq(&entry, &expected, sizeof entry);
        ck_assert_int_eq(ask(&live, memory, ids[i], 9 + i, &entry), 0);
        ck_assert_int_eq(ask(&live, memory_near, ids[i], true, UINT64_MAX, &entry), 1);
        ck_assert_uint_eq(entry.id, ids[i]);
        ck_assert_int_eq(ask(&live, memory_near, ids[i], false, UINT64_MAX, &entry), 1);
        ck_assert_uint_eq(entry.id, ids[i]);
    }
    ck_assert_int_eq(ask(&live, memory, 5, UINT64_MAX, &entry), 0);
    ck_assert_int_eq(ask(&live, memory_near, 4, true, UINT64_MAX, &entry), 1);
    ck_assert_uint_eq(entry.id, 4096);
    ck_assert_int_eq(ask(&live, memory_near, 4095, false, UINT64_MAX, &entry), 1);
    ck_assert_uint_eq(entry.id, 3);
    ck_assert_int_eq(ask(&live, memory_near, 4, true, 12, &entry), 0); /* 4096 has LSN 13 */
    ck_assert_int_eq(ask(&live, memory_near, UINT64_MAX, false, 12, &entry), 1);
    ck_assert_uint_eq(entry.id, 3);
    ck_assert_int_eq(ask(&live, memory_near, 0, false, UINT64_MAX, &entry), 0);
    ck_assert_int_eq(ask(&live, memory_near, UINT64_MAX, true, UINT64_MAX, &entry), 0);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

START_TEST(postings_ascend_and_stop_at_visible)
{
    struct rst_live live;
    struct rst_terms_cursor cursor;
    struct roost_bytes term;
    int words = 0;
    setup(&live, SMALL, 1);
    apply(&live, SCRIPT_MEMORY, 5, 1, "tx wapple wpear");
    apply(&live, SCRIPT_MEMORY, 6, 2, "wpear");
    apply(&live, SCRIPT_MEMORY, 1u << 20, 3, "wapple wpear");
    ck_assert_str_eq(postings_text(&live, "wpear", 3), "5*3 6*1 1048576*2");
    ck_assert_str_eq(postings_text(&live, "wpear", 2), "5*3 6*1");
    ck_assert_str_eq(postings_text(&live, "wpear", 0), "");
    ck_assert_str_eq(postings_text(&live, "wapple", 9), "5*2 1048576*1");
    ck_assert_str_eq(postings_text(&live, "tx", 9), "5*1");
    ck_assert_str_eq(postings_text(&live, "wappl", 9), "none");
    ck_assert_int_eq(ask(&live, terms, text("w"), &cursor), 1);
    while (live.segment.ops->terms_next(&cursor, &term) > 0) words++;
    ck_assert_int_eq(words, 2);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

START_TEST(map_keeps_versions_and_order)
{
    struct rst_live live;
    struct rst_map_entry entry;
    setup(&live, SMALL, 1);
    apply(&live, SCRIPT_SET, 0, 1, "b");
    apply(&live, SCRIPT_SET, 0, 2, "a");
    apply(&live, SCRIPT_SET, 0, 3, "b");
    apply(&live, SCRIPT_SET, 0, 4, "bb");
    apply(&live, SCRIPT_DELETE, 0, 5, "b");
    apply(&live, SCRIPT_SET, 0, 6, "");
    ck_assert_int_eq(ask(&live, map, text("b"), 0, &entry), 0);
    ck_assert_int_eq(ask(&live, map, text("b"), 2, &entry), 1);
    ck_assert_uint_eq(entry.lsn, 1);
    ck_assert_int_eq(ask(&live, map, text("b"), 9, &entry), 1);
    ck_assert_uint_eq(entry.lsn, 5);
    ck_assert_uint_eq(entry.kind, RST_MAP_DELETED);
    ck_assert_str_eq(keys_text(&live, "a", false, false, 9), "a@2 b@5 bb@4");
    ck_assert_str_eq(keys_text(&live, "a", true, false, 9), "b@5 bb@4");
    ck_assert_str_eq(keys_text(&live, "", false, false, 9), "@6 a@2 b@5 bb@4");
    ck_assert_str_eq(keys_text(&live, "", false, false, 3), "a@2 b@3");
    ck_assert_str_eq(keys_text(&live, "b", false, true, 9), "a@2 @6");
    ck_assert_str_eq(keys_text(&live, "b", true, true, 9), "b@5 a@2 @6");
    ck_assert_str_eq(keys_text(&live, "zz", true, true, 1), "b@1");
    ck_assert_uint_eq(rst_live_change_count(&live), 6);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

START_TEST(repeating_the_last_changes_changes_nothing)
{
    struct rst_live live;
    struct rst_buffer before = {0}, after = {0};
    setup(&live, SMALL, 1);
    for (int round = 0; round < 3; round++) {
        uint64_t used = rst_live_used(&live);
        apply(&live, SCRIPT_MEMORY, 5, 1, "wa wb");
        apply(&live, SCRIPT_MEMORY, 6, 2, "wb wc");
        apply(&live, SCRIPT_SET, 0, 3, "k");
        apply(&live, SCRIPT_SET, 0, 4, "k");
        apply(&live, SCRIPT_TOMBSTONE, 5, 5, NULL);
        ck_assert_int_eq(script_ask_all(&live, 0, 6, round ? &after : &before), 0);
        ck_assert_int_eq(rst_live_verify(&live), 0);
        ck_assert_uint_eq(rst_live_change_count(&live), 5);
        if (round == 0) continue;
        ck_assert_uint_eq(rst_live_used(&live), used);
        ck_assert(before.size == after.size && memcmp(before.data, after.data, after.size) == 0);
    }
    rst_buffer_free(&before);
    rst_buffer_free(&after);
    teardown(&live);
}
END_TEST

START_TEST(room_that_was_not_secured_is_refused)
{
    struct rst_live live;
    setup(&live, SMALL, 1);
    ck_assert_int_eq(rst_live_format(&live, rst_live_limit_min(SMALL) - 1, 1), ROOST_EINVAL);
    ck_assert_int_eq(rst_live_format(&live, rst_live_limit_min(SMALL), 1), 0);
    struct rst_map_entry entry = script_entry(1, false);
    int err = 0;
    char key[1000] = {0};
    for (uint64_t i = 0; i < 10 && !err; i++) {
        key[0] = (char)i;
        bool room = rst_live_used(&live) + rst_live_need_map(sizeof key) <= rst_live_limit(&live);
        err = rst_live_set_map(&live, rst_bytes(key, sizeof key), &entry);
        if (room) ck_assert_int_eq(err, 0);
    }
    ck_assert_int_eq(err, ROOST_ECORRUPT);
    rst_live_raise_limit(&live, SMALL);
    ck_assert_uint_eq(rst_live_limit(&live), SMALL);
    ck_assert_int_eq(rst_live_set_map(&live, rst_bytes(key, sizeof key), &entry), 0);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

START_TEST(a_recycled_arena_begins_empty)
{
    struct rst_live live;
    setup(&live, SMALL, 1);
    apply(&live, SCRIPT_MEMORY, 5, 1, "wa wb");
    apply(&live, SCRIPT_SET, 0, 3, "k");
    apply(&live, SCRIPT_TOMBSTONE, 5, 5, NULL);
    ck_assert_int_eq(rst_live_format(&live, SMALL, 6), 0);
    ck_assert_str_eq(postings_text(&live, "wa", 9), "none");
    ck_assert_uint_eq(rst_live_change_count(&live), 0);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    teardown(&live);
}
END_TEST

/* ---- A plain model ----------------------------------------------------------------------------------------------- */

enum { MODEL_CHANGES = 3000, MODEL_WORDS = 60, MODEL_KEYS = 150, MODEL_TERMS = 8 };

struct model_change {
    enum script_kind kind;
    uint64_t id, lsn;
    uint32_t key, term_count;
    uint8_t term[MODEL_TERMS]; /* ascending */
};
static struct {
    struct model_change change[MODEL_CHANGES];
    size_t count;
} model;

/* Keys of many lengths, one of another's prefix, with zero bytes; the number at the end is found again by the model. */
static struct roost_bytes model_key(uint32_t number, char room[RST_MAP_KEY_SIZE_MAX])
{
    size_t size = number % 11 == 0 ? 1100 : number % 13;
    memset(room, number % 3 ? 'k' : 0, size);
    int more = snprintf(room + size, RST_MAP_KEY_SIZE_MAX - size, "%u", number);
    return rst_bytes(room, size + (size_t)more);
}

static void model_terms(const struct model_change *change, struct rst_terms *terms)
{
    char word[8];
    rst_buffer_clear(&terms->bytes);
    rst_buffer_clear(&terms->terms);
    terms->term_count = terms->token_count = 0;
    for (uint32_t i = 0; i < change->term_count; i++) {
        int size = snprintf(word, sizeof word, "w%02u", change->term[i]);
        script_term(terms, rst_bytes(word, (size_t)size), (uint32_t)(change->id % 5) + 1);
    }
}

static int model_apply(struct rst_live *live, const struct model_change *change)
{
    struct rst_terms terms = {0};
    char room[RST_MAP_KEY_SIZE_MAX];
    uint64_t before = rst_live_used(live), need;
    int err;
    if (change->kind == SCRIPT_MEMORY) {
        model_terms(change, &terms);
        struct rst_memory_entry entry = script_memory(change->id, change->lsn, terms.token_count);
        need = rst_live_need_memory(&terms);
        err = rst_live_add_memory(live, &entry, &terms);
    } else if (change->kind == SCRIPT_TOMBSTONE) {
        need = rst_live_need_tombstone();
        err = rst_live_add_tombstone(live, change->id, change->lsn);
    } else {
        struct roost_bytes key = model_key(change->key, room);
        struct rst_map_entry entry = script_entry(change->lsn, change->kind == SCRIPT_DELETE);
        need = rst_live_need_map(key.size);
        err = rst_live_set_map(live, key, &entry);
    }
    script_terms_free(&terms);
    if (!err) ck_assert_uint_le(rst_live_used(live) - before, need);
    return err;
}

static struct model_change model_random(uint64_t lsn, uint64_t *id)
{
    struct model_change change = {.lsn = lsn};
    uint32_t dice = below(10);
    change.kind = dice < 4 ? SCRIPT_MEMORY : dice < 5 ? SCRIPT_TOMBSTONE : dice < 9 ? SCRIPT_SET : SCRIPT_DELETE;
    change.key = below(MODEL_KEYS);
    change.id = *id > 3 ? next_random() % *id : 1;
    if (change.kind == SCRIPT_MEMORY) {
        *id += below(50) ? 1 : 1 + below(10000);
        change.id = *id;
        for (uint32_t term = below(20); term < MODEL_WORDS && change.term_count < MODEL_TERMS; term += 1 + below(15))
            change.term[change.term_count++] = (uint8_t)term;
    }
    return change;
}

static void check_memories(const struct rst_live *live, uint64_t visible, uint64_t id)
{
    const struct model_change *at = NULL, *after = NULL, *before = NULL;
    struct rst_memory_entry entry;
    for (size_t i = 0; i < model.count; i++) {
        const struct model_change *change = &model.change[i];
        if (change->kind != SCRIPT_MEMORY || change->lsn > visible) continue;
        if (change->id == id) at = change;
        if (change->id >= id && !after) after = change;
        if (change->id <= id) before = change;
    }
    ck_assert_int_eq(ask(live, memory, id, visible, &entry), at != NULL);
    if (at) ck_assert_uint_eq(entry.lsn, at->lsn);
    ck_assert_int_eq(ask(live, memory_near, id, true, visible, &entry), after != NULL);
    if (after) ck_assert_uint_eq(entry.id, after->id);
    ck_assert_int_eq(ask(live, memory_near, id, false, visible, &entry), before != NULL);
    if (before) ck_assert_uint_eq(entry.id, before->id);
}

static void check_tombstones(const struct rst_live *live, uint64_t visible, uint64_t id)
{
    uint64_t at = 0, near_id = 0, near_lsn = 0, found_id, lsn;
    bool near = false;
    for (size_t i = 0; i < model.count; i++) {
        const struct model_change *change = &model.change[i];
        if (change->kind != SCRIPT_TOMBSTONE || change->lsn > visible) continue;
        if (change->id == id && !at) at = change->lsn; /* the first one counts */
        if (change->id >= id && (!near || change->id < near_id)) {
            near = true;
            near_id = change->id;
            near_lsn = change->lsn;
        }
    }
    ck_assert_int_eq(ask(live, tombstone, id, visible, &lsn), at != 0);
    if (at) ck_assert_uint_eq(lsn, at);
    ck_assert_int_eq(ask(live, tombstone_near, id, visible, &found_id, &lsn), near);
    if (near) ck_assert(found_id == near_id && lsn == near_lsn);
}

static void check_postings(const struct rst_live *live, uint64_t visible, uint8_t term)
{
    char word[8];
    struct rst_postings_cursor cursor;
    struct rst_posting posting;
    int size = snprintf(word, sizeof word, "w%02u", term);
    int found = ask(live, postings, rst_bytes(word, (size_t)size), &cursor);
    ck_assert_int_ge(found, 0);
    for (size_t i = 0; i < model.count; i++) {
        const struct model_change *change = &model.change[i];
        bool has = false;
        for (uint32_t j = 0; j < change->term_count; j++) has = has || change->term[j] == term;
        if (!has || change->lsn > visible) continue;
        ck_assert(found && live->segment.ops->postings_next(&cursor, visible, &posting) == 1);
        ck_assert_uint_eq(posting.id, change->id);
        ck_assert_uint_eq(posting.frequency, change->id % 5 + 1);
    }
    if (found) ck_assert_int_eq(live->segment.ops->postings_next(&cursor, visible, &posting), 0);
}

/* The newest version of a key: its LSN, 0 if there is none. */
static uint64_t model_version(uint32_t key, uint64_t visible)
{
    for (size_t i = model.count; i-- > 0;)
        if ((model.change[i].kind == SCRIPT_SET || model.change[i].kind == SCRIPT_DELETE) && model.change[i].key == key &&
            model.change[i].lsn <= visible)
            return model.change[i].lsn;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    char rooms[2][RST_MAP_KEY_SIZE_MAX];
    return rst_bytes_compare(model_key(*(const uint32_t *)a, rooms[0]), model_key(*(const uint32_t *)b, rooms[1]));
}

static void check_map(const struct rst_live *live, uint64_t visible, bool backward)
{
    uint32_t sorted[MODEL_KEYS], start = below(MODEL_KEYS);
    char room[RST_MAP_KEY_SIZE_MAX];
    struct rst_map_cursor cursor;
    struct rst_map_entry entry;
    struct roost_bytes key;
    bool flag = below(2);
    for (uint32_t i = 0; i < MODEL_KEYS; i++) sorted[i] = i;
    qsort(sorted, MODEL_KEYS, sizeof sorted[0], by_key);
    key = model_key(sorted[start], room);
    ck_assert_int_eq(backward ? ask(live, map_before, key, flag, &cursor) : ask(live, map_seek, key, flag, &cursor), 1);
    bool self = backward ? flag : !flag;
    for (int64_t i = (int64_t)start + (self ? 0 : backward ? -1 : 1); i >= 0 && i < MODEL_KEYS; i += backward ? -1 : 1) {
        uint64_t lsn = model_version(sorted[i], visible);
        if (!lsn) continue;
        ck_assert_int_eq(live->segment.ops->map_next(&cursor, visible, &key, &entry), 1);
        ck_assert_uint_eq(entry.lsn, lsn);
        ck_assert(rst_bytes_equal(key, model_key(sorted[i], room)));
        ck_assert_int_eq(ask(live, map, key, visible, &entry), 1);
        ck_assert_uint_eq(entry.lsn, lsn);
    }
    ck_assert_int_eq(live->segment.ops->map_next(&cursor, visible, &key, &entry), 0);
}

START_TEST(random_changes_answer_as_a_plain_model_does)
{
    struct rst_live live;
    uint64_t lsn = 1000, id = 0;
    seed_random("random_changes_answer_as_a_plain_model_does");
    setup(&live, LARGE, lsn);
    model.count = 0;
    while (model.count < MODEL_CHANGES) {
        struct model_change change = model_random(++lsn, &id);
        model.change[model.count++] = change;
        ck_assert_int_eq(model_apply(&live, &change), 0);
        if (below(10) == 0) { /* an heir repeats the last ones */
            size_t from = model.count > 5 ? model.count - below(5) - 1 : 0;
            for (; from < model.count; from++) ck_assert_int_eq(model_apply(&live, &model.change[from]), 0);
        }
        if (below(20)) continue;
        uint64_t visible = below(3) ? lsn : 1000 + next_random() % (lsn - 1000 + 1), some = next_random() % (id + 3);
        check_memories(&live, visible, some);
        check_tombstones(&live, visible, some);
        check_postings(&live, visible, (uint8_t)below(MODEL_WORDS));
        check_map(&live, visible, below(2));
    }
    if (rst_live_verify(&live)) ck_abort_msg("%s", rst_fail_detail());
    teardown(&live);
}
END_TEST

/* ---- Garbage ----------------------------------------------------------------------------------------------------- */

/* Asks everything; all that may happen is an answer or ROOST_ECORRUPT. */
static void ask_around(struct rst_live *live)
{
    struct rst_buffer out = {0};
    uint64_t visible = below(2) ? UINT64_MAX : 1000 + below(2000);
    const struct rst_segment *segment = &live->segment;
    int asked[] = {script_ask_memories(segment, true, visible, &out), script_ask_memories(segment, false, visible, &out),
                   script_ask_tombstones(segment, visible, &out),     script_ask_terms(segment, rst_bytes("w", 1), visible, &out),
                   script_ask_map(segment, true, visible, &out),      script_ask_map(segment, false, visible, &out)};
    for (size_t i = 0; i < RST_COUNT_OF(asked); i++) ck_assert(asked[i] >= 0 || asked[i] == ROOST_ECORRUPT);
    rst_buffer_free(&out);
    (void)rst_live_change_count(live);
    (void)rst_live_lsn_first(live);
}

/* The same after a look at all of it, and changes too. */
static void poke(struct rst_live *live)
{
    int result = rst_live_verify(live);
    ck_assert(result == 0 || result == ROOST_ECORRUPT);
    ask_around(live);
    uint64_t id = 1u << 30;
    for (uint32_t i = 0; i < 20; i++) {
        struct model_change more = model_random(1u << 20 | i, &id);
        struct rst_terms terms = {0};
        char room[RST_MAP_KEY_SIZE_MAX];
        model_terms(&more, &terms);
        struct rst_memory_entry memory = script_memory(more.id, more.lsn, 1);
        struct rst_map_entry entry = script_entry(more.lsn, false);
        result = more.kind == SCRIPT_MEMORY      ? rst_live_add_memory(live, &memory, &terms)
                 : more.kind == SCRIPT_TOMBSTONE ? rst_live_add_tombstone(live, more.id, more.lsn)
                                                 : rst_live_set_map(live, model_key(more.key, room), &entry);
        ck_assert(result == 0 || result == ROOST_ECORRUPT);
        script_terms_free(&terms);
    }
}

/* A sound arena with a few hundred changes. */
static void fill(struct rst_live *live)
{
    uint64_t lsn = 1000, id = 0;
    for (;;) {
        struct model_change change = model_random(++lsn, &id);
        if (change.key % 11 == 0) change.key++; /* no long keys: more nodes in the same room */
        if (rst_live_used(live) + 1500 > rst_live_limit(live)) return;
        ck_assert_int_eq(model_apply(live, &change), 0);
    }
}

START_TEST(garbage_is_answered_or_reported_never_followed)
{
    struct rst_live live;
    uint8_t *sound = malloc(SMALL);
    seed_random("garbage_is_answered_or_reported_never_followed");
    setup(&live, SMALL, 1000);
    fill(&live);
    ck_assert_int_eq(rst_live_verify(&live), 0);
    memcpy(sound, live.base, SMALL);
    uint64_t used = rst_load_u64((const uint64_t *)(const void *)(sound + 64));
    for (int round = 0; round < 1500; round++) {
        memcpy(live.base, sound, SMALL);
        uint32_t dice = below(4), flips = 1 + below(dice == 0 ? 2000 : 20);
        for (uint32_t i = 0; i < flips; i++) {
            uint64_t at = below(2) ? next_random() % used : next_random() % live.data_offset;
            if (dice == 1)
                live.base[at] ^= (uint8_t)(1u << below(8)); /* a bit */
            else if (dice == 2)
                rst_put_u32(live.base + at / 4 * 4, (uint32_t)(live.data_offset + next_random() % used) / 8); /* another link */
            else if (dice == 3)
                rst_put_u32(live.base + at / 4 * 4,
                            rst_get_u32(live.base + next_random() % (used / 4) * 4)); /* one of its own words */
            else
                live.base[at] = (uint8_t)next_random();
        }
        poke(&live);
    }
    for (int round = 0; round < 300; round++) { /* nothing but noise behind a header that passes */
        memcpy(live.base, sound, SMALL);
        for (uint64_t i = below(2) ? 128 : live.data_offset; i < SMALL; i += 8) {
            uint64_t noise = next_random(), mask = below(3) ? 0x00000fff00000fffu : UINT64_MAX;
            rst_put_u64(live.base + i, noise & mask);
        }
        poke(&live);
    }
    for (uint64_t i = 0; i < SMALL; i += 8) rst_put_u64(live.base + i, next_random());
    struct rst_live other;
    rst_live_attach(&other, live.base, SMALL);
    ck_assert_int_eq(rst_live_verify(&other), ROOST_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "live segment"));
    free(sound);
    teardown(&live);
}
END_TEST

/* One word at a time, so that nothing else says first that something is wrong. */
START_TEST(what_is_linked_must_add_up)
{
    struct rst_live live;
    uint8_t *sound = malloc(SMALL);
    setup(&live, SMALL, 1);
    for (uint64_t i = 0; i < 6; i++) apply(&live, SCRIPT_MEMORY, 1 + i, 1 + i, "wa wb"); /* blocks of postings follow */
    apply(&live, SCRIPT_TOMBSTONE, 1, 10, NULL);
    apply(&live, SCRIPT_SET, 0, 11, "k");
    apply(&live, SCRIPT_SET, 0, 12, "k");
    for (uint64_t i = 0; i < 20; i++) { /* some of them in upper levels */
        char name[] = {'l', (char)('a' + i), 0};
        apply(&live, SCRIPT_SET, 0, 13 + i, name);
    }
    ck_assert_int_eq(rst_live_verify(&live), 0);
    memcpy(sound, live.base, SMALL);
    struct rst_live_header *header = rst_live_header_of(&live);
    struct rst_live_term *term = NULL;
    struct rst_live_node_view key;
    ck_assert_int_eq(rst_live_node_at(&live, header->map_head[0], &key), 0);
    for (uint32_t i = 0; i < live.bucket_count; i++)
        if (rst_live_buckets(&live)[i]) term = rst_live_at(&live, rst_live_buckets(&live)[i], sizeof *term);
    ck_assert_ptr_nonnull(term);
    /* Whatever is found takes room: with less taken than that, each kind of thing is one too many at some point. */
    for (uint64_t used = header->used; used > live.data_offset; used -= RST_LIVE_LINK_UNIT) {
        header->used = used - RST_LIVE_LINK_UNIT;
        ck_assert_int_eq(rst_live_verify(&live), ROOST_ECORRUPT);
    }
    uint32_t *const words[] = {&term->count,
                               &header->map_head[1],
                               &term->tail,
                               &term->block.next,
                               header->tombstone_head,
                               (uint32_t *)(void *)&key.node->value,
                               &header->map_version_count,
                               &header->map_key_count};
    const uint32_t wrong[] = {0, 0, 1, 1, key.link, 0, 7, 9};
    for (size_t i = 0; i < RST_COUNT_OF(words); i++) {
        memcpy(live.base, sound, SMALL);
        *words[i] = wrong[i];
        ck_assert_msg(rst_live_verify(&live) == ROOST_ECORRUPT, "word %zu", i);
    }
    memcpy(live.base, sound, SMALL);
    header->map_version_count--; /* as whoever dies between linking and counting leaves it */
    header->map_key_count--;
    ck_assert_int_eq(rst_live_verify(&live), 0);
    free(sound);
    teardown(&live);
}
END_TEST

#ifndef RST_TSAN
/* An arena that is recycled under a reader looks like this, only tamer. Not for ThreadSanitizer: races are the point. */
static struct {
    struct rst_live live;
    const uint8_t *sound;
    uint32_t stop;
} noisy;

static void *make_noise(void *unused)
{
    uint64_t state = 88172645463325252u; /* xorshift64, G. Marsaglia, "Xorshift RNGs", 2003 */
    while (!rst_load_u32(&noisy.stop)) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint64_t at = state % (SMALL - 128) / 4 * 4 + 128,
                 from = state >> 32; /* the header's first part stays: else nothing is looked at */
        /* Mostly what was there before, so that a reader gets far; else a word from elsewhere, or anything. */
        uint32_t value =
            from % 256 == 0 ? (uint32_t)state : rst_get_u32(noisy.sound + (from % 256 < 8 ? from % (SMALL / 4) * 4 : at));
        rst_store_relaxed_u32((uint32_t *)(void *)(noisy.live.base + at), value);
    }
    return unused;
}

START_TEST(an_arena_that_changes_under_a_reader_is_survived)
{
    pthread_t thread;
    uint8_t *sound = malloc(SMALL);
    seed_random("an_arena_that_changes_under_a_reader_is_survived");
    setup(&noisy.live, SMALL, 1000);
    fill(&noisy.live);
    memcpy(sound, noisy.live.base, SMALL);
    noisy.sound = sound;
    ck_assert_int_eq(pthread_create(&thread, NULL, make_noise, NULL), 0);
    for (int round = 0; round < 3000; round++) ask_around(&noisy.live);
    rst_store_u32(&noisy.stop, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    free(sound);
    teardown(&noisy.live);
}
END_TEST
#endif

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

enum { READER_COUNT = 3, THREAD_CHANGES = 4000 };

/* The n-th change, n from 0, has LSN n + 1: memory with id n/4*2 + 1, then key "k<n % 97>", tombstone, key "same". */
static struct {
    struct rst_live live;
    uint64_t visible; /* what the engine would publish: changes up to it are applied whole */
} threaded;

static void threaded_change(uint64_t n)
{
    char key[32];
    struct rst_terms terms = {0};
    struct rst_map_entry entry = script_entry(n + 1, false);
    uint64_t id = n / 4 * 2 + 1;
    struct rst_memory_entry memory = script_memory(id, n + 1, 2);
    char words[64];
    snprintf(words, sizeof words, "wall wn%u", (unsigned)(n / 4 % 10));
    script_terms(&terms, words, 1);
    int size = snprintf(key, sizeof key, "k%u", (unsigned)(n * 7919 % 997));
    int err = n % 4 == 0   ? rst_live_add_memory(&threaded.live, &memory, &terms)
              : n % 4 == 1 ? rst_live_set_map(&threaded.live, rst_bytes(key, (size_t)size), &entry)
              : n % 4 == 2 ? rst_live_add_tombstone(&threaded.live, id * 3, n + 1)
                           : rst_live_set_map(&threaded.live, text("same"), &entry);
    RST_CHECK(err == 0);
    script_terms_free(&terms);
}

static void *threaded_writer(void *unused)
{
    for (uint64_t n = 0; n < THREAD_CHANGES; n++) {
        threaded_change(n);
        rst_store_u64(&threaded.visible, n + 1); /* pairs with the readers' load */
    }
    return unused;
}

static void threaded_look(const struct rst_live *live, uint64_t visible)
{
    struct rst_memory_entry memory;
    struct rst_map_entry entry;
    struct rst_postings_cursor cursor;
    struct rst_map_cursor keys;
    struct rst_posting posting;
    struct roost_bytes key, last = rst_bytes("", 0);
    uint64_t memories = (visible + 3) / 4, count = 0, id, lsn, same = visible / 4 * 4;
    RST_CHECK(ask(live, memory, memories * 2 - 1, visible, &memory) == 1 && memory.lsn == memories * 4 - 3);
    RST_CHECK(ask(live, memory, memories * 2 + 1, visible, &memory) == 0);
    RST_CHECK(ask(live, memory_near, UINT64_MAX, false, visible, &memory) == 1 && memory.id == memories * 2 - 1);
    RST_CHECK(ask(live, postings, text("wall"), &cursor) == 1);
    while (live->segment.ops->postings_next(&cursor, visible, &posting) == 1)
        RST_CHECK(posting.id == count++ * 2 + 1 && posting.frequency == 1);
    RST_CHECK(count == memories);
    RST_CHECK(ask(live, map, text("same"), visible, &entry) == (same != 0) && (!same || entry.lsn == same));
    RST_CHECK(ask(live, map_seek, last, false, &keys) == 1);
    for (count = 0; live->segment.ops->map_next(&keys, visible, &key, &entry) == 1; count++, last = key)
        RST_CHECK(rst_bytes_compare(last, key) < 0 && entry.lsn <= visible);
    uint64_t different = (visible + 2) / 4;
    RST_CHECK(count == (different < 997 ? different : 997) + (same != 0));
    for (count = 0, id = 0; ask(live, tombstone_near, id, visible, &id, &lsn) == 1; id++, count++)
        RST_CHECK(lsn == (id / 3 - 1) * 2 + 3);
    RST_CHECK(count == (visible + 1) / 4);
}

static void *threaded_reader(void *unused)
{
    struct rst_live live; /* its own view, as another process has */
    rst_live_attach(&live, threaded.live.base, threaded.live.size);
    for (uint64_t visible = 0; visible < THREAD_CHANGES;) {
        visible = rst_load_u64(&threaded.visible); /* pairs with the writer's store */
        if (visible) threaded_look(&live, visible);
    }
    return unused;
}

START_TEST(readers_see_whole_changes_beside_a_writer)
{
    pthread_t thread[READER_COUNT + 1];
    setup(&threaded.live, LARGE, 1);
    threaded.visible = 0;
    for (int i = 0; i <= READER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, i ? threaded_reader : threaded_writer, NULL), 0);
    for (int i = 0; i <= READER_COUNT; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_int_eq(rst_live_verify(&threaded.live), 0);
    teardown(&threaded.live);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("live");
    TCase *cases = tcase_create("live");
    tcase_set_timeout(cases, 300); /* under sanitizers on a busy machine */
    tcase_add_test(cases, empty_segment_answers_nothing);
    tcase_add_test(cases, memories_are_found_by_id_and_from_both_sides);
    tcase_add_test(cases, postings_ascend_and_stop_at_visible);
    tcase_add_test(cases, map_keeps_versions_and_order);
    tcase_add_test(cases, repeating_the_last_changes_changes_nothing);
    tcase_add_test(cases, room_that_was_not_secured_is_refused);
    tcase_add_test(cases, a_recycled_arena_begins_empty);
    tcase_add_test(cases, random_changes_answer_as_a_plain_model_does);
    tcase_add_test(cases, garbage_is_answered_or_reported_never_followed);
    tcase_add_test(cases, what_is_linked_must_add_up);
#ifndef RST_TSAN
    tcase_add_test(cases, an_arena_that_changes_under_a_reader_is_survived);
#endif
    tcase_add_test(cases, readers_see_whole_changes_beside_a_writer);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
