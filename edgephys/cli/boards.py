"""Commands of boards: a model as a bitstream, checked in simulation and on a board at a serial port."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import bar, give, say
from edgephys.cli.words import MOST, MOST_SECONDS, MOST_SEED, Force, Json, ModelFolder, TableOut, line

MOST_BAUD = 100_000_000
SHOWN = 5
"""Outputs that differ which are listed."""


def boards(as_json: Json = False) -> None:
    """List the boards for which `edgephys board` makes bitstreams: part, clock, what it holds, pins, packages.

    \b
    Example: edgephys boards
    """
    from edgephys.report.bitstreams import board_row, boards_table
    from edgephys.targets.rtl.board.registry import BOARDS

    known = list(BOARDS.values())
    give(as_json, {"boards": [board_row(board) for board in known]}, lambda: boards_table(known))


def board(
    model: ModelFolder,
    on: Annotated[str, typer.Option("--board", help="Board, as `edgephys boards` lists them.")],
    out: Annotated[Path | None, typer.Option(help="Project folder; hls_projects/<model>_<board> by default.")] = None,
    ii: Annotated[
        int,
        typer.Option(min=1, max=4096, help="First interval tried; doubled until it fits and is fast enough."),
    ] = 1,
    shell: Annotated[
        str, typer.Option(help="What carries the frames: uart (a serial line) or spi (the host is master).")
    ] = "uart",
    baud: Annotated[int, typer.Option(min=1, max=MOST_BAUD, help="Bits a second on the serial line.")] = 1_000_000,
    stage_ns: Annotated[
        float | None,
        typer.Option(min=0.1, max=1000, help="Longest estimated path of a pipeline stage; by the part and its clock."),
    ] = None,
    vectors: Annotated[
        int, typer.Option(min=1, max=MOST, help="Held-out vectors that go through the routed design in simulation.")
    ] = 128,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the placement.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=1, max=MOST_SECONDS, help="Seconds for each synthesis or routing job.")
    ] = 3000.0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a bitstream of a model for an open board, with open tools, and simulate the routed design bit for bit.

    The network stands behind a serial line or SPI: bytes of an input come in, bytes of the outputs go out. The
    folder is an RTL project with a folder `board` in it. A former bitstream stays until the new one is complete and
    checked.

    \b
    Example: edgephys board models/compressed/jet_deepsets_n8_frugal --board ulx3s_85f --ii 32 --out runs/tagger_ulx3s
    """
    from edgephys.cli.firmware import loaded
    from edgephys.targets.rtl.board.registry import board_of
    from edgephys.workflow.board import BoardPlan, build

    plan = BoardPlan(board_of(on), ii, baud, vectors, seed, timeout, shell, stage_ns)
    source = loaded(model)
    folder = out or Path("hls_projects") / f"{source.name}_{on}"
    record = build(source, plan, folder, force, say)
    give(
        as_json,
        {"project": str(folder), **record},
        lambda: (
            f"{folder / record['bitstream']}: {record['bitstream_bytes']:,} bytes, an input every {record['ii']} "
            f"clocks, {record['lut']:,} LUTs, {record['clock_mhz_routed']:.1f} MHz routed for "
            f"{record['clock_mhz']:g} MHz, {record['mismatches']} mismatches on {record['vectors']} vectors"
        ),
    )


def run_board(
    port: Annotated[str, typer.Argument(metavar="PORT", help="Serial port of the board, such as /dev/ttyUSB0.")],
    project: Annotated[Path, typer.Option(help="Folder that `edgephys board` wrote.")],
    vectors: Annotated[int | None, typer.Option(min=1, max=MOST, help="Held-out vectors; all by default.")] = None,
    as_json: Json = False,
) -> None:
    """Send a project's held-out vectors to a board, and compare every integer; exit with 1 where one differs.

    \b
    Example: edgephys run-board /dev/ttyUSB0 --project runs/tagger_ulx3s --vectors 1000
    """
    from edgephys.project import read, read_vectors
    from edgephys.workflow.on_board import compare

    emitted = read(project)
    with bar(f"vectors on {port}", vectors or len(read_vectors(emitted).inputs)) as tick:
        result = compare(emitted, port, vectors, tick)
    for vector, output, here, golden in result.differences[:SHOWN]:
        say(f"vector {vector}, output {output}: {here}, the golden model has {golden}")
    record = {"board": result.board, "vectors": result.vectors, "sent_again": result.again}
    give(
        as_json,
        {**record, "mismatches": len(result.differences)},
        lambda: (
            f"{result.board} on {port}: {result.vectors:,} vectors, {len(result.differences)} mismatches, "
            f"{result.again} requests sent again"
        ),
    )
    result.require()


def bitstreams(
    projects: Annotated[
        list[Path], typer.Argument(metavar="PROJECT...", help="Folders that `edgephys board` wrote, a row each.")
    ],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put bitstreams for boards into one table: interval, LUTs, routed clock, latency, mismatches in simulation.

    \b
    Example: edgephys bitstreams runs/tagger_ulx3s
    """
    from edgephys.report.bitstreams import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(projects, line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))
