"""Models from any framework have a row in the scaling table: with a score where they were imported with answers."""

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from keras_models import activation, model_of, qdense, scattered

from edgephys.workflow import firmware
from edgephys.workflow.candidates import candidates
from edgephys.workflow.steps import TargetRun

GOLDEN = Path(__file__).parent / "golden" / "hgq2"


@pytest.fixture(scope="module")
def models(run, tmp_path_factory):
    """Folders of imports: with classes, with numbers, without answers, and of an ONNX file."""
    top, generator = tmp_path_factory.mktemp("imports"), np.random.default_rng(1)
    layers = [qdense(4, "hidden"), activation("quantized_relu(4, 2)", "relu"), qdense(2, "end")]
    scattered(model_of((3,), *layers), 1).save(top / "net.keras")
    x = generator.uniform(-3, 3, (60, 3))
    answers = {"classes": {"y": generator.integers(0, 2, 60)}, "numbers": {"y": generator.normal(size=(60, 2))}}
    for name in ("classes", "numbers", "none"):
        np.savez(top / f"{name}.npz", x=x, **answers.get(name, {}))
        words = ("--input-format", "fixed<6,3>", "--data", top / f"{name}.npz", "--out", top / name)
        assert run("import", top / "net.keras", *words).status == 0
    onnx_models.mlp(top / "mlp.onnx")
    assert run("import", top / "mlp.onnx", "--count", "20", "--out", top / "onnx").status == 0
    return {name: top / name for name in ("classes", "numbers", "none", "onnx")}


def test_an_import_is_named_by_its_file_and_measured_by_its_vectors(models):
    facts = {model.name: model.facts for model in candidates(list(models.values()))}
    assert (facts["none"].family, facts["none"].size, facts["none"].features) == ("net", 3, 3)
    assert (facts["onnx"].family, facts["onnx"].size, facts["onnx"].bits) == ("mlp", 6, None)
    assert not any(one.is_float for one in facts.values())
    assert [facts[name].application.name for name in ("classes", "numbers", "none")] == [
        "classes",
        "numbers",
        "classes",
    ]


@pytest.mark.slow
def test_every_import_has_a_row_and_the_page_says_what_its_score_is(models, run, tmp_path, monkeypatch):
    monkeypatch.setattr(firmware, "run_steps", lambda model, options, kind, *rest: TargetRun(kind))
    words = ("--to", "rtl", "--projects", tmp_path / "p", "--out", tmp_path / "table", "--json")
    done = run("scaling", *models.values(), *words)
    assert done.status == 0, done.err
    rows = {row["model"]: row for row in done.json["rows"]}
    assert rows["classes"]["accuracy"] > 0 and rows["numbers"]["relative_l2"] > 0
    assert rows["none"]["accuracy"] is rows["onnx"]["accuracy"] is None
    assert rows["onnx"]["imported"] == "mlp.onnx" and rows["none"]["test_examples"] is None
    page = (tmp_path / "table.md").read_text()
    assert "measured with Keras on held-out test examples" in page and "jets" not in page.split("## The LUT")[0]
    assert "- imported: onnx (mlp.onnx), classes (net.keras), none (net.keras), numbers (net.keras); scores are" in page


@pytest.mark.slow
def test_an_import_is_emitted_verified_and_synthesised(models, run, tmp_path):
    words = ("--to", "rtl", "--projects", tmp_path / "p", "--out", tmp_path / "table", "--json")
    done = run("scaling", models["classes"], models["onnx"], *words)
    assert done.status == 0, done.err
    for row in done.json["rows"]:
        assert row["mismatches"] == 0 and row["lut"] > 0 and row["lut_stage"] == "synthesised"
        assert row["latency_cycles"] > 0 and not row["failures"]


@pytest.mark.slow
def test_an_import_of_hgq2_with_a_format_for_every_weight_has_a_row_of_measured_figures(run, tmp_path):
    words = ("--input-format", "fixed<8,4>", "--count", "50", "--out", tmp_path / "wrap")
    assert run("import", GOLDEN / "wrap.keras", *words).status == 0
    words = ("--to", "rtl", "--projects", tmp_path / "p", "--out", tmp_path / "table", "--json")
    done = run("scaling", tmp_path / "wrap", *words)
    assert done.status == 0, done.err
    (row,) = done.json["rows"]
    assert (row["imported"], row["accuracy"], row["failures"]) == ("wrap.keras", None, [])
    assert row["mismatches"] == 0 and row["vectors"] == 50 and row["lut_stage"] == "synthesised"
    assert row["latency_cycles"] > 0 and row["lut"] > 100
