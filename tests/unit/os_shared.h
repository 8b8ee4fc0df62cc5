/* SPDX-License-Identifier: MIT
 * unit/os_shared.h: what both bodies of os.h must do alike; test_os.c runs it on Linux, test_sim.c on the simulated machine.
 * An including file defines begin() -> descriptor of an empty directory, end(), and make_symlink(name) in that directory. */
#ifndef RST_TESTS_OS_SHARED_H
#define RST_TESTS_OS_SHARED_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "os/os.h"

static int begin(void);
static void end(void);
static void make_symlink(const char *name);

enum { NEW_FILE = RST_OPEN_WRITE | RST_OPEN_CREATE | RST_OPEN_EXCLUSIVE };

static int make_file(int directory, const char *name, const char *text)
{
    int file = rst_os->open(directory, name, NEW_FILE, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(rst_write_all(file, text, strlen(text), 0), 0);
    return file;
}

static void expect_content(int directory, const char *name, const char *text)
{
    char found[256] = "";
    int file = rst_os->open(directory, name, RST_OPEN_READ, 0);
    ck_assert_int_ge(file, 0);
    int64_t size = rst_read_all(file, found, sizeof found - 1, 0);
    ck_assert_int_ge(size, 0);
    found[size] = '\0';
    ck_assert_str_eq(found, text);
    ck_assert_int_eq(rst_os->close(file), 0);
}

START_TEST(open_says_what_is_there)
{
    int directory = begin();
    ck_assert_int_eq(rst_os->open(directory, "a", RST_OPEN_READ, 0), -ENOENT);
    int file = make_file(directory, "a", "hello");
    ck_assert_int_eq(rst_os->open(directory, "a", NEW_FILE, 0600), -EEXIST);
    ck_assert_int_eq(rst_os->open(directory, "a", RST_OPEN_DIRECTORY, 0), -ENOTDIR);
    ck_assert_int_eq(rst_os->mkdir(directory, "d", 0700), 0);
    ck_assert_int_eq(rst_os->mkdir(directory, "d", 0700), -EEXIST);
    ck_assert_int_eq(rst_os->open(directory, "d", RST_OPEN_WRITE, 0), -EISDIR);
    int below = rst_os->open(directory, "d", RST_OPEN_DIRECTORY, 0);
    ck_assert_int_ge(below, 0);
    int inner = make_file(below, "b", "inside");
    expect_content(directory, "d/b", "inside");
    ck_assert_int_eq(rst_os->open(directory, "a/b", RST_OPEN_READ, 0), -ENOTDIR);
    struct rst_stat stat;
    ck_assert_int_eq(rst_os->stat_at(directory, "a", &stat), 0);
    ck_assert_int_eq(stat.kind, RST_FILE_REGULAR);
    ck_assert_uint_eq(stat.size, 5);
    ck_assert_uint_eq(stat.mode, 0600);
    ck_assert_uint_eq(stat.link_count, 1);
    ck_assert_uint_eq(stat.uid, rst_os->user_id());
    rst_os->close(inner), rst_os->close(below), rst_os->close(file);
    end();
}
END_TEST

START_TEST(a_symbolic_link_is_refused)
{
    int directory = begin();
    make_symlink("link");
    ck_assert_int_eq(rst_os->open(directory, "link", RST_OPEN_READ, 0), -ELOOP);
    ck_assert_int_eq(rst_os->open(directory, "link", RST_OPEN_WRITE | RST_OPEN_CREATE, 0600), -ELOOP);
    ck_assert_int_eq(rst_os->open(directory, "link", RST_OPEN_DIRECTORY, 0), -ELOOP);
    struct rst_stat stat;
    ck_assert_int_eq(rst_os->stat_at(directory, "link", &stat), 0);
    ck_assert_int_eq(stat.kind, RST_FILE_OTHER);
    end();
}
END_TEST

START_TEST(reads_end_at_the_end_and_holes_are_zero)
{
    int directory = begin();
    char bytes[16];
    int file = make_file(directory, "a", "hello");
    ck_assert_int_eq(rst_read_all(file, bytes, sizeof bytes, 0), 5);
    ck_assert_int_eq(rst_read_all(file, bytes, sizeof bytes, 5), 0);
    ck_assert_int_eq(rst_read_all(file, bytes, sizeof bytes, 500), 0);
    ck_assert_int_eq(rst_write_all(file, "x", 1, 9000), 0);
    ck_assert_int_eq(rst_read_all(file, bytes, 4, 8997), 4);
    ck_assert_mem_eq(bytes, "\0\0\0x", 4);
    int reader = rst_os->open(directory, "a", RST_OPEN_READ, 0);
    ck_assert_int_eq(rst_write_all(reader, "x", 1, 0), -EBADF);
    rst_os->close(reader), rst_os->close(file);
    end();
}
END_TEST

START_TEST(a_temporary_file_appears_whole)
{
    int directory = begin();
    int file = rst_os->open(directory, ".", RST_OPEN_TEMPORARY | RST_OPEN_WRITE, 0600);
    ck_assert_int_ge(file, 0);
    struct rst_stat stat;
    ck_assert_int_eq(rst_os->stat(file, &stat), 0);
    ck_assert_uint_eq(stat.link_count, 0);
    ck_assert_int_eq(rst_write_all(file, "whole", 5, 0), 0);
    ck_assert_int_eq(rst_os->link(file, directory, "a"), 0);
    expect_content(directory, "a", "whole");
    int second = rst_os->open(directory, ".", RST_OPEN_TEMPORARY | RST_OPEN_WRITE, 0600);
    ck_assert_int_eq(rst_os->link(second, directory, "a"), -EEXIST);
    rst_os->close(second), rst_os->close(file);
    end();
}
END_TEST

START_TEST(names_change_and_files_stay)
{
    int directory = begin();
    int a = make_file(directory, "a", "one"), b = make_file(directory, "b", "two");
    ck_assert_int_eq(rst_os->rename(directory, "a", "b"), 0);
    expect_content(directory, "b", "one");
    ck_assert_int_eq(rst_os->rename(directory, "a", "b"), -ENOENT);
    struct rst_stat stat;
    ck_assert_int_eq(rst_os->stat(b, &stat), 0);
    ck_assert_uint_eq(stat.link_count, 0);
    char bytes[3];
    ck_assert_int_eq(rst_read_all(b, bytes, 3, 0), 3); /* without a name, and still there */
    ck_assert_mem_eq(bytes, "two", 3);
    ck_assert_int_eq(rst_os->unlink(directory, "b"), 0);
    ck_assert_int_eq(rst_os->unlink(directory, "b"), -ENOENT);
    ck_assert_int_eq(rst_os->link(a, directory, "c"), -ENOENT); /* what lost its name gets none again */
    rst_os->close(a), rst_os->close(b);
    end();
}
END_TEST

START_TEST(allocate_keeps_bytes_and_punch_keeps_size)
{
    int directory = begin();
    uint8_t bytes[8192], zeros[8192] = {0};
    int file = make_file(directory, "a", "hello");
    ck_assert_int_eq(rst_os->allocate(file, 0, 16384), 0);
    struct rst_stat stat;
    rst_os->stat(file, &stat);
    ck_assert_uint_eq(stat.size, 16384);
    ck_assert_int_eq(rst_read_all(file, bytes, 8192, 0), 8192);
    ck_assert_mem_eq(bytes, "hello", 5);
    ck_assert_mem_eq(bytes + 5, zeros, 8192 - 5);
    memset(bytes, 7, sizeof bytes);
    ck_assert_int_eq(rst_write_all(file, bytes, 8192, 0), 0);
    ck_assert_int_eq(rst_os->punch(file, 4096, 4096), 0);
    ck_assert_int_eq(rst_read_all(file, bytes, 8192, 0), 8192);
    ck_assert_int_eq(bytes[4095], 7);
    ck_assert_mem_eq(bytes + 4096, zeros, 4096);
    rst_os->stat(file, &stat);
    ck_assert_uint_eq(stat.size, 16384);
    ck_assert_int_eq(rst_os->allocate(file, 0, 0), -EINVAL);
    rst_os->close(file);
    end();
}
END_TEST

START_TEST(mappings_and_writes_see_each_other)
{
    int directory = begin();
    void *writer, *reader;
    char bytes[8];
    int file = make_file(directory, "a", "hello");
    ck_assert_int_eq(rst_os->allocate(file, 0, 65536), 0);
    ck_assert_int_eq(rst_os->map(file, 0, 65536, RST_MAP_WRITE, &writer), 0);
    int second = rst_os->open(directory, "a", RST_OPEN_READ, 0);
    ck_assert_int_eq(rst_os->map(second, 0, 1 << 20, RST_MAP_READ, &reader), 0); /* beyond the end: room to grow */
    void *refused;
    ck_assert_int_eq(rst_os->map(second, 0, 4096, RST_MAP_WRITE, &refused), -EACCES);
    ck_assert_int_eq(rst_os->map(second, 1, 4096, RST_MAP_READ, &refused), -EINVAL);
    ck_assert_mem_eq(reader, "hello", 5);
    memcpy((char *)writer + 5000, "stored", 6);
    ck_assert_int_eq(rst_read_all(second, bytes, 6, 5000), 6);
    ck_assert_mem_eq(bytes, "stored", 6);
    ck_assert_int_eq(rst_write_all(file, "written", 7, 100000), 0);
    ck_assert_mem_eq((char *)reader + 100000, "written", 7);
    rst_os->close(file), rst_os->close(second);
    ck_assert_mem_eq(reader, "hello", 5); /* a mapping needs no descriptor */
    ck_assert_int_eq(rst_os->unmap(writer, 65536), 0);
    ck_assert_int_eq(rst_os->unmap(reader, 1 << 20), 0);
    end();
}
END_TEST

START_TEST(locks_belong_to_the_description)
{
    int directory = begin();
    int first = make_file(directory, "a", ""), second = rst_os->open(directory, "a", RST_OPEN_WRITE, 0);
    ck_assert_int_eq(rst_os->flock(first), 0);
    ck_assert_int_eq(rst_os->flock(first), 0);
    ck_assert_int_eq(rst_os->flock(second), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->funlock(second), 0); /* takes away nothing of the first one's */
    ck_assert_int_eq(rst_os->flock(second), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->funlock(first), 0);
    ck_assert_int_eq(rst_os->flock(second), 0);
    ck_assert_int_eq(rst_os->close(second), 0);
    ck_assert_int_eq(rst_os->flock(first), 0);
    rst_os->close(first);
    end();
}
END_TEST

START_TEST(byte_locks_belong_to_the_description)
{
    int directory = begin();
    int first = make_file(directory, "a", ""), second = rst_os->open(directory, "a", RST_OPEN_WRITE, 0);
    int reader = rst_os->open(directory, "a", RST_OPEN_READ, 0);
    const uint64_t far = (uint64_t)1 << 40;
    ck_assert_int_eq(rst_os->lock_byte(first, far + 3), 0);
    ck_assert_int_eq(rst_os->lock_byte(first, far + 3), 0);
    ck_assert_int_eq(rst_os->probe_byte(first, far + 3), 0); /* one's own lock looks free */
    ck_assert_int_eq(rst_os->probe_byte(second, far + 3), 1);
    ck_assert_int_eq(rst_os->probe_byte(reader, far + 3), 1);
    ck_assert_int_eq(rst_os->probe_byte(second, far + 2), 0);
    ck_assert_int_eq(rst_os->lock_byte(second, far + 3), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->lock_byte(second, far + 4), 0);
    ck_assert_int_eq(rst_os->lock_byte(reader, far + 9), -EBADF); /* a lock to write needs a descriptor to write */
    ck_assert_int_eq(rst_os->flock(second), 0);                   /* the two kinds of lock do not see each other */
    ck_assert_int_eq(rst_os->unlock_byte(first, far + 3), 0);
    ck_assert_int_eq(rst_os->probe_byte(second, far + 3), 0);
    ck_assert_int_eq(rst_os->close(second), 0);
    ck_assert_int_eq(rst_os->probe_byte(first, far + 4), 0);
    rst_os->close(first), rst_os->close(reader);
    end();
}
END_TEST

static int count_name(void *user, const char *name)
{
    ck_assert_str_ne(name, ".");
    ck_assert_str_ne(name, "..");
    ++*(int *)user;
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

START_TEST(list_shows_every_name_once)
{
    int directory = begin(), count = 0;
    rst_os->close(make_file(directory, "a", ""));
    rst_os->close(make_file(directory, "b", ""));
    ck_assert_int_eq(rst_os->list(directory, count_name, &count), 0);
    ck_assert_int_eq(count, 2);
    ck_assert_int_eq(rst_os->list(directory, count_name, &count), 0); /* from the start again */
    ck_assert_int_eq(count, 4);
    rst_os->close(make_file(directory, "stop", ""));
    ck_assert_int_eq(rst_os->list(directory, count_name, &count), 7);
    end();
}
END_TEST

START_TEST(replace_file_replaces)
{
    int directory = begin();
    ck_assert_int_eq(rst_replace_file(directory, "m", "one", 3, 0640, NULL), 0);
    expect_content(directory, "m", "one");
    struct rst_stat stat;
    rst_os->stat_at(directory, "m", &stat);
    ck_assert_uint_eq(stat.mode, 0640);
    rst_os->close(make_file(directory, "m.tmp", "what a crash left, longer than the new one"));
    ck_assert_int_eq(rst_replace_file(directory, "m", "two", 3, 0600, NULL), 0);
    expect_content(directory, "m", "two");
    ck_assert_int_eq(rst_os->stat_at(directory, "m.tmp", &stat), -ENOENT);
    ck_assert_int_eq(rst_replace_file(directory, "no/m", "x", 1, 0600, NULL), -EINVAL);
    end();
}
END_TEST

START_TEST(shared_memory_has_names)
{
    begin();
    char name[64];
    uint64_t id;
    ck_assert_int_eq(rst_os->random(&id, sizeof id), 0);
    snprintf(name, sizeof name, "/roost-test-%llx", (unsigned long long)id);
    ck_assert_int_eq(rst_os->shm_open(name, RST_OPEN_WRITE, 0), -ENOENT);
    int first = rst_os->shm_open(name, NEW_FILE, 0600);
    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(rst_os->shm_open(name, NEW_FILE, 0600), -EEXIST);
    ck_assert_int_eq(rst_os->allocate(first, 0, 8192), 0);
    int second = rst_os->shm_open(name, RST_OPEN_READ, 0);
    void *writer, *reader;
    ck_assert_int_eq(rst_os->map(first, 0, 8192, RST_MAP_WRITE, &writer), 0);
    ck_assert_int_eq(rst_os->map(second, 0, 8192, RST_MAP_READ, &reader), 0);
    rst_store_u32(writer, 5);
    ck_assert_uint_eq(rst_load_u32(reader), 5);
    ck_assert_int_eq(rst_os->futex_wait(reader, 4, -1), 0);
    ck_assert_int_eq(rst_os->futex_wait(reader, 5, 1000000), -ETIMEDOUT);
    ck_assert_int_eq(rst_wait_word(reader, 5, 1000000), -ETIMEDOUT);
    struct rst_futex_wait two[2] = {{reader, 5}, {(uint32_t *)reader + 1, 0}};
    ck_assert_int_eq(rst_os->futex_wait_any(two, 2, 1000000), -ETIMEDOUT);
    two[1].expected = 9;
    ck_assert_int_eq(rst_os->futex_wait_any(two, 2, -1), 0);
    ck_assert_int_eq(rst_os->futex_wait_any(two, 0, 0), -EINVAL);
    ck_assert_int_eq(rst_os->futex_wait_any(two, 129, 0), -EINVAL);
    rst_wake_all(writer);
    char refused[32];
    ck_assert_int_eq(rst_os->file_system(first, refused, sizeof refused), 0);
    ck_assert_str_eq(refused, "");
    ck_assert_int_eq(rst_os->shm_unlink(name), 0);
    ck_assert_int_eq(rst_os->shm_unlink(name), -ENOENT);
    struct rst_stat stat;
    rst_os->stat(first, &stat);
    ck_assert_uint_eq(stat.link_count, 0);
    rst_os->unmap(writer, 8192), rst_os->unmap(reader, 8192);
    rst_os->close(first), rst_os->close(second);
    ck_assert_int_gt(rst_os->shm_space(), 0);
    end();
}
END_TEST

START_TEST(the_moment_moves_on)
{
    begin();
    int64_t before = rst_os->monotonic_time();
    rst_os->sleep(2000000);
    ck_assert_int_ge(rst_os->monotonic_time() - before, 2000000);
    ck_assert_int_gt(rst_os->real_time(), 1600000000ll * 1000000000);
    uint8_t one[16], two[16] = {0};
    ck_assert_int_eq(rst_os->boot_id(one), 0);
    ck_assert_int_ne(memcmp(one, two, 16), 0);
    ck_assert_int_eq(rst_os->boot_id(two), 0);
    ck_assert_mem_eq(one, two, 16);
    end();
}
END_TEST

static TCase *shared_case(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_test(tests, open_says_what_is_there);
    tcase_add_test(tests, a_symbolic_link_is_refused);
    tcase_add_test(tests, reads_end_at_the_end_and_holes_are_zero);
    tcase_add_test(tests, a_temporary_file_appears_whole);
    tcase_add_test(tests, names_change_and_files_stay);
    tcase_add_test(tests, allocate_keeps_bytes_and_punch_keeps_size);
    tcase_add_test(tests, mappings_and_writes_see_each_other);
    tcase_add_test(tests, locks_belong_to_the_description);
    tcase_add_test(tests, byte_locks_belong_to_the_description);
    tcase_add_test(tests, list_shows_every_name_once);
    tcase_add_test(tests, replace_file_replaces);
    tcase_add_test(tests, shared_memory_has_names);
    tcase_add_test(tests, the_moment_moves_on);
    return tests;
}

#endif
