"""Latency: checked before it is timed, taken in turns, and a target without a figure says why."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgephys.bench import exports, latency, measure, timed_targets
from edgephys.bench.exports import Export
from edgephys.cli import bench as command
from edgephys.core.errors import ProjectError, ToolError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.core.timing import Slice
from edgephys.graph import evaluate
from edgephys.project import Project, read, read_vectors, write_result
from edgephys.report import bench as bench_table
from edgephys.report import bench_figure
from edgephys.report.render import page
from edgephys.targets.c.target import CTarget
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import Target

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


def whole(ns):
    """A slice that had the core all the time."""
    return Slice(ns, int(ns.sum()) or 1, int(ns.sum()))


# A whole measurement, with targets of known delays -----------------------------------------------

DELAYS = {"keras": 500, "keras_onnx": 30, "keras_onnx_bound": 25, "keras_onnx_tract": 20, "tflite": 10, "hls": 40}


class Fake:
    """Take a known time for an input, and compute what the golden model does."""

    def __init__(self, job, golden, taken, wrong=()):
        self.job, self.golden, self.taken, self.wrong = job, golden, taken, wrong
        self.details = {"tool": "fake", "version": "1", "timer_ns": 1.0}
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
    plan = measure.BenchPlan(**{"seconds": 0.5, "rounds": 4} | plan)
    table = measure.measure(folders, plan, "edgephys bench", lambda _: None, written.append, start, export)
    assert written == [table] and table["load"].keys() == {"before", "after"}
    return table, fakes


def row(table, target, batch=1):
    return next(row for row in table["rows"] if row["target"] == target and row["batch"] == batch)


def test_every_target_of_a_model_is_timed_beside_keras_own_roads(projects) -> None:
    table, fakes = table_of([projects / "hls", projects / "rtl"])
    assert [(row["target"], row["batch"]) for row in table["rows"]] == [
        (target, batch)
        for target in ("keras", "keras_onnx", "keras_onnx_bound", "keras_onnx_tract", "tflite", "hls", "rtl")
        for batch in (1, 1024)
    ]
    for target, delay in DELAYS.items():
        for batch in (1, 1024):
            found = row(table, target, batch)
            assert set(NAMED) <= set(found) and found["why"] is None and found["stage"] == FigureStage.MEASURED.value
            assert found["p50_us"] == found["p90_us"] == delay * batch or found["p90_us"] is None
            assert found["ratio"] == found["ratio_low"] == found["ratio_high"] == pytest.approx(30 / delay)
            assert found["per_second"] == pytest.approx(1e6 / delay)
            assert found["mismatches"] == 0 and found["rounds"] == 4
        assert row(table, target)["calls"] >= latency.LEAST_CALLS
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
    fraction = read(projects / "hls").graph.output.fixed.fraction
    assert row(table, "tflite")["told"]["largest_difference"] == f"{0.5 * 2.0**-fraction:.2g}"
    assert "largest_difference" not in row(table, "keras")["told"]


def test_a_target_that_is_missing_or_has_no_export_says_why(projects) -> None:
    def export(model):
        return {**made_exports(model), "keras_onnx": Export(None, {}, "tf2onnx is missing: pip install tf2onnx")}

    table, _ = table_of([projects / "hls"], export=export, missing=("tflite",))
    assert row(table, "keras_onnx")["why"] == "not measured: tf2onnx is missing: pip install tf2onnx"
    assert row(table, "tflite")["why"] == "not measured: tflite is missing: pip install it"
    assert row(table, "hls")["p50_us"] == 40 and row(table, "hls")["ratio"] is None


def test_a_target_that_dies_while_it_is_timed_says_why(projects, monkeypatch) -> None:
    hls = read(projects / "hls")
    dies = timed_targets.TimedTarget("dies", hls.name, timed_targets._job(hls, "dies", "c", hls.firmware))
    others = timed_targets.targets_of
    monkeypatch.setattr(measure, "targets_of", lambda found, made: [*others(found, made), dies])
    table, _ = table_of([projects / "hls"])
    assert row(table, "dies")["why"] == "not measured: dies: its process was killed by SIGSEGV"
    assert row(table, "hls")["p50_us"] == 40


def test_the_large_batch_is_smaller_where_inputs_are_large() -> None:
    assert measure.large_batch(measure.BenchPlan(), 24) == 1024
    assert measure.large_batch(measure.BenchPlan(), 64 * 64 * 3) == 21
    assert measure.large_batch(measure.BenchPlan(batch=7), 64 * 64 * 3) == 7


# Projects ----------------------------------------------------------------------------------------


def test_no_projects_one_twice_and_what_is_none_are_refused(projects, tmp_path) -> None:
    with pytest.raises(UsageError, match="bench: name one project at least"):
        measure.measure([], measure.BenchPlan(), "", lambda _: None)
    with pytest.raises(UsageError, match="hls: named twice; name each project once"):
        timed_targets.grouped([projects / "hls", projects / "rtl", projects / "rtl" / ".." / "hls"])
    with pytest.raises(ProjectError, match=r"expected a project with edgephys\.json"):
        timed_targets.grouped([tmp_path])


def test_projects_of_one_graph_are_one_model(projects) -> None:
    assert [
        [found.kind for found in group] for group in timed_targets.grouped([projects / "rtl", projects / "hls"])
    ] == [["rtl", "hls"]]


def of_kind(project, kind, **facts):
    return replace(project, manifest=replace(project.manifest, kind=kind, facts=facts, name=f"small_{kind}"))


class Untimed(CTarget):
    """A target that states nothing about its timing."""

    name = "abacus"
    timing = Target.timing


def test_each_kind_of_project_is_run_by_its_own(projects, monkeypatch) -> None:
    monkeypatch.setitem(TARGETS, Untimed.name, Untimed())
    monkeypatch.setattr(Project, "_scan", lambda project: None)  # these sources are of another kind than they state
    hls = read(projects / "hls")
    found = timed_targets.targets_of(
        [of_kind(hls, "c"), of_kind(hls, "onnx", file="model.onnx"), of_kind(hls, "qonnx")], {}
    )
    assert [member.target for member in found] == [
        *("keras", "c", "onnx", "onnx_bound", "onnx_tract", "onnx_sofie", "onnx_emlearn", "qonnx")
    ]
    assert [member.job.runner for member in found[:4]] == ["keras", "c", "onnx", "onnx"]
    assert [member.job.bound for member in found[1:4]] == [False, False, True]
    assert found[2].job.source == hls.firmware / "model.onnx" and found[1].job.source == hls.firmware
    assert found[-1].why.startswith("not timed: QONNX")
    assert timed_targets.targets_of([of_kind(hls, "abacus")], {})[1].why == (
        "not measured: nothing here runs projects of kind 'abacus'"
    )


def test_two_projects_of_a_kind_are_told_apart(projects, monkeypatch) -> None:
    monkeypatch.setattr(Project, "_scan", lambda project: None)
    hls = read(projects / "hls")
    one, other = of_kind(hls, "c"), replace(of_kind(hls, "c"), folder=projects / "other")
    found = timed_targets.targets_of([one, replace(other, manifest=replace(one.manifest, name="other"))], {})
    assert [member.target for member in found[1:]] == ["c small_c", "c other"]
    found = timed_targets.targets_of([one, other], {})
    assert [member.target for member in found[1:]] == [f"c {one.folder}", f"c {projects / 'other'}"]
    assert {member.job.vectors for member in found if member.job} == {one.folder / "vectors.npz"}


def test_a_project_that_was_changed_is_not_timed(project) -> None:
    folder = project("hls")
    header = next((folder / "firmware").rglob("*.h"))
    header.write_text(header.read_text() + "\n")
    why = timed_targets.targets_of([read(folder)], {})[1].why
    assert "changed since the emission; emit the project again: `edgephys emit MODEL --to" in why and header.name in why


def verified(project, **changed):
    target = {"latency_cycles": 12, "ii": 1, "tool": "verilator", "version": "5", "vectors": 200, "mismatches": 0}
    write_result(project, "verify", {"mismatches": 0, "targets": {"rtl": target}} | changed, project.state())


def test_rtl_has_the_cycles_of_its_verification_at_its_stated_clock(project) -> None:
    rtl = read(project("rtl"))
    assert "has not run on the project as it is now" in timed_targets.targets_of([rtl], {})[1].why
    verified(rtl)
    table, _ = table_of([rtl.folder])
    found, many = row(table, "rtl"), row(table, "rtl", 1024)
    assert found["p50_us"] == found["p99_us"] == pytest.approx(12 * rtl.clock_ns * 1e-3)
    assert found["stage"] == FigureStage.SIMULATED.value and found["core_share"] is None
    assert found["ratio"] == pytest.approx(30 / found["p50_us"])
    assert many["per_second"] == pytest.approx(1024e9 / ((12 + 1023) * rtl.clock_ns))
    verified(rtl, mismatches=3)
    assert timed_targets.targets_of([rtl], {})[1].why == "computes other numbers: 3 outputs in its verification"


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
        measure.BenchPlan(**wrong)


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
        ", RTL (simulated cycles): simulated, verilator 5; cycles 12 cycles, a new input every 1, at a stated" in page
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
    assert "quiet machine" not in page(bench_table.table(table), "bench")
    table["rows"][0]["core_share"] = 0.5
    assert "Here 1 of 12 rows had less than 90%: measure again on a quiet machine." in page(
        bench_table.table(table), "bench"
    )


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (0.0612, "0.0612"), (2.345, "2.35"), (23.45, "23.4"), (12821.0, "12,821")]
)
def test_figures_are_told_with_three_digits(value, told) -> None:
    assert bench_figure.digits(value) == told


@pytest.mark.slow
def test_keras_its_export_tflite_and_c_simulation_compute_the_golden_integers(projects) -> None:
    plan = measure.BenchPlan(seconds=2.0, rounds=3, batch=16)
    table = measure.measure([projects / "hls"], plan, "", lambda _: None)
    for target in ("keras", "tflite", "hls"):
        found = row(table, target)
        assert found["why"] is None and found["mismatches"] == 0 and found["p50_us"] > 0, target
    exported = row(table, "keras_onnx")
    assert exported["mismatches"] == 0 or "pip install tf2onnx" in exported["why"]
