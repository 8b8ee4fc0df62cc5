/* SPDX-License-Identifier: MIT
 * cmd_init.c: roost init. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_LOG_SIZE = 1, OPTION_CHUNK_SIZE, OPTION_ARENA_SIZE, OPTION_LANGUAGE, OPTION_REGION, OPTION_EXIST_OK };
static const struct cli_option options[] = {
    {OPTION_LOG_SIZE, 0, "log-size", "SIZE", "size of the log's ring, 64K to 1G (default 16M)"},
    {OPTION_CHUNK_SIZE, 0, "chunk-size", "SIZE", "size of one file of stored text, 64K to 1G (default 64M)"},
    {OPTION_ARENA_SIZE, 0, "arena-size", "SIZE",
     "shared memory for the newest part of the index, twice this, 256K to "
     "1G (default 24M)"},
    {OPTION_LANGUAGE, 0, "language", "NAME", "how words are brought to their stem: english (default), german, ..., none"},
    {OPTION_REGION, 0, "region", "KIND",
     "shm: shared memory in /dev/shm (default); file: in a file of the root, for "
     "containers"},
    {OPTION_EXIST_OK, 0, "exist-ok", NULL, "succeed when the root is there already"},
    CLI_OPTION_END,
};

/* So that memories are never committed to somebody's repository by accident. Not worth failing for. */
static void write_gitignore(const char *root)
{
    static const char text[] = "*\n";
    char *path = NULL;
    if (asprintf(&path, "%s/.gitignore", root) < 0) return;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0 && errno != EEXIST) cli_say("the root is made, but %s could not be written: %s", path, strerror(errno));
    if (descriptor >= 0) {
        if (write(descriptor, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
            cli_say("the root is made, but %s could not be written: %s", path, strerror(errno));
        close(descriptor);
    }
    free(path);
}

static void read_options(struct cli *cli, struct roost_settings *settings, bool *ret_exist_ok)
{
    int option;
    while ((option = cli_next(cli)) != 0) {
        switch (option) {
        case OPTION_LOG_SIZE:
            settings->log_size = cli_size(cli, "--log-size", cli->value);
            break;
        case OPTION_CHUNK_SIZE:
            settings->chunk_size = cli_size(cli, "--chunk-size", cli->value);
            break;
        case OPTION_ARENA_SIZE:
            settings->arena_size = cli_size(cli, "--arena-size", cli->value);
            break;
        case OPTION_LANGUAGE:
            settings->language = cli->value;
            break;
        case OPTION_EXIST_OK:
            *ret_exist_ok = true;
            break;
        default:
            if (strcmp(cli->value, "shm") == 0)
                settings->region = ROOST_REGION_SHM;
            else if (strcmp(cli->value, "file") == 0)
                settings->region = ROOST_REGION_FILE;
            else
                cli_usage(cli, "--region is shm or file, not \"%s\"", cli->value);
        }
    }
}

/* What opening finds without being told is called .roost; the user of another name should know how to go on. */
static bool found_by_itself(const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    return size >= 6 && memcmp(path + size - 6, ".roost", 6) == 0 && (size == 6 || path[size - 7] == '/');
}

static int fail(int error, const char *path)
{
    if (error != ROOST_ENOENT) return cli_fail(error, NULL);
    cli_say("the folder %s cannot be made, because the folder that it would be in does not exist: make that first (mkdir -p)",
            path);
    return CLI_NO_ROOT;
}

static void show(const struct cli *cli, const char *path, bool made)
{
    if (cli->json) {
        struct json_writer writer = json_writer(stdout);
        json_open(&writer, NULL, '{');
        json_text(&writer, "root", path);
        json_bool(&writer, "made", made);
        json_close(&writer, '}');
        json_line_end(&writer);
        return;
    }
    fputs(made ? "made the root " : "there is a root already: ", stdout);
    cli_put_line_text(roost_text(path), 0);
    putchar('\n');
    if (found_by_itself(path)) return;
    char quoted[CLI_QUOTED_SIZE];
    fputs("name it to the other commands with -C or ROOST_ROOT (only a folder called .roost is found without): roost -C ",
          stdout);
    cli_put_line_text(roost_text(cli_quoted(path, quoted)), 0);
    puts(" list");
}

static int run(struct cli *cli)
{
    struct roost_settings settings = ROOST_SETTINGS_INIT;
    bool exist_ok = false;
    const char *environment = getenv("ROOST_ROOT");
    read_options(cli, &settings, &exist_ok);
    cli_operand_count(cli, 0, 1);
    if (cli->observe) cli_usage(cli, "--observe only looks, and init makes something: leave --observe out");
    if (cli->directory && cli->operand_count)
        cli_usage(cli, "give the directory once: either -C %s or %s", cli->directory, cli->operands[0]);
    const char *path = cli->operand_count            ? cli->operands[0]
                       : cli->directory              ? cli->directory
                       : environment && *environment ? environment
                                                     : ".roost";
    if (!*path) cli_usage(cli, "the name of the folder is empty");
    char problem[4096 + 256];
    char *resolved = cli_resolve(path, problem, sizeof problem);
    if (!resolved) {
        cli_say("%s", problem);
        return CLI_NO_ROOT;
    }
    int error = roost_create(resolved, &settings);
    bool made = error >= 0;
    if (made) write_gitignore(resolved);
    int code = made || (error == ROOST_EEXIST && exist_ok) ? CLI_OK : fail(error, path);
    char *absolute = code ? NULL : realpath(resolved, NULL);
    if (!code) show(cli, absolute ? absolute : resolved, made);
    free(absolute);
    free(resolved);
    return code;
}
const struct cli_command command_init = {
    "init",
    "[DIR]",
    "Make a root: the directory that processes share",
    "Makes the root DIR, or the one that -C or ROOST_ROOT names, or .roost in the current directory. A folder that it makes can "
    "be read by you alone; one that is there already keeps its mode. The folder that it lies in must exist.\n\n"
    "A root called .roost is found by every command in the folder that it lies in and in all below. A root of another name must "
    "be named: `roost -C DIR COMMAND`, or ROOST_ROOT=DIR.\n\n"
    "What the sizes and the region mean for running processes is in the manual (man roost, SIZES). The defaults suit almost "
    "everybody; they cannot be changed later.",
    options,
    run};
