/* SPDX-License-Identifier: MIT
 * pass.c: ordered passes as commands show them: an entry that is damaged is named on stderr and left out. */
#include "cli.h"

#include <inttypes.h>

/* `what`: the entry; NULL: the pass ends here, as nobody knows what comes next. */
static void leave_out(struct cli_pass *pass, const char *what)
{
    cli_say("%s: left out: %s: %s", pass->context, what ? what : "all that follows", cli_detail(ROOST_ECORRUPT));
    pass->damaged_count++;
}

int cli_pass_memory(struct cli_pass *pass, roost_iter *iter, struct roost_memory *ret_memory)
{
    char what[40];
    for (;;) {
        *ret_memory = (struct roost_memory)ROOST_MEMORY_INIT;
        int got = roost_iter_memory(iter, ret_memory);
        if (got != ROOST_ECORRUPT) return got;
        snprintf(what, sizeof what, "memory %" PRIu64, ret_memory->id);
        leave_out(pass, ret_memory->id ? what : NULL);
    }
}

int cli_pass_item(struct cli_pass *pass, roost_iter *iter, bool stream, struct roost_item *ret_item)
{
    char what[ROOST_KEY_SIZE_MAX + 64], entry[40] = "key";
    for (;;) {
        *ret_item = (struct roost_item)ROOST_ITEM_INIT;
        int got = roost_iter_item(iter, ret_item);
        if (got != ROOST_ECORRUPT) return got;
        if (stream) snprintf(entry, sizeof entry, "entry %" PRIu64 " of stream", ret_item->index);
        snprintf(what, sizeof what, "%s \"%.*s\"", entry, (int)ret_item->key.size, (const char *)ret_item->key.data);
        leave_out(pass, ret_item->key.data ? what : NULL);
    }
}

int cli_pass_state(struct cli_pass *pass, roost_iter *iter, struct roost_state *ret_state)
{
    char what[ROOST_NAME_SIZE_MAX + 40];
    for (;;) {
        *ret_state = (struct roost_state)ROOST_STATE_INIT;
        int got = roost_iter_state(iter, ret_state);
        if (got != ROOST_ECORRUPT) return got;
        snprintf(what, sizeof what, "state of \"%.*s\"", (int)ret_state->name.size, (const char *)ret_state->name.data);
        leave_out(pass, ret_state->name.data ? what : NULL);
    }
}

int cli_pass_hit(struct cli_pass *pass, roost_hits *hits, struct roost_hit *ret_hit)
{
    char what[40];
    for (;;) {
        int got = roost_hits_next(hits, ret_hit);
        if (got != ROOST_ECORRUPT) return got;
        snprintf(what, sizeof what, "memory %" PRIu64, ret_hit->id);
        leave_out(pass, what);
    }
}

int cli_pass_end(const struct cli_pass *pass, int error)
{
    if (error < 0) return cli_fail(error, "%s", pass->context);
    if (!pass->damaged_count) return CLI_OK;
    cli_say("%s: %" PRIu64 " damaged entr%s left out; `roost check` lists what is hurt", pass->context, pass->damaged_count,
            pass->damaged_count == 1 ? "y was" : "ies were");
    return CLI_CORRUPT;
}
