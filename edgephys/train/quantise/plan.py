"""Decide where a network is rounded, and in which formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.models.input_data import proposed
from edgephys.networks.backend import keras
from edgephys.train.quantise.formats import chosen, decibels, exponent, fixed, rounded
from edgephys.train.quantise.kinds import MAXIMA, Kind
from edgephys.train.quantise.steps import Floats, Network, Step, weights_of

WITHIN = 99.99
"""Per cent of a step's values, by magnitude, whose errors are counted."""
BIAS_BITS = 16
"""Bits of a bias: it is added once to a sum, in the steps of the products at the finest."""
LEAST_AT_THE_END = 8
"""Bits of a rounding at the end of a model, at least: nothing behind it pays for them."""
LEAST_OF_WEIGHTS = 2
INPUT_BITS = range(4, 17)
SUM_BITS = 52
"""Bits of a sum of products, so that a bias is left room in the 53 that float64 holds exactly."""
TABLE_BITS = 25
"""Bits of the number of integers, over all channels, on which a function of the input is computed."""
BELOW_DB = 10.0
"""How far the noise of the input's format lies below that of a channel in the bits of the activations."""
EXAMPLES = 1024
"""Examples on which formats of the input are tried."""
POSITIVE = ("sigmoid", "hard_sigmoid", "softplus", "exponential")


GROWING = (Kind.PRODUCT, Kind.SUM, Kind.MEAN, Kind.FUNCTION)
"""Steps whose results have more bits than their inputs."""


@dataclass(frozen=True, eq=False)
class Formats:
    """Hold the format of the input, of each rounded step, and of the weights and bias of each product, by step."""

    input: Fixed
    values: Mapping[str, Fixed]
    kernels: Mapping[str, Fixed]
    biases: Mapping[str, Fixed]


def places(network: Network) -> list[str]:
    """Return the steps whose results are rounded: sums that something else than a ReLU or the end reads."""
    chosen_steps: list[str] = []
    wide: set[str] = set()  # results of many bits
    floats: set[str] = set()  # results that are no integers
    for name, step in network.steps.items():
        sources = set(step.sources) - set(chosen_steps)
        bounded = step.bound is not None
        if step.kind in GROWING or bounded or (step.kind is Kind.RELU and sources & wide):
            wide.add(name)
        if step.kind in (Kind.MEAN, Kind.FUNCTION) or bounded or (step.kind is Kind.RELU and sources & floats):
            floats.add(name)
        readers = network.readers(name)
        if name in wide and (
            any(reader.kind not in (Kind.RELU, Kind.LAST) for reader in readers)
            or (name in floats and _at_the_end(network, name))
        ):
            chosen_steps.append(name)
    return chosen_steps


def _at_the_end(network: Network, name: str) -> bool:
    """Tell whether a step's result is an output, but for a softmax or sigmoid."""
    return name in network.outputs or any(reader.kind is Kind.LAST for reader in network.readers(name))


def formats(network: Network, values: Mapping[str, Floats], x: Floats, bits: int, stated: Fixed | None) -> Formats:
    """Return all formats.

    ``values`` are the float results of the steps that ``places`` names,
    ``x`` are the inputs, flat; ``stated`` is the input's format where the user states one.
    """
    products = {name: step for name, step in network.steps.items() if step.kind is Kind.PRODUCT}
    kernels = {name: chosen(weights_of(step), bits, True) for name, step in products.items()}
    own = stated or _input_format(network, x, bits, _input_bits(network, kernels))
    rounded_to, reads = _rounded(network, values, bits, own)
    kernels = {name: _exact(step, kernels[name], reads[step.sources[0]]) for name, step in products.items()}
    biases = {
        name: _bias_format(step.bias, kernels[name].fraction + reads[step.sources[0]].fraction)
        for name, step in products.items()
        if step.bias is not None
    }
    return Formats(own, rounded_to, kernels, biases)


@dataclass(frozen=True)
class Reach:
    """Hold the fraction bits of a step's values, and the largest magnitude that they can have."""

    fraction: int
    largest: float

    @classmethod
    def of(cls, form: Fixed) -> Reach:
        """Return those of a format."""
        return cls(form.fraction, max(form.high, -form.low) * form.step)


def _rounded(
    network: Network, values: Mapping[str, Floats], bits: int, own: Fixed
) -> tuple[dict[str, Fixed], dict[str, Reach]]:
    """Return the formats of rounded steps, and the reach of every step that a product can read."""
    by_step: dict[str, Fixed] = {}
    reaches: dict[str, Reach] = {}
    rounded_steps = set(places(network))
    for name, step in network.steps.items():
        sources = [reaches[source] for source in step.sources] or [Reach.of(own)]
        reach = Reach(max(source.fraction for source in sources), max(source.largest for source in sources))
        if isinstance(step.layer, MAXIMA):
            reach = Reach(reach.fraction, reach.largest * 2.0 ** exponent(step.count))
        if name in rounded_steps:
            by_step[name] = _untied(_format(network, step, values, bits), step.count, reach.fraction)
            reach = Reach.of(by_step[name])
        reaches[name] = reach
    return by_step, reaches


