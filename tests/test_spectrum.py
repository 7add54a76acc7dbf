"""Spectrum: exactly the wanted density, weights fitted to what is lost or drawn by chance, errors as numpy has them."""

from pathlib import Path

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgephys.compress.masks import largest
from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_limits, kernel_step
from edgephys.compress.spectral_fit import fitted
from edgephys.compress.stages.spectrum import Spectrum
from edgephys.core.errors import UsageError
from edgephys.models.trained import load
from edgephys.networks.backend import keras, qkeras

NET = NETS["mlp"]
ZOO = Path(__file__).parents[1] / "models" / "zoo"

POWERS = pytest.mark.parametrize("power", [1, 2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"density": 1.5}, "density must be above 0 and at most 1, not 1.5"),
        ({"power": 3}, "power must be 1 or more and at most 2, not 3"),
        ({"epochs": -1}, "epochs must be 0 or more, not -1"),
        ({"choice": "best"}, "choice must be one of fitted, sampled, not 'best'"),
        ({"power": 2}, "power and rescale are of sampled weights; set choice = 'sampled', or leave them out"),
        ({"rescale": True}, "power and rescale are of sampled weights; set choice = 'sampled', or leave them out"),
    ],
)
def test_parameters_that_cannot_draw_are_refused(wrong, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        Spectrum(**wrong)


weights = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-31, 31).map(lambda n: n / 32)
)


@given(weights, st.floats(0.01, 1), st.sampled_from([1, 2]), st.booleans(), st.integers(0, 99))
def test_exactly_the_density_stays_and_the_large_weights_as_they_are(kernel, density, power, rescale, seed):
    stage = Spectrum(density=density, choice="sampled", power=power, rescale=rescale)
    drawn = stage.drawn(kernel, np.random.default_rng(seed))
    stay = drawn != 0
    assert stay.sum() == min(round(density * kernel.size), np.count_nonzero(kernel))
    assert np.array_equal(np.sign(drawn[stay]), np.sign(kernel[stay]))
    changed = stay & (np.abs(drawn) > np.abs(kernel) * (1 + 1e-9))
    assert np.allclose(drawn[stay & ~changed], kernel[stay & ~changed])
    if not rescale:
        assert not changed.any()
    if changed.any():  # below t, they are what the power says: t, or t**2 / |w|
        made = np.abs(drawn[changed]) * np.abs(kernel[changed]) ** (power - 1)
        assert np.allclose(made, made[0])
        assert np.abs(kernel[stay & ~changed]).min(initial=9) >= made[0] ** (1 / power) * (1 - 1e-9)
    elif rescale and not stay.all():
        assert np.abs(kernel[stay]).min(initial=9) >= np.abs(kernel[~stay]).max()


@POWERS
def test_rescaled_weights_are_right_on_average(power):
    kernel = np.linspace(0.05, 0.9, 18).reshape(3, 6)
    random = np.random.default_rng(1)
    stage = Spectrum(density=0.5, choice="sampled", power=power, rescale=True)
    draws = np.stack([stage.drawn(kernel, random) for _ in range(6000)])
    error = draws.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(0) - kernel) < 4.5 * error + 1e-9)


@POWERS
def test_a_small_weight_stays_now_and_then(power):
    kernel = np.array([[0.1, 0.5, 0.6, 0.7]])
    random = np.random.default_rng(1)
    stays = [
        bool(Spectrum(density=0.75, choice="sampled", power=power).drawn(kernel, random)[0, 0]) for _ in range(400)
    ]
    assert 0 < np.mean(stays) < 0.5


@given(weights, st.floats(0.01, 1))
def test_fitted_weights_lie_in_the_places_of_the_largest_and_lose_no_more_than_these(kernel, density):
    stays = largest([np.abs(kernel)], round(density * kernel.size))[0]
    sparse = fitted(kernel, stays)
    assert not sparse[~stays].any()
    assert norm(kernel - sparse) <= norm(kernel * ~stays) + 1e-12


def test_fitted_weights_lose_the_least_that_two_by_two_can():
    whole = np.array([[1.0, 0.5], [0.5, 0.25]])  # of rank 1: its largest weight can hold all but the rest
    sparse = fitted(whole, np.array([[True, False], [False, False]]))
    least = min(norm(whole - np.array([[value, 0], [0, 0]])) for value in np.linspace(0, 2, 2001))
    assert norm(whole - sparse) == pytest.approx(least, rel=0.01)


