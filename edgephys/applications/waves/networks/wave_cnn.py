"""A convolutional network that advances a wave by one frame, its convolutions in a format chosen before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.applications.waves.networks.wave_net import WaveNet
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.decompositions import FORMATS, RANKED, Part
from edgephys.networks.layers import FrameSum
from edgephys.networks.network import WIDEST_LAYER
from edgephys.networks.widths import convolution, rounding

LAST = "last"

SKIPS: dict[str, tuple[int, ...]] = {"none": (), "frame": (1,), "motion": (-1, 2)}
"""What is added to the network's own result, as factors of the last frames."""

LAST_GAIN = 0.01
"""By how much the variance of what the last stage gives at the start is less: a small correction to what is added."""

WIDEST_KERNEL = 63

PART_EXTRA_BITS = 4
PART_INTEGER = 2
"""Format of what the parts of a stage hand on: signed, this much wider than the activations, in [-4, 4). Narrow enough
for float32 to hold the next sums, wide enough that what it rounds away is less than what the ReLU does."""


@dataclass(frozen=True, kw_only=True)
class WaveCnn(WaveNet):
    """State a network of ``depth`` hidden stages with ReLU and a linear last one.

    ``skip`` is added to what the stages
    give: nothing, the last frame, or twice that less the former one, which is where the motion leads.
    ``format`` is that of every stage's convolution, ``rank`` the R of cp or the M of spatial (None: ``width``).
    Source: arXiv 2304.04964 (formats). Ours: parts of a stage are rounded between each other, to
    ``activation_bits + 4`` bits; a stage has one bias, in its last part; the skip.
    """

    depth: int = 4
    format: str = "full"
    skip: str = "motion"
    input_integer: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "frames", "width", "depth"):
            if not 1 <= getattr(self, name) <= WIDEST_LAYER:
                raise UsageError(f"{name} must be 1..{WIDEST_LAYER}, not {getattr(self, name)}")
        if not 3 <= self.kernel_size <= WIDEST_KERNEL or self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size must be odd and 3..{WIDEST_KERNEL}, not {self.kernel_size}")
        for name, words in (("format", tuple(FORMATS)), ("skip", tuple(SKIPS))):
            if getattr(self, name) not in words:
                raise UsageError(f"{name} must be one of {', '.join(words)}, not '{getattr(self, name)}'")
        if self.rank is not None and (not 1 <= self.rank <= WIDEST_LAYER or self.format not in RANKED):
            raise UsageError(
                f"rank must be 1..{WIDEST_LAYER} and goes with format={' or '.join(RANKED)}, not {self.rank} with "
                f"{self.format}"
            )
        if len(SKIPS[self.skip]) > self.frames:
            raise UsageError(f"frames must be {len(SKIPS[self.skip])} or more for skip={self.skip}, not {self.frames}")

    def stages(self) -> dict[str, tuple[Part, ...]]:
        """Return the parts of each stage, by its name, in order."""
        size = (self.kernel_size, self.kernel_size)
        widths = {f"stage_{number}": self.width for number in range(1, self.depth + 1)} | {LAST: 1}
        stages, channels = {}, self.frames + 1
        for name, outputs in widths.items():
            stages[name] = FORMATS[self.format](channels, outputs, size, self.rank or self.width)
            channels = outputs
        return stages

    @property
    def structure(self) -> str:
        """Return the format of the convolutions."""
        return self.format

    @property
    def macs(self) -> int:
        """Return the multiplications of a frame by weights, those of 0 too."""
        return sum(part.reads * part.outputs for parts in self.stages().values() for part in parts) * self.grid**2

    def build(self) -> Any:
        """Return the untrained Keras model: (field, row, column, frame and speed) -> (field, row, column, 1)."""
        x = inputs = keras.Input((self.grid, self.grid, self.frames + 1), name="frames")
        for name, parts in self.stages().items():
            x = self._stage(x, name, parts)
            x = x if name == LAST else self.relu(f"{name}_relu")(x)
        if factors := SKIPS[self.skip]:
            skipped = FrameSum([0] * (self.frames - len(factors)) + [*factors, 0], name="skip")(inputs)
            x = keras.layers.Add(name="next")([x, skipped])
        if self.bits is not None:
            x = rounding(self.input_bits, self.input_integer - 1, "next_quantised")(x)
        return keras.Model(inputs, x, name="wave_cnn")

    def _stage(self, x: Any, stage: str, parts: tuple[Part, ...]) -> Any:
        for part in parts:
            name = f"{stage}_{part.name}" if part.name else stage
            last = part is parts[-1]
            gain = (2.0 if part is parts[0] else 1.0) * (LAST_GAIN if last and stage == LAST else 1.0)
            x = convolution(part, self.bits, name, last, self.integer(name), gain)(x)
            if self.activation is not None and not last:
                x = rounding(self.activation + PART_EXTRA_BITS, PART_INTEGER, f"{name}_quantised")(x)
        return x

    @property
    def label(self) -> str:
        """Name the grid, the format with its rank, and the width: n64_cp8_8bit."""
        return f"n{self.grid}_{self.step_label}{self.format}{self.rank or ''}_{self.precision}"
