"""Measure the error of the LUT estimate against synthesis, on the rows that have both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

ENOUGH = 3
"""Rows with both figures from which leaving one out says something."""


def calibrate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the ratio of synthesised to estimated LUTs; give the estimated rows ``lut_calibrated``.

    An estimated row keeps its estimate. ``lut_calibrated`` is the estimate times the median ratio; its error is
    measured by predicting each synthesised row from the others.
    """
    both = {
        row["model"]: (row["lut_estimate"], row["lut"])
        for row in rows
        if row["lut"] is not None and row["lut_estimate"] and row["lut_stage"].startswith("synthesised")
    }
    errors: dict[str, Any] = {"tool": "alkaid", **compared(both)}
    for row in rows:
        estimated = row["lut_stage"] == "estimated" and errors["ratio_median"] is not None
        row["lut_calibrated"] = round(row["lut_estimate"] * errors["ratio_median"]) if estimated else None
    return errors


def compared(both: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the ratios of synthesised LUTs to estimates, by name, and the error of a prediction by the median.

    ``both`` holds (estimate, synthesised) by name.
    """
    ratios = {name: synthesised / estimate for name, (estimate, synthesised) in both.items()}
    facts: dict[str, Any] = {"rows": len(ratios), "ratios": ratios}
    facts |= {"ratio_median": None, "ratio_min": None, "ratio_max": None, "leave_one_out": None}
    if ratios:
        middle = median(ratios.values())
        facts |= {"ratio_median": middle, "ratio_min": min(ratios.values()), "ratio_max": max(ratios.values())}
    if len(ratios) >= ENOUGH:
        errors = _left_out(ratios)
        facts["leave_one_out"] = {
            "relative_error_median": median(abs(error) for error in errors.values()),
            "relative_error_min": min(errors.values()),
            "relative_error_max": max(errors.values()),
        }
    return facts


def _left_out(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return, for each row, the relative error of its LUTs as predicted by the median ratio of the other rows."""
    return {
        model: median(other for name, other in ratios.items() if name != model) / ratio - 1
        for model, ratio in ratios.items()
    }
