/* SPDX-License-Identifier: MIT
 * tests/unit/test_region.c: the region and what lies in it, from inside: whose it is, what happens when it cannot be made, lanes whose
 * room runs out and whose entries are not what they should be, latches whose writer died. Errors of the system come from a table of the
 * test's own. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include "os/os.h"
#include "region/lanes.h"
#include "region/latch.h"
#include "region/participants.h"
#include "region/region.h"

static char folder[64];
static int directory;
static struct rst_os table;
static int result; /* what the operation that fails gives */
static struct rst_region_identity identity;
static struct rst_region region;

static int failing_open(int at, const char *name, unsigned flags, uint32_t mode)
{
    (void)at, (void)name, (void)flags, (void)mode;
    return result;
}

static int failing_map(int file, uint64_t offset, size_t size, unsigned flags, void **ret_base)
{
    (void)file, (void)offset, (void)size, (void)flags, (void)ret_base;
    return result;
}

static int failing_allocate(int file, uint64_t offset, uint64_t size)
{
    (void)file, (void)offset, (void)size;
    return result;
}

static int failing_chown(int file, uint32_t uid, uint32_t gid)
{
    (void)file, (void)uid, (void)gid;
    return result;
}

static int failing_chmod(int file, uint32_t mode)
{
    (void)file, (void)mode;
    return result;
}

static int failing_shm_open(const char *name, unsigned flags, uint32_t mode)
{
    (void)name, (void)flags, (void)mode;
    return result;
}

static int64_t failing_read(int file, void *to, size_t size, uint64_t offset)
{
    (void)file, (void)to, (void)size, (void)offset;
    return result;
}

static int failing_stat(int file, struct rst_stat *ret_stat)
{
    (void)file, (void)ret_stat;
    return result;
}

static int stat_of_a_device(int file, struct rst_stat *ret_stat)
{
    int err = rst_os_linux.stat(file, ret_stat);
    ret_stat->kind = RST_FILE_OTHER;
    return err;
}

static int failing_lock(int file, uint64_t offset)
{
    (void)file, (void)offset;
    return result;
}

static uint32_t another_user(void) { return identity.uid + 1; }
static int64_t little_space(void) { return 64 << 20; }
static int64_t unknown_space(void) { return -ENOSYS; }

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/roost-region-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    table = rst_os_linux;
    rst_os = &table;
    directory = rst_os->open(-1, folder, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    ck_assert_int_ge(directory, 0);
    identity = (struct rst_region_identity){.root_uuid = {1, 2, 3},
                                            .boot_id = {4, 5, 6},
                                            .device = 7,
                                            .inode = (uint64_t)getpid(),
                                            .nonce = 9,
                                            .uid = rst_os->user_id(),
                                            .gid = (uint32_t)getgid(),
                                            .mode = 0600,
                                            .kind = ROOST_REGION_FILE,
                                            .log_size = 64 << 20,
                                            .chunk_size = 1 << 20,
                                            .arena_size = 4 << 20};
    ck_assert_int_eq(rst_region_create(directory, &identity, &region), 0);
    rst_region_publish(&region);
}

static void teardown(void)
{
    table = rst_os_linux;
    rst_region_close(&region);
    rst_region_unlink(directory, &identity);
    rst_os->close(directory);
    ck_assert_int_eq(rmdir(folder), 0);
}

static int open_again(void)
{
    struct rst_region again;
    int err = rst_region_open(directory, &identity, true, &again);
    if (!err) rst_region_close(&again);
    return err;
}

/* ---- whose it is ---- */

#define FIELD(member) \
    { \
#member, offsetof(struct rst_region_header, member), sizeof(((struct rst_region_header *)0)->member) \
    }

/* One byte of any fact wrong, and it is not this root's region, or none that can be used. */
START_TEST(a_region_that_differs_in_any_fact_is_not_ours)
{
    static const struct {
        const char *name;
        size_t offset, size;
    } fields[] = {
        FIELD(magic),
        FIELD(nonce),
        FIELD(device),
        FIELD(inode),
        FIELD(root_uuid),
        FIELD(boot_id),
        FIELD(uid),
        FIELD(region_kind),
        FIELD(ready),
        FIELD(participants_offset),
        FIELD(clients_offset),
        FIELD(changes_offset),
        FIELD(states_offset),
        FIELD(lanes_offset),
        FIELD(pool_offset),
        FIELD(arena_offset[0]),
        FIELD(arena_offset[1]),
        FIELD(total_size),
        FIELD(pool_step_count),
        FIELD(arena_size),
    };
    uint8_t *header = (uint8_t *)region.header;
    ck_assert_int_eq(open_again(), 0);
    for (size_t i = 0; i < RST_COUNT_OF(fields); i++)
        for (size_t byte = 0; byte < fields[i].size; byte++) {
            uint8_t *at = header + fields[i].offset + byte, before = *at;
            *at = (uint8_t)(before ^ 0x41);
            ck_assert_msg(open_again() == ROOST_ENOENT, "%s, byte %zu changed", fields[i].name, byte);
            *at = before;
        }
    ck_assert_int_eq(open_again(), 0);
    identity.nonce = 0; /* a root that has no region: not even one whose words are zero is taken */
    region.header->ready = region.header->nonce = 0;
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
}
END_TEST

