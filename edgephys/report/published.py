"""Published figures, shown beside ours and never as if they were the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEEP_SETS_8BIT: Mapping[int, Mapping[str, Any]] = {
    8: {
        "accuracy": 0.640,
        "auc": {"g": 0.836, "q": 0.876, "w": 0.901, "z": 0.882, "t": 0.920},
        "latency_cycles": 19,
        "latency_ns": 95,
        "ii": 3,
        "lut": 386_000,
        "dsp": 626,
    },
    16: {
        "accuracy": 0.694,
        "auc": {"g": 0.873, "q": 0.891, "w": 0.930, "z": 0.915, "t": 0.937},
        "latency_cycles": 23,
        "latency_ns": 115,
        "ii": 3,
        "lut": 747_000,
        "dsp": 555,
    },
    32: {
        "accuracy": 0.759,
        "auc": {"g": 0.909, "q": 0.907, "w": 0.960, "z": 0.952, "t": 0.951},
        "latency_cycles": 26,
        "latency_ns": 130,
        "ii": 2,
        "lut": 903_000,
        "dsp": 434,
    },
}
"""Deep Sets by number of constituents. Source: arXiv 2402.01876, tables of accuracy, AUC and resources:
the public 150-particle LHC jets, XCVU13P at 5 ns, after logic synthesis."""

CAVEAT = (
    "Published rows (arXiv 2402.01876) are on **other jets**, the public 150-particle files, and another synthesis: "
    "they show where the field stands and are not a comparison."
)
