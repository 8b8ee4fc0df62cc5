/* SPDX-License-Identifier: MIT
 * engine/states.c: agents' states (layer 7, R14).
 * A name has a slot in the region while somebody lives who owns it (or its last value is not stored yet); its own process
 * publishes straight into it through a two-copy latch: one store, one futex wake, no hop. Stored values live in the ordered map. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "format/state.h"
#include "model/names.h"
#include "os/os.h"
#include "region/latch.h"

struct rst_owned_state {
    uint64_t slot, incarnation;
    uint64_t nonce;            /* of the region that the slot is in */
    struct rst_state_slot *at; /* the slot; a replaced region stays mapped */
    uint8_t name[ROOST_NAME_SIZE_MAX + 1];
    size_t name_size;
    bool released;
};

static struct rst_state_slot *slot_at(const struct rst_region *region, uint32_t index)
{
    return (struct rst_state_slot *)(void *)(region->base + region->places.states) + index;
}

/* Slots are made real memory one after the other; those at or above the mark were never touched. */
static uint32_t slots_real(const struct rst_region *region)
{
    uint32_t count = rst_load_u32(&region->header->state_slots_real);
    return count < RST_STATE_SLOT_COUNT ? count : RST_STATE_SLOT_COUNT;
}

static struct rst_latch latch_of(struct rst_state_slot *slot)
{
    return (struct rst_latch){&slot->sequence, slot->copies[0], ROOST_STATE_SIZE_MAX / 8};
}

bool rst_state_slot_name(const struct rst_region *region, uint32_t index, uint8_t ret_name[ROOST_NAME_SIZE_MAX + 1],
                         size_t *ret_size, uint64_t *ret_incarnation)
{
    if (index >= slots_real(region)) return false;
    struct rst_state_slot *slot = slot_at(region, index);
    uint64_t incarnation = rst_load_u64(&slot->incarnation); /* pairs with the store in give_slot */
    if (!incarnation || incarnation & 1) return false;       /* odd: being changed */
    uint32_t size = slot->name_size;
    if (size > ROOST_NAME_SIZE_MAX) return false;
    memcpy(ret_name, slot->name, size);
    rst_fence_acquire();
    if (rst_load_relaxed_u64(&slot->incarnation) != incarnation) return false;
    *ret_size = size;
    *ret_incarnation = incarnation;
    return true;
}

bool rst_state_slot_read(const struct rst_region *region, uint32_t index, uint8_t *ret_bytes, size_t *ret_size,
                         uint64_t *ret_version)
{
    struct rst_state_header header;
    uint64_t words[ROOST_STATE_SIZE_MAX / 8];
    if (index >= slots_real(region) || !rst_latch_read(latch_of(slot_at(region, index)), words, ROOST_STATE_SIZE_MAX / 8))
        return false;
    memcpy(&header, words, sizeof header);
    if (!header.version || header.size < sizeof header || header.size > ROOST_STATE_SIZE_MAX) return false;
    memcpy(ret_bytes, words, header.size);
    *ret_size = header.size;
    *ret_version = header.version;
    return true;
}

static int find_slot(const struct rst_region *region, struct roost_bytes name, uint64_t *ret_incarnation)
{
    uint8_t slot_name[ROOST_NAME_SIZE_MAX + 1];
    size_t size;
    for (uint32_t index = 0; index < slots_real(region); index++)
        if (rst_state_slot_name(region, index, slot_name, &size, ret_incarnation) &&
            rst_bytes_equal(name, rst_bytes(slot_name, size)))
            return (int)index;
    return -1;
}

static bool unstored(const struct rst_region *region, uint32_t index)
{
    uint8_t name[ROOST_NAME_SIZE_MAX + 1];
    struct rst_state_header header;
    size_t size;
    uint64_t incarnation;
    if (!rst_state_slot_name(region, index, name, &size, &incarnation)) return false;
    struct rst_state_slot *slot = slot_at(region, index);
    if (!rst_latch_read(latch_of(slot), &header, sizeof header / 8)) return false;
    return header.version > rst_load_u64(&slot->persisted_version);
}

bool rst_states_unstored(const struct rst_region *region)
{
    for (uint32_t index = 0; index < slots_real(region); index++)
        if (unstored(region, index)) return true;
    return false;
}

