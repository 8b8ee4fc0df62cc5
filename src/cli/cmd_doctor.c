/* SPDX-License-Identifier: MIT
 * cmd_doctor.c: roost doctor: everything that can be said about a root that does, or does not, work. It goes on
 * after each problem, because the next line may explain it. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PROBLEM_COUNT_MAX = 16, PROBLEM_SIZE = 512 };
struct doctor {
    char problems[PROBLEM_COUNT_MAX][PROBLEM_SIZE];
    size_t problem_count;
    int code;
    bool stats_known;
    const char *file_system, *role; /* role: what happened to it, in words */
    uint64_t shm_bytes;
    unsigned mode;
    struct roost_stats stats;
};

static void problem(struct doctor *doctor, int code, const char *format, ...) CLI_PRINTF(3, 4);
static void problem(struct doctor *doctor, int code, const char *format, ...)
{
    va_list arguments;
    if (!doctor->code) doctor->code = code;
    if (doctor->problem_count == PROBLEM_COUNT_MAX) return;
    va_start(arguments, format);
    vsnprintf(doctor->problems[doctor->problem_count++], PROBLEM_SIZE, format, arguments);
    va_end(arguments);
}

/* Names for statfs(2)'s numbers; only to show. Which ones are refused is the library's decision. */
static const char *file_system_name(unsigned long type)
{
    static const struct {
        unsigned long type;
        const char *name;
    } names[] = {
        {0xef53, "ext4"},          {0x58465342, "xfs"},      {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"},
        {0x794c7630, "overlayfs"}, {0x2fc12fc1, "zfs"},      {0xf2f52010, "f2fs"},  {0x6969, "nfs"},
        {0xff534d42, "cifs"},      {0xfe534d42, "smb2"},     {0x01021997, "9p"},    {0x65735546, "fuse"},
        {0x6a656a63, "virtiofs"},  {0x00c36400, "ceph"},     {0x4d44, "vfat"},      {0x2011bab0, "exfat"},
        {0xca451a4e, "bcachefs"},  {0x52654973, "reiserfs"}, {0x3153464a, "jfs"},   {0x5346414f, "afs"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].type == (type & 0xffffffff)) return names[i].name;
    return "unknown";
}

static void look_at_file(struct doctor *doctor, const char *root, const char *name, uid_t owner)
{
    char path[4096];
    struct stat status;
    if (snprintf(path, sizeof path, "%s/%s", root, name) >= (int)sizeof path) return;
    if (lstat(path, &status) < 0) {
        if (errno != ENOENT) problem(doctor, cli_exit_code(-errno), "%s: %s", path, strerror(errno));
        return;
    }
    if (status.st_uid != owner)
        problem(doctor, CLI_NOT_ALLOWED, "%s belongs to user %u, the root to user %u; give it back with chown", path,
                (unsigned)status.st_uid, (unsigned)owner);
    if (access(path, R_OK) < 0)
        problem(doctor, CLI_NOT_ALLOWED, "%s cannot be read by this user (%u): %s; look at its mode and owner", path,
                (unsigned)getuid(), strerror(errno));
    else if (access(path, W_OK) < 0)
        problem(doctor, CLI_NOT_ALLOWED, "%s cannot be written by this user (%u): %s; reading and watching work", path,
                (unsigned)getuid(), strerror(errno));
}

static void look_at_directory(struct doctor *doctor, const char *root)
{
    static const char *const names[] = {"state.wal", "blocks", "index", "index/MANIFEST"};
    struct stat status;
    struct statfs file_system;
    struct statvfs shm;
    if (stat(root, &status) < 0) {
        problem(doctor, errno == ENOENT ? CLI_NO_ROOT : cli_exit_code(-errno), "%s: %s; make a root with `roost init`", root,
                strerror(errno));
        return;
    }
    doctor->mode = (unsigned)status.st_mode & 07777;
    if (statfs(root, &file_system) == 0) doctor->file_system = file_system_name((unsigned long)file_system.f_type);
    if (statvfs("/dev/shm", &shm) == 0) doctor->shm_bytes = (uint64_t)shm.f_bavail * shm.f_frsize;
    if (doctor->mode & 022)
        problem(doctor, CLI_NOT_ALLOWED, "%s may be written by other users (mode %04o); chmod go-w it", root, doctor->mode);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) look_at_file(doctor, root, names[i], status.st_uid);
}

