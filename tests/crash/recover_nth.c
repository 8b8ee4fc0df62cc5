/* SPDX-License-Identifier: MIT
 * crash/recover_nth.c: every operation of a recovery, and every allocation in it, fails once (faults.h).
 *
 * A run is stopped at some of its operations as the death of all processes, the loss of the region in the same boot, or a power cut would
 * stop it. For each N the root is opened and written to on a copy of that machine while the Nth operation fails, alone or with
 * all that follow. That may be told, but nothing may crash or leak; opened once more, without failures, the root holds everything that was
 * acknowledged before and since.
 *
 *     recover_nth [--workload W] [--stop K] [--left L] [--at N] [--tries T] [-v] */
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

enum { RESERVE = 48 << 20, PRINTED_MAX = 20, STOPS = 24 };
/* What a stopped run leaves. */
enum left { LEFT_REGION, LEFT_NO_REGION, LEFT_DISK, LEFT_COUNT };
static const char *const left_names[LEFT_COUNT] = {"region", "files", "disk"};

static struct {
    const struct workload *workload;
    enum left left;
    uint64_t stop, at, cases, violations;
    uint64_t only_stop, only_at, tries; /* 0: all; as many failures as are tried of each stop, spread over its operations */
    int only_left;                      /* -1: all */
    int error;
    enum sim_sync_failure flavour;
    bool persistent, verbose;
    const char *moment;
    struct flock flock; /* the run that is stopped */
    uint64_t stride, hooks;
} now;