@pytest.mark.parametrize("density", [0.3, 0.5])
@pytest.mark.parametrize("name", ["jet_deepsets_n8_8bit", "jet_interaction_n8_8bit"])
def test_every_layer_of_a_trained_network_loses_less_than_by_magnitude_pruning(name, density):
    told = Spectrum(density=density, epochs=0).apply(load(ZOO / name).model, None, 1).notes["layers"]
    assert all(layer["error"] < layer["magnitude_error"] for layer in told.values())


def test_depthwise_kernels_lose_what_magnitude_pruning_loses_as_their_channels_meet_in_no_output():
    x = keras.Input((5, 5, 4))
    layer = qkeras.QDepthwiseConv2D(3, depthwise_quantizer=qkeras.quantized_bits(8, 0, alpha=1), name="d")
    model = keras.Model(x, layer(x))
    result = Spectrum(density=0.4, epochs=0).apply(model, None, 1)
    told, kernel = result.notes["layers"]["d"], result.model.get_layer("d").get_weights()[0]
    assert np.count_nonzero(kernel) == round(0.4 * 36) and told["error"] == told["magnitude_error"]


@pytest.fixture(scope="module")
def made():
    model = model_of(NET)
    stage = Spectrum(density=0.4, choice="sampled", power=2, rescale=True, epochs=0)
    return model, stage.apply(model, task_of(NET, 8), 3)


def norm(matrix):
    return np.linalg.norm(matrix, 2)


def values(layer):
    return kernel_integers(layer) * kernel_step(layer)


def test_rescaled_weights_stay_within_their_range(made):
    for layer in kernel_layers(made[1].model):
        low, high = kernel_limits(layer)
        assert np.all(np.abs(layer.kernel.numpy() / kernel_step(layer) - values(layer) / kernel_step(layer)) <= 0.5)
        assert low <= kernel_integers(layer).min() and kernel_integers(layer).max() <= high


def test_the_errors_reported_are_those_of_numpy(made):
    model, result = made
    for layer in kernel_layers(model):
        told = result.notes["layers"][layer.name]
        whole, kept = values(layer), values(result.model.get_layer(layer.name))
        order = np.argsort(-np.abs(layer.kernel.numpy()), axis=None)
        large = np.zeros_like(whole)
        large.flat[order[: np.count_nonzero(kept)]] = whole.flat[order[: np.count_nonzero(kept)]]
        for name, part in (("error", kept), ("magnitude_error", large)):
            spectral = np.linalg.svd(whole - part)[1][0] / np.linalg.svd(whole)[1][0]
            assert told[name] == pytest.approx(spectral, abs=1e-5)
        for name, part in (("", whole), ("kept_", kept), ("magnitude_", large)):
            assert told[f"{name}singular_values"] == pytest.approx(np.linalg.svd(part)[1], abs=1e-5)


def test_a_convolution_is_the_matrix_of_all_that_makes_an_output():
    x = keras.Input((4, 4, 3))
    quantiser = qkeras.quantized_bits(6, 0, alpha=1)
    layer = qkeras.QConv2D(5, 2, kernel_quantizer=quantiser, use_bias=False, name="c")
    model = keras.Model(x, layer(x))
    told = Spectrum(density=0.5, epochs=0).apply(model, None, 1).notes["layers"]["c"]
    matrix = values(layer).reshape(12, 5)
    assert told["singular_values"] == pytest.approx(np.linalg.svd(matrix)[1], abs=1e-5)


def test_a_layer_of_zeros_has_no_error():
    model = model_of(NET)
    first, *_ = kernel_layers(model)
    first.kernel.assign(np.zeros(first.kernel.shape))
    assert Spectrum(epochs=0).apply(model, task_of(NET, 8), 1).notes["layers"][first.name]["error"] == 0


@pytest.mark.slow
def test_fine_tuning_keeps_the_zeros_and_says_what_it_started_from():
    model, task = model_of(NET), task_of(NET)
    plain = Spectrum(density=0.5, epochs=0).apply(model, task, 2).model
    made = Spectrum(density=0.5, epochs=1, batch=64).apply(model, task, 2)
    assert made.notes["untrained_accuracy"] == round(task.validation_score(plain), 5)
    for before, after in zip(kernel_layers(plain), kernel_layers(made.model), strict=True):
        assert np.array_equal(before.kernel.numpy() != 0, after.kernel.numpy() != 0)
