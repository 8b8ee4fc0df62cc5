#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""coverage.py: which branches the tests took, by folder, and the files of which they took less than 95 of 100.

    tests/analysis/coverage.py BUILD [--lines FILE...]   a folder that was built with -Db_coverage=true and whose tests ran
                                                         --lines: of these files, each line with a branch that was not taken

Branches of assertions (RST_CHECK) are left out: that they are never taken is what they say. A process that is killed takes its counts
with it, so what only killed processes did counts as not done.
"""
import json
import pathlib
import shutil
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["base", "format", "region", "store", "index", "model", "engine"]
ENOUGH = 95.0
LIMIT_S = 300


def measure(build):
    """Path -> (line number, how often each branch of that line was taken) for every line with branches."""
    done = subprocess.run(
        ["gcovr", "--root", str(TREE), "--object-directory", str(build), "--filter", f"src/({'|'.join(FOLDERS)})/",
         "--exclude-unreachable-branches", "--exclude-throw-branches", "--exclude-branches-by-pattern", r".*\bRST_CHECK\(.*",
         "--gcov-ignore-parse-errors", "--json", "-", str(build)],
        cwd=TREE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        sys.exit(f"coverage.py: gcovr failed: {done.stderr.strip()[-2000:]}")
    return {file["file"]: [(line["line_number"], [branch["count"] for branch in line["branches"]])
                           for line in file["lines"] if line["branches"] and not line["gcovr/noncode"]]
            for file in json.loads(done.stdout)["files"]}


def totals(lines):
    """(branches taken, branches)"""
    counts = [count for _, branches in lines for count in branches]
    return sum(count > 0 for count in counts), len(counts)


def row(name, taken, count):
    print(f"{name:28} {taken:6} of {count:5}  {100 * taken / count:5.1f} %")


def main():
    words = sys.argv[1:]
    if not words or len(words) > 1 and words[1] != "--lines":
        sys.exit(__doc__)
    if not shutil.which("gcovr"):
        print("skipped: needs gcovr")
        sys.exit(77)
    files = {name: lines for name, lines in measure(pathlib.Path(words[0]).resolve()).items() if totals(lines)[1]}
    for name in words[2:]:
        text = (TREE / name).read_text(encoding="utf-8").split("\n")
        for number, branches in files.get(name, []):
            missed = branches.count(0)
            if missed:
                print(f"{name}:{number}: {missed} of {len(branches)}: {text[number - 1].strip()}")
    if len(words) > 1:
        return
    for folder in FOLDERS:
        taken, count = totals([line for name, lines in files.items() if name.startswith(f"src/{folder}/") for line in lines])
        if count:
            row(f"src/{folder}/", taken, count)
    print(f"\nbelow {ENOUGH:.0f} %:")
    for name, lines in sorted(files.items()):
        taken, count = totals(lines)
        if 100 * taken < ENOUGH * count:
            row(name, taken, count)


if __name__ == "__main__":
    main()
