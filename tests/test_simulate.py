"""Simulated clock by clock, an RTL project gives the golden integers; its latency is counted in edges."""

import re
import resource
import shutil
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies
from random_graphs import WITH_RTL, random_graph, vectors
from rtl_graphs import tagger

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.rtl import bits, simulate
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl.options import RtlOptions

ECP5 = "LFE5U-85F-6BG381C"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rtl")
    graph = tagger()
    return graph, folder, rtl.emit(graph, folder, RtlOptions(clock_ns=2.5))


# The simulated sources --------------------------------------------------------------------------


def test_verilog_gives_the_golden_integers_at_the_measured_latency(project):
    graph, folder, facts = project
    x = vectors(graph, 3000)
    found = simulate.simulate(folder, facts, x)
    np.testing.assert_array_equal(found.outputs, evaluate.run(graph, x))
    assert (found.latency_cycles, found.ii) == (facts["stages"], 1)
    assert facts["stages"] > 4
    assert (x < 0).any()
    assert (found.outputs < 0).any()


def test_a_second_simulation_compiles_nothing(project, monkeypatch):
    graph, folder, facts = project
    simulate.build(folder, facts)
    started = []
    run = tools.run
    monkeypatch.setattr(
        tools, "run", lambda command, *rest, **more: (started.append(command), run(command, *rest, **more))[1]
    )
    simulate.simulate(folder, facts, vectors(graph, 5))
    assert started
    assert all(Path(command[0]).name == "simulator" for command in started)


@pytest.mark.slow
def test_a_changed_constant_shows_and_the_probe_names_its_layer(project, tmp_path):
    graph, folder, facts = project
    shutil.copytree(folder, tmp_path / "changed")
    source = tmp_path / "changed" / "src" / "layer_mean.v"
    text = source.read_text()
    operator = re.search(r"(shift_adder|ternary_adder) #\((\d+,)*(\d+)\)", text)
    assert operator
    last = operator.start(3), operator.end(3)  # IS_SUB or DROP_LSBS
    source.write_text(text[: last[0]] + str(1 - int(operator[3])) + text[last[1] :])
    x = vectors(graph, 200)
    found, golden = simulate.probe(tmp_path / "changed", facts, x), evaluate.trace(graph, {"x": x})
    differ = [layer for layer, node in graph.layers() if not np.array_equal(found[layer], golden[node.name])]
    assert differ[0] == "mean"
    assert "rho_2" in differ


@pytest.mark.slow
def test_every_layer_of_an_unchanged_project_probes_as_the_golden_model(project):
    graph, folder, facts = project
    x = vectors(graph, 50)
    found, golden = simulate.probe(folder, facts, x), evaluate.trace(graph, {"x": x})
    assert list(found) == [layer for layer, _ in graph.layers()]
    for layer, node in graph.layers():
        np.testing.assert_array_equal(found[layer], golden[node.name])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 6, 16, 21, 26, 32])
def test_random_graphs_simulate_as_the_golden_model(seed, tmp_path):
    graph = random_graph(seed, WITH_RTL, 8)
    facts = rtl.emit(
        graph, tmp_path, RtlOptions(clock_ns=(0.5, 1.5)[seed % 2], part=(ECP5, "xcku115-flvb2104-2-i")[seed % 2])
    )
    x = vectors(graph, 100)
    found = simulate.simulate(tmp_path, facts, x)
    np.testing.assert_array_equal(found.outputs, evaluate.run(graph, x))
    assert (found.latency_cycles, found.ii) == (facts["stages"], 1)


@pytest.mark.slow
def test_a_product_of_a_sum_and_its_term_is_simulated_as_the_source_states(tmp_path):
    """Verilator 5.048 gave -4 * 14 for 28 * 14, the sum's sign taken a bit too low, with all of its optimisations."""
    builder = Builder("product")
    x = builder.input("x", (3,), Fixed(True, 5, 4))
    positive = builder.relu("sum", x)
    squares = builder.mul("product", builder.add("sum", positive, x), positive)
    graph = builder.finish(builder.take("rows", squares, [[1, 1], [2, 1]], 0))
    integers = np.array(list(product(range(-16, 16, 6), range(16), (0, 14))))
    facts = rtl.emit(graph, tmp_path, RtlOptions(clock_ns=100.0, part=ECP5))
    np.testing.assert_array_equal(simulate.simulate(tmp_path, facts, integers).outputs, evaluate.run(graph, integers))


@pytest.mark.slow
def test_four_times_the_constituents_do_not_compile_four_times_as_long(tmp_path):
    def cpu_s(rows: int) -> float:
        facts = rtl.emit(tagger(rows, 16), tmp_path / str(rows), RtlOptions())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        simulate.build(tmp_path / str(rows), facts)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime

    cpu_s(3)  # the runtime is compiled once
    assert cpu_s(32) < 2.5 * cpu_s(8)


def interaction():
    from hls_graphs import interaction  # loads Keras

    return interaction()


@pytest.mark.skipif(shutil.which("ghdl") is None, reason="GHDL is not installed")
@pytest.mark.parametrize("graph_of", [tagger, pytest.param(interaction, marks=pytest.mark.slow)])
def test_vhdl_gives_the_golden_integers_at_the_same_latency(graph_of, tmp_path):
    graph = graph_of()
    verilog = rtl.emit(graph, tmp_path / "verilog", RtlOptions(clock_ns=2.5))
    facts = rtl.emit(graph, tmp_path / "vhdl", RtlOptions("vhdl", clock_ns=2.5))
    x = vectors(graph, 100)
    found = simulate.simulate(tmp_path / "vhdl", facts, x)
    np.testing.assert_array_equal(found.outputs, evaluate.run(graph, x))
    assert (found.latency_cycles, found.ii) == (verilog["stages"], 1)


