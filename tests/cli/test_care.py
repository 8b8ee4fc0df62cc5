#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of check, rebuild, backup, restore and rescue as their users see them. Random damage is tests/care/damage.c's.

Runs the binary that ROOST_BIN names (default build/roost). Standard library only.
"""
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_cli import BINARY, CONFLICT, CORRUPT, NO_ROOT, NOT_FOUND, OK, PATIENCE, Case  # noqa: E402

CHUNK = "blocks/chunk_0000.bin"


class TestDamage(Case):
    def setUp(self):
        super().setUp()
        for text in ("alpha one", "beta two", "gamma three"):
            self.ok("add", text)
        self.ok("kv", "set", "color", "red")
        self.ok("kv", "set", "color", "green")
        for entry in ("first", "second", "third"):
            self.ok("stream", "append", "talk", entry)
        self.ok("state", "set", "ada", "--status", "thinking")
        self.ok("checkpoint")

    def flip(self, file, needle, delta=0):
        """Changes one byte, `delta` bytes from where needle stands."""
        path = os.path.join(self.root, file)
        with open(path, "r+b") as handle:
            at = handle.read().index(needle) + delta
            handle.seek(at)
            byte = handle.read(1)
            handle.seek(at)
            handle.write(bytes([byte[0] ^ 1]))

    def copy(self):
        kept = self.root + ".kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.root, kept)
        return kept

    def findings(self, command="check", code=CORRUPT):
        result = self.run_roost(command, "--json")
        self.assertEqual(result.returncode, code, result.stderr)
        return json.loads(result.stdout)["findings"]

    def rescued(self, code=OK):
        saved = os.path.join(self.directory, "saved")
        shutil.rmtree(saved, ignore_errors=True)
        result = self.run_roost("rescue", self.root, saved, "--json")
        self.assertEqual(result.returncode, code, result.stderr)
        self.ok("-C", saved, "check")
        return saved, json.loads(result.stdout)

    def test_a_damaged_memory_stays_named_after_a_rebuild(self):
        self.flip(CHUNK, b"beta two")
        for command in ("check", "rebuild", "check"):
            found = self.findings(command)
            self.assertEqual(len(found), 1, found)
            self.assertEqual((found[0]["file"], found[0]["remedy"]), (CHUNK, "rescue"))
            self.assertIn("memory 2", found[0]["detail"])
        self.fails(CORRUPT, "get", "2", says=CHUNK)
        self.assertEqual(self.text("get", "3"), "gamma three\n")

    def test_a_damaged_header_stays_named_after_a_rebuild(self):
        for file, needle in ((CHUNK, b"beta two"), (CHUNK, b"green"), (CHUNK, b"second")):
            self.flip(file, needle, -40)
        names = ("memory 2", 'key "color"', 'entry 1 of stream "talk"')
        for command in ("check", "rebuild", "check"):
            details = [found["detail"] for found in self.findings(command)]
            for name in names:
                self.assertTrue(any(name in detail for detail in details), (command, details))
        self.fails(CORRUPT, "kv", "get", "color")

    def test_rebuild_needs_no_index(self):
        def remove_segment():
            for name in os.listdir(os.path.join(self.root, "index")):
                if name.startswith("seg-"):
                    os.unlink(os.path.join(self.root, "index", name))

        def spoil(name):
            with open(os.path.join(self.root, "index", name), "r+b") as file:
                file.seek(20)
                file.write(b"spoiled")

        kept = self.copy()
        for harm in (remove_segment, lambda: spoil("MANIFEST"), lambda: spoil("seg-1.idx"),
                     lambda: shutil.rmtree(os.path.join(self.root, "index")),
                     lambda: os.unlink(os.path.join(self.root, "index", "MANIFEST"))):
            shutil.rmtree(self.root)
            shutil.copytree(kept, self.root)
            harm()
            self.ok("rebuild")
            self.ok("check")
            self.assertEqual([memory["text"] for memory in self.lines("list")], ["alpha one", "beta two", "gamma three"])
            self.assertEqual(self.text("kv", "get", "color"), "green")
            self.assertEqual(len(self.json("search", "beta")["hits"]), 1)
            self.ok("add", "after")
            self.assertGreater(int(self.lines("list")[-1]["id"]), 3)

    def test_totals_after_a_rebuild_without_a_forgotten_record(self):
        self.ok("forget", "1")
        self.ok("checkpoint")
        self.flip(CHUNK, b"alpha one", -40)
        self.run_roost("rebuild")
        self.assertEqual(self.json("stat")["memories"], 2)
        self.assertEqual([memory["id"] for memory in self.lines("list")], ["2", "3"])

    def test_a_forgotten_memory_does_not_come_back(self):
        """The record of the forget itself is damaged: the index still knows."""
        self.ok("forget", "1")
        self.ok("checkpoint")
        with open(os.path.join(self.root, CHUNK), "r+b") as file:
            data = file.read()
            at = data.rindex(b"RCRD", 0, data.rindex(b"RCRD"))
            while data[at + 4] != 2:  # FORGET
                at = data.rindex(b"RCRD", 0, at)
            file.seek(at + 10)
            file.write(b"\xff\xff")
        self.run_roost("rebuild")
        self.fails(NOT_FOUND, "get", "1")
        self.run_roost("checkpoint")
        with open(os.path.join(self.root, "state.wal"), "r+b") as file:  # and the log does not help
            file.seek(8192)
            file.write(bytes(1 << 20))
        saved, _ = self.rescued()
        self.fails(NOT_FOUND, "-C", saved, "get", "1")

    def test_export_leaves_out_what_is_damaged(self):
        self.flip(CHUNK, b"beta two")
        self.flip(CHUNK, b"second")
        result = self.run_roost("export")
        self.assertEqual(result.returncode, CORRUPT)
        self.assertIn(b"2 damaged entries were left out", result.stderr)
        for name in (b"memory 2: ", b'entry 1 of stream "talk": '):
            self.assertIn(name, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([line["memory"]["id"] for line in lines if "memory" in line], ["1", "3"])
        self.assertEqual([line["stream"]["index"] for line in lines if "stream" in line], [0, 2])
        file = os.path.join(self.directory, "out.jsonl")
        with open(file, "w", encoding="utf-8") as handle:
            handle.write("an older one\n")
        self.assertEqual(self.run_roost("export", file).returncode, CORRUPT)
        with open(file, encoding="utf-8") as handle:
            self.assertEqual(handle.read(), "an older one\n")
        self.assertTrue(os.path.exists(file + ".partial"))

    def test_listings_name_what_is_damaged_and_go_on(self):
        for text in ("omega beta two", "omega beta four"):
            self.ok("add", text)
        for key in ("a", "b", "c"):
            self.ok("kv", "set", key, "value of " + key)
        for agent in ("bob", "eve"):
            self.ok("state", "set", agent, "--status", "status of " + agent)
        self.ok("checkpoint")
        for needle in (b"beta two", b"omega beta two", b"value of b", b"second", b"status of bob"):
            self.flip(CHUNK, needle)
        for command, names, says in (
                (["list"], ["1", "3", "5"], "memory 2"),
                (["list", "--reverse"], ["5", "3", "1"], "memory 4"),
                (["recent", "2"], ["5", "3"], "memory 4"),
                (["kv", "list"], ["a", "c", "color"], 'key "b"'),
                (["state", "list"], ["ada", "eve"], 'state of "bob"'),
                (["stream", "read", "talk"], [0, 2], 'entry 1 of stream "talk"'),
                (["stream", "follow", "talk", "--from", "0", "-n", "2"], [0, 2], 'entry 1 of stream "talk"'),
                (["search", "omega"], ["5"], "memory 4")):
            result = self.run_roost(*command, "--json")
            self.assertEqual(result.returncode, CORRUPT, (command, result))
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            if command[0] == "search":
                lines = lines[0]["hits"]
            shown = [line.get("id", line.get("key", line.get("index", line.get("name")))) for line in lines]
            self.assertEqual([name for name in shown if name != ""], names, command)
            self.assertIn(says + ": ", result.stderr.decode())
            self.assertIn(CHUNK, result.stderr.decode())
            self.assertIn("left out; `roost check` lists what is hurt", result.stderr.decode())
        self.ok("list", "-n", "1")

    def test_a_chunk_that_was_cut_off_within_padding_lost_nothing(self):
        shutil.rmtree(self.root)
        self.ok("init", "--log-size", "1M", "--chunk-size", "1M", "--region", "file")
        for text in ("first " * 150000, "some last words", "in the next chunk " * 20000):
            self.ok("add", stdin=text.encode())
        self.ok("checkpoint")
        path = os.path.join(self.root, CHUNK)
        with open(path, "r+b") as file:
            end = file.read().index(b"some last words") + len(b"some last words")
            self.assertNotEqual(end % 8, 0)
            file.truncate(end)
        self.assertEqual(self.text("get", "2"), "some last words\n")
        self.ok("check")
        self.rescued()
        self.ok("rebuild")
        self.assertEqual(self.text("get", "2"), "some last words\n")
        with open(path, "r+b") as file:
            file.truncate(end - 1)
        self.fails(CORRUPT, "get", "2", says=CHUNK)
        self.assertEqual(self.run_roost("check").returncode, CORRUPT)

    def test_a_damaged_log_is_said_aloud_and_rescued(self):
        shutil.rmtree(self.root)
        self.ok("init", "--log-size", "1M", "--chunk-size", "1M", "--arena-size", "1M", "--region", "file")
        for i in range(5):
            self.ok("add", "memory %d" % i)
        with open(os.path.join(self.root, "state.wal"), "r+b") as file:
            file.seek(8204)
            file.write(b"damaged!")
        listed = self.run_roost("list")
        self.assertIn(b"damaged at offset 8192", listed.stderr)
        self.assertEqual(listed.stderr.count(b"\n"), 1)
        exported = self.run_roost("export")
        self.assertEqual(exported.returncode, CORRUPT)
        self.assertIn(b"warning", exported.stderr)
        self.assertEqual(self.run_roost("add", "more").returncode, CORRUPT)
        self.assertEqual(self.run_roost("rebuild").returncode, CORRUPT)
        saved, answer = self.rescued()
        self.assertEqual(answer["lost"], 0)
        self.assertEqual([memory["text"] for memory in self.lines("-C", saved, "list")], ["memory %d" % i for i in range(5)])

    def test_a_log_that_was_cut_off_is_damage(self):
        self.ok("add", "only in the log")
        with open(os.path.join(self.root, "state.wal"), "r+b") as file:
            file.truncate(8192 + 512)
        self.assertEqual(self.run_roost("check").returncode, CORRUPT)
        self.assertEqual(self.run_roost("add", "more").returncode, CORRUPT)
        saved, _ = self.rescued()
        self.assertEqual(self.lines("-C", saved, "list")[-1]["text"], "only in the log")

    def test_rescue_names_what_is_lost_and_brings_back_nothing_older(self):
        self.flip(CHUNK, b"beta two")
        self.flip(CHUNK, b"green")
        os.unlink(os.path.join(self.root, "state.wal"))
        saved, answer = self.rescued(CORRUPT)
        details = " ".join(found["detail"] for found in answer["findings"])
        for name in ("memory 2", 'key "color"'):
            self.assertIn(name, details)
        self.fails(NOT_FOUND, "-C", saved, "get", "2")
        self.fails(NOT_FOUND, "-C", saved, "kv", "get", "color")
        self.assertEqual(self.text("-C", saved, "get", "3"), "gamma three\n")
        self.assertEqual(self.json("-C", saved, "state", "get", "ada")["status"], "thinking")

    def test_a_stream_with_a_hole_is_read_around_it(self):
        for i in range(4):
            self.ok("stream", "append", "talk", "entry %d" % i)
        self.ok("checkpoint")
        entries = ["first", "second", "third"] + ["entry %d" % i for i in range(4)]
        kept = self.copy()
        for lost in range(len(entries)):
            shutil.rmtree(self.root)
            shutil.copytree(kept, self.root)
            self.flip(CHUNK, entries[lost].encode())
            os.unlink(os.path.join(self.root, "state.wal"))
            saved, _ = self.rescued(CORRUPT)
            shown = self.lines("-C", saved, "stream", "read", "talk")
            self.assertEqual([line["index"] for line in shown], [i for i in range(len(entries)) if i != lost])
            place = 0
            for index, entry in enumerate(entries):
                for byte in (place, place + len(entry) - 1):
                    if index == lost:
                        self.fails(NOT_FOUND, "-C", saved, "stream", "read", "talk", "--at", str(byte),
                                   says="is lost" if lost < len(entries) - 1 else "there is none at offset")
                    else:
                        shown = self.lines("-C", saved, "stream", "read", "talk", "--at", str(byte), "-n", "1")
                        self.assertEqual(shown[0]["index"], index)
                place += len(entry)

    def test_rescue_takes_from_the_log_what_rotted_in_the_blocks(self):
        before = self.text("export")
        self.flip(CHUNK, b"beta two")
        self.flip(CHUNK, b"green", -40)
        saved, answer = self.rescued()
        self.assertEqual(answer["findings"], [])
        self.assertEqual(self.text("-C", saved, "export"), before)

    def test_a_lost_manifest_does_not_make_a_root_look_empty(self):
        """The log was written over meanwhile: what the index named is nowhere else."""
        shutil.rmtree(self.root)
        self.ok("init", "--log-size", "64K", "--chunk-size", "1M", "--arena-size", "1M", "--region", "file")
        self.ok("add", "--json", stdin="\n".join(json.dumps({"text": "memory %d" % i}) for i in range(1000)))
        self.ok("kv", "set", "color", "green")
        self.ok("checkpoint")
        expected = [memory["text"] for memory in self.lines("list")]
        backup = os.path.join(self.directory, "backup")
        self.ok("backup", backup)
        index = os.path.join(self.root, "index")
        os.unlink(os.path.join(index, "MANIFEST"))
        before = os.listdir(index)
        for command in (["list"], ["check"], ["add", "more"], ["search", "memory"], ["checkpoint"], ["export"]):
            self.fails(CORRUPT, *command, says="rebuild")
        self.fails(CORRUPT, "restore", self.root, os.path.join(self.directory, "back"), says="rebuild")
        self.assertEqual(os.listdir(index), before)
        for _ in range(5):
            rebuild = self.start("rebuild")
            while rebuild.poll() is None and os.listdir(index) == before:
                pass
            rebuild.kill()
            rebuild.wait()
            if not os.path.exists(os.path.join(index, "MANIFEST")):
                self.fails(CORRUPT, "list", says="rebuild")
        self.ok("rebuild")
        self.ok("check")
        self.assertEqual([memory["text"] for memory in self.lines("list")], expected)
        self.assertEqual(self.text("kv", "get", "color"), "green")

    def test_a_lost_log_does_not_make_a_root_look_new(self):
        os.unlink(os.path.join(self.root, "state.wal"))
        for command in (["list"], ["check"], ["rebuild"]):
            self.fails(NO_ROOT, *command, says="roost rescue")
        self.fails(CORRUPT, "init", says="roost rescue")
        self.assertFalse(os.path.exists(os.path.join(self.root, "state.wal")))
        saved, answer = self.rescued(CORRUPT)
        self.assertEqual([found["file"] for found in answer["findings"]], ["state.wal"])
        self.assertEqual([memory["text"] for memory in self.lines("-C", saved, "list")], ["alpha one", "beta two", "gamma three"])

    def test_a_rebuild_replays_what_needs_the_damaged_segment(self):
        for i in range(300):
            self.ok("add", "one of many %d" % i)
        self.ok("checkpoint")
        for name in ("2", "17", "250"):
            self.ok("forget", name)
        segment = max((name for name in os.listdir(os.path.join(self.root, "index")) if name.startswith("seg-")),
                      key=lambda name: os.path.getsize(os.path.join(self.root, "index", name)))
        with open(os.path.join(self.root, "index", segment), "r+b") as file:
            file.seek(4096)
            file.write(bytes(4096))
        self.assertEqual(self.run_roost("check").returncode, CORRUPT)
        self.ok("rebuild")
        self.ok("check")
        shown = [int(memory["id"]) for memory in self.lines("list")]
        self.assertEqual(shown, [n for n in range(1, 304) if n not in (2, 17, 250)])

    def test_rescue_makes_a_root_of_what_contradicts_itself(self):
        """The newest of several blocks is lost, and the index that would have said what was in it."""
        shutil.rmtree(self.root)
        self.ok("init", "--log-size", "1M", "--chunk-size", "1M", "--region", "file")
        for i in range(30):
            self.ok("add", "memory %d " % i + "m" * 100000)
        self.ok("forget", "3")
        self.ok("checkpoint")
        chunks = sorted(os.listdir(os.path.join(self.root, "blocks")))
        self.assertGreater(len(chunks), 2)
        shutil.rmtree(os.path.join(self.root, "index"))
        os.unlink(os.path.join(self.root, "blocks", chunks[1]))
        saved = os.path.join(self.directory, "saved")
        self.assertEqual(self.run_roost("rescue", self.root, saved).returncode, CORRUPT)
        self.ok("-C", saved, "add", "goes on")
        texts = [memory["text"] for memory in self.lines("-C", saved, "list")]
        self.assertGreater(len(texts), 10)
        self.assertNotIn("3", [memory["id"] for memory in self.lines("-C", saved, "list")])

    def test_rescue_refuses_what_is_open_or_not_empty(self):
        holder = self.start("add", "--json")  # keeps the root open until its stdin ends
        while not self.json("stat")["participants"] > 1:
            pass
        self.fails(CONFLICT, "rescue", self.root, os.path.join(self.directory, "saved"), says="open in another process")
        holder.stdin.close()
        holder.wait(PATIENCE)
        self.fails(CONFLICT, "rescue", self.root, self.directory, says="not empty")


class TestCopies(Case):
    def test_backup_and_restore(self):
        for i in range(50):
            self.ok("add", "memory %d" % i, "--tag", "t%d" % (i % 3))
        self.ok("kv", "set", "k", "v")
        self.ok("forget", "7")
        backup, back = os.path.join(self.directory, "backup"), os.path.join(self.directory, "back")
        answer = self.json("backup", backup)
        self.assertEqual(answer["memories"], 49)
        self.fails(CONFLICT, "backup", backup, says="not empty")
        self.ok("add", "later")
        self.assertEqual(self.json("restore", backup, back)["memories"], 49)
        for copy in (backup, back):
            self.ok("-C", copy, "check")
            self.assertEqual(len(self.lines("-C", copy, "list")), 49)
            self.assertNotEqual(self.json("-C", copy, "stat")["uuid"], self.json("stat")["uuid"])
            self.ok("-C", copy, "add", "to the copy")
        self.assertEqual(len(self.lines("list")), 50)
        self.ok("rebuild")
        self.ok("-C", back, "rebuild")

    def test_a_backup_that_rotted_is_refused(self):
        self.ok("add", "precious words")
        backup = os.path.join(self.directory, "backup")
        self.ok("backup", backup)
        with open(os.path.join(backup, CHUNK), "r+b") as file:
            at = file.read().index(b"precious")
            file.seek(at)
            file.write(b"P")
        result = self.run_roost("restore", backup, os.path.join(self.directory, "back"))
        self.assertEqual(result.returncode, CORRUPT)
        self.assertFalse(os.path.exists(os.path.join(self.directory, "back", "state.wal")))

    def test_backups_while_others_write(self):
        writers = [self.start("add", "--json", "--wait", "60") for _ in range(3)]
        feed = [b"".join(b'{"text":"writer %d line %d"}\n' % (n, i) for i in range(1500)) for n in range(3)]
        helpers = [subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=writer.stdin) for writer in writers]
        readers = [subprocess.Popen(["cat"], stdin=writer.stdout, stdout=subprocess.DEVNULL) for writer in writers]
        for writer in writers:
            writer.stdin.close()
            writer.stdout.close()
        for helper, lines in zip(helpers, feed):
            helper.stdin.write(lines)
            helper.stdin.close()
        count = 0
        while any(writer.poll() is None for writer in writers) or count < 2:
            copy = os.path.join(self.directory, "copy%d" % count)
            lsn = int(self.json("backup", copy, "--wait", "60")["lsn"])
            memories = self.lines("-C", copy, "list")
            self.ok("-C", copy, "check")
            self.assertTrue(all(int(memory["lsn"]) <= lsn for memory in memories))
            for n in range(3):  # one moment: of each writer a prefix
                own = [memory["text"] for memory in memories if memory["text"].startswith("writer %d " % n)]
                self.assertEqual(own, ["writer %d line %d" % (n, i) for i in range(len(own))])
            shutil.rmtree(copy)
            count += 1
        for process in writers + helpers + readers:
            self.assertEqual(process.wait(PATIENCE), OK)
        self.assertEqual(len(self.lines("list")), 4500)
        self.ok("check")

    def test_a_killed_backup_is_no_root(self):
        for i in range(30):
            self.ok("add", "x" * 60000)
        copy = os.path.join(self.directory, "copy")
        for delay in range(12):
            shutil.rmtree(copy, ignore_errors=True)
            process = subprocess.Popen(["timeout", "-s", "KILL", "%.3f" % (0.002 * (delay + 1)), BINARY, "backup", copy],
                                       cwd=self.directory, env=self.environment, stdout=subprocess.DEVNULL)
            process.wait(PATIENCE)
            if os.path.exists(os.path.join(copy, "state.wal")):
                self.ok("-C", copy, "check")
                self.assertEqual(len(self.lines("-C", copy, "list")), 30)
        self.ok("check")
        self.assertEqual(len(self.lines("list")), 30)


if __name__ == "__main__":
    unittest.main()
