/* SPDX-License-Identifier: MIT
 * base/pool.h: memory that is given back all at once (layer 0). */
#ifndef RST_BASE_POOL_H
#define RST_BASE_POOL_H

#include <stddef.h>

struct rst_pool {
    void *blocks; /* NULL: empty */
};
/* 16-aligned, valid until rst_pool_free; NULL: out of memory. */
void *rst_pool_take(struct rst_pool *pool, size_t size);
void rst_pool_free(struct rst_pool *pool); /* leaves an empty, usable pool */

#endif
