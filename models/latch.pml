/* SPDX-License-Identifier: MIT
 * latch.pml: the two-copy latch of an agent's state (R14), with an owner that may be killed at any instruction.
 *
 * A state is two words that must match (a torn one does not). The owner writes copy 0, then copy 1; an odd `seq` sends readers
 * to copy 1, an even one to copy 0: always to the copy that is not being written. One death; a successor (a new owner
 * of the slot) first copies the good copy over the other one, then goes on. Two readers' worth of checks in one reader: it never
 * sees a torn state, what it sees never goes back, and it can always finish (an end state in which it still waits is an error).
 *
 * Mutants, each must fail:
 *   SEQLOCK   one copy, odd means wait: a dead owner blocks readers for ever
 *   NORECOPY  the successor does not repair the copy that its predecessor was writing
 *   NOVERIFY  the reader does not look at seq again
 *   NOFENCE   the words of a copy overtake the bump that should hide it (a missing release fence) */
#define PUBLISH 2

byte seq = 0;
byte word_a[2], word_b[2]; /* two copies of {a, b} */
bool dead = false;
bool owner_ended = false;

#define MAYDIE if :: !dead -> dead = true; goto gone :: true fi

inline write_copy(copy, value)
{
    word_a[copy] = value;
    MAYDIE;
    word_b[copy] = value;
}

/* me: 0 the first owner, 1 its successor */
proctype Owner(byte me)
{
    byte value;
    byte count = 0;
    if
    :: me == 1 -> (dead || owner_ended);
#if !defined(NORECOPY) && !defined(SEQLOCK)
        /* the good copy over the other one; only that other one is written, so readers go on */
        if
        :: seq % 2 == 0 -> word_a[1] = word_a[0]; word_b[1] = word_b[0]
        :: else -> word_a[0] = word_a[1]; word_b[0] = word_b[1]; seq = seq + 1; word_a[1] = word_a[0]; word_b[1] = word_b[0]
        fi
#elif defined(NORECOPY)
        if :: seq % 2 == 1 -> seq = seq + 1 :: else fi
#endif
    :: else
    fi;
    do
    :: count < PUBLISH ->
        count++;
#ifdef SEQLOCK
        value = word_b[0] + 1;
        seq = seq + 1;
        MAYDIE;
        write_copy(0, value);
        MAYDIE;
        seq = seq + 1;
        if :: dead && me == 0 -> goto gone :: else fi
#else
        value = word_b[0] + 1;
#ifdef NOFENCE
        write_copy(0, value);
        MAYDIE;
        seq = seq + 1;
#else
        seq = seq + 1;
        MAYDIE;
        write_copy(0, value);
        MAYDIE;
#endif
        seq = seq + 1;
        MAYDIE;
        write_copy(1, value);
        MAYDIE
#endif
    :: else -> break
    od;
gone:
    owner_ended = true
}

proctype Reader()
{
    byte s, a, b;
    byte last = 0;
    byte reads = 0;
    do
    :: reads < 3 ->
again:
#ifdef SEQLOCK
        atomic { seq % 2 == 0 -> s = seq };
        a = word_a[0];
        b = word_b[0];
#else
        s = seq;
        a = word_a[s % 2];
        b = word_b[s % 2];
#endif
#ifndef NOVERIFY
        if :: s != seq -> goto again :: else fi;
#endif
        assert(a == b);
        assert(a >= last);
        last = a;
        reads++
    :: else -> break
    od
}

init
{
    atomic {
        run Owner(0);
#ifndef SEQLOCK
        run Owner(1);
#endif
        run Reader()
    }
}
