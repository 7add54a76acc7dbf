"""How far the LUT estimate made at emission is from synthesis, measured on the rows that have both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

ENOUGH = 3
"""Rows with both figures from which leaving one out says something."""


def calibrate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the ratio of synthesised to estimated LUTs; give the estimated rows ``lut_calibrated``.

    The figure of an estimated row stays the estimate as it was made. Beside it stands estimate times median
    ratio, whose error is measured by predicting each synthesised row from the others.
    """
    both = {
        row["model"]: (row["lut_estimate"], row["lut"])
        for row in rows
        if row["lut"] is not None and row["lut_estimate"] and row["lut_stage"].startswith("synthesised")
    }
    found: dict[str, Any] = {"tool": "alkaid", **compared(both)}
    for row in rows:
        estimated = row["lut_stage"] == "estimated" and found["ratio_median"] is not None
        row["lut_calibrated"] = round(row["lut_estimate"] * found["ratio_median"]) if estimated else None
    return found


def compared(both: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Return what synthesised LUTs are of estimates, given (estimate, synthesised) by name, and the error of that."""
    ratios = {name: synthesised / estimate for name, (estimate, synthesised) in both.items()}
    found: dict[str, Any] = {"rows": len(ratios), "ratios": ratios}
    found |= {"ratio_median": None, "ratio_min": None, "ratio_max": None, "leave_one_out": None}
    if ratios:
        middle = median(ratios.values())
        found |= {"ratio_median": middle, "ratio_min": min(ratios.values()), "ratio_max": max(ratios.values())}
    if len(ratios) >= ENOUGH:
        errors = _left_out(ratios)
        found["leave_one_out"] = {
            "relative_error_median": median(abs(error) for error in errors.values()),
            "relative_error_min": min(errors.values()),
            "relative_error_max": max(errors.values()),
        }
    return found


def _left_out(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return, for each row, how far the others' median ratio puts its LUTs above (+) or below (-) synthesis."""
    return {
        model: median(other for name, other in ratios.items() if name != model) / ratio - 1
        for model, ratio in ratios.items()
    }
