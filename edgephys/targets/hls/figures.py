"""Figures of an HLS project: the times of a stream as emitted, and what the vendor's reports state."""

from __future__ import annotations

from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.targets import vendor
from edgephys.targets.target import EmittedProject

BY_VENDOR = (
    ("latency_cycles", "cycles"),
    ("latency_ns", "ns"),
    ("ii", "cycles"),
    ("lut", "LUT"),
    ("ff", "FF"),
    ("dsp", "DSP"),
    ("bram", "BRAM"),
)
"""Name and unit of the figures that only a vendor's synthesis can state."""


def stream_times(project: EmittedProject) -> list[Figure]:
    """Return the least latency and interval of a stream; none for a project without a stream."""
    if "latency_cycles_estimate" not in project.facts:
        return []
    height, width = project.facts["field"]
    where = f"a frame of {height}x{width} pixels, one a clock, as emitted; a vendor's tool sets the stages"
    return [
        Figure(
            name, project.facts[name], "cycles", FigureStage.ESTIMATED, "edgephys", project.versions["edgephys"], where
        )
        for name in ("latency_cycles_estimate", "ii_estimate")
    ]


def vendor_figures(project: EmittedProject) -> list[Figure]:
    """Return the figures of the vendor's reports, after those that no report states."""
    reported = vendor.read(project.folder)
    measured = {figure.name for figure in reported if figure.value is not None}
    if measured:
        why = "the vendor's reports in the project do not state it"
    elif reported:
        why = f"no vendor report that could be read; see {', '.join(figure.name for figure in reported)}"
    else:
        why = "no vendor report in the project; run the vendor's synthesis on it"
    provenance = (FigureStage.SYNTHESISED_BY_VENDOR, "vendor tool", "none", project.part, why)
    return [*(missing(name, unit, *provenance) for name, unit in BY_VENDOR if name not in measured), *reported]
