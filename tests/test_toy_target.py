"""A target from outside of the package goes through emit, verify, report and bench without a change of the package."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from edgephys.bench import timed_targets
from edgephys.core.errors import UsageError
from edgephys.core.figure import Figure, FigureStage
from edgephys.graph import evaluate
from edgephys.graph.graph import from_record, to_record
from edgephys.graph.ops import OPS
from edgephys.project import read
from edgephys.targets import registry
from edgephys.targets.options import option, require_choices
from edgephys.targets.rules import RuleTable
from edgephys.targets.target import NotTimed, Picture, Ran, Target


@dataclass(frozen=True)
class TextOptions:
    """Options of the toy."""

    indent: int = option(1, "indentation", unit="spaces")
    style: str = option("wide", "line breaks", choices=("wide", "narrow"))
    prefix: str | None = option(None, "first line", default_text="none")

    def __post_init__(self):
        require_choices(self)


class TextTarget(Target):
    """Write the Graph as text, and run what was written in the golden model."""

    name = "text"
    options = TextOptions
    checked = "reader"
    doing = "read the text and evaluate it"
    revision = 3

    def rules(self):
        return RuleTable(self.name, dict.fromkeys(OPS.values(), "its record"))

    def emit(self, graph, folder, options):
        (folder / "graph.json").write_text(json.dumps(to_record(graph), indent=options.indent))
        return {"style": options.style}

    def run(self, folder, facts, x):
        return Ran(evaluate.run(self._graph(folder), x), {"tool": "reader", "version": "1"})

    def scan(self, folder, facts):
        from_record(json.loads((folder / "graph.json").read_text()))  # data, and nothing that runs

    def probe(self, folder, facts, x):
        graph = self._graph(folder)
        edges = evaluate.trace(graph, {graph.input.name: np.asarray(x)})
        return {layer: edges[node.name] for layer, node in graph.layers()}

    def figures(self, project, runs, say):
        size = (project.firmware / "graph.json").stat().st_size
        return [Figure("text_bytes", size, "bytes", FigureStage.MEASURED, "reader", "1", project.facts["style"])]

    def pictures(self, project):
        return (Picture("text.png", "a picture of the text", b"\x89PNG"),)

    def _graph(self, folder):
        return from_record(json.loads((folder / "graph.json").read_text()))


@pytest.fixture
def registered():
    registry.register(TextTarget())
    yield
    del registry.TARGETS[TextTarget.name]


def test_a_target_of_a_user_is_emitted_verified_reported_and_not_timed(registered, run, model, tmp_path):
    out = tmp_path / "p"
    ended = run("emit", model, "--to", "text", "--indent", 2, "--style", "narrow", "--out", out, "--json")
    assert ended.status == 0 and ended.json["kind"] == "text", ended.err
    project = read(out)
    assert project.manifest.revision == 3 and project.manifest.options["indent"] == 2
    verified = run("verify", out, "--json")
    assert verified.status == 0 and set(verified.json["targets"]) == {"golden", "plain", "keras", "reader"}
    reported = run("report", out, "--json")
    figures = {figure["name"]: figure for figure in reported.json["figures"]}
    assert figures["text_bytes"]["target"] == "narrow" and figures["mismatches"]["value"] == 0
    assert (out / "results" / "text.png").read_bytes() == b"\x89PNG" and "a picture of the text" in reported.err
    assert isinstance(project.target.timing(project.emitted), NotTimed)
    assert timed_targets.targets_of([project], {})[1].why == "not measured: nothing here runs projects of kind 'text'"


def test_the_help_shows_the_options_of_a_target_of_a_user(registered, run):
    shown = " ".join(run("emit", "--help").out.split())
    assert "Target: hls, rtl, c, onnx, qonnx or text." in shown
    assert "--indent <int> text: indentation in spaces, 1 by default." in shown
    assert "text: line breaks: wide or narrow, wide by default." in shown
    assert "c: prefix of all names, the model's name by default; text: first line, none by default." in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "text", "--clock-ns", "5"), "--clock-ns goes with --to hls or rtl, not with --to text; leave it out"),
        (("--to", "c", "--indent", "5"), "--indent goes with --to text, not with --to c; leave it out"),
        (("--to", "text", "--style", "tall"), "style must be wide or narrow, not 'tall'"),
    ],
)
def test_options_of_a_target_of_a_user_are_checked(registered, run, model, tmp_path, words, message):
    ended = run("emit", model, "--out", tmp_path / "p", *words)
    assert ended.status == 2 and message in " ".join(ended.err.split())
    assert not (tmp_path / "p").exists()


@dataclass(frozen=True)
class WordyOptions:
    opset: str = option("new", "version")


@dataclass(frozen=True)
class PlainOptions:
    size: int = 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("text", TextOptions, "target text: a target of that name is registered already"),
        ("other", TextOptions, "target other: its options belong to another target"),
        ("other", WordyOptions, "target other: --opset must be of type int as in other targets, not str"),
        ("other", PlainOptions, r"PlainOptions.size: expected a field made by option\(default, help text\)"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(registered, name, options, message):
    other = type("Other", (TextTarget,), {"name": name, "options": options})()
    with pytest.raises(UsageError, match=message):
        registry.register(other)
    assert list(registry.TARGETS) == ["hls", "rtl", "c", "onnx", "qonnx", "text"]
