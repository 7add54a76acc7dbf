"""The time of a frame beside its error: one core, turns, and no figure without its error."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.applications.waves.study import pace, pace_emitted, pace_page, pace_table
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.core import machine, timing
from edgephys.core.errors import MismatchError, ProjectError, ToolError, UsageError
from edgephys.core.timing import CallTime
from edgephys.report import render

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "models" / "samples" / "waves.h5"
SMALL = WaveCnn(grid=32, width=2, depth=1, format="one_way", bits=6, input_bits=15, input_integer=3)


# Time ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_functions_take_turns_after_a_warm_up(monkeypatch):
    monkeypatch.setattr(timing, "RACE_SLICE_S", 0.0)
    called = []
    times = timing.race({name: lambda name=name: called.append(name) for name in "ab"}, 3)
    assert called[:2] == ["a", "b"]  # the first call warms up and says how many fill a slice
    assert [sorted(called[start : start + 2]) for start in (2, 4, 6)] == [["a", "b"]] * 3 and len(called) == 8
    assert times["a"].rounds == 3 and times["a"].lowest <= times["a"].seconds <= times["a"].highest


@pytest.mark.slow
def test_a_slice_is_filled_with_calls_and_states_the_time_of_one(monkeypatch):
    clock = [0]
    monkeypatch.setattr(timing.time, "process_time_ns", lambda: clock[0])
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: 3 * clock[0])
    calls = []

    def work():
        calls.append(1)
        clock[0] += 3_000_000

    one = timing.race({"work": work}, 2)["work"]
    slice_calls = int(timing.RACE_SLICE_S / 9e-3)
    assert len(calls) == 1 + 2 + 4 + 2 * (slice_calls + slice_calls // 10)
    assert one.seconds == pytest.approx(0.003) and one.wall == pytest.approx(0.009)
    assert one.cores == pytest.approx(1 / 3)


def test_more_than_one_core_at_work_is_refused(monkeypatch):
    wall = [0]
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: wall[0])
    monkeypatch.setattr(timing.time, "process_time_ns", lambda: int(1.9 * wall[0]))

    def work():
        wall[0] += 200_000_000

    with pytest.raises(ToolError, match=r"timing, both: expected one core at work, found 1\.9; run it as a command of"):
        timing.race({"both": work}, 1)
    with pytest.raises(UsageError, match="rounds must be 1 or more, not 0"):
        timing.race({"both": work}, 0)


def test_a_function_that_fails_is_named():
    def work():
        raise ToolError("no memory")

    with pytest.raises(ToolError, match="no memory"):
        timing.race({"work": work}, 1)


def test_within_one_core_there_is_one_and_afterwards_all_again(monkeypatch):
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), machine.one_core() as core:
        assert os.sched_getaffinity(0) == {core}
        raise KeyError
    assert os.sched_getaffinity(0) == before
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(ToolError, match="one core of its own needs Linux"), machine.one_core():
        pass


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two cores")
def test_threads_that_may_run_on_other_cores_are_refused():
    stop = threading.Event()
    with machine.one_core():
        within = threading.Thread(target=stop.wait)
        within.start()
    try:
        with pytest.raises(
            ToolError, match=r"timing: expected one core for all \d+ threads, found \d+ cores; run it as"
        ):
            machine.require_one_core()
    finally:
        stop.set()
        within.join()
    code = (
        "import threading; from edgephys.core.machine import one_core, require_one_core\n"
        "with one_core():\n threading.Thread(target=threading.Event().wait, daemon=True).start(); require_one_core()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# The course -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course():
    """Two runs, six frames, against a mesh twice as fine as the grid's double: quick."""
    of = waves.read(SAMPLE, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "_meshes", lambda of: (4, 8))
        return pace.lay_out(of, Horizon(4, (2,)), 2, lambda text: None)


def test_a_finer_mesh_errs_less_and_the_order_is_two(course):
    errors = {refinement: pace.solver_errors(course, refinement) for refinement in (1, 2)}
    for refinement, measured in errors.items():  # float32 makes no difference beside the error of the mesh
        assert np.allclose(pace.compiled_errors(course, refinement), measured, atol=1e-5 * measured.max())
    assert errors[1].shape == (2, 4)
    assert np.all(errors[2] < errors[1])
    assert 2.5 < (errors[1] / errors[2]).mean() < 6.5


def test_the_truth_of_a_course_is_the_run_of_the_file(course):
    gap = np.linalg.norm(course.truth - course.of.frames[:, :6]) / np.linalg.norm(course.truth)
    assert course.truth.shape == (2, 6, 32, 32) and gap < 0.003


def test_the_solver_that_is_timed_makes_the_frames_that_are_judged(course):
    first, compiled = pace.solvers(course)[:2]
    assert (first.facts["refinement"], first.facts["steps"], first.frames) == (1, course.plans[1].steps, 1)
    assert (compiled.kind, compiled.facts["refinement"], compiled.frames) == ("solver in C", 1, 5)
    made = np.stack([first.work() for _ in range(6)])
    assert np.array_equal(made, pace.solved(course.of, course.plans[1])[0])


