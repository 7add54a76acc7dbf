"""What somebody else sends may be hostile: figures are computed again, files are checked, sources only compute."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephys.core.errors import EdgephysError, ModelError, ProjectError, ToolError, UsageError
from edgephys.models.card import CARD
from edgephys.project import MANIFEST, VERIFICATION, emit, read, read_result
from edgephys.targets.registry import TARGETS
from edgephys.verify.run import verify

ROOT = Path(__file__).parent.parent
TAGGER, WAVES = ROOT / "models" / "zoo" / "jet_mlp_n8_4bit", ROOT / "models" / "waves" / "full_8bit_input14"


def edited(path, change):
    """Let ``change`` change a record in JSON."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def renewed(folder):
    """Write the hashes of all files into the manifest, as somebody does who wants a change to pass."""
    project = read(folder)
    edited(folder / MANIFEST, lambda record: record.update(files={n: project._digest(n) for n in record["files"]}))


@pytest.fixture(scope="module")
def c_project(model, tmp_path_factory):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    return emit(load(model), COptions(prefix="small"), tmp_path_factory.mktemp("c") / "small").folder


@pytest.fixture
def received(c_project, projects, tmp_path):
    """A copy of a project of a kind, to be changed."""

    def copy(kind):
        return Path(shutil.copytree(c_project if kind == "c" else projects / kind, tmp_path / kind))

    return copy


# Figures ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taggers_project(tmp_path_factory):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    return emit(load(TAGGER), COptions(), tmp_path_factory.mktemp("tagger") / "tagger", vectors=2000).folder


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"].update(accuracy=0.99)),
         r"the card states accuracy 0\.99 ± 0\.0023, computed again from the labels of 2000 vectors it is 0\.5"),
        (lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"]["auc"].update(g=0.5)),
         r"the card states auc_g 0\.5 ± 0\.0\d+, computed again from the labels of 2000 vectors it is 0\.8"),
        (lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"].update(accuracy="high")),
         r"the card must state accuracy and its error as numbers, not \('high'"),
        (lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"].update(accuracy=0.99, accuracy_error=9)),
         r"the card states accuracy 0\.99 ± 9"),
        (lambda folder: relabelled(folder, lambda labels: 0 * labels),
         r"the card states accuracy 0\.\d+ ± 0\.0023, computed again from the labels of 2000 vectors it is 0\.\d+"),
        (lambda folder: relabelled(folder, lambda labels: labels + 5),
         r"labels: expected classes 0\.\.4, found 5\.\.9"),
        (lambda folder: relabelled(folder, lambda labels: labels[:, None]),
         "labels: expected a class for each of 2000"),
    ],
)  # fmt: skip
def test_a_card_or_labels_that_do_not_fit_the_outputs_fail_verify_and_give_no_figure(
    taggers_project, tmp_path, run, attack, message
):
    folder = Path(shutil.copytree(taggers_project, tmp_path / "tagger"))
    attack(folder)
    renewed(folder)
    verified = verify(read(folder))
    assert not verified.changed and not verified.mismatches
    with pytest.raises(EdgephysError, match=message):
        verified.require()
    figures = {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}
    assert figures["accuracy"]["value"] is None and figures["accuracy"]["why"] in verified.failures


def relabelled(folder, change):
    with np.load(folder / "vectors.npz") as arrays:
        content = dict(arrays)
    np.savez_compressed(folder / "vectors.npz", **{**content, "labels": change(content["labels"])})


def test_an_honest_card_passes_and_the_figure_stands_in_record_terminal_and_report(taggers_project, run):
    shown = run("verify", taggers_project)
    assert shown.status == 0, shown.err
    assert "figures of the card, computed again from the labels" in shown.out and "auc_g" in shown.out
    record = read_result(read(taggers_project), VERIFICATION)
    accuracy, *areas = record["score"]["figures"]
    assert accuracy["name"] == "accuracy" and accuracy["vectors"] == 2000 and len(areas) == 5
    assert abs(accuracy["value"] - accuracy["stated"]) < 5 * accuracy["error"] and accuracy["error"] < 0.012
    figures = {figure["name"]: figure for figure in run("report", taggers_project, "--json").json["figures"]}
    assert figures["accuracy"]["target"].endswith("test jets, verified on 2,000")


