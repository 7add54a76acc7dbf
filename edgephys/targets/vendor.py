"""Read the reports of vendors' tools in a project: HLS, Vivado and Quartus.

No vendor tool is run here. Stage, tool, version and target of a figure come from the report itself, never from the name
of the file. A report that cannot be read is a row that says why; the others are read all the same.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as Tree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgephys.core.errors import ProjectError
from edgephys.core.figure import Figure, FigureStage, missing

HEAD = 4096
"""Characters at the start of a Vivado report that contain its command."""

WRITTEN_BY_SCRIPTS = re.compile(r"(^|_)(util|utilization|timing|timing_summary)(_[a-z]+)?\.rpt$|^vivado_synth\.rpt$")
"""Names of the reports that the Vivado scripts of hls4ml and alkaid write."""

# Vivado's 'Design State' to stage; it adds words in some versions ("Fully Placed", "Physopt postRoute").
STATES = (
    ("rout", FigureStage.PLACED_AND_ROUTED_BY_VENDOR),
    ("place", FigureStage.PLACED_BY_VENDOR),
    ("synth", FigureStage.SYNTHESISED_BY_VENDOR),
    ("optim", FigureStage.SYNTHESISED_BY_VENDOR),
)

# A delay of a net in a path of a timing report says how far the design is; the weakest word of a report counts.
NETS = re.compile(r"^\s+net \(fo=\d+, (\w+)\)", re.MULTILINE)
NET_STATES = {
    "unplaced": FigureStage.SYNTHESISED_BY_VENDOR,
    "estimated": FigureStage.PLACED_BY_VENDOR,
    "routed": FigureStage.PLACED_AND_ROUTED_BY_VENDOR,
}

HLS_TEXT = re.compile(r"^== (?:(?:Vitis|Vivado) HLS Report for|Synthesis Summary Report of) ", re.MULTILINE)
"""Begins the text that Vitis HLS and Vivado HLS write beside each csynth.xml."""

# Names of a row by family: UltraScale and Versal, 7 series, and what Vivado prints a '*' behind.
SITES = {
    "lut": ("CLB LUTs", "Slice LUTs"),
    "ff": ("CLB Registers", "Slice Registers", "Registers"),
    "bram": ("Block RAM Tile",),
    "dsp": ("DSPs", "DSP Slices"),
}
UNITS = {"lut": "LUT", "ff": "FF", "bram": "RAMB36", "dsp": "DSP"}

QUARTUS = {
    "alm": (r"Logic utilization \(in ALMs\)", "ALM"),
    "ff": (r"Total registers|Total dedicated logic registers", "FF"),
    "bram": (r"Total RAM Blocks", "M20K"),
    "dsp": (r"Total DSP Blocks", "DSP"),
}


def read(folder: Path) -> tuple[Figure, ...]:
    """Return the figures of all vendor reports below ``folder``; none where no vendor's tool has run.

    A report that is cut short, or lacks the table it should have, gives one figure without a value that says so.
    """
    figures: list[Figure] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        reader = next((reader for ending, reader in READERS if path.name.endswith(ending)), None)
        if reader is None:
            continue
        try:
            figures += reader(path)
        except ProjectError as error:
            figures.append(_not_read(path, str(error)))
    return tuple(figures)


def _not_read(path: Path, why: str) -> Figure:
    """Return the figure without a value that names a report."""
    source = (FigureStage.SYNTHESISED_BY_VENDOR, "vendor tool", "unknown", "unknown part")
    return missing(path.name, "", *source, why)


# Vitis and Vivado HLS ------------------------------------------------------------------------------


def read_csynth(path: Path) -> tuple[Figure, ...]:
    """Return the C synthesis estimates of Vitis HLS or Vivado HLS (csynth.xml) of a whole design.

    Each sub-function has a report, the top often two: of the others, none.
    """
    root = _xml(path)
    if path.name != "csynth.xml":
        top = root.findtext("UserAssignments/TopModelName")
        if path.with_name("csynth.xml").exists() or top != path.name.removesuffix("_csynth.xml"):
            return ()

    def text(where: str) -> str:
        value = root.findtext(where)
        if value is None or not value.strip():
            raise _lacks(path, f"<{where}>")
        return value.strip()

    old = root.find("AreaEstimates/Resources/DSP48E") is not None
    tool, dsp = ("Vivado HLS", "DSP48E") if old else ("Vitis HLS", "DSP")
    target = f"{text('UserAssignments/Part')}, aimed at {text('UserAssignments/TargetClockPeriod')} ns"
    source = _Provenance(path, FigureStage.ESTIMATED, tool, text("ReportVersion/Version"), target)
    timing, area = "PerformanceEstimates/SummaryOfOverallLatency", "AreaEstimates/Resources"
    return (
        source.figure("clock_period", text("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"), "ns"),
        source.figure("latency_cycles", text(f"{timing}/Worst-caseLatency"), "cycles"),
        source.figure("ii", text(f"{timing}/Interval-max"), "cycles"),
        source.figure("lut", text(f"{area}/LUT"), "LUT"),
        source.figure("ff", text(f"{area}/FF"), "FF"),
        source.figure("dsp", text(f"{area}/{dsp}"), "DSP"),
        source.figure("bram", text(f"{area}/BRAM_18K"), "RAMB18"),
    )


def _xml(path: Path) -> Tree.Element:
    try:
        return Tree.fromstring(_text(path))
    except Tree.ParseError as error:
        raise ProjectError(f"{path}: expected a whole csynth.xml, but it is cut short or not XML ({error})") from error


# Vivado ---------------------------------------------------------------------------------------------


def read_vivado(path: Path) -> tuple[Figure, ...]:
    """Return the figures of report_utilization or report_timing_summary; of other reports, none."""
    text = _text(path)
    if HLS_TEXT.search(text[:HEAD]):
        return _hls_text(path)
    command = re.search(r"^\| Command\s*:\s*(\w+)(.*)$", text[:HEAD], re.MULTILINE)
    if command is None:
        if WRITTEN_BY_SCRIPTS.search(path.name):
            raise _lacks(path, "the line '| Command : report_...'")
        return ()
    if command[1] == "report_utilization" and "-hierarchical" not in command[2]:
        return _utilization(_Provenance.of_vivado(path, text), text)
    if command[1] == "report_timing_summary":
        return _timing(_Provenance.of_vivado(path, text, _stage_of_nets(text)), text)
    return ()


def _hls_text(path: Path) -> tuple[Figure, ...]:
    """Return one figure for all texts of HLS in a folder: their XML is read instead."""
    texts = sorted(other for other in path.parent.glob("*csynth.rpt") if HLS_TEXT.search(_text(other)[:HEAD]))
    if texts and path != texts[0]:
        return ()
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    beside = any(path.parent.glob("*csynth.xml"))
    why = (
        "csynth.xml beside it states these figures"
        if beside
        else "copy csynth.xml, which states its figures, beside it"
    )
    return (_not_read(path, f"the text{more} is not read; {why}"),)


def _stage_of_nets(text: str) -> FigureStage | None:
    """Return the stage that the nets of a timing report's paths state; None where they state none."""
    states = set(NETS.findall(text))
    return next((stage for word, stage in NET_STATES.items() if word in states), None)


