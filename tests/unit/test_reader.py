#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_reader.py: the pieces of tests/reader.py: LZ4 blocks, structs from a layout, and that damage is reported."""
import pathlib
import random
import struct
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import reader  # noqa: E402

# What LZ4_compress_default of liblz4 1.9.4 makes of them.
BLOCKS = [
    (b"a" * 1000, "1f610100ffffffd2506161616161"),
    (b"The quick brown roost. " * 40 + bytes(range(64)),
     "ff0854686520717569636b2062726f776e20726f6f73742e201700ffffff71f031000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
     "1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"),
    (b"x", "1078"),
    (b"", "00"),
]


class Lz4(unittest.TestCase):
    def test_blocks_of_the_library_are_read(self):
        for data, stored in BLOCKS:
            self.assertEqual(reader.lz4_block(bytes.fromhex(stored), len(data)), data)

    def test_garbage_is_reported_and_nothing_else_happens(self):
        source = random.Random(1)
        for data, stored in BLOCKS:
            stored = bytes.fromhex(stored)
            for _ in range(500):
                bad = bytearray(stored)
                for _ in range(source.randint(1, 3)):
                    bad[source.randrange(len(bad))] = source.randrange(256)
                bad = bad[:source.randint(0, len(bad))]
                try:
                    self.assertEqual(len(reader.lz4_block(bytes(bad), len(data))), len(data))
                except reader.Corrupt:
                    pass


class Structs(unittest.TestCase):
    def setUp(self):
        structs = {}
        structs["inner"] = reader.Struct({"name": "inner", "size": 4, "fields": [
            {"name": "a", "offset": 0, "type": "u16"}, {"name": "b", "offset": 2, "type": "u16"}]}, structs)
        self.outer = reader.Struct({"name": "outer", "size": 32, "fields": [
            {"name": "number", "offset": 0, "type": "i64"}, {"name": "list", "offset": 8, "type": "u32[2]"},
            {"name": "inner", "offset": 16, "type": "inner[2]"}, {"name": "raw", "offset": 24, "type": "bytes[8]"}]}, structs)
        self.data = struct.pack("<xqIIHHHH8s", -5, 1, 2, 3, 4, 5, 6, b"ABCDEFGH")

    def test_fields_are_read(self):
        self.assertEqual(self.outer.read(self.data, 1), {"number": -5, "list": [1, 2], "inner": [{"a": 3, "b": 4}, {"a": 5, "b": 6}],
                                                         "raw": b"ABCDEFGH"})

    def test_end_of_data_is_reported(self):
        with self.assertRaises(reader.Corrupt):
            self.outer.read(self.data, 2)

    def test_field_can_be_left_out_for_a_checksum(self):
        self.assertEqual(self.outer.without(self.data, 1, "number"), bytes(8) + self.data[9:])


class Varints(unittest.TestCase):
    def test_values(self):
        self.assertEqual(reader.varint(b"\x00", 0), (0, 1))
        self.assertEqual(reader.varint(b"x\xe5\x8e\x26", 1), (624485, 4))
        self.assertEqual(reader.varint(b"\xff" * 9 + b"\x01", 0), (2**64 - 1, 10))
        for bad in (b"", b"\x80", b"\xff" * 11):
            with self.assertRaises(reader.Corrupt):
                reader.varint(bad, 0)


class Records(unittest.TestCase):
    layouts = reader.Layouts()

    def record(self, payload, payload_hash):
        """A MEMORY record at the beginning of chunk 0, read back."""
        def header(checksum):
            return struct.pack("<4sHHQQQQqIIQQ", b"RCRD", 1, 0, 5, 1, 1, 0, 0, 0, len(payload), payload_hash, checksum)
        checksum = reader.xxh3_64(b"", reader.xxh3_64(header(0), reader.hash_seed(1, 0)))
        return reader.Record(self.layouts, header(checksum) + payload, 0, 0, 0)

    def test_the_hash_of_a_payload_is_looked_at_unless_it_is_empty(self):
        self.assertTrue(self.record(b"text", reader.xxh3_64(b"text")).payload_is_right())
        self.assertFalse(self.record(b"text", 1).payload_is_right())
        for payload_hash in (0, 1, reader.xxh3_64(b"")):
            self.assertTrue(self.record(b"", payload_hash).payload_is_right())


if __name__ == "__main__":
    unittest.main()
