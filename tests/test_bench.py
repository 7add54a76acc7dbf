"""Latency: checked before it is timed, taken in turns, and a target without a figure says why."""

import gc
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgephys.bench import compiled, exports, machine, measure, runners, targets, turns
from edgephys.bench import worker as worker_house
from edgephys.bench.exports import Export
from edgephys.bench.turns import Slice, Slot
from edgephys.bench.worker import Job, Worker
from edgephys.cli import bench as command
from edgephys.errors import ProjectError, ToolError, UsageError
from edgephys.figures import Stage
from edgephys.fixed import Fixed
from edgephys.lower import evaluate
from edgephys.project import read, read_vectors, write_result
from edgephys.report import bench_figure, bench_page

EIGHT = Fixed(True, 8, 4)
NAMED = ("model", "target", "batch", "p50_us", "p90_us", "p99_us", "per_second", "ratio", "ratio_low", "ratio_high")
NAMED += (
    "rounds",
    "calls",
    "cpu_us",
    "tool",
    "version",
    "stage",
    "mismatches",
    "core_share",
    "timer_ns",
    "why",
    "project",
)


def sliced(*us):
    return whole(np.array(us, np.int64) * 1000)


def whole(ns):
    """A slice that had the core all the time."""
    return Slice(ns, int(ns.sum()) or 1, int(ns.sum()))


# Statistics --------------------------------------------------------------------------------------


def test_percentiles_are_over_the_calls_of_all_rounds_and_slow_ones_count() -> None:
    found = turns.summary([sliced(*range(1, 51)), sliced(*range(51, 101), 10_000)], batch=1)
    assert found["p50_us"] == 51.0 and found["p90_us"] == 91.0 and found["p99_us"] == 100.0
    assert found["calls"] == 101 and found["rounds"] == 2
    assert turns.summary([sliced(4)] * 3, batch=1024)["per_second"] == pytest.approx(1024 / 4e-6)


def test_time_that_others_had_the_core_is_told_from_the_targets_own() -> None:
    found = turns.summary([Slice(np.full(4, 10_000), 40_000, 30_000), Slice(np.full(4, 20_000), 80_000, 30_000)], 1)
    assert found["cpu_us"] == 7.5 and found["core_share"] == 0.5


def test_a_percentile_of_too_few_calls_is_none() -> None:
    assert turns.summary([sliced(*range(9))], 1)["p90_us"] is None
    few = turns.summary([sliced(*range(99))], 1)
    assert few["p90_us"] is not None and few["p99_us"] is None


def test_a_ratio_is_formed_within_a_round_so_a_slow_while_leaves_it_alone() -> None:
    slow = [1, 1, 10, 1]  # the whole machine, in the third round
    reference, ours = [sliced(30 * by) for by in slow], [sliced(3 * by) for by in slow]
    assert turns.ratio(reference, turns.medians(ours)) == {"ratio": 10.0, "ratio_low": 10.0, "ratio_high": 10.0}
    ours[1] = sliced(6)
    found = turns.ratio(reference, turns.medians(ours))
    assert found["ratio"] == 10.0 and 5.0 < found["ratio_low"] < 10.0 and found["ratio_high"] == 10.0


def test_over_one_is_faster_than_the_reference() -> None:
    assert turns.ratio([sliced(20)] * 3, [40_000.0] * 3)["ratio"] == 0.5


# Turns -------------------------------------------------------------------------------------------

SLOTS = [Slot(target, batch, 7) for target in ("a", "b", "c") for batch in (1, 64)]


def order(seed, rounds=8):
    taken = []

    def time(target, batch, calls):
        taken.append((target, batch))
        assert calls == 7
        return sliced(1)

    slices, failed = turns.interleave(SLOTS, rounds, seed, time, lambda _: None)
    assert {len(found) for found in slices.values()} == {rounds} and not failed
    return [tuple(taken[start : start + len(SLOTS)]) for start in range(0, len(taken), len(SLOTS))]


def test_every_round_times_every_target_once_in_an_order_of_its_own() -> None:
    rounds = order(seed=1)
    everyone = sorted((slot.target, slot.batch) for slot in SLOTS)
    assert all(sorted(taken) == everyone for taken in rounds)
    assert len(set(rounds)) > len(rounds) // 2


