#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of `roost import --from` and `roost export --to`: other programs' memories come in whole and go back as they were.

Random cases print their seed; ROOST_SEED=N runs one of them again. Standard library only; what needs more says so and is skipped.
"""
import json
import os
import pty
import random
import select
import stat
import struct
import subprocess
import time
import unittest

from test_cli import BINARY, CONFLICT, CORRUPT, OK, PATIENCE, USAGE, Case


def seeds(count):
    given = os.environ.get("ROOST_SEED")
    return [int(given)] if given else [random.randrange(1 << 32) for _ in range(count)]


class Import(Case):
    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def ids(self):
        return {memory["key"]: memory["id"] for memory in self.lines("list", "--limit", "100000")}

    def texts(self):
        return [memory["text"] for memory in self.lines("list", "--limit", "100000")]


# ---- memory-server ---------------------------------------------------------------------------------------------------


def stringify(value):
    """As JSON.stringify writes: Python's writer escapes the same characters in the same way."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def entity(name, kind, observations, **more):
    return stringify({"type": "entity", "name": name, "entityType": kind, "observations": observations, **more})


def relation(start, end, kind, **more):
    return stringify({"type": "relation", "from": start, "to": end, "relationType": kind, **more})


PIECES = ["", "a", "Ann", "likes tea", "\u2028", "\u2029", "\0", "\x01", "\x1f", "\x7f", "\x80", "\x9f", "\ufeff", "\ufffd",
          "\U0001f426", "/", ":",
          "\\", "\"", "\b\f\n\r\t", "(", ") ", " ", "e\u0301", "\u4f60\u597d", "observation", "memory-1", "(empty)", "x" * 300, "y" * 1100]


