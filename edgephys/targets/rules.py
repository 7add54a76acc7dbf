"""A table of rules: for each class of operation what a target emits, or why it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgephys.core.errors import ModelError, UsageError
from edgephys.graph.graph import Graph

Rule = TypeVar("Rule")


@dataclass(frozen=True)
class Refusal:
    """State why a target cannot emit an operation, and what would work instead.

    ``reason`` continues the sentence "layer 'x': ...", such as "a window over a field needs io 'stream'".
    """

    reason: str


class RuleTable(Generic[Rule]):
    """Map each class of operation to a target's rule for it or to a worded refusal.

    A class is looked up by itself: a subclass needs a rule of its own, because its numbers can be others.
    """

    def __init__(self, target: str, rules: Mapping[type, Rule | Refusal]) -> None:
        self.target = target
        self._rules: dict[type, Rule | Refusal] = dict(rules)

    def register(self, operation: type, rule: Rule | Refusal) -> None:
        """Add the rule of a class of operation.

        Raises: UsageError where the class has one.
        """
        if operation in self._rules:
            raise UsageError(f"{operation.__name__}: target {self.target} has a rule for it already; register it once")
        self._rules[operation] = rule

    def entry(self, operation: type) -> Rule | Refusal | None:
        """Return the rule or refusal of a class of operation, or None where neither was stated."""
        return self._rules.get(operation)

    def operations(self) -> set[type]:
        """Return the classes of operations with a rule or a refusal."""
        return set(self._rules)

    def of_nodes(self, graph: Graph) -> dict[str, Rule]:
        """Return the rule of each node, by its name.  Raises: as ``lookup``."""
        return {node.name: self.lookup(node.op, node.layer) for node in graph.nodes}

    def lookup(self, operation: object, layer: str) -> Rule:
        """Return the rule of an operation.

        Raises: ModelError, naming the layer, where the target refuses the operation or does not know it.
        """
        rule = self.entry(type(operation))
        if isinstance(rule, Refusal):
            raise ModelError(f"layer '{layer}': {rule.reason}")
        if rule is None:
            name = type(operation).__name__
            raise ModelError(
                f"layer '{layer}': target {self.target} has no rule for operation {name}; register one in its table "
                f"of rules, RULES.register({name}, ...), or emit to another target"
            )
        return rule
