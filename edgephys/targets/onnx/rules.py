"""The rule of each operation for ONNX: standard operators, which a runtime may replace by others of the same integers.

onnxruntime detects quantised numbers and computes with them in its own ways. What it detects must be complete:

- Bytes are unsigned; signed numbers have a zero point of 128. Products of unsigned with signed bytes saturate in 16
  bits on processors without dot products of bytes; products of unsigned with unsigned bytes do not.
- The weights of bytes are bytes, of wider integers wider integers, of floats floats. Wider numbers with weights of
  bytes would be rounded to bytes (MatMulNBits), integers with float weights to a scale that the runtime chooses.
- The bias of integers is an integer in steps of the products. A finer bias, which would be rounded to that step, is
  added by an operator of its own. MatMul is not used: an addition behind it would become such a bias.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgephys.core.fixed import Integers
from edgephys.graph import ops
from edgephys.graph.graph import Graph, Node
from edgephys.targets.onnx.forms import CHANNELS_FIRST, PLAIN, ROWS, Form, Tensors
from edgephys.targets.onnx.plan import DOUBLE, FLOAT, SINGLE, OnnxRule, Unit, of_channels, plan, power_of_two
from edgephys.targets.onnx.rounding import round_into
from edgephys.targets.onnx.writer import OnnxWriter
from edgephys.targets.rules import RuleTable

BYTE = 8
"""Bits of the narrowest integers that are quantised and multiplied."""


def write(graph: Graph, style: str) -> Tensors:
    """Return the operators and constants of a graph.

    Raises: ModelError, naming the layer, where floats are not exact or an operation has no rule.
    """
    rules = RULES.of_nodes(graph)
    writer = OnnxWriter(graph, plan(graph, style, rules), Tensors({node.name: node.shape for node in graph.nodes}))
    for node in graph.nodes:
        if node.name not in writer.plan.absorbed and node.name not in writer.tensors.forms:
            rules[node.name].write(writer, node, node.op)
    return writer.tensors


def elementwise(operator: str, unit: Unit = Unit.OPERAND, adds: bool = False) -> OnnxRule:
    """Return the rule of an element-wise operation that is one operator.

    ``unit`` and ``adds`` are as in OnnxRule. Operands are in one unit where there are several.
    """

    def rule(writer: OnnxWriter, node: Node, op: Any) -> None:
        layouts = {writer.tensors.forms[name].layout for name in node.inputs}
        layout = CHANNELS_FIRST if CHANNELS_FIRST in layouts else layouts.pop() if len(layouts) == 1 else PLAIN
        free = unit is Unit.PRODUCT or (len(node.inputs) == 1 and unit is Unit.OPERAND)
        operands = writer.read(node, layout, None if free else writer.plan.units[node.name])
        total = sum(form.unit for form in operands) if unit is Unit.PRODUCT else None
        writer.result(node, operator, operands, unit=total)

    return OnnxRule(rule, unit, adds)


def _input(writer: OnnxWriter, node: Node, op: ops.Input) -> None:
    plan = writer.plan
    writer.tensors.forms[node.name] = Form(node.name, PLAIN, plan.carriers[node.name], plan.units[node.name])


def _requantise(writer: OnnxWriter, node: Node, op: ops.Requantise) -> None:
    writer.tensors.forms[node.name] = round_into(writer.tensors, writer.graph, writer.plan, node)


# Products ----------------------------------------------------------------------------------------


def _dense(writer: OnnxWriter, node: Node, op: ops.Dense) -> None:
    """Add a product, with the bias that reads it, as Gemm or as Conv over the field that a window reads."""
    plan, tensors = writer.plan, writer.tensors
    bias, unit, carrier = plan.biases.get(node.name), plan.units[node.name], plan.carriers[node.name]
    (source,) = writer.graph.operands(node)
    size, x = (1, 1), source
    if source.name in plan.absorbed:
        size, x = source.op.neighbours or size, writer.graph.by_name[source.inputs[0]]
    if plan.field and len(source.shape) == 3 and carrier == SINGLE:
        layout = CHANNELS_FIRST
    else:
        layout = PLAIN if len(source.shape) == 1 else ROWS
    form = tensors.form(x.name, layout, carrier)
    weight, attributes = op.constant.integers, dict[str, Any]()
    if layout == CHANNELS_FIRST:
        weight, attributes = _kernel(weight, size, x.shape[-1])
    exponent = unit - form.unit - op.constant.fraction
    operator = "Conv" if layout == CHANNELS_FIRST else "Gemm"
    result = Form("", layout, carrier, unit)
    if plan.style == FLOAT or carrier == DOUBLE or not form.quantised:
        inputs = [form.tensor, tensors.number(f"{node.name}_weight", weight * 2.0**exponent, carrier)]
        if bias is not None:
            values = _bias_values(writer, bias, _channels(bias, node), unit)
            inputs.append(tensors.number(f"{bias.name}_bias", values, carrier))
        _edge(writer, bias or node, operator, inputs, result, attributes)
    else:
        inputs = [form.tensor, _weights(tensors, f"{node.name}_weight", weight, exponent, form.quantised)]
        _with_quantised_weights(writer, node, bias, operator, inputs, result, attributes)


def _with_quantised_weights(
    writer: OnnxWriter,
    dense: Node,
    bias: Node | None,
    operator: str,
    inputs: list[str],
    result: Form,
    attributes: dict[str, Any],
) -> None:
    """Add products with quantised weights, and their bias where it is in whole steps of the products."""
    if bias is None:
        _edge(writer, dense, operator, inputs, result, attributes)
        return
    tensors = writer.tensors
    integers, shift = _channels(bias, dense), dense.fixed.fraction - _constant_fraction(bias)
    if shift >= 0 and bias.name not in writer.plan.offsets:
        steps = (integers << shift).astype(np.int32)
        added = tensors.dequantised(f"{bias.name}_bias", steps, result.unit - dense.fixed.fraction)
        _edge(writer, bias, operator, [*inputs, added], result, attributes)
        return
    products = tensors.add(operator, inputs, dense.name, **attributes)
    finer = _laid_out(_bias_values(writer, bias, integers, result.unit), result.layout, len(bias.shape))
    constant = tensors.number(f"{bias.name}_bias", finer, result.carrier)
    _edge(writer, bias, "Add", [products, constant], result, {})


def _edge(
    writer: OnnxWriter, node: Node, operator: str, inputs: list[str], form: Form, attributes: dict[str, Any]
) -> None:
    tensor = writer.tensors.add(operator, inputs, node.name, **attributes)
    writer.tensors.forms[node.name] = replace(form, tensor=tensor)


def _weights(tensors: Tensors, name: str, integers: Integers, exponent: int, bits: int) -> str:
    """Add weights in the narrowest integers that hold them, but not narrower than the ``bits`` that they multiply."""
    if bits == BYTE and integers.min() >= -128 and integers.max() <= 127:
        return tensors.dequantised(name, (integers + 128).astype(np.uint8), exponent, 128)
    kind = np.int16 if np.abs(integers).max() < 1 << 15 else np.int32
    return tensors.dequantised(name, integers.astype(kind), exponent)


def _kernel(matrix: Integers, size: tuple[int, int], channels: int) -> tuple[Integers, dict[str, Any]]:
    """Return a matrix over the neighbours of a pixel as a kernel; in groups where each output reads one channel."""
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


# Constants ---------------------------------------------------------------------------------------


def _bias(writer: OnnxWriter, node: Node, op: ops.Bias) -> None:
    form = _broadcast_form(writer, node)
    integers = _laid_out(op.constant.integers, form.layout, len(node.shape))
    values = _bias_values(writer, node, integers, form.unit)
    writer.result(node, "Add", [form], (writer.tensors.number(f"{node.name}_bias", values, form.carrier),))


def _scale(writer: OnnxWriter, node: Node, op: ops.Scale) -> None:
    """Add a product with a constant; a power of two needs no operator."""
    if (power := power_of_two(node)) is not None:
        (form,) = writer.read(node)
        writer.tensors.forms[node.name] = replace(form, unit=form.unit - power)
        return
    form, unit = _broadcast_form(writer, node), writer.plan.units[node.name]
    integers = _laid_out(op.constant.integers, form.layout, len(node.shape))
    factor = integers.astype(np.float64) * 2.0 ** (unit - form.unit - op.constant.fraction)
    constant = writer.tensors.number(f"{node.name}_factor", factor, form.carrier)
    writer.result(node, "Mul", [form], (constant,), unit=unit)


def _lookup(writer: OnnxWriter, node: Node, op: ops.Lookup) -> None:
    """Gather entries by whole numbers; the tables for the channels follow one another."""
    (form,), tensors = writer.read(node, unit=op.operand_fraction), writer.tensors
    starts = op.channels(node.shape) * op.entries - op.first
    integers = tensors.add("Cast", [form.tensor], f"{node.name}_integers", to=TensorProto.INT64)
    offset = tensors.constant(f"{node.name}_starts", _laid_out(starts, form.layout, len(node.shape)))
    places = tensors.add("Add", [integers, offset], f"{node.name}_places")
    unit = writer.plan.units[node.name]
    values = op.tables.reshape(-1) * 2.0 ** (unit - op.constant.fraction)
    entries = tensors.number(f"{node.name}_entries", values, form.carrier)
    _edge(writer, node, "Gather", [entries, places], replace(form, unit=unit, quantised=0), {"axis": 0})


def _broadcast_form(writer: OnnxWriter, node: Node) -> Form:
    """Return the operand in a layout to which the node's constant broadcasts."""
    (form,) = writer.read(node)
    if form.layout == ROWS and not of_channels(node):
        form = writer.tensors.laid_out(node.inputs[0], form, PLAIN)
    return form


