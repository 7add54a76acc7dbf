"""Modules as records, and their text in Verilog and VHDL: only wires, slices, registers and instances.

All computation is in alkaid's text; these modules connect it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgephys.core.errors import UsageError
from edgephys.targets.rtl.options import SUFFIX

IN_LOGIC = '(* rom_style = "logic" *)'
"""Attribute of a table for Yosys, which else merges larger ones with the registers behind them into block RAMs."""


@dataclass(frozen=True)
class Element:
    """State where an integer lies in a vector of bits: value = bits at ``offset`` * 2**shift, in steps.

    An element of width 0 is the ``constant``.
    """

    offset: int
    width: int
    signed: bool
    shift: int
    constant: int = 0

    def shifted(self, by: int) -> Element:
        """Return the same bits with a value 2**by times as great."""
        if self.width == 0:
            return replace(self, constant=self.constant << by)
        return replace(self, shift=self.shift + by)


@dataclass(frozen=True)
class Piece:
    """State ``width`` bits: bits of ``signal`` from ``low`` on, its bit ``low`` repeated, or a constant."""

    width: int
    signal: str = ""
    low: int = 0
    repeated: bool = False
    constant: int = 0


@dataclass
class Module:
    """Collect the ports and statements of a module, in the order in which they are written.

    An input of width 0 is a single bit. ``enable`` names the clock enable of the registers (Verilog only).
    """

    name: str
    clocked: bool
    inputs: dict[str, int]
    outputs: dict[str, int]
    comment: str = ""
    wires: dict[str, int] = field(default_factory=dict)
    assigns: list[tuple[str, int, Piece]] = field(default_factory=list)
    registers: list[tuple[str, str]] = field(default_factory=list)
    instances: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    enable: str = ""

    def connect(self, target: str, wanted: Element, signal: str, source: Element) -> None:
        """Drive the bits of element ``wanted`` of ``target`` with the value of element ``source`` of ``signal``."""
        offset = wanted.offset
        for piece in pieces(wanted, signal, source):
            last = self.assigns[-1] if self.assigns else None
            if last and last[0] == target and last[1] + last[2].width == offset and _continues(last[2], piece):
                joined = Piece(last[2].width + piece.width, piece.signal, last[2].low)
                self.assigns[-1] = (target, last[1], joined)
            else:
                self.assigns.append((target, offset, piece))
            offset += piece.width

    def register(self, target: str, source: str) -> None:
        """Register ``source`` in a new vector ``target``."""
        self.wires[target] = self.width(source)
        self.registers.append((target, source))

    def width(self, signal: str) -> int:
        """Return the width of a port or wire."""
        return next(widths[signal] for widths in (self.wires, self.inputs, self.outputs) if signal in widths)


def pieces(wanted: Element, signal: str, source: Element) -> list[Piece]:
    """Return, lowest first, the bits of ``source`` that make its value in the place of element ``wanted``."""
    if wanted.width == 0:
        return []
    if source.width == 0:
        return [Piece(wanted.width, constant=(source.constant >> wanted.shift) & ((1 << wanted.width) - 1))]
    low = wanted.shift - source.shift  # of the source's bits, in place of the lowest wanted one
    below = min(max(-low, 0), wanted.width)
    copied = max(0, min(low + wanted.width, source.width) - (low + below))
    above = wanted.width - below - copied
    parts = [Piece(below)] if below else []
    if copied:
        parts.append(Piece(copied, signal, low + below + source.offset))
    if above and source.signed:
        parts.append(Piece(above, signal, source.offset + source.width - 1, repeated=True))
    elif above:
        parts.append(Piece(above))
    return parts


def _continues(last: Piece, piece: Piece) -> bool:
    slices = bool(last.signal and piece.signal) and not (last.repeated or piece.repeated)
    return slices and last.signal == piece.signal and last.low + last.width == piece.low


def text(module: Module, language: str) -> str:
    """Return a module in a language of ``SUFFIX``; raise UsageError for another."""
    if language not in SUFFIX:
        raise UsageError(f"language must be one of {', '.join(SUFFIX)}, not {language!r}")
    return _verilog(module) if language == "verilog" else _vhdl(module)


def _verilog(module: Module) -> str:
    clock = {"clk": 0} if module.clocked else {}
    ports = [f"  input wire {_range(width)}{name}" for name, width in {**clock, **module.inputs}.items()]
    ports += [f"  output wire {_range(width)}{name}" for name, width in module.outputs.items()]
    registered = {target for target, _ in module.registers}
    lines = [f"// {remark(module.comment)}", "`timescale 1ns / 1ps", "", f"module {module.name} ("]
    lines += [",\n".join(ports), ");"]
    for name, width in module.wires.items():
        lines.append(f"  {'reg' if name in registered else 'wire'} {_range(width)}{name};")
    for target, offset, piece in module.assigns:
        lines.append(f"  assign {target}[{offset + piece.width - 1}:{offset}] = {_verilog_piece(piece)};")
    for name, kind, ports_of in module.instances:
        joined = ", ".join(f".{port}({signal})" for port, signal in ports_of.items())
        lines.append(f"  {kind} {name} ({joined});")
    if module.registers:
        condition = f" if ({module.enable})" if module.enable else ""
        lines.append(f"  always @(posedge clk){condition} begin")
        lines += [f"    {target} <= {source};" for target, source in module.registers]
        lines.append("  end")
    return "\n".join([*lines, "endmodule", ""])


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width else ""


def _verilog_piece(piece: Piece) -> str:
    if not piece.signal:
        return f"{piece.width}'b{piece.constant:0{piece.width}b}"
    if piece.repeated:
        return f"{{{piece.width}{{{piece.signal}[{piece.low}]}}}}"
    return f"{piece.signal}[{piece.low + piece.width - 1}:{piece.low}]"


def _vhdl(module: Module) -> str:
    ports = ["    clk: in std_logic"] if module.clocked else []
    ports += [f"    {name}: in {_vector(width)}" for name, width in module.inputs.items()]
    ports += [f"    {name}: out {_vector(width)}" for name, width in module.outputs.items()]
    lines = [f"-- {remark(module.comment)}", "library ieee;", "use ieee.std_logic_1164.all;", ""]
    lines += [f"entity {module.name} is port (", ";\n".join(ports), "  );", f"end entity {module.name};", ""]
    lines.append(f"architecture rtl of {module.name} is")
    lines += [f"  signal {name}: {_vector(width)};" for name, width in module.wires.items()]
    lines.append("begin")
    for target, offset, piece in module.assigns:
        lines.append(f"  {target}({offset + piece.width - 1} downto {offset}) <= {_vhdl_piece(piece)};")
    for name, kind, ports_of in module.instances:
        joined = ", ".join(f"{port} => {signal}" for port, signal in ports_of.items())
        lines.append(f"  {name}: entity work.{kind} port map ({joined});")
    if module.registers:
        lines += ["  process (clk) begin", "    if rising_edge(clk) then"]
        lines += [f"      {target} <= {source};" for target, source in module.registers]
        lines += ["    end if;", "  end process;"]
    return "\n".join([*lines, "end architecture rtl;", ""])


def _vector(width: int) -> str:
    return f"std_logic_vector({width - 1} downto 0)"


def _vhdl_piece(piece: Piece) -> str:
    if not piece.signal:
        return f'"{piece.constant:0{piece.width}b}"'
    if piece.repeated:
        return f"(others => {piece.signal}({piece.low}))"
    return f"{piece.signal}({piece.low + piece.width - 1} downto {piece.low})"


def lookup(name: str, entries: Sequence[int], bits: int, language: str) -> str:
    """Return the module of a table, the entries of which are by address; the most frequent one is the default.

    Its ports are an address in as many bits as the entries need, and the entry in ``bits`` bits.
    """
    address = (len(entries) - 1).bit_length()
    words = [f"{entry % (1 << bits):0{bits}b}" for entry in entries]
    default = max(sorted(set(words)), key=words.count)
    cases = {f"{place:0{address}b}": word for place, word in enumerate(words) if word != default}
    if language == "verilog":
        lines = [f"module {name} (input wire [{address - 1}:0] in, output reg [{bits - 1}:0] out);"]
        lines += ["  always @(*)", f"    {IN_LOGIC}", "    case (in)"]
        lines += [f"      {address}'b{place}: out = {bits}'b{word};" for place, word in cases.items()]
        return "\n".join([*lines, f"      default: out = {bits}'b{default};", "    endcase", "endmodule", ""])
    lines = ["library ieee;", "use ieee.std_logic_1164.all;", "", f"entity {name} is port ("]
    lines += [f"    inp: in {_vector(address)};", f"    outp: out {_vector(bits)}", "  );", f"end entity {name};", ""]
    lines += [f"architecture rtl of {name} is", "begin", "  with inp select outp <="]
    lines += [f'    "{word}" when "{place}",' for place, word in cases.items()]
    return "\n".join([*lines, f'    "{default}" when others;', "end architecture rtl;", ""])


def remark(words: str) -> str:
    """Return text that every tool accepts in a comment: one line of ASCII."""
    return " ".join(words.split()).encode("ascii", "replace").decode()


def layout(elements: Mapping[str, list[Element]]) -> dict[str, list[list[int]]]:
    """Return elements as plain JSON types: [offset, width, signed, shift, constant] each, by edge."""
    return {
        name: [[e.offset, e.width, int(e.signed), e.shift, e.constant] for e in placed]
        for name, placed in elements.items()
    }
