"""Pack integers into the bits of a port, and back: 32-bit words, lowest bit first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers

CHUNK = 1 << 14
"""Vectors packed at a time: bounds the memory."""

Words = NDArray[np.uint32]


def width(ports: Sequence[Mapping[str, Any]]) -> int:
    """Return the bits of a port that carries edges one after the other."""
    return sum(prod(port["shape"]) * int(port["bits"]) for port in ports)


def packed(x: Integers, bits: int) -> Words:
    """Return (vector, word): each row's integers side by side, ``bits`` of each. Shape: x (vector, element)."""
    total = x.shape[1] * bits
    words = np.empty((len(x), -(-total // 32)), np.uint32)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK].astype(np.int64)
        bit = ((part[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(part), -1)
        words[start : start + CHUNK] = of_bits(bit)
    return words


def unpacked(words: Words, ports: Sequence[Mapping[str, Any]]) -> dict[str, Integers]:
    """Return each edge's integers, (vector, *shape), by node name: the inverse of ``packed``."""
    integers = {port["node"]: np.empty((len(words), *port["shape"]), np.int64) for port in ports}
    for start in range(0, len(words), CHUNK):
        bit = to_bits(words[start : start + CHUNK])
        offset = 0
        for port in ports:
            size, bits = prod(port["shape"]), port["bits"]
            field = bit[:, offset : offset + size * bits].reshape(len(bit), size, bits).astype(np.int64)
            value = (field << np.arange(bits)).sum(-1)
            if port["signed"]:
                value -= value >> (bits - 1) << bits
            integers[port["node"]][start : start + CHUNK] = value.reshape(len(bit), *port["shape"])
            offset += size * bits
    return integers


def of_bits(bit: NDArray[np.uint8]) -> Words:
    """Return the words of rows of single bits, lowest first, filled up with zeros."""
    padded = np.pad(bit, ((0, 0), (0, -bit.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def to_bits(words: Words) -> NDArray[np.uint8]:
    """Return the single bits of rows of words, lowest first."""
    return np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), axis=1, bitorder="little")
