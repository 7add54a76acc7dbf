"""A model's inputs and outputs in the units, shapes and order of axes of the file that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive


def input_shape(graph: Graph) -> tuple[int, ...]:
    """Return the shape of an example as the file has it; several inputs are flat and joined in their order."""
    facts = graph.metadata.get("onnx")
    return tuple(facts["inputs"][0]["shape"]) if facts and len(facts["inputs"]) == 1 else graph.input.shape


def inputs_of(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the file's inputs by name, each with its shape."""
    facts = graph.metadata.get("onnx")
    entries = facts["inputs"] if facts else graph.metadata.get("inputs")
    if entries:
        return {entry["tensor"]: tuple(entry["shape"]) for entry in entries}
    return {graph.input.layer: graph.input.shape}


def joined(graph: Graph, x: Any) -> Any:
    """Return inputs as one array: a mapping by name, or a list with an array of rows for each of several inputs.

    Anything else is returned as it is.
    Shape: (example, *``input_shape``).
    Raises: UsageError for other names, another number of arrays, or shapes that do not fit.
    """
    wanted = inputs_of(graph)
    if isinstance(x, Mapping):
        if set(x) != set(wanted):
            raise UsageError(f"x: expected arrays {', '.join(wanted)}, found {', '.join(map(str, x)) or 'none'}")
        parts = [x[name] for name in wanted]
    elif isinstance(x, list | tuple) and len(wanted) > 1 and all(np.ndim(part) > 1 for part in x):
        parts = list(x)
    else:
        return x
    arrays = [np.asarray(part) for part in parts]
    shapes = list(wanted.values())
    counts = {array.shape[:1] for array in arrays}
    if len(counts) != 1 or [array.shape[1:] for array in arrays] != shapes:
        stated = " and ".join(f"{name} (example, {', '.join(map(str, shape))})" for name, shape in wanted.items())
        raise UsageError(
            f"x: expected as many examples of {stated}, found {', '.join(str(array.shape) for array in arrays)}"
        )
    return arrays[0] if len(arrays) == 1 else np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)


def steps_of(graph: Graph, values: NDArray[np.float64]) -> Integers:
    """Return the integers of inputs: rounded to the input's format, half to even, and limited to its range.

    Shape: values (example, *``input_shape``), finite; result (example, *input shape of the Graph).
    """
    from edgephys.models.onnx_framework import with_graph_axes

    fixed, facts = graph.input.fixed, graph.metadata.get("onnx")
    scaled = np.ldexp(values / ((facts and facts["input_scale"]) or 1.0), fixed.fraction)
    steps: Integers = np.clip(np.rint(scaled), fixed.low, fixed.high).astype(np.int64)
    return with_graph_axes(steps, facts["input_axes"]) if facts and len(facts["inputs"]) == 1 else steps


def values_of(graph: Graph, outputs: Integers) -> NDArray[np.float64]:
    """Return the values of the Graph's outputs: several outputs are flat and joined in their order.

    Shape: outputs (example, *output shape of the Graph); result (example, *shape of the file's output).
    """
    values, facts = graph.output.fixed.values(outputs), graph.metadata.get("onnx")
    if not facts:
        return values
    ends = facts["outputs"]
    if len(ends) == 1:
        return _as_filed(values, ends[0])
    sizes = [prod(end["shape"]) for end in ends]
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    filed = [_as_filed(part.reshape(-1, *end["shape"]), end) for part, end in zip(parts, ends, strict=True)]
    return np.concatenate([part.reshape(len(values), -1) for part in filed], axis=1)


def _as_filed(values: NDArray[np.float64], end: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return an output times its scale, with the axes in the order of the file."""
    return np.transpose(values * (end["scale"] or 1.0), (0, *(axis + 1 for axis in end["axes"])))


def as_logits(graph: Graph, outputs: Integers) -> Integers:
    """Return outputs from which classes follow: a single one is class 1 where it is above 0.

    A single output that cannot leave 0..1, as that of a quantised sigmoid, is class 1 above 1/2.
    Shape: (example, output), kept.
    """
    return outputs - int(0.5 / _step(graph)) if is_probability(graph) else outputs


def is_probability(graph: Graph) -> bool:
    """Tell whether the Graph has a single output, which cannot leave 0..1."""
    if graph.output.shape != (1,):
        return False
    range_ = derive(graph)[graph.output.name]
    return range_.lowest >= 0 and range_.highest * _step(graph) <= 1


def _step(graph: Graph) -> float:
    """Return the step of the output: where an ONNX file has a scale, times that."""
    facts: Mapping[str, Any] = graph.metadata.get("onnx") or {}
    return float(graph.output.fixed.step * ((facts["outputs"][0]["scale"] if facts else None) or 1.0))
