"""Local rank: the number of directions of the network's input that each layer still distinguishes.

Source: arXiv 2410.07687: the mean over x of the number of singular values above eps of the Jacobian of a layer's
pre-activation with respect to the network's input. It falls late in training, in every layer, and shows how far a
layer could be narrowed. The Jacobian of a quantised network is that of its training, straight through roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.compress.stage import require
from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of

BATCH = 64
LARGEST = 2**19
"""Size of one example's Jacobian above which a layer is left out: it would take minutes."""


def local_rank(model: Any, x: NDArray[np.float32], eps: float = 1e-3) -> dict[str, float]:
    """Return the local rank of every layer with a kernel, by its name.

    Rows and columns of a Jacobian are all numbers of one example: an interaction network's rank is that of all pairs.
    Layers whose Jacobian has more than ``LARGEST`` numbers are left out.

    Shape: x as the model's input, (example, ...).
    Raises: ModelError where a layer contains its activation, since its output is no pre-activation.
    """
    require("eps", eps, 0)
    require("examples", len(x), 1)
    layers = [layer for layer in model.layers if kernel_of(layer) is not None]
    for layer in layers:
        if getattr(layer, "activation", None) not in (None, keras.activations.linear):
            raise ModelError(
                f"layer '{layer.name}': its activation must be a layer of its own; the rank is that of its input"
            )
    inputs = prod(model.input_shape[1:])
    layers = [layer for layer in layers if inputs * prod(layer.output.shape[1:]) <= LARGEST]
    if not layers:
        return {}
    jacobians = _jacobians(keras.Model(model.inputs, {layer.name: layer.output for layer in layers}))
    ranks = {layer.name: 0 for layer in layers}
    for start in range(0, len(x), BATCH):
        for name, jacobian in jacobians(tf.constant(x[start : start + BATCH])).items():
            values = np.linalg.svd(jacobian.numpy(), compute_uv=False)
            ranks[name] += int(np.count_nonzero(values > eps))
    return {name: rank / len(x) for name, rank in ranks.items()}


def _jacobians(watched: Any) -> Callable[[Any], Mapping[str, Any]]:
    """Return a function for the Jacobian of each output. Shape: (example, ...) -> (example, output, input)."""

    def compute(x: Any) -> Mapping[str, Any]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = watched(x)
        return {
            name: tf.reshape(tape.batch_jacobian(output, x), (-1, prod(output.shape[1:]), prod(x.shape[1:])))
            for name, output in outputs.items()
        }

    compiled: Callable[[Any], Mapping[str, Any]] = tf.function(compute)
    return compiled
