"""Published figures, shown beside ours and never as if they were the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.applications.application import Literature

FAMILIES = {
    "jet_mlp": "MLP",
    "jet_deepsets": "Deep Sets",
    "jet_interaction": "interaction network",
    "jet_highlevel": "MLP on high-level features",
}
"""What the field calls the networks of our training scripts, in the order of the tables."""

SOURCE = "arXiv 2402.01876"
CLASSES = ("g", "q", "w", "z", "t")


def _facts(
    accuracy: float, cycles: int, ii: int | None, lut: int, dsp: int, auc: tuple[float, ...] = ()
) -> dict[str, Any]:
    """Return one published row; its clock is 5 ns, and what was not found is None."""
    return {
        "accuracy": accuracy,
        "auc": dict(zip(CLASSES, auc, strict=True)) if auc else None,
        "latency_cycles": cycles,
        "latency_ns": 5 * cycles,
        "ii": ii,
        "lut": lut,
        "ff": None,
        "dsp": dsp,
        "bram": None,
        "source": SOURCE,
        "jets": "the public 150-particle LHC jets",
        "part": "XCVU13P",
        "tool": "hls4ml and the vendor's tools",
        "stage": "synthesised (vendor)",
    }


DEEP_SETS_8BIT: Mapping[int, Mapping[str, Any]] = {
    8: _facts(0.640, 19, 3, 386_000, 626, (0.836, 0.876, 0.901, 0.882, 0.920)),
    16: _facts(0.694, 23, 3, 747_000, 555, (0.873, 0.891, 0.930, 0.915, 0.937)),
    32: _facts(0.759, 26, 2, 903_000, 434, (0.909, 0.907, 0.960, 0.952, 0.951)),
}
INTERACTION_8BIT: Mapping[int, Mapping[str, Any]] = {
    8: _facts(0.649, 32, None, 472_000, 2_120),
    16: _facts(0.708, 36, None, 1_388_000, 5_362),
    32: _facts(0.758, 41, None, 1_162_000, 2_120),
}
"""By number of constituents. Source: arXiv 2402.01876, tables of accuracy, AUC and resources: the public
150-particle LHC jets, XCVU13P at 5 ns, after logic synthesis. Ours: the cycles of the interaction network are
its nanoseconds (160, 180, 205) over that clock. None, and no row of the MLP: not found in a source that we
could read, and not filled in from elsewhere."""

EIGHT_BIT = {"jet_deepsets": DEEP_SETS_8BIT, "jet_interaction": INTERACTION_8BIT}

WIDTHS: Mapping[str, Mapping[str, Mapping[int, tuple[int, ...]]]] = {
    "jet_deepsets": {"phi": {8: (32, 32, 32)}, "rho": {8: (32,)}},
    "jet_interaction": {
        "effects": {8: (12, 6), 32: (3,)},
        "objects": {8: (36, 18, 6)},
        "classifier": {8: (170,), 32: (512,)},
    },
}
"""Published widths of the layers, by the number of constituents from which they hold."""


def published(recipe: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the published row of a model card's recipe; None unless network, input and width are the paper's.

    A width that the recipe leaves open is the paper's.
    """
    family, net = recipe.get("script"), recipe.get("net", {})
    constituents = net.get("constituents")
    row = EIGHT_BIT.get(str(family), {}).get(constituents)
    if row is None or net.get("bits") != 8 or net.get("activation_bits") not in (None, 8):
        return None
    if tuple(net.get("features", ()))[-2:] != ("etarel", "phirel") or net["features"][0] not in ("pt", "log2pt"):
        return None
    for name, by_constituents in WIDTHS[str(family)].items():
        wanted = by_constituents[max(least for least in by_constituents if least <= constituents)]
        if net.get(name) is not None and tuple(net[name]) != wanted:
            return None
    return row


LITERATURE = Literature(
    source=SOURCE,
    caveat=f"Published rows ({SOURCE}) are on **other jets**, the public 150-particle files, and another synthesis: "
    "they show where the field stands and are not a comparison.",
    prefix="jet_",
    families=FAMILIES,
    rows=EIGHT_BIT,
)
