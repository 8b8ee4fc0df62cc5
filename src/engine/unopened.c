/* SPDX-License-Identifier: MIT
 * engine/unopened.c: an observer's view of a root that nobody has open (layer 7).
 *
 * There is no region to look at, and an observer may not make one: it recovers into memory of its own, writing nothing, and shows that.
 * It holds no lock meanwhile, as a stopped observer must not keep anybody from the root; whoever opens it writes the log's header before
 * anything else changes, so a header that is the same before and after says that all that was read belongs together. */
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"

int rst_unopened_view(struct rst_engine *engine)
{
    struct rst_mapping *mapping = engine->mapping;
    uint64_t sequence = engine->log.header.sequence;
    int err = engine->analyzer ? 0 : rst_analyzer_create(engine->log.language, &engine->analyzer);
    if (!err) err = rst_region_create_private(&engine->identity, &mapping->region);
    if (err) return err;
    rst_mapping_attach_arenas(mapping);
    err = rst_recover_cold(engine, false);
    int again = rst_log_read_header(&engine->log);
    if (again) return again;
    if (engine->log.header.sequence != sequence) return ROOST_EAGAIN;
    mapping->log_sequence = sequence;
    return err;
}

bool rst_unopened_current(const struct rst_engine *engine)
{
    return engine->mapping && engine->mapping->region.memory && engine->mapping->log_sequence == engine->log.header.sequence;
}
