/* SPDX-License-Identifier: MIT
 * cases.c: the cases, each over the table of functions that a store fills in (cases.h). README.md says what each means. */
#include "cases.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROWS_DURABLE = 5000,
    ROWS = 100000,
    GETS = 1000000,
    PROCESSES = 4,
    TRIES = 200,
    ATTACHES = 20,
    NOTIFY_ROUNDS = 20000,
    RECOVER_BLOCK = 1000,
    FOUND_WITHIN_S = 20,
    RANKING_CHECKED = 10,
};
#define WRITE_MODE_NAME "durable"

static struct bench_store store;
static const char *data_folder, *work_folder;
static uint64_t row_count;
static struct bench_text *rows;
static volatile uint64_t sink; /* what was read, so that no reading is optimised away */

static char *folder_of(const char *what)
{
    char *path = malloc(4096);
    const char *name = getenv("PEER_NAME");
    snprintf(path, 4096, "%s/%s-%s", work_folder, name && *name ? name : store.name, what);
    return path;
}

static char *fresh_folder(const char *what)
{
    char *path = folder_of(what);
    bench_remove_tree(path);
    bench_make_folder(path);
    return path;
}

static void check_row(uint64_t id, uint64_t row)
{
    struct bench_text text = store.get(id);
    if (!text.data) bench_die("get %llu: not there", (unsigned long long)id);
    if (text.size != rows[row].size || memcmp(text.data, rows[row].data, text.size))
        bench_die("get %llu: other bytes", (unsigned long long)id);
}

static void check_rows(void)
{
    for (uint64_t i = 1; i <= row_count; i++) check_row(i, i);
}

/* ---- appending ---- */

static void append_durable(const char *name)
{
    char *folder = fresh_folder(name);
    uint64_t *latencies = bench_shared(row_count * sizeof *latencies), *ids = bench_shared((row_count + 1) * sizeof *ids);
    store.open(folder, BENCH_DURABLE);
    bench_stall_begin();
    uint64_t start = bench_now_ns();
    for (uint64_t i = 1; i <= row_count; i++) {
        uint64_t before = bench_now_ns();
        ids[i] = store.append(i, rows[i]);
        latencies[i - 1] = bench_now_ns() - before;
    }
    double seconds = (double)(bench_now_ns() - start) / 1e9;
    bench_stall_end();
    store.close();
    store.open(folder, BENCH_READER);
    for (uint64_t i = 1; i <= row_count; i++) check_row(ids[i], i);
    store.close();
    bench_line(name, row_count, (double)row_count / seconds, "ops/s", latencies, row_count, "%s", store.append_note);
    bench_remove_tree(folder);
}

struct appending {
    const char *folder;
    uint64_t *latencies, *ids;
};

static void append_child(unsigned child, void *user)
{
    struct appending *appending = user;
    uint64_t share = row_count / PROCESSES;
    store.open(appending->folder, BENCH_DURABLE);
    bench_gate_enter();
    for (uint64_t row = child * share + 1; row <= (child + 1) * share; row++) {
        uint64_t before = bench_now_ns();
        appending->ids[row] = store.append(row, rows[row]);
        appending->latencies[row - 1] = bench_now_ns() - before;
    }
    bench_gate_leave();
    store.close();
}

static void append_durable_4p(const char *name)
{
    row_count -= row_count % PROCESSES;
    struct appending appending = {fresh_folder(name), bench_shared(row_count * sizeof(uint64_t)),
                                  bench_shared((row_count + 1) * sizeof(uint64_t))};
    store.open(appending.folder, BENCH_DURABLE); /* the store is there before the four come */
    store.close();
    bench_stall_begin();
    uint64_t elapsed = bench_together(PROCESSES, append_child, &appending);
    bench_stall_end();
    store.open(appending.folder, BENCH_READER);
    for (uint64_t i = 1; i <= row_count; i++) check_row(appending.ids[i], i);
    store.close();
    bench_line(name, row_count, (double)row_count * 1e9 / (double)elapsed, "ops/s", appending.latencies, row_count,
               "%s; %d processes, all rows checked after", store.append_note, PROCESSES);
    bench_remove_tree(appending.folder);
}

