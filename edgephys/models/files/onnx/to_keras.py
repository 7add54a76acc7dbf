"""A float ONNX model as a Keras model with the same weights, for what trains and quantises."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError, ModelError
from edgephys.core.remedies import bring_in
from edgephys.models.files.onnx.constants import folded
from edgephys.models.files.onnx.conversion import Conversion, KerasTensor
from edgephys.models.files.onnx.file import OnnxModel
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.reading import word
from edgephys.models.files.onnx.rules import QUANTISERS
from edgephys.models.files.onnx.to_keras_rules import RULES
from edgephys.networks.backend import keras, predict
from edgephys.targets.qonnx import doubles

TOLERANCE = 1e-4
"""Largest relative L2 difference of the outputs of both models, in float32 and float64."""
COMPARED = 16


def keras_model(model: OnnxModel) -> Any:
    """Return the Keras model of a float ONNX model, compared with it on random inputs.

    Raises: ModelError naming the operator that has no layer here; MismatchError where the outputs differ.
    """
    if any(operation.kind in QUANTISERS for operation in model.operations):
        raise ModelError(f"{model.path}: it is quantised already; bring the model in: {bring_in(model.path)}")
    values: dict[str, Any] = {key: Known(value, key) for key, value in model.constants.items()}
    inputs = [keras.Input(shape, name=word(name)) for name, shape in model.inputs.items()]
    for (name, shape), tensor in zip(model.inputs.items(), inputs, strict=True):
        values[name] = KerasTensor(tensor, tuple(range(len(shape))))
    work = Conversion(model, values, {word(name) for name in model.inputs})
    for operation in model.operations:
        xs = [work.values[key] for key in operation.inputs if key]
        with operation.whole():
            if all(isinstance(x, Known) for x in xs):
                results: Any = folded(operation, xs, model.opset)
            elif operation.kind not in RULES:
                raise operation.refused(f"has no layer to be quantised; use one of {', '.join(sorted(RULES))}")
            else:
                results = [RULES[operation.kind](work, operation, xs)]
        work.values.update(zip(operation.outputs, results, strict=False))
    ends = [work.values[name] for name in model.outputs]
    last = model.operations[-1]
    outputs = [work.plain(last, end).tensor for end in ends]
    result = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0])
    _require_equal(model, result)
    return result


def _require_equal(model: OnnxModel, result: Any) -> None:
    generator = np.random.default_rng(0)
    feeds = {name: generator.normal(size=(COMPARED, *shape)) for name, shape in model.inputs.items()}
    expected = doubles.execute(model.proto, feeds, model.outputs, COMPARED)
    x = [values.astype(np.float32) for values in feeds.values()]
    computed = predict(result, x if len(x) > 1 else x[0], COMPARED)
    computed = computed if isinstance(computed, list) else [computed]
    for name, values in zip(model.outputs, computed, strict=True):
        wanted = expected[name].reshape(values.shape)
        if np.linalg.norm(values - wanted) > TOLERANCE * np.linalg.norm(wanted):
            raise MismatchError(
                f"{model.path}: output '{name}' changes when the model is read as Keras layers; this is a fault of "
                f"ours: report it with the file"
            )