def test_vhdl_without_ghdl_says_what_is_missing(tmp_path, monkeypatch):
    facts = rtl.emit(tagger(), tmp_path, RtlOptions("vhdl"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"ghdl is missing: install GHDL"):
        simulate.simulate(tmp_path, facts, np.zeros((1, 5, 3), np.int64))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 5, 3), np.int64), r"must hold 1 vector or more, not 0"),
        (np.zeros((2, 5), np.int64), r"must be integers \(vector, 5, 3\), not int64 \(2, 5\)"),
        (np.zeros((2, 5, 3)), r"must be integers \(vector, 5, 3\), not float64"),
        (np.full((2, 5, 3), 128), r"must be -128\.\.127 in steps, not 128\.\.128"),
    ],
)
def test_inputs_that_the_port_does_not_take_are_refused(project, x, message):
    with pytest.raises(UsageError, match=message):
        simulate.simulate(project[1], project[2], x)


def test_a_missing_source_is_named(project, tmp_path):
    shutil.copytree(project[1], tmp_path / "cut")
    (tmp_path / "cut" / "src" / "layer_mean.v").unlink()
    with pytest.raises(ProjectError, match=r"src/layer_mean\.v is missing; emit the project again"):
        simulate.simulate(tmp_path / "cut", project[2], vectors(project[0], 2))


# What the clock edges show ----------------------------------------------------------------------


class Pretended(simulate.Bench):
    """A bench whose design is a Python function from the inputs at every clock to the outputs after it."""

    def __init__(self, design):
        port = {"node": "x", "shape": [1], "bits": 8, "signed": False, "fraction": 0}
        super().__init__("verilog", Path(), [port], [port])
        object.__setattr__(self, "design", design)

    def clocked(self, words):
        return np.array(self.design(words[:, 0].tolist()), np.uint32)[:, None]


STEPS = np.arange(1, 40, dtype=np.uint32)[:, None]


def later(values: list[int], clocks: int) -> list[int]:
    return ([0] * clocks + values)[: len(values)]


@pytest.mark.parametrize("latency", [0, 1, 7, 30, 100])
def test_latency_is_counted_in_clock_edges(latency):
    bench = Pretended(lambda values: later([3 * value % 256 for value in values], latency))
    assert simulate._timing(bench, STEPS) == (latency, 1)


@pytest.mark.parametrize("interval", [2, 3, 5])
def test_a_design_that_takes_an_input_every_few_clocks_shows_its_interval(interval):
    def design(values):
        waiting, state, found = 0, 0, []
        for before, value in pairwise([None, *values]):
            waiting = interval - 1 if value != before and not waiting else max(waiting - 1, 0)
            state = value if not waiting else state
            found.append(state)
        return found

    latency, ii = simulate._timing(Pretended(design), STEPS)
    assert (latency, ii) == (interval - 1, interval)


def test_a_latency_that_depends_on_the_data_is_a_mismatch():
    def design(values):
        return [old if value % 2 else value for value, old in zip(values, later(values, 3), strict=True)]

    with pytest.raises(MismatchError, match=r"third value|one number of clocks"):
        simulate._timing(Pretended(design), STEPS)


def test_outputs_that_glitch_are_a_mismatch():
    def design(values):
        return [255 if value != old else old for value, old in zip(values, later(values, 1), strict=True)]

    with pytest.raises(MismatchError, match=r"a third value"):
        simulate._timing(Pretended(design), STEPS)


def test_outputs_that_never_rest_are_a_mismatch():
    with pytest.raises(MismatchError, match=r"do not rest within 2048 clocks"):
        simulate._timing(Pretended(lambda values: list(range(len(values)))), STEPS)


def test_a_design_that_ignores_its_inputs_has_its_output_after_the_clocks_since_the_start():
    assert simulate._timing(Pretended(lambda values: [7] * len(values)), STEPS) == (0, 1)
    filled = Pretended(lambda values: later([7] * len(values), 5))
    assert simulate._timing(filled, STEPS) == (5, 1)


@pytest.mark.parametrize("latency", [0, 5, 30])
def test_a_rare_change_of_the_output_is_where_latency_is_measured(latency):
    bench = Pretended(lambda values: later([7 + (value == 200) for value in values], latency))
    vectors = np.concatenate([STEPS, np.array([[200]], np.uint32), STEPS])
    assert simulate._timing(bench, vectors) == (latency, 1)


def test_a_network_that_computes_a_constant_is_compared_in_all_vectors(tmp_path):
    builder = Builder("constant")
    x = builder.relu("a", builder.bias("a", builder.input("x", (2,), Fixed(True, 4, 4)), np.array([-9, 9]), 0))
    low = builder.requantise("low", builder.bias("low", x, np.array([-40, -40]), 0), Fixed(False, 4, 4))
    graph = builder.finish(builder.bias("end", builder.dense("end", low, np.array([[1], [2]]), 0), np.array([5]), 0))
    facts = rtl.emit(graph, tmp_path, RtlOptions())
    x = vectors(graph, 100)
    found = simulate.simulate(tmp_path, facts, x)
    np.testing.assert_array_equal(found.outputs, evaluate.run(graph, x))


@given(strategies.data(), strategies.integers(1, 62), strategies.booleans())
def test_packing_is_undone_by_unpacking(data, width, signed):
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    x = np.array(data.draw(strategies.lists(strategies.integers(low, high), min_size=3, max_size=3)), np.int64)
    port = {"node": "x", "shape": [3], "bits": width, "signed": signed}
    np.testing.assert_array_equal(bits.unpacked(bits.packed(x[None], width), [port])["x"], x[None])
