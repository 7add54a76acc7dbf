"""Write a QONNX model: its nodes, constants, and the tensor that carries each edge of the Graph.

A constant is a float initialiser behind a Quant node of its width. Fields of pixels have their channels first, as Conv
requires; other tensors have the axes of the Graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgephys.core.fixed import Fixed, Integers, narrowest
from edgephys.core.rounding import Overflow
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.passes import tieless
from edgephys.graph.ranges import derive

DOMAIN = "qonnx.custom_op.general"
PLAIN = "plain"
FIRST = "channels first"
FIELD = 3
"""Axes of a field: row, column, channel."""
TO_FIRST, TO_PLAIN = (0, 3, 1, 2), (0, 2, 3, 1)
AXES = {PLAIN: (1, 2, 3), FIRST: (2, 3, 1)}
"""Axis of the tensor for each axis of a field, by layout."""


@dataclass
class QonnxWriter:
    """Collect the nodes of a model, the shape of each tensor and the initialisers.

    ``carried`` has the tensors of each edge by layout, first the one that its operation made. ``fields``: the graph has
    operations on fields of pixels.
    """

    graph: Graph
    nodes: list[Any] = field(default_factory=list)
    initialisers: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    carried: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ranges = derive(self.graph)
        self.tieless = tieless(self.graph)
        self.fields = any(node.op.neighbours is not None for node in self.graph.nodes)

    def tensor(self, name: str, layout: str) -> str:
        """Return the tensor of an edge in a layout; add a Transpose where there is none yet."""
        tensors = self.carried[name]
        if layout not in tensors:
            order = TO_FIRST if layout == FIRST else TO_PLAIN
            source = next(iter(tensors.values()))
            shape = tuple(self.shapes[source][axis] for axis in order)
            label = "channels_first" if layout == FIRST else "channels_last"
            tensors[layout] = self.op("Transpose", [source], f"{name}_{label}", shape, perm=order)
        return tensors[layout]

    def edge(self, name: str) -> tuple[str, str]:
        """Return the tensor that the operation of an edge made, and its layout."""
        layout, tensor = next(iter(self.carried[name].items()))
        return tensor, layout

    def layout(self, name: str) -> str:
        """Return the layout in which the operation of an edge made it."""
        return next(iter(self.carried[name]))

    def op(self, kind: str, inputs: list[str], output: str, shape: tuple[int, ...], **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        domain = DOMAIN if kind == "Quant" else ""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        self.shapes[output] = shape
        return output

    def initialiser(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Add an initialiser; a name always stands for the same array."""
        self.initialisers[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def quant(self, source: str, output: str, fixed: Fixed, mode: str = "ROUND") -> str:
        """Add a Quant node into a format; it saturates."""
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
        """Add a constant behind its Quant; ``integers`` are those of the constant, in the axes of the node."""
        low, high = int(integers.min(initial=0)), int(integers.max(initial=0))
        format_ = narrowest(min(low, -1), high, constant.fraction)
        bits = max(2, format_.bits)  # one signed bit is -1 and +1 there
        narrow = Overflow.SAT_SYM if low > -(1 << (bits - 1)) else Overflow.SAT
        source = self.initialiser(f"{name}_float", integers * 2.0**-constant.fraction)
        self.shapes[source] = integers.shape
        return self.quant(source, name, Fixed(True, bits, bits - constant.fraction, overflow=narrow))

    def carry(self, node: Node, layout: str, tensor: str) -> None:
        """State the tensor that carries a node's edge."""
        self.carried[node.name] = {layout: tensor}

    def result(self, node: Node, operator: str, inputs: list[str], layout: str = PLAIN, **attributes: Any) -> None:
        """Add the operator whose output is a node's edge."""
        self.carry(node, layout, self.op(operator, inputs, node.name, tensor_shape(node, layout), **attributes))


def tensor_shape(node: Node, layout: str) -> tuple[int, ...]:
    """Return the shape of the tensor that carries a node's edge, a batch of one before it."""
    if layout == PLAIN:
        return (1, *node.shape)
    return (1, node.shape[2], *node.shape[:2])


def laid_out(constant: Integers, layout: str) -> Integers:
    """Return a constant so that it broadcasts to a tensor of a layout."""
    if layout == PLAIN or constant.ndim == 0:
        return constant
    whole = constant.reshape((1,) * (FIELD - constant.ndim) + constant.shape)
    return np.moveaxis(whole, -1, 0)


def opset_imports(opset: int) -> list[Any]:
    """Return the versions of the standard operators and of QONNX's."""
    return [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]


def value_info(name: str, shape: tuple[int, ...]) -> Any:
    """Return what ONNX states of a tensor of floats."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def floats(integers: Integers, fraction: int) -> NDArray[np.float32]:
    """Return the float32 values of integers at ``2**-fraction``."""
    return (integers * 2.0**-fraction).astype(np.float32)
