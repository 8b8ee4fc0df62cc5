/* SPDX-License-Identifier: MIT
 * store/manifest.h: index/MANIFEST and the segment files as files (layer 4). */
#ifndef RST_STORE_MANIFEST_H
#define RST_STORE_MANIFEST_H

#include "format/manifest.h"

/* ROOST_ENOENT: there is none (a root that was never checkpointed). */
int rst_manifest_read(int index_directory, struct rst_manifest *ret_manifest);
/* Makes the names in index/ durable: MANIFEST's own and those of the segments. */
int rst_manifest_sync(int index_directory);
/* Written new, synced, renamed, directory synced: after 0 it is durable (R7). After an error the old one stands, but if *ret_renamed nobody
 * knows which. */
int rst_manifest_write(int index_directory, const struct rst_manifest *manifest, bool *ret_renamed);
void rst_segment_name(uint64_t number, char ret_name[32]); /* "seg-7.idx" */
/* The number in such a name; false: a name that we do not give ("seg-07.idx" is somebody's copy). */
bool rst_segment_number(const char *name, uint64_t *ret_number);
/* Writes and syncs a segment file; a file of that name that MANIFEST does not know is overwritten. */
int rst_segment_write(int index_directory, uint64_t number, const struct rst_buffer *bytes);
/* Unlinks segment files that are not in the manifest (left by a crash, or merged away). */
void rst_segments_sweep(int index_directory, const struct rst_manifest *manifest);

#endif
