/* SPDX-License-Identifier: MIT
 * cmd_doctor.c: roost doctor: everything that can be said about a root that does, or does not, work. It goes on
 * after each problem, because the next line may explain it. */
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PROBLEM_COUNT_MAX = 16, PROBLEM_SIZE = 1024, REGION_COUNT_MAX = 64, REGION_NAME_SIZE = 40 };
struct unused_region {
    char name[REGION_NAME_SIZE];
    uint64_t bytes;
    bool mapped;
};
struct doctor {
    char problems[PROBLEM_COUNT_MAX][PROBLEM_SIZE];
    size_t problem_count;
    int code;
    bool stats_known, shm_known;
    const char *file_system, *role; /* role: what happened to it, in words */
    uint64_t shm_bytes;
    unsigned mode;
    struct roost_stats stats;
    struct unused_region regions[REGION_COUNT_MAX];
    size_t region_count;
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

/* False: there is no folder, so there is nothing else to look at. */
static bool look_at_directory(struct cli *cli, struct doctor *doctor)
{
    const char *root = cli->root_path;
    static const char *const names[] = {"state.wal", "blocks", "index", "index/MANIFEST"};
    struct stat status;
    struct statfs file_system;
    struct statvfs shm;
    if (stat(root, &status) < 0) {
        char what[3 * 4096];
        int error_number = errno;
        cli_no_root(cli, what, sizeof what);
        if (error_number == ENOENT)
            problem(doctor, CLI_NO_ROOT, "%s", what);
        else
            problem(doctor, cli_exit_code(-error_number), "%s: %s", root, strerror(error_number));
        return false;
    }
    if (!S_ISDIR(status.st_mode)) {
        problem(doctor, CLI_NO_ROOT, "%s is a file, not a root: give the folder", root);
        return false;
    }
    doctor->mode = (unsigned)status.st_mode & 07777;
    if (statfs(root, &file_system) == 0) doctor->file_system = file_system_name((unsigned long)file_system.f_type);
    doctor->shm_known = statvfs("/dev/shm", &shm) == 0;
    if (doctor->shm_known) doctor->shm_bytes = (uint64_t)shm.f_bavail * shm.f_frsize;
    if (doctor->mode & 022)
        problem(doctor, CLI_NOT_ALLOWED, "%s may be written by other users (mode %04o); chmod go-w it", root, doctor->mode);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) look_at_file(doctor, root, names[i], status.st_uid);
    return true;
}

/* ---- The writer -------------------------------------------------------------------------------------------------- */

/* Has the process this file open? Process numbers are of one namespace; the writer may live in another. */
static bool has_open(int32_t pid, const char *path)
{
    char name[300];
    struct stat wanted, there;
    bool found = false;
    snprintf(name, sizeof name, "/proc/%" PRId32 "/fd", pid);
    DIR *list = stat(path, &wanted) == 0 ? opendir(name) : NULL;
    for (struct dirent *entry; list && !found && (entry = readdir(list));) {
        snprintf(name, sizeof name, "/proc/%" PRId32 "/fd/%s", pid, entry->d_name);
        found = stat(name, &there) == 0 && there.st_dev == wanted.st_dev && there.st_ino == wanted.st_ino;
    }
    if (list) closedir(list);
    return found;
}

