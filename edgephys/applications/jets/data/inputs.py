"""Read what a network sees: columns of a jet's constituents, or high-level features of the whole jet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import substructure
from edgephys.applications.jets.data.files import Jets
from edgephys.core.errors import UsageError


def read(path: Path | Sequence[Path], constituents: int, features: Sequence[str], limit: int | None = None) -> Jets:
    """Read the features of the jets of a file, of several, or of a folder of *.h5; at most `limit` jets.

    Names of `substructure.HIGH_LEVEL` are computed from the hardest constituents, one row a jet; others are
    columns of the `constituents` hardest, by name.

    Shape: features (jet, constituent, feature); (jet, 1, feature) where they are high-level.
    Units: as `jets.read` and `substructure.observables`.
    Raises: DataError as `jets.read`; UsageError where the two kinds are mixed, or high-level features are asked
    of other than 1 constituent.
    """
    known = [name for name in features if name in substructure.HIGH_LEVEL]
    if not known:
        return jets.read(path, constituents, features, limit)
    if len(known) < len(features):
        other = next(name for name in features if name not in substructure.HIGH_LEVEL)
        raise UsageError(
            f"features must be all high-level or all columns of constituents, not '{known[0]}' with '{other}'; "
            "leave one kind out"
        )
    if constituents != 1:
        raise UsageError(
            f"constituents must be 1 with high-level features, which are of the whole jet, not {constituents}; "
            "set constituents=1"
        )
    return _high_level(path, features, limit)


def _high_level(path: Path | Sequence[Path], features: Sequence[str], limit: int | None) -> Jets:
    columns = [substructure.HIGH_LEVEL.index(name) for name in features]
    values, labels, sources = [], [], []
    for part in jets.slices(path, substructure.CONSTITUENTS, substructure.COORDINATES, limit):
        values.append(substructure.observables(part.features)[:, columns])
        labels.append(part.labels)
        if part.source not in sources:
            sources.append(part.source)
    return Jets(np.concatenate(values)[:, None, :], np.concatenate(labels), tuple(features), ", ".join(sources))
