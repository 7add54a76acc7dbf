"""Names in cards, Graphs, manifests and facts are plain names, and results are of the project that was run."""

import json
import shutil
from pathlib import Path

import pytest
from received import edited

from edgephys.core.errors import ModelError, ProjectError
from edgephys.models.card import CARD
from edgephys.project import MANIFEST, VERIFICATION, emit, read, read_result
from edgephys.verify.run import verify


def test_a_result_of_a_verification_or_report_does_not_vouch_for_an_emission_during_it(received, model, monkeypatch):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions
    from edgephys.targets.c.target import CTarget

    folder, source = received("c"), load(model)
    run_sources = CTarget.run

    def emit_during(self, *words):
        ran = run_sources(self, *words)
        emit(source, COptions(prefix="small"), folder, vectors=100)
        return ran

    monkeypatch.setattr(CTarget, "run", emit_during)
    verify(read(folder)).require()
    assert read_result(read(folder), VERIFICATION) is None
    monkeypatch.undo()

    from edgephys.figures import gather, keep
    from edgephys.targets.target import ToolRuns

    project = read(folder)
    state = project.state()
    figures = gather(project, ToolRuns(synth=False), lambda text: None)
    emit(source, COptions(prefix="third"), folder)
    keep(project, state, figures)
    assert read_result(read(folder), "report") is None


def test_a_bench_writes_its_rows_for_the_project_that_it_began_with(received, model):
    from edgephys.bench.measure import save_in_projects, states_of
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    folder = received("c")
    states = states_of([folder])
    emit(load(model), COptions(prefix="other"), folder)
    save_in_projects({"command": "bench", "machine": "m", "rows": []}, states)
    assert read_result(read(folder), "bench") is None


NAMES = ["../../../x", "a/b", "a\nb", 'a"b', "a'b", "a\\b", "", ".", "-rf", "a\x00b", "a;b", "a`b", "x" * 300, 7]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_file_name_is_refused_in_card_graph_and_manifest(model, c_project, tmp_path, name):
    from edgephys.graph.graph import from_record
    from edgephys.models.card import read_card

    folder = Path(shutil.copytree(model, tmp_path / "m"))
    edited(folder / CARD, lambda record: record.update(name=name))
    with pytest.raises(ModelError, match=r"card.json: expected a model card in JSON, found name must"):
        read_card(folder)
    record = json.loads((c_project / "graph.json").read_text())
    with pytest.raises(ModelError, match="graph: name must"):
        from_record({**record, "name": name})
    project = Path(shutil.copytree(c_project, tmp_path / "p"))
    edited(project / MANIFEST, lambda record: record.update(name=name))
    with pytest.raises(ProjectError, match="damaged \\(name must"):
        read(project)


def test_names_of_layers_and_nodes_are_one_line_without_quotes(c_project):
    from edgephys.graph.graph import from_record

    record = json.loads((c_project / "graph.json").read_text())
    for key in ("layer", "name"):
        changed = json.loads(json.dumps(record))
        changed["nodes"][1][key] = "phi\n`include"
        with pytest.raises(ModelError, match=f"node: {key} must be one printable line"):
            from_record(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["files"].update({"../../secret": "0"}), "files must be a path inside the project"),
        (lambda record: record["files"].update({"/etc/passwd": "0"}), "files must be a path inside the project"),
        (lambda record: record["facts"].update({"top": "x\nshell id"}), "facts.top must be one printable line"),
        (lambda record: record["options"].update({"part": 'x"'}), "options.part must be one printable line"),
    ],
)
def test_a_manifest_that_leads_out_or_holds_a_second_line_is_refused(received, run, change, message):
    folder = received("rtl")
    edited(folder / MANIFEST, change)
    ended = run("report", folder, "--no-synth")
    assert ended.status == 1 and message in ended.err and len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("rtl", {"top": "x -run shell"}),
        ("rtl", {"sources": ["../../../etc/passwd"]}),
        ("rtl", {"sources": ["/etc/passwd"]}),
        ("rtl", {"probe_source": "../x.v"}),
        ("rtl", {"language": "perl"}),
        ("rtl", {"blocks": [{"module": "a b", "copies": 1}]}),
        ("hls", {"top": "system"}),
        ("hls", {"top": "a/b_top"}),
        ("hls", {"backend": "Other"}),
        ("c", {"prefix": "a b"}),
        ("c", {"prefix": "../x"}),
        ("c", {"arena_bytes": "8, abort()"}),
    ],
)
def test_facts_that_would_mislead_a_tool_are_refused(received, run, kind, change):
    folder = received(kind)
    edited(folder / MANIFEST, lambda record: record["facts"].update(change))
    ended = run("verify", folder)
    assert ended.status == 1 and "the facts in the manifest are not ours" in ended.err, ended.err


def test_a_link_out_of_a_project_is_no_file_of_it(received, tmp_path):
    folder = received("rtl")
    source = folder / "firmware" / read(folder).facts["sources"][-1]
    (tmp_path / "elsewhere.v").write_bytes(source.read_bytes())
    source.unlink()
    source.symlink_to(tmp_path / "elsewhere.v")
    assert str(source.relative_to(folder)) in read(folder).changed()
    with pytest.raises(ProjectError, match="must lie inside the project, not behind a link"):
        _ = read(folder).firmware
