"""Write quantisers whose scale is one power of two for a whole tensor with a fixed step instead.

``alpha="auto_po2"`` follows the weights: at each call QKeras chooses the power of two that is nearest to the least
squares scale. Stages train weights on a grid that stays. Where all weights of a tensor have one such scale 2**k,
quantized_bits(bits, integer + k, symmetric, alpha=1) has the same grid and range; a fixed alpha that is a power of two
is such a scale, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import kernel_of, which


def with_fixed_steps(layer: Any) -> tuple[Mapping[str, Any], list[NDArray[Any]]]:
    """Return the settings that give a layer's kernel and bias fixed steps, and its weights.

    The quantised weights are the same ones; a float weight that the fixed step rounds otherwise, as a tie, becomes its
    quantised value. Settings are those of the quantisers that change: a quantiser with a fixed step, with several
    scales or with another one than a power of two stays.
    """
    settings, weights = {}, layer.get_weights()
    variables = {which(layer): kernel_of(layer), **({"bias": layer.bias} if layer.use_bias else {})}
    for name, variable in variables.items():
        quantiser: Any = getattr(layer, f"{name}_quantizer_internal", None)
        fixed = _fixed(quantiser, variable)
        if fixed is None:
            continue
        at = next(place for place, own in enumerate(layer.weights) if own is variable)
        before, after = (_array(one(variable)) for one in (quantiser, fixed))
        weights[at] = np.where(before == after, weights[at], before)
        if np.array_equal(_array(fixed(weights[at])), before):
            settings[f"{name}_quantizer"] = fixed
        else:
            weights[at] = _array(variable)
    return settings, weights


def _fixed(quantiser: Any, weights: Any) -> Any:
    """Return the quantiser with a fixed step that has the grid of another one; None where there is none, or no need."""
    if type(quantiser).__name__ != "quantized_bits" or quantiser.alpha in (1, 1.0) or quantiser.bits < 2:
        return None
    quantiser(weights)  # states the scale of these weights
    scales = np.unique(np.asarray(_array(quantiser.scale), np.float64))
    mantissa, exponent = frexp(scales[0])
    if len(scales) != 1 or mantissa != 0.5 or not quantiser.keep_negative or quantiser.use_stochastic_rounding:
        return None
    integer = int(quantiser.integer) + exponent - 1
    return qkeras.quantized_bits(int(quantiser.bits), integer, int(bool(quantiser.symmetric)), alpha=1)


def _array(values: Any) -> NDArray[Any]:
    result: NDArray[Any] = keras.ops.convert_to_numpy(values)
    return result
