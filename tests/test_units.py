"""Imported models are predicted and scored in the units, shapes and order of axes of their files."""

import numpy as np
import onnx_models
import onnxruntime
import pytest
from keras_models import INPUT, activation, model_of, qdense, refuses

import edgephys as ep
from edgephys.core.errors import ModelError, UsageError
from edgephys.models.files.keras import lower
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.lower import lower as lower_onnx
from edgephys.networks.backend import keras, qkeras

SCALE = 0.031
STEPS = 2.0**-5


def quantised(m, x, scale, zero):
    at = len(m.nodes)
    parameters = m.const(f"s{at}", scale), m.const(f"z{at}", zero, np.uint8)
    return m.op("DequantizeLinear", m.op("QuantizeLinear", x, *parameters), *parameters)


def loaded(tmp_path, shape, build):
    model = onnx_models.Model(shape, domain="")
    model.opsets = model.opsets[:1]
    path = model.save(tmp_path / "mine.onnx", *build(model))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def values(x):
        rows = [session.run(None, {"x": row[None].astype(np.float32)}) for row in x]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    return ep.load(path, out=tmp_path / "mine"), values


def field(m):
    x = quantised(m, "x", SCALE, 117)
    x = m.op("MaxPool", x, kernel_shape=[2, 1], strides=[2, 1])
    return (quantised(m, m.op("Relu", x), 0.0713, 3),)


def test_a_field_of_free_scales_is_predicted_as_onnxruntime_gives_it(tmp_path):
    model, values = loaded(tmp_path, (4, 4, 4), field)
    x = SCALE * np.random.default_rng(1).integers(-117, 138, (40, 4, 4, 4))
    assert np.allclose(model.predict(x), values(x)[0], rtol=1e-6, atol=1e-6)


def test_several_outputs_of_free_scales_are_predicted_each_in_its_own(tmp_path):
    def ends(m):
        x = quantised(m, "x", SCALE, 117)
        pooled = m.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        return quantised(m, pooled, 0.0713, 3), quantised(m, m.op("Relu", x), 0.0517, 0)

    model, values = loaded(tmp_path, (2, 4, 4), ends)
    x = SCALE * np.random.default_rng(1).integers(-117, 138, (40, 2, 4, 4))
    expected = np.concatenate([part.reshape(len(x), -1) for part in values(x)], axis=1)
    assert np.allclose(model.predict(x), expected, rtol=1e-6, atol=1e-6)


def test_numbers_of_a_free_scale_are_scored_in_their_own_units(tmp_path, run):
    model, values = loaded(
        tmp_path, (3,), lambda m: (quantised(m, m.op("Relu", quantised(m, "x", SCALE, 117)), 0.0713, 3),)
    )
    x = SCALE * np.random.default_rng(1).integers(-117, 138, (60, 3))
    np.savez(tmp_path / "mine.npz", x=x, y=values(x)[0].astype(np.float64))
    metrics = run("score", model.folder, "--data", tmp_path / "mine.npz", "--json").json["metrics"]
    assert metrics["relative_l2"] < 1e-6 and metrics["r2"] > 0.999999


@pytest.mark.parametrize(
    "x", [np.full((1, 3), np.nan), [[1, 2], [3]], [["a", "b", "c"]], np.zeros((0, 3)), np.zeros(3), 1]
)
def test_inputs_that_are_none_are_refused_in_words(tmp_path, x):
    model, _ = loaded(tmp_path, (3,), lambda m: (m.op("Relu", quantised(m, "x", SCALE, 117)),))
    with pytest.raises(UsageError, match=r"^x: expected finite numbers of shape \(example, 3\), found "):
        model.predict(x)


@pytest.mark.slow
def test_a_quantised_sigmoid_is_class_1_above_one_half_at_import_score_and_verification(tmp_path, run):
    net = model_of((2,), qdense(1, "logit"), activation("quantized_sigmoid(6)", "probability"))
    net.save(tmp_path / "mine.keras")
    x = STEPS * np.random.default_rng(1).integers(-64, 64, (200, 2))
    y = (net.predict(x.astype(np.float32), verbose=0)[:, 0] > 0.5).astype(int)
    assert 20 < y.sum() < 180
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    words = ("--data", tmp_path / "mine.npz", "--json")
    imported = run(
        "import", tmp_path / "mine.keras", "--input-format", "fixed<7,2>", "--out", tmp_path / "mine", *words
    )
    assert imported.status == 0
    assert ep.load(tmp_path / "mine").card.metrics["accuracy"] == 1
    assert run("score", tmp_path / "mine", *words).json["metrics"]["accuracy"] == 1
    assert run("emit", tmp_path / "mine", "--to", "c", "--out", tmp_path / "c").status == 0
    verified = run("verify", tmp_path / "c", "--json")
    assert verified.status == 0 and verified.json["score"]["failures"] == []


def test_models_without_an_axis_or_an_operation_are_refused(tmp_path):
    scalar, pair = keras.Input((), name="x"), keras.Input((2,), name="x")
    with pytest.raises(
        ModelError, match=r"^model 'm': input 'x' must have an axis behind the batch, not the shape \(\)"
    ):
        lower(keras.Model(scalar, keras.ops.expand_dims(scalar, -1)), INPUT, "m")
    with pytest.raises(ModelError, match=r"^model 'm': its output is its input; expected a model that computes"):
        lower(keras.Model(pair, keras.layers.Dropout(0.1)(pair)), INPUT, "m")
    for shape, kind, message in (
        ((), "Relu", "input 'x' must have an axis behind"),
        ((2,), "Identity", "is its input"),
    ):
        model = onnx_models.Model(shape)
        path = model.save(tmp_path / f"{kind}.onnx", model.op(kind, "x"))
        with pytest.raises(ModelError, match=message):
            lower_onnx(onnx_file.read(path), "m", INPUT)


def test_a_quantiser_that_keras_cannot_compute_is_refused_by_its_layer():
    message = r"layer 'a': quantized_relu cannot be computed by Keras itself \(.*negative.*\); change its settings"
    refuses(message, qdense(2, "d"), activation(qkeras.quantized_relu(4, -1), "a"))