struct bulk_times {
    double load_s, tidy_s;
};

static struct bulk_times load_bulk(const char *folder)
{
    struct bulk_times times = {0, 0};
    double ignored = 0;
    store.open(folder, BENCH_BULK);
    uint64_t start = bench_now_ns();
    for (uint64_t row = 1; row <= row_count; row += store.bulk_block) {
        uint64_t rest = row_count - row + 1;
        store.append_block(row, &rows[row], rest < store.bulk_block ? (size_t)rest : store.bulk_block);
    }
    store.finish();
    store.close();
    bench_measure_tree(folder, true, &ignored, &ignored);
    times.load_s = (double)(bench_now_ns() - start) / 1e9;
    if (!store.tidy) return times;
    start = bench_now_ns();
    store.open(folder, BENCH_BULK);
    store.tidy();
    store.close();
    bench_measure_tree(folder, true, &ignored, &ignored);
    times.tidy_s = (double)(bench_now_ns() - start) / 1e9;
    return times;
}

static char *bulk_name(char *buffer, size_t size)
{
    snprintf(buffer, size, "bulk-%llu", (unsigned long long)row_count);
    return buffer;
}

/* The mark says that the load went to its end. */
static void mark_path(const char *folder, char *path, size_t size) { snprintf(path, size, "%s.done", folder); }

static char *fresh_bulk(struct bulk_times *ret_times)
{
    char name[64], mark[4096];
    char *folder = fresh_folder(bulk_name(name, sizeof name));
    mark_path(folder, mark, sizeof mark);
    remove(mark);
    *ret_times = load_bulk(folder);
    FILE *file = fopen(mark, "w");
    if (!file) bench_die("making %s: %s", mark, strerror(errno));
    fclose(file);
    return folder;
}

/* The store that append_bulk left, or a new one. */
static char *bulk_folder(void)
{
    char name[64], mark[4096];
    struct bulk_times times;
    char *folder = folder_of(bulk_name(name, sizeof name));
    mark_path(folder, mark, sizeof mark);
    if (access(mark, F_OK) == 0) return folder;
    free(folder);
    return fresh_bulk(&times);
}

static void append_bulk(const char *name)
{
    struct bulk_times times;
    bench_stall_begin();
    char *folder = fresh_bulk(&times);
    bench_stall_end();
    bench_line(name, row_count, (double)row_count / times.load_s, "ops/s", NULL, 0,
               "%.2f MB/s of text; close and final sync in; the store's own tidying after: %.3f s",
               bench_text_bytes(rows, row_count) / 1e6 / times.load_s, times.tidy_s);
    store.open(folder, BENCH_READER);
    check_rows();
    store.close();
}

/* ---- reading ---- */

/* Sums one byte in 64, as a reader would touch the value. latencies_ns may be NULL. */
static uint64_t get_many(uint64_t count, uint64_t seed, uint64_t *latencies_ns)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = 1 + bench_random_below(&seed, row_count), before = latencies_ns ? bench_now_ns() : 0;
        struct bench_text text = store.get(id);
        if (!text.data) bench_die("get %llu: not there", (unsigned long long)id);
        for (size_t at = 0; at < text.size; at += 64) sum += (unsigned char)text.data[at];
        if (latencies_ns) latencies_ns[i] = bench_now_ns() - before;
    }
    return sum;
}

static void get_hot(const char *name)
{
    uint64_t count = GETS, timed = count / 5, *latencies = bench_shared(timed * sizeof *latencies);
    store.open(bulk_folder(), BENCH_READER);
    check_rows();
    sink += get_many(count / 10, 1, NULL);
    bench_stall_begin();
    uint64_t start = bench_now_ns();
    sink += get_many(count, 2, NULL);
    uint64_t elapsed = bench_now_ns() - start;
    sink += get_many(timed, 3, latencies);
    bench_stall_end();
    start = bench_now_ns();
    for (int i = 0; i < 100000; i++) sink += bench_now_ns();
    uint64_t clock_ns = (bench_now_ns() - start) / 100000;
    store.close();
    bench_line(name, row_count, (double)count * 1e9 / (double)elapsed, "ops/s", latencies, timed,
               "%llu gets, mean %.0f ns; p50 and p99 from a second pass with a clock read of %llu ns in each; all values "
               "compared before",
               (unsigned long long)count, (double)elapsed / (double)count, (unsigned long long)clock_ns);
}

