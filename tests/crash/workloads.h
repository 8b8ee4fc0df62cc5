/* SPDX-License-Identifier: MIT
 * crash/workloads.h: small runs, each about one thing that can go wrong. */
#ifndef RST_TESTS_CRASH_WORKLOADS_H
#define RST_TESTS_CRASH_WORKLOADS_H

#include "flock.h"

struct workload {
    const char *name;
    void (*prepare)(struct flock *flock); /* before anything is crashed; the root exists. NULL: nothing */
    void (*run)(struct flock *flock);
    uint32_t weight;     /* of 16: its share of the images, less for those whose images are slow */
    uint64_t arena_size; /* 0: the least */
    bool create;         /* run makes the root itself */
    int killed;          /* this member is killed at every operation of run, then finish is run; -1: nobody */
    void (*finish)(struct flock *flock);
};
extern const struct workload workloads[];
extern const unsigned workload_count;
int make_root(uint32_t region_kind, uint64_t arena_size);
extern uint32_t workload_region_kind; /* for the run that makes the root itself */
extern uint64_t workload_seed;        /* of the runs that are made up */

#endif
