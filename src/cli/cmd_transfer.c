/* SPDX-License-Identifier: MIT
 * cmd_transfer.c: roost export, import: a root as JSON lines, each {"memory":{...}}, {"key":{...}}, {"stream":{...}} or
 * {"state":{...}}. Bytes that are not UTF-8 travel as base64 in a field NAME_base64. Other programs' forms: foreign.h. */
#include "cli.h"
#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- export ------------------------------------------------------------------------------------------------------ */

struct transfer {
    struct cli *cli;
    int (*write)(struct transfer *transfer); /* everything, to writer.file; returns the exit code */
    struct json_writer writer;
    struct feed_result count;
    struct cli_pass pass;
};

static bool failed(const struct transfer *transfer) { return ferror(transfer->writer.file) != 0; }

static void begin_line(struct transfer *transfer, const char *kind)
{
    json_open(&transfer->writer, NULL, '{');
    json_open(&transfer->writer, kind, '{');
}

static void end_line(struct transfer *transfer)
{
    json_close(&transfer->writer, '}');
    json_close(&transfer->writer, '}');
    json_line_end(&transfer->writer);
    transfer->count.line_count++;
}

static int export_memories(struct transfer *transfer)
{
    struct roost_memory memory = ROOST_MEMORY_INIT;
    roost_iter *iter = NULL;
    int got = roost_scan(transfer->cli->root, 0, 0, &iter);
    while (got >= 0 && !failed(transfer) && (got = cli_pass_memory(&transfer->pass, iter, &memory)) > 0) {
        begin_line(transfer, "memory");
        json_memory_fields(&transfer->writer, &memory);
        end_line(transfer);
        transfer->count.memory_count++;
    }
    roost_iter_close(iter);
    return got < 0 ? got : 0;
}

static int export_keys(struct transfer *transfer)
{
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    int got = roost_kv_scan(transfer->cli->root, roost_text(""), &iter);
    while (got >= 0 && !failed(transfer) && (got = cli_pass_item(&transfer->pass, iter, false, &item)) > 0) {
        begin_line(transfer, "key");
        json_bytes(&transfer->writer, "key", item.key);
        json_item_fields(&transfer->writer, &item, "value");
        end_line(transfer);
        transfer->count.key_count++;
    }
    roost_iter_close(iter);
    return got < 0 ? got : 0;
}

static int export_entries(struct transfer *transfer, struct roost_bytes name)
{
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    int got = roost_stream_scan(transfer->cli->root, name, 0, &iter);
    while (got >= 0 && !failed(transfer) && (got = cli_pass_item(&transfer->pass, iter, true, &item)) > 0) {
        begin_line(transfer, "stream");
        json_bytes(&transfer->writer, "name", name);
        json_unsigned(&transfer->writer, "index", item.index);
        json_item_fields(&transfer->writer, &item, "entry");
        end_line(transfer);
        transfer->count.stream_entry_count++;
    }
    roost_iter_close(iter);
    return got < 0 ? got : 0;
}

static int export_streams(struct transfer *transfer)
{
    struct roost_item item = ROOST_ITEM_INIT;
    roost_iter *iter = NULL;
    int error = 0, got = roost_streams(transfer->cli->root, &iter);
    while (got >= 0 && !error && !failed(transfer) && (got = cli_pass_item(&transfer->pass, iter, false, &item)) > 0)
        error = export_entries(transfer, item.key);
    roost_iter_close(iter);
    return got < 0 ? got : error;
}

static int export_states(struct transfer *transfer)
{
    struct roost_state state = ROOST_STATE_INIT;
    roost_iter *iter = NULL;
    int got = roost_state_scan(transfer->cli->root, &iter);
    while (got >= 0 && !failed(transfer) && (got = cli_pass_state(&transfer->pass, iter, &state)) > 0) {
        if (!state.name.size) continue; /* the root's own: every root makes it itself */
        begin_line(transfer, "state");
        json_state_fields(&transfer->writer, &state);
        end_line(transfer);
        transfer->count.state_count++;
    }
    roost_iter_close(iter);
    return got < 0 ? got : 0;
}

static int export_all(struct transfer *transfer)
{
    int error = export_memories(transfer);
    if (!error) error = export_keys(transfer);
    if (!error) error = export_streams(transfer);
    if (!error) error = export_states(transfer);
    int code = cli_pass_end(&transfer->pass, error);
    /* What the log cannot show any more is not even counted: its damage alone is reason to warn (cli_open did). */
    return !code && roost_health(transfer->cli->root) == ROOST_EDAMAGED ? CLI_CORRUPT : code;
}

