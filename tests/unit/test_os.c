/* SPDX-License-Identifier: MIT
 * unit/test_os.c: the Linux bodies of os.h against the kernel that runs here. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/linux.h"
#include "unit/os_shared.h"

/* ---- a directory of our own ---- */
static char path[64];
static int root = -1;

static int begin(void)
{
    snprintf(path, sizeof path, "/tmp/roost-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    root = rst_os->open(-1, path, RST_OPEN_DIRECTORY, 0);
    ck_assert_int_ge(root, 0);
    return root;
}

static void remove_below(int directory)
{
    DIR *stream = fdopendir(directory);
    ck_assert_ptr_nonnull(stream);
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") == strlen(entry->d_name)) continue;
        if (unlinkat(directory, entry->d_name, 0) == 0) continue;
        remove_below(openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        unlinkat(directory, entry->d_name, AT_REMOVEDIR);
    }
    closedir(stream);
}

static void end(void)
{
    remove_below(root);
    rmdir(path);
}

static void make_symlink(const char *name) { ck_assert_int_eq(symlinkat(path, root, name), 0); }

/* ---- a child that does one thing; its exit status says whether it went well ---- */
static void expect_child(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status 0x%x", (unsigned)status);
}

START_TEST(locks_are_seen_across_processes_and_die_with_theirs)
{
    int directory = begin(), ready[2], go[2];
    char byte = 0;
    int file = make_file(directory, "a", "");
    ck_assert_int_eq(pipe(ready) | pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        int own = rst_os->open(directory, "a", RST_OPEN_WRITE, 0);
        if (rst_os->flock(own) != 0 || rst_os->lock_byte(own, 77) != 0) _exit(1);
        if (write(ready[1], &byte, 1) != 1) _exit(2);
        (void)!read(go[0], &byte, 1); /* until killed */
        _exit(3);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(rst_os->flock(file), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->lock_byte(file, 77), -EWOULDBLOCK);
    ck_assert_int_eq(rst_os->probe_byte(file, 77), 1);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(rst_os->probe_byte(file, 77), 0);
    ck_assert_int_eq(rst_os->flock(file), 0);
    ck_assert_int_eq(rst_os->lock_byte(file, 77), 0);
    end();
}
END_TEST

START_TEST(descriptors_and_mappings_do_not_leak)
{
    int directory = begin();
    int file = make_file(directory, "a", "x");
    ck_assert_int_eq(fcntl(file, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(fcntl(directory, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    void *address;
    ck_assert_int_eq(rst_os->map(file, 0, 4096, RST_MAP_READ, &address), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        _exit(*(volatile char *)address == 'x'); /* must not be there */
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(!WIFEXITED(status) || WEXITSTATUS(status) > 1, "the child still has its parent's mapping");
    end();
}
END_TEST

START_TEST(a_size_limit_is_an_error_and_not_death)
{
    int directory = begin();
    pid_t child = fork();
    if (child == 0) {
        char bytes[8192] = {1};
        sigset_t set;
        int file = rst_os->open(directory, "a", NEW_FILE, 0600);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096});
        if (rst_write_all(file, bytes, sizeof bytes, 0) != -EFBIG) _exit(1);
        if (rst_os->allocate(file, 0, 1 << 20) != -EFBIG) _exit(2);
        if (rst_os->pwrite(file, bytes, 1, 4096) != -EFBIG) _exit(3);
        if (rst_os->pwrite(file, bytes, 1, 0) != 1) _exit(4);
        /* Nothing is left pending, and the mask is as before. */
        pthread_sigmask(SIG_SETMASK, NULL, &set);
        if (sigismember(&set, SIGXFSZ)) _exit(5);
        sigpending(&set);
        if (sigismember(&set, SIGXFSZ)) _exit(6);
        _exit(0);
    }
    expect_child(child);
    end();
}
END_TEST

START_TEST(the_hosts_own_pending_signal_stays)
{
    int directory = begin();
    pid_t child = fork();
    if (child == 0) {
        sigset_t set, pending;
        sigemptyset(&set);
        sigaddset(&set, SIGXFSZ);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        raise(SIGXFSZ);
        int file = rst_os->open(directory, "a", NEW_FILE, 0600);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096});
        if (rst_os->pwrite(file, "x", 1, 4096) != -EFBIG) _exit(1);
        sigpending(&pending);
        _exit(!sigismember(&pending, SIGXFSZ));
    }
    expect_child(child);
    end();
}
END_TEST

/* A child waits on a read-only mapping of a read-only descriptor; the parent changes a word and wakes. */
static void wake_across_processes(bool any, bool no_waitv)
{
    int directory = begin(), ready[2];
    char byte = 0;
    void *address;
    int file = make_file(directory, "a", "");
    ck_assert_int_eq(rst_os->allocate(file, 0, 8192), 0);
    ck_assert_int_eq(rst_os->map(file, 0, 8192, RST_MAP_WRITE, &address), 0);
    uint32_t *word = (uint32_t *)address + (any ? 1024 : 0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        void *own;
        if (no_waitv) setenv("ROOST_NO_FUTEX_WAITV", "1", 1);
        int reader = rst_os->open(directory, "a", RST_OPEN_READ, 0);
        if (rst_os->map(reader, 0, 8192, RST_MAP_READ, &own) != 0) _exit(1);
        const uint32_t *words = own;
        if (write(ready[1], &byte, 1) != 1) _exit(2);
        const int64_t limit = 20ll * 1000000000;
        if (!any) _exit(rst_wait_word(words, 0, limit) != 0);
        struct rst_futex_wait waits[3] = {{words, 0}, {words + 7, 0}, {words + 1024, 0}};
        int result;
        do result = rst_os->futex_wait_any(waits, 3, limit);
        while (result == -EINTR);
        _exit(result != 0 || rst_load_u32(words + 1024) != 1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    rst_store_u32(word, 1);
    rst_wake_all(word);
    expect_child(child);
    ck_assert_int_eq(rst_os->unmap(address, 8192), 0);
    end();
}

START_TEST(a_wake_crosses_processes) { wake_across_processes(false, false); }
END_TEST
START_TEST(wait_any_wakes_by_any_word) { wake_across_processes(true, false); }
END_TEST
START_TEST(wait_any_works_without_the_system_call) { wake_across_processes(true, true); }
END_TEST

START_TEST(wait_any_polling_times_out)
{
    static uint32_t words[2];
    setenv("ROOST_NO_FUTEX_WAITV", "1", 1); /* every test is a process of its own */
    struct rst_futex_wait waits[2] = {{&words[0], 0}, {&words[1], 0}};
    int64_t before = rst_os->monotonic_time();
    ck_assert_int_eq(rst_os->futex_wait_any(waits, 2, 35 * 1000000), -ETIMEDOUT);
    ck_assert_int_ge(rst_os->monotonic_time() - before, 35 * 1000000);
    waits[1].expected = 1;
    ck_assert_int_eq(rst_os->futex_wait_any(waits, 2, -1), 0);
}
END_TEST

START_TEST(a_fifo_does_not_hang_the_open)
{
    int directory = begin();
    ck_assert_int_eq(mkfifoat(directory, "pipe", 0600), 0);
    int file = rst_os->open(directory, "pipe", RST_OPEN_READ, 0);
    struct rst_stat stat;
    ck_assert_int_eq(rst_os->stat(file, &stat), 0);
    ck_assert_int_eq(stat.kind, RST_FILE_OTHER);
    end();
}
END_TEST

START_TEST(file_systems_are_named)
{
    char name[32];
    int directory = begin();
    ck_assert_int_eq(rst_os->file_system(directory, name, sizeof name), 0);
    ck_assert_str_eq(name, ""); /* where these tests can run, Roost can */
    int proc = rst_os->open(-1, "/proc", RST_OPEN_DIRECTORY, 0);
    ck_assert_int_eq(rst_os->file_system(proc, name, sizeof name), 0);
    ck_assert_str_eq(name, "proc");
    ck_assert_int_eq(rst_os->file_system(proc, name, 3), 0);
    ck_assert_str_eq(name, "pr");
    const char *line = "36 35 0:52 / /mnt/my\\040dir rw,nosuid shared:7 master:1 - fuse.sshfs host:/ rw,user_id=0\n";
    ck_assert(rst_linux_mount_type(line, 0, 52, name, sizeof name));
    ck_assert_str_eq(name, "fuse.sshfs");
    ck_assert(!rst_linux_mount_type(line, 0, 5, name, sizeof name));
    ck_assert(rst_linux_mount_type("1 2 0:3 / / rw - virtiofs tag rw", 0, 3, name, sizeof name));
    ck_assert_str_eq(name, "virtiofs");
    ck_assert(!rst_linux_mount_type("1 2 0:3 / / rw", 0, 3, name, sizeof name));
    ck_assert(!rst_linux_mount_type("", 0, 3, name, sizeof name));
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os");
    suite_add_tcase(suite, shared_case("both bodies"));
    TCase *tests = tcase_create("linux");
    tcase_set_timeout(tests, 30);
    tcase_add_test(tests, locks_are_seen_across_processes_and_die_with_theirs);
    tcase_add_test(tests, descriptors_and_mappings_do_not_leak);
    tcase_add_test(tests, a_size_limit_is_an_error_and_not_death);
    tcase_add_test(tests, the_hosts_own_pending_signal_stays);
    tcase_add_test(tests, a_wake_crosses_processes);
    tcase_add_test(tests, wait_any_wakes_by_any_word);
    tcase_add_test(tests, wait_any_works_without_the_system_call);
    tcase_add_test(tests, wait_any_polling_times_out);
    tcase_add_test(tests, a_fifo_does_not_hang_the_open);
    tcase_add_test(tests, file_systems_are_named);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
