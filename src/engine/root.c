/* SPDX-License-Identifier: MIT
 * engine/root.c: attaching to a root and leaving it (layer 7). Protocol: protocol/region.md, "attach". */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

enum { WAIT_MS_DEFAULT = 5000, IDLE_MS_DEFAULT = 10 };

int rst_engine_check(const struct rst_engine *engine)
{
    if (!engine->forked) return 0;
    return rst_fail(ROOST_EFORK, "%s was opened before this process was forked; the child must open it anew", engine->path);
}

void rst_engine_log(const struct rst_engine *engine, enum roost_log_level level, const char *format, ...)
{
    if (!engine->options.log) return;
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    engine->options.log(engine->options.log_user, level, message);
}

/* ---- attaching ---- */

static int read_identity(struct rst_engine *engine)
{
    struct rst_stat stat;
    int err = rst_log_read_header(&engine->log);
    if (err == ROOST_EFOREIGN)
        return rst_fail(err,
                        "%s belongs to another program: its state.wal is not Roost's (memmap_fs keeps its data under the same "
                        "name); nothing was touched",
                        engine->path);
    if (err) return rst_fail_context(err, "%s", engine->path);
    err = rst_os->stat(engine->log.file, &stat);
    if (err) return rst_fail(err, "looking at %s/state.wal: %s", engine->path, strerror(-err));
    struct rst_region_identity *identity = &engine->identity;
    memcpy(identity->root_uuid, engine->log.header.root_uuid, 16);
    identity->device = stat.device;
    identity->inode = stat.inode;
    identity->uid = stat.uid;
    identity->gid = stat.gid;
    identity->mode = stat.mode;
    identity->nonce = engine->log.header.region_nonce;
    identity->kind = engine->log.header.region_kind;
    identity->log_size = engine->log.size;
    identity->chunk_size = engine->log.chunk_size;
    identity->arena_size = engine->log.header.arena_size;
    return 0;
}

static bool header_is_copy(const struct rst_engine *engine)
{
    return engine->log.header.device != engine->identity.device || engine->log.header.inode != engine->identity.inode;
}

static bool header_of_this_boot(const struct rst_engine *engine)
{
    return memcmp(engine->log.header.boot_id, engine->identity.boot_id, 16) == 0;
}

static void attach_arenas(struct rst_engine *engine)
{
    for (unsigned i = 0; i < 2; i++)
        rst_live_attach(&engine->live[i], rst_region_arena(&engine->region, i), engine->region.header->arena_size);
}

static void unlock_slot(struct rst_engine *engine, int slot)
{
    if (slot >= 0) rst_os->unlock_byte(engine->log.file, RST_LOCK_SLOT_OFFSET + (uint32_t)slot);
}

/* A dead client's submissions are committed before its lane is reused (R19): by this handle, which may keep the role then, or by
 * whoever has it. */
static int drain_predecessor(struct rst_engine *engine, int64_t deadline)
{
    while (rst_lane_waiting(&engine->region, (uint32_t)engine->slot)) {
        int taken = rst_role_available(engine) ? rst_role_take(engine) : 0;
        if (taken == 1) {
            int err = rst_commit_waiting(engine);
            if (err) return err;
            continue;
        }
        if (taken == ROOST_EAGAIN) return ROOST_ENOENT; /* another region */
        if (taken < 0) return taken;
        if (rst_os->monotonic_time() >= deadline)
            return rst_fail(ROOST_ETIMEDOUT, "%s: a dead process's last writes could not be finished in time", engine->path);
        rst_region_ring(&engine->region.header->doorbell.word);
        rst_os->sleep(1000000);
    }
    return 0;
}

/* A slot of one's own, or (borrowed) for a call; under commit_lock. The slot that the role word names is taken by nobody but a holder of
 * the flock. ROOST_EAGAIN: all of that kind are taken; ROOST_ENOENT: the region was replaced. */
