"""What whoever builds a design around emitted RTL needs: a README, scripts for synthesis, and a test bench.

The test bench is plain Verilog with vectors beside it; ``make`` in the project's firmware folder runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, Node
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl.bits import packed
from edgephys.targets.rtl.options import SUFFIX, RtlOptions
from edgephys.targets.rtl.stream import AXES

TESTBENCH = "edgephys_tb"
PARALLEL_PORTS = ("clk", "in_bits", "out_bits")
STREAM_PORTS = ("clk", "valid_in", "start", "in_bits", "out_bits", "valid_out")
HANDSHAKE_PORTS = ("clk", "reset", "valid_in", "ready_in", "in_bits", "valid_out", "ready_out", "out_bits")
OUTPUTS = frozenset(("out_bits", "valid_out", "ready_in"))
MEANING = {
    "clk": "clock",
    "reset": "synchronous, needed once before the first input",
    "valid_in": "1 where this clock edge brings an input",
    "ready_in": "1 where an input is taken at this clock edge, if valid_in is 1",
    "start": "with valid_in: the pixel is the first of a frame; the first frame needs it",
    "valid_out": "1 where out_bits is an output",
    "ready_out": "1 where an output is taken at this clock edge; 0 makes the whole pipeline wait",
}
FLOW = {
    "parallel": "An input at every clock edge; its output is there {latency} clocks later. There is no reset.",
    "stream": "A pixel of {height} x {width} a clock, in raster order. An output pixel only comes at a clock with an "
    "input pixel, so that the last ones of a frame come with the first ones of the next.",
    "handshake": "An input every {ii} clocks or later; its output is there {latency} clocks after the edge that took "
    "it.",
}


def ports(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the ports of a project's top module."""
    if "ii" in facts:
        return HANDSHAKE_PORTS
    return STREAM_PORTS if facts["io"] == STREAM else PARALLEL_PORTS


def write(graph: Graph, folder: Path, facts: Mapping[str, Any], options: RtlOptions) -> None:
    """Write the README and the scripts of a project beside its sources."""
    suffix = SUFFIX[options.language]
    (folder / "README.md").write_text(_readme(graph, facts, options))
    axis = facts.get("axi_stream")
    clock, top = ("aclk", axis["top"]) if axis else ("clk", facts["top"])
    (folder / "constraints.xdc").write_text(
        f"create_clock -name clk -period {options.clock_ns:g} [get_ports {clock}]\n"
    )
    read = "read_verilog" if options.language == "verilog" else "read_vhdl -vhdl2008"
    (folder / "vivado.tcl").write_text(
        f"# vivado -mode batch -source vivado.tcl\n"
        f"{read} [glob src/*{suffix} src/static/*{suffix}]\n"
        "read_xdc -mode out_of_context constraints.xdc\n"
        f"synth_design -top {top} -part {options.part} -mode out_of_context\n"
        "report_utilization -file utilization.rpt\n"
        "report_timing_summary -file timing.rpt\n"
    )