def test_a_course_that_cannot_be_laid_out_is_refused():
    of = waves.read(SAMPLE, 2)
    with pytest.raises(UsageError, match=r"runs must be 2\.\.2, those of '.*waves\.h5', not 3; set --runs"):
        pace.lay_out(of, Horizon(4, (2,)), 3, lambda text: None)
    with pytest.raises(UsageError, match="a pace has one start"):
        pace.lay_out(of, Horizon(4, (2, 13)), 2, lambda text: None)


# The table --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from wave_model import save_waves  # loads Keras

    return save_waves(tmp_path_factory.mktemp("pace") / "small", SMALL)


@pytest.fixture(scope="module")
def project(network, tmp_path_factory):
    from edgephys import project
    from edgephys.models.frameworks import load
    from edgephys.targets.rtl.options import RtlOptions

    return project.emit(load(network), RtlOptions(), tmp_path_factory.mktemp("emitted") / "rtl", vectors=1)


SIMULATED = {"vectors": 1, "mismatches": 0, "tool": "verilator", "version": "5", "latency_cycles": 1100, "ii": 1024}
VERIFIED = {"targets": {"rtl": SIMULATED}, "mismatches": 0, "changed": []}


@pytest.fixture
def quick(monkeypatch):
    """Time nothing: every contestant is called once and is said to take a millisecond a call."""

    def race(contestants, rounds):
        for work in contestants.values():
            work()
        return {name: CallTime(1e-3, 0.9e-3, 1.2e-3, 2e-3, 0.5, rounds) for name in contestants}

    monkeypatch.setattr(pace_table, "race", race)
    monkeypatch.setattr(machine, "require_one_core", lambda: None)
    monkeypatch.setattr(pace, "_meshes", lambda of: (3, 4))


def table_of(network, projects=(), **changed):
    asked = {"data": SAMPLE, "horizon": Horizon(3, (2,)), "runs": 2, "rounds": 1} | changed
    return pace_table.tabulate([network], projects, command="edgephys pace", say=lambda text: None, **asked)


@pytest.mark.slow
def test_every_way_to_the_next_frame_has_its_time_and_its_error(quick, network, project):
    from edgephys.project import write_result

    with pytest.raises(ProjectError, match=r"not verified as it stands; run `edgephys verify .*`$"):
        table_of(network, [project.folder])
    write_result(project, "verify", {**VERIFIED, "mismatches": 3}, project.state())
    with pytest.raises(ProjectError, match="verification failed: 3 outputs differ"):
        table_of(network, [project.folder])
    write_result(project, "verify", VERIFIED, project.state())
    table = table_of(network, [project.folder])
    kinds = [row["kind"] for row in table["rows"]]
    assert kinds == [*["solver", "solver in C"] * 3, "Keras", "Keras", "C", "golden model", "firmware"]
    assert all({"seconds", "error_1", "error_1_error", "stage", "target"} <= set(row) for row in table["rows"])
    one, many, in_c, golden, firmware = table["rows"][6:]
    assert (one["batch"], many["batch"]) == pace.BATCHES and many["seconds"] == pytest.approx(1e-3 / 64)
    assert firmware["stage"] == "estimated" and firmware["seconds"] == pytest.approx(1100 * 5e-9)
    assert firmware["seconds_streamed"] == pytest.approx(1024 * 5e-9)
    assert in_c["seconds"] == pytest.approx(1e-3 / 32) and "-O3" in in_c["flags"] and "gcc" in in_c["compiler"]
    assert table["rows"][1]["seconds"] == pytest.approx(1e-3 / 4)
    network_errors = {row["error_1"] for row in (one, many, in_c, golden, firmware)}
    assert len(network_errors) == 1 and network_errors.pop() > table["rows"][0]["error_1"]
    page = render.page(pace_page.table(table), "pace")
    assert "1,100 simulated cycles" in page and "which no routing has confirmed" in page and "estimated" in page
    assert "the time of solver in C, 1 cell a point, 3 steps a frame" in page
    assert "the entry point for many fields computes them one after another, because of layer 'stage_1" in page


def test_firmware_that_rolls_out_in_hardware_takes_the_time_of_all_steps_over_their_number(quick, network, project):
    from edgephys.project import write_result

    rolled = {
        "vectors": 1,
        "mismatches": 0,
        "tool": "verilator",
        "version": "5",
        "step_cycles": 1024,
        "run_cycles": 1100,
    }
    targets = {**VERIFIED["targets"], "rtl_rollout": rolled}
    write_result(project, "verify", {**VERIFIED, "targets": targets}, project.state())
    table = table_of(network, [project.folder])
    assert table["rows"][-1]["seconds"] == pytest.approx((1100 + 2 * 1024) / 3 * 5e-9)
    page = render.page(pace_page.table(table), "pace")
    assert (
        "1,100 cycles for a run of one step and 1,024 for each further one; its time is that of 3 steps over 3" in page
    )


