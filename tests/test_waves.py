"""Runs of waves: drawn alike whatever their number, written alike on any number of cores, and read with suspicion."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys.applications.waves.data import equation as wave_equation
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data import scene as wave_scene
from edgephys.applications.waves.data.scene import ABSORBING, DIRICHLET, Box, Disc, Medium
from edgephys.core import hdf5 as atomic
from edgephys.core import workers as pool
from edgephys.core.errors import DataError, ToolError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models" / "samples" / "waves.h5"
OMEGA = np.sqrt(2.0) * np.pi
MIXED = Medium(1.0, (Disc(0.35, 0.4, 0.15, 0.5), Box(0.7, 0.65, 0.3, 0.2, 1.5)))


# Drawing runs -----------------------------------------------------------------------------------

TINY = {"grid": 24, "frames": 4, "refinement": 1}


def test_runs_depend_on_seed_and_number_and_not_on_how_many_there_are() -> None:
    plans = [wave_runs.plan(seed, **TINY, edges="both", sources=2) for seed in (1, 2)]
    scenes = [wave_runs.draw(of, index) for of in plans for index in range(40)]
    assert len({repr(scene) for scene in scenes}) == 80
    assert scenes[3] == wave_runs.draw(plans[0], 3)
    assert {scene.medium.edges for scene in scenes} == {DIRICHLET, ABSORBING}
    assert {len(scene.medium.inclusions) for scene in scenes} == {0, 1, 2, 3}
    assert {len(scene.sources) for scene in scenes} == {0, 1, 2}
    assert {len(scene.pulses) for scene in scenes} == {1, 2, 3}
    assert all(0.6 <= inclusion.speed <= 1.5 for scene in scenes for inclusion in scene.medium.inclusions)


def test_a_wave_moves_one_cell_a_frame_and_the_step_divides_a_frame() -> None:
    of = wave_runs.plan(**TINY)
    assert of.frame_dt == pytest.approx(wave_runs.ticks(24)[1] - wave_runs.ticks(24)[0])
    assert of.dt * of.steps == pytest.approx(of.frame_dt)
    assert wave_runs.plan(**TINY, dt=of.dt) == of
    assert wave_runs.plan(**TINY, dt=0.7 * of.dt).steps == int(np.ceil(of.steps / 0.7))
    rows = wave_runs.simulate(of, 2)
    assert 0.5 < rows.record["cfl"] <= 1.0
    assert rows.frames.dtype == rows.speed.dtype == np.float32
    assert wave_scene.scene_of_record(rows.record) == wave_runs.draw(of, 2)


def test_the_first_frame_is_the_pulses_and_the_map_is_the_speed() -> None:
    of = wave_runs.plan(**{**TINY, "refinement": 2})
    scene, rows = wave_runs.draw(of, 1), wave_runs.simulate(of, 1)
    x, y = np.meshgrid(wave_runs.ticks(24), wave_runs.ticks(24))
    np.testing.assert_allclose(rows.frames[0], sum(pulse.field(x, y) for pulse in scene.pulses), atol=1e-6)
    speed = scene.medium.speed_at(x, y)
    whole = np.isclose(rows.speed, speed)
    assert len(scene.medium.inclusions) > 0 and 0.7 < whole.mean() < 1.0
    assert speed.min() <= rows.speed.min() + 1e-6 and rows.speed.max() <= speed.max() + 1e-6


def test_of_inclusions_that_overlap_the_last_one_counts() -> None:
    medium = Medium(1.0, (Disc(0.5, 0.5, 0.3, 2.0), Box(0.5, 0.5, 0.2, 0.2, 0.5)))
    assert medium.speed_at(np.array([0.5, 0.7, 0.9]), np.array([0.5, 0.5, 0.9])).tolist() == [0.5, 2.0, 1.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grid": 23}, r"wave generation: grid must be 24\.\.2047, not 23; set --grid"),
        ({"frames": 2}, r"frames must be 3\.\.100000, not 2; set --frames"),
        ({"seed": -1}, r"seed must be 0\.\.4294967295, not -1; set --seed"),
        ({"inclusions": -1}, r"inclusions must be 0\.\.100, not -1; set --inclusions"),
        ({"sources": 101}, r"sources must be 0\.\.100, not 101; set --sources"),
        ({"refinement": 0}, r"refine must be 1\.\.31, not 0; set --refine"),
        ({"edges": "soft"}, r"edges must be one of dirichlet, absorbing, both, not 'soft'; set --edges"),
        (
            {**TINY, "dt": 0.1},
            r"step must be above 0 and at most 0\.018\d+ \(CFL number 1\), not 0\.1; lower --dt, or --refine \(now 1\)",
        ),
        ({**TINY, "dt": -0.1}, r"time step must be above 0 and at most 0\.018\d+ \(CFL number 1\), not -0\.1; lower"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        wave_runs.plan(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


# Files ------------------------------------------------------------------------------------------

RUNS = 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few runs, made by two workers."""
    path = tmp_path_factory.mktemp("waves") / "tiny.h5"
    told: list[tuple[int, int]] = []
    of = wave_runs.plan(7, **TINY, edges="both")
    assert waves.generate(path, RUNS, of, workers=2, progress=lambda *now: told.append(now)) == path
    assert told == [(run + 1, RUNS) for run in range(RUNS)]
    assert os.listdir(path.parent) == ["tiny.h5"]
    return path


