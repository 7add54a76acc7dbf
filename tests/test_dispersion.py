"""Numerical dispersion: the solver's is what theory says, and a method that is exact has none."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import assemble, energy
from edgephys.applications.waves.data.scene import Band, Medium
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.applications.waves.study import dispersion, dispersion_table, roll_out
from edgephys.core.errors import UsageError

GRID = 32
ROOT = Path(__file__).resolve().parents[1]
SMALL = WaveCnn(grid=GRID, width=2, depth=1, format="one_way", bits=6, input_bits=15, input_integer=3)


def test_bands_keep_to_the_widths_and_places_of_training_s_pulses():
    for band in dispersion.bands(GRID):
        points = band.width * (GRID + 1)
        assert 3.0 - 1e-9 <= points <= 6.0 and band.width <= 0.12 + 1e-12
        assert 4 * band.width <= band.x + 1e-12 and band.x <= 1 - 4 * band.width + 1e-12
    assert {band.drift_x for band in dispersion.bands(GRID)} == {-1.0, 0.0, 1.0}


@given(st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_amplitudes_of_a_sum_of_modes_are_what_it_was_made_of(seed):
    wanted = np.random.default_rng(seed).normal(size=(2, GRID))
    ticks = wave_runs.ticks(GRID)
    waves = np.sin(np.pi * np.arange(1, GRID + 1)[:, None] * ticks)
    frames = (wanted @ waves)[:, None, :] * np.sin(np.pi * ticks)[:, None]
    assert np.allclose(dispersion.amplitudes(frames), wanted)


def test_the_exact_band_begins_as_it_was_stated_and_has_no_dispersion():
    band = Band(0.4, 0.1, 0.75, 1.0)
    frames = dispersion.exact(band, GRID, 8)
    x, y = np.meshgrid(wave_runs.ticks(GRID), wave_runs.ticks(GRID))
    assert np.allclose(frames[0], band.field(x, y), atol=2e-4)  # cut where it meets the edge
    a = dispersion.amplitudes(frames)[None]
    found = dispersion.speeds(a[:, :-2], a[:, 1:-1], a[:, 2:])
    known = np.isfinite(found.ratio)
    assert 5 < known.sum() < GRID and np.allclose(found.ratio[known], 1, atol=1e-7)


def test_the_solver_s_phase_velocity_is_that_of_its_five_point_stencil():
    """On the mesh of the grid a mode has sin(omega dt / 2) = dt / h sqrt(sin^2(k h / 2) + sin^2(pi h / 2))."""
    by = wave_runs.plan(grid=GRID, frames=dispersion.FRAMES, refinement=1)
    h, numbers = 1.0 / (GRID + 1), np.arange(1, GRID + 1)
    sines = np.sqrt(np.sin(np.pi * numbers * h / 2) ** 2 + np.sin(np.pi * h / 2) ** 2)
    omega = 2 / by.dt * np.arcsin(by.dt / h * sines)
    found = dispersion.solver_speeds(GRID, 1)
    known = np.isfinite(found.ratio)
    assert known.sum() == 24
    assert np.allclose(found.ratio[known], (omega / (np.pi * np.sqrt(numbers**2 + 1)))[known], atol=1e-6)


def test_a_finer_mesh_disperses_less_by_the_square():
    off = [1 - dispersion.solver_speeds(GRID, refinement).ratio[9] for refinement in (1, 2)]
    assert off[0] / off[1] == pytest.approx(4, rel=0.1)


def test_speeds_are_silent_where_the_bands_hold_nothing_or_a_wave_only_grows():
    a = np.ones((2, 3, GRID))
    a[..., 5:] = 1e-5
    found = dispersion.speeds(a, a, 0.9 * a)
    assert np.isfinite(found.ratio[:5]).all() and np.isnan(found.ratio[5:]).all()
    assert np.isnan(dispersion.speeds(a, a, 2 * a).ratio).all()


def test_the_error_of_a_speed_is_none_where_all_bands_agree_and_some_where_they_do_not():
    a = np.ones((3, 4, GRID))
    assert np.allclose(dispersion.speeds(a, a, 0.9 * a).error, 0)
    swung = 0.9 * a * np.array([0.95, 1.0, 1.05])[:, None, None]
    assert (dispersion.speeds(a, a, swung).error > 0).all()


def test_the_energy_of_frames_is_that_of_the_mesh_whose_nodes_are_the_points_of_the_grid():
    system = assemble(Medium(), GRID + 1)
    frames = np.random.default_rng(1).normal(size=(3, GRID, GRID))
    columns, rows = (np.rint(place * (GRID + 1)).astype(int) - 1 for place in (system.x, system.y))
    nodes = frames[:, rows, columns]
    dt = wave_runs.frame_dt(GRID)
    wanted = [energy(system, before, after, dt) for before, after in pairwise(nodes)]
    assert dispersion.energies(frames) == pytest.approx(wanted, rel=1e-12)


def test_the_exact_solution_keeps_the_energy_of_a_pulse_to_a_hundredth_and_one_that_decays_does_not():
    frames = dispersion.exact(dispersion.bands(GRID)[2], GRID, 200)
    energies = dispersion.energies(frames)
    assert energies.shape == (199,) and np.abs(energies / energies[0] - 1).max() < 0.01
    fading = 0.99 ** np.arange(200)
    assert dispersion.energies(frames * fading[:, None, None])[-1] < 0.1 * energies[0]


def test_energies_are_stated_at_the_steps_of_the_columns_and_none_where_they_are_no_number():
    frames = dispersion.exact(dispersion.bands(GRID)[2], GRID, 152)
    stated = dispersion_table._energy(frames[2:], frames[:2])
    assert {"1", "10", "100", "150"} <= set(stated) and stated["150"] == pytest.approx(1, abs=0.01)
    frames[120:] = np.inf
    with np.errstate(invalid="ignore"):
        stated = dispersion_table._energy(frames[2:], frames[:2])
    assert stated["150"] is None and stated["100"] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_a_record_without_energy_has_no_column_of_it_and_its_picture_is_drawn():
    record = json.loads((ROOT / "hls_projects" / "results" / "waves_dispersion.json").read_text())
    for row in record["rows"]:
        row.pop("energy", None)
    table = dispersion_table.table(record)
    assert not [column.key for column in table.columns if "energy" in column.key]
    assert not [note for note in table.notes if "Energy" in note]
    assert table.pictures[0].draw(table).startswith(b"\x89PNG")


# The command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from wave_model import save_waves  # loads Keras

    return save_waves(tmp_path_factory.mktemp("dispersion") / "small", SMALL)


def test_a_network_that_goes_on_straight_makes_every_wave_too_slow_to_turn(network):
    """u + (u - former u) has cos(omega dt) = 1, no frequency at all."""
    from edgephys.models import trained as artefact

    trained = artefact.load(network)
    trained.model.set_weights([0 * weight for weight in trained.model.get_weights()])
    found = dispersion.network_speeds(trained, GRID)
    known = np.isfinite(found.ratio)
    assert known.any() and np.all(found.ratio[known] < 0.3)


@pytest.mark.slow
def test_the_command_writes_page_picture_and_numbers(network, run, tmp_path, monkeypatch):
    monkeypatch.setattr(dispersion_table, "MESHES", (1, 2))
    monkeypatch.setattr(dispersion_table, "FAR", 30)
    ended = run("dispersion", network, "--out", tmp_path / "d", "--json")
    assert ended.status == 0, ended.err
    table = ended.json
    assert table == json.loads((tmp_path / "d.json").read_text())
    assert [row["name"] for row in table["rows"]] == [
        "solver, 1 cell a point",
        "solver, 2 cells a point",
        "one_way, 6 bits",
    ]
    assert all(len(row["profile"]["20"]) == GRID for row in table["rows"])
    assert table["rows"][1]["error"]["20"] < table["rows"][0]["error"]["20"] < 0.2
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "d.md").read_text()
    assert "jackknife" in text and "energy after 10 steps %" in text and "energy after 100 steps" not in text
    assert table["rows"][1]["energy"]["30"] == pytest.approx(1, abs=0.01) != table["rows"][2]["energy"]["30"]


def test_a_long_roll_out_of_a_compiled_network_makes_the_frames_of_a_short_one(network, monkeypatch):
    from edgephys.models import trained as artefact

    trained, band = artefact.load(network), dispersion.bands(GRID)[2]
    frames = dispersion.rolled(trained, band, GRID, 5)
    calls = []
    call = trained.model.predict_on_batch
    monkeypatch.setattr(trained.model, "predict_on_batch", lambda x: calls.append(1) or call(x))
    monkeypatch.setattr(roll_out, "COMPILED_STEPS", 5)
    assert np.array_equal(dispersion.rolled(trained, band, GRID, 5), frames) and len(calls) == 5


def test_what_is_not_known_of_a_wavelength_is_none_in_the_table_and_a_dash_on_the_page():
    assert dispersion_table._known(8.0, float("nan"), 0.1) == [8.0, None, None] and dispersion_table._known(
        8.0, 1.0, 0.1
    ) == [8.0, 1.0, 0.1]
    row = {"name": "a", "speeds": [[8.0, None, None], [9.0, 1.02, 0.01]], "error": {"1": 0.2}}
    assert [column.show(row) for column in dispersion_table.columns([8.0, 9.0], [1])] == [
        "a",
        "–",
        "+2.00 ± 1.00",
        "20",
    ]


def test_networks_that_read_other_numbers_of_frames_are_refused(network, tmp_path):
    from wave_model import save_waves

    other = save_waves(tmp_path / "three", WaveCnn(grid=GRID, frames=3, width=2, depth=1, bits=6, input_bits=15))
    with pytest.raises(UsageError, match="dispersion: networks must read as many frames each"):
        dispersion_table.tabulate([network, other], "edgephys dispersion", lambda text: None)
    long = save_waves(tmp_path / "five", WaveCnn(grid=GRID, frames=5, width=2, depth=1, bits=6, input_bits=15))
    with pytest.raises(UsageError, match=r"networks must read 1\.\.4 frames, not 5"):
        dispersion_table.tabulate([long], "edgephys dispersion", lambda text: None)
