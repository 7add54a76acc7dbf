"""What a network reads of a jet: the logarithm of pT on its grid, and constituents in the order of its recipe."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_model import SAMPLE
from test_data import make_file

from edgephys.applications.jets.application import JetReading
from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data.division import Division, divide
from edgephys.core.errors import UsageError

PARTS = ("train", "validation", "test")


def falling(part: jets.Jets) -> bool:
    """Tell whether the constituents of every jet come with falling pT."""
    return bool((np.diff(part.features[..., 0], axis=1) <= 0).all())


def test_log2_pt_is_the_logarithm_of_pt_on_its_grid_and_0_where_there_is_no_constituent() -> None:
    pt, logarithm = (jets.read(SAMPLE, 32, (name,), limit=500).features for name in ("pt", "log2pt"))
    grid = np.rint(pt.astype(np.float64) * 16) / 16
    assert (np.abs(logarithm - np.log2(np.maximum(grid, 1.0))) <= 0.5 / 4096 + 1e-7).all()
    assert (logarithm * 4096 == np.rint(logarithm * 4096)).all()
    assert (logarithm[pt == 0] == 0).all() and (pt == 0).any()


def test_no_logarithm_of_a_pt_on_its_grid_lies_so_near_to_half_a_step_that_its_rounding_is_in_doubt() -> None:
    steps = np.log2(np.arange(16, 1 << 16) / 16) * 4096
    assert np.abs(steps - np.floor(steps) - 0.5).min() > 1e-7


@pytest.mark.parametrize(("order", "mixed"), [("sorted", ()), ("shuffled", PARTS), ("mixed", PARTS[:2])])
def test_an_order_holds_in_all_parts_but_of_models_whose_card_states_none(
    order: str, mixed: Sequence[str], tmp_path: Path
) -> None:
    division = Division(8, ("pt",), order, 0.1, 0.3, 1)
    parts = divide(division, make_file(tmp_path / "jets.h5", 400))
    assert {name for name, part in parts.items() if not falling(part)} == set(mixed)


@pytest.mark.parametrize(("order", "falls"), [("sorted", True), ("shuffled", False), ("mixed", True)])
def test_a_file_of_test_jets_has_the_order_of_the_others(order: str, falls: bool, tmp_path: Path) -> None:
    train, test = make_file(tmp_path / "train.h5", 400), make_file(tmp_path / "test.h5", 100, seed=1)
    assert falling(divide(Division(8, ("pt",), order, 0.1, 0.3, 1), train, test)["test"]) == falls


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^order must be one of sorted, shuffled, not mixed$"):
        JetReading(order="mixed")
