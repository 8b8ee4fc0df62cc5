/* SPDX-License-Identifier: MIT
 * main.c: the `roost` command: finds the sub-command, runs it, closes the root, and says what stdout could not take. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_command *const cli_commands[] = {
    &command_init,
    &command_add,
    &command_get,
    &command_list,
    &command_recent,
    &command_search,
    &command_forget,
    &command_kv_set,
    &command_kv_get,
    &command_kv_delete,
    &command_kv_list,
    &command_kv_cas,
    &command_stream_append,
    &command_stream_read,
    &command_stream_follow,
    &command_stream_info,
    &command_stream_list,
    &command_state_set,
    &command_state_get,
    &command_state_list,
    &command_state_watch,
    &command_watch,
    &command_stat,
    &command_doctor,
    &command_check,
    &command_rebuild,
    &command_checkpoint,
    &command_settle,
    &command_rest,
    &command_sync,
    &command_backup,
    &command_restore,
    &command_rescue,
    &command_export,
    &command_import,
    &command_mcp,
    &command_hook_session_start,
    &command_hook_user_prompt,
    &command_hook_post_tool,
    &command_hook_stop,
    &command_version,
    &command_help,
    NULL,
};

static void overall_help(void)
{
    printf("roost: shared memory for a flock of AI agents. One directory, many processes, no server.\n\n"
           "Usage: roost [-C DIR] COMMAND [OPTION]... [ARGUMENT]...\n\n"
           "Start with `roost init`, then `roost add \"something worth knowing\"` and `roost search "
           "knowing`.\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i]; i++) printf("  %-18s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    printf("\nCommon options:\n");
    cli_option_help(cli_common_options);
    cli_exit_codes_line();
    printf("\nMore about one command: `roost COMMAND --help`. The manual: `man roost`.\n");
}

/* "kv" of "kv set": is the word the first of some commands? Prints them if asked. */
static bool family(const char *word, bool print)
{
    size_t size = strlen(word);
    bool found = false;
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strncmp(cli_commands[i]->name, word, size) != 0 || cli_commands[i]->name[size] != ' ') continue;
        found = true;
        if (print) printf("  %-18s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    return found;
}

static const struct cli_command *find_command(const char *first, const char *second)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        const char *name = cli_commands[i]->name, *blank = strchr(name, ' ');
        if (!blank && strcmp(name, first) == 0) return cli_commands[i];
        if (blank && second && strlen(first) == (size_t)(blank - name) && strncmp(name, first, (size_t)(blank - name)) == 0 &&
            strcmp(blank + 1, second) == 0)
            return cli_commands[i];
    }
    return NULL;
}

/* What people call things elsewhere. */
static const struct {
    const char *word, *meant[2];
} synonyms[] = {
    {"find", {"search", NULL}},
    {"grep", {"search", NULL}},
    {"query", {"search", NULL}},
    {"ls", {"list", NULL}},
    {"dir", {"list", NULL}},
    {"all", {"list", NULL}},
    {"log", {"recent", "watch"}},
    {"last", {"recent", NULL}},
    {"show", {"get", NULL}},
    {"cat", {"get", NULL}},
    {"read", {"get", "stream read"}},
    {"delete", {"forget", "kv delete"}},
    {"del", {"forget", "kv delete"}},
    {"rm", {"forget", "kv delete"}},
    {"remove", {"forget", "kv delete"}},
    {"put", {"add", "kv set"}},
    {"set", {"kv set", "state set"}},
    {"append", {"add", "stream append"}},
    {"store", {"add", NULL}},
    {"remember", {"add", NULL}},
    {"save", {"add", NULL}},
    {"new", {"init", "add"}},
    {"create", {"init", NULL}},
    {"cas", {"kv cas", NULL}},
    {"keys", {"kv list", NULL}},
    {"streams", {"stream list", NULL}},
    {"states", {"state list", NULL}},
    {"agents", {"state list", NULL}},
    {"tail", {"stream follow", "watch"}},
    {"follow", {"stream follow", "watch"}},
    {"status", {"stat", "doctor"}},
    {"info", {"stat", NULL}},
    {"stats", {"stat", NULL}},
    {"verify", {"check", NULL}},
    {"fsck", {"check", NULL}},
    {"reindex", {"rebuild", NULL}},
    {"dump", {"export", NULL}},
    {"load", {"import", NULL}},
    {"flush", {"sync", "checkpoint"}},
    {"kv put", {"kv set", NULL}},
    {"kv add", {"kv set", NULL}},
    {"kv ls", {"kv list", NULL}},
    {"kv rm", {"kv delete", NULL}},
    {"kv del", {"kv delete", NULL}},
    {"kv remove", {"kv delete", NULL}},
    {"kv show", {"kv get", NULL}},
    {"kv scan", {"kv list", NULL}},
    {"stream add", {"stream append", NULL}},
    {"stream get", {"stream read", NULL}},
    {"stream ls", {"stream list", NULL}},
    {"stream put", {"stream append", NULL}},
    {"stream tail", {"stream follow", NULL}},
    {"stream watch", {"stream follow", NULL}},
    {"state ls", {"state list", NULL}},
    {"state show", {"state get", NULL}},
    {"state publish", {"state set", NULL}},
    {"state put", {"state set", NULL}},
};