/* Does the slot's owner live? Its byte on state.wal says so; between the claim and the lock, its participant's byte. */
static bool owner_alive(const struct rst_engine *engine, const struct rst_region *region, uint32_t index)
{
    struct rst_state_slot *slot = slot_at(region, index);
    uint64_t client = rst_load_u64(&slot->owner_client);
    if (!client) return false;
    if (client == rst_engine_client(engine)) return true; /* one's own lock looks free (R17) */
    if (rst_os->probe_byte(engine->log.file, RST_LOCK_STATE_OFFSET + index)) return true;
    uint32_t participant = slot->owner_slot;
    if (participant >= RST_SLOT_COUNT || rst_load_u64(&region->participants[participant].client) != client) return false;
    if ((int)participant == rst_engine_slot(engine)) return true;
    return rst_participant_alive(engine->log.file, participant) != 0 && !rst_load_u64(&slot->owner_incarnation);
}

/* Is what was just read of the slot a value that its living owner published? The value was read before the owner, so that a newer owner
 * is never taken for its author; and who still owns it after the look at the byte was the one that held the byte. */
static bool published_by_living(const struct rst_engine *engine, const struct rst_region *region, uint32_t index,
                                uint64_t version)
{
    struct rst_state_slot *slot = slot_at(region, index);
    uint64_t client = rst_load_u64(&slot->owner_client); /* pairs with the store in change_owner */
    if (!client || version < rst_load_u64(&slot->owner_version)) return false;
    return owner_alive(engine, region, index) && rst_load_u64(&slot->owner_client) == client;
}

/* ---- the writer's part: giving slots out, one at a time under its commit mutex ---- */

/* The version that is stored for a name, so that a new owner goes on above it and never back. */
static int stored_version(struct rst_engine *engine, struct roost_bytes name, uint8_t *ret_bytes, size_t *ret_size,
                          uint64_t *ret_version)
{
    struct rst_reader reader;
    struct rst_map_name map_name;
    struct rst_map_entry entry;
    *ret_version = 0;
    *ret_size = 0;
    rst_name_set(&map_name, RST_MAP_AGENT, name);
    int err = rst_reader_begin(engine, &reader);
    if (err) return err;
    int found = rst_view_map(&reader.view, rst_name_bytes(&map_name), &entry);
    rst_reader_end(&reader);
    if (found != 1 || entry.kind != RST_MAP_SET) return found < 0 ? found : 0;
    struct rst_record_view record;
    err = rst_blocks_read(&engine->blocks, &entry.place, &record);
    if (!err && (!rst_record_payload_right(&record) || record.payload.size > ROOST_STATE_SIZE_MAX))
        err = rst_fail(ROOST_ECORRUPT, "blocks/chunk_%04u.bin, offset %llu: a state fails its checksum", entry.place.chunk,
                       (unsigned long long)entry.place.offset);
    if (err) return err;
    memcpy(ret_bytes, record.payload.data, record.payload.size);
    *ret_size = record.payload.size;
    *ret_version = entry.number;
    return 0;
}

static int free_slot(struct rst_engine *engine)
{
    const struct rst_region *region = rst_commit_region(engine);
    struct rst_region_header *header = region->header;
    uint32_t real = slots_real(region);
    for (uint32_t index = 0; index < real; index++)
        if (!rst_load_u64(&slot_at(region, index)->incarnation)) return (int)index;
    if (real < RST_STATE_SLOT_COUNT) {
        int err = rst_region_allocate(region, region->places.states + real * sizeof(struct rst_state_slot),
                                      sizeof(struct rst_state_slot));
        if (err) return err;
        rst_store_u32(&header->state_slots_real, real + 1);
        return (int)real;
    }
    /* A dead one's value that is stored needs no slot any more; others are stored now. */
    for (int again = 0; again < 2; again++) {
        for (uint32_t index = 0; index < real; index++)
            if (!owner_alive(engine, region, index) && !unstored(region, index)) return (int)index;
        int err = again ? 0 : rst_commit_states(engine, false);
        if (err) return err;
    }
    return rst_fail(ROOST_EAGAIN, "%u agents' states are held by live processes; no more are possible at one time",
                    RST_STATE_SLOT_COUNT);
}

/* crash: 1 the value is nobody's who lives, whoever owns the slot
 *        2 owned, by the claimer's participant's byte; it locks the slot's own byte next */
