/* SPDX-License-Identifier: MIT
 * engine/read.c: what a reader sees (layer 7). No locks are held while reading; a reader copies the snapshot, works, and
 * looks at the end whether an arena was recycled meanwhile (R23). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

void rst_segment_set_free(struct rst_segment_set *set)
{
    if (!set) return;
    for (uint32_t i = 0; i < set->count; i++)
        if (set->sealed[i].data) rst_os->unmap((void *)(uintptr_t)set->sealed[i].data, (size_t)set->mapped[i]);
    free(set->sealed);
    free(set->mapped);
    rst_manifest_free(&set->manifest);
    free(set);
}

/* Maps and opens one segment. ROOST_ENOENT: it was merged away meanwhile. */
static int open_segment(struct rst_engine *engine, const struct rst_manifest_segment *line, struct rst_sealed *ret_sealed,
                        uint64_t *ret_mapped)
{
    char name[32], shown[48];
    rst_segment_name(line->number, name);
    int file = rst_os->open(engine->index_directory, name, RST_OPEN_READ, 0);
    if (file == -ENOENT) return ROOST_ENOENT;
    if (file < 0) return rst_fail(file, "opening index/%s: %s", name, strerror(-file));
    struct rst_stat stat;
    void *data = NULL;
    int err = rst_os->stat(file, &stat);
    if (!err && stat.size < line->size)
        err = rst_fail(ROOST_ECORRUPT, "index/%s has %llu bytes, MANIFEST says %llu; `roost rebuild` makes the index anew", name,
                       (unsigned long long)stat.size, (unsigned long long)line->size);
    if (!err) err = rst_os->map(file, 0, (size_t)line->size, RST_MAP_READ, &data);
    rst_os->close(file);
    if (err) return err;
    snprintf(shown, sizeof shown, "index/%s", name);
    err = rst_sealed_open(ret_sealed, shown, data, line->size, engine->log.language);
    if (err) {
        rst_os->unmap(data, (size_t)line->size);
        memset(ret_sealed, 0, sizeof *ret_sealed);
        return err;
    }
    *ret_mapped = line->size;
    return 0;
}

int rst_segment_set_open(struct rst_engine *engine, struct rst_segment_set **ret_set)
{
    for (int tries = 0; tries < 100; tries++) {
        struct rst_segment_set *set = calloc(1, sizeof *set);
        if (!set) return rst_fail(ROOST_ENOMEM, "no memory for the list of segments");
        int err = rst_manifest_read(engine->index_directory, &set->manifest);
        if (err == ROOST_ENOENT) err = 0; /* never checkpointed */
        uint32_t count = set->manifest.header.segment_count;
        if (!err) {
            set->sealed = calloc(count + 1u, sizeof *set->sealed);
            set->mapped = calloc(count + 1u, sizeof *set->mapped);
            if (!set->sealed || !set->mapped) err = rst_fail(ROOST_ENOMEM, "no memory for %u segments", count);
        }
        for (uint32_t i = 0; !err && i < count; i++) {
            err = open_segment(engine, &set->manifest.segments[i], &set->sealed[i], &set->mapped[i]);
            if (!err) set->count = i + 1;
        }
        if (!err) {
            set->generation = set->manifest.header.generation;
            set->covered_lsn = set->manifest.header.covered_lsn;
            set->reference_count = 1;
            *ret_set = set;
            return 0;
        }
        rst_segment_set_free(set);
        if (err != ROOST_ENOENT) return err;
    }
    return rst_fail(ROOST_ECORRUPT,
                    "index/MANIFEST names a segment file that does not exist; `roost rebuild` makes the index anew");
}

static void set_unref(struct rst_engine *engine, struct rst_segment_set *set)
{
    pthread_mutex_lock(&engine->view_lock);
    bool last = --set->reference_count == 0;
    pthread_mutex_unlock(&engine->view_lock);
    if (last) rst_segment_set_free(set);
}

/* The set for a generation, from the cache or from the disk. A newer one than asked for is as good (see rst_reader_begin). */
static int set_for(struct rst_engine *engine, uint64_t generation, struct rst_segment_set **ret_set)
{
    pthread_mutex_lock(&engine->view_lock);
    struct rst_segment_set *set = engine->segments;
    if (set && set->generation >= generation) {
        set->reference_count++;
        pthread_mutex_unlock(&engine->view_lock);
        *ret_set = set;
        return 0;
    }
    pthread_mutex_unlock(&engine->view_lock);
    int err = rst_segment_set_open(engine, &set);
    if (err) return err;
    pthread_mutex_lock(&engine->view_lock);
    struct rst_segment_set *old = engine->segments;
    bool newer = !old || set->generation > old->generation;
    if (newer) {
        engine->segments = set;
        set->reference_count++; /* one for the cache, one for the caller */
        if (old && --old->reference_count) old = NULL;
    } else {
        old = NULL;
    }
    pthread_mutex_unlock(&engine->view_lock);
    rst_segment_set_free(old);
    *ret_set = set;
    return 0;
}

