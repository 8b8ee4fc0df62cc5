/* SPDX-License-Identifier: MIT
 * unit/test_sim.c: does the simulated machine lose what it may, and never what it must not? */
#include <check.h>
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/sim.h"
#include "unit/os_shared.h"

static struct sim *sim;

static int begin(void)
{
    sim = sim_create(1);
    sim_use(sim);
    ck_assert_int_eq(rst_os->mkdir(-1, "/root", 0700), 0);
    int up = rst_os->open(-1, "/", RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_os->fsync(up), 0);
    rst_os->close(up);
    int directory = rst_os->open(-1, "/root", RST_OPEN_DIRECTORY, 0);
    ck_assert_int_ge(directory, 0);
    return directory;
}

static void end(void)
{
    sim_use(NULL);
    sim_destroy(sim);
}

static void make_symlink(const char *name)
{
    char at[64];
    snprintf(at, sizeof at, "/root/%s", name);
    ck_assert_int_eq(sim_symlink(sim, at), 0);
}

static int make_durable(int directory, const char *name, int value, size_t size)
{
    uint8_t *bytes = malloc(size);
    memset(bytes, value, size);
    int file = rst_os->open(directory, name, NEW_FILE, 0600);
    ck_assert_int_eq(rst_write_all(file, bytes, size, 0), 0);
    ck_assert_int_eq(rst_os->fdatasync(file), 0);
    ck_assert_int_eq(rst_os->fsync(directory), 0);
    free(bytes);
    return file;
}

enum { SEEDS = 3000 };

START_TEST(synced_bytes_survive_and_others_may_not)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 4096);
    uint8_t two[2048], found[4096], ones[2048];
    memset(two, 2, sizeof two);
    memset(ones, 1, sizeof ones);
    ck_assert_int_eq(rst_write_all(file, two, sizeof two, 2048), 0);
    int all_old = 0, all_new = 0, torn = 0, mixed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *image = sim_power_loss(sim, seed);
        ck_assert_int_eq(sim_read_file(image, "/root/a", found, sizeof found, 0), 4096);
        ck_assert_mem_eq(found, ones, 2048);
        int new_sectors = 0, torn_sectors = 0, strange = 0;
        for (int sector = 4; sector < 8; sector++) {
            int news = 0;
            for (int i = 0; i < 512; i++) {
                news += found[sector * 512 + i] == 2;
                strange += found[sector * 512 + i] != 1 && found[sector * 512 + i] != 2;
            }
            new_sectors += news == 512;
            torn_sectors += news > 0 && news < 512;
        }
        ck_assert_int_eq(strange, 0); /* no garbage in old space */
        all_old += new_sectors == 0 && !torn_sectors;
        all_new += new_sectors == 4;
        mixed += new_sectors > 0 && new_sectors < 4;
        torn += torn_sectors > 0;
        sim_destroy(image);
    }
    ck_assert_int_gt(all_old, SEEDS / 50);
    ck_assert_int_gt(all_new, SEEDS / 50);
    ck_assert_int_gt(mixed, SEEDS / 10);
    ck_assert_int_gt(torn, SEEDS / 50);
    ck_assert_int_eq(rst_os->fdatasync(file), 0);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *image = sim_power_loss(sim, seed);
        ck_assert_int_eq(sim_read_file(image, "/root/a", found, sizeof found, 0), 4096);
        ck_assert_mem_eq(found + 2048, two, 2048);
        sim_destroy(image);
    }
    end();
}
END_TEST

START_TEST(a_growing_file_may_end_anywhere)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 1000);
    uint8_t two[3000], found[4096], ones[1000];
    memset(two, 2, sizeof two);
    memset(ones, 1, sizeof ones);
    ck_assert_int_eq(rst_write_all(file, two, sizeof two, 1000), 0);
    int kept = 0, grown = 0, between = 0, strange = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *image = sim_power_loss(sim, seed);
        int64_t size = sim_read_file(image, "/root/a", found, sizeof found, 0);
        ck_assert_int_ge(size, 1000);
        ck_assert_int_le(size, 4000);
        kept += size == 1000;
        grown += size == 4000;
        between += size > 1000 && size < 4000;
        ck_assert_mem_eq(found, ones, 1000);
        bool garbage = false;
        for (int64_t i = 1024; i < size; i++) garbage |= found[i] != 0 && found[i] != 2;
        strange += garbage;
        sim_destroy(image);
    }
    ck_assert_int_gt(kept, 10);
    ck_assert_int_gt(grown, 10);
    ck_assert_int_gt(between, 10);
    ck_assert_int_gt(strange, 1);
    end();
}
END_TEST

