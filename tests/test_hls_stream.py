"""A field through HLS, a pixel a clock: the golden integers, FIFOs that never stop the stream, and the least time."""

import json
import re
import shutil
import subprocess
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from random_graphs import EVERY, build_field, field_graphs, vectors
from rtl_graphs import tagger
from test_stream import blurred, joined

from edgephys.core.errors import ModelError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.graph.ops import OPS
from edgephys.networks.decompositions import FORMATS
from edgephys.targets.hls import csim
from edgephys.targets.hls import emit as hls
from edgephys.targets.hls.emit import emit
from edgephys.targets.hls.layers import STREAM_HEADER
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.hls.steps import plan
from edgephys.targets.hls.stream import COPIES, DEEPEST_PIPELINE, FASTEST_PROCESS, SHALLOW, connected, loop_of, times

PIXEL = Fixed(True, 6, 2)


def simulated_as_the_golden_model(graph: Graph, folder: Path, count: int, options: HlsOptions | None = None):
    """Emit and simulate; hold every pixel of every layer that is computed against the golden model."""
    facts = emit(graph, folder, options or HlsOptions(io="stream"))
    assert (facts["io_type"], tuple(facts["field"])) == ("io_stream", graph.input.shape[:2])
    x = vectors(graph, count)
    golden, output = evaluate.trace(graph, {graph.input.name: x}), csim.simulate(folder, facts, x)
    np.testing.assert_array_equal(output, golden[graph.output.name])
    assert not different(graph, csim.probe(folder, facts, x), x)
    return facts, output


def different(graph: Graph, found, x) -> list[str]:
    golden = evaluate.trace(graph, {graph.input.name: x})
    return [name for name, node in graph.layers() if name in found and (found[name] != golden[node.name]).any()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("stream"), blurred()
    return graph, folder, emit(graph, folder, HlsOptions())


# The integers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formats", [pytest.param(("cp",), marks=pytest.mark.slow), pytest.param(tuple(FORMATS), marks=pytest.mark.slow)]
)
def test_networks_of_all_formats_give_the_golden_integers(formats, tmp_path):
    from wave_model import NET, random_model  # loads Keras

    graph = joined([random_model(replace(NET, format=name))[1] for name in formats])
    facts, output = simulated_as_the_golden_model(graph, tmp_path, 12, HlsOptions())
    assert len(np.unique(output)) > 100
    assert facts["lag"] == 2 * (6 + 1)  # of two stages a row and a pixel each
    assert list(facts["layers"]) == [name for name, _ in graph.layers()]
    sizes = re.findall(r"n_in = (\d+);\s.*n_out = (\d+);(?:\s.*){2}\s.*n_zeros = (\d+);", _parameters(tmp_path))
    assert ("6", "2", "6") in sizes  # 3 neighbours of 2 channels, each for itself: hls4ml multiplies by no zero


def _parameters(folder: Path) -> str:
    return (folder / "firmware" / "parameters.h").read_text()


def every_kind_of_pixel() -> Graph:
    """Return what random fields seldom have: many readers, one twice, pixels of rows, an output that is read again."""
    generator = np.random.default_rng(2)
    builder = Builder("every pixel")
    x = builder.input("x", (4, 5, 2), PIXEL)
    rows = builder.take("rows", x, np.array([[0, 1], [1, 1], [1, 0]]), 2)  # (4, 5, 3, 2)
    mixed = builder.bias("mix", builder.dense("mix", rows, generator.integers(-8, 8, (2, 4)), 3), np.arange(4) - 2, 1)
    summed = builder.sum("sum", mixed, 2)  # (4, 5, 4)
    turned = builder.reshape("turned", builder.scale("scaled", mixed, generator.integers(-3, 3, (3, 1)), 1), (4, 5, 12))
    seen = builder.window("seen", x, (2, 4))
    twice = builder.add("twice", x, x)
    far = builder.requantise("far", x, Fixed(True, 4, 12, Rounding.RND_CONV, Overflow.SAT_SYM))
    looked_up = builder.lookup("looked_up", far, -7, generator.integers(-9, 9, (2, 15)), 1)
    gated = builder.max("larger", builder.mul("gated", far, looked_up), far)
    parts = (x, summed, turned, seen, twice, far, looked_up, gated, x, *[x] * COPIES)
    many = builder.concat("many", parts, 2)
    wide = builder.window("last_window", builder.relu("cut", many), (1, 3))
    last = builder.dense("last", wide, generator.integers(-2, 3, (builder.shape(wide)[-1], 2)), 0)
    builder.relu("unread", last)
    return builder.finish(last)


