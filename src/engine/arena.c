/* SPDX-License-Identifier: MIT
 * engine/arena.c: the memory of the two live segments (layer 7). It becomes real in steps, so that a small root stays
 * small in /dev/shm, and what was made real stays so. */
#include "base/bytes.h"
#include "engine/engine.h"

enum { STEP = 1 << 20 };

static int make_real(struct rst_engine *engine, unsigned index, uint64_t from, uint64_t end)
{
    const struct rst_region *region = rst_commit_region(engine);
    return rst_region_allocate(region, region->places.arenas[index] + from, end - from);
}

static uint64_t first_limit(const struct rst_live *live)
{
    uint64_t least = rst_live_limit_min(live->size), limit = least > STEP ? rst_align_up(least, STEP) : STEP;
    return limit < live->size ? limit : live->size;
}

int rst_arena_prepare(struct rst_engine *engine, unsigned index)
{
    return make_real(engine, index, 0, first_limit(&engine->mapping->live[index]));
}

int rst_arena_format_prepared(struct rst_engine *engine, unsigned index, uint64_t lsn_first)
{
    struct rst_live *live = &engine->mapping->live[index];
    return rst_live_format(live, first_limit(live), lsn_first);
}

int rst_arena_format(struct rst_engine *engine, unsigned index, uint64_t lsn_first)
{
    int err = rst_arena_prepare(engine, index);
    return err ? err : rst_arena_format_prepared(engine, index, lsn_first);
}

struct rst_live *rst_arena_active(struct rst_engine *engine) { return &engine->mapping->live[engine->snapshot.arena_active & 1]; }

uint64_t rst_arena_empty_size(const struct rst_engine *engine)
{
    return rst_live_limit_min(rst_commit_region(engine)->places.arena_size);
}

uint64_t rst_arena_room(const struct rst_engine *engine)
{
    const struct rst_live *live = &engine->mapping->live[engine->snapshot.arena_active & 1];
    uint64_t used = rst_live_used(live);
    return used < live->size ? live->size - used : 0;
}

int rst_arena_secure(struct rst_engine *engine, uint64_t need)
{
    unsigned index = engine->snapshot.arena_active & 1;
    struct rst_live *live = &engine->mapping->live[index];
    uint64_t end = rst_live_used(live) + need, limit = rst_live_limit(live);
    if (end <= limit) return 0;
    uint64_t wanted = rst_align_up(end, STEP);
    if (wanted > live->size) wanted = live->size;
    int err = make_real(engine, index, limit, wanted);
    if (!err) rst_live_raise_limit(live, wanted);
    return err;
}
