/* SPDX-License-Identifier: MIT
 * output.c: everything that goes to stdout as text. Stored bytes come from anybody: on a terminal their control
 * characters are escaped, in a pipe or file they pass unchanged. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static bool terminal, colour, closed, failed;
static size_t terminal_columns;

void cli_output_start(void)
{
    const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM");
    struct winsize size;
    /* A reader that went away is an EPIPE that we look at, not a death inside the library. */
    (void)signal(SIGPIPE, SIG_IGN);
    terminal = isatty(STDOUT_FILENO) == 1;
    colour = terminal && !(no_colour && *no_colour) && kind && strcmp(kind, "dumb") != 0;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) terminal_columns = size.ws_col;
}

bool cli_output_terminal(void) { return terminal; }
bool cli_output_closed(void) { return closed; }
const char *cli_dim(void) { return colour ? "\033[2m" : ""; }
const char *cli_bold(void) { return colour ? "\033[1m" : ""; }
const char *cli_plain(void) { return colour ? "\033[0m" : ""; }

bool cli_output_flush(void)
{
    if (closed || failed) return false;
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    if (errno == EPIPE) {
        closed = true;
    } else {
        failed = true;
        cli_say("could not write to stdout: %s; what was printed is not complete", strerror(errno ? errno : EIO));
    }
    return false;
}

bool cli_output_reader_gone(void)
{
    /* No events asked for: only POLLERR (a pipe without a reader) and POLLHUP can come back. */
    struct pollfd descriptor = {STDOUT_FILENO, 0, 0};
    if (!closed && poll(&descriptor, 1, 0) > 0 && (descriptor.revents & (POLLERR | POLLHUP))) closed = true;
    return closed;
}

/* The bytes of the UTF-8 character at text, 0 if it is none. */
static size_t character_size(const unsigned char *text, size_t size)
{
    size_t length = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    return length <= size && rst_utf8_valid(text, length, NULL) ? length : 0;
}

/* C0, DEL and C1 steer terminals; the bidi marks (U+202A..202E, U+2066..2069) make text read as something else. */
static bool steers(const unsigned char *text, size_t length)
{
    if (length == 1) return text[0] < 0x20 || text[0] == 0x7f;
    if (length == 2) return text[0] == 0xc2 && text[1] < 0xa0;
    return length == 3 && text[0] == 0xe2 &&
           ((text[1] == 0x80 && text[2] >= 0xaa && text[2] <= 0xae) || (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9));
}

static void put_escaped(const unsigned char *text, size_t length)
{
    if (length == 1 && (*text == '\n' || *text == '\t' || *text == '\r')) {
        printf("\\%c", *text == '\n' ? 'n' : *text == '\t' ? 't' : 'r');
        return;
    }
    for (size_t i = 0; i < length; i++) printf("\\x%02x", text[i]);
}

void cli_put_text(struct roost_bytes bytes)
{
    const unsigned char *text = bytes.data;
    if (!terminal) {
        if (bytes.size) fwrite(bytes.data, 1, bytes.size, stdout);
        return;
    }
    for (size_t i = 0; i < bytes.size;) {
        size_t length = character_size(text + i, bytes.size - i);
        if (length == 1 && (text[i] == '\n' || text[i] == '\t'))
            putchar(text[i]);
        else if (length == 0 || steers(text + i, length))
            put_escaped(text + i, length ? length : 1);
        else
            fwrite(text + i, 1, length, stdout);
        i += length ? length : 1;
    }
}

void cli_put_block(struct roost_bytes bytes)
{
    cli_put_text(bytes);
    if (bytes.size == 0 || ((const char *)bytes.data)[bytes.size - 1] != '\n') putchar('\n');
}

void cli_put_line_text(struct roost_bytes bytes, size_t columns)
{
    const unsigned char *text = bytes.data;
    size_t shown = 0;
    for (size_t i = 0; i < bytes.size;) {
        size_t length = character_size(text + i, bytes.size - i);
        if (columns && shown + 1 >= columns) {
            fputs("…", stdout);
            return;
        }
        if (length == 0 || steers(text + i, length)) {
            put_escaped(text + i, length ? length : 1);
            shown += 2;
        } else {
            fwrite(text + i, 1, length, stdout);
            shown++;
        }
        i += length ? length : 1;
    }
}

size_t cli_text_columns(size_t used)
{
    if (!terminal_columns) return 0;
    return terminal_columns > used + 20 ? terminal_columns - used : 20;
}

void cli_put_time(int64_t time_ns)
{
    int64_t seconds = time_ns / 1000000000;
    time_t when = (time_t)(time_ns % 1000000000 < 0 ? seconds - 1 : seconds);
    struct tm parts;
    char text[64];
    if (localtime_r(&when, &parts) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts))
        fputs(text, stdout);
    else
        printf("%" PRId64 "ns", time_ns);
}

void cli_put_memory_line(const struct roost_memory *memory)
{
    printf("%s%" PRIu64 "%s\t", cli_bold(), memory->id, cli_plain());
    fputs(cli_dim(), stdout);
    cli_put_time(memory->time_ns);
    printf("%s\t", cli_plain());
    cli_put_line_text(memory->text, cli_text_columns(34));
    if (memory->key.size) {
        printf("%s\tkey=", cli_dim());
        cli_put_line_text(memory->key, 0);
        fputs(cli_plain(), stdout);
    }
    for (size_t i = 0; i < memory->tag_count; i++) {
        printf("%s%s#", cli_dim(), i || memory->key.size ? " " : "\t");
        cli_put_line_text(memory->tags[i], 0);
        fputs(cli_plain(), stdout);
    }
    putchar('\n');
}
