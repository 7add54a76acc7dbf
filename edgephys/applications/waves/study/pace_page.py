"""The table of the time of a frame and its error, and what the figures say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.applications.waves.study.pace import COMPILED, KERAS, SOLVER
from edgephys.applications.waves.study.pace_emitted import EMITTED
from edgephys.applications.waves.study.pace_table import FIRMWARE
from edgephys.applications.waves.study.table import STEPS
from edgephys.applications.waves.study.table_page import _percent as percent
from edgephys.applications.waves.study.table_page import steps_name
from edgephys.report.table import NONE, Column, Row, Table


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of times and errors: as many errors as the horizon reaches."""
    steps = _steps(record)
    verdict = (*verdicts(record), *conclusions(record))
    return Table(
        title="Waves: the time of a frame, and its error",
        caption="time of a frame, and its error",
        record=record,
        columns=(
            Column("name", "method", left=True, cell=label),
            Column("seconds", "time of a frame", text=seconds),
            Column("seconds_lowest", "lowest – highest", cell=_spread),
            *(Column(f"error_{step}", steps_name(step), "%", percent, error=f"error_{step}_error") for step in steps),
            Column(
                "of_equal_solver",
                f"against the solver of equal error after {steps_name(steps[-1])}",
                value=lambda row: _ratio(row, record),
                cell=lambda row: _beside(row, record),
            ),
        ),
        rows=record["rows"],
        notes=(*verdict, *_notes(record)),
        remarks=verdict,
    )


def label(row: Row) -> str:
    """Name the method of a row."""
    if _is_solver(row):
        cells = f"{row['refinement']} cell{'s' if row['refinement'] > 1 else ''} a point"
        return f"solver in {'C' if row['kind'] == COMPILED else 'numpy'}, {cells}, {row['steps']} steps a frame"
    if row["kind"] in (KERAS, EMITTED):
        return f"{row['model']}, {row['kind']}, {row['batch']} field{'s' if row['batch'] > 1 else ''} at a time"
    return f"{row['model']}, {row['kind']}" + (", rolled out" if row["kind"] == FIRMWARE else "")


def seconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def times(ratio: float) -> str:
    """Return a ratio with two digits that count."""
    return f"{float(f'{ratio:.2g}'):,g}"


def _spread(row: Row) -> str:
    if "seconds_lowest" not in row:
        return NONE
    return f"{seconds(row['seconds_lowest'])} – {seconds(row['seconds_highest'])}"


def _steps(record: Mapping[str, Any]) -> list[int]:
    return [step for step in STEPS if step <= record["horizon"]["steps"]]


def _solvers(record: Mapping[str, Any]) -> list[Row]:
    return [row for row in record["rows"] if _is_solver(row)]


def _networks(record: Mapping[str, Any]) -> list[Row]:
    return [row for row in record["rows"] if not _is_solver(row)]


def _is_solver(row: Row) -> bool:
    return row["kind"] in (SOLVER, COMPILED)


# The solver of equal error ------------------------------------------------------------------------


def equal_solver(row: Row, record: Mapping[str, Any]) -> Row | None:
    """Return the fastest solver whose error after the last step is no larger than a network's; None without one.

    A difference within the standard errors of both counts as none.
    """
    key = f"error_{_steps(record)[-1]}"
    good = [
        solver
        for solver in _solvers(record)
        if solver[key] - row[key] <= math.hypot(solver[f"{key}_error"], row[f"{key}_error"])
    ]
    return min(good, key=lambda solver: float(solver["seconds"]), default=None)


def _ratio(row: Row, record: Mapping[str, Any]) -> float | None:
    """Return a network's time over that of the solver of equal error: below 1 it is ahead."""
    solver = None if _is_solver(row) else equal_solver(row, record)
    return None if solver is None else float(row["seconds"] / solver["seconds"])


def _beside(row: Row, record: Mapping[str, Any]) -> str:
    ratio = _ratio(row, record)
    return NONE if ratio is None else f"{times(ratio)} times, {_place(row, ratio, record)}"


def _place(row: Row, ratio: float, record: Mapping[str, Any]) -> str:
    """Say whether a network is ahead; where its last error is that of a field of zeros, a short time is no lead."""
    if ratio >= 1:
        return "behind"
    return "ahead" if _predicts(row, record) else "no prediction"


def _predicts(row: Row, record: Mapping[str, Any]) -> bool:
    return bool(row[f"error_{_steps(record)[-1]}"] < 1)


