/* SPDX-License-Identifier: MIT
 * fuzz/fuzz.h: what the fuzz targets share.
 *
 * A target is one file with LLVMFuzzerTestOneInput. `./dev fuzz` gives it bytes that libFuzzer made up, replay.c the files of a folder.
 * A target ends the process (RST_CHECK, a sanitizer) when it found something; whatever it returns means nothing.
 *
 * Inputs are programs rather than files: a target reads choices from them, builds something that is right but for what the input
 * says is wrong, and puts checksums on it, so that what lies behind a checksum is reached too. An input that is used up gives zeros. */
#ifndef RST_TESTS_FUZZ_H
#define RST_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/check.h"
#include <roost/roost.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- an input that is being read ---- */

struct fuzz {
    const uint8_t *at;
    size_t left;
};

static inline struct roost_bytes fuzz_take(struct fuzz *fuzz, size_t size)
{
    if (size > fuzz->left) size = fuzz->left;
    struct roost_bytes bytes = {fuzz->at, size};
    fuzz->at += size;
    fuzz->left -= size;
    return bytes;
}

/* size: 1 to 8 bytes */
static inline uint64_t fuzz_unsigned(struct fuzz *fuzz, size_t size)
{
    struct roost_bytes bytes = fuzz_take(fuzz, size);
    uint64_t value = 0;
    if (bytes.size) memcpy(&value, bytes.data, bytes.size);
    return value;
}
static inline uint8_t fuzz_u8(struct fuzz *fuzz) { return (uint8_t)fuzz_unsigned(fuzz, 1); }
static inline uint32_t fuzz_below(struct fuzz *fuzz, uint32_t limit) { return (uint32_t)fuzz_unsigned(fuzz, 2) % limit; }
static inline bool fuzz_one_in(struct fuzz *fuzz, unsigned count)
{
    return fuzz_u8(fuzz) % count == count - 1;
} /* no input: false */

/* A number of the kind that finds mistakes: small, near a power of two, or anything. */
static inline uint64_t fuzz_number(struct fuzz *fuzz)
{
    uint8_t kind = fuzz_u8(fuzz);
    if (kind < 128) return kind;
    if (kind < 192) return (UINT64_C(1) << (kind % 64)) + fuzz_u8(fuzz) - 128;
    return fuzz_unsigned(fuzz, kind % 8 + 1);
}

/* Where any answer will do, but the compiler wants it looked at. */
static inline void fuzz_any(int64_t result) { (void)result; }

/* ---- bytes ---- */

/* A copy of exactly this size, 8-aligned: a step beyond it is seen by ASan. */
static inline uint8_t *fuzz_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    RST_CHECK(copy);
    if (size) memcpy(copy, data, size);
    return copy;
}

/* Reads every byte of what a decoder gave out. */
static inline uint64_t fuzz_touch(struct roost_bytes bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++) sum += ((const uint8_t *)bytes.data)[i];
    return sum;
}

/* Damages bytes as the input says: some single bytes and some whole numbers. */
static inline void fuzz_damage(struct fuzz *fuzz, uint8_t *bytes, size_t size, unsigned count)
{
    for (unsigned i = 0; i < count && size >= 8; i++) {
        size_t at = (size_t)fuzz_unsigned(fuzz, 4) % size;
        if (fuzz_one_in(fuzz, 2))
            rst_put_u64(bytes + (at < size - 8 ? at : size - 8) / 8 * 8, fuzz_number(fuzz));
        else
            bytes[at] ^= fuzz_u8(fuzz);
    }
}

#endif
