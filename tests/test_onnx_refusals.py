"""ONNX files that are damaged or reach out of their folder are refused in one line, by name."""

import os
import shutil

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import TensorProto
from onnx_models import Model, built, read

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models import imported
from edgephys.models.files.onnx import file as onnx_file

# Files that are refused --------------------------------------------------------------------------


def test_a_file_that_is_truncated_or_no_onnx_is_refused(tmp_path):
    path = onnx_models.mlp(tmp_path / "m.onnx")
    content = path.read_bytes()
    for size in (0, 1, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError, match="not an ONNX file, or a truncated one"):
            onnx_file.read(path)
    path.write_text("not a model\n")
    with pytest.raises(ModelError, match="not an ONNX file, or a truncated one"):
        onnx_file.read(path)
    with pytest.raises(ModelError, match=r"none\.onnx: expected an ONNX file, but it cannot be read \(no such file"):
        onnx_file.read(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="but it cannot be read"):
        onnx_file.read(tmp_path)


def test_a_name_that_is_no_plain_text_is_refused_in_one_line(tmp_path):
    path = onnx_models.mlp(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"/fc1/Gemm", b"/fc1\nGemm"))
    with pytest.raises(ModelError, match=r"the name '/fc1\\nGemm' is no plain text; the file is damaged"):
        onnx_file.read(path)


@pytest.mark.parametrize("make", [onnx_models.mlp, onnx_models.cnn, onnx_models.qcdq])
def test_a_file_with_any_byte_changed_is_read_or_refused_in_one_line(tmp_path, make):
    content = make(tmp_path / "m.onnx").read_bytes()
    random = np.random.default_rng(4)
    ends = {"read": 0, "refused": 0}
    for _ in range(150):
        changed = bytearray(content)
        for at in random.integers(len(content), size=random.integers(1, 4)):
            changed[at] = random.integers(256)
        (tmp_path / "changed.onnx").write_bytes(bytes(changed))
        try:
            read(tmp_path / "changed.onnx")
            ends["read"] += 1
        except ModelError as error:
            assert "\n" not in str(error)
            ends["refused"] += 1
    assert min(ends.values()) > 0, ends


def test_an_input_of_more_elements_than_memory_has_is_refused(tmp_path):
    model = Model((1 << 20, 1 << 20))
    path = built(model, tmp_path, model.quant("x", 4, 1.0))
    with pytest.raises(ModelError, match=r"input 'x' must have at most 16777216 elements, not \(1048576, 1048576\)"):
        onnx_file.read(path)


def outside(tmp_path, location, data=True):
    """A model whose first weight lies in another file."""
    path = onnx_models.mlp(tmp_path / "home" / "m.onnx")
    model = onnx.load(path)
    tensor = next(entry for entry in model.graph.initializer if entry.name == "fc1.weight")
    content = tensor.raw_data
    onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=len(content))
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    if data:
        (tmp_path / "home" / "weights.bin").write_bytes(content)
    return path


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path


def test_data_beside_the_file_is_read_and_travels_in_the_folder(home):
    path = outside(home, "weights.bin")
    made = imported.import_onnx(path, home / "out").model
    shutil.rmtree(home / "home")
    x = made.held_out.inputs
    assert np.array_equal(made.reference.outputs(x), evaluate.run(made.graph, x))


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "/etc/passwd", ""])
def test_data_that_leaves_the_folder_is_refused(home, location):
    (home / "weights.bin").write_bytes(bytes(192))
    with pytest.raises(ModelError, match=r"initialiser 'fc1.weight': its data must lie in the model's folder, not at"):
        onnx_file.read(outside(home, location))


def test_data_behind_a_link_is_refused(home):
    path = outside(home, "weights.bin", data=False)
    (home / "secret.bin").write_bytes(bytes(192))
    os.symlink(home / "secret.bin", home / "home" / "weights.bin")
    with pytest.raises(ModelError, match=r"its data must lie in the model's folder, not at 'weights.bin'"):
        onnx_file.read(path)


def test_data_that_is_missing_or_short_is_refused(home):
    path = outside(home, "weights.bin", data=False)
    with pytest.raises(ModelError, match=r"initialiser 'fc1.weight': its data 'weights.bin' is missing or too short"):
        onnx_file.read(path)
    (home / "home" / "weights.bin").write_bytes(bytes(20))
    with pytest.raises(ModelError, match=r"its data 'weights.bin' is missing or too short"):
        onnx_file.read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_refused(tmp_path, value):
    model = Model((2,))
    weight = model.quant(model.const("fc.weight", [[1.0], [value]]), 4, 0.5)
    path = built(model, tmp_path, model.op("MatMul", model.quant("x", 4, 1.0), weight))
    with pytest.raises(ModelError, match=r"initialiser 'fc.weight' holds NaN or infinity; train the model again"):
        onnx_file.read(path)


def test_inputs_of_different_formats_and_no_input_are_refused(tmp_path):
    model = Model((2,))
    x, y = model.quant("x", 4, 1.0), model.quant("y", 4, 0.5)
    path = built(model, tmp_path, model.op("Add", x, y), inputs=("x", "y"))
    with pytest.raises(ModelError, match=r"its inputs have formats of their own \(x fixed<4,4,.*, y fixed<4,3,"):
        read(path)
    with pytest.raises(ModelError, match="expected an input, found none; export it again"):
        onnx_file.read(built(model, tmp_path, x, inputs=()))


def test_an_axis_without_a_length_is_refused_unless_it_is_the_batch(tmp_path):
    model = Model(("width", 2))
    path = built(model, tmp_path, model.quant("x", 4, 1.0), batch="N")
    with pytest.raises(ModelError, match=r"input 'x': only the batch may be of any length, not axis 1 \('width'\)"):
        onnx_file.read(path)


def test_an_input_of_other_numbers_and_a_format_beyond_its_integers_are_refused(tmp_path):
    model = Model((2,))
    proto = model.proto(model.quant(model.op("Cast", "x", to=1), 4, 1.0))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="input 'x' must be float32, or integers of 8 or 16 bits, of a stated shape"):
        onnx_file.read(tmp_path / "m.onnx")
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"input 'x' takes integers of fixed<8,8>, which must hold its format, not"):
        read(tmp_path / "m.onnx", Fixed(False, 8, 8))


@pytest.mark.parametrize(
    ("opset", "version", "message"),
    [
        (5, 1, r"the operators' version must be 6\.\.24, not 5; export it with opset 13"),
        (99, 1, r"the operators' version must be 6\.\.24, not 99"),
        (13, 3, "the version of qonnx.custom_op.general must be 1 or 2, not 3"),
    ],
)
def test_an_unknown_version_is_refused(tmp_path, opset, version, message):
    model = Model((2,), opset, domain_version=version)
    path = built(model, tmp_path, model.quant("x", 4, 1.0))
    with pytest.raises(ModelError, match=message):
        onnx_file.read(path)


def test_a_tensor_that_nothing_gives_is_refused(tmp_path):
    model = Model((2,))
    path = built(model, tmp_path, model.op("Add", model.quant("x", 4, 1.0), "lost", name="/add"))
    with pytest.raises(ModelError, match=r"node '/add' \(Add\): reads 'lost', which nothing before it gives"):
        onnx_file.read(path)
    path = built(model, tmp_path, "nowhere")
    with pytest.raises(ModelError, match=r"reads 'lost'|output 'nowhere' is given by no operator"):
        onnx_file.read(path)
