"""Files of Keras 2, of BinaryNet's layers and of HGQ come in; strangers and code are refused by the layer's name."""

import json
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from keras_models import INPUT, bits, model_of, qdense, scattered

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import FixedRounding, binary_tanh, ternary_tanh


def dense(name, units, kind="Dense", **settings):
    plain = {"name": name, "units": units, "activation": "linear", "use_bias": False, "trainable": True}
    return {"class_name": kind, "config": {**plain, "dtype": "float32", **settings}}


def activation(name, word):
    return {"class_name": "Activation", "config": {"name": name, "activation": word, "trainable": True}}


def rounding(name, shape, modes=("TRN", "WRAP")):
    plain = {"name": name, "trainable": False, "dtype": "float32", "overrides": {"layers": {}}, "fusible": False}
    return {"class_name": "FixedPointQuantizer", "config": {**plain, "RND": modes[0], "SAT": modes[1], "shape": shape}}


def written(folder, layers, weights, as_list=False, whole=False):
    """Write a model as Keras 2 does: a configuration without modules, and weights by layer; return the file to read."""
    layers[0]["config"]["batch_input_shape"] = [None, 5]
    own = layers if as_list else {"name": "old", "layers": layers}
    config = {"class_name": "Sequential", "config": own, "keras_version": "2.0.5", "backend": "tensorflow"}
    with h5py.File(folder / ("old.h5" if whole else "old_weights.h5"), "w") as file:
        group = file.create_group("model_weights") if whole else file
        names = [layer["config"]["name"] for layer in layers]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            own = weights.get(name, {})
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in own]
            for weight, values in own.items():
                layer[f"{name}/{weight}:0"] = values
        if whole:
            file.attrs["model_config"] = json.dumps(config)
    if whole:
        return folder / "old.h5"
    (folder / "old.json").write_text(json.dumps(config))
    return folder / "old.json"


def kernel(shape, seed=0):
    return {"kernel": np.random.default_rng(seed).uniform(-1.2, 1.2, shape).astype(np.float32)}


def exact(model, fixed=INPUT, count=300):
    """Compare the Graph of a model with Keras, every output of random inputs; return the outputs."""
    low = lowered(model, fixed, "m")
    x = np.random.default_rng(1).integers(fixed.low, fixed.high, (count, *low.graph.input.shape), endpoint=True)
    golden = evaluate.run(low.graph, x)
    np.testing.assert_array_equal(KerasFileReference(low).outputs(x), golden)
    assert len(np.unique(golden)) > 1
    return golden


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize(("word", "function"), [("Binary", binary_tanh), ("Ternary", ternary_tanh)])
def test_a_network_of_signs_comes_in_with_the_weights_that_it_multiplies_by(word, function, as_list, tmp_path):
    sign = f"{word.lower()}_tanh"
    layers = [dense("a", 4, f"{word}Dense", H=1.0, kernel_lr_multiplier=7.3), activation("s", sign)]
    layers += [dense("b", 3, f"{word}Dense", H=1)]
    weights = {"a": kernel((5, 4)), "b": kernel((4, 3), 1)}
    model = keras_file.read(written(tmp_path, layers, weights, as_list))
    x = np.random.default_rng(0).integers(-128, 128, (50, 5)) / 32
    first, second = (np.asarray(function(weights[name]["kernel"])) for name in "ab")
    expected = np.asarray(function((x @ first).astype(np.float32))) @ second
    np.testing.assert_array_equal(np.asarray(model(x.astype(np.float32))), expected)
    exact(model)


def test_signs_are_those_of_binarynet():
    x = np.array([-2, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 2], np.float32)
    assert np.asarray(binary_tanh(x)).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1]
    assert np.asarray(ternary_tanh(x)).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1]


def test_a_bounded_relu_of_binarynet_is_a_relu_with_a_bound(tmp_path):
    layers = [dense("a", 4, "BinaryDense", H=1), activation("r", "relu1"), dense("b", 2, "BinaryDense", H=1)]
    model = keras_file.read(written(tmp_path, layers, {"a": kernel((5, 4)), "b": kernel((4, 2), 1)}))
    assert model.get_layer("r").max_value == 1.0
    exact(model)


