/* SPDX-License-Identifier: MIT
 * base/bytes.h: little-endian fields, alignment, and a bounds-checked cursor (layer 0). */
#ifndef RST_BASE_BYTES_H
#define RST_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <roost/roost.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Roost's files are little-endian and mapped as they are; a big-endian port needs swapping accessors here"
#endif

static inline uint16_t rst_get_u16(const void *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint32_t rst_get_u32(const void *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint64_t rst_get_u64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline void rst_put_u16(void *to, uint16_t value) { memcpy(to, &value, sizeof value); }
static inline void rst_put_u32(void *to, uint32_t value) { memcpy(to, &value, sizeof value); }
static inline void rst_put_u64(void *to, uint64_t value) { memcpy(to, &value, sizeof value); }
/* Big-endian numbers inside ordered keys sort as numbers do. */
static inline void rst_put_be64(void *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, sizeof value);
}
static inline uint64_t rst_get_be64(const void *from) { return __builtin_bswap64(rst_get_u64(from)); }

static inline uint64_t rst_align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

static inline struct roost_bytes rst_bytes(const void *data, size_t size)
{
    struct roost_bytes bytes = {data, size};
    return bytes;
}
static inline bool rst_bytes_equal(struct roost_bytes a, struct roost_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/* memcmp order, the shorter first on a tie: the order of keys. */
static inline int rst_bytes_compare(struct roost_bytes a, struct roost_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}
static inline bool rst_bytes_has_prefix(struct roost_bytes bytes, struct roost_bytes prefix)
{
    return bytes.size >= prefix.size && (prefix.size == 0 || memcmp(bytes.data, prefix.data, prefix.size) == 0);
}

/* LEB128, at most 10 bytes. encode returns the bytes written; decode returns the bytes read, 0 on garbage or a short buffer. */
size_t rst_varint_encode(uint8_t to[10], uint64_t value);
size_t rst_varint_decode(const uint8_t *from, size_t size, uint64_t *ret_value);

#endif
