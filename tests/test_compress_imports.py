"""Imported models are compressed and swept on data of their users; one that cannot be says why in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from conftest import no_ranks
from keras_models import activation, bits, model_of, qconv, qdense, qdepthwise, scattered
from pipeline_texts import FEW, FRUGAL, stage

from edgephys.compress.job import CompressionJob
from edgephys.compress.pipeline_file import read
from edgephys.compress.stage_digest import digests
from edgephys.compress.start_model import SHARES, start_model
from edgephys.core.errors import DataError, ModelError
from edgephys.models.card import read_card
from edgephys.networks.backend import keras, qkeras

KNOB = '[knob]\nstage = 1\nkey = "density"\nvalues = [0.3, 0.6]\n'
SMALL = stage("prune", density=0.5, **FEW) + FRUGAL + KNOB
GOLDEN = Path(__file__).parent / "golden" / "hgq2"
RELU = "quantized_relu(6, 2)"


def arrays(path, y="classes", inputs=16, count=600):
    """Write inputs and answers that a tagger can learn: the class is the largest of five sums of the inputs."""
    generator = np.random.default_rng(5)
    x, weights = generator.normal(0, 1, (count, inputs)), generator.normal(size=(inputs, 5))
    answers = {"classes": (x @ weights).argmax(1), "binary": (x[:, 0] > 0).astype(int), "numbers": x @ weights / 8}
    np.savez(path, x=x, **({"y": answers[y]} if y in answers else {}))
    return path


def tagger():
    """Return a QKeras tagger of layers of 8, 8 and 5, with activations within the layers."""
    layers = [qdense(8, "a", 6, activation=RELU), qdense(8, "b", 6, activation=RELU), qdense(5, "c", 6)]
    keras.utils.set_random_seed(2)
    return model_of((16,), *layers)


def imported(run, model, folder, name, *words):
    """Save a Keras model and import it; return its folder."""
    model.save(folder / f"{name}.keras")
    done = run("import", folder / f"{name}.keras", "--input-format", "fixed<10,4>", "--out", folder / name, *words)
    assert done.status == 0, done.err
    return folder / name


@pytest.fixture(scope="module", autouse=True)
def quickly(uncompiled):
    """Run the few steps of these trainings as they are written, and leave out local ranks."""
    from edgephys.compress import gains

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gains, "local_rank", no_ranks)
        yield


@pytest.fixture(scope="module")
def top(run, tmp_path_factory):
    """A folder with data, a pipeline, and the imported tagger."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "small.toml").write_text(SMALL)
    imported(run, tagger(), folder, "mine", "--data", arrays(folder / "mine.npz"))
    return folder


@pytest.fixture(scope="module")
def compressed(top, run):
    """The command that compresses the tagger, carried out."""
    words = ("compress", top / "mine", top / "small.toml", "--data", top / "mine.npz", "--out", top / "less")
    done = run(*words, "--json")
    assert done.status == 0, done.err
    return words, done


@pytest.mark.slow
def test_an_imported_tagger_gets_fewer_bits_that_are_not_zero(compressed):
    _, done = compressed
    start, pruned, last = done.json["rows"]
    assert start["weights"] == 16 * 8 + 8 * 8 + 8 * 5 and pruned["nonzero"] <= 232 / 2
    assert last["digits"] < 0.6 * start["digits"] and last["ebops"] < start["ebops"]
    assert done.json["metrics"]["examples"] == 180 and {"0", "4"} <= done.json["metrics"]["auc"].keys()


def test_its_card_states_the_import_the_split_of_the_data_and_every_stage(top, compressed):
    card, file = read_card(top / "less" / "model"), read_card(top / "mine").imported
    assert card.start == {"name": "mine", **file.to_record()} and card.imported is None
    assert card.data["examples"] == {"train": 360, "validation": 60, "test": 180}
    assert card.data["train"]["file"] == "mine.npz" and len(card.data["train"]["sha256"]) == 64
    assert {key: card.recipe[key] for key in ("script", "validation", "test", "seed")} == {
        "script": "mine", "validation": 0.1, "test": 0.3, "seed": 1,
    }  # fmt: skip
    assert [row["stage"] for row in card.compression] == ["start", "1 prune", "2 frugal"]
    assert card.input_format.bits == 10 and card.classes == ["0", "1", "2", "3", "4"]


