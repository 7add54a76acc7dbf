"""Sections of a project's page that describe what it takes: resources by layer, pipeline, latency, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from edgephys.core.figure import Figure
from edgephys.project import Project
from edgephys.report.figure_groups import LAYERS, in_groups, tool_of
from edgephys.report.network_sections import height_of
from edgephys.report.plot import COLOURS, GREY, INK, WIDTH, panels, shortened, svg
from edgephys.report.table import Column, Drawing, Table, written
from edgephys.targets.capacity import Capacity
from edgephys.targets.target import Picture, WorkingSpan

BITS_OF_BYTE = 8
USED = ("lut", "ff", "dsp", "bram")
"""Resources that a part has a number of."""
TOO_MUCH = "#b3261e"
"""Colour of a bar beyond the whole part."""


# Resources ----------------------------------------------------------------------------------------


def part(figures: Sequence[Figure], name: str, whole: Capacity | None) -> Table:
    """Declare which share of its part a design takes, a row a resource; the picture has a line at the whole part.

    ``whole`` is what the part of this name has, where it is known.
    """
    known = {figure.name: figure for figure in figures}
    rows = [
        {
            "resource": resource.upper(),
            "uses": known[resource].value,
            "has": getattr(whole, resource),
            "share": _number(share) / 100,
            "provenance": share.provenance,
        }
        for resource in USED
        if whole and (share := known.get(f"{resource}_share")) is not None and share.value is not None
    ]
    return Table(
        title="Share of the part",
        lead=(f"{name}: {known['lut'].provenance}." if rows else _no_share(known.get("lut_share")),),
        columns=(
            Column("resource", "resource", left=True, hover=lambda row: str(row["provenance"])),
            Column("uses", "design"),
            Column("has", "part"),
            Column("share", "share", "%", written(".3g", 100), bar=lambda row: float(row["share"])),
        ),
        rows=rows,
        pictures=(Drawing("Share of the part; the line is all that it has", lambda _: _draw_part(rows), ".svg"),)
        if rows
        else (),
    )


def _no_share(share: Figure | None) -> str:
    """Say why no share of the part is known."""
    return f"Not known: {share.why if share is not None else 'this target has no synthesis of the whole design here'}."


def _draw_part(rows: Sequence[Mapping[str, Any]]) -> bytes:
    figure, axes = panels(WIDTH, height_of(len(rows)))
    of, shares = axes[0, 0], [100 * row["share"] for row in rows]
    colours = [TOO_MUCH if share > 100 else COLOURS[0] for share in shares]
    bars = of.barh(range(len(rows)), shares, height=0.6, color=colours)
    of.bar_label(bars, [f"{share:.3g} %" for share in shares], fontsize=8.5, padding=3)
    of.axvline(100, color=INK, linestyle="--", linewidth=1.2)
    of.set_yticks(range(len(rows)), [row["resource"] for row in rows])
    of.set_ylim(len(rows) - 0.5, -0.5)
    of.set_xlim(0, 1.25 * max(100, *shares))
    of.set_xlabel("% of the part; dashed: the whole part", fontsize=9)
    return svg(figure)


def resources(figures: Sequence[Figure], whole: int | None = None) -> Table:
    """Declare what each layer takes, the largest first, with its share of all layers, and of the part's LUTs.

    ``whole`` is the number of LUTs that the part has, where it is known.
    """
    layers = [figure for figure in in_groups(figures).get(LAYERS, []) if isinstance(figure.value, int | float)]
    units = list(dict.fromkeys(figure.unit for figure in layers))
    totals = {unit: sum(_number(figure) for figure in layers if figure.unit == unit) for unit in units}
    rows = [_layer_row(figure, totals[figure.unit], whole) for figure in layers]
    of_part = (Column("part_share", "of part", "%", written(".2f", 100)),) if whole and rows else ()
    return Table(
        title="Resources by layer",
        lead=(_source(layers),) if rows else (_no_layers(figures),),
        columns=(
            Column("layer", "module", left=True, hover=lambda row: str(row["provenance"])),
            Column("value", " or ".join(units), hover=lambda row: str(row["provenance"])),
            Column("share", "share", "%", written(".1f", 100), bar=lambda row: float(row["share"])),
            *of_part,
        ),
        rows=rows,
    )


def _number(figure: Figure) -> float:
    return float(figure.value or 0)


def _layer_row(figure: Figure, total: float, whole: int | None) -> Mapping[str, Any]:
    return {
        "layer": figure.name.partition(".")[2],
        "value": figure.value,
        "share": _number(figure) / total if total else 0.0,
        "part_share": _number(figure) / whole if whole else None,
        "provenance": figure.provenance,
    }


def _source(layers: Sequence[Figure]) -> str:
    """Say which stages and tools the figures of layers come from."""
    sources = dict.fromkeys(f"{figure.stage.value}, {tool_of(figure)}" for figure in layers)
    where = _common([figure.target for figure in layers])
    return f"Where these figures come from: {'; '.join([*sources, *where])}. All copies of a module are counted."


def _common(targets: Sequence[str]) -> list[str]:
    """Return what the targets of several layers have in common, such as the family of the part."""
    columns = zip(*(target.split(", ") for target in targets), strict=False) if len(targets) > 1 else ()
    words = [same[0] for same in takewhile(lambda column: len(set(column)) == 1, columns)]
    return [", ".join(words)] if words else []


def _no_layers(figures: Sequence[Figure]) -> str:
    """Say why no layer has a figure: as the sum of them, where it has none, does."""
    lut = next((figure for figure in figures if figure.name == "lut"), None)
    if lut is None:
        return "Not measured: this target has no resources of single layers."
    return f"Not measured: {lut.why or 'what was measured is of the whole design'}."


# Pipeline and latency -----------------------------------------------------------------------------


def pipeline(project: Project) -> Table:
    """Declare in which cycles each part of the pipeline works on an input, and what it adds to the latency."""
    spans = project.target.pipeline(project.facts)
    rows = _budget(spans, project.clock_ns if project.target.has_clock and spans else 0.0)
    return Table(
        title="Pipeline and latency budget",
        lead=(
            "As emitted. A part may begin and end within a cycle; it adds the cycles by which it ends later than all "
            "that end before it. The ns are cycles at the stated clock, which no routing has confirmed."
            if rows
            else f"No pipeline: the emission to '{project.kind}' states no stages.",
        ),
        columns=(
            Column("part", "part", left=True),
            Column("cycles", "cycles", left=True),
            Column("added", "adds", "cycles", bar=lambda row: float(row["share"])),
            Column("added_ns", "adds", "ns", written(".1f")),
            Column("delay_ns", "logic, estimated", "ns", written(".1f"), minor=True),
        ),
        rows=rows,
        pictures=(Drawing("Cycles in which each part works on one input", lambda _: _draw_pipeline(spans), ".svg"),)
        if rows
        else (),
    )


def _budget(spans: Sequence[WorkingSpan], clock_ns: float) -> list[dict[str, Any]]:
    """Return a row a part, in the order in which they end."""
    total, ended, rows = max((span.last for span in spans), default=0), 0, []
    for span in sorted(spans, key=lambda span: (span.last, span.first)):
        added, ended = max(0, span.last - ended), max(ended, span.last)
        rows.append(
            {
                "part": span.name,
                "cycles": str(span.first) if span.first == span.last else f"{span.first}–{span.last}",
                "added": added,
                "share": added / total,
                "added_ns": added * clock_ns,
                "delay_ns": span.delay_ns,
            }
        )
    return rows


def _draw_pipeline(spans: Sequence[WorkingSpan]) -> bytes:
    figure, axes = panels(WIDTH, height_of(len(spans)))
    of, last = axes[0, 0], max(span.last for span in spans)
    for line, span in enumerate(spans):
        waits = span.delay_ns is None
        colour, edge, pattern = ("#c9d3de", "white", "//") if waits else (COLOURS[0], COLOURS[0], "")
        length = span.last - span.first + 1
        of.barh(line, length, left=span.first - 1, height=0.62, color=colour, hatch=pattern, edgecolor=edge)
    of.set_yticks(range(len(spans)), [shortened(span.name) for span in spans])
    of.set_ylim(len(spans) - 0.5, -0.5)
    of.set_xlim(0, last * 1.02)
    of.xaxis.get_major_locator().set_params(integer=True)
    of.set_xlabel("clock cycles" + (", hatched: memory" if any(s.delay_ns is None for s in spans) else ""), fontsize=9)
    of.grid(axis="x", alpha=0.3, color=GREY)
    return svg(figure)


# Memory -------------------------------------------------------------------------------------------


def memory(project: Project, pictures: Sequence[Picture]) -> Table:
    """Declare the parts of the planned memory, the largest first, with the pictures that the target draws."""
    parts = sorted(project.target.memory(project.facts), key=lambda part: part.bits, reverse=True)
    total = sum(part.bits for part in parts)
    in_bytes = all(part.bits % BITS_OF_BYTE == 0 for part in parts)
    unit, size = ("bytes", BITS_OF_BYTE) if in_bytes else ("bits", 1)
    rows = [
        {"part": part.name, "size": part.bits // size, "share": part.bits / max(total, 1), "holds": part.holds}
        for part in parts
    ]
    why = f"No memory plan: the emission to '{project.kind}' keeps values in registers, or leaves that to a tool."
    return Table(
        title="Memory plan",
        lead=() if rows else (why,),
        columns=(
            Column("part", "part", left=True),
            Column("size", "size", unit),
            Column("share", "share of all parts", "%", written(".1f", 100), bar=lambda row: float(row["share"])),
            Column("holds", "holds", left=True, minor=True),
        ),
        rows=rows,
        pictures=tuple(_shown(picture) for picture in pictures),
    )


def _shown(picture: Picture) -> Drawing:
    return Drawing(picture.title, lambda _: picture.png, f".{picture.name.rpartition('.')[2]}")
