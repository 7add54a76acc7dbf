"""The texts of an RTL project, and the facts of it in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from edgephys.graph.graph import Graph
from edgephys.targets.rtl import netlist
from edgephys.targets.rtl.logic import Logic
from edgephys.targets.rtl.schedule import StageSpan

TOP = "edgephys_top"
PROBE = "edgephys_probe"


def outermost(facts: Mapping[str, Any]) -> str:
    """Return the top module of a project: around the network's that of its roll-out or its AXI-Stream, if there is."""
    around = facts.get("rollout") or facts.get("axi_stream") or facts
    return str(around["top"])


@dataclass(frozen=True, eq=False)
class Design:
    """Hold the sources by module, the modules that only a simulation needs, and the facts."""

    sources: dict[str, str]
    simulated: dict[str, str]
    facts: dict[str, Any]


def port(
    graph: Graph, names: Sequence[str], facts: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return the layout of a port: edge after edge, element after element, each in the format of its edge.

    ``facts`` are further facts by edge.
    """
    return [
        {
            "node": node.name,
            "layer": node.layer,
            "shape": list(node.shape),
            "signed": node.fixed.signed,
            "bits": node.fixed.bits,
            "fraction": node.fixed.fraction,
            **(facts or {}).get(node.name, {}),
        }
        for node in (graph.by_name[name] for name in names)
    ]


def block(logic: Logic, slot: StageSpan) -> dict[str, Any]:
    """Return the facts of a block.

    A block of wires has no ports: it states [edge, element, shift] of the source of each output. A source without an
    edge is the number 0.
    """
    return {
        "name": logic.block.name,
        "layers": list(logic.block.layers),
        "module": logic.module if logic.program is not None else None,
        "copies": logic.block.copies,
        "first_stage": slot.first,
        "last_stage": slot.last,
        "delay_estimate_ns": logic.delay_ns,
        "lut_estimate": logic.lut,
        "inputs": netlist.layout(logic.inputs),
        "outputs": {} if logic.wires is not None else netlist.layout(logic.outputs),
        "wires": {name: [list(astuple(wire)) for wire in wires] for name, wires in (logic.wires or {}).items()},
    }


def luts(logics: Sequence[Logic]) -> float:
    """Return alkaid's estimate of the LUTs of all copies."""
    return sum(logic.lut * logic.block.copies for logic in logics)