static int enter_slot(struct rst_engine *engine, bool borrowed, int64_t deadline)
{
    int slot;
    bool dirty = false;
    for (;;) {
        uint64_t word = rst_load_seq_u64(&engine->region.header->role);
        slot = rst_participant_take(&engine->region, engine->log.file, borrowed,
                                    rst_role_held(word) ? (int)rst_role_slot(word) : -1, &dirty);
        if (slot != ROOST_EAGAIN) break;
        if (!borrowed || rst_os->monotonic_time() >= deadline) return slot;
        rst_os->sleep(1000000);
    }
    if (slot < 0) return slot;
    rst_engine_set_slot(engine, slot);
    rst_role_rename(engine);
    uint64_t client = 0, incarnation;
    int err = dirty ? drain_predecessor(engine, deadline) : 0;
    while (!err && !client) err = rst_os->random(&client, sizeof client);
    if (!err) err = rst_participant_register(&engine->region, (uint32_t)slot, client, &incarnation);
    if (err) {
        rst_role_drop(engine);
        rst_engine_set_slot(engine, -1);
        unlock_slot(engine, slot);
        return err;
    }
    engine->client = client;
    engine->slot_borrowed = borrowed;
    rst_lane_client_begin(&engine->lane, &engine->region, (uint32_t)slot, incarnation);
    return 0;
}

/* Under commit_lock. A write that timed out may still wait in the lane: then the slot is left dirty, and whoever takes it next
 * drains it. */
static void leave_slot(struct rst_engine *engine)
{
    int slot = engine->slot;
    if (slot < 0) return;
    rst_engine_set_slot(engine, -1);
    rst_role_rename(engine);
    if (rst_lane_waiting(&engine->region, (uint32_t)slot))
        unlock_slot(engine, slot);
    else
        rst_participant_leave(&engine->region, engine->log.file, (uint32_t)slot);
}

int rst_slot_use(struct rst_engine *engine, int64_t deadline)
{
    int err = 0;
    pthread_mutex_lock(&engine->slot_lock);
    if (engine->slot < 0) {
        pthread_mutex_lock(&engine->commit_lock);
        err = enter_slot(engine, true, deadline);
        pthread_mutex_unlock(&engine->commit_lock);
        if (err == ROOST_EAGAIN)
            err = rst_fail(ROOST_ETIMEDOUT,
                           "%s is open in more than %d handles, and all %d places for the writes of the others are taken",
                           engine->path, RST_SLOT_STAY_COUNT, RST_SLOT_COUNT - RST_SLOT_STAY_COUNT);
    }
    if (!err) engine->slot_users++;
    pthread_mutex_unlock(&engine->slot_lock);
    return err;
}

void rst_slot_unuse(struct rst_engine *engine)
{
    pthread_mutex_lock(&engine->slot_lock);
    if (--engine->slot_users == 0 && engine->slot_borrowed) {
        pthread_mutex_lock(&engine->commit_lock);
        rst_role_drop(engine);
        leave_slot(engine);
        engine->slot_borrowed = false;
        pthread_mutex_unlock(&engine->commit_lock);
    }
    pthread_mutex_unlock(&engine->slot_lock);
}

/* Holding the flock, with no region that fits: a new one, recovered from the disk. */
static int make_region(struct rst_engine *engine)
{
    bool same_boot = header_of_this_boot(engine) && !header_is_copy(engine) && engine->log.header.region_nonce;
    if (header_is_copy(engine)) {
        int err = rst_os->random(engine->log.header.root_uuid, 16);
        if (err) return rst_fail(err, "no random numbers to be had");
        memcpy(engine->identity.root_uuid, engine->log.header.root_uuid, 16);
        rst_engine_log(engine, ROOST_LOG_WARNING, "%s is a copy of another root and is a root of its own from now on",
                       engine->path);
    }
    int err = rst_os->random(&engine->identity.nonce, sizeof engine->identity.nonce);
    if (err) return rst_fail(err, "no random numbers to be had");
    if (!engine->identity.nonce) engine->identity.nonce = 1;
    /* Somebody may have cut the file short: what is missing reads as no frame, and must be real space again before anything is written. */
    err = rst_os->allocate(engine->log.file, 0, RST_LOG_RING_OFFSET + engine->log.size);
    if (err) return rst_fail(err, "%s/state.wal was cut short and cannot be made whole again: %s", engine->path, strerror(-err));
    err = rst_region_create(engine->root_directory, &engine->identity, &engine->region);
    if (err) return err;
    attach_arenas(engine);
    err = rst_recover_cold(engine, same_boot);
    /* Opened for the first time: whoever made it may have died before he could make its name durable. */
    if (!err && engine->log.header.sequence == 1) err = rst_os->fsync(engine->root_directory);
    if (!err && engine->log.header.sequence == 1) err = rst_root_sync_parent(engine->path);
    if (err) return err;
    engine->log.header.region_nonce = engine->identity.nonce;
    engine->log.header.device = engine->identity.device;
    engine->log.header.inode = engine->identity.inode;
    memcpy(engine->log.header.boot_id, engine->identity.boot_id, 16);
    err = rst_log_write_header(&engine->log);
    if (!err) rst_region_publish(&engine->region);
    return err;
}

