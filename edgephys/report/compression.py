"""Tables of compression: what every stage of a pipeline saved, and all pipelines together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.applications.registry import score_in, scored
from edgephys.report.columns import names, score_column, units
from edgephys.report.table import NONE, Column, Row, Table, number, percent, written

RANKS = (
    "The number of directions of its input that a layer distinguishes (arXiv 2410.07687): singular values of its "
    "Jacobian above 0.001, all constituents together, averaged over validation jets."
)
SECONDS = Column("seconds", "s", text=written(".0f"))
COUNTS = (Column("nonzero", "not zero"), Column("digits", "digits"), Column("ebops", "EBOPs"))


# One pipeline -------------------------------------------------------------------------------------


def pipeline_table(record: Mapping[str, Any]) -> Table:
    """Declare the table of one pipeline: a row a stage, with the synthesis where it was measured."""
    rows, metrics = record["rows"], record["metrics"]
    score = scored(metrics)
    measured = ("lut", "LUT"), ("ff", "FF"), ("latency_cycles", "cycles"), ("mismatches", "mismatches")
    columns = (
        Column("stage", "stage", left=True),
        score_column(rows, within="metrics"),
        Column("weights", "weights"),
        *COUNTS,
        Column("lut_estimate", "LUT est."),
        Column("bought_lut", "saved", cell=_saved),
        Column("cycles_estimate", "cycles est."),
        SECONDS,
        *(Column(f"measured.{key}", heading) for key, heading in measured if any("measured" in row for row in rows)),
    )
    return Table(
        title=f"{record['model']}, {record['pipeline']}, seed {record['seed']}",
        columns=columns,
        rows=rows,
        record=record,
        remarks=(
            f"{score.name} on the validation {score.unit}; LUT and cycles by alkaid, before synthesis, at 5 ns.",
            f"On {metrics[score.unit]} test {score.unit}, once: {percent(metrics[score.key])} ± "
            f"{percent(metrics[score.error])} %",
            f"Local rank: {_ranks(rows[-1].get('local_rank', {}))}",
        ),
    )


def _saved(row: Row) -> str:
    if "bought_lut" not in row:
        return NONE
    saved = row["bought_lut"]
    if saved <= 0:
        return "no LUT" if saved == 0 else f"no LUT: {-saved:,} more"
    return f"{saved:,} ({100 * saved / (row['lut_estimate'] + saved):.0f} %)"


# All pipelines ------------------------------------------------------------------------------------


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of all pipelines: final rows, means over seeds, stages, the cost model, local ranks."""
    rows = record["rows"]
    name, unit, cost = names(rows), units(rows), _cost_model(record["cost_model"])
    return Table(
        title="Compression: how many LUTs each stage saves",
        caption=f"compression: {name} on the test {unit}, LUT by Yosys unless estimated",
        record=record,
        columns=_final_columns(rows),
        rows=rows,
        lead=(
            f"Every run. {name[:1].upper()}{name[1:]} on the test {unit}, which each run uses once, with its error. "
            f"Models were selected on the validation {unit}. LUT and FF are from Yosys unless marked as estimated "
            "(alkaid), cycles from the simulation, both at 5 ns.",
        ),
        remarks=(cost,),
        sections=(
            _over_seeds(record["over_seeds"]),
            Table(
                "Stage by stage",
                lead=("The first seed of each pipeline; the JSON file has them all.",),
                columns=_stage_columns(),
                rows=_first_seeds(record["stages"]),
            ),
            Table("The cost model", lead=(cost,)),
            _local_ranks(rows),
        ),
    )


def _named() -> tuple[Column, ...]:
    return (
        Column("family", "network", left=True),
        Column("n", "N"),
        Column("pipeline", "made by", cell=_made_by, left=True),
    )


def _made_by(row: Row) -> str:
    if row["bits"]:
        return f"{row['bits']} bit, uniform"
    beta, epochs, limit = row.get("beta"), row.get("epochs"), row.get("limit")
    how = f"at most {limit:,} EBOPs" if limit else f"beta {beta:g}" if beta else ""
    return str(row["pipeline"]) + (f", {how}, {epochs} epochs" if how else "")


def _lut(row: Row) -> str:
    if row["lut"] is None:
        return NONE
    return number(row["lut"]) + ("" if str(row["lut_stage"]).startswith("synthesised") else " (estimated)")


