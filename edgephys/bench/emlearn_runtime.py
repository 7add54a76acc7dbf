"""Run the dense layers of an emitted ONNX model as C that emlearn generates, one event a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.bench.peer_loop import NAME, PeerSource, peer_library, real_loop
from edgephys.bench.peers import imported
from edgephys.bench.plain_onnx import CONSTANT, plain
from edgephys.bench.runners import Runner
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers

NET = f"{NAME}_net"
RUN = f"""
#include "{NAME}.h"
void {NAME}_run(const float *x, float *y, void *arena) {{
    (void)arena;
    {NET}_regress(x, {NAME.upper()}_INPUTS, y, {NAME.upper()}_OUTPUTS);
}}
"""
ROUNDING = ("Mul", "Add", "Sub")
"""Operators that round: emlearn leaves them out."""


@dataclass
class DenseLayers:
    """Hold dense layers; ``weights`` are (inputs, outputs)."""

    weights: list[NDArray[Any]] = field(default_factory=list)
    biases: list[NDArray[Any]] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)


@np.errstate()  # numpy's handling of float errors, which emlearn changes for everybody, stays
def emlearn(job: Job, x: Integers) -> Runner:
    """Return the C of emlearn for a network of dense layers with ReLU, in float32.

    It computes other numbers: emlearn neither rounds nor clips activations and writes constants with six decimals.
    Raises: ToolError where emlearn or a compiler is missing, and for networks with other operators.
    """
    package = imported("emlearn")
    net = imported("emlearn.net")
    layers = dense_layers(job.source, prod(job.facts["input"]["shape"]))

    def write(folder: Path) -> None:
        source = net.c_generate_net_loadable(layers.activations, layers.weights, layers.biases, NET)
        (folder / f"{NAME}.c").write_text(source + RUN)

    options = (f"-I{package.includedir}", "-lm")
    folder = peer_library(job, PeerSource(f"{NAME}.c", write, (package.__version__, RUN), options))
    return real_loop(job, x, folder, "emlearn, gcc", package.__version__, {"constants": "six decimals"})


def dense_layers(path: Path, inputs: int) -> DenseLayers:
    """Return the dense layers of an emitted ONNX file whose network has so many inputs.

    Raises: ToolError for other operators, one layer alone, or a first layer that does not take all inputs at once.
    """
    nodes, constants, _ = plain(path)
    layers, others = DenseLayers(), set()
    for node in nodes:
        if node.op_type == "Gemm" and not node.attribute:
            weights = constants[node.input[1]]
            layers.weights.append(weights)
            layers.biases.append(constants[node.input[2]] if len(node.input) > 2 else np.zeros(weights.shape[1]))
            layers.activations.append("identity")
        elif node.op_type == "Clip" and layers.activations:
            layers.activations[-1] = "identity" if constants[node.input[1]] else "relu"
        elif not _left_out(node) and (node.op_type != "Reshape" or layers.weights):
            others.add(node.op_type)
    if others:
        raise ToolError(f"emlearn computes dense layers with ReLU only; this network has {', '.join(sorted(others))}")
    if len(layers.weights) < 2:
        raise ToolError(f"emlearn needs two dense layers or more; this network has {len(layers.weights)}")
    if len(layers.weights[0]) != inputs:
        first = len(layers.weights[0])
        raise ToolError(f"emlearn's first layer takes all {inputs} inputs at once; this network's takes {first}")
    return layers


def _left_out(node: Any) -> bool:
    """Tell whether a node rounds or scales by a constant of ``plain``."""
    return node.op_type in ROUNDING and node.input[1].endswith(CONSTANT)
