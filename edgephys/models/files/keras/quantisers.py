"""Quantisers: the format of each, the integers of quantised weights, and the rounding of a value in a Graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.remedies import quantise
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.ops.lookup import MOST_ENTRIES
from edgephys.models.files.functions.staircase import MOST_STEPS
from edgephys.models.files.functions.steps import Steps
from edgephys.models.files.keras.doubles import exact_bits
from edgephys.models.files.keras.joins import PendingJoin
from edgephys.models.files.keras.reading import (
    FloatLayer,
    KerasFailsError,
    KerasReading,
    KerasValue,
    TooWideError,
    floats_of,
)
from edgephys.models.files.keras.scales import FINEST, WIDEST_WEIGHT, PowerWeights, Scaling, split
from edgephys.networks.backend import keras, qkeras

LARGEST_TABLE = 1 << 25
"""Most integers, over all channels, on which a rounded function is computed."""
CHUNK = 1 << 22


def weights_of(layer: Any, which: str, values: Any, quantiser: Any) -> tuple[Integers, int]:
    """Return the integers of quantised weights and their fraction; ``quantiser`` is None where they are as they stand.

    Raises: ModelError where they are no integers times a power of two of up to ``WIDEST_WEIGHT`` bits; TooWideError
    where they are times float scales, which need Keras in float64.
    """
    if isinstance(quantiser, PowerWeights):
        return quantiser.integers, quantiser.fraction
    if quantiser is None:
        values = keras.ops.convert_to_numpy(values).astype(np.float64)
        fraction = fraction_of(values)
        if fraction is None or _digits(np.ldexp(values, fraction)) >= WIDEST_WEIGHT:
            raise _unquantised(layer, which)
        return np.ldexp(values, fraction).astype(np.int64), fraction
    where = f"layer '{layer.name}' {which}"
    if not has_format(quantiser):
        _require_no_chance(where, quantiser)
        quantised = _called(where, quantiser, values).astype(np.float64)
        return _dyadic(layer, which, quantised, split(quantiser, quantised) is not None)
    fixed = format_of(where, quantiser)
    values = _called(where, quantiser, values).astype(np.float64) * 2.0**fixed.fraction
    whole = np.rint(values).astype(np.int64)
    if np.any(whole != values) or not fixed.holds(int(whole.min()), int(whole.max())):
        raise ModelError(f"layer '{layer.name}': quantised {which} must be values of {fixed}, but some are not")
    return whole, fixed.fraction


def _digits(whole: NDArray[np.float64]) -> int:
    """Return the most bits between the first and the last one of any of these whole numbers."""
    integers = np.abs(whole[whole != 0]).astype(np.int64)
    return int((integers // (integers & -integers)).max(initial=0)).bit_length()


def _unquantised(layer: Any, which: str) -> ModelError:
    kind, argument = type(layer).__name__.removeprefix("Q"), "" if which == "kernel" else f"{which}_quantizer="
    with_one = f"Q{kind} with {argument}quantized_bits(bits, 0, alpha=1)"
    return ModelError(
        f"layer '{layer.name}': its {which} has no quantiser and needs over {WIDEST_WEIGHT} bits; use "
        f"{with_one}, or quantise the float model: {quantise()}"
    )


def _require_no_chance(where: str, quantiser: Any) -> None:
    """Refuse what draws random numbers at inference; QKeras' other stochastic quantisers do so in training alone."""
    if type(quantiser) is qkeras.bernoulli:
        raise ModelError(f"{where}: bernoulli is random at inference, too; use binary or ternary")


def _dyadic(layer: Any, which: str, values: NDArray[np.float64], scaled: bool) -> tuple[Integers, int]:
    """Return values as integers at the smallest fraction that holds them all; ``scaled`` ones may need float64."""
    fraction = fraction_of(values)
    integers = np.rint(np.ldexp(values, fraction or 0)).astype(np.int64)
    bits = int(np.abs(integers).max(initial=0)).bit_length() + 1
    if fraction is None or bits > WIDEST_WEIGHT:
        raise (TooWideError if scaled else ModelError)(
            f"layer '{layer.name}': its quantised {which} needs {bits} bits or scales that are no powers of two; use "
            f"quantized_bits(bits, integer, alpha=1) or alpha='auto_po2'"
        )
    return integers, fraction


