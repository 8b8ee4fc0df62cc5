/* SPDX-License-Identifier: MIT
 * engine/create.c: making a root (layer 7). state.wal is linked into place complete; several may try, one makes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

enum {
    LOG_SIZE_DEFAULT = 16 << 20,
    CHUNK_SIZE_DEFAULT = 64 << 20,
    ARENA_SIZE_DEFAULT = 24 << 20,
    SIZE_LEAST = 64 << 10,
    ARENA_SIZE_LEAST = 256 << 10,
    SIZE_GREATEST = 1 << 30,
};

static int check_size(const char *name, uint64_t size, uint64_t least)
{
    if (size >= least && size <= SIZE_GREATEST && size % 4096 == 0) return 0;
    return rst_fail(ROOST_EINVAL, "the %s of %llu bytes is not possible: at least %llu, at most %d, a multiple of 4096", name,
                    (unsigned long long)size, (unsigned long long)least, SIZE_GREATEST);
}

/* Fills in defaults and checks. */
static int complete_settings(const struct roost_settings *given, struct roost_settings *ret_settings)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    if (given) memcpy(&settings, given, given->size < sizeof settings ? given->size : sizeof settings);
    if (!settings.log_size) settings.log_size = LOG_SIZE_DEFAULT;
    if (!settings.chunk_size) settings.chunk_size = CHUNK_SIZE_DEFAULT;
    if (!settings.arena_size) settings.arena_size = ARENA_SIZE_DEFAULT;
    if (!settings.language) settings.language = "english";
    if (!settings.region) settings.region = ROOST_REGION_SHM;
    int err = check_size("log", settings.log_size, SIZE_LEAST);
    if (!err) err = check_size("chunk", settings.chunk_size, SIZE_LEAST);
    if (!err) err = check_size("arena", settings.arena_size, ARENA_SIZE_LEAST);
    if (!err && settings.region > ROOST_REGION_FILE) err = rst_fail(ROOST_EINVAL, "the region kind is neither shm nor file");
    if (!err && (!rst_language_known(settings.language) || strlen(settings.language) >= 16))
        err = rst_fail(ROOST_EINVAL, "there is no stemmer for \"%s\"; names are Snowball's (english, german, ...) or \"none\"",
                       settings.language);
    *ret_settings = settings;
    return err;
}

int rst_root_refuse(int file, const char *path)
{
    char name[64];
    int err = rst_os->file_system(file, name, sizeof name);
    if (err < 0) return rst_fail(err, "looking at the file system of %s: %s", path, strerror(-err));
    if (!name[0]) return 0;
    return rst_fail(ROOST_EFILESYSTEM,
                    "%s is on a %s file system, where locks or shared mappings cannot be trusted; put the root on a local disk "
                    "(ext4, xfs, btrfs, tmpfs, ...)",
                    path, name);
}

/* 0: no log there; ROOST_EEXIST: a root; ROOST_EFOREIGN, ECORRUPT, ...: something else. */
static int look_for_log(int directory, const char *path)
{
    struct rst_log log = {.file = rst_os->open(directory, "state.wal", RST_OPEN_READ, 0)};
    if (log.file == -ENOENT) return 0;
    if (log.file < 0) return rst_fail(log.file, "opening %s/state.wal: %s", path, strerror(-log.file));
    int err = rst_log_read_header(&log);
    rst_os->close(log.file);
    if (err == ROOST_EFOREIGN)
        return rst_fail(err,
                        "%s belongs to another program: its state.wal is not Roost's (memmap_fs keeps its data under the same "
                        "name); nothing was touched, choose another folder",
                        path);
    return err ? rst_fail_context(err, "%s", path) : rst_fail(ROOST_EEXIST, "%s is a root already", path);
}

