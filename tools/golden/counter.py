"""Test weights without a weights file: a counter-based generator, the same bits here and in tests/support/counter.c.

The value number i of the tensor `name` depends on nothing else: splitmix64 seeded with fnv1a64(name), its i-th output's
top 24 bits u mapped to (2u + 1 - 2^24) / 2^24. That is uniform in (-1, 1), never 0, and exact in float32.
"""

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment
UNIFORM_BITS = 24


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name, count, first=0):
    """float32 [count]: values first, first + 1, ... of `name`."""
    with np.errstate(over="ignore"):
        index = np.arange(first + 1, first + count + 1, dtype=np.uint64)
        z = np.uint64(fnv1a64(name)) + index * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(64 - UNIFORM_BITS)).astype(np.int64)
    return ((2 * u + 1 - (1 << UNIFORM_BITS)) / float(1 << UNIFORM_BITS)).astype(np.float32)


def tensor(name, shape, scale=1.0, offset=0.0):
    """float32 of `shape`: offset + scale * uniform, each operation rounded to float32."""
    count = int(np.prod(shape, dtype=np.int64))
    return (np.float32(offset) + np.float32(scale) * uniform(name, count)).reshape(shape)
