"""Choose formats from values: which power of two a tensor spans, and what rounding to it loses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.train.quantise.steps import Floats

MODES = (Rounding.RND_CONV, Overflow.SAT)
"""How QKeras rounds and overflows."""
MOST_VALUES = 1 << 18
"""Values of a tensor on which its formats are tried; of larger ones, evenly spaced ones."""
CANDIDATES = 6
"""Ranges that are tried: the power of two that holds all values, twice that, and smaller ones."""


def fixed(signed: bool, bits: int, integer: int) -> Fixed:
    """Return a format with QKeras' rounding and saturation; ``integer`` does not count a sign."""
    return Fixed(signed, bits, integer + signed, *MODES)


def exponent(largest: float) -> int:
    """Return the smallest n with 2**n >= ``largest``; 0 for 0."""
    return int(np.ceil(np.log2(largest))) if largest > 0 else 0


def rounded(form: Fixed, values: Floats) -> Floats:
    """Return values in a format, which clips those beyond it."""
    ends = (form.low - 1) * form.step, (form.high + 1) * form.step
    return form.values(form.quantise(np.clip(values, *ends)))


def chosen(values: Floats, bits: int, signed: bool, within: float = 100.0) -> Fixed:
    """Return the format of so many bits with the least mean squared error.

    The largest values, beyond the percentile ``within`` of the magnitudes, are not counted: few values ask for no range
    of their own.
    """
    flat = values.ravel()[:: -(-values.size // MOST_VALUES)]
    limit = float(np.percentile(np.abs(flat), within, method="higher"))
    flat = flat[np.abs(flat) <= limit]
    top = exponent(limit)
    forms = [fixed(signed, bits, integer) for integer in range(top + 1, top - CANDIDATES, -1)]
    errors = [float(np.mean((rounded(form, flat) - flat) ** 2)) for form in forms]
    return forms[int(np.argmin(errors))]


def decibels(signal: Floats, result: Floats) -> float | None:
    """Return the ratio of signal to quantisation noise in dB; None where there is no noise or no signal."""
    power, noise = float(np.sum(signal**2)), float(np.sum((result - signal) ** 2))
    return 10 * float(np.log10(power / noise)) if power and noise else None


def clipped(form: Fixed, values: Floats) -> float:
    """Return the share of values that a format clips; of an unsigned one, negative values are not counted."""
    steps = np.ldexp(values, form.fraction)
    over: NDArray[np.bool_] = steps >= form.high + 0.5
    under = (steps < form.low - 0.5) & form.signed
    return float(np.mean(over | under))
