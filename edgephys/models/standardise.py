"""Robust standardisation in fixed point: part of the model, defined down to the bit.

A raw feature is first put on a fixed-point grid (what a trigger would hand over), then
``(raw - centre) * gain`` is computed in integers and rounded to the network's input format.
Source: arXiv 2402.01876, section on the data set: (x - median) / (P95 - P5), fitted on training data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import DataError, ModelError
from edgephys.core.fixed import WIDEST, Fixed, Integers
from edgephys.core.names import require_plain
from edgephys.core.reading import MALFORMED, fault
from edgephys.core.rounding import Overflow, Rounding


def _grid(signed: bool, bits: int, integer: int) -> Fixed:
    return Fixed(signed, bits, integer, Rounding.RND_CONV, Overflow.SAT)


_GRIDS_OF: tuple[tuple[Fixed, tuple[str, ...]], ...] = (
    (_grid(False, 16, 12), ("pt",)),  # GeV: 1/16 GeV up to 4096 GeV
    (_grid(False, 16, 4), ("log2pt",)),  # 1/4096 of a factor of two, from 1 GeV up to 4096 GeV
    (_grid(True, 14, 2), ("etarel", "phirel")),  # rad: 1/4096 up to 2
    (_grid(True, 19, 14), ("px", "py", "pz")),  # GeV: 1/32 GeV up to 8192 GeV
    (_grid(False, 18, 13), ("e",)),
    (_grid(False, 17, 1), ("erel", "ptrel")),
    (_grid(True, 15, 3), ("eta", "phi")),  # rad: 1/4096 up to 4
    (_grid(True, 17, 2), ("etarot", "phirot")),  # narrow: turned until the second hardest lies at phirot = 0
    (_grid(True, 16, 2), ("costheta",)),
    (_grid(False, 15, 2), ("deltaR",)),
    (_grid(True, 20, 2), ("costhetarel",)),  # within 1/100 of 1 in the core of a jet
    (_grid(True, 15, 3), ("zlogz",)),  # from -log 32
    (
        _grid(False, 16, 0),  # below 1
        ("c1_b0", "c1_b1", "c1_b2", "c2_b1", "c2_b2", "d2_a1_b2", "m2_b1", "m2_b2", "n2_b1", "n2_b2"),
    ),
    (_grid(False, 18, 7), ("d2_b1", "d2_a1_b1")),
    (_grid(False, 18, 9), ("d2_b2",)),
    (_grid(False, 16, 10), ("mass",)),  # GeV: 1/64 GeV up to 1024 GeV
    (_grid(False, 8, 8), ("multiplicity",)),
)

GRIDS = {name: grid for grid, names in _GRIDS_OF for name in names}
"""Grids of the raw features: our choice, so fine that P95 - P5 of a feature is 1000 steps and over.

