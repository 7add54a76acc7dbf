"""Graphs of convolutional networks, written with the moves of patches and fields that files of users come in as."""

import numpy as np
from hypothesis import strategies

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.models.files.fields import maxima, padded, patches, same_margins, taken, windows_of

PIXEL = Fixed(True, 5, 2)
ACTIVATION = Fixed(True, 5, 3, Rounding.RND_CONV, Overflow.SAT)
LARGEST = 1500
"""Numbers of an edge beyond which a random network stops growing."""


def rows_of(sides, size, strides, spread=None, same=False):
    """Return the indices of the points of the patches of a convolution or a pooling."""
    spread = spread or (1,) * len(sides)
    margins = same_margins(sides, size, strides, spread) if same else [(0, 0)] * len(sides)
    return patches(sides, size, strides, spread, margins)


def conv(builder, random, name, x, outputs, size=(3, 3), strides=(1, 1), same=False, spread=(1, 1)):
    """Add a convolution with random weights, a bias and an activation."""
    rows = rows_of(builder.shape(x)[:-1], size, strides, spread, same)
    gathered = windows_of(builder, f"{name}_window", x, rows)
    out = builder.dense(name, gathered, random.integers(-4, 4, (builder.shape(gathered)[-1], outputs)), 3)
    return builder.requantise(name, builder.bias(name, out, random.integers(-4, 4, outputs), 3), ACTIVATION)


def points(builder, name, x, size, strides, same=False):
    """Return the points of each window of a pooling.  Shape: (rows, columns, points, channels)."""
    return taken(builder, name, x, rows_of(builder.shape(x)[:2], size, strides, same=same))


def average_pool(builder, name, x, size=(2, 2), strides=None):
    return builder.sum(name, points(builder, name, x, size, strides or size), 2)


def max_pool(builder, name, x, size=(2, 2), strides=None):
    return maxima(builder, name, x, rows_of(builder.shape(x)[:2], size, strides or size))


def upsample(builder, name, x):
    height, width = builder.shape(x)[:2]
    order = np.arange(height * width).reshape(height, width).repeat(2, 0).repeat(2, 1)
    return taken(builder, name, x, order)


def dense(builder, random, name, x, outputs):
    weights = random.integers(-4, 4, (builder.shape(x)[-1], outputs))
    return builder.bias(name, builder.dense(name, x, weights, 3), random.integers(-4, 4, outputs), 3)


def flat(builder, name, x):
    return builder.reshape(name, x, (int(np.prod(builder.shape(x))),))


def classifier(side=28, channels=(4, 4), hidden=8, outputs=10) -> Graph:
    """Return the CNN of hls4ml's examples: twice a valid convolution and a pooling, flattened, two dense layers."""
    random, builder = np.random.default_rng(0), Builder("classifier")
    x = builder.input("x", (side, side, 1), Fixed(False, 8, 0))
    for number, count in enumerate(channels):
        x = builder.relu(f"relu_{number}", conv(builder, random, f"conv_{number}", x, count))
        x = max_pool(builder, f"pool_{number}", x)
    x = builder.requantise("hidden", dense(builder, random, "hidden", flat(builder, "flat", x), hidden), ACTIVATION)
    return builder.finish(dense(builder, random, "logits", x, outputs))


def every_beat() -> Graph:
    """Return a network in which beats of all kinds occur, its results side by side."""
    random, builder = np.random.default_rng(1), Builder("beats")
    x = builder.input("x", (7, 6, 2), PIXEL)
    strided = conv(builder, random, "strided", x, 3, strides=(2, 2), same=True)  # (4, 3, 3)
    around = padded(builder, "around", strided, [(2, 1), (0, 3)])  # (7, 6, 3)
    spread = conv(builder, random, "spread", around, 2, (2, 3), spread=(3, 1))  # (4, 4, 2)
    pooled = average_pool(builder, "pooled", spread, (2, 2))  # (2, 2, 2)
    larger = upsample(builder, "larger", pooled)  # (4, 4, 2)
    joined = builder.add("joined", larger, spread)
    apart = builder.bias("apart", joined, random.integers(-9, 9, (4, 4, 2)), 3)  # differs from pixel to pixel
    vector = builder.scale("scaled", flat(builder, "flat", apart), random.integers(-9, 9, 32), 3)
    columns = flat(builder, "columns", builder.sum("summed", x, 0))  # (6, 2) in beats of 2
    turned = builder.take("turned", flat(builder, "turned", strided), random.permutation(36), 0)
    results = (
        dense(builder, random, "of_vector", vector, 3),
        dense(builder, random, "of_columns", columns, 2),
        dense(builder, random, "of_rows", builder.requantise("rounded", turned, ACTIVATION), 2),
        builder.sum("mean", builder.reshape("mean", x, (42, 2)), 0),
        maxima(builder, "highest", strided, np.arange(12)),
    )
    return builder.finish(builder.concat("results", results, 0))


