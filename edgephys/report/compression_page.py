"""Tables of compression for readers: what every stage of a pipeline bought, and all pipelines together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.registry import scored
from edgephys.core.files import write_file, write_json
from edgephys.report.show import titled

Row = Mapping[str, Any]

HEADINGS = (
    "weights", "not zero", "digits", "EBOPs", "LUT est.", "bought", "cycles est.", "s",
)  # fmt: skip
MEASURED = ("LUT", "FF", "cycles", "mismatches")


def headings(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the headings of a table, with those of synthesis where a row has it."""
    score = scored(rows[0]["metrics"])
    return ("stage", f"{score.name} %", *HEADINGS) + (MEASURED if any("measured" in row for row in rows) else ())


def cells(row: Row, measured: bool) -> list[str]:
    """Return a row as text, in the order of the headings."""
    metrics = row["metrics"]
    score = scored(metrics)
    found = [
        row["stage"],
        f"{100 * metrics[score.key]:.2f} ± {100 * metrics[score.error]:.2f}",
        *(f"{row[name]:,}" for name in ("weights", "nonzero", "digits", "ebops", "lut_estimate")),
        _bought(row),
        str(row["cycles_estimate"]),
        f"{row['seconds']:.0f}",
    ]
    if measured:
        of = row.get("measured", {})
        found += [
            "–" if of.get(key) is None else f"{of[key]:,}" for key in ("lut", "ff", "latency_cycles", "mismatches")
        ]
    return found


def _bought(row: Row) -> str:
    if "bought_lut" not in row:
        return "–"
    bought = row["bought_lut"]
    if bought <= 0:
        return "no LUT" if bought == 0 else f"no LUT: {-bought:,} more"
    return f"{bought:,} ({100 * bought / (row['lut_estimate'] + bought):.0f} %)"


ALL = (
    "network", "N", "made by", "seed", "test %", "validation %", "LUT", "8 bit is", "FF", "cycles", "of 8 bit's",
    "mismatches",
)  # fmt: skip


def page(table: Mapping[str, Any]) -> str:
    """Return the page of all pipelines: final rows, stages, the cost model."""
    lines = [
        "# Compression: what each stage buys in LUTs",
        "",
        f"Made by `{table['command']}` on {table['machine']}. {_what(table['rows'])} on the test {_of(table['rows'])}, "
        f"which each run looks at once, with its error; selection was on the validation {_of(table['rows'])}. LUT and "
        "FF by Yosys unless marked as estimated (alkaid), cycles from the simulation, both at 5 ns.",
        "",
        "## Over seeds",
        "",
        *_over_seeds(table["over_seeds"]),
        "",
        "## Every run",
        "",
        _line(ALL),
        _line(["---"] * len(ALL)),
        *(_line(_final_cells(row)) for row in table["rows"]),
        "",
        "## Stage by stage",
        "",
        "The first seed of each pipeline; the JSON beside this page has them all.",
        "",
        _line(STAGES),
        _line(["---"] * len(STAGES)),
        *(_line(_stage_cells(row)) for row in _first_seeds(table["stages"])),
        "",
        "## The cost model",
        "",
        _cost_model(table["cost_model"]),
        "",
        "## Local rank",
        "",
        *_ranks(table["rows"]),
    ]
    return "\n".join(lines) + "\n"


RANKS = (
    "By how many directions of its input each layer still tells jets apart (arXiv 2410.07687): the mean, over "
    "validation jets, of the singular values above 0.001 of its Jacobian, all constituents together."
)
STAGES = (
    "model",
    "pipeline",
    "seed",
    "stage",
    "validation %",
    "not zero",
    "digits",
    "EBOPs",
    "adder bits",
    "LUT",
    "cycles",
    "s",
)


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _what(rows: Sequence[Row]) -> str:
    """Name the figures of rows, as a sentence begins."""
    told = _names(rows)
    return told[:1].upper() + told[1:]


def _names(rows: Sequence[Row]) -> str:
    return " or ".join(dict.fromkeys(scored(row).name for row in rows))


def _of(rows: Sequence[Row]) -> str:
    return " or ".join(dict.fromkeys(scored(row).unit for row in rows))


def _number(value: Any, form: str = ",") -> str:
    return "–" if value is None else f"{value:{form}}"


def _lut(row: Row) -> str:
    return _number(row["lut"]) + ("" if str(row["lut_stage"]).startswith("synthesised") else " (estimated)")


def _final_cells(row: Row) -> list[str]:
    score = scored(row)
    share, validation = row[score.key], row.get(f"validation_{score.key}")
    return [
        row["family"],
        str(row["n"]),
        _made_by(row),
        str(row["seed"]),
        f"{100 * share:.2f} ± {100 * row[score.error]:.2f}",
        "–" if validation is None else f"{100 * validation:.2f}",
        _lut(row),
        "–" if row["lut_times"] is None else f"{row['lut_times']:.1f} times",
        _number(row["ff"]),
        _number(row["latency_cycles"]),
        "–" if row["latency_share"] is None else f"{row['latency_share']:.2f}",
        _number(row["mismatches"]),
    ]


def _made_by(row: Row) -> str:
    if row["bits"]:
        return f"{row['bits']} bit, uniform"
    beta, epochs = row.get("beta"), row.get("epochs")
    return str(row["pipeline"]) + (f", beta {beta:g}, {epochs} epochs" if beta else "")


