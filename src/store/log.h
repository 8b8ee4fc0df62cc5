/* SPDX-License-Identifier: MIT
 * store/log.h: state.wal, the log (layer 4). Prose: protocol/log.md.
 * Two header slots, then a ring of pre-written space. Nobody but the holder of the flock writes here. */
#ifndef RST_STORE_LOG_H
#define RST_STORE_LOG_H

#include "format/log.h"

struct rst_log {
    int file; /* -1: closed */
    /* What a root keeps for life: set by the first reading of the headers, then any thread may look. */
    uint64_t size; /* of the ring, bytes */
    uint64_t chunk_size;
    char language[16];
    /* As last read or written, by whoever may be writing: others' threads ask the three above. */
    struct rst_log_header header;
};

/* Makes a complete state.wal in directory, under a nameless file that is linked into place last. header: settings and uuid; device,
 * inode and checksum are filled in here. ROOST_EEXIST: somebody else was first. */
int rst_log_create(int directory, struct rst_log_header *header);
/* The same in two steps. crash: between them there is no log, so no root. ring_from: the ring is copied from that file (-1: zeros). The
 * caller closes *ret_file. */
int rst_log_draft(int directory, struct rst_log_header *header, int ring_from, int *ret_file);
int rst_log_publish(int file, int directory);
/* Reads both header slots into log->header. ROOST_EFOREIGN: not ours; ROOST_ECORRUPT, also when what a root keeps for life is not what it
 * was at the first reading; ROOST_EVERSION. */
int rst_log_read_header(struct rst_log *log);
/* Writes the other slot, with the next sequence, and syncs it. */
int rst_log_write_header(struct rst_log *log);

int rst_log_write(const struct rst_log *log, uint64_t position, const void *bytes, size_t size);
int rst_log_read(const struct rst_log *log, uint64_t position, void *ret_bytes, size_t size);
int rst_log_sync(const struct rst_log *log);
/* The frame at position, if a valid one is there. 1: yes, *ret_frame points into the buffers; 0: no; negative: EIO, ENOMEM. */
int rst_log_read_frame(const struct rst_log *log, uint64_t position, struct rst_buffer *bytes, struct rst_buffer *scratch,
                       struct rst_frame *ret_frame);
/* The end of a frame: where the next one begins. */
uint64_t rst_frame_end(const struct rst_frame_header *header);
/* Looks at the whole lap of the ring from `position` on for valid frames (R3): the greatest durable_lsn that any of them names, and the
 * greatest epoch. *ret_found_position: of the frame with that durable_lsn. */
int rst_log_look_ahead(const struct rst_log *log, uint64_t position, uint64_t *ret_durable_lsn, uint64_t *ret_epoch,
                       uint64_t *ret_found_position);

#endif
