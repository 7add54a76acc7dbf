"""Wave files: runs of the wave equation as HDF5, generated and read.

Layout: `frames` (run, time, y, x) and `speed` (run, y, x), float32; `runs` (run,), a JSON text each with all that made
the run; `x`, `y`, `time`, the coordinates. Attributes of the file: `format`, `equation`, `command`, `seed`, `plan`,
`versions` (JSON), `speed0` (outside of inclusions), `frame_dt` and `spacing` (of frames, of points).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from edgephys import __version__
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import import_skfem
from edgephys.applications.waves.data.runs import SPEED, WHAT, RunPlan
from edgephys.applications.waves.data.scene import Floats, Scene, scene_of_record
from edgephys.core import workers as pool
from edgephys.core.errors import DataError, UsageError
from edgephys.core.hdf5 import dataset, new_file, whole_file
from edgephys.core.reading import MALFORMED, fault, parse_json

FORMAT = "edgephys waves 1"
EQUATION = "u_tt = div(c^2 grad u) + f on the unit square"
GZIP_LEVEL = 2
MEMORY = "0.5 GB"
MAKE_AGAIN = "make it again with edgephys data waves"


@dataclass(frozen=True, eq=False)
class Waves:
    """Runs of waves, from frame to frame `frame_dt` apart.

    Shape: `frames` (run, time, y, x), `speed` (run, y, x); `records` and `scenes`, one a run.
    Units: `x`, `y` in edges of the square; a wave of speed 1 crosses it in time 1.
    """

    frames: npt.NDArray[np.float32]
    speed: npt.NDArray[np.float32]
    records: tuple[dict[str, Any], ...]
    scenes: tuple[Scene, ...]
    frame_dt: float
    x: Floats
    y: Floats
    source: str

    @property
    def edges(self) -> tuple[str, ...]:
        """Return what the edges of each run do."""
        return tuple(scene.medium.edges for scene in self.scenes)


# Writing ----------------------------------------------------------------------------------------


def generate(
    out: Path,
    runs: int,
    plan: RunPlan,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate runs of a plan and write them as one file.

    The same `runs` and plan give the same bytes whatever the number of workers. `out` appears when it is whole; an
    earlier one stays as it was until then. Until then every run that is done lies in the folder `OUT.runs`, where an
    interrupted or killed run of the program leaves it and the next one of the same plan finds it. `progress` is told
    runs done and runs asked for.

    Shape: see the layout above.
    Raises: UsageError on a number out of range; ToolError when scikit-fem is missing or a worker was killed; DataError
    when the file cannot be written.
    """
    if runs < 1:
        raise UsageError(f"{WHAT}: runs must be 1 or more, not {runs}; set --runs")
    workers = pool.workers_of(workers, WHAT)
    plan_text = _plan_text(plan)
    out = Path(out)
    folder = out.with_name(out.name + ".runs")
    with new_file(out) as file:
        _create(file, runs, plan, plan_text)
        missing = [index for index in range(runs) if not _is_made(_run_path(folder, index), plan_text)]
        make = partial(_make, plan, plan_text, folder)
        with closing(pool.in_order(make, missing, workers, WHAT, MEMORY)) as done:
            for index in range(runs):
                if index in missing:
                    next(done)
                _copy(_run_path(folder, index), file, index)
                if progress is not None:
                    progress(index + 1, runs)
    _clear(folder)
    return out


def _plan_text(plan: RunPlan) -> str:
    """Return what the runs follow from, code included: runs of another text are not taken up."""
    return json.dumps({**asdict(plan), "versions": _versions()})


def _versions() -> dict[str, str]:
    return {"edgephys": __version__, "scikit-fem": str(import_skfem().__version__), "numpy": np.__version__}


def _command(runs: int, plan: RunPlan) -> str:
    """Return the command that makes the same file again, whatever it was called with."""
    return (
        f"edgephys data waves --runs {runs} --seed {plan.seed} --grid {plan.grid} --frames {plan.frames} "
        f"--edges {plan.edges} --inclusions {plan.inclusions} --sources {plan.sources} --refine {plan.refinement} "
        f"--dt {plan.dt!r}"
    )


def _create(file: h5py.File, runs: int, plan: RunPlan, plan_text: str) -> None:
    """Lay out the empty datasets; no time stamps, so that equal content is equal bytes."""
    ticks = wave_runs.ticks(plan.grid)
    attributes = {
        "format": FORMAT,
        "equation": EQUATION,
        "command": _command(runs, plan),
        "plan": plan_text,
        "versions": json.dumps(_versions()),
        "seed": plan.seed,
        "speed0": SPEED,
        "frame_dt": plan.frame_dt,
        "spacing": float(1.0 / (plan.grid + 1)),
    }
    file.attrs.update(attributes)
    for name, shape in (("frames", (plan.frames, plan.grid, plan.grid)), ("speed", (plan.grid, plan.grid))):
        _create_packed(file, name, (runs, *shape))
    file.create_dataset("runs", shape=(runs,), dtype=h5py.string_dtype(), track_times=False)
    for name, values in (("x", ticks), ("y", ticks), ("time", np.arange(plan.frames) * plan.frame_dt)):
        file.create_dataset(name, data=values, track_times=False)


