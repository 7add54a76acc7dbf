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
LAYERS = (0, 1, 3, 7)
"""Numbers of layers whose maps fill the range of an input's format."""
LEAST_SPEED_BITS = 6
"""Bits of a speed and its sign that tell the speeds beside absorbing layers from walls and layers."""
FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class WaveOperator(WaveNet):
    """State u+ = 2 u - u- - B^T (g(c) * (B u)), with ``width`` filters B of ``kernel_size`` pixels along a side.

    It reads two frames, the latest last, and the map of the medium: the field lies within walls as wide as a filter
    reaches, where u+ = u- = 0: B then sees that it is 0 there, as at the edges of the data. With ``layers`` rings of
    absorbing pixels it takes runs whose edges let waves leave, too: u+ = u- + a (2 u - 2 u- - B^T (g(c) * (B u))), with
    a share 0 <= a <= 1 of each layer.
    ``format`` states of which parts the filters are made, before training: full, one_way, or cp with its ``rank``.
    ``bits`` is the width of the filters. The update is exactly reversible in integers where nothing saturates: u-
    follows from u+ and u by the same sum.
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
    layers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "width"):
            if not 1 <= getattr(self, name) <= WIDEST_LAYER:
                raise UsageError(f"{name} must be 1..{WIDEST_LAYER}, not {getattr(self, name)}")
        if not 3 <= self.kernel_size <= LARGEST_FILTER or self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size must be odd and 3..{LARGEST_FILTER}, not {self.kernel_size}")
        parts_of(self.format, self.width, self.kernel_size, self.rank)
        if self.layers not in LAYERS:
            raise UsageError(f"layers must be one of {', '.join(map(str, LAYERS))}, not {self.layers}")
        if self.layers and self.speed_bits < LEAST_SPEED_BITS:
            raise UsageError(f"speed_bits must be {LEAST_SPEED_BITS} or more beside layers, not {self.speed_bits}")
        needed = 1 + SPEED_INTEGER + self.layers.bit_length()
        if self.layers and self.input_integer != needed:
            raise UsageError(
                f"input_integer must be {needed} for the map of {self.layers} layers, not {self.input_integer}; set "
                f"input_integer={needed}"
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
            inner=(fraction + 1, 3),
            result=(self.input_bits + 1, self.input_integer + 1),
            gate_bits=self.gate_bits,
            speed_bits=self.speed_bits,
            knots=self.knots,
            format=self.format,
            rank=self.rank,
            speed_integer=SPEED_INTEGER,
            layers=self.layers,
            name="operator",
        )([field, medium])
        motion = FrameSum([-2, 2, 0], name="motion")(inputs)  # from u- to u+ without the operator
        edges = Edges(
            self.layers,
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
        return max(self.kernel_size // 2, self.layers)

    @property
    def medium(self) -> str:
        """Return the name of the last channel."""
        return OPEN_MEDIUM if self.layers else super().medium

    @property
    def label(self) -> str:
        """Name the grid, the format with its rank, filters, layers and bits: n32_f12_8bit, n32_cp8f12_open3_8bit."""
        structure = "" if self.format == "full" else f"{self.format}{self.rank or ''}"
        layers = f"_open{self.layers}" if self.layers else ""
        return f"n{self.grid}_{self.step_label}{structure}f{self.width}{layers}_{self.precision}"
