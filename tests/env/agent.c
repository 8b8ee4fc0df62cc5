/* SPDX-License-Identifier: MIT
 * env/agent.c: one process with one root open, driven over stdin: for tests that need a participant that lives (tests/env/test_env.py).
 *
 * A line in is a command and its arguments, separated by tabs; a line out answers it: "ok" and what there is to say, or "error",
 * number, name, detail, and the receipt's client and sequence (0 0 without one). Public API alone. `run` says more as it goes. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <roost/roost.h>

enum { FIELD_COUNT = 8, LINE_SIZE = 1 << 20 };

static roost_root *root;
static roost_watch *watch;
static struct roost_receipt receipt;
static int limited; /* then stderr, which may be a file, is left alone */

static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static void fail(int err)
{
    char detail[1024];
    snprintf(detail, sizeof detail, "%s", roost_error_detail());
    for (char *at = detail; *at; at++)
        if (*at == '\t' || *at == '\n') *at = ' ';
    say("error\t%d\t%s\t%s\t%" PRIu64 "\t%" PRIu64, err, roost_error_name(err), detail, receipt.client, receipt.sequence);
}

static void log_line(void *user, enum roost_log_level level, const char *message)
{
    (void)user;
    if (!limited) fprintf(stderr, "agent: log %d: %s\n", (int)level, message);
}

static uint64_t number(const char *text) { return strtoull(text, NULL, 10); }
static int has(const char *words, const char *word) { return strstr(words, word) != NULL; }

/* ---- life ---- */

/* PATH WAIT_MS FLAGS(create,observe,hold,file,small) */
static int do_open(char **field)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    options.wait_ms = (uint32_t)number(field[2]);
    if (has(field[3], "create")) options.flags |= ROOST_OPEN_CREATE;
    if (has(field[3], "observe")) options.flags |= ROOST_OPEN_OBSERVE;
    if (has(field[3], "hold")) options.flags |= ROOST_OPEN_HOLD;
    if (has(field[3], "file")) settings.region = ROOST_REGION_FILE;
    if (has(field[3], "small")) settings.log_size = settings.chunk_size = settings.arena_size = 1 << 20;
    options.settings = &settings;
    options.log = log_line;
    int err = roost_open(field[1], &options, &root);
    if (!err) say("ok");
    return err;
}

static int do_close(void)
{
    roost_watch_close(watch);
    watch = NULL;
    int err = roost_close(root);
    root = NULL;
    if (!err) say("ok");
    return err;
}

/* ---- writing ---- */

static int append(const char *text, uint32_t level, roost_id *ret_id)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    struct roost_write write = ROOST_WRITE_INIT;
    memory.text = roost_text(text);
    write.level = level;
    return roost_append(root, &memory, &write, ret_id, &receipt);
}

/* TEXT [LEVEL] */
static int do_append(char **field)
{
    roost_id id = 0;
    int err = append(field[1], (uint32_t)number(field[2]), &id);
    if (!err) say("ok\t%" PRIu64 "\t%" PRIu64, id, receipt.lsn);
    return err;
}

/* PREFIX COUNT SIZE LEVEL: appends "PREFIX-n" up to that size of random words; says "id ID n" for each as it is acknowledged when
 * SIZE is 0, else only how many there were; ends with ok and the count, or the error and, before it, "done COUNT". */
static int do_run(char **field)
{
    uint64_t count = number(field[2]), size = number(field[3]), state = 88172645463325252u;
    char *text = malloc((size_t)size + 256);
    if (!text) return ROOST_ENOMEM;
    for (uint64_t i = 0; i < count; i++) {
        size_t used = (size_t)sprintf(text, "%s-%" PRIu64 " heron", field[1], i);
        while (used + 8 < size) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            used += (size_t)sprintf(text + used, " %06" PRIx64, state & 0xffffff);
        }
        roost_id id = 0;
        int err = append(text, (uint32_t)number(field[4]), &id);
        if (err) {
            printf("done\t%" PRIu64 "\n", i);
            free(text);
            return err;
        }
        if (!size) say("id\t%" PRIu64 "\t%" PRIu64, id, i);
    }
    free(text);
    say("ok\t%" PRIu64, count);
    return 0;
}

/* NAME STATUS */
static int do_state(char **field)
{
    struct roost_state state = ROOST_STATE_INIT;
    state.name = roost_text(field[1]);
    state.status = roost_text(field[2]);
    int err = roost_state_publish(root, &state, NULL);
    if (!err) say("ok");
    return err;
}

/* CLIENT SEQUENCE WAIT_MS */
static int do_settle(char **field)
{
    struct roost_receipt asked = {number(field[1]), number(field[2]), 0, 0};
    int err = roost_settle(root, &asked, (uint32_t)number(field[3]));
    if (!err) say("ok\t%" PRIu64 "\t%" PRIu64, asked.id, asked.lsn);
    return err;
}

/* ---- reading ---- */

static int do_get(char **field)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    int err = roost_get(root, number(field[1]), &memory);
    if (err) return err;
    say("ok\t%.*s", (int)(memory.text.size < 200 ? memory.text.size : 200), (const char *)memory.text.data);
    roost_unpin(root, &memory.pin);
    return 0;
}

static int do_search(char **field)
{
    struct roost_query query = ROOST_QUERY_INIT;
    roost_hits *hits;
    query.text = roost_text(field[1]);
    query.limit = 1000000;
    int err = roost_search(root, &query, &hits);
    if (err) return err;
    say("ok\t%zu", roost_hits_count(hits));
    roost_hits_close(hits);
    return 0;
}

