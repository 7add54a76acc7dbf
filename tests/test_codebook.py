"""Codebooks: few values a kernel, on its layer's grid, with the gradient of the paper."""

import dataclasses

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st

from edgephys.compress.model_structure import kernel_integers, kernel_layers
from edgephys.compress.stages.codebook import Codebook, KernelCodebook, gradient_norms, redistributed, scales, starting
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.widths import dense

pytestmark = pytest.mark.slow

NET = NETS["mlp"]
QUICK = {"epochs": 3, "batch": 64, "learning_rate": 1e-2, "keep": "last"}


def layer_of(weights, bits=8, integer=0):
    layer = dense(weights.shape[-1], bits, "layer", bias=False, integer=integer)
    layer.build((None, len(weights)))
    layer.kernel.assign(weights)
    return layer


def drawn(seed, zeros, spread=0.5):
    random = np.random.default_rng(seed)
    weights = random.normal(0, spread, (6, 5)).astype(np.float32)
    return np.where(random.random(weights.shape) < zeros, 0, weights).astype(np.float32)


seeds = st.integers(0, 2**32 - 1)
books = st.tuples(seeds, st.sampled_from([0.0, 0.3, 1.0]), st.integers(2, 12), st.booleans())


# Values -----------------------------------------------------------------------------------------


@given(books, st.integers(2, 8), st.integers(-1, 1))
def test_a_kernel_has_at_most_its_points_of_values_all_on_its_grid(book, bits, integer):
    seed, zeros, count, uniform = book
    layer = layer_of(drawn(seed, zeros), bits, integer)
    values = KernelCodebook(layer, count, uniform=uniform).value().numpy()
    steps = values * 2.0 ** (bits - 1 - integer)
    assert len(np.unique(values)) <= count
    assert np.array_equal(steps, np.rint(steps)) and -(2 ** (bits - 1)) <= steps.min()
    assert steps.max() < 2 ** (bits - 1)
    assert np.array_equal(layer.kernel_quantizer_internal(values), values)


@given(books, st.integers(1, 30))
def test_a_bucket_has_at_most_its_points_of_values(book, bucket):
    seed, zeros, count, uniform = book
    values = KernelCodebook(layer_of(drawn(seed, zeros)), count, bucket, uniform).value().numpy().ravel()
    for start in range(0, values.size, bucket):
        assert len(np.unique(values[start : start + bucket])) <= count


@given(books)
def test_zeros_stay_zero_and_every_weight_takes_the_nearest_point(book):
    seed, zeros, count, uniform = book
    weights = drawn(seed, zeros)
    made = KernelCodebook(layer_of(weights, bits=16, integer=2), count, uniform=uniform)
    points = made.points.numpy()
    assert len(points) == count - (not weights.all())
    scaled = weights / scales(weights, 0)
    points = np.append(points, 0.0) if made.zero else points
    nearest = np.abs(scaled[..., None] - points).min(-1)
    found = made.value().numpy()
    assert not found[weights == 0].any()
    np.testing.assert_allclose(np.abs(scaled - found / scales(weights, 0)), nearest, atol=2.0**-12)


@given(seeds, st.integers(1, 40), st.floats(1e-3, 1e3))
def test_scales_are_the_least_powers_of_two_that_hold_their_bucket(seed, bucket, spread):
    weights = drawn(seed, 0.3, spread)
    found = scales(weights, bucket).ravel()
    assert np.array_equal(found, np.exp2(np.rint(np.log2(found))))
    for start in range(0, found.size, bucket):
        (scale,) = np.unique(found[start : start + bucket])
        largest = np.abs(weights).ravel()[start : start + bucket].max()
        assert largest <= scale and (scale < 2 * largest or (largest == 0 and scale == 1))


def test_points_start_where_the_weights_are_or_uniformly_between_their_ends():
    weights = np.array([0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.7, 0.7, 0.7], np.float32)
    np.testing.assert_allclose(starting(weights, 3, uniform=False), [0.1, 0.2, 0.7], rtol=1e-6)
    np.testing.assert_allclose(starting(weights, 3, uniform=True), [0.1, 0.4, 0.7], rtol=1e-6)


# Gradient ---------------------------------------------------------------------------------------


@given(books, st.sampled_from([0, 7, 10]))
def test_the_gradient_of_a_point_sums_the_scaled_ones_of_its_weights(book, bucket):
    """dL/dp_j = sum of alpha * dL/dw over the weights at point j, for any dL/dw; a point that is 0 takes none."""
    seed, zeros, count, uniform = book
    weights = drawn(seed, zeros)
    made = KernelCodebook(layer_of(weights, bits=16, integer=3), count, bucket, uniform)
    upstream = np.random.default_rng(seed).normal(0, 1, weights.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made.value() * upstream)
    found = tape.gradient(loss, made.points.value)
    points, scale = made.points.numpy(), scales(weights, bucket)
    away = np.abs((weights / scale)[..., None] - points)
    at = np.where(away.min(-1) < np.abs(weights / scale), away.argmin(-1), -1) if made.zero else away.argmin(-1)
    wanted = [np.sum((scale * upstream)[at == j]) for j in range(len(points))]
    np.testing.assert_allclose(tf.convert_to_tensor(found), wanted, rtol=1e-4, atol=1e-5)


