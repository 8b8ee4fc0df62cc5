#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""schema.py: does every line that the server wrote fit the protocol's own schemas? Needs the PyPI packages mcp and jsonschema.

    schema.py FOLDER    reads the transcripts there (ROOST_MCP_TRANSCRIPTS of tests/mcp/harness.py); prints what does not fit, exits 1

A result is held against the type of its request's method in its request's era, a notification against that of its own method. The types
pass over members that they do not know; these are looked for, too. What a tool returned as structuredContent must fit the outputSchema
that tools/list gave, and those schemas must be right themselves.
"""
import collections
import json
import pathlib
import sys

import jsonschema
import mcp_types._v2025_11_25 as older
import mcp_types._v2026_07_28 as newer
from mcp_types.methods import SERVER_NOTIFICATIONS, SERVER_RESULTS
from pydantic import BaseModel, TypeAdapter, ValidationError

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
ENVELOPES = {"result": {"jsonrpc", "id", "result"}, "error": {"jsonrpc", "id", "error"}, "note": {"jsonrpc", "method", "params"}}
FREE = {"InputSchema", "OutputSchema"}  # a JSON schema has any members


def unique(pairs):
    """An object whose names are each there once."""
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError(f"a member is there twice: {names}")
    return dict(pairs)


def refuse_constant(text):
    raise ValueError(f"{text} is no JSON")


def parse(text):
    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)


def unknown(model, raw, path=""):
    """The members of raw that its type does not have."""
    if isinstance(model, list) and isinstance(raw, list):
        for i, (item, raw_item) in enumerate(zip(model, raw)):
            yield from unknown(item, raw_item, f"{path}[{i}]")
    elif hasattr(model, "root"):
        yield from unknown(model.root, raw, path)
    elif isinstance(model, BaseModel) and isinstance(raw, dict) and type(model).__name__ not in FREE:
        fields = {field.alias or name: name for name, field in type(model).model_fields.items()}
        for name, value in raw.items():
            if name in fields:
                yield from unknown(getattr(model, fields[name]), value, f"{path}.{name}")
            elif not (path.endswith("._meta") and name.startswith(META)):
                yield f"{path}.{name}"


class Checker:
    def __init__(self):
        self.problems = []
        self.counts = collections.Counter()
        self.adapters = {}
        self.outputs = {}
        self.structured = []

    def complain(self, where, what, line):
        self.problems.append(f"{where}: {what}: {line[:300]}")

    def fits(self, where, kind, value, line, name):
        adapter = self.adapters.get(id(kind))
        if not adapter:
            adapter = self.adapters[id(kind)] = TypeAdapter(kind)
        try:
            model = adapter.validate_python(value, by_name=False)
        except ValidationError as problem:
            self.complain(where, f"no {name}: {problem}", line)
            return
        for member in unknown(model, value):
            self.complain(where, f"{name} has no member {member}", line)

    def check_file(self, path):
        asked = {}
        agreed = LEGACY
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                direction, line = next(iter(json.loads(text).items()))
                where = f"{path.name}:{number}"
                if direction == "to":
                    self.note_request(line, asked, agreed)
                else:
                    agreed = self.check_line(where, line, asked, agreed)

    def note_request(self, line, asked, agreed):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict) or not isinstance(message.get("method"), str) or "id" not in message:
            return
        params = message.get("params")
        members = params.get("_meta") if isinstance(params, dict) else None
        modern = isinstance(members, dict) and META + "protocolVersion" in members
        name = params.get("name") if message["method"] == "tools/call" and isinstance(params, dict) else None
        asked.setdefault(json.dumps(message["id"]), []).append((message["method"], MODERN if modern else agreed, name))

    def check_line(self, where, line, asked, agreed):
        try:
            message = parse(line)
        except ValueError as problem:
            self.complain(where, f"no JSON: {problem}", line)
            return agreed
        kind = "note" if "method" in message else "error" if "error" in message else "result"
        self.counts[kind] += 1
        if not set(message) <= ENVELOPES[kind] or message.get("jsonrpc") != "2.0":
            self.complain(where, "the envelope", line)
        if kind == "note":
            self.check_note(where, message, line, agreed)
        elif kind == "error":
            for era in (older, newer):
                self.fits(where, era.JSONRPCErrorResponse, message, line, "error")
            if "id" in message and asked.get(json.dumps(message["id"])):
                asked[json.dumps(message["id"])].pop()
            if message["error"]["code"] == -32022:
                self.fits(where, newer.UnsupportedProtocolVersionError, message, line, "UnsupportedProtocolVersionError")
        else:
            requests = asked.get(json.dumps(message.get("id")))
            if not requests:
                self.complain(where, "a result that nobody asked for", line)
                return agreed
            method, version, tool = requests.pop()
            if method == "initialize":
                agreed = message["result"]["protocolVersion"]
                version = agreed
            self.check_result(where, method, version, tool, message["result"], line)
        return agreed

    def check_note(self, where, message, line, agreed):
        members = message["params"].get("_meta", {})
        version = MODERN if META + "subscriptionId" in members else agreed
        kind = SERVER_NOTIFICATIONS.get((message["method"], version))
        if kind is None:
            self.complain(where, f"{version} has no such notification", line)
        else:
            self.counts[message["method"]] += 1
            self.fits(where, kind, message, line, message["method"])

    def check_result(self, where, method, version, tool, result, line):
        kind = SERVER_RESULTS.get((method, version))
        if kind is None:
            self.complain(where, f"{version} has no method {method}", line)
            return
        self.counts[method, MODERN if version == MODERN else "older"] += 1
        self.fits(where, kind, result, line, f"result of {method}")
        if method == "tools/list":
            for entry in result["tools"]:
                for name in ("inputSchema", "outputSchema"):
                    try:
                        jsonschema.Draft202012Validator.check_schema(entry[name])
                    except jsonschema.SchemaError as problem:
                        self.complain(where, f"{name} of {entry['name']}: {problem.message}", line)
                self.outputs[entry["name"]] = entry["outputSchema"]
        elif method == "tools/call" and "structuredContent" in result:
            self.structured.append((where, tool, result["structuredContent"]))
            if parse(result["content"][0]["text"]) != result["structuredContent"]:
                self.complain(where, "the text is not what the structured content is", line)

    def end(self):
        """When all files were read: the tools' schemas are known."""
        for where, tool, content in self.structured:
            if tool not in self.outputs:
                self.problems.append(f"{where}: no tools/list named {tool}")
                continue
            for problem in jsonschema.Draft202012Validator(self.outputs[tool]).iter_errors(content):
                self.problems.append(f"{where}: what {tool} returned: {problem.message}")
        return self.problems


def check(folder):
    """Problems, and what was looked at."""
    checker = Checker()
    for path in sorted(pathlib.Path(folder).glob("*.jsonl")):
        checker.check_file(path)
    return checker.end(), checker.counts


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found, seen = check(sys.argv[1])
    print("\n".join(found[:50]))
    print(f"{seen['result']} results, {seen['error']} errors, {seen['note']} notifications; {len(found)} that do not fit")
    sys.exit(bool(found) or not seen["result"])
