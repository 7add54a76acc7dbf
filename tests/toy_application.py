"""An application from outside of the package: a small network tells on which side of a circle a point lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import typer

from edgephys.applications.application import Application, Score, TaskSettings
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.applications.metrics import Measured
from edgephys.applications.registry import register
from edgephys.applications.task import Task
from edgephys.core.errors import UsageError
from edgephys.models import standardise
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import keras
from edgephys.networks.network import Net
from edgephys.networks.widths import dense

HITS = Score("hit_rate", "hit rate", "points", True)


@dataclass(frozen=True)
class CircleNet(Net):
    """State a network of one hidden layer."""

    hidden: int = 8
    coordinates: tuple[str, ...] = ("x", "y")

    @property
    def size(self) -> int:
        return len(self.coordinates)

    @property
    def label(self) -> str:
        return f"h{self.hidden}_{self.precision}"

    def build(self) -> Any:
        point = keras.Input((self.size,), name="point")
        x = self.relu("hidden_relu")(dense(self.hidden, self.bits, "hidden")(point))
        return keras.Model(point, dense(2, self.bits, "side")(x))


@dataclass(frozen=True)
class Circle(TaskSettings):
    """State the radius of the circle."""

    radius: float = 0.8

    def inside(self, points: Any) -> Any:
        return (np.hypot(*points.T) < self.radius).astype(np.int64)


@dataclass(frozen=True, eq=False)
class CircleTask(Task):
    """Hold points as a network reads them, and their sides."""

    network: ClassVar[type] = CircleNet
    metric: ClassVar[Score] = HITS
    most_vectors: ClassVar[int] = 100

    def losses(self, target: Any, output: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(target, output, from_logits=True)

    def loss(self, target: Any, output: Any, teacher_output: Any) -> Any:
        hard = keras.ops.mean(self.losses(target, output))
        if self.distillation is None:
            return hard
        soft = keras.ops.mean(keras.ops.square(output - teacher_output))
        return self.distillation.share * soft + (1 - self.distillation.share) * hard

    def validation_score(self, model: Any) -> float:
        return float(self.validation_metrics(model)["hit_rate"])

    def validation_metrics(self, model: Any) -> dict[str, Any]:
        return metrics(model, *self.validation)

    def test_metrics(self, model: Any) -> dict[str, Any]:
        return metrics(model, self.input.values(self.test.inputs), self.test.labels)

    def teacher_outputs(self, teacher: Any) -> Any:
        return teacher.model.predict(self.train[0], verbose=0)

    def network_settings(self, model: Any) -> dict[str, Any]:
        return {"coordinates": ("x", "y")}

    @property
    def classes(self) -> tuple[str, ...]:
        return "outside", "inside"


def metrics(model: Any, x: Any, sides: Any) -> dict[str, Any]:
    hits = model.predict(np.asarray(x, np.float32), verbose=0).argmax(-1) == sides
    return {"hit_rate": float(hits.mean()), "hit_rate_error": float(hits.std() / len(hits) ** 0.5), "points": len(hits)}


class Points(Application):
    """State how points are told apart."""

    name: ClassVar[str] = "circle"
    score: ClassVar[Score] = HITS
    net_fields: ClassVar[frozenset[str]] = frozenset(("hidden", "coordinates"))
    size_field: ClassVar[str] = "hidden"
    settings: ClassVar[type[TaskSettings]] = Circle
    commands: ClassVar[dict[str, str]] = {"data": "toy_application:data", "census": "toy_application:census"}
    network: ClassVar[type] = CircleNet

    def prepare(self, net: Any, settings: Any, shares: Any, data: Path, test_data: Path | None) -> Any:
        points = read_points(data)
        ready = standardise.fit(points, net.coordinates, net.input)
        return task(points, ready, shares.validation, shares.test, settings), ready

    def task(self, trained: Any, data: Path, test_data: Path | None = None) -> Any:
        recipe, ready = trained.card.recipe, trained.standardisation
        return task(read_points(data), ready, recipe["validation"], recipe["test"], Circle(recipe["radius"]))

    def measure(self, trained: Any, data: Path) -> dict[str, Any]:
        ready, points = trained.standardisation, read_points(data)
        circle = Circle(trained.card.recipe["radius"])
        return metrics(trained.model, ready.output.values(ready.apply(points)), circle.inside(points))

    def read(self, ready: Any, shape: tuple[int, ...], data: Path, limit: int | None = None) -> HeldOut:
        points = read_points(data)[:limit]
        return HeldOut(ready.apply(points), Circle().inside(points))

    def score_outputs(self, graph: Any, outputs: Any, labels: Any, scale: float = 1.0) -> dict[str, Measured]:
        hits = outputs.argmax(-1) == labels
        return {"hit_rate": Measured(float(hits.mean()), float(hits.std() / len(hits) ** 0.5))}

    def describe(self, metrics: Any, which: str = "") -> str:
        return f"hit rate {100 * metrics['hit_rate']:.1f} % on {metrics['points']} {which}points"

    def input_width(self, net: Any) -> int:
        return len(net["coordinates"])


def read_points(data: Path) -> Any:
    with np.load(data) as file:
        return file["points"]


def task(points: Any, ready: Any, validation: float, test: float, circle: Circle) -> CircleTask:
    integers, sides = ready.apply(points), circle.inside(points)
    x = ready.output.values(integers).astype(np.float32)
    first, last = round(validation * len(points)), round((1 - test) * len(points))
    held_out = HeldOut(integers[last:], sides[last:])
    return CircleTask((x[first:last], sides[first:last]), (x[:first], sides[:first]), held_out, ready.output)


def data(out: Annotated[Path, typer.Option()], count: Annotated[int, typer.Option(min=1)] = 100) -> None:
    """Draw points in a square."""
    np.savez(out, points=np.random.default_rng(1).uniform(-1, 1, (count, 2)).astype(np.float32))


def census(data: Annotated[Path, typer.Argument()]) -> None:
    """Count the points of a file."""
    raise UsageError(f"{len(read_points(data))} points")


@dataclass(frozen=True)
class SumTagger(Tagger):
    """A network of jets from outside of the package: all numbers of a jet in one dense layer."""

    def widths(self) -> dict[str, tuple[int, ...]]:
        return {}

    def build(self) -> Any:
        jet = keras.Input((self.constituents, len(self.features)), name="constituents")
        return keras.Model(jet, self.dense(self.classes, "logits")(keras.layers.Flatten(name="flat")(jet)))


register(Points())
