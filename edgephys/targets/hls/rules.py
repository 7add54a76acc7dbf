"""How each operation of the Graph becomes a step of an HLS project: a layer of hls4ml, or calls of a kernel of ours.

An operation from outside of the package is added by ``RULES.register(Operation, KernelRule(...))``, with the C++ text
of its kernel; ``kernels/nnet_edgephys.h`` shows how a kernel is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph.graph import Constant, Node
from edgephys.graph.ops import (
    Add,
    Bias,
    Concat,
    Dense,
    Input,
    Lookup,
    Mul,
    Relu,
    Requantise,
    Reshape,
    Scale,
    Sum,
    Take,
    Window,
    WithConstant,
    constant_of,
    windows,
)
from edgephys.graph.partition import one_row
from edgephys.targets.hls.kernel_texts import GATHER_TEXT, LOOKUP_TEXT, MUL_TEXT
from edgephys.targets.hls.step import Call, HlsStep, Place, flat, of_constant, plain
from edgephys.targets.rtl.stream import AXES
from edgephys.targets.rules import RuleTable

INT = 30
"""Bits of an integer that C++'s int holds, whatever is added to it."""
Calls = Callable[[Node, Sequence[Node]], tuple[Call, ...]]
"""Return the calls of a kernel that compute a node from its operands, all as they are at one pixel of a stream."""


@dataclass(frozen=True)
class KernelRule:
    """Emit an operation as calls of the C++ function ``nnet::edge_<kernel>``.

    ``text`` is the source of the function (with its template line) where it is not in ``kernels/nnet_edgephys.h``.
    """

    kernel: str
    calls: Calls
    text: str = ""

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a node."""
        node, operands = place.node, place.graph.operands(place.node)
        one, ones = one_row(node, place.axes), tuple(one_row(operand, place.axes) for operand in operands)
        fixed = node.fixed if node.op.states_format else plain(node.fixed)
        return kernel_step(node, place.name, place.inputs, self, self.calls(one, ones), fixed, place.axes)


Rule = Callable[[Place], HlsStep]


# Calls of kernels --------------------------------------------------------------------------------


def elementwise(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    """Return one call over all elements; a constant is repeated after ``period`` elements."""
    sizes = {"size": prod(node.shape)}
    if isinstance(node.op, WithConstant):
        sizes["period"] = _period(node.op.constant.integers, node.shape)
    return (Call(tuple(range(len(operands))), sizes),)


def _period(integers: Integers, shape: tuple[int, ...]) -> int:
    """Return after how many elements a broadcast constant repeats itself."""
    own = integers.shape
    while own and own[0] == 1:
        own = own[1:]
    return prod(own) if own == shape[len(shape) - len(own) :] else prod(shape)


def _around(shape: tuple[int, ...], axis: int) -> dict[str, int]:
    return {"outer": prod(shape[:axis]), "inner": prod(shape[axis + 1 :])}


def _sum(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    op: Any = node.op
    shape = operands[0].shape
    return (Call((0,), {**_around(shape, op.axis), "terms": shape[op.axis]}),)


def _take(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    op: Any = node.op
    shape = operands[0].shape
    sizes = {**_around(shape, op.axis), "length": shape[op.axis], "count": op.rows.size}
    return (Call((0,), sizes, {"rows": op.rows.reshape(-1)}),)


def _concat(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    """Return one call for each operand, which writes its own columns."""
    op: Any = node.op
    blocks = [prod(operand.shape[op.axis :]) for operand in operands]
    sizes = {"outer": prod(operands[0].shape[: op.axis]), "width": sum(blocks)}
    return tuple(
        Call((position,), {**sizes, "block": block, "offset": sum(blocks[:position])})
        for position, block in enumerate(blocks)
    )


def kernel_step(
    node: Node,
    name: str,
    inputs: tuple[str, ...],
    rule: KernelRule,
    calls: tuple[Call, ...],
    result: Fixed,
    axes: int,
    constant: Constant | None = None,
) -> HlsStep:
    """Return the step that calls a kernel, with the constant that the calls read, or that of the node."""
    shape, formats, constants = flat(node.shape, axes), {"result": result}, {}
    attributes: dict[str, Any] = {"kernel": rule.kernel, "calls": calls, "shape": list(shape)}
    if rule.text:
        attributes["kernel_text"] = rule.text
    if "period" in calls[0].sizes:
        period, own = calls[0].sizes["period"], constant_of(one_row(node, axes))
        repeated = np.broadcast_to(own.integers, node.shape[axes:]).reshape(-1)[:period]
        constant = Constant(repeated, own.fraction)
    if constant is not None:
        constants["constant"], formats["constant"] = constant, of_constant(constant)
    class_name = "EdgephysProcess" if axes else "EdgephysKernel"
    return HlsStep(node, name, class_name, inputs, shape, formats, constants, attributes)


COPY = KernelRule("copy", elementwise)


def copy_step(node: Node, name: str, inputs: tuple[str, ...], fixed: Fixed, axes: int) -> HlsStep:
    """Return the step that copies an edge into a format."""
    call = Call((0,), {"size": prod(node.shape[axes:])})
    return kernel_step(node, name, inputs, COPY, (call,), fixed, axes)


@dataclass(frozen=True)
class LookupRule(KernelRule):
    """Emit a table as a constant array that a kernel reads."""

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a node; raise ModelError where its integers need more bits than C++'s int has."""
        node, axes = place.node, place.axes
        op: Any = one_row(node, axes).op
        if max(abs(op.first), abs(op.last)) >= 1 << INT:
            raise ModelError(
                f"layer '{node.layer}': its table is for integers {op.first}..{op.last}, of over {INT} bits; round "
                f"its operand to fewer bits"
            )
        sizes = {"size": prod(node.shape[axes:]), "channels": len(op.tables), "entries": op.entries, "first": op.first}
        calls = (Call((0,), sizes, powers={"steps": op.operand_fraction}),)
        constant = Constant(op.tables.reshape(-1), op.constant.fraction)
        return kernel_step(node, place.name, place.inputs, self, calls, plain(node.fixed), axes, constant)


