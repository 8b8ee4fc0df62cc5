/* SPDX-License-Identifier: MIT
 * engine/watch.c: sleeping on changes (layer 7).
 * Commits: the ring of recent changes in the region, LSN by LSN; a watcher that fell more than the ring behind is told so.
 * States: their versions in the slots, compared with what was reported last. Sleeping: the region's counters, no waiter counts. */
#include "engine/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/notify.h"
#include "format/state.h"
#include "os/os.h"

enum {
    SLICE_MS = 1000,        /* every process looks at its region's link count once a second in a watch (R11) */
    SLICE_STATES_MS = 250,  /* a dead owner wakes nobody: its lock is looked at so often */
    SLICE_LEAVING_MS = 100, /* nobody has the root open, or its last one is about to leave: what is there by now? */
};

struct seen_state {
    uint8_t name[ROOST_NAME_SIZE_MAX + 1];
    size_t name_size;
    uint64_t version;
    uint32_t alive;
};
struct topic {
    uint32_t kind;
    uint8_t *name;
    size_t name_size;
};
struct rst_watch {
    struct rst_engine *engine;
    struct topic *topics;
    size_t topic_count;
    bool commits, states, generation;
    uint64_t next_lsn, generation_seen;
    struct rst_buffer seen;    /* struct seen_state */
    struct rst_notify *notify; /* for an event loop; NULL: nobody asked */
    uint8_t name[ROOST_KEY_SIZE_MAX];
};

void rst_watch_close(struct rst_watch *watch)
{
    if (!watch) return;
    rst_notify_close(watch->notify);
    for (size_t i = 0; i < watch->topic_count; i++) free(watch->topics[i].name);
    free(watch->topics);
    rst_buffer_free(&watch->seen);
    free(watch);
}

static int copy_topic(struct rst_watch *watch, const struct roost_topic *given, struct topic *topic)
{
    size_t size_max = given->kind == ROOST_TOPIC_STATE ? ROOST_NAME_SIZE_MAX : ROOST_KEY_SIZE_MAX;
    bool named = given->kind == ROOST_TOPIC_STATE || given->kind == ROOST_TOPIC_STREAM;
    if (given->kind < ROOST_TOPIC_COMMITS || given->kind > ROOST_TOPIC_KEYS)
        return rst_fail(ROOST_EINVAL, "there is no topic of kind %u", given->kind);
    if (given->name.size > size_max || (named && !given->name.size))
        return rst_fail(ROOST_EINVAL, "a topic's name of %zu bytes; %s1 to %zu are possible", given->name.size,
                        named ? "" : "0 or ", size_max);
    topic->kind = given->kind;
    topic->name_size = given->name.size;
    topic->name = malloc(given->name.size + 1);
    if (!topic->name) return rst_fail(ROOST_ENOMEM, "no memory for a watch");
    if (given->name.size) memcpy(topic->name, given->name.data, given->name.size);
    watch->states |= topic->kind == ROOST_TOPIC_STATE || topic->kind == ROOST_TOPIC_STATES;
    watch->generation |= topic->kind == ROOST_TOPIC_GENERATION;
    watch->commits |= topic->kind == ROOST_TOPIC_COMMITS || topic->kind == ROOST_TOPIC_STREAM || topic->kind == ROOST_TOPIC_KEYS;
    return 0;
}

int rst_watch_open(struct rst_engine *engine, const struct roost_topic *topics, size_t count, struct rst_watch **ret_watch)
{
    if (!count) return rst_fail(ROOST_EINVAL, "a watch without topics");
    struct rst_watch *watch = calloc(1, sizeof *watch);
    if (watch) watch->topics = calloc(count, sizeof *watch->topics);
    int err = watch && watch->topics ? 0 : rst_fail(ROOST_ENOMEM, "no memory for a watch");
    for (size_t i = 0; !err && i < count; i++) {
        err = copy_topic(watch, &topics[i], &watch->topics[i]);
        watch->topic_count = i + 1;
    }
    struct rst_snapshot snapshot;
    if (!err && !rst_region_read_snapshot(rst_engine_region(engine), &snapshot))
        err = rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
    if (err) {
        rst_watch_close(watch);
        return err;
    }
    watch->engine = engine;
    watch->next_lsn = snapshot.visible_lsn + 1;
    watch->generation_seen = snapshot.generation;
    *ret_watch = watch;
    return 0;
}

