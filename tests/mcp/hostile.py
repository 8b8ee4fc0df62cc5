#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile.py: wrong input of hundreds of kinds, each with the answer that the protocol wants, and after each one the server still answers.

One server of each era takes all of it, one after the other; a request behind each line shows that it lives and that nothing else was
said. Standard library only. `hostile.py --list` prints the table.
"""
import json
import os
from random import Random
import signal
import sys
import unittest

from harness import (Case, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, MODERN, NO_SUCH_RESOURCE, PARSE_ERROR, PATIENCE,
                     UNSUPPORTED_VERSION, META, meta)

OK, TOOL_ERROR, SILENCE = "a result", "isError", "nothing"
KINDS = {"null": None, "true": True, "false": False, "number": 5, "fraction": 1.5, "string": "x", "array": [], "object": {}}

# Lines that are no JSON, or no message: name, bytes, what comes (a code without an id, or nothing).
LINES = []


def line(name, data, expected=PARSE_ERROR):
    LINES.append((name, data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"), expected))


def not_json():
    for text in ("{", "}", "[", "]", "{]", "[}", '"', "'", "x", "nul", "nulll", "True", "NaN", "-Infinity", "+1", "01", "1.", ".5", "1e",
                 "--1",
                 "0x10", "1 2", "{} {}", "{}x", '{"a"}', '{"a":}', '{a:1}', "{'a':1}", '{"a":1,}', "[1,]", "[,1]", '{"a" 1}',
                 '{"a":1 "b":2}',
                 '{,}', '{"a":1}}', "/* */ {}", "// {}", "# {}", '"\\x"', '"\\u12"', '"\\u123g"', '"\\', '"tab\there"', '{"a":"\r"}',
                 "undefined",
                 "\u00a0{}", "\ufeff{}", "Content-Length: 2", "GET / HTTP/1.1", '{"jsonrpc":"2.0","id":1,"method":"ping"',
                 '{"jsonrpc":"2.0","id":1,"method":"ping"},', '{"jsonrpc":"2.0","id":01,"method":"ping"}',
                 '{"jsonrpc":"2.0","id":1.,"method":"ping"}'):
        line(f"no JSON: {text!r}", text)
    line("a NUL alone", b"\0")
    line("a NUL before an object", b"\0{}")
    line("a NUL behind an object", b"{}\0")
    line("a NUL in a string", b'{"jsonrpc":"2.0","id":"a\0b","method":"ping"}')
    line("a NUL between members", b'{"jsonrpc":"2.0",\0"id":1,"method":"ping"}')
    line("control characters", bytes(range(1, 10)))
    line("a DEL", b"\x7f")
    line("an escape sequence for terminals", b"\x1b[2J")
    line("UTF-16", '{"jsonrpc":"2.0"}'.encode("utf-16-le"))
    for name, data in {"a lone byte 0xff": b"\xff", "a lone continuation": b"\x80", "a cut sequence": b"\xc3",
                       "an overlong slash": b"\xc0\xaf",
                       "an overlong NUL": b"\xc0\x80", "a surrogate as bytes": b"\xed\xa0\x80", "beyond U+10FFFF": b"\xf4\x90\x80\x80",
                       "a sequence of five bytes": b"\xf8\x88\x80\x80\x80"}.items():
        line("invalid UTF-8: " + name, b'{"jsonrpc":"2.0","id":"' + data + b'","method":"ping"}')
        line("invalid UTF-8 in a name: " + name, b'{"jsonrpc":"2.0","id":1,"method":"ping","' + data + b'":1}')
    for name, text in {"a lone high one": "\\ud800", "a lone low one": "\\udc00", "two high ones": "\\ud800\\ud800",
                       "turned round": "\\udc00\\ud800",
                       "cut": "\\ud800\\u", "with a letter behind": "\\ud800x"}.items():
        line("surrogates: " + name, f'{{"jsonrpc":"2.0","id":"{text}","method":"ping"}}')
    for depth in (65, 1000, 100000):
        line(f"{depth} arrays deep", "[" * depth)
        line(f"{depth} arrays deep and closed", "[" * depth + "]" * depth)
        line(f"{depth} objects deep", '{"a":' * depth + "1" + "}" * depth)
    for name in ("jsonrpc", "id", "method", "params"):
        line(f"{name} twice", f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{}},"{name}":1}}')
    line("a name twice, once escaped", '{"jsonrpc":"2.0","id":1,"method":"ping","\\u0069d":1}')
    line("a name twice, deep inside", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"a":1,"a":2}}}')


def no_message():
    line("nothing", "", SILENCE)
    line("blanks", "  \t \r", SILENCE)
    for value in ("null", "true", "5", '"x"', "1e999"):
        line(f"{value} is no message", value, INVALID_REQUEST)
    for text in ("[]", "[1]", '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', '[{"jsonrpc":"2.0","method":"x"}]', "[[]]"):
        line(f"a batch: {text}", text, INVALID_REQUEST)
    line("an empty object", "{}", INVALID_REQUEST)
    for name, value in KINDS.items():
        if name not in ("string", "number"):
            line(f"an id that is {name}", json.dumps({"jsonrpc": "2.0", "id": value, "method": "tools/list"}), INVALID_REQUEST)
    for text in ("1e3", "1.0", "-1.5", "1E2"):
        line(f"an id of {text}", f'{{"jsonrpc":"2.0","id":{text},"method":"tools/list"}}', INVALID_REQUEST)
    for name, value in KINDS.items():
        line(f"a notification whose jsonrpc is {name}", json.dumps({"jsonrpc": value, "method": "x"}), INVALID_REQUEST)
        if name != "string":
            line(f"a notification whose method is {name}", json.dumps({"jsonrpc": "2.0", "method": value}), INVALID_REQUEST)
        line(f"a notification whose params are {name}", json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled",
                                                                    "params": value}), SILENCE)
        line(f"cancelled with a requestId that is {name}",
             json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": value}}), SILENCE)
        line(f"a response whose result is {name}", json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}), SILENCE)
        line(f"an error that is {name}", json.dumps({"jsonrpc": "2.0", "id": None, "error": value}), SILENCE)
        line(f"a response whose id is {name}", json.dumps({"jsonrpc": "2.0", "id": value, "result": {}}), SILENCE)
    for method in ("notifications/initialized", "notifications/no/such", "tools/call", "initialize", "", "x" * 10000):
        line(f"told, not asked: {method[:30]}", json.dumps({"jsonrpc": "2.0", "method": method}), SILENCE)


not_json()
no_message()

# Requests: name, message without its id, what comes in each era (or in both).
REQUESTS = []


def request(name, message, expected, legacy=None, whole=False):
    """whole: the message is as it is; else params get the _meta that each era wants."""
    REQUESTS.append((name, message, expected, expected if legacy is None else legacy, whole))


def call(name, method, params, expected, legacy=None):
    request(name, {"method": method, "params": params}, expected, legacy)


def tool(name, arguments, expected=TOOL_ERROR):
    call(f"{name} {json.dumps(arguments)[:60]}", "tools/call", {"name": name, "arguments": arguments}, expected)


def envelopes():
    for name, value in KINDS.items():
        request(f"jsonrpc is {name}", {"jsonrpc": value, "method": "tools/list"}, INVALID_REQUEST, whole=True)
        if name != "string":
            request(f"method is {name}", {"jsonrpc": "2.0", "method": value}, INVALID_REQUEST, whole=True)
        if name not in ("object",):
            request(f"params are {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": value}, INVALID_PARAMS, whole=True)
            request(f"_meta is {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": value}}, INVALID_PARAMS, whole=True)
            request(f"_meta's capabilities are {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": {
                "_meta": {**meta(), META + "clientCapabilities": value}}}, INVALID_PARAMS, whole=True)
        if name != "string":
            request(f"_meta's version is {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": meta(value)}},
                    INVALID_PARAMS, whole=True)
        if name not in ("string", "number"):
            request(f"progressToken is {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": meta(progressToken=value)}},
                    INVALID_PARAMS, whole=True)
        request(f"clientInfo is {name}", {"jsonrpc": "2.0", "method": "tools/list",
                                          "params": {"_meta": {**meta(), META + "clientInfo": value}}},
                OK, whole=True)  # it is for display only
        request(f"clientInfo's name is {name}", {"jsonrpc": "2.0", "method": "tools/list", "params": {
            "_meta": {**meta(), META + "clientInfo": {"name": value}}}}, OK, whole=True)
    request("no jsonrpc", {"method": "tools/list"}, INVALID_REQUEST, whole=True)
    request("no method", {"jsonrpc": "2.0"}, INVALID_REQUEST, whole=True)
    request("jsonrpc 1.0", {"jsonrpc": "1.0", "method": "tools/list"}, INVALID_REQUEST, whole=True)
    request("jsonrpc 2.00", {"jsonrpc": "2.00", "method": "tools/list"}, INVALID_REQUEST, whole=True)
    request("a request that is a response, too", {"jsonrpc": "2.0", "method": "tools/list", "result": {}, "params": {"_meta": meta()}}, OK,
            whole=True)
    request("more members than there are", {"jsonrpc": "2.0", "method": "tools/list", "x": {"y": [1]},
                                            "params": {"_meta": meta(), "x": 1}}, OK, whole=True)
    for version in ("2025-11-25", "", "2026-07-28 ", "2026-07-29", "x" * 100000, "\0", "draft"):
        request(f"version {version[:20]!r}", {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": meta(version)}},
                UNSUPPORTED_VERSION, whole=True)
    for method in ("", "x", "Tools/list", "tools/list ", "tools", "tools/", "/", "rpc.discover", "notifications/initialized", "x" * 100000,
                   "\0",
                   "tools/list\0", "\u00e4" * 60, "%s%n", "sampling/createMessage", "roots/list", "elicitation/create", "tasks/get",
                   "completion",
                   "resources/templates", "subscriptions/close"):
        call(f"method {method[:30]!r}", method, {}, METHOD_NOT_FOUND)
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
        call(f"{method} in 2026", method, {}, METHOD_NOT_FOUND,
             SILENCE if method == "initialize" else OK if method == "ping" else INVALID_PARAMS)
    for method in ("server/discover", "subscriptions/listen"):
        call(f"{method} in older eras", method, {}, OK if method == "server/discover" else INVALID_PARAMS, METHOD_NOT_FOUND)


def parameters():
    for name, value in KINDS.items():
        if name != "string":
            call(f"tools/call, name is {name}", "tools/call", {"name": value}, INVALID_PARAMS)
            call(f"prompts/get, name is {name}", "prompts/get", {"name": value}, INVALID_PARAMS)
            call(f"resources/read, uri is {name}", "resources/read", {"uri": value}, INVALID_PARAMS)
            call(f"resources/subscribe, uri is {name}", "resources/subscribe", {"uri": value}, METHOD_NOT_FOUND, INVALID_PARAMS)
            call(f"resources/unsubscribe, uri is {name}", "resources/unsubscribe", {"uri": value}, METHOD_NOT_FOUND, INVALID_PARAMS)
            call(f"logging/setLevel, level is {name}", "logging/setLevel", {"level": value}, METHOD_NOT_FOUND, INVALID_PARAMS)
            call(f"initialize, version is {name}", "initialize", {"protocolVersion": value}, METHOD_NOT_FOUND, INVALID_PARAMS)
            call(f"prompts/get recall, topic is {name}", "prompts/get", {"name": "recall", "arguments": {"topic": value}}, INVALID_PARAMS)
            call(f"completion, argument's name is {name}", "completion/complete",
                 {"ref": {"type": "ref/prompt", "name": "recall"}, "argument": {"name": value, "value": ""}}, INVALID_PARAMS)
            call(f"completion, argument's value is {name}", "completion/complete",
                 {"ref": {"type": "ref/prompt", "name": "recall"}, "argument": {"name": "topic", "value": value}}, INVALID_PARAMS)
            call(f"completion, ref's type is {name}", "completion/complete",
                 {"ref": {"type": value, "name": "recall"}, "argument": {"name": "topic", "value": ""}}, INVALID_PARAMS)
            call(f"completion, ref's name is {name}", "completion/complete",
                 {"ref": {"type": "ref/prompt", "name": value}, "argument": {"name": "topic", "value": ""}}, INVALID_PARAMS)
        if name != "object":
            call(f"completion, ref is {name}", "completion/complete", {"ref": value, "argument": {"name": "topic", "value": ""}},
                 INVALID_PARAMS)
            call(f"completion, argument is {name}", "completion/complete", {"ref": {"type": "ref/prompt", "name": "recall"},
                                                                            "argument": value},
                 INVALID_PARAMS)
            call(f"listen, notifications are {name}", "subscriptions/listen", {"notifications": value}, INVALID_PARAMS, METHOD_NOT_FOUND)
            if name != "null":
                call(f"tools/call, arguments are {name}", "tools/call", {"name": "recent", "arguments": value}, INVALID_PARAMS)
                call(f"prompts/get, arguments are {name}", "prompts/get", {"name": "handover", "arguments": value}, INVALID_PARAMS)
        if name != "array":
            call(f"listen, URIs are {name}", "subscriptions/listen", {"notifications": {"resourceSubscriptions": value}}, INVALID_PARAMS,
                 METHOD_NOT_FOUND)
        if name != "string":
            call(f"listen, a URI is {name}", "subscriptions/listen",
                 {"notifications": {"resourceSubscriptions": ["roost://states", value]}},
                 INVALID_PARAMS, METHOD_NOT_FOUND)
        if name not in ("true", "false"):
            call(f"listen, resourcesListChanged is {name}", "subscriptions/listen", {"notifications": {"resourcesListChanged": value}},
                 INVALID_PARAMS, METHOD_NOT_FOUND)
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            call(f"{method}, cursor is {name}", method, {"cursor": value}, INVALID_PARAMS)
    for method in ("tools/call", "prompts/get", "resources/read", "completion/complete"):
        call(f"{method} without parameters", method, {}, INVALID_PARAMS)
    for cursor in ("m0", "m-1", "m18446744073709551616", "\0", "m1\0", "../..", "x" * 100000):
        call(f"cursor {cursor[:20]!r}", "resources/list", {"cursor": cursor}, INVALID_PARAMS)
    for name in ("no_such", "", "Recall", "recall ", "\0", "x" * 100000, "tools/call", "../recall"):
        call(f"tool {name[:20]!r}", "tools/call", {"name": name, "arguments": {}}, INVALID_PARAMS)
        call(f"prompt {name[:20]!r}", "prompts/get", {"name": name, "arguments": {"topic": "x"}}, INVALID_PARAMS)
        call(f"completion of prompt {name[:20]!r}", "completion/complete",
             {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "topic", "value": ""}}, INVALID_PARAMS)
    for level in ("", "Debug", "all", "5"):
        call(f"level {level!r}", "logging/setLevel", {"level": level}, METHOD_NOT_FOUND, INVALID_PARAMS)
    for uri in ("", "x", "roost://", "roost://memory/1e3", "roost://memory/-1", "roost://memory/ 1", "roost://memory/18446744073709551616",
                "roost://memory/12345", "roost://state/%", "roost://state/%0", "roost://state/%00", "roost://state/\0",
                "roost://state/%ed%a0%80",
                "roost://state/" + "%41" * 1000, "file:///etc/passwd", "roost://memories#x", "http://example.com/", "\0"):
        call(f"uri {uri[:30]!r}", "resources/read", {"uri": uri}, INVALID_PARAMS, NO_SUCH_RESOURCE)


def arguments():
    strings = {"remember": ("text", "key", "agent", "session"), "recall": ("query", "agent", "session"), "recent": ("agent", "session"),
               "supersede": ("text",), "set_state": ("status", "name"), "list_states": ("name",), "key_get": ("key",),
               "key_set": ("key", "value"), "key_list": ("prefix", "after"), "key_delete": ("key",), "stream_append": ("stream", "entry"),
               "stream_read": ("stream",), "import": ("file",)}
    good = {"remember": {"text": "x"}, "supersede": {"id": "1", "text": "x"}, "set_state": {"status": "x"}, "key_get": {"key": "k"},
            "key_set": {"key": "k", "value": "v"}, "key_delete": {"key": "k"}, "stream_append": {"stream": "s", "entry": "e"},
            "stream_read": {"stream": "s"}, "import": {"file": "/dev/null"}, "get": {"ids": ["1"]}, "forget": {"ids": ["1"]}}
    numbers = {"recall": ("limit", "max_bytes"), "recent": ("limit", "max_bytes"), "get": ("offset", "max_bytes"),
               "key_set": ("expires_in", "if_version"), "key_delete": ("if_version",), "key_list": ("limit", "max_bytes"),
               "stream_read": ("limit", "max_bytes", "from")}
    lists = {"remember": ("tags",), "supersede": ("tags",)}
    for name, members in strings.items():
        for member in members:
            for kind, value in KINDS.items():
                if kind not in ("string", "null"):
                    tool(name, {**good.get(name, {"query": "x"} if name == "recall" else {}), member: value})
            tool(name, {**good.get(name, {"query": "x"} if name == "recall" else {}), member: "a\0b"})
    for name, members in numbers.items():
        for member in members:
            for value in (True, False, 1.5, "x", "", [], {}, 10 ** 30, "1 ", " 1", "0x1", "1e3", "\0"):
                tool(name, {**good.get(name, {"query": "x"} if name == "recall" else {}), member: value})
    for name, members in lists.items():
        for member in members:
            for value in (True, 5, {}, [5], [None], [[]], ["a", {}], ["a\0"], [""]):
                tool(name, {**good[name], member: value})
    for name in ("get", "forget"):
        for value in (None, True, {}, [], [None], [[]], [{}], [True], ["x"], [""], ["0"], [0], [-1], [1.5], ["1 "], ["1e3"], ["1\0"], "",
                      "x",
                      [str(2 ** 64)], ["1"] * 201):
            tool(name, {"ids": value})
    for value in (None, True, [], {}, "", "x", "0", 0, -1, 1.5, "99999", str(2 ** 64)):
        tool("supersede", {"id": value, "text": "x"})
        if value not in (None, "", "99999"):
            tool("recent", {"before": value})
    for value in (True, 5, "x", [], {"a\0": "x"}, {"": "x"}, {"a" * 300: "x"}, {"a": "x" * 5000}, {f"n{i}": "x" for i in range(65)}):
        tool("set_state", {"status": "x", "extra": value}, TOOL_ERROR)
    for name in ("remember", "supersede", "set_state", "get", "forget", "key_get", "key_set", "key_delete", "stream_append", "stream_read",
                 "import",
                 "recall"):
        tool(name, {})
        tool(name, {**good.get(name, {}), "no_such": 1})
        tool(name, {**good.get(name, {}), "": 1})
        tool(name, {**good.get(name, {}), "\u00e4" * 100: None})
    for path in ("", "x", "./x", "~/x", "/no/such/file", "/", "/dev/null/x", "/" + "x" * 5000):
        tool("import", {"file": path})
    for text in ("k" * 1025, ):
        tool("key_get", {"key": text})
        tool("key_set", {"key": text, "value": "v"})
    tool("set_state", {"status": "x" * 5000})
    tool("set_state", {"status": "x", "name": "n" * 256})
    tool("remember", {"text": "x", "tags": ["t" * 256]})
    tool("remember", {"text": "x", "key": "k" * 1025})
    tool("stream_append", {"stream": "s" * 1025, "entry": "e"})
    # Right, though it may not look so.
    for query in ("x", "+", "-", "\"", "\"\"", "tag:", "*", "a*b", "+-\"x", "(((", "\u00e4" * 1000,
                  "\ud83e\udd9c".encode("utf-16", "surrogatepass")
                  .decode("utf-16"), "OR AND NOT", "x:y", "+tag:\"a b\"", "a" * 100000):
        tool("recall", {"query": query}, OK)
    tool("recall", {"query": "x", "limit": None, "agent": None}, OK)
    tool("recent", {}, OK)
    tool("list_states", {}, OK)


envelopes()
parameters()
arguments()


class TestHostile(Case):
    def setUp(self):
        super().setUp()
        self.probes = 0

    def probe(self, server):
        """It still answers; returns what it said before."""
        self.probes += 1
        identity = f"probe {self.probes}"
        server.ask("prompts/list", identity=identity)
        server.reply(identity)
        said = [message for message in server.messages() if message.get("id") != identity]
        server.forget_lines()
        return said

    def check_lines(self, server):
        server.forget_lines()
        for name, data, expected in LINES:
            with self.subTest(name):
                server.send_raw(data + b"\n")
                said = self.probe(server)
                if expected == SILENCE:
                    self.assertEqual(said, [])
                    continue
                self.assertEqual(len(said), 1, said)
                self.assertEqual(set(said[0]), {"jsonrpc", "error"})
                self.assertEqual(said[0]["error"]["code"], expected, said)
                self.assertEqual(set(said[0]["error"]), {"code", "message"})

    def test_lines_in_2026(self):
        self.check_lines(self.server("--tools", "all"))

    def test_lines_in_older_eras(self):
        self.check_lines(self.legacy("--tools", "all"))

    def check_requests(self, server):
        server.forget_lines()
        for number, (name, message, modern, legacy, whole) in enumerate(REQUESTS):
            expected = modern if server.modern else legacy
            if expected == SILENCE:
                continue
            message = dict(message)
            if not whole:
                message["jsonrpc"] = "2.0"
                if server.modern:
                    message["params"] = {**message["params"], "_meta": meta()}
            with self.subTest(name):
                server.send({**message, "id": f"r{number}"})
                said = self.probe(server)
                while not [reply for reply in said if reply.get("id") == f"r{number}"]:  # the pool may take longer than the loop
                    reply = server.reply(f"r{number}")
                    said = [reply]
                    server.forget_lines()
                self.assertEqual(len(said), 1, said)
                self.check_reply(said[0], expected)

    def check_reply(self, reply, expected):
        if expected in (OK, TOOL_ERROR):
            self.assertIn("result", reply)
            self.assertEqual(reply["result"].get("isError", False), expected == TOOL_ERROR, reply)
            if expected == TOOL_ERROR:
                text = reply["result"]["content"][0]["text"]
                self.assertGreater(len(text), 8)
                self.assertLess(len(text.encode()), 1024)
                self.assertNotIn("structuredContent", reply["result"])
            return
        self.assertIn("error", reply)
        self.assertEqual(reply["error"]["code"], expected, reply)
        self.assertTrue(0 < len(reply["error"]["message"].encode()) < 512)
        self.assertNotIn("\0", reply["error"]["message"])

    def test_requests_in_2026(self):
        server = self.server("--tools", "all")
        self.check_requests(server)
        server.end()

    def test_requests_in_older_eras(self):
        server = self.legacy("--tools", "all")
        self.check_requests(server)
        server.end()

    def test_a_line_of_17_mib(self):
        server = self.server()
        for data in (b"x" * (17 << 20), b'"' + b"x" * (17 << 20) + b'"', b"[" * (17 << 20), b"\0" * (17 << 20)):
            server.send_raw(data + b"\n")
            said = self.probe(server)
            self.assertEqual([(message["error"]["code"], "id" in message) for message in said], [(INVALID_REQUEST, False)])
            self.assertIn("16 MiB", said[0]["error"]["message"])

    def test_a_line_of_15_mib(self):
        server = self.server()
        server.send(server.message("tools/call", {"name": "remember", "arguments": {"text": "heron " * (5 << 19)}}, "big"))
        self.assertFalse(server.reply("big")["result"].get("isError", False))
        self.assertEqual(server.tool("recall", query="heron", max_bytes=100)["hits"][0]["text_size"], 15 << 20)

    def test_the_end_in_the_middle_of_a_line(self):
        for data in (b"{", b"x" * (17 << 20), b'{"jsonrpc":"2.0","id":1,"method":"ping"', b"\xff", b" "):
            server = self.server()
            server.send_raw(data)
            server.end()
            self.assertLessEqual(len(server.messages()), 1)

    def any_message(self, random, server, i):
        """Something to do, or to take back."""
        uris = random.sample(["roost://memories", "roost://states", "roost://state/a", "roost://memory/1"], random.randint(0, 4))
        kind = random.randrange(10)
        if kind < 2:
            return server.message("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris, "resourcesListChanged": True}},
                                  i)
        if kind == 2:
            return server.message("notifications/cancelled", {"requestId": random.randint(0, i)})
        if kind == 3:
            return {"jsonrpc": "2.0", "id": i, "method": "resources/subscribe", "params": {"uri": random.choice(uris or ["x"])}}
        if kind == 4:
            return server.message(random.choice(["tools/list", "resources/list", "prompts/list", "no/such"]), {}, i)
        name, arguments = random.choice([("remember", {"text": "heron " * random.choice([1, 5000])}),
                                         ("set_state", {"name": "a", "status": "x"}),
                                         ("recall", {"query": "heron"}), ("recent", {"limit": 50, "max_bytes": 1 << 20}),
                                         ("forget", {"ids": ["1"]}),
                                         ("import", {"file": "/dev/null"})])
        return server.message("tools/call", {"name": name, "arguments": arguments}, i)

    def test_any_end_at_any_time(self):
        """Random requests, and then the client closes stdin or stdout, or both, or sends a signal; it reads, or does not."""
        seed = int(os.environ.get("ROOST_SEED", "1"))
        for number in range(seed, seed + int(os.environ.get("ROOST_ROUNDS", "30"))):
            with self.subTest(seed=number):
                random = Random(number)
                reads = random.random() < 0.5
                ends = random.sample(["in", "out", "term"], random.choice([1, 1, 2]))
                server = self.server("--tools", "all", reads=reads)
                if "term" in ends:
                    server.transcript = None  # its last line may be half of one
                server.send({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
                if reads:
                    server.reply("i")
                else:
                    server.process.stdout.readline()
                messages = [self.any_message(random, server, i) for i in range(random.choice([3, 30, 150]))]
                lines = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
                if not reads:
                    lines = lines[:60000]  # or it might not take them all
                    if "out" not in ends:
                        ends.append("term")  # stdin's end alone waits for the reader
                try:
                    server.send_raw(lines[:len(lines) // 2] if random.random() < 0.3 else lines)
                    for end in ends:
                        if end == "in":
                            server.process.stdin.close()
                        elif end == "term":
                            server.process.send_signal(signal.SIGTERM)
                        elif not reads:
                            server.process.stdout.close()
                            if "in" not in ends:
                                server.send_raw(b"\n{}\n")  # it finds out when it has something to say
                    if ends == ["out"] and reads:
                        server.process.stdin.close()
                except BrokenPipeError:
                    pass
                server.process.wait(PATIENCE)
                self.assertEqual(server.process.returncode, 0, server.errors)

    def test_the_table_is_large(self):
        self.assertGreaterEqual(len(LINES) + len(REQUESTS), 200)
        names = [entry[0] for entry in LINES]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        for entry in LINES + REQUESTS:
            print(entry[2], entry[0], sep="\t")
    else:
        unittest.main()
