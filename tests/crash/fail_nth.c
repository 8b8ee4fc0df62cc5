/* SPDX-License-Identifier: MIT
 * crash/fail_nth.c: every operation of the system, and every allocation of the library, fails once (faults.h).
 *
 * For each N the Nth of a workload answers an error and does nothing, alone or with all that follow; the calls may fail then, but nothing
 * may crash or leak, a call that said that nothing happened must be right, and everything acknowledged must be found: by the handles that
 * are open, by who opens the root after they closed, and after a power cut (at level durable). Failed syncs behave as ext4's, XFS' and
 * btrfs' do.
 *
 *     fail_nth [--workload W] [--at N] [-v] */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "faults.h"
#include "os/os.h"
#include "workloads.h"

enum { RESERVE = 48 << 20, POWER_LOSSES = 2, PRINTED_MAX = 20 };

static struct {
    const struct workload *workload;
    uint32_t region_kind;
    uint64_t at, cases, violations;
    int error;
    enum sim_sync_failure flavour;
    bool persistent, verbose;
    const char *moment;
} now;

static void print_case(FILE *to)
{
    fprintf(to, "    fail_nth --workload %s --at %llu (region %s, %s%s, sync flavour %d; %s)\n", now.workload->name,
            (unsigned long long)now.at, now.region_kind == ROOST_REGION_FILE ? "file" : "shm", strerror(now.error),
            now.persistent ? " from then on" : "", (int)now.flavour, now.moment);
}

static void on_violation(struct flock *flock)
{
    (void)flock;
    if (++now.violations > PRINTED_MAX) return;
    printf("violation: %s\n", oracle_reason());
    print_case(stdout);
    fflush(stdout);
}

