"""The table of latencies: a table a model, how it was measured, and the source of every figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.report.bench_figure import digits, label, picture
from edgephys.report.table import NONE, Column, Drawing, Row, Table, written

QUIET = 0.9
"""The least share of the core's time that a target has on a quiet machine."""


def _times_faster(row: Row) -> str:
    """Return the ratio and its spread; where a target was not timed, the reason."""
    if row["p50_us"] is None:
        return str(row["why"])
    if row["ratio"] is None:
        return NONE
    return f"{digits(row['ratio'])} ({digits(row['ratio_low'])}–{digits(row['ratio_high'])})"


COLUMNS = (
    Column("target", "target", text=label, left=True),
    Column("batch", "batch", text=str),
    Column("p50_us", "p50", "µs", digits),
    Column("p90_us", "p90", "µs", digits),
    Column("p99_us", "p99", "µs", digits),
    Column("ratio", "times faster", cell=_times_faster),
    Column("per_second", "inputs/s", text=written(",.0f")),
    Column("cpu_us", "CPU", "µs", digits),
    Column("core_share", "core", "%", written(".0f", 100)),
    Column("mismatches", "differ", value=lambda row: None if row["p50_us"] is None else row["mismatches"]),
)


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of latencies, one a model."""
    rows, reference = record["rows"], label(record["reference"])
    columns = (Column("model", "model", where=("csv",)), *COLUMNS)
    notes = _notes(record)
    return Table(
        title="Latency of every target of a model",
        caption=f"times faster than {reference}, 5–95 % over rounds",
        columns=columns,
        rows=rows,
        record=record,
        group="model",
        remarks=tuple(f"· {note}" for note in notes[:2]),
        sections=(
            Table("How it was measured", notes=notes),
            Table("Where the figures come from", notes=_sources(rows)),
        ),
        pictures=(Drawing("latency at batch 1, and inputs a second at a large batch", lambda table: picture(record)),),
        style=lambda row: "dim" if row["p50_us"] is None else None,
    )


def _notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the machine, the method and the meaning of the columns."""
    machine, plan, load = record["processor"], record["plan"], record["load"]
    features = ", ".join(machine["features"]) or "no features known"
    pinned = "not pinned: this system cannot" if machine["core"] is None else f"pinned to core {machine['core']}"
    governor = machine["governor"] or "not readable"
    virtual = ", a virtual machine" if machine["virtual"] else ""
    before, after = (" ".join(f"{value:g}" for value in load[when]) for when in ("before", "after"))
    return (
        f"Processor: {machine['processor']} (family, model, stepping {machine['family'] or 'not known'}){virtual}; "
        f"{features}; frequency governor {governor}; {pinned}.",
        f"Load of the machine over 1, 5 and 15 minutes: {before} before, {after} after. CPU µs: the mean processor "
        "time of a call. Core %: the target's share of the time that passed while it was timed. Below 100 other "
        "programs used the core, and the longer calls, those of the large batch, are slower for it."
        + _disturbed(record),
        f"{plan['rounds']} rounds in {plan['seconds']:g} s of timing a model. Each round times every target once, in a "
        f"random order (seed {plan['seed']}). Percentiles are over all calls of all rounds, slow ones too.",
        f"Times faster: the median latency of {label(record['reference'])} over the target's, in the same round; the "
        "median over rounds, and in brackets the 5th to the 95th percentile. Below 1 is slower.",
        str(record["definition"]),
        "Differ: outputs that are not the golden model's integers, on the project's vectors, at both batches. A target "
        "that must be exact and is not is not timed. Keras' own exports need not be exact; their count is stated.",
    )


def _disturbed(record: Mapping[str, Any]) -> str:
    """Return how many rows other programs disturbed, if any."""
    timed = [row for row in record["rows"] if row["core_share"] is not None]
    count = sum(row["core_share"] < QUIET for row in timed)
    if not count:
        return ""
    return f" Here {count} of {len(timed)} rows had less than {QUIET:.0%}: measure again on a quiet machine."


def _sources(rows: Any) -> tuple[str, ...]:
    """Return the source of the figures of every target, once each."""
    sources: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["p50_us"] is not None:
            clock = "" if row["timer_ns"] is None else f"; the clock adds {row['timer_ns']:.0f} ns to a call"
            facts = "".join(
                f"; {name.replace('_', ' ')} {_fact(value)}" for name, value in row["told"].items() if value
            )
            source = f"{row['stage']}, {row['tool']} {row['version']}{clock}{facts}"
            sources[row["model"], row["target"]] = f"{row['model']}, {label(row['target'])}: {source}."
    return tuple(sources.values())


def _fact(value: Any) -> str:
    return ", ".join(f"{name} {of}" for name, of in value.items()) if isinstance(value, Mapping) else str(value)
