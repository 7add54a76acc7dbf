"""What a-priori compression costs: wave networks of every format in one table, beside the plain one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from edgephys.applications.waves import task as advance
from edgephys.applications.waves.data.files import Waves
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study import table_beside as waves_beside
from edgephys.applications.waves.study.models import PLAIN, VERSIONS, WaveModel, distinct, step_seconds, wave_models
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.core import machine
from edgephys.core.errors import ModelError
from edgephys.core.reading import fitting, sha256
from edgephys.models.card import Card

Row = dict[str, Any]
Say = Callable[[str], None]

STEPS = (1, 10, 25, 50)
STRAIGHT_ON = "straight on"
FAR, FAR_RUNS, BOUNDED = 1000, 8, 2.0
"""Steps and runs of a roll-out that must stay bounded: to how many times the largest value of its first frames."""


def tabulate(
    folders: Sequence[Path], data: Path, horizon: Horizon, command: str, say: Say, beside: Path | None = None
) -> dict[str, Any]:
    """Return the table: a row a network, their means over seeds, and the error of going on straight.

    The rows of the table ``beside``, measured earlier on the same data, stand in it too.
    Raises: as ``members``, ``waves_beside.read`` and ``joined``; DataError where the file has another grid or its runs
    are too short.
    """
    networks = wave_models(folders)
    of = advance.fitting(data, networks[0].trained.standardisation, networks[0].net.side, networks[0].net.grid)
    for member in networks:
        roll_out.check(of, horizon, member.trained.standardisation)
    table: dict[str, Any] = {
        "command": command,
        "machine": machine.name(),
        "data": describe(data, of),
        "horizon": {"steps": horizon.steps, "starts": list(horizon.starts)},
        "versions": {name: networks[0].trained.card.versions[name] for name in VERSIONS},
    }
    earlier = None if beside is None else waves_beside.read(beside, table)
    rows = _rows(networks, of, horizon, say)
    if earlier is not None:
        rows, table["runs"] = waves_beside.joined(rows, earlier, table)
    nearest = min(networks, key=lambda member: member.net.stride)
    straight_on = _errors(roll_out.growth_straight_on(nearest.trained, of, horizon), horizon)
    return {**table, "rows": rows, "over_seeds": over_seeds(rows), STRAIGHT_ON: straight_on}


def describe(data: Path, of: Waves) -> dict[str, Any]:
    """Return what a table states of its data: the file's name, its hash, runs and frames."""
    digest = sha256(data).hex()
    return {"file": data.name, "sha256": digest, "runs": len(of.frames), "frames": of.frames.shape[1]}


def _rows(networks: Sequence[WaveModel], of: Waves, horizon: Horizon, say: Say) -> list[Row]:
    say(f"training steps of {len(distinct(networks))} networks, in turns")
    steps = step_seconds(distinct(networks))
    rows = []
    for number, member in enumerate(networks, 1):
        say(f"{member.folder}: rolled out, {number} of {len(networks)}")
        with fitting(member.folder, "a card with the figures of a table", ModelError):
            rows.append(_row(member, of, horizon, steps[member.kind]))
    return rows


def _row(member: WaveModel, of: Waves, horizon: Horizon, seconds: float) -> Row:
    net, card = member.net, member.trained.card
    fields = (card.data or {})["fields"]["train"]
    errors = roll_out.growth(member.trained, of, horizon)
    return {
        "model": member.trained.name,
        "format": net.structure,
        "rank": net.rank,
        "stride": net.stride,
        "bits": net.bits,
        "seed": card.seed,
        **{name: getattr(net, name) for name in ("grid", "width", "depth", "kernel_size")},
        "parameters": card.parameters,
        "weight_bytes": math.ceil(card.parameters * (net.bits or 32) / 8),
        "macs": net.macs,
        "epochs": _epochs(card),
        "seconds_per_epoch": round(seconds * math.ceil(fields / card.recipe["batch"]), 3),
        "test_error": card.metrics["relative_l2"],
        "test_error_error": card.metrics["relative_l2_error"],
        **_errors(errors, horizon),
        "stable_proven": net.stable_proven(member.trained.model),
        "error_1000_bounded": _bounded(member, of, horizon),
    }


def _bounded(member: WaveModel, of: Waves, horizon: Horizon) -> bool:
    """Return whether some runs, rolled out far, keep to twice the largest value that they start from."""
    first = roll_out.first_frames(member.trained, of, horizon.starts[0])[:FAR_RUNS]
    return roll_out.stays_within(member.trained.model, first, FAR, BOUNDED)


def _epochs(card: Card) -> int:
    """Return the epochs of a training and of those that it began with, as far as the card knows."""
    return (card.epochs_run or 0) + int((card.start or {}).get("epochs_run", 0))


def _errors(errors: Any, horizon: Horizon) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for step in roll_out.steps_of(horizon, STEPS):
        measured = roll_out.at(errors, step)
        row |= {f"error_{step}": measured.value, f"error_{step}_error": measured.error}
    return row | {"runs": len(errors), "growth": [round(float(value), 6) for value in errors.mean(0)]}


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Return, for each format and width, means and deviations over seeds, and ratios to the plain network's.

    A ratio is to the mean of the plain network of the same bits, width, depth and kernel, or to its best seed: where
    the plain network swings over seeds, a ratio to its mean flatters.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["format"], row["rank"], row.get("stride", 1), *_size(row)), []).append(row)
    timed = waves_beside.most(rows)
    means = [_group(same, timed) for same in groups.values()]
    plain = {_size(row): row for row in means if row["format"] == PLAIN}
    for row in means:
        beside = plain.get(_size(row))
        row["fewer_parameters"] = beside["parameters"] / row["parameters"] if beside else None
        for step in STEPS:
            key = f"error_{step}"
            row[f"{key}_ratio"] = row[key] / beside[key] if beside and key in row else None
            row[f"{key}_best_ratio"] = row[key] / beside[f"{key}_best"] if beside and key in row else None
    return means


def _size(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("bits", "grid", "width", "depth", "kernel_size"))


def _group(same: Sequence[Row], timed: int) -> Row:
    first = same[0]
    keys = ("format", "rank", "bits", "grid", "width", "depth", "kernel_size", "parameters", "weight_bytes", "macs")
    row: Row = {name: first[name] for name in keys} | {"seeds": sorted(of["seed"] for of in same)}
    row["stride"] = first.get("stride", 1)
    times = [of["seconds_per_epoch"] for of in same if of.get("measured_by", 0) == timed]
    row["seconds_per_epoch"] = fmean(times) if times else None
    for key in ("test_error", *(f"error_{step}" for step in STEPS if f"error_{step}" in first)):
        numbers = [of[key] for of in same]
        row |= {key: fmean(numbers), f"{key}_deviation": stdev(numbers) if len(numbers) > 1 else None}
        row[f"{key}_best"] = min(numbers)
    row |= {key: all(of[key] for of in same) for key in ("stable_proven", "error_1000_bounded") if key in first}
    row["growth"] = [round(fmean(at), 6) for at in zip(*(of["growth"] for of in same), strict=True)]
    return row