def test_its_c_is_exact_and_it_is_scored_as_any_model(top, compressed, run):
    model = top / "less" / "model"
    assert run("emit", model, "--to", "c", "--out", top / "c").status == 0
    verified = run("verify", top / "c", "--json")
    assert verified.status == 0 and verified.json["mismatches"] == 0 and verified.json["vectors"] == 180
    (figure,) = verified.json["score"]["figures"]  # classes of few examples have no area
    assert figure["name"] == "accuracy" and figure["value"] == pytest.approx(figure["stated"])
    assert run("score", model, "--data", top / "mine.npz", "--json").json["metrics"]["examples"] == 600
    assert run("report", top / "c").status == 0


def test_a_second_start_does_no_stage_again_and_another_input_format_does_all(top, compressed, run):
    words, done = compressed
    again = run(*words, "--json")
    assert again.status == 0 and "2_frugal: done before" in again.err and again.json["metrics"] == done.json["metrics"]
    assert "note: the data train, validate and test mine: 360 train, 60 validation, 180 test, divided" in again.err
    assert "note: the file was perhaps trained on the same examples: only --test-data then gives an indep" in again.err
    pipeline, other = read(top / "small.toml"), shutil.copytree(top / "mine", top / "other")

    def digests_of(folder):
        return digests(CompressionJob(folder, pipeline, top / "mine.npz", None, top / "out"))

    before = digests_of(top / "mine")
    assert digests_of(other) == before
    card = json.loads((other / "card.json").read_text())
    card["imported"]["input_format"] = "fixed<9,4>"
    (other / "card.json").write_text(json.dumps(card))
    changed = digests_of(other)
    assert changed[0][0] != before[0][0] and changed[-1][0] != before[-1][0]


def test_test_data_of_their_own_leave_all_the_data_to_training(top):
    start = start_model(top / "mine", top / "mine.npz", arrays(top / "test.npz", count=50))
    assert len(start.task.test.labels) == 50 and len(start.task.train[1]) == 540 and len(start.notes) == 1
    assert start.trained.card.data["test"]["file"] == "test.npz"


@pytest.mark.slow
def test_a_front_of_an_imported_tagger_is_swept_and_tested(top, run):
    words = ("--data", top / "mine.npz", "--seeds", "3", "--out", top / "front", "--json")
    done = run("pareto", top / "mine", top / "small.toml", *words)
    assert done.status == 0, done.err
    assert done.json["asked"] == len(done.json["runs"]) == 2 and (done.json["family"], done.json["n"]) == ("mine", 16)
    assert all(run["test"]["examples"] == 180 for run in done.json["runs"] if run["front"])
    page = (top / "front" / "pareto.md").read_text()
    assert "accuracy on the validation examples" in page and "jets" not in page


@pytest.mark.slow
def test_what_quantise_makes_of_a_float_model_is_compressed(top, run):
    x = keras.Input((16,))
    flow = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
    model = keras.Model(x, keras.layers.Dense(5, activation="softmax")(keras.layers.ReLU()(flow)))
    model.save(top / "float.keras")
    words = ("--data", top / "mine.npz", "--bits", "6", "--out", top / "quantised")
    assert run("quantise", top / "float.keras", *words).status == 0
    out = ("--data", top / "mine.npz", "--out", top / "less_quantised", "--json")
    done = run("compress", top / "quantised", top / "small.toml", *out)
    assert done.status == 0, done.err
    assert done.json["rows"][-1]["digits"] < done.json["rows"][0]["digits"]
    assert run("emit", top / "less_quantised" / "model", "--to", "onnx", "--out", top / "q_onnx").status == 0
    assert run("verify", top / "q_onnx", "--json").json["mismatches"] == 0


