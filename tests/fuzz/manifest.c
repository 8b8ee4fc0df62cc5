/* SPDX-License-Identifier: MIT
 * fuzz/manifest.c: MANIFEST (format/manifest.h): what passes the checks is encoded to the same bytes. */
#include "format/manifest.h"
#include "base/hash.h"
#include "format/log.h"
#include "fuzz.h"

static void decode(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = fuzz_copy(bytes, size);
    struct rst_manifest manifest;
    struct rst_buffer again = {0};
    if (rst_manifest_decode(copy, size, &manifest) == 0) {
        RST_CHECK(rst_manifest_encode(&manifest, &again) == 0);
        RST_CHECK(rst_bytes_equal(rst_bytes(again.data, again.size), rst_bytes(copy, size)));
        rst_manifest_free(&manifest);
    }
    rst_buffer_free(&again);
    free(copy);
}

/* The sizes and the checksum that a writer would have put there. */
static void seal(uint8_t *bytes, size_t size)
{
    struct rst_manifest_header header;
    memcpy(&header, bytes, sizeof header);
    size_t rest = size - sizeof header;
    header.magic = RST_MANIFEST_MAGIC;
    header.format_version = RST_FORMAT_VERSION;
    header.size = (uint32_t)size;
    if (header.segment_count > rest / sizeof(struct rst_manifest_segment)) header.segment_count %= 8;
    if (header.client_count > rest / sizeof(struct rst_client_record)) header.client_count %= 8;
    header.checksum = 0;
    header.checksum = rst_hash(bytes + sizeof header, rest, rst_hash(&header, sizeof header, 0));
    memcpy(bytes, &header, sizeof header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    if (size < sizeof(struct rst_manifest_header)) return 0;
    uint8_t *copy = fuzz_copy(data, size);
    seal(copy, size);
    decode(copy, size);
    free(copy);
    return 0;
}
