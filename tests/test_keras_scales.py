"""Weights times float scales and QKeras' pooling and normalisation are Keras' numbers on every target."""

import every_target
import numpy as np
import pytest
from keras_models import INPUT, activation, bits, model_of, qconv, qdense, scattered

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate, stimuli
from edgephys.models.files.keras import lowered
from edgephys.models.files.keras.scales import dyadic, scale_of_columns, scale_of_rows, split
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras, precision, qkeras

AUTO = "quantized_bits(4,0,alpha='auto')"
BY_INPUT = "quantized_bits(4,0,alpha='auto',scale_axis=0)"


def vectors(graph, count=300, seed=0):
    fixed = graph.input.fixed
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *graph.input.shape), endpoint=True)
    x[0], x[1], x[2] = fixed.low, fixed.high, 0
    return x


def equal(model, fixed=INPUT, seed=0):
    """Hold every integer of the golden model, of the outputs and of the layers, against Keras; return what it is."""
    low = lowered(positive(scattered(model, seed)), fixed, "m")
    x, reference = vectors(low.graph), KerasFileReference(low)
    golden = evaluate.run(low.graph, x)
    np.testing.assert_array_equal(reference.outputs(x), golden)
    assert len(np.unique(golden)) > 1
    edges, last = evaluate.trace(low.graph, {low.graph.input.name: x}), dict(low.graph.layers())
    for layer, integers in reference.layers(x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)
    return low


def positive(model):
    """Return the model with variances that are variances."""
    for layer in model.layers:
        normalisation = getattr(layer, "batchnorm", layer)
        if hasattr(normalisation, "moving_variance"):
            normalisation.moving_variance.assign(np.abs(normalisation.moving_variance) + 0.2)
    return model


def rounding(name="q", count=6, integer=2):
    return activation(bits(count, integer), name)


def scaled_dense(units, name, kernel=AUTO, **settings):
    return qdense(units, name, kernel_quantizer=kernel, **settings)


def transposed(kernel, **settings):
    return qkeras.QConv2DTranspose(3, 2, kernel_quantizer=kernel, name="c", **{"strides": 2, **settings})


MODELS = {
    "dense": lambda: model_of((5,), scaled_dense(4, "d"), rounding()),
    "dense relu": lambda: model_of(
        (5,), scaled_dense(6, "d", activation=qkeras.quantized_relu(6, 2)), scaled_dense(3, "e"), rounding()
    ),
    "scaled bias": lambda: model_of((5,), qdense(4, "d", bias_quantizer=AUTO), rounding()),
    "both scaled": lambda: model_of((5,), scaled_dense(4, "d", bias_quantizer=AUTO, activation="relu"), rounding()),
    "linear": lambda: model_of((5,), scaled_dense(4, "d", "quantized_linear(4,0,alpha='auto')"), rounding()),
    "signs": lambda: model_of((5,), scaled_dense(4, "d", "binary(alpha='auto')", use_bias=False), rounding("q", 5, 3)),
    "ternary": lambda: model_of(
        (5,), scaled_dense(4, "d", "ternary(alpha='auto')"), activation("binary(alpha=1)", "q")
    ),
    "a number": lambda: model_of((5,), scaled_dense(4, "d", "quantized_bits(4,0,alpha=0.3)"), rounding()),
    "tanh": lambda: model_of((5,), scaled_dense(4, "d"), keras.layers.Activation("tanh"), rounding("q", 6, 0)),
    "folded": lambda: model_of(
        (5,), qkeras.QDenseBatchnorm(4, kernel_quantizer=AUTO, bias_quantizer=bits(5, 1), name="d"), rounding()
    ),
    "convolution": lambda: model_of(
        (4, 4, 2), qconv(3, 3, "c", kernel_quantizer=AUTO), keras.layers.BatchNormalization(name="n"), rounding()
    ),
    "groups": lambda: model_of(
        (5, 5, 2), qconv(4, 2, "c", kernel_quantizer=AUTO, groups=2, strides=2, padding="valid"), rounding()
    ),
    "depthwise": lambda: model_of(
        (4, 4, 2), qkeras.QDepthwiseConv2D(2, depthwise_quantizer=AUTO, bias_quantizer=bits(4), name="c"), rounding()
    ),
    "separable": lambda: model_of(
        (4, 4, 2),
        qkeras.QSeparableConv2D(
            3, 2, depthwise_quantizer=AUTO, pointwise_quantizer=AUTO, bias_quantizer=bits(4), name="c"
        ),
        rounding(),
    ),
    "separable rows": lambda: model_of(
        (5, 2),
        qkeras.QSeparableConv1D(
            3, 2, depthwise_quantizer=AUTO, pointwise_quantizer=bits(4), bias_quantizer=bits(4), name="c"
        ),
        rounding(),
    ),
    "separable by channels": lambda: model_of(
        (4, 4, 2),
        qkeras.QSeparableConv2D(
            3, 2, depth_multiplier=2, depthwise_quantizer=AUTO, pointwise_quantizer=bits(4), use_bias=False, name="c"
        ),
        rounding(),
    ),
    "transposed": lambda: model_of(
        (3, 3, 2), transposed(AUTO, bias_quantizer=bits(4)), keras.layers.ReLU(name="r"), rounding()
    ),
    "transposed, scaled bias": lambda: model_of(
        (3, 3, 2), transposed("quantized_bits(4,0,alpha='auto')", strides=1, bias_quantizer=AUTO), rounding()
    ),
    "transposed of one channel": lambda: model_of((3, 3, 1), transposed(AUTO, use_bias=False), rounding()),
    "transposed, powers of two": lambda: model_of(
        (3, 3, 2), transposed("quantized_bits(4,0,alpha='auto_po2')", bias_quantizer=bits(4)), rounding()
    ),
    "transposed signs": lambda: model_of((3, 3, 2), transposed("binary(alpha='auto')", use_bias=False), rounding()),
    "a scale for each input": lambda: model_of((5,), scaled_dense(4, "d", BY_INPUT), rounding()),
    "a scale for each input of a convolution": lambda: model_of(
        (4, 4, 2), qconv(3, 2, "c", kernel_quantizer="quantized_bits(4,0,alpha='auto',scale_axis=2)"), rounding()
    ),
    "time": lambda: model_of((3, 4), keras.layers.TimeDistributed(scaled_dense(3, "d")), rounding()),
    "nested": lambda: model_of((5,), model_of((5,), scaled_dense(4, "d"), rounding("r")), qdense(2, "e")),
    "mean of windows": lambda: model_of(
        (4, 6, 2), qkeras.QAveragePooling2D((2, 3), average_quantizer=bits(6), activation=bits(6, 1), name="p")
    ),
    "mean of pairs": lambda: model_of(
        (5, 5, 2), qkeras.QAveragePooling2D(2, strides=1, average_quantizer="quantized_bits(4,0,alpha=1)", name="p")
    ),
    "float mean": lambda: model_of((3, 3, 2), qkeras.QAveragePooling2D(3, activation=bits(6, 1), name="p")),
    "mean of a field": lambda: model_of(
        (3, 3, 2), qkeras.QGlobalAveragePooling2D(average_quantizer=bits(7), activation="quantized_relu(5,1)", name="p")
    ),
    "mean of a field, kept": lambda: model_of(
        (3, 3, 2), qkeras.QGlobalAveragePooling2D(keepdims=True, name="p"), rounding()
    ),
    "normalisation": lambda: model_of((5,), qdense(4, "d"), qkeras.QBatchNormalization(name="n"), rounding()),
    "normalisation in bits": lambda: model_of(
        (3, 3, 2),
        qconv(3, 2, "c"),
        qkeras.QBatchNormalization(
            **{f"{name}_quantizer": bits(6, 1) for name in ("beta", "mean")},
            **{"gamma_quantizer": None, "variance_quantizer": None, "inverse_quantizer": bits(8, 2), "name": "n"},
        ),
        activation("quantized_relu(5,2)", "q"),
    ),
}  # fmt: skip