def on_rows() -> Graph:
    """Return a network of 1-D convolutions on rows of numbers: strided, dilated, pooled."""
    random, builder = np.random.default_rng(2), Builder("rows")
    x = builder.input("x", (20, 3), PIXEL)
    x = conv(builder, random, "one", x, 4, (5,), (2,), True, (1,))  # (10, 4)
    x = conv(builder, random, "two", x, 3, (3,), (1,), False, (2,))  # (6, 3)
    x = maxima(builder, "pool", x, rows_of((6,), (2,), (2,)))
    return builder.finish(dense(builder, random, "out", flat(builder, "flat", x), 3))


def build_cnn(draw, steps: int = 5) -> Graph:
    """Return a random network on a field; ``draw`` returns an integer from low to high, both included."""
    random, builder = np.random.default_rng(draw(0, 999)), Builder("cnn")
    edges = [builder.input("x", (draw(2, 7), draw(2, 7), draw(1, 2)), PIXEL)]
    for number in range(draw(1, steps)):
        x = edges[-1 - draw(0, min(2, len(edges) - 1))]
        edges.append(_layer(draw, builder, random, f"l{number}", x, edges))
    return builder.finish(_head(draw, builder, random, edges[-1]))


def _layer(draw, builder, random, name, x, edges):
    height, width = builder.shape(x)[:2]
    if np.prod(builder.shape(x)) > LARGEST:
        return conv(builder, random, name, x, 1, (1, 1), (2, 2))
    size, strides, spread = ((draw(1, most), draw(1, most)) for most in (3, 2, 2))
    reach = [(points - 1) * apart + 1 for points, apart in zip(size, spread, strict=True)]
    fits, kind = reach[0] <= height and reach[1] <= width, draw(0, 7)
    if kind <= 1:
        same = not fits or draw(0, 1) == 1
        return conv(builder, random, name, x, draw(1, 2), size, strides, same, spread)
    if kind <= 3 and fits:
        pool = average_pool if kind == 2 else max_pool
        return builder.requantise(name, pool(builder, name, x, size, strides), ACTIVATION)
    if kind == 4:
        return upsample(builder, name, x)
    if kind == 5:
        return padded(builder, name, x, [(draw(0, 2), draw(0, 2)), (draw(0, 2), draw(0, 2))])
    if kind == 6:
        return builder.bias(name, x, random.integers(-4, 4, builder.shape(x)[draw(0, 2) :]), 3)
    alike = [edge for edge in edges if builder.shape(edge) == builder.shape(x)]
    other = builder.relu(name, alike[draw(0, len(alike) - 1)])
    return builder.requantise(name, builder.add(name, x, other), ACTIVATION)


def _head(draw, builder, random, x):
    height, width, channels = builder.shape(x)
    kind = draw(0, 5)
    if kind == 0:
        return dense(builder, random, "head", flat(builder, "flat", x), 2)
    if kind == 1:
        return builder.sum("mean", builder.reshape("mean", x, (height * width, channels)), 0)
    if kind == 2:
        return builder.sum("summed", x, draw(0, 2))
    if kind == 3:
        return builder.relu("of_flat", flat(builder, "flat", x))
    if kind == 4:
        order = random.permutation(height * width * channels)
        return builder.take("order", flat(builder, "order", x), order, 0)
    return flat(builder, "flat", x)


@strategies.composite
def cnns(draw, steps: int = 5) -> Graph:
    """Draw a random network on a field."""
    return build_cnn(lambda low, high: draw(strategies.integers(low, high)), steps)
