/* SPDX-License-Identifier: MIT
 * base/buffer.h: a growing byte buffer (layer 0).
 * A failed allocation sticks: later calls do nothing and `failed` stays set, so that a caller checks once at the end. */
#ifndef RST_BASE_BUFFER_H
#define RST_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rst_buffer {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
};

void rst_buffer_free(struct rst_buffer *buffer);                 /* leaves an empty, usable buffer */
void rst_buffer_clear(struct rst_buffer *buffer);                /* size 0, memory kept, failure forgotten */
bool rst_buffer_reserve(struct rst_buffer *buffer, size_t more); /* false: out of memory */
void *rst_buffer_extend(struct rst_buffer *buffer, size_t more); /* uninitialised room at the end; NULL: out of memory */
void rst_buffer_add(struct rst_buffer *buffer, const void *data, size_t size);
void rst_buffer_add_u8(struct rst_buffer *buffer, uint8_t value);
void rst_buffer_add_u32(struct rst_buffer *buffer, uint32_t value);
void rst_buffer_add_u64(struct rst_buffer *buffer, uint64_t value);
void rst_buffer_add_varint(struct rst_buffer *buffer, uint64_t value);
void rst_buffer_add_zeros(struct rst_buffer *buffer, size_t count);

#endif
