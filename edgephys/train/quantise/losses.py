"""Say what each layer lost: noise of its weights, of its rounding and of all before it, and clipped values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.core.fixed import Fixed
from edgephys.train.quantise.formats import MODES, clipped, decibels, rounded
from edgephys.train.quantise.plan import Formats
from edgephys.train.quantise.steps import Floats, Network, Step, weights_of


def names_of(network: Network, formats: Formats) -> list[str]:
    """Return the steps that have weights or a format: inputs, products and what is rounded."""
    return [name for name in network.steps if name in formats.kernels or _format(network, formats, name)]


def losses(
    network: Network,
    formats: Formats,
    exact: Mapping[str, Floats],
    quantised: Mapping[str, Floats],
    before: Mapping[str, Floats],
) -> list[dict[str, Any]]:
    """Return a row for each step of ``names_of``.

    ``exact`` and ``quantised`` are the results of the steps of both models on the same examples, ``before`` those of
    the quantised model before they are rounded.
    """
    rows = []
    for name in names_of(network, formats):
        values = _values(_format(network, formats, name), exact[name], before[name])
        together = {"together_db": decibels(exact[name], quantised[name])}
        rows.append({"layer": name, **_weights(network.steps[name], formats), **values, **together})
    return rows


def _format(network: Network, formats: Formats, name: str) -> Fixed | None:
    return formats.input if name in network.inputs else formats.values.get(name)


def _weights(step: Step, formats: Formats) -> dict[str, Any]:
    form = formats.kernels.get(step.name)
    if form is None:
        return {"weights": None, "weights_db": None, "weights_clipped": None}
    return {"weights": _text(form), **_lost("weights", form, weights_of(step), weights_of(step))}


def _values(form: Fixed | None, exact: Floats, before: Floats) -> dict[str, Any]:
    if form is None:
        return {"values": None, "values_db": None, "values_clipped": None}
    return {"values": _text(form), **_lost("values", form, exact, before)}


def _lost(what: str, form: Fixed, values: Floats, clipped_from: Floats) -> dict[str, Any]:
    grid = Fixed(form.signed, form.bits, form.integer, *MODES)
    return {f"{what}_db": decibels(values, rounded(grid, values)), f"{what}_clipped": clipped(grid, clipped_from)}


def _text(form: Fixed) -> str:
    return str(Fixed(form.signed, form.bits, form.integer))