def _create_packed(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """Create a dataset of one chunk a run."""
    file.create_dataset(
        name,
        shape=shape,
        dtype=np.float32,
        chunks=(1, *shape[1:]),
        compression="gzip",
        compression_opts=GZIP_LEVEL,
        shuffle=True,
        track_times=False,
    )


def _run_path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.h5"


def _is_made(path: Path, plan_text: str) -> bool:
    """Say whether an earlier run of the program left this run whole and of the same plan."""
    try:
        with whole_file(path, "run of waves") as file:
            return file.attrs.get("plan") == plan_text and len(file["runs"][:]) == 1
    except (DataError, KeyError):
        return False


def _make(plan: RunPlan, plan_text: str, folder: Path, index: int) -> int:
    """Simulate one run and leave it in the folder."""
    rows = wave_runs.simulate(plan, index)
    with new_file(_run_path(folder, index)) as file:
        file.attrs["plan"] = plan_text
        file["frames"] = rows.frames[None]
        file["speed"] = rows.speed[None]
        file["runs"] = [json.dumps(rows.record)]
    return index


def _clear(folder: Path) -> None:
    """Remove the runs and what a killed worker left of one; files that are not ours, and then the folder, stay."""
    for path in folder.glob("[0-9]*.h5*"):
        path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _copy(path: Path, file: h5py.File, index: int) -> None:
    with whole_file(path, "run of waves") as run:
        for name in ("frames", "speed", "runs"):
            file[name][index] = run[name][0]


# Reading ----------------------------------------------------------------------------------------


def read(path: Path, limit: int | None = None) -> Waves:
    """Read the runs of a wave file, or the first `limit` of them.

    Another grid is not cut out of a file: there a wave would move another number of cells a frame, or meet an edge
    that is none. `edgephys data waves --grid` simulates it.

    Shape: frames (run, time, y, x), speed (run, y, x).
    Raises: DataError on a file that is missing, truncated, of another layout, or holds what no model may see;
    UsageError on a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"waves: limit must be 1 or more, not {limit}; ask for 1 or more")
    path = Path(path)
    with whole_file(path, "wave file") as file:
        count = _check_layout(path, file)
        selected = slice(0, count if limit is None else min(count, limit))
        frames, speed = (file[name][selected].astype(np.float32, copy=False) for name in ("frames", "speed"))
        records = tuple(_record(path, index, text) for index, text in enumerate(file["runs"][selected]))
        x, y = (file[name][:].astype(np.float64) for name in ("x", "y"))
        frame_dt = float(file.attrs["frame_dt"])
    for run, field in enumerate(frames):
        _check_finite(path, run, field)
    _check_speed(path, speed)
    scenes = tuple(_scene(path, index, record) for index, record in enumerate(records))
    return Waves(frames, speed, records, scenes, frame_dt, x, y, str(path))


def _check_layout(path: Path, file: h5py.File) -> int:
    """Check what the file holds before its fields are read; return the number of runs."""
    stated = file.attrs.get("format")
    if stated != FORMAT:
        raise DataError(f"file '{path}': expected a wave file ('{FORMAT}'), found format {stated!r}; {MAKE_AGAIN}")
    frame_dt = file.attrs.get("frame_dt")
    if not (isinstance(frame_dt, float) and 0.0 < frame_dt < math.inf):
        raise DataError(f"file '{path}': expected an attribute frame_dt above 0, found {frame_dt!r}; {MAKE_AGAIN}")
    shapes = {name: _shape(path, file, name, size) for name, size in (("frames", 4), ("speed", 3), ("runs", 1))}
    runs, times, *grid = shapes["frames"]
    if runs == 0 or times == 0 or 0 in grid:
        raise DataError(f"file '{path}', frames: expected runs, found shape {shapes['frames']}; {MAKE_AGAIN}")
    expected = {"speed": (runs, *grid), "runs": (runs,), "y": (grid[0],), "x": (grid[1],)}
    for name, shape in expected.items():
        own_shape = _shape(path, file, name, len(shape))
        if own_shape != shape:
            raise DataError(
                f"file '{path}', {name}: expected shape {shape} beside frames of {shapes['frames']}, "
                f"found {own_shape}; {MAKE_AGAIN}"
            )
    return runs


def _shape(path: Path, file: h5py.File, name: str, dimensions: int) -> tuple[int, ...]:
    kinds = "text" if name == "runs" else "f"
    return tuple(int(size) for size in dataset(path, file, name, dimensions, kinds, MAKE_AGAIN).shape)


def _check_finite(path: Path, run: int, field: npt.NDArray[np.float32]) -> None:
    for frame, row, column in _first(~np.isfinite(field)):
        raise DataError(
            f"file '{path}', run {run}, frame {frame}, point ({row}, {column}): expected finite u, "
            f"found {field[frame, row, column]}; {MAKE_AGAIN}"
        )


def _check_speed(path: Path, speed: npt.NDArray[np.float32]) -> None:
    for run, row, column in _first(~((speed > 0.0) & np.isfinite(speed))):
        raise DataError(
            f"file '{path}', run {run}, point ({row}, {column}): expected a wave speed above 0, "
            f"found {speed[run, row, column]}; {MAKE_AGAIN}"
        )


def _first(wrong: npt.NDArray[np.bool_]) -> Iterator[tuple[int, ...]]:
    """Yield the place of the first mark, if there is one."""
    if wrong.any():
        yield tuple(int(part) for part in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _record(path: Path, run: int, text: bytes) -> dict[str, Any]:
    try:
        return dict(parse_json(text))
    except MALFORMED as error:
        raise DataError(
            f"file '{path}', run {run}: expected its record in JSON, found {fault(error)}; {MAKE_AGAIN}"
        ) from error


def _scene(path: Path, run: int, record: dict[str, Any]) -> Scene:
    try:
        return scene_of_record(record)
    except DataError as error:
        raise DataError(f"file '{path}', run {run}: {error}; {MAKE_AGAIN}") from error
