"""Sparse momentum: train from scratch at a fixed density; after each epoch weights move to places of large momentum.

Source: arXiv 1907.04840 and its code, whose steps are numbered below: 1 importance, 2 rate, 3 prune, 4 redistribute,
5 grow, 6 apply the mask, 7 control the number of missing weights. Ours: Adam by default, with the code's importance for
it; a last step that makes the number of weights exact, which the published steps reach only on average; no L2 penalty;
a learning rate of half a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import fan_in, kernel_layers, kernel_limits, kernel_step, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.training_loop import TrainingHooks, falling_rate, train
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of

Floats = NDArray[np.float32]
Selection = NDArray[np.bool_]

LAST_RATE = 0.005
"""Prune rate at the end of the cosine."""

DENSE = 0.2
"""Sparsity below which an important layer is pruned by no more than its sparsity."""

MOST_GROWTH = 0.99
"""Share of a layer's zeros that may grow."""


@register("sparse_momentum")
@dataclass(frozen=True)
class SparseMomentum(Training):
    """Train from random weights with the share ``density`` of all kernel weights.

    ``prune_rate`` is the share of the weights that move after the first epoch; it falls along ``rate_schedule``.
    ``optimizer`` is adam, or sgd with Nesterov momentum 0.9, which needs a learning rate near 0.1.
    """

    density: float = 0.05
    prune_rate: float = 0.5
    rate_schedule: str = "cosine"
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("density", self.density, 0, 1, above=True)
        require("prune_rate", self.prune_rate, 0, 1, above=True)
        one_of("rate_schedule", self.rate_schedule, ("cosine", "linear"))
        one_of("optimizer", self.optimizer, ("adam", "sgd"))

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return a sparse model of the same layers; zeros of the start model may become weights."""
        kernel_layers(model)
        fresh = rebuilt(model)
        sparse = SparseKernels(kernel_layers(fresh), self.density, np.random.default_rng(seed))

        def move(epoch: int, optimizer: Any) -> None:
            if epoch:
                sparse.move(self.rate(epoch), lambda kernel: importance(optimizer, kernel))

        hooks = TrainingHooks(
            grows=True,
            after_step=lambda *_: sparse.apply_masks(),
            before_epoch=move,
            best_from=min(1, self.epochs - 1),  # the first masks are not exact
        )
        optimizer = keras.optimizers.Adam(falling_rate(task, self))
        if self.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(falling_rate(task, self), momentum=0.9, nesterov=True)
        notes = train(fresh, task, self, seed, hooks, progress, optimizer)
        counts = {layer.name: int(keras.ops.count_nonzero(kernel_of(layer))) for layer in sparse.layers}
        return StageResult(fresh, {**notes, "target": sparse.target, "nonzero": counts})

    def rate(self, epochs: int) -> float:
        """Return the prune rate after some epochs."""
        through = epochs / self.epochs
        if self.rate_schedule == "linear":
            return self.prune_rate * (1 - through)
        return LAST_RATE + (self.prune_rate - LAST_RATE) * (1 + math.cos(math.pi * through)) / 2


def importance(optimizer: Any, kernel: Any) -> Floats:
    """Return |m| of each weight: the momentum of SGD, m1 / (sqrt(m2) + 1e-8) of Adam."""
    at = optimizer._get_variable_index(kernel)
    if isinstance(optimizer, keras.optimizers.SGD):
        momenta: Floats = np.abs(keras.ops.convert_to_numpy(optimizer.momentums[at]))
        return momenta
    first, second = (keras.ops.convert_to_numpy(of[at]) for of in (optimizer._momentums, optimizer._velocities))
    momenta = np.abs(first) / (np.sqrt(second) + np.float32(1e-8))
    return momenta


class SparseKernels:
    """Hold a model's kernels, which start at random, and their masks, which move."""

    def __init__(self, layers: Sequence[Any], density: float, random: np.random.Generator) -> None:
        self.layers = layers
        self.target = round(density * sum(math.prod(kernel_of(layer).shape) for layer in layers))
        self.masks = {}
        self.adjustment = 0.0
        self.missed: list[int] = []
        for layer in layers:
            low, high = (kernel_step(layer) * limit for limit in kernel_limits(layer))
            shape = kernel_of(layer).shape
            drawn = keras.initializers.HeNormal(seed=int(random.integers(2**31)))(shape)
            # Keras takes all channels for the fan-in of a depthwise kernel
            drawn *= math.sqrt(math.prod(shape[:-1]) / fan_in(layer))
            mask = random.random(tuple(kernel_of(layer).shape)) < density
            self.masks[layer.name] = keras.Variable(mask.astype(np.float32), dtype="float32", name="mask")
            kernel_of(layer).assign(keras.ops.clip(drawn, low, high))
            if layer.use_bias:
                layer.bias.assign(keras.ops.zeros_like(layer.bias))
        self.apply_masks()

    def apply_masks(self) -> None:
        """Set the weights outside the masks to zero."""
        for layer in self.layers:
            kernel_of(layer).assign(kernel_of(layer).value * self.masks[layer.name].value)

    def move(self, rate: float, momentum: Callable[[Any], Floats]) -> None:
        """Prune and grow: steps 1 to 7, then make the number of weights exact."""
        momenta = [momentum(kernel_of(layer)) for layer in self.layers]
        masks = [keras.ops.convert_to_numpy(self.masks[layer.name]) != 0 for layer in self.layers]
        kernels = [keras.ops.convert_to_numpy(kernel_of(layer)) for layer in self.layers]
        grown = regrown(kernels, momenta, masks, rate, self.adjustment)
        missing = self.target - sum(int(mask.sum()) for mask in grown)
        self.missed.append(missing)
        self.adjustment = 0.25 * self.adjustment + 0.75 * missing + float(np.mean(self.missed))  # step 7
        for layer, mask in zip(self.layers, exactly(kernels, momenta, grown, self.target), strict=True):
            self.masks[layer.name].assign(mask.astype(np.float32))
        self.apply_masks()  # step 6


