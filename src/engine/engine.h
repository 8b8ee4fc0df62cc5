/* SPDX-License-Identifier: MIT
 * engine/engine.h: one handle of a root (layer 7): who may do what, when, and what the others see.
 *
 * create.c      making a root                   handles.c     all handles of a process, for fork
 * root.c        a handle opened and closed      attach.c      its region found, made, replaced
 * slot.c        its slot and lane               unopened.c    an observer's view where nobody is
 * submit.c      a client's side of a write
 * role.c        take, rest, serve               commit.c      the writer's side: decide a group, carry it out
 * group.c       taken from lanes, answered      frame.c       records and frames written and synced
 * notify.c      descriptors for event loops
 * show.c        applied, shown                  requests.c    what is answered without being logged
 * recover.c     cold start and takeover         checkpoint.c  live segment -> file, log space freed
 * read.c        views                           states.c      agents' states
 * watch.c       sleeping on changes             verify.c      check, stats
 * clients.c     outcomes of submissions         arena.c       the live segments' memory
 * rebuild.c     the index from the blocks        past.c        what the old index knows
 * mend.c        a root whose index is gone       scrub.c       check: all bytes of blocks and log
 * clone.c       backup, restore                  offline.c     a root that is not one yet
 * salvage.c     what is left of a damaged root   rescue.c      into a new one
 *
 * Locks, in this order: slot_lock (which slot this handle has), commit_lock (the role, everything that writes; R17), lane_lock
 * (this handle's lane), view_lock (the list of open segments). Nothing else waits while holding one of the last two. */
#ifndef RST_ENGINE_ENGINE_H
#define RST_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/atomic.h"
#include "format/manifest.h"
#include "index/sealed.h"
#include "index/search.h"
#include "model/apply.h"
#include "model/decide.h"
#include "region/lanes.h"
#include "region/participants.h"
#include "store/log.h"
#include "store/manifest.h"
#include "store/reserve.h"

enum {
    RST_WAIT_SLICE_MS = 10,            /* how long a waiting client sleeps before it looks again at who holds the role (R16) */
    RST_SYNC_DELAY_MS = 1000,          /* level process: synced at most so much later */
    RST_SEAL_SIZE_MIN = 256 << 10,     /* at the last close a live segment below this stays in the log */
    RST_INLINE_PAYLOAD_MAX = 64 << 10, /* larger payloads go into their extent first (R4) */
    RST_LEASE_COUNT = 4096,            /* R8 */
};

/* The open segments of one generation, shared by all readers of this process. */
struct rst_segment_set {
    uint64_t generation, covered_lsn;
    uint32_t reference_count; /* under view_lock */
    uint32_t count;
    struct rst_manifest manifest;
    struct rst_sealed *sealed;
    uint64_t *mapped; /* bytes mapped of each */
};

/* A region as this process maps it, and the live segments in it. Once it was shown to other threads it stays as it is until the handle
 * is closed: they may be inside. */
struct rst_mapping {
    struct rst_mapping *older; /* the one that it replaced */
    uint64_t log_sequence;     /* of a view of a root that nobody has open: the log's header that it was made from */
    struct rst_region region;
    struct rst_live live[2];
};

/* A lane in a region that was replaced: its answers can still be read there, and nobody adds any. */
struct rst_old_lane {
    struct rst_old_lane *next;
    uint64_t client;
    struct rst_lane_client lane;
};

struct rst_engine {
    char *path; /* absolute, for messages */
    struct roost_options options;
    struct roost_settings settings;
    int root_directory, index_directory;
    struct rst_log log;
    struct rst_blocks blocks;
    struct rst_mapping *mapping;         /* under commit_lock: rst_commit_region; also while it is still being made */
    void *shown;                         /* struct rst_mapping: what any thread may look at: rst_engine_region */
    struct rst_region_identity identity; /* under commit_lock */
    uint64_t device, inode;              /* of state.wal as it was opened */
    bool observer, threadless;
    bool mending;             /* ROOST_OPEN_REBUILD: a damaged index is made anew while opening */
    bool rebuilt;             /* it was */
    bool index_damaged;       /* mending: a segment that replay needed cannot be read */
    uint64_t rebuild_missing; /* and so many memories were not found again */
    bool opened;              /* given to its user: other threads may be inside */
    bool forked;              /* set in a fork's child: every call answers ROOST_EFORK */
    int32_t process_id;

