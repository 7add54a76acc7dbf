"""Lower a Keras model of QKeras layers to the Graph, or refuse it by name.

Every quantiser is read as a Fixed format and then tried on a grid of probe values, ties and ends
included: a quantiser that rounds otherwise than its format says is refused, not approximated. Every
accumulator must fit float32's 24 bits, so that Keras' own sums are exact in any order: then and only
then can all targets be compared with Keras bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive
from edgephys.networks import kernels
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import ChannelActivation, ConstituentMean, FrameSum, Pairs, ReceivedSum, reciprocal

FLOAT32_BITS = 24
CHANNEL_MODES = (Rounding.RND_CONV, Overflow.SAT)
"""How a ChannelActivation rounds and overflows."""


def lower(model: Any, input_format: Fixed, name: str) -> Graph:
    """Return the checked Graph of a Keras model whose inputs are values of ``input_format``.

    Raises: ModelError naming the layer that cannot be computed exactly, and what would work.
    """
    graph_of: dict[int, str] = {}
    keras_layers: dict[str, str] = {}  # layer of the graph -> the Keras layer that ends it
    unclipped: set[str] = set()
    builder = Builder(name)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"model '{name}': expected 1 input and 1 output, not {len(model.inputs)}, {len(model.outputs)}"
        )
    for layer, node in _calls(model):
        if isinstance(layer, keras.layers.InputLayer):
            shape = tuple(layer.batch_shape[1:])
            graph_of[id(node.outputs[0])] = builder.input(layer.name, shape, input_format)
            continue
        xs = tuple(graph_of[id(tensor)] for tensor in node.arguments.keras_tensors)
        rule = RULES.get(type(layer).__name__)
        if rule is None:
            raise ModelError(
                f"layer '{layer.name}': {type(layer).__name__} cannot be computed exactly; "
                f"use one of {', '.join(sorted(RULES))}"
            )
        result = rule(builder, layer, xs)
        graph_of[id(node.outputs[0])] = result
        keras_layers[builder.layer(result)] = layer.name
        if type(getattr(layer, "activation", None)).__name__ == "quantized_bits":
            unclipped.add(result)
    graph = builder.finish(graph_of[id(model.outputs[0])], metadata={"keras_layers": keras_layers})
    _require_exact_in_keras(graph, unclipped)
    return graph


def _calls(model: Any) -> list[tuple[Any, Any]]:
    """Return (layer, node) of every call, in an order in which inputs come first."""
    model = getattr(model, "_functional", model)
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [(node.operation, node) for depth in depths for node in model._nodes_by_depth[depth]]


def _require_exact_in_keras(graph: Graph, unclipped: set[str]) -> None:
    """Refuse sums that float32 rounds; ``unclipped`` are roundings that QKeras computes as x + (rounded - x)."""
    ranges = derive(graph)
    for node in graph.nodes:
        bits = ranges[node.name].partial.bit_length()
        if bits > FLOAT32_BITS:
            raise ModelError(
                f"layer '{node.layer}': its accumulator needs {bits} bits, but Keras sums in float32, which holds "
                f"{FLOAT32_BITS} exactly; use fewer weight or activation bits, or fewer inputs to the layer"
            )
        if node.name in unclipped:  # that difference is taken in the finer of the two steps
            source = graph.operands(node)[0]
            finer = max(0, node.fixed.fraction - source.fixed.fraction)
            bits = ranges[source.name].partial.bit_length() + finer
            if bits > FLOAT32_BITS:
                raise ModelError(
                    f"layer '{node.layer}': Keras subtracts what it rounds to {node.fixed} in float32, which needs "
                    f"{bits} bits and holds {FLOAT32_BITS} exactly; use fewer activation bits, or quantized_relu"
                )


def _dense(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    quantiser = kernels.quantiser_of(layer)
    if quantiser is None:
        quantised = f"Q{type(layer).__name__.removeprefix('Q')}"
        raise ModelError(
            f"layer '{layer.name}': its kernel has no quantiser; use {quantised} with quantized_bits(bits, 0, alpha=1)"
        )
    weights, fraction = _integers(layer, "kernel", kernels.kernel_of(layer), quantiser)
    out = builder.dense(layer.name, xs[0], kernels.matrix(layer, weights), fraction)
    if layer.use_bias:
        if layer.bias_quantizer_internal is None:
            raise ModelError(
                f"layer '{layer.name}': its bias has no quantiser; use bias_quantizer=quantized_bits(bits, 0, alpha=1)"
            )
        out = builder.bias(layer.name, out, *_integers(layer, "bias", layer.bias, layer.bias_quantizer_internal))
    return _activated(builder, layer.name, layer.name, layer.activation, out)


def _convolution(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    """Write a convolution as a window, a layer of its own, and a product that is the same for every pixel."""
    for setting, required, value in (
        ("padding", "same", layer.padding.lower()),
        ("strides", (1, 1), tuple(layer.strides)),
        ("dilation_rate", (1, 1), tuple(layer.dilation_rate)),
        ("data_format", "channels_last", layer.data_format),
        ("groups", 1, getattr(layer, "groups", 1)),
        ("depth_multiplier", 1, getattr(layer, "depth_multiplier", 1)),
        ("mask", None, layer.get_config().get("mask")),
    ):
        if value != required:
            raise ModelError(
                f"layer '{layer.name}': {setting} must be {required!r}, not {value!r}; set {setting}={required!r}"
            )
    return _dense(builder, layer, (builder.window(f"{layer.name}_window", xs[0], tuple(layer.kernel_size)),))


def _integers(layer: Any, which: str, values: Any, quantiser: Any) -> tuple[Integers, int]:
    fixed = _format(f"layer '{layer.name}' {which}", quantiser)
    values = keras.ops.convert_to_numpy(quantiser(values)).astype(np.float64) * 2.0**fixed.fraction
    whole = np.rint(values).astype(np.int64)
    if np.any(whole != values) or not fixed.holds(int(whole.min()), int(whole.max())):
        raise ModelError(f"layer '{layer.name}': quantised {which} must be values of {fixed}, but some are not")
    return whole, fixed.fraction


def _activation(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    """Add an activation to the layer whose result it rounds, which then names it in reports and modules."""
    return _activated(builder, layer.name, builder.layer(xs[0]), layer.activation, xs[0])


def _activated(builder: Builder, name: str, owner: str, activation: Any, x: str) -> str:
    kind = type(activation).__name__
    if activation is None or getattr(activation, "__name__", "") == "linear":
        return x
    if kind not in ("quantized_relu", "quantized_bits"):
        label = getattr(activation, "__name__", kind)
        raise ModelError(
            f"layer '{name}': activation {label} cannot be computed exactly; "
            f"use quantized_relu(bits, integer) or quantized_bits(bits, integer, alpha=1)"
        )
    if kind == "quantized_relu":
        x = builder.relu(owner, x)
    return builder.requantise(owner, x, _format(f"layer '{name}'", activation))


def _channels(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    """Round the channels of each format together: take them apart, requantise, and join them again."""
    (x,) = xs
    owner, axis = builder.layer(x), len(builder.shape(x)) - 1
    formats = layer.formats()
    if len(formats) != builder.shape(x)[-1]:
        raise ModelError(
            f"layer '{layer.name}': it has formats for {len(formats)} channels, but reads {builder.shape(x)[-1]}"
        )
    if not layer.signed:
        x = builder.relu(owner, x)
    parts, places = [], []
    for integer, fraction in sorted(set(formats)):
        fixed = Fixed(layer.signed, layer.signed + integer + fraction, layer.signed + integer, *CHANNEL_MODES)
        rows = [at for at, own in enumerate(formats) if own == (integer, fraction)]
        if len(rows) == len(formats):
            return builder.requantise(owner, x, fixed)
        parts.append(builder.requantise(owner, builder.take(owner, x, rows, axis), fixed))
        places += rows
    return builder.take(owner, builder.concat(owner, tuple(parts), axis), np.argsort(places), axis)


def _format(where: str, quantiser: Any) -> Fixed:
    """Return the Fixed of a QKeras quantiser, tried on probes; raise ModelError where it has none."""
    kind = type(quantiser).__name__
    config = quantiser.get_config() if hasattr(quantiser, "get_config") else {}
    if kind == "quantized_bits":
        if config["alpha"] not in (1, 1.0) or config.get("post_training_scale") is not None:
            raise ModelError(f"{where}: quantized_bits needs alpha=1, not {config['alpha']!r}; set alpha=1")
        signed = bool(config["keep_negative"])
        overflow = Overflow.SAT_SYM if config["symmetric"] and signed else Overflow.SAT
        fixed = Fixed(signed, config["bits"], config["integer"] + signed, Rounding.RND_CONV, overflow)
    elif kind == "quantized_relu":
        if config["negative_slope"] or config["use_sigmoid"] or config["relu_upper_bound"] is not None:
            raise ModelError(
                f"{where}: quantized_relu must have no negative_slope, use_sigmoid or relu_upper_bound; leave them out"
            )
        fixed = Fixed(False, config["bits"], config["integer"], Rounding.RND_CONV, Overflow.SAT)
    else:
        raise ModelError(f"{where}: quantiser {kind} cannot be computed exactly; use quantized_bits or quantized_relu")
    if config["use_stochastic_rounding"] or config["qnoise_factor"] != 1.0:
        raise ModelError(f"{where}: stochastic rounding and quantisation noise must be off; set qnoise_factor=1.0")
    _probe(where, quantiser, fixed)
    return fixed


def _probe(where: str, quantiser: Any, fixed: Fixed) -> None:
    """Compare the quantiser itself with the format on quarter steps around zero, the ends and between."""
    steps = np.unique(np.concatenate([np.linspace(fixed.low - 3, fixed.high + 3, 64).round(), np.arange(-9, 10)]))
    quarters = (steps[:, None] + np.arange(4) / 4).ravel()
    values: NDArray[np.float32] = (quarters * fixed.step).astype(np.float32)
    if type(quantiser).__name__ == "quantized_relu":
        values = np.maximum(values, 0)
    received = keras.ops.convert_to_numpy(quantiser(values)).astype(np.float64) / fixed.step
    wrong = np.flatnonzero(received != fixed.quantise(values))
    if wrong.size:
        value, result = float(values[wrong[0]]), received[wrong[0]] * fixed.step
        raise ModelError(
            f"{where}: {type(quantiser).__name__} turns {value:g} into {result:g}, but {fixed} "
            f"gives {fixed.quantise(value) * fixed.step:g}; this quantiser setting has no exact firmware"
        )


def _mean(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    count = builder.shape(xs[0])[0]
    total = builder.sum(layer.name, xs[0], 0)
    integer, fraction = reciprocal(count)
    return builder.scale(layer.name, total, np.array(integer), fraction)


def _pairs(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    """Take both rows of every pair, in layers of their own, and add them; the addition is the same for every pair."""
    count = builder.shape(xs[0])[0]
    pairs = ~np.eye(count, dtype=bool)
    receivers, senders = (index.reshape(count, count - 1) for index in np.nonzero(pairs))
    received = builder.take(f"{layer.name}_receivers", xs[0], receivers, 0)
    sent = builder.take(f"{layer.name}_senders", xs[1], senders, 0)
    return builder.add(layer.name, received, sent)


def _received(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    return builder.sum(layer.name, xs[0], 1)


def _frame_sum(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    return builder.dense(layer.name, xs[0], np.array(layer.factors)[:, None], 0)


def _flatten(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    size = int(np.prod(builder.shape(xs[0])))
    return builder.reshape(layer.name, xs[0], (size,))


def _reshape(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    return builder.reshape(layer.name, xs[0], tuple(layer.compute_output_shape((None, *builder.shape(xs[0])))[1:]))


def _concat(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    rank = len(builder.shape(xs[0]))
    axis = layer.axis - 1 if layer.axis >= 0 else rank + layer.axis
    if axis < 0:
        raise ModelError(f"layer '{layer.name}': axis must not be the batch; use axis 1 and over, or -1")
    return builder.concat(layer.name, xs, axis)


def _add(builder: Builder, layer: Any, xs: tuple[str, ...]) -> str:
    if len(xs) != 2:
        raise ModelError(f"layer '{layer.name}': expected 2 inputs, not {len(xs)}; add two at a time")
    return builder.add(layer.name, *xs)


RULES: dict[str, Callable[[Builder, Any, tuple[str, ...]], str]] = {
    "Dense": _dense,
    qkeras.QDense.__name__: _dense,
    "Conv2D": _convolution,
    qkeras.QConv2D.__name__: _convolution,
    "DepthwiseConv2D": _convolution,
    qkeras.QDepthwiseConv2D.__name__: _convolution,
    "Add": _add,
    qkeras.QActivation.__name__: _activation,
    ChannelActivation.__name__: _channels,
    ConstituentMean.__name__: _mean,
    Pairs.__name__: _pairs,
    ReceivedSum.__name__: _received,
    FrameSum.__name__: _frame_sum,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Concatenate": _concat,
}
