import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.data import atomic, cluster, collide, detect, generate, jets, layout, split, trim
from edgephys.errors import DataError, ToolError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models" / "samples" / "jets.h5"
NAMES = [layout.PREFIX + name for name in layout.PARTICLE_NAMES] + list(layout.UNSTORED_NAMES)
PT = layout.PARTICLE_NAMES.index("pt")


# --- synthetic files ------------------------------------------------------------------------------


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


# --- reading --------------------------------------------------------------------------------------


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


# --- every refusal --------------------------------------------------------------------------------


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


def test_damage_inside_a_stored_chunk_is_refused(tmp_path: Path, tiny: Path) -> None:
    with h5py.File(tiny, "r") as file:
        place = file["jetConstituentList"].id.get_chunk_info(0)
    damaged = bytearray(tiny.read_bytes())
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


# --- splitting ------------------------------------------------------------------------------------


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


# --- trimming -------------------------------------------------------------------------------------


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


# --- generating -----------------------------------------------------------------------------------

TINY = 5  # jets a class


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few jets of every class, made by two workers."""
    path = tmp_path_factory.mktemp("jets") / "tiny.h5"
    told: list[tuple[int, int]] = []
    assert generate.generate(path, TINY, 11, workers=2, progress=lambda *now: told.append(now)) == path
    assert told == [(TINY * (chunk + 1), 5 * TINY) for chunk in range(5)]
    return path


def test_generation_depends_on_the_seed_but_not_on_the_number_of_workers(tiny: Path, tmp_path: Path) -> None:
    again = generate.generate(tmp_path / "again.h5", TINY, 11, workers=1)
    assert again.read_bytes() == tiny.read_bytes()
    assert os.listdir(tmp_path) == ["again.h5"]
    chunks = [chunk for seed in (11, 12) for chunk in generate._plan(2 * generate.CHUNK_JETS + 1, seed)]
    assert len({chunk.seed for chunk in chunks}) == len(chunks) == 30
    assert [chunk.jets for chunk in chunks[10:15]] == [1] * 5


def test_slices_are_written_in_order_each_with_every_class_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(chunks: Iterator[generate.Chunk], workers: int) -> Iterator[cluster.Rows]:
        for chunk in chunks:
            particles = np.full((chunk.jets, 150, 16), chunk.index, dtype=np.float32)
            rows = np.zeros((chunk.jets, 12), dtype=np.float32)
            rows[:, 6 + layout.CLASSES.index(chunk.jet_class)] = 1.0
            yield cluster.Rows(particles, rows)

    monkeypatch.setattr(generate, "_made", make)
    monkeypatch.setattr(generate, "CHUNK_JETS", 20)
    with h5py.File(generate.generate(tmp_path / "a.h5", 50, 1), "r") as file:
        np.testing.assert_array_equal(file["jetConstituentList"][:, 149, 15], [0] * 100 + [1] * 100 + [2] * 50)
        label = file["jets"][:, -6:-1].argmax(axis=1)
    for slice_labels, share in ((label[:100], 20), (label[100:200], 20), (label[200:], 10)):
        np.testing.assert_array_equal(np.bincount(slice_labels), [share] * 5)
        assert (np.diff(slice_labels) != 0).sum() > 20
    assert (label[:100] != label[100:200]).any()


def test_generated_columns_are_what_their_names_say(tiny: Path) -> None:
    with h5py.File(tiny, "r") as file:
        assert [name.decode() for name in file["particleFeatureNames"][:]] == NAMES[:16]
        assert [name.decode() for name in file["jetFeatureNames"][:]] == list(layout.JET_NAMES)
        particles = file["jetConstituentList"][:].astype(np.float64)
        rows = file["jets"][:].astype(np.float64)
    assert particles.shape == (5 * TINY, 150, 16)
    column = dict(zip(layout.PARTICLE_NAMES, np.moveaxis(particles, 2, 0), strict=True))
    real = column["pt"] > 0.0
    jet = dict(zip(layout.JET_NAMES, rows.T, strict=True))
    close = {"rtol": 1e-4, "atol": 1e-4}
    assert (np.diff(column["pt"], axis=1) <= 0.0).all()
    assert not particles[~real].any()
    np.testing.assert_array_equal(real.sum(axis=1), np.minimum(jet["j_multiplicity"], 150))
    np.testing.assert_allclose(column["px"], column["pt"] * np.cos(column["phi"]), **close)
    np.testing.assert_allclose(column["py"], column["pt"] * np.sin(column["phi"]), **close)
    np.testing.assert_allclose(column["pz"], column["pt"] * np.sinh(column["eta"]), **close)
    np.testing.assert_allclose(column["e"], column["pt"] * np.cosh(column["eta"]), **close)
    np.testing.assert_allclose(column["costheta"] * column["e"], column["pz"], **close)
    np.testing.assert_allclose(column["deltaR"], np.hypot(column["etarot"], column["phirot"]), **close)
    np.testing.assert_allclose(column["deltaR"], np.hypot(column["etarel"], column["phirel"]), **close)
    np.testing.assert_allclose((column["etarel"] + jet["j_eta"][:, None])[real], column["eta"][real], **close)
    np.testing.assert_allclose(column["phirot"][:, 1], 0.0, atol=1e-6)
    assert (column["etarot"][:, 1] > 0.0).all()
    total = {axis: column[axis].sum(axis=1) for axis in ("px", "py", "pz", "e")}
    pt = np.hypot(total["px"], total["py"])
    whole = jet["j_multiplicity"] <= 150
    np.testing.assert_allclose(pt[whole], jet["j_pt"][whole], rtol=1e-4)
    mass = np.sqrt(total["e"] ** 2 - pt**2 - total["pz"] ** 2)
    np.testing.assert_allclose(mass[whole], jet["j_mass"][whole], rtol=1e-3)
    np.testing.assert_allclose(column["ptrel"], column["pt"] / jet["j_pt"][:, None], **close)
    along = sum(column[axis] * total[axis][:, None] for axis in ("px", "py", "pz"))
    axis_length = np.sqrt(sum(total[axis] ** 2 for axis in ("px", "py", "pz")))
    cosine = (along / (column["e"] + ~real) / axis_length[:, None])[real & whole[:, None]]
    np.testing.assert_allclose(column["costhetarel"][real & whole[:, None]], cosine, **close)


def test_generated_jets_are_balanced_mixed_and_in_their_window(tiny: Path) -> None:
    read = jets.read(tiny, 16)
    np.testing.assert_array_equal(np.bincount(read.labels), [TINY] * 5)
    assert (np.diff(read.labels) != 0).sum() > 10
    with h5py.File(tiny, "r") as file:
        rows = dict(zip(layout.JET_NAMES, file["jets"][:].T, strict=True))
    assert ((rows["j_pt"] > 800.0) & (rows["j_pt"] < 1300.0)).all()
    assert (np.abs(rows["j_eta"]) < 2.0).all()
    assert (np.abs(rows["j_ptfrac"] - 1.0) < 0.5).all()
    assert not rows["j_undef"].any()


def deposits(count: int, pdg: int, pt: float) -> collide.Collisions:
    phi = np.linspace(-3.0, 3.0, count)
    none = np.zeros(0)
    return collide.Collisions(
        count=count,
        event=np.arange(count),
        pdg=np.full(count, pdg),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=np.zeros(count),
        e=np.full(count, pt),
        truth_event=np.zeros(0, dtype=np.int64),
        truth_pt_gev=none,
        truth_eta=none,
        truth_phi=none,
    )


@pytest.mark.parametrize(
    ("pdg", "pt", "width"), [(211, 100.0, 0.0141), (22, 100.0, 0.0058), (130, 100.0, 0.112), (130, 2.0, 0.71)]
)
def test_the_detector_keeps_the_mean_and_has_the_width_it_states(pdg: int, pt: float, width: float) -> None:
    seen = detect.detect(deposits(40_000, pdg, pt), np.random.default_rng(1))
    assert (seen.pt_gev > 0.0).all()
    assert len(seen.pt_gev) > 38_000
    if len(seen.pt_gev) == 40_000:  # nothing fell below the threshold
        assert seen.pt_gev.mean() == pytest.approx(pt, rel=5 * width / 200)
        assert seen.pt_gev.std() == pytest.approx(pt * width, rel=0.04)


@pytest.mark.parametrize(("pdg", "expected"), [(22, 1), (130, 1), (211, 2)])
def test_neutrals_in_one_cell_are_one_deposit_and_tracks_stay_apart(pdg: int, expected: int) -> None:
    beside = {"px": np.full(2, 10.0), "py": np.array([0.01, 0.02])}
    one_event = replace(deposits(2, pdg, 10.0), event=np.zeros(2, dtype=np.int64), **beside)
    two_events = replace(one_event, event=np.arange(2))
    assert len(detect.detect(one_event, np.random.default_rng(0)).pt_gev) == expected
    assert len(detect.detect(two_events, np.random.default_rng(0)).pt_gev) == 2


def test_what_lies_outside_the_detector_is_not_seen() -> None:
    for pdg, edge in ((211, 2.5), (22, 3.0), (2112, 3.0)):
        two = replace(deposits(2, pdg, 50.0), pz=50.0 * np.sinh([edge - 0.3, edge + 0.01]))
        assert detect.detect(two, np.random.default_rng(0)).event.tolist() == [0]


def test_a_batch_without_jets_gives_no_rows() -> None:
    quiet = deposits(3, 211, 1.0)
    rows = cluster.cluster(detect.detect(quiet, np.random.default_rng(0)), quiet, "g")
    assert rows.particles.shape == (0, 150, 16)
    assert rows.jets.shape == (0, 12)


# --- generation that goes wrong -------------------------------------------------------------------


def test_interrupted_generation_leaves_the_old_file_whole_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "jets.h5"
    out.write_text("the old file")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate.generate(out, 2, 1, workers=1, progress=interrupt)
    assert out.read_text() == "the old file"
    assert os.listdir(tmp_path) == ["jets.h5"]
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid or 0, signal.SIGKILL)

    message = r"expected every worker to finish, one was killed; check the memory \(1 GB a worker\) or lower --workers"
    with pytest.raises(ToolError, match=message):
        generate.generate(tmp_path / "jets.h5", 2, 1, workers=1, progress=kill)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("deadly", "left"), [("SIGKILL", ["jets.h5", "jets.h5.part"]), ("SIGINT", ["jets.h5"])])
def test_ended_generation_never_touches_the_old_file(tmp_path: Path, deadly: str, left: list[str]) -> None:
    out = tmp_path / "jets.h5"
    out.write_text("the old file")
    program = (
        "from pathlib import Path; from edgephys.data.generate import generate\n"
        "if __name__ == '__main__': generate(Path('jets.h5'), 2000, 1, workers=1)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60.0
    while not (tmp_path / "jets.h5.part").exists() and time.monotonic() < until:
        time.sleep(0.05)
    run.send_signal(signal.Signals[deadly])
    assert run.wait(timeout=60.0) != 0
    assert out.read_text() == "the old file"
    assert sorted(os.listdir(tmp_path)) == left


def test_a_second_run_on_the_same_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "jets.h5"
    message = r"jets\.h5': expected to be the only writer, found another run writing 'jets\.h5\.part'; wait for it"
    with atomic.new_file(out) as file:
        with pytest.raises(DataError, match=message):
            generate.generate(out, 1, 1, workers=1)
        file["first"] = [1]
    with h5py.File(out, "r") as file:
        assert list(file) == ["first"]
    assert os.listdir(tmp_path) == ["jets.h5"]


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "jets.h5"
    (tmp_path / "jets.h5.part").write_text("half a file")
    with atomic.new_file(out) as file:
        file["second"] = [2]
    assert os.listdir(tmp_path) == ["jets.h5"]


@pytest.mark.parametrize("module", ["pythia8mc", "fastjet"])
def test_a_missing_generator_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"jet generation: expected the module '{module}', not installed; pip install 'edgephys\[jets\]'"
    with pytest.raises(ToolError, match=message):
        generate.generate(tmp_path / "jets.h5", 1, 1)
    assert os.listdir(tmp_path) == []


def test_generation_refuses_numbers_out_of_range(tmp_path: Path) -> None:
    out = tmp_path / "jets.h5"
    with pytest.raises(UsageError, match=r"jets per class must be 1 or more, not 0; set --jets-per-class"):
        generate.generate(out, 0, 1)
    with pytest.raises(UsageError, match=r"seed must be 0\.\.4294967295, not -1; set --seed"):
        generate.generate(out, 1, -1)
    with pytest.raises(UsageError, match=r"workers must be 1 or more, not 0; set --workers"):
        generate.generate(out, 1, 1, workers=0)


def test_pythia_refusals_name_the_class_and_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = collide.Process(("HardQCD:none = on",), (21,), decays=False)
    monkeypatch.setitem(collide.PROCESSES, "g", wrong)
    with pytest.raises(ToolError, match=r"Pythia, class 'g': expected it to accept 'HardQCD:none = on', refused"):
        collide.start("g", 1)
    monkeypatch.setitem(collide.PROCESSES, "g", collide.Process(("Beams:eCM = 1.",), (21,), decays=False))
    with pytest.raises(ToolError, match=r"Pythia, class 'g': expected init to succeed, it failed"):
        collide.start("g", 1)


def test_a_class_that_makes_no_jets_and_a_stopped_worker_end_their_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = generate.Chunk("w", 0, 1, seed=5)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "PT_RANGE_GEV", (800.0, 800.0))
        with pytest.raises(ToolError, match=r"Pythia, class 'w': expected jets, 10 batches hold none; use another"):
            generate.make_chunk(chunk)
    stop = multiprocessing.get_context("spawn").Event()
    stop.set()
    monkeypatch.setattr(generate, "_stop", stop)
    with pytest.raises(ToolError, match=r"jet generation: expected to finish, stopped; run it again"):
        generate.make_chunk(chunk)


# --- the shipped sample ---------------------------------------------------------------------------


def test_the_sample_holds_balanced_jets_of_32_constituents_in_twelve_megabytes() -> None:
    assert SAMPLE.stat().st_size < 12e6
    read = jets.read(SAMPLE, 32)
    assert len(read.labels) == jets.count(SAMPLE) >= 30_000
    assert read.names == ("pt", "etarel", "phirel")
    shares = np.bincount(read.labels) / len(read.labels)
    np.testing.assert_allclose(shares, 0.2, atol=0.01)
    assert (np.abs(read.features[:, :, 1:]) < 1.6).all()


def test_sample_masses_and_multiplicities_are_those_of_their_origin() -> None:
    with h5py.File(SAMPLE, "r") as file:
        names = [name.decode() for name in file["jetFeatureNames"][:]]
        rows = file["jets"][:]
    label = rows[:, -6:-1].argmax(axis=1)
    mass, multiplicity = rows[:, names.index("j_mass")], rows[:, names.index("j_multiplicity")]
    for index, low, high in ((2, 78.0, 90.0), (3, 86.0, 98.0), (4, 164.0, 184.0)):
        counts, edges = np.histogram(mass[label == index], bins=np.arange(40.0, 260.0, 4.0))
        assert low < edges[np.argmax(counts)] + 2.0 < high, layout.CLASSES[index]
    assert multiplicity[label == 0].mean() > 1.3 * multiplicity[label == 1].mean()
