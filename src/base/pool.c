/* SPDX-License-Identifier: MIT
 * base/pool.c: memory that is given back all at once (layer 0). */
#include "base/pool.h"

#include <stdlib.h>

enum { BLOCK_SIZE = 8192 };

struct block {
    struct block *next;
    size_t used, capacity;
    _Alignas(16) unsigned char bytes[];
};

void *rst_pool_take(struct rst_pool *pool, size_t size)
{
    struct block *block = pool->blocks;
    size = (size + 15) & ~(size_t)15;
    if (!block || block->capacity - block->used < size) {
        size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = malloc(sizeof *block + capacity);
        if (!block) return NULL;
        block->next = pool->blocks;
        block->used = 0;
        block->capacity = capacity;
        pool->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void rst_pool_free(struct rst_pool *pool)
{
    for (struct block *block = pool->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    pool->blocks = NULL;
}
