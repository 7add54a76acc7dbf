"""The figure of a memory plan: tensors as rectangles over the steps that they live in and the bytes that they take."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""After Okabe and Ito: they stay apart for the colour-blind."""
NAMED = 30
"""Steps up to which each is named by its layer."""


def picture(facts: Mapping[str, Any], title: str) -> bytes:
    """Return as PNG the arena of a C target, from its facts. Units: bytes over steps, KiB where there are many."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    tensors, steps = facts["tensors"], facts["steps"]
    unit, name = (1024, "KiB") if facts["arena_bytes"] >= 10_240 else (1, "bytes")
    figure, axes = pyplot.subplots(figsize=(max(6.4, min(16.0, 0.75 * len(steps) + 2)), 4.6))
    for number, tensor in enumerate(tensors):
        low, high = tensor["offset"] / unit, tensor["bytes"] / unit
        width = tensor["last"] - tensor["first"] + 1
        colour = COLOURS[number % len(COLOURS)]
        axes.add_patch(Rectangle((tensor["first"] - 0.5, low), width, high, fc=colour, ec="white", lw=0.4, alpha=0.85))
        if tensor["bytes"] >= 0.045 * facts["arena_bytes"]:
            said = f"{tensor['bytes'] / unit:g}"
            axes.text(tensor["first"] - 0.5 + width / 2, low + high / 2, said, ha="center", va="center", fontsize=8)
    bound, total = facts["bound_bytes"] / unit, facts["arena_bytes"] / unit
    same = " = arena" if bound == total else ""
    axes.axhline(bound, color="black", ls="--", lw=1.2, label=f"bound{same}: {bound:,g} {name} alive at once")
    if not same:
        axes.axhline(total, color="black", lw=1.2, label=f"arena: {total:,g} {name}")
    apart = f"no sharing: {facts['no_sharing_bytes'] / unit:,g} {name}"
    axes.plot([], [], " ", label=f"{apart} ({facts['no_sharing_bytes'] / facts['arena_bytes']:.1f} times the arena)")
    axes.set(xlim=(-0.6, len(steps) - 0.4), ylim=(0, 1.3 * max(total, bound)), ylabel=f"offset in the arena ({name})")
    if len(steps) <= NAMED:
        axes.set_xticks(range(len(steps)), [step["layer"] for step in steps], rotation=55, ha="right", fontsize=8)
    axes.set_xlabel("step, by the layer that it ends")
    axes.set_title(f"{title}: {facts['strategy']}", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()