def test_the_order_is_the_seeds() -> None:
    assert order(seed=1) == order(seed=1) != order(seed=2)


def test_a_target_that_falls_out_leaves_the_others_their_turns() -> None:
    counted = dict.fromkeys(("a", "b", "c"), 0)

    def time(target, batch, calls):
        counted[target] += 1
        if target == "b" and counted["b"] == 3:
            raise ToolError("b: its process was killed by SIGSEGV")
        return sliced(1)

    slices, failed = turns.interleave(SLOTS, 5, 1, time, lambda _: None)
    assert failed == {"b": "b: its process was killed by SIGSEGV"}
    assert counted == {"a": 10, "b": 3, "c": 10}
    assert {slot.target for slot in slices} == {"a", "c"}


@pytest.mark.parametrize(("us", "calls"), [(10, 1000), (0.001, turns.MOST_CALLS), (50_000, 5)])
def test_a_slice_has_the_calls_that_fill_its_time(us, calls) -> None:
    made = turns.calibrate(lambda t, b, n: whole(np.full(n, us * 1000)), "a", 1, 0.01, least=5)
    assert made == pytest.approx(calls, rel=0.01)


def test_calls_that_are_held_up_do_not_make_slices_short() -> None:
    def time(target, batch, calls):
        ns = np.full(calls, 10_000)
        ns[-1] += 4_000_000 * (calls > 4)
        return whole(ns)

    assert turns.calibrate(time, "a", 1, 0.01, least=5) == pytest.approx(1000, abs=1)


# Timing in Python --------------------------------------------------------------------------------


def test_a_call_takes_what_the_clock_says_and_inputs_come_in_turn() -> None:
    now, seen = [0], []

    def call(feed):
        seen.append(feed)
        now[0] += 100 * feed

    assert runners.timed(call, [1, 2, 5], 7, clock=lambda: now[0]).tolist() == [100, 200, 500, 100, 200, 500, 100]
    assert seen == [1, 2, 5, 1, 2, 5, 1]


def test_outputs_are_those_of_the_vectors_though_the_last_batch_is_filled_up() -> None:
    x = np.arange(10)[:, None]
    sizes = []

    def bind(batch):
        def call(feed):
            sizes.append((batch, len(feed)))
            return 2 * feed

        return call

    runner = runners.InPython("tool", "1", x, bind, lambda chunk: chunk, lambda found: found)
    np.testing.assert_array_equal(runner.outputs(4, 10), 2 * x)
    assert sizes == [(4, 4)] * 3
    assert runner.slice(1, 3).shape == (3,) and runner.timer_ns() >= 0


def test_a_slice_is_warm_and_no_garbage_is_collected_while_it_is_timed() -> None:
    asked = []

    class Runner:
        def slice(self, batch, calls):
            asked.append((batch, calls, gc.isenabled()))
            if calls == 7:
                raise ValueError("no")
            return [5] * calls

    ns, wall_ns, cpu_ns = worker_house._slice(Runner(), 16, 50)
    assert ns.tolist() == [5] * 50 and wall_ns > 0 and cpu_ns >= 0
    assert asked == [(16, 5, True), (16, 50, False)] and gc.isenabled()
    with pytest.raises(ValueError, match="no"):
        worker_house._slice(Runner(), 1, 7)
    assert gc.isenabled()


def test_calls_cycle_through_fewer_inputs_where_these_are_large() -> None:
    assert runners.distinct(np.zeros((2, 8, 3), int), 1) == runners.FEEDS
    assert runners.distinct(np.zeros((2, 64, 64, 3), int), 1) == runners.LEAST_FEEDS


# The machine -------------------------------------------------------------------------------------

CPUINFO = """processor : 0
cpu family\t: 6
model\t\t: 85
model name\t: A Processor
flags\t\t: fpu sse avx avx2 avx512f avx512_vnni hypervisor

processor : 1
model name\t: Another
"""


