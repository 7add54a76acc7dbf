"""A softmax at the end of an ONNX model, computed in integers where it is not left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files import softmax
from edgephys.models.files.onnx.chains import FloatStep
from edgephys.models.files.onnx.elementwise import BIAS_BITS, settled
from edgephys.models.files.onnx.reading import Edge, Reading

AXIS_LAST = 13
"""The first set of operators in which a softmax is over its last axis where it states none; before it was axis 1."""


def kept(reading: Reading, step: FloatStep, value: Edge, output: str) -> Edge:
    """Return the edge of a softmax over the last axis, and keep its record by the name of the output.

    Raises: ModelError naming the operator where it is over another axis, or reads no numbers of one scale.
    """
    operation = next(own for own in reading.model.operations if own.name == step.node)
    edge = reading.plain(operation, settled(reading, operation, value, BIAS_BITS))
    axis = operation.attributes.get("axis", -1 if reading.model.opset >= AXIS_LAST else 1)
    if axis not in (-1, len(edge.axes)):
        raise operation.refused(f"it must be over the last axis to be kept, not over axis {axis}; export it so")
    if edge.scale is not None and (edge.scale.ndim or edge.scale <= 0):
        raise operation.refused("it reads values of several scales; quantise them with one, or do not keep it")
    layer, scale = reading.layer(operation), 1.0 if edge.scale is None else float(edge.scale)
    shape = reading.builder.shape(edge.name)
    record = {
        "layer": layer,
        "tensor": output,
        "count": shape[-1],
        "fraction": reading.builder.fraction(edge.name),
        "scale": scale,
        "form": reading.softmax.to_record(),
    }
    name, wide = softmax.softmax(reading.builder, layer, edge.name, tables_of(record))
    reading.staircases.emulated.update(wide)
    reading.softmaxes[output] = record
    return replace(edge, name=name, scale=None)


def tables_of(record: Mapping[str, Any]) -> softmax.SoftmaxTables:
    """Return the tables of a softmax that was kept."""
    form = softmax.form_of(record["form"])
    return softmax.tables(form, record["layer"], record["count"], record["fraction"], record["scale"])


def integers_of(record: Mapping[str, Any], values: NDArray[Any]) -> Integers:
    """Return the integers of the result for what the softmax reads in the file."""
    steps = np.rint(np.ldexp(values.astype(np.float64) / record["scale"], record["fraction"]))
    return softmax.integers_of(tables_of(record), np.ldexp(steps, -record["fraction"]))
