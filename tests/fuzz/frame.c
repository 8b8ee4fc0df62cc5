/* SPDX-License-Identifier: MIT
 * fuzz/frame.c: log headers and frames (format/log.h). */
#include "base/hash.h"
#include "format/log.h"
#include "fuzz.h"

static void check_header(struct fuzz *fuzz)
{
    struct rst_log_header header;
    memset(&header, 0, sizeof header);
    struct roost_bytes bytes = fuzz_take(fuzz, sizeof header);
    memcpy(&header, bytes.data, bytes.size);
    header.magic = RST_LOG_MAGIC;
    if (fuzz_one_in(fuzz, 2)) rst_log_header_seal(&header);
    (void)rst_log_header_check(&header);
}

/* A walk stays inside the body, and gives no more than the header says. */
static void walk_frame(const struct rst_frame *frame)
{
    struct rst_frame_walk walk;
    struct rst_frame_consumed consumed;
    struct rst_frame_entry entry;
    const uint8_t *record;
    uint64_t count = 0;
    rst_frame_walk_begin(&walk, frame);
    while (rst_frame_walk_consumed(&walk, &consumed) == 1) count++;
    RST_CHECK(count <= frame->header.consumed_count);
    for (count = 0; rst_frame_walk_entry(&walk, &entry, &record) == 1; count++) {
        RST_CHECK(record >= frame->body && record + entry.inline_size <= frame->body + frame->header.raw_size);
        fuzz_touch(rst_bytes(record, entry.inline_size));
    }
    RST_CHECK(count <= frame->header.entry_count);
    rst_frame_walk_begin(&walk, frame); /* entries at once */
    while (rst_frame_walk_entry(&walk, &entry, &record) == 1) fuzz_touch(rst_bytes(record, entry.inline_size));
}

static bool decode(const uint8_t *bytes, size_t size, uint64_t position)
{
    struct rst_buffer scratch = {0};
    struct rst_frame frame;
    uint8_t *copy = fuzz_copy(bytes, size);
    bool right = rst_frame_decode(copy, size, position, &scratch, &frame) == 0;
    if (right) {
        fuzz_touch(rst_bytes(frame.body, frame.header.raw_size));
        walk_frame(&frame);
    }
    free(copy);
    rst_buffer_free(&scratch);
    return right;
}

/* Any header and any body, encoded: what comes back is what went in. */
static void encode_and_decode(struct rst_frame_header header, struct fuzz *fuzz)
{
    struct rst_buffer body = {0}, bytes = {0}, scratch = {0};
    struct rst_frame frame;
    for (unsigned copies = 1 + fuzz_u8(fuzz) % 16; copies > 0; copies--) rst_buffer_add(&body, fuzz->at, fuzz->left);
    RST_CHECK(rst_frame_encode(&header, &body, &bytes) == 0);
    RST_CHECK(bytes.size % RST_FRAME_ALIGNMENT == 0 && header.size <= bytes.size);
    int err = rst_frame_decode(bytes.data, header.size, header.position, &scratch, &frame);
    if (header.lsn_first && header.lsn_first <= header.lsn_last) {
        RST_CHECK(err == 0 && frame.header.raw_size == body.size);
        RST_CHECK(rst_bytes_equal(rst_bytes(frame.body, body.size), rst_bytes(body.data, body.size)));
    }
    decode(bytes.data, header.size, header.position);
    /* Damage is found, wherever it is. */
    size_t at = (size_t)fuzz_unsigned(fuzz, 4) % header.size;
    bytes.data[at] ^= 0x10;
    RST_CHECK(!decode(bytes.data, header.size, header.position));
    rst_buffer_free(&body);
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
}

/* The stored body as the input has it, also where it is to be LZ4, under a right checksum. */
static void decode_forged(struct rst_frame_header header, const struct fuzz *fuzz)
{
    struct rst_buffer bytes = {0};
    header.magic = RST_FRAME_MAGIC;
    header.size = (uint32_t)(sizeof header + fuzz->left);
    header.checksum = 0;
    uint64_t seed = rst_hash_seed(header.epoch, header.position);
    header.checksum = rst_hash(fuzz->at, fuzz->left, rst_hash(&header, sizeof header, seed));
    rst_buffer_add(&bytes, &header, sizeof header);
    rst_buffer_add(&bytes, fuzz->at, fuzz->left);
    decode(bytes.data, bytes.size, header.position);
    rst_buffer_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    uint8_t kind = fuzz_u8(&fuzz);
    if (kind % 4 == 3) {
        check_header(&fuzz);
        return 0;
    }
    if (kind % 4 == 2) {
        decode(fuzz.at, fuzz.left, kind / 4);
        return 0;
    }
    struct rst_frame_header header;
    memset(&header, 0, sizeof header);
    struct roost_bytes bytes = fuzz_take(&fuzz, sizeof header);
    memcpy(&header, bytes.data, bytes.size);
    if (kind % 4 == 1)
        decode_forged(header, &fuzz);
    else
        encode_and_decode(header, &fuzz);
    return 0;
}
