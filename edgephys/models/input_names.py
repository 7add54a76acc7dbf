"""Names of the numbers of a joined input: each states its own input and its place there, such as ``field[3,1]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np


def numbered(inputs: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return a name for each number of inputs that are flat and joined in their order."""
    return tuple(
        f"{name}[{','.join(map(str, place))}]" for name, shape in inputs.items() for place in np.ndindex(*shape)
    )


def inputs_of(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the inputs that ``numbered`` names, each with its shape; nothing for other names."""
    if not all(name.endswith("]") and "[" in name for name in names):
        return {}
    lasts = [list(group)[-1] for _, group in groupby(names, lambda name: name.rpartition("[")[0])]
    places = [last.rpartition("[") for last in lasts]
    return {name: tuple(int(at) + 1 for at in place[:-1].split(",") if at) for name, _, place in places}