static void suggest_synonym(const struct cli *cli, const char *word)
{
    for (size_t i = 0; i < sizeof synonyms / sizeof synonyms[0]; i++) {
        const char *const *meant = synonyms[i].meant;
        if (strcmp(synonyms[i].word, word) != 0) continue;
        if (meant[1])
            cli_usage(cli, "there is no command \"%s\": did you mean `roost %s` or `roost %s`?", word, meant[0], meant[1]);
        cli_usage(cli, "there is no command \"%s\": did you mean `roost %s`?", word, meant[0]);
    }
}

static _Noreturn void unknown_command(const struct cli *cli, const char *first, const char *second)
{
    const char *names[64];
    char word[128];
    size_t count = 0;
    for (size_t i = 0; cli_commands[i] && count < 64; i++) names[count++] = cli_commands[i]->name;
    snprintf(word, sizeof word, "%s%s%s", first, second ? " " : "", second ? second : "");
    suggest_synonym(cli, word);
    const char *near = cli_nearest(word, names, count);
    if (near) cli_usage(cli, "there is no command \"%s\": did you mean `roost %s`?", word, near);
    cli_usage(cli, "there is no command \"%s\"", word);
}

static int family_help(const char *word)
{
    printf("Usage: roost %s COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n", word);
    family(word, true);
    printf("\nMore about one: `roost %s COMMAND --help`.\n", word);
    return CLI_OK;
}

static bool asks_for_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

/* Reads the global options and the command's name. A command, or NULL with the exit code of the help that was shown. */
static const struct cli_command *choose(struct cli *cli, int *ret_code)
{
    const char *first = NULL, *second = NULL;
    *ret_code = CLI_OK;
    while (!cli->operand_count && cli->argument_at < cli->argument_count) {
        if (strcmp(cli->arguments[cli->argument_at], "--version") == 0) return &command_version;
        if (cli_next(cli) == CLI_ID_HELP) {
            overall_help();
            return NULL;
        }
    }
    if (!cli->operand_count) {
        overall_help();
        *ret_code = CLI_USAGE;
        return NULL;
    }
    first = cli->operands[0];
    cli->operand_count = 0;
    cli->operands_only = false;
    if (!family(first, false)) {
        const struct cli_command *command = find_command(first, NULL);
        if (!command) unknown_command(cli, first, NULL);
        return command;
    }
    if (cli->argument_at < cli->argument_count) second = cli->arguments[cli->argument_at++];
    if (!second || asks_for_help(second)) {
        *ret_code = second ? CLI_OK : CLI_USAGE;
        family_help(first);
        return NULL;
    }
    const struct cli_command *command = find_command(first, second);
    if (!command) unknown_command(cli, first, second);
    return command;
}

int main(int argc, char **argv)
{
    struct cli cli = {.arguments = argv + 1, .argument_count = argc > 0 ? argc - 1 : 0};
    int code = CLI_OK;
    cli_output_start();
    cli.operands = calloc((size_t)argc + 1, sizeof *cli.operands);
    if (!cli.operands) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    const struct cli_command *command = choose(&cli, &code);
    cli.command = command;
    if (command) code = command->run(&cli);
    if (cli.root) {
        int error = roost_close(cli.root);
        if (error < 0 && !code) code = cli_fail(error, "closing %s", cli.root_path);
    }
    /* A reader that had enough (head) is no failure; a full disk behind stdout is. */
    if (!cli_output_flush() && !cli_output_closed() && !code) code = CLI_FAILED;
    free(cli.root_path);
    free(cli.operands);
    return code;
}

/* ---- version and help -------------------------------------------------------------------------------------------- */

static int run_version(struct cli *cli)
{
    /* `roost --version` comes here with that word still unread. */
    if (cli->argument_at < cli->argument_count && strcmp(cli->arguments[cli->argument_at], "--version") == 0) cli->argument_at++;
    cli_no_options(cli, 0, 0);
    if (!cli->json) {
        printf("roost %s\n", roost_version());
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_text(&writer, "version", roost_version());
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}
const struct cli_command command_version = {"version", "", "Show the version", NULL, NULL, run_version};

static int run_help(struct cli *cli)
{
    cli_no_options(cli, 0, 2);
    const char *first = cli->operand_count ? cli->operands[0] : NULL;
    const char *second = cli->operand_count > 1 ? cli->operands[1] : NULL;
    if (!first) {
        overall_help();
        return CLI_OK;
    }
    if (strcmp(first, "exit-codes") == 0) {
        printf("Exit codes of roost, stable for scripts:\n\n");
        cli_print_exit_codes(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = find_command(first, second);
    if (command) {
        cli_command_help(command);
        return CLI_OK;
    }
    if (!second && family(first, false)) return family_help(first);
    unknown_command(cli, first, second);
}
const struct cli_command command_help = {
    "help", "[COMMAND | exit-codes]", "Show help about a command, or the table of exit codes", NULL, NULL, run_help};
