"""Options of an ONNX project."""

from __future__ import annotations

from dataclasses import dataclass

from edgephys.core.errors import UsageError
from edgephys.targets.options import option, require_choices

QDQ, FLOAT = STYLES = ("qdq", "float")
OPSETS = range(21, 25)
"""Versions of the operators: 21 is the first that quantises to 16 bits."""


@dataclass(frozen=True)
class OnnxOptions:
    """State the operators of a model.

    ``style`` 'qdq' rounds by pairs of QuantizeLinear and DequantizeLinear and stores integer weights; 'float' has
    fewer operators: float weights and Round.
    Raises: UsageError for a value that cannot be.
    """

    opset: int = option(OPSETS[0], "version of the operators")
    style: str = option(QDQ, "operators that round (float has fewer operators)", choices=STYLES)

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(f"opset must be {OPSETS[0]}..{OPSETS[-1]}, not {self.opset}")
        require_choices(self)
