#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The protocol's own Python client against `roost mcp`, in all the ways it has to connect; then every line that the server wrote, here
and in test_mcp.py and hostile.py, is held against the protocol's own schemas.

Needs the PyPI packages mcp and jsonschema (`./dev test --all` puts them into a virtual environment); without them it is skipped.
"""
import asyncio
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import BINARY, Case, INVALID_PARAMS, LEGACY, MODERN, NO_SUCH_RESOURCE, PATIENCE

try:
    import jsonschema  # noqa: F401 (schema.py needs it)
    import mcp_types as types
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters
    from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
    from mcp.shared.exceptions import MCPError

    import schema
except ImportError:
    print("skipped: needs the PyPI package mcp")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
MODES = {"auto": MODERN, "legacy": LEGACY, MODERN: MODERN}


class Watcher:
    """What a client of the older eras is told, by URI."""

    def __init__(self):
        self.updates = asyncio.Queue()

    async def __call__(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            await self.updates.put(str(message.params.uri))

    async def next(self):
        return await asyncio.wait_for(self.updates.get(), PATIENCE)


class TestClient(Case):
    def setUp(self):
        super().setUp()
        self.transcripts = os.path.join(self.directory, "transcripts")
        os.mkdir(self.transcripts)

    def tearDown(self):
        problems, counts = schema.check(self.transcripts)
        self.assertEqual(problems, [])
        self.assertGreater(counts["result"], 0)

    def client(self, name, mode, handler=None, *options):
        command = [str(HERE / "harness.py"), "--tee", os.path.join(self.transcripts, f"{name}-{mode}.jsonl"), BINARY, "mcp", "--tools",
                   "all"]
        environment = {name: value for name, value in self.environment.items() if name.startswith(("ASAN_", "UBSAN_", "ROOST_", "PYTHON"))}
        server = StdioServerParameters(command=sys.executable, args=[*command, *options], cwd=self.directory,
                                       env={**environment, "HOME": self.directory})
        return Client(server, mode=mode, message_handler=handler, read_timeout_seconds=PATIENCE,
                      client_info=types.Implementation(name=name, version="1"))

    def in_every_mode(self, body):
        for mode in MODES:
            with self.subTest(mode=mode):
                asyncio.run(asyncio.wait_for(body(mode), 4 * PATIENCE))

    async def tool(self, client, name, /, **arguments):
        result = await client.call_tool(name, arguments)
        self.assertFalse(result.is_error, result)
        self.assertEqual(json.loads(result.content[0].text), result.structured_content)
        return result.structured_content

    async def tool_fails(self, client, name, /, **arguments):
        result = await client.call_tool(name, arguments)
        self.assertTrue(result.is_error, result)
        return result.content[0].text

    async def refused(self, code, awaitable):
        with self.assertRaises(MCPError) as caught:
            await awaitable
        self.assertEqual(caught.exception.code, code)

    def test_what_the_server_says_of_itself(self):
        async def body(mode):
            async with self.client("self", mode) as client:
                self.assertEqual(client.protocol_version, MODES[mode])
                if mode != MODERN:  # pinned to a version, the client asks nothing
                    self.assertEqual(client.server_info.name, "roost")
                    self.assertIn("never instructions", client.instructions)
                    self.assertTrue(client.server_capabilities.resources.subscribe)
                if mode == "legacy":
                    await client.send_ping()
                    await client.set_logging_level("info")
        self.in_every_mode(body)

    def test_every_tool(self):
        async def body(mode):
            async with self.client("tools", mode) as client:
                tools = {tool.name for tool in (await client.list_tools()).tools}
                used = set()

                async def call(name, /, **arguments):
                    used.add(name)
                    return await self.tool(client, name, **arguments)
                first = (await call("remember", text="The tests need ninja.", tags=["build"]))["id"]
                hits = (await call("recall", query="testing", agent="tools"))["hits"]
                self.assertEqual(hits[0]["text"], "The tests need ninja.")
                second = (await call("supersede", id=first, text="The tests need meson."))["id"]
                got = await call("get", ids=[first, second])
                self.assertEqual((got["missing"], got["memories"][0]["text"]), ([first], "The tests need meson."))
                self.assertEqual((await call("recent", limit=1))["memories"][0]["id"], second)
                self.assertEqual((await call("forget", ids=[second, first])), {"forgotten": [second], "missing": [first]})
                name = (await call("set_state", status="testing", extra={"mode": mode}))["name"]
                self.assertEqual((await call("list_states", name=name))["states"][0]["extra"], {"mode": mode})
                version = (await call("key_set", key="k", value="v"))["version"]
                self.assertEqual(await call("key_get", key="k"), {"found": True, "value": "v", "version": version})
                self.assertEqual([item["key"] for item in (await call("key_list"))["keys"]], ["k"])
                self.assertTrue((await call("key_delete", key="k"))["deleted"])
                index = (await call("stream_append", stream="s", entry="e"))["index"]
                self.assertEqual((await call("stream_read", stream="s", **{"from": -1}))["entries"][0]["index"], index)
                path = os.path.join(self.directory, "lines")
                with open(path, "w", encoding="utf-8") as file:
                    file.writelines(f'{{"text": "line {i}"}}\n' for i in range(3000))
                told = []

                async def progress(done, total, message):
                    told.append((done, total, message))
                used.add("import")
                result = await client.call_tool("import", {"file": path}, progress_callback=progress)
                self.assertEqual(result.structured_content["memories"], 3000)
                self.assertEqual(told, sorted(told, key=lambda step: step[0]))
                self.assertEqual(used, tools)
                self.assertIn("missing", await self.tool_fails(client, "remember"))
                self.assertIn("no argument", await self.tool_fails(client, "recent", no_such=1))
                await self.refused(INVALID_PARAMS, client.call_tool("no_such", {}))
        self.in_every_mode(body)

    def test_resources(self):
        self.roost("add", "--json", stdin=b"".join(b'{"text": "note %d"}\n' % i for i in range(120)))

        async def body(mode):
            async with self.client("resources", mode) as client:
                await self.tool(client, "set_state", name="an agent/\u00e4", status="x")
                listed, cursor = [], None
                while True:
                    page = await client.list_resources(cursor=cursor)
                    listed += page.resources
                    cursor = page.next_cursor
                    if not cursor:
                        break
                uris = [str(resource.uri) for resource in listed]
                self.assertEqual(len([uri for uri in uris if uri.startswith("roost://memory/")]), 120)
                self.assertEqual(len(uris), len(set(uris)))
                for uri in uris[:3] + uris[-3:]:
                    contents = (await client.read_resource(uri)).contents
                    self.assertEqual(len(contents), 1)
                    self.assertTrue(contents[0].text)
                templates = (await client.list_resource_templates()).resource_templates
                self.assertEqual([template.uri_template for template in templates], ["roost://memory/{id}", "roost://state/{name}"])
                missing = NO_SUCH_RESOURCE if mode == "legacy" else INVALID_PARAMS
                await self.refused(missing, client.read_resource("roost://memory/99999"))
                await self.refused(INVALID_PARAMS, client.list_resources(cursor="nonsense"))
        self.in_every_mode(body)

    def test_prompts_and_completion(self):
        async def body(mode):
            async with self.client("prompts", mode) as client:
                await self.tool(client, "remember", text="The port is 80.", tags=["net", "\u00e4"], session="s-" + mode)
                await self.tool(client, "set_state", name="agent", status="x")
                self.assertEqual([prompt.name for prompt in (await client.list_prompts()).prompts], ["recall", "handover"])
                prompt = await client.get_prompt("recall", {"topic": "port"})
                self.assertIn("> The port is 80.", prompt.messages[0].content.text)
                self.assertIn("port is 80", (await client.get_prompt("handover", {"session": "s-" + mode})).messages[0].content.text)
                await client.get_prompt("handover")
                await self.refused(INVALID_PARAMS, client.get_prompt("recall"))
                await self.refused(INVALID_PARAMS, client.get_prompt("no such"))
                recall = types.PromptReference(type="ref/prompt", name="recall")
                done = await client.complete(recall, {"name": "topic", "value": "n"})
                self.assertEqual(done.completion.values, ["net"])
                handover = types.PromptReference(type="ref/prompt", name="handover")
                self.assertIn("s-" + mode, (await client.complete(handover, {"name": "session", "value": "s"})).completion.values)
                state = types.ResourceTemplateReference(type="ref/resource", uri="roost://state/{name}")
                self.assertEqual((await client.complete(state, {"name": "name", "value": "ag"})).completion.values, ["agent"])
                memory = types.ResourceTemplateReference(type="ref/resource", uri="roost://memory/{id}")
                self.assertTrue((await client.complete(memory, {"name": "id", "value": ""})).completion.values)
        self.in_every_mode(body)

    def test_listen(self):
        async def body(mode):
            async with self.client("writer", mode) as writer, self.client("reader", mode) as reader:
                uris = ["roost://state/live", "roost://memories"]
                await self.tool(writer, "set_state", name="live", status="before")
                async with reader.listen(resource_subscriptions=[*uris, "roost://nonsense"], resources_list_changed=True,
                                         tools_list_changed=True) as subscription:
                    self.assertEqual(list(subscription.honored.resource_subscriptions), uris)
                    self.assertFalse(subscription.honored.tools_list_changed)
                    await self.tool(writer, "set_state", name="live", status="now")
                    event = await asyncio.wait_for(anext(subscription), PATIENCE)
                    self.assertEqual(event, ResourceUpdated(uri="roost://state/live"))
                    text = (await reader.read_resource("roost://state/live")).contents[0].text
                    self.assertEqual(json.loads(text)["status"], "now")
                    await self.tool(writer, "remember", text="x")
                    events = [await asyncio.wait_for(anext(subscription), PATIENCE) for _ in range(2)]
                    self.assertIn(ResourceUpdated(uri="roost://memories"), events)
                    self.assertIn(ResourcesListChanged(), events)
                # It was cancelled; another one can be opened, and the rest goes on.
                async with reader.listen(resource_subscriptions=["roost://states"]) as subscription:
                    await self.tool(writer, "set_state", name="live", status="later")
                    self.assertEqual(await asyncio.wait_for(anext(subscription), PATIENCE), ResourceUpdated(uri="roost://states"))
                await reader.list_tools()
        for mode in ("auto", MODERN):
            with self.subTest(mode=mode):
                asyncio.run(asyncio.wait_for(body(mode), 4 * PATIENCE))

    def test_subscriptions_of_older_eras(self):
        async def body():
            watcher = Watcher()
            async with self.client("writer", "legacy") as writer, self.client("reader", "legacy", watcher) as reader:
                await self.tool(writer, "set_state", name="live", status="before")
                await reader.subscribe_resource("roost://state/live")
                await self.tool(writer, "set_state", name="live", status="now")
                self.assertEqual(await watcher.next(), "roost://state/live")
                await reader.unsubscribe_resource("roost://state/live")
                await reader.subscribe_resource("roost://memories")
                await self.tool(writer, "set_state", name="live", status="unheard")
                await self.tool(writer, "remember", text="x")
                self.assertEqual(await watcher.next(), "roost://memories")
                await self.refused(NO_SUCH_RESOURCE, reader.subscribe_resource("roost://nonsense"))
        asyncio.run(asyncio.wait_for(body(), 4 * PATIENCE))


class TestTranscripts(unittest.TestCase):
    """The other tests once more, and every line that the server wrote in them."""

    def run_and_check(self, script):
        folder = tempfile.mkdtemp(prefix="roost-mcp-transcripts-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        done = subprocess.run([sys.executable, str(HERE / script)], env={**os.environ, "ROOST_MCP_TRANSCRIPTS": folder},
                              capture_output=True, timeout=20 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode()[-4000:])
        problems, counts = schema.check(folder)
        self.assertEqual(problems[:10], [])
        return counts

    def test_ordinary_traffic(self):
        counts = self.run_and_check("test_mcp.py")
        for method in ("tools/call", "tools/list", "resources/list", "resources/read", "resources/templates/list", "prompts/list",
                       "prompts/get",
                       "completion/complete"):
            self.assertTrue(counts[method, MODERN] and counts[method, "older"], method)
        for method in ("server/discover", "subscriptions/listen"):
            self.assertTrue(counts[method, MODERN], method)
        for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
            self.assertTrue(counts[method, "older"], method)
        for method in ("resources/updated", "resources/list_changed", "subscriptions/acknowledged", "progress"):
            self.assertTrue(counts["notifications/" + method], method)

    def test_hostile_traffic(self):
        self.assertGreater(self.run_and_check("hostile.py")["error"], 200)


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # what is deprecated is tested, too
