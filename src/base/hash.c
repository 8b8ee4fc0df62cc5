/* SPDX-License-Identifier: MIT
 * base/hash.c: XXH3 behind two plain functions (layer 0). */
#include "base/hash.h"

#include <xxhash.h>

uint64_t rst_hash(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

uint64_t rst_hash_seed(uint64_t first, uint64_t second)
{
    uint64_t words[2] = {first, second};
    return XXH3_64bits(words, sizeof words);
}

void rst_hash128(const void *data, size_t size, uint64_t ret_words[2])
{
    XXH128_hash_t hash = XXH3_128bits(data, size);
    ret_words[0] = hash.low64;
    ret_words[1] = hash.high64;
}
