"""Jet files are read as brute force reads them, split, and trimmed; what no model may see is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import layout, split, trim
from edgephys.core.errors import DataError, UsageError

NAMES = [layout.PREFIX + name for name in layout.PARTICLE_NAMES] + list(layout.UNSTORED_NAMES)
PT = layout.PARTICLE_NAMES.index("pt")


# Synthetic files --------------------------------------------------------------------------------


def make_file(path: Path, count: int = 41, depth: int = 12, seed: int = 0, ordered: bool = True) -> Path:
    """Write random jets as the public files hold them: 17 names, 16 columns."""
    random = np.random.default_rng(seed)
    particles = random.normal(0.0, 1.0, (count, depth, 16)).astype(np.float32)
    pt = random.exponential(5.0, (count, depth)).astype(np.float32)
    pt[:, 0] += 3.0  # every jet keeps one constituent
    particles[:, :, PT] = -np.sort(-pt, axis=1) if ordered else pt
    rows = random.normal(0.0, 1.0, (count, 59)).astype(np.float32)
    rows[:, -6:] = 0.0
    rows[np.arange(count), -6 + random.integers(0, 5, count)] = 1.0
    with h5py.File(path, "w") as file:
        file["jetConstituentList"] = particles
        file["jets"] = rows
        file["particleFeatureNames"] = np.array(NAMES, dtype="S")
        file["jetFeatureNames"] = np.array([f"j_{index}" for index in range(59)], dtype="S")
    return path


def brute_force(path: Path, constituents: int, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    with h5py.File(path, "r") as file:
        particles = file["jetConstituentList"][:]
    out = np.zeros((len(particles), constituents, len(names)), dtype=np.float32)
    for row, jet in enumerate(particles):
        hard = [particle for particle in jet if particle[PT] > 2.0]
        hard.sort(key=lambda particle: -particle[PT])
        for index, particle in enumerate(hard[:constituents]):
            out[row, index] = [particle[layout.PARTICLE_NAMES.index(name)] for name in names]
    return out


# Reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("names", [("pt", "etarel", "phirel"), ("phi",), layout.PARTICLE_NAMES])
def test_the_reader_equals_brute_force(tmp_path: Path, names: tuple[str, ...], ordered: bool) -> None:
    path = make_file(tmp_path / "a.h5", ordered=ordered)
    read = jets.read(path, 7, names)
    np.testing.assert_array_equal(read.features, brute_force(path, 7, names))
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(read.labels, file["jets"][:, -6:-1].argmax(axis=1))
    assert read.features.dtype == np.float32
    assert read.labels.dtype == np.int64
    assert read.names == names
    assert read.source == str(path)


def test_columns_answer_to_their_names_with_and_without_the_prefix(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.h5")
    short, long = jets.read(path, 4, ("pt", "eta")), jets.read(path, 4, ("j1_pt", "j1_eta"))
    np.testing.assert_array_equal(short.features, long.features)
    assert short.names == long.names == ("pt", "eta")
    with h5py.File(path, "a") as file:
        del file["particleFeatureNames"]
        file["particleFeatureNames"] = np.array(layout.PARTICLE_NAMES, dtype="S")
    np.testing.assert_array_equal(jets.read(path, 4, ("pt", "eta")).features, short.features)


@pytest.mark.parametrize("ordered", [True, False])
def test_reading_in_slices_of_seven_equals_reading_whole(tmp_path: Path, ordered: bool) -> None:
    path = make_file(tmp_path / "a.h5", ordered=ordered)
    whole, sliced = jets.read(path, 5), jets.read(path, 5, slice_jets=7)
    np.testing.assert_array_equal(whole.features, sliced.features)
    np.testing.assert_array_equal(whole.labels, sliced.labels)
    assert [len(part.labels) for part in jets.slices(path, 5, slice_jets=7)] == [7, 7, 7, 7, 7, 6]


@pytest.mark.parametrize("limit", [None, 1, 40, 41, 50, 500])
def test_a_folder_of_files_equals_their_concatenation(tmp_path: Path, limit: int | None) -> None:
    files = [make_file(tmp_path / f"{name}.h5", seed=seed) for seed, name in enumerate("abc")]
    (tmp_path / "notes.txt").write_text("not jets")
    folder, several = jets.read(tmp_path, 5, limit=limit), jets.read(files, 5, limit=limit)
    parts = [jets.read(file, 5) for file in files]
    expected = np.concatenate([part.features for part in parts])[:limit]
    np.testing.assert_array_equal(folder.features, expected)
    np.testing.assert_array_equal(several.features, expected)
    np.testing.assert_array_equal(folder.labels, np.concatenate([part.labels for part in parts])[:limit])
    assert jets.count(tmp_path) == jets.count(files) == 3 * 41
    assert folder.source == ", ".join(str(file) for file in files)


def test_a_lower_threshold_keeps_soft_constituents(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.h5")
    soft = jets.read(path, 12, ("pt",), pt_min_gev=0.0)
    assert (soft.features > 0.0).all()
    assert (jets.read(path, 12, ("pt",)).features == np.where(soft.features > 2.0, soft.features, 0.0)).all()


def test_constituents_are_shuffled_within_their_jet_only(tmp_path: Path) -> None:
    features = jets.read(make_file(tmp_path / "a.h5"), 9).features
    shuffled = jets.shuffle_constituents(features, seed=3)
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(features, axis=1))
    rows = {tuple(particle) for particle in features.reshape(-1, 3)}
    assert {tuple(particle) for particle in shuffled.reshape(-1, 3)} == rows
    assert (shuffled[:, 0, 0] != features[:, 0, 0]).any()
    np.testing.assert_array_equal(shuffled, jets.shuffle_constituents(features, seed=3))
    assert (shuffled != jets.shuffle_constituents(features, seed=4)).any()


# Every refusal ----------------------------------------------------------------------------------


def put_dataset(file: h5py.File, name: str, values: object) -> None:
    del file[name]
    file[name] = values


def spoil_label(file: h5py.File) -> None:
    file["jets"][30, -6:-1] = [1, 0, 1, 0, 0]


def drop_jet(file: h5py.File) -> None:
    file["jetConstituentList"][29, :, PT] = np.linspace(2.0, 0.0, 12)


def put(row: int, particle: int, name: str, value: float) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        file["jetConstituentList"][row, particle, layout.PARTICLE_NAMES.index(name)] = value

    return spoil


REFUSED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no constituents": (
        lambda file: file.__delitem__("jetConstituentList"),
        r"a\.h5': expected a dataset 'jetConstituentList', found \['jetFeatureNames', 'jets', 'part.*\]; use",
    ),
    "no jets": (lambda file: file.__delitem__("jets"), r"a\.h5': expected a dataset 'jets', found"),
    "no names": (lambda file: file.__delitem__("particleFeatureNames"), r"expected a dataset 'particleFeatureNames'"),
    "a group": (
        lambda file: (file.__delitem__("jets"), file.create_group("jets"))[0],
        r"expected a dataset 'jets', found",
    ),
    "wrong dimensions": (
        lambda file: put_dataset(file, "jetConstituentList", np.zeros((41, 12))),
        r"a\.h5', jetConstituentList: expected 3 dimensions, found shape \(41, 12\); use a file in the layout",
    ),
    "missing column": (
        lambda file: put_dataset(file, "particleFeatureNames", np.array(NAMES[:-6], dtype="S")),
        r"particleFeatureNames: expected a column 'phirel', found px py .* etarot phi; choose among these, or make a "
        r"file that holds all columns with edgephys data jets$",
    ),
    "too few columns": (
        lambda file: put_dataset(file, "jetConstituentList", np.ones((41, 12, 11))),
        r"jetConstituentList: expected 16 columns for the names in particleFeatureNames, found 11; download",
    ),
    "different lengths": (
        lambda file: put_dataset(file, "jets", np.zeros((40, 59))),
        r"a\.h5': expected as many rows in jets as the 41 of jetConstituentList, found 40; download",
    ),
    "no rows": (
        lambda file: (
            put_dataset(file, "jets", np.zeros((0, 59))),
            put_dataset(file, "jetConstituentList", np.zeros((0, 12, 16))),
        )[0],
        r"a\.h5', jets: expected jets, found 0 rows; make it again",
    ),
    "no label columns": (
        lambda file: put_dataset(file, "jets", np.zeros((41, 5))),
        r"jets: expected 6 or more columns \(g q w z t undef last\), found 5; use",
    ),
    "two labels": (
        spoil_label,
        r"jets, row 30: expected one 1 among g q w z t, found \[1\.0, 0\.0, 1\.0, 0\.0, 0\.0\]",
    ),
    "no label": (
        lambda file: put_dataset(file, "jets", np.zeros((41, 59))),
        r"jets, row 0: expected one 1 among g q w z t, found \[0\.0, 0\.0, 0\.0, 0\.0, 0\.0\]; drop",
    ),
    "not a number": (
        put(33, 2, "etarel", np.nan),
        r"row 33, column 'etarel': expected finite numbers, found nan \(constituent 2\); drop",
    ),
    "infinite momentum": (put(0, 0, "pt", np.inf), r"row 0, column 'pt': expected finite numbers, found inf"),
    "no constituent left": (
        drop_jet,
        r"row 29: expected a constituent above 2 GeV, found none; drop the jet or lower pt_min_gev",
    ),
}


@pytest.mark.parametrize("slice_jets", [7, 100])
@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_no_model_may_see_is_refused(tmp_path: Path, case: str, slice_jets: int) -> None:
    spoil, message = REFUSED[case]
    path = make_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(DataError, match=message) as refused:
        jets.read(path, 5, slice_jets=slice_jets)
    assert "\n" not in str(refused.value)


def test_more_constituents_than_stored_are_refused(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"expected 13 or more constituents a jet, the file holds 12; ask for N <= 12"):
        jets.read(path, 13)


def test_a_column_that_no_file_has_is_refused_without_advice_to_make_one(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"expected a column 'charge', found px .* costhetarel; choose among these$"):
        jets.read(path, 5, ("pt", "charge"))


def test_paths_without_jets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5': expected a jet file, found no such file; check the path"):
        jets.read(tmp_path / "none.h5", 5)
    with pytest.raises(DataError, match=r"expected files named \*\.h5, found none; make one with edgephys data jets"):
        jets.read(tmp_path, 5)
    with pytest.raises(DataError, match=r"jet files: expected one or more paths, found none; name a file"):
        jets.read([], 5)
    (tmp_path / "empty.h5").touch()
    with pytest.raises(DataError, match=r"empty\.h5': expected a jet file, found 0 bytes; download or make it again"):
        jets.count(tmp_path)


def test_files_that_hdf5_cannot_read_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("pt,eta,phi\n" * 100)
    whole = make_file(tmp_path / "whole.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (text, cut):
        message = rf"{path.name}': expected a whole HDF5 file, found one that cannot be read \(.+\); download or make"
        with pytest.raises(DataError, match=message) as refused:
            jets.read(path, 5)
        assert "\n" not in str(refused.value)


def test_damage_inside_a_stored_chunk_is_refused(tmp_path: Path) -> None:
    whole = trim.write_trimmed(make_file(tmp_path / "a.h5"), tmp_path / "whole.h5", constituents=12)
    with h5py.File(whole, "r") as file:
        place = file["jetConstituentList"].id.get_chunk_info(0)
    damaged = bytearray(whole.read_bytes())
    middle = place.byte_offset + place.size // 2
    damaged[middle : middle + 200] = bytes(200)
    path = tmp_path / "damaged.h5"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged\.h5': expected a whole HDF5 file, found one that cannot be read"):
        jets.read(path, 5)


@pytest.mark.parametrize(
    "wrong", [{"constituents": 0}, {"constituents": 5, "limit": 0}, {"constituents": 5, "slice_jets": -1}]
)
def test_numbers_out_of_range_are_refused_by_name(tmp_path: Path, wrong: dict[str, int]) -> None:
    path = make_file(tmp_path / "a.h5")
    name, value = list(wrong.items())[-1]
    with pytest.raises(UsageError, match=rf"jets: {name} must be 1 or more, not {value}; ask for 1 or more"):
        jets.read(path, **wrong)  # type: ignore[arg-type]


# Splitting --------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.integers(0, 1000))
def test_a_split_is_disjoint_complete_and_in_proportion(drawn: list[int], seed: int) -> None:
    labels = np.array(drawn + [0, 1, 2, 3, 4] * 10)
    fractions = {"train": 0.6, "validation": 0.2, "test": 0.2}
    parts = split.stratified(labels, fractions, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    for name, chosen in parts.items():
        assert (np.diff(chosen) > 0).all()
        for label in range(5):
            share = (labels[chosen] == label).sum() - fractions[name] * (labels == label).sum()
            assert abs(share) <= 1.0
        np.testing.assert_array_equal(chosen, split.stratified(labels, fractions, seed)[name])


def test_a_split_depends_on_its_seed_and_may_leave_examples_out() -> None:
    labels = np.arange(1000) % 5
    one, two = (split.stratified(labels, {"train": 0.5, "test": 0.1}, seed) for seed in (1, 2))
    assert (one["train"] != two["train"]).any()
    assert [len(part) for part in one.values()] == [500, 100]
    assert not set(one["train"]) & set(one["test"])


def test_impossible_splits_are_refused() -> None:
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(UsageError, match=r"split: fraction of part 'b' must be above 0, not -0\.1; leave the part out"):
        split.stratified(labels, {"a": 0.5, "b": -0.1}, 0)
    with pytest.raises(UsageError, match=r"split: fractions must add up to 1 or less, not 1\.3; lower them"):
        split.stratified(labels, {"a": 0.8, "b": 0.5}, 0)
    with pytest.raises(DataError, match=r"class 0 must give part 'b' an example, its 4 are too few for a fraction of"):
        split.stratified(labels, {"a": 0.9, "b": 0.1}, 0)


# Trimming ---------------------------------------------------------------------------------------


def test_a_trimmed_file_reads_as_its_source_to_twelve_bits(tmp_path: Path) -> None:
    source = make_file(tmp_path / "a.h5", ordered=False)
    with h5py.File(source, "a") as file:
        file["jetConstituentList"][3, 5, PT] = 2.0001  # rounds to 2 GeV, which a reader drops
    small = trim.write_trimmed(source, tmp_path / "new" / "small.h5", constituents=12, limit=30)
    kept, original = jets.read(small, 12), jets.read(source, 12, limit=30)
    np.testing.assert_allclose(kept.features[:, :, 1:], original.features[:, :, 1:], rtol=2.0**-13, atol=0.0)
    np.testing.assert_allclose(kept.features[:, :, 0], original.features[:, :, 0], rtol=2.0**-12, atol=0.0)
    assert 2.0 < kept.features[3, :, 0][kept.features[3, :, 0] > 0.0].min() < 2.001
    np.testing.assert_array_equal(kept.labels, original.labels)
    with h5py.File(small, "r") as file:
        assert file["jetConstituentList"].shape == (30, 12, 3)
        assert list(file["particleFeatureNames"][:]) == [b"j1_pt", b"j1_etarel", b"j1_phirel"]
        assert file["jets"].shape == (30, 59)
        assert len(file["jetFeatureNames"]) == 59
    assert os.listdir(tmp_path / "new") == ["small.h5"]


@given(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), st.integers(1, 23))
def test_rounding_keeps_so_many_bits_and_moves_by_half_a_step_at_most(value: float, bits: int) -> None:
    given_value = np.array([value], dtype=np.float32)
    rounded = trim.round_mantissa(given_value, bits)
    assert abs(float(rounded[0]) - value) <= abs(value) * 2.0 ** -(bits + 1)
    assert int(rounded.view(np.uint32)[0]) % (1 << (23 - bits)) == 0
    np.testing.assert_array_equal(trim.round_mantissa(rounded, bits), rounded)


def test_a_trimmed_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    source = make_file(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"file '.*small\.h5': expected to write it, found '.+'; check the folder"):
        trim.write_trimmed(source, source / "small.h5", constituents=6)
