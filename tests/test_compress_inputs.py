"""Imported models of several inputs are compressed: the inputs are joined into one, which layers cut again."""

import json

import numpy as np
import pytest
from conftest import no_ranks
from keras_models import activation, bits, model_of, qdense, scattered
from pipeline_texts import FEW, FRUGAL, stage

from edgephys.compress.cost import CircuitCost
from edgephys.compress.model_structure import flow
from edgephys.compress.start_model import start_model
from edgephys.compress.trainable import trainable
from edgephys.models.card import read_card
from edgephys.models.imported_keras import inputs_of
from edgephys.models.user_data import read
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.joined import joined

RELU = "quantized_relu(6, 2)"
STAGES = (
    stage("prune", scope="neuron", density=0.7, **FEW)
    + stage("shrink")
    + stage("bitwise", **FEW)
    + FRUGAL
    + stage("untie")
)


def two_inputs():
    """Return a classifier of a field and of three numbers."""
    field, scalars = keras.Input((4, 4, 1), name="field"), keras.Input((3,), name="scalars")
    quantised = {"kernel_quantizer": bits(6), "bias_quantizer": bits(6)}
    flow = qkeras.QConv2D(3, 3, activation=RELU, name="conv", **quantised)(field)
    parts = [keras.layers.Flatten(name="flat")(flow), qdense(4, "own", 6, activation=RELU)(scalars)]
    hidden = qdense(6, "mid", 6, activation=RELU)(keras.layers.Concatenate(name="both")(parts))
    return scattered(keras.Model([field, scalars], qdense(2, "end", 6)(hidden)), 4)


@pytest.fixture(scope="module")
def top(run, tmp_path_factory):
    """A folder with the imported classifier and its data, by the names of the inputs and joined."""
    folder, generator = tmp_path_factory.mktemp("inputs"), np.random.default_rng(2)
    y = generator.integers(0, 2, 400)
    field = generator.normal(0, 0.3, (400, 4, 4, 1)) + y[:, None, None, None]
    scalars = generator.normal(0, 0.3, (400, 3)) - y[:, None]
    np.savez(folder / "named.npz", scalars=scalars, field=field, y=y)
    np.savez(folder / "joined.npz", x=np.concatenate([field.reshape(400, -1), scalars], axis=1), y=y)
    two_inputs().save(folder / "two.keras")
    words = ("--input-format", "fixed<10,4>", "--data", folder / "named.npz", "--out", folder / "two")
    done = run("import", folder / "two.keras", *words)
    assert done.status == 0, done.err
    return folder


def test_several_inputs_are_joined_and_data_are_read_by_their_names_or_joined(top):
    start = start_model(top / "two", top / "named.npz")
    assert start.trained.card.net["network_inputs"] == {"field": (4, 4, 1), "scalars": (3,)}
    assert start.trained.card.standardisation.names[15:17] == ("field[3,3,0]", "scalars[0]")
    x, labels = start.task.train
    whole = [read(top / file, inputs_of(start.trained.model)).inputs for file in ("named.npz", "joined.npz")]
    assert x.shape == (240, 19) and whole[0].shape == (400, 19) and np.array_equal(*whole)
    own = keras.models.load_model(top / "two.keras", custom_objects={**vars(qkeras)}, compile=False)
    expected = own([x[:, :16].reshape(-1, 4, 4, 1), x[:, 16:]])
    assert np.array_equal(np.asarray(start.trained.model(x)), np.asarray(expected)) and len(labels) == 240


def test_the_parts_of_a_joined_input_are_known_in_whatever_order_layers_were_made():
    inputs = [keras.Input((2,), name="a"), keras.Input((3,), name="b"), keras.Input((1,), name="c")]
    flow = qdense(2, "deep")(qdense(2, "wide")(inputs[0]))
    model = keras.Model(inputs, qdense(1, "end")(keras.layers.Concatenate()([flow, inputs[2], inputs[1]])))
    assert inputs_of(trainable(joined(model, "here"))) == {"a": (2,), "b": (3,), "c": (1,)}
    x = keras.Input((5,), name="x")
    column = keras.layers.Reshape((5, 1))(x)
    parts = []
    for name, ends, size in (("last", (3, 0), 2), ("first", (0, 2), 3)):
        parts.append(keras.layers.Reshape((size,), name=name)(keras.layers.Cropping1D(ends)(column)))
    assert list(inputs_of(keras.Model(x, keras.layers.Concatenate()(parts)))) == ["first", "last"]


@pytest.mark.parametrize(("shapes", "behind"), [(((6,), (6, 1)), [3]), (((2, 6), (3, 4)), [3] * 4)])
def test_a_reshape_that_splits_channels_passes_on_the_largest_of_all(shapes, behind):
    """So a joined input has a price: a field's channel may hold any number of the input."""
    start, end = shapes
    model = model_of(start, keras.layers.Reshape(end, name="r"))
    widths = flow(model, np.array([1, 2, 3, 1, 2, 3]), lambda layer, inputs: None)
    assert np.asarray(widths["r"]).tolist() == behind


def test_the_logic_behind_a_joined_input_is_priced_with_the_width_of_the_input():
    model = model_of((4,), keras.layers.Reshape((2, 2)), qdense(3, "d"), activation(RELU, "r"))
    cost = CircuitCost(model, 8, {})
    assert np.asarray(cost.price(model.get_layer("d"))).tolist() == [18.0, 18.0]  # of 2 copies: 8 bits and a carry


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_a_model_of_two_inputs_is_compressed_by_every_kind_of_stage_and_exact_in_c(top, run, monkeypatch):
    from edgephys.compress import gains

    monkeypatch.setattr(gains, "local_rank", no_ranks)
    (top / "all.toml").write_text(STAGES)
    words = ("--data", top / "named.npz", "--out", top / "less", "--json")
    done = run("compress", top / "two", top / "all.toml", *words)
    assert done.status == 0, done.err
    rows = done.json["rows"]
    assert rows[2]["weights"] < rows[0]["weights"] and rows[-1]["digits"] < rows[0]["digits"]
    card = read_card(top / "less" / "model")
    assert card.net["network_inputs"] == json.loads('{"field": [4, 4, 1], "scalars": [3]}')
    assert run("emit", top / "less" / "model", "--to", "c", "--out", top / "c").status == 0
    verified = run("verify", top / "c", "--data", top / "named.npz", "--limit", "30", "--json")
    assert verified.status == 0 and verified.json["mismatches"] == 0, verified.err
    verified = run("verify", top / "c", "--json")
    assert verified.status == 0 and verified.json["mismatches"] == 0 and verified.json["vectors"] == 120
