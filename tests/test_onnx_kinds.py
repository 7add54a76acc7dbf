"""Operators and quantisers as users of ONNX have them are the file's own numbers, bit for bit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import QONNX, Model

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate, stimuli
from edgephys.models import imported
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx import lower as from_onnx
from edgephys.models.import_plan import ImportPlan
from edgephys.models.onnx_framework import OnnxReference
from edgephys.targets.registry import TARGETS

LAST = "qonnx.custom_op.channels_last"
SMALL = Fixed(True, 6, 3)


def exact(tmp_path, build, shape=(6,), input_format=None, change=None, opset=13, outputs=1, **options):
    """Import a model, which compares every output with the file itself, and return its Graph."""
    model = Model(shape, opset)
    ends = build(model)
    ends = ends if isinstance(ends, tuple) else (ends,)
    proto = model.proto(*ends, **options)
    (change or (lambda proto: None))(proto)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return imported.import_onnx(path, tmp_path / "model", ImportPlan(input_format, count=64)).model.graph


def integers_and_back(m, x, scale, zero, dtype=np.uint8):
    at = len(m.nodes)
    numbers = [m.const(f"s{at}", scale), m.const(f"z{at}", zero, dtype)]
    return m.op("DequantizeLinear", m.op("QuantizeLinear", x, *numbers), *numbers)


def dense(m, x, shape=(6, 4), scale=0.07, bits=4):
    return m.op(
        "MatMul", x, m.quant(m.const(f"w{len(m.nodes)}", m.random.normal(0, 0.4, shape)), bits, scale, narrow=1)
    )


def normalised(m, x, channels=4):
    values = m.random.normal(0, 1, channels), m.random.normal(0, 1, channels), m.random.normal(0, 1, channels)
    names = [m.const(f"bn{at}", own) for at, own in enumerate(values)]
    return m.op("BatchNormalization", x, *names, m.const("bn3", m.random.uniform(0.2, 2, channels)))


# Scales, zero points and rounding ---------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "zero"), [(0.125, 128), (0.125, 3), (0.1, 0), (0.0173, 77)])
def test_integers_of_any_scale_and_zero_point_are_exact(tmp_path, scale, zero):
    graph = exact(tmp_path, lambda m: integers_and_back(m, dense(m, integers_and_back(m, "x", scale, zero)), 0.21, 19))
    assert graph.metadata["onnx"]["input_scale"] == (None if scale == 0.125 else np.float32(scale))


def test_a_static_quantisation_as_onnxruntime_writes_it_is_exact(tmp_path):
    """Weights of int8 with scales of their channels, a bias of int32 with the product of both scales, a ReLU."""

    def build(m):
        x = integers_and_back(m, "x", 0.031, 0, np.int8)
        scales = m.random.uniform(0.001, 0.01, 5).astype(np.float32)
        weight = m.const("w", m.random.integers(-127, 127, (5, 6)), np.int8)
        weight = m.op("DequantizeLinear", weight, m.const("ws", scales), m.const("wz", np.zeros(5), np.int8), axis=0)
        bias = m.const("b", m.random.integers(-999, 999, 5), np.int32)
        bias = m.op(
            "DequantizeLinear", bias, m.const("bs", scales * 0.031), m.const("bz", np.zeros(5), np.int32), axis=0
        )
        x = m.op("Relu", m.op("Gemm", x, weight, bias, transB=1))
        return integers_and_back(m, x, 0.0117, 0)

    assert (exact(tmp_path, build).output.fixed.low, exact(tmp_path, build).output.fixed.bits) == (0, 8)


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
@pytest.mark.parametrize(("signed", "narrow", "zero"), [(1, 0, 0), (1, 1, 2), (0, 0, -3), (0, 1, 1)])
def test_every_rounding_is_exact_with_any_scale_and_zero_point(tmp_path, mode, signed, narrow, zero):
    def build(m):
        nearest = mode not in ("FLOOR", "CEIL", "UP", "DOWN")  # else a sum that is 0 is itself where others round
        x = dense(m, m.quant("x", 6, 0.11 if nearest else 0.125), scale=0.07 if nearest else 0.125)
        return m.quant(x, 4, 0.29, signed, narrow, mode, zero)

    exact(tmp_path, build)


def test_scales_of_channels_are_exact_for_weights_and_activations(tmp_path):
    def build(m):
        scales = m.random.uniform(0.02, 0.2, (1, 4))
        x = m.op("MatMul", m.quant("x", 6, 0.11), m.quant(m.const("w", m.random.normal(0, 0.4, (6, 4))), 4, scales))
        return m.op("Mul", m.quant(normalised(m, x), 4, 0.17), m.const("two", 2.0))

    exact(tmp_path, build)
    exact(tmp_path, lambda m: m.quant(m.quant(dense(m, m.quant("x", 6, 0.11)), 4, [[0.1, 0.3, 0.7, 0.2]]), 4, 0.3))


def test_a_zero_point_of_weights_is_exact(tmp_path):
    exact(
        tmp_path,
        lambda m: m.op("MatMul", m.quant("x", 6, 0.25), m.quant(m.const("w", np.ones((6, 2))), 4, 0.5, zero=3)),
    )


def test_a_sum_of_more_bits_than_float32_has_is_exact(tmp_path):
    def build(m):
        x = dense(m, m.quant("x", 8, 0.25), (6, 6), 2.0**-9, 10)
        return dense(m, x, (6, 3), 2.0**-9, 10)

    graph = exact(tmp_path, build)
    assert graph.metadata["onnx"]["float64"]
    assert graph.output.fixed.bits > 24


def test_a_float_bias_at_the_end_is_exact_and_one_before_a_quantiser_costs_no_bits(tmp_path):
    def build(m, quantised):
        x = m.op("Add", dense(m, m.quant("x", 6, 0.25), scale=0.125), m.const("b", m.random.normal(0, 1, 4)))
        return m.quant(x, 5, 0.5) if quantised else x

    assert exact(tmp_path, lambda m: build(m, False)).output.fixed.bits > 24
    assert exact(tmp_path, lambda m: build(m, True)).output.fixed.bits == 5


def test_a_quant_of_the_new_name_and_a_bipolar_one_are_exact(tmp_path):
    def build(m):
        parameters = [m.const(name, value) for name, value in (("s", 0.125), ("z", 0.0), ("b", 8.0))]
        x = m.op("IntQuant", "x", *parameters, domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND")
        x = m.op("BipolarQuant", normalised(m, dense(m, x)), m.const("one", 0.7), domain=QONNX)
        return dense(m, x, (4, 2))

    exact(tmp_path, build)


@pytest.mark.parametrize("settings", [{}, {"out_scale": 0.3}, {"out_scale": 2.0, "out_bias": -3.0}])
def test_thresholds_are_exact(tmp_path, settings):
    def build(m):
        rows = np.sort(m.random.normal(0, 1, (4, 3)), axis=1)
        x = dense(m, m.quant("x", 6, 0.25), scale=0.125)
        return m.op("MultiThreshold", x, m.const("t", rows), domain=QONNX, out_dtype="UINT2", **settings)

    exact(tmp_path, build)


def test_truncation_of_a_mean_is_exact(tmp_path):
    def build(m):
        x = m.op("AveragePool", m.quant("x", 6, 0.125), kernel_shape=[2, 2], strides=[2, 2])
        parameters = [m.const(name, value) for name, value in (("s", 0.125), ("z", 0.0), ("b", 8.0), ("to", 6.0))]
        return m.op("Trunc", m.op("Mul", x, m.const("four", 4.0)), *parameters, domain=QONNX, rounding_mode="FLOOR")

    exact(tmp_path, build, (2, 4, 4))


# Functions ----------------------------------------------------------------------------------------------

PLAIN = ("Sigmoid", "Tanh", "HardSigmoid", "Elu", "Selu", "Softplus", "Softsign", "Exp", "Erf")
FUNCTIONS = {kind: {} for kind in (*PLAIN, "HardSwish", "Mish", "Abs", "Gelu")} | {"LeakyRelu": {"alpha": 0.3}}


@pytest.mark.parametrize("scale", [0.125, 0.11])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_and_the_quantiser_behind_it_are_exact(tmp_path, kind, scale):
    def build(m):
        return m.quant(m.op(kind, dense(m, m.quant("x", 5, scale), scale=0.125), **FUNCTIONS[kind]), 6, 0.0471)

    exact(tmp_path, build, opset=20)


def test_a_slope_of_few_bits_of_many_and_of_channels_is_exact(tmp_path):
    exact(tmp_path, lambda m: m.op("LeakyRelu", m.quant("x", 6, 0.1), alpha=0.125))
    exact(tmp_path, lambda m: m.quant(m.op("LeakyRelu", m.quant("x", 6, 0.25), alpha=0.0137), 6, 0.125))
    slopes = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    exact(tmp_path, lambda m: m.quant(m.op("PRelu", m.quant("x", 6, 0.25), m.const("a", slopes)), 6, 0.125))


@pytest.mark.parametrize("ends", [(0.0, 6.0), (-1.25, 1.0), (0.0, 7.75), (-2.0, 1.75), (-0.3, 0.7)])
def test_a_clip_is_exact(tmp_path, ends):
    def build(m):
        x = m.op("Clip", m.quant("x", 6, 0.25), *(m.const(f"end{at}", end) for at, end in enumerate(ends)))
        return m.quant(x, 6, 0.17) if ends[0] == -0.3 else x

    exact(tmp_path, build)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Sigmoid", "Tanh"])
def test_what_only_spreads_the_outputs_at_the_end_is_left_away(tmp_path, kind):
    graph = exact(tmp_path, lambda m: m.op(kind, dense(m, m.quant("x", 6, 0.25)), name="/end"))
    (said,) = graph.metadata["onnx"]["dropped"]
    assert said == f"{kind} '/end' at the end: outputs are what it reads, of which the largest is the same"


# Fields -------------------------------------------------------------------------------------------------


def kernel(m, shape, scale=0.07):
    return m.quant(m.const(f"k{len(m.nodes)}", m.random.normal(0, 0.4, shape)), 4, scale, narrow=1)


@pytest.mark.parametrize("settings", [{}, {"pads": [1, 2], "strides": [2]}, {"dilations": [2], "group": 2}])
def test_a_convolution_of_one_axis_is_exact(tmp_path, settings):
    shape = (4, 2 // settings.get("group", 1), 3)
    exact(tmp_path, lambda m: m.quant(m.op("Conv", m.quant("x", 5, 0.1), kernel(m, shape), **settings), 4, 0.3), (2, 9))


def test_a_convolution_with_scales_of_its_channels_and_a_float_bias_is_exact(tmp_path):
    def build(m):
        scales = m.random.uniform(0.02, 0.2, (4, 1, 1, 1))
        x = m.op(
            "Conv", m.quant("x", 5, 0.1), kernel(m, (4, 1, 2, 2), scales), m.const("b", [0.1, 0.2, 0.3, -0.4]), group=2
        )
        return m.quant(m.op("MaxPool", m.op("Relu", normalised(m, x)), kernel_shape=[2, 2]), 4, 0.1, 0)

    exact(tmp_path, build, (2, 4, 4))


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": [2, 2]},
        {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"dilations": [2, 1], "strides": [1, 2]},
    ],
)
def test_a_transposed_convolution_is_exact(tmp_path, settings):
    exact(
        tmp_path,
        lambda m: m.op("ConvTranspose", m.quant("x", 5, 0.25), kernel(m, (2, 3, 2, 3), 0.125), **settings),
        (2, 3, 3),
    )


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER"},
    ],
)
def test_a_pooling_is_exact(tmp_path, kind, settings):
    exact(tmp_path, lambda m: m.quant(m.op(kind, m.quant("x", 5, 0.25), **settings), 6, 0.0913), (1, 5, 4))


def test_a_mean_of_any_number_is_exact(tmp_path):
    exact(tmp_path, lambda m: m.quant(m.op("GlobalAveragePool", m.quant("x", 5, 0.125)), 6, 1 / 16), (2, 6, 6))
    exact(tmp_path, lambda m: m.op("Flatten", m.op("GlobalAveragePool", m.quant("x", 5, 0.1))), (2, 3, 3))
    exact(tmp_path, lambda m: m.quant(m.op("ReduceMean", m.quant("x", 5, 0.1), axes=[1], keepdims=0), 6, 0.03), (3, 4))
    exact(tmp_path, lambda m: m.op("GlobalMaxPool", m.quant("x", 5, 0.1)), (2, 3, 3))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_padding_is_exact(tmp_path, mode):
    def build(m):
        return m.op("Pad", m.quant("x", 5, 0.1), m.const("pads", [0, 0, 1, 2, 0, 0, 2, 1], np.int64), mode=mode)

    exact(tmp_path, build, (2, 4, 4))


def test_moves_of_elements_are_exact_and_take_float_operators_with_them(tmp_path):
    def build(m):
        x = m.op("Conv", m.quant("x", 5, 0.1), kernel(m, (4, 2, 1, 1)))
        one, other = (m.op("Split", normalised(m, x), axis=1, outputs=2), "/Split_7_output_1")
        x = m.op("Concat", m.quant(other, 5, 0.3), m.quant(one, 5, 0.3), axis=1)
        scales = m.const("by", [1.0, 1.0, 2.0, 2.0])
        x = m.op(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
        return m.op("Flatten", m.op("Tile", x, m.const("times", [1, 1, 2, 1], np.int64)))

    def rename(proto):
        split = next(node for node in proto.graph.node if node.op_type == "Split")
        split.output[1] = "/Split_7_output_1"

    exact(tmp_path, build, (2, 2, 3), change=rename)


def test_a_field_flattened_before_it_is_quantised_is_exact(tmp_path):
    def build(m):
        x = normalised(m, m.op("Conv", m.quant("x", 5, 0.1), kernel(m, (4, 2, 2, 2))))
        return m.quant(m.op("Relu", m.op("Flatten", x)), 4, 0.2, 0)

    exact(tmp_path, build, (2, 3, 3))


@pytest.mark.parametrize("kind", ["Max", "Min"])
def test_the_largest_and_the_smallest_of_two_tensors_are_exact(tmp_path, kind):
    exact(tmp_path, lambda m: m.op(kind, m.quant("x", 5, 0.1), m.op("Neg", m.quant("x", 5, 0.1))))


def test_exports_with_channels_last_are_exact(tmp_path):
    def build(m):
        ones = {"strides": [1, 1], "dilations": [1, 1], "group": 1}
        x = m.op(
            "Conv",
            m.quant("x", 5, 0.125),
            kernel(m, (4, 3, 3, 2), 0.125),
            kernel_shape=[3, 3],
            pads=[1] * 4,
            domain=LAST,
            **ones,
        )
        x = m.quant(x, 5, 0.25)
        return m.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, ceil_mode=0, domain=LAST)

    graph = exact(tmp_path, build, (4, 6, 2), change=lambda proto: proto.opset_import.add(domain=LAST, version=1))
    assert graph.input.shape == (4, 6, 2)
    assert graph.output.shape == (2, 3, 4)


# Inputs, outputs and constants --------------------------------------------------------------------------


def test_several_inputs_and_outputs_are_exact(tmp_path):
    def build(m):
        x, y = m.quant("x", 5, 0.25), m.quant("y", 5, 0.25)
        return m.op("Add", x, y), dense(m, y), m.op("Mul", x, y)

    graph = exact(tmp_path, build, inputs=("x", "y"))
    assert (graph.input.shape, graph.output.shape) == ((12,), (16,))


def test_pixels_are_integers_of_their_type(tmp_path):
    def pixels(proto):
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8

    graph = exact(tmp_path, lambda m: dense(m, m.op("Flatten", m.op("Cast", "x", to=1)), (8, 3)), (2, 4), change=pixels)
    assert graph.input.fixed == Fixed(False, 8, 8)


def test_constants_are_folded_whatever_the_operator(tmp_path):
    def build(m):
        root = m.op("Sqrt", m.op("Relu", m.const("c", [16.0])))
        return m.op("Mul", m.quant("x", 5, 0.25), m.op("Where", m.op("Less", root, m.const("d", [9.0])), root, root))

    assert exact(tmp_path, build).output.fixed.fraction == 0


def test_data_of_a_user_state_the_format_and_what_is_clipped_is_said(tmp_path):
    model = Model((6,))
    path = model.save(tmp_path / "m.onnx", dense(model, "x"))
    x = np.random.default_rng(0).integers(-80, 80, (50, 6)) / 16
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(50) % 4)
    with pytest.raises(ModelError, match=r"reads input 'x' without a Quant before it, .* or --data"):
        imported.import_onnx(path, tmp_path / "out")
    made = imported.import_onnx(path, tmp_path / "out", ImportPlan(data=tmp_path / "mine.npz"))
    assert made.warnings[0] == "input format fixed<8,4>, which holds the data; --input-format states another"
    assert set(made.model.card.metrics) == {"accuracy", "accuracy_error", "examples"}
    made = imported.import_onnx(
        path, tmp_path / "out", ImportPlan(Fixed(True, 6, 2), data=tmp_path / "mine.npz", force=True)
    )
    assert "input values are beyond fixed<6,2> and are clipped; the data reach -5..4.9375" in made.warnings[0]


def test_a_model_without_quantisers_is_told_how_to_get_some(tmp_path):
    model = Model((6,))
    path = model.save(tmp_path / "m.onnx", model.op("MatMul", "x", model.const("w", model.random.normal(0, 1, (6, 2)))))
    with pytest.raises(
        ModelError, match=r"it has float weights and no quantisers; quantise it first: `edgephys quantise"
    ):
        from_onnx.lower(onnx_file.read(path), "m", SMALL)


# Targets ------------------------------------------------------------------------------------------------


def free_scales(m):
    x = m.quant(normalised(m, dense(m, m.quant("x", 4, 0.13), (3, 3)), 3), 4, 0.3)
    return m.quant(m.op("Tanh", dense(m, x, (3, 2), 0.21)), 5, 0.07, zero=2)


@pytest.mark.parametrize(
    "target", ["c", "onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rtl", "hls"))]
)
def test_scales_that_are_no_powers_of_two_are_exact_on_every_target(tmp_path, target):
    graph = exact(tmp_path, free_scales, (3,))
    (tmp_path / "sources").mkdir()
    facts = TARGETS[target].emit(graph, tmp_path / "sources", TARGETS[target].options())
    x = stimuli.make(graph)[:200]
    expected = OnnxReference(onnx.load(tmp_path / "model" / "model.onnx"), graph).outputs(x)
    assert np.array_equal(evaluate.run(graph, x), expected)
    assert np.array_equal(TARGETS[target].run(tmp_path / "sources", facts, x).outputs, expected)
