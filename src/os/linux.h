/* SPDX-License-Identifier: MIT
 * os/linux.h: what the Linux bodies share among themselves (layer 1). Nobody outside src/os/linux*.c includes it, but for
 * the unit test of the system bodies. */
#ifndef RST_OS_LINUX_H
#define RST_OS_LINUX_H

#include <stdbool.h>
#include <stddef.h>

#include "os/os.h"

int rst_linux_file_system(int file, char *ret_name, size_t name_size);
/* One line of /proc/self/mountinfo: true and the type's name when the line is about that device. */
bool rst_linux_mount_type(const char *line, unsigned device_major, unsigned device_minor, char *ret_name, size_t name_size);

int rst_linux_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
int rst_linux_futex_wait_any(const struct rst_futex_wait *words, size_t count, int64_t timeout_ns);
int rst_linux_event_open(void);
int rst_linux_event_signal(int file);
int rst_linux_event_clear(int file);
int rst_linux_futex_wake(const uint32_t *word, uint32_t count);
int64_t rst_linux_monotonic_time(void);
void rst_linux_sleep(int64_t ns);

#endif
