"""Layers and quantisers as users have them are Keras' own numbers bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from keras_models import INPUT, activation, bits, model_of, qconv, qdense, qdepthwise, scattered

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.functions.affine import affine
from edgephys.models.files.functions.steps import Steps
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras, qkeras

LAYERS = keras.layers


def relu(count=6, integer=0, **more):
    return qkeras.QActivation(qkeras.quantized_relu(count, integer, **more))


def equal(model, fixed=INPUT, seed=0, count=300, scatter=True):
    """Compare every integer of the golden model with Keras, layer by layer; return what was lowered."""
    low = lowered(scattered(model, seed) if scatter else model, fixed, "m")
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *low.graph.input.shape), endpoint=True)
    x[0], x[1] = fixed.low, fixed.high
    reference = KerasFileReference(low)
    golden = evaluate.run(low.graph, x)
    assert np.array_equal(reference.outputs(x), golden) and len(np.unique(golden)) > 1
    edges, ends = evaluate.trace(low.graph, {low.graph.input.name: x}), dict(low.graph.layers())
    for layer, integers in reference.layers(x).items():
        assert np.array_equal(integers, edges[ends[layer].name]), layer
    return low


def pooled(layer):
    return [qconv(3, 3, "c"), relu(), layer, LAYERS.Flatten(), qdense(2, "d")]


def separable(kind, size, **settings):
    quantisers = {f"{which}_quantizer": bits(4) for which in ("depthwise", "pointwise", "bias")}
    return kind(3, size, name="c", **quantisers, **settings)


def transposed(size, **settings):
    return qkeras.QConv2DTranspose(3, size, name="c", kernel_quantizer=bits(4), bias_quantizer=bits(4), **settings)


FIELDS = {
    "valid": [qconv(3, 3, "c", padding="valid")],
    "strides": [qconv(3, 3, "c", strides=2)],
    "strides valid": [qconv(3, (2, 3), "c", strides=(1, 2), padding="valid")],
    "dilated": [qconv(3, 3, "c", dilation_rate=2)],
    "groups": [qconv(4, 3, "c", groups=2)],
    "depth multiplier": [qdepthwise(3, "c", depth_multiplier=2)],
    "depthwise strides": [qdepthwise(3, "c", strides=2)],
    "separable": [separable(qkeras.QSeparableConv2D, (2, 3), strides=1, depth_multiplier=2)],
    "separable strides": [separable(qkeras.QSeparableConv2D, 3, strides=2, padding="same")],
    "transposed": [transposed(3, strides=2, padding="same")],
    "transposed valid": [transposed((3, 2), strides=(2, 3), padding="valid")],
    "slopes of the channels": [qconv(3, 3, "c"), LAYERS.PReLU(shared_axes=[1, 2]), qkeras.QActivation(bits(6, 1))],
    "max pooling": pooled(LAYERS.MaxPooling2D(2)),
    "max pooling same": pooled(LAYERS.MaxPooling2D(3, strides=2, padding="same")),
    "average pooling": pooled(LAYERS.AveragePooling2D(2)),
    "global maximum": [qconv(3, 3, "c"), relu(), LAYERS.GlobalMaxPooling2D(), qdense(2, "d")],
    "global average": [qconv(3, 3, "c"), relu(), LAYERS.GlobalAveragePooling2D(), qdense(2, "d")],
    "zero padding": [LAYERS.ZeroPadding2D(((1, 0), (2, 1))), qconv(2, 3, "c")],
    "cropping": [LAYERS.Cropping2D(((1, 0), (0, 1))), qconv(2, 3, "c")],
    "upsampling": [qconv(2, 3, "c"), relu(), LAYERS.UpSampling2D((2, 1)), qconv(2, 3, "e")],
    "channels first": [qconv(3, 3, "c"), relu(), LAYERS.Flatten(data_format="channels_first"), qdense(2, "d")],
    "permute": [LAYERS.Permute((2, 3, 1)), qdense(2, "d")],
    "spatial dropout": [qconv(3, 3, "c"), LAYERS.SpatialDropout2D(0.3), relu()],
}


FIRST = {"data_format": "channels_first"}
CHANNELS_FIRST = {
    "zero padding": [LAYERS.ZeroPadding2D(((1, 0), (2, 1)), **FIRST)],
    "cropping": [LAYERS.Cropping2D(((1, 0), (0, 1)), **FIRST)],
    "upsampling": [LAYERS.UpSampling2D((2, 1), **FIRST)],
    "in time": [
        LAYERS.Reshape((2, 2, 2, 4)),
        LAYERS.TimeDistributed(LAYERS.ZeroPadding2D(((1, 0), (2, 1)), **FIRST)),
        LAYERS.TimeDistributed(LAYERS.UpSampling2D((2, 1), **FIRST)),
        LAYERS.TimeDistributed(LAYERS.Cropping2D(((1, 0), (0, 2)), **FIRST)),
    ],
}


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_a_move_with_channels_first_is_keras_bit_for_bit(name):
    equal(model_of((2, 4, 4), qdense(4, "d"), *CHANNELS_FIRST[name]))


def test_a_row_padded_with_channels_first_is_keras_bit_for_bit():
    equal(model_of((2, 4), qdense(4, "d"), LAYERS.ZeroPadding1D((1, 2), **FIRST)))


@pytest.mark.parametrize("name", FIELDS)
def test_a_layer_on_a_field_is_keras_bit_for_bit(name):
    equal(model_of((4, 4, 2), *FIELDS[name]))


ROWS = {
    "separable": [separable(qkeras.QSeparableConv1D, 3)],
    "conv1d": [qkeras.QConv1D(3, 3, padding="same", kernel_quantizer=bits(4), bias_quantizer=bits(4), strides=2)],
    "max pooling": [qdense(4, "d"), relu(), LAYERS.MaxPooling1D(2), LAYERS.Flatten(), qdense(2, "e")],
    "padding, cropping": [LAYERS.ZeroPadding1D(1), LAYERS.Cropping1D((0, 2)), qdense(3, "d")],
    "permute": [LAYERS.Permute((2, 1)), qdense(3, "d")],
    "upsampling": [LAYERS.UpSampling1D(2), qdense(3, "d")],
}


@pytest.mark.parametrize("name", ROWS)
def test_a_layer_on_rows_is_keras_bit_for_bit(name):
    equal(model_of((6, 3), *ROWS[name]))


VECTORS = {
    "softmax at the end": [qdense(4, "d"), LAYERS.Activation("softmax")],
    "softmax layer": [qdense(4, "d"), LAYERS.Softmax()],
    "sigmoid at the end": [qdense(1, "d", activation="sigmoid")],
    "linear": [qdense(4, "d"), LAYERS.Activation("linear"), relu()],
    "relu": [qdense(4, "d", activation="relu"), qkeras.QActivation(bits(6, 1))],
    "relu layer": [qdense(4, "d"), LAYERS.ReLU(), qkeras.QActivation(bits(6, 1))],
    "bounded relu layer": [qdense(4, "d"), relu(8, 1), LAYERS.ReLU(max_value=0.75), qdense(2, "e")],
    "relu bounded by all but one step": [qdense(4, "d"), relu(4, 0), LAYERS.ReLU(max_value=0.9375), qdense(2, "e")],
    "relu6": [qdense(4, "d"), LAYERS.ReLU(max_value=0.5), qkeras.QActivation(bits(6, 1))],
    "leaky relu": [qdense(4, "d"), LAYERS.LeakyReLU(negative_slope=0.25), relu(6, 1)],
    "leaky relu of any slope": [
        qdense(4, "d", 3),
        LAYERS.LeakyReLU(negative_slope=0.3),
        qkeras.QActivation(bits(5, 1)),
    ],
    "quantised leaky relu": [qdense(4, "d"), relu(6, 1, negative_slope=0.125)],
    "bounded relu": [qdense(4, "d"), relu(6, 1, relu_upper_bound=0.75)],
    "quantised tanh": [qdense(4, "d", 3), qkeras.QActivation(qkeras.quantized_tanh(4))],
    "quantised sigmoid": [qdense(4, "d", 3), qkeras.QActivation(qkeras.quantized_sigmoid(4))],
    "binary": [qdense(4, "d", 3), qkeras.QActivation(qkeras.binary(alpha=1))],
    "ternary": [qdense(4, "d", 3), qkeras.QActivation(qkeras.ternary(alpha=1))],
    "text": [qdense(4, "d"), qkeras.QActivation("quantized_bits(6,1)"), qdense(2, "e")],
    "dropout": [qdense(4, "d"), LAYERS.Dropout(0.2), relu(), LAYERS.GaussianNoise(0.1), qdense(2, "e")],
    "rescaling": [LAYERS.Rescaling(0.75, -0.5), qdense(2, "d")],
    "rescaling of each channel": [LAYERS.Rescaling([0.5, 1, -1, 2, 0], [0, 1, 0.25, 0, 3]), qdense(2, "d")],
    "rescaling by any number": [LAYERS.Rescaling(1 / 3), qkeras.QActivation(bits(6, 1)), qdense(2, "d")],
    "repeat": [qdense(4, "d"), relu(), LAYERS.RepeatVector(3), qdense(2, "e")],
    "stochastic": [qdense(4, "d"), qkeras.QActivation("quantized_bits(6,1,alpha=1,use_stochastic_rounding=True)")],
    "stochastic weights": [qdense(4, "d", kernel_quantizer=qkeras.stochastic_ternary(alpha=1)), relu(6, 2)],
    "weights of a sign": [qdense(4, "d", kernel_quantizer=bits(1)), relu(6, 2)],
    "hard shrink": [qdense(4, "d"), LAYERS.Activation("hard_shrink"), qkeras.QActivation(bits(6, 1))],
    "powers of two as values": [qdense(4, "d"), qkeras.QActivation("quantized_relu_po2(4,2)"), qdense(2, "e")],
    "normalisation of the data": [
        LAYERS.Normalization(mean=[0.0, 1, 2, -1, 0.5], variance=[1.0, 2, 3, 4, 0.3]),
        qkeras.QActivation(bits(6, 1)),
        qdense(2, "d"),
    ],
    "binary weights": [qdense(4, "d", kernel_quantizer=qkeras.binary(alpha=1)), relu(6, 2)],
    "ternary weights": [qdense(4, "d", kernel_quantizer=qkeras.ternary(alpha=1)), relu(6, 2)],
    "powers of two": [qdense(4, "d", kernel_quantizer=qkeras.quantized_po2(4)), relu(6, 2)],
    "auto_po2": [qdense(4, "d", kernel_quantizer=qkeras.quantized_bits(5, 0, alpha="auto_po2")), relu(6, 2)],
    "alpha 0.5": [qdense(4, "d", kernel_quantizer=qkeras.quantized_bits(4, 0, alpha=0.5)), relu(6, 2)],
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_layer_on_vectors_is_keras_bit_for_bit(name):
    equal(model_of((5,), *VECTORS[name]))


def normalised(seed, count=4, gamma=None):
    """Return a batch normalisation with statistics of its own."""
    generator, layer = np.random.default_rng(seed), LAYERS.BatchNormalization(name="n")
    layer.build((None, count))
    layer.set_weights(
        [generator.normal(size=count) if gamma is None else gamma, *generator.normal(size=(2, count)),
         generator.uniform(0.3, 2, count)]
    )  # fmt: skip
    return layer


@settings(max_examples=10)
@given(strategies.integers(0, 10**6))
def test_a_batch_normalisation_is_an_integer_multiplication_on_every_integer(seed):
    layer = normalised(seed)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, activation(bits(6, 1), "a")(layer(qkeras.QActivation(bits(8, 3))(inputs))))
    low = lowered(model, Fixed(True, 12, 5), "m")
    x = np.repeat(np.arange(-2048, 2048)[:, None], 4, axis=1)
    assert np.array_equal(KerasFileReference(low).outputs(x), evaluate.run(low.graph, x))


def test_a_normalisation_that_turns_or_loses_a_channel_is_exact():
    layer = normalised(3, gamma=np.array([-1.3, 0.0, 0.7, 1e-3]))
    inputs = keras.Input((5,))
    equal(keras.Model(inputs, relu(6, 1)(layer(qdense(4, "d")(inputs)))), scatter=False)


def test_folded_batch_normalisations_of_channels_are_their_folded_weights():
    folded = qkeras.QDepthwiseConv2DBatchnorm(
        2, depthwise_quantizer=bits(6), bias_quantizer=bits(6), depthwise_initializer="he_normal", name="d"
    )
    equal(model_of((4, 4, 2), folded, relu(6, 1)), scatter=False)


def test_folded_batch_normalisations_are_their_folded_weights():
    folded = qkeras.QDenseBatchnorm(4, kernel_quantizer=bits(6), bias_quantizer=bits(6), name="d")
    equal(model_of((5,), folded, relu(6, 1)), scatter=False)


@pytest.mark.parametrize("layer", [LAYERS.Add, LAYERS.Average, LAYERS.Maximum, LAYERS.Minimum])
def test_layers_of_three_inputs_are_exact(layer):
    inputs = keras.Input((5,))
    joined = layer()([qdense(4, "a")(inputs), qdense(4, "b")(inputs), qdense(4, "c")(inputs)])
    equal(keras.Model(inputs, relu(6, 1)(joined)))


@pytest.mark.parametrize("layer", [LAYERS.Multiply, LAYERS.Maximum, LAYERS.Minimum])
def test_gates_are_exact_and_repeated_where_they_are_shorter(layer):
    field = keras.Input((4, 4, 2))
    pixels = activation(bits(6, 1), "pixels")(qconv(3, 3, "c")(field))
    mean = LAYERS.GlobalAveragePooling2D(keepdims=True)(pixels)
    gate = relu(4, 1)(qdense(3, "gate")(activation(bits(6, 1), "mean")(mean)))
    number = relu(4, 2)(qdense(1, "number")(LAYERS.Flatten()(gate)))
    joined = activation(bits(6, 1), "joined")(layer(name="join")([pixels, gate, number]))
    equal(keras.Model(field, qdense(2, "d")(LAYERS.Flatten()(joined))))


def test_a_square_is_exact_and_a_float_gate_is_refused():
    inputs = keras.Input((5,))
    value = activation(bits(7, 1), "value")(qdense(4, "v")(inputs))
    equal(keras.Model(inputs, LAYERS.Multiply()([value, value])))
    gate = LAYERS.Activation("sigmoid", name="gate")(qdense(4, "g")(inputs))
    with pytest.raises(ModelError, match=r"layer 'gate': its float result goes to 'product' \(Multiply\), which no"):
        lowered(keras.Model(inputs, LAYERS.Multiply(name="product")([value, gate])), INPUT, "m")


def test_a_difference_is_exact():
    inputs = keras.Input((5,))
    equal(keras.Model(inputs, LAYERS.Subtract()([qdense(4, "a")(inputs), qdense(4, "b")(inputs)])))


def test_a_model_in_a_model_is_read_as_its_layers():
    inner = model_of((5,), qdense(4, "inner"), relu())
    low = equal(model_of((5,), inner, qdense(2, "outer")))
    assert [layer for layer, _ in low.graph.layers()] == ["x", "inner", "outer"]


def test_layers_of_one_name_in_two_models_are_apart():
    inner = [model_of((4,), qdense(4, "d"), relu()) for _ in range(2)]
    for number, model in enumerate(inner):
        model.name = f"inner_{number}"
    low = equal(model_of((4,), inner[0], inner[1], inner[0], qdense(2, "e")))
    assert [layer for layer, _ in low.graph.layers()] == ["x", "d", "inner_1_d", "e"]


def test_several_inputs_and_outputs_are_joined_in_their_order():
    one, two = keras.Input((2,), name="one"), keras.Input((3, 2), name="two")
    flat = LAYERS.Flatten()(two)
    low = equal(keras.Model([one, two], [qdense(3, "a")(one), qdense(2, "b")(flat)]))
    assert low.graph.input.shape == (8,) and low.graph.output.shape == (5,)


def test_dropped_layers_are_named():
    low = equal(model_of((5,), qdense(4, "d"), LAYERS.Dropout(0.1, name="drop"), LAYERS.Softmax(name="soft")))
    assert low.dropped == ("drop (Dropout)", "soft (softmax at the end: the order of the outputs stays)")
    assert low.graph.metadata["dropped"] == list(low.dropped)


@pytest.mark.parametrize("name", ["causal", "depthwise", "transposed"])
def test_a_layer_of_rows_that_qkeras_lacks_is_exact_with_short_weights(name):
    kinds = {"causal": lambda: LAYERS.Conv1D(3, 3, padding="causal", dilation_rate=2), "depthwise":
             lambda: LAYERS.DepthwiseConv1D(3, depth_multiplier=2),
             "transposed": lambda: LAYERS.Conv1DTranspose(3, 3, strides=2, padding="same")}  # fmt: skip
    model = scattered(model_of((6, 2), kinds[name]()), 0)
    model.set_weights([np.rint(weight * 8) / 8 for weight in model.get_weights()])
    equal(model, scatter=False)


def test_settings_that_no_graph_has_are_refused():
    causal = qkeras.QConv1D(3, 3, padding="causal", kernel_quantizer=bits(4), bias_quantizer=bits(4), name="c")
    for model, message in (
        (
            model_of((6, 2), causal),
            r"layer 'c': padding must be 'valid', not 'causal'; .* behind ZeroPadding1D\(\(n, 0\)\)",
        ),
        (
            model_of((3, 3, 2), LAYERS.PReLU(name="p")),
            r"layer 'p': its slopes must be of the channels alone, not of shape ",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            lowered(model, INPUT, "m")


def test_what_would_be_other_numbers_is_refused():
    whole = keras.Input((4,), dtype="int32", name="x")
    for model, message in (
        (model_of((None, 4), qdense(2, "d")), r"input 'x' must have a stated shape behind the batch, not \(None, 4\)"),
        (keras.Model(whole, LAYERS.Flatten()(whole)), r"input 'x' takes integers \(int32\); its format must have no"),
        (model_of((4,), LAYERS.Flatten(dtype="mixed_float16", name="d")), r"computes in float16, whose sums are not"),
    ):
        with pytest.raises(ModelError, match=message):
            lowered(model, INPUT, "m")


def test_a_normalisation_at_the_end_is_refused_with_what_would_do():
    with pytest.raises(ModelError, match=r"layer 'n': the model ends with a float result, .* after 'n'"):
        lowered(model_of((4,), normalised(0)), INPUT, "m")


# Multiplications that stand for float functions ------------------------------------------------------


@given(strategies.data())
def test_a_rounded_line_is_found_and_equals_it_everywhere(data):
    low = data.draw(strategies.integers(-3000, 3000))
    count = data.draw(strategies.integers(1, 3000))
    slope = data.draw(strategies.floats(-3, 3, width=32))
    offset = data.draw(strategies.floats(-100, 100, width=32))
    x = np.arange(low, low + count)
    results = np.clip(np.floor(x * np.float64(slope) / 16 + offset), -32, 31).astype(np.int64)
    steps = Steps.of_results(low, results[:, None])
    line = next((f for f in (affine(steps, (-32, 31), shift) for shift in range(41)) if f), None)
    assert line is not None
    assert np.array_equal(np.clip(line(x), -32, 31), results)


def test_what_is_no_line_is_not_taken_for_one():
    x = np.arange(-20, 21)
    hill, cubic = (Steps.of_results(-20, results[:, None]) for results in (np.abs(x), x**3 // 100))
    assert all(affine(hill, (0, 31), shift) is None for shift in range(20))
    assert all(affine(cubic, (-128, 127), shift) is None for shift in range(20))
