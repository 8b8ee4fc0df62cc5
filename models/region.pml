/* SPDX-License-Identifier: MIT
 * region.pml: a region is created, marked moved, unlinked and attached to (R11).
 *
 * Region 0 is named and ready. K, its last closer, marks it under the flock, probes, and unlinks it or takes the mark back; it may
 * die after marking. A and B attach at the same time, by byte lock first and a look at nonce and mark after; whoever finds
 * no region makes one under the flock. Each then writes once: under the flock itself, or served through its lane. B keeps the
 * role afterwards (ROOST_OPEN_HOLD). Somebody outside (RemoveIPC, an operator) may unlink the region at any moment.
 *
 * Never: K unlinks a region in which somebody has settled; a commit whose LSN is not the next of the log (two regions count).
 * Always: A and B get their write done (a wait for ever is an invalid end state).
 * The model found a step that R11 leaves unsaid: a mark whose closer died is taken back by whoever takes the flock next, be it an
 * attacher or somebody who settled before the mark and now writes (NOREPAIR); else attachers wait for ever.
 *
 * Mutants, each must fail:
 *   NOCHECK       who takes the flock does not compare the header's nonce with its region's
 *   NOMARK        the closer probes and unlinks without a mark
 *   NONCEFIRST    the attacher looks at nonce and mark before it takes its byte lock
 *   NOREPAIR      nobody takes a dead closer's mark back
 *   NOLINKLOOK    a waiting client does not look whether its region is still named (st_nlink)
 *   NOWRITERLOOK  a writer does not look either */
#define NONE 9
#define REGIONS 6

byte named = 0;   /* which region has the name */
byte header = 0;  /* nonce in the log's header */
byte regions = 1; /* made so far */
byte flock_holder = NONE;
byte log_lsn = 0;
byte lsn_next[REGIONS] = 1;
bool moved[REGIONS];
bool byte_lock[3];
bool settled[3];
byte place[3];    /* the region of A (1) and B (2) */
bool wants[3], served[3];

inline make_region()
{
    x = regions;
    regions++;
    assert(x < REGIONS);
    lsn_next[x] = log_lsn + 1;
    named = x;
    header = x
}

inline commit(r)
{
    log_lsn++;
    assert(lsn_next[r] == log_lsn);
    lsn_next[r] = lsn_next[r] + 1
}

proctype Closer()
{
    if
    :: atomic { flock_holder == NONE -> flock_holder = 0 }
    :: flock_holder != NONE -> goto gone /* somebody else works: it is not the last one */
    fi;
    if :: header != 0 || named != 0 -> flock_holder = NONE; goto gone :: else fi;
#ifndef NOMARK
    moved[0] = true;
    if :: atomic { flock_holder = NONE; byte_lock[0] = false }; goto gone :: true fi; /* dies */
#endif
    if
    :: byte_lock[1] -> moved[0] = false
    :: else ->
        if
        :: byte_lock[2] -> moved[0] = false
        :: else ->
            assert(!(settled[1] && place[1] == 0) && !(settled[2] && place[2] == 0));
            if :: named == 0 -> named = NONE :: else fi
        fi
    fi;
    flock_holder = NONE;
gone:
    byte_lock[0] = false
}

proctype Participant(byte me)
{
    byte r, x;
attach:
    settled[me] = false;
    byte_lock[me] = false;
    r = named;
    if
    :: r == NONE ->
        if
        :: named != NONE -> goto attach
        :: atomic { flock_holder == NONE -> flock_holder = me };
            if :: named == NONE -> make_region() :: else fi;
            flock_holder = NONE;
            goto attach
        fi
    :: else
    fi;
#ifdef NONCEFIRST
    if :: header != r || moved[r] -> goto look_again :: else fi;
    byte_lock[me] = true;
#else
    byte_lock[me] = true;
    if :: header != r || moved[r] -> byte_lock[me] = false; goto look_again :: else fi;
#endif
    goto attached;
look_again:
    if
    :: named != r || (header == r && !moved[r]) -> goto attach
#ifndef NOREPAIR
    :: atomic { flock_holder == NONE -> flock_holder = me };
        if :: named == r && header == r -> moved[r] = false :: else fi; /* its closer died */
        flock_holder = NONE;
        goto attach
#endif
    fi;
attached:
    place[me] = r;
    settled[me] = true;
    wants[me] = true;
    do
    :: served[me] -> break
    :: !served[me] && flock_holder == NONE ->
        if :: atomic { flock_holder == NONE -> flock_holder = me } :: flock_holder != NONE -> goto next fi;
#ifndef NOCHECK
        if :: header != r -> flock_holder = NONE; goto attach :: else fi;
#endif
#ifndef NOREPAIR
        moved[r] = false; /* under the flock a mark on the current region can only be a dead closer's */
#endif
        if :: !served[me] -> commit(r); served[me] = true :: else fi;
        if :: me == 1 -> flock_holder = NONE :: else goto hold fi
#ifndef NOLINKLOOK
    :: !served[me] && named != r -> goto wait_named
#endif
next:
        skip
    od;
    goto gone;
#ifndef NOLINKLOOK
wait_named:
    goto attach;
#endif
hold: /* B keeps the role and serves A's lane, when it is in the same region */
end_hold:
    do
    :: wants[1] && !served[1] && settled[1] && place[1] == r -> commit(r); served[1] = true
#ifndef NOWRITERLOOK
    :: named != r -> make_region(); moved[r] = true; r = x; place[me] = r
#endif
    od;
gone:
    settled[me] = false;
    byte_lock[me] = false
}

proctype Outsider()
{
    if :: named = NONE :: true fi
}

init
{
    atomic { byte_lock[0] = true; run Closer(); run Participant(1); run Participant(2); run Outsider() }
}
