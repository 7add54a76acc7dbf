"""The Verilog of a multiplexed network: its control, and what stands between edges that are held and rows in turn.

All registers move in beats: at clock edges with ``advance``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgephys.targets.rtl.line_buffer import count_bits, count_literal, vector_range
from edgephys.targets.rtl.multiplex import Rows
from edgephys.targets.rtl.netlist import IN_LOGIC, Element, remark

CONTROL, KEEP = "edgephys_control", "edgephys_keep"
CONTROL_TEXT = """\
// {control}: takes an input every {ii} beats or later. The phase counts the beats since one was taken, up to {ii}.
// After a reset nothing is taken, and no output is valid, until the pipeline holds nothing from before.
`timescale 1ns / 1ps

module {control} (
  input wire clk, input wire reset,
  input wire valid_in, output wire ready_in, output wire taken,
  output wire advance, output reg {phase}phase, input wire {phase}last_phase,
  output reg valid_out, input wire ready_out
);
  reg {wait}left;
  wire empty = left == {none};
  assign advance = reset || !valid_out || ready_out;
  assign ready_in = !reset && empty && advance{due};
  assign taken = valid_in && ready_in;
  always @(posedge clk) begin
    if (reset) begin
      phase <= {idle};
      left <= {stages};
      valid_out <= 1'b0;
    end else if (advance) begin
      phase <= taken ? {zero} : phase == {idle} ? {idle} : phase + {one};
      if (!empty) left <= left - {step};
      valid_out <= empty && last_phase == {zero};
    end
  end
endmodule
"""


BENCH_TEXT = """\
// {top}, as it is simulated: after a clock edge it tells what was taken and handed over at this edge
`timescale 1ns / 1ps

module {name} (input wire clk, input wire {wide_in}in_bits, output wire {wide_out}out_bits);
  wire valid_in = in_bits[{width}];
  wire ready_out = in_bits[{width} + 1];
  wire reset = in_bits[{width} + 2];
  wire ready_in, valid_out;
  wire {wide_result}result;
  reg {wide_result}handed;
  reg taken, given;
{dut}
  always @(posedge clk) begin
    taken <= valid_in && ready_in;
    given <= valid_out && ready_out && !reset;
    handed <= result;
  end
  assign out_bits = {{given, taken, handed}};
