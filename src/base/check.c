/* SPDX-License-Identifier: MIT
 * base/check.c: the end of a process that broke its own invariant (layer 0). */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/atomic.h"

#ifdef RST_TSAN
uint32_t rst_fence_word;
#endif

void rst_check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "roost: internal check failed: %s (%s:%d)\n", what, file, line);
    abort();
}