@pytest.mark.parametrize("count", [16, 128])
def test_the_error_of_a_wave_network_is_computed_again_of_few_fields_too(count):
    from edgephys.graph import evaluate
    from edgephys.models.frameworks import load
    from edgephys.models.vectors import HeldOut
    from edgephys.verify.score import check

    model = load(WAVES)
    chosen = np.linspace(0, len(model.held_out.inputs) - 1, count).astype(int)
    vectors = HeldOut(model.held_out.inputs[chosen], model.held_out.labels[chosen])
    outputs = evaluate.run(model.graph, vectors.inputs)
    (figure,) = check(model.card, model.graph, vectors, outputs).figures
    assert figure.name == "relative_l2" and figure.failure is None
    zeros = HeldOut(vectors.inputs, 0 * vectors.labels)
    assert "is 0 everywhere" in check(model.card, model.graph, zeros, outputs).failures[0]
    few = HeldOut(vectors.inputs[:15], vectors.labels[:15])
    assert "15 labelled vectors are too few" in check(model.card, model.graph, few, outputs[:15]).skipped


# Digests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.keras", "held_out.npz"])
def test_a_model_with_other_bytes_than_its_card_states_is_not_loaded(model, tmp_path, name):
    from edgephys.models import trained
    from edgephys.models.frameworks import load

    folder = Path(shutil.copytree(model, tmp_path / "m"))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    for loaded in (load, trained.load):
        with pytest.raises(ModelError, match=rf"{name}: expected the bytes whose SHA-256 card.json states, .* others"):
            loaded(folder)


def test_a_table_takes_no_figure_of_a_card_whose_digests_are_missing_or_wrong(model, tmp_path, run):
    good, bare, wrong = (Path(shutil.copytree(model, tmp_path / name)) for name in ("good", "bare", "wrong"))
    for number, folder in enumerate((good, bare, wrong)):
        edited(folder / CARD, lambda record, number=number: record.update(name=f"model_{number}"))
    edited(bare / CARD, lambda record: record.pop("files"))
    (wrong / "held_out.npz").write_bytes(b"other")
    shown = run("cards", good, bare, wrong, "--json").json
    assert [row["model"] for row in shown["rows"]] == ["model_0"]
    assert "states no digests" in shown["left_out"][str(bare)]
    assert "held_out.npz: expected the bytes" in shown["left_out"][str(wrong)]
    assert "left out" in run("cards", good, bare).out
    assert "no row in the table" in run("cards", bare).err

    sys.path.insert(0, str(ROOT / "models"))
    try:
        from state_digests import state_digests
    finally:
        sys.path.pop(0)
    assert state_digests(bare) and not state_digests(bare)
    assert len(run("cards", good, bare, "--json").json["rows"]) == 2


def test_a_project_whose_card_has_digests_of_another_model_fails_verify_and_reports_no_figure(received, run):
    folder = received("c")
    edited(folder / "model" / CARD, lambda record: record["files"].update({"model.keras": "0" * 64}))
    renewed(folder)
    ended = run("verify", folder)
    assert (
        ended.status == 1
        and "model.keras: expected the bytes whose SHA-256 card.json states, 000000000000" in ended.err
    )
    figures = {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}
    assert figures["accuracy"]["value"] is None and "SHA-256" in figures["accuracy"]["why"]


@pytest.mark.parametrize("card", sorted((ROOT / "models").glob(f"*/*/{CARD}")), ids=lambda card: card.parent.name)
def test_the_digests_of_every_model_that_ships_hold(card):
    from edgephys.models.card import doubt, read_card

    assert doubt(read_card(card.parent), card.parent) is None