def _utilization(source: _Provenance, text: str) -> tuple[Figure, ...]:
    rows: dict[str, str] = {}
    for name, used in re.findall(r"^\|\s*([^|]+?)\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE):
        rows.setdefault(name, used)
    figures = []
    for name, sites in SITES.items():
        used = next((rows[site] for site in sites if site in rows), None)
        if used is None:
            raise _lacks(source.path, f"a row '| {sites[0]} |'")
        figures.append(source.figure(name, used, UNITS[name]))
    return tuple(figures)


def _timing(source: _Provenance, text: str) -> tuple[Figure, ...]:
    table = re.search(r"^\s*WNS\(ns\).*\n[\s-]+\n\s*(\S+)", text, re.MULTILINE)
    if table is None:
        raise _lacks(source.path, "the table 'Design Timing Summary' with WNS(ns)")
    slack = source.figure("wns", table[1], "ns")
    clocks = re.search(r"^Clock\s+Waveform\(ns\).*\n[\s-]+\n((?:\S.*\n)+)", text, re.MULTILINE)
    if clocks is None:
        raise _lacks(source.path, "the table 'Clock Summary'")
    periods = [float(period) for period in re.findall(r"\}\s+([\d.]+)\s", clocks[1])]
    if not isinstance(slack.value, int | float):
        return slack, source.none("clock_period", "ns", f"WNS is '{table[1]}'")
    if len(periods) != 1:
        return slack, source.none("clock_period", "ns", f"{len(periods)} clocks, and WNS does not say of which")
    return slack, source.figure("clock_period", f"{periods[0] - slack.value:.3f}", "ns")


# Quartus --------------------------------------------------------------------------------------------


def read_quartus(path: Path) -> tuple[Figure, ...]:
    """Return the figures of Quartus' fitter (its fit.summary)."""
    text = _text(path)
    facts = dict(re.findall(r"^([^:\n]+?) : (.*)\n", text, re.MULTILINE))
    for needed in ("Fitter Status", "Device"):
        if needed not in facts:
            raise _lacks(path, f"a line '{needed} : ...'")
    if not facts["Fitter Status"].startswith("Successful"):
        raise ProjectError(f"{path}: expected a successful fit, but its status is '{facts['Fitter Status']}'")
    version = next((value for name, value in facts.items() if re.fullmatch(r"Quartus.* Version", name)), None)
    if version is None:
        raise _lacks(path, "a line 'Quartus Prime Version : ...'")
    target = f"{facts.get('Family', 'Intel')} {facts['Device']}"
    source = _Provenance(path, FigureStage.PLACED_AND_ROUTED_BY_VENDOR, "Quartus", version.split(" ")[0], target)
    figures = []
    for name, (pattern, unit) in QUARTUS.items():
        value = next((value for fact, value in facts.items() if re.fullmatch(pattern, fact)), None)
        if value is None:
            raise _lacks(path, f"a line '{pattern.split('|')[0].replace(chr(92), '')} : ...'")
        figures.append(source.figure(name, value.split("/")[0].replace(",", "").strip(), unit))
    return tuple(figures)


# All of them ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Provenance:
    """State the provenance of the figures of a report."""

    path: Path
    stage: FigureStage
    tool: str
    version: str
    target: str

    @classmethod
    def of_vivado(cls, path: Path, text: str, of_nets: FigureStage | None = None) -> _Provenance:
        """Return the provenance in the head of a Vivado report.

        Timing summaries up to 2019.2 state no design state: ``of_nets`` is what their paths show. Without it
        the weakest stage is stated.
        """
        head: Mapping[str, str] = dict(re.findall(r"^\| (\w[\w ]*?)\s*: (.*?)\s*$", text[:HEAD], re.MULTILINE))
        for needed in ("Tool Version", "Device"):
            if needed not in head:
                raise _lacks(path, f"the line '| {needed} : ...'")
        stage, target = of_nets, head["Device"]
        if "Design State" in head:
            stage = next((stage for word, stage in STATES if word in head["Design State"].lower()), None)
        elif of_nets is None:
            stage, target = FigureStage.SYNTHESISED_BY_VENDOR, f"{target}, design state not stated"
        version = re.search(r"v\.?(\d+\.\S+)", head["Tool Version"])
        if version is None or stage is None:
            raise ProjectError(
                f"{path}: expected a Vivado version and a known design state, "
                f"not '{head['Tool Version']}' and '{head.get('Design State')}'"
            )
        return cls(path, stage, "Vivado", version[1], target)

    def figure(self, name: str, text: str, unit: str) -> Figure:
        """Return the figure of a printed number; of a word such as undef, a figure without a value."""
        try:
            value = float(text)
        except ValueError:
            return self.none(name, unit, f"{self.path.name} says '{text}'")
        number = int(value) if unit != "ns" and value.is_integer() else value
        return Figure(name, number, unit, self.stage, self.tool, self.version, self.target)

    def none(self, name: str, unit: str, why: str) -> Figure:
        """Return a figure without a value, with the reason."""
        return Figure(name, None, unit, self.stage, self.tool, self.version, self.target, why)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error


def _lacks(path: Path, what: str) -> ProjectError:
    return ProjectError(f"{path}: expected {what}, but it is not there; is the report cut short?")


READERS: tuple[tuple[str, Callable[[Path], tuple[Figure, ...]]], ...] = (
    ("csynth.xml", read_csynth),
    (".rpt", read_vivado),
    (".fit.summary", read_quartus),
)
"""The reader of reports whose names end so."""
