"""The Python entry gives what the commands give: the same models, projects, records and errors."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from keras_models import activation, model_of, qdense, scattered

import edgephys as ep
from edgephys.core.errors import MismatchError, ModelError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.networks.backend import keras

EXAMPLES = Path(__file__).parent.parent / "examples"
FORMAT = "fixed<8,3>"


def tagger():
    relu = activation("quantized_relu(6, 2)", "relu")
    return model_of((4,), qdense(5, "hidden"), relu, qdense(3, "logits"))


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(1)
    return {"x": generator.uniform(-3, 3, (60, 4)), "y": generator.integers(0, 3, 60)}


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return ep.load(tagger(), data=data, input_format=FORMAT, out=tmp_path_factory.mktemp("api") / "mine")


@pytest.fixture(scope="module")
def project(model, tmp_path_factory):
    return model.emit("c", out=tmp_path_factory.mktemp("projects") / "mine_c", prefix="mine")


def test_a_keras_model_and_arrays_come_in_as_a_file_and_its_data_do(model, data, tmp_path, run):
    file, arrays = tmp_path / "mine.keras", tmp_path / "mine.npz"
    keras.models.load_model(model.folder / "model.keras").save(file)
    np.savez(arrays, **data)
    other = ep.load(str(file), data=arrays, input_format=FORMAT, out=tmp_path / "out" / "mine")
    assert other.graph.digest == model.graph.digest and other.name == model.name == "mine"
    words = ("import", file, "--data", arrays, "--input-format", FORMAT, "--out", tmp_path / "cli" / "mine", "--json")
    record = run(*words).json
    assert record["graph"] == model.graph.digest and record["exact"] and not record["warnings"]
    assert ep.load(model.folder).card == model.card


def test_predict_gives_the_values_of_keras_on_rounded_and_limited_inputs(model, data):
    x = np.rint(data["x"] * 32) / 32
    reference = np.asarray(keras.models.load_model(model.folder / "model.keras")(x.astype(np.float32)))
    assert np.array_equal(model.predict(x), reference)
    assert np.array_equal(model.predict(np.full((1, 4), 1e9)), model.predict(np.full((1, 4), 4 - 1 / 32)))
    with pytest.raises(UsageError, match=r"^x: expected finite numbers of shape \(example, 4\), found \(2, 5\)$"):
        model.predict(np.zeros((2, 5)))


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """A model of two inputs, and an example of random values for each."""
    one, two = keras.Input((2,), name="one"), keras.Input((3, 2), name="two")
    joined = keras.layers.Concatenate()([one, keras.layers.Flatten()(two)])
    network = scattered(keras.Model([one, two], qdense(3, "out")(joined)), 1)
    folder = tmp_path_factory.mktemp("two")
    generator = np.random.default_rng(0)
    x = [np.rint(generator.normal(size=(7, *shape)) * 8) / 8 for shape in ((2,), (3, 2))]
    return ep.load(network, input_format="fixed<8,5>", out=folder / "two"), x, np.asarray(network(x))


def test_several_inputs_are_predicted_from_a_list_a_mapping_or_one_flat_array(of_two):
    model, (one, two), values = of_two
    flat = np.concatenate([one, two.reshape(7, 6)], axis=1)
    for x in ([one, two], (one, two), {"two": two, "one": one}, flat, flat.tolist()[:2]):
        assert np.array_equal(model.predict(x), values[: len(x) if isinstance(x, list) and len(x[0]) == 8 else 7])


def test_inputs_of_other_names_or_shapes_are_refused(of_two, model):
    loaded, (one, two), _ = of_two
    stated = r"^x: expected as many examples of one \(example, 2\) and two \(example, 3, 2\), found "
    for x, message in (
        ({"one": one}, "^x: expected arrays one, two, found one$"),
        ([one, two[:3]], rf"{stated}\(7, 2\), \(3, 3, 2\)$"),
        ([two, one], rf"{stated}\(7, 3, 2\), \(7, 2\)$"),
        ([one, two, two], rf"{stated}\(7, 2\), \(7, 3, 2\), \(7, 3, 2\)$"),
    ):
        with pytest.raises(UsageError, match=message):
            loaded.predict(x)
    with pytest.raises(UsageError, match=r"^x: expected arrays .*, found none$"):
        model.predict({})


def test_a_project_is_emitted_verified_and_reported_with_the_records_of_the_commands(model, project, run, tmp_path):
    assert project.graph.digest == model.graph.digest
    verified = project.verify()
    for shown in map(repr, (model, project, verified)):
        assert len(shown) < 400 and "\n" not in shown
    assert "of fixed<8,3>" in repr(model) and repr(project).startswith("OpenedProject(c of mine, in ")
    assert "60 vectors" in repr(verified) and repr(verified).endswith(", 0 mismatches)")
    assert verified.mismatches == 0 and {"golden", "plain", "keras", "c"} <= verified.targets.keys()
    np.savez(tmp_path / "other.npz", x=np.zeros((3, 4)))
    assert project.verify(tmp_path / "other.npz").vectors == 3
    figures = project.report()
    assert figures["mismatches"].value == 0 and figures["accuracy"].stage is FigureStage.MEASURED
    again = run("report", project.folder, "--json").json
    assert [figure["name"] for figure in again["figures"]] == list(figures)
    assert ep.open_project(str(project.folder)).graph.digest == model.graph.digest


def test_options_of_a_target_are_keywords(model, tmp_path):
    emitted = model.emit("rtl", out=tmp_path / "rtl", clock_ns=4, vectors=7)
    assert emitted.project.clock_ns == 4 and len(np.load(emitted.folder / "vectors.npz")["inputs"]) == 7
    with pytest.raises(UsageError, match="--clock-ns goes with"):
        model.emit("c", out=tmp_path / "c", clock_ns=4)


def test_a_changed_source_raises_with_its_layer(model, tmp_path):
    changed = model.emit("c", out=tmp_path / "c")
    path = next((changed.folder / "firmware").rglob("*.c"))
    path.write_text(path.read_text().replace(" + ", " - ", 1))
    with pytest.raises(MismatchError, match="changed since its emission"):
        ep.open_project(changed.folder).verify()


@pytest.mark.parametrize(
    ("source", "words", "error", "message"),
    [
        (3, {}, UsageError, "expected a file, a folder or a Keras model, found int"),
        ("none.keras", {}, ModelError, "none.keras: no such file"),
        (None, {}, UsageError, "--input-format must be stated"),
        (
            "FOLDER",
            {"input_format": FORMAT},
            UsageError,
            "a folder of ours has its data and its format; leave both out",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(model, source, words, error, message, tmp_path):
    given = tagger() if source is None else model.folder if source == "FOLDER" else source
    with pytest.raises(error, match=message):
        ep.load(given, out=tmp_path / "out", **words)


@pytest.mark.slow
def test_the_notebook_runs_and_prints_what_it_holds(tmp_path, monkeypatch):
    script = runpy.run_path(str(EXAMPLES.parent / "docs" / "run_notebook.py"))
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "first_steps.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    stored = [cell["outputs"] for cell in cells]
    names = script["run"](notebook)
    assert names["verified"].mismatches == 0
    assert np.array_equal(names["model"].predict(names["grid"]), names["network"](names["grid"]))
    equal, of_c = 2, 3  # the cells whose prints hold no trained figure
    assert all(cells[number]["outputs"] == stored[number] for number in (equal, of_c))
