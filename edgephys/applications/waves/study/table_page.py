"""The table of wave networks: means over seeds, every network, what the ratios say, and the pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edgephys.applications.waves.study.models import PLAIN
from edgephys.applications.waves.study.shown_run import ShownRun
from edgephys.applications.waves.study.table import STEPS, STRAIGHT_ON
from edgephys.applications.waves.study.table_beside import most
from edgephys.applications.waves.study.table_figure import fields, film, picture
from edgephys.report.render import machine_of
from edgephys.report.table import CSV, NONE, PAGE, Column, Drawing, Row, Table, written

AS_GOOD = 1.1
"""A compressed network is as good where its error is at most so many times the plain one's."""
NOTES = (
    "Errors of a network: the mean over runs and its standard error. A frame fainter than a tenth of its run's root "
    "mean square is compared with that tenth.",
    "Epochs: of the training and of the training that it started from. Seconds an epoch: the median time of a "
    "training step, one frame ahead, times the steps of an epoch; the networks are timed in turns in one process.",
    "Weight bytes: all parameters, biases too, in the bits of a weight. MACs a frame: multiplications of the "
    "convolutions at every pixel, weights of 0 too.",
    "1000 steps bounded: no value of 8 runs is over twice the largest of the first frames. Proven stable: the bound of "
    "the operator, computed from the integers that ship, is below the limit of stability, for every field and speed.",
    "Linear extrapolation: u + (u - former u), the result of the networks' skip connection alone.",
)


def table(record: Mapping[str, Any], shown: ShownRun | None = None) -> Table:
    """Declare the table of wave networks; pictures of a run are drawn where ``shown`` holds one."""
    data, horizon = record["data"], record["horizon"]
    rows = _sorted(record["over_seeds"])
    verdict = verdicts(rows)
    starts = " and ".join(map(str, horizon["starts"]))
    return Table(
        title="Waves: networks compressed before training",
        caption=f"relative L2 error, rolled out on {data['runs']} runs; in brackets the ratio to the plain network",
        record=record,
        columns=_columns(),
        rows=rows,
        lead=(
            *_runs(record),
            f"Relative L2 error of a frame, the mean over {data['runs']} runs of `{data['file']}` that no network has "
            f"seen. Each run is rolled out {horizon['steps']} frames from frames {starts}: the networks read their own "
            "frames, in the format of their input. ± is the deviation over seeds; in brackets stands the ratio to the "
            "plain network of the same bits, width, depth and kernel.",
        ),
        notes=verdict,
        remarks=verdict,
        sections=(Table("Every network", columns=_every_column(), rows=record["rows"], notes=NOTES),),
        foot=({"format": "*linear extrapolation*", **record[STRAIGHT_ON]},),
        pictures=(
            Drawing("growth of the error with the steps, and error against parameters", lambda table: picture(record)),
            *_run_pictures(shown),
        ),
    )


def _run_pictures(shown: ShownRun | None) -> tuple[Drawing, Drawing]:
    """Return the pictures of a run; without one the page shows those that were drawn earlier."""
    return (
        Drawing(
            "a wave rolled out: truth, solver, networks",
            None if shown is None else partial(_draw_fields, shown),
            "_fields.png",
        ),
        Drawing("the same wave as a film", None if shown is None else partial(_draw_film, shown), ".gif"),
    )


def _draw_fields(shown: ShownRun, table: Table) -> bytes:
    return fields(shown, [step for step in STEPS if step <= len(shown.truth)])


def _draw_film(shown: ShownRun, table: Table) -> bytes:
    return film(shown)


def label(row: Row) -> str:
    """Name a network's format, with its rank where that is not the width, and the frames that it advances at once."""
    stride = row.get("stride") or 1
    return (
        str(row["format"])
        + (f", rank {row['rank']}" if row["rank"] else "")
        + (f", {stride} frames at once" if stride > 1 else "")
    )


