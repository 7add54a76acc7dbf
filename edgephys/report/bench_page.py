"""The table of latencies for readers: a page, a figure beside it, a view for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.core.files import write_file, write_json
from edgephys.report.bench_figure import NONE, label, models, number, picture
from edgephys.report.show import titled

Row = Mapping[str, Any]

QUIET = 0.9
"""The share of the core that a target has on a quiet machine, at least."""

HEADINGS = ("target", "batch", "p50 µs", "p90 µs", "p99 µs", "times faster", "inputs/s", "CPU µs", "core %", "differ")


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table, out.name).encode())
    write_file(out.with_name(f"{out.name}.png"), picture(table))


def cells(row: Row) -> list[str]:
    """Return a row as text, in the order of HEADINGS; without a value, why there is none."""
    if row["p50_us"] is None:
        return [label(row["target"]), str(row["batch"]), *[NONE] * 3, str(row["why"]), *[NONE] * 4]
    spread = NONE
    if row["ratio"] is not None:
        spread = f"{number(row['ratio'])} ({number(row['ratio_low'])}–{number(row['ratio_high'])})"
    return [
        label(row["target"]),
        str(row["batch"]),
        *(number(row[name]) for name in ("p50_us", "p90_us", "p99_us")),
        spread,
        f"{row['per_second']:,.0f}",
        number(row["cpu_us"]),
        NONE if row["core_share"] is None else f"{100 * row['core_share']:.0f}",
        f"{row['mismatches']:,}",
    ]


def page(table: Mapping[str, Any], name: str) -> str:
    """Return the page: what was measured on what, a table a model, and where every figure comes from."""
    lines = [
        "# Latency of every target of a model",
        "",
        f"Made by `{table['command']}` on {table['machine']}.",
        "",
        f"![latency at batch 1, and inputs a second at a large batch]({name}.png)",
        "",
        *(f"- {told}" for told in notes(table)),
    ]
    for model, rows in models(table):
        lines += ["", f"## {model}", "", _line(HEADINGS), _line(["---", *["---:"] * (len(HEADINGS) - 1)])]
        lines += [_line(cells(row)) for row in rows]
        lines += ["", *_provenance(rows)]
    return "\n".join(lines) + "\n"


def notes(table: Mapping[str, Any]) -> list[str]:
    """Say on what, how and to what the figures were measured."""
    machine, plan, load = table["processor"], table["plan"], table["load"]
    features = ", ".join(machine["features"]) or "none told"
    pinned = "not pinned: this system cannot" if machine["core"] is None else f"pinned to core {machine['core']}"
    governor = machine["governor"] or "not readable"
    virtual = ", a virtual machine" if machine["virtual"] else ""
    before, after = (" ".join(f"{value:g}" for value in load[when]) for when in ("before", "after"))
    return [
        f"Processor: {machine['processor']} (family, model, stepping {machine['family'] or 'not told'}){virtual}; "
        f"{features}; frequency governor {governor}; {pinned}.",
        f"Load of the machine over 1, 5 and 15 minutes: {before} before, {after} after. CPU µs: the "
        "processor's time of a call, on average; core %: its share of the time that passed in a target's slices: below "
        "100 others had the core meanwhile, and the longer calls, of the large batch, are slower for it."
        + _disturbed(table),
        f"{plan['rounds']} rounds in {plan['seconds']:g} s of slices a model; in each every target is timed once, in a "
        f"random order (seed {plan['seed']}). Percentiles are over all calls of all rounds, slow ones too.",
        f"Times faster: the median latency of {label(table['reference'])} over the target's, in the same round; the "
        "median over rounds, and in brackets from the 5th to the 95th percentile of them. Below 1 is slower.",
        str(table["definition"]),
        "Differ: outputs that are not the golden model's integers, on the project's vectors, at both batches. What "
        "must be exact and is not is not timed; Keras' own exports only have it stated.",
    ]


def _disturbed(table: Mapping[str, Any]) -> str:
    """Say how many rows others disturbed, if any."""
    timed = [row for row in table["rows"] if row["core_share"] is not None]
    count = sum(row["core_share"] < QUIET for row in timed)
    if not count:
        return ""
    return f" Here {count} of {len(timed)} rows had less than {QUIET:.0%}: measure again on a quiet machine."


def _provenance(rows: Sequence[Row]) -> list[str]:
    """Say of every target where its figures come from."""
    found = {}
    for row in rows:
        if row["p50_us"] is None:
            continue
        clock = "" if row["timer_ns"] is None else f"; the clock adds {row['timer_ns']:.0f} ns to a call"
        told = "; ".join(f"{name.replace('_', ' ')} {_told(value)}" for name, value in row["told"].items() if value)
        source = f"{row['stage']}, {row['tool']} {row['version']}"
        found[row["target"]] = f"- {label(row['target'])}: {source}{clock}" + (f"; {told}" if told else "") + "."
    return list(found.values())


def _told(value: Any) -> str:
    return ", ".join(f"{name} {of}" for name, of in value.items()) if isinstance(value, Mapping) else str(value)


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def shown(table: Mapping[str, Any]) -> Group:
    """Return a table a model for a terminal."""
    parts: list[Any] = []
    for model, rows in models(table):
        grid = Table(box=box.SIMPLE)
        for heading in HEADINGS:
            grid.add_column(heading, justify="left" if heading == "target" else "right", overflow="fold")
        for row in rows:
            grid.add_row(*cells(row), style="dim" if row["p50_us"] is None else None)
        parts.append(titled(f"{model}: times faster than {label(table['reference'])}, 5–95 % over rounds", grid))
    return Group(*parts, *(f"· {told}" for told in notes(table)[:2]))
