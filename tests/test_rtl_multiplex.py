"""RTL that takes an input every ``ii`` clocks: rows come in turn, and the integers stay those of the golden model."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hls_graphs import interaction
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs, vectors
from rtl_graphs import ACTIVATION, INPUT, assert_same_in_any_process, dense, tagger

from edgephys.core.errors import MismatchError, ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import gate_level, lint, multiplex, multiplex_simulate, scan, simulate
from edgephys.targets.rtl.options import RtlOptions

CONTROL = Path("src") / "edgephys_control.v"


def emitted(graph, folder, ii, **options):
    return rtl.emit(graph, folder, RtlOptions(ii=ii, io="parallel", **options))


def assert_exact(graph, folder, facts, x):
    """Check outputs, with waits too, every layer, and the interval; return the simulation."""
    expected = evaluate.run(graph, x)
    simulated = simulate.simulate(folder, facts, x)
    assert np.array_equal(simulated.outputs, expected) and simulated.ii == facts["ii"]
    assert simulated.latency_cycles == facts["latency"]
    assert np.array_equal(multiplex_simulate.simulate_with_gaps(folder, facts, x), expected)
    edges = evaluate.trace(graph, {graph.input.name: x})
    layers = simulate.probe(folder, facts, x)
    of = {layer: node.name for layer, node in graph.layers()}
    assert all(np.array_equal(layer, edges[of[name]]) for name, layer in layers.items())
    return layers


def copies(facts):
    return {block["name"]: block["copies"] for block in facts["blocks"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("tagger"), tagger(8)
    return graph, folder, emitted(graph, folder, 4)


def test_rows_come_in_turn_and_the_integers_of_every_layer_are_those_of_the_golden_model(project):
    graph, folder, facts = project
    layers = assert_exact(graph, folder, facts, vectors(graph, 60))
    assert list(layers) == [layer for layer, _ in graph.layers()]
    assert {name: copies(facts)[name] for name in ("phi_1", "phi_2", "rho_1")} == {"phi_1": 2, "phi_2": 2, "rho_1": 1}


@pytest.mark.slow
def test_a_fault_between_blocks_shows_in_the_layer_that_it_is_in(tmp_path):
    graph = tagger(8)
    facts = emitted(graph, tmp_path, 4)
    (source,) = (tmp_path / "src").glob("sum_*.v")
    assert "module probe_sum" not in (tmp_path / "sim" / "edgephys_probe.v").read_text()
    wrong = source.read_text().replace(") + {", ") - {", 1)
    assert wrong != source.read_text()
    source.write_text(wrong)
    x = vectors(graph, 20)
    edges, layers = evaluate.trace(graph, {graph.input.name: x}), simulate.probe(tmp_path, facts, x)
    differ = [layer for layer, node in graph.layers() if not np.array_equal(layers[layer], edges[node.name])]
    assert differ[0] == "mean"


def test_no_tool_objects_to_the_sources_and_the_scan_takes_them(project):
    _, folder, facts = project
    scan.scan(folder, facts)
    assert [(of.tool, of.findings) for of in lint.of_project(folder, facts) if not of.skipped and of.findings] == []


def test_two_emissions_are_the_same_bytes_in_any_process(tmp_path):
    program = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path; from rtl_graphs import tagger; "
        "from edgephys.targets.rtl.emit import emit; from edgephys.targets.rtl.options import RtlOptions; "
        "emit(tagger(4), Path(sys.argv[1]), RtlOptions(ii=4))"
    )
    assert_same_in_any_process(program, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("ii", [2, 3, 4, 6, 12, 40])
def test_pairs_of_rows_are_chosen_by_the_phase_and_summed_where_they_come(ii, tmp_path):
    graph = interaction(4)
    facts = emitted(graph, tmp_path, ii)
    assert_exact(graph, tmp_path, facts, vectors(graph, 60))
    assert copies(facts)["effect_2"] == max(12 // ii, {2: 6, 3: 6, 4: 3, 6: 3}.get(ii, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "ii", "cutoff_ns"), [(8, 8, 5.0), (8, 100, 0.7), (6, 3, 1.0), (5, 5, 2.0), (8, 2, 1.5)]
)
def test_any_number_of_turns_and_stages_is_exact(rows, ii, cutoff_ns, tmp_path):
    graph = tagger(rows)
    assert_exact(graph, tmp_path, emitted(graph, tmp_path, ii, cutoff_ns=cutoff_ns), vectors(graph, 60))


@pytest.mark.slow
@pytest.mark.parametrize("cutoff_ns", [0.7, 5.0])
def test_a_handshake_alone_takes_an_input_at_every_clock_and_waits_for_its_reader(cutoff_ns, tmp_path):
    graph = tagger(4)
    facts = emitted(graph, tmp_path, 1, handshake=True, cutoff_ns=cutoff_ns)
    assert_exact(graph, tmp_path, facts, vectors(graph, 60))
    assert set(copies(facts).values()) == {1, 4} and lint.of_project(tmp_path, facts)[0].findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("ii", [5, 12, 24, 100])
def test_outputs_and_inputs_of_dense_layers_come_in_turn(ii, tmp_path):
    graph = mlp(12, 24, 10, 5)
    facts = emitted(graph, tmp_path, ii)
    assert_exact(graph, tmp_path, facts, vectors(graph, 60))
    tables = [path for path in facts["sources"] if "table_" in path]
    assert tables and facts["lut_estimate"] < rtl.estimate(graph, RtlOptions()).lut


def test_two_choices_among_the_same_rows_in_another_order_are_two(tmp_path):
    builder, generator = Builder("choices"), np.random.default_rng(0)
    x = builder.input("x", (2, 3), INPUT)
    one, other = (builder.take(name, x, rows, 0) for name, rows in (("one", [0, 1, 0, 0]), ("other", [0, 1, 1, 1])))
    graph = builder.finish(dense(builder, "out", builder.concat("both", (one, other), 1), 2, generator))
    facts = emitted(graph, tmp_path, 4)
    x = vectors(graph, 40)
    assert np.array_equal(simulate.simulate(tmp_path, facts, x).outputs, evaluate.run(graph, x))


def test_the_outputs_of_one_layer_are_the_inputs_of_the_next_one_as_they_come():
    network = multiplex.planned(mlp(4, 64, 3), 64, True, 5.0)
    names = [logic.block.name for logic in network.logics]
    assert any("in_turn" in name for name in names) and not any("sum" in name and "2" in name for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("ii", [3, 4, 6])
def test_a_sum_over_groups_that_no_turn_ends_with_is_exact(ii, tmp_path):
    builder, generator = Builder("groups"), np.random.default_rng(0)
    x = dense(builder, "rows", builder.input("x", (12, 2), INPUT), 3, generator)
    total = builder.sum("total", builder.reshape("grouped", x, (4, 3, 3)), 1)
    graph = builder.finish(builder.requantise("out", total, ACTIVATION))
    assert_exact(graph, tmp_path, emitted(graph, tmp_path, ii), vectors(graph, 60))


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(graph=graphs(), ii=st.sampled_from([2, 3, 4, 6, 12]))
def test_a_random_graph_is_exact_or_refused_by_name(graph, ii, tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    try:
        facts = emitted(graph, folder, ii)
    except (UsageError, ModelError) as error:
        assert re.search("changes nothing in|layer '|its output is its input", str(error))
        return
    assert_exact(graph, folder, facts, vectors(graph, 40))


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
def test_the_netlist_computes_the_same_integers_at_the_same_clocks(project, family):
    graph, folder, facts = project
    x = vectors(graph, 40)
    simulated = gate_level.simulated(folder, facts, family, x)
    assert np.array_equal(simulated.outputs, evaluate.run(graph, x))
    assert (simulated.latency_cycles, simulated.ii) == (facts["latency"], facts["ii"])


@pytest.mark.parametrize(
    ("shape", "ii", "slots"),
    [((8,), 8, 1), ((8,), 3, 4), ((5,), 4, 5), ((4, 3), 12, 1), ((4, 3), 5, 3), ((4, 3), 2, 6), ((16, 15), 240, 1)],
)
def test_as_few_rows_come_side_by_side_as_the_interval_allows_in_whole_groups_or_parts_of_one(shape, ii, slots):
    assert multiplex.slots_of(shape, ii) == slots


def rounded(*shape):
    builder = Builder("rounded")
    return builder.finish(builder.requantise("out", builder.input("x", shape, INPUT), ACTIVATION))


def mlp(*sizes):
    builder, generator = Builder("mlp"), np.random.default_rng(0)
    x = builder.input("x", sizes[:1], INPUT)
    for number, size in enumerate(sizes[1:]):
        x = dense(builder, f"dense_{number}", x, size, generator, number < len(sizes) - 2)
    return builder.finish(x)


def few_weights(*sizes, seed):
    """Return a network whose weights and biases are -1, 0 or 1 steps, so that some are alike in every turn."""
    builder, generator = Builder("few"), np.random.default_rng(seed)
    x = builder.input("x", sizes[:1], INPUT)
    for number, size in enumerate(sizes[1:]):
        layer, kernel = f"d{number}", generator.integers(-1, 2, (builder.shape(x)[-1], size))
        bias = generator.integers(-1, 2, size)
        x = builder.bias(layer, builder.dense(layer, x, kernel, 4), bias, 4)
        if number < len(sizes) - 2:
            x = builder.requantise(layer, builder.relu(layer, x), ACTIVATION)
    return builder.finish(x)


def test_weights_that_are_the_same_in_every_turn_need_no_table(tmp_path):
    graph = few_weights(16, 8, 4, seed=2)
    facts = emitted(graph, tmp_path, 16)
    sources = [path.read_text() for path in tmp_path.rglob("*.v")]
    assert any("module table_" in text for text in sources) and not any(
        re.search(r"\b0'[dh]", text) for text in sources
    )
    assert_exact(graph, tmp_path, facts, vectors(graph, 20))


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (
            lambda: rounded(6),
            {"ii": 2},
            "nothing in 'rounded': no layer treats several rows alike, and none is",
        ),
        (lambda: rounded(5, 3), {"ii": 2}, "its rows, inputs and outputs come in 5 turns or more; use ii 5 or more"),
        (lambda: mlp(5, 7), {"ii": 3}, "ii 3 changes nothing in 'mlp': .* come in 5 turns or more; use ii 5 or more"),
        (lambda: mlp(12, 24, 10, 5), {"ii": 2}, "what comes in turn would cost more LUTs than it saves; use a longer"),
        (
            lambda: tagger(4),
            {"ii": 2, "language": "vhdl"},
            "language must be verilog with an ii above 1 or a handshake",
        ),
        (lambda: tagger(4), {"handshake": True, "language": "vhdl"}, "with an ii above 1 or a handshake, not vhdl"),
        (lambda: tagger(4), {"ii": -1}, r"ii must be 1\.\.4096 clocks, or auto, not -1"),
        (lambda: tagger(4), {"ii": 5000}, r"ii must be 1\.\.4096 clocks, or auto, not 5000"),
    ],
)
def test_an_interval_that_nothing_can_use_is_refused_with_the_reason(graph, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        rtl.emit(graph(), tmp_path, RtlOptions(**options))


def test_a_stream_takes_a_pixel_a_clock_and_no_other_interval(tmp_path):
    builder = Builder("field")
    x = builder.input("x", (20, 20, 1), INPUT)
    graph = builder.finish(builder.requantise("out", builder.window("window", x, (3, 3)), ACTIVATION))
    with pytest.raises(
        UsageError, match="ii must be 1, and handshake and axi_stream off, for a field that is streamed"
    ):
        rtl.emit(graph, tmp_path, RtlOptions(ii=2))


def changed(project, folder, path, before, after):
    """Emit the project again, with a text of a source replaced."""
    facts = emitted(project[0], folder, 4)
    text = (folder / path).read_text()
    assert before in text
    (folder / path).write_text(text.replace(before, after))
    return facts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "before", "after", "message"),
    [
        (CONTROL, "ready_in = !reset", "ready_in = 1'b0 && !reset", "of 24 inputs 0 are taken within"),
        (CONTROL, "valid_out <= empty && ", "valid_out <= 1'b0 && ", "24 inputs went in and 0 outputs came out"),
        (Path("sim/edgephys_bench.v"), ".valid_in(valid_in)", ".valid_in(valid_in && in_bits[0])", "depends on their"),
    ],
)
def test_a_wrong_handshake_is_named(project, tmp_path, path, before, after, message):
    facts = changed(project, tmp_path, path, before, after)
    with pytest.raises(MismatchError, match=message):
        simulate.simulate(tmp_path, facts, vectors(project[0], 60))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("sum", "wire first = phase == 3'd0", "wire first = phase == 3'd1"),
        ("sum", "phase == 3'd3) sums", "phase == 3'd2) sums"),
        ("select", "3'd1: number = 2'd1", "3'd1: number = 2'd2"),
        ("gather", "phase <= 3'd3", "phase <= 3'd2"),
        ("edgephys_control", "phase >= 3'd3", "phase >= 3'd2"),
    ],
)
def test_a_fault_between_the_blocks_changes_the_integers(project, tmp_path, source, before, after):
    (path,) = [of.relative_to(project[1]) for of in (project[1] / "src").glob(f"{source}*.v")]
    facts = changed(project, tmp_path, path, before, after)
    x = vectors(project[0], 60)
    with suppress(MismatchError):
        assert not np.array_equal(simulate.simulate(tmp_path, facts, x).outputs, evaluate.run(project[0], x))
