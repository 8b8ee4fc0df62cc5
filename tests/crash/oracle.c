/* SPDX-License-Identifier: MIT
 * crash/oracle.c: the model, and the comparison with what a root shows. */
#include "oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "os/os.h"

static char reason[1024];
static bool call_failed;
const char *oracle_reason(void) { return reason; }
bool oracle_call_failed(void) { return call_failed; }

int oracle_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- content ---- */

struct content {
    uint32_t serial, size;
    uint64_t hash;
    uint8_t *bytes;
    struct content *next;
};
static struct content *contents[4096];

/* A few words, then punctuation that does not compress well and costs the analyser nothing. */
static void fill(uint8_t *bytes, uint32_t serial, uint32_t size)
{
    static const char *const words[] = {"heron", "roost", "marsh", "flock", "plume", "wing", "reed", "dusk"};
    static const char noise[] = ".,;:!?()[]{}+=/<>";
    uint64_t state = serial * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t at = (size_t)snprintf((char *)bytes, size + 1, "uniq%u", serial);
    for (int i = 0; i < 12 && at + 8 < size; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        at += (size_t)snprintf((char *)bytes + at, size + 1 - at, " %s", words[state >> 61]);
    }
    if (at > size) at = size;
    if (at < size) bytes[at++] = ' ';
    for (; at < size; at++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[at] = (uint8_t)noise[(state >> 33) % (sizeof noise - 1)];
    }
}

const uint8_t *content_of(uint32_t serial, uint32_t size, uint64_t *ret_hash)
{
    struct content **at = &contents[(serial * 31 + size) % RST_COUNT_OF(contents)];
    struct content *found = *at;
    while (found && (found->serial != serial || found->size != size)) found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        RST_CHECK(found && (found->bytes = malloc(size + 32)));
        fill(found->bytes, serial, size);
        found->serial = serial;
        found->size = size;
        found->hash = rst_hash(found->bytes, size, 0);
        found->next = *at;
        *at = found;
    }
    if (ret_hash) *ret_hash = found->hash;
    return found->bytes;
}

/* ---- what the run says ---- */

struct step *oracle_intend(struct oracle *oracle, uint32_t level)
{
    RST_CHECK(oracle->step_count < STEP_MAX);
    struct step *step = &oracle->steps[oracle->step_count++];
    *step = (struct step){.change_first = oracle->change_count, .level = level};
    return step;
}

struct change *oracle_change(struct oracle *oracle, enum change_kind kind, const char *name, uint32_t size)
{
    RST_CHECK(oracle->change_count < CHANGE_MAX && oracle->step_count);
    struct change *change = &oracle->changes[oracle->change_count++];
    *change = (struct change){.kind = kind, .serial = ++oracle->serial, .size = size};
    snprintf(change->name, sizeof change->name, "%s", name);
    oracle->steps[oracle->step_count - 1].change_count++;
    return change;
}

bool oracle_acknowledge(struct oracle *oracle, uint32_t index, uint64_t lsn, const uint64_t *numbers)
{
    struct step *step = &oracle->steps[index];
    bool right = true;
    for (uint32_t i = 0; i < step->change_count; i++) {
        struct change *change = &oracle->changes[step->change_first + i];
        change->lsn = lsn - (step->change_count - 1 - i);
        if (change->lsn <= oracle->lsn_shown && !step->floats) right = false;
        if (change->lsn > oracle->lsn_shown) oracle->lsn_shown = change->lsn;
        if (!numbers || change->kind != CHANGE_MEMORY) continue;
        change->number = numbers[i];
        if (change->number <= oracle->id_shown && !step->floats) right = false;
        if (change->number > oracle->id_shown) oracle->id_shown = change->number;
    }
    if (!right)
        oracle_complain("a number was given again: LSN %llu, first id %llu", (unsigned long long)lsn,
                        (unsigned long long)(numbers ? numbers[0] : 0));
    step->status = STEP_ACKNOWLEDGED;
    return right;
}

