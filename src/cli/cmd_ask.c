/* SPDX-License-Identifier: MIT
 * cmd_ask.c: roost rest, sync, checkpoint: what the process that writes is asked to do. */
#include "cli.h"

static int ask(struct cli *cli, int (*work)(roost_root *), const char *done)
{
    cli_no_options(cli, 0, 0);
    int code = cli_open(cli, CLI_WRITING);
    if (code) return code;
    int error = work(cli->root);
    if (error < 0) return cli_fail(error, "%s", cli->command->name);
    if (!cli->json) {
        puts(done);
        return CLI_OK;
    }
    struct json_writer writer = json_writer(stdout);
    json_open(&writer, NULL, '{');
    json_bool(&writer, "ok", true);
    json_close(&writer, '}');
    json_line_end(&writer);
    return CLI_OK;
}

static int run_rest(struct cli *cli) { return ask(cli, roost_rest, "the writer lets its role rest as soon as it can"); }
const struct cli_command command_rest = {"rest",
                                         "",
                                         "Ask the process that writes to let its role rest",
                                         "Then another process can take the role, also from one that holds it for as long as it "
                                         "lives (ROOST_OPEN_HOLD). The role rests "
                                         "by itself after a moment without work; nothing is lost or stopped by asking. A stopped "
                                         "process cannot be asked: `roost doctor` "
                                         "names it.",
                                         NULL,
                                         run_rest};

static int run_sync(struct cli *cli) { return ask(cli, roost_sync, "all that could be seen is on the disk"); }
const struct cli_command command_sync = {
    "sync",
    "",
    "Return when everything that can be seen is on the disk",
    "Needed only after writes with --level process, which are on the disk within a second anyway.",
    NULL,
    run_sync};

static int run_checkpoint(struct cli *cli)
{
    return ask(cli, roost_checkpoint, "what was only in the log is in files of the index; the log is free");
}
const struct cli_command command_checkpoint = {"checkpoint",
                                               "",
                                               "Write the newest part of the index into a file and free the log",
                                               "Happens by itself; useful before the directory is copied.",
                                               NULL,
                                               run_checkpoint};