def test_a_processor_is_named_with_the_features_that_decide_products(tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    found = machine.describe(0, tmp_path / "cpuinfo")
    assert found["processor"] == "A Processor" and found["family"] == "6 85" and found["virtual"]
    assert found["features"] == ["avx", "avx2", "avx512f", "avx512_vnni"]
    assert machine.describe(None, tmp_path / "none")["features"] == []


def test_a_core_that_we_may_not_use_is_refused() -> None:
    allowed = os.sched_getaffinity(0)
    assert machine.choose() == max(allowed) and machine.choose(min(allowed)) == min(allowed)
    with pytest.raises(UsageError, match=r"core must be one of .* which this process may use, not 9999"):
        machine.choose(9999)


def test_libraries_are_kept_to_one_thread_only_where_it_was_asked(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with pytest.raises(ValueError, match="out"), machine.one_thread():
        assert {os.environ[name] for name in machine.ONE_THREAD} == {"1"}
        raise ValueError("out")
    assert dict(os.environ) == before


# Processes, with C written by hand ---------------------------------------------------------------

HEADER = """#include <stdint.h>
#define TINY_ARENA_BYTES 0
typedef int8_t tiny_input_t;
typedef int16_t tiny_output_t;
void tiny_run(const tiny_input_t *x, tiny_output_t *y, void *arena);
"""
SOURCE = """#include "tiny.h"
#include <stdlib.h>
void tiny_run(const tiny_input_t *x, tiny_output_t *y, void *arena) {
    (void)arena;
    if (x[0] == 99) abort();
    y[0] = x[0] + x[1];
    y[1] = 3 * x[2];
}
"""
X = np.array([[1, 2, 3], [-4, 5, -6], [100, 27, 127], [0, 0, -128]])
Y = np.stack([X[:, 0] + X[:, 1], 3 * X[:, 2]], axis=1)


def c_job(folder, source=SOURCE, x=X) -> Job:
    folder.mkdir(exist_ok=True)
    (folder / "tiny.h").write_text(HEADER)
    (folder / "tiny.c").write_text(source)
    np.savez(folder / "vectors.npz", inputs=x)
    facts = {"prefix": "tiny", "arena_bytes": 0}
    facts |= {"input": {"shape": [3]}, "output": {"shape": [2]}}
    return Job("c", "c", folder, facts, folder / "vectors.npz", EIGHT, EIGHT)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(c_job(tmp_path_factory.mktemp("c") / "firmware"), machine.choose())
    yield worker
    worker.close()


def test_a_target_computes_and_is_timed_in_a_process_of_its_own_on_one_core(worker) -> None:
    before = os.sched_getaffinity(0)
    np.testing.assert_array_equal(worker.outputs(1, 4), Y)
    np.testing.assert_array_equal(worker.outputs(4, 4), Y)
    for batch in (1, 4, 64):
        found = worker.slice(batch, 50)
        assert (
            found.ns.shape == (50,) and (found.ns >= 0).all() and found.cpu_ns > 0 and found.ns.sum() <= found.wall_ns
        )
    assert worker.told["tool"] == "generated C, gcc" and "-march=native" in worker.told["flags"]
    assert os.sched_getaffinity(worker._process.pid) == {machine.choose()}
    assert os.sched_getaffinity(0) == before


def test_the_first_output_that_differs_is_named(worker) -> None:
    assert measure.compared(worker, Y, (1, 4)) == {"outputs": 16, "mismatches": 0, "first": None}
    found = measure.compared(worker, Y + np.array([[0, 0], [0, 0], [0, 1], [0, 0]]), (1, 4))
    assert found["mismatches"] == 2
    assert found["first"] == "first vector 2, element [1]: expected 382, received 381"
    with pytest.raises(ProjectError, match=r"expected outputs of shape \(4, 3\), received \(4, 2\)"):
        measure.compared(worker, np.zeros((4, 3), int), (1, 4))


def test_a_target_that_is_killed_is_told_from_one_that_answers(tmp_path) -> None:
    killed = Worker(c_job(tmp_path / "firmware", x=np.array([[99, 0, 0]])), None)
    with pytest.raises(ToolError, match="c: its process was killed by SIGABRT"):
        killed.outputs(1, 1)
    with pytest.raises(ToolError, match="c: its process was killed by SIGABRT"):
        killed.slice(1, 1)
    killed.close()


def test_c_that_does_not_compile_says_so(tmp_path) -> None:
    with pytest.raises(ToolError, match=r"c: gcc ended with status 1: .*error"):
        Worker(c_job(tmp_path / "firmware", SOURCE.replace("y[0]", "z[0]")), None)


def test_a_source_that_is_gone_is_named(tmp_path) -> None:
    job = c_job(tmp_path / "firmware")
    (tmp_path / "firmware" / "tiny.c").unlink()
    with pytest.raises(ProjectError, match=r"tiny\.c is missing; emit the project again"):
        compiled.c(job, X)


def test_a_target_that_does_not_answer_in_time_is_ended(tmp_path) -> None:
    slow = SOURCE.replace("y[0] =", "for (volatile long i = 0; i >= 0; i++) {}\n    y[0] =")
    hung = Worker(c_job(tmp_path / "firmware", slow), None, answer_s=0.5)
    with pytest.raises(ToolError, match=r"c: no answer after 0\.5 s"):
        hung.slice(1, 1)
    hung.close()
    assert hung._process.exitcode == -9


def test_a_kind_that_nothing_runs_is_named(tmp_path) -> None:
    job = replace(c_job(tmp_path / "firmware"), runner="abacus")
    with pytest.raises(ToolError, match="nothing here runs targets of kind 'abacus'; known are c, onnx"):
        runners.load(job)


# onnxruntime -------------------------------------------------------------------------------------


def onnx_job(folder, kind, runner="onnx", bound=False, **facts) -> Job:
    from onnx import TensorProto, helper, save

    folder.mkdir(exist_ok=True)
    number = getattr(TensorProto, kind)
    edges = [helper.make_tensor_value_info(name, number, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [edges[0]], [edges[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, folder / "model.onnx")
    np.savez(folder / "vectors.npz", inputs=X)
    return Job("onnx", runner, folder / "model.onnx", facts, folder / "vectors.npz", EIGHT, EIGHT, bound=bound)


STEPS = {"input": {"fraction": 0}, "output": {"fraction": 0}}


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("INT8", {}),
        ("FLOAT", {}),
        ("FLOAT", STEPS),
        ("DOUBLE", {}),
        ("FLOAT", {"bound": True}),
        ("INT16", {"bound": True}),
    ],
)
def test_an_onnx_model_takes_integers_steps_or_real_values(kind, facts, tmp_path) -> None:
    runner = runners.load(onnx_job(tmp_path / "firmware", kind, **facts))
    np.testing.assert_array_equal(runner.outputs(3, 4), X)
    assert (runner.slice(1, 20) > 0).all() and runner.tool == "onnxruntime"


def test_keras_own_export_takes_real_values(tmp_path) -> None:
    runner = runners.load(onnx_job(tmp_path / "firmware", "FLOAT", "keras_onnx"))
    assert runner.slice(2, 5).shape == (5,)
    np.testing.assert_array_equal(runner.outputs(2, 4), X)


def test_a_missing_onnxruntime_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolError, match=r"onnxruntime is missing .*: pip install onnxruntime"):
        runners.load(onnx_job(tmp_path / "firmware", "FLOAT"))


def test_a_missing_tf2onnx_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(exports.importlib.util, "find_spec", lambda _: None)
    made = exports._made(("keras_onnx", Path("model.keras")))
    assert made.path is None and "needs tf2onnx, which is missing: pip install tf2onnx" in made.why


def test_a_missing_tflite_says_why(tmp_path, monkeypatch) -> None:
    without = SimpleNamespace(tf=SimpleNamespace(__version__="9.9"))
    monkeypatch.setitem(sys.modules, "edgephys.nets.backend", without)
    job = replace(onnx_job(tmp_path / "firmware", "FLOAT"), runner="tflite")
    with pytest.raises(ToolError, match=r"TFLite is missing: TensorFlow 9\.9 comes without"):
        runners.load(job)


# A whole measurement, with targets of known delays -----------------------------------------------

DELAYS = {"keras": 500, "keras_onnx": 30, "keras_onnx_bound": 25, "tflite": 10, "hls": 40}


class Fake:
    """Take a known time for an input, and compute what the golden model does."""

    def __init__(self, job, golden, taken, wrong=()):
        self.job, self.golden, self.taken, self.wrong = job, golden, taken, wrong
        self.told = {"tool": "fake", "version": "1", "timer_ns": 1.0}
        self.closed = False

    def outputs(self, batch, count):
        found = self.golden[:count].astype(float)
        if self.job.target in self.wrong:
            found[1, 2] += 0.5
        return found

    def slice(self, batch, calls):
        self.taken.append(self.job.target)
        if self.job.target == "dies":
            raise ToolError("dies: its process was killed by SIGSEGV")
        return whole(np.full(calls, DELAYS[self.job.target] * batch * 1000))

    def close(self):
        self.closed = True


def made_exports(model):
    return {form: Export(Path(form), {"made_with": {"keras": "3"}}) for form in exports.FORMS}


def table_of(folders, wrong=(), export=made_exports, missing=(), **plan):
    """Return a measurement's table with fakes for processes, and these."""
    project = read(folders[0])
    golden = evaluate.run(project.graph, read_vectors(project).inputs)
    fakes, taken = [], []

    def start(job, core):
        if job.target in missing:
            raise ToolError(f"{job.target} is missing: pip install it")
        fakes.append(Fake(job, golden, taken, wrong))
        return fakes[-1]

    written = []
    plan = measure.Plan(**{"seconds": 0.5, "rounds": 4} | plan)
    table = measure.measure(folders, plan, "edgephys bench", lambda _: None, written.append, start, export)
    assert written == [table] and table["load"].keys() == {"before", "after"}
    return table, fakes


def row(table, target, batch=1):
    return next(row for row in table["rows"] if row["target"] == target and row["batch"] == batch)


def test_every_target_of_a_model_is_timed_beside_keras_own_roads(projects) -> None:
    table, fakes = table_of([projects / "hls", projects / "rtl"])
    assert [(row["target"], row["batch"]) for row in table["rows"]] == [
        (target, batch)
        for target in ("keras", "keras_onnx", "keras_onnx_bound", "tflite", "hls", "rtl")
        for batch in (1, 1024)
    ]
    for target, delay in DELAYS.items():
        for batch in (1, 1024):
            found = row(table, target, batch)
            assert set(NAMED) <= set(found) and found["why"] is None and found["stage"] == Stage.MEASURED.value
            assert found["p50_us"] == found["p90_us"] == delay * batch or found["p90_us"] is None
            assert found["ratio"] == found["ratio_low"] == found["ratio_high"] == pytest.approx(30 / delay)
            assert found["per_second"] == pytest.approx(1e6 / delay)
            assert found["mismatches"] == 0 and found["rounds"] == 4
        assert row(table, target)["calls"] >= turns.LEAST_CALLS
    assert all(fake.closed for fake in fakes)
    assert table["reference"] == "keras_onnx" and table["plan"] == {"seconds": 0.5, "rounds": 4, "seed": 1}


def test_a_target_that_computes_other_numbers_is_named_and_not_timed(projects) -> None:
    table, fakes = table_of([projects / "hls"], wrong=("hls",))
    found = row(table, "hls")
    assert found["p50_us"] is None and found["ratio"] is None
    assert "computes other numbers: 2 of " in found["why"]  # once at each batch
    assert "first vector 1, element [2]: expected" in found["why"]
    assert "hls" not in next(iter(fakes)).taken and row(table, "tflite")["ratio"] == 3.0


def test_what_keras_own_exports_compute_is_stated_and_they_are_timed(projects) -> None:
    table, _ = table_of([projects / "hls"], wrong=("tflite", "keras_onnx"))
    assert row(table, "tflite")["mismatches"] == 2 and row(table, "tflite")["p50_us"] == 10
    assert row(table, "keras_onnx")["outputs"] > 500


def test_a_target_that_is_missing_or_has_no_export_says_why(projects) -> None:
    def export(model):
        return {**made_exports(model), "keras_onnx": Export(None, {}, "tf2onnx is missing: pip install tf2onnx")}

    table, _ = table_of([projects / "hls"], export=export, missing=("tflite",))
    assert row(table, "keras_onnx")["why"] == "not measured: tf2onnx is missing: pip install tf2onnx"
    assert row(table, "tflite")["why"] == "not measured: tflite is missing: pip install it"
    assert row(table, "hls")["p50_us"] == 40 and row(table, "hls")["ratio"] is None


def test_a_target_that_dies_while_it_is_timed_says_why(projects, monkeypatch) -> None:
    hls = read(projects / "hls")
    dies = targets.Member("dies", hls.name, targets._job(hls, "dies", "c", hls.firmware))
    others = targets.members
    monkeypatch.setattr(measure, "members", lambda found, made: [*others(found, made), dies])
    table, _ = table_of([projects / "hls"])
    assert row(table, "dies")["why"] == "not measured: dies: its process was killed by SIGSEGV"
    assert row(table, "hls")["p50_us"] == 40


def test_the_large_batch_is_smaller_where_inputs_are_large() -> None:
    assert measure.large_batch(measure.Plan(), 24) == 1024
    assert measure.large_batch(measure.Plan(), 64 * 64 * 3) == 21
    assert measure.large_batch(measure.Plan(batch=7), 64 * 64 * 3) == 7


# Projects ----------------------------------------------------------------------------------------


def test_no_projects_one_twice_and_what_is_none_are_refused(projects, tmp_path) -> None:
    with pytest.raises(UsageError, match="bench: name one project at least"):
        measure.measure([], measure.Plan(), "", lambda _: None)
    with pytest.raises(UsageError, match="hls: named twice; name each project once"):
        targets.grouped([projects / "hls", projects / "rtl", projects / "rtl" / ".." / "hls"])
    with pytest.raises(ProjectError, match=r"expected a project with edgephys\.json"):
        targets.grouped([tmp_path])


def test_projects_of_one_graph_are_one_model(projects) -> None:
    assert [[found.kind for found in group] for group in targets.grouped([projects / "rtl", projects / "hls"])] == [
        ["rtl", "hls"]
    ]


def of_kind(project, kind, **facts):
    return replace(project, manifest={**project.manifest, "kind": kind, "facts": facts, "name": f"small_{kind}"})


def test_each_kind_of_project_is_run_by_its_own(projects) -> None:
    hls = read(projects / "hls")
    found = targets.members([of_kind(hls, "c"), of_kind(hls, "onnx", file="model.onnx"), of_kind(hls, "qonnx")], {})
    assert [member.target for member in found] == ["keras", "c", "onnx", "onnx_bound", "qonnx"]
    assert [member.job.runner for member in found[:4]] == ["keras", "c", "onnx", "onnx"]
    assert [member.job.bound for member in found[1:4]] == [False, False, True]
    assert found[2].job.source == hls.firmware / "model.onnx" and found[1].job.source == hls.firmware
    assert found[4].why.startswith("not timed: QONNX")
    assert targets.members([of_kind(hls, "abacus")], {})[1].why == (
        "not measured: nothing here runs projects of kind 'abacus'"
    )


def test_two_projects_of_a_kind_are_told_apart(projects) -> None:
    hls = read(projects / "hls")
    one, other = of_kind(hls, "c"), replace(of_kind(hls, "c"), folder=projects / "other")
    found = targets.members([one, replace(other, manifest={**one.manifest, "name": "other"})], {})
    assert [member.target for member in found[1:]] == ["c small_c", "c other"]
    found = targets.members([one, other], {})
    assert [member.target for member in found[1:]] == [f"c {one.folder}", f"c {projects / 'other'}"]
    assert {member.job.vectors for member in found if member.job} == {one.folder / "vectors.npz"}


def test_a_project_that_was_changed_is_not_timed(project) -> None:
    folder = project("hls")
    header = next((folder / "firmware").rglob("*.h"))
    header.write_text(header.read_text() + "\n")
    why = targets.members([read(folder)], {})[1].why
    assert "changed since the emission; emit it again" in why and header.name in why


def verified(project, **changed):
    target = {"latency_cycles": 12, "ii": 1, "tool": "verilator", "version": "5", "vectors": 200, "mismatches": 0}
    write_result(project, "verify", {"mismatches": 0, "targets": {"rtl": target}} | changed)


def test_rtl_has_the_cycles_of_its_verification_at_its_stated_clock(project) -> None:
    rtl = read(project("rtl"))
    assert "has not run on the project as it is now" in targets.members([rtl], {})[1].why
    verified(rtl)
    table, _ = table_of([rtl.folder])
    found, many = row(table, "rtl"), row(table, "rtl", 1024)
    assert found["p50_us"] == found["p99_us"] == pytest.approx(12 * rtl.clock_ns * 1e-3)
    assert found["stage"] == Stage.SIMULATED.value and found["core_share"] is None
    assert found["ratio"] == pytest.approx(30 / found["p50_us"])
    assert many["per_second"] == pytest.approx(1024e9 / ((12 + 1023) * rtl.clock_ns))
    verified(rtl, mismatches=3)
    assert targets.members([rtl], {})[1].why == "computes other numbers: 3 outputs in its verification"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seconds": 0}, "--seconds must be over 0, not 0"),
        ({"seconds": float("nan")}, "--seconds must be over 0, not nan"),
        ({"rounds": 2}, "--rounds must be 3 or more, not 2: a spread is over rounds"),
        ({"batch": 1}, "--batch must be 2 or more, not 1; a batch of 1 is always measured"),
        ({"seed": -1}, "--seed must be 0 or more, not -1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong, message) -> None:
    with pytest.raises(UsageError, match=message):
        measure.Plan(**wrong)


# Pages -------------------------------------------------------------------------------------------


def test_the_command_writes_a_table_a_page_and_a_figure(project, tmp_path, monkeypatch, capsys) -> None:
    rtl = read(project("rtl"))
    verified(rtl)
    table, _ = table_of([rtl.folder, project("hls")], missing=("tflite",))
    monkeypatch.setattr(measure, "measure", lambda *given: given[-1](table) or table)
    command.bench([rtl.folder], out=tmp_path / "some" / "bench", as_json=True)
    assert json.loads(capsys.readouterr().out) == table == json.loads((tmp_path / "some" / "bench.json").read_text())
    page = (tmp_path / "some" / "bench.md").read_text()
    assert "| onnxruntime, Keras' export | 1 | 30.0 | 30.0 | 30.0 | 1 (1–1) | 33,333 | 30.0 | 100 | 0 |" in page
    assert "| TFLite | 1 | – | – | – | not measured: tflite is missing: pip install it | – | – | – | – |" in page
    assert (
        "- RTL (simulated cycles): simulated, verilator 5; cycles 12 cycles, a new input every 1, at a stated" in page
    )
    assert "Times faster: the median latency of onnxruntime, Keras' export over the target's" in page
    assert (tmp_path / "some" / "bench.png").read_bytes().startswith(b"\x89PNG")
    command.bench([rtl.folder], out=tmp_path / "again")
    assert "generated C" not in capsys.readouterr().out


def test_the_figure_has_a_panel_a_model_and_says_what_is_missing(projects) -> None:
    table, _ = table_of([projects / "hls"], missing=("tflite",))
    other = [{**found, "model": "other"} for found in table["rows"]]
    drawn = bench_figure.draw({**table, "rows": table["rows"] + other})
    assert len(drawn.axes) == 4 and drawn.axes[2].get_title(loc="left") == "other"
    assert any("not measured: tflite" in text.get_text() for text in drawn.axes[0].texts)
    assert bench_figure.label("c small_c") == "generated C (small_c)"
    assert {bench_figure.label(target) for target in DELAYS} < set(bench_figure.LABELS.values())


def test_the_page_says_that_others_had_the_core(projects) -> None:
    table, _ = table_of([projects / "hls"])
    assert "quiet machine" not in bench_page.page(table, "bench")
    table["rows"][0]["core_share"] = 0.5
    assert "Here 1 of 10 rows had less than 90%: measure again on a quiet machine." in bench_page.page(table, "bench")


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (0.0612, "0.0612"), (2.345, "2.35"), (23.45, "23.4"), (12821.0, "12,821")]
)
def test_figures_are_told_with_three_digits(value, told) -> None:
    assert bench_page.number(value) == told


@pytest.mark.slow
def test_keras_its_export_tflite_and_c_simulation_compute_the_golden_integers(projects) -> None:
    plan = measure.Plan(seconds=2.0, rounds=3, batch=16)
    table = measure.measure([projects / "hls"], plan, "", lambda _: None)
    for target in ("keras", "tflite", "hls"):
        found = row(table, target)
        assert found["why"] is None and found["mismatches"] == 0 and found["p50_us"] > 0, target
    exported = row(table, "keras_onnx")
    assert exported["mismatches"] == 0 or "pip install tf2onnx" in exported["why"]
