"""The Verilog of a roll-out: the memory of a channel, and the module that counts pixels, steps and memories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgephys.targets.rtl.bits import width
from edgephys.targets.rtl.design import TOP
from edgephys.targets.rtl.line_buffer import count_bits, count_literal, vector_range
from edgephys.targets.rtl.netlist import remark
from edgephys.targets.rtl.rollout_plan import MEMORY, ROLLOUT, STEP_BITS, Rollout

SINGLE = ("reset", "start")
"""Inputs of a single bit."""
PORTS = """\
// Ports, all sampled at the rising edge of clk:
// reset       needed once before the first use; it ends a run, whose frames are then of no use
// start       while busy is 0: begin a run of `steps` steps
// busy, done  busy is 1 during a run; done is 1 for the clock after its end, also of one of 0 steps
// write       while busy is 0: a bit for each channel of pixel `write_pixel` that `write_data` replaces
// read_pixel  while busy is 0: `read_data` is this pixel after the edge
// The data are all channels of a pixel as the network reads them, the first one in the lowest bits: {layout}.
"""


def memory(of: Rollout) -> str:
    """Return the module of the memory of one channel."""
    address = vector_range(of.address_bits)
    ports = ["clk", "write", f"{address}write_pixel", f"{vector_range(of.bits)}write_data", f"{address}read_pixel"]
    return "\n".join(
        [
            f"// One channel of {of.pixels} pixels: a port to write, a port to read at the clock edge (block RAM)",
            "`timescale 1ns / 1ps",
            "",
            f"module {MEMORY} (",
            *(f"  input wire {port}," for port in ports),
            f"  output reg {vector_range(of.bits)}read_data",
            ");",
            f"  reg {vector_range(of.bits)}memory [0:{of.pixels - 1}];",
            "  always @(posedge clk) begin",
            "    if (write) memory[write_pixel] <= write_data;",
            "    read_data <= memory[read_pixel];",
            "  end",
            "endmodule",
            "",
        ]
    )


def text(of: Rollout, name: str) -> str:
    """Return the roll-out's module for a network's ``name``."""
    state, channels = of.feedback.state, of.feedback.channels
    layout = f"{state} of the state, the newest frame last" + (f", {channels - state} that stay" * (channels > state))
    ports = ["input wire clk", *(f"input wire {_vector(port)}{port['node']}" for port in of.inputs)]
    ports += ["output reg busy", "output reg done", f"output wire {vector_range(channels * of.bits)}read_data"]
    title = f"// {remark(name)}: roll-out, {of.step_cycles} clocks a step and {of.last_step_cycles} for the last one"
    lines = [title, PORTS.format(layout=layout) + "`timescale 1ns / 1ps", "", f"module {ROLLOUT} ("]
    lines += [",\n".join(f"  {port}" for port in ports), ");"]
    statements = [*_declared(of), *_results(of), *_memories(of), *_network(of), "always @(posedge clk) begin"]
    return "\n".join([*lines, *(f"  {line}" for line in (*statements, *_clocked(of), "end")), "endmodule", ""])


def _declared(of: Rollout) -> list[str]:
    """Return the registers and wires of the control."""
    place, last = vector_range(of.address_bits), count_literal(of.pixels - 1, of.pixels)
    stored = "busy && valid_out" + " && pass_out == 0" * (of.passes > 1)
    lines = [
        f"reg {place}pixel_in;  // the pixel that is read",
        f"reg {place}pixel_out;  // the pixel that the network gives next",
        f"reg {vector_range(STEP_BITS)}left;  // steps that are not in memory yet",
        "reg valid_in, first, first_in;",
        "wire valid_out;",
    ]
    if of.passes > 1:
        lines.append(f"reg {vector_range(count_bits(of.passes))}pass_in, pass_out;  // frame of the step; 0 counts")
    if of.feedback.frames > 1:
        order = vector_range(count_bits(of.feedback.frames))
        lines.append(f"reg {order}oldest, oldest_q;  // memories of the oldest frame that is read, as of the address")
        lines.append(f"reg {order}replaced;  // memories of the frame that is written")
    return [
        *lines,
        f"wire stored = {stored};",
        f"wire frame_end = stored && pixel_out == {last};",
        f"wire run_end = frame_end && left == {STEP_BITS}'d1;",
        f"wire {place}address_in = busy ? pixel_in : read_pixel;",
        f"wire {place}address_out = busy ? pixel_out : write_pixel;",
    ]


def _results(of: Rollout) -> Iterator[str]:
    """Yield the channels of the next frame, in the bits of the input."""
    yield f"wire {vector_range(of.feedback.frame * of.out_bits)}out_bits;"
    for offset in range(of.feedback.frame):
        more, result = of.bits - of.out_bits, f"out_bits{_slice(offset, of.out_bits)}"
        if more:  # the sign, or zeros, in the bits above
            top = f"out_bits[{(offset + 1) * of.out_bits - 1}]" if of.out_signed else "1'b0"
            result = f"{{{{{more}{{{top}}}}}, {result}}}"
        yield f"wire {vector_range(of.bits)}next_{offset} = {result};"


def _memories(of: Rollout) -> Iterator[str]:
    """Yield the memory of each channel: those of the state are in the order in which frames are replaced."""
    frame, frames, state = of.feedback.frame, of.feedback.frames, of.feedback.state
    for number in range(of.feedback.channels):
        enable, data = f"!busy && write[{number}]", f"write_data{_slice(number, of.bits)}"
        if number < state:
            place, offset = divmod(number, frame)
            # the memories of frame f of the state hold, by the oldest one, these channels of the input
            held = [(place - oldest) % frames * frame + offset for oldest in range(frames)]
            replaced = f"stored && replaced == {count_literal(place, frames)}" if frames > 1 else "stored"
            enable = f"busy ? {replaced} : {_chosen('oldest', [f'write[{c}]' for c in held])}"
            loaded = _chosen("oldest", [f"write_data{_slice(c, of.bits)}" for c in held])
            data = f"busy ? next_{offset} : {loaded}"
        yield f"wire write_{number} = {enable};"
        yield f"wire {vector_range(of.bits)}data_{number} = {data};"
        yield f"wire {vector_range(of.bits)}memory_{number};"
        ports = {"clk": "clk", "write": f"write_{number}", "write_pixel": "address_out", "write_data": f"data_{number}"}
        ports |= {"read_pixel": "address_in", "read_data": f"memory_{number}"}
        yield _instance(MEMORY, f"u_memory_{number}", ports)


def _network(of: Rollout) -> Iterator[str]:
    """Yield the network, and its input: the channels in the order of the frames."""
    frame, frames, state = of.feedback.frame, of.feedback.frames, of.feedback.state
    for channel in range(state):
        number, offset = divmod(channel, frame)
        held_by = [f"memory_{(number + oldest) % frames * frame + offset}" for oldest in range(frames)]
        yield f"assign read_data{_slice(channel, of.bits)} = {_chosen('oldest_q', held_by)};"
    for channel in range(state, of.feedback.channels):
        yield f"assign read_data{_slice(channel, of.bits)} = memory_{channel};"
    ports = {"clk": "clk", "valid_in": "valid_in", "start": "first_in", "in_bits": "read_data"}
    yield _instance(TOP, "u_network", {**ports, "out_bits": "out_bits", "valid_out": "valid_out"})


def _clocked(of: Rollout) -> list[str]:
    """Return the statements of the clock edge."""
    frames, passes = of.feedback.frames, of.passes
    several = frames > 1
    begin = ["pixel_in <= 0;", "pixel_out <= 0;", "left <= steps;", "first <= 1;"]
    begin += ["pass_in <= 0;", "pass_out <= 0;"] if passes > 1 else []
    read_end, write_end = _turned("oldest", frames), ["left <= left - 1;", *_turned("replaced", frames)]
    if passes > 1:
        read_end = [_counted("pass_in", passes), *_if(f"pass_in == {count_literal(passes - 1, passes)}", read_end)]
        write_end = [_counted("pass_out", passes), *_if("pass_out == 0", write_end)]
    last = count_literal(of.pixels - 1, of.pixels)
    run = [
        "first <= 0;",
        _counted("pixel_in", of.pixels),
        *_if(f"pixel_in == {last}", read_end),
        *_if("valid_out", [_counted("pixel_out", of.pixels), *_if(f"pixel_out == {last}", write_end)]),
        *_if("run_end", ["busy <= 0;", *([_next("oldest", "replaced", frames)] if several else [])]),
    ]
    cleared = ["busy <= 0;", *(["oldest <= 0;", "replaced <= 0;"] if several else [])]
    return [
        "  done <= !reset && (run_end || (start && !busy && steps == 0));",
        "  valid_in <= !reset && busy && !run_end;",
        "  first_in <= first;",
        *(["  oldest_q <= oldest;"] if several else []),
        *_indented(_if("reset", cleared)),
        *_indented(_else(["busy <= start && steps != 0;", *begin], "!busy")),
        *_indented(_else(run)),
    ]


# Pieces of text ---------------------------------------------------------------------------------


def _vector(port: Mapping[str, Any]) -> str:
    return vector_range(width([port])) if port["node"] not in SINGLE else ""


def _slice(number: int, bits: int) -> str:
    return f"[{(number + 1) * bits - 1}:{number * bits}]"


def _chosen(by: str, signals: Sequence[str]) -> str:
    """Return the signal that a counter numbers."""
    choices = [f"{by} == {count_literal(place, len(signals))} ? {signal} : " for place, signal in enumerate(signals)]
    return "".join([*choices[:-1], signals[-1]])


def _counted(name: str, length: int) -> str:
    return _next(name, name, length)


def _next(name: str, source: str, length: int) -> str:
    return f"{name} <= {source} == {count_literal(length - 1, length)} ? {count_literal(0, length)} : {source} + 1;"


def _turned(name: str, frames: int) -> list[str]:
    return [_counted(name, frames)] if frames > 1 else []


def _if(condition: str, statements: Sequence[str]) -> list[str]:
    return [f"if ({condition}) begin", *_indented(statements), "end"] if statements else []


def _else(statements: Sequence[str], condition: str = "") -> list[str]:
    return [f"else if ({condition}) begin" if condition else "else begin", *_indented(statements), "end"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _instance(module: str, name: str, ports: Mapping[str, str]) -> str:
    return f"{module} {name} ({', '.join(f'.{port}({signal})' for port, signal in ports.items())});"
