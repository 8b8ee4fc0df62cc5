/* SPDX-License-Identifier: MIT
 * region/latch.c: the two-copy latch (layer 3). */
#include "region/latch.h"

#include "base/atomic.h"
#include "base/check.h"

static void copy_in(uint64_t *copy, const uint64_t *value, size_t word_count)
{
    for (size_t i = 0; i < word_count; i++) rst_store_relaxed_u64(&copy[i], value[i]);
}

void rst_latch_write(struct rst_latch latch, const void *value, size_t word_count)
{
    RST_CHECK(word_count <= latch.word_count);
    const uint64_t *words = value;
    uint64_t sequence = rst_load_relaxed_u64(latch.sequence);
    /* crash: 1 sequence odd: copy 1 (old) is read, copy 0 is being changed
     *        2 sequence even: copy 0 (new) is read, copy 1 is being changed
     *        after either, rst_latch_repair by the next writer makes the copies equal.
     * Each release fence pairs with the acquire load of the sequence in rst_latch_read: whoever sees a copy's new word sees
     * the sequence that sent readers away from that copy. */
    rst_store_u64(latch.sequence, sequence + 1);
    rst_fence_release();
    copy_in(latch.copies, words, word_count);
    rst_store_u64(latch.sequence, sequence + 2);
    rst_fence_release();
    copy_in(latch.copies + latch.word_count, words, word_count);
}

void rst_latch_repair(struct rst_latch latch)
{
    uint64_t sequence = rst_load_u64(latch.sequence);
    const uint64_t *good = latch.copies + (sequence & 1) * latch.word_count;
    uint64_t *other = latch.copies + (1 - (sequence & 1)) * latch.word_count;
    for (size_t i = 0; i < latch.word_count; i++) rst_store_relaxed_u64(&other[i], rst_load_relaxed_u64(&good[i]));
    if (sequence & 1) rst_store_u64(latch.sequence, sequence + 1);
}

bool rst_latch_read(struct rst_latch latch, void *ret_value, size_t word_count)
{
    RST_CHECK(word_count <= latch.word_count);
    uint64_t *value = ret_value;
    for (int tries = 0; tries < 1 << 20; tries++) {
        uint64_t sequence = rst_load_u64(latch.sequence); /* pairs with the release stores in rst_latch_write */
        const uint64_t *copy = latch.copies + (sequence & 1) * latch.word_count;
        for (size_t i = 0; i < word_count; i++) value[i] = rst_load_relaxed_u64(&copy[i]);
        rst_fence_acquire();
        if (rst_load_relaxed_u64(latch.sequence) == sequence) return true;
    }
    return false;
}
