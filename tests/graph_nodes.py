"""A node of some kinds, and the Graph of a few nodes: what tests of the specification and of the record change."""

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ops import Add, Dense, Input, Relu, Reshape, Take, Window

X = Node("x", Input(), (), (2, 3), Fixed(True, 4, 2), "x")


ROWS = [[0, 2], [2, 1]]


WEIGHT = Constant(np.ones((3, 4)), 1)


DENSE = Node("d", Dense(WEIGHT), ("x",), (2, 4), Fixed(True, 8, 5), "l")


RELU = Node("r", Relu(), ("x",), (2, 3), Fixed(False, 4, 2), "l")


ADD = Node("a", Add(), ("x", "x"), (2, 3), Fixed(True, 5, 3), "l")


TAKE = Node("t", Take(1, ROWS), ("x",), (2, 2, 2), Fixed(True, 4, 2), "l")


FIELD = Node("f", Reshape(), ("x",), (2, 3, 1), Fixed(True, 4, 2), "l")


WINDOW = Node("w", Window((3, 2)), ("f",), (2, 3, 6), Fixed(True, 4, 2), "l")


def graph_of(*nodes, inputs=("x",), outputs=None):
    return Graph("g", nodes, inputs, (nodes[-1].name,) if outputs is None else outputs)
