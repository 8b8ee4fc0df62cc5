#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gen.py: the benchmarks' corpus and queries, from a seed, with the standard library alone.

    bench/gen.py FOLDER [ROWS]      default 100,000

FOLDER/corpus.tsv: id, tags, text, with tabs between them, ids from 1. FOLDER/queries_{1term,and2,or3}.txt: 1,000 lines of words each.
Text as agents' memories have it: about 29 words (log-normal, 4 to 300), word frequencies falling as 1/rank, 40,000 made-up words with
English endings (so that stemming has its work) and, for a tenth of the text, 160,000 rarer ones that look like identifiers. Queries ask for
words of the ranks 50 to 20,000, drawn as often as they stand in the text. The same ROWS give the same bytes on every machine.
"""
import bisect
import itertools
import math
import os
import random
import sys

SEED = 20261121
WORDS, RARE_WORDS, RARE_SHARE = 40_000, 160_000, 0.10
QUERY_RANKS, QUERIES = (50, 20_000), 1000
LENGTH_MEAN, LENGTH_DEVIATION, LENGTH_LEAST, LENGTH_MOST = 3.2, 0.6, 4, 300  # of the logarithm; words
KINDS = ["episodic", "semantic", "procedural", "preference", "decision"]
ONSETS = "b c d f g h j k l m n p r s t v w br ch cl cr dr fl gr pl pr sh sl sp st str th tr".split()
VOWELS = "a e i o u ai ea ee io ou".split()
ENDINGS = [""] * 12 + "s s ed ing er ly ion able ness ment".split()


def make_words(rng):
    """Frequent ones short, rare ones long, none twice."""
    seen, words = set(), []
    while len(words) < WORDS:
        syllables = 1 + (len(words) > 1000 and rng.random() < 0.9) + (len(words) > 15_000 and rng.random() < 0.5)
        onsets, vowels = (ONSETS, VOWELS) if syllables == 1 else (ONSETS[:17], VOWELS[:5])
        word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables)) + rng.choice(ONSETS[:17]) + rng.choice(ENDINGS)
        if word not in seen:
            seen.add(word)
            words.append(word)
    return words


def cumulated(weights):
    sums = list(itertools.accumulate(weights))
    return [total / sums[-1] for total in sums]


def draw(rng, words, cumulative):
    return words[min(bisect.bisect_right(cumulative, rng.random()), len(words) - 1)]


def write_corpus(rng, path, rows, words, cumulative):
    with open(path, "w", encoding="ascii") as file:
        for number in range(1, rows + 1):
            length = int(math.exp(rng.gauss(LENGTH_MEAN, LENGTH_DEVIATION)))
            length = min(max(length, LENGTH_LEAST), LENGTH_MOST)
            tags = f"session{rng.randrange(1000)},{rng.choice(KINDS)}"
            text = " ".join(draw(rng, words, cumulative) for _ in range(length))
            file.write(f"{number}\t{tags}\t{text}\n")


def write_queries(rng, path, count, words, cumulative):
    with open(path, "w", encoding="ascii") as file:
        for _ in range(QUERIES):
            query = []
            while len(query) < count:
                word = draw(rng, words, cumulative)
                if word not in query:
                    query.append(word)
            file.write(" ".join(query) + "\n")


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    folder, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 100_000
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(SEED)
    words = make_words(rng) + [f"x{number:05x}" for number in range(RARE_WORDS)]
    weights = [1 / (rank + 2.7) for rank in range(1, WORDS + 1)]
    rare = [1 / (rank + 1000) for rank in range(RARE_WORDS)]
    scale = sum(weights) * RARE_SHARE / (1 - RARE_SHARE) / sum(rare)
    weights += [weight * scale for weight in rare]
    first, last = QUERY_RANKS
    asked, asked_cumulative = words[first:last], cumulated(weights[first:last])
    for name, count in (("1term", 1), ("and2", 2), ("or3", 3)):
        write_queries(rng, os.path.join(folder, f"queries_{name}.txt"), count, asked, asked_cumulative)
    part = os.path.join(folder, "corpus.tsv.part")
    write_corpus(rng, part, rows, words, cumulated(weights))
    os.replace(part, os.path.join(folder, "corpus.tsv"))


main()