static int export_memory_server_lines(struct transfer *transfer)
{
    struct feed_result *count = &transfer->count;
    int error =
        export_memory_server(transfer->cli, transfer->writer.file, &transfer->pass, &count->line_count, &count->memory_count);
    export_say_left_behind(transfer->cli);
    return cli_pass_end(&transfer->pass, error);
}

/* Into a new file that takes the name only when it is complete and on the disk: an export that fails leaves the old one, and one
 * from a damaged root lies beside it. */
static int export_to_file(struct transfer *transfer, const char *path)
{
    char *temporary = NULL;
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) { /* a pipe, /dev/stdout: nothing to replace */
        transfer->writer.file = fopen(path, "we");
        if (!transfer->writer.file) return cli_fail_system(errno, "could not open", path);
        int code = transfer->write(transfer);
        return fclose(transfer->writer.file) != 0 && !code ? cli_fail_system(errno, "could not write", path) : code;
    }
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) return cli_fail_system(ENOMEM, "could not make", path);
    int descriptor = mkostemp(temporary, O_CLOEXEC); /* mode 0600: memories are private */
    transfer->writer.file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (!transfer->writer.file) {
        int code = cli_fail_system(errno, "could not make", temporary);
        free(temporary);
        return code;
    }
    int code = transfer->write(transfer);
    bool good = fflush(transfer->writer.file) == 0 && !failed(transfer) && fsync(descriptor) == 0;
    bool hurt = code == CLI_CORRUPT && good && transfer->count.line_count;
    if (!code && !good) code = cli_fail_system(errno, "could not write", path);
    fclose(transfer->writer.file);
    char *partial = NULL;
    if (hurt && access(path, F_OK) == 0 && asprintf(&partial, "%s.partial", path) > 0)
        cli_say("export: %s stays as it is; what can be read now is in %s", path, partial);
    if ((!code || hurt) && rename(temporary, partial ? partial : path) < 0)
        code = cli_fail_system(errno, "could not write", path);
    else if (code && !hurt)
        unlink(temporary);
    free(partial);
    free(temporary);
    return code;
}

static void put_counts_json(const struct feed_result *count, bool import)
{
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_unsigned(&writer, "lines", count->line_count);
    json_unsigned(&writer, "memories", count->memory_count);
    json_unsigned(&writer, "keys", count->key_count);
    json_unsigned(&writer, "stream_entries", count->stream_entry_count);
    json_unsigned(&writer, "states", count->state_count);
    if (import) {
        json_unsigned(&writer, "refused", count->refused_count);
        json_unsigned(&writer, "expired", count->expired_count);
        if (count->stopped_at_line) json_unsigned(&writer, "stopped_at_line", count->stopped_at_line);
    }
    json_close(&writer, '}');
    json_line_end(&writer);
}

static void put_counts(FILE *file, const char *what, const struct feed_result *count)
{
    fprintf(file, "%s %" PRIu64 " memor%s, %" PRIu64 " key%s, %" PRIu64 " stream entr%s, %" PRIu64 " state%s\n", what,
            count->memory_count, count->memory_count == 1 ? "y" : "ies", count->key_count, count->key_count == 1 ? "" : "s",
            count->stream_entry_count, count->stream_entry_count == 1 ? "y" : "ies", count->state_count,
            count->state_count == 1 ? "" : "s");
}

/* ---- forms ------------------------------------------------------------------------------------------------------- */

enum form { FORM_OWN, FORM_MEMORY_SERVER, FORM_MARKDOWN, FORM_MEMMAP, FORM_COUNT };
static const char *const form_names[FORM_COUNT] = {"", "memory-server", "markdown", "memmap_fs"};

/* The first `count` forms can be chosen. */
static enum form read_form(const struct cli *cli, const char *option, int count, const char *list)
{
    for (int form = FORM_OWN + 1; form < count; form++)
        if (strcmp(cli->value, form_names[form]) == 0) return (enum form)form;
    const char *near = cli_nearest(cli->value, form_names + 1, (size_t)count - 1);
    if (near) cli_usage(cli, "%s does not know \"%s\": did you mean %s?", option, cli->value, near);
    cli_usage(cli, "%s takes %s, not \"%s\"", option, list, cli->value);
}

/* ---- export: the command ----------------------------------------------------------------------------------------- */

enum { OPTION_TO = 1, OPTION_FORCE, OPTION_EXPORT_DRY_RUN };
static const struct cli_option export_options[] = {
    {OPTION_TO, 0, "to", "FORM", "in another program's form: memory-server (a FILE), markdown (a FOLDER)"},
    {OPTION_FORCE, 0, "force", NULL, "with --to markdown: replace files that differ"},
    {OPTION_EXPORT_DRY_RUN, 0, "dry-run", NULL, "with --to markdown: only count, write nothing"},
    CLI_OPTION_END,
};

