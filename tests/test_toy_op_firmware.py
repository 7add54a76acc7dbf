"""An operation from outside of the package is emitted to HLS and RTL by a rule that is registered for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.interval import Range, exact
from edgephys.graph.ops import OPS, Dense, Elementwise, Input, Requantise
from edgephys.targets.hls.rules import RULES as HLS
from edgephys.targets.hls.rules import KernelRule, elementwise
from edgephys.targets.registry import TARGETS
from edgephys.targets.rtl.rules import RULES as RTL
from edgephys.targets.rtl.rules import RtlRule


@dataclass(frozen=True, eq=False)
class Magnitude(Elementwise):
    """Return |x|."""

    word = "toy magnitude"

    def range(self, node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
        low, high = ranges[0].low, ranges[0].high
        least = np.where((low <= 0) & (high >= 0), 0, np.minimum(np.abs(low), np.abs(high)))
        return exact(least, np.maximum(np.abs(low), np.abs(high)))

    def evaluate(self, node: Node, operands: Sequence[Node], xs: Sequence[Any], arithmetic: Any) -> Any:
        return np.maximum(xs[0], -xs[0])


OPS.pop(Magnitude.word)  # registered below, while a test of this file runs

KERNEL = """\
template <class in_T, class out_T, typename CONFIG_T>
void edge_magnitude(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size]) {
    #pragma HLS INLINE
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] < 0 ? out_T(-x[i]) : out_T(x[i]);
    }
}"""
FIRMWARE = ("hls", "rtl")


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(OPS, Magnitude.word, Magnitude)
    for table, rule in ((HLS, KernelRule("magnitude", elementwise, KERNEL)), (RTL, RtlRule())):
        monkeypatch.setattr(table, "_rules", dict(table._rules))
        table.register(Magnitude, rule)


def graph():
    """Two layers of |x|, one with rows, each rounded."""
    generator = np.random.default_rng(5)
    weights = [Constant(generator.integers(-3, 4, shape), 1) for shape in ((3, 4), (4, 2))]
    rounded = Fixed(False, 5, 3, Rounding.RND, Overflow.SAT)
    nodes = (
        Node("x", Input(), (), (4, 3), Fixed(True, 6, 3), "x"),
        Node("dense", Dense(weights[0]), ("x",), (4, 4), Fixed(True, 10, 6), "phi"),
        Node("magnitude", Magnitude(), ("dense",), (4, 4), Fixed(False, 10, 6), "magnitude"),
        Node("rounded", Requantise(), ("magnitude",), (4, 4), rounded, "magnitude"),
        Node("last", Dense(weights[1]), ("rounded",), (4, 2), Fixed(True, 11, 8), "rho"),
        Node("size", Magnitude(), ("last",), (4, 2), Fixed(False, 10, 7), "size"),
    )
    return check(Graph("toy", nodes, ("x",), ("size",)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hls", "rtl"])
def test_an_operation_of_a_user_is_emitted_and_computes_the_golden_integers(name, registered, tmp_path):
    target = TARGETS[name]
    x = np.random.default_rng(6).integers(-32, 32, (50, 4, 3))
    facts = target.emit(graph(), tmp_path, target.options())
    np.testing.assert_array_equal(target.run(tmp_path, facts, x).outputs, evaluate.run(graph(), x))
    edges, last = evaluate.trace(graph(), {"x": x}), dict(graph().layers())
    for layer, integers in target.probe(tmp_path, facts, x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)


@pytest.mark.parametrize("name", FIRMWARE)
def test_an_operation_without_a_rule_is_refused_by_name(name, tmp_path):
    target = TARGETS[name]
    with pytest.raises(ModelError, match=rf"layer 'magnitude': target {name} has no rule for operation Magnitude"):
        target.emit(graph(), tmp_path, target.options())
    assert not list(tmp_path.iterdir())
