/* SPDX-License-Identifier: MIT
 * format/state.c: encode, decode and check an agent's state (layer 2). */
#include "format/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

int rst_state_encode(const struct roost_state *state, struct rst_buffer *ret_bytes)
{
    rst_buffer_clear(ret_bytes);
    struct rst_state_header header = {
        .version = state->version,
        .time_ns = state->time_ns,
        .active_memory_count = state->active_memory_count,
        .last_updated_id = state->last_updated_id,
        .owner_pid = state->owner_pid,
        .owned = state->alive != ROOST_ALIVE_NONE,
        .status_size = (uint32_t)state->status.size,
        .extra_count = (uint32_t)state->extra_count,
    };
    rst_buffer_add(ret_bytes, &header, sizeof header);
    rst_buffer_add(ret_bytes, state->status.data, state->status.size);
    for (size_t i = 0; i < state->extra_count; i++) {
        rst_buffer_add_u32(ret_bytes, (uint32_t)state->extra[i].name.size);
        rst_buffer_add_u32(ret_bytes, (uint32_t)state->extra[i].value.size);
        rst_buffer_add(ret_bytes, state->extra[i].name.data, state->extra[i].name.size);
        rst_buffer_add(ret_bytes, state->extra[i].value.data, state->extra[i].value.size);
    }
    if (ret_bytes->failed) return rst_fail(ROOST_ENOMEM, "no memory for a state");
    if (ret_bytes->size > ROOST_STATE_SIZE_MAX)
        return rst_fail(ROOST_E2BIG, "the state of \"%.*s\" takes %zu bytes, at most %u are kept; shorten status or extra",
                        (int)state->name.size, (const char *)state->name.data, ret_bytes->size, ROOST_STATE_SIZE_MAX);
    header.size = (uint32_t)ret_bytes->size;
    memcpy(ret_bytes->data, &header, sizeof header);
    return 0;
}

/* The extras behind the status; false on garbage. */
static bool decode_extra(const uint8_t *data, size_t size, struct roost_extra *extra, uint32_t count)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (size - offset < 8) return false;
        uint32_t name_size = rst_get_u32(data + offset), value_size = rst_get_u32(data + offset + 4);
        offset += 8;
        if (name_size > size - offset || value_size > size - offset - name_size) return false;
        extra[i].name = rst_bytes(data + offset, name_size);
        extra[i].value = rst_bytes(data + offset + name_size, value_size);
        offset += (size_t)name_size + value_size;
    }
    return offset == size;
}

int rst_state_decode(struct roost_bytes bytes, struct roost_state *ret_state, struct roost_extra **ret_extra)
{
    struct rst_state_header header;
    if (bytes.size < sizeof header || bytes.size > ROOST_STATE_SIZE_MAX)
        return rst_fail(ROOST_ECORRUPT, "a state of %zu bytes", bytes.size);
    memcpy(&header, bytes.data, sizeof header);
    const uint8_t *status = (const uint8_t *)bytes.data + sizeof header;
    size_t rest = bytes.size - sizeof header;
    if (header.size != bytes.size || header.status_size > rest || header.extra_count > ROOST_STATE_SIZE_MAX / 8)
        return rst_fail(ROOST_ECORRUPT, "a state's sizes do not fit");
    struct roost_extra *extra = calloc(header.extra_count + 1u, sizeof *extra);
    if (!extra) return rst_fail(ROOST_ENOMEM, "no memory for a state");
    if (!decode_extra(status + header.status_size, rest - header.status_size, extra, header.extra_count)) {
        free(extra);
        return rst_fail(ROOST_ECORRUPT, "a state's extra values run over its end");
    }
    ret_state->status = rst_bytes(status, header.status_size);
    ret_state->active_memory_count = header.active_memory_count;
    ret_state->last_updated_id = header.last_updated_id;
    ret_state->extra = extra;
    ret_state->extra_count = header.extra_count;
    ret_state->version = header.version;
    ret_state->time_ns = header.time_ns;
    ret_state->owner_pid = header.owner_pid;
    ret_state->alive = header.owned ? ROOST_ALIVE_NO : ROOST_ALIVE_NONE;
    *ret_extra = extra;
    return 0;
}