int rst_root_was_none(int directory, const char *path)
{
    struct rst_buffer chunks = {0};
    struct rst_stat stat;
    int blocks = rst_os->open(directory, "blocks", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    bool any = blocks >= 0 && rst_chunks_list(blocks, &chunks) == 0 && chunks.size;
    if (blocks >= 0) rst_os->close(blocks);
    rst_buffer_free(&chunks);
    rst_fail_clear();
    any = any || rst_os->stat_at(directory, "index/MANIFEST", &stat) == 0;
    if (!any) return 0;
    return rst_fail(
        ROOST_ECORRUPT,
        "%s has a root's blocks/ or index/, but no state.wal: that was lost, and `roost rescue %s NEW` saves what can be read; "
        "or it is half a copy, of a command that was interrupted, and can be removed. Nothing was touched",
        path, path);
}

static int make_folder(int directory, const char *name)
{
    int err = rst_os->mkdir(directory, name, 0700);
    return err && err != -EEXIST ? rst_fail(err, "making %s/: %s", name, strerror(-err)) : 0;
}

static int fill_root(int directory, const char *path, const struct roost_settings *settings)
{
    /* crash: 1 folders without a log: no root; the next try goes on from there
     *        2 state.wal linked, directory synced: a root */
    int err = rst_root_refuse(directory, path);
    if (!err) err = look_for_log(directory, path);
    if (!err) err = rst_root_was_none(directory, path);
    if (!err) err = make_folder(directory, "blocks");
    if (!err) err = make_folder(directory, "index");
    if (err) return err;
    struct rst_log_header header;
    memset(&header, 0, sizeof header);
    err = rst_os->random(header.root_uuid, sizeof header.root_uuid);
    header.region_kind = settings->region;
    header.log_size = settings->log_size;
    header.chunk_size = settings->chunk_size;
    header.arena_size = settings->arena_size;
    snprintf(header.language, sizeof header.language, "%s", settings->language);
    header.analysis_version = RST_ANALYSIS_VERSION;
    header.created_ns = rst_os->real_time();
    if (!err) err = rst_os->fsync(directory);
    if (!err) err = rst_log_create(directory, &header);
    if (!err) err = rst_os->fsync(directory);
    return err ? rst_fail_context(err, "making a root in %s", path) : 0;
}

/* By "..", not by the path: that may lead through symbolic links, and be a name without a folder before it. */
int rst_root_sync_parent(int directory, const char *path)
{
    int file = rst_os->open(directory, "..", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    int err = file < 0 ? file : rst_os->fsync(file);
    if (file >= 0) rst_os->close(file);
    /* A parent that may not be read cannot be synced; the root itself is whole. */
    if (!err || err == -EINVAL || (file < 0 && err == -EACCES)) return 0;
    return rst_fail(err, "syncing the folder that %s is in: %s", path, strerror(-err));
}

/* A link is not followed: whoever may change it could lead a root's processes apart. */
int rst_root_unopened(const char *path, int err)
{
    struct rst_stat stat;
    if (err == -ENOTDIR) return rst_fail(ROOST_ENOTDIR, "%s is a file, not a folder", path);
    if (err != -ELOOP) return rst_fail(err, "opening %s: %s", path, strerror(-err));
    if (rst_os->stat_at(-1, path, &stat) == 0)
        return rst_fail(ROOST_ENOTDIR, "%s is a symbolic link: give the folder that it leads to", path);
    return rst_fail(ROOST_ENOTDIR, "%s: the symbolic links on the way to it lead in a circle", path);
}

int rst_root_folder(const char *path)
{
    int err = rst_os->mkdir(-1, path, 0700);
    if (err == -ENOENT)
        return rst_fail(ROOST_ENOENT, "making the folder %s: the folder that it would be in does not exist; make that first",
                        path);
    if (err == -ELOOP) return rst_root_unopened(path, err);
    if (err && err != -EEXIST) return rst_fail(err, "making the folder %s: %s", path, strerror(-err));
    int directory = rst_os->open(-1, path, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    return directory < 0 ? rst_root_unopened(path, directory) : directory;
}

int rst_root_create(const char *path, const struct roost_settings *given)
{
    struct roost_settings settings;
    int err = complete_settings(given, &settings);
    if (err) return err;
    int directory = rst_root_folder(path);
    if (directory < 0) return directory;
    err = fill_root(directory, path, &settings);
    if (!err) err = rst_root_sync_parent(directory, path);
    rst_os->close(directory);
    return err;
}
