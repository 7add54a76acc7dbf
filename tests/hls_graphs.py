"""Graphs for the HLS target: each exercises something that a compiler of C++ or hls4ml may get wrong."""

from dataclasses import replace

import numpy as np

from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import ranges
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.ops import (
    Add,
    Bias,
    Concat,
    Dense,
    Input,
    Lookup,
    Max,
    Mul,
    Relu,
    Requantise,
    Reshape,
    Scale,
    Sum,
    Take,
)
from edgephys.models.files.keras import lower

ACTIVATION = Fixed(False, 8, 0, Rounding.RND_CONV, Overflow.SAT)


class Builder:
    """Build a graph step by step, with the formats that interval analysis gives."""

    def __init__(self, shape, fixed, seed=0):
        self.random = np.random.default_rng(seed)
        self.nodes = [Node("x", Input(), (), shape, fixed, "input")]

    def add(self, kind, layer, *more, of=None, constant=None, axis=None, rows=None, size=None, fixed=None, shape=None):
        op = kind(*(parameter for parameter in (constant, axis, rows, size, *more) if parameter is not None))
        by_name = {node.name: node for node in self.nodes}
        inputs = tuple(of or [self.nodes[-1].name])
        operands = tuple(by_name[name] for name in inputs)
        name = f"{layer}/{kind.word}-{len(self.nodes)}"
        node = Node(name, op, inputs, shape or (), fixed or operands[0].fixed, layer)
        node = replace(node, shape=op.shape(node, operands))
        if fixed is None:
            fraction = op.fraction(node, operands)
            widest = replace(node, fixed=Fixed(True, 62, 62 - fraction))
            so_far = Graph("so far", (*self.nodes, widest), ("x",), (name,))
            node = replace(node, fixed=ranges.format_of(ranges.derive(so_far)[name], fraction))
        self.nodes.append(node)
        return name

    def dense(self, layer, outputs, bits=8, fraction=7, bias=True):
        low, high = -(1 << (bits - 1)), 1 << (bits - 1)
        inputs = self.nodes[-1].shape[-1]
        self.add(Dense, layer, constant=Constant(self.random.integers(low, high, (inputs, outputs)), fraction))
        if bias:
            self.add(Bias, layer, constant=Constant(self.random.integers(low, high, outputs), fraction))

    def activate(self, layer, fixed=ACTIVATION):
        self.add(Relu, layer)
        self.add(Requantise, layer, fixed=fixed)

    def graph(self, name="net"):
        return check(Graph(name, tuple(self.nodes), ("x",), (self.nodes[-1].name,)))


def deep_sets(rows=8, width=6, scale=(1, 3), seed=0):
    build = Builder((rows, 3), Fixed(True, 12, 4), seed)
    for layer in ("phi_0", "phi_1"):
        build.dense(layer, width)
        build.activate(layer)
    build.add(Sum, "pool", axis=0)
    build.add(Scale, "pool", constant=Constant(np.array(scale[0]), scale[1]))
    build.add(Requantise, "pool", fixed=Fixed(False, 10, 0, Rounding.RND_CONV, Overflow.SAT))
    build.dense("rho_0", width)
    build.activate("rho_0")
    build.dense("logits", 5)
    return build.graph("deep-sets 8")