def test_a_network_without_a_graph_has_no_golden_row_and_the_page_says_why(quick, network, monkeypatch):
    from edgephys.core.errors import ModelError
    from edgephys.models.trained import Trained

    def refuse(*_):
        raise ModelError("layer 'stage_1': its accumulator needs 25 bits")

    monkeypatch.setattr(Trained, "graph", refuse)
    table = table_of(network)
    assert "golden model" not in [row["kind"] for row in table["rows"]]
    text = render.page(pace_page.table(table), "pace")
    assert "has no C, no firmware and no golden model: layer 'stage_1': its accumulator needs 25 bits." in text


def test_a_network_that_c_refuses_has_no_row_of_c_and_the_page_says_why(quick, network, monkeypatch):
    from edgephys.core.errors import ModelError
    from edgephys.targets.c.target import CTarget

    def refuse(*_):
        raise ModelError("layer 'stage_1': no rule")

    monkeypatch.setattr(CTarget, "emit", refuse)
    table = table_of(network)
    assert [row["kind"] for row in table["rows"][6:]] == ["Keras", "Keras", "golden model"]
    assert "has no C: layer 'stage_1': no rule." in render.page(pace_page.table(table), "pace")


def test_c_that_makes_other_frames_than_keras_is_refused(quick, network, monkeypatch):
    from edgephys.bench.compiled_runtime import CompiledLoop

    right = CompiledLoop.outputs
    monkeypatch.setattr(CompiledLoop, "outputs", lambda self, batch, count: right(self, batch, count) + 1)
    said = r"small_.* in C: expected Keras' own numbers in all 3 steps, found \d+ others, the first after step 1; run "
    with pytest.raises(MismatchError, match=said + "`edgephys verify` on a C project of it"):
        table_of(network)


def test_c_that_computes_many_fields_side_by_side_is_timed_on_them_too(course, network):
    from edgephys.applications.waves.study.models import wave_models

    networks = wave_models([network])
    graphs = {networks[0].trained.name: networks[0].trained.graph()}
    (one,), without = pace_emitted.emitted_networks(networks, graphs, course, lambda text: None)
    assert not without and len(pace_emitted.contestants([one], course)) == 1 and one.one_by_one is not None
    single, many = pace_emitted.contestants([dataclasses.replace(one, one_by_one=None)], course)
    assert (single.facts["batch"], many.facts["batch"]) == pace.BATCHES
    assert [len(of.work()) * of.facts["batch"] for of in (single, many)] == [single.frames, many.frames] == [32, 64]


def test_projects_of_other_networks_and_of_other_kinds_are_refused(quick, network, project, monkeypatch, tmp_path):
    from wave_model import save_waves  # loads Keras

    wider = save_waves(tmp_path / "wider", dataclasses.replace(SMALL, width=3))
    with pytest.raises(UsageError, match=r"its network must be one of small_.*, found another"):
        table_of(wider, [project.folder])
    monkeypatch.setattr(pace_table, "STREAM", "another")
    with pytest.raises(ProjectError, match="expected RTL that streams pixels, found rtl"):
        table_of(network, [project.folder])


@pytest.mark.slow
def test_the_command_times_on_one_core_and_writes_its_page(network, tmp_path):
    words = ["pace", network, "--data", SAMPLE, "--runs", 2, "--steps", 1, "--rounds", 1, "--out", tmp_path / "speed"]
    done = subprocess.run(
        [sys.executable, "-m", "edgephys.cli", *map(str, words)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "speed.json").read_text())
    assert all(row["seconds"] > 0 for row in table["rows"]) and table["reference"]["refinement"] == 12
    assert "| method |" in (tmp_path / "speed.md").read_text()


def test_the_command_refuses_two_seeds_and_other_models_in_one_line(run, network, tmp_path):
    tagger = ROOT / "models" / "zoo" / "jet_mlp_n8_8bit"
    ended = run("pace", tagger, "--data", SAMPLE, "--out", tmp_path / "speed")
    assert ended.status == 2 and "expected a network that advances a wave" in ended.err
    ended = run("pace", network, "--data", SAMPLE, "--runs", 13, "--steps", 2, "--out", tmp_path / "speed")
    assert ended.status == 2 and "runs must be 2..12" in ended.err and not list(tmp_path.iterdir())


def test_sampled_frames_go_on_without_end_and_begin_with_the_pulses():
    of = wave_runs.plan(grid=24, frames=3, refinement=1)
    scene = wave_runs.draw(of, 1)
    from edgephys.applications.waves.data.equation import assemble

    frames = wave_runs.sampled(of, scene, assemble(scene.medium, of.cells))
    x, y = np.meshgrid(wave_runs.ticks(24), wave_runs.ticks(24))
    np.testing.assert_allclose(next(frames), sum(pulse.field(x, y) for pulse in scene.pulses), atol=1e-12)
    assert all(next(frames).shape == (24, 24) for _ in range(10))
