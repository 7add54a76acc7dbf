"""The solver of ``data.equation`` in C: the same scheme on the same mesh, in float32, compiled for this processor.

On a mesh of squares a node is linked with its four neighbours. With v = u - u_before a step is u += v, then
v = back v - gain K u + force: in exact arithmetic the numbers of ``march``, with less rounding than 2 u - u_before.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.waves.data.equation import System, check, start
from edgephys.applications.waves.data.runs import RunPlan
from edgephys.applications.waves.data.scene import DIRICHLET, Floats, Scene
from edgephys.bench.compiled_runtime import native_flags, shared_library
from edgephys.core import processes
from edgephys.core.errors import DataError

SOURCE = Path(__file__).with_name("solver.c")
LINE = 16
"""Numbers of float32 in a line of the cache: a row of nodes begins with one."""

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Hold the coefficients of a step on a lattice of nodes within a ring in which u is 0.

    Shape: ``across`` (a node with the next one of its row), ``down`` (with the one below), ``back`` and ``gain`` (row,
    width); the last two are None where nothing is damped. ``rows`` and ``columns`` are the place of each free node.
    """

    side: int
    across: Singles
    down: Singles
    back: Singles | None
    gain: Singles | None
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def spread(self, values: Floats) -> Singles:
        """Return numbers of the free nodes on the lattice, 0 elsewhere.  Shape: (node,) -> (row, width)."""
        spread = np.zeros(self.across.shape, np.float32)
        spread[self.rows, self.columns] = values
        return spread


def mesh_of(system: System, dt: float) -> Mesh:
    """Return the coefficients of a step of ``dt`` for a system.

    A diagonal of the stiffness over the sum of its links is that of links with nodes on the edge, where u is 0: which
    of them holds how much of it makes no difference.
    """
    at_edge = 1 if system.medium.edges == DIRICHLET else 0
    columns, rows = (np.rint(place * system.cells).astype(np.int64) - at_edge for place in (system.x, system.y))
    side = int(columns.max()) + 1
    half_damping = 0.5 * dt * system.damping
    gain = dt * dt / (system.mass + half_damping)
    inner = dt * dt / float(system.mass.max())  # of a node off the edge, which is not damped
    links = system.stiffness.tocoo()
    across, down = np.zeros((2, side + 2, -(-(side + 2) // LINE) * LINE))
    for link, of_row, of_column in ((across, 0, 1), (down, 1, 0)):
        chosen = (rows[links.col] - rows[links.row] == of_row) & (columns[links.col] - columns[links.row] == of_column)
        first = links.row[chosen]
        link[rows[first] + 1, columns[first] + 1] = -inner * links.data[chosen]
    rows, columns = rows + 1, columns + 1
    rest = inner * (system.stiffness @ np.ones(len(system.mass)))
    if at_edge:
        _link_with_edge(across, down, rows, columns, side, rest)
    mesh = Mesh(side, across.astype(np.float32), down.astype(np.float32), None, None, rows, columns)
    if not system.damping.any():
        return mesh
    back = mesh.spread((system.mass - half_damping) / (system.mass + half_damping))
    return Mesh(side, mesh.across, mesh.down, back, mesh.spread(gain / inner), rows, columns)


def _link_with_edge(across: Floats, down: Floats, rows: Any, columns: Any, side: int, rest: Floats) -> None:
    """Put what is left of each diagonal into the first link with the edge that a node has."""
    left, right, top = columns == 1, columns == side, rows == 1
    bottom = (rows == side) & ~left & ~right & ~top
    across[rows[left], 0] = rest[left]
    right &= ~left
    across[rows[right], side] = rest[right]
    top &= ~left & ~right
    down[0, columns[top]] = rest[top]
    down[side, columns[bottom]] = rest[bottom]


class CompiledSolver:
    """Solve a scene on a plan's mesh from its beginning on, at every call.

    Raises: as ``check`` and ``shared_library``.
    """

    def __init__(self, by: RunPlan, scene: Scene, system: System) -> None:
        """Lay the system out and compile the source, which a cache keeps."""
        check(system, scene, by.dt)
        self.mesh = mesh_of(system, by.dt)
        before, after = start(system, scene, by.dt)
        self.begin = self.mesh.spread(before), self.mesh.spread(after - before)
        self._state = tuple(np.empty_like(values) for values in self.begin)
        gain = by.dt**2 * system.mass / (system.mass + 0.5 * by.dt * system.damping)
        forces = [self.mesh.spread(gain * source.shape(system.x, system.y)) for source in scene.sources]
        self._forces = np.stack(forces) if forces else np.zeros(0, np.float32)
        self._signals = [
            np.array([getattr(source, name) for source in scene.sources], np.float64) for name in ("frequency", "delay")
        ]
        self._by = by
        self._first = by.refinement + (scene.medium.edges != DIRICHLET)
        flags = native_flags(wide=True)
        self._run = ctypes.CDLL(str(shared_library((SOURCE,), flags))).edgephys_wave
        self._run.restype = None
        self.version, self.flags = processes.find("gcc").version, " ".join(flags)

    def frames(self, count: int) -> Singles:
        """Return the first frames on the grid, without the one at time 0.  Shape: (frame, row, column).

        Raises: DataError where u is not finite.
        """
        frames = np.empty((count, self._by.grid, self._by.grid), np.float32)
        self.work(frames)
        if not np.isfinite(frames).all():
            raise DataError(f"wave equation in C: u must be finite, found NaN or infinity in {count} frames; lower dt")
        return frames

    def work(self, frames: Singles) -> None:
        """Write the first frames after the one at time 0."""
        for state, first in zip(self._state, self.begin, strict=True):
            np.copyto(state, first)
        by, mesh = self._by, self.mesh
        coefficients = mesh.across, mesh.down, mesh.back, mesh.gain
        count, *sizes = (
            ctypes.c_size_t(size)
            for size in (len(self._signals[0]), by.steps, len(frames), by.grid, self._first, by.refinement)
        )
        self._run(
            *(ctypes.c_size_t(size) for size in (mesh.side, mesh.across.shape[1])),
            *_pointers(*coefficients), count, *_pointers(self._forces, *self._signals), ctypes.c_double(by.dt), *sizes,
            *_pointers(*self._state, frames),
        )  # fmt: skip


def _pointers(*arrays: NDArray[Any] | None) -> list[ctypes.c_void_p | None]:
    return [None if array is None else ctypes.c_void_p(array.ctypes.data) for array in arrays]
