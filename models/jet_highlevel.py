"""MLP jet tagger on sixteen high-level features of the whole jet -> g, q, W, Z, t.

Run it by itself (`python models/jet_highlevel.py --data models/samples/jets.h5 --out runs/highlevel`) or
through the CLI (`edgephys train models/jet_highlevel.py --set bits=6`). The features are computed from the
constituents (edgephys/applications/jets/data/substructure.py says how, and what differs from the published ones).
Source: arXiv 1804.06913; widths are the paper's, the learning rate ours.
"""

from edgephys.applications.jets.data.substructure import HIGH_LEVEL
from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_highlevel",
    net=Mlp(constituents=1, features=HIGH_LEVEL, layers=(64, 32, 32), bits=8),
    learning_rate={1: 1e-3},
    schedule="cosine",
    weight_range="fitted",
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
