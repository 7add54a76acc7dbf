"""A function of a user's script may return a model of several inputs, which are joined into one."""

import json

import numpy as np
import pytest

import edgephys as ep
from edgephys.core.errors import DataError, ModelError
from edgephys.models.card import read_card
from edgephys.models.input_names import inputs_of, numbered
from edgephys.networks.joined import joined, parts_of
from edgephys.train.fit import prepare
from edgephys.train.recipe import completed
from edgephys.train.script import script_recipe

SCRIPT = """
import keras
from qkeras import QActivation, QConv2D, QDense, quantized_bits, quantized_relu

RECIPE = {"epochs": 2, "batch": 64, "learning_rate": 0.02}

def model(bits: int = 6):
    weights = quantized_bits(bits, 0, alpha=1)
    field, scalars = keras.Input((4, 4, 1), name="field"), keras.Input((3,), name="scalars")
    flow = QConv2D(2, (3, 3), kernel_quantizer=weights, bias_quantizer=weights, name="conv")(field)
    flow = keras.layers.Flatten()(QActivation(quantized_relu(bits, 2))(flow))
    shared = QDense(2, kernel_quantizer=weights, bias_quantizer=weights, name="shared")
    both = keras.layers.Concatenate()([flow, shared(scalars), shared(scalars[:, ::-1])])
    both = QActivation(quantized_bits(bits, 2, alpha=1))(both)
    last = QDense(2, kernel_quantizer=weights, bias_quantizer=weights, name="last")
    return keras.Model([field, scalars], last(both))
"""


