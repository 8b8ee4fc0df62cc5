#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_env.py: Roost in the places it is used in: users, namespaces, full and small file systems, copies, versions, planted files.

    test_env.py [NAME...]   run these tests, or all; exits 77 when nothing ran, the last line says what is missing
    test_env.py --plain     only those that need neither root nor anything installed
    test_env.py --list      the names

The command by ROOST_BIN (default build/roost), the helper process by ROOST_AGENT (default beside it, tests/env_agent). As root it
runs itself in a mount namespace of its own, so that nothing that it mounts is seen outside, and each test has its own /dev/shm.
NFS cannot be made here: that it is refused by name is tested where names are (tests/unit/test_os.c). Standard library only.
"""
import glob
import json
import os
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from xxh3 import xxh3_64  # noqa: E402

BINARY = os.path.abspath(os.environ.get("ROOST_BIN", "build/roost"))
AGENT = os.path.abspath(os.environ.get("ROOST_AGENT", os.path.join(os.path.dirname(BINARY), "tests", "env_agent")))
INSIDE = os.environ.get("ROOST_ENV_INSIDE") == "1"  # in a mount namespace of our own, as root
PATIENCE = 60  # seconds: a deadline for things that take milliseconds; only a hang meets it
WAIT_MS = 3000
USER, OTHER = 61234, 61235  # two users that nobody is
PAGE = 4096
SMALL = ("--log-size", "1M", "--chunk-size", "1M", "--arena-size", "1M")


def missing(word):
    """Is what a test needs there? root means: root, in a mount namespace of our own."""
    if word == "root":
        return not INSIDE
    if word == "/dev/fuse":
        return not os.path.exists(word)
    if word == "loop devices":
        return not os.path.exists("/dev/loop-control")
    if word == "time namespaces":
        return not os.path.exists("/proc/self/ns/time")
    return shutil.which(word) is None


def needs(*words):
    def mark(test):
        test.needs = words
        return test
    return mark


class Refused(Exception):
    """What the library answered with: number, name, detail, receipt."""

    def __init__(self, fields, before=()):
        self.code, self.name, self.detail = int(fields[1]), fields[2], fields[3]
        self.receipt = (int(fields[4]), int(fields[5]))
        self.before = before  # lines that came before it
        super().__init__(f"{self.name} ({self.code}): {self.detail}")


class Died(Exception):
    pass


class Agent:
    """One process with one root open (tests/env/agent.c)."""

    def __init__(self, case, *prefix, umask=-1):
        self.case = case
        self.process = subprocess.Popen([*prefix, AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, umask=umask)
        self.rest = b""
        case.addCleanup(self.end)

    def end(self):
        """Leaves in good order if it can; outside a namespace of our own nothing may stay in /dev/shm."""
        left = None
        if self.process.poll() is None:
            try:
                left = None if INSIDE else self.region()[0]
                self.process.stdin.close()
                self.process.wait(5)
            except (OSError, Died, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.process.stdout.close()
        if left and left.startswith("/dev/shm/"):
            self.case.leftovers.add(left)

    def tell(self, *fields):
        self.process.stdin.write("\t".join(str(field) for field in fields).encode() + b"\n")
        self.process.stdin.flush()

    def line(self, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"agent {self.process.pid} does not answer")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise Died(f"agent {self.process.pid} died: {self.process.wait()}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace").split("\t")

    def answer(self, patience=PATIENCE):
        """The fields after "ok"; lines of `run` before it are kept in .said."""
        self.said = []
        while True:
            fields = self.line(patience)
            if fields[0] == "ok":
                return fields[1:]
            if fields[0] == "error":
                raise Refused(fields, self.said)
            self.said.append(fields)

    def ask(self, *fields, patience=PATIENCE):
        self.tell(*fields)
        return self.answer(patience)

    def open(self, root, flags="", wait_ms=WAIT_MS):
        self.ask("open", root, wait_ms, flags)
        return self

    def append(self, text):
        return int(self.ask("append", text)[0])

    def all(self):
        """The first word of every memory."""
        return self.ask("all")

    def stats(self):
        return dict(field.split("=", 1) for field in self.ask("stats"))

    def pid(self):
        """Of the agent itself, where a namespace tool stands before it."""
        pid = self.process.pid
        while True:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().startswith("env_agent"):
                    return pid
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                children = file.read().split()
            if not children:
                raise Died("no agent below " + str(pid))
            pid = int(children[0])

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)
        self.process.wait(PATIENCE)

    def region(self):
        """(path, protection) of its region's mapping."""
        with open(f"/proc/{self.pid()}/maps", encoding="ascii") as file:
            for line in file:
                fields = line.split(None, 5)
                if len(fields) == 6 and ("/dev/shm/roost-" in fields[5] or re.search(r"/region(?: \(deleted\))?$", fields[5].strip())):
                    return fields[5].strip(), fields[1]
        return None, None


class Case(unittest.TestCase):
    needs = ()

    def setUp(self):
        lacking = [word for word in getattr(getattr(self, self._testMethodName), "needs", ()) if missing(word)]
        if lacking:
            self.skipTest("needs " + ", ".join(lacking))
        self.leftovers = set()
        self.addCleanup(self.sweep)
        self.directory = tempfile.mkdtemp(prefix="roost-env-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.root = os.path.join(self.directory, "root")
        if INSIDE:
            self.mount("-t", "tmpfs", "-o", "size=512m,mode=1777", "shm", "/dev/shm")

    def sweep(self):
        for path in self.leftovers:
            if os.path.exists(path):
                os.unlink(path)

    def mount(self, *arguments):
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False, timeout=PATIENCE)
        if done.returncode:
            raise unittest.SkipTest("needs mounts: " + done.stderr.decode(errors="replace").strip())
        self.addCleanup(subprocess.run, ["umount", "-l", arguments[-1]], capture_output=True, check=False)

    def run_roost(self, *arguments, prefix=(), **more):
        return subprocess.run([*prefix, BINARY, *arguments], capture_output=True, timeout=PATIENCE, check=False, **more)

    def ok(self, *arguments, **more):
        done = self.run_roost(*arguments, **more)
        self.assertEqual(done.returncode, 0, (arguments, done.stderr))
        return done.stdout.decode()

    def fails(self, *arguments, says=(), **more):
        done = self.run_roost(*arguments, **more)
        message = done.stderr.decode(errors="replace")
        self.assertGreater(done.returncode, 0, (arguments, done.returncode, message))
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, message)
        return message

    def init(self, root=None, *more):
        self.ok("-C", root or self.root, "init", *SMALL, *more)
        return root or self.root

    def agent(self, root=None, flags="", wait_ms=WAIT_MS, prefix=(), umask=-1):
        agent = Agent(self, *prefix, umask=umask)
        agent.open(root or self.root, flags, wait_ms)
        return agent

    def refuses(self, name, agent, *fields, says=()):
        with self.assertRaises(Refused) as caught:
            agent.ask(*fields)
        self.assertEqual(caught.exception.name, name, caught.exception)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, caught.exception.detail)
        return caught.exception

    def until(self, happened, what):
        deadline, pause = time.monotonic() + PATIENCE, threading.Event()
        while not happened():
            self.assertLess(time.monotonic(), deadline, what)
            pause.wait(0.01)

    def run_until_refused(self, agent, prefix, count, size, level=1):
        """Appends until it is refused: the words acknowledged, and the refusal (None: none)."""
        try:
            done = int(agent.ask("run", prefix, count, size, level)[0])
            return {f"{prefix}-{i}" for i in range(done)}, None
        except Refused as refused:
            done = int(refused.before[-1][1])
            return {f"{prefix}-{i}" for i in range(done)}, refused

    def keeps(self, agent, words):
        """Every one of the words is a memory, once."""
        found = agent.all()
        lost = sorted(set(words) - set(found))
        self.assertEqual(lost[:5], [], f"{len(lost)} acknowledged memories are lost")
        twice = sorted(word for word in set(words) if found.count(word) != 1) if len(found) != len(set(found)) else []
        self.assertEqual(twice[:5], [])

    def sound(self, root=None):
        self.ok("-C", root or self.root, "check")

    @staticmethod
    def as_user(uid):
        return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")