def fraction_of(values: NDArray[np.float64]) -> int | None:
    """Return the smallest number of fraction bits that holds all values; None with no such up to ``FINEST``."""
    for fraction in range(FINEST + 1):
        scaled = np.ldexp(values, fraction)
        if np.all(scaled == np.rint(scaled)):
            return fraction
    return None


def has_format(quantiser: Any) -> bool:
    """Tell whether a quantiser is meant to be one format: rounding to nearest steps, half to even, and saturation."""
    config = quantiser.get_config() if hasattr(quantiser, "get_config") else {}
    kind = type(quantiser)
    if kind is qkeras.quantized_bits:
        alpha = config["alpha"]
        if config["bits"] == 1 and config["keep_negative"]:
            return False  # a sign, which is never 0
        return alpha is None or (not isinstance(alpha, str) and bool(np.all(np.equal(alpha, 1))))
    return kind is qkeras.quantized_relu and not (
        config["negative_slope"] or config["use_sigmoid"] or config["relu_upper_bound"] is not None
    )


def format_of(where: str, quantiser: Any) -> Fixed:
    """Return the Fixed of a QKeras quantiser, tried on probes; raise ModelError where it has none."""
    kind = type(quantiser).__name__
    config = quantiser.get_config() if hasattr(quantiser, "get_config") else {}
    if kind == "quantized_bits":
        if not has_format(quantiser) or config.get("post_training_scale") is not None:
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
    if config["qnoise_factor"] != 1.0:
        raise ModelError(f"{where}: quantisation noise must be off; set qnoise_factor=1.0")
    _probe(where, quantiser, fixed)
    return fixed


def _probe(where: str, quantiser: Any, fixed: Fixed) -> None:
    """Compare the quantiser itself with the format on quarter steps around zero, the ends and between."""
    steps = np.unique(np.concatenate([np.linspace(fixed.low - 3, fixed.high + 3, 64).round(), np.arange(-9, 10)]))
    quarters = (steps[:, None] + np.arange(4) / 4).ravel()
    values: NDArray[Any] = (quarters * fixed.step).astype(keras.config.floatx())
    if type(quantiser).__name__ == "quantized_relu":
        values = np.maximum(values, 0)
    received = _called(where, quantiser, values).astype(np.float64) / fixed.step
    wrong = np.flatnonzero(received != fixed.quantise(values))
    if wrong.size:
        value, result = float(values[wrong[0]]), received[wrong[0]] * fixed.step
        raise ModelError(
            f"{where}: {type(quantiser).__name__} turns {value:g} into {result:g}, but {fixed} "
            f"gives {fixed.quantise(value) * fixed.step:g}; this quantiser setting has no exact firmware"
        )


def _called(where: str, function: Any, values: Any) -> NDArray[Any]:
    """Return what a layer or quantiser makes of values; raise ModelError where it fails in Keras itself."""
    try:
        return np.asarray(keras.ops.convert_to_numpy(function(values)))
    except Exception as error:  # whatever the settings of the user's layer make Keras raise
        reason = " ".join(str(error).split())
        raise KerasFailsError(
            f"{where}: {type(function).__name__} cannot be computed by Keras itself ({reason}); change its settings"
        ) from error


def rounded(reading: KerasReading, owner: str, value: KerasValue, quantiser: Any, name: str) -> KerasValue:
    """Return a value rounded by a quantiser, in layer ``owner``; ``name`` is the Keras layer's.

    Raises: ModelError where the function from the last integers to the next ones is no integer arithmetic of ours.
    """
    where = f"layer '{name}'"
    first = value.pending[0] if value.pending else None
    if isinstance(first, PendingJoin):
        return _joined(reading, owner, first, value.pending[1:], quantiser, name)
    if has_format(quantiser) and not value.pending:
        edge = value.edge
        if type(quantiser) is qkeras.quantized_relu:
            edge = reading.builder.relu(owner, edge)
        result = reading.builder.requantise(owner, edge, format_of(where, quantiser))
        if type(quantiser) is qkeras.quantized_bits:
            reading.unclipped.add(result)
        return KerasValue(result)
    config = quantiser.get_config() if hasattr(quantiser, "get_config") else {}
    if config.get("qnoise_factor", 1.0) != 1.0:
        raise ModelError(f"{where}: quantisation noise must be off; set qnoise_factor=1.0")
    _require_no_chance(where, quantiser)
    if isinstance(config.get("alpha"), str):
        raise ModelError(f"{where}: alpha='{config['alpha']}' takes its scale from the data of a batch; set alpha=1")
    low, results, fraction = _function(reading, value, quantiser, name)
    written = reading.staircases.write(owner, value.edge, Steps.of_results(low, results), fraction)
    if written is None:
        raise ModelError(
            f"layer '{name}': its rounded function of {len(results)} integers is no multiplication, addition and "
            f"shift, has over {MOST_STEPS} steps, and needs a table of over {MOST_ENTRIES} entries; put "
            f"QActivation(quantized_bits(bits, integer, alpha=1)) with fewer bits before it"
        )
    return KerasValue(written)


