"""Sweep a pipeline's knob over seeds and keep the models that no other one beats; a second start goes on.

Every value and seed is one run of the pipeline in a folder of its own, OUT/<value>_seed<seed>. There is no book of
progress beside them: a run is finished when its table says so, for the same model, data, stages and seed. Stages before
the knob's are the same for all its values: one run of a seed trains them, the others take them over. The front is
chosen on the validation jets; its members alone see the test jets, once the front stands.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications.registry import of_card, scored
from edgephys.compress.local_executor import Carry, Work
from edgephys.compress.pareto_front import SYNTHESISED, Front, Run, front
from edgephys.compress.pipeline_file import Pipeline
from edgephys.compress.run_pipeline import LOCKS, TABLE, Order, Say, finished, run
from edgephys.compress.stage import Progress
from edgephys.compress.uniform import uniform
from edgephys.core import machine
from edgephys.core.errors import EdgephysError, ToolError, UsageError
from edgephys.core.files import check_free, held, write_json
from edgephys.models.card import Card, read_card
from edgephys.workflow.firmware import FirmwarePlan

Table = dict[str, Any]

RESULT = "pareto.json"
SEEN_S = 60.0
"""For how long the table of a run that ended elsewhere is waited for."""


@dataclass(frozen=True)
class Sweep:
    """State which pipeline is turned from where, over which seeds, on which jets, and where it goes.

    ``prune`` removes the stages' folders of dominated runs; their tables stay. ``beside`` is a scaling table with
    the uniform models of the same network.
    """

    model: Path
    pipeline: Pipeline
    data: Path
    test_data: Path | None
    out: Path
    seeds: tuple[int, ...]
    measured: FirmwarePlan | None = None
    prune: bool = False
    beside: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        told = ",".join(map(str, self.seeds))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"--seeds must be different whole numbers, 0 or more, such as 1,2,3, not '{told}'")
        if self.pipeline.knob is None:
            raise UsageError(f"pipeline {self.pipeline.name}: it has no [knob] to turn; state stage, key and values")
        names = [label(value) for value in self.pipeline.knob.values]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"pipeline {self.pipeline.name}: [knob]: two values have the name {twice}; change one")

    def orders(self) -> dict[str, tuple[Any, Order]]:
        """Return each run's knob and order by its name; none of them looks at the test jets."""
        found = {}
        model, data, out = (path.absolute() for path in (self.model, self.data, self.out))  # workers stand elsewhere
        test_data = self.test_data and self.test_data.absolute()
        for value in self.pipeline.knob.values if self.pipeline.knob else ():
            turned = self.pipeline.turned(value)
            turned = dataclasses.replace(turned, name=f"{turned.name}_{label(value)}")
            for seed in self.seeds:
                name = f"{label(value)}_seed{seed}"
                order = Order(model, turned, data, test_data, out / name, seed, self.measured)
                found[name] = value, dataclasses.replace(order, tested=False, measured_last=True, shared=True)
        return found


def numbers(words: str) -> tuple[int, ...]:
    """Return the seeds of a command line.

    Raises: UsageError where one is no whole number.
    """
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds must be different whole numbers, 0 or more, such as 1,2,3, not '{words}'") from error


def label(value: Any) -> str:
    """Return a knob's value as a part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return "".join(sign if sign.isalnum() or sign in "+-.," else "-" for sign in text) or "-"


def sweep(of: Sweep, carry: Carry, work: Work, command: str, say: Say, write: Callable[[Table], None]) -> Table:
    """Carry out with ``work`` what is not finished of a sweep; return its table, given to ``write`` after each run.

    A run that fails says why and does not end the sweep: ``require`` raises for it.
    Raises: UsageError where OUT is not ours; ModelError where there is no model; what ``carry`` raises.
    """
    check_free(of.out, RESULT, of.force, "a front")
    card = read_card(of.model)
    if scored(card.metrics).key != "accuracy":
        raise UsageError(
            f"{of.model}: a front is of taggers, {card.name} is none; `edgephys compress` runs a pipeline on it"
        )
    known = _Known(of, command, card, write)
    for name, (_, order) in known.orders.items():
        table = finished(order)
        if table is not None:
            known.tables[name] = table
    say(f"{len(known.tables)} of {len(known.orders)} runs are finished")
    known.tell()
    left = {name: order for name, (_, order) in known.orders.items() if name not in known.tables}
    _carry(known, left, carry, work, say)
    if not known.failures:
        _test(known, carry, work, say)
    if of.prune:
        _prune(known, say)
    return known.tell()


def require(table: Mapping[str, Any]) -> None:
    """Raise ToolError for the runs that are not finished, naming each."""
    failing = table["failures"]
    if failing:
        told = "; ".join(f"{name}: {why}" for name, why in failing.items())
        raise ToolError(f"pareto: {len(failing)} of {table['asked']} runs are not finished: {told}")


def complete(order: Order, command: str, say: Say, progress: Callable[[str], Progress]) -> str | None:
    """Finish a run, unless it is; return why it could not be, else None.

    Raises: OSError, or what nobody foresaw.
    """
    name = order.out.name

    def told(text: str) -> None:
        say(f"{name}: {text}")

    # Dask starts a task anew when a worker has not been heard of for long, and that worker may be alive
    with held(order.out.parent / LOCKS / name):
        try:
            if finished(order) is None:
                run(order, told, lambda stage: progress(f"{name}: {stage}"), command)
        except EdgephysError as error:
            return str(error)
        return _not_measured(order)


def _not_measured(order: Order) -> str | None:
    rows = json.loads((order.out / TABLE).read_text())["rows"]
    whys = rows[-1].get("measured", {}).get("failures", []) if order.measured is not None else []
    return "; ".join(whys) or None


# What is known of a sweep ------------------------------------------------------------------------


class _Known:
    """Hold the tables of finished runs and why others are not, and make the sweep's table from them."""

    def __init__(self, of: Sweep, command: str, card: Card, write: Callable[[Table], None]) -> None:
        self.of, self.command, self.card, self.write = of, command, card, write
        self.orders = of.orders()
        self.beside = uniform(of.beside, card) if of.beside is not None else []
        self.tables: dict[str, Table] = {}
        self.failures: dict[str, str] = {}

    def front(self) -> Front:
        """Return the front of the finished runs."""
        found = [(name, value) for name, (value, _) in self.orders.items() if name in self.tables]
        return front([_run(name, value, self.tables[name]) for name, value in found])

    def tell(self) -> Table:
        """Write the sweep's table, and return it."""
        table = {
            "command": self.command,
            "machine": machine.name(),
            "model": self.card.name,
            "family": self.card.recipe.get("script"),
            "n": of_card(self.card).size(self.card.net),
            "pipeline": self.of.pipeline.name,
            "knob": _knob(self.of.pipeline),
            "seeds": list(self.of.seeds),
            "asked": len(self.orders),
            "failures": dict(self.failures),
            **self.front().to_record(),
            "beside": self.beside,
        }
        self.write(table)
        return table


