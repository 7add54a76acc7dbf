"""What all jet networks have in common: their constituents, their features and their classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgephys.applications.jets.data.layout import PARTICLE_NAMES
from edgephys.applications.jets.data.substructure import HIGH_LEVEL
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.network import WIDEST_LAYER, Net
from edgephys.networks.widths import dense

LINEAR, COORDINATES = ("pt", "etarel", "phirel"), ("log2pt", "etarel", "phirel")
"""What networks read of a constituent: as published, and with the logarithm of pT."""
MOST_CONSTITUENTS = 150


@dataclass(frozen=True)
class Tagger(Net):
    """State a network on jets.

    ``batch_norm`` normalises the sums of the float network over each batch, before their ReLU; a quantised network
    starts from one in whose weights the normalisation is folded (``edgephys.train.fold``), and has none.
    Ours in all of them: the logits leave at full accumulator precision, so that the largest of them in
    firmware is the largest of them in Keras.
    """

    named_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {"features": {"all": PARTICLE_NAMES}}
    constituents: int = 8
    features: tuple[str, ...] = COORDINATES
    classes: int = 5
    batch_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.constituents <= MOST_CONSTITUENTS:
            raise UsageError(f"constituents must be 1..{MOST_CONSTITUENTS}, not {self.constituents}")
        if not self.features:
            raise UsageError("features must name 1 column or more, not none")
        for name, widths in self.widths().items():
            if any(not 1 <= width <= WIDEST_LAYER for width in widths):
                raise UsageError(f"{name} must hold widths of 1 and over, up to {WIDEST_LAYER}, not {widths}")

    @abstractmethod
    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""

    @abstractmethod
    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of the layers, by the name of the setting that states them."""

    def dense(self, units: int, name: str, bias: bool = True) -> Any:
        """Return a dense layer in the width and range that are stated for it."""
        return dense(units, self.bits, name, bias, self.integer(name))

    def hidden(self, x: Any, widths: tuple[int, ...], name: str, first: int = 1) -> Any:
        """Return ``x`` after dense layers with ReLU, called NAME_1, NAME_2, ...

        Shape: (..., feature) -> (..., widths[-1]).
        """
        for index, width in enumerate(widths, first):
            x = self.activated(self.dense(width, f"{name}_{index}")(x), f"{name}_{index}")
        return x

    def activated(self, x: Any, name: str) -> Any:
        """Return sums after their normalisation, where there is one, and ReLU.  Shape: (..., feature), kept."""
        if self.batch_norm and self.bits is None:
            x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        return self.relu(f"{name}_relu")(x)

    @property
    def size(self) -> int:
        """Return the number of constituents."""
        return self.constituents

    @property
    def label(self) -> str:
        """Name the input and the width: n8_8bit; n16_f16_float with other columns; 8bit of high-level features."""
        high_level = self.features == HIGH_LEVEL
        parts = [] if high_level else [f"n{self.constituents}"]
        parts += [] if high_level or self.features in (COORDINATES, LINEAR) else [f"f{len(self.features)}"]
        return "_".join([*parts, self.precision])
