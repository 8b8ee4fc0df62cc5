#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# models/run.sh: checks every model, and that each of its mutants (one rule taken away) fails. One line each; exit 1 when a
# model fails or a mutant passes, 77 without spin. A few seconds in all. `run.sh NAME...` takes only these models.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v spin >/dev/null || { echo "needs spin"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0

verify() { # MODEL DEFINES...: leaves pan's report in $work/out; 0 when no error was found, 1 when one was
    local model=$1
    shift
    local defines=() define
    for define in "$@"; do defines+=("-D$define"); done
    rm -f "$work"/pan*
    # spin's preprocessor wants the definitions, the C compiler only the kind of search.
    (cd "$work" && spin "${defines[@]+"${defines[@]}"}" -a "$OLDPWD/$model.pml") >"$work/out" 2>&1 || { cat "$work/out"; exit 2; }
    ${CC:-cc} -O1 -w -DSAFETY -DMEMLIM=2000 -DVECTORSZ=2048 -o "$work/pan" "$work/pan.c"
    (cd "$work" && ./pan -m1000000 -w22) >"$work/out" 2>&1
    grep -q '^State-vector' "$work/out" || { cat "$work/out"; exit 2; }
    # A search that was cut short proves nothing.
    if grep -q 'errors: 0' "$work/out"; then
        ! grep -q 'max search depth too small\|reached -DMEMLIM' "$work/out" || { cat "$work/out"; exit 2; }
        return 0
    fi
    return 1
}

states() { awk '/states, stored/ {print $1; exit}' "$work/out"; }
why() { sed -n 's/^pan:[0-9]*: \(.*\) (at depth \([0-9]*\))/depth \2: \1/p' "$work/out" | head -n 1 | cut -c 1-90; }

model() { # NAME [DEFINE,DEFINE...]: must hold
    local label="$1 ${2-}" defines=${2-}
    # shellcheck disable=SC2086
    if verify "$1" ${defines//,/ }; then
        printf 'holds    %-28s %s states\n' "$label" "$(states)"
    else
        printf 'BROKEN   %-28s %s\n' "$label" "$(why)"
        wrong=1
    fi
}

mutant() { # NAME DEFINE[,DEFINE...]: must fail
    local label="$1 $2"
    # shellcheck disable=SC2086
    if verify "$1" ${2//,/ }; then
        printf 'PASSES   %-28s %s states: the rule is not needed, or the model does not show why\n' "$label" "$(states)"
        wrong=1
    else
        printf 'fails    %-28s %s\n' "$label" "$(why)"
    fi
}

wanted=" ${*:-latch role region dedup} "
if [[ $wanted == *" latch "* ]]; then
    model latch
    for name in SEQLOCK NORECOPY NOVERIFY NOFENCE; do mutant latch $name; done
fi
if [[ $wanted == *" role "* ]]; then
    model role           # one client, a newcomer in a dead one's slot
    model role WIDE      # two clients, a newcomer
    model role THREAD,WIDE # two clients, two threads on one description
    for name in BYTEONLY NOLOOK RELAXED SPLITWORD REUSE STEAL NOMUTEX PROBEOWN NOREST; do mutant role $name; done
fi
if [[ $wanted == *" region "* ]]; then
    model region
    for name in NOCHECK NOMARK NONCEFIRST NOREPAIR NOLINKLOOK NOWRITERLOOK; do mutant region $name; done
fi
if [[ $wanted == *" dedup "* ]]; then
    model dedup
    for name in NODEDUP LANEDROP NOREWRITE ANSWERFIRST APPLYFIRST RETRYSYNC; do mutant dedup $name; done
fi
exit $wrong
