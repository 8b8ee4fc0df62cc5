/* SPDX-License-Identifier: MIT
 * region/lanes.c: one client's submissions and their answers (layer 3). */
#include "region/lanes.h"

#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"

static uint64_t word_of(uint64_t sequence, enum rst_lane_state state) { return sequence << 3 | (uint64_t)state; }

struct rst_lane *rst_lane_of(const struct rst_region *region, uint32_t slot)
{
    return (struct rst_lane *)(void *)(region->base + region->places.lanes + (uint64_t)(slot % RST_SLOT_COUNT) * RST_LANE_SIZE);
}

static struct rst_lane_entry *entry_of(struct rst_lane *lane, uint64_t sequence)
{
    return &lane->entries[sequence % RST_LANE_ENTRY_COUNT];
}

void rst_lane_client_begin(struct rst_lane_client *client, const struct rst_region *region, uint32_t slot, uint64_t incarnation)
{
    memset(client, 0, sizeof *client);
    client->region = region;
    client->slot = slot;
    client->incarnation = incarnation;
    client->lane = rst_lane_of(region, slot);
    client->sequence = rst_load_u64(&client->lane->submitted);
}

uint64_t rst_lane_submission_max(const struct rst_region *region)
{
    uint64_t pool = region->places.pool_step_count * RST_POOL_STEP_SIZE, ring = region->places.log_size / 4;
    return pool < ring ? pool : ring;
}

/* ---- space ---- */

/* A place of `size` bytes in the lane's data, a ring in which no submission wraps. */
static bool take_data(struct rst_lane_client *client, uint64_t size, uint64_t *ret_begin)
{
    uint64_t ring = sizeof client->lane->data, head = client->data_head;
    if (head % ring + size > ring) head += ring - head % ring; /* skip the rest of the lap */
    if (head + size - client->data_tail > ring) return false;
    *ret_begin = head % ring;
    client->data_head = head + size;
    return true;
}

static uint64_t owner_word(const struct rst_lane_client *client)
{
    return (uint64_t)(client->slot + 1) << 48 | (client->incarnation & ((UINT64_C(1) << 48) - 1));
}

static void free_steps(const struct rst_region *region, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) rst_store_u64(&region->header->pool_owner[first + i], 0);
}

/* Adjacent steps of the pool, each taken by one compare-and-swap; a step's owner is known from the moment it is taken. */
static int take_steps(struct rst_lane_client *client, uint32_t count, uint32_t *ret_first)
{
    struct rst_region_header *header = client->region->header;
    uint32_t step_count = (uint32_t)client->region->places.pool_step_count;
    for (uint32_t first = 0; first + count <= step_count; first++) {
        uint32_t taken = 0;
        while (taken < count && rst_cas_u64(&header->pool_owner[first + taken], 0, owner_word(client))) taken++;
        if (taken < count) {
            free_steps(client->region, first, taken);
            first += taken;
            continue;
        }
        for (uint32_t i = first; i < first + count; i++) {
            if (rst_load_u32(&header->pool_allocated[i])) continue;
            int err = rst_region_allocate(client->region, client->region->places.pool + (uint64_t)i * RST_POOL_STEP_SIZE,
                                          RST_POOL_STEP_SIZE);
            if (err) {
                free_steps(client->region, first, count);
                return err;
            }
            rst_store_u32(&header->pool_allocated[i], 1);
        }
        *ret_first = first;
        return 0;
    }
    return ROOST_EAGAIN;
}

