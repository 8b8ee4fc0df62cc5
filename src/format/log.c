/* SPDX-License-Identifier: MIT
 * format/log.c: encode, decode and check log headers and frames (layer 2). */
#include "format/log.h"

#include <lz4.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

_Static_assert(sizeof(struct rst_log_header) == RST_LOG_HEADER_SIZE, "a header fills its slot");
_Static_assert(sizeof(struct rst_frame_header) % 8 == 0, "bodies are 8-aligned");

void rst_log_header_seal(struct rst_log_header *header)
{
    header->checksum = rst_hash(header, offsetof(struct rst_log_header, checksum), 0);
}

int rst_log_header_check(const struct rst_log_header *header)
{
    if (header->magic != RST_LOG_MAGIC) return rst_fail(ROOST_ENOENT, "no log header");
    bool whole = header->checksum == rst_hash(header, offsetof(struct rst_log_header, checksum), 0);
    /* The version stands outside the checksum's authority: a later format may compute it otherwise. */
    if (header->format_version != RST_FORMAT_VERSION)
        return rst_fail(ROOST_EVERSION,
                        "the root has format version %u, this library reads and writes version %u; use a library of that version",
                        header->format_version, (unsigned)RST_FORMAT_VERSION);
    if (!whole) return rst_fail(ROOST_ECORRUPT, "log header fails its checksum");
    return 0;
}

static uint64_t frame_checksum(const struct rst_frame_header *header, const uint8_t *body, size_t body_size)
{
    struct rst_frame_header copy = *header;
    copy.checksum = 0;
    uint64_t seed = rst_hash_seed(header->epoch, header->position);
    return rst_hash(body, body_size, rst_hash(&copy, sizeof copy, seed));
}

int rst_frame_encode(struct rst_frame_header *header, const struct rst_buffer *body, struct rst_buffer *ret_bytes)
{
    rst_buffer_clear(ret_bytes);
    if (!rst_buffer_extend(ret_bytes, sizeof *header)) return rst_fail(ROOST_ENOMEM, "no memory for a frame");
    header->flags &= ~(uint32_t)RST_FRAME_LZ4;
    if (body->size > RST_FRAME_COMPRESS_MIN && body->size <= LZ4_MAX_INPUT_SIZE) {
        /* Kept only if it saves a fifth: less is not worth the decompression in recovery. */
        size_t room = body->size - body->size / 5;
        char *to = rst_buffer_extend(ret_bytes, room);
        if (!to) return rst_fail(ROOST_ENOMEM, "no memory for a frame");
        int stored = LZ4_compress_default((const char *)body->data, to, (int)body->size, (int)room);
        if (stored > 0) {
            header->flags |= RST_FRAME_LZ4;
            ret_bytes->size = sizeof *header + (size_t)stored;
        } else {
            ret_bytes->size = sizeof *header;
        }
    }
    if (!(header->flags & RST_FRAME_LZ4)) rst_buffer_add(ret_bytes, body->data, body->size);
    header->magic = RST_FRAME_MAGIC;
    header->size = (uint32_t)ret_bytes->size;
    header->raw_size = (uint32_t)body->size;
    rst_buffer_add_zeros(ret_bytes, rst_align_up(ret_bytes->size, RST_FRAME_ALIGNMENT) - ret_bytes->size);
    if (ret_bytes->failed) return rst_fail(ROOST_ENOMEM, "no memory for a frame");
    header->checksum = frame_checksum(header, ret_bytes->data + sizeof *header, header->size - sizeof *header);
    memcpy(ret_bytes->data, header, sizeof *header);
    return 0;
}

bool rst_frame_plausible(const struct rst_frame_header *header, uint64_t position, uint64_t size_max)
{
    return header->magic == RST_FRAME_MAGIC && header->position == position && header->size >= sizeof *header &&
           header->size <= size_max && header->lsn_first <= header->lsn_last && header->lsn_first != 0;
}

int rst_frame_decode(const uint8_t *bytes, size_t size, uint64_t position, struct rst_buffer *scratch,
                     struct rst_frame *ret_frame)
{
    struct rst_frame_header header;
    if (size < sizeof header) return ROOST_ECORRUPT;
    memcpy(&header, bytes, sizeof header);
    if (!rst_frame_plausible(&header, position, size) || header.size != size) return ROOST_ECORRUPT;
    const uint8_t *body = bytes + sizeof header;
    size_t stored = size - sizeof header;
    if (header.checksum != frame_checksum(&header, body, stored)) return ROOST_ECORRUPT;
    if (header.flags & RST_FRAME_LZ4) {
        /* LZ4 expands at most 255 times; a greater claim is garbage and must not reach the allocator. */
        if (header.raw_size > LZ4_MAX_INPUT_SIZE || header.raw_size / 255 > stored) return ROOST_ECORRUPT;
        rst_buffer_clear(scratch);
        char *to = rst_buffer_extend(scratch, header.raw_size ? header.raw_size : 1);
        if (!to) return rst_fail(ROOST_ENOMEM, "no memory to read a frame of %u bytes", header.raw_size);
        if (LZ4_decompress_safe((const char *)body, to, (int)stored, (int)header.raw_size) != (int)header.raw_size)
            return ROOST_ECORRUPT;
        body = scratch->data;
    } else if (header.raw_size != stored) {
        return ROOST_ECORRUPT;
    }
    ret_frame->header = header;
    ret_frame->body = body;
    return 0;
}

void rst_frame_walk_begin(struct rst_frame_walk *walk, const struct rst_frame *frame)
{
    memset(walk, 0, sizeof *walk);
    walk->frame = frame;
}

int rst_frame_walk_consumed(struct rst_frame_walk *walk, struct rst_frame_consumed *ret_consumed)
{
    const struct rst_frame_header *header = &walk->frame->header;
    if (walk->consumed_index == header->consumed_count) return 0;
    if (header->raw_size - walk->offset < sizeof *ret_consumed) return ROOST_ECORRUPT;
    memcpy(ret_consumed, walk->frame->body + walk->offset, sizeof *ret_consumed);
    walk->offset += sizeof *ret_consumed;
    walk->consumed_index++;
    return 1;
}

int rst_frame_walk_entry(struct rst_frame_walk *walk, struct rst_frame_entry *ret_entry, const uint8_t **ret_record)
{
    const struct rst_frame_header *header = &walk->frame->header;
    if (walk->consumed_index != header->consumed_count) {
        walk->offset = (size_t)header->consumed_count * sizeof(struct rst_frame_consumed);
        walk->consumed_index = header->consumed_count;
        if (walk->offset > header->raw_size) return ROOST_ECORRUPT;
    }
    if (walk->entry_index == header->entry_count) return 0;
    if (header->raw_size - walk->offset < sizeof *ret_entry) return ROOST_ECORRUPT;
    memcpy(ret_entry, walk->frame->body + walk->offset, sizeof *ret_entry);
    walk->offset += sizeof *ret_entry;
    size_t padded = rst_align_up(ret_entry->inline_size, 8);
    if (ret_entry->inline_size > ret_entry->record_size || padded > header->raw_size - walk->offset) return ROOST_ECORRUPT;
    *ret_record = walk->frame->body + walk->offset;
    walk->offset += padded;
    walk->entry_index++;
    return 1;
}
