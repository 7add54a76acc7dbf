"""Write a Graph's nodes as standard ONNX operators.

All bytes are unsigned, signed numbers with a zero point of 128: where a runtime computes a product of quantised
numbers in integers, those of unsigned by signed bytes saturate in 16 bits on processors without dot products of
bytes, and those of unsigned by unsigned do not. For the same reason weights are
integers where the numbers that they meet are quantised, and floats where these are floats, and a bias beside integers
is an integer in the step of the products: a runtime quantises what is mixed by scales of its own. What is left of
the bias is added by an operator of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgephys.edge.onnx_plan import DOUBLE, FLOAT, QDQ, SINGLE, Plan, Rounded, of_channels, power_of_two
from edgephys.errors import ModelError
from edgephys.fixed import Fixed, Integers, Overflow
from edgephys.lower.graph import Graph, Kind, Node
from edgephys.lower.windows import windows

PLAIN, ROWS, CHANNELS_FIRST = "plain", "rows", "channels_first"
"""Layouts: (N, *shape); (N * rows, channel); (N, channel, height, width)."""
TYPES = {
    SINGLE: helper.np_dtype_to_tensor_dtype(np.dtype(SINGLE)),
    DOUBLE: helper.np_dtype_to_tensor_dtype(np.dtype(DOUBLE)),
}
STORED: tuple[tuple[type[np.integer[Any]], int], ...] = ((np.uint8, 0), (np.uint8, 128), (np.uint16, 0), (np.int16, 0))
"""Types and zero points of quantised numbers, the narrowest first."""


@dataclass(frozen=True)
class Form:
    """Name a tensor that holds an edge: in which layout and type, times which power of two.

    ``quantised`` where it comes, moved at most, from a DequantizeLinear: runtimes look through what only moves.
    """

    tensor: str
    layout: str
    carrier: str
    unit: int
    quantised: bool = False


class Writer:
    """Collect operators and initialisers; an edge has one form and is converted where another is asked for."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.plan = graph, plan
        self.nodes: list[Any] = []
        self.forms: dict[str, Form] = {}
        self._initialisers: dict[str, NDArray[Any]] = {}
        self._converted: dict[tuple[str, str, str, int], Form] = {}
        for node in graph.nodes:
            if node.name not in plan.absorbed and node.name not in self.forms:
                self._write(node)

    @property
    def initialisers(self) -> list[Any]:
        """The constants as tensors, in the order in which they were asked for."""
        return [numpy_helper.from_array(array, name) for name, array in self._initialisers.items()]

    def asked(self, edge: str, layout: str | None = None, carrier: str | None = None, unit: int | None = None) -> Form:
        """Return an edge in the form asked for, converted where it must be; None leaves it as it is."""
        form = self.forms[edge]
        wanted = (layout or form.layout, carrier or form.carrier, form.unit if unit is None else unit)
        if carrier is not None and carrier != form.carrier:
            to = {"to": TYPES[carrier]}
            form = self._conversion(edge, replace(form, carrier=carrier, quantised=False), "Cast", [form.tensor], to)
        if wanted[2] != form.unit:
            factor = self._float(
                f"{edge}_to_unit_{wanted[2]}_{form.carrier}", 2.0 ** (wanted[2] - form.unit), form.carrier
            )
            form = self._conversion(edge, replace(form, unit=wanted[2], quantised=False), "Mul", [form.tensor, factor])
        return self._laid_out(edge, form, wanted[0])

    def _laid_out(self, edge: str, form: Form, layout: str) -> Form:
        shape = self.graph.by_name[edge].shape
        if layout == form.layout:
            return form
        if form.layout == CHANNELS_FIRST:
            plain = self._conversion(
                edge, replace(form, layout=PLAIN), "Transpose", [form.tensor], {"perm": [0, 2, 3, 1]}
            )
        elif form.layout == ROWS:
            plain = self._conversion(edge, replace(form, layout=PLAIN), "Reshape", [form.tensor, self._shape(shape)])
        else:
            plain = form
        if layout == ROWS:
            return self._conversion(
                edge, replace(plain, layout=ROWS), "Reshape", [plain.tensor, self._shape(shape[-1:])]
            )
        if layout == CHANNELS_FIRST:
            return self._conversion(
                edge, replace(plain, layout=layout), "Transpose", [plain.tensor], {"perm": [0, 3, 1, 2]}
            )
        return plain

    def _conversion(
        self, edge: str, form: Form, operator: str, inputs: list[str], attributes: dict[str, Any] | None = None
    ) -> Form:
        key = (edge, form.layout, form.carrier, form.unit)
        if key not in self._converted:
            tensor = self._add(operator, inputs, f"{edge}_as_{form.layout}_{form.carrier}_{form.unit}", attributes)
            self._converted[key] = replace(form, tensor=tensor)
        return self._converted[key]

    # Nodes -------------------------------------------------------------------------------------

    def _write(self, node: Node) -> None:
        if node.kind is Kind.INPUT:
            self.forms[node.name] = Form(node.name, PLAIN, self.plan.carriers[node.name], self.plan.units[node.name])
        elif node.kind is Kind.DENSE:
            self._dense(node)
        elif node.kind is Kind.REQUANTISE:
            self._requantise(node, self.plan.rounded[node.name])
        elif (power := power_of_two(node)) is not None:
            form = self.asked(node.inputs[0], carrier=self.plan.carriers[node.name])
            self.forms[node.name] = replace(form, unit=form.unit - power)
        elif node.kind in (Kind.BIAS, Kind.SCALE):
            self._with_constant(node)
        elif node.kind is Kind.ADD:
            self._sum_of_two(node)
        elif node.kind is Kind.RELU:
            self._made(node, "Relu", [self.asked(node.inputs[0], carrier=self.plan.carriers[node.name])])
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
        tensor = self._add(operator, [*(form.tensor for form in read), *constants], node.name, attributes)
        unit = read[0].unit if unit is None else unit
        self.forms[node.name] = Form(tensor, layout or read[0].layout, read[0].carrier, unit)

    def _dense(self, node: Node) -> None:
        bias, unit, carrier = self.plan.biases.get(node.name), self.plan.units[node.name], self.plan.carriers[node.name]
        source = self.graph.by_name[node.inputs[0]]
        convolves = source.name in self.plan.absorbed
        size = source.window if convolves else (1, 1)
        x = source.inputs[0] if convolves else source.name
        if self.plan.field and len(source.shape) == 3 and carrier == SINGLE:
            layout = CHANNELS_FIRST
        else:
            layout = PLAIN if len(source.shape) == 1 else ROWS
        form = self.asked(x, layout, carrier)
        weight = _constant(node)
        attributes: dict[str, Any] = {}
        if layout == CHANNELS_FIRST and size is not None:
            weight, attributes = _kernel(weight, size, self.graph.by_name[x].shape[-1])
        exponent = unit - form.unit - _fraction(node)
        operator = "Conv" if layout == CHANNELS_FIRST else "Gemm"
        made = Form("", layout, carrier, unit)
        if self.plan.style == FLOAT or carrier == DOUBLE or not form.quantised:
            inputs = [form.tensor, self._float(f"{node.name}_weight", weight * 2.0**exponent, carrier)]
            if bias is not None:
                inputs.append(
                    self._float(f"{bias.name}_bias", self._biases(bias, _channels(bias, node), unit), carrier)
                )
            self._edge(bias or node, operator, inputs, made, attributes)
        else:
            inputs = [form.tensor, self._weights(f"{node.name}_weight", weight, exponent)]
            self._beside_quantised(node, bias, operator, inputs, made, attributes)

    def _beside_quantised(
        self, dense: Node, bias: Node | None, operator: str, inputs: list[str], made: Form, attributes: dict[str, Any]
    ) -> None:
        """Write products of quantised weights: what of the bias is whole steps of theirs is added with them.

        A Gemm without a bias would be given the operand of any Add after it by a runtime that fuses the two.
        """
        coarse, rest = np.zeros(dense.shape[-1], np.int64), None
        if bias is not None:
            shift = dense.fixed.fraction - _fraction(bias)
            integers = _channels(bias, dense)
            coarse = integers << shift if shift >= 0 else integers >> -shift
            fine = integers - (coarse >> shift if shift >= 0 else coarse << -shift)
            found = self._biases(bias, fine, made.unit)
            rest = found if found.any() else None
        name = f"{(bias or dense).name}_bias"
        if operator == "Gemm" or coarse.any():
            inputs.append(self._dequantised(name, coarse.astype(np.int32), made.unit - dense.fixed.fraction))
        if bias is None or rest is None:
            self._edge(bias or dense, operator, inputs, made, attributes)
            return
        products = self._add(operator, inputs, dense.name, attributes)
        constant = self._float(f"{name}_rest", _laid_out(rest, made.layout, len(bias.shape)), made.carrier)
        self._edge(bias, "Add", [products, constant], made, {})

    def _edge(self, node: Node, operator: str, inputs: list[str], form: Form, attributes: dict[str, Any]) -> None:
        self.forms[node.name] = replace(form, tensor=self._add(operator, inputs, node.name, attributes))

    def _biases(self, bias: Node, integers: Integers, unit: int) -> NDArray[np.float64]:
        """Return a bias in its unit, with what it adds for the rounding after it."""
        source = self.graph.by_name[bias.inputs[0]].fixed.fraction
        halves = self.plan.offsets.get(bias.name, 0) * 2.0 ** (unit - max(source, _fraction(bias)) - 1)
        found: NDArray[np.float64] = integers * 2.0 ** (unit - _fraction(bias)) + halves
        return found

    def _with_constant(self, node: Node) -> None:
        form = self.asked(node.inputs[0], carrier=self.plan.carriers[node.name])
        if form.layout == ROWS and not of_channels(node):
            form = self._laid_out(node.inputs[0], form, PLAIN)
        integers = _laid_out(_constant(node), form.layout, len(node.shape))
        if node.kind is Kind.BIAS:
            constant = self._float(f"{node.name}_bias", self._biases(node, integers, form.unit), form.carrier)
            self._made(node, "Add", [form], (constant,))
            return
        unit = self.plan.units[node.name]
        factor = integers.astype(np.float64) * 2.0 ** (unit - form.unit - _fraction(node))
        self._made(node, "Mul", [form], (self._float(f"{node.name}_factor", factor, form.carrier),), unit=unit)

    def _sum_of_two(self, node: Node) -> None:
        carrier, unit = self.plan.carriers[node.name], self.plan.units[node.name]
        layouts = [self.forms[name].layout for name in node.inputs]
        layout = CHANNELS_FIRST if CHANNELS_FIRST in layouts else layouts[0] if len(set(layouts)) == 1 else PLAIN
        self._made(node, "Add", [self.asked(name, layout, carrier, unit) for name in node.inputs])

    def _moved(self, node: Node) -> None:
        """Write what sums, joins, takes and moves elements, all of which know the axes of the Graph."""
        carrier = self.plan.carriers[node.name]
        axis = 0 if node.axis is None else node.axis + 1
        if node.kind is Kind.CONCAT:
            unit = self.plan.units[node.name]
            self._made(node, "Concat", [self.asked(name, PLAIN, carrier, unit) for name in node.inputs], axis=axis)
            return
        edge = node.inputs[0]
        if node.kind is Kind.RESHAPE and self.forms[edge].layout == ROWS:
            form = self.asked(edge, ROWS, carrier)
        else:
            form = self.asked(edge, PLAIN, carrier)
        if node.kind is Kind.SUM:
            axes = self._constant(f"axes_{axis}", np.array([axis]))
            self._made(node, "ReduceSum", [form], (axes,), keepdims=0)
        elif node.kind is Kind.TAKE and node.rows is not None:
            self._made(node, "Gather", [form], (self._constant(f"{node.name}_rows", node.rows),), axis=axis)
        elif node.kind is Kind.RESHAPE:
            self._made(node, "Reshape", [form], (self._shape(node.shape),), PLAIN)
            self.forms[node.name] = replace(self.forms[node.name], quantised=form.quantised)
        else:
            self._window(node, form)

    def _window(self, node: Node, form: Form) -> None:
        """Gather every pixel's neighbours by number; those beyond the edges are one more pixel, of zeros."""
        height, width, channels = self.graph.by_name[node.inputs[0]].shape
        numbers = windows(np.arange(height * width).reshape(height, width, 1), node.window or (1, 1), height * width)
        flat = self._add("Reshape", [form.tensor, self._shape((height * width, channels))], f"{node.name}_pixels")
        pads = self._constant("one_pixel_more", np.array([0, 0, 0, 0, 1, 0]))
        padded = self._add("Pad", [flat, pads], f"{node.name}_padded")
        rows = self._constant(f"{node.name}_neighbours", numbers.reshape(-1))
        found = self._add("Gather", [padded, rows], f"{node.name}_gathered", {"axis": 1})
        self._made(node, "Reshape", [replace(form, tensor=found)], (self._shape(node.shape),), PLAIN)

    # Rounding ----------------------------------------------------------------------------------

    def _requantise(self, node: Node, rounded: Rounded) -> None:
        carrier = self.plan.carriers[node.name]
        stored = _stored(rounded)
        pair = self.plan.style == QDQ and carrier == SINGLE and stored is not None and rounded.overflows is None
        work = self.asked(rounded.source, carrier=carrier)
        pair = pair and not work.quantised  # of two pairs in a row a runtime makes one, which rounds once
        if not pair:
            work = self.asked(rounded.source, carrier=carrier, unit=node.fixed.fraction)
        work = self._with_offset(node, rounded, work)
        if pair and stored is not None:
            self._quantised(node, rounded, work, stored)
            return
        tensor = work.tensor
        source = self.graph.by_name[rounded.source].fixed.fraction
        if source > node.fixed.fraction:
            tensor = self._add("Round", [tensor], f"{node.name}_rounded")
        tensor = self._bounded(node, tensor, rounded.low, rounded.high, 1.0, carrier)
        if rounded.overflows is not None:
            tensor = self._overflowed(node.name, tensor, node.fixed, carrier, rounded.overflows)
        self.forms[node.name] = replace(work, tensor=self._named(node.name, tensor), quantised=False)

    def _with_offset(self, node: Node, rounded: Rounded, work: Form) -> Form:
        """Add what makes half to even the wanted rounding, where no bias did."""
        name, half = node.name, 2.0 ** (work.unit - self.graph.by_name[rounded.source].fixed.fraction - 1)
        tensor = work.tensor
        if rounded.signed_halves:
            sign = self._add("Sign", [tensor], f"{name}_sign")
            factor = self._float(f"{name}_signed_half", rounded.signed_halves * half, work.carrier)
            tensor = self._add("Add", [tensor, self._add("Mul", [sign, factor], f"{name}_sided")], f"{name}_moved")
        elif rounded.halves and rounded.source not in self.plan.offsets:
            offset = self._float(f"{name}_half", rounded.halves * half, work.carrier)
            tensor = self._add("Add", [tensor, offset], f"{name}_moved")
        return replace(work, tensor=tensor)

    def _quantised(self, node: Node, rounded: Rounded, work: Form, stored: tuple[type[np.integer[Any]], int]) -> None:
        """Quantise and dequantise; the type's own ends saturate where they are those of the format."""
        kind, point = stored
        ends = np.iinfo(kind)
        low = None if rounded.low == ends.min - point else rounded.low
        high = None if rounded.high == ends.max - point else rounded.high
        step = 2.0 ** (work.unit - node.fixed.fraction)
        tensor = self._bounded(node, work.tensor, low, high, step, work.carrier)
        zero = self._zero(kind, point)
        scale = self._float(f"scale_{work.unit - node.fixed.fraction}", step, SINGLE)
        quantised = self._add("QuantizeLinear", [tensor, scale, zero], f"{node.name}_quantised")
        back = self._float(f"scale_{-node.fixed.fraction}", node.fixed.step, SINGLE)
        tensor = self._add("DequantizeLinear", [quantised, back, zero], node.name)
        self.forms[node.name] = Form(tensor, work.layout, work.carrier, 0, quantised=True)

    def _bounded(self, node: Node, tensor: str, low: int | None, high: int | None, step: float, carrier: str) -> str:
        if low is None and high is None:
            return tensor
        least = "" if low is None else self._float(f"{node.name}_low", low * step, carrier)
        most = [] if high is None else [self._float(f"{node.name}_high", high * step, carrier)]
        return self._add("Clip", [tensor, least, *most] if most else [tensor, least], f"{node.name}_bounded")

    def _overflowed(self, name: str, tensor: str, fixed: Fixed, carrier: str, overflow: Overflow) -> str:
        low, high, size = float(fixed.low), float(fixed.high), 2.0**fixed.bits
        if overflow is Overflow.SAT_ZERO:
            ends = [self._float(f"{name}_{end}", value, carrier) for end, value in (("low", low), ("high", high))]
            inside = self._add(
                "Equal", [tensor, self._add("Clip", [tensor, *ends], f"{name}_clipped")], f"{name}_inside"
            )
            return self._add("Where", [inside, tensor, self._float(f"none_{carrier}", 0.0, carrier)], f"{name}_kept")
        above = tensor
        if low:
            above = self._add("Sub", [tensor, self._float(f"{name}_low", low, carrier)], f"{name}_above")
        part = self._add("Mul", [above, self._float(f"{name}_part", 1 / size, carrier)], f"{name}_turns")
        whole = self._add("Floor", [part], f"{name}_whole_turns")
        turned = self._add("Mul", [whole, self._float(f"{name}_size", size, carrier)], f"{name}_wrapped_off")
        return self._add("Sub", [tensor, turned], f"{name}_wrapped")

    def _named(self, name: str, tensor: str) -> str:
        """Give the newest operator's output the name of the edge that it holds."""
        others = {form.tensor for form in (*self.forms.values(), *self._converted.values())}
        if tensor in others:  # nothing was to be done
            return tensor
        self.nodes[-1].output[0] = name
        return name

    # Constants ---------------------------------------------------------------------------------

    def _weights(self, name: str, integers: Integers, exponent: int) -> str:
        if integers.min(initial=0) >= -128 and integers.max(initial=0) <= 127:
            return self._dequantised(name, (integers + 128).astype(np.uint8), exponent, 128)
        kind = np.int16 if np.abs(integers).max() < 1 << 15 else np.int32
        return self._dequantised(name, integers.astype(kind), exponent)

    def _dequantised(self, name: str, integers: NDArray[Any], exponent: int, point: int = 0) -> str:
        inputs = [
            self._constant(f"{name}_quantised", integers),
            self._float(f"scale_{exponent}", 2.0**exponent, SINGLE),
        ]
        if point:
            inputs.append(self._zero(integers.dtype.type, point))
        return self._add("DequantizeLinear", inputs, name)

    def _zero(self, kind: type[np.integer[Any]], point: int) -> str:
        return self._constant(f"zero_{kind.__name__}_{point}", np.array(point, kind))

    def _float(self, name: str, values: Any, carrier: str) -> str:
        return self._constant(name, np.asarray(values, carrier))

    def _shape(self, shape: tuple[int, ...]) -> str:
        return self._constant("shape_" + "_".join(map(str, ("n", *shape))), np.array([-1, *shape]))

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._initialisers[name] = array
        return name

    def _add(self, operator: str, inputs: list[str], output: str, attributes: dict[str, Any] | None = None) -> str:
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=f"{output}:{operator}", **(attributes or {}))
        )
        return output


def _constant(node: Node) -> Integers:
    if node.constant is None:
        raise ModelError(f"node '{node.name}' ({node.kind.value}): a constant must be there")
    return node.constant.integers


def _channels(bias: Node, dense: Node) -> Integers:
    """Return a bias with a number an output of a product."""
    return np.broadcast_to(_constant(bias).reshape(-1), (dense.shape[-1],))


def _fraction(node: Node) -> int:
    return 0 if node.constant is None else node.constant.fraction


def _stored(rounded: Rounded) -> tuple[type[np.integer[Any]], int] | None:
    """Return the narrowest type that holds a result, and its zero point; None where it is wider than 16 bits."""
    for kind, point in STORED:
        if np.iinfo(kind).min <= rounded.lowest + point and rounded.highest + point <= np.iinfo(kind).max:
            return kind, point
    return None


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
