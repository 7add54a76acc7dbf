"""One rule an operator of ONNX: what it adds to the Graph, or why it cannot be computed exactly."""

from __future__ import annotations

from collections.abc import Callable

from edgephys.models.files.onnx import elementwise, pools, products, quantise, softmaxes
from edgephys.models.files.onnx.chains import FloatStep
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.reading import Reading, Value, Values, edge_of
from edgephys.models.files.onnx.wires import WIRES

LAST = "Softmax"
"""Kind of the float operators that only the end of a model may have."""
FUNCTIONS = (
    *("Sigmoid", "HardSigmoid", "Tanh", "Elu", "Selu", "PRelu", "Softplus", "Softsign", "Exp", "Erf", "HardSwish"),
    *("Gelu", "Mish", "Abs"),
)


def _last(reading: Reading, operation: Operation, xs: Values) -> Value:
    """What only spreads the outputs is left away at the end: the largest stays the largest; inside it is computed."""
    if operation.kind == "Softmax" and operation.outputs[0] not in reading.model.outputs:
        return softmaxes.inner(reading, operation, edge_of(operation, xs[0]))
    if operation.outputs[0] not in reading.model.outputs:
        raise operation.refused("has no exact form in fixed point; only at the end of a model is it left away")
    return edge_of(operation, xs[0]).then(FloatStep(LAST, operation.name, operation.inputs[0]))


Rule = Callable[[Reading, Operation, Values], Value | list[Value]]
RULES: dict[str, Rule] = {
    "Quant": quantise.quant,
    "IntQuant": quantise.quant,
    "BipolarQuant": quantise.quant,
    "QuantizeLinear": quantise.quantize_linear,
    "DequantizeLinear": quantise.dequantize_linear,
    "MultiThreshold": quantise.multi_threshold,
    "Trunc": quantise.truncated,
    "MatMul": products.matmul,
    "Gemm": products.gemm,
    "Conv": products.convolve,
    "ConvTranspose": products.convolve_transposed,
    "BatchNormalization": elementwise.normalise,
    "Add": elementwise.add,
    "Sub": elementwise.subtract,
    "Mul": elementwise.multiply,
    "Div": elementwise.divide,
    "Neg": elementwise.negate,
    "Relu": elementwise.relu,
    "LeakyRelu": elementwise.leaky_relu,
    "Clip": elementwise.clip,
    **dict.fromkeys(FUNCTIONS, elementwise.function),
    **dict.fromkeys(("ReduceSum", "ReduceMean"), pools.reduced),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), pools.reduced_extreme),
    "GlobalAveragePool": pools.global_average,
    "AveragePool": pools.average_pool,
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), pools.max_pool),
    **dict.fromkeys(("Max", "Min"), pools.extreme),
    **WIRES,
    **dict.fromkeys(("Softmax", "LogSoftmax"), _last),
}
QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "QuantizeLinear", "MultiThreshold", "Trunc"})
INTEGERS = frozenset({"DequantizeLinear", "Clip", "Identity", "MaxPool", "Relu", *WIRES})
"""Operators that may read the integers between a QuantizeLinear and its DequantizeLinear."""
