"""How each operation of the Graph becomes logic, and the widest constant with which its logic is exact.

The logic is the golden model's own program (``Op.evaluate``), run on alkaid's symbols. An operation from outside of the
package is added by ``RULES.register(Operation, RtlRule(...))``.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgephys.graph import ops
from edgephys.targets.rules import RuleTable


@dataclass(frozen=True)
class RtlRule:
    """State how an operation is traced.

    ``constant_bits`` is the width of the widest constant that the symbols hold exactly. ``wires`` says that the
    operation only moves integers and shifts their binary points: it needs neither logic nor time.
    """

    constant_bits: int = 0
    wires: bool = False


LOGIC, WIRES = RtlRule(), RtlRule(wires=True)
RULES: RuleTable[RtlRule] = RuleTable(
    "rtl",
    {
        ops.Input: WIRES,
        ops.Dense: RtlRule(constant_bits=53),
        ops.Bias: RtlRule(constant_bits=53),
        ops.Add: LOGIC,
        ops.Scale: RtlRule(constant_bits=53),
        ops.Mul: LOGIC,
        ops.Max: LOGIC,
        ops.Relu: LOGIC,
        ops.Sum: LOGIC,
        ops.Concat: WIRES,
        ops.Take: WIRES,
        ops.Reshape: WIRES,
        ops.Window: WIRES,
        ops.Requantise: LOGIC,
        ops.Lookup: RtlRule(constant_bits=24),  # alkaid finds the lowest bits of a table in float32
    },
)
"""The rule of each operation."""
