"""Read a float Keras model as steps: products with their weights, sums, moves, ReLUs and other functions.

A step is one call of a layer. Activations stand in steps of their own, layers that do nothing after training are left
out, a separable convolution is two products, and a batch normalisation is folded into the product before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.names import unused
from edgephys.core.remedies import bring_in
from edgephys.models.files.keras.calls import functional, outputs_for
from edgephys.models.files.keras.operations import is_operation
from edgephys.networks.backend import keras
from edgephys.train.quantise.kinds import DROPPED, IN_TIME, KINDS, LAST, LEAKY, SLOPE_BITS, Kind
from edgephys.train.quantise.operations import as_layer

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """Hold one call of a layer: ``layer`` has its settings, ``sources`` are the steps that it reads.

    ``kernel`` and ``bias`` are those of a product, in the layer's shape; ``bound`` is that of a ReLU which has one,
    ``count`` the number of values of a mean or maximum.
    """

    name: str
    kind: Kind
    layer: Any
    sources: tuple[str, ...]
    kernel: Floats | None = None
    bias: Floats | None = None
    bound: float | None = None
    count: int = 1


@dataclass(frozen=True, eq=False)
class Network:
    """Hold the steps of a model by name, in an order in which sources come first.

    ``dropped`` and ``folded`` name layers that are no steps; ``changed`` says which functions became others.
    """

    steps: Mapping[str, Step]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dropped: tuple[str, ...]
    changed: tuple[str, ...]
    folded: tuple[str, ...]

    def readers(self, name: str) -> list[Step]:
        """Return the steps that read a step."""
        return [step for step in self.steps.values() if name in step.sources]

    def sources(self, step: Step) -> list[Step]:
        """Return the steps that a step reads."""
        return [self.steps[name] for name in step.sources]


_L = keras.layers


def network_of(model: Any) -> Network:
    """Return the steps of a float model; raise ModelError naming a layer that is not of the list, or is quantised."""
    model = functional(model)
    reader = _Reader()
    names = []
    for tensor in model.inputs:
        if any(length is None for length in tensor.shape[1:]):
            raise ModelError(
                f"model '{model.name}': input '{tensor.name}' must have a stated shape behind the batch, not "
                f"{tensor.shape[1:]}; state it in keras.Input"
            )
        names.append(reader.add(Step(tensor.name, Kind.INPUT, tensor, ())))
    outputs = reader.model(model, names)
    network = Network(reader.steps, tuple(names), tuple(outputs), tuple(reader.dropped), tuple(reader.changed), ())
    return _folded(_ended(network))


@dataclass(eq=False)
class _Reader:
    """Collect the steps of a model and of the models in it."""

    steps: dict[str, Step] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def add(self, step: Step) -> str:
        """Add a step and return its name, which gets a number where another step has it."""
        name = unused(step.name, self.steps)
        self.steps[name] = replace(step, name=name)
        return name

    def model(self, model: Any, sources: Sequence[str]) -> list[str]:
        """Return the names of a model's outputs for those of its inputs."""
        return outputs_for(model, sources, self.call)

    def call(self, layer: Any, node: Any, sources: Sequence[str]) -> list[str]:
        """Return the names of the outputs of a call."""
        if isinstance(layer, keras.Model):
            return self.model(functional(layer), sources)
        if is_operation(layer):
            layer = as_layer(layer, node) or layer
        elif isinstance(layer, _L.TimeDistributed) and isinstance(layer.layer, IN_TIME):
            layer = layer.layer
        shapes = [tensor.shape[1:] for tensor in node.arguments.keras_tensors]
        return [self.layer(layer, tuple(sources), shapes)]

    def layer(self, layer: Any, sources: tuple[str, ...], shapes: Sequence[tuple[int, ...]]) -> str:
        """Add the steps of a layer, which reads values of such shapes, and return the name of the last one."""
        if type(layer) in DROPPED:
            self.dropped.append(f"{layer.name} ({type(layer).__name__})")
            return sources[0]
        kind = KINDS.get(type(layer))
        if kind is None:
            raise _refusal(layer)
        if getattr(layer, "data_format", None) == "channels_first" and not isinstance(layer, _L.Flatten):
            raise ModelError(f"layer '{layer.name}': data_format must be channels_last, not channels_first; transpose")
        if kind is Kind.PRODUCT:
            return self.activation(layer.activation, layer, self.product(layer, sources), f"{layer.name}_")
        if isinstance(layer, _L.Normalization):
            return self.add(Step(layer.name, kind, _rescaling(layer), sources))
        if isinstance(layer, _L.Activation):
            return self.activation(layer.activation, layer, sources[0])
        if isinstance(layer, _L.Softmax):
            return self.add(Step(layer.name, Kind.LAST, layer, sources))
        if isinstance(layer, _L.ReLU) and not (layer.negative_slope or layer.threshold):
            return self.add(Step(layer.name, Kind.RELU, layer, sources, bound=layer.max_value))
        if isinstance(layer, _L.LeakyReLU):
            return self.leaky(layer.name, float(layer.negative_slope), sources)
        if isinstance(layer, _L.ReLU) and not layer.threshold and layer.max_value is None:
            return self.leaky(layer.name, float(layer.negative_slope), sources)
        return self.add(Step(layer.name, kind, layer, sources, count=_count(layer, shapes)))

    def product(self, layer: Any, sources: tuple[str, ...]) -> str:
        """Add a product; a separable convolution is a depthwise one and a pointwise one."""
        weights = [array_of(weight) for weight in layer.weights]
        bias = weights.pop() if layer.use_bias else None
        if isinstance(layer, (_L.SeparableConv2D, _L.SeparableConv1D, _L.DepthwiseConv1D)):
            first = self.depthwise(layer, sources, weights[0], None if len(weights) > 1 else bias)
            if len(weights) == 1:
                return first
            points = (_L.Conv1D if isinstance(layer, _L.SeparableConv1D) else _L.Conv2D)(layer.filters, 1)
            return self.add(Step(layer.name, Kind.PRODUCT, points, (first,), weights[1], bias))
        return self.add(Step(layer.name, Kind.PRODUCT, layer, sources, weights[0], bias))

    def depthwise(self, layer: Any, sources: tuple[str, ...], kernel: Floats, bias: Floats | None) -> str:
        """Add a depthwise convolution; a 1-D one is a convolution of as many groups as channels, which QKeras has."""
        name = layer.name if isinstance(layer, _L.DepthwiseConv1D) else f"{layer.name}_depthwise"
        settings = {key: getattr(layer, key) for key in ("kernel_size", "strides", "padding", "dilation_rate")}
        if kernel.ndim == 4:
            settings |= {"depth_multiplier": layer.depth_multiplier}
            return self.add(Step(name, Kind.PRODUCT, _L.DepthwiseConv2D(**settings), sources, kernel, bias))
        points, channels, multiple = kernel.shape
        grouped = _L.Conv1D(channels * multiple, groups=channels, **settings)
        return self.add(Step(name, Kind.PRODUCT, grouped, sources, kernel.reshape(points, 1, -1), bias))

    def leaky(self, name: str, slope: float, sources: tuple[str, ...]) -> str:
        """Add a leaky ReLU whose slope has few enough bits to be a multiplication."""
        exact = round(slope * 2**SLOPE_BITS) * 2.0**-SLOPE_BITS
        if exact != slope:
            self.changed.append(f"layer '{name}': its slope {slope:g} became {exact:g}, a multiple of 2^-{SLOPE_BITS}")
        return self.add(Step(name, Kind.FUNCTION, _L.LeakyReLU(exact), sources))

    def activation(self, function: Any, layer: Any, source: str, before: str = "") -> str:
        """Add an activation function; ``before`` stands before its name where the layer does more than that."""
        word = getattr(function, "__name__", type(function).__name__)
        name = f"{before}{word}" if before else layer.name
        if word == "linear":
            return source
        if word in ("relu", "relu6"):
            bound = 6.0 if word == "relu6" else None
            return self.add(Step(name, Kind.RELU, _L.ReLU(max_value=bound), (source,), bound=bound))
        if word == "leaky_relu":
            return self.leaky(name, LEAKY, (source,))
        kind = Kind.LAST if word in LAST else Kind.FUNCTION
        return self.add(Step(name, kind, _L.Activation(function), (source,)))


