/* SPDX-License-Identifier: MIT
 * store/manifest.c: index/MANIFEST and the segment files as files (layer 4). */
#include "store/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "os/os.h"

enum { MANIFEST_SIZE_MAX = 16 << 20 };

int rst_manifest_read(int index_directory, struct rst_manifest *ret_manifest)
{
    int file = rst_os->open(index_directory, "MANIFEST", RST_OPEN_READ, 0);
    if (file == -ENOENT) return ROOST_ENOENT;
    if (file < 0) return rst_fail(file, "opening index/MANIFEST: %s", strerror(-file));
    struct rst_stat stat;
    int err = rst_os->stat(file, &stat);
    uint8_t *bytes = NULL;
    if (!err && stat.size > MANIFEST_SIZE_MAX)
        err = rst_fail(ROOST_ECORRUPT, "index/MANIFEST: %llu bytes", (unsigned long long)stat.size);
    if (!err && !(bytes = malloc((size_t)stat.size + 1))) err = rst_fail(ROOST_ENOMEM, "no memory for MANIFEST");
    if (!err) {
        int64_t got = rst_read_all(file, bytes, (size_t)stat.size, 0);
        err = got < 0 ? rst_fail((int)got, "reading index/MANIFEST: %s", strerror((int)-got))
                      : rst_manifest_decode(bytes, (size_t)got, ret_manifest);
    }
    free(bytes);
    rst_os->close(file);
    return err;
}

/* As rst_replace_file, with the owner and the permissions of the folder. */
static int replace_manifest(int index_directory, const struct rst_buffer *bytes, bool *ret_renamed)
{
    struct rst_stat stat;
    int err = rst_os->stat(index_directory, &stat);
    if (!err)
        err = rst_replace_file(index_directory, "MANIFEST", bytes->data, bytes->size, 0600 | (stat.mode & 0066), ret_renamed);
    if (err || rst_os->user_id() != 0 || stat.uid == 0) return err;
    int file = rst_os->open(index_directory, "MANIFEST", RST_OPEN_READ, 0);
    if (file < 0) return file;
    err = rst_own_like(file, index_directory);
    rst_os->close(file);
    return err;
}

int rst_manifest_write(int index_directory, const struct rst_manifest *manifest, bool *ret_renamed)
{
    *ret_renamed = false;
    struct rst_buffer bytes = {0};
    int err = rst_manifest_encode(manifest, &bytes);
    if (!err) {
        err = replace_manifest(index_directory, &bytes, ret_renamed);
        if (err) rst_fail(err, "writing index/MANIFEST: %s", strerror(-err));
    }
    rst_buffer_free(&bytes);
    return err;
}

int rst_manifest_sync(int index_directory)
{
    int err = rst_os->fsync(index_directory);
    return err ? rst_fail(err, "syncing index/: %s", strerror(-err)) : 0;
}

void rst_segment_name(uint64_t number, char ret_name[32]) { snprintf(ret_name, 32, "seg-%llu.idx", (unsigned long long)number); }

bool rst_segment_number(const char *name, uint64_t *ret_number)
{
    char own_name[32];
    if (strncmp(name, "seg-", 4) != 0) return false;
    *ret_number = strtoull(name + 4, NULL, 10);
    rst_segment_name(*ret_number, own_name);
    return strcmp(name, own_name) == 0;
}

int rst_segment_write(int index_directory, uint64_t number, const struct rst_buffer *bytes)
{
    char name[32];
    rst_segment_name(number, name);
    /* A leftover of a crash may be longer, and files are never shrunk: it goes first. */
    int err = rst_os->unlink(index_directory, name);
    if (err && err != -ENOENT) return rst_fail(err, "unlinking index/%s: %s", name, strerror(-err));
    int file = rst_os->open(index_directory, name, RST_OPEN_WRITE | RST_OPEN_CREATE | RST_OPEN_EXCLUSIVE, 0600);
    if (file < 0) return rst_fail(file, "making index/%s: %s", name, strerror(-file));
    err = rst_own_like(file, index_directory);
    if (!err) err = rst_os->allocate(file, 0, bytes->size);
    if (!err) err = rst_write_all(file, bytes->data, bytes->size, 0);
    if (!err) err = rst_os->fdatasync(file);
    rst_os->close(file);
    if (err) {
        rst_os->unlink(index_directory, name);
        return rst_fail(err, "writing index/%s: %s", name, strerror(-err));
    }
    return 0;
}

struct sweep {
    int directory;
    const struct rst_manifest *manifest;
};

static int sweep_file(void *user, const char *name)
{
    struct sweep *sweep = user;
    uint64_t number;
    if (!rst_segment_number(name, &number)) return 0; /* somebody's own file */
    for (uint32_t i = 0; i < sweep->manifest->header.segment_count; i++)
        if (sweep->manifest->segments[i].number == number) return 0;
    rst_os->unlink(sweep->directory, name);
    return 0;
}

void rst_segments_sweep(int index_directory, const struct rst_manifest *manifest)
{
    struct sweep sweep = {index_directory, manifest};
    rst_os->list(index_directory, sweep_file, &sweep);
}
