/* SPDX-License-Identifier: MIT
 * errors.c: exit codes and the one line that the command says when something went wrong. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* The one place that maps the library's errors to exit codes. Scripts rely on it: rows may be added, never changed. */
static const struct {
    int error, exit_code;
} exit_codes[] = {
    {ROOST_OK, CLI_OK},
    {ROOST_ENOENT, CLI_NOT_FOUND},
    {ROOST_EIO, CLI_FAILED},
    {ROOST_E2BIG, CLI_USAGE},
    {ROOST_EAGAIN, CLI_CONFLICT},
    {ROOST_ENOMEM, CLI_FAILED},
    {ROOST_EACCES, CLI_NOT_ALLOWED},
    {ROOST_EBUSY, CLI_CONFLICT},
    {ROOST_EEXIST, CLI_CONFLICT},
    {ROOST_ENOTDIR, CLI_NO_ROOT},
    {ROOST_EINVAL, CLI_USAGE},
    {ROOST_EMFILE, CLI_FAILED},
    {ROOST_EFBIG, CLI_NO_SPACE},
    {ROOST_ENOSPC, CLI_NO_SPACE},
    {ROOST_EROFS, CLI_NOT_ALLOWED},
    {ROOST_ELOOP, CLI_NO_ROOT},
    {ROOST_EILSEQ, CLI_USAGE},
    {ROOST_EOVERFLOW, CLI_USAGE},
    {ROOST_ETIMEDOUT, CLI_TIMED_OUT},
    {ROOST_EDQUOT, CLI_NO_SPACE},
    {ROOST_ECANCELED, CLI_NOT_APPLIED},
    {ROOST_ECORRUPT, CLI_CORRUPT},
    {ROOST_EVERSION, CLI_NO_ROOT},
    {ROOST_ENOROOT, CLI_NO_ROOT},
    {ROOST_EFOREIGN, CLI_NO_ROOT},
    {ROOST_EFILESYSTEM, CLI_NO_ROOT},
    {ROOST_ESPLIT, CLI_NO_ROOT},
    {ROOST_EFORK, CLI_FAILED},
    {ROOST_EUNKNOWN, CLI_TIMED_OUT},
    {ROOST_EMISMATCH, CLI_CONFLICT},
    {ROOST_EMOVED, CLI_NO_ROOT},
    {ROOST_EDAMAGED, CLI_CORRUPT},
};

static const struct {
    int exit_code;
    const char *meaning;
} meanings[] = {
    {CLI_OK, "done"},
    {CLI_FAILED, "another failure: the disk, memory, a write error on stdout"},
    {CLI_USAGE, "bad usage or input: unknown option, no such input file, malformed JSON, not UTF-8, too large"},
    {CLI_NOT_FOUND, "there is no such memory, key, stream entry or state"},
    {CLI_CONFLICT, "conflict: the key has another version, the state has an owner, the root exists already"},
    {CLI_CORRUPT, "stored data is corrupt or damaged; see `roost check`"},
    {CLI_TIMED_OUT, "not within the time; a write may still happen: the message has the receipt to ask with"},
    {CLI_NO_ROOT, "no usable root: none here, it cannot be made, another version, another program's, a refused file system"},
    {CLI_NO_SPACE, "no space: disk, shared memory, quota or file size limit"},
    {CLI_NOT_ALLOWED, "not permitted: missing rights, or the root is read-only"},
    {CLI_NOT_APPLIED, "settle: that write was never applied and never will be; it is safe to do it again"},
};

int cli_exit_code(int error)
{
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        if (exit_codes[i].error == error) return exit_codes[i].exit_code;
    return error >= 0 ? CLI_OK : CLI_FAILED;
}

void cli_print_exit_codes(FILE *file)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        fprintf(file, "  %d  %s\n", meanings[i].exit_code, meanings[i].meaning);
        bool any = false;
        for (size_t k = 0; k < sizeof exit_codes / sizeof exit_codes[0]; k++) {
            if (exit_codes[k].exit_code != meanings[i].exit_code || exit_codes[k].error == ROOST_OK) continue;
            fprintf(file, "%s%s", any ? ", " : "     ", roost_error_name(exit_codes[k].error));
            any = true;
        }
        if (any) fputc('\n', file);
    }
}

static bool progress_shown;

