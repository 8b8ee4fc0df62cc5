/* SPDX-License-Identifier: MIT
 * cmd_mend.c: roost check, rebuild, backup, restore, rescue: is everything whole, and what to do when it is not. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

/* What was found is shown as it comes: a line each, or the elements of an array. */
struct report {
    struct json_writer writer;
    bool json;
    uint64_t index_count, data_count, note_count;
};

/* What mends it: the index is derived, the rest is not. */
static bool of_index(const char *file) { return strncmp(file, "index", 5) == 0; }

static void found(void *user, int error, const char *file, uint64_t offset, const char *detail)
{
    struct report *report = user;
    if (!file) file = "";
    const char *remedy = !error ? "" : of_index(file) ? "rebuild" : "rescue";
    report->note_count += !error;
    report->index_count += error && of_index(file);
    report->data_count += error && !of_index(file);
    if (!report->json) {
        cli_put_line_text(roost_text(file), 0);
        printf("%sbyte %" PRIu64 ": ", *file ? ": " : "", offset);
        cli_put_line_text(roost_text(detail && *detail ? detail : roost_error_text(error)), 0);
        putchar('\n');
        return;
    }
    json_open(&report->writer, NULL, '{');
    json_text(&report->writer, "error", error ? roost_error_name(error) : "");
    json_text(&report->writer, "file", file);
    json_unsigned(&report->writer, "offset", offset);
    json_text(&report->writer, "detail", detail ? detail : "");
    json_text(&report->writer, "remedy", remedy);
    json_close(&report->writer, '}');
}

static struct report begin_report(const struct cli *cli)
{
    struct report report = {.writer = json_writer(stdout), .json = cli->json};
    if (!cli->json) return report;
    json_open(&report.writer, NULL, '{');
    json_open(&report.writer, "findings", '[');
    return report;
}

/* The end of the findings; what else there is to say follows, then end_report. */
static void end_findings(struct report *report, bool ok)
{
    if (!report->json) return;
    json_close(&report->writer, ']');
    json_bool(&report->writer, "ok", ok);
}

static void end_report(struct report *report)
{
    if (!report->json) return;
    json_close(&report->writer, '}');
    json_line_end(&report->writer);
}

static const char *plural(uint64_t count) { return count == 1 ? "" : "s"; }

static void say_remedies(const struct cli *cli, const char *command, const struct report *report)
{
    uint64_t count = report->index_count + report->data_count;
    const char *path = cli->root_path;
    if (!report->data_count)
        cli_say("%s: %" PRIu64 " damaged place%s in %s; `roost -C %s rebuild` makes the index anew", command, count,
                plural(count), cli->root_path, path);
    else
        cli_say("%s: %" PRIu64 " damaged place%s in %s, %" PRIu64
                " of them in stored data; `roost rescue %s NEW` saves everything that can be read%s",
                command, count, plural(count), cli->root_path, report->data_count, path,
                report->index_count ? ", `roost rebuild` makes the index anew" : "");
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

/* A root that is too damaged to be opened: that is a finding too. */
static int check_unopened(struct cli *cli, int error)
{
    struct report report = begin_report(cli);
    char detail[1024];
    snprintf(detail, sizeof detail, "%s", roost_error_detail());
    const char *file = strstr(detail, "index/") ? "index" : strstr(detail, "state.wal") ? "state.wal" : "blocks";
    found(&report, error, file, 0, detail);
    end_findings(&report, false);
    end_report(&report);
    say_remedies(cli, "check", &report);
    return cli_exit_code(error);
}

static int run_check(struct cli *cli)
{
    cli_no_options(cli, 0, 0);
    int code = cli_find_root(cli);
    if (code) return code;
    int error = cli_try_open(cli, CLI_READING);
    if (error == ROOST_ECORRUPT || error == ROOST_EDAMAGED) return check_unopened(cli, error);
    if (error < 0) return cli_open(cli, CLI_READING); /* it says what is wrong */
    struct report report = begin_report(cli);
    int count = roost_check(cli->root, found, &report);
    end_findings(&report, count == 0);
    end_report(&report);
    if (count < 0) return cli_fail(count, "check");
    if (!cli->json && count == 0) puts("every byte that the root vouches for is good");
    if (count > 0) say_remedies(cli, "check", &report);
    return count ? CLI_CORRUPT : CLI_OK;
}
const struct cli_command command_check = {"check",
                                          "",
                                          "Read every byte and compare index and stored data; changes nothing",
                                          "A line for each damaged place: file, byte, what is hurt; exit code 5 if there is one. "
                                          "What lies in index/ is mended by `roost\n"
                                          "rebuild`; of damaged blocks/ and state.wal `roost rescue` saves what can be read. A "
                                          "line that begins with \"note:\" is about\n"
                                          "something odd that hurts nothing. May run while the root is in use.",
                                          NULL,
                                          run_check};

/* ---- rebuild ----------------------------------------------------------------------------------------------------- */

static int run_rebuild(struct cli *cli)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    cli_no_options(cli, 0, 0);
    int code = cli_find_root(cli);
    if (code) return code;
    options.wait_ms = cli->wait_ms;
    options.flags = ROOST_OPEN_REBUILD;
    int missing = roost_open(cli->root_path, &options, &cli->root);
    if (missing == ROOST_ENOROOT) return cli_open(cli, CLI_WRITING); /* it says what is wrong */
    if (missing >= 0) missing = roost_rebuild(cli->root);
    if (missing < 0) return cli_fail(missing, "rebuild");
    if (!cli->json) puts("the index is made anew");
    struct report report = begin_report(cli);
    int count = roost_check(cli->root, found, &report);
    end_findings(&report, !count && !missing);
    if (cli->json) json_unsigned(&report.writer, "missing", (uint64_t)missing);
    end_report(&report);
    if (count < 0) return cli_fail(count, "rebuild: looking at the result");
    if (missing)
        cli_say("rebuild: %d memor%s that the old index counted %s nowhere to be found", missing, missing == 1 ? "y" : "ies",
                missing == 1 ? "is" : "are");
    if (count) say_remedies(cli, "rebuild", &report);
    return count || missing ? CLI_CORRUPT : CLI_OK;
}
const struct cli_command command_rebuild = {"rebuild",
                                            "",
                                            "Make the whole index anew from the stored data",
                                            "For when `roost check` finds damage in index/, or the root cannot be opened because "
                                            "of it, also when the whole folder is gone.\n"
                                            "Nothing that was stored is changed. The result is checked: exit code 5, and a line "
                                            "for each place, if some of what was stored\n"
                                            "cannot be read; `roost rescue` then saves the rest.",
                                            NULL,
                                            run_rebuild};

