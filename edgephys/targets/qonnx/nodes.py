"""The nodes of a QONNX model: one rule a kind of the Graph, in the operators that its ecosystem reads.

A constant is a float initialiser behind a Quant node of its real width; a rounding is a Quant node. What lies on a
field of pixels is carried channels first, as Conv wants it; elsewhere axes are the Graph's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers, Overflow, Rounding, narrowest
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ops import (
    Add,
    AlongAxis,
    Bias,
    Concat,
    Dense,
    Input,
    Op,
    Relu,
    Requantise,
    Reshape,
    Scale,
    Sum,
    Take,
    Window,
    constant_of,
)
from edgephys.graph.passes import tieless
from edgephys.graph.ranges import Range, derive

DOMAIN = "qonnx.custom_op.general"
FLOAT32_BITS = 24
PLAIN = "plain"
FIRST = "channels first"
FIELD = 3
"""Axes of a field: row, column, channel."""
TO_FIRST, TO_PLAIN = (0, 3, 1, 2), (0, 2, 3, 1)
AXES = {PLAIN: (1, 2, 3), FIRST: (2, 3, 1)}
"""Axis of the tensor for each axis of a field, by layout."""

MODES = {
    Rounding.TRN: "FLOOR",
    Rounding.TRN_ZERO: "DOWN",
    Rounding.RND_CONV: "ROUND",
    Rounding.RND_INF: "HALF_UP",
    Rounding.RND_ZERO: "HALF_DOWN",
}
"""Rounding modes of Quant, by what the qonnx package computes: its HALF_UP is away from zero."""
SHIFTED = {Rounding.RND: (1, "FLOOR"), Rounding.RND_MIN_INF: (-1, "CEIL")}
"""Modes that Quant has after so many half steps are added."""


@dataclass
class Writer:
    """Collect the nodes of a model, each tensor's shape and the initialisers."""

    graph: Graph
    nodes: list[Any] = field(default_factory=list)
    initialisers: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    carried: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tensors of a Graph's node, by layout; the first is how it was made."""

    def __post_init__(self) -> None:
        self.ranges = derive(self.graph)
        self.tieless = tieless(self.graph)
        self.fields = any(isinstance(node.op, Window) for node in self.graph.nodes)
        for node in self.graph.nodes:
            _require_exact(node, self.ranges[node.name])
        for node in self.graph.nodes:
            RULES[type(node.op)](self, node)

    def asked(self, name: str, layout: str) -> str:
        """Return the tensor that holds a node's edge in a layout, transposed once where it is not there."""
        made = self.carried[name]
        if layout not in made:
            order = TO_FIRST if layout == FIRST else TO_PLAIN
            source = next(iter(made.values()))
            shape = tuple(self.shapes[source][axis] for axis in order)
            label = "channels_first" if layout == FIRST else "channels_last"
            made[layout] = self.op("Transpose", [source], f"{name}_{label}", shape, perm=order)
        return made[layout]

    def layout(self, name: str) -> str:
        """Return the layout in which a node's edge was made."""
        return next(iter(self.carried[name]))

    def edge(self, name: str) -> tuple[str, str]:
        """Return the tensor and the layout in which a node's edge was made."""
        layout = self.layout(name)
        return self.carried[name][layout], layout

    def op(self, kind: str, inputs: list[str], output: str, shape: tuple[int, ...], **attributes: Any) -> str:
        """Add a node whose only output has a name of its own, and return it."""
        domain = DOMAIN if kind == "Quant" else ""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        self.shapes[output] = shape
        return output

    def initialiser(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Keep an initialiser; one name stands for one array."""
        self.initialisers[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def quant(self, source: str, output: str, fixed: Fixed, mode: str = "ROUND") -> str:
        """Add a Quant node into a format, saturating."""
        step = -fixed.fraction
        inputs = [
            source,
            self.initialiser(f"scale_2_{'m' if step < 0 else ''}{abs(step)}", 2.0**step),
            self.initialiser("zero_point", 0),
            self.initialiser(f"bits_{fixed.bits}", fixed.bits),
        ]
        narrow = fixed.signed and fixed.overflow is Overflow.SAT_SYM
        shape = self.shapes.get(source, ())
        return self.op("Quant", inputs, output, shape, signed=int(fixed.signed), narrow=int(narrow), rounding_mode=mode)

    def constant(self, name: str, constant: Constant, integers: Integers) -> str:
        """Add a constant behind its Quant; ``integers`` are the constant's in the order that the node wants."""
        low, high = int(integers.min(initial=0)), int(integers.max(initial=0))
        held = narrowest(min(low, -1), high, constant.fraction)
        bits = max(2, held.bits)  # one signed bit is -1 and +1 there
        narrow = Overflow.SAT_SYM if low > -(1 << (bits - 1)) else Overflow.SAT
        source = self.initialiser(f"{name}_float", integers * 2.0**-constant.fraction)
        self.shapes[source] = integers.shape
        return self.quant(source, name, Fixed(True, bits, bits - constant.fraction, overflow=narrow))

    def keep(self, node: Node, layout: str, tensor: str) -> None:
        """State which tensor holds a node's edge."""
        self.carried[node.name] = {layout: tensor}


def _require_exact(node: Node, range_: Range) -> None:
    bits = max(range_.partial, node.op.largest_constant).bit_length()
    if bits > FLOAT32_BITS:
        raise _inexact(node, f"it needs {bits} bits")


def _inexact(node: Node, what: str) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': {what}, but QONNX is computed in float32, which holds {FLOAT32_BITS} exactly; "
        f"use fewer weight or activation bits, or fewer inputs to the layer"
    )


