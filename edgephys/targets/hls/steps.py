"""Graph -> steps: what each layer of the HLS project computes, in which formats, before hls4ml sees it.

Of a field that is streamed a step computes one pixel at a time: all that it is compiled for is that of a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, Integers, narrowest
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ops import (
    Add,
    AlongAxis,
    Bias,
    Concat,
    Dense,
    Input,
    Relu,
    Requantise,
    Reshape,
    Scale,
    Sum,
    Take,
    Window,
    WithConstant,
    constant_of,
)
from edgephys.graph.partition import one_row
from edgephys.graph.ranges import derive
from edgephys.targets.rtl.stream import AXES, levels

DOUBLE = 53
"""Bits to which the decimal number in a weights header, read as a double, is exact."""

KERNELS = {
    Bias: "bias",
    Add: "add",
    Scale: "scale",
    Relu: "relu",
    Sum: "sum",
    Concat: "concat",
    Take: "take",
    Reshape: "copy",
    Requantise: "copy",
}


@dataclass(frozen=True, eq=False)
class Call:
    """State one call of a kernel: the positions of the inputs that it reads, the numbers that it is compiled for."""

    reads: tuple[int, ...]
    sizes: Mapping[str, int]
    tables: Mapping[str, Integers] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """State one layer for hls4ml: its entry in the layer list, and what must come of it.

    ``formats`` maps hls4ml's names of types (result, accum, weight, bias, constant) to formats; ``shape`` is that of
    each of its ``outputs``, of which one has the step's name where none are named.
    """

    node: Node
    name: str
    class_name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    formats: Mapping[str, Fixed]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def plan(graph: Graph, streamed: bool = False) -> tuple[Step, ...]:
    """Return the steps of a graph with one input and one output, in order.

    Raises: ModelError naming the layer that cannot be computed exactly, or that has no stream of pixels.
    """
    axes = AXES if streamed else 0
    graph = _alive(graph) if streamed else _without_windows(graph)
    check_exact(graph)
    steps: list[Step] = []
    names: dict[str, str] = {}
    fused = fused_biases(graph)
    for position, node in enumerate(graph.nodes):
        name = f"n{position}_{clean(node.name)}".lower() if not isinstance(node.op, Input) else "x"
        if node.name in fused:
            continue
        bias = next((bias for bias in graph.readers[node.name] if bias.name in fused), None)
        names[node.name] = name
        if bias is not None:
            names[bias.name] = name
        inputs = tuple(names[operand] for operand in node.inputs)
        wider = widened(node, graph.operands(node))
        if wider is not None:
            steps.append(_copy(graph.operands(node)[0], f"{name}_widened", inputs, wider, axes))
            inputs = (steps[-1].name,)
        steps.append(_step(graph, node, bias, name, inputs, axes))
    last = graph.output
    if graph.readers[last.name] or isinstance(last.op, Input):  # a port must not be read again
        steps.append(_copy(last, f"n{len(graph.nodes)}_port", (names[last.name],), plain(last.fixed), axes))
    return tuple(steps)


def _without_windows(graph: Graph) -> Graph:
    for node in graph.nodes:
        if isinstance(node.op, Window):
            raise ModelError(
                f"layer '{node.layer}': a window over a field has no HLS project that takes all pixels at once; use io "
                f"'stream', or emit it to rtl, fully parallel, where the field is small"
            )
    return graph


def _alive(graph: Graph) -> Graph:
    """Return the nodes on which the output depends: a stream that nobody reads would stop what writes to it."""
    kept = {node.name for level in levels(graph) for node in (*level.windows, *level.graph.nodes)}
    return graph.with_nodes(tuple(node for node in graph.nodes if node.name in kept or isinstance(node.op, Input)))


def check_exact(graph: Graph) -> None:
    """Refuse a graph whose exact results or constants do not fit where they are kept."""
    ranges = derive(graph)
    for node in graph.nodes:
        found = ranges[node.name]
        if not isinstance(node.op, (Input, Requantise)) and not node.fixed.holds(found.lowest, found.highest):
            wanted = narrowest(found.lowest, found.highest, node.fixed.fraction)
            raise ModelError(
                f"layer '{node.layer}': {node.op.word} '{node.name}' reaches {found.lowest}..{found.highest} steps, "
                f"which {node.fixed} does not hold; give it {wanted}"
            )
        if node.op.constant_bits > DOUBLE:
            raise ModelError(
                f"layer '{node.layer}': a constant of {node.op.constant_bits} bits is not exact in a weights header; "
                f"use {DOUBLE} bits or fewer"
            )


def widened(node: Node, operands: tuple[Node, ...]) -> Fixed | None:
    """Return the format in which a step must first be given a number to be rounded, or None as it is.

    ap_fixed looks up the bits below the new step in the old number, and fails where it has not so many.
    Raises: ModelError where that needs over 62 bits.
    """
    if not isinstance(node.op, Requantise):
        return None
    old = operands[0].fixed
    drop = old.fraction - node.fixed.fraction
    if drop < old.bits:
        return None
    if drop + 1 > WIDEST:
        raise ModelError(
            f"layer '{node.layer}': {drop} bits to round away to {node.fixed}; at most {WIDEST - 1} can be"
        )
    return Fixed(old.signed, drop + 1, drop + 1 - old.fraction)


def fused_biases(graph: Graph) -> frozenset[str]:
    """Return the biases that the dense step before them adds itself."""
    found = set()
    for node in graph.nodes:
        if not isinstance(node.op, Bias):
            continue
        dense = graph.by_name[node.inputs[0]]
        alone = graph.readers[dense.name] == (node,) and dense.name not in graph.outputs
        each_row_alike = prod(node.op.constant.integers.shape[:-1]) == 1
        if isinstance(dense.op, Dense) and alone and each_row_alike and dense.layer == node.layer:
            found.add(node.name)
    return frozenset(found)


def plain(fixed: Fixed) -> Fixed:
    """Return the format of an exact result: nothing to round, nothing that overflows."""
    return Fixed(fixed.signed, fixed.bits, fixed.integer)


def flat(shape: tuple[int, ...], axes: int = 0) -> tuple[int, ...]:
    """Return the shape that hls4ml is told: at most (rows, features), which lies in memory as ``shape`` does.

    With ``axes`` a row is all that lies behind these, and is handed on at a time.
    """
    if axes:
        return (prod(shape[:axes]), prod(shape[axes:]))
    rows = prod(shape[:-1])
    return (rows, shape[-1]) if rows > 1 else (shape[-1:] or (1,))


def clean(name: str) -> str:
    """Return a name as part of a C++ identifier."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def of_constant(constant: Constant) -> Fixed:
    """Return the narrowest format of a constant, of 2 bits or more: hls4ml writes no ac_fixed of 1 bit."""
    fixed = narrowest(int(constant.integers.min()), int(constant.integers.max()), constant.fraction)
    return fixed if fixed.bits > 1 else Fixed(fixed.signed, 2, fixed.integer + 1)