@pytest.mark.slow
def test_one_worker_writes_the_same_bytes_and_the_reader_gives_the_runs_back(tiny: Path, tmp_path: Path) -> None:
    of = wave_runs.plan(7, **TINY, edges="both")
    again = waves.generate(tmp_path / "again.h5", RUNS, of, workers=1)
    assert again.read_bytes() == tiny.read_bytes()
    read = waves.read(tiny)
    rows = [wave_runs.simulate(of, index) for index in range(RUNS)]
    np.testing.assert_array_equal(read.frames, [one.frames for one in rows])
    np.testing.assert_array_equal(read.speed, [one.speed for one in rows])
    assert read.records == tuple(json.loads(json.dumps(one.record)) for one in rows)
    assert read.scenes == tuple(wave_runs.draw(of, index) for index in range(RUNS))
    assert read.frame_dt == of.frame_dt and read.source == str(tiny)
    np.testing.assert_array_equal(read.x, wave_runs.ticks(24))


def test_the_file_says_how_it_was_made(tiny: Path) -> None:
    with h5py.File(tiny, "r") as file:
        attributes = dict(file.attrs)
        np.testing.assert_allclose(np.diff(file["time"][:]), attributes["frame_dt"])
        record = json.loads(file["runs"][3])
    assert attributes["command"].startswith("edgephys data waves --runs 5 --seed 7 --grid 24 --frames 4 --edges both")
    assert set(json.loads(attributes["versions"])) == {"edgephys", "numpy", "scikit-fem"}
    assert attributes["speed0"] == 1.0 and attributes["seed"] == 7
    assert record["run"] == 3 and record["seed"] == [7, 3] and 0.0 < record["cfl"] <= 1.0
    assert {"dt", "steps_per_frame", "mesh_cells", "grid", "frame_dt", "medium", "pulses", "sources"} <= set(record)


def test_the_command_in_a_file_makes_the_same_file(run: Callable[..., object], tiny: Path, tmp_path: Path) -> None:
    with h5py.File(tiny, "r") as file:
        words = str(file.attrs["command"]).split()[1:]
    made = run(*words, "--out", tmp_path / "same.h5", "--workers", 1)
    assert made.status == 0, made.err  # type: ignore[attr-defined]
    assert (tmp_path / "same.h5").read_bytes() == tiny.read_bytes()


@pytest.mark.parametrize("limit", [1, 4, 5, 50])
def test_a_limit_reads_the_first_runs(tiny: Path, limit: int) -> None:
    whole, some = waves.read(tiny), waves.read(tiny, limit)
    np.testing.assert_array_equal(some.frames, whole.frames[:limit])
    np.testing.assert_array_equal(some.speed, whole.speed[:limit])
    assert some.records == whole.records[:limit] and some.scenes == whole.scenes[:limit]


def test_a_limit_below_one_is_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match=r"waves: limit must be 1 or more, not 0; ask for 1 or more"):
        waves.read(tiny, 0)


# Generation that goes wrong ---------------------------------------------------------------------


