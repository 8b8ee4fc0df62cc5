/* SPDX-License-Identifier: MIT
 * observer.c: watches a root without taking part in it, and prints a line about all agents now and then.
 *
 *     observer ROOT [MILLISECONDS]        until SIGTERM or Ctrl-C
 *
 * It opens the root read-only: it takes no slot, disturbs nobody, needs nobody, and sees each state as its agent published it. A
 * dashboard would look like this. Colours on a terminal, unless NO_COLOR is set. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <roost/roost.h>

static volatile sig_atomic_t stopped;
static bool colours;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int complain(const char *what)
{
    fprintf(stderr, "observer: %s: %s\n", what, roost_error_detail());
    return 1;
}

static void print_state(const struct roost_state *state, int32_t writer_pid)
{
    bool alive = state->alive != ROOST_ALIVE_NO; /* a state that nobody owns lives for ever */
    bool done = state->status.size == 4 && memcmp(state->status.data, "done", 4) == 0;
    const char *colour = !colours ? "" : alive ? "\033[32m" : done ? "\033[2m" : "\033[31m";
    struct roost_bytes status = alive || done ? state->status : (struct roost_bytes)ROOST_TEXT("DIED");
    printf("  %s%.*s %6" PRIu64 " %-7.*s%s%s", colour, (int)state->name.size, (const char *)state->name.data,
           state->active_memory_count, (int)status.size, (const char *)status.data, colours ? "\033[0m" : "",
           alive && writer_pid && state->owner_pid == writer_pid ? "*" : " ");
}

/* One line: time, rate, what there is, and each agent. */
static int print_line(roost_root *root, double seconds, double step, uint64_t *count_before)
{
    struct roost_stats stats = ROOST_STATS_INIT;
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *states;
    int more;
    if (roost_stats(root, &stats) < 0 || roost_state_scan(root, &states) < 0) return complain("looking");
    uint64_t added = stats.memory_count > *count_before ? stats.memory_count - *count_before : 0;
    *count_before = stats.memory_count;
    printf("%5.1f s %7" PRIu64 " memories %7.0f/s ", seconds, stats.memory_count, (double)added / step);
    while ((more = roost_iter_state(states, &state)) == 1) print_state(&state, stats.writer_pid);
    roost_iter_close(states);
    printf("\n");
    fflush(stdout);
    return more < 0 ? complain("reading states") : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) return fprintf(stderr, "usage: observer ROOT [MILLISECONDS]\n"), 2;
    double interval = (argc > 2 ? atof(argv[2]) : 500) / 1000, start = now(), last = start;
    const char *no_color = getenv("NO_COLOR");
    colours = isatty(1) && !(no_color && no_color[0]);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    struct roost_options options = ROOST_OPTIONS_INIT;
    options.flags = ROOST_OPEN_OBSERVE;
    options.wait_ms = 1000;
    roost_root *root;
    roost_watch *watch;
    struct roost_topic topics[] = {{ROOST_TOPIC_STATES, 0, {NULL, 0}}};
    if (roost_open(argv[1], &options, &root) < 0) return complain("opening");
    if (roost_watch_open(root, topics, 1, &watch) < 0) return complain("watching");

    uint64_t count = 0;
    int err = 0;
    while (!stopped && !err) {
        struct roost_event event = ROOST_EVENT_INIT;
        double left = last + interval - now();
        /* Sleeps until an agent changes its state; the line comes when it is due. */
        int woken = left > 0 ? roost_watch_wait(watch, (uint32_t)(left * 1000) + 1, &event) : 0;
        if (woken < 0) err = complain("waiting");
        if (err || now() < last + interval) continue;
        err = print_line(root, now() - start, now() - last, &count);
        last = now();
    }
    if (!err) err = print_line(root, now() - start, now() - last, &count);
    roost_watch_close(watch);
    roost_close(root);
    return err;
}
