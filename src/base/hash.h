/* SPDX-License-Identifier: MIT
 * base/hash.h: checksums and hashes, all XXH3 (layer 0). https://xxhash.com, XXH3 64 bits. */
#ifndef RST_BASE_HASH_H
#define RST_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t rst_hash(const void *data, size_t size, uint64_t seed);
/* One seed from two numbers: what a checksum is bound to (an epoch and a place). */
uint64_t rst_hash_seed(uint64_t first, uint64_t second);
/* 128 bits in two words, for names. */
void rst_hash128(const void *data, size_t size, uint64_t ret_words[2]);

#endif
