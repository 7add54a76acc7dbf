"""A user's own Keras file and data come in with one command and are verified, or one line says why not."""

import json
import re

import h5py
import numpy as np
import pytest
from keras_models import activation, bits, model_of, qconv, qdense, scattered

from edgephys.core.errors import DataError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models import user_data
from edgephys.models.frameworks import load
from edgephys.models.import_plan import ImportPlan
from edgephys.models.imported_keras import import_keras
from edgephys.models.input_data import misfit, proposed
from edgephys.networks.backend import keras, qkeras

SHAPES = {"x": (5,)}


def tagger(seed=1):
    """Return a small tagger with a softmax, as a user has it."""
    layers = (qdense(6, "hidden"), qkeras.QActivation(qkeras.quantized_relu(6, 1), name="a"), qdense(3, "logits"))
    return scattered(model_of((5,), *layers, keras.layers.Activation("softmax", name="soft")), seed)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with a Keras file, and data whose labels are the model's own answers but for a tenth of them."""
    folder = tmp_path_factory.mktemp("mine")
    model = tagger()
    model.save(folder / "mine.keras")
    generator = np.random.default_rng(0)
    x = generator.integers(-64, 64, (400, 5)) / 16
    y = np.asarray(model(x.astype(np.float32))).argmax(-1)
    y[:40] = (y[:40] + 1) % 3
    np.savez(folder / "mine.npz", x=x, y=y)
    return folder


def test_a_keras_file_comes_in_with_its_data_and_goes_to_c(run, mine, tmp_path):
    out = tmp_path / "imported"
    ended = run(
        "import",
        mine / "mine.keras",
        "--data",
        mine / "mine.npz",
        "--input-format",
        "fixed<8,4>",
        "--out",
        out,
        "--json",
    )
    assert ended.status == 0, ended.err
    record = ended.json
    assert (record["exact"], record["mismatches"], record["outputs_compared"]) == (True, 0, 1200)
    assert (
        record["dropped"] == ["soft (softmax at the end: the order of the outputs stays)"] and record["warnings"] == []
    )
    model = load(out)
    assert model.card.metrics["accuracy"] == pytest.approx(0.9) and model.framework.name == "keras"
    assert run("emit", out, "--to", "c", "--out", tmp_path / "p").status == 0
    verified = run("verify", tmp_path / "p", "--json")
    assert verified.status == 0, verified.err
    assert verified.json["targets"]["keras"] == {"vectors": 400, "generated": 4096, "mismatches": 0}
    shown = {f["name"]: f for f in run("report", tmp_path / "p", "--json").json["figures"]}
    assert shown["accuracy"]["value"] == pytest.approx(0.9)


def test_without_a_format_the_data_decide_and_the_choice_is_said(run, mine, tmp_path):
    ended = run("import", mine / "mine.keras", "--data", mine / "mine.npz", "--out", tmp_path / "imported", "--json")
    assert ended.status == 0, ended.err
    assert ended.json["input_format"] == "fixed<7,3>"  # 1/16 up to 4
    assert ended.json["warnings"] == ["input format fixed<7,3>, which holds the data; --input-format states another"]


def test_clipped_values_are_counted(run, mine, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.array([[400.0, 0, 0, 0, -400], [1, 1, 1, 1, 1]]))
    words = ("--data", tmp_path / "wide.npz", "--input-format", "fixed<8,4>", "--out", tmp_path / "imported")
    ended = run("import", mine / "mine.keras", *words, "--json")
    assert ended.status == 0, ended.err
    (warning,) = ended.json["warnings"]
    assert warning == "2 of 10 input values are beyond fixed<8,4> and are clipped; the data reach -400..400"


def test_without_data_and_format_one_line_says_what_to_state(run, mine, tmp_path):
    ended = run("import", mine / "mine.keras", "--out", tmp_path / "imported")
    assert ended.status == 2 and "--input-format must be stated" in ended.err
    random = run(
        "import", mine / "mine.keras", "--input-format", "fixed<8,4>", "--count", 50, "--out", tmp_path / "r", "--json"
    )
    assert random.status == 0 and random.json["vectors"] == "50, random" and load(tmp_path / "r").card.metrics == {}


