"""Boards and their bitstreams: what there is, and what was built, routed and simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core import machine
from edgephys.project import read
from edgephys.report.table import Column, Row, Table, written
from edgephys.targets.capacity import capacity_of
from edgephys.targets.rtl.board.board import UART, FpgaBoard
from edgephys.targets.rtl.board.registry import BOARDS
from edgephys.targets.rtl.board.toolchain import toolchain_of
from edgephys.workflow.board import bitstream_of

COPIED = (
    "model", "board", "ii", "lut", "lut_estimate", "ff", "dsp", "bram", "clock_mhz", "stage_ns", "clock_mhz_routed",
    "latency_cycles", "bitstream_bytes", "seconds", "vectors", "mismatches", "tools",
)  # fmt: skip


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the record of projects with bitstreams, a row each.  Raises: as ``bitstream_of``."""
    rows = [_row(bitstream_of(read(folder))) for folder in folders]
    return {"command": command, "machine": machine.name(), "rows": rows}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: record[key] for key in COPIED},
        "shell": record.get("shell", UART),
        "share": record["lut"] / record["available"]["lut"],
        "latency_ns_routed": 1000 * record["latency_cycles"] / record["clock_mhz_routed"],
        "latency_ns": 1000 * record["latency_cycles"] / record["clock_mhz"],
    }


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of bitstreams."""
    rows: Sequence[Row] = record["rows"]
    chains = {toolchain_of(BOARDS[row["board"]]).family: toolchain_of(BOARDS[row["board"]]) for row in rows}
    notes = [chain.report_notes for chain in chains.values() if chain.report_notes]
    used = "; ".join(sorted({f"{name} {version}" for row in rows for name, version in row["tools"].items()}))
    return Table(
        title="Bitstreams: networks on open boards",
        columns=(
            Column("model", "model", left=True),
            Column("board", "board", left=True),
            Column("shell", "shell", left=True),
            Column("ii", "II", "cycles"),
            Column("lut", "LUT4"),
            Column("share", "of the part's LUT4", "%", text=written(".1f", 100)),
            Column("ff", "FF"),
            Column("dsp", "DSP"),
            Column("bram", "block RAM"),
            Column("clock_mhz", "board's clock", "MHz"),
            Column("stage_ns", "longest stage, estimated", "ns"),
            Column("clock_mhz_routed", "routed clock", "MHz"),
            Column("latency_cycles", "latency", "cycles"),
            Column("latency_ns_routed", "latency at the routed clock", "ns"),
            Column("latency_ns", "latency at the board's clock", "ns"),
            Column("bitstream_bytes", "bitstream", "bytes"),
            Column("seconds", "built in", "s"),
            Column("vectors", "vectors"),
            Column("mismatches", "mismatches"),
        ),
        rows=rows,
        record=record,
        notes=(
            "Shell: what carries the frames. II: clocks between two inputs that the network can take; over the line "
            "they come slower.",
            "LUT4 (with carries and memories in LUTs; on an iCE40 logic cells), FF, DSP (18x18 on an ECP5), block RAM "
            "and the routed clock: nextpnr, of the whole design with its shell and the board's pins; FF of an iCE40: "
            "Yosys. The bitstream runs at the board's clock.",
            *notes,
            "Latency: of the network, without the line: clocks from the edge that takes an input, as emitted; "
            "`edgephys verify PROJECT` counts them in simulation.",
            "Vectors: held-out ones, sent through the routed netlist's pins in simulation and compared with the "
            "golden model. No board was at hand.",
            "Built in: seconds of the whole command on this machine, which did other work too; parts may come from the "
            "cache.",
            f"Tools: {used}.",
        ),
    )


def boards_table(boards: Sequence[FpgaBoard]) -> Table:
    """Declare the list of boards."""
    rows = [board_row(board) for board in boards]
    return Table(
        title="Boards",
        columns=(
            Column("board", "board", left=True),
            Column("part", "part", left=True),
            Column("clock_mhz", "clock", "MHz"),
            Column("lut", "LUT4"),
            Column("ff", "FF"),
            Column("dsp", "DSP"),
            Column("bram", "block RAM"),
            Column("pins", "pins", left=True, text=lambda pins: " ".join(f"{k}={v}" for k, v in pins.items())),
            Column("spi", "SPI", left=True, text=lambda pins: " ".join(f"{k}={v}" for k, v in pins.items()) or "no"),
            Column("packages", "packages", left=True),
            Column("source", "pins from", left=True),
        ),
        rows=rows,
    )


def board_row(board: FpgaBoard) -> dict[str, Any]:
    """Return what the list says of a board."""
    room = capacity_of(board.part)
    return {
        "board": board.name,
        "title": board.title,
        "part": board.part,
        "clock_mhz": board.clock_mhz,
        **{name: getattr(room, name) if room else None for name in ("lut", "ff", "dsp", "bram")},
        "pins": {name: pin.site for name, pin in board.pins.items()},
        "packages": list(toolchain_of(board).packages),
        "spi": {name: pin.site for name, pin in board.spi.items()},
        "source": board.source,
        "load": board.load,
    }
