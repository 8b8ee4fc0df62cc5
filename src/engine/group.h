/* SPDX-License-Identifier: MIT
 * engine/group.h: what the files of a group commit share (layer 7): commit.c decides, frame.c writes, show.c applies, group.c takes from
 * the lanes and answers into them, requests.c serves what is not logged. All under commit_lock with the role held. */
#ifndef RST_ENGINE_GROUP_H
#define RST_ENGINE_GROUP_H

#include "engine/engine.h"

/* One submission of the group. */
struct rst_item {
    struct rst_lane_item lane;
    size_t offset, size; /* in engine->taken */
    uint32_t level;
    uint16_t request; /* enum rst_op_kind, or 0 for changes */
    struct rst_lane_answer answer;
    size_t first_result; /* in decide.results */
    uint32_t change_count;
    bool logged;
};

/* The terms of each record that is about to be applied, and the room that they need. */
struct rst_prepared {
    struct rst_terms *terms;
    size_t count;
    uint64_t need;
};

/* ---- group.c ---- */
struct rst_item *rst_item_at(struct rst_buffer *items, size_t index);
size_t rst_item_count(const struct rst_buffer *items);
/* Takes what waits, in each lane in order, up to what one frame can hold (a lone submission may be as large as any). */
int rst_group_gather(struct rst_engine *engine, struct rst_buffer *items);
/* Gives back the items from `from` on: whoever takes the role next finds them. */
void rst_group_put_back(struct rst_buffer *items, size_t from);
void rst_group_answer(struct rst_engine *engine, struct rst_buffer *items);

/* ---- requests.c ---- */
/* What can be answered without a frame. *ret_sync is raised when the answer must wait for a sync. */
void rst_request_serve(struct rst_engine *engine, struct rst_item *item, bool *ret_sync);

/* ---- frame.c ---- */
int rst_draft_view(struct rst_engine *engine, const struct rst_change_draft *draft, struct rst_record_view *ret_record);
bool rst_draft_external(const struct rst_engine *engine, const struct rst_change_draft *draft);
uint64_t rst_frame_log_room(const struct rst_engine *engine);
int rst_frame_write_records(struct rst_engine *engine);
int rst_frame_write_heads(struct rst_engine *engine);
int rst_frame_write(struct rst_engine *engine, struct rst_buffer *items, uint32_t flags);

/* ---- show.c ---- */
int rst_show_drafts(struct rst_engine *engine, const struct rst_reader *reader, struct rst_prepared *prepared);

#endif
