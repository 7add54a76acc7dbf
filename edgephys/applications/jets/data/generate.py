"""Write a file of simulated jets: chunks made in parallel, slices written in order, one rename."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from edgephys.applications.jets.data import collide, layout
from edgephys.applications.jets.data.cluster import JetRows, cluster, import_fastjet
from edgephys.applications.jets.data.detect import detect
from edgephys.core import workers as pool
from edgephys.core.errors import ToolError, UsageError
from edgephys.core.hdf5 import new_file

WHAT = "jet generation"

CHUNK_JETS = 2000
"""Jets of one class made with one seed; a file's bytes depend on this number."""

EVENTS_PER_BATCH = 50
STORED_CHUNK_JETS = 500
GZIP_LEVEL = 2
SEED_MAX = 2**32 - 1
PYTHIA_SEED_MAX = 900_000_000


@dataclass(frozen=True)
class Chunk:
    """What one worker makes at a time: `jets` jets of one class with a seed of their own."""

    jet_class: str
    index: int
    jets: int
    seed: int


def generate(
    out: Path,
    jets_per_class: int,
    seed: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate jets of the five classes and write them in the layout of the public jet files.

    The same `jets_per_class` and `seed` give the same bytes whatever the number of workers. The
    file grows as `OUT.part` and takes the name `out` when it is whole; an earlier `out` stays as
    it was until then. `progress` is told jets done and jets asked for after every chunk.

    Shape: `jetConstituentList` (jet, 150, 16), `jets` (jet, 12); jet = 5 * jets_per_class.
    Units: GeV.
    Raises: UsageError on a number out of range; ToolError when Pythia or FastJet is missing or a
    worker was killed; DataError when the file cannot be written.
    Source: Zenodo record 3602260 for the layout.
    """
    workers = _check(jets_per_class, seed, workers)
    out = Path(out)
    with new_file(out) as file:
        _create(file, len(layout.CLASSES) * jets_per_class)
        _fill(file, jets_per_class, seed, workers, progress)
    return out


def _check(jets_per_class: int, seed: int, workers: int | None) -> int:
    """Check the numbers and the modules before a worker starts; return the number of workers."""
    if jets_per_class < 1:
        raise UsageError(f"{WHAT}: jets per class must be 1 or more, not {jets_per_class}; set --jets-per-class")
    if not 0 <= seed <= SEED_MAX:
        raise UsageError(f"{WHAT}: seed must be 0..{SEED_MAX}, not {seed}; set --seed")
    workers = pool.workers_of(workers, WHAT)
    collide.import_pythia()
    import_fastjet()
    return workers


def _create(file: h5py.File, jets: int) -> None:
    """Lay out the empty datasets; no time stamps, so that equal content is equal bytes."""
    shapes = {
        layout.PARTICLES_DATASET: (layout.PARTICLES_PER_JET, len(layout.PARTICLE_NAMES)),
        layout.JETS_DATASET: (len(layout.JET_NAMES),),
    }
    for name, shape in shapes.items():
        file.create_dataset(
            name,
            shape=(jets, *shape),
            dtype=np.float32,
            chunks=(min(STORED_CHUNK_JETS, jets), *shape),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=True,
            track_times=False,
        )
    names = [layout.PREFIX + name for name in layout.PARTICLE_NAMES]
    for dataset, words in (
        (layout.PARTICLE_NAMES_DATASET, names),
        (layout.JET_NAMES_DATASET, layout.JET_NAMES),
    ):
        file.create_dataset(dataset, data=np.array(words, dtype="S"), track_times=False)


def _fill(
    file: h5py.File,
    jets_per_class: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write slice after slice: one chunk of every class, mixed in a fixed order."""
    total = len(layout.CLASSES) * jets_per_class
    written = done = 0
    waiting: list[JetRows] = []
    with closing(_make_chunks(_plan(jets_per_class, seed), workers)) as parts:
        for rows in parts:
            waiting.append(rows)
            done += len(rows.jets)
            if progress is not None:
                progress(done, total)
            if len(waiting) < len(layout.CLASSES):
                continue
            particles = np.concatenate([rows.particles for rows in waiting])
            jets = np.concatenate([rows.jets for rows in waiting])
            order = np.random.default_rng([seed, written]).permutation(len(jets))
            stop = written + len(jets)
            file[layout.PARTICLES_DATASET][written:stop] = particles[order]
            file[layout.JETS_DATASET][written:stop] = jets[order]
            written, waiting = stop, []


def _plan(jets_per_class: int, seed: int) -> Iterator[Chunk]:
    """List the chunks in the order of the file: for every index, each class."""
    for index, first in enumerate(range(0, jets_per_class, CHUNK_JETS)):
        for label, jet_class in enumerate(layout.CLASSES):
            own = int(np.random.SeedSequence([seed, label, index]).generate_state(1)[0])
            yield Chunk(jet_class, index, min(CHUNK_JETS, jets_per_class - first), own)


def _make_chunks(chunks: Iterator[Chunk], workers: int) -> Generator[JetRows, None, None]:
    """Make chunks in parallel and hand them over in order."""
    return pool.in_order(make_chunk, chunks, workers, WHAT, "1 GB")


def make_chunk(chunk: Chunk) -> JetRows:
    """Make the jets of one chunk; the same chunk gives the same jets on any worker.

    Raises: ToolError when the run was stopped, or when Pythia makes no more jets.
    """
    pythia_seed, detector_seed = np.random.SeedSequence(chunk.seed).generate_state(2)
    pythia = collide.start(chunk.jet_class, 1 + int(pythia_seed) % PYTHIA_SEED_MAX)
    random = np.random.default_rng(int(detector_seed))
    parts: list[JetRows] = []
    count = barren = 0
    while count < chunk.jets:
        pool.check_going_on(WHAT)
        if barren == 10:
            raise ToolError(f"Pythia, class '{chunk.jet_class}': expected jets, 10 batches hold none; use another seed")
        events = min(EVENTS_PER_BATCH, 1 + (chunk.jets - count) // 2)
        collisions = collide.collide(pythia, chunk.jet_class, events)
        rows = cluster(detect(collisions, random), collisions, chunk.jet_class)
        barren = 0 if len(rows.jets) else barren + 1
        count += len(rows.jets)
        parts.append(rows)
    return JetRows(
        np.concatenate([rows.particles for rows in parts])[: chunk.jets],
        np.concatenate([rows.jets for rows in parts])[: chunk.jets],
    )
