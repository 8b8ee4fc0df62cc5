#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh: runs Roost and its peers on one workload, one after another, and prints a table of ratios at the end.
#
#     bench/run.sh BUILD [CASE...]     BUILD: a build folder (meson setup --buildtype=release); CASE: only these
#
# From the environment: BENCH_ROWS (100000) rows; BENCH_DURABLE_ROWS (5000) rows of the durable cases; BENCH_REPEATS (1) times each
# case is run: the table takes medians; BENCH_DATA and BENCH_WORK folders, by default under BUILD; BENCH_LIMIT_S (300) seconds a
# case may take; BENCH_OUT file for the lines (BUILD/bench.jsonl).
# BENCH_DATA may be a folder that another generator filled. BENCH_WORK should lie on the disk that is to be measured (not a tmpfs).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: bench/run.sh BUILD [CASE...]}" && pwd)
shift
rows=${BENCH_ROWS:-100000} durable_rows=${BENCH_DURABLE_ROWS:-5000} repeats=${BENCH_REPEATS:-1} limit_s=${BENCH_LIMIT_S:-300}
data=${BENCH_DATA:-$build/bench-data-$rows} work=${BENCH_WORK:-$build/bench-work} out=${BENCH_OUT:-$build/bench.jsonl}
all="append_durable append_durable_4p append_bulk get_hot get_4p search_1term search_and2 search_or3"
all="$all fresh_self fresh_other attach recover disk state_notify notify uv"
cases=${*:-$all}

say() { printf '%s\n' "$*" >&2; }

known() { # WORD: whether it is a case
    case " $all " in *" $1 "*) ;; *)
        say "run.sh: no such case: $1 (there are: $all)"
        exit 2
        ;;
    esac
}
for name in $cases; do known "$name"; done

[ -f "$data/corpus.tsv" ] || python3 "$here/gen.py" "$data" "$rows"
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
: >"$out"

line() { # one case of one program: its lines go to $out and to the terminal; a failure becomes a line of its own
    local peer=$1 name=$2 status=0 why
    shift 2
    PEER_NAME=$peer timeout --kill-after=10 "$limit_s" "$@" >"$work/lines" 2>"$work/errors" || status=$?
    tee -a "$out" <"$work/lines"
    [ $status != 0 ] || return 0
    why=$(tail -n 1 "$work/errors" | tr -d '"\\' | tr -c '[:print:]' ' ')
    [ $status != 124 ] || why="not done within $limit_s s"
    printf '{"peer":"%s","case":"%s","unsupported":"failed: %s"}\n' "$peer" "$name" "$why" | tee -a "$out"
}

peer() { # NAME PROGRAM CASE [VARIABLE=VALUE]: once
    local name=$1 program=$2 case=$3 count=$rows
    shift 3
    case $case in append_durable*) count=$durable_rows ;; state_notify) count=20000 ;; esac
    line "$name" "$case" env "$@" "$program" "$case" "$data" "$work" "$count"
}

one_case() { # everybody who has the case, one right after the other, so that the machine's mood is about the same for all
    local case=$1 lmdb=$build/bench/bench_lmdb sqlite=$build/bench/bench_sqlite
    if [ "$case" = notify ]; then
        local place
        for place in free same_core two_cores; do line roost notify "$build/bench/notify" "$work" 20000 "$place"; done
        return
    fi
    if [ "$case" = uv ]; then
        line roost uv "$build/bench/uv" "$work"
        return
    fi
    peer roost "$build/bench/roost_bench" "$case"
    [ ! -x "$lmdb" ] || peer lmdb "$lmdb" "$case"
    [ ! -x "$sqlite" ] || peer sqlite "$sqlite" "$case"
    case $case in search_*) # stemmed against stemmed, exact words against exact words
        peer roost-exact "$build/bench/roost_bench" "$case" STEM=0
        [ ! -x "$sqlite" ] || peer sqlite-porter "$sqlite" "$case" STEM=1
        ;;
    esac
}

for missing in lmdb sqlite; do
    [ -x "$build/bench/bench_$missing" ] || say "skipped: $missing needs its library when $build is set up (packages.txt, [bench])"
done
for ((repeat = 0; repeat < repeats; repeat++)); do
    for name in $cases; do one_case "$name"; done
done
python3 "$here/table.py" "$out"
