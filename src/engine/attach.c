/* SPDX-License-Identifier: MIT
 * engine/attach.c: a handle's region: found, made, and replaced when it was lost (layer 7). Protocol: protocol/region.md, "attach".
 *
 * A region that was found or made is a new struct rst_mapping. It is shown to the handle's other threads when it is whole, and stays
 * mapped until the handle is closed, whatever replaces it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "engine/engine.h"
#include "os/os.h"

int rst_engine_identify(struct rst_engine *engine)
{
    struct rst_stat stat;
    int err = rst_log_read_header(&engine->log);
    if (err == ROOST_EFOREIGN)
        return rst_fail(err,
                        "%s belongs to another program: its state.wal is not Roost's (memmap_fs keeps its data under the same "
                        "name); nothing was touched",
                        engine->path);
    if (err) return rst_fail_context(err, "%s", engine->path);
    err = rst_os->stat(engine->log.file, &stat);
    if (err) return rst_fail(err, "looking at %s/state.wal: %s", engine->path, strerror(-err));
    struct rst_region_identity *identity = &engine->identity;
    memcpy(identity->root_uuid, engine->log.header.root_uuid, 16);
    identity->device = stat.device;
    identity->inode = stat.inode;
    identity->uid = stat.uid;
    identity->gid = stat.gid;
    identity->mode = stat.mode;
    identity->nonce = engine->log.header.region_nonce;
    identity->kind = engine->log.header.region_kind;
    identity->log_size = engine->log.size;
    identity->chunk_size = engine->log.chunk_size;
    identity->arena_size = engine->log.header.arena_size;
    return 0;
}

static bool header_is_copy(const struct rst_engine *engine)
{
    return engine->log.header.device != engine->identity.device || engine->log.header.inode != engine->identity.inode;
}

static bool header_of_this_boot(const struct rst_engine *engine)
{
    return memcmp(engine->log.header.boot_id, engine->identity.boot_id, 16) == 0;
}

/* ---- mappings, under commit_lock ---- */

static int push_mapping(struct rst_engine *engine)
{
    struct rst_mapping *mapping = calloc(1, sizeof *mapping);
    if (!mapping) return rst_fail(ROOST_ENOMEM, "no memory to attach to a region");
    mapping->region.file = -1;
    mapping->older = engine->mapping;
    engine->mapping = mapping;
    return 0;
}

static void show_mapping(struct rst_engine *engine) { rst_store_pointer(&engine->shown, engine->mapping); }

/* The newest one was not it: the one before is the handle's again. Other threads may be inside if they ever saw it: then it stays. */
static void pop_mapping(struct rst_engine *engine)
{
    struct rst_mapping *mapping = engine->mapping;
    engine->mapping = mapping->older;
    if (engine->opened && rst_load_pointer(&engine->shown) == mapping) {
        show_mapping(engine);
        mapping->older = engine->mapping->older;
        engine->mapping->older = mapping;
        return;
    }
    show_mapping(engine);
    rst_region_close(&mapping->region);
    free(mapping);
}

void rst_mappings_free(struct rst_engine *engine)
{
    for (struct rst_mapping *mapping = engine->mapping, *older; mapping; mapping = older) {
        older = mapping->older;
        rst_region_close(&mapping->region);
        free(mapping);
    }
    engine->mapping = NULL;
}

void rst_mapping_attach_arenas(struct rst_mapping *mapping)
{
    for (unsigned i = 0; i < 2; i++)
        rst_live_attach(&mapping->live[i], rst_region_arena(&mapping->region, i), mapping->region.places.arena_size);
}

/* ---- attaching ---- */

