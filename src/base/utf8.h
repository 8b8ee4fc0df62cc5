/* SPDX-License-Identifier: MIT
 * base/utf8.h: is it UTF-8 (layer 0)? */
#ifndef RST_BASE_UTF8_H
#define RST_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* *ret_offset (may be NULL), when it is not: of the first byte that begins no character. */
bool rst_utf8_valid(const void *text, size_t size, size_t *ret_offset);
/* The greatest number of bytes, at most `limit`, after which no character is cut in two. */
size_t rst_utf8_cut(const void *text, size_t size, size_t limit);

#endif
