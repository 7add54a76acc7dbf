"""Activations and normalisations: exact ones, quantisers, and float ones that the next quantiser takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.models.files.fields import leaky as exact_leaky
from edgephys.models.files.keras import softmaxes
from edgephys.models.files.keras.quantisers import fraction_of, rounded
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.models.files.keras.scales import WIDEST_WEIGHT
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import SIGNS

FLOAT = (
    *("sigmoid", "log_sigmoid", "hard_sigmoid", "tanh", "hard_tanh", "softplus", "softsign", "exponential", "mish"),
    *("hard_shrink", "soft_shrink", "tanh_shrink", "sparse_plus", "sparse_sigmoid"),
    *("elu", "selu", "celu", "gelu", "silu", "swish", "hard_silu", "hard_swish", "relu6", "leaky_relu", "squareplus"),
)
"""Activations of each element alone; they are computed with the quantiser that follows."""
BITS_OF_SLOPE = 8
CHANNEL_MODES = (Rounding.RND_CONV, Overflow.SAT)
"""How a ChannelActivation rounds and overflows."""


def activation(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add an activation to the layer whose result it rounds, which then names it in reports and modules."""
    return activated(reading, layer, reading.builder.layer(values[0].edge), values[0], layer.activation)


def quantised(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add the quantiser of a QActivation, which may be stated in words."""
    function = layer.activation
    if isinstance(function, str):
        function = qkeras.get_quantizer(function)
    return activated(
        reading, layer, reading.builder.layer(values[0].edge), values[0], getattr(layer, "quantizer", function)
    )


def activated(reading: KerasReading, layer: Any, owner: str, value: KerasValue, function: Any) -> KerasValue:
    """Return a value after an activation function, whose nodes stand in layer ``owner``."""
    name = getattr(function, "__name__", type(function).__name__)
    if function is None or name == "linear":
        return value
    if type(function).__module__.startswith("qkeras"):
        return rounded(reading, owner, value, function, layer.name)
    if function in SIGNS:
        return rounded(reading, owner, value, function, layer.name)
    if name == "relu":
        if value.pending:
            return reading.later(layer, value, keras.activations.relu)
        return KerasValue(reading.builder.relu(owner, value.edge))
    if name in FLOAT:
        return reading.later(layer, value, function)
    if name == "softmax":
        return softmaxes.pending(layer, value)
    raise ModelError(
        f"layer '{layer.name}': activation {name} cannot be computed exactly; "
        f"use quantized_relu(bits, integer) or quantized_bits(bits, integer, alpha=1)"
    )


def relu(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add a ReLU layer, with a bound or slope as Keras has them."""
    (value,), config = values, layer.get_config()
    plain = not (config.get("negative_slope") or config.get("threshold")) and not value.pending
    bound = config.get("max_value")
    steps = None if bound is None else float(bound) * 2.0 ** reading.builder.fraction(value.edge)
    if not plain or (steps is not None and (steps != int(steps) or steps < 1)):
        return reading.later(layer, value)
    edge = reading.builder.relu(layer.name, value.edge)
    return KerasValue(edge if steps is None else _at_most(reading, layer.name, edge, int(steps)))


def _at_most(reading: KerasReading, name: str, edge: str, bound: int) -> str:
    """Return min(x, bound) of an edge that is not negative: x + offset saturates where x reaches the bound."""
    builder, fraction = reading.builder, reading.builder.fraction(edge)
    bits = bound.bit_length()
    offset = (1 << bits) - 1 - bound
    form = Fixed(False, bits, bits - fraction, Rounding.TRN, Overflow.SAT)
    if not offset:
        return builder.requantise(name, edge, form)
    moved = builder.bias(name, edge, np.array(offset), fraction)
    saturated = builder.requantise(name, moved, form)
    reading.emulated.update((moved, saturated))
    return builder.bias(name, saturated, np.array(-offset), fraction)


def leaky(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add max(x, 0) - slope * max(-x, 0): exact where the slope has few bits."""
    (value,), slope = values, float(layer.negative_slope)
    fraction = fraction_of(np.array(slope))
    if value.pending or fraction is None or fraction > BITS_OF_SLOPE:
        return reading.later(layer, value)
    return KerasValue(exact_leaky(reading.builder, layer.name, value.edge, int(slope * 2**fraction), fraction))


def elementwise(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add a float function of each element or channel: the next quantiser takes it in."""
    rank = len(reading.shape(values[0]))
    axis = getattr(layer, "axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if set(axes) - {None, -1, rank}:
        raise ModelError(f"layer '{layer.name}': axis must be -1, the channels, not {axis}")
    return reading.later(layer, values[0])


def parametric(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add a PReLU whose slopes are those of the channels."""
    slopes = tuple(layer.alpha.shape)
    if slopes[:-1] != (1,) * (len(slopes) - 1):
        raise ModelError(
            f"layer '{layer.name}': its slopes must be of the channels alone, not of shape {slopes}; set shared_axes "
            f"to the other axes"
        )
    return reading.later(layer, values[0])


def rescaled(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Multiply and add numbers, one or one a channel: exactly where they have few bits."""
    (value,) = values
    if value.pending or any(np.ndim(number) > 1 for number in (layer.scale, layer.offset)):
        return reading.later(layer, value)
    numbers = [np.asarray(np.float32(number), np.float64) for number in (layer.scale, layer.offset)]
    fractions = [fraction_of(np.atleast_1d(number)) for number in numbers]
    whole = [np.rint(np.ldexp(n, f or 0)).astype(np.int64) for n, f in zip(numbers, fractions, strict=True)]
    if None in fractions or max(int(np.abs(n).max()) for n in whole) >= 1 << (WIDEST_WEIGHT - 1):
        return reading.later(layer, value)
    builder, name = reading.builder, layer.name
    result = builder.scale(name, value.edge, whole[0], fractions[0] or 0)
    return KerasValue(builder.bias(name, result, whole[1], fractions[1] or 0) if whole[1].any() else result)


def dropped(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Leave out a layer that does nothing after training."""
    reading.dropped.append(f"{layer.name} ({type(layer).__name__})")
    return values[0]


def channels(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Round the channels of each format together: take them apart, requantise, and join them again."""
    builder, x = reading.builder, reading.edge(layer, values[0])
    owner = builder.layer(x)
    formats = layer.formats()
    if len(formats) != builder.shape(x)[-1]:
        raise ModelError(
            f"layer '{layer.name}': it has formats for {len(formats)} channels, but reads {builder.shape(x)[-1]}"
        )
    if not layer.signed:
        x = builder.relu(owner, x)
    signed = int(layer.signed)
    records = [(signed, signed + integer + fraction, signed + integer) for integer, fraction in formats]
    return KerasValue(_by_format(builder, owner, x, np.array(records), CHANNEL_MODES))


def fixed_rounding(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Round every element to its format; where floats are rounded, that is one function of an integer per channel."""
    (value,), shape = values, reading.shape(values[0])
    owner = reading.builder.layer(value.edge)
    weights = [
        keras.ops.convert_to_numpy(w).astype(np.int64) for w in (layer.keep_negative, layer.bits, layer.integers)
    ]
    records = np.stack([np.broadcast_to(weight, (1, *shape))[0] for weight in weights], axis=-1)
    if value.pending:
        if np.any(records != records[(0,) * (len(shape) - 1)]):
            raise ModelError(
                f"layer '{layer.name}': its formats differ between the rows of a float result; use one a channel"
            )
        return rounded(reading, owner, value, layer, layer.name)
    modes = Rounding(layer.rounding), Overflow(layer.overflow)
    return KerasValue(_by_format(reading.builder, owner, value.edge, records, modes))


def _by_format(builder: Builder, owner: str, x: str, records: Integers, modes: tuple[Rounding, Overflow]) -> str:
    """Round the elements of each format together: take them apart, requantise, and join them again.

    Shape: records (*that of x or of its channels, 3): signed, bits, integer, as in Fixed; without bits it is 0.
    """
    shape = builder.shape(x)
    if records.ndim > 2 and np.all(records == records.reshape(-1, *records.shape[-2:])[0]):
        records = records.reshape(-1, *records.shape[-2:])[0]  # the rows are alike
    if records.ndim > 2:
        flat = builder.reshape(owner, x, (records.size // 3,))
        return builder.reshape(owner, _by_format(builder, owner, flat, records.reshape(-1, 3), modes), shape)
    axis, parts, places = len(shape) - 1, [], []
    for signed, bits, integer in sorted(set(map(tuple, records.tolist())), key=lambda r: (r[2], r[1] - r[2])):
        rows = np.flatnonzero(np.all(records == (signed, bits, integer), axis=1)).tolist()
        part = x if len(rows) == len(records) else builder.take(owner, x, rows, axis)
        if bits > 0:
            part = builder.requantise(owner, part, Fixed(bool(signed), bits, integer, *modes))
        else:
            part = builder.scale(owner, part, np.array(0), 0)
        if len(rows) == len(records):
            return part
        parts.append(part)
        places += rows
    return builder.take(owner, builder.concat(owner, tuple(parts), axis), np.argsort(places), axis)