def of(name):
    keras.utils.set_random_seed(3)
    return MODELS[name]()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_keras_own_numbers_in_every_layer(name):
    equal(of(name))


SOME = (
    "dense relu",
    "both scaled",
    "convolution",
    "separable rows",
    "mean of windows",
    "mean of a field",
    "normalisation",
    "transposed",
)
"""Models that are run on a target each."""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), [("c", {}), ("onnx", {}), ("rtl", {}), ("hls", {})])
@pytest.mark.parametrize("name", SOME)
def test_a_target_computes_the_same(name, target, options, tmp_path):
    every_target.assert_equal(target, equal(of(name), Fixed(True, 5, 2)).graph, vectors, tmp_path, **options)


@pytest.mark.parametrize(("name", "target"), [("dense", "c"), ("separable", "c"), ("separable", "onnx")])
def test_a_processor_computes_a_scaled_layer(name, target, tmp_path):
    every_target.assert_equal(target, equal(of(name)).graph, vectors, tmp_path)


@pytest.mark.slow
def test_a_file_with_automatic_scales_comes_in_and_is_verified(run, tmp_path):
    model = scattered(of("dense"), 1)
    model.save(tmp_path / "m.keras")
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=generator.normal(size=(200, 5)), y=generator.integers(0, 4, 200))
    done = run("import", tmp_path / "m.keras", "--data", tmp_path / "d.npz", "--out", tmp_path / "m", "--json")
    assert done.status == 0 and done.json["exact"], done.err
    assert any("in float32 Keras rounds 0 of 800 outputs otherwise" in line for line in done.json["warnings"])
    assert run("emit", tmp_path / "m", "--to", "c", "--out", tmp_path / "p").status == 0
    verified = run("verify", tmp_path / "p", "--json")
    assert verified.status == 0 and verified.json["targets"]["keras"]["mismatches"] == 0, verified.err


def test_the_weights_are_those_of_qkeras_but_for_the_rounding_of_float32():
    quantiser = qkeras.get_quantizer(AUTO)
    values = np.asarray(quantiser(np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)), np.float64)
    weights = split(quantiser, values)
    np.testing.assert_allclose(weights.values, values, rtol=2.0**-23)
    assert np.abs(weights.integers).max() <= 8 and weights.fraction <= 3
    assert split(qkeras.get_quantizer("quantized_bits(4,0,alpha=1)"), values) is None


