#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every golden root, written by some earlier build, opens today: the same answers, a clean check, and it can be written to and rebuilt.

The command is named by ROOST_BIN. See make.py.
"""
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOST = os.environ.get("ROOST_BIN", "build/roost")


class Golden(unittest.TestCase):
    def run_roost(self, root, *arguments):
        done = subprocess.run([ROOST, "-C", root, *arguments], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, (arguments, done.stderr))
        return done.stdout.decode()

    def test_every_golden_root(self):
        names = sorted(path.name for path in HERE.iterdir() if (path / "root.tar.xz").exists())
        self.assertTrue(names)
        for name in names:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                with tarfile.open(HERE / name / "root.tar.xz") as archive:
                    archive.extractall(folder)
                root = pathlib.Path(folder) / "root"
                expected = (HERE / name / "list.jsonl").read_text(encoding="utf-8")
                self.assertEqual(self.run_roost(root, "list", "--json"), expected)
                self.assertIn("good", self.run_roost(root, "check"))
                self.assertIn("blue since", self.run_roost(root, "search", "+kettle"))
                self.assertEqual(self.run_roost(root, "kv", "get", "plain").strip(), "value")
                self.assertEqual(self.run_roost(root, "stream", "read", "log").split("\n")[4], "entry 4")
                self.assertIn("rowing", self.run_roost(root, "state", "get", "ferryman"))
                self.run_roost(root, "rebuild")
                self.assertEqual(self.run_roost(root, "list", "--json"), expected)
                new_id = self.run_roost(root, "add", "written by a later build").strip()
                self.assertIn(new_id, self.run_roost(root, "search", "+later +build"))


if __name__ == "__main__":
    unittest.main()
