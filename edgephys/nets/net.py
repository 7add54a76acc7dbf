"""What all jet networks have in common: their input, their classes and their widths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgephys.data.substructure import HIGH_LEVEL
from edgephys.errors import UsageError
from edgephys.fixed import Fixed, Overflow, Rounding
from edgephys.nets.layers import check_bits, dense, relu

COORDINATES = ("pt", "etarel", "phirel")
MOST_CONSTITUENTS = 150


@dataclass(frozen=True)
class Net(ABC):
    """State a network on jets; ``bits`` None is the float network.

    ``weight_integers`` gives, by layer, the k of weights in [-2**k, 2**k); 0 where none is given, as published.
    Ours in all of them: the logits leave at full accumulator precision, so that the largest of them in
    firmware is the largest of them in Keras.
    """

    constituents: int = 8
    features: tuple[str, ...] = COORDINATES
    classes: int = 5
    bits: int | None = 8
    activation_bits: int | None = None
    input_bits: int = 12
    input_integer: int = 4
    weight_integers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_bits("bits", self.bits)
        check_bits("activation_bits", self.activation_bits)
        if self.bits is None and self.activation_bits is not None:
            raise UsageError("activation_bits must be left out of a float network (bits=float)")
        if not 1 <= self.constituents <= MOST_CONSTITUENTS:
            raise UsageError(f"constituents must be 1..{MOST_CONSTITUENTS}, not {self.constituents}")
        if not self.features:
            raise UsageError("features must name 1 column or more, not none")
        for name, widths in self.widths().items():
            if any(width < 1 for width in widths):
                raise UsageError(f"{name} must hold widths of 1 and over, not {widths}")

    @abstractmethod
    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""

    @abstractmethod
    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of the layers, by the name of the setting that states them."""

    def dense(self, units: int, name: str, bias: bool = True) -> Any:
        """Return a dense layer in the width and range that are stated for it."""
        return dense(units, self.bits, name, bias, self.weight_integers.get(name, 0))

    def relu(self, name: str, extra_bits: int = 0, integer: int = 0) -> Any:
        """Return a ReLU in the width of the activations and some bits more."""
        return relu(None if self.activation is None else self.activation + extra_bits, name, integer)

    def hidden(self, x: Any, widths: tuple[int, ...], name: str, first: int = 1) -> Any:
        """Return ``x`` after dense layers with ReLU, called NAME_1, NAME_2, ...

        Shape: (..., feature) -> (..., widths[-1]).
        """
        for index, width in enumerate(widths, first):
            x = self.relu(f"{name}_{index}_relu")(self.dense(width, f"{name}_{index}")(x))
        return x

    @property
    def input(self) -> Fixed:
        """Format of the standardised input."""
        return Fixed(True, self.input_bits, self.input_integer, Rounding.RND_CONV, Overflow.SAT)

    @property
    def activation(self) -> int | None:
        """Width of the activations; None where they are float."""
        return self.activation_bits or self.bits

    @property
    def label(self) -> str:
        """Name the input and the width: n8_8bit; n16_f16_float with other columns; 8bit of high-level features."""
        high_level = self.features == HIGH_LEVEL
        parts = [] if high_level else [f"n{self.constituents}"]
        parts += [] if high_level or self.features == COORDINATES else [f"f{len(self.features)}"]
        return "_".join([*parts, "float" if self.bits is None else f"{self.bits}bit"])
