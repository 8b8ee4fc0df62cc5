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
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("ROOST_BIN", "build/roost"))
PATIENCE = 60  # seconds: a deadline for things that take milliseconds; only a hang meets it

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, CORRUPT, TIMED_OUT, NO_ROOT, NO_SPACE, NOT_ALLOWED, NOT_APPLIED = range(11)


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

    def test_commands_that_texts_name_exist(self):
        """`roost SUB` in the list of errors, README and the manual page: each has help of its own."""
        man = re.sub(r"\\f[BRIP]|\\(?=-)|\\&|\"", "", (TOP / "man/roost.1").read_text(encoding="utf-8"))
        man = re.sub(r"(?m)^\.(?:B|BR|BI|RB|RI|IR) ", "", man)
        texts = {"errors.json": (TOP / "protocol/errors.json").read_text(encoding="utf-8"),
                 "README.md": (TOP / "README.md").read_text(encoding="utf-8"), "man/roost.1": man}
        option = r"(?:-C \S+ |--observe )*"
        command = option + r"([a-z]+(?:-[a-z]+)?)(?: ([a-z]+))?"
        for page, text in texts.items():
            named = re.findall("`roost " + command, text) + re.findall(r"(?m)(?:^|\| |\()roost " + command, text)
            self.assertTrue(named, page)
            for first, second in named:
                words = [first] + ([second] if first in ("kv", "stream", "state") and second else [])
                with self.subTest(page=page, command=" ".join(words)):
                    self.text("help", *words)

    def test_help_lists_every_command_and_each_has_its_own(self):
        text = self.text("--help")
        self.assertEqual(text, self.text("help"))
        commands = [line[2:20].strip() for line in text.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
        for command in ("init", "add", "get", "search", "forget", "kv set", "kv cas", "stream follow", "state watch",
                        "watch", "stat",
                        "doctor", "check", "rebuild", "checkpoint", "export", "import", "mcp", "hook user-prompt", "version",
                        "help"):
            self.assertIn(command, commands)
        for command in commands:
            help_text = self.text(*command.split(), "--help")
            self.assertTrue(help_text.startswith("Usage: roost " + command), help_text)
            self.assertIn("--json", help_text)
            self.assertEqual(help_text, self.text("help", *command.split()))

    def test_families_list_their_commands(self):
        for family, one in (("kv", "list"), ("stream", "list"), ("state", "list"), ("hook", "stop")):
            self.assertIn(f"{family} {one}", self.text(family, "--help"))
            self.assertIn(f"{family} {one}", self.text("help", family))
            self.assertEqual(self.run_roost(family).returncode, USAGE)

    def test_exit_codes_are_documented(self):
        text = self.text("help", "exit-codes")
        for code in range(11):
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

    def test_what_things_are_called_elsewhere(self):
        for word, meant in {"find": "search", "query": "search", "ls": "list", "delete": "forget", "rm": "forget", "del": "forget",
                            "show": "get", "put": "add", "append": "stream append", "kv rm": "kv delete"}.items():
            self.fails(USAGE, *word.split(), "x", says=["did you mean", "`roost %s`" % meant])

    def test_numbers_beyond_their_limits(self):
        large = "99999999999999999999"
        for arguments in (["list", "-n", large], ["--wait", "99999999999", "list"], ["kv", "set", "k", "v", "--expires", "9000000000"],
                          ["search", "x", "-n", "99999999999"], ["init", "--log-size", large], ["watch", "--timeout", large],
                          ["add", "x", "--time-ns", large]):
            self.fails(USAGE, *arguments, says=["too large", "at most"])
        result = self.fails(USAGE, "recent", "abc", says="abc")
        self.assertEqual(result.stderr.count(b"recent"), 2)  # the command, and whose help to read
        self.fails(USAGE, "add", "x", "--time-ns", "-" + large, says="too small")


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

    def test_a_root_of_another_name_says_how_to_be_found(self):
        answer = self.text("init", "other")
        self.assertIn("-C", answer)
        self.assertIn("ROOST_ROOT", answer)
        self.assertEqual(self.text("init").count("\n"), 1)
        shutil.rmtree(os.path.join(self.directory, ".roost"))
        self.fails(NO_ROOT, "add", "x", cwd=os.path.join(self.directory, "other"), says="-C .")

    def test_init_where_no_folder_can_be_made(self):
        self.fails(NO_ROOT, "init", "a/b/c", says=["a/b/c", "does not exist"])
        self.fails(NO_ROOT, "-C", "a/b", "init", says="does not exist")
        self.fails(USAGE, "init", "", says="empty")

    def test_who_named_a_folder_without_a_root(self):
        self.fails(NO_ROOT, "list", environment={"ROOST_ROOT": "/nope"}, says=["/nope", "ROOST_ROOT"])
        self.fails(NO_ROOT, "-C", "/nope", "list", says="`roost -C /nope init`")
        self.fails(NO_ROOT, "-C", "it's not", "list", says="`roost -C 'it'\\''s not' init`")
        os.mkdir(os.path.join(self.directory, "empty"))
        self.fails(NO_ROOT, "list", environment={"ROOST_ROOT": "empty"}, says=["no root in empty", "ROOST_ROOT"])
        open(os.path.join(self.directory, "file"), "w").close()
        doctor = json.loads(self.run_roost("-C", "file", "doctor", "--json").stdout)
        self.assertEqual(len(doctor["problems"]), 1)
        self.fails(NO_ROOT, "list", environment={"ROOST_ROOT": "file"}, says=["file", "ROOST_ROOT"])

    def test_links_that_the_user_names_are_followed(self):
        self.ok("init", "real")
        os.symlink("real", os.path.join(self.directory, "link"))
        self.ok("-C", "link", "add", "x")
        self.assertEqual(self.json("stat", environment={"ROOST_ROOT": "link/"})["memories"], 1)
        self.fails(CONFLICT, "init", "link")
        os.symlink("real", os.path.join(self.directory, ".roost"))
        self.assertEqual(self.json("stat")["memories"], 1)
        os.symlink("nowhere", os.path.join(self.directory, "dangling"))
        for command in ("list", "init", "add x"):
            self.fails(NO_ROOT, "-C", "dangling", *command.split(), says=["symbolic link to nowhere", "no such folder"])

    def test_observing_on_purpose(self):
        self.ok("init", "--region", "file")
        self.ok("add", "look at me")
        before = os.listdir(os.path.join(self.directory, ".roost"))
        self.assertIn("look at me", self.text("--observe", "search", "look"))
        self.assertEqual(self.json("stat", "--observe")["memories"], 1)
        self.assertTrue(self.json("doctor", "--observe")["observing"])
        self.assertEqual(os.listdir(os.path.join(self.directory, ".roost")), before)
        for command in ("add x", "kv set k v", "stream append s e", "state set a", "forget 1", "rest", "sync", "settle 1:1"):
            self.fails(NOT_ALLOWED, "--observe", *command.split(), says="--observe")
        self.fails(USAGE, "--observe", "init", "other", says="--observe")

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

    def test_repeated_tags_count_once(self):
        self.ok("add", "x", "--tag=t", "--tag=u", "--tag=t")
        self.ok("add", "--json", stdin='{"text":"y","tags":["t","u","t"]}')
        self.assertEqual([m["tags"] for m in self.lines("list")], [["t", "u"], ["t", "u"]])

    def test_times_before_1970(self):
        self.ok("add", "x", "--time-ns", "-5")
        self.ok("add", "--json", stdin='{"text":"y","time_ns":-5}')
        self.assertEqual([m["time_ns"] for m in self.lines("list")], [-5, -5])
        self.assertIn("19", self.text("list"))

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
        self.assertEqual([m["id"] for m in self.lines("list", "--from", "0", "--limit", "2")], ["1", "2"])
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
        self.assertEqual([h["id"] for h in self.json("search", "-", stdin="owl")["hits"]], ["1"])

    def test_a_query_without_a_word_is_refused(self):
        self.ok("add", "the owl, \u00e4, \u6f22, 7", "--tag", "++")
        for query in ("", " ", "+", "-", "+ -", "tag:", 'tag:""', "***", '"***"', '""', "\u2026 \u2014", "?!"):
            self.fails(USAGE, "search", "--", query, stdin="", says="no word to look for")
        for query in ("-owl", '-owl -"the hen"', "-owl +", "-tag:x"):
            self.fails(USAGE, "search", "--", query, says="must not match")
        self.fails(USAGE, "search", says="QUERY")
        self.fails(USAGE, "search", stdin="owl", says="QUERY")
        for query in ("owl -hen", "\u00e4", "\u6f22", "7", "ow*", '"the owl', "+owl", "tag:++", 'tag:"++"', "-hen owl"):
            self.assertEqual([h["id"] for h in json.loads(self.ok("search", "--json", "--", query))["hits"]],
                             ["1"], query)

    def test_where_a_memory_comes_from(self):
        metadata = '{"n":12345678901234567890, "who":["x"]}'
        self.ok("add", "--agent", "alice", "--session", "s 1", "--metadata", metadata, "the build uses ninja")
        self.ok("add", "the build uses make", environment={"ROOST_AGENT": "bob", "ROOST_SESSION": "s2"})
        self.ok("add", "the build is slow")
        lines = ('{"text":"build by hand","agent":"alice","session":"s2","process":"editor[7]","tool":"remember",'
                 '"metadata_text":"{\\n \\"a\\": 1}"}\n')
        self.ok("add", "--json", stdin=lines)
        first, second, third, fourth = self.lines("list")
        self.assertEqual((first["agent"], first["session"]), ("alice", "s 1"))
        self.assertIn(('"metadata":' + metadata).encode(), self.ok("list", "--json"))
        self.assertEqual((second["agent"], second["session"]), ("bob", "s2"))
        self.assertFalse({"agent", "session", "process", "tool", "metadata"} & set(third))
        self.assertEqual((fourth["process"], fourth["tool"], fourth["metadata_text"]), ("editor[7]", "remember", '{\n "a": 1}'))

        def found(*arguments):
            return [hit["id"] for hit in self.json("search", *arguments)["hits"]]
        for _ in range(2):
            self.assertEqual(sorted(found("build")), ["1", "2", "3", "4"])
            self.assertEqual(sorted(found("build", "--agent", "alice")), ["1", "4"])
            self.assertEqual(found("build", "--agent", "alice", "--session", "s2"), ["4"])
            self.assertEqual(found("--agent", "alice"), ["4", "1"])
            self.assertEqual(found('session:"s 1"', "build"), ["1"])
            self.assertEqual(sorted(found("build -agent:alice")), ["2", "3"])
            self.assertEqual(found("--agent", "Alice"), [])
            self.ok("rebuild")  # the index made anew finds the same
        exported = self.ok("export")
        other = os.path.join(self.directory, "other")
        self.ok("init", other, "--region", "file", "--log-size", "1M")
        self.ok("-C", other, "import", stdin=exported)
        kept = [{k: v for k, v in json.loads(line)["memory"].items() if k != "lsn"} for line in exported.splitlines()]
        again = [{k: v for k, v in line.items() if k != "lsn"} for line in self.lines("-C", other, "list")]
        self.assertEqual(again, kept)

    def test_bad_metadata_and_names_are_refused(self):
        for bad, words in (("[1]", "no object"), ("{", "JSON"), ('{"a":1,"a":2}', "twice"), ('{"a":' + "1" * 20000 + "}", "16384")):
            self.fails(USAGE, "add", "--metadata", bad, "text", says=("metadata", words))
        self.fails(USAGE, "add", "--agent", "a" * 256, "text", says="the agent's name has 256 bytes")
        self.assertEqual(self.lines("list"), [])

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
        self.fails(USAGE, "add", "--file", "no-such-file", says="no-such-file")
        self.fails(USAGE, "add", "--file", ".", says="directory")
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

    def test_a_lock_is_taken_renewed_and_released(self):
        taken = self.text("kv", "cas", "lock", "me", "--if-version", "0", "--expires", "60").strip()
        self.assertEqual(self.text("kv", "get", "lock", "--version").strip(), taken)
        renewed = self.text("kv", "cas", "lock", "me", "--if-version", taken, "--expires", "60").strip()
        self.fails(CONFLICT, "kv", "delete", "lock", "--if-version", taken, says=renewed)
        self.ok("kv", "delete", "lock", "--if-version", renewed)
        for command in (["cas", "lock", "me"], ["set", "lock", "me"]):
            result = self.fails(CONFLICT, "kv", *command, "--if-version", renewed, says=["no such key", renewed])
            self.assertNotIn(b"version 0", result.stderr)

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
        self.ok("stream", "append", "u", "x")
        self.assertEqual(self.text("stream", "list").splitlines()[2], "u\t1 entry\t1 byte")
        self.assertTrue(self.text("stream", "info", "u").startswith("1 entry, 1 byte, "))
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
        answer = json.loads(result.stdout)
        self.assertFalse(answer["ok"])
        self.assertNotEqual(answer.get("shm_free_bytes"), 0)
        self.assertEqual((len(answer["problems"]), result.stderr), (1, b""))
        for arguments in (["-C", "/nope"], []):
            result = self.run_roost("doctor", *arguments, cwd="/")
            self.assertEqual((result.returncode, result.stderr), (NO_ROOT, b""))
            self.assertEqual(result.stdout.count(b"problem"), 1)
            self.assertIn(b"roost init" if not arguments else b"roost -C /nope init", result.stdout)

    def test_doctor_says_what_it_did_not_look_at(self):
        self.assertIn("roost check", self.text("doctor"))

    def test_doctor_sees_that_the_log_is_damaged(self):
        for i in range(4):
            self.ok("add", "memory %d" % i)
        with open(os.path.join(self.root, "state.wal"), "r+b") as file:
            file.seek(8192 + 200)
            file.write(b"XXXX")
        for more in ([], ["--observe"]):
            result = self.run_roost("doctor", "--json", *more)
            self.assertEqual(result.returncode, CORRUPT, result.stdout)
            self.assertIn("writing is refused", json.loads(result.stdout)["problems"][0])
        self.fails(CORRUPT, "add", "x", says="nothing was added")

    def test_doctor_lists_regions_that_nobody_maps(self):
        name = "roost-" + os.urandom(16).hex()
        path = os.path.join("/dev/shm", name)
        with open(path, "wb") as file:
            file.write(b"x" * 4096)
        self.addCleanup(os.unlink, path)
        regions = [r["name"] for r in json.loads(self.run_roost("doctor", "--json").stdout)["unused_regions"]]
        if len(regions) < 64:  # more are not shown
            self.assertIn(name, regions)
        self.assertIn("left over", self.text("doctor"))

    def stopped_writer(self):
        """A process that is stopped while it holds the writer's role."""
        writer = self.start("add", "--json")
        busy = True

        def feed():
            try:
                while busy:
                    writer.stdin.write(b'{"text":"busy"}\n' * 100)
                    writer.stdin.flush()
            except (BrokenPipeError, ValueError):
                pass

        def drain():
            while os.read(writer.stdout.fileno(), 65536):
                pass

        threads = [threading.Thread(target=feed), threading.Thread(target=drain)]

        def end():
            nonlocal busy
            busy = False
            writer.kill()
            for thread in threads:
                thread.join()

        self.addCleanup(end)
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            writer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
            if json.loads(self.run_roost("--observe", "doctor", "--json").stdout).get("writer_pid") == writer.pid:
                return writer
            writer.send_signal(signal.SIGCONT)
        self.fail("it never held the role when it was stopped")

    def test_a_stopped_writer_is_named_and_writes_are_not_confirmed(self):
        writer = self.stopped_writer()
        result = self.run_roost("--observe", "doctor")
        self.assertEqual(result.returncode, TIMED_OUT, result.stdout)
        self.assertIn(b"process %d holds the writer's role and is stopped" % writer.pid, result.stdout)
        added = self.fails(TIMED_OUT, "--wait", "0.2", "add", "late", says=["add: not confirmed", "roost settle "])
        self.assertNotIn(b"nothing was added", added.stderr)
        self.fails(TIMED_OUT, "--wait", "0.2", "-C", ".roost", "kv", "set", "k", "v",
                   says=["kv set: not confirmed", "`roost -C .roost settle "])
        receipt = re.search(rb"roost settle (\d+:\d+)", added.stderr).group(1).decode()
        state = self.fails(TIMED_OUT, "--wait", "0.2", "state", "set", "owl", "--status", "x",
                           says=["not confirmed", "`roost state get owl`"])
        self.assertNotIn(b"receipt", state.stderr)
        writer.kill()
        writer.wait()
        self.assertIn(self.run_roost("settle", receipt).returncode, (OK, NOT_APPLIED))

    def test_rest_and_sync(self):
        self.ok("add", "--level", "process", "x")
        self.assertIn("on the disk", self.text("sync"))
        self.assertIn("rest", self.text("rest"))
        self.assertEqual((self.json("sync"), self.json("rest")), ({"ok": True}, {"ok": True}))

    def test_doctor_sees_loose_permissions(self):
        os.chmod(self.root, 0o777)
        result = self.run_roost("doctor")
        self.assertEqual(result.returncode, NOT_ALLOWED, result.stdout)
        self.assertIn(b"chmod", result.stdout)

    def test_settle(self):
        self.fails(USAGE, "settle", "nonsense", says="nonsense")
        self.fails(NOT_APPLIED, "settle", "1:1", says="never applied")

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
        self.assertIn("exported 2 memories, 5 keys, 4 stream entries, 1 state\n", self.text("export", "dump"))
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
        self.fails(USAGE, "import", "no-such-file", says="no-such-file")
        self.fails(USAGE, "export", "no/such/dir/file", says="no/such/dir")


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