def _final_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    return (
        *_named(),
        Column("seed", "seed"),
        score_column(rows, "test"),
        Column("validation", "validation", "%", percent, _validation),
        Column("lut", "LUT", cell=_lut),
        Column("lut_times", "8 bit is", text=written(".1f"), cell=_times),
        Column("ff", "FF"),
        Column("latency_cycles", "cycles"),
        Column("latency_share", "of 8 bit's", text=written(".2f")),
        Column("mismatches", "mismatches"),
    )


def _validation(row: Row) -> float | None:
    score = score_in(row)
    return None if score is None else row.get(f"validation_{score.key}")


def _times(row: Row) -> str:
    return NONE if row["lut_times"] is None else f"{row['lut_times']:.1f} times"


def _over_seeds(rows: Sequence[Row]) -> Table:
    """Declare the means over seeds and their deviation."""
    if not rows:
        return Table("Over seeds", lead=("No pipeline was run with several seeds.",))
    columns = (
        *_named(),
        Column("seeds", "seeds", text=lambda seeds: ", ".join(map(str, seeds))),
        score_column(rows, f"{names(rows)}, mean ± deviation,", spread="deviation"),
        Column("difference", "to 8 bit", "%", written("+.2f", 100), lambda row: row[scored(row).difference]),
        Column("kept", "not zero", "%", written(".0f", 100)),
        Column("lut", "LUT, mean", cell=_lut_over),
        Column("lut_times", "8 bit is", cell=_times),
        Column("latency_cycles", "cycles, mean"),
        Column("mismatches", "mismatches"),
    )
    order = sorted(rows, key=lambda row: (row["family"], row["n"], -row["lut"]))
    return Table("Over seeds", columns=columns, rows=order)


def _lut_over(row: Row) -> str:
    """Return the mean LUTs, with their seeds where those are not all."""
    some = "" if row["lut_seeds"] == row["seeds"] else f" (seed {', '.join(map(str, row['lut_seeds']))})"
    return _lut(row) + some


def _stage_columns() -> tuple[Column, ...]:
    return (
        Column("model", "model", left=True),
        Column("pipeline", "pipeline", left=True),
        Column("seed", "seed"),
        Column("stage", "stage", left=True),
        Column(
            "validation", "validation", "%", percent,
            lambda row: row[f"validation_{scored(row, 'validation_').key}"], error="validation_error",
        ),
        *COUNTS,
        Column("adder_bits", "adder bits"),
        Column("lut", "LUT", cell=_lut),
        Column("latency_cycles", "cycles"),
        SECONDS,
    )  # fmt: skip


def _first_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of each model's and pipeline's first seed."""
    seeds: dict[tuple[str, str], int] = {}
    for row in rows:
        run = row["model"], row["pipeline"]
        seeds[run] = min(row["seed"], seeds.get(run, row["seed"]))
    return [row for row in rows if row["seed"] == seeds[row["model"], row["pipeline"]]]


def _cost_model(ratios: Mapping[str, Any]) -> str:
    if ratios["ratio_median"] is None:
        return "No stage was synthesised, so the cost in the training is not compared with LUTs."
    left = ratios["leave_one_out"]
    error = (
        ""
        if left is None
        else f"; predicted from the others, with an error of {100 * left['relative_error_median']:.0f} %"
    )
    return (
        "Adder bits are the weights' signed digits times the width of the data and a carry: most of the cost that the "
        f"training of the stages minimises. Synthesised LUTs are {ratios['ratio_median']:.2f} of them in the median of "
        f"{ratios['rows']} netlists ({ratios['ratio_min']:.2f} to {ratios['ratio_max']:.2f}){error}."
    )


def _local_ranks(rows: Sequence[Row]) -> Table:
    """Declare, by layer, how many directions of its input each distinguishes, before and after."""
    ranked = _first_seeds([row for row in rows if row.get("local_rank", {}).get("end")])
    if not ranked:
        return Table("Local rank", lead=("No pipeline measured it.",))
    columns = (
        *_named(),
        Column("seed", "seed"),
        Column("local_rank.start", "before", text=_ranks, left=True),
        Column("local_rank.end", "after", text=_ranks, left=True),
    )
    return Table("Local rank", lead=(RANKS,), columns=columns, rows=ranked)


def _ranks(ranks: Mapping[str, float]) -> str:
    return ", ".join(f"{layer} {rank:.1f}" for layer, rank in ranks.items()) or NONE
