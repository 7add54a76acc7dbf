"""What the layers of a user's network state: the function at its end, and the width of its weights."""

from __future__ import annotations

from typing import Any

from edgephys.graph.graph import Graph
from edgephys.models import units
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of, quantiser_of
from edgephys.networks.widths import WIDTHS

SIGMOID = "sigmoid"
ENDINGS = ("softmax", SIGMOID)


def ending(model: Any, graph: Graph | None = None) -> str:
    """Return the softmax or sigmoid at a model's end; nothing where there is none.

    With ``graph``, the model's own, a single output that cannot leave 0..1, as of a quantised sigmoid, is one, too.
    """
    last = model.outputs[0]._keras_history.operation
    function = getattr(getattr(last, "activation", None), "__name__", "")
    word = "softmax" if isinstance(last, keras.layers.Softmax) else function
    if word in ENDINGS:
        return word
    return SIGMOID if graph is not None and units.is_probability(graph) else ""


def widest(model: Any) -> int | None:
    """Return the bits of the widest kernel's quantiser, within what a card can state; None where a kernel has none."""
    kernels = [layer for layer in model.layers if kernel_of(layer) is not None]
    widths: list[Any] = [getattr(quantiser_of(layer), "bits", None) for layer in kernels]
    if None in widths or not widths:
        return None
    return min(max(*map(int, widths), WIDTHS.start), WIDTHS.stop - 1)
