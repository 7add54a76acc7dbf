"""Faults of an ONNX model are found, and what cannot be exact is refused before anything is written."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_graphs import deep_sets, emitted, styles
from random_graphs import vectors

from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.targets.onnx.emit import emit, probe, run, tool
from edgephys.targets.onnx.model_file import FILE
from edgephys.targets.onnx.options import OnnxOptions


@styles
@pytest.mark.parametrize("layer", ["phi_1", "phi_3", "rho_1", "logits"])
def test_a_changed_weight_is_found_in_its_layer(layer, style, tmp_path):
    graph = deep_sets()
    facts = emitted(graph, tmp_path, style=style)
    model = onnx.load(tmp_path / FILE)
    (tensor,) = [entry for entry in model.graph.initializer if entry.name.startswith(f"{layer}_dense_weight")]
    weights = numpy_helper.to_array(tensor).copy()
    weights[:, 0] = weights[:, 1]
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, tmp_path / FILE)
    x = vectors(graph, 200)
    assert np.any(run(tmp_path, facts, x) != evaluate.run(graph, x))
    golden, found = evaluate.trace(graph, {"x": x}), probe(tmp_path, facts, x)
    assert next(name for name, node in graph.layers() if np.any(found[name] != golden[node.name])) == layer


def test_a_value_between_steps_is_a_mismatch(tmp_path):
    graph = deep_sets()
    facts = emitted(graph, tmp_path)
    model = onnx.load(tmp_path / FILE)
    (tensor,) = [entry for entry in model.graph.initializer if entry.name == "phi_1_dense_weight"]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 3, tensor.name))
    onnx.save(model, tmp_path / FILE)
    run(tmp_path, facts, vectors(graph, 5))  # rounded away behind the layer
    facts["output"] = {**facts["probes"]["logits"], "fraction": 2}
    with pytest.raises(MismatchError, match=r"'logits_bias' gives values between steps of its fixed<\d+,\d>; emit"):
        run(tmp_path, facts, vectors(graph, 5))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 8, 3), np.int64), r"vectors must be integers \(1 or more, 8, 3\), not int64 \(0, 8, 3\)"),
        (np.zeros((2, 3), np.int64), r"vectors must be integers \(1 or more, 8, 3\), not int64 \(2, 3\)"),
        (np.zeros((2, 8, 3)), r"vectors must be integers \(1 or more, 8, 3\), not float64"),
        (np.full((2, 8, 3), 2048), r"integers must be -2048\.\.2047 \(fixed<12,4>\), not 2048\.\.2048"),
    ],
)
def test_what_is_no_vector_is_refused(x, message, tmp_path):
    facts = emitted(deep_sets(), tmp_path)
    with pytest.raises(MismatchError, match=message):
        run(tmp_path, facts, x)


def test_a_missing_and_a_damaged_model_are_said_to_be_so(tmp_path):
    graph = deep_sets()
    facts = emitted(graph, tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff" * 100)
    with pytest.raises(
        ToolError,
        match=r"onnxruntime does not take model\.onnx: .*; emit the project again: `edgephys emit MODEL --to onnx",
    ):
        run(tmp_path, facts, vectors(graph, 2))
    with pytest.raises(ProjectError, match=r"model\.onnx: not an ONNX model; emit the project again"):
        probe(tmp_path, facts, vectors(graph, 2))
    (tmp_path / FILE).unlink()
    with pytest.raises(ProjectError, match=r"model\.onnx: the model is missing or no file .*; emit the project again"):
        run(tmp_path, facts, vectors(graph, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"opset": 13}, r"opset must be 21\.\.24, not 13"), ({"style": "int"}, "style must be qdq or float, not 'int'")],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        OnnxOptions(**options)


def wide() -> Graph:
    builder = Builder("wide")
    x = builder.input("x", (4,), Fixed(True, 30, 4))
    return builder.finish(builder.dense("sums", x, np.full((4, 1), 2**24 - 1), 7))


def far() -> Graph:
    builder = Builder("far")
    x = builder.input("x", (4,), Fixed(True, 8, 4))
    return builder.finish(builder.relu("low", builder.scale("tiny", x, 3, 120)))


def nothing() -> Graph:
    builder = Builder("nothing")
    builder.input("x", (4,), Fixed(True, 8, 4))
    return builder.finish("x")


def alike() -> Graph:
    builder = Builder("alike")
    x = builder.input("x", (2, 4), Fixed(True, 8, 4))
    graph = builder.finish(builder.dense("l", builder.relu("x_rows", x), np.ones((4, 1), np.int64) * 3, 0))
    relu, last = graph.nodes[1], graph.nodes[2]
    renamed = (graph.nodes[0], replace(relu, name="l_dense_weight"), replace(last, inputs=("l_dense_weight",)))
    return graph.with_nodes(renamed)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (wide, r"layer 'sums': dense 'sums_dense' needs 55 bits, ONNX's floats are exact up to 53; use fewer bits"),
        (far, r"layer 'tiny': scale 'tiny_scale' has steps of 2\^-124, ONNX takes 2\^-100\.\.2\^100; scale"),
        (nothing, "graph 'nothing': its output is its input; there is nothing to build"),
        (alike, "tensor 'l_dense_weight' must be one, not two; give the graph's layers other names"),
    ],
)
@styles
def test_what_cannot_be_exact_is_refused_before_anything_is_written(graph, message, style, tmp_path):
    with pytest.raises(ModelError, match=message):
        emitted(graph(), tmp_path, style=style)
    assert not list(tmp_path.iterdir())


def test_the_tool_has_a_version():
    name, version = tool()
    assert name == "onnxruntime"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_a_model_that_stops_or_returns_another_shape_ends_in_one_line(tmp_path):
    builder = Builder("relu")
    graph = builder.finish(builder.relu("y", builder.input("x", (3,), Fixed(True, 6, 3))))
    facts = emit(graph, tmp_path, OnnxOptions())
    x, model = vectors(graph, 4), onnx.load(tmp_path / facts["file"])
    other = {**facts, "output": {**facts["output"], "shape": [7, 11]}}
    with pytest.raises(MismatchError, match=r"expected 4 vectors of shape \[7, 11\], received"):
        run(tmp_path, other, x)
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", [facts["input"]["name"], "wrong"], ["moved"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([13, 17]), "wrong"))
    model.graph.node[1].input[0] = "moved"
    onnx.save(model, tmp_path / facts["file"])
    with pytest.raises(
        ToolError,
        match=r"onnxruntime does not run model.onnx: .*; emit the project again: `edgephys emit MODEL --to onnx",
    ):
        run(tmp_path, facts, x)
