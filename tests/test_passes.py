"""The passes keep what a graph computes, leave a checked graph, and do what their names say."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from random_graphs import graphs, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, passes
from edgephys.graph.build import Builder
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.ops import Input, Lookup, Relu, Requantise, Reshape, Window, WithConstant
from edgephys.graph.passes import PASSES, drop_dead, drop_identity, lowered, tighten, trim_constants
from edgephys.graph.ranges import derive

SAT = Fixed(True, 6, 2, Rounding.RND_CONV, Overflow.SAT)


def values(graph, integers):
    step = Fraction(2) ** -graph.output.fixed.fraction
    return [step * int(n) for n in integers.ravel()]


def loosened(graph: Graph) -> Graph:
    """Return the same program as someone else might have written it: loose formats, even constants, idle nodes."""
    nodes, latest = [], {}
    looked_up: set[str] = set()  # what a table reads, which is for steps of its operand
    for node in reversed(graph.nodes):
        if isinstance(node.op, Lookup) or node.name in looked_up:
            looked_up.update(node.inputs)
    for node in graph.nodes:
        node = replace(node, inputs=tuple(latest[name] for name in node.inputs))
        has_constant = isinstance(node.op, WithConstant) and node.op.constant.integers.any()  # zeros are not trimmed
        if has_constant and node.name not in looked_up:
            constant = Constant(node.op.constant.integers * 4, node.op.constant.fraction + 2)
            node = replace(node, op=replace(node.op, constant=constant))
        if node.inputs:
            by_name = {n.name: n for n in nodes}
            operands = tuple(by_name[name] for name in node.inputs)
            fraction = node.op.fraction(node, operands)
            if not isinstance(node.op, Requantise):
                node = replace(node, fixed=Fixed(True, 61, 61 - fraction))
            assert node.op.shape(node, operands) == node.shape
        dead = Node(f"{node.name}_dead", Relu(), (node.name,), node.shape, node.fixed, node.layer)
        idle = Node(f"{node.name}_idle", Reshape(), (node.name,), node.shape, node.fixed, node.layer)
        nodes += [node, dead, idle]
        latest[node.name] = idle.name
    return check(replace(graph, nodes=tuple(nodes), outputs=tuple(latest[name] for name in graph.outputs)))


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)
@given(graph=graphs())
@settings(max_examples=40)
def test_every_pass_keeps_what_a_graph_computes_and_leaves_it_checked(step, graph):
    before = loosened(graph)
    after = check(step(before))
    x = vectors(graph, 20)
    assert values(after, evaluate.run(after, x)) == values(before, evaluate.run(before, x))
    if step is not trim_constants:
        assert (evaluate.run(after, x) == evaluate.run(before, x)).all()


@given(graphs())
@settings(max_examples=60)
def test_all_passes_undo_what_a_careless_author_added(graph):
    again = lowered(loosened(graph))
    x = vectors(graph, 20)
    assert values(again, evaluate.run(again, x)) == values(graph, evaluate.run(graph, x))
    kept = {node.name for node in again.nodes}
    assert not [name for name in kept if name.endswith("_dead")]
    assert [name for name in kept if name.endswith("_idle")] in ([], list(again.outputs))
    original = [node for node in graph.nodes if node.name in kept]
    assert [str(node.fixed) for node in original] == [str(again.by_name[node.name].fixed) for node in original]


@given(graphs())
@settings(max_examples=40)
def test_lowering_twice_changes_nothing(graph):
    assert lowered(graph).digest == graph.digest


def test_the_graph_is_checked_before_and_after_every_pass(monkeypatch):
    builder = Builder("g")
    graph = builder.finish(builder.relu("l", builder.input("x", (2,), SAT)))
    calls = []
    steps = [(lambda g, name=step.__name__: calls.append(name) or g) for step in PASSES]
    monkeypatch.setattr(passes, "check", lambda g: calls.append("check") or g)
    monkeypatch.setattr(passes, "PASSES", steps)
    lowered(graph)
    names = [step.__name__ for step in PASSES]
    assert calls == ["check", *(word for name in names for word in (name, "check"))]


def test_a_pass_that_breaks_the_spec_is_caught(monkeypatch):
    builder = Builder("g")
    graph = builder.finish(builder.relu("l", builder.input("x", (2,), SAT)))
    monkeypatch.setattr(passes, "PASSES", (lambda g: g.with_nodes(g.nodes[:1]),))
    with pytest.raises(ModelError, match=r"^graph 'g': outputs must be nodes of it, not \('l_relu',\)$"):
        lowered(graph)


def test_dead_nodes_go_and_unread_inputs_stay():
    builder = Builder("g")
    x, unread = builder.input("x", (2,), SAT), builder.input("unread", (2,), SAT)
    builder.relu("dead", builder.scale("dead", unread, 3, 0))
    graph = builder.finish(builder.scale("l", x, 3, 0))
    assert list(graph.by_name) == ["x", "unread", "l_scale"]


@pytest.mark.parametrize(
    ("integers", "fraction", "expected", "point"),
    [
        ([[8, -4], [0, 12]], 5, [[2, -1], [0, 3]], 3),
        ([[6, 1], [0, 0]], 5, [[6, 1], [0, 0]], 5),
        ([[0, 0], [0, 0]], 5, [[0, 0], [0, 0]], 5),
        ([[-64, 0], [0, 0]], 2, [[-1, 0], [0, 0]], -4),
    ],
)
def test_trimmed_constants_share_no_trailing_zero(integers, fraction, expected, point):
    builder = Builder("g")
    graph = builder.finish(builder.dense("l", builder.input("x", (2,), SAT), integers, fraction))
    constant = graph.output.op.constant
    assert (constant.integers.tolist(), constant.fraction) == (expected, point)
    assert graph.output.fixed.fraction == SAT.fraction + point


@given(graphs())
@settings(max_examples=40)
def test_constants_are_minimal_in_every_lowered_graph(graph):
    for node in graph.nodes:
        if isinstance(node.op, WithConstant) and node.op.constant.integers.any():
            assert (node.op.constant.integers % 2 != 0).any()


def through(add, fixed=SAT, shape=(2, 3)):
    """Return the kinds that remain when ``add`` stands between an input and an output."""
    builder = Builder("g")
    x = builder.input("x", shape, fixed)
    graph = builder.finish(builder.scale("last", add(builder, x), 3, 0))
    return [type(node.op) for node in graph.nodes[1:-1]]


def test_nodes_that_change_nothing_are_dropped():
    assert through(lambda b, x: b.reshape("l", x, (2, 3))) == []
    assert through(lambda b, x: b.requantise("l", x, SAT)) == []
    assert through(lambda b, x: b.requantise("l", x, replace(SAT, rounding=Rounding.TRN))) == []
    assert through(lambda b, x: b.relu("l", x), Fixed(False, 6, 2)) == []
    assert through(lambda b, x: b.relu("l", b.relu("l", x))) == [Relu]
    assert through(lambda b, x: b.window("l", x, (1, 1)), shape=(2, 2, 1)) == []


def test_nodes_that_change_something_stay():
    assert through(lambda b, x: b.reshape("l", x, (3, 2))) == [Reshape]
    assert through(lambda b, x: b.requantise("l", x, replace(SAT, bits=5))) == [Requantise]
    assert through(lambda b, x: b.requantise("l", x, replace(SAT, integer=3))) == [Requantise]
    assert through(lambda b, x: b.relu("l", x)) == [Relu]
    assert through(lambda b, x: b.window("l", x, (1, 3)), shape=(2, 2, 1)) == [Window]
    symmetric = replace(SAT, overflow=Overflow.SAT_SYM)
    assert through(lambda b, x: b.requantise("l", x, symmetric)) == [Requantise]  # it changes the lowest number
    assert through(lambda b, x: b.requantise("l", b.requantise("l", x, symmetric), SAT)) == [Requantise]


@pytest.mark.parametrize("fraction", [-4, -3, -2, -1, 0, 2])
def test_ties_are_rounded_to_even_however_coarse_the_step_is(fraction):
    builder = Builder("g")
    x = builder.input("x", (1,), Fixed(True, 8, 6))
    graph = builder.finish(builder.requantise("l", x, replace(SAT, integer=6 - fraction)))
    every = np.arange(-128, 128)[:, None]
    wanted = np.clip(np.rint(every / 2.0 ** (2 - fraction)), -32, 31).astype(int)
    np.testing.assert_array_equal(evaluate.run(graph, every), wanted)


def test_an_output_is_never_dropped():
    builder = Builder("g")
    graph = builder.finish(builder.reshape("l", builder.input("x", (2, 3), SAT), (2, 3)))
    assert [type(node.op) for node in graph.nodes] == [Input, Reshape]


def test_each_pass_does_only_its_own_work():
    """Loose formats are tighten's, dead nodes drop_dead's, idle ones drop_identity's, zeros trim_constants'."""
    builder = Builder("g")
    x = builder.input("x", (2,), SAT)
    before = loosened(builder.finish(builder.scale("l", x, 3, 0)))
    assert {n.name for n in before.nodes} - {n.name for n in drop_dead(before).nodes} == {"x_dead", "l_scale_dead"}
    assert [n.name for n in drop_identity(before).nodes if n.name.endswith("_idle")] == ["l_scale_idle"]
    assert trim_constants(before).by_name["l_scale"].op.constant.integers.tolist() == 3
    found = derive(tighten(before))
    for node in tighten(before).nodes[1:]:
        fixed = node.fixed
        narrower = Fixed(fixed.signed, fixed.bits - 1, fixed.integer - 1)
        assert not narrower.holds(found[node.name].lowest, found[node.name].highest)


@pytest.mark.parametrize(("added", "rounding"), [(False, Rounding.RND), (True, Rounding.RND_CONV)])
def test_zeros_beyond_the_edges_are_no_ties_until_something_is_added(added, rounding):
    """Odd multiples of 2**-5 and zeros are no ties of steps of 2**-2; with halves of these steps added, zeros are."""
    builder = Builder("g")
    x = builder.input("x", (2, 2, 1), SAT)
    out = builder.window("w", builder.bias("l", x, 3, 5), (1, 3))
    if added:
        out = builder.add("a", out, builder.bias("c", builder.scale("c", builder.window("v", x, (1, 3)), 0, 0), 1, 3))
    graph = builder.finish(builder.requantise("r", out, Fixed(True, 6, 4, Rounding.RND_CONV, Overflow.SAT)))
    assert graph.output.fixed.rounding is rounding
    x = vectors(graph, 100)
    even = replace(graph.output, fixed=replace(graph.output.fixed, rounding=Rounding.RND_CONV))
    plain = graph.with_nodes((*graph.nodes[:-1], even))
    assert (evaluate.run(graph, x) == evaluate.run(plain, x)).all()
