"""Smooth activations under quantised noise: the paper's noise while training, quantised ReLUs when it is over."""

import dataclasses
import math

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st

from edgephys.compress.model_structure import activation_layers
from edgephys.compress.stages.smooth import (
    ACTIVATIONS,
    NoiseSchedule,
    NoisyActivation,
    Smooth,
    deviation,
    reduced,
    share,
)
from edgephys.core.errors import UsageError
from edgephys.networks.backend import tf
from edgephys.networks.widths import relu

pytestmark = [pytest.mark.usefixtures("uncompiled"), pytest.mark.slow]

NET = NETS["deepsets"]
QUICK = {"epochs": 3, "batch": 64, "learning_rate": 1e-2, "keep": "last"}
floats = st.floats(-1, 1, width=32)


def analogue(plan, bits=6, integer=0, course=None, number=0):
    return NoisyActivation(relu(bits, "relu", integer), plan.activation, plan, course or NoiseSchedule(1), number)


# The noise --------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.floats(0.001, 0.99))
def test_the_noise_leads_to_another_level_with_the_chance_of_the_leakage(levels, leakage):
    half = 1 / (2 * levels)
    assert math.erf(half / (deviation(levels, leakage) * math.sqrt(2))) == pytest.approx(1 - leakage)


def test_without_leakage_there_is_no_noise():
    assert deviation(8, 0.0) == 0.0


