"""What the rules of Keras layers share: the values of a model as it is read, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.core.remedies import quantise
from edgephys.graph.build import Builder
from edgephys.models.files.functions.staircase import Staircases
from edgephys.models.files.softmax import SoftmaxForm
from edgephys.networks.backend import keras

FloatLayer = Callable[[Any], Any]
"""A Keras layer or function that computes floats: it is called on an array with the batch first."""


@dataclass(frozen=True)
class KerasValue:
    """Hold an edge of the Graph, and the float functions that Keras applies to it before it is rounded again.

    Every function works on each element apart, so that all of them and the rounding are one function of an integer.
    """

    edge: str
    pending: tuple[FloatLayer, ...] = ()
    last: str = ""


@dataclass(eq=False)
class KerasReading:
    """Collect the Graph of a model, and what a user should know of its conversion.

    ``unclipped`` are roundings that QKeras computes as x + (rounded - x). ``softmax`` states how softmaxes are
    computed, ``softmaxes`` are those that were (``softmaxes.ReplacedSoftmax``).
    """

    builder: Builder
    dropped: list[str] = field(default_factory=list)
    unclipped: set[str] = field(default_factory=set)
    softmax: SoftmaxForm = field(default_factory=SoftmaxForm)
    softmaxes: list[Any] = field(default_factory=list)
    staircases: Staircases = field(init=False)

    def __post_init__(self) -> None:
        self.staircases = Staircases(self.builder)

    @property
    def emulated(self) -> set[str]:
        """Edges that Keras does not compute: integers of a function that was tried on every integer."""
        return self.staircases.emulated

    def edge(self, layer: Any, value: KerasValue) -> str:
        """Return the edge of a value that a layer needs exactly; raise ModelError where it is a float."""
        if value.pending:
            raise ModelError(
                f"layer '{value.last}': its float result goes to '{layer.name}' ({type(layer).__name__}), which no "
                f"integers give exactly; put QActivation(quantized_bits(bits, integer, alpha=1)) after '{value.last}', "
                f"or quantise a float model: {quantise()}"
            )
        return value.edge

    def edges(self, layer: Any, values: Sequence[KerasValue]) -> tuple[str, ...]:
        """Return the edges of several values."""
        return tuple(self.edge(layer, value) for value in values)

    def later(self, layer: Any, value: KerasValue, function: FloatLayer | None = None) -> KerasValue:
        """Return a value with a float function that its next rounding takes in."""
        return KerasValue(value.edge, (*value.pending, function or layer), layer.name)

    def shape(self, value: KerasValue) -> tuple[int, ...]:
        """Return the shape of a value, without the batch."""
        return self.builder.shape(value.edge)


class TooWideError(ModelError):
    """Say that a sum has more bits than Keras' type of floats holds exactly."""


class KerasFailsError(ModelError):
    """Say that Keras itself cannot compute a layer or quantiser with its settings."""


def floats_of(fixed_fraction: int, integers: Integers) -> NDArray[Any]:
    """Return integers at a fraction as Keras' floats, of its type."""
    values: NDArray[Any] = (integers * 2.0**-fixed_fraction).astype(keras.config.floatx())
    return values