class TestMemoryServer(Import):
    def round_trip(self, lines, *options, newline_at_end=False):
        data = "\n".join(lines) + ("\n" if newline_at_end else "")
        self.write("memory.jsonl", data)
        counts = self.json("import", "--from", "memory-server", "memory.jsonl", *options)
        back = self.ok("export", "--to", "memory-server").decode().split("\n")
        self.assertEqual(back.pop(), "")
        self.assertEqual(sorted(back), sorted(line for line in lines if line.strip()))
        return counts

    def test_what_comes_in_is_found(self):
        lines = [entity("Ann", "person", ["likes green tea", "lives in Oslo"]), entity("Bob", "person", []),
                 relation("Ann", "Bob", "knows")]
        counts = self.round_trip(lines)
        self.assertEqual((counts["lines"], counts["memories"], counts["refused"]), (3, 5, 0))
        memories = {memory["text"]: memory for memory in self.lines("list")}
        self.assertEqual(set(memories), {"Ann (person)", "likes green tea", "lives in Oslo", "Bob (person)", "Ann knows Bob"})
        self.assertEqual(memories["likes green tea"]["tags"], ["Ann", "observation"])
        self.assertEqual(memories["Ann knows Bob"]["tags"], ["Ann", "Bob", "relation"])
        self.assertEqual(memories["likes green tea"]["tool"], "import memory-server")
        self.assertNotIn("agent", memories["likes green tea"])
        found = self.json("search", "+tag:Ann oslo")["hits"]
        self.assertEqual(found[0]["id"], memories["lives in Oslo"]["id"])

    def test_importing_again_leaves_everything_alone(self):
        lines = [entity("Ann", "person", ["a", "a", ""]), entity("Ann", "person", ["twice"]), relation("Ann", "Bob", "knows"),
                 relation("Ann", "Bob", "knows")]
        self.round_trip(lines)
        before = self.ids()
        counts = self.round_trip(lines, newline_at_end=True)
        self.assertEqual((counts["memories"], counts["unchanged"], counts["removed"]), (0, 8, 0))
        self.assertEqual(self.ids(), before)

    def test_a_newer_file_replaces_what_changed(self):
        self.round_trip([entity("Ann", "person", ["one", "two", "three"]), relation("Ann", "Bob", "knows")])
        before = self.ids()
        newer = [entity("Ann", "person", ["one", "2"]), entity("Bob", "person", ["new"]), relation("Ann", "Bob", "knows")]
        counts = self.round_trip(newer)
        self.assertEqual((counts["memories"], counts["replaced"], counts["unchanged"], counts["removed"]), (3, 1, 3, 1))
        after = self.ids()
        self.assertEqual({key for key in before if after.get(key) == before[key]},
                         {"memory-server/e1/Ann", "memory-server/o1.0/Ann", "memory-server/r1/3.5/AnnknowsBob"})
        self.assertEqual(self.round_trip(newer)["memories"], 0)

    def test_what_is_forgotten_does_not_go_back(self):
        self.round_trip([entity("Ann", "person", ["one", "two", "three"]), entity("Bob", "person", ["x"])])
        ids = self.ids()
        self.ok("forget", ids["memory-server/o1.1/Ann"], ids["memory-server/e1/Bob"])
        lines = self.ok("export", "--to", "memory-server").decode().split("\n")[:-1]
        self.assertEqual(lines[0], entity("Ann", "person", ["one", "three"]))
        # Its observation is still remembered, and not lost.
        self.assertEqual(lines[1:], [entity("memory-" + ids["memory-server/o1.0/Bob"], "memory", ["x"])])

    def test_an_observation_that_was_replaced_under_its_key(self):
        self.round_trip([entity("Ann", "person", ["one", "two"])])
        self.ok("add", "--key", "memory-server/o1.0/Ann", "better")
        self.assertEqual(self.ok("export", "--to", "memory-server").decode(), entity("Ann", "person", ["better", "two"]) + "\n")

    def test_own_memories_go_along_and_come_back(self):
        self.ok("add", "mine \u2028 \x01", "--tag", "x")
        self.ok("add", "--key", "memory-server/e1/", "not an entity")
        lines = [entity("memory-1", "memory", ["mine \u2028 \x01"]), entity("memory-2", "memory", ["not an entity"])]
        exported = self.ok("export", "--to", "memory-server", "out")
        self.assertIn(b"exported 2 memories", exported)
        self.assertEqual(self.read("out").decode(), "\n".join(lines) + "\n")
        self.assertEqual(self.json("import", "--from", "memory-server", "out")["unchanged"], 2)
        self.assertEqual(len(self.texts()), 2)
        # In another root they are entities, and that root's own first memory has another name.
        self.ok("init", "other", "--region", "file")
        self.ok("-C", "other", "add", "own")
        self.ok("-C", "other", "import", "--from", "memory-server", "out")
        back = self.ok("-C", "other", "export", "--to", "memory-server").decode().split("\n")[:-1]
        self.assertEqual(sorted(back), sorted(lines + [entity("roost-memory-1", "memory", ["own"])]))

    def test_further_members_stay_in_their_place(self):
        self.round_trip([
            '{"7":1,"type":"entity","id":12345678901234567890,"name":"Ann","entityType":"p","x":{"a":[1.50,null,"\\u0000"]},'
            '"observations":["o"],"created":"now"}',
            '{"type":"relation","weight":1e400,"to":"b","from":"a","relationType":"r"}',
            entity("Bob", "p", ["o"], tail=""),
        ])
        self.assertIn("Ann (p)", self.texts())

    def test_other_shapes_are_kept_whole(self):
        deep = json.loads("[" * 62 + "]" * 62)
        lines = ['{"type":"entity","name":"Ann","observations":[{"text":"an object"}]}', '{"type":"relation","from":1}',
                 entity("many", "t", ["o"], more="m" * 20000), entity("deep", "t", ["o"], more=deep),
                 '{"type":"entity"}', '{"type":"entity"}']
        self.round_trip(lines)
        self.assertIn(lines[0], self.texts())
        self.assertEqual(self.round_trip(lines)["unchanged"], 6)

    def test_bad_lines(self):
        lines = [entity("Ann", "p", ["a"]), '{"type":"entity","name":"\\ud800","entityType":"p","observations":[]}', "[]",
                 "{", '{"type":"x"}',
                 '{"type":"entity","name":"\xff"', entity("Bob", "p", ["b"])]
        data = b"\n".join(line.encode("latin-1") for line in lines)
        stopped = self.run_roost("import", "--from", "memory-server", stdin=data)
        self.assertEqual(stopped.returncode, USAGE)
        self.assertIn(b"line 2: not valid JSON at byte 32: half a surrogate pair", stopped.stderr)
        self.assertEqual(stopped.stdout, b"imported 2 memories\n")
        result = self.run_roost("import", "--from", "memory-server", "--on-error", "continue", "--json", stdin=data)
        self.assertEqual(result.returncode, USAGE)
        for number in range(2, 7):
            self.assertIn(b"line %d: " % number, result.stderr)
        counts = json.loads(result.stdout)
        self.assertEqual((counts["refused"], counts["memories"], counts["unchanged"]), (5, 2, 2))

    def test_dry_run_writes_nothing(self):
        self.write("m", entity("Ann", "p", ["a", "b"]))
        counts = self.json("import", "--from", "memory-server", "--dry-run", "m")
        self.assertEqual((counts["memories"], counts["dry_run"]), (3, True))
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.text("import", "--from", "memory-server", "--dry-run", "m"), "would import 3 memories\n")
        self.ok("import", "--from", "memory-server", "m")
        self.write("m", entity("Ann", "p", ["z"]))
        self.assertEqual(self.text("import", "--from", "memory-server", "--dry-run", "m"),
                         "would import 1 memory (1 in place of older ones), 1 removed, 1 there already\n")
        self.assertEqual(len(self.texts()), 3)

    def test_provenance(self):
        self.write("m", entity("Ann", "p", ["a"]))
        self.ok("import", "--from", "memory-server", "m", "--agent", "owl", "--session", "s1")
        self.assertEqual({(m["agent"], m["session"]) for m in self.lines("list")}, {("owl", "s1")})
        self.assertEqual(self.json("import", "--from", "memory-server", "m")["unchanged"], 2)
        self.assertEqual(self.json("import", "--from", "memory-server", "m", "--agent", "hen")["replaced"], 2)

    def test_keys_and_streams_are_said_to_stay_behind(self):
        self.ok("kv", "set", "k", "v")
        result = self.run_roost("export", "--to", "memory-server")
        self.assertEqual((result.returncode, result.stdout), (OK, b""))
        self.assertIn(b"no place for keys", result.stderr)

    def test_large_entities(self):
        """More than one batch holds, and more than one commit of this small root."""
        lines = [entity("many", "t", ["observation %d" % i for i in range(70000)]), entity("wide", "t", ["w" * 400000, "v" * 1500000]),
                 entity("n" * 300000, "u" * 300000, ["of a long name"])]
        self.round_trip(lines)
        self.assertEqual(self.round_trip(lines)["memories"], 0)

    def test_random_files_go_back_byte_for_byte(self):
        for seed in seeds(6):
            with self.subTest(seed=seed):
                print("memory-server: seed", seed)
                rng = random.Random(seed)

                def word():
                    return "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 1, 2, 5])))

                def more():
                    value = rng.choice([1, -0.5, None, True, "", "\u2028", [1, {"a": []}], {"b": {"c": "\x00"}}, {}])
                    return {word() or "w": value for _ in range(rng.choice([0, 0, 0, 1, 3]))}

                lines = []
                for _ in range(rng.randrange(60)):
                    if rng.random() < 0.6:
                        members = {"type": "entity", "name": word(), "entityType": word(),
                                   "observations": [word() for _ in range(rng.choice([0, 1, 3, 20]))]}
                    else:
                        members = {"type": "relation", "from": word(), "to": word(), "relationType": word()}
                    line = [*members.items(), *((name, value) for name, value in more().items() if name not in members)]
                    if rng.random() < 0.3:
                        rng.shuffle(line)
                    lines.append(stringify(dict(line)))
                root = "seed%d" % seed
                self.ok("init", root, "--region", "file", "--arena-size", "1M")
                data = "\n".join(lines).encode()
                for turn in range(2):
                    counts = self.json("-C", root, "import", "--from", "memory-server", stdin=data)
                    self.assertEqual(counts["refused"], 0)
                    self.assertEqual(counts["memories"] > 0, turn == 0 and bool(lines))
                    back = self.ok("-C", root, "export", "--to", "memory-server").split(b"\n")[:-1]
                    self.assertEqual(sorted(back), sorted(line.encode() for line in lines))


