"""Gather every figure of a project: none without its stage, tool, version and target."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications.metrics import scored
from edgephys.core.errors import ToolError
from edgephys.core.figure import Figure, Stage, missing, to_record
from edgephys.core.fixed import Fixed
from edgephys.project import Project, read_card, read_result, write_result
from edgephys.report import processor
from edgephys.targets import vendor
from edgephys.targets.rtl import place, synth
from edgephys.targets.rtl.cells import TARGETS
from edgephys.targets.rtl.design import STREAM

Say = Callable[[str], None]
TIMING = (("latency_cycles", "cycles"), ("latency_ns", "ns"), ("ii", "cycles"))
RESOURCES = ("lut", "ff", "dsp", "bram")


@dataclass(frozen=True)
class Wishes:
    """State which measurements may be run where no cached result fits, and what each run of a tool may take.

    Units: timeout_s in seconds a run; memory_gb for the runs of Yosys that go on at the same time, together.
    """

    synth: bool = True
    place: bool = False
    flat: bool = False
    timeout_s: float = 3000.0
    memory_gb: float = 16.0


def gather(project: Project, wishes: Wishes, say: Say) -> tuple[Figure, ...]:
    """Return the figures of a project, in the order of a report.

    A tool that is missing or was killed gives a figure without a value that says why.
    """
    figures = [*_model(project), *_widths(project), *_simulation(project)]
    for measure in OF_KIND[project.kind]:
        figures += measure(project, wishes, say)
    found = vendor.read(project.folder) if project.target.has_clock else ()
    measured = {figure.name for figure in found if figure.value is not None}
    kept = [f for f in figures if not (f.value is None and f.name in measured and f.tool == "vendor tool")]
    return (*kept, *found)


def keep(project: Project, figures: Iterable[Figure], **facts: Any) -> dict[str, Any]:
    """Write the report into the project, with what else is to be known of it, and return its record."""
    record = {"project": str(project.folder), "figures": [to_record(figure) for figure in figures], **facts}
    write_result(project, "report", record)
    return record


def _units(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name.upper()) for name in names]


def _vendor(project: Project, wishes: Wishes, say: Say) -> list[Figure]:
    """What only a vendor's synthesis could say; its reports, where there are any, take the place of these."""
    why = "no vendor report in the project; run the vendor's synthesis on it"
    tool = (Stage.SYNTHESISED_BY_VENDOR, "vendor tool", "none", project.part, why)
    return [missing(name, unit, *tool) for name, unit in (*TIMING, *_units(RESOURCES))]


def _model(project: Project) -> list[Figure]:
    """Accuracy and AUC, or the error, are the trained model's, as its card has them; verify shows that they hold."""
    card = read_card(project)
    measured = card["metrics"]
    if "imported" in card:
        return _imported(project, card)
    version = card["versions"]["keras"]
    score = scored(measured)
    target = f"{measured[score.unit]:,} held-out test {score.unit}"
    figures = [
        Figure(name, measured[name], "", Stage.MEASURED, "Keras", version, target) for name in (score.key, score.error)
    ]
    for name, area in measured.get("auc", {}).items():
        figures.append(Figure(f"auc_{name}", area, "", Stage.MEASURED, "Keras", version, target))
    figures.append(Figure("parameters", card["parameters"], "", Stage.MEASURED, "Keras", version, project.graph.name))
    return figures


def _imported(project: Project, card: Mapping[str, Any]) -> list[Figure]:
    """An imported model states its accuracy where labels were given, and nobody's Keras."""
    version, file = card["versions"]["qonnx"], card["imported"]["file"]
    target = f"{file}, {card['imported']['vectors']} vectors"
    accuracy = card["metrics"].get("accuracy")
    if accuracy is None:
        why = "no labels were given at its import; `edgephys import --vectors` takes them"
        figures = [missing("accuracy", "", Stage.MEASURED, "qonnx", version, target, why)]
    else:
        names = ("accuracy", "accuracy_error")
        figures = [Figure(name, card["metrics"][name], "", Stage.MEASURED, "qonnx", version, target) for name in names]
    return [
        *figures,
        Figure("parameters", card["parameters"], "", Stage.MEASURED, "qonnx", version, project.graph.name),
    ]


