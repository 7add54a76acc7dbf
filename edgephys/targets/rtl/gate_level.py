"""The netlist of a project after synthesis: simulated with the models of its cells, and proven module by module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Integers
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import rollout_simulate, routed, simulate, synth
from edgephys.targets.rtl.cell_models import cell_models, require_models
from edgephys.targets.rtl.cells import TARGETS
from edgephys.targets.rtl.design import outermost
from edgephys.targets.rtl.equivalence import prove
from edgephys.targets.rtl.rollout_simulate import RolledOut
from edgephys.targets.rtl.testbench import Simulated
from edgephys.targets.target import Proof, Say

FAMILIES = ("xcup", "ecp5")
CELL_CLOCKS = 1 << 30
"""LUTs times clocks in one simulation: half a minute or so."""
FEWEST = 32
TIMEOUT_S = 3000.0


def name(family: str) -> str:
    """Return what a verification calls the netlist of a family."""
    return f"netlist_{family}"


def doing(family: str) -> str:
    """Return the progress message of its synthesis and simulation."""
    return f"netlist of {TARGETS[family]}: synthesis by Yosys, simulation"


def require_verilog(facts: Mapping[str, Any]) -> None:
    """Raise UsageError for a project that Yosys does not read here."""
    if facts["language"] != "verilog":
        raise UsageError("--netlist goes with Verilog, which Yosys reads here; emit with --language verilog")


def most(facts: Mapping[str, Any]) -> int:
    """Return on how many vectors a netlist is simulated at most."""
    height, width = facts["field"] if facts.get("io") == STREAM else (1, 1)
    return max(FEWEST, int(CELL_CLOCKS // (max(1.0, facts["lut_estimate"]) * height * width)))


def synthesised(folder: Path, facts: Mapping[str, Any], family: str) -> synth.Synthesised:
    """Return the netlists of all modules, from the cache where the same sources were synthesised before."""
    sources = [folder / path for path in facts["sources"]]
    return synth.synthesise(sources, outermost(facts), family, timeout_s=TIMEOUT_S, split=(facts["top"],))


def simulated(folder: Path, facts: Mapping[str, Any], family: str, x: Integers) -> Simulated:
    """Return the outputs and the timing of the netlist in simulation.

    Shape: x (vector, *input shape), integers in steps.
    Raises: as ``simulate``; ToolError for a cell that has no model.
    """
    return simulate.simulate(folder, _of_netlists(folder, facts, family), x)


def rolled_out(folder: Path, facts: Mapping[str, Any], family: str, x: Integers) -> RolledOut:
    """Return the states and the timing of the netlist of a roll-out in simulation.  Shape, Raises: as ``simulated``."""
    return rollout_simulate.simulate(folder, _of_netlists(folder, facts, family), x)


def simulated_as_routed(folder: Path, facts: Mapping[str, Any], netlist: Path, x: Integers) -> Simulated:
    """Return the outputs and the timing of a design that nextpnr placed and routed on an ECP5.

    Shape: x (vector, *input shape), integers in steps.
    Raises: as ``simulated``.
    """
    return simulate.simulate(folder, _of_routed(facts, netlist), x)


def rolled_out_as_routed(folder: Path, facts: Mapping[str, Any], netlist: Path, x: Integers) -> RolledOut:
    """Return the states and the timing of a routed roll-out.  Shape, Raises: as ``simulated``."""
    return rollout_simulate.simulate(folder, _of_routed(facts, netlist), x)


def _of_netlists(folder: Path, facts: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return the facts with the netlists of all modules and the models of their cells as sources."""
    design = synthesised(folder, facts, family)
    models = cell_models(family)
    for module, part in design.per_module.items():
        require_models(models[0], part.primitives, module)
    netlists = [part.netlist for part in design.per_module.values()]
    return {**facts, "sources": [str(path) for path in (*netlists, *models)]}


def _of_routed(facts: Mapping[str, Any], netlist: Path) -> dict[str, Any]:
    models = cell_models("ecp5")
    source = routed.verilog(netlist, outermost(facts), models[0])
    return {**facts, "sources": [str(path) for path in (source, *models)]}


def proofs(folder: Path, facts: Mapping[str, Any], families: Iterable[str], say: Say) -> Iterator[Proof]:
    """Yield what is proven of each module of each family's netlist."""
    for family in families:
        design = synthesised(folder, facts, family)
        models, _ = cell_models(family)
        for module, part in design.per_module.items():
            say(f"proof: {name(family)}, {module}")
            yield prove(name(family), module, part, models)
