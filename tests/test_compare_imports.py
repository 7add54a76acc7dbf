"""Tables and reports take models without a score: imports without answers, and models whose figures are not theirs."""

import json

import numpy as np
import pytest
from keras_models import activation, model_of, qdense, scattered
from test_gains import SYNTHESISED, finished, stage

from edgephys.report import compare, compression
from edgephys.report.columns import caveats
from edgephys.report.gains import tabulate
from edgephys.report.render import page

ROW = {"model": "m", "auc": {}, "published": None, "vectors": 9, "mismatches_c": 0}


@pytest.fixture(scope="module")
def projects(run, tmp_path_factory):
    """Projects in C of an import with classes, one with numbers, and one without answers; each is reported."""
    top, generator = tmp_path_factory.mktemp("compare"), np.random.default_rng(1)
    layers = [qdense(4, "hidden"), activation("quantized_relu(4, 2)", "relu"), qdense(2, "end")]
    answers = {"classes": {"y": generator.integers(0, 2, 60)}, "numbers": {"y": generator.normal(size=(60, 2))}}
    for seed, name in enumerate(("classes", "numbers", "none")):
        scattered(model_of((3,), *layers), seed).save(top / "net.keras")
        np.savez(top / f"{name}.npz", x=generator.uniform(-3, 3, (60, 3)), **answers.get(name, {}))
        words = ("--data", top / f"{name}.npz") if name in answers else ("--count", "20")
        done = run("import", top / "net.keras", "--input-format", "fixed<6,3>", *words, "--out", top / f"{name}_model")
        assert done.status == 0, done.err
        assert run("emit", top / f"{name}_model", "--to", "c", "--out", top / name).status == 0
        done = run("report", top / name)
        assert done.status == 0, done.err
    return {name: top / name for name in ("classes", "numbers", "none")}


def test_a_table_of_imports_without_answers_has_no_column_of_scores_and_no_picture(projects, run, tmp_path):
    done = run("compare", projects["none"], "--out", tmp_path / "t", "--json")
    assert done.status == 0, done.err
    assert done.json["rows"][0]["model"] == "none_model" and not (tmp_path / "t.png").exists()
    text = (tmp_path / "t.md").read_text()
    assert "| model | vectors | mismatches" in text and "ccuracy" not in text and "rror" not in text
    shown = run("compare", projects["none"])
    assert shown.status == 0 and "none_model" in shown.out and "accuracy" not in shown.out


def test_a_table_with_some_scores_leaves_the_cells_of_the_others_empty(projects, run, tmp_path):
    done = run("compare", *projects.values(), "--out", tmp_path / "t", "--json")
    assert done.status == 0, done.err
    text = (tmp_path / "t.md").read_text()
    assert "| model | accuracy or relative L2 error % |" in text and "| none_model | – |" in text
    assert "Accuracy: on held-out test examples, with its binomial error." in text
    assert "Relative L2 error: on held-out test examples, with its standard error." in text
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_of_an_import_without_answers_says_why_it_has_no_score(projects, run):
    figures = {figure["name"]: figure for figure in run("report", projects["none"], "--json").json["figures"]}
    assert figures["accuracy"]["value"] is None and "no labels came with it" in figures["accuracy"]["why"]


def test_a_project_whose_scores_do_not_hold_is_compared_without_them(projects, run, tmp_path):
    path = projects["classes"] / "results" / "report.json"
    before = path.read_text()
    record = json.loads(before)
    for figure in record["result"]["figures"] if "result" in record else record["figures"]:
        if figure["name"].startswith(("accuracy", "auc")):
            figure |= {"value": None, "why": "the card contradicts its labels"}
    try:
        path.write_text(json.dumps(record))
        done = run("compare", projects["classes"], projects["numbers"], "--out", tmp_path / "t", "--json")
    finally:
        path.write_text(before)
    assert done.status == 0, done.err
    assert "| classes_model | – |" in (tmp_path / "t.md").read_text()


def test_luts_alone_are_drawn_where_no_row_has_a_score():
    table = compare.table({"rows": [{**ROW, "lut": 900, "lut_stage": "synthesised"}]})
    (picture,) = table.pictures
    assert picture.caption == "LUT of every model" and picture.draw(table).startswith(b"\x89PNG")


def test_published_rows_have_their_caveat_below_models_without_a_score():
    from edgephys.applications.jets.published import LITERATURE

    assert caveats([{**ROW, "published": {"source": LITERATURE.source}}]) == (LITERATURE.caveat,)
    assert caveats([{**ROW, "published": {"source": "another"}}, ROW]) == ()


def test_gains_stand_beside_imports_without_answers_and_without_luts(tmp_path):
    run = finished(tmp_path / "run", [stage("start", 1000, 1250), stage("1 frugal", 100, 125)])
    imported = {"model": "net", "family": "jet_deepsets", "features": 3, "n": 8, "bits": None, **SYNTHESISED}
    imported |= {"accuracy": None, "accuracy_error": None, "lut": None, "lut_stage": "not measured"}
    (tmp_path / "scaling.json").write_text(json.dumps({"rows": [imported, {**imported, "seed": 2}]}))
    record = tabulate([run], [tmp_path / "scaling.json"], "edgephys gains")
    assert len(record["rows"]) == 3 and record["over_seeds"] == []
    text = page(compression.table(record), "compression")
    assert "| jet_deepsets | 8 | uniform | 1 | – | – | – | – |" in text
    (tmp_path / "eight.json").write_text(json.dumps({"rows": [{**imported, "bits": 8}]}))
    ours = tabulate([run], [tmp_path / "eight.json"], "edgephys gains")["rows"][1]
    assert ours["accuracy_difference"] is ours["lut_times"] is ours["latency_share"] is None
