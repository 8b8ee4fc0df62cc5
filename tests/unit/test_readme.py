#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_readme.py: what README.md shows is so: its C program is examples/quickstart.c and works, each line of "Try it" runs, and
every file and test that it names is there. ROOST_BIN and ROOST_QUICKSTART name the programs."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")


def section(title):
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found, f"README.md has no section {title!r}"
    return found.group(1)


def block(text, language):
    found = re.search(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    assert found, f"there is no {language} block"
    return found.group(1)


class TestReadme(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="roost-readme-")
        self.addCleanup(self.folder.cleanup)

    def run_in_folder(self, *command):
        path = f"{pathlib.Path(os.environ['ROOST_BIN']).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": self.folder.name, "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, cwd=self.folder.name, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)

    def test_the_c_program_is_quickstart(self):
        self.assertEqual(block(section("In C"), "c"), (TOP / "examples/quickstart.c").read_text(encoding="utf-8"))

    def test_quickstart_finds_what_it_stored(self):
        program = os.environ["ROOST_QUICKSTART"]
        for ids in (["1"], ["2", "1"]):
            done = self.run_in_folder(program, "root")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            lines = done.stdout.splitlines()
            self.assertEqual([line.split()[0] for line in lines], ids)
            for line in lines:
                self.assertRegex(line, r"^\d+ \d+\.\d\d The tests need ninja 1\.10 or newer\.$")
        (pathlib.Path(self.folder.name) / "file").write_text("no root")
        done = self.run_in_folder(program, "file")
        self.assertEqual(done.returncode, 1)
        self.assertIn("file", done.stderr)

    def test_every_line_of_try_it_runs(self):
        outputs = {}
        lines = [line for line in block(section("Try it"), "sh").splitlines() if line]
        self.assertGreater(len(lines), 10)
        for line in lines:
            with self.subTest(line):
                done = self.run_in_folder("bash", "-c", line)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                outputs[line] = done.stdout
        self.assertIn("The tests need ninja", outputs["roost search testing"])
        self.assertEqual(len(outputs["""roost search '+tag:build ninja -cmake "1.10 or newer"'"""].splitlines()), 1)
        self.assertEqual(outputs["roost kv get color"].strip(), "green")
        self.assertIn("good morning", outputs["roost stream read talk"])
        self.assertIn("reviewer", outputs["roost state list"])
        self.assertEqual([json.loads(line)["id"] for line in outputs["roost list --json"].splitlines()], ["1", "2", "3"])
        exported = (pathlib.Path(self.folder.name) / "memories.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual(sum("memory" in json.loads(line) for line in exported), 3)

    def test_what_it_links_is_there(self):
        for page in ("README.md", "SECURITY.md"):
            links = re.findall(r"\]\(([^)#:]+)\)", (TOP / page).read_text(encoding="utf-8"))
            self.assertTrue(links)
            for link in links:
                self.assertTrue((TOP / link).exists(), f"{page} links {link}")

    def test_the_tests_of_the_promises_exist(self):
        rows = [line for line in section("Promises").splitlines() if re.match(r"\| \d ", line)]
        self.assertEqual([row[2] for row in rows], list("12345678"))
        for row in rows:
            links = re.findall(r"\[([^]]+)\]\(([^)]+)\)", row)
            self.assertTrue(links, row)
            for label, path in links:
                text = (TOP / path).read_text(encoding="utf-8")
                for name in re.findall(r"`(\w+)`", label):
                    self.assertRegex(text, rf"\b{name}\b", f"{path} has no test {name}")

    def test_commands_of_dev_exist(self):
        usage = subprocess.run(["bash", str(TOP / "dev")], capture_output=True, text=True).stdout
        for command in set(re.findall(r"\./dev (\w+)", README)):
            self.assertRegex(usage, rf"(?m)^\./dev {command}\b")


if __name__ == "__main__":
    unittest.main()
