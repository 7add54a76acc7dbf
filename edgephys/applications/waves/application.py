"""The application that simulates waves: a network makes the next frame from the last ones and the wave speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgephys.applications.application import Application, Record, Score, TaskSettings
from edgephys.core.errors import UsageError

if TYPE_CHECKING:
    from edgephys.applications.evaluation import NumberOutputs
    from edgephys.applications.metrics import Measured
    from edgephys.applications.task import Shares, Task
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.models.standardise import Standardisation
    from edgephys.models.trained import Trained
    from edgephys.models.vectors import HeldOut


@dataclass(frozen=True)
class FrameSampling(TaskSettings):
    """State the training examples of a run: one time in ``every``, and the loss of ``unroll`` frames from each."""

    every: int = 1
    unroll: int = 1

    def __post_init__(self) -> None:
        for name in ("every", "unroll"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 and over, not {getattr(self, name)}")


class WaveSimulation(Application):
    """State how networks advance waves."""

    name: ClassVar[str] = "waves"
    score: ClassVar[Score] = Score("relative_l2", "relative L2 error", "fields", False)
    net_fields: ClassVar[frozenset[str]] = frozenset(("grid", "frames"))
    size_field: ClassVar[str] = "grid"
    settings: ClassVar[type[TaskSettings]] = FrameSampling
    commands: ClassVar[Mapping[str, str]] = {
        name: f"edgephys.applications.waves.commands:{name}"
        for name in ("data", "waves", "rollout", "pace", "dispersion")
    }

    @property
    def network(self) -> type:
        """Class of the networks' configurations."""
        from edgephys.applications.waves.networks.wave_net import WaveNet

        return WaveNet

    def prepare(
        self, net: Any, settings: Any, shares: Shares, data: Path, test_data: Path | None
    ) -> tuple[Task, Standardisation]:
        """Return the task of a new network, and the format of its fields.

        Raises: DataError as the reader of waves, for another grid, for amplitudes beyond the range of the input, and
        where a part would be empty.
        """
        from edgephys.applications.waves import task

        return task.prepare(net, settings, shares, data, test_data)

    def task(self, trained: Trained, data: Path, test_data: Path | None = None) -> Task:
        """Return the task of a trained network.  Raises: DataError as ``prepare``."""
        from edgephys.applications.waves import task

        return task.of_trained(trained, data, test_data)

    def measure(self, trained: Trained, data: Path) -> dict[str, Any]:
        """Return the relative L2 error of the next frame, with its own error.  Raises: DataError as ``prepare``."""
        from edgephys.applications.waves import task

        return task.measure(trained, data)

    def read(self, ready: Standardisation, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        """Return fields and the frames that follow them, as integers of the input's format.

        Shape: inputs (field, row, column, frame and speed), labels (field, row, column, 1).
        Raises: DataError as ``prepare``.
        """
        from edgephys.applications.waves import task

        return task.read(ready, shape[0], data, limit)

    def score_outputs(
        self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0
    ) -> Mapping[str, Measured]:
        """Return the relative L2 error of the next frame.  Raises: DataError for labels that are no next frames."""
        from edgephys.applications.metrics import relative_l2

        frames = self.evaluated(graph, outputs, labels, scale)
        return {self.score.key: relative_l2(frames.outputs, frames.answers)}

    def evaluated(self, graph: Graph, outputs: Integers, labels: Integers, scale: float = 1.0) -> NumberOutputs:
        """Return predicted frames beside the true ones, both without pixels around the field."""
        from edgephys.applications.evaluation import NumberOutputs
        from edgephys.applications.waves.channels import inner

        predicted, frames = graph.output.fixed.values(outputs), graph.input.fixed.values(labels)
        return NumberOutputs(inner(predicted, frames), frames)

    def describe(self, metrics: Record, which: str = "") -> str:
        """Return the error of the next frame in words."""
        share, error = 100 * metrics["relative_l2"], 100 * metrics["relative_l2_error"]
        return f"relative L2 error of the next frame {share:.2f} ± {error:.2f} % on {metrics['fields']} {which}fields"

    def input_width(self, net: Record) -> int:
        """Return the number of inputs of a point: frames and the speed."""
        return int(net["frames"]) + 1
