"""Texts of pipelines, as users write them."""

import json


def stage(kind, **settings):
    """Return the text of a stage."""
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in {"kind": kind, **settings}.items())
    return f"[[stage]]\n{''.join(lines)}\n"


FEW = {"epochs": 1, "batch": 64}
FRUGAL = stage("frugal", **FEW, lut_cost=1e-5)
"""A short stage that few examples suffice for."""
