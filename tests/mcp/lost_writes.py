#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""lost_writes.py: eight servers on one root, fifty memories each at once, and the one that holds the writer's role is killed in the middle.

Every memory that was acknowledged is there, exactly once; whatever the killed one had not acknowledged is there once or not at all.
`lost_writes.py --rounds N` does it so often (5 by itself). Standard library only.
"""
import collections
import json
import os
import signal
import sys
import time
import unittest

from harness import Case, PATIENCE, Server

SERVERS, CALLS = 8, 50
rounds = 5


def holder(path, pids):
    """Which of these processes holds the lock on state.wal; None: nobody just now."""
    inode = str(os.stat(path).st_ino)
    with open("/proc/locks", encoding="ascii") as file:
        for entry in file:
            words = entry.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5].split(":")[-1] == inode and int(words[4]) in pids:
                return int(words[4])
    return None


class TestLostWrites(Case):
    def round(self, number, wanted, allowed):
        """Adds to wanted what was acknowledged, and to allowed what may be there. Was a writer caught at work?"""
        servers = [Server(self, "mcp", client=f"agent{i}") for i in range(SERVERS)]
        for server in servers:
            server.result("resources/list")  # all have the root open
            server.forget_lines()
        by_pid = {server.process.pid: server for server in servers}
        texts = {}
        for i, server in enumerate(servers):
            lines = []
            for j in range(CALLS):
                identity, text = f"{i}-{j}", f"round{number} agent{i} note{j}"
                texts[identity] = text
                lines.append(json.dumps(server.message("tools/call", {"name": "remember", "arguments": {"text": text}}, identity)))
            server.send_raw("\n".join(lines).encode() + b"\n")
        # Some are stored, most are not: whoever writes now dies.
        end = time.monotonic() + PATIENCE
        caught = None
        while time.monotonic() < end:
            done = sum(len(server.lines) for server in servers)
            caught = holder(os.path.join(self.root, "state.wal"), by_pid) if done > number * 20 else None
            if caught or done >= SERVERS * CALLS - 10:
                break
        victim = by_pid[caught] if caught else servers[number % SERVERS]
        victim.process.kill()
        victim.wait_end(-signal.SIGKILL)
        for server in servers:
            replies = server.messages() if server is victim else server.wait_count(CALLS)
            for message in replies:
                self.assertFalse(message["result"].get("isError"), message)
                wanted.append(texts[message["id"]])
            allowed.update(text for identity, text in texts.items() if identity.startswith(f"{servers.index(server)}-"))
        for server in servers:
            if server is not victim:
                server.end()
        return bool(caught)

    def test_nothing_that_was_acknowledged_is_lost_or_doubled(self):
        wanted, allowed, caught = [], set(), 0
        for number in range(rounds):
            caught += self.round(number, wanted, allowed)
            there = collections.Counter(json.loads(line)["text"] for line in self.roost("list", "--json").splitlines())
            self.assertEqual([text for text in wanted if there[text] != 1], [])
            self.assertEqual([text for text, count in there.items() if count != 1 or text not in allowed], [])
        self.assertGreaterEqual(len(wanted), rounds * (SERVERS - 1) * CALLS)
        print(f"{len(wanted)} of {rounds * SERVERS * CALLS} were acknowledged, all are there; {caught} of {rounds} servers died as writers")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--rounds":
        rounds = int(sys.argv[2])
        del sys.argv[1:3]
    unittest.main()