static int create_and_enter(struct rst_engine *engine, int64_t deadline)
{
    int err = make_region(engine);
    /* Half a region is of no use to anybody, and may have taken the space that was short. */
    if (err) rst_region_unlink(engine->root_directory, &engine->identity);
    if (err) return err;
    err = enter_slot(engine, false, deadline);
    if (err) return err;
    engine->role_held = true;
    rst_role_rename(engine);
    engine->last_work_ns = rst_os->monotonic_time();
    return 0;
}

/* The region that was to be attached to is not it. Once the handle was given out other threads may be inside any mapping that it ever
 * had: all of them stay until close, and the region that was left is the handle's again until there is a better one. */
static void let_region_go(struct rst_engine *engine)
{
    if (!engine->opened) {
        rst_region_close(&engine->region);
    } else if (engine->region.base != engine->kept_region.base) {
        rst_buffer_add(&engine->old_regions, &engine->region, sizeof engine->region);
        engine->region = engine->kept_region;
    }
}

/* One attempt to attach to a region that is there. 0; ROOST_ENOENT: none that fits; other errors. */
static int try_attach(struct rst_engine *engine, int64_t deadline)
{
    int err = header_is_copy(engine)
                  ? ROOST_ENOENT
                  : rst_region_open(engine->root_directory, &engine->identity, !engine->observer, &engine->region);
    if (err) return err;
    attach_arenas(engine);
    if (!engine->observer) {
        err = enter_slot(engine, false, deadline);
        if (err == ROOST_EAGAIN) err = 0; /* all taken: this handle borrows one for each write */
    }
    /* The byte lock first, then the mark and the nonce again: a last closer probes after it marked (R11). Whoever holds the role
     * already (it had a predecessor's writes to finish) has looked at both under the flock. */
    uint64_t nonce = engine->identity.nonce;
    if (!err && !engine->role_held) {
        err = rst_log_read_header(&engine->log);
        if (!err && (engine->log.header.region_nonce != nonce || rst_load_seq_u32(&engine->region.header->moved.word)))
            err = ROOST_ENOENT;
    }
    if (!err) return 0;
    leave_slot(engine);
    let_region_go(engine);
    return err;
}

static int wait_failed(struct rst_engine *engine, uint64_t nonce_all_along)
{
    if (nonce_all_along && engine->identity.kind == ROOST_REGION_SHM)
        return rst_fail(
            ROOST_ESPLIT,
            "%s is open in another process whose shared memory cannot be seen from here (another container or /dev/shm, or it "
            "was removed at a logout: RemoveIPC); share /dev/shm, or make the root with --region file",
            engine->path);
    return rst_fail(ROOST_ETIMEDOUT, "%s: another process is opening or repairing it and was not ready in time; try again",
                    engine->path);
}

/* Without a region: the participants' bytes say whether anybody has the root open. */
static bool open_somewhere(const struct rst_engine *engine)
{
    for (uint32_t slot = 0; slot < RST_SLOT_COUNT; slot++)
        if (rst_participant_alive(engine->log.file, slot)) return true;
    return false;
}

static int attach(struct rst_engine *engine, int64_t deadline)
{
    uint64_t first_nonce = 0;
    for (bool first = true;; first = false) {
        int err = read_identity(engine);
        if (err) return err;
        uint64_t named = header_of_this_boot(engine) ? engine->identity.nonce : 0;
        if (first || named != first_nonce) first_nonce = first ? named : 0;
        err = try_attach(engine, deadline);
        if (err != ROOST_ENOENT) return err;
        err = engine->observer ? -EWOULDBLOCK : rst_os->flock(engine->log.file);
        if (err && err != -EWOULDBLOCK) return rst_fail(err, "locking %s/state.wal: %s", engine->path, strerror(-err));
        if (!err) {
            /* Somebody may have made one between the look and the lock. */
            err = read_identity(engine);
            if (!err) rst_region_unmark(engine->root_directory, &engine->identity);
            if (!err) err = try_attach(engine, deadline);
            bool made = err == ROOST_ENOENT;
            if (made) err = create_and_enter(engine, deadline);
            if (err && made) let_region_go(engine);
            if (!engine->role_held) rst_os->funlock(engine->log.file);
            return err;
        }
        if (rst_os->monotonic_time() >= deadline) {
            if (engine->observer && (!first_nonce || !open_somewhere(engine)))
                return rst_fail(
                    ROOST_ENOENT,
                    "%s is not open in any process, so there is nothing to observe; open it in a process that may write",
                    engine->path);
            return wait_failed(engine, first_nonce);
        }
        rst_os->sleep(2000000);
    }
}

