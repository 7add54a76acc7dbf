"""Steps of a stream that read other beats than they write: patches of a field, sums and products over beats.

Each is a kernel of ``kernels/nnet_edgephys_stream.h`` that takes the streams themselves, and states its passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Constant
from edgephys.graph.ops import constant_of
from edgephys.targets.hls.dataflow import LoopPasses
from edgephys.targets.hls.patches import OUTSIDE, Patches
from edgephys.targets.hls.rules import KernelRule, elementwise, kernel_step
from edgephys.targets.hls.step import Call, HlsStep, Place, plain

StreamRule = Callable[[Place], HlsStep]


@dataclass(frozen=True, eq=False)
class PatchesRule:
    """Gather the patches of a field in a line buffer, a patch a beat."""

    patches: Patches

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a node that moves points of a field."""
        patches = self.patches
        (height, width), (rows, columns), (up, left) = patches.field, patches.size, patches.before
        row_reach, column_reach = patches.reach
        sizes = {
            "height": height,
            "width": width,
            "rows": rows,
            "columns": columns,
            "row_spread": patches.spread[0],
            "column_spread": patches.spread[1],
            "row_reach": row_reach,
            "column_reach": column_reach,
            "up": up,
            "left": left,
            "row_stride": patches.strides[0],
            "column_stride": patches.strides[1],
            "last_row": (patches.count[0] - 1) * patches.strides[0],
            "last_column": (patches.count[1] - 1) * patches.strides[1],
            "lag": patches.lag,
            "passes": patches.loop.passes,
            "channels": prod(place.ones[0].shape),
        }
        return streaming(place, "window", sizes, patches.loop, buffered=(row_reach - 1) * width)


@dataclass(frozen=True, eq=False)
class RearrangeRule:
    """Hold a whole frame and write its groups of numbers in any order.

    ``groups`` are the places of the groups in the frame, in units of ``size`` numbers, or ``OUTSIDE`` for zeros.
    """

    beats: int
    groups: Integers
    size: int

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a node that moves numbers."""
        parts = prod(place.ones[0].shape) // self.size
        inside = self.groups != OUTSIDE
        tables = {
            "rows": np.where(inside, self.groups // parts, 0),
            "parts": np.where(inside, self.groups % parts, parts),
        }
        of_beat = len(self.groups) // place.beats
        sizes = {"beats": self.beats, "groups": len(self.groups), "size": self.size, "count": of_beat, "most": parts}
        writes = self.beats + (np.arange(place.beats) + 1) * of_beat - 1
        loop = LoopPasses(self.beats + len(self.groups), np.arange(self.beats), writes)
        return streaming(place, "rearrange", sizes, loop, tables, buffered=self.beats)


@dataclass(frozen=True)
class BeatSumRule:
    """Add up beats that lie ``inner`` beats apart, ``terms`` for each sum."""

    terms: int
    inner: int

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a sum over an axis that several beats hold."""
        sizes = {"beats": place.beats * self.terms, "terms": self.terms, "inner": self.inner}
        read = np.arange(place.beats * self.terms)
        loop = LoopPasses(len(read), read, read[read // self.inner % self.terms == self.terms - 1])
        return streaming(place, "sum_beats", sizes, loop)


@dataclass(frozen=True)
class BeatDenseRule:
    """Multiply beats by their own rows of a matrix and add up ``terms`` of them, a beat at each pass."""

    terms: int

    def __call__(self, place: Place) -> HlsStep:
        """Return the step of a product with a vector that several beats hold."""
        weight = constant_of(place.node)
        inputs, outputs = weight.integers.shape[0] // self.terms, weight.integers.shape[1]
        sizes = {"beats": place.beats * self.terms, "terms": self.terms, "inputs": inputs, "outputs": outputs}
        sizes["width"] = inputs * outputs
        read = np.arange(place.beats * self.terms)
        loop = LoopPasses(len(read), read, read[read % self.terms == self.terms - 1])
        flattened = Constant(weight.integers.reshape(-1), weight.fraction)
        return streaming(place, "dense_beats", sizes, loop, constant=flattened)


def streaming(
    place: Place,
    kernel: str,
    sizes: Mapping[str, int],
    loop: LoopPasses,
    tables: Mapping[str, Integers] | None = None,
    buffered: int = 0,
    constant: Constant | None = None,
) -> HlsStep:
    """Return the step of a kernel that takes the streams themselves."""
    call = Call(tuple(range(len(place.inputs))), sizes, tables or {})
    rule = KernelRule(kernel, elementwise)
    step = kernel_step(place, rule, (call,), plain(place.node.fixed), constant)
    return replace(step, attributes={**step.attributes, "streams": True}, loop=loop, buffered=buffered)
