"""Random networks of tables: one to three layers of any width, pruned edges, sums that saturate; on every target."""

import numpy as np
import pytest
from every_target import FIRMWARE, PROCESSORS, assert_equal
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.models.files.keras import lowered
from edgephys.networks.backend import keras, predict
from edgephys.networks.table_dense import TableDense
from edgephys.networks.widths import rounding
from edgephys.targets.registry import TARGETS

INPUT = Fixed(True, 8, 3, Rounding.RND_CONV, Overflow.SAT)
ROWS = 2
"""Rows of an input, which all layers treat alike."""


def network_of(widths, bits, fraction, left, seed):
    """Return a network that rounds and saturates in front of each layer of tables; ``left`` is the share of edges."""
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    inputs = x = keras.Input((ROWS, 3))
    layers = []
    for number, width in enumerate(widths):
        x = rounding(bits, 0, f"read_{number}")(x)  # sums reach far beyond [-1, 1)
        layers.append(TableDense(width, f"fixed<{bits},1>", fraction, 5, normalise=bool(number % 2), name=f"t{number}"))
        x = layers[-1](x)
    for layer in layers:
        layer.function.assign(random.normal(0, 2, layer.function.shape))
        layer.mask.assign(random.random(layer.mask.shape) < left)
    return keras.Model(inputs, x, name="tables")


def integers_of(graph, count=150):
    random = np.random.default_rng(0)
    return random.integers(graph.input.fixed.low, graph.input.fixed.high + 1, (count, *graph.input.shape))


@settings(max_examples=20)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(2, 8),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    st.integers(0, 2**31),
)
def test_a_random_network_of_tables_computes_the_integers_of_its_graph(widths, bits, fraction, left, seed):
    model = network_of(widths, bits, fraction, left, seed)
    graph = lowered(model, INPUT, "tables").graph
    x = integers_of(graph)
    seen = predict(model, INPUT.values(x).astype(np.float32), len(x)).astype(np.float64)
    np.testing.assert_array_equal(evaluate.run(graph, x), seen * 2.0**graph.output.fixed.fraction)


def test_the_random_networks_saturate_and_have_pruned_edges():
    graph = lowered(network_of((5, 4), 4, 4, 0.5, 1), INPUT, "tables").graph
    edges = evaluate.trace(graph, {graph.input.name: integers_of(graph)})
    read = next(node for node in graph.nodes if node.layer == "t1" and node.op.word == "take").inputs[0]
    assert {edges[read].min(), edges[read].max()} == {-8, 7}


NETWORKS = {"one layer": ((3,), 8, 3, 1.0), "two, pruned": ((4, 2), 5, 5, 0.4), "three": ((5, 1, 3), 3, 8, 0.8)}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("target", "options"), [*PROCESSORS[:4], *FIRMWARE])
def test_a_random_network_of_tables_is_exact_on_each_target(target, options, network, tmp_path):
    graph = lowered(network_of(*NETWORKS[network], seed=2), INPUT, "tables").graph
    assert_equal(target, graph, integers_of, tmp_path, **options)


def test_qonnx_refuses_a_table_by_the_name_of_its_layer_and_says_what_takes_it(tmp_path):
    graph = lowered(network_of((2,), 4, 4, 1.0, 1), INPUT, "tables").graph
    target = TARGETS["qonnx"]
    with pytest.raises(ModelError, match=r"layer 't0': a table of results has no operator in QONNX .*emit it to onnx"):
        target.emit(graph, tmp_path / "q", target.options())
    assert not (tmp_path / "q").exists()
