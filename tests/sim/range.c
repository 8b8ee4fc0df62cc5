/* SPDX-License-Identifier: MIT
 * sim/range.c: the memory in which simulated files live.
 *
 * A mapped file must not move, so each gets its largest size as address space at once; the kernel gives pages on touch.
 * mmap, munmap and page faults would cost more than everything else in a crash image, so ranges are pooled across machines
 * and keep their pages: whoever puts one back zeroes what was touched, and only that. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/internal.h"

enum { KEPT_PAGES_MAX = 2048 }; /* a range that touched more gives its pages back to the kernel */

void *grow(void *items, size_t *room, size_t count, size_t item_size)
{
    if (count < *room) return items;
    size_t new_room = *room ? *room * 2 : 8;
    while (new_room <= count) new_room *= 2;
    items = realloc(items, new_room * item_size);
    RST_CHECK(items);
    *room = new_room;
    return items;
}

void bits_free(struct bits *bits)
{
    free(bits->words);
    *bits = (struct bits){0};
}

void bits_clear(struct bits *bits) { bits->word_count = 0; }

static void bits_reach(struct bits *bits, size_t word)
{
    if (word < bits->word_count) return;
    bits->words = grow(bits->words, &bits->room, word, sizeof *bits->words);
    memset(bits->words + bits->word_count, 0, (word + 1 - bits->word_count) * sizeof *bits->words);
    bits->word_count = word + 1;
}

void bits_set(struct bits *bits, size_t bit)
{
    bits_reach(bits, bit / 64);
    bits->words[bit / 64] |= (uint64_t)1 << bit % 64;
}

void bits_unset(struct bits *bits, size_t bit)
{
    if (bit / 64 < bits->word_count) bits->words[bit / 64] &= ~((uint64_t)1 << bit % 64);
}

bool bits_get(const struct bits *bits, size_t bit)
{
    return bit / 64 < bits->word_count && bits->words[bit / 64] >> bit % 64 & 1;
}

void bits_copy(struct bits *to, const struct bits *from)
{
    bits_clear(to);
    if (!from->word_count) return;
    bits_reach(to, from->word_count - 1);
    memcpy(to->words, from->words, from->word_count * sizeof *from->words);
}

size_t bits_next(const struct bits *bits, size_t bit)
{
    for (size_t word = bit / 64; word < bits->word_count; word++) {
        uint64_t rest = bits->words[word];
        if (word == bit / 64) rest &= ~(uint64_t)0 << bit % 64;
        if (rest) return word * 64 + (size_t)__builtin_ctzll(rest);
    }
    return SIZE_MAX;
}

static struct range *pool;

struct range *range_take(size_t reserve)
{
    for (struct range **link = &pool; *link; link = &(*link)->next)
        if ((*link)->reserve == reserve) {
            struct range *range = *link;
            *link = range->next;
            range->references = 1;
            return range;
        }
    struct range *range = calloc(1, sizeof *range);
    RST_CHECK(range);
    /* One page more, never accessible: a run beyond a mapping must not land in another file. */
    range->base = mmap(NULL, reserve + PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RST_CHECK(range->base != MAP_FAILED);
    mprotect(range->base + reserve, PAGE_SIZE, PROT_NONE);
    madvise(range->base, reserve, MADV_NOHUGEPAGE);
    range->reserve = reserve;
    range->references = 1;
    return range;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

void range_refresh(struct range *range, size_t first_page)
{
    enum { AT_ONCE = 64 };
    static unsigned char resident[1 << 16];
    for (size_t offset = first_page * PAGE_SIZE; offset < range->stored_end; offset += sizeof resident * PAGE_SIZE) {
        size_t size = range->stored_end - offset;
        if (size > sizeof resident * PAGE_SIZE) size = sizeof resident * PAGE_SIZE;
        size_t count = (size + PAGE_SIZE - 1) / PAGE_SIZE;
        RST_CHECK(mincore(range->base + offset, size, resident) == 0);
        memset(resident + count, 0, (AT_ONCE - count % AT_ONCE) % AT_ONCE);
        for (size_t i = 0; i < count; i += AT_ONCE) {
            if (is_zero(resident + i, AT_ONCE)) continue;
            for (size_t j = i; j < i + AT_ONCE; j++)
                if (resident[j] & 1) bits_set(&range->touched, offset / PAGE_SIZE + j);
        }
    }
}

void range_put(struct range *range)
{
    if (!range || --range->references) return;
    range_refresh(range, 0);
    size_t count = 0;
    for (size_t i = 0; i < range->touched.word_count; i++) count += (size_t)__builtin_popcountll(range->touched.words[i]);
    if (count > KEPT_PAGES_MAX) {
        RST_CHECK(madvise(range->base, range->reserve, MADV_DONTNEED) == 0);
    } else {
        for (size_t page = bits_next(&range->touched, 0); page != SIZE_MAX; page = bits_next(&range->touched, page + 1))
            memset(range->base + page * PAGE_SIZE, 0, PAGE_SIZE);
    }
    bits_clear(&range->touched);
    range->stored_end = 0;
    range->next = pool;
    pool = range;
}

static void touch(struct range *range, size_t offset, size_t size)
{
    if (!size) return;
    RST_CHECK(offset + size <= range->reserve);
    for (size_t page = offset / PAGE_SIZE; page <= (offset + size - 1) / PAGE_SIZE; page++) bits_set(&range->touched, page);
}

/* Zeroes into an untouched page change nothing: a log's pre-written ring costs no memory. */
void range_write(struct range *range, size_t offset, const void *from, size_t size)
{
    const uint8_t *data = from;
    RST_CHECK(size <= range->reserve && offset <= range->reserve - size);
    while (size) {
        size_t part = PAGE_SIZE - offset % PAGE_SIZE;
        if (part > size) part = size;
        if (bits_get(&range->touched, offset / PAGE_SIZE) || offset < range->stored_end || !is_zero(data, part)) {
            touch(range, offset, part);
            memcpy(range->base + offset, data, part);
        }
        offset += part;
        data += part;
        size -= part;
    }
}

void range_zero(struct range *range, size_t offset, size_t size)
{
    range_refresh(range, 0);
    while (size) {
        size_t part = PAGE_SIZE - offset % PAGE_SIZE;
        if (part > size) part = size;
        if (bits_get(&range->touched, offset / PAGE_SIZE)) memset(range->base + offset, 0, part);
        offset += part;
        size -= part;
    }
}

struct range *range_copy(struct range *from, size_t size)
{
    struct range *to = range_take(from->reserve);
    bool look = from->stored_end != 0; /* resident is not yet written: many of these pages are zero */
    range_refresh(from, 0);
    for (size_t page = bits_next(&from->touched, 0); page != SIZE_MAX; page = bits_next(&from->touched, page + 1)) {
        size_t offset = page * PAGE_SIZE;
        if (offset >= size) break;
        if (look && is_zero(from->base + offset, PAGE_SIZE)) continue;
        memcpy(to->base + offset, from->base + offset, PAGE_SIZE);
        bits_set(&to->touched, page);
    }
    return to;
}
