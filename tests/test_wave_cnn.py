"""Networks on fields: formats against the one kernel that they equal, and one contract for all of them."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_models import random_net

from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.ops import Dense
from edgephys.models.files.keras import lower
from edgephys.models.trained import load_keras
from edgephys.networks.backend import keras, predict
from edgephys.networks.decompositions import FORMATS
from edgephys.networks.kernels import matrix, spread
from edgephys.networks.layers import FrameSum
from edgephys.networks.widths import convolution

SMALL = WaveCnn(grid=6, width=3, depth=2)
NETS = {name: replace(SMALL, format=name) for name in FORMATS}

# Formats ------------------------------------------------------------------------------------------

TABLE = {
    "full": lambda ci, co, kh, kw, rank: kh * kw * ci * co,
    "one_way": lambda ci, co, kh, kw, rank: co * (ci + kh + kw),
    "cp": lambda ci, co, kh, kw, rank: rank * (ci + kh + kw + co),
    "spatial": lambda ci, co, kh, kw, rank: kh * ci * rank + kw * rank * co,
    "depthwise": lambda ci, co, kh, kw, rank: kh * kw * ci + ci * co,
}
SIZES = st.tuples(*[st.integers(1, 5)] * 2)


def weights(parts):
    return sum(part.parameters for part in parts)


@pytest.mark.parametrize("name", FORMATS)
@given(st.integers(1, 99), st.integers(1, 99), SIZES, st.integers(1, 99))
def test_a_format_has_the_parameters_of_the_table(name, inputs, outputs, size, rank):
    assert weights(FORMATS[name](inputs, outputs, size, rank)) == TABLE[name](inputs, outputs, *size, rank)


@pytest.mark.parametrize(
    ("name", "count"), [("full", 36864), ("one_way", 4480), ("cp", 8576), ("spatial", 24576), ("depthwise", 4672)]
)
def test_3_by_3_kernels_of_64_channels_have_the_published_parameters(name, count):
    assert weights(FORMATS[name](64, 64, (3, 3), 64)) == count


def kernels_of(parts, seed=0, largest=9):
    generator = np.random.default_rng(seed)
    return [generator.integers(-largest, largest + 1, part.shape) for part in parts]


def outer_products(name, kernels):
    """Return the full kernel from the sums that define a format."""
    if name == "full":
        return kernels[0]
    if name == "depthwise":
        return np.einsum("hwi,io->hwio", kernels[0][..., 0], kernels[1][0, 0])
    if name == "spatial":
        return np.einsum("him,wmo->hwio", kernels[0][:, 0], kernels[1][0])
    mix, down, across = kernels[0][0, 0], kernels[1][:, 0, :, 0], kernels[2][0, :, :, 0]
    if name == "one_way":  # of each output the outer product of three vectors
        each = [np.multiply.outer(np.multiply.outer(h, w), i) for h, w, i in zip(down.T, across.T, mix.T, strict=True)]
        return np.stack(each, -1)
    return np.einsum("hr,wr,ir,ro->hwio", down, across, mix, kernels[3][0, 0])


def equivalent_kernel(parts, kernels):
    """Return the kernel of the one full convolution that parts, one after another, equal."""
    pairs = zip(parts, kernels, strict=True)
    return reduce(composed, (spread(kernel) if part.depthwise else kernel for part, kernel in pairs))


def composed(first, second):
    """Return the kernel that computes ``second`` of what ``first`` computes: offsets add, channels are summed over."""
    rows, columns = first.shape[0] + second.shape[0] - 1, first.shape[1] + second.shape[1] - 1
    kernel = np.zeros((rows, columns, first.shape[2], second.shape[3]), np.result_type(first, second))
    for dy, dx in np.ndindex(second.shape[:2]):
        kernel[dy : dy + first.shape[0], dx : dx + first.shape[1]] += first @ second[dy, dx]
    return kernel


@pytest.mark.parametrize("name", FORMATS)
@given(st.integers(1, 4), st.integers(1, 4), SIZES, st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=30)
def test_the_kernel_that_parts_equal_is_that_of_the_formats_outer_products(name, inputs, outputs, size, rank, seed):
    parts = FORMATS[name](inputs, outputs, size, rank)
    kernels = kernels_of(parts, seed)
    assert (equivalent_kernel(parts, kernels) == outer_products(name, kernels)).all()


def chained(builder, x, parts, kernels):
    for part, kernel in zip(parts, kernels, strict=True):
        whole = spread(kernel) if part.depthwise else kernel
        x = builder.dense(
            part.name, builder.window(f"{part.name}_window", x, part.size), whole.reshape(-1, whole.shape[-1]), 0
        )
    return x


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(3, 3), (5, 3)])
def test_a_stage_is_one_full_convolution_in_integers_up_to_the_edges(name, size):
    parts = FORMATS[name](3, 4, size, 2)
    kernels = kernels_of(parts)
    whole = FORMATS["full"](3, 4, size, 0), [equivalent_kernel(parts, kernels)]
    x = np.random.default_rng(1).integers(-128, 128, (20, 6, 5, 3))
    found = []
    for stage in ((parts, kernels), whole):
        builder = Builder("stage")
        graph = builder.finish(chained(builder, builder.input("x", (6, 5, 3), Fixed(True, 8, 8)), *stage))
        found.append(graph.output.fixed.values(evaluate.run(graph, x)))
    assert (found[0] == found[1]).all() and len(np.unique(found[0])) > 100


@pytest.mark.parametrize("name", FORMATS)
def test_a_stage_is_one_full_convolution_in_float_keras(name):
    parts = FORMATS[name](3, 4, (3, 3), 2)
    kernels = [kernel / 9 for kernel in kernels_of(parts)]
    x = np.random.default_rng(1).normal(size=(5, 6, 5, 3)).astype(np.float32)
    made = x
    for part, kernel in zip(parts, kernels, strict=True):
        layer = convolution(part, None, "c", bias=part is parts[-1])
        layer.build(made.shape)
        layer.set_weights([kernel, *([np.arange(4.0)] if part is parts[-1] else [])])
        made = np.asarray(layer(made))
    whole = keras.layers.Conv2D(4, 3, padding="same")
    whole.build(x.shape)
    whole.set_weights([equivalent_kernel(parts, kernels), np.arange(4.0)])
    np.testing.assert_allclose(made, np.asarray(whole(x)), rtol=1e-4, atol=1e-4)


def test_kernels_start_with_the_variance_of_what_one_output_reads():
    for name in FORMATS:
        for part in FORMATS[name](48, 40, (3, 5), 44):
            layer = convolution(part, None, "c", gain=1.5)
            layer.build((None, 4, 4, part.inputs))
            read = np.prod(part.size) * (1 if part.depthwise else part.inputs)
            assert np.var(layer.kernel.numpy()) == pytest.approx(1.5 / read, rel=0.25), (name, part.name)


def test_a_depthwise_kernel_is_a_matrix_that_is_zero_off_the_channel():
    (part, _) = FORMATS["depthwise"](2, 1, (1, 3), 0)
    found = matrix(convolution(part, 8, "c"), np.arange(1, 7).reshape(1, 3, 2, 1))
    assert found.tolist() == [[1, 0], [0, 2], [3, 0], [0, 4], [5, 0], [0, 6]]


# The contract of every format ----------------------------------------------------------------------


def fields(net, count, seed=1):
    shape = (count, net.grid, net.grid, net.frames + 1)
    return np.random.default_rng(seed).integers(net.input.low, net.input.high, shape, endpoint=True)


@pytest.mark.parametrize("bits", [8, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETS)
def test_a_network_trains_a_step_saves_loads_lowers_and_equals_keras(name, bits, tmp_path):
    net = replace(NETS[name], bits=bits)
    model = random_net(net)
    before = model.get_weights()
    model.compile("adam", "mse", run_eagerly=True)
    x = fields(net, 40)
    values = net.input.values(x).astype(np.float32)
    assert np.isfinite(model.train_on_batch(values, values[..., :1]))
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "m.keras")
    again = load_keras(tmp_path / "m.keras")
    graph = lower(again, net.input, "wave")
    golden = net.input.values(evaluate.run(graph, x))
    assert (golden == predict(again, values, 512)).all() and len(np.unique(golden)) > 50


@pytest.mark.parametrize("name", NETS)
def test_the_weights_are_those_of_the_formats_and_one_bias_a_stage(name):
    net = WaveCnn(format=name, width=16, depth=4, kernel_size=5, bits=None)
    sizes = [(3, 16), (16, 16), (16, 16), (16, 16), (16, 1)]
    expected = sum(TABLE[name](taken, given, 5, 5, 16) + given for taken, given in sizes)
    assert net.build().count_params() == expected


def test_the_rank_is_that_of_cp_and_the_middle_of_spatial():
    for name in ("cp", "spatial"):
        parts = WaveCnn(format=name, rank=5).stages()["stage_2"]
        assert weights(parts) == TABLE[name](16, 16, 3, 3, 5)


def test_no_part_of_a_stage_has_an_activation_but_the_last():
    names = [layer.name for layer in WaveCnn(format="cp", depth=1, skip="none").build().layers]
    parts = [f"{stage}_{part}" for stage in ("stage_1", "last") for part in ("mix", "down", "across")]
    assert [name for name in names if "relu" in name] == ["stage_1_relu"]
    assert [name for name in names if name.endswith("_quantised")] == [f"{of}_quantised" for of in (*parts, "next")]


def test_a_float_network_has_no_quantiser():
    kinds = {type(layer).__name__ for layer in WaveCnn(format="one_way", bits=None).build().layers}
    assert kinds == {"InputLayer", "Conv2D", "DepthwiseConv2D", "ReLU", "FrameSum", "Add"}


def test_frames_leave_in_the_format_in_which_they_enter_and_a_roll_out_stays_exact():
    net = replace(SMALL, bits=6)
    model, x = random_net(net), fields(net, 10)
    graph = lower(model, net.input, "wave")
    assert graph.output.fixed == net.input == Fixed(True, 12, 2, Rounding.RND_CONV, Overflow.SAT)
    values = net.input.values(x).astype(np.float32)
    for _ in range(4):
        frame = evaluate.run(graph, x)
        predicted = np.asarray(model(values))
        assert (net.input.values(frame) == predicted).all()
        x, values = (
            np.concatenate([of[..., 1:2], new, of[..., 2:]], -1) for of, new in ((x, frame), (values, predicted))
        )


@pytest.mark.parametrize(
    ("skip", "frames", "factors"),
    [("motion", 2, (-1, 2, 0)), ("motion", 3, (0, -1, 2, 0)), ("frame", 2, (0, 1, 0)), ("frame", 1, (1, 0))],
)
def test_a_stage_of_zeros_leaves_what_is_skipped_to_the_end(skip, frames, factors):
    net = replace(SMALL, skip=skip, frames=frames)
    model = net.build()
    model.set_weights([0 * weight for weight in model.get_weights()])
    x = fields(net, 10)
    graph = lower(model, net.input, "wave")
    assert (evaluate.run(graph, x)[..., 0] == np.clip(x @ factors, net.input.low, net.input.high)).all()
    assert [type(node.op) for node in graph.nodes if node.layer == "skip"] == [Dense]


def test_nothing_is_skipped_where_nothing_is_asked_for():
    assert not any(isinstance(layer, FrameSum) for layer in replace(SMALL, skip="none").build().layers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": 0}, "grid must be 1..4096, not 0"),
        ({"frames": 0}, "frames must be 1..4096, not 0"),
        ({"width": -1}, "width must be 1..4096, not -1"),
        ({"depth": 0}, "depth must be 1..4096, not 0"),
        ({"kernel_size": 4}, "kernel_size must be odd and 3..63, not 4"),
        ({"kernel_size": 1}, "kernel_size must be odd and 3..63, not 1"),
        ({"format": "tucker"}, "format must be one of full, one_way, cp, spatial, depthwise, not 'tucker'"),
        ({"skip": "all"}, "skip must be one of none, frame, motion, not 'all'"),
        ({"rank": 3}, "rank must be 1..4096 and goes with format=cp or spatial, not 3 with full"),
        ({"rank": 0, "format": "cp"}, "rank must be 1..4096 and goes with format=cp or spatial, not 0 with cp"),
        ({"frames": 1}, "frames must be 2 or more for skip=motion, not 1"),
        ({"bits": 17}, r"bits must be 2\.\.16 or 'float', not 17"),
    ],
)
def test_a_network_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        WaveCnn(**settings)


@pytest.mark.parametrize(
    ("net", "label"),
    [(WaveCnn(), "n64_full_8bit"), (WaveCnn(grid=32, format="cp", rank=8, bits=None), "n32_cp8_float")],
)
def test_the_label_names_the_grid_the_format_and_the_width(net, label):
    assert net.label == label