static void get_child(unsigned child, void *user)
{
    store.open(user, BENCH_READER);
    check_rows();
    bench_gate_enter();
    sink += get_many(GETS / PROCESSES, 10 + child, NULL);
    bench_gate_leave();
    store.close();
}

static void get_4p(const char *name)
{
    char *folder = bulk_folder();
    bench_stall_begin();
    uint64_t elapsed = bench_together(PROCESSES, get_child, folder);
    bench_stall_end();
    bench_line(name, row_count, (double)(GETS / PROCESSES) * PROCESSES * 1e9 / (double)elapsed, "ops/s", NULL, 0,
               "%d processes x %d gets", PROCESSES, GETS / PROCESSES);
}

/* ---- searching ---- */

/* BM25 by reading every row, exact words: how many of a query's results belong to the best ten, ties counted as right. */
struct ranking {
    unsigned first_right, right, wanted, queries;
};

static unsigned count_word(struct bench_text text, const char *word, size_t word_size, unsigned *ret_length)
{
    unsigned found = 0, length = 0;
    for (const char *at = text.data, *end = at + text.size; at < end; length++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        if (!space) space = end;
        found += (size_t)(space - at) == word_size && !memcmp(at, word, word_size);
        at = space + 1;
    }
    *ret_length = length;
    return found;
}

static void check_ranking(enum bench_search kind, const struct bench_query *query, const uint64_t *ids, unsigned count,
                          struct ranking *ranking)
{
    double *scores = calloc(row_count + 1, sizeof *scores), mean = 0, best[BENCH_HITS + 1] = {0}, with[BENCH_WORDS_MAX] = {0};
    unsigned *lengths = calloc(row_count + 1, sizeof *lengths), wanted = 0;
    unsigned(*found)[BENCH_WORDS_MAX] = calloc(row_count + 1, sizeof *found);
    for (uint64_t row = 1; row <= row_count; row++) {
        for (unsigned i = 0; i < query->count; i++) {
            found[row][i] = count_word(rows[row], query->words[i], strlen(query->words[i]), &lengths[row]);
            with[i] += found[row][i] > 0;
        }
        mean += (double)lengths[row] / (double)row_count;
    }
    for (uint64_t row = 1; row <= row_count; row++) {
        unsigned matched = 0, place = BENCH_HITS;
        for (unsigned i = 0; i < query->count; i++) {
            double frequency = found[row][i], idf = log(1 + ((double)row_count - with[i] + 0.5) / (with[i] + 0.5));
            matched += frequency > 0;
            scores[row] += idf * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * lengths[row] / mean));
        }
        if (!matched || (kind == BENCH_AND && matched < query->count)) scores[row] = 0;
        for (; place && best[place - 1] < scores[row]; place--) best[place] = best[place - 1];
        best[place] = scores[row];
    }
    while (wanted < BENCH_HITS && best[wanted] > 0) wanted++;
    ranking->queries++;
    ranking->wanted += wanted;
    ranking->first_right += wanted ? count && scores[ids[0]] >= best[0] * 0.999 : !count;
    for (unsigned i = 0; wanted && i < count; i++)
        ranking->right += scores[ids[i]] > 0 && scores[ids[i]] >= best[wanted - 1] * 0.999;
    free(scores);
    free(lengths);
    free(found);
}

