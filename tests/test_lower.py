"""From Keras to the Graph: equal bit for bit, or refused by the layer's name."""

import subprocess
import sys

import numpy as np
import pytest
from keras_models import INPUT, activation, assert_equal_to_keras, bits, model_of, qdense, refuses, scattered

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.ops import Add, Concat, Input, Requantise, Scale, Sum, Take
from edgephys.models.files.keras import lower
from edgephys.models.trained import load_keras
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import ChannelActivation, ConstituentMean, Pairs, ReceivedSum


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("constituents", [3, 5, 8])
def test_deep_sets_equal_keras_bit_for_bit(constituents, width):
    net = DeepSets(constituents, bits=width, phi=(8, 8), rho=(8,))
    graph = assert_equal_to_keras(net.build(), net.input, seed=constituents + width, count=1000)
    assert [name for name, _ in graph.layers()] == ["constituents", "phi_1", "phi_2", "pool", "rho_1", "logits"]


def test_keras_compiled_prediction_equals_too():
    net = DeepSets(6, bits=6, phi=(8,), rho=(8,))
    assert_equal_to_keras(net.build(), net.input, count=1000, compiled=True)


def test_activation_bits_of_their_own_equal_keras():
    net = DeepSets(4, bits=3, activation_bits=6, phi=(8,), rho=())
    graph = assert_equal_to_keras(net.build(), net.input)
    assert graph.by_name["phi_1_requantise"].fixed == Fixed(False, 6, 0, Rounding.RND_CONV, Overflow.SAT)


def test_flatten_concatenate_and_reshape_equal_keras():
    inputs = keras.Input((4, 3), name="x")
    rows = activation(bits(5, 1), "rows_q")(qdense(6, "rows")(inputs))
    other = activation(qkeras.quantized_relu(6, 1), "other_q")(qdense(6, "other")(inputs))
    joined = keras.layers.Concatenate(axis=1, name="joined")([rows, other])
    joined = keras.layers.Concatenate(name="features")([joined, joined])
    flat = keras.layers.Flatten(name="flat")(joined)
    folded = keras.layers.Reshape((2, -1), name="folded")(flat)
    graph = assert_equal_to_keras(keras.Model(inputs, qdense(2, "last")(folded)))
    assert [type(node.op) for node in graph.nodes].count(Concat) == 2
    assert graph.output.shape == (2, 2)


@pytest.mark.parametrize("symmetric", [0, 1])
@pytest.mark.parametrize("keep_negative", [True, False])
@pytest.mark.parametrize("integer", [0, 2])
def test_every_setting_of_quantized_bits_equals_keras(symmetric, keep_negative, integer):
    quantiser = bits(4, integer, symmetric=symmetric, keep_negative=keep_negative)
    model = model_of((5,), qdense(20, "d"), activation(quantiser, "a"))
    graph = assert_equal_to_keras(model, count=1000)
    assert graph.output.fixed.signed == keep_negative
    assert (graph.output.fixed.overflow is Overflow.SAT_SYM) == bool(symmetric and keep_negative)


def test_symmetric_weights_equal_keras_and_have_no_lowest_number():
    model = model_of((5,), qdense(30, "d", 3, kernel_quantizer=bits(3, symmetric=1)))
    graph = assert_equal_to_keras(model)
    weights = graph.by_name["d_dense"].op.constant
    assert weights.integers.min() * 2.0**-weights.fraction == -0.75


def test_an_activation_within_a_dense_layer_equals_keras():
    layer = qdense(6, "d", activation=qkeras.quantized_relu(4, 1))
    graph = assert_equal_to_keras(model_of((5,), layer, qdense(2, "e", use_bias=False, activation="linear")))
    assert [node.name for node in graph.nodes] == ["x", "d_dense", "d_bias", "d_relu", "d_requantise", "e_dense"]


