"""The rule of each operation for the C target."""

from __future__ import annotations

from edgephys.graph import ops
from edgephys.targets.c import elements, loops, products
from edgephys.targets.c.roles import ElementRule, InputRule, JoinRule, Role, SumRule, ViewRule
from edgephys.targets.rules import RuleTable

RULES: RuleTable[Role] = RuleTable(
    "c",
    {
        ops.Input: InputRule(),
        ops.Dense: SumRule(products.product, reads_rows=True, laned=True),
        ops.Sum: SumRule(loops.sum_over_axis, laned=True),
        ops.Bias: ElementRule(elements.bias),
        ops.Scale: ElementRule(elements.scale),
        ops.Add: elements.expression("{} + {}".format),
        ops.Mul: elements.expression("{} * {}".format),
        ops.Max: elements.expression("{0} > {1} ? {0} : {1}".format),
        ops.Relu: ElementRule(elements.relu),
        ops.Requantise: ElementRule(elements.requantise),
        ops.Lookup: ElementRule(elements.lookup),
        ops.Concat: JoinRule(loops.join, laned=True),
        ops.Take: ViewRule(),
        ops.Reshape: ViewRule(),
        ops.Window: ViewRule(convolves=True),
    },
)