static void search(const char *name)
{
    const char *queries_name = strchr(name, '_') + 1;
    enum bench_search kind = !strcmp(queries_name, "1term") ? BENCH_ONE : !strcmp(queries_name, "and2") ? BENCH_AND : BENCH_OR;
    static struct bench_query queries[BENCH_QUERIES_MAX];
    size_t count = bench_load_queries(data_folder, queries_name, queries), empty = 0;
    uint64_t *latencies = bench_shared(count * sizeof *latencies), ids[BENCH_HITS], hits = 0;
    struct ranking ranking = {0, 0, 0, 0};
    store.open(bulk_folder(), BENCH_READER);
    for (size_t i = 0; i < count; i++) {
        unsigned found = store.search(kind, queries[i].words, queries[i].count, ids);
        hits += found;
        empty += !found;
        for (unsigned hit = 0; hit < found; hit++)
            if (!ids[hit] || ids[hit] > row_count) bench_die("a hit that is no row: %llu", (unsigned long long)ids[hit]);
        if (i < RANKING_CHECKED) check_ranking(kind, &queries[i], ids, found, &ranking);
    }
    if (!hits) bench_die("no query found anything");
    bench_stall_begin();
    uint64_t start = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        uint64_t before = bench_now_ns();
        sink += store.search(kind, queries[i].words, queries[i].count, ids);
        latencies[i] = bench_now_ns() - before;
    }
    uint64_t elapsed = bench_now_ns() - start;
    bench_stall_end();
    store.close();
    bench_line(name, row_count, (double)count * 1e9 / (double)elapsed, "qps", latencies, count,
               "mean hits %.2f, %zu queries without; against BM25 of exact words read row by row: first right %u of %u, top ten "
               "%u of %u%s",
               (double)hits / (double)count, empty, ranking.first_right, ranking.queries, ranking.right, ranking.wanted,
               store.stems ? " (words are stemmed here, so it may differ)" : "");
}

/* ---- how soon a search finds a new row ---- */

struct freshness {
    uint64_t wanted, ready, done, found_ns, id; /* wanted: the try; id: of its row, once known */
};

static void unique_word(uint64_t try, char ret_word[32]) { snprintf(ret_word, 32, "zuniq%06lluq", (unsigned long long)try); }

static bool find_unique(uint64_t try, uint64_t *ret_id)
{
    char word[32], *words[1] = {word};
    uint64_t ids[BENCH_HITS];
    unique_word(try, word);
    unsigned count = store.search(BENCH_ONE, words, 1, ids);
    if (count > 1) bench_die("a unique word was found %u times", count);
    if (count) *ret_id = ids[0];
    return count;
}

static uint64_t append_unique(uint64_t try)
{
    enum { HEAD = 600 };
    char text[HEAD + 64], word[32];
    unique_word(try, word);
    int size = snprintf(text, sizeof text, "%.*s %s", (int)(rows[try].size < HEAD ? rows[try].size : HEAD), rows[try].data, word);
    return store.append(row_count + try, (struct bench_text){text, (size_t)size});
}

static void look_out(const char *folder, struct freshness *shared)
{
    store.open(folder, BENCH_READER);
    __atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
    for (uint64_t try = 1; try <= TRIES; try++) {
        uint64_t id = 0;
        while (__atomic_load_n(&shared->wanted, __ATOMIC_ACQUIRE) < try) bench_sleep_us(50);
        while (!find_unique(try, &id)) {}
        shared->found_ns = bench_now_ns();
        shared->id = id;
        __atomic_store_n(&shared->done, try, __ATOMIC_RELEASE);
    }
    store.close();
}

