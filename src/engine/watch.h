/* SPDX-License-Identifier: MIT
 * engine/watch.h: sleeping on changes (layer 7). A watch reads: it takes no slot, writes nothing, works on a read-only mapping. */
#ifndef RST_ENGINE_WATCH_H
#define RST_ENGINE_WATCH_H

#include "engine/engine.h"

struct rst_watch;
int rst_watch_open(struct rst_engine *engine, const struct roost_topic *topics, size_t count, struct rst_watch **ret_watch);
int rst_watch_wait(struct rst_watch *watch, uint32_t wait_ms, struct roost_event *ret_event);
/* A descriptor for event loops: readable when rst_watch_wait(watch, 0, ...) may find something. The watch's own; closed with it. */
int rst_watch_file(struct rst_watch *watch, int *ret_file);
void rst_watch_close(struct rst_watch *watch);

#endif
