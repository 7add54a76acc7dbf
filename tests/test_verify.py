"""Verification, reports and result tables: what agrees, what is named when it does not, what vouches for nothing."""

import json
import re
import shutil

import numpy as np
import pytest

from edgephys.report import compare
from edgephys.report.render import page


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hls", "rtl"])
def test_verify_finds_every_target_equal(run, projects, kind):
    ended = run("verify", projects / kind, "--json")
    assert ended.status == 0, ended.err
    record = ended.json
    simulated, others = {"hls": ("csim", {"csim_layers", "csim_sanitised"}), "rtl": ("rtl", set())}[kind]
    assert (record["vectors"], record["outputs"], record["mismatches"]) == (200, 1000, 0)
    assert set(record["targets"]) == {"golden", "plain", "keras", simulated} | others
    assert all(target["mismatches"] == 0 for target in record["targets"].values())
    assert all(record["targets"][name]["vectors"] == 200 for name in ("golden", "keras", simulated))
    assert record["targets"][simulated]["generated"] == record["generated"] == 4096
    assert record["targets"]["plain"]["generated"] > 100
    if kind == "rtl":
        assert record["targets"]["rtl"]["ii"] == 1 and record["targets"]["rtl"]["latency_cycles"] >= 1


@pytest.mark.slow
def test_verify_takes_raw_jets_through_the_models_own_preprocessing(run, projects, few_jets):
    record = run("verify", projects / "rtl", "--data", few_jets, "--limit", 300, "--json").json
    assert (record["vectors"], record["mismatches"]) == (300, 0)
    assert set(record["targets"]) == {
        "plain",
        "keras",
        "rtl",
    }  # no stored outputs that would be compared with themselves
    assert run("verify", projects / "rtl", "--limit", 3).status == 2


@pytest.mark.slow
def test_a_report_shows_the_verification_on_a_file_with_its_name_and_the_number_of_vectors(run, project, few_jets):
    folder = project("hls")
    shutil.rmtree(folder / "results", ignore_errors=True)
    assert run("verify", folder, "--data", few_jets, "--limit", 30).status == 0
    shown = {f["name"]: f for f in run("report", folder, "--json").json["figures"]}
    assert (shown["vectors"]["value"], shown["mismatches"]["value"]) == (30, 0)
    assert shown["vectors"]["target"].endswith(f"vectors of {few_jets.name}")
    assert run("verify", folder).status == 0
    shown = {f["name"]: f for f in run("report", folder, "--json").json["figures"]}
    assert shown["vectors"]["value"] == 200 and few_jets.name not in shown["vectors"]["target"]
    assert (shown["vectors_of_file"]["value"], shown["mismatches_of_file"]["value"]) == (30, 0)
    assert shown["vectors_of_file"]["target"].endswith(f"vectors of {few_jets.name}")


def test_a_flipped_weight_in_the_hls_sources_is_named_by_its_layer(run, project):
    folder = project("hls")
    headers = sorted((folder / "firmware").rglob("weights/w*.h"), key=lambda path: int(path.stem[1:]))
    header = headers[1]  # the second dense layer: phi_2
    text = header.read_text()
    start = text.rindex("{") + 1
    first = text[start:].split(",")[0]
    header.write_text(text[:start] + f"{-0.5 if float(first) != -0.5 else 0.25}" + text[start + len(first) :])
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    assert ended.json["targets"]["csim"]["mismatches"] > 0
    assert ended.json["targets"]["csim"]["first"]["layer"] == "phi_2"
    assert ended.json["targets"]["keras"]["mismatches"] == 0
    assert "csim: layer 'phi_2' differs first: vector" in " ".join(ended.err.split())


def corrupt(folder, vector, element):
    """Raise one expected output by 1 and return what it was."""
    with np.load(folder / "vectors.npz") as arrays:
        kept = {name: arrays[name].copy() for name in arrays}
    kept["expected"][vector, element] += 1
    np.savez_compressed(folder / "vectors.npz", **kept)
    return int(kept["expected"][vector, element]) - 1