static void look_inside(struct cli *cli, struct doctor *doctor)
{
    int error = cli_try_open(cli, CLI_READING);
    if (error < 0) {
        const char *detail = roost_error_detail();
        problem(doctor, cli_exit_code(error), "it cannot be opened: %s", detail && *detail ? detail : roost_error_text(error));
        return;
    }
    error = roost_stats(cli->root, &doctor->stats);
    if (error < 0) {
        problem(doctor, cli_exit_code(error), "it opens, but tells nothing: %s", roost_error_detail());
        return;
    }
    doctor->stats_known = true;
    /* Our own visit does not count as somebody writing. */
    if (doctor->stats.own_role) doctor->stats.writer_pid = 0;
    if (doctor->stats.takeover_count) doctor->role = "a writer died and another process took over";
}

static void put_json(const struct cli *cli, const struct doctor *doctor)
{
    const struct roost_stats *stats = &doctor->stats;
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_bool(&writer, "ok", doctor->problem_count == 0);
    json_text(&writer, "version", roost_version());
    if (cli->root_path) {
        json_text(&writer, "root", cli->root_path);
        json_text(&writer, "found_by", cli->root_found_by);
    }
    if (doctor->file_system) json_text(&writer, "file_system", doctor->file_system);
    json_unsigned(&writer, "shm_free_bytes", doctor->shm_bytes);
    if (doctor->stats_known) {
        json_unsigned(&writer, "format_version", stats->format_version);
        json_text(&writer, "region_kind", stats->region_kind == ROOST_REGION_FILE ? "file" : "shm");
        json_unsigned(&writer, "participants", stats->participant_count);
        json_unsigned(&writer, "memories", stats->memory_count);
        json_unsigned(&writer, "takeovers", stats->takeover_count);
        json_bool(&writer, "observing", cli->observing);
        if (stats->writer_pid) json_signed(&writer, "writer_pid", stats->writer_pid);
    }
    json_open(&writer, "problems", '[');
    for (size_t i = 0; i < doctor->problem_count; i++) json_text(&writer, NULL, doctor->problems[i]);
    json_close(&writer, ']');
    json_close(&writer, '}');
    json_line_end(&writer);
}

static void put_text(const struct cli *cli, const struct doctor *doctor)
{
    const struct roost_stats *stats = &doctor->stats;
    printf("roost         %s\n", roost_version());
    if (cli->root_path) {
        fputs("root          ", stdout);
        cli_put_line_text(roost_text(cli->root_path), 0);
        printf(" (found by %s)\n", cli->root_found_by);
    }
    if (doctor->file_system)
        printf("file system   %s\nmode          %04o\n/dev/shm      %" PRIu64 " MiB free\n", doctor->file_system, doctor->mode,
               doctor->shm_bytes >> 20);
    if (doctor->stats_known) {
        printf("format        %" PRIu32 "\nregion        %s\n", stats->format_version,
               stats->region_kind == ROOST_REGION_FILE ? "file" : "shm");
        if (stats->writer_pid)
            printf("writer        pid %" PRId32 "\n", stats->writer_pid);
        else
            printf("writer        resting\n");
        printf("participants  %" PRIu64 "%s\n", stats->participant_count, cli->observing ? "" : " (with this command)");
        printf("memories      %" PRIu64 "\n", stats->memory_count);
        if (doctor->role) printf("takeovers     %" PRIu64 ": %s\n", stats->takeover_count, doctor->role);
        if (cli->observing) printf("access        reading only: this user may not write here\n");
    }
    for (size_t i = 0; i < doctor->problem_count; i++) {
        printf("%sproblem%s       ", cli_bold(), cli_plain());
        cli_put_line_text(roost_text(doctor->problems[i]), 0);
        putchar('\n');
    }
    if (!doctor->problem_count) puts("all is well");
}

static int run(struct cli *cli)
{
    struct doctor *doctor = calloc(1, sizeof *doctor);
    if (!doctor) return cli_fail_system(ENOMEM, "doctor", "memory");
    doctor->stats = (struct roost_stats)ROOST_STATS_INIT;
    cli_no_options(cli, 0, 0);
    int code = cli_find_root(cli);
    if (code) {
        problem(doctor, code,
                "there is no root here: no .roost in this directory or above it; make one with `roost "
                "init`");
    } else {
        look_at_directory(doctor, cli->root_path);
        /* What opening says is the exit code; what we saw before are reasons. */
        int seen = doctor->code;
        doctor->code = CLI_OK;
        look_inside(cli, doctor);
        if (!doctor->code) doctor->code = seen;
    }
    if (cli->json)
        put_json(cli, doctor);
    else
        put_text(cli, doctor);
    code = doctor->code;
    free(doctor);
    return code;
}
const struct cli_command command_doctor = {
    "doctor",
    "",
    "Find out why a root does not work, or that it does",
    "Where the root was found, its file system, format, region, who writes, and what is wrong with permissions. The "
    "exit code is 0 if\n"
    "all is well, else that of the first problem. With --json `writer_pid` is there only while somebody holds the "
    "writer's role.",
    NULL,
    run};
