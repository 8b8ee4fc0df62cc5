/* SPDX-License-Identifier: MIT
 * mcp/hook.h: what the hooks for coding agents share.
 *
 * A client runs a hook at a certain moment, gives it one JSON object on stdin, and puts what it prints into the model's context. A hook
 * must be quick, must never hold the agent up and never break it: whatever goes wrong, it prints nothing, says why on stderr, and ends
 * with 1 (2 would stop the agent). */
#ifndef ROOST_MCP_HOOK_H
#define ROOST_MCP_HOOK_H

#include "cli/cli.h"

struct hook {
    struct cli *cli;
    const char *event; /* as clients name it */
    struct rst_json_document document;
    char *input;
    struct roost_bytes agent, session;
    char process[64], own_session[64];
    /* What goes into the context: at most so many bytes. Nothing is printed before all is well. */
    size_t budget;
    FILE *out;
    char *text;
    size_t size;
};

/* Reads options and stdin, finds the root and opens it. 0; an exit code; or HOOK_NOTHING: no root is there, so nothing is known. */
enum { HOOK_NOTHING = -1 };
enum hook_purpose { HOOK_READS, HOOK_WRITES };
int hook_begin(struct hook *hook, struct cli *cli, const char *event, enum hook_purpose purpose, size_t token_count);
/* Prints what was gathered, if all went well. */
int hook_end(struct hook *hook, int code);
/* A string of the input; size 0 if it is not there. */
struct roost_bytes hook_text(const struct hook *hook, const char *name);

/* Adds a line if there is room for all of it. */
bool hook_put(struct hook *hook, const char *line, size_t size);
/* Adds one memory as a quotation, cut if it is long. False: there is no room any more. */
bool hook_put_memory(struct hook *hook, const struct roost_memory *memory);

#endif
