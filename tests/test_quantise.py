"""A float Keras model becomes a quantised one from data: formats, losses, scores, and the whole way to firmware."""

import json

import numpy as np
import pytest
from float_models import MODELS, chain, one, random_inputs, residual, scattered

from edgephys.core.errors import DataError, ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.models import numbers
from edgephys.models.input_data import classes_of
from edgephys.networks.backend import keras
from edgephys.report import quantisation
from edgephys.train.quantise import build, formats, plan, score
from edgephys.train.quantise.kinds import Kind
from edgephys.train.quantise.run import Settings, quantise
from edgephys.train.quantise.steps import network_of

L = keras.layers


def files(folder, model, answers=None):
    """Write a model and data for it, and return both paths."""
    path, data = folder / "float.keras", folder / "mine.npz"
    model.save(path)
    arrays = {f"x{number}": x for number, x in enumerate(random_inputs(model))}
    np.savez(data, **arrays, **({} if answers is None else {"y": answers}))
    return path, data


def quantised(folder, model, answers=None, **settings):
    return quantise(*files(folder, scattered(model), answers), folder / "m", Settings(**settings), force=True)


@pytest.mark.parametrize("name", MODELS)
def test_the_layers_taken_apart_give_the_models_own_outputs(name):
    model = scattered(MODELS[name]())
    network = network_of(model)
    x = random_inputs(model, 50)
    own, rebuilt = (of(x if len(x) > 1 else x[0]) for of in (model, build.built(network, "float").model))
    own, rebuilt = (score.joined(y if isinstance(y, list) else [y]) for y in (own, rebuilt))
    assert numbers.relative_l2(rebuilt, own).value < (2e-3 if name == "leaky" else 1e-5)  # a slope of 8 bits


@pytest.mark.parametrize("name", ["mlp", "cnn", "separable", "residual", "bounded", "two_inputs"])
def test_a_float_model_is_quantised_imported_and_close_to_itself(name, tmp_path):
    result = quantised(tmp_path, MODELS[name]())
    assert result.record["exact"] and result.record["score"] == score.DISTANCE
    assert 0 < result.record["distance"] < 0.05
    assert all(row["together_db"] > 25 for row in result.record["layers"])
    assert {"graph", "card", "held_out"} <= set(dir(result.imported.model))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MODELS) - {"mlp", "cnn", "separable", "residual", "bounded", "two_inputs"}))
@pytest.mark.parametrize("bits", [8, 5])
def test_every_kind_of_layer_is_quantised_and_more_bits_lose_less(name, bits, tmp_path):
    record = quantised(tmp_path, MODELS[name](), bits=bits).record
    assert record["exact"] and 0 < record["distance"] < {8: 0.06, 5: 0.3}[bits]


def test_fewer_bits_lose_more_in_every_layer(tmp_path):
    rows = [quantised(tmp_path, MODELS["mlp"](), bits=bits).record["layers"] for bits in (8, 6, 4)]
    for layers in zip(*rows, strict=True):
        for key in ("weights_db", "values_db", "together_db"):
            decibels = [row[key] for row in layers if row[key] is not None]
            assert decibels == sorted(decibels, reverse=True)
    assert [row["weights"] is None for row in rows[0]] == [True, False, True, False]  # input, product, ReLU, product


# Where it rounds, and to what ------------------------------------------------------------------------


def test_rounding_stands_after_relus_and_before_whatever_else_reads_a_sum():
    network = network_of(one(residual, (6, 6, 2)))
    rounded = [network.steps[name] for name in plan.places(network)]
    kinds = [step.kind for step in rounded]
    assert kinds == [Kind.RELU, Kind.PRODUCT, Kind.RELU, Kind.MEAN]  # the last product's sums are the logits
    assert len(network.folded) == 1 and not any(
        isinstance(s.layer, L.BatchNormalization) for s in network.steps.values()
    )


def test_a_normalisation_after_something_else_than_a_product_stays():
    network = network_of(MODELS["normalised_first"]())
    assert network.folded == () and sum(step.kind is Kind.FUNCTION for step in network.steps.values()) == 2


def test_a_product_that_somebody_else_reads_keeps_its_weights():
    def make(x):
        y = L.Dense(4)(x)
        return L.Add()([y, L.BatchNormalization()(y)])

    assert network_of(one(make)).folded == ()


@pytest.mark.parametrize(("largest", "integer"), [(0.9, 0), (1.0, 0), (1.9, 1), (0.2, -2), (30.0, 5)])
def test_evenly_spread_values_get_the_power_of_two_that_holds_them(largest, integer):
    values = np.linspace(-largest, largest, 1001)
    assert formats.chosen(values, 8, True) == formats.fixed(True, 8, integer)