# ---- who may do what ---------------------------------------------------------------------------------------------------


class Users(Case):
    def test_observer_reads_and_watches(self):
        self.init()
        writer, observer = self.agent(), self.agent(flags="observe")
        number = writer.append("the heron sleeps standing")
        self.assertEqual(observer.ask("get", number), ["the heron sleeps standing"])
        self.assertEqual(observer.ask("search", "heron"), ["1"])
        self.assertEqual(observer.region()[1], "r--s")
        self.assertEqual(writer.stats()["participants"], "1")
        observer.ask("watch", "commits")
        observer.tell("wait", 20000)
        writer.append("another one")
        self.assertEqual(observer.answer()[:2], ["1", "2"])
        writer.ask("state", "crow", "thinking")
        self.assertEqual(observer.ask("stateof", "crow")[0], "thinking")
        self.refuses("ROOST_EROFS", observer, "append", "no", says="observer")
        self.refuses("ROOST_EROFS", observer, "set", "a", "b")
        self.refuses("ROOST_EROFS", observer, "state", "owl", "no")
        for request in ("checkpoint", "rest"):
            self.refuses("ROOST_EROFS", observer, request)

    def contents(self):
        """Every file of the root, and when it was last changed."""
        found = {}
        for folder, _, files in os.walk(self.root):
            for name in files:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[path] = (os.stat(path).st_mtime_ns, file.read())
        return found

    def test_observer_alone(self):
        """Nobody has the root open: the observer sees it as it was left, changes nothing, and changes over when somebody comes."""
        self.init()
        self.ok("-C", self.root, "add", "the heron sleeps standing")
        self.ok("-C", self.root, "kv", "set", "colour", "grey")
        before = self.contents()
        started = time.monotonic()
        observer = self.agent(flags="observe", wait_ms=300)
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(observer.ask("get", 1), ["the heron sleeps standing"])
        self.assertEqual(observer.ask("search", "heron"), ["1"])
        self.refuses("ROOST_EROFS", observer, "append", "no", says="observer")
        observer.ask("watch", "commits")
        self.assertEqual(observer.ask("wait", 300)[0], "0")
        self.assertEqual(self.contents(), before)
        for word in "second", "third":
            observer.tell("wait", 20000)
            writer = self.agent()
            number = writer.append(word)
            self.assertEqual(observer.answer()[0], "1")
            self.assertEqual(observer.ask("get", number), [word])
            writer.ask("close")
            # Its region has gone with it; what was read there is still there.
            self.assertEqual(observer.ask("get", number), [word])
        self.assertEqual(len(observer.all()), 3)
        # Short visits that no look ever coincides with are seen all the same.
        for count in range(4, 8):
            observer.tell("wait", 20000)
            self.ok("-C", self.root, "add", f"word {count}")
            self.assertIn(observer.answer()[0], ("1", "2"))
            self.until(lambda count=count: len(observer.all()) == count, "the observer is behind")

    def test_observer_alone_after_a_crash(self):
        self.init()
        writer = self.agent()
        numbers = [writer.append(f"word {i}") for i in range(100)]
        region = writer.region()[0]
        writer.process.kill()
        writer.process.wait()
        before = self.contents()
        for gone in False, True:
            if gone:
                os.unlink(region)
            observer = self.agent(flags="observe", wait_ms=300)
            self.assertEqual([observer.ask("get", number)[0] for number in numbers], [f"word {i}" for i in range(100)])
            self.assertEqual(self.contents(), before)

    @needs("root", "setpriv")
    def test_observer_alone_may_not_write(self):
        self.init()
        self.ok("-C", self.root, "add", "the heron sleeps standing")
        for folder, _, files in os.walk(self.root):
            os.chmod(folder, 0o555)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o444)
        observer = self.agent(flags="observe", prefix=self.as_user(USER))
        self.assertEqual(observer.ask("search", "heron"), ["1"])

    def test_observer_when_all_leave_and_come_back(self):
        self.init()
        writer, observer = self.agent(), self.agent(flags="observe")
        writer.append("first")
        observer.ask("watch", "commits")
        observer.tell("wait", 1500)
        writer.ask("close")
        try:
            observer.answer()
        except Refused as refused:
            self.assertEqual(refused.name, "ROOST_ENOENT")
        again = self.agent()
        number = again.append("second")
        self.until(lambda: observer.ask("wait", 2000)[0] != "0" or "second" in observer.all(), "the observer does not come back")
        self.assertEqual(observer.ask("get", number), ["second"])

    def test_observer_when_the_region_goes(self):
        self.init()
        writer, observer = self.agent(), self.agent(flags="observe")
        writer.append("first")
        observer.ask("watch", "commits")
        observer.tell("wait", 20000)
        os.unlink(writer.region()[0])
        number = writer.append("second")
        self.assertNotEqual(observer.answer()[0], "0")
        self.assertEqual(observer.ask("get", number), ["second"])

    @needs("root", "setpriv")
    def test_observer_of_another_user(self):
        self.init()
        for folder, _, files in os.walk(self.root):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
        writer = self.agent()
        number = writer.append("the heron sleeps standing")
        observer = self.agent(flags="observe", prefix=self.as_user(USER))
        self.assertEqual(observer.region()[1], "r--s")
        self.assertEqual(observer.ask("get", number), ["the heron sleeps standing"])
        observer.ask("watch", "commits")
        observer.tell("wait", 20000)
        writer.append("another")
        self.assertEqual(observer.answer()[:2], ["1", "2"])
        # New chunks and segments can be read too.
        writer.ask("run", "much", 40, 50000, 2)
        writer.ask("checkpoint")
        self.assertEqual(len(observer.all()), 42)
        self.assertEqual(observer.ask("search", "heron"), ["41"])
        self.assertIn("heron", self.ok("-C", self.root, "get", str(number), prefix=self.as_user(USER)))
        self.fails("-C", self.root, "add", "no", prefix=self.as_user(USER), says="may not be written")

    @needs("root", "setpriv")
    def test_permission_denied(self):
        self.init()
        writer = self.agent()
        writer.append("private")
        message = self.fails("-C", self.root, "list", prefix=self.as_user(USER), says=[self.root])
        self.assertRegex(message, "[Pp]ermission|may not")
        self.refuses("ROOST_EACCES", Agent(self, *self.as_user(USER)), "open", self.root, 500, "", says=self.root)
        # The folder open, the log not.
        os.chmod(self.root, 0o755)
        self.refuses("ROOST_EACCES", Agent(self, *self.as_user(USER)), "open", self.root, 500, "", says="state.wal")
        self.refuses("ROOST_EACCES", Agent(self, *self.as_user(USER)), "open", self.root, 500, "observe", says="state.wal")
        # The log readable, folders not; then the region not.
        os.chmod(os.path.join(self.root, "state.wal"), 0o644)
        self.refuses("ROOST_EACCES", Agent(self, *self.as_user(USER)), "open", self.root, 500, "observe", says="index")
        for folder in ("index", "blocks"):
            os.chmod(os.path.join(self.root, folder), 0o755)
        refused = self.refuses("ROOST_EACCES", Agent(self, *self.as_user(USER)), "open", self.root, 500, "observe")
        self.assertIn("region", refused.detail)

    @needs("root", "setpriv")
    def test_root_opens_a_users_root(self):
        os.chmod(self.directory, 0o777)
        self.ok("-C", self.root, "init", *SMALL, prefix=self.as_user(USER))
        mine = self.agent()
        mine.append("by-root")
        self.assertEqual(os.stat(mine.region()[0]).st_uid, USER)
        theirs = self.agent(prefix=self.as_user(USER))
        theirs.append("by-user")
        mine.ask("run", "more", 30, 50000, 2)
        mine.ask("checkpoint")
        self.assertEqual(len(theirs.all()), 32)
        mine.ask("close")
        theirs.ask("run", "later", 30, 50000, 1)
        theirs.ask("close")
        self.ok("-C", self.root, "add", "after", prefix=self.as_user(USER))
        self.assertEqual(len(self.agent(prefix=self.as_user(USER)).all()), 63)

    def test_umask(self):
        for umask, name in ((0o077, "tight"), (0o000, "loose")):
            root = os.path.join(self.directory, name)
            agent = self.agent(root, "create,small", umask=umask)
            agent.append("something")
            agent.ask("checkpoint")
            second = self.agent(root, umask=0o022)
            self.assertEqual(second.all(), ["something"])
            self.assertEqual(stat.S_IMODE(os.stat(root).st_mode), 0o700)
            self.assertEqual(stat.S_IMODE(os.stat(agent.region()[0]).st_mode), 0o600)
            for folder, _, files in os.walk(root):
                for file in files:
                    path = os.path.join(folder, file)
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0, path)

    @needs("root")
    def test_read_only_mount(self):
        self.init()
        self.ok("-C", self.root, "add", "the heron sleeps standing")
        view = os.path.join(self.directory, "view")
        os.mkdir(view)
        self.mount("--bind", self.root, view)
        subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True, timeout=PATIENCE)
        self.assertIn("heron", self.ok("--wait", "0.3", "-C", view, "get", "1"))
        self.fails("-C", view, "add", "no", says="may not be written")
        writer = self.agent()
        self.assertIn("heron", self.ok("-C", view, "get", "1"))
        observer = self.agent(view, "observe")
        observer.ask("watch", "commits")
        observer.tell("wait", 20000)
        writer.append("another")
        self.assertEqual(observer.answer()[:2], ["1", "2"])


