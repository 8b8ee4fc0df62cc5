/* SPDX-License-Identifier: MIT
 * base/bytes.c: LEB128 varints (layer 0). */
#include "base/bytes.h"

size_t rst_varint_encode(uint8_t to[10], uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        to[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[size++] = (uint8_t)value;
    return size;
}

size_t rst_varint_decode(const uint8_t *from, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < 10; i++) {
        uint64_t part = from[i] & 0x7f;
        if (i == 9 && part > 1) return 0; /* would not fit in 64 bits */
        value |= part << (7 * i);
        if (!(from[i] & 0x80)) {
            *ret_value = value;
            return i + 1;
        }
    }
    return 0;
}