def _bias_values(writer: OnnxWriter, bias: Node, integers: Integers, unit: int) -> NDArray[np.float64]:
    """Return a bias in a unit, with the offset that it adds for the rounding that follows."""
    source, fraction = writer.graph.by_name[bias.inputs[0]].fixed.fraction, _constant_fraction(bias)
    halves = writer.plan.offsets.get(bias.name, 0) * 2.0 ** (unit - max(source, fraction) - 1)
    return np.asarray(integers * 2.0 ** (unit - fraction) + halves, np.float64)


def _channels(bias: Node, dense: Node) -> Integers:
    """Return a bias with one number for each output of a product."""
    integers = bias.op.constant.integers if isinstance(bias.op, ops.Broadcast) else np.zeros(1, np.int64)
    return np.broadcast_to(integers.reshape(-1), (dense.shape[-1],))


def _constant_fraction(node: Node) -> int:
    return node.op.constant.fraction if isinstance(node.op, ops.Broadcast) else 0


def _laid_out(integers: NDArray[Any], layout: str, rank: int) -> NDArray[Any]:
    """Return a constant with the axes that broadcast to a tensor in a layout."""
    if layout == ROWS:
        return integers.reshape(-1)
    if layout == CHANNELS_FIRST:
        whole = integers.reshape((1,) * (rank - integers.ndim) + integers.shape)
        return whole.transpose(2, 0, 1)
    return integers


