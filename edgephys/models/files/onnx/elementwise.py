"""Rules of operators of each element: sums and products with constants, normalisation and float functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.models.files.fields import bounded, leaky, saturating
from edgephys.models.files.onnx.chains import Floats, FloatStep
from edgephys.models.files.onnx.constants import clip_ends
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import Known, dyadic, integers, power_of_two
from edgephys.models.files.onnx.pairs import joined
from edgephys.models.files.onnx.quantise import biased, times
from edgephys.models.files.onnx.reading import Edge, Reading, Value, Values, edge_of, known_of, laid
from edgephys.models.files.onnx.two_scales import have_two_scales, summed

SLOPE_BITS = 8
"""Bits of a slope that is a multiplication."""
BIAS_BITS = 48
"""Bits of a float bias that is added exactly at the end of a model."""
MINUS_ONE = Known(np.array(-1.0), "-1", quantised=True)


def settled(reading: Reading, operation: Operation, value: Value, bias_bits: int = 0) -> Edge:
    """Return an edge without float operators, for an operation that needs numbers: scales and ReLUs stay exact.

    ``bias_bits``: a float bias of an exact edge is added where it has as many bits.
    Raises: ModelError naming the float operator, and what would work.
    """
    edge = edge_of(operation, value)
    result = replace(edge, chain=())
    owner = reading.builder.layer(edge.name)
    for function in edge.chain:
        constant = function.constant
        if function.kind in ("multiply", "divide") and constant is not None and np.all(constant != 0):
            result = times(reading, owner, result, constant if function.kind == "multiply" else 1 / constant)
        elif function.kind == "Relu" and (result.scale is None or np.all(result.scale > 0)):
            result = replace(result, name=reading.builder.relu(owner, result.name))
        elif function.kind == "add" and result.scale is None and constant is not None and _bits(constant) <= bias_bits:
            whole, fraction = dyadic(constant)
            name = reading.builder.bias(owner, result.name, whole.astype(np.int64), fraction)
            result = replace(result, name=name)
        else:
            raise ModelError(
                f"node '{function.node}' ({reading.kind_of(function)}): its float result goes to '{operation.name}' "
                f"({operation.kind}), which no integers give exactly; put a Quant between them"
            )
    return result


def _bits(constant: Floats) -> int:
    whole, _ = dyadic(constant)
    return int(np.abs(whole).max(initial=0)).bit_length()


def together(reading: Reading, operation: Operation, values: list[Value]) -> list[Edge]:
    """Return edges of one scale; raise ModelError where they have scales that differ."""
    edges = [settled(reading, operation, value) for value in values]
    scales = [np.ones(()) if edge.scale is None else edge.scale for edge in edges]
    aligned = []
    for edge, scale in zip(edges, scales, strict=True):
        ratio = scale / scales[0]
        exponents = power_of_two(ratio)
        if exponents is None or np.unique(exponents).size != 1 or scale.ndim:
            shown = " and ".join(f"{float(own.flat[0]):g}" for own in (scales[0], scale))
            raise operation.refused(
                f"joins values of scales {shown}, of which no integers are a multiple; use one scale for all "
                f"(Brevitas: the same QuantIdentity before it)"
            )
        name, exponent = edge.name, int(exponents.flat[0])
        if exponent:
            name = reading.builder.scale(reading.builder.layer(name), name, np.array(1), -exponent)
        aligned.append(replace(edge, name=name, scale=edges[0].scale))
    return aligned


# Sums and products ------------------------------------------------------------------------------


def plus(reading: Reading, operation: Operation, edge: Edge, constant: Known, owner: str | None = None) -> Edge:
    """Return an edge plus a constant: exactly where it has few bits, else as a float operator."""
    if edge.exact:
        try:
            return biased(reading, operation, owner or reading.owner(operation, edge), edge, constant)
        except ModelError:
            _require_finite(operation, constant)
    return _then(reading, operation, edge, "add", constant)


def _then(reading: Reading, operation: Operation, edge: Edge, kind: str, constant: Known) -> Edge:
    _require_finite(operation, constant)
    numbers = laid(reading, operation, edge, constant).astype(np.float64)
    return edge.then(FloatStep(kind, operation.name, operation.inputs[0], numbers))


def _require_finite(operation: Operation, constant: Known) -> None:
    if not np.all(np.isfinite(constant.values)):
        raise operation.refused(f"'{constant.source}' comes to NaN or infinity; train the model again")


def _scaled(reading: Reading, operation: Operation, edge: Edge, factor: Known) -> Edge:
    if not edge.chain:
        try:
            number, fraction = integers(operation, factor, "factor")
        except ModelError:
            _require_finite(operation, factor)
        else:
            numbers = laid(reading, operation, edge, factor.of(number))
            if edge.scale is None or np.all(numbers == -1):
                owner = reading.owner(operation, edge)
                return replace(edge, name=reading.builder.scale(owner, edge.name, numbers, fraction))
    return _then(reading, operation, edge, "multiply", factor)


def add(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add two tensors, or a tensor and a constant."""
    if len(xs) != 2:
        raise operation.refused(f"expected 2 inputs, not {len(xs)}; add two at a time")
    first, second = xs
    if isinstance(first, Known):
        first, second = second, first
    if isinstance(second, Known):
        return plus(reading, operation, edge_of(operation, first), second)
    one, other = (settled(reading, operation, x) for x in (first, second))
    if have_two_scales(one, other):
        return summed(reading, operation, one, other)
    one, other = together(reading, operation, [one, other])
    return joined(reading, operation, one, other, reading.builder.add)