def test_a_format_has_the_least_mean_squared_error_of_all():
    values = np.random.default_rng(0).standard_normal(5000) ** 3
    best = formats.chosen(values, 5, True)
    errors = {n: np.mean((formats.rounded(formats.fixed(True, 5, n), values) - values) ** 2) for n in range(-4, 8)}
    assert best.integer - 1 == min(errors, key=errors.get)
    assert formats.clipped(best, values) > 0


def test_a_single_outlier_asks_for_no_range_of_its_own():
    values = np.append(np.linspace(-1, 1, 100_000), 1e4)
    assert formats.chosen(values, 8, True, plan.WITHIN).integer == 1
    assert formats.chosen(values, 8, True).integer > 5


def test_noise_and_clipping_are_those_of_the_definition():
    form = formats.fixed(True, 4, 0)  # steps of 1/8, -1 to 7/8
    values = np.array([0.25, 0.3, 2.0, -3.0])
    result = formats.rounded(form, values)
    assert list(result) == [0.25, 0.25, 0.875, -1.0] and formats.clipped(form, values) == 0.5
    noise = 0.05**2 + 1.125**2 + 2.0**2
    assert formats.decibels(values, result) == pytest.approx(10 * np.log10(np.sum(values**2) / noise))
    assert formats.decibels(values, values) is None and formats.decibels(0 * values, result) is None
    assert formats.clipped(formats.fixed(False, 4, 0), values) == 0.25  # what a ReLU cuts off is not clipped


def test_inputs_of_small_and_of_large_units_both_stay_resolved(tmp_path):
    generator = np.random.default_rng(0)
    units = np.array([1.0, 1.0, 500.0, 1.0])
    model = chain((4,), L.Dense(3))
    path, data = files(tmp_path, model)
    forms = []
    for scale in (np.ones(4), units):
        np.savez(data, x=generator.normal(0, 1, (300, 4)) * scale)
        result = quantise(path, data, tmp_path / "m", Settings(bits=6), force=True)
        forms.append(Fixed.of_text(result.record["input_format"]))
    assert forms[1].fraction >= forms[0].fraction - 1 and forms[1].bits > forms[0].bits + 6


def test_a_stated_input_format_is_used(tmp_path):
    result = quantised(tmp_path, MODELS["mlp"](), input_format=Fixed.of_text("fixed<7,3>"))
    assert (
        result.record["input_format"] == "fixed<7,3>" and str(result.imported.model.graph.input.fixed) == "fixed<7,3>"
    )
    assert any("are clipped" in warning for warning in result.record["warnings"])
    assert result.record["layers"][0]["values_clipped"] > 0


@pytest.mark.slow
def test_a_changed_slope_or_bound_is_said(tmp_path):
    warnings = quantised(tmp_path, MODELS["leaky"]()).record["warnings"]
    assert "its slope 0.3 became 0.300781, a multiple of 2^-8" in warnings[0]
    model = chain((8,), L.Dense(8), L.ReLU(6.0), L.Dense(4), L.ReLU(0.123), L.Dense(2))
    (warning,) = quantised(tmp_path, model).record["warnings"]  # 6 is kept
    assert "its bound 0.123 became 0.12" in warning


def beside_a_large_bias(tmp_path, exponent, bits):
    """Quantise a network whose first weights are far smaller than their biases."""
    model = scattered(chain((8,), L.Dense(8, "relu"), L.Dense(2)))
    kernel, bias = model.layers[0].weights
    kernel.assign(kernel * 2.0**exponent)
    bias.assign(bias + 3)
    path, data = files(tmp_path, model)
    return quantise(path, data, tmp_path / "m", Settings(bits=bits), force=True)


def kernel_bits(result):
    return [node.op.constant.bits for node in result.imported.model.graph.nodes if node.op.word == "dense"]


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_have_the_bits_that_are_asked_for_where_float32_does_not_hold_their_sums(tmp_path, bits):
    result = beside_a_large_bias(tmp_path, -14, bits)
    record = result.record
    assert record["exact"] and record["distance"] < 0.02 and kernel_bits(result) == [bits, bits]
    assert not any("so that float64 holds" in warning for warning in record["warnings"])
    assert any("compared with Keras in float64; in float32 Keras rounds" in line for line in record["warnings"])


@pytest.mark.slow
def test_weights_get_fewer_bits_where_float64_does_not_hold_their_sums(tmp_path):
    record = beside_a_large_bias(tmp_path, -40, 12).record
    assert record["exact"] and record["distance"] < 0.02
    assert "so that float64 holds its sums with the bias exactly" in record["warnings"][0]


def test_small_values_get_small_ranges(tmp_path):
    model = scattered(chain((8,), L.Dense(8, "relu"), L.Dense(4), L.Dense(2)))
    for weight in model.layers[0].weights:
        weight.assign(weight * 0.01)
    path, data = files(tmp_path, model)
    record = quantise(path, data, tmp_path / "m", Settings(), force=True).record
    ranges = {row["layer"]: Fixed.of_text(row["values"]) for row in record["layers"] if row["values"]}
    (relu,) = (fixed for fixed in ranges.values() if not fixed.signed)
    assert relu.integer < 0 and record["layers"][2]["values_db"] > 35 and record["exact"]