@pytest.mark.slow
def test_every_kind_is_exact_with_many_readers_rows_in_a_pixel_and_even_windows(tmp_path):
    graph = every_kind_of_pixel()
    assert set(OPS.values()) == {type(node.op) for node in graph.nodes}
    facts, output = simulated_as_the_golden_model(graph, tmp_path, 20)
    assert output.std() > 0
    assert len(graph.readers["x"]) > COPIES and "unread" not in facts["layers"]


@given(field_graphs(EVERY, 6, 6), strategies.sampled_from(["Vitis", "Vivado"]))
@settings(max_examples=2)
@pytest.mark.slow
def test_random_graphs_on_fields_stream_as_the_golden_model(tmp_path_factory, graph, backend):
    simulated_as_the_golden_model(graph, tmp_path_factory.mktemp("random"), 6, HlsOptions(backend=backend))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_more_random_graphs_on_fields_stream_as_the_golden_model(seed, tmp_path):
    generator = np.random.default_rng(2000 + seed)
    graph = build_field(lambda low, high: int(generator.integers(low, high, endpoint=True)), EVERY, 9, 7)
    simulated_as_the_golden_model(graph, tmp_path, 6, HlsOptions(backend=("Vitis", "Vivado")[seed % 2]))


@pytest.mark.slow
def test_the_shipped_network_of_a_wave_is_exact_at_every_pixel(tmp_path):
    from edgephys.models import trained as artefact

    trained = artefact.load(Path(__file__).parent.parent / "models" / "waves" / "cp12_8bit")
    graph, x = trained.graph(), trained.held_out.inputs[:16]
    facts = emit(graph, tmp_path, HlsOptions())
    np.testing.assert_array_equal(csim.simulate(tmp_path, facts, x), evaluate.run(graph, x))
    assert not different(graph, csim.probe(tmp_path, facts, x[:2]), x[:2])
    assert facts["lag"] == 5 * (2 * 32 + 2) and facts["ii_estimate"] == 32 * 32 + 2 * 32


def test_the_input_itself_and_an_edge_that_is_read_again_can_be_the_output():
    graph = blurred()
    alone = replace(graph, outputs=("x",))
    assert [step.class_name for step in connected(plan(alone, True))] == ["InputLayer", "EdgephysProcess"]
    read = Builder("read")
    first = read.relu("first", read.input("x", (2, 3, 1), PIXEL))
    graph = read.finish(read.add("second", first, read.requantise("past", first, PIXEL)))
    assert [step.name[:2] for step in plan(replace(graph, outputs=(first,)), True)] == ["x", "n1"]


# The FIFOs and the time -------------------------------------------------------------------------


MOVES = ("reads", "writes")


def dataflow(steps, depths, stages):
    """Run processes clock by clock; return when the first and the last pixel of the result can be read, or None.

    A process is a pipeline of so many ``stages`` that stands still, with all that is in it, where a pixel is missing or
    room for one; None is a standstill of all.
    """
    loops = {step.name: loop_of(step) for step in steps}
    reading, writing = ({name: set(getattr(loop, what).tolist()) for name, loop in loops.items()} for what in MOVES)
    held, begun = Counter(), Counter()
    pipes = {step.name: deque([None] * (stages[step.name] - 1)) for step in steps[1:]}
    done = []
    for clock in range(100_000):
        moves = []
        for step in steps[1:]:
            number, passes = begun[step.name], loops[step.name].passes
            entering = number if number < passes else None
            leaving = (*pipes[step.name], entering)[0]
            if entering is None and not any(entry is not None for entry in pipes[step.name]):
                continue
            reads = step.inputs if entering in reading[step.name] else ()
            writes = (step.outputs or (step.name,)) if leaving in writing[step.name] else ()
            there = all(name == steps[0].name or held[name] for name in reads)
            if there and all(name == steps[-1].name or held[name] < depths[name] for name in writes):
                moves.append((step, reads, writes, entering))
        for step, reads, writes, entering in moves:
            held.subtract(reads)
            held.update(writes)
            begun[step.name] += entering is not None
            pipes[step.name].append(entering)
            pipes[step.name].popleft()
            done += [clock + 1] if steps[-1].name in writes else []
        if len(done) == steps[-1].shape[0]:
            return done[0], done[-1]
        if not moves:
            return None
    raise AssertionError("it neither ends nor stands still")


@pytest.mark.slow
@given(field_graphs(EVERY, 8, 6), strategies.integers(0, 1000))
def test_a_pixel_comes_every_clock_and_no_fifo_stops_it_however_deep_the_pipelines_are(graph, seed):
    steps = connected(plan(graph, True))
    known, pixels = times(steps), steps[0].shape[0]
    fastest = dict.fromkeys([step.name for step in steps], FASTEST_PROCESS)
    assert dataflow(steps, known.depths, fastest) == (known.first, known.latency)
    generator = np.random.default_rng(seed)
    stages = {step.name: int(generator.integers(1, DEEPEST_PIPELINE, endpoint=True)) for step in steps}
    first, last = dataflow(steps, known.depths, stages)
    assert last - first == pixels - 1
    assert known.first <= first + len(steps) and known.lag <= first


