/* SPDX-License-Identifier: MIT
 * base/error.c: the thread's last error in words (layer 0). */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Long enough for two paths and a sentence; longer text is cut, never allocated (errors must work when memory does not). */
enum { DETAIL_SIZE = 1024 };
static _Thread_local char detail[DETAIL_SIZE];

int rst_fail(int err, const char *format, ...)
{
    /* The arguments may point into the old detail text, so the new one is built beside it. */
    char text[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(detail, text, sizeof detail);
    return err;
}

int rst_fail_context(int err, const char *format, ...)
{
    char text[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used + 1 < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, ": %s", detail[0] ? detail : roost_error_text(err));
    memcpy(detail, text, sizeof detail);
    return err;
}

const char *rst_fail_detail(void) { return detail; }

void rst_fail_clear(void) { detail[0] = '\0'; }

void rst_fail_set_detail(const char *text)
{
    size_t size = strnlen(text, DETAIL_SIZE - 1);
    memmove(detail, text, size);
    detail[size] = '\0';
}