def _readme(graph: Graph, facts: Mapping[str, Any], options: RtlOptions) -> str:
    names, nodes = ports(facts), {"in_bits": _unit(graph.input, facts), "out_bits": _unit(graph.output, facts)}
    rows = [
        f"| `{name}` | {'out' if name in OUTPUTS else 'in'} | {_bits(nodes[name]) if name in nodes else 1} "
        f"| {_elements(nodes[name]) if name in nodes else MEANING[name]} |"
        for name in names
    ]
    verilog = ", ".join(f".{name}({name})" for name in names)
    lines = [
        f"# {graph.name}: RTL",
        "",
        f"Emitted by edgephys for {options.part} at {options.clock_ns:g} ns. The integers are those of the trained "
        "network: `edgephys verify` compares them, and counts the latency.",
        "",
        _flow(facts),
        "",
        "| port | | bits | |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "Elements lie side by side in row-major order, the first one in the lowest bits. A value is its integer, in "
        "two's complement where it is signed, times the step.",
        "",
        "```verilog",
        f"{facts['top']} network ({verilog});",
        "```",
        "",
        "```vhdl",
        f"network : entity work.{facts['top']} port map ({', '.join(f'{name} => {name}' for name in names)});",
        "```",
        "",
        *(_axi_stream(facts["axi_stream"]) if "axi_stream" in facts else ()),
        "## Synthesis",
        "",
        "- Vivado: `vivado -mode batch -source vivado.tcl` writes utilization.rpt and timing.rpt; put them into the "
        "project folder, and `edgephys report` reads them. No vendor's tool has run it here.",
        "- Yosys: `edgephys report PROJECT` runs it, module by module; `--place` places and routes for an ECP5.",
        "- Any other tool: all files in src and src/static, top module "
        f"`{facts['top']}`, {'Verilog-2005' if options.language == 'verilog' else 'VHDL-2008'}.",
        "",
    ]
    if options.language == "verilog":
        lines += [
            "## Simulation",
            "",
            f"`make` compiles sim/{TESTBENCH}.v with Icarus Verilog and runs it, `make verilator` with Verilator: it "
            "gives the top module the inputs in sim/inputs.hex and compares every output with sim/expected.hex.",
            "",
        ]
    return "\n".join(lines)


def _axi_stream(axis: Mapping[str, Any]) -> list[str]:
    return [
        "## AXI-Stream",
        "",
        f"`{axis['top']}` has these ports around it: `aclk`, `aresetn` (synchronous, 0 resets), `s_axis_tdata` of "
        f"{axis['input_bytes']} bytes, `s_axis_tvalid`, `s_axis_tready`, `m_axis_tdata` of {axis['output_bytes']} "
        "bytes, `m_axis_tvalid`, `m_axis_tlast`, `m_axis_tready`. An input is one transfer, and so is an output, whose "
        "`tlast` is 1. Data lie in the lowest bits; those above are not read, and 0 in an output. The simulations of "
        "`edgephys verify` go through these ports, with waits on both sides.",
        "",
    ]


def _flow(facts: Mapping[str, Any]) -> str:
    if "ii" in facts:
        return FLOW["handshake"].format(ii=facts["ii"], latency=facts["latency"])
    if facts["io"] == STREAM:
        height, width = facts["field"]
        return FLOW["stream"].format(height=height, width=width)
    return FLOW["parallel"].format(latency=facts["stages"])


def _unit(node: Node, facts: Mapping[str, Any]) -> Node:
    """Return what a port carries of an edge at a clock: all of it, or a pixel."""
    from edgephys.graph.partition import as_input, one_row

    return one_row(as_input(node), AXES) if facts["io"] == STREAM else node


def _bits(node: Node) -> int:
    return node.fixed.bits * prod(node.shape)


def _elements(node: Node) -> str:
    fixed = node.fixed
    sign = "signed" if fixed.signed else "unsigned"
    shape = " x ".join(map(str, node.shape))
    return f"{shape} of {fixed.bits} bits, {sign}, in steps of 2^{-fixed.fraction}"


# The test bench -----------------------------------------------------------------------------------


def write_testbench(graph: Graph, folder: Path, facts: Mapping[str, Any], x: Integers) -> None:
    """Write a test bench with vectors and the golden outputs, and the make file that runs it.

    Shape: x (vector, *input shape), integers in steps.
    """
    (folder / "sim" / "inputs.hex").write_text(_hexadecimal(_unit(graph.input, facts), x))
    (folder / "sim" / "expected.hex").write_text(_hexadecimal(_unit(graph.output, facts), evaluate.run(graph, x)))
    (folder / "sim" / f"{TESTBENCH}.v").write_text(_testbench(graph, facts, len(x)))
    (folder / "Makefile").write_text(MAKE.format(bench=TESTBENCH))


