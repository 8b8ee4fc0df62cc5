/* SPDX-License-Identifier: MIT
 * epoll.c: Roost in an event loop of one's own, here plain epoll: no thread, and nothing that blocks.
 *
 *     epoll ROOT STREAM        makes ROOT if there is none
 *
 * A chat for any number of processes: each line of standard input (a terminal or a pipe) becomes an entry of the stream; each entry,
 * whoever wrote it, is printed as "INDEX TEXT". At the end of the input it ends, when all its lines have been stored.
 *
 * Roost gives two descriptors. roost_watch_fd is readable when a watch may have something to tell, roost_poll_fd when what was handed in
 * with roost_submit may have been stored. Neither is read: when one is readable, roost_watch_wait and roost_poll are called with a
 * waiting time of 0 until they have no more. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <roost/roost.h>

enum { LINE_SIZE = 4096, RETRY_MS = 20 };

static struct {
    roost_root *root;
    roost_watch *watch;
    roost_batch *batch;
    struct roost_bytes stream;
    uint64_t next; /* the entry to be printed next */
    char input[LINE_SIZE];
    size_t input_size;
    bool input_ended, input_armed;
    uint64_t in_flight; /* lines handed in and not yet answered */
    bool full;          /* the line at the front of the input could not be handed in yet */
    int epoll;
} chat;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "epoll: %s: %s\n", what, detail);
    exit(1);
}
static void must(int err, const char *what)
{
    if (err < 0) die(what, roost_error_detail());
}

/* ---- what others wrote ---- */

/* The events say that there is something; the stream itself is read to its end. So nothing is missed, whatever the events were. Its
 * entries lie in memory that is shared: reading one here costs about as much as a look into a table. */
static void print_new(void)
{
    struct roost_item item = ROOST_ITEM_INIT;
    int err;
    while ((err = roost_stream_get(chat.root, chat.stream, chat.next, &item)) == 0) {
        printf("%" PRIu64 " %.*s\n", item.index, (int)item.value.size, (const char *)item.value.data);
        roost_unpin(chat.root, &item.pin);
        chat.next++;
    }
    if (err != ROOST_ENOENT) must(err, "reading");
    fflush(stdout);
}

static void on_watch(void)
{
    struct roost_event event = ROOST_EVENT_INIT;
    int found;
    while ((found = roost_watch_wait(chat.watch, 0, &event)) == 1)
        ;
    must(found, "watching");
    print_new();
}

/* ---- what we write ---- */

/* Hands the lines that were read over, as many as there is room for. Roost copies them. */
static void hand_in(void)
{
    size_t begin = 0;
    chat.full = false;
    while (begin < chat.input_size) {
        char *line = chat.input + begin, *end = memchr(line, '\n', chat.input_size - begin);
        bool whole = end || chat.input_ended || (begin == 0 && chat.input_size == LINE_SIZE); /* a longer line is cut in pieces */
        if (!whole) break;
        struct roost_bytes text = {line, end ? (size_t)(end - line) : chat.input_size - begin};
        if (text.size) { /* an entry is not empty */
            roost_batch_clear(chat.batch);
            must(roost_batch_stream_append(chat.batch, chat.stream, text), "a line");
            int err = roost_submit(chat.root, chat.batch, NULL, NULL, NULL);
            chat.full = err == ROOST_EAGAIN; /* the rest waits until some of what is under way has landed */
            if (chat.full) break;
            must(err, "handing a line in");
            chat.in_flight++;
        }
        begin += text.size + (end ? 1 : 0);
    }
    memmove(chat.input, chat.input + begin, chat.input_size - begin);
    chat.input_size -= begin;
}

static void on_completions(void)
{
    struct roost_completion completion = ROOST_COMPLETION_INIT;
    int got;
    while ((got = roost_poll(chat.root, &completion, 1, 0)) == 1) {
        if (completion.result < 0) die("storing a line", roost_error_text(completion.result));
        chat.in_flight--;
    }
    must(got, "asking for completions");
}

static void on_input(void)
{
    ssize_t got = read(STDIN_FILENO, chat.input + chat.input_size, LINE_SIZE - chat.input_size);
    if (got < 0 && errno != EINTR && errno != EAGAIN) die("reading the input", strerror(errno));
    if (got == 0) chat.input_ended = true;
    if (got > 0) chat.input_size += (size_t)got;
}

/* Input is asked for only when there is room for it: else epoll would report it again and again. */
static void arm_input(void)
{
    bool wanted = !chat.full && !chat.input_ended;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    if (wanted == chat.input_armed) return;
    if (epoll_ctl(chat.epoll, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, STDIN_FILENO, &event) < 0)
        die("standard input",
            errno == EPERM ? "epoll takes a terminal or a pipe, not a file: cat FILE | epoll ..." : strerror(errno));
    chat.input_armed = wanted;
}

/* ---- the loop ---- */

static void add(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(chat.epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl", strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: epoll ROOT STREAM\n"), 2;
    struct roost_options options = ROOST_OPTIONS_INIT;
    struct roost_topic topic = {ROOST_TOPIC_STREAM, 0, roost_text(argv[2])};
    int watch_fd, completions_fd;
    options.flags = ROOST_OPEN_CREATE;
    chat.stream = topic.name;
    must(roost_open(argv[1], &options, &chat.root), "opening the root");
    must(roost_batch_open(&chat.batch), "a batch");
    /* First the watch, then the first look: what comes in between is then seen by one of the two. */
    must(roost_watch_open(chat.root, &topic, 1, &chat.watch), "watching");
    must(roost_watch_fd(chat.watch, &watch_fd), "the watch's descriptor");
    must(roost_poll_fd(chat.root, &completions_fd), "the completions' descriptor");
    chat.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (chat.epoll < 0) die("epoll_create1", strerror(errno));
    add(watch_fd);
    add(completions_fd);
    print_new();

    while (!chat.input_ended || chat.input_size || chat.in_flight) {
        struct epoll_event events[3];
        arm_input();
        /* Full without anything under way: the shared memory is being replaced. No descriptor tells of that, so it is tried again. */
        int count = epoll_wait(chat.epoll, events, 3, chat.full && !chat.in_flight ? RETRY_MS : -1);
        if (count < 0 && errno != EINTR) die("epoll_wait", strerror(errno));
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == watch_fd)
                on_watch();
            else if (events[i].data.fd == completions_fd)
                on_completions();
            else
                on_input();
        }
        hand_in();
    }
    on_watch(); /* our own last lines are stored; see that they are printed too */

    close(chat.epoll); /* the two descriptors are Roost's: they are closed with the watch and the root */
    roost_watch_close(chat.watch);
    roost_batch_free(chat.batch);
    must(roost_close(chat.root), "closing");
    return 0;
}
