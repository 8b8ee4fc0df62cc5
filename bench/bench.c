/* SPDX-License-Identifier: MIT
 * bench.c: what every benchmark program shares. See bench.h. */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *bench_peer = "?";

void bench_die_at(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- time and chance ---- */

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_random(uint64_t *seed)
{
    uint64_t word = *seed += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

uint64_t bench_random_below(uint64_t *seed, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)bench_random(seed) * bound) >> 64);
}

/* ---- results ---- */

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

void bench_sort(uint64_t *list, size_t count) { qsort(list, count, sizeof *list, compare_u64); }

uint64_t bench_percentile(const uint64_t *sorted, size_t count, double share)
{
    size_t rank = (size_t)(share * (double)count);
    if ((double)rank < share * (double)count) rank++;
    return sorted[rank ? rank - 1 : 0];
}

static uint64_t stall_total_us, stall_since_ns;
static double stall_percent = -1; /* of the part measured last; below 0: unknown */

/* The "some" line's total of /proc/pressure/cpu in us; 0: this kernel has none. */
static uint64_t read_stall_us(void)
{
    char line[256];
    unsigned long long total = 0;
    FILE *file = fopen("/proc/pressure/cpu", "r");
    if (!file) return 0;
    if (fgets(line, sizeof line, file)) {
        char *at = strstr(line, "total=");
        if (at) total = strtoull(at + strlen("total="), NULL, 10);
    }
    fclose(file);
    return total;
}

void bench_stall_begin(void)
{
    stall_total_us = read_stall_us();
    stall_since_ns = bench_now_ns();
    stall_percent = -1;
}

void bench_stall_end(void)
{
    uint64_t total = read_stall_us();
    if (total && stall_since_ns)
        stall_percent = (double)(total - stall_total_us) * 1e5 / (double)(bench_now_ns() - stall_since_ns);
}

static const char *peer_name(void)
{
    const char *given = getenv("PEER_NAME");
    return given && *given ? given : bench_peer;
}

void bench_line(const char *name, uint64_t count, double value, const char *unit, uint64_t *latencies_ns, size_t latency_count,
                const char *note_format, ...)
{
    char note[1024], percentiles[96] = "\"p50_us\":null,\"p99_us\":null", stall[32] = "null";
    va_list arguments;
    va_start(arguments, note_format);
    vsnprintf(note, sizeof note, note_format, arguments);
    va_end(arguments);
    for (char *at = note; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = '\'';
    if (latencies_ns && latency_count) {
        bench_sort(latencies_ns, latency_count);
        snprintf(percentiles, sizeof percentiles, "\"p50_us\":%.3f,\"p99_us\":%.3f",
                 (double)bench_percentile(latencies_ns, latency_count, 0.50) / 1e3,
                 (double)bench_percentile(latencies_ns, latency_count, 0.99) / 1e3);
    }
    if (stall_percent >= 0) snprintf(stall, sizeof stall, "%.1f", stall_percent);
    printf("{\"peer\":\"%s\",\"case\":\"%s\",\"n\":%llu,\"value\":%.3f,\"unit\":\"%s\",", peer_name(), name,
           (unsigned long long)count, value, unit);
    printf("%s,\"cpu_stall_pct\":%s,\"note\":\"%s\"}\n", percentiles, stall, note);
    fflush(stdout);
}

int bench_unsupported(const char *name, const char *why)
{
    printf("{\"peer\":\"%s\",\"case\":\"%s\",\"unsupported\":\"%s\"}\n", peer_name(), name, why);
    return 0;
}

/* ---- processes ---- */

void *bench_shared(size_t size)
{
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) bench_die("mmap of %zu bytes: %s", size, strerror(errno));
    memset(data, 0, size); /* the pages are there before anything is timed */
    return data;
}

pid_t bench_fork(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) bench_die("fork: %s", strerror(errno));
    if (!child) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

void bench_join(pid_t child, const char *who)
{
    int status;
    if (waitpid(child, &status, 0) != child || status) bench_die("%s failed (status %d)", who, status);
}

void bench_sleep_us(unsigned us)
{
    struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}

struct gate {
    uint32_t ready, go;
    uint64_t start_ns[BENCH_CHILDREN_MAX], end_ns[BENCH_CHILDREN_MAX];
};
static struct gate *gate;
static unsigned gate_child;

void bench_gate_enter(void)
{
    __atomic_add_fetch(&gate->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&gate->go, __ATOMIC_ACQUIRE)) bench_sleep_us(100);
    gate->start_ns[gate_child] = bench_now_ns();
}

