/* SPDX-License-Identifier: MIT
 * crash/explore.c: small workloads, and a disaster at each of their operations.
 *
 * At every operation of a run the machine is copied as a power cut (several ways) or the death of all processes would leave it; on the
 * copy the root is opened, compared with what was promised (oracle.h), written to, closed, opened and compared again. While that goes
 * on, disasters strike the copy too (depth 2). For takeovers, one process is killed at each of its operations and another goes on.
 *
 *     explore [--images N] [--seconds N] [--workload W] [--region shm|file] [--base N] [-v]
 *     explore --workload W --region R [--kill K] --at K --image power|processes --seed S [--at2 K2 --image2 I --seed2 S2] [-t]
 * The second form, printed with each violation, replays one image. */
#include <getopt.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "os/os.h"
#include "workloads.h"

enum {
    RESERVE = 48 << 20, /* of address space for the largest file, the region */
    DEPTH_MAX = 2,
    SECOND_EVERY = 24,  /* of the copies, one in so many is crashed again */
    SECOND_POINTS = 12, /* at so many of its operations, about */
    PRINTED_MAX = 20,
    IMAGE_SECONDS_MAX = 60,
    NOISE = 100, /* of 1000 transfers are cut short, of 1000 calls interrupted, in some runs and images */
};

struct disaster_point {
    uint64_t at, seed;
    enum disaster disaster;
};
struct session {
    struct flock flock;
    struct oracle oracle;
    const struct workload *workload;
    int depth;
    uint64_t at;            /* hooks so far */
    enum disaster disaster; /* what made this machine */
    bool settled;           /* the oracle knows what survived it */
    uint64_t stride, phase; /* images at every stride-th hook */
    unsigned count;         /* images of power loss there; one more of the death of all processes */
    uint64_t random;
    uint64_t kill_at; /* of the killed member's hooks; 0: never */
    uint64_t own_at;
    jmp_buf killed;
};

static struct {
    uint64_t images, second_images, kills, violations, printed;
    struct disaster_point path[DEPTH_MAX + 1]; /* where the session of that depth came from; [0].at: the kill */
    int depth;
    const struct workload *workload;
    uint32_t region_kind;
    uint64_t base;
    struct disaster_point only[DEPTH_MAX + 1]; /* replay; at 0: all */
    bool verbose, trace;
} world;

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) ^ (b + UINT64_C(0x7f4a7c15));
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 29;
}

static const char *disaster_name(enum disaster disaster) { return disaster == DISASTER_POWER ? "power" : "processes"; }

static void print_path(FILE *to)
{
    fprintf(to, "    explore --workload %s --region %s --base %llu", world.workload ? world.workload->name : "?",
            world.region_kind == ROOST_REGION_FILE ? "file" : "shm", (unsigned long long)world.base);
    if (world.path[0].at) fprintf(to, " --kill %llu", (unsigned long long)world.path[0].at);
    for (int i = 1; i <= world.depth; i++) {
        const struct disaster_point *point = &world.path[i];
        const char *suffix = i == 1 ? "" : "2";
        fprintf(to, " --at%s %llu --image%s %s --seed%s %llu", suffix, (unsigned long long)point->at, suffix,
                disaster_name(point->disaster), suffix, (unsigned long long)point->seed);
    }
    fprintf(to, "\n");
}

static void on_violation(struct flock *flock)
{
    world.violations++;
    if (world.printed++ >= PRINTED_MAX) return;
    printf("violation%s%s: %s\n", sim_strategy(flock->sim)[0] ? ", " : "", sim_strategy(flock->sim), oracle_reason());
    print_path(stdout);
    if (world.only[1].at) oracle_print(flock->oracle, stdout);
    fflush(stdout);
}

