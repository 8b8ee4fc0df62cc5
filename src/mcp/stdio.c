/* SPDX-License-Identifier: MIT
 * mcp/stdio.c: lines from the client and to it.
 *
 * Neither side may hold up the loop. A client that does not read fills our queue; then we read nothing more from it, so that the queue is
 * bounded by what it had asked for. stdin may be a pipe, a socket, a terminal or a file (tests, scripts); stdout too. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mcp/mcp.h"

enum { READ_SIZE = 64 << 10, FILE_READ_SIZE = 16 << 10 };

struct mcp_stdio {
    struct mcp *mcp;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tty_t tty;
    } in, out;
    bool in_stream, out_stream; /* else files */
    bool in_open, out_open, reading, ended, closing;
    uv_timer_t failure; /* runs after stdout failed, when no caller of mcp_send is under way any more */
    bool failed;
    int error;
    uv_fs_t file_read;
    bool file_busy;
    char file_bytes[FILE_READ_SIZE];
    char *line;
    size_t size, room;
    bool too_long; /* the rest of a line that was refused */
    size_t queued; /* bytes that the client has not read */
};

struct output {
    uv_write_t write;
    struct mcp_stdio *stdio;
    char *text;
    size_t size;
};

/* ---- in ---- */

static void end_of_input(struct mcp_stdio *stdio)
{
    if (stdio->ended) return;
    stdio->ended = true;
    mcp_stdio_stop_reading(stdio->mcp);
    /* A last line without its end is a message too. */
    if (stdio->size && !stdio->too_long) {
        char *line = stdio->line;
        size_t size = stdio->size;
        stdio->line = NULL;
        stdio->size = stdio->room = 0;
        mcp_take_line(stdio->mcp, line, size);
    }
    mcp_end(stdio->mcp, CLI_OK);
}

static bool keep(struct mcp_stdio *stdio, const char *bytes, size_t size)
{
    if (stdio->too_long) return true;
    if (stdio->size + size > MCP_LINE_SIZE_MAX) {
        stdio->too_long = true;
        mcp_refuse_line(stdio->mcp, stdio->line, stdio->size);
        free(stdio->line);
        stdio->line = NULL;
        stdio->size = stdio->room = 0;
        return true;
    }
    if (stdio->size + size + 1 > stdio->room) {
        size_t room = (stdio->size + size + 1) * 2;
        char *grown = realloc(stdio->line, room);
        if (!grown) return false;
        stdio->line = grown;
        stdio->room = room;
    }
    memcpy(stdio->line + stdio->size, bytes, size);
    stdio->size += size;
    return true;
}

static void take(struct mcp_stdio *stdio, const char *bytes, size_t size)
{
    while (size) {
        const char *end = memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) : size;
        if (!keep(stdio, bytes, part)) {
            cli_say("mcp: out of memory for a message");
            mcp_end(stdio->mcp, CLI_FAILED);
            return;
        }
        if (!end) return;
        bytes += part + 1;
        size -= part + 1;
        bool refused = stdio->too_long;
        char *line = stdio->line;
        size_t line_size = stdio->size;
        stdio->line = NULL;
        stdio->size = stdio->room = 0;
        stdio->too_long = false;
        if (refused || !line)
            free(line);
        else
            mcp_take_line(stdio->mcp, line, line_size);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    static char bytes[READ_SIZE]; /* one reader a process; given back before the next */
    (void)handle;
    (void)suggested;
    *ret_buffer = uv_buf_init(bytes, sizeof bytes);
}

static bool must_wait(const struct mcp *mcp) { return mcp_stdio_full(mcp) || mcp->call_count >= MCP_CALL_COUNT_MAX; }

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct mcp_stdio *stdio = stream->data;
    if (got > 0) take(stdio, buffer->base, (size_t)got);
    if (got < 0) {
        if (got != UV_EOF) cli_say("mcp: reading stdin: %s", uv_strerror((int)got));
        end_of_input(stdio);
    } else if (must_wait(stdio->mcp)) {
        mcp_stdio_stop_reading(stdio->mcp);
    }
}

