"""The time of a frame for readers: a page, a view for a terminal, and what the figures say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.waves.study.pace_table import FIRMWARE, KERAS, SOLVER
from edgephys.applications.waves.study.table import STEPS
from edgephys.core.files import write_file, write_json
from edgephys.report.show import titled

Row = Mapping[str, Any]


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json and OUT.md, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table).encode())


def headings(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns: as many errors as the horizon reaches."""
    steps = [step for step in STEPS if step <= table["horizon"]["steps"]]
    errors = (f"{step} step{'s' if step > 1 else ''} %" for step in steps)
    return ("way to the next frame", "time of a frame", "lowest – highest", "of the data's solver", *errors)


def label(row: Row) -> str:
    """Name a row as a reader does."""
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


def cells(row: Row, solver: float, steps: Sequence[int]) -> list[str]:
    """Return a row as text, in the order of the headings."""
    spread = "–" if "seconds_lowest" not in row else f"{seconds(row['seconds_lowest'])} – {_top(row)}"
    ratio = row["seconds"] / solver
    return [
        label(row),
        seconds(row["seconds"]),
        spread,
        f"{ratio:.3g}",
        *(f"{_percent(row[f'error_{step}'])} ± {_percent(row[f'error_{step}_error'])}" for step in steps),
    ]


def _top(row: Row) -> str:
    return seconds(row["seconds_highest"])


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.1 else f"{100 * share:.3g}"


def _all(table: Mapping[str, Any]) -> list[list[str]]:
    steps = [step for step in STEPS if step <= table["horizon"]["steps"]]
    solver = _own(table)["seconds"]
    return [cells(row, solver, steps) for row in table["rows"]]


def _own(table: Mapping[str, Any]) -> Row:
    """Return the row of the mesh that made the data: the finest that was timed."""
    return max((row for row in table["rows"] if row["kind"] == SOLVER), key=lambda row: int(row["refinement"]))


def verdicts(table: Mapping[str, Any]) -> list[str]:
    """Say of every network's way how it stands to the fastest solver that errs no more, one step and all steps on."""
    steps = [step for step in STEPS if step <= table["horizon"]["steps"]]
    meshes = [row for row in table["rows"] if row["kind"] == SOLVER]
    told = []
    for row in table["rows"]:
        if row["kind"] == SOLVER:
            continue
        good = [of for of in meshes if all(of[f"error_{step}"] <= row[f"error_{step}"] for step in steps)]
        if not good:
            told.append(f"{label(row)}: no mesh errs less after {_and(steps)}.")
            continue
        best = min(good, key=lambda of: float(of["seconds"]))
        ratio, last = row["seconds"] / best["seconds"], f"error_{steps[-1]}"
        how = " (estimated against measured)" if row["kind"] == FIRMWARE else ""
        told.append(
            f"{label(row)}: {ratio:.2g} times the time of {label(best)}{how}, the fastest mesh that errs less after "
            f"{_and(steps)}: {_percent(best[last])} against {_percent(row[last])} % after {steps[-1]}."
        )
    return told


def _and(steps: Sequence[int]) -> str:
    last = f"{steps[-1]} step{'s' if steps[-1] > 1 else ''}"
    return " and ".join(filter(None, [", ".join(map(str, steps[:-1])), last]))


def page(table: Mapping[str, Any]) -> str:
    """Return the page: times beside errors, what they say, and where they come from."""
    heads = headings(table)
    return "\n".join(
        [
            "# Waves: the time of a frame, and the error it makes",
            "",
            f"Made by `{table['command']}` on {table['machine']}; edgephys {table['versions']['edgephys']}, Keras "
            f"{table['versions']['keras']}.",
            "",
            "| " + " | ".join(heads) + " |",
            "| --- |" + " ---: |" * (len(heads) - 1),
            *("| " + " | ".join(row) + " |" for row in _all(table)),
            "",
            *(f"- {told}" for told in verdicts(table)),
            "",
            *_notes(table),
            "",
        ]
    )


def _notes(table: Mapping[str, Any]) -> list[str]:
    of, far = table["data"], table["horizon"]
    notes = [
        f"- A frame: {table['frame_dt']:.4g} of the time in which a wave of speed 1 crosses the square, one point of "
        "the grid; every row carries a wave on by that much.",
        f"- Errors: relative L2 of a frame, mean over {of['runs_measured']} runs of `{of['file']}` and their standard "
        f"error, against the solver at {table['reference']['refinement']} cells a point, "
        f"{table['reference']['steps_per_frame']} steps a frame. Networks begin at frame {far['start']} with the two "
        f"true frames before it, solvers at frame 0 with the scene: of the same frames, solvers have run "
        f"{far['start']} longer.",
        f"- Times measured: processor time of one core, the median of {table['rounds']} rounds in which all take "
        f"turns, and the range. Wall time was {table['waiting']:g} times as long, for other work ran beside. The "
        "solver is numpy and scipy in double precision, without the assembly of its matrices, once a scene: "
        + ", ".join(f"{seconds(row['setup_seconds'])} at {row['refinement']}" for row in _solvers(table))
        + " cells a point. Compiled, or in firmware of its own, it would be faster; neither is built here.",
    ]
    notes += [f"- {name} has no firmware and no golden model: {why}." for name, why in table["no_firmware"].items()]
    for row in table["rows"]:
        if row["kind"] == FIRMWARE:
            notes.append(
                f"- {row['model']} in firmware: {row['latency_cycles']:,} simulated cycles from the first pixel in to "
                f"the last one out, at {row['clock_ns']:g} ns, which no routing has confirmed ({row['target']}): "
                f"estimated. Fields that do not wait for each other come every {row['ii_cycles']:,} cycles, "
                f"{seconds(row['seconds_streamed'])}. Its integers are the network's, so its errors are too."
            )
    return notes


def _solvers(table: Mapping[str, Any]) -> list[Row]:
    return [row for row in table["rows"] if row["kind"] == SOLVER]


def shown(table: Mapping[str, Any]) -> Group:
    """Return times and errors for a terminal."""
    grid = Table(box=box.SIMPLE)
    for number, heading in enumerate(headings(table)):
        grid.add_column(heading, justify="right" if number else "left")
    for row in _all(table):
        grid.add_row(*row)
    return Group(titled("time of a frame, and its error", grid), *verdicts(table))