    /* A slot that is borrowed (R12) is given back when the last thread inside a write has left it. Changed under slot_lock and
     * commit_lock. */
    pthread_mutex_t slot_lock;
    int slot; /* -1: none */
    bool slot_borrowed;
    uint32_t slot_users;

    /* The lane, under lane_lock. */
    pthread_mutex_t lane_lock;
    uint64_t client;
    struct rst_lane_client lane;
    struct rst_flight {
        struct roost_receipt receipt;
        uint64_t order;
        void *user;
        bool used, settled; /* settled: its region was replaced; result and receipt say what became of it */
        int result;
        uint32_t failed_index;
        uint64_t actual;
    } flights[ROOST_SUBMIT_COUNT_MAX]; /* of roost_submit */
    uint64_t flight_order;             /* counts them */
    struct rst_buffer spare_submission;
    void *completions_notify; /* struct rst_notify: for event loops; any thread */
    struct rst_old_lane *old_lanes;

    /* The role, under commit_lock. */
    pthread_mutex_t commit_lock;
    bool role_held;
    bool abandon; /* the role must go to an heir as soon as everything is answered */
    bool reserve_kept;
    struct rst_writer_state writer;
    struct rst_snapshot snapshot;
    int64_t last_work_ns, unsynced_since_ns;
    int64_t yielded_ns;   /* when it last let go of the role because somebody asked for it */
    int64_t own_limit_ns; /* when this process last met a limit of its own: others go first for a while (R9) */
    struct rst_decide decide;
    struct rst_analyzer *analyzer;
    struct rst_buffer taken, frame_bytes, frame_body, scratch;
    struct rst_buffer unsynced; /* frames that no sync has covered, from unsynced_position on (R9) */
    uint64_t unsynced_position;
    struct rst_buffer external_chunks; /* u32: chunks with large payloads of frames that are not durable yet */
    int last_error;                    /* of a sync that failed after its writes were acknowledged; told by close */

    /* The service thread: serves the lanes while the role is held. */
    pthread_t service;
    bool service_running;
    uint32_t service_word, service_stop; /* futexes of this process */
    int64_t glanced_ns;                  /* when the kernel was last asked whether the region has a name; under view_lock */

    pthread_mutex_t view_lock;
    struct rst_segment_set *segments;
    struct rst_analyzer *spare_analyzers[8];

    pthread_mutex_t state_lock;
    struct rst_buffer owned_states; /* struct rst_owned_state (states.c) */
    struct rst_engine *next;        /* all handles of this process, for fork */
};

/* For who holds neither slot_lock nor commit_lock and is not inside rst_slot_use: a slot that is borrowed comes and goes. */
static inline int rst_engine_slot(const struct rst_engine *engine)
{
    return (int)rst_load_u32((const uint32_t *)(const void *)&engine->slot);
}
static inline void rst_engine_set_slot(struct rst_engine *engine, int slot)
{
    rst_store_u32((uint32_t *)(void *)&engine->slot, (uint32_t)slot);
}

/* What any thread may look at. It may be replaced at any time (but stays mapped): a function that asks more than one question of it takes
 * it once. */
static inline const struct rst_mapping *rst_engine_shown(const struct rst_engine *engine)
{
    return rst_load_pointer(&engine->shown); /* pairs with show_mapping in attach.c */
}
static inline const struct rst_region *rst_engine_region(const struct rst_engine *engine)
{
    return &rst_engine_shown(engine)->region;
}
/* For the writer's work, under commit_lock. */
static inline const struct rst_region *rst_commit_region(const struct rst_engine *engine) { return &engine->mapping->region; }

static inline uint64_t rst_engine_client(const struct rst_engine *engine) { return rst_load_u64(&engine->client); }

