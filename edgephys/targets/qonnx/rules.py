"""The rule of each operation for QONNX: the operators that its ecosystem reads; a rounding is a Quant node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, narrowest
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import ops
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ranges import Range
from edgephys.targets.qonnx.writer import AXES, FIELD, FIRST, PLAIN, QonnxWriter, laid_out, tensor_shape
from edgephys.targets.rules import Refusal, RuleTable

QonnxRule = Callable[[QonnxWriter, Node, Any], None]
"""Adds the operators of a node, of which the operation is the last argument."""

FLOAT32_BITS = 24
SHIFTED = {Rounding.RND: (1, "FLOOR"), Rounding.RND_MIN_INF: (-1, "CEIL")}
"""Of the modes that QONNX has not: half steps that are added first, and the mode of Quant that then gives them."""


def write(graph: Graph) -> QonnxWriter:
    """Return the nodes of a graph's model.

    Raises: ModelError, naming the layer, where float32 is not exact or an operation has no rule.
    """
    rules = RULES.of_nodes(graph)
    writer = QonnxWriter(graph)
    for node in graph.nodes:
        _require_exact(node, writer.ranges[node.name])
    for node in graph.nodes:
        rules[node.name](writer, node, node.op)
    return writer


def _require_exact(node: Node, range_: Range) -> None:
    bits = max(range_.partial, node.op.largest_constant).bit_length()
    if bits > FLOAT32_BITS:
        raise _inexact(node, f"it needs {bits} bits")


def _inexact(node: Node, what: str) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': {what}, but QONNX is computed in float32, which holds {FLOAT32_BITS} exactly; "
        f"use fewer weight or activation bits, or fewer inputs to the layer"
    )


def elementwise(operator: str) -> QonnxRule:
    """Return the rule of an element-wise operation that is one operator. Its values are not rounded."""

    def rule(writer: QonnxWriter, node: Node, op: Any) -> None:
        layout = writer.layout(node.inputs[0])
        writer.result(node, operator, [writer.tensor(name, layout) for name in node.inputs], layout)

    return rule


def with_constant(operator: str, label: str) -> QonnxRule:
    """Return the rule of an operation that is one operator with a constant."""

    def rule(writer: QonnxWriter, node: Node, op: ops.Broadcast) -> None:
        tensor, layout = writer.edge(node.inputs[0])
        constant = writer.constant(f"{node.name}_{label}", op.constant, laid_out(op.constant.integers, layout))
        writer.result(node, operator, [tensor, constant], layout)

    return rule


def _input(writer: QonnxWriter, node: Node, op: ops.Input) -> None:
    if node.fixed.signed and node.fixed.bits == 1:
        raise _one_bit(node)
    writer.shapes[node.name] = (1, *node.shape)
    mode = node.fixed.rounding.qonnx or "ROUND"
    writer.carry(node, PLAIN, writer.quant(node.name, f"{node.name}_quant", node.fixed, mode))


def _one_bit(node: Node) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': {node.fixed} has one signed bit, which QONNX reads as -1 and +1; use 2 bits"
    )


def _dense(writer: QonnxWriter, node: Node, op: ops.Dense) -> None:
    """Add a product; on a field of pixels it is a convolution, with the size of the window that it reads."""
    (source,) = writer.graph.operands(node)
    if source.op.neighbours is not None:
        _convolve(writer, node, source.inputs[0], op.constant, source.op.neighbours)
    elif writer.fields and len(node.shape) == FIELD:
        _convolve(writer, node, source.name, op.constant, (1, 1))
    else:
        weight = writer.constant(f"{node.name}_weight", op.constant, op.constant.integers)
        writer.result(node, "MatMul", [writer.tensor(source.name, PLAIN), weight])


def _convolve(writer: QonnxWriter, node: Node, source: str, constant: Constant, size: tuple[int, int]) -> None:
    channels = writer.graph.by_name[source].shape[-1]
    kernel = constant.integers.reshape(*size, channels, -1).transpose(3, 2, 0, 1)  # (output, channel, row, column)
    weight = writer.constant(f"{node.name}_weight", constant, kernel)
    before, after = [(length - 1) // 2 for length in size], [length // 2 for length in size]
    writer.result(
        node,
        "Conv",
        [writer.tensor(source, FIRST), weight],
        FIRST,
        kernel_shape=size,
        pads=[*before, *after],
        strides=[1, 1],
        dilations=[1, 1],
        group=1,
    )


def _window(writer: QonnxWriter, node: Node, op: ops.Window) -> None:
    """Add nothing where only products read the window: they are convolutions. Else gather it by a Conv with ones."""
    readers = writer.graph.readers[node.name]
    if node.name in writer.graph.outputs or any(not isinstance(reader.op, ops.Dense) for reader in readers):
        ones = Constant(np.eye(node.shape[-1], dtype=np.int64), 0)
        _convolve(writer, node, node.inputs[0], ones, op.size)


def _sum(writer: QonnxWriter, node: Node, op: ops.Sum) -> None:
    axes = writer.initialiser(f"axis_{op.axis + 1}", [op.axis + 1], np.int64)
    writer.result(node, "ReduceSum", [writer.tensor(node.inputs[0], PLAIN), axes], keepdims=0)


def _concat(writer: QonnxWriter, node: Node, op: ops.Concat) -> None:
    layout = writer.layout(node.inputs[0])
    inputs = [writer.tensor(name, layout) for name in node.inputs]
    writer.result(node, "Concat", inputs, layout, axis=_tensor_axis(op.axis, layout))


def _take(writer: QonnxWriter, node: Node, op: ops.Take) -> None:
    layout = writer.layout(node.inputs[0]) if op.rows.ndim == 1 else PLAIN
    rows = writer.initialiser(f"{node.name}_rows", op.rows, np.int64)
    inputs = [writer.tensor(node.inputs[0], layout), rows]
    writer.result(node, "Gather", inputs, layout, axis=_tensor_axis(op.axis, layout))


def _tensor_axis(axis: int, layout: str) -> int:
    """Return the axis of a tensor that is an axis of the Graph."""
    return AXES[layout][axis] if layout == FIRST else axis + 1


def _reshape(writer: QonnxWriter, node: Node, op: ops.Reshape) -> None:
    source = writer.tensor(node.inputs[0], PLAIN)
    if len(node.shape) == 1:
        writer.result(node, "Flatten", [source], axis=1)
    else:
        label = "_".join(map(str, ("shape", *node.shape)))
        writer.result(node, "Reshape", [source, writer.initialiser(label, [-1, *node.shape], np.int64)])


def _requantise(writer: QonnxWriter, node: Node, op: ops.Requantise) -> None:
    """Add a Quant, which saturates; where a value may wrap, subtract the multiple of the range that it exceeds."""
    (source,) = writer.graph.operands(node)
    range_, fixed, layout = writer.ranges[source.name], node.fixed, writer.layout(source.name)
    drop = source.fixed.fraction - fixed.fraction
    tensor = writer.tensor(source.name, layout)
    reached = [int(edge) for edge in fixed.in_steps([range_.lowest, range_.highest], source.fixed.fraction)]
    overflows = not fixed.holds(*reached)
    if overflows and fixed.overflow is Overflow.SAT_ZERO:
        raise ModelError(f"layer '{node.layer}': {fixed} turns what overflows into 0, which QONNX has not; use SAT")
    wraps = overflows and fixed.overflow is Overflow.WRAP
    if fixed.signed and fixed.bits == 1:
        if overflows and not wraps:
            raise _one_bit(node)
        fixed = Fixed(True, 2, 2 - fixed.fraction)
    mode = _mode(node, drop, node.name in writer.tieless)
    if node.fixed.rounding in SHIFTED and mode != "ROUND":
        halves, mode = SHIFTED[node.fixed.rounding]
        if max(range_.highest, -range_.lowest) + (1 << (drop - 1)) >= 1 << FLOAT32_BITS:
            raise _inexact(node, f"its rounding adds half a step to a value {drop} bits finer")
        half = _number(writer, f"{node.name}_half", halves, fixed.fraction + 1)
        tensor = writer.op("Add", [tensor, half], f"{node.name}_shifted", tensor_shape(node, layout))
    if wraps:
        _require_exact(node, Range(range_.low, range_.high, max(reached[1], -reached[0]) + (1 << fixed.bits)))
        tensor = _wrapped(writer, node, tensor, layout, mode, reached)
        mode = "ROUND"
    writer.carry(node, layout, writer.quant(tensor, node.name, fixed, mode))


def _mode(node: Node, drop: int, without_ties: bool) -> str:
    """Return Quant's rounding mode: the most common one, ROUND, where nothing is rounded or no value is a tie."""
    if drop <= 0 or (without_ties and node.fixed.rounding.nearest):
        return "ROUND"
    return node.fixed.rounding.qonnx or node.fixed.rounding.value


