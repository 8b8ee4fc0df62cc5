# SPDX-License-Identifier: MIT
"""harness.py: what the tests of the MCP server share: a server behind two pipes, and its lines one by one.

Standard library only. Runs the binary that ROOST_BIN names (default build/roost). With ROOST_MCP_TRANSCRIPTS=DIR each server's traffic
is written to a file of its own there, for tests/mcp/schema.py. The program itself is that, too, for clients that start the server:

    harness.py --tee FILE COMMAND...    runs the command and writes what goes in and out into the file
"""
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("ROOST_BIN", "build/roost"))
SANITIZED = os.environ.get("ROOST_SANITIZED") == "yes"
# Seconds: a deadline for things that take milliseconds; only a hang meets it.
PATIENCE = float(os.environ.get("ROOST_PATIENCE", 120 if SANITIZED else 60))
MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
NO_SUCH_RESOURCE, UNSUPPORTED_VERSION = -32002, -32022

transcript_numbers = itertools.count(1)


class Transcript:
    """One JSON line for each line of the traffic: {"to": ...} the server, {"from": ...} it."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "w", encoding="utf-8")

    def note(self, direction, line):
        with self.lock:
            self.file.write(json.dumps({direction: line.decode("utf-8", "replace")}) + "\n")
            self.file.flush()


def transcript():
    folder = os.environ.get("ROOST_MCP_TRANSCRIPTS")
    return Transcript(os.path.join(folder, f"{os.getpid()}-{next(transcript_numbers)}.jsonl")) if folder else None


def meta(version=MODERN, client=None, **more):
    """The _meta of a request of 2026-07-28."""
    members = {META + "protocolVersion": version, META + "clientCapabilities": {}}
    if client:
        members[META + "clientInfo"] = {"name": client, "version": "1"}
    return {**members, **more}


class Server:
    """A server process. Its lines are read by a thread, so that it never waits for us unless a test wants that (reads=False)."""

    def __init__(self, case, *arguments, modern=True, client=None, cwd=None, environment=None, reads=True, version=LEGACY):
        self.modern, self.client = modern, client
        self.numbers = itertools.count(1)
        self.transcript, self.begun = transcript(), b""
        self.process = subprocess.Popen([BINARY, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        cwd=cwd or case.directory, env={**case.environment, **(environment or {})})
        case.addCleanup(self.close)
        self.changed = threading.Condition()
        self.lines, self.parsed, self.errors, self.ended = [], [], b"", False
        self.out_reader = threading.Thread(target=self.read_lines)
        self.error_reader = threading.Thread(target=self.read_errors)
        self.error_reader.start()
        self.reading = False
        if reads:
            self.read()
        if not modern and version:
            self.initialize(version)

    # ---- the process

    def read(self):
        self.reading = True
        self.out_reader.start()

    def read_lines(self):
        for line in self.process.stdout:
            if self.transcript:
                self.transcript.note("from", line)
            try:
                message = json.loads(line)
                assert line.endswith(b"}\n") and message["jsonrpc"] == "2.0", line
            except Exception as problem:  # told where the test waits
                message = {"not a message": line, "problem": str(problem)}
            with self.changed:
                self.lines.append(line)
                self.parsed.append(message)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def read_errors(self):
        for line in self.process.stderr:
            with self.changed:
                self.errors += line
                self.changed.notify_all()

    def close(self):
        """The end of each test: a server that runs still ends well when its stdin does."""
        if self.process.poll() is None and self.reading:
            try:
                self.process.stdin.close()
                self.process.wait(PATIENCE)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                pass
        hangs = self.process.poll() is None and self.reading
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.reading:
            self.out_reader.join(PATIENCE)
        self.error_reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        if self.transcript:
            self.transcript.file.close()
        assert not hangs, "the server did not end with its stdin"
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.errors.decode()}")

    def end(self, code=0):
        """EOF on stdin; it ends. Returns what it said on stderr."""
        if self.transcript and self.begun:
            self.transcript.note("to", self.begun)
        self.process.stdin.close()
        return self.wait_end(code)

    def wait_end(self, code=0):
        found = self.process.wait(PATIENCE)
        if self.reading:
            self.out_reader.join(PATIENCE)
        self.error_reader.join(PATIENCE)
        assert found == code, (found, self.errors)
        return self.errors.decode()

    # ---- lines

    def send_raw(self, data):
        *lines, self.begun = (self.begun + data).split(b"\n")
        for line in lines if self.transcript else ():
            self.transcript.note("to", line)
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message):
        self.send_raw(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")

    def message(self, method, params=None, identity=None, _meta=None):
        message = {"jsonrpc": "2.0", "method": method}
        if identity is not None:
            message["id"] = identity
        params = dict(params or {})
        if self.modern and identity is not None:
            params["_meta"] = meta(client=self.client, **(_meta or {}))
        elif _meta:
            params["_meta"] = _meta
        if params:
            message["params"] = params
        return message

    def ask(self, method, params=None, _meta=None, identity=None):
        """Sends a request; its id."""
        identity = next(self.numbers) if identity is None else identity
        self.send(self.message(method, params, identity, _meta))
        return identity

    def tell(self, method, params=None):
        self.send(self.message(method, params))

    def wait(self, wanted, what="a line", seconds=PATIENCE):
        """The first line, come or to come, for which wanted(message) holds."""
        end = time.monotonic() + seconds
        with self.changed:
            at = 0
            while True:
                for message in self.parsed[at:]:
                    at += 1
                    assert "not a message" not in message, message
                    if wanted(message):
                        return message
                if self.ended:
                    raise AssertionError(f"the server ended before it sent {what}: {self.errors.decode()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come; there was {self.lines[-5:]}")
                self.changed.wait(left)

    def wait_count(self, count):
        end = time.monotonic() + PATIENCE
        with self.changed:
            while len(self.lines) < count:
                if self.ended or time.monotonic() > end:
                    raise AssertionError(f"{len(self.lines)} of {count} lines came; {self.errors.decode()}")
                self.changed.wait(end - time.monotonic())
            return list(self.parsed)

    def reply(self, identity):
        return self.wait(lambda message: message.get("id") == identity and "method" not in message, f"a reply to {identity!r}")

    def messages(self):
        with self.changed:
            return list(self.parsed)

    def line_of(self, identity):
        """The bytes of a reply."""
        self.reply(identity)
        with self.changed:
            return next(line for line, message in zip(self.lines, self.parsed) if message.get("id") == identity)

    def forget_lines(self):
        with self.changed:
            self.lines.clear()
            self.parsed.clear()

    def request(self, method, params=None, **more):
        return self.reply(self.ask(method, params, **more))

    def result(self, method, params=None, **more):
        reply = self.request(method, params, **more)
        assert "result" in reply, (method, params, reply)
        return reply["result"]

    def error(self, method, params=None, **more):
        reply = self.request(method, params, **more)
        assert "error" in reply, (method, params, reply)
        return reply["error"]

    # ---- what MCP calls them

    def initialize(self, version=LEGACY):
        result = self.result("initialize", {"protocolVersion": version, "capabilities": {},
                                            "clientInfo": {"name": self.client or "test", "version": "1"}})
        self.tell("notifications/initialized")
        return result

    def ask_tool(self, name, /, **arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})

    def tool_result(self, result):
        """The structured content of a call that succeeded; the text says the same."""
        assert not result.get("isError"), result
        assert [content["type"] for content in result["content"]] == ["text"], result
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"], result
        return result["structuredContent"]

    def tool(self, name, /, **arguments):
        return self.tool_result(self.result("tools/call", {"name": name, "arguments": arguments}))

    def tool_fails(self, name, /, **arguments):
        """The sentence with which a tool failed."""
        result = self.result("tools/call", {"name": name, "arguments": arguments})
        assert result.get("isError") is True and "structuredContent" not in result, result
        assert len(result["content"]) == 1 and result["content"][0]["type"] == "text", result
        return result["content"][0]["text"]

    def listen(self, *uris, lists=False):
        """Subscribes and waits until it stands; the request's id (2026-07-28), else None."""
        if not self.modern:
            for uri in uris:
                assert self.result("resources/subscribe", {"uri": uri}) == {}
            return None
        wanted = {}
        if uris:
            wanted["resourceSubscriptions"] = list(uris)
        if lists:
            wanted["resourcesListChanged"] = True
        identity = self.ask("subscriptions/listen", {"notifications": wanted})
        note = self.wait(lambda message: message.get("method") == "notifications/subscriptions/acknowledged" and
                         message["params"]["_meta"][META + "subscriptionId"] == identity, "the acknowledgement")
        assert note["params"]["notifications"] == wanted, note
        return identity

    def updates(self, uri=None, listen=None):
        """How often the client was told (of this URI, on this subscription)."""
        return len([message for message in self.messages() if self.is_update(message, uri, listen)])

    def is_update(self, message, uri=None, listen=None):
        if message.get("method") != "notifications/resources/updated":
            return False
        if uri is not None and message["params"]["uri"] != uri:
            return False
        return listen is None or message["params"]["_meta"][META + "subscriptionId"] == listen

    def wait_update(self, uri, count=1, listen=None):
        seen = itertools.count(1)
        return self.wait(lambda message: self.is_update(message, uri, listen) and next(seen) == count, f"update {count} of {uri}")


