"""A sweep keeps the design of lowest latency that meets the clock after routing, and measures no design twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies
from random_graphs import vectors

from edgephys import project
from edgephys.core.errors import MismatchError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.report import pipelining
from edgephys.report.render import write
from edgephys.targets.rtl import place, simulate, sweep
from edgephys.targets.rtl.sweep import PipelinedDesign, choose, explore

ACTIVATION = Fixed(False, 4, 2, Rounding.RND_CONV, Overflow.SAT)


def network():
    """Return two tiny layers: some hundred LUTs."""
    generator = np.random.default_rng(4)
    builder = Builder("tiny")
    x = builder.input("x", (3,), Fixed(True, 5, 2))
    x = builder.relu("one", builder.dense("one", x, generator.integers(-7, 8, (3, 3)), 3))
    x = builder.dense("two", builder.requantise("one", x, ACTIVATION), generator.integers(-7, 8, (3, 2)), 3)
    return builder.finish(x)


GRAPH = network()
X = vectors(GRAPH, 50)


def point(stages, fmax_mhz, lut=100):
    return PipelinedDesign(stages, 20 / stages, stages, 1, 50, fmax_mhz, 1, ((1, fmax_mhz),), lut, 10 * stages)


def explored(curve, clock_ns, most):
    """Explore a curve from stages to MHz; return the points and how often each was measured."""
    measured = []

    def measure(stages):
        measured.append(stages)
        return point(stages, curve(stages))

    points = explore(measure, clock_ns, most)
    assert sorted(set(measured)) == sorted(measured) == [p.stages for p in points]
    return points


# The search ---------------------------------------------------------------------------------------


@given(
    strategies.floats(5, 500), strategies.floats(0, 8), strategies.floats(1, 60), strategies.integers(1, 60)
)  # fmt: skip
def test_the_fewest_stages_that_meet_the_clock_are_found_with_few_measurements(path_ns, own_ns, clock_ns, most):
    def curve(stages):
        return 1000 / (path_ns / stages + own_ns)

    points = explored(curve, clock_ns, most)
    able = [stages for stages in range(1, most + 1) if curve(stages) * clock_ns >= 1000]
    found = choose(points, clock_ns)
    assert (found.stages if found else None) == (able[0] if able else None)
    stages = [p.stages for p in points]
    assert stages[0] == 1
    assert len(stages) <= 25
    if found:
        around = {found.stages + step for step in range(-2, 3)}
        assert {n for n in around if 1 <= n <= most} <= set(stages)


def test_where_no_depth_meets_the_clock_the_search_goes_as_deep_as_there_are_adders():
    points = explored(lambda stages: min(20 * stages, 90), 10, 12)
    assert (points[0].stages, points[-1].stages) == (1, 12)
    assert choose(points, 10) is None
    assert len(points) < 9


def test_routing_that_scatters_may_let_a_shallower_design_win():
    fmax = {1: 20, 2: 40, 3: 101, 4: 99, 5: 120, 6: 130, 7: 140, 8: 150}
    points = explored(fmax.__getitem__, 10, 8)
    assert choose(points, 10).stages == 3


def test_of_designs_with_the_same_latency_the_smaller_is_kept():
    points = [point(3, 150, lut=200), point(3, 110, lut=90), point(2, 99)]
    assert choose(points, 10) is points[1]


def test_no_design_that_meets_the_clock_is_one_line_with_the_best_reached():
    found = sweep.PipeliningSweep(
        10.0, place.PARTS["25k"], 20.0, (point(1, 30.0), point(9, 88.2), point(18, 85.0)), None, {}
    )
    with pytest.raises(
        ToolError,
        match=r"^sweep: none of 3 designs meets 10 ns on LFE5U-25F-6BG381C; the best is 88\.2 MHz with 9 stages; "
        r"take a clock of 11\.4 ns or more$",
    ):
        found.require()


# The measurement ----------------------------------------------------------------------------------


@pytest.fixture
def routed(monkeypatch, tmp_path):
    """Replace the router by one that gives 40 MHz a register stage and 1 MHz a seed; return the calls of it."""
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path / "cache"))
    calls = []

    def fake(sources, top, device="85k", clock_ns=5.0, seed=1, timeout_s=1800.0):
        text = "".join(path.read_text() for path in sources)
        stages = text.count("<= stage_") + 1
        calls.append((stages, seed))
        return place.Placed(
            40.0 * stages + seed, 100, stages, 0, 0, {}, device, clock_ns, seed, 1.0, "nextpnr", "0", Path()
        )

    monkeypatch.setattr(place, "place", fake)
    return calls


@pytest.fixture
def simulated(monkeypatch):
    """Replace the simulator by the golden model at the planned latency."""

    def fake(folder, facts, x):
        return simulate.Simulated(evaluate.run(GRAPH, x), facts["stages"], 1)

    monkeypatch.setattr(simulate, "simulate", fake)


@pytest.mark.slow
def test_a_sweep_simulates_and_routes_each_design_and_keeps_the_one_of_lowest_latency(routed):
    found = sweep.sweep(GRAPH, X, 1000 / 75, cutoffs_ns=[1000.0, found_delay() / 2])
    assert [p.stages for p in found.points] == [p.latency_cycles for p in found.points] == [1, 2]
    assert [p.fmax_mhz for p in found.points] == [41.0, 81.0]
    assert found.require() is found.points[1]
    assert found.part == "LFE5U-85F-6BG381C"
    assert found.provenance["latency_cycles"].startswith("simulated, verilator ")
    assert "50 vectors, no output differs" in found.provenance["latency_cycles"]
    assert found.provenance["fmax_mhz"].startswith("placed and routed, nextpnr-ecp5 ")
    assert found.provenance["fmax_mhz"].endswith("Lattice ECP5-85k, out of context, aimed at 13.3333 ns, seed 1")


def found_delay():
    return sweep.rtl.logic.trace(GRAPH, False)[0].delay_ns + sweep.rtl.logic.trace(GRAPH, False)[1].delay_ns


def test_a_sweep_that_was_killed_measures_only_what_is_missing(routed, simulated, monkeypatch):
    counted = place.place

    def killed(*arguments, **options):
        if len(routed) == 2:
            raise KeyboardInterrupt
        return counted(*arguments, **options)

    monkeypatch.setattr(place, "place", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(GRAPH, X, 12.0)
    monkeypatch.setattr(place, "place", counted)
    found = sweep.sweep(GRAPH, X, 12.0)
    assert len({stages for stages, _ in routed}) == len(routed) == len(found.points) > 3
    assert sweep.sweep(GRAPH, X, 12.0) == found
    assert len(routed) == len(found.points)
    sweep.sweep(GRAPH, X[:20], 12.0)
    assert len(routed) == 2 * len(found.points)  # on other vectors nothing is vouched for


def test_of_several_seeds_the_best_counts_and_is_stated(routed, simulated):
    (found,) = sweep.sweep(GRAPH, X, 20.0, cutoffs_ns=[1000.0], seeds=(3, 9, 5)).points
    assert (found.fmax_mhz, found.seed, found.stages) == (49.0, 9, 1)
    assert found.fmax_by_seed == ((3, 43.0), (9, 49.0), (5, 45.0))


def test_a_design_that_computes_other_integers_is_a_mismatch_and_is_not_routed(routed, monkeypatch):
    wrong = evaluate.run(GRAPH, X)
    wrong[7, 1] += 1
    monkeypatch.setattr(simulate, "simulate", lambda *_: simulate.Simulated(wrong, 1, 1))
    with pytest.raises(
        MismatchError, match=r"^sweep: 1 stage \(cutoff 100 ns\): 1 of 100 outputs differ from the golden model's"
    ):
        sweep.sweep(GRAPH, X, 20.0, cutoffs_ns=[100.0])
    assert not routed


def test_a_router_that_fails_names_the_design(simulated, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))

    def fails(*_arguments, **_options):
        raise ToolError("design 'edgephys_top': nextpnr-ecp5 was stopped after 3 s")

    monkeypatch.setattr(place, "place", fails)
    with pytest.raises(
        ToolError, match=r"^sweep: 1 stage \(cutoff 50 ns\): design 'edgephys_top': nextpnr-ecp5 was stopped after 3 s"
    ):
        sweep.sweep(GRAPH, X, 20.0, cutoffs_ns=[50.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "100k"}, r"device must be one of 12k, 25k, 45k, 85k, not '100k'"),
        ({"clock_ns": 0.0}, r"clock_ns must be 0\.1\.\.1000"),
        ({"seeds": ()}, r"seeds must be 1 or more numbers from 0 on, each once, not \[\]"),
        ({"seeds": (2, 2)}, r"seeds must be .* each once, not \[2, 2\]"),
        ({"cutoffs_ns": []}, r"cutoffs must be 1 or more, not 0"),
        ({"cutoffs_ns": [4.0, -1.0]}, r"cutoff_ns must be 0\.1 or more and finite, not -1\.0"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_measured(options, message, routed):
    with pytest.raises(UsageError, match=message):
        sweep.sweep(GRAPH, X, **{"clock_ns": 20.0, **options})
    assert not routed


@pytest.mark.slow
def test_a_combinational_design_is_routed_from_the_input_to_the_output_register(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))
    found = sweep.sweep(GRAPH, X, 20.0, "25k", cutoffs_ns=[1000.0, 3.0])
    whole, deep = found.points
    assert (whole.stages, whole.latency_cycles) == (1, 1)
    assert whole.fmax_mhz < deep.fmax_mhz
    assert whole.ff < deep.ff
    reports = [json.loads(path.read_text()) for path in tmp_path.rglob("report.json")]
    (report,) = [one for one in reports if place.fmax_mhz(one, "clk", "top") == whole.fmax_mhz]
    path = report["critical_paths"][0]["path"]
    assert (path[0]["from"]["port"], path[-1]["type"]) == ("Q", "setup")
    assert path[-1]["to"]["cell"].startswith(("out_bits", "output_"))


# The table and the command ------------------------------------------------------------------------


@pytest.fixture
def table():
    points = (point(1, 30.0), point(3, 101.0), point(6, 160.0))
    found = sweep.PipeliningSweep(
        10.0, place.PARTS["85k"], 20.0, points, points[1], {"fmax_mhz": "placed and routed, somewhere"}
    )
    return pipelining.tabulate(found, "tiny", "edgephys sweep tiny")


def test_the_table_states_latency_only_at_a_clock_that_is_met(table):
    assert (table["command"], table["model"], table["clock_ns"], table["chosen"]) == (
        "edgephys sweep tiny", "tiny", 10.0, 3,
    )  # fmt: skip
    assert [row["meets"] for row in table["rows"]] == [False, True, True]
    assert [row["latency_ns"] for row in table["rows"]] == [None, 30.0, 60.0]
    assert table["rows"][0]["latency_own_ns"] == pytest.approx(33.3, abs=0.1)


def test_the_curve_is_written_as_json_text_and_picture(table, tmp_path):
    write(pipelining.table(table), tmp_path / "results" / "curve")
    assert json.loads((tmp_path / "results" / "curve.json").read_text()) == json.loads(json.dumps(table))
    text = (tmp_path / "results" / "curve.md").read_text()
    assert "tiny on LFE5U-85F-6BG381C at 10 ns: 3 stages kept" in text
    assert "| **3** | **6.66667** | **3** | **101.0** | **yes** | **30** | **29.7** | **100** | **30** |" in text
    assert "- fmax_mhz: placed and routed, somewhere" in text
    assert (tmp_path / "results" / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def small(model, routed, monkeypatch):
    """A trained model whose designs are routed by the fake, and simulated by the golden model."""
    graphs = []
    run = evaluate.run

    def golden(graph, x):
        graphs.append(graph)
        return run(graph, x)

    monkeypatch.setattr(evaluate, "run", golden)
    monkeypatch.setattr(
        simulate,
        "simulate",
        lambda _folder, facts, x: simulate.Simulated(run(graphs[-1], x), facts["stages"], 1),
    )
    return model


@pytest.mark.slow
def test_the_command_keeps_the_design_as_a_project_and_writes_the_curve(small, run, tmp_path):
    out, results = tmp_path / "swept", tmp_path / "results" / "pipelining"
    options = ("--clock-ns", 20, "--cutoffs", "1000,2", "--vectors", 40, "--out", out, "--results", results)
    done = run("sweep", small, *options, "--json")
    assert done.status == 0, done.err
    record = done.json
    assert record == json.loads(results.with_suffix(".json").read_text())
    assert record["chosen"] == record["rows"][1]["stages"] > 1
    kept = project.read(out)
    assert kept.facts["stages"] == record["chosen"]
    assert (kept.part, kept.clock_ns, kept.manifest.options["cutoff_ns"]) == ("LFE5U-85F-6BG381C", 20.0, 2.0)
    assert len(project.read_vectors(kept).inputs) == 40


def test_the_command_keeps_nothing_where_no_design_meets_the_clock(small, run, tmp_path):
    out, results = tmp_path / "swept", tmp_path / "pipelining"
    options = ("--clock-ns", 20, "--cutoffs", "1000", "--vectors", 40, "--out", out, "--results", results)
    done = run("sweep", small, *options)
    assert done.status == 1
    assert "none of 1 designs meets 20 ns" in done.err
    assert not out.exists()
    assert json.loads(results.with_suffix(".json").read_text())["chosen"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", "--clock-ns", 20, "--cutoffs", "4;8"), "--cutoffs must be numbers of ns such as 4,8,16, not '4;8'"),
        (("sweep", "--clock-ns", 20, "--vectors", 10**6), "--vectors must be 1..200"),
        (("emit", "--to", "hls", "--cutoff-ns", 3), "--cutoff-ns goes with --to rtl, not with --to hls"),
        (("emit", "--to", "rtl", "--cutoff-ns", -3), r"cutoff_ns must be 0.1 or more and finite, not -3.0"),
    ],
)
def test_options_of_the_commands_that_cannot_be_exit_with_2(words, message, small, run, tmp_path):
    command, *options = words
    done = run(command, small, *options, "--out", tmp_path / "out")
    assert done.status == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()