void oracle_withdraw(struct step *step)
{
    step->change_count = 0;
    step->floats = false;
    step->status = STEP_ACKNOWLEDGED;
}

struct publish *oracle_publish(struct oracle *oracle, const char *name, bool durable)
{
    RST_CHECK(oracle->publish_count < PUBLISH_MAX);
    struct publish *publish = &oracle->publishes[oracle->publish_count++];
    *publish = (struct publish){.serial = ++oracle->serial, .durable = durable};
    snprintf(publish->name, sizeof publish->name, "%s", name);
    return publish;
}

void oracle_print(const struct oracle *oracle, FILE *to)
{
    static const char *const kinds[] = {"", "memory", "forget", "set", "delete", "stream"};
    for (uint32_t i = 0; i < oracle->step_count; i++) {
        const struct step *step = &oracle->steps[i];
        fprintf(to, "    step %u, %s, %s%s:", i, step->level == ROOST_DURABLE ? "durable" : "process",
                step->status == STEP_ACKNOWLEDGED ? "acknowledged" : "open", step->floats ? ", floats" : "");
        for (uint32_t c = step->change_first; c < step->change_first + step->change_count; c++) {
            const struct change *change = &oracle->changes[c];
            fprintf(to, " %s \"%s\" %u bytes (uniq%u) number %llu lsn %llu;", kinds[change->kind], change->name, change->size,
                    change->serial, (unsigned long long)change->number, (unsigned long long)change->lsn);
        }
        fprintf(to, "\n");
    }
}

/* ---- what a list of steps makes ---- */

struct thing { /* a memory, a key or a stream's entry; found or expected */
    char name[16];
    uint64_t hash, number, lsn; /* number: id or index; lsn 0: not known */
    uint32_t size, serial;
    int64_t expires_ns;
    struct change *change;
};
struct picture {
    struct thing memories[CHANGE_MAX], keys[64], entries[CHANGE_MAX];
    uint32_t memory_count, key_count, entry_count;
    uint64_t total; /* memories by roost_stats */
};

static void remove_thing(struct thing *things, uint32_t *count, uint32_t at)
{
    memmove(things + at, things + at + 1, (--*count - at) * sizeof *things);
}

static struct thing thing_of(struct change *change)
{
    struct thing thing = {.number = change->number,
                          .lsn = change->lsn,
                          .size = change->size,
                          .serial = change->serial,
                          .expires_ns = change->expires_ns,
                          .change = change};
    memcpy(thing.name, change->name, sizeof thing.name);
    content_of(change->serial, change->size, &thing.hash);
    return thing;
}

static void drop_key(struct picture *picture, const char *name)
{
    for (uint32_t i = 0; i < picture->key_count; i++)
        if (strcmp(picture->keys[i].name, name) == 0) remove_thing(picture->keys, &picture->key_count, i--);
}

static void paint(struct picture *picture, struct change *change)
{
    struct thing thing = thing_of(change);
    switch (change->kind) {
    case CHANGE_MEMORY:
        for (uint32_t i = 0; change->name[0] && i < picture->memory_count; i++)
            if (strcmp(picture->memories[i].name, change->name) == 0)
                remove_thing(picture->memories, &picture->memory_count, i--);
        picture->memories[picture->memory_count++] = thing;
        break;
    case CHANGE_FORGET:
        for (uint32_t i = 0; i < picture->memory_count; i++)
            if (picture->memories[i].number == change->number) remove_thing(picture->memories, &picture->memory_count, i--);
        break;
    case CHANGE_DELETE:
        drop_key(picture, change->name);
        break;
    case CHANGE_SET:
        drop_key(picture, change->name);
        RST_CHECK(picture->key_count < RST_COUNT_OF(picture->keys));
        picture->keys[picture->key_count++] = thing;
        break;
    case CHANGE_STREAM:
        thing.number = 0;
        for (uint32_t i = 0; i < picture->entry_count; i++)
            if (strcmp(picture->entries[i].name, change->name) == 0) thing.number++;
        picture->entries[picture->entry_count++] = thing;
        break;
    }
}