void cli_progress(const char *text)
{
    if (progress_shown || text) fprintf(stderr, "\r\033[K%s", text ? text : "");
    if (progress_shown || text) (void)fflush(stderr);
    progress_shown = text != NULL;
}

/* Messages quote names and paths that anybody may have chosen; none of them may steer the terminal or make a second
 * line. */
static void say(const char *text)
{
    char line[4096];
    size_t used = 0;
    static const char prefix[] = "roost: ";
    memcpy(line, prefix, sizeof prefix - 1);
    used = sizeof prefix - 1;
    for (const unsigned char *c = (const unsigned char *)text; *c && used < sizeof line - 6; c++) {
        bool control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0);
        if (control)
            used += (size_t)snprintf(line + used, sizeof line - used, "\\x%02x", *c);
        else
            line[used++] = (char)*c;
    }
    line[used++] = '\n';
    cli_progress(NULL);
    /* One write, so that lines of processes that share the terminal do not mix. */
    fwrite(line, 1, used, stderr);
    (void)fflush(stderr);
}

void cli_say(const char *format, ...)
{
    char text[4000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say(text);
}

const char *cli_detail(int error)
{
    static char text[2048];
    const char *detail = roost_error_detail();
    snprintf(text, sizeof text, "%s", detail && *detail ? detail : roost_error_text(error));
    /* Written for who has a receipt in a variable; here it is shown where there is one, and not promised where there is none. */
    char *promise = strstr(text, "; the receipt tells later");
    if (promise) *promise = '\0';
    return text;
}

static void say_error(int error, const char *context, const char *after)
{
    cli_say("%s%s%s%s", context, *context ? ": " : "", cli_detail(error), after);
}

int cli_fail(int error, const char *context_format, ...)
{
    char context[1024] = "";
    if (context_format) {
        va_list arguments;
        va_start(arguments, context_format);
        vsnprintf(context, sizeof context, context_format, arguments);
        va_end(arguments);
    }
    say_error(error, context, "");
    return cli_exit_code(error);
}

const char *cli_quoted(const char *path, char ret_text[CLI_QUOTED_SIZE])
{
    size_t plain = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"), used = 0;
    if (path[plain] == '\0') {
        snprintf(ret_text, CLI_QUOTED_SIZE, "%s", path);
        return ret_text;
    }
    ret_text[used++] = '\'';
    for (; *path && used < CLI_QUOTED_SIZE - 8; path++) {
        if (*path != '\'') {
            ret_text[used++] = *path;
            continue;
        }
        memcpy(ret_text + used, "'\\''", 4);
        used += 4;
    }
    ret_text[used++] = '\'';
    ret_text[used] = '\0';
    return ret_text;
}

static char named_directory[CLI_QUOTED_SIZE + 8]; /* "-C DIR ", or nothing */

void cli_name_directory(const char *directory)
{
    char quoted[CLI_QUOTED_SIZE];
    snprintf(named_directory, sizeof named_directory, "-C %s ", cli_quoted(directory, quoted));
}

bool cli_unsure(int error, const struct roost_receipt *receipt)
{
    return (error == ROOST_ETIMEDOUT || error == ROOST_EUNKNOWN) && receipt && receipt->sequence;
}

int cli_fail_write(int error, const struct roost_receipt *receipt, const char *context_format, ...)
{
    char context[1100] = "", after[CLI_QUOTED_SIZE + 128] = "";
    bool unsure = cli_unsure(error, receipt);
    if (context_format) {
        va_list arguments;
        va_start(arguments, context_format);
        vsnprintf(context, 1024, context_format, arguments);
        va_end(arguments);
    }
    if (unsure) {
        size_t used = strlen(context);
        snprintf(context + used, sizeof context - used, "%snot confirmed", used ? ": " : "");
        snprintf(after, sizeof after, "; it may still happen: ask with `roost %ssettle %" PRIu64 ":%" PRIu64 "`", named_directory,
                 receipt->client, receipt->sequence);
    }
    say_error(error, context, after);
    return cli_exit_code(error);
}

int cli_fail_system(int error_number, const char *what, const char *path)
{
    cli_say("%s: %s: %s", what, path, strerror(error_number));
    switch (error_number) { /* the caller's file, not something in a root */
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return CLI_USAGE;
    default:
        return cli_exit_code(-error_number);
    }
}