START_TEST(names_need_a_sync_of_their_directory)
{
    int directory = begin();
    rst_os->close(make_durable(directory, "a", 'a', 100));
    rst_os->close(make_durable(directory, "b", 'b', 100));
    ck_assert_int_eq(rst_os->rename(directory, "a", "b"), 0);
    int file = rst_os->open(directory, "c", NEW_FILE, 0600);
    ck_assert_int_eq(rst_write_all(file, "c", 1, 0), 0);
    ck_assert_int_eq(rst_os->fsync(file), 0); /* makes the file durable, not its name */
    int renamed = 0, created = 0;
    char byte;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *image = sim_power_loss(sim, seed);
        ck_assert_int_eq(sim_read_file(image, "/root/b", &byte, 1, 0), 1); /* never without either */
        bool done = byte == 'a';
        ck_assert_int_eq(sim_file_size(image, "/root/a"), done ? -ENOENT : 100); /* both names in one change */
        renamed += done;
        if (sim_file_size(image, "/root/c") == 1) created++;
        sim_destroy(image);
    }
    ck_assert_int_gt(renamed, SEEDS / 10);
    ck_assert_int_lt(renamed, SEEDS * 9 / 10);
    ck_assert_int_gt(created, SEEDS / 10);
    ck_assert_int_lt(created, SEEDS * 9 / 10);
    ck_assert_int_eq(rst_os->fsync(directory), 0);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *image = sim_power_loss(sim, seed);
        ck_assert_int_eq(sim_file_size(image, "/root/a"), -ENOENT);
        ck_assert_int_eq(sim_file_size(image, "/root/c"), 1);
        sim_destroy(image);
    }
    end();
}
END_TEST

/* ---- rst_replace_file, crashed before and after everything that it does ---- */
struct replace_crash {
    int calls, olds, news;
};

static void crash_here(void *user, uint64_t operation, const char *name)
{
    struct replace_crash *crash = user;
    (void)operation, (void)name;
    crash->calls++;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct sim *image = seed ? sim_power_loss(sim, seed) : sim_process_loss(sim);
        char found[8] = "";
        sim_use(image); /* a whole program on the other machine, within an operation of this one */
        int file = rst_os->open(-1, "/root/m", RST_OPEN_READ, 0);
        ck_assert_int_ge(file, 0);
        ck_assert_int_eq(rst_read_all(file, found, 7, 0), 7);
        rst_os->close(file);
        sim_use(sim);
        ck_assert(strcmp(found, "old old") == 0 || strcmp(found, "new new") == 0);
        crash->olds += found[0] == 'o';
        crash->news += found[0] == 'n';
        sim_destroy(image);
    }
}

START_TEST(replace_file_is_whole_at_every_crash)
{
    int directory = begin();
    struct replace_crash crash = {0, 0, 0};
    ck_assert_int_eq(rst_replace_file(directory, "m", "old old", 7, 0600, NULL), 0);
    sim_set_hook(sim, crash_here, &crash);
    ck_assert_int_eq(rst_replace_file(directory, "m", "new new", 7, 0600, NULL), 0);
    sim_set_hook(sim, NULL, NULL);
    ck_assert_int_ge(crash.calls, 8);
    ck_assert_int_gt(crash.olds, 100);
    ck_assert_int_gt(crash.news, 100);
    end();
}
END_TEST