@pytest.mark.parametrize("kind", ["h5", "json"])
def test_files_of_keras_2_come_in_as_the_same_graph(run, mine, tmp_path, kind):
    model = tagger()
    if kind == "h5":
        model.save(tmp_path / "old.h5", include_optimizer=False)
    else:
        (tmp_path / "old.json").write_text(model.to_json())
        model.save_weights(tmp_path / "old.weights.h5")
    words = ("--input-format", "fixed<8,4>", "--count", 20, "--json")
    ended = run("import", tmp_path / f"old.{kind}", *words, "--out", tmp_path / "same")
    assert ended.status == 0, ended.err
    other = run("import", mine / "mine.keras", *words, "--out", tmp_path / "other" / "same")
    assert ended.json["graph"] == other.json["graph"]


def test_a_file_that_would_run_code_is_refused(run, tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs))
    (tmp_path / "code.json").write_text(model.to_json())
    model.save(tmp_path / "code.keras")
    for kind in ("json", "keras"):
        ended = run("import", tmp_path / f"code.{kind}", "--input-format", "fixed<8,4>")
        assert ended.status == 1 and "Lambda" in ended.err and "would run" in ended.err


def test_weights_that_are_not_there_are_named(run, tmp_path):
    (tmp_path / "alone.json").write_text(tagger().to_json())
    ended = run("import", tmp_path / "alone.json", "--input-format", "fixed<8,4>")
    assert ended.status == 1 and "alone_weights.h5 or alone.weights.h5 or alone.h5" in ended.err


def test_a_field_and_regression_targets_come_in(run, tmp_path):
    model = scattered(model_of((4, 4, 1), qconv(2, 3, "c"), qkeras.QActivation(bits(6, 1), name="a")), 2)
    model.save(tmp_path / "field.keras")
    generator = np.random.default_rng(1)
    np.savez(tmp_path / "field.npz", x=generator.normal(size=(30, 4, 4, 1)), y=generator.normal(size=(30, 4, 4, 2)))
    ended = run("import", tmp_path / "field.keras", "--data", tmp_path / "field.npz", "--out", tmp_path / "i", "--json")
    assert ended.status == 0, ended.err
    assert load(tmp_path / "i").held_out.inputs.shape == (30, 4, 4, 1)


def test_float_outputs_are_rounded_to_a_stated_format(run, tmp_path):
    model = scattered(model_of((5,), qdense(3, "d"), keras.layers.Activation("tanh", name="t")), 3)
    model.save(tmp_path / "m.keras")
    words = (tmp_path / "m.keras", "--input-format", "fixed<6,3>", "--out", tmp_path / "i", "--json")
    refused = run("import", *words)
    assert refused.status == 1 and "layer 't': the model ends with a float result" in refused.err
    assert "state --output-format" in " ".join(refused.err.split())
    ended = run("import", *words, "--output-format", "fixed<9,1>")
    assert ended.status == 0, ended.err
    graph, x = load(tmp_path / "i").graph, load(tmp_path / "i").held_out.inputs
    values = graph.output.fixed.values(evaluate.run(graph, x))
    near = np.asarray(model(graph.input.fixed.values(x).astype(np.float32)))
    assert np.abs(values - near).max() <= 2**-8 and graph.output.fixed.bits <= 9
    other = run("import", *words, "--output-format", "fixed<9,1,RND,SAT>")
    assert other.status == 2 and "--output-format must be a width and integer bits alone, such as" in other.err
    onnx = run("import", tmp_path / "m.onnx", "--output-format", "fixed<9,1>")
    assert onnx.status == 2 and "--output-format goes with a Keras file; put a Quant node at the end" in onnx.err


def test_vectors_are_of_onnx_files(run, mine):
    ended = run("import", mine / "mine.keras", "--vectors", mine / "mine.npz")
    assert ended.status == 2 and "--vectors goes with an ONNX file; use --data" in ended.err


# Data -----------------------------------------------------------------------------------------------