/* Oldest first: the sealed ones, then the active arena unless the segments cover all that is visible. */
static int list_segments(struct rst_reader *reader)
{
    struct rst_segment_set *set = reader->set;
    size_t count = set->count;
    reader->list = reader->few;
    if (count + 1 > sizeof reader->few / sizeof reader->few[0]) {
        reader->list = malloc((count + 1) * sizeof *reader->list);
        if (!reader->list) return rst_fail(ROOST_ENOMEM, "no memory for %zu segments", count);
    }
    for (size_t i = 0; i < count; i++) reader->list[i] = &set->sealed[i].segment;
    if (set->covered_lsn < reader->snapshot.visible_lsn)
        reader->list[count++] = &reader->mapping->live[reader->snapshot.arena_active & 1].segment;
    reader->view = (struct rst_view){reader->list,
                                     count,
                                     reader->snapshot.visible_lsn,
                                     reader->snapshot.last_id,
                                     reader->snapshot.memory_count,
                                     reader->snapshot.token_count};
    return 0;
}

static int begin(struct rst_reader *reader, struct rst_engine *engine, const struct rst_mapping *mapping)
{
    reader->engine = engine;
    reader->mapping = mapping;
    for (int tries = 0; tries < 1000; tries++) {
        if (!rst_region_read_snapshot(&mapping->region, &reader->snapshot))
            return rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
        int err = set_for(engine, reader->snapshot.generation, &reader->set);
        if (err) return err;
        /* A MANIFEST newer than the snapshot: its author is about to publish, or died before that. When it covers all that
         * is visible it answers alone; else a newer snapshot is there by now. */
        if (reader->set->generation != reader->snapshot.generation && reader->set->covered_lsn < reader->snapshot.visible_lsn) {
            set_unref(engine, reader->set);
            continue;
        }
        err = list_segments(reader);
        if (err) set_unref(engine, reader->set);
        return err;
    }
    return rst_fail(ROOST_ECORRUPT, "index/MANIFEST and the region do not agree");
}

int rst_reader_begin(struct rst_engine *engine, struct rst_reader *ret_reader)
{
    return begin(ret_reader, engine, rst_engine_shown(engine));
}

int rst_reader_begin_commit(struct rst_engine *engine, struct rst_reader *ret_reader)
{
    return begin(ret_reader, engine, engine->mapping);
}

int rst_reader_end(struct rst_reader *reader)
{
    struct rst_engine *engine = reader->engine;
    bool used_arena = reader->view.segment_count > reader->set->count;
    if (reader->list != reader->few) free(reader->list);
    set_unref(engine, reader->set);
    struct rst_snapshot now;
    if (!rst_region_read_snapshot(&reader->mapping->region, &now))
        return rst_fail(ROOST_ECORRUPT, "the region's snapshot cannot be read");
    unsigned arena = reader->snapshot.arena_active & 1;
    return used_arena && now.arena_epoch[arena] != reader->snapshot.arena_epoch[arena] ? ROOST_EAGAIN : 0;
}

int rst_analyzer_borrow(struct rst_engine *engine, struct rst_analyzer **ret_analyzer)
{
    pthread_mutex_lock(&engine->view_lock);
    struct rst_analyzer *analyzer = NULL;
    for (size_t i = 0; i < sizeof engine->spare_analyzers / sizeof engine->spare_analyzers[0] && !analyzer; i++) {
        analyzer = engine->spare_analyzers[i];
        engine->spare_analyzers[i] = NULL;
    }
    pthread_mutex_unlock(&engine->view_lock);
    *ret_analyzer = analyzer;
    return analyzer ? 0 : rst_analyzer_create(engine->log.language, ret_analyzer);
}

void rst_analyzer_return(struct rst_engine *engine, struct rst_analyzer *analyzer)
{
    pthread_mutex_lock(&engine->view_lock);
    for (size_t i = 0; i < sizeof engine->spare_analyzers / sizeof engine->spare_analyzers[0] && analyzer; i++) {
        if (engine->spare_analyzers[i]) continue;
        engine->spare_analyzers[i] = analyzer;
        analyzer = NULL;
    }
    pthread_mutex_unlock(&engine->view_lock);
    rst_analyzer_free(analyzer);
}
