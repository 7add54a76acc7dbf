"""The table of rounding and overflow modes of a fixed-point format.

Two facts define a rounding mode: whether it goes to the nearest step, and its direction. The direction is that of a tie
where the mode goes to the nearest step, else that of every number between two steps. Everything else follows from them.
Source: AMD UG1399, "Arbitrary Precision Fixed-Point Data Types" (quantisation and overflow modes of ap_fixed).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Toward(Enum):
    """Direction of a rounding between two steps."""

    LOWER = "lower"
    UPPER = "upper"
    ZERO = "zero"
    AWAY = "away from zero"
    EVEN = "even"


@dataclass(frozen=True)
class Addend:
    """State the integer that makes a rounding a floor when it is added first, in steps of the finer number.

    It is ``constant``, plus ``negative`` where the number is negative, plus ``odd`` where its floor is odd.
    """

    constant: int
    negative: int
    odd: int


class Rounding(Enum):
    """What becomes of the bits below the step; the names are ap_fixed's."""

    TRN = "TRN"
    TRN_ZERO = "TRN_ZERO"
    RND = "RND"
    RND_ZERO = "RND_ZERO"
    RND_INF = "RND_INF"
    RND_MIN_INF = "RND_MIN_INF"
    RND_CONV = "RND_CONV"

    @property
    def nearest(self) -> bool:
        """Whether the result is the nearest step."""
        return ROUNDINGS[self].nearest

    @property
    def toward(self) -> Toward:
        """Direction of a tie, or of every number where the result is not the nearest step."""
        return ROUNDINGS[self].toward

    @property
    def qonnx(self) -> str | None:
        """QONNX's name; None where QONNX has no such mode."""
        return ROUNDINGS[self].qonnx

    @property
    def of_positive(self) -> Rounding:
        """The simplest mode with the same result on numbers that are not negative."""
        toward = {Toward.ZERO: Toward.LOWER, Toward.AWAY: Toward.UPPER}.get(self.toward, self.toward)
        return next(mode for mode in Rounding if (mode.nearest, mode.toward) == (self.nearest, toward))

    @property
    def adds_constant(self) -> bool:
        """Whether the mode is a floor after the addition of a constant."""
        return self.toward in (Toward.LOWER, Toward.UPPER)

    def addend(self, drop: int) -> Addend:
        """Return what makes the mode a floor when ``drop`` bits (1 or more) are rounded away."""
        if not self.nearest:
            return Addend(0, (1 << drop) - 1 if self.toward is Toward.ZERO else 0, 0)
        below = self.toward not in (Toward.UPPER, Toward.AWAY)
        negative = {Toward.ZERO: 1, Toward.AWAY: -1}.get(self.toward, 0)
        return Addend((1 << (drop - 1)) - below, negative, int(self.toward is Toward.EVEN))


@dataclass(frozen=True)
class Definition:
    """Define a rounding mode."""

    nearest: bool
    toward: Toward
    qonnx: str | None = None


ROUNDINGS = {
    Rounding.TRN: Definition(False, Toward.LOWER, "FLOOR"),
    Rounding.TRN_ZERO: Definition(False, Toward.ZERO, "DOWN"),
    Rounding.RND: Definition(True, Toward.UPPER),
    Rounding.RND_ZERO: Definition(True, Toward.ZERO, "HALF_DOWN"),
    Rounding.RND_INF: Definition(True, Toward.AWAY, "HALF_UP"),  # the qonnx package rounds HALF_UP away from zero
    Rounding.RND_MIN_INF: Definition(True, Toward.LOWER),
    Rounding.RND_CONV: Definition(True, Toward.EVEN, "ROUND"),
}


class Overflow(Enum):
    """What becomes of a value outside the range; the names are ap_fixed's."""

    WRAP = "WRAP"
    SAT = "SAT"
    SAT_ZERO = "SAT_ZERO"
    SAT_SYM = "SAT_SYM"

    @property
    def saturates(self) -> bool:
        """Whether it becomes the nearest end of the range."""
        return self in (Overflow.SAT, Overflow.SAT_SYM)


def rounded(integers: Integers, drop: int, mode: Rounding) -> Integers:
    """Divide integers by ``2**drop`` (drop > 0), rounding by the mode."""
    floor = integers >> drop
    rest = integers - (floor << drop)
    return floor + raised(mode, floor, np.sign(rest - (1 << (drop - 1))), rest > 0)


def raised(mode: Rounding, floor: Integers, side: Integers, inexact: NDArray[np.bool_]) -> Integers:
    """Return 1 where the result is the step above the floor, else 0.

    ``side`` is the sign of the remainder less a half, ``inexact`` tells where there is a remainder.
    """
    upper = {
        Toward.LOWER: np.zeros_like(inexact),
        Toward.UPPER: np.ones_like(inexact),
        Toward.ZERO: floor < 0,
        Toward.AWAY: floor >= 0,
        Toward.EVEN: floor % 2 != 0,
    }[mode.toward]
    beyond = (side > 0) | ((side == 0) & upper) if mode.nearest else upper
    return np.asarray(inexact & beyond, np.int64)


def rounded_floats(x: Any, mode: Rounding) -> Any:
    """Round floats, which need a bit to spare for the half, to whole numbers; the array may be used again."""
    if not mode.nearest:
        return np.floor(x) if mode.toward is Toward.LOWER else np.trunc(x)
    if mode.toward is Toward.EVEN:
        return np.rint(x, out=x if isinstance(x, np.ndarray) else None)
    if mode.toward in (Toward.LOWER, Toward.UPPER):
        return np.floor(x + 0.5) if mode.toward is Toward.UPPER else np.ceil(x - 0.5)
    magnitude = np.abs(x)
    return np.copysign(np.floor(magnitude + 0.5) if mode.toward is Toward.AWAY else np.ceil(magnitude - 0.5), x)
