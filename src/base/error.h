/* SPDX-License-Identifier: MIT
 * base/error.h: how an error travels (layer 0).
 * A function that can fail returns 0 (or a count) or a negative ROOST_E... number. The one that first knows what went
 * wrong says so with rst_fail: what, where (file:offset), which values, what to do. The text is the calling thread's. */
#ifndef RST_BASE_ERROR_H
#define RST_BASE_ERROR_H

#include <roost/roost.h>

/* Records the detail text of this thread's last error and returns err, so that it reads `return rst_fail(...)`. */
__attribute__((format(printf, 2, 3))) int rst_fail(int err, const char *format, ...);

/* Puts context before the detail text that is already there ("opening /x: ..."). Returns err. */
__attribute__((format(printf, 2, 3))) int rst_fail_context(int err, const char *format, ...);

/* This thread's detail text; "" when there is none. Valid until the thread's next failing call. */
const char *rst_fail_detail(void);
void rst_fail_clear(void);
/* Copies text in as this thread's detail (a result that came from another process or thread). */
void rst_fail_set_detail(const char *text);

#endif
