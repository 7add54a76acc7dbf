"""Operations of keras.ops, embeddings and layers in time are Keras' own numbers bit for bit."""

import numpy as np
import pytest
from keras_models import activation, bits, model_of, qdense, scattered
from test_keras_layers import equal

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras, qkeras

OPS = keras.ops
OPERATIONS = {
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "maximum": OPS.maximum,
    "minimum": OPS.minimum,
    "product": lambda x, y: x * y,
    "product with a repeated factor": lambda x, y: OPS.sum(y, axis=1, keepdims=True) * x,
    "lines": lambda x, y: 0.5 * x + (1 - y) / 4 - (-x),
    "relu": lambda x, y: OPS.relu(x - 0.25),
    "absolute": lambda x, y: OPS.abs(x),
    "square": lambda x, y: OPS.square(x),
    "clip": lambda x, y: OPS.clip(x, -0.3, 0.4),
    "function of a constant": lambda x, y: OPS.tanh(x * 0.3 + 0.1),
    "numbers of the channels": lambda x, y: x * np.array([1.0, 0.5, -2.0, 0.25], np.float32),
    "concatenation": lambda x, y: OPS.concatenate([x, y], axis=-1),
    "stack": lambda x, y: OPS.stack([x, y], axis=1),
    "split": lambda x, y: OPS.split(x, 2, axis=-1)[1],
    "part": lambda x, y: x[:, 1:3],
    "reshape": lambda x, y: OPS.reshape(x, (-1, 2, 2)),
    "transposition": lambda x, y: OPS.transpose(OPS.reshape(x, (-1, 2, 2)), (0, 2, 1)),
    "axis": lambda x, y: OPS.squeeze(OPS.expand_dims(x, 1), 1),
    "padding": lambda x, y: OPS.pad(x, ((0, 0), (1, 2))),
    "reflection": lambda x, y: OPS.pad(x, ((0, 0), (2, 1)), mode="reflect"),
    "flip": lambda x, y: OPS.flip(x, axis=1),
    "repetition": lambda x, y: OPS.repeat(x, 2, axis=1),
    "total": lambda x, y: OPS.sum(OPS.reshape(x, (-1, 2, 2)), axis=(1, 2), keepdims=True),
    "mean": lambda x, y: OPS.mean(x[:, :3], axis=1, keepdims=True),
    "largest": lambda x, y: OPS.max(OPS.reshape(x, (-1, 2, 2)), axis=-1),
    "largest with a constant": lambda x, y: OPS.max(OPS.reshape(x, (-1, 2, 2)), axis=-1, initial=0.3),
}


def joined(join, after=True):
    """Return a model of an operation on two rounded branches."""
    inputs = keras.Input((5,), name="x")
    branches = [activation(bits(6, 1), f"q{name}")(qdense(4, name)(inputs)) for name in "ab"]
    result = join(*branches)
    return keras.Model(inputs, activation(bits(6, 1), "q")(result) if after else result)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_keras_bit_for_bit(name):
    equal(joined(OPERATIONS[name]))


@pytest.mark.parametrize(
    ("join", "message"),
    [
        (lambda x, y: OPS.cumsum(x, axis=1), r"layer '\w+': keras.ops' Cumsum cannot be computed exactly; use "),
        (lambda x, y: OPS.sum(x, axis=0), r"layer '\w+': keras.ops' Sum must keep the examples apart; state "),
        (lambda x, y: OPS.flip(x, axis=0), r"layer '\w+': keras.ops' Flip must move the elements "),
        (lambda x, y: OPS.pad(x, ((0, 0), (1, 0)), constant_values=9), r"layer '\w+': keras.ops' Pad must move "),
        (lambda x, y: OPS.pad(x, ((0, 0), (1, 0)), constant_values=0.5), r"layer '\w+': keras.ops' Pad must move "),
        (
            lambda x, y: OPS.pad(x, ((0, 0), (1, 0)), mode="edge"),
            r"layer '\w+': keras.ops' Pad cannot be computed by Keras itself \(.*EDGE.*\); change its settings$",
        ),
        (
            lambda x, y: x * OPS.reshape(y, (-1, 1, 4)),
            r"layer '\w+': both tensors must have as many axes, not \(4,\) and \(1, 4\) behind the examples, which ",
        ),
        (lambda x, y: x * np.ones((3, 1, 4), np.float32), r"layer '\w+': constants must be one number, "),
    ],
    ids=["unknown", "examples summed", "examples moved", "no zeros", "halves", "unknown mode", "ranks", "constants"],
)  # fmt: skip
def test_an_operation_that_is_not_read_is_refused_by_its_name(join, message):
    with pytest.raises(ModelError, match=f"^{message}"):
        lowered(joined(join, after=False), Fixed(True, 8, 3), "m")


def test_operations_and_outputs_by_name_come_in_from_a_file(tmp_path):
    inputs = keras.Input((5,), name="x")
    first = activation(bits(6, 1), "q")(qdense(4, "a")(inputs))
    model = keras.Model(inputs, {"sum": OPS.reshape(first, (-1, 2, 2)) * 0.5, "other": qdense(3, "b")(first)})
    scattered(model, 0).save(tmp_path / "m.keras")
    low = equal(keras_file.read(tmp_path / "m.keras"), scatter=False)
    assert low.graph.output.shape == (7,)


# Embeddings and layers in time ----------------------------------------------------------------------


def embedded(integers, dtype="int32"):
    inputs = keras.Input((4,), dtype=dtype, name="x")
    values = keras.layers.Embedding(integers, 3, name="e")(inputs)
    return scattered(keras.Model(inputs, qdense(2, "d")(activation(bits(6, 1), "q")(values))), 0)


def test_an_embedding_is_a_table_for_each_of_its_numbers():
    low, generator = lowered(embedded(8), Fixed(False, 3, 3), "m"), np.random.default_rng(0)
    x = generator.integers(0, 8, (100, 4))
    golden = evaluate.run(low.graph, x)
    np.testing.assert_array_equal(KerasFileReference(low).outputs(x), golden)
    assert len(np.unique(golden)) > 9


def test_integers_beyond_an_embedding_are_refused():
    for fixed in (Fixed(False, 4, 4), Fixed(True, 3, 3)):
        with pytest.raises(
            ModelError, match=r"layer 'e': its inputs must be integers from 0 to 7; state such an input "
        ):
            lowered(embedded(8), fixed, "m")


# Quantisers that are not what they seem -------------------------------------------------------------


@pytest.mark.parametrize("alpha", ["auto", "auto_po2"])
def test_a_scale_that_follows_the_data_is_refused(alpha):
    layer = activation(qkeras.quantized_bits(6, 1, alpha=alpha), "q")
    with pytest.raises(ModelError, match=rf"layer 'q': alpha='{alpha}' takes its scale from the data of a batch; set"):
        lowered(model_of((5,), qdense(3, "d"), layer), Fixed(True, 8, 3), "m")


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        ([qdense(3, "d"), activation(qkeras.bernoulli(), "q")], "layer 'q'"),
        ([qdense(3, "d", kernel_quantizer=qkeras.bernoulli(alpha=1))], "layer 'd' kernel"),
    ],
)
def test_a_quantiser_that_is_random_at_inference_is_refused(layers, where):
    with pytest.raises(ModelError, match=f"{where}: bernoulli is random at inference, too; use binary or ternary"):
        lowered(scattered(model_of((5,), *layers), 0), Fixed(True, 8, 3), "m")
