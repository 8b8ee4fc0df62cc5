/* SPDX-License-Identifier: MIT
 * engine/group.c: the submissions of one group commit: taken from the lanes, answered into them (layer 7). */
#include <string.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/group.h"

enum { GROUP_COUNT_MAX = 4096 }; /* submissions in one group */

struct rst_item *rst_item_at(struct rst_buffer *items, size_t index) { return (struct rst_item *)(void *)items->data + index; }
size_t rst_item_count(const struct rst_buffer *items) { return items->size / sizeof(struct rst_item); }

static void examine(struct rst_engine *engine, struct rst_item *item)
{
    const uint8_t *bytes = item->size ? engine->taken.data + item->offset : NULL; /* damaged ones alone leave no buffer */
    if (!item->size || rst_submission_check(bytes, item->size) < 0) {
        item->answer.result = ROOST_ECORRUPT;
        return;
    }
    struct rst_submission_header header;
    struct rst_op op;
    memcpy(&header, bytes, sizeof header);
    memcpy(&op, bytes + sizeof header, sizeof op);
    item->level = header.level;
    item->change_count = header.op_count;
    if (op.kind >= RST_OP_STATE_CLAIM) item->request = op.kind;
}

/* Takes what waits, in each lane in order, up to what one frame can hold (a lone submission may be as large as any). */
int rst_group_gather(struct rst_engine *engine, struct rst_buffer *items)
{
    uint64_t budget = rst_lane_submission_max(rst_commit_region(engine)) / 2;
    uint32_t high = rst_load_seq_u32(&rst_commit_region(engine)->header->participant_high);
    rst_buffer_clear(&engine->taken);
    for (uint32_t slot = 0; slot < high && slot < RST_SLOT_COUNT; slot++) {
        if (!rst_lane_waiting(rst_commit_region(engine), slot)) continue;
        uint64_t after = rst_load_u64(&rst_lane_of(rst_commit_region(engine), slot)->consumed);
        for (;;) {
            struct rst_item item;
            memset(&item, 0, sizeof item);
            item.offset = engine->taken.size;
            int got = rst_lane_take(rst_commit_region(engine), slot, after, &engine->taken, &item.lane, &item.size);
            if (got < 0) return got;
            if (!got) break;
            if (rst_item_count(items) && (engine->taken.size > budget || rst_item_count(items) >= GROUP_COUNT_MAX)) {
                rst_lane_put_back(&item.lane);
                engine->taken.size = item.offset;
                return 0;
            }
            after = item.lane.sequence;
            examine(engine, &item);
            engine->taken.size = rst_align_up(engine->taken.size, 8);
            if (!rst_buffer_reserve(&engine->taken, 8)) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
            rst_buffer_add(items, &item, sizeof item);
            if (items->failed) return rst_fail(ROOST_ENOMEM, "no memory for a commit");
        }
    }
    return 0;
}

void rst_group_put_back(struct rst_buffer *items, size_t from)
{
    for (size_t i = rst_item_count(items); i-- > from;) rst_lane_put_back(&rst_item_at(items, i)->lane);
    items->size = from * sizeof(struct rst_item);
}

static void answer_item(struct rst_engine *engine, struct rst_item *item)
{
    if (!item->request || item->request == RST_OP_STATE_STORE) {
        struct rst_client_record record = {item->lane.client, item->lane.sequence, item->answer.lsn,
                                           item->answer.id,   item->answer.result, 0};
        rst_client_remember(engine, (int)item->lane.slot, &record);
    }
    rst_lane_answer(rst_commit_region(engine), &item->lane, &item->answer);
}

void rst_group_answer(struct rst_engine *engine, struct rst_buffer *items)
{
    for (size_t i = 0; i < rst_item_count(items); i++) {
        struct rst_item *item = rst_item_at(items, i);
        if (!item->request && !item->answer.result) {
            item->answer.results = (const uint64_t *)(const void *)engine->decide.results.data + item->first_result;
            item->answer.result_count = item->change_count;
        }
        answer_item(engine, item);
    }
    for (size_t i = 0; i < rst_item_count(items); i++)
        if (i + 1 == rst_item_count(items) || rst_item_at(items, i)->lane.slot != rst_item_at(items, i + 1)->lane.slot)
            rst_lane_wake(rst_commit_region(engine), rst_item_at(items, i)->lane.slot);
}
