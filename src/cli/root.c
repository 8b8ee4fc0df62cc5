/* SPDX-License-Identifier: MIT
 * root.c: which root is meant, and opening it. */
#include "cli.h"

#include <dirent.h>
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

static bool is_link(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

/* The nearest .roost at or above the current directory, as git looks for .git; NULL if there is none. */
static char *nearest_root(void)
{
    char *directory = getcwd(NULL, 0);
    while (directory) {
        char *path = join(directory, ".roost");
        if (path && (is_directory(path) || is_link(path))) {
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

char *cli_resolve(const char *path, char *ret_problem, size_t problem_size)
{
    char *plain = strdup(path), target[4096];
    if (!plain) {
        snprintf(ret_problem, problem_size, "out of memory");
        return NULL;
    }
    for (size_t size = strlen(plain); size > 1 && plain[size - 1] == '/'; size--) plain[size - 1] = '\0';
    if (!is_link(plain)) {
        free(plain);
        return strdup(path);
    }
    char *resolved = realpath(plain, NULL);
    if (!resolved) {
        int error_number = errno;
        ssize_t size = readlink(plain, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = '\0';
        snprintf(ret_problem, problem_size, "%s is a symbolic link to %s: %s; %sgive the root's own path", plain,
                 size < 0 ? "something" : target, error_number == ENOENT ? "there is no such folder" : strerror(error_number),
                 error_number == ENOENT ? "make that folder, or " : "");
    }
    free(plain);
    return resolved;
}

/* $XDG_DATA_HOME/roost, or ~/.local/share/roost; make: and its parents are made. NULL with errno. */
static char *default_root(bool make)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char *parent = NULL;
    if (data && data[0] == '/')
        parent = strdup(data);
    else if (home && home[0] == '/')
        parent = join(home, ".local/share");
    else
        errno = ENOENT;
    bool made = parent != NULL;
    for (char *slash = parent; make && made && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash) *slash = '\0';
        made = mkdir(parent, 0700) == 0 || errno == EEXIST;
        if (slash) *slash = '/';
    }
    char *path = made ? join(parent, "roost") : NULL;
    free(parent);
    return path;
}

static int no_root_here(char *ret_problem, size_t problem_size)
{
    char *own = default_root(false), quoted[CLI_QUOTED_SIZE];
    if (access("state.wal", F_OK) == 0)
        snprintf(
            ret_problem, problem_size,
            "there is no .roost in this directory or above it, but this directory may be a root itself: name it with `roost -C . "
            "...` or ROOST_ROOT");
    else if (own && is_directory(own))
        snprintf(
            ret_problem, problem_size,
            "there is no .roost in this directory or above it; what your AI clients share is in %s: look with `roost -C %s ...`, "
            "or make a root for this directory with `roost init`",
            own, cli_quoted(own, quoted));
    else
        snprintf(
            ret_problem, problem_size,
            "there is no root here: no .roost in this directory or above it; make one with `roost init`, or name one with -C "
            "DIR or ROOST_ROOT");
    free(own);
    return CLI_NO_ROOT;
}

int cli_locate_root(struct cli *cli, char *ret_problem, size_t problem_size)
{
    const char *environment = getenv("ROOST_ROOT");
    char *given;
    free(cli->root_path);
    cli->root_path = NULL;
    if (cli->directory) {
        given = strdup(cli->directory);
        cli->root_found_by = "-C";
    } else if (environment && *environment) {
        given = strdup(environment);
        cli->root_found_by = "ROOST_ROOT";
    } else {
        given = nearest_root();
        cli->root_found_by = "nearest .roost";
        if (!given) return no_root_here(ret_problem, problem_size);
    }
    snprintf(ret_problem, problem_size, "out of memory");
    if (given) cli->root_path = cli_resolve(given, ret_problem, problem_size);
    free(given);
    return cli->root_path ? CLI_OK : CLI_NO_ROOT;
}

static bool holds(const char *directory, const char *name)
{
    char *path = join(directory, name);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

static bool has_entries(const char *directory)
{
    DIR *list = opendir(directory);
    bool any = false;
    for (struct dirent *entry; list && !any && (entry = readdir(list));)
        any = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (list) closedir(list);
    return any;
}

/* Somebody named a folder, perhaps a project: the root may be in its .roost, and it must not be strewn with a root's files. */
static int look_into(struct cli *cli)
{
    char *inner = NULL;
    if (holds(cli->root_path, "state.wal") || !is_directory(cli->root_path)) return CLI_OK;
    if (holds(cli->root_path, ".roost")) inner = join(cli->root_path, ".roost");
    if (inner) {
        free(cli->root_path);
        cli->root_path = inner;
        return CLI_OK;
    }
    if (!has_entries(cli->root_path)) return CLI_OK;
    cli_say("%s has other files in it and is no root: name %s/.roost, which is made then", cli->root_path, cli->root_path);
    return CLI_NO_ROOT;
}

/* For logs that somebody reads elsewhere. */
static void make_absolute(struct cli *cli)
{
    char *here = cli->root_path[0] == '/' ? NULL : getcwd(NULL, 0), *path = here ? join(here, cli->root_path) : NULL;
    free(here);
    if (!path) return;
    free(cli->root_path);
    cli->root_path = path;
}

int cli_find_or_default_root(struct cli *cli)
{
    char what[4096 + 256];
    const char *environment = getenv("ROOST_ROOT");
    bool named = cli->directory || (environment && *environment);
    int code = cli_locate_root(cli, what, sizeof what);
    if (code && !named) {
        cli->root_path = default_root(true);
        cli->root_found_by = "no other was named";
        code = cli->root_path ? CLI_OK : code;
        if (code)
            snprintf(what, sizeof what,
                     "no root was named, and the default one, $XDG_DATA_HOME/roost or ~/.local/share/roost, cannot be made: %s",
                     strerror(errno));
    }
    if (code) {
        cli_say("%s", what);
        return code;
    }
    make_absolute(cli);
    return named ? look_into(cli) : CLI_OK;
}

int cli_find_root(struct cli *cli)
{
    char what[4096 + 256];
    int code = cli_locate_root(cli, what, sizeof what);
    if (code) cli_say("%s", what);
    return code;
}

static bool found_by_environment(const struct cli *cli) { return strcmp(cli->root_found_by, "ROOST_ROOT") == 0; }

void cli_no_root(const struct cli *cli, char *ret_problem, size_t problem_size)
{
    const char *path = cli->root_path, *named = found_by_environment(cli) ? ", which ROOST_ROOT names" : "";
    char *inner = join(path, ".roost"), *blocks = join(path, "blocks"), *index = join(path, "index"), quoted[CLI_QUOTED_SIZE];
    if ((blocks && has_entries(blocks)) || (index && holds(index, "MANIFEST")))
        snprintf(ret_problem, problem_size, "%s", cli_detail(ROOST_ENOROOT)); /* the library knows what happened to it */
    else if (inner && is_directory(inner))
        snprintf(ret_problem, problem_size, "%s is not a root%s, but %s may be one: name that with -C or ROOST_ROOT", path, named,
                 inner);
    else
        snprintf(ret_problem, problem_size, "there is no %s %s%s; `roost -C %s init` makes a root there",
                 is_directory(path) ? "root in" : "folder", path, named, cli_quoted(path, quoted));
    free(inner);
    free(blocks);
    free(index);
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
    cli->observing = cli->observe || (purpose == CLI_READING && !may_write(cli->root_path));
    if (cli->observing) options.flags |= ROOST_OPEN_OBSERVE;
    return roost_open(cli->root_path, &options, &cli->root);
}

int cli_open(struct cli *cli, enum cli_purpose purpose)
{
    if (cli->observe && purpose == CLI_WRITING) {
        cli_say("%s needs to write or to ask the writer, and --observe only looks: leave --observe out", cli->command->name);
        return CLI_NOT_ALLOWED;
    }
    int code = cli_find_root(cli);
    if (code) return code;
    int error = cli_try_open(cli, purpose);
    if (error >= 0) {
        /* Who writes is refused, and told then. */
        if (purpose == CLI_READING && roost_health(cli->root) == ROOST_EDAMAGED) cli_say("warning: %s", roost_error_detail());
        return CLI_OK;
    }
    if (error == ROOST_ENOROOT) {
        char what[3 * 4096];
        cli_no_root(cli, what, sizeof what);
        cli_say("%s", what);
        return CLI_NO_ROOT;
    }
    return found_by_environment(cli) ? cli_fail(error, "the root that ROOST_ROOT names") : cli_fail(error, NULL);
}

struct roost_write cli_write_options(const struct cli *cli)
{
    struct roost_write write = ROOST_WRITE_INIT;
    write.level = cli->level;
    write.wait_ms = cli->wait_ms;
    return write;
}