class Case(unittest.TestCase):
    """A fresh directory, and a root in its .roost with a small log and the region in a file, so that nothing is left in /dev/shm."""

    make_root = True

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="roost-mcp-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        left_out = ("ROOST_ROOT", "ROOST_AGENT", "ROOST_SESSION", "XDG_DATA_HOME")
        self.environment = {name: value for name, value in os.environ.items() if name not in left_out}
        self.environment["HOME"] = self.directory
        self.root = os.path.join(self.directory, ".roost")
        if self.make_root:
            self.init(self.root)

    def init(self, path):
        subprocess.run([BINARY, "init", path, "--log-size", "4M", "--chunk-size", "4M", "--arena-size", "4M", "--region", "file"],
                       cwd=self.directory, env=self.environment, check=True, capture_output=True, timeout=PATIENCE)

    def roost(self, *arguments, stdin=b""):
        """The command, on the same root; its stdout."""
        done = subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, cwd=self.directory, env=self.environment,
                              timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), arguments)
        return done.stdout

    def server(self, *arguments, **more):
        return Server(self, "mcp", *arguments, **more)

    def legacy(self, *arguments, **more):
        return Server(self, "mcp", *arguments, modern=False, **more)

    def both(self, *arguments, **more):
        """A server of each era."""
        yield self.server(*arguments, **more)
        yield self.legacy(*arguments, **more)

    def assert_error(self, error, code, *says):
        self.assertEqual(error["code"], code, error)
        self.assertTrue(error["message"], error)
        for word in says:
            self.assertIn(word, error["message"])


def tee(path, command):
    """Between a client and its server."""
    notes = Transcript(path)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())

    def pass_on(source, sink, direction):
        left = b""
        while True:
            try:
                data = os.read(source, 65536)
            except OSError:
                data = b""
            ended = not data
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                notes.note(direction, line)
            try:
                while data:
                    data = data[os.write(sink, data):]
            except OSError:
                break
            if ended:
                break
        os.close(sink)

    threading.Thread(target=pass_on, args=(0, child.stdin.fileno(), "to"), daemon=True).start()
    pass_on(child.stdout.fileno(), 1, "from")
    os._exit(child.wait())


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] != "--tee":
        sys.exit(__doc__)
    tee(sys.argv[2], sys.argv[3:])
