"""Scaling tables of a small zoo: a run, and what is compared of two of them."""

import dataclasses
import json
from pathlib import Path

from edgephys.report import scaling
from edgephys.workflow.firmware import FirmwarePlan

MLP, DEEP_SETS, FLOAT = "jet_mlp_n3_3bit", "jet_deepsets_n4_4bit", "jet_deepsets_n4_float"


def models(top):
    return [top / name for name in (DEEP_SETS, FLOAT, MLP)]


def table_of(top, projects, to=("rtl",), write=lambda table: None, **wishes):
    plan = FirmwarePlan(to=to, projects=projects, **wishes)
    return scaling.tabulate(models(top), plan, "edgephys scaling", lambda text: None, write)


def without_seconds(table):
    told = json.loads(json.dumps(table))
    for row in told["rows"]:
        row["emit_seconds"] = None
        for project in row["projects"].values():
            project["emit_seconds"] = None
    return told


def loaded_once(load):
    """Return what loads each model once: loading Keras models is most of a run that has nothing to do."""
    known = {}

    def once(folder):
        key = tuple((folder / name).read_bytes() for name in ("model.keras", "card.json", "held_out.npz"))
        if key not in known:
            known[key] = load(folder)
        return dataclasses.replace(known[key], folder=folder)

    return once


def row_of(table, name):
    return next(row for row in table["rows"] if row["model"] == name)


def running_with(cache):
    """Return the processes whose builds go into a cache."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"EDGEPHYS_CACHE={cache}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found
