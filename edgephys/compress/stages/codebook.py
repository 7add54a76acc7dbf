"""Codebooks: each kernel has a few values, and these are trained.

Source: arXiv 1802.05668, section 3.2 (differentiable quantization), and its code. The weights are fixed; with the
scale alpha of its bucket, weight w becomes alpha * p of the point p that is nearest to w / alpha, so that
dL/dp_j = sum of alpha * dL/dw over the weights at point j. Points are sorted, and weights assigned, at each step.
Ours: alpha is a power of two and buckets have no offset; a kernel with zeros has a point that stays 0; points are
rounded, straight through, to the fixed point of their layer, so that the model stays an ordinary one; the optimiser is
Adam, as in all stages, and the biases are trained too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_integers, kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, require
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of, quantiser_of

FEWEST, MOST = 2, 256
MINIBATCHES = 5
"""Number of minibatches for the gradient norms by which points are redistributed."""


@register("codebook")
@dataclass(frozen=True)
class Codebook(Training):
    """Give each kernel at most ``points`` values and train them, from the quantiles of its weights.

    With ``trained`` false the points are the paper's uniform quantisation, from the lowest weight to the highest, and
    constant: the baseline, in which only the biases are trained. ``bucket`` weights share a scale, 0: a whole kernel;
    with several scales there are up to ``points`` values for each. With ``redistribute`` each kernel has half of its
    points, and a share of all other points by the norm of its gradient.
    """

    points: int = 16
    trained: bool = True
    bucket: int = 0
    redistribute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("points", self.points, FEWEST, MOST)
        require("bucket", self.bucket, 0)

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model whose kernels hold only points."""
        kernel_layers(model)
        fresh = rebuilt(model)
        layers = kernel_layers(fresh)
        counts = {layer.name: self.points for layer in layers}
        if self.redistribute:
            counts = redistributed(self.points, gradient_norms(fresh, task, self.batch, seed))
        books = {
            kernel_of(layer).path: KernelCodebook(layer, counts[layer.name], self.bucket, not self.trained)
            for layer in layers
        }

        def sort(*_: Any) -> None:
            for book in books.values():
                book.sort()

        hooks = TrainingHooks(
            computed={path: book.value for path, book in books.items()},
            variables=tuple(book.points for book in books.values() if self.trained),
            after_step=sort if self.trained else None,
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        values = {layer.name: len(np.unique(kernel_integers(layer))) for layer in layers}
        return StageResult(fresh, {**notes, "points": counts, "values": values})


class KernelCodebook:
    """Hold the points of one kernel, in order, and the weights that are assigned to them.

    Where the kernel has zeros, 0 is one of its points and is not trained.
    """

    def __init__(self, layer: Any, count: int, bucket: int = 0, uniform: bool = False) -> None:
        self.rounded = quantiser_of(layer)
        weights = keras.ops.convert_to_numpy(kernel_of(layer))
        scale = scales(weights, bucket)
        scaled = weights / scale
        self.zero = not weights.all()
        self.scale, self.scaled = tf.constant(scale), tf.constant(scaled)
        first = starting(scaled[scaled != 0], count - self.zero, uniform)
        self.points = keras.Variable(first, dtype="float32", name="points")

    def value(self) -> Any:
        """Return the weights: the nearest points, rounded straight through to the layer's fixed point."""
        points = self.points.value
        between = (points[1:] + points[:-1]) / 2
        nearest = tf.reduce_sum(tf.cast(self.scaled[..., None] > between, tf.int32), -1)
        values = tf.gather(points, nearest)
        if self.zero:
            values = tf.where(tf.abs(self.scaled - values) < tf.abs(self.scaled), values, 0.0)
        return self.rounded(self.scale * values)

    def sort(self) -> None:
        """Put the points in order."""
        self.points.assign(tf.sort(self.points.value))


def scales(weights: NDArray[np.float32], bucket: int) -> NDArray[np.float32]:
    """Return, for each weight, the power of two that bounds its bucket's weights; a bucket of 0 is the whole kernel.

    Shape: the kernel's.
    """
    flat = np.abs(weights).ravel()
    size = bucket or flat.size
    largest = np.maximum.reduceat(flat, np.arange(0, flat.size, size))
    powers = np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1.0))))
    repeated: NDArray[np.float32] = np.repeat(powers, size)[: flat.size].reshape(weights.shape).astype(np.float32)
    return repeated


def starting(scaled: NDArray[np.float32], count: int, uniform: bool) -> NDArray[np.float32]:
    """Return the initial points for weights that are not zero: quantiles, or uniform ones."""
    if not scaled.size:
        return np.zeros(count, np.float32)
    if uniform:
        return np.linspace(scaled.min(), scaled.max(), count, dtype=np.float32)
    quantiles: NDArray[np.float32] = np.quantile(scaled, (np.arange(count) + 0.5) / count).astype(np.float32)
    return quantiles


def gradient_norms(model: Any, task: Task, batch: int, seed: int) -> dict[str, float]:
    """Return the mean norm of the gradient of each layer's kernel over some minibatches, of the loss on the labels."""
    x, labels = task.train
    alone = dataclasses.replace(task, distillation=None)
    random = np.random.default_rng(seed)
    layers = kernel_layers(model)
    norms = np.zeros(len(layers))
    for _ in range(MINIBATCHES):
        rows = random.choice(len(x), min(batch, len(x)), replace=False)
        with tf.GradientTape() as tape:
            loss = alone.loss(labels[rows], model(x[rows]), None)
        gradients = tape.gradient(loss, [kernel_of(layer).value for layer in layers])
        norms += [float(tf.norm(gradient)) / MINIBATCHES for gradient in gradients]
    return dict(zip((layer.name for layer in layers), norms.tolist(), strict=True))


def redistributed(points: int, norms: Mapping[str, float]) -> dict[str, int]:
    """Return each kernel's number of points: half of ``points``, and a share of the rest by the norm of its gradient.

    The rest is assigned one by one to the kernel furthest behind its share (Sainte-Lague); none gets more than 256.
    Source: arXiv 1802.05668, section 3.2; the rounding is ours.
    """
    least = max(FEWEST, points // 2)
    counts = dict.fromkeys(norms, least)

    def behind(name: str) -> tuple[float, int]:
        return norms[name] / (2 * (counts[name] - least) + 1), -counts[name]

    for _ in range(len(norms) * (points - least)):
        counts[max((name for name in norms if counts[name] < MOST), key=behind)] += 1
    return counts
