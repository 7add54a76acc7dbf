"""The time of a frame beside the error it makes: the solver, networks on a processor core, in C and in firmware."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgephys.applications.waves import task as advance
from edgephys.applications.waves.study import pace, pace_emitted, roll_out
from edgephys.applications.waves.study.models import VERSIONS, WaveModel, distinct, wave_models
from edgephys.applications.waves.study.pace import COMPILED, SOLVER, Contestant, Setting
from edgephys.applications.waves.study.pace_emitted import EmittedNetwork
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.applications.waves.study.table import STEPS, Row, Say, describe
from edgephys.core import machine
from edgephys.core.errors import ModelError, ProjectError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.core.fixed import Integers
from edgephys.core.remedies import not_verified
from edgephys.core.timing import CallTime, race
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.project import Project, read_result
from edgephys.project import read as read_project
from edgephys.targets.emit_again import emit_again
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl.options import ROLLED_OUT
from edgephys.targets.target import failure

GOLDEN, FIRMWARE = "golden model", "firmware"
NETWORK = "network"
"""What the errors of a network are kept under: all that computes it makes the same numbers."""


def tabulate(
    folders: Sequence[Path],
    projects: Sequence[Path],
    data: Path,
    horizon: Horizon,
    runs: int,
    rounds: int,
    command: str,
    say: Say,
) -> dict[str, Any]:
    """Return the table: a row a way to get the next frame, its time and its error.

    Raises: as ``members``, ``lay_out`` and ``race``; UsageError for two seeds of a network, which take as long, and for
    a project of none of the networks; ProjectError for one that is not a verified stream.
    """
    networks = wave_models(folders)
    if len(distinct(networks)) < len(networks):
        raise UsageError(f"pace: {len(networks)} networks, some of them seeds of another, which take as long; name one")
    graphs, without = _lowered(networks)
    opened = [_verified(path, graphs) for path in projects]
    of = advance.fitting(data, networks[0].trained.standardisation, networks[0].net.side, networks[0].net.grid)
    for member in networks:
        roll_out.check(of, horizon, member.trained.standardisation)
    reach = max(member.net.stride * roll_out.calls(horizon, member.trained.standardisation) for member in networks)
    setting = pace.lay_out(of, horizon, runs, say, reach)
    emitted, without_c = pace_emitted.emitted_networks(networks, graphs, setting, say)
    contestants = [
        *pace.solvers(setting),
        *pace.networks(networks, setting),
        *pace_emitted.contestants(emitted, setting),
        *_golden(networks, graphs, setting),
    ]
    say(f"{len(contestants)} contestants, {rounds} rounds in turns")
    machine.require_one_core()
    laps = race({one.name: one.work for one in contestants}, rounds)
    errors = _errors(setting, networks, emitted, say)
    rows = [_row(one, laps[one.name], errors) for one in contestants]
    rows += [_firmware(project, verified, horizon.steps, errors) for project, verified in opened]
    return {
        "command": command,
        "machine": machine.name(),
        "data": {**describe(data, of), "mesh_cells": of.records[0]["mesh_cells"], "runs_measured": runs},
        "reference": {"refinement": max(setting.plans), "steps_per_frame": setting.plans[max(setting.plans)].steps},
        "horizon": {"steps": horizon.steps, "start": horizon.starts[0]},
        "frame_dt": of.frame_dt,
        "rounds": rounds,
        "versions": {name: networks[0].trained.card.versions[name] for name in VERSIONS},
        "no_firmware": without,
        "no_c": without_c,
        "waiting": round(median(lap.wall / lap.seconds for lap in laps.values()), 2),
        "rows": rows,
    }


def _lowered(networks: Sequence[WaveModel]) -> tuple[dict[str, Graph], dict[str, str]]:
    """Return the Graphs of those networks that have one, and why the others have none: no firmware, no golden model."""
    graphs, without = {}, {}
    for member in networks:
        name = member.trained.name
        try:
            graphs[name] = member.trained.graph()
        except ModelError as error:
            without[name] = str(error)
    return graphs, without


def _verified(path: Path, graphs: Mapping[str, Graph]) -> tuple[Project, dict[str, Any]]:
    """Return a project and what verified it."""
    project = read_project(path)
    if project.facts.get("io") != STREAM:
        raise ProjectError(f"{path}: expected RTL that streams pixels, found {project.kind}; emit the network --to rtl")
    if project.graph.digest not in {graph.digest for graph in graphs.values()}:
        raise UsageError(
            f"{path}: its network must be one of {', '.join(graphs) or 'those given'}, found another, "
            f"{project.graph.name}; name its model's folder, or {emit_again(path)}"
        )
    verification = read_result(project, "verify")
    if verification is None:
        raise ProjectError(f"{path}: {not_verified(path)}")
    if why := failure(verification, path):
        raise ProjectError(f"{path}: {why}")
    return project, verification


def _golden(networks: Sequence[WaveModel], graphs: Mapping[str, Graph], setting: Setting) -> list[Contestant]:
    contestants = []
    for member in networks:
        name, form = member.trained.name, member.trained.standardisation.output
        if name not in graphs:
            continue
        x = form.quantise(roll_out.first_frames(member.trained, setting.of, setting.horizon.starts[0])[:1])
        facts = {"model": name, "batch": 1, "parameters": member.trained.card.parameters}
        contestants.append(Contestant(GOLDEN, f"{name}, {GOLDEN}", member.net.stride, _run(graphs[name], x), facts))
    return contestants


def _run(graph: Graph, x: Integers) -> Callable[[], object]:
    return lambda: evaluate.run(graph, x)


def _errors(
    setting: Setting, networks: Sequence[WaveModel], emitted: Sequence[EmittedNetwork], say: Say
) -> dict[tuple[str, Any], dict[str, Any]]:
    """Return the errors of each solver, by its kind and refinement, and of each network, by its kind and name.

    Raises: MismatchError where a network's C makes other frames than Keras.
    """
    errors: dict[tuple[str, Any], dict[str, Any]] = {}
    for refinement in sorted(setting.plans)[:-1]:
        say(f"errors of the solver, {refinement} cells a point")
        for kind, of in ((SOLVER, pace.solver_errors), (COMPILED, pace.compiled_errors)):
            errors[kind, refinement] = _grown(of(setting, refinement), setting.horizon)
    in_c = {one.name: one for one in emitted}
    for member in networks:
        name = member.trained.name
        say(f"errors of {name}")
        frames = pace.network_frames(setting, member)
        errors[NETWORK, name] = _grown(pace.network_errors(setting, member, frames), setting.horizon)
        if name in in_c:
            pace_emitted.require_equal(name, pace_emitted.frames(in_c[name], setting), frames)
    return errors


def _grown(errors: Any, horizon: Horizon) -> dict[str, Any]:
    grown: dict[str, Any] = {}
    for step in roll_out.steps_of(horizon, STEPS):
        measured = roll_out.at(np.asarray(errors), step)
        grown |= {f"error_{step}": measured.value, f"error_{step}_error": measured.error}
    return grown


def _row(of: Contestant, lap: CallTime, errors: Mapping[Any, Mapping[str, Any]]) -> Row:
    key = (of.kind, of.facts["refinement"]) if "refinement" in of.facts else (NETWORK, of.facts["model"])
    return {
        "kind": of.kind,
        "name": of.name,
        **of.facts,
        "seconds": lap.seconds / of.frames,
        "seconds_lowest": lap.lowest / of.frames,
        "seconds_highest": lap.highest / of.frames,
        "seconds_wall": lap.wall / of.frames,
        "stage": FigureStage.MEASURED.value,
        "target": "one core, processor time",
        **errors[key],
    }


def _firmware(
    project: Project, verified: Mapping[str, Any], steps: int, errors: Mapping[Any, Mapping[str, Any]]
) -> Row:
    """Return the time of a frame in RTL: the next one of a roll-out waits for the whole of the former.

    Where the RTL rolls out in hardware it is that of a run of all steps over their number.
    """
    simulated, name = verified["targets"]["rtl"], project.graph.name
    cycle, frame_cycles = project.clock_ns * 1e-9, float(simulated["latency_cycles"])
    row: dict[str, Any] = {}
    if rolled := verified["targets"].get(ROLLED_OUT):
        row = {key: rolled[key] for key in ("step_cycles", "run_cycles")}
        frame_cycles = (rolled["run_cycles"] + (steps - 1) * rolled["step_cycles"]) / steps
    return {
        "kind": FIRMWARE,
        "name": f"{name}, RTL",
        "model": name,
        "latency_cycles": simulated["latency_cycles"],
        "ii_cycles": simulated["ii"],
        **row,
        "clock_ns": project.clock_ns,
        "seconds": frame_cycles * cycle,
        "seconds_streamed": simulated["ii"] * cycle,
        "stage": FigureStage.ESTIMATED.value,
        "target": f"{project.part}, cycles of {simulated['tool']} {simulated['version']} at a stated clock",
        **errors[NETWORK, name],
    }
