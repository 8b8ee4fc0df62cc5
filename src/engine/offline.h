/* SPDX-License-Identifier: MIT
 * engine/offline.h: a root in the making (layer 7), for backup, restore and rescue: complete, checked and durable before state.wal gets its
 * name, so that half of one is never taken for a root. */
#ifndef RST_ENGINE_OFFLINE_H
#define RST_ENGINE_OFFLINE_H

#include "engine/engine.h"

struct rst_offline {
    const char *path; /* the caller's */
    int directory, index_directory, blocks_directory;
    int log_file; /* without a name */
};
/* Makes the folder, or takes an empty one. ROOST_EEXIST: there is something in it. */
int rst_offline_begin(const char *path, struct rst_offline *ret_offline);
/* Makes the log from a header with the settings; it gets a uuid of its own. ring_from: rst_log_draft. */
int rst_offline_log(struct rst_offline *offline, struct rst_log_header *header, int ring_from);
/* A handle of it, with a region in this process's memory: to recover into (observer), or to build the index in. Free it with
 * rst_offline_release. */
int rst_offline_engine(const struct rst_offline *offline, bool observer, struct rst_engine **ret_engine);
void rst_offline_release(struct rst_engine *engine);
/* Reads all of it back and compares. What is found is told to `found`: ROOST_ECORRUPT, or 0 and how much it is when *ret_found_count is
 * given. *ret_memory_count (may be NULL). */
int rst_offline_verify(const struct rst_offline *offline, roost_found_fn found, void *user, uint64_t *ret_memory_count,
                       int *ret_found_count);
/* Gives state.wal its name: now it is a root. */
int rst_offline_finish(struct rst_offline *offline);
/* Closes everything; the files that were made are removed unless they became a root. */
void rst_offline_end(struct rst_offline *offline, bool finished);

#endif