bool rst_engine_named(const struct rst_engine *engine)
{
    struct rst_stat stat;
    return rst_os->stat(engine->log.file, &stat) == 0 && stat.link_count != 0;
}

int rst_engine_still_there(const struct rst_engine *engine)
{
    struct rst_stat stat;
    int err = rst_os->stat_at(engine->root_directory, "state.wal", &stat);
    if (err || stat.device != engine->identity.device || stat.inode != engine->identity.inode)
        return rst_fail(
            ROOST_EMOVED,
            "%s was moved, replaced or removed while it was open; close this handle and open the root where it is now",
            engine->path);
    return 0;
}

int rst_engine_look_around(struct rst_engine *engine)
{
    int err = rst_engine_still_there(engine);
    return err || rst_region_current(&engine->region) ? err : rst_engine_attach_anew(engine);
}

/* Must this handle look for another region? A mark is for those without a slot: see rst_region_named. */
static bool region_lost(const struct rst_engine *engine)
{
    return engine->slot >= 0 ? !rst_region_named(&engine->region) : !rst_region_current(&engine->region);
}

/* Under slot_lock, commit_lock, lane_lock. */
static int attach_another(struct rst_engine *engine, int64_t deadline)
{
    struct rst_region old = engine->kept_region = engine->region;
    int old_slot = engine->slot;
    struct rst_old_lane *old_lane = calloc(1, sizeof *old_lane);
    if (!old_lane) return rst_fail(ROOST_ENOMEM, "no memory to attach to another region");
    *old_lane = (struct rst_old_lane){engine->old_lanes, engine->client, old, engine->lane};
    old_lane->lane.region = &old_lane->region;
    bool held = engine->role_held;
    int err;
    rst_engine_set_slot(engine, -1);
    engine->role_held = false;
    unlock_slot(engine, old_slot);
    if (held) {
        /* Whoever holds the role keeps the flock: nobody else makes the new region meanwhile. */
        rst_store_seq_u32(&old.header->moved.word, 1);
        err = read_identity(engine);
        if (!err) err = create_and_enter(engine, deadline);
        if (err) let_region_go(engine);
        if (err && !engine->role_held) rst_os->funlock(engine->log.file);
    } else {
        err = attach(engine, deadline);
    }
    if (!err && engine->slot < 0 && engine->slot_users) err = enter_slot(engine, true, deadline);
    if (err) {
        /* The old one is still good for reading. */
        if (engine->role_held) rst_role_drop(engine);
        let_region_go(engine);
        attach_arenas(engine);
        free(old_lane);
        return err;
    }
    if (old_slot >= 0)
        engine->old_lanes = old_lane;
    else
        free(old_lane);
    rst_buffer_add(&engine->old_regions, &old, sizeof old);
    return 0;
}

/* The region was unlinked under us (RemoveIPC, an operator), or by a last closer whom an observer does not hinder: another one, under a
 * new client. What was under way is settled by its receipt: frames in the log say what was applied, and nobody drains the old
 * lanes any more. */
static int attach_anew(struct rst_engine *engine, int64_t deadline)
{
    pthread_mutex_lock(&engine->slot_lock);
    pthread_mutex_lock(&engine->commit_lock);
    pthread_mutex_lock(&engine->lane_lock);
    struct rst_region old = engine->region;
    bool lost = region_lost(engine);
    /* Of a root that is gone no new region is made: in its folder another root may be by now, with a region of the same name. */
    int err = lost ? rst_engine_still_there(engine) : 0;
    if (lost && !err) err = attach_another(engine, deadline);
    bool service = !err && engine->role_held;
    pthread_mutex_unlock(&engine->lane_lock);
    pthread_mutex_unlock(&engine->commit_lock);
    pthread_mutex_unlock(&engine->slot_lock);
    if (err || !lost) return err;
    uint32_t *words[] = {&old.header->commit.word, &old.header->state.word, &old.header->generation.word,
                         &old.header->doorbell.word};
    for (size_t i = 0; old.writable && i < sizeof words / sizeof words[0]; i++) rst_region_ring(words[i]);
    if (service) {
        rst_service_start(engine);
        rst_add_u32(&engine->service_word, 1);
        rst_wake_all(&engine->service_word);
    }
    rst_states_carry(engine);
    return ROOST_EAGAIN;
}