def _knob(pipeline: Pipeline) -> dict[str, Any]:
    if pipeline.knob is None:
        return {}
    stage = f"{pipeline.knob.stage} {pipeline.steps[pipeline.knob.stage - 1].kind}"
    return {"stage": stage, "key": pipeline.knob.key, "values": list(pipeline.knob.values)}


def _run(name: str, value: Any, table: Mapping[str, Any]) -> Run:
    last = table["rows"][-1]
    measured = last.get("measured", {})
    synthesised = str(measured.get("lut_stage", "")).startswith(SYNTHESISED)
    counts = {key: last[key] for key in ("weights", "nonzero", "digits", "ebops", "lut_estimate", "cycles_estimate")}
    return Run(
        name,
        value,
        table["seed"],
        last["metrics"]["accuracy"],
        last["metrics"]["accuracy_error"],
        last["metrics"]["jets"],
        **counts,
        lut=measured.get("lut") if synthesised else None,
        latency_cycles=measured.get("latency_cycles"),
        provenance=measured.get("provenance", {}),
        seconds=round(sum(row["seconds"] for row in table["rows"]), 1),
        pruned=table.get("pruned", False),
        test=table.get("metrics"),
    )


# Runs, test figures, room on the disk --------------------------------------------------------------


def _carry(known: _Known, orders: Mapping[str, Order], carry: Carry, work: Work, say: Say) -> None:
    """Carry orders out and tell of each as it ends."""
    with closing(carry(orders, work)) as ended:
        for number, (name, why) in enumerate(ended, 1):
            if why is None:
                known.tables[name] = _table(orders[name])
            else:
                known.failures[name] = why
            say(f"{name}: {why or 'finished'}, {number} of {len(orders)}")
            known.tell()


def _table(order: Order) -> Table:
    """Return the table of an order that was carried out, perhaps elsewhere; a network's file may be seen late."""
    end = time.monotonic() + SEEN_S
    while (table := finished(order)) is None:
        if time.monotonic() >= end:
            raise ToolError(
                f"{order.out.name}: its worker says that it is finished, but {order.out / TABLE} does not; --out, the "
                "model and the data must lie on a file system that all workers share, under the same paths"
            )
        time.sleep(SEEN_S / 60)
    return table


def _test(known: _Known, carry: Carry, work: Work, say: Say) -> None:
    """Look at the test jets with the members of the front, and them alone."""
    orders = {run.name: dataclasses.replace(known.orders[run.name][1], tested=True) for run in known.front().members}
    untested = {name: order for name, order in orders.items() if finished(order) is None}
    say(f"the front has {len(orders)} runs, {len(untested)} of them not tested")
    _carry(known, untested, carry, work, say)


def _prune(known: _Known, say: Say) -> None:
    """Remove what dominated runs hold beside their tables."""
    found = known.front()
    for one, by in zip(found.runs, found.dominated_by, strict=True):
        order = known.orders[one.name][1]
        stages = [f"{number}_{step.kind}" for number, step in enumerate(order.pipeline.steps, 1)]
        there = [folder for name in (*stages, "model", "projects") if (folder := order.out / name).is_dir()]
        if by is None or not there:
            continue
        say(f"{one.name}: dominated by {by}, its stages are removed")
        known.tables[one.name]["pruned"] = True
        write_json(order.out / TABLE, known.tables[one.name])
        for folder in there:
            shutil.rmtree(folder)
