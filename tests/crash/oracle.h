/* SPDX-License-Identifier: MIT
 * crash/oracle.h: what a root must hold, kept outside it.
 *
 * A run is a list of steps, each one submission: intended before the call, acknowledged after it. Commits have one total order, so
 * whatever is found after a disaster must be what a prefix of the steps makes, and a prefix that reaches the last step which the
 * disaster's level covers. States of agents have their own, laxer promise. Numbers that were ever shown must not come again.
 *
 * Content follows from a serial number and a size, so an oracle is plain data: copied for each crash image. */
#ifndef RST_TESTS_CRASH_ORACLE_H
#define RST_TESTS_CRASH_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <roost/roost.h>

enum { STEP_MAX = 640, CHANGE_MAX = 800, PUBLISH_MAX = 24 };

enum change_kind { CHANGE_MEMORY = 1, CHANGE_FORGET, CHANGE_SET, CHANGE_DELETE, CHANGE_STREAM };
struct change {
    enum change_kind kind;
    uint32_t serial, size; /* of the text, value or entry */
    char name[16];         /* key or stream; memories: "" when without a key */
    uint64_t number;       /* memory: its id, 0 while unknown; forget: the id */
    uint64_t lsn;          /* 0 while unknown */
    int64_t expires_ns;
};
enum step_status { STEP_INTENDED, STEP_ACKNOWLEDGED };
struct step {
    uint32_t change_first, change_count;
    uint32_t level;
    enum step_status status;
    bool floats; /* submitted by a process that did not wait: may be committed at any later place */
};
struct publish {
    char name[16];
    uint32_t serial;
    bool durable, done; /* done: the call returned */
};
struct oracle {
    uint32_t step_count, change_count, publish_count, serial;
    bool states_lost;             /* what was published and not stored may be gone */
    bool copied;                  /* a copy of the root was finished (flock.h) */
    uint64_t id_shown, lsn_shown; /* the greatest that anybody saw */
    struct step steps[STEP_MAX];
    struct change changes[CHANGE_MAX];
    struct publish publishes[PUBLISH_MAX];
};

/* The bytes that belong to a serial and a size, and their hash. A unique word ("uniq7") comes first. */
const uint8_t *content_of(uint32_t serial, uint32_t size, uint64_t *ret_hash);

/* ---- what the run says ---- */
struct step *oracle_intend(struct oracle *oracle, uint32_t level);
struct change *oracle_change(struct oracle *oracle, enum change_kind kind, const char *name, uint32_t size);
/* lsn: of the last change; numbers: one for each change (ids, stream indexes) or NULL. false: a number came again. */
bool oracle_acknowledge(struct oracle *oracle, uint32_t step, uint64_t lsn, const uint64_t *numbers);
void oracle_withdraw(struct step *step); /* it failed, and so has no effect */
struct publish *oracle_publish(struct oracle *oracle, const char *name, bool durable);

/* ---- what is found ---- */
enum disaster { DISASTER_NONE, DISASTER_PROCESSES, DISASTER_POWER };
/* Reads everything through the public API and compares. 0: the root holds what it may hold; the oracle then knows which of the
 * open steps happened (later disasters of the same kind must keep what was seen now). Else: the reason in oracle_reason(). */
int oracle_compare(struct oracle *oracle, roost_root *root, enum disaster disaster, bool search);
const char *oracle_reason(void);
/* Did the last comparison end because a call of Roost failed, not because it told something else? */
bool oracle_call_failed(void);
void oracle_print(const struct oracle *oracle, FILE *to);                           /* the steps, and what is known of them */
int oracle_complain(const char *format, ...) __attribute__((format(printf, 1, 2))); /* sets the reason; -1 */

#endif
