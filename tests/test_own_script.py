"""A function of a user's script is trained on a user's arrays, and the result is a model like any other."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pipeline_texts import stage

from edgephys.applications import registry
from edgephys.core.errors import DataError, ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.card import read_card
from edgephys.train.fit import prepare
from edgephys.train.recipe import completed, with_settings
from edgephys.train.script import script_recipe

EXAMPLE = Path(__file__).parent.parent / "examples" / "my_model.py"
HEAD = "import keras\nfrom qkeras import QDense, quantized_bits\n"
SMALL = (
    HEAD
    + """
RECIPE = {"epochs": 2, "batch": 64}

def build_model(outputs: int = 2, ending: str = "", bits: int | None = 5, wide: bool = False, widths: list = [3]):
    def dense(units):
        weights = quantized_bits(bits, 0, alpha=1) if bits else None
        return QDense(units, kernel_quantizer=weights, bias_quantizer=weights)
    x = flow = keras.Input((2,))
    flow = dense(outputs)(flow)
    return keras.Model(x, keras.layers.Activation(ending)(flow) if ending else flow)
"""
)


@pytest.fixture
def script(tmp_path):
    def write(text=SMALL, name="small.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def arrays(folder, inputs=4, classes=3, count=600):
    """Write arrays x and y of classes that lie apart."""
    generator = np.random.default_rng(1)
    y = generator.integers(0, classes, count)
    x = generator.normal(0, 0.5, (count, inputs)) + 2 * np.eye(classes, inputs)[y]
    np.savez(folder / "mine.npz", x=x.astype(np.float32), y=y)
    return folder / "mine.npz"


def data_of(folder, x, y=None):
    np.savez(folder / "other.npz", x=x, **({} if y is None else {"y": y}))
    return folder / "other.npz"


def task_of(script, data, *settings):
    recipe, notes = completed(with_settings(script_recipe(script), settings), data)
    return recipe, prepare(recipe, data)[0], notes


# The way through ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The example, trained on few arrays by the command that it states."""
    from conftest import command_line

    folder = tmp_path_factory.mktemp("own")
    data, out = arrays(folder), folder / "mine"
    settings = ("--set", "width=6", "--set", "epochs=6", "--set", "learning_rate=0.02", "--set", "batch=32")
    done = command_line("train", EXAMPLE, "--data", data, *settings, "--out", out, "--json")
    assert done.status == 0, done.err
    return folder, data, out, done


def test_the_example_learns_and_its_card_states_split_and_seed(trained):
    _, data, out, done = trained
    assert done.json["metrics"]["accuracy"] > 0.8 and done.json["metrics"]["examples"] == 180
    card = read_card(out)
    assert card.data["examples"] == {"train": 360, "validation": 60, "test": 180}
    assert card.data["train"]["file"] == data.name and card.seed == 1
    assert {key: card.recipe[key] for key in ("validation", "test", "epochs")} == {
        "validation": 0.1, "test": 0.3, "epochs": 6,
    }  # fmt: skip
    net = card.net
    assert (net["width"], net["bits"], net["task"], net["network_input"]) == (6, 6, "classification", [4])
    assert str(card.input_format).startswith("fixed<12,") and card.name == "my_model_6bit"
    assert "note: input format fixed<12," in done.err and "task classification" in done.err


