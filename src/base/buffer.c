/* SPDX-License-Identifier: MIT
 * base/buffer.c: a growing byte buffer (layer 0). */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void rst_buffer_free(struct rst_buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

void rst_buffer_clear(struct rst_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

bool rst_buffer_reserve(struct rst_buffer *buffer, size_t more)
{
    if (buffer->failed) return false;
    if (more <= buffer->capacity - buffer->size) return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity - buffer->size < more) {
        if (capacity > SIZE_MAX / 2) goto failed;
        capacity *= 2;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data) goto failed;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
failed:
    buffer->failed = true;
    return false;
}

void *rst_buffer_extend(struct rst_buffer *buffer, size_t more)
{
    if (!rst_buffer_reserve(buffer, more)) return NULL;
    void *room = buffer->data + buffer->size;
    buffer->size += more;
    return room;
}

void rst_buffer_add(struct rst_buffer *buffer, const void *data, size_t size)
{
    if (!size) return;
    void *room = rst_buffer_extend(buffer, size);
    if (room) memcpy(room, data, size);
}

void rst_buffer_add_u8(struct rst_buffer *buffer, uint8_t value) { rst_buffer_add(buffer, &value, sizeof value); }
void rst_buffer_add_u32(struct rst_buffer *buffer, uint32_t value) { rst_buffer_add(buffer, &value, sizeof value); }
void rst_buffer_add_u64(struct rst_buffer *buffer, uint64_t value) { rst_buffer_add(buffer, &value, sizeof value); }

void rst_buffer_add_varint(struct rst_buffer *buffer, uint64_t value)
{
    uint8_t bytes[10];
    rst_buffer_add(buffer, bytes, rst_varint_encode(bytes, value));
}

void rst_buffer_add_zeros(struct rst_buffer *buffer, size_t count)
{
    void *room = count ? rst_buffer_extend(buffer, count) : NULL;
    if (room) memset(room, 0, count);
}
