"""QONNX models written by hand in the forms that Brevitas, FINN and PyTorch export."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgephys.core.fixed import Fixed
from edgephys.graph.graph import Graph
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.lower import lower

QONNX = "qonnx.custom_op.general"


class Model:
    """Collect nodes and initialisers; ``save`` writes the file."""

    def __init__(self, shape, opset=13, domain=QONNX, domain_version=1, seed=1):
        self.shape, self.domain = shape, domain
        self.opsets = [helper.make_opsetid("", opset), helper.make_opsetid(domain, domain_version)]
        self.nodes, self.initialisers = [], []
        self.random = np.random.default_rng(seed)

    def const(self, name, values, dtype=np.float32):
        self.initialisers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, kind, *inputs, name=None, domain="", outputs=1, **attributes):
        label = name or f"/{kind}_{len(self.nodes)}"
        made = [f"{label}_output_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=label, domain=domain, **attributes))
        return made[0]

    def quant(self, x, bits, scale, signed=1, narrow=0, mode="ROUND", zero=0, name=None):
        at = len(self.nodes)
        parameters = [
            self.const(f"scale_{at}", scale),
            self.const(f"zero_point_{at}", zero),
            self.const(f"bit_width_{at}", bits),
        ]
        given = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
        return self.op("Quant", x, *parameters, name=name, domain=self.domain, **given)

    def weight(self, name, shape, bits=4, per_channel=True):
        """Float weights behind a Quant, as Brevitas exports them: a scale an output channel, narrow."""
        values = self.random.normal(0, 0.5, shape)
        exponents = self.random.integers(-4, -1, (shape[0], *(1 for _ in shape[1:]))) if per_channel else -3
        return self.quant(self.const(name, values), bits, 2.0**exponents, narrow=1)

    def bias(self, name, size, bits=6):
        return self.quant(self.const(name, self.random.normal(0, 1, size)), bits, 2.0**-4)

    def proto(self, *outputs, batch=1, inputs=("x",), float_output=True):
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *self.shape]) for name in inputs]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "main", given, made, self.initialisers)
        return helper.make_model(graph, opset_imports=self.opsets, ir_version=8, producer_name="pytorch")

    def save(self, path: Path, *outputs, **options):
        path.write_bytes(self.proto(*outputs, **options).SerializeToString())
        return path


def mlp(path, opset=13, end="Softmax", batch=1, domain=QONNX):
    """Linear layers in the three forms of exporters, one behind a BatchNormalization that folds exactly."""
    model = Model((6,), opset, domain)
    x = model.quant("x", 8, 2.0**-5, name="/input_quant")
    x = model.op("Gemm", x, model.weight("fc1.weight", (8, 6)), model.bias("fc1.bias", 8), transB=1, name="/fc1/Gemm")
    parameters = [model.const(f"bn.{what}", values) for what, values in _normalisation(8)]
    x = model.op("BatchNormalization", x, *parameters, name="/bn", epsilon=float(2.0**-10))
    x = model.quant(model.op("Relu", x), 4, 2.0**-2, signed=0, name="/act1")
    x = model.op(
        "MatMul", x, model.op("Transpose", model.weight("fc2.weight", (5, 8)), perm=[1, 0]), name="/fc2/MatMul"
    )
    x = model.quant(model.op("Add", model.bias("fc2.bias", 5), x), 6, 2.0**-3, narrow=1, name="/act2")
    x = model.op("Mul", x, model.quant(model.const("gain", [0.7]), 3, 0.25), name="/gain")
    x = model.op("MatMul", x, model.weight("fc3.weight", (5, 3), per_channel=False), name="/fc3/MatMul")
    return model.save(path, model.op(end, x, axis=-1, name="/softmax") if end else x, batch=batch)


def _normalisation(channels):
    powers = 2.0 ** np.resize([0, 2, -2], channels)
    yield "weight", np.resize([1.0, 0.5, -2.0], channels)
    yield "bias", np.resize([0.25, -0.5], channels)
    yield "running_mean", np.resize([0.5, -1.0, 0.0], channels)
    yield "running_var", powers - 2.0**-10


def cnn(path, opset=13, flatten="Flatten", batch=1):
    """A convolution, a depthwise one that steps, a pointwise one with a skip, and a mean, channels first."""
    model = Model((3, 8, 8), opset)
    x = model.quant("x", 6, 2.0**-5, signed=0, name="/input")
    kernel = model.weight("conv1.weight", (4, 3, 3, 3))
    x = model.op("Conv", x, kernel, model.bias("conv1.bias", 4), pads=[1, 1, 1, 1], kernel_shape=[3, 3], name="/conv1")
    x = model.quant(model.op("Relu", x), 4, 2.0**-2, signed=0)
    kernel = model.weight("conv2.weight", (4, 1, 2, 3))
    x = model.op("Conv", x, kernel, group=4, strides=[2, 1], pads=[0, 1, 0, 1], dilations=[1, 1], name="/conv2")
    x = model.quant(x, 6, 2.0 ** np.array([-3, -2, -3, -1]).reshape(1, 4, 1, 1), mode="FLOOR")  # a scale a channel
    y = model.op("Conv", x, model.weight("conv3.weight", (4, 4, 1, 1)), name="/conv3")
    x = model.quant(model.op("Add", x, y), 5, 2.0**-2)  # (4, 4, 8)
    if flatten == "mean":
        x = model.op("Flatten", model.op("GlobalAveragePool", x), axis=1)
        size = 4
    else:
        size = 128
        target = model.const("shape", [1, -1], np.int64)
        x = model.op("Flatten", x, axis=1) if flatten == "Flatten" else model.op("Reshape", x, target)
    x = model.op("Gemm", x, model.weight("fc.weight", (3, size)), transB=1, name="/fc")
    return model.save(path, x, batch=batch)


def qcdq(path, opset=13, bits=8):
    """A network in pairs of QuantizeLinear and DequantizeLinear, clipped to fewer bits, as Brevitas' QCDQ export is."""
    model = Model((6,), opset)
    x = rounded(model, "x", 2.0**-4, np.int8, "input")
    weight = dequantised(model, "fc1.weight", (8, 6), np.int8, 2.0 ** model.random.integers(-5, -3, 8), axis=0)
    bias = dequantised(model, "fc1.bias", (8,), np.int32, 2.0**-9)
    x = model.op("Relu", model.op("Gemm", x, weight, bias, transB=1, name="/fc1"))
    x = rounded(model, x, 2.0**-2, np.uint8, "act1", bits)
    weight = dequantised(model, "fc2.weight", (8, 4), np.uint8, 2.0**-6, zero=128)
    x = model.op("MatMul", x, weight, name="/fc2")
    return model.save(path, rounded(model, x, 2.0**-3, np.int8, "act2", bits))


