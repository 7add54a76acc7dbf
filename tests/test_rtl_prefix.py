"""`--prefix`: the modules of a project begin with it, and two emitted models live in one design."""

import re
from dataclasses import replace

import numpy as np
import pytest
from random_graphs import vectors
from rtl_graphs import tagger

from edgephys.core.errors import UsageError
from edgephys.graph import evaluate
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import integration, lint, scan, simulate
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.rtl.prefix import DEFINED

PAIR = """module pair (
  input wire clk,
  input wire [{bits}:0] in_bits,
  output wire [{last}:0] out_bits
);
  {one} one (.clk(clk), .in_bits(in_bits), .out_bits(out_bits[{middle}:0]));
  {other} other (.clk(clk), .in_bits(in_bits), .out_bits(out_bits[{last}:{above}]));
endmodule
"""


def modules(folder):
    return {name for path in folder.rglob("*.v*") for name in DEFINED.findall(path.read_text())}


@pytest.mark.parametrize("options", [{}, {"ii": 4}, {"language": "vhdl"}, {"handshake": True}])
def test_every_module_and_file_begins_with_the_prefix(tmp_path, options):
    graph = tagger(8)
    plain = rtl.emit(graph, tmp_path / "plain", RtlOptions(io="parallel", **options))
    facts = rtl.emit(graph, tmp_path / "named", RtlOptions(io="parallel", prefix="first", **options))
    names = modules(tmp_path / "named")
    assert names == {f"first_{name}" for name in modules(tmp_path / "plain")} and facts["top"] == "first_edgephys_top"
    assert sorted(facts["sources"]) == sorted(
        re.sub(r"(\w+)(\.\w+)$", r"first_\1\2", name) for name in plain["sources"]
    )
    assert all((tmp_path / "named" / name).is_file() for name in facts["sources"])
    scan.scan(tmp_path / "named", facts)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"ii": 4}, {"handshake": True}])
def test_the_integers_of_every_layer_stay_with_a_prefix(tmp_path, options):
    graph = tagger(8)
    facts = rtl.emit(graph, tmp_path, RtlOptions(io="parallel", prefix="first", **options))
    x = vectors(graph, 40)
    assert np.array_equal(simulate.simulate(tmp_path, facts, x).outputs, evaluate.run(graph, x))
    edges, layers = evaluate.trace(graph, {graph.input.name: x}), simulate.probe(tmp_path, facts, x)
    of = {layer: node.name for layer, node in graph.layers()}
    assert all(np.array_equal(integers, edges[of[layer]]) for layer, integers in layers.items())


@pytest.mark.slow
def test_no_tool_objects_to_a_project_with_a_prefix(tmp_path):
    graph, options = tagger(8), RtlOptions(prefix="first")
    facts = rtl.emit(graph, tmp_path, options)
    integration.write(graph, tmp_path, facts, options)
    assert [(of.tool, of.findings) for of in lint.of_project(tmp_path, facts) if not of.skipped and of.findings] == []
    assert "first_edgephys_top" in (tmp_path / "vivado.tcl").read_text()


@pytest.mark.slow
def test_two_models_are_simulated_in_one_design(tmp_path):
    graphs = [tagger(8), tagger(8, seed=5)]
    facts = [
        rtl.emit(graph, tmp_path, RtlOptions(prefix=name)) for graph, name in zip(graphs, ("one", "other"), strict=True)
    ]
    assert facts[0]["stages"] == facts[1]["stages"] and not set(facts[0]["sources"]) & set(facts[1]["sources"])
    (port,), (first,), (second,) = facts[0]["input"], facts[0]["output"], facts[1]["output"]
    widths = [port["bits"] * np.prod(port["shape"]) for port in (port, first, second)]
    names = {"one": facts[0]["top"], "other": facts[1]["top"]}
    bits = {"bits": widths[0] - 1, "middle": widths[1] - 1, "above": widths[1], "last": widths[1] + widths[2] - 1}
    (tmp_path / "src" / "pair.v").write_text(PAIR.format(**names, **bits))
    sources = ["src/pair.v", *facts[0]["sources"], *facts[1]["sources"]]
    both = {**facts[0], "top": "pair", "sources": sources, "output": [first, {**second, "node": "second"}]}
    x = vectors(graphs[0], 40)
    bench = simulate.build(tmp_path, both)
    outputs = simulate._stream(bench, simulate.accepted(both, x), facts[0]["stages"], 1)
    assert np.array_equal(outputs[first["node"]], evaluate.run(graphs[0], x))
    assert np.array_equal(outputs["second"], evaluate.run(graphs[1], x))


@pytest.mark.parametrize("prefix", ["Tagger", "1st", "a__b", "a_", "_a", "a-b", "a" * 33, "a b", "a\n"])
def test_a_prefix_that_is_no_start_of_a_name_is_refused(prefix):
    with pytest.raises(UsageError, match=r"prefix must be 32 or fewer small letters, digits and single underscores"):
        RtlOptions(prefix=prefix)


def test_without_a_prefix_nothing_changes(tmp_path):
    options = RtlOptions()
    facts = rtl.emit(tagger(8), tmp_path, replace(options, prefix=""))
    assert "prefix" not in facts and facts["top"] == "edgephys_top"
