"""A stream of pixels in HLS: which process reads which copy of a stream, the depth of each FIFO, and the latency.

Every step is a process of the dataflow. It reads one pixel a clock, and waits where there is no pixel or no space for
its result. A stream has one reader: where several processes read an edge, another process copies it for them. Where
branches meet again, the pixels of one branch wait in its FIFO for those of the other: as many as it can be ahead when
its pipelines are short and those of the other are deep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from edgephys.core.errors import ModelError, UsageError
from edgephys.graph.graph import Graph
from edgephys.targets.fpga import AUTO, STREAM
from edgephys.targets.hls.dataflow import Lead, LoopPasses, StreamProcess, arrivals
from edgephys.targets.hls.step import HlsStep
from edgephys.targets.rtl.stream import is_field, is_large_field

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
    """Return whether a graph is streamed; raise UsageError where the backend cannot stream.

    io "auto" streams a field where a layer reads neighbouring pixels, and a large one where a layer joins pixels.
    """
    streamed = io == STREAM or (io == AUTO and (is_field(graph) or is_large_field(graph)))
    if streamed and backend == "Catapult":
        raise UsageError(
            "backend must be Vitis or Vivado for a field that is streamed, not Catapult, whose streams are not "
            "simulated here; or use io 'parallel'"
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
            f"{WIDEST_BEAT}, here {WIDEST_BEAT // fixed.bits} numbers; use fewer channels, fewer bits or a smaller "
            f"window, state --io parallel, which computes all pixels at once and suits small fields, or emit it to rtl"
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
    processes = _processes(steps)
    wide = {name: _beat_bits(step) for step in steps for name in step.outputs or (step.name,)}
    depths = _depths(steps, processes)
    end = steps[-1].name
    arrived = arrivals(processes, FASTEST_PROCESS)[end]
    waiting = sum(wide[name] * depth for name, depth in depths.items() if depth > SHALLOW)
    return Times(
        lag=int(arrivals(processes, 0)[end][0]),
        processes=_longest(processes),
        first=int(arrived[0]),
        latency=int(arrived[-1]),
        ii=max(process.loop.passes for process in processes),
        depths=depths,
        memory_bits=waiting + sum(step.buffered * wide[step.inputs[0]] for step in steps if step.inputs),
    )


def _processes(steps: Sequence[HlsStep]) -> tuple[StreamProcess, ...]:
    """Return the processes of steps; what a process reads is named by the process that writes it."""
    writers = _writers(steps)
    return tuple(
        StreamProcess(step.name, tuple(writers[name] for name in step.inputs), loop_of(step)) for step in steps
    )


def _writers(steps: Sequence[HlsStep]) -> dict[str, str]:
    return {name: step.name for step in steps for name in step.outputs or (step.name,)}


def _depths(steps: Sequence[HlsStep], processes: Sequence[StreamProcess]) -> dict[str, int]:
    """Return the beats of the FIFO of each stream.

    Where a process reads several streams, each holds what its branch may have written while a beat of another branch is
    still missing.
    """
    lead, writers = Lead(processes, DEEPEST_PIPELINE), _writers(steps)
    beats = {process.name: len(process.loop.writes) for process in processes}
    depths: dict[str, int] = {}
    for step in steps:
        for name in step.inputs:
            ahead = writers[name]
            read = np.arange(beats[ahead])
            others = {writers[other] for other in step.inputs} - {ahead}
            waiting = max((int((lead.of(ahead, other) - read).max()) for other in others), default=0)
            depths[name] = min(beats[ahead], waiting + SHALLOW)
    return depths


def _longest(processes: Sequence[StreamProcess]) -> int:
    """Return the number of processes on the longest path from the input, which is none."""
    counts: dict[str, int] = {}
    for process in processes:
        counts[process.name] = 1 + max((counts[name] for name in process.inputs), default=-1)
    return counts[processes[-1].name]


def loop_of(step: HlsStep) -> LoopPasses:
    """Return the passes of a step, of which each reads and writes a beat where it states no others."""
    beats = np.arange(step.shape[0])
    return step.loop or LoopPasses(len(beats), beats, beats)


def _beat_bits(step: HlsStep) -> int:
    return step.formats["result"].bits * step.shape[-1]
