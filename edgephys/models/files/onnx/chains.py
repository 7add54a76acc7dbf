"""Float operators between an exact edge and the quantiser behind it: together they are one function of an integer.

A chain is computed on intervals in float64. An edge of exact values gives single numbers; where its values are integers
times a scale that is no power of two, the file's own sums have been rounded, and the interval holds all of them. The
result of the quantiser must be the same on the whole interval: then no order of summation changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError

Floats = NDArray[np.float64]
NOISE = 2.0**-42
"""Relative error of a float64 sum of up to a thousand products, and of functions that libraries compute."""

SUM = "sum of two scales"
"""Kind of the operator that adds a tensor of another scale; it is the first one of a chain."""
PARTS = "join of several scales"
"""Kind of the operator that joins tensors of other scales, or with float operators; it is the first one of a chain."""


@dataclass(frozen=True, eq=False)
class FloatStep:
    """State one float operator of each element: ``kind`` is one of ``COMPUTATIONS``.

    ``constant`` is laid out as the edge that the chain begins at; ``source`` is the tensor that the operator reads, and
    ``node`` the name of its node. ``more`` are its settings, ``second`` is what a sum of two scales adds or
    a join reads.
    """

    kind: str
    node: str
    source: str
    constant: Floats | None = None
    more: tuple[float, ...] = ()
    second: Any = None

    @property
    def increasing(self) -> bool:
        """Tell whether more goes in where more comes out, in every channel alike: the order of elements stays."""
        if self.kind in (SUM, PARTS):
            return False
        if self.kind in ("multiply", "divide"):
            return self.constant is not None and self.constant.ndim == 0 and bool(self.constant > 0)
        if self.kind == "add":
            return self.constant is not None and self.constant.ndim == 0
        return COMPUTATIONS[self.kind].strictly

    def moved(self, move: Callable[[Floats], Floats]) -> FloatStep:
        """Return the function with its constant moved as the elements are; ModelError for several scales."""
        if self.kind in (SUM, PARTS):
            what = "(Add): the sum of two scales" if self.kind == SUM else f"({self.second.word}): several scales"
            raise ModelError(
                f"node '{self.node}' {what} must be rounded before its elements are moved; put a Quant right behind it"
            )
        if self.constant is None or self.constant.ndim == 0:
            return self
        return replace(self, constant=move(self.constant))


@dataclass(frozen=True)
class Computation:
    """State a function: what it computes from x, a constant and settings.

    ``slope`` bounds the slope of one that does not rise everywhere; None for one that rises (or falls, with a negative
    factor). ``strictly``: different numbers stay different. ``exactly``: float64 rounds its result as IEEE 754 says.
    """

    compute: Callable[..., Any]
    slope: float | None = None
    strictly: bool = False
    exactly: bool = False


def _sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _elu(x: Any, alpha: float = 1.0, gamma: float = 1.0) -> Any:
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _erf(x: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


COMPUTATIONS: Mapping[str, Computation] = {
    "multiply": Computation(lambda x, c: x * c, exactly=True),
    "divide": Computation(lambda x, c: x / c, exactly=True),
    "add": Computation(lambda x, c: x + c, strictly=True, exactly=True),
    "Relu": Computation(lambda x, _: np.maximum(x, 0), exactly=True),
    "Clip": Computation(lambda x, _, low, high: np.clip(x, low, high), exactly=True),
    "LeakyRelu": Computation(lambda x, _, alpha: np.where(x > 0, x, alpha * x), strictly=True, exactly=True),
    "PRelu": Computation(lambda x, c: np.where(x > 0, x, c * x), exactly=True),
    "Sigmoid": Computation(lambda x, _: _sigmoid(x), strictly=True),
    "HardSigmoid": Computation(lambda x, _, alpha, beta: np.clip(alpha * x + beta, 0, 1)),
    "Tanh": Computation(lambda x, _: np.tanh(x), strictly=True),
    "Elu": Computation(lambda x, _, alpha: _elu(x, alpha), strictly=True),
    "Selu": Computation(lambda x, _, alpha, gamma: _elu(x, alpha, gamma), strictly=True),
    "Softplus": Computation(lambda x, _: np.logaddexp(x, 0), strictly=True),
    "Softsign": Computation(lambda x, _: x / (1 + np.abs(x)), strictly=True),
    "Exp": Computation(lambda x, _: np.exp(x), strictly=True),
    "Erf": Computation(lambda x, _: _erf(x), strictly=True),
    "HardSwish": Computation(lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1), slope=1.5),
    "Gelu": Computation(lambda x, _: 0.5 * x * (1 + _erf(x / np.sqrt(2))), slope=1.13),
    "Mish": Computation(lambda x, _: x * np.tanh(np.logaddexp(x, 0)), slope=1.1),
    "Softmax": Computation(lambda x, _: x, strictly=True),
    "Abs": Computation(lambda x, _: np.abs(x), slope=1.0, exactly=True),
}
"""What each function computes.  Source: the definitions of the ONNX operators of these names."""


def directions(chain: tuple[FloatStep, ...]) -> Floats | None:
    """Return 1 or -1 for each channel in which the whole chain rises or falls; None where it does neither."""
    sign = np.ones(())
    for function in chain:
        if function.kind in (SUM, PARTS):
            return None
        if function.kind in ("multiply", "divide") and function.constant is not None:
            sign = sign * np.where(function.constant < 0, -1.0, 1.0)
        elif COMPUTATIONS[function.kind].slope is not None or _falls(function):
            return None
    return sign


def _falls(function: FloatStep) -> bool:
    """Tell whether a slope below 0 turns part of a function around."""
    if function.kind == "PRelu":
        return bool(np.any(np.asarray(function.constant) < 0))
    return function.kind == "LeakyRelu" and function.more[0] < 0


def computed(chain: tuple[FloatStep, ...], low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the intervals that a chain makes of intervals."""
    with np.errstate(over="ignore", under="ignore"):
        for function in chain:
            low, high = _one(function, low, high)
    return low, high


def _one(function: FloatStep, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    kind, constant = COMPUTATIONS[function.kind], function.constant
    one = kind.compute(low, constant, *function.more)
    other = kind.compute(high, constant, *function.more)
    if kind.slope is not None:
        around = kind.slope * (high - low)
        one, other = np.minimum(one, other) - around, np.maximum(one, other) + around
    one, other = np.minimum(one, other), np.maximum(one, other)
    exact = (low == high) if kind.exactly else np.zeros(np.shape(low), bool)
    size = np.maximum(np.abs(one), np.abs(other))
    if function.kind == "add":
        size = np.maximum(size, np.abs(constant if constant is not None else 0.0))
    margin = np.where(exact, 0.0, NOISE * size)
    return one - margin, other + margin