def _rescaling(layer: Any) -> Any:
    """Return what a Normalization does to each channel, as a multiplication and an addition."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if layer.invert or len(axes) > 1 or (axes and axes[0] not in (-1, None, len(layer.mean.shape) - 1)):
        raise ModelError(f"layer '{layer.name}': it must normalise the last axis alone, not {layer.axis}; transpose")
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(part), np.float64) for part in (layer.mean, layer.variance))
    scale = np.squeeze(1 / np.maximum(np.sqrt(variance), keras.config.epsilon()))
    return _L.Rescaling(scale.tolist(), (-np.squeeze(mean) * scale).tolist(), name=layer.name)


def _count(layer: Any, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return of how many values a layer computes the mean or the maximum."""
    if isinstance(layer, (_L.Average, _L.Maximum, _L.Minimum)):
        return len(shapes)
    rank = len(shapes[0]) - 1
    size = getattr(layer, "pool_size", shapes[0][:-1])
    return int(np.prod((size,) * rank if isinstance(size, int) else size))


def _refusal(layer: Any) -> ModelError:
    kind = type(layer).__name__
    if hasattr(layer, "quantizers") or hasattr(layer, "quantizer"):
        return ModelError(f"layer '{layer.name}': {kind} is quantised already; bring the model in: {bring_in()}")
    known = ", ".join(sorted(known.__name__ for known in (*KINDS, *DROPPED)))
    return ModelError(f"layer '{layer.name}': {kind} cannot be quantised; use layers of {known}")


