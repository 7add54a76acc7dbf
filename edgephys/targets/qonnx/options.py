"""Options of a QONNX project."""

from __future__ import annotations

from dataclasses import dataclass

from edgephys.core.errors import UsageError
from edgephys.targets.options import option

OPSETS = range(13, 19)
"""Versions of the standard operators: from 13 on a sum's axes are an input; other tools support no newer ones yet."""


@dataclass(frozen=True)
class QonnxOptions:
    """State the version of the standard operators.

    Raises: UsageError for a version that cannot be.
    """

    opset: int = option(OPSETS[0], "version of the operators")

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(f"opset of a QONNX model must be {OPSETS[0]}..{OPSETS[-1]}, not {self.opset}")
