"""The rule of each operation for the C target."""

from __future__ import annotations

from edgephys.graph.ops import (
    Add,
    Bias,
    Concat,
    Dense,
    Input,
    Lookup,
    Max,
    Mul,
    Relu,
    Requantise,
    Reshape,
    Scale,
    Sum,
    Take,
    Window,
)
from edgephys.targets.c import elements, loops, products
from edgephys.targets.c.roles import ElementRule, InputRule, JoinRule, Role, SumRule, ViewRule
from edgephys.targets.rules import RuleTable

RULES: RuleTable[Role] = RuleTable(
    "c",
    {
        Input: InputRule(),
        Dense: SumRule(products.product, reads_rows=True),
        Sum: SumRule(loops.sum_over_axis),
        Bias: ElementRule(elements.bias),
        Scale: ElementRule(elements.scale),
        Add: elements.expression("{} + {}".format),
        Mul: elements.expression("{} * {}".format),
        Max: elements.expression("{0} > {1} ? {0} : {1}".format),
        Relu: ElementRule(elements.relu),
        Requantise: ElementRule(elements.requantise),
        Lookup: ElementRule(elements.lookup),
        Concat: JoinRule(loops.join),
        Take: ViewRule(),
        Reshape: ViewRule(),
        Window: ViewRule(convolves=True),
    },
)
