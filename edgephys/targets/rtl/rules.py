"""How each operation of the Graph becomes logic, and the widest constant with which its logic is exact.

The logic is the golden model's own program (``Op.evaluate``), run on alkaid's symbols. An operation from outside of the
package is added by ``RULES.register(Operation, RtlRule(...))``.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        Input: WIRES,
        Dense: RtlRule(constant_bits=24),  # alkaid's matrices are float32
        Bias: RtlRule(constant_bits=31),
        Add: LOGIC,
        Scale: RtlRule(constant_bits=31),
        Mul: LOGIC,
        Max: LOGIC,
        Relu: LOGIC,
        Sum: LOGIC,
        Concat: WIRES,
        Take: WIRES,
        Reshape: WIRES,
        Window: WIRES,
        Requantise: LOGIC,
        Lookup: RtlRule(constant_bits=24),  # alkaid finds the lowest bits of a table in float32
    },
)
"""The rule of each operation."""
