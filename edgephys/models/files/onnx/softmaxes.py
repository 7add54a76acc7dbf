"""Softmaxes of ONNX models, computed in integers: at the end where one is kept, and inside of a model always.

What a Graph is compared with is the file itself, in which the nodes of a softmax inside compute with the same tables;
the difference to the float softmax is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files import softmax
from edgephys.models.files.onnx.chains import FloatStep
from edgephys.models.files.onnx.elementwise import BIAS_BITS, settled
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.reading import Edge, Reading
from edgephys.targets.qonnx.softmaxes import SoftmaxNodes, with_softmaxes

AXIS_LAST = 13
"""The first set of operators in which a softmax is over its last axis where it states none; before it was axis 1."""


def kept(reading: Reading, step: FloatStep, value: Edge, output: str) -> Edge:
    """Return the edge of a softmax over the last axis, and keep its record by the name of the output.

    Raises: ModelError naming the operator where it is over another axis, or reads no numbers of one scale.
    """
    operation = next(own for own in reading.model.operations if own.name == step.node)
    edge = reading.plain(operation, settled(reading, operation, value, BIAS_BITS))
    axis = _axis(reading, operation, edge)
    if axis != len(edge.axes):
        raise operation.refused(f"it must be over the last axis to be kept, not over axis {axis}; export it so")
    edge, record = _computed(reading, operation, edge)
    reading.softmaxes[output] = {**record, "tensor": output}
    return edge


def inner(reading: Reading, operation: Operation, value: Edge) -> Edge:
    """Return the edge of a softmax inside a model; ``with_tables`` puts the same tables into the file.

    Raises: ModelError naming the operator where it is over the batch, or reads no numbers of one scale.
    """
    edge = settled(reading, operation, value, BIAS_BITS)
    axis = _axis(reading, operation, edge)
    if not 1 <= axis <= len(edge.axes):
        raise operation.refused(f"it must be over an axis behind the batch, not over axis {axis}; export it so")
    if reading.model.opset < AXIS_LAST and axis != len(edge.axes):
        raise operation.refused(f"before opset 13 it must be over the last axis, not all from {axis} on; export it so")
    order = [*(at for at in range(len(edge.axes)) if at != axis - 1), axis - 1]
    last = reading.plain(operation, replace(edge, axes=tuple(edge.axes[at] for at in order)))
    result, record = _computed(reading, operation, last)
    place = {"tensor": operation.outputs[0], "source": operation.inputs[0], "axis": axis}
    reading.inner_softmaxes.append({**record, **place})
    return replace(result, axes=tuple(order.index(at) for at in range(len(order))))


def _axis(reading: Reading, operation: Operation, edge: Edge) -> int:
    """Return the axis of a softmax, counted from the batch, which is 0."""
    axis = int(operation.attributes.get("axis", -1 if reading.model.opset >= AXIS_LAST else 1))
    return axis + len(edge.axes) + 1 if axis < 0 else axis


def _computed(reading: Reading, operation: Operation, edge: Edge) -> tuple[Edge, dict[str, Any]]:
    """Return the softmax over the last axis of an edge, and its record."""
    if edge.scale is not None and (edge.scale.ndim or edge.scale <= 0):
        raise operation.refused("it reads values of several scales; quantise them with one, or do not keep it")
    layer, scale = reading.layer(operation), 1.0 if edge.scale is None else float(edge.scale)
    record = {
        "layer": layer,
        "count": reading.builder.shape(edge.name)[-1],
        "fraction": reading.builder.fraction(edge.name),
        "scale": scale,
        "form": reading.softmax.to_record(),
    }
    name, wide = softmax.softmax(reading.builder, layer, edge.name, tables_of(record))
    reading.staircases.emulated.update(wide)
    return replace(edge, name=name, scale=None), record


def tables_of(record: Mapping[str, Any]) -> softmax.SoftmaxTables:
    """Return the tables of a softmax that was kept."""
    form = softmax.form_of(record["form"])
    return softmax.tables(form, record["layer"], record["count"], record["fraction"], record["scale"])


def integers_of(record: Mapping[str, Any], values: NDArray[Any]) -> Integers:
    """Return the integers of the result for what the softmax reads in the file."""
    steps = np.rint(np.ldexp(values.astype(np.float64) / record["scale"], record["fraction"]))
    return softmax.integers_of(tables_of(record), np.ldexp(steps, -record["fraction"]))


def differences(record: Mapping[str, Any], before: NDArray[Any], after: NDArray[Any]) -> float:
    """Return the largest difference of a softmax inside a model to the float softmax of what it reads."""
    axis = record["axis"]
    powers = np.exp(before.astype(np.float64) - before.max(axis, keepdims=True))
    return float(np.abs(powers / powers.sum(axis, keepdims=True) - after).max())


def with_tables(proto: Any, records: Sequence[Mapping[str, Any]]) -> Any:
    """Return a file whose softmaxes of these records are computed with their tables, in float64."""
    nodes = {}
    for record in records:
        by = tables_of(record)
        formats = (by.distance, by.powers, by.excess, by.reciprocals, by.fraction, by.result)
        nodes[record["tensor"]] = SoftmaxNodes(
            record["layer"], record["axis"], record["scale"], 2.0 ** -record["fraction"], *formats
        )
    return with_softmaxes(proto, nodes)
