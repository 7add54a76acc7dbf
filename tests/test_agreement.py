"""Every model on every target in one table: what agrees, what does not, and a run that goes on."""

import json
import shutil
from pathlib import Path

import pytest

from edgephys.workflow import steps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def agreed(model, run, tmp_path_factory):
    """The small model sent to C and ONNX by the command line."""
    top = tmp_path_factory.mktemp("agreed")
    words = ("--to", "c,onnx,qonnx", "--projects", top / "projects", "--out", top / "table", "--json")
    done = run("agree", model, *words)
    assert done.status == 0, done.err
    return top, done.json


def test_a_model_computes_the_same_integers_on_every_target(agreed):
    top, table = agreed
    (row,) = table["rows"]
    assert (row["vectors"], row["outputs"], row["failures"]) == (200, 1000, [])
    assert set(row["mismatches"]) >= {"golden", "plain", "keras", "c", "c_layers", "onnxruntime", "qonnx"}
    assert not any(row["mismatches"].values())
    assert set(row["tools"]) == {"c", "onnxruntime", "qonnx"} and all(row["tools"].values())
    assert json.loads((top / "table.json").read_text()) == table
    assert "| small | 200 | 1,000 | 0 | 0 | 0 | 0 | 0 |" in (top / "table.md").read_text()


@pytest.fixture
def again(agreed, model, run, tmp_path, monkeypatch):
    """Start the same table again, over projects that may be broken; names of the projects emitted anew."""
    projects = Path(shutil.copytree(agreed[0] / "projects", tmp_path / "projects"))
    emitted = []
    real = steps.emit
    monkeypatch.setattr(steps, "emit", lambda *words: (emitted.append(words[2].name), real(*words))[1])

    def start(*words):
        given = ("--to", "c,onnx", *words)
        return run("agree", model, *given, "--projects", projects, "--out", tmp_path / "t", "--json"), emitted

    return projects, start


def test_a_second_start_goes_on_where_the_first_one_ended(again):
    ended, emitted = again[1]()
    assert ended.status == 0 and emitted == []


def test_a_broken_project_is_made_again(again):
    projects, start = again
    source = next((projects / "small_c" / "firmware").glob("*.c"))
    source.write_text(source.read_text() + "\n")
    ended, emitted = start()
    assert ended.status == 0 and emitted == ["small_c"]


def test_targets_that_differ_are_counted_and_the_run_fails(again, monkeypatch):
    from edgephys.targets.c import emit as c

    projects, start = again
    shutil.rmtree(projects / "small_c")
    real = c.run
    monkeypatch.setattr(c, "run", lambda *words: real(*words) + 1)
    ended, _ = start()
    told = " ".join(ended.err.split())
    assert ended.status == 1 and "agree: 1 of 1 rows are not whole: small: c: " in told and "outputs differ" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "asic"), "--to must be one of hls, rtl, c, onnx, qonnx, not asic"),
        (("--to", ""), "--to must name targets, each once at most, not ''"),
        (("--to", "c,c"), "--to must name targets, each once at most, not 'c,c'"),
    ],
)
def test_a_target_that_is_none_is_refused(run, model, words, message):
    ended = run("agree", model, *words)
    assert ended.status == 2 and message in " ".join(ended.err.split())


def test_a_model_that_is_named_twice_or_is_none_is_told(run, model, tmp_path):
    place = ("--projects", tmp_path / "p", "--out", tmp_path / "t")
    ended = run("agree", model, model, "--to", "c", *place)
    assert ended.status == 2 and "is there twice, also as" in " ".join(ended.err.split())
    ended = run("agree", tmp_path, "--to", "c", *place)
    assert ended.status == 1 and "expected a model's folder" in " ".join(ended.err.split())