def test_a_layer_used_twice_equals_keras():
    inputs = keras.Input((4,), name="x")
    shared = qdense(4, "shared")
    again = shared(activation(bits(6, 2), "between")(shared(inputs)))
    assert_equal_to_keras(keras.Model(inputs, again))


def test_the_keras_layer_that_ends_each_layer_is_remembered():
    graph = lower(DeepSets(3, bits=4, phi=(4,), rho=(4,)).build(), DeepSets().input, "m")
    assert graph.metadata["keras_layers"] == {
        "phi_1": "phi_1_relu",
        "pool": "pool_quantised",
        "rho_1": "rho_1_relu",
        "logits": "logits",
    }


# Refusals ---------------------------------------------------------------------------------------


def test_a_float_dense_is_refused():
    refuses(
        r"layer 'd': its kernel has no quantiser and needs over 18 bits; "
        r"use QDense with quantized_bits\(bits, 0, alpha=1\), "
        r"or quantise the float model: `edgephys quantise FILE .*`",
        keras.layers.Dense(3, name="d"),
    )


def test_a_dense_without_quantiser_is_refused():
    refuses(
        r"layer 'd': its kernel has no quantiser and needs over 18 bits; "
        r"use QDense with quantized_bits\(bits, 0, alpha=1\), "
        r"or quantise the float model: `edgephys quantise FILE .*`",
        qkeras.QDense(3, bias_quantizer=bits(4), name="d"),
    )


def test_a_float_bias_is_refused():
    refuses(
        r"layer 'd': its bias has no quantiser and needs over 18 bits; use QDense with "
        r"bias_quantizer=quantized_bits\(bits, 0, alpha=1\), or quantise the float model: `edgephys quantise FILE .*`",
        qdense(3, "d", bias_quantizer=None, bias_initializer="random_normal"),
    )


@pytest.mark.parametrize("name", ["tanh", "elu", "gelu"])
def test_a_float_activation_at_the_end_is_refused(name):
    refuses(
        r"layer 'd': the model ends with a float result, which no integers give exactly; put "
        r"QActivation\(quantized_bits\(bits, integer, alpha=1\)\) after 'd', or state --output-format",
        qdense(3, "d", activation=name),
    )


def test_an_activation_of_no_rule_is_refused():
    refuses(
        r"layer 'd': activation glu cannot be computed exactly; "
        r"use quantized_relu\(bits, integer\) or quantized_bits\(bits, integer, alpha=1\)",
        qdense(4, "d", activation="glu"),
    )


def test_a_float_result_that_goes_to_weights_is_refused():
    refuses(
        r"layer 'a': its float result goes to 'e' \(QDense\), which no integers give exactly; .* after 'a', "
        r"or quantise a float model: `edgephys quantise FILE .*`",
        qdense(4, "d"),
        keras.layers.Activation("tanh", name="a"),
        qdense(2, "e"),
    )


@pytest.mark.parametrize("alpha", ["auto", 0.3])
def test_weights_with_a_scale_that_is_no_power_of_two_are_refused(alpha):
    refuses(
        r"layer 'd': its quantised kernel needs \d+ bits or scales that are no powers of two; use .*alpha='auto_po2'",
        qdense(3, "d", kernel_quantizer=qkeras.quantized_bits(4, 0, alpha=alpha)),
    )


def test_noise_is_refused():
    message = "quantisation noise must be off; set qnoise_factor=1.0"
    refuses(f"layer 'a': {message}", activation(qkeras.quantized_relu(4, 0, qnoise_factor=0.5), "a"))
    refuses(f"layer 'd' kernel: {message}", qdense(3, "d", kernel_quantizer=bits(4, qnoise_factor=0.5)))


def test_a_quantiser_that_rounds_otherwise_than_its_format_is_refused(monkeypatch):
    def off(self, x, real=qkeras.quantized_relu.__call__):
        return real(self, x + 0.01)

    monkeypatch.setattr(qkeras.quantized_relu, "__call__", off)
    refuses(
        r"layer 'a': quantized_relu turns \S+ into \S+, but ufixed<6,0,RND_CONV,SAT> gives \S+; "
        "this quantiser setting has no exact firmware",
        activation(qkeras.quantized_relu(6, 0), "a"),
    )


