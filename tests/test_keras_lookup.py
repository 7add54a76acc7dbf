"""Quantised tanh, sigmoid and the like of a Keras model are read from tables, bit for bit as Keras computes them."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from keras_models import INPUT, activation, assert_equal_to_keras, bits, model_of, qdense, refuses, scattered

from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.ops import Lookup
from edgephys.models.files.functions.steps import Steps
from edgephys.models.files.functions.tables import looked_up
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, qkeras
from edgephys.targets.registry import TARGETS

WIDE = Fixed(True, 12, 4)
FUNCTIONS = ("tanh", "sigmoid", "gelu", "softplus", "silu", "elu", "mish")
QUANTISERS = {
    "quantized_sigmoid(6)": [512],
    "quantized_hswish(6,2,alpha=1)": [2048],
    "quantized_relu(6,2,use_sigmoid=1)": [1024],
}


def lookups(graph):
    return [node.op for node in graph.nodes if isinstance(node.op, Lookup)]


def network(name, width):
    """Return a dense layer, a float activation and its quantiser."""
    return model_of((5,), qdense(4, "d", width), keras.layers.Activation(name, name="a"), activation(bits(8, 1), "q"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_float_activation_and_the_quantiser_behind_it_are_one_table(name):
    (op,) = lookups(assert_equal_to_keras(network(name, 4)))
    assert len(op.tables) == 1


@pytest.mark.parametrize(("words", "entries"), QUANTISERS.items(), ids=list(QUANTISERS))
def test_a_quantiser_that_is_no_format_is_a_table(words, entries):
    graph = assert_equal_to_keras(model_of((5,), qdense(4, "d"), qkeras.QActivation(words, name="a")))
    assert [op.entries for op in lookups(graph)] == entries


def test_a_wide_sum_is_looked_up_by_its_high_bits_and_one_comparison():
    graph = assert_equal_to_keras(network("tanh", 8), WIDE, count=2000)
    assert next(node for node in graph.nodes if node.op.word == "dense").fixed.bits > 16
    thresholds, ends = lookups(graph)
    assert ends.entries == 2 * thresholds.entries < 4096


def test_channels_with_scales_of_their_own_have_tables_of_their_own():
    model = model_of(
        (5,),
        qdense(3, "d", 3),
        keras.layers.BatchNormalization(name="b"),
        keras.layers.Activation("tanh", name="a"),
        activation(bits(6), "q"),
    )
    for weight in scattered(model, 0).get_layer("b").weights:
        weight.assign(np.abs(weight) + np.array([0.1, 0.5, 0.9]))
    graph = lower(model, INPUT, "m")
    assert [len(op.tables) for op in lookups(graph)] == [3]
    x = np.random.default_rng(0).integers(INPUT.low, INPUT.high, (300, 5), endpoint=True)
    expected = np.asarray(model(INPUT.values(x).astype(np.float32)), np.float64)
    np.testing.assert_array_equal(graph.output.fixed.values(evaluate.run(graph, x)), expected)


@settings(max_examples=40, deadline=None)
@given(strategies.integers(0, 1 << 16), strategies.integers(13, 15), strategies.integers(1, 3), strategies.booleans())
def test_any_function_with_few_steps_is_exact_for_every_integer(seed, width, channels, signed):
    generator = np.random.default_rng(seed)
    fixed = Fixed(signed, width, generator.integers(-2, width))
    x = np.arange(fixed.low, fixed.high + 1)
    first, last = sorted(generator.integers(0, len(x), 2))
    apart = int(generator.integers(32, 200))
    results = np.empty((len(x), channels), np.int64)
    for channel in range(channels):
        steps = first + np.cumsum(apart + generator.integers(0, apart, (last - first) // apart + 1))
        values = generator.integers(-99, 99, len(steps) + 1)
        results[:, channel] = values[np.searchsorted(steps, np.arange(len(x)), "right")]
    builder = Builder("f")
    edge = builder.input("x", (channels,), fixed)
    end = looked_up(builder, set(), "f", edge, Steps.of_results(fixed.low, results), 3)
    assert end is not None
    graph = builder.finish(end)
    computed = evaluate.run(graph, np.broadcast_to(x[:, None], results.shape))
    np.testing.assert_array_equal(graph.output.fixed.values(computed), results / 8)


def test_a_function_with_many_steps_on_many_integers_has_no_table():
    results = np.random.default_rng(0).integers(0, 9, (1 << 13, 1))
    builder = Builder("f")
    edge = builder.input("x", (1,), Fixed(True, 13, 3))
    assert looked_up(builder, set(), "f", edge, Steps.of_results(-(1 << 12), results), 3) is None


def test_a_sum_that_is_too_wide_for_tables_is_refused_with_what_to_do():
    refuses(
        r"layer 'q': its rounded function of \d+ integers is no multiplication, addition and shift, has over 64 steps, "
        r"and needs a table of over 4096 entries; put QActivation\(quantized_bits\(bits, integer, alpha=1\)\) with "
        r"fewer bits before it",
        *network("softsign", 7).layers[1:],
        fixed=WIDE,
    )


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("c", {}),
        ("onnx", {}),
        pytest.param("rtl", {}, marks=pytest.mark.slow),
        pytest.param("hls", {}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("name", "width", "fixed"), [("gelu", 4, INPUT), ("sigmoid", 6, WIDE)])
def test_targets_compute_what_keras_computes(target, options, name, width, fixed, tmp_path):
    graph = assert_equal_to_keras(network(name, width), fixed)
    facts = TARGETS[target].emit(graph, tmp_path, TARGETS[target].options(**options))
    x = np.random.default_rng(1).integers(fixed.low, fixed.high, (500, 5), endpoint=True)
    np.testing.assert_array_equal(TARGETS[target].run(tmp_path, facts, x).outputs, evaluate.run(graph, x))
