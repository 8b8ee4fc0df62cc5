/* SPDX-License-Identifier: MIT
 * base/atomic.h: the only place that spells memory orders (layer 0).
 * Shared words are plain fixed-width integers in structs (so that layouts stay readable and checkable); they are read
 * and written through these functions alone. Each call site names in a comment what it pairs with. */
#ifndef RST_BASE_ATOMIC_H
#define RST_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

static inline uint32_t rst_load_u32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint64_t rst_load_u64(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint32_t rst_load_relaxed_u32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline uint64_t rst_load_relaxed_u64(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline uint64_t rst_load_seq_u64(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline uint32_t rst_load_seq_u32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static inline void rst_store_u32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void rst_store_u64(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void rst_store_relaxed_u32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static inline void rst_store_relaxed_u64(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static inline void rst_store_seq_u64(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static inline void rst_store_seq_u32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }

/* Of pointers within one process. */
static inline void *rst_load_pointer(void *const *pointer) { return __atomic_load_n(pointer, __ATOMIC_ACQUIRE); }
static inline void rst_store_pointer(void **pointer, void *value) { __atomic_store_n(pointer, value, __ATOMIC_RELEASE); }

static inline uint32_t rst_add_u32(uint32_t *word, uint32_t value) { return __atomic_add_fetch(word, value, __ATOMIC_SEQ_CST); }
static inline uint64_t rst_add_u64(uint64_t *word, uint64_t value) { return __atomic_add_fetch(word, value, __ATOMIC_SEQ_CST); }

static inline bool rst_cas_u64(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline bool rst_cas_u32(uint32_t *word, uint32_t expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* ThreadSanitizer does not know free-standing fences; under it a fence is an acquire-release change of a private word. */
#if defined(__SANITIZE_THREAD__)
#define RST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RST_TSAN 1
#endif
#endif

#ifdef RST_TSAN
extern uint32_t rst_fence_word;
static inline void rst_fence_release(void) { __atomic_fetch_add(&rst_fence_word, 1, __ATOMIC_ACQ_REL); }
static inline void rst_fence_acquire(void) { __atomic_fetch_add(&rst_fence_word, 1, __ATOMIC_ACQ_REL); }
#else
static inline void rst_fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void rst_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
#endif

#endif
