#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""table.py: one table of ratios from the benchmarks' JSON lines.

    bench/table.py LINES...

A row a case: Roost's figure, and how many times better it is than each peer's (above 1: Roost is better, whether more or less is better
in that case). Of several lines for one case of one peer the median counts. stall: the greatest cpu_stall_pct of the lines in the row.
"""
import json
import statistics
import sys

PEERS = ["lmdb", "sqlite", "sqlite-porter"]
LESS_IS_BETTER = {"us", "ratio", "ns"}


def shown(value, unit):
    if unit == "ratio":
        return f"{value:.2f} x text"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def better(own, other, unit):
    low, high = (own, other) if unit in LESS_IS_BETTER else (other, own)
    return f"{high / low:.3g}x" if low > 0 else "-"


def load(paths):
    """case -> peer -> its lines, in the order of first appearance."""
    cases = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                if line.get("value") is None:
                    if "failed" in line.get("unsupported", ""):
                        print(f"{line['peer']} {line['case']}: {line['unsupported']}", file=sys.stderr)
                    continue
                cases.setdefault(line["case"], {}).setdefault(line["peer"], []).append(line)
    return cases


def median_of(lines, field):
    values = [line[field] for line in lines if line.get(field) is not None]
    return statistics.median(values) if values else None


def rows_of(cases):
    for case, peers in cases.items():
        for own_name in ("roost", "roost-exact"):
            own = peers.get(own_name)
            if not own:
                continue
            unit, value, p99 = own[0]["unit"], median_of(own, "value"), median_of(own, "p99_us")
            row = [case + (" (exact words)" if own_name != "roost" else ""), shown(value, unit), "-" if p99 is None else f"{p99:,.1f}"]
            lines = list(own)
            for peer in PEERS:
                other = peers.get(peer)
                row.append(better(value, median_of(other, "value"), unit) if other else "-")
                lines += other or []
            stalls = [line["cpu_stall_pct"] for line in lines if line.get("cpu_stall_pct") is not None]
            yield row + [f"{max(stalls):.0f}%" if stalls else "-"]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    table = [["case", "roost", "p99 us"] + [f"vs {peer}" for peer in PEERS] + ["stall"]] + list(rows_of(load(sys.argv[1:])))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for number, row in enumerate(table):
        print("  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]))
        if not number:
            print("  ".join("-" * width for width in widths))
    print("\nvs: how many times better Roost's figure is; below 1 the peer is better. attach: lmdb opens and gets only, it cannot search.")


main()
