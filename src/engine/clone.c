/* SPDX-License-Identifier: MIT
 * engine/clone.c: backup and restore (layer 7): a root copied whole into another folder. Protocol: protocol/README.md, "Copies of a root".
 *
 * Only the beginning needs the role: states stored, a checkpoint, a copy of the log's ring, MANIFEST and the segments opened. From
 * then on others write on: segments are unlinked, never changed, and stay behind their open descriptors; of the chunks only
 * what lies before the tail is copied, which is only added to (heads of large payloads that are committed meanwhile count for nobody
 * here). The copy is a root of its own: another uuid, no region.
 *
 * crash: see offline.c: until the end there is no root in the folder */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/offline.h"
#include "os/os.h"

/* What is copied, held fast. */
struct original {
    struct rst_engine *engine;
    struct rst_manifest manifest;
    bool has_manifest;
    int *segments; /* descriptors */
    uint32_t segment_count;
    uint64_t chunk, chunk_tail, lsn;
    uint64_t byte_count; /* copied */
};

static void let_go(struct original *original)
{
    for (uint32_t i = 0; i < original->segment_count; i++) rst_os->close(original->segments[i]);
    free(original->segments);
    rst_manifest_free(&original->manifest);
}

/* The index as it is now. Nobody writes meanwhile. */
static int hold_index(struct original *original)
{
    struct rst_engine *engine = original->engine;
    int err = rst_manifest_read(engine->index_directory, &original->manifest);
    original->has_manifest = !err;
    if (err) return err == ROOST_ENOENT ? 0 : err;
    uint32_t count = original->manifest.header.segment_count;
    original->segments = calloc(count + 1u, sizeof *original->segments);
    if (!original->segments) return rst_fail(ROOST_ENOMEM, "no memory for %u segments", count);
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        rst_segment_name(original->manifest.segments[i].number, name);
        int file = rst_os->open(engine->index_directory, name, RST_OPEN_READ, 0);
        if (file < 0)
            return rst_fail(file == -ENOENT ? ROOST_ECORRUPT : file, "opening %s/index/%s: %s", engine->path, name,
                            strerror(-file));
        original->segments[original->segment_count++] = file;
    }
    return 0;
}

/* Log and index of one moment, under the flock. */
static int hold(struct original *original, struct rst_offline *offline)
{
    struct rst_engine *engine = original->engine;
    struct rst_log_header header = engine->log.header;
    if (header.epoch < engine->writer.epoch) header.epoch = engine->writer.epoch;
    original->chunk = engine->writer.chunk;
    original->chunk_tail = engine->writer.chunk_tail;
    original->lsn = engine->snapshot.visible_lsn;
    int err = hold_index(original);
    if (!err) err = rst_offline_log(offline, &header, engine->log.file);
    original->byte_count += RST_LOG_RING_OFFSET + header.log_size;
    return err;
}

/* ---- copying ---- */

static int copy_file(struct original *original, int from, int directory, const char *name, uint64_t size)
{
    int to = rst_os->open(directory, name, RST_OPEN_WRITE | RST_OPEN_CREATE | RST_OPEN_EXCLUSIVE, 0600);
    if (to < 0) return rst_fail(to, "making %s: %s", name, strerror(-to));
    int err = rst_own_like(to, directory);
    if (!err && size) err = rst_os->allocate(to, 0, size); /* real space: nobody gets SIGBUS later */
    int64_t copied = err ? 0 : rst_copy_all(from, to, size, 0);
    if (copied < 0) err = (int)copied;
    if (!err) err = rst_os->fdatasync(to);
    rst_os->close(to);
    original->byte_count += size;
    return err ? rst_fail(err, "copying %s: %s", name, strerror(-err)) : 0;
}

static int copy_index(struct original *original, const struct rst_offline *offline)
{
    bool renamed;
    int err = 0;
    for (uint32_t i = 0; !err && i < original->segment_count; i++) {
        char name[32];
        rst_segment_name(original->manifest.segments[i].number, name);
        err = copy_file(original, original->segments[i], offline->index_directory, name, original->manifest.segments[i].size);
    }
    if (!err) err = rst_manifest_sync(offline->index_directory);
    if (!err && original->has_manifest) err = rst_manifest_write(offline->index_directory, &original->manifest, &renamed);
    return err;
}

static int copy_chunk(struct original *original, const struct rst_offline *offline, uint32_t chunk)
{
    char name[32];
    struct rst_stat stat;
    rst_chunk_name(chunk, name);
    int file = rst_os->open(original->engine->blocks.directory, name, RST_OPEN_READ, 0);
    if (file == -ENOENT) return 0;
    if (file < 0) return rst_fail(file, "opening blocks/%s: %s", name, strerror(-file));
    int err = rst_os->stat(file, &stat);
    uint64_t size = err ? 0 : stat.size;
    if (chunk == original->chunk && size > original->chunk_tail) size = original->chunk_tail;
    if (!err && size) err = copy_file(original, file, offline->blocks_directory, name, size);
    rst_os->close(file);
    return err;
}

