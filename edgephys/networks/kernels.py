"""What a layer reads, the weights that it multiplies by and their quantiser, whatever QKeras calls them."""

from __future__ import annotations

from typing import Any

import numpy as np


def which(layer: Any) -> str:
    """Return how a layer's settings name its kernel: WHICH_quantizer, WHICH_initializer, WHICH_constraint."""
    return "depthwise" if hasattr(layer, "depthwise_kernel") else "kernel"


def kernel_of(layer: Any) -> Any:
    """Return the variable that a layer multiplies by; None where it has none."""
    return getattr(layer, "depthwise_kernel", None) if which(layer) == "depthwise" else getattr(layer, "kernel", None)


def inputs_of(layer: Any) -> list[Any]:
    """Return the tensors that a layer reads."""
    return list(layer._inbound_nodes[0].arguments.keras_tensors)


def quantiser_of(layer: Any) -> Any:
    """Return what rounds a layer's kernel; None where nothing does."""
    return getattr(layer, f"{which(layer)}_quantizer_internal", None)


def is_depthwise(layer: Any) -> bool:
    """Tell whether each channel of a layer's output reads that channel of its input alone."""
    return hasattr(layer, "depth_multiplier")


def matrix(layer: Any, kernel: Any) -> Any:
    """Return a kernel as the matrix by which a pixel's window is multiplied.

    A depthwise kernel's matrix is zero off the channel.
    Shape: (rows, columns, channel, output) -> (rows * columns * channel, output); (input, output) stays.
    """
    whole = spread(kernel) if is_depthwise(layer) else kernel
    return whole.reshape(-1, whole.shape[-1])


def spread(kernel: Any) -> Any:
    """Return a depthwise kernel as that of a full convolution, zero off the channel.

    Shape: (rows, columns, channel, 1) -> (rows, columns, channel, channel).
    """
    channels = range(kernel.shape[2])
    full = np.zeros((*kernel.shape[:3], len(channels)), kernel.dtype)
    full[..., channels, channels] = kernel[..., 0]
    return full