def test_an_unsupported_layer_is_refused_with_what_would_do():
    refuses(
        r"layer 's': UnitNormalization cannot be computed exactly; use one of .*Dense, .*QConv2D, .*",
        keras.layers.UnitNormalization(name="s"),
    )


def test_a_stranger_with_the_name_of_a_known_layer_is_refused():
    class Add(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    refuses(r"layer 's': Add cannot be computed exactly; use one of .*", Add(name="s"))


def test_a_lambda_is_refused():
    refuses(
        r"layer 'code': Lambda cannot be computed exactly; use one of .*", keras.layers.Lambda(lambda x: x, name="code")
    )


@pytest.mark.parametrize("axis", [0, -3])
def test_joining_vectors_is_refused(axis):
    inputs = keras.Input((5, 2), name="x")
    joined = keras.layers.Concatenate(axis=axis, name="c")([inputs, inputs])
    with pytest.raises(ModelError, match=r"^layer 'c': axis must not be the batch; use axis 1 and over, or -1$"):
        lower(keras.Model(inputs, joined), INPUT, "m")


def test_sums_that_float32_rounds_are_refused():
    model = scattered(model_of((40,), qdense(3, "wide", 16)), 0)
    with pytest.raises(
        ModelError,
        match=r"^layer 'wide': its accumulator needs 2[5-9] bits, but Keras sums in float32, which holds 24 exactly; "
        "use fewer weight or activation bits, or fewer inputs to the layer$",
    ):
        lower(model, INPUT, "m")


def test_a_rounding_that_keras_itself_rounds_is_refused():
    """QKeras computes x + (rounded - x): of 5000.5, to 16 bits below one, float32 makes 1 instead of 1 - 2**-15."""
    coarse = Fixed(True, 13, 13)
    model = scattered(model_of((4,), qdense(3, "d", 2), activation(bits(16), "a")), 0)
    with pytest.raises(
        ModelError,
        match=r"^layer 'd': Keras subtracts what it rounds to fixed<16,1,RND_CONV,SAT> in float32, which needs \d+ "
        "bits and holds 24 exactly; use fewer activation bits, or quantized_relu$",
    ):
        lower(model, coarse, "m")
    assert_equal_to_keras(model_of((4,), qdense(3, "d", 2), activation(qkeras.quantized_relu(16), "a")), coarse)


# Files ------------------------------------------------------------------------------------------


def test_a_saved_model_lowers_to_the_same_graph(tmp_path):
    net = DeepSets(3, bits=4, phi=(4,), rho=(4,))
    model = scattered(net.build(), 3)
    model.save(tmp_path / "m.keras")
    assert lower(load_keras(tmp_path / "m.keras"), net.input, "m").digest == lower(model, net.input, "m").digest


@pytest.mark.slow
def test_a_saved_model_loads_in_a_fresh_process(tmp_path):
    """Our own layers must be known to the loader itself, not only where something else has imported them."""
    DeepSets(3, bits=4, phi=(4,), rho=(4,)).build().save(tmp_path / "m.keras")
    code = "import sys, pathlib; from edgephys.models.trained import load_keras; load_keras(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.keras")], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-500:]


def test_a_file_with_a_lambda_is_refused_without_running_it(tmp_path):
    path = tmp_path / "m.keras"
    model_of((2,), keras.layers.Lambda(lambda x: x, name="code")).save(path)
    with pytest.raises(
        ModelError,
        match=r"^layer 'code': refused: it holds a Lambda or pickled code, which would run on loading; use",
    ):
        load_keras(path)


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.txt"])
def test_a_file_that_is_no_keras_archive_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n not a zip")
    kind = "a Keras file" if name == "m.txt" else rf"a whole {path.suffix} file \(safe mode\)"
    with pytest.raises(ModelError, match=rf"^{path}: expected {kind}.*, found "):
        load_keras(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.keras"
    model_of((2,), qdense(2, "d")).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=rf"^{path}: expected a whole \.keras file"):
        load_keras(path)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=rf"^{tmp_path}/m\.keras: no such file; check the path$"):
        load_keras(tmp_path / "m.keras")