def tensor_shape(node: Node, layout: str) -> tuple[int, ...]:
    """Return the shape of the tensor that carries a node's edge, a batch of one before it."""
    if layout == PLAIN:
        return (1, *node.shape)
    return (1, node.shape[2], *node.shape[:2])


def _laid(constant: Integers, layout: str) -> Integers:
    """Return a constant so that it broadcasts to a tensor of a layout."""
    if layout == PLAIN or constant.ndim == 0:
        return constant
    whole = constant.reshape((1,) * (FIELD - constant.ndim) + constant.shape)
    return np.moveaxis(whole, -1, 0)


# The rules --------------------------------------------------------------------------------------


def _input(writer: Writer, node: Node) -> None:
    if node.fixed.signed and node.fixed.bits == 1:
        raise _one_bit(node)
    writer.shapes[node.name] = (1, *node.shape)
    mode = MODES.get(node.fixed.rounding, "ROUND")
    writer.keep(node, PLAIN, writer.quant(node.name, f"{node.name}_quant", node.fixed, mode))


def _one_bit(node: Node) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': {node.fixed} has one signed bit, which QONNX reads as -1 and +1; use 2 bits"
    )


def _dense(writer: Writer, node: Node) -> None:
    """A product on a field is a convolution, its window's neighbours those of the kernel."""
    (source,) = writer.graph.operands(node)
    constant = constant_of(node)
    weight = constant.integers
    if isinstance(source.op, Window):
        _convolve(writer, node, source.inputs[0], weight, source.op.size, constant)
    elif writer.fields and len(node.shape) == FIELD:
        _convolve(writer, node, source.name, weight, (1, 1), constant)
    else:
        named = writer.constant(f"{node.name}_weight", constant, weight)
        inputs = [writer.asked(source.name, PLAIN), named]
        writer.keep(node, PLAIN, writer.op("MatMul", inputs, node.name, tensor_shape(node, PLAIN)))


