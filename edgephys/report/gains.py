"""Put finished pipelines into one table, with uniform models of the same networks and the results of other methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from edgephys.applications.registry import score_in, scored
from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.core.reading import UNREADABLE, fault, read_json
from edgephys.report.estimator import compared

Row = dict[str, Any]

TABLE = "compression.json"
UNIFORM = "uniform"
RIVAL = ("epochs", "limit", "network")
"""Keys of another method's rows that tell its trainings apart, beside its beta."""


def tabulate(runs: Sequence[Path], beside: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the table of finished pipelines: one row each, their stages, and the cost model's error.

    Each of ``runs`` is the folder of one, or of many. ``beside`` are tables in JSON with rows of other models; those
    of networks that no pipeline had are left out.
    Raises: ProjectError for a run that is not finished or a table that cannot be read.
    """
    tables = [_finished(run) for folder in runs for run in _within(folder)]
    networks = {_network(table) for table in tables}
    others = [_other(row) for path in beside for row in read_table(path)["rows"] if _network(row) in networks]
    rows = [_row(table) for table in tables] + others
    eight = {_network(row): row for row in others if row["pipeline"] == UNIFORM and row["bits"] == 8}
    for row in rows:
        row |= _against(row, eight.get(_network(row)))
    return {
        "command": command,
        "machine": machine.name(),
        "rows": sorted(rows, key=lambda row: (row["family"], row["n"], row["pipeline"] != UNIFORM, -(row["lut"] or 0))),
        "over_seeds": over_seeds(rows),
        "stages": [_stage(table, row) for table in tables for row in table["rows"]],
        "cost_model": compared(_both(tables)),
    }


def read_table(path: Path) -> dict[str, Any]:
    """Return the record of a table; raise ProjectError where a file is none."""
    try:
        table = read_json(path)
        if not isinstance(table["rows"], list):
            raise ValueError("rows that are no list")
    except UNREADABLE as error:
        what = fault(error)
        raise ProjectError(
            f"{path}: expected a table in JSON with rows, found {what}; make it again: `edgephys compress` "
            "writes it for a run, `edgephys scaling` for --beside"
        ) from error
    return dict(table)


def _within(folder: Path) -> list[Path]:
    """Return the runs that a folder holds, by name; the folder itself where it is one."""
    return sorted(path.parent for path in folder.glob(f"*/{TABLE}")) or [folder]


def _finished(run: Path) -> dict[str, Any]:
    table = read_table(run / TABLE)
    if "metrics" not in table:
        raise ProjectError(f"{run}: its pipeline is not finished; start the same `edgephys compress` again")
    return table


def _network(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("family"), row.get("n"), row.get("features", 3)


def _measured(row: Mapping[str, Any]) -> Row:
    """Return a stage's figures: synthesised and simulated where they were measured, else the labelled estimates."""
    measured = row.get("measured", {})
    return {
        "lut": measured.get("lut", row["lut_estimate"]),
        "lut_stage": measured.get("lut_stage", "estimated"),
        "ff": measured.get("ff"),
        "latency_cycles": measured.get("latency_cycles", row["cycles_estimate"]),
        "latency_stage": measured.get("latency_cycles_stage", "estimated"),
        "mismatches": measured.get("mismatches"),
        "vectors": measured.get("vectors"),
    }


def _row(table: Mapping[str, Any]) -> Row:
    last, metrics = table["rows"][-1], table["metrics"]
    counts = {name: last[name] for name in ("weights", "nonzero", "digits", "ebops", "adder_bits")}
    named = {name: table[name] for name in ("model", "family", "n", "features", "pipeline", "seed")}
    score = scored(metrics)
    return {
        **named,
        "bits": None,
        score.key: metrics[score.key],
        score.error: metrics[score.error],
        f"validation_{score.key}": last["metrics"][score.key],
        "auc": metrics.get("auc"),
        **counts,
        **_measured(last),
        "local_rank": {"start": table["rows"][0].get("local_rank", {}), "end": last.get("local_rank", {})},
        "seconds": round(sum(row["seconds"] for row in table["rows"])),
    }


def _other(row: Mapping[str, Any]) -> Row:
    """Return a row of another table in the same keys; a model of the zoo is uniform. An import may have no score."""
    score = score_in(row)
    keys = ("model", "family", "n", "bits", "lut", "lut_stage", "ff", "latency_cycles")
    more = ("mismatches", "vectors", "ebops", "auc", "beta", "epochs", "limit", "network")
    scores = () if score is None else (score.key, score.error, f"validation_{score.key}")
    facts = {key: row.get(key) for key in (*keys, *more, *scores)}
    facts |= {"features": row.get("features", 3), "pipeline": row.get("pipeline", UNIFORM), "seed": row.get("seed", 1)}
    return facts | {"latency_stage": row.get("latency_cycles_stage", row.get("latency_stage"))}


def _against(row: Mapping[str, Any], uniform: Mapping[str, Any] | None) -> Row:
    """Compare with the uniform 8-bit model of the same network, where both figures come from the same stage."""
    facts: Row = {"lut_times": None, "latency_share": None}
    if uniform is not None:
        alike = row["lut_stage"] == uniform["lut_stage"]
        facts = {
            "lut_times": _ratio(uniform["lut"], row["lut"]) if alike else None,
            "latency_share": _ratio(row["latency_cycles"], uniform["latency_cycles"]),
        }
    score = score_in(row)
    if score is None:
        return facts
    theirs = None if uniform is None else uniform.get(score.key)
    return facts | {score.difference: None if theirs is None else row[score.key] - theirs}


def _ratio(above: float | None, below: float | None) -> float | None:
    """Return a ratio of two figures; None where one is not known or 0."""
    return above / below if above and below else None


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return, for each network and pipeline of several seeds, means and the sample deviation of accuracy or error.

    LUTs are averaged over the seeds that were synthesised, ``lut_seeds``; where none was, over all estimates. Rows
    without a score are left out.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in (row for row in rows if score_in(row) is not None):
        beta = None if row.get("limit") else row.get("beta")  # within a limit each seed has its best beta
        key = (*_network(row), row["pipeline"], row["bits"], beta, *(row.get(name) for name in RIVAL))
        groups.setdefault(key, []).append(row)
    means = []
    for same in groups.values():
        if len({row["seed"] for row in same}) < 2:
            continue
        synthesised = [row for row in same if str(row["lut_stage"]).startswith("synthesised")]
        sized = synthesised or same
        named = {name: same[0][name] for name in ("family", "n", "features", "pipeline", "bits")}
        named |= {name: same[0].get(name) for name in RIVAL} if same[0].get("limit") else {}
        score = scored(same[0])
        shares = [row[score.key] for row in same]
        means.append(
            {
                **named,
                "seeds": sorted(row["seed"] for row in same),
                score.key: fmean(shares),
                score.deviation: stdev(shares),
                score.difference: _mean(row.get(score.difference) for row in same),
                "kept": _mean(row["nonzero"] / row["weights"] if row.get("weights") else None for row in same),
                "lut": round(fmean(row["lut"] for row in sized)),
                "lut_stage": sized[0]["lut_stage"],
                "lut_seeds": sorted(row["seed"] for row in sized),
                "lut_times": _mean(row.get("lut_times") for row in sized),
                "mismatches": _sum(row.get("mismatches") for row in same),
                "latency_cycles": round(fmean(row["latency_cycles"] for row in same), 1),
            }
        )
    return means


def _known(numbers: Iterable[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = _known(numbers)
    return fmean(known) if known else None


def _sum(numbers: Iterable[float | None]) -> int | None:
    known = _known(numbers)
    return int(sum(known)) if known else None


def _stage(table: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    named = {name: table[name] for name in ("model", "pipeline", "seed")}
    counts = ("stage", "nonzero", "digits", "ebops", "adder_bits", "seconds")
    score = scored(row["metrics"])
    return {
        **named,
        **{name: row[name] for name in counts},
        f"validation_{score.key}": row["metrics"][score.key],
        "validation_error": row["metrics"][score.error],
        **_measured(row),
    }


def _both(tables: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return adder bits and synthesised LUTs, by the digest of what has both."""
    return {
        f"{table['model']} {row['stage']} {row['digest'][:8]}": (row["adder_bits"], row["measured"]["lut"])
        for table in tables
        for row in table["rows"]
        if str(row.get("measured", {}).get("lut_stage", "")).startswith("synthesised")
    }
