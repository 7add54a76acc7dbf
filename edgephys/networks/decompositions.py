"""Formats of a convolution, chosen before training: of which parts it is made.

No nonlinearity stands between the parts of a stage, so that a stage is a convolution whose kernel has a structure:
few parameters give all of it. Sources: arXiv 2304.04964 (formats chosen a priori, for wave simulators; one-way
filters), 1412.5474 (flattened, the ``one_way`` of rank 1), 1412.6553 (``cp``).

=============  ==================================================  ==============================
format         parts, Ci -> Co channels, kh x kw pixels            parameters, without the bias
=============  ==================================================  ==============================
full           kh x kw                                             kh * kw * Ci * Co
one_way        1 x 1 Ci -> Co, depthwise kh x 1, depthwise 1 x kw  Co * (Ci + kh + kw)
cp             1 x 1 Ci -> R, both depthwise, 1 x 1 R -> Co        R * (Ci + kh + kw + Co)
spatial        kh x 1 Ci -> M, 1 x kw M -> Co                      kh * Ci * M + kw * M * Co
depthwise      depthwise kh x kw, 1 x 1 Ci -> Co                   kh * kw * Ci + Ci * Co
=============  ==================================================  ==============================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

Size = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """State one convolution of a stage; a depthwise one has as many outputs as inputs, each reads its own."""

    name: str
    size: Size
    inputs: int
    outputs: int
    depthwise: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the kernel, as Keras': (rows, columns, input, output), of one output an input where depthwise."""
        return (*self.size, self.inputs, 1 if self.depthwise else self.outputs)

    @property
    def reads(self) -> int:
        """Number of weights that make one output."""
        return prod(self.size) * (1 if self.depthwise else self.inputs)

    @property
    def parameters(self) -> int:
        """Number of weights, without a bias."""
        return prod(self.shape)


def full(inputs: int, outputs: int, size: Size, rank: int) -> tuple[Part, ...]:
    """Return one convolution; ``rank`` is not used."""
    return (Part("", size, inputs, outputs),)


def one_way(inputs: int, outputs: int, size: Size, rank: int) -> tuple[Part, ...]:
    """Return the parts of kernels that are each an outer product of three vectors; ``rank`` is not used."""
    return (Part("mix", (1, 1), inputs, outputs), *_along(outputs, size))


def cp(inputs: int, outputs: int, size: Size, rank: int) -> tuple[Part, ...]:
    """Return the parts of kernels that are all sums of the same ``rank`` outer products."""
    return (*one_way(inputs, rank, size, rank), Part("join", (1, 1), rank, outputs))


def spatial(inputs: int, outputs: int, size: Size, rank: int) -> tuple[Part, ...]:
    """Return a convolution along each axis, ``rank`` channels between them."""
    rows, columns = size
    return Part("down", (rows, 1), inputs, rank), Part("across", (1, columns), rank, outputs)


def depthwise(inputs: int, outputs: int, size: Size, rank: int) -> tuple[Part, ...]:
    """Return one filter a channel and their mixtures; ``rank`` is not used."""
    return Part("each", size, inputs, inputs, True), Part("mix", (1, 1), inputs, outputs)


FORMATS: dict[str, Callable[[int, int, Size, int], tuple[Part, ...]]] = {
    "full": full,
    "one_way": one_way,
    "cp": cp,
    "spatial": spatial,
    "depthwise": depthwise,
}
RANKED = ("cp", "spatial")
"""Formats with a width of their own: the R of cp, the M of spatial."""


def _along(channels: int, size: Size) -> tuple[Part, Part]:
    rows, columns = size
    return Part("down", (rows, 1), channels, channels, True), Part("across", (1, columns), channels, channels, True)
