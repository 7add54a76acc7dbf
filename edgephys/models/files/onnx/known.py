"""Tensors of an ONNX model that do not depend on its input, and the integers that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.core.remedies import quantise
from edgephys.models.files.onnx.file import Operation

UNQUANTISED_BITS = 16
"""Bits of the widest constant without a quantiser that is taken as it is: what a tool folded, not float weights."""
FLOAT32_BITS = 24


@dataclass(frozen=True, eq=False)
class Known:
    """Hold a tensor that does not depend on the input; ``source`` names the initialiser that it comes from.

    Where it was quantised with a scale that is no power of two, ``values`` are ``whole`` times ``scale``, which have
    its shape.
    """

    values: NDArray[Any]
    source: str
    quantised: bool = False
    whole: Integers | None = None
    scale: NDArray[np.float64] | None = None

    def of(self, values: Any) -> Known:
        """Return other numbers of the same source."""
        return Known(np.asarray(values), self.source, self.quantised)


def dyadic(values: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """Return whole numbers and the smallest fraction with which they are the values: values = whole * 2**-fraction."""
    exact = np.asarray(values, np.float64)
    mantissas, exponents = np.frexp(exact)
    odd = (mantissas * 2.0**53).astype(np.int64)
    zeros = np.where(odd == 0, 0, np.log2((odd & -odd).clip(1)).astype(np.int64))
    needed = np.where(odd == 0, -1024, 53 - exponents - zeros)
    fraction = int(needed.max(initial=-1024))
    fraction = 0 if fraction == -1024 else fraction
    return exact * 2.0**fraction, fraction


def integers(operation: Operation, known: Known, what: str) -> tuple[Integers, int]:
    """Return a constant's integers and fraction; raise ModelError where it is float, or too wide for exact sums."""
    if not np.all(np.isfinite(known.values)):
        raise operation.refused(f"{what} '{known.source}' comes to NaN or infinity; train the model again")
    whole, fraction = dyadic(known.values)
    bits = int(np.ceil(np.log2(np.abs(whole).max(initial=0) + 1)))
    if not known.quantised and bits > UNQUANTISED_BITS:
        raise operation.refused(
            f"{what} '{known.source}' is float, without a Quant, and needs {bits} bits; quantise it "
            f"(Brevitas: weight_quant and bias_quant), or the whole model: {quantise()}"
        )
    if bits > FLOAT32_BITS:
        raise operation.refused(
            f"{what} '{known.source}' needs {bits} bits together, of which at most {FLOAT32_BITS} are exact in "
            f"float32; use scales of its channels that are closer to each other"
        )
    return whole.astype(np.int64), fraction


def power_of_two(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the exponents of numbers that are powers of two; None where one is not."""
    mantissas, exponents = np.frexp(np.asarray(values, np.float64))
    return None if np.any(mantissas != 0.5) else (exponents - 1).astype(np.int64)