static void on_signal(int number)
{
    fprintf(stderr, "fail_nth: signal %d\n", number);
    print_case(stderr);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void serve_others(void *user)
{
    struct flock *flock = user;
    for (int i = 0; i < MEMBER_MAX; i++) flock_serve(flock, i);
}

static void close_all(struct flock *flock)
{
    for (int i = 0; i < MEMBER_MAX; i++) flock_close(flock, i);
}

/* On a machine whose disk works again: is everything there? */
static void look(struct flock *flock, enum disaster disaster)
{
    if (now.workload->create && flock->oracle->step_count == 0) return;
    flock_compare_copy(flock);
    flock_open(flock, 0);
    bool open = false;
    for (uint32_t i = 0; i < flock->oracle->step_count; i++) open = open || flock->oracle->steps[i].status == STEP_INTENDED;
    if (open) flock_request(flock, 0, roost_sync, "roost_sync");
    flock_compare(flock, 0, disaster, true);
    flock_append(flock, 0, "", 80, ROOST_DURABLE);
    flock_check(flock, 0);
    flock_close(flock, 0);
}

static void look_after_power_loss(const struct flock *from, uint64_t seed)
{
    static struct oracle oracle;
    struct flock flock = {.sim = sim_power_loss(from->sim, seed), .oracle = &oracle, .violated = on_violation};
    oracle = *from->oracle;
    now.moment = "after a power cut";
    sim_use(flock.sim);
    look(&flock, DISASTER_POWER);
    close_all(&flock);
    sim_destroy(flock.sim);
    sim_use(from->sim);
}

/* One run. Returns how many of what fails it had. */
static uint64_t run(uint64_t at)
{
    static struct oracle oracle;
    uint64_t outstanding = faults_outstanding();
    memset(&oracle, 0, sizeof oracle);
    flock_forget_copy();
    struct flock flock = {.sim = sim_create_sized(at + 1, RESERVE), .oracle = &oracle, .violated = on_violation};
    now.at = at;
    now.moment = "while it runs";
    sim_use(flock.sim);
    sim_set_idle(flock.sim, serve_others, &flock);
    workload_region_kind = now.region_kind;
    if (!now.workload->create) RST_CHECK(make_root(now.region_kind, now.workload->arena_size) == 0);
    if (now.workload->prepare) now.workload->prepare(&flock);
    sim_set_sync_failure(flock.sim, now.flavour);
    flock.tolerant = at != 0;
    faults_begin(flock.sim, at, now.error, now.persistent);
    now.workload->run(&flock);
    if (now.workload->finish) now.workload->finish(&flock);
    uint64_t count = faults_count(flock.sim);
    faults_end(flock.sim);
    flock.tolerant = false;
    if (at) {
        for (uint64_t i = 0; i < POWER_LOSSES; i++) look_after_power_loss(&flock, at * 7 + i);
        now.moment = "in a handle that was open";
        static struct oracle seen; /* what is open stays open: a write may come to light when the root is opened again */
        seen = oracle;
        flock.oracle = &seen;
        /* A file system that throws away what it could not write takes what was acknowledged at level process with it. */
        bool thrown_away = now.flavour == SIM_SYNC_BTRFS;
        for (int i = 0; i < MEMBER_MAX && !flock.ended && !thrown_away; i++)
            if (flock.members[i].root) {
                flock_compare(&flock, i, DISASTER_NONE, true);
                break;
            }
        flock.oracle = &oracle;
        flock.tolerant = true; /* closing may say what could not be done */
        close_all(&flock);
        if (thrown_away) { /* not even the region may have been unlinked: the last one to leave a broken one does that */
            flock_open(&flock, 0);
            flock_request(&flock, 0, roost_sync, "roost_sync");
            flock_close(&flock, 0);
        }
        flock.tolerant = false;
        now.moment = "opened again";
        look(&flock, thrown_away ? DISASTER_POWER : DISASTER_PROCESSES);
    }
    close_all(&flock);
    sim_destroy(flock.sim);
    if (faults_outstanding() != outstanding && !flock.ended) {
        oracle_complain("%llu allocations were never freed", (unsigned long long)(faults_outstanding() - outstanding));
        on_violation(&flock);
    }
    return count;
}

static void try_workload(const struct workload *workload, uint64_t only)
{
    now.workload = workload;
    now.error = EIO;
    uint64_t count = run(0), violations = now.violations, cases = now.cases;
    /* Long ones repeat themselves. */
    uint64_t stride = only ? 1 : 1 + count / 300;
    for (uint64_t at = only ? only : 1; at <= (only ? only : count); at += stride) {
        for (unsigned i = 0; faults_errors[i / 2]; i++) {
            now.error = faults_errors[i / 2];
            now.persistent = i & 1;
            now.flavour = SIM_SYNC_EXT4 + (at + i) % 3;
            alarm(60);
            run(at);
            now.cases++;
        }
    }
    if (now.verbose)
        printf("%-18s %-4s %5llu %s %6llu cases %4llu violations\n", workload->name,
               now.region_kind == ROOST_REGION_FILE ? "file" : "shm", (unsigned long long)count, faults_what,
               (unsigned long long)(now.cases - cases), (unsigned long long)(now.violations - violations));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    enum { WORKLOAD = 1, AT };
    static const struct option options[] = {{"workload", 1, NULL, WORKLOAD}, {"at", 1, NULL, AT}, {0}};
    const char *name = NULL;
    uint64_t only = 0;
    for (int option; (option = getopt_long(argc, argv, "v", options, NULL)) != -1;) {
        if (option == WORKLOAD)
            name = optarg;
        else if (option == AT)
            only = strtoull(optarg, NULL, 0);
        else if (option == 'v')
            now.verbose = true;
        else
            return 2;
    }
    for (int i = 0; i < 5; i++) signal((int[]){SIGSEGV, SIGBUS, SIGABRT, SIGALRM, SIGFPE}[i], on_signal);
    for (unsigned i = 0; i < workload_count; i++)
        for (now.region_kind = ROOST_REGION_SHM; now.region_kind <= ROOST_REGION_FILE; now.region_kind++)
            if (!name || strcmp(name, workloads[i].name) == 0) try_workload(&workloads[i], only);
    printf("%u workloads, %llu cases of failing %s, %llu violations\n", workload_count, (unsigned long long)now.cases,
           faults_what, (unsigned long long)now.violations);
    return now.violations ? 1 : 0;
}
