/* SPDX-License-Identifier: MIT
 * cli.h: what the files of the `roost` command share.
 *
 * The command uses the public header only. One `struct cli` lives for the whole run: the option parser fills it,
 * root.c opens the root into it, a sub-command works with it and returns an exit code, and main closes everything. A
 * sub-command never calls exit() once the root is open; the parser does, because nothing is open yet. */
#ifndef ROOST_CLI_H
#define ROOST_CLI_H

#include <roost/roost.h>

#include "base/json.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

/* ---- Exit codes (the one table is in errors.c) ------------------------------------------------------------------- */

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_CONFLICT = 4,
    CLI_CORRUPT = 5,
    CLI_TIMED_OUT = 6,
    CLI_NO_ROOT = 7,
    CLI_NO_SPACE = 8,
    CLI_NOT_ALLOWED = 9,
    CLI_NOT_APPLIED = 10
};
int cli_exit_code(int error);
void cli_print_exit_codes(FILE *file);

/* ---- Commands and options ---------------------------------------------------------------------------------------- */

struct cli;

/* One row of an option table; the parser and --help both work from it. argument NULL: a flag. It ends with id 0. */
struct cli_option {
    int id;
    char letter; /* 0: none */
    const char *name;
    const char *argument;
    const char *help;
};
/* Options with these numbers are handled by the parser itself. A command lists CLI_OPTION_LEVEL if it writes. */
enum { CLI_OPTION_COMMON = 1000, CLI_ID_DIRECTORY, CLI_ID_JSON, CLI_ID_WAIT, CLI_ID_OBSERVE, CLI_ID_HELP, CLI_ID_LEVEL };
#define CLI_OPTION_LEVEL \
    { \
        CLI_ID_LEVEL, 0, "level", "LEVEL", \
            "durable: on the disk before it returns (the default); process: survives a crash of any process" \
    }
#define CLI_OPTION_END \
    { \
        0, 0, NULL, NULL, NULL \
    }

struct cli_command {
    const char *name;                 /* "add", or two words: "kv set" */
    const char *operands;             /* as shown in the usage line */
    const char *summary;              /* one line */
    const char *details;              /* paragraphs for --help; NULL: none */
    const struct cli_option *options; /* NULL: only the common ones */
    int (*run)(struct cli *cli);
};
extern const struct cli_command *const cli_commands[]; /* ends with NULL */
extern const struct cli_option cli_common_options[];

struct cli {
    /* common options */
    const char *directory; /* -C */
    bool json, observe;
    uint32_t level, wait_ms;
    /* the parser's place */
    const struct cli_command *command;
    char **arguments;
    int argument_count, argument_at;
    bool operands_only;
    const char *value; /* of the option that cli_next returned */
    char **operands;
    int operand_count;
    /* the root */
    roost_root *root;
    char *root_path;
    const char *root_found_by;
    bool observing; /* asked for, or because this user may not write */
};

/* The next option of the command: its id, or 0 at the end (cli->operands are complete then). Ends the program on bad
 * usage and after --help. */
