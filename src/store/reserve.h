/* SPDX-License-Identifier: MIT
 * store/reserve.h: disk space that is kept for what must go on when the disk is full (layer 4, R9).
 * A file of the root, "reserve", of which nobody reads a byte. It is given up when a checkpoint, a forget or a delete finds no space, and
 * must be there again before anything is added. A crash leaves it there or not, both are right. */
#ifndef RST_STORE_RESERVE_H
#define RST_STORE_RESERVE_H

#include <stdint.h>

/* Makes sure that there are so many bytes. 0; ROOST_ENOSPC, with a sentence; other errors of the disk. */
int rst_reserve_take(int root_directory, uint64_t size);
void rst_reserve_give(int root_directory);

#endif