def _over_seeds(rows: Sequence[Row]) -> list[str]:
    """Tabulate the mean over seeds and how far they lie apart."""
    if not rows:
        return ["No pipeline was run with several seeds."]
    cells = [
        [
            row["family"], str(row["n"]), _made_by(row), ", ".join(map(str, row["seeds"])),
            f"{100 * row[scored(row).key]:.2f} ± {100 * row[scored(row).deviation]:.2f}",
            "–" if row[scored(row).difference] is None else f"{100 * row[scored(row).difference]:+.2f}",
            "–" if row["kept"] is None else f"{100 * row['kept']:.0f} %", _lut_over(row),
            "–" if row["lut_times"] is None else f"{row['lut_times']:.1f} times", _number(row["latency_cycles"]),
            _number(row["mismatches"]),
        ]
        for row in sorted(rows, key=lambda row: (row["family"], row["n"], -row["lut"]))
    ]  # fmt: skip
    headings = (
        "network", "N", "made by", "seeds", f"{_names(rows)} %, mean ± deviation", "to 8 bit", "not zero",
        "LUT, mean", "8 bit is", "cycles, mean", "mismatches",
    )  # fmt: skip
    return [_line(headings), _line(["---"] * len(headings)), *map(_line, cells)]


def _lut_over(row: Row) -> str:
    """Return the mean LUTs, with the seeds that they are of where those are not all."""
    some = "" if row["lut_seeds"] == row["seeds"] else f" (seed {', '.join(map(str, row['lut_seeds']))})"
    return _lut(row) + some


def _stage_cells(row: Row) -> list[str]:
    score = scored(row, "validation_")
    return [
        *(str(row[name]) for name in ("model", "pipeline", "seed", "stage")),
        f"{100 * row[f'validation_{score.key}']:.2f} ± {100 * row['validation_error']:.2f}",
        *(_number(row[name]) for name in ("nonzero", "digits", "ebops", "adder_bits")),
        _lut(row),
        _number(row["latency_cycles"]),
        f"{row['seconds']:.0f}",
    ]


def _first_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of each model's and pipeline's first seed."""
    seeds: dict[tuple[str, str], int] = {}
    for row in rows:
        of = row["model"], row["pipeline"]
        seeds[of] = min(row["seed"], seeds.get(of, row["seed"]))
    return [row for row in rows if row["seed"] == seeds[row["model"], row["pipeline"]]]


def _cost_model(found: Mapping[str, Any]) -> str:
    if found["ratio_median"] is None:
        return "No stage was synthesised, so the cost that stages train under is not compared with LUTs."
    told = (
        f"Adder bits are the weights' signed digits times the width of the data and a carry, most of the price that "
        f"stages train under. Synthesised LUTs are "
        f"{found['ratio_median']:.2f} of them in the median of {found['rows']} netlists "
        f"({found['ratio_min']:.2f} to {found['ratio_max']:.2f})"
    )
    left = found["leave_one_out"]
    error = (
        "" if left is None else f"; each from the others, with an error of {100 * left['relative_error_median']:.0f} %"
    )
    return f"{told}{error}."


def _ranks(rows: Sequence[Row]) -> list[str]:
    """Tabulate, by layer, how many directions of the input each still tells apart, before and after."""
    found = _first_seeds([row for row in rows if row.get("local_rank", {}).get("end")])
    if not found:
        return ["No pipeline's table has it."]
    headings = ("network", "N", "made by", "seed", "before", "after")
    cells = [
        [row["family"], str(row["n"]), _made_by(row), str(row["seed"]), *map(_told_ranks, row["local_rank"].values())]
        for row in found
    ]
    return [RANKS, "", _line(headings), _line(["---"] * len(headings)), *map(_line, cells)]


def _told_ranks(ranks: Mapping[str, float]) -> str:
    return ", ".join(f"{layer} {rank:.1f}" for layer, rank in ranks.items()) or "–"


def all_shown(table: Mapping[str, Any]) -> Group:
    """Return all pipelines' final rows for a terminal."""
    grid = Table(box=box.SIMPLE)
    for heading in ALL:
        grid.add_column(heading, justify="left" if heading in ("network", "made by") else "right")
    for row in table["rows"]:
        grid.add_row(*_final_cells(row))
    return Group(
        titled(
            f"compression: {_names(table['rows'])} on the test {_of(table['rows'])}, LUT by Yosys unless estimated",
            grid,
        ),
        _cost_model(table["cost_model"]),
    )


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json and OUT.md, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table).encode())


def shown(table: Mapping[str, Any]) -> Group:
    """Return a pipeline's table for a terminal."""
    rows = table["rows"]
    grid = Table(box=box.SIMPLE)
    for heading in headings(rows):
        grid.add_column(heading, justify="left" if heading == "stage" else "right")
    for row in rows:
        grid.add_row(*cells(row, any("measured" in of for of in rows)))
    metrics = table["metrics"]
    score = scored(metrics)
    share, error = 100 * metrics[score.key], 100 * metrics[score.error]
    told = (
        f"{score.name} on the validation {score.unit}; LUT and cycles by alkaid, before synthesis, at 5 ns.\n"
        f"On {metrics[score.unit]} test {score.unit}, once: {share:.2f} ± {error:.2f} %\n"
        f"Local rank: {_told_ranks(rows[-1].get('local_rank', {}))}"
    )
    return Group(titled(f"{table['model']}, {table['pipeline']}, seed {table['seed']}", grid), told)
