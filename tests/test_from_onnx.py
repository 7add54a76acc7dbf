"""QONNX models of others become Graphs with the same integers, or are refused in one line that names the node."""

import dataclasses
import re

import numpy as np
import onnx
import onnx_models
import pytest
from hypothesis import given, settings
from onnx import numpy_helper
from onnx_models import QONNX, Model, built, read
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ
from qonnx.util.cleanup import cleanup_model
from random_graphs import WITHOUT_LOOKUPS, field_graphs, graphs, vectors
from test_qonnx import convolution, network

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.ops import Dense, Requantise
from edgephys.models import imported
from edgephys.models.import_plan import ImportPlan
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.qonnx import emit as qonnx


def agrees(graph, folder, count=16):
    try:
        qonnx.emit(graph, folder, qonnx.QonnxOptions())
    except ModelError:
        return
    again = read(folder / onnx_model.FILE)
    x = vectors(graph, count)
    finer = graph.output.fixed.fraction - again.output.fixed.fraction
    assert np.array_equal(evaluate.run(again, x) * 2.0**finer, evaluate.run(graph, x))


# Models of others -------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=100)
@given(graphs(dataclasses.replace(WITHOUT_LOOKUPS, input=5)))
def test_what_is_written_is_read_as_the_same_integers(tmp_path_factory, graph):
    agrees(graph, tmp_path_factory.mktemp("round"))


@settings(max_examples=50)
@given(field_graphs(WITHOUT_LOOKUPS))
def test_fields_that_are_written_are_read_as_the_same_integers(tmp_path_factory, graph):
    agrees(graph, tmp_path_factory.mktemp("round"))


@pytest.mark.parametrize("opset", [9, 11, 13, 14])
def test_a_brevitas_mlp_is_what_qonnx_computes(tmp_path, opset):
    """Gemm with transB, MatMul with a transposed weight, channels of their own scales, an exact BatchNormalization."""
    made = imported.import_onnx(onnx_models.mlp(tmp_path / "mlp.onnx", opset), tmp_path / "mlp").model
    assert made.card.imported.outputs_compared == 3000
    assert [type(node.op) for node in made.graph.nodes].count(Dense) == 3
    (said,) = made.card.imported.dropped
    assert said.startswith("Softmax '/softmax' at the end")


@pytest.mark.parametrize("domain", ["onnx.brevitas", "finn.custom_op.general", QONNX])
def test_the_domains_of_older_tools_are_read(tmp_path, domain):
    path = onnx_models.mlp(tmp_path / "mlp.onnx", end=None, batch="N", domain=domain)
    assert not imported.import_onnx(path, tmp_path / "mlp").model.card.imported.dropped


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_pairs_of_quantize_and_dequantize_are_what_qonnx_computes(tmp_path, bits):
    """Weights with a zero point and scales of their channels; a Clip to fewer bits is a format."""
    made = imported.import_onnx(onnx_models.qcdq(tmp_path / "qcdq.onnx", bits=bits), tmp_path / "qcdq").model
    assert made.graph.input.fixed == Fixed(True, 8, 4, Rounding.RND_CONV, Overflow.SAT)
    assert made.graph.output.fixed.bits == bits


