"""Concat, Max and Min of tensors of other scales are the ONNX file's own numbers, or refused with a way on."""

import every_target
import numpy as np
import pytest
from test_onnx_products import brought_in, integers_and_back, refused, vectors

FREE = (0.31, 0.083, 0.0625)


def branches(m, scales=FREE[:2], bits=5, shape=(4, 4)):
    x = m.quant("x", 5, 0.125)
    return [m.quant(m.op("MatMul", x, m.weight(f"w{at}", shape)), bits, scale) for at, scale in enumerate(scales)]


def normalised(m, x, name, channels=3):
    """A batch normalisation of floats behind a tensor of (example, channel, column)."""
    g = m.random
    numbers = [g.uniform(0.5, 1.5, channels), g.normal(0, 0.3, channels), g.normal(0, 0.3, channels)]
    names = [m.const(f"{name}{at}", n) for at, n in enumerate([*numbers, g.uniform(0.5, 2, channels)])]
    return m.op("BatchNormalization", x, *names)


def of_qdq(m):
    """As onnxruntime writes it: two DequantizeLinear of other scales and zero points, and one QuantizeLinear."""
    x = m.quant("x", 5, 0.125)
    parts = [
        integers_and_back(m, m.op("MatMul", x, m.weight(f"w{at}", (4, 4), per_channel=False)), scale, zero, np.uint8)
        for at, (scale, zero) in enumerate(((0.05, 3), (0.083, 120)))
    ]
    return integers_and_back(m, m.op("Concat", *parts, axis=1), 0.11, 17, np.uint8)


def of_channels(m):
    """Convolutional: weights with a scale a channel, joined with a tensor of one scale, pooled and rounded."""
    x = m.quant("x", 5, 0.125)
    parts = [
        m.op("Conv", x, m.quant(m.const(f"k{at}", m.random.normal(0, 0.4, (3, 2, 1, 1))), 4, scales))
        for at, scales in enumerate((m.random.uniform(0.02, 0.2, (3, 1, 1, 1)), np.array(0.21)))
    ]
    return m.quant(m.op("MaxPool", m.op("Concat", *parts, axis=1), kernel_shape=[2, 2], strides=[2, 2]), 6, 0.17)


BUILDS = {
    "channels": lambda m: m.quant(m.op("Concat", *branches(m), axis=2), 6, 0.21),
    "rows": lambda m: m.quant(m.op("Relu", m.op("Concat", *branches(m, FREE), axis=1)), 6, 0.21, signed=0),
    "moved and then rounded": lambda m: m.quant(
        m.op("Transpose", m.op("Flatten", m.op("Concat", *branches(m), axis=2), axis=1), perm=[0, 1]), 6, 0.21
    ),
    "of DequantizeLinear": of_qdq,
    "floats": lambda m: m.quant(
        m.op("Concat", *(normalised(m, x, f"n{at}") for at, x in enumerate(branches(m))), axis=2), 6, 0.21
    ),
    "floats along the channels": lambda m: m.quant(
        normalised(
            m, m.op("Concat", *(normalised(m, x, f"n{at}") for at, x in enumerate(branches(m))), axis=1), "c", 6
        ), 6, 0.25,
    ),
    "a power of two behind": lambda m: m.op(
        "MatMul", m.quant(m.op("Concat", *branches(m), axis=2), 6, 0.25), m.weight("last", (8, 3))
    ),
    "largest": lambda m: m.quant(m.op("Max", *branches(m)), 6, 0.21),
    "largest of three": lambda m: m.quant(m.op("Relu", m.op("Max", *branches(m, FREE))), 6, 0.125, signed=0),
    "smallest": lambda m: m.quant(m.op("Min", *branches(m)), 6, 0.21),
    "largest, turned": lambda m: m.quant(m.op("Neg", m.op("Max", *branches(m))), 6, 0.21),
    "largest of floats": lambda m: m.quant(
        m.op("Max", *(normalised(m, x, f"n{at}") for at, x in enumerate(branches(m)))), 6, 0.21
    ),
    "largest, repeated": lambda m: m.quant(
        m.op("Max", branches(m)[0], m.quant(m.op("ReduceSum", m.quant("x", 5, 0.125), axes=[2], keepdims=1), 5, 0.07)),
        6, 0.21,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILDS)
def test_a_join_of_several_scales_is_the_file_s_own_integers(name, tmp_path):
    brought_in(tmp_path, BUILDS[name])


def test_a_join_of_fields_whose_channels_have_scales_is_exact(tmp_path):
    brought_in(tmp_path, of_channels, shape=(2, 4, 4))


@pytest.mark.parametrize("name", ["of DequantizeLinear", "largest"])
def test_c_computes_a_join(name, tmp_path):
    graph = brought_in(tmp_path, BUILDS[name]).model.graph
    (tmp_path / "c").mkdir()
    every_target.assert_equal("c", graph, vectors, tmp_path / "c")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls", "onnx"])
@pytest.mark.parametrize("name", ["channels", "floats", "largest"])
def test_a_target_computes_a_join(name, target, tmp_path):
    graph = brought_in(tmp_path, BUILDS[name]).model.graph
    (tmp_path / target).mkdir()
    every_target.assert_equal(target, graph, vectors, tmp_path / target)


def test_a_join_that_no_quantiser_follows_is_refused_with_a_way_on(tmp_path):
    dense = lambda m, x, rows=8: m.op("MatMul", x, m.weight("last", (rows, 3)), name="/fc")  # noqa: E731
    for message, build in (
        (
            r"node '/fc' \(MatMul\): reads values whose channels have scales of their own; put a Quant of",
            lambda m: dense(m, m.op("Concat", *branches(m), axis=2)),
        ),
        (
            r"node '/max' \(Max\): its float result goes to '/fc' \(MatMul\), which no integers give exactly; put a Q",
            lambda m: dense(m, m.op("Max", *branches(m), name="/max"), 4),
        ),
        (
            r"node '/max' \(Max or Min\): several scales must be rounded before its elements are moved; put a",
            lambda m: m.quant(m.op("Flatten", m.op("Max", *branches(m), name="/max"), axis=1), 6, 0.21),
        ),
        (
            r"rounds the largest or smallest of several scales of '/max' behind an operator that does not",
            lambda m: m.quant(m.op("Gelu", m.op("Max", *branches(m), name="/max")), 6, 0.21),
        ),
        (
            r"\(Max\): compares tensors of shapes \(3, 1\) and \(3, 4\) with scales of their channels or",
            lambda m: m.quant(
                m.op("Max", normalised(m, branches(m)[0], "n"), m.quant(m.op("ReduceSum", "x", axes=[2]), 5, 0.07)),
                6, 0.21,
            ),
        ),
        (
            r"'/max' \(Max\): its float result goes to .* \(the end of the model\)",
            lambda m: m.op("Max", *branches(m), name="/max"),
        ),
    ):  # fmt: skip
        refused(tmp_path, message, build)
