/* SPDX-License-Identifier: MIT
 * input.c: bytes from arguments, files and stdin; lines from a descriptor; Ctrl-C; deadlines. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A line may hold a whole record in base64 and its fields; anything longer is not a line of ours. */
#define LINE_SIZE_MAX ((size_t)ROOST_RECORD_SIZE_MAX * 2)

static ssize_t read_some(int descriptor, void *buffer, size_t size)
{
    ssize_t got;
    do got = read(descriptor, buffer, size);
    while (got < 0 && errno == EINTR && !cli_interrupted());
    return got;
}

static bool grow(char **buffer, size_t *capacity, size_t needed)
{
    if (needed <= *capacity) return true;
    size_t larger = *capacity ? *capacity : 65536;
    while (larger < needed) larger *= 2;
    char *moved = realloc(*buffer, larger);
    if (!moved) return false;
    *buffer = moved;
    *capacity = larger;
    return true;
}

static int read_all(int descriptor, const char *path, const char *what, struct roost_bytes *ret_bytes)
{
    char *buffer = NULL;
    size_t used = 0, capacity = 0;
    for (;;) {
        if (!grow(&buffer, &capacity, used + 65536)) {
            free(buffer);
            return cli_fail_system(ENOMEM, "could not read", path);
        }
        ssize_t got = read_some(descriptor, buffer + used, capacity - used);
        if (got < 0) {
            int error_number = errno;
            free(buffer);
            return cli_fail_system(error_number, "could not read", path);
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used > ROOST_RECORD_SIZE_MAX) {
            free(buffer);
            cli_say("%s: %s is larger than the %u bytes that one record may have; split it", path, what, ROOST_RECORD_SIZE_MAX);
            return CLI_USAGE;
        }
    }
    *ret_bytes = (struct roost_bytes){buffer, used};
    return CLI_OK;
}

static int join_operands(const struct cli *cli, int first, struct roost_bytes *ret_bytes)
{
    size_t size = 0;
    for (int i = first; i < cli->operand_count; i++) size += strlen(cli->operands[i]) + 1;
    char *text = malloc(size + 1), *end = text;
    if (!text) return cli_fail_system(ENOMEM, "could not read", "the arguments");
    for (int i = first; i < cli->operand_count; i++) {
        if (i > first) *end++ = ' ';
        end = stpcpy(end, cli->operands[i]);
    }
    *ret_bytes = (struct roost_bytes){text, (size_t)(end - text)};
    return CLI_OK;
}

int cli_read_content(struct cli *cli, int first_operand, const char *file, const char *what, struct roost_bytes *ret_bytes)
{
    int given = cli->operand_count - first_operand;
    bool dash = given == 1 && !cli->operands_only && strcmp(cli->operands[first_operand], "-") == 0;
    if (file && given > 0) cli_usage(cli, "give either %s or --file, not both", what);
    if (file && strcmp(file, "-") != 0) {
        int descriptor = open(file, O_RDONLY | O_CLOEXEC);
        if (descriptor < 0) return cli_fail_system(errno, "could not open", file);
        int code = read_all(descriptor, file, what, ret_bytes);
        close(descriptor);
        return code;
    }
    if (given > 0 && !dash) return join_operands(cli, first_operand, ret_bytes);
    /* Waiting silently for somebody who does not know that he is asked helps nobody; "-" says that he does. */
    if (!dash && !file && isatty(STDIN_FILENO))
        cli_usage(cli, "%s is missing: give it as an argument, with --file FILE, or on stdin (| roost %s)", what,
                  cli->command->name);
    return read_all(STDIN_FILENO, "stdin", what, ret_bytes);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

void line_reader_start(struct line_reader *reader, int descriptor) { *reader = (struct line_reader){.descriptor = descriptor}; }

void line_reader_free(struct line_reader *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
}

/* 1: more bytes are here; 0: the end; -1: error_number. */
static int fill(struct line_reader *reader)
{
    if (reader->ended) return 0;
    if (reader->start) {
        memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    if (reader->end > LINE_SIZE_MAX) {
        reader->error_number = EFBIG;
        return -1;
    }
    if (!grow(&reader->buffer, &reader->capacity, reader->end + 65536)) {
        reader->error_number = ENOMEM;
        return -1;
    }
    ssize_t got = read_some(reader->descriptor, reader->buffer + reader->end, reader->capacity - reader->end);
    if (got < 0) {
        reader->error_number = errno;
        return -1;
    }
    reader->end += (size_t)got;
    reader->ended = got == 0;
    return got > 0;
}

int line_next(struct line_reader *reader, char **ret_line, size_t *ret_size)
{
    size_t looked = 0;
    for (;;) {
        size_t size = reader->end - reader->start;
        char *line = size ? reader->buffer + reader->start : NULL; /* before the first reading there is no buffer */
        char *end = size > looked ? memchr(line + looked, '\n', size - looked) : NULL;
        if (end || (reader->ended && size)) {
            size_t length = end ? (size_t)(end - line) : size;
            reader->start += end ? length + 1 : length;
            reader->line_number++;
            *ret_line = line;
            *ret_size = length && line[length - 1] == '\r' ? length - 1 : length;
            return 1;
        }
        looked = size;
        int more = fill(reader);
        if (more < 0) return -1;
        if (more == 0 && reader->start == reader->end) return 0;
    }
}

bool line_waiting(struct line_reader *reader)
{
    size_t looked = 0;
    for (;;) {
        size_t size = reader->end - reader->start;
        if (size > looked && memchr(reader->buffer + reader->start + looked, '\n', size - looked)) return true;
        looked = size;
        if (reader->ended) return size > 0;
        struct pollfd descriptor = {reader->descriptor, POLLIN, 0};
        if (poll(&descriptor, 1, 0) <= 0) return false;
        /* An error is found again, and reported, by the line_next that follows. */
        if (fill(reader) < 0) return true;
    }
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    /* Once: a second Ctrl-C ends the program the hard way. */
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool cli_interrupted(void) { return interrupted != 0; }

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct cli_deadline cli_deadline(uint64_t ms)
{
    return (struct cli_deadline){ms == UINT64_MAX, ms == UINT64_MAX ? 0 : now_ms() + ms};
}

uint32_t cli_slice_ms(const struct cli_deadline *deadline)
{
    /* The library may not return when a signal comes; so often we look whether one did, and whether anybody still
     * reads us. */
    enum { SLICE_MS = 200 };
    if (deadline->never) return SLICE_MS;
    uint64_t now = now_ms();
    if (now >= deadline->at_ms) return 0;
    return deadline->at_ms - now < SLICE_MS ? (uint32_t)(deadline->at_ms - now) : SLICE_MS;
}