def regrown(
    kernels: Sequence[Floats], momenta: Sequence[Floats], masks: Sequence[Selection], rate: float, adjustment: float
) -> list[Selection]:
    """Return the masks after steps 1 to 5; a pruned weight may grow again at once."""
    means = [float(momentum[mask].mean()) if mask.any() else 0.0 for momentum, mask in zip(momenta, masks, strict=True)]
    total = sum(means)
    shares = [mean / total if total else 1 / len(masks) for mean in means]  # 1
    removed = []
    for mask, share in zip(masks, shares, strict=True):
        sparsity = 1 - mask.mean()
        careful = sparsity < DENSE and share > 1 / len(masks)
        removed.append(math.ceil((min(sparsity, rate) if careful else rate) * mask.sum()))  # 2
    pruned = [_pruned(*of) for of in zip(kernels, masks, removed, strict=True)]  # 3
    room = [MOST_GROWTH * float((~mask).sum()) for mask in pruned]
    wanted = [float(math.ceil(share * (sum(removed) + adjustment))) for share in shares]
    growth = shared_out(wanted, room)  # 4
    return [_grown(*of) for of in zip(momenta, pruned, map(math.floor, growth), strict=True)]  # 5


def shared_out(wanted: Sequence[float], room: Sequence[float]) -> list[float]:
    """Return the growth of each layer: growth beyond a layer's room is shared equally among all, repeatedly."""
    growth, extra = list(wanted), 0.0
    for _ in range(1000):
        demand = [of + extra for of in growth]
        growth = [min(of, most) for of, most in zip(demand, room, strict=True)]
        over = sum(demand) - sum(growth)
        if over <= 0:
            break
        extra = over / len(growth)
    return growth


def exactly(
    kernels: Sequence[Floats], momenta: Sequence[Floats], masks: Sequence[Selection], target: int
) -> list[Selection]:
    """Return masks of ``target`` weights in total.

    Missing weights grow where the model's momenta are largest. If there are too many, the smallest weights are
    removed; among those that have just grown, which are zero, the ones with the smallest momenta. Ours.
    """
    sizes = [mask.size for mask in masks]
    flat, weights, momentum = (np.concatenate([of.ravel() for of in part]) for part in (masks, kernels, momenta))
    missing = target - int(flat.sum())
    if missing > 0:
        free = np.flatnonzero(~flat)
        flat[free[np.argsort(-momentum[free], kind="stable")[:missing]]] = True
    elif missing < 0:
        active = np.flatnonzero(flat)
        flat[active[np.lexsort((momentum[active], np.abs(weights[active])))[:-missing]]] = False
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(mask.shape) for part, mask in zip(parts, masks, strict=True)]


def _pruned(kernel: Floats, mask: Selection, count: int) -> Selection:
    """Return the mask without the ``count`` smallest of its weights; the zeros outside it come first in the order."""
    order = np.lexsort((np.abs(kernel).ravel(), mask.ravel()))
    left = mask.copy()
    left.ravel()[order[: int((~mask).sum()) + count]] = False
    return left


def _grown(momentum: Floats, mask: Selection, count: int) -> Selection:
    """Return the mask with the ``count`` largest momenta outside it."""
    free = np.flatnonzero(~mask.ravel())
    wider = mask.copy()
    wider.ravel()[free[np.argsort(-momentum.ravel()[free], kind="stable")[: max(0, count)]]] = True
    return wider
