/* SPDX-License-Identifier: MIT
 * fuzz/record.c: a record of the blocks and its fields (format/record.h). */
#include "format/record.h"
#include "fuzz.h"

static void walk_fields(struct roost_bytes fields)
{
    uint32_t tag;
    struct roost_bytes value, *tags;
    size_t count = 0, tag_count, offset = 0;
    while (rst_fields_next(fields, &offset, &tag, &value) == 1) {
        RST_CHECK(offset <= fields.size);
        fuzz_touch(value);
        count++;
    }
    if (rst_fields_find(fields, RST_FIELD_KEY, &value) == 1) fuzz_touch(value);
    if (rst_fields_find(fields, RST_FIELD_NAME, &value) == 1) fuzz_touch(value);
    RST_CHECK(rst_fields_tags(fields, &tags, &tag_count) == 0 && tag_count <= count);
    for (size_t i = 0; i < tag_count; i++) fuzz_touch(tags[i]);
    free(tags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    uint8_t kind = fuzz_u8(&fuzz);
    uint32_t chunk = fuzz_u8(&fuzz);
    uint64_t offset = fuzz_number(&fuzz);
    size_t left = fuzz.left;
    uint8_t *bytes = fuzz_copy(fuzz.at, left);
    struct rst_record header;
    if (kind % 2 && left >= sizeof header) { /* sealed: sizes that fit, a checksum that is right */
        memcpy(&header, bytes, sizeof header);
        if (kind % 4 == 1 || header.fields_size > left - sizeof header)
            header.fields_size = (uint32_t)((left - sizeof header) / (kind % 8 == 1 ? 1 : 2) / 8 * 8);
        header.payload_size %= 1024;
        rst_record_seal(&header, bytes + sizeof header, chunk, offset);
        memcpy(bytes, &header, sizeof header);
    }
    struct rst_record_view view;
    if (rst_record_decode(bytes, left, chunk, offset, &view) == 0) {
        walk_fields(view.fields);
        if (view.payload.data) {
            fuzz_touch(view.payload);
            (void)rst_record_payload_right(&view);
        }
        RST_CHECK(rst_record_size(view.header.fields_size, view.header.payload_size) % RST_RECORD_ALIGNMENT == 0);
        /* It counts nowhere else. */
        RST_CHECK(rst_record_decode(bytes, left, chunk, offset + 8, &view) == ROOST_ECORRUPT);
    }
    free(bytes);
    uint8_t *fields = fuzz_copy(fuzz.at, left);
    walk_fields(rst_bytes(fields, left));
    free(fields);
    return 0;
}