START_TEST(another_version_is_named)
{
    region.header->layout_version++;
    ck_assert_int_eq(open_again(), ROOST_EVERSION);
    region.header->layout_version--;
    region.header->header_size++;
    ck_assert_int_eq(open_again(), ROOST_EVERSION);
    region.header->header_size--;
    ck_assert_int_eq(open_again(), 0);
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused)
{
    static const uint64_t arenas[] = {0, 4096, (4 << 20) + 1, (UINT64_C(1) << 31) + 4096, UINT64_MAX};
    uint64_t steps = region.header->pool_step_count, arena = region.header->arena_size;
    for (size_t i = 0; i < RST_COUNT_OF(arenas); i++) {
        region.header->arena_size = arenas[i];
        ck_assert_int_eq(open_again(), ROOST_ENOENT);
    }
    region.header->arena_size = arena;
    region.header->pool_step_count = RST_POOL_STEP_COUNT_MAX + 1;
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    region.header->pool_step_count = steps;
    ck_assert_int_eq(open_again(), 0);
}
END_TEST

START_TEST(why_it_cannot_be_opened_is_said)
{
    static const struct {
        int of_the_system, told;
    } cases[] = {{-EACCES, ROOST_EACCES}, {-EPERM, ROOST_EACCES},  {-EMFILE, ROOST_EMFILE},
                 {-ENFILE, ROOST_EMFILE}, {-ENOENT, ROOST_ENOENT}, {-EIO, ROOST_ENOENT}};
    struct rst_region again;
    table.open = failing_open;
    for (size_t i = 0; i < RST_COUNT_OF(cases); i++) {
        result = cases[i].of_the_system;
        for (int writable = 0; writable < 2; writable++) {
            ck_assert_int_eq(rst_region_open(directory, &identity, writable, &again), cases[i].told);
            if (cases[i].told == ROOST_EACCES)
                ck_assert_ptr_nonnull(strstr(rst_fail_detail(), writable ? "be written" : "be read"));
        }
    }
    table.open = rst_os_linux.open;
}
END_TEST

/* Another's file, one that lies under a second name, that more people may use than the root, or that ends too early. */
START_TEST(a_file_that_is_not_as_ours_is_refused)
{
    char name[96], link_name[96];
    snprintf(name, sizeof name, "%s/region", folder);
    snprintf(link_name, sizeof link_name, "%s/other", folder);
    ck_assert_int_eq(link(name, link_name), 0);
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    ck_assert_int_eq(unlink(link_name), 0);
    ck_assert_int_eq(open_again(), 0);
    ck_assert_int_eq(chmod(name, 0666), 0);
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    ck_assert_int_eq(chmod(name, 0600), 0);
    identity.uid++;
    region.header->uid++;
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    identity.uid--;
    region.header->uid--;
    ck_assert_int_eq(rename(name, link_name), 0);
    ck_assert_int_eq(mkdir(name, 0700), 0);
    ck_assert_int_lt(open_again(), 0);
    ck_assert_int_eq(rmdir(name), 0);
    int file = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    ck_assert_int_eq((int)pwrite(file, region.header, 100, 0), 100);
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    rst_region_unlink(directory, &identity); /* too short to be marked: not touched, only unlinked */
    struct stat stat;
    ck_assert_int_eq(fstat(file, &stat), 0);
    ck_assert_int_eq((int)stat.st_size, 100);
    close(file);
    ck_assert_int_eq(rename(link_name, name), 0);
    ck_assert_int_eq(open_again(), 0);
}
END_TEST

START_TEST(what_cannot_be_looked_at_is_none)
{
    table.stat = failing_stat;
    result = -EIO;
    ck_assert_int_eq(open_again(), -EIO);
    ck_assert(!rst_region_named(&region));
    table.stat = stat_of_a_device;
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    table.stat = rst_os_linux.stat;
    ck_assert_int_eq(open_again(), 0);
    ck_assert(rst_region_current(&region));
    ck_assert_int_eq(ftruncate(region.file, (off_t)region.header->states_offset - 1), 0); /* cut by somebody */
    ck_assert_int_eq(open_again(), ROOST_ENOENT);
    struct rst_region mine;
    ck_assert_int_eq(rst_region_create_private(&identity, &mine), 0);
    ck_assert(!rst_region_named(&mine)); /* a view of one's own has no name */
    ck_assert_int_eq(rst_region_allocate(&mine, mine.places.lanes, RST_LANE_SIZE), 0);
    rst_region_close(&mine);
    rst_region_unlink(directory, &identity);
    ck_assert(!rst_region_named(&region));
}
END_TEST

/* A region that goes away is marked for those who still have it, unless it is none of ours or cannot be looked at: its name goes all
 * the same. */
START_TEST(what_is_unlinked_is_marked_if_it_is_ours)
{
    enum { GOOD, UNSEEN, UNREAD, FOREIGN, UNMAPPED, CASE_COUNT };
    for (int i = 0; i < CASE_COUNT; i++) {
        result = -EIO;
        if (i == UNSEEN) table.stat = failing_stat;
        if (i == UNREAD) table.pread = failing_read;
        if (i == FOREIGN) region.header->magic++;
        if (i == UNMAPPED) table.map = failing_map;
        rst_region_unlink(directory, &identity);
        table = rst_os_linux;
        ck_assert_msg(region.header->moved.word == (i == GOOD), "case %d", i);
        ck_assert(!rst_region_current(&region));
        rst_region_close(&region);
        ck_assert_int_eq(open_again(), ROOST_ENOENT);
        ck_assert_int_eq(rst_region_create(directory, &identity, &region), 0);
        rst_region_publish(&region);
    }
}
END_TEST

