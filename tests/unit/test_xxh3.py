#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_xxh3.py: tests/xxh3.py gives what libxxhash 0.8.1 gives, at every length where the algorithm changes its way."""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import xxh3  # noqa: E402

# Byte i of the data is the top byte of i * 2654435761 (mod 2^32).
DATA = bytes((i * 2654435761 & 0xFFFFFFFF) >> 24 for i in range(70000))
SEEDS = (0, 1, 0x9E3779B97F4A7C15, 0xFFFFFFFFFFFFFFFF)
# (size, hash with each seed)
VECTORS = [
    (0, 0x2d06800538d394c2, 0x4dc5b0cc826f6703, 0x602b0e2cd6662c8b, 0x4c093276ae47a555),
    (1, 0xc44bdff4074eecdb, 0x5eaac1f7b17ef730, 0x062b185e4e01441a, 0x77b2df5ff42aab88),
    (2, 0xb0a5d4f167a89d5e, 0xb670238546b7873b, 0x9b864fe7b96642a2, 0x8f2a72f737f2d730),
    (3, 0xe14090f554a5ea90, 0x4c85558010bba0eb, 0xf5abc7f9d1539843, 0x1c5080e2634dbabb),
    (4, 0x2e8d078a566e9749, 0x1a63befdba9c9aa2, 0x80eb1fba34af62cc, 0xf2ebd9471e6ff42d),
    (5, 0x94b7bed600f8ce63, 0x373b487ca6fbcd78, 0xcc27aedab5235917, 0x0dca06eb477232a2),
    (8, 0xcd1c7f88482fcaef, 0xc5eca4408852d02c, 0x8813149e639da876, 0xf629287daf174eb8),
    (9, 0xbfe43def699fa9e3, 0xf56baf133a74f92c, 0x1d2c4851ecd580c9, 0x0f91034a34c6a527),
    (12, 0x027242c0a3b593e8, 0xf0e5467ae776e264, 0x037f7f0b3b283541, 0x868fcd4cfc3345d0),
    (16, 0x81e9eb8634460bb9, 0xb829ede96922a123, 0x7f7f704e06138a8a, 0x5cd205481cb1681d),
    (17, 0x9998430fd0a655be, 0x83b2d79a7bb981eb, 0x2d4b1d5b644b3fe6, 0x8bfb82cd37dc2a41),
    (31, 0x6427c268ccd55706, 0x16e54ba92e3491c1, 0x3c45372d3a7dd491, 0x6e45ec217754935f),
    (32, 0x938c25dd24c9cf3b, 0x056bfbd95fce9e0b, 0xddb3fa44b7a01773, 0x18858a91490202ea),
    (33, 0x0e399d30188e9c8e, 0xd660a535b580d045, 0x6f580b722a92321b, 0xa6f53a436d3b923c),
    (64, 0x22a06b30c4c72936, 0xde1e895cd2c424f9, 0x581bcde3abb84c27, 0x2ff958dcbb0feaf1),
    (65, 0x7faff6eee7812d5c, 0xf5557e48785b1f5d, 0xa48d818cd71a3320, 0x10791f46cac2bbd3),
    (96, 0x324046d7ff9771f1, 0xe25966767f38abee, 0x92fd230b47ee777f, 0xb81955e6525ef0cd),
    (128, 0x75eca5c5d5594884, 0x52dfe200d0de3ee6, 0x27ef5b319b50ea46, 0x563948cefdffa28f),
    (129, 0xa05da42e7a4e4667, 0x51e918cdec40a0bf, 0xb4f2c57c09e1e2e4, 0xae581f56c5402c2d),
    (144, 0x2e63ceed9f938e07, 0x455cffc247605692, 0x59eafa8c0aa42379, 0x7f2ff7b58d5d1d49),
    (200, 0xe07bfbc15015bf69, 0x0123b98ba87c73a9, 0x835addcc5ee1d8d4, 0x79e0aefd97950412),
    (239, 0xa44c92feed3d48fa, 0xe07ad6acaf369860, 0xc4bbd1dd9294235d, 0x7155517e7202bdc5),
    (240, 0x5eb2467c8c9e3969, 0x194661e65be96b58, 0x0329aa09c20d9cd6, 0x4732afb089c13a18),
    (241, 0x2d431e984c441f15, 0xccfead76053a786a, 0x67e2cf13c7452cbc, 0x334dc83399b6e684),
    (256, 0x1369aaf85f8b805a, 0x020cfc22c99e24e2, 0x83702db5a4988aaf, 0x9e25c4eafb9d3c67),
    (511, 0xe77c8b51c884d077, 0xd6a6e90de7cf4db7, 0xe71127901906dd41, 0xbfeedb344d0ab426),
    (1023, 0x4e30bb611faa8f67, 0xb1d91bee31deb96b, 0xdd08169a808def51, 0xb4d9ec7d8eb84efa),
    (1024, 0xe99def1145f12936, 0x43244b063299d799, 0x709fa517cf5d6e00, 0xa558d5638410527f),
    (1025, 0x83cba9b371e4e7f4, 0x81293efb2ec05c8d, 0x18c39aa411c5deb2, 0x298861660a4134e8),
    (2048, 0x53275d58cfba68fd, 0xf7ad5af6709022ed, 0x2434bc28e8f46f5e, 0xba0ea723ed37389b),
    (2049, 0x3cd32460d504d215, 0xfa5e118cdd573221, 0x1938f0cf70685cfd, 0xed572a7489e47a2e),
    (4096, 0x9bf67f8deff876ae, 0x4b79e521bf9884d2, 0x2db1c4d939c6b66c, 0x283c254e3be1131e),
    (65536, 0x20605b76ceddc43b, 0x74bbe516f45386a2, 0x3c398be8375be8d9, 0x860cf73e5e20f189),
    (70000, 0x4dc9de55057b14be, 0x9b5309ee273ff075, 0xb78f20041ced9f51, 0x5662a45744c17c3c),
]


class Xxh3(unittest.TestCase):
    def test_vectors(self):
        for size, *hashes in VECTORS:
            for seed, expected in zip(SEEDS, hashes):
                with self.subTest(size=size, seed=seed):
                    self.assertEqual(xxh3.xxh3_64(DATA[:size], seed), expected)


if __name__ == "__main__":
    unittest.main()