def _columns() -> tuple[Column, ...]:
    page = (PAGE, CSV)
    return (
        Column("format", "format", value=label, left=True),
        Column("bits", "bits", value=lambda row: row["bits"] or "float"),
        Column("seeds", "seeds"),
        Column("parameters", "parameters"),
        Column("fewer_parameters", "fewer", cell=_fewer),
        Column("weight_bytes", "weight bytes", where=page),
        Column("macs", "MACs a frame", where=page),
        Column("seconds_per_epoch", "epoch", "s", written(".1f"), where=page),
        *(
            Column(f"error_{step}", steps_name(step), "%", _percent, cell=_error(step), error=f"error_{step}_deviation")
            for step in STEPS
        ),
        Column("error_1000_bounded", "1000 steps bounded", value=_yes("error_1000_bounded")),
        Column("stable_proven", "proven stable", value=_yes("stable_proven")),
    )


def _yes(key: str) -> Any:
    words = {True: "yes", False: "no"}
    return lambda row: words.get(row.get(key))


def steps_name(step: int) -> str:
    """Return a number of steps in words."""
    return f"{step} step{'s' if step > 1 else ''}"


def _fewer(row: Row) -> str:
    fewer = row["fewer_parameters"]
    return NONE if fewer is None or row["format"] == PLAIN else f"{fewer:.1f} times"


def _error(step: int) -> Any:
    """Return what writes the error after some steps, its deviation and its ratio to the plain network."""
    plain = Column(f"error_{step}", "", text=_percent, error=f"error_{step}_deviation")

    def cell(row: Row) -> str:
        ratio = row.get(f"error_{step}_ratio")
        return plain.show(row) + ("" if ratio is None or row["format"] == PLAIN else f" ({ratio:.2f})")

    return cell


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.1 else f"{100 * share:.3g}"


def _runs(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which commands measured how many of the rows, where some were measured earlier."""
    if "runs" not in record:
        return ()
    timed = most(record["rows"])
    counts = Counter(row["measured_by"] for row in record["rows"])
    lines = []
    for place, run in enumerate(record["runs"]):
        times = "; the seconds an epoch are of this run alone" if place == timed else ""
        command = "this one" if place == len(record["runs"]) - 1 else f"`{run['command']}`"
        lines.append(f"- {counts[place]} in {command}, on {machine_of(run)}{times}.")
    return f"Networks were measured in {len(lines)} runs, on the same bytes of data:", "\n".join(lines)


def verdicts(rows: Sequence[Row]) -> tuple[str, ...]:
    """Say of every compressed format where it is as good as the plain network, and where it is not."""
    sentences = []
    for row in rows:
        ratios = {step: row.get(f"error_{step}_ratio") for step in STEPS}
        if row["format"] == PLAIN or ratios[1] is None:
            continue
        known = {step: ratio for step, ratio in ratios.items() if ratio is not None}
        good = [str(step) for step, ratio in known.items() if ratio <= AS_GOOD]
        worse = [f"{step} ({ratio:.2f})" for step, ratio in known.items() if ratio > AS_GOOD]
        parts = [f"within 10 % of the plain network after {', '.join(good)}"] if good else []
        parts += [f"worse after {', '.join(worse)}"] if worse else []
        sentences.append(
            f"**{label(row)}**, {row['bits'] or 'float'} bits, {row['fewer_parameters']:.1f} times fewer parameters: "
            f"{'; '.join(parts)} steps. Its error of the next frame is {row['error_1_best_ratio']:.2f} times that of "
            "the plain network's best seed."
        )
    return tuple(sentences)


def _every_column() -> tuple[Column, ...]:
    return (
        Column("model", "network", value=lambda row: f"{label(row)}, {row['bits'] or 'float'} bits", left=True),
        Column("seed", "seed"),
        Column("epochs", "epochs"),
        Column("test_error", "own test fields", "%", _percent, error="test_error_error"),
        *(Column(f"error_{step}", f"{step}", "%", _percent, error=f"error_{step}_error") for step in STEPS),
    )


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row["bits"] or 32), row["format"] != PLAIN, -row["parameters"]))
