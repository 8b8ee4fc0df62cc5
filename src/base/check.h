/* SPDX-License-Identifier: MIT
 * base/check.h: assertions that stay on in release (layer 0).
 * For the process's own invariants only. Bytes that come from disk or from the region are data: they are validated and
 * reported as ROOST_ECORRUPT, never asserted. */
#ifndef RST_BASE_CHECK_H
#define RST_BASE_CHECK_H

__attribute__((noreturn, cold)) void rst_check_failed(const char *what, const char *file, int line);

#define RST_CHECK(condition) \
    do { \
        if (__builtin_expect(!(condition), 0)) rst_check_failed(#condition, __FILE__, __LINE__); \
    } while (0)

#define RST_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
