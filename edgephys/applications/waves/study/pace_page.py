"""The table of the time of a frame and its error, and what the figures say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.applications.waves.study.pace_table import FIRMWARE, KERAS, SOLVER
from edgephys.applications.waves.study.table import STEPS
from edgephys.applications.waves.study.table_page import _percent as percent
from edgephys.applications.waves.study.table_page import steps_name
from edgephys.report.table import NONE, Column, Row, Table, written


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of times and errors: as many errors as the horizon reaches."""
    own = max(_solvers(record), key=lambda row: int(row["refinement"]))["seconds"]
    verdict = verdicts(record)
    return Table(
        title="Waves: the time of a frame, and its error",
        caption="time of a frame, and its error",
        record=record,
        columns=(
            Column("name", "method", left=True, cell=label),
            Column("seconds", "time of a frame", text=seconds),
            Column("seconds_lowest", "lowest – highest", cell=_spread),
            Column("of_solver", "of the data's solver", text=written(".3g"), value=lambda row: row["seconds"] / own),
            *(
                Column(f"error_{step}", steps_name(step), "%", percent, error=f"error_{step}_error")
                for step in _steps(record)
            ),
        ),
        rows=record["rows"],
        notes=(*verdict, *_notes(record)),
        remarks=verdict,
    )


def label(row: Row) -> str:
    """Name the method of a row."""
    if row["kind"] == SOLVER:
        cells = f"{row['refinement']} cell{'s' if row['refinement'] > 1 else ''} a point"
        return f"solver, {cells}, {row['steps']} steps a frame"
    if row["kind"] == KERAS:
        return f"{row['model']}, Keras, {row['batch']} field{'s' if row['batch'] > 1 else ''} at a time"
    return f"{row['model']}, {row['kind']}" + (", rolled out" if row["kind"] == FIRMWARE else "")


def seconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _spread(row: Row) -> str:
    if "seconds_lowest" not in row:
        return NONE
    return f"{seconds(row['seconds_lowest'])} – {seconds(row['seconds_highest'])}"


def _steps(record: Mapping[str, Any]) -> list[int]:
    return [step for step in STEPS if step <= record["horizon"]["steps"]]


def _solvers(record: Mapping[str, Any]) -> list[Row]:
    return [row for row in record["rows"] if row["kind"] == SOLVER]


def verdicts(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Compare the time of every network with that of the fastest solver whose errors are no larger."""
    steps = _steps(record)
    sentences = []
    for row in record["rows"]:
        if row["kind"] == SOLVER:
            continue
        good = [
            mesh for mesh in _solvers(record) if all(mesh[f"error_{step}"] <= row[f"error_{step}"] for step in steps)
        ]
        if not good:
            sentences.append(f"{label(row)}: no mesh has a smaller error after {_and(steps)}.")
            continue
        best = min(good, key=lambda mesh: float(mesh["seconds"]))
        ratio, last = row["seconds"] / best["seconds"], f"error_{steps[-1]}"
        how = " (estimated against measured)" if row["kind"] == FIRMWARE else ""
        sentences.append(
            f"{label(row)}: {ratio:.2g} times the time of {label(best)}{how}, the fastest mesh with a smaller error "
            f"after {_and(steps)}: {percent(best[last])} against {percent(row[last])} % after {steps[-1]}."
        )
    return tuple(sentences)


def _and(steps: Sequence[int]) -> str:
    return " and ".join(filter(None, [", ".join(map(str, steps[:-1])), steps_name(steps[-1])]))


def _notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    data, horizon, reference = record["data"], record["horizon"], record["reference"]
    assembly = ", ".join(f"{seconds(row['setup_seconds'])} at {row['refinement']}" for row in _solvers(record))
    firmware = [row for row in record["rows"] if row["kind"] == FIRMWARE]
    return (
        f"A frame: {record['frame_dt']:.4g} of the time in which a wave of speed 1 crosses the square, one point of "
        "the grid. Every row advances a wave by one frame.",
        f"Errors: relative L2 of a frame, the mean over {data['runs_measured']} runs of `{data['file']}` and its "
        f"standard error, against the solver at {reference['refinement']} cells a point, "
        f"{reference['steps_per_frame']} steps a frame. Networks start at frame {horizon['start']} with the two true "
        f"frames before it, solvers at frame 0 with the scene: at the same frame a solver has run {horizon['start']} "
        "frames longer.",
        f"Measured times: processor time of one core, the median and the range of {record['rounds']} rounds in which "
        f"all rows take turns. The time on the clock was {record['waiting']:g} times as long, because other programs "
        "ran. The solver is numpy and scipy in double precision, without the assembly of its matrices, which is done "
        f"once a scene: {assembly} cells a point. A compiled solver, or one in firmware, would be faster; neither is "
        "built here.",
        *(f"{name} has no firmware and no golden model: {why}." for name, why in record["no_firmware"].items()),
        *(
            f"{row['model']} in firmware: {row['latency_cycles']:,} simulated cycles from the first pixel in to the "
            f"last one out, at {row['clock_ns']:g} ns, which no routing has confirmed ({row['target']}): estimated. "
            f"Fields that do not depend on each other enter every {row['ii_cycles']:,} cycles, "
            f"{seconds(row['seconds_streamed'])}. Its integers are the network's, so its errors are too."
            for row in firmware
        ),
    )