int rst_lane_submit(struct rst_lane_client *client, const struct rst_buffer *submission, uint32_t result_count,
                    uint64_t *ret_sequence)
{
    uint64_t sequence = client->sequence + 1, begin = 0;
    struct rst_lane_entry *entry = entry_of(client->lane, sequence);
    struct rst_lane_space *space = &client->spaces[sequence % RST_LANE_ENTRY_COUNT];
    /* An entry is used again only when the writer is past its former submission, cancelled ones included: it goes in order. */
    if (space->used || rst_load_u64(&client->lane->consumed) + RST_LANE_ENTRY_COUNT < sequence) return ROOST_EAGAIN;
    uint64_t size = rst_align_up(submission->size, 8) + (uint64_t)result_count * 8;
    memset(space, 0, sizeof *space);
    if (size <= sizeof client->lane->data / 2) {
        if (!take_data(client, size, &begin)) return ROOST_EAGAIN;
        space->data_end = client->data_head;
        begin += (uint64_t)((uint8_t *)client->lane - client->region->base) + offsetof(struct rst_lane, data);
    } else {
        uint64_t step_count = (size + RST_POOL_STEP_SIZE - 1) / RST_POOL_STEP_SIZE;
        if (size > rst_lane_submission_max(client->region))
            return rst_fail(ROOST_E2BIG,
                            "a batch of %llu bytes; at most %llu fit into one commit of this root: split it, or make the root "
                            "with a greater --log-size",
                            (unsigned long long)size, (unsigned long long)rst_lane_submission_max(client->region));
        int err = take_steps(client, (uint32_t)step_count, &space->step);
        if (err) return err;
        space->step_count = (uint32_t)step_count;
        begin = client->region->places.pool + (uint64_t)space->step * RST_POOL_STEP_SIZE;
    }
    space->used = true;
    memcpy(client->region->base + begin, submission->data, submission->size);
    entry->offset = begin;
    entry->size = (uint32_t)submission->size;
    entry->result_count = result_count;
    entry->lsn = entry->id = entry->actual = 0;
    entry->result = 0;
    client->sequence = sequence;
    client->in_flight++;
    /* crash: 1 the entry's fields are stored, its word is not: nobody sees it
     *        2 the word says SUBMITTED: whoever drains the lane commits it, the author being dead or not */
    rst_store_u64(&entry->word, word_of(sequence, RST_LANE_SUBMITTED)); /* pairs with the load in rst_lane_take */
    rst_store_seq_u64(&client->lane->submitted, sequence);              /* before the caller looks at the role word (R16) */
    *ret_sequence = sequence;
    return 0;
}

int rst_lane_answered(const struct rst_lane_client *client, uint64_t sequence, struct rst_lane_answer *ret_answer)
{
    struct rst_lane_entry *entry = entry_of(client->lane, sequence);
    if (!client->spaces[sequence % RST_LANE_ENTRY_COUNT].used) return ROOST_ENOENT;
    uint64_t word = rst_load_u64(&entry->word); /* pairs with the store in rst_lane_answer */
    if (word >> 3 != sequence) return ROOST_ENOENT;
    memset(ret_answer, 0, sizeof *ret_answer);
    if ((word & 7) == RST_LANE_CANCELLED) {
        ret_answer->result = ROOST_ECANCELED;
        return 1;
    }
    if ((word & 7) != RST_LANE_DONE) return 0;
    ret_answer->result = entry->result;
    ret_answer->failed_index = entry->failed_index;
    ret_answer->lsn = entry->lsn;
    ret_answer->id = entry->id;
    ret_answer->actual = entry->actual;
    ret_answer->result_count = entry->result_count;
    ret_answer->results = (const uint64_t *)(const void *)(client->region->base + entry->offset + rst_align_up(entry->size, 8));
    return 1;
}

void rst_lane_release(struct rst_lane_client *client, uint64_t sequence)
{
    struct rst_lane_space *space = &client->spaces[sequence % RST_LANE_ENTRY_COUNT];
    if (!space->used || space->freed) return;
    if (space->step_count) free_steps(client->region, space->step, space->step_count);
    space->freed = true;
    client->in_flight--;
    struct rst_lane_entry *entry = entry_of(client->lane, sequence);
    if (rst_load_u64(&entry->word) != word_of(sequence, RST_LANE_CANCELLED))
        rst_store_u64(&entry->word, word_of(sequence, RST_LANE_EMPTY));
    /* Data space is a ring: what was freed out of order waits for those before it. */
    uint64_t oldest = client->sequence >= RST_LANE_ENTRY_COUNT ? client->sequence - RST_LANE_ENTRY_COUNT + 1 : 1;
    for (uint64_t s = oldest; s <= client->sequence; s++) {
        struct rst_lane_space *each = &client->spaces[s % RST_LANE_ENTRY_COUNT];
        if (!each->used) continue;
        if (!each->freed) {
            if (!each->data_end) continue;
            break;
        }
        if (each->data_end) client->data_tail = each->data_end;
        each->used = false;
    }
}

