"""Part a set of labelled examples into disjoint sets that hold every class alike."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgephys.core.errors import DataError, UsageError


def stratified(
    labels: npt.NDArray[np.int64], fractions: Mapping[str, float], seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Draw disjoint parts, such as {"train": 0.8, "test": 0.2}, each with every class in proportion.

    A class is cut at its rounded cumulative fractions, so that parts that add up to one use every
    example. The same labels, fractions and seed give the same parts; indices rise within a part.

    Shape: labels (example,) to indices (example of the part,).
    Raises: UsageError when a fraction is not above 0 or they add up to more than 1; DataError when
    a class is too small to give each part an example.
    """
    _check(fractions)
    random = np.random.default_rng(seed)
    bounds = np.concatenate([[0.0], np.cumsum(list(fractions.values()))])
    parts: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in fractions}
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.minimum(bounds, 1.0) * len(members)).astype(np.int64)
        for (name, chosen), start, stop in zip(parts.items(), cuts[:-1], cuts[1:], strict=True):
            if stop == start:
                raise DataError(
                    f"split: class {label} must give part '{name}' an example, its "
                    f"{len(members)} are too few for a fraction of {fractions[name]:g}; "
                    "use more data or a larger fraction"
                )
            chosen.append(members[start:stop])
    return {
        name: np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
        for name, chosen in parts.items()
    }


def _check(fractions: Mapping[str, float]) -> None:
    for name, fraction in fractions.items():
        if not fraction > 0.0:
            raise UsageError(
                f"split: fraction of part '{name}' must be above 0, not {fraction:g}; "
                "leave the part out or give it a share"
            )
    total = sum(fractions.values())
    if total > 1.0 + 1e-9:
        raise UsageError(f"split: fractions must add up to 1 or less, not {total:g}; lower them")