def test_branches_of_unequal_depth_do_not_stop_a_stream_at_their_join():
    builder = Builder("branches")
    x = builder.input("x", (3, 5, 1), PIXEL)
    joined_branches = builder.add("sum", builder.relu("one", x), builder.relu("other", x))
    steps = connected(plan(builder.finish(builder.window("w", joined_branches, (1, 2))), True))
    depths, stages = times(steps).depths, dict.fromkeys([step.name for step in steps], 1)
    for step in steps:
        assert dataflow(steps, depths, {**stages, step.name: DEEPEST_PIPELINE}) is not None, step.name


def test_a_fifo_that_does_not_hold_what_a_window_waits_for_is_a_standstill():
    steps = connected(plan(blurred(field=(9, 30)), True))
    known, stages = times(steps), dict.fromkeys([step.name for step in steps], 1)
    (waiting,) = (name for name, depth in known.depths.items() if depth > SHALLOW)
    assert known.lag < known.depths[waiting] < 9 * 30
    assert dataflow(steps, known.depths, stages) is not None
    assert dataflow(steps, {**known.depths, waiting: known.lag - 1}, stages) is None


def test_facts_tell_the_least_time_and_the_memory(project):
    _, folder, facts = project
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["lag"], facts["processes"]) == (7 + 1, 4)  # of a copy, window, convolution and sum
    assert facts["latency_first_cycles_estimate"] == 8 + 2 * 4
    assert facts["latency_cycles_estimate"] == 8 + 2 * 4 + 6 * 7 - 1
    assert facts["ii_estimate"] == 6 * 7 + 8
    (waiting,) = (depth for depth in facts["fifos"].values() if depth > SHALLOW)
    assert facts["memory_bits"] == 2 * 7 * 8 + waiting * 8
    text = (folder / "firmware" / f"{facts['top']}.cpp").read_text()
    found = dict(re.findall(r"#pragma HLS STREAM variable=(\w+) depth=(\d+)", text))
    assert found == {name: str(depth) for name, depth in facts["fifos"].items()}
    assert "#pragma HLS DATAFLOW" in text and "#pragma HLS INTERFACE axis port=x," in text


# Faults are found and named ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_flipped_weight_is_named_by_its_layer(project, tmp_path):
    graph, folder, facts = project
    changed, x = shutil.copytree(folder, tmp_path / "changed"), vectors(graph, 6)
    header = changed / "firmware" / "weights" / f"{facts['weights']['blur_dense']['weight']}.h"
    text, number = re.subn(r"= \{[^,]*,", "= {0.25,", header.read_text())
    assert number == 1
    header.write_text(text)
    assert (csim.simulate(changed, facts, x) != evaluate.run(graph, x)).any()
    assert different(graph, csim.probe(changed, facts, x), x)[0] == "blur"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), [("at_row < 0", "false"), ("int(CONFIG_T::left);", "int(CONFIG_T::left) + 1;")]
)
def test_a_window_that_sees_other_pixels_is_named_by_its_layer(project, tmp_path, old, new):
    graph, folder, facts = project
    changed, x = shutil.copytree(folder, tmp_path / "changed"), vectors(graph, 6)
    header = changed / "firmware" / "nnet_utils" / STREAM_HEADER.name
    assert header.read_text().count(old) == 1
    header.write_text(header.read_text().replace(old, new))
    assert different(graph, csim.probe(changed, facts, x), x)[0] == "blur_window"


def test_a_stream_that_is_read_while_empty_is_an_error(project, monkeypatch, tmp_path):
    graph, folder, facts = project
    fake = tmp_path / "csim"
    fake.write_text("#!/bin/sh\necho \"WARNING: Hls::stream 'layer2_cpy1' is read while empty\"\n")
    fake.chmod(0o755)
    monkeypatch.setattr(csim, "compile_project", lambda folder, facts, extra=(): fake)
    with pytest.raises(ToolError, match=r"WARNING: Hls::stream 'layer2_cpy1' is read while empty"):
        csim.simulate(folder, facts, vectors(graph, 4))


def test_a_type_that_hls4ml_changed_in_a_stream_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(hls, "precision", lambda fixed: f"fixed<{fixed.bits + 1},{fixed.integer},TRN,WRAP>")
    with pytest.raises(ModelError, match=r"layer 'x': hls4ml made the type 'result' of 'x' ap_fixed<9,\d>, not ap_"):
        emit(blurred(), tmp_path / "p", HlsOptions())
    assert not (tmp_path / "p").exists()


