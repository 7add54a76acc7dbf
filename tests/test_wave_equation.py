"""The wave equation: it converges, keeps its energy, and refuses what no wave may run through."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data import scene as wave_scene
from edgephys.applications.waves.data.equation import assemble, energy, march, sampling
from edgephys.applications.waves.data.scene import (
    ABSORBING,
    DIRICHLET,
    Band,
    Box,
    Disc,
    Floats,
    Medium,
    Pulse,
    Scene,
    Source,
)
from edgephys.core.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models" / "samples" / "waves.h5"
OMEGA = np.sqrt(2.0) * np.pi
MIXED = Medium(1.0, (Disc(0.35, 0.4, 0.15, 0.5), Box(0.7, 0.65, 0.3, 0.2, 1.5)))


# The wave equation ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mode:
    """The standing wave sin(pi x) sin(pi y), as what a run starts from or is driven by."""

    def field(self, x: Floats, y: Floats) -> Floats:
        return np.sin(np.pi * x) * np.sin(np.pi * y)

    def velocity(self, x: Floats, y: Floats) -> Floats:
        return 0.5 * self.field(x, y)

    shape = field

    def signal(self, time: float) -> float:
        return 1.0


def standing_wave_error(cells: int, steps: int, scene: Scene, exact: Callable[[float], float]) -> float:
    """Return the largest error at time 1."""
    system = assemble(scene.medium, cells)
    u = next(islice(march(system, scene, 1.0 / steps, steps), 1, None))
    return float(np.abs(u - exact(1.0) * Mode().field(system.x, system.y)).max())


def orders(errors: list[float]) -> Floats:
    return -np.diff(np.log2(errors))


def test_the_error_falls_with_the_square_of_mesh_and_step_together() -> None:
    speed = 1.3
    scene = Scene(Medium(speed), (Mode(),))  # type: ignore[arg-type]

    def exact(time: float) -> float:
        omega = speed * OMEGA
        return np.cos(omega * time) + 0.5 * np.sin(omega * time) / omega

    errors = [standing_wave_error(cells, 3 * cells, scene, exact) for cells in (8, 16, 32, 64)]
    np.testing.assert_allclose(orders(errors), 2.0, atol=0.1)
    assert errors[-1] < 1e-3


def test_a_driven_wave_converges_with_second_order_too() -> None:
    scene = Scene(Medium(), (), (Mode(),))  # type: ignore[arg-type]
    errors = [
        standing_wave_error(cells, 2 * cells, scene, lambda time: (1.0 - np.cos(OMEGA * time)) / OMEGA**2)
        for cells in (8, 16, 32, 64)
    ]
    np.testing.assert_allclose(orders(errors), 2.0, atol=0.15)


def test_on_a_fixed_mesh_the_error_falls_with_the_square_of_the_step() -> None:
    cells = 16
    omega = 2.0 * np.sqrt(2.0) * cells * np.sin(np.pi / (2 * cells))  # of the mode on this mesh, exact in time
    scene = Scene(Medium(), (Mode(),))  # type: ignore[arg-type]
    errors = [
        standing_wave_error(cells, steps, scene, lambda t: np.cos(omega * t) + 0.5 * np.sin(omega * t) / omega)
        for steps in (32, 64, 128, 256)
    ]
    np.testing.assert_allclose(orders(errors), 2.0, atol=0.02)


@pytest.mark.parametrize("medium", [Medium(), MIXED])
def test_energy_drifts_by_rounding_alone_over_a_thousand_steps(medium: Medium) -> None:
    system = assemble(medium, 40)
    scene = Scene(medium, (Pulse(0.4, 0.55, 0.06, 1.0, 0.6, -0.8), Pulse(0.6, 0.3, 0.08, -0.7)))
    dt = 0.98 * system.dt_limit
    fields = list(islice(march(system, scene, dt), 1002))
    energies = np.array([energy(system, *pair, dt) for pair in pairwise(fields)])
    assert np.abs(energies / energies[0] - 1.0).max() < 1e-12


def test_an_absorbing_edge_only_takes_energy_and_sends_two_thousandths_of_a_pulse_back() -> None:
    medium = Medium(edges=ABSORBING)
    system = assemble(medium, 80)
    dt = 0.98 * system.dt_limit
    scene = Scene(medium, (Pulse(0.45, 0.55, 0.05),))
    fields = list(islice(march(system, scene, dt), int(1.5 / dt)))
    energies = np.array([energy(system, *pair, dt) for pair in pairwise(fields)])
    assert (np.diff(energies) <= 1e-14 * energies[0]).all()
    assert energies[int(0.3 / dt)] > 0.999 * energies[0]  # it has not reached the edge
    assert energies[int(1.0 / dt)] < 0.002 * energies[0]  # it has crossed it everywhere


@pytest.mark.parametrize("edges", [DIRICHLET, ABSORBING])
def test_a_symmetric_pulse_stays_symmetric_and_no_faster_than_its_speed(edges: str) -> None:
    medium = Medium(edges=edges)
    system, cells, width = assemble(medium, 60), 60, 0.04
    dt = 0.9 * system.dt_limit
    x, y = np.meshgrid(wave_runs.ticks(cells - 1), wave_runs.ticks(cells - 1))
    sampled = sampling(cells, edges, x.ravel(), y.ravel())
    every = int(0.1 / dt)
    scene = Scene(medium, (Pulse(0.5, 0.5, width),))
    for number, u in enumerate(islice(march(system, scene, dt, every), 8)):
        field = (sampled @ u).reshape(x.shape)
        symmetric = (field[::-1], field[:, ::-1], field.T)
        time = number * every * dt
        for other in symmetric if edges == DIRICHLET or time < 0.4 else (field.T,):
            np.testing.assert_allclose(other, field, atol=1e-12)
        for other in symmetric:  # one triangle or two at a corner: the absorbing edge feels that, a little
            np.testing.assert_allclose(other, field, atol=2e-3)
        ahead = np.hypot(x - 0.5, y - 0.5) > time + 6.0 * width
        assert not ahead.any() or np.abs(field[ahead]).max() < 1e-3


def test_a_slower_disc_holds_a_front_up_and_a_faster_one_lets_it_pass() -> None:
    arrivals = []
    for speed in (0.5, 1.0, 1.5):
        medium = Medium(1.0, (Disc(0.5, 0.5, 0.15, speed),))
        system = assemble(medium, 60)
        probe = sampling(60, DIRICHLET, np.array([0.75]), np.array([0.5]))
        dt = 0.98 * system.dt_limit
        scene = Scene(medium, (Pulse(0.25, 0.5, 0.05, 1.0, 1.0, 0.0),))
        seen = [abs(float((probe @ u)[0])) for u in islice(march(system, scene, dt), int(1.0 / dt))]
        arrivals.append(next(step for step, height in enumerate(seen) if height > 0.15) * dt)
    assert arrivals[0] > arrivals[1] + 0.05 > arrivals[2] + 0.1


def test_a_wave_twice_as_fast_is_the_same_wave_in_half_the_time() -> None:
    pulse = Pulse(0.4, 0.6, 0.08)
    slow, fast = assemble(Medium(1.0), 30), assemble(Medium(2.0), 30)
    dt = 0.9 * slow.dt_limit
    one = next(islice(march(slow, Scene(slow.medium, (pulse,)), dt), 50, None))
    two = next(islice(march(fast, Scene(fast.medium, (pulse,)), dt / 2.0), 50, None))
    np.testing.assert_allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("medium", [Medium(), Medium(edges=ABSORBING), MIXED, replace(MIXED, edges=ABSORBING)])
def test_the_bound_of_the_time_step_is_safe_and_within_a_hundredth_of_the_limit(medium: Medium) -> None:
    from scipy.sparse.linalg import eigsh

    system = assemble(medium, 24)
    scaled = system.stiffness.multiply(system.mass[:, None] ** -0.5).multiply(system.mass[None, :] ** -0.5).tocsr()
    start = np.random.default_rng(0).normal(size=system.mass.size)
    largest = float(eigsh(scaled, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
    assert largest <= system.rate_bound * (1.0 + 1e-12)
    assert system.dt_limit > 0.99 * 2.0 / np.sqrt(largest)
    assert system.cfl(system.dt_limit) == pytest.approx(1.0)


def test_an_unstable_time_step_is_refused_and_the_longest_stable_one_is_stable() -> None:
    system = assemble(MIXED, 16)
    scene = Scene(MIXED, (Pulse(0.5, 0.5, 0.05),))
    last = next(islice(march(system, scene, system.dt_limit), 3000, None))
    assert np.abs(last).max() < 2.0
    for dt in (1.001 * system.dt_limit, 0.0, -1.0, np.nan):
        message = rf"step must be above 0 and at most 0\.\d+ \(CFL number 1\), not {dt:.6g}; lower dt or make the mesh"
        with pytest.raises(UsageError, match=message):
            next(march(system, scene, dt))


def test_a_system_of_another_medium_is_refused() -> None:
    message = (
        r"the scene must be of the system's medium, Medium\(.*'dirichlet'\), not Medium\(.*'absorbing'\); assemble"
    )
    with pytest.raises(UsageError, match=message):
        next(march(assemble(Medium(), 4), Scene(Medium(edges=ABSORBING)), 0.01))


def test_a_field_that_is_not_finite_ends_the_run() -> None:
    system = assemble(Medium(), 8)
    scene = Scene(Medium(), (Pulse(0.5, 0.5, 0.1, 1e308, 1e300),))
    with np.errstate(all="ignore"), pytest.raises(DataError, match=r"u must be finite, found NaN or infinity at step"):
        list(islice(march(system, scene, 0.9 * system.dt_limit), 50))


def test_a_mesh_without_a_node_inside_is_refused() -> None:
    for cells in (1, 0, -4):
        message = rf"wave mesh: cells must be 2 or more, not {cells}: it has no node inside; make it finer"
        with pytest.raises(UsageError, match=message):
            assemble(Medium(), cells)
    assert assemble(Medium(), 2).mass.size == 1


@pytest.mark.parametrize("edges", [DIRICHLET, ABSORBING])
def test_sampling_is_exact_on_linear_fields_wherever_the_point_is(edges: str) -> None:
    system = assemble(Medium(edges=edges), 7)
    random = np.random.default_rng(5)
    within = (1.0, 6.0) if edges == DIRICHLET else (0.0, 7.0)  # the nodes of u = 0 are left out
    x, y = random.uniform(within[0] / 7.0, within[1] / 7.0, (2, 300))
    x[:40], y[20:60] = 3.0 / 7.0, 2.0 / 7.0  # on the sides and nodes of triangles
    x[60:64], y[60:64] = np.repeat(within, 2) / 7.0, np.tile(within, 2) / 7.0
    sampled = sampling(7, edges, x, y) @ (0.3 + 2.0 * system.x - 1.5 * system.y)
    np.testing.assert_allclose(sampled, 0.3 + 2.0 * x - 1.5 * y, atol=1e-13)


def test_a_drift_is_the_velocity_of_a_pulse_that_moves() -> None:
    x, y = np.random.default_rng(1).uniform(0.2, 0.8, (2, 100))
    pulse, small = Pulse(0.5, 0.45, 0.1, 0.8, 0.6, -0.3), 1e-6
    moved = replace(pulse, x=pulse.x + 0.6 * small, y=pulse.y - 0.3 * small)
    rate = (moved.field(x, y) - pulse.field(x, y)) / small
    np.testing.assert_allclose(pulse.velocity(x, y), rate, atol=1e-4)


def test_a_ricker_signal_has_its_peak_at_the_delay_and_no_mean() -> None:
    source = Source(0.5, 0.5, 0.05, 2.0, 3.0, 1.0)
    times = np.linspace(0.0, 2.0, 4001)
    signal = np.array([source.signal(float(time)) for time in times])
    assert signal.max() == signal[2000] == 1.0
    assert abs(signal.mean()) < 1e-10
    spectrum = np.abs(np.fft.rfft(signal, 2**16))
    assert np.argmax(spectrum) / (2**16 * 0.0005) == pytest.approx(3.0, abs=0.05)


# What records refuse ----------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "disc outside": (
        lambda: Disc(0.9, 0.5, 0.2, 1.0),
        r"disc: must lie within the unit square, not at \(0\.9, 0\.5\) w",
    ),
    "box outside": (
        lambda: Box(0.5, 0.1, 0.1, 0.3, 1.0),
        r"box: must lie within the unit square, not at \(0\.5, 0\.1\)",
    ),
    "nowhere": (lambda: Disc(np.nan, 0.5, 0.1, 1.0), r"disc: must lie within the unit square, not at \(nan, 0\.5\) wi"),
    "no size": (lambda: Box(0.5, 0.5, 0.0, 0.3, 1.0), r"box: width must be above 0 and finite, not 0; choose another"),
    "negative disc": (lambda: Disc(0.5, 0.5, -0.1, 1.0), r"disc: radius must be above 0 and finite, not -0\.1"),
    "still disc": (lambda: Disc(0.5, 0.5, 0.1, 0.0), r"disc: speed must be above 0 and finite, not 0; choose another"),
    "still medium": (lambda: Medium(-1.0), r"medium: speed must be above 0 and finite, not -1; choose another"),
    "too fast": (lambda: Medium(np.inf), r"medium: speed must be above 0 and finite, not inf"),
    "no edge": (lambda: Medium(edges="soft"), r"medium: edges must be dirichlet or absorbing, not 'soft'; choose one"),
    "pulse outside": (
        lambda: Pulse(1.2, 0.5, 0.1),
        r"pulse: must lie within the unit square, not at \(1\.2, 0\.5\); m",
    ),
    "flat pulse": (lambda: Pulse(0.5, 0.5, 0.0), r"pulse: width must be above 0 and finite, not 0"),
    "endless pulse": (lambda: Pulse(0.5, 0.5, 0.1, np.inf), r"pulse: height must be finite, not inf; choose another"),
    "source outside": (
        lambda: Source(0.5, -0.1, 0.1, 1, 1, 0),
        r"source: must lie within the unit square, not at \(0\.",
    ),
    "no frequency": (lambda: Source(0.5, 0.5, 0.1, 1, 0, 0), r"source: frequency must be above 0 and finite, not 0"),
    "no delay": (lambda: Source(0.5, 0.5, 0.1, 1, 1, np.nan), r"source: delay must be finite, not nan; choose another"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_record_that_no_wave_may_run_through_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(UsageError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_scene_comes_back_from_its_record() -> None:
    scene = Scene(MIXED, (Pulse(0.4, 0.5, 0.1),), (Source(0.5, 0.5, 0.05, 2.0, 3.0, 1.0),))
    assert wave_scene.scene_of_record(json.loads(json.dumps(scene.to_record()))) == scene
    banded = Scene(Medium(), (Band(0.4, 0.1, drift_x=1.0), Pulse(0.5, 0.5, 0.1)))
    assert wave_scene.scene_of_record(json.loads(json.dumps(banded.to_record()))) == banded
    record = scene.to_record()
    record["medium"]["inclusions"][0]["shape"] = "star"
    with pytest.raises(DataError, match=r"wave run: a field of its record is missing or malformed \(no 'star'"):
        wave_scene.scene_of_record(record)
