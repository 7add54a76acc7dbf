"""The Graph: its spec is held by name, its record keeps it, and no edge can leave its derived range."""

from dataclasses import replace

import numpy as np
import pytest
from graph_nodes import ADD, DENSE, FIELD, RELU, ROWS, TAKE, WINDOW, X, graph_of
from random_graphs import random_graph, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Constant, Node, check
from edgephys.graph.ops import Bias, Concat, Dense, Requantise, Reshape, Scale, Sum, Take, Window

REFUSED = {
    "a name used twice": (RELU, replace(RELU, op=Requantise()), "name must be unique, not used twice"),
    "an input that comes later": (replace(RELU, inputs=("d",)), "inputs must come before it, not 'd'"),
    "an operation without input": (replace(RELU, inputs=()), "expected 1 input, not 0"),
    "an operation with two inputs": (replace(RELU, inputs=("x", "x")), "expected 1 input, not 2"),
    "an input that reads": (replace(X, name="y", inputs=("x",)), "expected 0 input, not 1"),
    "a concatenation of nothing": (
        replace(RELU, op=Concat(0), inputs=()),
        "expected 1 input or more, not 0",
    ),
    "an empty axis": (replace(RELU, shape=(2, 0)), r"every axis must be 1 or longer, not \(2, 0\)"),
    "negative axes": (
        replace(RELU, op=Reshape(), shape=(-2, -3)),
        r"every axis must be 1 or longer, not \(-2, -3\)",
    ),
    "weights of other inputs": (
        replace(DENSE, op=Dense(Constant(np.ones((2, 4)), 1))),
        r"weight must be \(3, outputs\), not \(2, 4\)",
    ),
    "weights that are no matrix": (
        replace(DENSE, op=Dense(Constant(np.ones(3), 1))),
        r"weight must be \(3, outputs\), not \(3,\)",
    ),
    "a bias that does not broadcast": (
        replace(RELU, op=Bias(Constant(np.ones(2), 1))),
        r"constant must broadcast to \(2, 3\), not \(2,\)",
    ),
    "a scale that broadcasts the input": (
        replace(RELU, op=Scale(Constant(np.ones((4, 2, 3)), 1))),
        r"constant must broadcast to \(2, 3\), not \(4, 2, 3\)",
    ),
    "an axis that is not there": (replace(RELU, op=Sum(2)), r"axis must be 0\.\.1, not 2"),
    "a negative axis": (replace(RELU, op=Sum(-1)), r"axis must be 0\.\.1, not -1"),
    "parts that disagree": (
        DENSE,
        replace(RELU, op=Concat(0), inputs=("x", "d")),
        r"inputs must agree off axis 0, not \[\(2, 3\), \(2, 4\)\]",
    ),
    "parts of another rank": (
        Node("flat", Reshape(), ("x",), (6,), Fixed(True, 4, 2), "l"),
        replace(RELU, op=Concat(0), inputs=("flat", "x")),
        r"inputs must agree off axis 0, not \[\(6,\), \(2, 3\)\]",
    ),
    "a reshape of other size": (
        replace(RELU, op=Reshape(), shape=(7,)),
        r"shape must hold 6 elements, not \(7,\)",
    ),
    "a sum of one": (replace(ADD, inputs=("x",)), "expected 2 inputs, not 1"),
    "a sum of three": (replace(ADD, inputs=("x", "x", "x")), "expected 2 inputs, not 3"),
    "a sum of other shapes": (
        DENSE,
        replace(ADD, inputs=("x", "d")),
        r"inputs must have one shape, not \[\(2, 3\), \(2, 4\)\]",
    ),
    "a sum with another point": (replace(ADD, fixed=Fixed(True, 5, 2)), "an exact result has 2 fraction bits, not 3"),
    "a take of two": (replace(TAKE, inputs=("x", "x")), "expected 1 input, not 2"),
    "a take along no axis of its input": (replace(TAKE, op=Take(2, ROWS)), r"axis must be 0\.\.1, not 2"),
    "rows after the last": (replace(TAKE, op=Take(0, ROWS)), r"rows must be 0\.\.1, not 0\.\.2"),
    "rows before the first": (replace(TAKE, op=Take(1, [[0, -1]])), r"rows must be 0\.\.2, not -1\.\.0"),
    "no rows": (replace(TAKE, op=Take(1, []), shape=(2, 0)), r"every axis must be 1 or longer, not \(2, 0\)"),
    "a take of another shape": (replace(TAKE, shape=(2, 4)), r"shape must be \(2, 2, 2\), not \(2, 4\)"),
    "a window of no rows": (
        FIELD,
        replace(WINDOW, op=Window((0, 3))),
        r"window must be \(rows, columns\) of 1 and over, not \(0, 3\)",
    ),
    "a window of three sizes": (
        FIELD,
        replace(WINDOW, op=Window((3, 3, 3))),
        r"window must be \(rows, columns\) of 1 and over, not \(3, 3, 3\)",
    ),
    "a window over what is no field": (
        replace(WINDOW, inputs=("x",)),
        r"input must be \(height, width, channel\), not \(2, 3\)",
    ),
    "a window of another shape": (
        FIELD,
        replace(WINDOW, shape=(2, 3, 4)),
        r"shape must be \(2, 3, 6\), not \(2, 3, 4\)",
    ),
    "a wrong shape": (replace(RELU, shape=(3, 2)), r"shape must be \(2, 3\), not \(3, 2\)"),
    "a wrong fraction": (replace(DENSE, fixed=Fixed(True, 8, 4)), "an exact result has 3 fraction bits, not 4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_spec_refuses(case):
    *nodes, message = REFUSED[case]
    last = nodes[-1]
    with pytest.raises(ModelError, match=rf"^node '{last.name}' \({last.op.word}, layer '{last.layer}'\): {message}$"):
        check(graph_of(X, *nodes))


@pytest.mark.parametrize("inputs", [(), ("y",), ("x", "x")])
def test_the_spec_refuses_other_inputs_than_its_own(inputs):
    with pytest.raises(ModelError, match=r"^graph 'g': inputs must be \('x',\), not "):
        check(graph_of(X, RELU, inputs=inputs))


@pytest.mark.parametrize("outputs", [(), ("y",)])
def test_the_spec_refuses_outputs_that_are_not_nodes(outputs):
    with pytest.raises(ModelError, match=r"^graph 'g': outputs must be nodes of it, not "):
        check(graph_of(X, RELU, outputs=outputs))


def test_the_only_input_and_output_are_asked_for_only_where_there_is_one():
    graph = check(graph_of(X, replace(X, name="y"), RELU, inputs=("x", "y"), outputs=("r", "x")))
    with pytest.raises(ModelError, match=r"^graph 'g': expected 1 input, not 2$"):
        _ = graph.input
    with pytest.raises(ModelError, match=r"^graph 'g': expected 1 output, not 2$"):
        _ = graph.output


def test_constants_cannot_be_changed_and_are_copies():
    given_integers = np.arange(3)
    constant = Constant(given_integers, 0)
    given_integers[0] = 9
    assert constant.integers.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        constant.integers[0] = 1


@pytest.mark.parametrize(("integers", "bits"), [([0], 1), ([1], 1), ([-1], 1), ([-2, 1], 2), ([7], 3), ([-1, 7], 4)])
def test_a_constant_knows_its_width(integers, bits):
    assert Constant(np.array(integers), 0).bits == bits


# The golden model refuses -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (5, 2, 4), (5, 2), ()])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ModelError, match=r"^input 'x': shape must be \(vector, \*\(2, 3\)\), not \("):
        evaluate.run(check(graph_of(X, RELU)), np.zeros(shape, int))


def test_floats_are_refused():
    with pytest.raises(ModelError, match=r"^input 'x': integers in steps expected, not float32; quantise first$"):
        evaluate.run(check(graph_of(X, RELU)), np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize("value", [-9, 8])
def test_integers_out_of_the_format_are_refused(value):
    x = np.zeros((1, 2, 3), int)
    x[0, 1, 1] = value
    low, high = min(0, value), max(0, value)
    with pytest.raises(ModelError, match=rf"^input 'x': integers must be -8\.\.7 \(fixed<4,2>\), not {low}\.\.{high}$"):
        evaluate.run(check(graph_of(X, RELU)), x)


def test_a_missing_input_is_refused():
    with pytest.raises(ModelError, match=r"^graph 'g': input 'x' must be given, not only \['y'\]$"):
        evaluate.trace(check(graph_of(X, RELU)), {"y": np.zeros((1, 2, 3), int)})


def test_no_vectors_give_no_outputs():
    graph = random_graph(1)
    assert evaluate.run(graph, vectors(graph, 3)[:0]).shape == (0, *graph.output.shape)


def test_a_rounding_to_finer_steps_that_leaves_62_bits_names_its_layer():
    builder = Builder("wide")
    x = builder.input("x", (1,), Fixed(True, 60, 60))
    y = builder.requantise("finer", x, Fixed(True, 30, 26))
    with pytest.raises(
        ModelError, match="layer 'finer': requantise 'finer_requantise' may need over 62 bits; use fewer bits in"
    ):
        builder.finish(y)