def test_a_stream_that_hls4ml_connected_otherwise_is_named(monkeypatch, tmp_path):
    entry = hls._entry

    def swapped(step):
        made = entry(step)
        return {**made, "inputs": made["inputs"][::-1]} if len(step.inputs) == 2 else made

    monkeypatch.setattr(hls, "_entry", swapped)
    with pytest.raises(ModelError, match=r"layer 'next': hls4ml made the streams of 'n3_next_add' .*, not .*"):
        emit(blurred(), tmp_path / "p", HlsOptions())


# What cannot be ---------------------------------------------------------------------------------


def refused(builder_step, shape=(3, 4, 2)) -> Graph:
    builder = Builder("refused")
    x = builder.input("x", shape, PIXEL)
    return builder.finish(builder_step(builder, builder.window("look", x, (1, 1))))


def one_row() -> Graph:
    builder = Builder("row")
    return builder.finish(builder.relu("relu", builder.input("x", (4,), PIXEL)))


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (
            lambda: refused(lambda b, x: b.window("wide", x, (19, 19))),
            ModelError,
            r"^layer 'wide': a pixel of window 'wide_window' has 722 numbers of 6 bits, 4332 in all, and a stream of "
            r"Vitis HLS carries at most 4096, here 682 numbers; use fewer channels, fewer bits or a smaller window, "
            r"state --io parallel, which computes all pixels at once and suits small fields, or emit it to rtl$",
        ),
        (
            one_row,
            ModelError,
            r"^graph 'row': a stream needs an input of rows .* or a field .*, not \(4,\); leave io out$",
        ),
    ],
    ids=["wide", "rows"],
)
def test_what_has_no_stream_is_named_and_nothing_is_written(graph, error, message, tmp_path):
    with pytest.raises(error, match=message):
        emit(graph(), tmp_path / "p", HlsOptions(io="stream"))
    assert not (tmp_path / "p").exists()


def test_another_io_and_a_stream_of_catapults_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^io must be one of auto, parallel, stream, not 'serial'$"):
        emit(blurred(), tmp_path / "p", HlsOptions(io="serial"))
    with pytest.raises(UsageError, match=r"^backend must be Vitis or Vivado for a field that is streamed, not Catap"):
        emit(blurred(), tmp_path / "p", HlsOptions(backend="Catapult"))
    assert not (tmp_path / "p").exists()


# The project ------------------------------------------------------------------------------------


def test_two_emissions_are_the_same_bytes_without_traces_of_this_machine(project, tmp_path):
    graph, folder, facts = project
    assert emit(graph, tmp_path, HlsOptions()) == facts
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        content = (folder / path).read_bytes()
        assert content == (tmp_path / path).read_bytes(), path
        assert str(folder).encode() not in content and b"/site-packages/" not in content, path


def test_only_projects_of_streams_carry_their_header_and_facts(project, tmp_path):
    _, folder, _ = project
    assert (folder / "firmware" / "nnet_utils" / STREAM_HEADER.name).is_file()
    facts = emit(tagger(), tmp_path, HlsOptions())
    assert not {"field", "ii_estimate", "fifos"} & set(facts) and facts["io_type"] == "io_parallel"
    assert not (tmp_path / "firmware" / "nnet_utils" / STREAM_HEADER.name).exists()


@pytest.mark.slow
def test_the_vendors_testbench_reads_the_vectors_and_gives_the_golden_values(project, tmp_path):
    graph, folder, facts = project
    copied, x = shutil.copytree(folder, tmp_path / "copied"), vectors(graph, 3)
    hls.write_testbench(graph, copied, x)
    include = [f"-I{copied / 'firmware' / 'ap_types'}", f"-I{copied / 'firmware'}"]
    sources = [f"{facts['top']}_test.cpp", f"firmware/{facts['top']}.cpp"]
    flags = ["-std=c++17", "-w", '-DWEIGHTS_DIR="firmware/weights"', *include]
    subprocess.run(["g++", *flags, *sources, "-o", "bench"], cwd=copied, check=True)
    subprocess.run(["./bench"], cwd=copied, check=True, capture_output=True)
    found = np.loadtxt(copied / "tb_data" / "csim_results.log")
    golden = graph.output.fixed.values(evaluate.run(graph, x)).reshape(len(x), -1)
    assert graph.output.fixed.step > 1e-5 * np.abs(golden).max()
    np.testing.assert_allclose(found, golden, rtol=5e-6)  # it prints six digits
