/* SPDX-License-Identifier: MIT
 * engine/notify.h: descriptors for event loops (layer 7). One thread a process sleeps on the words of all of them, and makes a descriptor
 * readable when one of its words changed. */
#ifndef RST_ENGINE_NOTIFY_H
#define RST_ENGINE_NOTIFY_H

#include "engine/engine.h"

enum rst_notify_on {
    RST_NOTIFY_COMMITS = 1 << 0,
    RST_NOTIFY_STATES = 1 << 1,
    RST_NOTIFY_GENERATION = 1 << 2,
    RST_NOTIFY_COMPLETIONS = 1 << 3, /* of this handle's submissions */
};
struct rst_notify;
/* on: enum rst_notify_on. Starts the thread if there is none. */
int rst_notify_open(struct rst_engine *engine, uint32_t on, struct rst_notify **ret_notify);
/* Ends the thread with the last one. NULL is allowed. */
void rst_notify_close(struct rst_notify *notify);
int rst_notify_file(const struct rst_notify *notify);
/* Whoever found nothing calls this and looks once more: what changes from here on makes the descriptor readable; until then it is not. */
void rst_notify_arm(struct rst_notify *notify);
/* Makes it readable until it is armed again. For whoever knows that there is something (any thread), and for him who found something in
 * that second look: there may be more. */
void rst_notify_signal(struct rst_notify *notify);

/* For fork (handles.c): the child has no such thread, and its handles are of no use. */
void rst_notify_before_fork(void);
void rst_notify_after_fork(bool child);

#endif
