/* SPDX-License-Identifier: MIT
 * model/decide.h: operations become records, once (layer 6).
 * Whatever depends on the moment (versions, expiry, which memory a key replaces, numbers, places) is decided here under the
 * commit mutex and stored in the record; recovery and heirs replay the outcome (R22). */
#ifndef RST_MODEL_DECIDE_H
#define RST_MODEL_DECIDE_H

#include "format/log.h"
#include "format/submission.h"
#include "index/view.h"
#include "model/overlay.h"
#include "store/blocks.h"

/* One record of the commit being decided. */
struct rst_change_draft {
    struct rst_place place;
    size_t offset;        /* of its struct rst_frame_entry in `entries` */
    uint32_t inline_size; /* of the record as it stands behind it */
    uint16_t kind;
};
struct rst_decide {
    const struct rst_view *view;
    struct rst_blocks *blocks;
    int64_t now_ns;
    uint64_t epoch, lsn_next, id_next; /* advanced */
    uint32_t chunk;                    /* where the next record goes; advanced */
    uint64_t chunk_tail;
    struct rst_overlay overlay;
    struct rst_buffer entries; /* frame entries with their records */
    struct rst_buffer drafts;  /* struct rst_change_draft */
    struct rst_buffer results; /* u64 for each operation: id, stream index or 0 */
    uint32_t failed_index;     /* of the operation that failed last */
    uint64_t actual;           /* ROOST_EMISMATCH: the key's version */
};
struct rst_decide_mark {
    size_t overlay, entries, drafts, results;
    uint64_t lsn_next, id_next, chunk_tail;
    uint32_t chunk;
};

void rst_decide_begin(struct rst_decide *decide); /* empties the buffers; the caller sets the rest */
void rst_decide_free(struct rst_decide *decide);
void rst_decide_mark(const struct rst_decide *decide, struct rst_decide_mark *ret_mark);
void rst_decide_undo(struct rst_decide *decide, const struct rst_decide_mark *mark);
/* All operations of one submission (checked before), or none: on failure everything is as before it. */
int rst_decide_submission(struct rst_decide *decide, const uint8_t *bytes);
/* A record that nobody submitted: a state that changed, the end of an epoch. */
int rst_decide_record(struct rst_decide *decide, const struct rst_record *record, struct roost_bytes fields,
                      struct roost_bytes payload);
static inline size_t rst_decide_count(const struct rst_decide *decide)
{
    return decide->drafts.size / sizeof(struct rst_change_draft);
}
const struct rst_change_draft *rst_decide_draft(const struct rst_decide *decide, size_t index);
const uint8_t *rst_decide_bytes(const struct rst_decide *decide, const struct rst_change_draft *draft); /* the record */

#endif