def _widths(project: Project) -> list[Figure]:
    from math import prod

    version = str(project.manifest["versions"]["edgephys"])
    graph = project.graph

    def width(name: str, shape: tuple[int, ...], fixed: Fixed) -> Figure:
        target = f"{list(shape)} of {fixed}"
        return Figure(name, prod(shape) * fixed.bits, "bits", Stage.MEASURED, "edgephys", version, target)

    return [
        width("input_bits", graph.input.shape, graph.input.fixed),
        width("output_bits", graph.output.shape, graph.output.fixed),
    ]


def _simulation(project: Project) -> list[Figure]:
    target = _where(project)
    timing = _timing(project)
    found = read_result(project, "verify")
    if found is None:
        why = "not verified as it stands; run `edgephys verify` on it"
        names = [("vectors", ""), ("mismatches", ""), *timing]
        return [missing(name, unit, Stage.SIMULATED, "simulation", "none", target, why) for name, unit in names]
    simulated = found["targets"][project.target.checked]
    stage = Stage.SIMULATED if project.target.has_clock else Stage.MEASURED
    source = (stage, simulated["tool"], simulated["version"])
    compared = f"{', '.join(found['targets'])} against the golden model"
    figures = [
        Figure("vectors", simulated["vectors"], "", *source, target),
        Figure("mismatches", found["mismatches"], "", *source, compared),
    ]
    failure = failed(found)
    if failure is not None:
        return figures + [missing(name, unit, *source, target, failure) for name, unit in timing]
    whole = f"{target}{_frame(project)}"
    figures += [Figure(name, simulated[name], unit, *source, whole) for name, unit in timing]
    if timing:
        nanoseconds = simulated["latency_cycles"] * project.clock_ns
        stated = f"simulated cycles at the stated {project.clock_ns:g} ns, which no routing has confirmed"
        version = str(project.manifest["versions"]["edgephys"])
        figures.append(Figure("latency_ns", nanoseconds, "ns", Stage.ESTIMATED, "edgephys", version, stated))
    return figures


def _pixels(project: Project, wishes: Wishes, say: Say) -> list[Figure]:
    """What an HLS project that streams a field states of its time, until a vendor's synthesis says more."""
    if "latency_cycles_estimate" not in project.facts:
        return []
    height, width = project.facts["field"]
    version = str(project.manifest["versions"]["edgephys"])
    where = f"a frame of {height}x{width} pixels, one a clock, as emitted; a vendor's tool sets the stages"
    return [
        Figure(name, project.facts[name], "cycles", Stage.ESTIMATED, "edgephys", version, where)
        for name in ("latency_cycles_estimate", "ii_estimate")
    ]


def _where(project: Project) -> str:
    """Say for what a project was emitted, or on what it runs."""
    if project.target.has_clock:
        return f"{project.part}, {project.clock_ns:g} ns clock stated"
    return f"{platform.machine()}, {project.kind}"


def _timing(project: Project) -> list[tuple[str, str]]:
    """Return the simulated figures of time with their units: of a stream a frame's, and those of its first pixel."""
    if project.kind != "rtl":
        return []
    first = [("latency_first_cycles", "cycles")] if project.facts.get("io") == STREAM else []
    return [("latency_cycles", "cycles"), *first, ("ii", "cycles")]


def _frame(project: Project) -> str:
    """Say what the times of a stream are counted for."""
    if project.facts.get("io") != STREAM:
        return ""
    height, width = project.facts["field"]
    return f"; for a frame of {height}x{width} pixels, one a clock"


def failed(verified: Mapping[str, Any]) -> str | None:
    """Return why a verification does not vouch for the project, or None where it does."""
    if verified["mismatches"]:
        return f"verification failed: {verified['mismatches']} outputs differ; run `edgephys verify` to see where"
    if verified["changed"]:
        return f"changed since its emission: {', '.join(verified['changed'][:3])}; emit it again"
    return None


def _estimate(project: Project, wishes: Wishes, say: Say) -> list[Figure]:
    version = str(project.manifest["versions"]["alkaid"])
    lut = round(project.facts["lut_estimate"])
    figures = [Figure("lut_estimate", lut, "LUT", Stage.ESTIMATED, "alkaid", version, project.part)]
    if project.facts.get("io") == STREAM:
        ours = str(project.manifest["versions"]["edgephys"])
        what = "line buffers and what waits for them, as emitted"
        bits = project.facts["memory_bits"]
        figures.append(Figure("memory_bits", bits, "bits", Stage.ESTIMATED, "edgephys", ours, what))
    return figures


