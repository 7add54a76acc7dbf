"""Load Keras on its TensorFlow backend, quietly and once, before anything else can choose for us."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow's C++ side says of itself while it loads from the user's terminal."""
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


with _quiet():
    import keras
    import qkeras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "precision", "qkeras", "tf"]


@contextmanager
def precision(double: bool) -> Iterator[None]:
    """Let Keras and QKeras compute in float64 within, where ``double``, and in float32 else."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64" if double else "float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
