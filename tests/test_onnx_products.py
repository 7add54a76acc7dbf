"""Products of computed matrices, softmaxes inside and sums of two scales are the ONNX file's own numbers."""

import every_target
import numpy as np
import pytest
from onnx_models import Model

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate, stimuli
from edgephys.models import imported
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.lower import lower
from edgephys.models.files.softmax import SoftmaxForm
from edgephys.models.import_plan import ImportPlan

SMALL = Fixed(True, 5, 2)


def brought_in(tmp_path, build, shape=(3, 4), opset=13, **options):
    """Import a model, which compares every output with the file itself; return what came in."""
    model = Model(shape, opset)
    path = model.save(tmp_path / "model.onnx", build(model))
    made = imported.import_onnx(path, tmp_path / "model", ImportPlan(SMALL, count=100, **options))
    graph, x = made.model.graph, made.model.held_out.inputs
    reference, edges = made.model.reference, evaluate.trace(graph, {graph.input.name: x})
    last = dict(graph.layers())
    for layer, integers in reference.layers(x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)
    assert len(np.unique(edges[graph.output.name])) > 1
    return made


def vectors(graph):
    return stimuli.make(graph)[:300]


def projected(m, x, name, columns=3, scale=0.25):
    product = m.op("MatMul", x, m.weight(name, (4, columns), per_channel=False))
    return m.quant(product, 5, scale)


def attention(m, softmax=True, scale=0.25, axis=-1):
    """An attention head: softmax(q k) v."""
    q, k, v = (projected(m, "x", name, scale=scale) for name in "qkv")
    scores = m.op("MatMul", q, m.op("Transpose", k, perm=[0, 2, 1]), name="/scores")
    if softmax:
        scores = m.op("Softmax", scores, axis=axis, name="/weights")
    scores = m.quant(scores, 6, 2.0**-5 if softmax else 1.0, signed=0 if softmax else 1)
    return m.quant(m.op("MatMul", scores, v, name="/weighed"), 6, 0.125 if softmax else 1.0)


def in_batches(m):
    heads = m.op("Reshape", m.quant("x", 5, 0.125), m.const("heads", [0, 3, 2, 2], np.int64))
    one = m.op("Transpose", heads, perm=[0, 2, 1, 3])  # (head, row, column)
    other = m.op("Transpose", heads, perm=[0, 2, 3, 1])
    return m.quant(m.op("MatMul", one, other), 8, 0.25)


def from_the_left(m):
    x = m.quant("x", 5, 0.125)
    return m.quant(m.op("MatMul", m.weight("w", (2, 3), per_channel=False), x), 6, 0.25)


BUILDS = {
    "scores": lambda m: attention(m, softmax=False),
    "scores of other scales": lambda m: attention(m, softmax=False, scale=0.23),
    "attention": attention,
    "attention of other scales": lambda m: attention(m, scale=0.23),
    "a softmax of columns": lambda m: attention(m, axis=1),
    "heads": in_batches,
    "a matrix from the left": from_the_left,
}


@pytest.mark.parametrize("name", BUILDS)
def test_products_of_computed_matrices_and_softmaxes_are_those_of_the_file(name, tmp_path):
    made = brought_in(tmp_path, BUILDS[name])
    assert any(node.op.word in ("mul", "dense") for node in made.model.graph.nodes)


@pytest.mark.parametrize("opset", [11, 18])
def test_a_softmax_inside_is_computed_by_tables_and_its_difference_is_measured(opset, tmp_path):
    made = brought_in(tmp_path, attention, opset=opset)
    (softmax,) = made.model.card.approximated
    assert softmax.layer == "weights" and 0 < softmax.largest_difference < 0.01
    assert any("layer 'weights': softmax computed with tables of" in line for line in made.warnings)
    (record,) = made.model.graph.metadata["onnx"]["softmaxes"]
    assert (record["tensor"], record["axis"]) == ("/weights_output_0", 2)


def test_a_softmax_inside_has_the_form_that_is_stated(tmp_path):
    made = brought_in(tmp_path, attention, softmax=SoftmaxForm(bits=8, entries=256))
    assert "ufixed<8,0>" in made.model.card.approximated[0].form


@pytest.mark.slow
@pytest.mark.parametrize("target", ["c", "onnx", "rtl", "hls"])
@pytest.mark.parametrize("name", ["scores", "attention", "heads", "a matrix from the left"])
def test_a_target_computes_the_same(name, target, tmp_path):
    graph = brought_in(tmp_path, BUILDS[name]).model.graph
    (tmp_path / target).mkdir()
    every_target.assert_equal(target, graph, vectors, tmp_path / target)


# Sums of two scales ---------------------------------------------------------------------------------