@given(st.lists(floats, min_size=1, max_size=9), st.integers(1, 300))
def test_reduced_precision_has_the_nearest_of_its_levels_and_the_gradient_of_the_identity(values, levels):
    x = tf.constant(values, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = reduced(x, levels)
    steps = found.numpy() * levels
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert np.abs(steps).max() <= levels + 1e-4 and np.all(np.abs(found - x) <= 0.5 / levels + 1e-6)
    assert np.array_equal(tape.gradient(found, x), np.ones(len(values)))


def test_halves_go_towards_zero_as_published():
    assert reduced(tf.constant([0.75, -0.75, 0.25, -0.25, 0.76]), 2).numpy().tolist() == [0.5, -0.5, 0, 0, 1.0]


def test_noise_is_another_at_each_step_and_in_each_layer_and_the_same_for_a_seed():
    def drawn(seed, step, number):
        course = NoiseSchedule(seed)
        for _ in range(step):
            course.next_step({})
        return course.normal((1000,), number).numpy()

    first = drawn(1, 0, 0)
    assert np.array_equal(first, drawn(1, 0, 0)) and first.std() == pytest.approx(1, abs=0.1)
    for other in (drawn(2, 0, 0), drawn(1, 1, 0), drawn(1, 0, 1), drawn(2**32 - 1, 0, 0)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.15


# The activations --------------------------------------------------------------------------------

NEAR = np.linspace(-0.2, 0.2, 41, dtype=np.float32)


def smooth_of(name, x):
    erf = np.array([math.erf(one / math.sqrt(2)) for one in x])
    return {"relu": np.maximum(x, 0), "gelu": x * (1 + erf) / 2, "silu": x / (1 + np.exp(-x))}[name]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("integer", [0, 2])
def test_a_training_activation_is_the_smooth_one_clamped_reduced_and_disturbed_for_its_share(activation, integer):
    course = NoiseSchedule(3)
    layer = analogue(Smooth(activation=activation, precision=8, leakage=0.3), integer=integer, course=course, number=4)
    x = np.linspace(-2, 6, 100, dtype=np.float32)
    scale = 2.0**integer
    clamped = np.clip(smooth_of(activation, x / scale), -1, 1)
    noise = deviation(8, 0.3) * course.normal(x.shape, 4).numpy()
    disturbed = scale * (np.sign(clamped) * np.ceil(np.abs(clamped * 8) - 0.5) / 8 + noise)
    exact = relu(6, "exact", integer)(x).numpy()
    for part in (1.0, 0.25, 0.0):
        course.share.assign(part)
        np.testing.assert_allclose(layer(x, training=True), part * disturbed + (1 - part) * exact, atol=1e-5)
    course.share.assign(1.0)
    assert np.array_equal(layer(x, training=False), exact)


def test_the_gradient_ends_where_the_clamp_does():
    layer = analogue(Smooth(activation="gelu", leakage=0.0))
    x = tf.constant([-0.5, 0.5, 1.1, 1.3, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    found = tape.gradient(y, x).numpy()
    wanted = [0.5 * (1 + math.erf(v / 2**0.5)) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in x.numpy()]
    np.testing.assert_allclose(found[:3], wanted[:3], rtol=1e-4)
    assert found[3:].tolist() == [0, 0]  # gelu(1.3) is above 1


def test_precision_is_that_of_the_layer_where_none_is_given():
    assert [analogue(Smooth(), bits).levels for bits in (4, 8)] == [16, 256]
    assert analogue(Smooth(precision=5)).levels == 5


@pytest.mark.parametrize("smooth", ["gelu", "silu"])
def test_near_zero_noise_disturbs_the_gradient_of_relu_far_more(smooth):
    """The paper's finding, at its noise: the mean change of the gradient where the input is within the noise."""
    spread = deviation(256, 0.5)
    x = np.random.default_rng(1).normal(0, spread, (2, 2000)).astype(np.float32)

    def slope(name, at):
        at = tf.constant(at)
        with tf.GradientTape() as tape:
            tape.watch(at)
            y = ACTIVATIONS[name](at)
        return tape.gradient(y, at).numpy()

    wrong = {name: np.abs(slope(name, x[0] + x[1]) - slope(name, x[0])).mean() for name in ("relu", smooth)}
    assert wrong["relu"] > 50 * wrong[smooth]


@given(st.integers(2, 50))
def test_the_smooth_share_falls_from_all_to_none_by_half_of_the_epochs(epochs):
    shares = [share(epoch, epochs) for epoch in range(epochs)]
    assert shares[0] == 1 and shares == sorted(shares, reverse=True)
    assert not any(shares[math.ceil(epochs / 2) :])


# The stage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results():
    model, task = model_of(NET), task_of(NET)
    plan = Smooth(**QUICK)
    return {name: dataclasses.replace(plan, activation=name).apply(model, task, 1) for name in ("relu", "gelu")}


def test_an_ordinary_model_comes_out_and_its_score_is_its_own(results):
    model, task = model_of(NET), task_of(NET)
    for made in results.values():
        before, after = (
            {layer.name: layer.activation.get_config() for layer in activation_layers(of)} for of in (model, made.model)
        )
        assert before == after
        assert made.notes["validation_accuracy"] == pytest.approx(task.validation_score(made.model), abs=1e-5)


def test_smoothing_trains_to_other_weights_than_the_same_noise_alone(results):
    weights = [made.model.get_weights() for made in results.values()]
    assert not all(np.allclose(*pair) for pair in zip(*weights, strict=True))


def test_a_rounding_behind_a_mean_is_disturbed_but_not_smoothed():
    model = model_of(NET)
    made = Smooth().disturbed(model, NoiseSchedule(1))
    seen = {layer.name: layer.smooth for layer in made.layers if isinstance(layer, NoisyActivation)}
    assert set(seen) == {layer.name for layer in activation_layers(model)}
    assert [name for name, of in seen.items() if of is ACTIVATIONS["relu"]] == ["pool_quantised"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation": "tanh"}, "activation must be one of relu, gelu, silu, not 'tanh'"),
        ({"leakage": -0.1}, r"leakage must be 0 or more and at most 0\.99, not -0\.1"),
        ({"leakage": 1.0}, r"leakage must be 0 or more and at most 0\.99, not 1"),
        ({"precision": -1}, "precision must be 0 or more and at most 65536, not -1"),
        ({"epochs": 1}, "epochs must be 2 or more, so that the last one trains the ReLU of the hardware, not 1"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Smooth(**wrong)
