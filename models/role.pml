/* SPDX-License-Identifier: MIT
 * role.pml: the writer's role: the flock, the role word beside it, lanes, rest, takeover, slots used again (R16, R17, R18, R12).
 *
 * Kernel: `flock_holder` belongs to a description, `byte_lock` to a slot; both are freed at death. Region: the role word (free or
 * held, and by which slot), one lane a client. The first participant (slot 0, with a second thread T on the same description)
 * holds the role, serves, lets it rest, and then is stopped for ever with its byte lock held. Clients 1 and 2 submit once
 * each, wait, and may become writer. Up to DEATHS of them die, anywhere while they write. A newcomer takes a dead one's slot.
 *
 * Never: two writers at once; an orderly release that leaves a parked client's entry behind (it would wait a slice).
 * Always: every living client is answered. Waiting is a blocking statement, so a wait for ever is an invalid end state.
 *
 * Mutants, each must fail:
 *   BYTEONLY   clients probe the holder's byte lock but do not look at the word (R16)
 *   NOLOOK     the releaser does not look at the lanes again after storing FREE (R16)
 *   RELAXED    the client's load of the word overtakes its store of the entry: no seq_cst (R16)
 *   SPLITWORD  the word's two halves are two stores (R16)
 *   REUSE      a slot that the word names is taken without the flock (R16)
 *   STEAL      a client that waited takes the role from a living process (R16, R17)
 *   NOMUTEX    a thread asks flock without the commit mutex: its own description already holds it (R17)
 *   PROBEOWN   a handle probes its own slot: its own lock looks free to it (R17)
 *   NOREST     the role does not rest, and its idle holder is stopped (R18) */
#ifndef DEATHS
#define DEATHS 2
#endif
#define NONE 9
#define LANES 4 /* of clients 1, 2, the thread T (0) and the newcomer (3) */

/* The inlines below use their caller's me (lane), description and slot. */
byte flock_holder = 0;       /* description: 0, 1, 2, 3 = newcomer */
bool byte_lock[3] = true;
bool word_free = false;
byte word_slot = 0;
bool submitted[LANES], parked[LANES], done[LANES];
bool commit_mutex = false;   /* of participant 0 */
bool first_dead = false;     /* participant 0: its threads end together */
byte writers = 0;
byte deaths = 0;
byte free_slot = NONE;       /* a dead one's slot, for the newcomer */

#define HOLDER_DEAD (!byte_lock[word_slot])

inline begin_writing()
{
    atomic { writers++; assert(writers == 1) }
}

inline serve_lanes()
{
    lane = 0;
    do
    :: lane < LANES ->
        if :: atomic { submitted[lane] -> submitted[lane] = false; parked[lane] = false; done[lane] = true } :: else fi;
        lane++
    :: else -> break
    od
}

/* Death while writing: the kernel frees what it held. */
inline may_die()
{
    if
    :: atomic { deaths < DEATHS -> deaths++; writers--; byte_lock[slot] = false; free_slot = slot;
        if :: flock_holder == description -> flock_holder = NONE :: else fi;
        if :: slot == 0 && description == 0 -> first_dead = true :: else fi };
        goto dead
    :: true
    fi
}

/* Store FREE, look again, take it back or unlock (R16). */
inline let_go()
{
    do
    :: serve_lanes();
        word_free = true;
#ifndef NOLOOK
        if :: submitted[0] || submitted[1] || submitted[2] || submitted[3] -> word_free = false :: else -> break fi
#else
        break
#endif
    od;
    atomic {
        writers--;
        assert(!(submitted[0] && parked[0]) && !(submitted[1] && parked[1]) && !(submitted[2] && parked[2]) &&
            !(submitted[3] && parked[3]));
        if :: flock_holder == description -> flock_holder = NONE :: else fi
    }
}

inline take_word()
{
#ifdef SPLITWORD
    word_free = false;
    may_die();
    word_slot = slot
#else
    atomic { word_free = false; word_slot = slot }
#endif
}

inline submit()
{
#ifdef RELAXED
    held = !word_free && !HOLDER_DEAD;
    submitted[me] = true;
    parked[me] = held
#else
    submitted[me] = true;
    atomic { if :: word_free || HOLDER_DEAD :: else -> if :: submitted[me] -> parked[me] = true :: else fi fi }
#endif
}

