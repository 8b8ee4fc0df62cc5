/* SPDX-License-Identifier: MIT
 * engine/root.c: a handle is opened and closed (layer 7). */
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
#include "engine/notify.h"
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

/* ---- open and close ---- */

static int open_files(struct rst_engine *engine)
{
    const char *path = engine->path;
    engine->root_directory = rst_os->open(-1, path, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (engine->root_directory == -ENOENT)
        return rst_fail(ROOST_ENOROOT, "there is no folder %s; `roost init` makes a root", path);
    if (engine->root_directory < 0) return rst_root_unopened(path, engine->root_directory);
    int err = rst_root_refuse(engine->root_directory, path); /* before flock is called: on some it hangs */
    if (err) return err;
    engine->log.file = rst_os->open(engine->root_directory, "state.wal", engine->observer ? RST_OPEN_READ : RST_OPEN_WRITE, 0);
    if (engine->log.file == -ENOENT && rst_root_was_none(engine->root_directory, path)) return ROOST_ENOROOT;
    if (engine->log.file == -ENOENT)
        return rst_fail(ROOST_ENOROOT, "there is no root in %s; `roost -C %s init` makes one", path, path);
    if (engine->log.file == -EACCES || engine->log.file == -EROFS || engine->log.file == -EPERM)
        return rst_fail(ROOST_EACCES, "%s/state.wal may not be %s by this user", path, engine->observer ? "read" : "written");
    if (engine->log.file < 0) return rst_fail(engine->log.file, "opening %s/state.wal: %s", path, strerror(-engine->log.file));
    err = rst_engine_identify(engine);
    if (err) return err;
    engine->device = engine->identity.device;
    engine->inode = engine->identity.inode;
    engine->index_directory = rst_os->open(engine->root_directory, "index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (engine->index_directory == -EACCES || engine->index_directory == -EPERM || engine->index_directory == -EMFILE ||
        engine->index_directory == -ENFILE)
        return rst_fail(engine->index_directory == -ENFILE ? ROOST_EMFILE : engine->index_directory, "opening %s/index: %s", path,
                        strerror(-engine->index_directory));
    if (engine->index_directory < 0 && !engine->mending)
        return rst_fail(ROOST_ECORRUPT, "%s has no folder index/; `roost rebuild` makes it and the index anew", path);
    if (engine->index_directory < 0 && (err = rst_mend_folder(engine))) return err;
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
        rst_mappings_free(engine);
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
    rst_buffer_free(&engine->spare_submission);
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
    engine->mending = !engine->observer && engine->options.flags & ROOST_OPEN_REBUILD;
    engine->threadless = threadless;
    engine->process_id = rst_os->process_id();
    engine->root_directory = engine->index_directory = engine->log.file = engine->blocks.directory = -1;
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

struct rst_engine *rst_engine_bare(const char *path, bool observer)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    if (observer) options.flags = ROOST_OPEN_OBSERVE;
    return new_engine(path, &options, true);
}

void rst_engine_bare_free(struct rst_engine *engine) { free_engine(engine); }

int rst_engine_open(const char *path, const struct roost_options *options, bool threadless, struct rst_engine **ret_engine)
{
    struct rst_engine *engine = new_engine(path, options, threadless);
    if (!engine) return rst_fail(ROOST_ENOMEM, "no memory to open %s", path);
    int err = rst_os->boot_id(engine->identity.boot_id);
    if (!err) err = open_files(engine);
    if (!err && !engine->observer) err = rst_analyzer_create(engine->log.language, &engine->analyzer);
    rst_handle_enter(engine);
    pthread_mutex_lock(&engine->commit_lock);
    if (!err) err = rst_engine_attach(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
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
    return rst_os->stat(rst_commit_region(engine)->file, &own) == 0 &&
           rst_os->stat_at(engine->root_directory, "region", &there) == 0 && own.device == there.device &&
           own.inode == there.inode;
}

/* The last one out: everything on the disk, nothing in shared memory. Holding the role. */
static int leave_last(struct rst_engine *engine)
{
    /* crash: 1 marked moved, others probe and wait for the flock: its next holder takes the mark back and inherits
     *        2 lanes drained, states stored, sealed, CLOSED: the root is whole at each step
     *        3 unlinked: gone */
    rst_store_seq_u32(&rst_commit_region(engine)->header->moved.word, 1);
    if (rst_participants_any_other(rst_commit_region(engine), engine->log.file, engine->slot)) {
        rst_store_seq_u32(&rst_commit_region(engine)->header->moved.word, 0);
        return ROOST_EBUSY;
    }
    int err = 0;
    for (int tries = 0; !err && !rst_broken(engine) && rst_lanes_waiting(rst_commit_region(engine)); tries++)
        err = tries < 1000 ? rst_commit_waiting(engine)
                           : rst_fail(ROOST_EFBIG, "%s: a dead process's writes are beyond this process's limits", engine->path);
    if (!err && !rst_broken(engine)) err = rst_commit_states(engine, true);
    /* Sealing spares the next opener work; without it (a full disk) all is in the log, and that is synced in any case. */
    bool seal = rst_live_used(rst_arena_active(engine)) > RST_SEAL_SIZE_MIN + rst_arena_empty_size(engine);
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
        rst_store_seq_u64(&rst_commit_region(engine)->header->role, rst_role_word(RST_ROLE_NOBODY, 0));
        rst_store_seq_u32(&rst_commit_region(engine)->header->moved.word, 0);
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
    /* A commit takes at least one of them; where the region holds garbage it may take none. */
    for (unsigned tries = 0; tries <= RST_LANE_ENTRY_COUNT; tries++) {
        if (engine->slot < 0 || !rst_lane_waiting(rst_commit_region(engine), (uint32_t)engine->slot)) return;
        rst_region_ring(&rst_commit_region(engine)->header->doorbell.word);
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
    if (engine->slot >= 0) rst_store_seq_u64(&rst_commit_region(engine)->participants[engine->slot].leaving, 1);
    rst_slot_leave(engine);
    for (int tries = 0; tries < 1000; tries++) {
        bool others = rst_participants_any_other(rst_commit_region(engine), engine->log.file, -1);
        if (others && !engine->role_held) break;
        if (!others) {
            if (!engine->role_held && (!rst_region_named(rst_commit_region(engine)) || rst_role_take(engine) != 1)) {
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
    if (!engine->forked) rst_service_stop(engine); /* which signals completions */
    rst_notify_close(engine->completions_notify);
    engine->completions_notify = NULL;
    if (!engine->forked) {
        if (!engine->observer) err = leave(engine);
        if (!err) err = engine->last_error;
        rst_handle_leave(engine);
    }
    free_engine(engine);
    return err;
}