def test_points_are_put_in_order_again_and_weights_assigned_anew():
    made = KernelCodebook(layer_of(drawn(1, 0.0), bits=16, integer=2), 3)
    made.points.assign([0.5, -0.25, 0.125])
    made.sort()
    assert made.points.numpy().tolist() == [-0.25, 0.125, 0.5]
    assert set(np.unique(made.value() / made.scale)) == {-0.25, 0.125, 0.5}


# The stage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """The same codebooks, trained and not, of a model with zeros."""
    model, task = model_of(NET), task_of(NET)
    for layer in kernel_layers(model):
        layer.kernel.assign(np.where(np.abs(layer.kernel) < 0.2, 0, layer.kernel))
    stage = Codebook(**QUICK, points=4)
    baseline = dataclasses.replace(stage, trained=False)
    return model, task, stage.apply(model, task, 1), baseline.apply(model, task, 1)


def loss_of(model, task):
    x, labels = task.train
    return float(task.loss(labels, model(x), None))


def test_trained_points_fit_better_than_uniform_ones(trained):
    _, task, ours, baseline = trained
    assert loss_of(ours.model, task) < loss_of(baseline.model, task)


def test_trained_kernels_hold_their_points_alone(trained):
    model, _, ours, baseline = trained
    for made in (ours, baseline):
        for layer in kernel_layers(made.model):
            kernel = layer.kernel.numpy()
            assert len(np.unique(kernel_integers(layer))) == made.notes["values"][layer.name] <= 4
            assert np.array_equal(kernel, layer.kernel_quantizer_internal(kernel))
            assert not kernel[model.get_layer(layer.name).kernel.numpy() == 0].any()


def test_uniform_points_stay_where_they_are_while_biases_train(trained):
    model, _, _, baseline = trained
    for layer in kernel_layers(model):
        still = baseline.model.get_layer(layer.name)
        assert np.array_equal(still.kernel, KernelCodebook(layer, 4, uniform=True).value())
        assert not np.array_equal(still.bias, layer.bias)


# Redistribution ---------------------------------------------------------------------------------


@given(st.integers(2, 256), st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
def test_every_kernel_has_half_of_its_points_and_all_are_given_out(points, norms):
    found = redistributed(points, dict(enumerate(norms)))
    assert sum(found.values()) == points * len(norms)
    assert all(max(2, points // 2) <= count <= 256 for count in found.values())


def test_points_beyond_the_half_go_by_the_norm_of_the_gradient():
    assert redistributed(16, {"a": 1.0, "b": 1.0}) == {"a": 16, "b": 16}
    assert redistributed(16, {"a": 3.0, "b": 1.0}) == {"a": 8 + 12, "b": 8 + 4}
    assert redistributed(16, {"a": 0.0, "b": 0.0}) == {"a": 16, "b": 16}
    assert redistributed(200, {"a": 1.0, "b": 0.0, "c": 0.0}) == {"a": 256, "b": 172, "c": 172}


def test_a_kernel_whose_gradient_is_larger_has_more_points():
    model, task = model_of(NET), task_of(NET)
    norms = gradient_norms(model, task, 64, 1)
    counts = redistributed(16, norms)
    assert sorted(norms, key=norms.get) == sorted(counts, key=counts.get) and min(norms.values()) > 0
    assert norms == gradient_norms(model, task, 64, 1)


def test_a_norm_is_that_of_the_gradient_of_the_labels_loss():
    """One layer and one minibatch of all examples: softmax regression, in closed form."""
    inputs = keras.Input((3, 3))
    model = keras.Model(inputs, dense(5, 16, "logits", integer=2)(keras.layers.Flatten()(inputs)))
    task = task_of(NET)
    x, labels = task.train
    logits = model(x).numpy()
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = x.reshape(len(x), -1).T @ (shares - np.eye(5)[labels]) / len(x)
    assert gradient_norms(model, task, len(x), 1)["logits"] == pytest.approx(np.linalg.norm(wanted), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": 1}, "points must be 2 or more and at most 256, not 1"),
        ({"points": 257}, "points must be 2 or more and at most 256, not 257"),
        ({"bucket": -1}, "bucket must be 0 or more, not -1"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Codebook(**wrong)
