#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of the `roost` command as its users see it: commands, exit codes, the machine interface, bad input.

Runs the binary that ROOST_BIN names (default build/roost), each test in a directory of its own. Standard library only.
"""
import base64
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BINARY = os.path.abspath(os.environ.get("ROOST_BIN", "build/roost"))
PATIENCE = 60  # seconds: a deadline for things that take milliseconds; only a hang meets it

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, CORRUPT, TIMED_OUT, NO_ROOT, NO_SPACE, NOT_ALLOWED = range(10)


class Case(unittest.TestCase):
    """A fresh directory, and a root in its .roost with a small log and the region in a file, so that nothing is
    left in /dev/shm."""

    make_root = True

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="roost-cli-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.environment = {k: v for k, v in os.environ.items() if k not in ("ROOST_ROOT", "NO_COLOR")}
        if self.make_root:
            self.ok("init", "--log-size", "1M", "--chunk-size", "1M", "--arena-size", "1M", "--region", "file")
        self.root = os.path.join(self.directory, ".roost")

    def run_roost(self, *arguments, stdin=b"", cwd=None, environment=None):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, cwd=cwd or self.directory,
                              env={**self.environment, **(environment or {})}, timeout=PATIENCE)

    def ok(self, *arguments, **more):
        """Runs it, expects success and silence on stderr; returns stdout as bytes."""
        result = self.run_roost(*arguments, **more)
        self.assertEqual(result.returncode, OK, (arguments, result.stderr))
        self.assertEqual(result.stderr, b"", arguments)
        return result.stdout

    def text(self, *arguments, **more):
        return self.ok(*arguments, **more).decode()

    def json(self, *arguments, **more):
        return json.loads(self.ok(*arguments, "--json", **more))

    def lines(self, *arguments, **more):
        return [json.loads(line) for line in self.ok(*arguments, "--json", **more).splitlines()]

    def fails(self, code, *arguments, says=(), **more):
        """Runs it, expects this exit code and one line on stderr that begins with roost: and contains the words."""
        result = self.run_roost(*arguments, **more)
        message = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, code, (arguments, message))
        self.assertTrue(message.startswith("roost: "), message)
        self.assertEqual(message.count("\n"), 1, message)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, message)
        return result

    def start(self, *arguments, **more):
        process = subprocess.Popen([BINARY, *arguments], cwd=self.directory, env=self.environment,
                                   stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe and not pipe.closed:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass

        self.addCleanup(end)
        return process

    def line_of(self, process):
        """The next line of its stdout, within the deadline."""
        line, deadline = b"", time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            self.assertGreater(left, 0, "no line came")
            if select.select([process.stdout], [], [], left)[0]:
                byte = os.read(process.stdout.fileno(), 1)
                self.assertTrue(byte, "it ended: " + process.stderr.read().decode() if not byte else "")
                line += byte
        return line.decode().rstrip("\n")


class TestHelp(Case):
    make_root = False

    def test_help_lists_every_command_and_each_has_its_own(self):
        text = self.text("--help")
        self.assertEqual(text, self.text("help"))
        commands = [line[2:18].strip() for line in text.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
        for command in ("init", "add", "get", "search", "forget", "kv set", "kv cas", "stream follow", "state watch",
                        "watch", "stat",
                        "doctor", "check", "rebuild", "checkpoint", "export", "import", "version", "help"):
            self.assertIn(command, commands)
        for command in commands:
            help_text = self.text(*command.split(), "--help")
            self.assertTrue(help_text.startswith("Usage: roost " + command), help_text)
            self.assertIn("--json", help_text)
            self.assertEqual(help_text, self.text("help", *command.split()))

    def test_families_list_their_commands(self):
        for family in ("kv", "stream", "state"):
            self.assertIn(family + " list", self.text(family, "--help"))
            self.assertIn(family + " list", self.text("help", family))
            self.assertEqual(self.run_roost(family).returncode, USAGE)

    def test_exit_codes_are_documented(self):
        text = self.text("help", "exit-codes")
        for code in range(10):
            self.assertRegex(text, r"(?m)^  %d  \S" % code)
        self.assertIn("ROOST_EMISMATCH", text)

    def test_version(self):
        self.assertRegex(self.text("--version"), r"^roost \d+\.\d+\.\d+\n$")
        self.assertEqual(self.text("version"), self.text("--version"))
        self.assertRegex(self.json("version")["version"], r"^\d+\.\d+\.\d+$")

    def test_nothing_given_shows_help_and_fails(self):
        result = self.run_roost()
        self.assertEqual(result.returncode, USAGE)
        self.assertIn(b"Usage:", result.stdout)

    def test_unknown_words_are_named_and_near_ones_suggested(self):
        self.fails(USAGE, "serach", "x", says=["serach", "did you mean `roost search`", "--help"])
        self.fails(USAGE, "frobnicate", says=["frobnicate", "--help"])
        self.fails(USAGE, "kv", "gte", "x", says="did you mean `roost kv get`")
        self.fails(USAGE, "list", "--limt", "3", says=["--limt", "did you mean --limit", "roost list --help"])
        self.fails(USAGE, "list", "-Z", says=["-Z", "--help"])
        self.fails(USAGE, "list", "--limit", says="--limit needs a value")
        self.fails(USAGE, "list", "--reverse=3", says="takes no value")
        self.fails(USAGE, "list", "--limit", "many", says="many")
        self.fails(USAGE, "list", "extra", says="extra")
        self.fails(USAGE, "watch", "--timeout", "soon", says="soon")
        self.fails(USAGE, "add", "--level", "perhaps", "x", says="perhaps")
        self.fails(USAGE, "init", "--region", "cloud", says="cloud")
        self.fails(USAGE, "init", "--log-size", "big", says="big")


class TestRoot(Case):
    make_root = False

    def test_init_makes_a_private_ignored_root_that_is_found_from_below(self):
        self.assertIn(".roost", self.text("init"))
        root = os.path.join(self.directory, ".roost")
        self.assertEqual(os.stat(root).st_mode & 0o777, 0o700)
        with open(os.path.join(root, ".gitignore"), "rb") as file:
            self.assertEqual(file.read(), b"*\n")
        below = os.path.join(self.directory, "a", "b")
        os.makedirs(below)
        identity = self.text("add", "found from below", cwd=below).strip()
        self.assertEqual(self.text("get", identity), "found from below\n")
        self.assertEqual(self.text("-C", root, "get", identity, cwd="/"), "found from below\n")
        self.assertEqual(self.text("get", identity, "-C", root, cwd="/"), "found from below\n")
        self.assertEqual(self.text("get", identity, cwd="/", environment={"ROOST_ROOT": root}), "found from below\n")

    def test_init_of_a_named_directory(self):
        self.assertTrue(self.json("-C", "one", "init")["made"])
        self.assertTrue(self.json("init", "two")["made"])
        self.ok("-C", "one", "add", "x")
        self.ok("-C", "two", "add", "x")
        self.fails(CONFLICT, "init", "one")
        self.assertFalse(self.json("init", "one", "--exist-ok")["made"])
        self.fails(USAGE, "-C", "one", "init", "two", says="once")

    def test_C_goes_before_the_environment(self):
        self.ok("init", "one")
        self.ok("init", "two")
        self.ok("-C", "one", "add", "x", environment={"ROOST_ROOT": "two"})
        self.assertEqual(self.json("-C", "one", "stat")["memories"], 1)
        self.assertEqual(self.json("stat", environment={"ROOST_ROOT": "two"})["memories"], 0)

    def test_without_a_root_every_command_says_how_to_make_one(self):
        for command in (["add", "x"], ["get", "1"], ["search", "x"], ["list"], ["kv", "get", "x"], ["stat"], ["watch"],
                        ["check"],
                        ["state", "list"], ["stream", "list"], ["export"]):
            self.fails(NO_ROOT, *command, says="roost init")
        self.fails(NO_ROOT, "-C", "nowhere", "list")
        os.makedirs(os.path.join(self.directory, "project", ".roost"))
        self.fails(NO_ROOT, "-C", "project", "list", says="project/.roost")

    def test_settings_take_suffixes(self):
        self.ok("init", "--log-size", "128K", "--chunk-size", "2M", "--arena-size", "1M", "--language", "none",
                "--region", "file")
        stat = self.json("stat")
        self.assertEqual((stat["log_size"], stat["chunk_size"]), (128 << 10, 2 << 20))
        self.assertEqual((stat["language"], stat["region_kind"]), ("none", "file"))

    def test_bad_settings_are_usage_errors(self):
        self.fails(USAGE, "init", "--log-size", "1")
        self.fails(USAGE, "init", "--language", "klingon")
        self.assertFalse(os.path.exists(os.path.join(self.directory, ".roost", "state.wal")))

    def test_a_root_that_is_no_directory_or_not_permitted(self):
        open(os.path.join(self.directory, "file"), "w").close()
        self.fails(NO_ROOT, "-C", "file", "list")
        if os.getuid() != 0:
            self.ok("init", "closed")
            os.chmod(os.path.join(self.directory, "closed"), 0)
            self.addCleanup(os.chmod, os.path.join(self.directory, "closed"), 0o700)
            self.fails(NOT_ALLOWED, "-C", "closed", "list")

    @unittest.skipIf(os.getuid() == 0, "root may write anywhere")
    def test_reading_a_root_that_we_may_not_write(self):
        self.ok("init", "--region", "file")
        self.ok("add", "look at me")
        root = os.path.join(self.directory, ".roost")
        os.chmod(root, 0o500)
        os.chmod(os.path.join(root, "state.wal"), 0o400)
        self.addCleanup(os.chmod, root, 0o700)
        self.assertIn("look at me", self.text("search", "look"))
        self.fails(NOT_ALLOWED, "add", "no")


class TestMemories(Case):
    def test_add_and_get_byte_for_byte(self):
        self.assertEqual(self.text("add", "two", "words").strip(), "1")
        self.assertEqual(self.text("get", "1"), "two words\n")
        text = "first\nsecond\twith tab \u00e4\u6f22\U0001f426\n".encode()
        identity = self.text("add", stdin=text).strip()
        self.assertEqual(self.ok("get", identity), text)
        with open(os.path.join(self.directory, "note"), "wb") as file:
            file.write(text)
        self.assertEqual(self.ok("get", self.text("add", "--file", "note").strip()), text)
        self.assertEqual(self.text("get", self.text("add", "-", stdin="dash").strip()), "dash\n")
        self.assertEqual(self.text("get", self.text("add", "--", "-v").strip()), "-v\n")
        self.assertEqual(self.text("get", self.text("add", "--level", "process", "quick").strip()), "quick\n")

    def test_fields(self):
        identity = self.text("add", "hello", "--tag", "a", "-t", "b", "--key", "k", "--time-ns",
                             "1700000000123456789").strip()
        memory = self.json("get", identity)
        self.assertEqual(memory["id"], identity)
        self.assertEqual((memory["text"], memory["key"], memory["tags"]), ("hello", "k", ["a", "b"]))
        self.assertEqual(memory["time_ns"], 1700000000123456789)
        where = self.json("get", identity, "--where")["where"]
        with open(os.path.join(self.root, where["file"]), "rb") as file:
            file.seek(where["text_offset"])
            self.assertEqual(file.read(where["text_size"]), b"hello")
        self.assertIn(where["file"], self.text("get", identity, "--where"))

    def test_a_key_replaces(self):
        first = self.text("add", "old", "--key", "k").strip()
        second = self.text("add", "new", "--key", "k").strip()
        self.assertEqual([m["id"] for m in self.lines("list")], [second])
        self.fails(NOT_FOUND, "get", first)

    def test_get_several_shows_what_there_is(self):
        self.ok("add", "one")
        self.ok("add", "two")
        result = self.fails(NOT_FOUND, "get", "1", "99", "2", says="99")
        self.assertIn(b"one\n", result.stdout)
        self.assertIn(b"two\n", result.stdout)

    def test_list_and_recent(self):
        for i in range(1, 13):
            self.ok("add", "memory %d" % i)
        ids = [m["id"] for m in self.lines("list")]
        self.assertEqual(ids, [str(i) for i in range(1, 13)])
        self.assertEqual([m["id"] for m in self.lines("list", "--from", "3", "--limit", "2")], ["3", "4"])
        self.assertEqual([m["id"] for m in self.lines("list", "--reverse", "-n", "2")], ["12", "11"])
        self.assertEqual([m["id"] for m in self.lines("list", "--reverse", "--from", "5", "-n2")], ["5", "4"])
        self.assertEqual(len(self.lines("recent")), 10)
        self.assertEqual([m["id"] for m in self.lines("recent", "3")], ["12", "11", "10"])
        self.assertEqual(len(self.text("list").splitlines()), 12)
        self.ok("add", "two\nlines")
        self.assertIn("two\\nlines", self.text("recent", "1"))

    def test_search(self):
        self.ok("add", "the owl hunts at night", "--tag", "bird")
        self.ok("add", "the hen sleeps at night", "--tag", "bird", "--key", "hen")
        self.ok("add", "a stone")
        found = self.json("search", "owl")
        self.assertEqual(list(found), ["hits"])
        self.assertEqual(sorted(found["hits"][0]), ["id", "key", "score", "tags", "text", "time_ns"])
        self.assertEqual(found["hits"][0]["id"], "1")
        self.assertGreater(found["hits"][0]["score"], 0)
        self.assertEqual([h["key"] for h in self.json("search", "hen")["hits"]], ["hen"])
        self.assertEqual(len(self.json("search", "night", "--limit", "1")["hits"]), 1)
        self.assertEqual(len(self.json("search", "night")["hits"]), 2)
        self.assertEqual(len(self.json("search", "tag:bird")["hits"]), 2)
        self.assertEqual([h["id"] for h in self.json("search", "+night -owl")["hits"]], ["2"])
        self.assertEqual(self.json("search", "nothing-like-that"), {"hits": []})
        self.assertIn("the owl", self.text("search", "owl"))
        self.fails(USAGE, "search", "x", "--limit", "0")

    def test_forget(self):
        for text in ("one", "two", "three"):
            self.ok("add", text)
        self.assertEqual(self.lines("forget", "1", "3"), [{"id": "1", "forgotten": True},
                                                          {"id": "3", "forgotten": True}])
        self.fails(NOT_FOUND, "get", "1")
        self.fails(NOT_FOUND, "forget", "1", says="1")
        self.assertEqual([m["text"] for m in self.lines("list")], ["two"])
        self.fails(USAGE, "forget", "2", "two", says="two")
        self.assertEqual(self.json("stat")["memories"], 1)  # a bad id among good ones forgets nothing

    def test_bad_input_is_refused_in_words(self):
        self.fails(USAGE, "add", "", says="empty")
        self.fails(USAGE, "add", stdin="", says="empty")
        self.fails(USAGE, "add", stdin=b"bad \xff bytes")
        self.fails(USAGE, "add", "x", "--key", "k" * 1025)
        self.fails(USAGE, "add", "x", "--tag", "")
        self.fails(USAGE, "add", "x", "--file", "y", says="either")
        self.fails(NOT_FOUND, "add", "--file", "no-such-file", says="no-such-file")
        for identity in ("x", "-1", "0", "1.5", "99999999999999999999999"):
            self.fails(USAGE, "get", "--", identity, says=identity)
        self.fails(USAGE, "get", says="ID")
        self.assertEqual(self.json("stat")["memories"], 0)

    def test_add_on_a_terminal_says_how(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        result = subprocess.run([BINARY, "add"], stdin=slave, capture_output=True, cwd=self.directory, timeout=PATIENCE,
                                env=self.environment)
        os.close(slave)
        self.assertEqual(result.returncode, USAGE)
        self.assertIn(b"--file", result.stderr)

    def test_two_hundred_adds_at_once(self):
        processes = [self.start("--wait", "60", "add", "memory number %d" % i) for i in range(200)]
        ids = []
        for process in processes:
            out, error = process.communicate(timeout=PATIENCE * 2)
            self.assertEqual(process.returncode, OK, error)
            ids.append(out.decode().strip())
        self.assertEqual(len(set(ids)), 200)
        memories = self.lines("list")
        self.assertEqual(sorted(m["id"] for m in memories), sorted(ids))
        by_id = {m["id"]: m["text"] for m in memories}
        self.assertEqual([by_id[identity] for identity in ids], ["memory number %d" % i for i in range(200)])
        self.assertEqual(self.json("stat")["memories"], 200)


class TestMachineInterface(Case):
    def test_each_line_is_acknowledged_before_the_next_is_needed(self):
        process = self.start("add", "--json")
        for i in range(1, 4):
            process.stdin.write(json.dumps({"text": "line %d" % i, "tags": ["t"], "key": "k%d" % i}).encode() + b"\n")
            process.stdin.flush()
            self.assertEqual(json.loads(self.line_of(process)), {"id": str(i)})
            self.assertEqual(self.json("get", str(i))["key"], "k%d" % i)
        process.stdin.close()
        self.assertEqual(process.wait(PATIENCE), OK)

    def test_many_lines_at_once(self):
        lines = "".join(json.dumps({"text": "text %d" % i, "time_ns": 10**18 + i}) + "\n" for i in range(5000))
        answers = [json.loads(line)["id"] for line in self.ok("add", "--json", stdin=lines).splitlines()]
        self.assertEqual(answers, [str(i) for i in range(1, 5001)])
        self.assertEqual(self.json("stat")["memories"], 5000)
        self.assertEqual(self.json("get", "5000")["time_ns"], 10**18 + 4999)

    def test_exotic_json(self):
        line = ('  {"text" : "\\u00e4 \\ud83d\\udc26 \\"\\\\\\/\\b\\f\\n\\r\\t", '
                '"tags":null , "time_ns":"17", "id":"9"}\r\n\n')
        self.assertEqual(self.ok("add", "--json", stdin=line), b'{"id":"1"}\n')
        memory = self.json("get", "1")
        self.assertEqual(memory["text"], "\u00e4 \U0001f426 \"\\/\b\f\n\r\t")
        self.assertEqual(memory["time_ns"], 17)
        self.assertEqual(self.ok("add", "--json", stdin='{"text":"no line end"}'), b'{"id":"2"}\n')

    def test_a_bad_line_is_named_and_what_came_before_is_kept(self):
        good = '{"text":"good"}\n'
        bad_lines = {
            "{\"text\":\"x\"": "not valid JSON", "{text:1}": "not valid JSON", "nonsense": "not valid JSON",
            "[1]": "object",
            "{}": "text", "{\"text\":\"\"}": "empty", "{\"text\":5}": "string",
            "{\"text\":\"x\",\"tags\":\"t\"}": "tags",
            "{\"text\":\"x\",\"time_ns\":1.5}": "time_ns", "{\"text\":\"x\"} {}": "one JSON object a line",
            "{\"text\":\"x\",\"text\":\"y\"}": "twice", "{\"text\":\"\\ud800\"}": "surrogate",
            "{\"text\":\"x\",\"key_base64\":\"?\"}": "base64", "[" * 100: "levels",
        }
        total = 0
        for bad, word in bad_lines.items():
            result = self.fails(USAGE, "add", "--json", stdin=good + good + bad + "\n" + good, says=["line 3", word])
            self.assertEqual(len(result.stdout.splitlines()), 2, bad)
            total += 2
        self.fails(USAGE, "add", "--json", stdin=good.encode() + b'{"text":"\xff"}\n', says=["line 2", "UTF-8"])
        self.assertEqual(self.json("stat")["memories"], total + 1)

    def test_on_error_continue(self):
        lines = '{"text":"a"}\nbad\n{"text":"b"}\n{"text":""}\n{"text":"c"}\n'
        result = self.run_roost("add", "--json", "--on-error", "continue", stdin=lines)
        self.assertEqual(result.returncode, USAGE)
        self.assertEqual(len(result.stdout.splitlines()), 3)
        self.assertIn(b"line 2", result.stderr)
        self.assertIn(b"line 4", result.stderr)
        self.assertEqual([m["text"] for m in self.lines("list")], ["a", "b", "c"])

    def test_unknown_fields_are_mentioned_once(self):
        result = self.run_roost("add", "--json", stdin='{"text":"a","mood":1}\n{"text":"b","mood":2}\n')
        self.assertEqual(result.returncode, OK)
        self.assertEqual(result.stderr.count(b"mood"), 1)

    def test_stat_and_doctor(self):
        self.ok("add", "x")
        stat = self.json("stat")
        self.assertIs(type(stat["memories"]), int)
        self.assertEqual((stat["memories"], stat["last_id"]), (1, "1"))
        self.assertIn("memories", self.text("stat"))
        doctor = self.json("doctor")
        self.assertTrue(doctor["ok"])
        self.assertNotIn("writer_pid", doctor)
        self.assertEqual(os.path.realpath(doctor["root"]), os.path.realpath(self.root))
        self.assertEqual(doctor["problems"], [])
        text = self.text("doctor")
        self.assertIn("resting", text)
        self.assertIn("all is well", text)

    def test_one_add_that_keeps_running_lets_others_work(self):
        process = self.start("add", "--json")
        process.stdin.write(b'{"text":"from the long runner"}\n')
        process.stdin.flush()
        self.line_of(process)
        self.ok("add", "from another")
        self.assertEqual(self.json("stat")["memories"], 2)
        doctor = self.json("doctor")
        if "writer_pid" in doctor:  # it may rest by now
            self.assertEqual(doctor["writer_pid"], process.pid)
        process.stdin.close()
        self.assertEqual(process.wait(PATIENCE), OK)

    def test_killed_while_adding_keeps_every_acknowledged_line(self):
        process = self.start("add", "--json")
        acknowledged = 0
        for i in range(50):
            process.stdin.write(json.dumps({"text": "line %d" % i}).encode() + b"\n")
            process.stdin.flush()
            self.line_of(process)
            acknowledged += 1
        process.kill()
        process.wait()
        self.assertEqual([m["text"] for m in self.lines("list")], ["line %d" % i for i in range(acknowledged)])
        self.ok("add", "life goes on")


class TestKeys(Case):
    def test_values_are_any_bytes(self):
        binary = bytes(range(256)) * 3
        self.ok("kv", "set", "b", stdin=binary)
        self.assertEqual(self.ok("kv", "get", "b"), binary)
        self.assertEqual(base64.b64decode(self.json("kv", "get", "b")["value_base64"]), binary)
        with open(os.path.join(self.directory, "value"), "wb") as file:
            file.write(binary)
        self.ok("kv", "set", "f", "--file", "value")
        self.assertEqual(self.ok("kv", "get", "f"), binary)
        self.ok("kv", "set", "a", "text")
        self.assertEqual(self.ok("kv", "get", "a"), b"text")
        self.ok("kv", "set", "e", "")
        self.assertEqual(self.ok("kv", "get", "e"), b"")

    def test_versions_and_compare_and_set(self):
        version = self.json("kv", "set", "k", "1")["version"]
        self.assertEqual(self.text("kv", "get", "k", "--version").strip(), version)
        self.assertEqual(self.json("kv", "get", "k")["version"], version)
        self.fails(CONFLICT, "kv", "cas", "k", "2", "--if-version", "0")
        second = self.json("kv", "cas", "k", "2", "--if-version", version)["version"]
        self.fails(CONFLICT, "kv", "set", "k", "3", "--if-version", version)
        self.assertEqual(self.ok("kv", "get", "k"), b"2")
        self.fails(CONFLICT, "kv", "delete", "k", "--if-version", version)
        self.ok("kv", "delete", "k", "--if-version", second)
        self.fails(NOT_FOUND, "kv", "get", "k")
        self.fails(NOT_FOUND, "kv", "delete", "k")
        self.ok("kv", "cas", "new", "1", "--if-version", "0")
        self.fails(USAGE, "kv", "cas", "new", "2", says="--if-version")

    def test_list(self):
        for key in ("b/2", "a", "b/1", "c"):
            self.ok("kv", "set", key, "v-" + key)
        self.assertEqual([i["key"] for i in self.lines("kv", "list")], ["a", "b/1", "b/2", "c"])
        self.assertEqual([i["value"] for i in self.lines("kv", "list", "b/")], ["v-b/1", "v-b/2"])
        self.assertEqual(self.text("kv", "list", "--limit", "1"), "a\tv-a\n")

    def test_expiry(self):
        self.ok("kv", "set", "short", "x", "--expires", "0.05")
        self.ok("kv", "set", "long", "x", "--expires", "3600")
        deadline = time.monotonic() + PATIENCE
        while self.run_roost("kv", "get", "short").returncode != NOT_FOUND:
            self.assertLess(time.monotonic(), deadline)
        self.assertGreater(self.json("kv", "get", "long")["expires_ns"], time.time_ns())
        self.fails(USAGE, "kv", "set", "k", "x", "--expires", "0")

    def test_bad_keys(self):
        self.fails(USAGE, "kv", "set", "", "x")
        self.fails(USAGE, "kv", "set", "k" * 1025, "x")
        self.fails(USAGE, "kv", "get")


class TestStreams(Case):
    def test_append_read_info_list(self):
        self.fails(NOT_FOUND, "stream", "read", "s")
        self.fails(NOT_FOUND, "stream", "info", "s")
        entries = [b"first", b"\x00\xff second", b"third\n"]
        for i, entry in enumerate(entries):
            self.assertEqual(self.text("stream", "append", "s", stdin=entry), "%d\n" % i)
        self.assertEqual(self.ok("stream", "read", "s", "--raw"), b"".join(entries))
        self.assertEqual(self.ok("stream", "read", "s"), b"first\n\x00\xff second\nthird\n")
        self.assertEqual(self.ok("stream", "read", "s", "--from", "2"), b"third\n")
        self.assertEqual(self.ok("stream", "read", "s", "--limit", "1"), b"first\n")
        self.assertEqual(self.ok("stream", "read", "s", "--at", "5", "-n", "1", "--raw"), entries[1])
        items = self.lines("stream", "read", "s")
        self.assertEqual([i["index"] for i in items], [0, 1, 2])
        self.assertEqual([i["byte_offset"] for i in items], [0, 5, 14])
        self.assertEqual(base64.b64decode(items[1]["entry_base64"]), entries[1])
        info = self.json("stream", "info", "s")
        self.assertEqual((info["entry_count"], info["byte_count"]), (3, 20))
        self.ok("stream", "append", "t", "several", "words")
        self.assertEqual([(s["name"], s["entry_count"]) for s in self.lines("stream", "list")], [("s", 3), ("t", 1)])
        self.assertIn("3 entries", self.text("stream", "list"))
        self.fails(USAGE, "stream", "append", "s", "", says="empty")
        self.fails(USAGE, "stream", "read", "s", "--at", "1", "--from", "1")
        self.fails(NOT_FOUND, "stream", "read", "s", "--at", "20")

    def test_follow(self):
        self.ok("stream", "append", "s", "before")
        process = self.start("stream", "follow", "s", "--from", "0", "--count", "3")
        self.assertEqual(self.line_of(process), "before")
        self.ok("stream", "append", "s", "during")
        self.assertEqual(self.line_of(process), "during")
        self.ok("stream", "append", "s", "last")
        self.assertEqual(self.line_of(process), "last")
        self.assertEqual(process.wait(PATIENCE), OK)
        self.assertEqual(self.run_roost("stream", "follow", "s", "--timeout", "0.1").returncode, TIMED_OUT)


class TestStates(Case):
    def test_set_get_list(self):
        self.ok("state", "set", "owl", "--status", "thinking", "--active", "3", "--last-id", "7", "--extra", "a=1",
                "-e", "b=x=y")
        state = self.json("state", "get", "owl")
        self.assertEqual((state["name"], state["status"], state["alive"]), ("owl", "thinking", "unowned"))
        self.assertEqual((state["active_memory_count"], state["last_updated_id"]), (3, "7"))
        self.assertEqual(state["extra"], [{"name": "a", "value": "1"}, {"name": "b", "value": "x=y"}])
        self.ok("state", "set", "hen", "--status", "idle")
        self.assertEqual([s["name"] for s in self.lines("state", "list")], ["hen", "owl"])
        self.assertIn("thinking", self.text("state", "get", "owl"))
        self.ok("state", "set", "owl", "--status", "done")
        self.assertGreater(int(self.json("state", "get", "owl")["version"]), int(state["version"]))
        self.fails(NOT_FOUND, "state", "get", "nobody")
        self.fails(USAGE, "state", "set", "owl", "--extra", "novalue", says="NAME=VALUE")
        self.fails(USAGE, "state", "set", "")
        self.fails(USAGE, "state", "set", "big", "--status", "x", "--extra", "a=" + "x" * 5000)

    def test_the_root_has_a_state(self):
        self.ok("add", "x")
        self.assertEqual(self.json("state", "get")["active_memory_count"], 1)

    def test_watch_shows_the_current_value_first(self):
        self.ok("state", "set", "owl", "--status", "one")
        process = self.start("state", "watch", "owl", "--json", "--count", "2")
        self.assertEqual(json.loads(self.line_of(process))["status"], "one")
        self.ok("state", "set", "owl", "--status", "two")
        self.assertEqual(json.loads(self.line_of(process))["status"], "two")
        self.assertEqual(process.wait(PATIENCE), OK)
        every = self.start("state", "watch", "-n", "1")
        self.assertIn("two", self.line_of(every))


class TestWatch(Case):
    def ready(self, process):
        """A watch over a state that is there shows it first: then it is watching."""
        self.assertEqual(json.loads(self.line_of(process))["event"], "state")

    def watch(self, *arguments):
        process = self.start("watch", "--json", "--state", "ready", *arguments)
        self.ready(process)
        return process

    def setUp(self):
        super().setUp()
        self.ok("state", "set", "ready", "--status", "yes")

    def test_two_processes_see_the_same_commits_in_order(self):
        watchers = [self.watch("--commits", "--count", "6") for _ in range(2)]
        self.ok("add", "a memory", "--key", "m")
        self.ok("kv", "set", "k", "v")
        self.ok("stream", "append", "s", "e")
        self.ok("kv", "delete", "k")
        self.ok("forget", "1")
        seen = []
        for watcher in watchers:
            events = [json.loads(self.line_of(watcher)) for _ in range(5)]
            self.assertEqual(watcher.wait(PATIENCE), OK)
            seen.append(events)
        self.assertEqual(seen[0], seen[1])
        self.assertEqual([e["event"] for e in seen[0]], ["memory", "key_set", "stream_append", "key_delete", "forget"])
        self.assertEqual((seen[0][0]["id"], seen[0][0]["key"]), ("1", "m"))
        self.assertEqual((seen[0][2]["name"], seen[0][2]["index"]), ("s", 0))
        lsns = [int(e["lsn"]) for e in seen[0]]
        self.assertEqual(lsns, sorted(lsns))

    def test_topics_choose(self):
        watcher = self.watch("--keys", "a/", "--stream", "s", "--count", "3")
        self.ok("add", "not for you")
        self.ok("kv", "set", "b/1", "no")
        self.ok("stream", "append", "t", "no")
        self.ok("kv", "set", "a/1", "yes")
        self.ok("stream", "append", "s", "yes")
        self.assertEqual(json.loads(self.line_of(watcher))["key"], "a/1")
        self.assertEqual(json.loads(self.line_of(watcher))["name"], "s")
        self.assertEqual(watcher.wait(PATIENCE), OK)

    def test_generation(self):
        watcher = self.watch("--generation", "--count", "2")
        self.ok("add", "x")
        self.ok("checkpoint")
        self.assertEqual(json.loads(self.line_of(watcher))["event"], "generation")

    def test_time_out(self):
        self.assertEqual(self.run_roost("watch", "--timeout", "0.1").returncode, TIMED_OUT)
        self.assertEqual(self.run_roost("watch", "--state", "ready", "--count", "2", "--timeout", "0.1").returncode,
                         TIMED_OUT)
        self.assertEqual(self.run_roost("watch", "--state", "ready", "--timeout", "0.1").returncode, OK)

    def test_interrupts_end_it_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            watcher = self.watch()
            watcher.send_signal(number)
            self.assertEqual(watcher.wait(PATIENCE), OK)
            self.assertEqual(watcher.stderr.read(), b"")

    def test_a_reader_that_leaves_ends_it_quietly(self):
        watcher = self.watch()
        watcher.stdout.close()
        self.assertEqual(watcher.wait(PATIENCE), OK)
        self.assertEqual(watcher.stderr.read(), b"")


class TestCare(Case):
    def test_check_rebuild_checkpoint(self):
        for i in range(20):
            self.ok("add", "memory %d" % i)
        self.assertEqual(self.json("check"), {"findings": [], "ok": True})
        self.assertIn("good", self.text("check"))
        self.assertTrue(self.json("checkpoint")["ok"])
        self.ok("rebuild")
        self.assertEqual(len(self.lines("list")), 20)
        self.assertEqual(len(self.json("search", "memory", "--limit", "50")["hits"]), 20)

    def test_check_finds_damage(self):
        self.ok("add", "precious words")
        self.ok("checkpoint")
        where = self.json("get", "1", "--where")["where"]
        with open(os.path.join(self.root, where["file"]), "r+b") as file:
            file.seek(where["text_offset"])
            file.write(b"P")
        result = self.run_roost("check", "--json")
        self.assertEqual(result.returncode, CORRUPT)
        finding = json.loads(result.stdout)["findings"][0]
        self.assertEqual(finding["file"], where["file"])
        self.fails(CORRUPT, "check", says="1 damaged place")
        self.fails(CORRUPT, "get", "1")

    def test_damaged_or_foreign_roots(self):
        with open(os.path.join(self.root, "state.wal"), "r+b") as file:
            file.write(b"\0" * 8192)
        self.assertIn(self.run_roost("list").returncode, (CORRUPT, NO_ROOT))
        doctor = self.run_roost("doctor", "--json")
        self.assertIn(doctor.returncode, (CORRUPT, NO_ROOT))
        answer = json.loads(doctor.stdout)
        self.assertFalse(answer["ok"])
        self.assertTrue(answer["problems"])

    def test_doctor_without_a_root(self):
        result = self.run_roost("doctor", "--json", cwd="/")
        self.assertEqual(result.returncode, NO_ROOT)
        self.assertFalse(json.loads(result.stdout)["ok"])

    def test_doctor_sees_loose_permissions(self):
        os.chmod(self.root, 0o777)
        result = self.run_roost("doctor")
        self.assertEqual(result.returncode, NOT_ALLOWED, result.stdout)
        self.assertIn(b"chmod", result.stdout)

    def test_settle(self):
        self.fails(USAGE, "settle", "nonsense", says="nonsense")
        self.assertIn(self.run_roost("settle", "1:1").returncode, (FAILED, NOT_FOUND, TIMED_OUT))

    def test_too_large_for_the_root(self):
        before = self.json("stat")["memories"]
        result = self.run_roost("add", "x", "--tag", "t" * 300)
        self.assertEqual(result.returncode, USAGE, result.stderr)
        self.assertEqual(self.json("stat")["memories"], before)

    def test_no_space_left(self):
        """A file size limit is one kind of no space that needs no special file system."""
        script = "ulimit -f 1; exec \"$0\" add --file big"
        with open(os.path.join(self.directory, "big"), "w") as file:
            file.write("word " * 500000)
        result = subprocess.run(["/bin/sh", "-c", script, BINARY], capture_output=True, cwd=self.directory,
                                env=self.environment,
                                timeout=PATIENCE)
        self.assertEqual(result.returncode, NO_SPACE, result.stderr)
        self.ok("add", "small ones still go")


class TestTransfer(Case):
    def fill(self):
        self.ok("add", "first \u00e4\n", "--tag", "a", "--tag", "b", "--key", "k", "--time-ns", "1600000000000000001")
        self.ok("add", "to be forgotten")
        self.ok("add", "third \"quoted\" \\ \x01", "--time-ns", "1600000000000000003")
        self.ok("forget", "2")
        self.ok("kv", "set", "text", "value")
        self.ok("kv", "set", "binary", stdin=bytes(range(256)))
        self.ok("kv", "set", "empty", "")
        self.ok("kv", "set", "later", "x", "--expires", "86400")
        self.ok("kv", "set", "nul", stdin=b"a\0b")
        for entry in (b"one", b"\xfe\xff", b"three\n", b"\0"):
            self.ok("stream", "append", "s", stdin=entry)
        self.ok("state", "set", "owl", "--status", "idle", "--active", "2", "--last-id", "3", "--extra", "x=\u00e4")

    @staticmethod
    def essence(dump):
        """What must survive: everything but ids, versions and the times of keys, entries and states, which are new."""
        result = []
        for line in dump.splitlines():
            (kind, value), = json.loads(line).items()
            for name in ["id", "lsn", "version"] + ([] if kind == "memory" else ["time_ns"]):
                value.pop(name, None)
            result.append((kind, value))
        return result

    def test_round_trip_byte_for_byte(self):
        self.fill()
        dump = self.ok("export")
        kinds = {next(iter(json.loads(line))) for line in dump.splitlines()}
        self.assertEqual(kinds, {"memory", "key", "stream", "state"})
        self.assertIn("exported 2 memories, 5 keys, 4 stream entries, 1 states", self.text("export", "dump"))
        self.assertEqual(os.stat(os.path.join(self.directory, "dump")).st_mode & 0o777, 0o600)
        with open(os.path.join(self.directory, "dump"), "rb") as file:
            self.assertEqual(file.read(), dump)
        self.ok("init", "copy", "--region", "file")
        counts = self.json("-C", "copy", "import", "dump")
        self.assertEqual(counts, {"lines": 12, "memories": 2, "keys": 5, "stream_entries": 4, "states": 1, "refused": 0,
                                  "expired": 0})
        self.assertEqual(self.essence(self.ok("-C", "copy", "export")), self.essence(dump))
        self.assertEqual(self.ok("-C", "copy", "kv", "get", "binary"), bytes(range(256)))
        self.assertEqual(self.ok("-C", "copy", "kv", "get", "nul"), b"a\0b")
        self.assertEqual(self.ok("-C", "copy", "stream", "read", "s", "--raw"), b"one\xfe\xffthree\n\0")
        self.assertEqual(self.ok("-C", "copy", "get", "1"), "first \u00e4\n".encode())

    def test_import_stops_at_a_bad_line_and_can_go_on(self):
        lines = '{"memory":{"text":"a"}}\n{"key":{"key":"k","value":"v"}}\nbroken\n{"memory":{"text":"b"}}\n'
        result = self.run_roost("import", "--json", stdin=lines)
        self.assertEqual(result.returncode, USAGE)
        self.assertIn(b"line 3", result.stderr)
        self.assertIn(b"--from-line 3", result.stderr)
        counts = json.loads(result.stdout)
        self.assertEqual((counts["memories"], counts["keys"], counts["stopped_at_line"]), (1, 1, 3))
        self.assertEqual(self.json("import", "--from-line", "4", stdin=lines)["memories"], 1)
        self.assertEqual([m["text"] for m in self.lines("list")], ["a", "b"])

    def test_import_continues_when_told(self):
        lines = ('{"memory":{"text":"a"}}\n{"other":{}}\n{"memory":{"text":""}}\n{"stream":{"name":"s","entry":""}}\n'
                 '{"key":{"key":"old","value":"v","expires_ns":5}}\n{"state":{"name":"n","active_memory_count":-1}}\n'
                 '{"memory":{"text":"b"}}\n')
        result = self.run_roost("import", "--json", "--on-error", "continue", stdin=lines)
        self.assertEqual(result.returncode, USAGE)
        for line in (b"line 2", b"line 3", b"line 4", b"line 6"):
            self.assertIn(line, result.stderr)
        counts = json.loads(result.stdout)
        self.assertEqual((counts["memories"], counts["refused"], counts["expired"]), (2, 4, 1))
        self.assertEqual([m["text"] for m in self.lines("list")], ["a", "b"])

    def test_large_import(self):
        lines = "".join(json.dumps({"memory": {"text": "memory %d " % i + "word " * (i % 50), "key": "k%d" % i}}) + "\n"
                        for i in range(3000))
        self.assertEqual(self.json("import", stdin=lines)["memories"], 3000)
        self.assertEqual([m["key"] for m in self.lines("list")], ["k%d" % i for i in range(3000)])

    def test_missing_file(self):
        self.fails(NOT_FOUND, "import", "no-such-file", says="no-such-file")
        self.fails(NOT_FOUND, "export", "no/such/dir/file", says="no/such/dir")


class TestOutput(Case):
    def on_terminal(self, *arguments, environment=None):
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                                   cwd=self.directory,
                                   env={**self.environment, "TERM": "xterm", **(environment or {})})
        os.close(slave)
        out = b""
        while True:
            try:
                more = os.read(master, 4096)
            except OSError:  # EIO: the other side closed
                break
            if not more:
                break
            out += more
        os.close(master)
        self.assertEqual(process.wait(PATIENCE), OK)
        return out

    def test_control_characters_are_escaped_on_a_terminal_only(self):
        evil = "\x1b]0;title\x07 \x9b31m \u202e ok"
        self.ok("add", evil)
        self.assertEqual(self.ok("get", "1"), evil.encode() + b"\n")
        for command in (["get", "1"], ["list"], ["search", "ok"]):
            shown = self.on_terminal(*command, environment={"NO_COLOR": "1"})
            for bad in (b"\x1b", b"\x07", "\x9b".encode(), "\u202e".encode()):
                self.assertNotIn(bad, shown, command)
            self.assertIn(b"\\x1b", shown)
        self.assertNotIn(b"\x1b", self.ok("list"))
        self.assertNotIn(b"\x9b", self.ok("get", "1", "--json"))

    def test_no_color(self):
        self.ok("add", "plain")
        self.assertIn(b"\x1b[", self.on_terminal("list"))
        self.assertNotIn(b"\x1b", self.on_terminal("list", environment={"NO_COLOR": "1"}))
        self.assertNotIn(b"\x1b", self.on_terminal("list", environment={"TERM": "dumb"}))

    def test_a_reader_that_leaves_is_no_failure(self):
        self.ok("add", "--json", stdin="".join(json.dumps({"text": "word " * 200}) + "\n" for _ in range(500)))
        process = self.start("list", "--json")
        self.line_of(process)
        process.stdout.close()
        self.assertEqual(process.wait(PATIENCE), OK)
        self.assertEqual(process.stderr.read(), b"")

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_disk_behind_stdout_is_reported(self):
        self.ok("add", "x")
        with open("/dev/full", "wb") as full:
            result = subprocess.run([BINARY, "list"], stdout=full, stderr=subprocess.PIPE, cwd=self.directory,
                                    env=self.environment,
                                    timeout=PATIENCE)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn(b"stdout", result.stderr)

    def test_errors_stay_on_one_line(self):
        self.fails(USAGE, "get", "bad\nid\x1b[0m", says="\\x0a")


if __name__ == "__main__":
    unittest.main()