void bench_gate_leave(void) { gate->end_ns[gate_child] = bench_now_ns(); }

uint64_t bench_together(unsigned count, bench_child_fn run, void *user)
{
    pid_t children[BENCH_CHILDREN_MAX];
    uint64_t start = UINT64_MAX, end = 0;
    gate = bench_shared(sizeof *gate);
    for (unsigned i = 0; i < count; i++) {
        children[i] = bench_fork();
        if (children[i]) continue;
        gate_child = i;
        run(i, user);
        fflush(stdout);
        _exit(0);
    }
    while (__atomic_load_n(&gate->ready, __ATOMIC_ACQUIRE) < count) {
        siginfo_t ended = {0};
        bench_sleep_us(200);
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid)
            bench_die("a child ended before the start");
    }
    __atomic_store_n(&gate->go, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < count; i++) {
        bench_join(children[i], "a child");
        if (gate->start_ns[i] < start) start = gate->start_ns[i];
        if (gate->end_ns[i] > end) end = gate->end_ns[i];
    }
    munmap(gate, sizeof *gate);
    return end - start;
}

long bench_private_dirty_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (!file) return -1;
    while (fgets(line, sizeof line, file) && sscanf(line, "Private_Dirty: %ld", &kb) != 1) {}
    fclose(file);
    return kb;
}

/* ---- files ---- */

static void run_program(const char *const *arguments)
{
    pid_t child = bench_fork();
    if (!child) {
        execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    bench_join(child, arguments[0]);
}

void bench_make_folder(const char *path) { run_program((const char *const[]){"mkdir", "-p", "--", path, NULL}); }
void bench_remove_tree(const char *path) { run_program((const char *const[]){"rm", "-rf", "--", path, NULL}); }
void bench_copy_tree(const char *from, const char *to) { run_program((const char *const[]){"cp", "-aT", "--", from, to, NULL}); }

void bench_measure_tree(const char *path, bool sync, double *allocated, double *apparent)
{
    DIR *folder = opendir(path);
    if (!folder) bench_die("opening %s: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[4096];
        struct stat stat;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (lstat(name, &stat)) continue;
        if (S_ISDIR(stat.st_mode)) bench_measure_tree(name, sync, allocated, apparent);
        if (!S_ISREG(stat.st_mode)) continue;
        *allocated += (double)stat.st_blocks * 512;
        *apparent += (double)stat.st_size;
        int file = sync ? open(name, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0) continue;
        fsync(file);
        close(file);
    }
    if (sync) fsync(dirfd(folder));
    closedir(folder);
}

/* ---- the corpus ---- */

struct bench_text *bench_load_corpus(const char *folder, uint64_t count)
{
    char path[4096];
    struct stat stat;
    snprintf(path, sizeof path, "%s/corpus.tsv", folder);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &stat)) bench_die("opening %s: %s (bench/gen.py makes it)", path, strerror(errno));
    const char *at = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    if (at == MAP_FAILED) bench_die("mmap of %s: %s", path, strerror(errno));
    close(file);
    const char *end = at + stat.st_size;
    struct bench_text *texts = calloc(count + 1, sizeof *texts);
    if (!texts) bench_die("no memory for %llu rows", (unsigned long long)count);
    for (uint64_t i = 1; i <= count; i++) { /* id, tags, text, with tabs between them */
        const char *line_end = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const char *text = line_end ? memchr(at, '\t', (size_t)(line_end - at)) : NULL;
        if (text) text = memchr(text + 1, '\t', (size_t)(line_end - text - 1));
        if (!text) bench_die("%s has no row %llu; make it larger", path, (unsigned long long)i);
        texts[i] = (struct bench_text){text + 1, (size_t)(line_end - text - 1)};
        at = line_end + 1;
    }
    return texts;
}

double bench_text_bytes(const struct bench_text *texts, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 1; i <= count; i++) sum += (double)texts[i].size;
    return sum;
}

size_t bench_load_queries(const char *folder, const char *name, struct bench_query *queries)
{
    char path[4096], line[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/queries_%s.txt", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) bench_die("opening %s: %s", path, strerror(errno));
    while (count < BENCH_QUERIES_MAX && fgets(line, sizeof line, file)) {
        struct bench_query *query = &queries[count++];
        char *rest = NULL;
        query->count = 0;
        for (char *word = strtok_r(line, " \n", &rest); word && query->count < BENCH_WORDS_MAX;
             word = strtok_r(NULL, " \n", &rest))
            query->words[query->count++] = strdup(word);
    }
    fclose(file);
    if (!count) bench_die("%s is empty", path);
    return count;
}
