"""Pruning that preserves the spectrum: the largest weights stay, and are fitted to the matrix that is lost.

Inspired by arXiv 2307.08982, of which we know the idea, that pruning is matrix sparsification and should preserve the
spectrum, but not the sparsifier. Ours, ``choice = "fitted"``, keeps the places of magnitude pruning and chooses the
values in them for the least spectral norm of W - W' (``spectral_fit``): its error is below that of magnitude pruning.

``choice = "sampled"``: weights of |w| >= t stay, the others with probability p = min(1, (|w| / t)**q), and can be
rescaled by 1 / p, as in the sparsifiers of arXiv 1006.0407 (q = 2) and of Arora, Hazan and Kale (q = 1). t is computed
without a search: with one uniform number u for each weight, w stays where t < |w| u**(-1/q), so that exactly n weights
stay where t is the (n+1)-th largest of these (priority sampling, Duffield, Lund and Thorup 2007). Its error was larger
than that of magnitude pruning in every layer that we measured.

The matrix of a convolution is (height * width * input channel, output channel), that of a depthwise one is zero between
different channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.masks import largest
from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_limits, kernel_step, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.spectral_fit import fitted
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.training_loop import train
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of, matrix

Floats = NDArray[np.float64]
CHOICES = ("fitted", "sampled")
"""How the weights that stay are chosen."""


@register("spectrum")
@dataclass(frozen=True)
class Spectrum(Training):
    """Keep the share ``density`` of each layer's weights: the largest, fitted, or the small ones at random.

    ``choice`` is "fitted" or "sampled". Of the sampled, ``power`` is q, 1 or 2, and with ``rescale`` a small weight
    that stays is divided by its probability. All are clipped to their quantiser's range. With 0 epochs nothing is
    trained. The notes hold the change of each layer's quantised matrix
    W before training, |W - W'| / |W| in the spectral norm, and its singular values, beside those of magnitude pruning
    at the same density.
    """

    fewest_epochs: ClassVar[int] = 0
    density: float = 0.5
    choice: str = "fitted"
    power: int = 1
    rescale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("density", self.density, 0, 1, above=True)
        require("power", self.power, 1, 2)
        one_of("choice", self.choice, CHOICES)
        if self.choice == "fitted" and (self.rescale or self.power != type(self).power):
            raise UsageError("power and rescale are of sampled weights; set choice = 'sampled', or leave them out")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the sparser model."""
        layers = kernel_layers(model)
        fresh = rebuilt(model)
        random = np.random.default_rng(seed)
        for layer in layers:
            low, high = (kernel_step(layer) * limit for limit in kernel_limits(layer))
            kernel = keras.ops.convert_to_numpy(kernel_of(layer)).astype(np.float64)
            sparse = self.fitted(layer, kernel) if self.choice == "fitted" else self.drawn(kernel, random)
            kernel_of(fresh.get_layer(layer.name)).assign(np.clip(sparse, low, high))
        notes: dict[str, Any] = {
            "layers": {layer.name: _change(layer, fresh.get_layer(layer.name)) for layer in layers}
        }
        if self.epochs:
            notes[f"untrained_{task.metric.key}"] = round(task.validation_score(fresh), 5)
            notes |= train(fresh, task, self, seed, progress=progress)
        return StageResult(fresh, notes)

    def fitted(self, layer: Any, kernel: Floats) -> Floats:
        """Return the kernel with its round(density * size) largest weights, fitted in the spectral norm."""
        (selected,) = largest([np.abs(kernel)], round(self.density * kernel.size))
        places = matrix(layer, np.arange(1, kernel.size + 1).reshape(kernel.shape))  # 0 off a depthwise channel
        sparse = np.zeros(kernel.size + 1)
        sparse[places] = fitted(matrix(layer, kernel), matrix(layer, selected))
        return sparse[1:].reshape(kernel.shape)

    def drawn(self, kernel: Floats, random: np.random.Generator) -> Floats:
        """Return the kernel with round(density * size) weights, or fewer where fewer are not zero."""
        magnitudes = np.abs(kernel)
        priorities = magnitudes * (1 - random.random(kernel.shape)) ** (-1 / self.power)
        (selected,) = largest([priorities], round(self.density * kernel.size))
        threshold = priorities[~selected].max(initial=0.0)
        if not self.rescale or not threshold:
            return np.where(selected, kernel, 0.0)
        probability = np.minimum(1, (magnitudes / threshold) ** self.power)
        rescaled: Floats = np.divide(kernel, probability, out=np.zeros_like(kernel), where=selected)
        return rescaled


def _change(before: Any, after: Any) -> dict[str, Any]:
    """Return the spectral error and the singular values of a layer, beside those of magnitude pruning."""
    whole, sparse = (matrix(of, kernel_integers(of) * kernel_step(of)) for of in (before, after))
    sizes = np.abs(keras.ops.convert_to_numpy(kernel_of(before)))
    (large,) = largest([sizes], int(keras.ops.count_nonzero(kernel_of(after))))
    magnitude = whole * matrix(before, large)
    return {
        "error": _error(whole, sparse),
        "magnitude_error": _error(whole, magnitude),
        "singular_values": _singular(whole),
        "kept_singular_values": _singular(sparse),
        "magnitude_singular_values": _singular(magnitude),
    }


def _error(whole: Floats, part: Floats) -> float:
    size = np.linalg.norm(whole, 2)
    return round(float(np.linalg.norm(whole - part, 2) / size), 5) if size else 0.0


def _singular(matrix: Floats) -> list[float]:
    return [round(float(value), 5) for value in np.linalg.svd(matrix, compute_uv=False)]
