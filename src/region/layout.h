/* SPDX-License-Identifier: MIT
 * region/layout.h: the bytes of the region, the shared-memory control block (layer 3). Prose, with who writes what and what a
 * crash leaves: protocol/region.md. Layout: protocol/region.layout.json.
 * Everything is fixed-width and addressed by offsets from the region's start. Whatever is read from here is checked before it
 * is used (R15): another process may have stored garbage. */
#ifndef RST_REGION_LAYOUT_H
#define RST_REGION_LAYOUT_H

#include <stdint.h>

#include <roost/roost.h>

#define RST_REGION_MAGIC UINT64_C(0x4e474552534f4f52) /* "ROOSREGN" */
enum {
    RST_REGION_VERSION = 1,
    RST_SLOT_COUNT = 256,      /* participants */
    RST_SLOT_STAY_COUNT = 240, /* for handles that stay; the rest are borrowed for one call (R12) */
    RST_STATE_SLOT_COUNT = ROOST_STATE_COUNT_MAX,
    RST_LANE_SIZE = 64 << 10,
    RST_LANE_ENTRY_COUNT = 128,
    RST_POOL_STEP_SIZE = 64 << 10, /* payload space for submissions that a lane cannot hold */
    RST_POOL_STEP_COUNT_MAX = 128,
    RST_CHANGE_COUNT = 4096, /* changes that watchers may fall behind */
    RST_OUTCOME_COUNT = 4,   /* last outcomes kept of each client (R19) */
    RST_LIVING_LINE_COUNT = RST_SLOT_COUNT * RST_OUTCOME_COUNT,
    RST_DEAD_LINE_COUNT = 4096, /* outcomes of clients that are gone */
};

/* A futex on a cache line of its own. */
struct rst_word_line {
    uint32_t word, zero[15];
};

/* What whoever holds the role knows of log and blocks. Written whole through a two-copy latch, after each step that moved it. */
struct rst_writer_state {
    uint64_t epoch;       /* of the last frame written, or that the next one will have when fresh */
    uint64_t epoch_fresh; /* 1: no frame of `epoch` was written yet: the next one begins it (and carries its EPOCH record) */
    uint64_t epoch_ended; /* with epoch_fresh: the epoch that ended */
    uint64_t lsn_next, id_next;
    uint64_t lsn_ceiling, id_ceiling;                 /* durable ones: numbers under them may be shown without a sync (R8) */
    uint64_t written_position, written_lsn;           /* end and last LSN of the last frame written */
    uint64_t durable_position, durable_lsn;           /* the same of the last one synced */
    uint64_t completed_position;                      /* everything before it was applied, shown and answered */
    uint64_t replay_position, covered_lsn;            /* of the last checkpoint: what the MANIFEST says */
    uint64_t chunk, chunk_tail;                       /* where the next record goes */
    uint64_t chunk_synced;                            /* chunks below it hold nothing that is not synced */
    uint64_t lsn_ceiling_written, id_ceiling_written; /* those of the last frame written; durable once it is */
    uint64_t syncing_chunk;                           /* 1: a chunk sync was under way (R20) */
    uint64_t segment_next;
    uint64_t closed; /* 1: the log ends with a CLOSED frame */
    uint64_t reserved[9];
};
enum { RST_WRITER_WORD_COUNT = sizeof(struct rst_writer_state) / 8 };

/* What readers need, published together (R23). */
struct rst_snapshot {
    uint64_t visible_lsn;
    uint64_t durable_lsn;
    uint64_t generation;     /* of the MANIFEST */
    uint64_t arena_active;   /* 0 or 1 */
    uint64_t arena_epoch[2]; /* grows before an arena is made empty for new use */
    uint64_t covered_lsn;    /* by segments: the active arena holds what is newer */
    uint64_t last_id;
    uint64_t memory_count, token_count;
    uint64_t reserved[6];
};
enum { RST_SNAPSHOT_WORD_COUNT = sizeof(struct rst_snapshot) / 8 };

struct rst_latch_words_writer {
    uint64_t sequence, zero[7], copies[2][RST_WRITER_WORD_COUNT];
};
struct rst_latch_words_snapshot {
    uint64_t sequence, zero[7], copies[2][RST_SNAPSHOT_WORD_COUNT];
};

