/* SPDX-License-Identifier: MIT
 * store/scan.h: everything that lies in a chunk, one thing after the other (layer 4). For check, rebuild and rescue; prose:
 * protocol/blocks.md.
 * Pure: it looks at bytes that the caller has (mapped, or read into memory) and allocates nothing. */
#ifndef RST_STORE_SCAN_H
#define RST_STORE_SCAN_H

#include <stdbool.h>

#include "format/record.h"

enum rst_scan_kind {
    RST_SCAN_RECORD = 1, /* header and fields are whole */
    RST_SCAN_VOID,       /* an extent that was granted and not committed */
    RST_SCAN_GAP,        /* bytes in which no whole header begins */
};
struct rst_scan_item {
    enum rst_scan_kind kind;
    uint64_t offset, size; /* bytes, in the chunk */
    /* RECORD, VOID: the record; its payload.data is NULL where the chunk ends before it.
     * GAP with `guess`: what seems to be its header, which fails its checksum: a hint, never data. */
    struct rst_record_view record;
    bool payload_right; /* RECORD */
    bool guess, zero;   /* GAP; zero: nothing but zeros */
};
struct rst_scan {
    const uint8_t *data;
    uint64_t size;
    uint32_t chunk;
    uint64_t offset;
    uint64_t inside; /* what lies before this belongs to a damaged record that was given already */
    bool heads;      /* may be set after begin: payloads are not looked at, and taken as right */
};
/* data: the first `size` bytes of the chunk. */
void rst_scan_begin(struct rst_scan *scan, const void *data, uint64_t size, uint32_t chunk);
/* The next thing, by offset. False at the end. */
bool rst_scan_next(struct rst_scan *scan, struct rst_scan_item *ret_item);

/* Which LSNs each epoch's end has kept (R1): every EPOCH record says that of what has a lower epoch only LSNs up to its `extra` count. */
struct rst_epoch_end {
    uint64_t epoch, lsn;
};
struct rst_epochs {
    struct rst_buffer ends; /* struct rst_epoch_end */
};
/* A record that was found whole; only EPOCH records matter. */
void rst_epochs_add(struct rst_epochs *epochs, const struct rst_record *record);
/* After the last one and before the first question. */
void rst_epochs_sort(struct rst_epochs *epochs);
/* Did every later epoch keep this one? */
bool rst_epochs_kept(const struct rst_epochs *epochs, uint64_t epoch, uint64_t lsn);
void rst_epochs_free(struct rst_epochs *epochs);

#endif