# Sums over an axis, joins and moves -----------------------------------------------------------------


def _sum(writer: OnnxWriter, node: Node, op: ops.Sum) -> None:
    operands = writer.read(node, PLAIN)
    axes = writer.tensors.constant(f"axes_{op.axis + 1}", np.array([op.axis + 1]))
    writer.result(node, "ReduceSum", operands, (axes,), keepdims=0)


def _concat(writer: OnnxWriter, node: Node, op: ops.Concat) -> None:
    operands = writer.read(node, PLAIN, writer.plan.units[node.name])
    writer.result(node, "Concat", operands, axis=op.axis + 1)


def _take(writer: OnnxWriter, node: Node, op: ops.Take) -> None:
    operands = writer.read(node, PLAIN)
    rows = writer.tensors.constant(f"{node.name}_taken", op.rows)
    writer.result(node, "Gather", operands, (rows,), axis=op.axis + 1)


def _reshape(writer: OnnxWriter, node: Node, op: ops.Reshape) -> None:
    rows = writer.tensors.forms[node.inputs[0]].layout == ROWS
    (form,) = writer.read(node, ROWS if rows else PLAIN)
    writer.result(node, "Reshape", [form], (writer.tensors.shape(node.shape),), PLAIN)
    writer.tensors.forms[node.name] = replace(writer.tensors.forms[node.name], quantised=form.quantised)


def _window(writer: OnnxWriter, node: Node, op: ops.Window) -> None:
    """Gather every pixel's neighbours by number; one more pixel, of zeros, stands for those beyond the edges."""
    (form,), tensors = writer.read(node, PLAIN), writer.tensors
    height, width, channels = writer.graph.by_name[node.inputs[0]].shape
    numbers = ops.windows(np.arange(height * width).reshape(height, width, 1), op.size, height * width)
    shape = tensors.shape((height * width, channels))
    pixels = tensors.add("Reshape", [form.tensor, shape], f"{node.name}_pixels")
    pads = tensors.constant("one_pixel_more", np.array([0, 0, 0, 0, 1, 0]))
    padded = tensors.add("Pad", [pixels, pads], f"{node.name}_padded")
    rows = tensors.constant(f"{node.name}_neighbours", numbers.reshape(-1))
    gathered = tensors.add("Gather", [padded, rows], f"{node.name}_gathered", axis=1)
    writer.result(node, "Reshape", [replace(form, tensor=gathered)], (tensors.shape(node.shape),), PLAIN)


RULES: RuleTable[OnnxRule] = RuleTable(
    "onnx",
    {
        ops.Input: OnnxRule(_input, Unit.ZERO),
        ops.Dense: OnnxRule(_dense, Unit.READER),
        ops.Bias: OnnxRule(_bias, adds=True),
        ops.Add: elementwise("Add", adds=True),
        ops.Scale: OnnxRule(_scale, Unit.READER),
        ops.Mul: elementwise("Mul", Unit.PRODUCT),
        ops.Max: elementwise("Max"),
        ops.Relu: elementwise("Relu"),
        ops.Sum: OnnxRule(_sum),
        ops.Concat: OnnxRule(_concat),
        ops.Take: OnnxRule(_take),
        ops.Reshape: OnnxRule(_reshape),
        ops.Window: OnnxRule(_window),
        ops.Requantise: OnnxRule(_requantise, Unit.FORMAT),
        ops.Lookup: OnnxRule(_lookup, Unit.READER),
    },
)
