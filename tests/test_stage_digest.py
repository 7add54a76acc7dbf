"""When a stage counts as done: everything that decides what it makes is covered, and earlier tables still count."""

import dataclasses
import hashlib
import json

import pytest
from small_model import NET, trained

from edgephys.compress.job import CompressionJob
from edgephys.compress.pipeline_file import read
from edgephys.compress.run_pipeline import TABLE, finished_table, run
from edgephys.compress.stage_digest import digests
from edgephys.core.errors import UsageError
from edgephys.models.trained import save

pytestmark = pytest.mark.usefixtures("uncompiled", "unranked")

SCRIPT = """
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.train.recipe import Recipe

RECIPE = Recipe("student", DeepSets(constituents=4, phi=({width}, 5), rho=(5,), bits=4), {{4: 1e-3}})
"""
DISTIL = """
[[stage]]
kind = "distil"
epochs = 1
batch = 256
script = "student.py"
teacher = ["teacher"]
"""


def saved(folder, seed=1):
    """Save a small model that states how its data were divided; return its folder."""
    model, net = trained(seed), {"constituents": 4, "features": list(NET.features)}
    recipe = {"script": "small", "net": net, "validation": 0.1, "test": 0.3, "seed": 5}
    return save(dataclasses.replace(model, card=dataclasses.replace(model.card, recipe=recipe)), folder)


@pytest.fixture
def job_of(tmp_path, few_jets):
    """Return what makes a job of a pipeline's text, with a start model, a teacher and a student's script at hand."""
    for name, seed in (("start", 1), ("teacher", 2)):
        saved(tmp_path / name, seed)
    (tmp_path / "student.py").write_text(SCRIPT.format(width=6))

    def job(text):
        (tmp_path / "mine.toml").write_text(text)
        return CompressionJob(
            tmp_path / "start",
            read(tmp_path / "mine.toml", [tmp_path / "student.py"]),
            few_jets,
            None,
            tmp_path / "out",
        )

    return job


def runs(job):
    """Run a job; return the stages that were run and not resumed."""
    said = []
    run(job, said.append, lambda label: lambda *_: None, "edgephys compress")
    return [text.split(":")[0] for text in said if text[0].isdigit() and "done before" not in text]


def edit_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


@pytest.mark.slow
def test_an_edited_script_or_teacher_is_distilled_again_and_an_untouched_one_is_resumed(job_of, tmp_path):
    job = job_of(DISTIL)
    assert runs(job) == ["1_distil"] and finished_table(job) is not None
    assert runs(job) == []
    (tmp_path / "student.py").write_text(SCRIPT.format(width=7))
    assert finished_table(job) is None and runs(job) == ["1_distil"]
    saved(tmp_path / "teacher", 3)
    assert finished_table(job) is None and runs(job) == ["1_distil"]
    assert runs(job) == []


def test_all_that_decides_is_in_the_digest_and_what_only_describes_is_not(job_of, tmp_path):
    job = job_of(DISTIL)
    before = digests(job)
    for folder in ("start", "teacher"):
        edit_card(tmp_path / folder, metrics={}, versions={}, seconds=5)
        assert digests(job) == before
        edit_card(tmp_path / folder, logit_scale=0.5)
        assert digests(job)[-1] != before[-1] and (digests(job)[0] != before[0]) == (folder == "start")
        edit_card(tmp_path / folder, logit_scale=None)
        assert digests(job) == before
    other = tmp_path / "other.h5"
    other.write_bytes(job.data.read_bytes() + b" ")
    for change in ({"seed": 2}, {"data": other}, {"test_data": other}):
        assert all(new != old for new, old in zip(digests(dataclasses.replace(job, **change)), before, strict=True))


@pytest.mark.parametrize(("file", "message"), [("student.py", "script .*: no such file"), ("teacher", "no such model")])
def test_a_missing_file_is_named_before_anything_is_trained(job_of, tmp_path, file, message):
    job = job_of(DISTIL)
    (tmp_path / file).rename(tmp_path / "away")
    with pytest.raises(UsageError, match=f"{message}; paths are relative to the pipeline's file"):
        run(job, print, print, "edgephys compress")
    assert not job.out.exists()


def digest_of_earlier_releases(job):
    """Return the digests as they were computed before cards and scripts were covered."""
    digest = hashlib.sha256((job.model / "model.keras").read_bytes())
    digest.update(hashlib.sha256(job.data.read_bytes()).digest())
    digest.update(str(job.seed).encode())
    found = [digest.hexdigest()]
    for stage in job.pipeline.stages:
        chained = hashlib.sha256(found[-1].encode())
        record = {"kind": stage.kind, **dataclasses.asdict(stage)}
        chained.update(json.dumps(record, sort_keys=True, default=str).encode())
        for folder in getattr(stage, "teacher", ()):
            chained.update((job.model.parent / folder / "model.keras").read_bytes())
        found.append(chained.hexdigest())
    return found


def test_a_finished_run_of_an_earlier_release_counts_until_something_changes(job_of, tmp_path):
    job = job_of('[[stage]]\nkind = "untie"\n[[stage]]\nkind = "finetune"\nteacher = ["teacher"]\n')
    job.out.mkdir()
    rows = [{"digest": digest} for digest in digest_of_earlier_releases(job)]
    (job.out / TABLE).write_text(json.dumps({"rows": rows, "metrics": {}}))
    assert finished_table(job) is not None
    saved(tmp_path / "teacher", 3)
    assert finished_table(job) is None


def test_a_stage_with_a_script_of_an_earlier_release_does_not_count(job_of):
    job = job_of(DISTIL)
    job.out.mkdir()
    rows = [{"digest": digest} for digest in digest_of_earlier_releases(job)]
    (job.out / TABLE).write_text(json.dumps({"rows": rows, "metrics": {}}))
    assert finished_table(job) is None