def _exact(step: Step, form: Fixed, reads: Reach) -> Fixed:
    """Return a kernel's format with as few fraction bits as float64 needs to hold the sums exactly, bias included.

    Where the bias is far larger than all that is added to it, fine steps of the weights would be lost in it.
    """
    weights = weights_of(step)
    sums = np.abs(weights).sum(_summed(step)).ravel() * reads.largest
    if step.bias is not None:
        sums = sums + np.abs(step.bias)
    excess = form.fraction + reads.fraction + exponent(float(sums.max(initial=0.0))) - SUM_BITS
    fraction = form.fraction - max(excess, 0)
    bits = max(form.bits - max(excess, 0), LEAST_OF_WEIGHTS)
    return fixed(True, bits, bits - fraction - 1)


def _summed(step: Step) -> tuple[int, ...]:
    """Return the axes of a kernel over which a sum of products runs."""
    rank = weights_of(step).ndim
    if isinstance(step.layer, keras.layers.Conv2DTranspose):
        return (0, 1, 3)
    return tuple(range(rank - (2 if isinstance(step.layer, keras.layers.DepthwiseConv2D) else 1)))


def _format(network: Network, step: Step, values: Mapping[str, Floats], bits: int) -> Fixed:
    if _at_the_end(network, step.name):
        bits = max(bits, LEAST_AT_THE_END)
    return chosen(values[step.name], bits, step.name not in positive(network), WITHIN)


def bound_of(step: Step, form: Fixed) -> float | None:
    """Return the bound of a step in its format, to whole steps; None where it has none below the format's end."""
    if step.bound is None or step.bound >= form.high * form.step:
        return None
    return max(float(np.rint(step.bound / form.step)), 1.0) * form.step


def positive(network: Network) -> set[str]:
    """Return the steps whose results are never negative."""
    names: set[str] = set()
    for name, step in network.steps.items():
        unchanged = step.kind in (Kind.MOVE, Kind.MEAN) or isinstance(step.layer, keras.layers.Add)
        function = getattr(getattr(step.layer, "activation", None), "__name__", "")
        never = step.kind is Kind.RELU or (step.kind is Kind.FUNCTION and function in POSITIVE)
        if never or (unchanged and set(step.sources) <= names):
            names.add(name)
    return names


def _untied(form: Fixed, count: int, fraction: int) -> Fixed:
    """Return a mean's format, with as many more bits as it takes that no mean lies halfway between two steps.

    A sum of so many integers at ``fraction`` is divided by their number. QKeras rounds ties to even, which a
    multiplication and a shift do not, so that there must be none where the number is no power of two.
    """
    twos = (count & -count).bit_length() - 1
    more = fraction + twos - form.fraction
    if count == 1 << twos or more <= 0:
        return form
    return fixed(form.signed, form.bits + more, form.integer - form.signed)


def _bias_format(bias: Floats, finest: int) -> Fixed:
    """Return a format that holds every bias, in steps that are no finer than those of the products."""
    integer = exponent(float(np.abs(bias).max(initial=0.0)) * (1 + 2.0**-BIAS_BITS))
    fraction = min(finest, BIAS_BITS - 1 - integer)
    return fixed(True, max(1 + integer + fraction, 2), integer if 1 + integer + fraction >= 2 else 1 - fraction)


def _input_format(network: Network, x: Floats, bits: int, most: int) -> Fixed:
    """Return the narrowest format of the inputs whose noise is far below that of so many bits, in every channel.

    Channels of other units may lie far below the largest one, which sets the range: each is compared with what a range
    of its own would give it.
    """
    few = x[:: -(-len(x) // EXAMPLES)]
    channels: list[Floats] = []
    first = 0
    for name in network.inputs:
        shape = network.steps[name].layer.shape[1:]
        part = few[:, first : first + prod(shape)].reshape(-1, shape[-1])
        channels += list(part.T)
        first += prod(shape)
    least = [decibels(channel, rounded(chosen(channel, bits, True), channel)) for channel in channels]
    for width in range(min(bits, most), most):
        form = proposed(x, width)
        form = fixed(form.signed, form.bits, form.integer - form.signed)
        noise = [decibels(channel, rounded(form, channel)) for channel in channels]
        if all(a is None or b is None or a >= b + BELOW_DB for a, b in zip(noise, least, strict=True)):
            return proposed(x, width)
    return proposed(x, most)


def _input_bits(network: Network, kernels: Mapping[str, Fixed]) -> int:
    """Return the bits of the input with which the sums that read it are exact in float64."""
    bits = INPUT_BITS.stop - 1
    waiting = list(network.inputs)
    while waiting:
        for step in network.readers(waiting.pop()):
            if step.kind is Kind.PRODUCT:
                form = kernels[step.name]
                steps = np.abs(rounded(form, weights_of(step))) / form.step
                bits = min(bits, SUM_BITS - exponent(float(steps.sum(_summed(step)).max(initial=1.0))))
            elif step.kind is Kind.FUNCTION:
                elements = sum(prod(network.steps[own].layer.shape[1:]) for own in network.inputs)
                bits = min(bits, TABLE_BITS - exponent(elements))
            else:
                waiting.append(step.name)
    return max(bits, INPUT_BITS.start)
