"""A model of any framework: its Graph, held-out vectors and card, and how the framework itself computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.models.card import Card
from edgephys.models.raw_inputs import reference
from edgephys.models.vectors import HeldOut


class Reference(Protocol):
    """Compute a model's integers with the framework that it came from, in steps of the Graph's edges.

    Raises: ModelError for a damaged file; MismatchError for values between steps.
    """

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs.  Shape: (vector, *input shape) -> (vector, *output shape)."""

    def layers(self, inputs: Integers) -> Mapping[str, Integers]:
        """Return the integers at the end of each layer that the framework shows, by the Graph's name of the layer."""


class Framework(ABC):
    """Read the models of one framework.

    ``name`` is its key in the record of a verification, ``title`` its name in messages. ``tool`` is the
    program that measured a card's figures, and the package whose version the card states. A folder that holds the file
    ``mark`` is one of its models; ``files`` travel in a project.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    tool: ClassVar[tuple[str, str]]
    mark: ClassVar[str]
    files: ClassVar[tuple[str, ...]]

    @abstractmethod
    def graph(self, folder: Path) -> Graph:
        """Return the Graph of the model in a folder.  Raises: ModelError where it cannot be computed exactly."""

    @abstractmethod
    def reference(self, folder: Path, graph: Graph) -> Reference:
        """Return what computes the integers of the model in a folder with the framework itself."""


@dataclass(frozen=True, eq=False)
class Model:
    """Hold a model as emission, verification, tables and benchmarks need it."""

    folder: Path
    graph: Graph
    held_out: HeldOut
    card: Card
    framework: Framework

    @property
    def name(self) -> str:
        """Name of the model, as its folder's."""
        return self.card.name

    @property
    def reference(self) -> Reference:
        """What computes the framework's own integers."""
        return reference(self.framework, self.folder, self.graph)


@dataclass(frozen=True, eq=False)
class Imported:
    """Hold an imported model, and what its user should know of the conversion."""

    model: Model
    warnings: tuple[str, ...]
