"""Roll-out in hardware: a top module that keeps the input of a streamed network in memory and runs steps on its own.

Every channel of the input is in a memory of its own (block RAM: one port to write, one to read at a clock edge). A step
reads all pixels, one a clock, through the network, whose output overwrites the oldest frame of the state: each pixel
was read before its place is written. Which memory holds the oldest frame is counted; nothing is copied.

The frames of a run enter the network one after the other without a gap, so that the pixels of the next step push the
last ones of this step out. Where the network's latency is longer than a frame, frames that are not stored follow each
step: ``passes`` frames a step in all, as many as the latency needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.graph.feedback import Feedback
from edgephys.graph.graph import Graph
from edgephys.targets.rtl.line_buffer import count_bits

ROLLOUT, MEMORY = "edgephys_rollout", "edgephys_memory"
STEP_BITS = 16
"""Bits of the number of steps of a run; a further run goes on where the last one ended."""
AROUND = 3
"""Clocks from the address of a pixel to its result in memory, without the latency of the network."""


@dataclass(frozen=True)
class Rollout:
    """State the memories and the times of a roll-out: ``latency`` is the network's, from a pixel to its result.

    Units: ``bits`` of a channel, ``out_bits`` of a channel of the output; latency in clocks.
    """

    feedback: Feedback
    pixels: int
    bits: int
    signed: bool
    out_bits: int
    out_signed: bool
    latency: int

    @property
    def passes(self) -> int:
        """Frames that enter the network for a step: one, where the network's latency is shorter than a frame."""
        return -(-(self.latency + AROUND) // self.pixels)

    @property
    def step_cycles(self) -> int:
        """Clocks from the first pixel of a step to the first pixel of the next step."""
        return self.passes * self.pixels

    @property
    def last_step_cycles(self) -> int:
        """Clocks of the last step of a run, from its start on: until its last pixel is in memory."""
        return self.pixels + self.latency + AROUND - 1

    @property
    def memory_bits(self) -> int:
        """Bits in the memories of all channels."""
        return self.feedback.channels * self.pixels * self.bits

    @property
    def address_bits(self) -> int:
        """Bits of the number of a pixel."""
        return count_bits(self.pixels)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Ports that the module reads beside the clock, with the layout of each."""
        control = {"reset": 1, "start": 1, "steps": STEP_BITS, "write": self.feedback.channels}
        pixel = [_port("write_pixel", self.address_bits), self._data("write_data")]
        return [*(_port(*port) for port in control.items()), *pixel, _port("read_pixel", self.address_bits)]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Ports that the module drives, with the layout of each."""
        return [_port("busy", 1), _port("done", 1), self._data("read_data")]

    def _data(self, name: str) -> dict[str, Any]:
        return {"node": name, "shape": [self.feedback.channels], "signed": self.signed, "bits": self.bits}


def rollout(graph: Graph, feedback: Feedback, latency: int) -> Rollout:
    """Return the roll-out of a graph on fields, whose stream has a ``latency`` in clocks."""
    height, width, _ = graph.input.shape
    own, output = graph.input.fixed, graph.output.fixed
    return Rollout(feedback, height * width, own.bits, own.signed, output.bits, output.signed, latency)


def _port(name: str, bits: int) -> dict[str, Any]:
    return {"node": name, "shape": [1], "signed": False, "bits": bits}
