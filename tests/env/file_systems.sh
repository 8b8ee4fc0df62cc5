#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# env/file_systems.sh BUILD: the command on real file systems: ext4, xfs and btrfs must work, through a FUSE one (bindfs) the root
# must be refused by name and left untouched. Needs root and loop devices; exit 77 without, the last line says what is missing.
set -euo pipefail
roost=$1/roost
export LD_LIBRARY_PATH=$1
[ -x "$roost" ] || { echo "needs $roost"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }

work=$(mktemp -d)
mounted=()
clean() {
    local point
    for point in "${mounted[@]+"${mounted[@]}"}"; do umount "$point" 2>/dev/null || umount -l "$point" || true; done
    rm -rf "$work"
}
trap clean EXIT

tried=0 wrong=0 lacking=""
lack() { lacking="$lacking $1"; }
bad() { echo "FAILED: $*"; wrong=1; }

# A root with one memory and one key in directory $1: made, closed, read again.
use_root() {
    "$roost" --root "$1/.roost" init --region file --log-size 1M --chunk-size 1M --arena-size 1M &&
        "$roost" --root "$1/.roost" add "the heron sleeps standing" &&
        "$roost" --root "$1/.roost" kv set a b &&
        "$roost" --root "$1/.roost" search heron | grep -q heron &&
        [ "$("$roost" --root "$1/.roost" kv get a)" = b ] &&
        "$roost" --root "$1/.roost" check
}

for kind in ext4 xfs btrfs; do
    command -v "mkfs.$kind" >/dev/null || { lack "mkfs.$kind"; continue; }
    image=$work/$kind.img point=$work/$kind
    mkdir "$point"
    truncate -s 400M "$image" # xfs and btrfs refuse less than about 300 MiB
    "mkfs.$kind" -q "$image" >/dev/null 2>&1 || { lack "a working mkfs.$kind"; continue; }
    mount -o loop "$image" "$point" 2>/dev/null || { lack "loop mounts of $kind"; continue; }
    mounted+=("$point")
    tried=$((tried + 1))
    use_root "$point" || bad "a root on $kind"
done

if ! command -v bindfs >/dev/null; then
    lack bindfs
elif [ ! -e /dev/fuse ]; then
    lack /dev/fuse
else
    mkdir "$work/below" "$work/fuse"
    if bindfs "$work/below" "$work/fuse" 2>/dev/null; then
        mounted+=("$work/fuse")
        tried=$((tried + 1))
        if "$roost" --root "$work/fuse/.roost" init >"$work/out" 2>&1; then bad "init through FUSE is not refused"; fi
        grep -qi fuse "$work/out" || bad "the refusal does not name FUSE: $(cat "$work/out")"
        [ ! -e "$work/below/.roost/state.wal" ] || bad "a refused init left a log behind"
    else
        lack "FUSE mounts"
    fi
fi

[ "$wrong" = 0 ] || exit 1
[ -z "$lacking" ] || echo "not tried, needs:$lacking"
[ "$tried" -gt 0 ] || exit 77