def test_a_binary_of_the_cache_that_was_changed_is_built_again(tmp_path, monkeypatch):
    from edgephys.core import processes

    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))
    builds = []

    def build(folder):
        builds.append(folder)
        (folder / "run").write_text("ours")

    home = processes.built("ab12", build)
    assert processes.built("ab12", build) == home and len(builds) == 1
    (home / "run").write_text("theirs")
    assert (processes.built("ab12", build) / "run").read_text() == "ours" and len(builds) == 2
    (home / "more").write_text("theirs")
    processes.built("ab12", build)
    assert not (home / "more").exists() and len(builds) == 3


# Results and the project that they are of -------------------------------------------------------------


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


# Names --------------------------------------------------------------------------------------------

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
        (lambda record: record["files"].update({"../../secret": None}), "files must be a path inside the project"),
        (lambda record: record["files"].update({"/etc/passwd": None}), "files must be a path inside the project"),
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


# Sources ------------------------------------------------------------------------------------------

C_ATTACKS = {
    "system": ("int system(const char *); ", "'system'"),
    "constructor": ("__attribute__((constructor)) static void small_x(void) { }", "'__attribute__'"),
    "assembly": ("static void small_x(void) { __asm__(1); }", "'__asm__'"),
    "keyword asm": ("static void small_x(void) { asm(1); }", "'asm'"),
    "include": ("#include <stdlib.h>", "directive '#include <stdlib.h>'"),
    "quoted include": ('#include "/etc/passwd"', "directive"),
    "a macro for a word": ("#define SMALL_F system", "directive"),
    "a macro that declares": ("#define SMALL_ARENA_X () ", "directive"),
    "pragma": ("#pragma GCC poison x", "directive"),
    "digraph": ("%:include <stdio.h>", "another spelling"),
    "trigraph": ("??=include <stdio.h>", "another spelling"),
    "continued line": ("#define SMALL_H \\\n system", "a backslash"),
    "hidden directive": ("/* */ #include <stdio.h>", "the character #"),
    "extern": ("extern int x;", "'extern'"),
    "function type": ("typedef int F(const char *); F f;", "a typedef"),
    "pointer to a function": ("static int (*f)(const char *);", "'int'|pointer to a function"),
    "call of an element": ("static void small_x(int *a) { a[0](1); }", "a call of an element"),
    "call of an expression": ("static void small_x(int a) { (a)(1); }", "a call of an expression"),
    "builtin": ("static void small_x(void) { __builtin_trap(); }", "'__builtin_trap'"),
    "other letters": ("int sÿstem;", "the byte 0x"),
    "open comment": ("/* ", "comment without an end"),
}


@pytest.mark.parametrize("attack", C_ATTACKS)
def test_c_that_could_do_more_than_compute_is_refused_before_it_is_compiled(received, run, attack, monkeypatch):
    from edgephys.targets.c import emit as of_c

    monkeypatch.setattr(of_c, "compiled", lambda *words: pytest.fail("it was compiled"))
    text, message = C_ATTACKS[attack]
    folder = received("c")
    path = folder / "firmware" / "small.c"
    path.write_text(path.read_text() + text + "\n")
    renewed(folder)
    ended = run("verify", folder)
    assert ended.status == 1 and "which we do not emit: nothing was compiled or run" in ended.err, ended.err
    assert "small.c, line " in ended.err
    assert re.search(message, ended.err), ended.err


def test_a_header_beside_the_c_source_would_stand_before_the_compilers_and_is_refused(received, run):
    folder = received("c")
    (folder / "firmware" / "stdint.h").write_text("int system(const char *);")
    assert "stdint.h is no file that we emit" in run("verify", folder).err


def test_what_has_changed_is_said_before_the_scan_refuses(received, run):
    folder = received("c")
    path = folder / "firmware" / "small.c"
    path.write_text(path.read_text() + "#include <stdlib.h>\n")
    said = run("verify", folder).err
    assert said.index("changed since its emission: firmware/small.c") < said.index("nothing was compiled or run")


