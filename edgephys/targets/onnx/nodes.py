"""Write a Graph's nodes as standard ONNX operators, of which a runtime can make others of the same integers alone.

onnxruntime looks for quantised numbers and computes with them as it sees fit, so that what it finds must be complete:

- Bytes are unsigned, signed numbers with a zero point of 128. Products of unsigned by signed bytes saturate in 16
  bits on processors without dot products of bytes, those of unsigned by unsigned bytes do not.
- Weights are bytes beside bytes, wider integers beside wider ones, floats beside floats. Wider numbers beside weights
  of bytes are rounded to bytes (MatMulNBits), and float weights beside integers to a scale of the runtime's own.
- A bias beside integers is an integer in the step of the products; one that is finer, which would be rounded to that
  step, is added by an operator of its own. There is no MatMul: an addition behind it would become such a bias.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
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
    constant_of,
    windows,
)
from edgephys.targets.onnx.forms import CHANNELS_FIRST, PLAIN, ROWS, Form, Tensors
from edgephys.targets.onnx.plan import DOUBLE, FLOAT, SINGLE, Plan, of_channels, power_of_two
from edgephys.targets.onnx.rounding import requantise

BYTE = 8
"""Bits of the narrowest integers that are quantised and multiplied."""


def write(graph: Graph, plan: Plan) -> Tensors:
    """Return all that is written of a graph."""
    tensors = Tensors({node.name: node.shape for node in graph.nodes})
    writer = Writer(graph, plan, tensors)
    for node in graph.nodes:
        if node.name not in plan.absorbed and node.name not in tensors.forms:
            writer.write(node)
    return tensors


class Writer:
    """Write nodes by their kind."""

    def __init__(self, graph: Graph, plan: Plan, tensors: Tensors) -> None:
        self.graph, self.plan, self.tensors = graph, plan, tensors

    def write(self, node: Node) -> None:
        """Write a node, and what reads it alone where one operator computes both."""
        if isinstance(node.op, Input):
            self.tensors.forms[node.name] = Form(
                node.name, PLAIN, self.plan.carriers[node.name], self.plan.units[node.name]
            )
        elif isinstance(node.op, Dense):
            self._dense(node)
        elif isinstance(node.op, Requantise):
            self.tensors.forms[node.name] = requantise(self.tensors, self.graph, self.plan, node)
        elif (power := power_of_two(node)) is not None:
            form = self.tensors.asked(node.inputs[0], carrier=self.plan.carriers[node.name])
            self.tensors.forms[node.name] = replace(form, unit=form.unit - power)
        elif isinstance(node.op, (Bias, Scale)):
            self._with_constant(node)
        elif isinstance(node.op, Add):
            self._sum_of_two(node)
        elif isinstance(node.op, Relu):
            self._made(node, "Relu", [self.tensors.asked(node.inputs[0], carrier=self.plan.carriers[node.name])])
        else:
            self._moved(node)

    def _made(
        self,
        node: Node,
        operator: str,
        read: list[Form],
        constants: tuple[str, ...] = (),
        layout: str | None = None,
        unit: int | None = None,
        **attributes: Any,
    ) -> None:
        """Add a node's operator, whose output is the node's edge."""
        tensor = self.tensors.add(operator, [*(form.tensor for form in read), *constants], node.name, **attributes)
        unit = read[0].unit if unit is None else unit
        self.tensors.forms[node.name] = Form(tensor, layout or read[0].layout, read[0].carrier, unit)

    def _dense(self, node: Node) -> None:
        bias, unit, carrier = self.plan.biases.get(node.name), self.plan.units[node.name], self.plan.carriers[node.name]
        source = self.graph.by_name[node.inputs[0]]
        convolves = source.name in self.plan.absorbed
        size = source.op.size if convolves and isinstance(source.op, Window) else (1, 1)
        x = source.inputs[0] if convolves else source.name
        if self.plan.field and len(source.shape) == 3 and carrier == SINGLE:
            layout = CHANNELS_FIRST
        else:
            layout = PLAIN if len(source.shape) == 1 else ROWS
        form = self.tensors.asked(x, layout, carrier)
        weight = _constant(node)
        attributes: dict[str, Any] = {}
        if layout == CHANNELS_FIRST:
            weight, attributes = _kernel(weight, size, self.graph.by_name[x].shape[-1])
        exponent = unit - form.unit - _fraction(node)
        operator = "Conv" if layout == CHANNELS_FIRST else "Gemm"
        made = Form("", layout, carrier, unit)
        if self.plan.style == FLOAT or carrier == DOUBLE or not form.quantised:
            inputs = [form.tensor, self.tensors.number(f"{node.name}_weight", weight * 2.0**exponent, carrier)]
            if bias is not None:
                inputs.append(
                    self.tensors.number(f"{bias.name}_bias", self._biases(bias, _channels(bias, node), unit), carrier)
                )
            self._edge(bias or node, operator, inputs, made, attributes)
        else:
            inputs = [form.tensor, self._weights(f"{node.name}_weight", weight, exponent, form.quantised)]
            self._beside_quantised(node, bias, operator, inputs, made, attributes)

    def _beside_quantised(
        self, dense: Node, bias: Node | None, operator: str, inputs: list[str], made: Form, attributes: dict[str, Any]
    ) -> None:
        """Write products of quantised weights, with their bias where it is whole steps of theirs."""
        if bias is None:
            self._edge(dense, operator, inputs, made, attributes)
            return
        integers, shift = _channels(bias, dense), dense.fixed.fraction - _fraction(bias)
        if shift >= 0 and bias.name not in self.plan.offsets:
            steps = (integers << shift).astype(np.int32)
            added = self.tensors.dequantised(f"{bias.name}_bias", steps, made.unit - dense.fixed.fraction)
            self._edge(bias, operator, [*inputs, added], made, attributes)
            return
        products = self.tensors.add(operator, inputs, dense.name, **attributes)
        finer = _laid_out(self._biases(bias, integers, made.unit), made.layout, len(bias.shape))
        constant = self.tensors.number(f"{bias.name}_bias", finer, made.carrier)
        self._edge(bias, "Add", [products, constant], made, {})

    def _edge(self, node: Node, operator: str, inputs: list[str], form: Form, attributes: dict[str, Any]) -> None:
        self.tensors.forms[node.name] = replace(
            form, tensor=self.tensors.add(operator, inputs, node.name, **attributes)
        )

    def _biases(self, bias: Node, integers: Integers, unit: int) -> NDArray[np.float64]:
        """Return a bias in its unit, with what it adds for the rounding after it."""
        source = self.graph.by_name[bias.inputs[0]].fixed.fraction
        halves = self.plan.offsets.get(bias.name, 0) * 2.0 ** (unit - max(source, _fraction(bias)) - 1)
        return np.asarray(integers * 2.0 ** (unit - _fraction(bias)) + halves, np.float64)

    def _with_constant(self, node: Node) -> None:
        form = self.tensors.asked(node.inputs[0], carrier=self.plan.carriers[node.name])
        if form.layout == ROWS and not of_channels(node):
            form = self.tensors.laid_out(node.inputs[0], form, PLAIN)
        integers = _laid_out(_constant(node), form.layout, len(node.shape))
        if isinstance(node.op, Bias):
            constant = self.tensors.number(f"{node.name}_bias", self._biases(node, integers, form.unit), form.carrier)
            self._made(node, "Add", [form], (constant,))
            return
        unit = self.plan.units[node.name]
        factor = integers.astype(np.float64) * 2.0 ** (unit - form.unit - _fraction(node))
        self._made(node, "Mul", [form], (self.tensors.number(f"{node.name}_factor", factor, form.carrier),), unit=unit)

    def _sum_of_two(self, node: Node) -> None:
        carrier, unit = self.plan.carriers[node.name], self.plan.units[node.name]
        layouts = [self.tensors.forms[name].layout for name in node.inputs]
        layout = CHANNELS_FIRST if CHANNELS_FIRST in layouts else layouts[0] if len(set(layouts)) == 1 else PLAIN
        self._made(node, "Add", [self.tensors.asked(name, layout, carrier, unit) for name in node.inputs])

    def _moved(self, node: Node) -> None:
        """Write what sums, joins, takes and moves elements, all of which know the axes of the Graph."""
        carrier = self.plan.carriers[node.name]
        axis = node.op.axis + 1 if isinstance(node.op, AlongAxis) else 0
        if isinstance(node.op, Concat):
            unit = self.plan.units[node.name]
            self._made(
                node, "Concat", [self.tensors.asked(name, PLAIN, carrier, unit) for name in node.inputs], axis=axis
            )
            return
        edge = node.inputs[0]
        if isinstance(node.op, Reshape) and self.tensors.forms[edge].layout == ROWS:
            form = self.tensors.asked(edge, ROWS, carrier)
        else:
            form = self.tensors.asked(edge, PLAIN, carrier)
        if isinstance(node.op, Sum):
            axes = self.tensors.constant(f"axes_{axis}", np.array([axis]))
            self._made(node, "ReduceSum", [form], (axes,), keepdims=0)
        elif isinstance(node.op, Take):
            self._made(node, "Gather", [form], (self.tensors.constant(f"{node.name}_taken", node.op.rows),), axis=axis)
        elif isinstance(node.op, Reshape):
            self._made(node, "Reshape", [form], (self.tensors.shape(node.shape),), PLAIN)
            self.tensors.forms[node.name] = replace(self.tensors.forms[node.name], quantised=form.quantised)
        else:
            self._window(node, form)

    def _window(self, node: Node, form: Form) -> None:
        """Gather every pixel's neighbours by number; those beyond the edges are one more pixel, of zeros."""
        height, width, channels = self.graph.by_name[node.inputs[0]].shape
        numbers = windows(
            np.arange(height * width).reshape(height, width, 1), node.op.neighbours or (1, 1), height * width
        )
        flat = self.tensors.add(
            "Reshape", [form.tensor, self.tensors.shape((height * width, channels))], f"{node.name}_pixels"
        )
        pads = self.tensors.constant("one_pixel_more", np.array([0, 0, 0, 0, 1, 0]))
        padded = self.tensors.add("Pad", [flat, pads], f"{node.name}_padded")
        rows = self.tensors.constant(f"{node.name}_neighbours", numbers.reshape(-1))
        found = self.tensors.add("Gather", [padded, rows], f"{node.name}_gathered", axis=1)
        self._made(node, "Reshape", [replace(form, tensor=found)], (self.tensors.shape(node.shape),), PLAIN)

    def _weights(self, name: str, integers: Integers, exponent: int, beside: int) -> str:
        """Write weights in as few bits as they have, but not fewer than what they meet."""
        if beside == BYTE and integers.min() >= -128 and integers.max() <= 127:
            return self.tensors.dequantised(name, (integers + 128).astype(np.uint8), exponent, 128)
        kind = np.int16 if np.abs(integers).max() < 1 << 15 else np.int32
        return self.tensors.dequantised(name, integers.astype(kind), exponent)


