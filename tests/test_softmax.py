"""A softmax is left out at the end, or computed in integers: the same on all targets, with a measured difference."""

import numpy as np
import pytest
from keras_models import INPUT, activation, bits, model_of, qdense, scattered
from onnx_models import Model

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, stimuli
from edgephys.graph.build import Builder
from edgephys.graph.graph import to_record
from edgephys.models.card import read_card
from edgephys.models.files.keras import lowered
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx import lower as onnx_lower
from edgephys.models.files.softmax import SoftmaxForm, softmax, tables
from edgephys.models.frameworks import load
from edgephys.models.import_plan import ImportPlan
from edgephys.models.imported_keras import import_keras
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras
from edgephys.targets.registry import TARGETS
from edgephys.verify import plain

pytestmark = pytest.mark.usefixtures("uncompiled")
LAYERS = keras.layers
KEPT = SoftmaxForm(keep=True)


def attention(end="softmax"):
    """Return a model whose inner softmax weighs values, and which ends with a softmax."""
    inputs = keras.Input((6,), name="x")
    scores = qdense(5, "scores")(inputs)
    weights = activation(bits(6, 0), "rounded")(LAYERS.Softmax(name="weights")(scores))
    weighed = LAYERS.Multiply(name="weighed")([activation(bits(6, 2), "values")(scores), weights])
    out = LAYERS.Activation(end, name="end")(qdense(3, "out")(activation(bits(6, 1), "hidden")(weighed)))
    return scattered(keras.Model(inputs, out), 0)


def equal(model, form, count=300):
    """Compare every layer with Keras and its replaced softmaxes; return what was lowered, and the vectors."""
    low = lowered(model, INPUT, "m", form)
    x = np.random.default_rng(0).integers(INPUT.low, INPUT.high, (count, *low.graph.input.shape), endpoint=True)
    x = np.concatenate([x, stimuli.make(low.graph)[:count]])
    reference, edges = KerasFileReference(low), evaluate.trace(low.graph, {low.graph.input.name: x})
    ends = dict(low.graph.layers())
    for layer, integers in reference.layers(x).items():
        np.testing.assert_array_equal(integers, edges[ends[layer].name], err_msg=layer)
    np.testing.assert_array_equal(reference.outputs(x), edges[low.graph.output.name])
    np.testing.assert_array_equal(
        plain.trace(to_record(low.graph), x[:50])[low.graph.output.name], edges[low.graph.output.name][:50]
    )
    return low, x


def largest_differences(low, x):
    """Return the largest difference of each softmax to Keras', by layer."""
    return {one.layer: one.largest_difference for one in KerasFileReference(low).softmaxes(x)}


# What it computes ----------------------------------------------------------------------------------


def test_a_softmax_at_the_end_is_left_out_and_an_inner_one_is_computed_in_a_stated_form():
    low, x = equal(attention(), SoftmaxForm())
    assert low.dropped == ("end (softmax at the end: the order of the outputs stays)",)
    (inner,) = low.softmaxes
    assert inner.layer == "weights"
    assert inner.form == "computed with tables of 1,024 exponentials and 513 reciprocals as ufixed<12,0>"
    assert largest_differences(low, x)["weights"] < 0.01


@pytest.mark.parametrize("form", [KEPT, SoftmaxForm(True, 8, 256)])
def test_a_kept_softmax_is_the_output_in_its_form(form):
    low, x = equal(attention(), form)
    assert low.graph.output.fixed == Fixed(False, form.bits, 0, Rounding.RND, Overflow.SAT) and not low.dropped
    differences = largest_differences(low, x)
    assert list(differences) == ["weights", "end"] and max(differences.values()) < 8 / form.entries
    own = low.graph.output.fixed.values(evaluate.run(low.graph, x)).sum(-1)
    assert np.abs(own - 1).max() < 16 / form.entries


def test_the_activation_of_a_dense_layer_is_a_layer_behind_it():
    low, _ = equal(scattered(model_of((5,), qdense(4, "d", activation="softmax")), 0), KEPT)
    assert [layer for layer, _ in low.graph.layers()][1:] == ["d", "d_softmax"]


def test_a_finer_table_is_closer():
    by_size = []
    for entries in (64, 1024):
        low, x = equal(model_of((5,), qdense(4, "d"), LAYERS.Softmax(name="s")), SoftmaxForm(True, 14, entries))
        by_size.append(largest_differences(low, x)["s"])
    assert by_size[1] < by_size[0] / 8


def test_rows_of_a_field_have_softmaxes_of_their_own():
    inputs = keras.Input((3, 4), name="x")
    low, x = equal(scattered(keras.Model(inputs, LAYERS.Softmax(name="s")(qdense(3, "d")(inputs))), 0), KEPT)
    assert low.graph.output.shape == (3, 3) and largest_differences(low, x)["s"] < 0.01


@pytest.mark.parametrize(
    ("form", "count", "fraction", "message"),
    [
        (SoftmaxForm(), 1, 4, r"layer 's': a softmax must be over 2..1024 values, not 1"),
        (SoftmaxForm(entries=16), 17, 4, r"layer 's': a softmax must be over 2..16 values, not 17"),
        (SoftmaxForm(), 5, -4, r"layer 's': the steps of what its softmax reads are 2\^4, too coarse for one"),
    ],
)
def test_a_softmax_that_no_table_holds_is_refused_by_its_layer(form, count, fraction, message):
    with pytest.raises(ModelError, match=f"^{message}"):
        tables(form, "s", count, fraction)


