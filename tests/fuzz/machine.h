/* SPDX-License-Identifier: MIT
 * fuzz/machine.h: a root on a simulated machine (sim/sim.h), for the targets that need a whole one.
 *
 * Making a root takes longer than most inputs, so it is made once and each input gets a copy of that machine. */
#ifndef RST_TESTS_FUZZ_MACHINE_H
#define RST_TESTS_FUZZ_MACHINE_H

#include "format/record.h"
#include "fuzz.h"
#include "sim/sim.h"

#define MACHINE_ROOT "/simulated" /* a name that no real folder has: the command looks for some things itself */
#define MACHINE_TEXT "apple pear" /* of the memories that machine_write makes */
enum {
    MACHINE_LOG_SIZE = 64 << 10,
    MACHINE_CHUNK_SIZE = 64 << 10,
    MACHINE_HANDLE_MAX = 3,
};

struct machine {
    struct sim *sim;
    unsigned boots;
    struct {
        roost_root *root;
        int process;
    } handles[MACHINE_HANDLE_MAX];
};

enum machine_kind {
    MACHINE_EMPTY,  /* made and never opened */
    MACHINE_CLOSED, /* some memories, keys, streams and states, a checkpoint, some more of each; closed */
    MACHINE_KILLED, /* the same, and the last process died with the region in place */
    MACHINE_KIND_COUNT,
};
/* A copy of such a machine, in use. Its region is the root's file "region", so that it can be damaged by name. */
void machine_start(struct machine *machine, enum machine_kind kind);
/* Closes what is open and takes the machine away. */
void machine_end(struct machine *machine);

/* Opens the root in a simulated process of its own; returns what opening returned. */
int machine_open(struct machine *machine, unsigned handle);
roost_root *machine_use(struct machine *machine, unsigned handle); /* in its process; NULL: not open */
int machine_close(struct machine *machine, unsigned handle);
/* All processes die, or the power is cut: what is left is in use from here on. */
void machine_kill(struct machine *machine);
void machine_cut_power(struct machine *machine, uint8_t seed);

/* Damages a file of the root from the input: pieces of it, or numbers in it, from `offset` on. */
void machine_damage(struct machine *machine, const char *file, uint64_t offset, uint64_t size, struct fuzz *fuzz);

/* A sealed record from the input, for that place: mostly right, with wrong numbers where the input says so. Its bytes are added to
 * ret_bytes; returns its header. */
struct rst_record machine_record(struct fuzz *fuzz, uint64_t lsn, uint64_t epoch, uint64_t number, uint32_t chunk,
                                 uint64_t offset, struct rst_buffer *ret_bytes);

/* Asks a root for everything there is in every way; any answer will do, but each ends, and every byte of it can be read. `seen` (may be
 * NULL) is called for each memory. */
void machine_read(roost_root *root, void (*seen)(void *user, const struct roost_memory *memory), void *user);
/* One change of each kind; any answer will do. */
void machine_write(roost_root *root);

#endif