Coarser only where the detector is, in etarel and phirel, and in multiplicity, which is whole.
"""

OTHER_GRID = Fixed(True, 24, 13, Rounding.RND_CONV, Overflow.SAT)
GAIN_BITS = 10


@dataclass(frozen=True)
class Standardisation:
    """State how raw features become the network's input integers.

    ``centres`` are in steps of ``grids``; feature f's gain is ``gains[f] * 2**-gain_fractions[f]``.
    """

    names: tuple[str, ...]
    grids: tuple[Fixed, ...]
    centres: tuple[int, ...]
    gains: tuple[int, ...]
    gain_fractions: tuple[int, ...]
    output: Fixed

    def __post_init__(self) -> None:
        """Raise ModelError for fields of unequal lengths, or numbers whose products 64 bits would not hold."""
        columns = (self.grids, self.centres, self.gains, self.gain_fractions)
        if any(len(column) != len(self.names) for column in columns):
            raise ModelError(
                f"standardisation: {len(self.names)} features need as many grids, centres, gains and fractions"
            )
        for name, grid, centre, gain, fraction in zip(self.names, *columns, strict=True):
            if not grid.holds(centre, centre):
                raise ModelError(
                    f"standardisation of '{name}': its centre must be on its grid, {grid.low}..{grid.high}"
                )
            if not 0 < gain < 1 << (WIDEST - 1 - grid.bits):
                raise ModelError(
                    f"standardisation of '{name}': its gain must be positive, and at most"
                    f" {WIDEST - 1 - grid.bits} bits wide beside a grid of {grid.bits}"
                )
            if abs(fraction) > WIDEST:
                raise ModelError(f"standardisation of '{name}': its gain must have at most {WIDEST} fraction bits")

    def apply(self, features: NDArray[Any]) -> Integers:
        """Return the input integers of raw features.

        Shape: (jet, constituent, feature) -> the same.  Exact: every step is integer arithmetic.
        Raises: DataError for NaN, infinities or another number of features.
        """
        if features.shape[-1] != len(self.names):
            raise DataError(f"expected {len(self.names)} features {self.names}, found {features.shape[-1]}")
        if not np.all(np.isfinite(features)):
            raise DataError("features must be finite: NaN or infinity found; clean the file")
        return self.of_raw(self.raw(features))

    def raw(self, features: NDArray[Any]) -> Integers:
        """Return finite raw features as integers in steps of their grids.  Shape: (..., feature), kept."""
        return np.stack([grid.quantise(features[..., index]) for index, grid in enumerate(self.grids)], -1)

    def of_raw(self, raw: Integers) -> Integers:
        """Return the input integers of raw features that are on their grids.

        Shape: (..., feature), kept.  Exact: integer arithmetic.
        """
        columns = []
        for index, grid in enumerate(self.grids):
            scaled = (raw[..., index] - self.centres[index]) * self.gains[index]
            columns.append(self.output.requantise(scaled, grid.fraction + self.gain_fractions[index]))
        return np.stack(columns, -1)

    @property
    def changes_nothing(self) -> bool:
        """Whether raw features are the input integers themselves."""
        plain = all(grid.fraction == self.output.fraction for grid in self.grids)
        unit = all(gain == 1 for gain in self.gains) and not any(self.gain_fractions)
        return plain and unit and not any(self.centres)

    def to_record(self) -> dict[str, Any]:
        """Return the standardisation as plain JSON types."""
        return {
            "features": list(self.names),
            "grids": [grid.to_record() for grid in self.grids],
            "centres": list(self.centres),
            "gains": list(self.gains),
            "gain_fractions": list(self.gain_fractions),
            "output": self.output.to_record(),
        }


def from_record(record: dict[str, Any]) -> Standardisation:
    """Return the standardisation of a record; raise ModelError where a field is missing."""
    try:
        return Standardisation(
            tuple(require_plain("features", name) for name in record["features"]),
            tuple(Fixed.of_record(grid) for grid in record["grids"]),
            tuple(map(int, record["centres"])),
            tuple(map(int, record["gains"])),
            tuple(map(int, record["gain_fractions"])),
            Fixed.of_record(record["output"]),
        )
    except MALFORMED as error:
        raise ModelError(f"standardisation record: a field is missing or malformed ({fault(error)})") from error


def fit(features: NDArray[Any], names: tuple[str, ...], output: Fixed) -> Standardisation:
    """Fit median and P95 - P5 on training features and round them to fixed point.

    Shape: features (jet, constituent, feature).
    Raises: DataError for a feature that has no spread.
    """
    grids = tuple(GRIDS.get(name, OTHER_GRID) for name in names)
    centres, gains, fractions = [], [], []
    for index, (name, grid) in enumerate(zip(names, grids, strict=True)):
        low, middle, high = np.percentile(features[..., index].astype(np.float64), (5, 50, 95))
        if not high > low:
            raise DataError(f"feature '{name}': P95 must be above P5, both are {low:g}; it carries nothing")
        gain = 1.0 / (high - low)
        fraction = GAIN_BITS - 1 - int(np.floor(np.log2(gain)))  # gain integer in [2**(GAIN_BITS-1), 2**GAIN_BITS]
        centres.append(int(grid.quantise(middle)))
        gains.append(round(gain * 2.0**fraction))
        fractions.append(fraction)
    return Standardisation(names, grids, tuple(centres), tuple(gains), tuple(fractions), output)
