"""The table of the rival: a row a circuit, means over seeds at equal limits of EBOPs, every training's front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hgq2_front import Epoch, front

from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.core.reading import UNREADABLE, fault, read_json
from edgephys.report.columns import family_name, score_column
from edgephys.report.table import CSV, Column, Table, percent, written

Row = dict[str, Any]

SETTINGS = (
    "model",
    "network",
    "n",
    "features",
    "pipeline",
    "betas",
    "beta_rises",
    "rounding",
    "epochs",
    "batch",
    "learning_rate",
    "cycle",
    "train_jets",
)
SAME = (*SETTINGS, "limit", "seed")
"""Keys that identify a row: a second run of the same settings replaces the first one."""
OF_FRONT = (*(key for key in SAME if key not in ("features", "pipeline", "betas", "limit")), "beta")
"""Keys that identify a training's front."""
AND = "; "
"""Between the commands that made a table."""


# Rows ---------------------------------------------------------------------------------------------


def row_of(
    settings: Mapping[str, Any],
    betas: Sequence[float],
    limit: int,
    epoch: Epoch,
    on_front: int,
    training: Mapping[str, Any],
    result: Mapping[str, Any],
    circuit: Mapping[str, Any] | None,
    test_jets: int,
) -> Row:
    """Return the row of the epoch chosen within a limit of EBOPs; without synthesis the LUTs are alkaid's estimate.

    ``epoch_*`` are the figures that chose it, those at the end of the epoch; the other ones are of the circuit.
    """
    stated = ("beta_rises", "rounding", "epochs", "batch", "learning_rate", "cycle")
    figures = ("accuracy", "validation_accuracy", "ebops", "parameters", "lut_estimate", "delay_estimate_ns")
    counted = circuit or {"lut": result["lut_estimate"], "lut_stage": "estimated", "ff": None, "versions": {}}
    return {
        "model": settings["model"],
        "family": settings["family"],
        "network": settings["network"],
        "n": settings["shape"][0],
        "features": settings["shape"][1],
        "pipeline": pipeline_of(settings["network"]),
        "seed": settings["seed"],
        "betas": list(betas),
        **{name: settings[name] for name in stated},
        "train_jets": settings["jets"],
        "limit": limit,
        "beta": settings["beta"],
        "epoch": epoch.number,
        "epoch_accuracy": epoch.accuracy,
        "epoch_ebops": epoch.ebops,
        "front": on_front,
        **{name: result[name] for name in figures},
        "accuracy_error": (result["accuracy"] * (1 - result["accuracy"]) / test_jets) ** 0.5,
        **{name: value for name, value in counted.items() if name != "versions"},
        "latency_cycles_stage": "counted from the stages of the logic",
        **{name: result[name] for name in ("latency_cycles", "mismatches", "vectors", "widths")},
        "train_seconds": training["train_seconds"],
        "versions": training["versions"] | counted["versions"],
    }


def pipeline_of(network: str) -> str:
    """Return the name of the method in tables."""
    return "hgq_lut" if network == "table_set" else "hgq2"


def front_of(settings: Mapping[str, Any], epochs: Iterable[Epoch]) -> Row:
    """Return the record of a training's front: epoch, validation accuracy and EBOPs of each epoch on it."""
    known = {**settings, "n": settings["shape"][0], "train_jets": settings["jets"]}
    on_it = [[epoch.number, round(epoch.accuracy, 5), epoch.ebops] for epoch in front(epochs)]
    return {**{name: known[name] for name in OF_FRONT}, "front": on_it}