static void paint_steps(struct picture *picture, struct oracle *oracle, const uint32_t *order, uint32_t count)
{
    picture->memory_count = picture->key_count = picture->entry_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct step *step = &oracle->steps[order[i]];
        for (uint32_t c = 0; c < step->change_count; c++) paint(picture, &oracle->changes[step->change_first + c]);
    }
    int64_t now = rst_os->real_time();
    for (uint32_t i = 0; i < picture->key_count; i++)
        if (picture->keys[i].expires_ns && picture->keys[i].expires_ns <= now)
            remove_thing(picture->keys, &picture->key_count, i--);
    picture->total = picture->memory_count;
}

/* ---- what the root shows ---- */

static int failed(const char *call, int err)
{
    call_failed = true;
    return oracle_complain("%s: %s (%s)", call, roost_error_name(err), roost_error_detail());
}

static void take_name(char to[16], struct roost_bytes name)
{
    snprintf(to, 16, "%.*s", (int)name.size, name.size ? (const char *)name.data : "");
}

static int look_at_memories(roost_root *root, struct picture *picture)
{
    roost_iter *iter;
    int err = roost_scan(root, 0, 0, &iter);
    if (err) return failed("roost_scan", err);
    struct roost_memory memory = ROOST_MEMORY_INIT;
    uint64_t before = 0;
    int more;
    while ((more = roost_iter_memory(iter, &memory)) == 1 && picture->memory_count < CHANGE_MAX) {
        struct thing *thing = &picture->memories[picture->memory_count++];
        *thing = (struct thing){.number = memory.id,
                                .lsn = memory.lsn,
                                .size = (uint32_t)memory.text.size,
                                .hash = rst_hash(memory.text.data, memory.text.size, 0)};
        take_name(thing->name, memory.key);
        if (memory.id <= before) more = oracle_complain("ids do not grow in a scan: %llu", (unsigned long long)memory.id);
        if (more < 0) break;
        before = memory.id;
    }
    roost_iter_close(iter);
    return more < 0 ? (more == -1 ? -1 : failed("roost_iter_memory", more)) : 0;
}

static int look_at_keys(roost_root *root, struct picture *picture)
{
    roost_iter *iter;
    int err = roost_kv_scan(root, (struct roost_bytes){NULL, 0}, &iter);
    if (err) return failed("roost_kv_scan", err);
    struct roost_item item = ROOST_ITEM_INIT;
    int more;
    while ((more = roost_iter_item(iter, &item)) == 1 && picture->key_count < RST_COUNT_OF(picture->keys)) {
        struct thing *thing = &picture->keys[picture->key_count++];
        *thing = (struct thing){.lsn = item.version,
                                .size = (uint32_t)item.value.size,
                                .hash = rst_hash(item.value.data, item.value.size, 0),
                                .expires_ns = item.expires_ns};
        take_name(thing->name, item.key);
    }
    roost_iter_close(iter);
    return more < 0 ? failed("roost_iter_item (keys)", more) : 0;
}