# ---- markdown --------------------------------------------------------------------------------------------------------

FACT = """---
name: prefers-pnpm
description: The user prefers pnpm over npm
metadata:
  type: feedback
---

Use pnpm, never npm. See [[package-managers]].
"""


class TestMarkdown(Import):
    def tree(self, folder):
        found = {}
        for base, _, names in os.walk(self.path(folder)):
            for name in names:
                path = os.path.join(base, name)
                found[os.path.relpath(path, self.path(folder))] = self.read(path)
        return found

    def memories(self):
        return {memory["key"]: memory for memory in self.lines("list", "--limit", "100000")}

    def there_and_back(self, files):
        """A folder in, out into a new one, and in again."""
        for name, data in files.items():
            self.write("in/" + name, data)
        counts = self.json("import", "--from", "markdown", "in")
        self.assertEqual(counts["refused"], 0)
        before = self.ids()
        result = self.json("export", "--to", "markdown", "out")
        self.assertEqual(result["written"], len(files))
        self.assertEqual(self.tree("out"), {name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()})
        self.assertEqual(self.json("import", "--from", "markdown", "out")["unchanged"], len(files))
        self.assertEqual(self.ids(), before)
        return counts

    def test_a_memory_folder(self):
        self.there_and_back({"MEMORY.md": "- [pnpm](prefers-pnpm.md)\n", "prefers-pnpm.md": FACT})
        memory = self.memories()["markdown/prefers-pnpm.md"]
        self.assertEqual(memory["text"], "Use pnpm, never npm. See [[package-managers]].\n")
        self.assertEqual(memory["tags"], ["feedback", "prefers-pnpm"])
        self.assertEqual(memory["tool"], "import markdown")
        self.assertEqual(memory["metadata"]["markdown"]["path"], "prefers-pnpm.md")

    def test_front_matter_is_understood(self):
        for number, (front, tags, when) in enumerate([
            ("tags: [a, \"b, c\", 'it''s', #d]\ndate: 2024-02-29", ["a", "b, c", "it's", "d"], "1709164800"),
            ("tags:\n  - a\n  - b # no\n- c\ncreated: 2024-05-01T10:00:00.5+02:00", ["a", "b", "c"], "1714550400.5"),
            ("tags: a, b\ntype: note\ncreated_at: '1999-12-31 23:59:59Z'", ["a", "b", "note"], "946684799"),
            ("Tags: [a,\n  b,\n]\ntype: \"x\\ty\"", ["a", "b", "x\ty"], None),
            ("tags: [a, b\ntitle: T", ["a", "b", "T"], None),
            ("tags: []\ndate: soon\nnested:\n  tags: [no]\n  type: no", [], None),
            (": \n-\n- \ntags\ntags:\n-\n\x01: [\n'\n\"\ntags: \"", ["\""], None),
            ("tags: [" + ", ".join("t%d" % i for i in range(400)) + "]", ["t%d" % i for i in range(248)], None),
        ]):
            with self.subTest(front=front):
                name = "note %d.md" % number
                self.write("in/" + name, "---\n" + front + "\n---\nbody")
                os.utime(self.path("in/" + name), (7, 7))
                self.ok("import", "--from", "markdown", "in")
                memory = self.memories()["markdown/" + name]
                title = [] if "T" in tags else ["note %d" % number]
                self.assertEqual(memory["tags"], tags + title)
                self.assertEqual(memory["text"], "body")
                self.assertEqual(memory["time_ns"], int(float(when or "7") * 1000000000))

    def test_every_byte_comes_back(self):
        self.there_and_back({
            "a.md": "", "b.md": "---\n---\n", "c.md": "---\na: b\n---\n\n", "d.md": "---\nnever closed",
            "e.md": "\n\n", "f.md": "\ufeff---\nx: y\n---\nb",
            "g.md": "---\r\ntitle: T\r\n---\r\n\r\nbody\r\n", "h.MD": "---\na\n...\nb",
            "i.markdown": "no newline", "j.md": "--- \nt: u\n---\t\nx",
            "deep/er/still/\u00e4 \u4f60.md": "\x00\x01\x7f\u2028", "k.md": "---\n" + "x: " + "y" * 20000 + "\n---\nbody",
            "l.md": "z" * 200000,
            "n" * 200 + "/" + "m" * 240 + "/" + "n" * 240 + "/" + "o" * 240 + "/" + "p" * 240 + ".md": "of a long path",
        })

    def test_a_file_whose_name_is_not_utf8(self):
        path = os.path.join(self.directory.encode(), b"in", b"\xff.md")
        os.mkdir(self.path("in"))
        with open(path, "wb") as file:
            file.write(b"text")
        self.ok("import", "--from", "markdown", "in")
        self.ok("export", "--to", "markdown", "out")
        self.assertEqual(os.listdir(os.path.join(self.directory.encode(), b"out")), [b"\xff.md"])

    def test_a_changed_file_replaces(self):
        self.there_and_back({"a.md": "one", "b.md": "two"})
        before = self.ids()
        self.write("in/a.md", "new")
        counts = self.json("import", "--from", "markdown", "in")
        self.assertEqual((counts["memories"], counts["replaced"], counts["unchanged"]), (1, 1, 1))
        after = self.ids()
        self.assertEqual(after["markdown/b.md"], before["markdown/b.md"])
        self.assertNotEqual(after["markdown/a.md"], before["markdown/a.md"])
        self.fails_twice_without_force()

    def fails_twice_without_force(self):
        result = self.run_roost("export", "--to", "markdown", "out")
        self.assertEqual(result.returncode, CONFLICT)
        self.assertIn(b"a.md: the file is there and differs", result.stderr)
        self.assertEqual(self.read("out/a.md"), b"one")
        os.chmod(self.path("out/a.md"), 0o640)
        result = self.json("export", "--to", "markdown", "out", "--force")
        self.assertEqual((result["written"], result["unchanged"]), (1, 1))
        self.assertEqual(self.read("out/a.md"), b"new")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("out/a.md")).st_mode), 0o640)

    def test_own_memories(self):
        self.ok("add", "--tag", "a\"b", "--tag", "c", "--key", "k", "--agent", "owl", "--session", "s",
                "--time-ns", "1700000000000000001", "mine\n")
        self.ok("add", "\nbegins with an empty line")
        self.write("in/memories/2.md", "taken")
        self.ok("import", "--from", "markdown", "in")
        self.ok("export", "--to", "markdown", "out")
        tree = self.tree("out")
        self.assertEqual(sorted(tree), ["memories/1.md", "memories/2-roost-1.md", "memories/2.md"])
        self.assertEqual(tree["memories/1.md"].decode(), "---\nid: 1\ntime: 2023-11-14T22:13:20.000000001Z\nkey: \"k\"\n"
                         "tags: [\"a\\\"b\",\"c\"]\nagent: \"owl\"\nsession: \"s\"\n---\n\nmine\n")
        os.remove(self.path("out/memories/2-roost-1.md"))
        self.assertEqual(self.json("import", "--from", "markdown", "out")["unchanged"], 2)
        self.assertEqual(len(self.texts()), 3)
        # In another root it is a note, with its tags, time and provenance, and goes back as it came.
        self.ok("init", "other", "--region", "file")
        self.ok("-C", "other", "import", "--from", "markdown", "out")
        memory = [m for m in self.lines("-C", "other", "list") if m["key"] == "markdown/memories/1.md"][0]
        self.assertEqual((memory["text"], memory["tags"], memory["agent"], memory["session"], memory["time_ns"]),
                         ("mine\n", ["a\"b", "c"], "owl", "s", 1700000000000000001))
        self.ok("-C", "other", "export", "--to", "markdown", "third")
        self.assertEqual(self.tree("third"), self.tree("out"))

    def test_what_an_agent_replaced_under_its_key(self):
        self.there_and_back({"a.md": FACT})
        self.ok("add", "--key", "markdown/a.md", "better")
        self.ok("export", "--to", "markdown", "out", "--force")
        self.assertEqual(self.tree("out"), {"a.md": b"better"})

    def test_hostile_paths(self):
        paths = ["../x.md", "/tmp/x.md", "a/../../x.md", "a//x.md", "./x.md", ".git/x.md", "a/.x.md", "x.sh", "x.md/", "", "x\0y.md",
                 "a/" * 2500 + "x.md",
                 "y" * 300 + ".md", 7, None, "link/x.md", "link.md", "folder.md"]
        for path in paths:
            self.ok("add", "text", "--metadata", json.dumps({"markdown": {"path": path}}))
        self.ok("add", "text", "--key", "markdown/../k.md")
        os.makedirs(self.path("out/folder.md"))
        os.mkdir(self.path("elsewhere"))
        self.write("target", "untouched")
        os.symlink(self.path("elsewhere"), self.path("out/link"))
        os.symlink(self.path("target"), self.path("out/link.md"))
        before = set(os.listdir(self.directory))
        result = self.run_roost("export", "--to", "markdown", "out", "--force")
        self.assertNotEqual(result.returncode, OK)
        message = result.stderr.decode()
        for name in ("link/x.md", "link.md", "folder.md"):
            self.assertIn(name, message)
        self.assertEqual(set(os.listdir(self.directory)), before)
        self.assertEqual(os.listdir(self.path("elsewhere")), [])
        self.assertEqual(self.read("target"), b"untouched")
        # os.walk names no link to a folder; everything else is a memory's own file.
        own = {"memories/%d.md" % (i + 1) for i in range(len(paths) + 1) if i not in (15, 16, 17)}
        self.assertEqual(set(self.tree("out")), {"link.md"} | own)

    def test_what_is_passed_over(self):
        self.write("in/a.md", "a")
        self.write("in/bad.md", b"\xff")
        self.write("in/.hidden/b.md", "b")
        self.write("in/c.txt", "c")
        self.write("secret.md", "s")
        os.symlink("../secret.md", self.path("in/s.md"))
        os.symlink("..", self.path("in/up"))
        os.mkfifo(self.path("in/pipe.md"))
        self.write("in/large.md", "x " * 600000)
        result = self.run_roost("import", "--from", "markdown", "in", "--json")
        self.assertEqual(result.returncode, USAGE)
        self.assertIn(b"bad.md: not UTF-8: byte 1", result.stderr)
        self.assertIn(b"2 symbolic links passed over", result.stderr)
        self.assertIn(b"1 file of more than 1 MiB", result.stderr)
        counts = json.loads(result.stdout)
        self.assertEqual((counts["memories"], counts["refused"]), (2, 1))
        result = self.run_roost("import", "--from", "markdown", "in", "--on-error", "stop")
        self.assertIn(b"import stopped", result.stderr)

    def test_dry_runs_write_nothing(self):
        self.write("in/a.md", "a")
        self.assertEqual(self.text("import", "--from", "markdown", "--dry-run", "in"), "would import 1 memory\n")
        self.assertEqual(self.texts(), [])
        self.ok("import", "--from", "markdown", "in")
        self.assertEqual(self.text("export", "--to", "markdown", "--dry-run", "out"),
                         "would export 1 memory: 1 file written, 0 there already\n")
        self.assertFalse(os.path.exists(self.path("out")))
        os.mkdir(self.path("out"))
        self.ok("export", "--to", "markdown", "--dry-run", "out")
        self.assertEqual(os.listdir(self.path("out")), [])

    def test_missing_folder(self):
        self.fails(USAGE, "import", "--from", "markdown", "nowhere", says="nowhere")
        self.write("file", "x")
        self.fails(USAGE, "import", "--from", "markdown", "file", says="file")
        self.fails(USAGE, "export", "--to", "markdown", "no/where", says="no/where")

    def test_random_folders_go_back_byte_for_byte(self):
        pieces = ["---\n", "---", "\n", "\r\n", "tags:", " [", "]", "a", ", ", "- ", "\"", "'", "\\", "title: ", "date: ", "2024-01-01",
                  "#", ": ", "\t",
                  "metadata:\n  type: x\n", "\u00e9", "...\n", "[[link]]", "id: 1\n", "\ufeff", "\0"]
        for seed in seeds(4):
            with self.subTest(seed=seed):
                print("markdown: seed", seed)
                rng = random.Random(seed)
                root, folder, out = ("%s%d" % (name, seed) for name in ("root", "in", "out"))
                self.ok("init", root, "--region", "file", "--arena-size", "1M")
                for number in range(40):
                    name = "/".join(rng.choice("ab\u00e4 '") * rng.randrange(1, 4) for _ in range(rng.randrange(3))) + "/%d.md" % number
                    text = "---\n" * rng.randrange(2) + "".join(rng.choice(pieces) for _ in range(rng.randrange(30)))
                    self.write(folder + "/" + name.lstrip("/"), text)
                for turn in range(2):
                    counts = self.json("-C", root, "import", "--from", "markdown", folder)
                    self.assertEqual((counts["memories"], counts["unchanged"]), ((40, 0), (0, 40))[turn])
                self.ok("-C", root, "export", "--to", "markdown", out)
                self.assertEqual(self.tree(out), self.tree(folder))