def test_data_are_read_from_every_kind_of_file(tmp_path):
    x, y = np.arange(15.0).reshape(3, 5), np.array([0, 2, 1])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.save(tmp_path / "a.npy", x)
    header = "a,b,c,d,e,label\n"
    (tmp_path / "a.csv").write_text(
        header + "\n".join(",".join(map(str, [*row, n])) for row, n in zip(x, y, strict=True))
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, y
    for kind in ("npz", "npy", "csv", "h5"):
        data = user_data.read(tmp_path / f"a.{kind}", SHAPES)
        assert np.array_equal(data.inputs, x)
        assert data.answers is None if kind == "npy" else np.array_equal(data.answers, y)


@pytest.mark.parametrize("header", ["", "0,1,2,3,4\n", "a,b,c,d,e\n", "a,1,2,3,4\n"])
def test_a_csv_without_a_row_of_names_loses_no_example(header, tmp_path):
    x = np.arange(15.0).reshape(3, 5) / 4
    (tmp_path / "a.csv").write_text(header + "\n".join(",".join(map(str, row)) for row in x))
    data = user_data.read(tmp_path / "a.csv", SHAPES)
    assert data.answers is None and np.array_equal(data.inputs, x)


def test_a_csv_of_one_column_keeps_a_first_zero(tmp_path):
    (tmp_path / "a.csv").write_text("0\n1\n")
    assert user_data.read(tmp_path / "a.csv", {"x": (1,)}).inputs.tolist() == [[0], [1]]


def test_a_csv_whose_answers_have_no_name_is_refused_with_the_way_on(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3,4,5,0\n1,2,3,4,5,1\n")
    with pytest.raises(DataError, match=r"not float64 \(2, 6\); answers are a column of their own, named y"):
        user_data.read(tmp_path / "a.csv", SHAPES)


def test_several_inputs_are_read_by_their_names_or_numbers(tmp_path):
    one, two = np.ones((3, 2)), np.zeros((3, 2, 2))
    for names in (("left", "right"), ("x0", "x1")):
        np.savez(tmp_path / "two.npz", **dict(zip(names, (one, two), strict=True)))
        data = user_data.read(tmp_path / "two.npz", {"left": (2,), "right": (2, 2)})
        assert data.inputs.shape == (3, 6) and data.inputs[0].tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones((3, 5))}, "expected the inputs as x, found z"),
        ({"x": np.ones((3, 4))}, r"input 'x' must be numbers of shape \(example, 5\), not float64 \(3, 4\)"),
        ({"x": np.full((3, 5), np.nan)}, "input 'x' must be finite, not NaN or infinite in 3 examples, 0 first"),
        ({"x": np.ones((3, 5)), "y": np.ones(2)}, r"as many examples in every array, 1 or more, found \[2, 3\]"),
        ({"x": np.ones((0, 5))}, r"as many examples in every array, 1 or more, found \[0\]"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        user_data.read(tmp_path / "d.npz", SHAPES)


def test_files_that_are_no_data_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"found no such file; check the path"):
        user_data.read(tmp_path / "none.npz", SHAPES)
    (tmp_path / "d.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match=r"expected a .npz, .npy, .csv or HDF5 file \(.h5\), found '.xlsx'; convert it"):
        user_data.read(tmp_path / "d.xlsx", SHAPES)
    for text, reason in (
        ("a,b\n", "no row of numbers"),
        ("", "no row of numbers"),
        ("a,b\n1,2\n3\n", "rows of different lengths"),
        ("a\nword\n", "word"),
    ):
        (tmp_path / "d.csv").write_text(text)
        with pytest.raises(DataError, match=reason):
            user_data.read(tmp_path / "d.csv", SHAPES)


@pytest.mark.parametrize(
    ("values", "bits", "text"),
    [
        ([-4.0, 3.9375], 16, "fixed<7,3>"),
        ([0.0, 0.5], 16, "ufixed<1,0>"),
        ([0.1, 200.0], 8, "ufixed<8,8>"),
        ([-1e-3, 1e-3], 6, "fixed<6,-8>"),
        ([0.0, 0.0], 16, "ufixed<1,-15>"),
    ],
)
def test_a_proposed_format_holds_the_data_in_no_more_bits_than_they_need(values, bits, text):
    fixed = proposed(np.array(values), bits)
    assert str(fixed) == text or fixed.holds(*(int(np.floor(np.ldexp(v, fixed.fraction))) for v in values)), str(fixed)
    assert fixed.bits <= bits and Fixed.of_text(str(fixed)) == fixed


def test_the_record_is_json_with_what_was_dropped(run, mine, tmp_path):
    ended = run("import", mine / "mine.keras", "--input-format", "fixed<8,4>", "--out", tmp_path / "i", "--json")
    assert {"model", "vectors", "exact", "dropped", "warnings"} <= set(json.loads(ended.out))


def fields():
    """Return a small network of convolutions, pooling and a classifier."""
    pooled = (
        qconv(2, 3, "c", padding="valid"),
        qkeras.QActivation(qkeras.quantized_relu(4, 1)),
        keras.layers.MaxPooling2D(2),
    )
    return model_of((5, 5, 1), *pooled, keras.layers.Flatten(data_format="channels_first"), qdense(3, "d"))


def normalised():
    """Return a network with a batch normalisation of its own statistics, and a leaky activation."""
    norm = keras.layers.BatchNormalization(name="n")
    leaky = qkeras.QActivation(qkeras.quantized_relu(4, 1, negative_slope=0.25), name="leaky")
    model = model_of((4,), qdense(4, "d", 3), norm, qkeras.QActivation(bits(5, 1), name="q"), qdense(4, "e", 3), leaky)
    generator = np.random.default_rng(5)
    norm.set_weights([generator.uniform(0.5, 1.5, 4), *generator.normal(size=(2, 4)), generator.uniform(0.5, 1.5, 4)])
    return model


def joined():
    """Return a network of two inputs, with the larger of two branches and a difference."""
    one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
    a, b = qdense(3, "a", 3)(one), qdense(3, "b", 3)(two)
    both = keras.layers.Concatenate()([keras.layers.Maximum()([a, b]), keras.layers.Subtract()([a, b])])
    return keras.Model([one, two], qkeras.QActivation(bits(5, 2), name="q")(both))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["c", "onnx", "rtl", "hls"])