static int look_at_stream(roost_root *root, struct roost_bytes name, struct picture *picture)
{
    struct roost_stream_info info = ROOST_STREAM_INFO_INIT;
    int err = roost_stream_info(root, name, &info);
    if (err) return failed("roost_stream_info", err);
    roost_iter *iter;
    err = roost_stream_scan(root, name, 0, &iter);
    if (err) return failed("roost_stream_scan", err);
    struct roost_item item = ROOST_ITEM_INIT;
    uint64_t count = 0, bytes = 0;
    int more;
    while ((more = roost_iter_item(iter, &item)) == 1 && picture->entry_count < CHANGE_MAX) {
        struct thing *thing = &picture->entries[picture->entry_count++];
        *thing = (struct thing){.number = item.index,
                                .lsn = item.version,
                                .size = (uint32_t)item.value.size,
                                .hash = rst_hash(item.value.data, item.value.size, 0)};
        take_name(thing->name, item.key);
        if (item.index != count || item.byte_offset != bytes) more = -1;
        count++;
        bytes += item.value.size;
        if (more < 0) break;
    }
    roost_iter_close(iter);
    if (more == -1)
        return oracle_complain("stream %.*s: entry %llu is said to be %llu", (int)name.size, (const char *)name.data,
                               (unsigned long long)count - 1, (unsigned long long)item.index);
    if (more < 0) return failed("roost_iter_item (stream)", more);
    if (info.entry_count != count || info.byte_count != bytes)
        return oracle_complain("stream %.*s says %llu entries, %llu bytes; it has %llu, %llu", (int)name.size,
                               (const char *)name.data, (unsigned long long)info.entry_count, (unsigned long long)info.byte_count,
                               (unsigned long long)count, (unsigned long long)bytes);
    return 0;
}

static int look_at_streams(roost_root *root, struct picture *picture)
{
    roost_iter *iter;
    int err = roost_streams(root, &iter);
    if (err) return failed("roost_streams", err);
    struct roost_item item = ROOST_ITEM_INIT;
    int more, found = 0;
    while (!found && (more = roost_iter_item(iter, &item)) == 1) found = look_at_stream(root, item.key, picture);
    roost_iter_close(iter);
    return found ? found : more < 0 ? failed("roost_iter_item (streams)", more) : 0;
}

static int look(roost_root *root, struct picture *picture)
{
    picture->memory_count = picture->key_count = picture->entry_count = 0;
    struct roost_stats stats = ROOST_STATS_INIT;
    int err = roost_stats(root, &stats);
    if (err) return failed("roost_stats", err);
    picture->total = stats.memory_count;
    err = look_at_memories(root, picture);
    if (!err) err = look_at_keys(root, picture);
    return err ? err : look_at_streams(root, picture);
}

/* ---- the comparison ---- */

