"""The table of wave networks for readers: a page, its figures, a view for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.waves.study.members import PLAIN
from edgephys.applications.waves.study.table import STEPS, STRAIGHT_ON, Shown
from edgephys.applications.waves.study.table_beside import most
from edgephys.applications.waves.study.table_figure import fields, film, picture
from edgephys.core.files import write_file, write_json
from edgephys.report.show import titled

Row = Mapping[str, Any]

AS_GOOD = 1.1
"""A compressed network is as good where its error is at most so many times the plain one's."""

HEADINGS = (
    "format", "bits", "seeds", "parameters", "fewer", "weight bytes", "MACs a frame", "s an epoch",
    *(f"{step} step{'s' if step > 1 else ''} %" for step in STEPS),
)  # fmt: skip


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table, out.name).encode())
    write_file(out.with_name(f"{out.name}.png"), picture(table))


def write_pictures(of: Shown, out: Path) -> None:
    """Write OUT_fields.png and OUT.gif: truth, prediction and difference."""
    steps = [step for step in STEPS if step <= len(of.truth)]
    told = f"{of.name}, rolled out"
    write_file(out.with_name(f"{out.name}_fields.png"), fields(of.truth, of.found, steps, told))
    write_file(out.with_name(f"{out.name}.gif"), film(of.truth, of.found))


def label(row: Row) -> str:
    """Name a network's format, with its rank where that is not the width."""
    return str(row["format"]) + (f", rank {row['rank']}" if row["rank"] else "")


def cells(row: Row) -> list[str]:
    """Return a row over seeds as text, in the order of HEADINGS."""
    fewer = row["fewer_parameters"]
    return [
        label(row),
        str(row["bits"] or "float"),
        " ".join(map(str, row["seeds"])),
        f"{row['parameters']:,}",
        "–" if fewer is None or row["format"] == PLAIN else f"{fewer:.1f} times",
        f"{row['weight_bytes']:,}",
        f"{row['macs']:,}",
        "–" if row["seconds_per_epoch"] is None else f"{row['seconds_per_epoch']:.1f}",
        *(_error(row, f"error_{step}") for step in STEPS),
    ]


def _error(row: Row, key: str) -> str:
    if key not in row:
        return "–"
    spread, ratio = row.get(f"{key}_deviation"), row.get(f"{key}_ratio")
    told = _percent(row[key]) + ("" if spread is None else f" ± {_percent(spread)}")
    return told if ratio is None or row["format"] == PLAIN else f"{told} ({ratio:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.1 else f"{100 * share:.3g}"


def page(table: Mapping[str, Any], name: str) -> str:
    """Return the page: the networks over seeds, what compression costs in words, every run, where figures come from."""
    rows = _sorted(table["over_seeds"])
    of, far = table["data"], table["horizon"]
    begins = " and ".join(map(str, far["starts"]))
    return "\n".join(
        [
            "# Waves: what convolutions cost that are compressed before training",
            "",
            *_made_by(table),
            "",
            f"![growth of the error, and error against parameters]({name}.png)",
            "",
            f"Truth, prediction and difference of the network and run that it names; the same [as a film]({name}.gif).",
            "",
            f"![a wave rolled out: truth, network, difference]({name}_fields.png)",
            "",
            f"Relative L2 error of a frame, mean over {of['runs']} runs of `{of['file']}` that no network has seen, "
            f"each rolled out {far['steps']} frames from frames {begins}; ± the deviation over seeds; in brackets the "
            "ratio to the plain network of the same bits, width, depth and kernel. Networks are fed with their own "
            "frames, in the format of their input.",
            "",
            _line(HEADINGS),
            _line(["---", *["---:"] * (len(HEADINGS) - 1)]),
            *(_line(cells(row)) for row in rows),
            _line(["*going on straight*", *["–"] * 7, *_straight(table[STRAIGHT_ON])]),
            "",
            *(f"- {told}" for told in verdicts(rows)),
            "",
            "## Every network",
            "",
            _line(EVERY),
            _line(["---", *["---:"] * (len(EVERY) - 1)]),
            *(_line(_every(row)) for row in table["rows"]),
            "",
            *_notes(),
            "",
        ]
    )


