"""Bit-wise training: scores make the published weights and get the published gradients."""

from dataclasses import replace

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st

from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_step
from edgephys.compress.stages.bitwise import Bitwise, BitwiseKernel, published_scale, random_scores, scores_of
from edgephys.core.errors import UsageError

NET = NETS["deepsets"]


def kernel_of(magnitudes=5, shape=(4, 3), step=2.0**-5, trained=None, seed=1):
    sign, scores = random_scores(shape, magnitudes, 0.3, np.random.default_rng(seed))
    return BitwiseKernel(sign, scores, step, trained or magnitudes + 1)


def test_gradients_of_the_scores_are_the_closed_form():
    """dL/ds_i = g alpha sgn 2**i and dL/ds_sign = -g alpha magnitude."""
    from edgephys.networks.backend import tf

    kernel = kernel_of()
    g = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(kernel.value() * g)
    of_sign, of_bits = tape.gradient(loss, [score.value for score in kernel.scores])
    sign, scores = (score.numpy() for score in kernel.scores)
    sgn = np.where(sign > 0, -1, 1)
    magnitude = sum(2**i * (scores[i] > 0) for i in range(5))
    assert np.allclose(kernel.value(), 2.0**-5 * sgn * magnitude)
    assert np.allclose(of_sign, -g * 2.0**-5 * magnitude)
    assert np.allclose(of_bits, [g * 2.0**-5 * sgn * 2**i for i in range(5)])


def test_the_sign_of_a_zero_weight_gets_no_gradient():
    from edgephys.networks.backend import tf

    kernel = BitwiseKernel(np.full((1, 1), 0.1, np.float32), np.full((3, 1, 1), -0.1, np.float32), 0.25, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(kernel.value())
    assert not np.any(tape.gradient(loss, kernel.scores[0].value))


@given(st.lists(st.integers(-127, 127), min_size=1, max_size=20))
def test_scores_of_trained_weights_make_the_same_weights(integers):
    """A positive sign score makes a negative weight."""
    weights = np.array(integers)[:, None]
    sign, scores = scores_of(weights, 7, 0.1)
    assert np.array_equal(BitwiseKernel(sign, scores, 1.0, 8).value(), weights)
    assert np.all((sign > 0) == (weights < 0))


def test_weights_beyond_the_magnitude_become_its_largest():
    assert BitwiseKernel(*scores_of(np.array([[-9]]), 3, 0.1), 1.0, 4).value().numpy() == -7


@pytest.mark.parametrize("magnitudes", [1, 3, 7])
@pytest.mark.parametrize("fan_in", [8, 32, 120])
def test_random_weights_have_the_published_spread_and_no_zero(magnitudes, fan_in):
    sign, scores = random_scores((fan_in, 200), magnitudes, 0.1, np.random.default_rng(1))
    scale = published_scale(fan_in, magnitudes)
    weights = BitwiseKernel(sign, scores, scale, magnitudes + 1).value().numpy()
    assert np.all(weights != 0) and np.log2(scale) % 1 == 0
    assert np.std(weights) == pytest.approx(np.sqrt(2 / fan_in), rel=0.6)  # the scale is a power of two


def layers_after(stage, net=NET):
    model = model_of(net)
    return model, stage.apply(model, task_of(net), 1).model


def test_frozen_bits_keep_their_values():
    model, made = layers_after(Bitwise(epochs=2, batch=64, learning_rate=0.3, trained=3))
    changed = False
    for layer in kernel_layers(model):
        before, after = kernel_integers(layer), kernel_integers(made.get_layer(layer.name))
        inside = np.abs(before) < 2 ** (layer.kernel_quantizer_internal.bits - 1)
        assert np.array_equal((np.abs(before) % 8)[inside], (np.abs(after) % 8)[inside])
        changed |= not np.array_equal(before, after)
    assert changed


@pytest.mark.slow
def test_dropped_bits_leave_coarser_weights_of_the_same_range():
    model, made = layers_after(Bitwise(epochs=1, batch=64, trained=3, rest="dropped"))
    for layer in kernel_layers(model):
        after = made.get_layer(layer.name)
        assert after.kernel_quantizer_internal.bits == 3 and kernel_step(after) == 8 * kernel_step(layer)


@pytest.mark.slow
def test_each_layer_may_have_a_depth_of_its_own():
    _, made = layers_after(Bitwise(epochs=1, batch=64, bits={"phi_1": 4, "logits": 8}))
    depths = {layer.name: layer.kernel_quantizer_internal.bits for layer in kernel_layers(made)}
    assert depths == {"phi_1": 4, "phi_2": 6, "logits": 8}


@pytest.mark.slow
def test_a_random_start_forgets_the_given_weights():
    stage = Bitwise(epochs=1, batch=64, learning_rate=1e-4, start="random")
    one, other = (stage.apply(model_of(NET, seed), task_of(NET), 5).model for seed in (1, 2))
    assert np.array_equal(one.get_layer("phi_2").kernel, other.get_layer("phi_2").kernel)


@pytest.mark.slow
def test_a_cost_removes_digits():
    from edgephys.compress import digits

    def total(model):
        return sum(digits.count(kernel_integers(layer)).sum() for layer in kernel_layers(model))

    plan = {"epochs": 3, "batch": 64, "learning_rate": 0.2}
    net = replace(NET, rho=(5,))
    _, free = layers_after(Bitwise(**plan), net)
    _, frugal = layers_after(Bitwise(**plan, lut_cost=1e-3), net)
    assert total(frugal) < total(free) / 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 40}, "bits of all layers must be 2..16, or 0, not 40"),
        ({"bits": {"phi_1": 1}}, "bits of phi_1 must be 2..16, or 0, not 1"),
        ({"start": "else"}, "start must be one of weights, random, not 'else'"),
        ({"rest": "lost"}, "rest must be one of frozen, dropped, not 'lost'"),
        ({"trained": 17}, "trained must be 0 or more and at most 16, not 17"),
        ({"lut_cost": -1.0}, "lut_cost must be 0 or more, not -1"),
        ({"margin": -1.0}, "margin must be 0 or more, not -1"),
        ({"widths": "any"}, "widths must be one of channel, tensor, fixed, not 'any'"),
        ({"widths": "tensor"}, "widths can only be learned under a cost; set lut_cost"),
    ],
)
def test_parameters_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Bitwise(**wrong)


def test_a_layer_that_the_model_lacks_is_named():
    with pytest.raises(UsageError, match="bits: no layer 'psi' with weights; the model has phi_1, phi_2, logits"):
        Bitwise(bits={"psi": 4}).apply(model_of(NET), task_of(NET), 1)
