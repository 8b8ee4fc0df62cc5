/* SPDX-License-Identifier: MIT
 * store/reserve.c: the reserve as a file (layer 4). */
#include "store/reserve.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "os/os.h"

static const char NAME[] = "reserve";

int rst_reserve_take(int root_directory, uint64_t size)
{
    struct rst_stat stat;
    int err = rst_os->stat_at(root_directory, NAME, &stat);
    if (err == 0 && stat.size >= size) return 0;
    int file = rst_os->open(root_directory, NAME, RST_OPEN_WRITE | RST_OPEN_CREATE, 0600);
    if (file < 0) return rst_fail(file, "making the file %s: %s", NAME, strerror(-file));
    err = rst_own_like(file, root_directory);
    if (!err) err = rst_os->allocate(file, 0, size);
    rst_os->close(file);
    if (!err) return 0;
    rst_reserve_give(root_directory);
    return rst_fail(err, "the %llu bytes that are kept for when the disk is full cannot be had: %s; free some space",
                    (unsigned long long)size, strerror(-err));
}

void rst_reserve_give(int root_directory) { rst_os->unlink(root_directory, NAME); }