@pytest.mark.slow
def test_a_cnn_with_a_normalisation_pooling_and_a_sum_loses_units_and_is_exact(top, run, tmp_path):
    x = keras.Input((6, 6, 1), name="x")
    flow = activation(RELU, "r")(keras.layers.BatchNormalization(name="n")(qconv(4, 3, "first")(x)))
    flow = keras.layers.MaxPooling2D(2, name="p")(flow)
    flow = activation(RELU, "s")(keras.layers.Add(name="sum")([qconv(4, 3, "c")(flow), qdepthwise(3, "d")(flow)]))
    model = keras.Model(x, qdense(1, "end", activation="sigmoid")(keras.layers.Flatten(name="flat")(flow)))
    generator = np.random.default_rng(3)
    y = generator.integers(0, 2, 300)
    np.savez(tmp_path / "f.npz", x=generator.normal(0, 0.5, (300, 6, 6, 1)) + y[:, None, None, None], y=y)
    folder = imported(run, model, tmp_path, "field", "--data", tmp_path / "f.npz")
    (tmp_path / "units.toml").write_text(stage("prune", scope="neuron", density=0.5, **FEW))
    words = ("--data", tmp_path / "f.npz", "--out", tmp_path / "less", "--json")
    done = run("compress", folder, tmp_path / "units.toml", *words)
    assert done.status == 0, done.err
    assert done.json["rows"][1]["stated"]["notes"]["units"]["c"] == 2
    assert run("emit", tmp_path / "less" / "model", "--to", "c", "--out", tmp_path / "c").status == 0
    assert run("verify", tmp_path / "c", "--json").json["mismatches"] == 0


# Tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "layers", "task", "ending"),
    [
        ("binary", [qdense(1, "end")], "classification", ""),
        ("binary", [qdense(1, "end", activation="sigmoid")], "classification", "sigmoid"),
        ("binary", [qdense(1, "end"), activation("quantized_sigmoid(6)", "s")], "classification", "sigmoid"),
        ("classes", [qdense(5, "end"), keras.layers.Softmax(name="s")], "classification", "softmax"),
        ("numbers", [qdense(5, "end")], "regression", ""),
        ("none", [qdense(16, "end")], "reconstruction", ""),
    ],
)
def test_the_answers_decide_the_task_as_at_the_import(run, tmp_path, y, layers, task, ending):
    data = arrays(tmp_path / "d.npz", y, count=80)
    model = scattered(model_of((16,), *layers), 1)
    start = start_model(imported(run, model, tmp_path, "m", "--data", data), data)
    net, before = start.trained.card.net, read_card(tmp_path / "m").metrics
    assert (net["task"], net["network_ending"]) == (task, ending)
    if before:  # the score of all examples is that of the import
        score = start.task.metric
        every = start_model(tmp_path / "m", data, data).task.test_metrics(start.trained.model)
        assert every[score.key] == pytest.approx(before[score.key])


def test_a_teacher_of_another_end_gives_its_own_logits(top, run, tmp_path):
    model = scattered(model_of((16,), qdense(5, "end")), 1)
    plain = imported(run, model, tmp_path, "plain", "--data", top / "mine.npz")
    ended = keras.Model(model.inputs, keras.layers.Softmax(name="s")(model.outputs[0]))
    soft = imported(run, ended, tmp_path, "soft", "--data", top / "mine.npz")
    task = start_model(plain, top / "mine.npz").task
    logits = [task.teacher_outputs(task.teacher(folder)) for folder in (plain, soft)]
    differences = [values - values.mean(1, keepdims=True) for values in logits]
    near = np.abs(differences[0]).max(1) < 6  # beyond, a softmax of float32 is cut off
    assert near.sum() > 50 and np.allclose(differences[0][near], differences[1][near], atol=1e-2)


# Refusals -------------------------------------------------------------------------------------------


def refused(run, model, top, data=None, command="compress"):
    """Return the line with which a command refuses a model."""
    more = ("--seeds", "1") if command == "pareto" else ()
    words = (command, model, top / "small.toml", "--data", data or top / "mine.npz", "--out", top / "none")
    ended = run(*words, *more)
    assert ended.status == 1 and not (top / "none").exists()
    return ended.err.splitlines()[-1]