static void fresh(const char *name)
{
    bool other = !strcmp(name, "fresh_other");
    char *folder = folder_of("fresh"), *source = bulk_folder();
    uint64_t *latencies = bench_shared(TRIES * sizeof *latencies), early = 0;
    struct freshness *shared = bench_shared(sizeof *shared);
    bench_remove_tree(folder);
    bench_copy_tree(source, folder);
    pid_t child = other ? bench_fork() : -1;
    if (!child) {
        look_out(folder, shared);
        _exit(0);
    }
    store.open(folder, BENCH_DURABLE);
    uint64_t opened_by = bench_now_ns() + FOUND_WITHIN_S * 1000000000ull;
    for (; other && !__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE); bench_sleep_us(100))
        if (bench_now_ns() > opened_by) bench_die("the other process did not open the store");
    bench_stall_begin();
    for (uint64_t try = 1; try <= TRIES; try++) {
        __atomic_store_n(&shared->wanted, try, __ATOMIC_RELEASE);
        if (other) bench_sleep_us(500); /* the other one searches by now */
        uint64_t id = append_unique(try), before = bench_now_ns(), found_id = 0, limit = before + FOUND_WITHIN_S * 1000000000ull;
        while (other ? __atomic_load_n(&shared->done, __ATOMIC_ACQUIRE) < try : !find_unique(try, &found_id)) {
            if (bench_now_ns() > limit) bench_die("never found");
            if (other) sched_yield();
        }
        uint64_t found_ns = other ? shared->found_ns : bench_now_ns();
        if (other) found_id = shared->id;
        if (found_id != id) bench_die("found %llu instead of %llu", (unsigned long long)found_id, (unsigned long long)id);
        early += found_ns < before;
        latencies[try - 1] = found_ns < before ? 0 : found_ns - before;
    }
    bench_stall_end();
    if (other) bench_join(child, "the other process");
    store.close();
    bench_remove_tree(folder);
    bench_sort(latencies, TRIES);
    bench_line(name, row_count, (double)bench_percentile(latencies, TRIES, 0.5) / 1e3, "us", latencies, TRIES,
               "%d tries; %s; %llu found before the append returned (counted as 0)", TRIES,
               other ? "the other one searches without pause" : "the search that finds it included", (unsigned long long)early);
}

/* ---- coming to a store ---- */

struct attached {
    uint64_t open_ns, get_ns, search_ns, hash;
    uint64_t hits;
    long dirty_before_kb, dirty_after_kb;
};

static uint64_t hash_text(struct bench_text text) /* FNV-1a */
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < text.size; i++) hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211u;
    return hash;
}

/* In a fresh process: FOLDER ID WORD MODE. Standard output is the pipe to the parent. */
static int attach_child(char **arguments)
{
    struct attached result = {0};
    uint64_t ids[BENCH_HITS];
    result.dirty_before_kb = bench_private_dirty_kb();
    uint64_t start = bench_now_ns();
    store.open(arguments[0], (enum bench_mode)(!strcmp(arguments[3], WRITE_MODE_NAME) ? BENCH_DURABLE : BENCH_READER));
    uint64_t opened = bench_now_ns();
    struct bench_text text = store.get(strtoull(arguments[1], NULL, 10));
    if (!text.data) bench_die("attach: the row is not there");
    uint64_t got = bench_now_ns();
    result.hash = hash_text(text);
    uint64_t before = bench_now_ns();
    if (*arguments[2]) result.hits = store.search(BENCH_ONE, &arguments[2], 1, ids);
    result.search_ns = bench_now_ns() - before;
    result.open_ns = opened - start;
    result.get_ns = got - opened;
    result.dirty_after_kb = bench_private_dirty_kb();
    store.close();
    return write(STDOUT_FILENO, &result, sizeof result) == sizeof result ? 0 : 1;
}

static struct attached spawn_attach(const char *folder, uint64_t id, const char *word, bool writer)
{
    struct attached result;
    int ends[2];
    char id_text[32];
    snprintf(id_text, sizeof id_text, "%llu", (unsigned long long)id);
    if (pipe(ends)) bench_die("pipe: %s", strerror(errno));
    pid_t child = bench_fork();
    if (!child) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        char *const arguments[] = {
            "bench", "_attach", (char *)(uintptr_t)folder, id_text, (char *)(uintptr_t)word, writer ? WRITE_MODE_NAME : "reader",
            NULL};
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], &result, sizeof result);
    close(ends[0]);
    bench_join(child, "the attaching process");
    if (size != sizeof result) bench_die("the attaching process said nothing");
    if (result.hash != hash_text(rows[id])) bench_die("attach: other bytes under id %llu", (unsigned long long)id);
    return result;
}