# ---- versions ----------------------------------------------------------------------------------------------------------


class Versions(Case):
    def patch(self, path, offset, data):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def made(self):
        self.init()
        self.ok("-C", self.root, "add", "the heron sleeps standing")
        agent = self.agent()
        agent.ask("run", "word", 300, 400, 2)
        agent.ask("checkpoint")
        agent.ask("close")

    def test_log_of_another_version(self):
        self.made()
        path = os.path.join(self.root, "state.wal")
        with open(path, "rb") as file:
            slots = [bytearray(file.read(PAGE)) for _ in range(2)]
        for index, slot in enumerate(slots):
            struct.pack_into("<I", slot, 8, 7)
            struct.pack_into("<Q", slot, PAGE - 8, xxh3_64(bytes(slot[:PAGE - 8])))
            self.patch(path, index * PAGE, slot)
        before = open(path, "rb").read()
        for command in (["list"], ["add", "no"], ["init"]):
            self.fails("-C", self.root, *command, says=["version 7", "version 1"])
        self.refuses("ROOST_EVERSION", Agent(self), "open", self.root, 500, "", says=["version 7", "version 1"])
        self.refuses("ROOST_EVERSION", Agent(self), "open", self.root, 500, "create", says=["version 7", "version 1"])
        self.assertEqual(before, open(path, "rb").read())

    def test_manifest_of_another_version(self):
        self.made()
        path = os.path.join(self.root, "index", "MANIFEST")
        data = bytearray(open(path, "rb").read())
        size = 136
        struct.pack_into("<I", data, 8, 7)
        struct.pack_into("<Q", data, size - 8, 0)
        head = xxh3_64(bytes(data[:size]))
        struct.pack_into("<Q", data, size - 8, xxh3_64(bytes(data[size:]), head))
        whole = open(path, "rb").read()
        self.patch(path, 0, data)
        self.fails("-C", self.root, "list", says=["MANIFEST", "version 7", "version 1"])
        self.refuses("ROOST_EVERSION", Agent(self), "open", self.root, 500, "", says=["MANIFEST", "version 7", "version 1"])
        self.patch(path, 0, whole)
        self.assertEqual(len(self.agent().all()), 301)

    def test_segment_of_another_version(self):
        self.made()
        (path,) = glob.glob(os.path.join(self.root, "index", "seg-*.idx"))
        for offset, what in ((8, "format"), (12, "analysis")):
            head = bytearray(open(path, "rb").read(320))
            struct.pack_into("<I", head, offset, 7)
            struct.pack_into("<Q", head, 312, xxh3_64(bytes(head[:312])))
            self.patch(path, 0, head)
            agent = self.agent()
            self.assertEqual(len(agent.all()), 301, what)
            self.assertEqual(agent.ask("search", "standing"), ["1"])
            self.assertEqual(agent.ask("search", "heron"), ["301"])
            agent.append("after")
            agent.ask("close")
            self.sound()
            self.ok("-C", self.root, "forget", "302") if what == "format" else None
            self.ok("-C", self.root, "rebuild")
            (path,) = glob.glob(os.path.join(self.root, "index", "seg-*.idx"))

    def test_region_of_another_version(self):
        for kind in ("shm", "file"):
            root = self.init(os.path.join(self.directory, kind), "--region", kind)
            agent = self.agent(root)
            agent.append("something")
            path = agent.region()[0]
            right = open(path, "rb").read(16)
            self.patch(path, 8, struct.pack("<I", 7))
            self.fails("--wait", "0.5", "-C", root, "list", says=["version 7", "version 1"])
            self.refuses("ROOST_EVERSION", Agent(self), "open", root, 500, "observe", says=["version 7", "version 1"])
            self.patch(path, 8, right[8:12])
            self.assertEqual(self.agent(root).all(), ["something"])
            agent.append("more")


# ---- what others left under our name -----------------------------------------------------------------------------------