def _step(graph: Graph, node: Node, bias: Node | None, name: str, inputs: tuple[str, ...], axes: int) -> Step:
    if isinstance(node.op, Input):
        shape = flat(node.shape, axes)
        attributes = {"input_shape": list(shape)}
        return Step(node, name, "InputLayer", (), shape, {"result": plain(node.fixed)}, {}, attributes)
    if isinstance(node.op, Dense):
        return _dense(node, bias, name, inputs, axes)
    if isinstance(node.op, Window):
        return _window(node, graph.operands(node)[0], name, inputs)
    operands = tuple(one_row(operand, axes) for operand in graph.operands(node))
    modes = node.fixed if isinstance(node.op, Requantise) else plain(node.fixed)
    calls = _calls(one_row(node, axes), operands)
    return _kernel(node, name, inputs, KERNELS[type(node.op)], calls, {"result": modes}, axes)


def _dense(dense: Node, bias: Node | None, name: str, inputs: tuple[str, ...], axes: int) -> Step:
    weight = constant_of(dense)
    last = bias or dense
    offsets = np.zeros(weight.integers.shape[1], np.int64)
    added = Constant(offsets, 0)
    if bias is not None:
        constant = constant_of(bias)
        added = Constant(np.broadcast_to(constant.integers.reshape(-1), offsets.shape), constant.fraction)
    copies = prod(last.shape[axes:-1]) if axes else 1
    if copies > 1:  # rows of a pixel, side by side: zeros cost nothing, for the products are unrolled
        weight = Constant(np.kron(np.eye(copies, dtype=np.int64), weight.integers), weight.fraction)
        added = Constant(np.tile(added.integers, copies), added.fraction)
    exact = plain(last.fixed)
    formats = {"result": exact, "accum": exact, "weight": of_constant(weight), "bias": of_constant(added)}
    shape = flat(last.shape, axes)
    attributes: dict[str, Any] = {"n_in": weight.integers.shape[0], "n_out": weight.integers.shape[1]}
    if len(shape) == 1:
        return Step(last, name, "Dense", inputs, shape, formats, {"weight": weight, "bias": added}, attributes)
    rows = shape[0]
    attributes = {
        "data_format": "channels_last",
        "n_chan": weight.integers.shape[0],
        "n_filt": weight.integers.shape[1],
        "in_width": rows,
        "out_width": rows,
        "filt_width": 1,
        "stride_width": 1,
        "pad_left": 0,
        "pad_right": 0,
        "parallelization_factor": 1 if axes else rows,
    }
    window = Constant(weight.integers[None], weight.fraction)  # (window, in, out)
    return Step(last, name, "Conv1D", inputs, shape, formats, {"weight": window, "bias": added}, attributes)