/* ---- create.c ---- */
/* 0, or ROOST_EFILESYSTEM with the name of the kind that is refused. */
int rst_root_refuse(int file, const char *path);
/* A folder without state.wal: 0, or ROOST_ECORRUPT with what to do when it was a root that lost it. */
int rst_root_was_none(int directory, const char *path);
/* The folder of a root that is to be: made if there is none, opened. Negative: why not, in words. */
int rst_root_folder(const char *path);
/* Why the folder of a root could not be opened, in words. Returns the error. */
int rst_root_unopened(const char *path, int err);
int rst_root_sync_parent(int directory, const char *path);

/* ---- handles.c ---- */
void rst_handle_enter(struct rst_engine *engine);
void rst_handle_leave(struct rst_engine *engine);

/* ---- root.c ---- */
int rst_root_create(const char *path, const struct roost_settings *settings);
int rst_engine_open(const char *path, const struct roost_options *options, bool threadless, struct rst_engine **ret_engine);
int rst_engine_close(struct rst_engine *engine);
/* A handle of nothing yet, for offline.c: closes what it has when it is freed. NULL: no memory. */
struct rst_engine *rst_engine_bare(const char *path, bool observer);
void rst_engine_bare_free(struct rst_engine *engine);
/* Refuses a forked handle; every entry point of the API begins with it. */
int rst_engine_check(const struct rst_engine *engine);
void rst_engine_log(const struct rst_engine *engine, enum roost_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- attach.c ---- */
/* What the log's header says now, and who owns the file: engine->identity. Under commit_lock once the handle is open. */
int rst_engine_identify(struct rst_engine *engine);
/* A region to work with: the one that is there, or a new one. Under commit_lock. deadline: monotonic, ns. */
int rst_engine_attach(struct rst_engine *engine, int64_t deadline);
/* Is the root still at its path? 0 or ROOST_EMOVED. */
int rst_engine_still_there(const struct rst_engine *engine);
/* Is the root still at its path, and the region still the one? 0; ROOST_EMOVED; or, after attaching anew, ROOST_EAGAIN. */
int rst_engine_look_around(struct rst_engine *engine);
/* false: state.wal was removed; what is written to it is lost. */
bool rst_engine_named(const struct rst_engine *engine);
/* ROOST_EAGAIN: attached to another region; 0: this one is right; else an error: the old one stays. Without locks. */
int rst_engine_attach_anew(struct rst_engine *engine);
/* For reads: attaches anew if that can be had at once. At most ten looks a second ask the kernel. */
void rst_engine_glance(struct rst_engine *engine);
void rst_mapping_attach_arenas(struct rst_mapping *mapping);
/* At close, when no other thread is inside any more. */
void rst_mappings_free(struct rst_engine *engine);

/* ---- unopened.c: for observers, under commit_lock ---- */
/* Recovers into a private region, engine->mapping's. ROOST_EAGAIN: somebody opened the root meanwhile; ROOST_EROFS: it must be opened once
 * by a process that may write. */
int rst_unopened_view(struct rst_engine *engine);
/* Does the mapping show the root as it was left, and has nobody opened it since? */
bool rst_unopened_current(const struct rst_engine *engine);

/* ---- slot.c ---- */
/* For the length of a write: a slot and lane, borrowed when the handle has none of its own (R12). Calls nest. */
int rst_slot_use(struct rst_engine *engine, int64_t deadline);
void rst_slot_unuse(struct rst_engine *engine);
/* Has the handle a slot that stays, at this moment? Any thread, waits for nobody. */
bool rst_slot_stays(const struct rst_engine *engine);
/* 0: the handle has a slot that stays, for what outlives a call; attaches anew if it must. Without locks. */
int rst_slot_own(struct rst_engine *engine);
int rst_slot_none(void); /* the error of a handle that has none */
/* Under commit_lock. A slot of one's own, or borrowed. The slot that the role word names is taken by nobody but a holder of the flock.
 * ROOST_EAGAIN: all of that kind are taken; ROOST_ENOENT: the region was replaced. */
int rst_slot_enter(struct rst_engine *engine, bool borrowed, int64_t deadline);
/* Under commit_lock. A write that timed out may still wait in the lane: then the slot is left dirty, and whoever takes it next drains
 * it. */
void rst_slot_leave(struct rst_engine *engine);
/* Lets go of the byte alone: the region that the slot is in was replaced. */
void rst_slot_unlock(struct rst_engine *engine, int slot);

/* ---- role.c: all under commit_lock ---- */
/* 1: held now; 0: somebody else holds it; negative: error (EMOVED, EIO, ...). */
int rst_role_take(struct rst_engine *engine);
/* Syncs, stores FREE, looks at the lanes again, unlocks. 1: rests; 0: kept, there is work; negative: kept, error. */
int rst_role_rest(struct rst_engine *engine);
/* Lets go of the role whatever happens: rests or, if that fails, leaves it to an heir. Returns that failure. */
int rst_role_drop(struct rst_engine *engine);
/* As if this process had died now: the next one inherits. */
void rst_role_abandon(struct rst_engine *engine);
/* The handle's slot has changed: the word names the new one. */
void rst_role_rename(struct rst_engine *engine);
/* Whoever waits for an answer may try for the role: it rests, or its holder is dead. Without locks. */
bool rst_role_available(const struct rst_engine *engine);
void rst_role_holder_name(const struct rst_engine *engine, char *ret_name, size_t name_size);
int rst_service_start(struct rst_engine *engine);
void rst_service_stop(struct rst_engine *engine);

/* ---- commit.c: under commit_lock, role held ---- */
/* Serves everything that waits in the lanes. Answers carry each submission's own result; the return value is this writer's health. */
int rst_commit_waiting(struct rst_engine *engine);
/* Syncs what was written (log, and chunks with large payloads) and moves durable_lsn. */
int rst_commit_sync(struct rst_engine *engine);
/* A higher epoch, durable in the log's header; its first frame comes with the next commit. */
int rst_commit_new_epoch(struct rst_engine *engine);
/* Writes all frames beyond the durable position once more, after looking that they are whole (R9, R20): a sync of them may have failed,
 * and the next one would say OK. */
int rst_commit_rewrite(struct rst_engine *engine);
/* An empty frame that ends the log in good order (R3). */
int rst_commit_close(struct rst_engine *engine);
/* Stores changed states; with durable: synced. */
int rst_commit_states(struct rst_engine *engine, bool durable);
/* The pieces that recovery shares. */
int rst_commit_apply_frame(struct rst_engine *engine, const struct rst_frame *frame, bool count);
int rst_commit_answer_frame(struct rst_engine *engine, const struct rst_frame *frame); /* 0 or ROOST_ENOMEM: some may be left */
void rst_commit_publish(struct rst_engine *engine);
bool rst_own_limit(int err); /* is it this process's limit (EFBIG, EDQUOT, ENOMEM, ...), not the root's? */
/* 0, or the error of a root that can no longer be written. refused: for any thread. */
int rst_broken(const struct rst_engine *engine);
int rst_refused(const struct rst_engine *engine, const struct rst_region *region);
void rst_break(struct rst_engine *engine, int err, uint64_t position);
/* The reserve is there before anything is added; given up when a full disk stops what frees, and checkpoints (R9). */
int rst_reserve_keep(struct rst_engine *engine);
void rst_reserve_give_up(struct rst_engine *engine);

/* ---- clients.c: under commit_lock, role held ---- */
/* Keeps the outcome of a submission; slot -1: of a client that is gone. */
void rst_client_remember(struct rst_engine *engine, int slot, const struct rst_client_record *record);
/* What became of it: its result, with lsn and id; ROOST_ETIMEDOUT: not answered yet; ROOST_ECANCELED: it never came; ROOST_EUNKNOWN. */
int rst_client_outcome(const struct rst_engine *engine, uint64_t client, uint64_t sequence, uint64_t *ret_lsn, uint64_t *ret_id);
/* All that is kept, into a new manifest. */
int rst_client_collect(const struct rst_engine *engine, struct rst_manifest *manifest);

/* ---- recover.c: under the flock ---- */
int rst_recover_cold(struct rst_engine *engine, bool same_boot);
int rst_recover_heir(struct rst_engine *engine);
/* A sync of the blocks failed, or its author died in it: everything since the checkpoint is written there again, from the log (R20). */
int rst_recover_chunks(struct rst_engine *engine);
/* A sync of the log, or of large payloads, failed, or its author may have died over it: all frames beyond the durable position and their
 * records are written again (R9, R20). */
int rst_recover_unsynced(struct rst_engine *engine);

/* ---- arena.c: the two live segments' memory, under commit_lock ---- */
/* The live segment that takes the changes. */
struct rst_live *rst_arena_active(struct rst_engine *engine);
/* Makes the arena an empty live segment of LSNs from lsn_first on. Its epoch was raised before, so that nobody trusts what he
 * reads there. */
int rst_arena_format(struct rst_engine *engine, unsigned index, uint64_t lsn_first);
/* Makes real what rst_arena_format will need of it, so that it cannot fail for want of space. */
int rst_arena_prepare(struct rst_engine *engine, unsigned index);
int rst_arena_format_prepared(struct rst_engine *engine, unsigned index, uint64_t lsn_first);
uint64_t rst_arena_room(const struct rst_engine *engine);
uint64_t rst_arena_empty_size(const struct rst_engine *engine); /* bytes that an empty live segment takes */
/* Makes the active arena real memory up to used + need. ROOST_ENOSPC; the caller has asked rst_arena_room. */
int rst_arena_secure(struct rst_engine *engine, uint64_t need);

/* ---- checkpoint.c: under commit_lock, role held ---- */
int rst_checkpoint(struct rst_engine *engine);
/* What rebuild shares: syncs all chunks that need it; the clients of MANIFEST; its header; MANIFEST written and the region told. */
int rst_checkpoint_sync_chunks(struct rst_engine *engine);
int rst_checkpoint_install(struct rst_engine *engine, struct rst_manifest *manifest);

/* ---- rebuild.c: the same ---- */
/* Makes the index anew from the blocks. *ret_missing: how many memories the totals had and nobody knows any more. */
int rst_rebuild(struct rst_engine *engine, uint64_t *ret_missing);

/* ---- mend.c: for engine->mending ---- */
int rst_mend_folder(struct rst_engine *engine);
/* MANIFEST cannot be read (why: ROOST_ECORRUPT or ROOST_ENOENT): what it would say at least, from the log. 1: there it is, and the
 * index must be made anew; 0: there never was one; ROOST_EDAMAGED: the log is damaged too. */
int rst_mend_manifest(struct rst_engine *engine, int why, struct rst_manifest_header *ret_header);
/* There is no MANIFEST. 0: there never was one; ROOST_ECORRUPT: it is missing. */
int rst_manifest_never_was(struct rst_engine *engine);
void rst_mend_clients(struct rst_engine *engine);

/* ---- clone.c, rescue.c: see roost.h ---- */
int rst_backup(struct rst_engine *engine, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy);
int rst_restore(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy);
int rst_rescue(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy);

/* ---- read.c ---- */
struct rst_reader {
    struct rst_engine *engine;
    const struct rst_mapping *mapping;
    struct rst_segment_set *set;
    struct rst_snapshot snapshot;
    struct rst_view view;
    const struct rst_segment **list;
    const struct rst_segment *few[64];
};
/* A view of what is visible now. */
int rst_reader_begin(struct rst_engine *engine, struct rst_reader *ret_reader);
/* The same for the writer's work, under commit_lock. */
int rst_reader_begin_commit(struct rst_engine *engine, struct rst_reader *ret_reader);
/* 0: what was read is true; ROOST_EAGAIN: an arena was recycled underneath: begin again. Frees the view either way. */
int rst_reader_end(struct rst_reader *reader);
int rst_segment_set_open(struct rst_engine *engine, struct rst_segment_set **ret_set);
void rst_segment_set_free(struct rst_segment_set *set);
/* A thread's analyzer for the length of one call. */
int rst_analyzer_borrow(struct rst_engine *engine, struct rst_analyzer **ret_analyzer);
void rst_analyzer_return(struct rst_engine *engine, struct rst_analyzer *analyzer);

/* ---- submit.c ---- */
struct rst_outcome {
    int32_t result;
    uint32_t failed_index;
    uint64_t lsn, id, actual;
};
/* Submits and waits. results: room for result_count numbers or NULL. receipt (may be NULL) is filled also on ROOST_ETIMEDOUT. */
int rst_submit_wait(struct rst_engine *engine, const struct rst_buffer *submission, uint32_t wait_ms, uint64_t *results,
                    uint32_t result_count, struct rst_outcome *ret_outcome, struct roost_receipt *receipt);
int rst_submit_start(struct rst_engine *engine, const struct rst_buffer *submission, void *user,
                     struct roost_receipt *ret_receipt);
int rst_submit_poll(struct rst_engine *engine, struct roost_completion *ret_completions, size_t count, uint32_t wait_ms);
/* A buffer to encode a submission in, for the length of a call: the handle keeps one, so that nothing is allocated again and again. */
struct rst_buffer rst_submission_borrow(struct rst_engine *engine);
void rst_submission_return(struct rst_engine *engine, struct rst_buffer *submission);
/* A descriptor for event loops, readable when rst_submit_poll may find something without waiting. */
int rst_submit_file(struct rst_engine *engine, int *ret_file);
/* After attaching anew: what was in flight in the region that was left is settled. Blocks. */
void rst_submissions_carry(struct rst_engine *engine);
int rst_submit_cancel(struct rst_engine *engine, const struct roost_receipt *receipt);
int rst_settle(struct rst_engine *engine, struct roost_receipt *receipt, uint32_t wait_ms);
/* A request that stands alone (enum rst_op_kind from RST_OP_STATE_CLAIM on). */
int rst_request(struct rst_engine *engine, uint16_t kind, uint64_t number, uint64_t argument, struct roost_bytes name,
                uint32_t level, uint32_t wait_ms, struct rst_outcome *ret_outcome);
/* The same for what may take long (checkpoint, rebuild): taken up within the handle's wait_ms, or ROOST_ETIMEDOUT and nothing is done.
 * *ret_number (may be NULL): the answer's number. */
int rst_request_care(struct rst_engine *engine, uint16_t kind, uint64_t *ret_number);

/* ---- states.c ---- */
int rst_state_publish(struct rst_engine *engine, const struct roost_state *state, uint32_t level, uint32_t wait_ms);
int rst_state_release(struct rst_engine *engine, struct roost_bytes name);
void rst_state_release_all(struct rst_engine *engine);
/* bytes: ROOST_STATE_SIZE_MAX of room. ROOST_ENOENT. */
int rst_state_read(struct rst_engine *engine, struct roost_bytes name, uint8_t *ret_bytes, size_t *ret_size, uint32_t *ret_alive);
/* The next name after `after` (slots and stored ones). 1, 0, error. */
int rst_state_next(struct rst_engine *engine, struct roost_bytes after, uint8_t ret_name[ROOST_NAME_SIZE_MAX + 1],
                   size_t *ret_name_size);
/* After attaching anew: brings this handle's states from the region that it left into the new one. */
void rst_states_carry(struct rst_engine *engine);
/* For the writer (under commit_lock): */
int rst_state_claim(struct rst_engine *engine, struct roost_bytes name, uint64_t client, uint32_t slot, uint64_t *ret_state_slot);
bool rst_state_slot_read(const struct rst_region *region, uint32_t index, uint8_t *ret_bytes, size_t *ret_size,
                         uint64_t *ret_version);
bool rst_state_slot_name(const struct rst_region *region, uint32_t index, uint8_t ret_name[ROOST_NAME_SIZE_MAX + 1],
                         size_t *ret_size, uint64_t *ret_incarnation);
bool rst_states_unstored(const struct rst_region *region);

/* ---- verify.c ---- */
int rst_verify(struct rst_engine *engine, roost_found_fn found, void *user);
int rst_stats(struct rst_engine *engine, struct roost_stats *ret_stats);

#endif
