"""The operator of waves that cannot blow up: its bound, its integers, its way back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from edgephys.applications.waves.networks.wave_operator import WaveOperator
from edgephys.core.errors import ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.models.files.keras import lower
from edgephys.models.files.keras.doubles import in_float64
from edgephys.models.files.keras.lower import lowered
from edgephys.networks.backend import keras, precision
from edgephys.networks.gated_operator import GatedOperator
from edgephys.networks.stencils import FINE, LIMIT, TRAINED, largest, to_bound

NET = WaveOperator(grid=8, width=3, kernel_size=3, knots=5)


NETS = [NET, WaveOperator(grid=8, width=3, kernel_size=3, knots=5, format="one_way")]
NETS += [WaveOperator(grid=8, width=4, kernel_size=5, knots=5, format="cp", rank=2)]
OPEN = replace(NET, absorbing=2)
NETS += [OPEN]


def operator_of(net, seed, scale=1.0):
    """Return a model whose weights are random, within the bound, and its operator."""
    random, model = np.random.default_rng(seed), net.build()
    operator = model.get_layer("operator")
    for weight in operator.weights_of_parts:
        weight.assign(scale * random.normal(size=weight.shape))
    first = operator.weights_of_parts[0]
    first.assign(first.constraint(first.value))
    operator.gates.assign(random.uniform(-0.1, 1.1, operator.gates.shape))
    return model, operator


def fields(net, seed, count=4, largest=4000, most=8191):
    random = np.random.default_rng(seed)
    x = random.integers(-largest, largest, (count, net.side, net.side, 3), endpoint=True)
    x[..., 2] = random.integers(-most, most, x.shape[:-1], endpoint=True)  # walls anywhere
    return x


def matrix(stencils, grid):
    """Return B as a matrix.  Shape: (filter * pixel, pixel)."""
    half, rows = len(stencils) // 2, []
    for which in range(stencils.shape[-1]):
        for i in range(grid):
            for j in range(grid):
                row = np.zeros((grid + 2 * half, grid + 2 * half))
                row[i : i + 2 * half + 1, j : j + 2 * half + 1] = stencils[..., which]
                rows.append(row[half : half + grid, half : half + grid].reshape(-1))
    return np.array(rows)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 1), (5, 2), (7, 8)]))
@settings(deadline=None, max_examples=20)
def test_no_field_makes_the_operator_larger_than_its_bound(seed, shape):
    stencils = np.random.default_rng(seed).normal(size=(shape[0], shape[0], shape[1]))
    norm = np.linalg.norm(matrix(stencils, 9), 2) ** 2
    assert norm <= largest(stencils, FINE) <= 1.02 * largest(stencils, 64)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.001, 1.0, 30.0]))
@settings(deadline=None, max_examples=5)
def test_training_keeps_filters_below_the_limit_after_they_are_rounded(seed, scale):
    for net in NETS:
        _, floats = operator_of(replace(net, bits=None), seed, scale)
        assert floats.proven() <= TRAINED * 1.02
        _, operator = operator_of(net, seed, scale)
        assert operator.proven() < LIMIT


def test_filters_below_the_bound_stay_as_they_are():
    small = np.full((3, 3, 2), 0.01, np.float32)
    assert to_bound(small) == 1.0


@pytest.mark.parametrize("net", NETS[1:])
def test_parts_make_the_filters_that_they_are_the_convolutions_of(net):
    """The bound is that of the filters: B of a field with one pixel set shows each of them, as does B^T."""
    _, operator = operator_of(replace(net, bits=None), 5)
    whole, size = operator.filters_that_ship(), net.kernel_size
    pixel = np.zeros((1, 2 * size + 1, 2 * size + 1, 1), np.float32)
    pixel[0, size, size] = 1
    gates = np.ones((net.knots, net.width), np.float32)
    operator.gates.assign(gates)
    result = np.asarray(operator([pixel, np.ones_like(pixel)]))[0, ..., 0]
    expected = sum(correlate2d(whole[..., f], whole[..., f], "full") for f in range(net.width))
    middle = slice(1, 2 * size)
    assert np.allclose(result[middle, middle], expected, atol=1e-5) and np.abs(expected).max() > 0.01


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([4000, 16383]))
@settings(deadline=None, max_examples=4)
def test_golden_model_and_keras_compute_the_same_integers(seed, most):
    for net in NETS:
        model, _ = operator_of(net, seed)
        low = lowered(model, net.input, "w")
        x = fields(net, seed, largest=most, most=net.input.high)  # absorbing pixels anywhere, too
        with precision(double=low.double):
            reference = in_float64(model) if low.double else model
            expected = reference.predict(x * net.input.step, verbose=0) / net.input.step
        assert np.array_equal(evaluate.run(low.graph, x), expected)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_a_wave_runs_back_to_the_integers_that_it_came_from(seed):
    net = NETS[seed % len(NETS)]
    model, _ = operator_of(net, seed)
    graph, x = (
        lowered(model, net.input, "w").graph,
        fields(net, seed, largest=300, most=int(1.9 * 2**net.input.fraction)),
    )
    speed, states = x[..., 2:], [x[..., 0:1], x[..., 1:2]]
    for _ in range(40):
        states.append(evaluate.run(graph, np.concatenate([states[-2], states[-1], speed], -1)))
    assert max(np.abs(state).max() for state in states) < 2**14 - 1  # nothing saturates
    after, now = states[-1], states[-2]
    for expected in reversed(states[:-2]):
        after, now = now, evaluate.run(graph, np.concatenate([after, now, speed], -1))
        assert np.array_equal(now, expected)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_a_wave_of_the_other_sign_gives_the_result_of_the_other_sign(seed):
    net = NETS[seed % len(NETS)]
    model, _ = operator_of(net, seed)
    graph, x = lowered(model, net.input, "w").graph, fields(net, seed, largest=2000)
    assert np.array_equal(evaluate.run(graph, x * [-1, -1, 1]), -evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_random_states_stay_bounded_over_100_000_steps(net):
    model, _ = operator_of(net, 1)
    graph, x = lowered(model, net.input, "w").graph, fields(net, 1, largest=1000, most=net.input.high)
    before, now, speed = x[..., 0:1], x[..., 1:2], x[..., 2:]
    for _ in range(100_000):
        before, now = now, evaluate.run(graph, np.concatenate([before, now, speed], -1))
    assert np.abs(now).max() < 2**14 - 1


@pytest.mark.parametrize("net", NETS)
def test_an_operator_comes_back_from_its_file(net, tmp_path):
    model, operator = operator_of(net, 3)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").get_layer("operator")
    assert all(map(np.array_equal, again.integers(), operator.integers()))
    assert np.array_equal(again.tables(), operator.tables())


def test_an_operator_in_floats_is_refused_by_name():
    model, _ = operator_of(WaveOperator(grid=8, width=3, kernel_size=3, bits=None), 1)
    with pytest.raises(ModelError, match="layer 'operator': it computes in floats; state bits"):
        lower(model, NET.input, "w")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 4}, "layer 'o': size must be odd, not 4"),
        ({"size": 3, "format": "spatial"}, "layer 'o': format must be one of full, one_way, cp, not 'spatial'"),
        ({"size": 3, "rank": 2}, "layer 'o': rank goes with format=cp, not with full; leave it out"),
        ({"size": 3, "knots": 6}, "layer 'o': knots must be 3, 5, 9, 17, ..., not 6"),
    ],
)
def test_settings_of_an_operator_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        GatedOperator(2, name="o", **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width must be 1..4096, not 0"),
        ({"kernel_size": 4}, "kernel_size must be odd and 3..15, not 4"),
        ({"format": "one_way", "rank": 2}, "rank goes with format=cp, not with one_way; leave it out"),
        ({"stride": 33}, "stride must be 1..32, not 33"),
        ({"stride": 2, "frames": 1}, "frames must be 2 or more with stride 2, not 1"),
        ({"kernel_size": 17}, "kernel_size must be odd and 3..15, not 17"),
        ({"absorbing": 2}, r"absorbing must be 0, or 3\.\.64 pixels beside filters of 7, not 2"),
        (
            {"absorbing": 3, "input_integer": 2},
            "input_integer must be 3 or more for a map with absorbing pixels, not 2",
        ),
        ({"absorbing": 3, "speed_bits": 5}, "speed_bits must be 6 or more beside absorbing pixels, not 5"),
    ],
)
def test_settings_of_the_network_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        WaveOperator(**wrong)
