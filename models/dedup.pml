/* SPDX-License-Identifier: MIT
 * dedup.pml: lanes, group commit and takeover: each submitted entry is in the log exactly once, and what is answered is on the
 * disk (R19, R20, R9, R21).
 *
 * Clients 0 and 1 submit one entry each into their lanes; client 1 may die right after, and client 2 takes its lane. Three writers follow
 * one another; the first two may die between any two steps. A frame holds every entry that waits. The kernel's page cache
 * outlives a process; an fdatasync that fails (once) leaves pages clean that are not on the disk, and the next one says OK. The region
 * keeps `durable` and, for each client, whether its entry was consumed.
 *
 * Mutants, each must fail:
 *   NODEDUP      an heir does not learn from the frames which entries they consumed (R19)
 *   LANEDROP     a dead client's lane is used again before its entry is committed (R19)
 *   NOREWRITE    an heir syncs the frames beyond `durable` without writing them again (R20)
 *   ANSWERFIRST  an heir answers from the frames before it has synced them (R20)
 *   APPLYFIRST   a writer marks entries as consumed before their frame is written (R21)
 *   RETRYSYNC    a writer whose fdatasync failed calls it again and believes the answer (R9) */
#define CLIENTS 3
#define FRAMES 4
#define NONE 9

bool frame_has[12]; /* [frame * CLIENTS + client] */
bool dirty[FRAMES], on_disk[FRAMES];
byte written = 0;   /* frames in the page cache */
byte durable = 0;   /* in the region: frames known to be on the disk */
bool consumed[CLIENTS], done[CLIENTS], ever_submitted[CLIENTS];
byte count[CLIENTS]; /* frames that hold the client's entry */
byte frame_of[CLIENTS];
byte lane[2] = NONE; /* the client whose entry is in the lane */
byte failures = 0;
bool client_dead = false;
bool flock = false;
byte finished = 0;

inline fdatasync()
{
    sync_failed = false;
    if
    :: failures < 1 -> atomic { failures++; sync_failed = true; f = 0;
            do :: f < FRAMES -> dirty[f] = false; f++ :: else -> break od }
    :: atomic { f = 0;
            do :: f < FRAMES -> if :: dirty[f] -> dirty[f] = false; on_disk[f] = true :: else fi; f++ :: else -> break od }
    fi
}

/* Write all frames beyond `durable` again, sync, and only then believe it; after a failure once more. */
inline rewrite_and_sync()
{
    do
    :: atomic { f = durable; do :: f < written -> dirty[f] = true; f++ :: else -> break od };
        fdatasync();
        if :: !sync_failed -> break :: else fi
    od;
    durable = written
}

inline answer(who)
{
    atomic { assert(on_disk[frame_of[who]]); done[who] = true }
}

inline may_die() { if :: mortal -> flock = false; goto dead :: true fi }

proctype Writer(byte number; bool mortal)
{
    byte f, c, l;
    bool sync_failed, any;
    bool takes[CLIENTS];
    atomic { finished == number && !flock -> flock = true };
    if
    :: number > 0 -> /* an heir */
#ifdef ANSWERFIRST
        c = 0;
        do :: c < CLIENTS -> if :: count[c] > 0 && !done[c] -> answer(c) :: else fi; c++ :: else -> break od;
#endif
#ifdef NOREWRITE
        fdatasync();
        if :: sync_failed -> fdatasync() :: else fi;
        durable = written;
#else
        rewrite_and_sync();
#endif
        may_die();
#ifndef NODEDUP
        c = 0;
        do :: c < CLIENTS -> if :: count[c] > 0 -> consumed[c] = true :: else fi; c++ :: else -> break od
#endif
    :: else
    fi;
end_serve:
    do
    :: (lane[0] != NONE && !done[lane[0]]) || (lane[1] != NONE && !done[lane[1]]) ->
        /* group commit: what waits now */
        any = false;
        c = 0;
        do :: c < CLIENTS -> takes[c] = false; c++ :: else -> break od;
        l = 0;
        do
        :: l < 2 ->
            if
            :: lane[l] != NONE && !done[lane[l]] ->
                if :: !consumed[lane[l]] -> takes[lane[l]] = true; any = true :: else -> answer(lane[l]) fi
            :: else
            fi;
            l++
        :: else -> break
        od;
        if
        :: any ->
#ifdef APPLYFIRST
            c = 0;
            do :: c < CLIENTS -> if :: takes[c] -> consumed[c] = true :: else fi; c++ :: else -> break od;
#endif
            may_die();
            atomic { /* one frame, in the page cache at once or (torn) not at all */
                assert(written < FRAMES);
                c = 0;
                do
                :: c < CLIENTS ->
                    if
                    :: takes[c] -> frame_has[written * CLIENTS + c] = true; count[c]++; frame_of[c] = written; assert(count[c] == 1)
                    :: else
                    fi;
                    c++
                :: else -> break
                od;
                dirty[written] = true;
                written++
            };
            may_die();
            fdatasync();
            if
            :: sync_failed ->
                may_die(); /* the heir does not know that it failed */
#ifdef RETRYSYNC
                fdatasync();
                durable = written
#else
                rewrite_and_sync()
#endif
            :: else -> may_die(); durable = written
            fi;
            may_die();
            c = 0;
            do :: c < CLIENTS -> if :: takes[c] -> consumed[c] = true :: else fi; c++ :: else -> break od;
            may_die();
            c = 0;
            do :: c < CLIENTS -> if :: takes[c] -> answer(c) :: else fi; c++ :: else -> break od;
            may_die()
        :: else
        fi
    :: mortal && finished == number -> goto dead_idle
    od;
dead_idle:
    flock = false;
dead:
    finished++
}

proctype Client(byte me; byte l)
{
    atomic { lane[l] = me; ever_submitted[me] = true };
    if :: me == 1 -> client_dead = true; goto dead :: true fi;
    done[me];
    lane[l] = NONE;
dead:
    skip
}

/* Client 2 comes when client 1 is dead. */
proctype Newcomer()
{
    if
    :: client_dead
    :: done[1] -> goto none
    fi;
#ifndef LANEDROP
    done[1]; /* drained by whoever holds the role */
#endif
    atomic { lane[1] = 2; ever_submitted[2] = true };
    done[2];
    lane[1] = NONE;
none:
    skip
}

/* When the last writer rests and nobody waits, all that was ever submitted is there once. */
proctype Check()
{
end_check:
    atomic {
        finished == 2 && lane[0] == NONE && done[0] && (lane[1] == NONE || done[lane[1]]) && (done[1] || done[2]) ->
        assert(!ever_submitted[0] || count[0] == 1);
        assert(!ever_submitted[1] || count[1] == 1);
        assert(!ever_submitted[2] || count[2] == 1)
    }
}

init
{
    atomic {
        run Writer(0, true);
        run Writer(1, true);
        run Writer(2, false);
        run Client(0, 0);
        run Client(1, 1);
        run Newcomer();
        run Check()
    }
}