/* ---- making one ---- */

START_TEST(a_region_that_cannot_be_made_leaves_nothing_open)
{
    struct rst_region made;
    struct rst_os broken[4] = {table, table, table, table};
    broken[0].open = failing_open;
    broken[1].map = failing_map;
    broken[2].allocate = failing_allocate;
    broken[3].chown = failing_chown;
    broken[3].user_id = another_user;
    for (size_t i = 0; i < RST_COUNT_OF(broken); i++) {
        int next = dup(directory);
        close(next);
        table = broken[i];
        result = -ENOSPC;
        int err = rst_region_create(directory, &identity, &made);
        table = rst_os_linux;
        ck_assert_int_eq(err, i == 3 ? ROOST_EACCES : -ENOSPC);
        ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "cannot be made in the root"));
        int after = dup(directory);
        close(after);
        ck_assert_msg(after == next, "case %zu left a file open", i);
        ck_assert_int_eq(open_again(), ROOST_ENOENT);
    }
    table.open = failing_open;
    result = -EEXIST;
    ck_assert_int_eq(rst_region_create(directory, &identity, &made), ROOST_EACCES);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "in the way"));
}
END_TEST

/* The superuser's region in somebody's root is given to that somebody; one that cannot get the root's permissions is none. */
START_TEST(a_region_belongs_to_the_roots_owner)
{
    struct rst_region made;
    table.user_id = another_user;
    table.chown = failing_chown;
    result = 0;
    ck_assert_int_eq(rst_region_create(directory, &identity, &made), 0);
    rst_region_close(&made);
    table = rst_os_linux;
    table.chmod = failing_chmod;
    result = -EPERM;
    ck_assert_int_eq(rst_region_create(directory, &identity, &made), -EPERM);
}
END_TEST

/* Where it lies in /dev/shm, that is what the words say, and what else can be done. */
START_TEST(what_fails_in_shared_memory_is_said_so)
{
    static const int errors[] = {-ENOSPC, -EEXIST};
    struct rst_region_identity shm = identity;
    struct rst_region made;
    shm.kind = ROOST_REGION_SHM;
    for (size_t i = 0; i < RST_COUNT_OF(errors); i++) {
        table.shm_open = failing_shm_open;
        result = errors[i];
        ck_assert_int_eq(rst_region_create(-1, &shm, &made), errors[i] == -EEXIST ? ROOST_EACCES : errors[i]);
        ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "/dev/shm"));
        ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "make the root with --region file"));
        ck_assert_ptr_null(strstr(rst_fail_detail(), "the root's file"));
    }
    result = -EACCES;
    ck_assert_int_eq(rst_region_open(-1, &shm, true, &made), ROOST_EACCES);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "/dev/shm/roost-"));
    table = rst_os_linux;
    ck_assert_int_eq(rst_region_create(-1, &shm, &made), 0);
    table.allocate = failing_allocate;
    result = -ENOSPC;
    ck_assert_int_eq(rst_region_allocate(&made, made.places.lanes, RST_LANE_SIZE), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "in /dev/shm"));
    ck_assert_int_eq(rst_region_allocate(&region, region.places.lanes, RST_LANE_SIZE), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "in the root"));
    table = rst_os_linux;
    rst_region_close(&made);
    rst_region_unlink(-1, &shm);
}
END_TEST

/* Containers have little there: what is made is smaller, and whoever comes sees that it is right. */
START_TEST(a_small_dev_shm_gets_a_small_region)
{
    struct rst_region_identity shm = identity;
    struct rst_region small, again;
    shm.kind = ROOST_REGION_SHM;
    shm.arena_size = 64 << 20;
    int64_t (*const spaces[])(void) = {little_space, unknown_space};
    for (size_t i = 0; i < RST_COUNT_OF(spaces); i++) {
        table.shm_space = spaces[i];
        ck_assert_int_eq(rst_region_create(-1, &shm, &small), 0);
        rst_region_publish(&small);
        ck_assert(i == 0 ? small.places.arena_size < shm.arena_size : small.places.arena_size == shm.arena_size);
        ck_assert(i == 0 ? small.places.pool_step_count < RST_POOL_STEP_COUNT_MAX
                         : small.places.pool_step_count == RST_POOL_STEP_COUNT_MAX);
        ck_assert_int_eq(rst_region_open(-1, &shm, true, &again), 0);
        ck_assert_uint_eq(again.places.pool_step_count, small.places.pool_step_count);
        rst_region_close(&again);
        rst_region_close(&small);
        rst_region_unlink(-1, &shm);
        ck_assert_int_eq(rst_region_open(-1, &shm, true, &again), ROOST_ENOENT);
    }
    table.shm_space = little_space;
    shm.arena_size = 1 << 20; /* what is small already stays as it is */
    ck_assert_int_eq(rst_region_create(-1, &shm, &small), 0);
    ck_assert_uint_eq(small.places.arena_size, shm.arena_size);
    rst_region_close(&small);
    rst_region_unlink(-1, &shm);
}
END_TEST