def rounded(model, x, scale, dtype, name, bits=8):
    parameters = [model.const(f"{name}.scale", scale), model.const(f"{name}.zero", 0, dtype)]
    x = model.op("QuantizeLinear", x, *parameters, name=f"/{name}/quantise")
    if bits < 8:
        signed = np.issubdtype(dtype, np.signedinteger)
        ends = (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        labels = [model.const(f"{name}.{end}", value, dtype) for end, value in zip(("low", "high"), ends, strict=True)]
        x = model.op("Clip", x, *labels, name=f"/{name}/clip")
    return model.op("DequantizeLinear", x, *parameters, name=f"/{name}/dequantise")


def dequantised(model, name, shape, dtype, scale, axis=1, zero=0):
    ends = np.iinfo(np.uint8 if dtype == np.uint8 else np.int8)
    integers = model.const(name, model.random.integers(ends.min, ends.max, shape), dtype)
    parameters = [
        model.const(f"{name}.scale", scale),
        model.const(f"{name}.zero", np.full(np.shape(scale), zero), dtype),
    ]
    return model.op("DequantizeLinear", integers, *parameters, axis=axis if np.size(scale) > 1 else 0)


def shipped(tmp_path: Path, size=6):
    """Brevitas' own export of a super-resolution network, its scales and float parameters brought to powers of two."""
    import qonnx

    source = Path(qonnx.__file__).parent / "data" / "onnx" / "bsd300x3-espcn" / "subpixel" / "quant_model.onnx"
    proto = onnx.load(source)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        if tensor.name.startswith("scale"):
            values = 2.0 ** np.rint(np.log2(values)).clip(-8)  # a few of its channels are dead, of scales around 1e-10
        elif tensor.name.endswith("running_var"):
            values = 2.0 ** (2 * np.rint(np.log2(values) / 2)).clip(-8) - np.float32(1e-5)
        elif tensor.name.startswith("bn"):
            values = np.rint(values * 16) / 16
        elif tensor.name.startswith("conv"):
            values = np.rint(values * 64) / 64
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), tensor.name))
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "espcn.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def read(path: Path, input_format: Fixed | None = None) -> Graph:
    """Return the Graph of a file."""
    return lower(onnx_file.read(path), "read", input_format)


def built(model: Model, folder: Path, *outputs: str, **options) -> Path:
    """Write a model and return its file."""
    return model.save(folder / "model.onnx", *outputs, **options)