START_TEST(replace_file_fails_cleanly_at_every_operation)
{
    for (uint64_t number = 1;; number++) {
        int directory = begin();
        ck_assert_int_eq(rst_replace_file(directory, "m", "old old", 7, 0600, NULL), 0);
        sim_reset_operation_count(sim);
        sim_fail_at(sim, number, EIO, false);
        int result = rst_replace_file(directory, "m", "new new", 7, 0600, NULL);
        bool fired = sim_failure_count(sim) != 0;
        ck_assert_int_eq(result, fired ? -EIO : 0);
        char found[8] = "";
        ck_assert_int_eq(sim_read_file(sim, "/root/m", found, 7, 0), 7);
        ck_assert(strcmp(found, "old old") == 0 || strcmp(found, "new new") == 0);
        end();
        if (!fired) {
            ck_assert_uint_ge(number, 7);
            break;
        }
    }
}
END_TEST

START_TEST(a_seed_tells_everything)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 8192);
    uint8_t one[16384], two[16384];
    memset(one, 5, sizeof one);
    ck_assert_int_eq(rst_write_all(file, one, 9000, 3000), 0);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *first = sim_power_loss(sim, seed), *second = sim_power_loss(sim, seed);
        int64_t size = sim_read_file(first, "/root/a", one, sizeof one, 0);
        ck_assert_int_eq(sim_read_file(second, "/root/a", two, sizeof two, 0), size);
        ck_assert_mem_eq(one, two, (size_t)size);
        ck_assert_str_eq(sim_strategy(first), sim_strategy(second));
        sim_destroy(first), sim_destroy(second);
    }
    end();
}
END_TEST

START_TEST(a_dead_process_leaves_what_it_stored)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 4096);
    int shm = rst_os->shm_open("/region", NEW_FILE, 0600);
    void *shared, *mapped;
    uint8_t boot[16], boot_now[16];
    ck_assert_int_eq(rst_os->allocate(shm, 0, 65536), 0);
    ck_assert_int_eq(rst_os->map(shm, 0, 65536, RST_MAP_WRITE, &shared), 0);
    ck_assert_int_eq(rst_os->map(file, 0, 4096, RST_MAP_WRITE, &mapped), 0);
    memset((char *)shared + 40000, 9, 10);
    memset((char *)mapped + 1024, 8, 512);
    ck_assert_int_eq(rst_write_all(file, "cached", 6, 0), 0);
    ck_assert_int_eq(rst_os->flock(file), 0);
    rst_os->boot_id(boot);
    struct sim *image = sim_process_loss(sim);
    sim_use(image);
    int again = rst_os->open(-1, "/root/a", RST_OPEN_WRITE, 0);
    uint8_t found[4096];
    ck_assert_int_eq(rst_read_all(again, found, 4096, 0), 4096);
    ck_assert_mem_eq(found, "cached", 6);
    ck_assert_int_eq(found[1024], 8);
    ck_assert_int_eq(rst_os->flock(again), 0);
    rst_os->boot_id(boot_now);
    ck_assert_mem_eq(boot, boot_now, 16);
    int region = rst_os->shm_open("/region", RST_OPEN_READ, 0);
    void *seen;
    ck_assert_int_eq(rst_os->map(region, 0, 65536, RST_MAP_READ, &seen), 0);
    ck_assert_ptr_ne(seen, shared);
    ck_assert_int_eq(((char *)seen)[40009], 9);
    /* and the power may go after the processes did: what they stored is not durable for all that */
    int lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct sim *dark = sim_power_loss(image, seed);
        ck_assert_int_eq(sim_read_file(dark, "/root/a", found, 4096, 0), 4096);
        lost += found[1024] == 1;
        kept += found[1024] == 8;
        sim_use(dark);
        ck_assert_int_eq(rst_os->shm_open("/region", RST_OPEN_READ, 0), -ENOENT);
        rst_os->boot_id(boot_now);
        ck_assert_int_ne(memcmp(boot, boot_now, 16), 0);
        sim_destroy(dark);
    }
    ck_assert_int_gt(lost, 50);
    ck_assert_int_gt(kept, 50);
    sim_destroy(image);
    end();
}
END_TEST

