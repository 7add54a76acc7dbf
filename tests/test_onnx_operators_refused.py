"""Operators of an ONNX file without an exact form are refused by the name of their node."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import QONNX, Model, built, read

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.models import imported
from edgephys.models.import_plan import ImportPlan


def refused(tmp_path, message, add, shape=(4,), quantised=True, input_format=None):
    model = Model(shape)
    x = model.quant("x", 6, 0.25) if quantised else "x"
    path = built(model, tmp_path, add(model, x))
    with pytest.raises(ModelError, match=message) as caught:
        read(path, input_format)
    assert "\n" not in str(caught.value)


FLOAT = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize(
    ("message", "add"),
    [
        (
            r"node '/sin' \(Sin\): has no exact form in fixed point; use one of Abs, .* or end the model before it",
            lambda m, x: m.op("Sin", x, name="/sin"),
        ),
        (r"\(com.microsoft.Gelu\): has no exact form", lambda m, x: m.op("Gelu", x, domain="com.microsoft")),
        (r"\(ONNX's own Quant\): has no exact form", lambda m, x: m.op("Quant", x, x, x, x)),
        (
            r"node '/fc' \(MatMul\): weight 'fc.weight' is float, without a Quant, and needs \d+ bits; quantise it",
            lambda m, x: m.op("MatMul", x, m.const("fc.weight", FLOAT), name="/fc"),
        ),
        (
            r"\(MatMul\): reads values whose channels have scales of their own; put a Quant of one",
            lambda m, x: m.op("MatMul", channels_of_their_own(m, x), m.weight("w", (4, 4)), name="/fc"),
        ),
        (
            r"node '/bias' \(Add\): its float result goes to '/fc' \(MatMul\), which no integers give exactly; put a",
            lambda m, x: m.op("MatMul", float_bias(m, x), m.weight("w", (4, 4)), name="/fc"),
        ),
        (
            r"\(Add\): joins values of scales 0.2 and 0.09, of which no integers are a multiple; use one scale",
            lambda m, x: m.op("Add", m.quant(x, 4, 0.2), m.op("Mul", channels_of_their_own(m, x), m.const("f", 0.3))),
        ),
        (
            r"\(Quant\): for the sum -31 \(of -32\.\.31\) two floats round apart: the value is as close to a tie as",
            lambda m, x: m.quant(m.quant(m.op("Div", m.quant(x, 6, 0.1), m.const("two", 2.0)), 6, 0.1), 6, 0.1),
        ),
        (
            r"output '/Mul_\d+_output_0' has scales of its channels, or a negative one, no powers of two; end it",
            lambda m, x: channels_of_their_own(m, x),
        ),
        (
            r"\(MatMul\): weight 'w' needs \d\d bits together, of which at most 24 are exact in float32; use scales",
            lambda m, x: m.op("MatMul", x, m.quant(m.const("w", np.ones((4, 2))), 4, np.array([1.0, 2.0**-30]))),
        ),
        (r"its scale must be 9e-19\.\.1e\+18, not 0\b", lambda m, x: m.quant(x, 4, [1.0, 0.0, 1.0, 1.0])),
        (r"its zero point must be one whole number, not 3.5", lambda m, x: m.quant(x, 4, 1.0, zero=3.5)),
        (r"its bit width must be one whole number 1\.\.24, not 3.5", lambda m, x: m.quant(x, 3.5, 1.0)),
        (r"its rounding mode must be one of .*, not ODD; use ROUND", lambda m, x: m.quant(x, 3, 1.0, mode="ODD")),
        (
            r"\(Quant\): its scale must be a constant, not computed from the input",
            lambda m, x: m.op("Quant", x, x, m.const("z", 0), m.const("b", 4), domain=QONNX, signed=1, narrow=0),
        ),
        (r"\(Quant\): expected 4 inputs, not 2", lambda m, x: m.op("Quant", x, m.const("s", 1), domain=QONNX)),
        (r"\(MatMul\): its inputs must be matrices of one rank behind", lambda m, x: m.op("MatMul", x, x)),
        (r"\(Div\): its divisor 'none' must not be 0", lambda m, x: m.op("Div", x, m.const("none", 0.0))),
        (
            r"\(Gemm\): alpha must be a power of two, with any sign, not 3; export it as 1",
            lambda m, x: m.op("Gemm", x, m.weight("w", (4, 4)), alpha=3.0),
        ),
        (
            r"\(Gemm\): transA must be 0, not 1: vectors of a batch do not meet",
            lambda m, x: m.op("Gemm", x, m.weight("w", (4, 4)), transA=1),
        ),
        (r"\(ReduceMax\): its axes must be stated", lambda m, x: m.op("ReduceMax", x)),
        (
            r"\(ReduceMin\): axis must be 1\.\.1, not 0: vectors of a batch do not meet",
            lambda m, x: m.op("ReduceMin", x, axes=[0]),
        ),
        (r"weight must be a matrix whose rows are", lambda m, x: m.op("MatMul", x, m.weight("w", (3, 4)))),
        (r"\(ReduceSum\): its axes must be stated", lambda m, x: m.op("ReduceSum", x)),
        (
            r"\(ReduceSum\): axis must be 1\.\.1, not 0: vectors of a batch do not meet",
            lambda m, x: m.op("ReduceSum", x, m.const("axes", [0], np.int64)),
        ),
        (r"\(Transpose\): perm must leave the batch first, not \[1, 0\]", lambda m, x: m.op("Transpose", x)),
        (
            r"\(Reshape\): shape \[2, 2\] does not keep the batch and 4 elements a vector",
            lambda m, x: m.op("Reshape", x, m.const("to", [2, 2], np.int64)),
        ),
        (r"\(Flatten\): axis must be 1, which keeps the batch, not 2", lambda m, x: m.op("Flatten", x, axis=2)),
        (
            r"\(LogSoftmax\): has no exact form in fixed point; only at the end of a model is it left away",
            lambda m, x: m.quant(m.op("LogSoftmax", x), 4, 0.25),
        ),
        (r"\(Cast\): must keep floats", lambda m, x: m.op("Cast", x, to=TensorProto.INT32)),
        (
            r"\(Add\): its inputs of \(4,\) and \(3,\) must have shapes that broadcast; repeat one before",
            lambda m, x: m.op("Add", x, m.op("MatMul", x, m.weight("w", (4, 3)))),
        ),
        (
            r"\(Add\): 'c' of shape \(3, 4\) does not fit a tensor of \(4,\)",
            lambda m, x: m.op("Add", x, m.const("c", np.ones((3, 4)))),
        ),
        (r"\(Concat\): 'c' is a constant where", lambda m, x: m.op("Concat", x, m.const("c", [[1.0]]), axis=1)),
        (
            r"layer 'fc4': it needs \d+ bits, but ONNX sums in floats, which hold at most 53 exactly",
            lambda m, x: twelve(m, twelve(m, twelve(m, twelve(m, x, "fc1"), "fc2"), "fc3"), "fc4"),
        ),
        (
            r"\(BatchNormalization\): its float result goes to '/\w+' \(the end of the model\), which no integers give",
            lambda m, x: m.op("BatchNormalization", x, *(m.const(f"bn{k}", np.full(4, 0.3)) for k in range(4))),
        ),
        (
            r"\(NoSuch\): cannot be folded into a constant \(.*\); fold it before \(qonnx-cleanup\)",
            lambda m, x: m.op("Mul", x, m.op("NoSuch", m.const("c", [2.0]))),
        ),
        (
            r"\(Concat\): an attribute or input of it is missing or malformed \(no 'axis'\)",
            lambda m, x: m.op("Concat", x, x),
        ),
        (
            r"its scales differ by 2\*\*30, at most by 2\*\*24; bring them closer",
            lambda m, x: m.quant(x, 4, 2.0 ** np.array([0, -30, 0, 0])),
        ),
        (
            r"\(MatMul\): reads the integers of a QuantizeLinear; put a DequantizeLinear between them",
            lambda m, x: m.op("MatMul", integers_of(m, x), m.weight("w", (4, 4))),
        ),
        (
            r"\(Clip\): its float result goes to '/\w+' \(the end of the model\), which no integers give exactly",
            lambda m, x: m.op("Clip", x, m.const("low", 0.0), m.const("high", 5.9)),
        ),
        (
            r"\(DequantizeLinear\): must read a QuantizeLinear, with one scale and one zero point",
            lambda m, x: m.op("DequantizeLinear", integers_of(m, x), m.const("other", [0.3, 0.5])),
        ),
        (
            r"\(QuantizeLinear\): its integers must be of 4, 8 or 16 bits, not int32",
            lambda m, x: m.op("QuantizeLinear", x, m.const("one", 1.0), m.const("zero", 0, np.int32)),
        ),
        (
            r"its output '/QuantizeLinear_1_output_0' holds integers; end it with a DequantizeLinear",
            lambda m, x: integers_of(m, x),
        ),
        (r"\(Conv\): fields must have 1 or 2 axes, not 0", lambda m, x: m.op("Conv", x, m.weight("w", (1, 1, 1, 1)))),
    ],
)
def test_what_has_no_exact_form_is_refused_by_the_name_of_its_node(tmp_path, message, add):
    refused(tmp_path, message, add)


def integers_of(model, x):
    return model.op("QuantizeLinear", x, model.const("s", 0.5), model.const("z", 0, np.int8))


def float_bias(model, x):
    return model.op("Add", x, model.const("b", FLOAT[:, 0]), name="/bias")


def channels_of_their_own(model, x):
    return model.op("Mul", x, model.const("own", [0.3, 0.5, 0.7, 0.9]))


def twelve_bits(model, name):
    return model.quant(model.const(f"{name}.weight", np.full((4, 4), 2001.0)), 12, 1.0)


def twelve(model, x, name):
    return model.op("MatMul", x, twelve_bits(model, name), name=f"/{name}")


@pytest.mark.parametrize(
    ("message", "settings_"),
    [
        (r"2 groups of 3 channels do not fit 3 channels", {"group": 2}),
        (r"a kernel of \[18000001, 3\] must have at most 4096 taps", {"dilations": [9000000, 1]}),
        (r"a kernel of \[3, 3\] is larger than its field of \[6, 6\]", {"dilations": [3, 3]}),
    ],
)
def test_a_convolution_that_is_not_computed_is_refused(tmp_path, message, settings_):
    refused(tmp_path, message, lambda m, x: m.op("Conv", x, m.weight("w", (2, 3, 3, 3)), **settings_), shape=(3, 6, 6))


@pytest.mark.parametrize(
    "settings_",
    [
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"dilations": [2, 1]},
        {"strides": [3, 2]},
        {"pads": [2, 3, 2, 1]},
        {"pads": [3, 3, 1, 3], "dilations": [2, 1], "strides": [1, 2]},
    ],
)
@pytest.mark.parametrize("size", [(2, 3), (1, 4)])
def test_every_convolution_else_is_what_qonnx_computes(tmp_path, settings_, size):
    model = Model((3, 6, 7))
    x = model.op("Conv", model.quant("x", 5, 0.5), model.weight("w", (2, 3, *size)), **settings_)
    imported.import_onnx(built(model, tmp_path, x), tmp_path / "out", ImportPlan(count=10))


def test_an_input_that_no_quantiser_fixes_asks_for_its_format(tmp_path):
    def add(model, x):
        return model.op("MatMul", x, model.weight("w", (4, 3)), name="/fc")

    refused(
        tmp_path,
        r"node '/fc' \(MatMul\): reads input 'x' without a Quant before it, so nothing states the input's format; "
        r"give it, such as --input-format 'fixed<16,6>'",
        add,
        quantised=False,
    )
    model = Model((4,))
    path = built(model, tmp_path, add(model, "x"))
    assert read(path, Fixed.of_text("fixed<8,4>")).input.fixed == Fixed(True, 8, 4)


def test_an_input_quantised_in_two_ways_asks_for_its_format(tmp_path):
    def add(model, x):
        return model.op("Add", model.quant("x", 4, 1.0), model.quant("x", 5, 1.0))

    refused(tmp_path, r"\(Quant\): the input 'x' must be quantised in one way", add, quantised=False)
    refused(tmp_path, "the input 'x' must be quantised in one way", lambda m, x: m.quant("x", 1, 1.0), quantised=False)


def test_a_model_that_does_not_read_its_input_is_refused(tmp_path):
    model = Model((4,))
    path = built(model, tmp_path, model.quant(model.const("c", np.ones(4)), 4, 1.0))
    with pytest.raises(ModelError, match="nothing reads its input 'x'"):
        read(path)
    with pytest.raises(ModelError, match=r"its output '.*' does not depend on its input"):
        read(path, Fixed(True, 8, 4))