# ---- memmap_fs -------------------------------------------------------------------------------------------------------


def sized(data):
    return struct.pack("<Q", len(data)) + data


def append_memory(number, chunk, offset, length, tags=()):
    return sized(struct.pack("<IQIQQQ", 0, number, chunk, offset, length, len(tags)) + b"".join(sized(tag.encode()) for tag in tags))


def set_kv(key, value):
    return sized(struct.pack("<I", 1) + sized(key.encode()) + sized(value))


def delete_kv(key):
    return sized(struct.pack("<I", 2) + sized(key.encode()))


def append_stream(key, chunk, offset, length):
    return sized(struct.pack("<I", 3) + sized(key.encode()) + struct.pack("<IQQ", chunk, offset, length))


class MemMap:
    """A root as memmap_fs 0.1.1 writes it, without its search index."""

    def __init__(self):
        self.frames, self.chunks, self.next_id = [], [b""], 1

    def store(self, data):
        place = (len(self.chunks) - 1, len(self.chunks[-1]), len(data))
        self.chunks[-1] += data
        return place

    def memory(self, text, *tags):
        self.frames.append(append_memory(self.next_id, *self.store(text.encode()), tags))
        self.next_id += 1

    def stream(self, key, data):
        self.frames.append(append_stream(key, *self.store(data)))

    def set(self, key, value):
        self.frames.append(set_kv(key, value))

    def delete(self, key):
        self.frames.append(delete_kv(key))

    @property
    def log(self):
        return b"".join(self.frames)


