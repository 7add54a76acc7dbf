"""Deep Sets of learnt tables: the constituents of a jet -> g, q, W, Z, t, without a multiplication.

Run it by itself (`python models/jet_tables.py --data models/samples/jets.h5 --out runs/tables`) or
through the CLI (`edgephys train models/jet_tables.py --set constituents=16 --set phi=48`).
Source: arXiv 2512.12850 and 2604.22293; the set network and its widths are ours.
"""

from edgephys.applications.jets.networks.table_deepsets import TableDeepSets
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_tables",
    net=TableDeepSets(constituents=8),
    learning_rate={8: 5e-3},
    schedule="cosine",
    batch=1024,
    epochs=40,
    stop_patience=40,
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
