"""Deep Sets: a function of each constituent, a mean over them, a function of the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.errors import UsageError
from edgephys.fixed import Fixed, Overflow, Rounding
from edgephys.nets.backend import keras
from edgephys.nets.layers import ConstituentMean, check_bits, dense, relu

POOL_EXTRA_BITS = 2
"""Bits that the mean keeps beyond an activation's: few enough for float32 to hold the next sums exactly."""


@dataclass(frozen=True)
class DeepSets:
    """State a Deep Sets jet tagger; ``bits`` None is the float network.

    Source: arXiv 2402.01876 (phi 32-32-32, mean, rho 32, five classes; 3,461 parameters). Ours: the mean
    is rounded to ``activation_bits + 2`` bits, and the logits leave at full accumulator precision, so that
    the largest of them in firmware is the largest of them in Keras.
    """

    constituents: int = 8
    features: tuple[str, ...] = ("pt", "etarel", "phirel")
    classes: int = 5
    phi: tuple[int, ...] = (32, 32, 32)
    rho: tuple[int, ...] = (32,)
    bits: int | None = 8
    activation_bits: int | None = None
    input_bits: int = 12
    input_integer: int = 4

    def __post_init__(self) -> None:
        check_bits("bits", self.bits)
        check_bits("activation_bits", self.activation_bits)
        if self.bits is None and self.activation_bits is not None:
            raise UsageError("activation_bits must be left out of a float network (bits=float)")
        if not 1 <= self.constituents <= 150:
            raise UsageError(f"constituents must be 1..150, not {self.constituents}")
        if not self.phi or min((*self.phi, *self.rho)) < 1:
            raise UsageError(f"phi and rho must hold widths of 1 and over, not {self.phi} and {self.rho}")

    @property
    def input(self) -> Fixed:
        """Format of the standardised input."""
        return Fixed(True, self.input_bits, self.input_integer, Rounding.RND_CONV, Overflow.SAT)

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        bits, act = self.bits, self.activation_bits or self.bits
        x = inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        for index, width in enumerate(self.phi, 1):
            x = dense(width, bits, f"phi_{index}")(x)  # (jet, constituent, width)
            x = relu(act, f"phi_{index}_relu")(x)
        x = ConstituentMean(name="pool")(x)  # (jet, width)
        if act is not None:
            x = relu(act + POOL_EXTRA_BITS, "pool_quantised")(x)
        for index, width in enumerate(self.rho, 1):
            x = dense(width, bits, f"rho_{index}")(x)
            x = relu(act, f"rho_{index}_relu")(x)
        return keras.Model(inputs, dense(self.classes, bits, "logits")(x), name="deepsets")
