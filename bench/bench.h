/* SPDX-License-Identifier: MIT
 * bench.h: what every benchmark program shares: the clock, latencies, JSON lines, child processes, the corpus.
 *
 * A program that finds anything wrong (a value that differs, a search that finds nothing) ends with a message and status 1:
 * a figure is printed only for work that was done right. */
#ifndef ROOST_BENCH_H
#define ROOST_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define bench_die(...) bench_die_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bench_die_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- time and chance ---- */

uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC: the same for all processes of the machine */
/* splitmix64: any seed will do, the same seed gives the same numbers. */
uint64_t bench_random(uint64_t *seed);
uint64_t bench_random_below(uint64_t *seed, uint64_t bound);

/* ---- results ---- */

/* Nearest-rank percentile of a list that bench_sort sorted; share in (0, 1]. */
void bench_sort(uint64_t *list, size_t count);
uint64_t bench_percentile(const uint64_t *sorted, size_t count, double share);

extern const char *bench_peer; /* who speaks in the lines; the environment's PEER_NAME goes before */
/* One JSON line. latencies_ns may be NULL; they are sorted in place. cpu_stall_pct is the share of the measured time in which
 * some task of the whole machine waited for a CPU (/proc/pressure/cpu); null where that was not looked at. */
void bench_line(const char *name, uint64_t count, double value, const char *unit, uint64_t *latencies_ns, size_t latency_count,
                const char *note_format, ...) __attribute__((format(printf, 7, 8)));
int bench_unsupported(const char *name, const char *why);
/* Around what is measured: the next lines' cpu_stall_pct speaks of the time between the two. */
void bench_stall_begin(void);
void bench_stall_end(void);

/* ---- processes and files ---- */

/* Memory that children share, zeroed. */
void *bench_shared(size_t size);
/* A child that never outlives its parent. 0 in the child. */
pid_t bench_fork(void);
/* Waits; dies unless the child ended with 0. */
void bench_join(pid_t child, const char *who);
void bench_sleep_us(unsigned us);

/* Runs `count` children that each prepare, wait for the others in bench_gate_enter, work, and call bench_gate_leave. Returns
 * the time from the first one's start to the last one's end. */
enum { BENCH_CHILDREN_MAX = 16 };
typedef void (*bench_child_fn)(unsigned child, void *user);
uint64_t bench_together(unsigned count, bench_child_fn run, void *user);
void bench_gate_enter(void);
void bench_gate_leave(void);

void bench_make_folder(const char *path); /* with its parents */
void bench_remove_tree(const char *path); /* absent is fine */
void bench_copy_tree(const char *from, const char *to);
/* Adds up a tree's allocated and apparent bytes; sync: fsyncs each file and folder as well. */
void bench_measure_tree(const char *path, bool sync, double *allocated, double *apparent);
long bench_private_dirty_kb(void); /* of this process; -1: unknown */

/* ---- the corpus: bench/gen.py ---- */

struct bench_text {
    const char *data;
    size_t size;
};
/* Row i (from 1) is texts[i]; texts[0] is empty. Mapped until the end. */
struct bench_text *bench_load_corpus(const char *folder, uint64_t count);
double bench_text_bytes(const struct bench_text *texts, uint64_t count);

enum { BENCH_WORDS_MAX = 4, BENCH_QUERIES_MAX = 1000 };
struct bench_query {
    unsigned count;
    char *words[BENCH_WORDS_MAX];
};
/* name: "1term", "and2", "or3". Returns how many. */
size_t bench_load_queries(const char *folder, const char *name, struct bench_query *queries);

#endif