static void print_case(FILE *to)
{
    fprintf(to, "    recover_nth --workload %s --stop %llu --left %s --at %llu (%s%s, sync flavour %d; %s)\n", now.workload->name,
            (unsigned long long)now.stop, left_names[now.left], (unsigned long long)now.at, strerror(now.error),
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
    fprintf(stderr, "recover_nth: signal %d\n", number);
    print_case(stderr);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void serve_others(void *user)
{
    struct flock *flock = user;
    for (int i = 0; i < MEMBER_MAX; i++) flock_serve(flock, i);
}

/* The machine as the stop leaves it. */
static struct sim *stopped_machine(const struct sim *sim)
{
    if (now.left == LEFT_DISK) return sim_power_loss(sim, now.stop);
    struct sim *machine = sim_process_loss(sim);
    if (now.left == LEFT_REGION) return machine;
    sim_use(machine);
    int directory = rst_os->open(-1, FLOCK_PATH, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    if (directory >= 0) {
        rst_os->unlink(directory, "region");
        rst_os->close(directory);
    }
    return machine;
}

static void begin(struct flock *flock, struct sim *sim, struct oracle *oracle)
{
    *flock = (struct flock){.sim = sim, .oracle = oracle, .violated = on_violation};
    sim_use(sim);
    sim_set_idle(sim, serve_others, flock);
}

/* On a disk that works again: is everything there? */
static void look(const struct sim *sim, struct oracle *oracle, enum disaster disaster, bool broken)
{
    struct flock flock;
    begin(&flock, sim_process_loss(sim), oracle);
    now.moment = "opened again";
    if (broken) { /* not even the region may have been unlinked: the first to leave a broken one does that */
        flock.tolerant = true;
        flock_open(&flock, 0);
        flock_request(&flock, 0, roost_sync, "roost_sync");
        flock_close(&flock, 0);
        flock.tolerant = false;
    }
    flock_open(&flock, 0);
    bool open = false;
    for (uint32_t i = 0; i < oracle->step_count; i++) open = open || oracle->steps[i].status == STEP_INTENDED;
    if (open) flock_request(&flock, 0, roost_sync, "roost_sync");
    flock_compare(&flock, 0, disaster, true);
    flock_append(&flock, 0, "", 80, ROOST_DURABLE);
    flock_check(&flock, 0);
    flock_close(&flock, 0);
    sim_destroy(flock.sim);
}

/* What a power cut took is gone for good: the oracle learns it from a recovery without failures. */
static void settle(const struct sim *machine, struct oracle *oracle)
{
    struct flock flock;
    begin(&flock, sim_process_loss(machine), oracle);
    now.moment = "without a failure";
    flock_open(&flock, 0);
    flock_compare(&flock, 0, DISASTER_POWER, false);
    flock_close(&flock, 0);
    sim_destroy(flock.sim);
}

/* Recovers on a copy of the machine with the at-th operation failing (0: none does). Returns how many there were. */
static uint64_t recover(const struct sim *machine, const struct oracle *stopped, uint64_t at)
{
    static struct oracle oracle;
    struct flock flock;
    uint64_t outstanding = faults_outstanding();
    oracle = *stopped;
    begin(&flock, sim_process_loss(machine), &oracle);
    sim_set_sync_failure(flock.sim, now.flavour);
    now.at = at;
    now.moment = "while it recovers";
    flock.tolerant = true;
    faults_begin(flock.sim, at, now.error, now.persistent);
    flock_open(&flock, 0);
    flock_append(&flock, 0, "", 100, ROOST_DURABLE);
    flock_append(&flock, 0, "named", 70000, ROOST_PROCESS);
    uint64_t count = faults_count(flock.sim);
    faults_end(flock.sim);
    /* A file system that throws away what it could not write takes what was acknowledged at level process with it. */
    bool thrown_away = now.flavour == SIM_SYNC_BTRFS;
    enum disaster disaster = now.left == LEFT_DISK || thrown_away ? DISASTER_POWER : DISASTER_PROCESSES;
    if (at) {
        look(flock.sim, &oracle, disaster, thrown_away);
        sim_use(flock.sim);
    }
    flock_close(&flock, 0);
    sim_destroy(flock.sim);
    if (faults_outstanding() != outstanding && !flock.ended) {
        oracle_complain("%llu allocations were never freed", (unsigned long long)(faults_outstanding() - outstanding));
        on_violation(&flock);
    }
    return count;
}

static void try_stop(const struct sim *sim)
{
    for (now.left = 0; now.left < LEFT_COUNT; now.left++) {
        if (now.only_left >= 0 && now.left != (enum left)now.only_left) continue;
        static struct oracle oracle;
        struct sim *machine = stopped_machine(sim);
        oracle = *now.flock.oracle;
        oracle.states_lost |= now.left == LEFT_NO_REGION;
        /* What a dead process had submitted may be committed by anybody, at any later place. */
        for (uint32_t i = 0; i < oracle.step_count; i++)
            if (oracle.steps[i].status == STEP_INTENDED) oracle.steps[i].floats = true;
        now.at = 0;
        if (now.left == LEFT_DISK) settle(machine, &oracle);
        now.flavour = SIM_SYNC_KEEPS_DIRTY;
        uint64_t count = recover(machine, &oracle, 0), stride = now.only_at || now.tries >= count ? 1 : count / now.tries;
        /* Another part of the operations at each stop. */
        uint64_t first = now.only_at ? now.only_at : 1 + now.stop % stride;
        for (uint64_t at = first; at <= (now.only_at ? now.only_at : count); at += stride) {
            unsigned kind = (unsigned)(at + now.stop), errors = 0;
            while (faults_errors[errors]) errors++;
            now.error = faults_errors[kind % errors];
            now.persistent = kind / 2 % 2;
            now.flavour = SIM_SYNC_EXT4 + kind / 4 % 3;
            alarm(60);
            recover(machine, &oracle, at);
            now.cases++;
        }
        sim_destroy(machine);
    }
}

static void on_hook(void *user, uint64_t operation, const char *name)
{
    (void)user, (void)operation, (void)name;
    struct sim *sim = now.flock.sim;
    if (now.flock.ended || ++now.hooks % now.stride || (now.only_stop && now.hooks != now.only_stop)) return;
    now.stop = now.hooks;
    int process = sim_process_current(sim);
    try_stop(sim);
    sim_use(sim);
    sim_process_use(sim, process);
}

/* The run, stopped at every stride-th operation; 0: never. Returns how many there are. */
static uint64_t run(const struct workload *workload, uint64_t stride)
{
    static struct oracle oracle;
    memset(&oracle, 0, sizeof oracle);
    now.workload = workload;
    now.hooks = 0;
    now.stride = stride;
    workload_region_kind = ROOST_REGION_FILE; /* its file can be taken away */
    begin(&now.flock, sim_create_sized(1, RESERVE), &oracle);
    RST_CHECK(make_root(ROOST_REGION_FILE, workload->arena_size) == 0);
    if (workload->prepare) workload->prepare(&now.flock);
    now.flock.hook = stride ? on_hook : NULL;
    sim_set_hook(now.flock.sim, now.flock.hook, NULL);
    uint64_t before = sim_operation_count(now.flock.sim);
    workload->run(&now.flock);
    uint64_t count = sim_operation_count(now.flock.sim) - before;
    sim_set_hook(now.flock.sim, NULL, NULL);
    for (int i = 0; i < MEMBER_MAX; i++) flock_close(&now.flock, i);
    sim_destroy(now.flock.sim);
    return count;
}

int main(int argc, char **argv)
{
    enum { WORKLOAD = 1, STOP, LEFT, AT, TRIES };
    static const struct option options[] = {{"workload", 1, NULL, WORKLOAD}, {"stop", 1, NULL, STOP},
                                            {"left", 1, NULL, LEFT},         {"at", 1, NULL, AT},
                                            {"tries", 1, NULL, TRIES},       {0}};
    const char *name = NULL;
    now.only_left = -1;
    now.tries = 6;
    for (int option; (option = getopt_long(argc, argv, "v", options, NULL)) != -1;) {
        if (option == WORKLOAD)
            name = optarg;
        else if (option == STOP)
            now.only_stop = strtoull(optarg, NULL, 0);
        else if (option == AT)
            now.only_at = strtoull(optarg, NULL, 0);
        else if (option == TRIES)
            now.tries = strtoull(optarg, NULL, 0);
        else if (option == 'v')
            now.verbose = true;
        else if (option != LEFT)
            return 2;
        for (int i = 0; option == LEFT && i < LEFT_COUNT; i++)
            if (strcmp(optarg, left_names[i]) == 0) now.only_left = i;
    }
    for (int i = 0; i < 5; i++) signal((int[]){SIGSEGV, SIGBUS, SIGABRT, SIGALRM, SIGFPE}[i], on_signal);
    for (unsigned i = 0; i < workload_count; i++) {
        if (workloads[i].create || (name && strcmp(name, workloads[i].name) != 0)) continue;
        uint64_t operations = run(&workloads[i], 0), cases = now.cases;
        run(&workloads[i], now.only_stop || operations < STOPS ? 1 : operations / STOPS);
        if (now.verbose)
            printf("%-18s %5llu operations %6llu cases\n", workloads[i].name, (unsigned long long)operations,
                   (unsigned long long)(now.cases - cases));
        fflush(stdout);
    }
    printf("%llu recoveries with failing %s, %llu violations\n", (unsigned long long)now.cases, faults_what,
           (unsigned long long)now.violations);
    return now.violations ? 1 : 0;
}