/* Holding the flock, with no region that fits: a new one, recovered from the disk. */
static int make_region(struct rst_engine *engine)
{
    bool same_boot = header_of_this_boot(engine) && !header_is_copy(engine) && engine->log.header.region_nonce;
    if (header_is_copy(engine)) {
        int err = rst_os->random(engine->log.header.root_uuid, 16);
        if (err) return rst_fail(err, "no random numbers to be had");
        memcpy(engine->identity.root_uuid, engine->log.header.root_uuid, 16);
        rst_engine_log(engine, ROOST_LOG_WARNING, "%s is a copy of another root and is a root of its own from now on",
                       engine->path);
    }
    int err = rst_os->random(&engine->identity.nonce, sizeof engine->identity.nonce);
    if (err) return rst_fail(err, "no random numbers to be had");
    if (!engine->identity.nonce) engine->identity.nonce = 1;
    err = rst_region_create(engine->root_directory, &engine->identity, &engine->mapping->region);
    if (err == ROOST_ENOSPC && engine->identity.kind == ROOST_REGION_FILE) {
        /* A full disk keeps nobody from reading, forgetting and deleting (R9). */
        rst_reserve_give_up(engine);
        err = rst_region_create(engine->root_directory, &engine->identity, &engine->mapping->region);
    }
    if (err) return err;
    rst_mapping_attach_arenas(engine->mapping);
    err = rst_recover_cold(engine, same_boot);
    /* Somebody may have cut the file short: what is missing reads as no frame. Where that proves harmless it is made real space again
     * before anything more is written; else it stays as it is, as the proof. */
    if (!err && !rst_broken(engine)) {
        err = rst_os->allocate(engine->log.file, 0, RST_LOG_RING_OFFSET + engine->log.size);
        if (err) rst_fail(err, "%s/state.wal was cut short and cannot be made whole again: %s", engine->path, strerror(-err));
    }
    /* Opened for the first time: whoever made it may have died before he could make its name durable. */
    if (!err && engine->log.header.sequence == 1) err = rst_os->fsync(engine->root_directory);
    if (!err && engine->log.header.sequence == 1) err = rst_root_sync_parent(engine->root_directory, engine->path);
    if (err) return err;
    engine->log.header.region_nonce = engine->identity.nonce;
    engine->log.header.device = engine->identity.device;
    engine->log.header.inode = engine->identity.inode;
    memcpy(engine->log.header.boot_id, engine->identity.boot_id, 16);
    err = rst_log_write_header(&engine->log);
    if (!err) rst_region_publish(&engine->mapping->region);
    return err;
}

static int create_and_enter(struct rst_engine *engine, int64_t deadline)
{
    int err = push_mapping(engine);
    if (err) return err;
    err = make_region(engine);
    /* Half a region is of no use to anybody, and may have taken the space that was short. */
    if (err) rst_region_unlink(engine->root_directory, &engine->identity);
    if (!err) {
        show_mapping(engine);
        err = rst_slot_enter(engine, false, deadline);
    }
    if (err) {
        pop_mapping(engine);
        return err;
    }
    engine->role_held = true;
    rst_role_rename(engine);
    engine->last_work_ns = rst_os->monotonic_time();
    return 0;
}

/* One attempt to attach to a region that is there. 0; ROOST_ENOENT: none that fits; other errors. */
static int try_attach(struct rst_engine *engine, int64_t deadline)
{
    if (header_is_copy(engine)) return ROOST_ENOENT;
    int err = push_mapping(engine);
    if (err) return err;
    err = rst_region_open(engine->root_directory, &engine->identity, !engine->observer, &engine->mapping->region);
    if (err) {
        pop_mapping(engine);
        return err;
    }
    rst_mapping_attach_arenas(engine->mapping);
    show_mapping(engine);
    if (!engine->observer) {
        err = rst_slot_enter(engine, false, deadline);
        if (err == ROOST_EAGAIN) err = 0; /* all taken: this handle borrows one for each write */
    }
    /* The byte lock first, then the mark and the nonce again: a last closer probes after it marked (R11). Whoever holds the role
     * already (it had a predecessor's writes to finish) has looked at both under the flock. */
    uint64_t nonce = engine->identity.nonce;
    if (!err && !engine->role_held) {
        err = rst_log_read_header(&engine->log);
        bool marked = !engine->observer && rst_load_seq_u32(&rst_commit_region(engine)->header->moved.word);
        if (!err && (engine->log.header.region_nonce != nonce || marked)) err = ROOST_ENOENT;
    }
    if (!err) return 0;
    rst_slot_leave(engine);
    pop_mapping(engine);
    return err;
}

