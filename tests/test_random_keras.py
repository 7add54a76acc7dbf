"""Random Keras models: the Graph, C and RTL compute Keras' own integers, or one line names a layer that is refused."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings, strategies
from random_keras import keras_model

from edgephys.core.errors import ModelError
from edgephys.core.scratch import temporary_folder
from edgephys.graph import evaluate
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.targets.registry import TARGETS

SEEDS = strategies.integers(0, 1 << 30)
SLOWLY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def proven(model, fixed):
    """Return the Graph of a model, inputs and outputs, compared with Keras layer by layer; None where it is refused."""
    try:
        low = lowered(model, fixed, "m")
    except ModelError as error:
        assert re.match(r"layer '[^']+'( \w+)?: .+; ", str(error)), error
        return None
    ends = [fixed.low, fixed.high]
    x = np.random.default_rng(0).integers(*ends, (64, *low.graph.input.shape), endpoint=True)
    x[:2] = np.reshape(ends, (2, *(1 for _ in low.graph.input.shape)))
    reference, edges = KerasFileReference(low), evaluate.trace(low.graph, {low.graph.input.name: x})
    golden = edges[low.graph.output.name]
    np.testing.assert_array_equal(reference.outputs(x), golden)
    last = dict(low.graph.layers())
    for layer, integers in reference.layers(x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)
    return low.graph, x, golden


@settings(max_examples=8, **SLOWLY)
@given(SEEDS)
def test_a_random_model_is_keras_bit_for_bit(seed):
    if proven(*keras_model(seed)) is None:
        reject()


@pytest.mark.slow
@settings(max_examples=150, **SLOWLY)
@given(SEEDS)
def test_many_random_models_are_keras_bit_for_bit(seed):
    if proven(*keras_model(seed)) is None:
        reject()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["c", "rtl"])
@settings(max_examples=15, **SLOWLY)
@given(seed=SEEDS)
def test_a_target_computes_a_random_model(target, seed):
    outcome = proven(*keras_model(seed))
    if outcome is None:
        reject()
    graph, x, golden = outcome
    if (golden == golden[:1]).all():  # no latency can be measured
        reject()
    with temporary_folder("random") as folder:
        facts = TARGETS[target].emit(graph, folder, TARGETS[target].options())
        np.testing.assert_array_equal(TARGETS[target].run(folder, facts, x).outputs, golden)