class Planted(Case):
    def name_of_region(self, root=None):
        """Its path, and its bytes while it was in use."""
        agent = self.agent(root)
        path = agent.region()[0]
        data = open(path, "rb").read(PAGE)
        agent.ask("close")
        self.until(lambda: not os.path.exists(path), "the region outlives its last user")
        return path, data

    def try_root(self, root=None, known=()):
        agent = self.agent(root)
        word = f"word{len(known)}"
        agent.append(word)
        self.assertEqual(self.agent(root).all(), [*known, word])
        self.assertFalse(os.path.islink(agent.region()[0]))
        return [*known, word]

    def test_planted(self):
        for kind in ("shm", "file"):
            root = self.init(os.path.join(self.directory, kind), "--region", kind)
            path, data = self.name_of_region(root)
            victim = (path if kind == "shm" else self.directory + "/") + "victim"
            self.addCleanup(lambda name=victim: os.path.exists(name) and os.unlink(name))
            content = b"\x55" * (1 << 20)
            old = bytearray(data)
            struct.pack_into("<Q", old, 80, 0x1234567890)  # another nonce
            plants = {
                "garbage": os.urandom(1 << 20), "empty": b"", "short": b"\0" * 100, "only the magic": data[:8] + os.urandom(1 << 20),
                "a header without a body": data, "an older nonce": bytes(old) + b"\0" * (8 << 20),
                "zeroes": b"\0" * (1 << 20),
            }
            known = []
            for name, plant in plants.items():
                with self.subTest(kind=kind, name=name):
                    with open(path, "wb") as file:
                        file.write(plant)
                    os.chmod(path, 0o600)
                    known = self.try_root(root, known)
                    self.close_all(path)
            for name in ("symbolic link", "dangling link", "hard link", "wrong mode", "fifo"):
                with self.subTest(kind=kind, name=name):
                    with open(victim, "wb") as file:
                        file.write(content)
                    if name == "symbolic link":
                        os.symlink(victim, path)
                    elif name == "dangling link":
                        os.symlink(victim + "-not-there", path)
                    elif name == "hard link":
                        os.chmod(victim, 0o600)
                        with open(victim, "r+b") as file:
                            file.write(data)  # as good as genuine
                        os.link(victim, path)
                    elif name == "fifo":
                        os.mkfifo(path, 0o600)
                    else:
                        with open(path, "wb") as file:
                            file.write(data)
                        os.chmod(path, 0o666)
                    expected = open(victim, "rb").read()
                    known = self.try_root(root, known)
                    self.close_all(path)
                    self.assertEqual(open(victim, "rb").read(), expected, "what the link leads to was changed")
                    self.assertFalse(os.path.exists(victim + "-not-there"))
                    os.unlink(victim)

    def close_all(self, path):
        self.doCleanupsOfAgents()
        if os.path.lexists(path):
            os.unlink(path)

    def doCleanupsOfAgents(self):
        kept = []
        for function, arguments, more in self._cleanups:
            if isinstance(getattr(function, "__self__", None), Agent):
                try:
                    function.__self__.ask("close")
                except (Refused, Died, BrokenPipeError):
                    pass
                function()
            else:
                kept.append((function, arguments, more))
        self._cleanups = kept

    def test_fifo_does_not_hang_an_observer(self):
        for kind in ("shm", "file"):
            root = self.init(os.path.join(self.directory, kind), "--region", kind)
            path, _ = self.name_of_region(root)
            os.mkfifo(path, 0o600)
            self.addCleanup(lambda name=path: os.path.lexists(name) and os.unlink(name))
            agent = Agent(self)
            agent.tell("open", root, 300, "observe")
            agent.answer(10)
            self.assertEqual(agent.all(), [])

    def test_directory_under_the_name(self):
        root = self.init()
        path, _ = self.name_of_region(root)
        os.mkdir(path)
        try:
            message = self.fails("--wait", "0.5", "-C", root, "add", "no")
            self.assertIn(path, message)
        finally:
            os.rmdir(path)
        self.ok("-C", root, "add", "yes")

    @needs("root", "setpriv")
    def test_another_users(self):
        path, data = self.name_of_region(self.init())
        for content in (data, b"", os.urandom(1 << 20)):
            with open(path, "wb") as file:
                file.write(content)
            os.chown(path, USER, USER)
            os.chmod(path, 0o666)
            self.ok("-C", self.root, "add", "word")
        # A user cannot remove another's file from a sticky folder: that must be said, with its name.
        os.chmod(self.directory, 0o777)
        theirs = os.path.join(self.directory, "theirs")
        self.ok("-C", theirs, "init", *SMALL, prefix=self.as_user(USER))
        agent = self.agent(theirs, prefix=self.as_user(USER))
        path = agent.region()[0]
        agent.ask("close")
        for mode in (0o600, 0o666):
            with open(path, "wb") as file:
                file.write(data)
            os.chown(path, OTHER, OTHER)
            os.chmod(path, mode)
            refused = self.fails("--wait", "1", "-C", theirs, "add", "no", prefix=self.as_user(USER), says=[path])
            self.assertNotIn("free some space", refused)
            self.assertEqual(open(path, "rb").read(), data)
        os.unlink(path)
        self.ok("-C", theirs, "add", "yes", prefix=self.as_user(USER))


# ---- copies, moves, removals -------------------------------------------------------------------------------------------