START_TEST(the_mark_is_taken_back_for_ones_own_only)
{
    struct rst_region_identity foreign = identity;
    foreign.device++;
    region.header->moved.word = 1;
    ck_assert(!rst_region_current(&region));
    rst_region_unmark(directory, &foreign);
    ck_assert_uint_eq(region.header->moved.word, 1);
    table.map = failing_map;
    result = -ENOMEM;
    rst_region_unmark(directory, &identity);
    table.map = rst_os_linux.map;
    ck_assert_uint_eq(region.header->moved.word, 1);
    rst_region_unmark(directory, &identity);
    ck_assert_uint_eq(region.header->moved.word, 0);
    ck_assert(rst_region_current(&region));
}
END_TEST

/* ---- latches ---- */

START_TEST(a_latch_whose_writer_died_is_repaired)
{
    enum { WORDS = 3 };
    static const uint64_t old[WORDS] = {1, 2, 3}, fresh[WORDS] = {4, 5, 6};
    uint64_t sequence = 0, copies[2 * WORDS] = {0}, seen[WORDS];
    struct rst_latch latch = {&sequence, copies, WORDS};
    rst_latch_write(latch, old, WORDS);
    rst_latch_write(latch, fresh, WORDS);
    sequence++; /* died while copy 0 was being changed */
    copies[0] = 99;
    ck_assert(rst_latch_read(latch, seen, WORDS));
    ck_assert_mem_eq(seen, fresh, sizeof seen);
    rst_latch_repair(latch);
    ck_assert_uint_eq(sequence % 2, 0);
    ck_assert_mem_eq(copies, fresh, sizeof fresh);
    copies[WORDS + 1] = 99; /* died while copy 1 was being changed */
    rst_latch_repair(latch);
    ck_assert_mem_eq(copies + WORDS, fresh, sizeof fresh);
    ck_assert(rst_latch_read(latch, seen, WORDS));
    ck_assert_mem_eq(seen, fresh, sizeof seen);
}
END_TEST

/* What is read is put where the sequence lies, so that each copy changes it, as a writer in between does. */
START_TEST(a_reader_that_writers_overtake_reads_again_and_gives_up_at_last)
{
    uint64_t sequence = 0, copies[2] = {2, 0};
    struct rst_latch latch = {&sequence, copies, 1};
    ck_assert(rst_latch_read(latch, &sequence, 1));
    ck_assert_uint_eq(sequence, 2);
    copies[0] = 1; /* the one leads to the other, again and again */
    ck_assert(!rst_latch_read(latch, &sequence, 1));
}
END_TEST

/* ---- participants ---- */

static int first_handle, second_handle; /* two open descriptions of a log */

static void begin_participants(void)
{
    first_handle = rst_os->open(directory, "log", RST_OPEN_WRITE | RST_OPEN_CREATE, 0600);
    second_handle = rst_os->open(directory, "log", RST_OPEN_WRITE, 0);
    ck_assert(first_handle >= 0 && second_handle >= 0);
}

static void end_participants(void)
{
    rst_os->close(first_handle);
    rst_os->close(second_handle);
    ck_assert_int_eq(rst_os->unlink(directory, "log"), 0);
}

static int take_slot(int handle, bool borrowed)
{
    bool dirty;
    return rst_participant_take(&region, handle, borrowed, -1, &dirty);
}

static int enter(int handle, uint32_t slot)
{
    uint64_t incarnation;
    ck_assert_int_eq(take_slot(handle, false), (int)slot);
    ck_assert_int_eq(rst_participant_register(&region, slot, 70, &incarnation), 0);
    return (int)incarnation;
}

START_TEST(slots_are_taken_in_an_order_that_saves_work)
{
    int handles[5]; /* a description each: one's own locks look free to oneself */
    bool dirty = true;
    begin_participants();
    for (size_t i = 0; i < RST_COUNT_OF(handles); i++)
        ck_assert_int_ge(handles[i] = rst_os->open(directory, "log", RST_OPEN_WRITE, 0), 0);
    for (uint32_t slot = 0; slot < 4; slot++) ck_assert_int_eq(enter(handles[slot], slot), 1);
    ck_assert_int_eq(take_slot(handles[4], true), RST_SLOT_STAY_COUNT);
    rst_participant_leave(&region, handles[4], RST_SLOT_STAY_COUNT);
    rst_participant_leave(&region, handles[2], 2);
    rst_lane_of(&region, 1)->entries[1].word = 1 << 3 | RST_LANE_SUBMITTED;
    rst_lane_of(&region, 1)->submitted = 1;
    rst_os->close(handles[0]); /* die, the second with a submission in its lane */
    rst_os->close(handles[1]);
    ck_assert_int_eq(rst_participant_take(&region, first_handle, false, 2, &dirty), 0); /* not 2: the role names it */
    ck_assert(dirty);
    ck_assert_int_eq(rst_participant_take(&region, second_handle, false, -1, &dirty), 2); /* left clean */
    ck_assert(!dirty);
    ck_assert_int_eq(enter(second_handle, 2), 2);
    for (uint64_t slot = 4; slot < RST_SLOT_STAY_COUNT; slot++)
        ck_assert_int_eq(rst_os->lock_byte(handles[3], RST_LOCK_SLOT_OFFSET + slot), 0);
    ck_assert_int_eq(rst_participant_take(&region, second_handle, false, 2, &dirty), 1); /* the last of all: it costs a commit */
    ck_assert(dirty);
    for (size_t i = 2; i < RST_COUNT_OF(handles); i++) rst_os->close(handles[i]);
    end_participants();
}
END_TEST

