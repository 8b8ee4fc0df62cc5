#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_protocol.py: errors.json and enum roost_error in roost.h say the same, both ways; layout files are consistent and
generate.py notices when one is not."""
import json
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "protocol"))
sys.dont_write_bytecode = True
import generate  # noqa: E402


def header_errors():
    text = (ROOT / "include/roost/roost.h").read_text(encoding="utf-8")
    body = re.search(r"enum roost_error \{(.*?)\};", text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return {name: int(value) for name, value in re.findall(r"(ROOST_\w+)\s*=\s*(-?\d+)", body)}


class Errors(unittest.TestCase):
    def setUp(self):
        self.errors = json.loads((ROOT / "protocol/errors.json").read_text(encoding="utf-8"))

    def test_list_and_header_name_the_same_errors_with_the_same_numbers(self):
        self.assertGreater(len(header_errors()), 20)
        self.assertEqual(header_errors(), {error["name"]: error["value"] for error in self.errors})

    def test_names_and_numbers_are_there_once(self):
        self.assertEqual(len(self.errors), len({error["name"] for error in self.errors}))
        self.assertEqual(len(self.errors), len({error["value"] for error in self.errors}))

    def test_each_error_has_text_cause_and_remedy(self):
        for error in self.errors:
            self.assertEqual(list(error), ["name", "value", "text", "cause", "remedy"], error)
            for part in ("text", "cause", "remedy"):
                self.assertTrue(error[part].strip(), error["name"])
            self.assertFalse(error["text"].endswith("."), error["name"])

    def test_posix_numbers_are_this_systems(self):
        import errno
        for error in self.errors:
            if -4000 < error["value"] < 0:
                self.assertEqual(errno.errorcode[-error["value"]], error["name"][len("ROOST_"):], error["name"])

    def test_table_has_a_line_an_error(self):
        lines = generate.error_table(self.errors).splitlines()[1:]
        self.assertEqual(len(lines), len(self.errors))


class Layouts(unittest.TestCase):
    def test_every_layout_file_is_consistent(self):
        for path in generate.layout_files(ROOT):
            with self.subTest(path=path.name):
                generate.Layout(path)

    def check(self, fields, size=16):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.layout.json"
            path.write_text(json.dumps({"name": "x", "structs": [{"name": "s", "size": size, "fields": fields}]}))
            return generate.Layout(path)

    def test_whole_layout_is_accepted(self):
        self.check([{"name": "a", "offset": 0, "type": "u64"}, {"name": "b", "offset": 8, "type": "u32[2]"}])

    def test_overlap_gap_short_end_and_unknown_type_are_refused(self):
        first = {"name": "a", "offset": 0, "type": "u64"}
        for second in ({"name": "b", "offset": 4, "type": "u64"}, {"name": "b", "offset": 12, "type": "u32"},
                       {"name": "b", "offset": 8, "type": "u32"}, {"name": "b", "offset": 8, "type": "word"},
                       {"name": "a", "offset": 8, "type": "u64"}, {"name": "b", "offset": 8, "type": "bytes"}):
            with self.subTest(second=second), self.assertRaises(generate.LayoutError):
                self.check([first, second])


if __name__ == "__main__":
    unittest.main()