def test_the_mean_lowers_to_a_sum_and_a_reciprocal():
    graph = assert_equal_to_keras(model_of((5, 2), ConstituentMean(name="pool")))
    assert [type(node.op) for node in graph.nodes] == [Input, Sum, Scale]


def channels(name, signed=False, integer=(0, 1, -1), fraction=(5, 3, 6)):
    return ChannelActivation(signed, list(integer), list(fraction), name=name)


@pytest.mark.parametrize("signed", [False, True])
def test_channels_are_each_rounded_and_clipped_to_their_own_format(signed):
    graph = assert_equal_to_keras(model_of((4, 2), qdense(3, "d"), channels("a", signed), qdense(2, "e")))
    widths = [node.fixed.bits - signed for node in graph.nodes if isinstance(node.op, Requantise)]
    assert sorted(widths) == [4, 5, 5] and {node.layer for node in graph.nodes} == {"x", "d", "e"}


def test_an_input_s_channels_have_formats_of_their_own():
    assert_equal_to_keras(model_of((4, 3), channels("a", True), qdense(2, "d")))


def test_channels_of_one_format_are_rounded_together():
    graph = assert_equal_to_keras(
        model_of((4, 2), qdense(3, "d"), channels("a", integer=(0, 0, 0), fraction=(4, 4, 4)))
    )
    assert Take not in {type(node.op) for node in graph.nodes}


def test_ties_are_exact_in_keras_however_it_runs_the_layer():
    """TensorFlow's own quotient of a tie by a constant of several steps may lie below it."""
    layer = channels("a", fraction=(5, 5, 6))
    ties = np.repeat((np.arange(64, dtype=np.float32) + 0.5)[:, None] / 64, 3, 1)
    model = model_of((3,), layer)
    np.testing.assert_array_equal(model.predict(ties, verbose=0), np.asarray(layer(ties)))


def test_formats_for_other_channels_are_refused_by_name():
    layer = channels("a")
    model = model_of((4, 3), layer)
    layer.integer, layer.fraction = (0,), (4,)
    with pytest.raises(ModelError, match="layer 'a': it has formats for 1 channels, but reads 3"):
        lower(model, Fixed(True, 8, 3), "m")


def test_pairs_lower_to_rows_of_both_and_one_sum():
    inputs = keras.Input((3, 2), name="x")
    pairs = Pairs(name="pairs")([inputs, qdense(2, "sent")(inputs)])
    graph = assert_equal_to_keras(keras.Model(inputs, ReceivedSum(name="received")(pairs)))
    wires = [node for node in graph.nodes if isinstance(node.op, Take)]
    assert [(node.layer, node.op.rows.tolist()) for node in wires] == [
        ("pairs_receivers", [[0, 0], [1, 1], [2, 2]]),
        ("pairs_senders", [[1, 2], [0, 2], [0, 1]]),
    ]
    assert [type(node.op) for node in graph.nodes if node.layer in ("pairs", "received")] == [Add, Sum]


def test_the_layers_of_an_interaction_network_are_its_functions():
    net = InteractionNetwork(3, effects=(4, 3), objects=(4,), classifier=(4,))
    graph = assert_equal_to_keras(net.build(), net.input)
    assert [name for name, _ in graph.layers()] == [
        *("constituents", "receiver", "sender", "pairs_receivers", "pairs_senders", "pairs", "effect_2", "received"),
        *("node", "object_1", "pool", "classifier_1", "logits"),
    ]