def test_a_corrupted_expectation_fails_with_its_vector_and_both_integers(run, project):
    folder = project("rtl")
    held = corrupt(folder, 17, 3)
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    targets = ended.json["targets"]
    assert [targets[name]["mismatches"] for name in ("golden", "keras", "rtl")] == [1, 0, 0]
    assert targets["golden"]["first"] == {
        "layer": "logits",
        "vector": 17,
        "element": [3],
        "expected": held + 1,
        "received": held,
        "generated": False,
    }
    assert "changed since its emission: vectors.npz" in " ".join(ended.err.split())


@pytest.mark.slow
def test_a_change_that_no_vector_shows_fails_too_and_names_the_file(run, project):
    folder = project("rtl")
    source = next((folder / "firmware").rglob("*.v"))
    source.write_text(source.read_text() + "\n// touched\n")
    ended = run("verify", folder, "--json")
    assert ended.status == 1 and ended.json["mismatches"] == 0
    assert ended.json["changed"] == [str(source.relative_to(folder))]
    assert "no output differs on these vectors; changed since its emission: firmware/" in " ".join(ended.err.split())
    figures = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert (
        figures["latency_cycles"]["value"] is None
        and "emit the project again: `edgephys emit MODEL --to rtl" in figures["latency_cycles"]["why"]
    )


def test_a_file_that_a_vendors_tool_adds_is_no_change(run, project):
    folder = project("rtl")
    (folder / "firmware" / "vivado.log").write_text("it ran here")
    assert run("verify", folder).status == 0


@pytest.mark.slow
def test_the_report_of_a_failed_verification_vouches_for_nothing(run, project):
    folder = project("rtl")
    corrupt(folder, 3, 1)
    stale = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert stale["mismatches"]["value"] is None and "not verified as it stands" in stale["mismatches"]["why"]
    assert run("verify", folder).status == 1
    found = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert found["mismatches"]["value"] == 1
    for name in ("latency_cycles", "ii"):
        assert found[name]["value"] is None and "verification failed: 1 outputs differ" in found[name]["why"]


@pytest.mark.parametrize(
    ("keep", "outputs", "message"),
    [(0, 0, "expected at least 1 vector, found 0"), (10, 9, "expected 10 outputs of shape (5,), found 9")],
)
def test_no_vectors_or_fewer_outputs_than_vectors_is_an_error(run, project, keep, outputs, message):
    folder = project("rtl")
    with np.load(folder / "vectors.npz") as arrays:
        kept = {"inputs": arrays["inputs"][:keep], "labels": arrays["labels"][:keep]}
        np.savez_compressed(folder / "vectors.npz", **kept, expected=arrays["expected"][:outputs])
    ended = run("verify", folder)
    assert ended.status == 1 and message in " ".join(ended.err.split())


def test_an_empty_or_cut_vector_file_is_an_error(run, project):
    folder = project("rtl")
    for content in (b"", (folder / "vectors.npz").read_bytes()[:200]):
        (folder / "vectors.npz").write_bytes(content)
        ended = run("verify", folder)
        assert ended.status == 1 and "expected vectors (inputs, labels, expected)" in " ".join(ended.err.split())