def test_a_scale_in_words_is_refused(tmp_path):
    file = written(tmp_path, [dense("a", 4, "BinaryDense", H="Glorot")], {"a": kernel((5, 4))})
    with pytest.raises(ModelError, match=r"layer 'a': H must be a number over 0, not 'Glorot'; save the trained model"):
        keras_file.read(file)


def test_a_model_of_hgq_comes_in_with_a_format_for_every_channel(tmp_path):
    generator = np.random.default_rng(3)
    formats = {"keep_negative": np.array([[1, 1, 0, 0]], np.int8), "bits": np.array([[5, 4, 3, 0]], np.int8)}
    formats["integers"] = np.array([[2, 3, 1, 0]], np.int8)
    plain = {name: np.array([value], np.int8) for name, value in (("keep_negative", 1), ("bits", 6), ("integers", 4))}
    layers = [rounding("q", [1]), dense("a", 4), rounding("qa", [1, 4]), activation("r", "relu"), dense("b", 2)]
    weights = {name: {"kernel": generator.integers(-8, 8, shape) / np.float32(4)} for name, shape in
               (("a", (5, 4)), ("b", (4, 2)))}  # fmt: skip
    model = keras_file.read(written(tmp_path, layers, {**weights, "q": plain, "qa": formats}, whole=True))
    exact(model)
    assert not np.asarray(model.layers[2](np.full((1, 4), 9.75)))[0, 3]


def test_a_weights_file_alone_is_no_model(tmp_path):
    written(tmp_path, [dense("a", 4)], {"a": kernel((5, 4))})
    with pytest.raises(ModelError, match=r"no configuration of a model; save the whole model, not its weights alone"):
        keras_file.read(tmp_path / "old_weights.h5")


# Roundings ------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(strategies.data())
def test_a_fixed_rounding_is_the_format_that_its_weights_state(data):
    generator = np.random.default_rng(data.draw(strategies.integers(0, 1 << 20)))
    modes = data.draw(strategies.tuples(strategies.sampled_from(["TRN", "RND", "RND_CONV"]),
                                        strategies.sampled_from(["WRAP", "SAT", "SAT_SYM"])))  # fmt: skip
    signed, width = generator.integers(0, 2, (1, 3)), generator.integers(1, 9, (1, 3))
    width = np.maximum(width, 1 + signed)
    integer = generator.integers(-3, 10, (1, 3))
    layer = FixedRounding((1, 3), *modes)
    layer.set_weights([signed, width, integer])
    x = generator.integers(-(1 << 12), 1 << 12, (200, 3)) / np.float32(64)
    for channel in range(3):
        own = [int(weight[0, channel]) for weight in (signed, width, integer)]
        fixed = Fixed(bool(own[0]), *own[1:], Rounding(modes[0]), Overflow(modes[1]))
        expected = fixed.values(fixed.quantise(x[:, channel]))
        np.testing.assert_array_equal(np.asarray(layer(x))[:, channel], expected)


@pytest.mark.parametrize("shape", [(1, 3, 2), (1, 1, 2), (1, 3, 1)])
def test_elements_with_formats_of_their_own_are_exact(shape):
    generator, layer = np.random.default_rng(0), FixedRounding(shape, "RND", "SAT", name="f")
    layer.set_weights(
        [generator.integers(0, 2, shape), generator.integers(0, 6, shape), generator.integers(1, 4, shape)]
    )
    exact(model_of((3, 2), layer))


def test_formats_of_a_float_result_are_one_a_channel():
    def of(shape):
        layer = FixedRounding(shape, "RND", "SAT", name="f")
        layer.set_weights([np.ones(shape), np.arange(np.prod(shape)).reshape(shape) + 3, np.ones(shape)])
        return model_of((2, 3), keras.layers.Activation("tanh", name="t"), layer)

    exact(of((1, 1, 3)))
    with pytest.raises(ModelError, match=r"layer 'f': its formats differ between the rows of a float result; use one"):
        lowered(of((1, 2, 3)), INPUT, "m")