static int run_export(struct cli *cli)
{
    struct transfer transfer = {.cli = cli, .write = export_all, .writer = json_writer(stdout), .pass = {"export", 0}};
    struct foreign_options options = {.form = ""};
    enum form form = FORM_OWN;
    int option;
    while ((option = cli_next(cli)) != 0) {
        if (option == OPTION_TO) form = read_form(cli, "--to", FORM_MARKDOWN + 1, "memory-server or markdown");
        options.force = options.force || option == OPTION_FORCE;
        options.dry_run = options.dry_run || option == OPTION_EXPORT_DRY_RUN;
    }
    options.form = form_names[form];
    cli_operand_count(cli, form == FORM_MARKDOWN, 1);
    if (form != FORM_MARKDOWN && (options.force || options.dry_run))
        cli_usage(cli, "%s goes with --to markdown", options.force ? "--force" : "--dry-run");
    const char *path = cli->operand_count && strcmp(cli->operands[0], "-") != 0 ? cli->operands[0] : NULL;
    int code = cli_open(cli, CLI_READING);
    if (code) return code;
    if (form == FORM_MARKDOWN) return export_markdown(cli, cli->operands[0], &options);
    if (form == FORM_MEMORY_SERVER) transfer.write = export_memory_server_lines;
    code = path ? export_to_file(&transfer, path) : transfer.write(&transfer);
    if (code && code != CLI_CORRUPT) return code;
    if (path && cli->json)
        put_counts_json(&transfer.count, false);
    else if (path)
        put_counts(stdout, "exported", &transfer.count);
    return code;
}
const struct cli_command command_export = {
    "export",
    "[--to FORM] [FILE | FOLDER]",
    "Write everything as JSON lines to FILE or stdout, or memories in another program's form",
    "Memories, keys, streams and states, lossless, one JSON object a line. FILE is replaced only when all of it is "
    "written; it can be\n"
    "read by you alone. Others may go on writing meanwhile; what they add during the export may or may not be in it. A damaged\n"
    "entry is left out and named on stderr; the exit code is then 5, and a FILE that was there before is kept: what can be read "
    "is in\n"
    "FILE.partial.\n\n"
    "--to memory-server: the file of the reference MCP memory server. What was imported from one is written back byte for byte "
    "(in\n"
    "whatever order), other memories as entities \"memory-ID\". Keys, streams and states have no place there.\n\n"
    "--to markdown: a file a memory in FOLDER: what was imported at its old place, byte for byte, others as memories/ID.md. "
    "Files that\n"
    "are there and differ are named and kept, exit code 4, unless --force. No symbolic link below FOLDER is followed.",
    export_options,
    run_export};

/* ---- import ------------------------------------------------------------------------------------------------------ */

enum { OPTION_ON_ERROR = 1, OPTION_FROM_LINE, OPTION_FROM, OPTION_DRY_RUN, OPTION_AGENT, OPTION_SESSION };
static const struct cli_option import_options[] = {
    {OPTION_FROM, 0, "from", "FORM",
     "from another program: memory-server (a FILE), markdown (a FOLDER), memmap_fs (a FOLDER); again and again, if you like: "
     "what is "
     "there already is left alone"},
    {OPTION_DRY_RUN, 0, "dry-run", NULL, "with --from: only count, write nothing"},
    {OPTION_AGENT, 'a', "agent", "NAME", "with --from: who remembers it (default: nobody)"},
    {OPTION_SESSION, 0, "session", "NAME", "with --from: in which session (default: none)"},
    {OPTION_ON_ERROR, 0, "on-error", "ACTION",
     "stop at a bad line (the default), or continue with the next; folders: continue is the default"},
    {OPTION_FROM_LINE, 0, "from-line", "N", "begin with line N: goes on where an import stopped"},
    CLI_OPTION_LEVEL,
    CLI_OPTION_END,
};

struct import {
    struct feed_options feed;
    struct foreign_options foreign;
    enum form form;
    const char *foreign_only; /* an option that makes no sense without --from */
};

