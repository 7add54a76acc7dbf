"""Tabulation: chosen dense layers become layers of learnt tables, distilled from the network that they come from.

Ours: the first tables are the products by the layer's weights, so that training starts at the network's own function.
Source: layers of tables, arXiv 2512.12850; the loss, arXiv 1503.02531.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import BATCH, Task
from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_step, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, require
from edgephys.compress.training_loop import train
from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.ops import Dense
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, predict, qkeras
from edgephys.networks.kernels import inputs_of
from edgephys.networks.table_dense import EPSILON, MOST_KNOTS, WIDEST_INPUT, TableDense
from edgephys.networks.widths import relu, rounding

Floats = NDArray[np.float64]

MEASURED = 4096
"""Training examples on which ranges, means and deviations of a layer's inputs are measured."""
INTEGERS = range(9)
"""Integer bits of the rounding in front of a layer, of which the one with the least square error is used."""


@register("tabulate")
@dataclass(frozen=True)
class Tabulate(Training):
    """Replace dense layers by tables of the same inputs, and train on the labels and on the model's own answers.

    ``layers`` names them; all dense layers without it. A layer that reads more than ``input_bits`` gets a rounding to
    as many in front. The entries have ``table_fraction`` bits behind the point. A weight that is zero becomes a pruned
    edge. With ``teacher`` the answers are those of other models.
    """

    layers: tuple[str, ...] = ()
    input_bits: int = 6
    table_fraction: int = 6
    knots: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        require("input_bits", self.input_bits, 2, WIDEST_INPUT)
        require("table_fraction", self.table_fraction, 1, 12)
        require("knots", self.knots, 2, MOST_KNOTS)

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model with layers of tables."""
        kernel_layers(model)
        fresh = self.tabulated(model, task, self.chosen(model))
        taught = task if self.teacher else task.taught_by(model, self.temperature, self.teacher_share)
        before = task.validation_score(fresh)
        notes = train(fresh, taught, self, seed, progress=progress)
        tables = [layer for layer in fresh.layers if isinstance(layer, TableDense)]
        edges = {layer.name: int(np.asarray(layer.mask).sum()) for layer in tables}
        return StageResult(fresh, {**notes, "before_training": round(before, 5), "edges": edges})

    def chosen(self, model: Any) -> list[Any]:
        """Return the dense layers that are replaced.

        Raises: ModelError for a model without dense layers; UsageError for a name that is none of theirs.
        """
        dense = {layer.name: layer for layer in model.layers if isinstance(layer, qkeras.QDense)}
        if not dense:
            raise ModelError(
                f"model '{model.name}': tabulate takes a network with quantised dense layers, and it has none"
            )
        for name in self.layers:
            if name not in dense:
                raise UsageError(f"layers: '{name}' must be one of the dense layers {', '.join(dense)}")
        return [dense[name] for name in self.layers] or list(dense.values())

    def tabulated(self, model: Any, task: Task, chosen: list[Any]) -> Any:
        """Return the model with tables of the products by weights, before any training."""
        inputs = dict(zip((layer.name for layer in chosen), _inputs(model, task, chosen), strict=True))
        reads = {layer.name: self._reads(model, task, layer, inputs[layer.name]) for layer in chosen}

        def change(layer: Any) -> Any:
            if layer.name not in reads:
                return None
            own, _ = reads[layer.name]
            return TableDense(layer.units, str(own), self.table_fraction, self.knots, name=layer.name)

        def in_front(layer: Any) -> Any:
            own, is_rounded = reads.get(layer.name, (None, False))
            return _rounding(own, f"{layer.name}_read") if own is not None and is_rounded else None

        fresh = rebuilt(model, change, in_front=in_front)
        for layer in chosen:
            own, _ = reads[layer.name]
            read = own.values(_saturating(own).quantise(inputs[layer.name]))
            _start(fresh.get_layer(layer.name), layer, read)
        return fresh

    def _reads(self, model: Any, task: Task, layer: Any, values: Floats) -> tuple[Fixed, bool]:
        """Return the format that a layer's tables read, and whether its input must be rounded to it."""
        source = _format(model, task, layer)
        if source.bits <= self.input_bits:
            return Fixed(source.signed, source.bits, source.integer), False
        formats = [Fixed(source.signed, self.input_bits, integer + source.signed) for integer in INTEGERS]
        errors = [float(np.mean((of.values(of.quantise(values)) - values) ** 2)) for of in map(_saturating, formats)]
        return formats[int(np.argmin(errors))], True


def _saturating(fixed: Fixed) -> Fixed:
    return Fixed(fixed.signed, fixed.bits, fixed.integer, Rounding.RND_CONV, Overflow.SAT)


def _rounding(fixed: Fixed, name: str) -> Any:
    """Return the layer that rounds to a format."""
    return rounding(fixed.bits, fixed.integer - 1, name) if fixed.signed else relu(fixed.bits, name, fixed.integer)


def _format(model: Any, task: Task, layer: Any) -> Fixed:
    """Return the proven format of what a dense layer reads."""
    graph = lower(model, task.input, model.name)
    (product,) = [node for node in graph.nodes if node.layer == layer.name and isinstance(node.op, Dense)]
    return graph.operands(product)[0].fixed


def _inputs(model: Any, task: Task, layers: list[Any]) -> list[Floats]:
    """Return what layers read on training examples.  Shape: (example, ..., input) for each."""
    ends = [inputs_of(layer)[0] for layer in layers]
    values = predict(keras.Model(model.input, ends), task.train[0][:MEASURED], BATCH)
    return [np.asarray(of, np.float64) for of in (values if isinstance(values, list | tuple) else [values])]


def _start(table: TableDense, layer: Any, values: Floats) -> None:
    """Set a layer of tables to the products by a dense layer's weights, and its bias; ``values`` is what it reads.

    The tables' own functions are centred, so that the mean of the products is in the shift of the normalisation, whose
    mean and deviation are those of the sums, as in training.
    """
    weights = kernel_integers(layer) * kernel_step(layer)  # (input, unit)
    bias = np.zeros(layer.units)
    if layer.use_bias:
        quantiser = layer.bias_quantizer_internal
        bias = keras.ops.convert_to_numpy(quantiser(layer.bias) if quantiser else layer.bias).astype(np.float64)
    low, high = table.reads.low * table.reads.step, table.reads.high * table.reads.step
    middle = (low + high) / 2
    mask = weights != 0
    mask[0] |= ~mask.any(0) & (bias != 0)  # a unit needs an edge for its bias
    sums = (values - middle).reshape(-1, len(weights)) @ weights
    mean, variance = sums.mean(0), sums.var(0)
    table.function.assign(weights[:, None, :] * (np.linspace(low, high, table.knots) - middle)[None, :, None])
    table.mask.assign(mask)
    table.mean.assign(mean)
    table.variance.assign(variance)
    table.gain.assign(np.sqrt(variance + EPSILON))
    table.shift.assign(mean + middle * weights.sum(0) + bias)