/* The letter after the command's name in /proc/PID/stat: T is stopped, t stopped by a debugger. 0: cannot be seen. */
static char process_state(int32_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", pid);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}

static void look_at_writer(const struct cli *cli, struct doctor *doctor)
{
    int32_t pid = doctor->stats.writer_pid;
    char log[4096];
    char state = pid ? process_state(pid) : 0;
    if ((state != 'T' && state != 't') || snprintf(log, sizeof log, "%s/state.wal", cli->root_path) >= (int)sizeof log ||
        !has_open(pid, log))
        return;
    problem(doctor, CLI_TIMED_OUT,
            "process %" PRId32
            " holds the writer's role and is stopped (%s): nobody can write until it goes on; let it go on (%s), "
            "or end it (kill -KILL %" PRId32 "): then another process takes over, and nothing that was confirmed is lost",
            pid, state == 't' ? "a debugger" : "Ctrl-Z, SIGSTOP",
            state == 't' ? "in the debugger" : "fg, or kill -CONT its number", pid);
}

/* The root's own state says that writing is refused; trying to sync says why. */
static void look_at_health(struct cli *cli, struct doctor *doctor)
{
    struct roost_state state = ROOST_STATE_INIT;
    if (roost_state_get(cli->root, roost_text(""), &state) < 0) return;
    bool read_only = state.status.size == 9 && memcmp(state.status.data, "read-only", 9) == 0;
    roost_unpin(cli->root, &state.pin);
    if (!read_only) return;
    int error = cli->observing ? 0 : roost_sync(cli->root);
    if (error < 0 && error != ROOST_ETIMEDOUT)
        problem(doctor, cli_exit_code(error), "%s", cli_detail(error));
    else
        problem(
            doctor, CLI_CORRUPT,
            "writing is refused, reading works: the log is damaged, or the disk failed; `roost check` tells what is hurt, `roost "
            "export` saves what can be read");
}

/* ---- What is left in /dev/shm ------------------------------------------------------------------------------------ */

/* roost- and 32 hex digits. */
static bool is_region_name(const char *name)
{
    return strncmp(name, "roost-", 6) == 0 && strspn(name + 6, "0123456789abcdef") == 32 && name[38] == '\0';
}

static void mark_mapped(struct doctor *doctor, const char *pid)
{
    char line[4096];
    snprintf(line, sizeof line, "/proc/%.20s/maps", pid);
    FILE *maps = fopen(line, "re");
    while (maps && fgets(line, sizeof line, maps)) {
        const char *name = strstr(line, "/dev/shm/roost-");
        for (size_t i = 0; name && i < doctor->region_count; i++)
            if (strncmp(name + 9, doctor->regions[i].name, 38) == 0) doctor->regions[i].mapped = true;
    }
    if (maps) fclose(maps);
}

/* A region belongs to one user, and his processes' mappings can be read. Ours is mapped by ourselves at this moment. */
static void look_at_regions(struct doctor *doctor)
{
    DIR *shm = opendir("/dev/shm"), *processes = opendir("/proc");
    size_t kept = 0;
    for (struct dirent *entry; shm && doctor->region_count < REGION_COUNT_MAX && (entry = readdir(shm));) {
        struct stat status;
        if (!is_region_name(entry->d_name) || fstatat(dirfd(shm), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            status.st_uid != geteuid())
            continue;
        struct unused_region *region = &doctor->regions[doctor->region_count++];
        snprintf(region->name, sizeof region->name, "%.38s", entry->d_name);
        region->bytes = (uint64_t)status.st_blocks * 512;
    }
    for (struct dirent *entry; processes && doctor->region_count && (entry = readdir(processes));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') mark_mapped(doctor, entry->d_name);
    for (size_t i = 0; processes && i < doctor->region_count; i++)
        if (!doctor->regions[i].mapped) doctor->regions[kept++] = doctor->regions[i];
    doctor->region_count = kept;
    if (processes) closedir(processes);
    if (shm) closedir(shm);
}

/* ---- All together ------------------------------------------------------------------------------------------------ */

static void look_inside(struct cli *cli, struct doctor *doctor)
{
    int error = cli_try_open(cli, CLI_READING);
    if (error < 0) {
        char what[3 * 4096];
        snprintf(what, sizeof what, "it cannot be opened: %s", cli_detail(error));
        if (error == ROOST_ENOROOT) cli_no_root(cli, what, sizeof what);
        problem(doctor, cli_exit_code(error), "%s", what);
        return;
    }
    error = roost_stats(cli->root, &doctor->stats);
    if (error < 0) {
        problem(doctor, cli_exit_code(error), "it opens, but tells nothing: %s", cli_detail(error));
        return;
    }
    doctor->stats_known = true;
    /* Our own visit does not count as somebody writing. */
    if (doctor->stats.own_role) doctor->stats.writer_pid = 0;
    if (doctor->stats.takeover_count) doctor->role = "a writer died and another process took over";
    look_at_writer(cli, doctor);
    look_at_health(cli, doctor);
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
    if (doctor->shm_known) json_unsigned(&writer, "shm_free_bytes", doctor->shm_bytes);
    if (doctor->stats_known) {
        json_unsigned(&writer, "format_version", stats->format_version);
        json_text(&writer, "region_kind", stats->region_kind == ROOST_REGION_FILE ? "file" : "shm");
        json_unsigned(&writer, "participants", stats->participant_count);
        json_unsigned(&writer, "memories", stats->memory_count);
        json_unsigned(&writer, "takeovers", stats->takeover_count);
        json_bool(&writer, "observing", cli->observing);
        if (stats->writer_pid) json_signed(&writer, "writer_pid", stats->writer_pid);
    }
    json_open(&writer, "unused_regions", '[');
    for (size_t i = 0; i < doctor->region_count; i++) {
        json_open(&writer, NULL, '{');
        json_text(&writer, "name", doctor->regions[i].name);
        json_unsigned(&writer, "bytes", doctor->regions[i].bytes);
        json_close(&writer, '}');
    }
    json_close(&writer, ']');
    json_open(&writer, "problems", '[');
    for (size_t i = 0; i < doctor->problem_count; i++) json_text(&writer, NULL, doctor->problems[i]);
    json_close(&writer, ']');
    json_close(&writer, '}');
    json_line_end(&writer);
}

static void put_regions(const struct doctor *doctor)
{
    enum { SHOWN_MAX = 3 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < doctor->region_count; i++) bytes += doctor->regions[i].bytes;
    printf("left over     %zu of this user's regions in /dev/shm, %" PRIu64
           " KiB, that no process which can be seen from here maps (",
           doctor->region_count, bytes >> 10);
    for (size_t i = 0; i < doctor->region_count && i < SHOWN_MAX; i++) printf("%s%s", i ? ", " : "", doctor->regions[i].name);
    printf("%s): each goes when its root is opened and closed again; delete it only if that root is gone\n",
           doctor->region_count > SHOWN_MAX ? ", ..." : "");
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
    if (doctor->file_system) printf("file system   %s\nmode          %04o\n", doctor->file_system, doctor->mode);
    if (doctor->shm_known) printf("/dev/shm      %" PRIu64 " MiB free\n", doctor->shm_bytes >> 20);
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
        if (cli->observing)
            printf("access        reading only: %s\n", cli->observe ? "--observe" : "this user may not write here");
    }
    if (doctor->region_count) put_regions(doctor);
    for (size_t i = 0; i < doctor->problem_count; i++) {
        printf("%sproblem%s       ", cli_bold(), cli_plain());
        cli_put_line_text(roost_text(doctor->problems[i]), 0);
        putchar('\n');
    }
    if (!doctor->problem_count) puts("all is well (stored bytes were not read: `roost check` does that)");
}

static int run(struct cli *cli)
{
    struct doctor *doctor = calloc(1, sizeof *doctor);
    if (!doctor) return cli_fail_system(ENOMEM, "doctor", "memory");
    doctor->stats = (struct roost_stats)ROOST_STATS_INIT;
    cli_no_options(cli, 0, 0);
    char what[4096 + 256];
    int code = cli_locate_root(cli, what, sizeof what);
    if (code) {
        problem(doctor, code, "%s", what);
    } else if (look_at_directory(cli, doctor)) {
        /* What opening says is the exit code; what we saw before are reasons. */
        int seen = doctor->code;
        doctor->code = CLI_OK;
        look_inside(cli, doctor);
        if (!doctor->code) doctor->code = seen;
    }
    look_at_regions(doctor);
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
    "Where the root was found, its file system, format, region, who writes and whether that process is stopped, whether writing "
    "is "
    "refused, what is wrong with permissions, and which shared memory of this user lies in /dev/shm without a process. It does "
    "not "
    "read what is stored: `roost check` does. The exit code is 0 if\n"
    "all is well, else that of the first problem. With --json `writer_pid` is there only while somebody holds the "
    "writer's role.",
    NULL,
    run};
