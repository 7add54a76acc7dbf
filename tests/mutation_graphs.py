"""Small networks of every family, whose inputs have so few bits in all that every input can be computed."""

from itertools import product

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph

ACTIVATION = Fixed(False, 4, 0, Rounding.RND_CONV, Overflow.SAT)
OUTPUT = Fixed(True, 6, 3, Rounding.RND_CONV, Overflow.SAT)
INPUT = Fixed(True, 4, 1)
PIXEL = Fixed(True, 2, 1)
SCORE = Fixed(True, 4, 1, Rounding.RND_CONV, Overflow.SAT)


class Layers:
    """Build layers with random weights of 4 bits."""

    def __init__(self, name: str, seed: int) -> None:
        self.builder, self.random = Builder(name), np.random.default_rng(seed)

    def dense(self, layer: str, x: str, outputs: int, fixed: Fixed | None = ACTIVATION) -> str:
        """Return dense, bias and rectified, requantised activation; ``fixed`` None leaves the last two out."""
        weights = self.random.integers(-7, 8, (self.builder.shape(x)[-1], outputs))
        y = self.builder.dense(layer, x, weights, 3)
        y = self.builder.bias(layer, y, self.random.integers(-7, 8, outputs), 4)
        return y if fixed is None else self.builder.requantise(layer, self.builder.relu(layer, y), fixed)

    def output(self, x: str) -> Graph:
        return self.builder.finish(self.builder.requantise("logits", self.dense("logits", x, 3, None), OUTPUT))


def mlp() -> Graph:
    layers = Layers("mlp", 1)
    x = layers.builder.input("x", (4,), INPUT)
    return layers.output(layers.dense("hidden", layers.dense("first", x, 4), 4))


def deep_sets() -> Graph:
    layers = Layers("deep_sets", 2)
    x = layers.builder.input("x", (2, 2), INPUT)
    phi = layers.dense("phi_2", layers.dense("phi_1", x, 4), 4)
    pool = layers.builder.requantise(
        "pool", layers.builder.sum("pool", phi, 0), Fixed(False, 4, 1, Rounding.RND, Overflow.SAT)
    )
    return layers.output(layers.dense("rho", pool, 4))


def interaction() -> Graph:
    layers = Layers("interaction", 3)
    builder = layers.builder
    x = builder.input("x", (2, 2), INPUT)
    pairs = builder.concat("pairs", (builder.take("receivers", x, [0, 1], 0), builder.take("senders", x, [1, 0], 0)), 1)
    effects = layers.dense("effects", pairs, 3)
    objects = layers.dense("objects", builder.concat("own", (x, effects), 1), 4)
    return layers.output(builder.sum("pool", objects, 0))


def wave() -> Graph:
    layers = Layers("wave", 4)
    builder = layers.builder
    x = builder.input("x", (2, 4, 1), PIXEL)
    down = layers.dense("down", builder.window("down_window", x, (3, 1)), 2)
    across = layers.dense("across", builder.window("across_window", down, (1, 3)), 2)
    joined = builder.concat("skip", (x, across), 2)
    return builder.finish(builder.requantise("next", layers.dense("next", joined, 1, None), OUTPUT))


def gated() -> Graph:
    layers = Layers("gated", 5)
    builder = layers.builder
    x = builder.input("x", (4,), INPUT)
    value = builder.requantise("value", layers.dense("value", x, 3, None), OUTPUT)
    product = builder.requantise("product", builder.mul("product", value, layers.dense("gate", x, 3)), OUTPUT)
    return layers.output(builder.max("larger", product, builder.requantise("least", value, INPUT)))


FAMILIES = {"mlp": mlp, "deep_sets": deep_sets, "interaction": interaction, "wave": wave, "gated": gated}


def activated() -> Graph:
    """Return a network whose activations are tables: one for all channels, then one for each channel."""
    layers = Layers("activated", 6)
    builder = layers.builder
    hidden = builder.requantise("hidden", layers.dense("hidden", builder.input("x", (4,), INPUT), 3, None), SCORE)
    sigmoid = np.round(15 / (1 + np.exp(-np.arange(-8, 8) / 4))).astype(int)
    y = builder.lookup("sigmoid", hidden, -8, sigmoid, 4)
    return layers.output(builder.lookup("own", y, 0, layers.random.integers(-8, 8, (3, 16)), 2))


def softmax() -> Graph:
    """Return a network with a softmax of two tables, as hls4ml has it: of exponentials, and of reciprocals of sums."""
    layers = Layers("softmax", 7)
    builder = layers.builder
    score = builder.requantise("score", layers.dense("score", builder.input("x", (4,), INPUT), 3, None), SCORE)
    powers = builder.lookup("powers", score, -8, np.round(15 * np.exp((np.arange(-8, 8) - 7) / 4)).astype(int), 4)
    total = builder.sum("total", powers, 0)  # 0..45
    share = builder.lookup("share", total, 0, np.round(240 / np.arange(4, 50)).astype(int), 6)
    product = builder.mul("product", powers, builder.spread("every", share, (3,)))
    return builder.finish(builder.requantise("shares", product, Fixed(False, 6, 0, Rounding.RND_CONV, Overflow.SAT)))


WITH_TABLES = {"activated": activated, "softmax": softmax}


def every_input(graph: Graph) -> np.ndarray:
    """Return every input that there is: (2**bits of the whole input, *input shape)."""
    fixed, shape = graph.input.fixed, graph.input.shape
    numbers = np.array(list(product(range(fixed.low, fixed.high + 1), repeat=int(np.prod(shape)))), np.int64)
    return numbers.reshape(-1, *shape)
