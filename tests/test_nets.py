"""The networks: a mean in fixed point, the same integers in any order of constituents, widths held."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgephys.errors import UsageError
from edgephys.fixed import Fixed, Overflow, Rounding
from edgephys.lower import evaluate
from edgephys.lower.from_keras import lower
from edgephys.nets.backend import keras, qkeras
from edgephys.nets.deepsets import DeepSets
from edgephys.nets.layers import RECIPROCAL_BITS, ConstituentMean, reciprocal


@pytest.mark.parametrize("power", range(12))
def test_the_reciprocal_of_a_power_of_two_is_exact(power):
    assert reciprocal(2**power) == (1, power)


@given(st.integers(1, 5000))
def test_a_reciprocal_is_odd_ten_bits_wide_and_within_half_a_step(count):
    integer, fraction = reciprocal(count)
    assert integer % 2 == 1
    assert integer.bit_length() <= RECIPROCAL_BITS
    finest = RECIPROCAL_BITS - 1 + (count - 1).bit_length()
    error = abs(Fraction(integer) / 2**fraction - Fraction(1, count))
    assert error <= Fraction(1, 2 * 2**finest)
    assert error <= Fraction(1, count) / 2**RECIPROCAL_BITS * 2


@pytest.mark.parametrize("count", [1, 3, 8, 150])
def test_the_mean_is_the_sum_times_the_reciprocal(count):
    x = np.random.default_rng(count).integers(-128, 128, (20, count, 3))
    integer, fraction = reciprocal(count)
    found = np.asarray(ConstituentMean()(x.astype(np.float32)))
    assert (found == x.sum(1) * integer * 2.0**-fraction).all()
    assert ConstituentMean().compute_output_shape((None, count, 3)) == (None, 3)


def random_net(net, seed=0):
    model = net.build()
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("constituents", [3, 8])
def test_shuffled_constituents_give_the_identical_integers(constituents):
    net = DeepSets(constituents, bits=6, phi=(8, 8), rho=(8,))
    graph = lower(random_net(net), net.input, "m")
    generator = np.random.default_rng(1)
    x = generator.integers(net.input.low, net.input.high, (200, *graph.input.shape), endpoint=True)
    expected = evaluate.run(graph, x)
    assert len(np.unique(expected)) > 100
    for _ in range(5):
        assert (evaluate.run(graph, generator.permuted(x, axis=1)) != expected).any()  # features torn apart
        assert (evaluate.run(graph, x[:, generator.permutation(constituents)]) == expected).all()


def test_the_papers_network_has_its_parameters():
    assert DeepSets().build().count_params() == 3461


@pytest.mark.parametrize("bits", [None, 4])
def test_a_network_saves_loads_and_gives_the_same_numbers(bits, tmp_path):
    net = DeepSets(3, bits=bits, phi=(4,), rho=(4,))
    model = random_net(net)
    model.save(tmp_path / "m.keras")
    known = {kind.__name__: kind for kind in (qkeras.QDense, qkeras.QActivation)}
    known |= {kind.__name__: kind for kind in (qkeras.quantized_bits, qkeras.quantized_relu)}
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects=known, compile=False, safe_mode=True)
    x = np.random.default_rng(0).normal(size=(50, 3, 3)).astype(np.float32)
    assert (np.asarray(model(x)) == np.asarray(again(x))).all()


def test_a_float_network_has_no_quantiser():
    assert {type(layer).__name__ for layer in DeepSets(bits=None).build().layers} == {
        "InputLayer",
        "Dense",
        "ReLU",
        "ConstituentMean",
    }


def test_the_input_format_saturates_and_rounds_to_even():
    assert DeepSets(input_bits=10, input_integer=3).input == Fixed(True, 10, 3, Rounding.RND_CONV, Overflow.SAT)


@pytest.mark.parametrize("bits", [0, 1, 17, -4])
@pytest.mark.parametrize("name", ["bits", "activation_bits"])
def test_a_width_out_of_range_is_refused(name, bits):
    with pytest.raises(UsageError, match=rf"^{name} must be 2\.\.16 or 'float', not {bits}$"):
        DeepSets(**{name: bits})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": None, "activation_bits": 4}, r"activation_bits must be left out of a float network \(bits=float\)"),
        ({"constituents": 0}, r"constituents must be 1\.\.150, not 0"),
        ({"constituents": 151}, r"constituents must be 1\.\.150, not 151"),
        ({"phi": ()}, r"phi and rho must hold widths of 1 and over, not \(\) and \(32,\)"),
        ({"phi": (4, 0)}, r"phi and rho must hold widths of 1 and over, not \(4, 0\) and \(32,\)"),
        ({"rho": (-1,)}, r"phi and rho must hold widths of 1 and over, not \(32, 32, 32\) and \(-1,\)"),
    ],
)
def test_a_network_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        DeepSets(**settings)
