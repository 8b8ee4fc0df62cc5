#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A root that the crate memmap_fs itself has written comes in completely, also when it was torn so that the crate cannot read it any more.

    tests/cli/test_memmap_crate.py [FOLDER]     FOLDER: where the crate is built, to build it once only

Needs cargo, and the crate where cargo looks for crates; exit status 77, and a word why, if there is none. Minutes, the first time.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOST = os.path.abspath(os.environ.get("ROOST_BIN", "build/roost"))
BUILD_SECONDS = 1500
MANIFEST = """[package]
name = "writer"
version = "0.1.0"
edition = "2021"

[dependencies]
memmap_fs = "=0.1.1"
"""
PROGRAM = r"""// Writes what expected() in the test says; with "again" it only opens the root and appends one memory.
use memmap_fs::MemMapFS;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let root = match MemMapFS::init(&words[1]) {
        Ok(root) => root,
        Err(error) => {
            println!("refused: {error}");
            return;
        }
    };
    if words[2] == "again" {
        root.append_memory("again", vec![]).unwrap();
        return;
    }
    for i in 0..300 {
        let tags = (0..i % 4).map(|t| format!("tag {t} \u{e4}")).collect();
        let text = format!("memory {i} {}", "\u{4f60}\0 text ".repeat(i * 7 % 50));
        assert_eq!(root.append_memory(&text, tags).unwrap(), i as u64 + 1);
        root.set_kv(format!("key {}", i % 60), (0..i).map(|b| (b * 37 % 256) as u8).collect()).unwrap();
        if i % 7 == 0 {
            root.delete_kv(format!("key {}", i % 50)).unwrap();
        }
        root.append_stream(&format!("stream {}", i % 5), &vec![(i % 256) as u8; i % 11]).unwrap();
    }
    root.append_memory("", vec![]).unwrap();
    for i in 0..3 {
        root.append_stream("large", &vec![b'a' + i; 30 << 20]).unwrap(); // the third goes into another chunk
    }
}
"""


def skip(why):
    print("needs " + why)
    sys.exit(77)


def expected():
    memories, keys, streams = [], {}, {}
    for i in range(300):
        tags = ["tag %d \u00e4" % t for t in range(i % 4)]
        memories.append((str(i + 1), "memory %d " % i + "\u4f60\0 text " * (i * 7 % 50), tags))
        keys["key %d" % (i % 60)] = bytes(b * 37 % 256 for b in range(i))
        if i % 7 == 0:
            keys.pop("key %d" % (i % 50), None)
        streams.setdefault("stream %d" % (i % 5), bytearray()).extend(bytes([i % 256]) * (i % 11))
    memories.append(("301", "(empty)", []))
    streams["large"] = b"".join(bytes([ord("a") + i]) * (30 << 20) for i in range(3))
    return memories, keys, streams


def build(folder):
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for name, text in (("Cargo.toml", MANIFEST), ("src/main.rs", PROGRAM)):
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    done = subprocess.run(["cargo", "build", "--quiet"], cwd=folder, capture_output=True, timeout=BUILD_SECONDS)
    if done.returncode:
        sys.stderr.write(done.stderr.decode(errors="replace"))
        skip("cargo with the crate memmap_fs 0.1.1")
    return folder / "target" / "debug" / "writer"


def roost(root, *arguments, codes=(0,)):
    done = subprocess.run([ROOST, "-C", str(root), *arguments], capture_output=True, timeout=120)
    assert done.returncode in codes, (arguments, done.returncode, done.stderr)
    return done.stdout, done.stderr.decode()


def compare(root, memories, keys, streams):
    here = [json.loads(line) for line in roost(root, "list", "--json", "--limit", "100000")[0].splitlines()]
    assert [(m["metadata"]["memmap_fs"]["id"], m["text"], m["tags"]) for m in here] == memories
    assert {json.loads(line)["key"] for line in roost(root, "kv", "list", "--json", "--limit", "100000")[0].splitlines()} == set(keys)
    for key, value in keys.items():
        assert roost(root, "kv", "get", key)[0] == value, key
    for name, data in streams.items():
        assert roost(root, "stream", "read", name, "--raw", "--limit", "100000")[0] == data, name


def run(writer, folder):
    source, root = folder / "source", folder / "root"
    subprocess.run([writer, source, "all"], check=True, timeout=300)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    roost(root, "init")
    counts = json.loads(roost(root, "import", "--from", "memmap_fs", str(source), "--json")[0])
    memories, keys, streams = expected()
    assert (counts["memories"], counts["keys"], counts["refused"]) == (301, len(keys), 0), counts
    compare(root, memories, keys, streams)
    counts = json.loads(roost(root, "import", "--from", "memmap_fs", str(source), "--json")[0])
    assert (counts["memories"], counts["keys"], counts["stream_entries"]) == (0, 0, 0), counts
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before, "the source was changed"
    # Half a command at the end; the crate goes on behind it, and then refuses its own log.
    with open(source / "state.wal", "ab") as log:
        log.write((30).to_bytes(8, "little") + b"\1\0\0\0\4\0\0")
    for turn in ("again", "again"):
        said = subprocess.run([writer, source, turn], check=True, capture_output=True, timeout=300).stdout.decode()
    assert said.startswith("refused"), "the crate reads what it should not be able to: " + said
    _, message = roost(root, "import", "--from", "memmap_fs", str(source), codes=(0, 5))
    assert "cut out" in message, message
    compare(root, memories + [("302", "again", [])], keys, streams)
    roost(root, "check")


def main():
    if not shutil.which("cargo"):
        skip("cargo")
    with tempfile.TemporaryDirectory(prefix="roost-crate-") as temporary:
        folder = pathlib.Path(temporary)
        writer = build(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else folder / "crate")
        run(writer, folder)
    print("a root of memmap_fs came in completely")


if __name__ == "__main__":
    main()
