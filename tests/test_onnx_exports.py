"""What exporters write around the numbers of an ONNX file: shapes, slices, casts, resizes; exact, or refused."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import Model, built, read
from test_onnx_kinds import exact, integers_and_back

from edgephys.core.errors import MismatchError, ModelError
from edgephys.models import onnx_framework

LAST = np.iinfo(np.int64).max


def whole(m, *numbers):
    return m.const(f"whole{len(m.initialisers)}", numbers, np.int64)


def floats(m, *numbers):
    return m.const(f"floats{len(m.initialisers)}", numbers)


@pytest.mark.parametrize(
    ("starts", "ends", "steps", "axes"),
    [
        ((0, 0, 2), (LAST, LAST, 4), (1, 1, 1), None),
        ((0, -1), (LAST, -LAST), (1, -2), (0, 1)),
        ((LAST,), (-LAST - 1,), (-1,), (-1,)),
        ((-2,), (-9,), (-1,), (2,)),
        ((1,), (-1,), (2,), (-2,)),
    ],
)
def test_a_slice_is_exact_with_and_without_axes_and_of_the_whole_batch(tmp_path, starts, ends, steps, axes):
    def build(m):
        stated = "" if axes is None else whole(m, *axes)
        return m.op("Slice", m.quant("x", 5, 0.1), whole(m, *starts), whole(m, *ends), stated, whole(m, *steps))

    exact(tmp_path, build, (4, 5))


@pytest.mark.parametrize(
    ("part", "before", "after", "shape"),
    [
        ({"start": 1}, (0,), (), (4, 3)),
        ({"start": -2, "end": -1}, (0,), (3,), (4, 3)),
        ({"end": 1}, (), (6, 2), (6, 2)),
    ],
)
def test_a_part_of_a_shape_is_what_a_reshape_reads(tmp_path, part, before, after, shape):
    def build(m):
        x = m.quant("x", 5, 0.1)
        parts = [m.op("Shape", x, **part)]
        parts = [*([whole(m, *before)] if before else []), *parts, *([whole(m, *after)] if after else [])]
        return m.op("Relu", m.op("Reshape", x, m.op("Concat", *parts, axis=0)))

    assert exact(tmp_path, build, (4, 3), opset=15).output.shape == shape


@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8])
def test_constants_that_are_cast_are_what_the_type_holds_of_them(tmp_path, to):
    def build(m):
        cast = m.op("Cast", floats(m, 0.0, 2.7, 0.5, 1.0, 3.2, 0.9), to=to)
        return m.op("Mul", m.quant("x", 5, 0.125), m.op("Cast", cast, to=TensorProto.FLOAT))

    exact(tmp_path, build)


def test_integers_are_divided_towards_zero_and_as_floats_once_they_are_cast(tmp_path):
    def build(m):
        x, sevens = m.quant("x", 5, 0.125), whole(m, -7, 7, -1, 3, 5, -5)
        down = m.op("Cast", m.op("Div", sevens, whole(m, 2, 2, 2, -2, 2, 2)), to=TensorProto.FLOAT)
        halves = m.op("Div", m.op("Cast", sevens, to=TensorProto.FLOAT), floats(m, 2.0))
        return m.op("Add", m.op("Add", x, down), halves)

    exact(tmp_path, build)


RESIZES = {
    "thirds of old exporters": (10, (1, 1, 1 / 3, 1 / 3), {"mode": "nearest"}),
    "larger by old exporters": (10, (1, 1, 2, 3), {"mode": "nearest"}),
    "thirds, asymmetric": (13, (1, 1, 1 / 3, 0.6), {"coordinate_transformation_mode": "asymmetric"}),
    "half pixels": (13, (1, 1, 0.4, 1.5), {"nearest_mode": "round_prefer_ceil"}),
}


@pytest.mark.parametrize("name", RESIZES)
def test_the_nearest_pixel_is_the_one_that_runtimes_take(tmp_path, name):
    opset, scales, settings = RESIZES[name]

    def build(m):
        more = () if opset < 11 else ("",)
        return m.op("Resize", m.quant("x", 5, 0.125), *more, floats(m, *scales), **settings)

    exact(tmp_path, build, (2, 6, 6), opset=opset)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_resize_to_sizes_is_exact_for_a_batch_that_the_file_states(tmp_path, batch):
    def build(m):
        return m.op("Resize", m.quant("x", 5, 0.125), "", "", whole(m, batch, 2, 7, 3), mode="nearest")

    assert exact(tmp_path, build, (2, 5, 5), batch=batch).output.shape[-3:] == (2, 7, 3)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 1)])
def test_a_mean_with_its_padding_counts_no_element_behind_it(tmp_path, pads):
    settings = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": pads, "ceil_mode": 1, "count_include_pad": 1}
    exact(tmp_path, lambda m: m.quant(m.op("AveragePool", m.quant("x", 5, 0.125), **settings), 6, 0.0625), (1, 5, 6))


def between(m, operator, *inputs, **settings):
    """Return an operator on the integers between a QuantizeLinear and its DequantizeLinear, of zero point 3."""
    end = integers_and_back(m, "x", 0.125, 3)
    back = m.nodes.pop()
    back.input[0] = m.op(operator, back.input[0], *inputs, **settings)
    m.nodes.append(back)
    return end


def test_integers_are_padded_with_their_zero_point(tmp_path):
    def build(m, value=3):
        return between(m, "Pad", whole(m, 0, 0, 1, 1, 0, 0, 1, 0), m.const("value", value, np.uint8))

    exact(tmp_path, build, (1, 3, 3))
    with pytest.raises(ModelError, match=r"\(Pad\): must pad with 3, not 0; add a constant before and after it$"):
        exact(tmp_path, lambda m: build(m, 0), (1, 3, 3))


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (
            lambda m, x: m.op("Dropout", x, floats(m, 0.5), m.const("on", True, bool)),
            r"\(Dropout\): is in training mode; export the model in evaluation mode$",
        ),
        (
            lambda m, x: m.op("Resize", x, "", "", whole(m, 1, 2, 4, 4), mode="nearest"),
            r"\(Resize\): its sizes must keep the batch, not make it 1; state scales, or the batch$",
        ),
        (
            lambda m, x: m.op("Resize", x, "", floats(m, 2, 1, 2, 2), mode="nearest"),
            r"\(Resize\): its scales must keep the batch, not multiply it by 2; begin them with 1$",
        ),
        (lambda m, x: m.op("Flatten", x, axis=0), r"\(Flatten\): axis must be 1, which keeps the batch, not 0; "),
        (lambda m, x: m.op("Reshape", x, whole(m, 1, 18)), r"\(Reshape\): shape \[1, 18\] does not keep the batch "),
        (
            lambda m, x: m.op("Slice", x, whole(m, 1), whole(m, LAST), whole(m, 0)),
            r"\(Slice\): axis must be 1..3, not 0: vectors of a batch do not meet$",
        ),
    ],
)
def test_what_would_mix_the_batch_or_draw_numbers_is_refused(tmp_path, add, message):
    model = Model((2, 3, 3))
    with pytest.raises(ModelError, match=message):
        read(built(model, tmp_path, add(model, model.quant("x", 6, 0.25)), batch="N"))


def test_outputs_of_another_shape_than_the_files_are_a_fault_that_is_said(tmp_path, monkeypatch):
    outputs = onnx_framework.OnnxReference.outputs
    monkeypatch.setattr(onnx_framework.OnnxReference, "outputs", lambda self, x: outputs(self, x)[:1])
    message = r"expected outputs of the shape that the ONNX file has, \(6,\) of 1 vectors, found \(6,\) of 64; this"
    with pytest.raises(MismatchError, match=message):
        exact(tmp_path, lambda m: m.op("Relu", m.quant("x", 5, 0.125)))
