"""A user's labels and files: one-hot rows of any type, and a clear answer to a file of another kind."""

import numpy as np
import pytest

from edgephys.core.errors import DataError
from edgephys.models import user_data
from edgephys.models.input_data import classes_of


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