/* Why two things differ, or NULL. */
static const char *thing_differs(const struct thing *found, const struct thing *expected, bool numbered)
{
    if (strcmp(found->name, expected->name) != 0) return "name";
    if (found->size != expected->size || found->hash != expected->hash) return "content";
    if (expected->lsn && found->lsn != expected->lsn) return "LSN";
    if (numbered && found->number != expected->number && (expected->number || expected->change->kind == CHANGE_STREAM))
        return "number";
    if (found->expires_ns != expected->expires_ns) return "expiry";
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int compare_things(const char *what, const struct thing *found, uint32_t found_count, const struct thing *expected,
                          uint32_t expected_count, bool numbered)
{
    for (uint32_t i = 0; i < found_count && i < expected_count; i++) {
        const char *why = thing_differs(&found[i], &expected[i], numbered);
        if (why)
            return oracle_complain("%s %u of %u: %s differs: found \"%s\" number %llu lsn %llu size %u, expected \"%s\" number "
                                   "%llu lsn %llu size %u (uniq%u)",
                                   what, i, expected_count, why, found[i].name, (unsigned long long)found[i].number,
                                   (unsigned long long)found[i].lsn, found[i].size, expected[i].name,
                                   (unsigned long long)expected[i].number, (unsigned long long)expected[i].lsn, expected[i].size,
                                   expected[i].serial);
    }
    return found_count == expected_count ? 0 : oracle_complain("%u %s found, %u expected", found_count, what, expected_count);
}

/* Sorts both: the order of keys and of streams is not the order of commits. */
static int compare_pictures(struct picture *found, struct picture *expected)
{
    qsort(expected->keys, expected->key_count, sizeof *expected->keys, by_name);
    qsort(expected->entries, expected->entry_count, sizeof *expected->entries, by_name);
    int err = compare_things("memories", found->memories, found->memory_count, expected->memories, expected->memory_count, true);
    if (!err) err = compare_things("keys", found->keys, found->key_count, expected->keys, expected->key_count, false);
    if (!err)
        err =
            compare_things("stream entries", found->entries, found->entry_count, expected->entries, expected->entry_count, true);
    if (!err && found->total != expected->total)
        err = oracle_complain("roost_stats counts %llu memories, %llu are there", (unsigned long long)found->total,
                              (unsigned long long)expected->total);
    return err;
}

/* Does a disaster of this kind leave the step alone? */
static bool must_stay(const struct step *step, enum disaster disaster)
{
    if (step->status != STEP_ACKNOWLEDGED || !step->change_count) return false;
    return disaster != DISASTER_POWER || step->level == ROOST_DURABLE;
}

struct orders {
    struct oracle *oracle;
    enum disaster disaster;
    struct picture *found, *expected;
    uint32_t order[STEP_MAX], count;
    bool matched;
};

/* All prefixes of one order that the disaster may leave, the longest first. */
static bool try_prefixes(struct orders *orders)
{
    uint32_t least = orders->count;
    while (least > 0 && !must_stay(&orders->oracle->steps[orders->order[least - 1]], orders->disaster)) least--;
    for (uint32_t count = orders->count + 1; count-- > least;) {
        paint_steps(orders->expected, orders->oracle, orders->order, count);
        if (compare_pictures(orders->found, orders->expected) < 0) continue;
        orders->count = count;
        return true;
    }
    return false;
}

/* Puts the floating steps at every place that each may have. */
static bool try_places(struct orders *orders, const uint32_t *base, uint32_t base_count, const uint32_t *floating,
                       uint32_t floating_count)
{
    if (!floating_count) {
        memcpy(orders->order, base, base_count * sizeof *base);
        orders->count = base_count;
        return try_prefixes(orders);
    }
    uint32_t longer[STEP_MAX];
    for (uint32_t place = 0; place <= base_count; place++) {
        memcpy(longer, base, place * sizeof *base);
        longer[place] = floating[0];
        memcpy(longer + place + 1, base + place, (base_count - place) * sizeof *base);
        if (try_places(orders, longer, base_count + 1, floating + 1, floating_count - 1)) return true;
    }
    return false;
}

/* Steps that nobody acknowledged may be missing; those that float may stand anywhere. */
static bool try_orders(struct orders *orders)
{
    struct oracle *oracle = orders->oracle;
    uint32_t open[4], open_count = 0;
    for (uint32_t i = 0; i < oracle->step_count; i++)
        if (oracle->steps[i].status == STEP_INTENDED && open_count < RST_COUNT_OF(open)) open[open_count++] = i;
    for (uint32_t present = 1u << open_count; present-- > 0;) {
        uint32_t base[STEP_MAX], count = 0, floating[4], floating_count = 0;
        for (uint32_t i = 0; i < oracle->step_count; i++) {
            bool missing = false;
            for (uint32_t o = 0; o < open_count; o++)
                if (open[o] == i && !(present >> o & 1)) missing = true;
            if (missing) continue;
            if (oracle->steps[i].floats && floating_count < RST_COUNT_OF(floating))
                floating[floating_count++] = i;
            else
                base[count++] = i;
        }
        if (try_places(orders, base, count, floating, floating_count)) return true;
    }
    return false;
}

static uint64_t lsn_of(const struct oracle *oracle, const struct step *step)
{
    uint64_t lsn = 0;
    for (uint32_t c = step->change_first; c < step->change_first + step->change_count; c++)
        if (oracle->changes[c].lsn > lsn) lsn = oracle->changes[c].lsn;
    return lsn;
}

/* A step that floated was put at the first place that fits what is seen; its LSN says which one it really has, and that matters when a
 * power cut brings back what a later step had taken away. */
static void sort_by_lsn(struct oracle *oracle)
{
    for (uint32_t i = 1; i < oracle->step_count; i++)
        for (uint32_t at = i; at > 0; at--) {
            struct step before = oracle->steps[at - 1], after = oracle->steps[at];
            if (!lsn_of(oracle, &after) || lsn_of(oracle, &before) <= lsn_of(oracle, &after)) break;
            oracle->steps[at - 1] = after;
            oracle->steps[at] = before;
        }
}

/* The oracle learns what happened: the steps that are there, in their order, with the numbers that they were given. */
static void settle(struct orders *orders)
{
    struct oracle *oracle = orders->oracle;
    struct picture *found = orders->found, *expected = orders->expected;
    for (uint32_t i = 0; i < found->memory_count; i++) {
        expected->memories[i].change->number = found->memories[i].number;
        expected->memories[i].change->lsn = found->memories[i].lsn;
        if (found->memories[i].number > oracle->id_shown) oracle->id_shown = found->memories[i].number;
        if (found->memories[i].lsn > oracle->lsn_shown) oracle->lsn_shown = found->memories[i].lsn;
    }
    for (uint32_t i = 0; i < found->key_count; i++) {
        expected->keys[i].change->lsn = found->keys[i].lsn;
        if (found->keys[i].lsn > oracle->lsn_shown) oracle->lsn_shown = found->keys[i].lsn;
    }
    for (uint32_t i = 0; i < found->entry_count; i++) expected->entries[i].change->lsn = found->entries[i].lsn;
    struct step steps[STEP_MAX];
    for (uint32_t i = 0; i < orders->count; i++) {
        steps[i] = oracle->steps[orders->order[i]];
        steps[i].floats = false;
        if (steps[i].status == STEP_INTENDED) steps[i].level = ROOST_PROCESS;
        if (orders->disaster == DISASTER_POWER) steps[i].level = ROOST_DURABLE; /* it was on the disk */
        steps[i].status = STEP_ACKNOWLEDGED;
    }
    memcpy(oracle->steps, steps, orders->count * sizeof *steps);
    oracle->step_count = orders->count;
    sort_by_lsn(oracle);
}

static int search_one(roost_root *root, uint32_t serial, uint64_t expected_id)
{
    char word[16];
    snprintf(word, sizeof word, "uniq%u", serial);
    struct roost_query query = ROOST_QUERY_INIT;
    query.text = roost_text(word);
    roost_hits *hits;
    int err = roost_search(root, &query, &hits);
    if (err) return failed("roost_search", err);
    struct roost_hit hit = ROOST_HIT_INIT;
    uint64_t id = 0;
    int more = roost_hits_next(hits, &hit);
    if (more == 1) id = hit.id;
    size_t count = roost_hits_count(hits);
    roost_hits_close(hits);
    if (more < 0) return failed("roost_hits_next", more);
    if (count == (expected_id ? 1 : 0) && id == expected_id) return 0;
    return oracle_complain("a search for %s finds %zu, first id %llu; expected id %llu", word, count, (unsigned long long)id,
                           (unsigned long long)expected_id);
}

/* Every memory by its unique word, by its id; and those that are gone by neither. */
static int compare_searches(struct oracle *oracle, roost_root *root, const struct picture *expected)
{
    enum { SEARCH_MAX = 12 }; /* the newest: a long run's old ones were looked at before */
    uint32_t first = oracle->change_count > SEARCH_MAX ? oracle->change_count - SEARCH_MAX : 0;
    for (uint32_t i = first; i < oracle->change_count; i++) {
        const struct change *change = &oracle->changes[i];
        if (change->kind != CHANGE_MEMORY) continue;
        uint64_t id = 0;
        for (uint32_t m = 0; m < expected->memory_count; m++)
            if (expected->memories[m].change == change) id = change->number;
        int err = search_one(root, change->serial, id);
        if (err) return err;
        if (id || !change->number) continue;
        struct roost_memory memory = ROOST_MEMORY_INIT;
        err = roost_get(root, change->number, &memory);
        if (!err) roost_unpin(root, &memory.pin);
        /* The id of a step that a power cut took may never be given again, so nothing may be there. */
        if (err != ROOST_ENOENT)
            return oracle_complain("memory %llu should be gone: %s", (unsigned long long)change->number, roost_error_name(err));
    }
    return 0;
}

/* A state is one that was published, whole, and no older than the disaster allows. */
static int compare_state(struct oracle *oracle, roost_root *root, const char *name, enum disaster disaster)
{
    struct roost_state state = ROOST_STATE_INIT;
    int err = roost_state_get(root, roost_text(name), &state);
    if (err && err != ROOST_ENOENT) return failed("roost_state_get", err);
    int last = -1, found = -1;
    for (uint32_t i = 0; i < oracle->publish_count; i++) {
        struct publish *publish = &oracle->publishes[i];
        if (strcmp(publish->name, name) != 0) continue;
        if (publish->done && (disaster != DISASTER_POWER || publish->durable)) last = (int)i;
        if (!err && state.last_updated_id == publish->serial) found = (int)i;
    }
    if (!err) {
        uint64_t hash;
        uint32_t size = found < 0 ? 0 : 100 + oracle->publishes[found].serial * 7;
        if (found >= 0) content_of(oracle->publishes[found].serial, size, &hash);
        bool whole = found >= 0 && state.extra_count == 1 && state.extra[0].value.size == size &&
                     rst_hash(state.extra[0].value.data, size, 0) == hash;
        uint64_t serial = state.last_updated_id;
        roost_unpin(root, &state.pin);
        if (!whole)
            return oracle_complain("the state \"%s\" is torn, or was never published (%llu)", name, (unsigned long long)serial);
    }
    if (found < last)
        return oracle_complain("the state \"%s\" went back: number %d is found, %d was acknowledged", name, found, last);
    /* What was seen stays. */
    if (found >= 0) {
        oracle->publishes[found].done = true;
        if (disaster == DISASTER_POWER) oracle->publishes[found].durable = true;
    }
    for (uint32_t i = (uint32_t)(found + 1); disaster == DISASTER_POWER && i < oracle->publish_count; i++)
        if (strcmp(oracle->publishes[i].name, name) == 0) oracle->publishes[i].done = false;
    return 0;
}

static int compare_states(struct oracle *oracle, roost_root *root, enum disaster disaster)
{
    if (oracle->states_lost) disaster = DISASTER_POWER;
    oracle->states_lost = false;
    for (uint32_t i = 0; i < oracle->publish_count; i++) {
        bool first = true;
        for (uint32_t j = 0; j < i; j++) first = first && strcmp(oracle->publishes[i].name, oracle->publishes[j].name) != 0;
        int err = first ? compare_state(oracle, root, oracle->publishes[i].name, disaster) : 0;
        if (err) return err;
    }
    return 0;
}

int oracle_compare(struct oracle *oracle, roost_root *root, enum disaster disaster, bool search)
{
    /* Static, as they are large: images nest, but a comparison makes none while it needs them. */
    static struct picture found, expected;
    static struct orders orders;
    orders = (struct orders){.oracle = oracle, .disaster = disaster, .found = &found, .expected = &expected};
    call_failed = false;
    int err = look(root, &found);
    if (err) return err;
    if (!try_orders(&orders)) {
        /* Why the fullest of the pictures does not fit says most. */
        orders.count = 0;
        for (uint32_t i = 0; i < oracle->step_count; i++)
            if (must_stay(&oracle->steps[i], disaster)) orders.count = i + 1;
        for (uint32_t i = 0; i < orders.count; i++) orders.order[i] = i;
        paint_steps(&expected, oracle, orders.order, orders.count);
        if (!compare_pictures(&found, &expected)) return oracle_complain("no order of the steps fits");
        return -1;
    }
    settle(&orders);
    if (search) err = compare_searches(oracle, root, &expected);
    return err ? err : compare_states(oracle, root, disaster);
}
