#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""score.py: how well the search ranks, as nDCG@10, on test collections that are not part of this repository.

    tests/retrieval/score.py PROGRAM DIR...     PROGRAM: the built tests/retrieval/score.c

Each DIR holds docs.tsv (id, text), queries.tsv (id, text) and qrels.tsv (query id, id of a document that answers it; all equally
relevant). A judged query that finds nothing scores 0. Prints a line a collection: name, nDCG@10, recall@100, judged queries.
"""
import collections
import math
import pathlib
import subprocess
import sys


def read_pairs(text):
    pairs = collections.defaultdict(list)
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[1] not in pairs[fields[0]]:
            pairs[fields[0]].append(fields[1])
    return pairs


def ndcg(ranked, relevant, depth=10):
    gain = sum(1 / math.log2(place + 2) for place, document in enumerate(ranked[:depth]) if document in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(depth, len(relevant))))


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    for folder in map(pathlib.Path, sys.argv[2:]):
        run = subprocess.run([sys.argv[1], str(folder)], check=True, capture_output=True, text=True, encoding="utf-8")
        ranked = read_pairs(run.stdout)
        judged = read_pairs((folder / "qrels.tsv").read_text(encoding="utf-8"))
        mean = sum(ndcg(ranked.get(query, []), relevant) for query, relevant in judged.items()) / len(judged)
        recall = sum(len(set(ranked.get(query, [])[:100]) & set(relevant)) / len(relevant) for query, relevant in judged.items())
        print(f"{folder.name:12} nDCG@10 {mean:.4f}  recall@100 {recall / len(judged):.4f}  queries {len(judged)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
