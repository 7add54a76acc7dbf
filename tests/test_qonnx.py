"""A Graph as a QONNX model: the qonnx package computes the golden model's integers, in its ecosystem's operators."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from random_graphs import WITHOUT_LOOKUPS, field_graphs, graphs, vectors

from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.qonnx import emit as qonnx
from edgephys.targets.qonnx.options import OPSETS
from edgephys.targets.qonnx.writer import DOMAIN

REFUSALS = ("float32", "SAT_ZERO", "one signed bit")
EIGHT = Fixed(True, 8, 4, Rounding.RND_CONV, Overflow.SAT)


def emitted(graph, folder):
    return qonnx.emit(graph, folder, qonnx.QonnxOptions())


def network(fixed=EIGHT, weight=None):
    """Two layers on rows, a mean of powers of two and a layer on what remains, as Deep Sets are."""
    builder = Builder("network")
    x = builder.input("jets", (4, 3), EIGHT)
    x = builder.dense("phi", x, np.arange(-6, 6).reshape(3, 4) if weight is None else weight, 3)
    x = builder.relu("phi", builder.bias("phi", x, np.array([3, -5, 7, 1]), 5))
    x = builder.requantise("phi", x, fixed)
    x = builder.scale("pool", builder.sum("pool", x, 0), np.array(1), 2)
    x = builder.dense("logits", x, np.array([[3, -2], [1, 1], [-4, 2], [0, 5]]), 2)
    return builder.finish(x)


def convolution():
    builder = Builder("convolution")
    x = builder.input("frames", (5, 4, 2), EIGHT)
    weight = np.random.default_rng(0).integers(-7, 8, (2 * 9, 3))
    x = builder.dense("first", builder.window("first_window", x, (3, 3)), weight, 3)
    x = builder.requantise("first", builder.relu("first", x), Fixed(False, 6, 4, Rounding.RND_CONV, Overflow.SAT))
    x = builder.dense("second", x, np.array([[1], [2], [-3]]), 1)
    return builder.finish(x)


def agrees(graph, folder, count=16):
    try:
        facts = emitted(graph, folder)
    except ModelError as error:
        assert any(reason in str(error) for reason in REFUSALS), error
        return
    x = vectors(graph, count)
    assert np.array_equal(qonnx.run(folder, facts, x), evaluate.run(graph, x))
    edges, last = evaluate.trace(graph, {graph.input.name: x}), dict(graph.layers())
    probed = qonnx.probe(folder, facts, x)
    assert graph.output.layer in probed
    for layer, found in probed.items():
        assert np.array_equal(found, edges[last[layer].name]), layer


@settings(max_examples=40)
@given(graphs(replace(WITHOUT_LOOKUPS, input=5)))
def test_every_graph_gives_the_golden_integers_or_is_refused_by_layer(tmp_path_factory, graph):
    agrees(graph, tmp_path_factory.mktemp("qonnx"))


@pytest.mark.slow
@settings(max_examples=40)
@given(field_graphs(WITHOUT_LOOKUPS))
def test_every_field_gives_the_golden_integers_or_is_refused_by_layer(tmp_path_factory, graph):
    agrees(graph, tmp_path_factory.mktemp("qonnx"))


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SAT, Overflow.SAT_SYM])
@pytest.mark.parametrize("signed", [True, False])
def test_every_rounding_and_overflow_is_exact_on_every_value(tmp_path, rounding, overflow, signed):
    builder = Builder("rounding")
    x = builder.input("x", (1,), Fixed(True, 10, 5))
    graph = builder.finish(builder.requantise("y", x, Fixed(signed, 5, 3, rounding, overflow)))
    facts = emitted(graph, tmp_path)
    x = np.arange(-512, 512)[:, None]
    assert np.array_equal(qonnx.run(tmp_path, facts, x), evaluate.run(graph, x))


def test_weights_are_floats_behind_a_quant_of_their_width_and_scale(tmp_path):
    emitted(network(), tmp_path)
    model = onnx.load(tmp_path / onnx_model.FILE)
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    weight = made[product.input[1]]
    assert (weight.op_type, weight.domain) == ("Quant", DOMAIN)
    value, scale, zero, bits = (constants[name] for name in weight.input)
    assert (float(scale), float(zero), float(bits)) == (2.0**-3, 0.0, 4.0)
    assert np.array_equal(value * 8, np.arange(-6, 6).reshape(3, 4))


def test_a_layer_is_matmul_add_relu_quant_and_little_else(tmp_path):
    facts = emitted(network(), tmp_path)
    assert facts["ops"] == {"Add": 1, "MatMul": 2, "Mul": 1, "Quant": 6, "ReduceSum": 1, "Relu": 1}
    assert facts["nodes"] == 12


def test_a_convolution_is_a_conv_channels_first_and_axes_move_at_the_ends_alone(tmp_path):
    facts = emitted(convolution(), tmp_path)
    assert (facts["ops"]["Conv"], facts["ops"]["Transpose"]) == (2, 2)
    agrees(convolution(), tmp_path)


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        emitted(network(), tmp_path / name)
        contents.append((tmp_path / name / onnx_model.FILE).read_bytes())
    assert contents[0] == contents[1]


def test_a_rounding_without_ties_is_that_of_every_quantiser(tmp_path):
    """Half up, which the passes choose where no value is a tie, costs no further operator."""
    builder = Builder("odd")
    x = builder.bias("y", builder.input("x", (2,), Fixed(True, 4, 4)), np.array([1, 3]), 3)
    graph = builder.finish(builder.requantise("y", x, Fixed(True, 5, 4, Rounding.RND_CONV, Overflow.SAT)))
    assert graph.output.fixed.rounding is Rounding.RND
    assert emitted(graph, tmp_path)["ops"] == {"Add": 1, "Quant": 3}
    agrees(graph, tmp_path)


def test_vectors_beyond_one_call_of_qonnx_are_computed_in_several(tmp_path, monkeypatch):
    graph = network()
    facts = emitted(graph, tmp_path)
    x = vectors(graph, 11)
    monkeypatch.setattr(qonnx, "CHUNK", 4 * facts["widest"])
    assert np.array_equal(qonnx.run(tmp_path, facts, x), evaluate.run(graph, x))


def test_a_changed_weight_is_seen_and_its_layer_named_by_the_probe(tmp_path):
    graph = network()
    facts = emitted(graph, tmp_path)
    model = onnx.load(tmp_path / onnx_model.FILE)
    for entry in model.graph.initializer:
        if entry.name == "logits_dense_weight_float":
            values = onnx.numpy_helper.to_array(entry).copy()
            values[0, 0] += 0.25
            entry.CopyFrom(onnx.numpy_helper.from_array(values, entry.name))
    onnx.save(model, tmp_path / onnx_model.FILE)
    x = vectors(graph, 8)
    assert not np.array_equal(qonnx.run(tmp_path, facts, x), evaluate.run(graph, x))
    edges, probed, last = evaluate.trace(graph, {"jets": x}), qonnx.probe(tmp_path, facts, x), dict(graph.layers())
    wrong = [layer for layer in probed if not np.array_equal(probed[layer], edges[last[layer].name])]
    assert wrong == ["logits"]


def test_sums_beyond_float32_are_refused_by_layer_before_anything_is_written(tmp_path):
    with pytest.raises(ModelError, match=r"layer 'phi': it needs 2\d bits, but QONNX is computed in float32"):
        emitted(network(weight=np.full((3, 4), 50_001)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_half_step_that_float32_does_not_hold_beside_the_value_is_refused(tmp_path):
    builder = Builder("fine")
    x = builder.scale("y", builder.input("x", (1,), Fixed(True, 14, 14)), np.array(511), 30)
    graph = builder.finish(builder.requantise("y", x, Fixed(True, 3, 3, Rounding.RND, Overflow.SAT)))
    with pytest.raises(ModelError, match="layer 'y': its rounding adds half a step to a value 30 bits finer"):
        emitted(graph, tmp_path)


def test_zeroing_overflow_and_one_signed_bit_are_refused_by_layer(tmp_path):
    zeroing = network(Fixed(False, 3, 1, Rounding.RND_CONV, Overflow.SAT_ZERO))
    with pytest.raises(ModelError, match=r"layer 'phi': .* turns what overflows into 0, which QONNX has not; use SAT"):
        emitted(zeroing, tmp_path)
    one = network(Fixed(True, 1, 1, Rounding.RND_CONV, Overflow.SAT))
    with pytest.raises(ModelError, match=r"layer 'phi': .* one signed bit, which QONNX reads as -1 and \+1; use 2"):
        emitted(one, tmp_path)


def test_options_refuse_an_opset_that_the_ecosystem_does_not_read():
    with pytest.raises(UsageError, match=r"opset of a QONNX model must be 13\.\.18, not 9"):
        qonnx.QonnxOptions(opset=9)


def test_every_opset_computes_the_same(tmp_path):
    graph = network()
    x = vectors(graph, 8)
    for opset in OPSETS:
        facts = qonnx.emit(graph, tmp_path, qonnx.QonnxOptions(opset))
        assert np.array_equal(qonnx.run(tmp_path, facts, x), evaluate.run(graph, x))


def test_what_cannot_be_run_says_so(tmp_path):
    graph = network()
    facts = emitted(graph, tmp_path)
    x = vectors(graph, 4)
    with pytest.raises(MismatchError, match=r"qonnx: vectors must be integers \(1 or more, 4, 3\), not int64"):
        qonnx.run(tmp_path, facts, x[:0])
    with pytest.raises(MismatchError, match=r"between steps of its"):
        qonnx.run(tmp_path, facts | {"output": facts["output"] | {"fraction": 0}}, x)
    with pytest.raises(ToolError, match="the model computes no tensor 'nowhere'"):
        qonnx.run(tmp_path, facts | {"output": facts["output"] | {"name": "nowhere"}}, x)
    path = Path(tmp_path / onnx_model.FILE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ProjectError, match="not an ONNX model; emit the project again"):
        qonnx.run(tmp_path, facts, x)
    path.write_bytes(content.replace(b"MatMul", b"MatMuL"))
    with pytest.raises(ToolError, match="qonnx does not execute the model"):
        qonnx.run(tmp_path, facts, x)
    path.unlink()
    with pytest.raises(ProjectError, match=r"the model is missing or no file .*; emit the project again"):
        qonnx.run(tmp_path, facts, x)


def test_the_tool_is_named_with_its_version():
    name, version = qonnx.tool()
    assert name == "qonnx" and version[0].isdigit()


def test_an_input_of_one_signed_bit_is_refused(tmp_path):
    graph = network()
    nodes = (replace(graph.nodes[0], fixed=Fixed(True, 1, -3)), *graph.nodes[1:])
    with pytest.raises(ModelError, match=r"layer 'jets': .* one signed bit"):
        emitted(graph.with_nodes(nodes), tmp_path)


@pytest.mark.slow
def test_hls4mls_own_reader_of_qonnx_computes_the_golden_integers(tmp_path):
    """A second program of the ecosystem, with its own arithmetic: ap_fixed in C++."""
    builder = Builder("mlp")
    x = builder.input("jets", (6,), EIGHT)
    random = np.random.default_rng(3)
    for layer, width in (("one", 8), ("two", 5)):
        x = builder.dense(layer, x, random.integers(-7, 8, (builder.shape(x)[0], width)), 3)
        x = builder.relu(layer, builder.bias(layer, x, random.integers(-15, 16, width), 4))
        x = builder.requantise(layer, x, Fixed(False, 6, 3, Rounding.RND_CONV, Overflow.SAT))
    graph = builder.finish(builder.dense("logits", x, random.integers(-7, 8, (5, 3)), 2))
    emitted(graph, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hls4ml
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.util.cleanup import cleanup_model

        model = cleanup_model(ModelWrapper(str(tmp_path / onnx_model.FILE)))
        config = hls4ml.utils.config.config_from_onnx_model(
            model, granularity="name", backend="Vitis", default_precision="fixed<32,16>"
        )
        made = hls4ml.converters.convert_from_onnx_model(
            model, output_dir=str(tmp_path / "hls"), backend="Vitis", hls_config=config
        )
        made.compile()
        x = vectors(graph, 500)
        found = made.predict(np.ascontiguousarray(EIGHT.values(x), np.float32))
    assert np.array_equal(found * 2.0**graph.output.fixed.fraction, evaluate.run(graph, x))


ZOO = Path(__file__).parent.parent / "models"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zoo/jet_deepsets_n8_8bit", "zoo/jet_interaction_n8_6bit", "waves/cp12_8bit"])
def test_shipped_models_give_the_golden_integers_written_and_read_again(tmp_path, name):
    from edgephys.models import trained as artefact
    from edgephys.models.files.onnx import file as onnx_file
    from edgephys.models.files.onnx import lower as from_onnx

    trained = artefact.load(ZOO / name)
    graph = trained.graph()
    facts = emitted(graph, tmp_path)
    x = trained.held_out.inputs[:500]
    golden = evaluate.run(graph, x)
    assert np.array_equal(qonnx.run(tmp_path, facts, x), golden)
    again = from_onnx.lower(onnx_file.read(tmp_path / onnx_model.FILE), "again")
    assert len(again.nodes) == len(graph.nodes)
    assert np.array_equal(evaluate.run(again, x), golden)
    if name == "zoo/jet_deepsets_n8_8bit":
        assert facts["nodes"] <= 40