class TestMemMap(Import):
    def save(self, root, name="mm", log=None):
        self.write(name + "/state.wal", root.log if log is None else log)
        for number, chunk in enumerate(root.chunks):
            self.write("%s/blocks/chunk_%04d.bin" % (name, number), chunk)
        return name

    def sample(self):
        root = MemMap()
        root.memory("first", "a", "b")
        root.set("k", b"old")
        root.stream("s", b"one")
        root.chunks.append(b"")
        root.memory("second \u00e4\0", "a")
        root.stream("s", b"\xff\0")
        root.stream("t", b"one")
        root.set("gone", b"x")
        root.set("k", bytes(range(256)))
        root.delete("gone")
        root.stream("s", b"one")
        return root

    def check_sample(self):
        memories = self.lines("list")
        self.assertEqual([(m["text"], m["tags"], m["metadata"]) for m in memories],
                         [("first", ["a", "b"], {"memmap_fs": {"id": "1"}}), ("second \u00e4\0", ["a"], {"memmap_fs": {"id": "2"}})])
        self.assertEqual({m["tool"] for m in memories}, {"import memmap_fs"})
        self.assertEqual(self.text("kv", "list").split("\n")[0].split("\t")[0], "k")
        self.assertEqual(self.ok("kv", "get", "k"), bytes(range(256)))
        self.assertEqual(self.ok("stream", "read", "s", "--raw"), b"one\xff\0one")
        self.assertEqual(self.ok("stream", "read", "t", "--raw"), b"one")

    def test_everything_comes_and_only_once(self):
        self.save(self.sample())
        os.utime(self.path("mm/state.wal"), (1700000000, 1700000000))
        counts = self.json("import", "--from", "memmap_fs", "--dry-run", "mm")
        self.assertEqual((counts["memories"], counts["keys"], counts["stream_entries"]), (2, 1, 4))
        counts = self.json("import", "--from", "memmap_fs", "mm")
        self.assertEqual((counts["commands"], counts["memories"], counts["keys"], counts["stream_entries"], counts["refused"]),
                         (10, 2, 1, 4, 0))
        self.check_sample()
        self.assertEqual(self.lines("list")[0]["time_ns"], 1700000000 * 1000000000)
        before = self.ids()
        counts = self.json("import", "--from", "memmap_fs", "mm")
        self.assertEqual((counts["memories"], counts["keys"], counts["stream_entries"], counts["unchanged"]), (0, 0, 0, 7))
        self.assertEqual(self.ids(), before)
        self.check_sample()

    def test_a_root_that_grew(self):
        root = self.sample()
        self.save(root)
        self.ok("import", "--from", "memmap_fs", "mm")
        self.ok("stream", "append", "s", "ours")
        root.memory("third")
        root.stream("s", b"one")
        root.set("k", b"newer")
        self.save(root)
        counts = self.json("import", "--from", "memmap_fs", "mm")
        self.assertEqual((counts["memories"], counts["keys"], counts["stream_entries"]), (1, 1, 1))
        self.assertEqual(self.ok("stream", "read", "s", "--raw"), b"one\xff\0oneoursone")
        self.assertEqual(self.json("import", "--from", "memmap_fs", "mm")["stream_entries"], 0)

    def test_two_roots_do_not_replace_each_other(self):
        for name in ("one", "two"):
            root = MemMap()
            root.memory("of " + name)
            self.save(root, name)
            self.ok("import", "--from", "memmap_fs", name)
        self.assertEqual(self.texts(), ["of one", "of two"])

    def test_what_is_odd_but_possible(self):
        root = MemMap()
        root.memory("")
        root.memory("tags", "", "t" * 256, "nul\0", "good", *("n%d" % i for i in range(300)))
        root.memory("too many", *("long" * 100 + str(i) for i in range(100)))
        root.stream("s", b"")
        root.stream("s", b"x" * 300000)
        root.set("", b"v")
        root.set("k" * 1025, b"v")
        root.set("empty", b"")
        self.save(root)
        result = self.run_roost("import", "--from", "memmap_fs", "mm", "--json")
        counts = json.loads(result.stdout)
        self.assertEqual((counts["memories"], counts["keys"], counts["stream_entries"], counts["refused"]), (3, 1, 1, 2))
        message = result.stderr.decode()
        self.assertIn("1025 bytes", message)
        self.assertIn("memory 3: tags that are too long", message)
        memories = self.lines("list")
        self.assertEqual((memories[0]["text"], memories[0]["metadata"]["memmap_fs"]["empty"]), ("(empty)", True))
        self.assertEqual(len(memories[1]["tags"]), 256)
        self.assertEqual(len(memories[1]["metadata"]["memmap_fs"]["tags"]), 304)

    def test_cut_anywhere(self):
        """A crash leaves the beginning of the log: every whole command is taken, the rest is named."""
        root = self.sample()
        ends = [0]
        for frame in root.frames:
            ends.append(ends[-1] + len(frame))
        rng = random.Random(seeds(1)[0])
        for size in sorted({rng.randrange(len(root.log)) for _ in range(12)} | {ends[3], ends[3] + 1, ends[4] - 1}):
            with self.subTest(size=size):
                self.save(root, log=root.log[:size])
                whole = sum(end <= size for end in ends) - 1
                result = self.run_roost("import", "--from", "memmap_fs", "mm", "--dry-run", "--json")
                self.assertEqual(result.returncode, OK, result.stderr)
                self.assertEqual(json.loads(result.stdout)["commands"], whole)
                self.assertEqual(b"half a command" in result.stderr, size not in ends)

    def test_what_memmap_fs_refuses(self):
        """After a crash it appends behind the torn command, and cannot read its log any more."""
        root = self.sample()
        torn = set_kv("torn", b"t" * 200)
        log = root.log
        for size in (1, 7, 8, 9, 12, 30, 100, 199):
            for place in (0, 3, len(root.frames)):
                with self.subTest(size=size, place=place):
                    self.save(root, log=b"".join(root.frames[:place]) + torn[:size] + b"".join(root.frames[place:]))
                    result = self.run_roost("import", "--from", "memmap_fs", "mm", "--dry-run", "--json")
                    counts = json.loads(result.stdout)
                    self.assertEqual(counts["commands"], len(root.frames), result.stderr)
                    self.assertEqual(result.returncode, OK if place == len(root.frames) else CORRUPT)
                    self.assertIn(b"cut", result.stderr)
        self.save(root, log=torn[:30] + log)
        result = self.run_roost("import", "--from", "memmap_fs", "mm")
        self.assertEqual(result.returncode, CORRUPT)
        self.assertIn(b"30 bytes from byte 0 on are no whole command", result.stderr)
        self.check_sample()

    def test_blocks_that_are_not_there(self):
        root = self.sample()
        self.save(root)
        os.remove(self.path("mm/blocks/chunk_0001.bin"))
        self.write("mm/blocks/chunk_0000.bin", root.chunks[0][:-1])
        result = self.run_roost("import", "--from", "memmap_fs", "mm", "--json")
        self.assertEqual(result.returncode, CORRUPT)
        counts = json.loads(result.stdout)
        self.assertEqual((counts["memories"], counts["stream_entries"], counts["refused"]), (1, 0, 5))
        self.assertIn(b"chunk_0001.bin cannot be read: the chunk file is missing", result.stderr)
        self.assertIn(b"the chunk file ends before them", result.stderr)
        # Found again, all is there, and what was is not doubled.
        self.save(root)
        self.ok("import", "--from", "memmap_fs", "mm")
        self.check_sample()

    def test_hostile_logs(self):
        huge = (1 << 64) - 1
        logs = [b"\0" * 100000, b"\xff" * 100000, struct.pack("<Q", huge) * 1000, struct.pack("<Q", 1 << 40) + b"x" * 100,
                sized(struct.pack("<IQIQQQ", 0, 1, 0, 0, 5, huge)), sized(struct.pack("<I", 1) + struct.pack("<Q", huge) + b"x"),
                append_memory(1, 0xffffffff, huge, huge, ["t"]), append_memory(1, 0, 0, 1 << 62), append_stream("s", 0, huge, 1),
                append_stream("s", 0, 1, huge), sized(struct.pack("<I", 4) + b"x" * 20),
                sized(struct.pack("<I", 2) + sized(b"\xff\xfe\xfd")),
                sized(b""), sized(b"x"), b"\x0c" + b"\0" * 5000, b"", append_memory(huge, 0, 0, 3)]
        for number, log in enumerate(logs):
            with self.subTest(number):
                name = "mm%d" % number
                self.write(name + "/state.wal", log)
                self.write(name + "/blocks/chunk_0000.bin", b"abc")
                result = self.run_roost("import", "--from", "memmap_fs", name)
                self.assertIn(result.returncode, (OK, CORRUPT), result.stderr)
                for line in result.stderr.splitlines():
                    self.assertTrue(line.startswith(b"roost: "), line)
        self.assertEqual(self.texts(), ["abc"])

    def test_random_logs(self):
        """What a simple replay keeps is what comes in, however the log was torn in between."""
        for seed in seeds(5):
            with self.subTest(seed=seed):
                print("memmap_fs: seed", seed)
                rng = random.Random(seed)
                root, keys, streams, texts, tears = MemMap(), {}, {}, [], 0
                # A command that was torn so late that all its lengths are there swallows what follows; that is seen where it ends, unless
                # another torn one lies there.
                late = rng.random() < 0.5
                for _ in range(rng.randrange(1, 200)):
                    kind, name = rng.randrange(5), "n%d" % rng.randrange(8)
                    data = rng.randbytes(rng.choice([1, 5, 50, 3000]))
                    if kind == 0:
                        texts.append("text %d" % rng.randrange(1 << 30))
                        root.memory(texts[-1], *("tag%d" % rng.randrange(5) for _ in range(rng.randrange(3))))
                    elif kind == 1:
                        root.set(name, data)
                        keys[name] = data
                    elif kind == 2:
                        root.delete(name)
                        keys.pop(name, None)
                    elif kind == 3:
                        root.stream(name, data)
                        streams[name] = streams.get(name, b"") + data
                    elif rng.random() < 0.3 and not (late and tears):
                        frame = set_kv("torn", b"\xfe" * rng.choice([50, 5000]))
                        claimed = len(root.log) + len(frame)
                        root.frames.append(frame[:rng.randrange(1, 60 if late else 32)])
                        tears += 1
                    if rng.random() < 0.05:
                        root.chunks.append(b"")
                if late and tears and claimed in {sum(map(len, root.frames[:i + 1])) for i in range(len(root.frames))}:
                    continue # it ends where another begins: nothing shows it
                folder = self.save(root, "mm%d" % seed)
                self.ok("init", "root%d" % seed, "--region", "file", "--arena-size", "1M")
                for _ in range(2):
                    result = self.run_roost("-C", "root%d" % seed, "import", "--from", "memmap_fs", folder)
                    self.assertIn(result.returncode, (OK, CORRUPT) if tears else (OK,), result.stderr)
                here = ("-C", "root%d" % seed)
                self.assertEqual([m["text"] for m in self.lines(*here, "list", "--limit", "1000")], texts)
                self.assertEqual({item["key"] for item in self.lines(*here, "kv", "list")}, set(keys))
                for name, data in keys.items():
                    self.assertEqual(self.ok(*here, "kv", "get", name), data)
                for name, data in streams.items():
                    self.assertEqual(self.ok(*here, "stream", "read", name, "--raw", "--limit", "100000"), data)

    def test_what_is_none(self):
        self.fails(USAGE, "import", "--from", "memmap_fs", "nowhere", says="nowhere")
        os.mkdir(self.path("empty"))
        self.fails(USAGE, "import", "--from", "memmap_fs", "empty", says="no root of memmap_fs")
        os.makedirs(self.path("odd/state.wal"))
        self.fails(USAGE, "import", "--from", "memmap_fs", "odd", says="no root of memmap_fs")
        self.fails(USAGE, "import", "--from", "memmap_fs", ".roost", says="a root of Roost")