int cli_next(struct cli *cli);
/* For commands without options of their own: reads all and checks how many operands there are (max < 0: any number). */
void cli_no_options(struct cli *cli, int operand_min, int operand_max);
void cli_operand_count(struct cli *cli, int operand_min, int operand_max);
_Noreturn void cli_usage(const struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
void cli_command_help(const struct cli_command *command);
void cli_exit_codes_line(void);
void cli_option_help(const struct cli_option *options);
/* The candidate nearest to word, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);

/* Numbers from arguments; they end the program with a usage error that names `what`. */
uint64_t cli_number(const struct cli *cli, const char *what, const char *text);
uint64_t cli_number_max(const struct cli *cli, const char *what, const char *text, uint64_t max);
int64_t cli_signed(const struct cli *cli, const char *what, const char *text);
uint64_t cli_size(const struct cli *cli, const char *what, const char *text); /* 64K, 16M, 1G */
/* from seconds, decimals allowed */
uint64_t cli_milliseconds(const struct cli *cli, const char *what, const char *text);
uint64_t cli_milliseconds_max(const struct cli *cli, const char *what, const char *text, uint64_t seconds_max);
roost_id cli_memory_id(const struct cli *cli, const char *text);

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* One line on stderr: "roost: ..." with control characters escaped. */
void cli_say(const char *format, ...) CLI_PRINTF(1, 2);
/* How far it is, on a terminal behind stderr: one line, written over by the next and wiped out by any message. NULL: wipe it out. */
void cli_progress(const char *text);
/* The library's last error in words, after an optional "context: "; returns the exit code for it. */
int cli_fail(int error, const char *context_format, ...) CLI_PRINTF(2, 3);
/* The same for a write. One that was handed over and not answered may still happen: then it says so, with the receipt to ask with. */
int cli_fail_write(int error, const struct roost_receipt *receipt, const char *context_format, ...) CLI_PRINTF(3, 4);
/* Was the write handed over, so that nobody knows yet whether it happens? */
bool cli_unsure(int error, const struct roost_receipt *receipt);
/* -C as it was given, for messages that say what to do next. */
void cli_name_directory(const char *directory);
/* A path as a shell takes it, in quotes if it needs them; cut when it is longer than a path can be. Returns ret_text. */
enum { CLI_QUOTED_SIZE = 4096 + 64 };
const char *cli_quoted(const char *path, char ret_text[CLI_QUOTED_SIZE]);
/* The library's sentence about its last error. Valid until the next call. */
const char *cli_detail(int error);
/* An errno of the system, with the path (of a file, not of a root) that it is about. */
int cli_fail_system(int error_number, const char *what, const char *path);

/* ---- The root ---------------------------------------------------------------------------------------------------- */

/* Where the root is: -C, $ROOST_ROOT, the nearest .roost upwards. Sets root_path and root_found_by; 0, or an exit code and a
 * sentence. */
int cli_locate_root(struct cli *cli, char *ret_problem, size_t problem_size);
/* The same, and says the sentence. */
int cli_find_root(struct cli *cli);
/* For what is started by a program and not by a person: where no root is named or found it is $XDG_DATA_HOME/roost, whose parents are
 * made. Says so on stderr if there cannot be one. */
int cli_find_or_default_root(struct cli *cli);
/* What a path really names when it is a symbolic link: the library opens no links, but a link that somebody gives is meant. free()
 * it; NULL with a sentence: the link leads nowhere. */
char *cli_resolve(const char *path, char *ret_problem, size_t problem_size);
/* The sentence for a path without a root. */
void cli_no_root(const struct cli *cli, char *ret_problem, size_t problem_size);
enum cli_purpose { CLI_READING, CLI_WRITING };
/* Finds and opens it. 0, or an exit code after the error was shown. */
int cli_open(struct cli *cli, enum cli_purpose purpose);
/* The bare result of opening, without words. */
int cli_try_open(struct cli *cli, enum cli_purpose purpose);
struct roost_write cli_write_options(const struct cli *cli);

/* ---- Passes ------------------------------------------------------------------------------------------------------ */

/* What a command shows of an ordered pass. A damaged entry is named on stderr, counted and left out. */
struct cli_pass {
    const char *context; /* before each sentence: "list" */
    uint64_t damaged_count;
};
/* As roost_iter_memory, _item, _state and roost_hits_next, without ROOST_ECORRUPT. stream: of an iterator of one stream's entries. */
int cli_pass_memory(struct cli_pass *pass, roost_iter *iter, struct roost_memory *ret_memory);
int cli_pass_item(struct cli_pass *pass, roost_iter *iter, bool stream, struct roost_item *ret_item);
int cli_pass_state(struct cli_pass *pass, roost_iter *iter, struct roost_state *ret_state);
int cli_pass_hit(struct cli_pass *pass, roost_hits *hits, struct roost_hit *ret_hit);
/* Says what ended it (error < 0), or how many were left out. Returns the exit code. */
int cli_pass_end(const struct cli_pass *pass, int error);

/* ---- Output ------------------------------------------------------------------------------------------------------ */

void cli_output_start(void);
/* Flushes stdout. False when it failed: the error was shown, or the reader is gone (see cli_output_closed). */
bool cli_output_flush(void);
bool cli_output_closed(void);      /* the reader of our stdout went away: end quietly */
bool cli_output_reader_gone(void); /* asks the kernel, for commands that wait long between two outputs */
bool cli_output_terminal(void);
/* Escape sequences when stdout is a terminal that wants colour, else "". */
const char *cli_dim(void);
const char *cli_bold(void);
const char *cli_plain(void);
/* Bytes as they are, but safe when stdout is a terminal. */
void cli_put_text(struct roost_bytes bytes);
/* The same, and a line end if the bytes have none. */
void cli_put_block(struct roost_bytes bytes);
/* Bytes on one line: line ends and control characters escaped always, cut to `columns` if not 0. */
void cli_put_line_text(struct roost_bytes bytes, size_t columns);
size_t cli_text_columns(size_t used); /* columns left on the terminal after `used`; 0: do not cut */
void cli_put_time(int64_t time_ns);
void cli_put_memory_line(const struct roost_memory *memory);

/* ---- JSON out ---------------------------------------------------------------------------------------------------- */

/* Writes JSON to a stdio stream. name NULL: an element of an array or the outermost value. */
struct json_writer {
    FILE *file;
    bool comma;
};
struct json_writer json_writer(FILE *file);
void json_open(struct json_writer *writer, const char *name, char bracket);
void json_close(struct json_writer *writer, char bracket);
/* Text as a string; bytes that are not UTF-8 as NAME_base64. */
void json_bytes(struct json_writer *writer, const char *name, struct roost_bytes bytes);
void json_text(struct json_writer *writer, const char *name, const char *text);
/* The same under a name that anybody may have chosen. */
void json_named(struct json_writer *writer, const char *name, struct roost_bytes bytes);
void json_id(struct json_writer *writer, const char *name, uint64_t id); /* a string: JSON numbers stop at 2^53 */
void json_unsigned(struct json_writer *writer, const char *name, uint64_t number);
void json_signed(struct json_writer *writer, const char *name, int64_t number);
void json_double(struct json_writer *writer, const char *name, double number);
void json_bool(struct json_writer *writer, const char *name, bool value);
void json_line_end(struct json_writer *writer);
/* Several strings; NAME_base64 holds all of them when one is not UTF-8. */
void json_bytes_list(struct json_writer *writer, const char *name, const struct roost_bytes *list, size_t count);
/* What a hit says of its memory; it has no LSN. Points into the hit. */
struct roost_memory cli_hit_memory(const struct roost_hit *hit);
void json_memory_fields(struct json_writer *writer, const struct roost_memory *memory);
/* Of these only what is there: agent, session, process, tool, metadata (as an object, or as the string metadata_text). */
void json_origin_fields(struct json_writer *writer, const struct roost_memory *memory);
/* Members of an object, as they are written, without its braces. */
void json_members(struct json_writer *writer, const char *members);
/* JSON that was checked and has no line end, as it is written. */
void json_raw(struct json_writer *writer, const char *name, struct roost_bytes json);
void json_item_fields(struct json_writer *writer, const struct roost_item *item, const char *value_name);
void json_state_fields(struct json_writer *writer, const struct roost_state *state);

/* ---- JSON in ----------------------------------------------------------------------------------------------------- */

bool bytes_equal(struct roost_bytes a, struct roost_bytes b);
/* Leaves the first of equal ones; returns how many are left. */
size_t cli_drop_repeated(struct roost_bytes *list, size_t count);
/* A memory from an object as json_memory_fields writes it (id and lsn are passed over); it lives as long as the document. */
bool json_read_memory(struct rst_json_reader *reader, struct roost_memory *ret_memory);

/* ---- Input ------------------------------------------------------------------------------------------------------- */

/* The bytes a command stores: from operands first.. (joined by blanks), or the file, or stdin. 0 or an exit code;
 * free with free(bytes->data). */
int cli_read_content(struct cli *cli, int first_operand, const char *file, const char *what, struct roost_bytes *ret_bytes);

struct line_reader {
    int descriptor;
    char *buffer;
    size_t start, end, capacity;
    uint64_t line_number; /* of the line last given, from 1 */
    bool ended;
    int error_number;
};
void line_reader_start(struct line_reader *reader, int descriptor);
void line_reader_free(struct line_reader *reader);
/* The next line without its end. 1: a line; 0: the end; -1: error_number. Valid until the next call. */
int line_next(struct line_reader *reader, char **ret_line, size_t *ret_size);
/* Is another whole line here, or does reading not block? */
bool line_waiting(struct line_reader *reader);

/* JSON lines into the root: shared by `add --json` and `import`. */
enum feed_kind { FEED_ADD, FEED_IMPORT };
struct feed_options {
    enum feed_kind kind;
    bool continue_on_error;
    uint64_t first_line;
    /* Called now and then (may be NULL): false ends it after what was committed. */
    bool (*go_on)(void *user, uint64_t line_count);
    void *user;
};
struct feed_result {
    uint64_t line_count, memory_count, key_count, stream_entry_count, state_count, refused_count, expired_count;
    uint64_t stopped_at_line; /* 0: it did not stop */
};
int feed_lines(struct cli *cli, int descriptor, const struct feed_options *options, struct feed_result *ret_result);

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

void cli_catch_interrupts(void);
bool cli_interrupted(void);
/* A point in time; ms UINT64_MAX: never. */
struct cli_deadline {
    bool never;
    uint64_t at_ms;
};
struct cli_deadline cli_deadline(uint64_t ms);
/* The next slice to wait, at most so long that Ctrl-C is noticed; 0: the time is up. */
uint32_t cli_slice_ms(const struct cli_deadline *deadline);

extern const struct cli_command command_init, command_add, command_get, command_list, command_recent, command_search,
    command_forget;
extern const struct cli_command command_kv_set, command_kv_get, command_kv_delete, command_kv_list, command_kv_cas;
extern const struct cli_command command_stream_append, command_stream_read, command_stream_info, command_stream_list,
    command_stream_follow;
extern const struct cli_command command_state_set, command_state_get, command_state_list, command_state_watch;
extern const struct cli_command command_watch, command_stat, command_doctor, command_check, command_rebuild, command_checkpoint,
    command_settle, command_rest, command_sync, command_backup, command_restore, command_rescue;
extern const struct cli_command command_hook_session_start, command_hook_user_prompt, command_hook_post_tool, command_hook_stop;
extern const struct cli_command command_mcp, command_export, command_import, command_version, command_help;

#endif
