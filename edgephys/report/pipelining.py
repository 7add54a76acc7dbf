"""The curve of a sweep over the depth of pipelining: latency, clock and cells of each design."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from edgephys.core import machine
from edgephys.core.files import write_file, write_json
from edgephys.report.show import titled
from edgephys.targets.rtl.sweep import Point, Sweep

HEADINGS = (
    "stages",
    "cutoff ns",
    "latency cycles",
    "MHz routed",
    "meets the clock",
    "latency ns at the clock",
    "latency ns at its own fmax",
    "LUT4",
    "FF",
)


def tabulate(found: Sweep, model: str, command: str) -> dict[str, Any]:
    """Return the table of a sweep: a row a design, by number of stages; ``chosen`` is the stages of the one kept."""
    return {
        "command": command,
        "machine": machine.name(),
        "model": model,
        "part": found.part,
        "clock_ns": found.clock_ns,
        "chosen": None if found.chosen is None else found.chosen.stages,
        "provenance": dict(found.provenance),
        "rows": [_row(point, found.clock_ns) for point in found.points],
    }


def _row(point: Point, clock_ns: float) -> dict[str, Any]:
    """Return a design's figures; ns at a clock that it does not meet is no latency, so None."""
    meets = point.meets(clock_ns)
    return {
        **asdict(point),
        "meets": meets,
        "latency_ns": point.latency_cycles * clock_ns if meets else None,
        "latency_own_ns": point.latency_cycles * 1000 / point.fmax_mhz,
    }


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row as text, in the order of HEADINGS."""
    return [
        str(row["stages"]),
        f"{row['cutoff_ns']:g}",
        str(row["latency_cycles"]),
        f"{row['fmax_mhz']:.1f}",
        "yes" if row["meets"] else "no",
        f"{row['latency_ns']:g}" if row["meets"] else "–",
        f"{row['latency_own_ns']:.1f}",
        f"{row['lut']:,}",
        f"{row['ff']:,}",
    ]


def title(table: Mapping[str, Any]) -> str:
    """Say what was swept and what is kept."""
    chosen = table["chosen"]
    kept = "none meets it" if chosen is None else f"{chosen} stage{'s' * (chosen != 1)} kept"
    return f"{table['model']} on {table['part']} at {table['clock_ns']:g} ns: {kept}"


def shown(table: Mapping[str, Any]) -> Group:
    """Return the table for a terminal."""
    view = Table()
    for heading in HEADINGS:
        view.add_column(heading, justify="right")
    for row in table["rows"]:
        view.add_row(*cells(row), style="bold" if row["stages"] == table["chosen"] else None)
    return titled(title(table), view)


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), _markdown(table).encode())
    write_file(out.with_name(f"{out.name}.png"), _picture(table))


def _markdown(table: Mapping[str, Any]) -> str:
    lines = [f"Made by `{table['command']}` on {table['machine']}.", "", f"{title(table)}.", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " ---: |" * len(HEADINGS)]
    for row in table["rows"]:
        mark = "**" if row["stages"] == table["chosen"] else ""
        lines.append("| " + " | ".join(f"{mark}{cell}{mark}" for cell in cells(row)) + " |")
    lines += ["", *(f"- {name}: {told}" for name, told in table["provenance"].items())]
    lines += [
        "- latency ns: cycles times the period of the clock asked for, where the routed design meets it, or its fmax's",
        "- fmax between registers; the inputs and outputs are registered, pins are out of context. It is the best over "
        "the seeds; each seed's is in the JSON file.",
    ]
    return "\n".join(lines) + "\n"


def _picture(table: Mapping[str, Any]) -> bytes:
    """Draw the routed clock and the cells over the latency in cycles, the design kept ringed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = table["rows"]
    cycles = [row["latency_cycles"] for row in rows]
    kept = [row for row in rows if row["stages"] == table["chosen"]]
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3.8))
    left.plot(cycles, [row["fmax_mhz"] for row in rows], "o-", color="#204a87")
    left.axhline(1000 / table["clock_ns"], color="#a40000", linestyle="--", label=f"{table['clock_ns']:g} ns asked for")
    left.set_ylabel("MHz, placed and routed")
    left.legend(fontsize=8)
    middle.plot(cycles, [row["latency_own_ns"] for row in rows], "o-", color="#8f5902", label="at its own fmax")
    able = [row for row in rows if row["meets"]]
    middle.plot(
        [row["latency_cycles"] for row in able], [row["latency_ns"] for row in able],
        "s", color="#a40000", label="at the clock asked for, where met",
    )  # fmt: skip
    middle.set_ylabel("latency (ns)")
    middle.set_ylim(bottom=0)
    middle.legend(fontsize=8)
    right.plot(cycles, [row["lut"] / 1000 for row in rows], "o-", color="#4e9a06", label="LUT4")
    right.plot(cycles, [row["ff"] / 1000 for row in rows], "o-", color="#75507b", label="FF")
    right.set_ylabel("thousand, placed and routed")
    right.set_ylim(bottom=0)
    right.legend(fontsize=8)
    for axes, name in ((left, "fmax_mhz"), (middle, None), (right, "lut")):
        ringed = [row[name] / (1000 if name == "lut" else 1) if name else row["latency_ns"] for row in kept]
        axes.plot([row["latency_cycles"] for row in kept], ringed, "o", ms=14, mfc="none", mec="black")
        axes.set_xlabel("latency (cycles, simulated)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.suptitle(title(table), fontsize=10)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()
