"""Commands of the jets: `edgephys data jets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import bar, give
from edgephys.cli.words import DataSeed, Json, Workers


def data(
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    jets_per_class: Annotated[int, typer.Option(min=1, max=10**8, help="Jets of each of g, q, W, Z, t.")] = 20000,
    seed: DataSeed = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Generate jets with Pythia 8 and FastJet in the layout of the public LHC jet files.

    \b
    Example: edgephys data jets --jets-per-class 20000 --seed 1 --out data/jets.h5
    """
    from edgephys.applications.jets.data.generate import generate
    from edgephys.core.hdf5 import check_replaceable

    check_replaceable(out)
    with bar("jets", 5 * jets_per_class) as tick:
        generate(out, jets_per_class, seed, workers, lambda done, total: tick(done, total))
    record = {"file": str(out), "jets": 5 * jets_per_class, "seed": seed}
    give(as_json, record, lambda: f"{out}: {5 * jets_per_class} jets, seed {seed}")
