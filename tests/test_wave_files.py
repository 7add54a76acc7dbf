"""Files of waves, read with suspicion: what no network may see is refused in one line that says where and why."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.core.errors import DataError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs of four frames on 24 x 24 points."""
    of = wave_runs.plan(7, grid=24, frames=4, refinement=1, edges="both")
    return waves.generate(tmp_path_factory.mktemp("waves") / "tiny.h5", 5, of, workers=1)


def put(name: str, values: object) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return spoil


def put_at(name: str, place: tuple[int, ...], value: object) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        file[name][place] = value

    return spoil


def put_attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        file.attrs[name] = value

    return spoil


def in_scene(file: h5py.File) -> None:
    record = json.loads(file["runs"][2])
    record["medium"]["speed"] = -1.0
    file["runs"][2] = json.dumps(record)


def outside(file: h5py.File) -> None:
    record = json.loads(file["runs"][2])
    record["medium"]["inclusions"] = [{"shape": "disc", "x": 0.95, "y": 0.5, "radius": 0.2, "speed": 1.2}]
    file["runs"][2] = json.dumps(record)


SPOILED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "another format": (
        put_attribute("format", "jets"),
        r"a\.h5': expected a wave file \('edgephys waves 1'\), found format 'jets'; make it again with edgephys data w",
    ),
    "no format": (
        lambda file: file.attrs.__delitem__("format"),
        r"expected a wave file \(.*\), found format None; make",
    ),
    "no time": (lambda file: file.attrs.__delitem__("frame_dt"), r"expected an attribute frame_dt above 0, found None"),
    "backwards": (put_attribute("frame_dt", -1.0), r"expected an attribute frame_dt above 0, found .*-1\.0.*; make it"),
    "no frames": (lambda file: file.__delitem__("frames"), r"expected a dataset 'frames', found \['runs', 'speed', 't"),
    "no speed": (lambda file: file.__delitem__("speed"), r"a\.h5': expected a dataset 'speed', found \['frames'"),
    "flat frames": (put("frames", np.zeros((5, 24))), r"frames: expected 4 dimensions, found shape \(5, 24\); make it"),
    "no runs": (
        put("frames", np.zeros((0, 4, 24, 24))),
        r"frames: expected runs, found shape \(0, 4, 24, 24\); make it",
    ),
    "other speeds": (
        put("speed", np.ones((5, 24, 23))),
        r"speed: expected shape \(5, 24, 24\) beside frames of \(5, 4, 24, 24\), found \(5, 24, 23\); make it again",
    ),
    "lost record": (put("runs", ["{}"] * 4), r"runs: expected shape \(5,\) beside frames of .*, found \(4,\); make it"),
    "other grid": (
        put("x", np.zeros(9)),
        r"x: expected shape \(24,\) beside frames of .*, found \(9,\); make it again",
    ),
    "text frames": (
        put("frames", np.full((5, 4, 24, 24), b"0")),
        r"frames: expected floating-point numbers, found \|S1; make it again",
    ),
    "whole frames": (
        put("frames", np.zeros((5, 4, 24, 24), np.int32)),
        r"frames: expected floating-point numbers, found int32; make it again",
    ),
    "number records": (put("runs", np.zeros(5)), r"runs: expected text, found float64; make it again"),
    "not a number": (
        put_at("frames", (3, 2, 1, 20), np.nan),
        r"a\.h5', run 3, frame 2, point \(1, 20\): expected finite u, found nan; make it again with edgephys data",
    ),
    "infinite": (
        put_at("frames", (0, 0, 0, 0), np.inf),
        r"run 0, frame 0, point \(0, 0\): expected finite u, found inf",
    ),
    "still": (
        put_at("speed", (4, 3, 2), 0.0),
        r"run 4, point \(3, 2\): expected a wave speed above 0, found 0\.0; make",
    ),
    "no speed at": (
        put_at("speed", (1, 3, 2), np.nan),
        r"run 1, point \(3, 2\): expected a wave speed above 0, found nan",
    ),
    "broken record": (put_at("runs", (1,), "{"), r"run 1: expected its record in JSON, found .*; make it again"),
    "record of numbers": (
        put_at("runs", (1,), "3"),
        r"run 1: expected its record in JSON, found .*int.*; make it again",
    ),
    "empty record": (
        put_at("runs", (0,), "{}"),
        r"run 0: wave run: a field of its record is missing.*'medium'.*; make",
    ),
    "inclusion outside": (
        outside,
        r"run 2: .*disc: must lie within the unit square, not at \(0\.95, 0\.5\).*; make it",
    ),
    "negative scene": (in_scene, r"run 2: wave run: a field of its record .*medium: speed must be above 0.*; make it"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_file_that_no_network_may_see_is_refused(tiny: Path, tmp_path: Path, case: str) -> None:
    spoil, message = SPOILED[case]
    path = tmp_path / "a.h5"
    path.write_bytes(tiny.read_bytes())
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(DataError, match=message) as refused:
        waves.read(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_empty_or_cut_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5': expected a wave file, found no such file; check the path"):
        waves.read(tmp_path / "none.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(DataError, match=r"empty\.h5': expected a wave file, found 0 bytes; download or make it again"):
        waves.read(tmp_path / "empty.h5")
    whole = tiny.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"cut\.h5': expected a whole HDF5 file, found one that cannot be read \(.+\); d"
    ):
        waves.read(tmp_path / "cut.h5")
    with pytest.raises(
        DataError, match=r"expected a wave file \('edgephys waves 1'\), found format None; make it again"
    ):
        waves.read(ROOT / "models" / "samples" / "jets.h5")