def _joined(
    reading: KerasReading, owner: str, join: PendingJoin, functions: Sequence[FloatLayer], quantiser: Any, name: str
) -> KerasValue:
    """Return the join of parts that are rounded apart; raise ModelError where their order might change."""
    if join.rising and not (has_format(quantiser) and set(functions) <= {keras.activations.relu}):
        raise ModelError(
            f"layer '{join.layer}': the largest or smallest of float results is exact where quantized_bits(bits, "
            f"integer, alpha=1) or quantized_relu(bits, integer) is right behind it; put one there, or one before each "
            f"input"
        )
    _require_no_chance(f"layer '{name}'", quantiser)
    edges = []
    for at in range(len(join.parts)):
        own = quantiser if has_format(quantiser) else join.within(at, quantiser)
        edges.append(rounded(reading, owner, join.value(at, functions), own, name).edge)
    return KerasValue(join.write(owner, edges))


def _function(reading: KerasReading, value: KerasValue, quantiser: Any, name: str) -> tuple[int, Integers, int]:
    """Return the first integer of a value, and what Keras makes of it and every further one: (integer, channel).

    The third number is the fraction of the results.
    """
    range_, shape = reading.builder.range(value.edge), reading.shape(value)
    low, high, channels = range_.lowest, range_.highest, shape[-1]
    bits = range_.largest.bit_length()
    if bits > exact_bits() or (high - low + 1) * channels > LARGEST_TABLE:
        raise TooWideError(
            f"layer '{name}': it rounds a function of integers of {bits} bits in {channels} channels, too many to "
            f"compute each; use fewer weight or activation bits before it"
        )
    fraction_in, size = reading.builder.fraction(value.edge), max(1, CHUNK // channels)
    parts = []
    for first in range(low, high + 1, size):
        integers = np.arange(first, min(first + size, high + 1)).reshape(-1, *(1 for _ in shape[:-1]), 1)
        x = floats_of(fraction_in, np.broadcast_to(integers, (*integers.shape[:-1], channels)))
        parts.append(_applied(name, (*value.pending, quantiser), x).reshape(-1, channels))
    values = np.concatenate(parts).astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise ModelError(f"layer '{name}': its function is NaN or infinite for some inputs; bound its inputs first")
    fraction = fraction_of(np.unique(values))
    if fraction is None:
        raise ModelError(
            f"layer '{name}': {type(quantiser).__name__} gives values between steps of 2^-{FINEST}; use alpha=1"
        )
    return low, np.rint(np.ldexp(values, fraction)).astype(np.int64), fraction


def _applied(name: str, functions: Sequence[FloatLayer], x: NDArray[Any]) -> NDArray[Any]:
    """Return what functions make of values; raise ModelError where floats next to a scaled sum round apart."""
    first, *rest = functions
    results = []
    for start in first.around(x) if isinstance(first, Scaling) else [_called(f"layer '{name}'", first, x)]:
        values = start
        for function in rest:
            values = _called(f"layer '{name}'", function, values)
        results.append(values)
    if any(not np.array_equal(results[0], other) for other in results[1:]):
        raise ModelError(
            f"layer '{name}': for some sums two floats round apart: a weight's scale brings them as close to a tie as "
            f"floats are to each other; change the layer's weights a little, or use alpha='auto_po2'"
        )
    return results[0]