struct rst_region_header {
    uint64_t magic;
    uint32_t layout_version, header_size;
    uint64_t total_size;
    uint8_t boot_id[16], root_uuid[16];
    uint64_t device, inode; /* of state.wal */
    uint64_t nonce;
    uint32_t uid, region_kind;
    uint64_t log_size, chunk_size, arena_size;
    uint64_t participants_offset, clients_offset, changes_offset, states_offset, lanes_offset, pool_offset;
    uint64_t arena_offset[2];
    uint64_t pool_step_count;
    uint64_t ready; /* stored last, = nonce */
    uint64_t zero[2];
    struct rst_word_line moved;        /* 1: look for another region (R11) */
    struct rst_word_line commit;       /* grows at each commit that became visible */
    struct rst_word_line generation;   /* grows when the set of segments changed */
    struct rst_word_line state;        /* grows at each state publish */
    struct rst_word_line doorbell;     /* grows at each submission: whoever holds the role sleeps on it */
    struct rst_word_line role_changed; /* grows when the role is taken or given up */
    uint64_t role, role_zero[7];       /* R16: bit 63 HELD, bits 48-62 slot, bits 0-47 epoch */
    uint32_t participant_high, wanted; /* slots ever taken are below it; wanted: somebody asks for the role */
    int32_t broken;                    /* 0, or the error that stopped all writing (R9, R3) */
    uint32_t state_slots_real;         /* state slots below it are real memory */
    uint64_t broken_position;          /* where in the log, for the message */
    uint64_t commit_count, sync_count, takeover_count;
    uint64_t dead_client_head; /* how many client records were ever moved to the ring of the dead */
    struct rst_latch_words_writer writer;
    struct rst_latch_words_snapshot snapshot;
    uint64_t pool_owner[RST_POOL_STEP_COUNT_MAX]; /* 0 free; else slot + 1 << 48 | low 48 bits of the incarnation */
    uint32_t pool_allocated[RST_POOL_STEP_COUNT_MAX];
};

struct rst_participant {
    uint64_t client;      /* 0: nobody (or not yet registered) */
    uint64_t incarnation; /* grows each time the slot is taken */
    int32_t pid;          /* for display */
    uint32_t lane_allocated;
    int64_t attached_ns;
    char command[24]; /* for display */
    uint64_t leaving; /* 1: its handle is closing and will not write any more: no reason for another closer to stay */
    uint64_t reserved[8];
};

struct rst_client_line { /* struct rst_client_record (format/manifest.h): the outcome of one submission */
    uint64_t client, sequence, lsn, id;
    int32_t result;
    uint32_t reserved;
};

struct rst_change {
    uint64_t lsn, offset, number;
    uint32_t chunk, kind; /* kind: enum rst_record_kind; 0: nothing to see at this LSN */
};

/* Lanes. An entry's word is sequence << 3 | state. */
enum rst_lane_state { RST_LANE_EMPTY = 0, RST_LANE_SUBMITTED = 1, RST_LANE_TAKEN = 2, RST_LANE_DONE = 3, RST_LANE_CANCELLED = 4 };
struct rst_lane_entry {
    uint64_t word;
    uint64_t
        offset; /* of the submission in the region: inside the lane's data or the pool; op_count results (u64) follow it, 8-aligned */
    uint32_t size, result_count;
    int32_t result;
    uint32_t failed_index;
    uint64_t lsn, id, actual;
    uint64_t reserved;
};
struct rst_lane {
    uint64_t submitted, submitted_zero[7]; /* the client's: last sequence stored */
    uint64_t consumed, consumed_zero[7];   /* the writer's: last sequence answered */
    struct rst_word_line completed;        /* grows at each answer; the client sleeps on it */
    struct rst_lane_entry entries[RST_LANE_ENTRY_COUNT];
    uint8_t data[RST_LANE_SIZE - 192 - RST_LANE_ENTRY_COUNT * 64];
};

/* Agent states. */
struct rst_state_slot {
    uint64_t incarnation;       /* 0: free; grows each time the slot is given to a name */
    uint64_t persisted_version; /* the version last stored in the blocks */
    uint64_t owner_client;      /* 0: unowned */
    uint64_t owner_incarnation;
    uint32_t owner_slot; /* its participant */
    int32_t owner_pid;
    uint32_t name_size, reserved;
    uint8_t name[256];
    uint64_t
        owner_version; /* the first version that this owner published; UINT64_MAX: none yet. An older value is a former owner's */
    uint64_t zero[17];
    uint64_t sequence, sequence_zero[7]; /* the latch's */
    uint64_t copies[2][ROOST_STATE_SIZE_MAX / 8];
};

_Static_assert(ROOST_SUBMIT_COUNT_MAX < RST_LANE_ENTRY_COUNT, "the rest is for calls that wait");
_Static_assert(sizeof(struct rst_lane) == RST_LANE_SIZE, "a lane fills its space");
_Static_assert(sizeof(struct rst_lane_entry) == 64, "an entry is one cache line");
_Static_assert(sizeof(struct rst_participant) == 128, "two cache lines");
_Static_assert(sizeof(struct rst_state_slot) % 64 == 0, "slots begin on cache lines");

#endif