/* The first word of every memory, by id. */
static int do_all(void)
{
    roost_iter *iter;
    int err = roost_scan(root, 0, 0, &iter), more = 0;
    if (err) return err;
    struct roost_memory memory = ROOST_MEMORY_INIT;
    printf("ok");
    while ((more = roost_iter_memory(iter, &memory)) == 1) {
        size_t size = 0;
        while (size < memory.text.size && ((const char *)memory.text.data)[size] != ' ') size++;
        printf("\t%.*s", (int)size, (const char *)memory.text.data);
    }
    roost_iter_close(iter);
    if (more < 0) printf("\t!%s %s", roost_error_name(more), roost_error_detail());
    say("");
    return 0;
}

static int do_state_of(char **field)
{
    struct roost_state state = ROOST_STATE_INIT;
    int err = roost_state_get(root, roost_text(field[1]), &state);
    if (err) return err;
    say("ok\t%.*s\t%u", (int)state.status.size, (const char *)state.status.data, state.alive);
    roost_unpin(root, &state.pin);
    return 0;
}

static int do_watch(char **field)
{
    struct roost_topic topic = {has(field[1], "state") ? ROOST_TOPIC_STATES : ROOST_TOPIC_COMMITS, 0, {NULL, 0}};
    int err = roost_watch_open(root, &topic, 1, &watch);
    if (!err) say("ok");
    return err;
}

/* WAIT_MS */
static int do_wait(char **field)
{
    struct roost_event event = ROOST_EVENT_INIT;
    int found = roost_watch_wait(watch, (uint32_t)number(field[1]), &event);
    if (found >= 0)
        say("ok\t%u\t%" PRIu64 "\t%.*s", found ? event.kind : 0, event.id, (int)event.name.size, (const char *)event.name.data);
    return found;
}

/* ---- care ---- */

static int do_stats(void)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    int err = roost_stats(root, &stats);
    if (err) return err;
    char uuid[33];
    for (size_t i = 0; i < 16; i++) snprintf(uuid + 2 * i, 3, "%02x", stats.root_uuid[i]);
    say("ok\tmemories=%" PRIu64 "\twriter=%d\town=%d\tparticipants=%" PRIu64 "\tuuid=%s\ttakeovers=%" PRIu64, stats.memory_count,
        stats.writer_pid, stats.own_role, stats.participant_count, uuid, stats.takeover_count);
    return 0;
}

static void found(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    (void)user;
    fprintf(stderr, "agent: check: %s %s %" PRIu64 " %s\n", roost_error_name(error), file, offset, detail);
}

static int do_check(void)
{
    int count = roost_check(root, found, NULL);
    if (count >= 0) say("ok\t%d", count);
    return count;
}

/* BYTES: RLIMIT_FSIZE of this process from now on; 0: none */
static int do_limit(char **field)
{
    struct rlimit limit = {number(field[1]) ? number(field[1]) : RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return -errno;
    limited = limit.rlim_cur != RLIM_INFINITY;
    say("ok");
    return 0;
}

static int said(int err)
{
    if (!err) say("ok");
    return err;
}

static int obey(char **field)
{
    const char *word = field[0];
    if (!strcmp(word, "open")) return do_open(field);
    if (!strcmp(word, "limit")) return do_limit(field);
    if (!root) return ROOST_EINVAL;
    if (!strcmp(word, "close")) return do_close();
    if (!strcmp(word, "append")) return do_append(field);
    if (!strcmp(word, "run")) return do_run(field);
    if (!strcmp(word, "forget")) return said(roost_forget(root, number(field[1]), NULL, &receipt));
    if (!strcmp(word, "set")) return said(roost_kv_set(root, roost_text(field[1]), roost_text(field[2]), NULL, &receipt));
    if (!strcmp(word, "del")) return said(roost_kv_delete(root, roost_text(field[1]), NULL, &receipt));
    if (!strcmp(word, "state")) return do_state(field);
    if (!strcmp(word, "settle")) return do_settle(field);
    if (!strcmp(word, "get")) return do_get(field);
    if (!strcmp(word, "search")) return do_search(field);
    if (!strcmp(word, "all")) return do_all();
    if (!strcmp(word, "stateof")) return do_state_of(field);
    if (!strcmp(word, "watch")) return do_watch(field);
    if (!strcmp(word, "wait")) return watch ? do_wait(field) : ROOST_EINVAL;
    if (!strcmp(word, "stats")) return do_stats();
    if (!strcmp(word, "check")) return do_check();
    if (!strcmp(word, "checkpoint")) return said(roost_checkpoint(root));
    if (!strcmp(word, "rest")) return said(roost_rest(root));
    if (!strcmp(word, "sync")) return said(roost_sync(root));
    return ROOST_EINVAL;
}

int main(void)
{
    char *line = malloc(LINE_SIZE);
    if (!line) return 1;
    while (fgets(line, LINE_SIZE, stdin)) {
        char *field[FIELD_COUNT], *rest = line;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < FIELD_COUNT; i++) {
            char *next = rest ? strsep(&rest, "\t") : NULL;
            field[i] = next ? next : (char *)"";
        }
        memset(&receipt, 0, sizeof receipt);
        int err = obey(field);
        if (err < 0) fail(err);
    }
    free(line);
    return root ? roost_close(root) != 0 : 0;
}
