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
from edgephys.graph import ops
from edgephys.graph.graph import Constant, Node
from edgephys.targets.hls.kernel_texts import GATHER_TEXT, LOOKUP_TEXT, MAX_TEXT, MUL_TEXT
from edgephys.targets.hls.step import Call, HlsStep, Place, of_constant, plain
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
        fixed = place.node.fixed if place.node.op.states_format else plain(place.node.fixed)
        return kernel_step(place, self, self.calls(place.one, place.ones), fixed)


Rule = Callable[[Place], HlsStep]


# Calls of kernels --------------------------------------------------------------------------------


def elementwise(node: Node, operands: Sequence[Node]) -> tuple[Call, ...]:
    """Return one call over all elements; a constant is repeated after ``period`` elements."""
    sizes = {"size": prod(node.shape)}
    if isinstance(node.op, ops.WithConstant):
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
    place: Place, rule: KernelRule, calls: tuple[Call, ...], result: Fixed, constant: Constant | None = None
) -> HlsStep:
    """Return the step that calls a kernel, with the constant that the calls read, or that of the node."""
    formats, constants = {"result": result}, {}
    attributes: dict[str, Any] = {"kernel": rule.kernel, "calls": calls, "shape": list(place.shape)}
    if rule.text:
        attributes["kernel_text"] = rule.text
    if "period" in calls[0].sizes:
        constant = _repeated(place, calls[0].sizes["period"])
    if constant is not None:
        constants["constant"], formats["constant"] = constant, of_constant(constant)
    class_name = "EdgephysProcess" if place.beats else "EdgephysKernel"
    return HlsStep(place.node, place.name, class_name, place.inputs, place.shape, formats, constants, attributes)


def _repeated(place: Place, period: int) -> Constant:
    """Return the constant of a node as far as it does not repeat itself: that of a beat, or those of all beats."""
    own, shape = ops.constant_of(place.one), place.one.shape
    if own.integers.size > prod(shape):  # differs from beat to beat
        return Constant(own.integers.reshape(-1), own.fraction)
    return Constant(np.broadcast_to(own.integers, shape).reshape(-1)[:period], own.fraction)


COPY = KernelRule("copy", elementwise)


def copy_step(place: Place, fixed: Fixed) -> HlsStep:
    """Return the step that copies an edge into a format."""
    return kernel_step(place, COPY, (Call((0,), {"size": prod(place.one.shape)}),), fixed)


@dataclass(frozen=True)
class LookupRule(KernelRule):
    """Emit a table as a constant array that a kernel reads."""

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a node; raise ModelError where its integers need more bits than C++'s int has."""
        node = place.node
        op: Any = place.one.op
        if max(abs(op.first), abs(op.last)) >= 1 << INT:
            raise ModelError(
                f"layer '{node.layer}': its table is for integers {op.first}..{op.last}, of over {INT} bits; round "
                f"its operand to fewer bits"
            )
        sizes = {"size": prod(place.one.shape), "channels": len(op.tables), "entries": op.entries, "first": op.first}
        calls = (Call((0,), sizes, powers={"steps": op.operand_fraction}),)
        constant = Constant(op.tables.reshape(-1), op.constant.fraction)
        return kernel_step(place, self, calls, plain(node.fixed), constant)


# Layers of hls4ml, and windows ---------------------------------------------------------------------


def _input(place: Place) -> HlsStep:
    attributes, formats = {"input_shape": list(place.shape)}, {"result": plain(place.node.fixed)}
    return HlsStep(place.node, place.name, "InputLayer", (), place.shape, formats, {}, attributes)


def _dense(place: Place) -> HlsStep:
    """Return hls4ml's Dense, or a Conv1D of width 1 over several rows; both add a bias."""
    weight, last, shape = ops.constant_of(place.node), place.bias or place.node, place.shape
    offsets = np.zeros(weight.integers.shape[1], np.int64)
    added = Constant(offsets, 0)
    if place.bias is not None:
        constant = ops.constant_of(place.bias)
        added = Constant(np.broadcast_to(constant.integers.reshape(-1), offsets.shape), constant.fraction)
    copies = prod(place.one.shape[:-1]) if place.beats else 1
    if copies > 1:  # rows of a pixel, side by side: zeros cost nothing, because the products are unrolled
        weight = Constant(np.kron(np.eye(copies, dtype=np.int64), weight.integers), weight.fraction)
        added = Constant(np.tile(added.integers, copies), added.fraction)
    exact = plain(last.fixed)
    formats = {"result": exact, "accum": exact, "weight": of_constant(weight), "bias": of_constant(added)}
    constants = {"weight": weight, "bias": added}
    if len(shape) == 1:
        sizes = dict(zip(("n_in", "n_out"), weight.integers.shape, strict=True))
        return HlsStep(last, place.name, "Dense", place.inputs, shape, formats, constants, sizes)
    constants["weight"] = Constant(weight.integers[None], weight.fraction)  # (window, in, out)
    attributes = _convolution(shape[0], weight.integers.shape, 1 if place.beats else shape[0])
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
    rows = ops.windows(pixels, node.op.neighbours or (1, 1), height * width).reshape(-1)
    return (Call((0,), {"length": height * width, "inner": channels, "count": rows.size}, {"rows": rows}),)


GATHER = KernelRule("gather", _gathered, GATHER_TEXT)
"""The windows of a field that is no stream; ``stream_rules`` has those of a stream."""


RULES: RuleTable[Rule] = RuleTable(
    "hls",
    {
        ops.Input: _input,
        ops.Dense: _dense,
        ops.Bias: KernelRule("bias", elementwise),
        ops.Add: KernelRule("add", elementwise),
        ops.Scale: KernelRule("scale", elementwise),
        ops.Mul: KernelRule("mul", elementwise, MUL_TEXT),
        ops.Max: KernelRule("max", elementwise, MAX_TEXT),
        ops.Relu: KernelRule("relu", elementwise),
        ops.Sum: KernelRule("sum", _sum),
        ops.Concat: KernelRule("concat", _concat),
        ops.Take: KernelRule("take", _take),
        ops.Reshape: COPY,
        ops.Window: GATHER,
        ops.Requantise: COPY,
        ops.Lookup: LookupRule("lookup", elementwise, LOOKUP_TEXT),
    },
)
"""The rule of each operation."""
