/* SPDX-License-Identifier: MIT
 * engine/clients.c: what became of whose submission (layer 7, R19).
 * The region keeps the last outcomes of each slot's client, and in a ring those of clients that are gone; checkpoints store them in
 * MANIFEST, replay brings back what is younger. An older receipt is answered with ROOST_EUNKNOWN, never with "not applied". */
#include <stdlib.h>

#include "base/atomic.h"
#include "base/error.h"
#include "engine/engine.h"

static void store_line(struct rst_client_line *line, const struct rst_client_record *record)
{
    /* crash: 1 client 0: the line says nothing; the heir's replay of the consumed lists fills it again */
    if (rst_load_u64(&line->client) != record->client) rst_store_u64(&line->client, 0);
    rst_fence_release();
    rst_store_relaxed_u64(&line->sequence, record->sequence);
    rst_store_relaxed_u64(&line->lsn, record->lsn);
    rst_store_relaxed_u64(&line->id, record->id);
    rst_store_relaxed_u32((uint32_t *)(void *)&line->result, (uint32_t)record->result);
    rst_store_u64(&line->client, record->client);
}

static struct rst_client_record load_line(const struct rst_client_line *line)
{
    return (struct rst_client_record){
        .client = rst_load_u64(&line->client),
        .sequence = rst_load_relaxed_u64(&line->sequence),
        .lsn = rst_load_relaxed_u64(&line->lsn),
        .id = rst_load_relaxed_u64(&line->id),
        .result = (int32_t)rst_load_relaxed_u32((const uint32_t *)(const void *)&line->result),
    };
}

/* The newer of two outcomes that share a line stays. */
static void keep_newer(struct rst_client_line *line, const struct rst_client_record *record)
{
    if (rst_load_relaxed_u64(&line->sequence) <= record->sequence) store_line(line, record);
}

static void remember_dead(struct rst_engine *engine, const struct rst_client_record *record)
{
    struct rst_region_header *header = rst_commit_region(engine)->header;
    struct rst_client_line *dead = rst_commit_region(engine)->clients + RST_LIVING_LINE_COUNT;
    uint64_t head = rst_load_u64(&header->dead_client_head);
    /* Replay names a client again and again: as for the living, few of its outcomes are kept. */
    for (uint64_t back = 1; back <= head && back <= RST_LIVING_LINE_COUNT; back++) {
        struct rst_client_line *line = &dead[(head - back) % RST_DEAD_LINE_COUNT];
        if (line->client != record->client || line->sequence % RST_OUTCOME_COUNT != record->sequence % RST_OUTCOME_COUNT)
            continue;
        keep_newer(line, record);
        return;
    }
    store_line(&dead[head % RST_DEAD_LINE_COUNT], record);
    rst_store_u64(&header->dead_client_head, head + 1);
}

void rst_client_remember(struct rst_engine *engine, int slot, const struct rst_client_record *record)
{
    if (slot < 0) {
        remember_dead(engine, record);
        return;
    }
    struct rst_client_line *line =
        &rst_commit_region(engine)->clients[(uint64_t)slot * RST_OUTCOME_COUNT + record->sequence % RST_OUTCOME_COUNT];
    struct rst_client_record before = load_line(line);
    if (before.client == record->client) {
        keep_newer(line, record);
        return;
    }
    if (before.client) remember_dead(engine, &before);
    store_line(line, record);
}

int rst_client_outcome(const struct rst_engine *engine, uint64_t client, uint64_t sequence, uint64_t *ret_lsn, uint64_t *ret_id)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < RST_LIVING_LINE_COUNT + RST_DEAD_LINE_COUNT; i++) {
        if (rst_load_u64(&rst_commit_region(engine)->clients[i].client) != client) continue;
        struct rst_client_record record = load_line(&rst_commit_region(engine)->clients[i]);
        if (record.sequence > last) last = record.sequence;
        if (record.sequence != sequence) continue;
        *ret_lsn = record.lsn;
        *ret_id = record.id;
        return record.result;
    }
    if (last > sequence) return ROOST_EUNKNOWN;
    uint32_t high = rst_load_seq_u32(&rst_commit_region(engine)->header->participant_high);
    for (uint32_t slot = 0; slot < high && slot < RST_SLOT_COUNT; slot++) {
        if (rst_load_u64(&rst_commit_region(engine)->participants[slot].client) != client) continue;
        struct rst_lane *lane = rst_lane_of(rst_commit_region(engine), slot);
        if (rst_load_u64(&lane->consumed) >= sequence) return ROOST_EUNKNOWN;
        if (rst_load_u64(&lane->submitted) >= sequence) return ROOST_ETIMEDOUT;
        /* Whoever lives may still come to that number: a receipt of it was made up, and nothing can be promised. */
        bool alive = (int)slot == engine->slot || rst_participant_alive(engine->log.file, slot);
        return alive ? ROOST_EUNKNOWN : ROOST_ECANCELED;
    }
    /* Nobody knows the client: it never had a write answered, or it is longer ago than is kept. */
    bool all_kept = rst_load_u64(&rst_commit_region(engine)->header->dead_client_head) < RST_DEAD_LINE_COUNT;
    return last || all_kept ? ROOST_ECANCELED : ROOST_EUNKNOWN;
}

int rst_client_collect(const struct rst_engine *engine, struct rst_manifest *manifest)
{
    manifest->clients = calloc(RST_LIVING_LINE_COUNT + RST_DEAD_LINE_COUNT, sizeof *manifest->clients);
    if (!manifest->clients) return rst_fail(ROOST_ENOMEM, "no memory for MANIFEST");
    uint32_t count = 0;
    uint64_t head = rst_load_u64(&rst_commit_region(engine)->header->dead_client_head);
    uint64_t dead = head < RST_DEAD_LINE_COUNT ? head : RST_DEAD_LINE_COUNT;
    for (uint64_t i = 0; i < dead + RST_LIVING_LINE_COUNT; i++) {
        /* The dead oldest first, so that reading them back keeps their order; then the living. */
        uint64_t line = i < dead ? RST_LIVING_LINE_COUNT + (head - dead + i) % RST_DEAD_LINE_COUNT : i - dead;
        struct rst_client_record record = load_line(&rst_commit_region(engine)->clients[line]);
        if (record.client) manifest->clients[count++] = record;
    }
    manifest->header.client_count = count;
    return 0;
}
