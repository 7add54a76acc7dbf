"""A network on fields takes a pixel a clock: the golden integers, in the time that the clock edges show."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from random_graphs import WITH_RTL, build_field, field_graphs, vectors
from rtl_graphs import INPUT, blurred, dense

from edgephys.core.errors import MismatchError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Concat
from edgephys.graph.passes import lowered
from edgephys.networks.decompositions import FORMATS
from edgephys.targets.rtl import bits, simulate, stream, stream_simulate, synth
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl.bits import packed, unpacked
from edgephys.targets.rtl.line_buffer import Delay, WindowBuffer
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.rtl.testbench import Bench


def simulated_as_the_golden_model(graph: Graph, folder: Path, count: int, options: RtlOptions | None = None):
    """Emit and simulate; hold every pixel of every frame and the stated times against what the clock edges show."""
    facts = rtl.emit(graph, folder, options or RtlOptions())
    x = vectors(graph, count)
    found = simulate.simulate(folder, facts, x)
    np.testing.assert_array_equal(found.outputs, evaluate.run(graph, x))
    np.testing.assert_array_equal(stream_simulate.simulate_with_gaps(folder, facts, x), found.outputs)
    pixels = graph.input.shape[0] * graph.input.shape[1]
    assert facts["io"] == "stream"
    assert (found.first_cycles, found.ii) == (facts["latency"], pixels)
    assert found.latency_cycles == found.first_cycles + pixels - 1
    return facts, x


def probes_as_the_golden_model(graph: Graph, folder: Path, facts, x) -> None:
    found, golden = simulate.probe(folder, facts, x), evaluate.trace(graph, {graph.input.name: x})
    assert found.keys() <= dict(graph.layers()).keys()
    for layer, node in graph.layers():
        if layer in found:
            np.testing.assert_array_equal(found[layer], golden[node.name])


# The integers and the time ----------------------------------------------------------------------


def joined(graphs: list[Graph]) -> Graph:
    """Return one graph of several on one input, their outputs side by side: one build for all of them."""
    (source, *_), nodes, ends = graphs[0].nodes, [], []
    for number, graph in enumerate(graphs):
        new = {node.name: f"{node.name}_{number}" for node in graph.nodes} | {graph.input.name: source.name}
        for node in graph.nodes[1:]:
            inputs = tuple(new[name] for name in node.inputs)
            nodes.append(replace(node, name=new[node.name], inputs=inputs, layer=f"{node.layer}_{number}"))
        ends.append(nodes[-1])
    shape = (*ends[0].shape[:2], sum(node.shape[2] for node in ends))
    both = Node("both", Concat(2), tuple(node.name for node in ends), shape, ends[0].fixed, "both")
    return lowered(Graph("joined", (source, *nodes, both), (source.name,), ("both",)))


@pytest.mark.slow
def test_networks_of_all_formats_give_the_golden_integers_a_pixel_a_clock(tmp_path):
    from wave_model import NET, random_model  # loads Keras

    graph = joined([random_model(replace(NET, grid=8, format=name))[1] for name in FORMATS])
    facts, x = simulated_as_the_golden_model(graph, tmp_path, 12)
    assert facts["lag"] == 2 * (8 + 1)  # of two stages a row and a pixel each
    assert len(np.unique(evaluate.run(graph, x))) > 100
    assert {block["copies"] for block in facts["blocks"]} == {1}


@given(field_graphs(WITH_RTL), strategies.sampled_from([0.5, 1.5, 5.0]))
@settings(max_examples=4)
@pytest.mark.slow
def test_random_graphs_on_fields_stream_as_the_golden_model(tmp_path_factory, graph, clock_ns):
    simulated_as_the_golden_model(graph, tmp_path_factory.mktemp("random"), 5, RtlOptions(clock_ns=clock_ns))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_every_layer_of_random_graphs_on_fields_probes_as_the_golden_model(seed, tmp_path):
    generator = np.random.default_rng(1000 + seed)
    graph = build_field(lambda low, high: int(generator.integers(low, high, endpoint=True)), WITH_RTL, 9, 7)
    facts, x = simulated_as_the_golden_model(graph, tmp_path, 5, RtlOptions(clock_ns=(0.5, 2.0)[seed % 2]))
    probes_as_the_golden_model(graph, tmp_path, facts, x)


@pytest.mark.slow
@given(field_graphs(WITH_RTL, 8, 9), strategies.sampled_from([0.4, 1.5, 100.0]))
def test_nothing_is_read_before_it_is_there_and_windows_wait_for_their_last_neighbour(graph, clock_ns):
    plan = stream.planned(graph, True, clock_ns)
    ready = {graph.input.name: 1}
    for segment in plan.segments:
        for window in segment.windows:
            assert window.stage >= ready[window.node.inputs[0]]
            rows, columns = window.node.op.size
            assert window.buffer.lag == rows // 2 * plan.field[1] + columns // 2 + 1
            ready[window.node.name] = window.stage + window.buffer.lag
            assert ready[window.node.name] == segment.first
        for made in segment.logics:
            slot = segment.slot(made)
            assert all(ready[name] <= slot.first for name in made.block.graph.inputs)
            ready |= dict.fromkeys(made.outputs, slot.last)
    assert plan.last == ready[graph.output.name]
    assert plan.lag >= max((window.buffer.lag - 1 for window in plan.windows[-1:]), default=0)


def test_a_graph_without_windows_streams_where_that_is_asked_for(tmp_path):
    builder = Builder("points")
    x = builder.input("x", (3, 5, 2), INPUT)
    graph = builder.finish(dense(builder, "one", x, 2, np.random.default_rng(1)))
    assert rtl.emit(graph, tmp_path / "whole", RtlOptions())["io"] == "parallel"
    facts, _ = simulated_as_the_golden_model(graph, tmp_path / "stream", 4, RtlOptions(io="stream"))
    assert (facts["lag"], facts["memory_bits"], facts["windows"]) == (0, 0, [])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("stream"), blurred()
    return graph, folder, rtl.emit(graph, folder, RtlOptions())


def test_what_goes_past_a_window_lies_in_memory_not_in_registers(project):
    _, folder, facts = project
    (window,), (delay,) = facts["windows"], facts["delays"]
    assert delay["beats"] >= facts["lag"] == 7 + 1
    assert facts["memory_bits"] == window["memory_bits"] + delay["memory_bits"] > 0
    assert window["memory_bits"] == 6 * 2 * 8
    text = (folder / "src" / f"{delay['module']}.v").read_text()
    assert f"reg [7:0] memory [0:{delay['beats'] - 2}];" in text


def test_a_field_costs_the_same_logic_whatever_its_size():
    small, large = (rtl.estimate(blurred(field=of), RtlOptions()) for of in ((6, 7), (60, 70)))
    assert small == large
    assert rtl.estimate(blurred(), RtlOptions(io="parallel")).lut > 40 * small.lut


def test_a_line_buffer_keeps_all_rows_but_one_and_waits_for_those_below():
    buffer = WindowBuffer("w", 10, (4, 3), (32, 20), 100)
    assert (buffer.lag, buffer.memory_bits) == (2 * 20 + 1 + 1, 3 * 19 * 10)
    assert "memory" not in replace(buffer, size=(1, 5)).text()


def test_every_layer_of_an_unchanged_project_probes_as_the_golden_model(project):
    graph, folder, facts = project
    assert [port["layer"] for port in facts["probed"]] == [layer for layer, _ in graph.layers()]
    probes_as_the_golden_model(graph, folder, facts, vectors(graph, 5))


@pytest.mark.parametrize("before", [1, 17, 42])
def test_a_start_in_the_middle_of_a_frame_begins_another_one(project, before):
    graph, folder, facts = project
    x, frames = vectors(graph, 3)[2:], stream_simulate._frames(folder, facts)
    pixels = stream_simulate._pixels(facts, x)[0]
    noise = np.random.default_rng(0).integers(0, 2, (before, 8), np.uint8)
    rows = np.concatenate([noise, pixels, noise[:1].repeat(facts["latency"], 0)])
    start = np.isin(np.arange(len(rows)), (0, before)).astype(np.uint8)
    words = frames.bench.clocked(bits.of_bits(np.column_stack([rows, np.ones_like(start), start])))
    found = bits.unpacked(words[before:], frames.bench.outputs)
    assert np.flatnonzero(found["valid_out"])[0] == facts["latency"]
    given = found[facts["output"][0]["node"]][facts["latency"] :]
    np.testing.assert_array_equal(given.reshape(1, *graph.output.shape), evaluate.run(graph, x))


# Faults are found and named ---------------------------------------------------------------------


def changed(project, tmp_path, module: str, old: str, new: str):
    graph, folder, facts = project
    shutil.copytree(folder, tmp_path / "changed")
    source = tmp_path / "changed" / "src" / f"{module}.v"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    return graph, tmp_path / "changed", facts


@pytest.mark.slow
def test_a_window_that_does_not_see_the_edge_is_named_by_its_layer(project, tmp_path):
    graph, folder, facts = changed(project, tmp_path, "layer_blur_window", "no_column_2 = x >= 6", "no_column_2 = 1")
    x = vectors(graph, 4)
    assert (simulate.simulate(folder, facts, x).outputs != evaluate.run(graph, x)).any()
    found, golden = simulate.probe(folder, facts, x), evaluate.trace(graph, {"x": x})
    differ = [layer for layer, node in graph.layers() if not np.array_equal(found[layer], golden[node.name])]
    assert differ[0] == "blur_window"


def test_a_window_that_sees_the_next_frame_is_a_mismatch(project, tmp_path):
    _, folder, facts = changed(project, tmp_path, "layer_blur_window", "wire no_row_2 = y >= 5;", "wire no_row_2 = 0;")
    with pytest.raises(MismatchError, match=r"a frame comes out changed by other frames before and after it, at pixel"):
        simulate.simulate(folder, facts, vectors(project[0], 4))


def pretended(design, patience=4, pixels=6):
    """Return frames through a Python function: of rows (pixel, valid, start) to rows (pixel, valid)."""

    class Pretended(Bench):
        def clocked(self, words):
            rows = bits.to_bits(words)[:, :10].astype(int)
            values = (rows[:, :8] << np.arange(8)).sum(1)
            given = design(list(zip(values, rows[:, 8], rows[:, 9], strict=True)))
            return np.array([value | mark << 8 for value, mark in given], np.uint32)[:, None]

    pixel = {"node": "x", "shape": [1], "bits": 8, "signed": False, "fraction": 0}
    valid_in, start, valid_out = ({**pixel, "node": name, "bits": 1} for name in ("valid_in", "start", "valid_out"))
    bench = Pretended("verilog", Path(), [pixel, valid_in, start], [pixel, valid_out])
    return stream_simulate.Frames(bench, pixels, patience)


def later(beats, late=lambda frame: 0):
    """Return a design of so many beats that does nothing; ``late`` are more of them from a frame of 6 pixels on."""

    def design(rows):
        taken, found = [], []
        for value, valid, start in rows:
            taken = [] if valid and start else taken
            taken += [value] * valid
            place = len(taken) - 1 - beats
            place -= late(max(0, place) // 6)
            found.append((taken[place] if place >= 0 else 0, int(bool(valid) and place >= 0)))
        return found

    return design


GIVEN = np.random.default_rng(5).integers(0, 2, (3, 6, 8), np.uint8)


@pytest.mark.parametrize("beats", [1, 3, 4])
def test_latency_and_interval_are_counted_in_clock_edges(beats):
    assert stream_simulate._timing(pretended(later(beats)), GIVEN) == (beats + 5, beats, 6)


def test_a_design_later_than_it_states_loses_pixels():
    with pytest.raises(MismatchError, match=r"24 pixels went in and 23 came out; .* the last 4 after it went in"):
        stream_simulate._timing(pretended(later(5)), GIVEN)


def test_a_latency_of_more_than_one_number_is_a_mismatch():
    def design(rows):
        return later(1 if len(rows) > 20 else 2)(rows)

    with pytest.raises(MismatchError, match=r"latency must be one number of clocks, not 1 and 2"):
        stream_simulate._timing(pretended(design), GIVEN)


def test_an_interval_of_more_than_one_number_is_a_mismatch():
    def design(rows):
        found = later(1)(rows)
        late = later(2)(rows)
        return [*found[:13], (0, 0), *late[14:]] if len(rows) > 20 else found

    with pytest.raises(MismatchError, match=r"the interval of frames must be one number of clocks, not \[6, 7\]"):
        stream_simulate._timing(pretended(design), GIVEN)


def test_a_design_that_moves_in_a_gap_is_a_mismatch():
    def design(rows):
        found, last = [], 0
        for (value, mark), (given_value, _, _) in zip(later(1)(rows), rows, strict=True):
            found.append((last if mark else value, mark))
            last = given_value  # what was there at the last clock, with a pixel or without
        return found

    with pytest.raises(
        MismatchError, match=r"a frame comes out changed by gaps between its pixels, at pixel \d+ first"
    ):
        stream_simulate._timing(pretended(design), GIVEN)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 6, 7, 1), np.int64), r"must hold 1 vector or more, not 0"),
        (np.zeros((2, 6, 7), np.int64), r"must be integers \(vector, 6, 7, 1\), not int64 \(2, 6, 7\)"),
        (np.full((2, 6, 7, 1), 128), r"must be -128\.\.127 in steps, not 128\.\.128"),
    ],
)
def test_fields_that_the_port_does_not_take_are_refused(project, x, message):
    for look in (simulate.simulate, simulate.probe):
        with pytest.raises(UsageError, match=message):
            look(project[1], project[2], x)


# At size ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_fields_of_32_by_32_are_exact_and_yosys_finds_the_lines_in_memory(tmp_path):
    from wave_model import NET, random_model  # loads Keras

    _, graph = random_model(replace(NET, grid=32, width=4, depth=2, kernel_size=5, bits=8))
    facts, _ = simulated_as_the_golden_model(graph, tmp_path, 120)
    assert facts["lag"] == 3 * (2 * 32 + 2)
    found = synth.synthesise([tmp_path / path for path in facts["sources"]], facts["top"], jobs=1)
    down = found.per_module["layer_stage_2_down_window"].cells
    kept = next(window for window in facts["windows"] if window["module"] == "layer_stage_2_down_window")
    assert down.lutram * 64 + down.bram * 18 * 1024 >= kept["memory_bits"]
    assert down.ff < kept["memory_bits"] / 4
    assert found.cells.lutram + found.cells.bram > 0 and found.cells.lut > found.cells.lutram
    assert found.cells.bram * 18 * 1024 + found.cells.lutram * 64 >= facts["memory_bits"]


DELAYED = """module delayed (input wire clk, input wire [{top}:0] in_bits, output wire [{top}:0] out_bits);
  reg started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  deep dut (.clk(clk), .advance(1'b1), .start(!started), .d(in_bits), .q(out_bits));
endmodule
"""


def deep(folder, width, beats):
    """Write a delay and a module around it; return the facts of a project of both."""
    (folder / "deep.v").write_text(Delay("deep", width, beats).text())
    (folder / "delayed.v").write_text(DELAYED.format(top=width - 1))
    port = {"node": "x", "layer": "x", "shape": [1], "signed": False, "bits": width, "fraction": 0}
    return {
        "language": "verilog",
        "sources": ["deep.v", "delayed.v"],
        "top": "delayed",
        "blocks": [],
        "input": [port],
        "output": [port],
    }


@pytest.mark.parametrize(("width", "beats"), [(1, 257), (1, 258), (1, 437), (3, 771), (15, 1000), (16, 600)])
def test_a_delay_of_any_depth_gives_what_it_was_given_so_many_beats_before(tmp_path, width, beats):
    bench = simulate.build(tmp_path, deep(tmp_path, width, beats))
    x = np.random.default_rng(beats).integers(0, 1 << width, (3 * beats, 1))
    seen = unpacked(bench.clocked(packed(x, width)), bench.outputs)["x"]
    assert np.array_equal(seen[2 * beats :], x[beats + 1 : 2 * beats + 1])
    words = [int(last) + 1 for last in re.findall(r"memory\w* \[0:(\d+)\]", (tmp_path / "deep.v").read_text())]
    assert width >= 16 or max(words) <= 256


@pytest.mark.slow
def test_yosys_takes_deep_and_narrow_delays(tmp_path):
    for width, beats in ((1, 437), (8, 1000), (15, 600)):
        deep(tmp_path, width, beats)
        made = synth.synthesise([tmp_path / "deep.v", tmp_path / "delayed.v"], "delayed")
        assert made.cells.lut > 0