/* ---- backup, restore, rescue ------------------------------------------------------------------------------------- */

static void put_copy(struct report *report, const struct roost_copy *copy, const char *done, const char *path)
{
    if (report->json) {
        json_text(&report->writer, "path", path);
        json_id(&report->writer, "lsn", copy->lsn);
        json_unsigned(&report->writer, "memories", copy->memory_count);
        json_unsigned(&report->writer, "bytes", copy->byte_count);
        json_unsigned(&report->writer, "lost", copy->lost_count);
        json_unsigned(&report->writer, "unsure", copy->unsure_count);
        return;
    }
    printf("%s %" PRIu64 " memor%s, up to lsn %" PRIu64 ", into ", done, copy->memory_count,
           copy->memory_count == 1 ? "y" : "ies", copy->lsn);
    cli_put_line_text(roost_text(path), 0);
    putchar('\n');
}

static int finish_copy(struct report *report, int error, const struct roost_copy *copy, const char *done, const char *path)
{
    end_findings(report, error == 0);
    if (error >= 0) put_copy(report, copy, done, path);
    end_report(report);
    return error < 0 ? cli_fail(error, NULL) : CLI_OK;
}

static int run_backup(struct cli *cli)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    cli_no_options(cli, 1, 1);
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    struct report report = begin_report(cli);
    int error = roost_backup(cli->root, cli->operands[0], found, &report, &copy);
    code = finish_copy(&report, error, &copy, "backed up", cli->operands[0]);
    if (error == ROOST_ECORRUPT) say_remedies(cli, "backup", &report);
    return code;
}
const struct cli_command command_backup = {"backup",
                                           "DEST",
                                           "Copy the root into the empty or new folder DEST, while others use it",
                                           "The copy is the root at one moment, read back and checked byte by byte before it "
                                           "counts; half a copy never looks like a root. It is a\n"
                                           "root itself: use it as it is, or `roost restore` it. On file systems that can share "
                                           "blocks between files it takes hardly any space.",
                                           NULL,
                                           run_backup};

static int run_restore(struct cli *cli)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    cli_no_options(cli, 2, 2);
    struct report report = begin_report(cli);
    int error = roost_restore(cli->operands[0], cli->operands[1], found, &report, &copy);
    return finish_copy(&report, error, &copy, "restored", cli->operands[1]);
}
const struct cli_command command_restore = {"restore",
                                            "SOURCE DEST",
                                            "Check the backup SOURCE and copy it into the empty or new folder DEST",
                                            "SOURCE is not changed and may be read-only; nobody may have it open. A damaged one "
                                            "is refused, exit code 5: `roost rescue` takes what\n"
                                            "can be read of it.",
                                            NULL,
                                            run_restore};

static int run_rescue(struct cli *cli)
{
    struct roost_copy copy = ROOST_COPY_INIT;
    cli_no_options(cli, 2, 2);
    const char *source = cli->operands[0], *path = cli->operands[1];
    struct report report = begin_report(cli);
    int lost = roost_rescue(source, path, found, &report, &copy);
    int code = finish_copy(&report, lost, &copy, "rescued", path);
    if (code) return code;
    if (copy.unsure_count)
        cli_say("rescue: %" PRIu64 " of the changes were taken though nothing proves that they were acknowledged",
                copy.unsure_count);
    if (lost > 0)
        cli_say("rescue: %d thing%s of %s could not be read, see above; all others are in %s", lost, plural((uint64_t)lost),
                source, path);
    return lost ? CLI_CORRUPT : CLI_OK;
}
const struct cli_command command_rescue = {"rescue",
                                           "SOURCE DEST",
                                           "Save everything that can be read of the damaged root SOURCE into the new root DEST",
                                           "For any damage to log, stored data or index, also where the root cannot be opened or "
                                           "parts of it are missing. SOURCE is not\n"
                                           "changed; nobody may have it open. Ids, keys, streams, states, times and bytes stay. "
                                           "A line for each thing that could not be read;\n"
                                           "exit code 5 if there is one.",
                                           NULL,
                                           run_rescue};