static void read_file(struct mcp_stdio *stdio);

static void on_file_read(uv_fs_t *request)
{
    struct mcp_stdio *stdio = request->data;
    ssize_t got = request->result;
    uv_fs_req_cleanup(request);
    stdio->file_busy = false;
    if (stdio->closing) return;
    if (got <= 0) {
        if (got < 0) cli_say("mcp: reading stdin: %s", uv_strerror((int)got));
        end_of_input(stdio);
        return;
    }
    take(stdio, stdio->file_bytes, (size_t)got);
    if (must_wait(stdio->mcp)) stdio->reading = false;
    if (stdio->reading) read_file(stdio);
}

static void read_file(struct mcp_stdio *stdio)
{
    if (stdio->file_busy || stdio->ended) return;
    uv_buf_t buffer = uv_buf_init(stdio->file_bytes, sizeof stdio->file_bytes);
    stdio->file_read.data = stdio;
    stdio->file_busy = uv_fs_read(&stdio->mcp->loop, &stdio->file_read, STDIN_FILENO, &buffer, 1, -1, on_file_read) == 0;
    if (!stdio->file_busy) end_of_input(stdio);
}

void mcp_stdio_stop_reading(struct mcp *mcp)
{
    struct mcp_stdio *stdio = mcp->stdio;
    if (stdio->reading && stdio->in_stream) uv_read_stop(&stdio->in.stream);
    stdio->reading = false;
}

void mcp_stdio_resume(struct mcp *mcp)
{
    struct mcp_stdio *stdio = mcp->stdio;
    if (stdio->reading || stdio->ended || stdio->closing || mcp->ending || must_wait(mcp)) return;
    stdio->reading = true;
    if (!stdio->in_stream)
        read_file(stdio);
    else if (uv_read_start(&stdio->in.stream, on_alloc, on_read) < 0)
        end_of_input(stdio);
}

/* ---- out ---- */

bool mcp_stdio_full(const struct mcp *mcp) { return mcp->stdio->queued > MCP_QUEUE_SIZE_MAX; }

bool mcp_stdio_drained(const struct mcp *mcp) { return !mcp->stdio || !mcp->stdio->queued || mcp->stdio->closing; }

/* Nobody listens any more: that is the end, and no failure. */
static void on_failure(uv_timer_t *timer)
{
    struct mcp_stdio *stdio = timer->data;
    bool gone = stdio->error == UV_EPIPE || stdio->error == UV_ECONNRESET;
    if (stdio->closing) return;
    if (!gone) cli_say("mcp: writing stdout: %s", uv_strerror(stdio->error));
    stdio->ended = true;
    mcp_end(stdio->mcp, gone ? CLI_OK : CLI_FAILED);
}

/* Not at once: the end takes subscriptions and calls away that whoever sends may be going through. */
static void output_failed(struct mcp_stdio *stdio, int error)
{
    if (stdio->closing || stdio->failed) return;
    stdio->failed = true;
    stdio->error = error;
    uv_timer_start(&stdio->failure, on_failure, 0, 0);
}

static void on_written(uv_write_t *write, int status)
{
    struct output *output = write->data;
    struct mcp_stdio *stdio = output->stdio;
    bool was_full = mcp_stdio_full(stdio->mcp);
    stdio->queued -= output->size;
    free(output->text);
    free(output);
    if (status < 0 && status != UV_ECANCELED) output_failed(stdio, status);
    if (was_full && !mcp_stdio_full(stdio->mcp) && !stdio->closing) {
        mcp_subscriptions_flush(stdio->mcp);
        mcp_run_on(stdio->mcp);
        mcp_stdio_resume(stdio->mcp);
    }
    mcp_end_if_done(stdio->mcp);
}

