/* SPDX-License-Identifier: MIT
 * store/ring.c: every frame that is left in the log's ring, wherever it lies (layer 4). */
#include "store/ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "os/os.h"
#include "store/log.h"

uint64_t rst_read_what_can_be(int file, void *to, uint64_t size, uint64_t offset)
{
    enum { STEP = 1 << 20, SMALL_STEP = 4096 }; /* around a bad place the disk is asked page by page */
    uint64_t refused = 0;
    uint8_t *at = to;
    memset(to, 0, (size_t)size);
    for (uint64_t done = 0; done < size;) {
        uint64_t part = size - done < STEP ? size - done : STEP;
        int64_t got = rst_read_all(file, at + done, (size_t)part, offset + done);
        for (uint64_t small = 0; got < 0 && small < part; small += SMALL_STEP) {
            uint64_t piece = part - small < SMALL_STEP ? part - small : SMALL_STEP;
            if (rst_read_all(file, at + done + small, (size_t)piece, offset + done + small) >= 0) continue;
            memset(at + done + small, 0, (size_t)piece);
            refused += piece;
        }
        done += part;
    }
    return refused;
}

/* `size` bytes from `offset` of the ring on, which may run over its end. */
static const uint8_t *assemble(struct rst_ring *ring, uint64_t offset, uint64_t size)
{
    if (size <= ring->size - offset) return ring->bytes + offset;
    rst_buffer_clear(&ring->assembly);
    rst_buffer_add(&ring->assembly, ring->bytes + offset, (size_t)(ring->size - offset));
    rst_buffer_add(&ring->assembly, ring->bytes, (size_t)(size - (ring->size - offset)));
    return ring->assembly.failed ? NULL : ring->assembly.data;
}

static int decode(struct rst_ring *ring, const struct rst_frame_header *header, struct rst_buffer *scratch,
                  struct rst_frame *ret_frame)
{
    const uint8_t *bytes = assemble(ring, header->position % ring->size, header->size);
    if (!bytes) return rst_fail(ROOST_ENOMEM, "no memory to read a frame of %u bytes", header->size);
    return rst_frame_decode(bytes, header->size, header->position, scratch, ret_frame);
}

static int by_age(const void *a, const void *b)
{
    const struct rst_frame_header *x = a, *y = b;
    if (x->epoch != y->epoch) return x->epoch < y->epoch ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static int find_frames(struct rst_ring *ring)
{
    struct rst_buffer scratch = {0};
    struct rst_frame frame;
    int err = 0;
    for (uint64_t offset = 0; err != ROOST_ENOMEM && offset + RST_FRAME_ALIGNMENT <= ring->size; offset += RST_FRAME_ALIGNMENT) {
        struct rst_frame_header header;
        memcpy(&header, ring->bytes + offset, sizeof header);
        if (header.magic != RST_FRAME_MAGIC || header.position % ring->size != offset ||
            !rst_frame_plausible(&header, header.position, ring->size))
            continue;
        err = decode(ring, &header, &scratch, &frame);
        if (!err) rst_buffer_add(&ring->frames, &header, sizeof header);
    }
    rst_buffer_free(&scratch);
    if (err == ROOST_ENOMEM || ring->frames.failed) return rst_fail(ROOST_ENOMEM, "no memory to read the log");
    if (ring->frames.size) qsort(ring->frames.data, rst_ring_count(ring), sizeof(struct rst_frame_header), by_age);
    return 0;
}

int rst_ring_read(int file, uint64_t size, struct rst_ring *ret_ring)
{
    struct rst_ring ring = {.size = size, .bytes = malloc((size_t)size + 1)};
    if (!ring.bytes) return rst_fail(ROOST_ENOMEM, "no memory to read the log of %llu bytes", (unsigned long long)size);
    ring.unreadable = rst_read_what_can_be(file, ring.bytes, size, RST_LOG_RING_OFFSET);
    int err = find_frames(&ring);
    if (err)
        rst_ring_free(&ring);
    else
        *ret_ring = ring;
    return err;
}

void rst_ring_free(struct rst_ring *ring)
{
    free(ring->bytes);
    ring->bytes = NULL;
    rst_buffer_free(&ring->frames);
    rst_buffer_free(&ring->assembly);
}

size_t rst_ring_count(const struct rst_ring *ring) { return ring->frames.size / sizeof(struct rst_frame_header); }

const struct rst_frame_header *rst_ring_at(const struct rst_ring *ring, size_t index)
{
    return (const struct rst_frame_header *)(const void *)ring->frames.data + index;
}

int rst_ring_frame(struct rst_ring *ring, size_t index, struct rst_buffer *scratch, struct rst_frame *ret_frame)
{
    return decode(ring, rst_ring_at(ring, index), scratch, ret_frame);
}

bool rst_ring_chain(const struct rst_ring *ring, size_t *ret_first, bool *ret_hole)
{
    size_t count = rst_ring_count(ring);
    if (!count) return false;
    const struct rst_frame_header *newest = rst_ring_at(ring, count - 1), *first = newest;
    uint64_t end = rst_frame_end(newest), lap = end > ring->size ? end - ring->size : 0;
    bool hole = false;
    *ret_first = count - 1;
    /* Older ones from young to old; a frame that a recovery dropped lies at or behind where the next epoch began. */
    for (size_t i = count - 1; i-- > 0;) {
        const struct rst_frame_header *frame = rst_ring_at(ring, i);
        if (frame->position >= first->position || frame->position < lap) continue;
        if (rst_frame_end(frame) != first->position || frame->lsn_last >= first->lsn_first) {
            hole = true;
            continue;
        }
        first = frame;
        *ret_first = i;
    }
    /* A ring that was not filled once has everything; else one frame, a quarter of it at most, is half overwritten. */
    if (end <= ring->size ? first->position != 0 : end - first->position < ring->size / 2) hole = true;
    if (ret_hole) *ret_hole = hole;
    return true;
}
