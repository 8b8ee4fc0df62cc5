/* SPDX-License-Identifier: MIT
 * engine/mend.c: opening a root whose index is damaged or gone, to make it anew (layer 7).
 *
 * MANIFEST says what the index covers and where in the log replay begins. When it is lost the log's ring says as much: frames stay there
 * until the log comes round to them, so all that is left of it leads without a hole to the newest frame. What lies before
 * the oldest of them was behind a checkpoint, and is in the blocks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"
#include "store/ring.h"

int rst_mend_folder(struct rst_engine *engine)
{
    /* crash: 1 the folder is there and empty: as if it had been made anew before */
    int err = rst_os->mkdir(engine->root_directory, "index", 0700);
    if (err && err != -EEXIST) return rst_fail(err, "making %s/index: %s", engine->path, strerror(-err));
    int file = rst_os->open(engine->root_directory, "index", RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (file < 0) return rst_fail(file, "opening %s/index: %s", engine->path, strerror(-file));
    struct rst_stat stat;
    err = rst_os->stat(engine->root_directory, &stat);
    if (!err) err = rst_os->chmod(file, stat.mode & 0777);
    if (!err && rst_os->user_id() == 0 && stat.uid) err = rst_os->chown(file, stat.uid, stat.gid);
    if (!err) err = rst_os->fsync(engine->root_directory);
    if (err) {
        rst_os->close(file);
        return rst_fail(err, "making %s/index: %s", engine->path, strerror(-err));
    }
    engine->index_directory = file;
    return 0;
}

static int greatest_segment(void *user, const char *name)
{
    uint64_t *greatest = user;
    uint64_t number;
    if (rst_segment_number(name, &number) && number > *greatest) *greatest = number;
    return 0;
}

/* How many ids the frame gave. */
static uint64_t ids_given(const struct rst_frame *frame)
{
    struct rst_frame_walk walk;
    struct rst_frame_entry entry;
    const uint8_t *bytes;
    uint64_t count = 0;
    rst_frame_walk_begin(&walk, frame);
    while (rst_frame_walk_entry(&walk, &entry, &bytes) == 1) {
        struct rst_record record;
        if (entry.inline_size < sizeof record) continue;
        memcpy(&record, bytes, sizeof record);
        count += record.kind == RST_RECORD_MEMORY;
    }
    return count;
}

static int header_from_log(struct rst_engine *engine, struct rst_ring *ring, size_t first, struct rst_manifest_header *header)
{
    struct rst_buffer scratch = {0};
    struct rst_frame frame;
    int err = rst_ring_frame(ring, first, &scratch, &frame);
    if (err) {
        rst_buffer_free(&scratch);
        return err;
    }
    uint64_t number = 0, given = ids_given(&frame);
    rst_os->list(engine->index_directory, greatest_segment, &number);
    header->segment_next = number + 1;
    header->generation = number + 1;
    header->covered_lsn = frame.header.lsn_first - 1;
    header->replay_position = frame.header.position;
    header->epoch = frame.header.epoch;
    header->id_next = frame.header.id_next > given ? frame.header.id_next - given : 1;
    for (size_t i = first; i < rst_ring_count(ring); i++) {
        const struct rst_frame_header *later = rst_ring_at(ring, i);
        if (later->id_ceiling > header->id_ceiling) header->id_ceiling = later->id_ceiling;
        if (later->lsn_ceiling > header->lsn_ceiling) header->lsn_ceiling = later->lsn_ceiling;
    }
    header->chunk = 0; /* from where on chunks are synced: all */
    rst_buffer_free(&scratch);
    return 0;
}

/* A root that was never checkpointed has no MANIFEST, and the whole of its log. One that lost it would look empty: something was sealed,
 * after the log had been synced, or the ring was written over. */
int rst_manifest_never_was(struct rst_engine *engine)
{
    struct rst_buffer bytes = {0}, scratch = {0};
    struct rst_frame frame;
    struct rst_ring ring;
    uint64_t segment = 0;
    bool lapped = false;
    int first = rst_log_read_frame(&engine->log, 0, &bytes, &scratch, &frame);
    rst_buffer_free(&bytes);
    rst_buffer_free(&scratch);
    if (first) return first < 0 ? first : 0;
    int err = rst_ring_read(engine->log.file, engine->log.size, &ring);
    if (err) return err;
    size_t count = rst_ring_count(&ring);
    for (size_t i = 0; i < count; i++) lapped |= rst_ring_at(&ring, i)->position >= engine->log.size;
    rst_ring_free(&ring);
    rst_os->list(engine->index_directory, greatest_segment, &segment);
    if (!lapped && (count || !segment)) return 0;
    return rst_fail(
        ROOST_ECORRUPT,
        "%s: index/MANIFEST is missing, so the root would look empty; nothing was touched: `roost -C %s rebuild` makes the "
        "index anew",
        engine->path, engine->path);
}

static int blocks_empty(struct rst_engine *engine)
{
    uint32_t count;
    uint64_t bytes;
    int err = rst_blocks_count(&engine->blocks, &count, &bytes);
    return err ? err : count == 0;
}

int rst_mend_manifest(struct rst_engine *engine, int why, struct rst_manifest_header *ret_header)
{
    struct rst_ring ring;
    size_t first = 0;
    bool hole = false;
    memset(ret_header, 0, sizeof *ret_header);
    int err = rst_ring_read(engine->log.file, engine->log.size, &ring);
    if (err) return err;
    bool any = rst_ring_chain(&ring, &first, &hole);
    int empty = any ? 0 : blocks_empty(engine);
    bool trusted = any && !hole && !ring.unreadable;
    bool never = trusted && why == ROOST_ENOENT && rst_ring_at(&ring, first)->position == 0; /* all is in the log */
    if (trusted && !never) err = header_from_log(engine, &ring, first, ret_header);
    rst_ring_free(&ring);
    if (err || empty < 0) return err ? err : empty;
    if (trusted) return !never;
    if (empty && why == ROOST_ENOENT) return 0; /* new, and nothing was ever written */
    return rst_fail(ROOST_EDAMAGED,
                    "%s: index/MANIFEST is lost, and the log, which could stand in for it, is damaged too; `roost rescue %s "
                    "NEW` saves what can be read",
                    engine->path, engine->path);
}

void rst_mend_clients(struct rst_engine *engine)
{
    /* Of clients that nobody remembers it must not be said that their writes never came (R19): as many lines as are kept are taken up, by
     * nobody, so that all that is asked for and not found is unknown. */
    struct rst_client_record nobody = {.sequence = UINT64_MAX, .result = ROOST_EUNKNOWN};
    for (uint32_t i = 0; i < RST_DEAD_LINE_COUNT; i++) {
        nobody.client = UINT64_MAX - i;
        rst_client_remember(engine, -1, &nobody);
    }
}
