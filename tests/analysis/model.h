/* SPDX-License-Identifier: MIT
 * analysis/model.h: what gcc's analyzer cannot see in one file, told to it. Included before everything else, by analyze.py alone.
 *
 * rst_fail and rst_fail_context return the error they are given, and every error is negative; they are compiled elsewhere, so the
 * analyzer also follows the path on which `return rst_fail(...)` returned 0, and finds there that nothing was set. */
#include "base/error.h"

#define RST_NEGATIVE(call) \
    __extension__({ \
        int negative = (call); \
        if (negative >= 0) __builtin_unreachable(); \
        negative; \
    })
#define rst_fail(...) RST_NEGATIVE(rst_fail(__VA_ARGS__))
#define rst_fail_context(...) RST_NEGATIVE(rst_fail_context(__VA_ARGS__))
