"""The folder of an imported ONNX file: it is loaded as it was written, and damage is named."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import numpy_helper

from edgephys.core.errors import DataError, MismatchError, ModelError, ProjectError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.ops import Dense
from edgephys.models import imported
from edgephys.models.files.onnx import lower as from_onnx
from edgephys.models.frameworks import FRAMEWORKS, framework_of, load
from edgephys.models.import_plan import ImportPlan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("imported")
    imported.import_onnx(onnx_models.mlp(home / "mlp.onnx"), home / "mlp")
    return home / "mlp"


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "mlp")


def test_a_folder_is_loaded_as_it_was_made(folder):
    made = load(folder)
    assert made.framework is framework_of(folder) is FRAMEWORKS["file"]
    with pytest.raises(ModelError, match=r"expected a model's folder with card\.json"):
        framework_of(folder.parent)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "graph.json", "held_out.npz", "model.onnx"]
    assert made.name == "mlp"
    x = made.held_out.inputs
    golden = evaluate.run(made.graph, x)
    assert np.array_equal(made.reference.outputs(x), golden)
    assert np.array_equal(made.held_out.labels, golden.argmax(1))  # what the file itself answers
    assert made.card.imported.labels == "what the file itself answers"


def test_given_vectors_are_quantised_as_the_file_does_and_give_an_accuracy(tmp_path):
    path = onnx_models.cnn(tmp_path / "cnn.onnx")
    inputs = np.random.default_rng(2).uniform(-1, 3, (40, 3, 8, 8))
    np.savez(tmp_path / "given.npz", inputs=inputs, labels=np.arange(40) % 3)
    made = imported.import_onnx(path, tmp_path / "cnn", ImportPlan(vectors=tmp_path / "given.npz")).model
    steps = np.clip(np.rint(inputs * 32), 0, 63)
    assert np.array_equal(made.held_out.inputs, steps.transpose(0, 2, 3, 1))
    right = evaluate.run(made.graph, made.held_out.inputs).argmax(1) == np.arange(40) % 3
    assert made.card.metrics["accuracy"] == pytest.approx(right.mean())


def test_the_original_that_was_changed_gives_other_integers(copied):
    made = load(copied)
    model = onnx.load(copied / "model.onnx")
    for entry in model.graph.initializer:
        if entry.name == "fc3.weight":
            entry.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(entry), entry.name))
    onnx.save(model, copied / "model.onnx")
    x = made.held_out.inputs[:20]
    assert not np.array_equal(made.reference.outputs(x), evaluate.run(made.graph, x))


def test_a_graph_that_is_not_the_file_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    """Were the lowering wrong, this is where it would be seen."""

    def wrong(model, name, input_format=None, softmax=None):
        graph = from_onnx.lower(model, name, input_format)
        nodes = [
            dataclasses.replace(
                node, op=Dense(dataclasses.replace(node.op.constant, integers=-node.op.constant.integers))
            )
            if node.name == "fc2_matmul_dense"
            else node
            for node in graph.nodes
        ]
        assert [node.name for node in nodes].count("fc2_matmul_dense") == 1
        return graph.with_nodes(tuple(nodes))

    monkeypatch.setattr(imported, "lower", wrong)
    with pytest.raises(MismatchError, match="layer 'fc2_matmul' differs first from the ONNX file, in "):
        imported.import_onnx(onnx_models.mlp(tmp_path / "mlp.onnx"), tmp_path / "mlp")
    assert not (tmp_path / "mlp").exists()


def test_a_folder_of_others_is_not_replaced(tmp_path):
    path = onnx_models.mlp(tmp_path / "mlp.onnx")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not an imported model of ours"):
        imported.import_onnx(path, tmp_path / "theirs")
    imported.import_onnx(path, tmp_path / "ours")
    imported.import_onnx(path, tmp_path / "ours", ImportPlan(count=3))
    assert len(load(tmp_path / "ours").held_out.inputs) == 3


def test_a_damaged_folder_names_the_file(copied):
    graph = json.loads((copied / "graph.json").read_text())
    card = json.loads((copied / "card.json").read_text())
    (copied / "graph.json").write_text(json.dumps(graph | {"metadata": {}}))
    with pytest.raises(ModelError, match=r"graph\.json: expected the bytes whose SHA-256 card\.json states"):
        load(copied)
    del card["files"]  # as somebody does who wants the change to pass
    (copied / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"graph\.json: expected an imported model's Graph, found it does not tell"):
        load(copied)
    (copied / "graph.json").write_text("{")
    with pytest.raises(ModelError, match=r"graph\.json: expected an imported model's Graph"):
        load(copied)
    (copied / "graph.json").write_text(json.dumps(graph))
    np.savez(copied / "held_out.npz", inputs=np.zeros((2, 5), int), labels=np.zeros(2, int))
    with pytest.raises(ModelError, match=r"held_out\.npz: inputs must be \(vector, \*\(6,\)\), not \(2, 5\)"):
        load(copied)
    (copied / "held_out.npz").unlink()
    with pytest.raises(ProjectError, match=r"held_out\.npz: expected vectors"):
        load(copied)
    (copied / "model.onnx").unlink()
    with pytest.raises(
        ModelError, match=r"model\.onnx: no such file; import it again: `edgephys import FILE --data DATA --out .*`$"
    ):
        load(copied)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "expected a .npz with 'inputs'"),
        (
            {"inputs": np.zeros((3, 5))},
            r"inputs must be numbers of shape \(1 or more, \*\(6,\)\), not float64 \(3, 5\)",
        ),
        ({"inputs": np.zeros((0, 6))}, r"inputs must be numbers of shape \(1 or more"),
        ({"inputs": np.full((2, 6), 900)}, r"integer inputs must be -128\.\.127"),
        ({"inputs": np.zeros((2, 6)), "labels": np.zeros(3, int)}, "labels must be an integer for each of 2 inputs"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "given.npz", **arrays)
    with pytest.raises(DataError, match=message):
        imported.import_onnx(
            onnx_models.mlp(tmp_path / "m.onnx"), tmp_path / "o", ImportPlan(vectors=tmp_path / "given.npz")
        )


def test_vectors_of_nan_and_no_vectors_are_refused(tmp_path):
    path = onnx_models.mlp(tmp_path / "m.onnx")
    np.savez(tmp_path / "given.npz", inputs=np.full((2, 6), np.nan))
    with pytest.raises(ModelError, match="values must be finite"):
        imported.import_onnx(path, tmp_path / "o", ImportPlan(vectors=tmp_path / "given.npz"))
    with pytest.raises(UsageError, match="--count must be 1 or more, not 0"):
        imported.import_onnx(path, tmp_path / "o", ImportPlan(count=0))
    (tmp_path / "given.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"expected a .npz with 'inputs'"):
        imported.import_onnx(path, tmp_path / "o", ImportPlan(vectors=tmp_path / "given.npz"))
