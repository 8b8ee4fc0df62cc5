#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_examples.py: the programs of examples/ that live on an event loop, run for real: together, killed, and talked to badly.

ROOST_EXAMPLES names the folder with the programs, ROOST_LIBRARY the library, ROOST_BIN the command; ROOST_SANITIZED is set where they were
built with sanitizers. With --agent ROOT NAME it is itself an agent, for the tests: each line of its input, a JSON object with status, count
and extra, becomes its state. With --writer ROOT it prints who holds the writer's role.
"""
import ctypes
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "examples"))
import asyncio_watch as library  # noqa: E402: its ctypes serve here too

PATIENCE = 20
SCRIPT = str(TOP / "examples/asyncio_watch.py")


def python_environment():
    """For children in Python that load the library: a sanitizer's own library has to be there first. None: that is not possible."""
    environment = dict(os.environ)
    if environment.get("ROOST_SANITIZED"):
        needed = subprocess.run(["ldd", environment["ROOST_LIBRARY"]], capture_output=True, text=True, timeout=PATIENCE).stdout
        found = re.findall(r"=> (\S*/lib(?:asan|ubsan)\.so\S*)", needed)
        if not found:
            return None
        environment["LD_PRELOAD"] = " ".join(found)
        environment["ASAN_OPTIONS"] = "detect_leaks=0:" + environment.get("ASAN_OPTIONS", "")  # Python's own
    return environment


def program(name):
    return str(pathlib.Path(os.environ["ROOST_EXAMPLES"]) / name)


def agent(path, name):
    roost = library.load()
    roost.roost_state_publish.argtypes = [ctypes.c_void_p, ctypes.POINTER(library.State), ctypes.c_void_p]
    handle = ctypes.c_void_p()
    if roost.roost_open(os.fsencode(path), ctypes.byref(library.Options(flags=library.OPEN_CREATE)), ctypes.byref(handle)) < 0:
        sys.exit(roost.roost_error_detail().decode())
    for line in sys.stdin:
        given = json.loads(line)
        extra = [(library.Root.bytes(key), library.Root.bytes(value)) for key, value in given.get("extra", {}).items()]
        array = (library.Extra * len(extra))(*(library.Extra(key, value) for key, value in extra))
        name_bytes, status = library.Root.bytes(name), library.Root.bytes(given["status"])
        state = library.State(name=name_bytes, status=status, active_memory_count=given.get("count", 0), extra=array,
                              extra_count=len(extra))
        if roost.roost_state_publish(handle, ctypes.byref(state), None) < 0:
            sys.exit(roost.roost_error_detail().decode())
        print("published", flush=True)
    roost.roost_close(handle)


class Stats(library.Sized):
    _fields_ = [("size", ctypes.c_size_t), ("counts", ctypes.c_uint64 * 17), ("writer_pid", ctypes.c_int32), ("own_role", ctypes.c_int32)]


def print_writer(path):
    roost, handle, stats = library.load(), ctypes.c_void_p(), Stats()
    roost.roost_stats.argtypes = [ctypes.c_void_p, ctypes.POINTER(Stats)]
    options = library.Options(flags=library.OPEN_OBSERVE)
    assert roost.roost_open(os.fsencode(path), ctypes.byref(options), ctypes.byref(handle)) == 0
    assert roost.roost_stats(handle, ctypes.byref(stats)) == 0
    roost.roost_close(handle)
    print(stats.writer_pid)


PYTHON_ENVIRONMENT = python_environment()


