#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""reader.py: reads a root with nothing of Roost's code: an executable specification of what is on the disk.

Places and sizes of fields come from protocol/*.layout.json; what they mean is written down here a second time, from the prose
in protocol/*.md. Plain Python, standard library only; XXH3 is in xxh3.py, LZ4 blocks are decoded below.

    tests/reader.py ROOT                  prints the root's content as JSON (memories, keys, streams, states)
    tests/reader.py --golden FOLDER       every FOLDER/NAME/root (or root.tar.xz) must give what FOLDER/NAME/expected.json says
    tests/reader.py --compare ROOT FILE   the same for one root

Bytes that are not UTF-8 appear as {"hex": "..."}. Only a root at rest is read: nothing is locked.
"""
import argparse
import io
import json
import pathlib
import re
import struct
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from xxh3 import hash_seed, xxh3_64  # noqa: E402

PROTOCOL = pathlib.Path(__file__).resolve().parent.parent / "protocol"
LAYOUT_FILES = ("log", "blocks", "manifest")


class Corrupt(Exception):
    """Bytes that are not what they should be; the message says which and where."""


# ---- structs from the layout files ------------------------------------------------------------------------------------

class Field:
    CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q"}

    def __init__(self, data, structs):
        self.name, self.offset = data["name"], data["offset"]
        base, count = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", data["type"]).groups()
        self.base, self.count = base, int(count) if count else None
        self.structs = structs

    def read(self, data, at):
        at += self.offset
        if self.base == "bytes":
            return bytes(data[at:at + self.count])
        if self.base in self.CODES:
            values = struct.unpack_from(f"<{self.count or 1}{self.CODES[self.base]}", data, at)
        else:
            inner = self.structs[self.base]
            values = [inner.read(data, at + i * inner.size) for i in range(self.count or 1)]
        if self.base == "u8" and self.count:
            return bytes(values)
        return list(values) if self.count else values[0]


class Struct:
    def __init__(self, data, structs):
        self.name, self.size = data["name"], data["size"]
        self.fields = [Field(field, structs) for field in data["fields"]]
        self.places = {field.name: field for field in self.fields}

    def read(self, data, at=0):
        """The fields as a dict, by name."""
        if at < 0 or at + self.size > len(data):
            raise Corrupt(f"{self.name} at {at} runs over the end")
        return {field.name: field.read(data, at) for field in self.fields}

    def without(self, data, at, name):
        """The struct's bytes with the field `name` as zeroes: what checksums are made of."""
        field = self.places[name]
        raw = bytearray(data[at:at + self.size])
        raw[field.offset:field.offset + 8] = bytes(8)
        return bytes(raw)


def layout_data(folder=PROTOCOL):
    """The durable layout files, parsed."""
    for name in LAYOUT_FILES:
        path = folder / f"{name}.layout.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there")
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("byte_order") != "little":
            raise Corrupt(f"{path}: byte order {data.get('byte_order')}")
        yield data


CONSTANTS = {constant["name"].removeprefix("RST_"): constant["value"] for data in layout_data() for constant in data["constants"]}


def magic(name, size):
    """A magic number as the bytes that stand in the file."""
    return CONSTANTS[name].to_bytes(size, "little")


class Layouts:
    """All structs of the durable layout files, by name, with or without the prefix rst_."""

    def __init__(self, folder=PROTOCOL):
        self.structs = {}
        for data in layout_data(folder):
            own = {}
            for item in data["structs"]:
                own[item["name"]] = Struct(item, own)
            for key, value in own.items():
                self.structs[key.removeprefix("rst_")] = value

    def __getitem__(self, name):
        return self.structs[name.removeprefix("rst_")]


# ---- pieces -----------------------------------------------------------------------------------------------------------

def align_up(value, alignment):
    return (value + alignment - 1) // alignment * alignment


def varint(data, at):
    """LEB128: the value and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Corrupt("a varint runs over the end")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def lz4_block(data, size):
    """Decodes one LZ4 block (the format without a frame) of `size` bytes uncompressed."""
    out = bytearray()
    at = 0

    def extended(length):
        nonlocal at
        if length == 15:
            while True:
                more = data[at]
                at += 1
                length += more
                if more != 255:
                    break
        return length

    try:
        while at < len(data):
            token = data[at]
            at += 1
            count = extended(token >> 4)
            if at + count > len(data):
                raise Corrupt("LZ4: literals run over the end")
            out += data[at:at + count]
            at += count
            if at == len(data):
                break
            back = data[at] | data[at + 1] << 8
            at += 2
            count = extended(token & 15) + 4
            if back == 0 or back > len(out):
                raise Corrupt("LZ4: a match begins before the data")
            start = len(out) - back
            if back >= count:
                out += out[start:start + count]
            else:
                for i in range(count): # it overlaps itself
                    out.append(out[start + i])
            if len(out) > size:
                raise Corrupt("LZ4: more than the size that was named")
    except IndexError:
        raise Corrupt("LZ4: the block is cut short") from None
    if len(out) != size:
        raise Corrupt(f"LZ4: {len(out)} bytes instead of {size}")
    return bytes(out)


# ---- records ----------------------------------------------------------------------------------------------------------

RECORD_MAGIC = magic("RECORD_MAGIC", 4)
MEMORY, FORGET, KEY_SET, KEY_DELETE, STREAM, STATE, EPOCH, VOID = (
    CONSTANTS["RECORD_" + name] for name in ("MEMORY", "FORGET", "KEY_SET", "KEY_DELETE", "STREAM", "STATE", "EPOCH", "VOID"))
FIELD_END, FIELD_KEY, FIELD_NAME, FIELD_TAG = (CONSTANTS["FIELD_" + name] for name in ("END", "KEY", "NAME", "TAG"))
FIELDS_ORIGIN = {CONSTANTS["FIELD_" + name]: name.lower() for name in ("AGENT", "SESSION", "PROCESS", "TOOL", "METADATA")}
ALIGNMENT = CONSTANTS["RECORD_ALIGNMENT"]


class Record:
    """One record of the blocks; payload None where its bytes lie elsewhere."""

    def __init__(self, layouts, data, at, chunk, offset):
        layout = layouts["record"]
        self.header = layout.read(data, at)
        if data[at:at + 4] != RECORD_MAGIC:
            raise Corrupt(f"chunk {chunk} offset {offset}: no record begins here")
        self.chunk, self.offset = chunk, offset
        begin = at + layout.size
        end = begin + self.header["fields_size"]
        if end > len(data) or self.header["fields_size"] % ALIGNMENT:
            raise Corrupt(f"chunk {chunk} offset {offset}: fields run over the end")
        self.raw_fields = bytes(data[begin:end])
        seed = hash_seed(self.header["epoch"], chunk << 32 | offset)
        if xxh3_64(self.raw_fields, xxh3_64(layout.without(data, at, "checksum"), seed)) != self.header["checksum"]:
            raise Corrupt(f"chunk {chunk} offset {offset}: the record fails its checksum")
        if not MEMORY <= self.header["kind"] <= VOID:
            raise Corrupt(f"chunk {chunk} offset {offset}: a record of unknown kind {self.header['kind']}")
        self.payload_at = end - at
        self.size = align_up(self.payload_at + self.header["payload_size"], ALIGNMENT)
        payload = bytes(data[end:end + self.header["payload_size"]])
        self.payload = payload if len(payload) == self.header["payload_size"] else None

    def __getattr__(self, name):
        try:
            return self.__dict__["header"][name]
        except KeyError:
            raise AttributeError(name) from None

    def payload_is_right(self):
        if not self.header["payload_size"]:
            return True  # its hash is not looked at: kinds without a payload have 0 there
        return self.payload is not None and xxh3_64(self.payload) == self.header["payload_hash"]

    def fields(self):
        """(tag, bytes) one after the other."""
        at = 0
        while at < len(self.raw_fields) and self.raw_fields[at] != FIELD_END:
            tag = self.raw_fields[at]
            size, at = varint(self.raw_fields, at + 1)
            if at + size > len(self.raw_fields):
                raise Corrupt(f"chunk {self.chunk} offset {self.offset}: a field runs over the end")
            yield tag, self.raw_fields[at:at + size]
            at += size

    def field(self, wanted):
        return next((value for tag, value in self.fields() if tag == wanted), None)


def scan_chunk(layouts, data, chunk):
    """Every valid record of a chunk file. What lies between (punched, zeroed, granted and never committed) is passed over."""
    at = 0
    while True:
        at = data.find(RECORD_MAGIC, at)
        if at < 0:
            return
        if at % ALIGNMENT:
            at += 1
            continue
        try:
            record = Record(layouts, data, at, chunk, at)
        except Corrupt:
            at += ALIGNMENT
            continue
        yield record
        # What is inside a void extent is nobody's; its own size says where to go on, if it stays inside the chunk. A record with a
        # payload that is not its own may have been overwritten: what lies inside is looked at too.
        if record.kind == VOID:
            whole = layouts["record"].size <= record.number <= len(data) - at
            at += align_up(record.number, ALIGNMENT) if whole else ALIGNMENT
        else:
            at += record.size if record.payload_is_right() else ALIGNMENT


# ---- the log ----------------------------------------------------------------------------------------------------------

LOG_MAGIC = magic("LOG_MAGIC", 8)
FRAME_MAGIC = magic("FRAME_MAGIC", 4)
FORMAT_VERSION = CONSTANTS["FORMAT_VERSION"]
HEADER_SLOT, RING_OFFSET, FRAME_ALIGNMENT = (CONSTANTS[name] for name in ("LOG_HEADER_SIZE", "LOG_RING_OFFSET", "FRAME_ALIGNMENT"))
FRAME_LZ4, FRAME_CLOSED = CONSTANTS["FRAME_LZ4"], CONSTANTS["FRAME_CLOSED"]
ENTRY_EXTERNAL = CONSTANTS["ENTRY_EXTERNAL"]


class Log:
    def __init__(self, layouts, path):
        self.layouts = layouts
        self.path = path
        self.data = path.read_bytes()
        self.header = self._header()

    def _header(self):
        layout = self.layouts["log_header"]
        best = other = None
        for at in (0, HEADER_SLOT):
            if self.data[at:at + 8] != LOG_MAGIC:
                continue
            header = layout.read(self.data, at)
            if header["format_version"] != FORMAT_VERSION: # a later format may compute its checksum in another way
                other = header["format_version"]
                continue
            if xxh3_64(self.data[at:at + layout.places["checksum"].offset]) != header["checksum"]:
                continue
            if best is None or header["sequence"] > best["sequence"]:
                best = header
        if best is None and other is not None:
            raise Corrupt(f"{self.path}: format version {other}, this reader knows {FORMAT_VERSION}")
        if best is None:
            raise Corrupt(f"{self.path}: no valid header")
        if len(self.data) < RING_OFFSET + best["log_size"]:
            raise Corrupt(f"{self.path}: {len(self.data)} bytes, the header says {RING_OFFSET + best['log_size']}")
        return best

    def ring(self, position, size):
        """Bytes of the ring from a logical position on, over its end if need be."""
        log_size = self.header["log_size"]
        at = position % log_size
        data = self.data[RING_OFFSET + at:RING_OFFSET + min(at + size, log_size)]
        if len(data) < size:
            data += self.data[RING_OFFSET:RING_OFFSET + size - len(data)]
        return data

    def frame(self, position):
        """The frame at a position: (header, body), or None where no valid one begins."""
        layout = self.layouts["frame_header"]
        head = self.ring(position, layout.size)
        if len(head) < layout.size or head[:4] != FRAME_MAGIC:
            return None
        header = layout.read(head)
        if header["position"] != position or not layout.size <= header["size"] <= self.header["log_size"]:
            return None
        if not 0 < header["lsn_first"] <= header["lsn_last"]:
            return None
        stored = self.ring(position, header["size"])[layout.size:]
        seed = hash_seed(header["epoch"], header["position"])
        if xxh3_64(stored, xxh3_64(layout.without(head, 0, "checksum"), seed)) != header["checksum"]:
            return None
        try:
            body = lz4_block(stored, header["raw_size"]) if header["flags"] & FRAME_LZ4 else stored
        except Corrupt:
            return None
        return (header, body) if len(body) == header["raw_size"] else None

    def frames(self, start, epoch=0, lsn=0, id_next=0):
        """Valid frames from a position on, up to the first that is bad or does not continue what was before (R2): numbers and
        epochs that go on from those given, and no more than one lap of the ring. The caller stops at one whose records are bad."""
        position = start
        while True:
            found = self.frame(position)
            if found is None:
                return
            header = found[0]
            end = align_up(position + header["size"], FRAME_ALIGNMENT)
            follows = header["epoch"] >= epoch and header["lsn_first"] > lsn and header["id_next"] >= id_next
            if not follows or end - start > self.header["log_size"]:
                return
            yield found
            epoch, lsn, id_next, position = header["epoch"], header["lsn_last"], header["id_next"], end

    def acknowledged_beyond(self, position):
        """The greatest durable_lsn of valid frames at or behind a position: beyond what can be read it means damage (R3)."""
        found = (self.frame(position + offset) for offset in range(0, self.header["log_size"], FRAME_ALIGNMENT))
        return max((frame[0]["durable_lsn"] for frame in found if frame), default=0)

    def entries(self, header, body):
        """(entry, bytes of its record) one after the other."""
        consumed, layout = self.layouts["frame_consumed"], self.layouts["frame_entry"]
        at = header["consumed_count"] * consumed.size
        for _ in range(header["entry_count"]):
            entry = layout.read(body, at)
            at += layout.size
            if entry["inline_size"] > entry["record_size"] or at + entry["inline_size"] > len(body):
                raise Corrupt(f"{self.path}: frame at {header['position']}: an entry runs over its end")
            yield entry, body[at:at + entry["inline_size"]]
            at += align_up(entry["inline_size"], 8)


# ---- MANIFEST ---------------------------------------------------------------------------------------------------------

MANIFEST_MAGIC = magic("MANIFEST_MAGIC", 8)


def read_manifest(layouts, path):
    """{header, segments, clients}; None when there is none (a root that never made a checkpoint)."""
    if not path.exists():
        return None
    data = path.read_bytes()
    layout = layouts["manifest_header"]
    header = layout.read(data)
    if data[:8] != MANIFEST_MAGIC:
        raise Corrupt(f"{path}: not a MANIFEST")
    if header["format_version"] != FORMAT_VERSION:
        raise Corrupt(f"{path}: format version {header['format_version']}, this reader knows {FORMAT_VERSION}")
    lists = header["segment_count"] * layouts["manifest_segment"].size + header["client_count"] * layouts["client_record"].size
    if header["size"] != len(data) or layout.size + lists != len(data):
        raise Corrupt(f"{path}: sizes do not fit its {len(data)} bytes")
    if xxh3_64(data[layout.size:], xxh3_64(layout.without(data, 0, "checksum"))) != header["checksum"]:
        raise Corrupt(f"{path}: fails its checksum")
    at = layout.size
    parts = {"header": header}
    for name, count, kind in (("segments", "segment_count", "manifest_segment"), ("clients", "client_count", "client_record")):
        item = layouts[kind]
        parts[name] = [item.read(data, at + i * item.size) for i in range(header[count])]
        at += header[count] * item.size
    last = 0
    for segment in parts["segments"]:
        if not last < segment["lsn_first"] <= segment["lsn_last"] <= header["covered_lsn"]:
            raise Corrupt(f"{path}: segments out of order")
        last = segment["lsn_last"]
    return parts


# ---- a root -----------------------------------------------------------------------------------------------------------

def text(value):
    """Bytes for JSON."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def key_text(value):
    found = text(value)
    return found if isinstance(found, str) else "hex:" + value.hex()


def decode_state(layouts, payload):
    """An agent's state (protocol/blocks.md): its header, the status, then {u32 name_size, u32 value_size, name, value} each."""
    layout = layouts["state_header"]
    header = layout.read(payload)
    at = layout.size + header["status_size"]
    status = payload[layout.size:at]
    extra = {}
    for _ in range(header["extra_count"]):
        if at + 8 > len(payload):
            raise Corrupt("a state's sizes do not fit")
        name_size, value_size = struct.unpack_from("<II", payload, at)
        at += 8
        extra[key_text(payload[at:at + name_size])] = text(payload[at + name_size:at + name_size + value_size])
        at += name_size + value_size
    if at != len(payload) or header["size"] != len(payload):
        raise Corrupt("a state's sizes do not fit")
    return {"version": header["version"], "time_ns": header["time_ns"], "status": text(status),
            "active_memory_count": header["active_memory_count"], "last_updated_id": header["last_updated_id"],
            "owned": bool(header["owned"]), "extra": extra}


class Root:
    def __init__(self, path, layouts=None):
        self.path = pathlib.Path(path)
        self.layouts = layouts or Layouts()
        self.log = Log(self.layouts, self.path / "state.wal")
        self.manifest = read_manifest(self.layouts, self.path / "index" / "MANIFEST")
        self.chunks = {}
        for name in sorted((self.path / "blocks").glob("chunk_*.bin")):
            self.chunks[int(re.fullmatch(r"chunk_(\d+)\.bin", name.name).group(1))] = name.read_bytes()
        self.problems = []

    def covered_records(self, covered, epoch):
        """The records of the blocks that MANIFEST or an epoch's end vouch for (R1), by LSN."""
        found = {}
        ended = []
        for chunk, data in self.chunks.items():
            for record in scan_chunk(self.layouts, data, chunk):
                if record.kind == EPOCH:
                    ended.append((record.epoch, record.extra))
                if record.kind != VOID and record.lsn <= covered and record.epoch <= epoch:
                    found.setdefault(record.lsn, []).append(record)
        # The recovery that began an epoch kept nothing of earlier epochs beyond the LSN that its record names: what lies there was
        # written into the blocks, but its frame was dropped or never written.
        kept = {}
        for lsn, records in found.items():
            records = [one for one in records if not any(one.epoch < epoch and lsn > last for epoch, last in ended)]
            if records:
                kept[lsn] = max(records, key=lambda one: (one.epoch, one.payload_is_right()))
        return kept

    def frame_records(self, header, body):
        """The records of a frame; None if one is bad, which makes the frame bad (R3)."""
        records = []
        for entry, data in self.log.entries(header, body):
            try:
                record = Record(self.layouts, data, 0, entry["chunk"], entry["offset"])
            except Corrupt:
                return None
            if record.size != entry["record_size"]:
                return None
            if entry["flags"] & ENTRY_EXTERNAL:
                begin = entry["offset"] + record.payload_at
                record.payload = self.chunks.get(entry["chunk"], b"")[begin:begin + record.header["payload_size"]]
                if not record.payload_is_right():
                    return None
            records.append(record)
        return records

    def records(self):
        """Every record that MANIFEST or log vouch for, by LSN: the root's history, less what was reclaimed."""
        if self.manifest:
            header = self.manifest["header"]
            covered, position, epoch, id_next = (header[name] for name in ("covered_lsn", "replay_position", "epoch", "id_next"))
        else:
            covered = position = epoch = id_next = 0
        kept = self.covered_records(covered, epoch)
        self.frame_count = 0
        self.closed = False
        last = covered
        for header, body in self.log.frames(position, epoch, covered, id_next):
            records = self.frame_records(header, body)
            if records is None:
                break
            self.frame_count += 1
            self.closed = bool(header["flags"] & FRAME_CLOSED)
            last = header["lsn_last"]
            position = align_up(header["position"] + header["size"], FRAME_ALIGNMENT)
            kept.update((record.lsn, record) for record in records)
        self.last_lsn = last
        acknowledged = self.log.acknowledged_beyond(position)
        if acknowledged > last:
            self.problems.append(f"state.wal at position {position}: changes up to {acknowledged} were acknowledged, only those up to "
                                 f"{last} can be read")
        return [kept[lsn] for lsn in sorted(kept)]

    def content(self):
        """What the root holds: plain data, ready for JSON."""
        memories, keys, streams, states = {}, {}, {}, {}
        count = 0
        for record in self.records():
            count += 1
            if not record.payload_is_right():
                self.problems.append(f"chunk {record.chunk} offset {record.offset}: the payload fails its checksum")
                continue
            if record.kind == MEMORY:
                key = record.field(FIELD_KEY)
                memories.pop(record.extra, None)
                memories[record.number] = {"id": record.number, "text": text(record.payload), "key": text(key) if key else None,
                                           "tags": [text(value) for tag, value in record.fields() if tag == FIELD_TAG],
                                           "time_ns": record.time_ns, "lsn": record.lsn,
                                           **{FIELDS_ORIGIN[tag]: text(value) for tag, value in record.fields() if tag in FIELDS_ORIGIN}}
            elif record.kind == FORGET:
                memories.pop(record.number, None)
            elif record.kind == KEY_SET:
                keys[record.field(FIELD_KEY)] = {"value": text(record.payload), "version": record.lsn, "expires_ns": record.extra,
                                                 "time_ns": record.time_ns}
            elif record.kind == KEY_DELETE:
                keys.pop(record.field(FIELD_KEY), None)
            elif record.kind == STREAM:
                entries = streams.setdefault(record.field(FIELD_NAME), [])
                if record.number != len(entries) or record.extra != sum(entry["size"] for entry in entries):
                    self.problems.append(f"chunk {record.chunk} offset {record.offset}: stream entry {record.number} is out of order")
                entries.append({"entry": text(record.payload), "size": len(record.payload), "lsn": record.lsn})
            elif record.kind == STATE:
                states[record.field(FIELD_NAME) or b""] = decode_state(self.layouts, record.payload)
            elif record.kind != EPOCH:
                self.problems.append(f"chunk {record.chunk} offset {record.offset}: kind {record.kind}")
        return {
            "uuid": self.log.header["root_uuid"].hex(),
            "last_lsn": self.last_lsn,
            "record_count": count,
            "frame_count": self.frame_count,
            "closed": self.closed,
            "memories": [memories[number] for number in sorted(memories)],
            "keys": {key_text(key): keys[key] for key in sorted(keys)},
            "streams": {key_text(name): streams[name] for name in sorted(streams)},
            "states": {key_text(name): states[name] for name in sorted(states)},
            "problems": self.problems,
        }


def differences(expected, found, where=""):
    """What expected says and found does not have; keys that expected does not name are not looked at."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected:
            if name not in found:
                yield f"{where}/{name}: missing"
            else:
                yield from differences(expected[name], found[name], f"{where}/{name}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{where}: {len(found)} items instead of {len(expected)}"
        for i, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{where}/{i}")
    elif expected != found:
        yield f"{where}: {found!r} instead of {expected!r}"


def compare(root, expected_path):
    expected = json.loads(pathlib.Path(expected_path).read_text(encoding="utf-8"))
    found = Root(root).content()
    problems = list(differences(expected, found)) + [f"problem: {problem}" for problem in found["problems"]]
    for problem in problems:
        print(f"{root}: {problem}")
    return not problems


def golden(folder):
    cases = sorted(path.parent for path in folder.glob("*/expected.json")) if folder.is_dir() else []
    if not cases:
        print(f"no golden roots in {folder}")
        return 77
    well = True
    for case in cases:
        if (case / "root").is_dir():
            well &= compare(case / "root", case / "expected.json")
            continue
        with tempfile.TemporaryDirectory() as scratch, tarfile.open(case / "root.tar.xz") as archive:
            archive.extractall(scratch)
            well &= compare(pathlib.Path(scratch) / "root", case / "expected.json")
    print(f"{len(cases)} golden roots read")
    return 0 if well else 1


def main():
    parser = argparse.ArgumentParser(description="reads a root from the layout files alone")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--compare", type=pathlib.Path, metavar="EXPECTED")
    arguments = parser.parse_args()
    try:
        if arguments.golden:
            return golden(arguments.golden)
        if not arguments.root:
            parser.error("a root, or --golden FOLDER")
        if arguments.compare:
            return 0 if compare(arguments.root, arguments.compare) else 1
        json.dump(Root(arguments.root).content(), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    except (Corrupt, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main())
