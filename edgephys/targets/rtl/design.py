"""What an emitter hands over: the texts of an RTL project and what the manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from edgephys.graph.graph import Graph
from edgephys.targets.rtl import netlist
from edgephys.targets.rtl.logic import Logic
from edgephys.targets.rtl.schedule import Slot

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


def block(made: Logic, slot: Slot) -> dict[str, Any]:
    """Say what a block is made of; a block of wires has no ports: [edge, element, shift] of each output's source.

    A source of no edge is the number 0.
    """
    return {
        "name": made.block.name,
        "layers": list(made.block.layers),
        "module": made.module if made.program is not None else None,
        "copies": made.block.copies,
        "first_stage": slot.first,
        "last_stage": slot.last,
        "delay_estimate_ns": made.delay_ns,
        "lut_estimate": made.lut,
        "inputs": netlist.layout(made.inputs),
        "outputs": {} if made.wires is not None else netlist.layout(made.outputs),
        "wires": {name: [list(astuple(wire)) for wire in wires] for name, wires in (made.wires or {}).items()},
    }


def luts(logics: Sequence[Logic]) -> float:
    """Return alkaid's estimate of the LUTs of all copies."""
    return sum(made.lut * made.block.copies for made in logics)
