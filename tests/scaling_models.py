"""Small taggers of two families with random weights and whole cards, as `edgephys train` saves them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import small_model

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.models import standardise
from edgephys.models.card import CARD, Card
from edgephys.models.trained import Trained, save
from edgephys.models.vectors import HeldOut

DEEP_SETS = DeepSets(constituents=4, phi=(4,), rho=(), bits=4)
MLP = Mlp(constituents=3, layers=(), bits=3)
FLOAT = dataclasses.replace(DEEP_SETS, bits=None)
VECTORS = 60


def trained(script, net, seed=1):
    from edgephys.networks.backend import keras

    keras.utils.set_random_seed(seed)
    read = jets.read(small_model.SAMPLE, net.constituents, net.features, limit=VECTORS)
    ready = standardise.fit(read.features, net.features, net.input)
    model = net.build()
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    share = 0.25 if net.bits is None else 0.2
    card = {
        "name": f"{script}_{net.label}",
        "seed": seed,
        "recipe": {"script": script, "net": dataclasses.asdict(net)},
        "classes": list(jets.CLASSES),
        "parameters": int(model.count_params()),
        "metrics": {
            "accuracy": share,
            "accuracy_error": 0.01,
            "auc": dict.fromkeys(jets.CLASSES, 0.5),
            "auc_error": dict.fromkeys(jets.CLASSES, 0.01),
            "jets": VECTORS,
        },
        "standardisation": ready.to_record(),
        "versions": {"keras": keras.__version__},
    }
    return Trained(model, HeldOut(ready.apply(read.features), read.labels), Card.of_record(card))


def save_all(top: Path) -> list[Path]:
    """Save a perceptron, a Deep Sets network and its float twin; return their folders."""
    nets = [("jet_mlp", MLP), ("jet_deepsets", FLOAT), ("jet_deepsets", DEEP_SETS)]
    return [save(made, top / made.name) for made in (trained(script, net) for script, net in nets)]


def edit_card(folder: Path, change) -> None:
    """Let ``change`` change the card of a saved model."""
    card = json.loads((folder / CARD).read_text())
    change(card)
    (folder / CARD).write_text(json.dumps(card))
