"""Rewrite a dense layer that reads its whole input, so that its outputs or its inputs come in turn as rows.

The weights of a turn then come from a table, as an edge of constants, and products are those of two numbers. With its
outputs in turn, a layer computes ``outputs / ii`` of them at a time from the whole input, activations included. With
its inputs in turn, it adds the products of ``inputs / ii`` of them at a time to all outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgephys.core.fixed import WIDEST, Fixed, Integers
from edgephys.core.names import unused
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Add, Bias, Constant, Dense, Input, Mul, Op, Relu, Requantise, Reshape, Sum, Take
from edgephys.graph.partition import Block
from edgephys.graph.passes import tighten


@dataclass
class Rewritten:
    """Collect nodes that compute a block in turn; ``constants`` are the integers of its edges of constants."""

    used_names: set[str]
    nodes: dict[str, Node] = field(default_factory=dict)
    constants: dict[str, Integers] = field(default_factory=dict)

    def add(
        self, name: str, op: Op, inputs: Sequence[str], shape: tuple[int, ...] = (), fixed: Fixed | None = None
    ) -> str:
        """Add an operation as a layer of its own, in its exact format where none is stated; return its name."""
        name = unused(name, self.used_names)
        operands = tuple(self.nodes[other] for other in inputs)
        node = Node(name, op, tuple(inputs), shape, operands[0].fixed, name)
        node = replace(node, shape=op.shape(node, operands))
        exact = Fixed(True, WIDEST, WIDEST - op.fraction(node, operands)) if fixed is None else fixed
        self.enter(replace(node, fixed=exact))
        return name

    def constant(self, name: str, integers: Integers, fraction: int) -> str:
        """Add an edge of constants; return its name."""
        name = unused(name, self.used_names)
        bits = Constant(integers, fraction).bits
        self.enter(Node(name, Input(), (), integers.shape, Fixed(True, bits, bits - fraction), name))
        self.constants[name] = integers
        return name

    def whole_graph(self) -> Graph:
        """Return the nodes, in their narrowest formats, as a graph, the last one of which is its output."""
        *_, last = self.nodes
        inputs = tuple(name for name, node in self.nodes.items() if isinstance(node.op, Input))
        return tighten(Graph(last, tuple(self.nodes.values()), inputs, (last,)))

    def enter(self, node: Node) -> None:
        """Add a node as it is."""
        self.nodes[node.name] = node
        self.used_names.add(node.name)


def chain(block: Block) -> tuple[Node, Dense, tuple[Node, ...]] | None:
    """Return the dense node of a block of one row, its operation, and the nodes behind it; None where it has none.

    Each node reads the one before alone, and the dense one a vector.
    """
    nodes = [node for node in block.graph.nodes if not isinstance(node.op, Input)]
    first, *rest = nodes
    linear = all(node.inputs == (before.name,) for before, node in zip(nodes, rest, strict=False))
    alone = block.copies == 1 and len(block.graph.inputs) == 1 and block.graph.outputs == (nodes[-1].name,)
    if not isinstance(first.op, Dense) or not linear or not alone or len(first.shape) != 1:
        return None
    return first, first.op, tuple(rest)


def in_turn(block: Block, used_names: set[str]) -> Iterator[Rewritten]:
    """Yield a block whose outputs come in turn, and one whose inputs do; nothing where it is no dense layer.

    ``used_names`` are the names of all nodes.
    """
    dense = chain(block)
    if dense is None:
        return
    for write in (_outputs_in_turn, _inputs_in_turn):
        of = Rewritten(set(used_names) - {node.name for node in block.graph.nodes})
        for name in block.graph.inputs:
            of.enter(block.graph.by_name[name])
        write(of, *dense)
        yield of


def _outputs_in_turn(of: Rewritten, node: Node, op: Dense, rest: tuple[Node, ...]) -> None:
    (source,) = node.inputs
    weights, fraction = op.constant.integers, op.constant.fraction
    inputs, outputs = weights.shape
    whole = of.add(f"{node.name}_whole", Reshape(), [source], (1, inputs, 1))
    repeated = of.add(f"{node.name}_repeated", Take(0, np.zeros(outputs, np.int64)), [whole])
    table = of.constant(f"{node.name}_weights", np.ascontiguousarray(weights.T)[..., None], fraction)
    products = of.add(f"{node.name}_products", Mul(), [repeated, table])
    column = of.add(f"{node.name}_sums", Sum(1), [products])
    own = [node, *rest]
    for number, behind in enumerate(rest):
        added = _of_a_column(of, behind, column, outputs)
        if added is None:
            _flat(of, own[number], column, outputs)
            _unchanged(of, rest[number:])
            return
        column = added
    _flat(of, own[-1], column, outputs)


def _of_a_column(of: Rewritten, node: Node, column: str, outputs: int) -> str | None:
    """Add a node of a vector as it acts on a column of it; return its name, or None where it may differ by row."""
    name = f"{node.name}_in_turn"
    if isinstance(node.op, Bias):
        integers = np.broadcast_to(node.op.constant.integers, (outputs,)).reshape(outputs, 1)
        table = of.constant(f"{node.name}_biases", np.ascontiguousarray(integers), node.op.constant.fraction)
        return of.add(name, Add(), [column, table])
    if isinstance(node.op, Relu):
        return of.add(name, node.op, [column])
    if isinstance(node.op, Requantise):
        return of.add(name, node.op, [column], fixed=node.fixed)
    return None


def _flat(of: Rewritten, node: Node, column: str, outputs: int) -> None:
    """Give a column the name of a node and the shape of a vector."""
    of.enter(Node(node.name, Reshape(), (column,), (outputs,), of.nodes[column].fixed, f"{node.name}_vector"))


def _unchanged(of: Rewritten, rest: Sequence[Node]) -> None:
    for node in rest:
        of.enter(node)


def _inputs_in_turn(of: Rewritten, node: Node, op: Dense, rest: tuple[Node, ...]) -> None:
    (source,) = node.inputs
    weights, fraction = op.constant.integers, op.constant.fraction
    inputs, outputs = weights.shape
    column = of.add(f"{node.name}_column", Reshape(), [source], (inputs, 1))
    repeated = of.add(f"{node.name}_repeated", Take(1, np.zeros(outputs, np.int64)), [column])
    table = of.constant(f"{node.name}_weights", weights, fraction)
    products = of.add(f"{node.name}_products", Mul(), [repeated, table])
    total = of.add(f"{node.name}_total", Sum(0), [products])
    _flat(of, node, total, outputs)
    _unchanged(of, rest)