# Scores ----------------------------------------------------------------------------------------------


def learnt(folder, seed=0, count=1500):
    """Train a small classifier of five overlapping classes, and return its file, its data and the accuracy."""
    generator = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    centres, y = generator.normal(0, 0.6, (5, 16)), generator.integers(0, 5, count)
    x = (centres[y] + generator.normal(size=(count, 16))).astype(np.float32)
    model = chain((16,), L.Dense(32, "relu"), L.Dense(32, "relu"), L.Dense(5, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(x, y, epochs=6, batch_size=64, verbose=0)
    model.save(folder / "mlp.keras")
    np.savez(folder / "mine.npz", x=x, y=y)
    return folder / "mlp.keras", folder / "mine.npz"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return learnt(tmp_path_factory.mktemp("learnt"))


@pytest.mark.slow
def test_a_float_classifier_goes_from_its_file_to_verified_c(classifier, run, tmp_path):
    file, data = classifier
    done = run("quantise", file, "--data", data, "--bits", 8, "--out", tmp_path / "m", "--json")
    assert done.status == 0, done.err
    record = done.json
    assert record["score"] == "accuracy" and record["before"] > 0.6 and record["held_out"] == 300
    assert abs(record["change"]) <= 3 * record["change_error"] + 1e-9
    assert json.loads((tmp_path / "m" / "quantised.json").read_text()) == record
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["metrics"]["accuracy"] == pytest.approx(record["after"])  # of the same held-out examples
    assert run("emit", tmp_path / "m", "--to", "c", "--out", tmp_path / "c").status == 0
    verified = run("verify", tmp_path / "c", "--json")
    assert verified.status == 0, verified.err
    assert all(target["mismatches"] == 0 for target in verified.json["targets"].values())


@pytest.mark.slow
def test_a_float_classifier_goes_from_its_file_to_verified_rtl(classifier, run, tmp_path):
    file, data = classifier
    assert run("quantise", file, "--data", data, "--bits", 6, "--out", tmp_path / "m").status == 0
    assert run("emit", tmp_path / "m", "--to", "rtl", "--out", tmp_path / "rtl").status == 0
    verified = run("verify", tmp_path / "rtl", "--json")
    assert verified.status == 0, verified.err
    assert verified.json["targets"]["rtl"]["mismatches"] == 0


def test_the_table_shows_what_each_layer_lost_and_the_score_before_and_after(classifier, run, tmp_path):
    file, data = classifier
    done = run("quantise", file, "--data", data, "--bits", 4, "--out", tmp_path / "m")
    assert done.status == 0, done.err
    assert "accuracy" in done.out and "% before" in done.out and "all layers so far dB" in done.out
    page = (tmp_path / "m" / "quantised.md").read_text()
    assert "_relu | – | – | – | ufixed<4," in page
    record = json.loads((tmp_path / "m" / "quantised.json").read_text())
    assert quantisation.sentence(record) in page


@pytest.mark.slow
def test_fine_tuning_makes_few_bits_lose_less_and_leaves_the_held_out_examples_alone(classifier, run, tmp_path):
    file, data = classifier
    losses = []
    for epochs in (0, 6):
        out = tmp_path / str(epochs)
        done = run("quantise", file, "--data", data, "--bits", 3, "--epochs", epochs, "--out", out, "--json")
        assert done.status == 0, done.err
        losses.append(done.json["change"])
        assert done.json["calibrated_on"] + done.json["held_out"] == 1500
    assert losses[1] > losses[0]
    assert "epochs: 6/6 loss" in done.err


@pytest.mark.slow
def test_one_seed_gives_one_model(classifier, tmp_path):
    file, data = classifier
    graphs = [
        quantise(file, data, tmp_path / f"{number}" / "m", Settings(4, epochs=1, seed=seed)).imported.model.graph.digest
        for number, seed in enumerate((3, 3, 4))
    ]
    assert graphs[0] == graphs[1] != graphs[2]


def test_the_error_of_a_change_is_that_of_pairs():
    right = np.array([1.0, 1, 0, 1])
    before, after = numbers.MeasuredScore(0.75, right), numbers.MeasuredScore(0.5, np.array([1.0, 0, 0, 1]))
    change = before.change(after)
    assert before.error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert change.value == -0.25 and change.error == pytest.approx(np.sqrt(0.25 * 0.75 / 4))


def test_the_error_of_a_relative_l2_is_its_spread_over_samples():
    generator = np.random.default_rng(0)
    targets = generator.normal(size=(200, 500, 3))
    outputs = targets + generator.normal(0, 0.3, targets.shape)
    scores = [numbers.relative_l2(own, target) for own, target in zip(outputs, targets, strict=True)]
    assert np.std([s.value for s in scores]) == pytest.approx(np.mean([s.error for s in scores]), rel=0.15)


@pytest.mark.parametrize(("outputs", "answers", "name"), [
    (3, np.arange(120) % 3, "accuracy"),
    pytest.param(1, np.arange(120) % 2, "accuracy", marks=pytest.mark.slow),
    (3, np.random.default_rng(0).normal(size=(120, 3)), "relative L2 error"),
])  # fmt: skip
def test_answers_say_what_a_model_is_for_and_fine_tuning_follows(outputs, answers, name, tmp_path):
    model = chain((8,), L.Dense(6, "relu"), L.Dense(outputs))
    record = quantised(tmp_path, model, answers, epochs=1).record
    assert record["score"] == name and record["before"] >= 0 and record["after_error"] > 0


@pytest.mark.parametrize(("answers", "classes"), [
    (np.eye(3)[[2, 0, 1]], [2, 0, 1]),
    (np.array([2, 0, 1]), [2, 0, 1]),
    (np.array([[2.0], [0.0], [1.0]]), [2, 0, 1]),
    (np.array([[0.2, 0.5, 0.3]] * 3), None),  # targets of three outputs
    (np.array([3, 0, 1]), None),
    (np.array([0.5, 0, 1]), None),
])  # fmt: skip
def test_answers_are_classes_where_they_are_numbers_of_outputs_or_one_hot(answers, classes):
    result = classes_of(answers, (3, 3))
    assert (result is None and classes is None) or list(result) == classes


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "message"), [
    ([L.LSTM(4)], r"layer 'lstm\w*': LSTM cannot be quantised; use layers of Activation, .*"),
    ([L.Softmax(), L.Dense(2)], r"layer 'softmax\w*': a softmax must be at the end .* not before 'dense\w*'; .*"),
    ([L.Conv1D(2, 1, data_format="channels_first")], r"layer '\w+': data_format must be channels_last.*"),
    ([L.Dense(5), L.BatchNormalization(axis=1)], r"layer 'batch\w+': axis must be -1, the channels, not 1; .*"),
])  # fmt: skip
def test_a_layer_that_is_refused_is_named(layers, message):
    with pytest.raises(ModelError, match=f"^{message}$"):
        network_of(chain((3, 4), *layers))