static void on_signal(int number)
{
    fprintf(stderr, "explore: signal %d (%s) at\n", number, number == SIGALRM ? "an image takes too long" : "crashed");
    print_path(stderr);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void on_hook(void *user, uint64_t operation, const char *name);

static void begin_session(struct session *session, struct sim *sim)
{
    session->flock.sim = sim;
    session->flock.oracle = &session->oracle;
    session->flock.violated = on_violation;
    session->flock.hook = NULL;
    session->flock.hook_user = session;
}

static void set_hook(struct session *session, bool on)
{
    session->flock.hook = on ? on_hook : NULL;
    sim_set_hook(session->flock.sim, session->flock.hook, session);
}

static void serve_others(void *user)
{
    struct session *session = user;
    for (int i = 0; i < MEMBER_MAX; i++) flock_serve(&session->flock, i);
}

/* ---- one image ---- */

static void open_root(struct session *session, bool observed)
{
    struct flock *flock = &session->flock;
    struct rst_stat stat;
    int directory = rst_os->open(-1, FLOCK_PATH, RST_OPEN_READ | RST_OPEN_DIRECTORY, 0);
    bool there = directory >= 0 && rst_os->stat_at(directory, "state.wal", &stat) == 0;
    if (directory >= 0) rst_os->close(directory);
    /* While it is being made there may be none yet: then another can be made. */
    if (!there && session->workload->create && session->oracle.step_count == 0) {
        int err = make_root(world.region_kind, 0);
        if (err) {
            oracle_complain("roost_create after a disaster: %s (%s)", roost_error_name(err), roost_error_detail());
            flock_complain(flock);
        }
    }
    if (there && observed) flock_observe(flock, session->disaster);
    flock_open(flock, 0);
}

static int rebuild(roost_root *root) { return roost_rebuild(root); }

/* What whoever comes after a disaster does: look, write, leave, come back. */
static void live_on(struct session *session, uint64_t seed)
{
    struct flock *flock = &session->flock;
    flock_compare_copy(flock);
    open_root(session, seed % 4 == 2);
    /* What a dead process had submitted is committed by whoever takes the role: a read before that may miss it, one after it not. */
    bool open = false;
    for (uint32_t i = 0; i < session->oracle.step_count; i++) open = open || session->oracle.steps[i].status == STEP_INTENDED;
    if (open) flock_request(flock, 0, roost_sync, "roost_sync");
    flock_compare(flock, 0, session->disaster, true);
    session->settled = true;
    flock_append(flock, 0, "", 90, ROOST_DURABLE);
    flock_set(flock, 0, "after", 30, UINT64_MAX, 0, ROOST_PROCESS, 0);
    if (seed % 8 == 1) flock_request(flock, 0, rebuild, "roost_rebuild");
    if (seed % 8 == 2) flock_request(flock, 0, roost_checkpoint, "roost_checkpoint");
    if (seed % 8 == 3) flock_append(flock, 0, "", 9000, ROOST_PROCESS);
    if (seed % 8 == 4) flock_publish(flock, 0, "ada", ROOST_PROCESS);
    flock_append(flock, 0, "named", 90, ROOST_PROCESS);
    if (seed % 4 == 1) flock_compare(flock, 0, DISASTER_NONE, true);
    flock_check(flock, 0);
    flock_close(flock, 0);
    flock_open(flock, 0);
    flock_compare(flock, 0, DISASTER_NONE, true);
    flock_close(flock, 0);
}

static void try_image(struct session *from, enum disaster disaster, uint64_t seed)
{
    static struct session sessions[DEPTH_MAX + 1];
    int depth = from->depth + 1;
    struct session *session = &sessions[depth];
    struct sim *sim = disaster == DISASTER_POWER ? sim_power_loss(from->flock.sim, seed) : sim_process_loss(from->flock.sim);
    memset(&session->flock, 0, sizeof session->flock);
    session->oracle = from->oracle;
    session->workload = from->workload;
    session->depth = depth;
    session->at = 0;
    session->settled = false;
    session->kill_at = 0;
    /* What a power cut took before anybody looked cannot be asked for by a milder disaster after it. */
    session->disaster = from->disaster == DISASTER_POWER && !from->settled ? DISASTER_POWER : disaster;
    world.path[depth] = (struct disaster_point){from->at, seed, disaster};
    world.depth = depth;
    sim_use(sim);
    begin_session(session, sim);
    sim_set_idle(sim, serve_others, session);
    sim_set_noise(sim, seed % 16 == 5 ? NOISE : 0, seed % 16 == 5 ? NOISE : 0);
    bool again = depth < DEPTH_MAX && (world.only[depth + 1].at || (!world.only[1].at && mix(seed, 7) % SECOND_EVERY == 0));
    if (again) {
        session->stride = world.only[depth + 1].at ? 1 : 3 + mix(seed, 8) % SECOND_POINTS;
        session->phase = mix(seed, 9);
        session->count = 1;
        session->random = mix(seed, 10);
    }
    set_hook(session, again);
    if (depth == 1) alarm(IMAGE_SECONDS_MAX);
    live_on(session, seed);
    if (session->flock.ended) set_hook(session, false);
    for (int i = 0; i < MEMBER_MAX; i++) flock_close(&session->flock, i);
    sim_destroy(sim);
    world.depth = depth - 1;
    world.images++;
    if (depth > 1) world.second_images++;
}

static void on_hook(void *user, uint64_t operation, const char *name)
{
    struct session *session = user;
    struct sim *sim = session->flock.sim;
    (void)operation;
    session->at++;
    if (world.trace) printf("%*s%llu %s\n", session->depth * 4, "", (unsigned long long)session->at, name);
    bool own = session->kill_at && sim_process_current(sim) == session->flock.members[session->workload->killed].process;
    if (own && ++session->own_at == session->kill_at) longjmp(session->killed, 1);
    if (session->flock.ended || !session->stride || (session->at + session->phase) % session->stride) return;
    const struct disaster_point *only = &world.only[session->depth + 1];
    if (only->at && only->at != session->at) return;
    if (world.verbose && only->at)
        printf("depth %d, operation %llu: %s\n", session->depth + 1, (unsigned long long)session->at, name);
    int process = sim_process_current(sim);
    for (unsigned i = 0; i <= session->count; i++) {
        enum disaster disaster = i < session->count ? DISASTER_POWER : DISASTER_PROCESSES;
        uint64_t seed = mix(session->random + session->at, i);
        if (only->at && disaster != only->disaster) continue;
        if (only->at) seed = only->seed;
        try_image(session, disaster, seed);
        sim_use(sim);
        if (only->at) break;
    }
    sim_process_use(sim, process);
}

/* ---- one run ---- */

static struct session *new_session(const struct workload *workload, uint64_t random)
{
    static struct session session; /* one at a time: a takeover's longjmp finds it as it was */
    memset(&session, 0, sizeof session);
    flock_forget_copy();
    world.workload = workload;
    world.depth = 0;
    world.path[0].at = 0;
    workload_region_kind = world.region_kind;
    workload_seed = mix(world.base, world.region_kind);
    struct sim *sim = sim_create_sized(mix(world.base, 1), RESERVE);
    sim_use(sim);
    begin_session(&session, sim);
    session.workload = workload;
    session.random = random;
    session.settled = true;
    sim_set_idle(sim, serve_others, &session);
    if (!workload->create && make_root(world.region_kind, workload->arena_size) < 0) {
        oracle_complain("roost_create: %s", roost_error_detail());
        flock_complain(&session.flock);
    }
    if (workload->prepare) workload->prepare(&session.flock);
    if (mix(world.base, 12) % 4 == 0) sim_set_noise(sim, NOISE, NOISE);
    return &session;
}

static void end_session(struct session *session)
{
    set_hook(session, false);
    alarm(0);
    for (int i = 0; i < MEMBER_MAX; i++) flock_close(&session->flock, i);
    sim_destroy(session->flock.sim);
}

/* The run with images; with none it only counts the operations. */
static uint64_t run_once(const struct workload *workload, uint64_t stride, unsigned count, uint64_t random)
{
    struct session *session = new_session(workload, random);
    session->stride = stride;
    session->phase = stride > 1 ? random : 0;
    session->count = count;
    set_hook(session, true);
    workload->run(&session->flock);
    if (workload->finish) workload->finish(&session->flock);
    uint64_t operations = session->at;
    end_session(session);
    return operations;
}

/* The run with one member killed at its operation `kill_at`; images while the others go on. False: it has no such operation. */
static bool run_killed(const struct workload *workload, uint64_t kill_at, uint64_t stride, uint64_t random)
{
    struct session *session = new_session(workload, random);
    world.path[0].at = kill_at;
    session->kill_at = kill_at;
    bool died = true;
    if (setjmp(session->killed) == 0) {
        set_hook(session, true);
        workload->run(&session->flock);
        died = false;
    }
    session->kill_at = 0;
    if (died) {
        flock_kill(&session->flock, workload->killed);
        world.kills++;
        session->at = 0;
        session->stride = stride;
        session->phase = random;
        session->count = 1;
        set_hook(session, true);
        alarm(IMAGE_SECONDS_MAX);
        workload->finish(&session->flock);
    }
    end_session(session);
    return died;
}

static void explore(const struct workload *workload, uint64_t quota, uint64_t random)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    uint64_t images = world.images, violations = world.violations, kills = world.kills;
    uint64_t operations = run_once(workload, 0, 0, random);
    /* At every operation once, and more often where the quota allows it. */
    uint64_t share = workload->finish ? quota / 2 : quota, count = share / operations;
    uint64_t stride = count >= 2 ? 1 : share ? 2 * operations / share + 1 : 1;
    run_once(workload, stride, count >= 2 ? (unsigned)count - 1 : 1, random);
    if (workload->finish) {
        uint64_t points = operations / 2 + 1; /* about as many of them are the killed one's */
        for (uint64_t k = 1; run_killed(workload, k, 1 + points * operations / (share + 1), mix(random, k)); k++) continue;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    images = world.images - images;
    if (world.verbose)
        printf("%-18s %-4s %5llu operations %6llu images %4llu kills %8.0f images/s %llu violations\n", workload->name,
               world.region_kind == ROOST_REGION_FILE ? "file" : "shm", (unsigned long long)operations,
               (unsigned long long)images, (unsigned long long)(world.kills - kills), (double)images / seconds,
               (unsigned long long)(world.violations - violations));
    fflush(stdout);
}

static void explore_all(const char *only_workload, uint32_t only_region, uint64_t images, uint64_t random)
{
    uint64_t weights = 0;
    for (unsigned i = 0; i < workload_count; i++) weights += 2 * workloads[i].weight;
    for (unsigned i = 0; i < workload_count; i++)
        for (uint32_t region = ROOST_REGION_SHM; region <= ROOST_REGION_FILE; region++) {
            if (only_workload && strcmp(only_workload, workloads[i].name) != 0) continue;
            if (only_region && only_region != region) continue;
            world.region_kind = region;
            explore(&workloads[i], images * workloads[i].weight / weights, mix(random, i * 2 + region));
        }
}

static void replay(const char *name, uint64_t kill_at)
{
    for (unsigned i = 0; i < workload_count; i++) {
        if (strcmp(name, workloads[i].name) != 0) continue;
        if (kill_at)
            run_killed(&workloads[i], kill_at, 1, 0);
        else
            run_once(&workloads[i], 1, 1, 0);
    }
}

static enum disaster disaster_of(const char *name) { return strcmp(name, "power") == 0 ? DISASTER_POWER : DISASTER_PROCESSES; }

/* A process that is killed leaves its heap as it is, and it is only simulated: to AddressSanitizer that looks like a leak. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

int main(int argc, char **argv)
{
    enum { IMAGES = 1, SECONDS, WORKLOAD, REGION, BASE, KILL, AT, IMAGE, SEED, AT2, IMAGE2, SEED2 };
    static const struct option options[] = {
        {"images", 1, NULL, IMAGES},
        {"seconds", 1, NULL, SECONDS},
        {"workload", 1, NULL, WORKLOAD},
        {"region", 1, NULL, REGION},
        {"base", 1, NULL, BASE},
        {"kill", 1, NULL, KILL},
        {"at", 1, NULL, AT},
        {"image", 1, NULL, IMAGE},
        {"seed", 1, NULL, SEED},
        {"at2", 1, NULL, AT2},
        {"image2", 1, NULL, IMAGE2},
        {"seed2", 1, NULL, SEED2},
        {0},
    };
    uint64_t images = 44000, kill_at = 0; /* about 120,000 with those of depth 2 */
    uint32_t region = 0;
    long seconds = 0;
    const char *workload = NULL;
    world.base = 1;
    /* A third of the time: an observer's view comes zeroed from the kernel instead of being cleared, everything else stays in the heap. */
    mallopt(M_PERTURB, 0); /* meson asks for it: then all of a view would be written twice */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    for (int option; (option = getopt_long(argc, argv, "vt", options, NULL)) != -1;) {
        switch (option) {
        case IMAGES:
            images = strtoull(optarg, NULL, 0);
            break;
        case SECONDS:
            seconds = strtol(optarg, NULL, 0);
            break;
        case WORKLOAD:
            workload = optarg;
            break;
        case REGION:
            region = strcmp(optarg, "file") == 0 ? ROOST_REGION_FILE : ROOST_REGION_SHM;
            break;
        case BASE:
            world.base = strtoull(optarg, NULL, 0);
            break;
        case KILL:
            kill_at = strtoull(optarg, NULL, 0);
            break;
        case AT:
            world.only[1].at = strtoull(optarg, NULL, 0);
            break;
        case IMAGE:
            world.only[1].disaster = disaster_of(optarg);
            break;
        case SEED:
            world.only[1].seed = strtoull(optarg, NULL, 0);
            break;
        case AT2:
            world.only[2].at = strtoull(optarg, NULL, 0);
            break;
        case IMAGE2:
            world.only[2].disaster = disaster_of(optarg);
            break;
        case SEED2:
            world.only[2].seed = strtoull(optarg, NULL, 0);
            break;
        case 'v':
            world.verbose = true;
            break;
        case 't':
            world.trace = true;
            break; /* every operation of the machines that have hooks */
        default:
            return 2;
        }
    }
    for (int i = 0; i < 5; i++) signal((int[]){SIGSEGV, SIGBUS, SIGABRT, SIGALRM, SIGFPE}[i], on_signal);
    time_t begin = time(NULL);
    if (workload && (world.only[1].at || kill_at)) {
        world.region_kind = region ? region : ROOST_REGION_SHM;
        world.verbose = true;
        replay(workload, kill_at);
    } else if (seconds) {
        for (uint64_t round = (uint64_t)begin; time(NULL) - begin < seconds; round++) {
            world.base = round;
            explore_all(workload, region, images / 4, mix(round, 2));
        }
        printf("bases %llu to %llu; --base N --images %llu tries one of them again\n", (unsigned long long)begin,
               (unsigned long long)world.base, (unsigned long long)images / 4);
    } else {
        explore_all(workload, region, images, mix(world.base, 2));
    }
    double took = difftime(time(NULL), begin) + 0.5;
    printf("%u workloads, %llu images (%llu at depth 2), %llu kills, %.0f images/s, %llu violations\n", workload_count,
           (unsigned long long)world.images, (unsigned long long)world.second_images, (unsigned long long)world.kills,
           (double)world.images / took, (unsigned long long)world.violations);
    return world.violations ? 1 : 0;
}
