"""The application that tags jets: g, q, W, Z or t."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgephys.applications.application import Application, Literature, Record, Score, TaskSettings
from edgephys.applications.jets import published
from edgephys.core.errors import UsageError

if TYPE_CHECKING:
    from edgephys.applications.evaluation import ClassOutputs
    from edgephys.applications.metrics import Measured
    from edgephys.applications.task import Shares, Task
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.models.standardise import Standardisation
    from edgephys.models.trained import Trained
    from edgephys.models.vectors import HeldOut


ORDERS = ("sorted", "shuffled")


@dataclass(frozen=True)
class JetReading(TaskSettings):
    """State the order of a jet's constituents: the hardest first, or at random, the same in all parts."""

    order: str = "sorted"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise UsageError(f"order must be one of {', '.join(ORDERS)}, not {self.order}")


class JetTagging(Application):
    """State how networks tag jets."""

    name: ClassVar[str] = "jets"
    score: ClassVar[Score] = Score("accuracy", "accuracy", "jets", True)
    net_fields: ClassVar[frozenset[str]] = frozenset(("constituents", "features"))
    size_field: ClassVar[str] = "constituents"
    settings: ClassVar[type[TaskSettings]] = JetReading
    literature: ClassVar[Literature | None] = published.LITERATURE
    commands: ClassVar[Mapping[str, str]] = {"data": "edgephys.applications.jets.commands:data"}

    @property
    def network(self) -> type:
        """Class of the networks' configurations."""
        from edgephys.applications.jets.networks.tagger import Tagger

        return Tagger

    def prepare(
        self, net: Any, settings: Any, shares: Shares, data: Path, test_data: Path | None
    ) -> tuple[Task, Standardisation]:
        """Return the task of a new tagger, and the standardisation of its features.

        Raises: DataError as the reader of jets, and for a feature without spread.
        """
        from edgephys.applications.jets import task

        return task.prepare(net, settings.order, shares, data, test_data)

    def task(self, trained: Trained, data: Path, test_data: Path | None = None) -> Task:
        """Return the task of a trained tagger.  Raises: DataError as the reader of jets."""
        from edgephys.applications.jets import task

        return task.of_trained(trained, data, test_data)

    def measure(self, trained: Trained, data: Path) -> dict[str, Any]:
        """Return accuracy and AUC by class, with their errors.  Raises: DataError as the reader of jets."""
        from edgephys.applications.jets import task

        return task.measure(trained, data)

    def read(self, ready: Standardisation, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        """Return standardised features and classes.  Shape: inputs (jet, constituent, feature), labels (jet,).

        Raises: DataError as the reader of jets.
        """
        from edgephys.applications.jets import task

        return task.read(ready, shape[0], data, limit)

    def score_outputs(
        self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0
    ) -> Mapping[str, Measured]:
        """Return accuracy, and AUC of the classes that have jets and others.

        Raises: DataError for labels that are no class of these outputs.
        """
        from edgephys.applications import classes

        jets = self.evaluated(graph, outputs, labels, scale)
        return classes.of_outputs(jets.logits, labels, jets.classes, self.score.unit)

    def evaluated(self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0) -> ClassOutputs:
        """Return the logits of jets beside their classes."""
        from edgephys.applications.evaluation import ClassOutputs
        from edgephys.applications.jets.data.layout import CLASSES

        return ClassOutputs(graph.output.fixed.values(outputs) * scale, labels, CLASSES)

    def describe(self, metrics: Record, which: str = "") -> str:
        """Return accuracy and AUC in words."""
        auc = " ".join(f"{name} {100 * area:.1f}" for name, area in metrics["auc"].items())
        share, error = 100 * metrics["accuracy"], 100 * metrics["accuracy_error"]
        return f"accuracy {share:.2f} ± {error:.2f} % on {metrics['jets']} {which}jets; AUC {auc}"

    def input_width(self, net: Record) -> int:
        """Return the number of features of a constituent, or of the jet."""
        return len(net["features"])

    def published(self, recipe: Record) -> Record | None:
        """Return the published figures of a recipe's network; None unless network, input and width are the paper's."""
        return published.published(recipe)
