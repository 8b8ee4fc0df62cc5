/* SPDX-License-Identifier: MIT
 * region/latch.h: a value of several words that one writer changes and any number read, never torn (layer 3).
 *
 * Two copies and a sequence. Odd: copy 0 is being written, read copy 1; even: read copy 0. A writer that dies in the
 * middle leaves one whole copy and a sequence that points at it, so readers never wait (a plain seqlock would hang them);
 * the next writer repairs first. Model: models/latch.pml. */
#ifndef RST_REGION_LATCH_H
#define RST_REGION_LATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rst_latch {
    uint64_t *sequence;
    uint64_t *copies; /* 2 * word_count */
    size_t word_count;
};

/* Writer, one at a time. */
void rst_latch_write(struct rst_latch latch, const void *value, size_t word_count);
/* A new writer after another's death: makes both copies the one that readers see. */
void rst_latch_repair(struct rst_latch latch);
/* Copies the value; false when writers were faster for a very long time (garbage in the sequence cannot make it wait for ever). */
bool rst_latch_read(struct rst_latch latch, void *ret_value, size_t word_count);

#endif
