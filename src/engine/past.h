/* SPDX-License-Identifier: MIT
 * engine/past.h: what an index that is about to be replaced, or that lies in a damaged root, still knows (layer 7).
 *
 * Segments are derived, so nothing in them is needed while the blocks are whole. Where records are damaged they are a second witness: of
 * what there was (so that it is missed by name, not silently), and of what was forgotten. Each section has its own checksum: what can
 * be read is true. */
#ifndef RST_ENGINE_PAST_H
#define RST_ENGINE_PAST_H

#include "format/manifest.h"
#include "index/sealed.h"
#include "index/view.h"

struct rst_past {
    size_t count;
    struct rst_sealed *sealed;
    const struct rst_segment **list;
    void **data;
    uint64_t *size;
    bool copied;          /* data was read into memory; else it is mapped */
    bool whole;           /* MANIFEST and every byte of every segment it names are right */
    uint64_t covered_lsn; /* of MANIFEST; 0 without one */
};
/* Opens what can be opened of the segments that the manifest names, oldest first; of all segment files where it is NULL. language NULL:
 * any. copied: reads them into memory, where a mapping of a failing disk would end the process. Fails with ROOST_ENOMEM alone. */
int rst_past_open(int index_directory, const struct rst_manifest *manifest, const char *language, bool copied,
                  struct rst_past *ret_past);
void rst_past_close(struct rst_past *past);

/* With past->whole: does the index say that nothing is left of this record (forgotten, replaced, deleted)? Records that it does not
 * cover are never dead. 1, 0, negative error. */
int rst_past_dead(const struct rst_past *past, const struct rst_record_view *record);

enum rst_fact_kind { RST_FACT_MEMORY = 1, RST_FACT_FORGOTTEN, RST_FACT_NAME };
struct rst_fact {
    enum rst_fact_kind kind;
    uint64_t lsn;
    struct rst_memory_entry memory; /* MEMORY; FORGOTTEN: id alone */
    struct roost_bytes name;        /* NAME: the key in the map, family first */
    struct rst_map_entry entry;
};
/* Every fact that can be read. A non-zero result of `told` ends the walk and is returned. */
int rst_past_tell(const struct rst_past *past, int (*told)(void *user, const struct rst_fact *fact), void *user);

#endif