def everything(empty=True):
    """Every kind, in shapes and formats that a sequential network does not have."""
    build = Builder((2, 5, 3), Fixed(True, 7, 9), 1)  # steps of 4: more integer bits than bits
    shared = build.add(Bias, "shift", constant=Constant(np.arange(15).reshape(5, 3) - 9, 2))
    build.dense("rank_3", 4, bits=5, fraction=9, bias=False)
    build.add(Bias, "rank_3_bias", constant=Constant(np.array([[3]]), 11))
    below = build.add(Requantise, "below", fixed=Fixed(True, 9, 9, Rounding.TRN_ZERO, Overflow.SAT_SYM))
    build.add(Sum, "middle", of=[shared], axis=1)
    build.add(Scale, "negative", constant=Constant(np.array([[-3], [7]]), 3))
    narrow = build.add(Requantise, "narrow", fixed=Fixed(True, 6, 8, Rounding.RND, Overflow.WRAP))
    results = Constant(build.random.integers(-40, 40, (3, 64)), 1)
    looked_up = build.add(Lookup, "looked_up", -32, -2, of=[narrow], constant=results)
    build.add(Add, "twice", of=[narrow, narrow])
    build.add(Mul, "product", of=[build.nodes[-1].name, looked_up])
    build.add(Max, "larger", of=[build.nodes[-1].name, looked_up])
    build.add(Take, "turned", axis=0, rows=[1, 0])
    build.add(Relu, "cut")
    flat = build.add(Reshape, "flat", of=[below], shape=(2, 20))
    build.add(Concat, "join", of=[narrow, flat, looked_up], axis=1)
    build.add(Reshape, "column", shape=(52, 1))
    build.add(Sum, "row", axis=1)
    pruned = build.random.integers(-8, 8, (52, 6))
    pruned[:, [0, 3]] = 0
    build.add(Dense, "pruned", constant=Constant(pruned, -1))
    build.add(Bias, "pruned", constant=Constant(np.array([0, -5, 0, 0, 1, 2]), 3))
    last = np.zeros((6, 2), np.int64) if empty else np.eye(6, 2, dtype=np.int64)
    build.add(Dense, "last", constant=Constant(last, 4))
    build.add(Concat, "ends", of=[build.nodes[-2].name, build.nodes[-1].name], axis=0)
    return build.graph("0 every.kind")


def additions_and_rows():
    """Sums of edges that differ in sign and binary point, and rows of these in every arrangement."""
    build = Builder((4, 3), Fixed(True, 7, 3), 3)
    unsigned = build.add(Requantise, "unsigned", fixed=Fixed(False, 9, 2, Rounding.RND, Overflow.SAT))
    coarse = build.add(Requantise, "coarse", of=["x"], fixed=Fixed(True, 3, 5, Rounding.TRN, Overflow.SAT))
    sums = [build.add(Add, f"sum_{a}_{b}", of=[a, b]) for a in ("x", unsigned, coarse) for b in (unsigned, coarse)]
    rows = {
        "row": (0, 2),
        "repeated": (0, [3, 3, 0, 3]),
        "reordered": (0, [3, 1, 0, 2]),
        "pairs": (0, [[1, 2, 3], [0, 2, 3]]),
        "columns": (1, [2, 0, 0, 2]),
        "tables": (1, [[[1], [1]], [[2], [0]]]),
    }
    ends = []
    for (layer, (axis, taken)), edge in zip(rows.items(), sums, strict=True):
        build.add(Take, layer, of=[edge], axis=axis, rows=taken)
        ends.append(build.add(Reshape, layer, shape=(int(np.prod(build.nodes[-1].shape)),)))
    build.add(Concat, "together", of=ends, axis=0)
    return build.graph("additions and rows")


def interaction(constituents=4, seed=0):
    """The interaction network as Keras and ``lower`` make it, narrow, with random weights."""
    net = InteractionNetwork(constituents, bits=6, effects=(5, 4), objects=(6, 3), classifier=(7,))
    model, random = net.build(), np.random.default_rng(seed)
    model.set_weights([random.uniform(-0.5, 0.5, weight.shape) for weight in model.get_weights()])
    return lower(model, net.input, f"interaction_n{constituents}")


def every_mode(signed_input, least_bits=1):
    """One value requantised in every mode, narrower, wider and far below its step."""
    build = Builder((1,), Fixed(signed_input, 9, 5), 2)
    formats = [(True, 4, 3), (False, 4, 2), (True, 3, 8), (False, 12, 3), (True, least_bits, 1), (True, 2, 18)]
    ends = []
    for number, (rounding, overflow) in enumerate((r, o) for r in Rounding for o in Overflow):
        signed, bits, integer = formats[number % len(formats)]
        for layer, fixed in (
            ("one", Fixed(signed, bits, integer, rounding, overflow)),
            ("all", Fixed(signed_input, 5, 3, rounding, overflow)),
        ):
            ends.append(build.add(Requantise, f"{layer}_{number}", of=["x"], fixed=fixed))
    build.add(Concat, "together", of=ends, axis=0)
    return build.graph("modes")
