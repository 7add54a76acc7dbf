"""What the rival's environment reads: the jets as our model reads them, and the settings of a training."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.core.errors import ModelError
from edgephys.core.files import write_json, written_in_part
from edgephys.models.trained import Trained
from edgephys.targets.rtl import logic
from edgephys.targets.rtl.options import RtlOptions

VECTORS = 12_000
"""Held-out jets through the rival's logic: as many as our simulations take."""
WIDTHS = {"linear_interaction": ("phi", "meeting", "objects", "rho"), "deepsets": ("phi", "rho")}
"""Settings that state the widths of a network of ours, by the rival's name for it."""
TABLE_SET = "table_set"
"""HGQ-LUT's network on sets, whose widths are its own."""
LAYERS, TABLES = "layers", "tables"

Settings = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def arrays(task: Task, jets: int | None, seed: int) -> Arrays:
    """Return the inputs of the model: train, validation and test jets with labels; ``jets`` draws some to train on.

    Shape: *_x (jet, constituent, feature), standardised, each a multiple of the input's step; *_y (jet,).
    """
    x, y = task.train
    if jets is not None and jets < len(y):
        drawn = np.random.default_rng(seed).permutation(len(y))[:jets]
        x, y = x[drawn], y[drawn]
    test = task.input.values(task.test.inputs)
    parts = {"train": (x, y), "validation": task.validation, "test": (test, task.test.labels)}
    named: Arrays = {}
    for name, (values, labels) in parts.items():
        named |= {f"{name}_x": values.astype(np.float32), f"{name}_y": labels.astype(np.int32)}
    return named


def save_jets(jets: Mapping[str, NDArray[Any]], work: Path) -> str:
    """Write jets into ``work``, once, and return the name of their file, which is that of their content."""
    digest = hashlib.sha256()
    for name in sorted(jets):
        digest.update(f"{name} {jets[name].dtype} {jets[name].shape}".encode())
        digest.update(np.ascontiguousarray(jets[name]).data)
    path = work / f"jets_{digest.hexdigest()[:12]}.npz"
    if not path.is_file():
        work.mkdir(parents=True, exist_ok=True)
        with written_in_part(path) as part, part.open("wb") as stream:
            np.savez(stream, **jets)  # type: ignore[arg-type]
    return path.name


def network_of(trained: Trained, layers: str) -> str:
    """Return the rival's name for the network of a model.

    Raises: ModelError for a network that the rival is not built as, or whose mean over constituents HGQ2 cannot take.
    """
    net = trained.card.net
    names = [name for name, widths in WIDTHS.items() if set(widths) <= set(net)]
    if not names:
        raise ModelError(
            f"model '{trained.name}': the rival is built as a Deep Sets, with phi and rho, or as a linear interaction "
            "network, with meeting and objects, too; name one of those"
        )
    constituents = net["constituents"]
    if constituents & (constituents - 1):
        raise ModelError(
            f"model '{trained.name}': constituents must be a power of two, not {constituents}: HGQ2's mean"
        )
    return TABLE_SET if layers == TABLES else names[0]


def settings_of(
    trained: Trained, task: Task, chosen: argparse.Namespace, jets_file: str, beta: float, seed: int
) -> Settings:
    """Return the settings of one training.  Raises: ModelError as ``network_of`` does."""
    net, network = trained.card.net, network_of(trained, chosen.layers)
    widths = {name: net[name] if isinstance(net[name], int) else list(net[name]) for name in WIDTHS.get(network, ())}
    stated = ("beta_rises", "rounding", "epochs", "batch", "learning_rate", "cycle", "jets")
    return {
        "model": trained.name,
        "family": trained.card.recipe.get("script", f"jet_{network}"),
        "network": network,
        "shape": [net["constituents"], len(net["features"])],
        **widths,
        "classes": len(trained.classes),
        "input": [int(task.input.signed), task.input.bits, task.input.integer],
        "hardware": list(logic.HARDWARE),
        "solver": dict(logic.SOLVER),
        "cutoff_ns": RtlOptions().stage_ns,
        "vectors": VECTORS,
        "beta": beta,
        "seed": seed,
        **{name: getattr(chosen, name) for name in stated},
        "jets_file": f"../{jets_file}",
    }


def export(settings: Settings, work: Path) -> Path:
    """Write ``settings.json`` into the folder of the training, which is named after all settings; return the folder."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    name = f"{settings['model']}_{settings['network']}_beta{settings['beta']:g}_seed{settings['seed']}_{key}"
    folder = work / name
    if not (folder / "settings.json").is_file():
        write_json(folder / "settings.json", settings)
    return folder