def _synthesis(project: Project, wishes: Wishes, say: Say) -> list[Figure]:
    target = TARGETS["xcup"]
    sources = _verilog(project)
    try:
        if sources is None:
            raise ToolError("Yosys reads Verilog here; emit with --language verilog")
        if not wishes.synth:
            raise ToolError("not asked for (--no-synth)")
        say(f"Yosys: {len(sources)} files, layer by layer")
        done = _modular(sources, project, wishes, say)
    except ToolError as error:
        return [
            missing(name, unit, Stage.SYNTHESISED, "yosys", "none", target, str(error))
            for name, unit in _units(RESOURCES)
        ]
    figures = list(done.figures())
    for module, part in done.per_module.items():
        where = f"{done.target}, {module}, {part.copies} {'copy' if part.copies == 1 else 'copies'}"
        value = part.cells.lut * part.copies
        figures.append(Figure(f"lut.{module}", value, "LUT", Stage.SYNTHESISED, done.tool, done.version, where))
    if wishes.flat:
        figures.append(_flat(sources or (), project, done, wishes, say))
    return figures


def _modular(sources: tuple[Path, ...], project: Project, wishes: Wishes, say: Say) -> synth.Synthesised:
    """Synthesise two modules at a time with half the memory each; where one needs more, one at a time with all."""

    def run(jobs: int) -> synth.Synthesised:
        return synth.synthesise(
            sources,
            project.facts["top"],
            timeout_s=wishes.timeout_s,
            jobs=jobs,
            memory_gb=wishes.memory_gb / jobs,
            progress=lambda name, k, n: say(f"Yosys: {name} done ({k} of {n})"),
        )

    try:
        return run(2)
    except ToolError as error:
        if "memory limit" not in str(error):
            raise
        say(f"{error}; one run at a time, with {wishes.memory_gb:g} GB")
    return run(1)


def _flat(sources: tuple[Path, ...], project: Project, modular: synth.Synthesised, wishes: Wishes, say: Say) -> Figure:
    say("Yosys: flat")
    facts = ("LUT", Stage.SYNTHESISED, modular.tool, modular.version, f"{modular.target}, flat")
    try:
        done = synth.synthesise(sources, project.facts["top"], flat=True, timeout_s=wishes.timeout_s)
    except ToolError as error:
        return missing("lut_flat", *facts, str(error))
    return Figure("lut_flat", done.lut, *facts)


def _routing(project: Project, wishes: Wishes, say: Say) -> list[Figure]:
    target = "LFE5U-85F, out of context"
    names = (("fmax_mhz", "MHz"), ("latency_routed_ns", "ns"))
    sources = _verilog(project)
    verified = read_result(project, "verify")
    try:
        if sources is None:
            raise ToolError("nextpnr's netlist comes from Verilog; emit with --language verilog")
        if not wishes.place:
            raise ToolError("not asked for; add --place")
        say("nextpnr: synthesis for ECP5, place and route")
        done = place.place(sources, project.facts["top"], clock_ns=project.clock_ns, timeout_s=wishes.timeout_s)
    except ToolError as error:
        return [
            missing(name, unit, Stage.PLACED_AND_ROUTED, "nextpnr-ecp5", "none", target, str(error))
            for name, unit in names
        ]
    figures = list(done.figures())
    if verified is not None and failed(verified) is None:
        nanoseconds = verified["targets"]["rtl"]["latency_cycles"] * 1000 / done.fmax_mhz
        figures.append(
            Figure(
                "latency_routed_ns", nanoseconds, "ns", Stage.PLACED_AND_ROUTED, done.tool, done.version,
                f"{done.target}, simulated cycles at the routed clock",
            )
        )  # fmt: skip
    return figures


def _verilog(project: Project) -> tuple[Path, ...] | None:
    if project.facts["language"] != "verilog":
        return None
    return tuple(project.firmware / name for name in project.facts["sources"])


def _plain(measure: Callable[[Project], list[Figure]]) -> Callable[[Project, Wishes, Say], list[Figure]]:
    """Return a measurement that is the same whatever is wished for."""
    return lambda project, wishes, say: measure(project)


OF_KIND: Mapping[str, tuple[Callable[[Project, Wishes, Say], list[Figure]], ...]] = {
    "hls": (_pixels, _vendor),
    "rtl": (_estimate, _synthesis, _routing),
    "c": (_plain(processor.memory), _plain(processor.microcontroller), _plain(processor.latency)),
    "onnx": (_plain(processor.operators), _plain(processor.latency)),
    "qonnx": (_plain(processor.operators),),
}
"""What is measured of each kind of project beside its model, widths and verification, in the order of a report."""