static int copy_blocks(struct original *original, const struct rst_offline *offline)
{
    struct rst_buffer numbers = {0};
    int err = rst_chunks_list(original->engine->blocks.directory, &numbers);
    for (size_t at = 0; !err && at < numbers.size && rst_get_u32(numbers.data + at) <= original->chunk; at += 4)
        err = copy_chunk(original, offline, rst_get_u32(numbers.data + at));
    rst_buffer_free(&numbers);
    return err;
}

/* The rest, without any lock. */
static int copy(struct original *original, struct rst_offline *offline, roost_found_fn found, void *user,
                struct roost_copy *ret_copy)
{
    struct roost_copy result = ROOST_COPY_INIT;
    int err = copy_blocks(original, offline);
    if (!err) err = copy_index(original, offline);
    if (!err) err = rst_offline_verify(offline, found, user, &result.memory_count, NULL);
    if (!err) err = rst_offline_finish(offline);
    result.lsn = original->lsn;
    result.byte_count = original->byte_count;
    if (!err) *ret_copy = result;
    return err;
}

/* ---- backup ---- */

/* Takes the role, asking its holder for it. 0: held, with commit_lock locked. */
static int take_role(struct rst_engine *engine)
{
    int64_t deadline = rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000;
    for (;;) {
        pthread_mutex_lock(&engine->commit_lock);
        int taken = rst_role_take(engine);
        if (taken == 1) return 0;
        if (taken == 0) rst_store_seq_u32(&rst_commit_region(engine)->header->wanted, 1);
        rst_region_ring(&rst_commit_region(engine)->header->doorbell.word);
        pthread_mutex_unlock(&engine->commit_lock);
        if (taken == ROOST_EAGAIN) taken = rst_engine_attach_anew(engine) == ROOST_EAGAIN ? 0 : taken;
        if (taken < 0) return taken;
        if (rst_os->monotonic_time() >= deadline) {
            char name[96];
            rst_role_holder_name(engine, name, sizeof name);
            return rst_fail(ROOST_ETIMEDOUT, "%s: %s holds the writer's role (stopped or busy) and did not let go of it in time",
                            engine->path, name);
        }
        rst_os->sleep(1000000);
    }
}

static int hold_running(struct original *original, struct rst_offline *offline)
{
    struct rst_engine *engine = original->engine;
    int err = rst_slot_use(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
    if (err) return err;
    err = take_role(engine);
    if (!err) {
        err = rst_commit_states(engine, true);
        if (!err) err = rst_checkpoint(engine);
        if (!err) err = hold(original, offline);
        engine->last_work_ns = rst_os->monotonic_time();
        if (engine->threadless) rst_role_drop(engine);
        pthread_mutex_unlock(&engine->commit_lock);
    }
    rst_slot_unuse(engine);
    return err;
}

int rst_backup(struct rst_engine *engine, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    if (engine->observer)
        return rst_fail(ROOST_EROFS, "%s was opened as an observer, which cannot make a checkpoint", engine->path);
    struct original original = {.engine = engine};
    struct rst_offline offline;
    int err = rst_offline_begin(path, &offline);
    if (err) return err;
    err = hold_running(&original, &offline);
    if (!err) err = copy(&original, &offline, found, user, ret_copy);
    rst_offline_end(&offline, !err);
    let_go(&original);
    return err ? rst_fail_context(err, "backup to %s", path) : 0;
}

/* ---- restore ---- */

/* Nobody may have it open, and nobody may open it until it is copied. */
static int hold_resting(struct rst_engine *engine)
{
    int err = rst_os->flock(engine->log.file);
    if (err && err != -EWOULDBLOCK) return rst_fail(err, "locking %s/state.wal: %s", engine->path, strerror(-err));
    bool open = err || !engine->mapping->region.memory; /* its own view: nobody had it open */
    uint64_t sequence = engine->log.header.sequence;
    if (!err) err = rst_log_read_header(&engine->log);
    if (!open && !err && engine->log.header.sequence == sequence) return 0;
    if (open || !err)
        return rst_fail(ROOST_EBUSY, "%s is open in another process; close it there, or use `roost backup`", engine->path);
    return err;
}

int rst_restore(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy)
{
    struct rst_engine *engine = NULL;
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = ROOST_OPEN_OBSERVE;
    int err = rst_engine_open(source, &options, true, &engine);
    if (err) return err;
    struct original original = {.engine = engine};
    struct rst_offline offline;
    err = hold_resting(engine);
    if (!err) err = rst_broken(engine);
    int count = err ? 0 : rst_verify(engine, found, user);
    if (!err && count < 0) err = count;
    if (!err && count)
        err = rst_fail(ROOST_ECORRUPT,
                       "%s is damaged (%d places); nothing was restored. `roost rescue %s %s` saves what can be read", source,
                       count, source, path);
    if (!err) err = rst_offline_begin(path, &offline);
    if (!err) {
        err = hold(&original, &offline);
        if (!err) err = copy(&original, &offline, found, user, ret_copy);
        rst_offline_end(&offline, !err);
    }
    let_go(&original);
    rst_os->funlock(engine->log.file);
    rst_engine_close(engine);
    return err;
}