START_TEST(killing_one_process_frees_its_locks_only)
{
    int directory = begin(), survivor = make_durable(directory, "a", 1, 4096);
    int process = sim_process_create(sim), before = sim_process_use(sim, process);
    int file = rst_os->open(-1, "/root/a", RST_OPEN_WRITE, 0);
    void *address;
    ck_assert_int_eq(rst_os->flock(file), 0);
    ck_assert_int_eq(rst_os->lock_byte(file, 5), 0);
    ck_assert_int_eq(rst_os->map(file, 0, 4096, RST_MAP_READ, &address), 0);
    sim_process_use(sim, before);
    ck_assert_int_eq(rst_os->lock_byte(survivor, 6), 0);
    ck_assert_int_eq(rst_os->flock(survivor), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->probe_byte(survivor, 5), 1);
    sim_process_kill(sim, process);
    ck_assert_int_eq(rst_os->flock(survivor), 0);
    ck_assert_int_eq(rst_os->probe_byte(survivor, 5), 0);
    ck_assert_int_eq(*(char *)address, 1); /* the dead handle's pointers harm nobody */
    ck_assert_int_eq(rst_os->unmap(address, 4096), 0);
    ck_assert_int_eq(*(char *)address, 1);
    ck_assert_int_eq(rst_os->close(file), -EBADF);
    int other = rst_os->open(directory, "a", RST_OPEN_WRITE, 0);
    ck_assert_int_eq(rst_os->probe_byte(other, 6), 1);
    end();
}
END_TEST

/* ---- failing syncs: after the error, a sync that says OK proves nothing ---- */
static void failed_sync(enum sim_sync_failure flavour, int second_result, bool cache_keeps, bool comes_back)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 65536);
    uint8_t found[65536], twos[65536];
    memset(twos, 2, sizeof twos);
    sim_set_sync_failure(sim, flavour);
    ck_assert_int_eq(rst_write_all(file, twos, sizeof twos, 0), 0);
    sim_fail_named(sim, "fdatasync", 1, ENOSPC, false);
    ck_assert_int_eq(rst_os->fdatasync(file), -ENOSPC);
    ck_assert_int_eq(rst_os->fdatasync(file), second_result);
    ck_assert_int_eq(rst_os->fdatasync(file), 0);
    ck_assert_int_eq(rst_read_all(file, found, sizeof found, 0), 65536);
    ck_assert_int_eq(memcmp(found, twos, sizeof found) == 0, cache_keeps);
    struct sim *image = sim_power_loss(sim, 3);
    ck_assert_int_eq(sim_read_file(image, "/root/a", found, sizeof found, 0), 65536);
    ck_assert_int_eq(memcmp(found, twos, sizeof found) == 0, comes_back);
    sim_destroy(image);
    /* Writing it again and syncing does help. */
    ck_assert_int_eq(rst_write_all(file, twos, sizeof twos, 0), 0);
    ck_assert_int_eq(rst_os->fdatasync(file), 0);
    image = sim_power_loss(sim, 4);
    ck_assert_int_eq(sim_read_file(image, "/root/a", found, sizeof found, 0), 65536);
    ck_assert_mem_eq(found, twos, sizeof found);
    sim_destroy(image);
    end();
}

START_TEST(a_failed_sync_loses_as_ext4_does) { failed_sync(SIM_SYNC_EXT4, -EIO, true, false); }
END_TEST
START_TEST(a_failed_sync_loses_as_xfs_does) { failed_sync(SIM_SYNC_XFS, 0, true, false); }
END_TEST
START_TEST(a_failed_sync_loses_as_btrfs_does) { failed_sync(SIM_SYNC_BTRFS, 0, false, false); }
END_TEST
START_TEST(a_failed_sync_may_be_kind) { failed_sync(SIM_SYNC_KEEPS_DIRTY, 0, true, true); }
END_TEST