class Copies(Case):
    def test_copied_while_open_and_quiet(self):
        for kind in ("shm", "file"):
            root = self.init(os.path.join(self.directory, kind), "--region", kind)
            copy = root + "-copy"
            one = self.agent(root)
            words = {f"before-{i}" for i in range(50)}
            one.ask("run", "before", 50, 100, 1)
            shutil.copytree(root, copy)
            two = self.agent(copy)
            self.assertEqual(set(two.all()), words)
            one.ask("run", "original", 50, 100, 1)
            two.ask("run", "copied", 60, 100, 1)
            third = self.agent(copy)
            third.ask("run", "third", 5, 100, 1)
            self.assertNotEqual(one.region()[0], two.region()[0])
            self.assertEqual(third.region()[0], two.region()[0])
            self.assertNotEqual(one.stats()["uuid"], two.stats()["uuid"])
            self.assertEqual(third.stats()["uuid"], two.stats()["uuid"])
            mine = words | {f"original-{i}" for i in range(50)}
            theirs = words | {f"copied-{i}" for i in range(60)} | {f"third-{i}" for i in range(5)}
            self.assertEqual((set(one.all()), set(two.all())), (mine, theirs))
            for agent in (one, two, third):
                agent.ask("close")
            self.assertEqual(set(self.agent(root).all()), mine)
            self.assertEqual(set(self.agent(copy).all()), theirs)
            self.sound(root)
            self.sound(copy)

    def test_copied_under_load(self):
        self.init()
        writers = [self.agent() for _ in range(2)]
        worked = 0
        for attempt in range(4):
            copy = f"{self.root}-copy{attempt}"
            for index, writer in enumerate(writers):
                writer.tell("run", f"w{attempt}{index}", 400, 300, 2)
            shutil.copytree(self.root, copy)
            for writer in writers:
                self.assertEqual(writer.answer(), ["400"])
            try:
                agent = self.agent(copy)
                before = agent.all()
                agent.append("more")
                self.assertEqual(len(before), len(set(before)))
                self.assertEqual([word for word in before if word.startswith("!")], [])
                self.assertNotEqual(agent.stats()["uuid"], writers[0].stats()["uuid"])
                worked += 1
            except Refused as refused:
                self.assertIn(refused.name, ("ROOST_ECORRUPT", "ROOST_EDAMAGED"), refused)
        words = {f"w{attempt}{index}-{i}" for attempt in range(4) for index in range(2) for i in range(400)}
        self.keeps(writers[0], words)
        for writer in writers:
            writer.ask("close")
        self.keeps(self.agent(), words)
        self.sound()

    def test_moved_while_open(self):
        """Everything goes by descriptors, so a renamed folder is either found moved or goes on under its new name: never two roots."""
        self.init()
        one, two = self.agent(), self.agent()
        words = {"a", "b"}
        one.append("a")
        two.append("b")
        moved = self.root + "-moved"
        os.rename(self.root, moved)
        for agent, word in ((two, "c"), (one, "d")):
            try:
                agent.append(word)
                words.add(word)
            except Refused as refused:
                self.assertEqual(refused.name, "ROOST_EMOVED", refused)
        three = self.agent(moved)
        three.append("e")
        words.add("e")
        self.keeps(three, words)
        self.keeps(one, words - {"e"})
        for agent in (one, two, three):
            agent.ask("close")
        self.keeps(self.agent(moved), words)
        self.sound(moved)

    def test_removed_while_open(self):
        for holds in ("hold", ""):
            for again in (False, True):
                with self.subTest(holds=holds, again=again):
                    root = self.init(os.path.join(self.directory, f"removed{holds}{again}"))
                    one, two = self.agent(root, holds), self.agent(root)
                    first = one.append("a")
                    two.append("b")
                    region = one.region()[0]
                    self.leftovers.add(region)
                    shutil.rmtree(root)
                    if again:
                        self.init(root)
                        self.ok("-C", root, "add", "another root")
                    for agent in (two, one):
                        started = time.monotonic()
                        refused = self.refuses("ROOST_EMOVED", agent, "append", "c", says=[root])
                        self.assertRegex(refused.detail, "moved|removed|replaced")
                        self.assertLess(time.monotonic() - started, WAIT_MS / 1000 + 2)
                        try:
                            self.assertEqual(agent.ask("get", first), ["a"])
                        except Refused as read:
                            self.assertIn(read.name, ("ROOST_EMOVED", "ROOST_ECORRUPT", "ROOST_EIO"), read)
                    for agent in (two, one):
                        try:
                            agent.ask("close")
                        except Refused as closed:
                            self.assertIn(closed.name, ("ROOST_EMOVED", "ROOST_EINVAL"), closed)
                    self.assertFalse(os.path.exists(region), "a removed root's region stays in /dev/shm")
                    if again:
                        self.assertIn("another root", self.ok("-C", root, "list"))
                        self.sound(root)


    def test_emptied_and_made_anew(self):
        """In the same folder: whoever closes the old root leaves the new one's region alone."""
        for kind in ("shm", "file"):
            for holds in ("hold", ""):
                root = self.init(os.path.join(self.directory, kind + holds), "--region", kind)
                old = self.agent(root, holds)
                old.append("old")
                self.leftovers.add(old.region()[0])
                for name in os.listdir(root):
                    path = os.path.join(root, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                self.init(root, "--region", kind)
                new = self.agent(root)
                new.append("new")
                path = new.region()[0]
                inode = os.stat(path).st_ino
                try:
                    old.ask("close")
                except Refused as closed:
                    self.assertIn(closed.name, ("ROOST_EMOVED", "ROOST_EINVAL"), closed)
                self.assertEqual(os.stat(path).st_ino, inode)
                self.assertEqual(self.agent(root).all(), ["new"])
                new.append("newer")
                self.sound(root)


# ---- shared memory ---------------------------------------------------------------------------------------------------


class SharedMemory(Case):
    @needs("root")
    def test_64_mib_and_two_roots(self):
        self.mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "shm", "/dev/shm")
        roots = [os.path.join(self.directory, name) for name in ("one", "two")]
        for root in roots:
            self.ok("-C", root, "init")  # with the defaults
        agents = [[self.agent(root) for _ in range(2)] for root in roots]
        for pair in agents:
            for index, agent in enumerate(pair):
                agent.tell("run", f"w{index}", 4000, 1500, 2)
        for pair in agents:
            for agent in pair:
                self.assertEqual(agent.answer(), ["4000"])
        words = {f"w{index}-{i}" for index in range(2) for i in range(4000)}
        for root, pair in zip(roots, agents):
            self.keeps(pair[0], words)
            self.assertEqual(pair[1].ask("search", "heron"), ["8000"])
            path = pair[0].region()[0]
            self.assertLess(os.stat(path).st_blocks * 512, 28 << 20)
            for agent in pair:
                agent.ask("close")
            self.sound(root)

    @needs("root")
    def test_a_text_that_fitted_a_larger_region(self):
        """What indexes it does not fit the arenas of a small /dev/shm: said so, and nothing is lost."""
        text = " ".join(f"{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}{i // 676}" for i in range(190_000))[:1 << 20]
        sealed, logged = (os.path.join(self.directory, name) for name in ("sealed", "logged"))
        for root in (sealed, logged):
            self.ok("-C", root, "init")
        with subprocess.Popen([BINARY, "-C", logged, "add", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            for line in ("first", text, "last"):
                writer.stdin.write(json.dumps({"text": line}).encode() + b"\n")
                writer.stdin.flush()
                self.assertIn(b'"id"', writer.stdout.readline())
            writer.kill()  # so that it is in the log
        for line in ("first", text, "last"):
            self.ok("-C", sealed, "add", "--file", "-", input=line.encode())
        self.ok("-C", sealed, "checkpoint")
        self.mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "shm", "/dev/shm")
        self.fails("-C", logged, "list", says=["LSN 2", "/dev/shm is larger"])
        self.fails("-C", sealed, "rebuild", says=["blocks/chunk_0000.bin", "/dev/shm is larger", "Nothing was changed"])
        self.assertEqual(self.ok("-C", sealed, "search", "first", "--json").count('"id"'), 1)
        self.ok("-C", sealed, "check")
        self.mount("-t", "tmpfs", "-o", "size=512m,mode=1777", "shm", "/dev/shm")
        for root in (sealed, logged):
            self.ok("-C", root, "rebuild")
            self.ok("-C", root, "check")
            self.assertEqual(self.ok("-C", root, "get", "2").strip(), text.strip())

    @needs("root")
    def test_full(self):
        self.init()
        self.ok("-C", self.root, "init", "--exist-ok")
        for size in (64, 1024):
            with self.subTest(kib=size):
                self.mount("-t", "tmpfs", "-o", f"size={size}k,mode=1777", "shm", "/dev/shm")
                message = self.fails("-C", self.root, "add", "no", says=["/dev/shm", "--region file"])
                self.assertRegex(message, r"\d+ bytes")
                refused = self.refuses("ROOST_ENOSPC", Agent(self), "open", self.root, 1000, "", says=["/dev/shm", "--region file"])
                self.assertRegex(refused.detail, r"\d+ bytes")
                self.assertEqual(glob.glob("/dev/shm/roost-*"), [], "half a region is left")
        other = self.init(self.root + "-file", "--region", "file")
        self.ok("-C", other, "add", "yes")

    @needs("root")
    def test_nearly_full(self):
        """Room to begin, none to grow: whatever can be done is done, what cannot says ENOSPC, nobody dies of SIGBUS."""
        self.init()
        words, worked = set(), 0
        for kib in range(1200, 4400, 400):
            self.mount("-t", "tmpfs", "-o", f"size={kib}k,mode=1777", "shm", "/dev/shm")
            agents = []
            try:
                agents = [self.agent() for _ in range(3)]
                worked += 1
            except Refused as refused:
                self.assertEqual(refused.name, "ROOST_ENOSPC", refused)
            for index, agent in enumerate(agents):
                done, refused = self.run_until_refused(agent, f"k{kib}x{index}", 300, 3000, 2)
                words |= done
                if refused:
                    self.assertEqual(refused.name, "ROOST_ENOSPC", refused)
            for agent in agents:
                agent.ask("close")
        self.assertGreater(worked, 0)
        self.mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "shm", "/dev/shm")
        self.keeps(self.agent(), words)
        self.sound()

    @needs("root")
    def test_private(self):
        private = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64m private /dev/shm && exec "$0"')
        for flags in ("hold", ""):
            root = self.init(os.path.join(self.directory, "split" + flags))
            one = self.agent(root, flags)
            one.append("a")
            stranger = Agent(self, *private)
            if flags:  # the role is held: its memory is needed and cannot be seen
                started = time.monotonic()
                refused = self.refuses("ROOST_ESPLIT", stranger, "open", root, 1000, "", says=["/dev/shm", "--region file"])
                self.assertRegex(refused.detail, "container|cannot be seen")
                self.assertLess(time.monotonic() - started, 3)
                self.refuses("ROOST_ESPLIT", stranger, "open", root, 1000, "observe")
                one.append("b")
                self.keeps(one, {"a", "b"})
                continue
            # The role rests: whoever takes it may replace a region that it cannot see; nothing may be lost whatever happens.
            words = {"a"}
            try:
                stranger.open(root, "", 1000)
                for round_number in range(5):
                    for agent, name in ((stranger, "s"), (one, "o")):
                        try:
                            agent.append(f"{name}{round_number}")
                            words.add(f"{name}{round_number}")
                        except Refused as refused:
                            self.assertIn(refused.name, ("ROOST_ESPLIT", "ROOST_ETIMEDOUT"), refused)
                stranger.ask("close")
            except Refused as refused:
                self.assertEqual(refused.name, "ROOST_ESPLIT", refused)
            one.end()
            self.keeps(self.agent(root), words)
            self.sound(root)
        root = self.init(self.root, "--region", "file")
        one, stranger = self.agent(), Agent(self, *private).open(root)
        for index in range(20):
            one.append(f"a{index}")
            stranger.append(f"b{index}")
        self.assertEqual(len(one.all()), 40)
        self.assertEqual(one.region()[0], stranger.region()[0])

    def unlink_under(self, flags, who_first):
        self.init()
        agents = [self.agent(flags=flags if index == 0 else "") for index in range(3)]
        for index, agent in enumerate(agents):
            agent.append(f"before{index}")
        agents[1].ask("state", "crow", "thinking")
        words = {f"before{index}" for index in range(3)}
        path = agents[0].region()[0]
        os.unlink(path)
        order = agents[who_first:] + agents[:who_first]
        for index, agent in enumerate(order):
            agent.append(f"after{index}")
            words.add(f"after{index}")
        late = self.agent()
        late.append("late")
        words.add("late")
        for agent in [*agents, late]:
            self.keeps(agent, words)
            self.assertEqual(os.stat(agent.region()[0]).st_ino, os.stat(late.region()[0]).st_ino)
        self.assertEqual(late.ask("stateof", "crow")[0], "thinking")
        agents[1].ask("state", "crow", "awake")
        self.assertEqual(late.ask("stateof", "crow")[0], "awake")
        for agent in [*agents, late]:
            agent.ask("close")
        self.keeps(self.agent(), words)
        self.sound()

    def test_unlinked_while_resting(self):
        self.unlink_under("", 0)

    def test_unlinked_while_held_the_writer_first(self):
        self.unlink_under("hold", 0)

    def test_unlinked_while_held_a_client_first(self):
        self.unlink_under("hold", 1)

    def test_unlinked_and_only_new_processes_write(self):
        """An idle holder of the role has to notice by itself."""
        self.init()
        holder = self.agent(flags="hold")
        holder.append("a")
        os.unlink(holder.region()[0])
        late = self.agent(wait_ms=8000)
        late.append("b")
        self.keeps(holder, {"a", "b"})

    def test_unlinked_under_load(self):
        self.init()
        agents = [self.agent(wait_ms=10000) for _ in range(4)]
        words, doubtful = set(), []
        for round_number in range(5):
            path = agents[0].region()[0]
            for index, agent in enumerate(agents):
                agent.tell("run", f"r{round_number}w{index}", 300, 0, 2)
            self.assertEqual(agents[0].line()[0], "id")
            if not path.endswith("(deleted)"):
                os.unlink(path)
            for index, agent in enumerate(agents):
                try:
                    agent.answer()
                    words |= {f"r{round_number}w{index}-{i}" for i in range(300)}
                except Refused as refused:
                    self.assertIn(refused.name, ("ROOST_EUNKNOWN", "ROOST_ETIMEDOUT"), refused)
                    done = int(refused.before[-1][1])
                    words |= {f"r{round_number}w{index}-{i}" for i in range(done)}
                    doubtful.append((f"r{round_number}w{index}-{done}", refused.receipt))
            late = self.agent(wait_ms=10000)
            self.keeps(late, words)
            # Unknown is settled by its receipt, and that is the truth.
            for word, receipt in doubtful:
                try:
                    late.ask("settle", *receipt, 5000)
                    known = True
                except Refused as refused:
                    known = {"ROOST_ECANCELED": False}.get(refused.name)
                if known is not None:
                    self.assertEqual(word in late.all(), known, f"the receipt of {word} does not tell the truth")
            doubtful = []
            late.ask("close")
        for agent in agents:
            agent.ask("close")
        self.keeps(self.agent(), words)
        self.sound()