static void read_import_options(struct cli *cli, struct import *import)
{
    int option;
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_FROM_LINE:
            import->feed.first_line = cli_number(cli, "--from-line", cli->value);
            break;
        case OPTION_FROM:
            import->form = read_form(cli, "--from", FORM_COUNT, "memory-server, markdown or memmap_fs");
            break;
        case OPTION_DRY_RUN:
            import->foreign.dry_run = true;
            import->foreign_only = "--dry-run";
            break;
        case OPTION_AGENT:
        case OPTION_SESSION: {
            struct roost_bytes name = roost_text(cli->value);
            import->foreign_only = option == OPTION_AGENT ? "--agent" : "--session";
            if (!foreign_name_fits(name))
                cli_usage(cli, "%s takes a name of 1 to %u bytes of UTF-8", import->foreign_only, ROOST_NAME_SIZE_MAX);
            *(option == OPTION_AGENT ? &import->foreign.agent : &import->foreign.session) = name;
            break;
        }
        default:
            if (strcmp(cli->value, "stop") != 0 && strcmp(cli->value, "continue") != 0)
                cli_usage(cli, "--on-error is stop or continue, not \"%s\"", cli->value);
            import->feed.continue_on_error = strcmp(cli->value, "continue") == 0;
            import->foreign.error = import->feed.continue_on_error ? FOREIGN_CONTINUE : FOREIGN_STOP;
            break;
        }
    }
    import->foreign.form = form_names[import->form];
    if (import->form == FORM_OWN && import->foreign_only) cli_usage(cli, "%s goes with --from FORM", import->foreign_only);
    if (import->form != FORM_OWN && import->feed.first_line)
        cli_usage(cli, "--from-line goes without --from: what is there already is left alone anyway");
}

static int run_foreign(struct cli *cli, struct import *import)
{
    bool folder = import->form != FORM_MEMORY_SERVER;
    cli_operand_count(cli, folder, 1);
    if (import->foreign.error == FOREIGN_DEFAULT) import->foreign.error = folder ? FOREIGN_CONTINUE : FOREIGN_STOP;
    const char *path = cli->operand_count ? cli->operands[0] : NULL;
    if (import->form == FORM_MARKDOWN) return import_markdown(cli, path, &import->foreign);
    if (import->form == FORM_MEMMAP) return import_memmap(cli, path, &import->foreign);
    if (!path && isatty(STDIN_FILENO)) cli_usage(cli, "the lines are missing: name a FILE, or give them on stdin");
    return import_memory_server(cli, path && strcmp(path, "-") != 0 ? path : NULL, &import->foreign);
}

static int run_import(struct cli *cli)
{
    struct import import = {.feed = {.kind = FEED_IMPORT}};
    struct feed_result result;
    read_import_options(cli, &import);
    if (import.form != FORM_OWN) return run_foreign(cli, &import);
    cli_operand_count(cli, 0, 1);
    const char *path = cli->operand_count && strcmp(cli->operands[0], "-") != 0 ? cli->operands[0] : NULL;
    if (!path && !cli->operand_count && isatty(STDIN_FILENO))
        cli_usage(cli, "the lines are missing: name a FILE, or give them on stdin");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (descriptor < 0) return cli_fail_system(errno, "could not open", path);
    int code = cli_open(cli, CLI_WRITING);
    if (!code) {
        cli_catch_interrupts();
        code = feed_lines(cli, descriptor, &import.feed, &result);
        if (cli->json)
            put_counts_json(&result, true);
        else
            put_counts(stdout, "imported", &result);
        if (result.stopped_at_line && code == CLI_TIMED_OUT)
            cli_say("import stopped at line %" PRIu64 ": all lines before it are stored; ask with the receipt before "
                    "you go on",
                    result.stopped_at_line);
        else if (result.stopped_at_line)
            cli_say("import stopped at line %" PRIu64 ": all lines before it are stored, none from it on; go on with "
                    "--from-line %" PRIu64,
                    result.stopped_at_line, result.stopped_at_line);
        else if (result.refused_count)
            cli_say("import: %" PRIu64 " of %" PRIu64 " lines were refused, see above; all others are stored",
                    result.refused_count, result.line_count);
    }
    if (path) close(descriptor);
    return code;
}
const struct cli_command command_import = {
    "import",
    "[--from FORM] [FILE | FOLDER]",
    "Store what `roost export` wrote, from FILE or stdin, or another program's memories",
    "Memories get new ids, in the same order; keys, tags, times and all bytes stay. Keys that are there already are "
    "set to the\n"
    "imported value, streams go on at their end. It stops at the first bad line unless --on-error continue says "
    "otherwise.\n\n"
    "--from memory-server: the file of the reference MCP memory server. A memory for each entity, observation and relation; an "
    "entity\n"
    "that is there already, with its observations, becomes what the file says.\n\n"
    "--from markdown: all .md files in FOLDER and below, such as the memory folders of coding agents or notes with front matter: "
    "a memory\n"
    "a file, its text without the front matter, tags and time from there. Hidden files and symbolic links are passed over. A "
    "file is known\n"
    "by its path in FOLDER: to take two folders with files of the same names, import the folder above both. Search looks at the "
    "first 1 MiB\n"
    "of a file.\n\n"
    "--from memmap_fs: a root of that program, which is only read: its memories, keys and streams. What a crash left torn is cut "
    "out, and\n"
    "said. What was only put into its search index (index) is not read.\n\n"
    "With --from nothing that is there already is stored again, and nothing is removed but observations that an entity no longer "
    "has.",
    import_options,
    run_import};
