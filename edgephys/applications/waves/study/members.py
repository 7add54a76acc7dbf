"""Trained wave networks side by side: which they are, and how long a training step of each takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.core.errors import ModelError, UsageError
from edgephys.models.trained import Trained, load
from edgephys.networks.backend import keras

PLAIN = "full"
ROUNDS, STEPS_A_ROUND, WARM = 7, 8, 3
"""Of the measured training steps: networks take turns, so that what else the machine does meets all alike."""


@dataclass(frozen=True, eq=False)
class Member:
    """Hold a trained wave network and the net that its card states."""

    folder: Path
    trained: Trained
    net: WaveCnn

    @property
    def kind(self) -> tuple[str, int | None, int | None]:
        """Return format, rank and bits: what seeds have in common."""
        return self.net.format, self.net.rank, self.net.bits


def members(folders: Sequence[Path]) -> list[Member]:
    """Return the networks of some folders.

    Raises: ModelError for a folder without one; UsageError for a model that advances no wave, for one that is there
    twice, and for networks of different grids, which no file fits.
    """
    found = [_member(folder) for folder in folders]
    seen: dict[tuple[Any, ...], Path] = {}
    for member in found:
        named = (*member.kind, member.net.width, member.net.depth, member.trained.card.seed)
        if named in seen:
            raise UsageError(f"{member.folder}: the same network and seed as {seen[named]}; name each once")
        seen[named] = member.folder
        if member.net.grid != found[0].net.grid:
            raise UsageError(
                f"{member.folder}: its grid must be {found[0].net.grid}, as that of {found[0].folder}, not "
                f"{member.net.grid}; make a table for each grid"
            )
    return sorted(found, key=lambda member: (member.net.format != PLAIN, member.trained.name, member.trained.card.seed))


def _member(folder: Path) -> Member:
    trained = load(folder)
    net = trained.card.net
    if "grid" not in net:
        raise UsageError(
            f"{folder}: expected a network that advances a wave, found {trained.name}; see models/wave_cnn.py"
        )
    try:
        return Member(folder, trained, WaveCnn(**{**net, "weight_integers": dict(net.get("weight_integers", {}))}))
    except TypeError as error:
        raise ModelError(f"{folder}: its card states no wave network of ours ({error}); train it again") from error


def distinct(found: Sequence[Member]) -> dict[tuple[Any, ...], Member]:
    """Return one network of each kind."""
    return {member.kind: member for member in reversed(found)}


def step_seconds(of: Mapping[tuple[Any, ...], Member]) -> dict[tuple[Any, ...], float]:
    """Return the median seconds of one training step of each network, at its own batch, one frame ahead.

    Networks take turns in one process, on zeros, for the arithmetic takes as long on any field.
    """
    ready = {}
    for kind, member in of.items():
        model = member.net.build()
        model.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=False)
        batch = int(member.trained.card.recipe["batch"])
        x = np.zeros((batch, *model.input_shape[1:]), np.float32)
        for _ in range(WARM):
            model.train_on_batch(x, x[..., :1])
        ready[kind] = model, x
    taken: dict[tuple[Any, ...], list[float]] = {kind: [] for kind in of}
    for _ in range(ROUNDS):
        for kind, (model, x) in ready.items():
            began = time.perf_counter()
            for _ in range(STEPS_A_ROUND):
                model.train_on_batch(x, x[..., :1])
            taken[kind].append((time.perf_counter() - began) / STEPS_A_ROUND)
    return {kind: median(times) for kind, times in taken.items()}
