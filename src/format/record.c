/* SPDX-License-Identifier: MIT
 * format/record.c: encode, decode and check records of the blocks (layer 2). */
#include "format/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

_Static_assert(sizeof(struct rst_record) == 72, "protocol/blocks.layout.json");

uint64_t rst_record_size(uint32_t fields_size, uint32_t payload_size)
{
    return rst_align_up(sizeof(struct rst_record) + (uint64_t)fields_size + payload_size, RST_RECORD_ALIGNMENT);
}

void rst_fields_add(struct rst_buffer *fields, enum rst_field_tag tag, struct roost_bytes value)
{
    rst_buffer_add_u8(fields, (uint8_t)tag);
    rst_buffer_add_varint(fields, value.size);
    rst_buffer_add(fields, value.data, value.size);
}

void rst_fields_end(struct rst_buffer *fields)
{
    rst_buffer_add_zeros(fields, rst_align_up(fields->size, RST_RECORD_ALIGNMENT) - fields->size);
}

int rst_fields_next(struct roost_bytes fields, size_t *offset, uint32_t *ret_tag, struct roost_bytes *ret_value)
{
    const uint8_t *data = fields.data;
    if (*offset >= fields.size || data[*offset] == RST_FIELD_END) return 0;
    uint64_t size = 0;
    size_t used = rst_varint_decode(data + *offset + 1, fields.size - *offset - 1, &size);
    size_t begin = *offset + 1 + used;
    if (!used || size > fields.size - begin) return rst_fail(ROOST_ECORRUPT, "a record's field runs over its end");
    *ret_tag = data[*offset];
    *ret_value = rst_bytes(data + begin, (size_t)size);
    *offset = begin + (size_t)size;
    return 1;
}

int rst_fields_find(struct roost_bytes fields, enum rst_field_tag tag, struct roost_bytes *ret_value)
{
    uint32_t found;
    struct roost_bytes value;
    for (size_t offset = 0; rst_fields_next(fields, &offset, &found, &value) == 1;) {
        if (found != (uint32_t)tag) continue;
        *ret_value = value;
        return 1;
    }
    return 0;
}

int rst_fields_tags(struct roost_bytes fields, struct roost_bytes **ret_tags, size_t *ret_count)
{
    uint32_t tag;
    struct roost_bytes value;
    size_t count = 0;
    for (size_t offset = 0; rst_fields_next(fields, &offset, &tag, &value) == 1;) count += tag == RST_FIELD_TAG;
    *ret_tags = NULL;
    *ret_count = 0;
    if (!count) return 0;
    struct roost_bytes *tags = malloc(count * sizeof *tags);
    if (!tags) return rst_fail(ROOST_ENOMEM, "no memory for %zu tags", count);
    size_t index = 0;
    for (size_t offset = 0; rst_fields_next(fields, &offset, &tag, &value) == 1;)
        if (tag == RST_FIELD_TAG) tags[index++] = value;
    *ret_tags = tags;
    *ret_count = index;
    return 0;
}

static uint64_t record_checksum(const struct rst_record *record, const uint8_t *fields, uint32_t chunk, uint64_t offset)
{
    struct rst_record copy = *record;
    copy.checksum = 0;
    uint64_t seed = rst_hash_seed(record->epoch, (uint64_t)chunk << 32 | offset);
    return rst_hash(fields, record->fields_size, rst_hash(&copy, sizeof copy, seed));
}

void rst_record_seal(struct rst_record *record, const uint8_t *fields, uint32_t chunk, uint64_t offset)
{
    record->magic = RST_RECORD_MAGIC;
    record->checksum = record_checksum(record, fields, chunk, offset);
}

int rst_record_decode(const uint8_t *bytes, uint64_t size, uint32_t chunk, uint64_t offset, struct rst_record_view *ret_record)
{
    struct rst_record header;
    if (size < sizeof header) return rst_fail(ROOST_ECORRUPT, "no room for a record");
    memcpy(&header, bytes, sizeof header);
    if (header.magic != RST_RECORD_MAGIC) return rst_fail(ROOST_ECORRUPT, "no record begins here");
    if (header.fields_size > size - sizeof header || header.fields_size % RST_RECORD_ALIGNMENT)
        return rst_fail(ROOST_ECORRUPT, "a record's fields run over its end");
    const uint8_t *fields = bytes + sizeof header;
    if (header.checksum != record_checksum(&header, fields, chunk, offset))
        return rst_fail(ROOST_ECORRUPT, "record fails its checksum");
    if (!header.kind || header.kind >= RST_RECORD_KIND_COUNT)
        return rst_fail(ROOST_ECORRUPT, "record of unknown kind %u", header.kind);
    ret_record->header = header;
    ret_record->fields = rst_bytes(fields, header.fields_size);
    uint64_t rest = size - sizeof header - header.fields_size;
    ret_record->payload = rst_bytes(header.payload_size <= rest ? fields + header.fields_size : NULL, header.payload_size);
    return 0;
}

bool rst_record_payload_right(const struct rst_record_view *record)
{
    if (!record->payload.size) return true; /* the hash of nothing is not looked at */
    return record->payload.data && rst_hash(record->payload.data, record->payload.size, 0) == record->header.payload_hash;
}