/* ---- commits ---- */

/* 1: the change at this LSN; 0: it is not in the ring (any more). */
static int read_change(const struct rst_region *region, uint64_t lsn, struct rst_change *ret_change)
{
    struct rst_change *change = &region->changes[lsn % RST_CHANGE_COUNT];
    if (rst_load_u64(&change->lsn) != lsn) return 0; /* pairs with the last store in note_change (commit.c) */
    *ret_change = (struct rst_change){lsn, rst_load_relaxed_u64(&change->offset), rst_load_relaxed_u64(&change->number),
                                      rst_load_relaxed_u32(&change->chunk), rst_load_relaxed_u32(&change->kind)};
    rst_fence_acquire();
    return rst_load_relaxed_u64(&change->lsn) == lsn;
}

static uint32_t change_of(uint32_t record_kind)
{
    switch (record_kind) {
    case RST_RECORD_MEMORY:
        return ROOST_CHANGE_MEMORY;
    case RST_RECORD_FORGET:
        return ROOST_CHANGE_FORGET;
    case RST_RECORD_KEY_SET:
        return ROOST_CHANGE_KEY_SET;
    case RST_RECORD_KEY_DELETE:
        return ROOST_CHANGE_KEY_DELETE;
    case RST_RECORD_STREAM:
        return ROOST_CHANGE_STREAM;
    default:
        return 0; /* stored states, ends of epochs: told elsewhere, or to nobody */
    }
}

static bool topic_matches(const struct topic *topic, uint32_t change, struct roost_bytes name)
{
    struct roost_bytes wanted = rst_bytes(topic->name, topic->name_size);
    switch (topic->kind) {
    case ROOST_TOPIC_COMMITS:
        return true;
    case ROOST_TOPIC_STREAM:
        return change == ROOST_CHANGE_STREAM && rst_bytes_equal(name, wanted);
    case ROOST_TOPIC_KEYS:
        return (change == ROOST_CHANGE_KEY_SET || change == ROOST_CHANGE_KEY_DELETE) && rst_bytes_has_prefix(name, wanted);
    default:
        return false;
    }
}

/* Where the record's name stands: header and fields are read from the blocks. */
static int read_name(struct rst_watch *watch, const struct rst_change *change, struct roost_bytes *ret_name)
{
    struct rst_blocks *blocks = &watch->engine->blocks;
    int err;
    struct rst_record_view record;
    *ret_name = rst_bytes(NULL, 0);
    const uint8_t *bytes = rst_blocks_bytes(blocks, change->chunk, change->offset, sizeof record.header, &err);
    if (!bytes) return err;
    memcpy(&record.header, bytes, sizeof record.header);
    uint64_t size = sizeof record.header + (uint64_t)record.header.fields_size;
    bytes = rst_blocks_bytes(blocks, change->chunk, change->offset, size, &err);
    if (!bytes) return err;
    err = rst_record_decode(bytes, size, change->chunk, change->offset, &record);
    if (err)
        return rst_fail_context(err, "blocks/chunk_%04u.bin, offset %llu", change->chunk, (unsigned long long)change->offset);
    struct roost_bytes name;
    if (rst_fields_find(record.fields, change->kind == RST_RECORD_STREAM ? RST_FIELD_NAME : RST_FIELD_KEY, &name) != 1 ||
        name.size > sizeof watch->name)
        return 0;
    memcpy(watch->name, name.data, name.size);
    *ret_name = rst_bytes(watch->name, name.size);
    return 0;
}