@pytest.mark.slow
def test_an_interrupted_generation_keeps_whole_runs_alone_and_the_next_one_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, of = tmp_path / "waves.h5", wave_runs.plan(7, **TINY, edges="both")
    out.write_text("the old file")
    (tmp_path / "waves.h5.runs").mkdir()
    (tmp_path / "waves.h5.runs" / "notes.txt").write_text("not ours")

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        waves.generate(out, RUNS, of, workers=1, progress=interrupt)
    assert out.read_text() == "the old file"
    assert sorted(os.listdir(tmp_path)) == ["waves.h5", "waves.h5.runs"]
    assert not multiprocessing.active_children()
    left = sorted(os.listdir(tmp_path / "waves.h5.runs"))[:-1]
    assert 2 <= len(left) < RUNS and not any(name.endswith(".part") for name in left)
    (tmp_path / "waves.h5.runs" / left[0]).write_text("half a run")
    (tmp_path / "waves.h5.runs" / "000009.h5.part").write_text("half a run")
    asked: list[int] = []
    in_order = pool.in_order

    def listen(make: object, tasks: list[int], *rest: object) -> object:
        asked.extend(tasks)
        return in_order(make, tasks, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pool, "in_order", listen)
    waves.generate(out, RUNS, of, workers=1)
    assert asked == [0, *range(len(left), RUNS)]
    assert out.read_bytes() == tiny.read_bytes()
    assert os.listdir(tmp_path / "waves.h5.runs") == ["notes.txt"]


def test_what_another_plan_left_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inline(make: Callable[[int], int], tasks: list[int], *_: object) -> object:
        yield from map(make, tasks)

    monkeypatch.setattr(pool, "in_order", inline)
    out, folder = tmp_path / "waves.h5", tmp_path / "waves.h5.runs"
    of = wave_runs.plan(1, **TINY)
    for index in range(3):
        waves._make(replace(of, seed=2), waves._plan_text(replace(of, seed=2)), folder, index)
    waves.generate(out, 2, of, workers=1)
    np.testing.assert_array_equal(waves.read(out).frames[1], wave_runs.simulate(of, 1).frames)
    assert os.listdir(tmp_path) == ["waves.h5"]


def test_a_killed_worker_is_named_and_the_old_file_stands(tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid or 0, signal.SIGKILL)

    out = tmp_path / "waves.h5"
    out.write_text("the old file")
    message = r"wave generation: expected every worker to finish, one was killed; check the memory \(0\.5 GB a worker\)"
    with pytest.raises(ToolError, match=message):
        waves.generate(out, 40, wave_runs.plan(1, **TINY), workers=1, progress=kill)
    assert out.read_text() == "the old file"