def subtract(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Subtract the second tensor or constant from the first."""
    first, second = xs
    if isinstance(second, Known):
        return add(reading, operation, [first, second.of(-second.values)])
    if second.chain:
        return add(reading, operation, [first, _scaled(reading, operation, second, MINUS_ONE)])
    negative = reading.builder.scale(reading.layer(operation, "_minus"), second.name, np.array(-1), 0)
    return add(reading, operation, [first, replace(second, name=negative)])


def multiply(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Multiply a tensor by a constant, or two tensors."""
    first, second = xs
    if isinstance(first, Known):
        first, second = second, first
    if isinstance(second, Edge):
        one, other = (settled(reading, operation, x) for x in (first, second))
        if any(edge.scale is not None and edge.scale.ndim for edge in (one, other)):
            raise operation.refused(
                "reads values whose channels have scales of their own; put a Quant of one scale before it"
            )
        product = joined(reading, operation, one, replace(other, scale=None), reading.builder.mul)
        return (
            product
            if other.scale is None
            else times(reading, reading.builder.layer(product.name), product, other.scale)
        )
    return _scaled(reading, operation, edge_of(operation, first), known_of(operation, second, "factor"))


def divide(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Divide a tensor by a constant."""
    edge, divisor = edge_of(operation, xs[0]), known_of(operation, xs[1], "divisor")
    if np.any(divisor.values == 0):
        raise operation.refused(f"its divisor '{divisor.source}' must not be 0; train the model again")
    if edge.exact and power_of_two(np.abs(divisor.values)) is not None:
        inverse = replace(divisor, values=1.0 / divisor.values.astype(np.float64), quantised=True)
        return _scaled(reading, operation, edge, inverse)
    return _then(reading, operation, edge, "divide", divisor)


def negate(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Change the sign."""
    return _scaled(reading, operation, edge_of(operation, xs[0]), MINUS_ONE)


def normalise(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a BatchNormalization as one factor and one shift a channel where they have few bits, else as floats."""
    edge = edge_of(operation, xs[0])
    dtype: Any = np.float64 if reading.double else np.float32
    gamma, beta, mean, variance = (known_of(operation, x, "parameters").values.astype(dtype) for x in xs[1:5])
    if len(edge.axes) == 0 or gamma.shape != (reading.shape(edge)[0],):
        raise operation.refused(f"expected {reading.shape(edge)[:1]} channels, not {gamma.shape}; export it again")
    if operation.attributes.get("training_mode", 0):
        raise operation.refused("is in training mode; export the model in evaluation mode")
    epsilon = dtype(np.float32(operation.attributes.get("epsilon", 1e-5)))
    tail = (1,) * (len(edge.axes) - 1)

    def known(values: object) -> Known:
        return Known(np.asarray(values).reshape(-1, *tail), operation.inputs[1])

    with np.errstate(all="ignore"):  # what becomes infinite is refused
        factor = gamma / np.sqrt(variance + epsilon)
        shift = beta - mean * factor
    for numbers in (known(factor), known(shift)):
        _require_finite(operation, numbers)
    if edge.exact:
        try:
            integers(operation, known(factor), "factor"), integers(operation, known(shift), "shift")
            edge = _scaled(reading, operation, edge, known(factor))
            return biased(reading, operation, reading.owner(operation, edge), edge, known(shift))
        except ModelError:
            pass  # floats, as they mostly are
    deviation = np.sqrt(variance + epsilon)
    for kind, values in (("add", -mean), ("multiply", gamma), ("divide", deviation), ("add", beta)):
        edge = _then(reading, operation, edge, kind, known(values))
    return edge


# Functions --------------------------------------------------------------------------------------


def relu(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Replace negative values by 0."""
    edge = edge_of(operation, xs[0])
    if edge.chain or (edge.scale is not None and np.any(edge.scale < 0)):
        return edge.then(FloatStep("Relu", operation.name, operation.inputs[0]))
    return replace(edge, name=reading.builder.relu(reading.owner(operation, edge), edge.name))


def leaky_relu(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Multiply negative values by a slope: exactly where it has few bits."""
    edge, slope = edge_of(operation, xs[0]), float(np.float32(operation.attributes.get("alpha", 0.01)))
    whole, fraction = dyadic(np.array(slope))
    if edge.chain or (edge.scale is not None and np.any(edge.scale < 0)) or not 0 <= fraction <= SLOPE_BITS:
        return edge.then(FloatStep("LeakyRelu", operation.name, operation.inputs[0], more=(slope,)))
    owner = reading.owner(operation, edge)
    return replace(edge, name=leaky(reading.builder, owner, edge.name, int(whole), fraction))


def clip(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Keep values between two ends, which may be open."""
    edge, (low, high) = edge_of(operation, xs[0]), clip_ends(operation, xs)
    if edge.grid is not None:
        step, zero = edge.grid
        low, high = ((None if end is None else (end - zero) * step) for end in (low, high))
    if low is None and high is None:
        return edge
    if not edge.chain and (edge.scale is None or (edge.scale.ndim == 0 and edge.scale > 0)):
        unit = 2.0 ** reading.builder.fraction(edge.name) / (1.0 if edge.scale is None else float(edge.scale))
        ends = [None if end is None else end * unit for end in (low, high)]
        if all(end is None or (abs(end - round(end)) < 1e-9 and abs(end) < 1 << 40) for end in ends):
            least, most = (None if end is None else round(end) for end in ends)
            owner = reading.owner(operation, edge)
            fixed = saturating(least, most, reading.builder.fraction(edge.name))
            if fixed is not None:
                return replace(edge, name=reading.builder.requantise(owner, edge.name, fixed))
            return replace(
                edge, name=bounded(reading.builder, reading.staircases.emulated, owner, edge.name, least, most)
            )
    more = (-np.inf if low is None else low, np.inf if high is None else high)
    return edge.then(FloatStep("Clip", operation.name, operation.inputs[0], more=more))


def function(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Keep a float function for the quantiser behind it."""
    edge, attributes = edge_of(operation, xs[0]), operation.attributes
    settings = {
        "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
        "Elu": (("alpha", 1.0),),
        "Selu": (("alpha", 1.6732631921768188), ("gamma", 1.0507010221481323)),
    }.get(operation.kind, ())
    more = tuple(float(np.float32(attributes.get(name, end))) for name, end in settings)
    constant = None
    if operation.kind == "PRelu":
        constant = laid(reading, operation, edge, known_of(operation, xs[1], "slope")).astype(np.float64)
    if operation.kind == "Gelu" and attributes.get("approximate", b"none") != b"none":
        raise operation.refused("approximate must be none; export it so")
    return edge.then(FloatStep(operation.kind, operation.name, operation.inputs[0], constant, more))
