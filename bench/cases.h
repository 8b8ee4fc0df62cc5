/* SPDX-License-Identifier: MIT
 * cases.h: one workload for every store. A program fills in a struct bench_store and gives it to bench_run; cases.c has the cases. */
#ifndef ROOST_BENCH_CASES_H
#define ROOST_BENCH_CASES_H

#include "bench.h"

enum bench_mode {
    BENCH_DURABLE, /* every append is on the disk when it returns */
    BENCH_READER,
    BENCH_BULK /* durable after finish */
};
enum bench_search { BENCH_ONE, BENCH_AND, BENCH_OR };
enum { BENCH_HITS = 10 };

/* What a store can do. Each function dies when it fails. */
struct bench_store {
    const char *name;
    const char *append_note; /* what is true when an append returns */
    const char *no_search;   /* why it cannot search; NULL: it can */
    const char *no_notify;
    bool stems;        /* its words are stemmed: results differ from exact words' */
    size_t bulk_block; /* rows a block in append_bulk */

    void (*open)(const char *folder, enum bench_mode mode);
    void (*close)(void);
    /* One row, by id in stores that let one choose. Returns the id under which it is found. */
    uint64_t (*append)(uint64_t id, struct bench_text text);
    /* A block of rows in one transaction, ids first, first + 1, ...: durable on return if opened BENCH_DURABLE. */
    void (*append_block)(uint64_t first, const struct bench_text *texts, size_t count);
    void (*finish)(void); /* before close after a bulk load: everything durable */
    void (*tidy)(void);   /* the store's own tidying after a bulk load, timed apart. NULL: none */
    /* data NULL: no such id. Valid until the next get. */
    struct bench_text (*get)(uint64_t id);
    unsigned (*search)(enum bench_search kind, char *const *words, unsigned count, uint64_t ret_ids[BENCH_HITS]);
    /* Half of each round trip of two processes that wake each other. */
    void (*notify)(const char *folder, uint64_t *ret_latencies_ns, size_t rounds);
    bool shares_memory; /* it keeps something in shared memory, which a restart of the machine takes away */
};

/* CASE DATA_DIR WORK_DIR [N]: runs one case on this store and prints its lines. */
int bench_run(struct bench_store store, int argument_count, char **arguments);

#endif
