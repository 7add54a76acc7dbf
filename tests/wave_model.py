"""A small network on fields with random weights, saved as `edgephys train` saves one: no training needed."""

import dataclasses
from pathlib import Path

import numpy as np

from edgephys import __version__
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.models.card import Card
from edgephys.models.files.keras import lower
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained, save
from edgephys.models.vectors import HeldOut

NET = WaveCnn(grid=6, width=2, depth=1, format="one_way", bits=6, input_bits=12, input_integer=3)


def random_model(net: WaveCnn = NET, seed: int = 1):
    """Return a network that is not all zero, and what it lowers to."""
    model = net.build()
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(-0.5, 0.5, weight.shape) for weight in model.get_weights()])
    return model, lower(model, net.input, f"{net.format}")


def fields(net: WaveCnn, count: int, seed: int = 1) -> np.ndarray:
    """Return random fields of frames and a speed, in steps."""
    shape = (count, net.grid, net.grid, net.frames + 1)
    return np.random.default_rng(seed).integers(net.input.low, net.input.high, shape, endpoint=True)


def save_waves(folder: Path, net: WaveCnn = NET, vectors: int = 8) -> Path:
    """Write a model's folder, with a card."""
    from edgephys.networks.backend import keras

    model, _ = random_model(net)
    x = fields(net, vectors)
    names = net.names
    count = len(names)
    ready = Standardisation(names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)
    card = {
        "name": f"small_{net.label}",
        "seed": 1,
        "recipe": {"net": {**dataclasses.asdict(net), "weight_integers": {}}, "batch": 4},
        "classes": [],
        "parameters": int(model.count_params()),
        "metrics": {"relative_l2": 0.9, "relative_l2_error": 0.01, "fields": vectors},
        "standardisation": ready.to_record(),
        "versions": {"edgephys": __version__, "keras": keras.__version__},
    }
    return save(Trained(model, HeldOut(x, x[..., :1]), Card.of_record(card)), folder)
