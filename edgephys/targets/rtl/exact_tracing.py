"""alkaid 0.8.2 as this package uses it: what it would read inexactly is refused, what it would refuse is corrected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from threading import Lock
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError

SINGLE = 24
"""Significant bits of alkaid's constants, which it reads in float32."""
_TRACING = Lock()


@contextmanager
def exact_tracing() -> Iterator[None]:
    """Trace exactly within: one thread at a time.

    - alkaid finds the lowest bit of a number, its own sums and products of constants too, in float32: of a number with
      more than 24 significant bits it finds another one, and the logic computes other integers. It is refused.
    - alkaid wraps a constant into a bit too many: -1 into 5 bits without a sign gives 63. It is wrapped here.
    - When alkaid traces its own logic again, the interval of a variable can come out wider than before. A table for the
      narrower one then covers it with entries that are never read.
    - alkaid reads the single bit of a shifted number as the number's top bit wherever both have one weight. That holds
      above the top bit of a signed number alone, and is undone elsewhere.

    Raises: ModelError for a number of too many bits.
    """
    from alkaid.trace import affine_interval, fixed_variable, fixed_variable_array, tracer
    from alkaid.trace.passes import canon

    lowest_bit, lookup = fixed_variable.get_lsb_loc, fixed_variable.FVariable.lookup
    top_bits, quantize = canon.canonicalize_msb_wraps, fixed_variable.FVariable.quantize

    def checked(value: float) -> int:
        if float(np.float32(value)) != value:
            raise ModelError(
                f"its logic needs the constant {value:.17g} with over {SINGLE} significant bits, RTL is exact up to "
                f"{SINGLE}; use fewer bits in its constants and formats, or round fewer bits away"
            )
        return int(lowest_bit(value))

    def covering(variable: Any, table: Any, original_qint: tuple[float, float, float] | None = None) -> Any:
        if original_qint is not None:
            lowest, highest, step = original_qint
            more = [max(0, round(gap / step)) for gap in (lowest - variable.low, variable.high - highest)]
            if any(more):
                table = fixed_variable.LookupTable(np.pad(table.float_table, more, "edge"))
                original_qint = (lowest - more[0] * step, highest + more[1] * step, step)
        return lookup(variable, table, original_qint)

    def wrapped(variable: Any, k: Any, i: Any, f: Any, overflow_mode: str = "WRAP", round_mode: str = "TRN") -> Any:
        if variable.low != variable.high or (overflow_mode, round_mode) != ("WRAP", "TRN"):
            return quantize(variable, k, i, f, overflow_mode, round_mode)
        bits, fraction = int(k + i + f), int(f)
        below = 1 << bits - 1 if k and bits > 0 else 0
        integer = floor(float(variable.low) * 2.0**fraction) + below
        value = (integer % (1 << bits) - below) * 2.0**-fraction if bits > 0 else 0.0
        return variable.from_const(value, hwconf=variable.hwconf)

    def signs(logic: Any) -> Any:
        changed = top_bits(logic)
        pairs = zip(logic.ops, changed.ops, strict=True)
        return changed._replace(ops=[new if new == old or is_sign(old, logic) else old for old, new in pairs])

    def is_sign(operation: Any, logic: Any) -> bool:
        return bool(operation.data[0] < 0 and logic.ops[operation.addr[0]].qint.min < 0)

    modules = (affine_interval, fixed_variable, fixed_variable_array, tracer, canon)
    with _TRACING:
        try:
            for module in modules:
                module.get_lsb_loc = checked
            fixed_variable.FVariable.lookup, fixed_variable.FVariable.quantize = covering, wrapped
            canon.canonicalize_msb_wraps = signs
            yield
        finally:
            for module in modules:
                module.get_lsb_loc = lowest_bit
            fixed_variable.FVariable.lookup, fixed_variable.FVariable.quantize = lookup, quantize
            canon.canonicalize_msb_wraps = top_bits
