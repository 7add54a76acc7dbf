"""What `edgephys explain` shows: a line a layer, the reason for one width, every edge, and a drawing."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.layer_summary import summaries
from edgephys.graph.ranges import derive
from edgephys.report.drawing import svg
from edgephys.report.explained import layers_table


def skipping(layers=25):
    """A network whose every third layer adds what came two layers before."""
    builder = Builder("deep")
    x = builder.input("x", (4,), Fixed(True, 8, 2))
    ends = [x]
    for number in range(layers):
        x = builder.dense(f"layer_{number}", ends[-1], np.diag([3, 2, 0, 1]), 2)
        if number % 3 == 2:
            x = builder.add(f"layer_{number}", x, ends[-3])
        ends.append(builder.requantise(f"layer_{number}", x, Fixed(True, 8, 2, Rounding.RND, Overflow.SAT)))
    return builder.finish(ends[-1])


@pytest.fixture(scope="module")
def deep():
    graph = skipping()
    return graph, summaries(graph, derive(graph))


def test_a_network_of_25_layers_is_a_line_a_layer_with_its_widths_and_weights(deep):
    _, layers = deep
    assert [layer.name for layer in layers] == ["x", *(f"layer_{number}" for number in range(25))]
    third = layers[3]
    assert third.operations == ("dense", "add", "requantise") and third.reads == ("layer_1", "x")
    assert third.input_bits == (8, 8) and third.format.bits == 8 and third.shape == (4,)
    assert (third.weights, third.weight_bits) == (3, 2)


def test_the_range_of_a_layer_holds_what_the_golden_model_computes(deep):
    graph, layers = deep
    x = np.random.default_rng(0).integers(-128, 128, (500, 4))
    edges, last = evaluate.trace(graph, {"x": x}), dict(graph.layers())
    for layer in layers:
        values = layer.format.values(edges[last[layer.name].name])
        assert layer.low <= values.min() and values.max() <= layer.high


def test_the_drawing_has_a_box_a_layer_an_arrow_an_edge_and_nothing_overlaps(deep):
    _, layers = deep
    text = svg("a < b", [layer.to_record() for layer in layers])
    root = ElementTree.fromstring(text)
    spaces = {"": "http://www.w3.org/2000/svg"}
    boxes = [rect for rect in root.findall("rect", spaces) if rect.get("rx")]
    assert len(boxes) == 26
    assert len(root.findall("path", spaces)) == sum(len(layer.reads) for layer in layers)
    tops = [float(box.get("y")) for box in boxes]
    assert all(after - before > float(boxes[0].get("height")) for before, after in pairwise(tops))
    assert max(tops) + float(boxes[0].get("height")) < float(root.get("height"))
    assert "a &lt; b" in text


def test_no_text_of_a_drawing_is_longer_than_its_box(deep):
    _, layers = deep
    record = layers[3].to_record() | {"layer": "l" * 200, "operations": ["dense"] * 40, "format": "f" * 200}
    for line in ElementTree.fromstring(svg("n" * 200, [record | {"reads": []}])).iter():
        if line.tag.endswith("text"):
            assert len("".join(line.itertext())) <= 70


def test_arrows_that_pass_the_same_layer_have_lanes_of_their_own():
    layers = [
        {"layer": name, "operations": ["add"], "reads": reads, "shape": [1], "format": "fixed<1,1>", "weights": 0}
        for name, reads in (("a", []), ("b", ["a"]), ("c", ["b", "a"]), ("d", ["c", "a", "b"]))
    ]
    paths = [line.get("d") for line in ElementTree.fromstring(svg("x", layers)).iter() if line.tag.endswith("path")]
    around = [path.split("H")[1].split()[0] for path in paths if path and "H" in path]
    assert len(around) == 3 and len(set(around)) == 3


def test_explain_shows_layers_first_and_says_how_to_see_more(run, model, tmp_path):
    done = run("explain", model, "--svg", tmp_path / "layers.svg")
    assert done.status == 0 and len(done.out.splitlines()) < 16
    assert "dense bias relu requantise" in done.out and "--edge LAYER gives the reasons" in done.out
    assert (tmp_path / "layers.svg").read_text().startswith("<svg ")


def test_explain_gives_the_reason_of_one_edge_and_names_those_alike(run, model):
    done = run("explain", model, "--edge", "phi_1_dense")
    assert "why      exact sum of 3 products" in done.out and "read by  phi_1_bias" in done.out
    assert [edge["edge"] for edge in run("explain", model, "--edge", "phi_1_dense", "--json").json["edges"]] == [
        "phi_1_dense"
    ]
    ended = run("explain", model, "--edge", "phi_1_dens")
    assert (
        ended.status == 2
        and "a layer or an edge of" in ended.err
        and "not 'phi_1_dens'; perhaps phi_1_dense" in ended.err
    )
    assert "listed by `edgephys explain MODEL --all`" in run("explain", model, "--edge", "@@@").err


def test_a_layer_of_the_table_is_explained_by_its_edges(run, model):
    done = run("explain", model, "--edge", "phi_1")
    assert done.status == 0
    assert [line.partition(":")[0] for line in done.out.splitlines() if line.startswith("phi_1_")][:2] == [
        "phi_1_dense",
        "phi_1_bias",
    ]


def test_the_table_writes_formats_without_modes(deep):
    column = next(column for column in layers_table("x", []).columns if column.key == "format")
    assert column.text("ufixed<8,0,RND_CONV,SAT>") == "ufixed<8,0>" and column.text("fixed<19,4>") == "fixed<19,4>"
    assert column.text(str(Fixed(True, 3, -1, Rounding.TRN, Overflow.SAT))) == "fixed<3,-1>"


def test_a_drawing_replaces_a_drawing_and_nothing_else(run, model, tmp_path):
    other = tmp_path / "mine.svg"
    other.write_text("<svg/>")
    ended = run("explain", model, "--svg", other)
    assert ended.status == 2 and "exists and is no drawing of ours" in ended.err and other.read_text() == "<svg/>"
    for _ in range(2):
        assert run("explain", model, "--svg", tmp_path / "layers.svg").status == 0