HLS_ATTACKS = {
    "system": ("static int b1 = system(w2);", "'system'"),
    "constructor": ("struct config1 { config1() { std::remove(w2); } };", "'remove'"),
    "a file": ("std::ofstream n1;", "'ofstream'"),
    "a text": ('static const n1_t w1 = nnet::load_weights_from_txt<a, 1>(w2, "/etc/passwd");', "the text"),
    "include": ("#include <fstream>", "directive"),
    "assembly": ("asm(w1);", "'asm'"),
    "attribute": ("[[gnu::constructor]] void n1();", "'gnu'"),
    "pragma": ("#pragma GCC x", "directive"),
    "define": ("#define layer2_t system", "directive"),
}


@pytest.mark.parametrize("attack", HLS_ATTACKS)
def test_hls_that_could_do_more_than_compute_is_refused(received, run, attack):
    text, message = HLS_ATTACKS[attack]
    folder = received("hls")
    path = folder / "firmware" / "firmware" / "parameters.h"
    path.write_text(path.read_text() + text + "\n")
    ended = run("verify", folder)
    assert ended.status == 1 and "parameters.h, line " in ended.err and message in ended.err, ended.err


@pytest.mark.parametrize(
    "name", ["nnet_utils/nnet_dense.h", "ap_types/ap_fixed.h", "nnet_utils/nnet_edgephys.h", "array"]
)
def test_a_header_of_an_hls_project_is_hls4mls_ours_or_refused(received, run, name):
    folder = received("hls")
    path = folder / "firmware" / "firmware" / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    ended = run("verify", folder)
    assert f"{name} is neither what we emit nor a header of the installed hls4ml" in ended.err, ended.err
    (folder / "firmware" / "array").write_text("")
    path.unlink()
    assert "array is neither" in run("verify", folder).err


VERILOG_ATTACKS = {
    "system task": ("initial $system(1);", "'$system(1);'"),
    "c code": ("always @(*) $c(1);", "'$c(1);'"),
    "file": ("reg [7:0] m [3:0]; initial $readmemh(1, m);", "$readmemh"),
    "include": ("`include x", "'`include x'"),
    "define": ("`define x y", "'`define x y'"),
    "attribute": ("(* keep *) wire z;", "'(*'"),
    "import": ("import x::*;", "'import'"),
    "text": ('parameter X = "a";', "'\"'"),
    "other name": ("wire \\a+b ;", "'\\'"),
    "comment for a tool": ("/*verilator public_flat*/", "the comment"),
    "initial": ("initial begin end", "'initial'"),
}


@pytest.mark.parametrize("attack", VERILOG_ATTACKS)
def test_verilog_that_could_do_more_than_compute_is_refused(received, run, attack):
    text, message = VERILOG_ATTACKS[attack]
    folder = received("rtl")
    path = folder / "firmware" / read(folder).facts["sources"][-1]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], text, lines[-1], ""]))
    for words in (("verify", folder), ("report", folder, "--no-synth")):
        ended = run(*words)
        assert ended.status == 1 and f"{path.name}, line {len(lines)}: " in ended.err and message in ended.err, (
            ended.err
        )


VHDL_ATTACKS = {
    "file": "file f: text;",
    "library": "library std;",
    "use": "use std.textio.all;",
    "attribute": 'attribute foreign of x: function is "VHPIDIRECT x";',
    "text": 'constant x: string := "abc";',
    "other name": "signal \\a b\\: bit;",
    "directive": "`if x",
    "external name": "alias x is <<signal .a: bit>>;",
}


@pytest.mark.parametrize("attack", VHDL_ATTACKS)
def test_vhdl_that_could_do_more_than_compute_is_refused(tmp_path, attack):
    import rtl_graphs

    from edgephys.targets.rtl.options import RtlOptions

    target = TARGETS["rtl"]
    facts = target.emit(rtl_graphs.tagger(2, 2), tmp_path, RtlOptions(language="vhdl"))
    target.scan(tmp_path, facts)
    path = tmp_path / facts["sources"][-1]
    path.write_text(path.read_text() + VHDL_ATTACKS[attack] + "\n")
    with pytest.raises(ProjectError, match=rf"{path.name}, line \d+: .*which we do not emit"):
        target.scan(tmp_path, facts)


