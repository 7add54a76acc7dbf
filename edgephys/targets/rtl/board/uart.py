"""The level of a serial line, clock by clock: bytes to levels and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]
BITS = 10
"""Bits of a byte on the line: a start bit, 8 of data with the lowest first, a stop bit."""


def levels(data: bytes, clocks: int) -> Levels:
    """Return the level of the line at each clock while bytes are sent, ``clocks`` a bit."""
    values = np.frombuffer(data, np.uint8)
    bits = np.ones((len(values), BITS), np.uint8)
    bits[:, 0] = 0
    bits[:, 1:-1] = np.unpackbits(values[:, None], axis=1, bitorder="little")
    return np.repeat(bits.reshape(-1), clocks)


def received(line: Levels, clocks: int) -> list[tuple[int, int]]:
    """Return the bytes on a line with the clocks at which they begin; one without a stop bit ends the list."""
    falls = np.flatnonzero((line[:-1] == 1) & (line[1:] == 0)) + 1
    middles = clocks // 2 + clocks * np.arange(BITS)
    result, free = [], 0
    for start in falls:
        if start < free or start + middles[-1] >= len(line):
            continue
        bits = line[start + middles]
        if bits[0] or not bits[-1]:
            break
        result.append((int(start), int(np.packbits(bits[1:-1], bitorder="little")[0])))
        free = start + middles[-1]
    return result