# ---- limits, full disks, many ------------------------------------------------------------------------------------------


class Limits(Case):
    def test_file_size_limit(self):
        self.init()
        limited, free = self.agent(wait_ms=10000), self.agent(wait_ms=10000)
        words = {"first"}
        limited.append("first")
        for limit in (8192, PAGE, 300 << 10, 0, 1 << 20, 1, 0):
            limited.ask("limit", limit)
            done, refused = self.run_until_refused(limited, f"l{limit}-{len(words)}", 300, 4000, 2)
            words |= done
            if refused:
                self.assertEqual(refused.name, "ROOST_EFBIG", refused)
                self.assertGreater(limit, 0)
            done, refused = self.run_until_refused(free, f"f{limit}-{len(words)}", 100, 4000, 2)
            words |= done
            self.assertIsNone(refused, "the process without a limit is hurt by the other's")
            self.keeps(free, words)
            self.keeps(limited, words)
        for agent in (limited, free):
            agent.ask("close")
        self.keeps(self.agent(), words)
        self.sound()

    def test_file_size_limit_hurts_nobody_else(self):
        """Whatever step of a commit a process's own limit stops (records, frame, header), others write on (R9)."""
        for limit in (1, PAGE, 2 * PAGE, 9000):
            root = self.init(os.path.join(self.directory, f"limit{limit}"))
            limited, other = self.agent(root), self.agent(root)
            limited.append("first")
            limited.ask("limit", limit)
            for _ in range(2):
                try:
                    limited.append("refused")
                except Refused as refused:
                    self.assertEqual(refused.name, "ROOST_EFBIG", (limit, refused))
            other.append("second")
            self.agent(root).append("third")
            limited.ask("limit", 0)
            limited.append("fourth")
            self.keeps(other, {"first", "second", "third", "fourth"})

    def test_file_size_limit_alone(self):
        self.init()
        agent = self.agent()
        words, refused = {"first"}, None
        agent.append("first")
        for limit in (1 << 20, 64 << 10, 1):
            agent.ask("limit", limit)
            done, refused = self.run_until_refused(agent, f"l{limit}", 2000, 4000, 2)
            words |= done
            self.assertIsNotNone(refused)
            self.assertEqual(refused.name, "ROOST_EFBIG", refused)
            self.keeps(agent, words)
            agent.ask("limit", 0)
            done, refused = self.run_until_refused(agent, f"after{limit}", 100, 4000, 1)
            words |= done
            self.assertIsNone(refused, "without the limit writing does not go on")
        # Whoever opens with a limit gets an error, not a signal.
        agent.ask("close")
        opener = Agent(self)
        opener.ask("limit", 100)
        try:
            opener.open(self.root)
            opener.append("more")
        except Refused as refused:
            self.assertEqual(refused.name, "ROOST_EFBIG", refused)
        self.assertIsNone(opener.process.poll())
        self.keeps(self.agent(), words)
        self.sound()

    def fill(self, filler):
        with open(filler, "wb", buffering=0) as file:
            for size in (1 << 20, PAGE):
                try:
                    while file.write(b"f" * size) == size:
                        pass
                except OSError:
                    pass

    def fill_up(self, point, region):
        root = self.init(os.path.join(point, "root"), "--region", region)
        one, two = self.agent(root, wait_ms=10000), self.agent(root, wait_ms=10000)
        words, refusals = {"first", "second"}, []
        first = one.append("first")
        second = two.append("second")
        for round_number in range(3):
            filler = os.path.join(point, f"filler{round_number}")
            self.fill(filler)
            for index, agent in enumerate((one, two)):
                done, refused = self.run_until_refused(agent, f"r{round_number}a{index}", 4000, 4000, 2)
                words |= done
                self.assertIsNotNone(refused, "the disk does not get full")
                self.assertEqual(refused.name, "ROOST_ENOSPC", refused)
                refusals.append(refused)
            for agent in (one, two):
                self.keeps(agent, words)
                self.assertEqual(set(agent.all()) - words, set(), "a refused write is there all the same")
                self.assertEqual(agent.ask("get", first), ["first"])
                self.assertEqual(int(agent.ask("search", "heron")[0]), len(words - {"first", "second"}))
            if round_number == 1:
                # What frees space goes on (design, R9: reserved space).
                two.ask("forget", second)
                words.discard("second")
                self.assertNotIn("second", one.all())
            os.unlink(filler)
            for index, agent in enumerate((one, two)):
                done, refused = self.run_until_refused(agent, f"after{round_number}a{index}", 20, 1000, 1)
                words |= done
                self.assertIsNone(refused)
        for agent in (one, two):
            agent.ask("close")
        self.keeps(self.agent(root), words)
        self.sound(root)

    @needs("root")
    def test_full_and_opened_anew(self):
        """Reading, and what frees space, is for processes that come when the disk is full, too."""
        point = os.path.join(self.directory, "point")
        os.mkdir(point)
        self.mount("-t", "tmpfs", "-o", "size=24m", "small", point)
        root = self.init(os.path.join(point, "root"))
        agent = self.agent(root)
        words = {"first", "second"}
        agent.append("first")
        agent.append("second")
        self.fill(os.path.join(point, "filler"))
        done, refused = self.run_until_refused(agent, "more", 4000, 4000, 2)
        words |= done
        self.assertEqual(refused.name, "ROOST_ENOSPC", refused)
        for killed in (False, True):
            agent.kill() if killed else agent.ask("close")
            self.assertEqual(self.ok("-C", root, "get", "1").strip(), "first")
            self.assertEqual(len(self.ok("-C", root, "search", "-n", "100000", "heron").splitlines()), len(words - {"first", "second"}))
            agent = self.agent(root)
            self.keeps(agent, words)
        self.ok("-C", root, "forget", "2")
        words.discard("second")
        self.assertNotIn("second", agent.all())
        os.unlink(os.path.join(point, "filler"))
        self.ok("-C", root, "add", "third")
        self.keeps(agent, words | {"third"})
        agent.ask("close")
        self.sound(root)

    @needs("root", "mkfs.ext4", "loop devices")
    def test_full_ext4(self):
        self.on_ext4("shm")

    @needs("root", "mkfs.ext4", "loop devices")
    def test_full_ext4_region_in_the_root(self):
        self.on_ext4("file")

    def on_ext4(self, region, test=None):
        image, point = os.path.join(self.directory, "image"), os.path.join(self.directory, "point")
        os.mkdir(point)
        with open(image, "wb") as file:
            file.truncate(40 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, timeout=PATIENCE)
        self.mount("-o", "loop", image, point)
        (test or self.fill_up)(point, region)

    @needs("root")
    def test_full_tmpfs(self):
        point = os.path.join(self.directory, "point")
        os.mkdir(point)
        self.mount("-t", "tmpfs", "-o", "size=24m", "small", point)
        self.fill_up(point, "shm")

    def forget_on_a_full_disk(self, point, region):
        """The reserve (R9): forgetting, deleting and checkpoints go on for as long as anybody wants, and adding waits for space."""
        root = self.init(os.path.join(point, "root"), "--region", region)
        agent = self.agent(root, wait_ms=10000)
        agent.ask("set", "colour", "grey")
        self.assertTrue(os.path.exists(os.path.join(root, "reserve")))
        filler = os.path.join(point, "filler")
        self.fill(filler)
        words, refused = self.run_until_refused(agent, "w", 20000, 2000, 2)
        self.assertEqual(refused.name, "ROOST_ENOSPC", refused)
        self.fill(filler + "2")
        for number in range(1, len(words) + 1, 2):
            agent.ask("forget", number)
        agent.ask("del", "colour")
        for _ in range(3):
            agent.ask("checkpoint")
        self.refuses("ROOST_ENOSPC", agent, "append", "more")
        agent.ask("close")
        other = self.agent(root, wait_ms=10000)
        self.assertEqual(len(other.all()), len(words) // 2)
        self.refuses("ROOST_ENOSPC", other, "append", "more")
        os.unlink(filler)
        os.unlink(filler + "2")
        other.append("room again")
        self.assertTrue(os.path.exists(os.path.join(root, "reserve")))
        other.ask("close")
        self.sound(root)

    @needs("root")
    def test_forget_on_a_full_tmpfs(self):
        point = os.path.join(self.directory, "point")
        os.mkdir(point)
        self.mount("-t", "tmpfs", "-o", "size=48m", "small", point)
        self.forget_on_a_full_disk(point, "shm")

    @needs("root", "mkfs.ext4", "loop devices")
    def test_forget_on_a_full_ext4_region_in_the_root(self):
        self.on_ext4("file", self.forget_on_a_full_disk)

    @needs("root")
    def test_no_space_to_make_a_root(self):
        point = os.path.join(self.directory, "point")
        os.mkdir(point)
        self.mount("-t", "tmpfs", "-o", "size=512k", "small", point)
        root = os.path.join(point, "root")
        message = self.fails("-C", root, "init", *SMALL)
        self.assertRegex(message, "[Nn]o space")
        self.assertFalse(os.path.exists(os.path.join(root, "state.wal")))
        subprocess.run(["mount", "-o", "remount,size=24m", point], check=True, timeout=PATIENCE)
        self.ok("-C", root, "init", *SMALL)
        self.ok("-C", root, "add", "yes")

    def test_300_participants(self):
        self.init()
        agents = [Agent(self) for _ in range(300)]
        for agent in agents:
            agent.tell("open", self.root, 50000, "")
        for agent in agents:
            agent.answer()
        for index, agent in enumerate(agents):
            agent.tell("run", f"a{index}", 3, 0, 1)
        for agent in agents:
            self.assertEqual(agent.answer(), ["3"])
        words = {f"a{index}-{i}" for index in range(300) for i in range(3)}
        self.keeps(agents[0], words)
        self.keeps(agents[299], words)
        self.assertGreaterEqual(int(agents[0].stats()["participants"]), 240)
        # Beyond 240 a state cannot be owned for good, and is not silently lost.
        owners = 0
        for index in range(0, 300, 13):
            try:
                agents[index].ask("state", f"agent{index}", "here")
                self.assertEqual(agents[3].ask("stateof", f"agent{index}")[0], "here")
                owners += 1
            except Refused as refused:
                self.assertEqual(refused.name, "ROOST_EAGAIN", refused)
                self.assertIn("240", refused.detail)
        self.assertGreater(owners, 10)
        # Some die, others close, all at once: the rest goes on.
        for agent in agents[::3]:
            agent.process.kill()
        for agent in agents[1::3]:
            agent.tell("close")
        for index, agent in enumerate(agents[2::3]):
            agent.tell("append", f"late{index}")
        for agent in agents[1::3] + agents[2::3]:
            agent.answer()
        words |= {f"late{index}" for index in range(100)}
        self.keeps(agents[2], words)
        for agent in agents[2::3]:
            agent.ask("close")
        self.keeps(self.agent(), words)
        self.sound()


# ---- namespaces, file systems ------------------------------------------------------------------------------------------


class Places(Case):
    @needs("root", "unshare")
    def test_pid_namespaces(self):
        self.init()
        apart = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        one, two = self.agent(flags="hold", prefix=apart), self.agent(prefix=apart)
        words = set()
        for round_number in range(3):
            one.append(f"one{round_number}")
            two.append(f"two{round_number}")
            words |= {f"one{round_number}", f"two{round_number}"}
            self.assertEqual(one.stats()["own"], "1")
            one.kill()
            started = time.monotonic()
            two.append(f"heir{round_number}")
            words.add(f"heir{round_number}")
            self.assertLess(time.monotonic() - started, 2, "the takeover takes long")
            self.keeps(two, words)
            one = self.agent(flags="hold", prefix=apart)
            self.until(lambda: two.stats()["own"] == "0" or two.stats()["writer"] == "0", "the role never rests")
        self.keeps(one, words)
        for agent in (one, two):
            agent.ask("close")
        self.keeps(self.agent(), words)
        self.sound()

    @needs("root", "unshare", "time namespaces")
    def test_time_namespaces(self):
        """Monotonic clocks that differ by days: deadlines and waits are each process's own."""
        self.init()
        shifts = [("unshare", "--time", "--fork", "--kill-child", f"--monotonic={days * 86400}") for days in (0, 30)]
        here = self.agent()
        ahead = [self.agent(prefix=shift) for shift in shifts]
        for index, agent in enumerate([here, *ahead]):
            agent.append(f"a{index}")
        ahead[1].ask("watch", "commits")
        ahead[1].tell("wait", 20000)
        here.append("b")
        self.assertEqual(ahead[1].answer()[0], "1")
        started = time.monotonic()
        self.assertEqual(ahead[1].ask("wait", 300)[0], "0")
        self.assertLess(time.monotonic() - started, 5)
        self.keeps(ahead[1], {"a0", "a1", "a2", "b"})

    @needs("root", "bindfs", "/dev/fuse", "strace")
    def test_fuse_is_refused_before_flock(self):
        below, fuse = os.path.join(self.directory, "below"), os.path.join(self.directory, "fuse")
        os.mkdir(below)
        os.mkdir(fuse)
        root = self.init(os.path.join(below, "root"))
        self.ok("-C", root, "add", "something")
        done = subprocess.run(["bindfs", below, fuse], capture_output=True, check=False, timeout=PATIENCE)
        if done.returncode:
            self.skipTest("needs FUSE mounts: " + done.stderr.decode(errors="replace").strip())
        self.addCleanup(subprocess.run, ["umount", "-l", fuse], capture_output=True, check=False)
        trace = os.path.join(self.directory, "trace")
        seen = os.path.join(fuse, "root")
        for command in (["list"], ["add", "no"], ["init"]):
            message = self.fails("-C", seen, *command, prefix=("strace", "-f", "-o", trace, "-e", "trace=flock,fcntl"), says=[seen])
            self.assertRegex(message, "(?i)fuse")
            with open(trace, encoding="utf-8", errors="replace") as file:
                calls = file.read()
            self.assertNotIn("flock(", calls)
            self.assertNotIn("F_OFD_SETLK", calls)
        self.refuses("ROOST_EFILESYSTEM", Agent(self), "open", seen, 500, "create", says=["fuse"])
        self.refuses("ROOST_EFILESYSTEM", Agent(self), "open", seen, 500, "observe", says=["fuse"])
        fresh = os.path.join(fuse, "fresh")
        self.fails("-C", fresh, "init")
        self.assertFalse(os.path.exists(os.path.join(below, "fresh", "state.wal")))
        self.assertIn("something", self.ok("-C", root, "list"))


# ---- running -----------------------------------------------------------------------------------------------------------


class Result(unittest.TextTestResult):
    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.stream.writeln(f"skipped: {test.id().split('.', 1)[1]} {reason}")


def all_tests():
    loader = unittest.TestLoader()
    for case in (Users, Versions, Planted, Copies, SharedMemory, Limits, Places):
        for name in loader.getTestCaseNames(case):
            yield f"{case.__name__}.{name}", case(name), getattr(getattr(case, name), "needs", ())


def main(arguments):
    tests = list(all_tests())
    if "--list" in arguments:
        print("\n".join(name for name, _, _ in tests))
        return 0
    if "--plain" in arguments:
        tests = [entry for entry in tests if not entry[2]]
        arguments = [word for word in arguments if word != "--plain"]
    if arguments:
        unknown = [word for word in arguments if not any(word in name for name, _, _ in tests)]
        if unknown:
            print("no such test:", *unknown, file=sys.stderr)
            return 2
        whole = {name for name, _, _ in tests} & set(arguments)
        tests = [entry for entry in tests if entry[0] in whole or any(word in entry[0] for word in arguments if word not in whole)]
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2 if len(tests) > 1 else 1).run(
        unittest.TestSuite(test for _, test, _ in tests))
    if result.wasSuccessful() and len(result.skipped) == len(tests):
        print(*sorted({reason for _, reason in result.skipped}), sep=", ", file=sys.stderr)
        return 77
    return 0 if result.wasSuccessful() else 1


def go_inside(arguments):
    """Again, in a mount namespace of our own; where that is not to be had, what needs it is skipped."""
    if INSIDE or os.geteuid() != 0 or "--list" in arguments or not shutil.which("unshare"):
        return
    own = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "probe", "/dev/shm"], capture_output=True, check=False).returncode == 0:
        os.environ["ROOST_ENV_INSIDE"] = "1"
        os.execvp("unshare", [*own, sys.executable, os.path.abspath(__file__), *arguments])


if __name__ == "__main__":
    go_inside(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
