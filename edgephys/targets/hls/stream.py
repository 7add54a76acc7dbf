"""A stream of pixels in HLS: which process reads which copy of a stream, the depth of each FIFO, and the latency.

Every step is a process of the dataflow. It reads one pixel a clock, and waits where there is no pixel or no space for
its result. A stream has one reader: where several processes read an edge, another process copies it for them. Where
branches meet again, the pixels of the shorter branch wait in its FIFO for those of the longer one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from edgephys.core.errors import ModelError, UsageError
from edgephys.graph.graph import Graph
from edgephys.targets.fpga import AUTO, STREAM
from edgephys.targets.hls.step import HlsStep
from edgephys.targets.rtl.line_buffer import lag
from edgephys.targets.rtl.stream import is_field

WIDEST_BEAT = 4096
"""Largest width in bits of a stream in Vitis HLS."""
COPIES = 7
"""Largest number of copies that hls4ml makes of a stream."""
SHALLOW = 2
"""Depth in beats of a FIFO in which nothing waits: it can be read and written at every clock."""
DEEPEST_PIPELINE = 32
"""Pipeline stages of a process that the depths of the FIFOs allow for; the vendor's tool chooses the stages. No FIFO is
deeper than a frame, which is enough for any number of stages."""
FASTEST_PROCESS = 2
"""Least clocks from the input of a process to the input of the next one: one to compute, one in the FIFO."""


def is_streamed(graph: Graph, io: str, backend: str) -> bool:
    """Return whether a graph is streamed; raise UsageError where the backend cannot stream."""
    streamed = io == STREAM or (io == AUTO and is_field(graph))
    if streamed and backend == "Catapult":
        raise UsageError(
            "backend must be Vitis or Vivado for a field that is streamed, not Catapult, whose streams are not "
            "simulated here"
        )
    return streamed


def connected(steps: Sequence[HlsStep]) -> tuple[HlsStep, ...]:
    """Return the steps with a copying process after each edge that several steps read: a stream has one reader.

    Raises: ModelError naming the layer whose pixels are too wide for a stream.
    """
    for step in steps:
        _require_narrow(step)
    reads = Counter(name for step in steps for name in step.inputs)
    ready: dict[str, list[str]] = {}
    linked: list[HlsStep] = []
    for step in steps:
        linked.append(replace(step, inputs=tuple(ready[name].pop(0) for name in step.inputs)))
        ready[step.name] = [step.name]
        if reads[step.name] > 1:
            copies, ready[step.name] = _copied(step, reads[step.name])
            linked += copies
    return tuple(linked)


def _copied(step: HlsStep, readers: int) -> tuple[list[HlsStep], list[str]]:
    """Return the processes that copy the result of a step, in a chain where there are many readers, and the streams."""
    copies: list[HlsStep] = []
    streams = [step.name]
    while len(streams) < readers:
        source, name = streams.pop(), f"{step.name}_copied_{len(copies)}"
        outputs = tuple(f"{name}_{number}" for number in range(min(COPIES, readers - len(streams))))
        formats, attributes = {"result": step.formats["result"]}, {"size": prod(step.shape)}
        copies.append(HlsStep(step.node, name, "Clone", (source,), step.shape, formats, {}, attributes, outputs))
        streams += outputs
    return copies, streams


def _require_narrow(step: HlsStep) -> None:
    fixed, channels = step.formats["result"], step.shape[-1]
    if _beat_bits(step) > WIDEST_BEAT:
        raise ModelError(
            f"layer '{step.node.layer}': a pixel of {step.node.op.word} '{step.node.name}' has {channels} numbers "
            f"of {fixed.bits} bits, {_beat_bits(step)} in all, and a stream of Vitis HLS carries at most "
            f"{WIDEST_BEAT}; use fewer channels, fewer bits or a smaller window, or emit it to rtl"
        )


@dataclass(frozen=True)
class Times:
    """State the times of a stream at one pixel a clock, as far as they are known before synthesis, and its memory.

    ``lag`` is the number of pixels that windows wait for, along the path that waits longest; ``processes`` is the
    number of processes on the longest path. ``first`` are the clocks from the first pixel of a frame to its first
    output, ``latency`` to its last output, ``ii`` from frame to frame. They are lower limits: the vendor's tool chooses
    the stages of each process. ``depths`` are the beats of each stream's FIFO, by name; ``memory_bits`` are the bits of
    line buffers and of FIFOs in which pixels wait.
    """

    lag: int
    processes: int
    first: int
    latency: int
    ii: int
    depths: dict[str, int]
    memory_bits: int


def times(steps: Sequence[HlsStep]) -> Times:
    """Return the times of connected steps, the first of which is the input and the last the output.

    A window outputs its first pixel when the last neighbour has arrived, and then one pixel a clock. A frame therefore
    takes as many clocks as it has pixels, plus the pixels that the window waits for; the next frame follows. Ours.
    """
    pixels = steps[0].shape[0]
    waits = {step.name: _lag(step) for step in steps}
    slow = _arrivals(steps, waits, DEEPEST_PIPELINE)
    wide = {name: _beat_bits(step) for step in steps for name in step.outputs or (step.name,)}
    depths: dict[str, int] = {}
    for step in steps:
        latest = max((slow[name] for name in step.inputs), default=0)
        depths |= {name: min(pixels, latest - slow[name] + SHALLOW) for name in step.inputs}
    end = steps[-1].name
    first = _arrivals(steps, waits, FASTEST_PROCESS)[end]
    waiting = sum(wide[name] * depth for name, depth in depths.items() if depth > SHALLOW)
    return Times(
        lag=_arrivals(steps, waits, 0)[end],
        processes=_arrivals(steps, dict.fromkeys(waits, 0), 1)[end],
        first=first,
        latency=first + pixels - 1,
        ii=pixels + max(waits.values()),
        depths=depths,
        memory_bits=waiting + sum(_line_bits(step, wide[step.inputs[0]]) for step in steps if _is_window(step)),
    )


def _arrivals(steps: Sequence[HlsStep], waits: dict[str, int], process: int) -> dict[str, int]:
    """Return when the first pixel of each stream is ready, if each process takes ``process`` clocks beside its wait."""
    arrivals: dict[str, int] = {}
    for step in steps:
        first = max((arrivals[name] for name in step.inputs), default=-process)  # the input is no process
        arrivals |= dict.fromkeys(step.outputs or (step.name,), first + waits[step.name] + process)
    return arrivals


def _lag(step: HlsStep) -> int:
    """Return the number of further pixels that a step waits for."""
    sizes = step.attributes["calls"][0].sizes if _is_window(step) else None
    return lag((sizes["rows"], sizes["columns"]), (sizes["height"], sizes["width"])) - 1 if sizes else 0


def _line_bits(window: HlsStep, bits: int) -> int:
    """Return the bits of the line buffer of a window over pixels of ``bits`` bits."""
    sizes: Mapping[str, int] = window.attributes["calls"][0].sizes
    return (sizes["rows"] - 1) * sizes["width"] * bits


def _is_window(step: HlsStep) -> bool:
    return step.attributes.get("kernel") == "window"


def _beat_bits(step: HlsStep) -> int:
    return step.formats["result"].bits * step.shape[-1]