def refused(model, message, fixed=INPUT):
    with pytest.raises(ModelError, match=message):
        lowered(scattered(model, 0), fixed, "m")


def test_what_float_scales_cannot_give_is_refused_with_a_way_on():
    numbers = np.random.default_rng(1).uniform(0.1, 0.4, (5, 4)).astype(np.float32).tolist()
    along = scaled_dense(4, "d", qkeras.quantized_bits(4, 0, alpha=numbers))
    refused(model_of((5,), along, rounding()), "'d': its quantised kernel needs 27 bits or scales .* alpha='auto_po2'")
    integers, scale = np.ones((2, 2), int), np.array([[0.3, 0.4], [0.5, 0.3]])
    assert scale_of_rows(integers, scale) is None
    with pytest.raises(
        ModelError, match=r"'d': its weights have float scales that differ along what is summed, .* out"
    ):
        scale_of_columns("d", integers, scale)
    refused(model_of((5,), scaled_dense(4, "d")), "layer 'd': the model ends with a float result, .* state --output-f")
    refused(
        model_of((5,), scaled_dense(4, "d"), qdense(2, "e")), r"'d': its float result goes to 'e' \(QDense\), which no"
    )
    soft = scaled_dense(4, "d", activation="softmax")
    refused(model_of((5,), soft), "layer 'd': the model ends with a float result")


def test_a_bias_that_is_too_fine_beside_scales_of_inputs_is_refused():
    model = scattered(model_of((3, 3, 2), transposed(AUTO, bias_quantizer=AUTO), rounding()), 0)
    model.get_layer("c").bias.assign(np.array([1e-9, 3e-9, -2e-9]))
    message = r"layer 'c': its bias has values between steps of 2\^-40, .* use alpha='auto_po2' for the bias"
    with pytest.raises(ModelError, match=message):
        lowered(model, INPUT, "m")


def test_scales_of_inputs_are_integers_times_a_power_of_two():
    integers, scale = np.array([[1, 0], [2, -3], [0, 0]]), np.array([[0.375, 9.0], [1.5, 1.5], [7.0, 7.0]])
    factors, fraction = scale_of_rows(integers, scale)
    assert factors.tolist() == [3, 12, 0] and fraction == 3
    assert scale_of_rows(integers, np.full((3, 2), 0.3)) is None  # one scale, which goes into the next quantiser
    assert dyadic(np.array([2.0**-41])) is None


def test_sums_whose_floats_round_apart_are_refused():
    quantisers = {"depthwise_quantizer": AUTO, "pointwise_quantizer": AUTO}
    layer = qkeras.QSeparableConv2D(3, 2, **quantisers, use_bias=False, name="c")
    refused(
        model_of((4, 4, 2), layer, activation("binary(alpha=1)", "q")),
        "layer 'q': for some sums two floats round apart: a weight's scale brings them as close to a tie as floats are",
    )


def test_channels_that_come_first_are_refused_by_pooling():
    pool = keras.layers.AveragePooling2D(2, data_format="channels_first", name="p")
    with pytest.raises(ModelError, match="layer 'p': data_format must be 'channels_last', not 'channels_first'"):
        lowered(model_of((2, 4, 4), pool), INPUT, "m")


def test_a_quantised_mean_beyond_float32_is_compared_in_float64():
    pool = qkeras.QAveragePooling2D(8, average_quantizer=bits(8), name="p")
    low = equal(model_of((8, 8, 1), pool), Fixed(True, 16, 8))
    assert low.double


@pytest.mark.parametrize(
    ("quantiser", "fraction"),
    [
        ("quantized_relu(16,2)", 14),
        ("quantized_relu(16,2,negative_slope=0.25)", 13),
        ("quantized_relu(16,2,relu_upper_bound=1.5)", 14),
        ("quantized_bits(16,2,alpha=1)", 13),
    ],
)
def test_quantisers_compute_in_float64_where_the_reference_does_and_in_float32_again_after(quantiser, fraction):
    function, step = qkeras.get_quantizer(quantiser), 2.0**-fraction
    x = np.arange(3000, 3200) * step + step / 2 + 2.0**-40  # above ties, which float32 does not tell apart
    with precision(double=True):
        fine = np.asarray(function(x))
    assert fine.dtype == np.float64 and np.array_equal(fine, np.asarray(function(x - 2.0**-40 + 2.0**-20)))
    assert np.asarray(function(x.astype(np.float32))).dtype == np.float32


def test_a_wide_sum_before_a_quantised_relu_is_keras_in_float64_on_every_tie():
    model = model_of((4,), qdense(3, "d", 16), activation("quantized_relu(16,2)", "a"), qdense(2, "e", 4))
    low = lowered(scattered(model, 1), Fixed(True, 16, 4), "m")
    x = np.concatenate([vectors(low.graph), stimuli.make(low.graph)])
    assert low.double
    np.testing.assert_array_equal(KerasFileReference(low).outputs(x), evaluate.run(low.graph, x))