@pytest.mark.parametrize("kind", ["onnx", "qonnx"])
def test_an_onnx_model_with_operators_of_other_packages_or_outside_data_is_refused(model, tmp_path, kind, run):
    import onnx

    made = run("emit", model, "--to", kind, "--out", tmp_path / "p")
    assert made.status == 0, made.err
    path = tmp_path / "p" / "firmware" / "model.onnx"
    whole = path.read_bytes()

    def refused(change):
        proto = onnx.load_from_string(whole)
        change(proto)
        path.write_bytes(proto.SerializeToString())
        return run("verify", tmp_path / "p").err

    assert "operator 'Quant' of the package 'os.path'" in refused(
        lambda proto: proto.graph.node.append(onnx.helper.make_node("Quant", ["a"], ["b"], domain="os.path"))
    )

    def outside(proto):
        proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL

    assert "with its data in another file, which we do not emit: nothing was run" in refused(outside)
    assert "functions of its own" in refused(lambda proto: proto.functions.append(onnx.FunctionProto(name="f")))


@pytest.mark.parametrize("seed", range(6))
def test_the_scan_takes_what_is_emitted_for_random_graphs(seed, tmp_path):
    import random_graphs

    from edgephys.targets.registry import options_of

    graph = random_graphs.random_graph(seed)
    for number, (name, values) in enumerate(
        [("c", {}), ("onnx", {}), ("qonnx", {}), ("rtl", {}), ("rtl", {"language": "vhdl"}), ("hls", {})]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            facts = TARGETS[name].emit(graph, folder, options_of(name, values))
        except EdgephysError:
            continue  # no exact form on this target
        TARGETS[name].scan(folder, json.loads(json.dumps(facts)))


# Scripts ------------------------------------------------------------------------------------------


def test_no_name_of_a_module_or_file_breaks_into_yosys_script(tmp_path):
    from edgephys.targets.rtl import place, synth

    source = tmp_path / "a.v"
    source.write_text("module a (input x, output y); assign y = x; endmodule")
    for work in (synth.synthesise, place.place):
        with pytest.raises(ToolError, match="yosys takes no module of this name: module must be an identifier"):
            work([source], "a\nshell id")
    with pytest.raises(ToolError, match="yosys takes no file of this name"):
        synth.read_verilog([tmp_path / 'a"\nshell id.v'])


def test_a_pipeline_runs_no_script_but_ours_and_those_named_on_the_command_line(tmp_path, run, model, few_jets):
    from edgephys.compress.pipeline_file import read as read_pipeline

    script, pipeline = tmp_path / "student.py", tmp_path / "p.toml"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    pipeline.write_text('[[stage]]\nkind = "distil"\nscript = "student.py"\n')
    ended = run("compress", model, pipeline, "--data", few_jets, "--out", tmp_path / "out")
    assert ended.status == 2 and "is a program that would be run" in ended.err and "--run-script" in ended.err
    assert not (tmp_path / "ran").exists()
    assert read_pipeline(pipeline, [script]).stages[0].script == str(script)
    read_pipeline(ROOT / "compress" / "alone" / "distil_alone.toml")
    knob = '[knob]\nstage = 1\nkey = "script"\nvalues = ["student.py"]\n'
    pipeline.write_text('[[stage]]\nkind = "distil"\n' + knob)
    with pytest.raises(UsageError, match="is a program that would be run"):
        read_pipeline(pipeline)


def test_a_keras_file_with_code_in_it_is_refused(tmp_path):
    from edgephys.models.trained import load_keras
    from edgephys.networks.backend import keras

    x = keras.Input((2,))
    keras.Model(x, keras.layers.Lambda(lambda y: y + 1)(x)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="it holds a Lambda or pickled code, which would run on loading"):
        load_keras(tmp_path / "model.keras")