class Process:
    """A process whose lines are read with a deadline."""

    def __init__(self, *command):
        environment = PYTHON_ENVIRONMENT if command[0] == sys.executable else None
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment)
        self.rest = b""
        self.ended = False
        self.lines = []

    def say(self, text):
        self.popen.stdin.write(text.encode())

    def line(self):
        """The next line; None at the end."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.rest:
            if self.ended:
                return None
            if not select.select([self.popen.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{self.popen.args} says nothing; before: {self.lines[-5:]}")
            got = os.read(self.popen.stdout.fileno(), 65536)
            self.ended = not got
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        self.lines.append(line.decode())
        return self.lines[-1]

    def until(self, wanted):
        for line in iter(self.line, None):
            if wanted(line):
                return line
        raise AssertionError(f"{self.popen.args} ended: {self.lines[-5:]}")

    def end(self):
        """Its input ends; its exit status, after its last line."""
        self.popen.stdin.close()
        for _ in iter(self.line, None):
            pass
        self.popen.stdout.close()
        return self.popen.wait(PATIENCE)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(PATIENCE)
        self.popen.stdin.close()
        self.popen.stdout.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="roost-examples-")
        self.addCleanup(self.folder.cleanup)
        self.root = str(pathlib.Path(self.folder.name) / "root")
        self.run_command("init")
        self.addCleanup(self.run_command, "stat")  # the last one to close takes the shared memory of those that were killed away

    def run_command(self, *arguments):
        done = subprocess.run([os.environ["ROOST_BIN"], "--root", self.root, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def start(self, *command):
        process = Process(*command)
        self.addCleanup(process.kill)
        return process

    def run_python(self, *arguments, **options):
        self.need_python()
        return subprocess.run([sys.executable, *arguments], capture_output=True, timeout=PATIENCE, env=PYTHON_ENVIRONMENT, **options)

    def need_python(self):
        if PYTHON_ENVIRONMENT is None:
            self.skipTest("Python cannot load a library with this sanitizer")

    def start_agent(self, name):
        self.need_python()
        return self.start(sys.executable, __file__, "--agent", self.root, name)

    @staticmethod
    def publish(process, **state):
        process.say(json.dumps(state) + "\n")
        process.until(lambda line: line == "published")


class TestFlock(Case):
    def test_all_tasks_are_reviewed(self):
        memories = 0
        for tasks, refused in ((20, 4), (7, 2), (1, 1), (200, 40)):
            done = subprocess.run([program("flock"), self.root, str(tasks)], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            lines = done.stdout.splitlines()
            found = re.fullmatch(r"(\d+) tasks: (\d+) approved, (\d+) sent back; ada did (\d+), bob did (\d+)", lines[-1])
            self.assertEqual([int(found[1]), int(found[2]), int(found[3])], [tasks, tasks, refused])
            self.assertEqual(int(found[4]) + int(found[5]), tasks + refused)
            if tasks > 1:
                self.assertTrue(int(found[4]) and int(found[5]), "both have worked")
            approved = [line for line in lines if line.startswith("reviewer approves")]
            self.assertEqual(len({re.search(r"task (\d+)", line)[1] for line in approved}), tasks)
            self.assertEqual(sum(line.startswith("planner gives") for line in lines), tasks + refused)
            memories += tasks
            self.assertEqual(len(self.run_command("list", "--json").splitlines()), memories)
        states = self.run_command("state", "list")
        for name in ("planner", "ada", "bob", "reviewer"):
            self.assertIn(name, states)

    def test_a_second_flock_is_told_who_is_there(self):
        ada = self.start_agent("ada")
        self.publish(ada, status="idle")
        done = subprocess.run([program("flock"), self.root], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "ada: publishing the state: .*ada")


class TestJobs(Case):
    def results(self):
        listed = subprocess.run([program("jobs"), self.root, "list"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        return [re.fullmatch(r"(\d+) (.*): (?:done by process (\d+)|open)", line).groups() for line in listed.stdout.splitlines()]

    def add(self, count):
        subprocess.run([program("jobs"), self.root, "add", *(f"job {i}" for i in range(count))], check=True, timeout=PATIENCE)

    def test_a_killed_runner_leaves_nothing_undone(self):
        self.add(30)
        self.assertEqual([row[2] for row in self.results()], [None] * 30)
        runners = [self.start(program("jobs"), self.root, "run", "100", "600") for _ in range(4)]
        victim = runners.pop(0)
        for _ in range(3):
            claimed = victim.until(lambda line: line.startswith("claimed")).split()[1]
        victim.kill()
        killed = time.monotonic()
        for runner in runners:
            self.assertEqual(runner.end(), 0)
        print(f"jobs: all done {time.monotonic() - killed:.2f} s after a runner was killed", file=sys.stderr)
        rows = self.results()
        self.assertEqual([row[:2] for row in rows], [(str(i), f"job {i}") for i in range(30)])
        by_whom = {row[0]: int(row[2]) for row in rows}
        self.assertNotEqual(by_whom[claimed], victim.popen.pid)
        done = []
        for runner in [victim, *runners]:
            own = [line.split()[1] for line in runner.lines if line.startswith("done")]
            done += own
            for job in own:
                self.assertEqual(by_whom[job], runner.popen.pid)
        self.assertEqual(sorted(done, key=int), [str(i) for i in range(30)])  # each by one, and once

    def test_who_was_stopped_for_too_long_stores_nothing(self):
        self.add(1)
        first = self.start(program("jobs"), self.root, "run", "900", "1500")
        first.until(lambda line: line == "claimed 0")
        # Who stops while it holds the writer's role stops everybody's writes; it rests when there is nothing to write.
        deadline = time.monotonic() + PATIENCE
        while self.run_python(__file__, "--writer", self.root).stdout != b"0\n":
            self.assertLess(time.monotonic(), deadline)
        first.popen.send_signal(signal.SIGSTOP)
        second = self.start(program("jobs"), self.root, "run", "10", "1500")
        self.assertEqual(second.end(), 0)
        self.assertEqual(second.lines, ["claimed 0", "done 0", "all done, 1 here"])
        first.popen.send_signal(signal.SIGCONT)
        self.assertEqual(first.end(), 0)
        self.assertEqual(first.lines, ["claimed 0", "lost 0", "all done, 0 here"])
        self.assertEqual([int(row[2]) for row in self.results()], [second.popen.pid])


class Events:
    """A browser that listens: a socket, and what it was told of each agent."""

    def __init__(self, port, receive_size=0):
        self.socket = socket.socket()
        if receive_size:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_size)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self.rest = b""
        self.agents = {}
        self.path = None

    def block(self):
        while b"\n\n" not in self.rest:
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError
            self.rest += got
        block, self.rest = self.rest.split(b"\n\n", 1)
        return block.decode()

    def until(self, wanted):
        """Reads until wanted(agents); how many seconds that took."""
        began = time.monotonic()
        while not wanted(self.agents):
            if time.monotonic() - began > PATIENCE:
                raise AssertionError(f"not seen: {self.agents}")
            lines = self.block().split("\n")
            if "event: state" in lines:
                state = json.loads(lines[lines.index("event: state") + 1].removeprefix("data: "))
                self.agents[state["name"]] = state
            if "event: root" in lines:
                self.path = json.loads(lines[lines.index("event: root") + 1].removeprefix("data: "))["path"]
        return time.monotonic() - began


class TestDashboard(Case):
    def setUp(self):
        super().setUp()
        self.dashboard = self.start(program("dashboard"), self.root)
        self.port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", self.dashboard.line())[1])

    def tearDown(self):
        self.dashboard.popen.send_signal(signal.SIGTERM)
        self.assertEqual(self.dashboard.end(), 0)

    def events(self, receive_size=0):
        events = Events(self.port, receive_size)
        self.addCleanup(events.socket.close)
        return events

    def ask(self, request):
        """The whole answer to some bytes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = b""
            while got := connection.recv(65536):
                answer += got
            return answer.decode()

    def get(self, path, method="GET", host=None):
        return self.ask(f"{method} {path} HTTP/1.1\r\nAccept: */*\r\nHost: {host or f'localhost:{self.port}'}\r\n\r\n".encode())

    def test_what_agents_do_is_seen_within_a_second(self):
        heron, owl = self.start_agent("heron"), self.start_agent("owl")
        self.publish(heron, status="idle", count=3)
        first = self.events()
        first.until(lambda agents: "heron" in agents)
        self.assertEqual(first.path, os.path.realpath(self.root))
        self.assertEqual((first.agents["heron"]["alive"], first.agents["heron"]["count"]), ("yes", "3"))
        self.assertLess(abs(first.agents["heron"]["time_ms"] / 1000 - time.time()), 30)
        second = self.events()
        second.until(lambda agents: "heron" in agents)
        took = []
        for i in range(10):
            heron.say(json.dumps({"status": f"step {i}", "count": 100 + i}) + "\n")
            took.append(max(events.until(lambda agents, i=i: agents["heron"]["status"] == f"step {i}") for events in (first, second)))
        print(f"dashboard: a new state is seen after {sorted(took)[5] * 1000:.1f} ms, {max(took) * 1000:.1f} ms at most", file=sys.stderr)
        self.assertLess(max(took), 1)
        odd = '"quoted" \\ \t<b>bold</b>\nline \u00e4\u2028\U0001f989 \x7f'
        self.publish(owl, status="odd", extra={"model": odd, "\"": "", "second": "2"})
        first.until(lambda agents: "owl" in agents)
        self.assertEqual(first.agents["owl"]["extra"], [["model", odd], ["\"", ""], ["second", "2"]])
        heron.kill()
        gone = first.until(lambda agents: agents["heron"]["alive"] == "no")
        print(f"dashboard: a killed agent is shown as gone after {gone * 1000:.1f} ms", file=sys.stderr)
        self.assertLess(gone, 1)
        self.assertEqual(first.agents["heron"]["status"], "step 9")
        self.assertEqual(first.agents["owl"]["alive"], "yes")
        self.run_command("state", "set", "nobody", "--status", "set by hand")
        second.until(lambda agents: "nobody" in agents)
        self.assertEqual(second.agents["nobody"]["alive"], "nobody")
        third = self.events()
        third.until(lambda agents: len(agents) == 3)
        self.assertEqual(third.agents["heron"]["alive"], "no")

    def test_bad_clients_get_errors_and_hurt_nobody(self):
        heron, listener = self.start_agent("heron"), self.events()
        self.publish(heron, status="idle")
        listener.until(lambda agents: "heron" in agents)
        page = self.get("/")
        self.assertTrue(page.startswith("HTTP/1.1 200 "))
        self.assertEqual(page.split("\r\n\r\n", 1)[1], (TOP / "examples/dashboard.html").read_text(encoding="utf-8"))
        answers = {
            "404": [self.get("/nothing"), self.get("/../etc/passwd"), self.get("/events/"), self.get("/?x")],
            "405": [self.get("/", "POST"), self.get("/events", "HEAD")],
            "421": [self.get("/events", host="elsewhere.example"), self.get("/", host=f"localhost:{self.port}0"),
                    self.get("/", host="x\r\nx:"), self.ask(b"GET / HTTP/1.1\r\n\r\n")],
            "400": [self.ask(request) for request in (
                b"\0\1\2\3", b"hello\r\n\r\n", b"\r\n\r\n", os.urandom(7000) + b"\0", b"GET / HTTP/9.9\r\n\r\n",
                b"GET  HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1x\r\n\r\n",
                b"GET http://x/ HTTP/1.1\r\n\r\n", b"GET /" + 300 * b"x" + b" HTTP/1.1\r\n\r\n")],
            "431": [self.ask(b"GET / HTTP/1.1\r\n" + 100000 * b"x: y\r\n"), self.ask(1000000 * b"x")],
        }
        for status, texts in answers.items():
            for text in texts:
                self.assertTrue(text.startswith(f"HTTP/1.1 {status} "), (status, text))
        # In pieces, and followed by more than was asked.
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in f"GET /x HTTP/1.1\r\nHOST:127.0.0.1:{self.port}\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode():
                connection.sendall(bytes([byte]))
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 404 "))
        # Many that say nothing; those that are too many are hung up on, and there is room again when they have left.
        silent = [socket.create_connection(("127.0.0.1", self.port), PATIENCE) for _ in range(40)]
        self.assertEqual(silent[-1].recv(1), b"")
        self.publish(heron, status="still here")
        listener.until(lambda agents: agents["heron"]["status"] == "still here")
        for connection in silent:
            connection.close()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.get("/").startswith("HTTP/1.1 200 "):
                    break
            except ConnectionError:
                pass
            self.assertLess(time.monotonic(), deadline)

    def resident(self):
        status = pathlib.Path(f"/proc/{self.dashboard.popen.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    def test_who_does_not_read_is_dropped(self):
        agents = [self.start_agent(f"agent {i}") for i in range(8)]
        for process in agents:
            self.publish(process, status="idle")
        fast = self.events()
        fast.until(lambda known: len(known) == 8)
        before = self.resident()
        slow = [self.events(receive_size=4096) for _ in range(4)]
        for connection in slow:
            connection.block()  # it has begun to listen; from here on it reads nothing
        for i in range(60):
            for process in agents:
                self.publish(process, status=f"round {i}", extra={"filler": 3500 * "x"})
            fast.until(lambda known, i=i: all(state["status"] == f"round {i}" for state in known.values()))
        for connection in slow:
            size = 0
            try:
                while got := connection.socket.recv(65536):
                    size += len(got)
            except ConnectionResetError:
                pass
            self.assertLess(size, 60 * 8 * 3500)
        grown = self.resident() - before
        print(f"dashboard: grew by {grown} KiB", file=sys.stderr)
        if not os.environ.get("ROOST_SANITIZED"):
            self.assertLess(grown, 8192)
        again = self.events()
        again.until(lambda known: len(known) == 8 and all(state["status"] == "round 59" for state in known.values()))


class TestWatchers(Case):
    def test_every_entry_is_seen_by_all_in_one_order(self):
        self.need_python()
        count = 300
        talkers = [self.start(program("epoll"), self.root, "talk"), self.start(program("epoll"), self.root, "talk"),
                   self.start(sys.executable, SCRIPT, self.root, "talk"), self.start(sys.executable, SCRIPT, self.root, "talk")]
        for i in range(count):
            for number, talker in enumerate(talkers):
                talker.say(f"{number} says {i}\n")
        heard = []
        for talker in talkers:
            talker.until(lambda line: line.startswith(f"{4 * count - 1} "))
        late = self.start(program("epoll"), self.root, "talk")
        for talker in [*talkers, late]:
            self.assertEqual(talker.end(), 0)
            heard.append([line for line in talker.lines if line[0].isdigit()])
        self.assertEqual(len(heard[0]), 4 * count)
        self.assertEqual([int(line.split()[0]) for line in heard[0]], list(range(4 * count)))
        for other in heard[1:]:
            self.assertEqual(other, heard[0])
        for number in range(4):
            own = [line.split(" ", 1)[1] for line in heard[0] if line.split()[1] == str(number)]
            self.assertEqual(own, [f"{number} says {i}" for i in range(count)])

    def test_a_last_line_without_an_end_and_a_long_one(self):
        text = b"one\n\n" + 4000 * b"x" + b"\ntwo"
        for done in (subprocess.run([program("epoll"), self.root, "a"], input=text, capture_output=True, timeout=PATIENCE),
                     self.run_python(SCRIPT, self.root, "b", input=text)):
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(done.stdout, b"0 one\n1 " + 4000 * b"x" + b"\n2 two\n")

    def test_asyncio_sees_states_and_a_death(self):
        self.need_python()
        watcher = self.start(sys.executable, SCRIPT, self.root, "talk")
        heron = self.start_agent("heron")
        self.publish(heron, status="thinking", count=7)
        watcher.until(lambda line: line == "state heron thinking 7 alive")
        heron.kill()
        killed = time.monotonic()
        watcher.until(lambda line: line == "state heron thinking 7 gone")
        self.assertLess(time.monotonic() - killed, 1)
        self.run_command("stream", "append", "talk", "by the command")
        watcher.until(lambda line: line == "0 by the command")
        self.assertEqual(watcher.end(), 0)

    def test_what_is_wrong_is_said(self):
        self.need_python()
        path = pathlib.Path(self.folder.name) / "file"
        path.write_text("no root")
        for command in ([program("epoll"), path, "s"], [sys.executable, SCRIPT, path, "s"], [program("flock"), path],
                        [program("jobs"), path, "list"], [program("dashboard"), path]):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
                                  env=PYTHON_ENVIRONMENT if command[0] == sys.executable else None)
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(path), done.stderr)
            self.assertNotIn("Traceback", done.stderr)
        for command in ([program("epoll")], [sys.executable, SCRIPT], [program("flock"), path, "0"], [program("jobs"), path, "dance"],
                        [program("dashboard")]):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
                                  env=PYTHON_ENVIRONMENT if command[0] == sys.executable else None)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn("usage", done.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        agent(*sys.argv[2:])
    elif sys.argv[1:2] == ["--writer"]:
        print_writer(*sys.argv[2:])
    else:
        unittest.main(verbosity=2)