def _made_by(table: Mapping[str, Any]) -> list[str]:
    """Say which command made the table; where rows of earlier ones stand in it, which run measured how many."""
    lines = [f"Made by `{table['command']}` on {_on(table)}."]
    if "runs" in table:
        timed = most(table["rows"])
        counts = Counter(row["measured_by"] for row in table["rows"])
        lines += ["", f"Networks were measured in {len(table['runs'])} runs, on the same bytes of data:", ""]
        for number, run in enumerate(table["runs"]):
            times = "; the seconds an epoch are of this run alone" if number == timed else ""
            command = "this one" if number == len(table["runs"]) - 1 else f"`{run['command']}`"
            lines.append(f"- {counts[number]} in {command}, on {_on(run)}{times}.")
    return lines


def _on(run: Mapping[str, Any]) -> str:
    versions = run["versions"]
    return f"{run['machine']}; edgephys {versions['edgephys']}, Keras {versions['keras']}"


def _straight(errors: Row) -> list[str]:
    return [_percent(errors[f"error_{step}"]) if f"error_{step}" in errors else "–" for step in STEPS]


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Say of every compressed format where it is as good as the plain network, and where it is not."""
    found = []
    for row in rows:
        ratios = {step: row.get(f"error_{step}_ratio") for step in STEPS}
        if row["format"] == PLAIN or ratios[1] is None:
            continue
        known = {step: ratio for step, ratio in ratios.items() if ratio is not None}
        good = [str(step) for step, ratio in known.items() if ratio <= AS_GOOD]
        worse = [f"{step} ({ratio:.2f})" for step, ratio in known.items() if ratio > AS_GOOD]
        named = f"**{label(row)}**, {row['bits'] or 'float'} bits, {row['fewer_parameters']:.1f} times fewer parameters"
        told = [f"within 10 % of the plain network after {', '.join(good)}"] if good else []
        told += [f"worse after {', '.join(worse)}"] if worse else []
        best = f"Its error of the next frame is {row['error_1_best_ratio']:.2f} of the plain network's best seed's"
        found.append(f"{named}: {'; '.join(told)} steps. {best}.")
    return found


EVERY = ("network", "seed", "epochs", "own test fields %", *(f"{step} %" for step in STEPS))


def _every(row: Row) -> list[str]:
    own = f"{_percent(row['test_error'])} ± {_percent(row['test_error_error'])}"
    errors = [
        f"{_percent(row[f'error_{step}'])} ± {_percent(row[f'error_{step}_error'])}" if f"error_{step}" in row else "–"
        for step in STEPS
    ]
    return [f"{label(row)}, {row['bits'] or 'float'} bits", str(row["seed"]), str(row["epochs"]), own, *errors]


def _notes() -> list[str]:
    return [
        "- Errors of a network: mean over runs and their standard error; a frame fainter than a tenth of its run's "
        "root mean square is weighed as that.",
        "- Epochs: of the training and of the one that it began with. Seconds an epoch: the median of training steps, "
        "one frame ahead, of networks that take turns in one process, times the steps of an epoch.",
        "- Weight bytes: parameters, biases too, in the bits of a weight. MACs a frame: multiplications of the "
        "convolutions' parts at every pixel, weights that are 0 too.",
        "- Going on straight: u + (u - former u), what the skip of the networks gives by itself.",
    ]


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row["bits"] or 32), row["format"] != PLAIN, -row["parameters"]))


def shown(table: Mapping[str, Any]) -> Group:
    """Return the networks over seeds for a terminal."""
    grid = Table(box=box.SIMPLE)
    wanted = ("format", "bits", "seeds", "parameters", "fewer", *HEADINGS[-len(STEPS) :])
    for heading in wanted:
        grid.add_column(heading, justify="left" if heading == "format" else "right")
    for row in _sorted(table["over_seeds"]):
        told = dict(zip(HEADINGS, cells(row), strict=True))
        grid.add_row(*(told[heading] for heading in wanted))
    title = f"relative L2 error, rolled out on {table['data']['runs']} runs; in brackets the ratio to the plain network"
    return Group(titled(title, grid), *verdicts(_sorted(table["over_seeds"])))