def _window(node: Node, source: Node, name: str, inputs: tuple[str, ...]) -> Step:
    (height, width), (rows, columns) = node.shape[:AXES], node.op.neighbours or (1, 1)
    sizes = {"height": height, "width": width, "rows": rows, "columns": columns, "channels": source.shape[-1]}
    return _kernel(node, name, inputs, "window", (Call((0,), sizes),), {"result": plain(node.fixed)}, AXES)


def _kernel(
    node: Node,
    name: str,
    inputs: tuple[str, ...],
    kernel: str,
    calls: tuple[Call, ...],
    formats: dict[str, Fixed],
    axes: int,
) -> Step:
    shape = flat(node.shape, axes)
    attributes = {"kernel": kernel, "calls": calls, "shape": list(shape)}
    constants = {}
    if isinstance(node.op, WithConstant) and "period" in calls[0].sizes:
        period, constant = calls[0].sizes["period"], constant_of(one_row(node, axes))
        repeated = np.broadcast_to(constant.integers, node.shape[axes:]).reshape(-1)[:period]
        constants["constant"] = Constant(repeated, constant.fraction)
        formats["constant"] = of_constant(constants["constant"])
    class_name = "EdgephysProcess" if axes else "EdgephysKernel"
    return Step(node, name, class_name, inputs, shape, formats, constants, attributes)


def _copy(node: Node, name: str, inputs: tuple[str, ...], fixed: Fixed, axes: int) -> Step:
    call = Call((0,), {"size": prod(node.shape[axes:])})
    return _kernel(node, name, inputs, "copy", (call,), {"result": fixed}, axes)


def _calls(node: Node, operands: tuple[Node, ...]) -> tuple[Call, ...]:
    """Return the calls of the kernel that make a node: one that reads every input, or one an input of a CONCAT."""
    first, everything = operands[0].shape, tuple(range(len(operands)))
    if isinstance(node.op, Concat):
        blocks = [prod(operand.shape[node.op.axis :]) for operand in operands]
        sizes = {"outer": prod(first[: node.op.axis]), "width": sum(blocks)}
        offsets = [sum(blocks[:position]) for position in everything]
        return tuple(
            Call((position,), {**sizes, "block": blocks[position], "offset": offsets[position]})
            for position in everything
        )
    if isinstance(node.op, AlongAxis):
        around = {"outer": prod(first[: node.op.axis]), "inner": prod(first[node.op.axis + 1 :])}
        if not isinstance(node.op, Take):
            return (Call(everything, {**around, "terms": first[node.op.axis]}),)
        sizes = {**around, "length": first[node.op.axis], "count": node.op.rows.size}
        return (Call(everything, sizes, {"rows": node.op.rows.reshape(-1)}),)
    sizes = {"size": prod(node.shape)}
    if isinstance(node.op, WithConstant):
        sizes["period"] = _period(node.op.constant.integers, node.shape)
    return (Call(everything, sizes),)


def _period(integers: Integers, shape: tuple[int, ...]) -> int:
    """Return after how many elements a broadcast constant repeats itself."""
    own = integers.shape
    while own and own[0] == 1:
        own = own[1:]
    return prod(own) if own == shape[len(shape) - len(own) :] else prod(shape)
