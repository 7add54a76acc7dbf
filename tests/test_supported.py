"""docs/supported.md says what the code does: every cell is a model, which is imported, emitted and run."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import supported_models as models

from edgephys.graph import evaluate
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras
from edgephys.targets.registry import TARGETS

SCRIPT = Path(__file__).parent.parent / "docs" / "list_supported.py"


@pytest.fixture(scope="module")
def script():
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("list_supported", SCRIPT)
    module = sys.modules["list_supported"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells():
    """Return what makes each model of the page, by a name."""
    weighted = {
        f"{name} {short}": lambda build=build, kernel=kernel: build(kernel)
        for name, build in models.WEIGHTED.items()
        for kernel, short in models.KERNELS.items()
    }
    from edgephys.models.files.keras import activations

    functions = {
        f"function {name}": lambda name=name: models.of_function(name) for name in ("relu", *activations.FLOAT)
    }
    values = {text: lambda text=text: models.of_value(text) for text in models.VALUES}
    return {**models.PLAIN, **weighted, **values, **functions}


CELLS = cells()
REFUSED = ("quantized_bits(5,1,alpha='auto')", "QConv2DTranspose auto")
"""Values whose scale follows the data, and scales of the inputs of a sum; and what is random at inference."""
EXACT = [name for name in CELLS if name not in REFUSED and "bernoulli" not in name]
SOME = (
    *("QDense auto", "QAveragePooling2D", "QConv2DTranspose ternary", "SeparableConv1D", "Embedding"),
    *("quantized_relu_po2(4,2)", "function gelu"),
)
"""Cells of the fast test."""


def made(name):
    """Return the lowered model of a cell, after it was compared with Keras."""
    keras.utils.set_random_seed(1)
    model = CELLS[name]()
    fixed = models.INDEX if "int" in str(model.inputs[0].dtype) else models.INPUT
    low = lowered(model, fixed, "m")
    x = np.random.default_rng(0).integers(fixed.low, fixed.high, (200, *low.graph.input.shape), endpoint=True)
    golden = evaluate.run(low.graph, x)
    np.testing.assert_array_equal(KerasFileReference(low).outputs(x), golden)
    assert len(np.unique(golden)) > 1
    return low.graph, x, golden


def test_every_layer_that_is_read_has_a_model(script):
    assert script.names() == {*models.PLAIN, *models.WEIGHTED}


def test_the_page_has_a_row_for_every_layer_and_quantiser(script):
    page = script.PAGE.read_text()
    for name in (*script.names(), *(f"`{text}`" for text in models.VALUES), "tanh", "hard_shrink"):
        assert f"\n| {name} |" in page, name


@pytest.mark.parametrize("name", SOME)
def test_a_cell_says_what_becomes_of_its_model(name, script):
    assert name in EXACT and script.cell(CELLS[name]).targets[:4] == ("rtl", "hls", "c", "onnx")
    made(name)


@pytest.mark.slow
def test_the_page_is_what_the_code_does():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


GROUPS = {"layers": list(models.PLAIN), "functions": [name for name in EXACT if name.startswith("function")]}
GROUPS["weights"] = [name for name in EXACT if name.split()[0] in models.WEIGHTED]
GROUPS["values"] = [name for name in EXACT if name in models.VALUES]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["c", "onnx", "qonnx", "rtl", "hls"])
@pytest.mark.parametrize("group", GROUPS)
def test_every_cell_is_exact_on_the_targets_that_it_names(group, target, script, tmp_path):
    compiled = set()  # RTL and HLS take long: of graphs that differ in their numbers alone, one is run
    for number, name in enumerate(GROUPS[group]):
        graph, x, golden = made(name)
        if target not in script.cell(CELLS[name]).targets:
            assert target == "qonnx", name
            continue
        form = tuple((node.op.word, node.shape) for node in graph.nodes)
        if target in ("rtl", "hls") and form in compiled:
            continue
        compiled.add(form)
        folder = tmp_path / str(number)
        folder.mkdir()
        facts = TARGETS[target].emit(graph, folder, TARGETS[target].options())
        np.testing.assert_array_equal(TARGETS[target].run(folder, facts, x).outputs, golden, err_msg=name)