FLOAT = """
import keras

RECIPE = {"epochs": 8, "batch": 32, "learning_rate": 0.02}

def model():
    field, scalars = keras.Input((4, 4, 1), name="field"), keras.Input((3,), name="scalars")
    flow = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="relu")(field))
    return keras.Model([field, scalars], keras.layers.Dense(2)(keras.layers.Concatenate()([flow, scalars])))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The script, and arrays by the inputs' names: the class follows from both."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "two.py").write_text(SCRIPT)
    generator = np.random.default_rng(2)
    y = generator.integers(0, 2, 400)
    field = generator.normal(0, 0.3, (400, 4, 4, 1)) + y[:, None, None, None]
    scalars = generator.normal(0, 0.3, (400, 3)) - y[:, None]
    np.savez(folder / "mine.npz", field=field, scalars=scalars, y=y)
    np.savez(folder / "numbered.npz", x0=field, x1=scalars, y=y)
    return folder, field, scalars


@pytest.fixture(scope="module")
def trained(files):
    from conftest import command_line

    folder, *_ = files
    done = command_line("train", folder / "two.py", "--data", folder / "mine.npz", "--out", folder / "m", "--json")
    assert done.status == 0, done.err
    return folder / "m", done


@pytest.mark.slow
def test_a_model_of_two_inputs_learns_and_its_card_states_them(trained):
    out, done = trained
    assert done.json["metrics"]["accuracy"] > 0.8
    card = read_card(out)
    assert card.net["network_inputs"] == {"field": [4, 4, 1], "scalars": [3]} and card.net["network_input"] == [19]
    assert card.standardisation.names[:2] == ("field[0,0,0]", "field[0,1,0]")
    assert card.standardisation.names[-1] == "scalars[2]"


@pytest.mark.parametrize("target", ["c", "onnx"])
def test_it_is_exact_on_processors(trained, run, tmp_path, target):
    assert run("emit", trained[0], "--to", target, "--out", tmp_path / target).status == 0
    done = run("verify", tmp_path / target, "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls", "qonnx"])
def test_it_is_exact_on_every_other_target(trained, run, tmp_path, target):
    test_it_is_exact_on_processors(trained, run, tmp_path, target)


def test_data_are_read_by_the_names_of_the_inputs_or_their_numbers(trained, files, run, tmp_path):
    folder, *_ = files
    scores = [run("score", trained[0], "--data", folder / file, "--json") for file in ("mine.npz", "numbered.npz")]
    assert [done.status for done in scores] == [0, 0], scores[0].err
    assert scores[0].json["metrics"] == scores[1].json["metrics"]
    assert run("emit", trained[0], "--to", "c", "--out", tmp_path / "c").status == 0
    done = run("verify", tmp_path / "c", "--data", folder / "mine.npz", "--limit", "30", "--json")
    assert done.status == 0, done.err
    assert done.json["vectors"] == 30 and done.json["mismatches"] == 0


def test_predict_takes_the_arrays_by_name_in_order_or_joined(trained, files):
    _, field, scalars = files
    model = ep.load(trained[0])
    expected = model.predict(np.concatenate([field.reshape(400, -1), scalars], axis=1))
    assert np.array_equal(model.predict({"scalars": scalars, "field": field}), expected)
    assert np.array_equal(model.predict([field, scalars]), expected)


def test_arrays_of_other_names_or_shapes_are_refused(files, tmp_path):
    folder, field, scalars = files
    recipe = script_recipe(folder / "two.py")
    np.savez(tmp_path / "a.npz", picture=field, scalars=scalars)
    with pytest.raises(DataError, match=r"expected the inputs as field, scalars \(or x0 \.\. x1\), found picture, sca"):
        completed(recipe, tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", field=field[:, :3], scalars=scalars)
    with pytest.raises(DataError, match=r"input 'field' must be numbers of shape \(example, 4, 4, 1\), not float64"):
        completed(recipe, tmp_path / "b.npz")
    complete, _ = completed(recipe, folder / "mine.npz")
    with pytest.raises(DataError, match=r"expected the inputs as field, scalars"):
        prepare(complete, tmp_path / "a.npz")


@pytest.mark.slow
def test_the_joined_model_computes_what_the_functions_model_does(files):
    """The layers are other ones, with the weights of the first; a layer that is called twice is one layer."""
    folder, field, scalars = files
    own = script_recipe(folder / "two.py").net.returned()
    one = joined(own, "here")
    flat = np.concatenate([field.reshape(400, -1), scalars], axis=1)[:50].astype(np.float32)
    expected = own.predict([field[:50], scalars[:50]], verbose=0)
    assert np.array_equal(one.predict(flat, verbose=0), expected)
    assert one.count_params() == own.count_params()
    assert one.get_layer("conv") is not own.get_layer("conv") and len(one.get_layer("conv")._inbound_nodes) == 1
    own.get_layer("conv").kernel.assign(own.get_layer("conv").kernel * 0)
    assert np.array_equal(one.predict(flat, verbose=0), expected)


def test_a_model_of_one_input_stays_as_it_is_and_a_name_is_not_used_twice():
    from edgephys.networks.backend import keras

    alone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert joined(alone, "here") is alone and parts_of(alone) == {}
    a, b = keras.Input((2,), name="inputs"), keras.Input((), name="b")
    one = joined(keras.Model({"inputs": a, "b": b}, keras.layers.Concatenate()([a, b[:, None]])), "here")
    assert one.inputs[0].name == "inputs_" and one.input_shape == (None, 3)
    assert parts_of(one) == {"b": (), "inputs": (2,)}
    swapped = np.eye(3)[[2, 0, 1]]  # Keras sorts the inputs of a mapping by name
    assert np.array_equal(one.predict(np.eye(3), verbose=0), swapped)


@pytest.mark.slow
def test_a_saved_model_is_quantised_and_imported_with_the_same_data(files, run, tmp_path):
    """Of float layers; edgephys quantise takes the layers that cut the joined input, and reads the arrays by name."""
    folder, *_ = files
    (tmp_path / "float.py").write_text(FLOAT)
    done = run("train", tmp_path / "float.py", "--data", folder / "mine.npz", "--out", tmp_path / "f")
    assert done.status == 0, done.err
    words = ("--data", folder / "mine.npz", "--json")
    done = run("quantise", tmp_path / "f" / "model.keras", "--bits", "6", "--out", tmp_path / "q", *words)
    assert done.status == 0, done.err
    done = run("score", tmp_path / "q", *words)
    assert done.status == 0 and done.json["metrics"]["accuracy"] > 0.8, done.err


def test_parts_of_other_models_are_none():
    from edgephys.networks.backend import keras

    x = keras.Input((4,))
    column = keras.layers.Reshape((4, 1))(x)
    cuts = [keras.layers.Cropping1D(ends) for ends in ((0, 2), (1, 1))]  # which overlap
    ends = [keras.layers.Reshape((2,))(cut(column)) for cut in cuts]
    assert parts_of(keras.Model(x, keras.layers.Add()(ends))) == {}
    assert parts_of(keras.Model(x, keras.layers.Flatten()(column))) == {}


class Scaled:
    """Stand for a script: a layer without its settings, and inputs of two types."""

    @staticmethod
    def layer():
        from edgephys.networks.backend import keras

        class Own(keras.layers.Layer):
            def __init__(self, factor, **settings):
                super().__init__(**settings)
                self.factor = factor

            def call(self, x):
                return x * self.factor

            def get_config(self):
                return super().get_config()

        a, b = keras.Input((2,)), keras.Input((2,))
        return keras.Model([a, b], Own(2)(a + b))

    @staticmethod
    def types():
        from edgephys.networks.backend import keras

        a, b = keras.Input((2,)), keras.Input((2,), dtype="int32")
        return keras.Model([a, b], a + keras.ops.cast(b, "float32"))


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ModelError, match=r"here: a layer of a model of 2 inputs cannot be made again .*factor.*; let "):
        joined(Scaled.layer(), "here")
    with pytest.raises(ModelError, match=r"here: all inputs must be of one type, found float32, int32; use one in"):
        joined(Scaled.types(), "here")


def test_names_of_numbers_state_the_shapes_of_the_inputs():
    shapes = {"a[0]": (2, 3), "b": (), "c": (4,)}
    names = numbered(shapes)
    assert len(names) == 11 and names[5:8] == ("a[0][1,2]", "b[]", "c[0]")
    assert inputs_of(json.loads(json.dumps(names))) == shapes
    assert inputs_of(("x0", "x1")) == {} and inputs_of(()) == {}


def test_an_operation_of_a_script_that_stages_cannot_follow_is_named(trained, files):
    from edgephys.compress.start_model import start_model

    with pytest.raises(ModelError, match=r"^operation 'get_item.*' \(GetItem\): stages follow layers, not operations"):
        start_model(trained[0], files[0] / "mine.npz")


def test_units_are_removed_behind_the_layers_that_cut_a_joined_input():
    from keras_models import qdense

    from edgephys.compress.stages.shrink import Shrink
    from edgephys.compress.trainable import trainable
    from edgephys.networks.backend import keras

    parts = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    hidden = keras.layers.Concatenate()([qdense(4, "d")(parts[0]), qdense(3, "e")(parts[1])])
    model = trainable(joined(keras.Model(parts, qdense(2, "end")(hidden)), "here"))
    kernel, bias = model.get_layer("end").get_weights()
    kernel[[1, 5]] = 0  # nothing reads these units of d and e
    model.get_layer("end").set_weights([kernel, bias])
    small, x = Shrink().apply(model, None, 1).model, np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    assert [small.get_layer(name).output.shape[1] for name in ("d", "e")] == [3, 2]
    assert np.array_equal(np.asarray(small(x)), np.asarray(model(x)))
