#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""generate.py: makes C and documentation from the protocol's single sources; run by meson (protocol/meson.build).

  *.layout.json -> layout_asserts.c   _Static_asserts: each C struct has the size, each field the place and size, and each
                                      constant the value that the layout says. Independent readers (tests/reader.py) use
                                      the JSON alone, so this is what ties the C to it.
  errors.json   -> error_table.inc    X(ROOST_E..., value, "text") a line
                -> errors.md          the table for people

A layout file that contradicts itself (fields that overlap, a gap that is not a field named reserved..., a last field that
does not end at the struct's size) is an error here, whether or not C knows the struct.

Layout files: {"name", "byte_order", "version", "header": C header relative to src/ or include/, a list of them, or "" when no C
struct exists, "constants": [{"name": macro or enum constant, "value", "doc"}] (may be absent), "structs": [{"name", "size",
"c": C type if not "struct NAME", "doc", "fields": [{"name", "offset", "type", "doc", ...}]}]}.
A struct with "c": "" has no C counterpart (bytes that only functions encode). Types: u8 u16 u32 u64 i32 i64 bytes[N], the
name of a struct of the same file, or TYPE[N] of these.
"""
import argparse
import json
import pathlib
import re
import sys

SCALARS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "f32": 4, "f64": 8}


class LayoutError(Exception):
    """A layout file that contradicts itself; the message says where."""


class Layout:
    """One layout file, checked."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise LayoutError(f"{self.path}:{error.lineno}: {error.msg}") from error
        self.data = data
        self.name = data.get("name", self.path.name.split(".")[0])
        header = data.get("header") or []
        self.headers = [header] if isinstance(header, str) else header
        self.constants = {}
        for constant in data.get("constants", []):
            if constant["name"] in self.constants:
                raise LayoutError(f"{self.path}: constant {constant['name']} is there twice")
            if not isinstance(constant["value"], int) or not 0 <= constant["value"] < 1 << 64:
                raise LayoutError(f"{self.path}: constant {constant['name']}: {constant['value']!r} is no unsigned number of 64 bits")
            self.constants[constant["name"]] = constant["value"]
        self.structs = {}
        self.sizes = {}
        for struct in data.get("structs", []):
            if struct["name"] in self.structs:
                raise LayoutError(f"{self.path}: struct {struct['name']} is there twice")
            self.structs[struct["name"]] = struct
            self.sizes[struct["name"]] = struct["size"]
        for struct in self.structs.values():
            self._check(struct)

    def type_size(self, kind, where):
        match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?((?:\[\d+\])*)", kind)
        if not match:
            raise LayoutError(f"{where}: type {kind!r} is none")
        base, count, more = match.groups()
        if base == "bytes":
            if count is None:
                raise LayoutError(f"{where}: bytes needs a length: bytes[N]")
            size = 1
        elif base in SCALARS:
            size = SCALARS[base]
        elif base in self.sizes:
            size = self.sizes[base]
        else:
            raise LayoutError(f"{where}: type {base!r} is neither a scalar nor a struct of this file")
        for number in re.findall(r"\d+", f"[{count or 1}]{more}"):
            size *= int(number)
        return size

    def _check(self, struct):
        end = 0
        names = set()
        for field in struct["fields"]:
            where = f"{self.path}: {struct['name']}.{field['name']}"
            if field["name"] in names:
                raise LayoutError(f"{where}: the name is there twice")
            names.add(field["name"])
            offset = field["offset"]
            if offset < end:
                raise LayoutError(f"{where}: at {offset}, but the field before it ends at {end}")
            if offset > end:
                raise LayoutError(f"{where}: bytes {end} to {offset} before it have no name: add a field reserved...")
            end = offset + self.type_size(field["type"], where)
        if end != struct["size"]:
            raise LayoutError(f"{self.path}: {struct['name']}: fields end at {end}, size is {struct['size']}")

    def c_type(self, struct):
        """The C type's name; None when there is none."""
        if not self.headers:
            return None
        name = struct.get("c", "struct " + struct["name"])
        return name or None


def layout_files(source_root):
    return sorted((source_root / "protocol").glob("*.layout.json"))


def is_bit_of_c(field):
    """Fields of which C has no member: padding that the compiler makes."""
    return field.get("c", None) == ""


def asserts(source_root, paths):
    lines = ["/* Made by protocol/generate.py from the layout files. Not for editing. */", "#include <stddef.h>",
             "#include <stdint.h>", ""]
    body = []
    headers = []
    for path in paths:
        layout = Layout(path)
        if not layout.headers:
            continue
        for name in layout.headers:
            header = re.sub(r"^(src|include)/", "", name)
            if not any((source_root / folder / header).is_file() for folder in ("src", "include")):
                raise LayoutError(f"{path}: its C header {name} does not exist")
            if header not in headers:
                headers.append(header)
        body.append(f"/* {path.name} */")
        for name, value in layout.constants.items():
            body.append(f'_Static_assert((uint64_t){name} == UINT64_C({value}), "{layout.name}: value of {name}");')
        for struct in layout.structs.values():
            kind = layout.c_type(struct)
            if kind is None:
                continue
            name = struct["name"]
            body.append(f'_Static_assert(sizeof({kind}) == {struct["size"]}, "{layout.name}: size of {name}");')
            for field in struct["fields"]:
                if is_bit_of_c(field):
                    continue
                member = field.get("c", field["name"])
                size = layout.type_size(field["type"], name)
                what = f"{layout.name}: {name}.{member}"
                body.append(f'_Static_assert(offsetof({kind}, {member}) == {field["offset"]}, "{what}: offset");')
                body.append(f'_Static_assert(sizeof((({kind} *)0)->{member}) == {size}, "{what}: size");')
        body.append("")
    lines += [f'#include "{header}"' for header in headers]
    # ISO C wants one declaration at least in a file.
    lines += ["", "extern int rst_layouts_are_asserted;", ""] + body
    return "\n".join(lines) + "\n"


def read_errors(source_root):
    return json.loads((source_root / "protocol" / "errors.json").read_text(encoding="utf-8"))


def error_table(errors):
    lines = ["/* Made by protocol/generate.py from protocol/errors.json. Not for editing. X(name, value, text) */"]
    for error in errors:
        lines.append(f'X({error["name"]}, {error["value"]}, {json.dumps(error["text"])})')
    return "\n".join(lines) + "\n"


def error_page(errors):
    lines = ["# Errors", "", "Made from protocol/errors.json.", "", "| name | number | meaning | why | what to do |",
             "| --- | --- | --- | --- | --- |"]
    for error in errors:
        cells = [f'`{error["name"]}`', str(error["value"]), error["text"], error["cause"], error["remedy"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="C and documentation from the protocol's sources")
    parser.add_argument("--source-root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--asserts", type=pathlib.Path)
    parser.add_argument("--depfile", type=pathlib.Path)
    parser.add_argument("--error-table", type=pathlib.Path)
    parser.add_argument("--error-page", type=pathlib.Path)
    parser.add_argument("--check", action="store_true", help="only check the layout files against themselves")
    arguments = parser.parse_args()
    root = arguments.source_root
    paths = layout_files(root)
    try:
        if arguments.check:
            for path in paths:
                Layout(path)
        if arguments.asserts:
            arguments.asserts.write_text(asserts(root, paths), encoding="utf-8")
            if arguments.depfile:
                # The folder itself is a dependency: adding a layout file changes its time.
                inputs = [root / "protocol", root / "protocol" / "generate.py", *paths]
                names = " ".join(str(path).replace(" ", "\\ ") for path in inputs)
                arguments.depfile.write_text(f"{str(arguments.asserts)}: {names}\n", encoding="utf-8")
        if arguments.error_table:
            arguments.error_table.write_text(error_table(read_errors(root)), encoding="utf-8")
        if arguments.error_page:
            arguments.error_page.write_text(error_page(read_errors(root)), encoding="utf-8")
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