def _constant(node: Node) -> Integers:
    return constant_of(node).integers


def _channels(bias: Node, dense: Node) -> Integers:
    """Return a bias with a number an output of a product."""
    return np.broadcast_to(_constant(bias).reshape(-1), (dense.shape[-1],))


def _fraction(node: Node) -> int:
    return constant_of(node).fraction


def _laid_out(integers: NDArray[Any], layout: str, rank: int) -> NDArray[Any]:
    """Return a constant as it broadcasts against a tensor in a layout."""
    if layout == ROWS:
        return integers.reshape(-1)
    if layout == CHANNELS_FIRST:
        whole = integers.reshape((1,) * (rank - integers.ndim) + integers.shape)
        return whole.transpose(2, 0, 1)
    return integers


def _kernel(matrix: Integers, size: tuple[int, int], channels: int) -> tuple[Integers, dict[str, Any]]:
    """Return a matrix over the neighbours of a pixel as a kernel, in groups where each output sees one channel."""
    rows, columns = size
    outputs = matrix.shape[1]
    kernel = matrix.reshape(rows, columns, channels, outputs).transpose(3, 2, 0, 1)  # (output, channel, row, column)
    before, after = [(length - 1) // 2 for length in size], [length // 2 for length in size]
    attributes = {"kernel_shape": list(size), "pads": [*before, *after], "group": 1}
    if channels > 1 and outputs % channels == 0:
        own = np.arange(outputs) // (outputs // channels)
        others = np.arange(channels)[None, :] != own[:, None]  # (output, channel)
        if not kernel[others].any():
            return kernel[np.arange(outputs), own][:, None], {**attributes, "group": channels}
    return kernel, attributes
