/* SPDX-License-Identifier: MIT
 * fuzz/import.c: any bytes as what `roost import` reads (src/cli/feed.c), into a root on a simulated machine, which is right afterwards. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    struct machine machine;
    machine_start(&machine, MACHINE_EMPTY);
    RST_CHECK(machine_open(&machine, 0) == 0);
    struct cli cli = {.root = machine_use(&machine, 0), .level = ROOST_DURABLE, .wait_ms = 1000};
    struct feed_options options = {.kind = FEED_IMPORT, .continue_on_error = data[0] % 2};
    struct feed_result result = {0};
    int file = memfd_create("lines", MFD_CLOEXEC);
    RST_CHECK(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)(size - 1) && lseek(file, 0, SEEK_SET) == 0);
    int code = feed_lines(&cli, file, &options, &result);
    close(file);
    RST_CHECK(code >= 0 && result.line_count <= size);
    struct roost_stats stats = ROOST_STATS_INIT;
    RST_CHECK(roost_stats(cli.root, &stats) == 0 && stats.memory_count <= result.memory_count);
    machine_read(cli.root, NULL, NULL);
    RST_CHECK(roost_check(cli.root, NULL, NULL) == 0);
    machine_end(&machine);
    return 0;
}
