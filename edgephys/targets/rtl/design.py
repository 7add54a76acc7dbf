"""What an emitter hands over: the texts of an RTL project and what the manifest says of them."""

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


@dataclass(frozen=True, eq=False)
class Design:
    """Hold the sources by module, the texts that only a simulation needs by name, and the facts."""

    sources: dict[str, str]
    simulated: dict[str, str]
    facts: dict[str, Any]


def port(
    graph: Graph, names: Sequence[str], facts: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Say how a port is laid out: edge after edge, element after element, each in its edge's whole format.

    ``facts`` are what else is to be said of each edge.
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
    """Say what a block is made of; a block of wires has no ports: [edge, element, shift] of each output's source.

    A source of no edge is the number 0.
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
