"""The contract of an application: what its networks read, how they are trained and scored, and how data are made.

An application is an instance of a class derived from ``Application``; ``registry`` lists them. The modules that hold
these classes are light: a method imports the libraries that it needs when it is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from edgephys.applications.evaluation import Evaluated
    from edgephys.applications.metrics import Measured
    from edgephys.applications.task import Shares, Task
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.models.standardise import Standardisation
    from edgephys.models.trained import Trained
    from edgephys.models.vectors import HeldOut

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """Name the one number that says how well a model does; ``rising`` where more is better.

    ``key`` is its name in a card or a row, ``unit`` what it is counted on.
    """

    key: str
    name: str
    unit: str
    rising: bool

    @property
    def error(self) -> str:
        """Key of its error."""
        return f"{self.key}_error"

    @property
    def deviation(self) -> str:
        """Key of its sample deviation over seeds."""
        return f"{self.key}_deviation"

    @property
    def difference(self) -> str:
        """Key of its difference to another model's."""
        return f"{self.key}_difference"


@dataclass(frozen=True)
class TaskSettings:
    """Hold what a recipe states for one application alone; each field is a key of the recipe in a card."""


@dataclass(frozen=True)
class Literature:
    """Hold published figures, which tables show beside ours.

    ``rows`` are by training script and size of the network's input. ``families`` are the names of the scripts'
    networks, in the order of the tables; ``prefix`` is what scripts begin with. ``caveat`` says what differs from our
    measurements.
    """

    source: str
    caveat: str
    prefix: str
    families: Mapping[str, str]
    rows: Mapping[str, Mapping[int, Record]]

    def family_name(self, script: str) -> str:
        """Return the name of a script's networks: of an unknown script, its own name in words."""
        return self.families.get(script, script.removeprefix(self.prefix).replace("_", " "))


class Application(ABC):
    """State an application.

    ``net_fields`` are the fields of a network's configuration by which a card is recognised, ``size_field`` the one
    that states the size of its input. ``commands`` are its commands as "module:function": ``data`` becomes `edgephys
    data NAME`, any other a command of that name.
    """

    name: ClassVar[str]
    score: ClassVar[Score]
    net_fields: ClassVar[frozenset[str]]
    size_field: ClassVar[str]
    settings: ClassVar[type[TaskSettings]] = TaskSettings
    commands: ClassVar[Mapping[str, str]] = {}
    literature: ClassVar[Literature | None] = None

    @property
    @abstractmethod
    def network(self) -> type:
        """Class of the networks' configurations."""

    def takes(self, net: Any) -> bool:
        """Tell whether a network's configuration is of this application."""
        return isinstance(net, self.network)

    def completed(self, net: Any, shares: Shares, data: Path) -> tuple[Any, tuple[str, ...]]:
        """Return a configuration with what it leaves to the data, and what its user should know.

        Raises: DataError where the data do not fit the network; ModelError for a network that cannot be trained.
        """
        return net, ()

    @abstractmethod
    def prepare(
        self, net: Any, settings: Any, shares: Shares, data: Path, test_data: Path | None
    ) -> tuple[Task, Standardisation]:
        """Return the task of a new network, and the standardisation that is fitted on its training examples.

        Raises: DataError where the data do not fit the network.
        """

    @abstractmethod
    def task(self, trained: Trained, data: Path, test_data: Path | None = None) -> Task:
        """Return the task that a model was trained for, with its examples divided as in training.

        Raises: DataError where the data do not fit the model.
        """

    @abstractmethod
    def measure(self, trained: Trained, data: Path) -> dict[str, Any]:
        """Return the metrics of a model on all examples of a file: the score, its error, and others.

        Raises: DataError where the data do not fit the model.
        """

    @abstractmethod
    def read(self, ready: Standardisation, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        """Return input integers and labels of raw data, of ``limit`` examples at most.

        Shape: inputs (example, *shape).
        Raises: DataError where the data do not fit the model.
        """

    @abstractmethod
    def score_outputs(
        self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0
    ) -> Mapping[str, Measured]:
        """Return figures of integer outputs with their errors, by the names of a report: the score's key is among them.

        ``scale`` is the factor of the outputs where they are logits.
        Shape: outputs (vector, *output shape), labels as ``read`` returns them.
        Raises: DataError where the labels are no answers for these outputs.
        """

    def evaluated(self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0) -> Evaluated | None:
        """Return integer outputs beside their answers, for the pictures of a report; None where nothing is drawn.

        Shape and ``scale``: as ``score_outputs``.
        """
        return None

    @abstractmethod
    def describe(self, metrics: Record, which: str = "") -> str:
        """Return metrics in words; ``which`` stands before the unit, such as "test "."""

    @abstractmethod
    def input_width(self, net: Record) -> int:
        """Return the number of inputs of each row or point that a network of this record reads."""

    def published(self, recipe: Record) -> Record | None:
        """Return the published figures of the same network; None where there are none."""
        return None

    def recognises(self, net: Record) -> bool:
        """Tell whether a network's record in a card is of this application."""
        return self.net_fields <= net.keys()

    def size(self, net: Record) -> int:
        """Return the size of the input of a network of this record."""
        return int(net[self.size_field])