static void change_owner(const struct rst_region *region, struct rst_state_slot *slot, uint64_t client, uint32_t participant)
{
    rst_store_u64(&slot->owner_version, UINT64_MAX);
    slot->owner_slot = participant;
    slot->owner_pid = region->participants[participant].pid;
    rst_store_u64(&slot->owner_incarnation, 0);
    rst_store_u64(&slot->owner_client, client); /* pairs with the load in published_by_living */
}

/* crash: 1 incarnation odd: no reader looks, the next claim finds the slot neither by name nor free... so an odd one is finished as free
 *        2 name, owner and stored value entered
 *        3 incarnation even: given. Its owner locks the byte next; until then its participant's byte speaks for it. */
static void give_slot(struct rst_engine *engine, uint32_t index, struct roost_bytes name, uint64_t client, uint32_t participant,
                      const uint8_t *stored, size_t stored_size, uint64_t version)
{
    const struct rst_region *region = rst_commit_region(engine);
    struct rst_state_slot *slot = slot_at(region, index);
    uint64_t words[ROOST_STATE_SIZE_MAX / 8];
    uint64_t incarnation = rst_load_u64(&slot->incarnation) | 1;
    rst_store_u64(&slot->incarnation, incarnation);
    rst_fence_release();
    slot->name_size = (uint32_t)name.size;
    memcpy(slot->name, name.data, name.size);
    change_owner(region, slot, client, participant);
    memset(words, 0, sizeof words);
    if (stored_size) memcpy(words, stored, stored_size);
    rst_latch_repair(latch_of(slot));
    rst_latch_write(latch_of(slot), words, sizeof words / 8);
    rst_store_u64(&slot->persisted_version, version);
    rst_store_u64(&slot->incarnation, incarnation + 1); /* pairs with the load in rst_state_slot_name */
}

int rst_state_claim(struct rst_engine *engine, struct roost_bytes name, uint64_t client, uint32_t participant, uint64_t *ret_slot)
{
    uint64_t incarnation;
    if (!name.size || name.size > ROOST_NAME_SIZE_MAX) return rst_fail(ROOST_EINVAL, "a state's name is damaged");
    const struct rst_region *region = rst_commit_region(engine);
    int index = find_slot(region, name, &incarnation);
    if (index >= 0) {
        struct rst_state_slot *slot = slot_at(region, (uint32_t)index);
        if (owner_alive(engine, region, (uint32_t)index) && rst_load_u64(&slot->owner_client) != client) {
            *ret_slot = (uint64_t)(uint32_t)index;
            return ROOST_EBUSY;
        }
        rst_latch_repair(latch_of(slot));
        change_owner(region, slot, client, participant);
        *ret_slot = (uint64_t)(uint32_t)index;
        return 0;
    }
    uint8_t stored[ROOST_STATE_SIZE_MAX];
    size_t stored_size;
    uint64_t version;
    int err = stored_version(engine, name, stored, &stored_size, &version);
    if (err) return err;
    index = free_slot(engine);
    if (index < 0) return index;
    give_slot(engine, (uint32_t)index, name, client, participant, stored, stored_size, version);
    *ret_slot = (uint64_t)(uint32_t)index;
    return 0;
}

/* ---- the owner's part ---- */

static struct rst_owned_state *owned_at(struct rst_engine *engine, struct roost_bytes name)
{
    struct rst_owned_state *states = (struct rst_owned_state *)(void *)engine->owned_states.data;
    for (size_t i = 0; i < engine->owned_states.size / sizeof *states; i++)
        if (!states[i].released && rst_bytes_equal(name, rst_bytes(states[i].name, states[i].name_size))) return &states[i];
    return NULL;
}

static int busy(struct rst_engine *engine, uint32_t index, struct roost_bytes name)
{
    char owner[96];
    const struct rst_region *region = rst_engine_region(engine);
    rst_participant_name(region, slot_at(region, index % RST_STATE_SLOT_COUNT)->owner_slot, owner, sizeof owner);
    return rst_fail(ROOST_EBUSY, "the state \"%.*s\" is owned by %s; publish under another name, or end that process first",
                    (int)name.size, (const char *)name.data, owner);
}