/* Slices: until it is done or the role can be had. */
inline wait_or_write()
{
    do
    :: done[me] -> break
#ifdef BYTEONLY
    :: !done[me] && HOLDER_DEAD && flock_holder == NONE ->
#else
    :: !done[me] && (word_free || HOLDER_DEAD) && flock_holder == NONE ->
#endif
        got = false;
        if :: atomic { flock_holder == NONE -> flock_holder = description; got = true } :: else fi; /* EWOULDBLOCK: look again */
        if
        :: got ->
            begin_writing();
            may_die();
            take_word();
            may_die();
            let_go()
        :: else
        fi
#ifdef STEAL
    :: !done[me] && !word_free && !HOLDER_DEAD ->
        take_word();
        begin_writing();
        let_go()
#endif
    od
}

/* Participant 0, its first thread: the first opener. */
proctype First()
{
    byte lane;
    byte description = 0, slot = 0;
    begin_writing();
    do
    :: (submitted[0] || submitted[1] || submitted[2] || submitted[3]) ->
        atomic { !commit_mutex -> commit_mutex = true };
        if
        :: flock_holder == 0 -> serve_lanes(); may_die(); commit_mutex = false
        :: else -> commit_mutex = false; goto stopped
        fi
#ifdef NOREST
    :: true -> goto stopped
#else
    :: true -> /* idle */
        atomic { !commit_mutex -> commit_mutex = true };
        if :: flock_holder == 0 -> may_die(); let_go() :: else fi;
        commit_mutex = false;
        goto stopped
#endif
    od;
dead:
stopped:
    skip /* attached, its byte lock held, never runs again (Ctrl-Z) */
}

/* Participant 0, another thread: the same description, the same slot. */
proctype Thread()
{
    byte lane;
    byte me = 0, description = 0, slot = 0;
    bool got, held;
    submit();
    do
    :: done[0] || first_dead -> break
#if defined(PROBEOWN) || defined(NOMUTEX)
    /* flock on a description that holds it is granted. NOMUTEX: asked when the word says FREE, which it also does between a
       releaser's store and its unlock. PROBEOWN: under the mutex, but the own byte lock is probed instead of asking the flag. */
#ifdef NOMUTEX
    :: atomic { !done[0] && !first_dead && word_free && (flock_holder == 0 || flock_holder == NONE) -> flock_holder = 0 };
#else
    :: atomic { !done[0] && !first_dead && !commit_mutex && (flock_holder == 0 || flock_holder == NONE) ->
        commit_mutex = true; flock_holder = 0 };
#endif
        begin_writing();
        if :: first_dead -> goto dead :: else fi;
        take_word();
        let_go();
        commit_mutex = false
#else
    :: !done[0] && !first_dead && !commit_mutex && (flock_holder == 0 || flock_holder == NONE) ->
        got = false;
        atomic { if :: !commit_mutex -> commit_mutex = true; got = true :: else fi };
        if
        :: got && !first_dead ->
            if
            :: flock_holder == 0 -> serve_lanes() /* the role is a flag under the mutex: it has it, so it commits itself */
            :: atomic { flock_holder == NONE -> flock_holder = 0 };
                begin_writing();
                take_word();
                let_go()
            :: flock_holder != 0 && flock_holder != NONE
            fi;
            commit_mutex = false
        :: got && first_dead -> commit_mutex = false
        :: else
        fi
#endif
    od;
dead:
    skip
}

proctype Client(byte me)
{
    byte lane;
    byte description = me, slot = me;
    bool got, held;
    submit();
    wait_or_write();
dead:
    skip
}

/* Takes the slot of a dead participant, then submits once. */
proctype Newcomer()
{
    byte lane;
    byte me = 3, description = 3, slot = 0;
    bool got, held;
    if
    :: free_slot != NONE -> slot = free_slot
    :: deaths == 0 -> goto dead /* it may also never come */
    fi;
#ifdef REUSE
    byte_lock[slot] = true;
#else
    if
    :: !word_free && word_slot == slot ->
        got = false;
        if :: atomic { flock_holder == NONE -> flock_holder = 3; got = true } :: else fi;
        if
        :: got ->
            begin_writing();
            take_word(); /* HELD by this slot, truly now */
            byte_lock[slot] = true;
            let_go()
        :: else -> goto dead /* EWOULDBLOCK: it looks for another slot; there is none in this model */
        fi
    :: else -> byte_lock[slot] = true
    fi;
#endif
    submit();
    wait_or_write();
dead:
    skip
}

init
{
    atomic {
        run First();
        run Client(1);
#ifdef WIDE
        run Client(2);
#endif
#if defined(THREAD) || defined(NOMUTEX) || defined(PROBEOWN)
        run Thread();
#else
        run Newcomer();
#endif
    }
}
