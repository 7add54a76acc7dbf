"""Make a small jet file from a large one: fewer constituents, columns and bits, the same layout."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import layout
from edgephys.core.hdf5 import new_file

MANTISSA_BITS = 12
"""Of 23: a step of 1/8192 of the value at most, far below any detector's resolution."""

GZIP_LEVEL = 9
STORED_CHUNK_JETS = 2000


def write_trimmed(
    source: Path,
    out: Path,
    constituents: int = 32,
    features: Sequence[str] = jets.FEATURES,
    limit: int | None = None,
) -> Path:
    """Write the first `limit` jets of a file with fewer constituents and columns.

    Constituents of 2 GeV or less are dropped and mantissas rounded to 12 bits, still float32, so
    that gzip finds little to keep. `out` appears only when it is whole.

    Shape: `jetConstituentList` (jet, constituents, features), `jets` as in the source.
    Raises: DataError as `jets.read`, and when `out` cannot be written.
    """
    selected = jets.read(source, constituents, features, limit)
    with h5py.File(source, "r") as file:
        rows = file[layout.JETS_DATASET][: len(selected.labels)].astype(np.float32)
        jet_names = file[layout.JET_NAMES_DATASET][:]
    rounded = round_mantissa(selected.features)
    if "pt" in selected.names:
        pt, exact = (values[:, :, selected.names.index("pt")] for values in (rounded, selected.features))
        at_edge = (exact > jets.PT_MIN_GEV) & (pt <= jets.PT_MIN_GEV)
        pt[at_edge] = jets.PT_MIN_GEV * (1.0 + 2.0**-MANTISSA_BITS)  # else a reader would drop them
    with new_file(out) as file:
        _store(file, layout.PARTICLES_DATASET, rounded)
        _store(file, layout.JETS_DATASET, round_mantissa(rows))
        names = np.array([layout.PREFIX + name for name in selected.names], dtype="S")
        file.create_dataset(layout.PARTICLE_NAMES_DATASET, data=names, track_times=False)
        file.create_dataset(layout.JET_NAMES_DATASET, data=jet_names, track_times=False)
    return out


def _store(file: h5py.File, name: str, values: npt.NDArray[np.float32]) -> None:
    file.create_dataset(
        name,
        data=values,
        chunks=(min(STORED_CHUNK_JETS, len(values)), *values.shape[1:]),
        compression="gzip",
        compression_opts=GZIP_LEVEL,
        shuffle=True,
        track_times=False,
    )


def round_mantissa(values: npt.NDArray[np.float32], bits: int = MANTISSA_BITS) -> npt.NDArray[np.float32]:
    """Round float32 to `bits` bits after the leading one, ties away from zero.

    Exact: numbers of that many bits, zero among them, stay as they are.
    """
    dropped = 23 - bits
    if dropped <= 0:
        return values.copy()
    words = values.astype(np.float32).view(np.uint32).astype(np.int64)  # sign and magnitude
    rounded = (words + (1 << (dropped - 1))) >> dropped << dropped
    return rounded.astype(np.uint32).view(np.float32)
