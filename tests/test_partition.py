"""A graph cut in blocks computes what the graph computes, and a layer that works on rows is one row's block."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs, random_graph, vectors

from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph, check
from edgephys.graph.ops import Input
from edgephys.graph.partition import blocks, identifier

INPUT = Fixed(True, 6, 3)


def run_in_turn(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Evaluate block after block, a row at a time where a block has copies."""
    edges = {graph.input.name: x}
    for block in blocks(graph):
        rows = [
            edges[name].reshape(len(x), block.copies, *block.graph.by_name[name].shape) for name in block.graph.inputs
        ]
        found = [
            evaluate.trace(block.graph, {n: edge[:, row] for n, edge in zip(block.graph.inputs, rows, strict=True)})
            for row in range(block.copies)
        ]
        for name in block.graph.outputs:
            together = np.stack([row[name] for row in found], axis=1)
            edges[name] = together.reshape(len(x), *graph.by_name[name].shape)
    return edges


@given(graphs())
def test_blocks_in_turn_compute_what_the_graph_computes(graph):
    x = vectors(graph, 20)
    np.testing.assert_array_equal(run_in_turn(graph, x)[graph.output.name], evaluate.run(graph, x))


@given(graphs())
def test_every_block_is_a_graph_that_keeps_the_spec(graph):
    made = blocks(graph)
    known = set(graph.inputs)
    for block in made:
        check(block.graph)
        assert set(block.graph.inputs) <= known
        known |= set(block.graph.outputs)
    assert len({block.name.lower() for block in made}) == len(made)


def tagger(rows: int, factor=3) -> Graph:
    generator = np.random.default_rng(0)
    builder = Builder("tagger")
    x = builder.input("x", (rows, 3), INPUT)
    for layer, size in (("phi_1", 3), ("phi_2", 4)):
        x = builder.dense(layer, x, generator.integers(-4, 4, (size, 4)), 2)
        x = builder.relu(layer, builder.bias(layer, x, generator.integers(-4, 4, 4), 2))
    x = builder.scale("mean", builder.sum("mean", x, 0), np.array(factor), 4)
    return builder.finish(builder.dense("rho", x, generator.integers(-4, 4, (4, 2)), 2))


def test_a_layer_on_rows_is_made_once_and_counted():
    made = blocks(tagger(6))
    assert [(block.name, block.copies) for block in made] == [("phi_1", 6), ("phi_2", 6), ("mean", 1), ("rho", 1)]
    assert made[0].graph.output.shape == (4,)


@pytest.mark.parametrize(("same", "copies"), [(True, 3), (False, 1)])
def test_a_constant_that_differs_from_row_to_row_is_not_made_once(same, copies):
    builder = Builder("scaled")
    factor = np.array([[1, 2]] * 3) if same else np.array([[1, 2], [1, 2], [1, 3]])
    x = builder.input("x", (3, 2), INPUT)
    graph = builder.finish(builder.scale("scale", x, factor, 0))
    (block,) = blocks(graph)
    assert block.copies == copies
    x = vectors(graph, 50)
    np.testing.assert_array_equal(run_in_turn(graph, x)[graph.output.name], evaluate.run(graph, x))


def interaction(count: int, edge_factor=3, axis: int = 1) -> Graph:
    """Return an interaction network: a function of every ordered pair, its sum by receiver, a function of each."""
    generator = np.random.default_rng(0)
    builder = Builder("interaction")
    x = builder.input("x", (count, 3), INPUT)
    received, sent = (builder.dense(name, x, generator.integers(-4, 4, (3, 4)), 2) for name in ("receiver", "sender"))
    receivers, senders = (rows.reshape(count, count - 1) for rows in np.nonzero(~np.eye(count, dtype=bool)))
    pairs = builder.add("pairs", builder.take("r", received, receivers, 0), builder.take("s", sent, senders, 0))
    pairs = builder.scale("effect", builder.relu("pairs", pairs), edge_factor, 1)
    pairs = builder.dense("effect", pairs, generator.integers(-4, 4, (4, 2)), 2)
    summed = builder.sum("received", pairs, axis)
    return builder.finish(builder.dense("object", summed, generator.integers(-4, 4, (2, 2)), 2))


def test_a_function_of_pairs_is_made_once_and_counted_over_both_axes():
    graph = interaction(4)
    made = {block.name: block for block in blocks(graph)}
    assert {name: block.copies for name, block in made.items()} == {
        **{"receiver": 4, "sender": 4, "r": 1, "s": 1, "pairs": 12, "effect": 12, "received": 4, "object": 4}
    }
    assert [made[name].graph.output.shape for name in ("pairs", "effect", "received")] == [(4,), (2,), (2,)]
    x = vectors(graph, 30)
    np.testing.assert_array_equal(run_in_turn(graph, x)[graph.output.name], evaluate.run(graph, x))