def verdicts(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Say of every network whether it is ahead of the fastest solver whose last error is no larger, or behind it."""
    last = _steps(record)[-1]
    key, sentences = f"error_{last}", []
    for row in _networks(record):
        solver = equal_solver(row, record)
        if solver is None:
            least = min(solver[key] for solver in _solvers(record))
            sentences.append(
                f"{label(row)}: no solver has an error as small after {steps_name(last)}: {percent(row[key])} against "
                f"{percent(least)} %."
            )
            continue
        ratio = row["seconds"] / solver["seconds"]
        how = " (estimated against measured)" if row["kind"] == FIRMWARE else ""
        sentences.append(
            f"{label(row)}: {_place(row, ratio, record)}, {times(ratio)} times the time of {label(solver)}{how}, the "
            f"fastest solver with an error no larger, within both errors, after {steps_name(last)}: "
            f"{percent(solver[key])} against {percent(row[key])} %."
        )
    return tuple(sentences)


def conclusions(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where the solver is the better choice and where a network is, at equal error after the last step."""
    last = _steps(record)[-1]
    after = f"after {steps_name(last)}"
    wrong = {str(row["model"]): None for row in _networks(record) if not _predicts(row, record)}
    ratios = [(row, _ratio(row, record)) for row in _networks(record) if _predicts(row, record)]
    behind = [(row, ratio) for row, ratio in ratios if ratio is not None and ratio >= 1]
    ahead = [row for row, ratio in ratios if ratio is None or ratio < 1]
    sentences = []
    if wrong:
        sentences.append(
            f"No prediction {after}: {', '.join(wrong)}. An error of 100 % is that of a field of zeros; there a short "
            "time says nothing."
        )
    if behind:
        low, high = (times(end(ratio for _, ratio in behind)) for end in (min, max))
        factor = low if low == high else f"{low} to {high}"
        sentences.append(
            f"The solver is better than {_listed([row for row, _ in behind])}: {factor} times as fast for an error no "
            f"larger {after}. A finer mesh makes its error smaller; the error of a network stays what its training "
            "made it."
        )
    sentences.append(
        f"A network helps at equal error {after}: {_listed(ahead)}."
        if ahead
        else f"No network here is ahead of the solver at equal error {after}. A network remains of use where no "
        "processor can run the solver: it streams through an FPGA, for which no solver is built here."
    )
    return tuple(sentences)


def _listed(rows: Sequence[Row]) -> str:
    """Name the networks of rows, each with what computes it."""
    ways: dict[str, list[str]] = {}
    for row in rows:
        kinds = ways.setdefault(row["model"], [])
        if row["kind"] not in kinds:
            kinds.append(row["kind"])
    return "; ".join(f"{model} ({', '.join(kinds)})" for model, kinds in ways.items())


# Notes --------------------------------------------------------------------------------------------


def _notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    data, horizon, reference = record["data"], record["horizon"], record["reference"]
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
        "ran.",
        *_solver_notes(record),
        *_c_notes(record),
        *(f"{name} has no C, no firmware and no golden model: {why}." for name, why in record["no_firmware"].items()),
        *(f"{name} has no C: {why}." for name, why in record.get("no_c", {}).items()),
        *(
            f"{row['model']} in firmware: {row['latency_cycles']:,} simulated cycles from the first pixel in to the "
            f"last one out, at {row['clock_ns']:g} ns, which no routing has confirmed ({row['target']}): estimated. "
            f"Fields that do not depend on each other enter every {row['ii_cycles']:,} cycles, "
            f"{seconds(row['seconds_streamed'])}. {_in_hardware(row, horizon['steps'])}Its integers are the network's, "
            "so its errors are too."
            for row in firmware
        ),
    )


def _in_hardware(row: Row, steps: int) -> str:
    if "step_cycles" not in row:
        return ""
    return (
        f"It rolls out in hardware: {row['run_cycles']:,} cycles for a run of one step and {row['step_cycles']:,} for "
        f"each further one; its time is that of {steps} steps over {steps}. "
    )


def _solver_notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    in_numpy = [row for row in record["rows"] if row["kind"] == SOLVER]
    assembly = ", ".join(f"{seconds(row['setup_seconds'])} at {row['refinement']}" for row in in_numpy)
    solver = (
        "The solver in numpy and scipy is in double precision. Its matrices are assembled once a scene, which the "
        f"times leave out: {assembly} cells a point."
    )
    compiled = next((row for row in record["rows"] if row["kind"] == COMPILED), None)
    if compiled is None:
        return (f"{solver} A compiled solver, or one in firmware, would be faster; neither was timed here.",)
    return (
        f"{solver} The solver in C ({compiled['compiler']}, {compiled['flags']}) is the same scheme in float32 on the "
        "same meshes, its coefficients laid out before: a call is a run from the scene on, whose time is divided by "
        "its frames. A solver in firmware is not built here.",
    )


def _c_notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    rows = [row for row in record["rows"] if row["kind"] == EMITTED]
    if not rows:
        return ()
    alone = {row["model"]: row["one_by_one"] for row in rows if "one_by_one" in row}
    return (
        f"C of a network: what `edgephys emit --to c` writes ({rows[0]['compiler']}, {rows[0]['flags']}), a field a "
        "call, in a loop in C. All frames of the roll-out are Keras' own, number for number.",
        *(
            f"{name}: the entry point for many fields computes them one after another, because of layer '{layer}': it "
            "has no row of its own."
            for name, layer in alone.items()
        ),
    )