static int wait_failed(struct rst_engine *engine, uint64_t nonce_all_along)
{
    if (nonce_all_along && engine->identity.kind == ROOST_REGION_SHM)
        return rst_fail(
            ROOST_ESPLIT,
            "%s is open in another process whose shared memory cannot be seen from here (another container or /dev/shm, or it "
            "was removed at a logout: RemoveIPC); share /dev/shm, or make the root with --region file",
            engine->path);
    return rst_fail(ROOST_ETIMEDOUT, "%s: another process is opening or repairing it and was not ready in time; try again",
                    engine->path);
}

/* For observers. 0: there is a view to look at; ROOST_EAGAIN: look again; ROOST_ENOENT: the one that there is still shows all. */
static int view_unopened(struct rst_engine *engine)
{
    if (rst_unopened_current(engine)) return ROOST_ENOENT;
    int err = push_mapping(engine);
    if (err) return err;
    err = rst_unopened_view(engine);
    if (err)
        pop_mapping(engine);
    else
        show_mapping(engine);
    return err;
}

/* Without a region: the participants' bytes say whether anybody has the root open. */
static bool open_somewhere(const struct rst_engine *engine)
{
    for (uint32_t slot = 0; slot < RST_SLOT_COUNT; slot++)
        if (rst_participant_alive(engine->log.file, slot)) return true;
    return false;
}

int rst_engine_attach(struct rst_engine *engine, int64_t deadline)
{
    uint64_t first_nonce = 0;
    for (bool first = true;; first = false) {
        int err = rst_engine_identify(engine);
        if (err) return err;
        uint64_t named = header_of_this_boot(engine) ? engine->identity.nonce : 0;
        if (first || named != first_nonce) first_nonce = first ? named : 0;
        err = try_attach(engine, deadline);
        if (err != ROOST_ENOENT) return err;
        if (engine->observer && !open_somewhere(engine)) {
            err = view_unopened(engine);
            if (err != ROOST_EAGAIN) return err;
        }
        err = engine->observer ? -EWOULDBLOCK : rst_os->flock(engine->log.file);
        if (err && err != -EWOULDBLOCK) return rst_fail(err, "locking %s/state.wal: %s", engine->path, strerror(-err));
        if (!err) {
            /* Somebody may have made one between the look and the lock. */
            err = rst_engine_identify(engine);
            if (!err) rst_region_unmark(engine->root_directory, &engine->identity);
            if (!err) err = try_attach(engine, deadline);
            if (err == ROOST_ENOENT) err = create_and_enter(engine, deadline);
            if (!engine->role_held) rst_os->funlock(engine->log.file);
            return err;
        }
        if (rst_os->monotonic_time() >= deadline) return wait_failed(engine, first_nonce);
        rst_os->sleep(2000000);
    }
}

/* ---- attaching anew ---- */

bool rst_engine_named(const struct rst_engine *engine)
{
    struct rst_stat stat;
    return rst_os->stat(engine->log.file, &stat) == 0 && stat.link_count != 0;
}

int rst_engine_still_there(const struct rst_engine *engine)
{
    struct rst_stat stat;
    int err = rst_os->stat_at(engine->root_directory, "state.wal", &stat);
    if (err || stat.device != engine->device || stat.inode != engine->inode)
        return rst_fail(
            ROOST_EMOVED,
            "%s was moved, replaced or removed while it was open; close this handle and open the root where it is now",
            engine->path);
    return 0;
}

int rst_engine_look_around(struct rst_engine *engine)
{
    int err = rst_engine_still_there(engine);
    return err || rst_region_current(rst_engine_region(engine)) ? err : rst_engine_attach_anew(engine);
}