START_TEST(a_slot_that_cannot_be_had_is_not_taken)
{
    begin_participants();
    table.lock_byte = failing_lock;
    result = -EWOULDBLOCK;
    ck_assert_int_eq(take_slot(first_handle, false), ROOST_EAGAIN);
    ck_assert_int_eq(take_slot(first_handle, true), ROOST_EAGAIN);
    result = -ENOLCK;
    ck_assert_int_eq(take_slot(first_handle, false), -ENOLCK);
    ck_assert_ptr_nonnull(strstr(rst_fail_detail(), "a participant's byte"));
    table = rst_os_linux;
    /* Its holder died this moment, with the role: whoever had the byte now would pass for the one who holds it. */
    region.header->role = rst_role_word(0, 1);
    ck_assert_int_eq(take_slot(first_handle, false), 1);
    ck_assert(!rst_participant_alive(second_handle, 0));
    ck_assert(rst_participant_alive(second_handle, 1));
    region.header->role = 0;
    uint64_t incarnation;
    table.allocate = failing_allocate;
    result = -ENOSPC;
    ck_assert_int_eq(rst_participant_register(&region, 1, 70, &incarnation), -ENOSPC);
    ck_assert_uint_eq(region.participants[1].client, 0);
    end_participants();
}
END_TEST

START_TEST(others_are_those_who_live_and_stay)
{
    begin_participants();
    ck_assert_int_eq(take_slot(first_handle, false), 0);
    ck_assert(rst_participants_any_other(&region, second_handle, -1));
    ck_assert(!rst_participants_any_other(&region, second_handle, 0));
    region.participants[0].leaving = 1;
    ck_assert(!rst_participants_any_other(&region, second_handle, -1));
    end_participants();
}
END_TEST

START_TEST(the_pool_of_others_is_left_alone)
{
    region.header->pool_owner[3] = UINT64_C(1) << 48 | 5;
    region.header->pool_owner[4] = UINT64_C(2) << 48 | 5;
    rst_participant_free_pool(&region, 0);
    ck_assert_uint_eq(region.header->pool_owner[3], 0);
    ck_assert_uint_eq(region.header->pool_owner[4], UINT64_C(2) << 48 | 5);
}
END_TEST

START_TEST(a_process_has_a_name)
{
    char name[80];
    region.participants[5].pid = 42;
    rst_participant_name(&region, 5, name, sizeof name);
    ck_assert_str_eq(name, "process 42 (?)");
    memset(region.participants[5].command, 'x', sizeof region.participants[5].command); /* garbage, without an end */
    rst_participant_name(&region, 5 + RST_SLOT_COUNT, name, sizeof name);
    ck_assert_str_eq(name, "process 42 (xxxxxxxxxxxxxxxxxxxxxxx)");
}
END_TEST

/* ---- lanes ---- */

static struct rst_lane_client client;

static void begin_lane(void)
{
    ck_assert_int_eq(rst_region_allocate(&region, region.places.lanes, 2 * RST_LANE_SIZE), 0);
    rst_store_u32(&region.participants[0].lane_allocated, 1);
    rst_lane_client_begin(&client, &region, 0, 1);
}

static int submit(size_t size, uint64_t *ret_sequence)
{
    struct rst_buffer bytes = {0};
    rst_buffer_add_zeros(&bytes, size);
    ck_assert(!bytes.failed);
    int err = rst_lane_submit(&client, &bytes, 1, ret_sequence);
    rst_buffer_free(&bytes);
    return err;
}

static int take(uint64_t after, struct rst_lane_item *ret_item, size_t *ret_size)
{
    struct rst_buffer bytes = {0};
    int found = rst_lane_take(&region, 0, after, &bytes, ret_item, ret_size);
    rst_buffer_free(&bytes);
    return found;
}

static uint32_t steps_taken(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < region.places.pool_step_count; i++) count += region.header->pool_owner[i] != 0;
    return count;
}

START_TEST(the_pool_runs_out_and_is_given_back)
{
    uint64_t sequence, last = 0, count = 0, all = region.places.pool_step_count;
    begin_lane();
    table.allocate = failing_allocate;
    result = ROOST_ENOSPC;
    ck_assert_int_eq(submit(2 * RST_POOL_STEP_SIZE, &sequence), ROOST_ENOSPC);
    table.allocate = rst_os_linux.allocate;
    ck_assert_uint_eq(steps_taken(), 0); /* what cannot be made real is not kept */
    ck_assert_int_eq(submit((size_t)rst_lane_submission_max(&region) + 1, &sequence), ROOST_E2BIG);
    region.header->pool_owner[1] = 77; /* somebody else's, in the middle of the first place that would do */
    ck_assert_int_eq(submit(RST_POOL_STEP_SIZE + 8, &sequence), 0);
    ck_assert_uint_eq(client.spaces[sequence % RST_LANE_ENTRY_COUNT].step, 2);
    for (uint32_t i = 0; i < all; i++)
        if (!region.header->pool_owner[i]) region.header->pool_owner[i] = 77;
    ck_assert_int_eq(submit(RST_POOL_STEP_SIZE, &last), ROOST_EAGAIN);
    for (uint32_t i = 0; i < all; i++) count += region.header->pool_owner[i] == 77;
    ck_assert_uint_eq(count, all - 2);
    rst_lane_release(&client, sequence);
    ck_assert_uint_eq(steps_taken(), all - 2);
    rst_lane_release(&client, sequence); /* again: nothing more is given back */
    ck_assert_uint_eq(client.in_flight, 0);
    ck_assert_int_eq(submit(RST_POOL_STEP_SIZE, &sequence), 0);
    rst_lane_release(&client, sequence);
}
END_TEST

