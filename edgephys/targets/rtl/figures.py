"""Figures of an RTL project: alkaid's estimate, synthesis by Yosys, place and route by nextpnr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from edgephys.core.errors import EdgephysError, ToolError
from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.core.remedies import not_verified
from edgephys.targets import capacity
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import place, synth
from edgephys.targets.rtl.cells import TARGETS, UNITS
from edgephys.targets.rtl.design import outermost
from edgephys.targets.rtl.options import ROLLED_OUT
from edgephys.targets.target import EmittedProject, Say, ToolRuns, failure

RESOURCES = ("lut", "ff", "dsp", "bram")
ROUTED = (("fmax_mhz", "MHz"), ("latency_routed_ns", "ns"))
PLACE_S = 3000.0
ROUTED_ON = "LFE5U-85F, out of context"


def estimates(project: EmittedProject) -> list[Figure]:
    """Return alkaid's estimate of the LUTs, and the memory of a stream."""
    facts, versions = project.facts, project.versions
    lut, room = round(facts["lut_estimate"]), capacity.capacity_of(project.part)
    share = (
        f"; {lut / room.lut:.1%} of {room.lut:,}"
        if room is not None and room.lut_inputs == capacity.LUT6_INPUTS
        else ""
    )
    provenance = (FigureStage.ESTIMATED, "alkaid", versions["alkaid"], project.part + share)
    figures = [Figure("lut_estimate", lut, "LUT", *provenance)]
    if facts.get("io") == STREAM:
        where = "line buffers and what waits for them, as emitted"
        by_us = ("bits", FigureStage.ESTIMATED, "edgephys", versions["edgephys"], where)
        figures.append(Figure("memory_bits", facts["memory_bits"], *by_us))
    return [*figures, *(_rollout(project) if "rollout" in facts else ())]


def _rollout(project: EmittedProject) -> Iterator[Figure]:
    """Yield the memory of a roll-out, and the clocks of a step as simulated, or why there is no such figure."""
    facts, edgephys = project.facts["rollout"], project.versions["edgephys"]
    where = "memories of all channels of the input, as emitted"
    yield Figure("rollout_bits", facts["memory_bits"], "bits", FigureStage.ESTIMATED, "edgephys", edgephys, where)
    verified = project.result("verify")
    why = failure(verified, project.folder) if verified is not None else not_verified(project.folder)
    if verified is None or why is not None:
        absent = (FigureStage.SIMULATED, "simulation", "none", "a step of the roll-out", why or "")
        yield missing("step_cycles", "cycles", *absent)
        return
    simulated = verified["targets"][ROLLED_OUT]
    where = f"a step of the roll-out; {simulated['run_cycles']} for a run of one step"
    provenance = (FigureStage.SIMULATED, simulated["tool"], simulated["version"], where)
    yield Figure("step_cycles", simulated["step_cycles"], "cycles", *provenance)


