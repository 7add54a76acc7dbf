"""Float ONNX models are quantised as Keras models are, after a comparison with the file."""

import numpy as np
import pytest
from onnx_models import Model

from edgephys.core.errors import ModelError
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx import to_keras
from edgephys.train.quantise.run import Settings, quantise


def weight(m, *shape):
    return m.const(f"w{len(m.nodes)}_{len(m.initialisers)}", m.random.normal(0, 0.4, shape))


def normalised(m, x, channels):
    values = [m.random.normal(0, 1, channels) for _ in range(3)]
    names = [m.const(f"bn{len(m.nodes)}_{at}", own) for at, own in enumerate(values)]
    return m.op("BatchNormalization", x, *names, m.const(f"var{len(m.nodes)}", m.random.uniform(0.5, 2, channels)))


def mlp(m):
    x = m.op("Relu", m.op("Add", m.op("MatMul", "x", weight(m, 6, 8)), weight(m, 8)))
    axes = m.const("axes", [2], np.int64)
    x = m.op("Squeeze", normalised(m, m.op("Unsqueeze", x, axes), 8), axes)
    return m.op("Softmax", m.op("Gemm", x, weight(m, 3, 8), weight(m, 3), transB=1), axis=-1)


def cnn(m):
    """Channels first, as PyTorch exports: padding, a depthwise convolution, a skip, a mean, and a Flatten."""
    x = m.op("Relu", normalised(m, m.op("Conv", "x", weight(m, 4, 2, 3, 3), pads=[1] * 4), 4))
    y = m.op("Conv", x, weight(m, 4, 1, 3, 3), weight(m, 4), group=4, pads=[1] * 4)
    x = m.op("MaxPool", m.op("Add", x, y), kernel_shape=[2, 2], strides=[2, 2])
    flat = m.op("Flatten", x)
    mean = m.op("Reshape", m.op("GlobalAveragePool", x), m.const("to", [0, -1], np.int64))
    return m.op("Gemm", m.op("Concat", flat, mean, axis=1), weight(m, 3, 20), transB=1)


def row(m):
    """Channels last, as keras2onnx exports: Transposes around a convolution of one axis."""
    x = m.op("Conv", m.op("Transpose", "x", perm=[0, 2, 1]), weight(m, 3, 2, 3), pads=[1, 1])
    x = m.op("Clip", x, m.const("low", 0.0), m.const("high", 6.0))
    return m.op("Tanh", m.op("MatMul", m.op("Flatten", m.op("Transpose", x, perm=[0, 2, 1])), weight(m, 18, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shape"), [(mlp, (6,)), (cnn, (2, 4, 4)), (row, (6, 2))])
def test_a_float_onnx_model_is_quantised_and_exact(tmp_path, build, shape):
    model = Model(shape)
    path = model.save(tmp_path / "m.onnx", build(model))
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).normal(size=(200, *shape)))
    record = quantise(path, tmp_path / "mine.npz", tmp_path / "out", Settings(8)).record
    assert record["exact"]
    assert record["distance"] < 0.1


def test_what_cannot_be_quantised_is_refused_by_its_node(tmp_path):
    def refused(message, add):
        model = Model((4,))
        path = model.save(tmp_path / "m.onnx", add(model))
        with pytest.raises(ModelError, match=message):
            to_keras.keras_model(onnx_file.read(path))

    refused("it is quantised already; bring the model in: `edgephys import ", lambda m: m.quant("x", 4, 1.0))
    refused(r"node '/sin' \(Sin\): has no layer to be quantised; use one", lambda m: m.op("Sin", "x", name="/sin"))
    refused(r"\(Add\): reads a constant where a computed tensor is", lambda m: m.op("Add", "x", m.const("c", [1.0])))
    refused(r"\(MatMul\): its second factor must be constant", lambda m: m.op("MatMul", "x", "x"))
    refused(r"\(Transpose\): perm must leave the batch first", lambda m: m.op("Transpose", "x", perm=[1, 0]))
    refused(r"\(Clip\): its lower end must be 0, not -1", lambda m: m.op("Clip", "x", m.const("a", -1)))
    refused(r"\(Gemm\): transA must be 0", lambda m: m.op("Gemm", "x", weight(m, 4, 4), transA=1))
    refused(r"\(Conv\): fields must have 1 or 2 axes, not 0", lambda m: m.op("Conv", "x", weight(m, 1, 4)))