MAKE = """\
SOURCES := $(wildcard src/*.v src/static/*.v)
VERILATOR ?= verilator

icarus: sim/{bench}.v $(SOURCES)
\tiverilog -g2005 -s {bench} -o sim/{bench}.vvp $^
\tvvp -n sim/{bench}.vvp

verilator: sim/{bench}.v $(SOURCES)
\t$(VERILATOR) --binary --timing -Wno-fatal -CFLAGS -std=gnu++20 --top-module {bench} --Mdir sim/verilated $^
\tsim/verilated/V{bench}

.PHONY: icarus verilator
"""


def _hexadecimal(node: Node, x: Integers) -> str:
    """Return a line for each word of a port, in hexadecimal."""
    words = packed(np.asarray(x).reshape(-1, prod(node.shape)), node.fixed.bits)
    digits = -(-_bits(node) // 4)
    return "".join(f"{int.from_bytes(word.astype('<u4').tobytes(), 'little'):0{digits}x}\n" for word in words)


BENCH = """\
// Gives {top} the inputs in sim/inputs.hex and compares its outputs with sim/expected.hex.
`timescale 1ns / 1ps

module {bench};
  localparam INPUTS = {inputs}, OUTPUTS = {outputs};
  reg clk = 0;
  always #1 clk = !clk;
  reg [{in_top}:0] inputs [0:INPUTS - 1];
  reg [{out_top}:0] expected [0:OUTPUTS - 1];
  integer sent = 0, received = 0, wrong = 0;
  wire [{out_top}:0] out_bits;
  wire [{in_top}:0] in_bits = inputs[sent < INPUTS ? sent : INPUTS - 1];
{declared}
  {top} dut ({ports});
  initial begin
    $readmemh("sim/inputs.hex", inputs);
    $readmemh("sim/expected.hex", expected);
  end
  always @(posedge clk) begin
{clocked}
    if (received == OUTPUTS) begin
      $display("%0d of %0d outputs differ", wrong, OUTPUTS);
      $finish;
    end
  end
endmodule
"""
COMPARED = "if (out_bits !== expected[received]) wrong <= wrong + 1;\n      received <= received + 1;"
PARALLEL_CLOCKED = """\
    sent <= sent + 1;
    if (sent > {latency} && received < OUTPUTS) begin
      {compared}
    end"""
STREAM_CLOCKED = """\
    sent <= sent + 1;
    if (valid_out && received < OUTPUTS) begin
      {compared}
    end"""
HANDSHAKE_DECLARED = """\
  reg [1:0] begun = 0;
  wire reset = !begun[1];
  wire valid_in = sent < INPUTS, ready_out = 1;
  wire ready_in, valid_out;"""
HANDSHAKE_CLOCKED = """\
    if (!begun[1]) begun <= begun + 1;
    if (valid_in && ready_in) sent <= sent + 1;
    if (valid_out && ready_out && !reset && received < OUTPUTS) begin
      {compared}
    end"""


def _testbench(graph: Graph, facts: Mapping[str, Any], count: int) -> str:
    source, result = _unit(graph.input, facts), _unit(graph.output, facts)
    declared, clocked, each = "", PARALLEL_CLOCKED, 1
    if "ii" in facts:
        declared, clocked = HANDSHAKE_DECLARED, HANDSHAKE_CLOCKED
    elif facts["io"] == STREAM:
        declared, clocked = "  wire valid_in = 1, start = sent == 0;\n  wire valid_out;", STREAM_CLOCKED
        each = prod(facts["field"])
    return BENCH.format(
        bench=TESTBENCH,
        top=facts["top"],
        inputs=count * each,
        outputs=count * each,
        in_top=_bits(source) - 1,
        out_top=_bits(result) - 1,
        declared=declared,
        ports=", ".join(f".{name}({name})" for name in ports(facts)),
        clocked=clocked.format(compared=COMPARED, latency=facts["stages"]),
    )
