"""The ONNX house: whatever onnxruntime makes of an emitted model, it computes the golden model's integers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies
from onnx import numpy_helper
from random_graphs import field_graphs, graphs, vectors

from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.targets.onnx.emit import LEVELS, emit, probe, run, session, tool
from edgephys.targets.onnx.model_file import FILE
from edgephys.targets.onnx.options import OPSETS, STYLES, OnnxOptions

"""What onnxruntime may change of a model: nothing, ..., all."""
ACTIVATION = Fixed(False, 8, 0, Rounding.RND_CONV, Overflow.SAT)
styles = pytest.mark.parametrize("style", STYLES)


def dense(builder: Builder, layer: str, x: str, size: int, generator, activation: Fixed | None, finer: int = 0) -> str:
    """A layer of 8-bit weights, both ends among them; its bias may be finer than its products."""
    weights = generator.integers(-128, 128, (builder.shape(x)[-1], size))
    weights.flat[:2] = -128, 127
    x = builder.dense(layer, x, weights, 7)
    x = builder.bias(layer, x, generator.integers(-64, 64, size) * 2 + 1, 7 + finer)
    return x if activation is None else builder.requantise(layer, builder.relu(layer, x), activation)


def deep_sets(activation: Fixed = ACTIVATION, finer: int = 0, rows: int = 8, width: int = 32) -> Graph:
    """The Deep Sets of the zoo in its sizes, untrained."""
    generator = np.random.default_rng(0)
    builder = Builder("deep_sets")
    x = builder.input("x", (rows, 3), Fixed(True, 12, 4))
    for layer in ("phi_1", "phi_2", "phi_3"):
        x = dense(builder, layer, x, width, generator, activation, finer)
    x = builder.scale("pool", builder.sum("pool", x, 0), np.array(1), 3)
    x = builder.requantise("pool", x, Fixed(False, 10, 0, Rounding.RND_CONV, Overflow.SAT))
    x = dense(builder, "rho_1", x, width, generator, activation, finer)
    return builder.finish(dense(builder, "logits", x, 5, generator, None, finer))


def emitted(graph: Graph, folder: Path, **options):
    return emit(graph, folder, OnnxOptions(**options))


def require_exact(graph: Graph, folder: Path, x: np.ndarray, **options) -> dict:
    """Emit, run at every level, and compare every layer; return the facts."""
    facts = emitted(graph, folder, **options)
    golden = evaluate.trace(graph, {graph.input.name: x})
    values = graph.input.fixed.values(x).astype(facts["input"]["type"])
    for level in LEVELS:
        made = session((folder / FILE).read_bytes(), level=level)
        (found,) = made.run([facts["output"]["name"]], {facts["input"]["name"]: values})
        expected = graph.output.fixed.values(golden[graph.output.name])
        np.testing.assert_array_equal(found.astype(np.float64), expected, err_msg=level)
    np.testing.assert_array_equal(run(folder, facts, x), golden[graph.output.name])
    layers = dict(graph.layers())
    for layer, edge in probe(folder, facts, x).items():
        np.testing.assert_array_equal(edge, golden[layers[layer].name], err_msg=layer)
    return facts


# The same integers ------------------------------------------------------------------------------


@given(graphs(), strategies.sampled_from(STYLES))
def test_any_graph_is_exact_at_every_level_of_optimisation(tmp_path_factory, graph, style):
    if graph.output.op.word != "input":
        try:
            require_exact(graph, tmp_path_factory.mktemp("any"), vectors(graph, 20), style=style)
        except ModelError as error:
            assert "nothing to build" in str(error)


@given(field_graphs(), strategies.sampled_from(STYLES))
def test_any_network_on_fields_is_exact_at_every_level_of_optimisation(tmp_path_factory, graph, style):
    require_exact(graph, tmp_path_factory.mktemp("field"), vectors(graph, 10), style=style)


@styles
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", Overflow)
def test_every_rounding_and_overflow_is_exact_on_every_value(rounding, overflow, style, tmp_path):
    """From positive, negative and mixed values; alone, after a bias (which adds the offset), and after a ReLU."""
    builder = Builder("modes")
    x = builder.input("x", (1,), Fixed(True, 7, 3))
    ends = []
    for number, shift in enumerate((0, 64, -64)):
        moved = builder.bias(f"bias_{number}", x, [shift], 4)
        for bits, drop in ((3, 2), (4, 9), (8, 1), (17, -1)):
            target = Fixed(True, bits, bits - 4 + drop, rounding, overflow)
            ends.append(builder.requantise(f"alone_{number}_{bits}", moved, target))
            for relu in (False, True):
                layer = f"whole_{number}_{bits}_{relu}"
                edge = builder.bias(layer, builder.scale(layer, x, [3], 1), [shift + 1], 6)
                edge = builder.relu(layer, edge) if relu else edge
                ends.append(builder.requantise(layer, edge, target))
    graph = builder.finish(builder.concat("all", tuple(ends), 0))
    require_exact(graph, tmp_path, np.arange(-64, 64)[:, None], style=style)


@styles
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 12, 16, 18])
@pytest.mark.parametrize("signed", [False, True])
def test_activations_of_every_width_are_exact(bits, signed, style, tmp_path):
    graph = deep_sets(Fixed(signed, bits, 1, Rounding.RND_CONV, Overflow.SAT), width=8)
    require_exact(graph, tmp_path, vectors(graph, 50), style=style)


@styles
@pytest.mark.parametrize("finer", [None, 0, 4])
@pytest.mark.parametrize("after", [None, 8, 14, 20])
@pytest.mark.parametrize("before", [8, 12])
@pytest.mark.parametrize("rounding", [Rounding.RND_CONV, Rounding.RND])
def test_products_are_exact_from_and_to_every_width(rounding, before, after, finer, style, tmp_path):
    """Each step differs from every other: onnxruntime fuses some operators only where these share no constant."""
    generator = np.random.default_rng(1)
    builder = Builder("products")
    x = builder.input("x", (3, 16), Fixed(True, 13, 9))
    x = builder.requantise("x_in", x, Fixed(True, before, 7, Rounding.RND_CONV, Overflow.SAT))
    x = builder.dense("sums", x, generator.integers(-128, 128, (16, 16)) | 1, 9)
    if finer is not None:
        x = builder.bias("sums", x, generator.integers(-99, 99, 16) * 2 + 1, 9 + finer)
    if after is not None:
        x = builder.requantise("sums", x, Fixed(True, after, 7, rounding, Overflow.SAT))
    graph = builder.finish(x)
    require_exact(graph, tmp_path, vectors(graph, 20), style=style)


@styles
@pytest.mark.parametrize("rounding", [Rounding.RND_CONV, Rounding.RND, Rounding.TRN])
def test_a_bias_finer_than_the_products_is_not_rounded_to_their_step(rounding, style, tmp_path):
    graph = deep_sets(Fixed(False, 5, 0, rounding, Overflow.SAT), finer=6)
    require_exact(graph, tmp_path, vectors(graph, 200), style=style)


@styles
def test_two_roundings_in_a_row_stay_two(style, tmp_path):
    builder = Builder("twice")
    x = builder.input("x", (1,), Fixed(True, 9, 4))
    x = builder.requantise("first", x, Fixed(True, 8, 4, Rounding.RND_CONV, Overflow.SAT))
    x = builder.requantise("second", x, Fixed(True, 8, 6, Rounding.RND_CONV, Overflow.SAT))
    require_exact(builder.finish(x), tmp_path, np.arange(-256, 256)[:, None], style=style)


@styles
def test_products_of_bytes_do_not_saturate(style, tmp_path):
    """Pairs of products of 255 and 127, which in 16 bits would."""
    builder = Builder("bytes")
    x = builder.requantise("x8", builder.input("x", (64,), Fixed(False, 9, 1)), ACTIVATION)
    x = builder.dense("wide", x, np.where(np.arange(64 * 16).reshape(64, 16) % 3, 127, -128), 7)
    x = builder.requantise("wide", x, Fixed(True, 8, 7, Rounding.RND_CONV, Overflow.SAT))
    graph = builder.finish(builder.dense("out", x, np.full((16, 4), -127), 7))
    x = vectors(graph, 40)
    x[2] = 255
    require_exact(graph, tmp_path, x, style=style)


@styles
def test_sums_beyond_float32_are_carried_in_float64(style, tmp_path):
    builder = Builder("wide")
    x = builder.input("x", (4, 4, 2), Fixed(True, 16, 4))
    x = builder.dense("sum", builder.window("near", x, (3, 3)), np.full((18, 3), 2**15 - 1), 7)
    graph = builder.finish(builder.requantise("sum", x, Fixed(True, 20, 12, Rounding.RND, Overflow.SAT)))
    facts = require_exact(graph, tmp_path, vectors(graph, 30), style=style)
    assert facts["ops"]["Cast"] == 2
    assert facts["output"]["type"] == "float32"


@styles
def test_a_sum_of_sums_is_carried_so_that_a_runtime_may_make_it_one(style, tmp_path):
    """Either sum and their total fit float32; a partial sum of all their terms need not."""
    builder = Builder("fused")
    x = builder.input("x", (2,), Fixed(False, 12, 4))
    weights = np.full((2, 1), 3 * 2**9)
    total = builder.add("total", builder.dense("up", x, weights + 1, 7), builder.dense("down", x, -weights, 7))
    facts = require_exact(builder.finish(total), tmp_path, vectors(builder.finish(total), 50), style=style)
    assert {facts["probes"][layer]["type"] for layer in ("up", "down")} == {"float32"}
    assert facts["probes"]["total"]["type"] == "float64"


@styles
def test_inputs_and_outputs_beyond_float32_are_float64(style, tmp_path):
    builder = Builder("wider")
    x = builder.input("x", (3,), Fixed(True, 30, 4))
    graph = builder.finish(builder.dense("sum", x, [[1, 3], [-5, 7], [11, 13]], 2))
    facts = require_exact(graph, tmp_path, vectors(graph, 30), style=style)
    assert (facts["input"]["type"], facts["output"]["type"]) == ("float64", "float64")


@styles
def test_a_matrix_of_one_channel_an_output_is_a_grouped_convolution(style, tmp_path):
    builder = Builder("depthwise")
    x = builder.input("x", (5, 4, 3), Fixed(True, 8, 4))
    matrix = np.zeros((3, 1, 3, 3, 2), np.int64)
    for channel in range(3):
        matrix[:, :, channel, channel] = np.arange(6).reshape(3, 1, 2) - channel
    x = builder.dense("down", builder.window("near", x, (3, 1)), matrix.reshape(9, 6), 3)
    graph = builder.finish(x)
    require_exact(graph, tmp_path, vectors(graph, 20), style=style)
    model = onnx.load(tmp_path / FILE)
    (convolution,) = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {entry.name: entry.i for entry in convolution.attribute}["group"] == 3


@styles
@pytest.mark.parametrize("opset", OPSETS)
def test_every_version_of_the_operators_is_exact(opset, style, tmp_path):
    graph = deep_sets(width=8)
    facts = require_exact(graph, tmp_path, vectors(graph, 50), style=style, opset=opset)
    assert onnx.load(tmp_path / FILE).opset_import[0].version == facts["opset"] == opset


@styles
def test_a_thousand_vectors_at_once_are_as_one_by_one(style, tmp_path):
    graph = deep_sets()
    facts = emitted(graph, tmp_path, style=style)
    x = vectors(graph, 1000)
    together = run(tmp_path, facts, x)
    np.testing.assert_array_equal(together, evaluate.run(graph, x))
    made = session((tmp_path / FILE).read_bytes())
    for vector, expected in zip(x[:100], together, strict=False):
        values = graph.input.fixed.values(vector[None]).astype(np.float32)
        (found,) = made.run(None, {"x": values})
        np.testing.assert_array_equal(found[0], graph.output.fixed.values(expected))
    assert together.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["zoo/jet_deepsets_n8_8bit", "compressed/jet_deepsets_n8_frugal"])
def test_trained_deep_sets_of_at_most_40_operators_are_exact_on_their_held_out_jets(folder, tmp_path):
    from edgephys.models import trained as artefact

    trained = artefact.load(Path(__file__).parent.parent / "models" / folder)
    graph = trained.graph()
    x = trained.held_out.inputs
    golden = evaluate.run(graph, x)
    for style in STYLES:
        (tmp_path / style).mkdir()
        facts = require_exact(graph, tmp_path / style, x[:500], style=style)
        np.testing.assert_array_equal(run(tmp_path / style, facts, x), golden)
        assert facts["nodes"] <= 40


# The file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "nodes"), [("qdq", 26), ("float", 18)])
def test_deep_sets_are_few_operators(style, nodes, tmp_path):
    facts = emitted(deep_sets(), tmp_path, style=style)
    model = onnx.load(tmp_path / FILE)
    assert facts["nodes"] == len(model.graph.node) == sum(facts["ops"].values()) == nodes
    assert ("QuantizeLinear" in facts["ops"]) == (style == "qdq")


@styles
def test_the_same_graph_gives_the_same_bytes_that_the_checker_takes(style, tmp_path):
    contents = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        facts = emitted(deep_sets(), tmp_path / name, style=style)
        contents.append((tmp_path / name / FILE).read_bytes())
    assert contents[0] == contents[1]
    assert facts["bytes"] == len(contents[0])
    assert json.loads(json.dumps(facts)) == facts
    onnx.checker.check_model(onnx.load_from_string(contents[0]), full_check=True)


def test_the_file_says_what_its_values_stand_for(tmp_path):
    graph = deep_sets()
    facts = emitted(graph, tmp_path)
    model = onnx.load(tmp_path / FILE)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["graph"] == graph.digest
    assert (properties["input_format"], properties["input_fraction"]) == ("fixed<12,4>", "8")
    assert properties["output_fraction"] == str(graph.output.fixed.fraction) == str(facts["output"]["fraction"])
    shapes = [
        [axis.dim_param or axis.dim_value for axis in entry.type.tensor_type.shape.dim]
        for entry in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["N", 8, 3], ["N", 5]]


def test_weights_are_bytes_where_activations_are_quantised(tmp_path):
    emitted(deep_sets(), tmp_path)
    types = {
        tensor.name: numpy_helper.to_array(tensor).dtype for tensor in onnx.load(tmp_path / FILE).graph.initializer
    }
    assert types["phi_2_dense_weight_integers"] == np.uint8
    assert types["phi_2_bias_bias_integers"] == np.int32
    assert types["phi_1_dense_weight"] == np.float32  # beside values that are not


# What is wrong is found -------------------------------------------------------------------------


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
    with pytest.raises(ToolError, match=r"onnxruntime does not take model\.onnx: .*; emit it again"):
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
    with pytest.raises(ToolError, match=r"onnxruntime does not run model.onnx: .*; emit it again"):
        run(tmp_path, facts, x)
