/* SPDX-License-Identifier: MIT
 * model/apply.h: records become index entries (layer 6).
 * One deterministic function, used live and in recovery. Applying again what was applied changes nothing (R21). */
#ifndef RST_MODEL_APPLY_H
#define RST_MODEL_APPLY_H

#include "format/record.h"
#include "index/analysis.h"
#include "index/live.h"

/* What a record does to the root's totals. */
struct rst_delta {
    int64_t memory_count, token_count;
    uint64_t id_max;
};

/* Analyses a memory's record into terms (others: nothing to do) and says how much of an arena its apply may take. */
int rst_apply_prepare(struct rst_analyzer *analyzer, const struct rst_record_view *record, struct rst_terms *terms,
                      uint64_t *ret_need);
/* segments: all, oldest first, to find out how long a memory was that goes. The arena has room for `need`. */
int rst_apply_record(struct rst_live *live, const struct rst_segment *const *segments, size_t segment_count,
                     const struct rst_record_view *record, const struct rst_place *place, const struct rst_terms *terms,
                     struct rst_delta *delta);

#endif