/* Refused for the sake of one who claimed the slot and has not locked its byte: either he is about to, or he died there, and whoever has
 * taken his participant's byte since, to finish what he left, passes for him until that is done. */
static bool undecided(const struct rst_region *region, const struct rst_outcome *outcome)
{
    return outcome->id < RST_STATE_SLOT_COUNT && !rst_load_u64(&slot_at(region, (uint32_t)outcome->id)->owner_incarnation);
}

/* Under state_lock. The slot becomes this handle's, by the writer's word and then its byte lock. */
static int acquire(struct rst_engine *engine, struct roost_bytes name, uint32_t wait_ms, struct rst_owned_state *ret_owned)
{
    enum { UNDECIDED_MS = 1000 };
    struct rst_outcome outcome;
    const struct rst_region *region;
    int err;
    if (!wait_ms) wait_ms = engine->options.wait_ms;
    int64_t begun = rst_os->monotonic_time(),
            patience = begun + (int64_t)(wait_ms < UNDECIDED_MS ? wait_ms : UNDECIDED_MS) * 1000000;
    for (;;) {
        region = rst_engine_region(engine);
        err = rst_request(engine, RST_OP_STATE_CLAIM, 0, 0, name, ROOST_PROCESS, wait_ms, &outcome);
        if (!err && region != rst_engine_region(engine))
            continue; /* of a region that was left: claiming what one owns does no harm */
        if (err != ROOST_EBUSY || !undecided(region, &outcome) || rst_os->monotonic_time() >= patience) break;
        rst_os->sleep(1000000);
    }
    if (err == ROOST_EBUSY) return busy(engine, (uint32_t)outcome.id, name);
    if (err) return err;
    if (outcome.id >= RST_STATE_SLOT_COUNT) return rst_fail(ROOST_ECORRUPT, "the writer gave a state slot that cannot be");
    struct rst_state_slot *slot = slot_at(region, (uint32_t)outcome.id);
    /* The byte of a slot that was given to us may still be locked for a slot of a region that was replaced; its owner follows soon. */
    int64_t deadline = rst_os->monotonic_time() + (int64_t)wait_ms * 1000000;
    while ((err = rst_os->lock_byte(engine->log.file, RST_LOCK_STATE_OFFSET + outcome.id)) == -EWOULDBLOCK &&
           rst_load_u64(&slot->owner_client) == rst_engine_client(engine) && rst_os->monotonic_time() < deadline)
        rst_os->sleep(1000000);
    if (err) return busy(engine, (uint32_t)outcome.id, name);
    memset(ret_owned, 0, sizeof *ret_owned);
    ret_owned->slot = outcome.id;
    ret_owned->at = slot;
    ret_owned->nonce = region->header->nonce;
    ret_owned->incarnation = rst_load_u64(&slot->incarnation);
    memcpy(ret_owned->name, name.data, name.size);
    ret_owned->name_size = name.size;
    rst_store_u64(&slot->owner_incarnation, 1); /* from now on the byte lock speaks */
    return 0;
}

static void release(struct rst_engine *engine, struct rst_owned_state *owned, bool unowned)
{
    struct rst_state_slot *slot = owned->at;
    owned->released = true;
    if (unowned || rst_load_u64(&slot->owner_client) == rst_engine_client(engine)) rst_store_u64(&slot->owner_client, 0);
    rst_os->unlock_byte(engine->log.file, RST_LOCK_STATE_OFFSET + owned->slot);
    rst_region_ring(&rst_engine_region(engine)->header->state.word);
}

static int publish(struct rst_engine *engine, const struct rst_owned_state *owned, const struct roost_state *state, bool unowned)
{
    struct rst_state_slot *slot = owned->at;
    struct rst_state_header before;
    if (!rst_latch_read(latch_of(slot), &before, sizeof before / 8))
        return rst_fail(ROOST_ECORRUPT, "a state slot's latch cannot be read");
    struct roost_state stamped = *state;
    uint64_t stored = rst_load_u64(&slot->persisted_version);
    stamped.version = (before.version > stored ? before.version : stored) + 1;
    stamped.time_ns = rst_os->real_time();
    stamped.owner_pid = unowned ? 0 : engine->process_id;
    stamped.alive = unowned ? ROOST_ALIVE_NONE : ROOST_ALIVE_YES;
    struct rst_buffer bytes = {0};
    int err = rst_state_encode(&stamped, &bytes);
    if (!err) {
        uint64_t words[ROOST_STATE_SIZE_MAX / 8];
        memset(words, 0, sizeof words);
        memcpy(words, bytes.data, bytes.size);
        /* crash: 1 the value is older than what the owner says it published: it is not his
         *        2 his value */
        if (rst_load_u64(&slot->owner_version) > stamped.version) rst_store_u64(&slot->owner_version, stamped.version);
        rst_latch_write(latch_of(slot), words, sizeof words / 8);
        rst_region_ring(&rst_engine_region(engine)->header->state.word);
    }
    rst_buffer_free(&bytes);
    return err;
}