# Layers of hls4ml, and windows ---------------------------------------------------------------------


def _input(place: Place) -> HlsStep:
    node, shape = place.node, flat(place.node.shape, place.axes)
    attributes = {"input_shape": list(shape)}
    return HlsStep(node, place.name, "InputLayer", (), shape, {"result": plain(node.fixed)}, {}, attributes)


def _dense(place: Place) -> HlsStep:
    """Return hls4ml's Dense, or a Conv1D of width 1 over several rows; both add a bias."""
    weight, axes, last = constant_of(place.node), place.axes, place.bias or place.node
    offsets = np.zeros(weight.integers.shape[1], np.int64)
    added = Constant(offsets, 0)
    if place.bias is not None:
        constant = constant_of(place.bias)
        added = Constant(np.broadcast_to(constant.integers.reshape(-1), offsets.shape), constant.fraction)
    copies = prod(last.shape[axes:-1]) if axes else 1
    if copies > 1:  # rows of a pixel, side by side: zeros cost nothing, because the products are unrolled
        weight = Constant(np.kron(np.eye(copies, dtype=np.int64), weight.integers), weight.fraction)
        added = Constant(np.tile(added.integers, copies), added.fraction)
    exact = plain(last.fixed)
    formats = {"result": exact, "accum": exact, "weight": of_constant(weight), "bias": of_constant(added)}
    shape = flat(last.shape, axes)
    constants = {"weight": weight, "bias": added}
    if len(shape) == 1:
        sizes = dict(zip(("n_in", "n_out"), weight.integers.shape, strict=True))
        return HlsStep(last, place.name, "Dense", place.inputs, shape, formats, constants, sizes)
    constants["weight"] = Constant(weight.integers[None], weight.fraction)  # (window, in, out)
    attributes = _convolution(shape[0], weight.integers.shape, 1 if axes else shape[0])
    return HlsStep(last, place.name, "Conv1D", place.inputs, shape, formats, constants, attributes)


def _convolution(rows: int, weight: tuple[int, ...], at_once: int) -> dict[str, Any]:
    """Return hls4ml's attributes of a convolution of width 1, of which ``at_once`` rows are computed in parallel."""
    return {
        "data_format": "channels_last",
        "n_chan": weight[0],
        "n_filt": weight[1],
        "in_width": rows,
        "out_width": rows,
        "filt_width": 1,
        "stride_width": 1,
        "pad_left": 0,
        "pad_right": 0,
        "parallelization_factor": at_once,
    }


def _gathered(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    """Return the call that gathers all windows of a field at once."""
    (height, width), channels = node.shape[:AXES], operands[0].shape[-1]
    pixels = np.arange(height * width).reshape(height, width, 1)
    rows = windows(pixels, node.op.neighbours or (1, 1), height * width).reshape(-1)
    return (Call((0,), {"length": height * width, "inner": channels, "count": rows.size}, {"rows": rows}),)


GATHER = KernelRule("gather", _gathered, GATHER_TEXT)
"""The windows of a field that is no stream."""


def _window(place: Place) -> HlsStep:
    node, op = place.node, place.node.op
    if not place.axes or op.neighbours is None:
        return GATHER(place)
    (height, width), (rows, columns) = node.shape[:AXES], op.neighbours
    channels = place.graph.operands(node)[0].shape[-1]
    sizes = {"height": height, "width": width, "rows": rows, "columns": columns, "channels": channels}
    rule = KernelRule("window", elementwise)
    return kernel_step(node, place.name, place.inputs, rule, (Call((0,), sizes),), plain(node.fixed), AXES)


RULES: RuleTable[Rule] = RuleTable(
    "hls",
    {
        Input: _input,
        Dense: _dense,
        Bias: KernelRule("bias", elementwise),
        Add: KernelRule("add", elementwise),
        Scale: KernelRule("scale", elementwise),
        Mul: KernelRule("mul", elementwise, MUL_TEXT),
        Relu: KernelRule("relu", elementwise),
        Sum: KernelRule("sum", _sum),
        Concat: KernelRule("concat", _concat),
        Take: KernelRule("take", _take),
        Reshape: COPY,
        Window: _window,
        Requantise: COPY,
        Lookup: LookupRule("lookup", elementwise, LOOKUP_TEXT),
    },
)
"""The rule of each operation."""