static int poll_commits(struct rst_watch *watch, struct roost_event *event)
{
    const struct rst_region *region = rst_engine_region(watch->engine);
    struct rst_snapshot snapshot;
    if (!rst_region_read_snapshot(region, &snapshot)) return rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
    while (watch->next_lsn <= snapshot.visible_lsn) {
        struct rst_change change;
        if (!read_change(region, watch->next_lsn, &change)) {
            event->kind = ROOST_CHANGE_SKIPPED;
            event->lsn = snapshot.visible_lsn;
            event->skipped_count = snapshot.visible_lsn - watch->next_lsn + 1;
            watch->next_lsn = snapshot.visible_lsn + 1;
            for (event->topic = 0; watch->topics[event->topic].kind == ROOST_TOPIC_STATE ||
                                   watch->topics[event->topic].kind == ROOST_TOPIC_STATES ||
                                   watch->topics[event->topic].kind == ROOST_TOPIC_GENERATION;)
                event->topic++;
            return 1;
        }
        watch->next_lsn++;
        uint32_t kind = change_of(change.kind);
        if (!kind) continue;
        struct roost_bytes name;
        int err = read_name(watch, &change, &name);
        if (err) return err;
        for (size_t i = 0; i < watch->topic_count; i++) {
            if (!topic_matches(&watch->topics[i], kind, name)) continue;
            event->kind = kind;
            event->topic = (uint32_t)i;
            event->lsn = change.lsn;
            event->id = change.number;
            event->name = name;
            return 1;
        }
    }
    return 0;
}

/* ---- states ---- */

static struct seen_state *seen_of(struct rst_watch *watch, struct roost_bytes name)
{
    struct seen_state *list = (struct seen_state *)(void *)watch->seen.data;
    for (size_t i = 0; i < watch->seen.size / sizeof *list; i++)
        if (rst_bytes_equal(name, rst_bytes(list[i].name, list[i].name_size))) return &list[i];
    struct seen_state fresh;
    memset(&fresh, 0, sizeof fresh);
    memcpy(fresh.name, name.data, name.size);
    fresh.name_size = name.size;
    fresh.alive = ROOST_ALIVE_NONE;
    rst_buffer_add(&watch->seen, &fresh, sizeof fresh);
    return watch->seen.failed ? NULL : (struct seen_state *)(void *)(watch->seen.data + watch->seen.size - sizeof fresh);
}

/* 1: this state changed since it was reported last. */
static int poll_state(struct rst_watch *watch, struct roost_bytes name, uint32_t topic, struct roost_event *event)
{
    uint8_t bytes[ROOST_STATE_SIZE_MAX];
    size_t size;
    uint32_t alive;
    struct rst_state_header header;
    int err = rst_state_read(watch->engine, name, bytes, &size, &alive);
    if (err == ROOST_ENOENT) return 0;
    if (err) return err;
    memcpy(&header, bytes, sizeof header);
    if (!header.owned) alive = ROOST_ALIVE_NONE;
    struct seen_state *seen = seen_of(watch, name);
    if (!seen) return rst_fail(ROOST_ENOMEM, "no memory for a watch");
    if (header.version < seen->version || (header.version == seen->version && alive == seen->alive)) return 0;
    event->kind = ROOST_CHANGE_STATE;
    event->topic = topic;
    event->id = header.version;
    event->skipped_count = seen->version && header.version > seen->version ? header.version - seen->version - 1 : 0;
    memcpy(watch->name, name.data, name.size);
    event->name = rst_bytes(watch->name, name.size);
    seen->version = header.version;
    seen->alive = alive;
    return 1;
}

static int poll_states(struct rst_watch *watch, struct roost_event *event)
{
    for (size_t i = 0; i < watch->topic_count; i++) {
        const struct topic *topic = &watch->topics[i];
        if (topic->kind == ROOST_TOPIC_STATE) {
            int found = poll_state(watch, rst_bytes(topic->name, topic->name_size), (uint32_t)i, event);
            if (found) return found;
        }
        if (topic->kind != ROOST_TOPIC_STATES) continue;
        uint8_t name[ROOST_NAME_SIZE_MAX + 1], next[ROOST_NAME_SIZE_MAX + 1];
        size_t size = 0, next_size;
        int more;
        while ((more = rst_state_next(watch->engine, rst_bytes(name, size), next, &next_size)) == 1) {
            memcpy(name, next, next_size);
            size = next_size;
            int found = poll_state(watch, rst_bytes(name, size), (uint32_t)i, event);
            if (found) return found;
        }
        if (more < 0) return more;
    }
    return 0;
}