void rst_lane_abandon(struct rst_lane_client *client, uint64_t sequence)
{
    if (sequence <= client->sequence && sequence + RST_LANE_ENTRY_COUNT > client->sequence)
        client->spaces[sequence % RST_LANE_ENTRY_COUNT].abandoned = true;
}

bool rst_lane_reap(struct rst_lane_client *client)
{
    bool any = false;
    uint64_t oldest = client->sequence >= RST_LANE_ENTRY_COUNT ? client->sequence - RST_LANE_ENTRY_COUNT + 1 : 1;
    for (uint64_t sequence = oldest; sequence <= client->sequence; sequence++) {
        struct rst_lane_answer answer;
        const struct rst_lane_space *space = &client->spaces[sequence % RST_LANE_ENTRY_COUNT];
        if (!space->used || space->freed || !space->abandoned || rst_lane_answered(client, sequence, &answer) != 1) continue;
        rst_lane_release(client, sequence);
        any = true;
    }
    return any;
}

int rst_lane_cancel(struct rst_lane_client *client, uint64_t sequence)
{
    struct rst_lane_entry *entry = entry_of(client->lane, sequence);
    /* Whoever changes the word first has it: the writer by TAKEN, the client by CANCELLED. Cancelled once it stays so. */
    if (rst_cas_u64(&entry->word, word_of(sequence, RST_LANE_SUBMITTED), word_of(sequence, RST_LANE_CANCELLED))) return 0;
    return rst_load_u64(&entry->word) == word_of(sequence, RST_LANE_CANCELLED) ? 0 : ROOST_EBUSY;
}

/* ---- the writer's side ---- */

static bool place_right(const struct rst_region *region, uint32_t slot, uint64_t offset, uint64_t size)
{
    uint64_t lane_begin = region->places.lanes + (uint64_t)slot * RST_LANE_SIZE;
    uint64_t pool_begin = region->places.pool, pool_end = pool_begin + region->places.pool_step_count * RST_POOL_STEP_SIZE;
    if (offset % 8 || size > UINT32_MAX) return false;
    if (offset >= lane_begin && offset <= lane_begin + RST_LANE_SIZE) return size <= lane_begin + RST_LANE_SIZE - offset;
    if (offset < pool_begin || offset > pool_end || size > pool_end - offset) return false;
    for (uint64_t step = (offset - pool_begin) / RST_POOL_STEP_SIZE; step * RST_POOL_STEP_SIZE < offset - pool_begin + size;
         step++)
        if (!rst_load_u32(&region->header->pool_allocated[step])) return false;
    return true;
}

int rst_lane_take(const struct rst_region *region, uint32_t slot, uint64_t after, struct rst_buffer *ret_bytes,
                  struct rst_lane_item *ret_item, size_t *ret_size)
{
    struct rst_lane *lane = rst_lane_of(region, slot);
    for (uint64_t sequence = after + 1; sequence <= after + RST_LANE_ENTRY_COUNT; sequence++) {
        struct rst_lane_entry *entry = entry_of(lane, sequence);
        uint64_t word = rst_load_u64(&entry->word); /* pairs with the store in rst_lane_submit */
        if (word >> 3 != sequence) return 0;
        enum rst_lane_state state = word & 7;
        if (state == RST_LANE_CANCELLED || state == RST_LANE_EMPTY || state == RST_LANE_DONE) {
            /* Nobody answers it; with all before it answered it is behind us. (Its writer may have died between DONE and consumed.) */
            if (rst_load_u64(&lane->consumed) + 1 == sequence) rst_store_seq_u64(&lane->consumed, sequence);
            continue;
        }
        /* A predecessor may have died after TAKEN: then it is ours to do. */
        if (state == RST_LANE_SUBMITTED && !rst_cas_u64(&entry->word, word, word_of(sequence, RST_LANE_TAKEN))) {
            sequence--;
            continue;
        }
        uint64_t offset = entry->offset, size = entry->size, result_count = entry->result_count;
        *ret_item = (struct rst_lane_item){slot, rst_load_u64(&region->participants[slot].client), sequence, entry};
        *ret_size = 0;
        if (place_right(region, slot, offset, rst_align_up(size, 8) + result_count * 8)) {
            rst_buffer_add(ret_bytes, region->base + offset, (size_t)size);
            *ret_size = (size_t)size;
        }
        return ret_bytes->failed ? rst_fail(ROOST_ENOMEM, "no memory to take a submission") : 1;
    }
    return 0;
}