START_TEST(an_answer_belongs_to_its_submission)
{
    uint64_t sequence;
    struct rst_lane_answer answer, given = {.result = 5, .lsn = 6, .id = 7};
    struct rst_lane_item item;
    size_t size;
    begin_lane();
    ck_assert_int_eq(rst_lane_answered(&client, 1, &answer), ROOST_ENOENT); /* never submitted */
    ck_assert_int_eq(submit(100, &sequence), 0);
    ck_assert_int_eq(rst_lane_answered(&client, sequence, &answer), 0);
    ck_assert_int_eq(rst_lane_answered(&client, sequence + RST_LANE_ENTRY_COUNT, &answer), ROOST_ENOENT);
    ck_assert_int_eq(take(0, &item, &size), 1);
    ck_assert_uint_eq(size, 100);
    ck_assert_int_eq(rst_lane_cancel(&client, sequence), ROOST_EBUSY);
    rst_lane_put_back(&item);
    ck_assert_int_eq(rst_lane_cancel(&client, sequence), 0);
    ck_assert_int_eq(rst_lane_answered(&client, sequence, &answer), 1);
    ck_assert_int_eq(answer.result, ROOST_ECANCELED);
    rst_lane_answer(&region, &item, &given); /* cancelled meanwhile: it stays so */
    ck_assert_int_eq(rst_lane_answered(&client, sequence, &answer), 1);
    ck_assert_int_eq(answer.result, ROOST_ECANCELED);
    rst_lane_release(&client, sequence);
    ck_assert_int_eq(submit(100, &sequence), 0);
    ck_assert_int_eq(take(1, &item, &size), 1);
    rst_lane_answer(&region, &item, &given);
    ck_assert_int_eq(rst_lane_answered(&client, sequence, &answer), 1);
    ck_assert_int_eq(answer.result, 5);
    ck_assert_uint_eq(answer.lsn, 6);
    ck_assert(!rst_lane_waiting(&region, 0));
    rst_lane_release(&client, sequence);
}
END_TEST

/* Room comes back in order; what was abandoned goes when it is answered, and nothing else does. */
START_TEST(room_is_given_back_in_order)
{
    uint64_t first, large, second;
    struct rst_lane_answer given = {0};
    struct rst_lane_item item;
    size_t size;
    begin_lane();
    ck_assert_int_eq(submit(1000, &first), 0);
    ck_assert_int_eq(submit(RST_POOL_STEP_SIZE, &large), 0);
    ck_assert_int_eq(submit(1000, &second), 0);
    rst_lane_abandon(&client, second + 1);                    /* not submitted yet */
    rst_lane_abandon(&client, second - RST_LANE_ENTRY_COUNT); /* long gone */
    ck_assert(!rst_lane_reap(&client));
    rst_lane_abandon(&client, second);
    ck_assert(!rst_lane_reap(&client)); /* nobody answered it */
    for (uint64_t after = 0; after < second; after++) {
        ck_assert_int_eq(take(after, &item, &size), 1);
        rst_lane_answer(&region, &item, &given);
    }
    ck_assert(rst_lane_reap(&client));
    rst_lane_release(&client, second); /* once more: nothing happens */
    ck_assert_uint_eq(client.in_flight, 2);
    ck_assert_uint_eq(client.data_tail, 0); /* the first one still lies before it */
    ck_assert(!rst_lane_reap(&client));
    rst_lane_release(&client, first);
    ck_assert_uint_eq(client.data_tail, client.data_head);
    ck_assert_uint_eq(client.in_flight, 1);
    rst_lane_release(&client, large);
    ck_assert_uint_eq(steps_taken(), 0);
}
END_TEST

