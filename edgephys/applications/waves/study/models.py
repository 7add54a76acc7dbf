"""Trained wave networks side by side: which they are, and how long a training step of each takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.applications.waves.networks.wave_net import WaveNet
from edgephys.applications.waves.networks.wave_operator import WaveOperator
from edgephys.core.errors import ModelError, UsageError
from edgephys.core.reading import MALFORMED, fault
from edgephys.models.card import Card
from edgephys.models.trained import Trained, load
from edgephys.networks.backend import keras

NETWORKS: tuple[type[WaveNet], ...] = (WaveCnn, WaveOperator)
PLAIN = "full"
VERSIONS = ("edgephys", "keras")
"""Packages whose versions a table states, as the cards have them."""
LARGEST_BATCH = 65_536
ROUNDS, STEPS_A_ROUND, WARM = 7, 8, 3
"""Of the measured training steps: networks take turns, so that what else the machine does meets all alike."""


@dataclass(frozen=True, eq=False)
class WaveModel:
    """Hold a trained wave network and the net that its card states."""

    folder: Path
    trained: Trained
    net: WaveNet

    @property
    def kind(self) -> tuple[str, int | None, int, int | None]:
        """Return structure, rank, stride and bits: what seeds have in common."""
        return self.net.structure, self.net.rank, self.net.stride, self.net.bits


def wave_models(folders: Sequence[Path]) -> list[WaveModel]:
    """Return the networks of some folders.

    Raises: ModelError for a folder without one; UsageError for a model that advances no wave, for one that is there
    twice, and for networks of different grids, which no file fits.
    """
    models = [_wave_model(folder) for folder in folders]
    first_folders: dict[tuple[Any, ...], Path] = {}
    for member in models:
        named = (*member.kind, member.net.width, member.net.depth, member.trained.card.seed)
        if named in first_folders:
            first = first_folders[named]
            raise UsageError(f"{member.folder}: the same network and seed as {first}; name each once")
        first_folders[named] = member.folder
        if member.net.grid != models[0].net.grid:
            raise UsageError(
                f"{member.folder}: its grid must be {models[0].net.grid}, as that of {models[0].folder}, not "
                f"{member.net.grid}; make a table for each grid"
            )
    return sorted(
        models, key=lambda member: (member.net.structure != PLAIN, member.trained.name, member.trained.card.seed)
    )


def _wave_model(folder: Path) -> WaveModel:
    trained = load(folder)
    net = trained.card.net
    if "grid" not in net:
        raise UsageError(
            f"{folder}: expected a network that advances a wave, found {trained.name}; see models/wave_cnn.py "
            "and models/wave_operator.py"
        )
    try:
        _require_stated(trained.card)
        network = next(of for of in NETWORKS if net.keys() <= {field.name for field in fields(of)})
        return WaveModel(folder, trained, network(**{**net, "weight_integers": dict(net.get("weight_integers", {}))}))
    except (*MALFORMED, StopIteration) as error:
        raise ModelError(
            f"{folder}: its card states no wave network of ours ({fault(error)}); train it again"
        ) from error


def _require_stated(card: Card) -> None:
    """Raise an error of MALFORMED where a card lacks what tables of wave networks read from it."""
    if missing := set(VERSIONS) - set(card.versions):
        raise ValueError(f"versions must state {' and '.join(sorted(missing))}")
    if not 1 <= card.recipe["batch"] <= LARGEST_BATCH:
        raise ValueError(f"batch must be 1..{LARGEST_BATCH}, not {card.recipe['batch']}")


def distinct(models: Sequence[WaveModel]) -> dict[tuple[Any, ...], WaveModel]:
    """Return one network of each kind."""
    return {member.kind: member for member in reversed(models)}


def step_seconds(of: Mapping[tuple[Any, ...], WaveModel]) -> dict[tuple[Any, ...], float]:
    """Return the median seconds of one training step of each network, at its own batch, one frame ahead.

    Networks take turns in one process, on zeros, for the arithmetic takes as long on any field.
    """
    ready = {}
    for kind, member in of.items():
        model = member.net.build()
        model.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=False)
        batch = member.trained.card.recipe["batch"]
        x = np.zeros((batch, *model.input_shape[1:]), np.float32)
        for _ in range(WARM):
            model.train_on_batch(x, x[..., :1])
        ready[kind] = model, x
    seconds: dict[tuple[Any, ...], list[float]] = {kind: [] for kind in of}
    for _ in range(ROUNDS):
        for kind, (model, x) in ready.items():
            began = time.perf_counter()
            for _ in range(STEPS_A_ROUND):
                model.train_on_batch(x, x[..., :1])
            seconds[kind].append((time.perf_counter() - began) / STEPS_A_ROUND)
    return {kind: median(times) for kind, times in seconds.items()}
