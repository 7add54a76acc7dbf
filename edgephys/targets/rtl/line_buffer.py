"""Storage of a stream of pixels, in Verilog: line buffers, delays, and the marker of valid outputs.

Everything advances in beats: a beat is a clock edge with ``advance``. ``start`` at a beat marks the pixel that enters
the network at this beat as the first of a frame. Memories are circular: at each beat one word is read and replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgephys.targets.rtl.netlist import remark

DEEPEST = 256
NARROW = 16
"""Words of a memory of fewer bits than NARROW, at most: Yosys 0.70 ends in an error where LUTs are to hold more of them
(lutrams_xc5v_map.v, of the family xcup); wider ones lie in block RAM."""
SHALLOW = 4
"""Beats up to which a delay consists of registers; longer delays use memory."""


@dataclass(frozen=True)
class Delay:
    """State a vector that is delayed by some beats.  Units: width in bits."""

    name: str
    width: int
    beats: int

    @property
    def memory_bits(self) -> int:
        """Bits in memory."""
        return _memory_bits(self.width, self.beats)

    def text(self) -> str:
        """Return the module: ``q`` is ``d`` as it was ``beats`` beats before."""
        declared, moved = _waiting("kept", self.width, self.beats, "d")
        ports = [f"input wire {vector_range(self.width)}d", f"output wire {vector_range(self.width)}q"]
        title = f"{self.beats} beats of {self.width} bits"
        return _module(self.name, title, ports, [*declared, "assign q = kept;"], moved)


@dataclass(frozen=True)
class WindowBuffer:
    """State a window over a stream of pixels: (rows, columns) of neighbours on a field of (rows, columns).

    ``width`` are the bits of a pixel; its first neighbourhood comes at beat ``first_beat`` after the frame's start.
    """

    name: str
    width: int
    size: tuple[int, int]
    field: tuple[int, int]
    first_beat: int
    comment: str = ""

    @property
    def lag(self) -> int:
        """Beats from a pixel to its neighbourhood: until its last neighbour has arrived, and one for a register."""
        return lag(self.size, self.field)

    @property
    def memory_bits(self) -> int:
        """Bits in memory."""
        return _memory_bits((self.size[0] - 1) * self.width, self.field[1]) if self.size[0] > 1 else 0

    def text(self) -> str:
        """Return the module: ``w`` holds the neighbours of ``d``, ``lag`` beats later, row by row, lowest bits first.

        All lines are in one memory, of which a word is a column of pixels. Registers ``ahead`` hold a pixel until its
        neighbours to the right have arrived. Registers of neighbours beyond the edges of the field are cleared, so that
        they do not show pixels of the next row or frame.
        """
        rows, columns = self.size
        ports = [f"input wire {vector_range(self.width)}d", f"output wire {vector_range(rows * columns * self.width)}w"]
        lines, moved = self._lines()
        ahead = [f"ahead_{number}" for number in range(1, columns // 2 + 1)]
        declared = lines + [f"reg {vector_range(rows * self.width)}{name};" for name in ahead]
        moved += [f"{later} <= {sooner};" for sooner, later in zip(["column", *ahead], ahead, strict=False)]
        position, counted = self._position()
        taps = [self._tap(row, column) for row in range(rows) for column in range(columns)]
        registers = [f"reg {vector_range(self.width)}{tap.name};" for tap in taps]
        moved += [f"{tap.name} <= {tap.source};" for tap in taps if not tap.outside]
        listed = ", ".join(tap.name for tap in reversed(taps))
        statements = [*declared, *position, *registers, f"assign w = {{{listed}}};", *_cleared(taps)]
        title = f"{self.comment}: {rows}x{columns} neighbours"
        return _module(self.name, title, ports, statements, moved + counted)

    def _lines(self) -> tuple[list[str], list[str]]:
        """Return the statements of ``column``: the newest pixel in its lowest bits, then the pixels above it."""
        rows, width = self.size[0], self.width
        if rows == 1:
            return [f"wire {vector_range(width)}column = d;"], []
        source = "d" if rows == 2 else f"{{lines[{(rows - 2) * width - 1}:0], d}}"
        declared, moved = _waiting("lines", (rows - 1) * width, self.field[1], source)
        return [*declared, f"wire {vector_range(rows * width)}column = {{lines, d}};"], moved

    def _tap(self, row: int, column: int) -> _Tap:
        """Return the register of a neighbour, which reads the stream or the register to its right."""
        rows, columns = self.size
        below, right = row - (rows - 1) // 2, column - (columns - 1) // 2
        name = f"w_{row}_{column}"
        if right < 0:
            return _Tap(name, f"w_{row}_{column + 1}", "first")
        columns_ahead, low = columns // 2 - right, (rows - 1 - row) * self.width
        source = f"{f'ahead_{columns_ahead}' if columns_ahead else 'column'}[{low + self.width - 1}:{low}]"
        beyond = [f"no_row_{row}"] * bool(below) + [f"no_column_{column}"] * bool(right)
        return _Tap(name, source, " || ".join(beyond))

    def _position(self) -> tuple[list[str], list[str]]:
        """Return the counters of the pixel whose neighbours come next, and the wires that tell which of them exist."""
        (rows, columns), (height, width) = self.size, self.field
        if self.size == (1, 1):
            return [], []
        pixel = (1 - self.first_beat) % (height * width)
        declared, moved = _counted("x", width, pixel % width)
        if rows > 1:
            more, also = _counted("y", height, pixel // width, f"x == {count_literal(width - 1, width)}")
            declared, moved = declared + more, moved + also
        if columns > 2:
            declared.append("wire first = x == 0;")
        for name, axis, count, length in (("row", "y", rows, height), ("column", "x", columns, width)):
            for place in range(count):
                step = place - (count - 1) // 2
                if step > 0:
                    declared.append(f"wire no_{name}_{place} = {axis} >= {max(0, length - step)};")
                elif step < 0 and name == "row":
                    declared.append(f"wire no_{name}_{place} = {axis} < {-step};")
        return declared, moved


@dataclass(frozen=True)
class Marker:
    """State the module that marks the clocks with an output pixel: each ``advance`` from ``beats`` after a start on."""

    name: str
    beats: int

    def text(self) -> str:
        """Return the module."""
        last = count_literal(self.beats - 1, self.beats)
        lines = [
            f"// {self.name}: marks the clocks that give a pixel",
            "`timescale 1ns / 1ps",
            "",
            f"module {self.name} (input wire clk, input wire advance, input wire start, output reg valid);",
            f"  reg {vector_range(count_bits(self.beats))}beat;",
            "  always @(posedge clk) begin",
            f"    valid <= advance && !start && beat == {last};",
            "    if (advance && start) beat <= 0;",
            f"    else if (advance && beat != {last}) beat <= beat + 1;",
            "  end",
        ]
        return "\n".join([*lines, "endmodule", ""])


def lag(size: tuple[int, int], field: tuple[int, int]) -> int:
    """Return the beats from a pixel to its neighbourhood, as ``WindowBuffer.lag``."""
    return size[0] // 2 * field[1] + size[1] // 2 + 1


@dataclass(frozen=True)
class _Tap:
    """State the register of a neighbour: its source, and when it lies outside of the field."""

    name: str
    source: str
    outside: str


def _cleared(taps: Sequence[_Tap]) -> list[str]:
    """Return the registers that are 0 outside of the field, written as a synchronous reset, which costs no logic."""
    statements = []
    for number, outside in enumerate(dict.fromkeys(tap.outside for tap in taps if tap.outside)):
        same = [tap for tap in taps if tap.outside == outside]
        statements += [f"wire clear_{number} = advance && ({outside});", "always @(posedge clk)"]
        statements += [f"  if (clear_{number}) begin", *(f"    {tap.name} <= 0;" for tap in same)]
        statements += ["  end else if (advance) begin", *(f"    {tap.name} <= {tap.source};" for tap in same), "  end"]
    return statements


# Pieces of text ---------------------------------------------------------------------------------


def _module(name: str, title: str, ports: list[str], statements: list[str], moved: list[str]) -> str:
    joined = ",\n".join(f"  {port}" for port in ["input wire clk", "input wire advance", "input wire start", *ports])
    lines = [f"// {remark(title)}", "`timescale 1ns / 1ps", "", f"module {name} (", joined, ");"]
    lines += [f"  {statement}" for statement in statements]
    lines.append("  always @(posedge clk) if (advance) begin")
    lines += [f"    {statement}" for statement in moved]
    return "\n".join([*lines, "  end", "endmodule", ""])


def _waiting(name: str, width: int, beats: int, source: str) -> tuple[list[str], list[str]]:
    """Return declarations and statements that make vector ``name`` the ``source`` as it was ``beats`` beats before."""
    if beats <= SHALLOW:
        names = [f"{name}_{number}" for number in range(1, beats)] + [name]
        declared = [f"reg {vector_range(width)}{one};" for one in names]
        return declared, [f"{later} <= {sooner};" for sooner, later in zip([source, *names], names, strict=False)]
    count, depth = _memories(width, beats)
    declared, moved = _counted("place", depth, 0)
    memories = [f"memory_{number}" for number in range(count)] if count > 1 else ["memory"]
    registers = beats - count * (depth + 1)  # what equal memories leave over
    names = [f"{name}_{number}" for number in range(1, count + registers)] + [name]
    declared += [f"reg {vector_range(width)}{memory} [0:{depth - 1}];" for memory in memories]
    declared += [f"reg {vector_range(width)}{one};" for one in names]
    reads = [*(f"{memory}[place]" for memory in memories), *names[count - 1 : -1]]
    moved = [f"{one} <= {read};" for one, read in zip(names, reads, strict=True)] + [
        *(f"{memory}[place] <= {sooner};" for memory, sooner in zip(memories, [source, *names], strict=False)),
        *moved,
    ]
    return declared, moved


def _memories(width: int, beats: int) -> tuple[int, int]:
    """Return how many memories follow each other, and the words of each; a register behind each is a beat more."""
    count = 1 if width >= NARROW else -(-beats // (DEEPEST + 1))
    return count, beats // count - 1


def _memory_bits(width: int, beats: int) -> int:
    count, depth = _memories(width, beats)
    return width * count * depth if beats > SHALLOW else 0


def _counted(name: str, length: int, first: int, condition: str = "") -> tuple[list[str], list[str]]:
    """Return a counter from 0 to below ``length``; it is ``first`` after a start and counts where a condition holds."""
    last = count_literal(length - 1, length)
    step = f"{name} <= {name} == {last} ? {count_literal(0, length)} : {name} + 1;"
    moved = f"else if ({condition}) {step}" if condition else f"else {step}"
    return [f"reg {vector_range(count_bits(length))}{name};"], [
        f"if (start) {name} <= {count_literal(first, length)}; {moved}"
    ]


def count_bits(count: int) -> int:
    """Return the bits of a counter of ``count`` states."""
    return max(1, (count - 1).bit_length())


def count_literal(value: int, count: int) -> str:
    """Return a state of a counter of ``count`` states."""
    return f"{count_bits(count)}'d{value}"


def vector_range(width: int) -> str:
    """Return the range of a vector in its declaration, with a space."""
    return f"[{width - 1}:0] "
