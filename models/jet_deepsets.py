"""Deep Sets jet tagger: N constituents of (log2 pT, eta_rel, phi_rel) -> g, q, W, Z, t.

Run it by itself (`python models/jet_deepsets.py --data models/samples/jets.h5 --out runs/deepsets`) or
through the CLI (`edgephys train models/jet_deepsets.py --set constituents=16 --set bits=6`).
Source: arXiv 2402.01876; widths and quantisers are the paper's. Ours: batch normalisation of the float network, the
logarithm of pT, the learning rate along a cosine, and a range of its own for each layer's weights.
"""

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_deepsets",
    net=DeepSets(constituents=8, phi=(32, 32, 32), rho=(32,), bits=8),
    learning_rate={8: 3e-3},
    schedule="cosine",
    weight_range="fitted",
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