def test_forms_float_logits_and_other_axes_are_refused():
    with pytest.raises(
        UsageError, match=r"a softmax must have 1..16 bits and tables of 16..4096 entries, not 17 and 8"
    ):
        SoftmaxForm(bits=17, entries=8)
    model = model_of((5,), qdense(4, "d"), LAYERS.Activation("tanh", name="t"), LAYERS.Softmax(name="s"))
    with pytest.raises(ModelError, match=r"^layer 's': its float result goes to 's' \(Softmax\), which no integers"):
        lowered(model, INPUT, "m", KEPT)
    with pytest.raises(ModelError, match=r"^layer 's': its softmax must be over the last axis, -1, not 1"):
        lowered(model_of((3, 4), qdense(2, "d"), LAYERS.Softmax(axis=1, name="s")), INPUT, "m")


# From a file to the targets ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("softmax")
    attention().save(home / "m.keras")
    imported = import_keras(
        home / "m.keras", home / "kept", ImportPlan(INPUT, count=200, softmax=SoftmaxForm(True, 10, 512))
    )
    assert [warning.split(":")[0] for warning in imported.warnings] == ["layer 'weights'", "layer 'end'"]
    return home


def test_the_card_states_the_form_and_the_largest_difference(folder):
    card = read_card(folder / "kept")
    assert card.imported.softmax == {"keep": True, "bits": 10, "entries": 512}
    assert [one.layer for one in card.approximated] == ["weights", "end"]
    assert all(0 < one.largest_difference < 0.02 and one.vectors > 200 for one in card.approximated)
    model = load(folder / "kept")
    assert model.graph.output.fixed.bits == 10
    x = stimuli.make(model.graph)[:50]
    reference = model.framework.reference(folder / "kept", model.graph)
    np.testing.assert_array_equal(reference.outputs(x), evaluate.run(model.graph, x))


@pytest.mark.slow
def test_the_command_says_that_it_is_not_exact_and_verify_repeats_it(folder, tmp_path, run):
    out, project = tmp_path / "mine", tmp_path / "project"
    words = ("import", folder / "m.keras", "--out", out, "--input-format", str(INPUT), "--count", "50", "--json")
    record = run(*words, "--keep-softmax").json
    assert record["exact"] is False and [one["layer"] for one in record["approximated"]] == ["weights", "end"]
    line = run(*words[:-1], "--keep-softmax", "--force").out
    assert "outputs equal to the file's in Keras, but for a softmax that is computed by tables" in " ".join(
        line.split()
    )
    assert "it differs from the file's float softmax by at most 0.00" in record["warnings"][0]
    assert record["warnings"][0].endswith("vectors, and its integers are the same on all targets")
    assert run("emit", out, "--to", "c", "--out", project).status == 0
    verified = run("verify", project, "--json").json
    assert verified["mismatches"] == 0 and verified["warnings"] == record["warnings"]


def network_file(path, shape=(5,), axis=-1, factor=None):
    model = Model(shape)
    x = model.op("MatMul", model.quant("x", 6, 0.25), model.weight("w", (shape[-1], 4), per_channel=False))
    x = x if factor is None else model.op("Mul", x, model.const("factor", np.float32(factor)))
    return model.save(path, model.op("Softmax", x, name="/soft", axis=axis))


@pytest.mark.parametrize("factor", [None, 0.3])
def test_a_softmax_at_the_end_of_an_onnx_file_is_left_out_or_kept(factor, tmp_path, run):
    path = network_file(tmp_path / "m.onnx", factor=factor)
    record = run("import", path, "--out", tmp_path / "out", "--count", "50", "--json").json
    assert record["exact"] is True and "Softmax '/soft' at the end" in record["dropped"][0]
    record = run("import", path, "--out", tmp_path / "kept", "--count", "50", "--keep-softmax", "--json").json
    assert record["exact"] is False and record["dropped"] == []
    (measured,) = record["approximated"]
    assert measured["layer"] == "soft" and 0 < measured["largest_difference"] < 0.01
    assert any("it differs from the file's float softmax by at most 0.00" in warning for warning in record["warnings"])
    assert load(tmp_path / "kept").graph.output.fixed.bits == 12
    assert run("emit", tmp_path / "kept", "--to", "onnx", "--out", tmp_path / "project").status == 0
    verified = run("verify", tmp_path / "project", "--json").json
    assert verified["mismatches"] == 0 and "float softmax" in verified["warnings"][0]


def test_a_softmax_of_an_onnx_file_over_another_axis_is_not_kept(tmp_path):
    model = onnx_file.read(network_file(tmp_path / "m.onnx", (3, 5), axis=1))
    with pytest.raises(ModelError, match=r"\(Softmax\): it must be over the last axis to be kept, not over axis 1"):
        onnx_lower.lower(model, "m", softmax=KEPT)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("c", {}),
        ("onnx", {}),
        ("onnx", {"style": "float"}),
        pytest.param("rtl", {}, marks=pytest.mark.slow),
        pytest.param("hls", {}, marks=pytest.mark.slow),
    ],
)
def test_every_target_computes_the_integers_of_a_softmax(target, options, tmp_path):
    builder, generator = Builder("softmax"), np.random.default_rng(0)
    x = builder.input("x", (4,), Fixed(True, 6, 2))
    x = builder.dense("d", x, generator.integers(-7, 8, (4, 3)), 2)
    result, _ = softmax(builder, "s", x, tables(SoftmaxForm(True, 8, 64), "s", 3, builder.fraction(x)))
    graph = builder.finish(result)
    chosen = TARGETS[target]
    facts = chosen.emit(graph, tmp_path, chosen.options(**options))
    chosen.scan(tmp_path, facts)
    x = stimuli.make(graph)[:400]
    np.testing.assert_array_equal(chosen.run(tmp_path, facts, x).outputs, evaluate.run(graph, x))