def _convolve(
    writer: Writer, node: Node, source: str, weight: Integers, size: tuple[int, int], constant: Constant
) -> None:
    channels = writer.graph.by_name[source].shape[-1]
    kernel = weight.reshape(*size, channels, -1).transpose(3, 2, 0, 1)  # (output, channel, row, column)
    named = writer.constant(f"{node.name}_weight", constant, kernel)
    before, after = [(length - 1) // 2 for length in size], [length // 2 for length in size]
    made = writer.op(
        "Conv",
        [writer.asked(source, FIRST), named],
        node.name,
        (1, weight.shape[1], *node.shape[:2]),
        kernel_shape=size,
        pads=[*before, *after],
        strides=[1, 1],
        dilations=[1, 1],
        group=1,
    )
    writer.keep(node, FIRST, made)


def _window(writer: Writer, node: Node) -> None:
    """The wires of a convolution are in its Conv; where others read them, they are a Conv with ones."""
    readers = writer.graph.readers[node.name]
    if node.name in writer.graph.outputs or any(not isinstance(reader.op, Dense) for reader in readers):
        _convolve(
            writer,
            node,
            node.inputs[0],
            np.eye(node.shape[-1], dtype=np.int64),
            node.op.neighbours or (1, 1),
            Constant(np.ones(1, np.int64), 0),
        )


def _with_constant(kind: str, label: str) -> Callable[[Writer, Node], None]:
    def rule(writer: Writer, node: Node) -> None:
        constant = constant_of(node)
        layout = writer.layout(node.inputs[0])
        named = writer.constant(f"{node.name}_{label}", constant, _laid(constant.integers, layout))
        inputs = [writer.asked(node.inputs[0], layout), named]
        writer.keep(node, layout, writer.op(kind, inputs, node.name, tensor_shape(node, layout)))

    return rule


def _same(kind: str) -> Callable[[Writer, Node], None]:
    def rule(writer: Writer, node: Node) -> None:
        layout = writer.layout(node.inputs[0])
        inputs = [writer.asked(name, layout) for name in node.inputs]
        writer.keep(node, layout, writer.op(kind, inputs, node.name, tensor_shape(node, layout)))

    return rule


def _sum(writer: Writer, node: Node) -> None:
    axis = _along(node, PLAIN)
    axes = writer.initialiser(f"axis_{axis}", [axis], np.int64)
    inputs = [writer.asked(node.inputs[0], PLAIN), axes]
    writer.keep(node, PLAIN, writer.op("ReduceSum", inputs, node.name, tensor_shape(node, PLAIN), keepdims=0))


def _along(node: Node, layout: str) -> int:
    axis = node.op.axis if isinstance(node.op, AlongAxis) else 0
    return AXES[layout][axis] if layout == FIRST else axis + 1


def _concat(writer: Writer, node: Node) -> None:
    layout = writer.layout(node.inputs[0])
    inputs = [writer.asked(name, layout) for name in node.inputs]
    made = writer.op("Concat", inputs, node.name, tensor_shape(node, layout), axis=_along(node, layout))
    writer.keep(node, layout, made)


def _take(writer: Writer, node: Node) -> None:
    taken = node.op.rows if isinstance(node.op, Take) else np.zeros(1, np.int64)
    layout = writer.layout(node.inputs[0]) if taken.ndim == 1 else PLAIN
    rows = writer.initialiser(f"{node.name}_rows", taken, np.int64)
    inputs = [writer.asked(node.inputs[0], layout), rows]
    made = writer.op("Gather", inputs, node.name, tensor_shape(node, layout), axis=_along(node, layout))
    writer.keep(node, layout, made)


def _reshape(writer: Writer, node: Node) -> None:
    source, shape = writer.asked(node.inputs[0], PLAIN), tensor_shape(node, PLAIN)
    if len(node.shape) == 1:
        made = writer.op("Flatten", [source], node.name, shape, axis=1)
    else:
        label = "_".join(map(str, ("shape", *node.shape)))
        made = writer.op("Reshape", [source, writer.initialiser(label, [-1, *node.shape], np.int64)], node.name, shape)
    writer.keep(node, PLAIN, made)


def _requantise(writer: Writer, node: Node) -> None:
    """Quant saturates; a value that may wrap is brought back by what lies above its bits."""
    (source,) = writer.graph.operands(node)
    range_, fixed, layout = writer.ranges[source.name], node.fixed, writer.layout(source.name)
    drop = source.fixed.fraction - fixed.fraction
    tensor = writer.asked(source.name, layout)
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
        half = Constant(np.array(halves), fixed.fraction + 1)
        shifted = writer.constant(f"{node.name}_half", half, half.integers)
        tensor = writer.op("Add", [tensor, shifted], f"{node.name}_shifted", tensor_shape(node, layout))
    if wraps:
        _require_exact(node, Range(range_.low, range_.high, max(reached[1], -reached[0]) + (1 << fixed.bits)))
        tensor = _wrapped(writer, node, tensor, layout, mode, reached)
        mode = "ROUND"
    writer.keep(node, layout, writer.quant(tensor, node.name, fixed, mode))


def _mode(node: Node, drop: int, without_ties: bool) -> str:
    """Return Quant's rounding mode; where nothing is rounded or nothing is a tie, that of every quantiser."""
    if drop <= 0 or (without_ties and node.fixed.rounding.value.startswith("RND")):
        return "ROUND"
    return MODES.get(node.fixed.rounding, node.fixed.rounding.value)


def _wrapped(writer: Writer, node: Node, tensor: str, layout: str, mode: str, reached: list[int]) -> str:
    """Return x - floor((x - low) / 2**bits) * 2**bits, in which the floor is a Quant of a coarse step."""
    fixed, shape = node.fixed, tensor_shape(node, layout)
    low, high = reached
    rounded = writer.quant(tensor, f"{node.name}_rounded", narrowest(min(low, -2), high, fixed.fraction), mode)
    lifted = rounded
    if fixed.low:
        lift = Constant(np.array(-fixed.low), fixed.fraction)
        lifted = writer.constant(f"{node.name}_lift", lift, lift.integers)
        lifted = writer.op("Add", [rounded, lifted], f"{node.name}_lifted", shape)
    turns = [(edge - fixed.low) >> fixed.bits for edge in reached]
    coarse = narrowest(min(-2, turns[0]), turns[1], fixed.fraction - fixed.bits)
    above = writer.quant(lifted, f"{node.name}_above", coarse, "FLOOR")
    return writer.op("Sub", [rounded, above], f"{node.name}_wrapped", shape)


RULES: dict[type[Op], Callable[[Writer, Node], None]] = {
    Input: _input,
    Dense: _dense,
    Bias: _with_constant("Add", "bias"),
    Add: _same("Add"),
    Scale: _with_constant("Mul", "factor"),
    Relu: _same("Relu"),
    Sum: _sum,
    Concat: _concat,
    Take: _take,
    Reshape: _reshape,
    Window: _window,
    Requantise: _requantise,
}


def opset_imports(opset: int) -> list[Any]:
    """Return the versions of the standard operators and of QONNX's."""
    return [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]


def value_info(name: str, shape: tuple[int, ...]) -> Any:
    """Return what ONNX states of a tensor of floats."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def floats(integers: Integers, fraction: int) -> NDArray[np.float32]:
    """Return the float32 values of integers at ``2**-fraction``."""
    return (integers * 2.0**-fraction).astype(np.float32)
