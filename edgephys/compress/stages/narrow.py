"""Narrowing: tables that read fewer bits of their input, edge by edge, where the loss of it costs less than its LUTs.

Ours. The loss of a change of entries is estimated to second order with the diagonal of the empirical Fisher matrix, as
in optimal brain damage (LeCun, Denker and Solla, 1990). LUTs of a table: arXiv 2604.22293.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import copies, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, require
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import ModelError, UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import inputs_of
from edgephys.networks.table_dense import EPSILON, WIDEST_INPUT, TableDense

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]

MEASURED = 4096
"""Training examples on which the loss of a change of entries is estimated."""
LUT_INPUTS = 6


@register("narrow")
@dataclass(frozen=True)
class Narrow(Training):
    """Merge neighbouring entries of tables, 2**n at a time, so that an edge does not read the n lowest bits.

    Each edge of ``layers``, all layers of tables without it, gets the n with the least sum of the estimated loss and
    ``lut_cost`` for each LUT; none reads more than ``input_bits``. Entries that are merged stay equal while the rest of
    the network is trained; later stages that train may part them.
    """

    takes_tables: ClassVar[bool] = True
    layers: tuple[str, ...] = ()
    lut_cost: float = 1e-6
    input_bits: int = WIDEST_INPUT

    def __post_init__(self) -> None:
        super().__post_init__()
        require("lut_cost", self.lut_cost, 0, 1)
        require("input_bits", self.input_bits, 1, WIDEST_INPUT)

    def chosen(self, model: Any) -> list[TableDense]:
        """Return the layers whose tables are narrowed.

        Raises: ModelError for a model without tables; UsageError for a name that is none of their layers.
        """
        tables = {layer.name: layer for layer in model.layers if isinstance(layer, TableDense)}
        if not tables:
            raise ModelError(
                f"model '{model.name}': narrow takes a network with TableDense layers; put tabulate before it"
            )
        for name in self.layers:
            if name not in tables:
                raise UsageError(f"layers: '{name}' must be one of the layers of tables {', '.join(tables)}")
        return [tables[name] for name in self.layers] or list(tables.values())

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model with narrower tables."""
        chosen = self.chosen(model)
        names = [layer.name for layer in chosen]
        fisher = curvatures(model, task, chosen)
        levels = {of.name: self.levels(of, fisher[of.name]) for of in chosen}
        merged = {of.name: merged_entries(functions(of), fisher[of.name], levels[of.name]) for of in chosen}
        fresh = _with_entries(model, task, chosen, merged)
        layers = [fresh.get_layer(name) for name in names]
        variables = {of.name: keras.Variable(of.function.value, name=f"{of.name}_entries") for of in layers}
        hooks = TrainingHooks(
            computed={of.function.path: partial(_merged, variables[of.name], levels[of.name]) for of in layers},
            variables=tuple(variables.values()),
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        bits = {of.name: _mean_bits(of, levels[of.name]) for of in layers}
        luts = {
            when: round(sum(float(luts_of(of, each[of.name]).sum()) for of in those))
            for when, those, each in (
                ("before", chosen, {of.name: np.zeros_like(levels[of.name]) for of in chosen}),
                ("after", layers, levels),
            )
        }
        return StageResult(fresh, {**notes, "mean_input_bits": bits, "luts_of_tables": luts})

    def levels(self, layer: TableDense, fisher: Floats) -> Levels:
        """Return how many low bits each edge does not read.  Shape: (input, unit)."""
        values, bits = np.asarray(layer.tables() * 2.0**-layer.fraction, np.float64), layer.reads.bits
        costs = []
        for level in range(bits):
            every = np.full(values.shape[::2], level)
            change = merged_entries(values, fisher, every) - values
            cost = 0.5 * (fisher * change**2).sum(1) + self.lut_cost * luts_of(layer, every)
            costs.append(cost if bits - level <= self.input_bits else np.full(cost.shape, np.inf))
        return np.asarray(np.argmin(costs, 0))


def luts_of(layer: TableDense, levels: Levels) -> Floats:
    """Return about how many LUTs of six inputs each edge's tables are, in all copies of the layer; 0 for a pruned one.

    Each bit of the entries is a function of the bits that are read: 2**(bits - 6) LUTs, with 5 half of one, and less in
    proportion with fewer.  Shape: (input, unit).
    """
    tables = layer.tables()
    span = tables.max(1) - tables.min(1)
    read = layer.reads.bits - levels
    each = np.where(read >= LUT_INPUTS - 1, 2.0 ** (read - LUT_INPUTS), 0.5 * read / (LUT_INPUTS - 1))
    luts: Floats = np.asarray(copies(layer) * np.ceil(np.log2(span + 1)) * each, np.float64)
    return luts


def functions(layer: TableDense) -> Floats:
    """Return the functions at each entry, before the normalisation.  Shape: (input, entry, unit)."""
    values: Floats = keras.ops.convert_to_numpy(layer._functions()).astype(np.float64)
    return values.reshape(-1, layer.entries, layer.units)


def curvatures(model: Any, task: Task, layers: Sequence[TableDense]) -> dict[str, Floats]:
    """Return, by layer, the mean square of the loss's gradient by a sum, over the examples that read an entry.

    That is about the second derivative of the mean loss by the entry.  Shape: (input, entry, unit) for each.
    """
    x, targets = (of[:MEASURED] for of in task.train)
    network = keras.Model(model.input, [model.outputs[0], *(of.output for of in layers), *map(_input_of, layers)])
    with tf.GradientTape() as tape:
        output, *values = network(tf.constant(x))
        loss = tf.reduce_sum(task.losses(targets, output))
    sums, inputs = values[: len(layers)], values[len(layers) :]
    gradients = tape.gradient(loss, sums)
    parts = zip(layers, inputs, gradients, strict=True)
    return {layer.name: _by_entry(layer, *map(np.asarray, of)) / len(x) for layer, *of in parts}


def _input_of(layer: Any) -> Any:
    return inputs_of(layer)[0]


def _by_entry(layer: TableDense, values: Any, gradients: Any) -> Floats:
    """Return the sum of squared gradients over the examples and rows that read each entry."""
    places = np.rint(values.reshape(-1, values.shape[-1]) * 2.0**layer.reads.fraction).astype(int) - layer.reads.low
    squares = gradients.reshape(-1, gradients.shape[-1]).astype(np.float64) ** 2
    sums = np.zeros((places.shape[1], layer.entries, squares.shape[1]))
    for channel, own in enumerate(places.T):
        np.add.at(sums[channel], own, squares)
    return sums


def merged_entries(entries: Floats, weights: Floats, levels: Levels) -> Floats:
    """Return entries of which 2**level neighbours are their weighted mean; of a group without weight the plain one.

    Shape: entries and weights (input, entry, unit), levels (input, unit).
    """
    result = entries.copy()
    for level in np.unique(levels[levels > 0]):
        groups = (len(entries), -1, 1 << int(level), entries.shape[2])
        own = weights.reshape(groups)
        own = np.where(own.sum(2, keepdims=True) > 0, own, 1.0)
        means = (entries.reshape(groups) * own).sum(2) / own.sum(2)
        result = np.where(levels[:, None, :] == level, np.repeat(means, 1 << int(level), 1), result)
    return result


def _merged(variable: Any, levels: Levels) -> Any:
    """Return the entries of a variable, those of a group as their mean."""
    value = result = variable.value
    for level in np.unique(levels[levels > 0]):
        size = 1 << int(level)
        means = tf.reduce_mean(tf.reshape(value, (value.shape[0], -1, size, value.shape[2])), 2)
        result = tf.where(tf.constant(levels == level)[:, None, :], tf.repeat(means, size, 1), result)
    return result


def _with_entries(model: Any, task: Task, chosen: Sequence[TableDense], entries: dict[str, Floats]) -> Any:
    """Return the model with layers whose knots are their entries, and whose sums have the same normalisation."""

    def change(layer: Any) -> Any:
        if layer.name not in entries:
            return None
        return TableDense.from_config({**layer.get_config(), "knots": layer.entries, "normalise": True})

    fresh = rebuilt(model, change)
    outputs = keras.Model(model.input, [layer.output for layer in chosen])(tf.constant(task.train[0][:MEASURED]))
    for layer, sums in zip(chosen, outputs if isinstance(outputs, list) else [outputs], strict=True):
        own, mask = fresh.get_layer(layer.name), np.asarray(layer.mask)
        if layer.normalise:
            mean, variance, gain, shift = map(np.asarray, (layer.mean, layer.variance, layer.gain, layer.shift))
        else:  # its sums as they are
            flat = np.asarray(sums).reshape(-1, layer.units)
            mean, variance = flat.mean(0), flat.var(0)
            gain, shift = np.sqrt(variance + EPSILON), mean
        own.function.assign(entries[layer.name])
        own.mask.assign(mask)
        own.mean.assign(mean - (entries[layer.name].mean(1) * mask).sum(0))  # the layer's functions are centred
        for variable, value in ((own.variance, variance), (own.gain, gain), (own.shift, shift)):
            variable.assign(value)
    return fresh


def _mean_bits(layer: TableDense, levels: Levels) -> float:
    """Return the mean number of bits that the edges of a layer read, without pruned ones."""
    left = np.asarray(layer.mask) > 0
    return round(float((layer.reads.bits - levels)[left].mean()), 2) if left.any() else 0.0
