"""The Graph: its spec is held by name, its record keeps it, and no edge can leave its derived range."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs, random_graph, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, ranges
from edgephys.graph.build import Builder
from edgephys.graph.graph import Constant, Graph, Node, check, from_record, to_record
from edgephys.graph.ops import OPS, Add, Bias, Concat, Dense, Input, Relu, Requantise, Reshape, Scale, Sum, Take, Window

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


# The record -------------------------------------------------------------------------------------


def require_same_after_its_record(graph):
    again = from_record(json.loads(json.dumps(to_record(graph))))
    assert again.digest == graph.digest
    x = vectors(graph, 5)
    assert (evaluate.run(again, x) == evaluate.run(graph, x)).all()


@given(graphs())
@settings(max_examples=50)
def test_the_record_keeps_digest_and_numbers(graph):
    require_same_after_its_record(graph)


def test_the_digest_sees_every_number():
    graph = check(graph_of(X, DENSE))
    weights = np.ones((3, 4), int)
    weights[2, 3] = 2
    assert check(graph_of(X, replace(DENSE, op=Dense(Constant(weights, 1))))).digest != graph.digest
    assert check(graph_of(X, replace(DENSE, layer="other"))).digest != graph.digest


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("nodes"),
        lambda record: record["nodes"][1].pop("kind"),
        lambda record: record["nodes"][1].update(kind="softmax"),
        lambda record: record["nodes"][1].update(fixed=[True, 8]),
        lambda record: record["nodes"][1]["fixed"].__setitem__(3, "UP"),
        lambda record: record["nodes"][1]["constant"].pop("fraction"),
        lambda record: record["nodes"][1]["constant"].update(integers=[[1, "a"]]),
        lambda record: record["nodes"][1]["constant"].update(integers=[[1.5]]),
        lambda record: record["nodes"][1]["constant"].update(integers=[[2**63]]),
        lambda record: record["nodes"][1]["constant"].update(integers=[[2**64]]),
        lambda record: record["nodes"][2].update(rows="0, 1"),
        lambda record: record["nodes"][2].update(rows=[[0, 1], [2]]),
        lambda record: record["nodes"][2].update(rows=[0.5]),
        lambda record: record["nodes"][2].update(rows=[[2**70]]),
        lambda record: record["nodes"][2].update(rows={"0": 1}),
        lambda record: record["nodes"][2].update(axis="0"),
        lambda record: record["nodes"][4].update(window=3),
        lambda record: record["nodes"][4].update(window=[3, 1.5]),
        lambda record: record.update(nodes=None),
    ],
)
def test_a_damaged_record_is_refused(damage):
    record = to_record(graph_of(X, DENSE, TAKE, FIELD, WINDOW))
    damage(record)
    with pytest.raises(ModelError, match=r"^graph record: a field is missing or malformed \("):
        from_record(record)


@pytest.mark.parametrize("nodes", [(ADD,), (TAKE,), (replace(TAKE, op=Take(1, 1), shape=(2,)),), (FIELD, WINDOW)])
def test_rows_sums_and_windows_come_back_from_their_record(nodes):
    require_same_after_its_record(check(graph_of(X, *nodes)))


def test_the_digest_of_a_graph_is_what_it_was_before_there_were_windows():
    graph = check(graph_of(X, DENSE, TAKE, ADD))
    assert graph.digest == "ec464f5c22f6a932b4d69c58ab87a710d50dae16e2a34663fcad8d7ab8411080"


def test_the_digest_sees_the_size_of_a_window():
    across = check(graph_of(X, FIELD, WINDOW))
    assert across.digest != check(graph_of(X, FIELD, replace(WINDOW, op=Window((2, 3))))).digest


MISSING = [(1, "constant"), (2, "rows"), (2, "axis"), (4, "window")]


@pytest.mark.parametrize(("position", "parameter"), MISSING)
def test_a_record_without_a_parameter_of_its_operation_is_refused(position, parameter):
    record = to_record(graph_of(X, DENSE, TAKE, FIELD, WINDOW))
    del record["nodes"][position][parameter]
    with pytest.raises(
        ModelError, match=rf"^graph record: a field is missing or malformed \(KeyError\('{parameter}'\)"
    ):
        from_record(record)


@pytest.mark.parametrize("parameter", ["constant", "rows", "axis", "window"])
def test_a_record_with_a_parameter_of_another_operation_is_refused(parameter):
    record = to_record(graph_of(X, RELU))
    record["nodes"][1][parameter] = 0
    with pytest.raises(ModelError, match=rf"^node 'r' \(relu, layer 'l'\): the record must not have {parameter}$"):
        from_record(record)


def test_an_operation_of_another_package_is_known_by_its_word_and_a_word_is_given_once():
    class Absolute(Relu):
        word = "absolute"

        def evaluate(self, node, operands, xs, arithmetic):
            return np.abs(xs[0])

    try:
        graph = check(graph_of(X, replace(RELU, op=Absolute())))
        assert isinstance(from_record(to_record(graph)).output.op, Absolute)
        x = np.full((1, 2, 3), -3)
        assert (evaluate.run(graph, x) == 3).all()
        with pytest.raises(ModelError, match=r"^operation 'absolute': the word must be new, Absolute has it$"):

            class Other(Relu):
                word = "absolute"
    finally:
        del OPS["absolute"]


def test_the_digest_sees_every_row():
    graph = check(graph_of(X, TAKE))
    assert check(graph_of(X, replace(TAKE, op=Take(1, [[0, 2], [2, 2]])))).digest != graph.digest


def test_rows_cannot_be_changed_and_are_copies():
    rows = np.array([[0, 2], [2, 1]])
    op = Take(1, rows)
    rows[0, 0] = 1
    assert op.rows.tolist() == [[0, 2], [2, 1]]
    with pytest.raises(ValueError, match="read-only"):
        op.rows[0, 0] = 1


def test_a_record_that_breaks_the_spec_is_refused():
    record = to_record(graph_of(X, DENSE))
    record["nodes"][1]["shape"] = [2, 5]
    with pytest.raises(ModelError, match=r"shape must be \(2, 4\), not \(2, 5\)$"):
        from_record(record)


# Ranges -----------------------------------------------------------------------------------------


@given(graphs(), st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_every_integer_on_every_edge_is_in_its_range_and_its_format(graph, seed):
    found = ranges.derive(graph)
    for name, integers in evaluate.trace(graph, {"x": vectors(graph, 30, seed)}).items():
        assert (found[name].low <= integers).all()
        assert (integers <= found[name].high).all()
        assert graph.by_name[name].fixed.holds(int(integers.min()), int(integers.max()))
        assert graph.by_name[name].fixed.holds(found[name].lowest, found[name].highest)


@given(st.data())
def test_the_range_of_a_dense_with_bias_is_reached_at_both_ends(data):
    fixed = Fixed(data.draw(st.booleans()), data.draw(st.integers(1, 12)), data.draw(st.integers(-3, 8)))
    size, outputs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    numbers = st.integers(-200, 200)
    weights = np.array(data.draw(st.lists(numbers, min_size=size * outputs, max_size=size * outputs)))
    weights = weights.reshape(size, outputs)
    builder = Builder("g")
    out = builder.dense("l", builder.input("x", (size,), fixed), weights, data.draw(st.integers(-3, 9)))
    graph = builder.finish(builder.bias("l", out, data.draw(numbers), data.draw(st.integers(-3, 20))))
    found = ranges.derive(graph)[graph.output.name]
    corners = np.where(weights.T > 0, fixed.high, fixed.low), np.where(weights.T > 0, fixed.low, fixed.high)
    highest, lowest = (evaluate.run(graph, corner).diagonal().tolist() for corner in corners)
    assert highest == found.high.tolist()
    assert lowest == found.low.tolist()


def test_the_range_of_a_sum_of_two_is_that_of_each_element_and_of_taken_rows_theirs():
    builder = Builder("g")
    x = builder.input("x", (2,), Fixed(True, 4, 4))
    scaled = builder.scale("s", x, [3, -5], 0)
    taken = builder.take("t", scaled, [[1, 0]], 0)
    both = builder.take("u", x, [[0, 1]], 0)
    graph = builder.finish(builder.add("l", taken, both))
    found = ranges.derive(graph)
    assert (found[taken].low.tolist(), found[taken].high.tolist()) == ([[-35, -24]], [[40, 21]])
    assert (found["l_add"].low.tolist(), found["l_add"].high.tolist()) == ([[-43, -32]], [[47, 28]])
    ends = evaluate.run(graph, np.array([[-8, -8], [7, 7], [-8, 7], [7, -8]])).reshape(4, 2)
    assert ends.min(0).tolist() == [-43, -32] and ends.max(0).tolist() == [47, 28]


def test_zeros_beyond_the_edges_are_in_the_range_of_a_window():
    builder = Builder("g")
    x = builder.bias("b", builder.input("x", (1, 2, 1), Fixed(False, 2, 2)), 5, 0)
    found = ranges.derive(builder.finish(builder.window("l", x, (1, 3))))["l_window"]
    assert (found.low.tolist(), found.high.tolist()) == ([[[0, 5, 5], [5, 5, 0]]], [[[0, 8, 8], [8, 8, 0]]])


def test_a_partial_sum_is_bounded_in_any_order():
    builder = Builder("g")
    out = builder.dense("l", builder.input("x", (2,), Fixed(False, 8, 8)), [[100], [-100]], 0)
    found = ranges.derive(builder.finish(out))[out]
    assert (found.lowest, found.highest) == (-255 * 25, 255 * 25)  # 100 = 25 * 2**2, and the point moves
    assert found.partial == 2 * 255 * 25


UNSIGNED = Fixed(False, 62, 62)
TOO_WIDE = {
    "sum": lambda b: b.sum("l", b.input("x", (4,), UNSIGNED), 0),
    "dense": lambda b: b.dense("l", b.input("x", (4,), UNSIGNED), np.ones((4, 1)), 0),
    "bias": lambda b: b.bias("l", b.input("x", (4,), UNSIGNED), [1], 0),
    "scale": lambda b: b.scale("l", b.input("x", (4,), Fixed(False, 40, 40)), [2**40 - 1], 0),
    "add": lambda b: b.add("l", b.input("x", (4,), UNSIGNED), b.input("y", (4,), UNSIGNED)),
    "concat": lambda b: b.concat("l", (b.input("x", (4,), UNSIGNED), b.input("y", (4,), Fixed(False, 1, -5))), 0),
}


@pytest.mark.parametrize("kind", TOO_WIDE)
def test_an_accumulator_that_may_overflow_is_refused(kind):
    builder = Builder("g")
    out = TOO_WIDE[kind](builder)
    with pytest.raises(
        ModelError,
        match=rf"^layer 'l': {kind} 'l_{kind}' may need over 62 bits; use fewer bits in its weights or inputs$",
    ):
        builder.finish(out)
    with pytest.raises(ModelError, match=rf"'l_{kind}' may need over 62 bits"):
        builder.range(builder.relu("after", out))


def test_binary_points_too_far_apart_are_refused():
    for point in (Fixed(False, 8, 48), Fixed(False, 8, 108)):
        builder = Builder("g")
        out = builder.bias("l", builder.input("x", (4,), point), 1, 40)
        with pytest.raises(ModelError, match=r"^layer 'l': bias 'l_bias' may need over 62 bits"):
            builder.finish(out)


@pytest.mark.parametrize("fixed", [UNSIGNED, Fixed(True, 62, 62)])
def test_the_widest_edges_are_saturated_exactly(fixed):
    builder = Builder("g")
    x = builder.input("x", (2,), fixed)
    graph = builder.finish(builder.requantise("l", x, replace(fixed, overflow=Overflow.SAT_SYM)))
    found = ranges.derive(graph)[graph.output.name]
    assert (found.lowest, found.highest) == (-fixed.high if fixed.signed else 0, fixed.high)
    ends = evaluate.run(graph, np.array([[fixed.low, fixed.high]]))
    assert ends.tolist() == [[found.lowest, found.highest]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_products_are_the_same_in_doubles_and_in_integers(seed):
    generator = np.random.default_rng(seed)
    bits = int(generator.integers(20, 32))  # partial sums on both sides of a double's 53 bits
    weights = generator.integers(-(2**24), 2**24, (4, 3))
    builder = Builder("g")
    graph = builder.finish(builder.dense("l", builder.input("x", (4,), Fixed(True, bits, bits)), weights, 0))
    x = vectors(graph, 10, seed)
    step = 2**graph.output.fixed.integer // 2**graph.output.fixed.bits
    expected = np.array(x.tolist(), object) @ np.array(weights.tolist(), object)
    assert (evaluate.run(graph, x).astype(object) * step).tolist() == expected.tolist()


def test_the_reason_of_every_width_can_be_told():
    builder = Builder("g")
    x = builder.input("x", (4, 3), Fixed(True, 6, 2))
    out = builder.bias("phi", builder.dense("phi", x, np.ones((3, 2)), 3), [1, 2], 5)
    out = builder.requantise("phi", builder.relu("phi", out), Fixed(False, 5, 2, Rounding.RND_CONV, Overflow.SAT))
    out = builder.scale("pool", builder.sum("pool", out, 0), 3, 4)
    out = builder.requantise("more", out, Fixed(False, 9, 1, overflow=Overflow.SAT))
    out = builder.add("twice", out, builder.take("turned", out, [1, 0], 0))
    out = builder.window("near", builder.reshape("field", out, (1, 2, 1)), (1, 3))
    graph = builder.finish(out)
    found = ranges.derive(graph)
    assert {name: ranges.reason(graph, node, found) for name, node in graph.by_name.items()} == {
        "x": "given: what the standardisation hands over, -32..31 steps of 2^-4",
        "phi_dense": "exact sum of 3 products with 1-bit weights: -96..93 steps of 2^-7",
        "phi_bias": "exact bias: -92..101 steps of 2^-7",
        "phi_relu": "exact relu: 0..101 steps of 2^-7",
        "phi_requantise": "chosen by the model's quantiser: 4 bits rounded away; reaches 0..6 steps of 2^-3",
        "pool_sum": "exact sum of 4 elements: 0..24 steps of 2^-3",
        "pool_scale": "exact product with a 2-bit constant: 0..72 steps of 2^-7",
        "more_requantise": "chosen by the model's quantiser: no bit rounded away; reaches 0..144 steps of 2^-8",
        "turned_take": "exact take: 0..144 steps of 2^-8",
        "twice_add": "exact add: 0..288 steps of 2^-8",
        "field_reshape": "exact reshape: 0..288 steps of 2^-8",
        "near_window": "exact window: 0..288 steps of 2^-8",
    }


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
