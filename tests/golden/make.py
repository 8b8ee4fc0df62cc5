#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make.py ROOST NAME: makes the golden root tests/golden/NAME with the command ROOST.

A golden root is kept as it was written and opened by every later build (test_golden.py) and by the independent reader
(../reader.py --golden). Make a new one, under a new name, when the format grows; never change an old one.
"""
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def main():
    roost, name = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    target = HERE / name
    target.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "root"

        def run(*arguments, data=None):
            return subprocess.run([roost, "-C", root, *arguments], input=data, check=True, capture_output=True).stdout

        run("init", "--log-size", "256K", "--chunk-size", "256K", "--arena-size", "512K")
        (root / ".gitignore").unlink()
        for number in range(1, 41):
            run("add", "note %d: the ferry to the island leaves at %d past nine" % (number, number), "--tag", "travel",
                "--tag", "day%d" % (number % 7))
        run("add", "the kettle is green", "--key", "kettle")
        run("add", "the kettle is blue since Tuesday", "--key", "kettle")
        run("add", "x" * 70000 + " a long tail that travels in an extent of its own")
        run("add", "words " * 2000 + "that compress well")
        run("forget", "3")
        run("checkpoint")
        run("kv", "set", "plain", "value")
        run("kv", "set", "gone", "soon")
        run("kv", "delete", "gone")
        run("kv", "set", "bytes", data=bytes(range(256)))
        for number in range(5):
            run("stream", "append", "log", "entry %d" % number)
        run("state", "set", "ferryman", "--status", "rowing", "--active", "7", "--last-id", "2", "--extra", "boat=small")
        run("add", "after the checkpoint: Straße, café, 日本語")
        run("forget", "5")
        listing = run("list", "--json").decode()
        content = json.loads(subprocess.run([sys.executable, HERE.parent / "reader.py", root], check=True, capture_output=True).stdout)
        with tarfile.open(target / "root.tar.xz", "w:xz", preset=9) as archive:
            archive.add(root, "root", filter=plain)
    (target / "expected.json").write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    (target / "list.jsonl").write_text(listing, encoding="utf-8")


def plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


if __name__ == "__main__":
    os.umask(0o077)
    main()
