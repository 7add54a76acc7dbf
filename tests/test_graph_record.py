"""The record of a Graph on disk: it keeps every number, and a damaged one is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from graph_nodes import ADD, DENSE, FIELD, RELU, TAKE, WINDOW, X, graph_of
from hypothesis import given, settings
from random_graphs import graphs, vectors

from edgephys.core.errors import ModelError
from edgephys.graph import evaluate
from edgephys.graph.graph import Constant, check, from_record, to_record
from edgephys.graph.ops import OPS, Dense, Relu, Take, Window


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
    with pytest.raises(ModelError, match=rf"^graph record: a field is missing or malformed \(no '{parameter}'"):
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