/* Must this handle look for another region? A mark is for those who write without a slot: see rst_region_named. To an observer it says
 * that the name may go soon. */
static bool region_lost(const struct rst_engine *engine)
{
    const struct rst_region *region = rst_commit_region(engine);
    return engine->observer || engine->slot >= 0 ? !rst_region_named(region) : !rst_region_current(region);
}

/* Under slot_lock, commit_lock. If it fails the handle reads on in the region that it left, without a slot. */
static int attach_another(struct rst_engine *engine, int64_t deadline)
{
    const struct rst_mapping *left = engine->mapping;
    int old_slot = engine->slot;
    bool held = engine->role_held;
    int err;
    rst_engine_set_slot(engine, -1);
    engine->role_held = false;
    rst_slot_unlock(engine, old_slot);
    if (held) {
        /* Whoever holds the role keeps the flock: nobody else makes the new region meanwhile. */
        rst_store_seq_u32(&left->region.header->moved.word, 1);
        err = rst_engine_identify(engine);
        if (!err) err = create_and_enter(engine, deadline);
        if (err && !engine->role_held) rst_os->funlock(engine->log.file);
    } else {
        err = rst_engine_attach(engine, deadline);
    }
    if (!err && engine->slot < 0 && engine->slot_users) err = rst_slot_enter(engine, true, deadline);
    if (err) {
        if (engine->role_held) rst_role_drop(engine);
        if (engine->mapping != left) pop_mapping(engine);
    }
    return err;
}

/* The region was unlinked under us (RemoveIPC, an operator), or by a last closer whom an observer does not hinder: another one, under a
 * new client. What was under way is settled by its receipt: frames in the log say what was applied, and nobody drains the old
 * lanes any more. */
static int attach_anew(struct rst_engine *engine, int64_t deadline)
{
    pthread_mutex_lock(&engine->slot_lock);
    pthread_mutex_lock(&engine->commit_lock);
    const struct rst_region *left = rst_commit_region(engine);
    bool lost = region_lost(engine);
    /* Of a root that is gone no new region is made: in its folder another root may be by now, with a region of the same name. */
    int err = lost ? rst_engine_still_there(engine) : 0;
    if (lost && !err) err = attach_another(engine, deadline);
    bool service = !err && engine->role_held;
    pthread_mutex_unlock(&engine->commit_lock);
    pthread_mutex_unlock(&engine->slot_lock);
    if (err || !lost) return err;
    uint32_t *words[] = {&left->header->commit.word, &left->header->state.word, &left->header->generation.word,
                         &left->header->doorbell.word};
    for (size_t i = 0; left->writable && i < sizeof words / sizeof words[0]; i++) rst_region_ring(words[i]);
    if (service) {
        rst_service_start(engine);
        rst_add_u32(&engine->service_word, 1);
        rst_wake_all(&engine->service_word);
    }
    rst_states_carry(engine);
    rst_submissions_carry(engine);
    return ROOST_EAGAIN;
}

int rst_engine_attach_anew(struct rst_engine *engine)
{
    return attach_anew(engine, rst_os->monotonic_time() + (int64_t)engine->options.wait_ms * 1000000);
}

void rst_engine_glance(struct rst_engine *engine)
{
    enum { GLANCE_NS = 100 * 1000 * 1000 };
    const struct rst_region *region = rst_engine_region(engine);
    bool marked = !engine->observer && rst_engine_slot(engine) < 0 && rst_load_seq_u32(&region->header->moved.word);
    int64_t now = rst_os->monotonic_time();
    pthread_mutex_lock(&engine->view_lock);
    bool due = now - engine->glanced_ns >= GLANCE_NS;
    if (due) engine->glanced_ns = now;
    pthread_mutex_unlock(&engine->view_lock);
    /* Nobody there to make a new one, or not at once: what is mapped can still be read. */
    if (due && (marked || !rst_region_named(region))) attach_anew(engine, now);
    rst_fail_clear();
}