def test_a_sum_over_the_first_of_two_axes_is_not_a_function_of_rows():
    assert {block.name: block.copies for block in blocks(interaction(4, axis=0))}["received"] == 1


@pytest.mark.parametrize(
    ("differs", "copies"),
    [((1, 1), 12), ((1, 3), 4), ((4, 1), 1), ((4, 3), 1)],
    ids=["nowhere", "with the place among a receiver's edges", "with the receiver", "everywhere"],
)
def test_a_constant_of_pairs_counts_the_axes_along_which_it_does_not_differ(differs, copies):
    factor = np.arange(np.prod(differs)).reshape(*differs, 1) + 1
    graph = interaction(4, factor)
    assert {block.name: block.copies for block in blocks(graph)}["effect"] == copies
    x = vectors(graph, 30)
    np.testing.assert_array_equal(run_in_turn(graph, x)[graph.output.name], evaluate.run(graph, x))


@given(st.integers(2, 5), st.sampled_from([(1, 1), (1, None), (None, 1)]), st.integers(0, 1), st.integers(0, 99))
@settings(max_examples=40)
def test_blocks_of_pairs_in_turn_compute_what_the_graph_computes(count, differs, axis, seed):
    shape = [size or full for size, full in zip(differs, (count, count - 1), strict=True)]
    factor = np.random.default_rng(seed).integers(-3, 3, (*shape, 4))
    graph = interaction(count, factor, axis)
    x = vectors(graph, 10, seed)
    edges = run_in_turn(graph, x)
    whole = evaluate.trace(graph, {graph.input.name: x})
    assert all((integers == whole[name]).all() for name, integers in edges.items())


def test_a_convolution_is_one_pixels_function_and_its_window_a_layer_of_its_own():
    generator = np.random.default_rng(0)
    builder = Builder("field")
    x = builder.input("x", (3, 4, 2), INPUT)
    for layer, channels in (("first", 2), ("second", 3)):
        x = builder.window(f"{layer}_window", x, (3, 3))
        x = builder.dense(layer, x, generator.integers(-4, 4, (18, channels)), 2)
        x = builder.relu(layer, builder.bias(layer, x, generator.integers(-4, 4, channels), 2))
        if layer == "first":
            x = builder.requantise(layer, x, Fixed(False, 5, 2))
    graph = builder.finish(x)
    made = {block.name: block for block in blocks(graph)}
    assert {name: block.copies for name, block in made.items()} == {
        **{"first_window": 1, "first": 12, "second_window": 1, "second": 12}
    }
    assert [made[name].graph.output.shape for name in ("first_window", "second")] == [(3, 4, 18), (3,)]
    x = vectors(graph, 30)
    np.testing.assert_array_equal(run_in_turn(graph, x)[graph.output.name], evaluate.run(graph, x))


def test_layers_that_read_each_other_are_one_block_whose_layers_can_both_be_seen():
    builder = Builder("knot")
    x = builder.input("x", (2,), INPUT)
    first = builder.relu("a", x)
    second = builder.bias("b", first, np.array([1, 2]), 3)
    third = builder.scale("a", second, np.array(3), 0)
    graph = builder.finish(builder.bias("c", builder.bias("b", third, np.array(1), 3), np.array(1), 3))
    made = blocks(graph)
    assert [block.layers for block in made] == [("a", "b"), ("c",)]
    last = {layer: node.name for layer, node in graph.layers()}
    assert {last["a"], last["b"]} == set(made[0].graph.outputs)


def test_what_nobody_reads_makes_no_block():
    builder = Builder("dead")
    x = builder.input("x", (2,), INPUT)
    builder.relu("unread", x)
    assert [block.name for block in blocks(builder.finish(builder.relu("read", x)))] == ["read"]


@pytest.mark.parametrize(
    ("name", "legal"),
    [("phi_1", "phi_1"), ("conv2d/1", "conv2d_1"), ("__a__b_", "a_b"), ("1st", "layer_1st"), ("é", "layer")],
)
def test_a_layers_name_becomes_an_identifier(name, legal):
    assert identifier(name, set()) == legal
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", legal)


def test_names_that_differ_only_in_case_or_marks_stay_apart():
    taken: set[str] = set()
    assert [identifier(name, taken) for name in ("Phi", "phi", "phi!")] == ["Phi", "phi_v2", "phi_v3"]


def test_inputs_make_no_block():
    for seed in range(20):
        graph = random_graph(seed)
        inside = {n.name for block in blocks(graph) for n in block.graph.nodes if not isinstance(n.op, Input)}
        assert not inside & set(graph.inputs)