@pytest.mark.parametrize("make", [fields, normalised, joined])
def test_a_users_model_is_exact_on_a_target(run, tmp_path, make, target):
    make().save(tmp_path / "model.keras")
    words = ("--input-format", "fixed<6,3>", "--count", 200, "--out", tmp_path / "imported")
    assert run("import", tmp_path / "model.keras", *words).status == 0
    emitted = run("emit", tmp_path / "imported", "--to", target, "--out", tmp_path / "p")
    assert emitted.status == 0, emitted.err
    verified = run("verify", tmp_path / "p", "--json")
    assert verified.status == 0 and verified.json["mismatches"] == 0, verified.err


# Sums of more bits than float32 has --------------------------------------------------------------------


def test_a_sum_of_more_bits_than_float32_has_is_compared_with_keras_in_float64(tmp_path):
    model = scattered(model_of((6,), qdense(4, "a", 10), qdense(3, "b", 10)), 1)
    model.save(tmp_path / "m.keras")
    made = import_keras(tmp_path / "m.keras", tmp_path / "m", ImportPlan(Fixed(True, 14, 6)))
    assert made.model.graph.output.fixed.bits > 24
    again = load(tmp_path / "m")
    x = again.held_out.inputs
    single = np.asarray(model.predict(again.graph.input.fixed.values(x).astype(np.float32), verbose=0))
    wrong = np.count_nonzero(single != again.graph.output.fixed.values(evaluate.run(again.graph, x)))
    assert made.warnings == (
        "a sum has more bits than float32 holds exactly: compared with Keras in float64; in float32 Keras rounds "
        f"{wrong:,} of 3,000 outputs otherwise",
    )
    x = x[:50]
    assert np.array_equal(again.reference.outputs(x), evaluate.run(again.graph, x))
    assert keras.config.floatx() == "float32"


