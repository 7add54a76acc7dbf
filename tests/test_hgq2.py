"""Models of HGQ2 are read without HGQ2, and compute what it computed, bit for bit.

The files in golden/hgq2 were written by HGQ2 0.2.0 on Keras 3.15 (TensorFlow), with its outputs for random inputs.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.keras import lowered
from edgephys.models.frameworks import load
from edgephys.networks.layers import FixedRounding
from edgephys.targets.registry import TARGETS

GOLDEN = Path(__file__).parent / "golden" / "hgq2"
INPUT = Fixed(True, 8, 4)
"""Of the inputs in the files: multiples of 1/16 from -4 up."""


def changed(out, change, name="field", weights=None):
    """Write a golden file with another configuration; return its path."""
    with zipfile.ZipFile(GOLDEN / f"{name}.keras") as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    config = json.loads(parts["config.json"])
    change({layer["config"]["name"]: layer for layer in config["config"]["layers"]})
    with zipfile.ZipFile(out, "w") as archive:
        parts["config.json"] = json.dumps(config).encode()
        for part, content in parts.items():
            archive.writestr(part, content if part != "model.weights.h5" or weights is None else weights(content))
    return out


@pytest.mark.parametrize("name", ["wrap", "field"])
def test_a_model_of_hgq2_computes_what_hgq2_computed(name):
    golden = np.load(GOLDEN / f"{name}.npz")
    low = lowered(keras_file.read(GOLDEN / f"{name}.keras"), INPUT, name)
    outputs = evaluate.run(low.graph, INPUT.quantise(golden["x"]))
    np.testing.assert_array_equal(low.graph.output.fixed.values(outputs), golden["y"])
    assert len(np.unique(golden["y"])) > 10


def test_formats_differ_between_the_elements_of_the_files():
    layers = keras_file.read(GOLDEN / "wrap.keras").get_layer("a2").layers
    rounding = next(layer for layer in layers if isinstance(layer, FixedRounding))
    assert len({tuple(np.ravel(row)) for row in np.transpose([np.asarray(w)[0] for w in rounding.get_weights()])}) > 1


def test_an_imported_model_is_loaded_again_and_verified(run, tmp_path):
    words = ("--input-format", "fixed<8,4>", "--count", 50, "--out", tmp_path / "m", "--json")
    ended = run("import", GOLDEN / "field.keras", *words)
    assert ended.status == 0, ended.err
    assert ended.json["exact"] and load(tmp_path / "m").graph.output.shape == (2,)


@pytest.mark.parametrize("name", ["wrap", "field"])
@pytest.mark.parametrize(
    "target",
    ["c", "onnx", pytest.param("rtl", marks=pytest.mark.slow), pytest.param("hls", marks=pytest.mark.slow)],
)
def test_a_target_computes_what_hgq2_computed(name, target, tmp_path):
    golden = np.load(GOLDEN / f"{name}.npz")
    graph = lowered(keras_file.read(GOLDEN / f"{name}.keras"), INPUT, name).graph
    facts = TARGETS[target].emit(graph, tmp_path, TARGETS[target].options())
    outputs = TARGETS[target].run(tmp_path, facts, INPUT.quantise(golden["x"])).outputs
    np.testing.assert_array_equal(graph.output.fixed.values(outputs), golden["y"])


def conf(layers, name, which):
    return layers[name]["config"][which]["config"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of["p"].update(class_name="QSoftmax"), "layer 'p': HGQ2's QSoftmax cannot be read; use "),
        (lambda of: conf(of, "c", "kq_conf").update(q_type="float"), "layer 'c': HGQ2's quantiser float cannot be "),
        (lambda of: conf(of, "c", "iq_conf").update(scaler=2.0), "layer 'c': an HGQ2 quantiser with scaler "),
        (lambda of: conf(of, "n", "oq_conf").update(overflow_mode="WRAP_SM"), r"layer 'n': modes must be of TRN, "),
        (lambda of: of["c"].update(build_config={}), "layer 'c': its file states no shape of its input; save "),
    ],
    ids=["layer", "float", "scaler", "mode", "shape"],
)  # fmt: skip
def test_what_is_not_read_is_refused_by_the_layers_name(change, message, tmp_path):
    with pytest.raises(ModelError, match=f"^{message}"):
        keras_file.read(changed(tmp_path / "m.keras", change))


def test_a_file_without_the_formats_is_refused(tmp_path):
    def without(content):
        with h5py.File(buffer := io.BytesIO(content), "r+") as file:
            del file["layers/q_conv2d/kq"]
        return buffer.getvalue()

    path = changed(tmp_path / "m.keras", lambda layers: None, weights=without)
    with pytest.raises(ModelError, match=r"^layer 'c': the file has no weights of its quantiser '/kq'; save the model"):
        keras_file.read(path)
