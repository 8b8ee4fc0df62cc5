/* SPDX-License-Identifier: MIT
 * engine/offline.c: a root in the making (layer 7).
 *
 * crash: 1 folders and files without state.wal: no root; who tries again is told to remove them
 *        2 state.wal linked: everything in it was synced before */
#include "engine/offline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "os/os.h"

static int not_empty(void *user, const char *name)
{
    (void)user;
    (void)name;
    return ROOST_EEXIST;
}

/* Empty folders are what a try that failed leaves. */
static int not_ours(void *user, const char *name)
{
    if (strcmp(name, "blocks") != 0 && strcmp(name, "index") != 0) return ROOST_EEXIST;
    int file = rst_os->open(*(const int *)user, name, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    int err = file < 0 ? ROOST_EEXIST : rst_os->list(file, not_empty, NULL);
    if (file >= 0) rst_os->close(file);
    return err;
}

static int make_part(const struct rst_offline *offline, const char *name, int *ret_file)
{
    int err = rst_os->mkdir(offline->directory, name, 0700);
    int file = err && err != -EEXIST ? err : rst_os->open(offline->directory, name, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (file < 0) return rst_fail(file, "making %s/%s: %s", offline->path, name, strerror(-file));
    *ret_file = file;
    return 0;
}

int rst_offline_begin(const char *path, struct rst_offline *ret_offline)
{
    struct rst_offline offline = {path, -1, -1, -1, -1};
    offline.directory = rst_root_folder(path);
    if (offline.directory < 0) return offline.directory;
    int err = rst_root_refuse(offline.directory, path);
    if (!err) err = rst_os->list(offline.directory, not_ours, &offline.directory);
    if (err == ROOST_EEXIST) {
        rst_os->close(offline.directory); /* what lies there is somebody's */
        return rst_fail(err,
                        "%s is not empty; name a folder that is, or one that does not exist (half a copy, of a command that was "
                        "interrupted, can be removed)",
                        path);
    }
    if (!err) err = make_part(&offline, "blocks", &offline.blocks_directory);
    if (!err) err = make_part(&offline, "index", &offline.index_directory);
    if (err)
        rst_offline_end(&offline, false);
    else
        *ret_offline = offline;
    return err;
}

int rst_offline_log(struct rst_offline *offline, struct rst_log_header *header, int ring_from)
{
    int err = rst_os->random(header->root_uuid, sizeof header->root_uuid);
    if (err) return rst_fail(err, "no random numbers to be had");
    memset(header->boot_id, 0, sizeof header->boot_id);
    header->region_nonce = 0;
    return rst_log_draft(offline->directory, header, ring_from, &offline->log_file);
}

int rst_offline_engine(const struct rst_offline *offline, bool observer, struct rst_engine **ret_engine)
{
    struct rst_engine *engine = rst_engine_bare(offline->path, observer);
    if (!engine) return rst_fail(ROOST_ENOMEM, "no memory to open %s", offline->path);
    engine->root_directory = offline->directory;
    engine->index_directory = offline->index_directory;
    engine->log.file = offline->log_file;
    struct rst_mapping *mapping = calloc(1, sizeof *mapping);
    int err = mapping ? rst_engine_identify(engine) : rst_fail(ROOST_ENOMEM, "no memory to open %s", offline->path);
    if (mapping) mapping->region.file = -1;
    engine->mapping = mapping;
    rst_store_pointer(&engine->shown, mapping);
    if (!err) err = rst_blocks_open(&engine->blocks, offline->directory, engine->log.chunk_size);
    if (!err) err = rst_analyzer_create(engine->log.language, &engine->analyzer);
    if (!err) err = rst_region_create_private(&engine->identity, &mapping->region);
    if (!err) {
        rst_mapping_attach_arenas(mapping);
        *ret_engine = engine;
    } else {
        rst_offline_release(engine);
    }
    return err;
}

void rst_offline_release(struct rst_engine *engine)
{
    if (!engine) return;
    engine->root_directory = engine->index_directory = engine->log.file = -1; /* rst_offline_end closes them */
    rst_engine_bare_free(engine);
}

int rst_offline_verify(const struct rst_offline *offline, roost_found_fn found, void *user, uint64_t *ret_memory_count,
                       int *ret_found_count)
{
    struct rst_engine *engine = NULL;
    int err = rst_offline_engine(offline, true, &engine);
    if (!err) err = rst_recover_cold(engine, false);
    int count = err ? 0 : rst_verify(engine, found, user);
    if (!err && count < 0) err = count;
    if (!err && count && !ret_found_count)
        err = rst_fail(ROOST_ECORRUPT, "%s: the copy fails %d of its checks", offline->path, count);
    if (!err && ret_found_count) *ret_found_count = count;
    if (!err && ret_memory_count) *ret_memory_count = engine->snapshot.memory_count;
    rst_offline_release(engine);
    return err;
}

int rst_offline_finish(struct rst_offline *offline)
{
    int err = rst_os->fsync(offline->blocks_directory);
    if (!err) err = rst_os->fsync(offline->index_directory);
    if (!err) err = rst_os->fsync(offline->directory);
    if (err) return rst_fail(err, "syncing %s: %s", offline->path, strerror(-err));
    err = rst_log_publish(offline->log_file, offline->directory);
    return err ? err : rst_root_sync_parent(offline->directory, offline->path);
}

static int remove_file(void *user, const char *name)
{
    rst_os->unlink(*(const int *)user, name);
    return 0;
}

/* Once state.wal has its name all that it needs stays, also when the last sync failed: then it is whole, or none after a power cut. */
static bool has_name(const struct rst_offline *offline)
{
    struct rst_stat stat;
    return offline->directory >= 0 && rst_os->stat_at(offline->directory, "state.wal", &stat) != -ENOENT;
}

void rst_offline_end(struct rst_offline *offline, bool finished)
{
    if (!finished) finished = has_name(offline);
    if (!finished && offline->blocks_directory >= 0)
        rst_os->list(offline->blocks_directory, remove_file, &offline->blocks_directory);
    if (!finished && offline->index_directory >= 0)
        rst_os->list(offline->index_directory, remove_file, &offline->index_directory);
    if (offline->log_file >= 0) rst_os->close(offline->log_file);
    if (offline->blocks_directory >= 0) rst_os->close(offline->blocks_directory);
    if (offline->index_directory >= 0) rst_os->close(offline->index_directory);
    if (offline->directory >= 0) rst_os->close(offline->directory);
    offline->directory = offline->blocks_directory = offline->index_directory = offline->log_file = -1;
}
