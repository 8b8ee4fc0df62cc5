#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""demo.py: three agents share one root; the one that is writing for all is killed; nothing is lost. `./dev demo` runs it.

    demo.py BUILD [--keep]      BUILD: the build folder, with roost and examples/; --keep: leave the root for a look

The agents are examples/agent.c, the watcher is examples/observer.c, everything else is done with the `roost` command. The texts
are the descriptions of the Debian packages that this machine knows, or made-up ones where there are none. Exits 0 only if
every acknowledged memory is there exactly once, byte for byte.
"""
import collections
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

NAMES = ("alice", "bob", "carol")
KILL_AT = 0.4             # the part of all texts that is stored when the writer is killed
RUN_SECONDS = 6           # about so long shall the agents write
TIME_MAX_SECONDS = 120    # something hangs
FEW = 1000                # fewer packages than this are no demonstration


class Failed(Exception):
    pass


def say(text="", indent=""):
    print(textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent), flush=True)


def step(title, text):
    print(f"\n-- {title}", flush=True)
    say(text, "   ")


def number(value):
    return f"{value:,}"


# ---- the texts ---------------------------------------------------------------------------------------------------------

def output_of(*command):
    """What a command prints, or nothing where there is no such command or it fails."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.CalledProcessError):
        return ""


def stanzas(text):
    """Debian's control format: {field: value}, a value's further lines with their leading blank cut off."""
    fields, name = {}, None
    for line in text.split("\n"):
        if not line:
            if fields:
                yield fields
            fields, name = {}, None
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line[1:]
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    if fields:
        yield fields


def long_descriptions():
    """Description-md5 -> long text, from the translation lists, which apt keeps compressed or plain."""
    found = {}
    names = set(glob.glob("/var/lib/apt/lists/*Translation-en*"))
    targets = output_of("apt-get", "indextargets", "-o", "Acquire::Languages=en", "--format", "$(FILENAME)")
    names.update(name for name in targets.split("\n") if "Translation-en" in name)
    for name in sorted(names):
        text = output_of("/usr/lib/apt/apt-helper", "cat-file", name) or output_of("lz4cat", name)
        for fields in stanzas(text):
            if "Description-md5" in fields and "Description-en" in fields:
                found[fields["Description-md5"]] = fields["Description-en"]
    return found


def packages():
    """[(tag, text)], one for each package, no text twice."""
    translated = long_descriptions()
    found = {}
    for fields in stanzas(output_of("apt-cache", "dumpavail")):
        name = fields.get("Package")
        text = translated.get(fields.get("Description-md5"), fields.get("Description", ""))
        if name and text and name not in found:
            found[name] = (fields.get("Section", "misc").rpartition("/")[2], f"{name}: {text}".replace("\0", "").replace("\n.\n", "\n\n"))
    return list(found.values())


def made_up():
    """Where apt has no lists: notes as agents write them, the same every time."""
    words = """agent build cache check deploy disk error file graph index key lock log memory merge module network note owner parser
        plan process query queue release report root search server socket state stream table task test thread token trace user
        vector version window worker writer""".split()
    pick = random.Random(1)
    return [(pick.choice(words), f"note {n}: " + " ".join(pick.choices(words, k=12))) for n in range(60000)]


# ---- processes ---------------------------------------------------------------------------------------------------------