void rst_lane_put_back(const struct rst_lane_item *item)
{
    rst_cas_u64(&item->entry->word, word_of(item->sequence, RST_LANE_TAKEN), word_of(item->sequence, RST_LANE_SUBMITTED));
}

static bool unanswered(uint64_t word, uint64_t sequence)
{
    return word == word_of(sequence, RST_LANE_TAKEN) || word == word_of(sequence, RST_LANE_SUBMITTED);
}

void rst_lane_answer(const struct rst_region *region, const struct rst_lane_item *item, const struct rst_lane_answer *answer)
{
    struct rst_lane *lane = rst_lane_of(region, item->slot);
    struct rst_lane_entry *entry = entry_of(lane, item->sequence);
    uint64_t word = rst_load_u64(&entry->word);
    /* crash: 1 results stored, word still TAKEN: the heir answers again from the frame
     *        2 word DONE, consumed not raised: the heir passes over it
     *        An answered, read and perhaps reused entry is never touched again: its word names another sequence or state. */
    if (unanswered(word, item->sequence)) {
        uint64_t offset = entry->offset, size = entry->size;
        uint32_t result_count = entry->result_count;
        if (answer->results && place_right(region, item->slot, offset, rst_align_up(size, 8) + (uint64_t)result_count * 8))
            for (uint32_t i = 0; i < answer->result_count && i < result_count; i++)
                rst_put_u64(region->base + offset + rst_align_up(size, 8) + (uint64_t)i * 8, answer->results[i]);
        entry->result = answer->result;
        entry->failed_index = answer->failed_index;
        entry->lsn = answer->lsn;
        entry->id = answer->id;
        entry->actual = answer->actual;
        rst_store_u64(&entry->word, word_of(item->sequence, RST_LANE_DONE)); /* pairs with the load in rst_lane_answered */
    }
    /* Not past what still waits: an heir answers what its frame names, and a request that lies before that in the lane is in no frame. */
    uint64_t consumed = rst_load_u64(&lane->consumed);
    if (consumed >= item->sequence) return;
    if (item->sequence - consumed > RST_LANE_ENTRY_COUNT)
        consumed = item->sequence - RST_LANE_ENTRY_COUNT; /* garbage: not one by one */
    while (consumed < item->sequence &&
           (consumed + 1 == item->sequence || !unanswered(rst_load_u64(&entry_of(lane, consumed + 1)->word), consumed + 1)))
        consumed++;
    rst_store_u64(&lane->consumed, consumed);
}

void rst_lane_wake(const struct rst_region *region, uint32_t slot)
{
    rst_region_ring(&rst_lane_of(region, slot)->completed.word);
}

/* Exactly what rst_lane_take would find or pass. An entry that is answered and not consumed counts: whoever answered it, if he lives, is
 * about to raise `consumed`, and must not do that to the next client's lane (R13). */
bool rst_lane_waiting(const struct rst_region *region, uint32_t slot)
{
    if (!rst_load_u32(&region->participants[slot].lane_allocated)) return false;
    struct rst_lane *lane = rst_lane_of(region, slot);
    (void)rst_load_seq_u64(&lane->submitted); /* R16: what was stored before it is seen from here on */
    uint64_t next = rst_load_seq_u64(&lane->consumed) + 1;
    return rst_load_u64(&entry_of(lane, next)->word) >> 3 == next;
}

bool rst_lanes_waiting(const struct rst_region *region)
{
    uint32_t high = rst_load_seq_u32(&region->header->participant_high);
    for (uint32_t slot = 0; slot < high && slot < RST_SLOT_COUNT; slot++)
        if (rst_lane_waiting(region, slot)) return true;
    return false;
}
