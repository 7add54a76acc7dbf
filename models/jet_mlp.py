"""MLP jet tagger: N constituents of (pT, eta_rel, phi_rel) side by side -> g, q, W, Z, t.

Run it by itself (`python models/jet_mlp.py --data models/samples/jets.h5 --out runs/mlp`) or
through the CLI (`edgephys train models/jet_mlp.py --set constituents=16 --set bits=6`).
Source: arXiv 2402.01876; widths are the paper's, the learning rate ours.
"""

from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_mlp",
    net=Mlp(constituents=8, bits=8),
    learning_rate={8: 1e-3},
    schedule="cosine",
    weight_range="fitted",
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
