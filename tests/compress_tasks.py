"""Small models and tasks for the stages: random weights, random jets and fields whose answers can be learned."""

from pathlib import Path

import numpy as np

from edgephys.applications.jets.data.division import Division
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.applications.jets.networks.linear_interaction import LinearInteractionNetwork
from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.applications.jets.task import TaggingTask
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.applications.waves.task import NextFrameTask
from edgephys.models.vectors import HeldOut

NETS = {
    "mlp": Mlp(constituents=3, layers=(6, 5), bits=6),
    "deepsets": DeepSets(constituents=4, phi=(6, 5), rho=(), bits=6),
    "interaction": InteractionNetwork(constituents=3, effects=(4, 3), objects=(4,), classifier=(5,), bits=6),
    "linear_interaction": LinearInteractionNetwork(3, phi=(5,), meeting=4, objects=(3,), rho=(5,), bits=6),
}


FIELDS = {
    "wave full": WaveCnn(grid=5, width=3, depth=1, bits=6),
    "wave cp": WaveCnn(grid=5, width=3, depth=1, format="cp", rank=2, bits=6),
}


def model_of(net, seed=1):
    """Return a net's Keras model with random weights, biases too."""
    from edgephys.networks.backend import keras

    keras.utils.set_random_seed(seed)
    model = net.build()
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(-0.9, 0.9, weight.shape) for weight in model.get_weights()])
    return model


def task_of(net, jets=256, seed=1):
    """Return the task of a net: as many jets, or half as many fields."""
    return fields_of(net, jets // 2, seed) if isinstance(net, WaveCnn) else jets_of(net, jets, seed)


def fields_of(net, fields, seed):
    """Return a task whose next frame is the mean of the last one and its neighbours in a row."""
    random = np.random.default_rng(seed)

    def examples(count):
        steps = random.integers(net.input.low, net.input.high + 1, (count, net.grid, net.grid, net.frames + 1))
        last = np.pad(steps[..., 1:2], ((0, 0), (0, 0), (1, 1), (0, 0)))
        return steps, (last[:, :, :-2] + 2 * last[:, :, 1:-1] + last[:, :, 2:]) // 4

    def seen(count):
        return tuple(net.input.values(of).astype(np.float32) for of in examples(count))

    return NextFrameTask(seen(fields), seen(64), HeldOut(*examples(64)), net.input)


def jets_of(net, jets, seed):
    """Return a task whose labels depend on the hardest constituent's features."""
    random = np.random.default_rng(seed)

    def examples(count):
        steps = random.integers(net.input.low, net.input.high + 1, (count, net.constituents, len(net.features)))
        order = steps[:, 0].argmax(-1) + 2 * (steps[:, 0].sum(-1) > 0)
        return steps, order.astype(np.int64)

    def seen(count):
        steps, labels = examples(count)
        return net.input.values(steps).astype(np.float32), labels

    division = Division(net.constituents, net.features, "sorted", 0.1, 0.3, seed)
    where = Path("nowhere.h5")
    return TaggingTask(seen(jets), seen(128), HeldOut(*examples(128)), net.input, 1.0, division, where, None)
