/* SPDX-License-Identifier: MIT
 * engine/verify.h: what the files of check share (layer 7). */
#ifndef RST_ENGINE_VERIFY_H
#define RST_ENGINE_VERIFY_H

#include "engine/engine.h"

struct rst_findings {
    roost_found_fn found;
    void *user;
    int count;
    const char *file;
    bool index_unusable;      /* entries that cannot be found say nothing */
    struct rst_buffer places; /* u64: chunk << 32 | offset, of what was reported in the blocks */
};
/* Tells one; the words are this thread's error detail. err 0: a note, not counted. */
void rst_finding(struct rst_findings *findings, int err, const char *file, uint64_t offset);
void rst_finding_place(struct rst_findings *findings, int err, uint32_t chunk, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Was something in [from, end) of the chunk reported already? */
bool rst_findings_have(const struct rst_findings *findings, uint32_t chunk, uint64_t from, uint64_t end);
/* A name of the ordered map in words: key "x", entry 3 of stream "y". */
void rst_describe_name(struct roost_bytes key, char *ret_text, size_t size);

/* ---- scrub.c ---- */
/* Both headers, and every frame that is needed. */
int rst_scrub_log(struct rst_engine *engine, struct rst_findings *findings);
/* Every byte of the chunks; with a usable index: does it have each record that counts? */
int rst_scrub_blocks(struct rst_engine *engine, struct rst_findings *findings);

#endif