/* The region was replaced: the same value, under the same version, in a slot of the new one. Under state_lock. */
static int move_owned(struct rst_engine *engine, struct rst_owned_state *owned, uint32_t wait_ms)
{
    struct rst_owned_state fresh = {0};
    struct rst_state_header carried, there;
    uint64_t words[ROOST_STATE_SIZE_MAX / 8];
    if (owned->nonce == rst_engine_region(engine)->header->nonce) return 0;
    bool read = rst_latch_read(latch_of(owned->at), words, ROOST_STATE_SIZE_MAX / 8);
    rst_os->unlock_byte(engine->log.file, RST_LOCK_STATE_OFFSET + owned->slot);
    int err = acquire(engine, rst_bytes(owned->name, owned->name_size), wait_ms, &fresh);
    if (err) return err;
    memcpy(&carried, words, sizeof carried);
    if (read && rst_latch_read(latch_of(fresh.at), &there, sizeof there / 8) && carried.version >= there.version) {
        if (carried.version) rst_store_u64(&fresh.at->owner_version, carried.version);
        if (carried.version > there.version) rst_latch_write(latch_of(fresh.at), words, ROOST_STATE_SIZE_MAX / 8);
        rst_region_ring(&rst_engine_region(engine)->header->state.word);
    }
    *owned = fresh;
    return 0;
}

void rst_states_carry(struct rst_engine *engine)
{
    /* Whoever is publishing at this moment finds out by himself, and may be who called this. */
    if (pthread_mutex_trylock(&engine->state_lock)) return;
    struct rst_owned_state *states = (struct rst_owned_state *)(void *)engine->owned_states.data;
    for (size_t i = 0; i < engine->owned_states.size / sizeof *states; i++)
        if (!states[i].released) move_owned(engine, &states[i], 0);
    pthread_mutex_unlock(&engine->state_lock);
}

int rst_state_publish(struct rst_engine *engine, const struct roost_state *state, uint32_t level, uint32_t wait_ms)
{
    if (engine->observer) return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot publish", engine->path);
    bool unowned = state->flags & ROOST_STATE_UNOWNED;
    int err = rst_region_named(rst_engine_region(engine)) ? 0 : rst_engine_look_around(engine);
    if (!err || err == ROOST_EAGAIN) err = rst_slot_own(engine);
    if (err) return err;
    pthread_mutex_lock(&engine->state_lock);
    struct rst_owned_state fresh, *owned = owned_at(engine, state->name);
    err = owned ? move_owned(engine, owned, wait_ms) : 0;
    if (!owned) {
        err = acquire(engine, state->name, wait_ms, &fresh);
        if (!err) {
            rst_buffer_add(&engine->owned_states, &fresh, sizeof fresh);
            if (engine->owned_states.failed) {
                release(engine, &fresh, true);
                engine->owned_states.failed = false; /* the next state may find memory again */
                err = rst_fail(ROOST_ENOMEM, "no memory for a state");
            }
            owned = owned_at(engine, state->name);
        }
    }
    uint64_t index = owned ? owned->slot : 0;
    if (!err) err = publish(engine, owned, state, unowned);
    if (owned && unowned) release(engine, owned, true);
    pthread_mutex_unlock(&engine->state_lock);
    if (err) return err;
    rst_service_start(engine); /* stores it within a second */
    if (level != ROOST_DURABLE) return 0;
    struct rst_outcome outcome;
    return rst_request(engine, RST_OP_STATE_STORE, index, 0, (struct roost_bytes){NULL, 0}, ROOST_DURABLE, wait_ms, &outcome);
}