endmodule
"""


DUT_TEXT = """\
  {top} dut (
    .clk(clk), .reset(reset), .valid_in(valid_in), .ready_in(ready_in), .in_bits(in_bits[{width} - 1:0]),
    .valid_out(valid_out), .ready_out(ready_out), .out_bits(result)
  );"""


AXIS_TEXT = """\
// {name}: {top} with AXI-Stream ports; an input is one transfer, and so is an output
`timescale 1ns / 1ps

module {name} (
  input wire aclk,
  input wire aresetn,
  // verilator lint_off UNUSEDSIGNAL
  input wire {wide_in}s_axis_tdata,
  // verilator lint_on UNUSEDSIGNAL
  input wire s_axis_tvalid,
  output wire s_axis_tready,
  output wire {wide_out}m_axis_tdata,
  output wire m_axis_tvalid,
  output wire m_axis_tlast,
  input wire m_axis_tready
);
  wire {wide_result}result;
  {top} network (
    .clk(aclk), .reset(!aresetn), .valid_in(s_axis_tvalid), .ready_in(s_axis_tready),
    .in_bits(s_axis_tdata[{last}:0]), .valid_out(m_axis_tvalid), .ready_out(m_axis_tready), .out_bits(result)
  );
  assign m_axis_tdata = {data};
  assign m_axis_tlast = 1'b1;
endmodule
"""


AXIS_DUT_TEXT = """\
  wire {wide_bytes}data;
  wire last;
  {top} dut (
    .aclk(clk), .aresetn(!reset), .s_axis_tdata({inputs}), .s_axis_tvalid(valid_in),
    .s_axis_tready(ready_in), .m_axis_tdata(data), .m_axis_tvalid(valid_out), .m_axis_tlast(last),
    .m_axis_tready(ready_out)
  );
  assign result = data[{top_bit}:0];"""


def bytes_of(bits: int) -> int:
    """Return the bytes that hold some bits."""
    return -(-bits // 8)


def _padded(bits: int, name: str) -> str:
    """Return a vector in whole bytes, with zeros above it."""
    more = 8 * bytes_of(bits) - bits
    return f"{{{more}'d0, {name}}}" if more else name


def axis(name: str, top: str, width: int, result: int) -> str:
    """Return the module with AXI-Stream ports around a top of an input and an output of these bits."""
    wide = {"wide_in": 8 * bytes_of(width), "wide_out": 8 * bytes_of(result), "wide_result": result}
    ranges = {of: vector_range(bits) for of, bits in wide.items()}
    return AXIS_TEXT.format(name=name, top=top, last=width - 1, data=_padded(result, "result"), **ranges)


def phase_bits(ii: int) -> int:
    """Return the bits of a phase: 0 to ``ii`` - 1, and ``ii`` where no input is due."""
    return count_bits(ii + 1)


def phase_literal(phase: int, ii: int) -> str:
    """Return a phase as it is written."""
    return count_literal(phase, ii + 1)


def control(name: str, ii: int, stages: int) -> str:
    """Return the module that takes inputs, counts phases and marks outputs, for a pipeline of as many stages."""
    phases = {"idle": ii, "zero": 0, "one": 1}
    due = f" && phase >= {phase_literal(ii - 1, ii)}" if ii > 1 else ""
    counts = {"none": 0, "stages": stages, "step": 1}
    return CONTROL_TEXT.format(
        control=name,
        ii=ii,
        due=due,
        phase=vector_range(phase_bits(ii)),
        wait=vector_range(count_bits(stages + 1)),
        **{name: phase_literal(value, ii) for name, value in phases.items()},
        **{name: count_literal(value, stages + 1) for name, value in counts.items()},
    )


def bench(name: str, top: str, width: int, result: int, axi_stream: bool = False) -> str:
    """Return the module around a top of an input and an output of these bits, or around one with AXI-Stream ports.

    ``in_bits`` are the input, valid_in, ready_out and reset; ``out_bits`` the output as it was before the edge, and
    whether at this edge an input was taken and an output handed over.
    """
    wide = {"wide_in": width + 3, "wide_out": result + 2, "wide_result": result}
    ranges = {name: vector_range(bits) for name, bits in wide.items()}
    dut = DUT_TEXT.format(top=top, width=width)
    if axi_stream:
        dut = AXIS_DUT_TEXT.format(
            top=top,
            inputs=_padded(width, f"in_bits[{width - 1}:0]"),
            wide_bytes=vector_range(8 * bytes_of(result)),
            top_bit=result - 1,
        )
    return BENCH_TEXT.format(name=name, top=top, width=width, dut=dut, **ranges)


def keep_name(width: int) -> str:
    """Return the name of the module that keeps a vector of this width."""
    return f"{KEEP}_{width}"


def keep(width: int) -> str:
    """Return the module of a register with an enable of its own."""
    ports = ["input wire clk", "input wire enable", f"input wire {vector_range(width)}d"]
    body = ["always @(posedge clk) if (enable) q <= d;"]
    return _module(keep_name(width), f"{width} bits that are kept", ports, f"output reg {vector_range(width)}q", body)


@dataclass(frozen=True)
class Selection:
    """State a choice among ``inputs`` vectors of ``width`` bits: input ``codes[turn]`` at each turn of the rows.

    The choice is registered.
    """

    name: str
    width: int
    inputs: int
    codes: tuple[int, ...]
    rows: Rows
    ii: int

    def text(self) -> str:
        """Return the module."""
        code, wide = vector_range(count_bits(self.inputs)), vector_range(self.width)
        due = {phase: code for turn, code in enumerate(self.codes) for phase in turn_phases(self.rows, turn, self.ii)}
        body = [f"reg {code}number;", f"reg {wide}chosen;", "always @(*)", "  case (phase)"]
        for number in dict.fromkeys(self.codes[1:]):
            if number != self.codes[0]:
                at = ", ".join(phase_literal(phase, self.ii) for phase, wanted in due.items() if wanted == number)
                body.append(f"    {at}: number = {count_literal(number, self.inputs)};")
        body += [f"    default: number = {count_literal(self.codes[0], self.inputs)};", "  endcase"]
        body += ["always @(*)", "  case (number)"]
        for number in range(1, self.inputs):
            place = f"[{(number + 1) * self.width - 1}:{number * self.width}]"
            body.append(f"    {count_literal(number, self.inputs)}: chosen = d{place};")
        body += [f"    default: chosen = d[{self.width - 1}:0];", "  endcase"]
        body.append("always @(posedge clk) if (advance) q <= chosen;")
        title = f"one of {self.inputs} vectors of {self.width} bits, by the phase"
        return _module(self.name, title, _ports(self.ii, self.inputs * self.width), f"output reg {wide}q", body)


@dataclass(frozen=True)
class ConstantTable:
    """State numbers of ``width`` bits that are read in turn: ``words[turn]`` at each turn of the rows, registered."""

    name: str
    width: int
    words: tuple[int, ...]
    rows: Rows
    ii: int

    def text(self) -> str:
        """Return the module."""
        wide = vector_range(self.width)
        body = [f"reg {wide}word;", "always @(*)", f"  {IN_LOGIC}", "  case (phase)"]
        for turn, word in enumerate(self.words[1:], 1):
            at = ", ".join(phase_literal(phase, self.ii) for phase in turn_phases(self.rows, turn, self.ii))
            body.append(f"    {at}: word = {self._literal(word)};")
        body += [f"    default: word = {self._literal(self.words[0])};", "  endcase"]
        body.append("always @(posedge clk) if (advance) q <= word;")
        title = f"{len(self.words)} words of {self.width} bits, by the phase"
        return _module(self.name, title, _ports(self.ii, 0), f"output reg {wide}q", body)

    def _literal(self, word: int) -> str:
        return f"{self.width}'b{word:0{self.width}b}"


def turn_phases(rows: Rows, turn: int, ii: int) -> range:
    """Return the phases from a turn up to the next one."""
    start = turn * rows.spacing
    return range(start, min(start + rows.spacing, ii))


@dataclass(frozen=True)
class Collection:
    """State the rows, ``width`` bits a turn, that are gathered and then held until those of the next input are."""

    name: str
    width: int
    rows: Rows
    ii: int

    def text(self) -> str:
        """Return the module; the rows of the first turn are in the lowest bits."""
        turns, wide = self.rows.turns, self.width
        before, whole = vector_range((turns - 1) * wide), vector_range(turns * wide)
        joined = "d" if turns == 1 else "{d, earlier}"
        shifted = "d" if turns == 2 else f"{{d, earlier[{(turns - 1) * wide - 1}:{wide}]}}"
        body = [f"reg {before}earlier;"] if turns > 1 else []
        body += [f"wire due = {_due(self.rows, self.ii)};", "always @(posedge clk) if (advance && due) begin"]
        body += [f"  earlier <= {shifted};"] if turns > 1 else []
        body += [f"  if (phase == {phase_literal(self.rows.last, self.ii)}) q <= {joined};", "end"]
        title = f"{turns} turns of {wide} bits, gathered"
        return _module(self.name, title, _ports(self.ii, wide), f"output reg {whole}q", body)


@dataclass(frozen=True)
class Accumulator:
    """State the sums over ``turns`` turns of rows; each element of ``inputs`` becomes one of ``outputs``.

    With ``held`` the sums of an input are held until those of the next one are complete; else a sum is there for the
    beats until the next turn.
    """

    name: str
    rows: Rows
    turns: int
    held: bool
    inputs: tuple[Element, ...]
    outputs: tuple[Element, ...]
    ii: int

    def text(self) -> str:
        """Return the module."""
        wide_in, wide_out = (sum(element.width for element in of) for of in (self.inputs, self.outputs))
        starts = self.rows.phases[:: self.turns]
        first = " || ".join(f"phase == {phase_literal(phase, self.ii)}" for phase in starts)
        body = [f"wire due = {_due(self.rows, self.ii)};", f"wire first = {first};"]
        body += [f"reg {vector_range(wide_out)}total;", f"wire {vector_range(wide_out)}next;"]
        for element, total in zip(self.inputs, self.outputs, strict=True):
            if not element.width:
                continue
            place = f"[{total.offset + total.width - 1}:{total.offset}]"
            more, low = total.width - element.width, f"d[{element.offset + element.width - 1}:{element.offset}]"
            top = f"d[{element.offset + element.width - 1}]" if element.signed else "1'b0"
            added = f"{{{{{more}{{{top}}}}}, {low}}}" if more else low
            body.append(f"assign next{place} = (first ? {total.width}'d0 : total{place}) + {added};")
        body.append("always @(posedge clk) if (advance && due) total <= next;")
        if self.held:
            last = phase_literal(self.rows.last, self.ii)
            body += [f"reg {vector_range(wide_out)}sums;", "assign q = sums;"]
            body.append(f"always @(posedge clk) if (advance && phase == {last}) sums <= next;")
        else:
            body.append("assign q = total;")
        title = f"{len(self.inputs)} sums over {self.turns} turns"
        return _module(self.name, title, _ports(self.ii, wide_in), f"output wire {vector_range(wide_out)}q", body)


def _due(rows: Rows, ii: int) -> str:
    """Return the condition that rows are present at this phase."""
    if rows.spacing == 1:
        return f"phase <= {phase_literal(rows.last, ii)}"
    return " || ".join(f"phase == {phase_literal(phase, ii)}" for phase in rows.phases)


def _ports(ii: int, width: int) -> list[str]:
    phase = vector_range(phase_bits(ii))
    return [
        "input wire clk",
        "input wire advance",
        f"input wire {phase}phase",
        *([f"input wire {vector_range(width)}d"] if width else []),
    ]


def _module(name: str, title: str, ports: Sequence[str], output: str, body: Sequence[str]) -> str:
    joined = ",\n".join(f"  {port}" for port in (*ports, output))
    lines = [f"// {name}: {remark(title)}", "`timescale 1ns / 1ps", "", f"module {name} (", joined, ");"]
    return "\n".join([*lines, *(f"  {line}" for line in body), "endmodule", ""])
