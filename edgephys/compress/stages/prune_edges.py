"""Pruning of a table network's edges: those whose tables hardly vary are taken out, epoch by epoch.

Source: pruning of edges by the size of their function, arXiv 2512.12850; the cubic schedule is Zhu and Gupta's
(arXiv 1710.01878, equation 1). Ours: one threshold for all layers, on deviations over the layer's root mean square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, require
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import ModelError
from edgephys.networks.table_dense import TableDense


@register("prune_edges")
@dataclass(frozen=True)
class PruneEdges(Training):
    """Keep the share ``edges`` of all edges between layers of tables, and train the rest.

    The share falls over the share ``ramp`` of the epochs, and only epochs at the last share can be the best. A pruned
    edge's table is 0 and stays so.
    """

    takes_tables: ClassVar[bool] = True
    edges: float = 0.5
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require("edges", self.edges, 0, 1, above=True)
        require("ramp", self.ramp, 0, 1, above=True)

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model with fewer edges."""
        if not any(isinstance(layer, TableDense) for layer in model.layers):
            raise ModelError(f"model '{model.name}': prune_edges takes a network with TableDense layers; use prune")
        fresh = rebuilt(model)
        layers = [layer for layer in fresh.layers if isinstance(layer, TableDense)]
        first = _share(layers)
        hooks = TrainingHooks(
            before_epoch=lambda epoch, _: thin(layers, self.at(epoch + 1, first)), best_from=self.ramped - 1
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        return StageResult(fresh, {**notes, "edges": {layer.name: int(_mask(layer).sum()) for layer in layers}})

    @property
    def ramped(self) -> int:
        """Number of epochs over which the share falls."""
        return max(1, round(self.ramp * self.epochs))

    def at(self, epochs: int, first: float) -> float:
        """Return the share of edges after some epochs; ``first`` is that of the start model."""
        rest = 1 - min(1.0, epochs / self.ramped)
        return self.edges + (max(first, self.edges) - self.edges) * rest**3


def thin(layers: Sequence[TableDense], share: float) -> None:
    """Set the masks of layers so that a share of all their edges is left, those whose tables vary most."""
    sizes = [layer.deviations() * _mask(layer) for layer in layers]
    sizes = [size / np.sqrt(np.mean(size[size > 0] ** 2)) if size.any() else size for size in sizes]
    every = np.sort(np.concatenate([size.ravel() for size in sizes]))[::-1]
    least = every[max(1, round(share * every.size)) - 1]
    for layer, size in zip(layers, sizes, strict=True):
        layer.mask.assign(((size >= least) & (size > 0)).astype(np.float32))


def _mask(layer: TableDense) -> NDArray[Any]:
    return np.asarray(layer.mask)


def _share(layers: Sequence[TableDense]) -> float:
    masks = [_mask(layer) for layer in layers]
    return float(sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks))
