"""A stage from outside of the package: named in a pipeline's file, resumed after a kill, a row in the gains table."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from conftest import SAMPLE, no_ranks
from test_stage_digest import saved

from edgephys import cli
from edgephys.compress import gains, registry
from edgephys.compress.registry import register
from edgephys.compress.stage import Stage, StageResult
from edgephys.core.errors import UsageError
from edgephys.models.trained import load
from edgephys.report.gains import tabulate

pytestmark = pytest.mark.usefixtures("uncompiled", "unranked")

PIPELINE = """
[[stage]]
kind = "toy"
threshold = "threshold.txt"

[[stage]]
kind = "toy"
threshold = "threshold.txt"
kill = {kill}
"""


@dataclass(frozen=True)
class Toy(Stage):
    """Set the weights below the threshold in a file to zero; with ``kill`` the first call kills its process."""

    paths: ClassVar[tuple[str, ...]] = ("threshold",)
    threshold: str = ""
    kill: bool = False

    def apply(self, model, task, seed, progress=None):
        killed = Path(self.threshold).with_name("killed")
        if self.kill and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        from edgephys.compress.model_structure import rebuilt

        fresh, limit = rebuilt(model), float(Path(self.threshold).read_text())
        fresh.set_weights([np.where(np.abs(weight) < limit, 0, weight) for weight in fresh.get_weights()])
        return StageResult(fresh, {"limit": limit})


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Register the toy for one test only."""
    monkeypatch.setattr(registry, "_CLASSES", dict(registry.stage_classes()))
    register("toy")(Toy)


@pytest.fixture
def folder(tmp_path):
    """A model, a pipeline of two toys and the file that both read."""
    saved(tmp_path / "start", 3)
    (tmp_path / "toys.toml").write_text(PIPELINE.format(kill="true"))
    (tmp_path / "threshold.txt").write_text("0.2")
    return tmp_path


def in_another_process():
    """Run the command line with the toy."""
    gains.local_rank = no_ranks
    register("toy")(Toy)
    cli.main()


def words(folder, data):
    return ["compress", folder / "start", folder / "toys.toml", "--data", data, "--out", folder / "out"]


@pytest.mark.slow
def test_a_stage_from_outside_is_resumed_after_a_kill_and_stands_in_the_gains_table(run, folder, few_jets):
    code = "import test_toy_stage as here; here.in_another_process()"
    command = [sys.executable, "-c", code, *map(str, words(folder, few_jets))]
    killed = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    assert (folder / "out" / "1_toy" / "card.json").exists() and not (folder / "out" / "2_toy").exists()
    resumed = run(*words(folder, few_jets))
    assert resumed.status == 0 and "1_toy: done before" in resumed.err and "2_toy: threshold" in resumed.err
    weights = load(folder / "out" / "model").model.get_weights()
    assert all(np.all((weight == 0) | (np.abs(weight) >= 0.2)) for weight in weights)
    table = tabulate([folder / "out"], [], "edgephys gains")
    assert [row["stage"] for row in table["stages"]] == ["start", "1 toy", "2 toy"]
    assert table["rows"][0]["pipeline"] == "toys"


@pytest.mark.slow
def test_a_stage_from_outside_runs_again_when_its_file_changes(run, folder, few_jets):
    (folder / "toys.toml").write_text(PIPELINE.format(kill="false"))
    first = run(*words(folder, few_jets))
    assert first.status == 0 and "1_toy: threshold" in first.err
    again = run(*words(folder, few_jets))
    assert "1_toy: done before" in again.err and "2_toy: done before" in again.err
    (folder / "threshold.txt").write_text("0.4")
    changed = run(*words(folder, few_jets))
    assert "1_toy: threshold" in changed.err and "2_toy: threshold" in changed.err and "done before" not in changed.err
    (folder / "threshold.txt").unlink()
    missing = run(*words(folder, few_jets))
    assert (
        missing.status == 2 and "threshold.txt: no such file; paths are relative to the pipeline's file" in missing.err
    )


def test_a_wrong_kind_is_refused_with_the_names_of_all_stages_and_those_from_outside(run, folder):
    (folder / "toys.toml").write_text('[[stage]]\nkind = "toyy"\n')
    refused = run(*words(folder, SAMPLE))
    assert refused.status == 2 and "prune" in refused.err and "toy, untie, not 'toyy'" in " ".join(refused.err.split())


def test_two_stages_cannot_have_one_name():
    with pytest.raises(UsageError, match=r"stage kind 'prune': expected a free name for Toy, .*prune\.Prune has it"):
        register("prune")(Toy)