@pytest.mark.parametrize("command", ["compress", "pareto"])
def test_an_onnx_model_has_nothing_to_train(top, run, tmp_path, command):
    path = onnx_models.mlp(tmp_path / "mlp.onnx")
    assert run("import", path, "--count", "5", "--out", tmp_path / "mlp").status == 0
    assert refused(run, tmp_path / "mlp", top, command=command) == (
        f"edgephys: {tmp_path / 'mlp'}: expected a Keras model, whose layers can be trained, found one imported from "
        "mlp.onnx, whose Graph cannot; a float ONNX file becomes a Keras model: "
        "`edgephys quantise FILE --data DATA --bits 8 --out FOLDER`"
    )


@pytest.mark.parametrize("command", ["compress", "pareto"])
def test_a_layer_that_stages_cannot_follow_is_named(top, run, tmp_path, command):
    layers = [keras.layers.Reshape((4, 4)), keras.layers.Permute((2, 1), name="p"), keras.layers.Flatten()]
    model = imported(run, model_of((16,), *layers, qdense(5, "end")), tmp_path, "m", "--count", "5")
    assert "layer 'p' (Permute): stages cannot follow its channels" in refused(run, model, top, command=command)


def test_a_kernel_with_scales_of_its_own_is_named(top, run, tmp_path):
    scaled = qdense(5, "d", kernel_quantizer=qkeras.quantized_bits(4, 0, alpha="auto_po2"))
    own = scattered(model_of((16,), scaled), 1)
    scaled.kernel.assign(scaled.kernel * 2.0 ** np.arange(5))  # one scale for each column
    model = imported(run, own, tmp_path, "m", "--count", "5")
    assert refused(run, model, top).startswith(
        "edgephys: layer 'd': its kernel must have quantized_bits(bits, integer, alpha=1) to be compressed; train it "
    )


def test_a_model_of_hgq2_is_refused_by_the_name_of_a_layer(top, run, tmp_path):
    file = sorted(GOLDEN.glob("*.keras"))[0]
    done = run("import", file, "--input-format", "fixed<8,3>", "--count", "5", "--out", tmp_path / "m")
    assert done.status == 0, done.err
    with pytest.raises(ModelError, match=r"^(layer '.*': |layer '.*' \(FixedRounding\): stages cannot follow)"):
        start_model(tmp_path / "m", top / "mine.npz")


def test_a_model_without_weights_has_nothing_to_compress(top, run, tmp_path):
    model = imported(run, model_of((16,), activation(bits(5, 2), "q")), tmp_path, "m", "--count", "5")
    assert "it has none, only layers without weights; choose fewer" in refused(run, model, top)


def test_data_without_answers_are_refused_where_outputs_cannot_be_the_inputs(top, run):
    data = arrays(top / "none.npz", "none")
    assert refused(run, top / "mine", top, data) == (
        f"edgephys: {data}: expected answers, an array y, found none, and 5 outputs cannot be trained to be 16 inputs; "
        "add y"
    )


@pytest.mark.slow
def test_numbers_are_no_answers_of_a_softmax_that_is_left_out(top, run, tmp_path):
    model = imported(run, model_of((16,), qdense(5, "d", activation="softmax")), tmp_path, "m", "--count", "5")
    with pytest.raises(ModelError, match=r"model 'm': the softmax at its end is left out of its integers, so that num"):
        start_model(model, arrays(top / "numbers.npz", "numbers"))


def test_a_softmax_that_is_computed_by_tables_is_not_trained(top, run, tmp_path):
    words = ("--data", top / "mine.npz", "--keep-softmax")
    model = imported(run, model_of((16,), qdense(5, "d", activation="softmax")), tmp_path, "m", *words)
    message = "layer 'd_softmax': its softmax is computed by tables, which no training sees; import m.keras without --"
    assert message in refused(run, model, top)


def test_answers_of_other_classes_are_refused(top, run):
    np.savez(top / "wrong.npz", x=np.zeros((20, 16)), y=np.arange(20))
    with pytest.raises(DataError, match=r"a model of 5 outputs tells classes 0\.\.4 apart"):
        start_model(top / "mine", top / "wrong.npz")


def test_the_shares_are_those_of_a_script_of_a_user():
    assert (SHARES.validation, SHARES.test, SHARES.seed) == (0.1, 0.3, 1)