def test_it_is_scored_emitted_and_verified_as_any_model(trained, run):
    folder, data, out, _ = trained
    scored = run("score", out, "--data", data, "--json")
    assert scored.status == 0 and scored.json["metrics"]["examples"] == 600
    assert run("emit", out, "--to", "c", "--out", folder / "c").status == 0
    done = run("verify", folder / "c", "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0 and done.json["vectors"] == 180
    figures = {figure["name"]: figure for figure in done.json["score"]["figures"]}
    assert (
        figures["accuracy"]["value"] == pytest.approx(figures["accuracy"]["stated"])
        and not done.json["score"]["failures"]
    )
    raw = run("verify", folder / "c", "--data", data, "--limit", "50", "--json")
    assert raw.status == 0 and raw.json["vectors"] == 50 and raw.json["mismatches"] == 0
    report = run("report", folder / "c", "--json")
    assert report.status == 0
    assert any("180 held-out test examples" in figure["target"] for figure in report.json["figures"])


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls", "onnx", "qonnx"])
def test_it_is_exact_on_every_target(trained, run, target):
    folder, _, out, _ = trained
    assert run("emit", out, "--to", target, "--out", folder / target).status == 0
    done = run("verify", folder / target, "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0


@pytest.mark.slow
def test_it_is_pruned_after_a_teacher_and_trained_further(trained, run, tmp_path):
    _, data, out, _ = trained
    pipeline = tmp_path / "small.toml"
    pipeline.write_text(stage("prune", density=0.5, epochs=2, teacher=[str(out)]))
    done = run("compress", out, pipeline, "--data", data, "--out", tmp_path / "less")
    assert done.status == 0, done.err
    assert "accuracy on the validation examples" in done.out and "On 180 test examples, once" in done.out
    words = ("--set", "width=6", "--set", "epochs=1", "--start", out, "--out", tmp_path / "more")
    assert run("train", EXAMPLE, "--data", data, *words).status == 0
    assert read_card(tmp_path / "more").start["name"] == "my_model_6bit"


# Tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "sigmoid"])
def test_one_output_tells_two_classes_apart(script, tmp_path, ending):
    recipe, task, _ = task_of(script(), arrays(tmp_path, 2, 2), "outputs=1", f"ending={ending}")
    assert recipe.net.network_ending == ending and task.classes == ("0", "1")
    model = recipe.net.build()
    x, y = task.train
    p = model.predict(x, verbose=0)[:, 0].astype(np.float64)
    if not ending:
        p = 1 / (1 + np.exp(-p))
    expected = -np.log(np.where(y == 1, p, 1 - p))
    assert np.allclose(task.losses(y, model.predict(x, verbose=0)), expected, atol=1e-5)
    assert task.validation_score(model) == np.mean(
        (model.predict(task.validation[0], verbose=0)[:, 0] > (0.5 if ending else 0)) == task.validation[1]
    )


def test_a_softmax_at_the_end_gives_the_loss_of_its_logits(script, tmp_path):
    data = arrays(tmp_path, 2, 2)
    recipe, task, _ = task_of(script(), data, "ending=softmax")
    model = recipe.net.build()
    x, y = task.train
    p = model.predict(x, verbose=0)
    assert np.allclose(task.losses(y, p), -np.log(p[np.arange(len(y)), y]), atol=1e-5)


def test_numbers_are_recognised_trained_and_scored(script, tmp_path):
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (200, 2))
    data = data_of(tmp_path, x, x[:, 0] * 0.3)
    recipe, task, notes = task_of(script(), data, "outputs=1")
    assert recipe.net.task == "regression" and notes[0] == "task regression"
    assert registry.of_network(recipe.net).name == "numbers"
    graph = SimpleNamespace(output=SimpleNamespace(fixed=Fixed(True, 8, 4)), metadata={})
    scored = registry.of_network(recipe.net).score_outputs(graph, np.full((60, 1), 2), task.test.labels)
    wanted = np.linalg.norm(0.125 - task.test.labels) / np.linalg.norm(task.test.labels)
    assert scored["relative_l2"].value == pytest.approx(wanted)
    metrics = task.validation_metrics(recipe.net.build())
    assert set(metrics) == {"relative_l2", "relative_l2_error", "r2", "mse", "examples"}


@pytest.mark.slow
def test_a_model_of_numbers_is_saved_with_its_targets(script, run, tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    data = data_of(tmp_path, x, x @ [[0.3], [0.25]])
    done = run("train", script(), "--data", data, "--set", "outputs=1", "--out", tmp_path / "m", "--json")
    assert done.status == 0, done.err
    assert run("emit", tmp_path / "m", "--to", "c", "--out", tmp_path / "c").status == 0
    verified = run("verify", tmp_path / "c", "--json")
    assert verified.status == 0, verified.err
    (figure,) = verified.json["score"]["figures"]
    assert figure["name"] == "relative_l2" and figure["value"] == pytest.approx(figure["stated"])
    assert "relative L2 error" in run("score", tmp_path / "m", "--data", data).out


def test_without_answers_a_model_reconstructs_its_inputs(script, tmp_path):
    data = data_of(tmp_path, np.random.default_rng(0).uniform(-1, 1, (50, 2)))
    recipe, task, notes = task_of(script(), data)
    assert recipe.net.task == "reconstruction" and notes[0] == "task reconstruction"
    assert np.abs(task.train[0] - task.train[1]).max() <= recipe.net.input.step


# Settings -------------------------------------------------------------------------------------------


def test_arguments_become_settings_of_their_types(script):
    recipe = with_settings(script_recipe(script()), ["bits=float", "wide=true", "widths=4,5", "epochs=7"])
    net = recipe.net
    assert (net.bits, net.wide, net.widths, recipe.epochs, recipe.batch) == (None, True, (4, 5), 7, 64)
    assert recipe.learning_rate == {0: 1e-3} and recipe.name == "small_float"
    for setting, wanted in (("wide=perhaps", "true or false"), ("outputs=two", "int")):
        with pytest.raises(UsageError, match=rf"--set {setting}: expected {wanted}, found"):
            with_settings(recipe, [setting])
    with pytest.raises(UsageError, match=r"expected KEY=VALUE with KEY one of .*outputs"):
        with_settings(recipe, ["network_input=3"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def model(width): pass", r"function 'model': argument 'width' must have a default, such as 8"),
        ("def model(seed=1): pass", r"argument 'seed' is a setting of training; rename it"),
        (
            "def model(how={}): pass",
            r"argument 'how' must be a number, a word, a truth value or a list of them, not {}",
        ),
        (
            "x = 1",
            r"expected RECIPE = Recipe\(\.\.\.\) or one function 'model' .*, found no RECIPE and no function; see",
        ),
        ("def a_model(): pass\ndef b_model(): pass", r"found no RECIPE and a_model, b_model; see"),
        (
            "RECIPE = {'epoch': 3}\ndef model(): pass",
            r"RECIPE must state settings of training, found 'epoch'; those are b",
        ),
        ("RECIPE = {'epochs': 'x'}\ndef model(): pass", r"RECIPE must state numbers and words, found others"),
        ("import sys\nsys.exit(3)", r"SystemExit when it was read: 3; mend the script"),
    ],
)
def test_a_script_that_does_not_fit_is_refused(script, text, message):
    with pytest.raises(UsageError, match=message):
        script_recipe(script(text))


BUILT = {
    "return 3": r"function 'model': expected a Keras model with stated inputs, found int; return keras\.Model",
    "raise SystemExit(3)": r"function 'model': SystemExit: 3; mend the script",
    "return 1 / 0": r"function 'model': ZeroDivisionError: .*; mend the script",
    "a = keras.Input((2,)); return keras.Model(a, [a, keras.layers.ReLU()(a)])":
        r"function 'model': expected a model with 1 output of a stated shape, found \(None, 2\), \(None, 2\); join",
    "a, b = keras.Input((2,)), keras.Input((None, 2)); return keras.Model([a, b], keras.layers.Add()([a, b[:, 0]]))":
        r"expected a model with inputs of stated shapes, found \(None, 2\), \(None, None, 2\); state every length in k",
}  # fmt: skip


@pytest.mark.parametrize("body", BUILT)
def test_a_function_that_returns_no_model_for_training_is_refused(script, body):
    recipe = script_recipe(script(f"{HEAD}def model():\n    {body}\n"))
    with pytest.raises((UsageError, ModelError), match=BUILT[body]):
        recipe.net.build()


# Data -----------------------------------------------------------------------------------------------


def test_the_user_is_told_of_clipping_and_of_what_cannot_be_emitted(script, tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    x[3] = 100
    data = data_of(tmp_path, x, np.arange(40) % 2)
    _, _, notes = task_of(script(), data, "bits=none", "input_format=fixed<8,2>")
    assert "2 of 80 input values are beyond fixed<8,2,RND_CONV,SAT> and are clipped" in notes
    assert notes[-1].startswith("the network can be trained, but not emitted as it stands: layer 'q_dense': ")


@pytest.mark.parametrize(
    ("y", "settings", "message"),
    [
        (None, ["task=classification"], r"expected answers, an array y, found none; add them, or set task=recon"),
        (
            np.arange(20),
            ["task=classification"],
            r"y must be class numbers 0\.\.1 or one-hot rows of 2, found int64 \(20,\) from 0",
        ),
        (
            np.arange(20),
            [],
            r"y has whole numbers from 0 to 19, but a model of 2 outputs tells classes 0\.\.1 ",
        ),
        (np.arange(20) % 2 - 1, [], r"y has whole numbers from -1 to 0, but a model of 2 outputs tells classes 0\.\.1"),
        (np.linspace(0, 1, 20), [], r"y must have 2 numbers an example, as the model's output has, found 1; change"),
        (np.full(20, np.nan), [], r"y must be finite numbers, found float64 with others; clean the file"),
        (np.arange(20) % 2, ["validation=0.001"], r"the validation split of its 20 examples is empty; give more, or"),
    ],
)
def test_data_that_do_not_fit_are_refused(script, tmp_path, y, settings, message):
    data = data_of(tmp_path, np.zeros((20, 2)), y)
    with pytest.raises(DataError, match=message):
        task_of(script(), data, *settings)


def test_a_task_that_is_none_is_refused(script, tmp_path):
    with pytest.raises(UsageError, match="task must be one of auto, classification, regression, reconstruction, not x"):
        task_of(script(), arrays(tmp_path, 2, 2), "task=x")


def test_a_teacher_must_read_the_same_inputs(trained, script, tmp_path):
    _, task, _ = task_of(script(), arrays(tmp_path, 2, 2))
    with pytest.raises(
        UsageError, match=r"teacher .*: it must read inputs of \(2,\) in fixed<12,.* as the model that it"
    ):
        task.check_teachers([str(trained[2])])


def test_labels_that_are_no_numbers_are_refused_with_the_file(trained, tmp_path):
    from edgephys.core.errors import ProjectError
    from edgephys.models.vectors import HELD_OUT, read_held_out

    shutil.copytree(trained[2], tmp_path / "m")
    np.savez(tmp_path / "m" / HELD_OUT, inputs=np.zeros((2, 4), int), labels=np.array([1.0, np.nan]))
    with pytest.raises(ProjectError, match="found NaN or infinity"):
        read_held_out(tmp_path / "m")


def test_numbers_are_no_labels_of_a_classifier():
    from edgephys.applications.classes import of_outputs

    with pytest.raises(
        DataError, match=r"expected a class for each of 2 jets, found an array of shape \(2,\), float64"
    ):
        of_outputs(np.zeros((2, 3)), np.array([0.0, 1.0]), "abc", "jets")
