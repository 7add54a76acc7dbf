"""The emitted C of wave networks beside their Keras models: the time of a frame, and its own frames rolled out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgephys.applications.task import Floats
from edgephys.applications.waves.study import pace, roll_out
from edgephys.applications.waves.study.models import WaveModel
from edgephys.applications.waves.study.pace import Contestant, Setting
from edgephys.bench import compiled_runtime
from edgephys.bench.compiled_runtime import CompiledLoop
from edgephys.bench.worker import Job
from edgephys.core.errors import MismatchError, ModelError
from edgephys.core.fixed import Integers
from edgephys.core.scratch import temporary_folder
from edgephys.graph.graph import Graph
from edgephys.targets.c.options import COptions
from edgephys.targets.registry import target_of

EMITTED = "C"
CALLS = 32
"""Calls of one field behind each other, in a loop in C: to start that loop from Python takes tens of microseconds."""


@dataclass(frozen=True, eq=False)
class EmittedNetwork:
    """Hold a network with its C, compiled for this processor as for ``edgephys bench``.

    ``one_by_one`` names the layer for which the entry point for many fields computes them one after another.
    """

    member: WaveModel
    loop: CompiledLoop
    one_by_one: str | None

    @property
    def name(self) -> str:
        """Return the name of the network."""
        return self.member.trained.name


def emitted_networks(
    networks: Sequence[WaveModel], graphs: Mapping[str, Graph], setting: Setting, say: Callable[[str], None]
) -> tuple[list[EmittedNetwork], dict[str, str]]:
    """Return the C of the networks that have a Graph, and why a Graph has no C.

    Raises: ToolError where gcc is missing or refuses a source.
    """
    emitted, without = [], {}
    for member in networks:
        name = member.trained.name
        if name not in graphs:
            continue
        say(f"{name}: emitted as C and compiled")
        try:
            emitted.append(_emitted(member, graphs[name], setting))
        except ModelError as error:
            without[name] = str(error)
    return emitted, without


def _emitted(member: WaveModel, graph: Graph, setting: Setting) -> EmittedNetwork:
    options = COptions(batch=True)
    with temporary_folder("pace") as folder:
        facts = target_of(options).emit(graph, folder, options)
        job = Job(EMITTED, "c", folder, facts, folder, graph.input.fixed, graph.output.fixed)
        loop = compiled_runtime.c(job, _first(member, setting))
    return EmittedNetwork(member, loop, facts["batch"]["one_by_one"])


def _first(member: WaveModel, setting: Setting) -> Integers:
    """Return what a network reads first of every run, in steps."""
    ready = member.trained.standardisation
    return ready.output.quantise(roll_out.first_frames(member.trained, setting.of, setting.horizon.starts[0]))


def contestants(emitted: Sequence[EmittedNetwork], setting: Setting) -> list[Contestant]:
    """Return the C of each network, a field a call; and many fields a call where it computes them side by side."""
    every = []
    for one in emitted:
        x = _first(one.member, setting)
        for batch in pace.BATCHES if one.one_by_one is None else pace.BATCHES[:1]:
            calls = CALLS if batch == 1 else 1
            facts = {"model": one.name, "batch": batch, "parameters": one.member.trained.card.parameters}
            facts |= {"compiler": one.loop.version, "flags": one.loop.details["flags"]}
            if one.one_by_one is not None:
                facts["one_by_one"] = one.one_by_one
            work = _work(replace(one.loop, x=np.resize(x, (max(batch, len(x)), *x.shape[1:]))), batch, calls)
            every.append(
                Contestant(
                    EMITTED, f"{one.name}, {EMITTED}, {batch}", batch * calls * one.member.net.stride, work, facts
                )
            )
    return every


def _work(loop: CompiledLoop, batch: int, calls: int) -> Callable[[], object]:
    return lambda: loop.slice(batch, calls)


def frames(one: EmittedNetwork, setting: Setting) -> Floats:
    """Return what a network's C makes of its own frames, in its own integers.  Shape: (run, step, row, column)."""
    x, every = _first(one.member, setting), []
    for _ in range(roll_out.calls(setting.horizon, one.member.trained.standardisation)):
        frame = replace(one.loop, x=x).outputs(1, len(x))
        every.append(frame[..., 0])
        x = np.concatenate([x[..., 1:-1], frame, x[..., -1:]], -1)
    return one.member.trained.standardisation.output.values(np.stack(every, 1)).astype(np.float32)


def require_equal(name: str, of_c: Floats, of_keras: Any) -> None:
    """Raise MismatchError where a number of a network's C, rolled out, is not the one of Keras."""
    differing = np.argwhere(of_c != of_keras)
    if len(differing):
        raise MismatchError(
            f"{name} in C: expected Keras' own numbers in all {of_c.shape[1]} steps, found {len(differing)} others, "
            f"the first after step {1 + int(differing[:, 1].min())}; run `edgephys verify` on a C project of it"
        )