def block(m, kinds=(np.uint8, np.uint8), scales=(0.05, 0.083, 0.11), zeros=(0, 0, 0), relu=True, shape=(3, 4)):
    """A residual of a QDQ network: two branches of scales of their own, added, activated and rounded."""
    x = m.quant("x", 5, 0.125)
    branches = []
    for number, (kind, scale, zero) in enumerate(zip(kinds, scales, zeros, strict=False)):
        product = m.op("MatMul", x, m.weight(f"w{number}", (4, 4), per_channel=False))
        branches.append(integers_and_back(m, product, scale, zero, kind))
    total = m.op("Add", *branches, name="/sum")
    total = m.op("Relu", total) if relu else total
    return integers_and_back(m, total, scales[2], zeros[2], np.uint8)


def integers_and_back(m, x, scale, zero, kind):
    at = len(m.nodes)
    numbers = [m.const(f"s{at}", scale), m.const(f"z{at}", zero, kind)]
    return m.op("DequantizeLinear", m.op("QuantizeLinear", x, *numbers), *numbers)


RESIDUALS = {
    "8 bits": {},
    "signed": {"kinds": (np.int8, np.int8), "relu": False, "zeros": (0, 0, 128)},
    "zero points": {"zeros": (3, 17, 41), "relu": False},
    "a power of two": {"scales": (0.0625, 0.083, 0.125)},
    "one that is large": {"scales": (0.3, 0.0071, 0.25)},
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_a_residual_of_two_scales_is_the_file_s_own_integers(name, tmp_path):
    graph = brought_in(tmp_path, lambda m: block(m, **RESIDUALS[name])).model.graph
    assert sum(node.op.word == "add" for node in graph.nodes) == 1


@pytest.mark.parametrize("name", ["8 bits", "zero points"])
@pytest.mark.parametrize("target", ["c", "onnx"])
def test_a_processor_computes_a_residual_of_two_scales(name, target, tmp_path):
    graph = brought_in(tmp_path, lambda m: block(m, **RESIDUALS[name])).model.graph
    (tmp_path / target).mkdir()
    every_target.assert_equal(target, graph, vectors, tmp_path / target)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls"])
def test_firmware_computes_a_residual_of_two_scales(target, tmp_path):
    graph = brought_in(tmp_path, lambda m: block(m)).model.graph
    (tmp_path / target).mkdir()
    every_target.assert_equal(target, graph, vectors, tmp_path / target)


def test_a_difference_of_two_scales_behind_quantisers_of_brevitas_is_exact(tmp_path):
    def difference(m):
        x = m.quant("x", 5, 0.125)
        parts = [m.quant(m.op("MatMul", x, m.weight(f"w{n}", (4, 4))), 4, scale) for n, scale in enumerate((0.3, 0.7))]
        return m.quant(m.op("Clip", m.op("Sub", *parts), m.const("low", -2.0), m.const("high", 3.0)), 5, 0.21)

    brought_in(tmp_path, difference)


def refused(tmp_path, message, build, shape=(3, 4)):
    model = Model(shape)
    path = model.save(tmp_path / "m.onnx", build(model))
    with pytest.raises(ModelError, match=message) as caught:
        lower(onnx_file.read(path), "m", SMALL)
    assert "\n" not in str(caught.value)


def of_two(m, end, bits=8, scale=0.3):
    x = m.quant("x", 5, 0.125)
    one, other = (m.quant(m.op("MatMul", x, m.weight(f"w{n}", (4, 4))), bits, scale + scale / 3 * n) for n in range(2))
    return end(m.op("Add", one, other, name="/sum"))


def test_a_sum_of_two_scales_that_no_integers_give_is_refused_with_a_way_on(tmp_path):
    for message, build in (
        (
            r"\(Quant\): rounds the sum of two scales of [\d,]+ and [\d,]+ integers, too many to try each pair; put a",
            lambda m: of_two(m, lambda x: m.quant(x, 8, 0.5), bits=12, scale=0.0003),
        ),
        (
            r"\(Quant\): rounds the sum of two scales of '/sum' \(Add\) by channels or behind a curve; put a Quant of",
            lambda m: of_two(m, lambda x: m.quant(m.op("Sigmoid", x), 8, 0.5)),
        ),
        (
            r"node '/sum' \(Add\): its float result goes to '/fc' \(MatMul\), which no integers give exactly; put a",
            lambda m: of_two(m, lambda x: m.op("MatMul", x, m.weight("w", (4, 4)), name="/fc")),
        ),
        (
            r"node '/sum' \(Add\): the sum of two scales must be rounded before its elements are moved; put a Quant",
            lambda m: of_two(m, lambda x: m.quant(m.op("Flatten", x, axis=1), 8, 0.5)),
        ),
        (r"\(Add\): its float result goes to .* \(the end of the model\)", lambda m: of_two(m, lambda x: x)),
    ):
        refused(tmp_path, message, build)


def test_pairs_that_floats_round_apart_are_named(tmp_path):
    def ties(m):
        x = m.quant("x", 5, 0.3)
        one = m.op("MatMul", x, m.quant(m.const("w", m.random.normal(size=(4, 4))), 5, 0.1))  # summed in floats
        other = m.quant(m.op("MatMul", x, m.weight("v", (4, 4))), 4, 0.1)
        return m.quant(m.op("Add", one, other), 4, 0.2)

    refused(tmp_path, r"for the integers -?\d+ and -?\d+ of a sum of two scales two floats round", ties)


def test_products_of_computed_tensors_that_do_not_fit_are_refused(tmp_path):
    rounded = lambda m: m.quant("x", 5, 0.125)  # noqa: E731
    for message, build in (
        (
            r"\(MatMul\): its inputs must be matrices of one rank behind the batch that fit, not \(3, 4\) and \(3, 4\)",
            lambda m: m.op("MatMul", rounded(m), rounded(m)),
        ),
        (
            r"\(MatMul\): its constant \(2, 2, 3\) must be a matrix on a tensor of 2 axes or more behind the batch",
            lambda m: m.op("MatMul", m.quant(m.const("c", np.ones((2, 2, 3))), 4, 0.5), rounded(m)),
        ),
        (
            r"\(Softmax\): it must be over an axis behind the batch, not over axis 0; export it so",
            lambda m: m.quant(m.op("Softmax", rounded(m), axis=0), 5, 0.125),
        ),
        (
            r"\(LogSoftmax\): has no exact form in fixed point; only at the end of a model is it left away",
            lambda m: m.quant(m.op("LogSoftmax", rounded(m), axis=-1), 5, 0.125),
        ),
    ):
        refused(tmp_path, message, build)


def test_a_softmax_of_old_operators_over_several_axes_is_refused(tmp_path):
    model = Model((3, 4), 11)
    path = model.save(tmp_path / "m.onnx", model.quant(model.op("Softmax", model.quant("x", 5, 0.125)), 5, 0.125))
    with pytest.raises(ModelError, match="before opset 13 it must be over the last axis, not all from 1 on; export"):
        lower(onnx_file.read(path), "m", SMALL)


def test_scales_of_channels_are_refused_in_a_product_of_computed_tensors(tmp_path):
    def channels(m):
        x = m.quant("x", 5, 0.125)
        y = m.op("MatMul", x, m.quant(m.const("w", m.random.normal(size=(4, 4))), 4, [[0.3, 0.2, 0.1, 0.7]]))
        return m.quant(m.op("MatMul", y, m.op("Transpose", x, perm=[0, 2, 1])), 6, 0.5)

    refused(tmp_path, r"\(MatMul\): reads values whose channels have scales of their own; put a Quant", channels)


@pytest.mark.parametrize(("alpha", "beta"), [(0.25, 1.0), (-2.0, 0.5), (1.0, -4.0)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_factors_of_a_gemm_that_are_powers_of_two_are_in_its_weights(tmp_path, alpha, beta, per_channel):
    def build(m):
        x = m.op("Flatten", m.quant("x", 5, 0.125))
        weight = m.quant(m.const("w", m.random.normal(size=(5, 12))), 4, 0.3 if per_channel else 0.25)
        return m.quant(
            m.op("Gemm", x, weight, m.bias("b", 5), transB=1, alpha=alpha, beta=beta), 6, 0.37 if per_channel else 0.5
        )

    brought_in(tmp_path, build)


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize(("axes", "keep"), [([1], 0), ([2], 1), ([1, 2], 0), ([-1], 0), ([1, 3], 0)])
def test_the_largest_and_the_smallest_elements_along_axes_are_the_files(tmp_path, kind, axes, keep):
    def build(m):
        x = m.quant(m.op("MatMul", m.quant("x", 5, 0.125), m.weight("w", (4, 3), per_channel=False)), 6, 0.25)
        x = m.op("Reshape", x, m.const("shape", [0, 3, 1, 3], np.int64)) if 3 in axes else x
        return m.op(kind, x, axes=axes, keepdims=keep)

    brought_in(tmp_path, build)


def test_the_largest_of_values_with_a_scale_of_their_own_are_the_files(tmp_path):
    def build(m):
        x = m.quant(m.op("Mul", m.quant("x", 5, 0.125), m.const("minus", [-0.3])), 5, 0.21)
        return m.quant(m.op("ReduceMax", x, axes=[1], keepdims=0), 4, 0.5)

    brought_in(tmp_path, build)
