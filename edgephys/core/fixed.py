"""The one number format of the whole program: fixed point, with ap_fixed's rules.

A value is an integer times ``step = 2**-fraction``. The modes are in ``rounding``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.rounding import Integers, Overflow, Rounding, raised, rounded

__all__ = ["WIDEST", "Fixed", "Integers", "Overflow", "Rounding", "narrowest"]

WIDEST = 62
"""Bits of the widest edge: sums of two such integers still fit in 64 bits."""
FARTHEST = 512
"""Bits that the binary point may lie off the number: a step is then a float64 with room for every product."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """State a fixed-point format: ``ap_[u]fixed<bits, integer, rounding, overflow>``.

    ``integer`` counts the sign bit of a signed format, may be negative, and may exceed ``bits``.
    """

    signed: bool
    bits: int
    integer: int
    rounding: Rounding = Rounding.TRN
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= WIDEST:
            raise ModelError(f"fixed-point format: bits must be 1..{WIDEST}, not {self.bits}")
        if abs(self.integer) > FARTHEST:
            raise ModelError(f"fixed-point format: integer must be {-FARTHEST}..{FARTHEST}, not {self.integer}")

    @property
    def fraction(self) -> int:
        """Number of bits behind the binary point (may be negative)."""
        return self.bits - self.integer

    @property
    def low(self) -> int:
        """Lowest integer of the format, in steps."""
        if not self.signed:
            return 0
        return -(1 << (self.bits - 1)) + (self.overflow is Overflow.SAT_SYM)

    @property
    def high(self) -> int:
        """Highest integer of the format, in steps."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def step(self) -> float:
        """Value of one unit in the last place."""
        return 2.0**-self.fraction

    def __str__(self) -> str:
        name = "fixed" if self.signed else "ufixed"
        modes = ""
        if (self.rounding, self.overflow) != (Rounding.TRN, Overflow.WRAP):
            modes = f",{self.rounding.value},{self.overflow.value}"
        return f"{name}<{self.bits},{self.integer}{modes}>"

    def to_record(self) -> list[Any]:
        """Return the format as plain JSON types."""
        return [self.signed, self.bits, self.integer, self.rounding.value, self.overflow.value]

    @classmethod
    def of_record(cls, record: list[Any]) -> Fixed:
        """Return the format of a record; raise ValueError or TypeError where it is not one."""
        signed, bits, integer, rounding, overflow = record
        return cls(bool(signed), int(bits), int(integer), Rounding(rounding), Overflow(overflow))

    @classmethod
    def of_text(cls, text: str) -> Fixed:
        """Return the format that ``str`` writes as ``text``, such as ``fixed<16,6>`` or ``ufixed<8,0,RND_CONV,SAT>``.

        Raises: UsageError where it is not one.
        """
        match = re.fullmatch(r"(u?)fixed<(\d+),(-?\d+)(?:,(\w+),(\w+))?>", re.sub(r"\s", "", text))
        try:
            if match is None:
                raise ValueError(text)
            unsigned, bits, integer, rounding, overflow = match.groups()
            modes = (Rounding(rounding), Overflow(overflow)) if rounding else ()
            return cls(not unsigned, int(bits), int(integer), *modes)
        except ValueError as error:
            raise UsageError(
                f"number format must be such as fixed<16,6> or ufixed<8,0,RND_CONV,SAT>, not '{text}'"
            ) from error

    def holds(self, low: int, high: int) -> bool:
        """Tell whether every integer from ``low`` to ``high``, in steps, is in the format."""
        return self.low <= low and high <= self.high

    def requantise(self, integers: Any, fraction: int) -> Integers:
        """Return integers at ``2**-fraction`` in this format, rounded and overflowed by its modes.

        Shape: any, kept.  Exact: integer arithmetic throughout.
        Raises: ModelError where a value at the finer of the two steps needs over 62 bits.
        """
        return self._overflowed(self.in_steps(integers, fraction))

    def in_steps(self, integers: Any, fraction: int) -> Integers:
        """Return integers at ``2**-fraction`` in steps of this format, rounded by its mode but not overflowed.

        Shape, Exact, Raises: as ``requantise``.
        """
        values = np.asarray(integers, np.int64)
        drop = fraction - self.fraction
        if drop <= 0:
            widest = int(np.abs(values).max(initial=0)).bit_length()
            if widest and widest - drop > WIDEST:
                raise ModelError(f"{self}: a value of {widest} bits shifted by {-drop} leaves {WIDEST} bits")
            return values << min(-drop, WIDEST)  # that far, only zeros are shifted
        if drop > WIDEST:
            raise ModelError(f"{self}: {drop} bits to round away; at most {WIDEST} can be")
        return rounded(values, drop, self.rounding)

    def quantise(self, values: Any) -> Integers:
        """Return the integers, in steps, that float values become in this format.

        Shape: any, kept.  Exact: a float64 is scaled by a power of two and compared with whole and half steps.
        Raises: ModelError for NaN, infinities and magnitudes of 2**62 steps and over.
        """
        scaled = np.asarray(values, np.float64) * 2.0**self.fraction
        if not np.all(np.isfinite(scaled)) or np.any(np.abs(scaled) >= 2.0**WIDEST):
            raise ModelError(f"{self}: values must be finite and below 2**{WIDEST} steps")
        whole = np.floor(scaled)
        half = whole + 0.5  # exact wherever there is a remainder, which scaled - whole is not
        side = np.sign(np.greater(scaled, half).astype(np.int64) - np.less(scaled, half))
        base = whole.astype(np.int64)
        return self._overflowed(base + raised(self.rounding, base, side, scaled > whole))

    def values(self, integers: Any) -> NDArray[np.float64]:
        """Return the float64 values of integers in steps."""
        return np.asarray(integers, np.float64) * self.step

    def _overflowed(self, integers: Integers) -> Integers:
        low, high = self.low, self.high
        if self.overflow.saturates:
            return np.clip(integers, low, high)
        if self.overflow is Overflow.SAT_ZERO:
            return np.where((integers < low) | (integers > high), 0, integers)
        low_bits = integers & ((1 << self.bits) - 1)
        return low_bits - ((low_bits > high).astype(np.int64) << self.bits)


def narrowest(low: int, high: int, fraction: int) -> Fixed:
    """Return the narrowest format whose steps of ``2**-fraction`` hold every integer in [low, high]."""
    signed = low < 0
    bits = max((high if high >= 0 else -high - 1).bit_length(), (-low - 1).bit_length() if signed else 0) + signed
    bits = max(bits, 1)
    if bits > WIDEST:
        raise ModelError(f"a range of {low}..{high} steps needs {bits} bits; at most {WIDEST} are exact")
    return Fixed(signed, bits, bits - fraction)
