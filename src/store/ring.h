/* SPDX-License-Identifier: MIT
 * store/ring.h: every frame that is left in the log's ring, wherever it lies (layer 4). For rescue, and for an index whose MANIFEST is
 * lost. Recovery itself reads frame after frame (log.h). */
#ifndef RST_STORE_RING_H
#define RST_STORE_RING_H

#include "format/log.h"

struct rst_ring {
    uint8_t *bytes; /* a copy of the ring */
    uint64_t size;
    uint64_t unreadable;        /* bytes that the disk would not give */
    struct rst_buffer frames;   /* struct rst_frame_header, by epoch and position */
    struct rst_buffer assembly; /* of a frame that runs over the ring's end */
};
/* Reads `size` bytes of ring from the file and finds all frames that count by themselves: checksum, place and epoch fit. What cannot be
 * read is taken as zeros. 0, ROOST_ENOMEM. */
int rst_ring_read(int file, uint64_t size, struct rst_ring *ret_ring);
void rst_ring_free(struct rst_ring *ring);
size_t rst_ring_count(const struct rst_ring *ring);
const struct rst_frame_header *rst_ring_at(const struct rst_ring *ring, size_t index);
/* The frame decoded; *ret_frame points into ring or scratch until the next call. 0, ROOST_ECORRUPT, ROOST_ENOMEM. */
int rst_ring_frame(struct rst_ring *ring, size_t index, struct rst_buffer *scratch, struct rst_frame *ret_frame);
/* The frames that lead without a hole to the newest one: from *ret_first to the last of the list. False: there is no frame. *ret_hole (may
 * be NULL): something before it that should still be there is not: a frame in between is damaged, or the list is shorter than a ring
 * that was written over and over can be. */
bool rst_ring_chain(const struct rst_ring *ring, size_t *ret_first, bool *ret_hole);

/* As rst_read_all, but what the disk refuses is zeros; returns how many bytes that are, of the `size` asked for (what lies beyond the
 * file's end is zeros too, and not counted). */
uint64_t rst_read_what_can_be(int file, void *to, uint64_t size, uint64_t offset);

#endif
