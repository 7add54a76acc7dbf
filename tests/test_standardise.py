"""Standardisation: integers from the first grid on, equal to fractions, defined down to the bit."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_model import SAMPLE

from edgephys.applications.jets.data import inputs
from edgephys.applications.jets.data.layout import PARTICLE_NAMES
from edgephys.applications.jets.data.substructure import HIGH_LEVEL
from edgephys.core.errors import DataError, ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.models.standardise import GAIN_BITS, GRIDS, OTHER_GRID, Standardisation, fit, from_record

OUTPUT = Fixed(True, 12, 4, Rounding.RND_CONV, Overflow.SAT)
NAMES = ("pt", "etarel", "phirel", "charge")


def jets(count=400, seed=0):
    generator = np.random.default_rng(seed)
    widths = np.array([90.0, 0.2, 0.2, 1000.0])
    x = generator.standard_normal((count, 5, 4)) * widths
    x[..., 0] = np.abs(x[..., 0])
    return x.astype(np.float32)


def nearest_even(value, step):
    """Return what rounding to the nearest step, halves to even, makes of a fraction (Python's own round)."""
    return round(value / step)


def reference(ready, feature, value):
    """Return the integer that fractions give for one value of one feature."""
    grid, output = ready.grids[feature], ready.output
    raw = nearest_even(Fraction(value), Fraction(2) ** -grid.fraction)
    raw = min(max(raw, grid.low), grid.high)
    gain = Fraction(ready.gains[feature]) / Fraction(2) ** ready.gain_fractions[feature]
    exact = (raw - ready.centres[feature]) * Fraction(2) ** -grid.fraction * gain
    return min(max(nearest_even(exact, Fraction(2) ** -output.fraction), output.low), output.high)


def assert_equal_to_fractions(ready, x):
    found = ready.apply(x)
    assert found.dtype == np.int64
    assert found.shape == x.shape
    for feature in range(x.shape[-1]):
        numbers = x[..., feature].ravel().tolist()
        assert found[..., feature].ravel().tolist() == [reference(ready, feature, number) for number in numbers]


@pytest.mark.parametrize("seed", range(3))
def test_the_integers_equal_those_of_fractions(seed):
    ready = fit(jets(seed=seed), NAMES, OUTPUT)
    assert_equal_to_fractions(ready, jets(60, seed + 10))
    assert_equal_to_fractions(ready, (jets(20, seed) * 1000).astype(np.float64))  # beyond every grid


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.integers(-5000, 5000),
    st.integers(1, 1 << GAIN_BITS),
    st.integers(0, 25),
)
def test_any_value_centre_and_gain_equal_fractions(value, centre, gain, fraction):
    ready = Standardisation(("charge",), (OTHER_GRID,), (centre,), (gain,), (fraction,), OUTPUT)
    assert_equal_to_fractions(ready, np.array([[[value]]]))


def test_fitted_features_have_median_zero_and_a_spread_of_one():
    x = jets(20_000)
    values = OUTPUT.values(fit(x, NAMES, OUTPUT).apply(x))
    low, middle, high = np.percentile(values, (5, 50, 95), axis=(0, 1))
    assert np.abs(middle).max() < 0.01
    assert np.abs(high - low - 1).max() < 0.01


@given(st.floats(1e-2, 1e3))
def test_gains_are_ten_bits_wide_and_within_half_a_step(width):
    x = np.linspace(-width, width, 101)[:, None, None]
    ready = fit(x, ("charge",), OUTPUT)
    gain = 1 / (np.percentile(x, 95) - np.percentile(x, 5))
    assert 1 << (GAIN_BITS - 1) <= ready.gains[0] <= 1 << GAIN_BITS
    assert abs(ready.gains[0] * 2.0 ** -ready.gain_fractions[0] - gain) <= gain * 2.0**-GAIN_BITS


def test_known_features_have_their_grids_and_others_the_wide_one():
    assert fit(jets(), NAMES, OUTPUT).grids == (*(GRIDS[name] for name in NAMES[:3]), OTHER_GRID)


def all_columns(constituents):
    """Return the sixteen columns of shipped jets about axes drawn at random, zeros behind the last constituent."""
    x = inputs.read(SAMPLE, constituents, ("pt", "etarel", "phirel"), limit=3000).features.astype(np.float64)
    pt, etarel, phirel = np.moveaxis(x, 2, 0)
    generator = np.random.default_rng(3)
    axis_eta, axis_phi = generator.uniform(-2, 2, (len(x), 1)), generator.uniform(-np.pi, np.pi, (len(x), 1))
    eta, phi = etarel + axis_eta, (phirel + axis_phi + np.pi) % (2 * np.pi) - np.pi
    turned = (etarel + 1j * phirel) * np.exp(-1j * np.arctan2(phirel[:, 1:2], etarel[:, 1:2]))
    near = (np.cos(phirel) + np.sinh(eta) * np.sinh(axis_eta)) / (np.cosh(eta) * np.cosh(axis_eta))
    columns = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    columns += [columns[3] / columns[3].sum(axis=1, keepdims=True), pt, pt / pt.sum(axis=1, keepdims=True)]
    columns += [eta, etarel, turned.real, phi, phirel, turned.imag, np.abs(turned), np.tanh(eta), near]
    return np.stack(columns, -1) * (pt > 0)[..., None]


