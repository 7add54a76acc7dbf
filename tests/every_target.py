"""Hold what a target emits and runs against the golden model: the outputs, and every layer that it shows."""

import numpy as np

from edgephys.graph import evaluate
from edgephys.targets.registry import TARGETS

PROCESSORS = [("c", {}), ("c", {"style": "unrolled"}), ("onnx", {}), ("onnx", {"style": "float"}), ("qonnx", {})]
FIRMWARE = [("rtl", {}), ("rtl", {"language": "vhdl"}), ("hls", {}), ("hls", {"backend": "Catapult"})]
"""Targets with their options."""


def assert_equal(name, graph, inputs, folder, **options):
    """Emit, scan and run a graph on ``inputs(graph)``, integers in steps."""
    target, x = TARGETS[name], inputs(graph)
    facts = target.emit(graph, folder, target.options(**options))
    target.scan(folder, facts)
    np.testing.assert_array_equal(target.run(folder, facts, x).outputs, evaluate.run(graph, x))
    edges, last = evaluate.trace(graph, {graph.input.name: x}), dict(graph.layers())
    for layer, integers in target.probe(folder, facts, x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)
