"""A user's labels and files: one-hot rows of any type, and a clear answer to a file of another kind."""

import h5py
import numpy as np
import pytest

from edgephys.core.errors import DataError
from edgephys.models import user_data
from edgephys.models.input_data import classes_of, proposed


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.float32, np.bool_])
def test_one_hot_rows_of_any_type_are_classes(tmp_path, kind):
    classes = np.array([2, 0, 1, 1])
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)), y=np.eye(3)[classes].astype(kind))
    answers = user_data.read(tmp_path / "a.npz", {"x": (3,)}).answers
    assert classes_of(answers, (4, 3)).tolist() == classes.tolist()


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_a_csv_with_the_name_of_another_kind_is_answered_in_the_words_of_files(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text("x0,x1,y\n1,2,0\n")
    with pytest.raises(DataError, match=rf"a\.{ending}: expected arrays of numbers, found ") as error:
        user_data.read(path, {"x": (2,)})
    assert "pickle" not in str(error.value)


def test_a_csv_for_the_vectors_of_an_onnx_file_is_answered_in_the_words_of_files(tmp_path):
    from edgephys.core.reading import read_arrays

    path = tmp_path / "a.csv"
    path.write_text("x0,x1,y\n1,2,0\n")
    with pytest.raises(ValueError, match="no whole zip archive") as error:
        read_arrays(path, ["inputs"], ["labels"])
    assert "pickle" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "found"),
    [(np.array(3), r"int64 \(\)"), (np.array([b"cat", b"dog"]), r"\|S3 \(2,\)")],
)
def test_answers_that_are_no_numbers_an_example_are_refused(tmp_path, y, found):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((2, 3)), y
    with pytest.raises(
        DataError, match=rf"a\.h5: the answers y must be numbers of shape \(example, \.\.\.\), not {found}"
    ):
        user_data.read(tmp_path / "a.h5", {"x": (3,)})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("y", [-1, 2, 1e300, 2**64 - 1, np.nan])
def test_numbers_that_are_no_class_are_no_classes(y):
    assert classes_of(np.array([0, y]), (2, 2)) is None


@pytest.mark.filterwarnings("error")
def test_inputs_that_no_format_holds_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.full((2, 3), 1e300))
    with pytest.raises(DataError, match=r"input 'x' must be finite, .* in 2 examples, 0 first \(what float32 does not"):
        user_data.read(tmp_path / "a.npz", {"x": (3,)})
    with pytest.raises(
        DataError, match=r"the inputs reach -1e\+30\.\.1; they must be below 2\^60: scale them, or state"
    ):
        proposed(np.array([-1e30, 1.0]), 8)


def test_several_inputs_may_be_flat_and_joined_in_their_order(tmp_path):
    x = np.arange(10.0).reshape(2, 5)
    np.savez(tmp_path / "joined.npz", x=x)
    inputs = {"b": (2,), "a": (3, 1)}
    assert np.array_equal(user_data.read(tmp_path / "joined.npz", inputs).inputs, x)
    np.savez(tmp_path / "short.npz", x=x[:, :4])
    with pytest.raises(DataError, match=r"expected the inputs as b, a \(or x0 \.\. x1\), found x"):
        user_data.read(tmp_path / "short.npz", inputs)
