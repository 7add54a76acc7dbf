"""Vectors for a verification from a file of raw data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgephys.core.errors import ProjectError
from edgephys.models.raw_inputs import RawFeatures, standardisation_in
from edgephys.models.vectors import Vectors
from edgephys.project import Project, read_card
from edgephys.targets.emit_again import emit_again


def raw_vectors(project: Project, data: Path, limit: int | None = None) -> Vectors:
    """Return vectors generated of raw data through the model's own preprocessing; they have no stored outputs.

    Raises: DataError as the reader of the model's application.
    """
    from edgephys.applications import registry

    card = read_card(project)
    if card.imported is not None:
        from edgephys.models.importing import read_data

        inputs, answers = read_data(project.model, project.graph, data, limit)
        return Vectors(inputs, np.zeros(len(inputs), np.int64) if answers is None else answers)
    ready = card.standardisation
    if ready is None:
        raise ProjectError(f"{project.folder}: the model has no preprocessing of raw data; verify it without --data")
    raw = standardisation_in(project.graph)
    if raw is not None:
        ready = RawFeatures(**vars(raw))
    elif ready.output != project.graph.input.fixed:
        raise ProjectError(
            f"{project.folder}: the card's standardisation gives {ready.output}, the graph takes "
            f"{project.graph.input.fixed}; {emit_again(project.folder)}"
        )
    held = registry.of_card(card).read(ready, project.graph.input.shape, data, limit)
    return Vectors(held.inputs, held.labels)