/* Many times round both rings, that of the entries and that of the data; a lane that is full says so and goes on afterwards. */
START_TEST(a_lane_goes_round)
{
    struct rst_lane_answer given = {0}, answer;
    struct rst_lane_item item;
    uint64_t sequence, first, last = 0;
    size_t size;
    begin_lane();
    for (uint64_t round = 1; round <= 2 * RST_LANE_ENTRY_COUNT; round++) {
        ck_assert_int_eq(submit(3000, &sequence), 0);
        ck_assert_uint_eq(sequence, round);
        ck_assert_int_eq(take(round - 1, &item, &size), 1);
        rst_lane_answer(&region, &item, &given);
        ck_assert_int_eq(rst_lane_answered(&client, sequence, &answer), 1);
        rst_lane_release(&client, sequence);
    }
    rst_lane_release(&client, sequence - 1); /* given back long ago */
    rst_lane_abandon(&client, sequence - RST_LANE_ENTRY_COUNT);
    ck_assert(!rst_lane_reap(&client));
    ck_assert_uint_eq(client.in_flight, 0);
    int err;
    first = sequence + 1;
    while ((err = submit(3000, &sequence)) == 0) last = sequence;
    ck_assert_int_eq(err, ROOST_EAGAIN); /* no data space */
    ck_assert_uint_gt(last, first);
    ck_assert_int_eq(rst_lane_cancel(&client, first), 0);
    rst_lane_release(&client, first);
    ck_assert_int_eq(submit(3000, &sequence), 0); /* in the place of the first */
    ck_assert_uint_eq(sequence, last + 1);
    ck_assert_int_eq(take(first - 1, &item, &size), 1); /* the cancelled one is passed over */
    ck_assert_uint_eq(item.sequence, first + 1);
    rst_lane_put_back(&item);
    while ((err = submit(8, &sequence)) == 0) last = sequence;
    ck_assert_int_eq(err, ROOST_EAGAIN);
}
END_TEST

/* Whatever a careless client writes into its entry, the writer reads within the lane and the pool only, and what is allocated there. */
START_TEST(an_entry_that_points_elsewhere_is_damaged)
{
    uint64_t sequence, pool = region.places.pool, end = pool + region.places.pool_step_count * RST_POOL_STEP_SIZE;
    const uint64_t lane = region.places.lanes;
    const struct {
        uint64_t offset;
        uint32_t size, result_count;
        bool right;
    } entries[] = {
        {lane, 100, 1, true},
        {lane + 4, 100, 1, false},               /* not aligned */
        {lane + RST_LANE_SIZE - 8, 8, 1, false}, /* beyond the lane */
        {lane + RST_LANE_SIZE, 8, 0, false},     /* the next lane's */
        {lane, 8, UINT32_MAX, false},            /* answers without end */
        {0, 8, 0, false},                        /* the header */
        {pool, 8, 0, false},                     /* of the pool, but not real yet */
        {end, 8, 0, false},
        {end + 8, 8, 0, false}, /* beyond all */
        {end - 8, 16, 0, false},
        {UINT64_MAX - 7, 8, 0, false},
    };
    struct rst_lane_answer answer = {.result_count = 1, .results = (const uint64_t[]){42}};
    struct rst_lane_item item;
    size_t size;
    begin_lane();
    for (size_t i = 0; i < RST_COUNT_OF(entries); i++) {
        ck_assert_int_eq(submit(100, &sequence), 0);
        struct rst_lane_entry *entry = &rst_lane_of(&region, 0)->entries[sequence % RST_LANE_ENTRY_COUNT], before = *entry;
        entry->offset = entries[i].offset;
        entry->size = entries[i].size;
        entry->result_count = entries[i].result_count;
        ck_assert(rst_lanes_waiting(&region) == (region.header->participant_high > 0));
        ck_assert(rst_lane_waiting(&region, 0));
        ck_assert_int_eq(take(sequence - 1, &item, &size), 1);
        ck_assert_msg((size == entries[i].size) == entries[i].right && (entries[i].right || size == 0), "entry %zu", i);
        if (!entries[i].right) rst_lane_answer(&region, &item, &answer); /* writes no result there */
        entry->offset = before.offset;
        entry->size = before.size;
        entry->result_count = before.result_count;
        if (entries[i].right) rst_lane_answer(&region, &item, &answer);
        ck_assert_uint_eq(rst_get_u64(region.base + before.offset + 104), entries[i].right ? 42 : 0);
        rst_lane_release(&client, sequence);
        memset(region.base + before.offset + 104, 0, 8);
    }
    ck_assert_uint_eq(region.header->magic, RST_REGION_MAGIC);
}
END_TEST

/* As many as there are entries, all taken back before a writer came: the writer passes over all of them, the client waits until then. */
START_TEST(a_lane_full_of_cancelled_ones_is_passed_over)
{
    struct rst_lane_item item;
    uint64_t sequence;
    size_t size;
    begin_lane();
    for (uint64_t i = 1; i <= RST_LANE_ENTRY_COUNT; i++) ck_assert_int_eq(submit(8, &sequence), 0);
    ck_assert_int_eq(submit(8, &sequence), ROOST_EAGAIN); /* all are in use */
    for (uint64_t i = 1; i <= RST_LANE_ENTRY_COUNT; i++) {
        ck_assert_int_eq(rst_lane_cancel(&client, i), 0);
        rst_lane_release(&client, i);
    }
    ck_assert_int_eq(submit(8, &sequence), ROOST_EAGAIN); /* free here, but the writer goes in order */
    ck_assert(rst_lane_waiting(&region, 0));
    ck_assert_int_eq(take(0, &item, &size), 0);
    ck_assert_uint_eq(rst_lane_of(&region, 0)->consumed, RST_LANE_ENTRY_COUNT);
    ck_assert(!rst_lane_waiting(&region, 0));
    ck_assert_int_eq(submit(8, &sequence), 0);
}
END_TEST

