"""Generated jets: the same bytes from a seed, columns as named; a run that ends early leaves no half a file."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys.applications.jets.data import cluster, collide, detect, generate, layout
from edgephys.applications.jets.data import files as jets
from edgephys.core import hdf5 as atomic
from edgephys.core import workers as pool
from edgephys.core.errors import DataError, ToolError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models" / "samples" / "jets.h5"
TINY = 5  # jets a class


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few jets of every class, made by two workers."""
    path = tmp_path_factory.mktemp("jets") / "tiny.h5"
    told: list[tuple[int, int]] = []
    assert generate.generate(path, TINY, 11, workers=2, progress=lambda *now: told.append(now)) == path
    assert told == [(TINY * (chunk + 1), 5 * TINY) for chunk in range(5)]
    return path


@pytest.mark.slow
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
    def make(chunks: Iterator[generate.Chunk], workers: int) -> Iterator[cluster.JetRows]:
        for chunk in chunks:
            particles = np.full((chunk.jets, 150, 16), chunk.index, dtype=np.float32)
            rows = np.zeros((chunk.jets, 12), dtype=np.float32)
            rows[:, 6 + layout.CLASSES.index(chunk.jet_class)] = 1.0
            yield cluster.JetRows(particles, rows)

    monkeypatch.setattr(generate, "_make_chunks", make)
    monkeypatch.setattr(generate, "CHUNK_JETS", 20)
    with h5py.File(generate.generate(tmp_path / "a.h5", 50, 1), "r") as file:
        np.testing.assert_array_equal(file["jetConstituentList"][:, 149, 15], [0] * 100 + [1] * 100 + [2] * 50)
        label = file["jets"][:, -6:-1].argmax(axis=1)
    for slice_labels, share in ((label[:100], 20), (label[100:200], 20), (label[200:], 10)):
        np.testing.assert_array_equal(np.bincount(slice_labels), [share] * 5)
        assert (np.diff(slice_labels) != 0).sum() > 20
    assert (label[:100] != label[100:200]).any()


@pytest.mark.slow
def test_generated_columns_are_what_their_names_say(tiny: Path) -> None:
    with h5py.File(tiny, "r") as file:
        names = [layout.PREFIX + name for name in layout.PARTICLE_NAMES]
        assert [name.decode() for name in file["particleFeatureNames"][:]] == names
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


# The detector -----------------------------------------------------------------------------------


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


# Generation that goes wrong ---------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_killed_worker_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid or 0, signal.SIGKILL)

    message = r"expected every worker to finish, one was killed; check the memory \(1 GB a worker\) or lower --workers"
    with pytest.raises(ToolError, match=message):
        generate.generate(tmp_path / "jets.h5", 2, 1, workers=1, progress=kill)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("deadly", "left"), [("SIGKILL", ["jets.h5", "jets.h5.part"]), ("SIGINT", ["jets.h5"])])
def test_ended_generation_never_touches_the_old_file(tmp_path: Path, deadly: str, left: list[str]) -> None:
    out = tmp_path / "jets.h5"
    out.write_text("the old file")
    program = (
        "from pathlib import Path; from edgephys.applications.jets.data.generate import generate\n"
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
    monkeypatch.setattr(pool, "_stop", stop)
    with pytest.raises(ToolError, match=r"jet generation: expected to finish, stopped; run it again"):
        generate.make_chunk(chunk)


# The shipped sample -----------------------------------------------------------------------------


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
