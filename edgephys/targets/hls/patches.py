"""Patches of a field that is streamed: which points of it each output gathers, and when the last of them has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.hls.dataflow import LoopPasses

OUTSIDE = -1
"""Index of a point beyond the edges, which is 0."""


@dataclass(frozen=True)
class Patches:
    """State patches of (rows, columns) of points, of which the first starts ``before`` the first point of the field.

    ``strides`` are the points from patch to patch, ``spread`` those from point to point in a patch. ``before`` is
    negative where the first patch starts further inside.
    """

    field: tuple[int, int]
    size: tuple[int, int]
    before: tuple[int, int]
    strides: tuple[int, int]
    spread: tuple[int, int]
    count: tuple[int, int]

    def indices(self) -> Integers:
        """Return the index of each point of each patch.  Shape: (*count, points of a patch)."""
        places = [
            _places(count, stride, before, points, spread)
            for count, stride, before, points, spread in zip(
                self.count, self.strides, self.before, self.size, self.spread, strict=True
            )
        ]
        rows, columns = places[0][:, None, :, None], places[1][None, :, None, :]
        inside = [(place >= 0) & (place < side) for place, side in zip((rows, columns), self.field, strict=True)]
        indices = np.where(inside[0] & inside[1], rows * self.field[1] + columns, OUTSIDE)
        return indices.reshape(*self.count, prod(self.size))

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first to the last point of a patch."""
        rows, columns = ((points - 1) * spread + 1 for points, spread in zip(self.size, self.spread, strict=True))
        return rows, columns

    @property
    def lag(self) -> int:
        """Points of the field before the last one of the first patch, in raster order."""
        rows, columns = (reach - 1 - before for reach, before in zip(self.reach, self.before, strict=True))
        return rows * self.field[1] + columns

    @property
    def loop(self) -> LoopPasses:
        """The passes of a process that reads the field in raster order: a patch leaves with its last point.

        Behind the last point of the field come those that lie beyond the edges.
        """
        starts = np.arange(self.count[0])[:, None] * self.strides[0] * self.field[1]
        writes = (starts + np.arange(self.count[1]) * self.strides[1]).reshape(-1) + self.lag
        points = prod(self.field)
        return LoopPasses(max(points, int(writes[-1]) + 1), np.arange(points), writes)

    @property
    def in_raster_order(self) -> bool:
        """Whether the last points of the patches come one after the other."""
        return self.lag >= 0 and (self.count[1] - 1) * self.strides[1] < self.field[1]


def fitted(indices: Integers, field: tuple[int, int]) -> Patches | None:
    """Return the patches that gather these points in raster order; None where there are none.

    Shape: indices (*count, points of a patch), with ``OUTSIDE`` beyond the edges of a field (rows, columns).
    """
    *count, points = indices.shape
    for rows in (rows for rows in range(1, points + 1) if points % rows == 0):
        table = indices.reshape(*count, rows, points // rows)
        inside = table != OUTSIDE
        vertical = _fit(np.where(inside, table // field[1], OUTSIDE).max((1, 3)), field[0])
        horizontal = _fit(np.where(inside, table % field[1], OUTSIDE).max((0, 2)), field[1])
        if vertical is None or horizontal is None:
            continue
        before, strides, spread = zip(vertical, horizontal, strict=True)
        patches = Patches(field, (rows, points // rows), before, strides, spread, (count[0], count[1]))
        if np.array_equal(patches.indices(), indices) and patches.in_raster_order:
            return patches
    return None


def whole_beats(indices: Integers, chunk: int) -> Integers | None:
    """Return the beats that indices read one after the other, ``OUTSIDE`` for zeros; None where they read parts."""
    if indices.size % chunk:
        return None
    groups = indices.reshape(-1, chunk)
    first = groups[:, :1]
    whole = np.where(first == OUTSIDE, OUTSIDE, first + np.arange(chunk))
    if not np.array_equal(groups, whole) or (first[first != OUTSIDE] % chunk).any():
        return None
    return np.where(first == OUTSIDE, OUTSIDE, first // chunk).reshape(-1)


def _places(count: int, stride: int, before: int, points: int, spread: int) -> Integers:
    """Return the places on one axis of the points of patches.  Shape: (count, points)."""
    return np.arange(count)[:, None] * stride - before + np.arange(points) * spread


def _fit(table: Integers, side: int) -> tuple[int, int, int] | None:
    """Return (before, stride, spread) of one axis from the places of points, those of one patch in a row."""
    patch, point = np.nonzero(table != OUTSIDE)
    if not patch.size:
        return None
    count, points = table.shape
    for spread in _steps(table, side):
        for stride in _steps(table.T, side):
            before = int(patch[0] * stride + point[0] * spread - table[patch[0], point[0]])
            places = _places(count, stride, before, points, spread)
            if np.array_equal(np.where((places >= 0) & (places < side), places, OUTSIDE), table):
                return before, stride, spread
    return None


def _steps(table: Integers, side: int) -> Sequence[int]:
    """Return what the step between neighbours in a row can be: any one where no two of them lie inside."""
    both = (table[:, 1:] != OUTSIDE) & (table[:, :-1] != OUTSIDE)
    steps = np.diff(table, axis=1)[both]
    if not steps.size:
        return range(1, side + 1)
    return [int(steps[0])] if steps[0] > 0 else []