# The record ---------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    """Return the record of an earlier table, without rows that do not state how their epoch was chosen; empty if none.

    Raises: ProjectError for a file that is no such table.
    """
    if not path.is_file():
        return {"rows": [], "fronts": []}
    try:
        record = dict(read_json(path))
        rows = [row for row in record["rows"] if set(SAME) <= set(row)]
        return {**record, "rows": rows, "fronts": list(record.get("fronts", []))}
    except UNREADABLE as error:
        raise ProjectError(
            f"{path}: expected a table in JSON with rows, received {fault(error)}; remove it, or choose another --out"
        ) from error


def joined(record: Mapping[str, Any], rows: Sequence[Row], fronts: Sequence[Row], command: str) -> dict[str, Any]:
    """Return a record with rows and fronts added; those of the same settings are replaced."""

    def with_new(old: Sequence[Row], new: Sequence[Row], keys: Sequence[str]) -> list[Row]:
        replaced = [[row.get(key) for key in keys] for row in new]
        return [row for row in old if [row.get(key) for key in keys] not in replaced] + list(new)

    every = with_new(record["rows"], rows, SAME)
    every.sort(key=lambda row: (row["pipeline"], row["network"], row["n"], row["limit"], row["seed"]))
    commands = dict.fromkeys(filter(None, [*record.get("command", "").split(AND), command]))
    return {
        "command": AND.join(commands),
        "machine": machine.name(),
        "rows": every,
        "over_seeds": over_seeds(every),
        "fronts": with_new(record["fronts"], fronts, OF_FRONT),
    }


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return, for each network and limit of several seeds, means and the sample deviation of the accuracy.

    LUTs and flip-flops are averaged where all of them come from the same stage; None otherwise.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str([row[key] for key in SAME if key != "seed"]), []).append(row)
    means = []
    for same in groups.values():
        if len(same) < 2:
            continue
        alike = len({row["lut_stage"] for row in same}) == 1
        counts = [row["ff"] for row in same if row["ff"] is not None]
        means.append(
            {
                **{key: same[0][key] for key in (*SETTINGS, "family", "limit")},
                "seeds": sorted(row["seed"] for row in same),
                "beta": [row["beta"] for row in same],
                "epoch": [row["epoch"] for row in same],
                "accuracy": fmean(row["accuracy"] for row in same),
                "accuracy_deviation": stdev(row["accuracy"] for row in same),
                "validation_accuracy": fmean(row["validation_accuracy"] for row in same),
                "ebops": round(fmean(row["ebops"] for row in same)),
                "lut": round(fmean(row["lut"] for row in same)) if alike else None,
                "lut_stage": same[0]["lut_stage"] if alike else None,
                "ff": round(fmean(counts)) if alike and len(counts) == len(same) else None,
                "latency_cycles": fmean(row["latency_cycles"] for row in same),
                "mismatches": sum(row["mismatches"] for row in same),
            }
        )
    return means


# The table ----------------------------------------------------------------------------------------


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table: every circuit, then means over seeds."""
    rows, means = record["rows"], record["over_seeds"]
    lead = (
        "The epochs with the best validation accuracy within a limit of EBOPs, among all epochs of all betas of a "
        "seed. Accuracy on the test jets, which no choice has seen; LUT and FF by Yosys, unless marked as estimated "
        "(alkaid); cycles of 5 ns. EBOPs are those of the circuit, whose ranges were traced after the choice."
    )
    return Table(
        title="HGQ2 on our jets",
        caption="HGQ2: accuracy on the test jets, LUT by Yosys unless estimated",
        columns=(
            *named(),
            Column("seed", "seed"),
            score_column(rows, "test"),
            Column("validation_accuracy", "validation", "%", percent),
            *costs(),
            Column("beta", "beta", text=written("g")),
            Column("epoch", "epoch"),
            Column("epochs", "of", where=(CSV,)),
            Column("front", "on the front", where=(CSV,)),
            Column("train_seconds", "s of training", where=(CSV,)),
        ),
        rows=rows,
        record=record,
        lead=(lead,),
        sections=(means_table(means),),
    )


def means_table(means: Sequence[Row]) -> Table:
    """Declare the means over seeds at equal limits."""
    if not means:
        return Table("Over seeds", lead=("No network was trained with several seeds.",))
    columns = (
        *named(),
        Column("seeds", "seeds", text=lambda seeds: ", ".join(map(str, seeds))),
        score_column(means, "accuracy, mean ± deviation,", spread="deviation"),
        *costs(),
        Column("beta", "betas", text=lambda betas: ", ".join(f"{beta:g}" for beta in betas)),
    )
    return Table("Over seeds", columns=columns, rows=means)


def named() -> tuple[Column, ...]:
    """Return the columns that name a network and its limit."""
    return (
        Column("network", "network", text=lambda name: name.replace("_", " "), left=True),
        Column("family", "beside", text=family_name, left=True, where=(CSV,)),
        Column("n", "N"),
        Column("limit", "EBOPs, at most"),
    )


def costs() -> tuple[Column, ...]:
    """Return the columns of what a circuit costs."""

    def lut(row: Mapping[str, Any]) -> str:
        if row["lut"] is None:
            return "–"
        return f"{row['lut']:,}" + ("" if row["lut_stage"] == "synthesised" else " (estimated)")

    return (
        Column("ebops", "EBOPs"),
        Column("lut", "LUT", cell=lut),
        Column("ff", "FF"),
        Column("latency_cycles", "cycles"),
        Column("mismatches", "mismatches"),
    )
