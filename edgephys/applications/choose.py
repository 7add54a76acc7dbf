"""The task that a network is made for: jets where it is a tagger, waves where it advances one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgephys.applications.jets import task as tagging
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.applications.task import Task, Times
from edgephys.applications.waves import task as advance
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.core.errors import UsageError
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained
from edgephys.networks.network import Net

FIELD_RANK = 4
"""Axes of what a model of fields reads: field, row, column, channel."""


def prepare(
    net: Net, shares: tuple[float, float], seed: int, times: Times, data: Path, test_data: Path | None = None
) -> tuple[Task, Standardisation]:
    """Return a network's task on a file, divided by the shares of validation and test, and its standardisation.

    Raises: DataError as the readers; UsageError for a network that has no task.
    """
    if isinstance(net, WaveCnn):
        return advance.prepare(net, shares, seed, times, data, test_data)
    if not isinstance(net, Tagger):
        raise UsageError(f"net must be a tagger of jets or a WaveCnn, not {type(net).__name__}; see models/")
    if times != Times():
        raise UsageError(f"every and unroll must be 1 for jets, which have no times, not {times.every}, {times.unroll}")
    return tagging.prepare(net, shares, seed, data, test_data)


def task_of(trained: Trained, data: Path, test_data: Path | None = None) -> Task:
    """Return the task that a model was trained for, its examples divided as they were.  Raises: DataError."""
    return (advance.of_fields if _of_fields(trained) else tagging.of_jets)(trained, data, test_data)


def score(trained: Trained, data: Path) -> dict[str, Any]:
    """Return a model's figures, with their errors, on all examples of a file.  Raises: DataError."""
    return (advance.score if _of_fields(trained) else tagging.score)(trained, data)


def _of_fields(trained: Trained) -> bool:
    return len(trained.model.input_shape) == FIELD_RANK