/* Somebody who has the store open and does nothing. Ends when the pipe's other end closes. */
static pid_t start_holder(const char *folder, int *ret_release)
{
    int ready[2], release[2];
    char byte = 0;
    if (pipe(ready) || pipe(release)) bench_die("pipe: %s", strerror(errno));
    pid_t child = bench_fork();
    if (!child) {
        close(ready[0]);
        close(release[1]);
        store.open(folder, BENCH_DURABLE);
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        while (read(release[0], &byte, 1) < 0 && errno == EINTR) {}
        store.close();
        _exit(0);
    }
    close(ready[1]);
    close(release[0]);
    if (read(ready[0], &byte, 1) != 1) bench_die("the holder could not open the store");
    close(ready[0]);
    *ret_release = release[1];
    return child;
}

static void attach_series(const char *name, const char *folder, const struct bench_query *queries, size_t query_count,
                          const char *who)
{
    uint64_t seed = 42, all[ATTACHES], opens[ATTACHES], gets[ATTACHES], searches[ATTACHES];
    long dirty = 0, dirty_before = 0;
    bench_stall_begin();
    for (size_t i = 0; i < ATTACHES; i++) {
        const char *word = query_count ? queries[i % query_count].words[0] : "";
        struct attached result = spawn_attach(folder, 1 + bench_random_below(&seed, row_count), word, false);
        opens[i] = result.open_ns;
        gets[i] = result.get_ns;
        searches[i] = result.search_ns;
        all[i] = result.open_ns + result.get_ns + result.search_ns;
        if (result.dirty_after_kb > dirty) dirty = result.dirty_after_kb;
        dirty_before = result.dirty_before_kb;
    }
    bench_stall_end();
    bench_sort(all, ATTACHES);
    bench_sort(opens, ATTACHES);
    bench_sort(gets, ATTACHES);
    bench_sort(searches, ATTACHES);
    bench_line(
        name, row_count, (double)bench_percentile(all, ATTACHES, 0.5) / 1e3, "us", all, ATTACHES,
        "open + first get%s, %s; medians: open %.0f, get %.0f, search %.0f us; %d fresh processes, hot page cache, exec and "
        "linking not counted; Private_Dirty %ld kB (before open %ld kB)",
        query_count ? " + first search" : " only, it cannot search", who, (double)bench_percentile(opens, ATTACHES, 0.5) / 1e3,
        (double)bench_percentile(gets, ATTACHES, 0.5) / 1e3, (double)bench_percentile(searches, ATTACHES, 0.5) / 1e3, ATTACHES,
        dirty, dirty_before);
}

static void attach(const char *name)
{
    static struct bench_query queries[BENCH_QUERIES_MAX];
    size_t count = store.search ? bench_load_queries(data_folder, "1term", queries) : 0;
    char *folder = bulk_folder(), alone[64];
    int release;
    store.open(folder, BENCH_READER); /* hot page cache */
    check_rows();
    store.close();
    pid_t holder = start_holder(folder, &release);
    attach_series(name, folder, queries, count, "another process has it open");
    close(release);
    bench_join(holder, "the holder");
    snprintf(alone, sizeof alone, "%s_alone", name);
    attach_series(alone, folder, queries, count, "nobody has it open");
}

static void recover(const char *name)
{
    char *folder = fresh_folder(name), cold[64];
    int status;
    pid_t child = bench_fork();
    if (!child) {
        store.open(folder, BENCH_DURABLE);
        for (uint64_t row = 1; row <= row_count; row += RECOVER_BLOCK) {
            uint64_t rest = row_count - row + 1;
            store.append_block(row, &rows[row], rest < RECOVER_BLOCK ? (size_t)rest : RECOVER_BLOCK);
        }
        raise(SIGKILL);
    }
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) bench_die("the process to be killed ended before that");
    char *copy = folder_of("recover-copy");
    bench_remove_tree(copy);
    if (store.shares_memory) bench_copy_tree(folder, copy);
    bench_stall_begin();
    struct attached result = spawn_attach(folder, row_count, "", true);
    bench_stall_end();
    store.open(folder, BENCH_DURABLE);
    check_rows();
    store.close();
    bench_line(name, row_count, (double)(result.open_ns + result.get_ns) / 1e3, "us", NULL, 0,
               "appended durably in blocks of %d, then SIGKILL; open as a writer + get of the last row; hot page cache; all rows "
               "checked "
               "after",
               RECOVER_BLOCK);
    if (store.shares_memory) {
        /* The copy is what the files held at the kill; the shared memory belongs to the original only. */
        snprintf(cold, sizeof cold, "%s_cold", name);
        bench_stall_begin();
        result = spawn_attach(copy, row_count, "", true);
        bench_stall_end();
        store.open(copy, BENCH_DURABLE);
        check_rows();
        store.close();
        bench_line(cold, row_count, (double)(result.open_ns + result.get_ns) / 1e3, "us", NULL, 0,
                   "the same files without the shared memory, as after a restart of the machine; hot page cache");
        bench_remove_tree(copy);
    }
    bench_remove_tree(folder);
}

