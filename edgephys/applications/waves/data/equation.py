"""The wave equation u_tt = div(c^2 grad u) + f on the unit square, by finite elements, stepped explicitly.

Linear triangles with a lumped mass, central differences in time: both errors are of second order. On the right-angled
triangles of this mesh the stiffness couples a node to its four neighbours only, by numbers below 0.

Source: Hughes, The Finite Element Method (1987), chapters 7 (lumped mass) and 9 (central differences); Courant,
Friedrichs, Lewy, Math. Ann. 100 (1928) 32 (the limit of the time step); Engquist, Majda, Math. Comp. 31 (1977) 629
(the absorbing edge, of first order); Keller, J. Math. Phys. 5 (1964) 548 (the geometric mean in two dimensions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from edgephys.applications.waves.data.scene import ABSORBING, DIRICHLET, Floats, Medium, Scene
from edgephys.core.errors import DataError, UsageError, not_installed

SUBDIVISION = 4
"""An element where an inclusion ends is sampled at SUBDIVISION^2 points."""

BOUND_ITERATIONS = 60


@dataclass(frozen=True, eq=False)
class System:
    """The matrices of a medium on a mesh of 2 `cells`^2 triangles, of the nodes that are free to move.

    Shape: `x`, `y`, `mass`, `damping` (node,); `stiffness` (node, node), sparse. `rate_bound` is no less than
    the largest eigenvalue of mass^-1 stiffness.
    """

    medium: Medium
    cells: int
    x: Floats
    y: Floats
    mass: Floats
    damping: Floats
    stiffness: Any
    rate_bound: float

    @property
    def dt_limit(self) -> float:
        """The longest stable time step, of CFL number 1."""
        return 2.0 / float(np.sqrt(self.rate_bound))

    def cfl(self, dt: float) -> float:
        """Return the CFL number of a time step: dt sqrt(largest eigenvalue) / 2, at most 1 where stable."""
        return dt / self.dt_limit


def import_skfem() -> ModuleType:
    """Import scikit-fem.

    Raises: ToolError when it is not installed.
    """
    try:
        import skfem
    except ImportError as missing:
        raise not_installed("wave generation", missing, "waves") from missing
    return skfem  # type: ignore[no-any-return,unused-ignore]


@lru_cache(maxsize=2)
def _basis(cells: int) -> Any:
    """Return the linear basis on a square of `cells` x `cells` squares, each cut in two triangles."""
    fem = import_skfem()
    ticks = np.arange(cells + 1) / cells
    return fem.Basis(fem.MeshTri.init_tensor(ticks, ticks), fem.ElementTriP1(), intorder=1)


def _free(cells: int, edges: str) -> Any:
    """Return the places of the nodes that are free to move among all nodes of the mesh."""
    mesh = _basis(cells).mesh
    every = np.arange(mesh.p.shape[1])
    return np.setdiff1d(every, mesh.boundary_nodes()) if edges == DIRICHLET else every


def assemble(medium: Medium, cells: int) -> System:
    """Assemble lumped mass, stiffness and edge damping of a medium.

    Shape: `cells` squares a side, nodes at their corners.
    c^2 of an element in which an inclusion ends is a geometric mean: between the arithmetic one, right along the
    boundary, and the harmonic one, right across it. Its error is two thirds of the arithmetic mean's.

    Raises: UsageError when the mesh has no node inside; ToolError when scikit-fem is missing.
    Source: Hughes, chapter 7; Engquist, Majda 1977: the absorbing edge is an edge mass times c.
    """
    if cells < 2:
        raise UsageError(f"wave mesh: cells must be 2 or more, not {cells}: it has no node inside; make it finer")
    fem = import_skfem()
    basis = _basis(cells)
    mesh = basis.mesh
    squares = _mean_squares(medium, mesh.p[:, mesh.t])[:, None]
    stiffness = fem.BilinearForm(lambda u, v, w: w.square * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1])).assemble(
        basis, square=squares
    )
    mass = fem.LinearForm(lambda v, w: 1.0 * v).assemble(basis)
    damping = np.zeros_like(mass)
    if medium.edges == ABSORBING:
        edge = fem.FacetBasis(mesh, basis.elem, intorder=2)
        damping = fem.LinearForm(lambda v, w: medium.speed_at(w.x[0], w.x[1]) * v).assemble(edge)
    free = _free(cells, medium.edges)
    stiffness = stiffness.tocsr()[free][:, free]
    stiffness.eliminate_zeros()
    x, y = mesh.p[:, free]
    bound = _rate_bound(stiffness, mass[free])
    return System(medium, cells, x, y, mass[free], damping[free], stiffness, bound)


def _mean_squares(medium: Medium, corners: Floats) -> Floats:
    """Return the geometric mean of c^2 over triangles: (axis, corner, element) -> (element,)."""
    if not medium.inclusions:
        return np.full(corners.shape[2], medium.speed**2)
    steps = range(SUBDIVISION)
    up = [(3 * i + 1, 3 * j + 1) for i in steps for j in steps if i + j < SUBDIVISION]
    down = [(3 * i + 2, 3 * j + 2) for i in steps for j in steps if i + j < SUBDIVISION - 1]
    total = np.zeros(corners.shape[2])
    for i, j in up + down:  # the centroids of SUBDIVISION^2 equal parts
        a, b = i / (3 * SUBDIVISION), j / (3 * SUBDIVISION)
        x, y = corners[:, 0] * (1.0 - a - b) + corners[:, 1] * a + corners[:, 2] * b
        total += np.log(medium.speed_at(x, y))
    squares: Floats = np.exp(2.0 * total / SUBDIVISION**2)
    return squares


def _rate_bound(stiffness: Any, mass: Floats) -> float:
    """Return a number no less than the largest eigenvalue of mass^-1 stiffness, and above it by little.

    For every positive vector d, max (|A| d)_i / d_i is such a bound; power iteration on d brings it down.
    Source: Collatz, Math. Z. 48 (1942) 221; Wielandt, Math. Z. 52 (1950) 642.
    """
    rates = abs(stiffness).multiply(1.0 / mass[:, None]).tocsr()
    vector = np.ones_like(mass)
    bound = np.inf
    for _ in range(BOUND_ITERATIONS):
        image = rates @ vector
        bound = min(bound, float(np.max(image / vector)))
        vector = image / image.max()
    return bound


def check_step(dt: float, limit: float, hint: str) -> None:
    """Refuse a time step that is not above 0 or not stable.

    Raises: UsageError.
    """
    if not 0.0 < dt <= limit:
        raise UsageError(
            f"wave equation: time step must be above 0 and at most {limit:.6g} (CFL number 1), not {dt:.6g}; {hint}"
        )


def check(system: System, scene: Scene, dt: float) -> None:
    """Raise UsageError where a scene is of another medium than the system, or the time step is unstable."""
    if scene.medium != system.medium:
        raise UsageError(
            f"wave equation: the scene must be of the system's medium, {system.medium}, not {scene.medium}; assemble it"
        )
    check_step(dt, system.dt_limit, "lower dt or make the mesh coarser")


def march(system: System, scene: Scene, dt: float, every: int = 1) -> Iterator[Floats]:
    """Step a scene through time and hand over u at time 0 and after every `every` steps, without end.

    Shape: each (node,), the free nodes of the system.
    Raises: UsageError when the time step is unstable or the system of another medium; DataError when u is not finite.
    Source: Hughes, chapter 9, central differences; damping at the same time level, so that no system is solved.
    """
    check(system, scene, dt)
    before, now = start(system, scene, dt)
    half_damping = 0.5 * dt * system.damping
    ahead = 1.0 / (system.mass + half_damping)
    back = (system.mass - half_damping) * ahead
    advance = system.stiffness.multiply((-(dt * dt) * ahead)[:, None]).tocsr()
    advance.setdiag(advance.diagonal() + 2.0 * system.mass * ahead)
    forces = [(source, dt * dt * system.mass * ahead * source.shape(system.x, system.y)) for source in scene.sources]
    yield before
    step = 1
    while True:
        if step % every == 0:
            if not np.isfinite(now).all():
                raise DataError(f"wave equation: u must be finite, found NaN or infinity at step {step}; lower dt")
            yield now
        after = advance @ now
        after -= back * before  # a new array: what was handed over stays as it is
        for source, force in forces:
            after += source.signal(step * dt) * force
        before, now, step = now, after, step + 1


def start(system: System, scene: Scene, dt: float) -> tuple[Floats, Floats]:
    """Return u at time 0 and after one step, of second order in the step.  Shape: (node,) each."""
    u, rate, force = (np.zeros_like(system.mass) for _ in range(3))
    for pulse in scene.pulses:
        u += pulse.field(system.x, system.y)
        rate += pulse.velocity(system.x, system.y)
    for source in scene.sources:
        force += source.signal(0.0) * source.shape(system.x, system.y)
    pull = force - (system.stiffness @ u) / system.mass
    slowed = 1.0 - 0.5 * dt * system.damping / system.mass
    return u, u + dt * slowed * rate + 0.5 * dt * dt * pull


def energy(system: System, before: Floats, after: Floats, dt: float) -> float:
    """Return the energy between two successive steps, which central differences keep where nothing is damped.

    It is 1/2 |(after - before) / dt|^2 in the mass and 1/2 before . stiffness . after.
    Exact: over 1,000 steps within u = 0 it drifts by 2e-14 of itself, by rounding alone.
    Source: Hughes, chapter 9.
    """
    speed = (after - before) / dt
    return float(0.5 * (speed @ (system.mass * speed)) + 0.5 * (before @ (system.stiffness @ after)))


def sampling(cells: int, edges: str, x: Floats, y: Floats) -> Any:
    """Return the sparse matrix that takes u of the free nodes to u at points, by linear interpolation.

    Shape: x and y (point,) to (point, node).
    """
    from scipy.sparse import csr_array

    mesh = _basis(cells).mesh
    centres = mesh.p[:, mesh.t].mean(axis=1)  # (axis, element)
    pairs = np.argsort(_square(cells, *centres), kind="stable").reshape(-1, 2)  # (square, element): two in each
    elements = pairs[_square(cells, x, y)]  # (point, element)
    shares = _barycentric(mesh.p[:, mesh.t[:, elements]], np.stack([x, y])[:, :, None])  # (corner, point, element)
    chosen = np.argmax(shares.min(axis=0), axis=1)[:, None]  # the one that holds the point
    columns = mesh.t[:, np.take_along_axis(elements, chosen, axis=1)[:, 0]]  # (corner, point)
    values = np.take_along_axis(shares, chosen[None], axis=2)[:, :, 0]
    rows = np.tile(np.arange(x.size), 3)
    every = csr_array((values.ravel(), (rows, columns.ravel())), shape=(x.size, mesh.p.shape[1]))
    return every[:, _free(cells, edges)]


def _square(cells: int, x: Floats, y: Floats) -> Any:
    """Return the number of the square of the mesh that points lie in."""
    column, row = (np.clip((place * cells).astype(np.int64), 0, cells - 1) for place in (x, y))
    return row * cells + column


def _barycentric(corners: Floats, points: Floats) -> Floats:
    """Return the three shares of points in triangles: (axis, corner, ...) and (axis, ...) -> (corner, ...)."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = points - corners[:, 0]
    twice_area = first[0] * second[1] - first[1] * second[0]
    b = (offset[0] * second[1] - offset[1] * second[0]) / twice_area
    c = (first[0] * offset[1] - first[1] * offset[0]) / twice_area
    return np.stack([1.0 - b - c, b, c])
