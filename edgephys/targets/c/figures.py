"""Figures of a C project: planned memory, and flash, RAM and instructions on a microcontroller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.core.errors import EdgephysError
from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.graph import evaluate
from edgephys.targets.c import cortex_m, qemu
from edgephys.targets.target import EmittedProject

CPU = "cortex-m4"
OPTIMISE = "-Os"
ON_CHIP = 4
"""Vectors that are run on the microcontroller: few, because qemu is slow."""


def memory(project: EmittedProject) -> list[Figure]:
    """Return the arena, the least that any plan could reach, the sum without sharing, and the constants."""
    facts = project.facts
    figures = (
        ("arena_bytes", "arena_bytes", f"as emitted: {facts['strategy']}, {len(facts['tensors'])} tensors"),
        ("arena_bound_bytes", "bound_bytes", "no plan of these tensors has fewer"),
        ("arena_no_sharing_bytes", "no_sharing_bytes", "every tensor a place of its own"),
        ("constant_bytes", "const_bytes", "tables of weights; others stand in the code"),
    )
    provenance = ("bytes", FigureStage.ESTIMATED, "edgephys", project.versions["edgephys"])
    single = [Figure(name, facts[fact], *provenance, where) for name, fact, where in figures]
    return [*single, *(_batch(facts["batch"], provenance) if "batch" in facts else ())]


def _batch(facts: Mapping[str, Any], provenance: tuple[str, FigureStage, str, str]) -> list[Figure]:
    """Return the events that are computed together, and the arena of the entry point for many events."""
    layer = facts["one_by_one"]
    where = "events that are computed together" if layer is None else f"event after event because of layer {layer}"
    return [
        Figure("batch_lanes", facts["lanes"], "events", *provenance[1:], where),
        Figure("batch_arena_bytes", facts["arena_bytes"], *provenance, "of the entry point for many events"),
    ]


def microcontroller(project: EmittedProject) -> list[Figure]:
    """Return flash, RAM and instructions on a Cortex-M, or why there are none.

    Its integers are compared with the golden model's on a few vectors.
    """
    try:
        x = project.inputs()[:ON_CHIP]
        golden = evaluate.run(project.graph, x)
        ran = qemu.verify(project.firmware, project.facts, x, golden, CPU, OPTIMISE)
        footprint = cortex_m.footprint(project.firmware, project.facts, CPU, OPTIMISE)
    except EdgephysError as error:
        provenance = ("bytes", FigureStage.SIMULATED, cortex_m.QEMU, "none", f"{CPU}, {OPTIMISE}", str(error))
        return [missing(name, *provenance) for name in ("flash_bytes", "ram_bytes")]
    return list(qemu.figures(footprint, ran))
