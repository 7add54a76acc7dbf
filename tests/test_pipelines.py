"""The pipelines that are shipped can be read, and each turns its knob."""

from pathlib import Path

import pytest

from edgephys.pipelines.recipe import read

SHIPPED = sorted((Path(__file__).parent.parent / "compress").glob("*.toml"))


def test_pipelines_are_shipped():
    assert {"frugal", "taught", "bitwise", "pruned"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_pipeline_can_be_read_and_its_teachers_are_there(path):
    made = read(path)
    for step in made.steps:
        assert all((Path(folder) / "card.json").is_file() for folder in getattr(step.stage, "teacher", ()))
