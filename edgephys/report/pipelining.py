"""The curve of a sweep over the depth of pipelining: latency, clock and cells of each design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgephys.core import machine
from edgephys.report.plot import plot
from edgephys.report.table import Column, Drawing, Table, number, written
from edgephys.targets.rtl.sweep import PipelinedDesign, PipeliningSweep

COLUMNS = (
    Column("stages", "stages"),
    Column("cutoff_ns", "cutoff", "ns", written("g")),
    Column("latency_cycles", "latency", "cycles"),
    Column("fmax_mhz", "routed clock", "MHz", written(".1f")),
    Column("meets", "meets the clock", text=lambda meets: "yes" if meets else "no"),
    Column("latency_ns", "latency at the stated clock", "ns", written("g")),
    Column("latency_own_ns", "latency at its own routed clock", "ns", written(".1f")),
    Column("lut", "LUT4"),
    Column("ff", "FF"),
)
NOTES = (
    "latency: simulated cycles times the period of the stated clock, where the routed design meets it, or of its own "
    "routed clock",
    "routed clock: between registers. Inputs and outputs are registered; pins are out of context. It is the best over "
    "the seeds of the placement; the JSON file has each seed's.",
)


def tabulate(sweep: PipeliningSweep, model: str, command: str) -> dict[str, Any]:
    """Return the record of a sweep: a row a design, by number of stages; ``chosen`` is the stages of the one kept."""
    return {
        "command": command,
        "machine": machine.name(),
        "model": model,
        "part": sweep.part,
        "clock_ns": sweep.clock_ns,
        "chosen": None if sweep.chosen is None else sweep.chosen.stages,
        "provenance": dict(sweep.provenance),
        "rows": [_row(point, sweep.clock_ns) for point in sweep.points],
    }


def _row(point: PipelinedDesign, clock_ns: float) -> dict[str, Any]:
    """Return a design's figures; a clock that it does not meet gives no latency in ns."""
    meets = point.meets(clock_ns)
    return {
        **asdict(point),
        "meets": meets,
        "latency_ns": point.latency_cycles * clock_ns if meets else None,
        "latency_own_ns": point.latency_cycles * 1000 / point.fmax_mhz,
    }


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of a sweep."""
    chosen, clock = record["chosen"], record["clock_ns"]
    result = "none meets it" if chosen is None else f"{number(chosen)} stage{'s' * (chosen != 1)} kept"
    draw = plot(
        "latency_cycles",
        [["fmax_mhz"], ["latency_own_ns", "latency_ns"], ["lut", "ff"]],
        {"fmax_mhz": (1000 / clock, f"stated clock, {clock:g} ns")},
    )
    return Table(
        title=f"{record['model']} on {record['part']} at {clock:g} ns: {result}",
        columns=COLUMNS,
        rows=record["rows"],
        record=record,
        notes=(*(f"{name}: {source}" for name, source in record["provenance"].items()), *NOTES),
        pictures=(Drawing("routed clock, latency and cells against the latency in cycles", draw),),
        chosen=lambda row: bool(row["stages"] == chosen),
    )