@pytest.mark.slow
@pytest.mark.parametrize("deadly", ["SIGKILL", "SIGINT"])
def test_a_killed_generation_is_finished_by_the_next_one(tmp_path: Path, deadly: str) -> None:
    words = ["data", "waves", "--runs", "8", "--grid", "24", "--frames", "200", "--refine", "4", "--workers", "2"]
    command = [sys.executable, "-m", "edgephys.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [*command, "--out", "waves.h5"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    folder, until = tmp_path / "waves.h5.runs", time.monotonic() + 60.0
    while not list(folder.glob("*.h5")) and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.Signals[deadly])
    _, err = run.communicate(timeout=60.0)
    assert run.returncode != 0 and not (tmp_path / "waves.h5").exists()
    assert deadly == "SIGKILL" or "edgephys: interrupted" in err
    for out in ("waves.h5", "whole.h5"):
        done = subprocess.run(
            [*command, "--out", out], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "waves.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["waves.h5", "whole.h5"]


def test_a_second_generation_of_the_same_file_is_refused(tmp_path: Path) -> None:
    message = r"expected to be the only writer, found another run writing 'waves\.h5\.part'; wait for it"
    with atomic.new_file(tmp_path / "waves.h5"), pytest.raises(DataError, match=message):
        waves.generate(tmp_path / "waves.h5", 1, wave_runs.plan(1, **TINY), workers=1)


def test_numbers_out_of_range_are_refused_before_any_work(tmp_path: Path) -> None:
    of = wave_runs.plan(1, **TINY)
    with pytest.raises(UsageError, match=r"wave generation: runs must be 1 or more, not 0; set --runs"):
        waves.generate(tmp_path / "waves.h5", 0, of)
    with pytest.raises(UsageError, match=r"wave generation: workers must be 1 or more, not 0; set --workers"):
        waves.generate(tmp_path / "waves.h5", 1, of, workers=0)
    assert os.listdir(tmp_path) == []


def test_a_stopped_worker_ends_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = multiprocessing.get_context("spawn").Event()
    stop.set()
    monkeypatch.setattr(pool, "_stop", stop)
    with pytest.raises(ToolError, match=r"wave generation: expected to finish, stopped; run it again"):
        wave_runs.simulate(wave_runs.plan(1, **TINY), 0)


def test_without_scikit_fem_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfem", None)
    message = r"wave generation: expected the module 'skfem', not installed; pip install 'edgephys\[waves\]'"
    with pytest.raises(ToolError, match=message):
        wave_runs.plan(**TINY)
    with pytest.raises(ToolError, match=message):
        wave_equation.import_skfem()
    waves.read(SAMPLE, 1)  # reading needs none


# The command line -------------------------------------------------------------------------------


def test_the_command_keeps_the_contract(run: Callable[..., object], tmp_path: Path) -> None:
    out = tmp_path / "w.h5"
    words = ("data", "waves", "--runs", 1, "--grid", 24, "--frames", 3, "--refine", 1, "--out", out, "--workers", 1)
    made = run(*words, "--json")
    assert made.status == 0, made.err  # type: ignore[attr-defined]
    record = made.json  # type: ignore[attr-defined]
    assert record["file"] == str(out) and record["runs"] == 1 and record["frame_dt"] == pytest.approx(0.04)
    assert "waves: 1/1" in made.err  # type: ignore[attr-defined]
    assert f"{out}: 1 runs of 3 frames" not in made.out  # type: ignore[attr-defined]
    assert waves.read(out).frames.shape == (1, 3, 24, 24)
    assert "Example: edgephys data waves" in run("data", "waves", "--help").out  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--runs", "0"], 2, "Invalid value for '--runs': Input should be greater than or equal to 1"),
        (["--grid", "8"], 2, "grid must be 24..2047, not 8; set --grid"),
        (["--grid", "24", "--dt", "0.02"], 2, "time step must be above 0 and at most 0.00314"),
        (["--edges", "soft"], 2, "edges must be one of dirichlet, absorbing, both, not 'soft'"),
        (["--grid", "24", "--out", "/dev/null/w.h5"], 1, "expected to write it, found"),
    ],
)
def test_a_bad_option_is_refused_on_one_line_before_anything_is_written(
    run: Callable[..., object], tmp_path: Path, words: list[str], status: int, message: str
) -> None:
    ended = run("data", "waves", "--out", tmp_path / "w.h5", *words, "--json")
    assert ended.status == status and message in ended.json["error"]  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == []


# The shipped sample -----------------------------------------------------------------------------


def test_the_sample_holds_a_dozen_runs_in_three_megabytes() -> None:
    assert SAMPLE.stat().st_size < 3e6
    read = waves.read(SAMPLE)
    assert read.frames.shape == (12, 64, 32, 32)
    assert {len(scene.medium.inclusions) for scene in read.scenes} == {0, 1, 2, 3}
    assert all(record["cfl"] <= 1.0 for record in read.records)
    assert 0.3 < np.abs(read.frames[:, 0]).max() < 3.0
    moved = np.abs(np.diff(read.frames, axis=1)).max(axis=(2, 3))
    assert (moved > 0.01).all()  # something happens in every frame of every run


def test_the_first_run_of_the_sample_is_made_again_to_the_last_bits() -> None:
    read = waves.read(SAMPLE, 1)
    with h5py.File(SAMPLE, "r") as file:
        plan = json.loads(file.attrs["plan"])
    plan.pop("versions")
    rows = wave_runs.simulate(wave_runs.RunPlan(**plan), 0)
    np.testing.assert_allclose(rows.frames, read.frames[0], atol=1e-6)
    np.testing.assert_allclose(rows.speed, read.speed[0], atol=1e-6)


@pytest.mark.slow
def test_the_truth_is_within_half_a_percent_of_what_a_mesh_twice_as_fine_gives() -> None:
    coarse, fine = (wave_runs.plan(1, 32, 64, refinement=refinement) for refinement in (6, 12))
    for index in range(3):
        rough, true = (wave_runs.simulate(of, index).frames for of in (coarse, fine))
        errors = np.sqrt(((rough - true) ** 2).sum(axis=(1, 2)) / (true**2).sum(axis=(1, 2)))  # (time,)
        assert errors[1] < 0.001 and errors.mean() < 0.005 and errors.max() < 0.015
