"""HLS projects: emitted sources, compiled, compute the golden model's integers; what cannot is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hls_graphs import Builder, additions_and_rows, deep_sets, every_mode, everything, interaction
from random_graphs import vectors

from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder as GraphBuilder
from edgephys.graph.graph import Constant
from edgephys.graph.ops import OPS, Bias, Concat, Dense, Input, Relu, Requantise, Reshape, Scale, Sum, Window
from edgephys.targets.hls import csim
from edgephys.targets.hls import emit as hls
from edgephys.targets.hls.emit import emit
from edgephys.targets.hls.options import BACKENDS, HlsOptions
from edgephys.targets.hls.rules import RULES, KernelRule
from edgephys.targets.hls.steps import plan
from edgephys.targets.parts import FAMILIES, check_part


@pytest.fixture(scope="module")
def deep_sets_project(tmp_path_factory):
    graph, folder = deep_sets(), tmp_path_factory.mktemp("deep_sets")
    return graph, folder, emit(graph, folder, HlsOptions())


def first_difference(graph, edges, x):
    golden = evaluate.trace(graph, {graph.input.name: x})
    return next((name for name, node in graph.layers() if np.any(edges[name] != golden[node.name])), None)


@pytest.mark.slow
def test_simulation_equals_the_golden_model(deep_sets_project):
    graph, folder, facts = deep_sets_project
    x = vectors(graph, 500)
    y = csim.simulate(folder, facts, x)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, evaluate.run(graph, x))
    assert y.std() > 0


@pytest.mark.slow
def test_probe_gives_every_layer(deep_sets_project):
    graph, folder, facts = deep_sets_project
    x = vectors(graph, 50)
    edges = csim.probe(folder, facts, x)
    assert list(edges) == [name for name, _ in graph.layers()]
    assert first_difference(graph, edges, x) is None


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["phi_1", "logits"])
def test_flipped_weight_changes_the_result_and_is_named(deep_sets_project, layer, tmp_path):
    graph, folder, facts = deep_sets_project
    changed = shutil.copytree(folder, tmp_path / "changed")
    x = vectors(graph, 200)
    dense = next(node for node in graph.nodes if isinstance(node.op, Dense) and node.layer == layer)
    read = evaluate.trace(graph, {"x": x})[dense.inputs[0]]
    alive = int(read.reshape(-1, read.shape[-1]).sum(0).argmax()) * dense.shape[-1]
    step = next(step for step in plan(graph) if step.node.layer == layer and "weight" in step.constants)
    header = changed / "firmware" / "weights" / f"{facts['weights'][step.node.name]['weight']}.h"
    before, numbers, after = re.match(r"(.*\{)(.*)(\}.*)", header.read_text(), re.DOTALL).groups()
    weights = numbers.split(", ")
    weights[alive] = str(float(weights[alive]) + (0.5 if float(weights[alive]) < 0 else -0.5))
    header.write_text(before + ", ".join(weights) + after)
    assert np.any(csim.simulate(changed, facts, x) != evaluate.run(graph, x))
    assert first_difference(graph, csim.probe(changed, facts, x), x) == layer


OTHERS = [pytest.param(backend, marks=pytest.mark.slow) for backend in BACKENDS[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("of", [everything, additions_and_rows])
@pytest.mark.parametrize("backend", ["Vitis", *OTHERS])
def test_every_kind_sign_point_and_arrangement_of_rows_is_exact(backend, of, tmp_path):
    # an edge that is always 0 has 1 bit, which Catapult has not
    graph = everything(empty=False) if (backend, of) == ("Catapult", everything) else of()
    facts = emit(graph, tmp_path, HlsOptions(backend=backend))
    x = vectors(graph, 300)
    np.testing.assert_array_equal(csim.simulate(tmp_path, facts, x), evaluate.run(graph, x))
    assert first_difference(graph, csim.probe(tmp_path, facts, x), x) is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interaction_network_is_exact_in_every_layer(backend, tmp_path):
    graph = interaction()
    facts = emit(graph, tmp_path, HlsOptions(backend=backend))
    x = vectors(graph, 500)
    y = csim.simulate(tmp_path, facts, x)
    np.testing.assert_array_equal(y, evaluate.run(graph, x))
    assert (y.std(axis=0) > 0).all()
    assert first_difference(graph, csim.probe(tmp_path, facts, x), x) is None


@pytest.mark.slow
def test_a_changed_row_of_a_table_is_named(tmp_path):
    graph = interaction()
    facts = emit(graph, tmp_path, HlsOptions())
    parameters = tmp_path / "firmware" / "parameters.h"
    senders = next(node for node in graph.nodes if node.layer == "pairs_senders")
    table = ", ".join(map(str, senders.op.rows.reshape(-1)))
    text = parameters.read_text()
    assert text.count(f"{{{table}}}") == 1
    parameters.write_text(text.replace(f"{{{table}}}", f"{{0{table[1:]}}}"))
    x = vectors(graph, 100)
    assert first_difference(graph, csim.probe(tmp_path, facts, x), x) == "pairs_senders"


def test_every_kind_is_a_layer_of_hls4mls_or_a_kernel_of_ours_and_is_tried():
    header = (csim.KERNELS / "nnet_edgephys.h").read_text()
    rules = {op: RULES.entry(op) for op in OPS.values()}
    kernels = {op: rule for op, rule in rules.items() if isinstance(rule, KernelRule)}
    assert set(kernels) == set(OPS.values()) - {Input, Dense}
    own = {f"edge_{rule.kernel}" for rule in kernels.values() if not rule.text}
    assert own == set(re.findall(r"^void (edge_\w+)\(", header, re.MULTILINE))
    assert {type(node.op) for node in everything().nodes} == set(OPS.values()) - {Window}


def test_the_project_says_how_large_an_array_in_registers_may_be(deep_sets_project, tmp_path):
    _, folder, _ = deep_sets_project
    assert "set maximum_size 4096\n" in (folder / "project.tcl").read_text()
    emit(deep_sets(rows=32, width=16), tmp_path, HlsOptions(backend="Vivado"))
    assert f"set maximum_size {32 * 16 * 16}\n" in (tmp_path / "project.tcl").read_text()


def test_edges_with_several_readers_are_read_without_copies(tmp_path):
    graph = interaction()
    facts = emit(graph, tmp_path, HlsOptions())
    text = (tmp_path / "firmware" / f"{facts['top']}.cpp").read_text()
    assert "#pragma HLS PIPELINE" in text  # a DATAFLOW would allow one reader
    assert len(re.findall(r"nnet::\w+<.*>\(x, ", text)) == len(graph.readers[graph.input.name]) == 3
    assert [step.node.name for step in plan(graph) if step.name.endswith(("_port", "_widened"))] == []


SLOW_MODES = [pytest.param(*case, marks=pytest.mark.slow) for case in [(False, "Vitis"), (True, "Catapult")]]


@pytest.mark.slow
@pytest.mark.parametrize(("signed", "backend"), [(True, "Vitis"), *SLOW_MODES])
def test_every_rounding_and_overflow_is_exact_for_every_value(signed, backend, tmp_path):
    graph = every_mode(signed, 2 if backend == "Catapult" else 1)
    facts = emit(graph, tmp_path, HlsOptions(backend=backend))
    x = np.arange(graph.input.fixed.low, graph.input.fixed.high + 1)[:, None]
    np.testing.assert_array_equal(csim.simulate(tmp_path, facts, x), evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Catapult"])
def test_edges_of_62_bits_are_exact(backend, tmp_path):
    build = Builder((4,), Fixed(True, 31, 5))
    build.add(Scale, "wide", constant=Constant(np.array([(1 << 30) - 1, -(1 << 29) + 1, 3, -1]), 40))
    wide = build.add(Bias, "shifted", constant=Constant(np.array([(1 << 51) + 1, -1, 0, 1]), 66))
    narrow = build.add(Requantise, "narrow", fixed=Fixed(True, 20, 3, Rounding.RND_CONV, Overflow.SAT))
    build.add(Sum, "total", of=[wide], axis=0)
    build.add(Reshape, "total", shape=(1,))
    build.add(Concat, "both", of=[build.nodes[-1].name, wide], axis=0)
    graph = build.graph("wide")
    assert graph.output.fixed.bits == 62
    assert graph.by_name[narrow].fixed.bits == 20
    facts = emit(graph, tmp_path, HlsOptions(backend=backend))
    x = vectors(graph, 300)
    np.testing.assert_array_equal(csim.simulate(tmp_path, facts, x), evaluate.run(graph, x))
    assert first_difference(graph, csim.probe(tmp_path, facts, x), x) is None


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "rows", "scale"), [(1, 5, (205, 10)), (2, 1, (-1, 0)), (3, 32, (1, 5))])
def test_random_networks_are_exact(seed, rows, scale, tmp_path):
    graph = deep_sets(rows, 4 + seed, scale, seed)
    facts = emit(graph, tmp_path, HlsOptions())
    x = vectors(graph, 200)
    np.testing.assert_array_equal(csim.simulate(tmp_path, facts, x), evaluate.run(graph, x))


def test_two_emissions_are_the_same_bytes_without_this_machines_paths(deep_sets_project, tmp_path):
    graph, folder, facts = deep_sets_project
    again = tmp_path / "again with a long name"
    assert emit(graph, again, HlsOptions()) == facts
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for path in files:
        content = (folder / path).read_bytes()
        assert content == (again / path).read_bytes(), path
        assert str(folder).encode() not in content, path
        assert b"/site-packages/" not in content, path


def test_facts_say_what_was_emitted(deep_sets_project):
    _, folder, facts = deep_sets_project
    assert json.loads(json.dumps(facts)) == facts
    assert facts["backend"] == "Vitis"
    assert facts["part"] == "xcvu13p-flga2577-2-e"
    assert facts["clock_ns"] == 5.0
    assert facts["io_type"] == "io_parallel"
    assert facts["hls4ml"] == "1.3.0"
    assert (folder / "firmware" / f"{facts['top']}.cpp").is_file()
    assert list(facts["layers"]) == ["input", "phi_0", "phi_1", "pool", "rho_0", "logits"]
    assert "set clock_period 5.0" in (folder / "project.tcl").read_text()
    assert "xcvu13p-flga2577-2-e" in (folder / "project.tcl").read_text()


def test_testbench_holds_the_golden_values(deep_sets_project, tmp_path):
    graph, folder, _ = deep_sets_project
    copied = shutil.copytree(folder, tmp_path / "copied")
    x = vectors(graph, 3)
    hls.write_testbench(graph, copied, x)
    inputs = np.loadtxt(copied / "tb_data" / "tb_input_features.dat")
    outputs = np.loadtxt(copied / "tb_data" / "tb_output_predictions.dat")
    np.testing.assert_array_equal(graph.input.fixed.quantise(inputs).reshape(x.shape), x)
    np.testing.assert_array_equal(graph.output.fixed.quantise(outputs), evaluate.run(graph, x))


def test_every_type_in_the_sources_is_the_graphs(deep_sets_project):
    graph, folder, facts = deep_sets_project
    text = (folder / "firmware" / "defines.h").read_text()
    pool = next(node for node in graph.nodes if node.layer == "pool" and isinstance(node.op, Requantise))
    assert f"typedef ap_ufixed<10,0,AP_RND_CONV,AP_SAT,0> layer{facts['layers']['pool']['variable'][5:-4]}_t;" in text
    fixed = graph.output.fixed
    assert f"typedef ap_fixed<{fixed.bits},{fixed.integer}> result_t;" in text
    assert pool.fixed.bits == 10


def test_a_type_that_hls4ml_changed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(hls, "precision", lambda fixed: f"fixed<{fixed.bits + 1},{fixed.integer},TRN,WRAP>")
    message = r"layer 'input': hls4ml made the type 'result' of 'x' ap_fixed<13,4>, not ap_fixed<12,4>"
    with pytest.raises(ModelError, match=message):
        emit(deep_sets(), tmp_path / "p", HlsOptions())
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "Quartus"}, r"backend must be one of Vitis, Vivado, Catapult, not 'Quartus'"),
        ({"part": "xc9z"}, r"part 'xc9z': no family.*xcvu13p-flga2577-2-e"),
        (
            {"part": "LFE5U-85F"},
            r"part 'LFE5U-85F': Vitis must have a part of AMD, such as .*, not of Lattice ECP5; emit",
        ),
        ({"part": "MPF300T-1", "backend": "Vivado"}, r"part 'MPF300T-1': Vivado must .* not of Microchip PolarFire;"),
        ({"clock_ns": 0.0}, r"clock_ns must be 0\.1\.\.1000, not 0.0"),
        ({"clock_ns": 1001.0}, r"clock_ns must be 0\.1\.\.1000, not 1001"),
        ({"clock_ns": float("nan")}, r"clock_ns must be .*, not nan"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        HlsOptions(**options)


@pytest.mark.parametrize("part", [re.search(r"\((.*)\)", text)[1] for text in FAMILIES.values()])
def test_parts_of_known_families_are_accepted(part):
    check_part(part)


def test_an_edge_that_does_not_hold_its_range_is_refused():
    graph = deep_sets()
    nodes = list(graph.nodes)
    at = next(i for i, node in enumerate(nodes) if isinstance(node.op, Sum))
    fixed = nodes[at].fixed
    nodes[at] = replace(nodes[at], fixed=Fixed(False, fixed.bits - 1, fixed.integer - 1))
    with pytest.raises(ModelError, match=r"layer 'pool': sum .* reaches 0\.\.2040 steps, .*<10,2> does not hold"):
        plan(graph.with_nodes(tuple(nodes)))


def test_a_constant_too_wide_for_a_header_is_refused():
    build = Builder((2,), Fixed(False, 2, 2))
    build.add(Scale, "wide", constant=Constant(np.array((1 << 54) + 1), 54))
    with pytest.raises(ModelError, match=r"layer 'wide': a constant of 55 bits is not exact.*use 53 bits"):
        plan(build.graph())


@pytest.mark.slow
def test_windows_of_a_small_field_are_gathered_at_once(tmp_path):
    build = Builder((2, 3, 2), Fixed(True, 4, 2))
    build.add(Window, "conv_window", size=(3, 2))
    build.dense("conv", 2)
    build.add(Reshape, "flat", shape=(12,))
    build.dense("last", 2)
    graph = build.graph()
    facts = emit(graph, tmp_path / "p", HlsOptions())
    x = vectors(graph, 200)
    assert np.array_equal(csim.simulate(tmp_path / "p", facts, x), evaluate.run(graph, x))


def test_a_single_bit_is_refused_for_catapult(tmp_path):
    with pytest.raises(ModelError, match=r"layer 'one_4': fixed<1,1,.* is not exact in hls4ml's Catapult.*use 2 bits"):
        emit(every_mode(True), tmp_path / "p", HlsOptions(backend="Catapult"))
    assert not (tmp_path / "p").exists()


def test_what_hls4ml_raises_is_explained_on_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(hls, "precision", lambda fixed: "auto\nno")
    with pytest.raises(ModelError, match=r"'deep_sets_8_top': hls4ml does not convert it: Unsupported precision type"):
        emit(deep_sets(), tmp_path / "p", HlsOptions())


def test_several_outputs_are_refused():
    graph = deep_sets()
    with pytest.raises(ModelError, match=r"expected 1 output, not 2"):
        plan(replace(graph, outputs=(graph.nodes[-2].name, graph.nodes[-1].name)))


def test_an_output_that_is_read_again_gets_a_port_of_its_own():
    build = Builder((3,), Fixed(True, 4, 2))
    read = build.add(Relu, "first")
    build.add(Relu, "second")
    steps = plan(replace(build.graph(), outputs=(read,)))
    assert steps[-1].name.endswith("_port")
    assert steps[-1].node.name == read


def test_emission_over_a_project_is_refused(deep_sets_project):
    graph, folder, _ = deep_sets_project
    with pytest.raises(ProjectError, match=r"found firmware/; emit into an empty folder"):
        emit(graph, folder, HlsOptions())


@pytest.mark.parametrize("count", [0, 3])
def test_vectors_of_a_wrong_shape_or_none_are_refused(deep_sets_project, count):
    _, folder, facts = deep_sets_project
    with pytest.raises(MismatchError, match=r"C simulation: vectors must be integers \(1 or more, 8, 3\), not"):
        csim.simulate(folder, facts, np.zeros((count, 8, 3 + count), np.int64))


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("head -c 40 /dev/zero > y", MismatchError, r"1 outputs for 4 vectors"),
        ("echo 'ERROR: w2.txt does not exist'", ToolError, r"ERROR: w2.txt"),
        ("exit 3", ToolError, r"csim ended with status 3"),
    ],
)
def test_a_simulation_that_gives_less_is_an_error(deep_sets_project, monkeypatch, tmp_path, script, error, message):
    graph, folder, facts = deep_sets_project
    fake = tmp_path / "csim"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(csim, "compile_project", lambda folder, facts, extra=(): fake)
    with pytest.raises(error, match=message):
        csim.simulate(folder, facts, vectors(graph, 4))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, top: (folder / f"{top}.cpp").unlink(), r"_top.cpp or firmware/weights is missing; emit"),
        (lambda folder, top: shutil.rmtree(folder / "weights"), r"firmware/weights is missing; emit"),
        (
            lambda folder, top: _cut(folder, ", ", ""),
            r"declares \d+ numbers and holds \d+; emit the project again: `edgephys emit MODEL --to hls",
        ),
        (lambda folder, top: _cut(folder, "{", "("), r"not a weights header of ours"),
    ],
)
def test_a_spoiled_project_is_refused(deep_sets_project, tmp_path, monkeypatch, spoil, message):
    graph, folder, facts = deep_sets_project
    spoiled = shutil.copytree(folder, tmp_path / "spoiled")
    spoil(spoiled / "firmware", facts["top"])
    monkeypatch.setattr(csim.builds, "built", lambda key, build: Path("/nowhere"))
    with pytest.raises(ProjectError, match=message):
        csim.simulate(spoiled, facts, vectors(graph, 2))


def _cut(folder, old, new):
    header = sorted((folder / "weights").glob("w*.h"))[0]
    start, end = header.read_text().split("= {")
    header.write_text(start + ("= {" + end).replace(old, new, 1))


def test_sources_that_do_not_compile_are_a_tool_error(deep_sets_project, tmp_path):
    graph, folder, facts = deep_sets_project
    broken = shutil.copytree(folder, tmp_path / "broken")
    source = broken / "firmware" / f"{facts['top']}.cpp"
    source.write_text('#include "broken.h"\n' + source.read_text())
    with pytest.raises(ToolError, match=r"g\+\+ ended with status 1: .*broken"):
        csim.simulate(broken, facts, vectors(graph, 2))


@pytest.mark.slow
def test_layers_of_a_network_without_a_kernel_of_ours_are_shown(tmp_path):
    builder = GraphBuilder("plain")
    x = builder.input("x", (3,), Fixed(True, 4, 4))
    graph = builder.finish(builder.dense("d", x, np.arange(6).reshape(3, 2) - 2, 0))
    facts = emit(graph, tmp_path, HlsOptions())
    x = vectors(graph, 8)
    assert np.array_equal(csim.probe(tmp_path, facts, x)["d"], evaluate.run(graph, x))


def test_a_project_says_in_a_readme_what_its_function_takes_and_how_it_is_synthesised(projects):
    from edgephys import project

    opened = project.read(projects / "hls")
    text = (opened.firmware / "README.md").read_text()
    assert f"`{opened.facts['top']}` in firmware/" in text
    assert f"| `{opened.facts['input']['name']}` | in | 4 x 3 | `{opened.graph.input.fixed}` |" in text
    assert "`vitis-run --mode hls --tcl build_prj.tcl`" in text and "No vendor's tool has run it here" in text