def _wrapped(writer: QonnxWriter, node: Node, tensor: str, layout: str, mode: str, reached: list[int]) -> str:
    """Return x - floor((x - low) / 2**bits) * 2**bits, where the floor is a Quant with a coarse step."""
    fixed, shape = node.fixed, tensor_shape(node, layout)
    low, high = reached
    rounded = writer.quant(tensor, f"{node.name}_rounded", narrowest(min(low, -2), high, fixed.fraction), mode)
    lifted = rounded
    if fixed.low:
        lift = _number(writer, f"{node.name}_lift", -fixed.low, fixed.fraction)
        lifted = writer.op("Add", [rounded, lift], f"{node.name}_lifted", shape)
    turns = [(edge - fixed.low) >> fixed.bits for edge in reached]
    coarse = narrowest(min(-2, turns[0]), turns[1], fixed.fraction - fixed.bits)
    above = writer.quant(lifted, f"{node.name}_above", coarse, "FLOOR")
    return writer.op("Sub", [rounded, above], f"{node.name}_wrapped", shape)


def _number(writer: QonnxWriter, name: str, integer: int, fraction: int) -> str:
    constant = Constant(np.array(integer), fraction)
    return writer.constant(name, constant, constant.integers)


RULES: RuleTable[QonnxRule] = RuleTable(
    "qonnx",
    {
        ops.Input: _input,
        ops.Dense: _dense,
        ops.Bias: with_constant("Add", "bias"),
        ops.Add: elementwise("Add"),
        ops.Scale: with_constant("Mul", "factor"),
        ops.Mul: elementwise("Mul"),
        ops.Max: elementwise("Max"),
        ops.Relu: elementwise("Relu"),
        ops.Sum: _sum,
        ops.Concat: _concat,
        ops.Take: _take,
        ops.Reshape: _reshape,
        ops.Window: _window,
        ops.Requantise: _requantise,
        ops.Lookup: Refusal(
            "a table of results has no operator in QONNX that its readers quantise; emit it to onnx, or use "
            "quantized_relu or quantized_bits for its activation"
        ),
    },
)
