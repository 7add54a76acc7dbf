"""A network that advances a wave by one frame and stays stable, whatever the field, the speed and the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from edgephys.applications.waves.networks.wave_net import OPEN_MEDIUM, SPEED_INTEGER, WaveNet
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.edges import Edges
from edgephys.networks.gated_operator import GatedOperator
from edgephys.networks.layers import FrameSum
from edgephys.networks.network import WIDEST_LAYER
from edgephys.networks.stencils import LIMIT, parts_of
from edgephys.networks.widths import rounding

LARGEST_FILTER = 15
MOST_ABSORBING = 64
MOST_INNER_INTEGER = 3
LEAST_SPEED_BITS = 6
"""Bits of a speed and its sign that tell the speeds beside absorbing pixels from walls and from them."""
FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class WaveOperator(WaveNet):
    """State u+ = 2 u - u- - B^T (g(c) * (B u)), with ``width`` filters B of ``kernel_size`` pixels along a side.

    It reads two frames, the latest last, and the map of the medium: the field lies within walls as wide as a filter
    reaches, where u+ = u- = 0: B then sees that it is 0 there, as at the edges of the data. With as many
    ``absorbing`` pixels around the field it takes runs whose edges let waves leave, too: there
    u+ = u- + a (2 u - 2 u- - B^T (g(c) * (B u))), with a share a below 1 (``networks.edges``).
    ``format`` states of which parts the filters are made, before training: full, one_way, or cp with its ``rank``.
    ``bits`` is the width of the filters. Inner products B u have a bit more than the fraction of the input, the highest
    ``inner_integer`` of them before the point: filters within the bound make small ones of a wave, and what is rounded
    off them is the largest part of what a roll-out adds to its energy. The update is exactly reversible in integers
    where nothing saturates: u- follows from u+ and u by the same sum.
    """

    settled: ClassVar[frozenset[str]] = frozenset(("frames", "activation_bits", "weight_integers"))
    grid: int = 32
    frames: int = FRAMES
    width: int = 8
    kernel_size: int = 7
    format: str = "full"
    knots: int = 17
    gate_bits: int = 8
    speed_bits: int = 7
    input_bits: int = 15
    input_integer: int = 3
    inner_integer: int = 1
    absorbing: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "width"):
            if not 1 <= getattr(self, name) <= WIDEST_LAYER:
                raise UsageError(f"{name} must be 1..{WIDEST_LAYER}, not {getattr(self, name)}")
        if not 3 <= self.kernel_size <= LARGEST_FILTER or self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size must be odd and 3..{LARGEST_FILTER}, not {self.kernel_size}")
        if not 1 <= self.inner_integer <= MOST_INNER_INTEGER:
            raise UsageError(f"inner_integer must be 1..{MOST_INNER_INTEGER}, not {self.inner_integer}")
        parts_of(self.format, self.width, self.kernel_size, self.rank)
        least = self.kernel_size // 2
        if self.absorbing and not least <= self.absorbing <= MOST_ABSORBING:
            raise UsageError(
                f"absorbing must be 0, or {least}..{MOST_ABSORBING} pixels beside filters of {self.kernel_size}, not "
                f"{self.absorbing}"
            )
        if self.absorbing and self.speed_bits < LEAST_SPEED_BITS:
            raise UsageError(
                f"speed_bits must be {LEAST_SPEED_BITS} or more beside absorbing pixels, not {self.speed_bits}"
            )
        needed = 2 + SPEED_INTEGER
        if self.absorbing and self.input_integer < needed:
            raise UsageError(
                f"input_integer must be {needed} or more for a map with absorbing pixels, not {self.input_integer}"
            )

    def build(self) -> Any:
        """Return the untrained Keras model: (field, row, column, frame and speed) -> (field, row, column, 1)."""
        inputs = keras.Input((self.side, self.side, FRAMES + 1), name="frames")
        field, medium = FrameSum([0, 1, 0], name="field")(inputs), FrameSum([0, 0, 1], name="medium")(inputs)
        fraction = self.input_bits - self.input_integer
        change = GatedOperator(
            self.width,
            self.kernel_size,
            self.bits,
            inner=(fraction + 1, self.inner_integer),
            result=(self.input_bits + 1, self.input_integer + 1),
            gate_bits=self.gate_bits,
            speed_bits=self.speed_bits,
            knots=self.knots,
            format=self.format,
            rank=self.rank,
            speed_integer=SPEED_INTEGER,
            absorbing=self.absorbing > 0,
            name="operator",
        )([field, medium])
        motion = FrameSum([-2, 2, 0], name="motion")(inputs)  # from u- to u+ without the operator
        edges = Edges(
            self.absorbing > 0,
            speed_bits=self.speed_bits,
            speed_integer=SPEED_INTEGER,
            result=None if self.bits is None else (self.input_bits + 3, self.input_integer + 3),
            name="walls",
        )
        motion = edges([keras.layers.Subtract(name="step")([motion, change]), medium])
        x = keras.layers.Add(name="next")([FrameSum([1, 0, 0], name="before")(inputs), motion])
        if self.bits is not None:
            x = rounding(self.input_bits, self.input_integer - 1, "next_quantised")(x)
        return keras.Model(inputs, x, name="wave_operator")

    @property
    def structure(self) -> str:
        """Return the name of the structure in tables."""
        return "operator" if self.format == "full" else f"operator, {self.format}"

    @property
    def macs(self) -> int:
        """Return the multiplications of a frame."""
        parts = parts_of(self.format, self.width, self.kernel_size, self.rank)
        return 2 * sum(part.reads * part.outputs for part in parts) * self.side**2

    def stable_proven(self, model: Any) -> bool:
        """Return whether the bound of |B^T B|, from the filters that ship, is below the limit of stability."""
        return bool(model.get_layer("operator").proven() < LIMIT)

    @property
    def margin(self) -> int:
        """Return the pixels around the field."""
        return max(self.kernel_size // 2, self.absorbing)

    @property
    def medium(self) -> str:
        """Return the name of the last channel."""
        return OPEN_MEDIUM if self.absorbing else super().medium

    @property
    def label(self) -> str:
        """Name the grid, the format with its rank, filters, open edges, bits: n32_f12_8bit, n32_cp8f12_open7_8bit."""
        structure = "" if self.format == "full" else f"{self.format}{self.rank or ''}"
        edges = f"_open{self.absorbing}" if self.absorbing else ""
        return f"n{self.grid}_{self.step_label}{structure}f{self.width}{edges}_{self.precision}"