int rst_engine_attach_anew(struct rst_engine *engine)
{
    return attach_anew(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
}

void rst_engine_glance(struct rst_engine *engine)
{
    enum { GLANCE_NS = 100 * 1000 * 1000 };
    bool marked = rst_engine_slot(engine) < 0 && rst_load_seq_u32(&engine->region.header->moved.word);
    int64_t now = rst_os->monotonic_time();
    pthread_mutex_lock(&engine->view_lock);
    bool due = now - engine->glanced_ns >= GLANCE_NS;
    if (due) engine->glanced_ns = now;
    pthread_mutex_unlock(&engine->view_lock);
    /* Nobody there to make a new one, or not at once: what is mapped can still be read. */
    if (due && (marked || !rst_region_named(&engine->region))) attach_anew(engine, now);
    rst_fail_clear();
}

/* ---- open and close ---- */

static int open_files(struct rst_engine *engine)
{
    const char *path = engine->path;
    engine->root_directory = rst_os->open(-1, path, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (engine->root_directory == -ENOENT)
        return rst_fail(ROOST_ENOROOT, "there is no folder %s; `roost init` makes a root", path);
    if (engine->root_directory == -ENOTDIR) return rst_fail(ROOST_ENOTDIR, "%s is a file, not a root", path);
    if (engine->root_directory < 0)
        return rst_fail(engine->root_directory, "opening %s: %s", path, strerror(-engine->root_directory));
    int err = rst_root_refuse(engine->root_directory, path); /* before flock is called: on some it hangs */
    if (err) return err;
    engine->log.file = rst_os->open(engine->root_directory, "state.wal", engine->observer ? RST_OPEN_READ : RST_OPEN_WRITE, 0);
    if (engine->log.file == -ENOENT)
        return rst_fail(ROOST_ENOROOT, "there is no root in %s; `roost -C %s init` makes one", path, path);
    if (engine->log.file == -EACCES || engine->log.file == -EROFS || engine->log.file == -EPERM)
        return rst_fail(ROOST_EACCES, "%s/state.wal may not be %s by this user", path, engine->observer ? "read" : "written");
    if (engine->log.file < 0) return rst_fail(engine->log.file, "opening %s/state.wal: %s", path, strerror(-engine->log.file));
    err = read_identity(engine);
    if (err) return err;
    engine->index_directory = rst_os->open(engine->root_directory, "index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (engine->index_directory == -EACCES || engine->index_directory == -EPERM || engine->index_directory == -EMFILE ||
        engine->index_directory == -ENFILE)
        return rst_fail(engine->index_directory == -ENFILE ? ROOST_EMFILE : engine->index_directory, "opening %s/index: %s", path,
                        strerror(-engine->index_directory));
    if (engine->index_directory < 0)
        return rst_fail(ROOST_ECORRUPT, "%s has no folder index/; make it and run `roost rebuild`", path);
    err = rst_blocks_open(&engine->blocks, engine->root_directory, engine->log.chunk_size);
    return err ? rst_fail_context(err, "%s", path) : 0;
}

static void free_engine(struct rst_engine *engine)
{
    for (size_t i = 0; i < sizeof engine->spare_analyzers / sizeof engine->spare_analyzers[0]; i++)
        rst_analyzer_free(engine->spare_analyzers[i]);
    rst_analyzer_free(engine->analyzer);
    if (!engine->forked) {
        rst_segment_set_free(engine->segments);
        rst_region_close(&engine->region);
        for (size_t at = 0; at < engine->old_regions.size; at += sizeof(struct rst_region)) {
            struct rst_region old;
            memcpy(&old, engine->old_regions.data + at, sizeof old);
            rst_region_close(&old);
        }
        if (engine->blocks.chunk_size) rst_blocks_close(&engine->blocks);
        if (engine->index_directory >= 0) rst_os->close(engine->index_directory);
        if (engine->log.file >= 0) rst_os->close(engine->log.file);
        if (engine->root_directory >= 0) rst_os->close(engine->root_directory);
    }
    rst_decide_free(&engine->decide);
    rst_buffer_free(&engine->taken);
    rst_buffer_free(&engine->frame_bytes);
    rst_buffer_free(&engine->frame_body);
    rst_buffer_free(&engine->scratch);
    rst_buffer_free(&engine->external_chunks);
    rst_buffer_free(&engine->unsynced);
    rst_buffer_free(&engine->owned_states);
    rst_buffer_free(&engine->old_regions);
    for (struct rst_old_lane *lane = engine->old_lanes, *next; lane; lane = next) {
        next = lane->next;
        free(lane);
    }
    pthread_mutex_destroy(&engine->slot_lock);
    pthread_mutex_destroy(&engine->lane_lock);
    pthread_mutex_destroy(&engine->commit_lock);
    pthread_mutex_destroy(&engine->view_lock);
    pthread_mutex_destroy(&engine->state_lock);
    free(engine->path);
    free(engine);
}

static struct rst_engine *new_engine(const char *path, const struct roost_options *options, bool threadless)
{
    struct rst_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return NULL;
    engine->path = strdup(path);
    struct roost_options defaults = ROOST_OPTIONS_INIT;
    engine->options = defaults;
    if (options) memcpy(&engine->options, options, options->size < sizeof defaults ? options->size : sizeof defaults);
    if (!engine->options.level) engine->options.level = ROOST_DURABLE;
    if (!engine->options.wait_ms) engine->options.wait_ms = WAIT_MS_DEFAULT;
    if (!engine->options.idle_ms) engine->options.idle_ms = IDLE_MS_DEFAULT;
    engine->observer = engine->options.flags & ROOST_OPEN_OBSERVE;
    engine->threadless = threadless;
    engine->process_id = rst_os->process_id();
    engine->root_directory = engine->index_directory = engine->log.file = engine->region.file = engine->blocks.directory = -1;
    rst_engine_set_slot(engine, -1);
    pthread_mutex_init(&engine->slot_lock, NULL);
    pthread_mutex_init(&engine->lane_lock, NULL);
    pthread_mutex_init(&engine->commit_lock, NULL);
    pthread_mutex_init(&engine->view_lock, NULL);
    pthread_mutex_init(&engine->state_lock, NULL);
    if (engine->path) return engine;
    free_engine(engine);
    return NULL;
}

int rst_engine_open(const char *path, const struct roost_options *options, bool threadless, struct rst_engine **ret_engine)
{
    struct rst_engine *engine = new_engine(path, options, threadless);
    if (!engine) return rst_fail(ROOST_ENOMEM, "no memory to open %s", path);
    int err = rst_os->boot_id(engine->identity.boot_id);
    if (!err) err = open_files(engine);
    if (!err && !engine->observer) err = rst_analyzer_create(engine->log.language, &engine->analyzer);
    rst_handle_enter(engine);
    pthread_mutex_lock(&engine->commit_lock);
    if (!err) err = attach(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
    engine->opened = !err;
    pthread_mutex_unlock(&engine->commit_lock);
    if (err) {
        rst_handle_leave(engine);
        free_engine(engine);
        return err;
    }
    if (engine->role_held && !threadless) rst_service_start(engine);
    *ret_engine = engine;
    return 0;
}

/* Does the region's name lead to the one that is mapped? In a folder that was emptied and made a root anew it is another's; in
 * /dev/shm the name itself says which state.wal it belongs to. */
static bool region_own(const struct rst_engine *engine)
{
    struct rst_stat own, there;
    if (engine->identity.kind != ROOST_REGION_FILE) return true;
    return rst_os->stat(engine->region.file, &own) == 0 && rst_os->stat_at(engine->root_directory, "region", &there) == 0 &&
           own.device == there.device && own.inode == there.inode;
}

/* The last one out: everything on the disk, nothing in shared memory. Holding the role. */
static int leave_last(struct rst_engine *engine)
{
    /* crash: 1 marked moved, others probe and wait for the flock: its next holder takes the mark back and inherits
     *        2 lanes drained, states stored, sealed, CLOSED: the root is whole at each step
     *        3 unlinked: gone */
    rst_store_seq_u32(&engine->region.header->moved.word, 1);
    if (rst_participants_any_other(&engine->region, engine->log.file, engine->slot)) {
        rst_store_seq_u32(&engine->region.header->moved.word, 0);
        return ROOST_EBUSY;
    }
    int err = 0;
    for (int tries = 0; !err && !rst_broken(engine) && rst_lanes_waiting(&engine->region); tries++)
        err = tries < 1000 ? rst_commit_waiting(engine)
                           : rst_fail(ROOST_EFBIG, "%s: a dead process's writes are beyond this process's limits", engine->path);
    if (!err && !rst_broken(engine)) err = rst_commit_states(engine, true);
    /* Sealing spares the next opener work; without it (a full disk) all is in the log, and that is synced in any case. */
    bool seal =
        rst_live_used(&engine->live[engine->snapshot.arena_active & 1]) > RST_SEAL_SIZE_MIN + rst_arena_empty_size(engine);
    if (!rst_broken(engine) && seal && rst_checkpoint(engine) < 0)
        rst_engine_log(engine, ROOST_LOG_WARNING, "a checkpoint failed: %s", rst_fail_detail());
    if (!rst_broken(engine)) {
        int closed = rst_commit_close(engine);
        if (!err) err = closed;
    }
    /* What could not be stored (states on a full disk, a dead process's writes) is in the region alone: it stays, for an heir who
     * can. Where
     * writing stopped for good, the next opener begins with what the disk has. */
    if (err && !rst_broken(engine)) {
        rst_store_seq_u64(&engine->region.header->role, rst_role_word(RST_ROLE_NOBODY, 0));
        rst_store_seq_u32(&engine->region.header->moved.word, 0);
    } else if (region_own(engine)) {
        rst_region_unlink(engine->root_directory, &engine->identity);
    }
    engine->role_held = false;
    rst_os->funlock(engine->log.file);
    return err;
}

/* What this handle submitted and nobody has taken up yet: done, if the role can be had; else its holder, or whoever takes the slot
 * next, does it. */
static void finish_own_lane(struct rst_engine *engine)
{
    while (engine->slot >= 0 && rst_lane_waiting(&engine->region, (uint32_t)engine->slot)) {
        rst_region_ring(&engine->region.header->doorbell.word);
        if (!rst_role_available(engine) || rst_role_take(engine) != 1 || rst_commit_waiting(engine) < 0) return;
    }
}

/* The root was removed under us: its shared memory has no other way to go. */
static void unlink_orphan(struct rst_engine *engine)
{
    if (!region_own(engine) || rst_engine_named(engine) || rst_os->flock(engine->log.file)) return;
    rst_region_unlink(engine->root_directory, &engine->identity);
    rst_os->funlock(engine->log.file);
}

/* Nobody is the last one to see that he is the last: whoever closes gives up slot and role first and looks then. Of several that close
 * together the one that looks last sees nobody; one that finds the flock taken leaves it to its holder, who looks again after unlocking. */
static int leave(struct rst_engine *engine)
{
    int err = 0;
    rst_state_release_all(engine);
    pthread_mutex_lock(&engine->commit_lock);
    finish_own_lane(engine);
    if (engine->slot >= 0) rst_store_seq_u64(&engine->region.participants[engine->slot].leaving, 1);
    leave_slot(engine);
    for (int tries = 0; tries < 1000; tries++) {
        bool others = rst_participants_any_other(&engine->region, engine->log.file, -1);
        if (others && !engine->role_held) break;
        if (!others) {
            if (!engine->role_held && (!rst_region_named(&engine->region) || rst_role_take(engine) != 1)) {
                unlink_orphan(engine);
                break;
            }
            err = leave_last(engine);
            if (err != ROOST_EBUSY) break;
        }
        err = rst_role_drop(engine);
    }
    if (err == ROOST_EBUSY) err = 0;
    pthread_mutex_unlock(&engine->commit_lock);
    return err;
}

int rst_engine_close(struct rst_engine *engine)
{
    if (!engine) return 0;
    int err = 0;
    if (!engine->forked) {
        rst_service_stop(engine);
        if (!engine->observer) err = leave(engine);
        if (!err) err = engine->last_error;
        rst_handle_leave(engine);
    }
    free_engine(engine);
    return err;
}
