/* SPDX-License-Identifier: MIT
 * format/manifest.c: encode, decode and check MANIFEST (layer 2). */
#include "format/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "format/log.h"

static uint64_t manifest_checksum(const struct rst_manifest_header *header, const uint8_t *rest, size_t size)
{
    struct rst_manifest_header copy = *header;
    copy.checksum = 0;
    return rst_hash(rest, size, rst_hash(&copy, sizeof copy, 0));
}

int rst_manifest_encode(const struct rst_manifest *manifest, struct rst_buffer *ret_bytes)
{
    struct rst_manifest_header header = manifest->header;
    rst_buffer_clear(ret_bytes);
    rst_buffer_add_zeros(ret_bytes, sizeof header);
    rst_buffer_add(ret_bytes, manifest->segments, header.segment_count * sizeof *manifest->segments);
    rst_buffer_add(ret_bytes, manifest->clients, header.client_count * sizeof *manifest->clients);
    if (ret_bytes->failed) return rst_fail(ROOST_ENOMEM, "no memory for MANIFEST");
    header.magic = RST_MANIFEST_MAGIC;
    header.format_version = RST_FORMAT_VERSION;
    header.size = (uint32_t)ret_bytes->size;
    header.checksum = manifest_checksum(&header, ret_bytes->data + sizeof header, ret_bytes->size - sizeof header);
    memcpy(ret_bytes->data, &header, sizeof header);
    return 0;
}

static int check_segments(const struct rst_manifest *manifest)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < manifest->header.segment_count; i++) {
        const struct rst_manifest_segment *segment = &manifest->segments[i];
        if (segment->lsn_first <= last || segment->lsn_last < segment->lsn_first)
            return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: segment %u is out of order", i);
        last = segment->lsn_last;
    }
    return last <= manifest->header.covered_lsn ? 0 : rst_fail(ROOST_ECORRUPT, "index/MANIFEST: segments beyond what it covers");
}

int rst_manifest_decode(const uint8_t *bytes, size_t size, struct rst_manifest *ret_manifest)
{
    struct rst_manifest_header header;
    if (size < sizeof header) return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: only %zu bytes", size);
    memcpy(&header, bytes, sizeof header);
    if (header.magic != RST_MANIFEST_MAGIC) return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: not a manifest (offset 0)");
    if (header.format_version != RST_FORMAT_VERSION) {
        /* A later format may compute all else otherwise; where it fits with this one's number, the number is what is damaged. */
        struct rst_manifest_header same = header;
        same.format_version = RST_FORMAT_VERSION;
        if (header.checksum == manifest_checksum(&same, bytes + sizeof header, size - sizeof header))
            return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: the format version is damaged (offset 8)");
        return rst_fail(ROOST_EVERSION, "index/MANIFEST has format version %u, this library reads version %u",
                        header.format_version, (unsigned)RST_FORMAT_VERSION);
    }
    size_t rest = size - sizeof header;
    if (header.size != size || header.segment_count > RST_SEGMENT_COUNT_MAX ||
        header.client_count > RST_MANIFEST_CLIENT_COUNT_MAX ||
        rest !=
            header.segment_count * sizeof(struct rst_manifest_segment) + header.client_count * sizeof(struct rst_client_record))
        return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: sizes do not fit (offset 12)");
    if (header.checksum != manifest_checksum(&header, bytes + sizeof header, rest))
        return rst_fail(ROOST_ECORRUPT, "index/MANIFEST: fails its checksum");
    struct rst_manifest manifest = {header, NULL, NULL};
    size_t segments_size = header.segment_count * sizeof *manifest.segments,
           clients_size = header.client_count * sizeof *manifest.clients;
    manifest.segments = malloc(segments_size + 1);
    manifest.clients = malloc(clients_size + 1);
    int err = manifest.segments && manifest.clients ? 0 : rst_fail(ROOST_ENOMEM, "no memory for MANIFEST");
    if (!err) {
        memcpy(manifest.segments, bytes + sizeof header, segments_size);
        memcpy(manifest.clients, bytes + sizeof header + segments_size, clients_size);
        err = check_segments(&manifest);
    }
    if (err) {
        rst_manifest_free(&manifest);
        return err;
    }
    *ret_manifest = manifest;
    return 0;
}

void rst_manifest_free(struct rst_manifest *manifest)
{
    free(manifest->segments);
    free(manifest->clients);
    manifest->segments = NULL;
    manifest->clients = NULL;
}
