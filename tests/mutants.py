#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mutants.py [NAME...]: takes one rule at a time out of the code and sees that a test fails without it.

Works on a copy of the tree in a temporary folder. A mutant names its rule, the file, the text that is replaced (which must be there,
once) and the test that must fail. Prints a line each; exit status 1 when a mutant survives or no longer applies. About a minute a mutant.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
EXPLORE = ["tests/test_explore", "--images", "20000"]
FAIL_NTH = ["tests/test_fail_nth"]
PARITY = ["tests/test_parity"]

# name: rule, file, text, replacement, test
MUTANTS = {
    "no-epoch-record": (
        "R1", "src/engine/commit.c",
        "if (!engine->writer.epoch_fresh || engine->writer.epoch <= 1) return 0;", "return 0;", EXPLORE),
    # Neither condition alone: after a restart LSNs go on at the ceiling, so an old frame's LSN is lower as well as its epoch.
    "any-frame-follows": (
        "R2", "src/engine/recover.c",
        "return header->epoch >= writer->epoch && header->lsn_first > writer->written_lsn && header->id_next >= writer->id_next;",
        "(void)writer;\n    return header->epoch != 0;", EXPLORE),
    "damage-is-a-torn-tail": (
        "R3", "src/engine/recover.c", "    if (durable_lsn > writer->written_lsn) {", "    if (false) {", PARITY),
    "heads-not-restored": (
        "R4", "src/engine/frame.c",
        "        if (rst_draft_external(engine, draft))\n            err = rst_blocks_write(",
        "        if (false)\n            err = rst_blocks_write(", EXPLORE),
    "chunks-not-synced": (
        "R7", "src/engine/checkpoint.c", "    if (!err) err = rst_checkpoint_sync_chunks(engine);\n", "", EXPLORE),
    "no-ceilings": (
        "R8", "src/engine/recover.c",
        "    if (!writer->closed) {\n        if (writer->lsn_ceiling_written",
        "    if (false) {\n        if (writer->lsn_ceiling_written", EXPLORE),
    "shown-ahead-of-ceilings": (
        "R8", "src/engine/commit.c", "(durable || fresh || ahead)", "durable", EXPLORE),
    "no-rewrite-after-failed-sync": (
        "R9", "src/engine/recover.c", "    int err = rst_commit_rewrite(engine);", "    int err = 0;", FAIL_NTH),
    "no-consumed-list": (
        "R19", "src/engine/frame.c",
        "        rst_buffer_add(&engine->frame_body, &consumed, sizeof consumed);\n", "        continue;\n", EXPLORE),
    "shown-before-synced": (
        "R21", "src/engine/commit.c",
        "    if (!err && (durable || fresh || ahead)) err = rst_commit_sync(engine);\n", "", EXPLORE),
}


def run(arguments, folder, seconds):
    try:
        return subprocess.run(arguments, cwd=folder, capture_output=True, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return "a time-out"


def main():
    names = sys.argv[1:] or list(MUTANTS)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "tree"
        shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
        build = pathlib.Path(folder) / "build"
        subprocess.run(["meson", "setup", build, tree, "--buildtype=debugoptimized"], check=True, capture_output=True)
        for name in names:
            rule, file, text, replacement, test = MUTANTS[name]
            path = tree / file
            original = path.read_text(encoding="utf-8")
            if original.count(text) != 1:
                print(f"STALE     {rule:4} {name}: the text stands {original.count(text)} times in {file}", flush=True)
                survivors += 1
                continue
            path.write_text(original.replace(text, replacement), encoding="utf-8")
            if run(["ninja", "-C", build, test[0]], tree, 600) != 0:
                verdict, fine = "does not compile", False
            else:
                result = run([build / test[0], *test[1:]], build, 300)
                verdict, fine = f"{test[0]} ends with {result}", result != 0
            print(f"{'killed' if fine else 'SURVIVED':9} {rule:4} {name}: {verdict}", flush=True)
            survivors += not fine
            path.write_text(original, encoding="utf-8")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
