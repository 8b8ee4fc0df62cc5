/* SPDX-License-Identifier: MIT
 * crash/flock.h: simulated processes that share a root, and the calls that tell the oracle what they do. */
#ifndef RST_TESTS_CRASH_FLOCK_H
#define RST_TESTS_CRASH_FLOCK_H

#include "api/internal.h"
#include "oracle.h"
#include "sim/sim.h"

enum { MEMBER_MAX = 3 };
struct flock {
    struct sim *sim;
    struct oracle *oracle;
    struct {
        roost_root *root;
        int process;
        uint64_t sequence;
    } members[MEMBER_MAX];       /* sequence: its last submission before the call */
    struct roost_receipt orphan; /* of the call in which a member was killed, once it had submitted; sequence 0: none */
    uint32_t orphan_change;      /* the first change of that call's step */
    sim_hook_fn hook;            /* of this machine, while it is on */
    void *hook_user;
    uint32_t steps_before; /* the call that runs */
    bool tolerant;         /* calls may fail: what they were to do is then open, or never happened, as the error says */
    bool ended;            /* a violation was noted: nothing more is done */
    void (*violated)(struct flock *flock);
};

#define FLOCK_PATH "/root"
#define FLOCK_COPY_PATH "/copy"

/* Each returns what the call returned; a result that was not expected is a violation, after which all calls do nothing. */
void flock_open(struct flock *flock, int member);
void flock_close(struct flock *flock, int member);
void flock_kill(struct flock *flock, int member);
uint64_t flock_append(struct flock *flock, int member, const char *key, uint32_t size, uint32_t level);
void flock_append_many(struct flock *flock, int member, uint32_t count, uint32_t size, uint32_t level);
void flock_forget(struct flock *flock, int member, uint64_t id, uint32_t level);
/* expected: UINT64_MAX: no condition. want: the result. Returns the version. */
uint64_t flock_set(struct flock *flock, int member, const char *key, uint32_t size, uint64_t expected, int64_t expires_ns,
                   uint32_t level, int want);
void flock_delete(struct flock *flock, int member, const char *key, uint32_t level);
void flock_stream(struct flock *flock, int member, const char *name, uint32_t size, uint32_t level);
void flock_publish(struct flock *flock, int member, const char *name, uint32_t level);
void flock_batch(struct flock *flock, int member, uint64_t forget, uint32_t level);
/* Without waiting; `step` of the oracle floats. flock_poll takes its answer. */
void flock_submit(struct flock *flock, int member, uint32_t level);
void flock_poll(struct flock *flock, int member, uint32_t count);
typedef int (*flock_request_fn)(roost_root *root);
void flock_request(struct flock *flock, int member, flock_request_fn request, const char *name);
/* Compares what this member shows, with hooks off. */
void flock_compare(struct flock *flock, int member, enum disaster disaster, bool search);
/* Everything that reads and watches. Where calls may fail they tell the truth or an error. */
void flock_read(struct flock *flock, int member);
/* An observer comes before anybody who may write: it sees what they will (flock_compare), or is told that they must come first. */
void flock_observe(struct flock *flock, enum disaster disaster);
/* What the dead member's last call became: the answer must fit what is there (exactly once). After flock_compare. */
void flock_settle_orphan(struct flock *flock, int member);
void flock_check(struct flock *flock, int member); /* roost_check finds nothing */
/* Copies the root to FLOCK_COPY_PATH: a backup by this member, or a restore or a rescue (for_closed; member -1) of a root that nobody has
 * open. Once in a run. */
typedef int (*flock_copy_fn)(const char *source, const char *path, roost_found_fn found, void *user, struct roost_copy *ret_copy);
void flock_copy(struct flock *flock, int member, flock_copy_fn for_closed);
/* Is the copy no root at all (which is right only while it is made), or does it hold all that the original did when it was begun? */
void flock_compare_copy(struct flock *flock);
void flock_forget_copy(void);             /* before another run */
void flock_complain(struct flock *flock); /* oracle_reason() says why */
/* Lets the member that holds the role do what its service thread would. */
void flock_serve(struct flock *flock, int member);

#endif