class TestForms(Import):
    def test_progress_on_a_terminal(self):
        """After a second one line that is written over, and wiped out by what else there is to say; nothing of it elsewhere."""
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        process = subprocess.Popen([BINARY, "import", "--from", "memory-server", "--on-error", "continue"], cwd=self.directory,
                                   env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=follower)
        os.close(follower)
        self.addCleanup(process.wait)
        seen, number, deadline = b"", 0, time.monotonic() + PATIENCE
        while b" lines, " not in seen and time.monotonic() < deadline:
            process.stdin.write((entity("e%d" % number, "t", []) + "\n").encode() * 20)
            process.stdin.flush()
            number += 1
            if select.select([leader], [], [], 0.02)[0]:
                seen += os.read(leader, 65536)
        process.stdin.write(b"bad\n")
        process.stdin.close()
        while b"see above" not in seen and select.select([leader], [], [], PATIENCE)[0]:
            seen += os.read(leader, 65536)
        self.assertIn(b"\r\x1b[Kimport: ", seen)
        self.assertIn(b"\r\x1b[Kroost: line ", seen)

    def test_usage(self):
        self.fails(USAGE, "import", "--from", "memory-serve", "x", says="did you mean memory-server?")
        self.fails(USAGE, "import", "--from", "sqlite", "x", says="takes memory-server, markdown or memmap_fs")
        self.fails(USAGE, "export", "--to", "memmap_fs", "x", says="takes memory-server or markdown")
        self.fails(USAGE, "import", "--dry-run", "x", says="--dry-run goes with --from")
        self.fails(USAGE, "import", "--agent", "a", "x", says="--agent goes with --from")
        self.fails(USAGE, "import", "--from", "memory-server", "--from-line", "2", "x", says="--from-line")
        self.fails(USAGE, "import", "--from", "memory-server", "--agent", "a" * 256, "x", says="1 to 255 bytes")
        self.fails(USAGE, "import", "--from", "memory-server", "no-such-file", says="no-such-file")
        self.fails(USAGE, "import", "--from", "markdown", says="FOLDER")
        self.fails(USAGE, "export", "--to", "markdown", says="FOLDER")
        self.fails(USAGE, "export", "--force", says="--force goes with --to markdown")


if __name__ == "__main__":
    unittest.main()