def _ended(network: Network) -> Network:
    """Refuse a softmax that is not at the end; a sigmoid elsewhere is a function as others are."""
    steps = dict(network.steps)
    for name, step in network.steps.items():
        readers = network.readers(name)
        if step.kind is Kind.LAST and (name not in network.outputs or readers):
            if isinstance(step.layer, _L.Softmax) or step.layer.activation.__name__ == "softmax":
                raise ModelError(
                    f"layer '{name}': a softmax must be at the end of the model to be quantised, not before "
                    f"'{readers[0].name}'; use a sigmoid or a ReLU there"
                )
            steps[name] = replace(step, kind=Kind.FUNCTION)
    return replace(network, steps=steps)


def _folded(network: Network) -> Network:
    """Return the network with each batch normalisation in the product that it alone reads."""
    steps: dict[str, Step] = {}
    renamed: dict[str, str] = {}
    for name, step in network.steps.items():
        sources = tuple(renamed.get(source, source) for source in step.sources)
        if isinstance(step.layer, _L.BatchNormalization) and steps[sources[0]].kind is Kind.PRODUCT:
            only = len(network.readers(step.sources[0])) == 1 and step.sources[0] not in network.outputs
            if only:
                steps[sources[0]] = _with_normalisation(steps[sources[0]], step.layer)
                renamed[name] = sources[0]
                continue
        steps[name] = replace(step, sources=sources)
    outputs = tuple(renamed.get(name, name) for name in network.outputs)
    return replace(network, steps=steps, outputs=outputs, folded=tuple(renamed))


def _with_normalisation(product: Step, layer: Any) -> Step:
    """Return a product whose weights contain the batch normalisation after it."""
    axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
    if axis not in (-1, layer.input_spec.ndim - 1):
        raise ModelError(f"layer '{layer.name}': axis must be -1, the channels, not {axis}; transpose")
    mean, variance = (array_of(weight) for weight in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon) * (array_of(layer.gamma) if layer.scale else 1.0)
    offset = array_of(layer.beta) if layer.center else 0.0
    bias = np.zeros_like(mean) if product.bias is None else product.bias
    kernel = weights_of(product)
    own = scale.reshape(kernel.shape[2:]) if isinstance(product.layer, _L.DepthwiseConv2D) else scale
    own = own[:, None] if isinstance(product.layer, _L.Conv2DTranspose) else own
    return replace(product, kernel=kernel * own, bias=(bias - mean) * scale + offset)


def array_of(weight: Any) -> Floats:
    """Return a Keras variable as float64 numbers."""
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)


def weights_of(product: Step) -> Floats:
    """Return the kernel of a product."""
    if product.kernel is None:
        raise ModelError(f"layer '{product.name}': expected a product with weights, found a step without")
    return product.kernel
