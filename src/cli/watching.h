/* SPDX-License-Identifier: MIT
 * watching.h: what cmd_watch.c lends to cmd_state.c. */
#ifndef ROOST_CLI_WATCHING_H
#define ROOST_CLI_WATCHING_H

#include "cli.h"

enum { WATCHING_TOPIC_COUNT_MAX = 64 };
struct watching {
    struct roost_topic topics[WATCHING_TOPIC_COUNT_MAX];
    size_t topic_count;
    uint64_t count, timeout_ms; /* UINT64_MAX: no end */
    bool states_only;           /* show states as `state get` does, not events */
};
/* Adds a topic; too many end the program with a usage error. */
void watch_topic(struct cli *cli, struct watching *watching, uint32_t kind, const char *name);
/* Opens the root and shows events until the count, the time, Ctrl-C or the reader's end. Returns the exit code. */
int watch_topics(struct cli *cli, const struct watching *watching);
void put_state(const struct cli *cli, const struct roost_state *state);

#endif