START_TEST(the_disk_can_be_full)
{
    int directory = begin();
    sim_set_capacity(sim, 8 * 4096);
    int file = make_durable(directory, "a", 1, 6 * 4096);
    ck_assert_int_eq(rst_os->allocate(file, 0, 9 * 4096), -ENOSPC);
    static const uint8_t bytes[8 * 4096] = {1};
    int other = rst_os->open(directory, "b", NEW_FILE, 0600);
    ck_assert_int_eq(rst_write_all(other, bytes, sizeof bytes, 0), -ENOSPC);
    ck_assert_int_eq(rst_write_all(file, bytes, 4096, 4096), 0); /* space that is there can be written */
    ck_assert_int_eq(rst_os->punch(file, 0, 4 * 4096), 0);
    ck_assert_uint_lt(sim_used(sim), 8 * 4096);
    rst_os->close(other);
    ck_assert_int_eq(rst_os->unlink(directory, "b"), 0);
    ck_assert_int_eq(rst_os->fsync(directory), 0);
    ck_assert_uint_le(sim_used(sim), 4 * 4096);
    /* /dev/shm: all or nothing, as tmpfs gives back what a failed allocation had taken */
    sim_set_shm_capacity(sim, 4 * 4096);
    int shm = rst_os->shm_open("/r", NEW_FILE, 0600);
    ck_assert_int_eq(rst_os->allocate(shm, 0, 5 * 4096), -ENOSPC);
    ck_assert_int_eq(rst_os->allocate(shm, 0, 4 * 4096), 0);
    ck_assert_int_eq(rst_os->shm_space(), 4 * 4096);
    end();
}
END_TEST

START_TEST(a_broken_disk_stays_broken)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 100);
    sim_fail_named(sim, "pwrite", 2, EIO, true);
    ck_assert_int_eq(rst_write_all(file, "x", 1, 0), 0);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(rst_write_all(file, "y", 1, 1), -EIO);
    ck_assert_uint_eq(sim_failure_count(sim), 3);
    sim_fail_at(sim, 0, 0, false);
    ck_assert_int_eq(rst_write_all(file, "y", 1, 1), 0);
    sim_sync_all(sim);
    struct sim *image = sim_power_loss(sim, 1);
    char found[2];
    ck_assert_int_eq(sim_read_file(image, "/root/a", found, 2, 0), 2);
    ck_assert_mem_eq(found, "xy", 2);
    sim_destroy(image);
    end();
}
END_TEST

