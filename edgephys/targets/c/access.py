"""Index arithmetic in C for the elements of a tensor that is stored in another order.

Operations that only move elements (take, reshape, window) copy no data. The golden model's own functions move the
*positions* of the stored elements instead, as numpy arrays of integers; this module writes these positions in C. Most
are a sum with one term for each axis, and need one stride or one short table for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgephys.core.fixed import Integers

OUTSIDE = -1
"""Position of an element beyond the edges of a field, whose value is zero."""

TYPES = (("int8_t", 8), ("int16_t", 16), ("int32_t", 32), ("int64_t", 64))

Index = str | int
"""A loop variable, or a number."""


@dataclass(frozen=True, eq=False)
class Access:
    """State positions as ``base`` plus a stride or a table for each axis; or as one table over all axes, ``whole``."""

    base: int
    parts: tuple[int | Integers, ...]
    whole: Integers | None = None

    @property
    def separable(self) -> bool:
        """Say whether positions are a sum with one term for each axis."""
        return self.whole is None


def access(positions: Integers) -> Access:
    """Return positions as strides and tables. Shape: any."""
    base = int(positions[(0,) * positions.ndim])
    parts: list[int | Integers] = []
    total = np.full(positions.shape, base, np.int64)
    for axis, length in enumerate(positions.shape):
        line = positions[tuple(slice(None) if a == axis else 0 for a in range(positions.ndim))] - base
        stride = int(line[1]) if length > 1 else 0
        parts.append(stride if np.array_equal(line, stride * np.arange(length)) else line)
        total = total + line.reshape([-1 if a == axis else 1 for a in range(positions.ndim)])
    if positions.min() > OUTSIDE and np.array_equal(total, positions):
        return Access(base, tuple(parts))
    return Access(0, (), positions)


def type_of(low: int, high: int) -> str:
    """Return the narrowest C type, unsigned where nothing is negative, that holds a range."""
    if low >= 0:
        return next(f"u{name}" for name, bits in TYPES if high < 1 << bits)
    return next(name for name, bits in TYPES if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))


def size_of(ctype: str) -> int:
    """Return the bytes of a C integer type."""
    return int("".join(filter(str.isdigit, ctype))) // 8


def literal(number: int, ctype: str = "int32_t") -> str:
    """Return an integer as a C literal."""
    if ctype == "int64_t" and abs(number) >= 1 << 31:
        return f"INT64_C({number})"
    return str(number) if number > -(1 << 31) else f"({number + 1} - 1)"


@dataclass
class Tables:
    """Collect the constant tables of a source file, equal ones once; their names start with the prefix."""

    prefix: str
    names: dict[tuple[str, bytes], str] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    bytes: int = 0

    def name(self, numbers: Integers) -> str:
        """Return the name of the table of these numbers, in the narrowest type."""
        flat = np.ascontiguousarray(numbers, np.int64).reshape(-1)
        ctype = type_of(int(flat.min()), int(flat.max()))
        key = (ctype, flat.tobytes())
        if key not in self.names:
            self.names[key] = f"{self.prefix}_table_{len(self.names)}"
            self.bytes += size_of(ctype) * flat.size
            words = [literal(int(number), "int64_t") for number in flat]
            lines = [f"    {', '.join(words[i : i + 20])}," for i in range(0, len(words), 20)]
            self.text += [f"static const {ctype} {self.names[key]}[{flat.size}] = {{", *lines, "};"]
        return self.names[key]

    def entry(self, numbers: Integers, index: str, ctype: str = "int32_t") -> str:
        """Return the C expression of an entry of the table of these numbers, in a type."""
        return widened(f"{self.name(numbers)}[{index}]", type_of(int(numbers.min()), int(numbers.max())), ctype)


def widened(text: str, ctype: str, wanted: str) -> str:
    """Return an operand with a cast, where C's own promotion does not give the wanted type."""
    return text if ctype == wanted or (wanted == "int32_t" and size_of(ctype) < 4) else f"({wanted}){text}"


def summed(base: int, terms: Sequence[tuple[int, Index]]) -> str:
    """Return ``base + stride * index + ...`` as C, with its constant terms added up."""
    words = []
    for stride, index in terms:
        if isinstance(index, int):
            base += stride * index
        elif stride:
            words.append(index if stride == 1 else f"{stride} * {index}")
    if base or not words:
        words.append(str(base))
    return " + ".join(words)


def position(where: Access, at: Sequence[Index], tables: Tables) -> str:
    """Return the position of an element as C."""
    terms: list[tuple[int, Index]] = []
    for part, index in zip(where.parts, at, strict=True):
        if isinstance(part, int):
            terms.append((part, index))
        else:
            terms.append((1, int(part[index]) if isinstance(index, int) else tables.entry(part, index)))
    return summed(where.base, terms)


def laned(place: str, lanes: int) -> str:
    """Return the place of lane ``l`` of an element, where each element of an array has a value for every lane."""
    if lanes == 1:
        return place
    return summed(0, [(1, "l"), (lanes, int(place) if place.isdigit() else f"({place})")])


def element(name: str, ctype: str, where: Access, at: Sequence[Index], tables: Tables, lanes: int = 1) -> str:
    """Return an element of an array, in a signed type, as C; of lane ``l`` where the array has several."""
    if where.whole is None:
        return f"({ctype}){name}[{laned(position(where, at, tables), lanes)}]"
    strides = np.cumprod([1, *where.whole.shape[:0:-1]])[::-1].tolist()
    place = summed(0, list(zip(strides, at, strict=True)))
    if place.lstrip("-").isdigit():
        number = int(where.whole.reshape(-1)[int(place)])
        return f"({ctype}){name}[{laned(str(number), lanes)}]" if number != OUTSIDE else f"({ctype})0"
    index = tables.entry(where.whole, place)
    if where.whole.min() > OUTSIDE:
        return f"({ctype}){name}[{laned(index, lanes)}]"
    return f"({index} < 0 ? ({ctype})0 : ({ctype}){name}[{laned(index, lanes)}])"
