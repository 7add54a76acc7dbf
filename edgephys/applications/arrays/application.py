"""The applications of a user's own arrays: classes, with one output or one a class; and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgephys.applications.application import Application, Record, Score
from edgephys.core.errors import DataError

if TYPE_CHECKING:
    from edgephys.applications.evaluation import ClassOutputs, NumberOutputs
    from edgephys.applications.metrics import Measured
    from edgephys.applications.task import Shares, Task
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.models.standardise import Standardisation
    from edgephys.models.trained import Trained
    from edgephys.models.vectors import HeldOut

AUTO = "auto"
CLASSIFICATION, REGRESSION, RECONSTRUCTION = TASKS = ("classification", "regression", "reconstruction")
"""What a network is for: classes, numbers, or its own inputs; "auto" until the data say so."""
UNIT = "examples"


class _Arrays(Application):
    """State what classes and numbers have in common; ``tasks`` are those of the application."""

    net_fields: ClassVar[frozenset[str]] = frozenset(("network_function", "task"))
    size_field: ClassVar[str] = "network_input"
    tasks: ClassVar[tuple[str, ...]]

    @property
    def network(self) -> type:
        """Class of the networks' configurations."""
        from edgephys.networks.function import FunctionNet

        return FunctionNet

    def takes(self, net: Any) -> bool:
        """Tell whether a network has one of the application's tasks."""
        return super().takes(net) and net.task in self.tasks

    def recognises(self, net: Record) -> bool:
        """Tell whether a network's record in a card has one of the application's tasks."""
        return super().recognises(net) and net["task"] in self.tasks

    def completed(self, net: Any, shares: Shares, data: Path) -> tuple[Any, tuple[str, ...]]:
        """Return a network with its task, the format of its input and its shapes, and what its user should know.

        Raises: as ``FunctionNet.build``; DataError as the reader of a user's data.
        """
        from edgephys.applications.arrays import complete

        return complete.completed(net, shares, data)

    def prepare(
        self, net: Any, settings: Any, shares: Shares, data: Path, test_data: Path | None
    ) -> tuple[Task, Standardisation]:
        """Return the task of a new network, and the format of its input.

        Raises: DataError as the reader of a user's data, for answers that do not fit, and for an empty part.
        """
        from edgephys.applications.arrays import task

        return task.prepare(net, shares, data, test_data)

    def task(self, trained: Trained, data: Path, test_data: Path | None = None) -> Task:
        """Return the task of a trained network.  Raises: DataError as ``prepare``."""
        from edgephys.applications.arrays import task

        return task.of_trained(trained, data, test_data)

    def measure(self, trained: Trained, data: Path) -> dict[str, Any]:
        """Return the metrics of a model on all examples of a file.  Raises: DataError as ``prepare``."""
        from edgephys.applications.arrays import task

        return task.measure(trained, data)

    def size(self, net: Record) -> int:
        """Return the length of the first axis of the input."""
        return int(net["network_input"][0])

    def input_width(self, net: Record) -> int:
        """Return the length of the last axis of the input."""
        return int(net["network_input"][-1])


class ArrayClasses(_Arrays):
    """State how networks tell classes apart, by one output a class, or by a single one that is above 0 for class 1."""

    name: ClassVar[str] = "classes"
    score: ClassVar[Score] = Score("accuracy", "accuracy", UNIT, True)
    tasks: ClassVar[tuple[str, ...]] = (AUTO, CLASSIFICATION)

    def takes(self, net: Any) -> bool:
        """Tell whether a network is of this application: also where its task is none, which ``completed`` refuses."""
        return Application.takes(self, net) and (net.task in self.tasks or net.task not in TASKS)

    def read(self, ready: Standardisation, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        """Return the inputs of a file as integers, and their classes.  Raises: DataError as ``prepare``."""
        from edgephys.applications.arrays import task

        return task.read(ready, shape, CLASSIFICATION, None, data, limit)

    def score_outputs(
        self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0
    ) -> dict[str, Measured]:
        """Return accuracy, and AUC of the classes that have examples.  Raises: DataError for other labels."""
        from edgephys.applications import classes

        examples = self.evaluated(graph, outputs, labels, scale)
        return classes.of_outputs(examples.logits, labels, examples.classes, UNIT)

    def evaluated(self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0) -> ClassOutputs:
        """Return the logits of examples beside their classes."""
        from edgephys.applications.arrays.answers import class_names, of_one_output
        from edgephys.applications.evaluation import ClassOutputs
        from edgephys.models import units

        steps = units.as_logits(graph, outputs)
        logits = of_one_output(graph.output.fixed.values(steps).reshape(len(outputs), -1) * scale)
        return ClassOutputs(logits, labels, class_names(logits.shape[1]))

    def describe(self, metrics: Record, which: str = "") -> str:
        """Return accuracy and AUC in words."""
        share, error = 100 * metrics["accuracy"], 100 * metrics["accuracy_error"]
        auc = " ".join(f"{name} {100 * area:.1f}" for name, area in metrics.get("auc", {}).items())
        areas = f"; AUC {auc}" if auc else ""
        return f"accuracy {share:.2f} ± {error:.2f} % on {metrics[UNIT]} {which}{UNIT}{areas}"


class ArrayNumbers(_Arrays):
    """State how networks compute numbers, or their own inputs."""

    name: ClassVar[str] = "numbers"
    score: ClassVar[Score] = Score("relative_l2", "relative L2 error", UNIT, False)
    tasks: ClassVar[tuple[str, ...]] = (REGRESSION, RECONSTRUCTION)

    def read(self, ready: Standardisation, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        """Return the inputs of a file as integers, and the numbers that they should give; without y, the inputs.

        Raises: DataError as ``prepare``.
        """
        from edgephys.applications.arrays import task

        return task.read(ready, shape, AUTO, None, data, limit)

    def score_outputs(
        self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0
    ) -> dict[str, Measured]:
        """Return the relative L2 error.  Raises: DataError for labels that are no numbers of these outputs."""
        from edgephys.applications.metrics import Measured
        from edgephys.models import numbers

        numbers_of = self.evaluated(graph, outputs, labels, scale)
        measured = numbers.relative_l2(numbers_of.outputs, numbers_of.answers)
        return {self.score.key: Measured(measured.value, measured.error)}

    def evaluated(self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0) -> NumberOutputs:
        """Return the outputs of examples beside the numbers that they should be, flat.

        Raises: DataError for labels that are no numbers of these outputs.
        """
        from edgephys.applications.evaluation import NumberOutputs
        from edgephys.models import units

        values: Any = units.values_of(graph, outputs).reshape(len(outputs), -1)
        answers: Any = labels.reshape(len(labels), -1)
        if values.shape != answers.shape:
            raise DataError(f"expected numbers of shape {values.shape}, found {answers.shape}")
        return NumberOutputs(values, answers)

    def describe(self, metrics: Record, which: str = "") -> str:
        """Return the errors in words."""
        share, error = 100 * metrics["relative_l2"], 100 * metrics["relative_l2_error"]
        others = ", ".join(
            f"{name} {metrics[key]:.4g}" for key, name in (("r2", "R2"), ("mse", "MSE")) if key in metrics
        )
        behind = f"; {others}" if others else ""
        return f"relative L2 error {share:.2f} ± {error:.2f} % on {metrics[UNIT]} {which}{UNIT}{behind}"
