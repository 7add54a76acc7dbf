"""ONNX projects: whatever onnxruntime makes of an emitted model, it computes the golden model's integers."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies
from onnx import numpy_helper
from onnx_graphs import ACTIVATION, deep_sets, emitted, require_exact, styles
from random_graphs import field_graphs, graphs, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.onnx.emit import run, session
from edgephys.targets.onnx.model_file import FILE
from edgephys.targets.onnx.options import OPSETS, STYLES

# The same integers ------------------------------------------------------------------------------


@given(graphs(), strategies.sampled_from(STYLES))
def test_any_graph_is_exact_at_every_level_of_optimisation(tmp_path_factory, graph, style):
    if graph.output.op.word != "input":
        try:
            require_exact(graph, tmp_path_factory.mktemp("any"), vectors(graph, 20), style=style)
        except ModelError as error:
            assert "nothing to build" in str(error)


@pytest.mark.slow
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
