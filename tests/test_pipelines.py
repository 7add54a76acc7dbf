"""The pipelines that are shipped can be read, and each turns its knob."""

from pathlib import Path

import pytest

from edgephys.compress.pipeline_file import read
from edgephys.compress.registry import stage_classes

SHIPPED = sorted((Path(__file__).parent.parent / "compress").rglob("*.toml"))


def test_pipelines_are_shipped():
    assert {"frugal", "taught", "bitwise", "pruned"} <= {path.stem for path in SHIPPED}


def test_every_kind_of_stage_is_shipped_alone():
    alone = [read(path) for path in SHIPPED if path.parent.name == "alone"]
    kinds = {kind for kind, stage in stage_classes().items() if not stage.takes_tables}  # alone/ starts from kernels
    assert {made.stages[0].kind for made in alone} == kinds
    assert all(len(made.stages) == 1 for made in alone)


def test_no_two_shipped_pipelines_have_one_name():
    names = [path.stem for path in SHIPPED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_pipeline_can_be_read_and_its_teachers_are_there(path):
    made = read(path)
    for stage in made.stages:
        assert all((Path(folder) / "card.json").is_file() for folder in getattr(stage, "teacher", ()))