@pytest.mark.parametrize("graph", [network(), convolution()], ids=["network", "convolution"])
@pytest.mark.parametrize("form", ["cleaned", "qcdq"])
def test_what_qonnxs_own_tools_make_of_ours_is_read_as_the_same_integers(tmp_path, graph, form):
    """Its cleaning names every parameter anew; its QuantToQCDQ is written by others than who reads it here."""
    qonnx.emit(graph, tmp_path, qonnx.QonnxOptions())
    model = cleanup_model(ModelWrapper(str(tmp_path / onnx_model.FILE)))
    if form == "qcdq":
        model = model.transform(QuantToQCDQ())
    assert ("QuantizeLinear" in {node.op_type for node in model.graph.node}) == (form == "qcdq")
    model.save(str(tmp_path / "theirs.onnx"))
    again, x = read(tmp_path / "theirs.onnx"), vectors(graph, 40)
    finer = graph.output.fixed.fraction - again.output.fixed.fraction
    assert np.array_equal(evaluate.run(again, x) * 2.0**finer, evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize(("flatten", "batch"), [("Flatten", 1), ("Flatten", 4), ("Reshape", 1), ("mean", 4)])
def test_a_convolutional_network_channels_first_is_what_qonnx_computes(tmp_path, flatten, batch):
    """Groups, steps, narrow edges, a skip, a scale a channel: and a Flatten that takes channels first."""
    made = imported.import_onnx(
        onnx_models.cnn(tmp_path / "m.onnx", 13, flatten, batch), tmp_path / "cnn", ImportPlan(count=64)
    ).model
    assert made.graph.input.shape == (8, 8, 3)  # pixels arrive channels last, as streams want them
    assert made.graph.metadata["onnx"]["input_axes"] == [2, 0, 1]
    x = made.held_out.inputs[:8]
    edges, last = evaluate.trace(made.graph, {made.graph.input.name: x}), dict(made.graph.layers())
    probed = made.reference.layers(x)
    assert {"conv1", "conv2", "conv3", "fc"} <= set(probed)
    for layer, found in probed.items():
        assert np.array_equal(found, edges[last[layer].name]), layer


@pytest.mark.slow
def test_an_export_of_brevitas_itself_is_what_qonnx_computes(tmp_path):
    path = onnx_models.shipped(tmp_path)
    made = imported.import_onnx(path, tmp_path / "espcn", ImportPlan(Fixed(False, 8, 0), count=6)).model
    assert made.card.imported.producer == "pytorch 1.12.1"
    assert made.graph.output.shape == (3, 12, 12)  # two pixels for one, by DepthToSpace


@pytest.mark.slow
def test_a_scale_that_is_no_power_of_two_comes_in(tmp_path):
    path = onnx_models.shipped(tmp_path)
    model = onnx.load(path)
    for entry in model.graph.initializer:
        if entry.name == "scale.3":
            entry.CopyFrom(numpy_helper.from_array(np.float32(0.04611974), entry.name))
    onnx.save(model, path)
    made = imported.import_onnx(path, tmp_path / "espcn", ImportPlan(Fixed(False, 8, 0), count=6))
    assert made.model.graph.metadata["onnx"]["float64"]
    (said,) = made.warnings
    assert re.fullmatch(
        r"compared with the file in float64; in float32 qonnx rounds [\d,]+ of 2,592 outputs otherwise", said
    )


@pytest.mark.parametrize("mode", ["ROUND", "HALF_EVEN", "FLOOR", "CEIL", "DOWN", "HALF_UP", "HALF_DOWN"])
@pytest.mark.parametrize(("signed", "narrow"), [(1, 0), (1, 1), (0, 0)])
def test_every_rounding_mode_is_qonnxs_own_on_every_value(tmp_path, mode, signed, narrow):
    model = Model((1,))
    x = model.quant("x", 10, 2.0**-5)
    path = built(model, tmp_path, model.quant(x, 5, 0.25, signed, narrow, mode))
    made = imported.import_onnx(path, tmp_path / "out", ImportPlan(vectors=every_value(tmp_path, -512, 512))).model
    assert made.card.imported.outputs_compared == 1024


def every_value(tmp_path, low, high):
    np.savez(tmp_path / "every.npz", inputs=np.arange(low, high)[:, None])
    return tmp_path / "every.npz"


@pytest.mark.parametrize("kind", ["Quant", "BipolarQuant"])
def test_one_signed_bit_is_the_sign(tmp_path, kind):
    model = Model((1,))
    x = model.quant("x", 6, 0.5)
    if kind == "Quant":
        y = model.quant(x, 1, 0.25)
    else:
        y = model.op("BipolarQuant", x, model.const("half", 0.25), domain=QONNX)
    imported.import_onnx(built(model, tmp_path, y), tmp_path / "o", ImportPlan(vectors=every_value(tmp_path, -32, 32)))


def wires(model, x, case):
    if case == "unsqueeze":
        x = model.op("Unsqueeze", x, model.const("axes", [2], np.int64))
        return model.op("Squeeze", x, model.const("axes_2", [2], np.int64))
    if case == "slice":
        ends = [model.const(name, [n], np.int64) for name, n in (("s", -3), ("e", 2**40), ("a", 2), ("t", 2))]
        return model.op("Slice", x, *ends)
    if case == "gather":
        return model.op("Gather", x, model.const("rows", [[-1, 0], [1, 1]], np.int64), axis=2)
    if case == "shape":  # how PyTorch flattens where the batch may be any
        first = model.op("Gather", model.op("Shape", x), model.const("zero", 0, np.int64), axis=0)
        first = model.op("Unsqueeze", first, model.const("front", [0], np.int64))
        return model.op("Reshape", x, model.op("Concat", first, model.const("rest", [-1], np.int64), axis=0))
    if case == "transposed":
        x = model.op("Transpose", x, perm=[0, 2, 1])
        return model.op("MatMul", x, model.weight("w", (3, 2), per_channel=False))
    if case == "sums":
        axes = model.const("axes", [1, -1], np.int64)
        return model.op("ReduceSum", x, axes, keepdims=1)
    if case == "mean":
        return model.op("ReduceMean", x, axes=[2], keepdims=0)
    if case == "differences":
        halves = model.op("Div", x, model.const("four", 4.0))
        y = model.op("Sub", model.quant(model.const("ones", np.ones((3, 1))), 3, 0.5), halves)
        return model.op("Sub", model.op("Neg", y), x)
    if case == "clip":  # to 4 bits of the same step, and a ReLU in other words
        x = model.op("Clip", x, model.const("low", -2.0), model.const("high", 1.75))
        return model.op("Clip", x, model.const("nothing", 0.0))
    if case == "products":  # the sum of each row, then of all rows, is repeated
        sums = model.op("ReduceSum", x, model.const("axis", [2], np.int64), keepdims=1)
        gated = model.quant(model.op("Mul", sums, model.op("Mul", x, x)), 6, 16.0)
        columns = model.op("ReduceSum", x, model.const("axis_1", [1], np.int64), keepdims=1)
        return model.op("Mul", columns, model.op("Add", sums, gated))
    if case == "extremes":
        columns = model.op("ReduceSum", x, model.const("axis", [1], np.int64), keepdims=1)
        least = model.op("Min", x, model.op("Neg", x), columns)
        return model.op("Max", columns, model.op("Div", x, model.const("four", 4.0)), least)
    beside = model.op("Concat", x, model.op("Dropout", model.op("Identity", x)), axis=-1)
    return model.op("Cast", beside, to=1)


CASES = [
    "unsqueeze",
    "slice",
    "gather",
    "shape",
    "transposed",
    "sums",
    "mean",
    "differences",
    "clip",
    "products",
    "extremes",
    "concat",
]


@pytest.mark.parametrize("case", CASES)
def test_wires_sums_and_differences_are_what_qonnx_computes(tmp_path, case):
    model = Model((3, 4))
    path = built(model, tmp_path, wires(model, model.quant("x", 6, 0.25), case))
    imported.import_onnx(path, tmp_path / "out", ImportPlan(count=20))


def test_a_quantiser_behind_a_transpose_states_the_inputs_format(tmp_path):
    model = Model((3, 4))
    path = built(model, tmp_path, model.quant(model.op("Transpose", "x", perm=[0, 2, 1]), 6, 0.25, mode="FLOOR"))
    made = imported.import_onnx(path, tmp_path / "out", ImportPlan(count=20)).model
    assert made.graph.input.fixed == Fixed(True, 6, 4, Rounding.TRN, Overflow.SAT)
    assert made.graph.output.shape == (3, 4)  # axes are followed, not moved


def test_a_stated_format_takes_the_place_of_an_input_quantiser(tmp_path):
    path = onnx_models.mlp(tmp_path / "mlp.onnx")
    wider = Fixed.of_text("fixed<12,4,RND,SAT>")
    made = imported.import_onnx(path, tmp_path / "out", ImportPlan(wider)).model
    assert made.graph.input.fixed == wider
    assert isinstance(made.graph.nodes[1].op, Requantise)  # the file's own quantiser follows


# The format in words ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["fixed<16,6>", "ufixed<8,0,RND_CONV,SAT>", "fixed<4,-3>"])
def test_a_format_is_read_as_it_is_written(text):
    assert str(Fixed.of_text(text)) == text
    assert Fixed.of_text(text.replace(",", ", ")) == Fixed.of_text(text)


@pytest.mark.parametrize("text", ["int8", "fixed<16>", "fixed<8,4,ROUND,SAT>", "fixed<8,4,RND>", "fixed<x,4>"])
def test_what_is_no_format_is_refused(text):
    with pytest.raises(UsageError, match=r"number format must be such as fixed<16,6> or .*, not '"):
        Fixed.of_text(text)
