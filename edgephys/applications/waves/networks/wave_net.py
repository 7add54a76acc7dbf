"""What networks that advance a wave have in common: the fields that they read."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.networks.network import Net

SPEED = "speed"
LONGEST_STRIDE = 32
MEDIUM = "medium"
OPEN_MEDIUM = "open_medium"
"""Last channel of a network's input: the wave speed c, or a map of the medium (``networks.medium``): with walls around
the field, or with absorbing pixels where the edges of a run let waves leave."""
SPEED_INTEGER = 1
"""Bits before the point of the wave speed in a map of the medium: c < 2."""
SPEEDS_BESIDE_ABSORBING = (0.0625, 1.9375)
"""Speeds that a map with absorbing pixels holds: none of them is rounded to a wall or to such a pixel."""


@dataclass(frozen=True, kw_only=True)
class WaveNet(Net):
    """State a network that reads ``frames`` frames, the latest last, and the map of the wave speed.

    Shape: (field, row, column, frame and speed) -> (field, row, column, 1), with ``grid`` rows and columns, and
    ``margin`` more on every side. The next frame has the format of the input, so that a roll-out feeds it back. With a
    ``stride`` the network advances that many frames of a run at once, and reads frames so far apart.
    """

    grid: int = 64
    frames: int = 2
    stride: int = 1
    width: int = 16
    depth: int = 1
    kernel_size: int = 3
    rank: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stride <= LONGEST_STRIDE:
            raise UsageError(f"stride must be 1..{LONGEST_STRIDE}, not {self.stride}")
        if self.stride > 1 and self.frames < 2:
            raise UsageError(f"frames must be 2 or more with stride {self.stride}, not {self.frames}")

    @property
    def size(self) -> int:
        """Return the points of a side."""
        return self.grid

    @property
    @abstractmethod
    def structure(self) -> str:
        """Return the name of the network's structure in tables: the format of its convolutions, or "operator"."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Return the multiplications of a frame by weights, those of 0 too."""

    def stable_proven(self, model: Any) -> bool:
        """Return whether a model of this network is proven to stay bounded, for every field."""
        return False

    @property
    def margin(self) -> int:
        """Return the pixels around the field: a network with a margin reads the medium, not the speed alone."""
        return 0

    @property
    def side(self) -> int:
        """Return the points of a side of the input, those around the field among them."""
        return self.grid + 2 * self.margin

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the input's channels."""
        return (
            *(f"u{self.stride * (time - self.frames + 1)}" for time in range(self.frames)),
            self.medium,
        )

    @property
    def medium(self) -> str:
        """Return the name of the last channel."""
        return MEDIUM if self.margin else SPEED

    @property
    def step_label(self) -> str:
        """Name the stride in front of the format, where it is not 1: s4."""
        return f"s{self.stride}" if self.stride > 1 else ""
