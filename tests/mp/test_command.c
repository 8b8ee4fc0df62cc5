/* SPDX-License-Identifier: MIT
 * mp/test_command.c: the command, started once a write: 200 of them at the same moment. ROOST_BIN names it. */
#include "mp/mp.h"

enum { COMMANDS = 200 };
static struct mp_pipe go;

static int run_add(void *argument)
{
    char text[64];
    snprintf(text, sizeof text, "n%dn from a command", (int)(intptr_t)argument);
    mp_await(go, 'g');
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    execl(getenv("ROOST_BIN"), "roost", "-C", mp_root, "add", text, (char *)NULL);
    return 127;
}

static void two_hundred_adds_at_once(void)
{
    static pid_t pids[COMMANDS];
    go = mp_pipe();
    for (int i = 0; i < COMMANDS; i++) pids[i] = mp_start(run_add, (void *)(intptr_t)i);
    for (int i = 0; i < COMMANDS; i++) mp_tell(go, 'g');
    for (int i = 0; i < COMMANDS; i++) mp_finish(pids[i]);
    roost_root *root = mp_open();
    char region[256], word[16];
    CHECK(mp_region_path(region, sizeof region));
    CHECK(mp_stats(root).memory_count == COMMANDS);
    for (int i = 0; i < COMMANDS; i++) {
        snprintf(word, sizeof word, "n%dn", i);
        CHECK(mp_find(root, word, NULL) == 1);
    }
    mp_close(root);
    CHECK(access(region, F_OK) != 0);
    mp_check_root();
}

int main(int argc, char **argv)
{
    static const struct mp_case cases[] = {{"two_hundred_adds_at_once", two_hundred_adds_at_once}};
    if (!getenv("ROOST_BIN")) return 77;
    return mp_main(argc, argv, cases, 1);
}