/* ---- the rest ---- */

static void disk(const char *name)
{
    double allocated = 0, apparent = 0, text = bench_text_bytes(rows, row_count);
    bench_measure_tree(bulk_folder(), false, &allocated, &apparent);
    bench_line(name, row_count, allocated / text, "ratio", NULL, 0, "%.1f MB allocated (%.1f MB apparent) for %.1f MB of text",
               allocated / 1e6, apparent / 1e6, text / 1e6);
}

static void state_notify(const char *name)
{
    char *folder = fresh_folder(name);
    size_t rounds = (size_t)row_count;
    uint64_t *latencies = bench_shared(rounds * sizeof *latencies);
    bench_stall_begin();
    store.notify(folder, latencies, rounds);
    bench_stall_end();
    bench_sort(latencies, rounds);
    bench_line(name, rounds, (double)bench_percentile(latencies, rounds, 0.5) / 1e3, "us", latencies, rounds,
               "half of a round trip, both sides block");
    bench_remove_tree(folder);
}

static const struct {
    const char *name;
    void (*run)(const char *name);
    uint64_t rows;
    bool searches;
} cases[] = {
    {"append_durable", append_durable, ROWS_DURABLE, false},
    {"append_durable_4p", append_durable_4p, ROWS_DURABLE, false},
    {"append_bulk", append_bulk, ROWS, false},
    {"get_hot", get_hot, ROWS, false},
    {"get_4p", get_4p, ROWS, false},
    {"search_1term", search, ROWS, true},
    {"search_and2", search, ROWS, true},
    {"search_or3", search, ROWS, true},
    {"fresh_self", fresh, ROWS, true},
    {"fresh_other", fresh, ROWS, true},
    {"attach", attach, ROWS, false},
    {"recover", recover, ROWS, false},
    {"state_notify", state_notify, NOTIFY_ROUNDS, false},
    {"disk", disk, ROWS, false},
};

int bench_run(struct bench_store given, int argument_count, char **arguments)
{
    store = given;
    bench_peer = store.name;
    if (argument_count == 6 && !strcmp(arguments[1], "_attach")) return attach_child(arguments + 2);
    if (argument_count < 4 || argument_count > 5) {
        fprintf(stderr, "usage: %s CASE DATA_DIR WORK_DIR [N]\ncases:", arguments[0]);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) fprintf(stderr, " %s", cases[i].name);
        fputc('\n', stderr);
        return 2;
    }
    data_folder = arguments[2];
    work_folder = arguments[3];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = cases[i].name;
        if (strcmp(name, arguments[1])) continue;
        if (cases[i].searches && !store.search) return bench_unsupported(name, store.no_search);
        if (cases[i].run == state_notify && !store.notify) return bench_unsupported(name, store.no_notify);
        row_count = argument_count == 5 ? strtoull(arguments[4], NULL, 10) : cases[i].rows;
        if (row_count < PROCESSES || (cases[i].run == fresh && row_count < TRIES))
            bench_die("N of %llu is too small", (unsigned long long)row_count);
        if (cases[i].run != state_notify) rows = bench_load_corpus(data_folder, row_count);
        bench_make_folder(work_folder);
        cases[i].run(name);
        return 0;
    }
    return bench_unsupported(arguments[1], "not a case");
}
