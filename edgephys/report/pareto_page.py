"""A front for readers: its members, all runs, the uniform models beside them, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.jets.published import CAVEAT, family_name
from edgephys.core.files import write_file, write_json
from edgephys.report.pareto_figure import picture, published
from edgephys.report.show import titled

Row = Mapping[str, Any]

HEADINGS = (
    "run", "validation %", "test %", "LUT", "LUT est.", "cycles", "cycles est.", "not zero", "digits", "EBOPs", "s",
)  # fmt: skip


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table, out.name).encode())
    write_file(out.with_name(f"{out.name}.png"), picture(table))


def page(table: Mapping[str, Any], name: str) -> str:
    """Return the page: the front, what it stands beside, what is dominated, and where the figures come from."""
    members = ordered([row for row in table["runs"] if row["front"]])
    others = ordered([row for row in table["runs"] if not row["front"]])
    lines = [
        f"# {title(table)}",
        "",
        f"Made by `{table['command']}` on {table['machine']}. {progress(table)}.",
        "",
        f"![Accuracy against LUT and against latency]({name}.png)",
        "",
        "## The front",
        "",
        *_table(HEADINGS, [cells(row) for row in members]),
        "",
        *_beside(table),
        "## Dominated",
        "",
        *_table((*HEADINGS, "by", "stages"), [_dominated(row) for row in others]),
        "",
        *_failures(table["failures"]),
        "## Where the figures come from",
        "",
        *(f"- {told}" for told in provenance(table)),
    ]
    return "\n".join(lines) + "\n"


def title(table: Mapping[str, Any]) -> str:
    """Say what was swept."""
    knob, seeds = table["knob"], ", ".join(map(str, table["seeds"]))
    return (
        f"{table['model']}, {table['pipeline']}: the front over {knob['key']} of stage {knob['stage']}, seeds {seeds}"
    )


def progress(table: Mapping[str, Any]) -> str:
    """Say how much of a sweep is finished."""
    members = [row for row in table["runs"] if row["front"]]
    told = f"{len(table['runs'])} of {table['asked']} runs are finished, {len(members)} of them are on the front"
    untested = sum(row["test"] is None for row in members)
    return told + (f", {untested} of which have not seen the test jets" if untested else "")


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Return runs from cheap to dear."""
    return sorted(rows, key=lambda row: (row["compared_lut"], row["compared_cycles"], -row["accuracy"]))


def cells(row: Row) -> list[str]:
    """Return a run as text, in the order of HEADINGS."""
    test = row["test"]
    return [
        row["name"],
        _share(row["accuracy"], row["accuracy_error"]),
        "–" if test is None else _share(test["accuracy"], test["accuracy_error"]),
        *(_number(row[name]) for name in ("lut", "lut_estimate", "latency_cycles", "cycles_estimate")),
        *(_number(row[name]) for name in ("nonzero", "digits", "ebops")),
        f"{row['seconds']:.0f}",
    ]


def _dominated(row: Row) -> list[str]:
    return [*cells(row), row["dominated_by"], "removed" if row["pruned"] else "kept"]


def _share(value: float, error: float) -> str:
    return f"{100 * value:.2f} ± {100 * error:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None."]
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _beside(table: Mapping[str, Any]) -> list[str]:
    """Tabulate the uniform models of the same network and the published ones, which are of other jets."""
    rows = [
        [
            row["model"], _share(row["accuracy"], row["accuracy_error"]), _number(row["lut"]), row["lut_stage"],
            _number(row["lut_estimate"]), _number(row["latency_cycles"]),
        ]
        for row in table["beside"]
    ]  # fmt: skip
    rows += [
        [
            f"*published {family_name(family)}, other jets, part and tool ({facts['source']})*",
            f"{100 * facts['accuracy']:.1f}", _number(facts["lut"]), facts["stage"], "–",
            _number(facts["latency_cycles"]),
        ]
        for family, facts in published(table).items()
    ]  # fmt: skip
    headings = ("model", "test %", "LUT", "LUT stage", "LUT est.", "cycles")
    note = (
        [] if table["beside"] else ["No uniform models of this network were given: --beside takes a scaling table.", ""]
    )
    return ["## Beside it", "", *note, *_table(headings, rows), ""]


def _failures(failures: Mapping[str, str]) -> list[str]:
    if not failures:
        return []
    return ["## Not finished", "", *(f"- {name}: {why}" for name, why in failures.items()), ""]


def provenance(table: Mapping[str, Any]) -> list[str]:
    """Tell, a sentence each, how the front was chosen and where each kind of figure comes from."""
    missing = sum(row["lut"] is None for row in table["runs"])
    why = f": {missing} of {len(table['runs'])} runs are not synthesised" if missing else ""
    told = [
        "A run is on the front where no other is at least as good in validation accuracy, LUTs and cycles and better "
        f"in one. All are compared by figures of one stage: LUTs {table['lut_stage']}{why}; cycles "
        f"{table['cycles_stage']}.",
        "Validation %: accuracy on the validation jets, on which the front was chosen, so that the best of many runs "
        "looks better there than it is. Test %: on the test jets, which members of the front alone have seen. Errors "
        "are binomial.",
        "LUT est., cycles est.: estimated by alkaid before synthesis, at 5 ns.",
    ]
    origins: dict[str, str] = {}
    for row in table["runs"]:
        for name, origin in row["provenance"].items():
            if name in ("lut", "latency_cycles", "mismatches"):
                origins.setdefault(origin, name)
    told += [f"{name}: {origin}." for origin, name in origins.items()]
    told.append("Uniform models: accuracy on the test jets, LUTs as their stage says, cycles simulated.")
    return [*told, CAVEAT] if published(table) else told


def shown(table: Mapping[str, Any]) -> Group:
    """Return the front for a terminal."""
    grid = Table(box=box.SIMPLE)
    for heading in HEADINGS:
        grid.add_column(heading, justify="left" if heading == "run" else "right")
    for row in ordered([row for row in table["runs"] if row["front"]]):
        grid.add_row(*cells(row))
    return Group(titled(title(table), grid), f"{progress(table)}; chosen on the validation jets.")
