"""Print the table of docs/jets.md: multiplicity, mass and momentum of each class of a jet file.

python docs/describe_jets.py data/jets_train.h5
"""

import sys
from pathlib import Path

import h5py
import numpy as np

from edgephys.applications.jets.data import layout

LIMIT = 60_000
SOFT_GEV = 2.0
"""Softer constituents are no input of a network."""


def rows(path: Path) -> list[list[str]]:
    """Return a row for each class: jets; median and central 68 % of pT; median mass; constituents; shares of pT."""
    with h5py.File(path) as file:
        jets = file[layout.JETS_DATASET][:LIMIT]
        pt = file[layout.PARTICLES_DATASET][:LIMIT, :, layout.PARTICLE_NAMES.index("pt")]
    labels = jets[:, layout.LABEL_COLUMNS].argmax(axis=1)
    jet_pt, mass = (jets[:, layout.JET_NAMES.index(name)] for name in ("j_pt", "j_mass"))
    ordered = -np.sort(-pt, axis=1)
    shares = np.cumsum(ordered, axis=1) / ordered.sum(axis=1, keepdims=True)
    table = []
    for label, name in enumerate(layout.CLASSES):
        chosen = labels == label
        low, middle, high = np.percentile(jet_pt[chosen], [16, 50, 84])
        table.append(
            [
                name,
                f"{chosen.sum():,}",
                f"{middle:.0f} ({low:.0f} to {high:.0f})",
                f"{np.median(mass[chosen]):.0f}",
                f"{(pt[chosen] > 0).sum(axis=1).mean():.1f}",
                f"{(pt[chosen] > SOFT_GEV).sum(axis=1).mean():.1f}",
                *(f"{100 * shares[chosen, n - 1].mean():.0f}" for n in (8, 16, 32)),
            ]
        )
    return table


if __name__ == "__main__":
    for row in rows(Path(sys.argv[1])):
        print("| " + " | ".join(row) + " |")
