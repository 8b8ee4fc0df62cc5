/* SPDX-License-Identifier: MIT
 * base/utf8.c: is it UTF-8 (layer 0)? */
#include "base/utf8.h"

#include "base/bytes.h"

/* The bytes of the character at `at`, 0 if it is none: Unicode 15, table 3-7 (no overlong forms, no surrogates). */
static size_t character_size(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (left < size) return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    return size;
}

bool rst_utf8_valid(const void *text, size_t size, size_t *ret_offset)
{
    const uint8_t *bytes = text;
    for (size_t at = 0; at < size;) {
        if (size - at >= 8 && !(rst_get_u64(bytes + at) & 0x8080808080808080u)) {
            at += 8;
            continue;
        }
        size_t used = character_size(bytes + at, size - at);
        if (!used) {
            if (ret_offset) *ret_offset = at;
            return false;
        }
        at += used;
    }
    return true;
}

size_t rst_utf8_cut(const void *text, size_t size, size_t limit)
{
    const uint8_t *bytes = text;
    if (size <= limit) return size;
    while (limit && (bytes[limit] & 0xc0) == 0x80) limit--;
    return limit;
}