def test_a_quantised_model_is_sent_to_import():
    from edgephys.networks.backend import qkeras

    model = chain((4,), qkeras.QDense(2, kernel_quantizer=qkeras.quantized_bits(4, 0, alpha=1)))
    with pytest.raises(
        ModelError,
        match=r"QDense is quantised already; bring the model in: `edgephys import FILE --data DATA --out FOLDER`$",
    ):
        network_of(model)


def test_an_input_without_a_length_is_refused():
    with pytest.raises(ModelError, match=r"must have a stated shape behind the batch, not \(None, 4\)"):
        network_of(chain((None, 4), L.Dense(2)))


def test_settings_and_data_that_do_not_fit_are_refused(tmp_path):
    model = chain((8,), L.Dense(3))
    with pytest.raises(UsageError, match=r"^--epochs needs answers, but .*mine.npz has no y; add it"):
        quantised(tmp_path, model, epochs=1)
    with pytest.raises(UsageError, match=r"^--held-out must be between 0 and 1, not 1.0$"):
        quantised(tmp_path, model, held_out=1.0)
    with pytest.raises(UsageError, match=r"^--bits must be 2..16"):
        quantised(tmp_path, model, bits=1)
    with pytest.raises(DataError, match=r"y must be class numbers or 3 numbers an example, .* not float64 \(120, 2\)$"):
        quantised(tmp_path, model, np.full((120, 2), 0.5))
    with pytest.raises(UsageError, match=r"^--epochs needs a model with 1 output, not 2; leave it out$"):
        quantised(tmp_path, MODELS["two_outputs"](), np.zeros((120, 5)) + 0.5, epochs=1)
    path, data = files(tmp_path, model)
    np.savez(data, x=np.zeros((1, 8)))
    with pytest.raises(DataError, match=r"mine.npz: expected 2 examples or more, one of them to be held out, found 1$"):
        quantise(path, data, tmp_path / "none", Settings())
    assert not (tmp_path / "none").exists()


def test_a_refusal_of_the_command_is_one_line(run, tmp_path):
    path, data = files(tmp_path, chain((3, 4), L.LSTM(4)))
    done = run("quantise", path, "--data", data, "--out", tmp_path / "m")
    assert done.status == 1 and "LSTM cannot be quantised" in done.err.splitlines()[-1]
    assert run("quantise", path, "--data", data, "--bits", 40).status == 2
