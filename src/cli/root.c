/* SPDX-License-Identifier: MIT
 * root.c: which root is meant, and opening it. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static char *join(const char *directory, const char *name)
{
    char *path = NULL;
    const char *slash = directory[0] && directory[strlen(directory) - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", directory, slash, name) < 0 ? NULL : path;
}

/* The nearest .roost at or above the current directory, as git looks for .git; NULL if there is none. */
static char *nearest_root(void)
{
    char *directory = getcwd(NULL, 0);
    while (directory) {
        char *path = join(directory, ".roost");
        if (path && is_directory(path)) {
            free(directory);
            return path;
        }
        free(path);
        char *slash = strrchr(directory, '/');
        if (!slash || directory[1] == '\0') break;
        slash[slash == directory ? 1 : 0] = '\0';
    }
    free(directory);
    return NULL;
}

int cli_find_root(struct cli *cli)
{
    const char *environment = getenv("ROOST_ROOT");
    free(cli->root_path);
    cli->root_path = NULL;
    if (cli->directory) {
        cli->root_path = strdup(cli->directory);
        cli->root_found_by = "-C";
    } else if (environment && *environment) {
        cli->root_path = strdup(environment);
        cli->root_found_by = "ROOST_ROOT";
    } else {
        cli->root_path = nearest_root();
        cli->root_found_by = "nearest .roost";
        if (!cli->root_path) {
            cli_say("there is no root here: no .roost in this directory or above it; make one with `roost init`, or "
                    "name one with "
                    "-C DIR or ROOST_ROOT");
            return CLI_NO_ROOT;
        }
    }
    if (cli->root_path) return CLI_OK;
    cli_say("out of memory");
    return CLI_FAILED;
}

/* Reading works without the right to write: then we watch from outside, as an observer. */
static bool may_write(const char *root_path)
{
    char *log = join(root_path, "state.wal");
    bool writable = access(root_path, W_OK) == 0 && (!log || access(log, W_OK) == 0 || errno == ENOENT);
    free(log);
    return writable;
}

int cli_try_open(struct cli *cli, enum cli_purpose purpose)
{
    struct roost_options options = ROOST_OPTIONS_INIT;
    options.wait_ms = cli->wait_ms;
    options.level = cli->level;
    cli->observing = purpose == CLI_READING && !may_write(cli->root_path);
    if (cli->observing) options.flags |= ROOST_OPEN_OBSERVE;
    return roost_open(cli->root_path, &options, &cli->root);
}

int cli_open(struct cli *cli, enum cli_purpose purpose)
{
    int code = cli_find_root(cli);
    if (code) return code;
    int error = cli_try_open(cli, purpose);
    if (error >= 0) return CLI_OK;
    char *inner = error == ROOST_ENOROOT ? join(cli->root_path, ".roost") : NULL;
    if (inner && is_directory(inner))
        cli_say("%s is not a root, but %s may be one: name that with -C or ROOST_ROOT", cli->root_path, inner);
    else
        cli_fail(error, NULL);
    free(inner);
    return cli_exit_code(error);
}

struct roost_write cli_write_options(const struct cli *cli)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = cli->level;
    write.wait_ms = cli->wait_ms;
    return write;
}
