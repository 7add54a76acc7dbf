"""The table of a front: its members, all runs, the uniform models beside them, and the sources of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.applications.application import Score
from edgephys.report.columns import counted, family_name, literature, merit, published_row, score_of
from edgephys.report.pareto_figure import picture, published
from edgephys.report.table import Column, Drawing, Row, Table, percent, written

COSTS = (
    Column("lut", "LUT"),
    Column("lut_estimate", "LUT est."),
    Column("latency_cycles", "cycles"),
    Column("cycles_estimate", "cycles est."),
    Column("nonzero", "not zero"),
    Column("digits", "digits"),
    Column("ebops", "EBOPs"),
    Column("seconds", "s", text=written(".0f")),
)
PLACE = (
    Column("dominated_by", "by", left=True),
    Column("pruned", "stages", text=lambda pruned: "removed" if pruned else "kept"),
)


def _runs(score: Score) -> tuple[Column, ...]:
    """Return the columns of runs."""
    return (
        Column("name", "run", left=True),
        Column(score.key, "validation", "%", percent, error=score.error),
        Column(f"test.{score.key}", "test", "%", percent, error=f"test.{score.error}"),
        *COSTS,
    )


def _uniform(score: Score) -> tuple[Column, ...]:
    """Return the columns of uniform models."""
    return (
        Column("model", "model", left=True),
        Column(score.key, "test", "%", percent, error=score.error),
        Column("lut", "LUT"),
        Column("lut_stage", "LUT stage", left=True),
        Column("lut_estimate", "LUT est."),
        Column("latency_cycles", "cycles"),
    )


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of a sweep's front, what stands beside it, and what it dominates."""
    members, others = (ordered([row for row in record["runs"] if row["front"] is front]) for front in (True, False))
    knob, seeds = record["knob"], ", ".join(map(str, record["seeds"]))
    progress, score = _progress(record), score_of(record["runs"])
    failures = tuple(f"{name}: {why}" for name, why in record["failures"].items())
    return Table(
        title=f"{record['model']}, {record['pipeline']}: the front over {knob['key']} of stage {knob['stage']}, "
        f"seeds {seeds}",
        columns=_runs(score),
        rows=members,
        record=record,
        lead=(f"{progress}.", "The front:"),
        remarks=(f"{progress}; chosen on the validation {counted(record['runs'])}.",),
        sections=(
            _beside(record),
            Table("Dominated", columns=(*_runs(score), *PLACE), rows=others),
            *([Table("Not finished", notes=failures)] if failures else []),
            Table("Where the figures come from", notes=_sources(record)),
        ),
        pictures=(
            Drawing(
                f"{score.name[0].upper()}{score.name[1:]} against LUT and against latency",
                lambda table: picture(record),
            ),
        ),
    )


def _progress(record: Mapping[str, Any]) -> str:
    """Return how much of a sweep is finished."""
    members = [row for row in record["runs"] if row["front"]]
    untested = sum(row["test"] is None for row in members)
    return f"{len(record['runs'])} of {record['asked']} runs are finished, {len(members)} of them are on the front" + (
        f", {untested} of which have not seen the test {counted(record['runs'])}" if untested else ""
    )


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Return runs by rising cost."""
    return sorted(rows, key=lambda row: (row["compared_lut"], row["compared_cycles"], -merit(row)))


def _beside(record: Mapping[str, Any]) -> Table:
    """Declare the uniform models of the same network and the published ones, which are of other jets."""
    others = [
        published_row(facts, f"*published {family_name(family)}, other jets, part and tool ({facts['source']})*")
        for family, facts in published(record).items()
    ]
    missing = () if record["beside"] else ("No uniform models of this network: --beside takes a scaling table.",)
    return Table(
        "Uniform and published models",
        lead=missing,
        columns=_uniform(score_of(record["runs"])),
        rows=record["beside"],
        foot=others,
    )


def _sources(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the front was chosen and where each kind of figure comes from."""
    known, unit, score = literature(record["family"]), counted(record["runs"]), score_of(record["runs"]).name
    unsynthesised = sum(row["lut"] is None for row in record["runs"])
    why = f": {unsynthesised} of {len(record['runs'])} runs are not synthesised" if unsynthesised else ""
    origins: dict[str, str] = {}
    for row in record["runs"]:
        for name, origin in row["provenance"].items():
            if name in ("lut", "latency_cycles", "mismatches"):
                origins.setdefault(origin, name)
    return (
        f"A run is on the front where no other run is at least as good in validation {score}, LUTs and cycles and "
        "better in one of them. All runs are compared by figures of one stage: LUTs "
        f"{record['lut_stage']}{why}; cycles {record['cycles_stage']}.",
        f"Validation %: {score} on the validation {unit}. The front was chosen on them, so the best of many runs "
        f"looks better there than it is. Test %: {score} on the test {unit}, which only the members of the front have "
        "seen. " + ("Errors are binomial." if score == "accuracy" else "Errors are standard errors of the mean."),
        "LUT est., cycles est.: estimated by alkaid before synthesis, at 5 ns.",
        *(f"{name}: {origin}." for origin, name in origins.items()),
        f"Uniform models: {score} on the test {unit}, LUTs of the stated stage, cycles simulated.",
        *([known.caveat] if known is not None and published(record) else []),
    )