static void write_file(struct mcp_stdio *stdio, const char *text, size_t size)
{
    while (size) {
        ssize_t wrote = write(STDOUT_FILENO, text, size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            output_failed(stdio, uv_translate_sys_error(errno));
            return;
        }
        text += wrote;
        size -= (size_t)wrote;
    }
}

void mcp_send(struct mcp *mcp, char *text, size_t size)
{
    struct mcp_stdio *stdio = mcp->stdio;
    text[size++] = '\n'; /* in place of the final NUL */
    size_t sent = 0;
    if (!stdio->out_open || stdio->closing || stdio->failed) {
        sent = size;
    } else if (!stdio->out_stream) {
        write_file(stdio, text, size);
        sent = size;
    } else if (!stdio->queued) {
        uv_buf_t buffer = uv_buf_init(text, (unsigned)size);
        int wrote = uv_try_write(&stdio->out.stream, &buffer, 1);
        if (wrote > 0) sent = (size_t)wrote;
        if (wrote < 0 && wrote != UV_EAGAIN) {
            output_failed(stdio, wrote);
            sent = size;
        }
    }
    struct output *output = sent < size ? calloc(1, sizeof *output) : NULL;
    if (!output) {
        if (sent < size) output_failed(stdio, UV_ENOMEM);
        free(text);
        return;
    }
    *output = (struct output){.stdio = stdio, .text = text, .size = size - sent};
    output->write.data = output;
    uv_buf_t buffer = uv_buf_init(text + sent, (unsigned)(size - sent));
    stdio->queued += output->size;
    int error = uv_write(&output->write, &stdio->out.stream, &buffer, 1, on_written);
    if (error < 0) {
        stdio->queued -= output->size;
        free(text);
        free(output);
        output_failed(stdio, error);
    }
}

/* ---- both ---- */

static int open_side(uv_loop_t *loop, int file, uv_handle_t *handle, bool *ret_stream, bool *ret_open)
{
    int error;
    uv_handle_type type = uv_guess_handle(file);
    *ret_stream = type == UV_NAMED_PIPE || type == UV_TTY;
    if (type == UV_TTY) {
        error = uv_tty_init(loop, (uv_tty_t *)handle, file, 0);
    } else if (*ret_stream) {
        error = uv_pipe_init(loop, (uv_pipe_t *)handle, 0);
        if (!error) error = uv_pipe_open((uv_pipe_t *)handle, file);
    } else {
        error = type == UV_FILE ? 0 : UV_EBADF;
    }
    *ret_open = !error;
    return error;
}

int mcp_stdio_start(struct mcp *mcp)
{
    struct mcp_stdio *stdio = calloc(1, sizeof *stdio);
    if (!stdio) return UV_ENOMEM;
    mcp->stdio = stdio;
    stdio->mcp = mcp;
    uv_timer_init(&mcp->loop, &stdio->failure);
    stdio->failure.data = stdio;
    int error = open_side(&mcp->loop, STDIN_FILENO, &stdio->in.handle, &stdio->in_stream, &stdio->in_open);
    if (!error) error = open_side(&mcp->loop, STDOUT_FILENO, &stdio->out.handle, &stdio->out_stream, &stdio->out_open);
    if (error) return error;
    stdio->in.handle.data = stdio->out.handle.data = stdio;
    mcp_stdio_resume(mcp);
    return 0;
}

void mcp_stdio_close(struct mcp *mcp)
{
    struct mcp_stdio *stdio = mcp->stdio;
    if (!stdio || stdio->closing) return;
    mcp_stdio_stop_reading(mcp);
    stdio->closing = true;
    if (stdio->in_open && stdio->in_stream) uv_close(&stdio->in.handle, NULL);
    if (stdio->out_open && stdio->out_stream) uv_close(&stdio->out.handle, NULL);
}

void mcp_stdio_free(struct mcp *mcp)
{
    if (!mcp->stdio) return;
    free(mcp->stdio->line);
    free(mcp->stdio);
    mcp->stdio = NULL;
}