def shipped(constituents):
    """Return the columns of so many constituents and their names, or, of a whole jet, its high-level features."""
    if constituents:
        return all_columns(constituents), PARTICLE_NAMES
    return inputs.read(SAMPLE, 1, HIGH_LEVEL, limit=3000).features.astype(np.float64), HIGH_LEVEL


@pytest.mark.parametrize("constituents", [None, 2, 8, 32])
def test_grids_are_fine_beside_the_spread_and_wide_enough_for_every_feature(constituents):
    x, names = shipped(constituents)
    for name, values, grid in zip(names, np.moveaxis(x, -1, 0), fit(x, names, OUTPUT).grids, strict=True):
        assert grid == GRIDS[name]
        error = np.abs(grid.values(grid.quantise(values)) - values)
        assert error.max() <= grid.step / 2, name  # none saturates
        steps = (np.percentile(values, 95) - np.percentile(values, 5)) / grid.step
        assert steps > {"etarel": 500, "phirel": 500, "multiplicity": 10}.get(name, 1000), name
        assert name != "multiplicity" or not error.any()


@pytest.mark.parametrize("constituents", [None, 16])
def test_few_values_saturate_after_standardisation(constituents):
    """Most of them in costhetarel, which lies within some hundredths of 1 or, as padding, at 0."""
    x, names = shipped(constituents)
    integers = fit(x, names, OUTPUT).apply(x)
    share = ((integers == OUTPUT.low) | (integers == OUTPUT.high)).mean(axis=(0, 1))
    assert all(value < (0.02 if name == "costhetarel" else 0.001) for name, value in zip(names, share, strict=True))


def test_the_record_keeps_every_integer():
    ready = fit(jets(), NAMES, OUTPUT)
    again = from_record(json.loads(json.dumps(ready.to_record())))
    assert again == ready
    assert (again.apply(jets(seed=1)) == ready.apply(jets(seed=1))).all()


@pytest.mark.parametrize("field", ["features", "grids", "centres", "gains", "gain_fractions", "output"])
def test_a_record_without_a_field_is_refused(field):
    record = fit(jets(), NAMES, OUTPUT).to_record()
    with pytest.raises(
        ModelError, match=rf"^standardisation record: a field is missing or malformed \(no '{field}'\)$"
    ):
        from_record({key: value for key, value in record.items() if key != field})


@pytest.mark.parametrize("field", ["grids", "centres", "output"])
def test_a_malformed_field_is_refused(field):
    record = fit(jets(), NAMES, OUTPUT).to_record()
    with pytest.raises(ModelError, match=r"^standardisation record: a field is missing or malformed \("):
        from_record({**record, field: ["x"]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(value):
    x = jets()
    x[3, 2, 1] = value
    with pytest.raises(DataError, match=r"^features must be finite: NaN or infinity found; clean the file$"):
        fit(jets(), NAMES, OUTPUT).apply(x)


def test_another_number_of_features_is_refused():
    with pytest.raises(DataError, match=r"^expected 4 features \('pt', 'etarel', 'phirel', 'charge'\), found 3$"):
        fit(jets(), NAMES, OUTPUT).apply(jets()[..., :3])


def test_a_feature_without_spread_is_refused():
    x = jets()
    x[..., 1] = 0.25
    x[0, 0, 1] = 9.0  # one outlier is no spread
    with pytest.raises(
        DataError, match=r"^feature 'etarel': P95 must be above P5, both are 0\.25; it carries nothing$"
    ):
        fit(x, NAMES, OUTPUT)


def test_equal_records_are_equal_and_others_are_not():
    ready = fit(jets(), NAMES, OUTPUT)
    assert ready != replace(ready, centres=(0, 0, 0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centres": (10**30,)}, "standardisation of 'charge': its centre must be on its grid, -8388608..8388607"),
        ({"gains": (0,)}, "its gain must be positive"),
        ({"gains": (10**400,)}, "at most 37 bits wide beside a grid of 24"),
        ({"gain_fractions": (-(10**400),)}, "its gain must have at most 62 fraction bits"),
        ({"gains": (1, 2)}, "1 features need as many grids, centres, gains and fractions"),
    ],
)
def test_numbers_that_64_bits_would_not_hold_are_refused(change, message):
    good = Standardisation(("charge",), (OTHER_GRID,), (0,), (1,), (0,), OUTPUT)
    with pytest.raises(ModelError, match=message):
        replace(good, **change)


def test_the_widest_record_is_computed_exactly():
    widest = Standardisation(("charge",), (OTHER_GRID,), (OTHER_GRID.low,), ((1 << 37) - 1,), (40,), OUTPUT)
    assert_equal_to_fractions(widest, np.array([[[1e9], [-1e9], [0.3]]]))
