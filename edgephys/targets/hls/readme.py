"""The README of an HLS project: the top function, its types and order, and how to simulate and synthesise it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.graph.graph import Graph, Node
from edgephys.targets.fpga import STREAM

BATCH = {
    "Vitis": "`vitis-run --mode hls --tcl build_prj.tcl` (before 2024.2: `vitis_hls -f build_prj.tcl`)",
    "Vivado": "`vivado_hls -f build_prj.tcl`",
    "Catapult": "`catapult -shell -file build_prj.tcl`",
}
"""Commands that synthesise a project in batch, by hls4ml's backend."""


def text(graph: Graph, facts: Mapping[str, Any]) -> str:
    """Return the README of an emitted project."""
    top, backend = facts["top"], facts["backend"]
    rows = [
        f"| `{facts[end]['name']}` | {direction} | {_elements(node, facts)} | `{node.fixed}` |"
        for end, direction, node in (("input", "in", graph.input), ("output", "out", graph.output))
    ]
    return "\n".join(
        [
            f"# {graph.name}: HLS",
            "",
            f"A project of hls4ml {facts['hls4ml']} for {backend}, emitted by edgephys for {facts['part']} at "
            f"{facts['clock_ns']:g} ns. Every type is stated; the integers are those of the trained network: `edgephys "
            "verify` compiles the sources with g++ and compares them.",
            "",
            f"`{top}` in firmware/{top}.h is the top function.",
            "",
            "| argument | | elements | format |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "Elements are in row-major order. `fixed<16,6>` has 16 bits, 6 of them before the point, and is "
            "`ap_fixed<16,6>`; `ufixed` is `ap_ufixed`. " + _flow(facts),
            "",
            "## Simulation",
            "",
            f"The vendor's C simulation runs {top}_test.cpp with the vectors in tb_data. `edgephys verify` needs no "
            "vendor's tool.",
            "",
            "## Synthesis",
            "",
            f"{BATCH[backend]} runs C simulation, synthesis and export as build_opt.tcl says; put the reports into the "
            "project folder, and `edgephys report` reads them. No vendor's tool has run it here.",
            "",
        ]
    )


def _elements(node: Node, facts: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, node.shape))
    return f"{shape}, a pixel at a time" if facts["io_type"] == f"io_{STREAM}" else shape


def _flow(facts: Mapping[str, Any]) -> str:
    if facts["io_type"] == f"io_{STREAM}":
        return "A field is a stream: one pixel with all its channels at a time, in raster order."
    return "An input is taken at every clock; the estimate of the latency is the vendor's."
