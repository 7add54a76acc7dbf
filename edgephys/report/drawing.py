"""Draw the layers of a Graph as SVG: a box a layer from top to bottom, arrows with widths between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgephys.core.reading import read_text
from edgephys.report.explained import shape_text

WIDTH, HEIGHT, GAP, LEFT, TOP = 460, 44, 28, 20, 46
LANE = 16
"""Distance between arrows that pass layers, to the right of the boxes."""
CHARACTER = 6.4
"""Width of a character of 11 px, at most."""
MARK = "<!-- drawn by edgephys explain -->"
"""Line by which a drawing of ours is known."""
STYLE = (
    "text{font:11px monospace;fill:#222}.name{font-weight:bold}.title{font:bold 14px sans-serif}"
    "rect{fill:#eef3fa;stroke:#456;stroke-width:1}path{fill:none;stroke:#456;stroke-width:1.2}"
)

Layers = Sequence[Mapping[str, Any]]


def svg(name: str, layers: Layers) -> str:
    """Return the drawing of the layers that ``layer_summary`` states, as the text of an SVG file."""
    places = {layer["layer"]: number for number, layer in enumerate(layers)}
    lanes = _lanes(layers, places)
    right = LEFT + WIDTH + LANE * (2 + len(set(lanes.values())))
    bottom = TOP + len(layers) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" width="{right}" height="{bottom}">',
        MARK,
        f"<style>{STYLE}</style>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<polygon points="0,0 8,4 0,8" fill="#456"/></marker></defs>',
        '<rect width="100%" height="100%" style="fill:white;stroke:none"/>',
        f'<text class="title" x="{LEFT}" y="28">{escape(_fitting(name, 50))}</text>',
    ]
    for number, layer in enumerate(layers):
        parts += _box(layer, TOP + number * (HEIGHT + GAP))
        parts += [_arrow(places[other], number, lanes) for other in layer["reads"]]
    return "\n".join([*parts, "</svg>"]) + "\n"


def is_drawing(path: Path) -> bool:
    """Tell whether a file is a drawing of ours."""
    try:
        return MARK in read_text(path)
    except (OSError, ValueError):
        return False


def _lanes(layers: Layers, places: Mapping[str, int]) -> dict[tuple[int, int], int]:
    """Return a lane for each arrow that passes a layer, from layer to layer; those that do not overlap share one."""
    ends = [(places[other], places[layer["layer"]]) for layer in layers for other in layer["reads"]]
    lanes: dict[tuple[int, int], int] = {}
    for start, end in sorted((pair for pair in ends if pair[1] - pair[0] > 1), key=lambda pair: pair[1] - pair[0]):
        taken_lanes = {lane for (first, last), lane in lanes.items() if first < end and start < last}
        lanes[start, end] = next(lane for lane in range(len(ends)) if lane not in taken_lanes)
    return lanes


def _box(layer: Mapping[str, Any], top: int) -> list[str]:
    """Return a layer with its operations on one line, its shape, format and weights on the next one."""
    most = int((WIDTH - 20) / CHARACTER)
    weights = f"  {layer['weights']:,} weights ≤ {layer['weight_bits']} bits" if layer["weights"] else ""
    second = f"{shape_text(layer['shape'])}  {layer['format']}{weights}"
    name = _fitting(layer["layer"], most // 2)
    rest = _fitting("  " + " ".join(layer["operations"]), most - len(name))
    return [
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>',
        f'<text x="{LEFT + 10}" y="{top + 18}" xml:space="preserve"><tspan class="name">{escape(name)}</tspan>'
        f"{escape(rest)}</text>",
        f'<text x="{LEFT + 10}" y="{top + 35}" xml:space="preserve">{escape(_fitting(second, most))}</text>',
    ]


def _arrow(start: int, end: int, lanes: Mapping[tuple[int, int], int]) -> str:
    """Return an arrow to the next layer, or around those between."""
    bottom, top = TOP + start * (HEIGHT + GAP) + HEIGHT, TOP + end * (HEIGHT + GAP)
    if (start, end) not in lanes:
        middle = LEFT + WIDTH // 2
        return f'<path d="M{middle},{bottom} V{top - 1}" marker-end="url(#end)"/>'
    edge = LEFT + WIDTH
    lane = edge + LANE * (1 + lanes[start, end])
    return f'<path d="M{edge},{bottom - HEIGHT // 2} H{lane} V{top + HEIGHT // 2} H{edge + 1}" marker-end="url(#end)"/>'


def _fitting(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"
