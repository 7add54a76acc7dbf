"""Runtimes of others that run a file which the bench has; each is optional, and a row of every model that has it.

A new one is an entry of PEERS and a function that loads it. Its rows, labels and colours follow.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError


@dataclass(frozen=True)
class Peer:
    """State a runtime of others.

    ``load`` is the module and function that loads it, as in RUNNERS. ``labels`` has a label for each runner whose file
    it runs. Where not ``exact`` it is also timed where its outputs differ; their number is stated.
    """

    name: str
    load: str
    labels: Mapping[str, str]
    exact: bool = True


PEERS = (
    Peer(
        "tract",
        "edgephys.bench.tract_runtime:tract",
        {"keras_onnx": "tract, Keras' export", "onnx": "tract, our export"},
    ),
    Peer("sofie", "edgephys.bench.sofie_runtime:sofie", {"onnx": "SOFIE, our export"}),
    Peer(
        "emlearn",
        "edgephys.bench.emlearn_runtime:emlearn",
        {"onnx": "emlearn, activations neither rounded nor clipped"},
        False,
    ),
)


def peer_jobs(job: Job) -> list[Job]:
    """Return the jobs of the peers that run the file of a job; ``onnx mine`` becomes ``onnx_tract mine``."""
    kind, _, name = job.target.partition(" ")
    return [
        replace(
            job,
            target=f"{kind}_{peer.name} {name}".strip(),
            runner=peer.load,
            must_match=job.must_match and peer.exact,
        )
        for peer in PEERS
        if job.runner in peer.labels
    ]


def peer_labels() -> dict[str, str]:
    """Return the label of each kind of target of a peer."""
    return {f"{runner}_{peer.name}": label for peer in PEERS for runner, label in peer.labels.items()}


def imported(package: str) -> Any:
    """Return the module of a peer; numpy's handling of float errors, which emlearn changes for everybody, stays.

    Raises: ToolError, with what to install, where it is missing.
    """
    try:
        with np.errstate():
            return importlib.import_module(package)
    except ImportError as error:
        raise ToolError(f"{package} is missing ({error}): pip install {package}") from error
