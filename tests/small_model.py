"""A small quantised tagger with random weights, saved as `edgephys train` saves one: no training needed."""

from pathlib import Path

import numpy as np

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.models import standardise
from edgephys.models.card import Card
from edgephys.models.trained import Trained, save
from edgephys.models.vectors import HeldOut

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "jets.h5"
NET = DeepSets(constituents=4, phi=(6, 5), rho=(5,), bits=4)


def trained(seed: int = 1, vectors: int = 200, net: Tagger = NET) -> Trained:
    from edgephys.networks.backend import keras

    keras.utils.set_random_seed(seed)
    read = jets.read(SAMPLE, net.constituents, net.features, limit=vectors)
    ready = standardise.fit(read.features, net.features, net.input)
    model = net.build()
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    metrics = {
        "accuracy": 0.2,
        "accuracy_error": 0.01,
        "auc": dict.fromkeys(jets.CLASSES, 0.5),
        "auc_error": dict.fromkeys(jets.CLASSES, 0.01),
        "jets": vectors,
    }
    card = {
        "name": f"small_{net.label}",
        "seed": seed,
        "recipe": {"net": {"constituents": net.constituents, "features": list(net.features)}},
        "classes": list(jets.CLASSES),
        "parameters": int(model.count_params()),
        "metrics": metrics,
        "standardisation": ready.to_record(),
        "versions": {"keras": keras.__version__},
    }
    return Trained(model, HeldOut(ready.apply(read.features), read.labels), Card.of_record(card))


def save_small(folder: Path) -> Path:
    return save(trained(), folder)