class Agent:
    """One agent process, and what it said it was told: the demo trusts nothing else."""

    def __init__(self, demo, name):
        self.name = name
        self.acknowledged = []  # (first, count, id, submitted_ns, acknowledged_ns)
        self.settled = None
        self.first = None
        command = [demo.build / "examples/agent", demo.root, name, demo.folder / name, str(demo.batch)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        demo.processes.append(self.process)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # it died while it wrote this
            kind, *rest = line.split()
            if kind == "ack":
                self.acknowledged.append(tuple(map(int, rest)))
            elif kind == "from":
                self.first = int(rest[0])
            elif kind == "settled":
                self.settled = rest

    def count(self):
        return sum(entry[1] for entry in list(self.acknowledged))

    def finish(self):
        status = self.process.wait()
        self.reader.join()
        if status:
            raise Failed(f"agent {self.name} ended with status {status}")


class Demo:
    def __init__(self, build):
        self.build = build
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="roost-demo-"))
        self.root = self.folder / "root"
        self.processes = []
        self.agents = []
        self.shares = {}

    def roost(self, *arguments, **options):
        done = subprocess.run([self.build / "roost", "-C", self.root, *arguments], stdout=subprocess.PIPE, text=True, **options)
        if done.returncode:
            raise Failed(f"roost {' '.join(arguments)} ended with status {done.returncode}\n{done.stdout}")
        return done.stdout

    def show(self, *arguments):
        """Runs a command as somebody would type it."""
        print("   $ roost " + " ".join(f"'{a}'" if " " in a else a for a in arguments), flush=True)
        for line in self.roost(*arguments).splitlines():
            print("   " + (line if len(line) <= 97 else line[:94] + "..."), flush=True)

    def start(self, name):
        self.agents.append(Agent(self, name))
        return self.agents[-1]

    def choose_batch(self):
        """Texts a commit, so that the demo takes about RUN_SECONDS on a disk of this speed: two syncs for each agent's commit."""
        with open(self.folder / "speed", "wb") as file:
            file.write(bytes(1 << 20))
            os.fsync(file.fileno())
            times = []
            for block in range(20):
                os.pwrite(file.fileno(), bytes(range(256)) * 16, block * 4096)
                start = time.monotonic()
                os.fdatasync(file.fileno())
                times.append(time.monotonic() - start)
        return max(1, min(64, round(self.total / len(NAMES) * 2 * sorted(times)[5] / RUN_SECONDS)))

    # -- the steps --

    def make_shares(self):
        texts, source = packages(), "the descriptions of all Debian packages that this machine's lists name"
        if len(texts) < FEW:
            texts, source = made_up(), "made-up notes (apt has no package lists here; `apt-get update` would fetch them)"
        self.total = len(texts)
        for index, name in enumerate(NAMES):
            share = self.shares[name] = texts[index::len(NAMES)]
            (self.folder / name).write_bytes(b"".join(f"{tag}\n{text}".encode() + b"\0" for tag, text in share))
        self.batch = self.choose_batch()
        size = sum(len(text.encode()) for _, text in texts)
        step("The texts", f"{number(self.total)} memories: {source}, {size / 1e6:.1f} MB. Each of three agents gets a third.")

    def run_until_kill(self):
        step("Three agents, one root, no server",
             f"{', '.join(NAMES)} are three processes. Each stores its texts, {self.batch if self.batch > 1 else 'one'} a commit, and "
             "every commit is on the disk before it is acknowledged. All of them write at once: one, marked *, holds the writer's role for "
             "the moment and commits for the others too. A fourth process only watches; these lines are its:")
        for name in NAMES:
            self.start(name)
        # One more process that has the root open: what only observes sees nothing any more when the last agent is gone.
        self.anchor = subprocess.Popen([self.build / "roost", "-C", self.root, "watch", "--keys", "nothing"])
        self.processes.append(self.anchor)
        self.observer = subprocess.Popen([self.build / "examples/observer", self.root, "400"])
        self.processes.append(self.observer)
        while sum(agent.count() for agent in self.agents) < self.total * KILL_AT:
            if any(agent.process.poll() for agent in self.agents):
                raise Failed("an agent ended too early")
            time.sleep(0.01)

    def writer(self):
        pid = json.loads(self.roost("stat", "--json")).get("writer_pid")
        return next((agent for agent in self.agents if agent.process.pid == pid), None)

    def kill_writer(self):
        """SIGKILL to whoever holds the role. It is stopped first, so that the role cannot move between the look and the kill."""
        while True:
            if all(agent.process.poll() is not None for agent in self.agents):
                raise Failed("all agents were done before one could be killed while it held the role")
            agent = self.writer()
            if not agent:
                continue
            agent.process.send_signal(signal.SIGSTOP)
            if self.writer() is agent:
                break
            agent.process.send_signal(signal.SIGCONT)
        killed_ns = time.monotonic_ns()
        agent.process.kill()
        agent.process.wait()
        agent.reader.join()
        return agent, killed_ns

    def carry_on(self, victim, killed_ns):
        survivors = [agent for agent in self.agents if agent is not victim]
        while True:
            after = [entry[4] for agent in survivors for entry in list(agent.acknowledged) if entry[4] > killed_ns]
            if after:
                break
            if all(agent.process.poll() is not None for agent in survivors):
                raise Failed("nobody wrote after the kill")
            time.sleep(0.001)
        waited = (min(after) - killed_ns) / 1e6
        step(f"kill -9 {victim.process.pid}",
             f"{victim.name} was killed while it held the writer's role. {waited:.0f} ms later the next write of another agent was "
             "acknowledged: a process that had work took the role. Nobody restarted anything, there was no lock file to remove. What "
             f"{victim.name} last said about itself stays readable, with the mark that its process is gone:")
        self.show("state", "get", victim.name)

    def replace(self, victim):
        told = victim.count()
        successor = self.start(victim.name)
        while successor.first is None:
            if successor.process.poll() is not None:
                raise Failed(f"{victim.name}'s successor ended at once")
            time.sleep(0.001)
        more = successor.first - told
        outcome = {"applied": "it was stored", "never": "it was not stored, and never will be",
                   "unknown": "only a later one is remembered, but the key that each batch sets along says how far it came",
                   }.get((successor.settled or ["", ""])[1], "")
        if more not in (0, self.batch) or not outcome:
            raise Failed(f"{victim.name} was told of {told} texts, its successor of {successor.first}; settled: {successor.settled}")
        step(f"A new {victim.name}",
             f"A fresh process takes over the share. It asks with the receipt of {victim.name}'s last batch what became of it: {outcome}"
             + (f" (though {victim.name} did not live to see the answer)" if more else "")
             + f". So it goes on with text {number(successor.first + 1)}, not one twice:")

    def finish(self, victim):
        for agent in self.agents:
            if agent is not victim:
                agent.finish()
        self.observer.terminate()
        if self.observer.wait():
            raise Failed(f"the observer ended with status {self.observer.returncode}")
        self.anchor.send_signal(signal.SIGINT)
        self.anchor.wait()
        acks = [entry for agent in self.agents for entry in agent.acknowledged]
        seconds = (max(entry[4] for entry in acks) - min(entry[3] for entry in acks)) / 1e9
        say(f"{number(self.total)} memories in {seconds:.1f} s, each on the disk before its agent went on.", "   ")

    def search(self):
        step("Anybody can ask", "A process that was not there before searches all of it (the command's own start included):")
        for query in ("+tag:games strategy ancient warfare", '"full text" search engine library -python'):
            start = time.monotonic()
            self.show("search", "-n", "3", "--", query)
            print(f"   {(time.monotonic() - start) * 1000:.0f} ms", flush=True)

    def verify(self):
        """Every text that an agent was told is stored: is it there exactly once, byte for byte, at the id that was given?"""
        step("The count", "Now everything is read back and compared with what the agents were told.")
        acknowledged, placed = set(), {}
        for agent in self.agents:
            acknowledged.update((agent.name, index) for index in range(agent.first or 0))
            for first, count, memory_id, _, _ in agent.acknowledged:
                acknowledged.update((agent.name, index) for index in range(first, first + count))
                placed.update((memory_id + i, self.shares[agent.name][first + i]) for i in range(count))
        present, wrong = collections.Counter(), 0
        with open(self.folder / "export", "w+", encoding="utf-8") as file:
            subprocess.run([self.build / "roost", "-C", self.root, "export"], stdout=file, check=True)
            file.seek(0)
            for line in file:
                memory = json.loads(line).get("memory")
                if memory:
                    entry = (memory["tags"][0], memory["text"])
                    present[entry] += 1
                    wrong += placed.get(int(memory["id"]), entry) != entry
        expected = {(name, index): self.shares[name][index] for name, index in acknowledged}
        lost = sum(present[entry] == 0 for entry in expected.values())
        doubled = sum(max(count - 1, 0) for count in present.values())
        once = sum(present[entry] == 1 for entry in expected.values())
        strange = sum(present.values()) - doubled - once
        damaged = subprocess.run([self.build / "roost", "-C", self.root, "check"], stdout=subprocess.PIPE, text=True)
        if damaged.returncode:
            print(damaged.stdout)
        print(f"verified: {number(len(acknowledged))} acknowledged, {number(once)} present exactly once, {number(lost)} lost, "
              f"{number(doubled)} doubled", flush=True)
        if lost or doubled or wrong or strange or damaged.returncode or len(acknowledged) != self.total or once != self.total:
            raise Failed(f"of {self.total} texts {len(acknowledged)} acknowledged, {once} there once, {lost} lost, {doubled} doubled, "
                         f"{wrong} under another id than was told, {strange} that nobody acknowledged; roost check: {damaged.returncode}")

    def run(self):
        say("Roost is memory that several AI agents share: one folder, any number of processes, no server. Any process may write, every "
            "process finds it at once, and any process may die at any instant.")
        self.make_shares()
        self.roost("init")
        self.run_until_kill()
        victim, killed_ns = self.kill_writer()
        self.carry_on(victim, killed_ns)
        self.replace(victim)
        self.finish(victim)
        self.search()
        self.verify()

    def clean_up(self, keep):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if keep:
            print(f"the root is {self.root}")
            return
        # Whoever closes last tidies up the shared memory; after a kill nobody did.
        subprocess.run([self.build / "roost", "-C", self.root, "stat"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


def too_long(_number, _frame):
    raise Failed(f"not done after {TIME_MAX_SECONDS} seconds")


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--keep"]
    if len(arguments) != 1:
        sys.exit("usage: demo.py BUILD [--keep]")
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TIME_MAX_SECONDS)
    demo = Demo(pathlib.Path(arguments[0]).resolve())
    status = 1
    try:
        demo.run()
        status = 0
    except Failed as failure:
        print(f"FAILED: {failure}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        demo.clean_up("--keep" in sys.argv)
    sys.exit(status)


if __name__ == "__main__":
    main()
