"""The RTL of a network on fields as a stream: its texts, and its facts in the manifest."""

from __future__ import annotations

from typing import Any

from edgephys.graph.graph import Graph
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import block_text, netlist
from edgephys.targets.rtl.design import PROBE, TOP, Design, block, luts, port
from edgephys.targets.rtl.line_buffer import Delay, Marker
from edgephys.targets.rtl.stream import BufferedWindow, Stream
from edgephys.targets.rtl.stream_wiring import ADVANCE, MARKER, Wired, bench, exposed, probe, top

BENCH = "edgephys_bench"
LANGUAGE = "verilog"


def design(graph: Graph, stream: Stream) -> Design:
    """Return the texts of a planned stream and its facts.

    Units: ``lag`` and ``latency`` in clocks from the first pixel of a frame to its first output, without and with the
    stages of the logic; ``memory_bits`` in bits of line buffers and delays.
    """
    marker = Marker(MARKER, stream.last)
    whole = top(TOP, graph, stream, marker)
    probed = probe(PROBE + "_core", graph, stream, exposed(graph, stream))
    waits = {delay.name: delay for delay in whole.delays}
    sources = _logic(stream) | {window.buffer.name: window.buffer.text() for window in stream.windows}
    sources |= {name: delay.text() for name, delay in waits.items()}
    sources |= {MARKER: marker.text(), TOP: netlist.text(whole.module, LANGUAGE)}
    own = [delay.text() for delay in probed.delays if delay.name not in waits]
    core, around = (netlist.text(of, LANGUAGE) for of in (probed.module, bench(PROBE, probed.module)))
    simulated = {BENCH: netlist.text(bench(BENCH, whole.module), LANGUAGE), PROBE: "\n".join([*own, core, around])}
    return Design(sources, simulated, _facts(graph, stream, whole, probed))


def _logic(stream: Stream) -> dict[str, str]:
    return {
        block_logic.module: block_text.text(block_logic, segment.schedule, LANGUAGE, ADVANCE)
        for segment in stream.segments
        for block_logic in segment.logics
        if block_logic.program
    }


def _facts(graph: Graph, stream: Stream, whole: Wired, probed: Wired) -> dict[str, Any]:
    windows, waits = [_window(window) for window in stream.windows], [_wait(delay) for delay in whole.delays]
    return {
        "io": STREAM,
        "bench": BENCH,
        "bench_source": f"sim/{BENCH}.v",
        "field": list(stream.field),
        "lag": stream.lag,
        "latency": stream.last,
        "stages": stream.last - stream.lag,
        "delay_estimate_ns": sum(segment.schedule.delay_ns for segment in stream.segments),
        "lut_estimate": luts(stream.logics),
        "memory_bits": sum(each["memory_bits"] for each in (*windows, *waits)),
        "input": port(graph, [graph.input.name]),
        "output": port(graph, [graph.output.name]),
        "probed": port(graph, list(probed.stages), {name: {"stage": of} for name, of in probed.stages.items()}),
        "blocks": [
            block(block_logic, segment.slot(block_logic))
            for segment in stream.segments
            for block_logic in segment.logics
        ],
        "windows": windows,
        "delays": waits,
    }


def _window(window: BufferedWindow) -> dict[str, Any]:
    buffer = window.buffer
    return {
        "layer": window.node.layer,
        "module": buffer.name,
        "size": list(buffer.size),
        "pixel_bits": buffer.width,
        "first_stage": window.stage,
        "last_stage": window.stage + buffer.lag,
        "memory_bits": buffer.memory_bits,
    }


def _wait(delay: Delay) -> dict[str, Any]:
    return {"module": delay.name, "pixel_bits": delay.width, "beats": delay.beats, "memory_bits": delay.memory_bits}