def synthesis(project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
    """Return the cells after synthesis, with the LUTs of each module, or why there are none."""
    try:
        sources = _verilog(project, "Yosys reads Verilog here")
        if not runs.synth:
            raise ToolError("not asked for (--no-synth)")
        say(f"Yosys: {len(sources)} files, layer by layer")
        modular = _modular(sources, project, runs, say)
    except ToolError as error:
        provenance = (FigureStage.SYNTHESISED, "yosys", "none", TARGETS["xcup"], str(error))
        return [missing(name, name.upper(), *provenance) for name in RESOURCES]
    figures = [*modular.figures(), *part_shares(project, modular)]
    if "rollout" in project.facts:
        memory = project.facts["rollout"]["memory"]
        part = modular.per_module[memory]
        of = (
            FigureStage.SYNTHESISED,
            modular.tool,
            modular.version,
            f"{modular.target}, {memory}, {part.copies} copies",
        )
        figures.append(Figure("rollout_bram", part.cells.bram * part.copies, UNITS[modular.family]["bram"], *of))
    figures += of_modules(project, modular)
    if runs.flat:
        figures.append(_flat(sources, project, modular, runs, say))
    return figures


def of_modules(project: EmittedProject, modular: synth.Synthesised) -> list[Figure]:
    """Return the LUTs of each module, most first, with their share of all modules' and of the part's."""
    sizes = {module: part.cells.lut * part.copies for module, part in modular.per_module.items()}
    whole, total = capacity.lut6(project.part), sum(sizes.values())
    device = project.part.partition("-")[0]
    figures = []
    for module in sorted(sizes, key=lambda module: -sizes[module]):
        copies, value = modular.per_module[module].copies, sizes[module]
        shares = f"{value / total:.1%} of all" if total else ""
        shares += f", {value / whole:.2%} of {device}" if whole and shares else ""
        words = f"{modular.target}, {module}, {copies} {'copy' if copies == 1 else 'copies'}"
        where = f"{words}; {shares}" if shares else words
        of = (FigureStage.SYNTHESISED, modular.tool, modular.version, where)
        figures.append(Figure(f"lut.{module}", value, "LUT", *of))
    return figures


def part_shares(project: EmittedProject, modular: synth.Synthesised) -> list[Figure]:
    """Return the share of each of the part's resources that the design takes, and in words whether it fits."""
    room, device = capacity.capacity_of(project.part), project.part.partition("-")[0]
    provenance = ("%", FigureStage.SYNTHESISED, modular.tool, modular.version)
    if room is None or room.lut_inputs != capacity.LUT6_INPUTS:
        why = "its LUTs are not listed here, or have 4 inputs: report --place routes for an ECP5"
        return [missing("lut_share", *provenance, project.part, why)]
    figures = []
    for name in RESOURCES:
        share, held = 100 * getattr(modular.cells, name) / getattr(room, name), getattr(room, name)
        fits = "fits" if share <= 100 else f"does not fit: {share:.0f} % of the {name.upper()}"
        if name == "lut" and share > 100:
            fits += f"; {_interval_that_fits(project)}"
        figures.append(Figure(f"{name}_share", share, *provenance, f"{fits}; {device} has {held:,} {name.upper()}"))
    return figures


def _interval_that_fits(project: EmittedProject) -> str:
    """Return in words the shortest interval at which a network's estimate fits the part, or why there is none."""
    from edgephys.targets.rtl.emit import estimate
    from edgephys.targets.rtl.options import AUTO_II, RtlOptions

    stated = {entry.name for entry in fields(RtlOptions)}
    own = RtlOptions(**{name: value for name, value in project.options.items() if name in stated})
    try:
        ii = estimate(project.graph, replace(own, ii=AUTO_II)).ii
    except EdgephysError:
        return "no --ii makes it fit"
    return f"--ii {ii} would"


def _modular(sources: tuple[Path, ...], project: EmittedProject, runs: ToolRuns, say: Say) -> synth.Synthesised:
    """Synthesise two modules at a time with half the memory each; where one needs more, one at a time with all."""

    def run(jobs: int) -> synth.Synthesised:
        return synth.synthesise(
            sources,
            outermost(project.facts),
            timeout_s=runs.timeout_s,
            jobs=jobs,
            memory_gb=runs.memory_gb / jobs,
            progress=lambda name, k, n: say(f"Yosys: {name} done ({k} of {n})"),
            split=(project.facts["top"],),
        )

    try:
        return run(2)
    except ToolError as error:
        if "memory limit" not in str(error):
            raise
        say(f"{error}; one run at a time, with {runs.memory_gb:g} GB")
    return run(1)


def _flat(
    sources: tuple[Path, ...], project: EmittedProject, modular: synth.Synthesised, runs: ToolRuns, say: Say
) -> Figure:
    say("Yosys: flat")
    provenance = ("LUT", FigureStage.SYNTHESISED, modular.tool, modular.version, f"{modular.target}, flat")
    try:
        flat = synth.synthesise(sources, outermost(project.facts), flat=True, timeout_s=runs.timeout_s)
    except ToolError as error:
        return missing("lut_flat", *provenance, str(error))
    return Figure("lut_flat", flat.cells.lut, *provenance)


def routing(project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
    """Return the clock after place and route, and the latency at this clock, or why there are none."""
    try:
        _verilog(project, "nextpnr's netlist comes from Verilog")
        if not runs.place:
            raise ToolError("not asked for; add --place")
        say("nextpnr: synthesis for ECP5, place and route")
        routed = placed(project, runs.timeout_s)
    except ToolError as error:
        absent = (FigureStage.PLACED_AND_ROUTED, "nextpnr-ecp5", "none", ROUTED_ON, str(error))
        return [missing(name, unit, *absent) for name, unit in ROUTED]
    figures = list(routed.figures())
    verified = project.result("verify")
    if verified is not None and failure(verified, project.folder) is None:
        nanoseconds = verified["targets"]["rtl"]["latency_cycles"] * 1000 / routed.fmax_mhz
        where = f"{routed.target}, simulated cycles at the routed clock"
        provenance = (FigureStage.PLACED_AND_ROUTED, routed.tool, routed.version, where)
        figures.append(Figure("latency_routed_ns", nanoseconds, "ns", *provenance))
    return figures


def placed(project: EmittedProject, timeout_s: float = PLACE_S) -> place.Placed:
    """Return the project placed and routed, from the cache where it was before.  Raises: as ``place``."""
    sources = [project.firmware / name for name in project.facts["sources"]]
    return place.place(sources, outermost(project.facts), clock_ns=project.clock_ns, timeout_s=timeout_s)


def was_placed(project: EmittedProject) -> bool:
    """Tell whether the report of the project as it is now has the clock after place and route."""
    report = project.result("report") or {}
    return any(figure["name"] == "fmax_mhz" and figure["value"] is not None for figure in report.get("figures", ()))


def _verilog(project: EmittedProject, why: str) -> tuple[Path, ...]:
    if project.facts["language"] != "verilog":
        raise ToolError(f"{why}; emit with --language verilog")
    return tuple(project.firmware / name for name in project.facts["sources"])
