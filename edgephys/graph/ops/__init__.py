"""The operations of the Graph, one file each."""

from edgephys.graph.ops.add import Add
from edgephys.graph.ops.bias import Bias
from edgephys.graph.ops.concat import Concat
from edgephys.graph.ops.constant import Broadcast, Constant, WithConstant, constant_of
from edgephys.graph.ops.dense import Dense
from edgephys.graph.ops.input import Input
from edgephys.graph.ops.lookup import Lookup
from edgephys.graph.ops.max import Max
from edgephys.graph.ops.mul import Mul
from edgephys.graph.ops.op import OPS, AlongAxis, Arithmetic, Elementwise, Move, Op
from edgephys.graph.ops.relu import Relu
from edgephys.graph.ops.requantise import Requantise
from edgephys.graph.ops.reshape import Reshape
from edgephys.graph.ops.scale import Scale
from edgephys.graph.ops.sum import Sum
from edgephys.graph.ops.take import Take
from edgephys.graph.ops.window import Window, windows

__all__ = [
    "OPS", "Add", "AlongAxis", "Arithmetic", "Bias", "Broadcast", "Concat", "Constant", "Dense", "Elementwise",
    "Input", "Lookup", "Max", "Move", "Mul", "Op", "Relu", "Requantise", "Reshape", "Scale", "Sum", "Take",
    "Window", "WithConstant", "constant_of", "windows",
]  # fmt: skip
