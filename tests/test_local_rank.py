"""Local rank: the singular values that count are those of the Jacobian with respect to the input."""

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of

from edgephys.compress.local_rank import BATCH, local_rank
from edgephys.core.errors import ModelError, UsageError
from edgephys.networks.backend import keras
from edgephys.networks.widths import dense

RANDOM = np.random.default_rng(1)


def of_rank(rank, rows, columns):
    return RANDOM.normal(0, 1, (rows, rank)) @ RANDOM.normal(0, 1, (rank, columns))


def network(*kernels, bits=None, between=None):
    """Return layers with given kernels, one after the other."""
    inputs = x = keras.Input((len(kernels[0]),))
    for index, kernel in enumerate(kernels):
        x = dense(kernel.shape[-1], bits, f"layer_{index}", integer=2)(x)
        if between is not None and index + 1 < len(kernels):
            x = between()(x)
    model = keras.Model(inputs, x)
    model.set_weights([part for kernel in kernels for part in (kernel, RANDOM.normal(0, 0.1, kernel.shape[-1]))])
    return model


def examples(count, width):
    return RANDOM.normal(0, 1, (count, width)).astype(np.float32)


@pytest.mark.slow
def test_a_linear_network_has_the_rank_of_the_products_of_its_kernels():
    model = network(of_rank(4, 6, 7), of_rank(3, 7, 8), of_rank(5, 8, 5))
    assert local_rank(model, examples(BATCH + 3, 6)) == {"layer_0": 4, "layer_1": 3, "layer_2": 3}


@pytest.mark.slow
def test_singular_values_count_above_eps_only():
    kernel = np.diag([4.0, 1.0, 0.25, 0.0])
    found = [local_rank(network(kernel), examples(2, 4), eps)["layer_0"] for eps in (0.0, 0.1, 0.25, 0.5, 2.0, 5.0)]
    assert found == [3, 3, 2, 2, 1, 0]


def test_a_relu_lets_through_as_many_directions_as_units_are_awake_on_average():
    model = network(np.eye(4), np.eye(4), between=keras.layers.ReLU)
    x = examples(200, 4)
    awake = ((x @ model.layers[1].kernel.numpy() + model.layers[1].bias.numpy()) > 0).sum(-1).mean()
    assert local_rank(model, x) == {"layer_0": 4, "layer_1": pytest.approx(awake)}


def test_a_quantised_network_has_the_rank_of_its_quantised_kernels():
    kernel = np.array([[0.5, 0.25, 0.01], [0.25, 0.5, 0.01], [0.01, 0.01, 0.01]])
    assert local_rank(network(kernel, bits=5), examples(3, 3))["layer_0"] == 2
    assert local_rank(network(kernel), examples(3, 3))["layer_0"] == 3


@pytest.mark.slow
def test_a_network_s_rank_is_at_most_its_input_s_and_its_layers_widths():
    net = NETS["interaction"]
    model, task = model_of(net), task_of(net)
    found = local_rank(model, task.train[0][:4])
    for name, rank in found.items():
        outputs = np.prod(model.get_layer(name).output.shape[1:])
        assert 0 <= rank <= min(outputs, np.prod(model.input_shape[1:]))
    assert found["receiver"] > 0


def test_a_layer_with_an_activation_of_its_own_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="relu", name="both")])
    with pytest.raises(ModelError, match="layer 'both': its activation must be a layer of its own"):
        local_rank(model, examples(2, 3))


def test_no_examples_and_negative_limits_are_refused():
    with pytest.raises(UsageError, match="examples must be 1 or more, not 0"):
        local_rank(network(np.eye(2)), examples(0, 2))
    with pytest.raises(UsageError, match="eps must be 0 or more, not -1"):
        local_rank(network(np.eye(2)), examples(2, 2), -1.0)


def test_layers_whose_jacobian_would_take_minutes_are_left_out(monkeypatch):
    monkeypatch.setattr("edgephys.compress.local_rank.LARGEST", 6 * 7)
    assert set(local_rank(network(of_rank(4, 6, 7), of_rank(3, 7, 8)), examples(2, 6))) == {"layer_0"}
    monkeypatch.setattr("edgephys.compress.local_rank.LARGEST", 1)
    assert local_rank(network(of_rank(4, 6, 7)), examples(2, 6)) == {}