int rst_state_release(struct rst_engine *engine, struct roost_bytes name)
{
    pthread_mutex_lock(&engine->state_lock);
    struct rst_owned_state *owned = owned_at(engine, name);
    if (owned) release(engine, owned, false);
    pthread_mutex_unlock(&engine->state_lock);
    return owned ? 0
                 : rst_fail(ROOST_ENOENT, "this handle does not own a state \"%.*s\"", (int)name.size, (const char *)name.data);
}

void rst_state_release_all(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->state_lock);
    struct rst_owned_state *states = (struct rst_owned_state *)(void *)engine->owned_states.data;
    for (size_t i = 0; i < engine->owned_states.size / sizeof *states; i++)
        if (!states[i].released) release(engine, &states[i], false);
    pthread_mutex_unlock(&engine->state_lock);
}

/* ---- readers ---- */

static int read_stored(struct rst_engine *engine, struct roost_bytes name, uint8_t *ret_bytes, size_t *ret_size)
{
    uint64_t version;
    int err = stored_version(engine, name, ret_bytes, ret_size, &version);
    return err ? err : *ret_size ? 0 : ROOST_ENOENT;
}

int rst_state_read(struct rst_engine *engine, struct roost_bytes name, uint8_t *ret_bytes, size_t *ret_size, uint32_t *ret_alive)
{
    *ret_alive = ROOST_ALIVE_NO;
    for (int tries = 0; tries < 100; tries++) {
        const struct rst_region *region = rst_engine_region(engine);
        uint64_t incarnation, now, version;
        int index = find_slot(region, name, &incarnation);
        if (index < 0) break;
        bool read = rst_state_slot_read(region, (uint32_t)index, ret_bytes, ret_size, &version);
        bool alive = read && published_by_living(engine, region, (uint32_t)index, version);
        if (find_slot(region, name, &now) != index || now != incarnation) continue; /* given to another name meanwhile */
        if (!read) break; /* claimed, never published: what is stored counts */
        if (alive) *ret_alive = ROOST_ALIVE_YES;
        return 0;
    }
    int err = read_stored(engine, name, ret_bytes, ret_size);
    return err == ROOST_ENOENT ? rst_fail(err, "there is no state \"%.*s\"", (int)name.size, (const char *)name.data) : err;
}

int rst_state_next(struct rst_engine *engine, struct roost_bytes after, uint8_t ret_name[ROOST_NAME_SIZE_MAX + 1],
                   size_t *ret_name_size)
{
    uint8_t name[ROOST_NAME_SIZE_MAX + 1], bytes[ROOST_STATE_SIZE_MAX];
    size_t size, state_size;
    uint64_t incarnation, version;
    bool found = false;
    const struct rst_region *region = rst_engine_region(engine);
    for (uint32_t index = 0; index < slots_real(region); index++) {
        if (!rst_state_slot_name(region, index, name, &size, &incarnation)) continue;
        if (!rst_state_slot_read(region, index, bytes, &state_size, &version)) continue;
        struct roost_bytes candidate = rst_bytes(name, size);
        if (rst_bytes_compare(candidate, after) <= 0) continue;
        if (found && rst_bytes_compare(candidate, rst_bytes(ret_name, *ret_name_size)) >= 0) continue;
        memcpy(ret_name, name, size);
        *ret_name_size = size;
        found = true;
    }
    struct rst_map_name from;
    struct rst_map_entry entry;
    uint8_t key[RST_MAP_KEY_SIZE_MAX], family = RST_MAP_AGENT;
    size_t key_size;
    struct rst_reader reader;
    int stored;
    rst_name_set(&from, RST_MAP_AGENT, after);
    do {
        int err = rst_reader_begin(engine, &reader);
        if (err) return err;
        stored = rst_view_map_next(&reader.view, rst_bytes(&family, 1), rst_name_bytes(&from), true, key, &key_size, &entry);
    } while (rst_reader_end(&reader) == ROOST_EAGAIN);
    if (stored < 0) return stored;
    if (stored && key_size - 1 <= ROOST_NAME_SIZE_MAX &&
        (!found || rst_bytes_compare(rst_bytes(key + 1, key_size - 1), rst_bytes(ret_name, *ret_name_size)) < 0)) {
        memcpy(ret_name, key + 1, key_size - 1);
        *ret_name_size = key_size - 1;
        found = true;
    }
    return found;
}
