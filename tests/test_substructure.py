"""Substructure: the observables are their definitions, FastJet's, and finite for every jet that a reader passes on."""

import itertools
import math

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SAMPLE

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import inputs, substructure
from edgephys.applications.jets.data.cluster import import_fastjet
from edgephys.applications.jets.data.layout import CLASSES, PARTICLE_NAMES
from edgephys.applications.jets.data.substructure import HIGH_LEVEL, observables
from edgephys.core.errors import DataError, UsageError
from edgephys.models.card import write_card

RATIOS = tuple(name for name in HIGH_LEVEL if name[:2] in ("c2", "d2", "m2", "n2"))


def jet(*constituents, padded_to=6):
    """Return one jet of (pt, etarel, phirel) and zeros."""
    x = np.zeros((1, padded_to, 3), np.float32)
    x[0, : len(constituents)] = constituents
    return x


def random_jets(count, constituents=9, seed=0):
    """Return jets of 1 to `constituents` constituents, zeros behind them."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 0.3, (count, constituents, 3))
    x[..., 0] = -np.sort(-generator.exponential(60, (count, constituents)) - 2, axis=1)
    present = np.arange(constituents) <= generator.integers(0, constituents, count)[:, None]
    return (x * present[..., None]).astype(np.float32)


def named(x):
    """Return the observables of jets by name, in float64."""
    return dict(zip(HIGH_LEVEL, observables(x).T.astype(np.float64), strict=True))


def by_definition(constituents):
    """Return the observables of one jet, one term of a definition at a time."""
    real = [tuple(map(float, row)) for row in constituents if row[0] > 0]
    total = sum(pt for pt, _, _ in real)

    def angle(a, b):
        turn = abs(a[2] - b[2]) % (2 * math.pi)
        return math.hypot(a[1] - b[1], min(turn, 2 * math.pi - turn))

    def correlator(points, beta, angles):
        found = 0.0
        for chosen in itertools.combinations(real, points):
            share = math.prod(one[0] / total for one in chosen)
            smallest = sorted(angle(a, b) for a, b in itertools.combinations(chosen, 2))[:angles]
            found += share * math.prod(smallest) ** beta
        return found

    def over(above, below):
        return above / below if below else 0.0

    e2 = [correlator(2, beta, 1) for beta in (0, 1, 2)]
    e3 = [correlator(3, beta, 3) for beta in (0, 1, 2)]
    px, py = (sum(pt * turn(phi) for pt, _, phi in real) for turn in (math.cos, math.sin))
    pz, e = (sum(pt * turn(eta) for pt, eta, _ in real) for turn in (math.sinh, math.cosh))
    values = [sum(pt / total * math.log(pt / total) for pt, _, _ in real), *e2]
    values += [over(e3[beta], e2[beta] ** 2) for beta in (1, 2)]
    values += [over(e3[beta], e2[beta] ** 3) for beta in (1, 2)]
    values += [over(e3[1], e2[beta] ** (3 / beta)) for beta in (1, 2)]
    values += [over(correlator(3, beta, 1), e2[beta]) for beta in (1, 2)]
    values += [over(correlator(3, beta, 2), e2[beta] ** 2) for beta in (1, 2)]
    return [*values, math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0)), len(real)]


def test_the_observables_equal_their_definitions():
    x = random_jets(60)
    expected = np.array([by_definition(one) for one in x])
    tolerance = np.where(np.array(HIGH_LEVEL) == "mass", 1e-5, 1e-9)  # GeV: its definition is a difference of squares
    assert (np.abs(observables(x) - expected) <= 1e-6 * np.abs(expected) + tolerance).all()


def test_the_energy_correlators_equal_those_of_fastjet_contrib():
    fastjet = import_fastjet()
    import awkward

    x = jets.read(SAMPLE, 32, limit=15).features
    rows = [
        [{"px": p * math.cos(f), "py": p * math.sin(f), "pz": p * math.sinh(h), "E": p * math.cosh(h)}
         for p, h, f in one.tolist() if p > 0]
        for one in x
    ]  # fmt: skip
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 4.0)
    sequence = fastjet.ClusterSequence(awkward.Array(rows, with_name="Momentum4D"), definition)
    found = named(x)
    for name in (name for name in HIGH_LEVEL if "_b" in name):
        wanted = {"func": "generalizedd2" if "_a1_" in name else name[:2], "alpha": 1, "beta": int(name[-1])}
        theirs = sequence.exclusive_jets_energy_correlator(njets=1, **wanted)
        np.testing.assert_allclose(found[name], awkward.to_numpy(awkward.flatten(theirs, axis=None)), rtol=1e-6)


@pytest.mark.parametrize("r", [0.01, 0.3, 1.1])
def test_two_equal_prongs_have_closed_forms(r):
    found = named(jet((500, r / 2, 0.2), (500, -r / 2, 0.2)))
    closed = {"zlogz": -math.log(2), "c1_b0": 1 / 4, "c1_b1": r / 4, "c1_b2": r * r / 4, "multiplicity": 2}
    closed |= {"mass": 1000 * math.sinh(r / 2), **dict.fromkeys(RATIOS, 0.0)}
    assert {name: float(value[0]) for name, value in found.items()} == pytest.approx(closed, rel=1e-6)


@pytest.mark.parametrize("r", [0.01, 0.4])
def test_three_equal_prongs_at_equal_angles_have_closed_forms(r):
    found = named(jet((90, 0, 0), (90, r, 0), (90, r / 2, r * math.sqrt(3) / 2)))
    closed = {"zlogz": -math.log(3), "c1_b0": 1 / 3, "c1_b1": r / 3, "c1_b2": r * r / 3, "multiplicity": 3}
    closed |= {"c2_b1": r / 3, "c2_b2": r * r / 3, "d2_b1": 1, "d2_b2": 1, "d2_a1_b1": 1, "d2_a1_b2": 27**-0.5}
    closed |= {"m2_b1": 1 / 9, "m2_b2": 1 / 9, "n2_b1": 1 / 3, "n2_b2": 1 / 3}
    assert {name: float(found[name][0]) for name in closed} == pytest.approx(closed, rel=1e-5)


def test_one_constituent_leaves_only_the_multiplicity():
    assert {name: float(value[0]) for name, value in named(jet((300, 0.1, -0.2))).items()} == {
        **dict.fromkeys(HIGH_LEVEL, 0.0),
        "multiplicity": 1.0,
    }


def test_an_angle_across_the_seam_of_phi_is_the_short_one():
    across, beside = named(jet((50, 0, 3.1), (50, 0, -3.1))), named(jet((50, 0, 0), (50, 0, 2 * math.pi - 6.2)))
    for name in ("c1_b1", "c1_b2", "mass"):
        np.testing.assert_allclose(across[name], beside[name], rtol=1e-5)


COORDINATE = st.floats(-2, 2, width=32)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.floats(2, 8192, width=32), COORDINATE, COORDINATE), min_size=1, max_size=5), st.booleans())
def test_every_jet_gives_finite_numbers_within_their_bounds(constituents, twice):
    found = named(jet(*constituents, *(constituents[:1] if twice else ())))  # two at one place
    assert all(np.isfinite(value).all() for value in found.values())
    assert all((value >= 0).all() for name, value in found.items() if name != "zlogz")
    assert -math.log(6) - 1e-6 <= found["zlogz"][0] <= 0
    assert found["c1_b0"][0] < 0.5
    assert found["m2_b1"][0] <= 1 and found["n2_b1"][0] <= 1


def test_a_jet_has_the_same_bits_in_whatever_slice_it_comes():
    x = random_jets(2 * substructure.BLOCK_JETS + 77, seed=5)
    whole = observables(x)
    for size in (1, 7, 600):
        few = x[: min(len(x), 40 * size)]
        parts = [observables(few[start : start + size]) for start in range(0, len(few), size)]
        assert np.concatenate(parts).tobytes() == whole[: len(few)].tobytes()
    moved = observables(np.concatenate([x[-5:], x]))
    assert moved[5:].tobytes() == whole.tobytes()


def test_zeros_behind_the_last_constituent_change_nothing():
    x = random_jets(30)
    assert observables(np.pad(x, ((0, 0), (0, 4), (0, 0)))).tobytes() == observables(x).tobytes()


# --- what a network reads -------------------------------------------------------------------------


def test_high_level_features_are_read_in_any_selection_and_order():
    every = inputs.read(SAMPLE, 1, HIGH_LEVEL, limit=300)
    assert every.features.shape == (300, 1, 16) and every.features.dtype == np.float32
    assert every.names == HIGH_LEVEL and every.source == str(SAMPLE)
    source = jets.read(SAMPLE, 32, limit=300)
    np.testing.assert_array_equal(every.features[:, 0], observables(source.features))
    np.testing.assert_array_equal(every.labels, source.labels)
    some = inputs.read(SAMPLE, 1, ("mass", "zlogz"), limit=300)
    assert some.names == ("mass", "zlogz")
    np.testing.assert_array_equal(some.features, every.features[..., [HIGH_LEVEL.index(name) for name in some.names]])


def test_a_folder_is_read_like_its_files(tmp_path):
    for name, rows in (("a.h5", slice(0, 60)), ("b.h5", slice(60, 100))):
        with h5py.File(SAMPLE) as source, h5py.File(tmp_path / name, "w") as out:
            for key in source:
                out[key] = source[key][rows] if source[key].ndim > 1 else source[key][:]
    folder, whole = inputs.read(tmp_path, 1, HIGH_LEVEL), inputs.read(SAMPLE, 1, HIGH_LEVEL, limit=100)
    assert folder.features.tobytes() == whole.features.tobytes()
    np.testing.assert_array_equal(folder.labels, whole.labels)
    assert folder.source == f"{tmp_path / 'a.h5'}, {tmp_path / 'b.h5'}"


def test_columns_of_constituents_are_read_as_before():
    ours, theirs = inputs.read(SAMPLE, 8, ("pt", "phirel"), limit=50), jets.read(SAMPLE, 8, ("pt", "phirel"), limit=50)
    np.testing.assert_array_equal(ours.features, theirs.features)
    assert ours.names == theirs.names
    assert not set(HIGH_LEVEL) & set(PARTICLE_NAMES)


def test_mixed_kinds_and_more_constituents_are_refused():
    message = r"^features must be all high-level or all columns of constituents, not 'mass' with 'pt'; leave one kind"
    with pytest.raises(UsageError, match=message):
        inputs.read(SAMPLE, 1, ("pt", "mass"))
    with pytest.raises(UsageError, match=r"^constituents must be 1 with high-level features, .*, not 8; set constitu"):
        inputs.read(SAMPLE, 8, HIGH_LEVEL)


def test_a_file_with_too_few_constituents_is_refused(tmp_path):
    with h5py.File(SAMPLE) as source, h5py.File(tmp_path / "shallow.h5", "w") as out:
        for key in source:
            out[key] = source[key][:20, :16] if source[key].ndim > 2 else source[key][: 20 if key == "jets" else None]
    message = r"expected 32 or more constituents a jet, the file holds 16; ask for N <= 16, or make a file that holds"
    with pytest.raises(DataError, match=message):
        inputs.read(tmp_path / "shallow.h5", 1, HIGH_LEVEL)


def test_the_features_of_shipped_jets_are_those_of_their_origin():
    read = inputs.read(SAMPLE, 1, HIGH_LEVEL, limit=5000)
    found = dict(zip(HIGH_LEVEL, read.features[:, 0].T, strict=True))
    with h5py.File(SAMPLE) as file:
        mass = file["jets"][:5000, [name.decode() for name in file["jetFeatureNames"][:]].index("j_mass")]
    share = found["mass"] / mass
    assert share.max() < 1.01 and np.median(share) > 0.85  # 32 of the constituents hold less of the mass
    of = {name: read.labels == index for index, name in enumerate(CLASSES)}
    for name, low, high in (("w", 70, 90), ("z", 78, 100), ("t", 150, 184)):
        assert low < np.median(found["mass"][of[name]]) < high
    for two_prong in ("d2_b1", "n2_b1"):  # made to be small for two prongs
        assert np.median(found[two_prong][of["w"]]) < 0.8 * np.median(found[two_prong][of["g"]])
    assert np.median(found["multiplicity"][of["g"]]) > np.median(found["multiplicity"][of["q"]])


@pytest.mark.slow
def test_the_shipped_recipe_trains_scores_and_verifies_on_the_same_integers(tmp_path):
    from edgephys.applications import registry
    from edgephys.graph import evaluate
    from edgephys.models.files.keras import lower
    from edgephys.project import Project
    from edgephys.train import fit as train
    from edgephys.train.recipe import with_settings
    from edgephys.train.script import script_recipe
    from edgephys.verify.user_vectors import raw_vectors

    recipe = script_recipe(SAMPLE.parent.parent / "jet_highlevel.py")
    assert recipe.name == "jet_highlevel_8bit"
    few = tmp_path / "few.h5"
    with h5py.File(SAMPLE) as source, h5py.File(few, "w") as out:
        for key in source:
            out[key] = source[key][:600] if source[key].ndim > 1 else source[key][:]
    trained = train.fit(with_settings(recipe, ["epochs=1"]), few)
    assert trained.held_out.inputs.shape == (180, 1, 16)
    assert registry.of_card(trained.card).measure(trained, few)["jets"] == 600

    (tmp_path / "model").mkdir()
    write_card(trained.card, tmp_path / "model")
    project = Project(tmp_path, {}, lower(trained.model, recipe.net.input, recipe.name))
    vectors = raw_vectors(project, few, limit=90)
    every = trained.standardisation.apply(inputs.read(few, 1, HIGH_LEVEL).features)
    np.testing.assert_array_equal(vectors.inputs, every[:90])
    logits = trained.model.predict(recipe.net.input.values(vectors.inputs).astype(np.float32), verbose=0)
    outputs = evaluate.run(project.graph, vectors.inputs)
    np.testing.assert_array_equal(project.graph.output.fixed.values(outputs), logits)
    assert {row.tobytes() for row in trained.held_out.inputs} <= {row.tobytes() for row in every}
