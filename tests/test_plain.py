"""The plain evaluator is a second witness: it agrees with the golden model, and a fault of either is found."""

import inspect
import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies
from random_graphs import EVERY, field_graphs, graphs, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import to_record
from edgephys.graph.ops import OPS, Input
from edgephys.verify import plain


def edges_of(graph, x):
    golden = evaluate.trace(graph, {graph.input.name: x})
    return golden, plain.trace(json.loads(json.dumps(to_record(graph))), x)


@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)), strategies.integers(0, 1000))
def test_every_edge_of_a_random_graph_is_the_golden_models(graph, seed):
    golden, edges = edges_of(graph, vectors(graph, 20, seed))
    assert set(golden) == set(edges)
    for name, edge in golden.items():
        assert np.array_equal(edge, edges[name]), name


@pytest.mark.parametrize(("rounding", "overflow"), list(product(Rounding, Overflow)))
def test_every_mode_agrees_on_every_integer_of_a_narrow_format(rounding, overflow):
    for signed, drop in product((True, False), (-2, 0, 1, 3)):
        builder = Builder("modes")
        source = builder.input("x", (1,), Fixed(True, 8, 4))
        graph = builder.finish(builder.requantise("y", source, Fixed(signed, 4, drop, rounding, overflow)))
        golden, edges = edges_of(graph, np.arange(-128, 128)[:, None])
        assert np.array_equal(golden[graph.output.name], edges[graph.output.name])


def test_every_operation_has_a_rule():
    missing = {word for word, op in OPS.items() if op is not Input and op.__module__.startswith("edgephys.")}
    assert missing <= set(plain.RULES)


def test_an_operation_without_a_rule_is_refused_by_name(monkeypatch):
    builder = Builder("relu")
    graph = builder.finish(builder.relu("y", builder.input("x", (2,), Fixed(True, 4, 4))))
    monkeypatch.delitem(plain.RULES, "relu")
    with pytest.raises(ModelError, match="operation 'relu' must have a rule in the plain evaluator; register one with"):
        plain.trace(to_record(graph), np.zeros((1, 2), np.int64))


def test_a_result_coarser_than_its_operand_is_refused():
    builder = Builder("add")
    x = builder.input("x", (2,), Fixed(True, 4, 0))
    record = to_record(builder.finish(builder.add("y", x, x)))
    record["nodes"][-1]["fixed"][2] += 1
    with pytest.raises(ModelError, match="an exact result cannot have 1 bits less than its operand"):
        plain.trace(record, np.zeros((1, 2), np.int64))


def test_integers_beyond_64_bits_keep_their_value():
    record = {
        "nodes": [
            {"name": "x", "kind": "input", "inputs": [], "fixed": [True, 62, 62, "TRN", "WRAP"], "shape": [1]},
            {
                "name": "y",
                "kind": "scale",
                "inputs": ["x"],
                "fixed": [True, 62, 62, "TRN", "WRAP"],
                "constant": {"integers": [1 << 40], "fraction": 0},
            },
        ]
    }
    assert plain.trace(record, np.array([[(1 << 61) - 1]]))["y"][0, 0] == ((1 << 61) - 1) << 40


def test_it_imports_nothing_of_the_golden_models_arithmetic_and_stays_short():
    source = inspect.getsource(plain)
    assert [line for line in source.splitlines() if "import" in line and "edgephys" in line] == [
        "from edgephys.core.errors import ModelError"
    ]
    assert len(source.splitlines()) < 200


@pytest.mark.slow
def test_a_golden_model_with_another_rounding_is_found(monkeypatch, run, projects):
    from edgephys.graph import numbers

    monkeypatch.setattr(numbers, "rounded_floats", lambda x, mode: np.floor(x))
    ended = run("verify", projects / "hls", "--json")
    assert ended.status == 1 and ended.json["targets"]["plain"]["mismatches"] > 0


def test_an_operation_of_a_user_adds_its_own_rule(monkeypatch):
    record = {
        "nodes": [
            {"name": "x", "kind": "input", "inputs": [], "fixed": [True, 4, 4, "TRN", "WRAP"], "shape": [2]},
            {"name": "y", "kind": "toy absolute", "inputs": ["x"], "fixed": [False, 4, 4, "TRN", "WRAP"], "shape": [2]},
        ]
    }
    monkeypatch.setitem(plain.RULES, "toy absolute", lambda node, operands, fractions: np.abs(operands[0]))
    assert plain.trace(record, np.array([[-3, 2]]))["y"].tolist() == [[3, 2]]
