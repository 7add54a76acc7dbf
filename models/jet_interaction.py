"""Interaction-network jet tagger: every ordered pair of N constituents -> g, q, W, Z, t.

Run it by itself (`python models/jet_interaction.py --data models/samples/jets.h5 --out runs/interaction`) or
through the CLI (`edgephys train models/jet_interaction.py --set constituents=16 --set bits=6`).
Source: arXiv 2402.01876; widths and patience are the paper's. Ours: batch normalisation of the float network, the
logarithm of pT, the learning rate along a cosine, and a range of its own for each layer's weights.
"""

from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_interaction",
    net=InteractionNetwork(constituents=8, bits=8),
    learning_rate={8: 2e-3},
    schedule="cosine",
    stop_patience=40,
    weight_range="fitted",
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
