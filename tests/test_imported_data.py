"""Imported models are scored and verified on further data of their users, as trained ones are."""

import numpy as np
import onnx_models
import pytest
from keras_models import activation, model_of, qdense
from onnx_models import Model

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.card import read_card
from edgephys.models.import_plan import ImportPlan
from edgephys.models.imported_keras import import_keras


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(1)
    x = generator.uniform(-3, 3, (300, 4))
    np.savez(folder / "classes.npz", x=x, y=generator.integers(0, 3, 300))
    np.savez(folder / "numbers.npz", x=x, y=generator.normal(size=(300, 3)))
    np.savez(folder / "none.npz", x=x)
    return folder


@pytest.fixture(scope="module")
def model(data, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    net = model_of((4,), qdense(5, "hidden"), activation("quantized_relu(6, 2)", "relu"), qdense(3, "logits"))
    net.save(folder / "mine.keras")
    words = ("--data", data / "classes.npz", "--input-format", "fixed<8,3>", "--out", folder / "mine")
    assert run("import", folder / "mine.keras", *words).status == 0
    return folder / "mine"


def test_a_score_on_the_data_of_the_import_is_that_of_the_card(model, data, run):
    metrics = run("score", model, "--data", data / "classes.npz", "--json").json["metrics"]
    record = run("cards", model, "--json").json["rows"][0]
    assert metrics["accuracy"] == record["accuracy"] and metrics["examples"] == 300
    assert metrics["auc"].keys() == {"0", "1", "2"}
    assert "accuracy" in run("score", model, "--data", data / "classes.npz").out


def test_numbers_give_errors_and_no_answers_are_refused(model, data, run):
    metrics = run("score", model, "--data", data / "numbers.npz", "--json").json["metrics"]
    assert {"relative_l2", "r2", "mse"} <= metrics.keys()
    ended = run("score", model, "--data", data / "none.npz")
    assert (
        ended.status == 1 and "expected an array y with classes, or with 3 numbers an example, found none" in ended.err
    )


def test_answers_beyond_the_classes_are_named_with_both_ranges(model, data, run, tmp_path):
    arrays = np.load(data / "classes.npz")
    np.savez(tmp_path / "from_1.npz", x=arrays["x"], y=arrays["y"] + 1)
    ended = run("score", model, "--data", tmp_path / "from_1.npz")
    assert ended.status == 1
    assert "y must be class numbers 0..2 or one-hot rows of 3, or 3 finite numbers an example" in ended.err
    assert "found int64 (300,) from 1 to 3; correct y" in ended.err


def test_a_project_is_verified_on_other_data_of_its_user_and_on_as_many_as_asked_for(model, data, run, tmp_path):
    assert run("emit", model, "--to", "onnx", "--out", tmp_path / "p").status == 0
    verified = run("verify", tmp_path / "p", "--data", data / "none.npz", "--limit", 40, "--json")
    assert verified.status == 0 and verified.json["vectors"] == 40 and verified.json["mismatches"] == 0


def test_an_onnx_model_is_scored_too(run, tmp_path):
    path = onnx_models.mlp(tmp_path / "mlp.onnx")
    assert run("import", path, "--out", tmp_path / "mlp").status == 0
    shape = np.load(tmp_path / "mlp" / "held_out.npz")["inputs"].shape[1:]
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(1).normal(size=(50, *shape)), y=np.zeros(50, int))
    metrics = run("score", tmp_path / "mlp", "--data", tmp_path / "mine.npz", "--json").json["metrics"]
    assert metrics["examples"] == 50 and 0 <= metrics["accuracy"] <= 1
    x = np.load(tmp_path / "mine.npz")["x"]
    np.savez(tmp_path / "far.npz", x=x, y=np.full(50, 99))
    done = run("import", path, "--data", tmp_path / "far.npz", "--out", tmp_path / "other", "--json")
    assert done.status == 0, done.err
    assert any("found int64 (50,) from 99 to 99: no score is stated" in line for line in done.json["warnings"])


def test_numbers_of_an_onnx_file_are_scored_in_its_own_units_at_the_import_and_by_a_verification(run, tmp_path):
    m = Model((6,))
    path = m.save(tmp_path / "m.onnx", m.quant(m.quant("x", 6, 0.25), 6, 0.3))
    x = np.random.default_rng(0).integers(-8, 8, (50, 6)) / 4
    np.savez(tmp_path / "mine.npz", x=x, y=np.rint(x / 0.3) * 0.3)
    done = run("import", path, "--data", tmp_path / "mine.npz", "--out", tmp_path / "m", "--json")
    assert done.status == 0, done.err
    metrics = read_card(tmp_path / "m").metrics
    assert metrics["relative_l2"] < 1e-6 and metrics["r2"] == pytest.approx(1) and metrics["examples"] == 50
    assert run("emit", tmp_path / "m", "--to", "c", "--out", tmp_path / "c").status == 0
    (figure,) = run("verify", tmp_path / "c", "--json").json["score"]["figures"]
    assert figure["name"] == "relative_l2" and figure["value"] == pytest.approx(figure["stated"])


@pytest.mark.parametrize(("count", "limit"), [(0, "1 or more, not 0"), (10**8, r"at most 67108864 for inputs of \(4,")])
def test_the_random_inputs_of_a_keras_file_have_the_limits_of_those_of_an_onnx_file(model, tmp_path, count, limit):
    with pytest.raises(UsageError, match=f"--count must be {limit}"):
        import_keras(model / "model.keras", tmp_path / "m", ImportPlan(Fixed(True, 8, 3), count=count))


def test_a_table_of_cards_leaves_out_an_import_without_answers_and_says_so(model, run, tmp_path):
    words = ("--input-format", "fixed<8,3>", "--count", "5", "--out", tmp_path / "none")
    assert run("import", model.with_suffix(".keras"), *words).status == 0
    why = f"{tmp_path / 'none'}: left out: it was imported without answers; `edgephys import --data` takes x and y"
    done = run("cards", model, tmp_path / "none")
    assert done.status == 0 and why in " ".join(done.out.split())
    alone = run("cards", tmp_path / "none")
    assert alone.status == 1 and "none: no row in the table: it was imported without answers; `edgephys" in alone.err


def test_a_table_of_cards_takes_an_imported_model(model, run):
    done = run("cards", model)
    assert done.status == 0 and "300" in done.out, done.err