START_TEST(noise_does_not_disturb_the_helpers)
{
    int directory = begin();
    uint8_t bytes[10000], found[10000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
    sim_set_noise(sim, 400, 300);
    int file = rst_os->open(directory, "a", NEW_FILE, 0600);
    for (uint64_t i = 0; i < 50; i++) {
        ck_assert_int_eq(rst_write_all(file, bytes, sizeof bytes, i * 100), 0);
        ck_assert_int_eq(rst_read_all(file, found, sizeof found, i * 100), (int64_t)sizeof bytes);
        ck_assert_mem_eq(bytes, found, sizeof bytes);
    }
    static uint32_t word;
    ck_assert_int_eq(rst_wait_word(&word, 0, 1000000), -ETIMEDOUT);
    end();
}
END_TEST

/* ---- the same random program on both bodies, result by result ---- */
enum { SLOTS = 6, STEPS = 400, PROGRAMS = 300 };
struct side {
    const struct rst_os *os;
    int directory, files[SLOTS];
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static int64_t sum_of(const uint8_t *bytes, int64_t size)
{
    uint64_t sum = 7;
    for (int64_t i = 0; i < size; i++) sum = sum * 31 + bytes[i];
    return (int64_t)(sum >> 1);
}

/* One step; everything random comes from `random`, so that both sides do the same. Descriptors are told as 1. */
static int64_t random_step(struct side *side, uint64_t random)
{
    static uint8_t bytes[20000];
    static const char *const names[] = {"a", "b", "c", "d"};
    const char *name = names[next_random(&random) % 4], *other = names[next_random(&random) % 4];
    int *slot = &side->files[next_random(&random) % SLOTS], file = *slot;
    uint64_t kind = next_random(&random) % 16, offset = next_random(&random) % 50000, size = next_random(&random) % 20000;
    struct rst_stat stat;
    int64_t result;
    if (file < 0 || kind == 0) { /* opens in many ways */
        static const unsigned ways[] = {
            RST_OPEN_READ,     RST_OPEN_WRITE, RST_OPEN_WRITE | RST_OPEN_CREATE, NEW_FILE, RST_OPEN_TEMPORARY | RST_OPEN_WRITE,
            RST_OPEN_DIRECTORY};
        unsigned way = ways[next_random(&random) % 6];
        if (file >= 0) side->os->close(file);
        *slot = side->os->open(side->directory, way & RST_OPEN_TEMPORARY ? "." : name, way, 0600);
        return *slot < 0 ? *slot : 1;
    }
    switch (kind) {
    case 1:
        return side->os->link(file, side->directory, name);
    case 2:
        return side->os->rename(side->directory, name, other);
    case 3:
        return side->os->unlink(side->directory, name);
    case 4:
        return side->os->flock(file);
    case 5:
        return side->os->funlock(file);
    case 6:
        return side->os->lock_byte(file, offset % 4);
    case 7:
        return side->os->unlock_byte(file, offset % 4);
    case 8:
        return side->os->probe_byte(file, offset % 4);
    case 9:
        return side->os->allocate(file, offset, size);
    case 10:
        return side->os->punch(file, offset, size);
    case 11:
        return side->os->fdatasync(file);
    case 12:
        result = side->os->stat(file, &stat);
        return result < 0 ? result : (int64_t)(stat.size * 1000 + stat.link_count * 10 + stat.kind);
    case 13:
        result = side->os->pread(file, bytes, size, offset);
        return result < 0 ? result : sum_of(bytes, result);
    default:
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(random + i * 3);
        return side->os->pwrite(file, bytes, size, offset);
    }
}

START_TEST(random_programs_do_as_on_linux)
{
    char path[] = "/dev/shm/roost-test-XXXXXX"; /* memory too: this is about meaning, not about disks */
    ck_assert_ptr_nonnull(mkdtemp(path));
    for (uint64_t program = 1; program <= PROGRAMS; program++) {
        struct side sides[2] = {{&rst_os_linux, rst_os_linux.open(-1, path, RST_OPEN_DIRECTORY, 0), {0}},
                                {&rst_os_sim, begin(), {0}}};
        uint64_t random = program;
        for (int i = 0; i < SLOTS; i++) sides[0].files[i] = sides[1].files[i] = -1;
        for (int step = 0; step < STEPS; step++) {
            uint64_t choice = next_random(&random);
            int64_t there = random_step(&sides[0], choice), here = random_step(&sides[1], choice);
            if (there != here)
                ck_abort_msg("program %d, step %d: Linux says %lld, the machine %lld", (int)program, step, (long long)there,
                             (long long)here);
        }
        for (int i = 0; i < SLOTS; i++)
            if (sides[0].files[i] >= 0) rst_os_linux.close(sides[0].files[i]);
        for (const char *name = "abcd"; *name; name++) rst_os_linux.unlink(sides[0].directory, (char[]){*name, '\0'});
        rst_os_linux.close(sides[0].directory);
        end();
    }
    rmdir(path);
}
END_TEST

static jmp_buf out;
static void jump_away(void *user, uint64_t operation, const char *name)
{
    (void)user, (void)operation;
    if (strcmp(name, "pwrite") == 0) longjmp(out, 1);
}

START_TEST(a_hook_may_jump_out_of_a_dying_process)
{
    int directory = begin(), process = sim_process_create(sim);
    sim_process_use(sim, process);
    sim_set_hook(sim, jump_away, NULL);
    if (setjmp(out) == 0) {
        int file = rst_os->open(directory, "a", NEW_FILE, 0600);
        (void)!rst_os->flock(file);
        (void)!rst_write_all(file, "never", 5, 0);
        ck_abort_msg("the hook did not jump");
    }
    sim_set_hook(sim, NULL, NULL);
    sim_process_kill(sim, process);
    sim_process_use(sim, 0);
    ck_assert_int_eq(sim_file_size(sim, "/root/a"), 0);
    int file = rst_os->open(-1, "/root/a", RST_OPEN_WRITE, 0);
    ck_assert_int_eq(rst_os->flock(file), 0);
    end();
}
END_TEST

static uint32_t idle_word;
static void change_word(void *user)
{
    (void)user;
    idle_word++;
}

START_TEST(others_run_while_one_waits)
{
    begin();
    ck_assert_int_eq(rst_wait_word(&idle_word, 0, 50), -ETIMEDOUT);
    sim_set_idle(sim, change_word, NULL);
    ck_assert_int_eq(rst_wait_word(&idle_word, 0, -1), 0);
    end();
}
END_TEST

START_TEST(files_can_be_damaged_and_copied)
{
    int directory = begin();
    rst_os->close(make_durable(directory, "a", 1, 5000));
    ck_assert_int_eq(sim_corrupt(sim, "/root/a", 4999, "x", 1), 0);
    ck_assert_int_eq(sim_corrupt(sim, "/root/a", 5000, "x", 1), -EINVAL);
    ck_assert_int_eq(sim_copy_tree(sim, "/root", "/copy"), 0);
    ck_assert_int_eq(sim_truncate(sim, "/root/a", 10), 0);
    struct rst_stat first, second;
    rst_os->stat_at(-1, "/root/a", &first), rst_os->stat_at(-1, "/copy/a", &second);
    ck_assert_uint_ne(first.inode, second.inode);
    struct sim *image = sim_power_loss(sim, 1);
    char byte = 0;
    ck_assert_int_eq(sim_file_size(image, "/root/a"), 10);
    ck_assert_int_eq(sim_read_file(image, "/copy/a", &byte, 1, 4999), 1);
    ck_assert_int_eq(byte, 'x');
    sim_destroy(image);
    ck_assert_int_eq(rst_os->open(-1, "/nowhere/a", RST_OPEN_READ, 0), -ENOENT);
    end();
}
END_TEST

START_TEST(other_users_are_kept_out)
{
    int directory = begin();
    rst_os->close(make_durable(directory, "a", 1, 10));
    sim_set_user(sim, 2000);
    ck_assert_int_eq(rst_os->open(directory, "a", RST_OPEN_READ, 0), -EACCES);
    ck_assert_int_eq(rst_os->open(directory, "b", NEW_FILE, 0600), -EACCES);
    sim_set_user(sim, 0);
    int file = rst_os->open(directory, "a", RST_OPEN_WRITE, 0);
    ck_assert_int_eq(rst_os->chown(file, 2000, 2000), 0);
    sim_set_user(sim, 2000);
    ck_assert_int_eq(rst_os->chmod(file, 0640), 0);
    sim_set_file_system(sim, "nfs");
    char name[8];
    ck_assert_int_eq(rst_os->file_system(file, name, sizeof name), 0);
    ck_assert_str_eq(name, "nfs");
    end();
}
END_TEST

/* A store beyond the end of a mapped file would be SIGBUS; here it ends the test at unmap. */
START_TEST(a_store_beyond_the_end_is_noticed)
{
    int directory = begin(), file = make_durable(directory, "a", 1, 4096);
    void *address;
    ck_assert_int_eq(rst_os->map(file, 0, 65536, RST_MAP_WRITE, &address), 0);
    ((char *)address)[8192] = 1;
    rst_os->unmap(address, 65536);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim");
    suite_add_tcase(suite, shared_case("both bodies"));
    TCase *tests = tcase_create("machine");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, synced_bytes_survive_and_others_may_not);
    tcase_add_test(tests, a_growing_file_may_end_anywhere);
    tcase_add_test(tests, names_need_a_sync_of_their_directory);
    tcase_add_test(tests, replace_file_is_whole_at_every_crash);
    tcase_add_test(tests, replace_file_fails_cleanly_at_every_operation);
    tcase_add_test(tests, a_seed_tells_everything);
    tcase_add_test(tests, a_dead_process_leaves_what_it_stored);
    tcase_add_test(tests, killing_one_process_frees_its_locks_only);
    tcase_add_test(tests, a_failed_sync_loses_as_ext4_does);
    tcase_add_test(tests, a_failed_sync_loses_as_xfs_does);
    tcase_add_test(tests, a_failed_sync_loses_as_btrfs_does);
    tcase_add_test(tests, a_failed_sync_may_be_kind);
    tcase_add_test(tests, the_disk_can_be_full);
    tcase_add_test(tests, a_broken_disk_stays_broken);
    tcase_add_test(tests, noise_does_not_disturb_the_helpers);
    tcase_add_test(tests, random_programs_do_as_on_linux);
    tcase_add_test(tests, a_hook_may_jump_out_of_a_dying_process);
    tcase_add_test(tests, others_run_while_one_waits);
    tcase_add_test(tests, files_can_be_damaged_and_copied);
    tcase_add_test(tests, other_users_are_kept_out);
    tcase_add_test_raise_signal(tests, a_store_beyond_the_end_is_noticed, 6 /* SIGABRT */);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
