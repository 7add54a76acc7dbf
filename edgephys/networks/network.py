"""What all networks have in common: the format of their input and the widths of what they compute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgephys.core.errors import UsageError
from edgephys.core.fixed import WIDEST, Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.widths import check_bits, relu

WIDEST_LAYER = 4096
"""Channels of the widest layer, and points of the largest side of a field."""


@dataclass(frozen=True, kw_only=True)
class Net(ABC):
    """State a network; ``bits`` None is the float network.

    ``weight_integers`` gives, by layer, the k of weights in [-2**k, 2**k); 0 where none is given, as published.
    ``named_values`` are words, by field, that stand for a value on the command line; ``settled`` are fields that no
    setting changes.
    """

    settled: ClassVar[frozenset[str]] = frozenset()
    named_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    bits: int | None = 8
    activation_bits: int | None = None
    input_bits: int = 12
    input_integer: int = 4
    weight_integers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_bits("bits", self.bits)
        check_bits("activation_bits", self.activation_bits)
        Fixed(True, self.input_bits, self.input_integer)  # refuses a format that cannot be
        if any(abs(integer) > WIDEST for integer in self.weight_integers.values()):
            raise UsageError(f"weight_integers must be -{WIDEST}..{WIDEST}, not {dict(self.weight_integers)}")
        if self.bits is None and self.activation_bits is not None:
            raise UsageError("activation_bits must be left out of a float network (bits=float)")

    @abstractmethod
    def build(self) -> Any:
        """Return the untrained Keras model."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Size of what it reads, by which a recipe states its learning rate."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name what tells one recipe's networks apart, the width last."""

    def relu(self, name: str, extra_bits: int = 0, integer: int = 0) -> Any:
        """Return a ReLU in the width of the activations and some bits more."""
        return relu(None if self.activation is None else self.activation + extra_bits, name, integer)

    def integer(self, name: str) -> int:
        """Return the k of a layer's weights, which lie in [-2**k, 2**k)."""
        return self.weight_integers.get(name, 0)

    @property
    def input(self) -> Fixed:
        """Format of the input."""
        return Fixed(True, self.input_bits, self.input_integer, Rounding.RND_CONV, Overflow.SAT)

    @property
    def activation(self) -> int | None:
        """Width of the activations; None where they are float."""
        return self.activation_bits or self.bits

    @property
    def precision(self) -> str:
        """Name the width: 8bit, or float."""
        return "float" if self.bits is None else f"{self.bits}bit"
