"""Pruning that preserves the spectrum: large weights stay, small ones are drawn with a chance that they earn.

Inspired by arXiv 2307.08982, of which we know the idea - pruning is matrix sparsification and should preserve the
spectrum - and not the sparsifier. Ours: |w| >= t stays; the rest with probability p = min(1, (|w| / t)**q),
rescaled by 1 / p if asked for, as in the sparsifiers of arXiv 1006.0407 (q = 2) and of Arora, Hazan and Kale (q = 1).
A convolution's kernel is the matrix (height * width * input channel, output channel), a depthwise one's zero off the
channel.
t is not bisected but found: with one uniform draw u a weight, w stays where t < |w| u**(-1/q), so that the t which
leaves exactly n weights is the (n+1)-th largest of these (priority sampling, Duffield, Lund and Thorup 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.masks import largest
from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_limits, kernel_step, rebuilt
from edgephys.compress.stage import Made, Progress, Training, require
from edgephys.compress.training_loop import descend
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of, matrix

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum(Training):
    """Keep the share ``density`` of each layer's weights, the small ones by chance.

    ``power`` is q: 1 or 2. With ``rescale`` a small weight that stays is divided by its probability, then clipped to
    its quantiser's range. 0 epochs leave the weights as they are drawn. The notes say how far each layer's matrix W
    moved, |W - W'| / |W| in the spectral norm, quantised and before any training, and its singular values, beside
    those of the largest weights at the same density.
    """

    fewest_epochs: ClassVar[int] = 0
    density: float = 0.5
    power: int = 1
    rescale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("density", self.density, 0, 1, above=True)
        require("power", self.power, 1, 2)

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the sparser model."""
        layers = kernel_layers(model)
        fresh = rebuilt(model, lambda layer: None)
        random = np.random.default_rng(seed)
        for layer in layers:
            low, high = (kernel_step(layer) * limit for limit in kernel_limits(layer))
            kernel = keras.ops.convert_to_numpy(kernel_of(layer)).astype(np.float64)
            kernel_of(fresh.get_layer(layer.name)).assign(np.clip(self.drawn(kernel, random), low, high))
        notes: dict[str, Any] = {"layers": {layer.name: _moved(layer, fresh.get_layer(layer.name)) for layer in layers}}
        if self.epochs:
            notes[f"untrained_{task.metric.key}"] = round(task.validation_score(fresh), 5)
            notes |= descend(fresh, task, self, seed, progress=progress)
        return Made(fresh, notes)

    def drawn(self, kernel: Floats, random: np.random.Generator) -> Floats:
        """Return the weights that stay, round(density * size) of them where there are so many."""
        magnitudes = np.abs(kernel)
        priorities = magnitudes * (1 - random.random(kernel.shape)) ** (-1 / self.power)
        (chosen,) = largest([priorities], round(self.density * kernel.size))
        threshold = priorities[~chosen].max(initial=0.0)
        if not self.rescale or not threshold:
            return np.where(chosen, kernel, 0.0)
        chance = np.minimum(1, (magnitudes / threshold) ** self.power)
        rescaled: Floats = np.divide(kernel, chance, out=np.zeros_like(kernel), where=chosen)
        return rescaled


def _moved(before: Any, after: Any) -> dict[str, Any]:
    """Return the spectral error and the singular values of a layer, beside those of its largest weights."""
    whole, kept = (matrix(of, kernel_integers(of) * kernel_step(of)) for of in (before, after))
    sizes = np.abs(keras.ops.convert_to_numpy(kernel_of(before)))
    (large,) = largest([sizes], int(keras.ops.count_nonzero(kernel_of(after))))
    magnitude = whole * matrix(before, large)
    return {
        "error": _error(whole, kept),
        "magnitude_error": _error(whole, magnitude),
        "singular_values": _singular(whole),
        "kept_singular_values": _singular(kept),
        "magnitude_singular_values": _singular(magnitude),
    }


def _error(whole: Floats, part: Floats) -> float:
    size = np.linalg.norm(whole, 2)
    return round(float(np.linalg.norm(whole - part, 2) / size), 5) if size else 0.0


def _singular(matrix: Floats) -> list[float]:
    return [round(float(value), 5) for value in np.linalg.svd(matrix, compute_uv=False)]
