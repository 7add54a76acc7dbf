"""Divide jets in those that train a network, those that validate it and those that test it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import inputs, split
from edgephys.core.errors import DataError
from edgephys.core.names import real_path

SHUFFLED, MIXED = "shuffled", "mixed"
"""Orders of constituents at random: in all parts; or not in the test, as for models whose card states no order."""


@dataclass(frozen=True)
class Division:
    """Say what a network sees of each jet, and which jets train, validate and test it."""

    constituents: int
    features: tuple[str, ...]
    order: str
    validation: float
    test: float
    seed: int


def divide(division: Division, data: Path, test_data: Path | None = None) -> dict[str, jets.Jets]:
    """Read jets and split them in train, validation and test; ``test_data`` gives the test jets alone.

    The split depends on the file's labels and the seed, not on what the network sees of each jet.
    Raises: DataError as the reader does, and where a split would be empty.
    """
    if test_data is not None and real_path(test_data) == real_path(data):
        raise DataError(f"{test_data}: the test file must not be the training file; leave --test-data out for a share")
    read = inputs.read(data, division.constituents, division.features)
    fractions = {"validation": division.validation} | ({} if test_data else {"test": division.test})
    parts = split.stratified(read.labels, {"train": 1.0 - sum(fractions.values()), **fractions}, division.seed)
    at_random = division.order in (SHUFFLED, MIXED)
    ordered = _shuffled(read, division) if at_random else read
    parts_by_name = {
        name: dataclasses.replace(
            read,
            features=(read if name == "test" and division.order == MIXED else ordered).features[index],
            labels=read.labels[index],
        )
        for name, index in parts.items()
    }
    if test_data is not None:
        test = inputs.read(test_data, division.constituents, division.features)
        parts_by_name["test"] = _shuffled(test, division) if division.order == SHUFFLED else test
    for name, part in parts_by_name.items():
        if not len(part.labels):
            raise DataError(f"{data}: the {name} split is empty; give more jets or another share")
    return parts_by_name


def _shuffled(read: jets.Jets, division: Division) -> jets.Jets:
    return dataclasses.replace(read, features=jets.shuffle_constituents(read.features, division.seed))
