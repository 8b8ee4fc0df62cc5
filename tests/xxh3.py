# SPDX-License-Identifier: MIT
"""xxh3.py: XXH3, 64 bits, in plain Python, written from the published specification (xxHash's doc/xxhash_spec.md), so that
tests/reader.py checks Roost's checksums with no code in common with the library. Slow, and only right: about 2 MB/s."""
import struct

M32 = 0xFFFFFFFF
M64 = 0xFFFFFFFFFFFFFFFF
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PMX1, PMX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def swap32(value):
    return int.from_bytes(value.to_bytes(4, "little"), "big")


def swap64(value):
    return int.from_bytes(value.to_bytes(8, "little"), "big")


def rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & M64


def fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h ^= h >> 37
    h = h * PMX1 & M64
    return h ^ h >> 32


def avalanche_xxh64(h):
    h ^= h >> 33
    h = h * P64_2 & M64
    h ^= h >> 29
    h = h * P64_3 & M64
    return h ^ h >> 32


def short(data, seed):
    """0 to 16 bytes."""
    size = len(data)
    if size == 0:
        return avalanche_xxh64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))
    if size <= 3:
        combined = data[size - 1] | size << 8 | data[0] << 16 | data[size >> 1] << 24
        return avalanche_xxh64((u32(SECRET, 0) ^ u32(SECRET, 4)) + seed & M64 ^ combined)
    if size <= 8:
        seed ^= swap32(seed & M32) << 32
        combined = u32(data, size - 4) + (u32(data, 0) << 32) & M64
        h = (u64(SECRET, 8) ^ u64(SECRET, 16)) - seed & M64 ^ combined
        h ^= rotate(h, 49) ^ rotate(h, 24)
        h = h * PMX2 & M64
        h ^= (h >> 35) + size
        h = h * PMX2 & M64
        return h ^ h >> 28
    low = (u64(SECRET, 24) ^ u64(SECRET, 32)) + seed & M64 ^ u64(data, 0)
    high = (u64(SECRET, 40) ^ u64(SECRET, 48)) - seed & M64 ^ u64(data, size - 8)
    return avalanche(size + swap64(low) + high + fold(low, high) & M64)


def mix16(data, at, secret_at, seed):
    return fold(u64(data, at) ^ (u64(SECRET, secret_at) + seed & M64), u64(data, at + 8) ^ (u64(SECRET, secret_at + 8) - seed & M64))


def medium(data, seed):
    """17 to 240 bytes."""
    size = len(data)
    h = size * P64_1 & M64
    if size <= 128:
        for i in reversed(range((size - 1) // 32 + 1)):
            h += mix16(data, 16 * i, 32 * i, seed) + mix16(data, size - 16 * (i + 1), 32 * i + 16, seed)
        return avalanche(h & M64)
    for i in range(8):
        h += mix16(data, 16 * i, 16 * i, seed)
    h = avalanche(h & M64)
    for i in range(8, size // 16):
        h += mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
    h += mix16(data, size - 16, 136 - 17, seed)
    return avalanche(h & M64)


def accumulate(lanes, data, at, secret, secret_at):
    words = struct.unpack_from("<8Q", data, at)
    keys = struct.unpack_from("<8Q", secret, secret_at)
    for i in range(8):
        value = words[i] ^ keys[i]
        lanes[i ^ 1] = lanes[i ^ 1] + words[i] & M64
        lanes[i] = lanes[i] + (value & M32) * (value >> 32) & M64


def long(data, seed):
    """241 bytes and more."""
    secret = SECRET
    if seed:
        secret = b"".join(
            struct.pack("<QQ", u64(SECRET, at) + seed & M64, u64(SECRET, at + 8) - seed & M64) for at in range(0, len(SECRET), 16))
    lanes = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    stripes = (len(secret) - 64) // 8
    block = 64 * stripes
    size = len(data)
    blocks = (size - 1) // block
    scramble = struct.unpack_from("<8Q", secret, len(secret) - 64)
    for n in range(blocks):
        for i in range(stripes):
            accumulate(lanes, data, n * block + 64 * i, secret, 8 * i)
        for i in range(8):
            lanes[i] = (lanes[i] ^ lanes[i] >> 47 ^ scramble[i]) * P32_1 & M64
    for i in range((size - 1 - block * blocks) // 64):
        accumulate(lanes, data, blocks * block + 64 * i, secret, 8 * i)
    accumulate(lanes, data, size - 64, secret, len(secret) - 64 - 7)
    h = size * P64_1
    for i in range(4):
        h += fold(lanes[2 * i] ^ u64(secret, 11 + 16 * i), lanes[2 * i + 1] ^ u64(secret, 19 + 16 * i))
    return avalanche(h & M64)


def xxh3_64(data, seed=0):
    """The 64-bit hash of data (bytes) as a number."""
    data = bytes(data)
    seed &= M64
    if len(data) <= 16:
        return short(data, seed)
    if len(data) <= 240:
        return medium(data, seed)
    return long(data, seed)


def hash_seed(first, second):
    """Roost's seed from two numbers (rst_hash_seed): what a checksum is bound to."""
    return xxh3_64(struct.pack("<QQ", first & M64, second & M64))