def test_automatic_scales_of_wide_sums_are_those_that_qkeras_finds_in_float32(tmp_path):
    layer = qkeras.QDense(3, kernel_quantizer=qkeras.quantized_bits(10, 0, alpha="auto_po2"), use_bias=False, name="b")
    model = scattered(model_of((6,), qdense(4, "a", 12), layer), 3)
    model.save(tmp_path / "m.keras")
    made = import_keras(tmp_path / "m.keras", tmp_path / "m", ImportPlan(Fixed(True, 14, 6)))
    assert made.warnings[0].startswith("a sum has more bits than float32 holds exactly: compared with Keras in float64")
    weights = np.asarray(layer.kernel_quantizer_internal(layer.kernel), np.float64)
    graph = made.model.graph
    one = next(node for node in graph.nodes if node.layer == "b")
    assert np.array_equal(np.ldexp(one.op.constant.integers.astype(float), -one.op.constant.fraction), weights)


@pytest.mark.slow
def test_a_single_output_and_numbers_are_scored_and_verified(run, tmp_path):
    generator = np.random.default_rng(0)
    x = generator.uniform(-3, 3, (80, 4))
    layers = [qdense(3, "hidden"), activation("quantized_relu(4, 2)", "relu"), qdense(1, "out")]
    scattered(model_of((4,), *layers), 3).save(tmp_path / "m.keras")
    for name, y in (("accuracy", (x[:, 0] > 0).astype(int)), ("relative_l2", x[:, 0] * 0.3)):
        np.savez(tmp_path / "d.npz", x=x, y=y)
        words = ("--data", tmp_path / "d.npz", "--out", tmp_path / name)
        assert run("import", tmp_path / "m.keras", *words).status == 0
        assert run("emit", tmp_path / name, "--to", "c", "--out", tmp_path / f"{name}_c").status == 0
        done = run("verify", tmp_path / f"{name}_c", "--json")
        assert done.status == 0, done.err
        (figure,) = [figure for figure in done.json["score"]["figures"] if figure["name"] == name]
        assert figure["value"] == pytest.approx(figure["stated"]) and figure["vectors"] == 80


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (np.full((5, 2), 0.5), r"float64 \(5, 2\) from 0\.5 to 0\.5"),
        (np.arange(1, 6), r"int64 \(5,\) from 1 to 5"),
        (np.array([0, 1, 2, -1, 0]), r"int64 \(5,\) from -1 to 2"),
        (np.array([0.0, 1.0, np.nan, 1.0, 0.0]), r"float64 \(5,\) from nan to nan"),
    ],
)
def test_answers_that_fit_no_output_are_named_with_the_range_found_and_the_one_expected(tmp_path, y, found):
    model_of((4,), qdense(3, "out")).save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 4)), y=y)
    imported = import_keras(tmp_path / "m.keras", tmp_path / "m", ImportPlan(data=tmp_path / "d.npz"))
    wanted = r"class numbers 0\.\.2 or one-hot rows of 3, or 3 finite numbers an example, as the outputs have it"
    message = rf"y must be {wanted}, found {found}: no score is stated"
    assert any(re.fullmatch(message, warning) for warning in imported.warnings), imported.warnings
    assert not imported.model.card.metrics


def test_answers_of_an_output_without_its_softmax_are_classes_alone():
    assert misfit(np.array([3, 9]), (2, 4), only_classes=True) == (
        "y must be class numbers 0..3 or one-hot rows of 4, as the outputs have it, found int64 (2,) from 3 to 9"
    )
    assert misfit(np.zeros((2, 2)), (2, 3, 3, 1)).startswith("y must be 9 finite numbers an example, as")


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_layer_fused_with_its_batch_normalisation_is_read_from_its_file(kind, tmp_path):
    words = {"kernel_quantizer": bits(4), "bias_quantizer": bits(4), "name": "fused"}
    layer, shape = (qkeras.QDenseBatchnorm(3, **words), (4,)) if kind == "dense" else (
        qkeras.QConv2DBatchnorm(2, (2, 2), **words), (3, 3, 1)
    )  # fmt: skip
    model_of(shape, layer).save(tmp_path / "m.keras")
    assert import_keras(tmp_path / "m.keras", tmp_path / "m", ImportPlan(Fixed(True, 6, 3), count=50)).model.graph.nodes
