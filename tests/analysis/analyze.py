#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""analyze.py: gcc's analyzer and clang-tidy over every source file of the library and the command.

    tests/analysis/analyze.py BUILD     a build folder that is built (its compile_commands.json and generated files are used)

Prints what they report, each report once, and exits 1 when there is any. A report is answered in the code. What stays switched off is in
.clang-tidy, in model.h beside this file and below, each with its reason.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
MODEL = "tests/analysis/model.h"
# The model puts macros over rst_fail; here it is defined.
WITHOUT_MODEL = {"src/base/error.c"}
# gcc 12 does not combine two conditions, so it takes (NULL, 0), which is what empty bytes are, for something that memcmp is called with
# though every such call asks for the size first. UndefinedBehaviorSanitizer looks for the same when the tests run.
GCC_OFF = ["-Wno-analyzer-null-argument"]
# What stays off in one file. gcc 12 loses a pointer that goes into a list whose head it does not know; LeakSanitizer and valgrind look
# for leaks there when the server's tests run.
GCC_OFF_IN = {"src/mcp/subscribe.c": ["-Wno-analyzer-malloc-leak"]}
DROPPED = re.compile(r"-(?:W.*|O\d|M[DQF]|o|c|g|fPIC|fdiagnostics.*|f?sanitize.*)")
REPORT = re.compile(r"^(?P<place>\S+?:\d+):\d+: (?:warning|error): (?P<what>.*)$", re.MULTILINE)
LIMIT_S = 300


def sources(build):
    """Path below the tree -> the arguments its compiler needs, each file once (libraries compile some twice)."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        folder = pathlib.Path(entry["directory"])
        path = (folder / entry["file"]).resolve()
        if TREE / "src" not in path.parents:
            continue
        kept, skip = [], False
        for word in shlex.split(entry["command"])[1:]:
            if skip or (folder / word).resolve() == path:
                skip = False
            elif word in ("-o", "-MF", "-MQ", "-include"):
                skip = True
            elif word.startswith("-I"):
                kept.append("-I" + str((folder / word[2:]).resolve()))
            elif not DROPPED.fullmatch(word):
                kept.append(word)
        found[str(path.relative_to(TREE))] = kept
    return found


def gcc(path, arguments):
    model = [] if path in WITHOUT_MODEL else ["-include", MODEL]
    off = GCC_OFF + GCC_OFF_IN.get(path, [])
    return ["gcc", *arguments, "-I", "src", *model, "-O2", "-g", "-fanalyzer", *off, "-fdiagnostics-path-format=none", "-c", path,
            "-o", os.devnull]


def clang_tidy(path, arguments):
    return ["clang-tidy", "--quiet", path, "--", *arguments]


def run(command):
    """(what it reported, the rest of what it said when it could not run)"""
    done = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    reports = []
    for match in REPORT.finditer(done.stdout + done.stderr):
        place = match["place"]
        if place.startswith(str(TREE) + "/"):
            place = place[len(str(TREE)) + 1:]
        if place.startswith(("src/", "include/", "tests/analysis/")):
            reports.append(f"{place}: {match['what']}")
    if done.returncode and not reports:
        reports.append(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return reports


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    files = sources(pathlib.Path(sys.argv[1]).resolve())
    if not files:
        sys.exit("analyze.py: no sources in that build folder")
    tools = [(gcc, "gcc"), (clang_tidy, "clang-tidy")]
    for _, name in tools:
        if not shutil.which(name):
            print(f"skipped: needs {name}")
            sys.exit(77)
    commands = [tool(path, arguments) for tool, _ in tools for path, arguments in sorted(files.items())]
    reports = []
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for found in pool.map(run, commands):
            reports += [report for report in found if report not in reports]
    for report in reports:
        print(report)
    print(f"{len(files)} files, {len(reports)} reports" if reports else f"ok: {len(files)} files, nothing reported")
    sys.exit(1 if reports else 0)


if __name__ == "__main__":
    main()
