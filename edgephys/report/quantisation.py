"""Declare the table of a quantisation: what each layer lost, and the score before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.report.table import Column, Table, percent, written


def table(record: Mapping[str, Any]) -> Table:
    """Declare the rows of layers, with the score in the caption."""
    decibels, share = written(".1f"), percent
    return Table(
        title=f"{record['name']}: quantised to {record['bits']} bits",
        columns=(
            Column("layer", "layer", left=True),
            Column("weights", "weights", left=True),
            Column("weights_db", "weights' SQNR", "dB", decibels),
            Column("weights_clipped", "clipped", "%", share),
            Column("values", "values", left=True),
            Column("values_db", "values' SQNR", "dB", decibels),
            Column("values_clipped", "clipped", "%", share),
            Column("together_db", "all layers so far", "dB", decibels),
        ),
        rows=record["layers"],
        record=record,
        lead=(sentence(record),),
        remarks=("SQNR: power of the float values over that of what rounding changes; more is better",),
        notes=(
            "SQNR: power of the float model's weights or values over that of what rounding them alone changes; a dash: "
            "nothing, or no rounding.",
            "All layers so far: the same for the layer's result in the quantised model, where every layer is rounded.",
            f"Values are those of {record['held_out']:,} held-out examples at most.",
        ),
    )


def sentence(record: Mapping[str, Any]) -> str:
    """Return the score before and after in words."""
    scale = "" if record["score"] == "relative L2 distance from the float model" else _scores(record)
    distance = f"the outputs are {100 * record['distance']:.2f} % from the float model's in relative L2"
    return f"{scale}{distance}, on {record['held_out']:,} held-out examples"


def _scores(record: Mapping[str, Any]) -> str:
    before, after, change = (
        f"{100 * record[key]:{sign}.2f} ± {100 * record[f'{key}_error']:.2f}"
        for key, sign in (("before", ""), ("after", ""), ("change", "+"))
    )
    return f"{record['score']} {before} % before, {after} % after, change {change} %; "
