"""A formal proof, for every input, that a synthesised module computes what its RTL does.

Yosys makes an and-inverter graph of the RTL, and one of the netlist with the cells' simulation models. A pipeline
without feedback is a function of its inputs at the last few clocks: both graphs are unrolled to this function, and ABC
proves that they are the same one. Register for register correspondence is not needed, and no initial state is assumed.
The modules that a top instantiates are cut out of it; their pins are its outputs and inputs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.targets.rtl import aiger
from edgephys.targets.rtl.synth import ModuleCells
from edgephys.targets.rtl.yosys import Limits, read_verilog, run_yosys
from edgephys.targets.target import Proof

MOST_GATES = 400_000
PROOF_S = 60.0
"""Seconds for ABC, a module."""
YOSYS_SHARE = 5
"""Yosys, which makes the graph of each side, may take so many times the seconds of ABC."""
HOLDS_STATE = "it holds state, such as lines of a field; only pipelines are proven"
GRAPH = """\
hierarchy -top {top}
hierarchy -check
proc
flatten
opt_clean
memory
{cut}async2sync
dffunmap
techmap
aigmap
write_aiger -ascii -symbols {name}.aag
"""
CUT = "expose -evert c:*\n"


def prove(name: str, module: str, part: ModuleCells, models: Path, timeout_s: float = PROOF_S) -> Proof:
    """Return whether the netlist of a module equals its RTL; the result is kept, but not that time was over.

    Units: timeout_s for ABC, and YOSYS_SHARE times as long for each run of Yosys.
    """
    if part.cells.lutram or part.cells.bram:  # Yosys would make registers of a memory: minutes
        return Proof(name, module, None, HOLDS_STATE, 0.0)
    yosys, abc = tools.find("yosys"), tools.find("yosys-abc")
    task = part.task
    key = builds.content_key(
        [*task.declared, *task.files, part.netlist, models], yosys.version, "proof", GRAPH, CUT, module, *task.boxes
    )

    def build(folder: Path) -> None:
        start = time.monotonic()
        holds, why = _proven(yosys, abc, folder, part, models, timeout_s)
        record = {"holds": holds, "why": why, "seconds": time.monotonic() - start}
        (folder / "proof.json").write_text(json.dumps(record))

    start = time.monotonic()
    try:
        record = json.loads((builds.built(key, build) / "proof.json").read_text())
    except ToolError as error:
        return Proof(name, module, None, str(error), time.monotonic() - start)
    return Proof(name, module, **record)


def _proven(
    yosys: tools.Tool, abc: tools.Tool, folder: Path, part: ModuleCells, models: Path, timeout_s: float
) -> tuple[bool | None, str]:
    task = part.task
    cut = CUT if task.boxes else ""
    boxes = read_verilog((*task.declared, *task.files), "-lib -nooverwrite ") if task.boxes else ""
    cells = read_verilog([models], "-defer ")  # memories among them, which Yosys takes minutes to build
    netlist = cells + read_verilog([part.netlist]) + boxes
    sides, limits = {"rtl": task.read(), "netlist": netlist}, Limits(YOSYS_SHARE * timeout_s)
    for side, text in sides.items():
        run_yosys(yosys, folder, text + GRAPH.format(top=task.top, cut=cut, name=side), task.top, limits)
    unrolled = aiger.Unrolled(MOST_GATES)
    try:
        outputs = {side: unrolled.add(aiger.read((folder / f"{side}.aag").read_text())) for side in sides}
    except aiger.HoldsStateError:
        return None, HOLDS_STATE
    except aiger.TooLargeError:
        return None, f"too large: over {MOST_GATES:,} AND gates"
    if outputs["rtl"].keys() != outputs["netlist"].keys():
        return False, "the netlist has other outputs than the RTL"
    for side in sides:
        (folder / f"{side}.aig").write_bytes(unrolled.written(outputs[side]))
        (folder / f"{side}.aag").unlink()
    if outputs["rtl"] == outputs["netlist"]:
        return True, "the same gates"
    return _compared(abc, folder, timeout_s)


def _compared(abc: tools.Tool, folder: Path, timeout_s: float) -> tuple[bool, str]:
    """Return what ABC says of two circuits without registers.  Raises: ToolError where it does not decide in time."""
    try:
        text = tools.run([*abc.command, "-s", "-q", "&r rtl.aig; &cec netlist.aig"], folder, timeout_s, name="ABC")
    except ToolError as error:
        if "was stopped after" in str(error):
            raise ToolError(f"time over: ABC had not decided after {timeout_s:g} s") from error
        raise
    if "Networks are equivalent" in text:
        return True, "ABC, equal for every input"
    if "NOT EQUIVALENT" in text:
        return False, "ABC has an input for which the netlist differs from the RTL"
    raise ToolError(f"ABC did not decide: {text.strip().splitlines()[-1] if text.strip() else 'it printed nothing'}")
