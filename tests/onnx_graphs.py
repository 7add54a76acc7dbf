"""Deep Sets with random weights, and what the ONNX target must give for a Graph."""

from pathlib import Path

import numpy as np
import pytest

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.targets.onnx.emit import LEVELS, emit, probe, run, session
from edgephys.targets.onnx.model_file import FILE
from edgephys.targets.onnx.options import STYLES, OnnxOptions

ACTIVATION = Fixed(False, 8, 0, Rounding.RND_CONV, Overflow.SAT)


styles = pytest.mark.parametrize("style", STYLES)


def dense(builder: Builder, layer: str, x: str, size: int, generator, activation: Fixed | None, finer: int = 0) -> str:
    """A layer of 8-bit weights, both ends among them; its bias may be finer than its products."""
    weights = generator.integers(-128, 128, (builder.shape(x)[-1], size))
    weights.flat[:2] = -128, 127
    x = builder.dense(layer, x, weights, 7)
    x = builder.bias(layer, x, generator.integers(-64, 64, size) * 2 + 1, 7 + finer)
    return x if activation is None else builder.requantise(layer, builder.relu(layer, x), activation)


def deep_sets(activation: Fixed = ACTIVATION, finer: int = 0, rows: int = 8, width: int = 32) -> Graph:
    """The Deep Sets of the zoo in its sizes, untrained."""
    generator = np.random.default_rng(0)
    builder = Builder("deep_sets")
    x = builder.input("x", (rows, 3), Fixed(True, 12, 4))
    for layer in ("phi_1", "phi_2", "phi_3"):
        x = dense(builder, layer, x, width, generator, activation, finer)
    x = builder.scale("pool", builder.sum("pool", x, 0), np.array(1), 3)
    x = builder.requantise("pool", x, Fixed(False, 10, 0, Rounding.RND_CONV, Overflow.SAT))
    x = dense(builder, "rho_1", x, width, generator, activation, finer)
    return builder.finish(dense(builder, "logits", x, 5, generator, None, finer))


def emitted(graph: Graph, folder: Path, **options):
    return emit(graph, folder, OnnxOptions(**options))


def require_exact(graph: Graph, folder: Path, x: np.ndarray, **options) -> dict:
    """Emit, run at every level, and compare every layer; return the facts."""
    facts = emitted(graph, folder, **options)
    golden = evaluate.trace(graph, {graph.input.name: x})
    values = graph.input.fixed.values(x).astype(facts["input"]["type"])
    for level in LEVELS:
        made = session((folder / FILE).read_bytes(), level=level)
        (found,) = made.run([facts["output"]["name"]], {facts["input"]["name"]: values})
        expected = graph.output.fixed.values(golden[graph.output.name])
        np.testing.assert_array_equal(found.astype(np.float64), expected, err_msg=level)
    np.testing.assert_array_equal(run(folder, facts, x), golden[graph.output.name])
    layers = dict(graph.layers())
    for layer, edge in probe(folder, facts, x).items():
        np.testing.assert_array_equal(edge, golden[layers[layer].name], err_msg=layer)
    return facts
