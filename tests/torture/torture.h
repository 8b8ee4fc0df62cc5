/* SPDX-License-Identifier: MIT
 * torture/torture.h: what a writer needs to tell the oracle, whichever way it works: torture.c waits for each write, loop.c never. */
#ifndef ROOST_TESTS_TORTURE_H
#define ROOST_TESTS_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <roost/roost.h>

enum {
    CHILD_MAX = 32,
    TAG_BITS = 18, /* the operations of one life; the rest of 32 bits counts the lives */
    OP_MAX = (1 << TAG_BITS) - 1024,
    LIFE_MAX = (1 << (32 - TAG_BITS)) - CHILD_MAX,
    KEY_COUNT = 8,
    ENTRY_MAX = 512,
    STATE_WORDS_MAX = 64 * 16 + 1,
    TEXT_MAX = 200 << 10,
};
enum op_kind { OP_APPEND = 1, OP_SET, OP_DELETE, OP_STREAM, OP_BATCH, OP_FORGET, OP_COUNT, OP_STATE };
enum note_kind {
    NOTE_OPEN = 1,
    NOTE_INTENT,
    NOTE_ACK,
    NOTE_REFUSED,  /* by what was there: no such key, another version */
    NOTE_CANCELED, /* not applied, and never will be */
    NOTE_WRONG,
    NOTE_PROBED,
    NOTE_LOOKED,
    NOTE_MAPPED,
    NOTE_SETTLED,
    NOTE_UNKNOWN /* too late to ask what became of it: either is right */
};
struct note {
    uint32_t kind, child;
    uint32_t tag, op;
    int32_t result;
    uint32_t size; /* of the text that follows */
    uint64_t id, lsn, target;
    int64_t time_ns;
    uint64_t late; /* an acknowledgement that was asked for by receipt: it may come after those of later operations */
};
struct shared { /* between parent and children; not the store's */
    uint32_t stop;
    int32_t holder; /* the process that roost_stats names as the writer, looked up all the time by one reader */
    uint32_t stats_ready;
};
struct options {
    int seconds, kills, writers, readers, loops, servers, every;
    uint64_t seed;
    uint32_t region;
    bool stop, only_stop, fork, large, keep;
    char root[256];
    const char *command; /* the `roost` command */
};
struct writer {
    roost_root *root;
    uint32_t life, next, index;
    uint64_t random;
    uint64_t own_ids[64]; /* that may be forgotten: of batches, as readers are asked for what was appended alone */
    uint32_t own_count;
    uint64_t state_number;
    char *text;
};
extern struct options opt;
extern struct shared *shared;

int64_t now_ns(void);
uint64_t below(uint64_t *state, uint64_t n);
/* What an operation writes, from its tag alone. */
size_t text_of(uint32_t tag, char *text);
size_t entry_of(uint32_t tag, char *text);
void key_name(uint32_t life, uint32_t slot, char *name);
uint32_t key_slot(uint32_t tag);
size_t state_words(uint64_t number, char *text);
void fill_batch(struct writer *w, uint32_t tag, roost_batch *batch);
/* What the oracle hears. */
void say(struct note note, const char *text);
__attribute__((format(printf, 1, 2))) void wrong(const char *format, ...);
uint32_t begin(struct writer *w, uint32_t kind, uint64_t target);
void remember(struct writer *w, uint64_t id);
roost_root *open_root(uint32_t flags);
struct roost_write choose_level(struct writer *w);
void fork_away(struct writer *w);
bool time_to_stop(const struct writer *w);

/* loop.c: a writer that works through libuv alone, until it is time to stop. The root may be another one when it returns. */
void run_on_a_loop(struct writer *w);
/* mcp.c: becomes `roost mcp`, with a client as its child. Returns only when that is not possible. */
int run_as_mcp(struct writer *w);

#endif