static int poll_generation(struct rst_watch *watch, struct roost_event *event)
{
    struct rst_snapshot snapshot;
    if (!rst_region_read_snapshot(rst_engine_region(watch->engine), &snapshot))
        return rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
    if (snapshot.generation == watch->generation_seen) return 0;
    watch->generation_seen = snapshot.generation;
    event->kind = ROOST_CHANGE_GENERATION;
    event->id = snapshot.generation;
    for (event->topic = 0; watch->topics[event->topic].kind != ROOST_TOPIC_GENERATION;) event->topic++;
    return 1;
}

/* ---- waiting ---- */

static int look(struct rst_watch *watch, struct roost_event *event)
{
    int found = watch->states ? poll_states(watch, event) : 0;
    if (!found && watch->commits) found = poll_commits(watch, event);
    if (!found && watch->generation) found = poll_generation(watch, event);
    return found;
}

/* For who does not wait. With a descriptor: nothing was found, and what happens from now on makes it readable. */
static int look_only(struct rst_watch *watch, struct roost_event *event)
{
    if (!watch->notify) {
        rst_engine_glance(watch->engine);
        return look(watch, event);
    }
    int found = look(watch, event);
    if (found) return found;
    rst_notify_arm(watch->notify);
    found = look(watch, event);
    if (found) rst_notify_signal(watch->notify);
    return found;
}

int rst_watch_file(struct rst_watch *watch, int *ret_file)
{
    uint32_t on = (watch->commits ? RST_NOTIFY_COMMITS : 0u) | (watch->states ? RST_NOTIFY_STATES : 0u) |
                  (watch->generation ? RST_NOTIFY_GENERATION : 0u);
    int err = watch->notify ? 0 : rst_notify_open(watch->engine, on, &watch->notify);
    if (!err) *ret_file = rst_notify_file(watch->notify);
    return err;
}

static bool leaving(const struct rst_region *region) { return region->memory || rst_load_seq_u32(&region->header->moved.word); }

static int sleep_and_look(struct rst_watch *watch, uint32_t wait_ms, struct roost_event *event)
{
    struct rst_engine *engine = watch->engine;
    int64_t deadline = rst_os->monotonic_time() + (int64_t)wait_ms * 1000000;
    for (;;) {
        const struct rst_region *region = rst_engine_region(engine);
        struct rst_region_header *header = region->header;
        struct rst_futex_wait waits[3];
        size_t count = 0;
        /* The counters before the look: what changes after it wakes. */
        if (watch->commits)
            waits[count++] = (struct rst_futex_wait){&header->commit.word, rst_load_seq_u32(&header->commit.word)};
        if (watch->states) waits[count++] = (struct rst_futex_wait){&header->state.word, rst_load_seq_u32(&header->state.word)};
        if (watch->generation)
            waits[count++] = (struct rst_futex_wait){&header->generation.word, rst_load_seq_u32(&header->generation.word)};
        int found = look(watch, event);
        if (found) return found;
        int64_t rest = deadline - rst_os->monotonic_time();
        if (rest <= 0) return 0;
        int64_t slice = (int64_t)(leaving(region) ? SLICE_LEAVING_MS : watch->states ? SLICE_STATES_MS : SLICE_MS) * 1000000;
        rst_os->futex_wait_any(waits, count, rest < slice ? rest : slice);
        if (!rst_region_current(region)) {
            /* An observer whom everybody has left waits for the next one to come: that is no error, and no change either. */
            if (engine->observer) {
                rst_engine_glance(engine);
            } else {
                int err = rst_engine_look_around(engine);
                if (err && err != ROOST_EAGAIN) return err;
            }
        }
    }
}

int rst_watch_wait(struct rst_watch *watch, uint32_t wait_ms, struct roost_event *ret_event)
{
    struct roost_event event = ROOST_EVENT_INIT;
    int found = wait_ms ? sleep_and_look(watch, wait_ms, &event) : look_only(watch, &event);
    if (found == 1) memcpy(ret_event, &event, ret_event->size < sizeof event ? ret_event->size : sizeof event);
    return found;
}