START_TEST(what_was_cancelled_waits_for_those_before_it)
{
    struct rst_lane_answer given = {.result = 5}, answer;
    struct rst_lane_item first, item;
    uint64_t sequence;
    size_t size;
    begin_lane();
    for (int i = 0; i < 3; i++) ck_assert_int_eq(submit(8, &sequence), 0);
    ck_assert_int_eq(take(0, &first, &size), 1);
    ck_assert_int_eq(rst_lane_cancel(&client, 2), 0);
    ck_assert_int_eq(take(1, &item, &size), 1);
    ck_assert_uint_eq(item.sequence, 3);
    ck_assert_uint_eq(rst_lane_of(&region, 0)->consumed, 0); /* the first one has no answer yet */
    rst_lane_put_back(&first);
    rst_lane_answer(&region, &first, &given); /* put back by one writer, answered by its heir from the frame */
    ck_assert_int_eq(rst_lane_answered(&client, 1, &answer), 1);
    ck_assert_int_eq(answer.result, 5);
    ck_assert_uint_eq(rst_lane_of(&region, 0)->consumed, 1);
}
END_TEST

/* The moments between two stores of one who dies, or only goes on later: the lane is not the next client's yet. */
START_TEST(a_lane_is_not_done_before_all_is_consumed)
{
    struct rst_lane_item item;
    uint64_t sequence;
    size_t size;
    begin_lane();
    struct rst_lane *lane = rst_lane_of(&region, 0);
    ck_assert_int_eq(submit(8, &sequence), 0);
    ck_assert_int_eq(take(0, &item, &size), 1);
    lane->entries[1].word = 1 << 3 | RST_LANE_DONE; /* answered, and `consumed` is not raised */
    ck_assert(rst_lane_waiting(&region, 0));
    rst_lane_release(&client, 1);
    ck_assert(rst_lane_waiting(&region, 0));
    ck_assert_int_eq(take(0, &item, &size), 0); /* an heir passes it over */
    ck_assert_uint_eq(lane->consumed, 1);
    ck_assert(!rst_lane_waiting(&region, 0));
    ck_assert_int_eq(submit(8, &sequence), 0);
    lane->submitted = 1; /* the word is stored, `submitted` is not: a writer may take it all the same */
    ck_assert(rst_lane_waiting(&region, 0));
}
END_TEST

/* Whatever stands in a lane's counters or in the number of slots, looking for work ends within the region. */
START_TEST(garbage_in_counters_ends)
{
    struct rst_lane_item item;
    size_t size;
    begin_lane();
    struct rst_lane *lane = rst_lane_of(&region, 0);
    lane->submitted = UINT64_MAX / 16;
    for (uint64_t i = 1; i <= RST_LANE_ENTRY_COUNT; i++) lane->entries[i % RST_LANE_ENTRY_COUNT].word = i << 3 | RST_LANE_DONE;
    ck_assert(rst_lane_waiting(&region, 0)); /* to be passed over */
    ck_assert_int_eq(take(0, &item, &size), 0);
    ck_assert(!rst_lane_waiting(&region, 0));
    region.header->participant_high = UINT32_MAX;
    ck_assert(!rst_lanes_waiting(&region));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region");
    TCase *tests = tcase_create("region");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_region_that_differs_in_any_fact_is_not_ours);
    tcase_add_test(tests, another_version_is_named);
    tcase_add_test(tests, sizes_that_cannot_be_are_refused);
    tcase_add_test(tests, a_file_that_is_not_as_ours_is_refused);
    tcase_add_test(tests, why_it_cannot_be_opened_is_said);
    tcase_add_test(tests, what_cannot_be_looked_at_is_none);
    tcase_add_test(tests, what_is_unlinked_is_marked_if_it_is_ours);
    tcase_add_test(tests, a_region_that_cannot_be_made_leaves_nothing_open);
    tcase_add_test(tests, a_region_belongs_to_the_roots_owner);
    tcase_add_test(tests, what_fails_in_shared_memory_is_said_so);
    tcase_add_test(tests, a_small_dev_shm_gets_a_small_region);
    tcase_add_test(tests, the_mark_is_taken_back_for_ones_own_only);
    tcase_add_test(tests, a_latch_whose_writer_died_is_repaired);
    tcase_add_test(tests, a_reader_that_writers_overtake_reads_again_and_gives_up_at_last);
    tcase_add_test(tests, slots_are_taken_in_an_order_that_saves_work);
    tcase_add_test(tests, a_slot_that_cannot_be_had_is_not_taken);
    tcase_add_test(tests, others_are_those_who_live_and_stay);
    tcase_add_test(tests, the_pool_of_others_is_left_alone);
    tcase_add_test(tests, a_process_has_a_name);
    tcase_add_test(tests, the_pool_runs_out_and_is_given_back);
    tcase_add_test(tests, an_answer_belongs_to_its_submission);
    tcase_add_test(tests, room_is_given_back_in_order);
    tcase_add_test(tests, a_lane_goes_round);
    tcase_add_test(tests, an_entry_that_points_elsewhere_is_damaged);
    tcase_add_test(tests, a_lane_full_of_cancelled_ones_is_passed_over);
    tcase_add_test(tests, what_was_cancelled_waits_for_those_before_it);
    tcase_add_test(tests, a_lane_is_not_done_before_all_is_consumed);
    tcase_add_test(tests, garbage_in_counters_ends);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
