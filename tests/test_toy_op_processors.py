"""An operation from outside of the package is emitted to C, ONNX and QONNX by a rule that is registered for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.interval import Range, exact
from edgephys.graph.ops import OPS, Bias, Dense, Elementwise, Input, Requantise
from edgephys.graph.ranges import derive, format_of
from edgephys.targets.c import emit as c
from edgephys.targets.c import rules as c_rules
from edgephys.targets.c.elements import expression
from edgephys.targets.c.options import COptions
from edgephys.targets.onnx import emit as onnx
from edgephys.targets.onnx import rules as onnx_rules
from edgephys.targets.onnx.options import OnnxOptions
from edgephys.targets.qonnx import emit as qonnx
from edgephys.targets.qonnx import rules as qonnx_rules
from edgephys.targets.qonnx.options import QonnxOptions


@dataclass(frozen=True, eq=False)
class Absolute(Elementwise):
    """Return |x|."""

    word = "toy absolute"

    def range(self, node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
        low, high = ranges[0].low, ranges[0].high
        least = np.where((low <= 0) & (high >= 0), 0, np.minimum(np.abs(low), np.abs(high)))
        return exact(least, np.maximum(np.abs(low), np.abs(high)))

    def evaluate(self, node: Node, operands: Sequence[Node], xs: Sequence[Any], arithmetic: Any) -> Any:
        return np.abs(xs[0])


OPS.pop(Absolute.word)  # registered below, while a test of this file runs

RULES = {
    "c": (c_rules.RULES, expression("{0} < 0 ? -{0} : {0}".format)),
    "onnx": (onnx_rules.RULES, onnx_rules.elementwise("Abs")),
    "qonnx": (qonnx_rules.RULES, qonnx_rules.elementwise("Abs")),
}
TARGETS = {
    "c": (c, COptions()),
    "onnx": (onnx, OnnxOptions()),
    "onnx_float": (onnx, OnnxOptions(style="float")),
    "qonnx": (qonnx, QonnxOptions()),
}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, Absolute.word, Absolute)
    for table, rule in RULES.values():
        monkeypatch.setattr(table, "_rules", dict(table._rules))
        table.register(Absolute, rule)


def graph_of(rounded_last: bool) -> Graph:
    """A dense layer, |x| behind its bias, a rounding, and another dense layer, with |x| at its end or not."""
    generator = np.random.default_rng(5)
    fixed = Fixed(True, 6, 3)
    nodes = [Node("x", Input(), (), (4, 3), fixed, "x")]

    def add(name: str, op: Any, layer: str, fraction: int, shape: tuple[int, ...], stated: Fixed | None = None) -> None:
        unproven = Node(name, op, (nodes[-1].name,), shape, stated or Fixed(True, 60, 60 - fraction), layer)
        graph = Graph("toy", (*nodes, unproven), ("x",), (name,))
        nodes.append(Node(name, op, unproven.inputs, shape, stated or format_of(derive(graph)[name], fraction), layer))

    add("dense", Dense(Constant(generator.integers(-3, 4, (3, 5)), 2)), "phi", 5, (4, 5))
    add("bias", Bias(Constant(generator.integers(-9, 9, (5,)), 5)), "phi", 5, (4, 5))
    add("absolute", Absolute(), "absolute", 5, (4, 5))
    stated = Fixed(False, 5, 3, Rounding.RND, Overflow.SAT)
    add("rounded", Requantise(), "absolute", 2, (4, 5), stated)
    add("last", Dense(Constant(generator.integers(-3, 4, (5, 2)), 1)), "rho", 3, (4, 2))
    add("size", Absolute(), "size", 3, (4, 2))
    if rounded_last:
        add("output", Requantise(), "output", 1, (4, 2), Fixed(False, 4, 3, Rounding.TRN, Overflow.SAT))
    return check(Graph("toy", tuple(nodes), ("x",), (nodes[-1].name,)))


@pytest.mark.parametrize("rounded_last", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_an_operation_of_a_user_is_emitted_and_computes_the_golden_integers(target, rounded_last, registered, tmp_path):
    module, options = TARGETS[target]
    graph = graph_of(rounded_last)
    x = np.random.default_rng(6).integers(-32, 32, (50, 4, 3))
    facts = module.emit(graph, tmp_path, options)
    np.testing.assert_array_equal(module.run(tmp_path, facts, x), evaluate.run(graph, x))
    edges, last = evaluate.trace(graph, {"x": x}), dict(graph.layers())
    for layer, integers in module.probe(tmp_path, facts, x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)


@pytest.mark.parametrize("target", TARGETS)
def test_an_operation_without_a_rule_is_refused_by_name(target, tmp_path):
    module, options = TARGETS[target]
    name = target.split("_")[0]
    with pytest.raises(ModelError, match=rf"layer 'absolute': target {name} has no rule for operation Absolute"):
        module.emit(graph_of(True), tmp_path, options)
    assert not list(tmp_path.iterdir())
