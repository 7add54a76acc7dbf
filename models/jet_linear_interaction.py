"""Linear interaction network: every constituent and the mean of all -> g, q, W, Z, t.

Run it by itself (`python models/jet_linear_interaction.py --data models/samples/jets.h5 --out runs/linear`) or
through the CLI (`edgephys train models/jet_linear_interaction.py --set constituents=16 --set bits=6`).
Source: arXiv 2508.15468; widths and learning rate are ours.
"""

from edgephys.applications.jets.networks.linear_interaction import LinearInteractionNetwork
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="jet_linear_interaction",
    net=LinearInteractionNetwork(constituents=8, bits=8),
    learning_rate={8: 3e-3},
    schedule="cosine",
    weight_range="fitted",
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
