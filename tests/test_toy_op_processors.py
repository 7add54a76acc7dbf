"""Operations from outside of the package are emitted to C, ONNX and QONNX by rules that are registered for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.interval import Range, aligned, exact
from edgephys.graph.ops import OPS, Bias, Dense, Elementwise, Input, Move, Requantise
from edgephys.graph.ops.op import aligned_to
from edgephys.graph.ranges import derive, format_of
from edgephys.targets.c import emit as c
from edgephys.targets.c import rules as c_rules
from edgephys.targets.c.elements import expression
from edgephys.targets.c.options import COptions
from edgephys.targets.c.roles import ViewRule
from edgephys.targets.onnx import emit as onnx
from edgephys.targets.onnx import rules as onnx_rules
from edgephys.targets.onnx.forms import PLAIN
from edgephys.targets.onnx.options import OnnxOptions
from edgephys.targets.onnx.plan import OnnxRule
from edgephys.targets.qonnx import emit as qonnx
from edgephys.targets.qonnx import rules as qonnx_rules
from edgephys.targets.qonnx.options import QonnxOptions

# The operations ------------------------------------------------------------------------------------


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


@dataclass(frozen=True, eq=False)
class Larger(Elementwise):
    """Return the larger of two operands."""

    word = "toy larger"
    operand_count = 2
    aligns = True

    def range(self, node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
        (low, high), (other_low, other_high) = aligned(node, operands, ranges)
        return exact(np.maximum(low, other_low), np.maximum(high, other_high))

    def evaluate(self, node: Node, operands: Sequence[Node], xs: Sequence[Any], arithmetic: Any) -> Any:
        return np.maximum(*aligned_to(node, operands, xs))


@dataclass(frozen=True, eq=False)
class Reversed(Move):
    """Return the rows in reverse order."""

    word = "toy reversed"

    def shape(self, node: Node, operands: Sequence[Node]) -> tuple[int, ...]:
        return operands[0].shape

    def moved(self, x: Any, shape: tuple[int, ...], batch: int = 0, outside: int = 0) -> Any:
        return np.flip(x, batch)

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return False


# Their rules ---------------------------------------------------------------------------------------


def reversed_in_onnx(writer: Any, node: Node, op: Reversed) -> None:
    operands = writer.read(node, PLAIN)
    rows = writer.tensors.constant(f"{node.name}_rows", np.arange(node.shape[0])[::-1])
    writer.result(node, "Gather", operands, (rows,), axis=1)


def reversed_in_qonnx(writer: Any, node: Node, op: Reversed) -> None:
    rows = writer.initialiser(f"{node.name}_rows", np.arange(node.shape[0])[::-1], np.int64)
    writer.result(node, "Gather", [writer.tensor(node.inputs[0], "plain"), rows], axis=1)


OPERATIONS = (Absolute, Larger, Reversed)
for operation in OPERATIONS:
    OPS.pop(operation.word)  # known only to the tests of this file

RULES = {
    c_rules.RULES: {
        Absolute: expression("{0} < 0 ? -{0} : {0}".format),
        Larger: expression("{0} > {1} ? {0} : {1}".format),
        Reversed: ViewRule(),
    },
    onnx_rules.RULES: {
        Absolute: onnx_rules.elementwise("Abs"),
        Larger: onnx_rules.elementwise("Max"),
        Reversed: OnnxRule(reversed_in_onnx),
    },
    qonnx_rules.RULES: {
        Absolute: qonnx_rules.elementwise("Abs"),
        Larger: qonnx_rules.elementwise("Max"),
        Reversed: reversed_in_qonnx,
    },
}
TARGETS = {
    "c": (c, COptions()),
    "c, unrolled": (c, COptions(style="unrolled")),
    "onnx": (onnx, OnnxOptions()),
    "onnx, float": (onnx, OnnxOptions(style="float")),
    "qonnx": (qonnx, QonnxOptions()),
}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in OPERATIONS:
        monkeypatch.setitem(OPS, operation.word, operation)
    for table, rules in RULES.items():
        monkeypatch.setattr(table, "_rules", dict(table._rules))
        for operation, rule in rules.items():
            table.register(operation, rule)


# Graphs with them ----------------------------------------------------------------------------------

X = Fixed(True, 6, 3)
MIDDLE = Fixed(False, 5, 3, Rounding.RND, Overflow.SAT)
LAST = Fixed(False, 4, 3, Rounding.TRN, Overflow.SAT)


class Nodes:
    """Collect nodes with the formats that their ranges need."""

    def __init__(self) -> None:
        self.nodes = [Node("x", Input(), (), (4, 3), X, "x")]

    def add(self, name: str, op: Any, inputs: Sequence[str], stated: Fixed | None = None) -> str:
        by_name = {node.name: node for node in self.nodes}
        operands = [by_name[operand] for operand in inputs]
        draft = Node(name, op, tuple(inputs), operands[0].shape, stated or Fixed(True, 60, 60), name.split("_")[0])
        shape, fraction = op.shape(draft, operands), (stated or X).fraction if stated else op.fraction(draft, operands)
        draft = Node(name, op, draft.inputs, shape, stated or Fixed(True, 60, 60 - fraction), draft.layer)
        range_ = derive(Graph("toy", (*self.nodes, draft), ("x",), (name,)))[name]
        self.nodes.append(Node(name, op, draft.inputs, shape, stated or format_of(range_, fraction), draft.layer))
        return name

    def graph(self) -> Graph:
        return check(Graph("toy", tuple(self.nodes), ("x",), (self.nodes[-1].name,)))


def graph_of(operation: type, rounded_last: bool) -> Graph:
    """Return two dense layers, with the operation in the chain of each of them, and a rounding at the end or not."""
    generator, nodes = np.random.default_rng(5), Nodes()
    dense = nodes.add("phi_dense", Dense(Constant(generator.integers(-3, 4, (3, 5)), 2)), ["x"])
    bias = nodes.add("phi_bias", Bias(Constant(generator.integers(-9, 9, (5,)), 6)), [dense])
    operands = [bias, dense] if operation is Larger else [bias]
    toy = nodes.add("toy", operation(), operands)
    rounded = nodes.add("toy_rounded", Requantise(), [toy], MIDDLE)
    dense = nodes.add("rho_dense", Dense(Constant(generator.integers(-3, 4, (5, 2)), 1)), [rounded])
    last = nodes.add("end", operation(), [dense, dense] if operation is Larger else [dense])
    if rounded_last:
        nodes.add("output", Requantise(), [last], LAST)
    return nodes.graph()


@pytest.mark.parametrize("rounded_last", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_an_operation_of_a_user_computes_the_golden_integers(target, operation, rounded_last, registered, tmp_path):
    module, options = TARGETS[target]
    graph = graph_of(operation, rounded_last)
    x = np.random.default_rng(6).integers(-32, 32, (50, 4, 3))
    facts = module.emit(graph, tmp_path, options)
    np.testing.assert_array_equal(module.run(tmp_path, facts, x), evaluate.run(graph, x))
    edges, last = evaluate.trace(graph, {"x": x}), dict(graph.layers())
    probed = module.probe(tmp_path, facts, x)
    assert set(probed) == set(last)
    for layer, integers in probed.items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_an_operation_without_a_rule_is_refused_by_name(target, operation, tmp_path):
    module, options = TARGETS[target]
    name = target.split(",")[0]
    message = rf"layer 'toy': target {name} has no rule for operation {operation.__name__}; register one"
    with pytest.raises(ModelError, match=message):
        module.emit(graph_of(operation, True), tmp_path, options)
    assert not list(tmp_path.iterdir())