def test_a_folder_that_is_no_project_or_a_damaged_one_is_refused(run, project, tmp_path):
    assert "expected a project with edgephys.json" in run("verify", tmp_path / "none").err
    folder = project("rtl")
    text = (folder / "graph.json").read_text()
    (folder / "graph.json").write_text(text[: len(text) // 2])
    assert "manifest or graph is missing or damaged" in run("verify", folder).err
    graph = json.loads(text)
    node = next(node for node in graph["nodes"] if node["kind"] == "dense")
    node["fixed"][1:3] = [node["fixed"][1] - 3, node["fixed"][2] - 3]  # a width that overflows
    (folder / "graph.json").write_text(json.dumps(graph))
    assert "does not hold; import it again: `edgephys import FILE --data DATA --out FOLDER`" in " ".join(
        run("verify", folder).err.split()
    )


@pytest.mark.slow
def test_report_gives_every_figure_a_provenance_and_says_what_was_not_measured(run, project):
    folder = project("rtl")
    shutil.rmtree(folder / "results", ignore_errors=True)  # what an earlier test may have found
    before = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert before["latency_cycles"]["value"] is None and "edgephys verify" in before["latency_cycles"]["why"]
    assert before["lut"]["value"] is None and "not asked for" in before["lut"]["why"]
    assert run("verify", folder).status == 0
    figures = run("report", folder, "--json").json["figures"]
    for figure in figures:
        assert all(figure[key] for key in ("name", "stage", "tool", "version", "target"))
        assert (figure["value"] is None) == ("why" in figure)
    found = {figure["name"]: figure for figure in figures}
    assert found["lut"]["value"] > 0 and found["lut"]["stage"] == "synthesised" and found["lut"]["tool"] == "yosys"
    assert found["latency_cycles"]["stage"] == "simulated" and found["ii"]["value"] == 1
    assert found["latency_ns"]["value"] == 5 * found["latency_cycles"]["value"]
    assert found["latency_ns"]["stage"] == "estimated"  # no routing has confirmed the clock
    assert found["input_bits"]["value"] == 4 * 3 * 12 and found["mismatches"]["value"] == 0
    assert "not measured: not asked for; add --place" in " ".join(run("report", folder).out.split())


@pytest.mark.slow
def test_sources_changed_after_verify_leave_no_simulated_figure(run, project):
    folder = project("rtl")
    assert run("verify", folder).status == 0
    source = next((folder / "firmware").rglob("*.v"))
    source.write_text(source.read_text() + "\n// touched\n")
    found = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert found["latency_cycles"]["value"] is None and "not verified as it stands" in found["latency_cycles"]["why"]


@pytest.mark.slow
def test_compare_tabulates_one_row_a_model_with_both_targets(run, project, tmp_path):
    for kind in ("hls", "rtl"):
        assert run("verify", project(kind)).status == 0
    assert "expected a report" in run("compare", tmp_path / "rtl", "--out", tmp_path / "t").err
    for kind in ("hls", "rtl"):
        assert run("report", tmp_path / kind).status == 0
    table = run("compare", tmp_path / "hls", tmp_path / "rtl", "--out", tmp_path / "t", "--json").json
    assert set(table) == {"command", "machine", "rows"} and len(table["rows"]) == 1
    row = table["rows"][0]
    assert row["projects"] == {"hls": "hls", "rtl": "rtl"} and "yosys" in row["provenance"]["lut"]
    assert row["mismatches_csim"] == 0 and row["mismatches_rtl"] == 0 and row["lut_stage"] == "synthesised"
    assert json.loads((tmp_path / "t.json").read_text()) == table
    assert "small_n4_4bit" in (tmp_path / "t.md").read_text()
    assert "is there twice" in run("compare", tmp_path / "rtl", tmp_path / "rtl", "--out", tmp_path / "t").err
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_of_waves_alone_has_no_column_and_no_note_of_taggers():
    wave = {"model": "w", "relative_l2": 0.02, "relative_l2_error": 0.001, "auc": {}, "published": None, "vectors": 128}
    told = page(compare.table({"command": "c", "machine": "m", "rows": [wave]}), "t")
    assert "| w | 2.00 ± 0.10 | 128 | – / – |" in told
    assert "Relative L2 error: " in told and not re.search("AUC|Accuracy|Published", told)
    tagger = {**wave, "relative_l2": None, "accuracy": 0.5, "accuracy_error": 0.01, "auc": {"g": 0.8}}
    told = page(compare.table({"command": "c", "machine": "m", "rows": [wave, tagger]}), "t")
    assert "| w | 2.00 ± 0.10 |  | 128 |" in told and "| w | 50.00 ± 1.00 | 80.0 | 128 |" in told
    assert "Accuracy: " in told and "Relative L2 error: " in told and "Published" not in told


def test_a_netlist_is_refused_before_any_work_where_nothing_is_synthesised(run, projects):
    ended = run("verify", projects / "hls", "--netlist")
    assert ended.status == 2
    assert "--netlist goes with projects that are synthesised here, not with hls" in " ".join(ended.err.split())
    assert "golden model" not in ended.err