def test_a_rounding_of_another_mode_is_refused():
    with pytest.raises(UsageError, match=r"layer 'f': mode must be one of TRN, RND, RND_CONV, not UP"):
        FixedRounding((1,), "UP", name="f")
    with pytest.raises(UsageError, match=r"layer 'f': mode must be one of WRAP, SAT, SAT_SYM, not CLIP"):
        FixedRounding((1,), "RND", "CLIP", name="f")


# Strangers ------------------------------------------------------------------------------------------


def test_a_layer_of_another_package_is_refused_by_its_name(tmp_path):
    file = written(tmp_path, [dense("a", 4), {"class_name": "GarNet", "config": {"name": "g"}}], {"a": kernel((5, 4))})
    with pytest.raises(ModelError, match=r"^layer 'g': GarNet is no layer of Keras, QKeras or HGQ2; use a layer of"):
        keras_file.read(file)


def test_a_stranger_with_the_name_of_a_known_class_is_refused(tmp_path):
    class QDense(keras.layers.Dense):
        """A user's own class."""

    QDense.__module__ = "mine"
    model_of((5,), QDense(3, name="d")).save(tmp_path / "stranger.keras")
    with pytest.raises(
        ModelError, match=r"^layer 'd': QDense is a class of 'mine', not of Keras or QKeras; use a layer"
    ):
        keras_file.read(tmp_path / "stranger.keras")


def test_a_stranger_that_was_registered_under_the_name_of_a_known_class_is_refused(tmp_path):
    @keras.saving.register_keras_serializable(package="mine")
    class Dense(keras.layers.Dense):
        """A user's own class."""

    Dense.__module__ = "__main__"  # a script of its own
    model_of((5,), Dense(3, name="d")).save(tmp_path / "stranger.keras")
    keras.saving.get_custom_objects().pop("mine>Dense")
    with pytest.raises(
        ModelError, match=r"^layer 'd': Dense is a class registered as 'mine>Dense', not Keras' or QKeras'; use one"
    ):
        keras_file.read(tmp_path / "stranger.keras")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("foo", 3, "Unrecognized keyword arguments passed to Dense: {'foo': 3}"),
        ("units", -3, "Received an invalid value for `units`, expected a positive integer. Received: units=-3"),
        ("activation", "none_such", "Could not interpret activation function identifier: none_such"),
    ],
)
def test_settings_that_keras_refuses_are_one_line_with_the_layer_and_the_cause(key, value, reason, tmp_path):
    model_of((5,), keras.layers.Dense(3, name="d")).save(tmp_path / "whole.keras")
    with ZipFile(tmp_path / "whole.keras") as whole, ZipFile(tmp_path / "other.keras", "w") as other:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][-1]["config"][key] = value
                content = json.dumps(config)
            other.writestr(name, content)
    with pytest.raises(ModelError) as raised:
        keras_file.read(tmp_path / "other.keras")
    expected = f"layer 'd': refused: Keras cannot make its Dense: {reason}; see docs/supported.md for what is read"
    assert str(raised.value) == f"{tmp_path / 'other.keras'}: {expected}"


def test_a_stranger_among_the_quantisers_is_refused_by_its_layer(tmp_path):
    class quantized_bits(qkeras.quantized_bits):  # noqa: N801
        """A user's own quantiser."""

    quantized_bits.__module__ = "mine"
    model_of((5,), qdense(3, "d", kernel_quantizer=quantized_bits(4, 0, alpha=1))).save(tmp_path / "q.keras")
    with pytest.raises(ModelError, match=r"^layer 'd': quantized_bits is a class of 'mine', not of Keras or QKeras"):
        keras_file.read(tmp_path / "q.keras")


def test_a_float_layer_whose_weights_are_short_is_exact():
    model = model_of((5,), keras.layers.Dense(4, name="a"), qkeras.QActivation(bits(6, 2)), keras.layers.Dense(2))
    scattered(model, 0)
    model.set_weights([np.rint(weight * 8) / 8 for weight in model.get_weights()])
    exact(model)
