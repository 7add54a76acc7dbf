"""Write the operators of a graph: their operands are read, and their results named, in one way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.graph.graph import Graph, Node
from edgephys.targets.onnx.forms import Form, Tensors
from edgephys.targets.onnx.plan import OnnxPlan


@dataclass(frozen=True, eq=False)
class OnnxWriter:
    """Hold a graph, its plan and the tensors that are written of it."""

    graph: Graph
    plan: OnnxPlan
    tensors: Tensors

    def read(self, node: Node, layout: str | None = None, unit: int | None = None) -> list[Form]:
        """Return the operands of a node in the float type of the node; a layout and unit of None keep theirs."""
        carrier = self.plan.carriers[node.name]
        return [self.tensors.form(name, layout, carrier, unit) for name in node.inputs]

    def result(
        self,
        node: Node,
        operator: str,
        operands: list[Form],
        constants: tuple[str, ...] = (),
        layout: str | None = None,
        unit: int | None = None,
        **attributes: Any,
    ) -> None:
        """Add the operator whose output is a node's edge; layout and unit are by default those of the first operand."""
        tensor = self.tensors.add(operator, [*(form.tensor for form in operands), *constants], node.name, **attributes)
        first = operands[0]
        self.tensors.forms[node.name] = Form(
            tensor, layout or first.layout, first.carrier, first.unit if unit is None else unit
        )
